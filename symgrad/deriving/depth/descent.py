"""The way back through a model with loops: last item first, one general layer for every loop.

The total adjoint of a state is an unknown of its layer. A sweep through one layer gives what it contributes to the
states before it, to its parameters and to what all layers share; the recurrences that this makes are solved in `closed`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import sympy
from sympy import Dummy, Expr, Product, S, Sum, Symbol, expand
from sympy.matrices.expressions.matmul import MatMul

from symgrad.deriving.backprop import Contribution, Tidy, settle, sweep_back
from symgrad.deriving.depth.closed import (
    Recurrence,
    affine_parts,
    matrix_closed,
    over_layers,
    state_closed,
)
from symgrad.deriving.depth.layers import index_of, is_beyond, names_of, states_of, validate
from symgrad.deriving.depth.record import DepthSweep
from symgrad.deriving.depth.tied import close_shared
from symgrad.errors import DeriveError, UnsupportedError
from symgrad.expr import (
    Definition,
    Gradient,
    Loop,
    MatrixSum,
    Model,
    OrderedProduct,
    ScalarGradient,
    add,
    gradient,
    is_column,
    is_matrix,
    is_scalar,
    leaf_name,
    leaves,
    matmul,
    matrix,
    printed_size,
    scalar,
    substitute,
    walk,
    zeros,
)

__all__ = ["depth"]

_LONGEST = 3000


def depth(model: Model, f: Expr, wrt: Expr, tidy: Tidy) -> DepthSweep:
    """The gradient of `f` through loops by a layer's member, an input or a shared parameter.

    Raises   DeriveError for what makes no sense, UnsupportedError where there is no recurrence of the adjoint
    """
    validate(model, f)
    return _Descent(model, f, wrt, tidy).run()


@dataclass(frozen=True)
class _ByLayer:
    """What every layer of a range contributes to a member of a family: `part` belongs to `symbol`, both at `index`."""

    symbol: Expr
    index: Symbol
    lower: Expr
    upper: Expr
    part: Contribution

    def at(self, index: Symbol, shift: Expr) -> Contribution:
        """The contribution with another index, moved so that `symbol` is the member at index + shift."""
        own = sympy.expand(_where(self.symbol) - self.index)
        return _moved(self.part, {self.index: index + shift - own})


def _where(leaf: Expr) -> Expr:
    where = index_of(leaf)
    assert where is not None  # noqa: S101 - asked of members only
    return where


def _moved(part: Contribution, at: Mapping[Expr, Expr]) -> Contribution:
    return replace(part, value=part.value.xreplace(at), by_name=part.by_name.xreplace(at))


class _Descent:
    """One derivation: what waits for the items that are still to come, and what the loops have shown."""

    def __init__(self, model: Model, f: Expr, wrt: Expr, tidy: Tidy) -> None:
        self.model, self.f, self.wrt, self.tidy = model, f, wrt, tidy
        self.out = DepthSweep(f, wrt)
        self.sweep = self.out.sweep
        self.waiting: dict[Expr, list[Contribution]] = {}
        self.by_layer: dict[str, list[_ByLayer]] = {}
        self.shared: dict[Expr, list[tuple[Expr, Loop, tuple[int, ...]]]] = {}
        self.general: dict[str, tuple[Expr, Loop]] = {}  # members whose adjoint at a general layer is known
        self.closed: dict[
            str, tuple[Expr, Expr, tuple[int, ...]]
        ] = {}  # states: symbol, closed form, the step that has it
        self.ends: dict[Expr, int] = {}  # first and last states whose adjoint is known, and its step
        self.constants: dict[Expr, Expr] = {}  # states that hand a number back unchanged
        self.seeds: dict[Expr, Expr] = {}  # first states, for the definitions that make them
        self.shown: list[int] = []  # steps that belong to the answer though nothing rests on them
        self.names = names_of(model)
        self.active = self._active_names()
        self.sweep.ambiguous = _twofold(d.value for d in model.definitions())

    # --- what lies on the way ---------------------------------------------------------------------------

    def _active_names(self) -> set[str]:
        """The names that depend on the variable; a family counts as a whole."""
        active = {leaf_name(self.wrt)}
        while True:
            found = {
                leaf_name(d.symbol)
                for d in self.model.definitions()
                if any(leaf_name(leaf) in active for leaf in leaves(d.value))
            }
            if found <= active:
                return active
            active |= found

    def _is_active(self, leaf: Expr) -> bool:
        return leaf_name(leaf) in self.active and not isinstance(leaf, Dummy)

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

    # --- definitions ------------------------------------------------------------------------------------

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
                entry = _ByLayer(leaf, index, lower + shift, upper + shift, c)
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

    # --- one loop ---------------------------------------------------------------------------------------

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
                ends[s] = self._settle_end(s, loop, [_moved(c, at) for c in direct[s]])
        self._recurrences(loop, states, direct, carried)
        for leaf, parts in found.items():
            where = index_of(leaf)
            if where is None or not where.has(index):
                self._share(leaf, parts, loop)
                continue
            shift = sympy.expand(where - index)
            for c in parts:
                entry = _ByLayer(leaf, index, loop.lower + shift, loop.upper + shift, c)
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

    def _used_alone(self, loop: Loop) -> None:
        """Refuse a variable of whose family one member of the loop is also used on its own.

        The gradient by that member differs from the formula for all others.
        """
        name = leaf_name(self.wrt)
        inside = {leaf for d in loop.body for leaf in leaves(d.value) if leaf_name(leaf) == name}
        if any(leaf_name(d.symbol) == name for d in loop.body):
            return
        for leaf in self.waiting:
            if leaf_name(leaf) != name or index_of(leaf) is None:
                continue
            for member in inside:
                low, high = (_where(member).xreplace({loop.index: b}) for b in (loop.lower, loop.upper))
                if not is_beyond(_where(leaf), low, high):
                    raise UnsupportedError(
                        f"{name}[{_where(leaf)}] is used in the loop and on its own",
                        hint="give the one that is used on its own a name of its own",
                    )

    def _outside(self, symbol: Expr, loop: Loop) -> tuple[Contribution, ...]:
        """What sums over layers and later loops contribute to a member at the loop's general layer."""
        entries = self.by_layer.pop(leaf_name(symbol), [])
        shift = sympy.expand(_where(symbol) - loop.index)
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
        if not found or not _where(found[0]).has(index):
            return None
        shift = sympy.expand(_where(found[0]) - index)
        return None if shift.has(index) else found[0]

    # --- recurrences ------------------------------------------------------------------------------------

    def _recurrences(
        self,
        loop: Loop,
        states: Sequence[Expr],
        direct: Mapping[Expr, Sequence[Contribution]],
        carried: Mapping[Expr, Sequence[Contribution]],
    ) -> None:
        """The adjoint of every state one layer back, its closed form, and the first state's."""
        index = loop.index
        back = {index: index - 1}
        body = {d.symbol for d in loop.body}
        values: dict[Expr, Expr] = {}
        for s in states:
            before = s.xreplace(back)
            if s in self.constants:
                continue
            self.general[leaf_name(s)] = (s, loop)
            if not carried[s]:  # what reaches it directly is all there is
                settle(self.sweep, s, list(direct[s]), self.tidy)
                continue
            settle(self.sweep, before, [*carried[s], *(_moved(c, back) for c in direct[s])], self.tidy)
            values[s] = self._in_terms_of_states(self.sweep.adjoints[before], body - set(states), index)
        for s, coupled in _in_order(values, self.f, index):
            self._solve(s, values[s], loop, coupled)
        for s in states:
            self._first_state(s, loop, direct.get(s, ()), carried.get(s, ()))

    def _in_terms_of_states(self, value: Expr, inner: set[Expr], index: Symbol) -> Expr:
        """An adjoint with those of the layer's own intermediates put in, down to the adjoints of states."""
        known: dict[Expr, Expr] = {}
        for v in inner:
            if v in self.sweep.adjoints:
                for at in ({}, {index: index - 1}):
                    known[gradient(self.f, v).xreplace(at)] = self.sweep.adjoints[v].xreplace(at)
        while True:
            here = {n: known[n] for n in walk(value) if n in known}
            if not here:
                return value
            value = substitute(value, here)

    def _solve(self, s: Expr, value: Expr, loop: Loop, coupled: bool) -> None:
        """The recurrence of one state, solved where its factor is a matrix or a number."""
        out, f, index = self.out, self.f, loop.index
        name, last = gradient(f, s), s.xreplace({index: loop.upper})
        before = s.xreplace({index: index - 1})
        step, end = self.sweep.step_of[before], self.sweep.step_of[last]
        parts = affine_parts(value, name, self.tidy)
        if parts is None:
            self.shown += [step, end]
            since = len(out.steps)
            if is_matrix(s) and not is_column(s):
                matrix_closed(out, s, value, loop, (step, end), self.names, self.tidy)
            self.shown += range(since + 1, len(out.steps) + 1)
            return
        factor, rest = parts
        nothing = rest == (S.Zero if is_scalar(rest) else zeros(*rest.shape))
        if coupled and (factor.is_zero or any(_next_layer(n, index, f) for n in walk(rest))):
            self.shown += [step, end]  # the states belong together: these recurrences are the answer
            return
        shown = matmul(factor, name) if nothing else add(matmul(factor, name), rest)
        recurrence = out.record(
            "depth.recurrence" if nothing else "depth.affine_recurrence",
            (gradient(f, before), value, shown),
            [step],
            factor=factor,
        )
        at_last = self.sweep.adjoints[last]
        at_end = rest.xreplace({index: loop.upper + 1})
        used: list[int] = []
        direct = not nothing and self._resolved_alike(at_end, at_last, used)
        r = Recurrence(
            name,
            index,
            loop.upper,
            factor,
            rest,
            at_last,
            direct,
            (recurrence, end),
            tuple(used) if direct else (),
        )
        filled, numbers = state_closed(out, r, self.names, self.tidy)
        self.closed[leaf_name(s)] = (s, filled, numbers)
        if _has_gradients(filled):
            self.shown += [*numbers, step, end]

    def _resolved_alike(self, a: Expr, b: Expr, used: list[int]) -> bool:
        """Whether two adjoints of the last state are the same, its layer's own adjoints put in; the steps used."""
        return self.tidy(self._settled(a, used)) == self.tidy(self._settled(b, used))

    def _settled(self, e: Expr, used: list[int]) -> Expr:
        """An expression with the adjoints put in that are known as they stand, at the last layer too."""
        for _ in range(8):
            known: dict[Expr, Expr] = {}
            for n in walk(e):
                if not isinstance(n, Gradient | ScalarGradient):
                    continue
                found = self._value_of(n.args[1])
                if found is not None:
                    known[n] = found[0]
                    used += found[1]
            if not known:
                break
            e = substitute(e, known)
        return e

    def _first_state(
        self, s: Expr, loop: Loop, direct: Sequence[Contribution], carried: Sequence[Contribution]
    ) -> None:
        """The adjoint of the state before the first layer, for what that is made of."""
        first = s.xreplace({loop.index: loop.lower - 1})
        made = self.model.definition_of(first)
        if first != self.wrt and (
            made is None or not any(self._is_active(leaf) for leaf in leaves(made.value))
        ):
            return
        closed = self.closed.get(leaf_name(s))
        known = closed is not None and not _has_gradients(closed[1])
        if known and not direct and first not in self.waiting:
            assert closed is not None  # noqa: S101 - known
            value = self.tidy(closed[1].xreplace({loop.index: loop.lower - 1}))
            self.sweep.adjoints[first] = value
            self.sweep.step_of[first] = self.out.record(
                "depth.ends", (gradient(self.f, first), value), closed[2]
            )
        else:
            at = {loop.index: loop.lower}
            parts = [*self.waiting.pop(first, []), *(_moved(c, at) for c in carried)]
            if not parts:
                return
            settle(self.sweep, first, parts, self.tidy)
        self.ends[first] = self.sweep.step_of[first]
        self.seeds[first] = gradient(self.f, first)

    # --- the result ---------------------------------------------------------------------------------------

    def _value_of(self, v: Expr) -> tuple[Expr, tuple[int, ...]] | None:
        """What is known of the adjoint of a name, and the steps that say it."""
        if v in self.ends or (index_of(v) is None and v in self.sweep.adjoints):
            return self.sweep.adjoints[v], (self.sweep.step_of[v],)
        name, where = leaf_name(v), index_of(v)
        if where is None:
            return None
        if name in self.closed:
            symbol, form, numbers = self.closed[name]
            form = _apart(form, where.free_symbols, self.names)
            return self.tidy(form.xreplace({_where(symbol): where})), numbers
        if name in self.general and self.general[name][0] in self.sweep.adjoints:
            symbol, loop = self.general[name]
            at = {loop.index: where - sympy.expand(_where(symbol) - loop.index)}
            return self.sweep.adjoints[symbol].xreplace(at), (self.sweep.step_of[symbol],)
        return None

    def _resolved(self, e: Expr) -> tuple[Expr | None, list[int]]:
        """An expression with every adjoint written out, and the steps used; None where one has no closed form."""
        used: list[int] = []
        for _ in range(40):
            names = [n for n in walk(e) if isinstance(n, Gradient | ScalarGradient)]
            if not names:
                return self.tidy(e), used
            known: dict[Expr, Expr] = {}
            for n in names:
                found = self._value_of(n.args[1])
                if found is None or n in set(walk(found[0])):
                    return None, used
                known[n] = found[0]
                used += found[1]
            e = substitute(e, known)
            if printed_size(e) > _LONGEST:
                return None, used
        return None, used

    def _finish(self) -> None:
        """The result for the variable, by one layer and written out, as the last step."""
        out, wrt, f = self.out, self.wrt, self.f
        name, where = leaf_name(wrt), index_of(wrt)
        left = gradient(f, wrt)
        if wrt in self.waiting:
            self._finish_shared()
            return
        if wrt in self.ends or (where is None and wrt in self.sweep.adjoints):
            result, premises = self.sweep.adjoints[wrt], [self.sweep.step_of[wrt]]
        elif where is not None and (name in self.general or name in self.closed):
            result, premises = self._member()
        elif where is not None and name in self.by_layer:
            result, premises = self._member_of_a_sum()
        elif wrt in self.sweep.adjoints:
            result, premises = self.sweep.adjoints[wrt], [self.sweep.step_of[wrt]]
        else:
            self._check_range(wrt)
            result, premises = (S.Zero if is_scalar(wrt) else zeros(*wrt.shape)), []
            out.record("independent", (left, result))
        closed, used = self._resolved(result)
        out.result, out.closed = result, closed
        last = out.steps[-1]
        chain = (left, result) if closed is None else (left, result, closed)
        if last.left == left and last.right == chain[-1]:
            return
        is_parameter = name in self.general and self.general[name][0] in self.sweep.adjoints
        rule = "depth.parameter" if is_parameter else "depth.ends"
        if closed is None and chain[-1] != left:
            ahead = any(
                expand(_where(x) - loop.index) == 1
                for loop in self.model.items
                if isinstance(loop, Loop)
                for n in walk(result)
                if isinstance(n, Gradient | ScalarGradient)
                for x in leaves(n.args[1])
                if index_of(x) is not None and leaf_name(x) in {leaf_name(d.symbol) for d in loop.body}
            )
            rule = "depth.named_before" if ahead else "depth.named"
            end = wrt.xreplace({i.index: i.upper for i in self.model.items if isinstance(i, Loop)})
            if ahead and end in self.ends:
                premises = [*premises, self.ends[end]]
        out.record(rule, chain, [*premises, *used])

    def _member(self) -> tuple[Expr, list[int]]:
        """The adjoint of one member, from the general layer's; the layer must be there."""
        name, where = leaf_name(self.wrt), _where(self.wrt)
        symbol, loop = self.general[name] if name in self.general else (self.closed[name][0], None)
        if loop is None:
            loop = next(
                item
                for item in self.model.items
                if isinstance(item, Loop) and symbol in {d.symbol for d in item.body}
            )
        shift = sympy.expand(_where(symbol) - loop.index)
        self._used_alone(loop)
        lowest = loop.lower - 1 if name in {leaf_name(s) for s in states_of(loop)} else loop.lower
        ends = [where.xreplace({loop.index: b}) for b in (loop.lower, loop.upper)]
        if any(is_beyond(w, lowest + shift, loop.upper + shift) for w in (where, *ends)):
            raise DeriveError(
                f"{name}[{where}] is outside the loop, which goes from {loop.lower} to {loop.upper}",
                hint=f"ask for {name}[{loop.lower + shift}] to {name}[{loop.upper + shift}], or for {name}",
            )
        found = self._value_of(self.wrt)
        if found is None:
            before = symbol.xreplace({loop.index: loop.index - 1})
            at = {loop.index: where + 1}
            return self.sweep.adjoints[before].xreplace(at), [self.sweep.step_of[before]]
        return found[0], list(found[1])

    def _member_of_a_sum(self) -> tuple[Expr, list[int]]:
        """The gradient by a member that only sums over layers use."""
        entries = self.by_layer[leaf_name(self.wrt)]
        parts: list[Contribution] = []
        for e in entries:
            if is_beyond(_where(self.wrt), e.lower, e.upper):
                raise DeriveError(
                    f"{leaf_name(self.wrt)}[{_where(self.wrt)}] is outside the sum, "
                    f"which goes from {e.lower} to {e.upper}"
                )
            parts.append(
                _moved(e.part, {e.index: _where(self.wrt) - sympy.expand(_where(e.symbol) - e.index)})
            )
        settle(self.sweep, self.wrt, parts, self.tidy)
        return self.sweep.adjoints[self.wrt], [self.sweep.step_of[self.wrt]]

    def _check_range(self, wrt: Expr) -> None:
        """A member of a layer that is not there is no variable of which the result is merely independent."""
        name, where = leaf_name(wrt), index_of(wrt)
        if where is None:
            return
        for loop in (item for item in self.model.items if isinstance(item, Loop)):
            for d in loop.body:
                for leaf in (d.symbol, *leaves(d.value)):
                    if leaf_name(leaf) != name or index_of(leaf) is None:
                        continue
                    low, high = (_where(leaf).xreplace({loop.index: b}) for b in (loop.lower, loop.upper))
                    if is_beyond(where, low, high):
                        raise DeriveError(
                            f"{name}[{where}] is outside the loop, "
                            f"which goes from {loop.lower} to {loop.upper}",
                            hint=f"ask for {name}[{low}] to {name}[{high}], or for {name}",
                        )
        raise DeriveError(f"{name}[{where}] is no part of a layer that the result depends on")

    def _finish_shared(self) -> None:
        """A name that all layers share, or that several parts of the model use: what they contribute is added."""
        out, wrt, f = self.out, self.wrt, self.f
        parts = self.waiting.pop(wrt)
        shared = self.shared.get(wrt, [])
        if len(parts) == len(shared) == 1:
            by_layer, loop, premises = shared[0]
            written, used = self._resolved(by_layer)
            out.result = parts[0].value
            out.closed = None if written is None else over_layers(written, loop.index, loop.lower, loop.upper)
            chain = (gradient(f, wrt), out.result, *(() if out.closed is None else (out.closed,)))
            number = out.record("depth.shared", chain, [*premises, *used])
            if written is not None:
                shorter = close_shared(out, self.model, written, loop, number, self.names, self.tidy)
                out.closed = out.closed if shorter is None else shorter
            return
        settle(self.sweep, wrt, parts, self.tidy)
        out.result = self.sweep.adjoints[wrt]
        out.closed, used = self._resolved(out.result)
        last = self.sweep.step_of[wrt]
        if out.closed is not None and out.closed != out.result:
            out.record("depth.parameter", (gradient(f, wrt), out.result, out.closed), [last, *used])


