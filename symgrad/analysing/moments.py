"""Gaussian moments of an activation: V(q) = E[phi(sqrt(q) z)^2] and D(q) = E[phi'(sqrt(q) z)^2] for a standard normal z.

Closed forms come from SymPy's integrals: for functions of two straight pieces, and for those whose derivative is a
Gaussian (Price 1958; Williams 1997). All others are numbers, by Gauss's rule on panels, good to about 12 digits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import sympy
from numpy.typing import NDArray
from sympy import Expr, Matrix, Rational, S, Symbol, exp, oo, pi, sqrt

from symgrad.checking.evaluate import Evaluator
from symgrad.errors import UnsupportedError
from symgrad.expr import apply, matrix
from symgrad.expr.entrywise import lift
from symgrad.expr.functions import FUNCTIONS, apply_scalar, scalar_derivative, sigmoid, step

__all__ = ["Moments", "Q", "function", "moments", "slope", "steepest"]

Array = NDArray[np.float64]

Q = Symbol("q", positive=True)
"""The variance of a pre-activation."""

_REACH, _NODES = 14.0, 24
_GROWING = ("exp", "sinh", "cosh", "tan", "log", "sqrt")


@dataclass(frozen=True)
class Moments:
    """The moments of an activation: expressions in q where they are closed, and numbers for every q.

    Besides V and D: `slope_tilt` is E[z^2 phi'(sqrt(q) z)^2], `slope_fourth` is E[phi'^4] of two straight pieces.
    """

    name: str
    square: Expr | None
    slope_square: Expr | None
    slope_tilt: Expr | None = None
    slope_fourth: Expr | None = None

    def at(self, q: float) -> tuple[float, float]:
        """V(q) and D(q).

        >>> [round(m, 5) for m in moments("tanh").at(1.0)]
        [0.39429, 0.4644]
        """
        return tuple(  # type: ignore[return-value]
            float(e.subs(Q, q)) if e is not None else _numeric(self.name, q, derivative)
            for e, derivative in ((self.square, False), (self.slope_square, True))
        )

    def tilt_at(self, q: float) -> float:
        """E[z^2 phi'(sqrt(q) z)^2].

        >>> round(moments("tanh").tilt_at(1.0), 4), round(moments("relu").tilt_at(1.0), 4)
        (0.1078, 0.5)
        """
        if self.slope_tilt is not None:
            return float(self.slope_tilt.subs(Q, q))
        z, w = _panels()
        return float(np.sum(w * z**2 * function(self.name, np.sqrt(q) * z, True) ** 2))


@cache
def moments(name: str) -> Moments:
    """The moments of an activation of the table, or of `identity`.

    >>> moments("relu").square, moments("erf").slope_square
    (q/2, 4/(pi*sqrt(4*q + 1)))

    Raises   UnsupportedError for a function without a second moment, or that is not in the table
    """
    if name != "identity" and name not in FUNCTIONS:
        raise UnsupportedError(
            f"the stability of {name} cannot be analysed", hint="known: identity, " + ", ".join(FUNCTIONS)
        )
    if name in _GROWING or name == "step":
        raise UnsupportedError(
            f"{name} has no finite second moment of its value and slope under a Gaussian, "
            "or is not defined for all numbers",
            hint="an activation such as tanh, relu or gelu has one",
        )
    pieces = _two_pieces(name)
    if pieces is not None:
        return Moments(name, *_of_pieces(*pieces))
    gaussian = _gaussian_slope(name)
    if gaussian is not None:
        return Moments(name, *gaussian)
    return Moments(name, None, None)


def slope(name: str, t: Expr) -> Expr:
    """The derivative of an activation."""
    return S.One if name == "identity" else scalar_derivative(name, t)


def _halves(e: Expr, t: Expr) -> tuple[Expr, Expr]:
    """An expression for positive and for negative t."""
    return tuple(
        e.replace(step, lambda _, v=indicator: v).replace(sympy.sign, lambda _, v=sign: v)
        for indicator, sign in ((S.One, S.One), (S.Zero, -S.One))
    )


def _two_pieces(name: str) -> tuple[Expr, Expr] | None:
    """The slopes of a function of two straight pieces through zero."""
    t = Symbol("t", real=True)
    above, below = (sympy.simplify(h) for h in _halves(slope(name, t), t))
    return None if above.free_symbols or below.free_symbols else (above, below)


def _of_pieces(above: Expr, below: Expr) -> tuple[Expr, Expr, Expr, Expr]:
    z = Symbol("z", real=True)
    density = exp(-(z**2) / 2) / sqrt(2 * pi)
    halves = ((above, (z, 0, oo)), (below, (z, -oo, 0)))

    def mean(of: Callable[[Expr], Expr]) -> Expr:
        return sum(sympy.integrate(of(s) * density, limits) for s, limits in halves)

    square, slopes = mean(lambda s: s**2 * Q * z**2), mean(lambda s: s**2)
    tilt, fourth = mean(lambda s: s**2 * z**2), mean(lambda s: s**4)
    return sympy.factor(square), *(sympy.nsimplify(e) for e in (slopes, tilt, fourth))


def _gaussian_slope(name: str) -> tuple[Expr, Expr, Expr] | None:
    """The moments where phi' = k exp(-t^2) and phi(0) = 0.

    Of u and v with variance q and covariance c, d/dc E[phi(u) phi(v)] = E[phi'(u) phi'(v)], and the expectation of
    exp(-u^2 - v^2) is det(I + 2 S)^(-1/2); integrated from c = 0 to q.
    """
    t, z = Symbol("t", real=True), Symbol("z", real=True)
    constant = sympy.simplify(slope(name, t) * exp(t**2))
    if constant.free_symbols or apply_scalar(name, S.Zero) != 0:
        return None
    density = constant**2 * exp(-2 * Q * z**2) * exp(-(z**2) / 2) / sqrt(2 * pi)
    slopes, tilt = (sympy.integrate(k * density, (z, -oo, oo)) for k in (1, z**2))
    c, s = Symbol("c", positive=True), Symbol("s", positive=True)
    determinant = (sympy.eye(2) + 2 * Matrix([[Q, c], [c, Q]])).det()
    top = sympy.sqrt(sympy.factor(determinant.subs(c, 0)))  # 1 + 2 q; the covariance is then top s / 2
    scaled = sympy.simplify(determinant.subs(c, top * s / 2) / top**2)
    primitive = sympy.integrate(constant**2 / sympy.sqrt(scaled) / 2, s)
    square = primitive.subs(s, 2 * Q / top) - primitive.subs(s, 0)
    return square, sympy.simplify(slopes), sympy.simplify(tilt)


# --- numbers ----------------------------------------------------------------------------------------------


@cache
def _panels() -> tuple[Array, Array]:
    """Gauss's nodes on panels of length one between -14 and 14, zero at the end of one, with Gaussian weights."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    starts = np.arange(-_REACH, _REACH, 0.5)
    z = (starts[:, None] + (nodes + 1) / 4).ravel()
    w = np.tile(weights / 4, len(starts))
    return z, w * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)


