"""Inverse, determinant, log-determinant and powers of a matrix."""

from __future__ import annotations

from sympy import Expr, Symbol
from sympy.matrices.expressions.determinant import Determinant
from sympy.matrices.expressions.inverse import Inverse
from sympy.matrices.expressions.matpow import MatPow

from symgrad.errors import UnsupportedError
from symgrad.expr import LogDet, MatrixSum, add, inverse, matmul, matpower, negate, scale, trace, transpose
from symgrad.rules.registry import rule

Parts = tuple[Expr | None, ...]


@rule(
    "inverse",
    op=Inverse,
    differential=lambda d, y, a, *_: negate(matmul(y, d[0], y)),
    example="inv(A)",
    shapes="A: n n",
    assume="A: invertible",
    cites="Petersen and Pedersen (2012), eq. 40; Giles (2008), section 2.2.3",
)
def inverse_rule(g: Expr, y: Expr, a: Expr, *_: Expr) -> Parts:
    """Minus the adjoint between two transposed inverses."""
    return (negate(matmul(transpose(y), g, transpose(y))), *(None for _ in _))


@rule(
    "determinant",
    op=Determinant,
    differential=lambda d, y, a: matmul(y, trace(matmul(inverse(a), d[0]))),
    example="det(A)",
    shapes="A: n n",
    assume="A: invertible",
    cites="Petersen and Pedersen (2012), eq. 49; for an invertible matrix",
)
def determinant(g: Expr, y: Expr, a: Expr) -> Parts:
    """The determinant times the transposed inverse, times the adjoint."""
    return (scale(g, scale(y, transpose(inverse(a)))),)


@rule(
    "log determinant",
    op=LogDet,
    differential=lambda d, y, a: trace(matmul(inverse(a), d[0])),
    example="logdet(A)",
    shapes="A: n n",
    assume="A: invertible",
    cites="Petersen and Pedersen (2012), eq. 57",
)
def log_determinant(g: Expr, y: Expr, a: Expr) -> Parts:
    """The transposed inverse, times the adjoint."""
    return (scale(g, transpose(inverse(a))),)


def _power_terms(a: Expr, k: Expr, middle: Expr, turn: bool) -> Expr:
    """The sum over i of A^i M A^(k-1-i), written out for a number k, a MatrixSum for a symbol.

    For a negative exponent -k it is minus the sum of A^(i-k) M A^(-i-1), since A^-k is a power of the inverse.
    """
    base = transpose(a) if turn else a
    down = bool(k.could_extract_minus_sign())
    n = -k if down else k

    def term(i: Expr | int) -> Expr:
        left, right = (i - n, -1 - i) if down else (i, n - 1 - i)
        return scale(-1 if down else 1, matmul(matpower(base, left), middle, matpower(base, right)))

    if n.is_Integer and 0 < n <= 12:
        return add(*(term(i) for i in range(int(n))))
    if n.is_integer and n.is_positive and not n.is_Number:
        i = Symbol("i", integer=True, nonnegative=True)
        return MatrixSum(term(i), i, 0, n - 1)
    raise UnsupportedError(f"matrix power: the exponent {k} is neither a small number nor a positive integer")


@rule(
    "matrix power",
    op=MatPow,
    differential=lambda d, y, a, k: _power_terms(a, k, d[0], turn=False),
    example="matrix_power(A, 3)",
    shapes="A: n n",
    cites="Petersen and Pedersen (2012), eq. 90; product rule",
)
def matrix_power(g: Expr, y: Expr, a: Expr, k: Expr) -> Parts:
    """One term a factor: the adjoint between the transposed powers on its left and on its right."""
    return _power_terms(a, k, g, turn=True), None
