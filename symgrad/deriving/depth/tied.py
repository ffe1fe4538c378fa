"""A parameter that all layers share: the sum over the layers, closed where it can be.

sum_{l} M^(L-l) c                    a geometric sum, (I - M)^-1 (I - M^n) c
sum_{l} (W^T)^(L-l) g x^T (W^T)^(l-1)  with W = Q diag(lam) Q^T: divided differences (Daleckii and Krein 1965)
"""

from __future__ import annotations

import sympy
from sympy import Expr, Mul, Pow, S, Sum, Symbol
from sympy.matrices.expressions.diagonal import DiagMatrix
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.matpow import MatPow
from sympy.matrices.expressions.transpose import Transpose

from symgrad.deriving.backprop import Tidy
from symgrad.deriving.depth.closed import counter, over_layers
from symgrad.deriving.depth.forward import forward
from symgrad.deriving.depth.layers import layers_of
from symgrad.deriving.depth.record import DepthSweep
from symgrad.errors import UnsupportedError
from symgrad.expr import (
    Loop,
    MatrixSum,
    Model,
    add,
    diag,
    eye,
    gradient,
    hadamard,
    inverse,
    is_leaf,
    is_matrix,
    is_scalar,
    leaf_name,
    leaves,
    matmul,
    matpower,
    matrix_entry,
    negate,
    power,
    substitute,
    transpose,
    zeros,
)

__all__ = ["close_shared"]


def close_shared(
    out: DepthSweep, model: Model, term: Expr, loop: Loop, premise: int, avoid: set[str], tidy: Tidy
) -> Expr | None:
    """A shorter form of the sum over the layers of a term, with its proof; None if there is none."""
    geometric = _geometric(out, term, loop, premise, avoid, tidy)
    return (
        geometric if geometric is not None else _linear_layers(out, model, term, loop, premise, avoid, tidy)
    )


# --- the same linear map in all layers ----------------------------------------------------------------------


def _linear_layers(
    out: DepthSweep, model: Model, term: Expr, loop: Loop, premise: int, avoid: set[str], tidy: Tidy
) -> Expr | None:
    """The layer's input written by the network's input, where all layers are the same linear map."""
    try:
        layers = layers_of(model)
        solved = forward(model, tidy)
    except UnsupportedError:
        return None
    index = loop.index
    value = solved.closed
    used = layers.at(index - 1)
    if value is None or value.has(MatrixSum, Sum) or used not in leaves(term):
        return None
    stated = next(s for s in solved.steps if s.rule == "depth.forward")
    numbers = out.append(s for s in solved.steps if s.rule != "depth.forward_end")
    first = layers.at(loop.lower - 1)
    given = model.definition_of(first)
    input_ = stated.right.xreplace({index: index - 1})
    if given is not None and is_leaf(given.value):
        input_ = substitute(input_, {first: given.value})
    written = _flat(substitute(term, {used: tidy(input_)}))
    total = over_layers(written, index, loop.lower, loop.upper)
    chain = [gradient(out.f, out.wrt), total]
    if is_scalar(total):
        summed = sympy.powsimp(total.function)
        closed = tidy(sympy.summation(summed, (index, loop.lower, loop.upper)))
        if not closed.has(Sum, sympy.Piecewise):
            chain.append(closed)
    number = out.record("depth.tied", chain, [premise, *numbers])
    if is_scalar(total):
        return chain[-1]
    divided = _divided_differences(out, model, written, loop, number, avoid)
    return total if divided is None else divided


def _flat(product: Expr) -> Expr:
    """A product with the transposes of products in it written factor by factor: g (A x)^T is g x^T A^T."""
    if not isinstance(product, MatMul):
        return product
    factors: list[Expr] = []
    for f in product.args:
        inner = f.arg if isinstance(f, Transpose) else None
        factors += [transpose(a) for a in reversed(inner.args)] if isinstance(inner, MatMul) else [f]
    turned = [
        matpower(transpose(f.arg.args[0]), f.arg.args[1])
        if isinstance(f, Transpose) and isinstance(f.arg, MatPow)
        else f
        for f in factors
    ]
    return matmul(*turned)


def _divided_differences(
    out: DepthSweep, model: Model, term: Expr, loop: Loop, premise: int, avoid: set[str]
) -> Expr | None:
    """sum_l (W^T)^(L-l) g x^T (W^T)^(l-1) = Q ((Q^T g x^T Q) o F) Q^T for W = Q diag(lam) Q^T.

    F_ij = sum_l lam_i^(L-l) lam_j^(l-1), a divided difference of t^L (Daleckii and Krein 1965).
    """
    eigen = _eigenvectors(model, out.wrt)
    if eigen is None or not isinstance(term, MatMul):
        return None
    q, lam = eigen
    before, after = _power_of(term.args[0], out.wrt), _power_of(term.args[-1], out.wrt)
    if before is None or after is None or len(term.args) < 3:
        return None
    index, lower, upper = loop.index, loop.lower, loop.upper
    spectral = out.record(
        "depth.spectral",
        (term.args[0], matmul(q, diag(power(lam, before)), transpose(q))),
        [premise],
        base=out.wrt,
    )
    inside = matmul(transpose(q), *term.args[1:-1], q)
    table = MatrixSum(matmul(power(lam, before), transpose(power(lam, after))), index, lower, upper)
    closed = matmul(q, hadamard(inside, table), transpose(q))
    i, j = (Symbol(n, integer=True, nonnegative=True) for n in _two_letters(avoid | {str(index)}))
    rows, cols = (matrix_entry(lam, k, S.Zero) for k in (i, j))
    count = upper - lower + 1
    premises = [premise, spectral]
    if sympy.expand(before + after - count + 1) == 0:
        different, equal = (Sum(rows**before * other**after, (index, lower, upper)) for other in (cols, rows))
        divided = (rows**count - cols**count) / (rows - cols)
        premises.append(out.record("depth.divided_apart", (different, divided), [spectral]))
        premises.append(out.record("depth.divided_equal", (equal, count * rows ** (count - 1)), [spectral]))
    out.record("depth.divided", (gradient(out.f, out.wrt), closed), premises)
    return closed


def _eigenvectors(model: Model, w: Expr) -> tuple[Expr, Expr] | None:
    """Q and lam if w is defined as Q diag(lam) Q^T with an orthogonal Q."""
    d = model.definition_of(w)
    if d is None or not isinstance(d.value, MatMul) or len(d.value.args) != 3:
        return None
    q, middle, last = d.value.args
    if not isinstance(middle, DiagMatrix) or last != transpose(q) or not is_leaf(q):
        return None
    return (q, middle.args[0]) if model.assumed(leaf_name(q), "orthogonal") else None


def _power_of(factor: Expr, w: Expr) -> Expr | None:
    """The exponent of a power of w or of its transpose."""
    if isinstance(factor, Transpose):
        factor = factor.arg
    if isinstance(factor, MatPow) and factor.args[0] in (w, transpose(w)):
        exponent: Expr = factor.args[1]
        return exponent
    return S.One if factor in (w, transpose(w)) else None


def _two_letters(taken: set[str]) -> tuple[str, str]:
    free = [c for c in "ijpqrs" if c not in taken]
    return free[0], free[1]


# --- geometric sums -----------------------------------------------------------------------------------------


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