def _twofold(formulas: Iterable[Expr]) -> frozenset[Expr]:
    """Products that also stand as a run of factors in a longer one: a gradient by one would not say by which."""
    products = {n for e in formulas for n in walk(e) if isinstance(n, MatMul)}
    return frozenset(
        p
        for p in products
        for q in products
        if len(q.args) > len(p.args)
        and any(q.args[i : i + len(p.args)] == p.args for i in range(len(q.args) - len(p.args) + 1))
    )


def _apart(form: Expr, free: set[Expr], taken: set[str]) -> Expr:
    """The form with other letters for the indices that it binds, where those are to be put in from outside."""
    bound = [n.index for n in walk(form) if isinstance(n, MatrixSum | OrderedProduct)]
    bound += [n.limits[0][0] for n in walk(form) if isinstance(n, Sum | Product)]
    avoid = taken | {str(s) for s in free} | {str(b) for b in bound}
    again: dict[Expr, Expr] = {}
    for index in dict.fromkeys(bound):
        if index in free:
            letter = next((c for c in "ijkpqruv" if c not in avoid), f"{index}_")
            avoid.add(letter)
            again[index] = Symbol(letter, integer=True, positive=True)
    return form.xreplace(again) if again else form


def _has_gradients(e: Expr) -> bool:
    return any(isinstance(n, Gradient | ScalarGradient) for n in walk(e))


