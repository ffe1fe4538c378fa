r"""Values with their NumPy kind: scalar, vector, row, matrix or tensor."""

from __future__ import annotations

from dataclasses import dataclass

from sympy import Expr

from symgrad.expr import (
    as_scalar,
    is_scalar,
    is_tensor,
    matmul,
    ones,
    transpose,
)

__all__ = ["Value", "spreads", "value_of"]


@dataclass(frozen=True)
class Value:
    """An expression with its NumPy kind: scalar, vector, row, matrix or tensor.

    `x @ A` is a vector, A^T x on paper; `row` keeps x^T A, so that x @ A @ y is x^T A y.
    """

    expr: Expr
    kind: str
    row: Expr | None = None

    @property
    def shape(self) -> tuple[Expr, ...]:
        """() or (n,) or (m, n)."""
        if self.kind == "scalar":
            return ()
        return (self.expr.shape[0],) if self.kind == "vector" else tuple(self.expr.shape)


def value_of(e: Expr, kind: str | None = None) -> Value:
    """The value of an expression; what came out 1 x 1 is a scalar."""
    if is_scalar(e):
        return Value(e, "scalar")
    if is_tensor(e):
        return Value(e, "tensor")
    if e.shape == (1, 1):
        return Value(as_scalar(e), "scalar")
    return Value(e, kind or ("vector" if e.shape[1] == 1 else "matrix"))


def kind_of(a: Value, b: Value) -> str:
    return b.kind if a.kind == "scalar" else a.kind


def spreads(a: Value, b: Value) -> bool:
    """Whether a matrix of one row or one column is repeated to the shape of another."""
    if b.kind != "matrix" or a.kind not in ("matrix", "row"):
        return False
    (m, n), (p, q) = a.expr.shape, b.expr.shape
    return (n == 1 and q != 1 and m != 1) or (m == 1 and p != 1 and n != 1)


def spread(a: Expr, b: Expr) -> Expr:
    if a.shape[1] == 1:
        return matmul(a, transpose(ones(b.shape[1])))
    return matmul(ones(b.shape[0]), a)
