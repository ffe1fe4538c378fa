"""Networks of entries: what a sum of products of entries is made of, and its arithmetic.

A term is an exact coefficient and factors; a factor is (head, indices, exponent). A head stands for a symbol, an
inverse, a function of a canonical form, an exponential of a monomial, a power of a sum. An index that is free is a
number from 0 up, one that is summed over is negative.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from sympy import Expr

from symgrad.checking.budget import check_time
from symgrad.checking.canonical import NotDecided, Permutations
from symgrad.checking.exponents import Exponent
from symgrad.expr import is_leaf, is_matrix, leaf_name, same_size
from symgrad.expr.model import Assumptions

__all__ = [
    "FREE",
    "MOST_POWER",
    "MOST_TERMS",
    "ONE",
    "Apart",
    "Factor",
    "Form",
    "Head",
    "Index",
    "Networks",
    "Paired",
    "Side",
    "Term",
    "Terms",
    "compact",
    "flat",
    "turned",
    "used_in",
]

Index = int | None  # a free index is 0, 1, ..; a bound one is negative; None where the size is one
Side = Index | tuple[int, ...]  # the rows of kron(A, B) are counted by two indices
Factor = tuple[int, tuple[int, ...], Exponent]
Form = tuple[tuple[tuple[Any, ...], Fraction], ...]

FREE = 1 << 16  # the free indices of a question count from here; in a form that is put to places, from 0
MOST_TERMS = 3000
MOST_POWER = 8


@dataclass(frozen=True)
class Term:
    """A coefficient, factors, and the bound indices, which may occur in none of the factors."""

    coefficient: Fraction
    factors: tuple[Factor, ...] = ()
    bound: frozenset[int] = frozenset()


Terms = list[Term]
ONE: Terms = [Term(Fraction(1))]


@dataclass
class Head:
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


@dataclass(frozen=True)
class Paired:
    """A name whose sides are counted by several indices, with the sizes of all of them."""

    leaf: Expr | Apart
    sizes: tuple[tuple[Expr, ...], ...]


class Networks:
    """Heads, indices and the arithmetic of terms."""

    def __init__(self, assumptions: Assumptions) -> None:
        self.assumptions = assumptions
        self.heads: list[Head] = []
        self._number: dict[Hashable, int] = {}
        self._next = 0
        self._size: dict[int, Expr] = {}
        self.most_work = 60 * MOST_TERMS
        self._work = 0
        self.doubtful: set[Expr] = set()  # sizes of ranges that may be below zero

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
            self.heads.append(Head(kind, key, rank, inside or [], self._is_symmetric(kind, key)))
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
        if self._work > self.most_work:
            raise NotDecided("the normal form is too large")

    def factor(self, head: int, indices: Iterable[Side], power: Exponent = 1) -> Terms:
        """A single factor."""
        used = tuple(i for side in indices for i in flat(side))
        return [Term(Fraction(1), ((head, used, power),))]

    def number(self, value: Fraction | int) -> Terms:
        """A number."""
        return [Term(Fraction(value))] if value else []

    def delta(self, i: Side, j: Side) -> Terms:
        """One where two indices agree, or two pairs of them."""
        rows, cols = flat(i), flat(j)
        if not rows or not cols:
            return ONE
        if len(rows) != len(cols):
            raise NotDecided("a side that is split in two ways")
        if len(rows) > 1 and not all(map(self._same_range, rows, cols)):
            raise NotDecided("a side that is split in two ways")
        head = self.head("delta", "delta", 2)
        pairs = [(a, b) for a, b in zip(rows, cols, strict=True) if a != b]
        return [Term(Fraction(1), tuple((head, at, 1) for at in pairs))]

    def _same_range(self, i: int, j: int) -> bool:
        """Whether two indices are known to run over the same size."""
        one, other = self._size.get(i), self._size.get(j)
        return i == j or (one is not None and other is not None and same_size(one, other))

    def free(self, number: int, size: Expr) -> int:
        """A free index of the question, with its size."""
        self._size[FREE + number] = size
        return FREE + number

    def times(self, *parts: Terms) -> Terms:
        """The product; indices are shared, so bound ones must be fresh in each part."""
        result = ONE
        for part in parts:
            if len(result) * len(part) > MOST_TERMS:
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

    def over(self, terms: Terms, *indices: Side) -> Terms:
        """The sum over indices."""
        more = frozenset(i for side in indices for i in flat(side))
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
            factors = tuple(
                (h, tuple(i if i >= FREE else names[i] for i in idx), e) for h, idx, e in t.factors
            )
            result.append(Term(t.coefficient, factors, frozenset(names[b] for b in t.bound)))
        return result

    def local(self, terms: Terms, used: Sequence[int]) -> Terms:
        """Free indices renumbered 0, 1, .. in the order of `used`."""
        names = {i: n for n, i in enumerate(used)}
        if any(i not in names and i not in t.bound for t in terms for _, idx, _ in t.factors for i in idx):
            raise NotDecided("an index from outside")
        return [
            Term(
                t.coefficient,
                tuple((h, tuple(i if i in t.bound else names[i] for i in idx), x) for h, idx, x in t.factors),
                t.bound,
            )
            for t in terms
        ]

    # --- what the later stages add ----------------------------------------------------------------------

    def scalar(self, e: Expr) -> Terms:
        """The terms of a scalar."""
        raise NotImplementedError

    def matrix(self, m: Expr, i: Side, j: Side) -> Terms:
        """The terms of the entry m[i, j]."""
        raise NotImplementedError

    def power(self, base: Terms, e: Exponent, indices: Sequence[Side]) -> Terms:
        """Base ** e, entry by entry at the given indices."""
        raise NotImplementedError

    def function(
        self, name: str, argument: Terms, indices: Sequence[Side], parameters: Sequence[Expr] = ()
    ) -> Terms:
        """A function of a form."""
        raise NotImplementedError


def turned(inside: Terms) -> Terms:
    """The form of a matrix, transposed."""
    return [
        Term(
            t.coefficient,
            tuple((h, tuple({0: 1, 1: 0}.get(i, i) for i in x), e) for h, x, e in t.factors),
            t.bound,
        )
        for t in inside
    ]


def used_in(indices: Sequence[Side]) -> list[int]:
    """The indices that are there, each once."""
    return list(dict.fromkeys(i for side in indices for i in flat(side)))


def flat(side: Side) -> tuple[int, ...]:
    """The indices of a side."""
    return () if side is None else side if isinstance(side, tuple) else (side,)


def compact(free: Sequence[Index]) -> list[Index]:
    """Free indices renumbered from 0, None kept."""
    result: list[Index] = []
    for f in free:
        result.append(None if f is None else sum(r is not None for r in result))
    return result
