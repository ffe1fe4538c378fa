"""How long a formula is: the operations that a reader counts.

One for every product, quotient, sum, transpose, inverse, function and power; a minus sign and a vector laid on its side
for an inner product are part of the operation they stand in.
"""

from __future__ import annotations

from collections.abc import Iterator

from sympy import Add, Expr, Mul, Pow, Rational, S
from sympy.core.symbol import Str
from sympy.matrices.expressions.hadamard import HadamardPower, HadamardProduct
from sympy.matrices.expressions.kronecker import KroneckerProduct
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.special import Identity, OneMatrix, ZeroMatrix
from sympy.matrices.expressions.transpose import Transpose

from symgrad.expr import (
    AsScalar,
    EntrySum,
    Gradient,
    ScalarGradient,
    is_column,
    is_leaf,
    is_scalar,
    split_scale,
)

__all__ = ["Cost", "operations"]


class Cost:
    """Counts operations; each distinct subexpression is looked at once.

    An identity matrix counts, except in a sum that the question says itself: W (W^T W - I) may stay so.

    >>> from symgrad.expr import matmul, matrix, transpose, vector
    >>> X, r = matrix("X", "n", "d"), vector("r", "n")
    >>> Cost()(matmul(2, transpose(X), r))
    3
    """

    def __init__(self, said: frozenset[Expr] = frozenset()) -> None:
        self._said = said
        self._known: dict[Expr, int] = {}

    def __call__(self, e: Expr) -> int:
        """The number of operations, shared parts counted at every use."""
        known = self._known
        stack = [e]
        while stack:
            node = stack[-1]
            if node in known:
                stack.pop()
                continue
            operands = list(_operands(node))
            if node in self._said:
                operands = [a for a in operands if not isinstance(split_scale(a)[1], Identity)]
            waiting = [a for a in operands if a not in known]
            if waiting:
                stack.extend(waiting)
                continue
            stack.pop()
            known[node] = self._own(node) + sum(known[a] for a in operands)
        return known[e]

    def _own(self, e: Expr) -> int:
        if isinstance(e, Add | MatAdd):
            return len(e.args) - 1
        if isinstance(e, Mul | MatMul | HadamardProduct):
            above = sum(a is not S.NegativeOne and not _divides(a) for a in e.args)
            # A division stands for the product with a reciprocal, and a sum over its number of terms is a mean.
            return max(0, above - 1) - _is_mean(e)
        if is_leaf(e) or isinstance(e, AsScalar | Gradient | ScalarGradient | OneMatrix | ZeroMatrix):
            return 0
        if isinstance(e, KroneckerProduct):  # everybody writes that of a column and a row as their product
            thin = any(a.shape[1] == 1 for a in e.args) and any(a.shape[0] == 1 for a in e.args)
            return len(e.args) - 1 + thin
        if isinstance(e, Transpose):
            return 0 if is_column(e.arg) else 1
        if isinstance(e, Pow | HadamardPower):
            return 1 + (_divides(e) and e.args[1] is not S.NegativeOne)  # 1 / x, x^2, 1 / x^2
        if isinstance(e, Rational):
            return 0 if e.is_Integer or abs(e.p) == 1 else 1
        return 1 if e.args else 0


def _is_mean(e: Expr) -> bool:
    """Whether a product holds sum(x) / n for a vector x of n entries, X 1 / n or 1 1^T X / n."""
    factors = [f for a in e.args for f in Mul.make_args(a) if is_scalar(f)]
    sums = [f.arg.shape[0] for f in factors if isinstance(f, EntrySum) and is_column(f.arg)]
    if isinstance(e, MatMul) and isinstance(e.args[-1], OneMatrix) and is_column(e) and len(e.args) == 3:
        sums.append(e.args[-1].shape[0])
    if isinstance(e, MatMul) and len(e.args) > 2 and isinstance(e.args[1], OneMatrix):
        sums.append(e.args[1].shape[1])  # 1 1^T X / n: the mean of the rows in every row
    return any(Pow(n, -1) in factors for n in sums)


def _divides(e: Expr) -> bool:
    """Whether a factor stands below the line."""
    return isinstance(e, Pow | HadamardPower) and bool(e.args[1].could_extract_minus_sign())


def _operands(e: Expr) -> Iterator[Expr]:
    """The parts whose operations count."""
    if is_leaf(e) or isinstance(e, Gradient | ScalarGradient):
        return
    for a in e.args:
        if isinstance(a, Str) or not isinstance(a, Expr):
            continue
        if isinstance(e, MatAdd) and isinstance(a, OneMatrix):
            continue
        if isinstance(e, OneMatrix) or (is_scalar(a) and a.is_Integer):
            continue
        yield a


def operations(e: Expr) -> int:
    """The number of operations in an expression."""
    return Cost()(e)
