"""Sizes and points at which equations are compared.

Sizes are all different and larger than 2, one of them above 6: a lost transpose shows as a shape, and an identity
of 2 x 2 matrices cannot pass for one of all matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray
from sympy import Expr, Indexed, Symbol
from sympy.matrices.expressions.matexpr import MatrixElement

from symgrad.expr import TensorElement, is_scalar, leaf_name, shape_of, walk
from symgrad.expr.model import Assumptions

__all__ = ["choose_sizes", "least_sizes", "sample"]

Array = NDArray[np.float64]

_POOLS = ((7, 4, 5, 3, 6, 8, 9, 10, 11, 12), (8, 3, 5, 4, 9, 6, 7, 10, 12, 11))


def choose_sizes(symbols: Iterable[Symbol], which: int, taken: Iterable[int] = ()) -> dict[Symbol, int]:
    """A number for each size symbol, all different, and different from the sizes that are numbers already.

    `which` chooses the numbers and their order: some formulas need more rows than columns, others fewer.

    >>> n, m = Symbol("n", integer=True, positive=True), Symbol("m", integer=True, positive=True)
    >>> choose_sizes([n, m], 0), choose_sizes([n, m], 1)
    ({m: 4, n: 7}, {m: 8, n: 3})
    """
    ordered = sorted(set(symbols), key=str)
    pool = [n for n in _POOLS[which % 2] if n not in set(taken)] + list(range(13, 13 + len(ordered)))
    numbers = sorted(pool[: len(ordered)], reverse=which % 2 == 1)
    if which > 1:
        numbers = list(np.random.default_rng(which).permutation(numbers))
    return {s: int(n) for s, n in zip(ordered, numbers, strict=True)}


def least_sizes(expressions: Iterable[Expr]) -> dict[Symbol, int]:
    """How large the sizes are at least where entries are numbered: x[9] is there if x has ten entries.

    >>> from symgrad.expr import element, vector
    >>> least_sizes([element(vector("x", "n"), 9)])
    {n: 10}
    """
    least: dict[Symbol, int] = {}
    for e in expressions:
        for node in walk(e):
            if not isinstance(node, MatrixElement | TensorElement):
                continue
            for place, n in zip(node.args[1:], shape_of(node.args[0]), strict=False):
                if place.is_Integer and isinstance(n, Symbol):
                    least[n] = max(least.get(n, 0), int(place) + 1)
    return least


def sample(leaf: Expr, assumptions: Assumptions, rng: np.random.Generator) -> float | Array:
    """A random value for an input, as its assumptions ask."""
    name = "" if isinstance(leaf, Indexed) else leaf_name(leaf)
    words = assumptions.get(name or leaf_name(leaf), frozenset())
    if is_scalar(leaf):
        return _scalar(leaf, words, rng)
    shape = tuple(int(s) for s in leaf.shape)
    for word, make in _STRUCTURED.items():
        if word in words:
            return make(shape, rng)
    value = _entries(shape, words, rng)
    if len(shape) == 2 and shape[0] == shape[1] and shape[0] > 1 and words & {"invertible", "square"}:
        value = _well_conditioned(value)
    if "symmetric" in words:
        value = (value + value.T) / 2
    if words & {"full_column_rank", "full_row_rank"}:
        value = value + np.eye(shape[0], shape[1])
    return value


def _scalar(leaf: Expr, words: frozenset[str], rng: np.random.Generator) -> float:
    if "positive_integer" in words or leaf.is_integer:
        return float(rng.integers(2, 5))
    if "binary" in words:
        return float(rng.integers(0, 2))
    if "pm1" in words:
        return float(rng.choice([-1.0, 1.0]))
    if "in01" in words:
        return float(rng.uniform(0.15, 0.85))
    size = float(rng.uniform(0.4, 1.6))
    return size if leaf.is_positive or "positive" in words else size * float(rng.choice([-1.0, 1.0]))


def _entries(shape: tuple[int, ...], words: frozenset[str], rng: np.random.Generator) -> Array:
    if "binary" in words:
        return rng.integers(0, 2, shape).astype(float)
    if "pm1" in words:
        return rng.choice([-1.0, 1.0], shape)
    if "in01" in words:
        return rng.uniform(0.15, 0.85, shape)
    size = rng.uniform(0.3, 1.4, shape)
    return size if "positive" in words else size * rng.choice([-1.0, 1.0], shape)


def _well_conditioned(value: Array) -> Array:
    """Plus a multiple of the identity, so that the inverse is harmless and the determinant positive."""
    return value * 0.4 + np.eye(len(value)) * 2.0


def _positive_definite(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    a = rng.uniform(-1.0, 1.0, shape)
    return a @ a.T / shape[0] + np.eye(shape[0]) * 0.8


def _orthogonal(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    q, _ = np.linalg.qr(rng.standard_normal(shape))
    return np.asarray(q)


def _probabilities(axis: int | None) -> Callable[[tuple[int, ...], np.random.Generator], Array]:
    def make(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        value = rng.uniform(0.2, 1.0, shape)
        return value / value.sum(axis=axis, keepdims=axis is not None)

    return make


def _one_hot(axis: int | None) -> Callable[[tuple[int, ...], np.random.Generator], Array]:
    def make(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        value = np.zeros(shape)
        if axis is None:
            value.reshape(-1)[rng.integers(value.size)] = 1.0
        elif axis == 1:
            value[np.arange(shape[0]), rng.integers(0, shape[1], shape[0])] = 1.0
        else:
            value[rng.integers(0, shape[0], shape[1]), np.arange(shape[1])] = 1.0
        return value

    return make


def _unit(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    value = rng.standard_normal(shape)
    return np.asarray(value / np.linalg.norm(value))


_STRUCTURED: dict[str, Callable[[tuple[int, ...], np.random.Generator], Array]] = {
    "positive_definite": _positive_definite,
    "orthogonal": _orthogonal,
    "diagonal": lambda shape, rng: np.diag(rng.uniform(0.5, 1.5, shape[0])),
    "onehot": _one_hot(None),
    "onehot_rows": _one_hot(1),
    "onehot_cols": _one_hot(0),
    "prob": _probabilities(None),
    "sums_to_one": _probabilities(None),
    "prob_rows": _probabilities(1),
    "prob_cols": _probabilities(0),
    "unit_norm": _unit,
}
