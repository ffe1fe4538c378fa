"""A sum of products without brackets: where two derivations of one thing meet, and factoring starts afresh."""

from __future__ import annotations

from sympy import Add, Expr, Mul, S
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.transpose import Transpose

from symgrad.expr import AsScalar, add, is_matrix, is_scalar, matmul, split_scale, transpose, zeros
from symgrad.simplifying.properties import Properties

__all__ = ["expanded"]

_MOST_TERMS = 48
Term = tuple[Expr, tuple[Expr, ...]]


def expanded(m: Expr, known: Properties, *, scalars: bool = False) -> Expr | None:
    """The matrix as a sum of products, transposes at the factors; None where there would be too many terms.

    With `scalars`, inner products in its coefficients are expanded too: (x - y)^T z v = x^T z v - y^T z v.

    >>> from symgrad.expr import matrix
    >>> A, B, C = (matrix(name, "n", "n") for name in "ABC")
    >>> expanded(matmul(A, add(B, C)), Properties({}))
    A*B + A*C
    """
    if not is_matrix(m):
        return None
    terms = _terms(m, known, turned=False)
    if terms is None:
        return None
    if scalars:
        terms = [(d, factors) for c, factors in terms for d in _scalars(c, known) or (c,)]
        if len(terms) > _MOST_TERMS:
            return None
    return add(zeros(*m.shape), *(matmul(c, *factors) for c, factors in terms))


def _terms(m: Expr, known: Properties, *, turned: bool) -> list[Term] | None:
    """The terms of m, or of its transpose."""
    if isinstance(m, Transpose):
        return _terms(m.arg, known, turned=not turned)
    if isinstance(m, MatAdd):
        collected: list[Term] = []
        for t in m.args:
            part = _terms(t, known, turned=turned)
            if part is None or len(collected) + len(part) > _MOST_TERMS:
                return None
            collected += part
        return collected
    c, rest = split_scale(m)
    if isinstance(rest, MatMul):
        product: list[Term] = [(c, ())]
        for f in reversed(rest.args) if turned else rest.args:
            if is_scalar(f):
                product = [(d * f, factors) for d, factors in product]
                continue
            part = _terms(f, known, turned=turned)
            if part is None or len(part) * len(product) > _MOST_TERMS:
                return None
            product = [(d * e, (*left, *right)) for d, left in product for e, right in part]
        return product
    if c is not S.One:
        part = _terms(rest, known, turned=turned)
        return None if part is None else [(c * d, factors) for d, factors in part]
    if turned and not known.is_symmetric(m):
        return [(S.One, (transpose(m),))]
    return [(S.One, (m,))]


def _scalars(c: Expr, known: Properties) -> list[Expr] | None:
    """The terms of a coefficient in which a sum stands in an inner product; None where none does."""
    spread = [S.One]
    changed = False
    for f in Mul.make_args(c):
        part: list[Expr] = [f]
        if isinstance(f, AsScalar) and isinstance(f.arg, MatMul):
            terms = _terms(f.arg, known, turned=False)
            if terms is not None and len(terms) > 1:
                part, changed = [matmul(d, *factors) for d, factors in terms], True
        elif isinstance(f, Add) and len(f.args) * len(spread) <= _MOST_TERMS:
            part = list(f.args)
        if len(spread) * len(part) > _MOST_TERMS:
            return None
        spread = [a * b for a in spread for b in part]
    return spread if changed else None
