"""Affine layers solved in the direction of the data."""

from __future__ import annotations

from sympy import Expr, Mul, Pow, S, Sum
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.matpow import MatPow

from symgrad.deriving.backprop import Tidy
from symgrad.deriving.depth.closed import counter
from symgrad.deriving.depth.layers import layers_of, names_of
from symgrad.deriving.depth.record import DepthSweep
from symgrad.deriving.linear_maps import linear_factor
from symgrad.errors import UnsupportedError
from symgrad.expr import (
    MatrixSum,
    Model,
    add,
    dependents,
    is_matrix,
    matmul,
    matpower,
    substitute,
)

__all__ = ["forward"]


def forward(model: Model, tidy: Tidy) -> DepthSweep:
    """The state of an affine loop s[l] = A s[l-1] + c with the same A and c in all layers, in closed form.

    s[l] = A^l s[0] + (sum_{k<l} A^k) c, with its proof by induction upwards.

    Raises   UnsupportedError if the loop is not of this form
    """
    layers = layers_of(model)
    loop, index = layers.loop, layers.loop.index
    value = layers.state
    for d in reversed(loop.body):
        value = substitute(value, {d.symbol: d.value})
    previous = layers.at(index - 1)
    terms = value.args if isinstance(value, MatAdd) or value.is_Add else (value,)
    linear = [t for t in terms if previous in dependents(t, {previous})]
    constant = [t for t in terms if t not in linear]
    factor = linear_factor(add(*linear), previous) if linear else None
    if factor is None or factor.has(index) or any(t.has(index) for t in constant):
        raise UnsupportedError("the layers are not the same affine map")
    first = layers.at(loop.lower - 1)
    k = counter([index], names_of(model))
    power = matpower if is_matrix(factor) else Pow

    def claim(at: Expr) -> Expr:
        steps = at - loop.lower + 1
        leading = matmul(power(factor, steps), first)
        if not constant:
            return leading
        body = power(factor, k)
        total = MatrixSum(body, k, 0, steps - 1) if is_matrix(factor) else Sum(body, (k, 0, steps - 1))
        return add(leading, matmul(total, add(*constant)))

    f = layers.state
    out = DepthSweep(f, first)
    rule = out.record("depth.layer", (f, value), ())
    stated = out.record("depth.forward", (f, claim(index)), [rule])
    nothing_yet = claim(loop.lower - 1)
    if not constant:  # A^0 s[0], not worked out
        zeroth = MatPow(factor, S.Zero) if is_matrix(factor) else Pow(factor, 0, evaluate=False)
        nothing_yet = matmul(zeroth, first) if is_matrix(factor) else Mul(zeroth, first, evaluate=False)
    base = out.record("depth.forward_base", (nothing_yet, first), [stated])
    assumed = claim(index - 1)
    step = out.record(
        "depth.forward_step",
        (f, value, substitute(value, {previous: assumed}), claim(index)),
        [rule],
        given={previous: assumed},
    )
    out.result = out.closed = claim(loop.upper)
    out.record("depth.forward_end", (layers.at(loop.upper), out.closed), [stated, base, step])
    return out
