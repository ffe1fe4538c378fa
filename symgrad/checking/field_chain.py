"""The chain rule for one name as an exact test evaluates it: gradients in an answer become arrays of their own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from sympy import Basic, Expr, KroneckerDelta, Symbol
from sympy.matrices.expressions.matexpr import MatrixElement

from symgrad.checking.places import is_index
from symgrad.deriving.backprop import active_symbols
from symgrad.expr import (
    Differential,
    Entries,
    Gradient,
    InRange,
    Jacobian,
    Model,
    PartialDerivative,
    ScalarDifferential,
    ScalarGradient,
    Tensor,
    TensorElement,
    TensorEntries,
    TensorGradient,
    element,
    from_entries,
    is_leaf,
    is_matrix,
    is_tensor,
    leaves,
    matrix,
    scalar,
    shape_of,
    substitute,
    walk,
)

__all__ = ["ChainRule", "chain_rules", "entries_of_partial", "free_indices", "with_adjoints"]

_ENTRY = MatrixElement | TensorElement
_GRADIENT = Gradient | TensorGradient | ScalarGradient
_DERIVATIVE = _GRADIENT | Jacobian | Differential | ScalarDifferential


@dataclass(frozen=True)
class ChainRule:
    """df/dv = answer: through each of the names with its value and its adjoint, an array of any numbers.

    values    the definitions that count
    name      v, or the array that v is an entry of; `answer` is in its shape
    """

    name: Expr
    answer: Expr
    through: tuple[tuple[Expr, Expr, Expr], ...]
    values: Mapping[Expr, Expr]


def chain_rules(model: Model, f: Expr, v: Expr, answer: Expr) -> Iterator[ChainRule]:
    """The chain rule with the fewest definitions first; none where the answer holds other derivatives."""
    if model.has_loops:
        return
    name = v.args[0] if isinstance(v, _ENTRY) else v
    if not is_leaf(name):
        return
    if isinstance(v, _ENTRY):
        places = [k for k, n in zip(v.args[1:], name.shape, strict=True) if n != 1 or is_tensor(name)]
        if len(set(places)) < len(places) or not all(isinstance(k, Symbol) and is_index(k) for k in places):
            return
        sizes = [n for n in name.shape if n != 1 or is_tensor(name)]
        answer = from_entries(answer, places, sizes)
    definitions = {d.symbol: d.value for d in model.definitions()}
    found = _adjoints((answer,))
    if found is None or any(of != f for of, _ in found[0]):
        return
    adjoints, replacing = found
    through = tuple(
        (u, definitions[u], g) for (_, u), g in adjoints.items() if u in definitions and u != name
    )
    active = active_symbols(list(model.definitions()), {name}) - {u for u, _, _ in through}
    few = {u: e for u, e in definitions.items() if u in active and u != name}
    written: dict[Expr, Expr] = {}
    for n in _outermost_derivatives((answer,)):
        if isinstance(n, PartialDerivative):
            value = _partial_derivative(definitions, n)
            if value is None or few.keys() & {*leaves(value)} - {value.args[1], *value.args[1].args[:1]}:
                return  # a name in it that is no input here is held constant there
            written[n] = value
    answer = substitute(answer, {**replacing, **written})
    yield ChainRule(name, answer, through, few)
    if not written and few != definitions:
        yield ChainRule(name, answer, through, {u: e for u, e in definitions.items() if u != name})


def with_adjoints(sides: tuple[Expr, Expr]) -> tuple[Expr, Expr] | None:
    """Both sides with an array of any numbers for every gradient by a name; None if other derivatives are in them."""
    found = _adjoints(sides)
    if found is None or any(isinstance(n, PartialDerivative) for n in _outermost_derivatives(sides)):
        return None
    a, b = (substitute(e, found[1]) for e in sides)
    return a, b


def _adjoints(expressions: Iterable[Expr]) -> tuple[dict[tuple[Expr, Expr], Expr], dict[Expr, Expr]] | None:
    """An array for every gradient of a function by a name, and what stands for the gradients and for their entries.

    None where there is another derivative: inside of one, a gradient is no array of any numbers. Partial derivatives
    are left as they are.
    """
    adjoints: dict[tuple[Expr, Expr], Expr] = {}
    replacing: dict[Expr, Expr] = {}
    for n in _outermost_derivatives(expressions):
        if isinstance(n, PartialDerivative):
            continue
        of, by = n.args[:2] if isinstance(n, _GRADIENT) else (n, n)
        array = by.args[0] if isinstance(by, _ENTRY) else by
        if not is_leaf(array) or any(isinstance(inner, _DERIVATIVE) for inner in walk(of)):
            return None
        known = adjoints.setdefault((of, array), _array_like(array, f"adjoint{len(adjoints)}_"))
        replacing[n] = element(known, *by.args[1:]) if isinstance(by, _ENTRY) else known
    return adjoints, replacing


def _outermost_derivatives(expressions: Iterable[Expr]) -> Iterator[Expr]:
    """The derivatives that are not worked out, without what stands inside of them."""
    waiting: list[Basic] = list(expressions)
    seen = set(waiting)
    while waiting:
        e = waiting.pop()
        if isinstance(e, _DERIVATIVE):
            yield e
        elif not is_leaf(e):
            inside = [a for a in e.args if a not in seen]
            seen.update(inside)
            waiting.extend(inside)


@dataclass(frozen=True)
class PartialQuestion:
    """The derivative of the entries of a function by those of a name; `answers` are arrays of all of them."""

    function: Expr
    name: Expr
    answers: tuple[Expr, ...]


def entries_of_partial(model: Model, a: PartialDerivative, b: Expr) -> PartialQuestion | None:
    """What a partial derivative at index symbols asks for: names count as inputs, also where the answer is written out."""
    f, x = a.args[:2]
    own, name = (e.args[0] if isinstance(e, _ENTRY) else e for e in (f, x))
    definitions = {d.symbol: d.value for d in model.definitions()}
    if len(a.args) != 2 or not is_leaf(name) or (is_leaf(own) and own not in definitions):
        return None
    indices: list[Expr] = []
    sizes: list[Expr] = []
    for e in (f, x):
        if isinstance(e, _ENTRY) != bool(shape_of(e.args[0] if isinstance(e, _ENTRY) else e)):
            return None
        for k, n in zip(e.args[1:], e.args[0].shape, strict=True) if isinstance(e, _ENTRY) else ():
            if n != 1 or is_tensor(e.args[0]):
                indices.append(k)
                sizes.append(n)
    if len(set(indices)) < len(indices) or not all(isinstance(k, Symbol) and is_index(k) for k in indices):
        return None
    function = definitions.get(own, own)
    written = substitute(b, {own: function}) if own in definitions else b
    arrays = tuple(from_entries(e, indices, sizes) for e in dict.fromkeys((b, written)))
    return PartialQuestion(function, name, arrays)


def _partial_derivative(definitions: Mapping[Expr, Expr], e: PartialDerivative) -> Expr | None:
    """The derivative of a definition's value by a name in it, for a model where the other names have no definitions."""
    f, x = e.args[:2]
    name = f.args[0] if isinstance(f, _ENTRY) else f
    if len(e.args) != 2 or (is_leaf(name) and name not in definitions):
        return None
    value = definitions.get(name, name)
    if isinstance(f, _ENTRY):
        value = (
            value.at(*f.args[1:])
            if isinstance(value, Entries | TensorEntries)
            else element(value, *f.args[1:])
        )
    return ScalarGradient(value, x)


def _array_like(array: Expr, name: str) -> Expr:
    if is_tensor(array):
        return Tensor(name, *array.shape)
    return matrix(name, *array.shape) if is_matrix(array) else scalar(name)


def free_indices(*expressions: Expr) -> dict[Symbol, Expr] | None:
    """The index symbols that no sum binds, with their sizes; None if one of them has none, or several."""
    free = {s for e in expressions for s in e.free_symbols if is_index(s)}
    sizes: dict[Symbol, Expr] = {}
    wanted: set[Symbol] = set()
    for e in expressions:
        for n in walk(e):
            if isinstance(n, _ENTRY):
                for k, size in zip(n.args[1:], shape_of(n.args[0]), strict=True):
                    wanted |= k.free_symbols & free
                    if k in free and sizes.setdefault(k, size) != size:
                        return None
            elif isinstance(n, KroneckerDelta | InRange):
                wanted |= n.free_symbols & free
    if wanted - sizes.keys():
        return None
    return {s: sizes[s] for s in sorted(sizes, key=str)}
