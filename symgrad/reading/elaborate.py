"""From trees to models: names, shapes, broadcasting.

Types are NumPy's: scalars, vectors (1-D, written as columns), rows (only x.T of a vector) and matrices. Shapes
that were not declared are found by trying every reading of the names; the text is refused unless just one fits.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NoReturn

import sympy
from sympy import Dummy, Expr, Indexed, IndexedBase, Integer, Rational, S, Symbol

from symgrad.errors import NameUnknownError, ReadError, ShapeError, SymgradError, TooLargeError
from symgrad.expr import (
    Definition,
    Family,
    Loop,
    MatrixSum,
    Model,
    OrderedProduct,
    Tensor,
    add,
    apply,
    as_scalar,
    diag,
    hadamard,
    is_scalar,
    is_tensor,
    matmul,
    negate,
    ones,
    power,
    same_size,
    scale,
    shape_text,
    shapes_are_free,
    size,
    subtract,
    transpose,
)
from symgrad.expr.functions import FUNCTIONS
from symgrad.reading import indices
from symgrad.reading.indices import IndexScope
from symgrad.reading.tensors import entrywise, has_tensor, over_all
from symgrad.reading.text import LIMITS, Header, Statement, parse_expression

__all__ = ["Elaborator", "Missing", "OpenSize", "Value", "names_in", "value_of"]


@dataclass(frozen=True)
class Value:
    """An expression with its NumPy kind: scalar, vector, row, matrix or tensor.

    `x @ A` is a vector, A^T x on paper; `row` keeps x^T A, so that x @ A @ y is x^T A y.
    """

    expr: Expr
    kind: str
    row: Expr | None = None

    @property
    def shape(self) -> tuple[Expr, ...]:
        """() or (n,) or (m, n)."""
        if self.kind == "scalar":
            return ()
        return (self.expr.shape[0],) if self.kind == "vector" else tuple(self.expr.shape)


def value_of(e: Expr, kind: str | None = None) -> Value:
    """The value of an expression; what came out 1 x 1 is a scalar."""
    if is_scalar(e):
        return Value(e, "scalar")
    if is_tensor(e):
        return Value(e, "tensor")
    if e.shape == (1, 1):
        return Value(as_scalar(e), "scalar")
    return Value(e, kind or ("vector" if e.shape[1] == 1 else "matrix"))


class OpenSize(Exception):  # noqa: N818 - not an error: reading starts again
    """Two sizes must be one: a size that was left open is bound, and the reading starts again."""

    def __init__(self, open_size: Expr, bound: Expr) -> None:
        super().__init__()
        self.open_size, self.bound = open_size, bound


@dataclass
class Elaborator:
    """Reads trees in one scope.

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

    def __post_init__(self) -> None:
        self._size_of: dict[str, Expr] = {}
        for name, sizes in self.shapes.items():
            for text in sizes:
                self._note_sizes(text, name)

    # --- sizes -------------------------------------------------------------------------------------

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
            return self.indices.setdefault(str(tree.children[0]), _index_symbol(str(tree.children[0])))
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

    # --- names -------------------------------------------------------------------------------------

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
            self.symbols[name] = sympy.MatrixSymbol(name, rows, cols)
        return self.symbols[name]

    def _layer_index(self) -> Symbol:
        return next(iter(self.indices.values()), _index_symbol("l"))

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
        line, column = _position(tree)
        raise kind(message, source=self.source, line=line, column=column, hint=hint, details=details)

    # --- statements ----------------------------------------------------------------------------------

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
        return Model(tuple(items), dict(self.symbols), dict(self.assumptions), self.source)

    def _find_families(self, parts: list[Statement | Header]) -> None:
        """Families are the names with one index among the targets, or with the loop's index inside a loop."""
        index: tuple[str, int] | None = None
        for part in parts:
            if isinstance(part, Header):
                index = (str(part.tree.children[0]), part.indent)
                self.indices.setdefault(index[0], _index_symbol(index[0]))
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
                if len(item.children) == 2 and base.data == "name" and index is not None:
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

    def _bound(self, tree: Any) -> Expr:
        """A bound of a loop or a range: a number, a name, sums and differences of those."""
        if tree.data == "name":
            name = str(tree.children[0])
            if name in self.indices and name not in self.shapes:
                return self.indices[name]
            is_array = bool(self.shapes.get(name)) or not is_scalar(self.symbols.get(name, S.One))
            if is_array:
                self.fail(ShapeError, f"the bound {name} is not a number of layers", tree)
            self.sizes.add(name)
            self.symbols.setdefault(name, size(name))
            return size(name)
        if tree.data == "number" and str(tree.children[0]).isdigit():
            return Integer(int(tree.children[0]))
        if tree.data == "negative":
            return -self._bound(tree.children[-1])
        if tree.data == "total":
            result = self._bound(tree.children[0])
            for operator, operand in zip(tree.children[1::2], tree.children[2::2], strict=True):
                other = self._bound(operand)
                result = result + other if operator == "+" else result - other
            return result
        self.fail(ReadError, "a bound is a number, a name, or a sum of those", tree)

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
            self.fail(ReadError, "inside a loop whole arrays are defined, not entries", target)
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
        value = self.read(formula)
        self._agrees(name, value, target.children[0])
        symbol = self._symbol_like(name, value)
        self.symbols[name] = symbol
        self.defined[name] = part.line
        self.later.discard(name)
        return Definition(symbol, value.expr, part.line)

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
        value = self.read(formula)
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

    # --- expressions -------------------------------------------------------------------------------

    def read(self, tree: Any) -> Value:
        """The value of a tree; errors of the constructors get the position of the operation."""
        try:
            return self._read(tree)
        except SymgradError as error:
            if error.line is None:
                error.located(self.source, *_position(tree))
            raise

    def _read(self, tree: Any) -> Value:
        if not hasattr(tree, "data"):
            self.fail(ReadError, f"unexpected {tree}", tree)
        reader: Callable[[Any], Value] = getattr(self, f"_read_{tree.data}")
        return reader(tree)

    def _read_number(self, tree: Any) -> Value:
        text = str(tree.children[0])
        exponent = text.lower().partition("e")[2]
        if exponent and abs(int(exponent)) > 100:
            self.fail(TooLargeError, f"the number {text} is out of bounds", tree)
        return Value(Rational(text), "scalar")

    def _read_name(self, tree: Any) -> Value:
        name = str(tree.children[0])
        if self.index_scope is not None and name in self.index_scope.open:
            if name in self.sizes:
                self.fail(ReadError, f"{name} is an index here and a size: name the index otherwise", tree)
            return Value(self.index_scope.open[name], "scalar")
        found = self.lookup(name, tree)
        if isinstance(found, Family):
            self.fail(ReadError, f"{name} is a family", tree, hint=f"write {name}[l] for one of its members")
        return value_of(found)

    def _read_item(self, tree: Any) -> Value:
        base, *places = tree.children
        if base.data == "name" and str(base.children[0]) in self.family_names and len(places) == 1:
            name = str(base.children[0])
            if name in self.unmade and name not in self.symbols and name not in self.shapes:
                if not any((i - self._bound(places[0])).is_positive for i in self.indices.values()):
                    self.fail(NameUnknownError, f"{name} is used before it is defined", base)
            family = self.lookup(name, base)
            if not isinstance(family, Family):
                self.fail(ReadError, f"{name} is no family", base)
            return value_of(family[self._bound(places[0])])
        return indices.read_entry(self, tree)

    def _read_negative(self, tree: Any) -> Value:
        value = self.read(tree.children[-1])
        if value.kind == "tensor":
            return entrywise(self, negate, [value], tree)
        return Value(negate(value.expr), value.kind)

    def _read_positive(self, tree: Any) -> Value:
        return self.read(tree.children[-1])

    def _read_transposed(self, tree: Any) -> Value:
        value = self.read(tree.children[0])
        if value.kind == "tensor":
            self.fail(
                ShapeError, "a tensor has no transpose", tree, hint="permute its indices: Z[i,k,j] = T[i,j,k]"
            )
        kind = {"vector": "row", "row": "vector"}.get(value.kind, value.kind)
        return Value(transpose(value.expr), kind)

    def _read_total(self, tree: Any) -> Value:
        values = [self.read(t) for t in tree.children[0::2]]
        signs = ["+", *map(str, tree.children[1::2])]
        if has_tensor(values):
            factors = [1 if s == "+" else -1 for s in signs]
            return entrywise(self, lambda *t: add(*map(scale, factors, t)), values, tree)
        terms = [v if s == "+" else Value(negate(v.expr), v.kind) for s, v in zip(signs, values, strict=True)]
        kinds = {v.kind for v in terms}
        if kinds == {"scalar"}:
            return Value(add(*(t.expr for t in terms)), "scalar")
        if len(kinds) == 1 and "scalar" not in kinds:
            for previous, t, where in zip(terms, terms[1:], tree.children[2::2], strict=False):
                self._check_sum(previous, t, where)
            if all(t.expr.shape == terms[0].expr.shape for t in terms):
                return Value(add(*(t.expr for t in terms)), terms[0].kind)
        total = terms[0]
        for t, where in zip(terms[1:], tree.children[2::2], strict=True):
            a, b = self.broadcast(total, t, where, "sum")
            total = Value(add(a.expr, b.expr), a.kind)
        return total

    def _check_sum(self, a: Value, b: Value, tree: Any) -> None:
        if a.kind == b.kind and len(a.shape) == len(b.shape):
            self.broadcast(a, b, tree, "sum")

    def _read_product(self, tree: Any) -> Value:
        if len(tree.children) > 2 * LIMITS.factors:
            hint = f"at most {LIMITS.factors} are read; name parts of it in definitions of their own"
            self.fail(TooLargeError, f"a product of {len(tree.children) // 2 + 1} factors", tree, hint=hint)
        value = self.read(tree.children[0])
        for operator, operand in zip(tree.children[1::2], tree.children[2::2], strict=True):
            other = self.read(operand)
            try:
                value = self._multiplied(str(operator), value, other, operand)
            except SymgradError as error:
                if error.line is None:
                    error.located(self.source, *_position(operator))
                raise
        return value

    def _multiplied(self, operator: str, a: Value, b: Value, tree: Any) -> Value:
        if has_tensor([a, b]):
            if operator == "@":
                hint = "write the product by entries: Z[b,i,k] = sum(j, A[b,i,j] * B[b,j,k])"
                self.fail(
                    ShapeError, "@ is a product of matrices, and one side of it is a tensor", tree, hint=hint
                )
            return entrywise(
                self, lambda x, y: scale(x, y if operator == "*" else power(y, -1)), [a, b], tree
            )
        if operator == "@":
            return self._matrix_product(a, b, tree)
        if operator == "/":
            if b.expr.is_zero:
                self.fail(ReadError, "a division by zero", tree)
            if a.kind == "scalar" or b.kind == "scalar":
                inverted = power(b.expr, -1)
                return Value(
                    scale(a.expr, inverted) if a.kind == "scalar" else scale(inverted, a.expr), _kind(a, b)
                )
            if b.kind == "matrix" and a.kind == "matrix" and not spreads(a, b):
                a, b = self.broadcast(a, b, tree, "quotient")
                return Value(hadamard(a.expr, power(b.expr, -1)), a.kind)
            b = Value(power(b.expr, -1), b.kind)
        if a.kind == "scalar" or b.kind == "scalar":
            factor, rest = (a, b) if a.kind == "scalar" else (b, a)
            return Value(scale(factor.expr, rest.expr), rest.kind)
        return self._entrywise(a, b, tree)

    def _entrywise(self, a: Value, b: Value, tree: Any) -> Value:
        """A * b of arrays; a vector scales the columns of a matrix, an n x 1 matrix its rows."""
        for one, other in ((a, b), (b, a)):
            if one.kind == "vector" and other.kind == "matrix":
                self._unify(one.shape[0], other.shape[1], one, other, tree, "entrywise product")
                return Value(matmul(other.expr, diag(one.expr)), "matrix")
            if spreads(one, other) and one.expr.shape[1] == 1:
                self._unify(one.expr.shape[0], other.expr.shape[0], one, other, tree, "entrywise product")
                return Value(matmul(diag(one.expr), other.expr), "matrix")
        a, b = self.broadcast(a, b, tree, "entrywise product")
        return Value(hadamard(a.expr, b.expr), a.kind)

    def _matrix_product(self, a: Value, b: Value, tree: Any) -> Value:
        for v in (a, b):
            if v.kind == "scalar":
                self.fail(
                    ShapeError,
                    "@ is a matrix product, and one side of it is a scalar",
                    tree,
                    hint="write * instead",
                )
        if a.kind == "vector" and b.kind == "row":
            return value_of(matmul(a.expr, b.expr), "matrix")
        left = a.expr
        if a.kind == "vector":
            left = transpose(a.expr) if a.row is None else a.row
        self._unify(left.shape[1], b.expr.shape[0], a, b, tree, "matmul")
        result = matmul(left, b.expr)
        if is_scalar(result):
            return Value(result, "scalar")
        if a.kind == "vector":  # x @ A is a vector in NumPy, A^T x on paper
            return Value(matmul(transpose(b.expr), a.expr), "vector", result)
        if a.kind == "row":
            return Value(result, "row")
        return Value(result, "vector" if b.kind == "vector" else "matrix")

    def _read_power(self, tree: Any) -> Value:
        base, exponent = self.read(tree.children[0]), self.read(tree.children[2])
        if has_tensor([base, exponent]):
            return entrywise(self, power, [base, exponent], tree)
        if exponent.kind != "scalar":
            if base.kind == "scalar" and base.expr.is_positive:
                return Value(apply("exp", scale(sympy.log(base.expr), exponent.expr)), exponent.kind)
            self.fail(
                ShapeError,
                f"the exponent is a {shape_text(exponent.shape)}",
                tree,
                hint="it must be a scalar",
            )
        number = exponent.expr
        if number.is_Number:
            if abs(number) > LIMITS.exponent:
                self.fail(
                    TooLargeError,
                    f"the exponent is beyond {LIMITS.exponent}",
                    tree.children[2],
                    hint="give it a name instead",
                )
            if (
                base.expr.is_Number
                and (base.expr.p.bit_length() + base.expr.q.bit_length()) * abs(number) > 4000
            ):
                self.fail(TooLargeError, "the power is a very long number", tree)
        if base.expr.is_zero and number.is_negative:
            self.fail(ReadError, "a division by zero", tree)
        return Value(power(base.expr, number), base.kind)

    def _read_comparison(self, tree: Any) -> Value:
        left, operator, right = tree.children
        one, other = self.read(left), self.read(right)
        if has_tensor([one, other]):
            hint = "compare entries: T[i,j,k] > 0"
            self.fail(ShapeError, "whole tensors are not compared", tree, hint=hint)
        a, b = self.broadcast(one, other, tree, "comparison")
        if operator in ("<", ">="):
            a, b = b, a
        indicator = apply("step", subtract(a.expr, b.expr))
        if operator in (">", "<"):
            return Value(indicator, a.kind)
        one = S.One if a.kind == "scalar" else ones(*a.expr.shape)
        return Value(subtract(one, indicator), a.kind)

    def broadcast(self, a: Value, b: Value, tree: Any, what: str) -> tuple[Value, Value]:
        """NumPy's broadcasting of two operands to one shape."""
        if shapes_are_free() and a.shape != b.shape and "scalar" not in (a.kind, b.kind):
            return a, b
        if a.kind == b.kind == "scalar":
            return a, b
        if a.kind == "scalar":
            return Value(scale(a.expr, ones(*b.expr.shape)), b.kind), b
        if b.kind == "scalar":
            return a, Value(scale(b.expr, ones(*a.expr.shape)), a.kind)
        if a.kind == "vector" and b.kind == "matrix":
            self._unify(a.shape[0], b.shape[1], a, b, tree, what)
            return Value(matmul(ones(b.shape[0]), transpose(a.expr)), "matrix"), b
        if a.kind == "matrix" and b.kind == "vector":
            other, this = self.broadcast(b, a, tree, what)
            return this, other
        if {a.kind, b.kind} == {"row", "vector"}:
            self.fail(
                ShapeError,
                f"{what}: a row and a vector",
                tree,
                hint="vectors are 1-D: leave .T away, or write outer(x, y) for the table of all pairs",
            )
        if spreads(a, b):
            return Value(_spread(a.expr, b.expr), "matrix"), b
        if spreads(b, a):
            return a, Value(_spread(b.expr, a.expr), "matrix")
        for p, q in zip(a.shape, b.shape, strict=True):
            self._unify(p, q, a, b, tree, what)
        return a, b

    # --- unification ---------------------------------------------------------------------------------

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

    def _unify(self, p: Expr, q: Expr, a: Value, b: Value, tree: Any, what: str) -> None:
        if self.same(p, q) or shapes_are_free():
            return
        left, right = shape_text(a.shape), shape_text(b.shape)
        hint = None
        if what == "matmul":
            if a.kind == "matrix" and same_size(a.expr.shape[0], b.expr.shape[0]):
                hint = f"the left side transposed is {shape_text(a.shape[::-1])} and would fit"
            elif b.kind == "matrix" and a.kind == "matrix" and same_size(a.expr.shape[1], b.expr.shape[1]):
                hint = f"the right side transposed is {shape_text(b.shape[::-1])} and would fit"
        elif (
            a.kind == b.kind == "matrix"
            and same_size(a.shape[0], b.shape[1])
            and same_size(a.shape[1], b.shape[0])
        ):
            hint = "one of them transposed would fit"
        inner = "the inner sizes" if what == "matmul" else "the sizes"
        self.fail(
            ShapeError,
            f"{what}: {inner} {p} and {q} differ",
            tree,
            hint=hint,
            details=(f"left   {left}", f"right  {right}"),
        )

    # --- calls ---------------------------------------------------------------------------------------

    def _read_call(self, tree: Any) -> Value:
        name, *arguments = tree.children
        called = str(name)
        plain = called.rstrip("'")
        positional = [a for a in arguments if a.data not in ("keyword", "range")]
        keywords = {str(a.children[0]): a.children[1] for a in arguments if a.data == "keyword"}
        ranges = [a for a in arguments if a.data == "range"]
        if called in ("sum", "mean", "max", "prod") and indices.is_over_letters(self, positional, ranges):
            return indices.over_letters(self, called, tree, [a for a in arguments if a.data != "keyword"])
        if called in ("sum", "prod") and ranges:
            return self._over_range(called, tree, ranges, positional)
        if ranges:
            self.fail(ReadError, f"{called} takes no range", ranges[0])
        if plain in self.functions:
            (x,) = self.arguments(tree, positional, keywords, 1)
            if x.kind == "tensor":
                return entrywise(self, lambda t: apply(called, t), [x], tree)
            return Value(apply(called, x.expr), x.kind)
        if called in FUNCTIONS:
            most = 1 + FUNCTIONS[called].parameters
            values = self.arguments(tree, positional, keywords, 1, most)
            for v in values[1:]:
                if v.kind != "scalar":
                    self.fail(ShapeError, f"the parameter of {called} must be a scalar", tree)
            if values[0].kind == "tensor":
                return entrywise(self, lambda *t: apply(called, *t), values, tree)
            return Value(apply(called, *(v.expr for v in values)), values[0].kind)
        handler = handlers().get(called)
        if handler is None:
            self._unknown_function(called, name)
        try:
            return handler(self, tree, positional, keywords)
        except _OfTensor as met:
            plain_call = len(positional) == 1 and not keywords
            return over_all(self, called if plain_call else f"{called} with an axis", met.value, name)
        except SymgradError as error:
            if error.line is None:
                error.located(self.source, *_position(name))
            raise

    def _unknown_function(self, called: str, name: Any) -> NoReturn:
        known = [*handlers(), *FUNCTIONS, *self.functions]
        close = difflib.get_close_matches(called.rstrip("'"), known, 3, 0.6)
        hint = (
            f"did you mean {' or '.join(close)}?"
            if close
            else f"declare it with `{called} : function` if it is one"
        )
        if called in self.symbols or called in self.shapes:
            hint = f"{called} is no function; a product is written {called} * (..) or {called} @ (..)"
        self.fail(NameUnknownError, f"there is no function {called}", name, hint=hint)

    def arguments(
        self,
        tree: Any,
        positional: list[Any],
        keywords: Mapping[str, Any],
        least: int,
        most: int | None = None,
    ) -> list[Value]:
        """The values of a call that takes from `least` to `most` arguments and no keywords."""
        most = least if most is None else most
        called = tree.children[0]
        if keywords:
            self.fail(ReadError, f"{called} takes no argument called {next(iter(keywords))}", tree)
        if not least <= len(positional) <= most:
            wanted = str(least) if least == most else f"{least} to {most}"
            self.fail(ReadError, f"{called} takes {wanted} arguments, not {len(positional)}", tree)
        values = [self.read(a) for a in positional]
        if has_tensor(values) and str(called).rstrip("'") not in (*FUNCTIONS, *self.functions):
            raise _OfTensor(next(v for v in values if v.kind == "tensor"))
        return values

    def axis(self, tree: Any, keywords: Mapping[str, Any], value: Value, default: int | None) -> int | None:
        """The axis of a reduction: 0 or 1, or -1 for the last."""
        for key in keywords:
            if key not in ("axis", "keepdims"):
                self.fail(ReadError, f"{tree.children[0]} takes no argument called {key}", tree)
        if "axis" not in keywords:
            return default
        where = keywords["axis"]
        try:
            axis = int(self.read(where).expr)
        except (TypeError, ValueError):
            self.fail(ReadError, "an axis is 0, 1 or -1", where)
        rank = len(value.shape)
        axis = axis + rank if axis < 0 else axis
        if not 0 <= axis < rank:
            self.fail(ShapeError, f"a {shape_text(value.shape)} has no axis {axis}", where)
        return axis

    def _over_range(self, called: str, tree: Any, ranges: list[Any], positional: list[Any]) -> Value:
        """sum(k in a..b, body) and prod(k in a..b, body), k growing to the right."""
        if len(ranges) != 1 or len(positional) != 1:
            self.fail(ReadError, f"{called} over a range takes a range and a body", tree)
        name, lower_tree, upper_tree = ranges[0].children
        lower, upper = self._bound(lower_tree), self._bound(upper_tree)
        k = _index_symbol(str(name))
        before = self.indices.get(str(name))
        self.indices[str(name)] = k
        try:
            body = self.read(positional[0])
        finally:
            if before is None:
                del self.indices[str(name)]
            else:
                self.indices[str(name)] = before
        if body.kind == "scalar":
            make = sympy.Sum if called == "sum" else sympy.Product
            return Value(make(body.expr, (k, lower, upper)), "scalar")
        if called == "sum":
            return Value(MatrixSum(body.expr, k, lower, upper), body.kind)
        if body.kind != "matrix":
            self.fail(ShapeError, f"a product of {body.kind}s", tree)
        return value_of(OrderedProduct(body.expr, k, lower, upper, 1), "matrix")

    def constant_size(self, tree: Any) -> Expr:
        """A size written in a formula, as in eye(n)."""
        names = names_in(tree)
        unknown = [n for n in names if n not in self.sizes and n not in self.symbols]
        if unknown:
            self.fail(
                NameUnknownError,
                f"the size {unknown[0]} is not known",
                tree,
                hint="the sizes are " + ", ".join(sorted(self.sizes))
                if self.sizes
                else "no shapes are declared",
            )
        try:
            return self._size(tree, "given", str(tree.data))
        except ReadError as error:
            self.fail(ReadError, "this size cannot be read", tree, hint=error.hint)


