"""The constructors: every expression of the project is built here, unevaluated and with checked shapes.

They normalise only what is always wanted: products and sums are flat, scalar factors of a matrix product
stand in front as one factor, identities, zeros and ones that change nothing are dropped, a transpose of a
transpose is no transpose, and a 1 x 1 product is a scalar (`AsScalar`). Everything else is a step and
belongs to `simplifying`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import sympy
from sympy import Add, Basic, Expr, MatrixSymbol, Mul, Pow, S, Symbol
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
from symgrad.expr.functions import apply_scalar
from symgrad.expr.shapes import (
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
    "add",
    "any_shapes",
    "apply",
    "as_scalar",
    "axis_max",
    "axis_sum",
    "commutation",
    "convolve",
    "correlate",
    "det",
    "diag",
    "differential",
    "divide",
    "entry_max",
    "entry_sum",
    "eye",
    "flip",
    "gradient",
    "hadamard",
    "inner",
    "inverse",
    "jacobian",
    "kron",
    "log_softmax",
    "logdet",
    "logsumexp",
    "matmul",
    "matpower",
    "matrix",
    "negate",
    "norm",
    "ones",
    "outer",
    "power",
    "rebuild",
    "scalar",
    "scale",
    "shapes_are_free",
    "softmax",
    "split_scale",
    "subtract",
    "trace",
    "transpose",
    "vec",
    "vector",
    "zeros",
]

_ANY_SHAPES: ContextVar[bool] = ContextVar("any_shapes", default=False)


@contextmanager
def any_shapes() -> Iterator[None]:
    """Inside the block sums and products are built whose sizes do not fit, to find out what was meant.

    What is built so has no value. `rebuild` outside of the block refuses it again.

    >>> A, x = matrix("A", "m", "n"), vector("x", "m")
    >>> with any_shapes():
    ...     print(matmul(A, x))
    A*x
    """
    token = _ANY_SHAPES.set(True)
    try:
        yield
    finally:
        _ANY_SHAPES.reset(token)


def shapes_are_free() -> bool:
    """Whether sizes that do not fit are accepted at the moment."""
    return _ANY_SHAPES.get()


# --- leaves ----------------------------------------------------------------------------------------


def matrix(name: str, rows: int | str | Expr, cols: int | str | Expr) -> MatrixSymbol:
    """A matrix symbol; sizes are numbers or names.

    >>> matrix("W", "m", "n").shape
    (m, n)
    """
    return MatrixSymbol(name, size(rows), size(cols))


def vector(name: str, n: int | str | Expr) -> MatrixSymbol:
    """A vector, which is a matrix of one column."""
    return MatrixSymbol(name, size(n), S.One)


def scalar(name: str, **assumptions: bool) -> Symbol:
    """A real scalar; SymPy's assumptions may be added, e.g. `positive=True`."""
    return Symbol(name, **({"real": True} | assumptions))


def eye(n: int | str | Expr) -> Identity:
    """The identity matrix."""
    return Identity(size(n))


def ones(rows: int | str | Expr, cols: int | str | Expr = 1) -> OneMatrix:
    """The matrix (by default the vector) whose entries are all one."""
    return OneMatrix(size(rows), size(cols), evaluate=False)


def zeros(rows: int | str | Expr, cols: int | str | Expr = 1) -> ZeroMatrix:
    """The matrix (by default the vector) whose entries are all zero."""
    return ZeroMatrix(size(rows), size(cols))


# --- sums, scalar factors, products ------------------------------------------------------------------


def _raw(cls: type[Expr], *args: Expr) -> Expr:
    """A SymPy node as it stands: the constructors here have checked the shapes and evaluate nothing."""
    return Basic.__new__(cls, *args)


def _scalar_product(factors: Sequence[Expr]) -> Expr:
    """SymPy's product, except that a number is not multiplied into a sum: 2 (a + b) stays."""
    if not any(f.is_Add for f in factors):
        return Mul(*factors)
    with distribute(False):  # which empties SymPy's cache, so not where it changes nothing
        return Mul(*factors)


