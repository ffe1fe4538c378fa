"""The result for the variable: a member of a layer, a first or last state, a name that layers share."""

from __future__ import annotations

import sympy
from sympy import Expr, S, expand

from symgrad.deriving.backprop import Contribution, settle
from symgrad.deriving.depth.closed import (
    over_layers,
)
from symgrad.deriving.depth.known import moved, where_of
from symgrad.deriving.depth.layers import index_of, is_beyond, states_of
from symgrad.deriving.depth.recurrences import Recurrences
from symgrad.deriving.depth.tied import close_shared
from symgrad.errors import DeriveError, UnsupportedError
from symgrad.expr import (
    Gradient,
    Loop,
    ScalarGradient,
    gradient,
    is_scalar,
    leaf_name,
    leaves,
    walk,
    zeros,
)

__all__ = ["Result"]


class Result(Recurrences):
    """Puts together what the way back has shown."""

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
                low, high = (where_of(member).xreplace({loop.index: b}) for b in (loop.lower, loop.upper))
                if not is_beyond(where_of(leaf), low, high):
                    raise UnsupportedError(
                        f"{name}[{where_of(leaf)}] is used in the loop and on its own",
                        hint="give the one that is used on its own a name of its own",
                    )

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
                expand(where_of(x) - loop.index) == 1
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
        name, where = leaf_name(self.wrt), where_of(self.wrt)
        symbol, loop = self.general[name] if name in self.general else (self.closed[name][0], None)
        if loop is None:
            loop = next(
                item
                for item in self.model.items
                if isinstance(item, Loop) and symbol in {d.symbol for d in item.body}
            )
        shift = sympy.expand(where_of(symbol) - loop.index)
        self._used_alone(loop)
        lowest = loop.lower - 1 if name in {leaf_name(s) for s in states_of(loop)} else loop.lower
        ends = [where.xreplace({loop.index: b}) for b in (loop.lower, loop.upper)]
        if any(is_beyond(w, lowest + shift, loop.upper + shift) for w in (where, *ends)):
            raise DeriveError(
                f"{name}[{where}] is outside the loop, which goes from {loop.lower} to {loop.upper}",
                hint=f"ask for {name}[{loop.lower + shift}] to {name}[{loop.upper + shift}], or for {name}",
            )
        found = self._value_of(self.wrt)
        if found is None and name in self.in_blocks:
            _, form, numbers = self.in_blocks[name]
            return self.tidy(form.xreplace({loop.index: where})), list(numbers)
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
            if is_beyond(where_of(self.wrt), e.lower, e.upper):
                raise DeriveError(
                    f"{leaf_name(self.wrt)}[{where_of(self.wrt)}] is outside the sum, "
                    f"which goes from {e.lower} to {e.upper}"
                )
            parts.append(
                moved(e.part, {e.index: where_of(self.wrt) - sympy.expand(where_of(e.symbol) - e.index)})
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
                    low, high = (where_of(leaf).xreplace({loop.index: b}) for b in (loop.lower, loop.upper))
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
