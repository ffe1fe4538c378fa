"""Rows, columns and windows in the text language: A[i,:], A[:,j], T[c,:,:], x[1:], x[i:i+w].

A place `:` is a whole axis, `a:b` the entries a to b - 1 as in NumPy; a negative number counts from the end. What such
a part is used in is written with letters as soon as an entry is asked for: A[i,:] @ x is the sum of A[i,k] x[k] over k.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sympy
from sympy import Expr, S

from symgrad.errors import ReadError, ShapeError
from symgrad.expr import Indices, element, from_entries, known_nonnegative, names_in, shape_text

if TYPE_CHECKING:
    from symgrad.reading.expressions import Expressions
    from symgrad.reading.ranges import IndexScope
    from symgrad.reading.typed import Value

__all__ = ["is_slice", "part_of", "spellings"]


def is_slice(tree: Any) -> bool:
    """Whether a place is `:` or `a:b`."""
    return bool(tree.data == "slice")


def spellings(name: str, rank: int, given: int) -> str:
    """How the parts of an array are written that have fewer indices than it: what would fit in place of A[i]."""
    if rank == 2:
        return (
            f"write {name}[i,:] for the row i, {name}[:,j] for the column j; members of a family stand in a loop: "
            f"for i in 1..L:"
        )
    letters = ",".join("ijkl"[:given])
    rest = ",".join(":" * (rank - given))
    return f"write {name}[{letters},{rest}] for the part with these first indices"


def part_of(scope: Expressions, tree: Any, value: Value, places_of: list[Any]) -> Value:
    """A part of an array with some of its indices fixed and the others running along their axes or pieces of them."""
    from symgrad.reading.indices import place_of
    from symgrad.reading.ranges import Use
    from symgrad.reading.typed import Value, value_of

    if value.kind == "scalar" or len(places_of) != len(value.shape):
        scope.fail(
            ShapeError,
            f"{len(places_of)} indices for a {shape_text(value.shape)}",
            tree,
            hint="every axis has its place: a letter, a number, or : for all of it",
        )
    inner = scope.index_scope
    places: list[Expr] = []
    letters: list[Expr] = []
    sizes: list[Expr] = []
    pieces = [
        _piece(scope, where, n) if is_slice(where) else (place_of(scope, where), S.One)
        for where, n in zip(places_of, value.shape, strict=True)
    ]
    bound = () if inner is None else (k.name for k in inner.counts)
    fresh = Indices({*scope.sizes, *scope.symbols, *scope.shapes, *names_in(value.expr), *bound})
    for where, n, (start, count) in zip(places_of, value.shape, pieces, strict=True):
        last = sympy.expand(start + count - 1)
        if inner is not None and (start.has(*inner.counts) or last.has(*inner.counts)):
            inner.uses.append(Use(start, n, value.expr, where, sympy.expand(last - start)))
        elif known_nonnegative(-1 - start) or known_nonnegative(last - n):
            shown = start if count == 1 else f"{start}..{last}"
            scope.fail(ShapeError, f"the index {shown} is outside 0..{n - 1}", where)
        if not is_slice(where):
            places.append(start)
            continue
        k = S.Zero if count == 1 else fresh.fresh()
        places.append(sympy.expand(start + k))
        letters.append(k)
        sizes.append(count)
    if places == letters and sizes == list(value.shape):
        return value
    if len(letters) < 3 and all(s == 1 for s in sizes):
        return Value(element(value.expr, *places), "scalar")
    part = from_entries(element(value.expr, *places), letters, sizes)
    return value_of(part, "vector" if len(letters) == 1 else "matrix")


def _piece(scope: Expressions, tree: Any, n: Expr) -> tuple[Expr, Expr]:
    """The first place of a slice and its number of entries."""
    ends = {str(t.data): t.children[0] for t in tree.children}
    start = _end(scope, ends["from"], n) if "from" in ends else S.Zero
    stop = _end(scope, ends["to"], n) if "to" in ends else n
    count = sympy.expand(stop - start)
    inner: IndexScope | None = scope.index_scope
    if inner is not None and count.has(*inner.counts):
        scope.fail(
            ReadError,
            "the length of a slice may not change with an index",
            tree,
            hint="write a sum with bounds, such as sum(k in 0..i, x[k])",
        )
    if known_nonnegative(-count):
        scope.fail(ShapeError, "the slice is empty", tree)
    return start, count


def _end(scope: Expressions, tree: Any, n: Expr) -> Expr:
    from symgrad.reading.indices import place_of

    end = place_of(scope, tree, ends=True)
    return sympy.expand(n + end) if end.is_negative and end.is_Integer else end
