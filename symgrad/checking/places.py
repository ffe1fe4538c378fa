"""Open indices: each runs over whole numbers along an axis of its own.

Tables over them have an axis for every open index, in the order in which they were opened, of length one where nothing
depends on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray
from sympy import Expr, Max, Min, Symbol

from symgrad.checking.canonical import NotDecided

__all__ = ["Places", "Whole", "is_index"]

Whole = int | NDArray[np.int64]

_LARGEST = 2_000_000


def is_index(s: Expr) -> bool:
    """Whether a symbol is an index, which may be zero, and not a size."""
    return bool(isinstance(s, Symbol) and s.is_integer and s.is_nonnegative and not s.is_positive)


@dataclass(frozen=True, eq=False)
class Places:
    """The open indices with their first and last numbers; `number` is the value of what holds none of them.

    `bounds` are tables that say where an index is within the bounds of its sum, or where an indicator is not zero:
    elsewhere an entry does not count.
    """

    number: Callable[[Expr], int]
    axes: tuple[tuple[Expr | None, int, int], ...] = ()
    bounds: tuple[NDArray[np.bool_], ...] = ()

    @property
    def key(self) -> object:
        """What tells places apart."""
        return self.axes, tuple((b.shape, b.tobytes()) for b in self.bounds)

    @property
    def rank(self) -> int:
        """How many axes there are."""
        return len(self.axes)

    @property
    def lengths(self) -> dict[Expr, int]:
        """How many numbers each open index runs over."""
        return {k: last - first + 1 for k, first, last in self.axes if k is not None}

    def occur_in(self, e: Expr) -> bool:
        """Whether an expression holds an open index."""
        free = e.free_symbols
        return any(k in free for k, _, _ in self.axes if k is not None)

    def opened(self, k: Expr, first: Whole, last: Whole) -> Places:
        """One more index, whose bounds may rest on the others; its axis has a number even where it has none."""
        low, high = int(np.min(first)), int(np.max(last))
        axes = tuple((None if s == k else s, a, b) for s, a, b in self.axes)
        here = (k, low, max(high, low))
        bounds = tuple(b[..., None] for b in self.bounds)
        inner = Places(self.number, (*axes, here), bounds)
        if np.ndim(first) == np.ndim(last) == 0 and high >= low:
            return inner
        at = inner.whole(k)
        above, below = (x if np.ndim(x) == 0 else np.asarray(x)[..., None] for x in (first, last))
        return inner.where(np.asarray((at >= above) & (at <= below)))

    def where(self, inside: NDArray[np.bool_]) -> Places:
        """The same with places that do not count."""
        return Places(self.number, self.axes, (*self.bounds, inside.reshape(self._full(inside))))

    def _full(self, table: NDArray[Any]) -> tuple[int, ...]:
        return (*[1] * (self.rank - table.ndim), *table.shape)

    def whole(self, e: Expr) -> Whole:
        """The numbers that an index expression stands for.

        Raises   NotDecided for what is no whole number
        """
        if not self.occur_in(e):
            return self.number(e)
        for n, (k, first, last) in enumerate(self.axes):
            if k == e:
                axis = np.arange(first, last + 1, dtype=np.int64)
                return axis.reshape((*[1] * n, -1, *[1] * (self.rank - n - 1)))
        if isinstance(e, sympy.floor | sympy.ceiling):
            q = int(sympy.fraction(sympy.together(e.args[0]))[1])
            above = self.whole(sympy.expand(e.args[0] * q))
            return above // q if isinstance(e, sympy.floor) else -((-above) // q)
        args = [self.whole(a) for a in e.args]
        if e.is_Add:
            return sum(args[1:], args[0])
        if e.is_Mul:
            result: Whole = 1
            for a in args:
                result = result * a
            return result
        if isinstance(e, Max | Min):
            pick = np.maximum if isinstance(e, Max) else np.minimum
            chosen = args[0]
            for a in args[1:]:
                chosen = pick(chosen, a)
            return chosen
        raise NotDecided(f"{e} is no index")

    def uncounted(self, table: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """A table of places, without those that do not count."""
        for b in self.bounds:
            if not table.any():
                break
            if max(table.size, b.size) > _LARGEST:
                raise NotDecided("too many entries")
            table = table & b
        return table
