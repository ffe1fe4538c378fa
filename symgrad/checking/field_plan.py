"""What an exact test needs: sizes, integer exponents, the number of points, and what is left of the chance of an error."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sympy import Expr, Indexed, Integer, Pow, Product, Sum, Symbol
from sympy.matrices.expressions.hadamard import HadamardPower
from sympy.matrices.expressions.matpow import MatPow

from symgrad.checking.canonical import NotDecided
from symgrad.checking.degrees import Degrees, all_nodes, name_of, nesting, summed_indices
from symgrad.checking.field_atoms import Setting
from symgrad.checking.field_values import Level
from symgrad.checking.places import is_index
from symgrad.checking.residues import chain_of_primes, least_prime
from symgrad.expr import Entries, MatrixSum, Model, OrderedProduct, TensorEntries, shape_of

__all__ = ["EXPONENT_RANGE", "METHOD", "Effort", "Plan"]

METHOD = "an exact test modulo random primes"
_WANTED = 1e-12
_POINTS, _MORE_POINTS = 3, 8
_MOST_POINTS = 6000
_LARGEST_SIZE = 14
_SPARE = 8
_ATTEMPTS = 40
EXPONENT_RANGE = 1 << 16
_RANGES = (OrderedProduct, MatrixSum, Sum, Product)


@dataclass(frozen=True)
class Effort:
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


class Plan:
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
        self.derived = {
            s for n in nodes for s in shape_of(n) if not s.is_Atom and s.free_symbols <= self.symbols
        }
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

    def _sizes(self, which: int) -> dict[Expr, int]:
        """Sizes all different and as large as needed, growing in another order for each choice.

        Those that are made of others, such as n - w + 1, are two or more, and others again where they can be.
        """
        fitting: dict[Expr, int] | None = None
        for attempt in range(_ATTEMPTS if self.derived else 1):
            sizes = self._growing(which, attempt)
            made = [s.xreplace({k: Integer(n) for k, n in sizes.items()}) for s in self.derived]
            if all(n >= 2 for n in made):
                if len({*made, *sizes.values()}) == len(made) + len(sizes):
                    return sizes
                fitting = fitting or sizes
        if fitting is None:
            raise NotDecided("no sizes that fit")
        return fitting

    def _growing(self, which: int, attempt: int) -> dict[Expr, int]:
        ordered = sorted(self.symbols, key=str)
        if which > 1 or attempt:
            order = (which, attempt) if attempt else which
            ordered = [ordered[k] for k in np.random.default_rng(order).permutation(len(ordered))]
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
        return sizes

    def setting(self, which: int, trial: int) -> Setting:
        """Sizes and integers of one choice."""
        sizes = self._sizes(which)
        rng = np.random.default_rng((self.seed, which, trial, 60))
        integers: dict[Expr, int] = {}
        for k in sorted(self.integers, key=str):
            large = int(rng.integers(EXPONENT_RANGE, 2 * EXPONENT_RANGE))
            integers[k] = (3, 6)[which] if k in self.short else large
        return Setting(
            self.values, self.model.assumptions, sizes, integers, self.trigonometric, self.increment
        )

    def effort(self, setting: Setting, derived: Iterable[Expr]) -> Effort:
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
        needed = _points(degree / least_prime(self.nesting + 1))
        if bits:
            needed = math.ceil(-math.log(_WANTED) * 2.0**bits)
        points = needed
        if degrees.roots:
            points = math.ceil((1.4 * needed + 12) * 2.0**degrees.roots)
        below = m + _SPARE
        if degrees.inside_signs:
            below = math.ceil((2 * m + 80) * 2.0**degrees.inside_signs)
        if points > _MOST_POINTS or below > _MOST_POINTS:
            raise NotDecided("too many cells")
        return Effort(
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
            8 + total // EXPONENT_RANGE,
        )

    def levels(self, setting: Setting, effort: Effort, rng: np.random.Generator) -> Level:
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


def _points(miss: float) -> int:
    """So many points that a difference missed at each with this chance is hardly missed at all of them."""
    return next((n for n in range(_POINTS, _MORE_POINTS) if miss**n <= _WANTED), _MORE_POINTS)


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
        elif isinstance(n, Entries | TensorEntries):
            bound |= set(n.indices)
        elif isinstance(n, _RANGES):
            for index, lower, upper in n.limits if isinstance(n, Sum | Product) else [(n.index, *n.bounds)]:
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