def split_scale(m: Expr) -> tuple[Expr, Expr]:
    """The scalar factor in front of a matrix and the rest.

    >>> A = matrix("A", "m", "n")
    >>> split_scale(scale(3, A))
    (3, A)
    """
    if isinstance(m, MatMul) and m.args and is_scalar(m.args[0]):
        rest = m.args[1:]
        return m.args[0], rest[0] if len(rest) == 1 else _raw(MatMul, *rest)
    return S.One, m


def scale(factor: Expr | int, m: Expr) -> Expr:
    """A scalar times a scalar or a matrix."""
    factor = sympy.sympify(factor)
    if is_matrix(factor):
        raise ShapeError(f"a factor of shape {shape_text(shape_of(factor))} is not a scalar")
    if not is_matrix(m):
        return _scalar_product((factor, m))
    inner_factor, rest = split_scale(m)
    factor = _scalar_product((factor, inner_factor))
    if factor is S.Zero or isinstance(rest, ZeroMatrix):
        return ZeroMatrix(*m.shape)
    if factor is S.One:
        return rest
    return _raw(MatMul, factor, *(rest.args if isinstance(rest, MatMul) else (rest,)))


def negate(e: Expr) -> Expr:
    """-e."""
    return scale(S.NegativeOne, e)


def divide(e: Expr, by: Expr | int) -> Expr:
    """A scalar or a matrix over a scalar; entrywise over a matrix."""
    by = sympy.sympify(by)
    if is_matrix(by):
        return hadamard(e, power(by, S.NegativeOne)) if is_matrix(e) else scale(e, power(by, S.NegativeOne))
    return scale(Pow(by, -1), e)


def add(*terms: Expr | int) -> Expr:
    """A sum of scalars, or of matrices of one shape.

    >>> x, y = vector("x", "n"), vector("y", "n")
    >>> add(x, add(y, zeros("n")))
    x + y

    Raises   ShapeError if the shapes differ
    """
    exprs = [sympy.sympify(t) for t in terms]
    if all(is_scalar(t) for t in exprs):
        with distribute(False):
            return Add(*exprs)
    first = next(t for t in exprs if is_matrix(t))
    if shapes_are_free():
        exprs.sort(key=is_scalar)  # SymPy asks the first term of a sum for its shape
    flat: list[Expr] = []
    for t in exprs:
        if shape_of(t) is not shape_of(first) and not _same_shape(t, first):
            raise ShapeError(
                f"sum: the shapes {shape_text(shape_of(first))} and {shape_text(shape_of(t))} differ",
            )
        if isinstance(t, MatAdd):
            flat.extend(t.args)
        elif not isinstance(t, ZeroMatrix):
            flat.append(t)
    if not flat:
        return ZeroMatrix(*first.shape)
    return flat[0] if len(flat) == 1 else _raw(MatAdd, *flat)


def _same_shape(a: Expr, b: Expr) -> bool:
    if shapes_are_free():
        return True
    s, t = shape_of(a), shape_of(b)
    return len(s) == len(t) and all(same_size(p, q) for p, q in zip(s, t, strict=True))


def subtract(a: Expr, b: Expr) -> Expr:
    """A - b."""
    return add(a, negate(b))


def as_scalar(m: Expr) -> Expr:
    """A 1 x 1 matrix read as a scalar; a scalar is returned as it is.

    Raises   ShapeError if the shape is not 1 x 1
    """
    if is_scalar(m):
        return m
    if m.shape != (1, 1):
        raise ShapeError(f"a {shape_text(shape_of(m))} cannot be read as a scalar")
    factor, rest = split_scale(m)
    if isinstance(rest, Identity | OneMatrix):
        return factor
    if isinstance(rest, ZeroMatrix):
        return S.Zero
    if isinstance(rest, MatAdd):
        return scale(factor, add(*(as_scalar(t) for t in rest.args)))
    if isinstance(rest, Transpose):
        rest = rest.arg
    if isinstance(rest, MatMul):
        for i in range(1, len(rest.args)):
            if rest.args[i].shape[0] == 1:  # x^T y u^T v is the product of two scalars
                return _scalar_product((factor, matmul(*rest.args[:i]), matmul(*rest.args[i:])))
    return _scalar_product((factor, nodes.AsScalar(rest)))


