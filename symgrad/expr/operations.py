"""The constructors of matrix functions, of functions entry by entry, and of derivatives that are not worked out.

Like those of `build`: shapes are checked, nothing is evaluated but what is always wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import sympy
from sympy import Add, Expr, MatrixSymbol, Mul, Pow, S, Symbol
from sympy.core.parameters import distribute
from sympy.matrices.expressions.determinant import Determinant
from sympy.matrices.expressions.diagonal import DiagMatrix, DiagonalOf
from sympy.matrices.expressions.hadamard import HadamardPower, HadamardProduct
from sympy.matrices.expressions.inverse import Inverse
from sympy.matrices.expressions.kronecker import KroneckerProduct
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.matpow import MatPow
from sympy.matrices.expressions.special import Identity, OneMatrix, ZeroMatrix
from sympy.matrices.expressions.trace import Trace
from sympy.matrices.expressions.transpose import Transpose

from symgrad.errors import ShapeError
from symgrad.expr import nodes, tensors
from symgrad.expr.build import (
    add,
    as_scalar,
    hadamard,
    matmul,
    ones,
    power,
    scalar_product,
    scale,
    split_scale,
    subtract,
    transpose,
    zeros,
)
from symgrad.expr.functions import apply_scalar
from symgrad.expr.shapes import (
    expression,
    is_column,
    is_matrix,
    is_scalar,
    is_tensor,
    same_size,
    shape_of,
    shape_text,
    size,
)

__all__ = [
    "apply",
    "axis_max",
    "axis_sum",
    "commutation",
    "convolve",
    "correlate",
    "det",
    "diag",
    "differential",
    "entry_max",
    "entry_sum",
    "flip",
    "gradient",
    "inner",
    "inverse",
    "jacobian",
    "kron",
    "larger",
    "log_softmax",
    "logdet",
    "logsumexp",
    "matpower",
    "norm",
    "rebuild",
    "smaller",
    "softmax",
    "trace",
    "vec",
]


# --- matrix functions -----------------------------------------------------------------------------


def _square(m: Expr, what: str) -> None:
    if is_scalar(m) or not same_size(*m.shape):
        raise ShapeError(f"{what}: a square matrix is needed, not a {shape_text(shape_of(m))}")


def matpower(m: Expr, k: Expr | int) -> Expr:
    """The matrix power m^k of a square matrix."""
    _square(m, "matrix_power")
    k = expression(k)
    if k is S.One or isinstance(m, Identity):
        return m
    if k is S.Zero:
        return Identity(m.shape[0])
    if k is S.NegativeOne:
        return inverse(m)
    if isinstance(m, Inverse):
        return matpower(m.arg, -k)
    return MatPow(m, k)


def inverse(m: Expr) -> Expr:
    """The inverse of a square matrix."""
    _square(m, "inv")
    if isinstance(m, Identity):
        return m
    if isinstance(m, Inverse):
        return m.arg
    c, rest = split_scale(m)
    return scale(Pow(c, -1), Inverse(rest)) if c is not S.One else Inverse(m)


def trace(m: Expr) -> Expr:
    """The trace of a square matrix."""
    _square(m, "tr")
    c, rest = split_scale(m)
    if isinstance(rest, Identity):
        return scalar_product((c, rest.shape[0]))
    if isinstance(rest, ZeroMatrix):
        return S.Zero
    return scalar_product((c, Trace(rest)))


def det(m: Expr) -> Expr:
    """The determinant of a square matrix."""
    _square(m, "det")
    return S.One if isinstance(m, Identity) else Determinant(m)


def logdet(m: Expr) -> Expr:
    """The log of the determinant of a square matrix."""
    _square(m, "logdet")
    return S.Zero if isinstance(m, Identity) else nodes.LogDet(m)


def kron(*factors: Expr) -> Expr:
    """The Kronecker product; scalars are 1 x 1."""
    matrices = [f for f in factors if is_matrix(f)]
    coefficient = scalar_product([f for f in factors if not is_matrix(f)])
    parts: list[Expr] = []
    for m in matrices:
        c, rest = split_scale(m)
        coefficient = scalar_product((coefficient, c))
        parts.append(rest)
    parts = [p for p in parts if p.shape != (1, 1)] or parts[:1]
    if not parts:
        return coefficient
    return scale(coefficient, parts[0] if len(parts) == 1 else KroneckerProduct(*parts))


def diag(m: Expr) -> Expr:
    """The diagonal matrix of a vector, or the diagonal of a square matrix as a vector."""
    if is_column(m):
        if isinstance(m, ZeroMatrix):
            return zeros(m.shape[0], m.shape[0])
        c, rest = split_scale(m)
        square: Expr = Identity(m.shape[0]) if isinstance(rest, OneMatrix) else DiagMatrix(rest)
        return scale(c, square)
    _square(m, "diag")
    c, rest = split_scale(m)
    if isinstance(rest, DiagMatrix):
        return scale(c, rest.args[0])
    if isinstance(rest, Identity):
        return scale(c, ones(rest.shape[0]))
    return scale(c, DiagonalOf(rest))


def vec(m: Expr) -> Expr:
    """The columns of a matrix, one below the other; of a vector, the vector."""
    if is_column(m) or is_scalar(m):
        return m
    c, rest = split_scale(m)
    return scale(c, nodes.Vec(rest))


def commutation(m: int | str | Expr, n: int | str | Expr) -> Expr:
    """K with K vec(A) = vec(A^T) for A of shape m x n; the identity where one of them is 1.

    >>> commutation("m", 1)
    I
    """
    m, n = size(m), size(n)
    return Identity(m * n) if S.One in (m, n) else nodes.Commutation(m, n)


def norm(m: Expr, order: int = 2) -> Expr:
    """The Euclidean (Frobenius) norm, or the sum of absolute values for order 1."""
    if order == 1:
        return entry_sum(apply("abs", m))
    return sympy.Abs(m) if is_scalar(m) else nodes.Norm(m)


def inner(x: Expr, y: Expr) -> Expr:
    """x^T y of two vectors, or the sum of the entrywise product of two matrices."""
    if is_column(x) and is_column(y):
        return matmul(transpose(x), y)
    return entry_sum(hadamard(x, y))


# --- elementwise functions, sums, axes -----------------------------------------------------------


def apply(name: str, x: Expr, *parameters: Expr) -> Expr:
    """The elementwise function of that name.

    >>> from symgrad.expr import matrix
    >>> apply("tanh", matrix("Z", "m", "n")).shape
    (m, n)
    """
    if is_matrix(x):
        return nodes.Elementwise(name, x, *parameters)
    return apply_scalar(name, x, *parameters)


def entry_sum(m: Expr) -> Expr:
    """The sum of all entries; of a scalar, the scalar."""
    if is_scalar(m):
        return m
    c, rest = split_scale(m)
    if isinstance(rest, OneMatrix):
        return scalar_product((c, *rest.shape))
    if isinstance(rest, ZeroMatrix):
        return S.Zero
    return scalar_product((c, nodes.EntrySum(rest)))


def axis_sum(m: Expr, axis: int) -> Expr:
    """Sums along an axis: X^T 1 for axis 0, X 1 for axis 1; of a vector, the sum of its entries."""
    if is_column(m) and axis == 0:
        return entry_sum(m)
    return matmul(transpose(m), ones(m.shape[0])) if axis == 0 else matmul(m, ones(m.shape[1]))


def larger(a: Expr, b: Expr) -> Expr:
    """The larger one, entry by entry: b + relu(a - b).

    >>> larger(Symbol("s"), S.Zero)
    relu(s)
    """
    if _is_nothing(a):
        a, b = b, a
    return add(b, apply("relu", subtract(a, b)))


def smaller(a: Expr, b: Expr) -> Expr:
    """The smaller one, entry by entry: b - relu(b - a)."""
    if _is_nothing(b):
        a, b = b, a
    return subtract(b, apply("relu", subtract(b, a)))


def _is_nothing(e: Expr) -> bool:
    return e is S.Zero or isinstance(e, ZeroMatrix)


def entry_max(m: Expr) -> Expr:
    """The largest entry."""
    return m if is_scalar(m) else nodes.EntryMax(m)


def axis_max(m: Expr, axis: int) -> Expr:
    """The largest entry along an axis; of a vector, the largest of all."""
    return entry_max(m) if is_scalar(m) or is_column(m) else nodes.AxisMax(m, axis)


def softmax(x: Expr, axis: int = 0) -> Expr:
    """The softmax along an axis."""
    _needs_entries(x, "softmax")
    return nodes.Softmax(x, 0 if is_column(x) else axis)


def log_softmax(x: Expr, axis: int = 0) -> Expr:
    """The log of the softmax along an axis."""
    _needs_entries(x, "log_softmax")
    return nodes.LogSoftmax(x, 0 if is_column(x) else axis)


def logsumexp(x: Expr, axis: int = 0) -> Expr:
    """log(sum(exp(x))) along an axis; of a vector, a scalar."""
    _needs_entries(x, "logsumexp")
    return nodes.LogSumExp(x) if is_column(x) else nodes.AxisLogSumExp(x, axis)


def _needs_entries(x: Expr, what: str) -> None:
    if is_scalar(x):
        raise ShapeError(f"{what}: a vector or a matrix is needed, not a scalar")


def correlate(x: Expr, w: Expr) -> Expr:
    """Valid cross-correlation of two vectors or of two matrices."""
    return nodes.Correlate(x, w)


def convolve(x: Expr, w: Expr) -> Expr:
    """Full convolution of two vectors or of two matrices."""
    return nodes.Convolve(x, w)


def flip(x: Expr) -> Expr:
    """The entries in reverse order along every axis."""
    return x.args[0] if isinstance(x, nodes.Flip) else nodes.Flip(x)


# --- derivatives that are not yet worked out -------------------------------------------------------


def gradient(f: Expr, x: Expr) -> Expr:
    """df/dx for a scalar f, in the shape of x, not worked out."""
    if is_tensor(x):
        return tensors.TensorGradient(f, x)
    return nodes.Gradient(f, x) if is_matrix(x) else nodes.ScalarGradient(f, x)


def jacobian(f: Expr, x: Expr) -> Expr:
    """J[i, j] = d f_i / d x_j, not worked out."""
    return nodes.Jacobian(f, x) if is_matrix(f) or is_matrix(x) else nodes.ScalarGradient(f, x)


def differential(x: Expr) -> Expr:
    """The increment dx of a symbol, a symbol itself."""
    name = f"d{x.name}"
    if is_tensor(x):
        return tensors.Tensor(name, *x.shape)
    return MatrixSymbol(name, *x.shape) if is_matrix(x) else Symbol(name, real=True)


# --- rebuilding -------------------------------------------------------------------------------------


def rebuild(e: Expr, args: Sequence[Expr]) -> Expr:
    """The expression `e` with other arguments, through the constructors above.

    >>> from symgrad.expr import matrix, vector
    >>> A, x, y = matrix("A", "m", "n"), vector("x", "n"), vector("y", "n")
    >>> rebuild(matmul(A, x), (A, y))
    A*y
    """
    maker = _MAKERS.get(type(e))
    if maker is not None:
        return maker(*args)
    if isinstance(e, nodes.Elementwise):
        return nodes.Elementwise(*args)
    if isinstance(e, nodes.Softmax | nodes.LogSoftmax):
        return type(e)(*args)
    with distribute(False):
        return e.func(*args)


_MAKERS: dict[type[Expr], Callable[..., Expr]] = {
    MatMul: matmul,
    MatAdd: add,
    Mul: lambda *a: matmul(*a) if any(is_matrix(x) for x in a) else scalar_product(a),
    Add: add,
    Transpose: transpose,
    HadamardProduct: hadamard,
    HadamardPower: power,
    MatPow: matpower,
    Inverse: lambda m, *_: inverse(m),
    Trace: trace,
    Determinant: det,
    nodes.LogDet: logdet,
    KroneckerProduct: kron,
    DiagMatrix: diag,
    DiagonalOf: diag,
    nodes.Vec: vec,
    nodes.Commutation: commutation,
    nodes.EntrySum: entry_sum,
    nodes.AsScalar: as_scalar,
    nodes.Flip: flip,
    nodes.Gradient: gradient,
    nodes.ScalarGradient: gradient,
    nodes.Jacobian: jacobian,
    tensors.TensorGradient: gradient,
}
