"""The entries of expressions, written in index notation: sums over letters, deltas, scalar functions.

Index expressions are those of `expr.tensors`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import sympy
from sympy import Add, Expr, KroneckerDelta, Mul, Pow, S, Sum
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

from symgrad.errors import UnsupportedError
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
    InRange,
    LogDet,
    LogSoftmax,
    LogSumExp,
    Norm,
    Softmax,
    TensorElement,
    TensorEntries,
    element,
    expression,
    is_matrix,
    is_scalar,
    is_tensor,
    names_in,
    replace_index,
    same_but_for_letters,
    total,
)
from symgrad.expr.entrywise import function_name
from symgrad.expr.functions import apply_scalar

__all__ = ["entry", "in_letters", "normalised_exponential", "plus", "spelled", "times"]


def times(*factors: Expr) -> Expr:
    """A product in which no number is spread over a sum."""
    with distribute(False):
        return Mul(*factors)


def plus(*terms: Expr) -> Expr:
    """A sum in which no number is spread over a sum."""
    with distribute(False):
        return Add(*terms)


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
    return times(*scalars, total(times(*factors), *zip(inner, sizes, strict=True)))


def _function_entry(e: Elementwise, i: Expr, j: Expr, ix: Indices) -> Expr:
    return apply_scalar(e.name, _entry(e.arg, i, j, ix), *(_scalar(p, ix) for p in e.parameters))


def _diagonal_matrix_entry(e: Expr, i: Expr, j: Expr, ix: Indices) -> Expr:
    return times(KroneckerDelta(i, j), _entry(e.args[0], i, S.Zero, ix))


def _correlation_entry(e: Expr, i: Expr, j: Expr, ix: Indices) -> Expr:
    x, w = e.args
    a, b = ix.of(w.shape, "abkl")
    return total(times(_entry(x, i + a, j + b, ix), _entry(w, a, b, ix)), (a, w.shape[0]), (b, w.shape[1]))


_ENTRIES: dict[type, Callable[[Expr, Expr, Expr, Indices], Expr]] = {
    MatMul: _product_entry,
    MatAdd: lambda e, i, j, ix: plus(*(_entry(t, i, j, ix) for t in e.args)),
    Transpose: lambda e, i, j, ix: _entry(e.arg, j, i, ix),
    HadamardProduct: lambda e, i, j, ix: times(*(_entry(f, i, j, ix) for f in e.args)),
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
    >>> from symgrad.expr import softmax, vector
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


_SPELLED = {LogDet: "logdet", Determinant: "det", Inverse: "inv", MatPow: "matrix_power"}


def in_letters(e: Expr, letters: Collection[Expr], indices: Indices) -> Expr:
    """A scalar in which every array that a letter stands in, or that is given by its entries, is written by entries.

    So the product of the row A[i, :] and x becomes the sum of A[i, k] x[k] over k; arrays without letters stay whole.

    Raises UnsupportedError for a function of such an array that has no formula in entries.

    >>> from sympy import Symbol
    >>> from symgrad.expr import inner, matrix, vector
    >>> A, x, ix = matrix("A", "m", "n"), vector("x", "n"), Indices("x")
    >>> i, k = ix.fresh("i"), ix.fresh("k")
    >>> in_letters(inner(Entries(A[i, k], k, 0, x.shape[0], 1), x), [i], ix)
    Sum(A[i, l]*x[l, 0], (l, 0, n - 1))
    """
    open_letters = set(letters)

    def changes(node: Expr) -> bool:
        return bool(node.free_symbols & open_letters) or node.has(Entries, TensorEntries)

    def written(node: Expr) -> Expr:
        if not changes(node) or isinstance(node, KroneckerDelta | InRange):
            return node
        if isinstance(node, EntryMax):
            return _largest(node.arg)
        if isinstance(node, Add | Mul | Pow) or function_name(node) is not None:
            if isinstance(node, Pow) and isinstance(node.base, Norm) and node.exp == 2:
                return written(_squares(node.base.arg, indices))
            with distribute(False):
                return node.func(*(written(a) for a in node.args))
        if isinstance(node, Sum):
            return Sum(written(node.function), *node.limits)
        if isinstance(node, MatrixElement | TensorElement):
            array, places = node.args[0], node.args[1:]
            if not changes(array):
                return node
            if isinstance(array, AxisMax):
                at = places[0]
                k = indices.fresh("klrst")
                line = (k, at) if array.axis == 0 else (at, k)
                n = array.arg.shape[array.axis]
                return EntryMax(
                    Entries(written(entry(array.arg, *line, indices=indices)), k, S.Zero, n, S.One)
                )
        found = spelled(entry(node, *(), indices=indices), indices)
        if found == node:
            what = node.args[0] if isinstance(node, MatrixElement | TensorElement) else node
            called = _SPELLED.get(type(what), type(what).__name__)
            raise UnsupportedError(
                f"{called} of an array that changes with an index has no formula in entries",
                hint="what stands inside it may not hold an index: give it as a whole, or write its entries",
            )
        return written(found)

    def _largest(array: Expr) -> Expr:
        if isinstance(array, Entries):
            return EntryMax(Entries(written(array.body), *array.args[1:]))
        i, j = indices.of(array.shape, "klrst")
        return EntryMax(Entries(written(entry(array, i, j, indices=indices)), i, j, *array.shape))

    return written(e)


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
        if k not in above.free_symbols and same_but_for_letters(replace_index(above, j, k), below.function):
            return above.args[0], j, (lower, upper)
    return None
