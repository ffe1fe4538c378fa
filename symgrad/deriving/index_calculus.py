"""Index notation: entries of matrix expressions, their derivatives, and sums with Kronecker deltas.

An index expression is a SymPy scalar made of entries `MatrixElement(W, i, k)`, `Sum(.., (k, 0, n - 1))`,
`KroneckerDelta(i, p)` and scalar functions of those. Indices count from zero; the column index of a vector
is the number 0. A name that a model defines is a symbol like any other: it does not change when another does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import sympy
from sympy import Add, Basic, Dummy, Expr, Indexed, KroneckerDelta, Mul, Pow, S, Sum, Symbol
from sympy.core.function import AppliedUndef
from sympy.core.parameters import distribute
from sympy.core.symbol import Str
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
    EntryMax,
    EntrySum,
    Flip,
    LogDet,
    LogSoftmax,
    LogSumExp,
    Member,
    Norm,
    Softmax,
    inverse,
    is_matrix,
    is_scalar,
    matpower,
    same_size,
    softmax,
)
from symgrad.expr.entrywise import function_name
from symgrad.expr.functions import apply_scalar, scalar_derivative, step

__all__ = [
    "Indices",
    "Term",
    "contract",
    "differentiate",
    "element",
    "entry",
    "join",
    "names_in",
    "replace_index",
    "spelled",
    "terms_of",
    "total",
]

_LETTERS = "ijklrstuvabcdeghmnopq"
_LONGEST_POWER = 12


def names_in(*expressions: Basic) -> set[str]:
    """Every name that occurs: of symbols, sizes, matrices, families, functions and bound indices."""
    names: set[str] = set()
    for e in expressions:
        names |= {str(a.name) for a in e.atoms(Symbol, Str)}
        names |= {str(a.func.__name__) for a in e.atoms(AppliedUndef)}
    return names


class Indices:
    """Index names that are not taken yet, in a readable order.

    >>> Indices({"i"}).fresh()
    j
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)

    def fresh(self, letters: str = _LETTERS) -> Symbol:
        """A new index; one of the letters if one is left."""
        candidates = [*letters, *_LETTERS]
        name = next((c for c in candidates if c not in self._taken), None)
        number = 1
        while name is None:
            name = next((f"{c}{number}" for c in candidates if f"{c}{number}" not in self._taken), None)
            number += 1
        self._taken.add(name)
        return Symbol(name, integer=True, nonnegative=True)

    def of(self, shape: Sequence[Expr], letters: str = _LETTERS) -> tuple[Expr, Expr]:
        """Indices for the rows and columns of a shape; 0 where the size is one, and for a scalar."""
        if not shape:
            return S.Zero, S.Zero
        i, j = (S.Zero if n == 1 else self.fresh(letters[k:]) for k, n in enumerate(shape))
        return i, j

    def reserve(self, names: Iterable[str]) -> None:
        """Take names out of use."""
        self._taken |= set(names)


def element(m: Expr, i: Expr | int, j: Expr | int = 0) -> Expr:
    """The entry m[i, j] as a symbol of its own; a scalar is its own entry."""
    return MatrixElement(m, i, j) if is_matrix(m) else m


def total(term: Expr, *over: tuple[Expr, Expr]) -> Expr:
    """The sum of a term over indices with their sizes; an index that is the number 0 is not summed over."""
    limits = [(k, S.Zero, n - 1) for k, n in over if not k.is_Number]
    return Sum(term, *limits) if limits else term


def _times(*factors: Expr) -> Expr:
    with distribute(False):
        return Mul(*factors)


def _plus(*terms: Expr) -> Expr:
    with distribute(False):
        return Add(*terms)


# --- entries ---------------------------------------------------------------------------------------


def entry(e: Expr, i: Expr | int = 0, j: Expr | int = 0, indices: Indices | None = None) -> Expr:
    """The entry e[i, j] of a matrix expression, or the index form of a scalar.

    What has no formula for its entries (an inverse, a determinant) or a long one (softmax, a norm) stays as
    it is; `spelled` writes the latter out.

    >>> from symgrad.expr import matmul, matrix
    >>> W, X = matrix("W", "m", "n"), matrix("X", "n", "b")
    >>> p, q = Indices().of((1 + W.shape[0], X.shape[1]), "pq")
    >>> entry(matmul(W, X), p, q)
    Sum(W[p, k]*X[k, q], (k, 0, n - 1))
    """
    i, j = sympy.sympify(i), sympy.sympify(j)
    return _entry(e, i, j, indices or Indices(names_in(e, i, j)))


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


# --- derivatives -----------------------------------------------------------------------------------


