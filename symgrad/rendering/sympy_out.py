"""Expressions in the classes that SymPy has: what `as_explicit`, `doit` and SymPy's own functions understand.

A 1 x 1 product that is read as a scalar becomes its trace, a function of the entries an `applyfunc`, a softmax the
quotient that it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import sympy
from sympy import Dummy, Expr, Lambda, S
from sympy.core.symbol import Str
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction
from sympy.matrices.expressions.blockmatrix import BlockMatrix
from sympy.matrices.expressions.determinant import Determinant
from sympy.matrices.expressions.hadamard import HadamardPower, HadamardProduct
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.special import OneMatrix
from sympy.matrices.expressions.trace import Trace
from sympy.matrices.expressions.transpose import Transpose

from symgrad.errors import UnsupportedError
from symgrad.expr import (
    AsScalar,
    AxisLogSumExp,
    Blocks,
    Elementwise,
    EntrySum,
    LogDet,
    LogSoftmax,
    LogSumExp,
    Norm,
    Softmax,
    is_leaf,
    is_matrix,
    walk,
)
from symgrad.expr.functions import apply_scalar, elu, gelu, leaky_relu, relu, sigmoid, silu, softplus, step

__all__ = ["to_sympy"]


def to_sympy(e: Expr) -> Expr:
    """The expression without a class of symgrad.

    >>> from symgrad.expr import apply, matmul, transpose, vector
    >>> x, y = vector("x", "n"), vector("y", "n")
    >>> to_sympy(matmul(transpose(x), y)), to_sympy(apply("sigmoid", x))
    (Trace(x.T*y), Lambda(_t, 1/(1 + exp(-_t))).(x))

    Raises   UnsupportedError for what SymPy cannot say (an unevaluated gradient, a convolution)
    """
    done: dict[Expr, Expr] = {}
    for node in reversed(list(walk(e))):  # parents come first in a walk, a shared part may come late
        _convert(node, done)
    return done[e]


def _convert(node: Any, done: dict[Expr, Expr]) -> Expr:
    if node in done:
        return done[node]
    if is_leaf(node) or not node.args:
        done[node] = node
        return done[node]
    args = [a if isinstance(a, Str) else _convert(a, done) for a in node.args]
    maker = _MAKERS.get(type(node))
    if maker is not None:
        done[node] = maker(node, *args)
    elif type(node).__module__.startswith("symgrad."):
        raise UnsupportedError(f"SymPy has no {type(node).__name__}: {node}")
    elif isinstance(node, MatMul):
        done[node] = MatMul(*args)
    else:
        done[node] = node if list(node.args) == args else node.func(*args)
    return done[node]


def _trace(m: Expr) -> Expr:
    """The scalar of a 1 x 1 matrix; a sum over its entries where ones stand in it, which `doit` leaves in a trace."""
    if not is_matrix(m):
        return m
    return m[0, 0] if m.has(OneMatrix) else Trace(m)


def _blocks(columns: Expr, blocks: Sequence[Expr]) -> Expr:
    """A block matrix; a scalar block is a 1 x 1 matrix."""
    made = [m if is_matrix(m) else sympy.ImmutableMatrix([[m]]) for m in blocks]
    n = int(columns)
    return BlockMatrix([made[i : i + n] for i in range(0, len(made), n)])


def _total(m: Expr) -> Expr:
    """The sum of all entries."""
    i, j = (Dummy(k, integer=True, nonnegative=True) for k in "ij")
    rows, columns = m.shape
    limits = [(k, 0, n - 1) for k, n in ((i, rows), (j, columns)) if n != 1]
    return sympy.Sum(m[i if rows != 1 else 0, j if columns != 1 else 0], *limits)


def _sums(m: Expr, axis: int) -> Expr:
    """Sums along an axis, repeated along it: of the shape of m."""
    n = m.shape[axis]
    ones = OneMatrix(n, n)
    return MatMul(ones, m) if axis == 0 else MatMul(m, ones)


def _mapped(f: Callable[[Expr], Expr], m: Expr) -> Expr:
    t = Dummy("t", real=True)
    return ElementwiseApplyFunction(Lambda((t,), f(t)), m)


def _softmax(node: Expr, x: Expr, axis: Expr) -> Expr:
    top = _mapped(sympy.exp, x)
    if x.shape[1] == 1:
        return MatMul(1 / _total(top), top)
    return HadamardProduct(top, HadamardPower(_sums(top, int(axis)), S.NegativeOne))


def _log_softmax(node: Expr, x: Expr, axis: Expr) -> Expr:
    sums = _sums(_mapped(sympy.exp, x), int(axis))
    return sympy.MatAdd(x, MatMul(-1, _mapped(sympy.log, sums)))


def _axis_logsumexp(node: Expr, x: Expr, axis: Expr) -> Expr:
    top = _mapped(sympy.exp, x)
    ones = OneMatrix(x.shape[int(axis)], S.One)
    return _mapped(sympy.log, MatMul(Transpose(top) if int(axis) == 0 else top, ones))


def _scalar(name: str, *args: Expr) -> Expr:
    """A scalar function of symgrad, with SymPy's functions."""
    t = args[0]
    positive = t > 0
    slope = args[1] if len(args) > 1 else sympy.Rational(1, 100) if name == "leaky_relu" else S.One
    logistic = 1 / (1 + sympy.exp(-t))
    known: dict[str, Callable[[], Expr]] = {
        "step": lambda: sympy.Piecewise((1, positive), (0, True)),
        "relu": lambda: sympy.Max(t, 0),
        "leaky_relu": lambda: sympy.Piecewise((t, positive), (slope * t, True)),
        "elu": lambda: sympy.Piecewise((t, positive), (slope * (sympy.exp(t) - 1), True)),
        "sigmoid": lambda: logistic,
        "silu": lambda: t * logistic,
        "softplus": lambda: sympy.log(1 + sympy.exp(t)),
        "gelu": lambda: t * (1 + sympy.erf(t / sympy.sqrt(2))) / 2,
    }
    return known[name]() if name in known else apply_scalar(name, *args)


def _elementwise(node: Any, name: Str, x: Expr, *parameters: Expr) -> Expr:
    return _mapped(lambda t: _scalar(node.name, t, *parameters), x)


_MAKERS: dict[type, Callable[..., Expr]] = {
    Blocks: lambda node, columns, *blocks: _blocks(columns, blocks),
    AsScalar: lambda node, m: _trace(m),
    EntrySum: lambda node, m: _total(m),
    Norm: lambda node, m: sympy.sqrt(_trace(MatMul(Transpose(m), m))),
    LogDet: lambda node, m: sympy.log(Determinant(m)),
    LogSumExp: lambda node, m: sympy.log(_total(_mapped(sympy.exp, m))),
    AxisLogSumExp: _axis_logsumexp,
    Softmax: _softmax,
    LogSoftmax: _log_softmax,
    Elementwise: _elementwise,
    **{
        f: lambda node, *args: _scalar(type(node).__name__, *args)
        for f in (step, relu, leaky_relu, elu, sigmoid, silu, softplus, gelu)
    },
}
