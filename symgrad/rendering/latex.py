r"""Expressions in LaTeX, in the subset that KaTeX, MathJax and Markdown readers agree on.

No macros, no \operatorname, no bare bars, no punctuation after a backslash.
"""

from __future__ import annotations

from sympy import Expr

from symgrad.rendering.notation import GREEK, Notation
from symgrad.rendering.pieces import Piece
from symgrad.rendering.typeset import TypesetPrinter

__all__ = ["LatexPrinter", "to_latex"]

_FUNCTIONS = {
    "exp": r"\exp",
    "log": r"\log",
    "sin": r"\sin",
    "cos": r"\cos",
    "tan": r"\tan",
    "sinh": r"\sinh",
    "cosh": r"\cosh",
    "tanh": r"\tanh",
    "arctan": r"\arctan",
    "max": r"\max",
    "min": r"\min",
    "det": r"\det",
    "sigmoid": r"\sigma",
    "relu": r"\mathrm{ReLU}",
    "leaky_relu": r"\mathrm{LeakyReLU}",
    "elu": r"\mathrm{ELU}",
    "gelu": r"\mathrm{GELU}",
    "silu": r"\mathrm{SiLU}",
}


_ACCENTS = {"hat": r"\hat", "bar": r"\bar", "tilde": r"\tilde"}
_BIG = {
    "sum": r"\sum",
    "prod": r"\prod",
    "ordered": r"\mathop{\overset{\rightarrow}{\prod}}\limits",
    "reversed": r"\mathop{\overset{\leftarrow}{\prod}}\limits",
}


def to_latex(e: Expr, notation: Notation | None = None) -> str:
    r"""The expression in LaTeX.

    >>> from symgrad.expr import matmul, matrix, size, subtract, transpose, vector
    >>> X, w, y = matrix("X", "n", "d"), vector("w", "d"), vector("y", "n")
    >>> print(to_latex(matmul(2 / size("n"), transpose(X), subtract(matmul(X, w), y))))
    \frac{2}{n} X^{\top} (X w - y)

    Raises   UnsupportedError for a node that has no notation
    """
    return LatexPrinter(notation or Notation())(e)


class LatexPrinter(TypesetPrinter):
    """Prints LaTeX."""

    ODOT, OSLASH, OTIMES = r"\odot", r"\oslash", r"\otimes"
    ONE, MINUS, SPACE, IDENTITY, DELTA, DIFF = r"\mathbf{1}", "-", " ", "I", r"\delta", r"\mathrm{d}"
    LE, PARTIAL, PRIME, INFINITY, ROOT = r"\le", r"\partial", r"\prime", r"\infty", r"\sqrt"
    FUNCTIONS = _FUNCTIONS
    ACCENTS = _ACCENTS
    BIG = _BIG

    def __init__(self, notation: Notation) -> None:
        super().__init__(notation)
        self.TOP = {"top": r"\top", "T": r"\mathsf{T}", "prime": r"\prime"}[notation.transpose]

    def brackets(self, inside: str, square: bool = False) -> str:
        tall = any(mark in inside for mark in (r"\frac", r"\prod", r"\sum", r"\begin"))
        left, right = ("[", "]") if square else ("(", ")")
        return f"\\left{left} {inside} \\right{right}" if tall else f"{left}{inside}{right}"

    def letters(self, letters: str, *, matrix: bool) -> str:
        base = f"\\{letters}" if letters in GREEK else letters if len(letters) == 1 else self.upright(letters)
        return rf"\boldsymbol{{{base}}}" if self.notation.bold and matrix else base

    def word(self, word: str) -> str:
        return self.FUNCTIONS.get(word) or self.upright(word).replace(" ", "~")

    def upright(self, word: str) -> str:
        return rf"\mathrm{{{word}}}"

    def fraction(self, above: str, below: str) -> str:
        return rf"\frac{{{above}}}{{{below}}}"

    def absolute_value(self, inside: str) -> str:
        return rf"\lvert {inside} \rvert"

    def rounded(self, inside: str, *, up: bool) -> str:
        left, right = (r"\lceil", r"\rceil") if up else (r"\lfloor", r"\rfloor")
        return rf"\left{left} {inside} \right{right}"

    def norm_bars(self, inside: str, subscript: str) -> str:
        return rf"\lVert {inside} \rVert" + (f"_{{{subscript}}}" if subscript else "")

    def table(self, rows: list[list[str]]) -> Piece:
        inside = r" \\ ".join(" & ".join(row) for row in rows)
        return Piece(rf"\begin{{bmatrix}} {inside} \end{{bmatrix}}")
