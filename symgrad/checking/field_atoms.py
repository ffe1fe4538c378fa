"""What one exact test shares, and the atoms at its points: random elements, signs, roots."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import numpy as np
import sympy
from numpy.typing import NDArray
from sympy import Expr, Integer

from symgrad.checking.canonical import NotDecided
from symgrad.checking.residues import Residues, Values
from symgrad.checking.truncated import Algebra
from symgrad.expr import shape_of
from symgrad.expr.model import Assumptions

__all__ = ["Atoms", "Setting"]


class Setting:
    """What all levels of one test share: definitions, assumptions, numbers for sizes and for integer exponents."""

    def __init__(
        self,
        values: Mapping[Expr, Expr],
        assumptions: Assumptions,
        sizes: Mapping[Expr, int],
        integers: Mapping[Expr, int],
        trigonometric: bool,
        increment: tuple[Expr, Expr] | None = None,
    ) -> None:
        self.values, self.assumptions, self.sizes = values, assumptions, sizes
        self.integers, self.trigonometric = integers, trigonometric
        self.increment = increment
        self._numbers = {s: Integer(n) for s, n in {**sizes, **integers}.items()}

    def rational(self, e: Expr) -> Fraction:
        """The number that sizes and exponents make of a scalar.

        Raises   NotDecided if it is none
        """
        value = e if e.is_Rational else e.xreplace(self._numbers)
        if not value.is_Rational:
            value = sympy.expand(value)
        if not value.is_Rational:
            raise NotDecided(f"{e} is no number")
        return Fraction(int(value.p), int(value.q))

    def whole(self, e: Expr) -> int:
        """The same for an integer."""
        value = self.rational(e)
        if value.denominator != 1:
            raise NotDecided(f"{e} is no integer")
        return value.numerator

    def shape(self, e: Expr) -> tuple[int, ...]:
        """The shape in numbers; a scalar is 1 x 1."""
        return tuple(self.whole(n) for n in shape_of(e)) or (1, 1)


class Atoms:
    """Points modulo a prime, and what depends on a value there as if drawn at random.

    `valid` are the points that count.
    """

    def __init__(self, p: int, count: int, setting: Setting, rng: np.random.Generator) -> None:
        self.field = Residues(p)
        self.algebra = Algebra(self.field)
        self.count, self.setting, self.rng = count, setting, rng
        self.valid = np.ones(count, dtype=bool)
        self.positives: list[Values] = []
        self._keys: dict[object, int] = {}

    def only(self, good: NDArray[np.bool_]) -> None:
        """Leave out the points where an entry is not good (arrays without points stand for all of them)."""
        while good.ndim > 1:
            good = np.asarray(good.all(axis=-1))
        self.valid &= good

    def fresh(self, key: object, at: Values) -> Values:
        """An element that depends on a name and a value as if drawn at random."""
        if key not in self._keys:
            self._keys[key] = int(self.rng.integers(1 << 62))
        with np.errstate(over="ignore"):
            z = (at.astype(np.uint64) + np.uint64(self._keys[key])) * np.uint64(0x9E3779B97F4A7C15)
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            z = z ^ (z >> np.uint64(31))
        return (z % np.uint64(self.field.p)).astype(np.int64)

    def sign(self, x: Values) -> Values:
        """The quadratic character, 1, -1 or 0; what a maximum exceeds another entry by is positive."""
        if self.setting.trigonometric:
            raise NotDecided("signs beside trigonometric functions")
        character = self.field.power(x, (self.field.p - 1) // 2)
        for known in self.positives:
            listed = known.reshape(len(known), *[1] * (x.ndim - 1), -1)
            same = x[..., None] == listed
            character = np.where(same.any(axis=-1), 1, character)
            other = (-x % self.field.p)[..., None] == listed
            character = np.where(other.any(axis=-1), self.field.p - 1, character)
        return np.where(x == 0, 0, character)

    def root(self, x: Values, power: Fraction) -> Values:
        """X ** power within the squares."""
        if self.setting.trigonometric:
            raise NotDecided("roots beside trigonometric functions")
        half = (self.field.p - 1) // 2
        if np.gcd(half, power.denominator) != 1:
            raise NotDecided(f"no root of order {power.denominator} in this field")
        return self.field.power(x, power.numerator * pow(power.denominator, -1, half) % half)
