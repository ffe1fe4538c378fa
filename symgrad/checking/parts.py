"""Parts of a formula that are derived by, such as X w - y in ||X w - y||^2, as definitions of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sympy import Expr
from sympy.matrices.expressions.matmul import MatMul

from symgrad.expr import (
    Definition,
    Gradient,
    Loop,
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
    substitute,
    walk,
)

__all__ = ["Split", "with_parts"]


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


def _with_names(e: Expr, names: Mapping[Expr, Expr]) -> Expr:
    """An expression with the names of parts, the largest first, also where a part is a run of factors of a product."""
    for part, name in sorted(names.items(), key=lambda item: -_length(item[0])):
        e = substitute(e, {part: name})
        if isinstance(part, MatMul):
            e = substitute(e, _runs(e, part, name))
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


def _runs(e: Expr, part: Expr, symbol: Expr) -> dict[Expr, Expr]:
    """Products that hold the factors of another product in a row, with a symbol for those."""
    found: dict[Expr, Expr] = {}
    width = len(part.args)
    for node in walk(e):
        if isinstance(node, MatMul):
            for at in range(len(node.args) - width + 1):
                if node.args[at : at + width] == part.args:
                    found[node] = matmul(*node.args[:at], symbol, *node.args[at + width :])
                    break
    return found
