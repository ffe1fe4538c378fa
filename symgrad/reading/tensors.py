"""Arithmetic of whole tensors, which goes entry by entry; everything else is written with indices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from sympy import Expr, Mul, Pow, Rational

from symgrad.errors import ReadError, ShapeError
from symgrad.expr import (
    Indices,
    TensorEntries,
    element,
    from_entries,
    names_in,
    scale,
    shape_text,
    total,
)

if TYPE_CHECKING:
    from symgrad.reading.expressions import Expressions
    from symgrad.reading.typed import Value

__all__ = ["entrywise", "has_tensor", "over_all"]


def has_tensor(values: Sequence[Value]) -> bool:
    """Whether one of the values has three indices or more."""
    return any(v.kind == "tensor" for v in values)


def entrywise(scope: Expressions, make: Callable[..., Expr], values: Sequence[Value], tree: Any) -> Value:
    """The tensor with the entries make(..) of tensors of one shape and of scalars."""
    from symgrad.reading.typed import Value

    first = next(v for v in values if v.kind == "tensor")
    for v in values:
        fits = v.kind == "tensor" and len(v.shape) == len(first.shape)
        if v.kind != "scalar" and not (fits and all(map(scope.same, v.shape, first.shape))):
            scope.fail(
                ShapeError,
                f"entry by entry: a {shape_text(first.shape)} and a {shape_text(v.shape)}",
                tree,
                hint="write it by entries: Z[i,j,k] = A[i,j,k] + b[k]",
            )
    letters = _letters(scope, [v.expr for v in values], len(first.shape))
    entries = [_entry(v.expr, letters) if v.kind == "tensor" else v.expr for v in values]
    return Value(from_entries(make(*entries), letters, first.shape), "tensor")


def over_all(scope: Expressions, called: str, value: Value, tree: Any) -> Value:
    """The sum, the mean or the norm of all entries of a tensor."""
    from symgrad.reading.typed import Value

    letters = _letters(scope, [value.expr], len(value.shape))
    one = _entry(value.expr, letters)
    pairs = tuple(zip(letters, value.shape, strict=True))
    if called == "sum":
        return Value(total(one, *pairs), "scalar")
    if called == "mean":
        return Value(scale(1 / Mul(*value.shape), total(one, *pairs)), "scalar")
    if called == "norm":
        return Value(Pow(total(Pow(one, 2), *pairs), Rational(1, 2)), "scalar")
    scope.fail(
        ReadError,
        f"{called} is not defined for a tensor, a {shape_text(value.shape)}",
        tree,
        hint="write it with indices, such as sum(i, j, T[i,j,k])",
    )


def _letters(scope: Expressions, expressions: Sequence[Expr], count: int) -> list[Expr]:
    fresh = Indices({*scope.sizes, *scope.symbols, *scope.shapes, *names_in(*expressions)})
    return [fresh.fresh() for _ in range(count)]


def _entry(e: Expr, letters: Sequence[Expr]) -> Expr:
    return e.at(*letters) if isinstance(e, TensorEntries) else element(e, *letters)
