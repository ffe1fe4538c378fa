"""The value of an expression in a finite field, with infinitesimals: exact, and without floating point.

What is not rational becomes an atom for which equality in the field means equality of functions:

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

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray
from sympy import Add, Expr, Integer, KroneckerDelta, Mul, Pow, Product, S, Sum, Symbol
from sympy.matrices.expressions.determinant import Determinant
from sympy.matrices.expressions.diagonal import DiagMatrix, DiagonalOf
from sympy.matrices.expressions.hadamard import HadamardPower, HadamardProduct
from sympy.matrices.expressions.inverse import Inverse
from sympy.matrices.expressions.kronecker import KroneckerProduct
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.matexpr import MatrixElement
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.matpow import MatPow
from sympy.matrices.expressions.special import Identity, OneMatrix, ZeroMatrix
from sympy.matrices.expressions.trace import Trace
from sympy.matrices.expressions.transpose import Transpose

from symgrad.checking.budget import check_time
from symgrad.checking.canonical import NotDecided
from symgrad.checking.field_samples import field_sample
from symgrad.checking.residues import Residues, Values
from symgrad.checking.truncated import Algebra, Truncated
from symgrad.expr import (
    AsScalar,
    AxisLogSumExp,
    AxisMax,
    Blocks,
    Commutation,
    Convolve,
    Correlate,
    Differential,
    Elementwise,
    EntryMax,
    EntrySum,
    Flip,
    Gradient,
    Jacobian,
    LogDet,
    LogSoftmax,
    LogSumExp,
    MatrixSum,
    Norm,
    OrderedProduct,
    ScalarDifferential,
    ScalarGradient,
    Softmax,
    Vec,
    is_leaf,
    is_matrix,
    shape_of,
)
from symgrad.expr.entrywise import function_name
from symgrad.expr.model import Assumptions

__all__ = ["Level", "Scope", "Setting"]

_LONGEST_RANGE = 40
_SMALL_POWER = 6


class Setting:
    """What all levels of one test share: definitions, assumptions, numbers for sizes and for integer exponents."""

    def __init__(
        self,
        values: Mapping[Expr, Expr],
        assumptions: Assumptions,
        sizes: Mapping[Expr, int],
        integers: Mapping[Expr, int],
        trigonometric: bool,
        increment: tuple[Expr, Expr] | None = None,
    ) -> None:
        self.values, self.assumptions, self.sizes = values, assumptions, sizes
        self.integers, self.trigonometric = integers, trigonometric
        self.increment = increment
        self._numbers = {s: Integer(n) for s, n in {**sizes, **integers}.items()}

    def rational(self, e: Expr) -> Fraction:
        """The number that sizes and exponents make of a scalar.

        Raises   NotDecided if it is none
        """
        value = e if e.is_Rational else e.xreplace(self._numbers)
        if not value.is_Rational:
            value = sympy.expand(value)
        if not value.is_Rational:
            raise NotDecided(f"{e} is no number")
        return Fraction(int(value.p), int(value.q))

    def whole(self, e: Expr) -> int:
        """The same for an integer."""
        value = self.rational(e)
        if value.denominator != 1:
            raise NotDecided(f"{e} is no integer")
        return value.numerator

    def shape(self, e: Expr) -> tuple[int, int]:
        """The shape in numbers; a scalar is 1 x 1."""
        rows, cols = shape_of(e) or (S.One, S.One)
        return self.whole(rows), self.whole(cols)


class Level:
    """A prime of the chain and `count` points modulo it; `below` is the level of the exponents."""

    def __init__(
        self, p: int, count: int, setting: Setting, rng: np.random.Generator, below: Level | None
    ) -> None:
        self.field = Residues(p)
        self.algebra = Algebra(self.field)
        self.count, self.setting, self.rng, self.below = count, setting, rng, below
        self.valid = np.ones(count, dtype=bool)
        self.base = Scope(self, None, {}, 0)
        self.positives: list[Values] = []
        self._keys: dict[object, int] = {}
        self._exponentials: dict[object, Values] = {}
        self._mixes: dict[str, Values] = {}
        if below is not None:
            g = 1
            while g == 1:
                g = pow(int(rng.integers(2, p - 1)), (p - 1) // below.field.p, p)
            self.generator = g

    def forget(self) -> None:
        """Values that rest on the level below are computed again."""
        self.base = Scope(self, None, dict(self.base.inputs), 0)
        self._exponentials.clear()
        self.positives.clear()

    def only(self, good: NDArray[np.bool_]) -> None:
        """Leave out the points where an entry is not good (arrays without points stand for all of them)."""
        while good.ndim > 1:
            good = np.asarray(good.all(axis=-1))
        self.valid &= good

    # --- atoms ----------------------------------------------------------------------------------------

    def fresh(self, key: object, at: Values) -> Values:
        """An element that depends on a name and a value as if drawn at random."""
        if key not in self._keys:
            self._keys[key] = int(self.rng.integers(1 << 62))
        with np.errstate(over="ignore"):
            z = (at.astype(np.uint64) + np.uint64(self._keys[key])) * np.uint64(0x9E3779B97F4A7C15)
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            z = z ^ (z >> np.uint64(31))
        return (z % np.uint64(self.field.p)).astype(np.int64)

    def exponential(
        self, kind: str, e: Expr, turn: Callable[[Level, Values], Values] | None = None
    ) -> Values:
        """g^L(e), or of `turn` applied to the values of e at the level below."""
        key = (kind, e, turn)
        if key in self._exponentials:
            return self._exponentials[key]
        below = self.below
        if below is None:
            raise NotDecided("exponentials nested deeper than expected")
        values = below.base.at(e)[0]
        if turn is not None:
            values = turn(below, values)
        values = np.broadcast_to(values, (below.count, *values.shape[-2:]))
        values = np.where(below.valid[:, None, None], values, 0)
        if kind not in self._mixes:
            self._mixes[kind] = self.rng.integers(0, below.field.p, (self.count, below.count))
        mixed = below.field.product(self._mixes[kind], values.reshape(below.count, -1))
        result = self.field.powers(self.generator, mixed.reshape(self.count, *values.shape[1:]))
        self._exponentials[key] = result
        return result

    def sign(self, x: Values) -> Values:
        """The quadratic character, 1, -1 or 0; what a maximum exceeds another entry by is positive."""
        if self.setting.trigonometric:
            raise NotDecided("signs beside trigonometric functions")
        character = self.field.power(x, (self.field.p - 1) // 2)
        for known in self.positives:
            same = x[..., None] == known[:, None, None, :]
            character = np.where(same.any(axis=-1), 1, character)
            other = (-x % self.field.p)[..., None] == known[:, None, None, :]
            character = np.where(other.any(axis=-1), self.field.p - 1, character)
        return np.where(x == 0, 0, character)

    def root(self, x: Values, power: Fraction) -> Values:
        """X ** power within the squares; other points are left out."""
        if self.setting.trigonometric:
            raise NotDecided("roots beside trigonometric functions")
        half = (self.field.p - 1) // 2
        if np.gcd(half, power.denominator) != 1:
            raise NotDecided(f"no root of order {power.denominator} in this field")
        self.only(self.field.is_square(x))
        return self.field.power(x, power.numerator * pow(power.denominator, -1, half) % half)


class Scope:
    """Values at the points of a level, some expressions having infinitesimals added to them."""

    def __init__(self, level: Level, outer: Scope | None, inputs: dict[Expr, Truncated], depth: int) -> None:
        self.level, self.outer, self.depth = level, outer, depth
        self.inputs = inputs
        self._known: dict[Expr, Truncated] = dict(inputs)
        self._touched: dict[Expr, bool] = {}

    def at(self, e: Expr) -> Truncated:
        """The value of an expression.

        Raises   NotDecided for what has no value in a finite field
        """
        found = self._known.get(e)
        if found is None:
            outer = self.outer
            found = outer.at(e) if outer is not None and not self._touches(e) else self._value(e)
            self._known[e] = found
        return found

    def seeded(self, v: Expr, direction: Values) -> Scope:
        """The scope where a new infinitesimal times a direction is added to an expression."""
        return Scope(self.level, self, {v: {**self.at(v), 1 << self.depth: direction}}, self.depth + 1)

    def _touches(self, e: Expr) -> bool:
        """Whether the expression depends on one that has infinitesimals of this scope."""
        known = self._touched.get(e)
        if known is None:
            if e in self.inputs:
                known = True
            elif is_leaf(e):
                value = self.level.setting.values.get(e)
                known = value is not None and self._touches(value)
            else:
                known = any(self._touches(a) for a in e.args if isinstance(a, Expr))
            self._touched[e] = known
        return known

    def _is_seeded(self, e: Expr) -> bool:
        """Whether the expression itself has infinitesimals added to it, so that its parts do not tell its value."""
        return e in self.inputs or (self.outer is not None and self.outer._is_seeded(e))

    # --- nodes ------------------------------------------------------------------------------------------

    def _value(self, e: Expr) -> Truncated:
        check_time()
        if is_leaf(e):
            return self._leaf(e)
        if e.is_Rational:
            return self.number(Fraction(int(e.p), int(e.q)))
        if e.is_Float:
            exact = Fraction(float(e)).limit_denominator(10**12)
            return self.number(exact)
        method = _METHODS.get(type(e))
        if method is not None:
            return method(self, e)
        name = function_name(e)
        if name is not None:
            return self.function(name, e.args[0], e.args[1:])
        raise NotDecided(f"{type(e).__name__} has no value in a finite field")

    def number(self, value: Fraction | int) -> Truncated:
        """A rational number."""
        return {0: np.array([[[self.level.field.number(value)]]], dtype=np.int64)}

    def one(self) -> Truncated:
        """The number one."""
        return self.number(1)

    def _leaf(self, e: Expr) -> Truncated:
        level, setting = self.level, self.level.setting
        value = setting.values.get(e)
        if value is not None:
            return self.at(value)
        if e in setting.sizes or e in setting.integers:
            return self.number(setting.sizes.get(e) or setting.integers[e])
        if isinstance(e, Symbol) and e.is_integer:
            raise NotDecided(f"{e} is an index")
        sample = field_sample(
            e,
            setting.shape(e),
            setting.assumptions,
            level.field,
            level.count,
            level.rng,
            setting.trigonometric,
        )
        if level.base.outer is None:
            level.base.inputs[e] = {0: sample}
        return {0: sample}

    def _constant(self, m: NDArray[Any]) -> Truncated:
        return {0: m.astype(np.int64)[None]}

    def _sum(self, e: Expr) -> Truncated:
        return self.level.algebra.plus(*(self.at(a) for a in e.args))

    def _product(self, e: Expr) -> Truncated:
        algebra = self.level.algebra
        matrices = [a for a in e.args if is_matrix(a)]
        result: Truncated | None = None
        if matrices:
            parts = [self.at(a) for a in matrices]
            while len(parts) > 1:  # the cheaper end first
                if parts[-1][0].shape[-1] <= parts[0][0].shape[-2]:
                    parts[-2:] = [algebra.product(parts[-2], parts[-1])]
                else:
                    parts[:2] = [algebra.product(parts[0], parts[1])]
            result = parts[0]
        for a in e.args:
            if not is_matrix(a):
                value = self.at(a)
                result = value if result is None else algebra.times(result, value)
        assert result is not None  # noqa: S101 - a product has factors
        return result

    def _hadamard(self, e: Expr) -> Truncated:
        result = self.at(e.args[0])
        for a in e.args[1:]:
            result = self.level.algebra.times(result, self.at(a))
        return result

    def _power(self, e: Expr) -> Truncated:
        base, exponent = e.args
        if any(self._touches(s) for s in exponent.free_symbols):
            raise NotDecided("a derivative by an exponent")
        k = self.level.setting.rational(exponent)
        if (
            isinstance(base, Norm)
            and k.denominator == 1
            and k.numerator % 2 == 0
            and not self._is_seeded(base)
        ):
            return self.raised(self._squares(base.arg), k / 2)
        return self.raised(self.at(base), k)

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
                self.level.only(x[0] != 0)
            value = field.power(x[0], k.numerator % (field.p - 1))
        else:
            value = self.level.root(x[0], k)
        if len(x) == 1:
            return {0: value}
        self.level.only(x[0] != 0)
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
        self.level.only(x[0] != 0)
        return self.level.algebra.inverse(x)

    def _squares(self, m: Expr) -> Truncated:
        x = self.at(m)
        return self._total(self.level.algebra.times(x, x))

    def _total(self, x: Truncated) -> Truncated:
        return self.level.algebra.linear(x, lambda v: v.sum(axis=(-2, -1), keepdims=True))

    def _matrix_inverse(self, e: Expr) -> Truncated:
        x = self._regular(self.at(e.args[0]))
        return self.level.algebra.matrix_inverse(x)

    def _regular(self, x: Truncated) -> Truncated:
        self.level.only(self.level.field.eliminated(x[0])[1] != 0)
        return x

    def _matrix_power(self, e: Expr) -> Truncated:
        base, exponent = e.args
        algebra = self.level.algebra
        k = self.level.setting.whole(exponent)
        x = self.at(base)
        if k < 0:
            x = algebra.matrix_inverse(self._regular(x))
        result: Truncated = self._constant(np.eye(x[0].shape[-1]))
        k = abs(k)
        while k:
            if k & 1:
                result = algebra.product(result, x)
            k >>= 1
            if k:
                x = algebra.product(x, x)
        return result

    def _determinant(self, e: Expr) -> Truncated:
        return self.level.algebra.determinant(self._regular(self.at(e.args[0])))

    def _log_determinant(self, e: Expr) -> Truncated:
        return self._log_abs_det(e.args[0])

    def _log_abs_det(self, m: Expr) -> Truncated:
        """Log |det m|, as the sum over the factors of a product."""
        algebra = self.level.algebra
        if self._is_seeded(m):
            return self.log(algebra.determinant(self._regular(self.at(m))))
        if isinstance(m, Transpose):
            return self._log_abs_det(m.args[0])
        if isinstance(m, Inverse):
            return algebra.scaled(self._log_abs_det(m.args[0]), -1 % self.level.field.p)
        shapes = {self.level.setting.shape(a) for a in m.args if is_matrix(a)}
        square = all(r == c for r, c in shapes) and all(is_matrix(a) for a in m.args)
        if isinstance(m, MatMul) and square:
            return algebra.plus(*(self._log_abs_det(a) for a in m.args))
        if isinstance(m, KroneckerProduct) and square:
            n = self.level.setting.shape(m)[0]
            sizes = [n // self.level.setting.shape(a)[0] for a in m.args]
            parts = (algebra.scaled(self._log_abs_det(a), k) for a, k in zip(m.args, sizes, strict=True))
            return algebra.plus(*parts)
        return self.log(algebra.determinant(self._regular(self.at(m))))

    def _kronecker(self, e: Expr) -> Truncated:
        p = self.level.field.p

        def multiply(a: Values, b: Values) -> Values:
            table = a[..., :, None, :, None] * b[..., None, :, None, :] % p
            *batch, m, k, n, q = table.shape
            return table.reshape(*batch, m * k, n * q)

        result = self.at(e.args[0])
        for a in e.args[1:]:
            result = self.level.algebra._convolved(result, self.at(a), multiply)
        return result

    def _linear(self, f: Callable[[Values], Values]) -> Callable[[Expr], Truncated]:
        return lambda e: self.level.algebra.linear(self.at(e.args[0]), f)

    def _diagonal(self, e: Expr) -> Truncated:
        eye = np.eye(self.level.setting.shape(e)[0], dtype=np.int64)
        return self.level.algebra.linear(self.at(e.args[0]), lambda v: v * eye)

    def _correlate(self, e: Expr) -> Truncated:
        rows, cols = self.level.setting.shape(e)
        p = self.level.field.p

        def multiply(x: Values, w: Values) -> Values:
            total: Values | int = 0
            for a in range(w.shape[-2]):
                for b in range(w.shape[-1]):
                    part = x[..., a : a + rows, b : b + cols] * w[..., a : a + 1, b : b + 1]
                    total = (total + part) % p
            return np.asarray(total)

        x, w = e.args
        return self.level.algebra._convolved(self.at(x), self.at(w), multiply)

    def _convolve(self, e: Expr) -> Truncated:
        x, w = self.at(e.args[0]), self.at(e.args[1])
        rows, cols = (n - 1 for n in w[0].shape[-2:])

        def padded(v: Values) -> Values:
            return np.pad(v, [(0, 0)] * (v.ndim - 2) + [(rows, rows), (cols, cols)])

        shape = self.level.setting.shape(e)
        p = self.level.field.p

        def multiply(a: Values, b: Values) -> Values:
            b = b[..., ::-1, ::-1]
            total: Values | int = 0
            for i in range(b.shape[-2]):
                for j in range(b.shape[-1]):
                    part = a[..., i : i + shape[0], j : j + shape[1]] * b[..., i : i + 1, j : j + 1]
                    total = (total + part) % p
            return np.asarray(total)

        return self.level.algebra._convolved(self.level.algebra.linear(x, padded), w, multiply)

    def _commutation(self, e: Expr) -> Truncated:
        m, n = (self.level.setting.whole(s) for s in e.args)
        out = np.zeros((m * n, m * n))
        for i in range(m):
            for j in range(n):
                out[i * n + j, j * m + i] = 1
        return self._constant(out)

    def _blocks(self, e: Blocks) -> Truncated:
        rows = [[self.at(m) for m in row] for row in e.by_rows]
        around = np.broadcast_shapes(*(v.shape[:-2] for row in rows for m in row for v in m.values()))

        def part(m: Truncated, k: int) -> Values:
            v = m.get(k, np.zeros_like(next(iter(m.values()))))
            return np.broadcast_to(v, (*around, *v.shape[-2:]))

        return {
            k: np.concatenate([np.concatenate([part(m, k) for m in row], -1) for row in rows], -2)
            for k in sorted({k for row in rows for m in row for k in m})
        }

    def _element(self, e: Expr) -> Truncated:
        m, i, j = e.args
        i, j = self.level.setting.whole(i), self.level.setting.whole(j)
        return self.level.algebra.linear(self.at(m), lambda v: v[..., i : i + 1, j : j + 1])

    def _delta(self, e: Expr) -> Truncated:
        i, j = (self.level.setting.rational(a) for a in e.args)
        return self.number(int(i == j))

    def _range(self, e: Expr) -> Truncated:
        """A sum or a product over a range, written out."""
        if isinstance(e, Sum | Product):
            if len(e.limits) != 1:
                raise NotDecided("a sum over several ranges")
            body, (index, lower, upper) = e.function, e.limits[0]
        else:
            body, index, (lower, upper) = e.body, e.index, e.bounds
        first, last = self.level.setting.whole(lower), self.level.setting.whole(upper)
        if last - first > _LONGEST_RANGE:
            raise NotDecided("a long range")
        parts = [self.at(body.xreplace({index: Integer(k)})) for k in range(first, last + 1)]
        algebra = self.level.algebra
        rows, cols = self.level.setting.shape(e)
        if isinstance(e, Sum | MatrixSum):
            return algebra.plus(self._constant(np.zeros((rows, cols))), *parts)
        if isinstance(e, Product):
            result = self.one()
            for part in parts:
                result = algebra.times(result, part)
            return result
        result = self._constant(np.eye(rows))
        for part in parts if e.direction == 1 else reversed(parts):
            result = algebra.product(result, part)
        return result

    # --- derivatives that are not worked out ---------------------------------------------------------------

    def _gradient(self, e: Expr) -> Truncated:
        f, v = e.args
        rows, cols = self.level.setting.shape(v)
        table = self._columns(f, v)
        return {
            k: np.swapaxes(c.reshape(*c.shape[:-2], cols, rows), -1, -2) for k, c in table.items()
        } or self._constant(np.zeros((rows, cols)))

    def _jacobian(self, e: Expr) -> Truncated:
        f, v = e.args
        table = self._columns(f, v)
        if not is_matrix(v) and is_matrix(f):
            rows, cols = self.level.setting.shape(f)
            return {
                k: np.swapaxes(c.reshape(*c.shape[:-2], cols, rows), -1, -2) for k, c in table.items()
            } or self._constant(np.zeros((rows, cols)))
        m, n = (int(np.prod(self.level.setting.shape(x))) for x in (f, v))
        return table or self._constant(np.zeros((m, n)))

    def _differential(self, e: Expr) -> Truncated:
        """The slope along the increment of the variable."""
        setting, bit = self.level.setting, self.depth
        if setting.increment is None:
            raise NotDecided("a differential")
        x, dx = setting.increment
        direction = np.broadcast_to(self.at(dx)[0], (self.level.count, *setting.shape(x)))
        value = self.seeded(x, direction.reshape(*[1] * (bit + 1), *direction.shape)).at(e.args[0])
        slope = {
            k ^ 1 << bit: c.reshape(*[1] * (4 + bit - c.ndim), *c.shape)[0]
            for k, c in value.items()
            if k >> bit & 1
        }
        return slope or self._constant(np.zeros(setting.shape(e.args[0])))

    def _columns(self, f: Expr, v: Expr) -> Truncated:
        """The table d vec(f)_i / d vec(v)_j, columns stacked; empty if f does not depend on v."""
        bit = self.depth
        if isinstance(v, MatrixElement):
            parent, i, j = v.args
            rows, cols = self.level.setting.shape(parent)
            basis = np.zeros((1, rows, cols), dtype=np.int64)
            basis[0, self.level.setting.whole(i), self.level.setting.whole(j)] = 1
            v = parent
        else:
            rows, cols = self.level.setting.shape(v)
            basis = np.eye(rows * cols, dtype=np.int64).reshape(-1, cols, rows).swapaxes(-1, -2)
        directions = basis.reshape(len(basis), *[1] * (bit + 1), *basis.shape[-2:])
        value = self.seeded(v, directions).at(f)
        table: dict[int, Values] = {}
        for k, c in value.items():
            if k >> bit & 1:
                full = c.reshape(*[1] * (4 + bit - c.ndim), *c.shape)
                full = np.broadcast_to(full, (len(basis), *full.shape[1:]))
                stacked = full.swapaxes(-1, -2).reshape(*full.shape[:-2], -1)
                table[k ^ 1 << bit] = np.moveaxis(stacked, 0, -1)
        return table

    # --- functions -------------------------------------------------------------------------------------------

    def _elementwise(self, e: Expr) -> Truncated:
        return self.function(e.name, e.arg, e.parameters)

    def exp(self, x: Expr) -> Truncated:
        """The exponential of an expression, entry by entry."""
        value = self.level.exponential("exp", x)
        return self.level.algebra.series(self.at(x), lambda j: value)

    def _circle(self, x: Expr) -> tuple[Truncated, Truncated, int]:
        """exp(i x), its inverse, and i."""
        p = self.level.field.p
        if not self.level.setting.trigonometric:
            raise NotDecided("trigonometric functions")
        i = next(r for r in (pow(a, (p - 1) // 4, p) for a in range(2, 200)) if r * r % p == p - 1)
        value = self.level.exponential("circle", x)
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
        level.only(x[0] != 0)
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
        self.level.only(below != 0)
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

    def _erf(self, e: Expr, x: Truncated, turn: Callable[[Level, Values], Values]) -> Truncated:
        """Erf with erf'(t) = 2 / sqrt(pi) exp(-t^2); `turn` makes -t^2 of the values of e at the level below."""
        level, field = self.level, self.level.field
        root = level.base.at(sympy.Pow(S.Pi, Fraction(-1, 2), evaluate=False))[0] if len(x) > 1 else None

        def coefficient(j: int) -> Values:
            if j == 0:
                return self._odd("erf", x[0])
            assert root is not None  # noqa: S101 - there is a nilpotent part
            bell = field.times(level.exponential("exp", e, turn), field.times(root, 2))
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
        s = self.level.fresh("pi", np.zeros((1, 1, 1), dtype=np.int64))
        return {0: self.level.field.times(s, s)}

    def _signed(self, name: str, e: Expr, parameters: Sequence[Expr]) -> Truncated:
        algebra, level = self.level.algebra, self.level
        x = self.at(e)
        sign = level.sign(x[0])
        for k, c in x.items():
            if k and name != "step":  # a kink is left out, unless the argument stays where it is
                zero = (x[0] == 0) & (np.abs(c).reshape(-1, *c.shape[-3:]).max(axis=0) != 0)
                level.only(~zero)
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

    def _softmax(self, e: Expr) -> Truncated:
        y = self.exp(e.arg)
        return self.level.algebra.times(y, self.inverted(self._along(y, e.axis)))

    def _along(self, y: Truncated, axis: int) -> Truncated:
        return self.level.algebra.linear(y, lambda v: v.sum(axis=axis - 2, keepdims=True))

    def _log_softmax(self, e: Expr) -> Truncated:
        total = self.log(self._along(self.exp(e.arg), e.axis))
        return self.level.algebra.plus(
            self.at(e.arg), self.level.algebra.scaled(total, -1 % self.level.field.p)
        )

    def _log_sum_exp(self, e: Expr) -> Truncated:
        axis = e.axis if isinstance(e, AxisLogSumExp) else 0
        total = self.log(self._along(self.exp(e.arg), axis))
        return total if axis == 1 else self.level.algebra.linear(total, lambda v: v.swapaxes(-1, -2))

    def _largest(self, e: Expr) -> Truncated:
        """Some entry, the same for equal arrays; all others are smaller."""
        x = self.at(e.arg)
        field = self.level.field
        if isinstance(e, AxisMax):
            rows: Truncated = x if e.axis == 1 else {k: v.swapaxes(-1, -2) for k, v in x.items()}
        else:
            rows = {k: v.reshape(*v.shape[:-2], 1, -1) for k, v in x.items()}
        value = np.broadcast_to(rows[0], (self.level.count, *rows[0].shape[1:]))
        n = value.shape[-1]
        at = self.level.fresh("max", value.sum(axis=-1, keepdims=True) % field.p) % n
        chosen = np.arange(n) == at
        result = {k: (v * chosen).sum(axis=-1, keepdims=True) for k, v in rows.items()}
        excess = (result[0] - value) % field.p
        self.level.only((excess != 0) | chosen)
        self.level.positives.append(np.where(chosen, -1, excess).reshape(self.level.count, -1))
        return result


