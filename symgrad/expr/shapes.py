"""Sizes and their unification.

A size is a positive integer, a positive integer symbol, or an expression of those such as `m*n` or
`p + k - 1`. Two different symbols are two different sizes: nothing is assumed equal that was not
declared equal.
"""

from __future__ import annotations

from collections.abc import Iterable

import sympy
from sympy import Expr, Integer, Symbol

from symgrad.errors import ShapeError

__all__ = [
    "expression",
    "is_column",
    "is_matrix",
    "is_scalar",
    "is_tensor",
    "same_size",
    "shape_of",
    "shape_text",
    "size",
]

Shape = tuple[Expr, ...]


def expression(e: object) -> Expr:
    """A number as SymPy has it, an expression as it is; text is not read.

    >>> expression(2)
    2
    >>> expression("2 + 2")
    Traceback (most recent call last):
    TypeError: an expression or a number is needed, not a str

    Raises   TypeError for anything else
    """
    if isinstance(e, sympy.Basic):
        return e
    try:
        return sympy.sympify(e, strict=True)
    except sympy.SympifyError as error:
        raise TypeError(f"an expression or a number is needed, not a {type(e).__name__}") from error


def size(value: int | str | Expr) -> Expr:
    """A size from a number, a name or an expression.

    >>> size(3), size("n")
    (3, n)
    """
    if isinstance(value, str):
        return Symbol(value, integer=True, positive=True)
    number = sympy.Integer(value) if isinstance(value, int) else value
    if isinstance(number, Integer) and number < 1:
        raise ShapeError(f"a size must be positive, not {number}")
    return number


def is_matrix(e: object) -> bool:
    """True for a matrix or a vector."""
    return bool(getattr(e, "is_Matrix", False))


def is_tensor(e: object) -> bool:
    """True for an array with three or more indices."""
    return bool(getattr(e, "is_Tensor", False))


def is_scalar(e: object) -> bool:
    """True for a SymPy scalar."""
    return isinstance(e, Expr) and not is_matrix(e) and not is_tensor(e)


def is_column(e: Expr) -> bool:
    """True for a vector, which is a matrix of one column."""
    return is_matrix(e) and e.shape[1] == 1


def shape_of(e: Expr) -> Shape:
    """() for a scalar, (rows, columns) for a matrix, as many sizes as indices for a tensor."""
    return tuple(e.shape) if is_matrix(e) or is_tensor(e) else ()


def same_size(a: Expr, b: Expr) -> bool:
    """Whether two sizes are known to be equal.

    >>> n, m = size("n"), size("m")
    >>> same_size(n + m - m, n), same_size(n, m)
    (True, False)
    """
    return bool(a == b) or (not (a.is_Atom and b.is_Atom) and sympy.expand(a - b) == 0)


def shape_text(shape: Iterable[Expr]) -> str:
    """A shape as it is shown in messages: `scalar`, `n`, `m x n`."""
    sizes = [str(s) for s in shape]
    if not sizes:
        return "scalar"
    if sizes[-1] == "1" and len(sizes) == 2:
        sizes.pop()
    return " x ".join(sizes)
