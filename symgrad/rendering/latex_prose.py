r"""LaTeX that a lecturer wrote into prose: what is on the list is kept as it stands, all else is refused.

Such a formula is not checked: it is words. `\input` and its like are not on the list.
"""

from __future__ import annotations

import re

from symgrad.errors import RecipeError
from symgrad.rendering.document import Formula
from symgrad.rendering.notation import GREEK
from symgrad.rendering.text import GREEK_LETTERS

__all__ = ["latex_formula"]

_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\s+|[A-Za-z]|\d+(?:\.\d+)?|.", re.DOTALL)
_SIGNS = {
    **{f"\\{name}": GREEK_LETTERS[name] for name in GREEK},
    r"\phi": "ϕ",
    r"\epsilon": "ϵ",
    r"\varphi": "φ",
    r"\varepsilon": "ε",
    r"\ell": "ℓ",
    r"\cdot": "dot.op",
    r"\times": "×",
    r"\odot": "⊙",
    r"\oslash": "⊘",
    r"\otimes": "⊗",
    r"\circ": "∘",
    r"\in": "∈",
    r"\to": "→",
    r"\rightarrow": "→",
    r"\mapsto": "↦",
    r"\Rightarrow": "⇒",
    r"\mid": "|",
    r"\le": "≤",
    r"\leq": "≤",
    r"\ge": "≥",
    r"\geq": "≥",
    r"\ne": "≠",
    r"\neq": "≠",
    r"\approx": "≈",
    r"\partial": "∂",
    r"\nabla": "∇",
    r"\infty": "∞",
    r"\sum": "∑",
    r"\prod": "∏",
    r"\int": "∫",
    r"\ldots": "…",
    r"\dots": "…",
    r"\cdots": "⋯",
    r"\top": "⊤",
    r"\pm": "±",
    r"\prime": "′",
    r"\sim": "∼",
    r"\lvert": "|",
    r"\rvert": "|",
    r"\lVert": "‖",
    r"\rVert": "‖",
    r"\|": "‖",
    r"\ast": "∗",
    r"\propto": "∝",
    r"\langle": "⟨",
    r"\rangle": "⟩",
    r"\lbrace": "{",
    r"\rbrace": "}",
    r"\{": "{",
    r"\}": "}",
    r"\,": "thin",
    r"\;": "thick",
    r"\:": "med",
    r"\!": "",
    r"\ ": "space",
    r"\quad": "quad",
    r"\qquad": "wide",
    r"\left": "",
    r"\right": "",
    r"\displaystyle": "",
    r"\limits": "",
    r"\forall": "∀",
    r"\equiv": "≡",
}
_WORDS = (
    "log",
    "exp",
    "sin",
    "cos",
    "tan",
    "sinh",
    "cosh",
    "tanh",
    "max",
    "min",
    "det",
    "lim",
    "arg",
    "dim",
    "ker",
    "ln",
)
_STYLES = {
    r"\mathbf": "bold",
    r"\boldsymbol": "bold",
    r"\bm": "bold",
    r"\mathbb": "bb",
    r"\mathcal": "cal",
    r"\hat": "hat",
    r"\widehat": "hat",
    r"\bar": "macron",
    r"\overline": "overline",
    r"\tilde": "tilde",
    r"\dot": "dot",
    r"\vec": "arrow",
    r"\mathsf": "sans",
    r"\sqrt": "sqrt",
    r"\mathit": "italic",
}
_UPRIGHT = (r"\mathrm", r"\text", r"\operatorname", r"\textrm", r"\mathop")
_MATRICES = {"bmatrix": '"["', "pmatrix": '"("', "matrix": "#none", "vmatrix": '"|"'}
_SPECIAL = {"/": "\\/", "#": "\\#", '"': '\\"', "~": "space", "'": "'", "`": "\\`", ";": "\\;"}


