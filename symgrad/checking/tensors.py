"""The value of index expressions: every index is an axis, a sum adds along its axis.

Arrays are read at tables of places. A place outside its array has no value (NaN) unless an indicator beside it, or the
bounds of a sum, leave it out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sympy
from sympy import Expr, KroneckerDelta, Max, Min, Mul, Sum
from sympy.matrices.expressions.matexpr import MatrixElement

from symgrad.errors import UnsupportedError
from symgrad.expr import Entries, EntryMax, InRange, TensorElement, TensorEntries

__all__ = ["IndexProgram", "is_index_node"]

_LARGEST = 4_000_000
Table = Any


def is_index_node(e: object) -> bool:
    """Whether an expression binds indices and is computed here."""
    return isinstance(e, Sum | Entries | TensorEntries)


@dataclass(frozen=True)
class IndexProgram:
    """A sum or an array given by its entries, as a function of the arrays in it.

    `inputs` are the parts that no index enters: arrays, scalars, derivatives that are not worked out.
    """

    node: Expr
    inputs: tuple[Expr, ...]

    @classmethod
    def of(cls, node: Expr) -> IndexProgram:
        """The program of a sum or of an array given by its entries."""
        found: dict[Expr, None] = {}
        _collect(node, frozenset(), found)
        return cls(node, tuple(found))

    def __call__(self, _: Expr, *values: Any) -> Any:
        """The value, for values of the inputs: a number, or an array."""
        given = dict(zip(self.inputs, values, strict=True))
        if isinstance(self.node, Entries | TensorEntries):
            shape = tuple(int(n) for n in self.node.sizes)
            if min(shape) < 1:
                raise ValueError(f"an array of shape {shape}")
            scope = _Scope(given, {}, 0)
            for k, n in reversed(list(zip(self.node.indices, shape, strict=True))):
                scope = scope.opened(k, np.arange(n))
            return np.array(np.broadcast_to(scope.value(self.node.body), shape), dtype=float)
        return float(np.asarray(_Scope(given, {}, 0).value(self.node)))


def _collect(e: Expr, bound: frozenset[Expr], found: dict[Expr, None]) -> None:
    """The largest parts in which no bound index occurs; places of entries are no parts."""
    if isinstance(e, MatrixElement | TensorElement):
        if any(i.free_symbols & bound for i in e.args[1:]) or not bound:
            found.setdefault(e.args[0])
            for i in e.args[1:]:
                for s in i.free_symbols - bound:
                    found.setdefault(s)
        else:
            found.setdefault(e)
        return
    if is_index_node(e):
        inner = bound | set(e.bound_symbols)
        _collect(e.args[0], inner, found)
        for limit in e.limits if isinstance(e, Sum) else ():
            for b in limit[1:]:
                for s in b.free_symbols - inner:
                    found.setdefault(s)
        return
    if bound and not (e.free_symbols & bound) and not e.is_Number and not e.has(Sum):
        found.setdefault(e)
        return
    if isinstance(e, KroneckerDelta | InRange) or e in bound:
        for s in e.free_symbols - bound:
            found.setdefault(s)
        return
    if not e.args and not e.is_Number:
        found.setdefault(e)
    for a in e.args:
        if isinstance(a, Expr):
            _collect(a, bound, found)


@dataclass
class _Scope:
    """Values of the indices that are open: each along an axis of its own, the innermost first."""

    given: Mapping[Expr, Any]
    places: dict[Expr, Table]
    depth: int
    whole: dict[int, int] = field(default_factory=dict)

    def opened(self, k: Expr, values: Table) -> _Scope:
        """One more axis, in front of the others."""
        if k.is_Number:
            return _Scope(self.given, self.places, self.depth + 1, self.whole)
        axis = values.reshape((-1, *[1] * self.depth))
        whole = dict(self.whole)
        if values[0] == 0:  # the numbers 0, 1, .. along the axis with this number, counted from the last
            whole[self.depth + 1] = len(values)
        inner = _Scope(self.given, {**self.places, k: axis}, self.depth + 1, whole)
        if np.prod([float(np.size(v)) for v in inner.places.values()]) > _LARGEST:
            raise UnsupportedError("too many entries to be compared in numbers")
        return inner

    def value(self, e: Expr) -> Table:
        """The table of values of an expression."""
        if e in self.given:
            return self.given[e]
        if e in self.places:
            return self.places[e]
        if e.is_Number or isinstance(e, sympy.NumberSymbol):
            return float(e)
        if isinstance(e, Sum):
            return self._sum(e, list(e.limits))
        if isinstance(e, MatrixElement | TensorElement):
            return self._entry(self.given[e.args[0]], [self._place(i) for i in e.args[1:]])
        if isinstance(e, KroneckerDelta):
            a, b = map(self._place, e.args)
            return (a == b) * 1.0
        if isinstance(e, InRange):
            place, count = map(self._place, e.args)
            return ((place >= 0) & (place < count)) * 1.0
        if isinstance(e, EntryMax) and isinstance(e.arg, Entries):
            return self._largest(e.arg)
        if isinstance(e, Mul):
            return self._product(e)
        from symgrad.checking.evaluate import entry_method

        method: Callable[..., Any] = entry_method(e)
        return method(e, *(self.value(a) for a in e.args))

    def _place(self, e: Expr) -> Table:
        """The values of an index expression, whole numbers."""
        if e in self.places:
            return self.places[e]
        if e.is_Integer:
            return int(e)
        if e in self.given:
            return round(float(self.given[e]))
        if isinstance(e, sympy.floor | sympy.ceiling):
            q = sympy.fraction(sympy.together(e.args[0]))[1]
            above = self._place(sympy.expand(e.args[0] * q))
            return above // int(q) if isinstance(e, sympy.floor) else -((-above) // int(q))
        args = [self._place(a) for a in e.args]
        if e.is_Add:
            return sum(args[1:], args[0])
        if e.is_Mul and len(args) == 2 and not e.args[0].is_Integer:  # a fraction inside floor or ceiling
            raise UnsupportedError(f"{e} is no index")
        if e.is_Mul:
            return np.prod(np.array(args, dtype=object), axis=0) if len(args) != 2 else args[0] * args[1]
        if isinstance(e, Max | Min):
            pick = np.maximum if isinstance(e, Max) else np.minimum
            result = args[0]
            for a in args[1:]:
                result = pick(result, a)
            return result
        raise UnsupportedError(f"{e} is no index")

    def _sum(self, e: Sum, limits: list[Any]) -> Table:
        """The sum over the last limit, which is the outermost, of the rest."""
        if not limits:
            return self.value(e.function)
        k, lower, upper = limits[-1]
        first, last = self._place(lower), self._place(upper)
        low, high = int(np.min(first)), int(np.max(last))
        if high < low:
            return 0.0
        inner = self.opened(k, np.arange(low, high + 1))
        table = np.asarray(inner._sum(e, limits[:-1]), dtype=float)
        inside = (inner.places[k] >= first) & (inner.places[k] <= last)
        if np.ndim(table) < inner.depth or not np.all(inside):
            table = np.where(inside, table, 0.0)
        table = np.broadcast_to(table, np.broadcast_shapes(table.shape, inner.places[k].shape))
        return np.sum(table, axis=0)

    def _largest(self, m: Entries) -> Table:
        """The largest entry of an array."""
        inner = self
        for k, n in zip(m.indices, m.sizes, strict=True):
            if not k.is_Number:
                inner = inner.opened(k, np.arange(int(n)))
        table = np.asarray(inner.value(m.body))
        axes = tuple(range(inner.depth - self.depth))
        full = np.broadcast_to(table, np.broadcast_shapes(table.shape, (1,) * inner.depth))
        return np.max(full, axis=axes)

    def _entry(self, array: Table, places: list[Table]) -> Table:
        shape = np.shape(array)
        whole = self._whole(array, shape, places)
        if whole is not None:
            return whole
        inside: Any = True
        clipped = []
        for place, n in zip(places, shape, strict=True):
            inside = inside & (place >= 0) & (place < n)
            clipped.append(np.clip(place, 0, n - 1))
        return np.where(inside, np.asarray(array)[tuple(np.broadcast_arrays(*clipped))], np.nan)

    def _whole(self, array: Table, shape: tuple[int, ...], places: list[Table]) -> Table | None:
        """The array itself with its axes where its indices have theirs, if every index runs over a whole axis."""
        axes = []
        for place, n in zip(places, shape, strict=True):
            if isinstance(place, int) and place == 0 and n == 1:
                axes.append(-1)
            elif any(place is k for k in self.places.values()) and self.whole.get(np.ndim(place)) == n:
                axes.append(np.ndim(place))
            else:
                return None
        letters = [a for a in axes if a > 0]
        if len(set(letters)) < len(letters):
            return None
        core = np.asarray(array).reshape([n for n, a in zip(shape, axes, strict=True) if a > 0])
        order = sorted(range(len(letters)), key=lambda k: -letters[k])
        sizes = [1] * max(letters, default=0)
        for k in letters:
            sizes[-k] = self.whole[k]
        return core.transpose(order).reshape(sizes)

    def _product(self, e: Mul) -> Table:
        """Where an indicator or a delta is zero the other factors have no say."""
        gate: Any = 1.0
        rest: Any = 1.0
        gated = False
        for f in e.args:
            if isinstance(f, InRange):
                gate, gated = gate * self.value(f), True
            else:
                rest = rest * self.value(f)
        return np.where(np.asarray(gate) == 0, 0.0, rest) if gated else rest
