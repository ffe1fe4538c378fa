"""The way back through a model with loops: last item first, one general layer for every loop.

The total adjoint of a state is an unknown of its layer. A sweep through one layer gives what it contributes to the
states before it, to its parameters and to what all layers share; the recurrences that this makes are solved in `closed`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import sympy
from sympy import Dummy, Expr, S, Sum, Symbol

from symgrad.deriving.backprop import Contribution, Tidy, settle, sweep_back
from symgrad.deriving.depth.closed import (
    over_layers,
)
from symgrad.deriving.depth.known import ByLayer, moved, where_of
from symgrad.deriving.depth.layers import index_of, states_of, validate
from symgrad.deriving.depth.record import DepthSweep
from symgrad.deriving.depth.result import Result
from symgrad.errors import UnsupportedError
from symgrad.expr import (
    Definition,
    Gradient,
    Loop,
    MatrixSum,
    Model,
    add,
    gradient,
    is_matrix,
    is_scalar,
    leaf_name,
    leaves,
    matrix,
    scalar,
    substitute,
    walk,
    zeros,
)

__all__ = ["depth"]


def depth(model: Model, f: Expr, wrt: Expr, tidy: Tidy) -> DepthSweep:
    """The gradient of `f` through loops by a layer's member, an input or a shared parameter.

    Raises   DeriveError for what makes no sense, UnsupportedError where there is no recurrence of the adjoint
    """
    validate(model, f)
    return _Descent(model, f, wrt, tidy).run()


class _Descent(Result):
    """One derivation: the items of a model, last to first."""

    def run(self) -> DepthSweep:
        """Go back over the items and put the result together."""
        items = list(self.model.items)
        at = next((i for i, d in enumerate(items) if isinstance(d, Definition) and d.symbol == self.f), None)
        if at is None:
            goal = Dummy("goal", real=True)
            self._definitions([Definition(goal, self.f)], {goal: S.One})
        else:
            items = items[: at + 1]
        group: list[Definition] = []
        for item in reversed(items):
            if isinstance(item, Definition):
                group.insert(0, item)
                continue
            self._definitions(group)
            group = []
            self._loop(item)
        self._definitions(group)
        self._finish()
        self.out.keep_needed(self.shown)
        return self.out

    def _definitions(self, group: Sequence[Definition], seeds: Mapping[Expr, Expr] | None = None) -> None:
        """Back over definitions between loops; sums over layers in them are taken apart afterwards."""
        if not group:
            return
        seeds = dict(seeds or self.seeds)
        if any(d.symbol == self.f for d in group):
            seeds[self.f] = S.One
        sums: dict[Expr, Expr] = {}
        plain = [Definition(d.symbol, self._without_sums(d.value, sums), d.line) for d in group]
        own = {d.symbol for d in group}
        open_ = {
            leaf for d in plain for leaf in leaves(d.value) if leaf in sums or self._is_active(leaf)
        } - own
        since = len(self.out.steps)
        if self.wrt in own and self.wrt not in seeds:
            open_.add(self.wrt)
        sweep_back(self.sweep, plain, seeds, (), self.tidy, self.waiting, open_)
        names = {**sums, **{d.symbol: d.value for d in group if isinstance(d.symbol, Dummy)}}
        self._restate(since, names)
        for name, total in sums.items():
            if name in self.waiting:
                self._through_sum(total, self.waiting.pop(name))

    def _restate(self, since: int, names: Mapping[Expr, Expr]) -> None:
        """Names that only the derivation used are written out again, everywhere."""
        if not names:
            return
        self.out.restate(since, names)
        for parts in self.waiting.values():
            parts[:] = [
                replace(c, value=substitute(c.value, names), by_name=substitute(c.by_name, names))
                for c in parts
            ]
        for key, value in list(self.sweep.adjoints.items()):
            self.sweep.adjoints[key] = substitute(value, names)

    def _without_sums(self, value: Expr, sums: dict[Expr, Expr]) -> Expr:
        """The value with a name for every sum over layers that holds something active."""
        replace_: dict[Expr, Expr] = {}
        for node in walk(value):
            if isinstance(node, Sum | MatrixSum) and any(self._is_active(leaf) for leaf in leaves(node)):
                if any(node in set(walk(outer)) for outer in replace_):
                    continue
                name: Expr = Dummy("total", real=True)
                if is_matrix(node):
                    name = matrix(f"total_{len(sums)}_", *node.shape)
                replace_[node] = name
                sums[name] = node
        return substitute(value, replace_) if replace_ else value

    def _through_sum(self, total: Expr, parts: list[Contribution]) -> None:
        """The terms of a sum over layers receive its adjoint: each layer's members in turn."""
        if isinstance(total, Sum):
            if len(total.limits) != 1:
                raise UnsupportedError("a sum over several layer indices at once is not taken apart")
            (bound, lower, upper), body = total.limits[0], total.function
        else:
            bound, (lower, upper), body = total.index, total.bounds, total.body
        if any(isinstance(n, Sum | MatrixSum) for n in walk(body) if self._holds_active(n)):
            raise UnsupportedError("a sum over layers inside a sum over layers is not taken apart")
        index = self._index_for(body, bound)
        body = body.xreplace({bound: index})
        upstream = self.tidy(add(*(c.value for c in parts)))
        premises = tuple(sorted({p for c in parts for p in c.premises}))
        if not (upstream.is_Number if is_scalar(upstream) else isinstance(upstream, Gradient)):
            name = gradient(self.f, total)
            premises = (
                self.sweep.record(
                    parts[0].rule, (name, add(*(c.by_name for c in parts)), upstream), premises
                ),
            )
        term: Expr = scalar("term_") if is_scalar(body) else matrix("term_", *body.shape)
        found: dict[Expr, list[Contribution]] = {}
        since = len(self.out.steps)
        members = {leaf for leaf in leaves(body) if self._is_active(leaf)}
        self.sweep.layer = index
        sweep_back(self.sweep, [Definition(term, body)], {term: upstream}, (), self.tidy, found, members)
        self.sweep.layer = None
        self._restate(since, {term: body})
        for leaf, given in found.items():
            given = [
                replace(
                    c,
                    value=substitute(c.value, {term: body}),
                    by_name=substitute(c.by_name, {term: body}),
                    premises=c.premises or premises,
                )
                for c in given
            ]
            where = index_of(leaf)
            if where is None or not where.has(index):
                if where is not None and where.has(bound):
                    raise UnsupportedError(f"a sum over layers uses {leaf} at a layer of its own")
                loop = Loop(index, lower, upper, ())
                self._share(leaf, given, loop)
                continue
            shift = sympy.expand(where - index)
            if shift.has(index):
                raise UnsupportedError(f"a sum over layers uses {leaf}, whose layer runs another way")
            for c in given:
                entry = ByLayer(leaf, index, lower + shift, upper + shift, c)
                self.by_layer.setdefault(leaf_name(leaf), []).append(entry)

    def _holds_active(self, node: Expr) -> bool:
        return any(self._is_active(leaf) for leaf in leaves(node))

    def _index_for(self, body: Expr, bound: Symbol) -> Symbol:
        """The index of the loop whose layers a sum goes over."""
        members = {leaf_name(leaf) for leaf in leaves(body) if index_of(leaf) is not None}
        loops = [item for item in self.model.items if isinstance(item, Loop)]
        for loop in loops:
            if members & {leaf_name(d.symbol) for d in loop.body}:
                return loop.index
        for loop in loops:
            if members & {leaf_name(leaf) for d in loop.body for leaf in leaves(d.value)}:
                return loop.index
        return loops[0].index if loops else bound

    def _share(self, leaf: Expr, parts: Sequence[Contribution], loop: Loop) -> None:
        """Every layer contributes to one name: the sum over the layers waits for it."""
        by_layer = self.tidy(add(*(c.value for c in parts)))
        premises = tuple(sorted({p for c in parts for p in c.premises}))
        total = over_layers(by_layer, loop.index, loop.lower, loop.upper)
        self.waiting.setdefault(leaf, []).append(Contribution(total, total, "depth.shared", premises))
        self.shared.setdefault(leaf, []).append((by_layer, loop, premises))

    def _loop(self, loop: Loop) -> None:
        index, body = loop.index, list(loop.body)
        own = {leaf_name(d.symbol) for d in body}
        states = [s for s in states_of(loop) if self._is_active(s)]
        reached = {leaf_name(leaf) for leaf in self.waiting} | set(self.by_layer)
        if not own & reached & self.active:
            return
        self._used_alone(loop)
        self._check_ends(loop, own, {leaf_name(s) for s in states})
        outside = {d.symbol: self._outside(d.symbol, loop) for d in body}
        seeds: dict[Expr, Expr] = {}
        ends: dict[Expr, int] = {}
        for s in states:
            if outside[s] or _is_used_in_its_layer(body, s):
                continue
            ends[s] = self._settle_end(s, loop, ())
        for s in states:
            seeds[s] = gradient(self.f, s)
            if s in ends and _hands_on(body, s, index) and self._constant(s, loop, ends[s]):
                seeds[s] = self.sweep.adjoints[s]

        found: dict[Expr, list[Contribution]] = {
            symbol: list(parts) for symbol, parts in outside.items() if parts and symbol not in seeds
        }
        variable = self._general_variable(body, own, index)
        previous = {s: s.xreplace({index: index - 1}) for s in states}
        open_ = {
            leaf
            for d in body
            for leaf in leaves(d.value)
            if self._is_active(leaf) and (leaf_name(leaf) not in own or leaf in previous.values())
        } - {variable}
        wanted = []
        if variable is not None:
            wanted = [variable]
            extra = self._outside(variable, loop)
            if extra:
                found[variable] = list(extra)
        self.sweep.layer = index
        sweep_back(self.sweep, body, seeds, wanted, self.tidy, found, open_)
        self.sweep.layer = None
        for d in body:
            if d.symbol in self.sweep.adjoints and d.symbol not in seeds:
                self.general[leaf_name(d.symbol)] = (d.symbol, loop)
        if variable is not None and variable in self.sweep.adjoints:
            self.general[leaf_name(variable)] = (variable, loop)

        direct = {s: [*outside[s], *found.pop(s, [])] for s in states}
        carried = {s: found.pop(previous[s], []) for s in states}
        for s in states:
            if s not in ends:
                at = {index: loop.upper}
                ends[s] = self._settle_end(s, loop, [moved(c, at) for c in direct[s]])
        self._recurrences(loop, states, direct, carried)
        for leaf, parts in found.items():
            where = index_of(leaf)
            if where is None or not where.has(index):
                self._share(leaf, parts, loop)
                continue
            shift = sympy.expand(where - index)
            for c in parts:
                entry = ByLayer(leaf, index, loop.lower + shift, loop.upper + shift, c)
                self.by_layer.setdefault(leaf_name(leaf), []).append(entry)

    def _check_ends(self, loop: Loop, own: set[str], states: set[str]) -> None:
        """Only the last state is used by name after the loop; one layer among many has no general formula."""
        for leaf in self.waiting:
            where = index_of(leaf)
            if leaf_name(leaf) not in own or where is None or not self._is_active(leaf):
                continue
            first = sympy.expand(where - loop.lower + 1).is_zero
            last = sympy.expand(where - loop.upper).is_zero
            if not (last or (first and leaf_name(leaf) in states)) or (
                last and leaf_name(leaf) not in states
            ):
                whole = f"sum({loop.index} in {loop.lower}..{loop.upper}, ..)"
                state = (
                    f"the last state, {leaf_name(leaf)}[{loop.upper}], or "
                    if leaf_name(leaf) in states
                    else ""
                )
                raise UnsupportedError(
                    f"the result uses {leaf_name(leaf)}[{where}], one layer's among many",
                    hint=f"use {state}all layers, as in {whole}",
                )

    def _outside(self, symbol: Expr, loop: Loop) -> tuple[Contribution, ...]:
        """What sums over layers and later loops contribute to a member at the loop's general layer."""
        entries = self.by_layer.pop(leaf_name(symbol), [])
        shift = sympy.expand(where_of(symbol) - loop.index)
        for e in entries:
            low = sympy.expand(e.lower - loop.lower - shift)
            high = sympy.expand(e.upper - loop.upper - shift)
            if low != 0 or high != 0:
                name = leaf_name(symbol)
                raise UnsupportedError(
                    f"a sum uses {name}[{e.lower}] to {name}[{e.upper}], not the layers of the loop, "
                    f"{name}[{loop.lower + shift}] to {name}[{loop.upper + shift}]",
                    hint="let it go over all layers of the loop",
                )
        return tuple(e.at(loop.index, shift) for e in entries)

    def _settle_end(self, s: Expr, loop: Loop, direct: Sequence[Contribution]) -> int:
        """The adjoint of the last state: from what comes after the loop, and from its own layer."""
        last = s.xreplace({loop.index: loop.upper})
        parts = [*self.waiting.pop(last, []), *direct]
        if parts:
            settle(self.sweep, last, parts, self.tidy)
        else:
            nothing = S.Zero if is_scalar(last) else zeros(*last.shape)
            self.sweep.adjoints[last] = nothing
            self.sweep.step_of[last] = self.out.record("depth.unused", (gradient(self.f, last), nothing))
        self.ends[last] = self.sweep.step_of[last]
        return self.ends[last]

    def _constant(self, s: Expr, loop: Loop, end: int) -> bool:
        """A state to which layers only add: its adjoint is the same number at every layer."""
        value = self.sweep.adjoints[s.xreplace({loop.index: loop.upper})]
        if not value.is_Number:
            return False
        number = self.out.record("depth.constant", (gradient(self.f, s), value), [end])
        self.sweep.adjoints[s] = value
        self.sweep.step_of[s] = number
        self.constants[s] = value
        self.closed[leaf_name(s)] = (s, value, (number,))
        return True

    def _general_variable(self, body: Sequence[Definition], own: set[str], index: Symbol) -> Expr | None:
        """The member at the loop's general layer that the variable is an instance of, if it is one of a parameter."""
        name = leaf_name(self.wrt)
        made = {leaf_name(d.symbol) for d in self.model.definitions()}
        if index_of(self.wrt) is None or name in own | made:  # what another loop makes is no parameter
            return None
        found = list(
            dict.fromkeys(
                leaf
                for d in body
                for leaf in leaves(d.value)
                if leaf_name(leaf) == name and index_of(leaf) is not None
            )
        )
        if len(found) > 1:
            spelt = " and ".join(f"{name}[{index_of(leaf)}]" for leaf in found)
            raise UnsupportedError(
                f"a layer uses {spelt}: the gradient by one of them has no formula for all layers",
                hint="write the parameters of a layer as two families",
            )
        if not found or not where_of(found[0]).has(index):
            return None
        shift = sympy.expand(where_of(found[0]) - index)
        return None if shift.has(index) else found[0]


def _is_used_in_its_layer(body: Sequence[Definition], s: Expr) -> bool:
    return any(s in leaves(d.value) for d in body)


def _hands_on(body: Sequence[Definition], s: Expr, index: Symbol) -> bool:
    """Whether a layer only adds to a state: s[l] = s[l-1] + ... with no other use of s[l-1]."""
    before = s.xreplace({index: index - 1})
    users = [d for d in body if before in leaves(d.value)]
    if len(users) != 1 or users[0].symbol != s or not users[0].value.is_Add or is_matrix(s):
        return False
    return sum(before in leaves(t) for t in users[0].value.args) == 1 and before in users[0].value.args
