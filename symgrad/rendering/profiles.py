r"""Profiles: how Markdown and LaTeX are written for the program that reads them.

    portable   Markdown that all readers agree on, in one file
    github     `math` fences, alerts, folds, anchors
    myst       labelled equations and `{eq}`, admonitions, targets (Sphinx, Jupyter Book, mystmd)
    quarto     labelled equations and `@eq-..`, callouts, a head in YAML
    article    LaTeX, article or ctexart
    exam       LaTeX, the class exam: questions with points, a table for grading, framed solutions

A number that counts up (1, 2, ..) is left to a reader that counts equations itself; one that says where it belongs
(2.1: the first equation of exercise 2) is printed as it is in every format.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from symgrad.errors import RecipeError
from symgrad.rendering.document import Reference

__all__ = ["PORTABLE", "PROFILES", "Profile", "label", "profile_for"]


@dataclass(frozen=True)
class Profile:
    """A way to write a format: its files' suffix, the pictures beside them, whether its reader counts equations itself.

    A reader that `draws` is given graphs in Mermaid instead of pictures.
    """

    name: str
    form: Literal["md", "tex"]
    suffix: str
    pictures: Literal["", "svg", "pdf"] = ""
    counts: bool = False
    draws: bool = False

    def math(self, latex: str) -> str:
        """A formula in a line of Markdown."""
        return f"$`{latex}`$" if self.name == "github" else f"${latex}$"

    def reference(self, reference: Reference, text: str, document: str) -> str:
        """A reference in a line of Markdown, whose text is escaped."""
        if self.name == "portable":
            return text
        target = label(reference.kind, reference.number, document)
        if self.counts and reference.kind == "eq" and reference.number.isdigit():
            return f"{{eq}}`{target}`" if self.name == "myst" else f"([-@{target}])"
        return f"[{text}](#{'at-' if self.name == 'quarto' else ''}{target})"

    def escape(self, text: str) -> str:
        """What means something to this reader only, in prose that is escaped for all of them."""
        return re.sub(r"([@^])", r"\\\1", text) if self.name == "quarto" else text

    def line_start(self, text: str) -> str:
        """A paragraph that would begin like a comment or a target."""
        return re.sub(r"^([%(])", r"\\\1", text) if self.name == "myst" else text


PROFILES: tuple[Profile, ...] = (
    Profile("portable", "md", "md"),
    Profile("github", "md", "md", "svg", draws=True),
    Profile("myst", "md", "md", "svg", counts=True),
    Profile("quarto", "md", "qmd", "svg", counts=True),
    Profile("article", "tex", "tex", "pdf"),
    Profile("exam", "tex", "tex", "pdf"),
)
PORTABLE = PROFILES[0]
_FIRST = {"md": PORTABLE, "tex": PROFILES[4]}


def label(kind: str, number: str, document: str) -> str:
    """A label that no other handout in the same book has.

    >>> label("eq", "2.1", "softmax.instructor.en")
    'eq-softmax-instructor-en-2-1'
    """
    return re.sub(r"[^a-z0-9]+", "-", f"{kind}-{document}-{number}".lower()).strip("-")


def profile_for(form: str, names: Iterable[str] = ()) -> Profile | None:
    """The profile of a format: the last that is named for it, else the usual one; None for a format without.

    Raises   RecipeError for a name that there is no profile of
    """
    known = {p.name: p for p in PROFILES}
    found = _FIRST.get(form)
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, list(known), 1)
            hint = f"did you mean {close[0]}?" if close else f"profiles: {', '.join(known)}"
            raise RecipeError(f"there is no profile {name!r}", hint=hint)
        if known[name].form == form:
            found = known[name]
    return found
