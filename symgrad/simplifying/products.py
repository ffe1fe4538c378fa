"""Identities of Kronecker products and determinants: used on a function before it is derived."""

from __future__ import annotations

from sympy import Expr, S
from sympy.matrices.expressions.determinant import Determinant
from sympy.matrices.expressions.inverse import Inverse
from sympy.matrices.expressions.kronecker import KroneckerProduct
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.special import Identity
from sympy.matrices.expressions.trace import Trace
from sympy.matrices.expressions.transpose import Transpose

from symgrad.expr import (
    AsScalar,
    EntrySum,
    LogDet,
    Norm,
    add,
    as_scalar,
    det,
    entry_sum,
    inverse,
    is_column,
    is_scalar,
    kron,
    logdet,
    matmul,
    norm,
    power,
    same_size,
    scale,
    split_scale,
    trace,
    transpose,
)
from symgrad.simplifying.properties import Properties
from symgrad.simplifying.rewrites import rewrite

__all__ = ["PREPARING"]

PREPARING = frozenset(
    {
        "kronecker transpose",
        "kronecker inverse",
        "kronecker product",
        "kronecker trace",
        "kronecker determinant",
        "kronecker sum",
        "kronecker norm",
        "determinant lemma",
    }
)
"""The rewrites that are made before a function is derived, because they make its derivation shorter."""


@rewrite("kronecker transpose", Transpose)
def kronecker_transpose(node: Expr, known: Properties) -> Expr | None:
    """(A kron B)^T = A^T kron B^T."""
    if isinstance(node.arg, KroneckerProduct):
        return kron(*(transpose(a) for a in node.arg.args))
    return None


@rewrite("kronecker inverse", Inverse)
def kronecker_inverse(node: Expr, known: Properties) -> Expr | None:
    """(A kron B)^-1 = A^-1 kron B^-1 for square factors."""
    if isinstance(node.arg, KroneckerProduct) and all(same_size(*a.shape) for a in node.arg.args):
        return kron(*(inverse(a) for a in node.arg.args))
    return None


@rewrite("kronecker product", MatMul, AsScalar)
def kronecker_product(node: Expr, known: Properties) -> Expr | None:
    """(A kron B)(C kron D) = A C kron B D where the shapes fit."""
    if isinstance(node, AsScalar):
        inner = kronecker_product(node.arg, known) if isinstance(node.arg, MatMul) else None
        return None if inner is None else as_scalar(inner)
    c, rest = split_scale(node)
    factors = list(rest.args) if isinstance(rest, MatMul) else [rest]
    for i in range(len(factors) - 1):
        a, b = _kron_parts(factors[i]), _kron_parts(factors[i + 1])
        if a is None or b is None or len(a) != len(b):
            continue
        if all(same_size(p.shape[1], q.shape[0]) for p, q in zip(a, b, strict=True)):
            merged = kron(*(matmul(p, q) for p, q in zip(a, b, strict=True)))
            return matmul(c, *factors[:i], merged, *factors[i + 2 :])
    return None


def _kron_parts(m: Expr) -> tuple[Expr, ...] | None:
    if isinstance(m, KroneckerProduct):
        return tuple(m.args)
    if isinstance(m, Transpose) and isinstance(m.arg, KroneckerProduct):
        return tuple(transpose(a) for a in m.arg.args)
    return None


@rewrite("kronecker trace", Trace)
def kronecker_trace(node: Expr, known: Properties) -> Expr | None:
    """tr(A kron B) = tr(A) tr(B) for square factors."""
    if isinstance(node.arg, KroneckerProduct) and all(same_size(*a.shape) for a in node.arg.args):
        return matmul(*(trace(a) for a in node.arg.args))
    return None


@rewrite("kronecker determinant", Determinant, LogDet)
def kronecker_determinant(node: Expr, known: Properties) -> Expr | None:
    """det(A kron B) = det(A)^q det(B)^p for A of size p and B of size q; sums for the log-determinant."""
    m = node.args[0]
    if not isinstance(m, KroneckerProduct) or len(m.args) != 2:
        return None
    a, b = m.args
    if not (same_size(*a.shape) and same_size(*b.shape)):
        return None
    p, q = a.shape[0], b.shape[0]
    if isinstance(node, LogDet):
        return add(scale(q, logdet(a)), scale(p, logdet(b)))
    return power(det(a), q) * power(det(b), p)


@rewrite("kronecker sum", EntrySum)
def kronecker_sum(node: Expr, known: Properties) -> Expr | None:
    """The entries of A kron B sum to the product of the sums."""
    if isinstance(node.arg, KroneckerProduct):
        return matmul(*(entry_sum(a) for a in node.arg.args))
    return None


@rewrite("kronecker norm", Norm)
def kronecker_norm(node: Expr, known: Properties) -> Expr | None:
    """The norm of A kron B is the product of the norms."""
    if isinstance(node.arg, KroneckerProduct):
        return matmul(*(norm(a) for a in node.arg.args))
    return None


@rewrite("determinant lemma", Determinant)
def determinant_lemma(node: Expr, known: Properties) -> Expr | None:
    """det(I + x y^T) = 1 + y^T x."""
    m = node.arg
    if not isinstance(m, MatAdd) or len(m.args) != 2:
        return None
    for one, other in (m.args, m.args[::-1]):
        c, rest = split_scale(other)
        if isinstance(one, Identity) and isinstance(rest, MatMul) and len(rest.args) == 2:
            x, row = rest.args
            if is_column(x) and not is_scalar(row) and row.shape[0] == 1:
                return add(S.One, matmul(c, row, x))
    return None
