"""Parts of a formula that are derived by, such as X w - y in ||X w - y||^2, as definitions of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sympy import Basic, Expr, Sum, Symbol
from sympy.matrices.expressions.matmul import MatMul

from symgrad.checking.layers import asked_layer
from symgrad.expr import (
    Definition,
    Family,
    Gradient,
    Loop,
    MatrixSum,
    Model,
    ScalarGradient,
    gradient,
    is_leaf,
    is_matrix,
    leaf_name,
    leaves,
    matmul,
    matrix,
    scalar,
    shape_of,
    substitute,
    walk,
)

__all__ = ["Split", "with_parts", "with_parts_in_layers"]


@dataclass(frozen=True)
class Split:
    """A model in which parts of a function have names, and the function in it."""

    model: Model
    function: Expr
    names: Mapping[Expr, Expr]
    before: Expr

    def renamed(self, e: Expr) -> Expr:
        """An expression with the names of the parts, also where a part is a run of factors of a product."""
        places = {
            n: gradient(self.function, self.names.get(n.args[1], n.args[1]))
            for n in walk(e)
            if isinstance(n, Gradient | ScalarGradient) and n.args[0] == self.before
        }
        return _with_names(substitute(e, places), self.names)


def with_parts(model: Model, f: Expr, parts: Sequence[Expr]) -> Split | None:
    """The split of a function into parts, which get a name wherever they stand; None if there are none.

    `f` is an expression, or a name that is defined outside of loops; beside loops the parts must be in f alone.
    """
    ordered = sorted(dict.fromkeys(parts), key=_length)
    definition = model.definition_of(f) if is_leaf(f) else None
    if not ordered or (is_leaf(f) and definition not in model.items):
        return None
    others = [d for d in model.definitions() if d is not definition]
    if model.has_loops and any(_may_occur(p, d.value) for p in ordered for d in others):
        return None
    names: dict[Expr, Expr] = {}
    new: list[Definition] = []
    for n, part in enumerate(ordered):
        name = f"part{n}_"
        symbol = matrix(name, *part.shape) if is_matrix(part) else scalar(name)
        new.append(Definition(symbol, _with_names(part, names)))
        names[part] = symbol
    items: list[Definition | Loop] = [*new]
    for item in model.items:
        if isinstance(item, Loop):
            items.append(item)
        else:
            items.append(Definition(item.symbol, _with_names(item.value, names), item.line))
    function = f if definition is not None else _with_names(f, names)
    return Split(replace(model, items=tuple(items)), function, names, f)


def with_parts_in_layers(model: Model, f: Expr, parts: Sequence[Expr]) -> Split | None:
    """The split of a model with loops: a part of a layer, or of the terms of a sum over layers, is a member of a family.

    None if there are no parts, or one of them is found in no formula.
    """
    loops = [item for item in model.items if isinstance(item, Loop)]
    outside = [d.value for d in model.items if isinstance(d, Definition)]
    outside += [] if any(d.symbol == f for d in model.definitions()) else [f]
    places = [(loop, d.value) for loop in loops for d in loop.body]
    for index, lower, upper, term in (r for e in outside for n in walk(e) for r in _range_of(n)):
        same = [loop for loop in loops if (loop.lower, loop.upper) == (lower, upper)]
        again = same[0].index if same else index
        places.append((same[0] if same else Loop(index, lower, upper, ()), term.xreplace({index: again})))
    names: dict[Expr, Expr] = {}
    general: dict[Expr, Expr] = {}
    bodies: dict[Loop, list[Definition]] = {loop: [] for loop, _ in places}
    plain: list[Definition] = []
    for part in sorted(dict.fromkeys(parts), key=_length):
        found = next((x for loop, e in places for x in _general(loop, e, part)), None)
        name = f"part{len(general)}_"
        if found is not None:
            loop, own, layer = found
            if own not in general:
                shape = shape_of(own) if is_matrix(own) else ()
                general[own] = Family(name, shape, loop.index)[loop.index]
                bodies[loop].append(Definition(general[own], _with_names(own, names)))
            for at in (layer, loop.index, loop.index - 1):
                names[own.xreplace({loop.index: at})] = general[own].xreplace({loop.index: at})
        elif any(_stands_in(e, part) for e in outside):
            general[part] = matrix(name, *part.shape) if is_matrix(part) else scalar(name)
            plain.append(Definition(general[part], _with_names(part, names)))
            names[part] = general[part]
        else:
            return None
    if not names:
        return None
    new = [loop for loop in bodies if loop not in loops]
    items: list[Definition | Loop] = [*plain, *(replace(loop, body=tuple(bodies[loop])) for loop in new)]
    for item in model.items:
        if isinstance(item, Loop):
            body = [Definition(d.symbol, _with_names(d.value, names), d.line) for d in item.body]
            items.append(replace(item, body=(*bodies.get(item, ()), *body)))
        else:
            items.append(Definition(item.symbol, _in_sums(item.value, names), item.line))
    function = f if is_leaf(f) else _in_sums(f, names)
    return Split(replace(model, items=tuple(items)), function, names, f)


def _general(loop: Loop, e: Expr, part: Expr) -> Iterator[tuple[Loop, Expr, Expr]]:
    """Where a part stands at a general layer of a formula, and the layer at which it is the part that is asked for."""
    for node in walk(e):
        found = [node]
        if isinstance(node, MatMul) and isinstance(part, MatMul) and len(node.args) > len(part.args):
            runs = range(len(node.args) - len(part.args) + 1)
            found = [node.func(*node.args[at : at + len(part.args)]) for at in runs]
        for own in found:
            layer = asked_layer(own, part, loop.index) if isinstance(own, Expr) and not is_leaf(own) else None
            if layer is not None:
                yield loop, own, layer


def _range_of(n: Basic) -> list[tuple[Symbol, Expr, Expr, Expr]]:
    """The index, the bounds and the term of a sum over layers."""
    if isinstance(n, MatrixSum):
        return [(n.index, *n.bounds, n.body)]
    if isinstance(n, Sum) and len(n.limits) == 1 and len(n.limits[0]) == 3:
        return [(*n.limits[0], n.function)]
    return []


def _in_sums(e: Expr, names: Mapping[Expr, Expr]) -> Expr:
    """A formula with the names of parts, also in the terms of its sums, whose index may have another letter."""
    put: dict[Expr, Expr] = {}
    indices = dict.fromkeys(i for m in names.values() for i in m.free_symbols if i.is_integer)
    for n in walk(e):
        for bound, lower, upper, term in _range_of(n) if n not in names else ():
            for index in indices:
                moved = term.xreplace({bound: index})
                named = _with_names(moved, names)
                if named != moved:
                    put[n] = (
                        n.func(named, index, lower, upper)
                        if is_matrix(n)
                        else Sum(named, (index, lower, upper))
                    )
                    break
    return _with_names(substitute(e, put) if put else e, names)


def _with_names(e: Expr, names: Mapping[Expr, Expr]) -> Expr:
    """An expression with the names of parts, the largest first, also where a part is a run of factors of a product."""
    e = substitute(e, names)
    products = {part.args: name for part, name in names.items() if isinstance(part, MatMul)}
    while products and (found := _runs(e, products)):
        e = substitute(e, found)
    return e


def _length(e: Expr) -> int:
    return sum(1 for _ in walk(e))


def _may_occur(part: Expr, value: Expr) -> bool:
    """Whether a part is in a value, at this layer or another one."""
    named = {leaf_name(x) for x in leaves(part)}
    return any(
        n == part or (type(n) is type(part) and {leaf_name(x) for x in leaves(n)} == named)
        for n in walk(value)
    )


def _stands_in(e: Expr, part: Expr) -> bool:
    """Whether a part is in an expression, as a node or as a run of factors."""
    return part in set(walk(e)) or (isinstance(part, MatMul) and bool(_runs(e, {part.args: part})))


def _runs(e: Expr, products: Mapping[tuple[Expr, ...], Expr]) -> dict[Expr, Expr]:
    """Products that hold the factors of another product in a row, with a symbol for the longest such row."""
    found: dict[Expr, Expr] = {}
    widths = sorted({len(factors) for factors in products}, reverse=True)
    for node in walk(e):
        if isinstance(node, MatMul):
            factors = node.args
            for at, width in ((i, w) for w in widths for i in range(len(factors) - w + 1)):
                symbol = products.get(factors[at : at + width])
                if symbol is not None:
                    found[node] = matmul(*factors[:at], symbol, *factors[at + width :])
                    break
    return found
