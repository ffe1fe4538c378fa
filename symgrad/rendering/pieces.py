"""Pieces of a printed formula, and what a notation gives: its signs, and how it writes names, powers and big operators.

A piece of output is its text, the superscript it carries, and how tightly it binds.
"""

from __future__ import annotations

from dataclasses import dataclass

from sympy import Expr

__all__ = ["ATOM", "HADAMARD", "POWER", "PRODUCT", "SUM", "Glyphs", "Piece"]

SUM, HADAMARD, PRODUCT, POWER, ATOM = range(5)


@dataclass(frozen=True)
class Piece:
    """Output: the text without its superscript, the superscript, how tightly it binds."""

    base: str
    level: int = ATOM
    sup: str = ""
    tail: bool = False  # a sum over a range: it reaches to the end of the product, so it stands there


class Glyphs:
    """The signs of a notation, and how it writes what has no order of its own; every printer gives all of them."""

    def text(self, piece: Piece) -> str:
        """Base and superscript together."""
        raise NotImplementedError

    def brackets(self, inside: str, square: bool = False) -> str:
        """In brackets."""
        raise NotImplementedError

    def name(self, name: str, *, matrix: bool) -> Piece:
        """A symbol's name."""
        raise NotImplementedError

    def word(self, word: str) -> str:
        """An upright word such as tr."""
        raise NotImplementedError

    def power(self, base: Piece, exponent: str) -> Piece:
        """A superscript on a piece."""
        raise NotImplementedError

    def big(self, sign: str, index: str, bounds: tuple[str, str], body: str) -> str:
        """A sum or product with bounds; `sign` is sum, prod, ordered or reversed."""
        raise NotImplementedError

    def member(self, name: str, index: str, *, matrix: bool) -> Piece:
        """A member of a family."""
        raise NotImplementedError

    def function(self, name: str, args: list[Expr]) -> Piece:
        """A function applied to arguments."""
        raise NotImplementedError

    def derivative(self, f: str, x: str, order: int = 1) -> Piece:
        """df/dx."""
        raise NotImplementedError

    def second_derivative(self, f: str, x: str, y: str) -> Piece:
        """d2f/dx dy by two scalars."""
        raise NotImplementedError

    ODOT = OSLASH = OTIMES = ONE = TOP = MINUS = SPACE = DOTS = IDENTITY = DELTA = DIFF = BESIDE = LE = ""

    def norm_bars(self, inside: str, subscript: str) -> str:
        """The bars of a norm."""
        raise NotImplementedError

    def subscripts(self, base: str, inside: str) -> str:
        """A subscript."""
        raise NotImplementedError

    def table(self, rows: list[list[str]]) -> Piece:
        """A matrix given by its entries or blocks."""
        raise NotImplementedError

    def arrange(self, above: list[Piece], below: list[Piece], body: Piece | None) -> Piece:
        """Numerator, denominator and the matrix that they scale."""
        raise NotImplementedError

    def rounded(self, inside: str, *, up: bool) -> str:
        """The brackets of rounding."""
        raise NotImplementedError

    def p_infinity(self, e: Expr) -> Piece:
        """Infinity."""
        raise NotImplementedError
