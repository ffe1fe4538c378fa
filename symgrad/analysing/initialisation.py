"""The variances of Glorot and He as steps: one layer's variance forwards and backwards, solved for that of a weight.

Every line is worked out: the double sums by contracting the covariance of the weights, the moments by SymPy's integrals.
`independence` says what becomes of a step where weights and what they meet are not independent.
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy
from sympy import Expr, Function, KroneckerDelta, S, Symbol, exp, oo, pi, sqrt

from symgrad.analysing.finite_width import N
from symgrad.analysing.moments import Moments, Q, moments
from symgrad.deriving.deltas import contract
from symgrad.expr import matrix, total, vector

__all__ = [
    "FAN_IN",
    "FAN_OUT",
    "Line",
    "V",
    "backwards",
    "forwards",
    "glorot",
    "he",
    "independence",
    "shared",
]

FAN_IN = Symbol("n_in", integer=True, positive=True)
FAN_OUT = Symbol("n_out", integer=True, positive=True)
V = Symbol("v", positive=True)
"""The variance of one weight."""
T = Symbol("t", real=True)
E, VARIANCE, SLOPE, PHI = Function("E"), Function("V"), Function("D"), Function("phi")
DERIVED = Function("phi'")
Z, DELTA = Symbol("z", real=True), Symbol("delta", real=True)


@dataclass(frozen=True)
class Line:
    """A chain of equal expressions with the key of the sentence that says why it holds."""

    key: str
    chain: tuple[Expr, ...]

    @property
    def left(self) -> Expr:
        """What the line is about."""
        return self.chain[0]

    @property
    def right(self) -> Expr:
        """What it comes to."""
        return self.chain[-1]


def _line(key: str, *chain: Expr) -> Line:
    return Line(f"analysis.init.{key}", chain)


def _letters() -> list[Symbol]:
    return [Symbol(c, integer=True, nonnegative=True) for c in "ijk"]


def _mean_of_square(values: Expr, over: tuple[Symbol, Symbol], count: Expr) -> Expr:
    """E of a double sum of products, the weights having the covariance v delta and being independent of the values."""
    first, second = over
    product = total(V * KroneckerDelta(first, second) * values, (second, count), (first, count))
    return contract(product)


def gauss(inside: Expr) -> Expr:
    """The integral of an expression in t against the standard normal density, not worked out."""
    return sympy.Integral(inside * exp(-(T**2) / 2) / sqrt(2 * pi), (T, -oo, oo))


def forwards(m: Moments) -> list[Line]:
    """The variance that keeps the pre-activations, from z = sum_j w_j a_j.

    >>> [str(line.right) for line in forwards(moments("relu"))][-3:]
    ['n_in*v*V(q)', 'q/2', '2/n_in']
    """
    _, j, k = _letters()
    w, a = vector("w", FAN_IN), vector("a", FAN_IN)
    inputs = E(a[j, 0] * a[k, 0])
    double = total(E(w[j, 0] * w[k, 0]) * inputs, (k, FAN_IN), (j, FAN_IN))
    single = _mean_of_square(inputs, (j, k), FAN_IN)
    alike = single.replace(E, lambda _: VARIANCE(Q)).doit()
    q, square, _ = _at(m)
    moment = gauss(PHI(sqrt(q) * T) ** 2)
    kept = sympy.solve(sympy.Eq(FAN_IN * V * square, q), V)[0]
    return [
        _line("sum", Z, total(w[j, 0] * a[j, 0], (j, FAN_IN))),
        _line("expand", E(Z**2), double),
        _line("weights", E(w[j, 0] * w[k, 0]), V * KroneckerDelta(j, k)),
        _line("forward", E(Z**2), single, alike),
        _line("moment", VARIANCE(q), moment, square),
        _line("keep", V, kept),
    ]


def backwards(m: Moments) -> list[Line]:
    """The variance that keeps the gradients, from delta_j = phi'(z_j) sum_i w_ij delta_i.

    >>> [str(line.right) for line in backwards(moments("relu"))][1:]
    ['n_out*v*D(q)*E(delta**2)', '1/2', '2/n_out']
    """
    i, j, k = _letters()
    w, deltas, z = matrix("w", FAN_OUT, FAN_IN), vector("delta", FAN_OUT), vector("z", FAN_IN)
    ahead = vector("eta", FAN_IN)
    outer = E(deltas[i, 0] * deltas[k, 0])
    single = _mean_of_square(outer, (i, k), FAN_OUT)
    alike = single.replace(E, lambda _: E(DELTA**2)).doit()
    slope = E(DERIVED(z[j, 0]) ** 2)
    q, _, slopes = _at(m)
    kept = sympy.solve(sympy.Eq(FAN_OUT * V * slopes, 1), V)[0]
    return [
        _line("back_sum", ahead[j, 0], DERIVED(z[j, 0]) * total(w[i, j] * deltas[i, 0], (i, FAN_OUT))),
        _line("backward", E(ahead[j, 0] ** 2), slope * single, SLOPE(Q) * alike),
        _line("slope", SLOPE(q), gauss(DERIVED(sqrt(q) * T) ** 2), slopes),
        _line("keep_back", V, kept),
    ]


def _at(m: Moments) -> tuple[Expr, Expr, Expr]:
    """The q that is looked at, with V and D there: every q where both are closed and D is a number, else one."""
    square, slopes = m.square, m.slope_square
    if square is not None and slopes is not None and not slopes.free_symbols:
        return Q, square, slopes
    if square is not None and slopes is not None:
        return S.One, square.subs(Q, 1), slopes.subs(Q, 1)
    numbers = m.at(1.0)
    return S.One, sympy.Float(numbers[0], 15), sympy.Float(numbers[1], 15)


def he(name: str) -> list[Line]:
    """Both directions for an activation: a = phi(z) with z of variance q, and weights independent with mean zero.

    Source   He et al. 2015

    >>> [line.right for line in he("relu") if "keep" in line.key]
    [2/n_in, 2/n_out]
    """
    m = moments(name)
    return [*forwards(m), *backwards(m)]


def glorot() -> list[Line]:
    """The compromise of Glorot for slopes near one at zero, and the bound of its uniform distribution.

    Source   Glorot and Bengio 2010

    >>> [str(line.right) for line in glorot()]
    ['1/n_in', '1/n_out', '2/(n_in + n_out)', 'c**2/3', 'sqrt(6)/sqrt(n_in + n_out)']
    """
    straight = moments("identity")
    forth, back = forwards(straight)[-1].right, backwards(straight)[-1].right
    variance = sympy.solve(sympy.Eq((V / forth + V / back) / 2, 1), V)[0]
    x, bound = Symbol("x", real=True), Symbol("c", positive=True)
    integral = sympy.Integral(x**2 / (2 * bound), (x, -bound, bound))
    return [
        _line("straight", V, forth),
        _line("straight_back", V, back),
        _line("glorot", V, variance),
        _line("uniform", V, integral, integral.doit()),
        _line("bound", bound, sympy.solve(sympy.Eq(integral.doit(), variance), bound)[0]),
    ]


def independence(m: Moments) -> list[Line]:
    """What the gradient's factor is when w stays the weight that z was made with: z = sum_j w_j a_j, w Gaussian.

    Given z, a weight w with covariance c with z is c z / q plus a rest of variance v - c^2 / q, so
    E(w^2 phi'(z)^2) = (c^2 / q) E(t^2 phi'^2) + (v - c^2 / q) E(phi'^2); the c^2 of a layer are v q / n on average.
    The result is relative to v E(phi'^2), which independence would give.

    >>> [str(sympy.simplify(line.right)) for line in independence(moments("relu"))]
    ['1/2', '1']
    """
    c = Symbol("c", real=True)
    q, _, slopes = _at(m)
    tilted = m.slope_tilt.subs(Q, q) if m.slope_tilt is not None else sympy.Float(m.tilt_at(1.0), 15)
    first, second = SLOPE(Q), Function("M")(Q)
    given = c**2 / Q * second + (V - c**2 / Q) * first
    ratio = sympy.expand(given.subs(c, sqrt(V * Q / N)) / (V * first))
    shown = 1 + sympy.factor(ratio - 1)
    found = (
        ratio.subs({second: tilted, first: slopes})
        if q == Q
        else ratio.subs(Q, 1).subs({second.subs(Q, 1): tilted, first.subs(Q, 1): slopes})
    )
    found = sympy.expand(sympy.simplify(found) if not found.has(sympy.Float) else found)
    return [
        _line("tilt", second.subs(Q, q), gauss(T**2 * DERIVED(sqrt(q) * T) ** 2), tilted),
        _line("dependent", Symbol("r", positive=True), shown.subs(Q, q), found),
    ]


def shared(most: int = 4) -> tuple[Line, list[tuple[int, Expr]]]:
    """The mean square of a product of L equal Gaussian weights, and what it is times that of independent ones.

    The moment is a product because the quotient of two neighbours is a polynomial in L.

    >>> str(shared()[0].right), shared()[1]
    ('v**L*Product(2*k - 1, (k, 1, L))', [(1, 1), (2, 3), (3, 15), (4, 105)])
    """
    n = Symbol("L", integer=True, positive=True)
    w = Symbol("w", real=True)
    moment = gauss(T ** (2 * n)).doit()
    k, x = Symbol("k", integer=True, positive=True), Symbol("x", positive=True)
    quotient = (moment / moment.subs(n, n - 1)).subs(n, x + sympy.Rational(1, 2))
    step = sympy.expand(sympy.gammasimp(quotient).subs(x, k - sympy.Rational(1, 2)))
    product = V**n * sympy.Product(step, (k, 1, n))
    factors = [(power, gauss(T ** (2 * power)).doit()) for power in range(1, most + 1)]
    return _line("shared", E(w ** (2 * n)), product), factors
