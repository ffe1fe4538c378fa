"""Functions in a finite field: rational in exponentials, or atoms, with their derivatives.

exp          g^L(u), a homomorphism: L mixes values of u at many points modulo the order of g, so that exponentials
             of arguments that are linearly independent over the rationals are independent and uniform, and those of
             dependent ones keep their relations. sigmoid, tanh, softmax, .. are rational functions of them.
sin, cos     the same with a square root of -1
sign, step   the quadratic character: sign(x y) = sign(x) sign(y), every pattern of signs occurs
sqrt, x^a    roots within the squares, which stand for the positive numbers; other points are left out
log, erf, f  a fresh element for every argument; log(1/u) = -log(u), erf(-u) = -erf(u)
max          some entry, the others being smaller

A point where something has no value is marked and not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
import sympy
from numpy.typing import NDArray
from sympy import Expr, Mul, Pow, S
from sympy.matrices.expressions.determinant import Determinant
from sympy.matrices.expressions.hadamard import HadamardPower, HadamardProduct

from symgrad.checking.canonical import NotDecided
from symgrad.checking.field_atoms import Atoms
from symgrad.checking.residues import Values
from symgrad.checking.truncated import Truncated
from symgrad.expr import Elementwise, Norm, Softmax
from symgrad.expr.entrywise import function_name

__all__ = ["Functions", "Turn"]

_SMALL_POWER = 6

Turn = Callable[[Atoms, Values], Values]
"""What an exponential is taken of, from values at the level of the exponents."""


class Functions:
    """Values of functions, entry by entry; what an expression's own value is, is for the class that inherits them.

    `rank` is the number of axes of a value after the one of the points: two for a matrix, one for every open index.
    """

    level: Atoms
    rank: int

    def at(self, e: Expr) -> Truncated:
        """The value of an expression."""
        raise NotImplementedError

    def only(self, good: NDArray[np.bool_]) -> None:
        """Leave out the points where an entry that counts is not good."""
        raise NotImplementedError

    def exponential(self, kind: str, e: Expr, turn: Turn | None = None) -> Values:
        """g^L(e), or of `turn` applied to the values of e at the level below."""
        raise NotImplementedError

    def _touches(self, e: Expr) -> bool:
        raise NotImplementedError

    def _is_seeded(self, e: Expr) -> bool:
        raise NotImplementedError

    def _squares(self, m: Expr) -> Truncated:
        raise NotImplementedError

    def _log_softmax(self, e: Expr) -> Truncated:
        raise NotImplementedError

    def _log_determinant(self, e: Expr) -> Truncated:
        raise NotImplementedError

    def number(self, value: Fraction | int) -> Truncated:
        """A rational number."""
        shape = (1,) * (self.rank + 1)
        return {0: np.full(shape, self.level.field.number(value), dtype=np.int64)}

    def one(self) -> Truncated:
        """The number one."""
        return self.number(1)

    def raised(self, x: Truncated, k: Fraction) -> Truncated:
        """X ** k, entry by entry."""
        algebra, field = self.level.algebra, self.level.field
        if k.denominator == 1 and abs(k) <= _SMALL_POWER:
            if k < 0:
                x = self.inverted(x)
            result = self.one() if k == 0 else x
            for _ in range(abs(k.numerator) - 1):
                result = algebra.times(result, x)
            return result
        if k.denominator == 1:
            if k < 0:
                self.only(x[0] != 0)
            value = field.power(x[0], k.numerator % (field.p - 1))
        else:
            self.only(field.is_square(x[0]))
            value = self.level.root(x[0], k)
        if len(x) == 1:
            return {0: value}
        self.only(x[0] != 0)
        below = field.inverse(x[0])

        def coefficient(j: int) -> Values:  # k (k - 1) .. (k - j + 1) x^(k - j)
            factor = field.number(1)
            result = value
            for i in range(j):
                factor = factor * field.number(k - i) % field.p
                result = field.times(result, below)
            return field.times(result, factor)

        return algebra.series(x, coefficient)

    def inverted(self, x: Truncated) -> Truncated:
        """1 / x, entry by entry."""
        self.only(x[0] != 0)
        return self.level.algebra.inverse(x)

    def _elementwise(self, e: Expr) -> Truncated:
        return self.function(e.name, e.arg, e.parameters)

    def exp(self, x: Expr) -> Truncated:
        """The exponential of an expression, entry by entry."""
        value = self.exponential("exp", x)
        return self.level.algebra.series(self.at(x), lambda j: value)

    def _circle(self, x: Expr) -> tuple[Truncated, Truncated, int]:
        """exp(i x), its inverse, and i."""
        p = self.level.field.p
        if not self.level.setting.trigonometric:
            raise NotDecided("trigonometric functions")
        i = next(r for r in (pow(a, (p - 1) // 4, p) for a in range(2, 200)) if r * r % p == p - 1)
        value = self.exponential("circle", x)
        y = self.level.algebra.series(self.at(x), lambda j: self.level.field.times(value, pow(i, j, p)))
        return y, self.level.algebra.inverse(y), i

    def function(self, name: str, x: Expr, parameters: Sequence[Expr] = ()) -> Truncated:
        """A function of an expression, entry by entry."""
        algebra, level = self.level.algebra, self.level
        minus = -1 % level.field.p
        half = level.field.number(Fraction(1, 2))
        if name == "exp":
            return self.exp(x)
        if name in ("sigmoid", "silu"):
            y = self.exp(x)
            s = algebra.times(y, self.inverted(algebra.plus(y, self.one())))
            return s if name == "sigmoid" else algebra.times(self.at(x), s)
        if name == "tanh":
            y = self.exp(x)
            y = algebra.times(y, y)
            above = algebra.plus(y, self.number(-1))
            return algebra.times(above, self.inverted(algebra.plus(y, self.one())))
        if name in ("sinh", "cosh"):
            y = self.exp(x)
            other = algebra.scaled(self.inverted(y), 1 if name == "cosh" else minus)
            return algebra.scaled(algebra.plus(y, other), half)
        if name == "softplus":
            return self.log(algebra.plus(self.exp(x), self.one()))
        if name in ("sin", "cos", "tan"):
            y, z, i = self._circle(x)
            turned = level.field.number(Fraction(1, 2)) * pow(i, -1, level.field.p) % level.field.p
            sine = algebra.scaled(algebra.plus(y, algebra.scaled(z, minus)), turned)
            cosine = algebra.scaled(algebra.plus(y, z), half)
            if name == "tan":
                return algebra.times(sine, self.inverted(cosine))
            return sine if name == "sin" else cosine
        if name == "log":
            return self._log(x)
        if name == "sqrt":
            return self.raised(self.at(x), Fraction(1, 2))
        if name == "erf":
            return self._erf(x, self.at(x), _minus_square)
        if name == "gelu":
            return self._gelu(x)
        if name == "arctan":
            return self._arctan(self.at(x))
        if name in ("step", "sign", "abs", "relu", "leaky_relu", "elu"):
            return self._signed(name, x, parameters)
        return self._smooth(name, self.at(x))

    def _log(self, e: Expr) -> Truncated:
        """log(u v) = log u + log v, log u^k = k log u, log exp u = u, where both sides have a value."""
        algebra, setting = self.level.algebra, self.level.setting
        if self._is_seeded(e):
            return self.log(self.at(e))
        if type(e) in (Mul, HadamardProduct):  # MatMul is a subclass of Mul
            return algebra.plus(*(self._log(a) for a in e.args))
        if isinstance(e, Pow | HadamardPower) and not any(self._touches(s) for s in e.args[1].free_symbols):
            k = setting.rational(e.args[1])
            return algebra.scaled(self._log(e.args[0]), self.level.field.number(k))
        name = e.name if isinstance(e, Elementwise) else function_name(e)
        if name == "exp":
            return self.at(e.arg if isinstance(e, Elementwise) else e.args[0])
        if isinstance(e, Softmax):
            return self._log_softmax(e)
        if isinstance(e, Determinant):
            return self._log_determinant(e)
        if isinstance(e, Norm):
            half = self.level.field.number(Fraction(1, 2))
            return algebra.scaled(self.log(self._squares(e.arg)), half)
        return self.log(self.at(e))

    def log(self, x: Truncated) -> Truncated:
        """The same atom for u and 1 / u, with the other sign."""
        level, field = self.level, self.level.field
        self.only(x[0] != 0)
        inverse = field.inverse(x[0])
        smaller = np.minimum(x[0], inverse)
        atom = level.fresh("log", smaller)
        atom = np.where(x[0] == smaller, atom, -atom % field.p)
        atom = np.where(x[0] == 1, 0, atom)

        def coefficient(j: int) -> Values:
            if j == 0:
                return atom
            factor = (-1) ** (j - 1) * int(sympy.factorial(j - 1)) % field.p
            return field.times(field.power(inverse, j), factor)

        return level.algebra.series(x, coefficient)

    def _odd(self, name: str, x: Values) -> Values:
        """An atom that changes its sign with its argument."""
        p = self.level.field.p
        smaller = np.minimum(x, -x % p)
        atom = self.level.fresh(name, smaller)
        return np.where(x == 0, 0, np.where(x == smaller, atom, -atom % p))

    def _arctan(self, x: Truncated) -> Truncated:
        field = self.level.field
        below = field.plus(field.times(x[0], x[0]), np.ones_like(x[0]))
        self.only(below != 0)
        slope = field.inverse(below)

        def coefficient(j: int) -> Values:
            if j == 0:
                return self._odd("arctan", x[0])
            if j == 1:
                return slope
            if j == 2:
                return field.times(field.times(field.times(slope, slope), x[0]), -2 % field.p)
            raise NotDecided("a third derivative of arctan")

        return self.level.algebra.series(x, coefficient)

    def _erf(self, e: Expr, x: Truncated, turn: Turn) -> Truncated:
        """Erf with erf'(t) = 2 / sqrt(pi) exp(-t^2); `turn` makes -t^2 of the values of e at the level below."""
        level, field = self.level, self.level.field
        root = self.at(sympy.Pow(S.Pi, Fraction(-1, 2), evaluate=False))[0] if len(x) > 1 else None

        def coefficient(j: int) -> Values:
            if j == 0:
                return self._odd("erf", x[0])
            assert root is not None  # noqa: S101 - there is a nilpotent part
            bell = field.times(self.exponential("exp", e, turn), field.times(root, 2))
            if j == 1:
                return bell
            if j == 2:
                return field.times(field.times(bell, x[0]), -2 % field.p)
            raise NotDecided("a third derivative of erf")

        return level.algebra.series(x, coefficient)

    def _gelu(self, x: Expr) -> Truncated:
        algebra = self.level.algebra
        inside = algebra.times(self.at(x), self.raised(self.number(2), Fraction(-1, 2)))
        bell = algebra.plus(self.one(), self._erf(x, inside, _minus_half_square))
        return algebra.scaled(algebra.times(self.at(x), bell), self.level.field.number(Fraction(1, 2)))

    def _pi(self, e: Expr) -> Truncated:
        """A transcendental constant: the square of some element, so that it has a root; the same at all points."""
        s = self.level.fresh("pi", np.zeros((1,) * (self.rank + 1), dtype=np.int64))
        return {0: self.level.field.times(s, s)}

    def _signed(self, name: str, e: Expr, parameters: Sequence[Expr]) -> Truncated:
        algebra, level = self.level.algebra, self.level
        x = self.at(e)
        sign = level.sign(x[0])
        for k, c in x.items():
            if k and name != "step":  # a kink is left out, unless the argument stays where it is
                moving = np.abs(c).reshape(-1, *c.shape[-self.rank - 1 :]).max(axis=0) != 0
                zero = (x[0] == 0) & moving
                self.only(~zero)
        if name == "sign":
            return {0: sign}
        if name == "abs":
            return algebra.times(x, {0: sign})
        step: Truncated = {0: (sign == 1).astype(np.int64)}
        if name == "step":
            return step
        if name == "relu":
            return algebra.times(x, step)
        default = Fraction(1, 100) if name == "leaky_relu" else Fraction(1)
        given = self.at(parameters[0]) if parameters else self.number(default)
        tail = x if name == "leaky_relu" else algebra.plus(self.exp(e), self.number(-1))
        rest: Truncated = {0: 1 - step[0]}
        return algebra.plus(algebra.times(x, step), algebra.times(algebra.times(given, tail), rest))

    def _smooth(self, name: str, x: Truncated) -> Truncated:
        """An arbitrary smooth function: its value and each derivative are atoms."""
        plain = name.rstrip("'")
        order = len(name) - len(plain)
        return self.level.algebra.series(x, lambda j: self.level.fresh((plain, order + j), x[0]))

    def _largest_of(self, x: Truncated) -> Truncated:
        """Of the entries along the last axis some one, the same for equal sets of them; all others are smaller."""
        field = self.level.field
        value = np.broadcast_to(x[0], (self.level.count, *x[0].shape[1:]))
        own = self.level.fresh("set", value.sum(axis=-1, keepdims=True) % field.p)
        rank = self.level.fresh("max", field.plus(value, own))
        chosen = rank == rank.max(axis=-1, keepdims=True)
        self.only(chosen.sum(axis=-1) == 1)
        result = {k: (v * chosen).sum(axis=-1, keepdims=True) for k, v in x.items()}
        excess = (result[0] - value) % field.p
        self.level.positives.append(np.where(chosen, -1, excess).reshape(self.level.count, -1))
        return result


def _minus_square(level: Atoms, t: Values) -> Values:
    return level.field.times(level.field.times(t, t), -1 % level.field.p)


def _minus_half_square(level: Atoms, t: Values) -> Values:
    return level.field.times(level.field.times(t, t), level.field.number(Fraction(-1, 2)))
