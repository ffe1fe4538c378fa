r"""One claim in LaTeX in one scope: its left side, its links, the entries that they are about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

import sympy
from sympy import Expr, MatrixSymbol, S, Symbol
from sympy.matrices.expressions.matexpr import MatrixElement

from symgrad.errors import (
    NameUnknownError,
    ReadError,
    ShapeError,
    SymgradError,
    UnsupportedError,
)
from symgrad.expr import (
    is_leaf,
    is_matrix,
    is_scalar,
    leaf_name,
    leaves,
    same_size,
    shape_of,
    shape_text,
)
from symgrad.expr.nodes import Gradient, Jacobian, ScalarGradient
from symgrad.reading.claim import Claim, Entry, Kind, names_a_hessian
from symgrad.reading.latex_explore import located
from symgrad.reading.latex_scope import Function, Index, Marked, Scope, Unbound, marked, stem_of
from symgrad.reading.latex_setting import Setting
from symgrad.reading.latex_tokens import fail_at
from symgrad.reading.latex_tree import Node, walk_nodes
from symgrad.reading.latex_updates import Update, update_of
from symgrad.reading.latex_values import Val, entry, fits, has_index, index_symbol, lifted, turned
from symgrad.reading.latex_writing import derivative_parts, second_order

__all__ = ["Claims", "Left", "in_text_language"]


_LOSSES = ("e", "c", "loss", "cost", "err", "error", "mse", "nll", "rss", "sse", "ce")


@dataclass(frozen=True)
class Left:
    """What a left side says."""

    kind: Kind | None
    of: Expr
    wrt: Expr
    of_entry: Entry | None = None
    wrt_entry: Entry | None = None
    wrt_axes: tuple[Expr, ...] = ()


class Claims:
    """Reads one claim in one scope."""

    def __init__(
        self,
        scope: Scope,
        setting: Setting,
        text: str,
        extra: Sequence[Node],
        free: bool = False,
        passed: Sequence[Node] = (),
    ) -> None:
        self.scope, self.setting, self.text, self.free = scope, setting, text, free
        self.meaning = setting.meaning(scope)
        self.extra = extra
        self.right_at = 0
        self.passed = passed

    def claim(self, statement: Node) -> Claim:
        """The claim of a statement."""
        sides = list(statement.parts[0::2]) if statement.kind == "chain" else [statement]
        update = update_of(statement)
        if update is None and statement.kind == "chain":
            for relation in statement.parts[1::2]:
                if relation.text not in ("=", ":=", "=:"):
                    fail_at(ReadError, f"the relation {relation.text!r} makes no claim", self.text, relation.at,
                            "a claim is an equation; an update has a rate: W \\leftarrow W - \\eta G")  # fmt: skip
        for passed in self.passed:
            self.scope.note(f"{self.meaning.shown(passed)} is passed over")
        self._define_extra()
        if update is not None and (updated := self._updated(update)) is not None:
            left, right = updated
        elif len(sides) == 1:
            left, right = self._asked(sides[0]), sides
        else:
            found, right = self._left(sides)
            if found is None:
                return self._identity(sides)
            left = found
        for letter in [k for k, i in self.scope.indices.items()]:
            self.scope.indices[letter].kept = True
        self.scope.may_bind = False
        self.right_at = right[0].at
        values = [self._closed(self._right(side), side) for side in right]
        if not self.free:
            for v, side in zip(values, right, strict=True):
                self._check_places(v.expr, side)
        return self._made(left, values)

    def _right(self, side: Node) -> Val:
        """A right side; a product of one factor sums over its repeated indices too."""
        if self.scope.einstein and side.kind not in ("sum", "term"):
            side = Node("term", (side,), side.at, side.end)
        return self.meaning.read(side)

    def _define_extra(self) -> None:
        """Names that the display itself explains beside the claim."""
        for equation in self.extra:
            first, last = equation.parts[0], equation.parts[-1]
            if self._define_function(first, last):
                continue
            indices = dict(self.scope.indices)
            m = marked(first)
            stem = stem_of(m.base)
            if stem is None:
                fail_at(ReadError, "one claim at a time", self.text, equation.at)
            try:
                self.scope.symbol(m)
                known = True
            except (NameUnknownError, Unbound, ShapeError):
                known = False
            if known:
                fail_at(
                    ReadError, "one claim at a time", self.text, equation.at, "check each equation by itself"
                )
            letters = [s.text for s in m.subs if s.kind == "letter"]
            for letter in letters:
                self.scope.indices[letter] = Index(index_symbol(letter), kept=True)
            value = self.meaning.read(last)
            if letters:
                size = next(iter(self.scope.indices[letters[0]].sizes), None)
                if len(letters) != 1 or size is None or not value.is_scalar:
                    fail_at(
                        UnsupportedError, "this definition beside the claim is not read", self.text, first.at
                    )
                symbol = self.scope.indices[letters[0]].symbol
                value = lifted(Val(value.expr, (size, S.One), (symbol, S.Zero)))
            self.scope.indices = indices
            value = lifted(value)
            if value.axes is not None:
                fail_at(UnsupportedError, "this definition beside the claim is not read", self.text, first.at)
            self.scope.names = {**self.scope.names, stem: value.expr}

    def _define_function(self, first: Node, last: Node) -> bool:
        r"""\phi(x) = .. beside a claim."""
        if first.kind != "term" or len(first.parts) != 2 or first.parts[1].kind != "paren":
            return False
        m = marked(first.parts[0])
        stem, (parameter,) = stem_of(m.base), first.parts[1].parts or (None,)
        if stem is None or parameter is None or stem_of(marked(parameter).base) is None or m.subs or m.sups:
            return False
        if stem in self.scope.names or stem in self.scope.functions:
            return False
        self.scope.functions = {**self.scope.functions, stem: Function(self.text, parameter, last)}
        return True

    def _updated(self, update: Update) -> tuple[Left, list[Node]] | None:
        """What an update says of the derivative: it goes down, or up where nothing speaks against it."""
        target = self.setting.target
        if target is None or not is_scalar(target):
            return None
        self.scope.may_bind = True
        wrt = self.meaning.quantity([update.variable], update.variable)
        x, entry, axes = _entry_of(wrt)
        if not is_leaf(x):
            return None
        down = update.falls or (is_leaf(target) and leaf_name(target).lower() in _LOSSES)
        if not down and self.scope.choose(("ascent", update.variable.at), 2) == 1:
            self.scope.note("the update is read as a step up the slope")
            return Left(None, target, x, None, entry, axes), list(update.up)
        self.scope.note("the update is read as a step down the slope")
        return Left(None, target, x, None, entry, axes), list(update.down)

    # --- left sides ----------------------------------------------------------------------------------

    def _asked(self, side: Node) -> Left:
        """What the question says, where the claim has no left side."""
        setting = self.setting
        if setting.target is None or setting.wrt is None:
            fail_at(ReadError, "the claim has no left side", self.text, side.at,
                    "write \\frac{\\partial L}{\\partial W} = .., or say of what and by what")  # fmt: skip
        return Left(setting.context.kind, setting.target, setting.wrt)

    def _left(self, sides: list[Node]) -> tuple[Left | None, list[Node]]:
        """The derivative that the sides are about, and the sides that are to be checked."""
        self.scope.may_bind = True
        left = self._derivative_side(sides[0])
        if left is not None:
            return left, sides[1:]
        if len(sides) > 2:
            named = self._derivative_side(sides[1])
            if named is not None and stem_of(marked(sides[0]).base) is not None:
                return named, sides[2:]
        if self._states_a_result(sides):
            return None, sides
        return self._named_side(sides[0]), sides[1:]

    def _states_a_result(self, sides: list[Node]) -> bool:
        r"""G = -\partial E/\partial \beta = ..: a name that is known, and a side that holds a derivative."""
        m = marked(sides[0])
        if stem_of(m.base) is None or len(sides) < 3:
            return False
        try:
            value, left = self.scope.symbol(m)
        except (NameUnknownError, ShapeError, Unbound):
            return False
        e, _, _ = _entry_of(value)
        holds = any(n.kind in ("partial", "nabla") for n in walk_nodes(sides[1]))
        return holds and not left and self.setting.signal_of(e) is None

    def _derivative_side(self, side: Node) -> Left | None:
        r"""\frac{\partial f}{\partial x}, \nabla_x f, \partial f/\partial x, \frac{d}{dx} f, D f."""
        parts = list(side.parts) if side.kind == "term" else [side]
        first = parts[0]
        if len(parts) == 1 and (entry_left := self._entry_of_derivative(first)) is not None:
            return entry_left
        if first.kind == "letter" and first.text == "D" and "D" not in self.scope.names and len(parts) > 1:
            return self._derivative(parts[1:], [], False, side)
        if (fraction := derivative_parts(first)) is not None:
            above: Sequence[Node] = fraction[0] or parts[1:]
            variables = fraction[1]
            if fraction[0] and len(parts) > 1:
                return None
            if not above:
                return None
            hessian = len(variables) == 2
            if len(variables) > 2:
                fail_at(UnsupportedError, "a derivative of third order is not read", self.text, first.at)
            if second_order(_head(first)) and len(variables) == 1:
                hessian = True
                variables = [[*variables[0][:-1], _without_square(variables[0][-1])]]
            return self._derivative(above, variables[0], hessian, side)
        if (primed := self._primed(parts)) is not None:
            return primed
        head = first.parts[0] if first.kind == "scripted" else first
        if head.kind == "nabla" and len(parts) > 1:
            subs = (
                [s.parts[0] for s in first.parts[1:] if s.kind == "sub"] if first.kind == "scripted" else []
            )
            hessian = second_order(first)
            if _is_nabla(parts[1]):
                hessian, parts = True, parts[1:]
            below = list(subs[0].parts) if subs else []
            if len(parts) > 1:
                return self._derivative(parts[1:], below, hessian, side)
        if head.kind == "partial" or (head.kind == "letter" and head.text == "d" and len(parts) > 3):
            slash = next((i for i, p in enumerate(parts) if p.kind == "op" and p.text == "SLASH"), None)
            if slash is not None and len(parts) > slash + 2:
                below_head = parts[slash + 1]
                if below_head.kind == "partial" or below_head.text == "d":
                    return self._derivative(parts[1:slash], parts[slash + 2 :], False, side)
        return None

    def _primed(self, parts: Sequence[Node]) -> Left | None:
        """f'(x), f''(x), y': the derivatives of a scalar by the scalar in brackets, or the one that is asked."""
        m = marked(parts[0])
        if m.primes not in (1, 2) or m.sups or stem_of(m.base) is None or len(parts) > 2:
            return None
        if len(parts) == 2 and parts[1].kind != "paren":
            return None
        try:
            value, left = self.scope.symbol(replace(m, primes=0))
            wrt = self._only_variable(list(parts), parts[0])
        except (NameUnknownError, ReadError, ShapeError, Unbound):
            return None
        if left or not (value.is_scalar and wrt.is_scalar and is_leaf(value.expr) and is_leaf(wrt.expr)):
            return None
        return Left("hessian" if m.primes == 2 else None, value.expr, wrt.expr)

    def _entry_of_derivative(self, side: Node) -> Left | None:
        r"""(\nabla_x f)_i: an entry of a gradient."""
        if side.kind != "scripted" or side.parts[0].kind != "paren" or len(side.parts[0].parts) != 1:
            return None
        left = self._derivative_side(side.parts[0].parts[0])
        m = marked(side)
        if left is None or left.wrt_entry is not None or left.of_entry is not None or m.sups or m.primes:
            return None
        sizes = [s for s in (left.wrt.shape if is_matrix(left.wrt) else ()) if s != 1]
        if len(m.subs) != len(sizes) or not is_scalar(left.of):
            return None
        places = tuple(self.scope.place(i, s, side) for i, s in zip(m.subs, sizes, strict=True))
        return replace(left, wrt_entry=places)

    def _derivative(self, above: Sequence[Node], below: Sequence[Node], hessian: bool, node: Node) -> Left:
        meaning = self.meaning
        of = meaning.quantity(list(above), node)
        if not below:
            wrt = self._only_variable(list(above), node)
        else:
            tree = below[0] if len(below) == 1 else Node("term", tuple(below), below[0].at, below[-1].end)
            wrt = meaning.quantity([tree], node)
        f, f_entry, _ = _entry_of(of)
        if f_entry is None and (indexed := self._lifted_of(of)) is not None:
            f, f_entry = indexed
        x, x_entry, axes = _entry_of(wrt)
        if not is_leaf(x):
            fail_at(
                ReadError,
                f"a derivative is taken by a name, not by {meaning.shown(node)}",
                self.text,
                node.at,
            )
        kind: Kind | None = "hessian" if hessian else None
        return Left(kind, f, x, f_entry, x_entry, axes)

    def _lifted_of(self, of: Val) -> tuple[Expr, Entry] | None:
        """A scalar with free indices, such as log p_i: the array of all of them, and the indices."""
        used = [i for i in self.scope.indices.values() if i.symbol in of.expr.free_symbols and i.sizes]
        if not of.is_scalar or not used or len(used) > 2:
            return None
        axes = (used[0].symbol, used[1].symbol if len(used) == 2 else S.Zero)
        shape = (used[0].sizes[0], used[1].sizes[0] if len(used) == 2 else S.One)
        m = lifted(Val(of.expr, shape, axes))
        if m.axes is not None or has_index(m.expr):
            return None
        return m.expr, tuple(i.symbol for i in used)

    def _only_variable(self, above: list[Node], node: Node) -> Val:
        r"""\nabla f(x), \nabla E(w): the argument, or what the question asks."""
        last = above[-1]
        if len(above) > 1 and last.kind == "paren" and len(last.parts) == 1:
            try:
                value = self.meaning.read(last.parts[0])
            except (NameUnknownError, Unbound):
                value = None
            if value is not None and is_leaf(value.expr):
                return value
        if self.setting.wrt is not None:
            return self.scope.oriented(self.setting.wrt)
        fail_at(ReadError, "a gradient by what?", self.text, node.at, "write \\nabla_x f")

    def _named_side(self, side: Node) -> Left | None:
        """A name on the left: dW, an error signal, or another quantity."""
        setting = self.setting
        increment = self._increment_side(side)
        if increment is not None:
            return increment
        m = marked(side)
        if stem_of(m.base) is None:
            self.scope.may_bind = False
            return None
        try:
            value, left = self.scope.symbol(m)
        except (NameUnknownError, ShapeError, Unbound):
            if setting.target is not None and setting.wrt is not None and self._is_new(m):
                if len(m.subs) < 2 and names_a_hessian(stem_of(m.base) or "", setting.target, setting.wrt):
                    return Left("hessian", setting.target, setting.wrt)
                return Left(setting.context.kind, setting.target, setting.wrt, None, self._new_entry(m))
            raise
        if left or m.primes:
            self.scope.may_bind = False
            return None
        e, places, _ = _entry_of(value)
        signal = setting.signal_of(e)
        if signal is not None:
            of, wrt = signal
            return Left(None, of, wrt, None, places)
        if setting.target is None or setting.wrt is None or e in (setting.target, setting.wrt):
            return None
        if is_leaf(e) and not setting.same_layer(leaf_name(e), leaf_name(setting.wrt)):
            fail_at(
                NameUnknownError,
                f"{self.meaning.shown(side)} is not at the layer of {setting.wrt}",
                self.text,
                side.at,
            )
        if (
            is_matrix(e)
            and is_matrix(setting.wrt)
            and places is not None
            and len(places) != (1 if setting.wrt.shape[1] == 1 else 2)
        ):
            places = None
        return Left(setting.context.kind, setting.target, setting.wrt, None, places)

    def _new_entry(self, m: Marked) -> Entry | None:
        """The entry that the subscripts of a new symbol name, delta_j for the gradient by a vector."""
        wrt = self.setting.wrt
        sizes = [s for s in (shape_of(wrt) if wrt is not None else ()) if s != 1]
        letters = [i for i in m.subs if i.kind == "letter" and not i.mark and i.text not in self.scope.layers]
        if not letters or len(letters) != len(sizes):
            return None
        return tuple(self.scope.place(i, s, m.node) for i, s in zip(letters, sizes, strict=True))

    def _is_new(self, m: Marked) -> bool:
        """Whether a symbol on the left that is not known stands for the derivative that the question asks for."""
        known = self.setting.has_layers_of(m)
        return not known or self.scope.choose(("left", 0), 2, last_resort=True) == 1

    def _increment_side(self, side: Node) -> Left | None:
        """DW, db: the gradient by a name, where it is said of what."""
        setting = self.setting
        parts = list(side.parts) if side.kind == "term" else []
        name: Node | None = None
        if len(parts) == 2 and parts[0].kind == "letter" and parts[0].text == "d":
            name = parts[1]
        elif marked(side).base.kind == "word" and marked(side).base.text.startswith("d"):
            word = marked(side).base
            stem = Node("letter", (), word.at + 1, word.end, word.text[1:])
            name = (
                Node("scripted", (stem, *side.parts[1:]), side.at, side.end)
                if side.kind == "scripted"
                else stem
            )
        if name is None:
            return None
        try:
            value, left = self.scope.symbol(marked(name))
        except (NameUnknownError, ShapeError):
            return None
        if left:
            return None
        x, x_entry, axes = _entry_of(value)
        if not is_leaf(x):
            return None
        if x_entry is None and setting.is_defined(x) and setting.gradient_of(leaf_name(x)) is None:
            by = setting.wrt
            if x == setting.target and by is not None and by != x:
                self.scope.differential = True
                return Left("differential", x, by)
        of = setting.target if setting.target is not None else setting.gradient_of(leaf_name(x))
        if of is None:
            return None
        self.scope.increments_of = of
        return Left(None, of, x, None, x_entry, axes)

    # --- the claim ---------------------------------------------------------------------------------------

    def _closed(self, value: Val, side: Node) -> Val:
        """A value whose indices are all bound, by sums or by the left side."""
        if self.scope.rows and value.shape and value.shape[0] == 1:
            value = turned(value)
        return lifted(value)

    def _identity(self, sides: list[Node]) -> Claim:
        self.scope.may_bind = False
        self.scope.may_bind = True
        first = self.meaning.read(sides[0])
        self.scope.may_bind = False
        values = [lifted(first), *(lifted(self.meaning.read(s)) for s in sides[1:])]
        values = self._without_indices(values)
        shapes = {v.shape for v in values}
        if len(shapes) > 1 and not self.free:
            raise located(
                ShapeError(f"the sides are a {values[0].text} and a {values[1].text}"), self.text, sides[1]
            )
        if any(v.axes is not None or has_index(v.expr) for v in values):
            fail_at(UnsupportedError, "this identity has no matrix form", self.text, sides[0].at)
        links = tuple(v.expr for v in values)
        shown = " = ".join(in_text_language(e) for e in links)
        return Claim(self._extended(links), links, "identity", read_as=shown)

    def _without_indices(self, values: list[Val]) -> list[Val]:
        """Sides that are entries, as arrays over the indices of the left side."""
        used = [i for i in self.scope.indices.values() if i.sizes]
        free = {s for v in values for s in _free(v.expr)}
        used = [i for i in used if i.symbol in free]
        if not used or len(used) > 2 or not all(v.is_scalar for v in values):
            return values
        axes = (used[0].symbol, used[1].symbol if len(used) == 2 else S.Zero)
        shape = (used[0].sizes[0], used[1].sizes[0] if len(used) == 2 else S.One)
        return [lifted(Val(v.expr, shape, axes)) for v in values]

    def _check_places(self, e: Expr, node: Node) -> None:
        """No index may run outside its axis, or over axes of different sizes."""
        for letter, index in self.scope.indices.items():
            for other in index.sizes[1:]:
                if not same_size(index.sizes[0], other):
                    self._misfit(f"the index {letter} runs over {index.sizes[0]} and over {other}")
        ranges = {i.symbol: i.sizes[0] for i in self.scope.indices.values() if i.sizes}
        for total in e.atoms(sympy.Sum):
            for k, lower, upper in total.limits:
                if lower == 0:
                    ranges[k] = upper + 1
        for element in e.atoms(MatrixElement):
            m, *places = element.args
            for place, size in zip(places, m.shape, strict=True):
                shifted = place.free_symbols & set(ranges)
                if place.is_Symbol or not shifted:
                    continue
                last = place.xreplace({s: ranges[s] - 1 for s in shifted})
                ends = [sympy.expand(e) for e in (place.xreplace(dict.fromkeys(shifted, S.Zero)), last)]
                if any(x.is_negative or (x - size).is_nonnegative for x in ends):
                    self._misfit(f"the index of {m} runs outside of its {size} entries")

    def _made(self, left: Left, values: list[Val]) -> Claim:
        kind = left.kind or self.setting.context.kind or ("gradient" if is_scalar(left.of) else "jacobian")
        if kind == "gradient" and not is_scalar(left.of) and left.of_entry is None:
            kind = "jacobian"
        if kind == "gradient" and not is_scalar(left.of):
            kind = "jacobian"
        indices = tuple(i.symbol for i in self.scope.indices.values())
        if left.of_entry is None and left.wrt_entry is None:
            return self._whole(left, kind, values)
        return self._by_entries(left, kind, values, indices)

    def _whole(self, left: Left, kind: Kind, values: list[Val]) -> Claim:
        """A claim about the whole derivative."""
        links: list[Expr] = []
        for v in values:
            if v.axes is not None or has_index(v.expr):
                return self._over_axes(left, kind, values)
            links.append(v.expr)
        if not self.free:
            for v in values:
                self._check(left, kind, v)
        return self._finished(left, kind, tuple(links), (), None, None)

    def _check(self, left: Left, kind: Kind, v: Val) -> None:
        """The shape of a right side must be one that the derivative can have."""
        wanted = _shapes(left, kind)
        if v.expr.is_zero and v.is_scalar:
            return
        for w in wanted:
            if len(w) == len(v.shape) and all(fits(p, q) for p, q in zip(w, v.shape, strict=True)):
                return
        self._misfit(f"the derivative is {shape_text(wanted[0])}, and the right side is {v.text}")

    def _misfit(self, message: str) -> NoReturn:
        """The sizes of the two sides differ."""
        at = self.right_at
        before = self.text[:at]
        raise ShapeError(
            message, source=self.text, line=before.count("\n") + 1, column=at - (before.rfind("\n") + 1) + 1
        )

    def _over_axes(self, left: Left, kind: Kind, values: list[Val]) -> Claim:
        """A vector or matrix that has no matrix form: entry by entry."""
        shape = _shapes(left, kind)[0]
        if len(shape) != 2 or any(v.shape != shape for v in values) or kind == "hessian":
            fail_at(UnsupportedError, "this right side has no matrix form", self.text, 0)
        names = iter([c for c in "ijklpqrs" if c not in self.scope.sizes and c not in self.scope.names])
        axes = tuple(S.Zero if s == 1 else index_symbol(next(names)) for s in shape)
        links = tuple(entry(v, axes[0], axes[1]) for v in values)
        indices = tuple(a for a in axes if isinstance(a, Symbol))
        if kind == "jacobian":
            return self._finished(left, kind, links, indices, (axes[0],), (axes[1],))
        return self._finished(left, kind, links, indices, None, indices)

    def _by_entries(self, left: Left, kind: Kind, values: list[Val], indices: tuple[Symbol, ...]) -> Claim:
        """A claim about entries: in matrix form where all of them together have one."""
        rows = _positions(left, kind, is_of=True)
        cols = _positions(left, kind, is_of=False)
        places = rows + cols if kind == "jacobian" else cols
        used = {p for p in places if isinstance(p, Symbol)}
        values = [self._over_rest(v, left) for v in values]
        loose = {s for v in values for s in _free(v.expr)} - used - set(left.wrt_axes)
        if loose:
            fail_at(NameUnknownError, f"the index {sorted(map(str, loose))[0]} stands on the right side alone", self.text, 0,
                    "sum over it, or name it on the left side")  # fmt: skip
        whole = self._as_matrix(left, kind, values, places)
        if whole is not None:
            return self._finished(left, kind, whole, (), None, None)
        order = tuple(dict.fromkeys(p for p in (*places, *left.wrt_axes) if isinstance(p, Symbol)))
        links = tuple(v.expr for v in values)
        return self._finished(left, kind, links, order, left.of_entry, _with_axes(left))

    def _over_rest(self, v: Val, left: Left) -> Val:
        """A row or column claim: the right side by the entry along the rest of the axis."""
        if not left.wrt_axes:
            if not v.is_scalar:
                self._misfit(f"the left side is an entry, and the right side is {v.text}")
            return v
        if v.is_scalar:
            if v.expr.is_zero:
                return v
            self._misfit("the left side is a vector, and the right side a scalar")
        (axis,) = left.wrt_axes
        if v.shape[1] == 1:
            return Val(entry(v, axis, S.Zero))
        return Val(entry(v, S.Zero, axis))

    def _as_matrix(
        self, left: Left, kind: Kind, values: list[Val], places: tuple[Expr, ...]
    ) -> tuple[Expr, ...] | None:
        """The links as matrices over the indices of the left side."""
        if self.free:
            return None
        entries = _with_axes(left) if kind != "jacobian" else places
        if (
            entries is None
            or any(not isinstance(p, Symbol) for p in entries)
            or len(set(entries)) != len(entries)
        ):
            return None
        shape = _shapes(left, kind)[0]
        axes = (*entries, S.Zero) if len(entries) == 1 else tuple(entries)
        if len(axes) != 2 or len(shape) != 2:
            return None
        whole = []
        for v in values:
            m = lifted(Val(v.expr, shape, (axes[0], axes[1])))
            if m.axes is not None or has_index(m.expr):
                return None
            whole.append(m.expr)
        return tuple(whole)

    def _finished(
        self, left: Left, kind: Kind, links: tuple[Expr, ...], indices: tuple[Symbol, ...], of_entry: Entry | None,
        wrt_entry: Entry | None,
    ) -> Claim:  # fmt: skip
        links = tuple(_renamed(e, indices, self.scope) for e in links)
        open_sizes = {d for e in links for d in e.atoms(sympy.Dummy)} & set(self.scope.opened.values())
        if open_sizes and not self.free:
            fail_at(ShapeError, "the size of an identity or a vector of ones is not known", self.text, 0,
                    "write I_n or \\mathbf{1}_n")  # fmt: skip
        shown = _left_shown(left, kind, of_entry, wrt_entry) + "".join(
            f" = {in_text_language(e)}" for e in links
        )
        for note in self.scope.notes:
            shown += f"  # {note}"
        return Claim(
            self._extended(links), links, kind, left.of, left.wrt, self.setting.context.layout, indices, of_entry, wrt_entry,
            read_as=shown,
        )  # fmt: skip

    def _extended(self, links: tuple[Expr, ...]):  # type: ignore[no-untyped-def]
        """The model with the names that only the claim uses."""
        model = self.setting.model
        more = {leaf_name(leaf): leaf for e in links for leaf in leaves(e) if not has_index(leaf)}
        return replace(model, symbols={**more, **model.symbols})


def _is_nabla(node: Node) -> bool:
    return node.kind == "nabla" or (node.kind == "scripted" and node.parts[0].kind == "nabla")


def _without_square(node: Node) -> Node:
    """The x of dx^2."""
    if node.kind != "scripted" or [p.text for s in node.parts[-1:] for p in s.parts[0].parts] != ["2"]:
        return node
    return replace(node, parts=node.parts[:-1]) if len(node.parts) > 2 else node.parts[0]


def _head(fraction: Node) -> Node:
    inner = fraction.parts[0].parts[0]
    return inner.parts[0] if inner.kind == "term" else inner


def _entry_of(value: Val) -> tuple[Expr, Entry | None, tuple[Expr, ...]]:
    """The array that a value is an entry, a row or a column of, and its place; the index along the rest."""
    e = value.expr
    from sympy.matrices.expressions.transpose import Transpose

    if isinstance(e, MatrixElement):
        m, i, j = e.args
        if value.axes is None:
            return m, ((i,) if m.shape[1] == 1 else (i, j)), ()
        along = value.axes[0]
        return m, tuple(None if p == along else p for p in (i, j)), (along,)
    if isinstance(e, Transpose):
        return e.arg, None, ()
    return e, None, ()


def _with_axes(left: Left) -> Entry | None:
    """The entry of the variable with an index for the whole range."""
    if left.wrt_entry is None:
        return None
    rest = iter(left.wrt_axes)
    return tuple(next(rest) if p is None else p for p in left.wrt_entry)


def _positions(left: Left, kind: Kind, *, is_of: bool) -> tuple[Expr, ...]:
    found = left.of_entry if is_of else _with_axes(left)
    return tuple(p for p in (found or ()) if p is not None)


def _free(e: Expr) -> Iterator[Symbol]:
    for s in e.free_symbols:
        if isinstance(s, Symbol) and s.is_nonnegative and s.is_integer and not s.is_positive:
            yield s


def _shapes(left: Left, kind: Kind) -> list[tuple[Expr, ...]]:
    """The shapes that the derivative has in the standard layouts."""
    of, wrt = (tuple(e.shape) if is_matrix(e) else () for e in (left.of, left.wrt))
    if kind == "differential":
        return [of]
    if kind == "gradient":
        return [wrt, wrt[::-1]] if wrt else [()]
    rows = sympy.Mul(*of) if of else S.One
    cols = sympy.Mul(*wrt) if wrt else S.One
    if kind == "hessian":
        return [(cols, cols)] if wrt else [()]
    if not wrt:
        return [of, of[::-1]]
    return [(rows, cols), (cols, rows)]


def _renamed(e: Expr, indices: tuple[Symbol, ...], scope: Scope) -> Expr:
    """Indices that the reader made get letters."""
    made = sorted((s for s in e.atoms(Symbol) if str(s).startswith("_") and s not in indices), key=str)
    if not made:
        return e
    taken = (
        {str(s) for s in e.atoms(Symbol)} | set(scope.sizes) | set(scope.names) | {str(i) for i in indices}
    )
    letters = (c for c in [*"ijklrstuvabcpq", *(f"k{n}" for n in range(99))] if c not in taken)
    return e.xreplace({s: index_symbol(next(letters)) for s in made})


def _left_shown(left: Left, kind: Kind, of_entry: Entry | None, wrt_entry: Entry | None) -> str:
    def at(e: Expr, place: Entry | None) -> str:
        text = in_text_language(e)
        if place is None:
            return text
        return f"{text}[{', '.join(':' if p is None else str(p) for p in place)}]"

    of, wrt = at(left.of, of_entry), at(left.wrt, wrt_entry)
    if kind == "gradient":
        return f"d{of}/d{wrt}" if is_leaf(left.of) else f"d({of})/d{wrt}"
    return f"d({of})" if kind == "differential" else f"{kind}({of}, {wrt})"


_OPEN_DERIVATIVES = ((Jacobian, "jacobian"), (Gradient, "grad"), (ScalarGradient, "grad"))


def in_text_language(e: Expr) -> str:
    """The expression in the text language, as far as it can say it."""
    from symgrad.rendering import to_numpy

    calls = {
        d: MatrixSymbol(call, *d.shape) if is_matrix(d) else Symbol(call)
        for kind, word in _OPEN_DERIVATIVES
        for d in e.atoms(kind)
        if is_leaf(d.args[0]) and is_leaf(d.args[1])
        for call in (f"{word}({d.args[0]}, {d.args[1]})",)
    }
    try:
        return to_numpy(e.xreplace(calls))
    except (SymgradError, AttributeError, TypeError, ValueError):
        return str(e)
