"""Sums with Kronecker deltas, worked out: a delta fixes an index, and the range of that index becomes a condition.

What a sum over shifted indices leaves at the borders is an indicator `InRange(place, size)`, shown as bounds of a sum
where one of its indices is summed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sympy
from sympy import Add, Expr, KroneckerDelta, Max, Min, Mul, Pow, S, Sum, Symbol
from sympy.core.parameters import distribute
from sympy.matrices.expressions.matexpr import MatrixElement

from symgrad.expr import (
    Entries,
    Indices,
    InRange,
    ScalarGradient,
    TensorElement,
    known_nonnegative,
    names_in,
    replace_index,
    same_size,
    total,
)
from symgrad.expr.entries_of import plus, times
from symgrad.expr.entrywise import function_name

__all__ = ["Term", "bordered", "contract", "factored", "join", "terms_of"]

Sizes = Mapping[Expr, Expr]


@dataclass(frozen=True)
class Term:
    """A product of factors, summed over the indices of `over` (index, size)."""

    factors: tuple[Expr, ...]
    over: tuple[tuple[Symbol, Expr], ...] = ()

    @property
    def names(self) -> set[str]:
        """Every name that occurs in it."""
        return names_in(*self.factors) | {k.name for k, _ in self.over}

    def times(self, other: Term) -> Term:
        """The product; where an index is bound in both it gets a new name in the other."""
        taken = self.names
        over: list[tuple[Symbol, Expr]] = []
        factors = other.factors
        mine = {k.name for k, _ in self.over}
        for k, n in other.over:
            if k.name in taken:
                fresh = Indices(taken | other.names | {x.name for x, _ in over}).fresh("klrstuv")
                factors = tuple(replace_index(f, k, fresh) for f in factors)
                k = fresh
            over.append((k, n))
        inner = names_in(*factors) | {k.name for k, _ in over}
        left, own = self.factors, self.over
        for k, _ in self.over:
            if k.name in inner and k.name in mine:
                fresh = Indices(taken | inner | {x.name for x, _ in own}).fresh("klrstuv")
                left = tuple(replace_index(f, k, fresh) for f in left)
                own = tuple((fresh if x == k else x, m) for x, m in own)
        return Term((*left, *factors), (*own, *over))


def _has_delta(e: Expr) -> bool:
    """Whether a delta can come out of it by multiplying out, not only from inside a function."""
    if isinstance(e, KroneckerDelta | InRange):
        return True
    if isinstance(e, Sum):
        return _has_delta(e.function)
    return isinstance(e, Add | Mul) and any(_has_delta(a) for a in e.args)


def terms_of(e: Expr) -> list[Term]:
    """A sum of terms; sums inside a product are multiplied out only where they hold a delta.

    >>> from symgrad.expr import vector
    >>> x, i, n = vector("x", "n"), Symbol("i"), Symbol("n")
    >>> [len(t.factors) for t in terms_of(3 * x[i, 0] * (x[i, 0] + 1))]
    [3]
    """
    if isinstance(e, Add):
        return [t for a in e.args for t in terms_of(a)]
    if isinstance(e, Mul):
        products = [Term(())]
        for f in e.args:
            parts = [Term((f,))] if isinstance(f, Add) and not _has_delta(f) else terms_of(f)
            products = [a.times(b) for a in products for b in parts]
        return products
    if isinstance(e, Sum):
        if any(lower != 0 for _, lower, _ in e.limits):
            if not _has_delta(e):
                return [Term((e,))]
            e = _from_zero(e)
        f = e.function
        parts = [Term((f,))] if isinstance(f, Add) and not _has_delta(f) else terms_of(f)
        return [_summed(t, e) for t in parts]
    return [] if e is S.Zero else [Term((e,))]


def _from_zero(e: Sum) -> Sum:
    """The same sum with every index counted from zero."""
    function = e.function
    limits: list[tuple[Expr, ...]] = []
    for k, lower, upper in e.limits:
        if lower != 0:
            start = Symbol(k.name, integer=True, nonnegative=True)
            function = replace_index(function, k, start + lower)
            limits = [(x, *(replace_index(b, k, start + lower) for b in bounds)) for x, *bounds in limits]
            k, lower, upper = start, S.Zero, upper - lower
        limits.append((k, lower, upper))
    return Sum(function, *limits)


def _summed(term: Term, e: Sum) -> Term:
    over = tuple((k, upper + 1) for k, _, upper in reversed(e.limits))
    clash = {k for k, _ in over} & {k for k, _ in term.over}
    for k in clash:  # Sum(.. Sum(.., k) .., k): the inner index is another one
        fresh = Indices(term.names).fresh()
        raise_to = Symbol(fresh.name, **k.assumptions0)
        term = Term(
            tuple(replace_index(f, k, raise_to) for f in term.factors),
            tuple((raise_to if x == k else x, n) for x, n in term.over),
        )
    return Term(term.factors, (*over, *term.over))


# --- putting terms together ---------------------------------------------------------------------------

Bounds = Mapping[Expr, tuple[Expr, Expr]]


def join(term: Term, bounds: Bounds | None = None) -> Expr:
    """The term as a SymPy scalar, every factor under no more sums than it needs.

    A sum over an index that occurs nowhere is its size. `bounds` narrow the range of an index.
    """
    bounds = bounds or {}
    result = S.One
    remaining = list(term.factors)
    waiting = list(term.over)
    while waiting:
        group = {waiting[0][0]}
        while True:
            inside = [f for f in remaining if f.free_symbols & group]
            grown = group | {k for k, _ in waiting if any(k in f.free_symbols for f in inside)}
            for k, pair in bounds.items():
                used = {b for b in pair[0].free_symbols | pair[1].free_symbols if b in dict(waiting)}
                grown |= (used if k in grown else set()) | ({k} if used & grown else set())
            if grown == group:
                break
            group = grown
        over = [(k, n) for k, n in waiting if k in group]
        waiting = [(k, n) for k, n in waiting if k not in group]
        outside = [f for f in remaining if not f.free_symbols & group]
        part = _sum_over(times(*inside), over, bounds) if inside or group & set(bounds) else over[0][1]
        result, remaining = times(result, part), outside
    return times(*remaining, result)


def _sum_over(inside: Expr, over: list[tuple[Symbol, Expr]], bounds: Bounds) -> Expr:
    if not any(k in bounds for k, _ in over):
        return total(inside, *over)
    limits = [(k, *bounds.get(k, (S.Zero, n - 1))) for k, n in over]
    # The bounds of an inner index may depend on an outer one, never the other way round.
    limits.reverse()
    limits.sort(
        key=lambda limit: -len((limit[1].free_symbols | limit[2].free_symbols) & {k for k, _ in over})
    )
    return Sum(inside, *limits)


def bordered(e: Expr) -> Expr:
    """Indicators as bounds of their sums, wherever one of their indices is summed over.

    >>> from symgrad.expr import vector
    >>> G, W, ix = vector("G", "n"), vector("W", "w"), Indices()
    >>> p, k = ix.fresh("p"), ix.fresh("k")
    >>> bordered(total(G[p - k, 0] * W[k, 0] * InRange(p - k, G.shape[0]), (k, W.shape[0])))
    Sum(G[-k + p, 0]*W[k, 0], (k, Max(0, -n + p + 1), Min(p, w - 1)))
    """
    if e.has(InRange):
        e = plus(*(_bordered(t) for t in terms_of(e)))
    free = frozenset(s.name for s in e.free_symbols if isinstance(s, Symbol))
    return _unshadowed(e, free) if e.has(Sum, Entries) else e


def _unshadowed(e: Expr, outer: frozenset[str]) -> Expr:
    """No letter is bound where it is free, or inside a sum that binds it too."""
    if isinstance(e, MatrixElement | TensorElement | ScalarGradient) or not e.has(Sum, Entries):
        return e
    if isinstance(e, Entries):
        clash = [k for k in e.bound_symbols if k.name in outer]
        names = Indices({*outer, *names_in(e)})
        renamed = {k: Symbol(names.fresh("lkrst").name, **k.assumptions0) for k in clash}
        places = [renamed.get(k, k) for k in e.indices]
        inner = outer | {k.name for k in places if not k.is_Number}
        return Entries(_unshadowed(e.at(*places) if clash else e.body, inner), *places, *e.sizes)
    if not isinstance(e, Sum):
        args = [_unshadowed(a, outer) if isinstance(a, Expr) else a for a in e.args]
        with distribute(False):
            return e if tuple(args) == e.args else e.func(*args)
    function, limits = e.function, list(e.limits)
    names = Indices({*outer, *names_in(e)})
    for n, (k, *bounds) in enumerate(limits):
        if k.name in outer:
            fresh = Symbol(names.fresh("lkrst").name, **k.assumptions0)
            function = replace_index(function, k, fresh)
            limits = [(x, *(replace_index(b, k, fresh) for b in ends)) for x, *ends in limits]
            limits[n] = (fresh, *bounds)
    inner = outer | {k.name for k, *_ in limits}
    return Sum(_unshadowed(function, inner), *limits)


def _one_window(term: Term) -> Term:
    """An index that an indicator fixes: 0 <= q - 2 i < 2 says that i is floor(q/2), as for windows side by side."""
    for f in term.factors:
        if not isinstance(f, InRange):
            continue
        place, count = f.args
        for k, n in term.over:
            if count.is_Integer and count > 1 and place.coeff(k) == -count:
                by = sympy.floor(sympy.expand(place + count * k) / count)
                others = (g for g in term.factors if g is not f)
                factors = (*(replace_index(g, k, by) for g in others), InRange(by, n))
                return _one_window(Term(factors, tuple(pair for pair in term.over if pair[0] != k)))
    return term


def _bordered(term: Term) -> Expr:
    term = _one_window(term)
    factors: list[Expr] = []
    lower: dict[Expr, list[Expr]] = {}
    upper: dict[Expr, list[Expr]] = {}
    settled: set[Expr] = set()  # indices that a bound mentions: they must stay outside it
    for f in term.factors:
        k = _summed_index(f, term, settled) if isinstance(f, InRange) else None
        if k is None:
            factors.append(f)
            continue
        place, count = f.args
        c = place.coeff(k)
        rest = sympy.expand(place - c * k)
        ends = (-rest / c, (count - 1 - rest) / c)
        low, high = ends if c > 0 else ends[::-1]
        lower.setdefault(k, []).append(low if c in (1, -1) else sympy.ceiling(low))
        upper.setdefault(k, []).append(high if c in (1, -1) else sympy.floor(high))
        settled |= (place.free_symbols | count.free_symbols) - {k}
    sizes = dict(term.over)
    bounds = {k: (Max(0, *lower[k]), Min(sizes[k] - 1, *upper[k])) for k in lower}
    return join(Term(tuple(factors), term.over), bounds)


def _summed_index(f: InRange, term: Term, outside: set[Expr]) -> Expr | None:
    """The index of a sum that the indicator can bound: with coefficient one if there is such an index."""
    places = [(k, f.args[0].coeff(k)) for k, _ in term.over if k not in outside]
    candidates = [(k, c) for k, c in places if c.is_Integer and c != 0]
    candidates.sort(key=lambda pair: abs(pair[1]))
    return candidates[0][0] if candidates else None


def factored(e: Expr) -> Expr:
    """Sums of products with their common factors in front.

    >>> a, b, c = (Symbol(s) for s in "abc")
    >>> factored(a * b - 2 * a * c)
    a*(b - 2*c)
    """
    if isinstance(e, MatrixElement | TensorElement | ScalarGradient) or not e.args:
        return e
    with distribute(False):
        args = [factored(a) if isinstance(a, Expr) else a for a in e.args]
        e = e if tuple(args) == e.args else e.func(*args)
        if not isinstance(e, Add):
            return e
        terms = [list(Mul.make_args(t)) for t in e.args]
        shared = [f for f in terms[0] if not f.is_Number and all(f in t for t in terms[1:])]
        for t in terms:
            for f in shared:
                t.remove(f)
        return Mul(*shared, Add(*(Mul(*t) for t in terms))) if shared else e


# --- contraction ------------------------------------------------------------------------------------------


def contract(e: Expr, sizes: Sizes | None = None) -> Expr:
    """Sums over an index that a delta fixes are worked out, a sum of a constant gives the size.

    A delta of two free indices stays. `sizes` are those of the free indices; without them an index that a delta puts
    in the place of another is taken to have its range.

    >>> from symgrad.expr import matrix
    >>> W, ix = matrix("W", "m", "n"), Indices()
    >>> k, p, q = (ix.fresh(c) for c in "kpq")
    >>> contract(total(W[p, k] * KroneckerDelta(k, q), (k, W.shape[1])))
    W[p, q]
    """
    return plus(*(join(_eliminate(t, sizes)) for t in terms_of(_inside(e, sizes))))


def _inside(e: Expr, sizes: Sizes | None) -> Expr:
    """Contractions inside functions and powers."""
    if isinstance(e, Add | Mul | Sum):
        if not any(isinstance(n, Pow) or function_name(n) is not None for n in e.atoms(Expr, Pow)):
            return e
        with distribute(False):
            return e.func(*(_inside(a, sizes) if isinstance(a, Expr) else a for a in e.args))
    if (isinstance(e, Pow) or function_name(e) is not None) and e.has(Sum):
        with distribute(False):
            return e.func(*(contract(a, sizes) for a in e.args))
    return e


def _eliminate(term: Term, sizes: Sizes | None) -> Term:
    factors, over = list(term.factors), list(term.over)
    while (found := _fixed(factors, over)) is not None:
        delta, k, by = found
        factors.remove(delta)
        factors = [replace_index(f, k, by) for f in factors]
        count = dict(over)[k]
        over = [(x, n) for x, n in over if x != k]
        if not by.is_Number and not _runs_within(by, count, {**(sizes or {}), **dict(over)}, sizes is None):
            factors.append(InRange(by, count))
    known = {**(sizes or {}), **dict(over)}
    kept: list[Expr] = []
    for f in factors:
        if isinstance(f, InRange) and (f in kept or _runs_within(f.args[0], f.args[1], known, False)):
            continue
        kept.append(f)
    return Term((S.Zero,) if S.Zero in kept else tuple(kept), () if S.Zero in kept else tuple(over))


def _fixed(factors: list[Expr], over: list[tuple[Symbol, Expr]]) -> tuple[Expr, Symbol, Expr] | None:
    """A delta, the index that it fixes and what it is: a letter or a number if there is such, else a shift."""
    shifted = None
    for f in factors:
        if not isinstance(f, KroneckerDelta):
            continue
        difference = sympy.expand(f.args[0] - f.args[1])
        for k, _ in over:
            c = difference.coeff(k)
            if c not in (1, -1):
                continue
            by = sympy.expand(k - c * difference)
            if by.is_Symbol or by.is_Number:
                return f, k, by
            shifted = shifted or (f, k, by)
    return shifted


def _runs_within(place: Expr, count: Expr, sizes: Sizes, trusting: bool) -> bool:
    """Whether a place lies in 0..count-1 for all values of its indices."""
    if place.is_Symbol:
        if place not in sizes:
            return trusting
        if same_size(sizes[place], count):
            return True
    low = high = place
    for k in sorted(place.free_symbols & set(sizes), key=str):
        c = place.coeff(k)
        if not c.is_Integer:
            return False
        ends = (S.Zero, sizes[k] - 1) if c > 0 else (sizes[k] - 1, S.Zero)
        low, high = low.xreplace({k: ends[0]}), high.xreplace({k: ends[1]})
    return known_nonnegative(sympy.expand(low)) and known_nonnegative(sympy.expand(count - 1 - high))
