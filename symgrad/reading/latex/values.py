"""Values of LaTeX formulas: scalars and matrices, or the entry of a matrix over its two indices.

Products are resolved by shapes. A value that depends on an index, such as row i of a matrix, is kept by its entry
and goes back to matrix form where it has one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import sympy
from sympy import Basic, Dummy, Expr, KroneckerDelta, Mul, Pow, S, Sum, Symbol
from sympy.matrices.expressions.hadamard import HadamardPower, HadamardProduct
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.matexpr import MatrixElement
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.special import Identity, OneMatrix, ZeroMatrix
from sympy.matrices.expressions.transpose import Transpose

from symgrad.errors import ShapeError
from symgrad.expr import (
    Elementwise,
    add,
    apply,
    as_scalar,
    hadamard,
    is_matrix,
    is_scalar,
    matmul,
    matpower,
    negate,
    ones,
    power,
    same_size,
    scale,
    shape_text,
    shapes_are_free,
    split_scale,
    transpose,
)
from symgrad.expr.functions import apply_scalar

__all__ = ["OpenSize", "Val", "entry", "index_symbol", "lifted", "plus", "row_or_column", "times", "val"]


def index_symbol(name: str) -> Symbol:
    """An index, counted from zero."""
    return Symbol(name, integer=True, nonnegative=True)


@dataclass(frozen=True)
class Val:
    """A scalar, a matrix, or a matrix by its entry: then `axes` are its row and column index (0 where the size is one)."""

    expr: Expr
    shape: tuple[Expr, ...] = ()
    axes: tuple[Expr, Expr] | None = None

    @property
    def is_scalar(self) -> bool:
        """Whether it is a number."""
        return not self.shape

    @property
    def text(self) -> str:
        """The shape, for messages."""
        if len(self.shape) == 2 and self.shape[0] == 1 and self.shape[1] != 1:
            return f"row of {self.shape[1]}"
        return shape_text(self.shape)


def val(e: Expr) -> Val:
    """The value of an expression; what is 1 x 1 is a scalar."""
    if is_scalar(e):
        return Val(e)
    return Val(as_scalar(e)) if e.shape == (1, 1) else Val(e, tuple(e.shape))


def row_or_column(m: Expr, at: Expr, axis: int, fresh: Callable[[], Symbol]) -> Val:
    """Row (axis 0) or column (axis 1) `at` of a matrix, as a column vector."""
    k = fresh()
    place = (at, k) if axis == 0 else (k, at)
    return Val(entry_of(m, *place), (m.shape[1 - axis], S.One), (k, S.Zero))


class OpenSize(Exception):  # noqa: N818 - not an error: reading starts again
    """The size of a vector of ones, or of an identity, is found by what it meets."""

    def __init__(self, open_size: Expr, size: Expr) -> None:
        super().__init__()
        self.open_size, self.size = open_size, size


def fits(p: Expr, q: Expr) -> bool:
    """Whether two sizes agree; a size that is still open is settled."""
    if same_size(p, q):
        return True
    for one, other in ((p, q), (q, p)):
        if isinstance(one, Dummy):
            raise OpenSize(one, other)
        unknown = [s for s in one.free_symbols if isinstance(s, Dummy)]
        if len(unknown) == 1 and one.is_Mul:
            ratio = sympy.cancel(other / (one / unknown[0]))
            if sympy.denom(ratio) == 1 and unknown[0] not in ratio.free_symbols:
                raise OpenSize(unknown[0], ratio)
    return shapes_are_free()


def entry_of(m: Expr, i: Expr, j: Expr) -> Expr:
    """The entry of a matrix; sums, elementwise parts and constants are opened, products stay."""
    if is_scalar(m):
        return m
    c, rest = split_scale(m)
    if c is not S.One:
        return scale(c, entry_of(rest, i, j))
    if isinstance(m, MatAdd):
        return add(*(entry_of(t, i, j) for t in m.args))
    if isinstance(m, HadamardProduct):
        return scale(S.One, Mul(*(entry_of(t, i, j) for t in m.args), evaluate=True))
    if isinstance(m, HadamardPower) and is_scalar(m.args[1]):
        return Pow(entry_of(m.args[0], i, j), m.args[1])
    if isinstance(m, Transpose):
        return entry_of(m.arg, j, i)
    if isinstance(m, OneMatrix):
        return S.One
    if isinstance(m, ZeroMatrix):
        return S.Zero
    if isinstance(m, Identity):
        return KroneckerDelta(i, j)
    if isinstance(m, Elementwise):
        return apply_scalar(m.name, entry_of(m.arg, i, j), *m.parameters)
    return MatrixElement(m, i, j)


def entry(v: Val, i: Expr, j: Expr) -> Expr:
    """The entry of a value; a scalar is each of its entries."""
    if v.is_scalar:
        return v.expr
    if v.axes is None:
        return entry_of(v.expr, i, j)
    return v.expr.xreplace({a: b for a, b in zip(v.axes, (i, j), strict=True) if not a.is_Number})


def lifted(v: Val) -> Val:
    """The value in matrix form, where it has one and depends on no index."""
    if v.axes is None:
        if v.is_scalar and v.expr.has(Sum, MatrixElement):
            closed = _to_matrix(v.expr, (S.Zero, S.Zero), (S.One, S.One))
            return v if closed is None else val(closed)
        return v
    free = _indices(v.expr) - set(v.axes)
    if free or shapes_are_free():
        return v
    if v.axes[0].is_Number and not v.axes[1].is_Number:  # a row: networks know columns
        column = lifted(turned(v))
        return v if column.axes is not None else turned(column)
    m = _to_matrix(v.expr, v.axes, (v.shape[0], v.shape[1]))
    if m is None:
        return v
    return Val(_tidy(m) if is_matrix(m) else scale(m, ones(*v.shape)), v.shape)


def _to_matrix(e: Expr, axes: tuple[Expr, Expr], shape: tuple[Expr, Expr]) -> Expr | None:
    from symgrad.deriving.index_networks import to_matrix

    try:
        return to_matrix(e, axes, shape)
    except ShapeError:
        return None


def _indices(e: Basic) -> set[Basic]:
    """Index symbols that are free in it: not positive, as sizes are."""
    return {
        s
        for s in e.free_symbols
        if isinstance(s, Symbol) and s.is_nonnegative and not s.is_positive and s.is_integer
    }


# --- operations ------------------------------------------------------------------------------------------


class Fresh:
    """Indices for rows and columns, none of them used twice."""

    def __init__(self) -> None:
        self._n = 0

    def __call__(self) -> Symbol:
        """A new index."""
        self._n += 1
        return index_symbol(f"_{self._n}")


def _axes(shape: tuple[Expr, ...], fresh: Fresh) -> tuple[Expr, Expr]:
    i, j = (S.Zero if s == 1 else fresh() for s in shape)
    return i, j


def times(a: Val, b: Val, fresh: Fresh) -> Val:
    """The product: a multiple, or the matrix product.

    Raises   ShapeError if the inner sizes differ
    """
    if a.is_scalar or b.is_scalar:
        factor, rest = (a, b) if a.is_scalar else (b, a)
        return Val(scale(factor.expr, rest.expr), rest.shape, rest.axes)
    (m, n), (p, q) = a.shape, b.shape
    if not fits(n, p):
        hint = None
        if same_size(m, p):
            hint = f"the left factor transposed is {shape_text((n, m))} and would fit"
        elif same_size(n, q):
            hint = f"the right factor transposed is {shape_text((q, p))} and would fit"
        raise ShapeError(
            f"product: the inner sizes {n} and {p} differ",
            details=(f"left   {a.text}", f"right  {b.text}"),
            hint=hint,
        )
    a, b = lifted(a), lifted(b)
    if a.axes is None and b.axes is None:
        return val(matmul(_as_row(a.expr), _as_row(b.expr)))
    i, j = _axes((m, q), fresh)
    k: Expr = S.Zero if n == 1 else fresh()
    body = Mul(entry(a, i, k), entry(b, k, j))
    if n != 1:
        body = Sum(body, (k, S.Zero, n - 1))
    return Val(body) if m == 1 and q == 1 else lifted(Val(body, (m, q), (i, j)))


def entrywise(
    make: Callable[..., Expr], scalar: Callable[..., Expr], values: list[Val], what: str, fresh: Fresh
) -> Val:
    """An operation on the entries of values of one shape; scalars are repeated."""
    arrays = [v for v in values if not v.is_scalar]
    if not arrays:
        return Val(scalar(*(v.expr for v in values)))
    shape = arrays[0].shape
    for other in arrays[1:]:
        if not all(fits(p, q) for p, q in zip(shape, other.shape, strict=True)):
            raise ShapeError(f"{what}: the shapes {arrays[0].text} and {other.text} differ")
    values = [lifted(v) for v in values]
    if all(v.axes is None for v in values):
        return Val(make(*(v.expr for v in values)), shape)
    i, j = _axes(shape, fresh)
    return Val(scalar(*(entry(v, i, j) for v in values)), shape, (i, j))


def hadamard_of(a: Val, b: Val, fresh: Fresh) -> Val:
    """The entrywise product."""
    return entrywise(hadamard, Mul, [a, b], "entrywise product", fresh)


def plus(terms: list[Val], fresh: Fresh, spread: Callable[[Val, Val], Val]) -> Val:
    """The sum; `spread` repeats a term to the shape of the largest."""
    arrays = [t for t in terms if not t.is_scalar]
    if not arrays:
        return Val(add(*(t.expr for t in terms)))
    largest = max(arrays, key=lambda t: sum(s != 1 for s in t.shape))
    return entrywise(add, add, [spread(t, largest) for t in terms], "sum", fresh)


def repeated(v: Val, shape: tuple[Expr, ...]) -> Val:
    """A scalar in every entry."""
    return Val(scale(v.expr, ones(*shape)), shape)


def turned(v: Val) -> Val:
    """The transpose."""
    if v.is_scalar:
        return v
    shape = (v.shape[1], v.shape[0])
    if v.axes is None:
        return Val(transposed(v.expr), shape)
    return Val(v.expr, shape, (v.axes[1], v.axes[0]))


def _as_row(m: Expr) -> Expr:
    """A row as the transpose of a column."""
    if m.shape[0] == 1 and m.shape[1] != 1 and not isinstance(m, Transpose | MatMul | OneMatrix | MatAdd):
        return transpose(transposed(m))
    return m


def transposed(m: Expr) -> Expr:
    """The transpose, with the transposes at the factors and the terms."""
    c, rest = split_scale(m)
    if c is not S.One:
        return scale(c, transposed(rest))
    if isinstance(m, MatMul):
        return matmul(*(transposed(f) for f in reversed(m.args)))
    if isinstance(m, MatAdd):
        return add(*(transposed(t) for t in m.args))
    if isinstance(m, HadamardProduct):
        return hadamard(*(transposed(t) for t in m.args))
    if isinstance(m, HadamardPower) and is_scalar(m.args[1]):
        return power(transposed(m.args[0]), m.args[1])
    if isinstance(m, Elementwise):
        return apply(m.name, transposed(m.arg), *m.parameters)
    return transpose(m)


def _tidy(m: Expr) -> Expr:
    """A matrix that came out of a network, turned where that takes fewer transposes."""
    if not is_matrix(m):
        return m
    pushed = transposed(m.arg) if isinstance(m, Transpose) else m
    if isinstance(pushed, MatMul) and len(pushed.args) == 2 and isinstance(pushed.args[1], OneMatrix):
        left = pushed.args[0]
        if isinstance(left, MatAdd):
            flipped = transposed(left)
            if flipped.count(Transpose) < left.count(Transpose):
                pushed = matmul(transpose(flipped), pushed.args[1])
    return pushed if pushed.count(Transpose) <= m.count(Transpose) else m


def applied(name: str, v: Val, *parameters: Expr) -> Val:
    """An elementwise function."""
    if v.axes is not None:
        return Val(apply_scalar(name, v.expr, *parameters), v.shape, v.axes)
    return Val(apply(name, v.expr, *parameters), v.shape)


def raised(v: Val, exponent: Expr, *, as_matrix: bool) -> Val:
    """A power; of a square matrix the matrix power, if so asked."""
    if as_matrix:
        v = lifted(v)
        if v.axes is not None:
            raise ShapeError("the power of a matrix that has no matrix form")
        return val(matpower(v.expr, exponent))
    if v.axes is not None:
        return Val(Pow(v.expr, exponent), v.shape, v.axes)
    return Val(power(v.expr, exponent), v.shape)


def mapped(v: Val, f: Callable[[Expr], Expr]) -> Val:
    """A function of the whole matrix."""
    v = lifted(v)
    if v.axes is not None:
        raise ShapeError("a function of a matrix that has no matrix form")
    return val(f(v.expr))


def has_index(e: Basic) -> bool:
    """Whether any index is free in it."""
    return bool(_indices(e))


__all__ += [
    "Fresh",
    "applied",
    "entry_of",
    "entrywise",
    "fits",
    "fits_square",
    "hadamard_of",
    "has_index",
    "is_entrywise",
    "mapped",
    "negative",
    "raised",
    "repeated",
    "turned",
    "untransposed",
]  # fmt: skip


def fits_square(value: Val) -> bool:
    """Whether a value is a square matrix."""
    return len(value.shape) == 2 and (same_size(*value.shape) or shapes_are_free())


def negative(v: Val) -> Val:
    """Minus a value."""
    return Val(negate(v.expr), v.shape, v.axes)


def untransposed(e: Expr) -> Expr:
    """What stands under a transpose."""
    from sympy.matrices.expressions.transpose import Transpose

    return e.arg if isinstance(e, Transpose) else e


def is_entrywise(v: Val) -> bool:
    """Whether a value is made entry by entry: a power, product or function of entries."""
    from sympy.matrices.expressions.hadamard import HadamardPower, HadamardProduct

    from symgrad.expr import Elementwise, split_scale

    if v.axes is not None or v.is_scalar:
        return v.axes is not None
    return isinstance(split_scale(v.expr)[1], HadamardPower | HadamardProduct | Elementwise)
