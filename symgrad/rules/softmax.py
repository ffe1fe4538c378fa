"""Softmax and log-sum-exp along an axis."""

from __future__ import annotations

from sympy import Expr

from symgrad.expr import (
    AxisLogSumExp,
    LogSoftmax,
    LogSumExp,
    Softmax,
    add,
    axis_sum,
    hadamard,
    inner,
    is_column,
    matmul,
    negate,
    ones,
    scale,
    softmax,
    transpose,
)
from symgrad.rules.registry import rule

Parts = tuple[Expr | None, ...]


def _spread_sums(a: Expr, axis: int) -> Expr:
    """The sums along an axis, repeated along it, in the shape of `a`."""
    if is_column(a):
        return scale(axis_sum(a, 0), ones(*a.shape))
    if axis == 0:
        return matmul(ones(a.shape[0]), transpose(axis_sum(a, 0)))
    return matmul(axis_sum(a, 1), transpose(ones(a.shape[1])))


def _softmax_map(y: Expr, g: Expr, axis: int) -> Expr:
    """(diag(y) - y y^T) g along the axis; the map is symmetric, so it serves both modes."""
    if is_column(y):
        return hadamard(y, add(g, negate(scale(inner(y, g), ones(*y.shape)))))
    return hadamard(y, add(g, negate(_spread_sums(hadamard(y, g), axis))))


@rule(
    "softmax",
    op=Softmax,
    differential=lambda d, y, x, axis: _softmax_map(y, d[0], int(axis)),
    example="softmax(Z, axis=1)",
    shapes="Z: m n",
    cites="Goodfellow, Bengio and Courville (2016), section 6.2; derived from exp and sum",
)
def softmax_rule(g: Expr, y: Expr, x: Expr, axis: Expr) -> Parts:
    """The output times what remains of the adjoint when its mean under the output is taken away."""
    return _softmax_map(y, g, int(axis)), None


@rule(
    "log softmax",
    op=LogSoftmax,
    differential=lambda d, y, x, axis: add(
        d[0], negate(_spread_sums(hadamard(softmax(x, int(axis)), d[0]), int(axis)))
    ),
    example="log_softmax(Z, axis=1)",
    shapes="Z: m n",
    cites="the difference of its input and a log-sum-exp",
)
def log_softmax_rule(g: Expr, y: Expr, x: Expr, axis: Expr) -> Parts:
    """The adjoint minus the softmax times the sum of the adjoint."""
    return add(g, negate(hadamard(softmax(x, int(axis)), _spread_sums(g, int(axis))))), None


@rule(
    "logsumexp",
    op=LogSumExp,
    differential=lambda d, y, x: inner(softmax(x), d[0]),
    example="logsumexp(z)",
    shapes="z: n",
    cites="Boyd and Vandenberghe (2004), section 3.1.5",
)
def logsumexp_rule(g: Expr, y: Expr, x: Expr) -> Parts:
    """The softmax, times the adjoint."""
    return (scale(g, softmax(x)),)


def _axis_logsumexp_differential(d: tuple[Expr | None, ...], y: Expr, x: Expr, axis: Expr) -> Expr:
    return axis_sum(hadamard(softmax(x, int(axis)), d[0]), int(axis))


@rule(
    "logsumexp along axis",
    op=AxisLogSumExp,
    differential=_axis_logsumexp_differential,
    example="logsumexp(Z, axis=1)",
    shapes="Z: m n",
    cites="Boyd and Vandenberghe (2004), section 3.1.5",
)
def axis_logsumexp_rule(g: Expr, y: Expr, x: Expr, axis: Expr) -> Parts:
    """The softmax along the axis, each row (or column) times its adjoint."""
    spread = (
        matmul(ones(x.shape[0]), transpose(g)) if int(axis) == 0 else matmul(g, transpose(ones(x.shape[1])))
    )
    return hadamard(softmax(x, int(axis)), spread), None
