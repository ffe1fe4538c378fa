"""Affine relations between indices and sizes, exactly: what a shift X[2 i + k - 1] says of the place it stands for.

A row is a table from unknowns (numbers of indices, or symbols) and monomials of sizes to coefficients; it states that
the sum is zero. A system of rows has the solutions of its reduced echelon form, whatever the order of its rows.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import combinations

import sympy
from sympy import Expr, S

__all__ = [
    "NotDecided",
    "Row",
    "follows",
    "is_never_negative",
    "plus",
    "reduced_rows",
    "row_of",
    "solved_for",
]


class NotDecided(Exception):  # noqa: N818 - not an error, an answer
    """A budget ran out, or something is outside of what is understood; the message says which."""


Row = dict[Hashable, Fraction]

CONSTANT = "one"  # the key of the constant; the number 1 is an index
_MOST_ELIMINATIONS = 200


def row_of(e: Expr, unknowns: Mapping[Expr, Hashable] | None = None) -> Row:
    """The row of an index expression, symbols replaced by the unknowns that they stand for.

    Raises   NotDecided if an unknown does not occur in the first degree

    >>> i, n = sympy.symbols("i n", integer=True, positive=True)
    >>> row_of(2 * i - n + 1, {i: 0}) == {0: 2, n: -1, CONSTANT: 1}
    True
    """
    unknowns = unknowns or {}
    row: Row = {}
    for part in sympy.Add.make_args(sympy.expand(e)):
        factor, monomial = part.as_coeff_Mul()
        if not factor.is_Rational:
            raise NotDecided(f"{e} is not exact")
        if monomial not in unknowns and monomial.free_symbols & unknowns.keys():
            raise NotDecided(f"{e} is not affine in its indices")
        key = CONSTANT if monomial is S.One else unknowns.get(monomial, monomial)
        row[key] = row.get(key, Fraction(0)) + Fraction(int(factor.p), int(factor.q))
    return _without_zeros(row)


def plus(a: Row, b: Row, times: Fraction | int = 1) -> Row:
    """A + times b."""
    result = dict(a)
    for k, c in b.items():
        result[k] = result.get(k, Fraction(0)) + times * c
    return _without_zeros(result)


def _without_zeros(row: Row) -> Row:
    return {k: c for k, c in row.items() if c}


def reduced_rows(rows: Iterable[Row], order: Sequence[int]) -> list[tuple[int, Row]]:
    """The reduced echelon form for an order of the indices: each row with the index it is solved for.

    Raises   NotDecided for a relation of sizes alone, which holds at some sizes only
    """
    waiting = [dict(r) for r in rows]
    done: list[tuple[int, Row]] = []
    for i in order:
        pivot = next((r for r in waiting if i in r), None)
        if pivot is None:
            continue
        waiting.remove(pivot)
        factor = pivot[i]
        pivot = {k: c / factor for k, c in pivot.items()}
        waiting = [plus(r, pivot, -r[i]) if i in r else r for r in waiting]
        done = [(j, plus(r, pivot, -r[i]) if i in r else r) for j, r in done]
        done.append((i, pivot))
    if any(r for r in waiting):
        raise NotDecided("a relation of sizes")
    return done


def solved_for(i: int, rows: Sequence[Row], indices: Sequence[int]) -> Iterable[Row]:
    """The ways in which the system gives an index as an affine function of few others."""
    others = [j for j in indices if j != i]
    for n, first in enumerate(combinations(others, len(rows) - 1)):
        if n == _MOST_ELIMINATIONS:
            return
        for j, row in reduced_rows(rows, [*first, i, *(k for k in others if k not in first)]):
            if j == i:
                yield {k: -c for k, c in row.items() if k != i}


def is_never_negative(row: Row, is_index: Callable[[Hashable], bool]) -> bool:
    """Whether a sum is at least zero for indices from 0 up and sizes from 1 up.

    >>> n = sympy.Symbol("n", integer=True, positive=True)
    >>> is_never_negative(row_of(2 * n - 1), lambda k: False)
    True
    """
    least = Fraction(0)
    for k, c in row.items():
        if k == CONSTANT:
            least += c
        elif c < 0 or not (is_index(k) or _is_size(k)):
            return False
        elif not is_index(k):
            least += c
    return least >= 0


def _is_size(k: Hashable) -> bool:
    """Whether a monomial is a product of sizes."""
    if not isinstance(k, Expr):
        return False
    powers = [f.as_base_exp() for f in sympy.Mul.make_args(k)]
    return all(
        b.is_Symbol and b.is_positive and b.is_integer and e.is_Integer and e.is_positive for b, e in powers
    )


def follows(row: Row, known: Sequence[Row], is_index: Callable[[Hashable], bool], depth: int = 4) -> bool:
    """Whether row >= 0 is seen to follow from rows that are known to be at least zero.

    What is negative in the row is taken away with a multiple of one of them, again and again.

    >>> i, n = sympy.symbols("i n", integer=True, positive=True)
    >>> follows(row_of(2 * n - 2 * i), [row_of(n - 1 - i)], lambda k: k is i)
    True
    """
    if is_never_negative(row, is_index):
        return True
    if depth == 0:
        return False
    worst = next((k for k, c in row.items() if c < 0 and k != CONSTANT), CONSTANT)
    c = row.get(worst, Fraction(0))
    if c >= 0:
        return False
    return any(
        follows(plus(row, k, -c / k[worst]), known, is_index, depth - 1) for k in known if k.get(worst, 0) < 0
    )


def unrounded(row: Row) -> Row:
    """A row that is at least as large, without the floors that are added and the ceilings that are taken away."""
    result: Row = {}
    for k, c in row.items():
        loose = (c > 0 and isinstance(k, sympy.floor)) or (c < 0 and isinstance(k, sympy.ceiling))
        result = plus(result, row_of(k.args[0]) if loose else {k: Fraction(1)}, c)  # type: ignore[attr-defined]
    return result
