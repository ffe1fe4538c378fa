"""What sums to zero: x minus its mean, and the centring matrix I - 1 1^T / n, which changes nothing the second time."""

from __future__ import annotations

from sympy import Add, Expr, S
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.special import Identity, OneMatrix

from symgrad.expr import (
    EntrySum,
    add,
    entry_sum,
    is_column,
    is_scalar,
    matmul,
    ones,
    same_size,
    scale,
    split_scale,
    transpose,
    zeros,
)
from symgrad.simplifying.properties import Properties
from symgrad.simplifying.scalars import hidden_matrices
from symgrad.simplifying.table import factors_of, rewrite

__all__ = ["columns_sum_to_zero"]


def columns_sum_to_zero(m: Expr, known: Properties) -> bool:
    """Whether 1^T m = 0 is known.

    >>> from symgrad.expr import subtract, vector
    >>> x = vector("x", "n")
    >>> columns_sum_to_zero(subtract(x, scale(entry_sum(x) / x.shape[0], ones("n"))), Properties({}))
    True
    """
    _, factors = factors_of(m)
    first = factors[0]
    if first in known.centred:
        return True
    if not isinstance(first, MatAdd):
        return False
    totals: dict[Expr, list[Expr]] = {}
    for term in first.args:
        c, row = _row_sum(term, known)
        totals.setdefault(row, []).append(c)
    return all(_vanishes(Add(*parts)) for parts in totals.values())


def _row_sum(term: Expr, known: Properties) -> tuple[Expr, Expr]:
    """1^T times a term: a coefficient, and a row (1 where it is a number)."""
    c, factors = factors_of(term)
    first = factors[0]
    if isinstance(first, OneMatrix):
        rest = matmul(ones(1, first.shape[1]), *factors[1:]) if first.shape[1] != 1 else matmul(*factors[1:])
        c = c * first.shape[0]
    elif is_column(first) and len(factors) > 1:
        c, rest = c * _total(first, known), matmul(*factors[1:])
    elif is_column(term):
        c, rest = c * _total(matmul(*factors), known), S.One
    else:
        rest = matmul(ones(1, first.shape[0]), *factors)
    return (c * rest, S.One) if is_scalar(rest) else (c, rest)


def _total(v: Expr, known: Properties) -> Expr:
    return S.One if known.sums_to_one(v, None) else entry_sum(v)


def _vanishes(e: Expr) -> bool:
    return bool(hidden_matrices(e)[0].expand().is_zero)


@rewrite("what sums to zero", EntrySum)
def what_sums_to_zero(node: Expr, known: Properties) -> Expr | None:
    """The entries of x - mean(x) sum to zero, also as a term of a longer sum."""
    m = node.arg
    if columns_sum_to_zero(m, known) or columns_sum_to_zero(transpose(m), known):
        return S.Zero
    if not isinstance(m, MatAdd):
        return None
    kept = [t for t in m.args if not columns_sum_to_zero(t, known)]
    return add(*(entry_sum(t) for t in kept)) if len(kept) < len(m.args) else None


@rewrite("centred already", MatMul)
def centred_already(node: Expr, known: Properties) -> Expr | None:
    """(I - 1 1^T / n) M = M where the columns of M sum to zero: what ends with 1^T goes."""
    c, factors = factors_of(node)
    for i in range(len(factors) - 1):
        a, b = factors[i], factors[i + 1]
        if (left := _without_ones(a, -1)) is not None and columns_sum_to_zero(b, known):
            return matmul(c, *factors[:i], left, *factors[i + 1 :])
        if (right := _without_ones(b, 0)) is not None and columns_sum_to_zero(transpose(a), known):
            return matmul(c, *factors[: i + 1], right, *factors[i + 2 :])
    return None


def _without_ones(m: Expr, side: int) -> Expr | None:
    """The matrix without its terms that end (or begin) with vectors of ones, None where there are none."""
    terms = m.args if isinstance(m, MatAdd) else (m,)
    kept = [t for t in terms if not isinstance(factors_of(t)[1][side], OneMatrix)]
    return add(zeros(*m.shape), *kept) if len(kept) < len(terms) else None


@rewrite("mean taken off", MatMul)
def mean_taken_off(node: Expr, known: Properties) -> Expr | None:
    """(I - 1 1^T / n) x = x - mean(x) 1, and 1 1^T x = sum(x) 1."""
    c, factors = factors_of(node)
    for i, f in enumerate(factors[:-1]):
        x = matmul(*factors[i + 1 :])
        if isinstance(f, OneMatrix) and f.shape[1] != 1 and is_column(x):
            return matmul(c * entry_sum(x), *factors[:i], ones(f.shape[0]))
        if not (isinstance(f, MatAdd) and all(_is_plain(t) for t in f.args)) or is_scalar(x):
            continue
        spread = []
        for d, rest in map(split_scale, f.args):
            if isinstance(rest, Identity):
                spread.append(scale(d, x))
            else:
                spread.append(
                    scale(d * entry_sum(x), ones(f.shape[0])) if is_column(x) else matmul(d, rest, x)
                )
        return matmul(c, *factors[:i], add(*spread))
    return None


def _is_plain(t: Expr) -> bool:
    """A multiple of the identity or of the matrix of ones."""
    rest = split_scale(t)[1]
    return isinstance(rest, Identity | OneMatrix) and same_size(*rest.shape)