def differentiate(
    e: Expr, wrt: Expr, p: Expr | int = 0, q: Expr | int = 0, indices: Indices | None = None
) -> Expr:
    """The derivative of an index expression by the entry wrt[p, q], or by a scalar; not contracted.

    p and q must not be bound in `e`. Raises UnsupportedError where an operation on `wrt` has no rule.

    >>> from symgrad.expr import matmul, matrix
    >>> W, X = matrix("W", "m", "n"), matrix("X", "n", "b")
    >>> ix = Indices()
    >>> i, j, p, q = (ix.fresh(c) for c in "ijpq")
    >>> differentiate(entry(matmul(W, X), i, j, ix), W, p, q, ix)
    Sum(KroneckerDelta(i, p)*KroneckerDelta(k, q)*X[k, j], (k, 0, n - 1))
    """
    p, q = sympy.sympify(p), sympy.sympify(q)
    ix = indices or Indices(names_in(e, wrt, p, q))
    bound = {k for s in e.atoms(Sum) for k in s.bound_symbols}
    if bound & (p.free_symbols | q.free_symbols):
        raise DeriveError(f"the indices {p}, {q} are bound in {e}")
    return _Derivative(wrt, p, q, ix).of(e)


@dataclass
class _Derivative:
    """The derivative by one entry of a variable."""

    wrt: Expr
    p: Expr
    q: Expr
    ix: Indices

    def of(self, e: Expr) -> Expr:
        if not self._depends(e):
            return S.Zero
        if e == self.wrt:
            return S.One
        if isinstance(e, Add):
            return _plus(*(self.of(t) for t in e.args))
        if isinstance(e, Mul):
            return _plus(*(_times(*e.args[:n], self.of(f), *e.args[n + 1 :]) for n, f in enumerate(e.args)))
        if isinstance(e, Pow):
            return self._power(e)
        if isinstance(e, Sum):
            if any(self._depends(b) for _, *bounds in e.limits for b in bounds):
                raise UnsupportedError(f"the range of {e} depends on {self.wrt}")
            inside = self.of(e.function)
            return S.Zero if inside is S.Zero else Sum(inside, *e.limits)
        if isinstance(e, MatrixElement):
            return self._element(e.parent, e.i, e.j)
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

    def _depends(self, e: Basic) -> bool:
        """Whether the variable occurs; another member of its family counts unless it is known to differ."""
        if not isinstance(self.wrt, Member | Indexed):
            return bool(e.has(self.wrt))
        return any(self._may_be_wrt(m) for m in e.atoms(type(self.wrt)))

    def _may_be_wrt(self, m: Expr) -> bool:
        if m.args[0] != self.wrt.args[0]:
            return False
        return not sympy.simplify(m.args[1] - self.wrt.args[1]).is_nonzero

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
        if m == self.wrt:
            return _times(KroneckerDelta(a, self.p), KroneckerDelta(b, self.q))
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
            raise UnsupportedError(f"components: whether {m} is {self.wrt} is not known")
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


# --- sums and deltas ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Term:
    """A product of factors, summed over the indices of `over` (index, size)."""

    factors: tuple[Expr, ...]
    over: tuple[tuple[Symbol, Expr], ...] = ()

    @property
    def names(self) -> set[str]:
        """Every name that occurs in it."""
        return names_in(*self.factors) | {k.name for k, _ in self.over}

    def times(self, other: Term) -> Term:
        """The product; where an index is bound in both it gets a new name in the other."""
        taken = self.names
        over: list[tuple[Symbol, Expr]] = []
        factors = other.factors
        mine = {k.name for k, _ in self.over}
        for k, n in other.over:
            if k.name in taken:
                fresh = Indices(taken | other.names | {x.name for x, _ in over}).fresh("klrstuv")
                factors = tuple(replace_index(f, k, fresh) for f in factors)
                k = fresh
            over.append((k, n))
        inner = names_in(*factors) | {k.name for k, _ in over}
        left, own = self.factors, self.over
        for k, _ in self.over:
            if k.name in inner and k.name in mine:
                fresh = Indices(taken | inner | {x.name for x, _ in own}).fresh("klrstuv")
                left = tuple(replace_index(f, k, fresh) for f in left)
                own = tuple((fresh if x == k else x, m) for x, m in own)
        return Term((*left, *factors), (*own, *over))


def replace_index(e: Expr, index: Expr, by: Expr) -> Expr:
    """The expression with a free index replaced; bound indices of the same name are left alone.

    >>> i, k, n = Symbol("i"), Symbol("k"), Symbol("n")
    >>> replace_index(i + Sum(i * k, (k, 0, n)), i, k)
    k + Sum(j*k, (j, 0, n))
    """
    if e == index:
        return by
    if index not in e.free_symbols:
        return e
    if isinstance(e, Sum):
        function, limits = e.function, list(e.limits)
        for n, (k, *bounds) in enumerate(limits):
            if k in by.free_symbols:
                fresh = Indices(names_in(e, by)).fresh()
                fresh = Symbol(fresh.name, **k.assumptions0)
                function = replace_index(function, k, fresh)
                limits[n] = (fresh, *bounds)
        limits = [(k, *(replace_index(b, index, by) for b in bounds)) for k, *bounds in limits]
        return Sum(replace_index(function, index, by), *limits)
    with distribute(False):
        return e.func(*(replace_index(a, index, by) if isinstance(a, Expr) else a for a in e.args))


