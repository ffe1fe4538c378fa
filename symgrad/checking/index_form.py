"""Index form: an expression as a sum of networks of entries, canonical up to the names of bound indices.

A term is an exact coefficient and factors; a factor is (head, indices, exponent). A head stands for a symbol, an
inverse, a function of a canonical form, an exponential of a monomial, a power of a sum. Exponentials of sums are
products, products over layers absorb a neighbour that is their next factor, and the relations that were declared
of a name (symmetric, orthogonal, sums to one, binary) are applied. This module shares nothing with the rules.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Any

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

from symgrad.checking.budget import check_time
from symgrad.checking.canonical import NotDecided, Permutations, label
from symgrad.checking.exponents import (
    Exponent,
    add_exponents,
    as_expr,
    exponent,
    is_integer,
    is_number,
    multiply_exponents,
)
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
    leaf_name,
    matmul,
    same_size,
    transpose,
)
from symgrad.expr.entrywise import function_name
from symgrad.expr.model import Assumptions

__all__ = ["Form", "Index", "IndexForms", "Term"]

Index = int | None  # a free index is 0, 1, ..; a bound one is negative; None where the size is one
Factor = tuple[int, tuple[int, ...], Exponent]
Form = tuple[tuple[tuple[Any, ...], Fraction], ...]

_MOST_TERMS = 3000
_MOST_POWER = 8


@dataclass(frozen=True)
class Term:
    """A coefficient, factors, and the bound indices, which may occur in none of the factors."""

    coefficient: Fraction
    factors: tuple[Factor, ...] = ()
    bound: frozenset[int] = frozenset()


Terms = list[Term]
ONE: Terms = [Term(Fraction(1))]


@dataclass
class _Head:
    """What a head stands for: its kind, its key, and the canonical form inside it."""

    kind: str
    key: Hashable
    rank: int
    inside: Terms = field(default_factory=list)
    symmetric: bool = False


@dataclass(frozen=True)
class Apart:
    """A name that a derivative is taken by, without what is assumed of it: ties do not hold beside the point."""

    leaf: Expr

    @property
    def is_Matrix(self) -> bool:
        """Whether it is a matrix or a vector."""
        return is_matrix(self.leaf)

    @property
    def shape(self) -> tuple[Expr, ...]:
        """The shape of the name."""
        return tuple(self.leaf.shape)


class IndexForms:
    """Converts expressions over one set of names; `unfold` gives the definition of a name, or None.

    `places` are the indices that index symbols stand for, as i in Z[i, k]; `partial` works out a partial derivative.
    """

    def __init__(self, assumptions: Assumptions, unfold: Callable[[Expr], Expr | None]) -> None:
        self.assumptions = assumptions
        self.unfold = unfold
        self.heads: list[_Head] = []
        self._number: dict[Hashable, int] = {}
        self._next = 0
        self._size: dict[int, Expr] = {}
        self._dependent: dict[tuple[int, Expr | Apart], bool] = {}
        self._work = 0
        self._ranges = 0
        self.apart: Expr | None = None
        self.places: dict[Expr, int] = {}
        self.partial: Callable[[Expr], Terms] | None = None
        self._free_size: dict[int, Expr] = {}

    # --- heads and indices --------------------------------------------------------------------------

    def fresh(self, size: Expr) -> Index:
        """A new bound index over a size; none where the size is one."""
        if size == 1:
            return None
        self._next -= 1
        self._size[self._next] = size
        return self._next

    def head(self, kind: str, key: Hashable, rank: int, inside: Terms | None = None) -> int:
        """The number of a head."""
        number = self._number.get((kind, key, rank))
        if number is None:
            number = self._number[(kind, key, rank)] = len(self.heads)
            self.heads.append(_Head(kind, key, rank, inside or [], self._is_symmetric(kind, key)))
        return number

    def _is_symmetric(self, kind: str, key: Hashable) -> bool:
        if kind == "delta":
            return True
        if kind == "symbol" and is_leaf(key):
            words = self.assumptions.get(leaf_name(key), frozenset())
            return bool(words & {"symmetric", "positive_definite", "diagonal"}) and is_matrix(key)
        return False

    def permutations(self, head: int) -> Permutations:
        """The orders of a head's indices that leave it as it is."""
        h = self.heads[head]
        if h.rank == 2 and h.symmetric:
            return ((0, 1), (1, 0))
        return (tuple(range(h.rank)),)

    def _spend(self, amount: int) -> None:
        self._work += amount
        if self._work & 63 == 0:
            check_time()
        if self._work > 60 * _MOST_TERMS:
            raise NotDecided("the normal form is too large")

    # --- terms ----------------------------------------------------------------------------------------

    def factor(self, head: int, indices: Iterable[Index], power: Exponent = 1) -> Terms:
        """A single factor."""
        used = tuple(i for i in indices if i is not None)
        return [Term(Fraction(1), ((head, used, power),))]

    def number(self, value: Fraction | int) -> Terms:
        """A number."""
        return [Term(Fraction(value))] if value else []

    def times(self, *parts: Terms) -> Terms:
        """The product; indices are shared, so bound ones must be fresh in each part."""
        result = ONE
        for part in parts:
            if len(result) * len(part) > _MOST_TERMS:
                raise NotDecided("too many terms")
            self._spend(len(result) * len(part))
            result = [
                Term(a.coefficient * b.coefficient, a.factors + b.factors, a.bound | b.bound)
                for a in result
                for b in part
            ]
        return result

    def scaled(self, terms: Terms, by: Fraction | int) -> Terms:
        """A number times a sum."""
        return [Term(t.coefficient * by, t.factors, t.bound) for t in terms] if by else []

    def over(self, terms: Terms, *indices: Index) -> Terms:
        """The sum over indices."""
        more = frozenset(i for i in indices if i is not None)
        return [Term(t.coefficient, t.factors, t.bound | more) for t in terms] if more else terms

    def placed(self, inside: Terms, indices: Sequence[int]) -> Terms:
        """A form with its free indices 0, 1, .. put to others and its bound indices renamed."""
        result = []
        for t in inside:
            names: dict[int, int] = dict(enumerate(indices))
            for b in t.bound:
                new = self.fresh(self._size[b])
                assert new is not None  # noqa: S101 - its size is not one
                names[b] = new
            factors = tuple((h, tuple(names[i] for i in idx), e) for h, idx, e in t.factors)
            result.append(Term(t.coefficient, factors, frozenset(names[b] for b in t.bound)))
        return result

    # --- conversion -----------------------------------------------------------------------------------

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
            return self._range(e)
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

    def _root(self, n: int, power: Exponent) -> Terms:
        """A root of a number, by its prime factors."""
        return self.times(
            *(
                self.factor(self.head("prime", p, 0), (), multiply_exponents(power, m))
                for p, m in sympy.factorint(n).items()
            )
        )

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

    def _merged(self, factors: list[Expr]) -> list[Expr]:
        """Neighbours of powers and of products over layers are absorbed where they are the next factor."""
        flat: list[Expr] = []
        for f in factors:
            flat += self._flat(f)
        changed = True
        while changed:
            changed = False
            for n, f in enumerate(flat):
                merged = self._absorb(flat, n, f) if isinstance(f, MatPow | OrderedProduct) else None
                if merged is not None:
                    flat, changed = merged, True
                    break
        return flat or ([Identity(factors[0].shape[0])] if factors else [])

    def _flat(self, f: Expr) -> list[Expr]:
        if isinstance(f, Transpose) and isinstance(f.arg, MatMul):
            return [
                g for a in reversed(f.arg.args) for g in (self._flat(transpose(a)) if is_matrix(a) else [f])
            ]
        if isinstance(f, MatMul) and all(is_matrix(a) for a in f.args):
            return [g for a in f.args for g in self._flat(a)]
        if isinstance(f, Transpose) and isinstance(f.arg, MatPow):
            return [MatPow(transpose(f.arg.args[0]), f.arg.args[1])]
        if isinstance(f, Transpose) and isinstance(f.arg, OrderedProduct):
            p = f.arg
            return self._flat(OrderedProduct(transpose(p.body), p.index, *p.bounds, -p.direction))
        if isinstance(f, OrderedProduct):
            length = sympy.expand(f.bounds[1] - f.bounds[0] + 1)
            if length.is_zero:
                return []
            if not f.body.has(f.index):
                return [MatPow(f.body, length)]
        if isinstance(f, MatPow) and f.args[1].is_zero:
            return []
        return [f]

    def _absorb(self, flat: list[Expr], n: int, f: Expr) -> list[Expr] | None:
        if isinstance(f, MatPow):
            base, k = f.args
            width = len(self._flat(base))
            for at in (n - width, n + 1):
                near = flat[at : at + width] if at >= 0 else []
                if (
                    isinstance(near[0] if near else None, MatPow)
                    and width == 1
                    and self.same(near[0].args[0], base)
                ):
                    k2 = near[0].args[1]
                elif len(near) == width and self.same(matmul(*near), base):
                    k2, at2 = S.One, at
                    return self._replaced(flat, min(n, at2), width + 1, MatPow(base, sympy.expand(k + k2)))
                else:
                    continue
                return self._replaced(flat, min(n, at), 2, MatPow(base, sympy.expand(k + k2)))
            return None
        lower, upper = f.bounds
        width = len(self._flat(f.body))
        before, after = (lower - 1, upper + 1) if f.direction == 1 else (upper + 1, lower - 1)
        for at, value in ((n - width, before), (n + 1, after)):
            near = flat[at : at + width] if at >= 0 else []
            if len(near) == width and near and self.same(matmul(*near), f.at(value)):
                bounds = (value, upper) if value == lower - 1 else (lower, value)
                low, high = (sympy.expand(b) for b in bounds)
                grown = OrderedProduct(f.body, f.index, low, high, f.direction)
                return self._replaced(flat, min(n, at), width + 1, grown)
        return None

    def _replaced(self, flat: list[Expr], at: int, width: int, by: Expr) -> list[Expr]:
        return flat[:at] + self._flat(by) + flat[at + width :]

    def same(self, a: Expr, b: Expr) -> bool:
        """Whether two matrices have the same form."""
        if a == b:
            return True
        if a.shape != b.shape:
            return False
        return self._key(a) == self._key(b)

    def _key(self, m: Expr) -> Form:
        free = [n if s != 1 else None for n, s in enumerate(m.shape)]
        return self.canonical(self.matrix(m, *_compact(free)))

    def _identity(self, m: Expr, i: Index, j: Index) -> Terms:
        return self.delta(i, j)

    def delta(self, i: Index, j: Index) -> Terms:
        """One where two indices agree."""
        return (
            ONE if i is None or j is None or i == j else self.factor(self.head("delta", "delta", 2), (i, j))
        )

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
            if abs(k) > _MOST_POWER:
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

    def _ordered(self, m: Expr, i: Index, j: Index) -> Terms:
        (m,) = self._flat(m) or (Identity(m.shape[0]),)
        if not isinstance(m, OrderedProduct):
            return self.matrix(m, i, j)
        if m.direction == -1:
            turned = OrderedProduct(transpose(m.body), m.index, *m.bounds, 1)
            return self._ordered(turned, j, i)
        first, lower = _peeled_below(*m.bounds)
        parts: list[Terms] = []
        inner: list[Index] = []
        left = i
        for value in first:  # the first factors apart, so that the product begins at l + 1
            factor = m.at(value)
            right = self.fresh(factor.shape[1])
            parts.append(self.matrix(factor, left, right))
            inner.append(right)
            left = right
        with self._inside() as k:
            body = self._key(m.body.xreplace({m.index: k}))
        key = (body, (sympy.expand(lower), sympy.expand(m.bounds[1])))
        parts.append(self.factor(self.head("ordered", key, 2), (left, j)))
        return self.over(self.times(*parts), *inner)

    def _matrix_sum(self, m: Expr, i: Index, j: Index) -> Terms:
        lower, upper = m.bounds
        if sympy.expand(upper - lower + 1).is_zero:
            return []
        extra, upper = _peeled(lower, upper)
        terms = [t for v in extra for t in self.matrix(m.at(v), i, j)]
        if sympy.expand(upper - lower + 1).is_zero:
            return terms
        free = _compact([n if s != 1 else None for n, s in enumerate(m.shape)])
        with self._inside() as k:
            body = self.canonical(self.matrix(m.body.xreplace({m.index: k}), *free))
        rank = sum(f is not None for f in free)
        for network, coefficient in body:  # linear: one head a monomial
            key = (((network, Fraction(1)),), (sympy.expand(lower), sympy.expand(upper)))
            terms += self.scaled(self.factor(self.head("sum", key, rank), (i, j)), coefficient)
        return terms

    def _range(self, e: Expr) -> Terms:
        if len(e.limits) != 1:
            raise NotDecided("a sum over several ranges")
        contracted = self._contracted(e)
        if contracted is not None:
            return contracted
        k, lower, upper = e.limits[0]
        if sympy.expand(upper - lower + 1).is_zero:
            return ONE if isinstance(e, Product) else []
        extra, upper = _peeled(lower, upper)
        parts = [self.scalar(e.function.xreplace({k: v})) for v in extra]
        rest: Terms
        empty = sympy.expand(upper - lower + 1).is_zero
        if isinstance(e, Product):
            below, lower = _peeled_below(lower, upper)
            parts += [self.scalar(e.function.xreplace({k: v})) for v in below]
            if empty:
                return self.times(*parts)
            with self._inside() as bound:
                body = self.canonical(self.scalar(e.function.xreplace({k: bound})))
            key = (body, (sympy.expand(lower), sympy.expand(upper)))
            return self.times(*parts, self.factor(self.head("product", key, 0), ()))
        rest = []
        if not empty:
            with self._inside() as bound:
                body = self.canonical(self.scalar(e.function.xreplace({k: bound})))
            for network, coefficient in body:
                key = (((network, Fraction(1)),), (sympy.expand(lower), sympy.expand(upper)))
                rest += self.scaled(self.factor(self.head("sum", key, 0), ()), coefficient)
        return [t for p in parts for t in p] + rest

    @contextmanager
    def _inside(self) -> Iterator[Symbol]:
        """A name for the index that a range binds, another one for each range inside a range."""
        self._ranges += 1
        try:
            yield Symbol(f"bound{self._ranges}_", integer=True)
        finally:
            self._ranges -= 1

    # --- powers, exponentials, functions --------------------------------------------------------------

    def power(self, base: Terms, e: Exponent, indices: Sequence[Index]) -> Terms:
        """Base ** e, entry by entry at the given indices."""
        if e == 0:
            return ONE
        if e == 1:
            return base
        base = self.reduced(base)
        if not base:
            if is_number(e) and e > 0:
                return []
            raise NotDecided("a power of zero")
        if isinstance(e, int) and 0 < e <= _MOST_POWER and (len(base) == 1 or len(base) ** e <= 60):
            used = _used(indices)
            local = self._local(base, used)
            return self.times(*(self.placed(local, used) for _ in range(e)))
        if len(base) == 1 and not base[0].bound and is_integer(e):
            t = base[0]
            factors = tuple((h, idx, multiply_exponents(x, e)) for h, idx, x in t.factors)
            if isinstance(e, int):
                return [Term(t.coefficient**e, factors)]
            if t.coefficient == 1:  # (x y)^k = x^k y^k for an integer k
                return [Term(t.coefficient, factors)]
        return self._sum_power(base, e, indices)

    def _local(self, terms: Terms, used: Sequence[int]) -> Terms:
        """Free indices renumbered 0, 1, .. in the order of `used`."""
        names = {i: n for n, i in enumerate(used)}
        return [
            Term(
                t.coefficient,
                tuple((h, tuple(i if i in t.bound else names[i] for i in idx), x) for h, idx, x in t.factors),
                t.bound,
            )
            for t in terms
        ]

    def _sum_power(self, base: Terms, e: Exponent, indices: Sequence[Index]) -> Terms:
        """A power of a sum as a head; common exponentials and the leading coefficient stand in front of it."""
        used = [i for i in _used(indices) if any(i in idx for t in base for _, idx, _ in t.factors)]
        local = self.reduced(self._local(base, used))
        front = ONE
        if isinstance(e, int):
            local, common = self._without_common(local)
            lead = min(self.canonical(local))[1]
            local = self.scaled(local, 1 / lead)
            front = [Term(lead**e, tuple((h, idx, multiply_exponents(x, e)) for h, idx, x in common))]
            if len(local) == 1 and not local[0].bound:
                return self.placed(self.times(front, self.power(local, e, tuple(range(len(used))))), used)
        head = self.head("power_of", self.canonical(local), len(used), local)
        return self.times(self.placed(front, used), self.factor(head, used, e))

    def _without_common(self, terms: Terms) -> tuple[Terms, list[Factor]]:
        """Exponentials that all terms share, with their least exponents, taken out."""
        if any(t.bound for t in terms):
            return terms, []
        tables = [{(h, idx): x for h, idx, x in t.factors if self.heads[h].kind == "exp"} for t in terms]
        common: list[Factor] = []
        for key in {k for table in tables for k in table}:
            powers = [table.get(key, 0) for table in tables]
            if all(is_number(x) for x in powers):
                least = min(powers)
                if least != 0:
                    common.append((*key, least))
        if not common:
            return terms, []
        inverse = tuple((h, idx, multiply_exponents(x, -1)) for h, idx, x in common)
        return self.reduced([Term(t.coefficient, t.factors + inverse, t.bound) for t in terms]), common

    def exponential(self, argument: Terms, indices: Sequence[Index]) -> Terms:
        """Exp of a sum as a product over its monomials: exp(a + b) = exp(a) exp(b)."""
        used = _used(indices)
        factors: list[Factor] = []
        local = self.reduced(self._local(argument, used))
        for network, coefficient in self.canonical(local):
            mine = [t for t in local if self._network(t) == network]
            kept = [n for n in range(len(used)) if any(n in idx for t in mine for _, idx, _ in t.factors)]
            again = self._local(self.scaled(mine[:1], 1 / mine[0].coefficient), kept)
            head = self.head("exp", self.canonical(again), len(kept), again)
            power = coefficient.numerator if coefficient.denominator == 1 else coefficient
            factors.append((head, tuple(used[n] for n in kept), power))
        return [Term(Fraction(1), tuple(factors))]

    def function(
        self, name: str, argument: Terms, indices: Sequence[Index], parameters: Sequence[Expr] = ()
    ) -> Terms:
        """A function of a form, in terms of few functions where identities tie them together."""
        used = _used(indices)
        local = self._local(argument, used)

        def u() -> Terms:
            return self.placed(local, used)

        if name == "exp":
            return self.exponential(argument, indices)
        if name == "sqrt":
            return self.power(argument, Fraction(1, 2), indices)
        if name == "sigmoid":
            return self.power(ONE + self.exponential(self.scaled(u(), -1), indices), -1, indices)
        if name == "tanh":
            below = self.power(ONE + self.exponential(self.scaled(u(), 2), indices), -1, indices)
            return ONE + self.scaled(below, -2)
        if name in ("sinh", "cosh"):
            sign = -1 if name == "sinh" else 1
            both = self.exponential(u(), indices) + self.scaled(
                self.exponential(self.scaled(u(), -1), indices), sign
            )
            return self.scaled(both, Fraction(1, 2))
        if name == "softplus":
            return self.function("log", ONE + self.exponential(u(), indices), indices)
        if name == "silu":
            return self.times(u(), self.function("sigmoid", u(), indices))
        if name == "relu":
            return self.times(u(), self.function("step", u(), indices))
        if name == "abs":
            return self.times(u(), self.function("sign", u(), indices))
        if name == "tan":
            return self.times(
                self.function("sin", u(), indices),
                self.power(self.function("cos", u(), indices), -1, indices),
            )
        if name in ("leaky_relu", "elu"):
            step = self.function("step", u(), indices)
            given = (
                self.scalar(parameters[0])
                if parameters
                else self.number(Fraction(1, 100) if name[0] == "l" else 1)
            )
            tail = u() if name == "leaky_relu" else self.exponential(u(), indices) + self.number(-1)
            rest = ONE + self.scaled(self.function("step", u(), indices), -1)
            return self.times(u(), step) + self.times(given, tail, rest)
        if name == "gelu":
            inside = self.times(u(), self._root(2, Fraction(-1, 2)))
            return self.scaled(self.times(u(), ONE + self.function("erf", inside, indices)), Fraction(1, 2))
        reduced = self.reduced(local)
        key = self.canonical(reduced)
        kept = [n for n in range(len(used)) if any(n in idx for t in reduced for _, idx, _ in t.factors)]
        again = self._local(reduced, kept)
        head = self.head("function", (name, self.canonical(again)), len(kept), again)
        del key
        return self.factor(head, [used[n] for n in kept])

    # --- reduction and canonical form -----------------------------------------------------------------

    def reduced(self, terms: Terms) -> Terms:
        """Deltas contracted, equal factors merged, relations applied, until nothing changes; like terms collected."""
        waiting = list(terms)
        settled: dict[tuple[Any, ...], Term] = {}
        while waiting:
            self._spend(1)
            t = waiting.pop()
            again = self._step(t)
            if again is None:
                network = self._network(t)
                known = settled.get(network)
                total = t.coefficient + (known.coefficient if known else 0)
                if total:
                    first = known or t
                    settled[network] = Term(total, first.factors, first.bound)
                else:
                    settled.pop(network, None)
            else:
                waiting += again
                if len(waiting) > _MOST_TERMS:
                    raise NotDecided("too many terms")
        return list(settled.values())

    def canonical(self, terms: Terms) -> Form:
        """The canonical form: networks with their coefficients, in a fixed order."""
        return tuple(sorted(((self._network(t), t.coefficient) for t in self.reduced(terms)), key=repr))

    def _network(self, t: Term) -> tuple[Any, ...]:
        """The canonical labels of the connected parts, in order."""
        parts: list[list[Factor]] = []
        for f in t.factors:
            touching = [p for p in parts if any({i for i in f[1] if i < 0} & set(idx) for _, idx, _ in p)]
            merged = [f]
            for p in touching:
                merged += p
                parts.remove(p)
            parts.append(merged)
        return tuple(sorted((label(p, self.permutations) for p in parts), key=repr))

    def _step(self, t: Term) -> Terms | None:
        """One reduction of a term, or None if there is none."""
        merged = self._merge_equal(t)
        if merged is not None:
            return merged
        count: dict[int, int] = {}
        for _, idx, _ in t.factors:
            for i in idx:
                count[i] = count.get(i, 0) + 1
        for b in t.bound:
            if b not in count:
                size = self.scalar(self._size[b])
                return self.times([Term(t.coefficient, t.factors, t.bound - {b})], size)
        for n, f in enumerate(t.factors):
            rest = t.factors[:n] + t.factors[n + 1 :]
            found = self._relation(t, f, rest, count)
            if found is not None:
                return found
        return self._pairs(t, count)

    def _merge_equal(self, t: Term) -> Terms | None:
        table: dict[tuple[int, tuple[int, ...]], Exponent] = {}
        for h, idx, e in t.factors:
            best = min(tuple(idx[p] for p in permutation) for permutation in self.permutations(h))
            key = (h, best)
            table[key] = add_exponents(table[key], e) if key in table else e
        if len(table) < len(t.factors):
            kept = tuple((h, idx, e) for (h, idx), e in table.items() if e != 0)
            return [Term(t.coefficient, kept, t.bound)]
        return None

    def _relation(
        self, t: Term, f: Factor, rest: tuple[Factor, ...], count: Mapping[int, int]
    ) -> Terms | None:
        """What is known of one factor by itself."""
        h, idx, e = f
        head = self.heads[h]
        if head.kind == "delta":
            a, b = idx
            gone, kept = (a, b) if a < 0 and a in t.bound else (b, a)
            if a == b:
                return [Term(t.coefficient, rest, t.bound)]
            if gone in t.bound:
                moved = tuple((g, tuple(kept if i == gone else i for i in x), p) for g, x, p in rest)
                return [Term(t.coefficient, moved, t.bound - {gone})]
            return None
        if head.kind == "prime" and not isinstance(e, int) and is_number(e) and not 0 < e < 1:
            whole = e.numerator // e.denominator  # type: ignore[union-attr]
            left = add_exponents(e, -whole)
            factors = (*rest, (h, idx, left)) if left != 0 else rest
            return [Term(t.coefficient * Fraction(int(head.key)) ** whole, factors, t.bound)]  # type: ignore[call-overload]
        if head.kind == "prime" and isinstance(e, int):
            return [Term(t.coefficient * Fraction(int(head.key)) ** e, rest, t.bound)]  # type: ignore[call-overload]
        if head.kind == "power_of" and isinstance(e, int) and e > 0:
            return self.times(
                [Term(t.coefficient, rest, t.bound)], self.power(self.placed(head.inside, idx), e, idx)
            )
        if head.kind == "power" and e == 1:
            return self.times([Term(t.coefficient, rest, t.bound)], self.placed(head.inside, idx))
        if head.kind == "function" and isinstance(e, int):
            return self._function_relation(t, f, rest)
        if head.kind == "symbol" and isinstance(head.key, Expr) and is_leaf(head.key):
            return self._assumed(t, f, rest, count)
        return None

    def _function_relation(self, t: Term, f: Factor, rest: tuple[Factor, ...]) -> Terms | None:
        h, idx, e = f
        name = self.heads[h].key[0]  # type: ignore[index]
        if name == "step" and isinstance(e, int) and e > 1:
            return [Term(t.coefficient, (*rest, (h, idx, 1)), t.bound)]
        if name == "sign" and isinstance(e, int) and e not in (0, 1):
            factors = (*rest, (h, idx, 1)) if e % 2 else rest
            return [Term(t.coefficient, factors, t.bound)]
        if name == "sin" and isinstance(e, int) and e >= 2:
            inside = self.heads[h].inside
            cosine = self.function("cos", self.placed(inside, idx), idx)
            square = ONE + self.scaled(
                self.times(cosine, self.function("cos", self.placed(inside, idx), idx)), -1
            )
            left = ((h, idx, e - 2),) if e > 2 else ()
            return self.times([Term(t.coefficient, rest + left, t.bound)], square)
        return None

    def _assumed(
        self, t: Term, f: Factor, rest: tuple[Factor, ...], count: Mapping[int, int]
    ) -> Terms | None:
        """Relations of a name: its entries sum to one, are zero or one, are plus or minus one."""
        h, idx, e = f
        name = leaf_name(self.heads[h].key)
        words = self.assumptions.get(name, frozenset())
        if not words or not isinstance(e, int):
            return None
        if e > 1 and words & {"binary", "onehot", "onehot_rows", "onehot_cols"}:
            return [Term(t.coefficient, (*rest, (h, idx, 1)), t.bound)]
        if words & {"pm1"} and e not in (0, 1):
            return [Term(t.coefficient, (*rest, (h, idx, 1)) if e % 2 else rest, t.bound)]
        if e != 1 or not idx:
            return None
        summed = [n for n, i in enumerate(idx) if i in t.bound and count[i] == 1]
        axis = {1: "prob sums_to_one onehot"}.get(len(idx), "")
        for n in summed:
            known = (
                axis if len(idx) == 1 else ("prob_rows onehot_rows" if n == 1 else "prob_cols onehot_cols")
            )
            if words & set(known.split()):
                return [Term(t.coefficient, rest, t.bound - {idx[n]})]
        return None

    def _pairs(self, t: Term, count: Mapping[int, int]) -> Terms | None:
        """Relations of two factors that share a summed index: inverse, orthogonal, powers; a sum over its power."""
        at: dict[int, list[int]] = {}
        for n, (_, idx, _) in enumerate(t.factors):
            for i in idx:
                at.setdefault(i, []).append(n)
        for n, f in enumerate(t.factors):
            if self.heads[f[0]].kind == "power_of" and isinstance(f[2], int) and f[2] < 0:
                found = self._cancel_sum(t, n, count) or self._divide(t, n)
                if found is not None:
                    return found
        for k in t.bound:
            if count.get(k) != 2 or at[k][0] == at[k][1]:  # twice in one factor is a trace
                continue
            found = self._two(t, k, *at[k])
            if found is not None:
                return found
        return None

    def _two(self, t: Term, k: int, a: int, b: int) -> Terms | None:
        rest = tuple(f for n, f in enumerate(t.factors) if n not in (a, b))
        fa, fb = t.factors[a], t.factors[b]
        for one, other in ((fa, fb), (fb, fa)):
            (h, x, e), (g, y, p) = one, other
            if len(x) != 2 or len(y) != 2:
                continue
            first, second = self.heads[h], self.heads[g]
            if first.kind == "inverse" and e == p == 1 and second.kind == "symbol" and len(first.inside) == 1:
                inside = first.inside[0]
                if inside.coefficient == 1 and len(inside.factors) == 1 and inside.factors[0][0] == g:
                    turned = inside.factors[0][1] == (1, 0)
                    place = (y[1], y[0]) if turned else y
                    outer = self._across(x, place, k, second.symmetric or first.symmetric)
                    if outer is not None:
                        return self.times([Term(t.coefficient, rest, t.bound - {k})], self.delta(*outer))
            if h == g and e == p == 1 and first.kind == "symbol" and self._has_word(h, "orthogonal"):
                places = [n for n in (0, 1) if x[n] == k and y[n] == k]
                if places:
                    other_place = 1 - places[0]
                    return self.times(
                        [Term(t.coefficient, rest, t.bound - {k})], self.delta(x[other_place], y[other_place])
                    )
            if first.kind == "power":
                merged = self._merge_powers(one, other, k)
                if merged is not None:
                    return [Term(t.coefficient, (*rest, merged), t.bound - {k})]
        return None

    def _across(
        self, x: tuple[int, ...], y: tuple[int, ...], k: int, symmetric: bool
    ) -> tuple[int, int] | None:
        """The outer indices of A^-1[x] A[y] summed over k, if k stands where a matrix product has it."""
        if x[1] == k and y[0] == k:
            return x[0], y[1]
        if x[0] == k and y[1] == k:
            return x[1], y[0]
        if symmetric:
            return (x[0] if x[1] == k else x[1]), (y[0] if y[1] == k else y[1])
        return None

    def _merge_powers(self, one: Factor, other: Factor, k: int) -> Factor | None:
        (h, x, e), (g, y, p) = one, other
        if h == g:
            extra = p
        else:
            inside = self.heads[h].inside
            single = len(inside) == 1 and inside[0].coefficient == 1 and len(inside[0].factors) == 1
            if not single or inside[0].factors[0][0] != g or inside[0].factors[0][1] != (0, 1):
                return None
            extra = p
        if x[1] == k and y[0] == k:
            return (h, (x[0], y[1]), add_exponents(e, extra))
        if x[0] == k and y[1] == k:
            return (h, (y[0], x[1]), add_exponents(e, extra))
        return None

    def _has_word(self, head: int, word: str) -> bool:
        key = self.heads[head].key
        return isinstance(key, Expr) and is_leaf(key) and word in self.assumptions.get(leaf_name(key), ())

    def _cancel_sum(self, t: Term, n: int, count: Mapping[int, int]) -> Terms | None:
        """(sum_k u_k) (sum_k u_k)^-1 = 1 for a sum of one kind of term with one index."""
        h, idx, e = t.factors[n]
        inside = self.heads[h].inside
        if len(inside) != 1 or len(inside[0].factors) != 1 or len(inside[0].bound) != 1:
            return None
        (g, place, p), (b,) = inside[0].factors[0], inside[0].bound
        for m, (h2, idx2, e2) in enumerate(t.factors):
            if m == n or h2 != g or e2 != p:
                continue
            wanted = [None if i == b else idx[i] for i in place]
            open_places = [q for q, i in enumerate(wanted) if i is None]
            if len(open_places) != 1 or any(
                i is not None and i != j for i, j in zip(wanted, idx2, strict=True)
            ):
                continue
            k = idx2[open_places[0]]
            if k in t.bound and count[k] == 1:
                factors = [f for q, f in enumerate(t.factors) if q not in (m, n)]
                left = add_exponents(e, 1)
                if left != 0:
                    factors.append((h, idx, left))
                return [Term(t.coefficient / inside[0].coefficient, tuple(factors), t.bound - {k})]
        return None

    def _divide(self, t: Term, n: int) -> Terms | None:
        """U P^-1 = (P - rest) P^-1 for the leading monomial u of a sum P of monomials at the same indices."""
        h, idx, e = t.factors[n]
        inside = self.heads[h].inside
        if len(inside) < 2 or any(x.bound for x in inside):
            return None
        lead = max(inside, key=lambda x: (self._degree(x), repr(self._network(x))))
        if self._degree(lead) <= 0:
            return None
        needed = {(g, tuple(idx[i] for i in x)): p for g, x, p in lead.factors}
        have = {(g, x): p for m, (g, x, p) in enumerate(t.factors) if m != n}
        for key, p in needed.items():
            if key not in have or not is_number(p) or not is_number(have[key]) or have[key] < p:
                return None
        kept = []
        for m, (g, x, p) in enumerate(t.factors):
            if m == n:
                continue
            left = add_exponents(p, multiply_exponents(needed.get((g, x), 0), -1))
            if left != 0:
                kept.append((g, x, left))
        base = Term(t.coefficient / lead.coefficient, tuple(kept), t.bound)
        lowered = add_exponents(e, 1)
        first = [
            Term(
                base.coefficient,
                (*base.factors, (h, idx, lowered)) if lowered != 0 else base.factors,
                t.bound,
            )
        ]
        others = [x for x in inside if x is not lead]
        rest = self.times([base], self.scaled(self.placed(others, idx), -1), self.factor(h, idx, e))
        return first + rest

    def _degree(self, t: Term) -> Fraction:
        if any(not is_number(p) for _, _, p in t.factors):
            return Fraction(-1)
        return sum((Fraction(p) for _, _, p in t.factors), Fraction(0))  # type: ignore[arg-type]

    # --- derivatives ----------------------------------------------------------------------------------

    def derivative_of(self, form: Callable[[], Terms], x: Expr, *places: tuple[Index, Index]) -> Terms:
        """The derivative of a form by the entry x[a, b] (and once more for each further place).

        What is assumed of x is put in after the derivative is taken.
        """
        if not is_leaf(x):
            raise NotDecided(f"a derivative by {x}")
        if not self.assumptions.get(leaf_name(x)):
            terms = form()
            for place in places:
                terms = self.derivative(self.reduced(terms), x, *place)
            return terms
        before, self.apart = self.apart, x
        try:
            terms = form()
            for place in places:
                terms = self.derivative(self.reduced(terms), Apart(x), *place)
        finally:
            self.apart = before
        return self._together(terms, Apart(x))

    def _together(self, terms: Terms, x: Apart) -> Terms:
        """The terms with the name itself for one that was kept apart."""
        return [
            Term(t.coefficient, tuple((self._with_name(h, x), idx, e) for h, idx, e in t.factors), t.bound)
            for t in terms
        ]

    def _with_name(self, h: int, x: Apart) -> int:
        head = self.heads[h]
        if not self._depends(h, x):
            return h
        if head.kind == "symbol":
            return self.head("symbol", x.leaf, head.rank)
        if head.kind not in ("power_of", "exp", "function", "inverse", "det", "logdet", "power"):
            raise NotDecided(f"a {head.kind} of a name with assumptions")
        inside = self.reduced(self._together(head.inside, x))
        if not inside:
            raise NotDecided("a function of zero")
        key: Hashable = self.canonical(inside)
        if head.kind == "function":
            key = (head.key[0], key)  # type: ignore[index]
        number = self.head(head.kind, key, head.rank, inside)
        if head.kind == "inverse" and self.canonical(_turned(inside)) == key:
            self.heads[number].symmetric = True
        return number

    def derivative(self, terms: Terms, x: Expr | Apart, a: Index, b: Index) -> Terms:
        """The derivative of a form by the entry x[a, b]."""
        result: Terms = []
        for t in terms:
            for n, (h, idx, e) in enumerate(t.factors):
                if not self._depends(h, x):
                    continue
                rest = [Term(t.coefficient, t.factors[:n] + t.factors[n + 1 :], t.bound)]
                lowered = add_exponents(e, -1)
                keep = self.factor(h, idx, lowered) if lowered != 0 else ONE
                inner = self._factor_derivative(h, idx, x, a, b)
                if self.heads[h].kind == "exp":
                    keep = self.factor(h, idx, e)
                result += self.times(rest, keep, self._number_or_symbol(e), inner)
                if len(result) > _MOST_TERMS:
                    raise NotDecided("too many terms")
        return result

    def _number_or_symbol(self, e: Exponent) -> Terms:
        return self.scalar(as_expr(e))

    def _depends(self, h: int, x: Expr | Apart) -> bool:
        known = self._dependent.get((h, x))
        if known is None:
            head = self.heads[h]
            if head.kind == "symbol":
                known = head.key == x
            elif head.kind in ("ordered", "sum", "product"):
                known = True  # not looked into: its derivative is then not decided
            else:
                known = any(self._depends(g, x) for t in head.inside for g, _, _ in t.factors)
            self._dependent[(h, x)] = known
        return known

    def _factor_derivative(self, h: int, idx: tuple[int, ...], x: Expr | Apart, a: Index, b: Index) -> Terms:
        """The derivative of a head, without its exponent."""
        head = self.heads[h]
        if head.kind == "symbol":
            free = [i for i in (a, b) if i is not None]
            return self.times(*(self.delta(i, j) for i, j in zip(idx, free, strict=True)))
        if head.kind in ("power_of", "exp"):
            return self.derivative(self.placed(head.inside, idx), x, a, b)
        if head.kind in ("inverse", "det", "logdet"):
            k, m = self._next - 1, self._next - 2
            self._next -= 2
            size = self._square_size(head)
            self._size[k] = self._size[m] = size
            inner = self.derivative(self.placed(head.inside, (k, m)), x, a, b)
            inverse = h if head.kind == "inverse" else self._inverse_of(head)
            if head.kind == "inverse":
                sides = self.times(self.factor(inverse, (idx[0], k)), self.factor(inverse, (m, idx[1])))
                return self.over(self.scaled(self.times(sides, inner), -1), k, m)
            value = self.times(self.factor(inverse, (m, k)), inner)
            if head.kind == "det":
                value = self.times(self.factor(h, ()), value)
            return self.over(value, k, m)
        if head.kind == "function":
            return self._chain(head, idx, x, a, b)
        raise NotDecided(f"the derivative of a {head.kind} over a range")

    def _square_size(self, head: _Head) -> Expr:
        for t in head.inside:
            for g, place, _ in t.factors:
                for n, i in enumerate(place):
                    if i in (0, 1):
                        size = self._slot_size(g, n)
                        if size is not None:
                            return size
        raise NotDecided("the size of a matrix is not known")

    def _slot_size(self, g: int, slot: int) -> Expr | None:
        head = self.heads[g]
        if head.kind == "symbol" and is_matrix(head.key):
            sizes = [s for s in head.key.shape if s != 1]  # type: ignore[attr-defined]
            return sizes[slot]
        if head.kind in ("inverse", "power"):
            return self._square_size(head)
        if head.kind in ("power_of", "exp", "function"):
            for t in head.inside:
                for g2, place, _ in t.factors:
                    for n, i in enumerate(place):
                        if i == slot:
                            return self._slot_size(g2, n)
        return None

    def _inverse_of(self, head: _Head) -> int:
        number = self.head("inverse", head.key, 2, head.inside)
        if self.canonical(_turned(head.inside)) == head.key:
            self.heads[number].symmetric = True
        return number

    def _chain(self, head: _Head, idx: tuple[int, ...], x: Expr | Apart, a: Index, b: Index) -> Terms:
        name = head.key[0]  # type: ignore[index]

        def u() -> Terms:
            return self.placed(head.inside, idx)

        inner = self.derivative(u(), x, a, b)
        outer: Terms
        if name == "log":
            outer = self.power(u(), -1, idx)
        elif name == "sin":
            outer = self.function("cos", u(), idx)
        elif name == "cos":
            outer = self.scaled(self.function("sin", u(), idx), -1)
        elif name == "arctan":
            outer = self.power(ONE + self.power(u(), 2, idx), -1, idx)
        elif name == "erf":
            bell = self.exponential(self.scaled(self.power(u(), 2, idx), -1), idx)
            outer = self.scaled(self.times(bell, self.power(self.scalar(S.Pi), Fraction(-1, 2), ())), 2)
        elif name in ("step", "sign"):
            return []
        else:
            outer = self.function(f"{name}'", u(), idx)
        return self.times(outer, inner)


