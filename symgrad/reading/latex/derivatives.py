r"""Derivatives inside of a LaTeX formula, and names such as dW for a gradient."""

from __future__ import annotations

from collections.abc import Sequence

from sympy import Expr, S
from sympy.matrices.expressions.matexpr import MatrixElement
from sympy.matrices.expressions.transpose import Transpose

from symgrad.errors import (
    NameUnknownError,
    ReadError,
    ShapeError,
    UnsupportedError,
)
from symgrad.expr import (
    differential,
    gradient,
    is_leaf,
    is_matrix,
    is_scalar,
    jacobian,
)
from symgrad.reading.latex.marks import Marked, marked, stem_of
from symgrad.reading.latex.ranges import Ranges
from symgrad.reading.latex.tree import Node
from symgrad.reading.latex.values import (
    Val,
    entry_of,
    turned,
    untransposed,
    val,
)
from symgrad.reading.latex.writing import (
    factors_of,
    is_d,
    term_of,
)

__all__ = ["Derivatives"]


class Derivatives(Ranges):
    """Derivatives inside of a LaTeX formula, and names such as dW for a gradient."""

    def _slashed_derivative(self, parts: list[Node], k: int) -> tuple[Val, int] | None:
        r"""\partial L / \partial z."""
        if not is_d(parts[k]):
            return None
        if parts[k].kind == "letter" and parts[k].mark != "mathrm" and "d" in self.scope.names:
            return None
        try:
            slash = next(i for i in range(k + 1, len(parts)) if parts[i].kind == "op")
        except StopIteration:
            return None
        if parts[slash].text != "SLASH" or slash + 2 > len(parts) - 1 or not is_d(parts[slash + 1]):
            return None
        above = parts[k + 1 : slash]
        if not above or (parts[k].kind == "letter" and len(above) > 1):
            return None
        below = parts[slash + 2 : slash + 3]
        return self.derivative(above, [list(below)], parts[k]), slash + 3 - k

    def _increment(self, parts: list[Node], k: int) -> tuple[Val, int] | None:
        r"""dW, \mathrm{d}W next to one another: a name, or a declared gradient."""
        part = parts[k]
        if part.kind != "letter" or part.text != "d" or k + 1 >= len(parts):
            return None
        following = parts[k + 1]
        upright = part.mark == "mathrm"
        if not upright and following.at != part.end:
            return None
        m = marked(following)
        stem = stem_of(m.base)
        if stem is None or ("d" in self.scope.names and not upright and f"d{stem}" not in self.scope.names):
            return None
        if self.scope.differential:
            inside, left = self.scope.symbol(m)
            if is_leaf(untransposed(inside.expr)):
                return self._with_superscripts(
                    self.scope.oriented(differential(untransposed(inside.expr))), left, following
                ), 2
        value = self.increment(m, part)
        if value is None:
            named = self._gradient_by_name(m, part)
            if named is not None:
                return self._with_superscripts(named[0], named[1], following), 2
            if upright:
                self.fail(NameUnknownError, f"d{self.shown(following)} is not known", part)
            return None
        found, left = value
        return self._with_superscripts(found, left, following), 2

    def _gradient_by_name(self, m: Marked, part: Node) -> tuple[Val, tuple[Node, ...]] | None:
        """DP in a formula for dS: the gradient by P; refused where d times P would do as well."""
        scope = self.scope
        try:
            inside, left = scope.symbol(m)
        except (NameUnknownError, ShapeError):
            return None
        if not is_leaf(untransposed(inside.expr)):
            return None
        of = scope.increments_of
        if of is not None and is_scalar(of):
            return scope.oriented(gradient(of, untransposed(inside.expr))), left
        if "d" in scope.names or "d" in scope.sizes:
            self.fail(
                ReadError,
                f"d{self.shown(m.node)} can be a name, or d times {self.shown(m.node)}",
                part,
                "put a space or \\cdot between factors, or say in the symbols what it is",
            )
        return None

    def increment(self, m: Marked, part: Node) -> tuple[Val, tuple[Node, ...]] | None:
        """The name d.. if there is one, or the gradient that the notes call so."""
        stem = stem_of(m.base) or ""
        joined = Node("word", (), part.at, m.base.end, f"d{stem}")
        named = Marked(joined, m.subs, m.sups, Node("term", (), part.at, m.node.end), m.primes)
        try:
            return self.scope.symbol(named)
        except NameUnknownError:
            pass
        try:
            inside, left = self.scope.symbol(m)
        except NameUnknownError:
            return None
        if is_leaf(inside.expr):
            known = self._known_gradient(inside.expr)
            if known is not None:
                return self.scope.oriented(known), left
        return None

    def _known_gradient(self, wrt: Expr) -> Expr | None:
        """What the notes call the gradient by a name, where they say of what."""
        found = [v for of, x, v in self.scope.derivatives if x == wrt]
        return found[-1] if found else None

    def _gradient_sign(self, part: Node, following: list[Node]) -> tuple[Val, int]:
        subs = [s.parts[0] for s in part.parts[1:] if s.kind == "sub"] if part.kind == "scripted" else []
        if not following or not subs:
            self.fail(ReadError, "a gradient without what it is of, or by", part, "write \\nabla_x f")
        used = 1 + (len(following) > 1 and following[1].kind == "paren" and following[1].text == "(")
        self.scope.any_layer = True
        try:
            return self.derivative(following[:used], [list(factors_of(subs[0]))], part), 1 + used
        finally:
            self.scope.any_layer = False

    def derivative(self, above: Sequence[Node], below: Sequence[Sequence[Node]], node: Node) -> Val:
        """A derivative inside a formula: the name that the notes gave it, or a derivative that is not worked out."""
        if len(below) != 1:
            self.fail(UnsupportedError, "a second derivative inside a formula is not read", node)
        if len(above) == 1 and self.is_bare_function(above[0]):
            at = below[0][0].at, below[0][-1].end
            above = [
                above[0],
                Node("paren", (self.argument_of(above[0], term_of(list(below[0]))),), *at, "("),
            ]
        of = self.quantity(list(above), node)
        wrt = self.quantity(list(below[0]), node)
        named = self._named_derivative(of, wrt)
        if named is not None:
            return named
        return self._open_derivative(of, wrt, node)

    def quantity(self, parts: list[Node], node: Node) -> Val:
        """What is differentiated, or by what; an expression that the model defines is its name."""
        if (
            len(parts) == 1
            and parts[0].kind == "paren"
            and parts[0].text in "([{"
            and len(parts[0].parts) == 1
        ):
            parts = [parts[0].parts[0]]
        tree = parts[0] if len(parts) == 1 else term_of(parts)
        value = self.read(tree)
        if value.axes is None and not is_leaf(value.expr) and not isinstance(value.expr, MatrixElement):
            symbol = self.symbol_of(value.expr)
            if symbol is not None:
                return self.scope.oriented(symbol)
        return value

    def _named_derivative(self, of: Val, wrt: Val) -> Val | None:
        for f, x, g in self.scope.derivatives:
            if f not in (of.expr, S.NaN):
                continue
            if x == untransposed(wrt.expr) and isinstance(wrt.expr, Transpose) and not self.scope.rows:
                return turned(val(g))
            if x == untransposed(wrt.expr):
                if is_matrix(g) and g.shape[1] == 1 and is_scalar(f):
                    if self.scope.choose(("layout", 0), 3, last_resort=True) == 1:
                        return turned(val(g))
                return self.scope.oriented(g)
            if isinstance(wrt.expr, MatrixElement) and wrt.expr.args[0] == x:
                return Val(entry_of(g, *wrt.expr.args[1:]), wrt.shape, wrt.axes)
        return None

    def _open_derivative(self, of: Val, wrt: Val, node: Node) -> Val:
        f, x = untransposed(of.expr), untransposed(wrt.expr)
        x_entry = x.args[1:] if isinstance(x, MatrixElement) else None
        f_entry = f.args[1:] if isinstance(f, MatrixElement) else None
        x, f = (e.args[0] if isinstance(e, MatrixElement) else e for e in (x, f))
        if is_leaf(x) and is_scalar(f) and not of.axes and wrt.axes and x_entry is not None:
            k = next(a for a in wrt.axes if not a.is_Number)  # by a row or column: a column
            return Val(
                entry_of(gradient(f, x), *x_entry), (max(wrt.shape, key=lambda n: n != 1), S.One), (k, S.Zero)
            )
        if of.axes or wrt.axes or not is_leaf(x):
            self.fail(UnsupportedError, "this derivative inside a formula is not read", node)
        above, below = (isinstance(v.expr, Transpose) and not self.scope.rows for v in (of, wrt))
        if is_scalar(f):
            g = gradient(f, x)
            if below and x_entry is None:
                return turned(val(g))  # by x^T: a row
            if x_entry is not None:
                return Val(entry_of(g, *x_entry))
            if is_scalar(x):
                return Val(g)
            if x.shape[1] == 1 and self.scope.choose(("layout", 0), 3, last_resort=True) == 1:
                return turned(val(g))
            return turned(val(g)) if self.scope.rows and x.shape[1] == 1 else val(g)
        if (
            f_entry is not None
            and x_entry is not None
            and f.shape[1] == 1
            and is_matrix(x)
            and x.shape[1] != 1
        ):
            return Val(entry_of(gradient(MatrixElement(f, *f_entry), x), *x_entry))
        if any(s.shape[1] != 1 for s in (f, x) if is_matrix(s)):
            self.fail(UnsupportedError, "a derivative of or by a matrix inside a formula is not read", node)
        j = jacobian(f, x)
        if x_entry is not None or f_entry is not None:
            if (x_entry is None and is_matrix(x)) or f_entry is None:
                self.fail(UnsupportedError, "this derivative inside a formula is not read", node)
            return Val(MatrixElement(j, f_entry[0], x_entry[0] if x_entry is not None else S.Zero))
        if above != below:
            return val(j) if below else turned(val(j))
        return turned(val(j)) if self.scope.choose(("layout", 0), 3, last_resort=True) == 2 else val(j)
