"""Index notation in the text language: sums over letters, entries, definitions by entries.

`Z[i,k] = sum(j, A[i,j] * B[j,k])`: a letter's range is that of the places where it stands; in a shift such as
X[i+k] it is what is left of X. Every place is checked to stay inside its array. Indices count from zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import sympy
from sympy import Dummy, Expr, Integer, KroneckerDelta, Mul, S, Sum

from symgrad.errors import ReadError, ShapeError
from symgrad.expr import (
    Definition,
    EntryMax,
    Indices,
    InRange,
    Tensor,
    element,
    from_entries,
    names_in,
    scale,
    shape_of,
    shape_text,
)
from symgrad.expr.entries_of import in_letters
from symgrad.reading.ranges import IndexScope, Use, count_of, settled
from symgrad.reading.slices import is_slice, part_of, spellings
from symgrad.reading.text import Statement

if TYPE_CHECKING:
    from symgrad.reading.expressions import Expressions
    from symgrad.reading.typed import Value

__all__ = [
    "by_entries",
    "define",
    "delta",
    "in_range",
    "is_over_letters",
    "over_letters",
    "place_of",
    "read_entry",
    "size_of",
]


# --- what is read --------------------------------------------------------------------------------------


def by_entries(scope: Expressions, target: Any) -> bool:
    """Whether the target of a definition is an entry at letters, as Z[i,k], and no member of a family."""
    places = target.children[1:]
    if len(places) != 1:
        return len(places) > 1
    (place,) = places
    if place.data != "name":
        return False
    letter, name = str(place.children[0]), str(target.children[0])
    known = (
        letter in scope.shapes or letter in scope.sizes or letter in scope.indices or letter in scope.symbols
    )
    return not known and name not in scope.family_names


def is_over_letters(scope: Expressions, positional: list[Any], ranges: list[Any]) -> bool:
    """Whether a call such as sum(i, j, body) or sum(k in 0..n-1, x[k]) runs over letters of entries."""
    if not positional:
        return False
    *letters, body = positional
    if ranges:
        names = {str(r.children[0]) for r in ranges}
        return bool(letters) or any(_stands_in_entries(scope, n, body) for n in names)
    return bool(letters) and all(t.data == "name" and _is_letter(scope, str(t.children[0])) for t in letters)


def _is_letter(scope: Expressions, name: str) -> bool:
    opened = scope.index_scope is not None and name in scope.index_scope.open
    known = name in scope.symbols or name in scope.shapes or name in scope.defined or name in scope.later
    return opened or (not known and name not in scope.indices)


def _stands_in_entries(scope: Expressions, name: str, body: Any) -> bool:
    """Whether a letter is an index of an entry, and not the layer of a family's member."""
    for item in body.find_data("item"):
        base, *places = item.children
        family = base.data == "name" and str(base.children[0]) in scope.family_names and len(places) == 1
        if not family and any(name in _names(p) for p in places):
            return True
    return False


def _names(tree: Any) -> set[str]:
    return {str(t.children[0]) for t in tree.find_data("name")} if hasattr(tree, "find_data") else set()


def over_letters(scope: Expressions, called: str, tree: Any, arguments: list[Any]) -> Value:
    """sum(i, j, body), mean(..), max(..): over all values of the letters; a range may be given with `in`."""
    *letters, body_tree = arguments
    if called not in ("sum", "mean", "max"):
        scope.fail(ReadError, f"{called} does not run over letters", tree, hint="sum, mean and max do")
    if body_tree.data == "range":
        scope.fail(ReadError, f"{called} over letters ends with what is summed", body_tree)
    outermost = scope.index_scope is None
    if scope.index_scope is None:
        scope.index_scope = IndexScope()
    inner = scope.index_scope
    before = dict(inner.open)
    try:
        bound = [_bound_letter(scope, inner, t) for t in letters]
        body = scope.read(body_tree)
        if body.kind != "scalar":
            scope.fail(
                ShapeError,
                f"what {called} runs over is a {shape_text(body.shape)}, not an entry",
                body_tree,
                hint=f"give it as many indices as it has: {called}(i, j, A[i,j])",
            )
        result = _over(inner, called, _in_letters(scope, body.expr), bound)
    finally:
        inner.open = before
        if outermost:
            scope.index_scope = None
    return _scalar(settled(scope, inner, result) if outermost else result)


