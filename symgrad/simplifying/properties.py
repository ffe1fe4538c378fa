"""What is known of an expression: symmetric, positive, rows that sum to one, an inverse that exists."""

from __future__ import annotations

from sympy import Expr
from sympy.matrices.expressions.diagonal import DiagMatrix
from sympy.matrices.expressions.hadamard import HadamardPower, HadamardProduct
from sympy.matrices.expressions.inverse import Inverse
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.matpow import MatPow
from sympy.matrices.expressions.special import Identity, OneMatrix
from sympy.matrices.expressions.transpose import Transpose

from symgrad.expr import (
    Assumptions,
    Elementwise,
    Softmax,
    is_column,
    is_leaf,
    is_scalar,
    leaf_name,
    same_size,
    split_scale,
    transpose,
)

__all__ = ["Properties"]

_SUM_TO_ONE = {
    None: {"prob", "sums_to_one", "onehot"},
    0: {"prob_cols", "onehot_cols"},
    1: {"prob_rows", "onehot_rows"},
}


class Properties:
    """Answers questions about expressions from the declared assumptions.

    `used` collects the assumptions that mattered; `centred` are the names of what has its mean taken off.
    What is known of the value of a definition is known of its name, once it has been learnt.
    """

    def __init__(self, assumptions: Assumptions) -> None:
        self.assumptions = assumptions
        self.used: set[tuple[str, str]] = set()
        self.centred: set[Expr] = set()
        self._learnt: dict[tuple[Expr, str], set[tuple[str, str]]] = {}  # with the assumptions it rests on

    def learn(self, name: Expr, value: Expr) -> None:
        """Remember what is known of the value of a definition."""
        before = self.used
        for word, is_so in (
            ("symmetric", self.is_symmetric),
            ("diagonal", self.is_diagonal),
            ("positive", self.is_positive),
            ("sums_to_one", lambda m: is_column(m) and self.sums_to_one(m, None)),
            ("prob_rows", lambda m: self.sums_to_one(m, 1)),
            ("prob_cols", lambda m: self.sums_to_one(m, 0)),
        ):
            self.used = set()
            if is_so(value):
                self._learnt[name, word] = self.used
        self.used = before

    def assumed(self, e: Expr, *words: str) -> bool:
        """Whether one of the words is assumed of a leaf."""
        if not is_leaf(e):
            return False
        name = leaf_name(e)
        for word in words:
            if word in self.assumptions.get(name, ()):
                self.used.add((name, word))
                return True
            if (e, word) in self._learnt:
                self.used |= self._learnt[e, word]
                return True
        return False

    def is_symmetric(self, m: Expr) -> bool:
        """Whether m^T = m is known."""
        if is_leaf(m):
            return self.assumed(m, "symmetric", "positive_definite", "diagonal")
        if isinstance(m, Identity | DiagMatrix):
            return True
        if isinstance(m, OneMatrix):
            return same_size(*m.shape)
        if isinstance(m, Inverse | Transpose):
            return self.is_symmetric(m.arg)
        if isinstance(m, MatPow | HadamardPower):
            return self.is_symmetric(m.args[0])
        if isinstance(m, Elementwise):
            return self.is_symmetric(m.arg)
        if isinstance(m, MatAdd | HadamardProduct):
            if all(self.is_symmetric(a) for a in m.args):
                return True
            return isinstance(m, MatAdd) and set(m.args) == {transpose(a) for a in m.args}
        if isinstance(m, MatMul):
            _, rest = split_scale(m)
            if not isinstance(rest, MatMul):
                return self.is_symmetric(rest)
            return self.is_palindrome(rest.args)
        return False

    def is_palindrome(self, factors: tuple[Expr, ...]) -> bool:
        """Whether a product reads the same transposed: X^T S X with a symmetric S."""
        while len(factors) >= 2:
            if transpose(factors[0]) != factors[-1]:
                return False
            factors = factors[1:-1]
        return not factors or self.is_symmetric(factors[0])

    def is_diagonal(self, m: Expr) -> bool:
        """Whether all entries beside the diagonal are known to be zero."""
        if isinstance(m, Identity | DiagMatrix):
            return True
        if isinstance(m, Inverse | Transpose | MatPow):
            return self.is_diagonal(m.args[0])
        if isinstance(m, MatAdd | MatMul):
            return all(is_scalar(a) or self.is_diagonal(a) for a in m.args)
        if isinstance(m, HadamardProduct):
            return any(self.is_diagonal(a) for a in m.args)
        return is_leaf(m) and self.assumed(m, "diagonal")

    def is_invertible(self, m: Expr) -> bool:
        """Whether an inverse is known to exist."""
        if isinstance(m, Inverse | Identity):
            return True
        if isinstance(m, Transpose):
            return self.is_invertible(m.arg)
        return self.assumed(m, "invertible", "positive_definite", "orthogonal")

    def is_binary(self, m: Expr) -> bool:
        """Whether all entries are 0 or 1."""
        return self.assumed(m, "binary", "onehot", "onehot_rows", "onehot_cols")

    def has_signs(self, m: Expr) -> bool:
        """Whether all entries are 1 or -1."""
        return self.assumed(m, "pm1")

    def is_positive(self, m: Expr) -> bool:
        """Whether all entries are known to be positive."""
        if isinstance(m, Softmax | OneMatrix):
            return True
        if isinstance(m, Elementwise):
            return m.name in ("exp", "sigmoid", "softplus", "cosh")
        if isinstance(m, HadamardProduct | MatMul | MatAdd):
            return all(bool(a.is_positive) if is_scalar(a) else self.is_positive(a) for a in m.args)
        if isinstance(m, HadamardPower | Transpose):
            return self.is_positive(m.args[0])
        return self.assumed(m, "positive", "in01")

    def sums_to_one(self, m: Expr, axis: int | None) -> bool:
        """Whether the entries sum to one: all of a vector (axis None), or along an axis of a matrix."""
        if isinstance(m, Softmax):
            return axis is None or m.axis == axis
        if isinstance(m, Transpose) and axis is not None:
            return self.sums_to_one(m.arg, 1 - axis)
        return self.assumed(m, *_SUM_TO_ONE[axis])
