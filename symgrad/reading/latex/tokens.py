r"""A token, the bounds on what is read, and errors with their place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from symgrad.errors import SymgradError

__all__ = ["LATEX_LIMITS", "LatexLimits", "Tok", "fail_at"]


@dataclass(frozen=True)
class LatexLimits:
    """Bounds on what is read; every one is far beyond a formula that a person writes."""

    characters: int = 20_000
    tokens: int = 4_000
    depth: int = 40
    digits: int = 40


LATEX_LIMITS = LatexLimits()


@dataclass(frozen=True, slots=True)
class Tok:
    """A token: its kind in the grammar, its text, where it stands in the source."""

    kind: str
    text: str
    at: int
    end: int
    mark: str = ""


def fail_at(
    kind: type[SymgradError],
    message: str,
    source: str,
    at: int,
    hint: str | None = None,
    details: tuple[str, ...] = (),
) -> NoReturn:
    """Raise an error at an offset of the source."""
    before = source[:at]
    raise kind(
        message,
        source=source,
        line=before.count("\n") + 1,
        column=at - (before.rfind("\n") + 1) + 1,
        hint=hint,
        details=details,
    )
