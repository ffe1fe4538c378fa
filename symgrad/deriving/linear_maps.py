"""Reading a linear map off an expression that is linear in one symbol."""

from __future__ import annotations

from sympy import Expr, Mul, S
from sympy.matrices.expressions.hadamard import HadamardProduct
from sympy.matrices.expressions.kronecker import KroneckerProduct
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.transpose import Transpose

from symgrad.expr import (
    AsScalar,
    EntrySum,
    add,
    dependents,
    diag,
    eye,
    hadamard,
    is_column,
    is_matrix,
    is_scalar,
    kron,
    matmul,
    ones,
    scale,
    transpose,
)

__all__ = ["linear_factor"]


def linear_factor(e: Expr, x: Expr) -> Expr | None:
    """M with e = M x for a vector, matrix or scalar x; None where there is no such matrix.

    For a scalar e the factor is a row.

    >>> from symgrad.expr import matrix, vector
    >>> A, v, x = matrix("A", "n", "n"), vector("v", "n"), vector("x", "n")
    >>> linear_factor(matmul(A, hadamard(v, x)), x)
    A*DiagMatrix(v)
    """
    involved = dependents(e, {x})
    return _factor(e, x, involved)


def _factor(node: Expr, x: Expr, involved: set[Expr]) -> Expr | None:
    if node == x:
        return eye(x.shape[0]) if is_matrix(x) else S.One
    if node not in involved:
        return None
    if isinstance(node, MatAdd) or node.is_Add:
        parts = [_factor(a, x, involved) for a in node.args]
        return None if any(p is None for p in parts) else add(*parts)
    holders = [i for i, a in enumerate(node.args) if a in involved]
    if len(holders) != 1:
        return None
    at = holders[0]
    held = node.args[at]
    before, after = node.args[:at], node.args[at + 1 :]
    if isinstance(node, MatMul):
        return _product(held, before, after, x, involved)
    if isinstance(node, Mul):  # after MatMul, which SymPy derives from it
        inner = _factor(held, x, involved)
        return None if inner is None else scale(Mul(*before, *after), inner)
    if isinstance(node, HadamardProduct) and is_column(node):
        inner = _factor(held, x, involved)
        return None if inner is None else matmul(diag(hadamard(*before, *after)), inner)
    if isinstance(node, AsScalar):
        return _factor(held, x, involved) if is_column(x) else None
    if isinstance(node, EntrySum) and type(node) is EntrySum and is_column(held):
        inner = _factor(held, x, involved)
        return None if inner is None else matmul(transpose(ones(held.shape[0])), inner)
    if isinstance(node, KroneckerProduct) and held == x and all(is_column(a) for a in node.args):
        return kron(*before, eye(x.shape[0]), *after)
    return None


def _product(
    held: Expr, before: tuple[Expr, ...], after: tuple[Expr, ...], x: Expr, involved: set[Expr]
) -> Expr | None:
    """A product with x in one factor: A (.. x ..), or a scalar of x times a vector, or x^T A as a column."""
    if is_scalar(held):
        rest = matmul(*before, *after)
        row = _factor(held, x, involved)
        if row is None or not is_matrix(row) or not is_column(rest):
            return None if row is None or is_matrix(row) else scale(row, rest)
        return matmul(rest, row)
    if not after:
        inner = _factor(held, x, involved)
        return None if inner is None else matmul(*before, inner)
    tail = matmul(*after)
    if isinstance(held, Transpose) and is_column(held.arg) and not is_scalar(tail) and is_column(tail):
        # v (u(x)^T w) = v w^T u(x)
        inner = _factor(held.arg, x, involved)
        return None if inner is None else matmul(*before, transpose(tail), inner)
    return None
