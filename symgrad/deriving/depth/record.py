"""A derivation through loops while it is made: one list of steps for what the rules and what the closed forms say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sympy import Expr, S

from symgrad.deriving.backprop import Sweep
from symgrad.deriving.steps import Step
from symgrad.expr import substitute

__all__ = ["DepthSweep"]


@dataclass
class DepthSweep:
    """A derivation through loops: the steps, the result by one layer, and written out.

    `closed` is None where the result can only be given by the adjoints of named quantities.
    """

    f: Expr
    wrt: Expr
    steps: list[Step] = field(default_factory=list)
    result: Expr = S.Zero
    closed: Expr | None = S.Zero

    def __post_init__(self) -> None:
        self.sweep = Sweep(self.f, self.steps)

    def record(
        self,
        rule: str,
        equation: Iterable[Expr],
        premises: Sequence[int] = (),
        given: Mapping[Expr, Expr] | None = None,
        **terms: Expr,
    ) -> int:
        """Add a step and return its number; equal neighbours of the chain are written once."""
        chain: list[Expr] = []
        for e in equation:
            if not chain or chain[-1] != e:
                chain.append(e)
        number = len(self.steps) + 1
        used = tuple(sorted({p for p in premises if p}))
        self.steps.append(
            Step(number, rule, tuple(chain), used, rule, {"node": chain[0], **terms}, given=dict(given or {}))
        )
        return number

    def append(self, steps: Iterable[Step]) -> list[int]:
        """Take over the steps of another derivation; returns their new numbers."""
        numbers: dict[int, int] = {}
        for s in steps:
            numbers[s.number] = len(self.steps) + 1
            premises = tuple(numbers[p] for p in s.premises if p in numbers)
            self.steps.append(replace(s, number=numbers[s.number], premises=premises))
        return list(numbers.values())

    def restate(self, since: int, names: Mapping[Expr, Expr]) -> None:
        """Write the steps from a number on without names that only the derivation used."""
        for at in range(since, len(self.steps)):
            step = self.steps[at]
            chain: list[Expr] = []
            for e in (substitute(e, names) for e in step.equation):
                if not chain or chain[-1] != e:
                    chain.append(e)
            terms = {k: v if isinstance(v, str) else substitute(v, names) for k, v in step.terms.items()}
            self.steps[at] = replace(step, equation=tuple(chain), terms=terms)

    def keep_needed(self, shown: Iterable[int] = ()) -> None:
        """Leave out the steps that neither the last one nor `shown` rest on, and number the others again."""
        by_number = {s.number: s for s in self.steps}
        wanted: set[int] = set()
        stack = [*shown, *(s.number for s in self.steps[-1:])]
        while stack:
            number = stack.pop()
            if number not in wanted:
                wanted.add(number)
                stack.extend(by_number[number].premises)
        kept = [s for s in self.steps if s.number in wanted]
        again = {s.number: n for n, s in enumerate(kept, 1)}
        self.steps[:] = [
            replace(s, number=again[s.number], premises=tuple(again[p] for p in s.premises)) for s in kept
        ]