def latex_formula(text: str) -> Formula:
    r"""The formula in every notation.

    >>> latex_formula(r"\frac{\partial L}{\partial W_1} x^\top").typst
    'frac(∂ L, ∂ W_(1)) x^(⊤)'

    Raises   RecipeError for what is not on the list
    """
    reader = _Reader(text)
    typst = " ".join(reader.group(None).split())
    return Formula(" ".join(text.split()), " ".join(text.split()), typst)


class _Reader:
    """Reads LaTeX from left to right and writes Typst."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = [t for t in _TOKEN.findall(text) if not t.isspace()]
        self.at = 0

    def fail(self, what: str) -> RecipeError:
        """An error that names the formula."""
        return RecipeError(
            f"the formula ${self.text}$: {what}", hint="write it in NumPy's spelling, or more simply"
        )

    def next(self) -> str:
        """The next sign."""
        if self.at >= len(self.tokens):
            raise self.fail("it ends too early")
        self.at += 1
        return self.tokens[self.at - 1]

    def group(self, end: str | None) -> str:
        """Everything up to a sign, which is taken too; up to the end of the text for None."""
        out: list[str] = []
        while True:
            if self.at >= len(self.tokens):
                if end is None:
                    return " ".join(out)
                raise self.fail(f"{end} is missing")
            sign = self.next()
            if sign == end:
                return " ".join(out)
            piece = self.one(sign)
            if sign in ("^", "_", "'") and out:
                out[-1] += piece
            else:
                out.append(piece)

    def argument(self) -> str:
        """The argument of a command: a group or one sign."""
        sign = self.next()
        return self.group("}") if sign == "{" else self.one(sign)

    def words(self) -> str:
        """An argument that is letters and blanks."""
        if self.next() != "{":
            raise self.fail("an upright word stands in braces")
        start = self.at
        depth = 1
        while depth:
            sign = self.next()
            depth += (sign == "{") - (sign == "}")
        inside = " ".join(self.tokens[start : self.at - 1])
        word = re.sub(r"(?<=[A-Za-z]) (?=[A-Za-z])", "", inside)
        if not all(c.isalnum() or c in " .,:-" for c in word):
            raise self.fail(f"{word} is no plain word")
        return f'"{word}"'

    def one(self, sign: str) -> str:
        """One sign, with its arguments."""
        if sign in ("^", "_"):
            return f"{sign}({self.argument()})"
        if sign == "{":
            return self.group("}")
        if sign == r"\frac" or sign == r"\dfrac" or sign == r"\tfrac":
            above = self.argument()
            return f"frac({above}, {self.argument()})"
        if sign in _STYLES:
            return f"{_STYLES[sign]}({self.argument()})"
        if sign in _UPRIGHT:
            return self.words()
        if sign == r"\begin":
            return self.matrix()
        if sign in _SIGNS:
            return _SIGNS[sign]
        if sign.startswith("\\"):
            if sign[1:] in _WORDS:
                return f'op("{sign[1:]}")'
            raise self.fail(f"{sign} is not known here")
        if sign in "&}@" or (not sign.isascii() and not sign.isalnum()):
            raise self.fail(f"{sign} has no place here")
        return _SPECIAL.get(sign, sign) if sign.isascii() else f'"{sign}"'

    def matrix(self) -> str:
        """A matrix, row by row."""
        name = self.words().strip('"')
        if name not in _MATRICES:
            raise self.fail(f"the environment {name} is not known here")
        rows: list[list[str]] = [[""]]
        while True:
            sign = self.next()
            if sign == r"\end":
                self.words()
                break
            if sign == r"\\":
                rows.append([""])
            elif sign == "&":
                rows[-1].append("")
            else:
                rows[-1][-1] += ("" if sign in "^_'" else " ") + self.one(sign)
        body = "; ".join(", ".join(cell.strip() for cell in row) for row in rows if any(row))
        return f"mat(delim: {_MATRICES[name]}, {body})"
