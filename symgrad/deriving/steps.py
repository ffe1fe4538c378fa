"""What a derivation is made of: plain frozen data that can be checked, printed and compared.

The words come from the phrase catalogue (`phrase` and `terms`), the typesetting from the printers, the
truth from evaluating every expression of `equation`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sympy import Expr

__all__ = ["INDUCTION", "Evidence", "Level", "Step", "weakest"]

Level = Literal["proved", "verified", "agrees", "none"]
LEVELS: tuple[Level, ...] = ("proved", "verified", "agrees", "none")


INDUCTION = "induction over the layers"
"""The method of a proof for every length of a loop."""


@dataclass(frozen=True)
class Evidence:
    """What is known about an equation, and how.

    proved    both sides have the same normal form
    verified  an exact randomised test, wrong with probability at most `error_bound`
    agrees    equal in floating point at `points` random points to `max_error` (relative)
    none      not checked
    """

    level: Level
    method: str = ""
    sizes: tuple[Mapping[str, int], ...] = ()
    points: int = 0
    max_error: float | None = None
    error_bound: float | None = None


@dataclass(frozen=True)
class Step:
    """One equation of a derivation: all expressions of `equation` are equal.

    The first expression is what is worked out (often an unevaluated `Gradient`), the last is the result.
    `premises` are the numbers of the steps it rests on; `terms` fill the places of the phrase. `given` are
    equations that the step assumes, as the hypothesis of a proof by induction (left side -> right side).
    """

    number: int
    rule: str
    equation: tuple[Expr, ...]
    premises: tuple[int, ...] = ()
    phrase: str = ""
    terms: Mapping[str, Expr | str] = field(default_factory=dict)
    evidence: Evidence = Evidence("none")
    given: Mapping[Expr, Expr] = field(default_factory=dict)

    @property
    def left(self) -> Expr:
        """What is worked out."""
        return self.equation[0]

    @property
    def right(self) -> Expr:
        """What it is."""
        return self.equation[-1]


def weakest(evidence: list[Evidence]) -> Level:
    """The weakest level of several pieces of evidence."""
    return max((e.level for e in evidence), key=LEVELS.index, default="none")
