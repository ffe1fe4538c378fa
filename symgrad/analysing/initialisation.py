"""The variances of Glorot and He as steps: one layer's variance forwards and backwards, solved for that of a weight."""

from __future__ import annotations

from dataclasses import dataclass

import sympy
from sympy import Expr, Function, Symbol

from symgrad.analysing.moments import Q, moments

__all__ = ["Line", "glorot", "he"]

FAN_IN, FAN_OUT = Symbol("n_in", positive=True), Symbol("n_out", positive=True)
V = Symbol("v", positive=True)
"""The variance of one weight."""


@dataclass(frozen=True)
class Line:
    """An equation with the key of the sentence that says why it holds."""

    key: str
    left: Expr
    right: Expr


def _variance(of: str) -> Expr:
    return Function("Var")(Symbol(of, real=True))


def he(name: str) -> list[Line]:
    """The variance that keeps the pre-activations, and the one that keeps the gradients, for a given activation.

    Source   He et al. 2015; a = phi(z) with z of variance q, and weights independent with mean zero

    >>> he("relu")[2].right, he("relu")[-1].right
    (2/n_in, 2/n_out)
    """
    m = moments(name)
    square = m.square if m.square is not None else sympy.Float(m.at(1.0)[0], 15) * Q
    slopes = m.slope_square if m.slope_square is not None else sympy.Float(m.at(1.0)[1], 15)
    at = {} if not slopes.free_symbols else {Q: 1}
    square, slopes = square.subs(at) if at else square, slopes.subs(at)
    q = sympy.Integer(1) if at else Q
    if m.square is None:
        square, q = sympy.Float(m.at(1.0)[0], 15), sympy.Integer(1)
    forward = FAN_IN * V * square
    back = FAN_OUT * V * slopes * _variance("delta")
    return [
        Line("analysis.init.forward", _variance("z"), FAN_IN * V * Function("V")(Q)),
        Line("analysis.init.moment", Function("V")(q), square),
        Line("analysis.init.keep", V, sympy.solve(sympy.Eq(forward, q), V)[0]),
        Line(
            "analysis.init.backward",
            _variance("delta_in"),
            FAN_OUT * V * Function("D")(q) * _variance("delta"),
        ),
        Line("analysis.init.slope", Function("D")(q), slopes),
        Line("analysis.init.keep_back", V, sympy.solve(sympy.Eq(back, _variance("delta")), V)[0]),
    ]


def glorot() -> list[Line]:
    """The compromise of Glorot for slopes near one at zero, and the bound of its uniform distribution.

    Source   Glorot and Bengio 2010

    >>> glorot()[0].right, glorot()[-1].right
    (2/(n_in + n_out), sqrt(6)/sqrt(n_in + n_out))
    """
    both = sympy.Eq((FAN_IN * V + FAN_OUT * V) / 2, 1)
    variance = sympy.solve(both, V)[0]
    x, bound = Symbol("x", real=True), Symbol("c", positive=True)
    uniform = sympy.integrate(x**2 / (2 * bound), (x, -bound, bound))
    return [
        Line("analysis.init.glorot", V, variance),
        Line("analysis.init.uniform", V, uniform),
        Line("analysis.init.bound", bound, sympy.solve(sympy.Eq(uniform, variance), bound)[0]),
    ]
