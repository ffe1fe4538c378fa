r"""The left side of a claim in LaTeX: of what, by what, and which entries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from sympy import Expr, S
from sympy.matrices.expressions.matexpr import MatrixElement
from sympy.matrices.expressions.transpose import Transpose

from symgrad.errors import NameUnknownError, ReadError, ShapeError, SymgradError, UnsupportedError
from symgrad.expr import (
    Definition,
    differential,
    gradient,
    is_leaf,
    is_matrix,
    is_scalar,
    leaf_name,
    leaves,
    matrix,
    scalar,
    shape_of,
)
from symgrad.reading.claim import Entry, Kind, Layout, names_a_hessian
from symgrad.reading.latex.marks import Marked, marked, stem_of
from symgrad.reading.latex.operators import (
    is_nabla,
    is_squared,
    sign_of,
    two_variables,
    under_vec,
    unscripted,
    without_square,
)
from symgrad.reading.latex.places import Unbound
from symgrad.reading.latex.scope import Scope
from symgrad.reading.latex.setting import Setting
from symgrad.reading.latex.tokens import fail_at
from symgrad.reading.latex.tree import Node, walk_nodes
from symgrad.reading.latex.values import Val, has_index, lifted
from symgrad.reading.latex.writing import derivative_parts, order_in, order_of, second_order, term_of

__all__ = ["Left", "LeftSides", "entry_of_array"]


@dataclass(frozen=True)
class Left:
    """What a left side says."""

    kind: Kind | None
    of: Expr
    wrt: Expr
    of_entry: Entry | None = None
    wrt_entry: Entry | None = None
    wrt_axes: tuple[Expr, ...] = ()
    layout: Layout | None = None  # that the writing settles, as y by x^T does
    either: bool = False  # the writing allows both layouts, whatever was asked: f by x^T, D f
    first: Definition | None = None  # of a mixed second derivative: the gradient that is differentiated again
    before: tuple[Definition, ...] = ()  # of a higher order: the derivatives that are differentiated again
    total: tuple[
        Expr, ...
    ] = ()  # of a differential: the variables whose increments are on the right, if several
    assumed: bool = False  # the name on the left is new: the question says what it is


class LeftSides:
    """Reads left sides in one scope."""

    def __init__(self, scope: Scope, setting: Setting, text: str) -> None:
        self.scope, self.setting, self.text = scope, setting, text
        self.meaning = setting.meaning(scope)
        self.statement: Node | None = None  # what is read as a claim

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
        left = self.derivative_side(sides[0]) or self._differential_of(sides)
        if left is not None:
            return left, sides[1:]
        if len(sides) > 2:
            named = self.derivative_side(sides[1])
            if named is not None and stem_of(marked(sides[0]).base) is not None:
                return named, sides[2:]
        if self._states_a_result(sides):
            return None, sides
        named = self._named_side(sides[0])
        if named is not None and named.kind == "differential":
            named = self._with_increments(named, sides[1:])
        return named, sides[1:]

    def _states_a_result(self, sides: list[Node]) -> bool:
        r"""G = -\partial E/\partial \beta = ..: a name that is known, and a side that holds a derivative."""
        m = marked(sides[0])
        if stem_of(m.base) is None or len(sides) < 3:
            return False
        try:
            value, left = self.scope.symbol(m)
        except (NameUnknownError, ShapeError, Unbound):
            return False
        e, _, _ = entry_of_array(value)
        holds = any(n.kind in ("partial", "nabla") for n in walk_nodes(sides[1]))
        return holds and not left and self.setting.signal_of(e) is None

    def derivative_side(self, side: Node) -> Left | None:
        r"""\frac{\partial f}{\partial x}, \nabla_x f, \partial f/\partial x, \frac{d}{dx} f, D f."""
        parts = list(side.parts) if side.kind == "term" else [side]
        if len(parts) > 1 and self._at_itself(parts[-1]):
            parts = parts[:-1]
        first = parts[0]
        if len(parts) == 1 and (entry_left := self._entry_of_derivative(first)) is not None:
            return entry_left
        if (found := self._primed(parts, side) or self._by_subscripts(parts, side)) is not None:
            return found
        if (found := self._by_operator(parts, side)) is not None:
            return found
        if (fraction := derivative_parts(first)) is not None:
            above: Sequence[Node] = fraction[0] or parts[1:]
            variables = fraction[1]
            if fraction[0] and len(parts) > 1:
                return None
            if not above:
                return None
            if order_of(sign_of(first)) > 2:
                return self._of_order(order_of(sign_of(first)), above, variables, first)
            hessian = len(variables) == 2
            if len(variables) > 2:
                fail_at(UnsupportedError, "a derivative of third order is not read", self.text, first.at)
            twice = second_order(sign_of(first))
            if twice != (hessian or (twice and is_squared(variables[0][-1]))):
                fail_at(
                    ReadError, "the order above the fraction and below it differ", self.text, first.at,
                    "write \\partial^2 f / \\partial x \\partial y",
                )  # fmt: skip
            if hessian:
                return self._second(above, variables, side)
            if twice:
                square = [*variables[0][:-1], without_square(variables[0][-1])]
                return self._second(above, [square, square], side)
            return self._derivative(above, variables[0], hessian, side)
        head = first.parts[0] if first.kind == "scripted" else first
        if head.kind == "nabla" and len(parts) > 1:
            subs = (
                [s.parts[0] for s in first.parts[1:] if s.kind == "sub"] if first.kind == "scripted" else []
            )
            hessian = second_order(first)
            if is_nabla(parts[1]):
                hessian, parts = True, parts[1:]
            below = list(subs[0].parts) if subs else []
            if len(parts) > 1 and hessian and len(pair := two_variables(below)) == 2:
                return self._second(parts[1:], [[v] for v in pair], side)
            if (
                len(parts) > 1
            ):  # the gradient has the shape of its variable, also where Jacobians are in numerator layout
                left = self._derivative(parts[1:], below, hessian, side)
                return replace(left, either=left.either or self.setting.context.layout == "numerator")
        if head.kind == "partial" or (head.kind == "letter" and head.text == "d" and len(parts) > 3):
            slash = next((i for i, p in enumerate(parts) if p.kind == "op" and p.text == "SLASH"), None)
            if slash is not None and len(parts) > slash + 2:
                below_head = parts[slash + 1]
                if below_head.kind == "partial" or below_head.text == "d":
                    return self._derivative(parts[1:slash], parts[slash + 2 :], False, side)
        return None

    def _entry_of_derivative(self, side: Node) -> Left | None:
        r"""(\nabla_x f)_i: an entry of a gradient."""
        if side.kind != "scripted" or side.parts[0].kind != "paren" or len(side.parts[0].parts) != 1:
            return None
        left = self.derivative_side(side.parts[0].parts[0])
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
        if len(above) == 1 and below and meaning.is_bare_function(above[0]):
            argument = meaning.argument_of(above[0], term_of(list(below)))
            bracket = Node("paren", (argument,), below[0].at, below[-1].end, "(")
            above = [above[0], bracket]  # d sigma / dx
        if (inside := under_vec(below)) is not None:
            return self._of_stacks(above, *inside, node)
        of = meaning.quantity(list(above), node)
        if not below:
            wrt = self._only_variable(list(above), node)
        else:
            tree = below[0] if len(below) == 1 else Node("term", tuple(below), below[0].at, below[-1].end)
            wrt = meaning.quantity([tree], node)
        f, f_entry, _ = entry_of_array(of)
        if f_entry is None and (indexed := self._lifted_of(of)) is not None:
            f, f_entry = indexed
        x, x_entry, axes = entry_of_array(wrt)
        if not is_leaf(x):
            fail_at(
                ReadError,
                f"a derivative is taken by a name, not by {meaning.shown(node)}",
                self.text,
                node.at,
            )
        kind: Kind | None = "hessian" if hessian else None
        either = of.is_scalar and isinstance(wrt.expr, Transpose) and not self.scope.rows
        return Left(kind, f, x, f_entry, x_entry, axes, self._written_layout(of, wrt), either)

    def _of_stacks(self, above: Sequence[Node], x: Node, turned_below: bool, node: Node) -> Left:
        r"""\frac{\partial \operatorname{vec} F}{\partial (\operatorname{vec} X)^\top}: the Jacobian of stacked columns."""
        inside = under_vec(above)
        of = self.meaning.quantity(list(above) if inside is None else [inside[0]], node)
        wrt = self.meaning.quantity([x], node)
        if of.is_scalar or of.axes is not None or wrt.axes is not None or not is_leaf(wrt.expr):
            fail_at(UnsupportedError, "this derivative by a stacked matrix is not read", self.text, node.at)
        turned_above = inside is not None and inside[1]
        layout: Layout | None = None
        if turned_above != turned_below:
            layout = "numerator" if turned_below else "gradient"
        return Left("jacobian", of.expr, wrt.expr, layout=layout)

    def _written_layout(self, of: Val, wrt: Val) -> Layout | None:
        r"""The layout that is written: \partial y/\partial x^T has the rows of y, \partial y^T/\partial x those of x."""
        if self.scope.rows or of.is_scalar or wrt.is_scalar:
            return None
        above, below = (isinstance(v.expr, Transpose) for v in (of, wrt))
        return None if above == below else "numerator" if below else "gradient"

    def _scalar_name(self, m: Marked) -> Expr | None:
        """The defined scalar that a symbol without its primes names."""
        try:
            value, left = self.scope.symbol(Marked(m.base, m.subs, m.sups, m.node))
        except (NameUnknownError, ShapeError, Unbound):
            return None
        e = value.expr
        return e if not left and value.is_scalar and self.setting.is_defined(e) else None

    def _primed(self, parts: Sequence[Node], side: Node) -> Left | None:
        r"""f'(x), y'': derivatives of a scalar by a scalar."""
        m = marked(parts[0])
        order = m.primes or next((n for i in m.sups if (n := order_in(i)) is not None), 0)
        if not 0 < order < 10 or stem_of(m.base) is None or len(parts) > 2:
            return None
        f = self._scalar_name(m if m.primes else Marked(m.base, m.subs, (), m.node))
        if f is None:
            return None
        x = self.setting.wrt
        if len(parts) == 2:
            bracket = parts[1]
            if bracket.kind != "paren" or len(bracket.parts) != 1:
                return None
            x = self.meaning.read(bracket.parts[0]).expr
        if x is None or not is_leaf(x) or not is_scalar(x) or not self.setting.depends_on(f, x):
            return None
        if not m.primes and (len(m.sups) > 1 or len(parts) < 2 or self.setting.layer_numbers()):
            return None  # the mark of a layer
        return self._repeated(f, [x] * order) if order > 2 else Left("hessian" if order == 2 else None, f, x)

    def _repeated(self, f: Expr, by: Sequence[Expr]) -> Left:
        """A derivative of higher order of a scalar by scalars: all but the last derivative are names."""
        taken = {*self.setting.model.symbols, *self.setting.names}
        before: list[Definition] = []
        for n, x in enumerate(by[:-1], 1):
            name = f"d{n}{leaf_name(f) if is_leaf(f) and n == 1 else 'f'}"
            while name in taken:
                name += "_"
            before.append(Definition(scalar(name), gradient(before[-1].symbol if before else f, x)))
        self.scope.note(f"{before[-1].symbol} is the derivative of order {len(before)}")
        return Left(None, before[-1].symbol, by[-1], before=tuple(before))

    def _of_order(
        self, order: int, above: Sequence[Node], variables: Sequence[Sequence[Node]], node: Node
    ) -> Left:
        r"""\frac{d^3 f}{dx^3}, \frac{\partial^3 f}{\partial x^2 \partial y}: of a scalar by scalars."""
        lefts: list[Left] = []
        for v in variables:
            times = order_of(v[-1]) if len(v) == 1 else 1
            lefts += [self._derivative(above, [unscripted(v[-1])] if times > 1 else v, False, node)] * times
        if len(lefts) != order:
            fail_at(ReadError, "the order above the fraction and below it differ", self.text, node.at)
        f = lefts[0].of
        if not is_scalar(f) or any(not is_scalar(x.wrt) or x.of_entry or x.wrt_entry for x in lefts):
            fail_at(
                UnsupportedError, "a derivative of third order is read of scalars by scalars only", self.text,
                node.at, "name the second derivative, and write the derivative of that",
            )  # fmt: skip
        return self._repeated(f, [x.wrt for x in lefts])

    def _by_subscripts(self, parts: Sequence[Node], side: Node) -> Left | None:
        r"""f_x, f_{xy}: partial derivatives, where f is defined by x and y and has no other name f_x."""
        m = marked(parts[0])
        if len(parts) != 1 or stem_of(m.base) is None or len(m.subs) not in (1, 2) or m.sups or m.primes:
            return None
        f = self._scalar_name(Marked(m.base, (), (), m.node))
        if f is None or any(
            stem_of(a.symbol.base) == stem_of(m.base) and a.symbol.subs for a in self.scope.aliases
        ):
            return None
        found = [self.scope.names.get(stem_of(marked(v).base) or "") for v in m.subs]
        if not all(isinstance(x, Expr) and is_leaf(x) and self.setting.depends_on(f, x) for x in found):
            return None
        if len(m.subs) == 2:
            return self._second([m.base], [[v] for v in m.subs], side)
        return self._derivative([m.base], m.subs, False, side)

    def _by_operator(self, parts: Sequence[Node], side: Node) -> Left | None:
        r"""D f, D_x f, J_f(x), \partial_x f, \partial_{xy} f; D f(x)[h] along a direction."""
        first = parts[0]
        m = marked(first)
        if m.base.kind == "partial" and m.subs and not m.sups and len(parts) > 1:
            if len(m.subs) == 2:
                return self._second(parts[1:], [[v] for v in m.subs], side)
            return self._derivative(parts[1:], m.subs, False, side) if len(m.subs) == 1 else None
        stem = stem_of(m.base)
        if stem not in ("D", "J") or stem in self.scope.names or m.sups or m.primes or len(m.subs) > 1:
            return None
        if stem == "D" and len(parts) > 1:
            last = parts[-1]
            if not m.subs and len(parts) > 2 and last.kind == "paren" and last.text == "[":
                return self._directional(list(parts[1:-1]), last, side)
            left = self._derivative(parts[1:], m.subs, False, side)
        elif stem == "J" and m.subs:
            left = self._derivative([*m.subs, *parts[1:]], [], False, side)
        else:
            return None
        if is_scalar(left.of) or is_scalar(left.wrt):
            return replace(left, either=True)
        return replace(left, layout="numerator")

    def _directional(self, above: list[Node], bracket: Node, side: Node) -> Left | None:
        r"""D f(x)[h]: the differential of f for the increment h of x."""
        left = self._derivative(above, [], False, side)
        stem = stem_of(marked(bracket.parts[0]).base) if len(bracket.parts) == 1 else None
        if stem is None or left.of_entry is not None or left.wrt_entry is not None:
            return None
        known = self.scope.names.get(stem)
        if isinstance(known, Expr) and (
            self.setting.is_defined(known) or shape_of(known) != shape_of(left.wrt)
        ):
            fail_at(ReadError, f"{stem} is no direction for {leaf_name(left.wrt)}", self.text, bracket.at,
                    "a direction has the shape of the variable, and no definition")  # fmt: skip
        self.scope.names = {**self.scope.names, stem: differential(left.wrt)}
        return Left("differential", left.of, left.wrt)

    def _differential_of(self, sides: Sequence[Node]) -> Left | None:
        r"""d(X^{-1}), d\log\det X, \mathrm{d}\operatorname{tr}(AX): the differential of a formula."""
        parts = list(sides[0].parts) if sides[0].kind == "term" else []
        if len(parts) < 2 or parts[0].kind != "letter" or parts[0].text != "d" or "d" in self.scope.names:
            return None
        upright = parts[0].mark == "mathrm"
        if not upright and "d" in self.scope.sizes and not self._increments(sides[1:]):
            return None
        if len(parts) == 2 and stem_of(marked(parts[1]).base) is not None:
            try:
                _, left = self.scope.symbol(marked(parts[1]))
            except (NameUnknownError, ShapeError, Unbound):
                return None
            if not left:
                return None  # dX is a name, or the gradient by X
        of = lifted(self.meaning.quantity(parts[1:], sides[0]))
        if of.axes is not None or has_index(of.expr):
            fail_at(UnsupportedError, "the differential of this formula is not read", self.text, parts[1].at)
        wrt = self.setting.wrt
        if wrt is None or not (wrt in leaves(of.expr) or self.setting.depends_on(of.expr, wrt)):
            wrt = next(iter(self._increments(sides[1:])), None)
        if wrt is None:
            fail_at(ReadError, "a differential by what?", self.text, sides[0].at, "the right side has no dX")
        self.scope.differential = True
        return self._with_increments(Left("differential", of.expr, wrt), sides[1:])

    def _with_increments(self, left: Left, sides: Sequence[Node]) -> Left:
        """A differential with the variables whose increments stand on the right."""
        found = self._increments(sides)
        if len(found) == 1:
            return replace(left, wrt=found[0])
        return replace(left, total=tuple(found)) if len(found) > 1 else left

    def _increments(self, sides: Sequence[Node]) -> list[Expr]:
        """The variables x of every dx."""
        found: list[Expr] = []
        for side in sides:
            for n in walk_nodes(side):
                for d, x in pairwise(n.parts) if n.kind in ("term", "group") else ():
                    if d.kind != "letter" or d.text != "d" or (d.mark != "mathrm" and x.at != d.end):
                        continue
                    stem = stem_of(marked(x).base)
                    try:
                        e = self.scope.symbol(marked(x))[0].expr if stem is not None else S.Zero
                    except (NameUnknownError, ShapeError, Unbound):
                        continue
                    e = e.arg if isinstance(e, Transpose) else e
                    if is_leaf(e) and e not in found:
                        found.append(e)
        return found

    def _at_itself(self, bar: Node) -> bool:
        r"""|_x: a derivative by x is taken at x anyway."""
        if bar.kind != "scripted" or bar.parts[0].kind != "eval" or len(bar.parts) != 2:
            return False
        inside = bar.parts[1].parts[0].parts
        stem = stem_of(marked(inside[0]).base) if len(inside) == 1 else None
        known = self.scope.names.get(stem or "")
        return isinstance(known, Expr) and not self.setting.is_defined(known)

    def _second(self, above: Sequence[Node], variables: Sequence[Sequence[Node]], node: Node) -> Left:
        r"""\frac{\partial^2 f}{\partial x \partial y}: the derivative by y of the gradient by x."""
        by_x, by_y = (self._derivative(above, v, False, node) for v in variables)
        f, x, y = by_x.of, by_x.wrt, by_y.wrt
        if not is_scalar(f) or by_x.of_entry is not None:
            fail_at(UnsupportedError, "a second derivative of an array is not read", self.text, node.at)
        if by_x.wrt_axes or by_y.wrt_axes or (by_x.wrt_entry is None) != (by_y.wrt_entry is None):
            if not (is_scalar(x) or is_scalar(y)) or by_x.wrt_axes or by_y.wrt_axes:
                fail_at(UnsupportedError, "this second derivative is not read", self.text, node.at)
        if x == y and by_x.wrt_entry is None:
            return Left("hessian", f, x)
        taken = {*self.setting.model.symbols, *self.setting.names}
        name = f"d{leaf_name(f) if is_leaf(f) else 'f'}d{leaf_name(x)}"
        while name in taken:
            name += "_"
        g = gradient(f, x)
        symbol = matrix(name, *g.shape) if is_matrix(g) else scalar(name)
        turned_below = isinstance(self.meaning.quantity(list(variables[1]), node).expr, Transpose)
        layout: Layout | None = "numerator" if turned_below and not self.scope.rows else None
        kind: Kind = "jacobian" if is_matrix(g) else "gradient"
        return Left(
            kind, symbol, y, by_x.wrt_entry, by_y.wrt_entry, layout=layout, first=Definition(symbol, g)
        )

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
        argument = self.setting.argument_of(marked(above[0])) if len(above) == 1 else None
        if argument is not None:  # the notes define g(x) = ..
            value = self.meaning.read(argument)
            if is_leaf(value.expr):
                return value
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
                place = self._new_entry(m)
                return Left(setting.context.kind, setting.target, setting.wrt, None, place, assumed=True)
            raise
        if left or m.primes:
            self.scope.may_bind = False
            return None
        e, places, _ = entry_of_array(value)
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
        x, x_entry, axes = entry_of_array(value)
        if not is_leaf(x):
            return None
        if x_entry is None and setting.is_defined(x) and setting.gradient_of(leaf_name(x)) is None:
            by = setting.wrt
            if setting.target is None and by is None and (by := self._only_increment()) is not None:
                self.scope.differential = True
                return Left("differential", x, by)
            if x == setting.target and by is not None and by != x:
                self.scope.differential = True
                return Left("differential", x, by)
        of = setting.target if setting.target is not None else setting.gradient_of(leaf_name(x))
        if of is None:
            return None
        self.scope.increments_of = of
        return Left(None, of, x, None, x_entry, axes)

    def _only_increment(self) -> Expr | None:
        """The one input whose increment stands in the formula: the x of dx."""
        found: set[Expr] = set()
        if self.statement is None:
            return None
        for term in (n for n in walk_nodes(self.statement) if n.kind == "term"):
            for d, name in pairwise(term.parts):
                if d.kind != "letter" or d.text != "d":
                    continue
                try:
                    value, _ = self.scope.symbol(marked(name))
                except (SymgradError, Unbound):
                    continue
                if is_leaf(value.expr) and not self.setting.is_defined(value.expr):
                    found.add(value.expr)
        return found.pop() if len(found) == 1 else None


def entry_of_array(value: Val) -> tuple[Expr, Entry | None, tuple[Expr, ...]]:
    """The array that a value is an entry, a row or a column of, and its place; the index along the rest."""
    e = value.expr
    if isinstance(e, MatrixElement):
        m, i, j = e.args
        if value.axes is None:
            return m, ((i,) if m.shape[1] == 1 else (i, j)), ()
        along = next(a for a in value.axes if not a.is_Number)
        return m, tuple(None if p == along else p for p in (i, j)), (along,)
    if isinstance(e, Transpose):
        return e.arg, None, ()
    return e, None, ()