def matmul(*factors: Expr | int) -> Expr:
    """The matrix product; scalars among the factors go to the front; a 1 x 1 result is a scalar.

    >>> A, x = matrix("A", "m", "n"), vector("x", "n")
    >>> matmul(A, x).shape
    (m, 1)
    >>> matmul(transpose(x), x)
    AsScalar(x.T*x)

    Raises   ShapeError if the inner sizes differ
    """
    coefficients: list[Expr] = []
    flat: list[Expr] = []
    for f in factors:
        f = sympy.sympify(f)
        if is_scalar(f):
            coefficients.append(f)
            continue
        c, rest = split_scale(f)
        if c is not S.One:
            coefficients.append(c)
        for g in rest.args if isinstance(rest, MatMul) else (rest,):
            if flat and not (same_size(flat[-1].shape[1], g.shape[0]) or shapes_are_free()):
                raise ShapeError(
                    f"matmul: the inner sizes {flat[-1].shape[1]} and {g.shape[0]} differ",
                    details=(
                        f"left   {shape_text(shape_of(flat[-1]))}",
                        f"right  {shape_text(shape_of(g))}",
                    ),
                    hint=_product_hint(flat[-1], g),
                )
            flat.append(g)
    if not flat:
        return _scalar_product(coefficients)
    rows, cols = flat[0].shape[0], flat[-1].shape[1]
    if any(isinstance(g, ZeroMatrix) for g in flat):
        return S.Zero if (rows, cols) == (1, 1) else ZeroMatrix(rows, cols)
    kept = [g for g in flat if not isinstance(g, Identity) and g.shape != (1, 1)]
    coefficients += [as_scalar(g) for g in flat if g.shape == (1, 1)]
    coefficient = _scalar_product(coefficients)
    if not kept:
        return coefficient if (rows, cols) == (1, 1) else scale(coefficient, Identity(rows))
    product = kept[0] if len(kept) == 1 else _raw(MatMul, *kept)
    if (rows, cols) == (1, 1):
        return _scalar_product((coefficient, as_scalar(product)))
    return scale(coefficient, product)


def _product_hint(a: Expr, b: Expr) -> str | None:
    """Which single transpose would make the product fit."""
    if same_size(a.shape[0], b.shape[0]):
        return f"the left factor transposed is {shape_text((a.shape[1], a.shape[0]))} and would fit"
    if same_size(a.shape[1], b.shape[1]):
        return f"the right factor transposed is {shape_text((b.shape[1], b.shape[0]))} and would fit"
    return None


def inner(x: Expr, y: Expr) -> Expr:
    """x^T y of two vectors, or the sum of the entrywise product of two matrices."""
    if is_column(x) and is_column(y):
        return matmul(transpose(x), y)
    return entry_sum(hadamard(x, y))


def outer(x: Expr, y: Expr) -> Expr:
    """X y^T of two vectors."""
    for v in (x, y):
        if not is_column(v):
            raise ShapeError(f"outer takes vectors, not a {shape_text(shape_of(v))}")
    return matmul(x, transpose(y))


def transpose(m: Expr) -> Expr:
    """The transpose; of a scalar, the scalar.

    >>> A = matrix("A", "m", "n")
    >>> transpose(transpose(A)) == A
    True
    """
    if is_scalar(m):
        return m
    c, rest = split_scale(m)
    if c is not S.One:
        return scale(c, transpose(rest))
    if isinstance(m, Transpose):
        return m.arg
    if isinstance(m, OneMatrix | ZeroMatrix):
        return m.func(m.shape[1], m.shape[0])
    if isinstance(m, Identity | DiagMatrix) or m.shape == (1, 1):
        return m
    return Transpose(m)


