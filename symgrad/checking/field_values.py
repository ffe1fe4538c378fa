"""The value of an expression in a finite field, with infinitesimals: exact, and without floating point.

What is not rational becomes an atom for which equality in the field means equality of functions (`field_functions`);
open indices are axes (`field_entries`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from fractions import Fraction

import numpy as np
import sympy
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
from symgrad.checking.field_atoms import Atoms, Setting
from symgrad.checking.field_entries import is_over_entries
from symgrad.checking.field_functions import Turn
from symgrad.checking.field_matrices import MatrixValues
from symgrad.checking.field_samples import field_sample
from symgrad.checking.places import Places
from symgrad.checking.residues import Values
from symgrad.checking.truncated import Truncated
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
    Entries,
    EntryMax,
    EntrySum,
    Flip,
    Gradient,
    InRange,
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
    TensorElement,
    TensorEntries,
    TensorGradient,
    Vec,
    element,
    gradient,
    is_leaf,
    is_matrix,
)
from symgrad.expr.entrywise import function_name

__all__ = ["Level", "Scope"]

_LONGEST_RANGE = 40
_MOST_NUMBERS = 20_000_000


class Level(Atoms):
    """A prime of the chain and `count` points modulo it; `below` is the level of the exponents."""

    def __init__(
        self, p: int, count: int, setting: Setting, rng: np.random.Generator, below: Level | None
    ) -> None:
        super().__init__(p, count, setting, rng)
        self.below = below
        self.base = Scope(self, None, {}, 0)
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

    def exponential(self, kind: str, e: Expr, turn: Turn | None, places: Places | None) -> Values:
        """g^L(e), or of `turn` applied to the values of e at the level below."""
        key = (kind, e, turn, None if places is None else places.key)
        if key in self._exponentials:
            return self._exponentials[key]
        below = self.below
        if below is None:
            raise NotDecided("exponentials nested deeper than expected")
        base = below.base if places is None else below.base.within(places)
        values = base.at(e)[0]
        if turn is not None:
            values = turn(below, values)
        values = np.broadcast_to(values, (below.count, *values.shape[1:])).reshape(below.count, -1)
        shape = (self.count, *base.at(e)[0].shape[1:])
        values = np.where(below.valid[:, None], values, 0)
        if kind not in self._mixes:
            self._mixes[kind] = self.rng.integers(0, below.field.p, (self.count, below.count))
        mixed = below.field.product(self._mixes[kind], values)
        result = self.field.powers(self.generator, mixed.reshape(shape))
        self._exponentials[key] = result
        return result


class Scope(MatrixValues):
    """Values at the points of a level, some expressions having infinitesimals added to them, some indices being open."""

    level: Level

    def __init__(
        self,
        level: Level,
        outer: Scope | None,
        inputs: dict[Expr, Truncated],
        depth: int,
        places: Places | None = None,
        closed: Scope | None = None,
    ) -> None:
        self.level, self.outer, self.depth = level, outer, depth
        self.inputs, self.places = inputs, places
        self.closed: Scope = closed or self
        self._known: dict[Expr, Truncated] = dict(inputs)
        self._touched: dict[Expr, bool] = {}
        self._within: dict[object, Scope] = {}

    def at(self, e: Expr) -> Truncated:
        """The value of an expression: a matrix, or a table with an axis for every open index.

        Raises   NotDecided for what has no value in a finite field
        """
        found = self._known.get(e)
        if found is None:
            outer = self.outer
            if self.places is not None and not self.places.occur_in(e):
                found = self._spread(self.closed.at(e))
            else:
                found = outer.at(e) if outer is not None and not self._touches(e) else self._value(e)
            self._known[e] = found
        return found

    def seeded(self, v: Expr, direction: Values, fixed: Iterable[Expr] = ()) -> Scope:
        """The scope where a new infinitesimal times a direction is added to an expression, and `fixed` ones stay."""
        moved = {v: {**self.at(v), 1 << self.depth: direction}}
        return Scope(self.level, self, {**{u: self.at(u) for u in fixed}, **moved}, self.depth + 1)

    def within(self, places: Places) -> Scope:
        """The same values with indices open."""
        known = self.closed._within
        key = places.key
        if key not in known:
            outer = None if self.closed.outer is None else self.closed.outer.within(places)
            known[key] = Scope(self.level, outer, {}, self.depth, places, self.closed)
        return known[key]

    def exponential(self, kind: str, e: Expr, turn: Turn | None = None) -> Values:
        """g^L(e), or of `turn` applied to the values of e at the level below."""
        return self.level.exponential(kind, e, turn, self.places)

    def _touches(self, e: Expr) -> bool:
        """Whether the expression depends on one that has infinitesimals of this scope."""
        if self.closed is not self:
            return self.closed._touches(e)
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
        return e in self.closed.inputs or (self.outer is not None and self.outer._is_seeded(e))

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

    def _leaf(self, e: Expr) -> Truncated:
        level, setting = self.level, self.level.setting
        value = setting.values.get(e)
        if value is not None:
            return self.at(value)
        if e in setting.sizes or e in setting.integers:
            return self.number(setting.sizes.get(e) or setting.integers[e])
        if isinstance(e, Symbol) and e.is_integer:
            if self.places is not None:
                return self._index(e)
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

    def _sum(self, e: Expr) -> Truncated:
        return self.level.algebra.plus(*(self.at(a) for a in e.args))

    def _product(self, e: Expr) -> Truncated:
        if type(e) is Mul and any(isinstance(a, InRange) for a in e.args):
            return self._gated_product(e)
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

    def _range(self, e: Expr) -> Truncated:
        """A sum or a product over a range, written out."""
        if isinstance(e, Sum) and is_over_entries(e):
            return self._entry_sum(e)
        if self.places is not None:
            raise NotDecided("a range inside of index notation")
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
        if isinstance(v, MatrixElement | TensorElement) and self.places is not None:
            return self._by_entry(f, v)
        shape = self.level.setting.shape(v)
        turned = tuple(range(-1, -1 - len(shape), -1))
        return {
            k: np.transpose(
                c.reshape(*c.shape[:-2], *shape[::-1]),
                (*range(c.ndim - 2), *(c.ndim - 2 + len(shape) + n for n in turned)),
            )
            for k, c in self._columns(f, v).items()
        } or self._constant(np.zeros(shape))

    def _by_entry(self, f: Expr, v: Expr) -> Truncated:
        """The derivative of a scalar by an entry, either of them at open indices."""
        assert self.places is not None  # noqa: S101 - asked before
        array, *at = v.args
        if not self.places.occur_in(f):
            return self.at(element(gradient(f, array), *at))
        bit, shape = self.depth, self.level.setting.shape(array)
        numbers = np.zeros((1,) * self.rank, dtype=np.int64)
        for i, n in zip(at, shape, strict=True):
            place = np.asarray(self.places.whole(i))
            outside = (place < 0) | (place >= n)
            if outside.any() and self.places.uncounted(outside).any():
                raise NotDecided("an entry outside its array")
            numbers = numbers * n + np.clip(place, 0, n - 1)
        basis = np.eye(math.prod(shape), dtype=np.int64).reshape(-1, *[1] * (bit + 1), *shape)
        value = self.closed.seeded(array, basis).within(self.places).at(f)
        table: dict[int, Values] = {}
        for k, c in value.items():
            if k >> bit & 1:
                full = c.reshape(*[1] * (2 + self.rank + bit - c.ndim), *c.shape)
                full = np.broadcast_to(full, (len(basis), *full.shape[1:]))
                lead = full.ndim - self.rank
                at_numbers = numbers.reshape(*[1] * lead, *numbers.shape)
                both = np.broadcast_shapes(full.shape[1:], at_numbers.shape[1:])
                if math.prod(both) * len(basis) > _MOST_NUMBERS:
                    raise NotDecided("too many entries")
                wide = np.broadcast_to(full, (len(basis), *both))
                chosen = np.broadcast_to(at_numbers, (1, *both))
                table[k ^ 1 << bit] = np.take_along_axis(wide, chosen, axis=0)[0]
        return table or self.number(0)

    def _jacobian(self, e: Expr) -> Truncated:
        f, v = e.args
        table = self._columns(f, v)
        if not is_matrix(v) and is_matrix(f):
            rows, cols = self.level.setting.shape(f)
            return {
                k: np.swapaxes(c.reshape(*c.shape[:-2], cols, rows), -1, -2) for k, c in table.items()
            } or self._constant(np.zeros((rows, cols)))
        m, n = (math.prod(self.level.setting.shape(x)) for x in (f, v))
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
        """The table d vec(f)_i / d vec(v)_j, the first index of f and v fastest; empty if f does not depend on v."""
        bit = self.depth
        if isinstance(v, MatrixElement | TensorElement):
            v, *at = v.args
            shape = self.level.setting.shape(v)
            basis = np.zeros((1, *shape), dtype=np.int64)
            basis[(0, *(self.level.setting.whole(i) for i in at))] = 1
        else:
            shape = self.level.setting.shape(v)
            basis = np.eye(math.prod(shape), dtype=np.int64).reshape(-1, *shape[::-1])
            basis = basis.transpose(0, *range(len(shape), 0, -1))
        directions = basis.reshape(len(basis), *[1] * (bit + 1), *shape)
        value = self.seeded(v, directions).at(f)
        rank = len(self.level.setting.shape(f))
        table: dict[int, Values] = {}
        for k, c in value.items():
            if k >> bit & 1:
                full = c.reshape(*[1] * (2 + rank + bit - c.ndim), *c.shape)
                full = np.broadcast_to(full, (len(basis), *full.shape[1:]))
                lead = full.ndim - rank
                turned = full.transpose(*range(lead), *range(full.ndim - 1, lead - 1, -1))
                table[k ^ 1 << bit] = np.moveaxis(turned.reshape(*full.shape[:lead], -1), 0, -1)
        return table

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
        if isinstance(e, EntryMax) and self.places is not None:
            return self._largest_entry(e)
        x = self.at(e.arg)
        if isinstance(e, AxisMax):
            return self._largest_of(x if e.axis == 1 else {k: v.swapaxes(-1, -2) for k, v in x.items()})
        return self._largest_of({k: v.reshape(*v.shape[:-2], 1, -1) for k, v in x.items()})


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
    MatrixElement: Scope._entry,
    TensorElement: Scope._entry,
    Entries: Scope._array,
    TensorEntries: Scope._array,
    KroneckerDelta: Scope._delta,
    InRange: Scope._in_range,
    OrderedProduct: Scope._range,
    MatrixSum: Scope._range,
    Sum: Scope._range,
    Product: Scope._range,
    Gradient: Scope._gradient,
    ScalarGradient: Scope._gradient,
    TensorGradient: Scope._gradient,
    Jacobian: Scope._jacobian,
    Differential: Scope._differential,
    ScalarDifferential: Scope._differential,
    type(S.Pi): Scope._pi,
    sympy.exp: lambda scope, e: scope.exp(e.args[0]),
}