def _minus_square(level: Level, t: Values) -> Values:
    return level.field.times(level.field.times(t, t), -1 % level.field.p)


def _minus_half_square(level: Level, t: Values) -> Values:
    return level.field.times(level.field.times(t, t), level.field.number(Fraction(-1, 2)))


def _linear(f: Callable[[Values], Values]) -> Callable[[Scope, Expr], Truncated]:
    return lambda scope, e: scope.level.algebra.linear(scope.at(e.args[0]), f)


_METHODS: dict[type, Callable[[Scope, Expr], Truncated]] = {
    Add: Scope._sum,
    MatAdd: Scope._sum,
    Mul: Scope._product,
    MatMul: Scope._product,
    HadamardProduct: Scope._hadamard,
    Pow: Scope._power,
    HadamardPower: Scope._power,
    Elementwise: Scope._elementwise,
    Transpose: _linear(lambda v: v.swapaxes(-1, -2)),
    Inverse: Scope._matrix_inverse,
    MatPow: Scope._matrix_power,
    Trace: _linear(lambda v: np.trace(v, axis1=-2, axis2=-1)[..., None, None]),
    Determinant: Scope._determinant,
    LogDet: Scope._log_determinant,
    KroneckerProduct: Scope._kronecker,
    DiagMatrix: Scope._diagonal,
    DiagonalOf: _linear(lambda v: np.diagonal(v, axis1=-2, axis2=-1)[..., None]),
    Vec: _linear(lambda v: v.swapaxes(-1, -2).reshape(*v.shape[:-2], -1, 1)),
    Commutation: Scope._commutation,
    Flip: _linear(lambda v: v[..., ::-1, ::-1]),
    Correlate: Scope._correlate,
    Convolve: Scope._convolve,
    Blocks: Scope._blocks,
    AsScalar: _linear(lambda v: v),
    EntrySum: _linear(lambda v: v.sum(axis=(-2, -1), keepdims=True)),
    EntryMax: Scope._largest,
    AxisMax: Scope._largest,
    LogSumExp: Scope._log_sum_exp,
    AxisLogSumExp: Scope._log_sum_exp,
    Norm: lambda scope, e: scope.raised(scope._squares(e.arg), Fraction(1, 2)),
    Softmax: Scope._softmax,
    LogSoftmax: Scope._log_softmax,
    Identity: lambda scope, e: scope._constant(np.eye(scope.level.setting.shape(e)[0])),
    OneMatrix: lambda scope, e: scope._constant(np.ones(scope.level.setting.shape(e))),
    ZeroMatrix: lambda scope, e: scope._constant(np.zeros(scope.level.setting.shape(e))),
    MatrixElement: Scope._element,
    KroneckerDelta: Scope._delta,
    OrderedProduct: Scope._range,
    MatrixSum: Scope._range,
    Sum: Scope._range,
    Product: Scope._range,
    Gradient: Scope._gradient,
    ScalarGradient: Scope._gradient,
    Jacobian: Scope._jacobian,
    Differential: Scope._differential,
    ScalarDifferential: Scope._differential,
    type(S.Pi): Scope._pi,
    sympy.exp: lambda scope, e: scope.exp(e.args[0]),
}
