r"""Functions in a LaTeX formula: their names, how far their arguments reach, and what they make of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import sympy
from sympy import Expr, KroneckerDelta, Mul, S
from sympy.matrices.expressions.matexpr import MatrixElement

from symgrad.errors import (
    NameUnknownError,
    ReadError,
    ShapeError,
    SymgradError,
    UnsupportedError,
)
from symgrad.expr import (
    axis_sum,
    det,
    diag,
    entry_max,
    flip,
    gradient,
    is_leaf,
    is_matrix,
    is_scalar,
    log_softmax,
    logdet,
    logsumexp,
    scale,
    softmax,
    trace,
    vec,
    zeros,
)
from symgrad.expr.entrywise import lift
from symgrad.expr.functions import FUNCTIONS, primes, scalar_derivative
from symgrad.reading.latex.scope import (
    Function,
    Marked,
    Unbound,
    marked,
    stem_of,
)
from symgrad.reading.latex.symbols import Symbols
from symgrad.reading.latex.tree import Node, same_writing
from symgrad.reading.latex.values import (
    Val,
    applied,
    entry_of,
    fits_square,
    lifted,
    mapped,
    negative,
    plus,
    raised,
    turned,
    val,
)
from symgrad.reading.latex.writing import (
    bracket_of,
    is_constant,
    is_sum,
    term_of,
    until_operator,
)

__all__ = ["FUNCTION_WORDS", "Functions", "elementwise_name"]

_ELEMENTWISE = {
    "exp": "exp", "log": "log", "ln": "log", "sin": "sin", "cos": "cos", "tan": "tan", "sinh": "sinh", "cosh": "cosh",
    "tanh": "tanh", "arctan": "arctan", "atan": "arctan", "erf": "erf",
    "sqrt": "sqrt", "abs": "abs", "sign": "sign", "sgn": "sign",
    "relu": "relu", "ReLU": "relu", "Relu": "relu", "RELU": "relu", "sigmoid": "sigmoid", "Sigmoid": "sigmoid",
    "sigm": "sigmoid", "logistic": "sigmoid", "softplus": "softplus", "Softplus": "softplus", "gelu": "gelu",
    "GELU": "gelu", "elu": "elu", "ELU": "elu", "silu": "silu", "SiLU": "silu", "Swish": "silu", "swish": "silu",
    "LeakyReLU": "leaky_relu", "LReLU": "leaky_relu", "leakyrelu": "leaky_relu", "lg": "log",
}  # fmt: skip
_WHOLE = {
    "tr": "tr", "Tr": "tr", "trace": "tr", "Trace": "tr", "det": "det", "Det": "det", "diag": "diag", "Diag": "diag",
    "vec": "vec", "softmax": "softmax", "Softmax": "softmax", "SoftMax": "softmax", "logsoftmax": "log_softmax",
    "lse": "logsumexp", "logsumexp": "logsumexp", "LSE": "logsumexp", "LogSumExp": "logsumexp", "sum": "sum",
    "mean": "mean", "rowsum": "rowsum", "colsum": "colsum", "max": "max", "min": "min", "flip": "flip",
    "rot": "flip", "rot180": "flip", "logdet": "logdet", "norm": "norm", "corr": "corr", "conv": "conv", "cosh": "cosh",
}  # fmt: skip
_RECIPROCALS = {
    "sec": "cos", "csc": "sin", "cot": "tan", "sech": "cosh", "csch": "sinh", "coth": "tanh", "cosec": "sin",
}  # fmt: skip
FUNCTION_WORDS = (
    frozenset(_ELEMENTWISE) | frozenset(_WHOLE) | frozenset(_RECIPROCALS) | {"axis", "keepdims", "True"}
)
_INVERSES = {"tan": "arctan"}
_ROWS_AND_COLUMNS = ("tr", "det", "softmax", "log_softmax", "logsumexp", "max", "min", "sum", "mean", "norm")
_INDICATOR_LETTERS = ("I", "1")
_MOST_TERMS = 24


def elementwise_name(word: str) -> str | None:
    """The function of the table that a word names."""
    return _ELEMENTWISE.get(word)


class Functions(Symbols):
    """Functions in a LaTeX formula: their names, how far their arguments reach, and what they make of them."""

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
        if m.base.kind == "word" and stem in _RECIPROCALS and stem not in scope.names:
            return Function(stem)
        if m.base.kind == "word" and (stem in _ELEMENTWISE or stem in _WHOLE) and stem not in scope.names:
            return Function(_ELEMENTWISE.get(stem, _WHOLE.get(stem, stem)))
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
        self.saw_derivative = True
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
        elementwise = m.base.kind == "word" and stem in _ELEMENTWISE
        return elementwise or stem == "sigma" or stem in self.scope.functions

    def _is_product(self, m: Marked, bracket: Node) -> bool:
        return self._named_call(m.node, m, [bracket]) is None and self._is_name(m)

    def _starts_function(self, node: Node) -> bool:
        m = marked(node)
        stem = stem_of(m.base)
        if stem is None:
            return False
        return (
            m.base.kind == "word" and (stem in _ELEMENTWISE or stem in _WHOLE or stem in _RECIPROCALS)
        ) or stem in self.scope.functions

    def _apply(self, function: Function, arguments: list[Node], m: Marked, part: Node) -> Val:
        name = function.name
        if name in ("sum", "mean") and len(arguments) > 1:
            return self._sum_along(name, arguments, part)
        if function.body is not None:
            return self._substituted(function, arguments, m, part)
        if m.primes and name not in _RECIPROCALS:
            return self._derivative_at(name, arguments, m, part)
        if m.primes:
            self.fail(UnsupportedError, "the derivative of this function is not read", part)
        if name in _RECIPROCALS:
            (argument,) = self._some(arguments, 1, part)
            return raised(applied(_RECIPROCALS[name], self.read(argument)), S.NegativeOne, as_matrix=False)
        if name in ("max", "min"):
            return self._extreme(name, arguments, m, part)
        if name in ("corr", "conv"):
            from symgrad.expr import convolve, correlate

            x, w = (lifted(self.read(a)) for a in self._some(arguments, 2, part))
            return val((correlate if name == "corr" else convolve)(x.expr, w.expr))
        if name in ("leaky_relu", "elu") and len(arguments) == 2:
            x, slope = (self.read(a) for a in arguments)
            return applied(name, x, slope.expr)
        (argument,) = self._some(arguments, 1, part)
        bare = argument.at == part.end or self.scope.source[part.end : argument.at].strip(" \\,!;") == ""
        if name == "log" and bare and (found := self._log_det(argument)) is not None:
            return found
        value = self.read(argument)
        if name in FUNCTIONS or name in self.scope.functions or name.rstrip("'") not in _WHOLE.values():
            if name == "cosh" or name in FUNCTIONS:
                return applied(name, value, *self._parameters(name))
            return applied(name, value)
        return self._whole(name, value, m, part)

    def _parameters(self, name: str) -> tuple[Expr, ...]:
        """The alpha of ELU and leaky ReLU, where the notes have one."""
        alpha = self.scope.names.get("alpha")
        if name not in ("elu", "leaky_relu") or not isinstance(alpha, Expr) or not is_scalar(alpha):
            return ()
        return (alpha,)

    def _some(self, arguments: list[Node], n: int, part: Node) -> list[Node]:
        if len(arguments) != n:
            self.fail(ReadError, f"{self.shown(part)} takes {n} arguments, not {len(arguments)}", part)
        return arguments

    def _log_det(self, argument: Node) -> Val | None:
        r"""\log\det X, \log|X|."""
        inner_parts = argument.parts if argument.kind == "term" else (argument,)
        if argument.kind == "paren" and argument.text == "|":
            value = self.read(argument.parts[0])
            if value.is_scalar:
                return None
            if fits_square(value):
                return mapped(value, logdet)
            return None
        if inner_parts[0].kind == "word" and inner_parts[0].text in ("det", "Det") and len(inner_parts) > 1:
            value = self.read(term_of(inner_parts[1:]))
            if not value.is_scalar and fits_square(value):
                return mapped(value, logdet)
        return None

    def _whole(self, name: str, value: Val, m: Marked, part: Node) -> Val:
        """Functions of a whole vector or matrix."""
        column = not value.is_scalar and value.shape[1] == 1
        row = not value.is_scalar and value.shape[0] == 1 and not column
        if name == "tr":
            return value if value.is_scalar else self._square(value, trace, part)
        if name == "det":
            return value if value.is_scalar else self._square(value, det, part)
        if name == "logdet":
            return self._square(value, logdet, part)
        if name == "diag":
            if value.is_scalar:
                return value
            if row:
                value = turned(value)
            value = lifted(value)
            if value.axes is not None and 1 in value.shape:
                i, j, n = value.axes[0], self.scope.fresh(), value.shape[0]
                return Val(Mul(KroneckerDelta(i, j), value.expr), (n, n), (i, j))
            return (
                mapped(value, diag)
                if column or row or fits_square(value)
                else self._square(value, diag, part)
            )
        if name == "vec":
            return mapped(value, vec)
        if name in ("softmax", "log_softmax"):
            make = softmax if name == "softmax" else log_softmax
            if value.is_scalar:
                return self._softmax_over_index(make, value, m, part)
            if row:
                return turned(mapped(turned(value), lambda x: make(x, 0)))
            axis = 0 if column else self._axis(m, part)
            return mapped(value, lambda x: make(x, axis))
        if name == "logsumexp":
            if column:
                return mapped(value, lambda x: logsumexp(x, 0))
            axis = self._axis(m, part)
            return mapped(value, lambda x: logsumexp(x, axis))
        if name in ("sum", "mean"):
            return self.total(value) if name == "sum" else self._mean(value)
        if name in ("rowsum", "colsum"):
            return mapped(value, lambda x: axis_sum(x, 1 if name == "rowsum" else 0))
        if name == "flip":
            return mapped(value, flip)
        if name == "norm":
            return self._norm(value, m.subs, part)
        self.fail(ReadError, f"the function {self.shown(part)} is not read", part)

    def _softmax_over_index(
        self, make: Callable[[Expr, int], Expr], value: Val, m: Marked, part: Node
    ) -> Val:
        """softmax_j(s_ij): along the axis of the index j."""
        scope = self.scope
        over = scope.indices.get(m.subs[0].text) if len(m.subs) == 1 else None
        if over is None or not over.sizes or over.symbol not in value.expr.free_symbols:
            self.fail(ShapeError, f"{self.shown(part)} of a scalar", part)
        others = [
            i
            for i in scope.indices.values()
            if i is not over and i.symbol in value.expr.free_symbols and i.sizes
        ]
        if len(others) > 1:
            self.fail(UnsupportedError, f"{self.shown(part)} over three indices is not read", part)
        if not others:
            x = lifted(Val(value.expr, (over.sizes[0], S.One), (over.symbol, S.Zero)))
            return Val(entry_of(mapped(x, lambda e: make(e, 0)).expr, over.symbol, S.Zero))
        (row,) = others
        x = lifted(Val(value.expr, (row.sizes[0], over.sizes[0]), (row.symbol, over.symbol)))
        return Val(entry_of(mapped(x, lambda e: make(e, 1)).expr, row.symbol, over.symbol))

    def _sum_along(self, name: str, arguments: list[Node], part: Node) -> Val:
        """sum(X, axis=1, keepdims=True), NumPy's way."""
        value = lifted(self.read(arguments[0]))
        axis = None
        for option in arguments[1:]:
            said = option.parts if option.kind == "chain" else ()
            word = said[0].text if len(said) == 3 else ""
            if word == "axis" and said[2].kind == "number" and said[2].text in ("0", "1"):
                axis = int(said[2].text)
            elif word != "keepdims" or said[2].text != "True":
                self.fail(ReadError, f"{self.shown(option)} is not read", option, "write axis=0 or axis=1")
        if axis is None or value.is_scalar or value.axes is not None:
            self.fail(ReadError, f"{self.shown(part)} without an axis", part, "write axis=0 or axis=1")
        total = axis_sum(value.expr, axis)
        result = val(total if name == "sum" else scale(1 / value.shape[axis], total))
        return result

    def _mean(self, value: Val) -> Val:
        total = self.total(value)
        count = Mul(*value.shape) if value.shape else S.One
        return Val(scale(1 / count, total.expr))

    def _axis(self, m: Marked, part: Node) -> int:
        """Along which axis: a subscript row or col, what the notes say, or a choice."""
        texts = [self.scope.mark_text(sub) or "" for sub in m.subs]
        for text in (*texts, "".join(texts)):
            if text in ("rows", "row"):
                return 1
            if text in ("cols", "col", "columns", "column"):
                return 0
        said = self.scope.functions.get("softmax axis")
        if said is not None:
            return int(said.name)
        return 1 - self.scope.choose(("softmax", 0), 2)

    def _square(self, value: Val, make: Callable[[Expr], Expr], part: Node) -> Val:
        if not fits_square(value):
            self.fail(ShapeError, f"{self.shown(part)} of a {value.text}", part, "a square matrix is needed")
        return mapped(value, make)

    def _extreme(self, name: str, arguments: list[Node], m: Marked, part: Node) -> Val:
        """max(a, b) entry by entry, or the largest entry."""
        values = [self.read(a) for a in arguments]
        fresh = self.scope.fresh
        if len(values) == 1 and name == "max":
            return mapped(values[0], entry_max) if not values[0].is_scalar else values[0]
        if len(values) != 2:
            self.fail(ReadError, f"{name} takes two values", part)
        a, b = values
        if name == "min":
            a, b = negative(a), negative(b)
        if a.expr.is_zero or (is_matrix(a.expr) and a.expr == zeros(*a.expr.shape)):
            result = applied("relu", b)
        elif b.expr.is_zero:
            result = applied("relu", a)
        else:  # max(a, b) = b + relu(a - b)
            difference = plus([a, negative(b)], fresh, self._spread(part))
            result = plus([b, applied("relu", difference)], fresh, self._spread(part))
        return negative(result) if name == "min" else result

    def _derivative_at(self, name: str, arguments: list[Node], m: Marked, part: Node) -> Val:
        """f'(x): the derivative of an elementwise function at a point."""
        (argument,) = self._some(arguments, 1, part)
        value = self.read(argument)
        if name in ("softmax", "log_softmax") or name in _WHOLE.values():
            self.fail(ReadError, f"{name} has no derivative entry by entry", part, "write its Jacobian")
        if name not in FUNCTIONS:
            return applied(primes(name, m.primes), value)
        return self.scalar_function_derivative(name, m.primes, value)

    def scalar_function_derivative(self, name: str, order: int, value: Val) -> Val:
        """The derivative of a function of the table at every entry."""
        t = sympy.Dummy("t", real=True)
        formula = scalar_derivative(name, t, *self._parameters(name))
        for _ in range(order - 1):
            formula = sympy.diff(formula, t)
        if value.is_scalar or value.axes is not None:
            return Val(formula.xreplace({t: value.expr}), value.shape, value.axes)
        return Val(lift(formula, {t: value.expr}, value.expr.shape), value.shape)

    def _at_value(self, function: Function, parameter: str, value: Val, m: Marked, part: Node) -> Val:
        """The formula of a function with a value for its variable."""
        scope = self.scope
        assert function.body is not None  # noqa: S101 - asked before
        if m.primes:
            self.fail(UnsupportedError, "the derivative of this function is not read", part)
        if parameter in scope.given:
            self.fail(ReadError, f"{self.shown(part)} is defined by itself", part)
        given, source = scope.given, scope.source
        scope.given, scope.source = {**given, parameter: value}, function.name
        try:
            return self.read(function.body)
        finally:
            scope.given, scope.source = given, source

    def _substituted(self, function: Function, arguments: list[Node], m: Marked, part: Node) -> Val:
        """A function that the notes define by a formula of one variable."""
        (argument,) = self._some(arguments, 1, part)
        value = self.read(argument)
        assert function.body is not None and function.parameter is not None  # noqa: S101 - asked before
        parameter = stem_of(marked(function.parameter).base) or ""
        if function.by_value:
            return self._at_value(function, parameter, value, m, part)
        t = sympy.Dummy("t", real=True)
        scope = self.scope
        before, scope.names = scope.names, {**scope.names, parameter: t}
        writings, scope.writings = scope.writings, []
        source, scope.source = scope.source, function.name
        try:
            formula = self.read(function.body)
        finally:
            scope.names, scope.writings, scope.source = before, writings, source
        if not formula.is_scalar:
            self.fail(ShapeError, "this function is defined for scalars only", part)
        e = formula.expr
        for _ in range(m.primes):
            e = sympy.diff(e, t)
        if value.is_scalar or value.axes is not None:
            return Val(e.xreplace({t: value.expr}), value.shape, value.axes)
        return Val(lift(e, {t: value.expr}, value.expr.shape), value.shape)


def _is_minus_one(item: Node) -> bool:
    """Whether a superscript is -1."""
    return item.kind == "sum" and [p.text for p in item.parts] == ["-", "1"]
