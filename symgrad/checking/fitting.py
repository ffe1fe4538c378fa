"""What has to stand before the terms of an expression for it to be the truth, as far as numbers can tell."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from sympy import Expr, Pow, Rational, S

from symgrad.checking.truth import Sample, Truth
from symgrad.checking.vocabulary import Vocabulary
from symgrad.errors import SymgradError
from symgrad.expr import is_scalar
from symgrad.reading.claim import Layout

__all__ = ["Fitting"]

Array = NDArray[np.float64]


class Fitting:
    """Values of candidates at the points that refuted a claim, and the coefficients that make them right."""

    def __init__(self, truth: Truth, link: Expr, layout: Layout | None) -> None:
        self.truth, self.layout = truth, layout
        self.claim = truth.claim
        self.samples: list[Sample] = truth.samples
        self.words = Vocabulary(
            truth.model, () if self.claim.misfit else self.claim.links, self.claim.indices
        )

    def _values(self, e: Expr, sample: Sample) -> tuple[Array, Array] | None:
        """The claimed and the true values at a point, as two lines of numbers."""
        with np.errstate(all="ignore"):
            try:
                if self.claim.indices or self.claim.wrt_entry is not None or self.claim.of_entry is not None:
                    claimed, right = self.truth.entries(e, sample)
                else:
                    claimed = np.asarray(self.truth.value(e, sample), dtype=float)
                    right = self.truth.right(sample, self.layout)
            except (SymgradError, ValueError, TypeError, IndexError, ArithmeticError):
                return None
        if claimed.shape != right.shape or not (np.isfinite(claimed).all() and np.isfinite(right).all()):
            return None
        return np.ravel(claimed), np.ravel(right)

    def ratio(self, e: Expr) -> Expr | None:
        """The factor by which a candidate has to be multiplied, the same at all points."""
        numbers = []
        for sample in self.samples:
            values = self._values(e, sample)
            if values is None or not np.any(values[0]):
                return None
            claimed, right = values
            c = float(claimed @ right / (claimed @ claimed))
            if np.max(np.abs(c * claimed - right)) > 1e-7 * max(float(np.max(np.abs(right))), 1e-3):
                return None
            numbers.append(c)
        return self._coefficient(numbers)

    def _coefficient(
        self, numbers: Sequence[float], samples: Sequence[Sample] | None = None, names: bool = True
    ) -> Expr | None:
        """A number of small parts, or one times a size, a scalar or its inverse; None if it is none of these."""
        samples = self.samples if samples is None else samples
        scalars: list[tuple[Expr, list[float]]] = [(S.One, [1.0] * len(numbers))]
        for s in sorted(self.truth.points.symbols, key=str):
            at = [float(sample.point.sizes[s]) for sample in samples]
            scalars += [(Pow(s, -1), [1 / a for a in at]), (s, at)]
        for name in self.words.names if names else ():
            if is_scalar(name) and name not in (self.claim.of, self.claim.wrt):
                values = [float(np.asarray(self.truth.value(name, s))) for s in samples]
                scalars.append((name, values))
                if all(values):
                    scalars.append((Pow(name, -1), [1 / v for v in values]))
        for factor, values in scalars:
            ratios = [c / v if v else float("nan") for c, v in zip(numbers, values, strict=True)]
            small = Fraction(ratios[0]).limit_denominator(16) if np.isfinite(ratios[0]) else Fraction(0)
            if small and abs(small) <= 64 and all(abs(r - small) < 1e-7 * abs(small) for r in ratios):
                return Rational(small.numerator, small.denominator) * factor
        return None

    def same(self, a: Expr, b: Expr) -> bool:
        """Whether two expressions have the same values at all points."""
        for sample in self.samples:
            one, other = self._values(a, sample), self._values(b, sample)
            if one is None or other is None or not np.allclose(one[0], other[0], rtol=1e-9, atol=1e-12):
                return False
        return True

    def agrees(self, e: Expr) -> bool:
        """Whether a candidate agrees with the truth at every point."""
        indexed = bool(self.claim.indices)  # many entries, one by one
        if indexed and not self._agrees(e, self.samples[0], few=True):
            return False
        return all(self._agrees(e, s) for s in self.samples)

    def _agrees(self, e: Expr, sample: Sample, few: bool = False) -> bool:
        try:
            gap = self.truth.gap(e, sample, self.layout, few)
        except (SymgradError, ValueError, TypeError, IndexError, AttributeError, KeyError):
            return False
        return gap is not None and gap.error <= sample.tolerance

    def fit(self, terms: Sequence[Expr], of: Expr | None = None) -> list[Expr] | None:
        """Coefficients with which terms add up to the truth, or to another formula, alike at all points of one size.

        They may depend on the sizes, as 1/N does. None where the terms cannot be told apart or do not suffice.
        """
        columns: list[list[float]] = [[] for _ in terms]
        groups = self._groups(len(terms))
        for group in groups:
            tables, rights = [], []
            for sample in group:
                rows = [self._values(t, sample) for t in terms]
                known = self._values(terms[0] if of is None else of, sample)
                if known is None or any(r is None for r in rows):
                    return None
                tables.append(np.stack([r[0] for r in rows if r is not None], axis=1))
                rights.append(known[1] if of is None else known[0])
                if len(rights) == 1 and not _spanned(tables[0], rights[0]):
                    return None
            table, right = np.concatenate(tables), np.concatenate(rights)
            found, _, rank, _ = np.linalg.lstsq(table, right, rcond=None)
            if rank < len(terms) or not _close(table @ found, right):
                return None
            for column, c in zip(columns, found, strict=True):
                column.append(0.0 if abs(c) < 1e-8 else float(c))
        firsts = [group[0] for group in groups]
        result = [
            S.Zero if not any(column) else self._coefficient(column, firsts, names=False)
            for column in columns
        ]
        return None if any(c is None for c in result) else [c for c in result if c is not None]

    def _groups(self, unknowns: int) -> list[list[Sample]]:
        """Points by their sizes, with enough numbers in each group to tell the terms apart."""
        by_size: dict[int, list[Sample]] = {}
        for sample in self.samples:
            by_size.setdefault(sample.which, []).append(sample)
        for which, group in by_size.items():
            wanted = min(unknowns + 2, 12)
            for n, point in enumerate(self.truth.points(which)):
                if len(group) * max(group[0].value.size, 1) >= 2 * unknowns or n > wanted:
                    break
                if n >= len(group) and (more := self.truth.sample(which, point)) is not None:
                    group.append(more)
        return list(by_size.values())


def _spanned(table: Array, right: Array) -> bool:
    """Whether columns add up to a line of numbers, so far as it is long enough to tell."""
    if len(right) <= table.shape[1]:
        return True
    return _close(table @ np.linalg.lstsq(table, right, rcond=None)[0], right)


def _close(found: Array, right: Array) -> bool:
    return bool(np.max(np.abs(found - right)) <= 1e-7 * max(float(np.max(np.abs(right))), 1e-3))
