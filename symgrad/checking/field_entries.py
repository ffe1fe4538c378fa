"""Index notation in a finite field: every open index is an axis, a sum over entries adds along its axis.

An entry outside its array has no value, unless the bounds of a sum or an indicator beside it leave it out.
"""

from __future__ import annotations

from functools import partial
from math import prod
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sympy import Expr, Mul, Sum
from sympy.matrices.expressions.matexpr import MatrixElement

from symgrad.checking.canonical import NotDecided
from symgrad.checking.field_functions import Functions
from symgrad.checking.places import Places
from symgrad.checking.truncated import Truncated
from symgrad.expr import Entries, EntryMax, InRange, TensorElement

__all__ = ["IndexValues", "is_over_entries"]

_MOST_NUMBERS = 20_000_000
_ENTRY = (MatrixElement, TensorElement)


def is_over_entries(e: Sum) -> bool:
    """Whether the indices of a sum stand in the places of entries."""
    over = set(e.bound_symbols)
    places = (i for n in e.function.atoms(*_ENTRY) for i in n.args[1:])
    return any(i.free_symbols & over for i in places)


class IndexValues(Functions):
    """Values of index expressions; `places` are the open indices, None where the value is a matrix or a number.

    `closed` are the values of what holds no open index.
    """

    places: Places | None
    closed: Self

    @property
    def rank(self) -> int:  # type: ignore[override]
        """The number of axes of a value after the one of the points."""
        return 2 if self.places is None else self.places.rank

    def within(self, places: Places) -> Self:
        """The same values with indices open."""
        raise NotImplementedError

    def _here(self) -> Places:
        """The open indices, none where the value is a matrix or a number."""
        return Places(self.level.setting.whole) if self.places is None else self.places

    def only(self, good: NDArray[np.bool_]) -> None:
        """Leave out the points where an entry that counts is not good."""
        if self.places is not None and self.places.bounds and not good.all():
            good = ~self.places.uncounted(~good)
        self.level.only(good)

    def _spread(self, x: Truncated) -> Truncated:
        """A number that holds no open index, beside those that do."""
        return {k: v.reshape(*v.shape[:-2], *[1] * self.rank) for k, v in x.items()}

    def _joined(self, x: Truncated) -> Truncated:
        """The value of a scalar with no index open, as a matrix of one row and column."""
        return x if self.places is not None else {k: v[..., None, None] for k, v in x.items()}

    def _index(self, e: Expr) -> Truncated:
        """An index as a number."""
        return self._numbers(self._here().whole(e))

    def _numbers(self, table: Any) -> Truncated:
        full = np.asarray(table, dtype=np.int64) % self.level.field.p
        return {0: full.reshape(1, *[1] * (self.rank - full.ndim), *full.shape)}

    def _delta(self, e: Expr) -> Truncated:
        a, b = (self._here().whole(i) for i in e.args)
        return self._numbers(np.asarray(a == b))

    def _in_range(self, e: Expr) -> Truncated:
        return self._numbers(self._inside(self._here(), e))

    @staticmethod
    def _inside(places: Places, e: Expr) -> NDArray[np.bool_]:
        place, count = (places.whole(i) for i in e.args)
        return np.asarray((place >= 0) & (place < count))

    def _entry(self, e: Expr) -> Truncated:
        """The entries of an array at a table of places."""
        here = self._here()
        array = self.closed.at(e.args[0])
        shape = array[0].shape[1:]
        at, outside = [], np.zeros((1,) * here.rank, dtype=bool)
        for i, n in zip(e.args[1:], shape, strict=True):
            place = np.asarray(here.whole(i), dtype=np.int64)
            place = place.reshape((*[1] * (here.rank - place.ndim), *place.shape))
            outside = outside | (place < 0) | (place >= n)
            at.append(np.clip(place, 0, n - 1))
        if outside.any() and here.uncounted(outside).any():
            raise NotDecided("an entry outside its array")
        chosen = tuple(np.broadcast_arrays(*at))
        key: Any = (..., *chosen)
        return self._joined({k: v[key] for k, v in array.items()})

    def _gated_product(self, e: Mul) -> Truncated:
        """A product; where an indicator in it is zero the other factors have no say."""
        return self._joined(self._terms_product(self._here(), e, 0))

    def _entry_sum(self, e: Sum) -> Truncated:
        """A sum over entries."""
        places = self._here()
        for k, first, last in reversed(e.limits):
            low, high = (places.whole(b) for b in (first, last))
            places = places.opened(k, low, high)
        return self._joined(self._terms_product(places, e.function, len(e.limits)))

    def _terms_product(self, places: Places, body: Expr, over: int) -> Truncated:
        """The product of the factors of a body, summed over the last axes."""
        factors = Mul.make_args(body) if type(body) is Mul else (body,)
        for f in factors:
            if isinstance(f, InRange):
                places = places.where(self._inside(places, f))
        inner = self.within(places)
        tables = [inner.at(f) for f in factors]
        if over:
            tables += [inner._numbers(b) for b in places.bounds]
        return self._contracted(tables, [b - a + 1 for _, a, b in places.axes], over)

    def _contracted(self, tables: list[Truncated], lengths: list[int], over: int) -> Truncated:
        """The product of tables, summed over so many of the last axes: the axis first that makes the smallest product."""
        algebra, rank = self.level.algebra, len(lengths)
        waiting = list(range(rank - over, rank))
        count = 1
        while waiting:
            costs = [(self._size([t for t in tables if _has(t, axis, rank)]), axis) for axis in waiting]
            _, axis = min(costs)
            waiting.remove(axis)
            part = [t for t in tables if _has(t, axis, rank)]
            tables = [t for t in tables if not _has(t, axis, rank)]
            if part:
                adding = partial(np.sum, axis=axis - rank, keepdims=True)
                tables.append(algebra.linear(self._multiplied(part), adding))
            else:
                count *= lengths[axis]
        result = self._multiplied(tables) if tables else {0: np.ones((1,) * (rank + 1), dtype=np.int64)}
        if count != 1:
            result = algebra.scaled(result, count % self.level.field.p)
        return {k: v.reshape(v.shape[: v.ndim - over]) for k, v in result.items()} if over else result

    def _multiplied(self, tables: list[Truncated]) -> Truncated:
        if self._size(tables) > _MOST_NUMBERS:
            raise NotDecided("too many entries")
        ordered = sorted(tables, key=lambda t: t[0].size)
        result = ordered[0]
        for t in ordered[1:]:
            result = self.level.algebra.times(result, t)
        return result

    def _size(self, tables: list[Truncated]) -> int:
        """How many numbers a product of tables has."""
        each = [prod(np.broadcast_shapes(*(v.shape for v in t.values()))) for t in tables]
        if len(tables) < 2:
            return sum(each)
        return prod(np.broadcast_shapes(*(v.shape for t in tables for v in t.values())))

    def _array(self, e: Expr) -> Truncated:
        """An array given by its entries."""
        if self.places is not None:
            raise NotDecided("an array inside of index notation")
        shape = self.level.setting.shape(e)
        places = self._here()
        for k, n in zip(e.indices, shape, strict=True):
            places = places.opened(k, 0, n - 1)
        table = self.within(places).at(e.body)
        return {k: np.broadcast_to(v, (*v.shape[: -len(shape)], *shape)) for k, v in table.items()}

    def _largest_entry(self, e: EntryMax) -> Truncated:
        """The largest entry of an array given by its entries, for every number of the open indices."""
        m = e.arg
        if not isinstance(m, Entries):
            raise NotDecided("the largest entry of an array with open indices")
        places = self._here()
        outer = places.rank
        for k, n in zip(m.indices, m.sizes, strict=True):
            if not k.is_Number:
                places = places.opened(k, 0, self.level.setting.whole(n) - 1)
        table = self.within(places).at(m.body)
        lengths = [b - a + 1 for _, a, b in places.axes[outer:]]
        flat = {}
        for k, v in table.items():
            lead = v.shape[: v.ndim - len(lengths)]
            flat[k] = np.broadcast_to(v, (*lead, *lengths)).reshape(*lead, -1)
        return self._joined({k: v[..., 0] for k, v in self._largest_of(flat).items()})


def _has(t: Truncated, axis: int, rank: int) -> bool:
    """Whether a table depends on an axis."""
    return any(v.shape[axis - rank] > 1 for v in t.values())