def _has_delta(e: Expr) -> bool:
    """Whether a delta can come out of it by multiplying out, not only from inside a function."""
    if isinstance(e, KroneckerDelta):
        return True
    if isinstance(e, Sum):
        return _has_delta(e.function)
    return isinstance(e, Add | Mul) and any(_has_delta(a) for a in e.args)


def terms_of(e: Expr) -> list[Term]:
    """A sum of terms; sums inside a product are multiplied out only where they hold a delta.

    >>> from symgrad.expr import vector
    >>> x, i, n = vector("x", "n"), Symbol("i"), Symbol("n")
    >>> [len(t.factors) for t in terms_of(3 * x[i, 0] * (x[i, 0] + 1))]
    [3]
    """
    if isinstance(e, Add):
        return [t for a in e.args for t in terms_of(a)]
    if isinstance(e, Mul):
        products = [Term(())]
        for f in e.args:
            parts = [Term((f,))] if isinstance(f, Add) and not _has_delta(f) else terms_of(f)
            products = [a.times(b) for a in products for b in parts]
        return products
    if isinstance(e, Sum) and all(lower == 0 for _, lower, _ in e.limits):
        f = e.function
        parts = [Term((f,))] if isinstance(f, Add) and not _has_delta(f) else terms_of(f)
        return [_summed(t, e) for t in parts]
    return [] if e is S.Zero else [Term((e,))]


def _summed(term: Term, e: Sum) -> Term:
    over = tuple((k, upper + 1) for k, _, upper in e.limits)
    clash = {k for k, _ in over} & {k for k, _ in term.over}
    for k in clash:  # Sum(.. Sum(.., k) .., k): the inner index is another one
        fresh = Indices(term.names).fresh()
        raise_to = Symbol(fresh.name, **k.assumptions0)
        term = Term(
            tuple(replace_index(f, k, raise_to) for f in term.factors),
            tuple((raise_to if x == k else x, n) for x, n in term.over),
        )
    return Term(term.factors, (*over, *term.over))


def join(term: Term) -> Expr:
    """The term as a SymPy scalar, every factor under no more sums than it needs.

    A sum over an index that occurs nowhere is its size.
    """
    result = S.One
    remaining = list(term.factors)
    waiting = list(term.over)
    while waiting:
        group = {waiting[0][0]}
        while True:
            inside = [f for f in remaining if f.free_symbols & group]
            grown = group | {k for k, _ in waiting if any(k in f.free_symbols for f in inside)}
            if grown == group:
                break
            group = grown
        over = [(k, n) for k, n in waiting if k in group]
        waiting = [(k, n) for k, n in waiting if k not in group]
        outside = [f for f in remaining if not f.free_symbols & group]
        part = total(_times(*inside), *over) if inside else over[0][1]
        result, remaining = _times(result, part), outside
    return _times(*remaining, result)


def contract(e: Expr) -> Expr:
    """Sums over an index that a delta fixes are worked out, a sum of a constant gives the size.

    A delta of two free indices stays.

    >>> from symgrad.expr import matrix
    >>> W, ix = matrix("W", "m", "n"), Indices()
    >>> k, p, q = (ix.fresh(c) for c in "kpq")
    >>> contract(total(W[p, k] * KroneckerDelta(k, q), (k, W.shape[1])))
    W[p, q]
    """
    return _plus(*(join(_eliminate(t)) for t in terms_of(_inside(e))))


def _inside(e: Expr) -> Expr:
    """Contractions inside functions and powers."""
    if isinstance(e, Add | Mul | Sum):
        if not any(isinstance(n, Pow) or function_name(n) is not None for n in e.atoms(Expr, Pow)):
            return e
        with distribute(False):
            return e.func(*(_inside(a) if isinstance(a, Expr) else a for a in e.args))
    if (isinstance(e, Pow) or function_name(e) is not None) and e.has(Sum):
        with distribute(False):
            return e.func(*(contract(a) for a in e.args))
    return e


def _eliminate(term: Term) -> Term:
    factors, over = list(term.factors), list(term.over)
    while True:
        bound = [k for k, _ in over]
        found = next(
            (
                (f, k, other)
                for f in factors
                if isinstance(f, KroneckerDelta)
                for k, other in (f.args, f.args[::-1])
                if k in bound and (other.is_Symbol or other.is_Number)
            ),
            None,
        )
        if found is None:
            found = _turned(factors, over)
        if found is None:
            return Term(tuple(factors), tuple(over))
        delta, k, other = found
        factors.remove(delta)
        factors = [replace_index(f, k, other) for f in factors]
        over = [(x, n) for x, n in over if x != k]


def _turned(factors: list[Expr], over: list[tuple[Symbol, Expr]]) -> tuple[Expr, Symbol, Expr] | None:
    """A delta of n - 1 - k and p fixes k = n - 1 - p, which runs over the same range."""
    for f in factors:
        if isinstance(f, KroneckerDelta):
            for k, n in over:
                for side, other in (f.args, f.args[::-1]):
                    if same_size(side, n - 1 - k) and (other.is_Symbol or other.is_Number):
                        return f, k, n - 1 - other
    return None
