"""Index notation: the entries of expressions, and their derivatives with Kronecker deltas.

Index expressions are those of `expr.tensors`. A name that a model defines is a symbol like any other: it does not
change when another does. `deltas` works out the sums.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import sympy
from sympy import Add, Basic, Dummy, Expr, Indexed, KroneckerDelta, Mul, Pow, S, Sum
from sympy.core.parameters import distribute
from sympy.matrices.expressions.determinant import Determinant
from sympy.matrices.expressions.diagonal import DiagMatrix, DiagonalOf
from sympy.matrices.expressions.hadamard import HadamardPower, HadamardProduct
from sympy.matrices.expressions.inverse import Inverse
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.matexpr import MatrixElement
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.matpow import MatPow
from sympy.matrices.expressions.special import Identity, OneMatrix, ZeroMatrix
from sympy.matrices.expressions.trace import Trace
from sympy.matrices.expressions.transpose import Transpose

from symgrad.errors import DeriveError, UnsupportedError
from symgrad.expr import (
    AsScalar,
    AxisLogSumExp,
    AxisMax,
    Correlate,
    Elementwise,
    Entries,
    EntryMax,
    EntrySum,
    Flip,
    Indices,
    LogDet,
    LogSoftmax,
    LogSumExp,
    Member,
    Norm,
    Softmax,
    TensorElement,
    TensorEntries,
    element,
    expression,
    inverse,
    is_matrix,
    is_scalar,
    is_tensor,
    matpower,
    names_in,
    replace_index,
    softmax,
    total,
)
from symgrad.expr.entrywise import function_name
from symgrad.expr.functions import apply_scalar, scalar_derivative, step

__all__ = ["differentiate", "entry", "increment", "normalised_exponential", "spelled"]

_LONGEST_POWER = 12


def _times(*factors: Expr) -> Expr:
    with distribute(False):
        return Mul(*factors)


def _plus(*terms: Expr) -> Expr:
    with distribute(False):
        return Add(*terms)


# --- entries ---------------------------------------------------------------------------------------


def entry(e: Expr, *at: Expr | int, indices: Indices | None = None) -> Expr:
    """The entry e[i, j] of a matrix expression (the column of a vector may be left away), e[i, j, k] of a tensor.

    Of a scalar, its index form, whatever the indices.

    What has no formula for its entries (an inverse, a determinant) or a long one (softmax, a norm) stays as
    it is; `spelled` writes the latter out.

    >>> from symgrad.expr import matmul, matrix
    >>> W, X = matrix("W", "m", "n"), matrix("X", "n", "b")
    >>> p, q = Indices().of((1 + W.shape[0], X.shape[1]), "pq")
    >>> entry(matmul(W, X), p, q)
    Sum(W[p, k]*X[k, q], (k, 0, n - 1))
    """
    places = tuple(map(expression, at))
    ix = indices or Indices(names_in(e, *places))
    if is_tensor(e):
        return _tensor_entry(e, places, ix)
    i, j = (*places, S.Zero, S.Zero)[:2]
    return _entry(e, i, j, ix)


def _tensor_entry(e: Expr, places: tuple[Expr, ...], ix: Indices) -> Expr:
    return _scalar(e.at(*places), ix) if isinstance(e, TensorEntries) else element(e, *places)


def _entry(e: Expr, i: Expr, j: Expr, ix: Indices) -> Expr:
    if is_scalar(e):
        return _scalar(e, ix)
    write = _ENTRIES.get(type(e))
    return MatrixElement(e, i, j) if write is None else write(e, i, j, ix)


def _product_entry(e: Expr, i: Expr, j: Expr, ix: Indices) -> Expr:
    scalars = [_scalar(f, ix) for f in e.args if is_scalar(f)]
    matrices = [f for f in e.args if is_matrix(f)]
    inner = [S.Zero if f.shape[1] == 1 else ix.fresh("klrstuv") for f in matrices[:-1]]
    around = [i, *inner, j]
    factors = [_entry(f, around[n], around[n + 1], ix) for n, f in enumerate(matrices)]
    sizes = [f.shape[1] for f in matrices[:-1]]
    return _times(*scalars, total(_times(*factors), *zip(inner, sizes, strict=True)))


def _function_entry(e: Elementwise, i: Expr, j: Expr, ix: Indices) -> Expr:
    return apply_scalar(e.name, _entry(e.arg, i, j, ix), *(_scalar(p, ix) for p in e.parameters))


def _diagonal_matrix_entry(e: Expr, i: Expr, j: Expr, ix: Indices) -> Expr:
    return _times(KroneckerDelta(i, j), _entry(e.args[0], i, S.Zero, ix))


def _correlation_entry(e: Expr, i: Expr, j: Expr, ix: Indices) -> Expr:
    x, w = e.args
    a, b = ix.of(w.shape, "abkl")
    return total(_times(_entry(x, i + a, j + b, ix), _entry(w, a, b, ix)), (a, w.shape[0]), (b, w.shape[1]))


_ENTRIES: dict[type, Callable[[Expr, Expr, Expr, Indices], Expr]] = {
    MatMul: _product_entry,
    MatAdd: lambda e, i, j, ix: _plus(*(_entry(t, i, j, ix) for t in e.args)),
    Transpose: lambda e, i, j, ix: _entry(e.arg, j, i, ix),
    HadamardProduct: lambda e, i, j, ix: _times(*(_entry(f, i, j, ix) for f in e.args)),
    HadamardPower: lambda e, i, j, ix: Pow(_entry(e.args[0], i, j, ix), _scalar(e.args[1], ix)),
    Elementwise: _function_entry,
    Identity: lambda e, i, j, ix: KroneckerDelta(i, j),
    Entries: lambda e, i, j, ix: _scalar(e.at(i, j), ix),
    OneMatrix: lambda e, i, j, ix: S.One,
    ZeroMatrix: lambda e, i, j, ix: S.Zero,
    DiagMatrix: _diagonal_matrix_entry,
    DiagonalOf: lambda e, i, j, ix: _entry(e.args[0], i, i, ix),
    Flip: lambda e, i, j, ix: _entry(e.args[0], e.shape[0] - 1 - i, e.shape[1] - 1 - j, ix),
    Correlate: _correlation_entry,
}


def _scalar(e: Expr, ix: Indices) -> Expr:
    """The index form of a scalar."""
    if isinstance(e, AsScalar):
        return _entry(e.arg, S.Zero, S.Zero, ix)
    if type(e) is EntrySum:
        i, j = ix.of(e.arg.shape, "ij")
        return total(_entry(e.arg, i, j, ix), (i, e.arg.shape[0]), (j, e.arg.shape[1]))
    if isinstance(e, Trace):
        n = e.arg.shape[0]
        i = S.Zero if n == 1 else ix.fresh("ij")
        return total(_entry(e.arg, i, i, ix), (i, n))
    if isinstance(e, Pow) and isinstance(e.base, Norm) and e.exp == 2:
        return _squares(e.base.arg, ix)
    if isinstance(e, MatrixElement):
        return _entry(e.parent, e.i, e.j, ix)
    if isinstance(e, TensorElement):
        return _tensor_entry(e.parent, e.indices, ix)
    if isinstance(e, Add | Mul | Pow | Sum) or function_name(e) is not None:
        with distribute(False):
            return e.func(*(_scalar(a, ix) if is_scalar(a) else a for a in e.args))
    return e


def _squares(m: Expr, ix: Indices) -> Expr:
    """The sum of the squares of all entries."""
    i, j = ix.of(m.shape, "ij")
    return total(Pow(_entry(m, i, j, ix), 2), (i, m.shape[0]), (j, m.shape[1]))


def spelled(e: Expr, indices: Indices | None = None) -> Expr:
    """An index expression with softmax, log-sum-exp, norms and small matrix powers written out.

    >>> from sympy import Symbol
    >>> from symgrad.expr import vector
    >>> spelled(element(softmax(vector("z", "n")), Symbol("i")))
    exp(z[i, 0])/Sum(exp(z[k, 0]), (k, 0, n - 1))
    """
    ix = indices or Indices(names_in(e))
    if isinstance(e, MatrixElement):
        formula = _spelled_entry(e.parent, e.i, e.j, ix)
        return e if formula is None else spelled(formula, ix)
    if isinstance(e, LogSumExp):
        return spelled(sympy.log(_exponentials(e.arg, None, 0, ix)), ix)
    if isinstance(e, Norm):
        return spelled(sympy.sqrt(_squares(e.arg, ix)), ix)
    if not isinstance(e, Add | Mul | Pow | Sum) and function_name(e) is None:
        return e
    with distribute(False):
        return e.func(*(spelled(a, ix) if is_scalar(a) else a for a in e.args))


def _exponentials(x: Expr, line: Expr | None, axis: int, ix: Indices) -> Expr:
    """The sum of exp along the axis, in the line (column or row) of that number; of a vector, over all of it."""
    n = x.shape[axis]
    k = S.Zero if n == 1 else ix.fresh("klrst")
    other = S.Zero if line is None else line
    return total(sympy.exp(_entry(x, *((k, other) if axis == 0 else (other, k)), ix)), (k, n))


def _spelled_entry(m: Expr, i: Expr, j: Expr, ix: Indices) -> Expr | None:
    if isinstance(m, Softmax | LogSoftmax):
        own = _entry(m.arg, i, j, ix)
        below = _exponentials(m.arg, j if m.axis == 0 else i, m.axis, ix)
        return own - sympy.log(below) if isinstance(m, LogSoftmax) else sympy.exp(own) / below
    if isinstance(m, AxisLogSumExp):
        return sympy.log(_exponentials(m.arg, i, m.axis, ix))
    if isinstance(m, MatPow) and m.args[1] in (2, 3):
        return _product_entry(MatMul(*[m.args[0]] * int(m.args[1])), i, j, ix)
    return None


def normalised_exponential(e: Expr) -> tuple[Expr, Expr, tuple[Expr, ...]] | None:
    """The exponent u, the letter j and its range, if the entry is exp(u[j]) over the sum of exp(u[l]) over l.

    >>> from symgrad.expr import vector
    >>> ix = Indices()
    >>> j, l, z = ix.fresh("j"), ix.fresh("l"), vector("z", "n")
    >>> normalised_exponential(sympy.exp(z[j, 0]) / total(sympy.exp(z[l, 0]), (l, z.shape[0])))
    (z[j, 0], j, (0, n - 1))
    """
    if not isinstance(e, Mul) or len(e.args) != 2:
        return None
    above = next((f for f in e.args if isinstance(f, sympy.exp)), None)
    below = next((f.base for f in e.args if isinstance(f, Pow) and f.exp == -1), None)
    if above is None or not isinstance(below, Sum) or len(below.limits) != 1:
        return None
    k, lower, upper = below.limits[0]
    for j in above.free_symbols - below.free_symbols:
        if replace_index(above, j, k) == below.function and k not in above.free_symbols:
            return above.args[0], j, (lower, upper)
    return None


# --- derivatives -----------------------------------------------------------------------------------


def differentiate(e: Expr, wrt: Expr, *at: Expr | int, indices: Indices | None = None) -> Expr:
    """The derivative of an index expression by the entry of wrt at these indices, or by a scalar; not contracted.

    The indices must not be bound in `e`. Raises UnsupportedError where an operation on `wrt` has no rule.

    >>> from symgrad.expr import matmul, matrix
    >>> W, X = matrix("W", "m", "n"), matrix("X", "n", "b")
    >>> ix = Indices()
    >>> i, j, p, q = (ix.fresh(c) for c in "ijpq")
    >>> differentiate(entry(matmul(W, X), i, j, indices=ix), W, p, q, indices=ix)
    Sum(KroneckerDelta(i, p)*KroneckerDelta(k, q)*X[k, j], (k, 0, n - 1))
    """
    places = tuple(map(expression, at))
    if is_matrix(wrt):
        places = (*places, S.Zero)[:2]
    ix = indices or Indices(names_in(e, wrt, *places))
    bound = {k for s in e.atoms(Sum) for k in s.bound_symbols}
    if any(bound & p.free_symbols for p in places):
        raise DeriveError(f"the indices {', '.join(map(str, places))} are bound in {e}")
    return _Derivative(wrt, places, ix).of(e)


def increment(e: Expr, increments: Mapping[Expr, Expr], *, indices: Indices | None = None) -> Expr:
    """The differential of an index expression, given the increments of the names that change; not contracted.

    Raises UnsupportedError where an operation on one of them has no rule.

    >>> from symgrad.expr import differential, matmul, matrix
    >>> W, X, ix = matrix("W", "m", "n"), matrix("X", "n", "b"), Indices()
    >>> i, j = ix.fresh("i"), ix.fresh("j")
    >>> increment(entry(matmul(W, X), i, j, indices=ix), {W: differential(W)}, indices=ix)
    Sum(X[k, j]*dW[i, k], (k, 0, n - 1))
    """
    return _Differential(increments, indices or Indices(names_in(e, *increments.values()))).of(e)


class _Changes:
    """The rules of index notation for what changes to first order: a derivative, or a differential."""

    ix: Indices

    def _is_variable(self, m: Basic) -> bool:
        """Whether it is a name that changes."""
        raise NotImplementedError

    def _own(self, m: Expr, *at: Expr) -> Expr:
        """The change of an entry of such a name, or of a scalar."""
        raise NotImplementedError

    def _depends(self, e: Basic) -> bool:
        """Whether something that changes occurs."""
        raise NotImplementedError

    def of(self, e: Expr) -> Expr:
        if not self._depends(e):
            return S.Zero
        if self._is_variable(e):
            return self._own(e)
        if isinstance(e, Add):
            return _plus(*(self.of(t) for t in e.args))
        if isinstance(e, Mul):
            return _plus(*(_times(*e.args[:n], self.of(f), *e.args[n + 1 :]) for n, f in enumerate(e.args)))
        if isinstance(e, Pow):
            return self._power(e)
        if isinstance(e, Sum):
            if any(self._depends(b) for _, *bounds in e.limits for b in bounds):
                raise UnsupportedError(f"the range of {e} depends on what changes")
            inside = self.of(e.function)
            return S.Zero if inside is S.Zero else Sum(inside, *e.limits)
        if isinstance(e, MatrixElement):
            return self._element(e.parent, e.i, e.j)
        if isinstance(e, TensorElement):
            if self._is_variable(e.parent):
                return self._own(e.parent, *e.indices)
            return self.of(_tensor_entry(e.parent, e.indices, self.ix))
        if isinstance(e, Norm):
            i, j = self.ix.of(e.arg.shape, "klrs")
            own = _entry(e.arg, i, j, self.ix)
            return _times(Pow(e, -1), self._over(e.arg, i, j, own))
        if isinstance(e, LogDet | Determinant):
            inner = self._determinant(e.arg)
            return inner if isinstance(e, LogDet) else _times(e, inner)
        if isinstance(e, LogSumExp):
            k = self._index(e.arg.shape[0])
            return self._over(e.arg, k, S.Zero, element(softmax(e.arg), k))
        if isinstance(e, EntryMax):
            i, j = self.ix.of(e.arg.shape, "klrs")
            return self._over(e.arg, i, j, 1 - step(e - _entry(e.arg, i, j, self.ix)))
        name = function_name(e)
        if name is not None:
            return self._function(name, e)
        raise UnsupportedError(f"components: there is no rule for {type(e).__name__}: {e}")

    def _index(self, n: Expr) -> Expr:
        return S.Zero if n == 1 else self.ix.fresh("klrstuv")

    def _over(self, m: Expr, i: Expr, j: Expr, weight: Expr) -> Expr:
        """The sum over i and j of the weight times the derivative of m[i, j]."""
        inner = self.of(_entry(m, i, j, self.ix))
        return total(_times(weight, inner), (i, m.shape[0]), (j, m.shape[1]))

    def _power(self, e: Pow) -> Expr:
        result = S.Zero
        if self._depends(e.base):
            result = _times(e.exp, Pow(e.base, e.exp - 1), self.of(e.base))
        if self._depends(e.exp):
            result = _plus(result, _times(e, sympy.log(e.base), self.of(e.exp)))
        return result

    def _function(self, name: str, e: Expr) -> Expr:
        t = Dummy("t", real=True)
        argument, *parameters = e.args
        parts = []
        if self._depends(argument):
            outer = scalar_derivative(name, t, *parameters).xreplace({t: argument})
            parts.append(_times(outer, self.of(argument)))
        for n, parameter in enumerate(parameters):
            if self._depends(parameter):
                slots = [*parameters[:n], t, *parameters[n + 1 :]]
                outer = sympy.diff(apply_scalar(name, argument, *slots), t).xreplace({t: parameter})
                parts.append(_times(outer, self.of(parameter)))
        return _plus(*parts)

    def _determinant(self, a: Expr) -> Expr:
        """The derivative of log det: the sum of A^-1[l, k] dA[k, l]."""
        k, l = self._index(a.shape[0]), self._index(a.shape[0])  # noqa: E741
        return self._over(a, k, l, element(inverse(a), l, k))

    def _element(self, m: Expr, a: Expr, b: Expr) -> Expr:
        if self._is_variable(m):
            return self._own(m, a, b)
        if isinstance(m, Inverse):
            k, l = self._index(m.shape[0]), self._index(m.shape[0])  # noqa: E741
            return -self._over(m.arg, k, l, _times(element(m, a, k), element(m, l, b)))
        if isinstance(m, Softmax):
            k, own, others = self._line(m, a, b)
            return _times(element(m, a, b), _plus(own, -total(others, (k, m.shape[m.axis]))))
        if isinstance(m, LogSoftmax):
            k, own, others = self._line(softmax(m.arg, m.axis), a, b)
            return _plus(own, -total(others, (k, m.shape[m.axis])))
        if isinstance(m, AxisLogSumExp):
            k, _, others = self._line(softmax(m.arg, m.axis), *((S.Zero, a) if m.axis == 0 else (a, S.Zero)))
            return total(others, (k, m.arg.shape[m.axis]))
        if isinstance(m, AxisMax):
            k = self._index(m.arg.shape[m.axis])
            at = _entry(m.arg, *((k, a) if m.axis == 0 else (a, k)), self.ix)
            largest = 1 - step(element(m, a) - at)
            return total(_times(largest, self.of(at)), (k, m.arg.shape[m.axis]))
        if isinstance(m, MatPow):
            return self._matrix_power(m, a, b)
        if type(m) in _ENTRIES:
            return self.of(_entry(m, a, b, self.ix))
        if isinstance(m, Member):
            raise UnsupportedError(f"components: whether {m} changes is not known")
        raise UnsupportedError(f"components: there is no rule for the entries of {type(m).__name__}: {m}")

    def _line(self, s: Softmax, a: Expr, b: Expr) -> tuple[Expr, Expr, Expr]:
        """An index along the line of (a, b), dx[a, b], and s dx at that index."""
        k = self._index(s.shape[s.axis])
        at = (k, b) if s.axis == 0 else (a, k)
        own = self.of(_entry(s.arg, a, b, self.ix))
        return k, own, _times(element(s, *at), self.of(_entry(s.arg, *at, self.ix)))

    def _matrix_power(self, m: MatPow, a: Expr, b: Expr) -> Expr:
        base, exponent = m.args
        if not (exponent.is_Integer and 0 < exponent <= _LONGEST_POWER):
            raise UnsupportedError(f"components: the exponent of {m} is not a small positive number")
        n = int(exponent)
        terms = []
        for t in range(n):
            k, l = self._index(m.shape[0]), self._index(m.shape[0])  # noqa: E741
            left = _entry(matpower(base, t), a, k, self.ix)
            right = _entry(matpower(base, n - 1 - t), l, b, self.ix)
            terms.append(self._over(base, k, l, _times(left, right)))
        return _plus(*terms)


@dataclass
class _Derivative(_Changes):
    """The derivative by one entry of a variable."""

    wrt: Expr
    places: tuple[Expr, ...]
    ix: Indices

    def _is_variable(self, m: Basic) -> bool:
        return m == self.wrt

    def _own(self, m: Expr, *at: Expr) -> Expr:
        """One where all indices agree."""
        return _times(*(KroneckerDelta(a, p) for a, p in zip(at, self.places, strict=bool(at))))

    def _depends(self, e: Basic) -> bool:
        """Whether the variable occurs; another member of its family counts unless it is known to differ."""
        if not isinstance(self.wrt, Member | Indexed):
            return bool(e.has(self.wrt))
        return any(self._may_be_wrt(m) for m in e.atoms(type(self.wrt)))

    def _may_be_wrt(self, m: Expr) -> bool:
        if m.args[0] != self.wrt.args[0]:
            return False
        return not sympy.simplify(m.args[1] - self.wrt.args[1]).is_nonzero


@dataclass
class _Differential(_Changes):
    """The differential, given the increments of names."""

    increments: Mapping[Expr, Expr]
    ix: Indices

    def _is_variable(self, m: Basic) -> bool:
        return m in self.increments

    def _own(self, m: Expr, *at: Expr) -> Expr:
        return entry(self.increments[m], *at, indices=self.ix)

    def _depends(self, e: Basic) -> bool:
        return any(e.has(x) for x in self.increments)
