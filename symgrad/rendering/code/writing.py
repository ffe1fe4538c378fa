"""Array operations -> statements: what is used twice, or has a name in the model, gets a line of its own."""

from __future__ import annotations

import keyword
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import sympy
from sympy import Expr

from symgrad.errors import UnsupportedError
from symgrad.rendering.code.graph import Graph, Node, walk_nodes
from symgrad.rendering.code.spelling import Spelling

__all__ = ["Writer", "identifier"]

_SUM, _PRODUCT, _POWER, _ATOM = range(4)
_LONGEST = 88
_Text = tuple[str, int]
_TRIVIAL = frozenset(["arg", "number", "size", "counter", "item"])
_LETTERS = {"softmax": "p", "sigmoid": "s", "cholesky": "factor", "exp": "e", "where": "mask"}


def identifier(name: str) -> str:
    """A name that Python allows.

    >>> identifier("lambda"), identifier("f''")
    ('lambda_', 'dd_f')
    """
    plain = name.rstrip("'")
    order = len(name) - len(plain)
    plain = f"{'d' * order}_{plain}" if order else plain
    return f"{plain}_" if keyword.iskeyword(plain) or plain in ("np", "jnp", "jax", "torch") else plain


class Writer:
    """Writes the statements that compute some nodes."""

    def __init__(self, graph: Graph, spelling: Spelling, taken: Iterable[str], roots: Iterable[Node]) -> None:
        self.lines: list[str] = []
        self.sizes: dict[Expr, None] = {}
        self._names = graph.names
        self._say = spelling
        self._taken = set(taken)
        self._variables: dict[Node, str] = {}
        roots = list(roots)
        order = list(walk_nodes(*roots))
        self._uses = Counter(a for node in order for a in node.args) + Counter(roots)
        self._bound = {n: n for n in order if n.op == "counter"}
        for n in order:
            if any(a in self._bound for a in n.args) and n.op != "range_sum":
                self._bound[n] = n

    def value(self, node: Node) -> str:
        """The text of a node; statements that it needs are appended to `lines`."""
        return self._text(node)[0]

    # --- names ----------------------------------------------------------------------------------------

    def _fresh(self, wanted: str) -> str:
        name, number = wanted, 1
        while name in self._taken:
            number += 1
            name = f"{wanted}{number}"
        self._taken.add(name)
        return name

    def _assigned(self, node: Node, text: str) -> str:
        own = self._names.get(node)
        if own is None:
            key = node.attr if node.op == "call" else node.op
            own = _LETTERS.get(str(key), "t1")
            name = self._fresh(own) if own != "t1" else self._numbered()
        else:
            name = self._fresh(identifier(own))
        self.lines.append(f"{name} = {text}")
        self._variables[node] = name
        return name

    def _numbered(self) -> str:
        number = 1
        while f"t{number}" in self._taken:
            number += 1
        self._taken.add(f"t{number}")
        return f"t{number}"

    def _text(self, node: Node) -> _Text:
        if node in self._variables:
            return self._variables[node], _ATOM
        text, level = _PRINTERS[node.op](self, node)
        if len(text) > _LONGEST and not self._bound.get(node):
            text, level = self._shortened(node, text, level)
        if node in self._bound or self._is_trivial(node):
            return text, level
        if node in self._names or self._uses[node] > 1:
            return self._assigned(node, text), _ATOM
        return text, level

    def _shortened(self, node: Node, text: str, level: int) -> _Text:
        """The longest arguments get lines of their own until the text fits."""
        while len(text) > _LONGEST:
            inline = [a for a in node.args if a not in self._variables and not self._is_trivial(a)]
            inline = [a for a in inline if a not in self._bound]
            sized = [(len(self._text(a)[0]), i) for i, a in enumerate(inline)]
            if not sized or max(sized)[0] < 20:
                break
            longest = inline[max(sized)[1]]
            self._assigned(longest, self._text(longest)[0])
            text, level = _PRINTERS[node.op](self, node)
        return text, level

    def _is_trivial(self, node: Node) -> bool:
        return node.op in _TRIVIAL or (
            node.op in ("transpose", "column", "negative") and self._is_trivial(node.args[0])
        )

    def at(self, node: Node, level: int) -> str:
        """The text, in brackets if it binds less than asked."""
        text, own = self._text(node)
        return text if own >= level else f"({text})"

    def size(self, n: Expr | Node) -> str:
        """A size: a number, a name, or an expression of names."""
        if isinstance(n, Node):
            return self._text(n)[0]
        for s in sorted(n.free_symbols, key=str):
            self.sizes.setdefault(s)
        return sympy.pycode(n)

    # --- operations -------------------------------------------------------------------------------------

    def _arg(self, node: Node) -> _Text:
        return identifier(str(node.attr)), _ATOM

    def _number(self, node: Node) -> _Text:
        value: Any = node.attr
        if isinstance(value, sympy.NumberSymbol):
            known = {"pi": "pi", "E": "e"}.get(str(value))
            return (f"{self._say.module}.{known}", _ATOM) if known else (repr(float(value)), _ATOM)
        if value.is_Integer:
            return str(value), _ATOM if value >= 0 else _SUM
        if value.is_Rational and value.q & (value.q - 1):
            return f"{value.p} / {value.q}", _PRODUCT if value > 0 else _SUM
        return repr(float(value)), _ATOM if value >= 0 else _SUM

    def _size(self, node: Node) -> _Text:
        return self.size(_expr(node.attr)), _ATOM

    def _add(self, node: Node) -> _Text:
        signs: Any = node.attr
        text = ""
        for negative, a in zip(signs, node.args, strict=True):
            piece = self.at(a, _PRODUCT)
            text += (" - " if negative else " + ") + piece if text else ("-" if negative else "") + piece
        return text, _SUM

    def _multiply(self, node: Node) -> _Text:
        first = self.at(node.args[0], _PRODUCT if node.args[0].op == "multiply" else _POWER)
        return " * ".join([first, *(self.at(a, _POWER) for a in node.args[1:])]), _PRODUCT

    def _divide(self, node: Node) -> _Text:
        above, below = node.args
        level = _PRODUCT if above.op in ("multiply", "divide") else _POWER
        return f"{self.at(above, level)} / {self.at(below, _POWER)}", _PRODUCT

    def _matmul(self, node: Node) -> _Text:
        a, b = node.args
        if self._say.vector_first and a.op == "transpose" and b.rank == 1 and a not in self._variables:
            a, b = b, a.args[0]
        level = _PRODUCT if a.op == "matmul" else _POWER
        return f"{self.at(a, level)} @ {self.at(b, _POWER)}", _PRODUCT

    def _power(self, node: Node) -> _Text:
        return f"{self.at(node.args[0], _ATOM)}**{self.at(node.args[1], _ATOM)}", _POWER

    def _call(self, node: Node) -> _Text:
        text = self._say.function(str(node.attr), node, *(self._text(a)[0] for a in node.args))
        return text, _PRODUCT if " * " in text and not text.endswith("]") and text[0] not in "jnt" else _ATOM

    def _where(self, node: Node) -> _Text:
        condition, yes, no = node.args
        z = self._text(condition)[0]
        if (yes.attr, no.attr) == (1, 0) and yes.op == no.op == "number":
            return self._say.indicator(z), _ATOM
        texts = [self._float(a) for a in (yes, no)]
        return self._say.where(z, *texts), _ATOM

    def _float(self, node: Node) -> str:
        return f"{node.attr}.0" if node.op == "number" and str(node.attr).isdigit() else self._text(node)[0]

    def _range_sum(self, node: Node) -> _Text:
        counter, lower, upper, body = node.args
        first, last = self.size(lower), self._text(upper)[0]
        stop = sympy.pycode(_expr(upper.attr) + 1) if upper.op == "number" else f"{last} + 1"
        return f"sum({self._text(body)[0]} for {counter.attr} in range({first}, {stop}))", _ATOM

    def _constant(self, node: Node) -> _Text:
        return self._say.constant(node.op, tuple(map(self.size, node.shape))), _ATOM

    def _commutation(self, node: Node) -> _Text:
        m, n = map(self.size, _sizes(node.attr))
        whole = self._say.constant("eye", (f"{m} * {n}",))
        return f"{whole}.reshape({m}, {n}, {m} * {n}).swapaxes(0, 1).reshape({m} * {n}, {m} * {n})", _ATOM


