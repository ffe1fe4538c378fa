"""The exact randomised test: both sides have the same values in a finite field, at random points and sizes.

The sides become quotients of polynomials in independent atoms (see `field_values`); a derivative is taken with
infinitesimals, which needs no rule of differentiation. If they differ as functions, they differ at a random point
modulo a random prime but for a small chance (Schwartz 1980; Zippel 1979), which is computed from the degrees. Sizes
are all different, at least as large as the number of indices of the largest network, and two choices of them are
tested. Equality is found; a difference is not, since the atoms know fewer relations than the functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sympy import Expr, Indexed, Pow, Product, Sum, Symbol
from sympy.matrices.expressions.hadamard import HadamardPower
from sympy.matrices.expressions.matpow import MatPow

from symgrad.checking.budget import OutOfTime, check_time
from symgrad.checking.canonical import NotDecided
from symgrad.checking.degrees import Degrees, all_nodes, name_of, nesting, summed_indices
from symgrad.checking.field_values import Level, Scope, Setting
from symgrad.checking.normal_form import fits, jacobian_shape
from symgrad.checking.numeric import is_index
from symgrad.checking.residues import Values, chain_of_primes
from symgrad.deriving.steps import Evidence
from symgrad.expr import (
    MatrixSum,
    Model,
    OrderedProduct,
    is_matrix,
    shape_of,
)

__all__ = ["FieldTest"]

Pairs = list[tuple[Values, Values]]

METHOD = "an exact test modulo random primes"
_WANTED = 1e-12
_WORST = 1e-6
_POINTS = 3
_MOST_POINTS = 6000
_LARGEST_SIZE = 14
_REDRAWS = 6
_SPARE = 8
_EXPONENTS = 3
_ORDERS = 6
_EXPONENT_RANGE = 1 << 16
_RANGES = (OrderedProduct, MatrixSum, Sum, Product)


_Found = tuple[int, Mapping[Expr, int], float]
"""So many points, at these sizes, and the bound on the error."""

_DIFFERENT: _Found = (0, {}, 1.0)


class FieldTest:
    """Tests equations over one model; `increment` is the variable of differentials in them, with its increment.

    After a test that finds nothing, `reason` says why.

    >>> from symgrad.expr import matmul, matrix, trace
    >>> A, B = matrix("A", "m", "n"), matrix("B", "n", "m")
    >>> FieldTest(Model(())).equal(trace(matmul(A, B)), trace(matmul(B, A))).level
    'verified'
    """

    def __init__(self, model: Model, seed: int = 0, increment: tuple[Expr, Expr] | None = None) -> None:
        self.model, self.seed, self.increment = model, seed, increment
        self.reason = ""
        self._values: dict[Expr, Expr] = {}
        if not model.has_loops:
            self._values = {d.symbol: d.value for d in model.definitions()}

    def equal(self, a: Expr, b: Expr) -> Evidence | None:
        """Evidence that two expressions are equal, `verified`; None where that is not found."""
        if not fits(a, shape_of(b)):
            return None
        return self._tested((a, b), lambda scope, rng: [(scope.at(a)[0], scope.at(b)[0])])

    def gradient_equals(
        self, f: Expr, x: Expr, answer: Expr, structure: str | None = None
    ) -> Evidence | None:
        """Evidence that the answer is the gradient of the scalar f by x, in the shape of x.

        With a structure, along directions that keep the ties between the entries of x, as `check_structured`.
        """

        def compare(scope: Scope, rng: np.random.Generator) -> Pairs:
            value = scope.at(answer)[0]
            direction = _random(scope, x, rng)
            counted, pairs = value, []
            if structure is not None:
                n = direction.shape[-1]
                eye = np.eye(n, dtype=np.int64)
                if structure == "diagonal-entries":
                    direction, tied = direction * eye, value * eye
                else:
                    upper = np.triu(direction)
                    direction = upper + np.triu(direction, 1).swapaxes(-1, -2)
                    tied = value.swapaxes(-1, -2)
                    counted = np.triu(value) if structure == "symmetric-entries" else value
                pairs.append((value, tied))
            slope = _slope(scope, f, x, direction)
            return [*pairs, (_inner(scope, counted, direction), slope)]

        return self._tested((answer, f, x), compare, derived=(f,)) if fits(answer, shape_of(x)) else None

    def jacobian_equals(self, f: Expr, x: Expr, answer: Expr) -> Evidence | None:
        """Evidence that the answer is J[i, j] = d f_i / d x_j; by a scalar it has the shape of f."""

        def compare(scope: Scope, rng: np.random.Generator) -> Pairs:
            value = scope.at(answer)[0]
            direction = _random(scope, x, rng)
            slope = _slope(scope, f, x, direction)
            field = scope.level.field
            if not is_matrix(x):
                return [(field.times(value, direction), slope)]
            return [(field.product(value, _stacked(direction)), _stacked(slope))]

        if not fits(answer, jacobian_shape(f, x)):
            return None
        return self._tested((answer, f, x), compare, derived=(f,))

    def hessian_equals(self, f: Expr, x: Expr, answer: Expr) -> Evidence | None:
        """Evidence that u^T H v is the second derivative of f along u and v."""

        def compare(scope: Scope, rng: np.random.Generator) -> Pairs:
            value = scope.at(answer)[0]
            u, v = _random(scope, x, rng), _random(scope, x, rng)
            twice = scope.seeded(x, u[None]).seeded(x, v[None, None]).at(f).get(3)
            slope = np.zeros((1, 1, 1), dtype=np.int64) if twice is None else twice.reshape(twice.shape[-3:])
            field = scope.level.field
            if not is_matrix(x):
                return [(field.times(value, field.times(u, v)), slope)]
            return [(field.product(_stacked(u).swapaxes(-1, -2), field.product(value, _stacked(v))), slope)]

        if not fits(answer, jacobian_shape(x, x) if is_matrix(x) else ()):
            return None
        return self._tested((answer, f, x), compare, derived=(f, f))

    def differential_equals(self, f: Expr, x: Expr, dx: Expr, answer: Expr) -> Evidence | None:
        """Evidence that the answer is the slope of f along the increment dx of x."""

        def compare(scope: Scope, rng: np.random.Generator) -> Pairs:
            rows, cols = scope.level.setting.shape(x)
            direction = np.broadcast_to(scope.at(dx)[0], (scope.level.count, rows, cols))
            return [(scope.at(answer)[0], _slope(scope, f, x, direction))]

        return self._tested((answer, f, x, dx), compare, derived=(f,)) if fits(answer, shape_of(f)) else None

    # --- the test ---------------------------------------------------------------------------------------

    def _tested(
        self,
        expressions: tuple[Expr, ...],
        compare: Callable[[Scope, np.random.Generator], Pairs],
        derived: tuple[Expr, ...] = (),
    ) -> Evidence | None:
        """`derived` are the expressions that a derivative is taken of, which raises their degrees."""
        self.reason = "the sides are not the same in a finite field"
        if self.model.has_loops:
            self.reason = "a loop of symbolic length"
            return None
        try:
            plan = _Plan(self.model, self._values, expressions, self.increment, self.seed)
            used: list[Mapping[str, int]] = []
            points, worst = 0, 0.0
            wanted = 2 if plan.symbols or plan.integers else 1
            for which in range(_ORDERS if wanted == 2 else 1):
                found = self._at_sizes(plan, which, compare, derived)
                check_time()
                if found is _DIFFERENT:
                    return None
                if found is not None:
                    here, sizes, bound = found
                    used.append({str(s): n for s, n in sizes.items()})
                    points, worst = points + here, max(worst, bound)
                if len(used) == wanted:
                    break
            if len(used) < wanted:
                self.reason = "no points at which both sides have a value"
                return None
            if worst > _WORST:
                self.reason = f"the bound on the error would be {worst:.1e}"
                return None
            return Evidence("verified", plan.method(used), tuple(used), points, error_bound=_shown(worst))
        except OutOfTime:
            raise
        except (NotDecided, RecursionError, ValueError, OverflowError, MemoryError) as refused:
            self.reason = str(refused)
            return None

    def _at_sizes(
        self,
        plan: _Plan,
        which: int,
        compare: Callable[[Scope, np.random.Generator], Pairs],
        derived: tuple[Expr, ...],
    ) -> _Found | None:
        """One choice of sizes; several integers for the exponents, each of which leaves out its own zeros."""
        points, missed = 0, 0.0
        zeros = 1.0
        for trial in range(_EXPONENTS if plan.integers - plan.short else 1):
            setting = plan.setting(which, trial)
            effort = plan.effort(setting, derived)
            found = self._at_points(plan, setting, effort, compare, (self.seed, which, trial))
            if found is None or found is _DIFFERENT:
                return None if found is None else _DIFFERENT
            here, _, bound = found
            points, missed = points + here, max(missed, bound)
            zeros *= min(1.0, effort.zeros / _EXPONENT_RANGE)
        shown = {**{s: setting.sizes[s] for s in sorted(plan.symbols, key=str)}, **setting.integers}
        return points, shown, missed + (zeros if plan.integers - plan.short else 0.0)

    def _at_points(
        self,
        plan: _Plan,
        setting: Setting,
        effort: _Effort,
        compare: Callable[[Scope, np.random.Generator], Pairs],
        seed: tuple[int, ...],
    ) -> _Found | None:
        """The number of points at which the sides agree, and the bound on the error; None where they have no value."""
        rng = np.random.default_rng((*seed, 61))
        for _ in range(_REDRAWS):
            try:
                top = plan.levels(setting, effort, rng)
                for _ in range(3):  # again if points were left out below
                    masks = plan.masks(top)
                    pairs = compare(top.base, np.random.default_rng((*seed, 62)))
                    if plan.masks(top) == masks:
                        break
                    _forget(top)
                here = int(top.valid.sum())
                if here < effort.needed or not _enough_below(top, effort):
                    continue
            except ZeroDivisionError:
                continue
            for a, b in pairs:
                gap = (a - b) % top.field.p
                if np.broadcast_to(gap, (top.count, *gap.shape[-2:]))[top.valid].any():
                    return _DIFFERENT
            return here, {}, effort.bound(here, top)
        return None


@dataclass(frozen=True)
class _Effort:
    """How many points there are, how many must be left, and what a point is worth.

    degree     of the difference as a polynomial; `bits` the choices in its sign-like factors
    zeros      the most zeros that a coefficient has as a polynomial in an exponent
    below      points at the levels of the exponents, `needed_below` of which must be left
    """

    points: int
    needed: int
    degree: int
    bits: float
    below: int
    needed_below: int
    exponentials: int
    inside: int
    inside_signs: float
    collisions: int
    zeros: int

    def bound(self, points: int, top: Level) -> float:
        """The chance that a difference is overlooked."""
        smallest = top.field.p if top.below is None else top.below.field.p
        miss = min(1.0, (self.degree + self.collisions) / smallest)
        each = 1 - 2.0**-self.bits * (1 - miss)
        total = each**points
        level = top.below
        while level is not None:
            total += self._dependent(level)
            level = level.below
        return total

    def _dependent(self, level: Level) -> float:
        """The chance that independent exponents are dependent at the points of a level."""
        miss = min(1.0, self.inside / level.field.p)
        n, m = int(level.valid.sum()), self.exponentials
        if self.inside_signs == 0:
            log = math.lgamma(n + 1) - math.lgamma(n - m + 2) - math.lgamma(m) + (n - m + 1) * math.log(miss)
            return math.exp(min(log, 0.0))
        mean = n * 2.0**-self.inside_signs * (1 - miss)  # Chernoff
        return math.exp(-((mean - m) ** 2) / (2 * mean)) if mean > m else 1.0


class _Plan:
    """What a test needs: sizes, integer exponents, levels of exponentials, points."""

    def __init__(
        self,
        model: Model,
        values: Mapping[Expr, Expr],
        expressions: tuple[Expr, ...],
        increment: tuple[Expr, Expr] | None,
        seed: int,
    ) -> None:
        self.model, self.values, self.expressions, self.seed = model, values, expressions, seed
        self.increment = increment
        nodes = list(all_nodes(expressions, values))
        self.symbols, self.taken = _sizes(nodes)
        self.integers, self.short = _integers(nodes, self.symbols)
        names = {name_of(n) for n in nodes}
        self.trigonometric = bool(names & {"sin", "cos", "tan"})
        self.nesting = nesting(expressions, values)
        self.needs: dict[Symbol, int] = {}
        for e in expressions:
            for s, n in summed_indices(e, values).items():
                self.needs[s] = max(self.needs.get(s, 0), n)

    def method(self, used: Sequence[Mapping[str, int]]) -> str:
        """The method in words; for exponents in the length of a sum, only those that were tested."""
        if not self.short:
            return METHOD
        shown = "; ".join(
            f"{k} = {', '.join(str(u[str(k)]) for u in used)}" for k in sorted(self.short, key=str)
        )
        return f"{METHOD}, for {shown} only"

    def setting(self, which: int, trial: int) -> Setting:
        """Sizes all different and as large as needed, growing in another order for each choice."""
        ordered = sorted(self.symbols, key=str)
        if which > 1:
            ordered = [ordered[k] for k in np.random.default_rng(which).permutation(len(ordered))]
        sizes: dict[Expr, int] = {}
        number = 2
        for place, s in enumerate(ordered if which != 1 else reversed(ordered)):
            base = (4, 3, 5)[which % 3] if place < len(ordered) - 1 else (7, 5, 8)[which % 3]
            number = max(self.needs.get(s, 0), base, number + 1)
            while number in self.taken:
                number += 1
            if number > _LARGEST_SIZE + len(ordered):
                raise NotDecided(f"sizes above {_LARGEST_SIZE}")
            sizes[s] = number
        rng = np.random.default_rng((self.seed, which, trial, 60))
        integers: dict[Expr, int] = {}
        for k in sorted(self.integers, key=str):
            large = int(rng.integers(_EXPONENT_RANGE, 2 * _EXPONENT_RANGE))
            integers[k] = (3, 6)[which] if k in self.short else large
        return Setting(
            self.values, self.model.assumptions, sizes, integers, self.trigonometric, self.increment
        )

    def effort(self, setting: Setting, derived: Iterable[Expr]) -> _Effort:
        """From the degrees of the sides."""
        degrees = Degrees(setting)
        total, den = 0, 0
        signs: dict[object, int] = {}
        for e in self.expressions:
            d = degrees.of(e)
            total, den = max(total, d.num + d.den), max(den, d.den)
            for s, n in d.signs.items():
                signs[s] = max(signs.get(s, 0), n)
        for e in derived:
            d = degrees.of(e)
            total, den = total + d.num + 2 * d.den, den + 2 * d.den
        bits = degrees.bits(signs)
        m = degrees.exponentials
        degree = (2 * total + den + 2) * degrees.height * (1 + m) * 2 ** min(degrees.roots, 40)
        for k in setting.integers.values():
            degree *= 1 if k < 100 else 2  # its powers are in the degrees already
        needed = _POINTS if bits == 0 else math.ceil(-math.log(_WANTED) * 2.0**bits)
        points = needed
        if degrees.roots:
            points = math.ceil((1.4 * needed + 12) * 2.0**degrees.roots)
        below = m + _SPARE
        if degrees.inside_signs:
            below = math.ceil((2 * m + 80) * 2.0**degrees.inside_signs)
        if points > _MOST_POINTS or below > _MOST_POINTS:
            raise NotDecided("too many cells")
        return _Effort(
            points,
            needed,
            degree,
            bits,
            below,
            m + _SPARE // 2,
            m,
            degrees.inside * degrees.height * (1 + m) * 2,
            degrees.inside_signs,
            degrees.atoms**2 * degrees.inside,
            8 + total // _EXPONENT_RANGE,
        )

    def levels(self, setting: Setting, effort: _Effort, rng: np.random.Generator) -> Level:
        """A level for each nesting of exponentials, the top one last."""
        signed = (839, 840) if self.nesting == 0 else (7, 8)
        remainder = (1, 4) if self.trigonometric else signed
        primes = chain_of_primes(self.nesting + 1, rng, remainder=remainder)
        level: Level | None = None
        for n, p in enumerate(primes):
            count = effort.points if n == self.nesting else effort.below
            level = Level(p, count, setting, rng, level)
        assert level is not None  # noqa: S101 - there is at least one prime
        return level

    def masks(self, top: Level) -> list[bytes]:
        """Which points count, at the levels below."""
        found, level = [], top.below
        while level is not None:
            found.append(level.valid.tobytes())
            level = level.below
        return found


def _shown(bound: float) -> float:
    """A bound with two digits, rounded up."""
    if bound <= 0.0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(bound)) - 1)
    return float(f"{math.ceil(bound / unit) * unit:.1e}")


def _forget(top: Level) -> None:
    level: Level | None = top
    while level is not None:
        level.forget()
        level = level.below


def _enough_below(top: Level, effort: _Effort) -> bool:
    level = top.below
    while level is not None:
        if level.valid.sum() < effort.needed_below:
            return False
        level = level.below
    return True


def _sizes(nodes: Iterable[Expr]) -> tuple[set[Symbol], set[int]]:
    """The sizes in the shapes that are symbols, and those that are numbers."""
    symbols: set[Symbol] = set()
    numbers: set[int] = set()
    for node in nodes:
        for s in shape_of(node):
            if s.is_Integer:
                numbers.add(int(s))
            else:
                symbols |= {t for t in s.atoms(Symbol, Indexed) if not _is_base(t, s)}
    return symbols, numbers


def _is_base(t: Expr, s: Expr) -> bool:
    """Whether a symbol is only the name of an indexed size, or its index."""
    return isinstance(t, Symbol) and any(
        t in i.free_symbols - {i} or str(i.base) == str(t) for i in s.atoms(Indexed)
    )


def _integers(nodes: Iterable[Expr], sizes: set[Symbol]) -> tuple[set[Expr], set[Expr]]:
    """The symbols in exponents, which get integers, and among them those in the length of a sum, which get small ones."""
    exponents: set[Expr] = set()
    bounds: set[Expr] = set()
    bound: set[Expr] = set()
    for n in nodes:
        if isinstance(n, Pow | HadamardPower | MatPow):
            exponents |= n.args[1].free_symbols
        elif isinstance(n, _RANGES):
            index, lower, upper = n.limits[0] if isinstance(n, Sum | Product) else (n.index, *n.bounds)
            bound.add(index)
            bounds |= lower.free_symbols | upper.free_symbols
        elif isinstance(n, Symbol) and n.is_integer:
            exponents.add(n)
    bounds -= sizes | bound
    exponents = (exponents | bounds) - sizes - bound
    for s in exponents:
        if is_index(s):
            raise NotDecided(f"{s} is an index")
    return exponents, bounds


def _random(scope: Scope, x: Expr, rng: np.random.Generator) -> Values:
    return rng.integers(0, scope.level.field.p, (scope.level.count, *scope.level.setting.shape(x)))


def _slope(scope: Scope, f: Expr, x: Expr, direction: Values) -> Values:
    """The derivative of f along a direction of x."""
    value = scope.seeded(x, direction[None]).at(f)
    rows, cols = scope.level.setting.shape(f)
    return value[1].reshape(value[1].shape[-3:]) if 1 in value else np.zeros((1, rows, cols), dtype=np.int64)


def _inner(scope: Scope, a: Values, b: Values) -> Values:
    return scope.level.field.times(a, b).sum(axis=(-2, -1), keepdims=True) % scope.level.field.p


def _stacked(m: Values) -> Values:
    """The columns of each matrix, one below the other."""
    return m.swapaxes(-1, -2).reshape(*m.shape[:-2], -1, 1)