def _numeric(name: str, q: float, derivative: bool) -> float:
    z, w = _panels()
    values = function(name, np.sqrt(q) * z, derivative)
    return float(np.sum(w * values**2))


@cache
def _expression(name: str, derivative: bool, size: int) -> tuple[Expr, Expr]:
    x = matrix("x_", size, 1)
    t = Symbol("t", real=True)
    if not derivative:
        return x, x if name == "identity" else apply(name, x)
    return x, lift(slope(name, t), {t: x}, x.shape)


def function(name: str, t: Array, derivative: bool = False) -> Array:
    """The activation, or its derivative, of every entry."""
    if name == "identity":
        return np.ones_like(t) if derivative else t
    x, e = _expression(name, derivative, t.size)
    return np.asarray(_EVALUATE(e, {x: t.reshape(-1, 1)})).reshape(t.shape)


_EVALUATE = Evaluator()


@cache
def steepest(name: str) -> Expr:
    """Sup |phi'|: exact where it is attained at zero or is one, else a number of six digits.

    >>> steepest("sigmoid"), steepest("tanh"), steepest("erf")
    (1/4, 1, 2/sqrt(pi))
    """
    moments(name)
    t = np.linspace(-30, 30, 600_001)
    height = np.abs(function(name, t, derivative=True))
    at = int(np.argmax(height))
    fine = np.linspace(t[max(at - 1, 0)], t[min(at + 1, t.size - 1)], t.size)
    top = float(np.max(np.abs(function(name, fine, derivative=True))))
    zero = Symbol("t", real=True)
    there = sympy.Abs(slope(name, zero).subs(zero, 0))
    for exact in (S.One, sympy.nsimplify(there) if there.is_Rational else there):
        if not exact.has(sigmoid, step) and abs(float(exact) - top) < 1e-9:
            return exact
    simple = there.replace(sigmoid, lambda a: Rational(1, 2) if a == 0 else sigmoid(a))
    if simple.is_number and abs(float(simple) - top) < 1e-9:
        return sympy.simplify(simple)
    return sympy.Float(top, 6)
