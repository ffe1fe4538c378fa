"""Index form: an expression as a sum of networks of entries, canonical up to the names of bound indices.

Exponentials of sums are products, products over layers absorb a neighbour that is their next factor, and the relations
that were declared of a name are applied. This module shares nothing with the rules.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise

import sympy
from sympy import Add, Expr, Indexed, KroneckerDelta, Mul, Pow, Product, S, Sum, Symbol
from sympy.matrices.expressions.determinant import Determinant
from sympy.matrices.expressions.diagonal import DiagMatrix, DiagonalOf
from sympy.matrices.expressions.hadamard import HadamardPower, HadamardProduct
from sympy.matrices.expressions.inverse import Inverse
from sympy.matrices.expressions.kronecker import KroneckerProduct
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.matexpr import MatrixElement
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.matpow import MatPow
from sympy.matrices.expressions.special import Identity, OneMatrix, ZeroMatrix
from sympy.matrices.expressions.trace import Trace
from sympy.matrices.expressions.transpose import Transpose

from symgrad.checking.affine import NotDecided, Row, plus, row_of
from symgrad.checking.exponents import (
    exponent,
)
from symgrad.checking.networks import MOST_POWER, ONE, Apart, Index, Side, Term, Terms
from symgrad.checking.pairs import PairedSides
from symgrad.expr import (
    AsScalar,
    AxisLogSumExp,
    Commutation,
    Convolve,
    Correlate,
    Elementwise,
    Entries,
    EntrySum,
    Flip,
    Gradient,
    InRange,
    LogDet,
    LogSoftmax,
    LogSumExp,
    MatrixSum,
    Member,
    Norm,
    OrderedProduct,
    PartialDerivative,
    ScalarGradient,
    Softmax,
    TensorElement,
    TensorGradient,
    Vec,
    is_leaf,
    is_matrix,
    matmul,
    same_size,
)
from symgrad.expr.entrywise import function_name
from symgrad.expr.model import Assumptions

__all__ = ["ONE", "Index", "IndexForms", "Term", "Terms"]


class IndexForms(PairedSides):
    """Converts expressions over one set of names; `unfold` gives the definition of a name, or None.

    `partial` works out a partial derivative.
    """

    def __init__(self, assumptions: Assumptions, unfold: Callable[[Expr], Expr | None]) -> None:
        super().__init__(assumptions)
        self._unfold = unfold
        self.partial: Callable[[Expr], Terms] | None = None

    def unfold(self, e: Expr) -> Expr | None:
        """The definition of a name, or None."""
        return self._unfold(e)

    def scalar(self, e: Expr) -> Terms:
        """The terms of a scalar."""
        if e == self.apart:
            return self.factor(self.head("symbol", Apart(e), 0), ())
        if e.is_Rational:
            return self.number(Fraction(int(e.p), int(e.q)))
        if e.is_Float:
            return self.number(Fraction(float(e)).limit_denominator(10**12))
        if e in self.places:
            raise NotDecided(f"the index {e} as a number")
        if isinstance(e, Symbol | Indexed):
            value = self.unfold(e)
            return self.factor(self.head("symbol", e, 0), ()) if value is None else self.scalar(value)
        if isinstance(e, ScalarGradient):
            return self._scalar_gradient(e)
        if isinstance(e, MatrixElement | TensorElement):
            return self.element(e)
        if isinstance(e, KroneckerDelta):
            return self.delta_of(*e.args)
        if isinstance(e, InRange):
            return self.in_range(*e.args)
        if e is S.Pi:
            return self.factor(self.head("symbol", e, 0), ())
        if isinstance(e, Add):
            return [t for a in e.args for t in self.scalar(a)]
        if isinstance(e, Mul):
            return self.product_of(e.args)
        if isinstance(e, sympy.exp):
            inside = self.scalar(e.args[0])
            return self.exponential(inside, self._open(inside))
        if isinstance(e, Pow):
            return self._scalar_power(e)
        if isinstance(e, AsScalar):
            return self.matrix(e.arg, None, None)
        if type(e) is EntrySum:
            i, j = (self.fresh_side((e.arg, axis)) for axis in (0, 1))
            return self.over(self.matrix(e.arg, i, j), i, j)
        if isinstance(e, Trace):
            i = self.fresh_side((e.arg, 0), (e.arg, 1))
            return self.over(self.matrix(e.arg, i, i), i)
        if isinstance(e, Norm):
            return self.power(self._squares(e.arg), Fraction(1, 2), ())
        if isinstance(e, Determinant | LogDet):
            return (self._det if isinstance(e, Determinant) else self._logdet)(e.args[0])
        if isinstance(e, LogSumExp):
            i = self.fresh_side((e.arg, 0))
            return self.function("log", self.over(self.exponential(self.matrix(e.arg, i, None), (i,)), i), ())
        if isinstance(e, Sum | Product):
            summed = self.entry_sum(e)
            return self._range(e) if summed is None else summed
        name = function_name(e)
        if name is not None:
            inside = self.scalar(e.args[0])
            return self.function(name, inside, self._open(inside), e.args[1:])
        raise NotDecided(f"{type(e).__name__} has no index form")

    def _scalar_gradient(self, e: Expr) -> Terms:
        f, x = e.args[:2]
        if isinstance(e, PartialDerivative) and self.partial is not None:
            return self.partial(e)
        if isinstance(x, MatrixElement) and is_leaf(x.args[0]) and len(e.args) == 2:
            return self.matrix(Gradient(f, x.args[0]), *self.entry(x))
        if isinstance(x, TensorElement) and is_leaf(x.args[0]) and len(e.args) == 2:
            return self.array(TensorGradient(f, x.args[0]), *self.entry(x))
        if any(s in self.places for s in e.free_symbols):
            raise NotDecided("a derivative by an entry")
        return self.factor(self.head("symbol", e, 0), ())

    def _squares(self, m: Expr) -> Terms:
        i, j = (self.fresh_side((m, axis)) for axis in (0, 1))
        return self.over(self.times(self.matrix(m, i, j), self.matrix(m, i, j)), i, j)

    def _scalar_power(self, e: Expr) -> Terms:
        base, k = e.args
        if base.is_Integer and base > 0 and k.is_Rational:
            return self._root(int(base), exponent(k))
        if isinstance(base, Norm) and k.is_Integer and int(k) % 2 == 0:
            return self.power(self._squares(base.arg), exponent(k / 2), ())
        inside = self.scalar(base)
        return self.power(inside, exponent(k), self._open(inside))

    def _open(self, terms: Terms) -> list[int]:
        """The indices of entries in a scalar that are not summed in it."""
        if not self.places:
            return []
        return sorted({i for t in terms for _, idx, _ in t.factors for i in idx if i not in t.bound})

    def matrix(self, m: Expr, i: Side, j: Side) -> Terms:
        """The terms of the entry m[i, j]."""
        if m == self.apart or is_leaf(m) or isinstance(m, Gradient):
            value = self.unfold(m) if is_leaf(m) and m != self.apart else None
            if value is not None:
                return self.matrix(value, i, j)
            leaf = Apart(m) if m == self.apart else m
            if isinstance(i, tuple) or isinstance(j, tuple):
                return self.paired(m, leaf, i, j)
            return self.factor(self.head("symbol", leaf, sum(s != 1 for s in m.shape)), (i, j))
        method = _MATRIX.get(type(m))
        if method is None:
            raise NotDecided(f"{type(m).__name__} has no index form")
        return method(self, m, i, j)

    def _sum(self, m: Expr, i: Side, j: Side) -> Terms:
        return [t for a in m.args for t in self.matrix(a, i, j)]

    def _product(self, m: Expr, i: Side, j: Side) -> Terms:
        scalars = [a for a in m.args if not is_matrix(a)]
        factors = self._merged([a for a in m.args if is_matrix(a)])
        parts = [self.scalar(a) for a in scalars]
        left = i
        inner: list[Side] = []
        for n, f in enumerate(factors):
            right = j if n == len(factors) - 1 else self.fresh_side((f, 1), (factors[n + 1], 0))
            if n < len(factors) - 1:
                inner.append(right)
            parts.append(self.matrix(f, left, right))
            left = right
        if not factors:
            return self.times(*parts)
        return self.over(self.times(*parts), *inner)

    def _identity(self, m: Expr, i: Side, j: Side) -> Terms:
        return self.delta(i, j)

    def _ones(self, m: Expr, i: Side, j: Side) -> Terms:
        return ONE

    def _hadamard(self, m: Expr, i: Side, j: Side) -> Terms:
        return self.times(*(self.matrix(a, i, j) for a in m.args))

    def _entry_power(self, m: Expr, i: Side, j: Side) -> Terms:
        return self.power(self.matrix(m.args[0], i, j), exponent(m.args[1]), (i, j))

    def _elementwise(self, m: Expr, i: Side, j: Side) -> Terms:
        return self.function(m.name, self.matrix(m.arg, i, j), (i, j), m.parameters)

    def _diagonal(self, m: Expr, i: Side, j: Side) -> Terms:
        return self.times(self.delta(i, j), self.matrix(m.args[0], i, None))

    def _diagonal_of(self, m: Expr, i: Side, j: Side) -> Terms:
        return self.matrix(m.args[0], i, i)

    def _softmax(self, m: Expr, i: Side, j: Side) -> Terms:
        top = self.exponential(self.matrix(m.arg, i, j), (i, j))
        below, along = self._exp_sum(m.arg, m.axis, i, j)
        return self.times(top, self.power(below, -1, along))

    def _log_softmax(self, m: Expr, i: Side, j: Side) -> Terms:
        below, along = self._exp_sum(m.arg, m.axis, i, j)
        return self.matrix(m.arg, i, j) + self.scaled(self.function("log", below, along), -1)

    def _exp_sum(self, x: Expr, axis: int, i: Side, j: Side) -> tuple[Terms, tuple[Side, ...]]:
        k = self.fresh_side((x, axis))
        place = (k, j) if axis == 0 else (i, k)
        along: tuple[Side, ...] = (j,) if axis == 0 else (i,)
        return self.over(self.exponential(self.matrix(x, *place), place), k), along

    def _axis_logsumexp(self, m: Expr, i: Side, j: Side) -> Terms:
        below, along = self._exp_sum(m.arg, m.axis, i, i)
        return self.function("log", below, along)

    def _inverse(self, m: Expr, i: Side, j: Side) -> Terms:
        parts = _square_parts(m.arg)
        if parts is not None:
            return self.matrix(parts[0](*(Inverse(a) for a in parts[1])), i, j)
        if isinstance(i, tuple) or isinstance(j, tuple):
            raise NotDecided("the inverse of a matrix with paired rows")
        head, over = self._matrix_head("inverse", m.arg, 2)
        return self.factor(head, (j, i) if over else (i, j))

    def _correlate(self, m: Expr, i: Side, j: Side) -> Terms:
        """Sum over a, b of x[i + a, j + b] w[a, b]."""
        return self._shifted(m, i, j, 1)

    def _convolve(self, m: Expr, i: Side, j: Side) -> Terms:
        """Sum over a, b of x[i - a, j - b] w[a, b], x zero outside its range."""
        return self._shifted(m, i, j, -1)

    def _shifted(self, m: Expr, i: Side, j: Side, sign: int) -> Terms:
        x, w = m.args
        places: list[tuple[Index, Index]] = []
        ties: list[Terms] = []
        for out, n, k in zip((i, j), x.shape, w.shape, strict=True):
            if isinstance(out, tuple):
                raise NotDecided("pairs of indices and shifts")
            p, a = self.fresh(n), self.fresh(k)
            row: Row = {s: Fraction(c) for s, c in ((p, 1), (out, -1), (a, -sign)) if s is not None}
            ties.append(self.tie(row))
            places.append((p, a))
        (p, a), (q, b) = places
        return self.over(self.times(*ties, self.matrix(x, p, q), self.matrix(w, a, b)), p, a, q, b)

    def _flip(self, m: Expr, i: Side, j: Side) -> Terms:
        """The entries in reverse order."""
        places: list[Index] = []
        ties: list[Terms] = []
        for out, n in zip((i, j), m.shape, strict=True):
            if isinstance(out, tuple):
                raise NotDecided("pairs of indices and shifts")
            p = self.fresh(n)
            places.append(p)
            if p is not None and out is not None:
                ties.append(self.tie(plus({p: Fraction(1), out: Fraction(1)}, row_of(n - 1), -1)))
        return self.over(self.times(*ties, self.matrix(m.args[0], *places)), *places)

    def _det(self, m: Expr) -> Terms:
        """The determinant, of products and powers as products and powers."""
        if isinstance(m, Transpose):
            return self._det(m.arg)
        if isinstance(m, Inverse):
            return self.power(self._det(m.arg), -1, ())
        if isinstance(m, MatPow):
            return self.power(self._det(m.args[0]), exponent(m.args[1]), ())
        parts = _square_factors(m)
        if parts is not None:
            return self.times(
                *(
                    self.power(self._det(a) if is_matrix(a) else self.scalar(a), exponent(n), ())
                    for a, n in parts
                )
            )
        lemma = self._det_of_rank_one(m)
        return self.factor(self._matrix_head("det", m, 0)[0], ()) if lemma is None else lemma

    def _det_of_rank_one(self, m: Expr) -> Terms | None:
        """det(I + u v^T) = 1 + v^T u; None for another form."""
        terms = self.reduced(self.matrix(m, 0, 1)) if m.shape[0] != 1 else []
        ones = [t for t in terms if t.coefficient == 1 and not t.bound and self._is_delta(t)]
        if len(terms) != 2 or len(ones) != 1:
            return None
        (t,) = (t for t in terms if t is not ones[0])
        if any({0, 1} <= {i for _, idx, _ in factors for i in idx} for factors, *_ in self.components(t)):
            return None
        k = self.fresh(m.shape[0])
        return ONE + self.over(self.placed([t], (k or 0, k or 0)), k)

    def _is_delta(self, t: Term) -> bool:
        return len(t.factors) == 1 and self.heads[t.factors[0][0]].kind == "delta"

    def _logdet(self, m: Expr) -> Terms:
        """The logarithm of a determinant, of products as a sum."""
        if isinstance(m, Transpose):
            return self._logdet(m.arg)
        if isinstance(m, Inverse):
            return self.scaled(self._logdet(m.arg), -1)
        if isinstance(m, MatPow):
            return self.times(self.scalar(m.args[1]), self._logdet(m.args[0]))
        if isinstance(m, DiagMatrix):
            i = self.fresh_side((m.args[0], 0))
            return self.over(self.function("log", self.matrix(m.args[0], i, None), (i,)), i)
        parts = _square_factors(m)
        if parts is None:
            lemma = self._det_of_rank_one(m)
            if lemma is not None:
                return self.function("log", lemma, ())
            return self.factor(self._matrix_head("logdet", m, 0)[0], ())
        return [
            t
            for a, n in parts
            for t in self.times(
                self.scalar(n), self._logdet(a) if is_matrix(a) else self.function("log", self.scalar(a), ())
            )
        ]

    def _matrix_head(self, kind: str, m: Expr, rank: int) -> tuple[int, bool]:
        if any(s == 1 for s in m.shape):
            raise NotDecided("a 1 x 1 matrix")
        return self.matrix_head(kind, self.reduced(self.matrix(m, 0, 1)), rank)

    def _matrix_power(self, m: Expr, i: Side, j: Side) -> Terms:
        base, k = m.args
        if isinstance(base, Transpose):
            return self._matrix_power(MatPow(base.arg, k), j, i)
        if k.is_Integer:
            if abs(k) > MOST_POWER:
                raise NotDecided("a high matrix power")
            inner = [self.fresh(m.shape[0]) for _ in range(abs(int(k)) - 1)]
            places = list(pairwise([i, *inner, j])) if k else []
            if k < 0:
                return self.over(self.times(*(self._inverse(Inverse(base), *at) for at in places)), *inner)
            if k > 0:
                return self.over(self.times(*(self.matrix(base, *at) for at in places)), *inner)
            return self.delta(i, j)
        head, over = self._matrix_head("power", base, 2)
        return self.factor(head, (j, i) if over else (i, j), exponent(k))


def _square_factors(m: Expr) -> list[tuple[Expr, Expr]] | None:
    """The square matrices and scalars whose determinants make that of m, with the powers that they are taken to."""
    matrices = [a for a in m.args if is_matrix(a)]
    if not isinstance(m, KroneckerProduct | MatMul) or not all(
        same_size(*a.shape) and a.shape[0] != 1 for a in matrices
    ):
        return None
    n = m.shape[0]
    if isinstance(m, KroneckerProduct):
        return [(a, sympy.cancel(n / a.shape[0])) for a in matrices]
    return [(a, S.One if is_matrix(a) else n) for a in m.args]


def _square_parts(m: Expr) -> tuple[Callable[..., Expr], list[Expr]] | None:
    """The square matrices whose inverses make the inverse of m, and how; None where m is not made of such."""
    if not isinstance(m, KroneckerProduct | MatMul) or not all(
        is_matrix(a) and same_size(*a.shape) and a.shape[0] != 1 for a in m.args
    ):
        return None
    return (
        (KroneckerProduct, list(m.args)) if isinstance(m, KroneckerProduct) else (matmul, list(m.args)[::-1])
    )


_MATRIX: dict[type, Callable[[IndexForms, Expr, Side, Side], Terms]] = {
    MatAdd: IndexForms._sum,
    MatMul: IndexForms._product,
    Transpose: lambda self, m, i, j: self.matrix(m.arg, j, i),
    Identity: IndexForms._identity,
    OneMatrix: IndexForms._ones,
    ZeroMatrix: lambda self, m, i, j: [],
    HadamardProduct: IndexForms._hadamard,
    HadamardPower: IndexForms._entry_power,
    Elementwise: IndexForms._elementwise,
    DiagMatrix: IndexForms._diagonal,
    DiagonalOf: IndexForms._diagonal_of,
    Softmax: IndexForms._softmax,
    LogSoftmax: IndexForms._log_softmax,
    AxisLogSumExp: IndexForms._axis_logsumexp,
    Inverse: IndexForms._inverse,
    KroneckerProduct: IndexForms.kronecker,
    Vec: IndexForms.vec,
    Commutation: IndexForms.commutation,
    Entries: IndexForms.by_entries,
    Correlate: IndexForms._correlate,
    Convolve: IndexForms._convolve,
    Flip: IndexForms._flip,
    MatPow: IndexForms._matrix_power,
    OrderedProduct: IndexForms._ordered,
    MatrixSum: IndexForms._matrix_sum,
    Member: lambda self, m, i, j: self.matrix(m, i, j),
}
