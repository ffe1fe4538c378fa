"""Evidence in numbers: both sides agree at random points, derivatives taken as differences of the function itself.

Differences share no code with the rules. Agreement is never called a proof; disagreement names the point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sympy import Expr
from sympy.matrices.expressions.matexpr import MatrixElement

from symgrad.checking.evaluate import Number, concrete
from symgrad.checking.points import Point, Points
from symgrad.deriving.steps import Evidence
from symgrad.errors import CheckError, UnsupportedError
from symgrad.expr import (
    Model,
    TensorElement,
    is_matrix,
)

__all__ = [
    "Disagreement",
    "SidesDifferError",
    "check_differential",
    "check_equation",
    "check_gradient",
    "check_jacobian",
    "check_points",
    "check_structured",
]

Array = NDArray[np.float64]

TOLERANCE = 1e-6
_STEPS = (2e-3, 1e-2, 2e-4)
_NESTED_STEPS = (3e-2, 1e-2)
_LARGE = 1e3  # entries beyond that get larger steps
_EPSILON = float(np.finfo(float).eps)
_TRIES = 6
_CHOICES = 8
_ATTEMPTS = 60
_ENTRY = (MatrixElement, TensorElement)


@dataclass(frozen=True)
class Disagreement:
    """The entry where two values differ most, both values there, and their relative difference."""

    entry: tuple[int, ...]
    left: float
    right: float
    error: float


class SidesDifferError(CheckError):
    """Two sides differ; `disagreement` says where, `sizes` and `inputs` are the point."""

    def __init__(
        self,
        disagreement: Disagreement,
        sizes: Mapping[str, int],
        inputs: Mapping[str, Any],
    ) -> None:
        listed = ", ".join(f"{k} = {v}" for k, v in sizes.items())
        super().__init__(
            "the two sides differ",
            details=(
                f"entry {disagreement.entry}: {disagreement.left:.10g} against {disagreement.right:.10g}",
                f"sizes {listed or 'none'}",
            ),
        )
        self.disagreement, self.sizes, self.inputs = disagreement, sizes, inputs


def check_equation(
    model: Model,
    expressions: Sequence[Expr],
    *,
    count: int = 3,
    seed: int = 0,
    points: Points | None = None,
) -> Evidence:
    """Whether all expressions have the same value at random points; `points` may be shared by many equations.

    Returns  `agrees` with the sizes and the largest relative error, `none` where they have no value
    Raises   CheckError with the point where two of them differ
    """

    def compare(point: Point, concrete_expressions: tuple[Expr, ...]) -> Iterable[tuple[Number, Number]]:
        values = [point.at(e) for e in concrete_expressions]
        return [(values[0], v) for v in values[1:]]

    return check_points(points or Points(model, expressions, seed), expressions, compare, count)


def check_gradient(
    model: Model, f: Expr, x: Expr, answer: Expr, *, count: int = 3, sets: int = 2, seed: int = 0
) -> Evidence:
    """Whether `answer` is the gradient of the scalar f by x, along random directions of x.

    A wrong entry changes the slope along almost every direction, so two directions a point are enough.

    Returns  `agrees`, or `none` where something has no value
    Raises   CheckError with the point where they differ
    """

    def compare(point: Point, concrete_expressions: tuple[Expr, ...]) -> Iterable[tuple[Number, Number]]:
        g, target, variable = concrete_expressions
        rng = np.random.default_rng((seed, 77))
        start = np.asarray(point.at(variable))
        value = np.asarray(point.at(g))
        if value.shape != start.shape:
            return [(value, start)]
        pairs: list[tuple[Number, Number]] = []
        for _ in range(2):
            direction = rng.standard_normal(start.shape)
            pairs.append((float(np.sum(value * direction)), point.slope(target, variable, direction)))
        return pairs

    expressions = (answer, f, x)
    return check_points(Points(model, expressions, seed), expressions, compare, count, sets)


def check_jacobian(
    model: Model, f: Expr, x: Expr, answer: Expr, *, count: int = 3, sets: int = 2, seed: int = 0
) -> Evidence:
    """Whether `answer` is J[i, j] = d f_i / d x_j, along random directions of x; by a scalar it has the shape of f.

    For f an unevaluated gradient by x it is the Hessian.

    Raises   CheckError with the point where they differ
    """

    def compare(point: Point, concrete_expressions: tuple[Expr, ...]) -> Iterable[tuple[Number, Number]]:
        value, target, variable = concrete_expressions
        rng = np.random.default_rng((seed, 79))
        table, start = np.asarray(point.at(value)), np.asarray(point.at(variable))
        pairs: list[tuple[Number, Number]] = []
        for _ in range(2):
            direction = rng.standard_normal(start.shape)
            slope = np.asarray(point.slope(target, variable, direction))
            if not is_matrix(variable):
                pairs.append((table * direction, slope))
                continue
            stacked = slope.reshape((-1, 1), order="F")
            if table.ndim < 2 or table.shape != (stacked.size, direction.size):
                return [(table, np.zeros((stacked.size, direction.size)))]
            pairs.append((table @ direction.reshape((-1, 1), order="F"), stacked))
        return pairs

    expressions = (answer, f, x)
    return check_points(Points(model, expressions, seed), expressions, compare, count, sets)


def check_differential(
    model: Model, f: Expr, x: Expr, dx: Expr, answer: Expr, *, count: int = 3, sets: int = 2, seed: int = 0
) -> Evidence:
    """Whether `answer` is the differential of f: the slope of f along every increment dx of x.

    Raises   CheckError with the point where they differ
    """

    def compare(point: Point, concrete_expressions: tuple[Expr, ...]) -> Iterable[tuple[Number, Number]]:
        value, target, variable, increment = concrete_expressions
        return [(point.at(value), point.slope(target, variable, point.at(increment)))]

    expressions = (answer, f, x, dx)
    return check_points(Points(model, expressions, seed), expressions, compare, count, sets)


def check_structured(
    model: Model,
    f: Expr,
    x: Expr,
    answer: Expr,
    structure: str,
    *,
    count: int = 3,
    sets: int = 2,
    seed: int = 0,
) -> Evidence:
    """Whether `answer` is the gradient of f by a matrix with tied entries, along directions that keep the ties.

    symmetric-subspace  <answer, S> is the slope along every symmetric S, and the answer is symmetric
    symmetric-entries   the sum over i <= j of answer_ij s_ij is the slope along every symmetric S
    diagonal-entries    the sum of answer_ii d_i is the slope along diag(d), and the rest of it is zero

    Raises   CheckError with the point where they differ
    """

    def compare(point: Point, concrete_expressions: tuple[Expr, ...]) -> Iterable[tuple[Number, Number]]:
        g, target, variable = concrete_expressions
        rng = np.random.default_rng((seed, 78))
        value = np.asarray(point.at(g))
        n = len(value)
        pairs: list[tuple[Number, Number]] = []
        for _ in range(2):
            d = rng.standard_normal((n, n))
            d = np.diag(np.diag(d)) if structure == "diagonal-entries" else (d + d.T) / 2
            counted = np.triu(value) if structure == "symmetric-entries" else value
            pairs.append((float(np.sum(counted * d)), point.slope(target, variable, d)))
        tied = np.diag(np.diag(value)) if structure == "diagonal-entries" else value.T
        return [*pairs, (value, tied)]

    expressions = (answer, f, x)
    return check_points(Points(model, expressions, seed), expressions, compare, count, sets)


Compare = Callable[[Point, tuple[Expr, ...]], Iterable[tuple[Number, Number]]]


def check_points(
    points: Points, expressions: Sequence[Expr], compare: Compare, wanted: int, sets: int = 2
) -> Evidence:
    """Compare at `wanted` points of each of `sets` choices of sizes; what is outside the domain is passed by."""
    worst, tested = 0.0, 0
    used: list[dict[str, int]] = []
    reason = "no point of the domain was found"
    for which in range(_CHOICES if points.symbols else 1):
        here = 0
        for point in islice(points(which), wanted + _TRIES):
            try:
                error = _largest_error(point, tuple(concrete(e, point.sizes) for e in expressions), compare)
            except UnsupportedError as refused:
                return Evidence("none", refused.message)
            except (np.linalg.LinAlgError, ValueError, OverflowError) as refused:
                reason = f"the sides have no value together: {refused}"
                continue
            if error is None:
                continue  # outside the domain: draw again
            worst, here = max(worst, error), here + 1
            if here == wanted:
                break
        if here:
            tested += here
            used.append({str(s): n for s, n in point.sizes.items() if s in points.symbols})
        if len(used) == sets or (used and not points.symbols):
            break
    if tested == 0:
        return Evidence("none", reason)
    return Evidence("agrees", "differences of the function", tuple(used), tested, worst)


def _largest_error(point: Point, expressions: tuple[Expr, ...], compare: Compare) -> float | None:
    """The largest relative difference at a point; None outside the domain.

    Raises   CheckError if the sides differ there
    """
    with np.errstate(all="ignore"):
        found = [_difference(a, b) for a, b in compare(point, expressions)]
    known = [d for d in found if d is not None]
    if len(known) < len(found):
        return None
    largest = max(known, key=lambda d: d.error)
    if largest.error > TOLERANCE and largest.error < 30 * point.uncertainty:
        return None  # the differences themselves are not that exact here
    # A kink between the points of a difference shows once; a wrong formula shows everywhere.
    if largest.error > TOLERANCE and _is_persistent(point, expressions, compare):
        raise SidesDifferError(
            largest,
            {str(s): n for s, n in point.sizes.items()},
            {str(leaf): np.asarray(value).tolist() for leaf, value in point.inputs.items()},
        )
    return None if largest.error > TOLERANCE else largest.error


def _is_persistent(point: Point, expressions: tuple[Expr, ...], compare: Compare) -> bool:
    """Whether the difference is still there when the inputs are moved a little: a kink is then left behind."""
    moved = {
        leaf: value if np.all(np.asarray(value) == np.round(value)) else np.asarray(value) * 1.037
        for leaf, value in point.inputs.items()
    }
    again = Point(point.definitions, moved, point.sizes, point.evaluator)
    try:
        with np.errstate(all="ignore"):
            found = [_difference(a, b) for a, b in compare(again, expressions)]
    except (np.linalg.LinAlgError, ValueError, OverflowError):
        return True
    return any(d is None or d.error > TOLERANCE for d in found)


def _difference(a: Number, b: Number) -> Disagreement | None:
    """The largest relative difference; None where a side is not finite."""
    x, y = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if x.shape != y.shape:
        if x.size == y.size == 1:
            x, y = x.reshape(()), y.reshape(())
        else:
            raise CheckError("the two sides differ", details=(f"shapes {x.shape} and {y.shape}",))
    if not (np.all(np.isfinite(x)) and np.all(np.isfinite(y))):
        return None
    scale = max(float(np.max(np.abs(x), initial=0.0)), float(np.max(np.abs(y), initial=0.0)), 1e-3)
    gap = np.abs(x - y) / scale
    at = np.unravel_index(int(np.argmax(gap)), gap.shape) if gap.size else ()
    where = tuple(int(i) for i in at)
    return Disagreement(where, float(x[at]), float(y[at]), float(gap[at]) if gap.size else 0.0)
