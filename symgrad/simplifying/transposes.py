"""Transposes: fewer of them, and where they stand."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sympy import Expr
from sympy.matrices.expressions.hadamard import HadamardProduct
from sympy.matrices.expressions.inverse import Inverse
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.matpow import MatPow
from sympy.matrices.expressions.transpose import Transpose

from symgrad.expr import (
    add,
    hadamard,
    inverse,
    is_column,
    matmul,
    matpower,
    scale,
    transpose,
)
from symgrad.simplifying.properties import Properties
from symgrad.simplifying.table import factors_of, rewrite, turned


@rewrite("symmetric transpose", Transpose)
def symmetric_transpose(node: Expr, known: Properties) -> Expr | None:
    """S^T = S for a symmetric S."""
    return node.arg if known.is_symmetric(node.arg) else None


@rewrite("transpose inside", Transpose)
def transpose_inside(node: Expr, known: Properties) -> Expr | None:
    """(A B)^T = B^T A^T, (A + B)^T = A^T + B^T, where that saves transposes."""
    inner_node = node.arg
    if isinstance(inner_node, MatMul):
        return turned(inner_node, known)
    if isinstance(inner_node, MatAdd):
        return add(*(transpose(t) for t in inner_node.args))
    if isinstance(inner_node, HadamardProduct):
        return hadamard(*(transpose(t) for t in inner_node.args))
    return None


@rewrite("inverse of transpose", Inverse)
def inverse_of_transpose(node: Expr, known: Properties) -> Expr | None:
    """(A^T)^-1 = (A^-1)^T: the transpose stands outside."""
    return transpose(inverse(node.arg.arg)) if isinstance(node.arg, Transpose) else None


@rewrite("transposes together", MatMul)
def transposes_together(node: Expr, known: Properties) -> Expr | None:
    """X^T A^T = (A X)^T."""
    c, factors = factors_of(node)
    for i, j in _runs(factors, lambda f: isinstance(f, Transpose)):
        while i < j and j - i != len(factors) and is_column(factors[j - 1].arg):
            j -= 1  # x y^T stays
        if j - i >= 2 and j - i != len(factors):
            together = transpose(matmul(*(f.arg for f in reversed(factors[i:j]))))
            return matmul(c, *factors[:i], together, *factors[j:])
    if len(factors) >= 2 and all(isinstance(f, Transpose) for f in factors):
        return scale(c, transpose(matmul(*(f.arg for f in reversed(factors)))))
    return None


def _runs(factors: tuple[Expr, ...], test: Callable[[Expr], bool]) -> Iterator[tuple[int, int]]:
    """The longest runs of neighbours that pass a test, as slices."""
    i = 0
    while i < len(factors):
        j = i
        while j < len(factors) and test(factors[j]):
            j += 1
        if j > i:
            yield i, j
        i = max(j, i + 1)


@rewrite("power of transpose", Transpose)
def power_of_transpose(node: Expr, known: Properties) -> Expr | None:
    """(W^k)^T = (W^T)^k where W is a transpose itself."""
    if isinstance(node.arg, MatPow) and isinstance(node.arg.args[0], Transpose):
        return matpower(node.arg.args[0].arg, node.arg.args[1])
    return None