def _turned(inside: Terms) -> Terms:
    """The form of a matrix, transposed."""
    return [
        Term(
            t.coefficient,
            tuple((h, tuple({0: 1, 1: 0}.get(i, i) for i in x), e) for h, x, e in t.factors),
            t.bound,
        )
        for t in inside
    ]


def _used(indices: Sequence[Index]) -> list[int]:
    return list(dict.fromkeys(i for i in indices if i is not None))


def _compact(free: Sequence[Index]) -> list[Index]:
    """Free indices renumbered from 0, None kept."""
    result: list[Index] = []
    for f in free:
        result.append(None if f is None else sum(r is not None for r in result))
    return result


def _peeled(lower: Expr, upper: Expr) -> tuple[list[Expr], Expr]:
    """The last terms of a range that ends at n + c with c >= 0, and the range's end n - 1 without them."""
    constant, symbols = sympy.expand(upper + 1).as_coeff_Add()
    if not symbols.free_symbols or not constant.is_Integer or constant <= 0 or constant > _MOST_POWER:
        return [], upper
    return [sympy.expand(upper - n) for n in range(int(constant))], sympy.expand(upper - constant)


def _peeled_below(lower: Expr, upper: Expr) -> tuple[list[Expr], Expr]:
    """The first factors of a range that begins at l - c with c >= 0, and its beginning l + 1 without them."""
    constant, symbols = sympy.expand(lower).as_coeff_Add()
    if not symbols.free_symbols or not constant.is_Integer or constant > 0 or constant < -_MOST_POWER:
        return [], lower
    count = 1 - int(constant)
    if sympy.expand(upper - lower + 1 - count).is_negative:
        return [], lower
    return [sympy.expand(lower + n) for n in range(count)], sympy.expand(lower + count)


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
