"""Index notation: derivatives of entries with Kronecker deltas, and their differentials.

Index expressions are those of `expr.tensors`. A name that a model defines is a symbol like any other: it does not
change when another does. `deltas` works out the sums.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sympy
from sympy import Add, Basic, Dummy, Expr, Indexed, KroneckerDelta, Mul, Pow, S, Sum
from sympy.matrices.expressions.determinant import Determinant
from sympy.matrices.expressions.inverse import Inverse
from sympy.matrices.expressions.matexpr import MatrixElement
from sympy.matrices.expressions.matpow import MatPow

from symgrad.errors import DeriveError, UnsupportedError
from symgrad.expr import (
    AxisLogSumExp,
    AxisMax,
    EntryMax,
    Indices,
    LogDet,
    LogSoftmax,
    LogSumExp,
    Member,
    Norm,
    Softmax,
    TensorElement,
    element,
    expression,
    inverse,
    is_matrix,
    matpower,
    names_in,
    softmax,
    total,
)
from symgrad.expr.entries_of import entry, plus, times
from symgrad.expr.entrywise import function_name
from symgrad.expr.functions import apply_scalar, scalar_derivative, step

__all__ = ["differentiate", "increment"]

_LONGEST_POWER = 12


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
            return plus(*(self.of(t) for t in e.args))
        if isinstance(e, Mul):
            return plus(*(times(*e.args[:n], self.of(f), *e.args[n + 1 :]) for n, f in enumerate(e.args)))
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
            return self.of(entry(e.parent, *e.indices, indices=self.ix))
        if isinstance(e, Norm):
            i, j = self.ix.of(e.arg.shape, "klrs")
            own = entry(e.arg, i, j, indices=self.ix)
            return times(Pow(e, -1), self._over(e.arg, i, j, own))
        if isinstance(e, LogDet | Determinant):
            inner = self._determinant(e.arg)
            return inner if isinstance(e, LogDet) else times(e, inner)
        if isinstance(e, LogSumExp):
            k = self._index(e.arg.shape[0])
            return self._over(e.arg, k, S.Zero, element(softmax(e.arg), k))
        if isinstance(e, EntryMax):
            i, j = self.ix.of(e.arg.shape, "klrs")
            return self._over(e.arg, i, j, 1 - step(e - entry(e.arg, i, j, indices=self.ix)))
        name = function_name(e)
        if name is not None:
            return self._function(name, e)
        raise UnsupportedError(f"components: there is no rule for {type(e).__name__}: {e}")

    def _index(self, n: Expr) -> Expr:
        return S.Zero if n == 1 else self.ix.fresh("klrstuv")

    def _over(self, m: Expr, i: Expr, j: Expr, weight: Expr) -> Expr:
        """The sum over i and j of the weight times the derivative of m[i, j]."""
        inner = self.of(entry(m, i, j, indices=self.ix))
        return total(times(weight, inner), (i, m.shape[0]), (j, m.shape[1]))

    def _power(self, e: Pow) -> Expr:
        result = S.Zero
        if self._depends(e.base):
            result = times(e.exp, Pow(e.base, e.exp - 1), self.of(e.base))
        if self._depends(e.exp):
            result = plus(result, times(e, sympy.log(e.base), self.of(e.exp)))
        return result

    def _function(self, name: str, e: Expr) -> Expr:
        t = Dummy("t", real=True)
        argument, *parameters = e.args
        parts = []
        if self._depends(argument):
            outer = scalar_derivative(name, t, *parameters).xreplace({t: argument})
            parts.append(times(outer, self.of(argument)))
        for n, parameter in enumerate(parameters):
            if self._depends(parameter):
                slots = [*parameters[:n], t, *parameters[n + 1 :]]
                outer = sympy.diff(apply_scalar(name, argument, *slots), t).xreplace({t: parameter})
                parts.append(times(outer, self.of(parameter)))
        return plus(*parts)

    def _determinant(self, a: Expr) -> Expr:
        """The derivative of log det: the sum of A^-1[l, k] dA[k, l]."""
        k, l = self._index(a.shape[0]), self._index(a.shape[0])  # noqa: E741
        return self._over(a, k, l, element(inverse(a), l, k))

    def _element(self, m: Expr, a: Expr, b: Expr) -> Expr:
        if self._is_variable(m):
            return self._own(m, a, b)
        if isinstance(m, Inverse):
            k, l = self._index(m.shape[0]), self._index(m.shape[0])  # noqa: E741
            return -self._over(m.arg, k, l, times(element(m, a, k), element(m, l, b)))
        if isinstance(m, Softmax):
            k, own, others = self._line(m, a, b)
            return times(element(m, a, b), plus(own, -total(others, (k, m.shape[m.axis]))))
        if isinstance(m, LogSoftmax):
            k, own, others = self._line(softmax(m.arg, m.axis), a, b)
            return plus(own, -total(others, (k, m.shape[m.axis])))
        if isinstance(m, AxisLogSumExp):
            k, _, others = self._line(softmax(m.arg, m.axis), *((S.Zero, a) if m.axis == 0 else (a, S.Zero)))
            return total(others, (k, m.arg.shape[m.axis]))
        if isinstance(m, AxisMax):
            k = self._index(m.arg.shape[m.axis])
            at = entry(m.arg, *((k, a) if m.axis == 0 else (a, k)), indices=self.ix)
            largest = 1 - step(element(m, a) - at)
            return total(times(largest, self.of(at)), (k, m.arg.shape[m.axis]))
        if isinstance(m, MatPow):
            return self._matrix_power(m, a, b)
        written = entry(m, a, b, indices=self.ix)
        if written != MatrixElement(m, a, b):
            return self.of(written)
        if isinstance(m, Member):
            raise UnsupportedError(f"components: whether {m} changes is not known")
        raise UnsupportedError(f"components: there is no rule for the entries of {type(m).__name__}: {m}")

    def _line(self, s: Softmax, a: Expr, b: Expr) -> tuple[Expr, Expr, Expr]:
        """An index along the line of (a, b), dx[a, b], and s dx at that index."""
        k = self._index(s.shape[s.axis])
        at = (k, b) if s.axis == 0 else (a, k)
        own = self.of(entry(s.arg, a, b, indices=self.ix))
        return k, own, times(element(s, *at), self.of(entry(s.arg, *at, indices=self.ix)))

    def _matrix_power(self, m: MatPow, a: Expr, b: Expr) -> Expr:
        base, exponent = m.args
        if not (exponent.is_Integer and 0 < exponent <= _LONGEST_POWER):
            raise UnsupportedError(f"components: the exponent of {m} is not a small positive number")
        n = int(exponent)
        terms = []
        for t in range(n):
            k, l = self._index(m.shape[0]), self._index(m.shape[0])  # noqa: E741
            left = entry(matpower(base, t), a, k, indices=self.ix)
            right = entry(matpower(base, n - 1 - t), l, b, indices=self.ix)
            terms.append(self._over(base, k, l, times(left, right)))
        return plus(*terms)


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
        return times(*(KroneckerDelta(a, p) for a, p in zip(at, self.places, strict=bool(at))))

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
