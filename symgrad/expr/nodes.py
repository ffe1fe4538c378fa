"""The expressions that SymPy lacks, as small SymPy classes.

Each has a shape that is kept when it is built, rebuilds from its `args`, and knows its entries, so that
`subs`, `xreplace`, `as_explicit` and pickling work. They are built by the functions in `build`, which
check shapes; the classes themselves check only what they need to exist.
"""

from __future__ import annotations

from typing import Any

import sympy
from sympy import Basic, Dummy, Expr, Integer, Mul, S, Sum
from sympy.core.symbol import Str
from sympy.matrices.expressions.matexpr import MatrixElement, MatrixExpr

from symgrad.expr.functions import apply_scalar
from symgrad.expr.shapes import expression

__all__ = [
    "AsScalar",
    "AxisLogSumExp",
    "AxisMax",
    "Commutation",
    "Convolve",
    "Correlate",
    "Differential",
    "Elementwise",
    "EntryMax",
    "EntrySum",
    "Flip",
    "Gradient",
    "Jacobian",
    "LogDet",
    "LogSoftmax",
    "LogSumExp",
    "MatrixSum",
    "Member",
    "Norm",
    "OrderedProduct",
    "PartialDerivative",
    "ScalarDifferential",
    "ScalarGradient",
    "Softmax",
    "Vec",
    "matrix_entry",
]


def matrix_entry(m: Expr, i: Expr, j: Expr) -> Expr:
    """The entry m[i, j] (zero-based); a symbolic element where nothing is known about it."""
    entry: Expr = m._entry(i, j) if isinstance(m, MatrixExpr) else m[i, j]
    return entry


class _Node(MatrixExpr):
    """A matrix expression whose shape is settled when it is built."""

    _shape: tuple[Expr, Expr]

    @property
    def shape(self) -> tuple[Expr, Expr]:
        return self._shape

    def _entry(self, i: Expr, j: Expr, **kwargs: Any) -> Expr:
        return MatrixElement(self, i, j)

    def doit(self, **hints: Any) -> Expr:
        return self


class _ScalarNode(Expr):
    """A scalar that is made of matrices."""

    is_commutative = True

    def doit(self, **hints: Any) -> Expr:
        return self


# --- elementwise and by axis ---------------------------------------------------------------------


class Elementwise(_Node):
    """f applied to every entry of X: `Elementwise("tanh", X)`; parameters follow X."""

    def __new__(cls, name: str | Str, x: Expr, *parameters: Expr) -> Elementwise:
        obj = Basic.__new__(
            cls, name if isinstance(name, Str) else Str(name), x, *map(expression, parameters)
        )
        obj._shape = x.shape
        return obj

    @property
    def name(self) -> str:
        """The function's name, as in the table of functions."""
        return str(self.args[0].name)

    @property
    def arg(self) -> Expr:
        """The matrix that the function is applied to."""
        return self.args[1]

    @property
    def parameters(self) -> tuple[Expr, ...]:
        """The parameters after the matrix, e.g. a slope."""
        return tuple(self.args[2:])

    def _entry(self, i: Expr, j: Expr, **kwargs: Any) -> Expr:
        return apply_scalar(self.name, matrix_entry(self.arg, i, j), *self.parameters)


class _ByAxis(_Node):
    """args: X and the axis (0: down the columns, 1: along the rows); a vector has axis 0."""

    keeps_shape = True

    def __new__(cls, x: Expr, axis: int | Expr = 0) -> _ByAxis:
        axis = Integer(axis)
        obj = Basic.__new__(cls, x, axis)
        obj._shape = x.shape if cls.keeps_shape else (x.shape[1 - int(axis)], S.One)
        return obj

    @property
    def arg(self) -> Expr:
        return self.args[0]

    @property
    def axis(self) -> int:
        return int(self.args[1])

    def _along(self, i: Expr, j: Expr) -> tuple[Expr, tuple[Expr, Expr, Expr]]:
        """The entries that share the axis with (i, j), with their bounds."""
        k = Dummy("k", integer=True)
        n = self.arg.shape[self.axis]
        return matrix_entry(self.arg, *((k, j) if self.axis == 0 else (i, k))), (k, S.Zero, n - 1)


