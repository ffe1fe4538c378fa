r"""Symbols, scripts, brackets and norms of a LaTeX formula."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NoReturn

import sympy
from sympy import Expr, Integer, KroneckerDelta, Mul, Pow, Rational, S, Sum

from symgrad.errors import (
    NameUnknownError,
    ReadError,
    ShapeError,
    SymgradError,
    TooLargeError,
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
    inverse,
    is_scalar,
    norm,
    ones,
    same_size,
    shapes_are_free,
)
from symgrad.reading.latex.scope import (
    Marked,
    Scope,
    Unbound,
    contents,
    marked,
    stem_of,
)
from symgrad.reading.latex.tokens import fail_at
from symgrad.reading.latex.tree import Node, same_writing
from symgrad.reading.latex.values import (
    Val,
    applied,
    entry,
    entry_of,
    fits_square,
    hadamard_of,
    has_index,
    is_entrywise,
    lifted,
    mapped,
    negative,
    plus,
    raised,
    repeated,
    times,
    turned,
    val,
)
from symgrad.reading.latex.writing import term_of

__all__ = ["Symbols"]


class Symbols:
    """Symbols, scripts, brackets and norms of a LaTeX formula."""

    def __init__(self, scope: Scope, symbol_of: Callable[[Expr], Expr | None]) -> None:
        self.scope = scope
        self.symbol_of = symbol_of
        self.introduced: list[tuple[Node, Node]] = []
        self.saw_derivative = False

    def fail(
        self,
        kind: type[SymgradError],
        message: str,
        node: Node,
        hint: str | None = None,
        details: tuple[str, ...] = (),
    ) -> NoReturn:
        """Raise an error at a piece."""
        fail_at(kind, message, self.scope.source, node.at, hint, details)

    def locate(self, error: SymgradError, node: Node) -> None:
        """Give an error the position of a piece, unless it has one."""
        before = self.scope.source[: node.at]
        error.located(self.scope.source, before.count("\n") + 1, node.at - (before.rfind("\n") + 1) + 1)

    def read(self, node: Node) -> Val:
        """The value of a tree; errors get the position of the smallest piece that they are about."""
        try:
            for writing, symbol in self.scope.writings:
                if node.kind == writing.kind and same_writing(node, writing):
                    return self.scope.oriented(symbol)
            reader: Callable[[Node], Val] | None = getattr(self, f"_{node.kind}", None)
            if reader is None:
                self.fail(ReadError, f"{self.shown(node)} has no meaning here", node)
            return reader(node)
        except SymgradError as error:
            self.locate(error, node)
            raise

    def shown(self, node: Node) -> str:
        """The source of a piece."""
        text = self.scope.source[node.at : node.end]
        return text if len(text) <= 40 else text[:37] + "..."

    is_called: Callable[[Marked], bool] = staticmethod(lambda m: False)
    is_defined: Callable[[Expr], bool] = staticmethod(lambda e: False)

    depends_on: Callable[[Expr, Expr], bool] = staticmethod(lambda e, x: False)
    wrt: Expr | None = None

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
        self.saw_derivative = True
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

    def _with_superscripts(self, value: Val, items: Sequence[Node], node: Node) -> Val:
        """Transposes, inverses and powers, one after the other."""
        for item in items:
            value = self._superscript(value, item, node)
        return value

    def _superscript(self, value: Val, item: Node, node: Node) -> Val:
        scope = self.scope
        if self._is_transpose(item):
            return turned(value)
        if item.kind == "sum" and len(item.parts) == 2 and item.parts[0].text == "-":
            if self._is_transpose(item.parts[1]):
                return turned(self._inverse(value, node))
            if item.parts[1].kind == "number" and item.parts[1].text == "1" and not value.is_scalar:
                return self._inverse(value, node)
        if item.kind in ("top", "prime"):
            return turned(value)
        if item.kind == "entrywise":
            return raised(value, self._exponent(item.parts[-1], node), as_matrix=False)
        if (item.kind == "sign" and item.text == "+") or item.kind == "dagger":
            return self._pseudo_inverse(value, node)
        if item.kind in ("sign", "lone"):
            what = "a conjugate, or the mark of an optimum," if item.kind == "lone" else "this mark"
            self.fail(UnsupportedError, f"{self.shown(node)}: {what} is not read", node)
        if item.kind == "letter" and item.text == "H" and not value.is_scalar and self._is_free("H"):
            self.scope.note(f"{self.shown(node)} is a transpose: everything is real")
            return turned(value)
        if value.expr == sympy.E:
            exponent = self.read(item)
            if not exponent.is_scalar and 1 not in exponent.shape and same_size(*exponent.shape):
                self.fail(UnsupportedError, "the exponential of a square matrix is not read", node,
                          "the exponential entry by entry is \\exp(A)")  # fmt: skip
            return applied("exp", exponent)
        if item.kind == "letter" and item.text == "T" and "T" in scope.layers and not value.is_scalar:
            square = 1 not in value.shape and same_size(*value.shape)
            if not square or scope.choose(("last layer or transpose", node.at), 2) == 0:
                return turned(value)  # there is no W at layer T
            return raised(value, Integer(scope.layers["T"]), as_matrix=True)
        if item.kind == "letter" and item.text in scope.layers:
            self.fail(
                NameUnknownError, f"{self.shown(node)} is not known at layer {scope.layers[item.text]}", node
            )
        if (
            item.kind == "letter"
            and item.text in scope.layer_letters()
            and scope.names.get(item.text) is None
        ):
            scope.note(f"the mark {item.text} in {self.shown(node)} is that of the layer")
            return value
        if item.kind == "paren":
            raise_from = scope.open_letter([item])
            if raise_from is not None:
                raise Unbound(raise_from.text, raise_from)
            self.fail(
                NameUnknownError,
                f"{self.shown(node)} is not known",
                node,
                "a mark in brackets is a layer or a sample",
            )
        exponent = self._exponent(item, node)
        if item.kind == "letter" and not value.is_scalar and self.is_defined(exponent):
            raise Unbound(item.text, item)  # a^L where L is the loss: a layer, and no power
        base = value.expr
        if base.is_Rational and exponent.is_Integer:
            if (base.p.bit_length() + base.q.bit_length()) * abs(exponent) > 4000:
                self.fail(TooLargeError, "the power is a very long number", node)
        as_matrix = False
        if not value.is_scalar and 1 not in value.shape and same_size(*value.shape):
            as_matrix = True
            if exponent.is_Number and not exponent.is_Integer:
                self.fail(UnsupportedError, "a fractional power of a matrix is not read", node)
            if exponent == 2 and is_entrywise(value):
                as_matrix = scope.choose(("power", node.at), 2) == 0
        return raised(value, exponent, as_matrix=as_matrix)

    def _is_free(self, letter: str) -> bool:
        """Whether a letter stands for nothing."""
        scope = self.scope
        return not any(letter in known for known in (scope.names, scope.sizes, scope.layers, scope.indices))

    def _pseudo_inverse(self, value: Val, node: Node) -> Val:
        r"""A^+, A^\dagger: by the inverse, where the rank is known."""
        value = lifted(value)
        if value.is_scalar or value.axes is not None:
            self.fail(UnsupportedError, f"{self.shown(node)}: a pseudo-inverse of a {value.text}", node)
        a = value.expr
        words = self.scope.assumptions.get(str(a), frozenset())
        turned_a = turned(value)
        fresh = self.scope.fresh
        if words & {"invertible", "positive_definite", "orthogonal"}:
            return self._inverse(value, node)
        if "full_column_rank" in words:
            self.scope.note(f"{self.shown(node)} is the pseudo-inverse")
            return times(self._inverse(times(turned_a, value, fresh), node), turned_a, fresh)
        if "full_row_rank" in words:
            self.scope.note(f"{self.shown(node)} is the pseudo-inverse")
            return times(turned_a, self._inverse(times(value, turned_a, fresh), node), fresh)
        self.fail(
            UnsupportedError, f"{self.shown(node)}: a pseudo-inverse is read where the rank is known", node,
            "assume full_column_rank or full_row_rank",
        )  # fmt: skip

    def _is_transpose(self, item: Node) -> bool:
        while item.kind in ("group",) and len(item.parts) == 1:
            item = item.parts[0]
        if item.kind == "top":
            return True
        if item.kind != "letter" or item.text not in ("T", "t"):
            return False
        if item.mark == "top":
            return True
        if item.text in self.scope.layers or item.text in self.scope.indices:
            return False
        return item.text == "T" and not is_scalar(self.scope.names.get("T", S.EmptySet))

    def _exponent(self, item: Node, node: Node) -> Expr:
        try:
            value = self.read(item)
        except NameUnknownError:
            letter = self.scope.open_letter([item])
            if letter is not None:
                raise Unbound(letter.text, letter) from None
            raise
        if not value.is_scalar:
            self.fail(ShapeError, f"the exponent is a {value.text}", node, "it must be a scalar")
        e = value.expr
        if e.is_Number and abs(e) > 1000:
            self.fail(TooLargeError, "the exponent is beyond 1000", node)
        if e.is_number and not e.is_Number:
            e = sympy.nsimplify(e) if e.is_Rational else e
        return e

    def _inverse(self, value: Val, node: Node) -> Val:
        if value.is_scalar:
            return Val(Pow(value.expr, -1))
        if not fits_square(value):
            self.fail(ShapeError, f"the inverse of a {value.text}", node, "a square matrix is needed")
        return mapped(value, inverse)

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

    def _spread(self, node: Node) -> Callable[[Val, Val], Val]:
        """Repeats a scalar, a column or a row to the shape of the largest term."""

        def spread(v: Val, largest: Val) -> Val:
            if v.shape == largest.shape:
                return v
            if v.is_scalar:
                if 1 not in largest.shape and same_size(*largest.shape) and not self._plain_one(v, largest):
                    self.fail(
                        ShapeError, f"a scalar is added to a {largest.text} matrix", node,
                        "write a multiple of I or of \\mathbf{1}\\mathbf{1}^\\top",
                    )  # fmt: skip
                return repeated(v, largest.shape)
            (m, n), (p, q) = v.shape, largest.shape
            if 1 in (p, q) or shapes_are_free():
                return v
            across, down = n == 1 and same_size(m, p), n == 1 and same_size(m, q)
            if across and down:
                across = self.scope.choose(("bias", node.at), 2) == 0
            if across:
                return times(v, Val(ones(S.One, q), (S.One, q)), self.scope.fresh)
            if down:
                return times(Val(ones(p), (p, S.One)), turned(v), self.scope.fresh)
            if m == 1 and same_size(n, q):
                return times(Val(ones(p), (p, S.One)), v, self.scope.fresh)
            return v

        return spread

    def _plain_one(self, v: Val, largest: Val) -> bool:
        """Whether a scalar next to a square matrix can only be meant entry by entry."""
        return is_entrywise(largest)

    def indicator(self, chain: Node) -> Val:
        """1[a > b], 1[i = j]."""
        if len(chain.parts) != 3:
            self.fail(ReadError, "a condition with one relation is needed", chain)
        left, relation, right = chain.parts
        if relation.text in ("=", "!=") and (label := self._label_is(left, right)) is not None:
            return label if relation.text == "=" else Val(1 - label.expr)
        a, b = self.read(left), self.read(right)
        if relation.text in ("=", "!="):
            if a.is_scalar and b.is_scalar and a.expr.is_integer and b.expr.is_integer:
                base = 0 if self.scope.zero_based else 1
                delta = KroneckerDelta(a.expr - base, b.expr - base)
                self._same_axis(left, right)
                return Val(delta if relation.text == "=" else 1 - delta)
            self.fail(ReadError, "only indices can be compared for equality", chain)
        if relation.text not in ("<", ">", "<=", ">="):
            self.fail(ReadError, f"the relation {relation.text} is not read here", chain)
        if relation.text in ("<", ">="):
            a, b = b, a
        difference = (
            a
            if b.expr.is_zero and b.is_scalar
            else plus([a, negative(b)], self.scope.fresh, self._spread(chain))
        )
        step = applied("step", difference)
        if relation.text in (">", "<"):
            return step
        return plus([Val(S.One), negative(step)], self.scope.fresh, self._spread(chain))

    def _label_is(self, left: Node, right: Node) -> Val | None:
        """1[y_i = k] for one-hot labels: the entry at k of the label."""
        scope = self.scope
        for one, other in ((left, right), (right, left)):
            if other.kind != "letter" or other.text not in scope.indices:
                continue
            label = scope.picks(one)
            if label is None:
                continue
            own = [i for i in marked(one).subs if i.kind == "letter" and i.text in scope.indices]
            if label.shape[1] == 1:
                return Val(entry_of(label.expr, scope.place(other, label.shape[0], one), S.Zero))
            if len(own) == 1:
                by_columns = "onehot_cols" in scope.assumptions.get(str(label.expr), frozenset())
                rows, cols = label.shape[::-1] if by_columns else label.shape
                i, k = scope.place(own[0], rows, one), scope.place(other, cols, one)
                return Val(entry_of(label.expr, *((k, i) if by_columns else (i, k))))
        return None

    def _same_axis(self, left: Node, right: Node) -> None:
        """Compared indices run over one axis."""
        pair = [
            self.scope.indices[n.text]
            for n in (left, right)
            if n.kind == "letter" and n.text in self.scope.indices
        ]
        if len(pair) == 2:
            sizes = pair[0].sizes or pair[1].sizes
            for index in pair:
                index.uses += 1
                index.sizes += sizes[:1]
