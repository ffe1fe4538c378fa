"""Forward mode by differentials (Magnus and Neudecker 2019): df first, then the gradient is read off.

The increment of a name x is a symbol dx. A scalar differential is brought into the form tr(A dX) by cyclic
exchange and transposition under the trace; its gradient is A^T. A vector
differential J dx has the Jacobian J.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sympy import Add, Expr, Mul, S
from sympy.core.symbol import Str
from sympy.matrices.expressions.diagonal import DiagMatrix, DiagonalOf
from sympy.matrices.expressions.hadamard import HadamardProduct
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.trace import Trace
from sympy.matrices.expressions.transpose import Transpose

from symgrad.deriving.backprop import Tidy, active_symbols
from symgrad.deriving.linear_maps import linear_factor
from symgrad.deriving.steps import Step
from symgrad.errors import UnsupportedError
from symgrad.expr import (
    AsScalar,
    Differential,
    EntrySum,
    Model,
    ScalarDifferential,
    add,
    dependents,
    diag,
    differential,
    eye,
    gradient,
    hadamard,
    is_matrix,
    is_scalar,
    jacobian,
    leaf_name,
    matmul,
    ones,
    scale,
    substitute,
    trace,
    transpose,
    zeros,
)
from symgrad.rules import rule_for

__all__ = [
    "DifferentialSweep",
    "differential_of",
    "gradient_by_differential",
    "jacobian_by_differential",
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
    coefficient = _coefficient(out.total, S.One, out.increment)
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


def _coefficient(e: Expr, weight: Expr, dx: Expr) -> Expr | None:
    """A with weight * e = tr(A dx) for a scalar e that is linear in dx (a number for a scalar dx)."""
    involved = dependents(e, {dx})

    def from_scalar(s: Expr, w: Expr) -> Expr | None:
        if s == dx:
            return w
        if s not in involved:
            return _nothing(dx)
        if isinstance(s, Add):
            return _sum([from_scalar(t, w) for t in s.args if t in involved])
        if isinstance(s, Mul):
            held = [a for a in s.args if a in involved]
            return (
                from_scalar(held[0], Mul(w, *(a for a in s.args if a not in involved)))
                if len(held) == 1
                else None
            )
        if isinstance(s, AsScalar):
            return from_matrix(s.arg, w)
        if type(s) is EntrySum:
            return from_matrix(s.arg, scale(w, ones(s.arg.shape[1], s.arg.shape[0])))
        if isinstance(s, Trace):
            return from_matrix(s.arg, scale(w, eye(s.arg.shape[0])))
        return None

    def from_matrix(m: Expr, a: Expr) -> Expr | None:
        """The coefficient of dx in tr(a m); a is a scalar where m is 1 x 1."""
        if m == dx:
            return a
        if isinstance(m, MatAdd):
            return _sum([from_matrix(t, a) for t in m.args if t in involved])
        held = [i for i, arg in enumerate(m.args) if arg in involved]
        if len(held) != 1:
            return None
        at = m.args[held[0]]
        before, after = m.args[: held[0]], m.args[held[0] + 1 :]
        if isinstance(m, MatMul):
            if is_scalar(at):
                rest = matmul(*before, *after)
                weight = (
                    matmul(a, rest) if is_scalar(a) or is_scalar(matmul(a, rest)) else trace(matmul(a, rest))
                )
                return from_scalar(at, weight)
            return from_matrix(at, matmul(*after, a, *before))  # tr(A P N Q) = tr(Q A P N)
        if isinstance(m, Transpose):
            return from_matrix(at, transpose(a))  # tr(A N^T) = tr(A^T N)
        if isinstance(m, HadamardProduct):
            return from_matrix(at, hadamard(a, transpose(hadamard(*before, *after))))
        if isinstance(m, DiagMatrix):
            return from_matrix(at, transpose(diag(a)))
        if isinstance(m, DiagonalOf):
            return from_matrix(at, diag(transpose(a)))
        return None

    return from_scalar(e, weight) if is_scalar(e) else None


def _sum(parts: list[Expr | None]) -> Expr | None:
    known = [p for p in parts if p is not None]
    return add(*known) if len(known) == len(parts) else None


def _nothing(dx: Expr) -> Expr:
    return S.Zero if is_scalar(dx) else zeros(dx.shape[1], dx.shape[0])


def jacobian_by_differential(model: Model, f: Expr, wrt: Expr, tidy: Tidy) -> tuple[DifferentialSweep, Expr]:
    """The Jacobian of a vector (or scalar) `f` by a vector or scalar, J[i, j] = d f_i / d x_j.

    By a scalar it has the shape of `f`.

    Raises   UnsupportedError where the differential is no matrix times the increment
    """
    out = sweep_forward(model, f, wrt, tidy)
    if is_scalar(wrt):
        answer = tidy(substitute(out.total, {out.increment: S.One}))
        out.record("differential.read_off", (jacobian(f, wrt), answer), (len(out.steps),))
        return out, answer
    factor = linear_factor(out.total, out.increment)
    if factor is None:
        raise UnsupportedError(f"the differential {out.total} is no matrix times {out.increment}")
    answer = tidy(factor)
    if is_scalar(answer):
        answer = scale(answer, eye(1))
    number = out.record(
        "differential.factor", (unevaluated(f), out.total, matmul(answer, out.increment)), (len(out.steps),)
    )
    out.record("differential.read_off", (jacobian(f, wrt), answer), (number,))
    return out, answer
