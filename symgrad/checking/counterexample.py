"""A point of small rational entries where a claim is wrong, which anyone can recompute."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from sympy import Expr, Integer, Symbol

from symgrad.checking.evaluate import Evaluator, concrete
from symgrad.checking.points import Point
from symgrad.checking.truth import EXACT, Truth
from symgrad.expr import Definition, is_matrix, leaf_name, leaves
from symgrad.expr.model import Assumptions
from symgrad.reading.claim import Layout

__all__ = ["Counterexample", "find", "points_at"]

_ENOUGH, _DIFFERENCES = 1e-3, 1e-4
_ENTRIES = (1.0, 2.0, -1.0, 0.5, -2.0, 3.0, 1.5, -0.5)
_POSITIVE = (1.0, 2.0, 0.5, 3.0, 1.5)
_UNIT = {1: (1.0,), 2: (0.6, 0.8)}


@dataclass(frozen=True)
class Counterexample:
    """Sizes and inputs, all of them fractions with small denominators; the entry that differs; both values there.

    `entry` is zero-based, as in NumPy; () for a scalar. `link` says which right-hand side of a chain is meant, and
    `indices` the values of the free indices of a component claim.
    """

    sizes: dict[str, int]
    inputs: dict[str, Any]
    entry: tuple[int, ...]
    claimed: float
    right: float
    link: int = 0
    indices: dict[str, int] = field(default_factory=dict)


def find(truth: Truth, link: Expr, layout: Layout | None, number: int = 0) -> Counterexample | None:
    """The first small point where the link is clearly wrong; sizes 2, 3, .. and then 3, 4, .."""
    best: Counterexample | None = None
    for which, sizes in enumerate(_small_sizes(truth)):
        for point in islice(points_at(truth, sizes, which), 6):
            sample = truth.sample(which, point)
            exactly_known = truth.claim.kind in ("gradient", "identity")
            if sample is None or sample.tolerance > (EXACT if exactly_known else _DIFFERENCES):
                continue
            gap = truth.gap(link, sample, layout)
            if gap is None or not max(_ENOUGH, 100 * sample.tolerance) < gap.error < float("inf"):
                continue
            found = Counterexample(
                {str(s): n for s, n in sizes.items() if s in truth.points.symbols},
                {leaf_name(leaf): _plain(leaf, value) for leaf, value in point.inputs.items()},
                _entry(truth, gap.place, sizes),
                gap.claimed,
                gap.right,
                number,
                _indices(truth, gap.place, sizes),
            )
            if abs(gap.claimed - gap.right) > 0.05:
                return found
            best = best or found
        if best is not None:
            return best
    return None


def _entry(truth: Truth, place: tuple[int, ...], sizes: dict[Symbol, int]) -> tuple[int, ...]:
    """The place in the array that the claim describes; of a vector one number."""
    claim = truth.claim
    if claim.wrt_entry is not None or claim.of_entry is not None or claim.indices:
        at = {i: Integer(_indices(truth, place, sizes)[str(i)]) for i in claim.indices}
        said = [*(claim.of_entry or ()), *(claim.wrt_entry or ())]
        inside = iter(place[1:])
        return tuple(next(inside, 0) if e is None else int(e.xreplace(at)) for e in said)
    shape = concrete(claim.links[0], sizes).shape if is_matrix(claim.links[0]) else ()
    if len(place) == 2 and len(shape) == 2 and 1 in shape:
        return (max(place),)
    return place


def _indices(truth: Truth, place: tuple[int, ...], sizes: dict[Symbol, int]) -> dict[str, int]:
    """The values of the free indices: the entries of a component claim are compared in the order of their indices."""
    if not truth.claim.indices:
        return {}
    ranges = truth.ranges(sizes)
    values = np.unravel_index(place[0], [ranges[i] for i in truth.claim.indices])
    return {str(i): int(v) for i, v in zip(truth.claim.indices, values, strict=True)}


def _small_sizes(truth: Truth) -> Iterator[dict[Symbol, int]]:
    """All different, from 2 up and from 3 up; sizes that are numbers already stay."""
    ordered = sorted(truth.points.symbols, key=str)
    least = max(truth.points.least.values(), default=2)
    for first in (max(2, least), max(2, least) + 1):
        yield {s: first + n for n, s in enumerate(ordered)}
    yield {s: max(2, least) + len(ordered) - n for n, s in enumerate(ordered)}


def points_at(truth: Truth, sizes: dict[Symbol, int], which: int) -> Iterator[Point]:
    """Points of small fractions at the given sizes, without end."""
    definitions = [
        Definition(concrete(d.symbol, sizes), concrete(d.value, sizes)) for d in truth.model.definitions()
    ]
    defined = {d.symbol for d in definitions}
    shown = [concrete(e, sizes) for e in truth.points.expressions]
    found = {leaf for e in (*(d.value for d in definitions), *shown) for leaf in leaves(e)} - defined
    inputs = sorted(found, key=lambda leaf: (leaf_name(leaf), str(leaf)))
    evaluator = Evaluator()
    for k in range(10**6):
        rng = np.random.default_rng((17, which, k))
        values = {
            leaf: small(leaf, truth.model.assumptions, rng) for leaf in inputs if not _index(leaf, truth)
        }
        yield Point(definitions, values, dict(sizes), evaluator)


def _index(leaf: Expr, truth: Truth) -> bool:
    return leaf in truth.claim.indices


def small(leaf: Expr, assumptions: Assumptions, rng: np.random.Generator) -> Any:
    """A value of small fractions, as the assumptions on the name ask."""
    words = assumptions.get(leaf_name(leaf), frozenset())
    positive = bool(words & {"positive", "positive_integer"}) or bool(leaf.is_positive)
    if not is_matrix(leaf):
        if "positive_integer" in words or leaf.is_integer:
            return float(rng.integers(2, 4))
        if "binary" in words:
            return float(rng.integers(0, 2))
        if "in01" in words:
            return 0.25 * float(rng.integers(1, 4))
        if "pm1" in words:
            return float(rng.choice((-1.0, 1.0)))
        return float(rng.choice(_POSITIVE if positive else _ENTRIES))
    shape = tuple(int(s) for s in leaf.shape)
    if words & {"onehot", "onehot_rows", "onehot_cols"}:
        return _one_hot(shape, words, rng)
    if words & {"prob", "sums_to_one", "prob_rows", "prob_cols"}:
        return _probabilities(shape, words)
    if "binary" in words:
        return rng.integers(0, 2, shape).astype(float)
    if "pm1" in words:
        return rng.choice((-1.0, 1.0), shape)
    if "in01" in words:
        return 0.25 * rng.integers(1, 4, shape)
    if "unit_norm" in words:
        value = np.zeros(shape)
        value.reshape(-1)[: min(2, value.size)] = _UNIT[min(2, value.size)]
        return value
    if "diagonal" in words:
        return np.diag(rng.choice(_POSITIVE, shape[0]))
    if "orthogonal" in words:
        return np.eye(shape[0])[rng.permutation(shape[0])]
    value = rng.choice(_POSITIVE if positive else _ENTRIES, shape)
    if shape[0] == shape[1] and shape[0] > 1:
        if "positive_definite" in words:
            return np.tril(value) @ np.tril(value).T + np.eye(shape[0])
        if "symmetric" in words:
            return np.tril(value) + np.tril(value, -1).T
        if "invertible" in words:
            return np.tril(value) + np.triu(value, 1) * 0.5 + 3 * np.eye(shape[0])
    return value


def _one_hot(shape: tuple[int, ...], words: frozenset[str], rng: np.random.Generator) -> Any:
    value = np.zeros(shape)
    if "onehot_rows" in words:
        value[np.arange(shape[0]), rng.integers(0, shape[1], shape[0])] = 1.0
    elif "onehot_cols" in words:
        value[rng.integers(0, shape[0], shape[1]), np.arange(shape[1])] = 1.0
    else:
        value.reshape(-1)[rng.integers(value.size)] = 1.0
    return value


def _probabilities(shape: tuple[int, ...], words: frozenset[str]) -> Any:
    """1/2, 1/4, .. along the axis that sums to one."""
    axis = 1 if "prob_rows" in words else 0
    count = shape[axis] if words & {"prob_rows", "prob_cols"} else shape[0] * shape[1]
    line = np.array([0.5 ** (k + 1) for k in range(count - 1)] + [0.5 ** (count - 1)])
    if words & {"prob_rows", "prob_cols"}:
        return np.tile(line, (shape[0], 1)) if axis == 1 else np.tile(line[:, None], (1, shape[1]))
    return line.reshape(shape)


def _plain(leaf: Expr, value: Any) -> Any:
    """Numbers and lists; a vector is a flat list, as in the text language."""
    array = np.asarray(value)
    if array.ndim == 2 and array.shape[1] == 1 and leaf.shape[1] == Integer(1):
        array = array[:, 0]
    return array.tolist()
