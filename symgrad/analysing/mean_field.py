"""Wide random networks (Poole et al. 2016; Schoenholz et al. 2017): z = W a + b with variances sigma_w^2 / n and sigma_b^2.

The variance of the pre-activations goes from layer to layer as q -> sigma_w^2 V(q) + sigma_b^2; the squared norm of the
gradient is multiplied by chi = sigma_w^2 D(q) in every layer on the way back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import sympy
from sympy import Expr, Symbol

from symgrad.analysing.moments import Moments, slope
from symgrad.errors import UnsupportedError

__all__ = ["Critical", "along", "critical", "depth_scale", "fixed_point"]


@dataclass(frozen=True)
class Critical:
    """The initialisation at which the squared gradient keeps its size: chi = 1 at the fixed point q."""

    weight_variance: float
    bias_variance: float
    q: float | None  # None where every q is a fixed point
    exact: Expr | None = None


def critical(m: Moments, bias_variance: float = 0.0) -> Critical:
    """The critical sigma_w^2 for a sigma_b^2.

    >>> from symgrad.analysing.moments import moments
    >>> critical(moments("relu")).exact, round(critical(moments("tanh"), 0.05).weight_variance, 5)
    (2, 1.76095)

    Raises   UnsupportedError where no such point exists
    """
    if m.slope_square is not None and not m.slope_square.free_symbols:
        if bias_variance > 0:
            raise UnsupportedError(
                f"{m.name} is critical only without a bias",
                hint="its slope does not depend on q, so sigma_w^2 D = 1 lets q grow by sigma_b^2 in every layer",
            )
        exact = sympy.nsimplify(1 / m.slope_square)
        return Critical(float(exact), 0.0, None, exact)
    if bias_variance == 0:
        t = Symbol("t", real=True)
        at_zero = slope(m.name, t).subs(t, 0)
        value = float(_numeric(at_zero))
        if _value_at_zero(m) != 0:
            q = _root(m, 0.0)
            return Critical(1 / m.at(q)[1], 0.0, q)
        exact = sympy.nsimplify(1 / at_zero**2) if at_zero.is_Rational else 1 / at_zero**2
        return Critical(
            1 / value**2, 0.0, 0.0, exact if exact.is_number and not exact.has(sympy.Float) else None
        )
    q = _root(m, bias_variance)
    return Critical(1 / m.at(q)[1], bias_variance, q)


def _numeric(e: Expr) -> Expr:
    return sympy.N(e)


def _value_at_zero(m: Moments) -> float:
    return math.sqrt(m.at(1e-12)[0]) if m.at(1e-12)[0] > 1e-10 else 0.0


def _root(m: Moments, bias_variance: float) -> float:
    """The q with q - V(q) / D(q) = sigma_b^2: a fixed point at which chi = 1."""

    def gap(q: float) -> float:
        square, slopes = m.at(q)
        return q - square / slopes - bias_variance

    low, high = 1e-9, 1.0
    if gap(low) > 0:
        raise UnsupportedError(f"{m.name} has no critical initialisation with this bias")
    while gap(high) < 0:
        high *= 2
        if high > 1e6:
            raise UnsupportedError(f"{m.name} has no critical initialisation with this bias")
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if gap(middle) < 0 else (low, middle)
        if high - low < 1e-13 * high:
            break
    return (low + high) / 2


def fixed_point(m: Moments, weight_variance: float, bias_variance: float, steps: int = 20_000) -> float:
    """The variance q to which wide layers tend after at most so many steps; infinity where it grows without bound.

    >>> from symgrad.analysing.moments import moments
    >>> round(fixed_point(moments("tanh"), 1.76095, 0.05), 3)
    0.57
    """
    q = 1.0
    for _ in range(steps):
        again = weight_variance * m.at(q)[0] + bias_variance
        if again > 1e12:
            return math.inf
        if abs(again - q) <= 1e-12 * max(again, 1e-300):
            return again
        q = again
        if q < 1e-14:
            return 0.0
    return q


def along(m: Moments, weight_variance: float, bias_variance: float, q: float, depth: int) -> list[float]:
    """The factors chi of the layers 1 to `depth`, the first layer's pre-activations having variance q."""
    factors = []
    for _ in range(depth):
        square, slopes = m.at(q)
        factors.append(weight_variance * slopes)
        q = weight_variance * square + bias_variance
    return factors


def depth_scale(chi: float) -> float:
    """1 / |log chi|: after so many layers the squared gradient has changed by a factor e."""
    return math.inf if chi == 1 else 1 / abs(math.log(chi)) if chi > 0 else 0.0