def _say(
    write: Callable[[Writer, Node, list[str]], str], level: int = _ATOM
) -> Callable[[Writer, Node], _Text]:
    return lambda w, node: (write(w, node, [w._text(a)[0] for a in node.args]), level)


def _axis(node: Node) -> int | None:
    return node.attr if isinstance(node.attr, int) else None


def _expr(attr: Any) -> Expr:
    return attr


def _sizes(attr: Any) -> tuple[Expr, ...]:
    return attr


def _unknown(w: Writer, node: Node) -> _Text:
    raise UnsupportedError(f"{node.op} has no spelling")


_PRINTERS: dict[str, Callable[[Writer, Node], _Text]] = {
    "arg": Writer._arg,
    "number": Writer._number,
    "size": Writer._size,
    "counter": lambda w, n: (str(n.attr), _ATOM),
    "item": lambda w, n: (f"{w.at(n.args[0], _ATOM)}[{w.value(n.args[1])}]", _ATOM),
    "index": lambda w, n: (f"{w.at(n.args[0], _ATOM)}[{', '.join(map(w.value, n.args[1:]))}]", _ATOM),
    "add": Writer._add,
    "negative": lambda w, n: (f"-{w.at(n.args[0], _PRODUCT)}", _SUM),
    "multiply": Writer._multiply,
    "divide": Writer._divide,
    "matmul": Writer._matmul,
    "power": Writer._power,
    "call": Writer._call,
    "apply": lambda w, n: (f"{identifier(str(n.attr))}({w.value(n.args[0])})", _ATOM),
    "where": Writer._where,
    "transpose": lambda w, n: (f"{w.at(n.args[0], _ATOM)}.T", _ATOM),
    "column": lambda w, n: (f"{w.at(n.args[0], _ATOM)}[:, None]", _ATOM),
    "outer": _say(lambda w, n, a: w._say.call("outer", *a)),
    "sum": _say(lambda w, n, a: w._say.call("sum", *a, *w._say.along(_axis(n)))),
    "max": _say(lambda w, n, a: w._say.maximum(a[0], _axis(n))),
    "softmax": _say(lambda w, n, a: w._say.by_axis("softmax", a[0], _axis(n))),
    "log_softmax": _say(lambda w, n, a: w._say.by_axis("log_softmax", a[0], _axis(n))),
    "logsumexp": _say(lambda w, n, a: w._say.by_axis("logsumexp", a[0], _axis(n))),
    "solve": _say(lambda w, n, a: w._say.linalg("solve", *a)),
    "inv": _say(lambda w, n, a: w._say.linalg("inv", *a)),
    "det": _say(lambda w, n, a: w._say.linalg("det", *a)),
    "logdet": _say(lambda w, n, a: w._say.linalg("slogdet", *a) + "[1]"),
    "norm": _say(lambda w, n, a: w._say.linalg("norm", *a)),
    "cholesky": _say(lambda w, n, a: w._say.cholesky(a[0])),
    "cho_solve": _say(lambda w, n, a: w._say.cho_solve(a[0], a[1], n.rank)),
    "logdet_cholesky": _say(
        lambda w, n, a: f"2.0 * {w._say.call('sum', w._say.call('log', w._say.cholesky_diagonal(a[0])))}",
        _PRODUCT,
    ),
    "trace": _say(lambda w, n, a: w._say.call("trace", *a)),
    "diagonal": _say(lambda w, n, a: w._say.call("diag", *a)),
    "diag": _say(lambda w, n, a: w._say.call("diag", *a)),
    "matrix_power": _say(lambda w, n, a: w._say.linalg("matrix_power", *a)),
    "kron": _say(lambda w, n, a: w._say.kron(a[0], a[1])),
    "vec": lambda w, n: (f"{w.at(n.args[0], _ATOM)}.T.reshape(-1)", _ATOM),
    "ravel": lambda w, n: (f"{w.at(n.args[0], _ATOM)}.reshape(-1)", _ATOM),
    "reshape": lambda w, n: (f"{w.at(n.args[0], _ATOM)}.reshape({', '.join(map(w.size, n.shape))})", _ATOM),
    "flip": _say(lambda w, n, a: w._say.flip(a[0], n.rank)),
    "correlate": _say(lambda w, n, a: w._say.correlate(a[0], a[1], n.rank)),
    "convolve": _say(lambda w, n, a: w._say.convolve(a[0], a[1], n.rank)),
    "range_sum": Writer._range_sum,
    "ones": Writer._constant,
    "zeros": Writer._constant,
    "eye": lambda w, n: (w._say.constant("eye", (w.size(_expr(n.attr)),)), _ATOM),
    "commutation": Writer._commutation,
}
