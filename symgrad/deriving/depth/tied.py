"""A parameter that all layers share: the sum over the layers, closed where it can be.

sum_{l} M^(L-l) c                    a geometric sum, (I - M)^-1 (I - M^n) c
sum_{l} (W^T)^(L-l) g x^T (W^T)^(l-1)  with W = Q diag(lam) Q^T: divided differences (Daleckii and Krein 1965)
"""

from __future__ import annotations

from sympy import Expr, Mul, Pow, S, Sum, Symbol
from sympy.matrices.expressions.matmul import MatMul

from symgrad.deriving.backprop import Tidy
from symgrad.deriving.depth.closed import counter
from symgrad.deriving.depth.record import DepthSweep
from symgrad.expr import (
    Loop,
    MatrixSum,
    Model,
    add,
    eye,
    gradient,
    inverse,
    is_leaf,
    is_matrix,
    is_scalar,
    matmul,
    matpower,
    negate,
    transpose,
    zeros,
)

__all__ = ["close_shared"]


def close_shared(
    out: DepthSweep, model: Model, term: Expr, loop: Loop, premise: int, avoid: set[str], tidy: Tidy
) -> Expr | None:
    """A shorter form of the sum over the layers of a term, with its proof; None if there is none."""
    return _geometric(out, term, loop, premise, avoid, tidy)


def _geometric(
    out: DepthSweep, term: Expr, loop: Loop, premise: int, avoid: set[str], tidy: Tidy
) -> Expr | None:
    """sum_l M^(L-l) c = (sum_{k<n} M^k) c for a c that does not depend on the layer, n the number of layers.

    Closed as (I - M)^-1 (I - M^n) c, with the proof by induction on n, where I - M is invertible.
    """
    split = _power_times_constant(term, loop)
    if split is None:
        return None
    base, rest = split
    n = loop.upper - loop.lower + 1
    k = counter([loop.index], avoid)
    if is_scalar(base):
        total = Sum(Pow(base, k), (k, 0, n - 1))
        closed = (1 - base**n) / (1 - base)
        number = out.record("depth.geometric", (gradient(out.f, out.wrt), matmul(total, rest)), [premise])
        _geometric_proof(out, base, S.One, k, number)
        result = tidy(matmul(closed, rest))
        out.record(
            "depth.geometric_closed",
            (gradient(out.f, out.wrt), result),
            [number, number + 1, number + 2],
            base=base,
        )
        return matmul(total, rest)
    size = base.shape[0]
    total = MatrixSum(matpower(base, k), k, 0, n - 1)
    number = out.record("depth.geometric", (gradient(out.f, out.wrt), matmul(total, rest)), [premise])
    _geometric_proof(out, base, eye(size), k, number)
    gap = add(eye(size), negate(base))
    closed = matmul(inverse(gap), add(eye(size), negate(matpower(base, n))), rest)
    out.record(
        "depth.geometric_closed",
        (gradient(out.f, out.wrt), closed),
        [number, number + 1, number + 2],
        base=base,
    )
    return matmul(total, rest)


def _geometric_proof(out: DepthSweep, base: Expr, one: Expr, k: Symbol, premise: int) -> None:
    """(I - M) sum_{k<n} M^k = I - M^n: true for n = 0, and one more term keeps it true."""
    n = Symbol("n_", integer=True, nonnegative=True)
    power = matpower if is_matrix(base) else Pow

    def total(upper: Expr) -> Expr:
        body = power(base, k)
        return MatrixSum(body, k, S.Zero, upper) if is_matrix(base) else Sum(body, (k, 0, upper))

    gap = add(one, negate(base))
    nothing = zeros(*one.shape) if is_matrix(one) else S.Zero
    out.record("depth.geometric_base", (matmul(gap, total(S.NegativeOne)), nothing), [premise])
    claim = add(one, negate(power(base, n)))
    out.record(
        "depth.geometric_step",
        (
            matmul(gap, total(n)),
            add(matmul(gap, total(n - 1)), matmul(gap, power(base, n))),
            add(claim, matmul(gap, power(base, n))),
            add(one, negate(power(base, n + 1))),
        ),
        [premise],
        given={matmul(gap, total(n - 1)): claim},
    )


def _power_times_constant(term: Expr, loop: Loop) -> tuple[Expr, Expr] | None:
    """(M, c) if the term is M^(upper - l) c with M and c free of the layer's index."""
    factors = list(term.args) if isinstance(term, Mul | MatMul) else [term]
    dependent = [f for f in factors if f.has(loop.index)]
    if len(dependent) != 1:
        return None
    power = dependent[0]
    turned = power.args and not isinstance(power, Pow) and is_matrix(power) and hasattr(power, "arg")
    inner = power.arg if turned else power
    if len(inner.args) != 2 or inner.args[0].has(loop.index) or is_leaf(inner):
        return None
    base, exponent = inner.args
    if (exponent - (loop.upper - loop.index)).expand() != 0:
        return None
    if is_scalar(power):
        return base, Mul(*(f for f in factors if f is not power))
    position = factors.index(power)
    if any(is_matrix(f) for f in factors[:position]):
        return None
    rest = matmul(*factors[:position], *factors[position + 1 :])
    return (transpose(base) if turned else base), rest
