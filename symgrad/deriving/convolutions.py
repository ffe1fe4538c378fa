"""Sums over shifted indices with a name: valid correlation and full convolution of vectors and of matrices.

correlation        out[p] = sum_k x[p + k] w[k]             p from 0 to the last place that fits
... with w turned  out[p] = sum_k x[p - k + |w| - 1] w[k]
... turned itself  out[p] = sum_k x[k + |out| - 1 - p] w[k]
full convolution   out[p] = sum_k x[p - k] w[k]             x zero outside its range
... with w turned  out[p] = sum_k x[p + k - |w| + 1] w[k]
(Goodfellow, Bengio and Courville 2016, section 9.1)
"""

from __future__ import annotations

import sympy
from sympy import Expr
from sympy.matrices.expressions.matexpr import MatrixElement

from symgrad.deriving.deltas import Term
from symgrad.expr import InRange, convolve, correlate, flip, same_size, scale

__all__ = ["convolution"]


def convolution(term: Term, free: tuple[Expr, Expr], shape: tuple[Expr, Expr]) -> Expr | None:
    """The correlation or convolution whose entries at the free indices are the term; None if it is none.

    >>> from symgrad.expr import Indices, vector
    >>> x, w, ix = vector("x", "n"), vector("w", "m"), Indices()
    >>> p, k = ix.fresh("p"), ix.fresh("k")
    >>> term = Term((x[p + k, 0], w[k, 0]), ((k, w.shape[0]),))
    >>> convolution(term, (p, sympy.S.Zero), (x.shape[0] - w.shape[0] + 1, sympy.S.One))
    Correlate(x, w)
    """
    letters = {k for k in free if not k.is_Number} | {k for k, _ in term.over}
    inside = [f for f in term.factors if f.free_symbols & letters]
    arrays = [f for f in inside if isinstance(f, MatrixElement)]
    ranges = [f for f in inside if isinstance(f, InRange)]
    if len(arrays) != 2 or len(arrays) + len(ranges) < len(inside) or not term.over:
        return None
    factor = sympy.Mul(*(f for f in term.factors if f not in inside))
    for x, w in (arrays, arrays[::-1]):
        made = _made(x, w, ranges, term, free, shape)
        if made is not None:
            return scale(factor, made)
    return None


def _made(
    x: MatrixElement,
    w: MatrixElement,
    ranges: list[Expr],
    term: Term,
    free: tuple[Expr, Expr],
    shape: tuple[Expr, Expr],
) -> Expr | None:
    """The array for x as the signal and w as the kernel."""
    waiting = dict(term.over)
    kinds = set()
    for axis in (0, 1):
        places = (x.args[1 + axis], w.args[1 + axis])
        sizes = (x.args[0].shape[axis], w.args[0].shape[axis], shape[axis])
        if places == (0, 0) and free[axis].is_Number:
            continue
        letters = [k for k in waiting if places[1].has(k) and same_size(waiting[k], sizes[1])]
        if len(letters) != 1 or free[axis].is_Number:
            return None
        del waiting[letters[0]]
        kinds.add(_kind(letters[0], free[axis], places, sizes, ranges))
    if waiting or len(kinds) != 1 or None in kinds:
        return None
    kind = kinds.pop()
    used = {InRange(p, n) for p, n in zip(x.args[1:], x.args[0].shape, strict=True)}
    if set(ranges) - (used if kind in ("full", "full turned") else set()):
        return None
    signal, kernel = x.args[0], w.args[0]
    if kind in ("turned", "full turned"):
        kernel = flip(kernel)
    if kind in ("full", "full turned"):
        return convolve(signal, kernel)
    return flip(correlate(signal, kernel)) if kind == "backwards" else correlate(signal, kernel)


def _kind(
    k: Expr, p: Expr, places: tuple[Expr, Expr], sizes: tuple[Expr, Expr, Expr], ranges: list[Expr]
) -> str | None:
    """What one axis is: `valid`, `turned` (the kernel), `backwards` (the result), `full` or `full turned`."""
    at, of_kernel = places
    signal, kernel, out = sizes
    if of_kernel != k:  # the kernel read from its end: count from there
        if not same_size(of_kernel, kernel - 1 - k):
            return None
        at = sympy.expand(at.xreplace({k: kernel - 1 - k}))
    fits = same_size(out, signal - kernel + 1)
    if same_size(at, p + k) and fits:
        return "valid"
    if same_size(at, p - k + kernel - 1) and fits:
        return "turned"
    if same_size(at, k + out - 1 - p) and fits:
        return "backwards"
    if InRange(places[0], signal) in ranges and same_size(out, signal + kernel - 1):
        if same_size(at, p - k):
            return "full"
        if same_size(at, p + k - kernel + 1):
            return "full turned"
    return None
