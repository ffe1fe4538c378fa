r"""From the tree of a LaTeX formula to its value: products by shapes, functions, sums over indices, derivatives.

A product that binds its factors in two ways, or a name that can be a row or a column, is a choice; the caller tries
all of them and keeps what fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NoReturn

from sympy import Expr, Integer, KroneckerDelta, Mul, Pow, Rational, S, Sum
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.special import OneMatrix

from symgrad.errors import (
    ReadError,
    ShapeError,
    SymgradError,
    TooLargeError,
    UnsupportedError,
)
from symgrad.expr import (
    flip,
    is_leaf,
    kron,
    same_size,
    scale,
    shapes_are_free,
    split_scale,
)
from symgrad.reading.latex.derivatives import Derivatives
from symgrad.reading.latex.marks import contents, marked, stem_of
from symgrad.reading.latex.tree import Node, same_writing, walk_nodes
from symgrad.reading.latex.values import (
    Val,
    applied,
    hadamard_of,
    lifted,
    negative,
    plus,
    raised,
    times,
    turned,
    val,
)
from symgrad.reading.latex.writing import (
    bare_condition,
    derivative_parts,
    index_letters,
    is_sum,
    sum_letters,
    term_of,
    until_operator,
)

__all__ = ["Meaning"]

_MOST_WRITTEN_ENTRIES = 64


def _bodies_joined(signs: list[int], parts: list[Node]) -> tuple[list[int], list[Node]]:
    """A sum sign with a signed body, sum_i -x_i, gets its body."""
    kept_signs: list[int] = []
    kept: list[Node] = []
    for sign, part in zip(signs, parts, strict=True):
        last = kept[-1] if kept else None
        tail = last.parts[-1] if last is not None and last.kind == "term" else last
        if last is not None and tail is not None and is_sum(tail):
            mark = Node("sign", (), part.at, part.at, "-" if sign < 0 else "+")
            body = Node("paren", (Node("sum", (mark, part), part.at, part.end),), part.at, part.end, "(")
            factors = last.parts if last.kind == "term" else (last,)
            kept[-1] = Node("term", (*factors, body), last.at, part.end)
        else:
            kept_signs.append(sign)
            kept.append(part)
    return kept_signs, kept


def _is_plain(node: Node) -> bool:
    """A number or a symbol, with its marks or without."""
    base = node.parts[0] if node.kind == "scripted" else node
    return base.kind in ("number", "letter", "word")


def _is_one_minus(e: Expr, a: Expr) -> bool:
    """Whether it is 1 - a or 1 + a, entry by entry."""
    if not isinstance(e, MatAdd) or len(e.args) != 2:
        return False
    rest = [t for t in e.args if not isinstance(t, OneMatrix)]
    return len(rest) == 1 and split_scale(rest[0])[1] == a and abs(split_scale(rest[0])[0]) == 1


def _uses(letter: str, node: Node) -> int:
    """How often an index stands in a factor; a bracket counts once, whatever is in it."""
    if node.kind in ("paren", "frac", "group"):
        return 1
    return sum(n.kind == "letter" and n.text == letter for n in walk_nodes(node))


class Meaning(Derivatives):
    """Reads trees in a scope."""

    def _chain(self, node: Node) -> Val:
        self.fail(ReadError, "an equation inside a formula", node)

    def _list(self, node: Node) -> Val:
        self.fail(ReadError, "a list inside a formula", node)

    def _sum(self, node: Node) -> Val:
        signs: list[int] = []
        parts: list[Node] = []
        sign = 1
        for part in node.parts:
            if part.kind == "sign":
                sign = -sign if part.text == "-" else sign
            else:
                signs.append(sign)
                parts.append(part)
                sign = 1
        signs, parts = _bodies_joined(signs, parts)
        terms: list[Val] = []
        position = 0
        while position < len(parts):
            extent = self._reach(parts, position)
            if extent > 1:
                value = self._long_sum(
                    parts[position : position + extent], signs[position : position + extent]
                )
            else:
                value = self.read(parts[position])
            terms.append(negative(value) if signs[position] < 0 else value)
            position += extent
        if len(terms) == 1:
            return terms[0]
        return plus(terms, self.scope.fresh, self._spread(node))

    def _reach(self, parts: Sequence[Node], position: int) -> int:
        """How many terms a sum takes in: further ones only if they hold its index, which is free otherwise."""
        here = parts[position]
        letters = sum_letters(here) - set(self.scope.indices) - set(self.scope.layers)
        if not letters:
            return 1
        reach = 1
        for k, other in enumerate(parts[position + 1 :], 2):
            if sum_letters(other) & letters:
                break
            used = index_letters(other) & letters
            if used and not any(u in self.scope.names or u in self.scope.sizes for u in used):
                reach = k
        return reach

    def _long_sum(self, parts: Sequence[Node], signs: Sequence[int]) -> Val:
        """A sum whose later terms hold its index: they are inside of it."""
        first = parts[0]
        factors = first.parts if first.kind == "term" else (first,)
        head = next(i for i, f in enumerate(factors) if is_sum(f))
        pieces: list[Node] = [term_of(factors[head + 1 :])]
        for part, sign in zip(parts[1:], signs[1:], strict=True):
            pieces += [Node("sign", (), part.at, part.at, "-" if sign < 0 else "+"), part]
        body = Node("sum", tuple(pieces), pieces[0].at, pieces[-1].end)
        whole = Node(
            "term", (*factors[: head + 1], Node("paren", (body,), body.at, body.end, "(")), first.at, body.end
        )
        self.scope.note(
            f"the sum over {', '.join(sorted(sum_letters(first)))} takes in all terms with its index"
        )
        return self.read(whole)

    def _dots(self, node: Node) -> NoReturn:
        self.fail(
            ReadError, "dots leave a part of the formula open", node, "write a product or sum with its bounds"
        )

    def _term(self, node: Node) -> Val:
        return self.product(list(node.parts))

    def _summed(self, value: Val, operands: list[tuple[str, Val, Node]], before: set[str], node: Node) -> Val:
        """A product by Einstein's convention: indices that stand in two of its factors are summed over."""
        scope = self.scope
        for letter in [c for c in scope.indices if c not in before]:
            index = scope.indices[letter]
            times_used = sum(_uses(letter, n) for _, v, n in operands if index.symbol in v.expr.free_symbols)
            if times_used < 2:
                continue
            if times_used > 2:
                self.fail(ReadError, f"the index {letter} occurs {times_used} times in a product", node,
                          "an index that is summed over occurs twice")  # fmt: skip
            del scope.indices[letter]
            size = self._size_of(index, letter, node)
            if value.is_scalar:
                value = Val(Sum(value.expr, (index.symbol, S.Zero, size - 1)))
        return lifted(value)

    def product(self, parts: list[Node]) -> Val:
        """A product: factors with operators between them; the operator None stands for juxtaposition."""
        operands: list[tuple[str, Val, Node]] = []
        scope = self.scope
        before, may_bind = set(scope.indices), scope.may_bind
        scope.may_bind = may_bind or scope.einstein
        op = ""
        k = 0
        while k < len(parts):
            part = parts[k]
            if part.kind == "op":
                op = part.text
                k += 1
                continue
            if part.kind == "sign":
                value, k = self._signed_factor(parts, k)
                operands.append((op, value, part))
                op = ""
                continue
            value, used = self._operand(parts, k)
            operands.append((op, value, part))
            op = ""
            k += used
        scope.may_bind = may_bind
        value = self._folded(operands)
        return self._summed(value, operands, before, parts[0]) if scope.einstein else value

    def _signed_factor(self, parts: list[Node], k: int) -> tuple[Val, int]:
        value, used = self._operand(parts, k + 1)
        return (negative(value) if parts[k].text == "-" else value), k + 1 + used

    def _folded(self, operands: list[tuple[str, Val, Node]]) -> Val:
        operands = self._divisors(operands)
        loose = ("ODOT", "OSLASH", "STAR", "OTIMES")
        used_loose = [o for o, _, _ in operands if o in loose]
        mixed = bool(used_loose) and any(o not in loose for o, _, _ in operands[1:])
        if mixed and self.scope.choose(("precedence", operands[0][2].at), 2) == 0:
            groups: list[tuple[str, list[tuple[str, Val, Node]]]] = []
            for o, v, n in operands:
                if o in loose or not groups:
                    groups.append((o, [("", v, n)]))
                else:
                    groups[-1][1].append((o, v, n))
            merged = [(o, self._left_to_right(g), g[0][2]) for o, g in groups]
            return self._left_to_right(merged)
        return self._left_to_right(operands)

    def _divisors(self, operands: list[tuple[str, Val, Node]]) -> list[tuple[str, Val, Node]]:
        """1/2x: x/2, or 1/(2x); both are readings where a plain symbol stands close to a plain divisor."""
        result: list[tuple[str, Val, Node]] = []
        for op, value, node in operands:
            if not op and result and result[-1][0] == "SLASH":
                _, divisor, before = result[-1]
                plain = all(v.is_scalar and _is_plain(n) for v, n in ((divisor, before), (value, node)))
                close = node.at == before.end
                if plain and close and self.scope.choose(("divisor", before.at), 2) == 1:
                    result[-1] = ("SLASH", times(divisor, value, self.scope.fresh), node)
                    continue
            result.append((op, value, node))
        return result

    def _left_to_right(self, operands: list[tuple[str, Val, Node]]) -> Val:
        _, result, _ = operands[0]
        last = result
        for op, v, node in operands[1:]:
            try:
                if op in ("", "CDOT") and self._is_slope(last, v, op, node):
                    result = hadamard_of(result, v, self.scope.fresh)
                else:
                    result = self._combined(op, result, v, node)
            except SymgradError as error:
                self.locate(error, node)
                raise
            last = v
        return result

    def _is_slope(self, a: Val, b: Val, op: str, node: Node) -> bool:
        r"""a(1 - a) of a column a: the slope of an activation, which no one means as a product of matrices."""
        if a.axes is not None or b.axes is not None or a.is_scalar or a.shape != b.shape or 1 not in a.shape:
            return False
        if not any(_is_one_minus(p.expr, q.expr) for p, q in ((a, b), (b, a))):
            return False
        if op == "CDOT" and self.scope.choose(("slope", node.at), 2) == 1:
            return False
        self.scope.note("x(1 - x) of a vector is taken entry by entry")
        return True

    def _combined(self, op: str, a: Val, b: Val, node: Node) -> Val:
        fresh = self.scope.fresh
        if op in ("", "CDOT", "TIMES"):
            if op == "CDOT" and not a.is_scalar and a.shape == b.shape and 1 in a.shape:
                return self._inner(a, b, node)
            if self.scope.columns_by_entries and not a.is_scalar and a.shape == b.shape and 1 in a.shape:
                return hadamard_of(a, b, fresh)
            return times(a, b, fresh)
        if op == "SLASH":
            return self.quotient(a, b, node)
        if op == "ODOT":
            return self._entry_product(a, b, node)
        if op == "OSLASH":
            return self._entry_product(a, raised(b, S.NegativeOne, as_matrix=False), node)
        if op == "OTIMES":
            a, b = lifted(a), lifted(b)
            if a.axes or b.axes:
                self.fail(ShapeError, "a Kronecker product of entries", node)
            if not a.is_scalar and not b.is_scalar and a.shape[1] == b.shape[1] == 1:
                if self.scope.choose(("otimes", node.at), 2, last_resort=True) == 1:
                    return times(a, turned(b), fresh)
            return val(kron(a.expr, b.expr))
        return self._star(a, b, node)

    def _entry_product(self, a: Val, b: Val, node: Node) -> Val:
        """An entrywise product; a vector against a matrix scales its rows or columns."""
        if a.is_scalar or b.is_scalar or len(a.shape) != len(b.shape) or 1 in a.shape or 1 not in b.shape:
            if not (not a.is_scalar and not b.is_scalar and 1 in a.shape and 1 not in b.shape):
                return hadamard_of(a, b, self.scope.fresh)
        small, large = (a, b) if 1 in a.shape else (b, a)
        return hadamard_of(self._spread(node)(small, large), large, self.scope.fresh)

    def _star(self, a: Val, b: Val, node: Node) -> Val:
        """A star: a product of scalars; of arrays an operation that the notes must have declared."""
        if a.is_scalar or b.is_scalar:
            return times(a, b, self.scope.fresh)
        from symgrad.expr import convolve, correlate

        declared = self.scope.functions.get("*")
        a, b = lifted(a), lifted(b)
        if declared is not None and not a.axes and not b.axes:
            kernel = b.expr if declared.name == "correlate" else flip(b.expr)
            if self.scope.choose(("star", node.at), 2) == 0:
                return val(correlate(a.expr, kernel))
            return val(convolve(a.expr, flip(kernel)))
        square = same_size(*a.shape)
        if declared is None and a.shape == b.shape and not square and 1 not in a.shape:
            self.scope.note("* is the entrywise product: no other product of these shapes is one")
            return hadamard_of(a, b, self.scope.fresh)
        self.fail(
            ReadError, "a star between arrays can be a convolution, an entrywise or a matrix product", node,
            "write \\odot for entries, nothing for the matrix product, or say in the symbols what * is",
        )  # fmt: skip

    def quotient(self, a: Val, b: Val, node: Node) -> Val:
        """A quotient; entry by entry where the divisor is an array of the same shape."""
        if b.expr.is_zero and b.is_scalar:
            self.fail(ReadError, "a division by zero", node)
        if b.is_scalar:
            return Val(scale(Pow(b.expr, -1), a.expr), a.shape, a.axes)
        if not a.is_scalar and a.shape != b.shape and not shapes_are_free():
            self.fail(ShapeError, f"a {a.text} is divided by a {b.text}", node)
        if 1 not in b.shape and same_size(*b.shape):
            self.fail(ReadError, "a division by a square matrix can be an inverse or entry by entry", node,
                      "write ^{-1} or \\oslash")  # fmt: skip
        return self._entry_product(a, raised(b, S.NegativeOne, as_matrix=False), node)

    def _frac(self, node: Node) -> Val:
        parts = derivative_parts(node)
        if parts is not None and parts[0]:
            above, below = parts
            return self.derivative(above, below, node)
        a, b = (self.read(p) for p in node.parts)
        return self.quotient(a, b, node)

    def _root(self, node: Node) -> Val:
        value = self.read(node.parts[0])
        if node.text == "2":
            return applied("sqrt", value)
        if int(node.text) == 0:
            self.fail(ReadError, "a root of order 0", node)
        return raised(value, Rational(1, int(node.text)), as_matrix=False)

    def _operand(self, parts: list[Node], k: int) -> tuple[Val, int]:
        """The value of the factor at k, with the factors after it that it takes in; how many it used."""
        part = parts[k]
        following = parts[k + 1 :]
        if is_sum(part):
            return self.big(part, following), 1 + len(following)
        prefix = self._prefix_transpose(part, following)
        if prefix is not None:
            return prefix
        if (call := self._call(part, following)) is not None:
            return call
        if (entry := self._indexed(part, following)) is not None:
            return entry, 2
        slashed = self._slashed_derivative(parts, k)
        if slashed is not None:
            return slashed
        if (d := self._increment(parts, k)) is not None:
            return d
        if part.kind == "nabla" or (part.kind == "scripted" and part.parts[0].kind == "nabla"):
            return self._gradient_sign(part, following)
        derivative = derivative_parts(part)
        if derivative is not None and not derivative[0]:
            taken = until_operator(following)
            if not taken:
                self.fail(ReadError, "a derivative of nothing", part)
            return self.derivative(taken, derivative[1], part), 1 + len(taken)
        if part.kind == "partial" or (part.kind == "scripted" and part.parts[0].kind == "partial"):
            self.fail(ReadError, "a derivative sign without what it is by", part)
        if part.kind == "eval" or (part.kind == "scripted" and part.parts[0].kind == "eval"):
            self.fail(ReadError, "this evaluation bar is not read", part)
        if len(following) and following[0].kind == "scripted" and following[0].parts[0].kind == "eval":
            return self.evaluated(part, following[0]), 2
        if part.kind == "text":
            self._text(part)
        return self.read(part), 1

    def _indexed(self, part: Node, following: list[Node]) -> Val | None:
        """W[i, j], x[i]: entries as programs write them."""
        if (
            not following
            or following[0].kind != "paren"
            or following[0].text != "["
            or not following[0].parts
        ):
            return None
        (inside,) = following[0].parts
        items = inside.parts if inside.kind == "list" else (inside,)
        m = marked(part)
        scope = self.scope
        if stem_of(m.base) is None or not all(i.kind in ("letter", "number", "sum") for i in items):
            return None
        letters = [n.text for i in items for n in walk_nodes(i) if n.kind == "letter"]
        if not letters or not all(
            c in scope.indices or (scope.may_bind and c not in scope.names) for c in letters
        ):
            return None
        sub = Node("sub", (Node("group", (inside,), inside.at, inside.end),), inside.at, inside.end)
        parts = part.parts if part.kind == "scripted" else (part,)
        return self.read(Node("scripted", (*parts, sub), part.at, following[0].end))

    def evaluated(self, part: Node, bar: Node) -> Val:
        """A value at a point: |_{x = a}."""
        inside = [p for s in bar.parts[1:] for p in s.parts[0].parts]
        value = self.read(part)
        for item in inside:
            for equation in item.parts if item.kind == "list" else (item,):
                if equation.kind != "chain" and is_leaf(self.read(equation).expr):
                    continue  # at x, where everything is taken anyway
                if equation.kind != "chain" or len(equation.parts) != 3 or equation.parts[1].text != "=":
                    self.fail(ReadError, "this evaluation bar is not read", bar, "write |_{x = a}")
                name, point = self.read(equation.parts[0]), self.read(equation.parts[2])
                if not is_leaf(name.expr):
                    self.fail(ReadError, "only a name can be given a value", equation)
                if name.shape != point.shape:
                    self.fail(ShapeError, f"a {name.text} is given a {point.text}", equation)
                self.scope.note(f"{self.shown(equation)} is put in")
                if name.expr != point.expr:
                    value = val(value.expr.xreplace({name.expr: point.expr}))
        return value

    def _prefix_transpose(self, part: Node, following: list[Node]) -> tuple[Val, int] | None:
        """{}^t A."""
        if part.kind != "scripted" or not following:
            return None
        base = part.parts[0]
        if base.kind != "group" or base.parts:
            return None
        items = [i for s in part.parts[1:] for i in contents(s.parts[0])]
        if len(items) != 1 or not (items[0].kind == "top" or items[0].text in ("t", "T", "top")):
            self.fail(ReadError, "scripts without a base", part)
        return turned(self.read(following[0])), 2

    def _cases(self, node: Node) -> Val:
        """Two cases: an indicator and the rest; more of them: each where its condition holds."""
        rows = []
        for row in node.parts:
            cells = [c for c in row.parts if c.parts]
            if not cells:
                continue
            value = cells[0].parts[0]
            condition = cells[1].parts[0] if len(cells) > 1 else None
            rows.append((value, bare_condition(condition) if condition is not None else None))
        if len(rows) > 2:
            return self._many_cases(rows, node)
        if len(rows) != 2:
            self.fail(UnsupportedError, "one case alone is not read", node)
        (first, when), (second, otherwise) = rows
        if when is None:
            self.fail(ReadError, "the first case has no condition", node)
        if otherwise is not None:
            self._complementary(when, otherwise, node)
        c = self.indicator(when)
        a, b = self.read(first), self.read(second)
        fresh, spread = self.scope.fresh, self._spread(node)
        rest = plus([Val(S.One), negative(c)], fresh, spread)
        terms = [hadamard_of(c, a, fresh), hadamard_of(rest, b, fresh)]
        kept = [t for t in terms if not t.expr.is_zero]
        return plus(kept, fresh, spread) if len(kept) > 1 else (kept[0] if kept else Val(S.Zero))

    def _many_cases(self, rows: list[tuple[Node, Node | None]], node: Node) -> Val:
        """The sum of the cases, each times its indicator; "otherwise" is what the others leave."""
        fresh, spread = self.scope.fresh, self._spread(node)
        terms: list[Val] = []
        taken: list[Val] = []
        for n, (value, when) in enumerate(rows):
            if when is None:
                if n + 1 < len(rows):
                    self.fail(ReadError, "a case without a condition comes last", value)
                where = plus([Val(S.One), *(negative(c) for c in taken)], fresh, spread)
            else:
                where = self._conditions(when, node)
                taken.append(where)
            term = hadamard_of(where, self.read(value), fresh)
            if not term.expr.is_zero:
                terms.append(term)
        if not terms:
            return Val(S.Zero)
        self.scope.note(
            f"where none of the cases in {self.shown(node)} holds, or two of them, it is their sum"
        )
        return plus(terms, fresh, spread) if len(terms) > 1 else terms[0]

    def _conditions(self, when: Node, node: Node) -> Val:
        """The indicator of a < b < c is that of a < b times that of b < c."""
        if when.kind != "chain":
            self.fail(ReadError, "this condition is not read", node)
        links = [replace(when, parts=when.parts[k : k + 3]) for k in range(0, len(when.parts) - 2, 2)]
        product, *rest = (self.indicator(c) for c in links)
        for c in rest:
            product = hadamard_of(product, c, self.scope.fresh)
        return product

    def _complementary(self, when: Node, otherwise: Node, node: Node) -> None:
        """The second condition must be what the first leaves."""
        opposite = {
            "=": ("!=",),
            "!=": ("=",),
            ">": ("<=", "<"),
            "<": (">=", ">"),
            ">=": ("<", "<="),
            "<=": (">", ">="),
        }
        if when.kind != "chain" or otherwise.kind != "chain" or len(otherwise.parts) != 3:
            self.fail(ReadError, "this condition is not read", node)
        (a, r, b), (c, s, d) = when.parts, otherwise.parts
        same = same_writing(a, c) and same_writing(b, d)
        if not (same and s.text in opposite.get(r.text, ())):
            self.fail(ReadError, "the two cases do not complete each other", node)
        if s.text[0] in "<>" and len(s.text) == len(r.text) == 1:
            self.scope.note(f"the case of equality in {self.shown(node)} is left open")

    def _matrix(self, node: Node) -> Val:
        """A matrix written out: its entries over Kronecker deltas."""
        rows = [[c.parts[0] if c.parts else None for c in row.parts] for row in node.parts]
        if rows and rows[-1] == [None]:
            rows = rows[:-1]
        width = len(rows[0]) if rows else 0
        if node.text.rstrip("*") in ("vmatrix", "Vmatrix") or not width or any(len(r) != width for r in rows):
            self.fail(UnsupportedError, "this matrix is not read", node, "give it a name and a shape")
        if len(rows) * width > _MOST_WRITTEN_ENTRIES:
            self.fail(TooLargeError, f"a matrix of more than {_MOST_WRITTEN_ENTRIES} entries", node)
        i, j = (S.Zero if n == 1 else self.scope.fresh() for n in (len(rows), width))
        total: Expr = S.Zero
        for r, row in enumerate(rows):
            for c, cell in enumerate(row):
                if cell is None:
                    self.fail(ReadError, "an entry of this matrix is missing", node)
                value = self.read(cell)
                if not value.is_scalar:
                    self.fail(
                        UnsupportedError, "a matrix of blocks is not read", cell, "give it a name and a shape"
                    )
                total += Mul(value.expr, *(KroneckerDelta(k, n) for k, n in ((i, r), (j, c)) if k != 0))
        if len(rows) == width == 1:
            return Val(total)
        return Val(total, (Integer(len(rows)), Integer(width)), (i, j))
