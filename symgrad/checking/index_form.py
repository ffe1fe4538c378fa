"""Index form: an expression as a sum of networks of entries, canonical up to the names of bound indices.

Exponentials of sums are products, products over layers absorb a neighbour that is their next factor, and the relations
that were declared of a name are applied. This module shares nothing with the rules.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise

import sympy
from sympy import Add, Expr, Indexed, KroneckerDelta, Mul, Pow, Product, S, Sum, Symbol
from sympy.matrices.expressions.determinant import Determinant
from sympy.matrices.expressions.diagonal import DiagMatrix, DiagonalOf
from sympy.matrices.expressions.hadamard import HadamardPower, HadamardProduct
from sympy.matrices.expressions.inverse import Inverse
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.matexpr import MatrixElement
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.matpow import MatPow
from sympy.matrices.expressions.special import Identity, OneMatrix, ZeroMatrix
from sympy.matrices.expressions.trace import Trace
from sympy.matrices.expressions.transpose import Transpose

from symgrad.checking.canonical import NotDecided
from symgrad.checking.exponents import (
    exponent,
)
from symgrad.checking.index_ranges import IndexRanges
from symgrad.checking.networks import MOST_POWER, ONE, Apart, Index, Term, Terms
from symgrad.expr import (
    AsScalar,
    AxisLogSumExp,
    Elementwise,
    EntrySum,
    Gradient,
    LogDet,
    LogSoftmax,
    LogSumExp,
    MatrixSum,
    Member,
    Norm,
    OrderedProduct,
    PartialDerivative,
    ScalarGradient,
    Softmax,
    is_leaf,
    is_matrix,
    same_size,
)
from symgrad.expr.entrywise import function_name
from symgrad.expr.model import Assumptions

__all__ = ["ONE", "Index", "IndexForms", "Term", "Terms"]


class IndexForms(IndexRanges):
    """Converts expressions over one set of names; `unfold` gives the definition of a name, or None.

    `places` are the indices that index symbols stand for, as i in Z[i, k]; `partial` works out a partial derivative.
    """

    def __init__(self, assumptions: Assumptions, unfold: Callable[[Expr], Expr | None]) -> None:
        super().__init__(assumptions)
        self.unfold = unfold
        self.places: dict[Expr, int] = {}
        self.partial: Callable[[Expr], Terms] | None = None
        self._free_size: dict[int, Expr] = {}

    def scalar(self, e: Expr) -> Terms:
        """The terms of a scalar."""
        if e == self.apart:
            return self.factor(self.head("symbol", Apart(e), 0), ())
        if e.is_Rational:
            return self.number(Fraction(int(e.p), int(e.q)))
        if e.is_Float:
            return self.number(Fraction(float(e)).limit_denominator(10**12))
        if e in self.places:
            raise NotDecided(f"the index {e} as a number")
        if isinstance(e, Symbol | Indexed):
            value = self.unfold(e)
            return self.factor(self.head("symbol", e, 0), ()) if value is None else self.scalar(value)
        if isinstance(e, ScalarGradient):
            return self._scalar_gradient(e)
        if isinstance(e, MatrixElement):
            return self.matrix(e.args[0], *self.entry(e))
        if isinstance(e, KroneckerDelta):
            return self._kronecker_delta(*e.args)
        if e is S.Pi:
            return self.factor(self.head("symbol", e, 0), ())
        if isinstance(e, Add):
            return [t for a in e.args for t in self.scalar(a)]
        if isinstance(e, Mul):
            return self.times(*(self.scalar(a) for a in e.args))
        if isinstance(e, sympy.exp):
            inside = self.scalar(e.args[0])
            return self.exponential(inside, self._open(inside))
        if isinstance(e, Pow):
            return self._scalar_power(e)
        if isinstance(e, AsScalar):
            return self.matrix(e.arg, None, None)
        if type(e) is EntrySum:
            i, j = (self.fresh(s) for s in e.arg.shape)
            return self.over(self.matrix(e.arg, i, j), i, j)
        if isinstance(e, Trace):
            i = self.fresh(e.arg.shape[0])
            return self.over(self.matrix(e.arg, i, i), i)
        if isinstance(e, Norm):
            return self.power(self._squares(e.arg), Fraction(1, 2), ())
        if isinstance(e, Determinant | LogDet):
            return self.factor(
                self._matrix_head("det" if isinstance(e, Determinant) else "logdet", e.args[0], 0), ()
            )
        if isinstance(e, LogSumExp):
            i = self.fresh(e.arg.shape[0])
            return self.function("log", self.over(self.exponential(self.matrix(e.arg, i, None), (i,)), i), ())
        if isinstance(e, Sum | Product):
            contracted = self._contracted(e)
            return self._range(e) if contracted is None else contracted
        name = function_name(e)
        if name is not None:
            inside = self.scalar(e.args[0])
            return self.function(name, inside, self._open(inside), e.args[1:])
        raise NotDecided(f"{type(e).__name__} has no index form")

    def _scalar_gradient(self, e: Expr) -> Terms:
        f, x = e.args[:2]
        if isinstance(e, PartialDerivative) and self.partial is not None:
            return self.partial(e)
        if isinstance(x, MatrixElement) and is_leaf(x.args[0]) and len(e.args) == 2:
            return self.matrix(Gradient(f, x.args[0]), *self.entry(x))
        if any(s in self.places for s in e.free_symbols):
            raise NotDecided("a derivative by an entry")
        return self.factor(self.head("symbol", e, 0), ())

    def entry(self, e: Expr) -> tuple[Index, Index]:
        """The indices of an entry m[i, j]."""
        m, i, j = e.args
        return self._place(i, m.shape[0]), self._place(j, m.shape[1])

    def _place(self, i: Expr, size: Expr) -> Index:
        if size == 1:
            if i != 0:
                raise NotDecided(f"the entry {i} of one")
            return None
        place = self.places.get(i)
        if place is None:
            raise NotDecided(f"{i} is no index")
        known = self._size.get(place) if place < 0 else self._free_size.setdefault(place, size)
        if known is None or not same_size(known, size):
            raise NotDecided(f"{i} runs over two sizes")
        return place

    def _kronecker_delta(self, a: Expr, b: Expr) -> Terms:
        """The delta of two index symbols that run over the same size."""
        if a not in self.places or b not in self.places:
            raise NotDecided("a delta of numbers")
        places = self.places[a], self.places[b]
        sizes = [self._size.get(i) if i < 0 else self._free_size.get(i) for i in places]
        known = [s for s in sizes if s is not None]
        for i in places:
            if known and i >= 0:
                self._free_size.setdefault(i, known[0])
        if len(known) == 2 and not same_size(*known):
            raise NotDecided("a delta of indices that run over two sizes")
        return self.delta(*places)

    def _contracted(self, e: Expr) -> Terms | None:
        """The sum over all values of an index symbol; None for another kind of range."""
        if len(e.limits) != 1:
            return None
        k, lower, upper = e.limits[0]
        used = any(k in n.args[-2:] for n in e.function.atoms(MatrixElement, KroneckerDelta))
        if not isinstance(e, Sum) or lower != 0 or not used:
            return None
        index = self.fresh(sympy.expand(upper + 1))
        if index is None or k in self.places:
            raise NotDecided("a range of one")
        self.places[k] = index
        try:
            return self.over(self.scalar(e.function), index)
        finally:
            del self.places[k]

    def _squares(self, m: Expr) -> Terms:
        i, j = (self.fresh(s) for s in m.shape)
        return self.over(self.times(self.matrix(m, i, j), self.matrix(m, i, j)), i, j)

    def _scalar_power(self, e: Expr) -> Terms:
        base, k = e.args
        if base.is_Integer and base > 0 and k.is_Rational:
            return self._root(int(base), exponent(k))
        if isinstance(base, Norm) and k.is_Integer and int(k) % 2 == 0:
            return self.power(self._squares(base.arg), exponent(k / 2), ())
        inside = self.scalar(base)
        return self.power(inside, exponent(k), self._open(inside))

    def _open(self, terms: Terms) -> list[int]:
        """The indices of entries in a scalar that are not summed in it."""
        if not self.places:
            return []
        return sorted({i for t in terms for _, idx, _ in t.factors for i in idx if i not in t.bound})

    def matrix(self, m: Expr, i: Index, j: Index) -> Terms:
        """The terms of the entry m[i, j]."""
        if m == self.apart:
            return self.factor(self.head("symbol", Apart(m), sum(s != 1 for s in m.shape)), (i, j))
        if is_leaf(m) or isinstance(m, Gradient):
            value = None if isinstance(m, Gradient) else self.unfold(m)
            if value is not None:
                return self.matrix(value, i, j)
            rank = sum(s != 1 for s in m.shape)
            return self.factor(self.head("symbol", m, rank), (i, j))
        method = _MATRIX.get(type(m))
        if method is None:
            raise NotDecided(f"{type(m).__name__} has no index form")
        return method(self, m, i, j)

    def _sum(self, m: Expr, i: Index, j: Index) -> Terms:
        return [t for a in m.args for t in self.matrix(a, i, j)]

    def _product(self, m: Expr, i: Index, j: Index) -> Terms:
        scalars = [a for a in m.args if not is_matrix(a)]
        factors = self._merged([a for a in m.args if is_matrix(a)])
        parts = [self.scalar(a) for a in scalars]
        left = i
        inner: list[Index] = []
        for n, f in enumerate(factors):
            right = j if n == len(factors) - 1 else self.fresh(f.shape[1])
            if n < len(factors) - 1:
                inner.append(right)
            parts.append(self.matrix(f, left, right))
            left = right
        if not factors:
            return self.times(*parts)
        return self.over(self.times(*parts), *inner)

    def _identity(self, m: Expr, i: Index, j: Index) -> Terms:
        return self.delta(i, j)

    def _ones(self, m: Expr, i: Index, j: Index) -> Terms:
        return ONE

    def _hadamard(self, m: Expr, i: Index, j: Index) -> Terms:
        return self.times(*(self.matrix(a, i, j) for a in m.args))

    def _entry_power(self, m: Expr, i: Index, j: Index) -> Terms:
        return self.power(self.matrix(m.args[0], i, j), exponent(m.args[1]), (i, j))

    def _elementwise(self, m: Expr, i: Index, j: Index) -> Terms:
        return self.function(m.name, self.matrix(m.arg, i, j), (i, j), m.parameters)

    def _diagonal(self, m: Expr, i: Index, j: Index) -> Terms:
        return self.times(self.delta(i, j), self.matrix(m.args[0], i, None))

    def _diagonal_of(self, m: Expr, i: Index, j: Index) -> Terms:
        return self.matrix(m.args[0], i, i)

    def _softmax(self, m: Expr, i: Index, j: Index) -> Terms:
        top = self.exponential(self.matrix(m.arg, i, j), (i, j))
        below, along = self._exp_sum(m.arg, m.axis, i, j)
        return self.times(top, self.power(below, -1, along))

    def _log_softmax(self, m: Expr, i: Index, j: Index) -> Terms:
        below, along = self._exp_sum(m.arg, m.axis, i, j)
        return self.matrix(m.arg, i, j) + self.scaled(self.function("log", below, along), -1)

    def _exp_sum(self, x: Expr, axis: int, i: Index, j: Index) -> tuple[Terms, tuple[Index, ...]]:
        k = self.fresh(x.shape[axis])
        place = (k, j) if axis == 0 else (i, k)
        along: tuple[Index, ...] = (j,) if axis == 0 else (i,)
        return self.over(self.exponential(self.matrix(x, *place), place), k), along

    def _axis_logsumexp(self, m: Expr, i: Index, j: Index) -> Terms:
        below, along = self._exp_sum(m.arg, m.axis, i, i)
        return self.function("log", below, along)

    def _inverse(self, m: Expr, i: Index, j: Index) -> Terms:
        head = self._matrix_head("inverse", m.arg, 2)
        return self.factor(head, (i, j))

    def _matrix_head(self, kind: str, m: Expr, rank: int) -> int:
        if any(s == 1 for s in m.shape):
            raise NotDecided("a 1 x 1 matrix")
        terms = self.reduced(self.matrix(m, 0, 1))
        key = self.canonical(terms)
        head = self.head(kind, key, rank, terms)
        if kind == "inverse" and self.canonical(self.matrix(m, 1, 0)) == key:
            self.heads[head].symmetric = True
        return head

    def _matrix_power(self, m: Expr, i: Index, j: Index) -> Terms:
        base, k = m.args
        if isinstance(base, Transpose):
            return self._matrix_power(MatPow(base.arg, k), j, i)
        if k.is_Integer:
            if abs(k) > MOST_POWER:
                raise NotDecided("a high matrix power")
            inner = [self.fresh(m.shape[0]) for _ in range(abs(int(k)) - 1)]
            places = list(pairwise([i, *inner, j])) if k else []
            if k < 0:
                head = self._matrix_head("inverse", base, 2)
                return self.over(self.times(*(self.factor(head, at) for at in places)), *inner)
            if k > 0:
                return self.over(self.times(*(self.matrix(base, *at) for at in places)), *inner)
            return self.delta(i, j)
        head = self._matrix_head("power", base, 2)
        return self.factor(head, (i, j), exponent(k))


_MATRIX: dict[type, Callable[[IndexForms, Expr, Index, Index], Terms]] = {
    MatAdd: IndexForms._sum,
    MatMul: IndexForms._product,
    Transpose: lambda self, m, i, j: self.matrix(m.arg, j, i),
    Identity: IndexForms._identity,
    OneMatrix: IndexForms._ones,
    ZeroMatrix: lambda self, m, i, j: [],
    HadamardProduct: IndexForms._hadamard,
    HadamardPower: IndexForms._entry_power,
    Elementwise: IndexForms._elementwise,
    DiagMatrix: IndexForms._diagonal,
    DiagonalOf: IndexForms._diagonal_of,
    Softmax: IndexForms._softmax,
    LogSoftmax: IndexForms._log_softmax,
    AxisLogSumExp: IndexForms._axis_logsumexp,
    Inverse: IndexForms._inverse,
    MatPow: IndexForms._matrix_power,
    OrderedProduct: IndexForms._ordered,
    MatrixSum: IndexForms._matrix_sum,
    Member: lambda self, m, i, j: self.matrix(m, i, j),
}
