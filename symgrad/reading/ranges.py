"""The letters that are open while a formula is read, their ranges, and that every place stays inside its array.

A letter's range is that of the places where it stands; in a shift such as X[i+k] it is what is left of X.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sympy
from sympy import Dummy, Expr, KroneckerDelta, Mul, S, Symbol
from sympy.matrices.expressions.matexpr import MatrixElement

from symgrad.errors import ReadError, ShapeError
from symgrad.expr import (
    Indices,
    InRange,
    TensorElement,
    known_nonnegative,
    same_size,
    shape_of,
    shape_text,
    walk,
)

if TYPE_CHECKING:
    from symgrad.reading.expressions import Expressions

__all__ = ["IndexScope", "Use", "count_of", "settled"]


@dataclass(frozen=True)
class Use:
    """A place in an entry: the index expression, the size of its axis, the array, where it was read.

    A slice uses the places from there to `extent` places further on.
    """

    place: Expr
    size: Expr
    array: Expr
    tree: Any
    extent: Expr = S.Zero

    @property
    def last(self) -> Expr:
        """The last place."""
        return sympy.expand(self.place + self.extent)


@dataclass
class IndexScope:
    """The letters that are open while a formula is read, and what is known of their ranges.

    A letter stands for a dummy of its own wherever it is bound; `ranges` has first and last value of those that
    were given, `uses` the places where letters stand, `pairs` those that a delta compares.
    """

    open: dict[str, Dummy] = field(default_factory=dict)
    counts: dict[Expr, Expr] = field(default_factory=dict)
    ranges: dict[Expr, tuple[Expr, Expr]] = field(default_factory=dict)
    order: list[tuple[Dummy, Any]] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    pairs: list[tuple[Expr, Expr]] = field(default_factory=list)

    def bind(self, name: str, tree: Any) -> Dummy:
        """A new meaning of a letter; its number of values is a dummy until it is settled."""
        k = Dummy(name, integer=True, nonnegative=True)
        self.counts[k] = Dummy(f"n_{name}", integer=True, positive=True)
        self.order.append((k, tree))
        return k


def count_of(inner: IndexScope, k: Dummy) -> Expr:
    """The number of values of a letter that counts from zero."""
    return inner.ranges[k][1] + 1 if k in inner.ranges else inner.counts[k]


def settled(scope: Expressions, inner: IndexScope, e: Expr) -> Expr:
    """The expression with the ranges of its letters, every place checked, and readable letters."""
    counts = _counts(scope, inner)
    e = e.xreplace({inner.counts[k]: n for k, n in counts.items()})
    inner.ranges = {
        k: tuple(b.xreplace({inner.counts[x]: n for x, n in counts.items()}) for b in ends)
        for k, ends in inner.ranges.items()
    }
    e = _counted_from_one(inner, e)
    for use in inner.uses:
        _check_inside(scope, inner, use, counts, e)
    return e.xreplace(_readable(scope, inner))


def _counts(scope: Expressions, inner: IndexScope) -> dict[Expr, Expr]:
    """The number of values of every letter that was not given a range."""
    known: dict[Expr, tuple[Expr, Use | None]] = {}
    for use in inner.uses:
        k = use.place
        if k not in inner.counts or use.extent != 0 or (k in inner.ranges and inner.ranges[k][0] != 0):
            continue
        given = inner.ranges[k][1] + 1 if k in inner.ranges else known[k][0] if k in known else None
        if given is None:
            known[k] = (use.size, use)
        elif not scope.same(given, use.size) and k in known:
            first = known[k][1]
            scope.fail(
                ShapeError,
                f"the index {k.name} is used in two ranges: 0..{known[k][0] - 1} and 0..{use.size - 1}",
                use.tree,
                details=tuple(
                    f"{shown(u.array)} is {shape_text(shape_of(u.array))}"
                    for u in (first, use)
                    if u is not None
                ),
            )
    counts = {k: n for k, (n, _) in known.items()}
    _counts_of_shifts(scope, inner, counts)
    for (
        pair
    ) in inner.pairs:  # a letter that stands only in deltas has the range of the letter it is compared with
        for k, other in (pair, pair[::-1]):
            if k in inner.counts and k not in counts and k not in inner.ranges and other in counts:
                counts[k] = counts[other]
    for k, tree in inner.order:
        if k not in counts and k not in inner.ranges:
            scope.fail(
                ReadError,
                f"the index {k.name} has no range: it stands in no entry"
                if not any(u.place.has(k) for u in inner.uses)
                else f"the range of the index {k.name} does not follow from its places",
                tree,
                hint=f"write {k.name} in 0..n-1, or declare the shape of what is defined",
            )
    return counts


def _counts_of_shifts(scope: Expressions, inner: IndexScope, counts: dict[Expr, Expr]) -> None:
    """A letter that stands only in shifts runs as far as the array reaches: i in X[i+k] to n - w."""
    for k, _ in inner.order:
        if k in counts or k in inner.ranges:
            continue
        for use in inner.uses:
            c = use.place.coeff(k)
            others = (use.place.free_symbols & set(inner.counts)) - {k}
            if not (c.is_Integer and c > 0) or any(x not in counts and x not in inner.ranges for x in others):
                continue
            most = _end(sympy.expand(use.last - c * k), inner, counts, last=True)
            reach = sympy.expand(use.size - 1 - most)
            found = reach + 1 if c == 1 else sympy.floor(reach / c) + 1
            if isinstance(use.size, Dummy) or found.has(*inner.counts):
                continue  # an open size, or the range of another letter depends on this one
            if k in counts and not same_size(counts[k], found):
                scope.fail(
                    ShapeError,
                    f"the index {k.name} is used in two ranges: 0..{counts[k] - 1} and 0..{found - 1}",
                    use.tree,
                )
            counts[k] = found


def _end(place: Expr, inner: IndexScope, counts: dict[Expr, Expr], last: bool) -> Expr:
    """The largest (or smallest) value of a place over the ranges of its letters, those bound last first."""
    for k, _ in reversed(inner.order):
        c = place.coeff(k)
        if c == 0:
            continue
        lower, upper = inner.ranges.get(k, (S.Zero, counts[k] - 1 if k in counts else S.Zero))
        place = sympy.expand(place.xreplace({k: upper if (c.is_positive is True) == last else lower}))
    return place


def _check_inside(scope: Expressions, inner: IndexScope, use: Use, counts: dict[Expr, Expr], e: Expr) -> None:
    """Every value of a place lies in its array, or an indicator stands beside the entry."""
    first, last = _end(use.place, inner, counts, last=False), _end(use.last, inner, counts, last=True)
    below, above = known_nonnegative(first), known_nonnegative(sympy.expand(use.size - 1 - last))
    if (below and above) or _is_guarded(use, e):
        return
    reached = f"goes down to {first}" if not below else f"goes up to {last}"
    names = {k: Symbol(k.name) for k, _ in inner.order}
    scope.fail(
        ShapeError,
        f"the index {use.place.xreplace(names)} {reached}; {shown(use.array)} has the entries "
        f"0..{use.size - 1} there",
        use.tree,
        hint="indices count from zero; declare sizes that fit, such as n+w-1, or write the range: "
        "sum(k in a..b, ..)",
    )


def _is_guarded(use: Use, e: Expr) -> bool:
    """Whether every such entry is a factor beside its indicator."""

    def holds(node: Expr, seen: frozenset[Expr]) -> bool:
        if isinstance(node, MatrixElement | TensorElement) and node.args[0] == use.array:
            return use.place not in node.args[1:] or use.place in seen
        if isinstance(node, Mul):
            seen = seen | {f.args[0] for f in node.args if isinstance(f, InRange) and f.args[1] == use.size}
        return all(holds(a, seen) for a in node.args)

    return any(isinstance(n, InRange) for n in walk(e)) and holds(e, frozenset())


def _counted_from_one(inner: IndexScope, e: Expr) -> Expr:
    """sum(j in 1..n, A[i,j]) of an array with n columns: all of them, counted from one.

    Only where the letter stands alone wherever it stands, and its range is the whole axis: from zero the range would
    leave the array, so there is one way to read it.
    """
    for k, ends in list(inner.ranges.items()):
        uses = [u for u in inner.uses if u.place.has(k)]
        whole = all(u.place == k and same_size(u.size, ends[1]) for u in uses)
        if ends[0] == 1 and uses and whole and not _is_value(e, k):
            lower = S.Zero, ends[1] - 1
            e = e.xreplace({sympy.Tuple(k, *ends): sympy.Tuple(k, *lower)})
            inner.ranges[k] = lower
    return e


def _is_value(e: Expr, k: Expr) -> bool:
    """Whether a letter is used as a number."""
    if isinstance(e, MatrixElement | TensorElement | KroneckerDelta):
        return False
    return e == k or any(_is_value(a, k) for a in e.args if isinstance(a, Expr))


def _readable(scope: Expressions, inner: IndexScope) -> dict[Expr, Expr]:
    """Letters for the dummies: the same, unless that is the name of a size or an array; then another one."""
    taken = {*scope.sizes, *scope.symbols, *scope.shapes, *scope.indices}
    fresh = Indices({*taken, *(k.name for k, _ in inner.order)})
    chosen: dict[str, str] = {}
    for k, _ in inner.order:
        if k.name not in chosen:
            chosen[k.name] = fresh.fresh().name if k.name in taken else k.name
    return {k: Symbol(chosen[k.name], integer=True, nonnegative=True) for k, _ in inner.order}


def shown(array: Expr) -> str:
    return str(getattr(array, "name", array))