class Softmax(_ByAxis):
    """exp(x) over its sum along the axis."""

    def _entry(self, i: Expr, j: Expr, **kwargs: Any) -> Expr:
        x, bounds = self._along(i, j)
        return sympy.exp(matrix_entry(self.arg, i, j)) / _closed_sum(sympy.exp(x), bounds)


class LogSoftmax(_ByAxis):
    """x minus its log-sum-exp along the axis."""

    def _entry(self, i: Expr, j: Expr, **kwargs: Any) -> Expr:
        x, bounds = self._along(i, j)
        return matrix_entry(self.arg, i, j) - sympy.log(_closed_sum(sympy.exp(x), bounds))


class AxisLogSumExp(_ByAxis):
    """log of the sum of exp along the axis, as a column vector."""

    keeps_shape = False

    def _entry(self, i: Expr, j: Expr, **kwargs: Any) -> Expr:
        x, bounds = self._along(i, i)
        return sympy.log(_closed_sum(sympy.exp(x), bounds))


class AxisMax(_ByAxis):
    """The largest entry along the axis, as a column vector."""

    keeps_shape = False

    def _entry(self, i: Expr, j: Expr, **kwargs: Any) -> Expr:
        x, (k, lo, hi) = self._along(i, i)
        if not hi.is_Integer:
            return MatrixElement(self, i, j)
        return sympy.Max(*(x.subs(k, Integer(t)) for t in range(int(lo), int(hi) + 1)))


def _closed_sum(term: Expr, bounds: tuple[Expr, Expr, Expr]) -> Expr:
    """A sum written out if its bounds are numbers, else a SymPy Sum."""
    k, lo, hi = bounds
    if lo.is_Integer and hi.is_Integer:
        return sympy.Add(*(term.xreplace({k: Integer(t)}) for t in range(int(lo), int(hi) + 1)))
    return Sum(term, bounds)


# --- reshaping and convolution ---------------------------------------------------------------------


class Vec(_Node):
    """The columns of X, one below the other."""

    def __new__(cls, x: Expr) -> Vec:
        obj = Basic.__new__(cls, x)
        obj._shape = (x.shape[0] * x.shape[1], S.One)
        return obj

    @property
    def arg(self) -> Expr:
        """The matrix whose columns are stacked."""
        return self.args[0]

    def _entry(self, i: Expr, j: Expr, **kwargs: Any) -> Expr:
        rows = self.args[0].shape[0]
        return matrix_entry(self.args[0], sympy.Mod(i, rows), sympy.floor(i / rows))


class Commutation(_Node):
    """K with K vec(A) = vec(A^T) for A of shape m x n."""

    def __new__(cls, m: Expr, n: Expr) -> Commutation:
        m, n = expression(m), expression(n)
        obj = Basic.__new__(cls, m, n)
        obj._shape = (m * n, m * n)
        return obj

    def _entry(self, i: Expr, j: Expr, **kwargs: Any) -> Expr:
        m, n = self.args
        row, col = sympy.floor(i / n), sympy.Mod(i, n)  # vec(A^T)[i] = A[row, col], at col*m + row in vec(A)
        return sympy.KroneckerDelta(j, col * m + row)


class Flip(_Node):
    """The entries in reverse order along every axis (the kernel turned by 180 degrees)."""

    def __new__(cls, x: Expr) -> Flip:
        obj = Basic.__new__(cls, x)
        obj._shape = x.shape
        return obj

    def _entry(self, i: Expr, j: Expr, **kwargs: Any) -> Expr:
        m, n = self.shape
        return matrix_entry(self.args[0], m - 1 - i, n - 1 - j)


class Correlate(_Node):
    """Valid cross-correlation: out[i, j] = sum over a, b of x[i + a, j + b] w[a, b]."""

    def __new__(cls, x: Expr, w: Expr) -> Correlate:
        obj = Basic.__new__(cls, x, w)
        obj._shape = (x.shape[0] - w.shape[0] + 1, x.shape[1] - w.shape[1] + 1)
        return obj

    def _entry(self, i: Expr, j: Expr, **kwargs: Any) -> Expr:
        x, w = self.args
        a, b = Dummy("a", integer=True), Dummy("b", integer=True)
        inner = _closed_sum(
            matrix_entry(x, i + a, j + b) * matrix_entry(w, a, b), (b, S.Zero, w.shape[1] - 1)
        )
        return _closed_sum(inner, (a, S.Zero, w.shape[0] - 1))


