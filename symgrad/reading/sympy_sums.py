"""Sums over entries -> products of matrices.

`Sum(A[i, j]*x[j, 0], (j, 0, n - 1))` is entry i of A x. Every part of a summand is a value with at most two indices:
a scalar, a vector or a matrix. One index after the other is summed away: vectors that carry it become a diagonal,
the (at most two) matrices that carry it are multiplied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

import sympy
from sympy import Add, Expr, KroneckerDelta, Mul, Symbol
from sympy.matrices.expressions.matexpr import MatrixElement

from symgrad.errors import ShapeError, UnsupportedError
from symgrad.expr import (
    add,
    as_scalar,
    diag,
    element,
    entry_sum,
    eye,
    hadamard,
    is_matrix,
    is_scalar,
    matmul,
    ones,
    rebuild,
    same_size,
    scale,
    transpose,
)
from symgrad.expr.entrywise import lift
from symgrad.reading.sympy_functions import named_functions

__all__ = ["Entries"]

_HINT = "sums over all entries of vectors and matrices are read, with indices from 0 to the size less one"


@dataclass(frozen=True)
class _Value:
    """A scalar (no index), the entries of a vector (one), or those of a matrix (two: row, column)."""

    expr: Expr
    indices: tuple[Symbol, ...] = ()

    def by(self, *indices: Symbol) -> Expr:
        """The vector or matrix with these indices; a matrix may be turned."""
        return self.expr if self.indices == indices else transpose(self.expr)


class Entries:
    """Reads scalar expressions of entries; `read` makes a matrix of what stands before the brackets."""

    def __init__(self, read: Callable[[Expr], Expr]) -> None:
        self._read = read
        self._sizes: dict[Symbol, Expr] = {}

    def scalar(self, e: Expr) -> Expr:
        """The scalar without indices.

        Raises   UnsupportedError for an index that is not summed over, or a sum that is no product of matrices
        """
        value = self._value(named_functions(e))
        if value.indices:
            raise UnsupportedError(f"the index {value.indices[0]} is not summed over", hint=_HINT)
        return value.expr

    # --- values ---------------------------------------------------------------------------------------

    def _value(self, e: Expr) -> _Value:
        if isinstance(e, sympy.Sum):
            return self._sum(e)
        if isinstance(e, MatrixElement):
            return self._element(*e.args)
        if isinstance(e, KroneckerDelta):
            return self._delta(*e.args)
        if isinstance(e, Add):
            return self._together([self._value(a) for a in e.args], add)
        if isinstance(e, Mul):
            return self._together([self._value(a) for a in e.args], hadamard, spread=False)
        if isinstance(e, Symbol) and e in self._sizes:
            raise UnsupportedError(f"the index {e} stands in the formula as a number", hint=_HINT)
        if not self._sizes or not any(s in e.free_symbols for s in self._sizes):
            read = self._read(e)
            return _Value(as_scalar(read) if is_matrix(read) else read)
        return self._function(e)

    def _function(self, e: Expr) -> _Value:
        """f(entries): the function of the vector or matrix."""
        parts = [self._value(a) for a in e.args]
        names = [sympy.Dummy(f"t{i}", real=True) for i in range(len(parts))]
        body = e.func(*names)

        def make(*args: Expr) -> Expr:
            shape = next((a.shape for a in args if is_matrix(a)), None)
            if shape is None:
                return rebuild(e, args)
            try:
                return lift(body, dict(zip(names, args, strict=True)), shape)
            except TypeError as error:
                raise UnsupportedError(f"the function {e} of entries") from error

        return self._together(parts, make, spread=False)

    def _together(self, parts: list[_Value], make: Callable[..., Expr], spread: bool = True) -> _Value:
        """Values brought to the same indices, scalars only if they are to be spread, and put together."""
        indices: list[Symbol] = []
        for p in sorted(parts, key=lambda p: -len(p.indices)):
            indices += [i for i in p.indices if i not in indices]
        if len(indices) > 2:
            raise UnsupportedError(f"entries with the indices {', '.join(map(str, indices))}", hint=_HINT)
        if not indices:
            return _Value(make(*(p.expr for p in parts)))
        spreading = [p.expr if not p.indices and not spread else self._spread(p, indices) for p in parts]
        return _Value(make(*spreading), tuple(indices))

    def _spread(self, p: _Value, indices: Sequence[Symbol]) -> Expr:
        """The value as the vector or matrix with these indices."""
        sizes = [self._sizes[i] for i in indices]
        if not p.indices:
            return scale(p.expr, ones(*sizes))
        if len(indices) == len(p.indices):
            return p.by(*indices)
        at = indices.index(p.indices[0])
        if at == 0:
            return matmul(p.expr, transpose(ones(sizes[1])))
        return matmul(ones(sizes[0]), transpose(p.expr))

    def _element(self, m: Expr, i: Expr, j: Expr) -> _Value:
        m = self._read(m)
        if is_scalar(m):
            return _Value(m)
        if m.shape != (1, 1) and all(k.is_Integer and k.is_nonnegative for k in (i, j)):
            return _Value(element(m, i, j))
        places: list[Symbol] = []
        for k, n in ((i, m.shape[0]), (j, m.shape[1])):
            if k in self._sizes:
                if not same_size(self._sizes[k], n):
                    raise ShapeError(f"the index {k} runs over {self._sizes[k]} values, the matrix has {n}")
                places.append(k)
            elif not (k.is_zero and n == 1):
                raise UnsupportedError(
                    f"the entry [{i}, {j}] of a matrix is not read from SymPy expressions", hint=_HINT
                )
        if len(places) == 2 and places[0] == places[1]:
            return _Value(diag(m), (places[0],))
        if not places:
            return _Value(as_scalar(m))
        column = len(places) == 1 and m.shape[1] != 1
        return _Value(transpose(m) if column else m, tuple(places))

    def _delta(self, i: Expr, j: Expr, *_: Expr) -> _Value:
        if i not in self._sizes or j not in self._sizes or not same_size(self._sizes[i], self._sizes[j]):
            raise UnsupportedError(f"the delta of {i} and {j}", hint=_HINT)
        return _Value(eye(self._sizes[i]), (i, j))

    # --- sums -----------------------------------------------------------------------------------------

    def _sum(self, e: Expr) -> _Value:
        for k, *bounds in e.limits:
            if len(bounds) != 2 or not bounds[0].is_zero:
                raise UnsupportedError(f"the sum over {k} does not start at 0", hint=_HINT)
            self._sizes[k] = sympy.expand(bounds[1] + 1)
        try:
            over = [limit[0] for limit in e.limits]
            terms = [self._summed(term, over) for term in Add.make_args(e.function)]
            return self._together(terms, add)
        finally:
            for k, *_ in e.limits:
                self._sizes.pop(k, None)

    def _summed(self, term: Expr, over: list[Symbol]) -> _Value:
        factors = []
        for f in Mul.make_args(term):
            square = isinstance(f, sympy.Pow) and f.exp == 2 and not isinstance(f.base, sympy.Sum)
            factors += [self._value(f.base)] * 2 if square else [self._value(f)]
        waiting = list(over)
        while waiting:  # what few factors share first; the columns of a matrix before its rows
            k = min(
                waiting,
                key=lambda k: (
                    sum(k in f.indices for f in factors),
                    sum(f.indices[:1] == (k,) for f in factors),
                ),
            )
            waiting.remove(k)
            factors = self._without(factors, k)
        return self._together(factors, hadamard, spread=False)

    def _without(self, factors: list[_Value], k: Symbol) -> list[_Value]:
        """The product of the factors, summed over one index."""
        apart = [f for f in factors if k not in f.indices]
        vectors = [f.expr for f in factors if f.indices == (k,)]
        matrices: dict[Symbol, Expr] = {}  # by their other index, with k as the column
        for f in factors:
            if k in f.indices and len(f.indices) == 2:
                other = f.indices[1 - f.indices.index(k)]
                m = f.by(other, k)
                matrices[other] = hadamard(matrices[other], m) if other in matrices else m
        if len(matrices) > 2:
            raise UnsupportedError(
                f"{len(matrices)} matrices share the index {k}: there is no matrix product", hint=_HINT
            )
        if not matrices:
            return [*apart, _Value(self._total(vectors, k))]
        if len(matrices) == 1:
            ((other, m),) = matrices.items()
            weights = reduce(hadamard, vectors) if vectors else ones(self._sizes[k])
            return [*apart, _Value(matmul(m, weights), (other,))]
        (i, a), (j, b) = matrices.items()
        middle = [diag(reduce(hadamard, vectors))] if vectors else []
        return [*apart, _Value(matmul(a, *middle, transpose(b)), (i, j))]

    def _total(self, vectors: list[Expr], k: Symbol) -> Expr:
        if not vectors:
            return self._sizes[k]
        if len(vectors) == 2:
            return matmul(transpose(vectors[0]), vectors[1])
        return entry_sum(reduce(hadamard, vectors))
