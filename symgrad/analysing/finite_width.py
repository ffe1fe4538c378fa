"""What a finite width changes: typical gradients are smaller than their mean square says.

Linear layers with Gaussian weights of variance s/n: the growth rate of a vector's norm is exactly
(log(2 s / n) + psi(n / 2)) / 2 a layer (Newman 1986). For ReLU at the critical variance the logarithm of the squared norm
has a variance near 5 L / n and a mean near -5 L / (2 n) (Hanin and Nica 2020).
"""

from __future__ import annotations

from sympy import Expr, Symbol, digamma, log

from symgrad.expr import expression

__all__ = ["N", "largest_square", "log_variance", "lyapunov"]

N = Symbol("n", integer=True, positive=True)


def lyapunov(n: Expr | int = N, weight_variance: Expr | int = 1) -> Expr:
    """The typical growth rate of the logarithm of a norm in one linear Gaussian layer of width n.

    >>> [round(float(lyapunov(n)), 6) for n in (1, 2, 10, 100)]
    [-0.635181, -0.288608, -0.05166, -0.005017]
    """
    n = expression(n)
    return (log(2 * expression(weight_variance) / n) + digamma(n / 2)) / 2


def log_variance(fourth: Expr, second: Expr, n: Expr = N) -> Expr:
    """The relative variance of the squared norm in one layer: (3 m4 / m2^2 - 1) / n for slopes with these moments.

    Each entry of W^T (slopes * g) is Gaussian given the slopes; the squared norm over n entries then has relative
    variance (3 E[d^4] / E[d^2]^2 - 1) / n to first order: 2 / n for linear layers, 5 / n for ReLU.

    >>> from sympy import Integer, Rational
    >>> log_variance(Integer(1), Integer(1)), log_variance(Rational(1, 2), Rational(1, 2))
    (2/n, 5/n)
    """
    return (3 * fourth / second**2 - 1) / n


def largest_square(depth: Expr | int) -> Expr:
    """The largest squared singular value of a product of large Gaussian matrices of variance 1/n: (L+1)^(L+1) / L^L.

    >>> [round(float(largest_square(n)), 2) for n in (1, 2, 5, 10, 50)]
    [4.0, 6.75, 14.93, 28.53, 137.27]
    """
    depth = expression(depth)
    return (depth + 1) ** (depth + 1) / depth**depth
