r"""What functions make of their arguments: elementwise ones, those of a whole vector or matrix, and those of the notes."""

from __future__ import annotations

from collections.abc import Callable

import sympy
from sympy import Expr, KroneckerDelta, Mul, S

from symgrad.errors import (
    ReadError,
    ShapeError,
    UnsupportedError,
)
from symgrad.expr import (
    axis_sum,
    det,
    diag,
    entry_max,
    flip,
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
from symgrad.reading.latex.marks import Marked, marked, stem_of
from symgrad.reading.latex.places import Function
from symgrad.reading.latex.symbols import Symbols
from symgrad.reading.latex.tree import Node
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
    term_of,
)

__all__ = ["FUNCTION_WORDS", "Functions", "elementwise_name"]


ELEMENTWISE = {
    "exp": "exp", "log": "log", "ln": "log", "sin": "sin", "cos": "cos", "tan": "tan", "sinh": "sinh", "cosh": "cosh",
    "tanh": "tanh", "arctan": "arctan", "atan": "arctan", "erf": "erf",
    "sqrt": "sqrt", "abs": "abs", "sign": "sign", "sgn": "sign",
    "relu": "relu", "ReLU": "relu", "Relu": "relu", "RELU": "relu", "sigmoid": "sigmoid", "Sigmoid": "sigmoid",
    "sigm": "sigmoid", "logistic": "sigmoid", "softplus": "softplus", "Softplus": "softplus", "gelu": "gelu",
    "GELU": "gelu", "elu": "elu", "ELU": "elu", "silu": "silu", "SiLU": "silu", "Swish": "silu", "swish": "silu",
    "LeakyReLU": "leaky_relu", "LReLU": "leaky_relu", "leakyrelu": "leaky_relu", "lg": "log",
}  # fmt: skip


WHOLE = {
    "tr": "tr", "Tr": "tr", "trace": "tr", "Trace": "tr", "det": "det", "Det": "det", "diag": "diag", "Diag": "diag",
    "vec": "vec", "softmax": "softmax", "Softmax": "softmax", "SoftMax": "softmax", "logsoftmax": "log_softmax",
    "lse": "logsumexp", "logsumexp": "logsumexp", "LSE": "logsumexp", "LogSumExp": "logsumexp", "sum": "sum",
    "mean": "mean", "rowsum": "rowsum", "colsum": "colsum", "max": "max", "min": "min", "flip": "flip",
    "rot": "flip", "rot180": "flip", "logdet": "logdet", "norm": "norm", "corr": "corr", "conv": "conv", "cosh": "cosh",
}  # fmt: skip


RECIPROCALS = {
    "sec": "cos", "csc": "sin", "cot": "tan", "sech": "cosh", "csch": "sinh", "coth": "tanh", "cosec": "sin",
}  # fmt: skip


FUNCTION_WORDS = (
    frozenset(ELEMENTWISE) | frozenset(WHOLE) | frozenset(RECIPROCALS) | {"axis", "keepdims", "True"}
)


def elementwise_name(word: str) -> str | None:
    """The function of the table that a word names."""
    return ELEMENTWISE.get(word)


class Functions(Symbols):
    r"""Applies functions."""

    def _apply(self, function: Function, arguments: list[Node], m: Marked, part: Node) -> Val:
        name = function.name
        if name in ("sum", "mean") and len(arguments) > 1:
            return self._sum_along(name, arguments, part)
        if function.body is not None:
            return self._substituted(function, arguments, m, part)
        if m.primes and name not in RECIPROCALS:
            return self._derivative_at(name, arguments, m, part)
        if m.primes:
            self.fail(UnsupportedError, "the derivative of this function is not read", part)
        if name in RECIPROCALS:
            (argument,) = self._some(arguments, 1, part)
            return raised(applied(RECIPROCALS[name], self.read(argument)), S.NegativeOne, as_matrix=False)
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
        if name in FUNCTIONS or name in self.scope.functions or name.rstrip("'") not in WHOLE.values():
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
        if name in ("softmax", "log_softmax") or name in WHOLE.values():
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
