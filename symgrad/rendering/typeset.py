"""What the LaTeX and the Typst printer share: names with their marks, fractions, superscripts, big operators.

Both set a formula from the same parts; they differ in the signs, in how a group is written (`{..}` or `(..)`), and in
the names of functions. These are what a subclass gives.
"""

from __future__ import annotations

from collections.abc import Mapping

from sympy import Expr

from symgrad.rendering.math_printer import MathPrinter
from symgrad.rendering.notation import GREEK, split_name
from symgrad.rendering.pieces import ATOM, HADAMARD, POWER, PRODUCT, SUM, Piece

__all__ = ["TypesetPrinter"]


class TypesetPrinter(MathPrinter):
    """Sets formulas in two dimensions; subclasses give signs, groups and names.

    ACCENTS, BIG and FUNCTIONS are names by what they mean; GROUP are the brackets of a group.
    """

    ACCENTS: Mapping[str, str]
    BIG: Mapping[str, str]
    FUNCTIONS: Mapping[str, str]
    GROUP = ("{", "}")
    PARTIAL = PRIME = INFINITY = ROOT = ABS = ""

    # --- by the subclasses ----------------------------------------------------------------------------

    def letters(self, letters: str, *, matrix: bool) -> str:
        """Letters of a name: Greek, one letter, or a word."""
        raise NotImplementedError

    def fraction(self, above: str, below: str) -> str:
        """A fraction."""
        raise NotImplementedError

    def upright(self, word: str) -> str:
        """A function's name that has no sign of its own."""
        raise NotImplementedError

    def absolute_value(self, inside: str) -> str:
        """The bars of an absolute value."""
        raise NotImplementedError

    # --- shared -----------------------------------------------------------------------------------------

    def grouped(self, inside: str) -> str:
        """As one argument."""
        return f"{self.GROUP[0]}{inside}{self.GROUP[1]}"

    def text(self, piece: Piece) -> str:
        """Base and superscript together."""
        return f"{piece.base}^{self.grouped(piece.sup)}" if piece.sup else piece.base

    def name(self, name: str, *, matrix: bool) -> Piece:
        """A name with accent, subscripts, primes and the mark of a layer."""
        if name in self.notation.increments:
            inner = self.name(name[1:], matrix=matrix)
            return Piece(f"{self.DIFF}{self.BESIDE}{inner.base}", inner.level, inner.sup)
        parts = split_name(name)
        base = self.letters(parts.letters, matrix=matrix)
        if parts.accent:
            base = f"{self.ACCENTS[parts.accent]}{self.grouped(base)}"
        sup = self.PRIME * parts.primes
        subscripts = [
            s if s.isdigit() or len(s) == 1 else self.letters(s, matrix=False) for s in parts.subscripts
        ]
        if subscripts and parts.subscripts[0].isdigit() and self.notation.digits == "layer":
            marked = self.member_mark(subscripts.pop(0))
            if self.notation.layer == "_l":
                subscripts.insert(0, marked)
            else:
                sup = marked
        return Piece(self.subscripts(base, ", ".join(subscripts)) if subscripts else base, ATOM, sup)

    def member_mark(self, index: str) -> str:
        """The layer mark of an index."""
        return {"(l)": f"({index})", "[l]": f"[{index}]", "_l": index}[self.notation.layer]

    def arrange(self, above: list[Piece], below: list[Piece], body: Piece | None) -> Piece:
        """Numerator, denominator and the matrix that they scale."""
        under = self.side_by_side(below)
        if below and body is not None and not above and body.level >= POWER and not under.isdigit():
            return Piece(self.fraction(self.text(body), under), PRODUCT)
        if below:
            head = self.fraction(self.side_by_side(above) or "1", under)
        elif body is None:
            head = self.side_by_side(above)
        else:
            head = self.side_by_side([*above, Piece("")]).rstrip()
        if body is None:
            return Piece(head, PRODUCT) if below or len(above) > 1 else above[0]
        if not head:
            return body
        inner = self.text(body) if body.level >= HADAMARD else self.brackets(self.text(body))
        level = min(PRODUCT, max(body.level, HADAMARD)) if body.level > SUM else PRODUCT
        return Piece(f"{head} {inner}", level)

    def power(self, base: Piece, exponent: str) -> Piece:
        """A superscript on a piece."""
        return Piece(base.base, POWER, base.sup + exponent)

    def big(self, sign: str, index: str, bounds: tuple[str, str], body: str) -> str:
        """A sum or product with bounds."""
        lower, upper = bounds
        return f"{self.BIG[sign]}_{self.grouped(f'{index}={lower}')}^{self.grouped(upper)} {body}"

    def member(self, name: str, index: str, *, matrix: bool) -> Piece:
        """A member of a family, with the mark of its layer."""
        base = self.name(name, matrix=matrix)
        if self.notation.layer == "_l":
            return Piece(self.subscripts(base.base, index), ATOM, base.sup)
        return Piece(base.base, ATOM, base.sup + self.member_mark(index))

    def function(self, name: str, args: list[Expr]) -> Piece:
        """A function applied to arguments."""
        if name == "step":
            return Piece(f"{self.ONE}{self.BESIDE}{self.brackets(self(args[0]) + ' > 0', square=True)}")
        if name == "sqrt":
            return Piece(f"{self.ROOT}{self.grouped(self(args[0]))}")
        if name == "abs":
            return Piece(self.absolute_value(self(args[0])))
        plain = name.rstrip("'")
        head = self.FUNCTIONS.get(plain)
        if head is None:
            letters = split_name(plain).letters
            known = len(letters) <= 1 or letters in GREEK
            head = self.text(self.name(plain, matrix=False)) if known else self.upright(plain)
        if name != plain:
            head += f"^{self.grouped(self.PRIME * (len(name) - len(plain)))}"
        return Piece(head + self.brackets(", ".join(self(a) for a in args)))

    def derivative(self, f: str, x: str, order: int = 1) -> Piece:
        """df/dx."""
        d = self.PARTIAL
        if order == 2:
            twice, turned = f"{d}^{self.grouped('2')} {f}", f"{x}^{self.grouped(self.TOP)}"
            return Piece(self.fraction(twice, f"{d} {x} {d} {turned}"), POWER)
        return Piece(self.fraction(f"{d} {f}", f"{d} {x}"), POWER)

    def second_derivative(self, f: str, x: str, y: str) -> Piece:
        """d2f/dx dy by two scalars."""
        d = self.PARTIAL
        return Piece(self.fraction(f"{d}^{self.grouped('2')} {f}", f"{d} {x} {d} {y}"), POWER)

    def subscripts(self, base: str, inside: str) -> str:
        """A subscript."""
        return f"{base}_{self.grouped(inside)}"

    def p_infinity(self, e: Expr) -> Piece:
        """Infinity."""
        return Piece(self.INFINITY)
