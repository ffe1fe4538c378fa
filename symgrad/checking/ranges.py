"""Sums over layers: what is multiplied goes into the terms, ranges are made equal by writing out the terms at their ends.

Two sums over one range are equal if their terms are, at a general layer; so an equation of sums of sums is proved term
by term, and what is left holds no sums that have to be opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sympy import Expr, Mul, Pow, Product, S, Sum, Symbol, expand
from sympy.matrices.expressions.diagonal import DiagMatrix, DiagonalOf
from sympy.matrices.expressions.hadamard import HadamardProduct
from sympy.matrices.expressions.kronecker import KroneckerProduct
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.matpow import MatPow
from sympy.matrices.expressions.trace import Trace
from sympy.matrices.expressions.transpose import Transpose

from symgrad.expr import (
    AsScalar,
    EntrySum,
    MatrixSum,
    OrderedProduct,
    Vec,
    add,
    eye,
    is_leaf,
    is_matrix,
    matmul,
    matpower,
    rebuild,
    shape_of,
    substitute,
    transpose,
    walk,
    zeros,
)

__all__ = ["Opened", "Ranges", "common_ranges", "opened", "short_written_out", "total", "with_powers_opened"]

_PRODUCTS = (MatMul, Mul, HadamardProduct, KroneckerProduct)
_LINEAR = (Transpose, DiagMatrix, DiagonalOf, Trace, AsScalar, Vec)
_MOST = 8


@dataclass(frozen=True)
class Ranges:
    """Indices with the ranges that they run over, outer ones first, each with at least one value."""

    known: tuple[tuple[Symbol, Expr, Expr], ...] = ()

    def within(self, index: Symbol, lower: Expr, upper: Expr) -> Ranges:
        """One more index."""
        return Ranges((*self.known, (index, lower, upper)))

    def nonnegative(self, e: Expr) -> bool:
        """Whether e >= 0 for all values of the indices, of which it is a linear function.

        >>> l, L = Symbol("l", integer=True), Symbol("L", integer=True, positive=True)
        >>> layers = Ranges(((l, S.One, L),))
        >>> layers.nonnegative(L - l), layers.nonnegative(L - l - 1)
        (True, False)
        """
        e = expand(e)
        for index, lower, upper in reversed(self.known):
            slope = e.coeff(index)
            if not slope.is_number or (e - slope * index).expand().has(index):
                return False
            e = expand(e.xreplace({index: lower if slope.is_nonnegative else upper}))
        return e.is_nonnegative is True

    def inside(self, where: Expr, lower: Expr, upper: Expr) -> bool | None:
        """Whether an index is always in a range; None where it may be or not."""
        if self.nonnegative(where - lower) and self.nonnegative(upper - where):
            return True
        outside = self.nonnegative(lower - 1 - where) or self.nonnegative(where - upper - 1)
        return False if outside else None


@dataclass(frozen=True)
class Opened:
    """A sum of terms, and of sums over ranges, each given by its term at the index that opened it."""

    rest: tuple[Expr, ...]
    sums: tuple[tuple[Expr, Expr, Expr], ...] = ()


def opened(e: Expr, k: Symbol) -> Opened:
    """An expression with the outer sums over layers that it is linear in taken apart; k is the index of their terms."""
    if isinstance(e, MatrixSum):
        lower, upper = e.bounds
        return Opened((), ((lower, upper, e.at(k)),))
    if isinstance(e, Sum) and len(e.limits) == 1 and len(e.limits[0]) == 3:
        bound, lower, upper = e.limits[0]
        return Opened((), ((lower, upper, e.function.xreplace({bound: k})),))
    if isinstance(e, MatAdd) or e.is_Add:
        parts = [opened(a, k) for a in e.args]
        return Opened(tuple(r for p in parts for r in p.rest), tuple(s for p in parts for s in p.sums))
    if isinstance(e, (*_PRODUCTS, *_LINEAR)) or type(e) is EntrySum:
        for n, arg in enumerate(e.args):
            inner = opened(arg, k) if isinstance(arg, Expr) and not is_leaf(arg) else Opened((arg,))
            if inner.sums:
                before, after = e.args[:n], e.args[n + 1 :]
                return Opened(
                    tuple(rebuild(e, [*before, r, *after]) for r in inner.rest),
                    tuple((lo, hi, rebuild(e, [*before, t, *after])) for lo, hi, t in inner.sums),
                )
    return Opened((e,))


def total(terms: Sequence[Expr], like: Expr) -> Expr:
    """The sum of terms; zero of the shape of another expression if there are none."""
    if terms:
        return add(*terms)
    return zeros(*shape_of(like)) if is_matrix(like) else S.Zero


def _moved(sums: Iterable[tuple[Expr, Expr, Expr]], k: Symbol, by: Expr) -> list[tuple[Expr, Expr, Expr]]:
    """The same sums, counted from another number on."""
    return [(lo + by, hi + by, t.xreplace({k: k - by})) for lo, hi, t in sums]


def _reversed(sums: Iterable[tuple[Expr, Expr, Expr]], k: Symbol) -> list[tuple[Expr, Expr, Expr]]:
    """The same sums, counted from the other end."""
    return [(lo, hi, t.xreplace({k: expand(lo + hi - k)})) for lo, hi, t in sums]


def arrangements(a: Opened, b: Opened, k: Symbol) -> Iterator[tuple[Opened, Opened]]:
    """The two sides as they are, then one of them counted from where the other begins, and from the other end."""
    yield a, b
    if a.sums and b.sums:
        gap = expand(b.sums[0][0] - a.sums[0][0])
        starts = [gap] if gap != 0 else []
        for moved in ([list(a.sums)] if not starts else []) + [_moved(a.sums, k, by) for by in starts]:
            if starts:
                yield Opened(a.rest, tuple(moved)), b
            yield Opened(a.rest, tuple(_reversed(moved, k))), b


def common_ranges(
    a: Opened, b: Opened, k: Symbol, known: Ranges
) -> tuple[Opened, Opened, list[tuple[Expr, Expr]]] | None:
    """Both sides over the same ranges, terms at the ends written out; None where a range may be too short for that."""
    groups: dict[tuple[Expr, Expr], list[tuple[Expr, Expr]]] = {}
    for lower, upper, _ in (*a.sums, *b.sums):
        key = tuple(expand(x).as_coeff_Add()[1] for x in (lower, upper))
        groups.setdefault(key, []).append((expand(lower), expand(upper)))
    ranges: dict[tuple[Expr, Expr], tuple[Expr, Expr]] = {}
    for bounds in groups.values():
        low = max((lo for lo, _ in bounds), key=lambda x: x.as_coeff_Add()[0])
        high = min((hi for _, hi in bounds), key=lambda x: x.as_coeff_Add()[0])
        if len(set(bounds)) > 1 and not known.nonnegative(high - low + 1):
            return None
        ranges |= dict.fromkeys(bounds, (low, high))
    sides = []
    for side in (a, b):
        rest, sums = list(side.rest), []
        for lower, upper, term in side.sums:
            low, high = ranges[(expand(lower), expand(upper))]
            ends = [lower + n for n in range(int(expand(low - lower)))]
            ends += [high + 1 + n for n in range(int(expand(upper - high)))]
            if len(ends) > _MOST:
                return None
            rest += [term.xreplace({k: expand(at)}) for at in ends]
            if expand(high - low + 1) != 0:
                sums.append((low, high, term))
        sides.append(Opened(tuple(rest), tuple(sums)))
    return sides[0], sides[1], list(dict.fromkeys((lo, hi) for s in sides for lo, hi, _ in s.sums))


def short_written_out(e: Expr) -> Expr:
    """Ranges with a known number of values, factor by factor and term by term."""
    replace: dict[Expr, Expr] = {}
    for n in walk(e):
        if isinstance(n, OrderedProduct | MatrixSum):
            (lower, upper), at = n.bounds, n.at
        elif isinstance(n, Sum | Product) and len(n.limits) == 1:
            bound, lower, upper = n.limits[0]

            def at(value: Expr, body: Expr = n.function, bound: Expr = bound) -> Expr:
                return body.xreplace({bound: value})
        else:
            continue
        length = expand(upper - lower + 1)
        if not length.is_Integer or not 0 <= length <= _MOST:
            continue
        values = [at(expand(lower + i)) for i in range(int(length))]
        if isinstance(n, MatrixSum | Sum):
            replace[n] = total(values, n)
        elif isinstance(n, Product):
            replace[n] = matmul(*values) if values else S.One
        else:
            replace[n] = matmul(*values[:: n.direction]) if values else eye(n.shape[0])
    return short_written_out(substitute(e, replace)) if replace else e


def with_powers_opened(formulas: Sequence[Expr], known: Ranges) -> list[Expr]:
    """(A + B)^(k + 1) as A (A + B)^k + B (A + B)^k: a power of a sum does not meet the terms of its base by itself.

    Powers that differ by a number of factors are written with the lowest of them.
    """
    powers: dict[Expr, tuple[Expr, Expr, Expr, bool]] = {}
    lowest: dict[tuple[Expr, Expr], Expr] = {}
    for n in (n for e in formulas for n in walk(e) if isinstance(n, MatPow | Pow)):
        turned = isinstance(n.args[0], Transpose)
        base = n.args[0].arg if turned else n.args[0]
        constant, symbolic = expand(n.args[1]).as_coeff_Add()
        if isinstance(base, MatAdd) or base.is_Add or (n.args[1] == 0 and is_matrix(base)):
            powers[n] = base, constant, symbolic, turned
            lowest[base, symbolic] = min(lowest.get((base, symbolic), constant), constant)
    put: dict[Expr, Expr] = {}
    for n, (base, constant, symbolic, turned) in powers.items():
        least = expand(symbolic + lowest[base, symbolic])
        count = constant - lowest[base, symbolic]
        if n.args[1] == 0:
            put[n] = eye(base.shape[0]) if is_matrix(base) else S.One
        elif symbolic != 0 and count.is_Integer and 0 < count <= _MOST and known.nonnegative(least):
            written = matpower(base, least) if is_matrix(base) else Pow(base, least)
            for _ in range(int(count)):
                written = add(*(matmul(t, written) for t in base.args))
            put[n] = transpose(written) if turned else written
    return [substitute(e, put) if put else e for e in formulas]
