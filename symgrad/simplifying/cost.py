"""How long a formula is: the operations that a reader counts.

One for every product, sum, transpose, inverse, function and power; a minus sign, a division and a vector
laid on its side for an inner product are part of the operation they stand in.
"""

from __future__ import annotations

from collections.abc import Iterator

from sympy import Add, Expr, Mul, Pow, Rational, S
from sympy.core.symbol import Str
from sympy.matrices.expressions.hadamard import HadamardPower, HadamardProduct
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.special import OneMatrix
from sympy.matrices.expressions.transpose import Transpose

from symgrad.expr import AsScalar, Gradient, ScalarGradient, is_column, is_leaf, is_scalar

__all__ = ["Cost", "operations"]


class Cost:
    """Counts operations; each distinct subexpression is looked at once.

    >>> from symgrad.expr import matmul, matrix, transpose, vector
    >>> X, r = matrix("X", "n", "d"), vector("r", "n")
    >>> Cost()(matmul(2, transpose(X), r))
    3
    """

    def __init__(self) -> None:
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
            waiting = [a for a in _operands(node) if a not in known]
            if waiting:
                stack.extend(waiting)
                continue
            stack.pop()
            known[node] = self._own(node) + sum(known[a] for a in _operands(node))
        return known[e]

    def _own(self, e: Expr) -> int:
        if isinstance(e, Add | MatAdd):
            return len(e.args) - 1
        if isinstance(e, Mul | MatMul | HadamardProduct):
            return max(0, sum(a is not S.NegativeOne for a in e.args) - 1)
        if isinstance(e, AsScalar) or is_leaf(e) or isinstance(e, Gradient | ScalarGradient):
            return 0
        if isinstance(e, Transpose):
            return 0 if is_column(e.arg) else 1
        if isinstance(e, Pow | HadamardPower):
            return 0 if e.args[1] is S.NegativeOne else 1  # a reciprocal is the division it stands in
        if isinstance(e, Rational):
            return 0 if e.is_Integer or abs(e.p) == 1 else 1
        return 1 if e.args else 0


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