class Convolve(_Node):
    """Full convolution: out[i, j] = sum over a, b of x[i - a, j - b] w[a, b], x zero outside its range."""

    def __new__(cls, x: Expr, w: Expr) -> Convolve:
        obj = Basic.__new__(cls, x, w)
        obj._shape = (x.shape[0] + w.shape[0] - 1, x.shape[1] + w.shape[1] - 1)
        return obj

    def _entry(self, i: Expr, j: Expr, **kwargs: Any) -> Expr:
        x, w = self.args
        sizes = (*x.shape, *w.shape)
        if not all(getattr(s, "is_Integer", False) for s in (*sizes, i, j)):
            return MatrixElement(self, i, j)
        total: Expr = S.Zero
        for a in range(int(w.shape[0])):
            for b in range(int(w.shape[1])):
                if 0 <= i - a < x.shape[0] and 0 <= j - b < x.shape[1]:
                    total += matrix_entry(x, i - a, j - b) * matrix_entry(w, Integer(a), Integer(b))
        return total


# --- scalars made of matrices ---------------------------------------------------------------------


class AsScalar(_ScalarNode):
    """A 1 x 1 matrix read as a scalar, e.g. x^T A x."""

    def __new__(cls, m: Expr) -> AsScalar:
        obj: AsScalar = Basic.__new__(cls, m)
        return obj

    @property
    def arg(self) -> Expr:
        """The 1 x 1 matrix."""
        return self.args[0]


class EntrySum(_ScalarNode):
    """The sum of all entries."""

    def __new__(cls, m: Expr) -> EntrySum:
        obj: EntrySum = Basic.__new__(cls, m)
        return obj

    @property
    def arg(self) -> Expr:
        """The matrix whose entries are added."""
        return self.args[0]


class EntryMax(EntrySum):
    """The largest of all entries."""


class LogSumExp(EntrySum):
    """The log of the sum of exp over all entries of a vector."""

    is_real = True


class Norm(EntrySum):
    """The Euclidean norm of a vector, the Frobenius norm of a matrix."""

    is_real = True
    is_nonnegative = True


class LogDet(EntrySum):
    """The log of the determinant (of its absolute value, where the sign is not known)."""

    is_real = True


# --- families and ranges ---------------------------------------------------------------------------


class Member(_Node):
    """The member of a family of matrices at an index, e.g. W[l]; args: name, index, rows, columns."""

    def __new__(cls, name: str | Str, index: Expr, rows: Expr, cols: Expr) -> Member:
        args = (name if isinstance(name, Str) else Str(name), *map(expression, (index, rows, cols)))
        obj = Basic.__new__(cls, *args)
        obj._shape = (args[2], args[3])
        return obj

    @property
    def name(self) -> str:
        """The family's name."""
        return str(self.args[0].name)

    @property
    def index(self) -> Expr:
        """Which member."""
        return self.args[1]


class _OverRange(_Node):
    """args: a body, the bound index, its bounds."""

    def __new__(cls, body: Expr, index: Expr, lower: Expr, upper: Expr, *rest: Expr) -> _OverRange:
        args = (body, index, *map(expression, (lower, upper, *rest)))
        obj = Basic.__new__(cls, *args)
        obj._shape = cls._shape_of(*args)
        return obj

    @staticmethod
    def _shape_of(body: Expr, index: Expr, lower: Expr, upper: Expr, *rest: Expr) -> tuple[Expr, Expr]:
        return body.shape

    @property
    def body(self) -> Expr:
        return self.args[0]

    @property
    def index(self) -> Expr:
        return self.args[1]

    @property
    def bounds(self) -> tuple[Expr, Expr]:
        return self.args[2], self.args[3]

    @property
    def bound_symbols(self) -> list[Expr]:
        return [self.index]

    @property
    def free_symbols(self) -> set[Basic]:
        free: set[Basic] = self.body.free_symbols - {self.index}
        return free | self.bounds[0].free_symbols | self.bounds[1].free_symbols

    def at(self, value: Expr) -> Expr:
        """The body at a value of the index."""
        return self.body.xreplace({self.index: expression(value)})

    def _eval_subs(self, old: Basic, new: Basic) -> Basic | None:
        """A bound index is nobody else's: only the bounds are touched when it is replaced."""
        if old != self.index:
            return None
        lower, upper = (b._subs(old, new) for b in self.bounds)
        return self.func(self.body, self.index, lower, upper, *self.args[4:])


