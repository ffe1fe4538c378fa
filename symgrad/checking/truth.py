"""What a claim is held against: the derivative in numbers, at points that all candidates share.

The derivative of a scalar is evaluated by a reverse sweep and confirmed by differences of the function itself along
random directions; where the two do not agree, or no rule knows an operation, all of it is differences.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sympy import Expr, Integer, S, Symbol
from sympy.matrices.expressions.matexpr import MatrixElement

from symgrad.checking.evaluate import concrete
from symgrad.checking.points import Point, Points
from symgrad.deriving.backprop import Sweep, backprop, expand
from symgrad.errors import SymgradError, UnsupportedError
from symgrad.expr import (
    Definition,
    Gradient,
    Jacobian,
    Model,
    ScalarGradient,
    any_shapes,
    differential,
    element,
    gradient,
    is_matrix,
    is_scalar,
    leaf_name,
    leaves,
    matrix,
    scalar,
    shape_of,
    substitute,
    walk,
)
from symgrad.reading.claim import Claim, Layout

__all__ = ["Gap", "Sample", "Truth", "resolved"]

Array = NDArray[np.float64]
Derivative = Gradient | ScalarGradient | Jacobian

EXACT, LOOSE = 1e-8, 1e-5
_SIZE_SETS, _POINTS = 2, 2
_MOST_ENTRIES = 4000
_FEW = 3
_MOST_PLACES, _MORE_PLACES = 400, 150


@dataclass(frozen=True)
class Gap:
    """How far a value is from the true one: the largest relative error, its place and both values there."""

    error: float
    place: tuple[int, ...] = ()
    claimed: float = 0.0
    right: float = 0.0


@dataclass
class Sample:
    """A point, the derivative there, and how exactly that is known."""

    which: int
    point: Point
    value: Array
    tolerance: float


def resolved(claim: Claim) -> tuple[Claim, dict[Expr, Expr]]:
    """The claim with every unevaluated derivative worked out, and the names that those of its links got.

    A derivative in a definition is replaced by its value; one in a link becomes a name with a definition of its own,
    so that the link stays as short as it was written.

    Raises   UnsupportedError for one that cannot be derived
    """
    used = [*(d.value for d in claim.model.definitions()), *claim.links]
    if not any(isinstance(n, Derivative) for e in used for n in walk(e)):
        return claim, {}
    model = claim.model
    items: list[Definition] = []
    for d in model.definitions():
        before = replace(model, items=tuple(items))
        items.append(Definition(d.symbol, _worked_out(d.value, before), d.line))
    model = replace(model, items=tuple(items))
    names: dict[Expr, Expr] = {}
    for link in claim.links:
        for node in walk(link):
            if isinstance(node, Derivative) and node not in names:
                names[node] = _named(node, model)
                value = _worked_out(node, model)
                items.append(Definition(names[node], value))
                model = replace(
                    model, items=tuple(items), symbols={**model.symbols, str(names[node]): names[node]}
                )
    with any_shapes() if claim.misfit is not None else nullcontext():
        links = tuple(substitute(e, names) for e in claim.links)
    return replace(claim, model=model, links=links), {symbol: node for node, symbol in names.items()}


def _named(node: Expr, model: Model) -> Expr:
    """A symbol for a derivative: dLdW."""
    name = "d" + "d".join(re.sub(r"\W", "", str(a)) or "f" for a in node.args)
    taken = {leaf_name(leaf) for d in model.definitions() for leaf in leaves(d.value)} | set(model.symbols)
    while name in taken:
        name += "_"
    return matrix(name, *node.shape) if is_matrix(node) else scalar(name)


def _worked_out(e: Expr, model: Model) -> Expr:
    found = [n for n in walk(e) if isinstance(n, Derivative)]
    values: dict[Expr, Expr] = {}
    for node in found:
        f, x = node.args
        if isinstance(node, Jacobian) and is_matrix(f):
            from symgrad.deriving.differential import jacobian_by_differential
            from symgrad.simplifying import Simplifier

            _, values[node] = jacobian_by_differential(model, f, x, Simplifier(model.assumptions))
            continue
        sweep = backprop(model, f, [x])
        value = expand(sweep.adjoints[x], sweep, 4000)
        if value is None:
            raise UnsupportedError(
                f"the derivative of {f} by {x} in the formula is too long to be worked out"
            )
        values[node] = value
    return substitute(e, values) if values else e


def _entries_meant(claim: Claim) -> Iterator[Expr]:
    """The entries that the left side of a claim names: of what and by what."""
    for e, places in ((claim.of, claim.of_entry), (claim.wrt, claim.wrt_entry)):
        if e is not None and places is not None:
            yield element(e, *(S.Zero if place is None else place for place in places))


class Truth:
    """The derivative that a claim is about, in numbers.

    For a claim about a loop of symbolic length, give a model that is written out.
    """

    def __init__(self, claim: Claim, seed: int = 0) -> None:
        self.claim = claim
        self.model = claim.model
        links = () if claim.misfit else claim.links
        shown = [e for e in (claim.of, claim.wrt, *links) if e is not None]
        if claim.kind == "differential":
            shown.append(differential(claim.wrt))
        self.points = Points(self.model, shown, seed, list(_entries_meant(claim)))
        self._sweep: Sweep | None = None
        self._samples: list[Sample] | None = None
        if claim.kind in ("gradient", "hessian") and claim.of is not None and claim.wrt is not None:
            try:
                self._sweep = backprop(self.model, claim.of, [claim.wrt])
            except SymgradError:
                self._sweep = None

    @property
    def samples(self) -> list[Sample]:
        """Points of two sets of sizes where everything has a value."""
        if self._samples is None:
            self._samples = []
            for which in range(_SIZE_SETS):
                found = 0
                for tries, point in enumerate(self.points(which)):
                    sample = self.sample(which, point)
                    if sample is not None:
                        self._samples.append(sample)
                        found += 1
                    if found == _POINTS or tries == 8:
                        break
                if not self.points.symbols:
                    break
        return self._samples

    def sample(self, which: int, point: Point) -> Sample | None:
        """The truth at a point; None where it has no value or is not known well enough."""
        with np.errstate(all="ignore"):
            try:
                value, tolerance = self._value(point)
            except (np.linalg.LinAlgError, ValueError, OverflowError, ZeroDivisionError):
                return None
        if not np.all(np.isfinite(value)) or tolerance > LOOSE * 100:
            return None
        return Sample(which, point, value, tolerance)

    def _value(self, point: Point) -> tuple[Array, float]:
        claim = self.claim
        if claim.kind == "identity":
            value = 0.0 if claim.indices else self._at(claim.links[0], point)
            return np.asarray(value, dtype=float), EXACT
        assert claim.of is not None and claim.wrt is not None  # noqa: S101 - kinds with both
        of, wrt = (concrete(e, point.sizes) for e in (claim.of, claim.wrt))
        if is_matrix(wrt) and int(wrt.shape[0] * wrt.shape[1]) > _MOST_ENTRIES:
            raise UnsupportedError("too many entries for a comparison")
        if claim.kind == "differential":
            value = point.slope(of, wrt, point.at(concrete(differential(claim.wrt), point.sizes)))
        elif claim.kind == "hessian":
            value = self._hessian(point, of, wrt)
        elif claim.kind == "gradient" and self._sweep is not None:
            exact = self._adjoint(point)
            if exact is not None and self._confirmed(point, of, wrt, exact):
                return exact, EXACT
            value = point.derivative(of, wrt)
        else:
            value = point.derivative(of, wrt)
        return np.asarray(value, dtype=float), max(1e-6, 30 * point.uncertainty)

    def _adjoint(self, point: Point) -> Array | None:
        """The gradient by the reverse sweep."""
        assert self._sweep is not None  # noqa: S101 - asked before
        values: dict[Expr, Any] = {}
        point.at(Integer(1))  # the definitions have values now
        values |= point.values
        try:
            for symbol, adjoint in self._sweep.adjoints.items():
                node = concrete(gradient(self._sweep.f, symbol), point.sizes)
                values[node] = point.evaluator(concrete(adjoint, point.sizes), values)
            return np.asarray(
                values[concrete(gradient(self._sweep.f, self.claim.wrt), point.sizes)], dtype=float
            )
        except (SymgradError, KeyError):
            return None

    def _confirmed(self, point: Point, of: Expr, wrt: Expr, value: Array) -> bool:
        rng = np.random.default_rng(91)
        start = np.asarray(point.at(wrt))
        if value.shape != start.shape:
            return False
        for _ in range(2):
            direction = rng.standard_normal(start.shape)
            slope, expected = float(point.slope(of, wrt, direction)), float(np.sum(value * direction))
            scale = max(abs(slope), abs(expected), float(np.linalg.norm(value)), 1e-3)
            if not abs(slope - expected) <= max(1e-6, 30 * point.uncertainty) * scale:
                return False
        return True

    def _hessian(self, point: Point, of: Expr, wrt: Expr) -> Any:
        if self._sweep is not None:
            first = expand(self._sweep.adjoints[self.claim.wrt], self._sweep, 4000)
            if first is not None:
                return point.derivative(concrete(first, point.sizes), wrt)
        return point.derivative(gradient(of, wrt), wrt)

    # --- claims in numbers -------------------------------------------------------------------------------

    def _at(self, e: Expr, point: Point) -> Any:
        return point.at(concrete(e, point.sizes))

    def right(self, sample: Sample, layout: Layout | None) -> Array:
        """The true value in a layout: of a gradient numerator layout, of a Jacobian gradient layout, is the transpose."""
        turned = {"gradient": "numerator", "jacobian": "gradient"}.get(self.claim.kind)
        value = sample.value
        return value.T if layout is not None and layout == turned and value.ndim == 2 else value

    def value(self, e: Expr, sample: Sample) -> Any:
        """The value of an expression at a point."""
        return self._at(e, sample.point)

    def gap(self, link: Expr, sample: Sample, layout: Layout | None = None, few: bool = False) -> Gap | None:
        """How far a link is from the truth at a point; None where it has no value, infinite for another shape.

        Of a claim about entries only a `few` are looked at, if that is enough.
        """
        with np.errstate(all="ignore"):
            try:
                if self.claim.indices or self.claim.wrt_entry is not None or self.claim.of_entry is not None:
                    claimed, right = self.entries(link, sample, few)
                else:
                    claimed = np.asarray(self._at(link, sample.point), dtype=float)
                    right = self.right(sample, layout)
            except (np.linalg.LinAlgError, OverflowError, ZeroDivisionError):
                return None
        return difference(claimed, right)

    def entries(self, link: Expr, sample: Sample, few: bool = False) -> tuple[Array, Array]:
        """The claimed entries and the true ones, for every value of the free indices."""
        claim, point = self.claim, sample.point
        table = self._table(sample)
        ranges = self.ranges(point.sizes)
        claimed: list[Array] = []
        right: list[Array] = []
        places = _places([ranges[i] for i in claim.indices])
        for values in places[1 :: max(len(places) // _FEW, 1)] if few and len(places) > _FEW else places:
            at = {i: Integer(v) for i, v in zip(claim.indices, values, strict=True)}
            if claim.kind == "identity":
                right.append(np.ravel(np.asarray(self._at(claim.links[0].xreplace(at), point), dtype=float)))
                claimed.append(np.ravel(np.asarray(self._at(link.xreplace(at), point), dtype=float)))
                continue
            place: list[Any] = []
            for side, entry in ((claim.of, claim.of_entry), (claim.wrt, claim.wrt_entry)):
                place += _place(side, entry, at)
            right.append(np.ravel(table[tuple(place)]))
            claimed.append(np.ravel(np.asarray(self._at(link.xreplace(at), point), dtype=float)))
        if any(c.shape != r.shape for c, r in zip(claimed, right, strict=True)):
            return claimed[0], right[0]
        return np.array(claimed), np.array(right)

    def _table(self, sample: Sample) -> Array:
        """The derivative with the axes of `of` before those of `wrt`."""
        claim, sizes = self.claim, sample.point.sizes
        if claim.kind == "identity":
            return np.zeros(())
        shapes = [
            tuple(int(s) for s in shape_of(concrete(e, sizes)))
            for e in (claim.of, claim.wrt)
            if e is not None
        ]
        if claim.kind == "hessian":
            shapes = [shapes[1], shapes[1]]
        if claim.kind == "gradient":
            return sample.value.reshape(shapes[1])
        return sample.value.reshape((*shapes[0], *shapes[1]), order="F")

    def ranges(self, sizes: Mapping[Symbol, int]) -> dict[Symbol, int]:
        """How far each free index runs: the size of the axis where it stands, in the left side or in a link.

        Raises   ShapeError where two axes that one index runs over differ
        """
        found: dict[Symbol, set[int]] = {i: set() for i in self.claim.indices}
        for side, entry in ((self.claim.of, self.claim.of_entry), (self.claim.wrt, self.claim.wrt_entry)):
            if side is not None and entry is not None:
                for axis, at in enumerate(entry):
                    if at in found:
                        found[at].add(int(concrete(side, sizes).shape[axis]))
        for link in self.claim.links:
            for node in walk(link):
                if isinstance(node, MatrixElement):
                    for axis, at in enumerate(node.args[1:]):
                        if at in found and not found[at]:
                            found[at].add(int(concrete(node.args[0], sizes).shape[axis]))
        return {i: min(ends) if ends else 1 for i, ends in found.items()}


def _places(ranges: Sequence[int]) -> list[tuple[int, ...]]:
    """Values of the free indices: all of them, or of a great many those that meet in every way, and random others."""
    if prod(ranges) <= _MOST_PLACES:
        return list(product(*map(range, ranges)))
    meeting = product(*(range(min(n, len(ranges))) for n in ranges))
    rng = np.random.default_rng(17)
    others = (tuple(int(rng.integers(n)) for n in ranges) for _ in range(_MORE_PLACES))
    return list(dict.fromkeys([*meeting, *others]))


def _place(
    side: Expr | None, entry: tuple[Expr | None, ...] | None, at: Mapping[Symbol, Integer]
) -> Iterator[Any]:
    """The part of an array's index for one side: numbers, and whole ranges where no entry is said."""
    if side is None or is_scalar(side):
        return
    padded = (None, None) if entry is None else entry if len(entry) == 2 else (*entry, Integer(0))
    for e in padded:
        yield slice(None) if e is None else int(e.xreplace(at))


def difference(claimed: Array, right: Array) -> Gap | None:
    """The largest relative error of an entry; None where one of the sides is not finite."""
    if claimed.shape != right.shape:
        if claimed.size == right.size == 1:
            claimed, right = claimed.reshape(()), right.reshape(())
        else:
            return Gap(float("inf"))
    if not (np.all(np.isfinite(claimed)) and np.all(np.isfinite(right))):
        return None
    if not claimed.size:
        return Gap(0.0)
    scale = max(float(np.max(np.abs(claimed))), float(np.max(np.abs(right))), 1e-3)
    gaps = np.abs(claimed - right) / scale
    place = np.unravel_index(int(np.argmax(gaps)), gaps.shape)
    return Gap(float(gaps[place]), tuple(int(i) for i in place), float(claimed[place]), float(right[place]))