def _bound_letter(scope: Expressions, inner: IndexScope, tree: Any) -> Dummy:
    if tree.data not in ("name", "range"):
        scope.fail(
            ReadError, "a sum runs over letters", tree, hint="sum(i, j, A[i,j]) or sum(i in 0..n-1, x[i])"
        )
    name = str(tree.children[0])
    if name in inner.open:
        scope.fail(ReadError, f"the index {name} is bound already", tree, hint="take another letter")
    if not _is_letter(scope, name):
        scope.fail(ReadError, f"{name} is a name already, not a letter to sum over", tree)
    ends = None
    if tree.data == "range":
        ends = (place_of(scope, tree.children[1], ends=True), place_of(scope, tree.children[2], ends=True))
    k = inner.bind(name, tree)
    scope.letters.add(name)
    if ends is not None:
        inner.ranges[k] = ends
    inner.open[name] = k
    return k


def _over(inner: IndexScope, called: str, body: Expr, bound: list[Dummy]) -> Expr:
    if called == "max":
        if len(bound) > 2 or any(k in inner.ranges and inner.ranges[k][0] != 0 for k in bound):
            raise ReadError("max runs over one letter or two, from 0 where a range is given")
        return EntryMax(from_entries(body, bound, [count_of(inner, k) for k in bound]))
    limits = [(k, *inner.ranges.get(k, (S.Zero, inner.counts[k] - 1))) for k in reversed(bound)]
    result: Expr = Sum(body, *limits)
    if called == "mean":
        count = Mul(*(upper - lower + 1 for _, lower, upper in limits))
        result = scale(1 / count, result)
    return result


def _in_letters(scope: Expressions, e: Expr) -> Expr:
    """A scalar with entries in place of the arrays that an index stands in."""
    inner = scope.index_scope
    opened = () if inner is None else tuple(inner.counts)
    taken = {
        *scope.sizes,
        *scope.symbols,
        *scope.shapes,
        *scope.indices,
        *(k.name for k in opened),
        *names_in(e),
    }
    return in_letters(e, opened, Indices(taken))


def _scalar(e: Expr) -> Value:
    from symgrad.reading.typed import Value

    return Value(e, "scalar")


def read_entry(scope: Expressions, tree: Any) -> Value:
    """An entry such as A[i, j+1]; indices count from zero."""
    base, *places_of = tree.children
    if base.data == "name":
        scope.ranks.setdefault(str(base.children[0]), len(places_of))
    value = scope.read(base)
    if any(map(is_slice, places_of)):
        return part_of(scope, tree, value, places_of)
    places = [place_of(scope, i) for i in places_of]
    if value.kind in ("matrix", "tensor") and len(places) < len(value.shape):
        name = str(base.children[0]) if base.data == "name" else "A"
        scope.fail(
            ShapeError,
            f"{'one index' if len(places) == 1 else f'{len(places)} indices'} for a {shape_text(value.shape)}",
            tree,
            hint=spellings(name, len(value.shape), len(places)),
        )
    if value.kind == "scalar" or len(places) != len(value.shape):
        scope.fail(
            ShapeError,
            f"{len(places)} indices for a {shape_text(value.shape)}",
            tree,
            hint="a vector has one index, a matrix two, a tensor as many as it was declared with",
        )
    for place, bound, where in zip(places, value.shape, places_of, strict=True):
        if place.is_negative or (place - bound).is_nonnegative:
            scope.fail(ShapeError, f"the index {place} is outside 0..{bound - 1}", where)
        if scope.index_scope is not None and place.has(*scope.index_scope.counts):
            scope.index_scope.uses.append(Use(place, bound, value.expr, where))
    return _scalar(element(value.expr, *places))


