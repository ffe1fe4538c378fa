"""Identities of Kronecker products and determinants: used on a function before it is derived."""

from __future__ import annotations

from sympy import Expr, S
from sympy.matrices.expressions.determinant import Determinant
from sympy.matrices.expressions.hadamard import HadamardPower, HadamardProduct
from sympy.matrices.expressions.inverse import Inverse
from sympy.matrices.expressions.kronecker import KroneckerProduct
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.matpow import MatPow
from sympy.matrices.expressions.special import Identity
from sympy.matrices.expressions.trace import Trace
from sympy.matrices.expressions.transpose import Transpose

from symgrad.expr import (
    AsScalar,
    Commutation,
    Elementwise,
    EntrySum,
    LogDet,
    Norm,
    Vec,
    add,
    as_scalar,
    det,
    entry_sum,
    eye,
    hadamard,
    inverse,
    is_column,
    is_matrix,
    is_scalar,
    kron,
    logdet,
    matmul,
    norm,
    power,
    rebuild,
    same_size,
    scale,
    split_scale,
    trace,
    transpose,
    vec,
)
from symgrad.simplifying.properties import Properties
from symgrad.simplifying.table import factors_of, rewrite

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
        "determinant of power",
        "vec of product",
        "vec by entries",
        "vec with vec",
        "log of summed exponentials",
        "log of the chosen entry",
        "normalised exponentials",
        "logistic function",
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


@rewrite("kronecker of identities", KroneckerProduct)
def kronecker_of_identities(node: Expr, known: Properties) -> Expr | None:
    """I_m kron I_n = I_mn."""
    if all(isinstance(a, Identity) for a in node.args):
        return eye(node.shape[0])
    return None


@rewrite("kronecker of column and row", KroneckerProduct)
def kronecker_of_column_and_row(node: Expr, known: Properties) -> Expr | None:
    """A column x and a row y^T: x kron y^T = y^T kron x = x y^T."""
    if len(node.args) != 2:
        return None
    for column, row in (node.args, node.args[::-1]):
        if is_column(column) and row.shape[0] == 1:
            return matmul(column, row)
    return None


@rewrite("kronecker with a row", MatMul)
def kronecker_with_a_row(node: Expr, known: Properties) -> Expr | None:
    """M (r kron B) = r kron M B for a row r, (c kron B) M = c kron B M for a column c, on either side of kron."""
    c, factors = factors_of(node)
    for i in range(len(factors) - 1):
        for at, beside, thin in ((i + 1, i, 0), (i, i + 1, 1)):
            pair, m = factors[at], factors[beside]
            if (
                not isinstance(pair, KroneckerProduct)
                or len(pair.args) != 2
                or isinstance(m, KroneckerProduct)
            ):
                continue
            for k, (one, other) in enumerate((pair.args, pair.args[::-1])):
                if one.shape[thin] == 1 and other.shape[thin] != 1:
                    inside = matmul(m, other) if thin == 0 else matmul(other, m)
                    merged = kron(one, inside) if k == 0 else kron(inside, one)
                    return matmul(c, *factors[:i], merged, *factors[i + 2 :])
    return None


@rewrite("vec of product", MatMul)
def vec_of_product(node: Expr, known: Properties) -> Expr | None:
    """(B kron A) vec(X) = vec(A X B^T), K vec(X) = vec(X^T)."""
    c, factors = factors_of(node)
    for i in range(len(factors) - 1):
        m, v = factors[i], factors[i + 1]
        if not isinstance(v, Vec):
            continue
        inside = None
        if isinstance(m, Commutation):
            inside = transpose(v.arg)
        elif (pair := _kron_parts(m)) is not None and len(pair) == 2:
            b, a = pair
            if same_size(a.shape[1], v.arg.shape[0]):
                inside = matmul(a, v.arg, transpose(b))
        if inside is not None:
            return matmul(c, *factors[:i], vec(inside), *factors[i + 2 :])
    return None


@rewrite("vec of outer product", Vec)
def vec_of_outer_product(node: Expr, known: Properties) -> Expr | None:
    """vec(a b^T) = b kron a."""
    c, factors = factors_of(node.arg)
    for i in range(1, len(factors)):
        if factors[i].shape[0] == 1:
            return kron(transpose(matmul(*factors[i:])), matmul(c, *factors[:i]))
    return None


@rewrite("vec by entries", MatAdd, HadamardProduct, HadamardPower, Elementwise)
def vec_by_entries(node: Expr, known: Properties) -> Expr | None:
    """Entry by entry: vec(A) + vec(B) = vec(A + B), and so for everything that is done entry by entry."""
    parts = [split_scale(a) for a in node.args if is_matrix(a)]
    if not parts or not all(isinstance(rest, Vec) for _, rest in parts):
        return None
    first = parts[0][1].arg.shape
    if not all(same_size(*sizes) for _, rest in parts for sizes in zip(rest.arg.shape, first, strict=True)):
        return None
    opened = [scale(c, rest.arg) for c, rest in parts]
    if isinstance(node, MatAdd | HadamardProduct):
        return vec((add if isinstance(node, MatAdd) else hadamard)(*opened))
    return vec(rebuild(node, [opened[0] if is_matrix(a) else a for a in node.args]))


@rewrite("vec with vec", AsScalar, EntrySum, Norm)
def vec_with_vec(node: Expr, known: Properties) -> Expr | None:
    """Inner products: vec(A)^T vec(B) = tr(A^T B); sums and norms of vec(A) are those of A."""
    m = node.args[0]
    if isinstance(m, Vec):
        return rebuild(node, (m.arg,)) if not isinstance(node, AsScalar) else None
    if isinstance(m, MatMul) and len(m.args) == 2 and isinstance(m.args[0], Transpose):
        a, b = m.args[0].arg, m.args[1]
        if isinstance(a, Vec) and isinstance(b, Vec) and same_size(a.arg.shape[0], b.arg.shape[0]):
            return trace(matmul(transpose(a.arg), b.arg))
    return None


@rewrite("commutation absorbed", MatMul)
def commutation_absorbed(node: Expr, known: Properties) -> Expr | None:
    """(b^T kron A) K = A kron b^T and (A kron b^T) K = b^T kron A for a row b^T."""
    c, factors = factors_of(node)
    for i in range(len(factors) - 1):
        pair, k = factors[i], factors[i + 1]
        if isinstance(k, Commutation) and isinstance(pair, KroneckerProduct) and len(pair.args) == 2:
            if any(a.shape[0] == 1 for a in pair.args):
                return matmul(c, *factors[:i], kron(*reversed(pair.args)), *factors[i + 2 :])
    return None


@rewrite("determinant of power", Determinant, LogDet)
def determinant_of_power(node: Expr, known: Properties) -> Expr | None:
    """det(X^k) = det(X)^k."""
    m = node.args[0]
    if not isinstance(m, MatPow):
        return None
    base, k = m.args
    return scale(k, logdet(base)) if isinstance(node, LogDet) else power(det(base), k)


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
