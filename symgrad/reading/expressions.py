r"""Expressions of the text language: operators by shapes, broadcasting, calls."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import sympy
from sympy import Expr, Integer, Rational, S

from symgrad.errors import NameUnknownError, ReadError, ShapeError, SymgradError, TooLargeError
from symgrad.expr import (
    Family,
    MatrixSum,
    OrderedProduct,
    add,
    apply,
    diag,
    hadamard,
    is_scalar,
    leaves,
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
from symgrad.reading.names import Names, handlers, index_symbol, names_in, position
from symgrad.reading.spellings import FUNCTIONS_ELSEWHERE
from symgrad.reading.tensors import entrywise, has_tensor, over_all
from symgrad.reading.text import LIMITS
from symgrad.reading.typed import Value, kind_of, spread, spreads, value_of

__all__ = ["Expressions"]


class Expressions(Names):
    r"""Reads expressions in one scope."""

    def read(self, tree: Any) -> Value:
        """The value of a tree; errors of the constructors get the position of the operation."""
        try:
            return self._read(tree)
        except SymgradError as error:
            if error.line is None:
                error.located(self.source, *position(tree))
            raise

    def _read(self, tree: Any) -> Value:
        if not hasattr(tree, "data"):
            self.fail(ReadError, f"unexpected {tree}", tree)
        reader: Callable[[Any], Value] = getattr(self, f"_read_{tree.data}")
        return reader(tree)

    def _read_rows(self, tree: Any) -> Value:
        self.fail(ReadError, "rows of blocks stand in block([[A, B], [C, D]])", tree)

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
        return value_of(found, "matrix" if name in self.tables else None)

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
            return value_of(family[self._bound(places[0])], "matrix" if name in self.tables else None)
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
                    error.located(self.source, *position(operator))
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
                    scale(a.expr, inverted) if a.kind == "scalar" else scale(inverted, a.expr), kind_of(a, b)
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
                self._along_rows(one, other, tree, "entrywise product")
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
            self._along_rows(a, b, tree, what)
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
            return Value(spread(a.expr, b.expr), "matrix"), b
        if spreads(b, a):
            return a, Value(spread(b.expr, a.expr), "matrix")
        for p, q in zip(a.shape, b.shape, strict=True):
            self._unify(p, q, a, b, tree, what)
        return a, b

    def _along_rows(self, v: Value, table: Value, tree: Any, what: str) -> None:
        """A vector is repeated as a row; one declared n x 1 would be as a column, which is refused where both fit."""
        name = next((n for n in map(str, leaves(v.expr)) if n in self.columns), None)
        if name is not None and same_size(*table.expr.shape):
            n = v.expr.shape[0]
            self.fail(
                ShapeError,
                f"{what}: {name} is declared {n} x 1, and could be repeated along rows or columns",
                tree,
                hint=f"declare it {name}: {n} for a vector, or write outer({name}, ones({n})) for equal columns",
            )

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
                error.located(self.source, *position(name))
            raise

    def _unknown_function(self, called: str, name: Any) -> NoReturn:
        known = [*handlers(), *FUNCTIONS, *self.functions]
        close = difflib.get_close_matches(called.rstrip("'"), known, 3, 0.6)
        hint = (
            f"did you mean {' or '.join(close)}?"
            if close
            else f"declare it with `{called} : function` if it is one"
        )
        if called in FUNCTIONS_ELSEWHERE:
            hint = f"write {FUNCTIONS_ELSEWHERE[called]}"
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

    def _over_range(self, called: str, tree: Any, ranges: list[Any], positional: list[Any]) -> Value:
        """sum(k in a..b, body) and prod(k in a..b, body), k growing to the right."""
        if len(ranges) != 1 or len(positional) != 1:
            self.fail(ReadError, f"{called} over a range takes a range and a body", tree)
        name, lower_tree, upper_tree = ranges[0].children
        lower, upper = self._bound(lower_tree), self._bound(upper_tree)
        k = index_symbol(str(name))
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


class _OfTensor(Exception):  # noqa: N818 - not an error: a function of matrices was given a tensor
    def __init__(self, value: Value) -> None:
        super().__init__()
        self.value = value
