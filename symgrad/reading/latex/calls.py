r"""Functions in a formula: their names, how far their arguments reach, and the powers and scripts on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import sympy
from sympy import Expr
from sympy.matrices.expressions.matexpr import MatrixElement

from symgrad.errors import (
    NameUnknownError,
    ReadError,
    ShapeError,
    SymgradError,
)
from symgrad.expr import (
    gradient,
    is_leaf,
    is_scalar,
    scale,
)
from symgrad.reading.latex.functions import ELEMENTWISE, RECIPROCALS, WHOLE, Functions
from symgrad.reading.latex.marks import Marked, marked, stem_of
from symgrad.reading.latex.places import Function, Unbound
from symgrad.reading.latex.tree import Node, same_writing, walk_nodes
from symgrad.reading.latex.values import (
    Val,
    raised,
    turned,
)
from symgrad.reading.latex.writing import (
    bracket_of,
    is_constant,
    is_sum,
    order_in,
    term_of,
    until_operator,
)

__all__ = ["Calls"]


_INVERSES = {"tan": "arctan"}


_ROWS_AND_COLUMNS = ("tr", "det", "softmax", "log_softmax", "logsumexp", "max", "min", "sum", "mean", "norm")


_INDICATOR_LETTERS = ("I", "1")


_MOST_TERMS = 24


class Calls(Functions):
    r"""Finds functions and their arguments."""

    def _call(self, part: Node, following: list[Node]) -> tuple[Val, int] | None:
        """A function with its argument, in brackets or without; None if the factor is no function."""
        m = marked(part)
        stem = stem_of(m.base)
        for length in (2, 3):
            tree = term_of([part, *following[: length - 1]]) if len(following) >= length - 1 else None
            for writing, symbol in self.scope.writings:
                if tree is not None and writing.kind == "term" and same_writing(tree, writing):
                    return self.scope.oriented(symbol), length
        if m.base.kind == "one" or (stem in _INDICATOR_LETTERS and not m.subs):
            condition = self._condition(following)
            if condition is not None:
                return self._with_superscripts(self.indicator(condition), m.sups, part), 2
        if m.base.kind == "number" and m.base.text == "1" and not m.subs and not m.sups:
            condition = self._condition(following)
            if condition is not None:
                return self.indicator(condition), 2
            return None
        if stem is None:
            return None
        function = self._function(m, stem, following)
        if function is None:
            return self._named_call(part, m, following)
        m = self._with_order(m, stem, following)
        powers = [i for i in m.sups if not self._names_function(m, stem, i)]
        if stem in _INVERSES and any(_is_minus_one(i) for i in powers) and not m.primes:
            self.scope.note(f"{self.shown(part)} is the inverse function, and no reciprocal")
            powers = [i for i in powers if not _is_minus_one(i)]
            function = Function(_INVERSES[stem])
        base = self._base_of(function, m, part)
        scripts: Node | None = None
        if following and following[0].kind == "scripted" and following[0].parts[0].kind == "paren":
            scripts, following = following[0], [following[0].parts[0], *following[1:]]
        arguments, used = self._arguments(function, m, following, part)
        try:
            value = self._apply(function, arguments, m, part)
        except SymgradError as error:
            self.locate(error, part)
            raise
        if base is not None:
            value = Val(scale(1 / sympy.log(base), value.expr), value.shape, value.axes)
        for power_item in powers:
            value = self._function_power(value, power_item, part)
        if scripts is not None:
            value = self._bracket_scripts(value, scripts)
        return value, 1 + used

    def _with_order(self, m: Marked, stem: str, following: list[Node]) -> Marked:
        r"""f^{(3)}(x): the third derivative, or the function of the third layer where there are layers."""
        item = next((i for i in m.sups if order_in(i) is not None), None)
        order = None if item is None else order_in(item)
        if item is None or order is None or m.primes or not following or bracket_of(following[0]) is None:
            return m
        if f"{stem}{order}" in self.scope.functions:
            return m
        mark = str(order)
        if any(name[-1].isdigit() for name in self.scope.names):
            if any(n.kind == "number" and n.text == mark for n in walk_nodes(following[0])):
                return m
            if self.scope.choose(("order", item.at), 2) == 0:
                return m
        self.scope.note(f"{self.shown(m.node)} is a derivative")
        return replace(m, sups=tuple(i for i in m.sups if i is not item), primes=order)

    def _base_of(self, function: Function, m: Marked, part: Node) -> Expr | None:
        r"""The base of \log_2; a subscript that no function is declared with is refused, and not passed over."""
        if not m.subs or function.body is not None or function.name in _ROWS_AND_COLUMNS:
            return None
        stem = stem_of(m.base) or ""
        marks = [self.scope.mark_text(i) or "" for i in m.subs]
        if any(stem + "".join(marks[:n]) in self.scope.functions for n in range(1, len(marks) + 1)):
            return None
        if function.name == "log" and len(m.subs) == 1:
            if m.subs[0].kind == "number":
                return self.read(m.subs[0]).expr
            if marks == ["e"]:
                return None
        self.fail(
            NameUnknownError, f"the function {self.shown(part)} is not known", part,
            "say what it is in the definitions, such as f(x) = \\tanh(x), or declare it as a function",
            self.scope.why_unread(m),
        )  # fmt: skip

    def _bracket_scripts(self, value: Val, node: Node) -> Val:
        """f(x)_i, f(x)^2, f(x)^T: scripts on the bracket are about the value."""
        m = marked(node)
        if m.primes:
            value = self._primed(value, m.primes, node)
        if m.subs:
            value = self._entry_of_value(value, m)
        return self._with_superscripts(value, m.sups, node)

    def _function_power(self, value: Val, item: Node, part: Node) -> Val:
        """tanh^2: the square of the value."""
        if item.kind == "sum" or self._is_transpose(item):
            if self._is_transpose(item):
                return turned(value)
            self.fail(ReadError, "an inverse function is not read", part, "write 1/f(x) for the reciprocal")
        return raised(value, self._exponent(item, part), as_matrix=False)

    def _names_function(self, m: Marked, stem: str, item: Node) -> bool:
        text = self.scope.mark_text(item) if item.kind in ("paren", "letter", "sum", "number") else None
        if item.kind == "paren":
            return True
        return text is not None and stem + text in self.scope.functions

    def _condition(self, following: list[Node]) -> Node | None:
        if not following or following[0].kind != "paren" or len(following[0].parts) != 1:
            return None
        (inside,) = following[0].parts
        while inside.kind in ("paren", "group") and len(inside.parts) == 1:
            inside = inside.parts[0]
        return inside if inside.kind == "chain" else None

    def _function(self, m: Marked, stem: str, following: list[Node]) -> Function | None:
        """The function that a symbol names, if it names one."""
        scope = self.scope
        marks = [t for t in (scope.mark_text(i) for i in (*m.subs, *m.sups) if i.kind != "prime") if t]
        bracketed = bool(following) and bracket_of(following[0]) is not None
        for name in dict.fromkeys(["".join([stem, *marks]), stem + (marks[0] if marks else ""), stem]):
            if name in scope.functions and (bracketed or scope.functions[name].body is None):
                if name == stem and stem in scope.names and not bracketed and not m.primes:
                    return None
                return scope.functions[name]
        if m.base.kind == "word" and stem in RECIPROCALS and stem not in scope.names:
            return Function(stem)
        if m.base.kind == "word" and (stem in ELEMENTWISE or stem in WHOLE) and stem not in scope.names:
            return Function(ELEMENTWISE.get(stem, WHOLE.get(stem, stem)))
        if stem == "sigma" and (bracketed or m.primes) and not self._is_name(m):
            return Function("sigmoid")
        if bracketed and m.primes and not self._is_name(m):
            self.fail(
                NameUnknownError, f"the function {self.shown(m.base)} is not known", m.node,
                "say what it is in the definitions, such as f(x) = \\tanh(x), or declare it as a function",
                self.scope.why_unread(m),
            )  # fmt: skip
        return None

    def _is_name(self, m: Marked) -> bool:
        bare = Marked(m.base, m.subs, (), m.node)
        try:
            self.scope.symbol(bare)
        except (NameUnknownError, Unbound, ShapeError):
            return False
        return True

    def _named_call(self, part: Node, m: Marked, following: list[Node]) -> tuple[Val, int] | None:
        r"""J(\theta): a defined quantity with the names that it depends on."""
        bracket = bracket_of(following[0]) if following else None
        if bracket is None or bracket.text != "(" or not bracket.parts:
            return None
        (inside,) = bracket.parts
        arguments = inside.parts if inside.kind == "list" else (inside,)
        if not all(self._is_plain(a) for a in arguments):
            return None
        try:
            value, left = self.scope.symbol(m)
        except (NameUnknownError, Unbound, ShapeError):
            return None
        called = self.is_called(m)
        if m.primes == 1 and len(arguments) == 1 and not left:
            return self._derivative_by_name(value, arguments[0])
        if m.primes or not (called or (value.is_scalar and self.is_defined(value.expr))):
            return None
        if following[0].kind == "scripted" and not called:  # c (x)^T is a product
            return None
        if not called and not self._depends(value.expr, arguments):
            return None
        value = self._with_superscripts(value, left, part)
        if following[0].kind == "scripted":
            value = self._bracket_scripts(value, following[0])
        return value, 2

    def _derivative_by_name(self, value: Val, argument: Node) -> tuple[Val, int] | None:
        r"""f'(x), where f is a scalar that depends on the scalar x."""
        if not value.is_scalar or not self.is_defined(value.expr):
            return None
        x = self.read(argument).expr
        if not is_leaf(x) or not is_scalar(x) or not self.depends_on(value.expr, x):
            return None
        return Val(gradient(value.expr, x)), 2

    def _is_plain(self, node: Node) -> bool:
        if node.kind == "dots":
            return True
        m = marked(node)
        return stem_of(m.base) is not None

    def _depends(self, f: Expr, arguments: Sequence[Node]) -> bool:
        """Whether the arguments are names that f depends on, or that nothing has."""
        for a in arguments:
            if a.kind == "dots":
                continue
            before = self.scope.may_bind
            self.scope.may_bind = False
            try:
                value = self.read(a)
            except (NameUnknownError, Unbound):
                if is_scalar(f):  # J(theta): all parameters together
                    self.scope.note(f"{f} is a function of {self.shown(a)} and others")
                    continue
                return False
            except SymgradError:
                return False
            finally:
                self.scope.may_bind = before
            leaf = value.expr.args[0] if isinstance(value.expr, MatrixElement) else value.expr
            if value.axes is None and not self.depends_on(f, leaf):
                return False
        return True

    def _arguments(
        self, function: Function, m: Marked, following: list[Node], part: Node
    ) -> tuple[list[Node], int]:
        """The arguments as trees: a bracket, or the factors that follow."""
        if not following:
            self.fail(ReadError, f"{self.shown(part)} without an argument", part)
        first = following[0]
        if first.kind == "paren" and first.text in ("(", "[", "{") and first.parts:
            (inside,) = first.parts
            return list(inside.parts if inside.kind == "list" else (inside,)), 1
        if first.kind == "group" and len(first.parts) == 1:
            return [first.parts[0]], 1
        if function.name in ("tr", "logdet", "vec", "det"):
            taken = until_operator(following)
            if not taken:
                self.fail(ReadError, f"{self.shown(part)} without an argument", part)
            return [term_of(taken)], len(taken)
        taken = self._one_argument(following)
        if not taken:
            self.fail(ReadError, f"{self.shown(part)} without an argument", part)
        rest = [f for f in until_operator(following[len(taken) :]) if not is_sum(f)]
        if rest and not self._starts_function(rest[0]) and rest[0].kind != "paren":
            close = rest[0].at == taken[-1].end and taken[0].kind == "number" and function.name != "log"
            if close or (not is_constant(taken) and self.scope.choose(("argument", part.at), 2) == 1):
                taken = [*taken, *rest]  # \sin 2x
        return [term_of(taken)], len(taken)

    def _one_argument(self, following: list[Node]) -> list[Node]:
        """One factor; a function takes its own argument along, and a name its bracket."""
        first = following[0]
        if self._starts_function(first) and len(following) > 1:
            return [first, *self._one_argument(following[1:])]
        if first.kind == "op" or is_sum(first):
            return list(following) if is_sum(first) else []
        if len(following) > 1 and following[1].kind == "paren" and following[1].text == "(":
            m = marked(first)
            stem = stem_of(m.base)
            if stem is not None and not self._is_product(m, following[1]):
                return following[:2]
        return following[:1]

    def is_bare_function(self, node: Node) -> bool:
        r"""Whether a symbol alone is a function and no name: the sigma of d sigma / dx."""
        m = marked(node)
        stem = stem_of(m.base)
        if stem is None or m.subs or m.sups or m.primes or self._is_name(m):
            return False
        elementwise = m.base.kind == "word" and stem in ELEMENTWISE
        return elementwise or stem == "sigma" or stem in self.scope.functions

    def argument_of(self, function: Node, below: Node) -> Node:
        """Where a function is taken whose derivative is written without its argument: at its own variable, if it has one."""
        known = self.scope.functions.get(stem_of(marked(function).base) or "")
        own = None if known is None or not known.by_value else known.parameter
        return self.unturned(below) if own is None else own

    def _is_product(self, m: Marked, bracket: Node) -> bool:
        return self._named_call(m.node, m, [bracket]) is None and self._is_name(m)

    def _starts_function(self, node: Node) -> bool:
        m = marked(node)
        stem = stem_of(m.base)
        if stem is None:
            return False
        return (
            m.base.kind == "word" and (stem in ELEMENTWISE or stem in WHOLE or stem in RECIPROCALS)
        ) or stem in self.scope.functions


def _is_minus_one(item: Node) -> bool:
    """Whether a superscript is -1."""
    return item.kind == "sum" and [p.text for p in item.parts] == ["-", "1"]
