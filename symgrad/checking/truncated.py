"""Truncated polynomials: values with infinitesimals e_0, e_1, ... whose squares are zero.

f(x + e d) = f(x) + e (df/dx . d), so arithmetic with them differentiates, and needs no rule of differentiation.
A value is a table from a set of infinitesimals (the bits of a number) to its coefficient, an array (.., points,
rows, columns); the directions of e_j run along axis -4 - j.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from symgrad.checking.residues import Residues, Values

__all__ = ["Algebra", "Truncated", "constant_part"]

Truncated = Mapping[int, Values]


def constant_part(x: Truncated) -> Values:
    """The coefficient without infinitesimals."""
    return x[0]


class Algebra:
    """Arithmetic with truncated polynomials over a field.

    >>> A = Algebra(Residues(101))
    >>> x = {0: np.array([[[5]]]), 1: np.array([[[1]]])}
    >>> {k: int(v[0, 0, 0]) for k, v in A.times(x, x).items()}
    {0: 25, 1: 10}
    """

    def __init__(self, field: Residues) -> None:
        self.field = field

    def plus(self, *terms: Truncated) -> Truncated:
        """The sum."""
        result = dict(terms[0])
        for t in terms[1:]:
            for k, v in t.items():
                result[k] = self.field.plus(result[k], v) if k in result else v
        return result

    def times(self, a: Truncated, b: Truncated) -> Truncated:
        """The product, entry by entry."""
        return self._convolved(a, b, self.field.times)

    def product(self, a: Truncated, b: Truncated) -> Truncated:
        """The matrix product."""
        return self._convolved(a, b, self.field.product)

    def _convolved(
        self, a: Truncated, b: Truncated, multiply: Callable[[Values, Values], Values]
    ) -> Truncated:
        result: dict[int, Values] = {}
        for i, x in a.items():
            for j, y in b.items():
                if i & j:
                    continue
                value = multiply(x, y)
                result[i | j] = self.field.plus(result[i | j], value) if i | j in result else value
        return result

    def scaled(self, a: Truncated, by: int) -> Truncated:
        """A number of the field times a."""
        return {k: self.field.times(v, by) for k, v in a.items()}

    def linear(self, a: Truncated, f: Callable[[Values], Values]) -> Truncated:
        """A linear map, coefficient by coefficient."""
        return {k: f(v) % self.field.p for k, v in a.items()}

    def nilpotent(self, a: Truncated) -> Truncated:
        """The part with infinitesimals."""
        return {k: v for k, v in a.items() if k}

    def series(self, a: Truncated, coefficients: Callable[[int], Values]) -> Truncated:
        """The sum over j of coefficients(j) n^j / j! for the nilpotent part n of a: Taylor's formula at a's value."""
        small = self.nilpotent(a)
        result: Truncated = {0: coefficients(0)}
        term: Truncated = small
        j, factorial = 1, 1
        while term:
            factor = {0: self.field.times(coefficients(j), pow(factorial, -1, self.field.p))}
            result = self.plus(result, self.times(factor, term))
            term = self.times(term, small)
            j += 1
            factorial *= j
        return result

    def inverse(self, a: Truncated) -> Truncated:
        """1 / a, entry by entry: b - b n b + b n b n b - .. for b = 1 / a_0."""
        return self._neumann(a, {0: self.field.inverse(a[0])}, self.times)

    def matrix_inverse(self, a: Truncated) -> Truncated:
        """The inverse matrix, in the same way."""
        return self._neumann(a, {0: self.field.eliminated(a[0])[0]}, self.product)

    def _neumann(
        self, a: Truncated, b: Truncated, multiply: Callable[[Truncated, Truncated], Truncated]
    ) -> Truncated:
        step = self.scaled(multiply(b, self.nilpotent(a)), -1 % self.field.p)
        result, term = b, multiply(step, b)
        while term:
            result = self.plus(result, term)
            term = multiply(step, term)
        return result

    def determinant(self, a: Truncated) -> Truncated:
        """det(a_0 + n) = det(a_0) det(1 + b n) for b = a_0^-1, and det(1 + m) from the traces of m's powers."""
        inverse, det = self.field.eliminated(a[0])
        m = self.product({0: inverse}, self.nilpotent(a))
        powers, current = [], m
        while current:
            powers.append(self.linear(current, _trace))
            current = self.product(current, m)
        elementary: list[Truncated] = [{0: np.ones((1, 1, 1), dtype=np.int64)}]
        for k in range(1, len(powers) + 1):  # Newton's identities
            total: Truncated = {}
            for i in range(1, k + 1):
                sign = pow(k, -1, self.field.p) * (-1) ** (i - 1) % self.field.p
                part = self.scaled(self.times(elementary[k - i], powers[i - 1]), sign)
                total = self.plus(total, part) if total else part
            elementary.append(total)
        return self.times({0: det}, self.plus(*(e for e in elementary if e)))


def _trace(m: Values) -> Values:
    return np.trace(m, axis1=-2, axis2=-1)[..., None, None]
