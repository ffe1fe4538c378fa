r"""From trees to models: names, shapes, broadcasting.

Types are NumPy's: scalars, vectors (1-D, written as columns), rows (only x.T of a vector) and matrices. Shapes
that were not declared are found by trying every reading of the names; the text is refused unless just one fits.
"""

from __future__ import annotations

import re
from typing import Any

import sympy
from sympy import Expr, Indexed, Symbol

from symgrad.errors import ReadError, ShapeError
from symgrad.expr import (
    Definition,
    Family,
    Loop,
    Model,
    Tensor,
    shape_text,
)
from symgrad.expr.functions import FUNCTIONS
from symgrad.reading import indices
from symgrad.reading.expressions import Expressions
from symgrad.reading.names import handlers, index_symbol, names_in
from symgrad.reading.text import Header, Statement
from symgrad.reading.typed import Value

__all__ = ["Elaborator"]


class Elaborator(Expressions):
    r"""Reads definitions and loops."""

    def model(self, parts: list[Statement | Header]) -> Model:
        """The model of a list of statements."""
        self._find_families(parts)
        trees = [p.tree.children[0] for p in parts if isinstance(p, Statement) and p.tree is not None]
        self.later = {str(t.children[0]) for t in trees} - self.family_names
        self.unmade = {str(t.children[0]) for t in trees} & self.family_names
        items: list[Definition | Loop] = []
        i = 0
        while i < len(parts):
            part = parts[i]
            if isinstance(part, Header):
                body = []
                i += 1
                while i < len(parts) and parts[i].indent > part.indent:
                    body.append(parts[i])
                    i += 1
                items.append(self._loop(part, body))
                continue
            if part.tree is not None:
                items.append(self._definition(part, None))
            i += 1
        return Model(
            tuple(items), dict(self.symbols), dict(self.assumptions), self.source, frozenset(self.tables)
        )

    def _find_families(self, parts: list[Statement | Header]) -> None:
        """Families are the names with one index among the targets, or with the loop's index inside a loop."""
        index: tuple[str, int] | None = None
        for part in parts:
            if isinstance(part, Header):
                index = (str(part.tree.children[0]), part.indent)
                self.indices.setdefault(index[0], index_symbol(index[0]))
                continue
            if index is not None and part.indent <= index[1]:
                index = None
            if part.tree is None:
                continue
            target = part.tree.children[0]
            if len(target.children) == 2 and (index is not None or not indices.by_entries(self, target)):
                self.family_names.add(str(target.children[0]))
            for item in part.tree.find_data("item"):
                base = item.children[0]
                one = len(item.children) == 2 and base.data == "name" and item.children[1].data != "slice"
                if one and index is not None:
                    if index[0] in names_in(item.children[1]):
                        self.family_names.add(str(base.children[0]))

    def _loop(self, header: Header, body: list[Any]) -> Loop:
        name, lower_tree, upper_tree = header.tree.children
        index = self.indices[str(name)]
        if str(name) in self.symbols or str(name) in self.shapes:
            self.fail(ReadError, f"the loop's index {name} is a name already", name)
        lower, upper = self._bound(lower_tree), self._bound(upper_tree)
        if (upper - lower).is_negative:
            self.fail(ReadError, f"the loop from {lower} to {upper} has no layers", upper_tree)
        if not body:
            self.fail(ReadError, "the loop has no body", name, hint="indent the definitions that it repeats")
        definitions = []
        for part in body:
            if isinstance(part, Header):
                self.fail(ReadError, "a loop inside a loop is not read", part.tree.children[0])
            if part.tree is not None:
                definitions.append(self._definition(part, index))
        return Loop(index, lower, upper, tuple(definitions), header.line)

    def _is_called(self, name: str) -> bool:
        """Whether the text calls a function: a name such as delta or mean is free where it does not."""
        return re.search(rf"\b{re.escape(name)}\s*\(", self.source) is not None

    def _definition(self, part: Statement, index: Symbol | None) -> Definition:
        target, formula = part.tree.children
        name = str(target.children[0])
        if name in FUNCTIONS or (name in handlers() and self._is_called(name)):
            self.fail(ReadError, f"{name} is a function and cannot be defined", target.children[0])
        entries = index is None and indices.by_entries(self, target)
        if len(target.children) == 2 and not entries:
            return self._member_definition(part, name, target, formula, index)
        if len(target.children) > 2 and index is not None:
            self.fail(
                ReadError,
                "inside a loop whole arrays are defined, not entries",
                target,
                hint=f"the only index is the layer: {name}[{index}] = .., with @ for sums, as in W[{index}] @ x",
            )
        if index is not None:
            self.fail(
                ReadError,
                f"{name} is defined again by every layer",
                target.children[0],
                hint=f"write {name}[{index}]",
            )
        if name in self.defined or name in self.symbols:
            where = self.defined.get(name)
            said = f"on line {where}" if where else "before"
            self.fail(ReadError, f"{name} is defined or used {said}", target.children[0])
        if entries:
            return indices.define(self, part, name, target, formula)
        value = self._value(name, formula)
        self._agrees(name, value, target.children[0])
        symbol = self._symbol_like(name, value)
        self.symbols[name] = symbol
        self.defined[name] = part.line
        self.later.discard(name)
        return Definition(symbol, value.expr, part.line)

    def _value(self, name: str, formula: Any) -> Value:
        """What a name is defined as; one column that keeps its second axis keeps it under its name."""
        value = self.read(formula)
        if value.kind == "matrix" and value.expr.shape[1] == 1:
            self.tables.add(name)
        return value

    def _agrees(self, name: str, value: Value, tree: Any) -> None:
        """A shape that was declared for a defined name must be that of its formula."""
        if name not in self.shapes:
            return
        declared = tuple(self.size(s, name) for s in self.shapes[name])
        given = value.shape
        if declared == (1,) or declared == (1, 1):
            declared = ()
        if len(declared) != len(given) or not all(
            self.same(a, b) for a, b in zip(declared, given, strict=True)
        ):
            self.fail(
                ShapeError,
                f"{name} is declared {shape_text(declared)}, but its formula is {shape_text(given)}",
                tree,
            )

    def _symbol_like(self, name: str, value: Value) -> Expr:
        if value.kind == "scalar":
            return Symbol(name, real=True)
        if value.kind == "tensor":
            return Tensor(name, *value.shape)
        return sympy.MatrixSymbol(name, *value.expr.shape)

    def _member_definition(
        self, part: Statement, name: str, target: Any, formula: Any, index: Symbol | None
    ) -> Definition:
        at = self._bound(target.children[1])
        if index is not None and at != index:
            self.fail(ReadError, f"inside the loop {name}[{index}] is defined, not {name}[{at}]", target)
        if index is None and at.has(*self.indices.values()):
            self.fail(ReadError, f"{name}[{at}] is defined outside the loop over its index", target)
        value = self._value(name, formula)
        shape = () if value.kind == "scalar" else tuple(value.expr.shape)
        general = self._layer_index() if index is None else index
        known = self.symbols.get(name)
        if known is None and name in self.shapes:
            known = self.declare(name, tuple(self.size(s, name) for s in self.shapes[name]), general)
        if isinstance(known, Family):
            here = tuple(s.xreplace({known.index: at}) for s in known.shape)
            if len(here) != len(shape) or not all(self.same(a, b) for a, b in zip(here, shape, strict=True)):
                self.fail(
                    ShapeError,
                    f"{name}[{at}] is {shape_text(here)}, but its formula is {shape_text(shape)}",
                    target,
                    hint="every layer must hand on what it takes in" if index is not None else None,
                )
            family = known
        else:
            family = Family(name, tuple(_at_layer(s, at, general) for s in shape), general)
            self.symbols[name] = family
        self.defined.setdefault(name, part.line)
        return Definition(family[at], value.expr, part.line)


def _at_layer(s: Expr, at: Expr, general: Symbol) -> Expr:
    """A size n[0] of the member at 0 is n[l] of the member at l."""
    sized = [a for a in s.atoms(Indexed) if a.indices[0] == at]
    return s.xreplace({a: a.base[general] for a in sized})
