"""Expressions in Unicode text, for terminals and messages."""

from __future__ import annotations

from sympy import Expr

from symgrad.rendering.math_printer import MathPrinter
from symgrad.rendering.notation import GREEK, Notation, split_name
from symgrad.rendering.pieces import ATOM, HADAMARD, POWER, PRODUCT, Piece

__all__ = ["FUNCTION_NAMES", "GREEK_LETTERS", "TextPrinter", "to_text"]

_SUPERSCRIPT = dict(zip("0123456789+-−()n⊤", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁽⁾ⁿᵀ", strict=True))
_SUBSCRIPT = dict(zip("0123456789", "₀₁₂₃₄₅₆₇₈₉", strict=True))
GREEK_LETTERS = dict(
    zip(
        GREEK,
        [*"αβγδεζηθικλμνξοπρστυφχψω", *"ΓΔΘΛΞΠΣΥΦΨΩ"],
        strict=True,
    )
)
_ACCENTS = {"hat": "\u0302", "bar": "\u0304", "tilde": "\u0303"}
FUNCTION_NAMES = {
    "sigmoid": "σ",
    "relu": "ReLU",
    "leaky_relu": "LeakyReLU",
    "elu": "ELU",
    "gelu": "GELU",
    "silu": "SiLU",
}


def to_text(e: Expr, notation: Notation | None = None) -> str:
    """The expression in Unicode.

    >>> from symgrad.expr import matmul, matrix, size, subtract, transpose, vector
    >>> X, w, y = matrix("X", "n", "d"), vector("w", "d"), vector("y", "n")
    >>> to_text(matmul(2 / size("n"), transpose(X), subtract(matmul(X, w), y)))
    '2 Xᵀ (X w − y) / n'

    Raises   UnsupportedError for a node that has no notation
    """
    return TextPrinter(notation or Notation())(e)


class TextPrinter(MathPrinter):
    """Prints Unicode."""

    ODOT, OSLASH, OTIMES = "⊙", "⊘", "⊗"
    ONE, MINUS, SPACE, IDENTITY, DELTA, DIFF, TOP, LE = "𝟏", "−", " ", "I", "δ", "d", "⊤", "≤"

    def text(self, piece: Piece) -> str:
        if not piece.sup:
            return piece.base
        if all(c in _SUPERSCRIPT for c in piece.sup):
            return piece.base + "".join(_SUPERSCRIPT[c] for c in piece.sup)
        plain = piece.sup
        return f"{piece.base}^{plain}" if len(plain) == 1 or plain.isalnum() else f"{piece.base}^({plain})"

    def brackets(self, inside: str, square: bool = False) -> str:
        return f"[{inside}]" if square else f"({inside})"

    def name(self, name: str, *, matrix: bool) -> Piece:
        parts = split_name(name)
        base = GREEK_LETTERS.get(parts.letters, parts.letters)
        if parts.accent:
            base = base + _ACCENTS[parts.accent] if len(base) == 1 else base + parts.accent
        for s in parts.subscripts:
            base += "".join(_SUBSCRIPT[c] for c in s) if s.isdigit() else f"_{s}"
        return Piece(base + "′" * parts.primes)

    def word(self, word: str) -> str:
        return word

    def arrange(self, above: list[Piece], below: list[Piece], body: Piece | None) -> Piece:
        if body is None and not below:
            return above[0] if len(above) == 1 else Piece(self.side_by_side(above), PRODUCT)
        if body is not None and not above:
            over = body
        elif body is None:
            over = Piece(self.side_by_side(above) or "1", PRODUCT) if len(above) != 1 else above[0]
        else:
            inner = self.text(body) if body.level >= PRODUCT else self.brackets(self.text(body))
            over = Piece(f"{self.side_by_side([*above, Piece('')]).rstrip()} {inner}", PRODUCT)
        if not below:
            return over
        top = self.text(over) if over.level >= PRODUCT else self.brackets(self.text(over))
        under = (
            self.text(below[0])
            if len(below) == 1 and below[0].level >= POWER
            else (self.brackets(self.side_by_side(below)))
        )
        return Piece(f"{top} / {under}", HADAMARD)

    def power(self, base: Piece, exponent: str) -> Piece:
        return Piece(base.base, POWER, base.sup + exponent)

    def big(self, sign: str, index: str, bounds: tuple[str, str], body: str) -> str:
        lower, upper = bounds
        glyph = {"sum": "Σ", "prod": "∏", "ordered": "∏→", "reversed": "∏←"}[sign]
        return f"{glyph}_{{{index}={lower}..{upper}}} {body}"

    def member(self, name: str, index: str, *, matrix: bool) -> Piece:
        return Piece(f"{self.name(name, matrix=matrix).base}[{index}]")

    def function(self, name: str, args: list[Expr]) -> Piece:
        if name == "step":
            return Piece(f"𝟏[{self(args[0])} > 0]")
        if name == "sqrt":
            return Piece(f"√{self.brackets(self(args[0]))}")
        if name == "abs":
            return Piece(f"|{self(args[0])}|")
        plain = name.rstrip("'")
        head = FUNCTION_NAMES.get(plain) or GREEK_LETTERS.get(plain, plain)
        return Piece(head + "′" * (len(name) - len(plain)) + self.brackets(", ".join(self(a) for a in args)))

    def derivative(self, f: str, x: str, order: int = 1) -> Piece:
        if order == 2:
            return Piece(f"∂²{f}/∂{x}∂{x}ᵀ", ATOM)
        return Piece(f"∂{f}/∂{x}", ATOM)

    def second_derivative(self, f: str, x: str, y: str) -> Piece:
        return Piece(f"∂²{f}/∂{x}∂{y}", ATOM)

    def rounded(self, inside: str, *, up: bool) -> str:
        return f"⌈{inside}⌉" if up else f"⌊{inside}⌋"

    def norm_bars(self, inside: str, subscript: str) -> str:
        return f"‖{inside}‖"

    def subscripts(self, base: str, inside: str) -> str:
        if inside.isdigit():
            return base + "".join(_SUBSCRIPT[c] for c in inside)
        return f"{base}_{inside}" if len(inside) == 1 else f"{base}_{{{inside}}}"

    def table(self, rows: list[list[str]]) -> Piece:
        return Piece("[" + "; ".join(", ".join(row) for row in rows) + "]")

    def p_infinity(self, e: Expr) -> Piece:
        return Piece("∞")
