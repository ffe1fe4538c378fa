"""Sums over letters in the text language, and answers in index notation as definitions by entries."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sympy import Expr, Symbol, ceiling, fraction, together
from sympy.matrices.expressions.matexpr import MatrixElement

from symgrad.errors import UnsupportedError
from symgrad.expr import TensorElement, is_leaf, leaf_name, same_size, shape_of, walk

__all__ = ["answer_index", "largest", "over_letters", "rounded"]

if TYPE_CHECKING:
    from symgrad.api import Derivation

_Printer = Callable[[Expr], tuple[str, int]]
_ATOM = 4


def over_letters(called: str, e: Expr, show: _Printer) -> tuple[str, int]:
    """A sum over letters; a range is written where it does not follow from the places of the letter."""
    if called != "sum":
        raise UnsupportedError(f"the text language has no spelling for {e}")
    letters = []
    for k, lower, upper in reversed(e.limits):
        if lower == 0 and _follows(k, upper + 1, e.function):
            letters.append(str(k))
        else:
            letters.append(f"{k} in {_bare(show(lower)[0])}..{_bare(show(upper)[0])}")
    return f"sum({', '.join(letters)}, {show(e.function)[0]})", _ATOM


def largest(e: Expr, show: _Printer) -> tuple[str, int]:
    """The largest of the entries that letters run over."""
    letters = ", ".join(str(k) for k in e.arg.indices if not k.is_Number)
    return f"max({letters}, {show(e.arg.body)[0]})", _ATOM


def rounded(e: Expr, show: _Printer) -> tuple[str, int]:
    """Floor or ceil of a fraction."""
    above, below = fraction(together(e.args[0]))
    word = "ceil" if isinstance(e, ceiling) else "floor"
    return f"{word}(({_bare(show(above)[0])})/{below})", _ATOM


def _bare(text: str) -> str:
    return text.replace(" ", "")


def _follows(k: Symbol, count: Expr, body: Expr) -> bool:
    """Whether the letter stands alone at an axis of that size, and nowhere alone at another."""
    sizes = [
        n
        for e in walk(body)
        if isinstance(e, MatrixElement | TensorElement)
        for place, n in zip(e.args[1:], shape_of(e.args[0]), strict=True)
        if place == k
    ]
    return bool(sizes) and all(same_size(n, count) for n in sizes)


def answer_index(derivation: Derivation) -> str | None:
    """The answer as a definition by entries in the text language, such as `df_dK[c,i] = sum(..)`.

    The axes of the function stand before those of the variable; of a Hessian both are the variable's, a differential
    has those of the function, and `dX` is the increment of X. None where the
    answer was not derived in index notation, or is too long to be written out.
    """
    found = (derivation.entrywise or derivation).indices
    if found is None or found.entry is None:
        return None
    from symgrad.rendering.numpy import to_numpy

    f = leaf_name(derivation.of) if is_leaf(derivation.of) else "f"
    x = leaf_name(derivation.wrt)
    name = {"hessian": f"d2{f}_d{x}_d{x}", "differential": f"d{f}"}.get(derivation.kind, f"d{f}_d{x}")
    letters = ",".join(str(k) for k, _ in found.indices)
    return f"{name}[{letters}] = {to_numpy(found.entry)}" if letters else f"{name} = {to_numpy(found.entry)}"
