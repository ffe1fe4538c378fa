"""Ties between indices: in X[i + k] a place p of X with p = i + k, where p runs over the whole of its axis.

A tie is a factor that is one where an affine relation holds and zero elsewhere, so sums run over whole axes and an entry
beside its array counts as zero. All ties of a term are one system of relations; what it says of two indices of one
size, or of an index that stands nowhere else, is worked out.
"""

from __future__ import annotations

from collections.abc import Hashable
from fractions import Fraction
from typing import Any

from sympy import Expr

from symgrad.checking.affine import CONSTANT, Row, is_never_negative, plus, reduced_rows, row_of, solved_for
from symgrad.checking.canonical import NotDecided
from symgrad.checking.networks import Factor, Networks, Term, Terms

__all__ = ["Shifts"]


class Shifts(Networks):
    """Ties of indices, and what follows from them."""

    def tie(self, row: Row) -> Terms:
        """One where the row is zero, else zero."""
        return [Term(Fraction(1), (self._tie(row),))]

    def _tie(self, row: Row) -> Factor:
        indices = sorted(k for k in row if isinstance(k, int))
        fixed = tuple(sorted(((k, c) for k, c in row.items() if not isinstance(k, int)), key=str))
        key = (tuple(row[i] for i in indices), fixed)
        return self.head("tie", key, len(indices)), tuple(indices), 1

    def row(self, f: Factor) -> Row:
        """The row of a tie."""
        key: Any = self.heads[f[0]].key
        row: Row = dict(key[1])
        for i, c in zip(f[1], key[0], strict=True):
            row = plus(row, {i: c})
        return row

    def ties(self, t: Term) -> list[Factor]:
        """The ties of a term.

        Raises   NotDecided for a tie in a denominator
        """
        found = [f for f in t.factors if self.heads[f[0]].kind == "tie"]
        if any(not isinstance(e, int) or e < 0 for _, _, e in found):
            raise NotDecided("a quotient by zero")
        return found

    def untied(self, t: Term) -> Terms | None:
        """One reduction of the ties of a term, or None if there is none."""
        ties = self.ties(t)
        if not ties:
            return None
        others = tuple(f for f in t.factors if self.heads[f[0]].kind != "tie")
        elsewhere = {i for _, idx, _ in others for i in idx}
        indices = sorted({i for _, idx, _ in ties for i in idx})
        rows = [self.row(f) for f in ties]
        if any(not any(isinstance(k, int) for k in r) for r in rows):
            return self._without_indices(t, rows, others)
        solved = [r for _, r in reduced_rows(rows, indices)] if len(rows) > 1 else rows
        if len(solved) < len(rows) or any(e != 1 for _, _, e in ties):
            return [Term(t.coefficient, (*others, *map(self._tie, solved)), t.bound)]
        for i in indices:
            found = self._same_index(t, i, solved, indices, others)
            if found is None and i in t.bound and i not in elsewhere:
                found = self._settled(t, i, solved, indices, others)
            if found is not None:
                return found
        return None

    def _without_indices(self, t: Term, rows: list[Row], others: tuple[Factor, ...]) -> Terms:
        """A relation without indices holds or does not."""
        kept = []
        for row in rows:
            if any(isinstance(k, int) for k in row):
                kept.append(row)
            elif row and any(is_never_negative(plus({CONSTANT: Fraction(-1)}, row, s), _no) for s in (1, -1)):
                return []
            elif row:
                raise NotDecided("a relation of sizes")
        return [Term(t.coefficient, (*others, *map(self._tie, kept)), t.bound)]

    def _same_index(
        self, t: Term, i: int, rows: list[Row], indices: list[int], others: tuple[Factor, ...]
    ) -> Terms | None:
        """An index that is another one of the same size gets its name; of free ones a delta is left."""
        solved = reduced_rows(rows, indices)
        for j in indices:
            if j == i or not self._same_range(i, j) or (i not in t.bound and not 0 <= j < i):
                continue
            gap: Row = {i: Fraction(1), j: Fraction(-1)}
            for k, r in solved:
                gap = plus(gap, r, -gap[k]) if k in gap else gap
            if not gap:
                moved = tuple((h, tuple(j if k == i else k for k in idx), e) for h, idx, e in others)
                left = [r for r in (_renamed(r, i, j) for r in rows) if r]
                delta = () if i in t.bound else self.delta(j, i)[0].factors
                return [Term(t.coefficient, (*moved, *delta, *map(self._tie, left)), t.bound - {i})]
        return None

    def _settled(
        self, t: Term, i: int, rows: list[Row], indices: list[int], others: tuple[Factor, ...]
    ) -> Terms | None:
        """A bound index that stands in ties alone is dropped if the others give it a value inside of its range."""
        if all(self._is_inside(value, self._size[i]) is False for value in solved_for(i, rows, indices)):
            return None
        left = [r for j, r in reduced_rows(rows, [i, *(k for k in indices if k != i)]) if j != i]
        return [Term(t.coefficient, (*others, *map(self._tie, left)), t.bound - {i})]

    def _is_inside(self, value: Row, size: Expr) -> bool:
        """Whether 0 <= value < size for all values of the indices in it, and value is whole."""
        if any(c.denominator != 1 or (isinstance(k, Expr) and not k.is_integer) for k, c in value.items()):
            return False
        least: Row = {}
        most: Row = plus(row_of(size), {CONSTANT: Fraction(-1)})
        for k, c in value.items():
            if not isinstance(k, int):
                least, most = plus(least, {k: c}), plus(most, {k: c}, -1)
                continue
            end = self._size.get(k)
            if end is None:
                return False
            last = plus(row_of(end), {CONSTANT: Fraction(-1)})
            if c < 0:
                least = plus(least, last, c)
            else:
                most = plus(most, last, -c)
        return is_never_negative(least, _no) and is_never_negative(most, _no)


def _renamed(row: Row, i: int, j: int) -> Row:
    return plus({k: c for k, c in row.items() if k != i}, {j: row.get(i, Fraction(0))})


def _no(_: Hashable) -> bool:
    return False
