"""SymPy expressions as users write them -> the project's form.

SymPy evaluates and reorders on its own, accepts shapes that do not fit, and writes scalars as 1 x 1 matrices
or their [0, 0] entry. Everything is rebuilt by the constructors, which check it.
"""

from __future__ import annotations

import sympy
from sympy import Add, Basic, Expr, Lambda, Mul, S
from sympy.core.symbol import Str
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction
from sympy.matrices.expressions.determinant import Determinant
from sympy.matrices.expressions.hadamard import HadamardPower, HadamardProduct
from sympy.matrices.expressions.inverse import Inverse
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.matexpr import MatrixElement
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.matpow import MatPow
from sympy.matrices.expressions.special import (
    GenericIdentity,
    GenericZeroMatrix,
    Identity,
    OneMatrix,
    ZeroMatrix,
)

from symgrad.errors import SymgradError, UnsupportedError
from symgrad.expr import (
    add,
    as_scalar,
    divide,
    hadamard,
    inverse,
    is_leaf,
    is_matrix,
    is_scalar,
    logdet,
    matmul,
    matpower,
    power,
    rebuild,
)
from symgrad.expr.entrywise import lift

__all__ = ["read_sympy"]

_LARGEST = 20_000  # nodes; far beyond any formula that a person writes


def read_sympy(e: Expr) -> Expr:
    """The expression rebuilt by symgrad's constructors.

    >>> from sympy import MatrixSymbol, Trace, symbols
    >>> n = symbols("n", integer=True, positive=True)
    >>> A = MatrixSymbol("A", n, n)
    >>> read_sympy(Trace(A.T * A))
    Trace(A.T*A)

    Raises   ShapeError if SymPy let shapes pass that do not fit, UnsupportedError for what has no form here
    """
    done: dict[Basic, Expr] = {}
    stack: list[Basic] = [e]
    count = 0
    while stack:
        node = stack[-1]
        if node in done:
            stack.pop()
            continue
        if _is_closed(node):
            done[node] = node
            stack.pop()
            continue
        waiting = [a for a in node.args if a not in done and not isinstance(a, Str | Lambda | sympy.Tuple)]
        if waiting:
            stack.extend(waiting)
            continue
        stack.pop()
        count += 1
        if count > _LARGEST:
            raise UnsupportedError(f"the expression has more than {_LARGEST} parts")
        try:
            done[node] = _convert(node, [done.get(a, a) for a in node.args])
        except SymgradError as error:
            if not error.details:
                error.details = (f"in     {node}",)
            raise
    result = done[e]
    return as_scalar(result) if is_matrix(result) and result.shape == (1, 1) else result


def _is_closed(node: Basic) -> bool:
    constant = GenericIdentity | GenericZeroMatrix | Identity | OneMatrix | ZeroMatrix
    return is_leaf(node) or isinstance(node, constant) or not node.args


def _convert(node: Basic, args: list[Expr]) -> Expr:
    if isinstance(node, MatAdd | Add):
        return _sum(args)
    if isinstance(node, MatMul | Mul):
        return matmul(*args)
    if isinstance(node, HadamardProduct):
        return hadamard(*args)
    if isinstance(node, HadamardPower):
        return _hadamard_power(*args)
    if isinstance(node, Inverse):
        return inverse(args[0]) if is_matrix(args[0]) else divide(S.One, args[0])
    if isinstance(node, MatPow):
        return matpower(*args) if is_matrix(args[0]) else power(*args)
    if isinstance(node, ElementwiseApplyFunction):
        return _applied(*args)
    if isinstance(node, MatrixElement):
        return _element(args[0], args[1], args[2])
    if isinstance(node, sympy.log) and isinstance(args[0], Determinant):
        return logdet(args[0].arg)
    if isinstance(node, sympy.Sum | sympy.Product | sympy.Integral | sympy.Derivative):
        raise UnsupportedError(f"a {type(node).__name__} is not read from SymPy expressions")
    if isinstance(node, sympy.Function | sympy.Pow):
        return rebuild(node, [as_scalar(a) if is_matrix(a) else a for a in args])
    return rebuild(node, args)


def _sum(args: list[Expr]) -> Expr:
    """A sum; 1 x 1 matrices count as scalars where they meet one."""
    if any(is_scalar(a) for a in args):
        return add(*(as_scalar(a) for a in args))
    return add(*args)


def _hadamard_power(base: Expr, exponent: Expr) -> Expr:
    if is_scalar(exponent):
        return power(base, exponent)
    raise UnsupportedError(f"an entrywise power with the matrix {exponent} as its exponent")


def _applied(function: Lambda | Expr, m: Expr) -> Expr:
    """F applied to every entry: the body of the Lambda, lifted to the matrix."""
    if not isinstance(function, Lambda):
        raise UnsupportedError(f"the function {function} applied to entries")
    (t,) = function.variables
    if is_scalar(m):
        return function.expr.xreplace({t: m})
    try:
        return lift(function.expr, {t: m}, m.shape)
    except TypeError as error:
        raise UnsupportedError(f"the function {function.expr} applied to entries") from error


def _element(m: Expr, i: Expr, j: Expr) -> Expr:
    """The entry of a 1 x 1 matrix is that scalar; e_i^T m e_j is out of scope."""
    if is_scalar(m) and (i, j) == (0, 0):
        return m
    raise UnsupportedError(f"the entry [{i}, {j}] of a matrix is not read from SymPy expressions")
