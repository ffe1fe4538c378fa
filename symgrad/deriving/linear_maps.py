"""Reading a linear map off an expression that is linear in one symbol.

Three forms of one thing: e = M x for vectors, e = tr(A X) for a scalar e, vec(e) = M vec(X) for matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sympy import Add, Expr, Mul, S
from sympy.matrices.expressions.diagonal import DiagMatrix, DiagonalOf
from sympy.matrices.expressions.hadamard import HadamardProduct
from sympy.matrices.expressions.kronecker import KroneckerProduct
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.trace import Trace
from sympy.matrices.expressions.transpose import Transpose

from symgrad.expr import (
    AsScalar,
    EntrySum,
    MatrixSum,
    Vec,
    add,
    commutation,
    diag,
    eye,
    hadamard,
    is_column,
    is_leaf,
    is_matrix,
    is_scalar,
    kron,
    matmul,
    ones,
    scale,
    trace,
    transpose,
    vec,
    zeros,
)

__all__ = ["linear_factor", "trace_factor", "vec_factor"]


def linear_factor(e: Expr, x: Expr) -> Expr | None:
    """M with e = M x for a vector, matrix or scalar x; None where there is no such matrix.

    For a scalar e the factor is a row.

    >>> from symgrad.expr import matrix, vector
    >>> A, v, x = matrix("A", "n", "n"), vector("v", "n"), vector("x", "n")
    >>> linear_factor(matmul(A, hadamard(v, x)), x)
    A*DiagMatrix(v)
    """
    return _Linear(x).factor(e)


def trace_factor(e: Expr, x: Expr) -> Expr | None:
    """A with e = tr(A x) for a scalar e (e = A x for a scalar x); None where there is none.

    >>> from symgrad.expr import matrix
    >>> A, X = matrix("A", "m", "n"), matrix("X", "m", "n")
    >>> trace_factor(trace(matmul(transpose(A), X)), X)
    A.T
    """
    return _Linear(x).traced(e, S.One) if is_scalar(e) else None


def vec_factor(e: Expr, x: Expr) -> Expr | None:
    """M with vec(e) = M vec(x), by Kronecker products and commutation matrices; None where there is none.

    Magnus and Neudecker (2019), chapter 3: vec(A X B) = (B^T kron A) vec(X), vec(X^T) = K vec(X).

    >>> from symgrad.expr import matrix
    >>> A, X, B = matrix("A", "p", "m"), matrix("X", "m", "n"), matrix("B", "n", "q")
    >>> vec_factor(matmul(A, X, B), X)
    KroneckerProduct(B.T, A)
    """
    return _Linear(x).stacked(e)


class _Linear:
    """Expressions that are linear in x; what they hold of x is looked at once."""

    def __init__(self, x: Expr) -> None:
        self.x = x
        self._holds: dict[Expr, bool] = {x: True}

    def holds(self, e: Expr) -> bool:
        """Whether x occurs in it."""
        if e not in self._holds:
            self._holds[e] = not is_leaf(e) and any(self.holds(a) for a in e.args if isinstance(a, Expr))
        return self._holds[e]

    def _only(self, e: Expr) -> tuple[tuple[Expr, ...], Expr, tuple[Expr, ...]] | None:
        """The one argument that holds x, between those before it and those after it."""
        held = [i for i, a in enumerate(e.args) if isinstance(a, Expr) and self.holds(a)]
        if len(held) != 1:
            return None
        return e.args[: held[0]], e.args[held[0]], e.args[held[0] + 1 :]

    # --- e = M x ---------------------------------------------------------------------------------------

    def factor(self, e: Expr) -> Expr | None:
        """M with e = M x."""
        if e == self.x:
            return eye(e.shape[0]) if is_matrix(e) else S.One
        if not self.holds(e):
            return None
        if isinstance(e, MatAdd | Add):
            return _sum(self.factor(a) for a in e.args)
        if (parts := self._only(e)) is None:
            return None
        before, at, after = parts
        if isinstance(e, MatMul):
            return self._product(before, at, after)
        if isinstance(e, Mul):  # after MatMul, which SymPy derives from it
            return _then(self.factor(at), lambda m: scale(Mul(*before, *after), m))
        if isinstance(e, HadamardProduct) and is_column(e):
            return _then(self.factor(at), lambda m: matmul(diag(hadamard(*before, *after)), m))
        if isinstance(e, AsScalar):
            return self.factor(at) if is_column(self.x) else None
        if type(e) is EntrySum and is_column(at):
            return _then(self.factor(at), lambda m: matmul(transpose(ones(at.shape[0])), m))
        if isinstance(e, KroneckerProduct) and all(is_column(a) for a in e.args):
            return _then(self.factor(at), lambda m: kron(*before, m, *after))
        return None

    def _product(self, before: tuple[Expr, ...], at: Expr, after: tuple[Expr, ...]) -> Expr | None:
        """A product with x in one factor: A (.. x ..), or a scalar of x times a vector, or x^T A as a column."""
        if is_scalar(at):
            rest = matmul(*before, *after)
            row = self.factor(at)
            if row is None or not is_matrix(row) or not is_column(rest):
                return None if row is None or is_matrix(row) else scale(row, rest)
            return matmul(rest, row)
        if not after:
            return _then(self.factor(at), lambda m: matmul(*before, m))
        tail = matmul(*after)
        if is_scalar(tail) or not is_column(tail):
            return None
        if isinstance(at, Transpose) and is_column(at.arg):  # v (u(x)^T w) = v w^T u(x)
            return _then(self.factor(at.arg), lambda m: matmul(*before, transpose(tail), m))
        if isinstance(at, DiagMatrix):  # diag(u(x)) w = diag(w) u(x)
            return _then(self.factor(at.args[0]), lambda m: matmul(*before, diag(tail), m))
        if isinstance(at, MatAdd):
            return _sum(self.factor(matmul(*before, t, tail)) for t in at.args)
        if isinstance(at, MatMul):
            return self.factor(matmul(*before, *at.args, tail)) if len(before) + len(at.args) > 1 else None
        return None

    # --- e = tr(A x) -----------------------------------------------------------------------------------

    def traced(self, s: Expr, weight: Expr) -> Expr | None:
        """A with weight * s = tr(A x)."""
        if s == self.x:
            return weight
        if not self.holds(s):
            return S.Zero if is_scalar(self.x) else zeros(self.x.shape[1], self.x.shape[0])
        if isinstance(s, Add):
            return _sum(self.traced(t, weight) for t in s.args if self.holds(t))
        if (parts := self._only(s)) is None:
            return None
        before, at, after = parts
        if isinstance(s, Mul):
            return self.traced(at, Mul(weight, *before, *after))
        if isinstance(s, AsScalar):
            return self._traced_matrix(at, weight)
        if type(s) is EntrySum:
            return self._traced_matrix(at, scale(weight, ones(at.shape[1], at.shape[0])))
        if isinstance(s, Trace):
            return self._traced_matrix(at, scale(weight, eye(at.shape[0])))
        return None

    def _traced_matrix(self, m: Expr, a: Expr) -> Expr | None:
        """The factor of x in tr(a m); a is a scalar where m is 1 x 1."""
        if m == self.x:
            return a
        if isinstance(m, MatAdd):
            return _sum(self._traced_matrix(t, a) for t in m.args if self.holds(t))
        if (parts := self._only(m)) is None:
            return None
        before, at, after = parts
        if isinstance(m, MatMul):
            if is_scalar(at):
                inside = matmul(a, *before, *after)
                return self.traced(at, inside if is_scalar(inside) else trace(inside))
            return self._traced_matrix(at, matmul(*after, a, *before))  # tr(A P N Q) = tr(Q A P N)
        if isinstance(m, Transpose):
            return self._traced_matrix(at, transpose(a))  # tr(A N^T) = tr(A^T N)
        if isinstance(m, HadamardProduct):
            return self._traced_matrix(at, hadamard(a, transpose(hadamard(*before, *after))))
        if isinstance(m, DiagMatrix):
            return self._traced_matrix(at, transpose(diag(a)))
        if isinstance(m, DiagonalOf):
            return self._traced_matrix(at, diag(transpose(a)))
        return None

    # --- vec(e) = M vec(x) -----------------------------------------------------------------------------

    def stacked(self, e: Expr) -> Expr | None:
        """M with vec(e) = M vec(x)."""
        if e == self.x:
            return eye(e.shape[0] * e.shape[1]) if is_matrix(e) else S.One
        if not self.holds(e):
            return None
        if is_scalar(e):  # tr(A X) = vec(A^T)^T vec(X)
            return _then(self.traced(e, S.One), lambda a: transpose(vec(transpose(a))))
        if isinstance(e, MatAdd):
            return _sum(self.stacked(t) for t in e.args)
        if (parts := self._only(e)) is None:
            return None
        before, at, after = parts
        if isinstance(e, MatMul):
            rest = matmul(*before, *after) if is_scalar(at) else None
            if rest is not None:
                return _then(self.stacked(at), lambda row: matmul(vec(rest), row))
            c = [f for f in before if is_scalar(f)]
            left = matmul(*before[len(c) :]) if len(before) > len(c) else eye(at.shape[0])
            right = matmul(*after) if after else eye(at.shape[1])
            if is_scalar(left) or is_scalar(right):
                return None
            return _then(self.stacked(at), lambda m: matmul(*c, _pair(transpose(right), left), m))
        if isinstance(e, Transpose):
            if 1 in at.shape:
                return self.stacked(at)
            return _then(self.stacked(at), lambda m: matmul(commutation(*at.shape), m))
        if isinstance(e, HadamardProduct):
            return _then(self.stacked(at), lambda m: matmul(diag(vec(hadamard(*before, *after))), m))
        if isinstance(e, Vec):
            return self.stacked(at)
        if isinstance(e, KroneckerProduct) and len(e.args) == 2:
            return _then(self.stacked(at), lambda m: self._kronecker(e, bool(before), m))
        if isinstance(e, MatrixSum) and not e.bounds[1].has(self.x):
            return _then(self.stacked(e.body), lambda m: MatrixSum(m, e.index, *e.bounds))
        return None

    def _kronecker(self, e: Expr, second: bool, m: Expr) -> Expr:
        """vec(A kron B) = (I kron K kron I)(vec A kron vec B), Magnus and Neudecker (2019), theorem 3.10."""
        a, b = e.args
        spread = _pair(_pair(eye(a.shape[1]), commutation(b.shape[1], a.shape[0])), eye(b.shape[0]))
        held = b if second else a
        size = eye(held.shape[0] * held.shape[1])
        inside = _pair(vec(a), size) if second else _pair(size, vec(b))
        return matmul(spread, inside, m)


def _pair(a: Expr, b: Expr) -> Expr:
    """Their Kronecker product, where a factor of one entry that is one is no factor."""
    if is_matrix(a) and a.shape == (1, 1):
        return b
    return a if is_matrix(b) and b.shape == (1, 1) else kron(a, b)


def _then(m: Expr | None, make: Callable[[Expr], Expr]) -> Expr | None:
    return None if m is None else make(m)


def _sum(parts: Iterable[Expr | None]) -> Expr | None:
    known = list(parts)
    return None if any(p is None for p in known) else add(*(p for p in known if p is not None))
