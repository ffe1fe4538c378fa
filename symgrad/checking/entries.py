"""Answers in index notation: proved by a second derivation, compared as whole arrays with differences of the function."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from sympy import Expr

from symgrad.checking.answers import Question
from symgrad.checking.evaluate import Number
from symgrad.checking.finite_field import FieldTest
from symgrad.checking.normal_form import PROOF, Prover
from symgrad.checking.numeric import check_differential, check_gradient, check_points
from symgrad.checking.points import Point, Points
from symgrad.deriving.by_entries import InIndices
from symgrad.deriving.steps import Evidence, Step, weakest
from symgrad.expr import Model, differential, shape_of

__all__ = ["check_array", "check_in_indices"]


class QuestionInIndices(Question, Protocol):
    """What is checked: an answer in index notation."""

    @property
    def kind(self) -> str:
        """Gradient, Jacobian or Hessian."""
        ...

    @property
    def indices(self) -> InIndices | None:
        """The answer in index notation."""
        ...

    @property
    def answer(self) -> Expr | None:
        """The matrix with these entries, where there is one."""
        ...


def check_in_indices(question: QuestionInIndices, steps: tuple[Step, ...]) -> Evidence:
    """The evidence for an answer in index notation, and for its matrix form; of a Hessian, after its gradient.

    Raises   CheckError if one of them is wrong
    """
    found, model, f, x = question.indices, question.model, question.of, question.wrt
    if found is None or found.array is None:
        return Evidence(weakest([s.evidence for s in steps]), "every step of the chain rule")
    arrays = [found.array] if found.matrix is None else [found.array, question.answer or found.matrix]
    proved = _proved(Prover(model), question, found, arrays)
    few = {"count": 1, "sets": 1} if proved else {}
    checks: list[Evidence] = []
    if question.kind == "differential":
        checks += [check_differential(model, f, x, differential(x), a, **few) for a in arrays]
    elif question.kind == "gradient":
        checks += [check_gradient(model, f, x, a, **few) for a in arrays]
    elif found.first is not None and found.first.array is not None:
        checks.append(check_gradient(model, f, x, found.first.array, **few))
        checks += [check_array(model, found.first.array, x, a) for a in arrays]
    else:
        checks += [check_array(model, f, x, a) for a in arrays]
    level = weakest(checks)
    least = next(e for e in checks if e.level == level)
    if proved:  # also where the arrays are too large to be compared in numbers
        return Evidence("proved", PROOF, least.sizes)
    exact = _tested(FieldTest(model), question, arrays)
    if exact is not None:
        return exact
    return replace(least, max_error=max((e.max_error or 0.0 for e in checks), default=0.0))


def _proved(prover: Prover, question: QuestionInIndices, found: InIndices, arrays: Sequence[Expr]) -> bool:
    """Whether the entries, and the matrix with these entries, are those of a derivative in index form."""
    f, x, twice = question.of, question.wrt, question.kind == "hessian"
    if question.kind == "differential":
        return all(prover.differential_equals(f, x, differential(x), a) is True for a in arrays)
    if found.entry is None or not prover.entries_equal(f, x, found.entry, found.indices, twice=twice):
        return False
    matrix_equals = {"gradient": prover.gradient_equals, "hessian": prover.hessian_equals}.get(
        question.kind, prover.jacobian_equals
    )
    return all(matrix_equals(f, x, a) is True for a in arrays[1:])


def _tested(test: FieldTest, question: QuestionInIndices, arrays: Sequence[Expr]) -> Evidence | None:
    """The entries, and the matrix with these entries, against derivatives in a finite field."""
    f, x = question.of, question.wrt
    found = [test.array_equals(f, x, arrays[0], twice=question.kind == "hessian")]
    matrix_equals = {"gradient": test.gradient_equals, "hessian": test.hessian_equals}.get(
        question.kind, test.jacobian_equals
    )
    found += [matrix_equals(f, x, a) for a in arrays[1:] if found[0] is not None]
    exact = [e for e in found if e is not None]
    return max(exact, key=lambda e: e.error_bound or 0.0) if len(exact) == len(found) else None


def check_array(model: Model, f: Expr, x: Expr, answer: Expr, *, seed: int = 0) -> Evidence:
    """Whether `answer` has the derivatives of the entries of f by those of x, the axes of f before those of x.

    Axes of length one (the column of a vector) are left out. Along random directions of x the answer must give
    the slope of every entry of f.

    Raises   CheckError with the point where they differ
    """

    def compare(point: Point, concrete: tuple[Expr, ...]) -> Iterable[tuple[Number, Number]]:
        value, function, variable = concrete
        rng = np.random.default_rng((seed, 79))
        start = np.asarray(point.at(variable))
        table = np.asarray(point.at(value))
        pairs: list[tuple[Number, Number]] = []
        for _ in range(2):
            direction = rng.standard_normal(start.shape)
            slope = np.asarray(point.slope(function, variable, direction))
            flat = table.reshape((slope.size, start.size))
            pairs.append((flat @ direction.reshape(-1), slope.reshape(-1)))
        return pairs

    expressions = (answer, f, x)
    size = max(len(shape_of(answer)), 1)
    return check_points(Points(model, expressions, seed), expressions, compare, 1 if size > 4 else 2)
