"""Random points of a model, with the values and the differences of expressions there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count as counting
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sympy import Expr, Integer, Symbol
from sympy.matrices.expressions.matexpr import MatrixElement

from symgrad.checking.budget import check_time
from symgrad.checking.evaluate import Evaluator, Number, concrete
from symgrad.checking.places import is_index
from symgrad.checking.sampling import choose_sizes, least_sizes, sample
from symgrad.deriving.backprop import active_symbols
from symgrad.errors import UnsupportedError
from symgrad.expr import (
    Definition,
    Elementwise,
    Gradient,
    Jacobian,
    Model,
    PartialDerivative,
    ScalarGradient,
    Tensor,
    TensorElement,
    TensorGradient,
    element,
    is_leaf,
    is_matrix,
    is_tensor,
    leaf_name,
    leaves,
    matrix,
    scalar,
    shape_of,
    substitute,
    walk,
)
from symgrad.expr.entrywise import function_name

__all__ = ["Point", "Points"]

Array = NDArray[np.float64]
_STEPS = (2e-3, 1e-2, 2e-4)
_NESTED_STEPS = (3e-2, 1e-2)
_LARGE = 1e3  # entries beyond that get larger steps
_EPSILON = float(np.finfo(float).eps)
_TRIES = 6
_CHOICES = 8
_ATTEMPTS = 60
_LONGEST_ARRAY = 40
_TURN = 2.7
_ENTRY = (MatrixElement, TensorElement)


@dataclass
class Point:
    """A model with numbers for its sizes and inputs.

    `uncertainty` is the largest estimate of the relative error of a difference that was taken here.
    """

    definitions: list[Definition]
    inputs: dict[Expr, Number]
    sizes: dict[Symbol, int]
    evaluator: Evaluator
    values: dict[Expr, Number] = field(default_factory=dict)
    uncertainty: float = 0.0
    unmoved: dict[Expr, Number] = field(default_factory=dict)

    def moved(self, changed: Mapping[Expr, Number]) -> Point:
        """The point with other values for some symbols; a changed definition is not computed again."""
        kept, same = self._left_by(frozenset(changed))
        point = Point(kept, {**self.inputs, **changed}, self.sizes, self.evaluator)
        if self.values:
            point.unmoved = {s: self.values[s] for s in same}
        return point

    def _left_by(self, changed: frozenset[Expr]) -> tuple[list[Definition], list[Expr]]:
        """The definitions that are computed when some symbols have other values, and those that stay as they are."""
        key = (tuple(self.definitions), changed)
        if key not in self.evaluator.remembered:
            kept = [d for d in self.definitions if d.symbol not in changed]
            active = active_symbols(kept, changed)
            self.evaluator.remembered[key] = (kept, [d.symbol for d in kept if d.symbol not in active])
        found: tuple[list[Definition], list[Expr]] = self.evaluator.remembered[key]
        return found

    def at(self, e: Expr) -> Number:
        """The value of an expression; unevaluated derivatives are taken by differences."""
        check_time()
        self._fill()
        e = self._with_local_derivatives(e)
        for node in _unevaluated(e):
            if node not in self.values:
                value = self.derivative(*node.args)
                row = isinstance(node, Jacobian) and not is_matrix(node.args[0])
                self.values[node] = np.asarray(value).reshape(1, -1) if row else value
        return self.evaluator(e, self.values)

    def _fill(self) -> None:
        """Compute the definitions, once."""
        if not self.values:
            values: dict[Expr, Number] = {**self.inputs, **self.unmoved}
            for d in self.definitions:
                if d.symbol not in self.unmoved:
                    values[d.symbol] = self.evaluator(d.value, values)
            self.values = values

    def _with_local_derivatives(self, e: Expr) -> Expr:
        """Derivatives of definitions by entries, the other names fixed, as entries of tables of numbers."""
        known = self.evaluator.remembered
        if (PartialDerivative, e) not in known:
            known[PartialDerivative, e] = [n for n in walk(e) if isinstance(n, PartialDerivative)]
        replace: dict[Expr, Expr] = {}
        for node in known[PartialDerivative, e]:
            c, x = node.args[:2]
            array, places = (c.args[0], c.args[1:]) if isinstance(c, _ENTRY) else (c, ())
            table = _table_like(array, f"local_{array}_{x}")
            if table not in self.values:
                self.values[table] = self._local(array, x)
            replace[node] = element(table, *places)
        return e.xreplace(replace) if replace else e

    def _local(self, array: Expr, x: Expr) -> Number:
        leaf, *places = x.args if isinstance(x, _ENTRY) else (x,)
        formula = next((d.value for d in self.definitions if d.symbol == array != leaf), array)
        start = np.asarray(self.at(leaf), dtype=float)
        direction = np.zeros_like(start)
        direction[tuple(int(k) for k in places)] = 1.0

        def at(h: float) -> Any:
            return np.asarray(self.evaluator(formula, {**self.values, leaf: _plain(start + h * direction)}))

        return self._extrapolated(lambda h: (at(h) - at(-h)) / (2 * h), _STEPS)

    def derivative(self, f: Expr, x: Expr) -> Number:
        """df/dx in the shape of x for a scalar f, else J[i, j] = d f_i / d x_j, by central differences."""
        if isinstance(x, _ENTRY):
            parent, *places = x.args
            direction = np.zeros(tuple(int(s) for s in parent.shape))
            direction[tuple(int(k) for k in places)] = 1.0
            return self.slope(f, parent, direction)
        f, x, point = self._as_leaf(f, x)
        start = point.at(x)
        flat = np.array(start, dtype=float).reshape(-1, order="F")
        columns = []
        for k in range(flat.size):
            direction = np.zeros_like(flat)
            direction[k] = 1.0
            slope = point.slope(f, x, direction.reshape(np.shape(start), order="F"))
            columns.append(np.ravel(slope, order="F"))
        self.uncertainty = max(self.uncertainty, point.uncertainty)
        table = np.stack(columns, axis=1)
        if np.ndim(start) == 0 and not is_matrix(f):
            return float(table[0, 0])
        if not is_matrix(f):
            return np.asarray(table[0].reshape(np.shape(start), order="F"))
        if np.ndim(start) == 0:
            return np.asarray(table[:, 0].reshape(tuple(int(s) for s in f.shape), order="F"))
        return np.asarray(table)

    def slope(self, f: Expr, x: Expr, direction: Number) -> Number:
        """The derivative of f along a direction of x: central differences, extrapolated (Ridders 1982).

        Of several step sizes the one with the smallest estimate of its own error counts. A step is small beside
        large entries of x, and what the rounding of large values of f hides is part of the uncertainty.
        """
        start = np.asarray(self.at(x))
        nested = bool(_unevaluated(f))
        largest = float(np.max(np.abs(start), initial=0.0))
        unit = largest if _LARGE < largest < float("inf") else 1.0
        hidden = float("inf")

        def central(h: float) -> Any:
            nonlocal hidden
            h *= unit
            up = np.asarray(self.moved({x: start + h * np.asarray(direction)}).at(f))
            down = np.asarray(self.moved({x: start - h * np.asarray(direction)}).at(f))
            hidden = min(hidden, float(np.max(np.abs(up), initial=0.0)) * _EPSILON / h)
            return (up - down) / (2 * h)

        value = self._extrapolated(central, _NESTED_STEPS if nested else _STEPS)
        self.uncertainty = max(
            self.uncertainty, hidden / max(float(np.max(np.abs(value), initial=0.0)), 1e-3)
        )
        return value

    def _extrapolated(self, central: Callable[[float], Any], steps: Sequence[float]) -> Number:
        """A derivative from central differences at several step sizes, the best of them."""
        best, least = None, float("inf")
        for step in steps:
            a, b, c = central(step), central(step / 2), central(step / 4)
            first, second = (4 * b - a) / 3, (4 * c - b) / 3
            value = (16 * second - first) / 15
            size = max(float(np.max(np.abs(value), initial=0.0)), 1e-3)
            doubt = float(np.max(np.abs(value - second), initial=0.0)) / size
            if not np.isfinite(doubt):
                doubt = float("inf")
            if best is None or doubt < least:
                best, least = value, doubt
            if least < 1e-8:
                break
        self.uncertainty = max(self.uncertainty, least)
        assert best is not None  # noqa: S101 - there is at least one step size
        return float(best) if np.ndim(best) == 0 else best

    def _as_leaf(self, f: Expr, x: Expr) -> tuple[Expr, Expr, Point]:
        """A part that is no name gets one, wherever it stands."""
        if is_leaf(x):
            return f, x, self
        name = matrix("part_", *x.shape) if is_matrix(x) else scalar("part_")
        replaced = [Definition(d.symbol, substitute(d.value, {x: name})) for d in self.definitions]
        value = self.at(x)
        point = Point(replaced, {**self.inputs, name: value}, self.sizes, self.evaluator)
        return substitute(f, {x: name}), name, point


def _table_like(array: Expr, name: str) -> Expr:
    """A name for numbers in the shape of an array."""
    if is_tensor(array):
        return Tensor(name, *array.shape)
    return matrix(name, *array.shape) if is_matrix(array) else scalar(name)


def _plain(value: Any) -> Number:
    """A number for an array without indices."""
    return float(value) if np.ndim(value) == 0 else value


def _unevaluated(e: Expr) -> list[Expr]:
    """The derivatives in it that are not worked out; those inside another one are its own affair."""
    found: list[Expr] = []
    stack = [e]
    while stack:
        node = stack.pop()
        if isinstance(node, Gradient | TensorGradient | ScalarGradient | Jacobian):
            found.append(node)
        elif not is_leaf(node):
            stack.extend(a for a in node.args if isinstance(a, Expr))
    return found


class Points:
    """Random points of a model, for all expressions that are to be compared there; made when they are asked for.

    Values and differences that one equation needed are there for the next one. The sizes leave room for the numbered
    entries in the expressions and for those in `entries`.
    """

    def __init__(
        self, model: Model, expressions: Sequence[Expr], seed: int = 0, entries: Iterable[Expr] = ()
    ) -> None:
        self.model, self.expressions, self.seed = model, tuple(expressions), seed
        self.symbols, self._numbers = _sizes(model, expressions)
        self.least = least_sizes((*expressions, *entries, *_formulas(model)))
        if max(self.least.values(), default=0) > _LONGEST_ARRAY:
            raise UnsupportedError(
                f"an entry with a number above {_LONGEST_ARRAY - 1}", hint="number the entries from the start"
            )
        self._turns = any(_is_periodic(n) for e in (*expressions, *_formulas(model)) for n in walk(e))
        free = {s for e in expressions for s in e.free_symbols if is_index(s)}
        self._indices = sorted(free - self.symbols, key=str)
        self._made: dict[int, list[Point]] = {}
        self._plan: dict[int, tuple[dict[Symbol, int], list[Definition], list[Expr], Evaluator]] = {}

    def __call__(self, which: int) -> Iterator[Point]:
        """The points with one choice of sizes."""
        made = self._made.setdefault(which, [])
        for k in counting():
            if k == len(made):
                made.append(self._new(which, k))
            yield made[k]

    def _derived(self, sizes: Mapping[Symbol, int]) -> list[int]:
        """The sizes that are made of others, such as n - w + 1, at a choice of those."""
        at = {s: Integer(n) for s, n in sizes.items()}
        return [int(s.xreplace(at)) for s in self._shapes() if s.free_symbols <= set(at)]

    def _shapes(self) -> set[Expr]:
        formulas = (*self.expressions, *_formulas(self.model))
        return {s for e in formulas for s in _shapes_in(e) if not s.is_Atom}

    def _fitting(self, which: int) -> dict[Symbol, int]:
        """Sizes that leave every array, such as one of n - w + 1 entries, two entries or more where they can."""
        shapes = self._shapes()
        first = self._with_room(choose_sizes(self.symbols, which, self._numbers))
        for attempt in range(_ATTEMPTS if shapes else 0):
            other = _ATTEMPTS * (which + 1) + attempt
            sizes = self._with_room(choose_sizes(self.symbols, other, self._numbers)) if attempt else first
            at = {s: Integer(n) for s, n in sizes.items()}
            if all(s.xreplace(at) >= 2 for s in shapes if s.free_symbols <= set(at)):
                return sizes
        return first

    def _with_room(self, sizes: dict[Symbol, int]) -> dict[Symbol, int]:
        """The sizes, all made larger where a numbered entry would be missing."""
        short = [least - sizes[s] for s, least in self.least.items() if s in sizes]
        if max(short, default=0) <= 0:
            return sizes
        larger = ({s: n + more for s, n in sizes.items()} for more in counting(max(short)))
        return next(made for made in larger if not self._numbers & set(made.values()))

    def _value(self, leaf: Expr, rng: np.random.Generator, wide: bool) -> Number:
        """A random value; a wide one is an angle beyond the half turn in which sine and tangent have an inverse."""
        value = sample(leaf, self.model.assumptions, rng)
        free = (
            not self.model.assumptions.get(leaf_name(leaf)) and not leaf.is_positive and not leaf.is_integer
        )
        return value * _TURN if wide and free else value

    def _new(self, which: int, k: int) -> Point:
        if which not in self._plan:
            sizes = self._fitting(which)
            room = min(
                [3, *(n for n in (*self._numbers, *self._derived(sizes)) if n > 1)]
            )  # columns have one
            sizes |= {s: (place + which) % room for place, s in enumerate(self._indices)}
            definitions = [
                Definition(concrete(d.symbol, sizes), concrete(d.value, sizes))
                for d in self.model.definitions()
            ]
            inputs = _inputs(
                (*(d.value for d in definitions), *(concrete(e, sizes) for e in self.expressions)),
                {d.symbol for d in definitions},
            )
            self._plan[which] = sizes, definitions, inputs, Evaluator()
        sizes, definitions, inputs, evaluator = self._plan[which]
        rng = np.random.default_rng((self.seed, which, k))
        wide = self._turns and k % 2 == 1
        values = {leaf: self._value(leaf, rng, wide) for leaf in inputs}
        return Point(definitions, values, sizes, evaluator)


def _is_periodic(node: Expr) -> bool:
    name = node.name if isinstance(node, Elementwise) else function_name(node)
    return name in ("sin", "cos", "tan")


def _formulas(model: Model) -> list[Expr]:
    return [e for d in model.definitions() for e in (d.symbol, d.value)]


def _shapes_in(e: Expr) -> set[Expr]:
    return {s for node in walk(e) if isinstance(node, Expr) for s in shape_of(node)}


def _inputs(expressions: Iterable[Expr], defined: set[Expr]) -> list[Expr]:
    """The leaves that need a value; those inside an unevaluated derivative count too."""
    found: dict[Expr, None] = {}
    for e in expressions:
        for leaf in leaves(e):
            if leaf not in defined:
                found.setdefault(leaf)
    return sorted(found, key=lambda leaf: (leaf_name(leaf), str(leaf)))


def _sizes(model: Model, expressions: Iterable[Expr]) -> tuple[set[Symbol], set[int]]:
    """The size symbols in the shapes, and the sizes that are numbers."""
    symbols: set[Symbol] = set()
    numbers: set[int] = set()
    for e in (*expressions, *_formulas(model)):
        for s in _shapes_in(e):
            if s.is_Integer:
                numbers.add(int(s))
            symbols |= s.free_symbols
    return symbols, numbers
