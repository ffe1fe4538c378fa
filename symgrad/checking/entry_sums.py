"""Entries, arrays given by their entries, and sums over indices in index form; shifts become ties.

A sum whose bounds depend on other indices is a sum over a whole range with ties for the other bounds. An entry is only
taken where its place is seen to be inside of its array, by the ranges of its indices and the indicators beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction

import sympy
from sympy import Expr, KroneckerDelta, Max, Min, S, Sum, Symbol
from sympy.matrices.expressions.matexpr import MatrixElement

from symgrad.checking.affine import NotDecided, Row, follows, is_never_negative, plus, row_of, unrounded
from symgrad.checking.index_ranges import IndexRanges
from symgrad.checking.networks import FREE, Apart, Index, Side, Terms
from symgrad.expr import (
    InRange,
    TensorElement,
    TensorEntries,
    TensorGradient,
    is_leaf,
    is_matrix,
    is_tensor,
    replace_index,
    same_size,
    shape_of,
    walk,
)
from symgrad.expr.model import Assumptions

__all__ = ["EntrySums"]


class EntrySums(IndexRanges):
    """Index notation; `places` are the indices that index symbols stand for, as i in Z[i, k].

    `declared` are the sizes of the names in a model, which are at least one.
    """

    def __init__(self, assumptions: Assumptions) -> None:
        super().__init__(assumptions)
        self.apart: Expr | None = None
        self.places: dict[Expr, Index] = {}
        self._count: dict[Expr, Expr] = {}
        self._known: list[Row] = []
        self._symbols = 0
        self.declared: frozenset[Expr] = frozenset()

    def unfold(self, e: Expr) -> Expr | None:
        """The definition of a name, or None."""
        raise NotImplementedError

    def free_place(self, symbol: Expr, number: int, size: Expr | None = None) -> None:
        """Let an index symbol stand for a free index of the question."""
        self.places[symbol] = FREE + number
        if size is not None:
            self.places[symbol] = None if size == 1 else self.free(number, size)
            self._count[symbol] = size

    # --- arrays -----------------------------------------------------------------------------------------

    def array(self, m: Expr, *indices: Side) -> Terms:
        """The terms of an entry of an array with any number of indices; a scalar has none."""
        if not is_tensor(m):
            return self.matrix(m, *indices) if is_matrix(m) else self.scalar(m)
        if m == self.apart:
            return self.factor(self.head("symbol", Apart(m), len(indices)), indices)
        if isinstance(m, TensorEntries):
            return self.by_entries(m, *indices)
        value = self.unfold(m) if is_leaf(m) else None
        if value is not None:
            return self.array(value, *indices)
        if not is_leaf(m) and not isinstance(m, TensorGradient):
            raise NotDecided(f"{type(m).__name__} has no index form")
        return self.factor(self.head("symbol", m, len(indices)), indices)

    def by_entries(self, m: Expr, *indices: Side) -> Terms:
        """The entry of an array that is given by its entries."""
        body = m.body
        bound: dict[Expr, tuple[Index, Expr]] = {}
        for k, i, n in zip(m.indices, indices, m.sizes, strict=True):
            if isinstance(i, tuple):
                raise NotDecided("pairs of indices in index notation")
            if not k.is_Number:
                s = self._symbol()
                bound[s] = (i, n)
                body = replace_index(body, k, s)
        with self._placed(bound):
            return self.scalar(body)

    def element(self, e: Expr) -> Terms:
        """The terms of an entry m[i, j, ..]."""
        ties: list[Terms] = []
        indices: list[Index] = []
        summed: list[Index] = []
        for place, n in zip(e.args[1:], e.args[0].shape, strict=True):
            index, tie = self._index_at(place, n)
            if tie is not None:
                ties.append(tie)
                summed.append(index)
            indices.append(index)
        return self.over(self.times(*ties, self.array(e.args[0], *indices)), *summed)

    def entry(self, e: Expr) -> tuple[Index, ...]:
        """The indices of an entry m[i, j, ..] at plain indices."""
        found = [self._index_at(place, n) for place, n in zip(e.args[1:], e.args[0].shape, strict=True)]
        if any(tie is not None for _, tie in found):
            raise NotDecided("a shifted entry")
        return tuple(i for i, _ in found)

    def _index_at(self, place: Expr, n: Expr) -> tuple[Index, Terms | None]:
        """The index at a place, and what ties it to the indices in it."""
        if place in self.places and same_size(self._values(place, n), n):
            return self.places[place], None
        if n == 1 and place == 0:
            return None, None
        # A numbered entry, as x[1], is there wherever the formula is defined.
        numbered = place.is_Integer and place.is_nonnegative and not n.is_Number
        if not numbered and not self._is_a_place(place, n):
            raise NotDecided(f"the place {place} may be outside of its range")
        index = self.fresh(n)
        if index is None:
            return None, None
        row = self._row(place)
        if any(c.denominator != 1 for c in row.values()):
            raise NotDecided(f"{place} is no whole number")
        return index, self.tie(plus({index: Fraction(1)}, row, -1))

    def _values(self, symbol: Expr, otherwise: Expr) -> Expr:
        """How many values an index symbol has; a free one, of which this is not known yet, as many as it is told."""
        index = self.places[symbol]
        if index is None or 0 <= index < FREE:
            return self._count[symbol]
        return self._size.setdefault(index, otherwise)

    def _row(self, place: Expr) -> Row:
        """The row of an index expression; an index that has one value only is zero."""
        gone = {s: S.Zero for s, i in self.places.items() if i is None}
        return row_of(place.xreplace(gone), {s: i for s, i in self.places.items() if i is not None})

    def _is_a_place(self, place: Expr, n: Expr) -> bool:
        """Whether 0 <= place < n is seen to hold."""
        known = list(self._known)
        for s, i in self.places.items():
            count = self._count.get(s) if i is None or 0 <= i < FREE else self._size.get(i)
            if count is not None:
                known.append(plus(row_of(count - 1), {s: Fraction(1)}, -1))
        here = row_of(place, {s: s for s in self.places})
        last = plus(row_of(n - 1), here, -1)
        known += [loose for r in known if (loose := unrounded(r)) != r]
        return all(follows(r, known, lambda k: k in self.places) for r in (here, last))

    def delta_of(self, a: Expr, b: Expr) -> Terms:
        """The delta of two index expressions."""
        if a in self.places and b in self.places:
            i, j = self.places[a], self.places[b]
            known = next((self._size[k] for k in (i, j) if k is not None and k in self._size), None)
            if known is None:
                return self.delta(i, j)
            if i is not None and j is not None and same_size(self._values(a, known), self._values(b, known)):
                return self.delta(i, j)
        return self.tie(plus(self._row(a), self._row(b), -1))

    def in_range(self, place: Expr, n: Expr) -> Terms:
        """One where 0 <= place < n, else zero."""
        if self._is_a_place(place, n):
            return self.number(1)
        index = self.fresh(n)
        rows = [self._row(place), self._row(n - 1 - place)]  # counted from either end, whichever is shorter
        row = min(rows, key=lambda r: sum(not isinstance(k, int) for k in r))
        if any(c.denominator != 1 for c in row.values()):
            raise NotDecided(f"{place} is no whole number")
        tie = self.tie(plus(row, {} if index is None else {index: Fraction(1)}, -1))
        return self.over(tie, index)

    def product_of(self, factors: Sequence[Expr]) -> Terms:
        """A product; beside an indicator, entries are taken where it is one."""
        gates = [f for f in factors if isinstance(f, InRange)]
        parts = [self.in_range(*f.args) for f in gates]
        with self._given([r for f in gates for r in self._inequalities(*f.args)]):
            return self.times(*parts, *(self.scalar(f) for f in factors if not isinstance(f, InRange)))

    def _inequalities(self, place: Expr, n: Expr) -> list[Row]:
        here = row_of(place, {s: s for s in self.places})
        return [here, plus(row_of(n - 1), here, -1)]

    # --- sums -------------------------------------------------------------------------------------------

    def entry_sum(self, e: Expr) -> Terms | None:
        """A sum over indices of entries; None for another kind of range."""
        if not isinstance(e, Sum):
            return None
        k, lower, upper = e.limits[-1]
        inner = [*e.limits[:-1]]
        body = Sum(e.function, *inner) if inner else e.function
        if not (_holds_place(body, k) or any(k in b.free_symbols for x in inner for b in x[1:])):
            return None
        start, count, gates = self._whole_range(k, lower, upper)
        if not (is_never_negative(row_of(count), lambda _: False) or self._is_a_size(count, e)):
            self.doubtful.add(count)
        s = self._symbol()
        at = s + start
        body = replace_index(body, k, at)
        index = self.fresh(count)
        with self._placed({s: (index, count)}):
            moved = [(replace_index(place, k, at), n) for place, n in gates]
            parts = [self.in_range(place, n) for place, n in moved]
            with self._given([r for place, n in moved for r in self._inequalities(place, n)]):
                return self.over(self.times(*parts, self.scalar(body)), index)

    def _is_a_size(self, count: Expr, e: Expr) -> bool:
        """Whether some array has as many entries along an axis."""
        arrays = (n.args[0] for n in walk(e) if isinstance(n, MatrixElement | TensorElement))
        return any(same_size(count, n) for n in (*self.declared, *(n for a in arrays for n in shape_of(a))))

    def _whole_range(self, k: Expr, lower: Expr, upper: Expr) -> tuple[Expr, Expr, list[tuple[Expr, Expr]]]:
        """Lower <= k <= upper as start <= k < start + count, and indicators (place, size) for the other bounds."""
        lows, highs = _parts(lower, Max), _parts(upper, Min)
        pairs = []
        for a, low in enumerate(lows):
            for b, high in enumerate(highs):
                for x in low:
                    for y in high:
                        gap = sympy.expand(y - x)
                        if not gap.free_symbols & self.places.keys():
                            pairs.append((_denominator(x, y), x != 0, a, b, x, gap))
        pairs.sort(key=lambda p: (p[:4], str(p[4:])))
        if not pairs or pairs[0][0] != 1:
            raise NotDecided("bounds of a sum that make no range")
        _, _, a, b, start, gap = pairs[0]
        seen = ({a}, {b})
        gates = []
        for q, _, a, b, x, y in pairs[1:]:
            if a not in seen[0] or b not in seen[1]:
                gates.append((sympy.expand(q * (k - x)), sympy.expand(q * y + 1)))
                seen[0].add(a)
                seen[1].add(b)
        if len(seen[0]) < len(lows) or len(seen[1]) < len(highs):
            raise NotDecided("bounds of a sum that make no range")
        return start, sympy.expand(gap + 1), gates

    # --- scopes -----------------------------------------------------------------------------------------

    def _symbol(self) -> Symbol:
        self._symbols += 1
        return Symbol(f"place{self._symbols}_", integer=True, nonnegative=True)

    @contextmanager
    def _placed(self, bound: dict[Expr, tuple[Index, Expr]]) -> Iterator[None]:
        """Index symbols that stand for indices with so many values."""
        before = self.places, self._count
        self.places = {**self.places, **{s: i for s, (i, _) in bound.items()}}
        self._count = {**self._count, **{s: n for s, (_, n) in bound.items()}}
        try:
            yield
        finally:
            self.places, self._count = before

    @contextmanager
    def _given(self, rows: list[Row]) -> Iterator[None]:
        """What is known to be at least zero."""
        before, self._known = self._known, [*self._known, *rows]
        try:
            yield
        finally:
            self._known = before


def _holds_place(e: Expr, k: Expr) -> bool:
    """Whether an index symbol stands for a place, or an index expression does not hold it at all."""
    nodes = [n for n in walk(e) if isinstance(n, MatrixElement | TensorElement | KroneckerDelta | InRange)]
    if k not in e.free_symbols:
        return bool(nodes)
    return any(k in i.free_symbols for n in nodes for i in n.args)


def _parts(bound: Expr, cls: type[Expr]) -> list[list[Expr]]:
    """The bounds that a largest or least of bounds stands for, each as it is and without rounding."""
    if isinstance(bound, cls):
        return [p for a in bound.args for p in _parts(a, cls)]
    if bound.is_Add:
        for a in bound.args:
            inner = a.args if isinstance(a, cls) else ()
            if isinstance(-a, Min if cls is Max else Max):
                inner = tuple(-x for x in (-a).args)
            if inner:
                return [p for x in inner for p in _parts(bound - a + x, cls)]
    rounded = sympy.ceiling if cls is Max else sympy.floor
    return [[bound, bound.args[0]] if isinstance(bound, rounded) else [bound]]


def _denominator(*bounds: Expr) -> int:
    """The least number that makes whole numbers of the coefficients."""
    return int(sympy.ilcm(*(c.denominator for b in bounds for c in row_of(b).values()), 1))
