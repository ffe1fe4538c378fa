"""Forward mode by differentials (Magnus and Neudecker 2019): df first, then the gradient is read off.

The increment of a name x is a symbol dx. A scalar differential is brought into the form tr(A dX) by cyclic
exchange and transposition under the trace; its gradient is A^T. A vector
differential J dx has the Jacobian J.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sympy import Expr, S
from sympy.core.symbol import Str
from sympy.matrices.expressions.hadamard import HadamardPower, HadamardProduct
from sympy.matrices.expressions.special import ZeroMatrix

from symgrad.deriving.backprop import Tidy, active_symbols
from symgrad.deriving.linear_maps import linear_factor, trace_factor, vec_factor
from symgrad.deriving.steps import Step
from symgrad.errors import UnsupportedError
from symgrad.expr import (
    Differential,
    Elementwise,
    Model,
    ScalarDifferential,
    dependents,
    differential,
    entry_sum,
    eye,
    gradient,
    hadamard,
    is_column,
    is_matrix,
    is_scalar,
    jacobian,
    leaf_name,
    matmul,
    scale,
    split_scale,
    substitute,
    trace,
    transpose,
    vec,
    zeros,
)
from symgrad.rules import rule_for

__all__ = [
    "DifferentialSweep",
    "differential_of",
    "gradient_by_differential",
    "jacobian_by_differential",
    "scalar_differential",
    "sweep_forward",
]


@dataclass
class DifferentialSweep:
    """The differentials of the definitions on the way from `wrt` to `f`, with their steps.

    `total` is the differential of `f` written with the increment of `wrt` alone.
    """

    f: Expr
    wrt: Expr
    increment: Expr
    steps: list[Step] = field(default_factory=list)
    total: Expr = S.Zero

    def record(self, rule: str, equation: tuple[Expr, ...], premises: tuple[int, ...] = ()) -> int:
        """Add a step and return its number."""
        chain: list[Expr] = []
        for e in equation:
            if not chain or chain[-1] != e:
                chain.append(e)
        number = len(self.steps) + 1
        self.steps.append(Step(number, rule, tuple(chain), premises, rule, {"node": chain[0]}))
        return number


def differential_of(e: Expr, increments: Mapping[Expr, Expr], name: Expr | None = None) -> Expr:
    """The differential of an expression, given the increments of its leaves; zero if none of them changes.

    `name` is what the expression itself is called, so that a derivative can be written with it.

    >>> from symgrad.expr import matrix
    >>> X = matrix("X", "m", "n")
    >>> differential_of(matmul(transpose(X), X), {X: differential(X)})
    X.T*dX + dX.T*X
    """
    changing = dependents(e, increments)
    if e not in changing:
        return S.Zero if is_scalar(e) else zeros(*e.shape)
    done: dict[Expr, Expr] = dict(increments)
    stack = [e]
    while stack:
        node = stack[-1]
        if node in done:
            stack.pop()
            continue
        entry = rule_for(node)
        parts = entry.parts(node)
        waiting = [p for p in parts if p in changing and p not in done]
        if waiting:
            stack.extend(waiting)
            continue
        stack.pop()
        moving = tuple(None if isinstance(p, Str) or p not in changing else done[p] for p in parts)
        done[node] = entry.differential(moving, name if node == e and name is not None else node, *parts)
    return done[e]


def unevaluated(e: Expr) -> Expr:
    """The differential d(e), not worked out."""
    return Differential(e) if is_matrix(e) else ScalarDifferential(e)


def sweep_forward(model: Model, f: Expr, wrt: Expr, tidy: Tidy) -> DifferentialSweep:
    """The differential of `f` by the increment of `wrt`, definition by definition."""
    names = {leaf_name(s) for s in (*model.inputs(), *(d.symbol for d in model.definitions()))}
    if f"d{leaf_name(wrt)}" in names:
        raise UnsupportedError(
            f"the increment of {leaf_name(wrt)} would be called d{leaf_name(wrt)}, which is a name already"
        )
    out = DifferentialSweep(f, wrt, differential(wrt))
    active = active_symbols(model.definitions(), [wrt])
    values: dict[Expr, Expr] = {wrt: out.increment}
    defined = {d.symbol for d in model.definitions()}
    number_of: dict[Expr, int] = {}
    for d in model.definitions():
        if d.symbol not in active or d.symbol == wrt:
            continue
        dv = tidy(differential_of(d.value, {s: values[s] for s in active if s in values}, d.symbol))
        premises = tuple(number_of[s] for s in number_of if s in dependents(d.value, {s}))
        number_of[d.symbol] = out.record(
            "differential.definition", (unevaluated(d.symbol), unevaluated(d.value), dv), premises
        )
        values[d.symbol] = dv
        if d.symbol == f:
            out.total = dv
            return out
    if f in defined or f == wrt:
        out.total = values.get(f, S.Zero if is_scalar(f) else zeros(*f.shape))
        return out
    out.total = tidy(differential_of(f, values))
    premises = tuple(number_of[s] for s in number_of if s in dependents(f, {s}))
    out.record("differential.definition", (unevaluated(f), out.total), premises)
    return out


def gradient_by_differential(model: Model, f: Expr, wrt: Expr, tidy: Tidy) -> tuple[DifferentialSweep, Expr]:
    """The gradient of a scalar `f`: df = tr(A dX) is read as A^T.

    Raises   UnsupportedError where the differential has no such form
    """
    out = sweep_forward(model, f, wrt, tidy)
    coefficient = trace_factor(out.total, out.increment)
    if coefficient is None:
        raise UnsupportedError(f"the differential {out.total} has no form tr(A {out.increment})")
    if is_scalar(wrt):
        answer = tidy(coefficient)
        out.record("differential.read_off", (gradient(f, wrt), answer), (len(out.steps),))
        return out, answer
    row = tidy(coefficient)
    traced = (
        trace(matmul(row, out.increment))
        if not is_scalar(matmul(row, out.increment))
        else matmul(row, out.increment)
    )
    number = out.record(
        "differential.trace", (unevaluated(f), out.total, traced), (len(out.steps),) if out.steps else ()
    )
    answer = tidy(transpose(coefficient))
    out.record("differential.read_off", (gradient(f, wrt), transpose(row), answer), (number,))
    return out, answer


def scalar_differential(model: Model, f: Expr, wrt: Expr, tidy: Tidy) -> DifferentialSweep:
    """The differential of `f`; of a scalar in the form tr(A dX), or x^T dx, or a sum over entries."""
    out = sweep_forward(model, f, wrt, tidy)
    if not is_scalar(f) or is_scalar(wrt) or out.total == 0:
        return out
    coefficient = trace_factor(out.total, out.increment)
    if coefficient is None:
        return out
    form = _traced(tidy(coefficient), out.increment, tidy)
    if form != out.total and tidy.length(form) <= tidy.length(out.total):
        out.record(
            "differential.trace", (unevaluated(f), out.total, form), (len(out.steps),) if out.steps else ()
        )
        out.total = form
    return out


def _traced(row: Expr, dx: Expr, tidy: Tidy) -> Expr:
    """tr(A dX), or the sum of the entries of G * dX where G = A^T is made entry by entry."""
    product = matmul(row, dx)
    if is_scalar(product):
        return tidy(product)
    upright = split_scale(tidy(transpose(row)))
    if isinstance(upright[1], HadamardProduct | HadamardPower | Elementwise):
        return tidy(scale(upright[0], entry_sum(hadamard(upright[1], dx))))
    c, rest = split_scale(row)
    return tidy(scale(c, trace(matmul(rest, dx))))


def jacobian_by_differential(model: Model, f: Expr, wrt: Expr, tidy: Tidy) -> tuple[DifferentialSweep, Expr]:
    """The Jacobian J[i, j] = d f_i / d x_j of a vector (or scalar) `f` by a vector.

    By a scalar it has the shape of `f`. Of or by a matrix it is that of vec(f) by vec(X), columns stacked:
    vec(df) = J vec(dX) (Magnus and Neudecker 2019, chapter 9).

    Raises   UnsupportedError where the differential is no matrix times the increment
    """
    out = sweep_forward(model, f, wrt, tidy)
    if is_scalar(wrt):
        answer = tidy(substitute(out.total, {out.increment: S.One}))
        out.record("differential.read_off", (jacobian(f, wrt), answer), (len(out.steps),))
        return out, answer
    if out.total == 0 or isinstance(out.total, ZeroMatrix):
        answer = zeros(jacobian(f, wrt).shape[0], jacobian(f, wrt).shape[1])
        out.record("differential.read_off", (jacobian(f, wrt), answer), (len(out.steps),))
        return out, answer
    plain = is_column(wrt) and (is_scalar(f) or is_column(f))
    factor = linear_factor(out.total, out.increment) if plain else None
    stacked = factor is None
    if factor is None:
        factor = vec_factor(out.total, out.increment)
    if factor is None:
        raise UnsupportedError(f"the differential {out.total} is no matrix times {out.increment}")
    answer = tidy(factor)
    if is_scalar(answer):
        answer = scale(answer, eye(1))
    left, right = unevaluated(f), out.increment
    if stacked:
        left, right = vec(left), vec(right)
    number = out.record(
        "differential.vec" if stacked else "differential.factor",
        (left, vec(out.total) if stacked else out.total, matmul(answer, right)),
        (len(out.steps),),
    )
    out.record("differential.read_off", (jacobian(f, wrt), answer), (number,))
    return out, answer
