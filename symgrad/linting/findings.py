"""What is found in a document: its formulas, their statements, and what became of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from symgrad.linting.notes import Readings
from symgrad.reading.claim import Context
from symgrad.reading.document import Problem
from symgrad.reading.latex.macros import Written
from symgrad.verifying import Verdict

__all__ = ["Finding", "Part", "Reason", "Report"]

Role = Literal["definition", "claim", "skipped"]

_GRAVITY = ("refuted", "undecided", "agrees", "verified", "proved")


@dataclass(frozen=True)
class Reason:
    """Why a formula was skipped: a phrase of the catalogue (`lint.<key>`), and what is put into it."""

    key: str
    what: str = ""


@dataclass
class Part:
    """One statement of a formula: what it is and what was found out."""

    text: str
    start: int
    role: Role
    verdict: Verdict | None = None
    reason: Reason | None = None
    context: Context | None = field(default=None, repr=False)


@dataclass
class Finding:
    """A formula of the document with its parts.

    `start` and `end` are its offsets in the formula of the cell as `written`, which says where it stands in the source;
    `cell` is the number of the cell in a notebook, `at` where the formula begins there.
    """

    file: str
    line: int
    column: int
    formula: str
    parts: list[Part]
    displayed: bool = True
    cell: int | None = None
    start: int = 0
    end: int = 0
    ignored: bool = False
    written: Written = field(default_factory=lambda: Written("", ()), repr=False)
    at: int = 0

    @property
    def role(self) -> Role:
        """What the formula is: a claim if one of its parts is, else a definition if one is."""
        roles = {p.role for p in self.parts}
        return "claim" if "claim" in roles else "definition" if "definition" in roles else "skipped"

    @property
    def verdict(self) -> Verdict | None:
        """The gravest verdict of its parts."""
        found = [p.verdict for p in self.parts if p.verdict is not None]
        return min(found, key=lambda v: _GRAVITY.index(v.verdict), default=None)

    @property
    def reasons(self) -> list[Reason]:
        """Why it was skipped."""
        return list(dict.fromkeys(p.reason for p in self.parts if p.reason is not None))


@dataclass
class Report:
    """All findings of a document, its unclosed delimiters, and how names without declared shapes were read."""

    file: str
    findings: list[Finding] = field(default_factory=list)
    problems: list[tuple[Problem, int | None]] = field(default_factory=list)
    readings: Readings = field(default_factory=Readings)
    mark: str = "l"
    document: Any = None

    @property
    def refuted(self) -> list[Finding]:
        """The formulas that are wrong."""
        return [
            f
            for f in self.findings
            if not f.ignored and f.verdict is not None and f.verdict.verdict == "refuted"
        ]
