"""Exponents: integers, fractions, and polynomials of scalar symbols."""

from __future__ import annotations

from fractions import Fraction

import sympy
from sympy import Expr, Integer, Rational

__all__ = [
    "Exponent",
    "Number",
    "SymbolicExponent",
    "add_exponents",
    "as_expr",
    "exponent",
    "is_integer",
    "is_negative",
    "is_number",
    "is_positive_integer",
    "multiply_exponents",
]

Number = int | Fraction

_DYADIC = 1 << 20


class SymbolicExponent:
    """An exponent with symbols, expanded; in sorting it comes after all numbers."""

    __slots__ = ("expr", "key")

    def __init__(self, expr: Expr) -> None:
        self.expr = expr
        self.key = str(expr)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SymbolicExponent) and self.expr == other.expr

    def __hash__(self) -> int:
        return hash(self.expr)

    def __lt__(self, other: object) -> bool:
        return isinstance(other, SymbolicExponent) and self.key < other.key

    def __gt__(self, other: object) -> bool:
        return not isinstance(other, SymbolicExponent) or self.key > other.key

    def __repr__(self) -> str:
        return self.key


Exponent = int | Fraction | SymbolicExponent


def exponent(e: Expr) -> Exponent:
    """The exponent that a SymPy scalar is.

    Raises   ValueError for a float that is not a short binary fraction

    >>> from sympy import Symbol
    >>> k = Symbol("k")
    >>> exponent(Rational(4, 2)), exponent((k + 1) * 2)
    (2, 2*k + 2)
    """
    e = sympy.expand(e)
    if isinstance(e, Integer):
        return int(e)
    if isinstance(e, Rational):
        return Fraction(int(e.p), int(e.q))
    if isinstance(e, sympy.Float):
        value = Fraction(float(e))
        if value.denominator > _DYADIC:
            raise ValueError(f"{e} is not exact")
        return shortest(value)
    return SymbolicExponent(e)


def shortest(value: Number) -> Number:
    """An int where it is one."""
    return int(value) if isinstance(value, Fraction) and value.denominator == 1 else value


def as_expr(e: Exponent) -> Expr:
    """The SymPy scalar that an exponent is."""
    if isinstance(e, SymbolicExponent):
        return e.expr
    return Rational(e.numerator, e.denominator)


def is_number(e: Exponent) -> bool:
    """Whether it has no symbols."""
    return not isinstance(e, SymbolicExponent)


def is_positive_integer(e: Exponent) -> bool:
    """Whether it is 1, 2, 3, ..."""
    return isinstance(e, int) and e > 0


def is_integer(e: Exponent) -> bool:
    """Whether it is known to be an integer."""
    return isinstance(e, int) or (isinstance(e, SymbolicExponent) and bool(e.expr.is_integer))


def is_negative(e: Exponent) -> bool:
    """Whether it is a negative number."""
    return not isinstance(e, SymbolicExponent) and e < 0


def add_exponents(a: Exponent, b: Exponent) -> Exponent:
    """A + b."""
    if isinstance(a, SymbolicExponent) or isinstance(b, SymbolicExponent):
        return exponent(as_expr(a) + as_expr(b))
    return shortest(a + b)


def multiply_exponents(a: Exponent, b: Exponent) -> Exponent:
    """A b."""
    if isinstance(a, SymbolicExponent) or isinstance(b, SymbolicExponent):
        return exponent(as_expr(a) * as_expr(b))
    return shortest(a * b)
