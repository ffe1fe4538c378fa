"""The constructors: every expression of the project is built here, unevaluated and with checked shapes.

Leaves, sums, scalar factors, products, transposes and powers; `operations` has the rest. They normalise only what
is always wanted: products and sums are flat, scalar factors of a matrix product stand in front as one factor,
identities, zeros and ones that change nothing are dropped, a transpose of a transpose is no transpose, and a
1 x 1 product is a scalar (`AsScalar`). Everything else is a step and belongs to `simplifying`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from sympy import Add, Basic, Expr, MatrixSymbol, Mul, Pow, S, Symbol
from sympy.core.parameters import distribute
from sympy.matrices.expressions.diagonal import DiagMatrix
from sympy.matrices.expressions.hadamard import HadamardPower, HadamardProduct
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.special import Identity, OneMatrix, ZeroMatrix
from sympy.matrices.expressions.transpose import Transpose

from symgrad.errors import ShapeError
from symgrad.expr import nodes
from symgrad.expr.shapes import (
    expression,
    is_column,
    is_matrix,
    is_scalar,
    same_size,
    shape_of,
    shape_text,
    size,
)

__all__ = [
    "add",
    "any_shapes",
    "as_scalar",
    "divide",
    "eye",
    "hadamard",
    "matmul",
    "matrix",
    "negate",
    "ones",
    "outer",
    "power",
    "scalar",
    "scale",
    "shapes_are_free",
    "split_scale",
    "subtract",
    "transpose",
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


def scalar_product(factors: Sequence[Expr]) -> Expr:
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
    factor = expression(factor)
    if is_matrix(factor):
        raise ShapeError(f"a factor of shape {shape_text(shape_of(factor))} is not a scalar")
    if not is_matrix(m):
        return scalar_product((factor, m))
    inner_factor, rest = split_scale(m)
    factor = scalar_product((factor, inner_factor))
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
    by = expression(by)
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
    exprs = [expression(t) for t in terms]
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
                return scalar_product((factor, matmul(*rest.args[:i]), matmul(*rest.args[i:])))
    return scalar_product((factor, nodes.AsScalar(rest)))


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
        f = expression(f)
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
        return scalar_product(coefficients)
    rows, cols = flat[0].shape[0], flat[-1].shape[1]
    if any(isinstance(g, ZeroMatrix) for g in flat):
        return S.Zero if (rows, cols) == (1, 1) else ZeroMatrix(rows, cols)
    kept = [g for g in flat if not isinstance(g, Identity) and g.shape != (1, 1)]
    coefficients += [as_scalar(g) for g in flat if g.shape == (1, 1)]
    coefficient = scalar_product(coefficients)
    if not kept:
        return coefficient if (rows, cols) == (1, 1) else scale(coefficient, Identity(rows))
    product = kept[0] if len(kept) == 1 else _raw(MatMul, *kept)
    if (rows, cols) == (1, 1):
        return scalar_product((coefficient, as_scalar(product)))
    return scale(coefficient, product)


def _product_hint(a: Expr, b: Expr) -> str | None:
    """Which single transpose would make the product fit."""
    if same_size(a.shape[0], b.shape[0]):
        return f"the left factor transposed is {shape_text((a.shape[1], a.shape[0]))} and would fit"
    if same_size(a.shape[1], b.shape[1]):
        return f"the right factor transposed is {shape_text((b.shape[1], b.shape[0]))} and would fit"
    return None


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
        f = expression(f)
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
        return scalar_product(coefficients)
    if any(isinstance(g, ZeroMatrix) for g in flat):
        return ZeroMatrix(*first.shape)
    if not flat:
        return scale(scalar_product(coefficients), OneMatrix(*first.shape, evaluate=False))
    product = flat[0] if len(flat) == 1 else _raw(HadamardProduct, *flat)
    return scale(scalar_product(coefficients), product)


def power(base: Expr, exponent: Expr | int) -> Expr:
    """Base ** exponent; entrywise for a matrix."""
    exponent = expression(exponent)
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