class OrderedProduct(_OverRange):
    """The matrix product of body(k) for k = lower..upper, k growing to the right (or to the left).

    The fifth argument is 1 where k grows to the right and -1 where it grows to the left. The empty
    product (upper = lower - 1) is the identity.
    """

    def __new__(
        cls, body: Expr, index: Expr, lower: Expr, upper: Expr, direction: int | Expr = 1
    ) -> OrderedProduct:
        product: OrderedProduct = super().__new__(cls, body, index, lower, upper, expression(direction))
        return product

    @staticmethod
    def _shape_of(body: Expr, index: Expr, lower: Expr, upper: Expr, *rest: Expr) -> tuple[Expr, Expr]:
        first, last = (lower, upper) if rest[0] == 1 else (upper, lower)
        rows, cols = body.shape
        return rows.xreplace({index: first}), cols.xreplace({index: last})

    @property
    def direction(self) -> int:
        """1 if the index grows to the right, -1 if it grows to the left."""
        return int(self.args[4])


class MatrixSum(_OverRange):
    """The sum of body(k) for k = lower..upper; the empty sum is zero."""

    def _entry(self, i: Expr, j: Expr, **kwargs: Any) -> Expr:
        return _closed_sum(matrix_entry(self.body, i, j), (self.index, *self.bounds))


# --- derivatives that are not yet worked out -------------------------------------------------------


class Gradient(_Node):
    """The derivative of the scalar f by the matrix x, in the shape of x; not worked out."""

    def __new__(cls, f: Expr, x: Expr) -> Gradient:
        obj = Basic.__new__(cls, f, x)
        obj._shape = x.shape
        return obj


class ScalarGradient(_ScalarNode):
    """The derivative of the scalar f by the scalar x; not worked out."""

    def __new__(cls, f: Expr, x: Expr) -> ScalarGradient:
        obj: ScalarGradient = Basic.__new__(cls, f, x)
        return obj


class PartialDerivative(ScalarGradient):
    """The derivative of a definition, or of an entry of it, by a name or entry in it, the other names kept fixed.

    args: the definition, the name, then those of the other names that depend on it and are kept fixed.
    """

    def __new__(cls, f: Expr, x: Expr, *fixed: Expr) -> PartialDerivative:
        obj: PartialDerivative = Basic.__new__(cls, f, x, *fixed)
        return obj

    @property
    def fixed(self) -> tuple[Expr, ...]:
        """The names that depend on x and are kept fixed all the same."""
        return tuple(self.args[2:])


class Jacobian(_Node):
    """The derivative of f by x, J[i, j] = d f_i / d x_j; not worked out.

    A scalar stands for a vector of one entry. `Jacobian(Gradient(f, x), x)` is the Hessian.
    """

    def __new__(cls, f: Expr, x: Expr) -> Jacobian:
        obj = Basic.__new__(cls, f, x)
        obj._shape = tuple(Mul(*getattr(side, "shape", (S.One,))) for side in (f, x))
        return obj


class ScalarDifferential(_ScalarNode):
    """The differential df of a scalar f; not worked out."""

    def __new__(cls, f: Expr) -> ScalarDifferential:
        obj: ScalarDifferential = Basic.__new__(cls, f)
        return obj


class Differential(_Node):
    """The differential df of a matrix f; not worked out."""

    def __new__(cls, f: Expr) -> Differential:
        obj = Basic.__new__(cls, f)
        obj._shape = f.shape
        return obj

    def _sympystr(self, printer: Any) -> str:  # SymPy has another class of this name
        return f"Differential({printer._print(self.args[0])})"
