r"""Symbols, scripts, brackets and norms of a LaTeX formula."""

from __future__ import annotations

from collections.abc import Sequence

import sympy
from sympy import Integer, Mul, Pow, Rational, S, Sum

from symgrad.errors import (
    NameUnknownError,
    ReadError,
    ShapeError,
    UnsupportedError,
)
from symgrad.expr import (
    Commutation,
    apply,
    det,
    entry_sum,
    eye,
    gradient,
    inner,
    is_scalar,
    norm,
    ones,
    same_size,
    shapes_are_free,
)
from symgrad.reading.latex.conditions import Conditions
from symgrad.reading.latex.marks import Marked, contents, marked, stem_of
from symgrad.reading.latex.tree import Node
from symgrad.reading.latex.values import (
    Val,
    applied,
    entry,
    hadamard_of,
    has_index,
    lifted,
    mapped,
    turned,
    val,
)
from symgrad.reading.latex.writing import term_of

__all__ = ["Symbols"]


class Symbols(Conditions):
    r"""Symbols, scripts, brackets and norms of a LaTeX formula."""

    def _number(self, node: Node) -> Val:
        return Val(Rational(node.text))

    def _group(self, node: Node) -> Val:
        if not node.parts:
            self.fail(ReadError, "an empty group", node)
        return self.read(node.parts[0])

    def _paren(self, node: Node) -> Val:
        if len(node.parts) != 1:
            self.fail(ReadError, "an empty bracket", node)
        (inside,) = node.parts
        if inside.kind == "list":
            if node.text in ("<",) and len(inside.parts) == 2:
                a, b = (self.read(p) for p in inside.parts)
                return self._inner(a, b, node)
            self.fail(
                ReadError, "a list in brackets has no value here", node, "a function takes it, as in f(x, y)"
            )
        if node.text == "|":
            return self._bars(inside, node)
        if node.text == "||":
            return self._norm(self.read(inside), [], node)
        if inside.kind == "chain":
            if node.text == "[":
                return self.indicator(inside)
            self.fail(ReadError, "an equation in brackets has no value", node)
        return self.read(inside)

    def _bracket(self, node: Node) -> Val:
        return self._inner(self.read(node.parts[0]), self.read(node.parts[1]), node)

    def _bars(self, inside: Node, node: Node) -> Val:
        value = self.read(inside)
        if value.is_scalar:
            return Val(apply("abs", value.expr))
        if len(value.shape) == 2 and same_size(*value.shape):
            return mapped(value, det)
        if 1 in value.shape and self.scope.choose(("bars", node.at), 2) == 1:
            return self._norm(value, [], node)
        return applied("abs", value)

    def _inner(self, a: Val, b: Val, node: Node) -> Val:
        if a.shape != b.shape and not shapes_are_free():
            self.fail(ShapeError, f"an inner product of a {a.text} and a {b.text}", node)
        if a.is_scalar:
            return Val(Mul(a.expr, b.expr))
        a, b = lifted(a), lifted(b)
        if a.axes is None and b.axes is None:
            if a.shape[0] == 1:
                a, b = turned(a), turned(b)
            return val(inner(a.expr, b.expr))
        return self.total(hadamard_of(a, b, self.scope.fresh))

    def total(self, v: Val) -> Val:
        """The sum of all entries."""
        v = lifted(v)
        if v.is_scalar:
            return v
        if v.axes is None:
            return Val(entry_sum(v.expr))
        limits = [(k, S.Zero, n - 1) for k, n in zip(v.axes, v.shape, strict=True) if not k.is_Number]
        return lifted(Val(Sum(v.expr, *limits)))

    def _letter(self, node: Node) -> Val:
        return self._symbol(node)

    def _word(self, node: Node) -> Val:
        return self._symbol(node)

    def _accent(self, node: Node) -> Val:
        return self._symbol(node)

    def _one(self, node: Node) -> Val:
        size = self.scope.open_size(node.at)
        return Val(ones(size), (size, S.One))

    def _text(self, node: Node) -> Val:
        self.fail(
            ReadError,
            f"the words {node.text!r} inside a formula",
            node,
            "put a comma or a line end before them",
        )

    def _symbol(self, node: Node) -> Val:
        value, left = self._resolved(marked(node))
        return self._with_superscripts(value, left, node)

    def _resolved(self, m: Marked) -> tuple[Val, tuple[Node, ...]]:
        scope = self.scope
        stem = stem_of(m.base)
        if stem in scope.given:
            given = scope.given[stem]
            return (self._entry_of_value(given, m) if m.subs else given), m.sups
        if (
            stem == "pi"
            and not m.subs
            and "pi" not in scope.names
            and not scope.pi_is_a_name
            and not any(stem_of(a.symbol.base) == "pi" for a in scope.aliases)
        ):
            return Val(sympy.pi), m.sups
        if stem in scope.indices and not m.subs:
            index = scope.indices[stem]
            return Val(index.symbol + (0 if scope.zero_based else 1)), m.sups
        if stem == "e" and not m.subs and m.sups and self._is_euler(m):
            return Val(sympy.E), (self._whole_exponent(m),)
        if stem == "I" and "I" not in scope.names and (not m.subs or "I_" not in scope.names):
            if not self._is_kronecker(m):
                return self._identity(m)
        if stem == "K" and "K" not in scope.names and len(m.subs) == 2:
            rows, cols = (scope.sizes.get(scope.mark_text(i) or "") for i in m.subs)
            if rows is not None and cols is not None:
                return val(Commutation(rows, cols)), m.sups
        value, left = scope.symbol(m)
        return (self._primed(value, m.primes, m.node) if m.primes else value), left

    def _primed(self, value: Val, primes: int, node: Node) -> Val:
        """A prime: the transpose of a matrix, the derivative of a scalar by the variable that is asked about."""
        if not value.is_scalar:
            if primes > 1:
                self.fail(ReadError, "two primes on a matrix", node)
            return turned(value)
        x = self.wrt
        e = lifted(value).expr
        if primes > 1 or x is None or not is_scalar(x) or has_index(e) or not self.depends_on(e, x):
            self.fail(
                ReadError,
                "a prime on a scalar",
                node,
                "a prime is the derivative of a function, or a transpose",
            )
        self.scope.note(f"the prime in {self.shown(node)} is the derivative by {x}")
        return Val(gradient(e, x))

    def _is_euler(self, m: Marked) -> bool:
        """Whether e^{..} is the exponential, and not a name e with a power, a layer or a transpose."""
        if "e" not in self.scope.names and self.scope.number_in(m.sups[0]) is None:
            return True
        if "e" not in self.scope.names:
            return not any(n == f"e{self.scope.number_in(m.sups[0])}" for n in self.scope.names)
        return not all(self.scope.number_in(i) is not None or self._is_transpose(i) for i in m.sups)

    def _whole_exponent(self, m: Marked) -> Node:
        """What stands above e, as one formula: its factors and primes are not marks of a symbol."""
        scripts = m.node.parts[1:] if m.node.kind == "scripted" else ()
        above = [i for s in scripts if s.kind == "sup" for i in contents(s.parts[0])]
        return term_of(above or m.sups)

    def _is_kronecker(self, m: Marked) -> bool:
        return len(m.subs) == 2 and all(s.kind == "letter" for s in m.subs)

    def _identity(self, m: Marked) -> tuple[Val, tuple[Node, ...]]:
        """I, or I_n."""
        scope = self.scope
        if m.subs:
            text = scope.mark_text(m.subs[0])
            size = scope.sizes.get(text or "") or (
                Integer(int(text)) if text and text.isdigit() and int(text) else None
            )
            if size is None:
                self.fail(NameUnknownError, f"the size of {self.shown(m.node)} is not known", m.node)
        else:
            size = scope.open_size(m.node.at)
        return Val(eye(size), (size, size)), m.sups

    def _scripted(self, node: Node) -> Val:
        base = node.parts[0]
        if base.kind == "group" and not base.parts:
            self.fail(ReadError, "scripts without a base", node)
        if base.kind == "one":
            return self._scripted_one(node)
        m = marked(node)
        if stem_of(m.base) is not None:
            return self._symbol(node)
        if base.kind == "paren" and base.text == "||" and base.parts:
            marks = [i for s in node.parts[1:] if s.kind == "sub" for i in contents(s.parts[0])]
            return self._with_superscripts(self._norm(self.read(base.parts[0]), marks, node), m.sups, node)
        if base.kind == "number" and not m.subs:
            return self._with_superscripts(self.read(base), m.sups, node)
        if base.kind == "underbrace":
            for s in node.parts[1:]:
                self._label(base, s)
            return self.read(base)
        value = self.read(base)
        if m.primes:
            value = self._primed(value, m.primes, node)
        if m.subs:
            value = self._entry_of_value(value, m)
        return self._with_superscripts(value, m.sups, node)

    def _label(self, base: Node, script: Node) -> None:
        """What stands under a brace: a name for the part over it, or a remark."""
        inside = script.parts[0].parts
        if inside and inside[0].kind == "continued":
            self.introduced.append((inside[0].parts[-1], base.parts[0]))
        else:
            self.scope.note(f"the remark {self.shown(script)} is passed over")

    def _underbrace(self, node: Node) -> Val:
        return self.read(node.parts[0])

    def _entry_of_value(self, value: Val, m: Marked) -> Val:
        """(A x)_i: an entry of a bracket."""
        scope = self.scope
        if value.is_scalar:
            self.fail(ShapeError, "an index on a scalar", m.node)
        places = m.subs
        if len(places) == 1 and 1 in value.shape:
            at = scope.place(places[0], value.shape[0] if value.shape[1] == 1 else value.shape[1], m.node)
            pair = (at, S.Zero) if value.shape[1] == 1 else (S.Zero, at)
            return lifted(Val(entry(value, *pair)))
        if len(places) == 2 and 1 not in value.shape:
            i, j = (scope.place(p, s, m.node) for p, s in zip(places, value.shape, strict=True))
            return Val(entry(value, i, j))
        if len(places) == 1:
            value = lifted(value)
            if value.axes is None:
                return scope.row_of(value.expr, places[0], m)
        self.fail(ShapeError, f"{len(places)} indices on a {value.text}", m.node)

    def _scripted_one(self, node: Node) -> Val:
        r"""\mathbf{1}_{z>0}, \mathbf{1}_n, \mathbf{1}^\top."""
        m = marked(node)
        subs = [s for s in node.parts[1:] if s.kind == "sub"]
        if subs:
            inside = subs[0].parts[0].parts[0] if subs[0].parts[0].parts else None
            while inside is not None and inside.kind in ("paren", "group") and len(inside.parts) == 1:
                inside = inside.parts[0]
            if inside is not None and inside.kind == "chain":
                return self._with_superscripts(self.indicator(inside), m.sups, node)
            text = self.scope.mark_text(m.subs[0]) if m.subs else None
            size = self.scope.sizes.get(text or "")
            if size is None and text and text.isdigit():
                size = Integer(int(text))
            if size is None:
                self.fail(NameUnknownError, f"the length of {self.shown(node)} is not known", node)
            return self._with_superscripts(Val(ones(size), (size, S.One)), m.sups, node)
        return self._with_superscripts(self._one(node.parts[0]), m.sups, node)

    def _norm(self, value: Val, marks: Sequence[Node], node: Node) -> Val:
        r"""\|x\|, \|x\|_2, \|X\|_F, \|x\|_1."""
        order = 2
        for mark in marks:
            if mark.kind == "number" and mark.text in ("1", "2"):
                order = int(mark.text)
                if order == 2 and not value.is_scalar and 1 not in value.shape:
                    self.fail(
                        UnsupportedError,
                        "the spectral norm is not read",
                        node,
                        "the Frobenius norm is \\|X\\|_F",
                    )
            elif (mark.kind in ("letter", "word") and mark.text in ("F", "Fro", "HS")) or (
                len(marks) == 2 and mark.kind == "number"
            ):
                order = 2
            else:
                self.fail(UnsupportedError, f"the norm {self.shown(node)} is not read", node)
        if len(marks) > 1:
            self.fail(UnsupportedError, f"the norm {self.shown(node)} is not read", node)
        value = lifted(value)
        if value.axes is not None:
            square = Val(
                Pow(value.expr, 2) if order == 2 else apply("abs", value.expr), value.shape, value.axes
            )
            total = self.total(square)
            return Val(Pow(total.expr, Rational(1, 2))) if order == 2 else total
        return Val(norm(value.expr, order))
