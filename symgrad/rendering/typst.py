"""Expressions in the math language of Typst.

Signs are Unicode characters and not Typst's names for them, which change from release to release. A comma inside an
argument of a function stands in brackets of its own, so that it does not end the argument.
"""

from __future__ import annotations

from sympy import Expr

from symgrad.rendering.notation import Notation
from symgrad.rendering.pieces import Piece
from symgrad.rendering.text import FUNCTION_NAMES, GREEK_LETTERS
from symgrad.rendering.typeset import TypesetPrinter

__all__ = ["TypstPrinter", "to_typst"]

_OPERATORS = ("exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh", "arctan", "max", "min", "det")
# The letters that LaTeX prints for \phi and \epsilon, so that all formats show the same.
_GREEK = {**GREEK_LETTERS, "phi": "ϕ", "epsilon": "ϵ"}


def _function_name(name: str) -> str:
    """Letters in a row are quoted; one letter or sign is not."""
    shown = FUNCTION_NAMES.get(name, name)
    return f'"{shown}"' if len(shown) > 1 else shown


_FUNCTIONS = {
    **{name: f'op("{name}")' for name in _OPERATORS},
    **{name: _function_name(name) for name in FUNCTION_NAMES},
}


_ACCENTS = {"hat": "hat", "bar": "macron", "tilde": "tilde"}
_BIG = {
    "sum": "∑",
    "prod": "∏",
    "ordered": "limits(accent(∏, →))",
    "reversed": "limits(accent(∏, ←))",
}


def to_typst(e: Expr, notation: Notation | None = None) -> str:
    """The expression in Typst, without dollar signs.

    >>> from symgrad.expr import matmul, matrix, size, subtract, transpose, vector
    >>> X, w, y = matrix("X", "n", "d"), vector("w", "d"), vector("y", "n")
    >>> print(to_typst(matmul(2 / size("n"), transpose(X), subtract(matmul(X, w), y))))
    frac(2, n) X^(⊤) (X w - y)

    Raises   UnsupportedError for a node that has no notation
    """
    return TypstPrinter(notation or Notation())(e)


class TypstPrinter(TypesetPrinter):
    """Prints Typst."""

    ODOT, OSLASH, OTIMES = "⊙", "⊘", "⊗"
    BESIDE = " "  # letters without a space are one name
    ONE, MINUS, SPACE, IDENTITY, DELTA, DIFF, LE = "bold(1)", "-", " ", "I", "δ", "upright(d)", "≤"
    PARTIAL, PRIME, INFINITY, ROOT = "∂", "′", "∞", "sqrt"
    GROUP = ("(", ")")
    FUNCTIONS = _FUNCTIONS
    ACCENTS = _ACCENTS
    BIG = _BIG

    def __init__(self, notation: Notation) -> None:
        super().__init__(notation)
        self.TOP = {"top": "⊤", "T": "sans(upright(T))", "prime": "′"}[notation.transpose]

    def _index(self, i: Expr) -> str:
        return self(i)

    def brackets(self, inside: str, square: bool = False) -> str:
        return f"[{inside}]" if square else f"({inside})"

    def letters(self, letters: str, *, matrix: bool) -> str:
        base = _GREEK.get(letters) or (letters if len(letters) == 1 else self.upright(letters))
        return f"bold({base})" if self.notation.bold and matrix else base

    def word(self, word: str) -> str:
        return self.FUNCTIONS.get(word) or self.upright(word)

    def upright(self, word: str) -> str:
        return f'"{word}"'

    def fraction(self, above: str, below: str) -> str:
        return f"frac({above}, {below})"

    def absolute_value(self, inside: str) -> str:
        return f"abs({inside})"

    def rounded(self, inside: str, *, up: bool) -> str:
        return f"{'ceil' if up else 'floor'}({inside})"

    def norm_bars(self, inside: str, subscript: str) -> str:
        return f"norm({inside})" + (f"_({subscript})" if subscript else "")

    def table(self, rows: list[list[str]]) -> Piece:
        inside = "; ".join(", ".join(row) for row in rows)
        return Piece(f'mat(delim: "[", {inside})')
