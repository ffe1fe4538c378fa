"""From many entries to few: sums, norms, traces, extrema."""

from __future__ import annotations

from sympy import Expr, Pow
from sympy.matrices.expressions.trace import Trace

from symgrad.expr import (
    AxisMax,
    EntryMax,
    EntrySum,
    Norm,
    add,
    apply,
    axis_sum,
    divide,
    entry_sum,
    eye,
    hadamard,
    inner,
    matmul,
    negate,
    ones,
    scale,
    trace,
    transpose,
)
from symgrad.rules.registry import product_rule, rule

Parts = tuple[Expr | None, ...]


@rule(
    "sum of entries",
    op=EntrySum,
    differential=product_rule(entry_sum),
    example="sum(A)",
    shapes="A: m n",
    cites="every entry has the coefficient one",
)
def sum_of_entries(g: Expr, y: Expr, a: Expr) -> Parts:
    """Every entry receives the adjoint of the sum."""
    return (scale(g, ones(*a.shape)),)


def _is_squared_norm(node: Expr) -> bool:
    return isinstance(node.args[0], Norm) and node.args[1] == 2


@rule(
    "squared norm",
    op=Pow,
    parts=lambda node: (node.args[0].arg,),
    differential=lambda d, y, a: scale(2, inner(a, d[0])),
    example="norm(A)**2",
    shapes="A: m n",
    cites="Petersen and Pedersen (2012), eq. 132",
    when=_is_squared_norm,
)
def squared_norm(g: Expr, y: Expr, a: Expr) -> Parts:
    """Twice the matrix (or vector) itself, times the adjoint."""
    return (scale(2, scale(g, a)),)


@rule(
    "norm",
    op=Norm,
    differential=lambda d, y, a: divide(inner(a, d[0]), y),
    example="norm(x)",
    shapes="x: n",
    cites="Petersen and Pedersen (2012), eq. 130; away from zero",
)
def norm_rule(g: Expr, y: Expr, a: Expr) -> Parts:
    """The vector over its norm, times the adjoint."""
    return (divide(scale(g, a), y),)


@rule(
    "trace",
    op=Trace,
    differential=product_rule(trace),
    example="tr(A)",
    shapes="A: n n",
    cites="Petersen and Pedersen (2012), eq. 99",
)
def trace_rule(g: Expr, y: Expr, a: Expr) -> Parts:
    """The adjoint goes onto the diagonal."""
    return (scale(g, eye(a.shape[0])),)


def _at_the_maximum(a: Expr, largest: Expr) -> Expr:
    """1 where an entry equals the largest one, which is 1 - 1[largest > entry]."""
    return add(ones(*a.shape), negate(apply("step", add(largest, negate(a)))))


@rule(
    "largest entry",
    op=EntryMax,
    differential=lambda d, y, a: inner(_at_the_maximum(a, scale(y, ones(*a.shape))), d[0]),
    example="max(x)",
    shapes="x: n",
    cites="where the largest entry is attained once",
)
def largest_entry(g: Expr, y: Expr, a: Expr) -> Parts:
    """The entry that attains the maximum receives the adjoint, the others nothing."""
    return (scale(g, _at_the_maximum(a, scale(y, ones(*a.shape)))),)


def _spread(v: Expr, a: Expr, axis: int) -> Expr:
    """A vector of one value a column (axis 0) or a row (axis 1), repeated in the shape of `a`."""
    if axis == 0:
        return matmul(ones(a.shape[0]), transpose(v))
    return matmul(v, transpose(ones(a.shape[1])))


@rule(
    "largest along axis",
    op=AxisMax,
    differential=lambda d, y, a, axis: axis_sum(
        hadamard(_at_the_maximum(a, _spread(y, a, int(axis))), d[0]), int(axis)
    ),
    example="max(A, axis=1)",
    shapes="A: m n",
    cites="where the largest entry is attained once",
)
def largest_along_axis(g: Expr, y: Expr, a: Expr, axis: Expr) -> Parts:
    """In each row (or column) the entry that attains the maximum receives the adjoint."""
    at = _at_the_maximum(a, _spread(y, a, int(axis)))
    return hadamard(_spread(g, a, int(axis)), at), None
