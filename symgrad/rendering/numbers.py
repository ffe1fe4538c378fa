"""Numbers in a document: exact where that is short, else rounded and said to be so; formulas with numbers put in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import sympy
from sympy import Expr, Integer, Rational

from symgrad.checking.evaluate import Evaluator
from symgrad.rendering.document import Formula
from symgrad.rendering.latex import LatexPrinter
from symgrad.rendering.math_printer import MathPrinter
from symgrad.rendering.notation import Notation
from symgrad.rendering.pieces import Piece
from symgrad.rendering.text import TextPrinter
from symgrad.rendering.typst import TypstPrinter

__all__ = ["Quantity", "evaluate", "number", "relation", "with_numbers"]

Quantity: TypeAlias = "Rational | float"

_DIGITS = 6
_SIGNIFICANT = 3


def evaluate(e: Expr, values: Mapping[Expr, Quantity]) -> Quantity:
    """The value of a scalar: exact where its rational arithmetic is, else in floating point.

    >>> x = sympy.Symbol("x", real=True)
    >>> evaluate(x**2 / 2, {x: Rational(3, 2)})
    9/8
    """
    if all(isinstance(v, Rational) for v in values.values()):
        exact = e.xreplace(dict(values))
        if not isinstance(exact, Rational) and not exact.free_symbols:
            exact = sympy.simplify(exact)
        if isinstance(exact, Rational):
            return exact
    return float(Evaluator()(e, {k: float(v) for k, v in values.items()}))


def number(value: Quantity) -> tuple[Formula, bool]:
    r"""The number as it is printed, and whether that is exact.

    >>> number(Rational(1, 2))[0].text, number(Rational(1, 2) ** 50)[0].latex
    ('0.5', '8.88 \\times 10^{-16}')
    """
    if isinstance(value, Integer) and abs(int(value)) < 10**9:
        return _signed(str(abs(int(value))), value < 0), True
    if isinstance(value, Rational):
        decimal = _terminating(value)
        if decimal is not None:
            return _signed(decimal, value < 0), True
    return _rounded(value), False


def relation(exact: bool) -> Formula:
    """The sign between a formula and its value."""
    return Formula("=", "=", "=") if exact else Formula(r"\approx", "≈", "≈")


def _signed(text: str, negative: bool) -> Formula:
    return Formula(f"-{text}", f"−{text}", f"-{text}") if negative else Formula(text, text, text)


def _terminating(value: Rational) -> str | None:
    """The decimal digits of a fraction that has few of them."""
    for places in range(1, _DIGITS + 1):
        scaled = abs(value) * 10**places
        if isinstance(scaled, Integer):
            digits = str(int(scaled)).rjust(places + 1, "0")
            return None if len(digits) > 9 else f"{digits[:-places]}.{digits[-places:]}"
    return None


def _rounded(value: Quantity) -> Formula:
    exact = Rational(value) if not isinstance(value, Rational) else value
    if exact == 0:
        return Formula("0", "0", "0")
    mantissa, exponent = f"{float(sympy.N(abs(exact), 30)):.{_SIGNIFICANT - 1}e}".split("e")
    power = int(exponent)
    if -4 < power < 6:
        places = max(_SIGNIFICANT - 1 - power, 0)
        return _signed(f"{float(sympy.N(abs(exact), 30)):.{places}f}", exact < 0)
    small = str(power).translate(str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻"))
    sign = exact < 0
    return Formula(
        ("-" if sign else "") + rf"{mantissa} \times 10^{{{power}}}",
        ("−" if sign else "") + f"{mantissa}×10{small}",
        ("-" if sign else "") + f"{mantissa} × 10^({power})",
    )


class _Numbers(MathPrinter):
    """Prints every symbol as its number, in brackets if it is negative, with a sign for every product."""

    def __init__(self, notation: Notation, numbers: Mapping[Expr, Formula]) -> None:
        super().__init__(notation)
        self.numbers = numbers

    def written(self, number: Formula) -> str:
        """The number in the notation of the printer."""
        raise NotImplementedError

    def p_symbol(self, e: Expr) -> Piece:
        """The number of a scalar, in brackets if it is negative."""
        return _piece(self.written(self.numbers[e])) if e in self.numbers else super().p_symbol(e)

    def brackets(self, inside: str, square: bool = False) -> str:
        """In brackets, once."""
        return inside if _in_brackets(inside) and not square else super().brackets(inside, square)


class _LatexNumbers(_Numbers, LatexPrinter):
    """In LaTeX."""

    SPACE = r" \times "

    def written(self, number: Formula) -> str:
        """The number in LaTeX."""
        return number.latex


class _TextNumbers(_Numbers, TextPrinter):
    """In Unicode."""

    SPACE = "×"

    def written(self, number: Formula) -> str:
        """The number in Unicode."""
        return number.text


class _TypstNumbers(_Numbers, TypstPrinter):
    """In Typst."""

    SPACE = " × "

    def written(self, number: Formula) -> str:
        """The number in Typst."""
        return number.typst


def _piece(text: str) -> Piece:
    return Piece(f"({text})") if text[0] in "-−" or " " in text or "×" in text else Piece(text)


def _in_brackets(text: str) -> bool:
    """Whether a text is one number in brackets."""
    return text.startswith("(") and text.find(")") == len(text) - 1


def with_numbers(e: Expr, numbers: Mapping[Expr, Formula], notation: Notation) -> Formula:
    r"""The formula with the numbers in place of the symbols.

    >>> w, x = sympy.symbols("w x", real=True)
    >>> with_numbers(w * x, {w: number(Rational(1, 2))[0], x: number(Rational(2))[0]}, Notation()).latex
    '0.5 \\times 2'
    """
    printers = (_LatexNumbers, _TextNumbers, _TypstNumbers)
    return Formula(*(printer(notation, numbers)(e) for printer in printers))