def hadamard(*factors: Expr | int) -> Expr:
    """The entrywise product of matrices of one shape; scalars go to the front.

    Raises   ShapeError if the shapes differ
    """
    coefficients: list[Expr] = []
    flat: list[Expr] = []
    first: Expr | None = None
    for f in factors:
        f = sympy.sympify(f)
        if is_scalar(f):
            coefficients.append(f)
            continue
        if first is None:
            first = f
        elif not _same_shape(first, f):
            raise ShapeError(
                "entrywise product: the shapes "
                f"{shape_text(shape_of(first))} and {shape_text(shape_of(f))} differ"
            )
        c, rest = split_scale(f)
        coefficients.append(c)
        if isinstance(rest, HadamardProduct):
            flat.extend(rest.args)
        elif not isinstance(rest, OneMatrix):
            flat.append(rest)
    if first is None:
        return _scalar_product(coefficients)
    if any(isinstance(g, ZeroMatrix) for g in flat):
        return ZeroMatrix(*first.shape)
    if not flat:
        return scale(_scalar_product(coefficients), OneMatrix(*first.shape, evaluate=False))
    product = flat[0] if len(flat) == 1 else _raw(HadamardProduct, *flat)
    return scale(_scalar_product(coefficients), product)


def power(base: Expr, exponent: Expr | int) -> Expr:
    """Base ** exponent; entrywise for a matrix."""
    exponent = sympy.sympify(exponent)
    if is_matrix(exponent):
        raise ShapeError("an exponent must be a scalar")
    if is_scalar(base):
        return Pow(base, exponent)
    if exponent is S.One:
        return base
    c, rest = split_scale(base)
    if exponent is S.Zero or isinstance(base, OneMatrix):
        return OneMatrix(*base.shape, evaluate=False)
    if c is not S.One and exponent.is_Integer:
        return scale(Pow(c, exponent), power(rest, exponent))
    if isinstance(base, HadamardPower) and exponent.is_Integer:
        return power(base.args[0], base.args[1] * exponent)
    return HadamardPower(base, exponent)


# --- matrix functions -----------------------------------------------------------------------------


def _square(m: Expr, what: str) -> None:
    if is_scalar(m) or not same_size(*m.shape):
        raise ShapeError(f"{what}: a square matrix is needed, not a {shape_text(shape_of(m))}")


def matpower(m: Expr, k: Expr | int) -> Expr:
    """The matrix power m^k of a square matrix."""
    _square(m, "matrix_power")
    k = sympy.sympify(k)
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
        return _scalar_product((c, rest.shape[0]))
    if isinstance(rest, ZeroMatrix):
        return S.Zero
    return _scalar_product((c, Trace(rest)))


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
    coefficient = _scalar_product([f for f in factors if not is_matrix(f)])
    parts: list[Expr] = []
    for m in matrices:
        c, rest = split_scale(m)
        coefficient = _scalar_product((coefficient, c))
        parts.append(rest)
    parts = [p for p in parts if p.shape != (1, 1)] or parts[:1]
    if not parts:
        return coefficient
    return scale(coefficient, parts[0] if len(parts) == 1 else KroneckerProduct(*parts))


def diag(m: Expr) -> Expr:
    """The diagonal matrix of a vector, or the diagonal of a square matrix as a vector."""
    if is_column(m):
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


# --- elementwise functions, sums, axes -----------------------------------------------------------


def apply(name: str, x: Expr, *parameters: Expr) -> Expr:
    """The elementwise function of that name.

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
        return _scalar_product((c, *rest.shape))
    if isinstance(rest, ZeroMatrix):
        return S.Zero
    return _scalar_product((c, nodes.EntrySum(rest)))


def axis_sum(m: Expr, axis: int) -> Expr:
    """Sums along an axis: X^T 1 for axis 0, X 1 for axis 1; of a vector, the sum of its entries."""
    if is_column(m) and axis == 0:
        return entry_sum(m)
    return matmul(transpose(m), ones(m.shape[0])) if axis == 0 else matmul(m, ones(m.shape[1]))


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
    return MatrixSymbol(name, *x.shape) if is_matrix(x) else Symbol(name, real=True)


# --- rebuilding -------------------------------------------------------------------------------------


def rebuild(e: Expr, args: Sequence[Expr]) -> Expr:
    """The expression `e` with other arguments, through the constructors above.

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
    Mul: lambda *a: matmul(*a) if any(is_matrix(x) for x in a) else _scalar_product(a),
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
