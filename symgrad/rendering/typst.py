"""Expressions in the math language of Typst.

Signs are Unicode characters and not Typst's names for them, which change from release to release. A comma inside an
argument of a function stands in brackets of its own, so that it does not end the argument.
"""

from __future__ import annotations

from sympy import Expr
from sympy.matrices import MatrixBase

from symgrad.rendering.math_printer import ATOM, HADAMARD, POWER, PRODUCT, SUM, MathPrinter, Piece
from symgrad.rendering.notation import Notation, split_name
from symgrad.rendering.text import FUNCTION_NAMES, GREEK_LETTERS

__all__ = ["TypstPrinter", "to_typst"]

_OPERATORS = ("exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh", "arctan", "max", "min", "det")
_ACCENTS = {"hat": "hat", "bar": "macron", "tilde": "tilde"}
# The letters that LaTeX prints for \phi and \epsilon, so that all formats show the same.
_GREEK = {**GREEK_LETTERS, "phi": "ϕ", "epsilon": "ϵ"}


def to_typst(e: Expr, notation: Notation | None = None) -> str:
    """The expression in Typst, without dollar signs.

    >>> from symgrad.expr import matmul, matrix, size, subtract, transpose, vector
    >>> X, w, y = matrix("X", "n", "d"), vector("w", "d"), vector("y", "n")
    >>> print(to_typst(matmul(2 / size("n"), transpose(X), subtract(matmul(X, w), y))))
    frac(2, n) X^(⊤) (X w - y)

    Raises   UnsupportedError for a node that has no notation
    """
    return TypstPrinter(notation or Notation())(e)


class TypstPrinter(MathPrinter):
    """Prints Typst."""

    ODOT, OSLASH, OTIMES = "⊙", "⊘", "⊗"
    BESIDE = " "  # letters without a space are one name
    ONE, MINUS, SPACE, IDENTITY, DELTA, DIFF, LE = "bold(1)", "-", " ", "I", "δ", "upright(d)", "≤"

    def __init__(self, notation: Notation) -> None:
        super().__init__(notation)
        self.TOP = {"top": "⊤", "T": "sans(upright(T))", "prime": "′"}[notation.transpose]

    def _index(self, i: Expr) -> str:
        return self(i)

    def text(self, piece: Piece) -> str:
        return f"{piece.base}^({piece.sup})" if piece.sup else piece.base

    def brackets(self, inside: str, square: bool = False) -> str:
        return f"[{inside}]" if square else f"({inside})"

    def name(self, name: str, *, matrix: bool) -> Piece:
        if name in self.notation.increments:
            inner = self.name(name[1:], matrix=matrix)
            return Piece(f"upright(d) {inner.base}", inner.level, inner.sup)
        parts = split_name(name)
        base = self._letters(parts.letters, matrix)
        if parts.accent:
            base = f"{_ACCENTS[parts.accent]}({base})"
        sup = "′" * parts.primes
        subscripts = [s if s.isdigit() or len(s) == 1 else self._letters(s, False) for s in parts.subscripts]
        if subscripts and parts.subscripts[0].isdigit() and self.notation.digits == "layer":
            marked = self.member_mark(subscripts.pop(0))
            if self.notation.layer == "_l":
                subscripts.insert(0, marked)
            else:
                sup = marked
        return Piece(f"{base}_({', '.join(subscripts)})" if subscripts else base, ATOM, sup)

    def member_mark(self, index: str) -> str:
        """The layer mark of an index."""
        return {"(l)": f"({index})", "[l]": f"[{index}]", "_l": index}[self.notation.layer]

    def _letters(self, letters: str, matrix: bool) -> str:
        base = _GREEK.get(letters) or (letters if len(letters) == 1 else f'"{letters}"')
        return f"bold({base})" if self.notation.bold and matrix else base

    def word(self, word: str) -> str:
        return FUNCTION_NAMES.get(word) or (f'op("{word}")' if word in _OPERATORS else f'"{word}"')

    def arrange(self, above: list[Piece], below: list[Piece], body: Piece | None) -> Piece:
        under = self.side_by_side(below)
        if below and body is not None and not above and body.level >= POWER and not under.isdigit():
            return Piece(f"frac({self.text(body)}, {under})", PRODUCT)
        if below:
            head = f"frac({self.side_by_side(above) or '1'}, {under})"
        else:
            head = (
                self.side_by_side(above) if body is None else self.side_by_side([*above, Piece("")]).rstrip()
            )
        if body is None:
            return Piece(head, PRODUCT) if below or len(above) > 1 else above[0]
        if not head:
            return body
        inner = self.text(body) if body.level >= HADAMARD else self.brackets(self.text(body))
        level = min(PRODUCT, max(body.level, HADAMARD)) if body.level > SUM else PRODUCT
        return Piece(f"{head} {inner}", level)

    def power(self, base: Piece, exponent: str) -> Piece:
        return Piece(base.base, POWER, base.sup + exponent)

    def big(self, sign: str, index: str, bounds: tuple[str, str], body: str) -> str:
        lower, upper = bounds
        glyph = {
            "sum": "∑",
            "prod": "∏",
            "ordered": "limits(accent(∏, →))",
            "reversed": "limits(accent(∏, ←))",
        }[sign]
        return f"{glyph}_({index}={lower})^({upper}) {body}"

    def member(self, name: str, index: str, *, matrix: bool) -> Piece:
        base = self.name(name, matrix=matrix)
        if self.notation.layer == "_l":
            return Piece(f"{base.base}_({index})", ATOM, base.sup)
        return Piece(base.base, ATOM, base.sup + self.member_mark(index))

    def function(self, name: str, args: list[Expr]) -> Piece:
        if name == "step":
            return Piece(f"bold(1) {self.brackets(self(args[0]) + ' > 0', square=True)}")
        if name == "sqrt":
            return Piece(f"sqrt({self(args[0])})")
        if name == "abs":
            return Piece(f"abs({self(args[0])})")
        plain = name.rstrip("'")
        if plain in FUNCTION_NAMES or plain in _OPERATORS:
            head = FUNCTION_NAMES.get(plain, f'op("{plain}")')
        else:
            head = (
                self.text(self.name(plain, matrix=False))
                if plain in _GREEK or len(split_name(plain).letters) == 1
                else f'"{plain}"'
            )
        if len(head) > 1 and head.isalpha():
            head = f'"{head}"'
        if name != plain:
            head += "^(" + "′" * (len(name) - len(plain)) + ")"
        return Piece(head + self.brackets(", ".join(self(a) for a in args)))

    def derivative(self, f: str, x: str, order: int = 1) -> Piece:
        if order == 2:
            return Piece(f"frac(∂^(2) {f}, ∂ {x} ∂ {x}^({self.TOP}))", POWER)
        return Piece(f"frac(∂ {f}, ∂ {x})", POWER)

    def second_derivative(self, f: str, x: str, y: str) -> Piece:
        return Piece(f"frac(∂^(2) {f}, ∂ {x} ∂ {y})", POWER)

    def rounded(self, inside: str, *, up: bool) -> str:
        return f"{'ceil' if up else 'floor'}({inside})"

    def norm_bars(self, inside: str, subscript: str) -> str:
        return f"norm({inside})" + (f"_({subscript})" if subscript else "")

    def subscripts(self, base: str, inside: str) -> str:
        return f"{base}_({inside})"

    def table(self, m: MatrixBase) -> Piece:
        rows = "; ".join(", ".join(self(a) for a in m.row(i)) for i in range(m.rows))
        return Piece(f'mat(delim: "[", {rows})')

    def p_infinity(self, e: Expr) -> Piece:
        return Piece("∞")
