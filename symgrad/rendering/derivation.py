"""A derivation in a format: terminal text, Markdown, a complete LaTeX document, JSON, a notebook cell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sympy import Expr

from symgrad.api import Derivation
from symgrad.deriving.steps import Evidence, Step
from symgrad.errors import SymgradError, UnsupportedError
from symgrad.rendering.document import Document, Inline
from symgrad.rendering.formats import FORMATS, Format, inline_text, write_document
from symgrad.rendering.latex import to_latex
from symgrad.rendering.letters import answer_index
from symgrad.rendering.notation import Notation
from symgrad.rendering.numpy import to_numpy
from symgrad.rendering.phrases import load
from symgrad.rendering.text import to_text
from symgrad.rendering.view import View, counts_from_zero, named_question

__all__ = ["document_of", "latex_block", "render", "to_json"]


def document_of(derivation: Derivation, lang: str = "en", notation: Notation | None = None) -> Document:
    """The derivation as a document."""
    words = load(lang)
    notation = named_question(derivation, notation or Notation(layout=derivation.layout))
    view = View(words, notation, from_zero=counts_from_zero(derivation))
    title = words(f"derivation.title.{derivation.kind}")
    return Document(title, tuple(view.derivation(derivation)), lang, words=words.table("screen"))


def render(
    derivation: Derivation, form: str = "text", lang: str = "en", notation: Notation | None = None
) -> str:
    """The derivation as a document: `text` for a terminal, `md`, `tex` (ready to compile), or `html` (one file).

    >>> from symgrad.api import derive
    >>> print(render(derive("x @ x", "x", shapes="x: n", check=False)).splitlines()[0])
    A gradient, step by step

    Raises   UnsupportedError for another format, RecipeError for a language without phrases
    """
    document = document_of(derivation, lang, notation)
    if form == "html":
        from symgrad.rendering.html import write_html

        return write_html(document)
    return write_document(document, _format(form))


def _format(form: str) -> Format:
    for known in FORMATS:
        if form == known:
            return known
    raise UnsupportedError(f"there is no format {form!r}", hint=f"formats: {', '.join((*FORMATS, 'html'))}")


def latex_block(derivation: Derivation, notation: Notation | None = None) -> str:
    r"""The result with its left side, for a notebook: `$\displaystyle ...$`."""
    notation = named_question(derivation, notation or Notation(layout=derivation.layout))
    left, right = to_latex(derivation.left, notation), to_latex(derivation.final, notation)
    return rf"$\displaystyle {left} = {right}$"


def to_json(derivation: Derivation, lang: str = "en", notation: Notation | None = None) -> dict[str, Any]:
    """The derivation as data: what JSON can hold, with every expression in LaTeX and in the text language.

    An expression that the text language cannot say (an unevaluated gradient) has null there.
    """
    notation = named_question(derivation, notation or Notation(layout=derivation.layout))
    view = View(load(lang), notation, from_zero=counts_from_zero(derivation))

    def shown(e: Expr) -> dict[str, str | None]:
        return {"latex": to_latex(e, notation), "text": _spelt(e), "unicode": to_text(e, notation)}

    def step(s: Step) -> dict[str, Any]:
        return {
            "number": s.number,
            "rule": s.rule,
            "equation": [shown(e) for e in s.equation],
            "premises": list(s.premises),
            "reason": _words(view.reason(derivation, s)),
            "evidence": _evidence(s.evidence),
        }

    return {
        "kind": derivation.kind,
        "method": derivation.method,
        "layout": derivation.layout,
        "of": shown(derivation.of),
        "wrt": shown(derivation.wrt),
        "left": shown(derivation.left),
        "answer": shown(derivation.final),
        "answer_index": answer_index(derivation),
        "written_out": derivation.answer is not None,
        "steps": [step(s) for s in derivation.steps],
        "evidence": _evidence(derivation.evidence),
        "assumptions": list(derivation.assumptions),
        "operations": derivation.operations,
        "seconds": derivation.seconds,
    }


def _spelt(e: Expr) -> str | None:
    try:
        return to_numpy(e)
    except SymgradError:
        return None


def _words(content: Inline) -> str:
    return str(inline_text(content))


def _evidence(evidence: Evidence) -> dict[str, Any]:
    sizes: list[Mapping[str, int]] = [dict(s) for s in evidence.sizes]
    return {
        "level": evidence.level,
        "method": evidence.method,
        "sizes": sizes,
        "points": evidence.points,
        "max_error": evidence.max_error,
        "error_bound": evidence.error_bound,
    }
