"""Checks every step of a derivation before it is returned. A step whose sides differ is a fault of ours."""

from __future__ import annotations

from dataclasses import replace

from symgrad.checking.answers import Question
from symgrad.checking.equations import Equations
from symgrad.deriving.steps import Evidence, Step, weakest
from symgrad.errors import CheckError

__all__ = ["check_steps", "weakest_of"]


def check_steps(question: Question, steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The steps with their evidence; in a loop of symbolic length they are also checked at a length and a layer.

    Raises   CheckError if a step is wrong
    """
    checker = Equations(question.model, [s.equation for s in steps], question.wrt)
    known: dict[int, Step] = {s.number: s for s in steps}
    checked: list[Step] = []
    for step in steps:
        given = {known[p].left: known[p].right for p in step.premises if p in known}
        given = {k: v for k, v in given.items() if k != step.left} | dict(step.given)
        earlier = {s.left: s.right for s in steps if s.number < step.number}
        try:
            evidence = checker.check(step.equation, given, earlier)
        except CheckError as error:
            raise CheckError(
                f"step {step.number} ({step.rule}) failed its check, so nothing is returned: {error.message}",
                details=error.details,
                hint="this is a fault of symgrad; please report the formula",
            ) from error
        checked.append(replace(step, evidence=evidence))
    return tuple(checked)


def weakest_of(evidence: Evidence, steps: tuple[Step, ...]) -> Evidence:
    """The evidence for a result: that of the answer, held back by an induction that is not proved."""
    induction = [s.evidence for s in steps if s.rule.startswith("depth.")]
    level = weakest([evidence, *induction])
    return evidence if level == evidence.level else replace(evidence, level=level)
