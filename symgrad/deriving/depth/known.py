"""What a derivation through loops knows on its way back: adjoints of names, of states, and of general layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import sympy
from sympy import Dummy, Expr, Product, Sum, Symbol
from sympy.matrices.expressions.matmul import MatMul

from symgrad.deriving.backprop import Contribution, Tidy
from symgrad.deriving.depth.layers import index_of, names_of
from symgrad.deriving.depth.record import DepthSweep
from symgrad.expr import (
    Gradient,
    Loop,
    MatrixSum,
    Model,
    OrderedProduct,
    ScalarGradient,
    leaf_name,
    leaves,
    printed_size,
    substitute,
    walk,
)

__all__ = ["ByLayer", "Known", "moved", "where_of"]

_LONGEST = 3000


@dataclass(frozen=True)
class ByLayer:
    """What every layer of a range contributes to a member of a family: `part` belongs to `symbol`, both at `index`."""

    symbol: Expr
    index: Symbol
    lower: Expr
    upper: Expr
    part: Contribution

    def at(self, index: Symbol, shift: Expr) -> Contribution:
        """The contribution with another index, moved so that `symbol` is the member at index + shift."""
        own = sympy.expand(where_of(self.symbol) - self.index)
        return moved(self.part, {self.index: index + shift - own})


def where_of(leaf: Expr) -> Expr:
    """The layer of a member of a family."""
    where = index_of(leaf)
    assert where is not None  # noqa: S101 - asked of members only
    return where


def moved(part: Contribution, at: Mapping[Expr, Expr]) -> Contribution:
    """A contribution at another layer."""
    return replace(part, value=part.value.xreplace(at), by_name=part.by_name.xreplace(at))


class Known:
    """What waits for the items that are still to come, and what the loops have shown."""

    def __init__(self, model: Model, f: Expr, wrt: Expr, tidy: Tidy) -> None:
        self.model, self.f, self.wrt, self.tidy = model, f, wrt, tidy
        self.out = DepthSweep(f, wrt)
        self.sweep = self.out.sweep
        self.waiting: dict[Expr, list[Contribution]] = {}
        self.by_layer: dict[str, list[ByLayer]] = {}
        self.shared: dict[Expr, list[tuple[Expr, Loop, tuple[int, ...]]]] = {}
        self.general: dict[str, tuple[Expr, Loop]] = {}  # members whose adjoint at a general layer is known
        self.closed: dict[
            str, tuple[Expr, Expr, tuple[int, ...]]
        ] = {}  # states: symbol, closed form, the step that has it
        self.in_blocks: dict[str, tuple[Expr, Expr, tuple[int, ...]]] = {}  # the same as a row of a stack
        self.ends: dict[Expr, int] = {}  # first and last states whose adjoint is known, and its step
        self.constants: dict[Expr, Expr] = {}  # states that hand a number back unchanged
        self.seeds: dict[Expr, Expr] = {}  # first states, for the definitions that make them
        self.shown: list[int] = []  # steps that belong to the answer though nothing rests on them
        self.names = names_of(model)
        self.active = self._active_names()
        self.sweep.ambiguous = _twofold(d.value for d in model.definitions())

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
            return self.tidy(form.xreplace({where_of(symbol): where})), numbers
        if name in self.general and self.general[name][0] in self.sweep.adjoints:
            symbol, loop = self.general[name]
            at = {loop.index: where - sympy.expand(where_of(symbol) - loop.index)}
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

    def _resolved_alike(self, a: Expr, b: Expr, used: list[int]) -> bool:
        """Whether two adjoints of the last state are the same, its layer's own adjoints put in; the steps used."""
        return self.tidy(self._settled(a, used)) == self.tidy(self._settled(b, used))


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
