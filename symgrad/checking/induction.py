"""Proofs in models with loops of symbolic length: equations of sums over layers, and induction over the layers.

A claim about every layer is proved from the last layer down: it holds there, and if it holds at a layer, then one layer
before. Sums over layers are opened (`ranges`), so that base and step are equations without them, for the normal form.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sympy import Expr, S, Sum, Symbol
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.matpow import MatPow

from symgrad.checking.index_form import IndexForms
from symgrad.checking.layer_chain import DEEPEST, LONGEST, Given, LayerChain, free, open_nodes
from symgrad.checking.layers import apart, asked_layer, at_a_general_layer, layer_of
from symgrad.checking.networks import Terms
from symgrad.checking.normal_form import fits
from symgrad.checking.parts import with_parts_in_layers
from symgrad.checking.ranges import (
    Opened,
    Ranges,
    arrangements,
    common_ranges,
    opened,
    short_written_out,
    total,
    with_powers_opened,
)
from symgrad.checking.stacked import block_pairs, has_blocks, with_names
from symgrad.expr import (
    Blocks,
    Gradient,
    MatrixSum,
    ScalarGradient,
    block_row,
    eye,
    gradient,
    inverse,
    is_leaf,
    is_matrix,
    leaf_name,
    matmul,
    shape_of,
    substitute,
    walk,
)

__all__ = ["LoopProver"]

_ROUNDS = 12
_INSTANCE_WORK = 1500


class LoopProver(LayerChain):
    """Proves equations over one model with loops; a loop's index in them stands for a general layer."""

    def link(self, a: Expr, b: Expr, given: Given, about: Expr | None = None) -> bool:
        """Whether one link of a step is proved; the given equations are put in, also at other layers of theirs.

        `about` is the left side of the step: where that is a gradient one layer before the general one, as in
        g[l-1] = M g[l], that layer is one of the loop's as well.
        """
        for loop in self.loops:
            a, b = apart(a, loop.index), apart(b, loop.index)
            given = {k: apart(v, loop.index) for k, v in given.items()}
        if not fits(a, shape_of(b)):
            return False
        known = self.layers
        if isinstance(about, Gradient | ScalarGradient):
            known = self._where(about.args[1], (a, b))
        if has_blocks(a) or has_blocks(b):
            return self._in_blocks(a, b, given, known)
        if isinstance(a, Gradient | ScalarGradient) and self._gradient(a, b, given, known):
            return True
        if (is_leaf(a) and self._forward(a, b)) or self._by_exponent(a, b):
            return True
        return self.holds(a, b, given, known) or self._by_inverse(a, b, given)

    def _in_blocks(self, a: Expr, b: Expr, given: Given, known: Ranges) -> bool:
        """With names for the matrices of blocks, block by block, factor by factor, or by induction over the layers."""
        put = {k: v for k, v in given.items() if k != a}
        indices = [loop.index for loop in self.loops]
        for x in dict.fromkeys((a, substitute(a, put), self._put_in(a, put, known))):
            left, right = with_names([x, b], indices)
            if self.holds(left, right, {}, known):
                return True
            pairs = block_pairs(x, b)
            if (
                pairs is None
                and isinstance(x, MatMul)
                and isinstance(b, MatMul)
                and len(x.args) == len(b.args)
            ):
                pairs = list(zip(x.args, b.args, strict=True))
            if pairs is not None and all(p == q or self.link(p, q, given, p) for p, q in pairs):
                return True
        if isinstance(a, Gradient | ScalarGradient):
            return any(self._in_blocks(row, b, {}, known) for row in self._rows(a, given, known))
        return any(self._blocks_by_induction(a, b, given, loop.index, loop.upper) for loop in self.loops)

    def _rows(self, a: Expr, given: Given, known: Ranges) -> Iterator[Expr]:
        """What given equations about stacks say of one part of them, at its layer."""
        for loop in self.loops:
            for key, value in given.items():
                if not isinstance(key, Blocks) or not is_leaf(a.args[1]):
                    continue
                for i, (part,) in enumerate(key.by_rows):
                    layer = asked_layer(part, a, loop.index)
                    if layer is None:
                        continue
                    symbol = part.args[1]
                    first = loop.lower - 1 if self._begins_alike(symbol, loop) else loop.lower
                    if known.inside(layer, first, loop.upper) is True:
                        yield matmul(block_row(key.heights, i), value.xreplace({loop.index: layer}))

    def _blocks_by_induction(self, a: Expr, b: Expr, given: Given, index: Symbol, upper: Expr) -> bool:
        """A closed form of a stack of adjoints at a general layer: what it is at the last one, and one layer before."""
        back = {index: index - 1}
        recurrence = given.get(a.xreplace(back))
        if not isinstance(a, Blocks) or not a.has(index) or recurrence is None:
            return False
        last, at_end = a.xreplace({index: upper}), short_written_out(b.xreplace({index: upper}))
        if last != at_end and not self._in_blocks(last, at_end, given, self.layers):
            return False
        carried, before = with_names([substitute(recurrence, {a: b}), b.xreplace(back)], [index])
        return self.holds(carried, before, {})

    def written_out_equals(self, f: Expr, v: Expr, answer: Expr) -> bool:
        """Whether the answer is df/dv in a model without loops, all layers being named: the chain rule over all paths."""
        names = {d.symbol for d in self.model.definitions()}

        def derived(forms: IndexForms) -> Terms:
            forms.most_work = _INSTANCE_WORK
            return self._total(forms, f, v, free(v), set(), {}, len(names) + 1)

        return self._settled(derived, answer, self.layers, in_full=False)

    def holds(self, a: Expr, b: Expr, given: Given, known: Ranges | None = None, depth: int = 0) -> bool:
        """Whether two expressions are equal, sums over layers being opened as far as it takes."""
        known = self.layers if known is None else known
        a, b = short_written_out(a), short_written_out(b)
        if self._plain(a, b, known):
            return True
        x, y = (short_written_out(self._put_in(e, given, known)) for e in (a, b))
        if (x, y) != (a, b) and self._plain(x, y, known):
            return True
        if self._opened(x, y, given, known, depth):
            return True
        v, w = self._unfolded(x, known), self._unfolded(y, known)
        return (v, w) != (x, y) and (self._plain(v, w, known) or self._opened(v, w, given, known, depth))

    def _plain(self, a: Expr, b: Expr, known: Ranges) -> bool:
        if a == b or self.equal(a, b, by_names=True) is True:
            return True
        again = with_powers_opened([a, b], known)
        return again != [a, b] and self.equal(*again, by_names=True) is True

    def _opened(self, a: Expr, b: Expr, given: Given, known: Ranges, depth: int) -> bool:
        """Term by term, over the same ranges."""
        k = Symbol(f"layer{depth}_", integer=True)
        one, other = opened(a, k), opened(b, k)
        if not one.sums and not other.sums:
            return False
        for left, right in arrangements(one, other, k):
            common = common_ranges(left, right, k, known)
            if common is None:
                continue
            left, right, ranges = common
            if self._alike(left, right, ranges, a, given, known, k, depth):
                return True
        return False

    def _alike(
        self,
        left: Opened,
        right: Opened,
        ranges: Sequence[tuple[Expr, Expr]],
        like: Expr,
        given: Given,
        known: Ranges,
        k: Symbol,
        depth: int,
    ) -> bool:
        pairs = [
            (
                *(total([t for lo, hi, t in s.sums if (lo, hi) == r], like) for s in (left, right)),
                known.within(k, *r),
            )
            for r in ranges
        ]
        pairs.append((total(left.rest, like), total(right.rest, like), known))
        return all(self.holds(x, y, given, inside, depth + 1) for x, y, inside in pairs)

    def _by_inverse(self, a: Expr, b: Expr, given: Given) -> bool:
        """With S = M^-1 B from a given M S = B for a sum S of any number of terms; M is invertible where b is defined."""
        a = self._put_in(a, given, self.layers)
        put: dict[Expr, Expr] = {}
        for key, value in given.items():
            counters = [n for n in key.free_symbols if n.is_integer and str(n).endswith("_")]
            sums = [n for n in walk(key) if isinstance(n, MatrixSum | Sum)]
            if len(counters) != 1 or len(sums) != 1 or key.args[-1] != sums[0] or len(key.args) != 2:
                continue
            for n in (n for n in open_nodes(a) if type(n) is type(sums[0])):
                upper = n.limits[0][2] if isinstance(n, Sum) else n.bounds[1]
                at = {counters[0]: upper}
                if sums[0].xreplace(at) == n and self.layers.nonnegative(upper):
                    gap, right = key.args[0], value.xreplace(at)
                    put[n] = matmul(inverse(gap), right) if is_matrix(gap) else right / gap
        return bool(put) and self.holds(substitute(a, put), b, given)

    def _by_exponent(self, a: Expr, b: Expr) -> bool:
        """A power written in another way, by induction on the exponent."""
        if not isinstance(a, MatPow) or a.args[1].is_number or not self.layers.nonnegative(a.args[1]):
            return False
        n = Symbol("n_", integer=True, nonnegative=True)
        written = b.xreplace({a.args[1]: n})
        if written == b or any(written.has(s) for s in a.args[1].free_symbols - a.args[0].free_symbols):
            return False
        at_zero = substitute(written, {n: S.Zero})
        return self.holds(eye(a.shape[0]), at_zero, {}) and self.holds(
            matmul(a.args[0], written), written.xreplace({n: n + 1}), {}
        )

    def _put_in(self, e: Expr, given: Given, known: Ranges) -> Expr:
        """What is given is put in, as it stands and at other layers, where it is known to be one of theirs."""
        for _ in range(_ROUNDS):
            put: dict[Expr, Expr] = {}
            for n in open_nodes(e):
                value = given.get(n, None)
                if value is None:
                    value = self._elsewhere(n, given, known)
                if value is not None and value != n:
                    put[n] = value
            if not put or len(list(walk(e))) > LONGEST:
                break
            e = substitute(e, put)
        return e

    # --- gradients --------------------------------------------------------------------------------

    def _gradient(self, a: Expr, b: Expr, given: Given, known: Ranges) -> bool:
        """A link that starts from a gradient: the chain rule by names, over layers that share one, or by induction."""
        f, v = a.args
        parts = [
            n.args[1]
            for e in (a, b)
            for n in walk(e)
            if isinstance(n, Gradient | ScalarGradient) and n.args[0] == f and not is_leaf(n.args[1])
        ]
        if parts:
            split = with_parts_in_layers(self.model, f, parts)
            if split is None:
                return False
            prover = LoopProver(split.model)
            renamed = {split.renamed(k): split.renamed(e) for k, e in given.items()}
            name = split.renamed(a).args[1]
            return is_leaf(name) and prover._by_chain_rule(
                split.function, name, split.renamed(b), renamed, known
            )
        return is_leaf(v) and (
            self._by_chain_rule(f, v, b, given, known)
            or self._by_induction(f, v, b, given)
            or self._at_a_layer(f, v, b, given)
        )

    def _at_a_layer(self, f: Expr, v: Expr, b: Expr, given: Given) -> bool:
        """What a closed form for every layer says at one of them."""
        found, layer = self._loop_of.get(leaf_name(v)), layer_of(v)
        if found is None or layer is None or v.has(found[1].index) or b.has(found[1].index):
            return False
        symbol, loop = found[0].symbol, found[1]
        first = loop.lower - 1 if self._begins_alike(symbol, loop) else loop.lower
        if layer_of(symbol) != loop.index or self.layers.inside(layer, first, loop.upper) is not True:
            return False
        general = at_a_general_layer(b, layer, loop)
        return general.xreplace({loop.index: layer}) == b and self._by_induction(f, symbol, general, given)

    def _by_chain_rule(self, f: Expr, v: Expr, b: Expr, given: Given, known: Ranges) -> bool:
        """The gradient by a name, through the gradients that the formula holds, or also through given ones."""
        if layer_of(v) is None and self._is_shared(v):
            return self._over_layers(f, v, b)
        kept = {n for n in walk(b) if isinstance(n, Gradient | ScalarGradient)}
        above = {k: e for k, e in given.items() if k != gradient(f, v)}

        def through(put: Given) -> bool:
            return self._settled(
                lambda forms: self._total(forms, f, v, free(v), kept, put, DEEPEST), b, known
            )

        return through({}) or (bool(above) and through(above))

    def _by_induction(self, f: Expr, v: Expr, answer: Expr, given: Given) -> bool:
        """A closed form for every layer; or for one layer, put in at the others."""
        found = self._loop_of.get(leaf_name(v))
        if found is None or layer_of(found[0].symbol) != found[1].index or layer_of(v) != found[1].index:
            return False
        index, upper = found[1].index, found[1].upper
        last, before = v.xreplace({index: upper}), v.xreplace({index: index - 1})
        at_end = short_written_out(answer.xreplace({index: upper}))
        if not (
            self.holds(gradient(f, last), at_end, given)
            or self._by_chain_rule(f, last, at_end, given, self.layers)
        ):
            return False
        earlier = answer.xreplace({index: index - 1})
        recurrence = given.get(gradient(f, before))
        if recurrence is not None:
            assumed = substitute(recurrence, {gradient(f, v): answer})
            if self.holds(assumed, earlier, {}):
                return True
        return self._step(f, v, before, answer, earlier)

    def _step(self, f: Expr, v: Expr, before: Expr, answer: Expr, earlier: Expr) -> bool:
        """From a layer to the one before: what a layer does to a sum it does to every term of it."""
        k = Symbol("layer0_", integer=True)
        common = common_ranges(opened(answer, k), opened(earlier, k), k, self.layers)
        if common is None:
            return False
        now, then, ranges = common
        hypothesis = {gradient(f, v): total(now.rest, answer)}
        if not self._carried(f, before, total(then.rest, earlier), hypothesis, None):
            return False
        nothing = {gradient(f, v): total((), answer)}
        for r in ranges:
            term, one_before = (
                total([t for lo, hi, t in s.sums if (lo, hi) == r], answer) for s in (now, then)
            )
            if not self._carried(f, before, one_before, {gradient(f, v): term}, nothing):
                return False
        return True

    def _carried(self, f: Expr, v: Expr, answer: Expr, given: Given, without: Given | None) -> bool:
        """Whether the answer is df/dv with what is given, less what it is with something else."""
        values = [short_written_out(e) for e in (answer, *given.values())]
        answer, *values = with_powers_opened(values, self.layers)
        given = dict(zip(given, values, strict=True))

        def terms(forms: IndexForms) -> Terms:
            found = self._total(forms, f, v, free(v), set(), given, DEEPEST)
            if without is not None:
                less = self._total(forms, f, v, free(v), set(), without, DEEPEST)
                found = found + forms.scaled(less, -1)
            return found

        return self._settled(terms, answer, self.layers)

    def _forward(self, v: Expr, answer: Expr) -> bool:
        """A definition, or a state solved in the direction of the data, by induction from the first layer up."""
        found = self._loop_of.get(leaf_name(v))
        if found is None or layer_of(v) != found[1].index:
            return False
        d, loop = found
        if d.symbol != v:
            return False
        if self.holds(d.value, answer, {}):
            return True
        index = loop.index
        first, earlier = (answer.xreplace({index: at}) for at in (loop.lower - 1, index - 1))
        start = v.xreplace({index: loop.lower - 1})
        if not self.holds(short_written_out(first), start, {}):
            return False
        return self.holds(substitute(d.value, {v.xreplace({index: index - 1}): earlier}), answer, {})
