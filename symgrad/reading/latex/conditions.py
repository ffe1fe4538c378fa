r"""Conditions as numbers, 1[a > b], and terms that are repeated to the shape of others."""

from __future__ import annotations

from collections.abc import Callable

from sympy import KroneckerDelta, S

from symgrad.errors import (
    ReadError,
    ShapeError,
)
from symgrad.expr import (
    ones,
    same_size,
    shapes_are_free,
)
from symgrad.reading.latex.marks import marked
from symgrad.reading.latex.powers import Powers
from symgrad.reading.latex.tree import Node
from symgrad.reading.latex.values import (
    Val,
    applied,
    entry_of,
    is_entrywise,
    negative,
    plus,
    repeated,
    times,
    turned,
)

__all__ = ["Conditions"]


class Conditions(Powers):
    r"""Indicators of conditions, and how scalars, rows and columns spread over a matrix."""

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
