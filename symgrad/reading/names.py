r"""Names and sizes while a text is read: declared, guessed, or still open."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NoReturn

import sympy
from sympy import Dummy, Expr, IndexedBase, Integer, S, Symbol

from symgrad.errors import NameUnknownError, ReadError, SymgradError
from symgrad.expr import (
    Family,
    Tensor,
    same_size,
    size,
)
from symgrad.expr.functions import FUNCTIONS
from symgrad.reading.ranges import IndexScope
from symgrad.reading.text import parse_expression
from symgrad.reading.typed import Value

__all__ = ["Missing", "Names", "OpenSize", "handlers", "names_in"]


class OpenSize(Exception):  # noqa: N818 - not an error: reading starts again
    """Two sizes must be one: a size that was left open is bound, and the reading starts again."""

    def __init__(self, open_size: Expr, bound: Expr) -> None:
        super().__init__()
        self.open_size, self.bound = open_size, bound


@dataclass
class Names:
    r"""The names and sizes of one scope.

    `shapes` are the declared sizes as text, `assumptions` the words on each name, `functions` the names of
    arbitrary smooth functions, `equal` pairs of sizes that are one.
    """

    source: str
    shapes: dict[str, tuple[str, ...]]
    assumptions: dict[str, frozenset[str]]
    functions: set[str]
    equal: tuple[tuple[str, str], ...] = ()
    symbols: dict[str, Expr | Family] = field(default_factory=dict)
    family_names: set[str] = field(default_factory=set)
    guessed: dict[str, tuple[Expr, ...]] = field(default_factory=dict)
    sizes: set[str] = field(default_factory=set)
    indices: dict[str, Symbol] = field(default_factory=dict)
    defined: dict[str, int] = field(default_factory=dict)
    later: set[str] = field(default_factory=set)
    unmade: set[str] = field(default_factory=set)
    index_scope: IndexScope | None = None
    ranks: dict[str, int] = field(default_factory=dict)
    letters: set[str] = field(default_factory=set)
    missing: dict[str, tuple[str, Any]] = field(default_factory=dict)
    tables: set[str] = field(default_factory=set)  # names of n x 1 matrices, which are no vectors
    columns: set[str] = field(default_factory=set)  # names declared with a second size of 1, read as vectors

    def __post_init__(self) -> None:
        self._size_of: dict[str, Expr] = {}
        for name, sizes in self.shapes.items():
            for text in sizes:
                self._note_sizes(text, name)

    def _note_sizes(self, text: str, name: str) -> None:
        for leaf in names_in(self._size_tree(text, name)):
            self.sizes.add(leaf)

    def _size_tree(self, text: str, name: str) -> Any:
        try:
            return _parsed_size(text)
        except ReadError as error:
            raise ReadError(
                f"the size {text!r} of {name} cannot be read", hint="a size is n, 3, 2*n or p+k-1"
            ) from error

    def size(self, text: str, name: str) -> Expr:
        """A declared size."""
        if text not in self._size_of:
            self._size_of[text] = self._size(self._size_tree(text, name), text, name)
        return self._size_of[text]

    def _size(self, tree: Any, text: str, name: str) -> Expr:
        def refuse() -> NoReturn:
            raise ReadError(
                f"the size {text!r} of {name} cannot be read", hint="a size is n, 3, 2*n or p+k-1"
            )

        if not hasattr(tree, "data"):
            refuse()
        kind, children = str(tree.data), tree.children
        if kind == "number":
            if not str(children[0]).isdigit():
                refuse()
            return size(int(children[0]))
        if kind == "name":
            return self._size_symbol(str(children[0]))
        if kind == "item" and len(children) == 2 and children[0].data == "name":
            base = IndexedBase(str(children[0].children[0]), integer=True, positive=True)
            return base[self._size_index(children[1], refuse)]
        if kind in ("total", "product"):
            result = self._size(children[0], text, name)
            for operator, operand in zip(children[1::2], children[2::2], strict=True):
                other = self._size(operand, text, name)
                if str(operator) not in "+-*":
                    refuse()
                result = {"+": result + other, "-": result - other, "*": result * other}[str(operator)]
            return sympy.expand(result)
        refuse()

    def _size_index(self, tree: Any, refuse: Callable[[], NoReturn]) -> Expr:
        """The index of a size that depends on the layer: l, l-1, 0."""
        if tree.data == "name":
            return self.indices.setdefault(str(tree.children[0]), index_symbol(str(tree.children[0])))
        if tree.data == "number" and str(tree.children[0]).isdigit():
            return Integer(int(tree.children[0]))
        if tree.data == "total" and len(tree.children) == 3:
            left, right = (
                self._size_index(tree.children[0], refuse),
                self._size_index(tree.children[2], refuse),
            )
            return left + right if tree.children[1] == "+" else left - right
        refuse()

    def _size_symbol(self, name: str) -> Expr:
        for a, b in self.equal:
            if name == b:
                name = a
        return size(name)

    def declare(self, name: str, sizes: tuple[Expr, ...], index: Symbol | None = None) -> Expr | Family:
        """The symbol of a name with a shape; a family where the name is indexed by layer."""
        if len(sizes) > 2:
            if name in self.family_names:
                raise ReadError(f"the members of {name} are tensors", hint="layers are vectors or matrices")
            self.symbols[name] = Tensor(name, *sizes)
            return self.symbols[name]
        if name in self.family_names:
            shape = (*sizes, S.One) if len(sizes) == 1 else sizes
            family = Family(name, shape, index or self._layer_index())
            self.symbols[name] = family
            return family
        words = self.assumptions.get(name, frozenset())
        if not sizes:
            known = {"real": True}
            if words & {"positive", "in01", "positive_integer"}:
                known["positive"] = True
            if "positive_integer" in words:
                known["integer"] = True
            if "nonzero" in words:
                known["nonzero"] = True
            self.symbols[name] = Symbol(name, **known)
        else:
            rows, cols = sizes if len(sizes) == 2 else (sizes[0], S.One)
            if len(sizes) == 2 and cols == 1:
                self.columns.add(name)
            self.symbols[name] = sympy.MatrixSymbol(name, rows, cols)
        return self.symbols[name]

    def _layer_index(self) -> Symbol:
        return next(iter(self.indices.values()), index_symbol("l"))

    def lookup(self, name: str, tree: Any) -> Expr | Family:
        """What a name stands for; undeclared names are noted and get the shape that is being tried."""
        if name in self.indices and name not in self.shapes:
            return self.indices[name]
        if name in self.symbols:
            return self.symbols[name]
        if name in self.shapes:
            return self.declare(name, tuple(self.size(s, name) for s in self.shapes[name]))
        if name in self.sizes:
            return self._size_symbol(name)
        if name == "pi":
            return sympy.pi
        if name in self.defined or name in self.later:
            self.fail(NameUnknownError, f"{name} is used before it is defined", tree)
        if name in self.guessed:
            return self.declare(name, self.guessed[name])
        if name in handlers() or name in FUNCTIONS or name in self.functions:
            self.fail(ReadError, f"{name} is a function", tree, hint=f"write {name}(..)")
        self.missing.setdefault(name, (self.source, tree))
        raise Missing(name)

    def fail(
        self,
        kind: type[SymgradError],
        message: str,
        tree: Any,
        hint: str | None = None,
        details: tuple[str, ...] = (),
    ) -> NoReturn:
        """Raise an error at a tree."""
        line, column = position(tree)
        raise kind(message, source=self.source, line=line, column=column, hint=hint, details=details)

    def same(self, p: Expr, q: Expr) -> bool:
        """Whether two sizes are one; an open size is bound to the other, and reading starts again."""
        if same_size(p, q):
            return True
        self._bind(p, q)
        return False

    def _bind(self, p: Expr, q: Expr) -> None:
        """If one side is an open size, it is the other: start again with that."""
        for one, other in ((p, q), (q, p)):
            if isinstance(one, Dummy):
                raise OpenSize(one, other)


def handlers() -> Mapping[str, Callable[..., Value]]:
    """The functions of the language, by name."""
    from symgrad.reading.functions import FUNCTIONS_OF_THE_LANGUAGE

    return FUNCTIONS_OF_THE_LANGUAGE


class Missing(Exception):  # noqa: N818 - not an error: a shape is looked for
    """A name without a shape was met."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def index_symbol(name: str) -> Symbol:
    return Symbol(name, integer=True, positive=True)


@lru_cache(maxsize=1024)
def _parsed_size(text: str) -> Any:
    """The tree of a size; the same few sizes are read again and again."""
    return parse_expression(text)


def names_in(tree: Any) -> set[str]:
    """The names that occur in a tree."""
    if not hasattr(tree, "find_data"):
        return set()
    return {str(t.children[0]) for t in tree.find_data("name")}


def position(tree: Any) -> tuple[int, int]:
    if hasattr(tree, "meta") and not tree.meta.empty:
        return tree.meta.line, tree.meta.column
    return getattr(tree, "line", None) or 1, getattr(tree, "column", None) or 1
