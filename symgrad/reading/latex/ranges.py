r"""Sums and products over indices in a LaTeX formula: their ranges, their bodies, and what they add up to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import sympy
from sympy import Expr, Integer, Mul, S, Sum
from sympy.matrices.expressions.matexpr import MatrixElement

from symgrad.errors import (
    NameUnknownError,
    ReadError,
    ShapeError,
    SymgradError,
    TooLargeError,
    UnsupportedError,
)
from symgrad.expr import (
    Convolve,
    Correlate,
    Family,
    MatrixSum,
    OrderedProduct,
    same_size,
    scale,
    shapes_are_free,
)
from symgrad.reading.latex.calls import Calls
from symgrad.reading.latex.marks import marked, stems
from symgrad.reading.latex.places import Index, Unbound
from symgrad.reading.latex.tree import Node, walk_nodes
from symgrad.reading.latex.values import (
    Val,
    entry,
    lifted,
    plus,
    times,
    val,
)
from symgrad.reading.latex.writing import (
    derivative_parts,
    term_of,
)

__all__ = ["Ranges"]


_MOST_TERMS, _MOST_WRITTEN = 24, 200


class Ranges(Calls):
    """Sums and products over indices in a LaTeX formula: their ranges, their bodies, and what they add up to."""

    def big(self, sign: Node, body: list[Node]) -> Val:
        """A sum or product over indices, with everything up to the next + or - as its body."""
        if not body:
            self.fail(ReadError, "a sum of nothing", sign)
        letters, lower, upper, conditions = self._range(sign)
        if conditions:
            body = [*(Node("where", (c,), sign.at, sign.end) for c in conditions), *body]
        kind = sign.parts[0].text if sign.kind == "scripted" else sign.text
        if not letters:
            self.fail(ReadError, "this sum has no index", sign, "write \\sum_{i=1}^{n}")
        tree = term_of(body)
        if lower is not None and upper is not None and len(letters) == 1:
            bounds = (self._bound(lower), self._bound(upper))
            if isinstance(bounds[0], Integer) and isinstance(bounds[1], Integer):
                return self._written_out(kind, letters[0], int(bounds[0]), int(bounds[1]), tree, sign)
            if self._marks_a_layer(letters[0], tree):
                ends = tuple(b or self.scope._layer(n) for b, n in zip(bounds, (lower, upper), strict=True))
                return self._over_layers(kind, letters[0], ends, tree, sign)  # from k = l + 1
        if kind == "sum" and len(letters) == 1 and self._open_range(lower, upper):
            layers = self._layers_of(letters[0], tree)
            if layers is not None:
                self.scope.note(f"{letters[0]} goes from {layers[0]} to {layers[-1]}")
                return self._written_out(kind, letters[0], layers[0], layers[-1], tree, sign)
        if conditions and kind != "sum":
            self.fail(UnsupportedError, "a product under a condition is not read", sign)
        if kind not in ("sum",):
            return self._product_over(kind, letters, lower, upper, tree, sign)
        return self._sum_over(letters, lower, upper, tree, sign)

    def _open_range(self, lower: Node | None, upper: Node | None) -> bool:
        """Whether a sum has no bounds, or goes from 1 to a letter that stands for nothing else."""
        if lower is None and upper is None:
            return True
        if lower is None or upper is None or lower.kind != "number" or upper.kind != "letter":
            return False
        return self._bound(upper) is None

    def _layers_of(self, letter: str, tree: Node) -> list[int] | None:
        """The layers at which every name of a body is known, where its index marks the layer; else None."""
        scope = self.scope
        if (
            letter in scope.layers
            or letter in scope.indices
            or not any(i.kind == "sup" or i.kind == "sub" for i in walk_nodes(tree))
        ):
            return None
        numbers = sorted(
            {int(d) for n in scope.names if (d := n[len(n.rstrip("0123456789")) :]) and len(d) < 3}
        )
        if not numbers or self._stands_at_an_axis(letter, tree):
            return None
        good = []
        for n in range(numbers[0], numbers[-1] + 2):
            scope.layers[letter] = n
            try:
                self.read(tree)
                good.append(n)
            except (SymgradError, Unbound):
                pass
            finally:
                del scope.layers[letter]
        if len(good) < 2 or good != list(range(good[0], good[-1] + 1)):
            return None
        return good

    def _stands_at_an_axis(self, letter: str, tree: Node) -> bool:
        """Whether the body can be read with the letter as an index."""
        scope = self.scope
        scope.indices[letter] = Index(scope.index_for(letter), kept=True)
        try:
            self.read(tree)
        except (SymgradError, Unbound):
            return False
        finally:
            del scope.indices[letter]
        return True

    def _where(self, node: Node) -> Val:
        """The condition under a sum sign: 1 where it holds, else 0."""
        return self.indicator(node.parts[0])

    def _range(self, sign: Node) -> tuple[list[str], Node | None, Node | None, list[Node]]:
        r"""Index letters, lower and upper bound of a sum sign, and conditions: i \ne j, i: y_i = k."""
        letters: list[str] = []
        conditions: list[Node] = []
        lower = upper = None
        for script in sign.parts[1:] if sign.kind == "scripted" else ():
            inside = script.parts[0].parts[0] if script.parts[0].parts else None
            if inside is None:
                continue
            if script.kind == "sup":
                upper = inside
                continue
            elements = list(inside.parts) if inside.kind in ("list",) else [inside]
            for element in elements:
                if element.kind == "chain" and len(element.parts) == 3 and element.parts[1].text == "=":
                    lower = element.parts[2]
                    element = element.parts[0]
                elif element.kind == "chain" and len(element.parts) == 5 and element.parts[1].text == "<=":
                    lower, upper = element.parts[0], element.parts[4]
                    element = element.parts[2]
                elif element.kind == "chain" and len(element.parts) == 3:
                    index, condition = self._condition_of(element, letters, sign)
                    conditions += [] if condition is None else [condition]
                    if index is None:
                        continue
                    element = index
                if element.kind == "letter":
                    letters.append(element.text)
                elif element.kind == "term" and all(p.kind == "letter" for p in element.parts):
                    letters += [p.text for p in element.parts]
                else:
                    self.fail(
                        UnsupportedError, "the range of this sum is not read", sign, "write \\sum_{i=1}^{n}"
                    )
        return letters, lower, upper, conditions

    def _condition_of(
        self, element: Node, letters: Sequence[str], sign: Node
    ) -> tuple[Node | None, Node | None]:
        """The index and the condition of what stands under a sum sign; no index where it was named before."""
        first, relation, last = element.parts
        head = first.parts if first.kind == "term" else ()
        if len(head) > 2 and head[0].kind == "letter" and head[1].kind == "colon":
            left = term_of(head[2:])
            return head[0], replace(element, parts=(left, relation, last))
        if relation.text == "in" and first.kind == "letter":
            self._whole_range(last, sign)
            return first, None
        if relation.text in ("!=", "<", ">", "<=", ">="):
            for index, other in ((first, last), (last, first)):
                if index.kind != "letter":
                    continue
                if index.text in letters:
                    return None, element
                if index.text not in self.scope.indices and index.text not in self.scope.layers:
                    if other.kind != "letter" or other.text in self.scope.indices or index is first:
                        return index, element
        self.fail(UnsupportedError, "the range of this sum is not read", sign, "write \\sum_{i=1}^{n}")

    def _whole_range(self, of: Node, sign: Node) -> None:
        r"""A batch B, or a set [n], that takes in all of an axis; any other set is not known."""
        bare = of.parts[0] if of.kind == "paren" and len(of.parts) == 1 else of
        if of.kind == "paren" and bare.kind in ("letter", "number") and self._bound(bare) is not None:
            return
        if of.kind == "letter" and of.mark in ("mathcal", "mathscr") and of.text not in self.scope.names:
            self.scope.note(f"{self.shown(of)} is read as all of them")
            return
        self.fail(UnsupportedError, "the range of this sum is not read", sign, "write \\sum_{i=1}^{n}")

    def _bound(self, node: Node) -> Expr | None:
        """A bound: a number, a size, sums of those; None if it is not known."""
        n = self.scope.number_in(node)
        if n is not None:
            return Integer(n)
        try:
            value = self.read(node)
        except (NameUnknownError, Unbound):
            return None
        return value.expr if value.is_scalar else None

    def _written_out(self, kind: str, letter: str, lower: int, upper: int, tree: Node, sign: Node) -> Val:
        """A sum between numbers, term by term."""
        if upper - lower > _MOST_TERMS:
            self.fail(TooLargeError, f"a sum of {upper - lower + 1} terms", sign)
        self.scope.written += max(upper - lower, 0)
        if self.scope.written > _MOST_WRITTEN:
            self.fail(TooLargeError, "sums that are too long to be written out", sign)
        numbers = range(lower, upper + 1)
        if upper < lower:
            backwards = kind == "prod" and self.scope.choose(("backwards", sign.at), 2, last_resort=True) == 1
            if not backwards:
                return Val(S.Zero if kind == "sum" else S.One)
            numbers, kind = range(lower, upper - 1, -1), "ordered"
        terms: list[Val] = []
        for n in numbers:
            before = self.scope.layers.get(letter)
            self.scope.layers[letter] = n
            try:
                terms.append(self.read(tree))
            finally:
                if before is None:
                    del self.scope.layers[letter]
                else:
                    self.scope.layers[letter] = before
        if kind == "sum":
            return plus(terms, self.scope.fresh, self._spread(sign)) if len(terms) > 1 else terms[0]
        if kind == "prod" and len(terms) > 1 and not all(t.is_scalar for t in terms):
            kind = self._order_of(letter, tree, sign)
        result, *rest = terms if kind != "reversed" else terms[::-1]
        for t in rest:
            result = times(result, t, self.scope.fresh)
        return result

    def _order_of(self, letter: str, tree: Node, sign: Node) -> str:
        r"""Which way the factors of \prod stand: people write it for either; an arrow on the sign says which.

        Jacobians of a chain, \partial h_t / \partial h_{t-1}, have one order in each layout.
        """
        if derivative_parts(tree) is not None:
            layout = next((c.decided for c in self.scope.taken if c.key == ("layout", 0)), 0)
            backwards = layout != 2  # with the transposed Jacobians the first one comes first
        else:
            backwards = self.scope.choose(("order", sign.at), 2) == 1
        self.scope.note(
            f"the factors of the product over {letter} are ordered from {'right to left' if backwards else 'left to right'}"
        )
        return "reversed" if backwards else "ordered"

    def _marks_a_layer(self, letter: str, tree: Node) -> bool:
        """Whether the index marks members of a family."""
        for node in walk_nodes(tree):
            m = marked(node) if node.kind == "scripted" else None
            if m is None:
                continue
            for name in stems(m.base):
                if isinstance(self.scope.names.get(name), Family):
                    if any(n.text == letter for i in (*m.subs, *m.sups) for n in walk_nodes(i)):
                        return True
        return False

    def _over_layers(
        self, kind: str, letter: str, bounds: tuple[Expr | None, ...], tree: Node, sign: Node
    ) -> Val:
        """A sum or an ordered product over the members of families."""
        lower, upper = bounds
        if lower is None or upper is None:
            self.fail(NameUnknownError, "a bound of this sum is not known", sign)
        value = lifted(self.read(tree))
        k = sympy.Symbol(letter, integer=True, positive=True)
        if value.axes is not None:
            self.fail(UnsupportedError, "this sum over layers is not read", sign)
        if value.is_scalar:
            make = sympy.Sum if kind == "sum" else sympy.Product
            return Val(make(value.expr, (k, lower, upper)))
        if kind == "sum":
            return val(MatrixSum(value.expr, k, lower, upper))
        if kind == "prod":
            kind = self._order_of(letter, tree, sign)
        return val(OrderedProduct(value.expr, k, lower, upper, -1 if kind == "reversed" else 1))

    def _product_over(
        self, kind: str, letters: list[str], lower: Node | None, upper: Node | None, tree: Node, sign: Node
    ) -> Val:  # fmt: skip
        value, index = self._with_index(letters[0], lower, upper, tree, sign)
        if len(letters) > 1 or not value.is_scalar:
            self.fail(UnsupportedError, "this product is not read", sign)
        size = self._size_of(index, letters[0], sign)
        return Val(sympy.Product(value.expr, (index.symbol, *self._limits(lower, upper, size, sign))))

    def _sum_over(
        self, letters: list[str], lower: Node | None, upper: Node | None, tree: Node, sign: Node
    ) -> Val:  # fmt: skip
        if len(letters) > 1:
            tree = Node("term", (_sum_sign(letters[-1], sign), tree), sign.at, tree.end)
            letters = letters[:-1]
            if len(letters) > 1:
                return self._sum_over(letters, lower, upper, tree, sign)
        value, index = self._with_index(letters[0], lower, upper, tree, sign)
        symbol = index.symbol
        if symbol not in value.expr.free_symbols:
            size = self._size_of(index, letters[0], sign, upper)
            return Val(scale(size, value.expr), value.shape, value.axes)
        size = self._size_of(index, letters[0], sign, upper)
        limits = self._limits(lower, upper, size, sign)
        if value.is_scalar:
            convolved = _convolution(value.expr, symbol, limits)
            if convolved is not None:
                for found in convolved.atoms(MatrixElement):
                    for other in self.scope.indices.values():
                        if other.symbol == found.args[1]:
                            other.sizes.append(found.args[0].shape[0])
                return Val(convolved)
            return lifted(Val(Sum(value.expr, (symbol, *limits))))
        if value.axes is None:
            i, j = (S.Zero if s == 1 else self.scope.fresh() for s in value.shape)
            value = Val(entry(value, i, j), value.shape, (i, j))
        return lifted(Val(Sum(value.expr, (symbol, *limits)), value.shape, value.axes))

    def _with_index(
        self, letter: str, lower: Node | None, upper: Node | None, tree: Node, sign: Node
    ) -> tuple[Val, Index]:
        """The body of a sum with its index in scope."""
        scope = self.scope
        index = Index(scope.index_for(letter), kept=True)
        before = scope.indices.get(letter)
        layered = scope.layers.pop(letter, None)
        scope.indices[letter] = index
        based = scope.zero_based
        if lower is not None and lower.kind == "number" and lower.text in ("0", "1"):
            scope.zero_based = scope.zero_based or lower.text == "0"
            scope.base_said = True
        try:
            value = self.read(tree)
        finally:
            scope.zero_based = based or scope.zero_based
            if before is None:
                scope.indices.pop(letter, None)
            else:
                scope.indices[letter] = before
            if layered is not None:
                scope.layers[letter] = layered
        return value, index

    def _size_of(self, index: Index, letter: str, sign: Node, upper: Node | None = None) -> Expr:
        """The size of the axis that an index runs over; it must be one."""
        sizes = list(dict.fromkeys(index.sizes))
        if not sizes and upper is not None:
            bound = self._bound(upper)
            if bound is not None:
                return bound
        if not sizes:
            self.fail(
                ShapeError,
                f"the range of the index {letter} is not known",
                sign,
                f"write \\sum_{{{letter}=1}}^{{n}}",
            )
        for other in sizes[1:]:
            if not same_size(sizes[0], other) and not shapes_are_free():
                self.fail(ShapeError, f"the index {letter} runs over {sizes[0]} and over {other}", sign)
        return sizes[0]

    def _limits(self, lower: Node | None, upper: Node | None, size: Expr, sign: Node) -> tuple[Expr, Expr]:
        """Zero-based limits; a bound whose name is not known is the whole range."""
        base = 0 if self.scope.zero_based else 1
        first = self._bound(lower) if lower is not None else Integer(base)
        last = self._bound(upper) if upper is not None else size - 1 + base
        if first is None:
            self.fail(NameUnknownError, "the lower bound is not known", sign)
        if last is None:
            self.scope.note(f"the upper bound {self.shown(upper) if upper else ''} is read as {size}")
            last = size - 1 + base
        if not _is_range(last - base, size) and not shapes_are_free():
            known = self.scope.sizes.values()
            if last in known or (last + 1) in known or last - base - size + 1 != 0:
                self.fail(ShapeError, f"the sum goes to {last}, and its index has a range of {size}", sign)
        return first - base, last - base


def _sum_sign(letter: str, sign: Node) -> Node:
    """A sum sign over one letter."""
    at, end = sign.at, sign.end
    group = Node("group", (Node("letter", (), at, end, letter),), at, end)
    return Node("scripted", (Node("big", (), at, end, "sum"), Node("sub", (group,), at, end)), at, end)


def _is_range(last: Expr, size: Expr) -> bool:
    return same_size(last, size - 1) if not last.is_Integer or not size.is_Integer else bool(last <= size - 1)


def _convolution(e: Expr, k: sympy.Symbol, limits: tuple[Expr, Expr]) -> Expr | None:
    """sum_k x[i + k] w[k] as an entry of a correlation, sum_k x[i - k] w[k] of a convolution."""
    factors = Mul.make_args(e)
    inside = [f for f in factors if k in f.free_symbols]
    if len(inside) != 2 or not all(isinstance(f, MatrixElement) and f.args[2] == 0 for f in inside):
        return None
    pairs = [(a, b) for a, b in (tuple(inside), tuple(inside[::-1])) if b.args[1] == k and a.args[1] != k]
    if len(pairs) != 1:
        return None
    shifted, plain = pairs[0]
    x, at = shifted.args[0], shifted.args[1]
    w = plain.args[0]
    if limits[0] != 0 or not same_size(limits[1] + 1, w.shape[0]):
        return None
    rest = Mul(*(f for f in factors if f not in inside))
    for sign, make in ((1, Correlate), (-1, Convolve)):
        i = sympy.expand(at - sign * k)
        if k not in i.free_symbols:
            return Mul(rest, MatrixElement(make(x, w), i, S.Zero))
    return None