def _next_layer(n: Expr, index: Symbol, f: Expr) -> bool:
    """Whether an unevaluated adjoint belongs to the next layer, and not to the one that is asked about."""
    return (
        isinstance(n, Gradient | ScalarGradient)
        and n.args[0] == f
        and index_of(n.args[1]) is not None
        and _where(n.args[1]) == index
    )


def _is_used_in_its_layer(body: Sequence[Definition], s: Expr) -> bool:
    return any(s in leaves(d.value) for d in body)


def _hands_on(body: Sequence[Definition], s: Expr, index: Symbol) -> bool:
    """Whether a layer only adds to a state: s[l] = s[l-1] + ... with no other use of s[l-1]."""
    before = s.xreplace({index: index - 1})
    users = [d for d in body if before in leaves(d.value)]
    if len(users) != 1 or users[0].symbol != s or not users[0].value.is_Add or is_matrix(s):
        return False
    return sum(before in leaves(t) for t in users[0].value.args) == 1 and before in users[0].value.args


def _in_order(values: Mapping[Expr, Expr], f: Expr, index: Symbol) -> list[tuple[Expr, bool]]:
    """The states, those first that others rest on; True for one that is coupled with another both ways."""
    needs: dict[Expr, set[Expr]] = {}
    for s, value in values.items():
        used = {n.args[1] for n in walk(value) if isinstance(n, Gradient | ScalarGradient) and n.args[0] == f}
        needs[s] = {o for o in values if o != s and (o in used or o.xreplace({index: index - 1}) in used)}
    reach = {s: set(n) for s, n in needs.items()}
    for _ in values:
        for s in values:
            reach[s] |= {t for o in reach[s] for t in reach[o]}
    return sorted(((s, s in reach[s]) for s in values), key=lambda pair: len(reach[pair[0]]))
