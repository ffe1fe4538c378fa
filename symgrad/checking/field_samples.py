"""Random values in a finite field that satisfy what is assumed of a name, exactly."""

from __future__ import annotations

import math

import numpy as np
from sympy import Expr

from symgrad.checking.canonical import NotDecided
from symgrad.checking.residues import Residues, Values
from symgrad.expr import is_matrix, leaf_name
from symgrad.expr.model import Assumptions

__all__ = ["choices", "field_sample", "sample_degree"]

_GENERIC = {"square", "invertible", "full_column_rank", "full_row_rank", "nonzero", "function"}
_ONE_HOT = {"onehot": None, "onehot_rows": 1, "onehot_cols": 0}
_SUMS = {"prob": None, "sums_to_one": None, "prob_rows": 1, "prob_cols": 0}


def _words(leaf: Expr, assumptions: Assumptions) -> frozenset[str]:
    words = frozenset(assumptions.get(leaf_name(leaf), frozenset()))
    if not is_matrix(leaf) and leaf.is_positive:
        words |= {"positive"}
    return words - _GENERIC


def choices(leaf: Expr, shape: tuple[int, ...], assumptions: Assumptions) -> int:
    """How many values one entry (or one row) of a discrete name chooses from; 1 if it is not discrete.

    An orthogonal matrix has determinant 1 or -1, which is such a choice.
    """
    words = _words(leaf, assumptions)
    if words & {"binary", "pm1", "orthogonal"}:
        return 2
    for word, axis in _ONE_HOT.items():
        if word in words:
            return math.prod(shape) if axis is None else shape[axis]
    return 1


def sample_degree(leaf: Expr, shape: tuple[int, ...], assumptions: Assumptions) -> tuple[int, int]:
    """The degrees of numerator and denominator of a sampled entry in what is drawn at random."""
    words = _words(leaf, assumptions)
    if "orthogonal" in words:
        return shape[0], shape[0]
    if "unit_norm" in words:
        return 2, 2
    return (2 if words & {"positive", "in01", "positive_definite"} else 1), 0


def field_sample(
    leaf: Expr,
    shape: tuple[int, ...],
    assumptions: Assumptions,
    field: Residues,
    count: int,
    rng: np.random.Generator,
    trigonometric: bool,
) -> Values:
    """Values (count, rows, columns) of an input; positive numbers are squares.

    Raises   NotDecided for assumptions that are not sampled together
    """
    words = _words(leaf, assumptions)
    full = (count, *shape)
    free = rng.integers(0, field.p, full)
    if not words:
        return free
    if trigonometric and words & {"positive", "in01"}:
        words -= {"positive", "in01"}  # signs have no meaning in such a field, and none is asked for
        if not words:
            return free
    positive = bool(words & {"positive", "in01"})
    main = words - {"positive", "in01"}
    if not main:
        return field.times(free, free)
    if main == {"positive_definite", "diagonal"}:
        main, positive = frozenset({"diagonal"}), True
    if main == {"positive_definite", "symmetric"}:
        main = frozenset({"positive_definite"})
    if main == {"prob", "sums_to_one"}:
        main = frozenset({"prob"})
    if len(main) > 1:
        raise NotDecided(f"{leaf}: " + " and ".join(sorted(words)) + " together")
    (word,) = main
    if positive and word not in (
        "diagonal",
        "symmetric",
        "prob",
        "sums_to_one",
        "prob_rows",
        "prob_cols",
        "positive_definite",
    ):
        raise NotDecided(f"{leaf}: " + " and ".join(sorted(words)) + " together")
    value = field.times(free, free) if positive else free
    if word == "symmetric":
        return np.triu(value) + np.triu(value, 1).swapaxes(-1, -2)
    if word == "diagonal":
        return value * np.eye(shape[0], dtype=np.int64)
    if word == "positive_definite":
        return field.product(free, free.swapaxes(-1, -2))
    if word == "orthogonal":
        return _orthogonal(free, field, rng)
    if word == "binary":
        return rng.integers(0, 2, full)
    if word == "pm1":
        return (rng.integers(0, 2, full) * 2 - 1) % field.p
    if word in _ONE_HOT:
        return _one_hot(full, _ONE_HOT[word], rng)
    if word in _SUMS:
        return _summing_to_one(free, _SUMS[word], field)
    if word == "unit_norm":
        return _unit(free, field)
    raise NotDecided(f"{leaf}: {word} is not sampled in a finite field")


def _orthogonal(free: Values, field: Residues, rng: np.random.Generator) -> Values:
    """Cayley's transform (1 - S)(1 + S)^-1 of a skew S, with random signs of the columns."""
    skew = np.triu(free, 1)
    skew = (skew - skew.swapaxes(-1, -2)) % field.p
    eye = np.eye(free.shape[-1], dtype=np.int64)
    inverse, det = field.eliminated((eye + skew) % field.p)
    if not det.all():
        raise NotDecided("no orthogonal matrix at this point")
    signs = rng.integers(0, 2, (len(free), 1, free.shape[-1])) * 2 - 1
    return field.product((eye - skew) % field.p, inverse) * signs % field.p


def _one_hot(full: tuple[int, ...], axis: int | None, rng: np.random.Generator) -> Values:
    count, rows, cols = full
    if axis is None:
        return (
            (np.arange(rows * cols) == rng.integers(0, rows * cols, (count, 1)))
            .astype(np.int64)
            .reshape(full)
        )
    if axis == 1:
        return (np.arange(cols) == rng.integers(0, cols, (count, rows, 1))).astype(np.int64)
    return (np.arange(rows)[:, None] == rng.integers(0, rows, (count, 1, cols))).astype(np.int64)


def _summing_to_one(free: Values, axis: int | None, field: Residues) -> Values:
    """The last entry is one minus the others."""
    if axis is None:
        flat = free.reshape(len(free), -1).copy()
        flat[:, -1] = (1 - flat[:, :-1].sum(axis=-1)) % field.p
        return flat.reshape(free.shape)
    value = (free if axis == 1 else free.swapaxes(-1, -2)).copy()
    value[..., -1] = (1 - value[..., :-1].sum(axis=-1)) % field.p
    return value if axis == 1 else value.swapaxes(-1, -2)


def _unit(free: Values, field: Residues) -> Values:
    """The stereographic projection (2 t, 1 - t^T t) / (1 + t^T t)."""
    flat = free.reshape(len(free), -1)
    t = flat[:, :-1]
    square = (t * t % field.p).sum(axis=-1, keepdims=True) % field.p
    below = (1 + square) % field.p
    if not below.all():
        raise NotDecided("no unit vector at this point")
    above = np.concatenate([2 * t % field.p, (1 - square) % field.p], axis=-1)
    return (above * field.inverse(below) % field.p).reshape(free.shape)
