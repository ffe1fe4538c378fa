r"""Expressions in LaTeX, in the subset that KaTeX, MathJax and Markdown readers agree on.

No macros, no \operatorname, no bare bars, no punctuation after a backslash.
"""

from __future__ import annotations

from sympy import Expr
from sympy.matrices import MatrixBase

from symgrad.rendering.math_printer import ATOM, HADAMARD, POWER, PRODUCT, SUM, MathPrinter, Piece
from symgrad.rendering.notation import GREEK, Notation, split_name

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


def to_latex(e: Expr, notation: Notation | None = None) -> str:
    r"""The expression in LaTeX.

    >>> from symgrad.expr import matmul, matrix, size, subtract, transpose, vector
    >>> X, w, y = matrix("X", "n", "d"), vector("w", "d"), vector("y", "n")
    >>> print(to_latex(matmul(2 / size("n"), transpose(X), subtract(matmul(X, w), y))))
    \frac{2}{n} X^{\top} (X w - y)

    Raises   UnsupportedError for a node that has no notation
    """
    return LatexPrinter(notation or Notation())(e)


class LatexPrinter(MathPrinter):
    """Prints LaTeX."""

    ODOT, OSLASH, OTIMES = r"\odot", r"\oslash", r"\otimes"
    ONE, MINUS, SPACE, IDENTITY, DELTA, DIFF = r"\mathbf{1}", "-", " ", "I", r"\delta", r"\mathrm{d}"
    LE = r"\le"

    def __init__(self, notation: Notation) -> None:
        super().__init__(notation)
        self.TOP = {"top": r"\top", "T": r"\mathsf{T}", "prime": r"\prime"}[notation.transpose]

    def text(self, piece: Piece) -> str:
        return f"{piece.base}^{{{piece.sup}}}" if piece.sup else piece.base

    def brackets(self, inside: str, square: bool = False) -> str:
        tall = any(mark in inside for mark in (r"\frac", r"\prod", r"\sum", r"\begin"))
        left, right = ("[", "]") if square else ("(", ")")
        return f"\\left{left} {inside} \\right{right}" if tall else f"{left}{inside}{right}"

    def name(self, name: str, *, matrix: bool) -> Piece:
        if name in self.notation.increments:
            inner = self.name(name[1:], matrix=matrix)
            return Piece(rf"\mathrm{{d}}{inner.base}", inner.level, inner.sup)
        parts = split_name(name)
        base = self._letters(parts.letters, matrix)
        if parts.accent:
            base = f"{_ACCENTS[parts.accent]}{{{base}}}"
        sup = r"\prime" * parts.primes
        subscripts = [s if s.isdigit() or len(s) == 1 else self._letters(s, False) for s in parts.subscripts]
        if subscripts and parts.subscripts[0].isdigit() and self.notation.digits == "layer":
            marked = self.member_mark(subscripts.pop(0))
            if self.notation.layer == "_l":
                subscripts.insert(0, marked)
            else:
                sup = marked
        return Piece(f"{base}_{{{', '.join(subscripts)}}}" if subscripts else base, ATOM, sup)

    def member_mark(self, index: str) -> str:
        """The layer mark of an index."""
        return {"(l)": f"({index})", "[l]": f"[{index}]", "_l": index}[self.notation.layer]

    def _letters(self, letters: str, matrix: bool) -> str:
        base = (
            f"\\{letters}" if letters in GREEK else letters if len(letters) == 1 else rf"\mathrm{{{letters}}}"
        )
        if self.notation.bold and matrix:
            return rf"\boldsymbol{{{base}}}"
        return base

    def word(self, word: str) -> str:
        if word in _FUNCTIONS:
            return _FUNCTIONS[word]
        return rf"\mathrm{{{word}}}".replace(" ", "~") if " " in word else rf"\mathrm{{{word}}}"

    def arrange(self, above: list[Piece], below: list[Piece], body: Piece | None) -> Piece:
        under = self.side_by_side(below)
        if below and body is not None and not above and body.level >= POWER and not under.isdigit():
            return Piece(rf"\frac{{{self.text(body)}}}{{{under}}}", PRODUCT)
        if below:
            head = rf"\frac{{{self.side_by_side(above) or '1'}}}{{{under}}}"
        else:
            head = (
                self.side_by_side(above) if body is None else self.side_by_side([*above, Piece("")]).rstrip()
            )
        if body is None:
            if below or len(above) > 1:
                return Piece(head, PRODUCT)
            return above[0]
        if not head:
            return body
        inner = self.text(body) if body.level >= HADAMARD else self.brackets(self.text(body))
        return Piece(
            f"{head} {inner}", min(PRODUCT, max(body.level, HADAMARD)) if body.level > SUM else PRODUCT
        )

    def power(self, base: Piece, exponent: str) -> Piece:
        return Piece(base.base, POWER, base.sup + exponent if not base.sup else f"{base.sup}{exponent}")

    def big(self, sign: str, index: str, bounds: tuple[str, str], body: str) -> str:
        lower, upper = bounds
        glyph = {
            "sum": r"\sum",
            "prod": r"\prod",
            "ordered": r"\mathop{\overset{\rightarrow}{\prod}}\limits",
            "reversed": r"\mathop{\overset{\leftarrow}{\prod}}\limits",
        }[sign]
        return f"{glyph}_{{{index}={lower}}}^{{{upper}}} {body}"

    def member(self, name: str, index: str, *, matrix: bool) -> Piece:
        base = self.name(name, matrix=matrix)
        if self.notation.layer == "_l":
            return Piece(f"{base.base}_{{{index}}}", ATOM, base.sup)
        return Piece(base.base, ATOM, base.sup + self.member_mark(index))

    def function(self, name: str, args: list[Expr]) -> Piece:
        if name == "step":
            return Piece(rf"\mathbf{{1}}{self.brackets(self(args[0]) + ' > 0', square=True)}")
        if name == "sqrt":
            return Piece(rf"\sqrt{{{self(args[0])}}}")
        if name == "abs":
            return Piece(rf"\lvert {self(args[0])} \rvert")
        plain = name.rstrip("'")
        head = _FUNCTIONS.get(plain)
        if head is None:
            head = (
                self.text(self.name(plain, matrix=False))
                if len(split_name(plain).letters) <= 1 or (split_name(plain).letters in GREEK)
                else rf"\mathrm{{{plain}}}"
            )
        if name != plain:
            head += "^{" + r"\prime" * (len(name) - len(plain)) + "}"
        return Piece(head + self.brackets(", ".join(self(a) for a in args)))

    def derivative(self, f: str, x: str, order: int = 1) -> Piece:
        if order == 2:
            return Piece(rf"\frac{{\partial^{{2}} {f}}}{{\partial {x} \partial {x}^{{{self.TOP}}}}}", POWER)
        return Piece(rf"\frac{{\partial {f}}}{{\partial {x}}}", POWER)

    def second_derivative(self, f: str, x: str, y: str) -> Piece:
        return Piece(rf"\frac{{\partial^{{2}} {f}}}{{\partial {x} \partial {y}}}", POWER)

    def rounded(self, inside: str, *, up: bool) -> str:
        left, right = (r"\lceil", r"\rceil") if up else (r"\lfloor", r"\rfloor")
        return rf"\left{left} {inside} \right{right}"

    def norm_bars(self, inside: str, subscript: str) -> str:
        return rf"\lVert {inside} \rVert" + (f"_{{{subscript}}}" if subscript else "")

    def subscripts(self, base: str, inside: str) -> str:
        return f"{base}_{{{inside}}}"

    def table(self, m: MatrixBase) -> Piece:
        rows = r" \\ ".join(" & ".join(self(a) for a in m.row(i)) for i in range(m.rows))
        return Piece(rf"\begin{{bmatrix}} {rows} \end{{bmatrix}}")

    def p_infinity(self, e: Expr) -> Piece:
        return Piece(r"\infty")