def handlers() -> Mapping[str, Callable[..., Value]]:
    """The functions of the language, by name."""
    from symgrad.reading.functions import FUNCTIONS_OF_THE_LANGUAGE

    return FUNCTIONS_OF_THE_LANGUAGE


class _OfTensor(Exception):  # noqa: N818 - not an error: a function of matrices was given a tensor
    def __init__(self, value: Value) -> None:
        super().__init__()
        self.value = value


class Missing(Exception):  # noqa: N818 - not an error: a shape is looked for
    """A name without a shape was met."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def _index_symbol(name: str) -> Symbol:
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


def _position(tree: Any) -> tuple[int, int]:
    if hasattr(tree, "meta") and not tree.meta.empty:
        return tree.meta.line, tree.meta.column
    return getattr(tree, "line", None) or 1, getattr(tree, "column", None) or 1


def _at_layer(s: Expr, at: Expr, general: Symbol) -> Expr:
    """A size n[0] of the member at 0 is n[l] of the member at l."""
    sized = [a for a in s.atoms(Indexed) if a.indices[0] == at]
    return s.xreplace({a: a.base[general] for a in sized})


def _kind(a: Value, b: Value) -> str:
    return b.kind if a.kind == "scalar" else a.kind


def spreads(a: Value, b: Value) -> bool:
    """Whether a matrix of one row or one column is repeated to the shape of another."""
    if b.kind != "matrix" or a.kind not in ("matrix", "row"):
        return False
    (m, n), (p, q) = a.expr.shape, b.expr.shape
    return (n == 1 and q != 1 and m != 1) or (m == 1 and p != 1 and n != 1)


def _spread(a: Expr, b: Expr) -> Expr:
    if a.shape[1] == 1:
        return matmul(a, transpose(ones(b.shape[1])))
    return matmul(ones(b.shape[0]), a)