def place_of(scope: Expressions, tree: Any, ends: bool = False) -> Expr:
    """An index: a letter, a number, a size, sums and multiples of those; a new name is a size at the end of a range."""
    inner = scope.index_scope
    if inner is None:
        return scope._bound(tree)
    if tree.data == "name":
        name = str(tree.children[0])
        if name in inner.open:
            return inner.open[name]
        if name in scope.sizes or (name in scope.indices and name not in scope.shapes):
            return scope._bound(tree)
        if ends and _is_letter(scope, name):
            return scope._bound(tree)
        _unbound(scope, name, tree)
    if tree.data == "number" and str(tree.children[0]).isdigit():
        return Integer(int(tree.children[0]))
    if tree.data == "negative":
        return -place_of(scope, tree.children[-1], ends)
    if tree.data in ("total", "product"):
        result = place_of(scope, tree.children[0], ends)
        for operator, operand in zip(tree.children[1::2], tree.children[2::2], strict=True):
            other = place_of(scope, operand, ends)
            if operator == "*" and (result.is_Integer or other.is_Integer):
                result = result * other
            elif operator in ("+", "-"):
                result = result + other if operator == "+" else result - other
            else:
                scope.fail(ReadError, f"{operator} has no place in an index", operator)
        return sympy.expand(result)
    if tree.data == "call" and str(tree.children[0]) == "size":
        return size_of(scope, tree)
    if tree.data == "call" and str(tree.children[0]) in ("max", "min") and len(tree.children) > 2:
        make = sympy.Max if str(tree.children[0]) == "max" else sympy.Min
        return make(*(place_of(scope, t) for t in tree.children[1:]))
    if tree.data == "call" and str(tree.children[0]) in ("floor", "ceil") and len(tree.children) == 2:
        inside = tree.children[1]
        divided = inside.data == "product" and len(inside.children) == 3 and inside.children[1] == "/"
        if divided and inside.children[2].data == "number":
            make_whole = sympy.floor if str(tree.children[0]) == "floor" else sympy.ceiling
            return make_whole(place_of(scope, inside.children[0]) / place_of(scope, inside.children[2]))
        scope.fail(ReadError, f"{tree.children[0]} takes a place over a number: floor((n-w)/2)", tree)
    scope.fail(
        ReadError,
        "an index is a letter, a number, a size, or a sum of those",
        tree,
        hint="a table of indices is written with one-hot rows: sum(v, T[n,v] * E[v,d])",
    )


def size_of(scope: Expressions, tree: Any) -> Expr:
    """What size(x) and size(x, axis=1) stand for: the number of entries, in all or along an axis."""
    arguments = tree.children[1:]
    keywords = {str(a.children[0]): a.children[1] for a in arguments if a.data == "keyword"}
    positional = [a for a in arguments if a.data != "keyword"]
    if len(positional) == 2 and not keywords:
        keywords["axis"] = positional.pop()
    if len(positional) != 1:
        scope.fail(ReadError, "size takes an array: size(x) or size(X, axis=1)", tree)
    value = scope.read(positional[0])
    if value.kind == "scalar":
        scope.fail(ShapeError, "a scalar has no size", positional[0])
    axis = scope.axis(tree, {k: v for k, v in keywords.items() if k != "keepdims"}, value, None)
    return sympy.prod(value.shape) if axis is None else value.shape[axis]


def _unbound(scope: Expressions, name: str, tree: Any) -> NoReturn:
    if name in scope.symbols or name in scope.shapes:
        scope.fail(
            ReadError,
            f"{name} is no index",
            tree,
            hint="a table of indices is written with one-hot rows: sum(v, T[n,v] * E[v,d])",
        )
    opened = ", ".join(scope.index_scope.open) if scope.index_scope else ""
    scope.fail(
        ReadError,
        f"the index {name} is free: nothing binds it",
        tree,
        hint=f"write sum({name}, ..)" + (f"; the letters here are {opened}" if opened else ""),
    )


def delta(scope: Expressions, tree: Any, positional: list[Any], keywords: Any) -> Value:
    """The Kronecker delta of two places: 1 where they agree, else 0."""
    i, j = _places_of_call(scope, tree, positional, keywords)
    if scope.index_scope is not None:
        scope.index_scope.pairs.append((i, j))
    return _scalar(KroneckerDelta(i, j))


def in_range(scope: Expressions, tree: Any, positional: list[Any], keywords: Any) -> Value:
    """The indicator of a range: 1 where 0 <= place < n, else 0."""
    return _scalar(InRange(*_places_of_call(scope, tree, positional, keywords)))


