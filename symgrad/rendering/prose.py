"""Prose of a lecturer: words with formulas between dollars, which are read and printed like all others."""

from __future__ import annotations

import re

from sympy import Expr

from symgrad.errors import RecipeError, SymgradError
from symgrad.expr import FUNCTIONS, Elementwise, Model, gradient, walk
from symgrad.reading import read_question
from symgrad.reading.claim import is_latex
from symgrad.rendering.document import (
    Block,
    Equation,
    Formula,
    Inline,
    Items,
    Paragraph,
    Row,
    Strong,
    Words,
    joined,
    sentence,
)
from symgrad.rendering.latex_prose import latex_formula
from symgrad.rendering.view import View

__all__ = ["formula", "functions_of", "paragraphs", "prose"]

_PIECE = re.compile(r"(?<!\\)\$(.+?)(?<!\\)\$|\*\*(.+?)\*\*", re.DOTALL)
_DERIVATIVE = re.compile(r"d\s*([A-Za-z]\w*)\s*/\s*d\s*([A-Za-z]\w*(?:\[[^\]]*\])?)")


def prose(text: str, view: View, model: Model | None = None, *, lenient: bool = False) -> Inline:
    r"""A text in one line: `$W @ x$` is a formula of the model, `$dL/dW$` a derivative, `\$` a dollar.

    A formula with a backslash, a brace or a caret is LaTeX; it is printed as it stands.

    Raises   RecipeError for a formula that cannot be read
    """
    out: list[Inline] = []
    at = 0
    for match in _PIECE.finditer(text):
        out.append(_words(text[at : match.start()]))
        at = match.end()
        if match[2] is not None:
            out.append((Strong(match[2].replace(r"\$", "$")),))
        else:
            out.append((formula(match[1], view, model, lenient=lenient),))
    return sentence(*out, _words(text[at:]))


def _words(text: str) -> Inline:
    return (Words(text.replace(r"\$", "$")),) if text else ()


def formula(text: str, view: View, model: Model | None = None, *, lenient: bool = False) -> Formula:
    """A formula in the text language, with its equal signs; LaTeX as it stands.

    If `lenient`, what is no formula of the model is taken for LaTeX, too.

    Raises   RecipeError if it cannot be read
    """
    if is_latex(text):
        return latex_formula(text)
    try:
        return _sides(text, view, model)
    except RecipeError:
        if not lenient:
            raise
        return latex_formula(text)


def _sides(text: str, view: View, model: Model | None) -> Formula:
    parts: list[Formula | str] = []
    for side in re.split(r"(?<![<>=!])=(?!=)", text):
        parts += [" = "] if parts else []
        parts.append(view.formula(_read(side.strip(), model)))
    return joined(*parts)


def _read(text: str, model: Model | None) -> Expr:
    derivative = _DERIVATIVE.fullmatch(text)
    try:
        if derivative and model is not None:
            return gradient(_read(derivative[1], model), _read(derivative[2], model))
        return read_question(text, model=model, functions=functions_of(model))[1]
    except SymgradError as error:
        raise RecipeError(f"the formula ${text}$: {error.message}", hint=error.hint) from error


def functions_of(model: Model | None) -> tuple[str, ...]:
    """The names of the arbitrary functions in a model."""
    values = () if model is None else tuple(d.value for d in model.definitions())
    names = {n.name for v in values for n in walk(v) if isinstance(n, Elementwise)}
    return tuple(sorted(names - set(FUNCTIONS)))


def paragraphs(text: str, view: View, model: Model | None = None, *, lenient: bool = False) -> list[Block]:
    """Paragraphs and lists, separated by blank lines; a list has a dash or a number before every item."""
    blocks: list[Block] = []
    for part in re.split(r"\n\s*\n", text.strip()):
        lines = part.strip().splitlines()
        shown = re.fullmatch(r"\$\$(.+?)\$\$", part.strip(), re.DOTALL)
        if shown:
            display = formula(shown[1].strip(), view, model, lenient=lenient)
            blocks.append(Equation((Row(None, display, Formula("", "", "")),)))
            continue
        mark = r"\s*[-*+]\s+" if lines and re.match(r"\s*[-*+]\s+", lines[0]) else r"\s*\d+[.)]\s+"
        if lines and all(re.match(mark, line) for line in lines):
            items = tuple(
                prose(re.sub(mark, "", line, count=1).strip(), view, model, lenient=lenient) for line in lines
            )
            blocks.append(Items(items, ordered="d" in mark))
        elif part.strip():
            blocks.append(Paragraph(prose(" ".join(part.split()), view, model, lenient=lenient)))
    return blocks
