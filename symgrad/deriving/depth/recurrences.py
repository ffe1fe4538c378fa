"""The adjoint of every state one layer back, put into the form of a recurrence and solved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sympy import Expr, S, Symbol

from symgrad.deriving.backprop import Contribution, settle
from symgrad.deriving.depth.closed import (
    Recurrence,
    affine_parts,
    matrix_closed,
    state_closed,
)
from symgrad.deriving.depth.coupled import coupled, groups
from symgrad.deriving.depth.known import Known, moved, where_of
from symgrad.deriving.depth.layers import index_of
from symgrad.expr import (
    Gradient,
    Loop,
    ScalarGradient,
    add,
    block_row,
    gradient,
    is_column,
    is_matrix,
    is_scalar,
    leaf_name,
    leaves,
    matmul,
    stack,
    substitute,
    walk,
    zeros,
)

__all__ = ["Recurrences"]


class Recurrences(Known):
    """States of a loop and their adjoints."""

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
            settle(self.sweep, before, [*carried[s], *(moved(c, back) for c in direct[s])], self.tidy)
            values[s] = self._in_terms_of_states(self.sweep.adjoints[before], body - set(states), index)
        for group in groups(_needs(values, self.f, index)):
            if len(group) == 1 or not self._solve_together(group, values, loop):
                for s in group:
                    self._solve(s, values[s], loop, len(group) > 1)
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

    def _solve_together(self, group: Sequence[Expr], values: Mapping[Expr, Expr], loop: Loop) -> bool:
        """The recurrence of states that need each other, solved where it is affine; whether it is."""
        out, index, upper = self.out, loop.index, loop.upper
        back, at_end = {index: index - 1}, {index: upper}
        together = coupled(values, group, self.f, index, self.tidy)
        if together is None or not together.core:
            return False
        steps = [self.sweep.step_of[s.xreplace(back)] for s in group]
        ends = [self.sweep.step_of[s.xreplace(at_end)] for s in together.core]
        for s in group:
            if s not in together.core:
                name = gradient(self.f, s.xreplace(back))
                self.shown.append(out.record("depth.eliminated", (name, together.row(s)), steps))
        name = together.stacked(together.core, {})
        before, factor, rest = name.xreplace(back), together.matrix(), together.rest()
        nothing = rest == (S.Zero if is_scalar(rest) else zeros(*rest.shape))
        shown = matmul(factor, name) if nothing else add(matmul(factor, name), rest)
        alone = len(together.core) == 1
        rule = "depth.coupled" if not alone else "depth.recurrence" if nothing else "depth.affine_recurrence"
        recurrence = out.record(rule, (before, shown), steps, factor=factor)
        used: list[int] = []
        last = stack([self.sweep.adjoints[s.xreplace(at_end)] for s in together.core])
        direct = not nothing and self._resolved_alike(rest.xreplace({index: upper + 1}), last, used)
        last = self.tidy(self._settled(last, used))
        r = Recurrence(
            name,
            index,
            upper,
            factor,
            rest,
            last,
            direct,
            (recurrence, *ends, *used),
            tuple(used) if direct else (),
        )
        filled, numbers = state_closed(out, r, self.names, self.tidy)
        self.shown += numbers
        if alone:
            self.closed[leaf_name(together.core[0])] = (together.core[0], filled, numbers)
        elif not _has_gradients(filled):
            heights = name.heights
            for i, s in enumerate(together.core):
                self.in_blocks[leaf_name(s)] = (s, matmul(block_row(heights, i), filled), numbers)
        return True

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
        closed = self.closed.get(leaf_name(s), self.in_blocks.get(leaf_name(s)))
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
            parts = [*self.waiting.pop(first, []), *(moved(c, at) for c in carried)]
            if not parts:
                return
            settle(self.sweep, first, parts, self.tidy)
        self.ends[first] = self.sweep.step_of[first]
        self.seeds[first] = gradient(self.f, first)


def _has_gradients(e: Expr) -> bool:
    return any(isinstance(n, Gradient | ScalarGradient) for n in walk(e))


def _next_layer(n: Expr, index: Symbol, f: Expr) -> bool:
    """Whether an unevaluated adjoint belongs to the next layer, and not to the one that is asked about."""
    return (
        isinstance(n, Gradient | ScalarGradient)
        and n.args[0] == f
        and index_of(n.args[1]) is not None
        and where_of(n.args[1]) == index
    )


def _needs(values: Mapping[Expr, Expr], f: Expr, index: Symbol) -> dict[Expr, set[Expr]]:
    """Which other states' adjoints the adjoint of each is made of."""
    needs: dict[Expr, set[Expr]] = {}
    for s, value in values.items():
        used = {n.args[1] for n in walk(value) if isinstance(n, Gradient | ScalarGradient) and n.args[0] == f}
        needs[s] = {o for o in values if o != s and (o in used or o.xreplace({index: index - 1}) in used)}
    return needs