def _places_of_call(scope: Expressions, tree: Any, positional: list[Any], keywords: Any) -> list[Expr]:
    if keywords or len(positional) != 2:
        scope.fail(ReadError, f"{tree.children[0]} takes two places", tree)
    return [place_of(scope, t) for t in positional]


# --- definitions ------------------------------------------------------------------------------------------


def define(scope: Expressions, part: Statement, name: str, target: Any, formula: Any) -> Definition:
    """A definition by entries: Z[i,k] = body."""
    inner = scope.index_scope = IndexScope()
    letters = target.children[1:]
    try:
        bound: list[Dummy] = []
        declared = tuple(scope.size(s, name) for s in scope.shapes[name]) if name in scope.shapes else None
        if declared is not None and len(declared) != len(letters):
            scope.fail(
                ShapeError, f"{name} is declared {shape_text(declared)}: {len(declared)} indices", target
            )
        running: list[Dummy] = []
        for tree in letters:
            if is_slice(tree) and not tree.children:
                bound.append(inner.bind(_letter_for_an_axis(scope, letters), tree))
                running.append(bound[-1])
                continue
            if tree.data not in ("name", "range"):
                scope.fail(
                    ReadError,
                    "on the left stand letters, each of them once",
                    tree,
                    hint=f"write {name}[i,j] = .. for all entries",
                )
            bound.append(_bound_letter(scope, inner, tree))
            if bound[-1] in inner.ranges and inner.ranges[bound[-1]][0] != 0:
                scope.fail(ReadError, "the indices of what is defined count from zero", tree)
        for k, n in zip(bound, declared or (), strict=False):
            if k in inner.ranges and not scope.same(count_of(inner, k), n):
                scope.fail(ShapeError, f"{name} is declared with {k.name} in 0..{n - 1}", target)
            inner.ranges[k] = (S.Zero, n - 1)
        entry = _entry_of(scope, name, scope.read(formula), running, formula)
        sizes = [declared[n] if declared else count_of(inner, k) for n, k in enumerate(bound)]
        array = settled(scope, inner, from_entries(entry, bound, sizes))
    finally:
        scope.index_scope = None
    shape = shape_of(array)
    if len(letters) > 2:
        symbol: Expr = Tensor(name, *shape)
    else:
        symbol = sympy.MatrixSymbol(name, *shape)
    scope.symbols[name] = symbol
    scope.defined[name] = part.line
    scope.later.discard(name)
    return Definition(symbol, array, part.line)


def _letter_for_an_axis(scope: Expressions, letters: list[Any]) -> str:
    """A letter for a place `:` on the left."""
    inner = scope.index_scope
    taken = {
        *scope.sizes,
        *scope.symbols,
        *scope.shapes,
        *scope.indices,
        *(n for t in letters for n in _names(t)),
    }
    taken |= {str(t.children[0]) for t in letters if t.data == "range"}
    return Indices({*taken, *(() if inner is None else (k.name for k in inner.counts))}).fresh("jkl").name


def _entry_of(scope: Expressions, name: str, value: Value, running: list[Dummy], formula: Any) -> Expr:
    """The entry that a formula gives; of an array, along the axes that are written `:` on the left."""
    inner = scope.index_scope
    assert inner is not None  # noqa: S101 - a definition by entries is being read
    if len(running) != len(value.shape):
        given = "a number" if not value.shape else f"a {shape_text(value.shape)}"
        wanted = (
            f"{name} has {len(running)} axes written `:`" if running else f"an entry of {name} is a number"
        )
        scope.fail(
            ShapeError, f"{wanted}; the formula is {given}", formula, hint="give every array its indices"
        )
    for k, n in zip(running, value.shape, strict=True):
        if k in inner.ranges and not scope.same(inner.ranges[k][1] + 1, n):
            scope.fail(
                ShapeError,
                f"{name} is declared with {inner.ranges[k][1] + 1} entries there; the formula is a "
                f"{shape_text(value.shape)}",
                formula,
            )
        inner.ranges[k] = (S.Zero, n - 1)
    return _in_letters(scope, element(value.expr, *running) if running else value.expr)
