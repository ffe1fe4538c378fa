"""Is it equal? The one door to the checkers: a finding about an equation, or about a derivative and its answer.

From strong to weak: equal normal forms (`proved`), an exact randomised test (`verified`), floating point (`agrees`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sympy import Expr

from symgrad.checking.answers import check_answer
from symgrad.checking.budget import OutOfTime, time_limit
from symgrad.checking.equations import Equations
from symgrad.checking.numeric import SidesDifferError
from symgrad.deriving.steps import Evidence
from symgrad.errors import CheckError, SymgradError
from symgrad.expr import (
    Differential,
    Model,
    ScalarDifferential,
    gradient,
    is_matrix,
    jacobian,
    same_size,
    shape_of,
    shape_text,
)

__all__ = ["Finding", "Kind", "Refutation", "Undecided", "compare", "equal"]

Kind = Literal["gradient", "jacobian", "hessian", "differential"]


@dataclass(frozen=True)
class Refutation:
    """A point where two expressions differ, which anyone can recompute.

    reason      in words
    sizes       the size symbols and their numbers; `inputs` the names and their values (nested lists; a vector is a
                column); both empty where the shapes already differ
    entry       the entry that differs most, zero-based; `left` and `right` its two values, `error` their relative
                difference
    """

    reason: str
    sizes: Mapping[str, int] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    entry: tuple[int, ...] = ()
    left: float | None = None
    right: float | None = None
    error: float | None = None
    level: Literal["differs"] = "differs"


@dataclass(frozen=True)
class Undecided:
    """Neither: why, and which budget ran out if one did."""

    reason: str
    budget: str | None = None
    level: Literal["undecided"] = "undecided"


Finding = Evidence | Refutation | Undecided


def equal(
    model: Model,
    a: Expr,
    b: Expr,
    *,
    given: Mapping[Expr, Expr] | None = None,
    seconds: float | None = 10.0,
) -> Finding:
    """What is known about `a = b`, where names that the model defines stand for their definitions.

    Either side may hold unevaluated derivatives (`Gradient`, `ScalarGradient`, `Jacobian`), so
    `equal(model, gradient(loss, z), delta)` decides a claim about an error signal. `given` equations are put in,
    left side by right side. In a loop of symbolic length the sides may speak of a general layer.

    Returns  Evidence with level `proved` (equal normal forms, for all sizes), `verified` (an exact randomised test,
             at the sizes and with the error bound in it) or `agrees` (floating point, no proof);
             Refutation with the point where they differ; Undecided with the reason, and the budget that ran out

    >>> from symgrad.expr import matmul, matrix, trace, transpose
    >>> A, B = matrix("A", "m", "n"), matrix("B", "m", "n")
    >>> equal(Model(()), trace(matmul(transpose(A), B)), trace(matmul(transpose(B), A))).level
    'proved'
    >>> equal(Model(()), A, B).level
    'differs'
    """
    if (misfit := _misfit(shape_of(a), shape_of(b))) is not None:
        return misfit
    if a == b:
        return Evidence("proved", "the same expression")
    checker = Equations(model, [(a, b)])
    return _found(lambda: checker.check((a, b), dict(given or {})), seconds)


def compare(
    model: Model,
    of: Expr,
    wrt: Expr,
    answer: Expr,
    *,
    kind: Kind = "gradient",
    seconds: float | None = 10.0,
) -> Finding:
    """What is known about the claim that `answer` is the derivative of `of` by `wrt`.

    A gradient has the shape of `wrt`; a Jacobian is J[i, j] = d of_i / d wrt_j (by a scalar, the shape of `of`); a
    Hessian is by a vector, n x n; a differential holds d + name for the increment (`dX`). The derivative is found
    again by code that shares nothing with the rules. `wrt` may be a defined name, which is then kept apart.

    Returns  as `equal`

    >>> from symgrad.expr import matmul, matrix, transpose, vector, as_scalar
    >>> A, x = matrix("A", "n", "n"), vector("x", "n")
    >>> f = matmul(transpose(x), A, x)
    >>> compare(Model(()), f, x, matmul(A, x)).level
    'differs'
    """
    left = _unevaluated(of, wrt, kind)
    if (misfit := _misfit(shape_of(left), shape_of(answer))) is not None:
        return misfit
    question = _Derivative(model, of, wrt, left)
    return _found(lambda: check_answer(question, answer), seconds)


@dataclass(frozen=True)
class _Derivative:
    model: Model
    of: Expr
    wrt: Expr
    left: Expr


def _unevaluated(of: Expr, wrt: Expr, kind: Kind) -> Expr:
    if kind == "jacobian":
        return jacobian(of, wrt)
    if kind == "hessian":
        return jacobian(gradient(of, wrt), wrt)
    if kind == "differential":
        return (Differential if is_matrix(of) else ScalarDifferential)(of)
    return gradient(of, wrt)


def _misfit(a: tuple[Expr, ...], b: tuple[Expr, ...]) -> Refutation | None:
    """Why two shapes are not the same; 1 x 1 is a scalar."""
    one, other = (() if s == (1, 1) else s for s in (a, b))
    if len(one) == len(other) and all(same_size(m, n) for m, n in zip(one, other, strict=True)):
        return None
    return Refutation(f"the shapes differ: {shape_text(a)} and {shape_text(b)}")


def _found(decide: Callable[[], Evidence], seconds: float | None) -> Finding:
    """The finding that a check comes to."""
    try:
        with time_limit(seconds):
            evidence = decide()
    except OutOfTime as late:
        return Undecided(str(late), f"{seconds:g} s" if seconds is not None else None)
    except SymgradError as error:
        cause = error if isinstance(error, SidesDifferError) else error.__cause__
        if isinstance(cause, SidesDifferError):
            d = cause.disagreement
            return Refutation(
                "the two sides differ", cause.sizes, cause.inputs, d.entry, d.left, d.right, d.error
            )
        if isinstance(error, CheckError):
            return Refutation("; ".join((error.message, *error.details)))
        return Undecided(error.message)
    except RecursionError:
        return Undecided("the formula is nested too deeply", "depth")
    return Undecided(evidence.method or "no method decides") if evidence.level == "none" else evidence
