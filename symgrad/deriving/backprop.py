"""Reverse mode: one sweep over the named definitions, last to first; every adjoint gets a step.

The adjoint of a definition is written with the adjoints of the definitions that use it, so a derivation is
as long as the model and formulas never swell (Griewank and Walther 2008; Laue 2019).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from sympy import Expr, S

from symgrad.deriving.steps import Step
from symgrad.errors import DeriveError
from symgrad.expr import (
    Definition,
    Gradient,
    Model,
    ScalarGradient,
    add,
    dependents,
    gradient,
    is_leaf,
    is_scalar,
    leaves,
    printed_size,
    shape_of,
    shape_text,
    substitute,
    walk,
    zeros,
)
from symgrad.rules import Rule, rule_for

__all__ = [
    "AsDerived",
    "Contribution",
    "Sweep",
    "Tidy",
    "active_symbols",
    "backprop",
    "expand",
    "needed_steps",
    "settle",
    "sweep_back",
]


class Tidy(Protocol):
    """Brings an adjoint to the form in which it is shown and used further, and says how long a form is."""

    def __call__(self, e: Expr) -> Expr:
        """The form that is shown."""
        ...

    def length(self, e: Expr) -> int:
        """How long a reader finds it."""
        ...


class AsDerived:
    """Leaves everything as the rules made it."""

    def __call__(self, e: Expr) -> Expr:
        """The expression itself."""
        return e

    def length(self, e: Expr) -> int:
        """The number of symbols and operations."""
        return printed_size(e)


@dataclass(frozen=True)
class Contribution:
    """What one use of a node adds to its adjoint."""

    value: Expr
    by_name: Expr  # the same, written with the adjoint of the user where that has a step of its own
    rule: str
    premises: tuple[int, ...]


@dataclass
class Sweep:
    """The result of a reverse sweep of the scalar `f`.

    `adjoints` maps every input and every definition between it and `f` to its adjoint, written with the
    unevaluated gradients by the definitions that use it; `steps` are in order. `ambiguous` are parts without a name
    that stand in several definitions: a gradient by one of them would not say by which, so they get no step.
    While one layer of many is swept, `layer` is its index: a part without it is shared by all layers, and gets none either.
    """

    f: Expr
    steps: list[Step] = field(default_factory=list)
    adjoints: dict[Expr, Expr] = field(default_factory=dict)
    step_of: dict[Expr, int] = field(default_factory=dict)
    ambiguous: frozenset[Expr] = frozenset()
    layer: Expr | None = None

    def record(self, rule: str, equation: Iterable[Expr], premises: Iterable[int]) -> int:
        """Add a step; equal neighbours of the chain are written once. Returns its number."""
        chain: list[Expr] = []
        for e in equation:
            if not chain or chain[-1] != e:
                chain.append(e)
        number = len(self.steps) + 1
        self.steps.append(
            Step(number, rule, tuple(chain), tuple(sorted(set(premises))), f"rule.{rule}", {"node": chain[0]})
        )
        return number


def active_symbols(definitions: Iterable[Definition], wrt: Collection[Expr]) -> set[Expr]:
    """The symbols in `wrt` and every definition that depends on one of them.

    A definition that is itself in `wrt` is cut off from what it depends on.
    """
    active = set(wrt)
    for d in definitions:
        if d.symbol not in active and any(leaf in active for leaf in leaves(d.value)):
            active.add(d.symbol)
    return active


def backprop(model: Model, f: Expr, wrt: Collection[Expr], tidy: Tidy | None = None) -> Sweep:
    """The adjoints of `f` by everything on the way to `wrt`.

    `f` is the symbol of a scalar definition or a scalar expression over the model; `tidy` brings an
    adjoint to the form in which it is shown and used further.

    Raises   DeriveError if `f` is not a scalar, UnsupportedError where no rule knows an operation
    """
    if not is_scalar(f):
        raise DeriveError(
            f"a gradient is taken of a scalar, not of a {shape_text(shape_of(f))}",
            hint="a vector has a Jacobian (kind jacobian)",
        )
    tidy = tidy or AsDerived()
    sweep = Sweep(f)
    definitions = list(model.definitions())
    waiting: dict[Expr, list[Contribution]] = {}
    formulas = [d.value for d in definitions]
    sweep.ambiguous = _in_several(formulas if f in {d.symbol for d in definitions} else [*formulas, f])
    if any(d.symbol == f for d in definitions):
        sweep_back(sweep, definitions, {f: S.One}, wrt, tidy, waiting)
    else:
        _through(sweep, f, f, S.One, active_symbols(definitions, wrt), waiting, (), tidy)
        sweep_back(sweep, definitions, {}, wrt, tidy, waiting)
    for symbol in wrt:
        if symbol == f:
            sweep.adjoints[symbol] = S.One
        elif symbol not in sweep.adjoints:
            sweep.adjoints[symbol] = S.Zero if is_scalar(symbol) else zeros(*symbol.shape)
            number = sweep.record("independent", (gradient(f, symbol), sweep.adjoints[symbol]), ())
            sweep.step_of[symbol] = number
    return sweep


def _in_several(formulas: Iterable[Expr]) -> frozenset[Expr]:
    """The parts without a name that stand in more than one formula."""
    once: set[Expr] = set()
    again: set[Expr] = set()
    for formula in formulas:
        parts = {n for n in walk(formula) if isinstance(n, Expr) and not is_leaf(n)} - {formula}
        again |= parts & once
        once |= parts
    return frozenset(again)


def sweep_back(
    sweep: Sweep,
    definitions: list[Definition],
    seeds: Mapping[Expr, Expr],
    wrt: Collection[Expr],
    tidy: Tidy,
    waiting: dict[Expr, list[Contribution]] | None = None,
    open_: Collection[Expr] = (),
) -> None:
    """Go back over definitions, last to first, and settle the adjoints of `wrt`.

    `seeds` gives the adjoints of symbols that are known from elsewhere: 1 for the result itself, the
    unevaluated gradient by the output of a layer. `waiting` holds contributions from later parts; those to
    symbols in `open_` are left in it, because earlier parts may add to them.
    """
    waiting = {} if waiting is None else waiting
    active = active_symbols(definitions, {*wrt, *open_})
    cut = {*wrt, *open_} - set(seeds)
    for d in reversed(definitions):
        if d.symbol not in active or d.symbol in cut:
            continue
        if d.symbol in seeds:
            adjoint = seeds[d.symbol]
            premises = (sweep.step_of[d.symbol],) if d.symbol in sweep.step_of else ()
        elif d.symbol in waiting:
            settle(sweep, d.symbol, waiting.pop(d.symbol), tidy)
            adjoint, premises = gradient(sweep.f, d.symbol), (sweep.step_of[d.symbol],)
        else:
            continue
        _through(sweep, d.value, d.symbol, adjoint, active, waiting, premises, tidy)
    for symbol in wrt:
        if symbol in waiting:
            settle(sweep, symbol, waiting.pop(symbol), tidy)


def settle(sweep: Sweep, node: Expr, parts: list[Contribution], tidy: Tidy) -> None:
    """All uses of a node are known: its adjoint is the sum of what they contribute."""
    raw = add(*(c.value for c in parts))
    value = tidy(raw)
    by_name = add(*(c.by_name for c in parts))
    name = parts[0].rule if len(parts) == 1 else "total"
    premises = {n for c in parts for n in c.premises}
    chain = [gradient(sweep.f, node), by_name, value]
    # Where putting in what is known of the adjoints makes it no longer, as p - y for softmax and cross
    # entropy, that is the form to go on with; else the named adjoints stay.
    known = {gradient(sweep.f, v): sweep.adjoints[v] for v in _adjoint_names(value, sweep)}
    if known:
        filled_in = tidy(substitute(value, known))
        fewer = len(_adjoint_names(filled_in, sweep)) < len(known)
        if fewer and tidy.length(filled_in) <= tidy.length(value):
            chain.append(filled_in)
    sweep.adjoints[node] = chain[-1]
    sweep.step_of[node] = sweep.record(name, chain, premises)


def _adjoint_names(value: Expr, sweep: Sweep) -> list[Expr]:
    """The definitions whose unevaluated adjoints occur in a value."""
    return [
        n.args[1]
        for n in walk(value)
        if isinstance(n, Gradient | ScalarGradient) and n.args[1] in sweep.adjoints
    ]


Inputs = dict[Expr, tuple[Rule, tuple[Expr, ...]]]


def _order(root: Expr, active: Collection[Expr]) -> tuple[list[Expr], Inputs]:
    """The active nodes of an expression, users before what they use, and the rule and inputs of each."""
    involved = dependents(root, active)
    inputs: Inputs = {}
    order: list[Expr] = []
    seen: set[Expr] = set()
    stack: list[tuple[Expr, bool]] = [(root, False)]
    while stack:
        node, entered = stack.pop()
        if entered:
            order.append(node)
            continue
        if node in seen or node not in involved:
            continue
        seen.add(node)
        stack.append((node, True))
        if not is_leaf(node):
            entry = rule_for(node)
            inputs[node] = entry, entry.parts(node)
            stack.extend((p, False) for p in inputs[node][1])
    return order[::-1], inputs


def _passed_over(inputs: Inputs, active: Collection[Expr]) -> set[Expr]:
    """The parts that a rule sees through, as ||x|| in ||x||^2.

    Where such a part stands elsewhere too, a gradient by it would leave out what goes through the rule.
    """
    passed: set[Expr] = set()
    for node, (_, parts) in inputs.items():
        stack = [a for a in node.args if isinstance(a, Expr)]
        while stack:
            a = stack.pop()
            if a not in parts and a not in passed and not is_leaf(a):
                passed.add(a)
                stack.extend(b for b in a.args if isinstance(b, Expr))
    return passed & set(active)


def _through(
    sweep: Sweep,
    root: Expr,
    name: Expr,
    adjoint: Expr,
    active: set[Expr],
    waiting: dict[Expr, list[Contribution]],
    premises: tuple[int, ...],
    tidy: Tidy,
) -> None:
    """Push the adjoint of a definition (called `name`) through its expression to its leaves."""
    order, inputs = _order(root, active)
    taking_part = set(order)
    sweep.ambiguous |= _passed_over(inputs, taking_part)
    local: dict[Expr, list[Contribution]] = {}
    for node in order:
        if is_leaf(node) and node != root:
            waiting.setdefault(node, []).extend(local.pop(node))
            continue
        if node == root:
            value, by_name, why = adjoint, adjoint, premises
            if is_leaf(root):  # y = x, a definition that is only another name
                waiting.setdefault(root, []).append(Contribution(value, value, "sum", premises))
                continue
        else:
            value, by_name, why = _settle_inner(sweep, node, local.pop(node), tidy)
        entry, parts = inputs[node]
        output = name if node == root else node
        values = entry.pullback(value, output, *parts)
        named = values if by_name is value else entry.pullback(by_name, output, *parts)
        for part, given, given_by_name in zip(parts, values, named, strict=True):
            if given is not None and part in taking_part:
                local.setdefault(part, []).append(Contribution(given, given_by_name, entry.name, why))


def _settle_inner(
    sweep: Sweep, node: Expr, parts: list[Contribution], tidy: Tidy
) -> tuple[Expr, Expr, tuple[int, ...]]:
    """The adjoint of an unnamed node: its value, how it is named further down, and its step.

    A node that only hands its user's adjoint on, or whose adjoint is a number, gets no step of its own.
    """
    value = tidy(add(*(c.value for c in parts)))
    why = tuple(sorted({n for c in parts for n in c.premises}))
    if node in sweep.ambiguous or (sweep.layer is not None and not node.has(sweep.layer)):
        return value, value, why
    only = parts[0] if len(parts) == 1 else None
    if value.is_Number or isinstance(value, Gradient | ScalarGradient):
        return value, value, why
    left = gradient(sweep.f, node)
    by_name = add(*(c.by_name for c in parts))
    if only is not None and (only.value == value) and by_name == value and only.rule in _HANDS_ON:
        return value, value, why
    number = sweep.record("total" if only is None else only.rule, (left, by_name, value), why)
    sweep.step_of[node] = number
    return value, left, (number,)


_HANDS_ON = {"sum", "scalar of matrix", "scalar product", "transpose"}


class Adjoints(Protocol):
    """What a sweep has found: the adjoints of `f`, each written with those before it."""

    @property
    def f(self) -> Expr:
        """The scalar that is derived."""
        ...

    @property
    def adjoints(self) -> dict[Expr, Expr]:
        """The adjoint of every variable on the way."""
        ...


def expand(value: Expr, sweep: Adjoints, limit: int = 400) -> Expr | None:
    """The value with every unevaluated gradient of `f` replaced by what it is.

    None if that would print more than `limit` symbols: shared parts are written out at every use.
    """
    done: dict[Expr, Expr] = {}
    # In the order of the sweep every value rests on earlier ones only.
    for symbol, adjoint in sweep.adjoints.items():
        node = gradient(sweep.f, symbol)
        done[node] = substitute(adjoint, {n: done[n] for n in walk(adjoint) if n in done})
        if printed_size(done[node]) > limit:
            done[node] = node
    expanded = substitute(value, {n: done[n] for n in walk(value) if n in done})
    if printed_size(expanded) > limit or any(n in done for n in walk(expanded)):
        return None
    return expanded


def needed_steps(sweep: Sweep, symbol: Expr) -> list[Step]:
    """The steps that the adjoint of a symbol rests on, renumbered in order."""
    start = sweep.step_of.get(symbol)
    if start is None:
        return []
    by_number = {s.number: s for s in sweep.steps}
    wanted, stack = set(), [start]
    while stack:
        number = stack.pop()
        if number not in wanted:
            wanted.add(number)
            stack.extend(by_number[number].premises)
    kept = [s for s in sweep.steps if s.number in wanted]
    renumber = {s.number: i for i, s in enumerate(kept, 1)}
    return [
        Step(
            renumber[s.number],
            s.rule,
            s.equation,
            tuple(renumber[p] for p in s.premises),
            s.phrase,
            s.terms,
            s.evidence,
        )
        for s in kept
    ]
