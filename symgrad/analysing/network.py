"""What the stability sheet needs to know of a network, read off its model and its derived recurrence."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sympy import Expr, S, Symbol
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.special import Identity

from symgrad.analysing.moments import moments
from symgrad.api import Derivation, derive
from symgrad.deriving.depth import Layers, layers_of
from symgrad.deriving.steps import Step
from symgrad.errors import UnsupportedError
from symgrad.expr import (
    Definition,
    Elementwise,
    Loop,
    Member,
    Model,
    is_matrix,
    is_scalar,
    leaf_name,
    leaves,
    norm,
    walk,
)
from symgrad.expr.entrywise import function_name
from symgrad.expr.functions import FUNCTIONS

__all__ = ["Network", "read_network"]


@dataclass(frozen=True)
class Network:
    """A network of layers that are alike: its activation, whether its blocks are residual and its weights shared."""

    derivation: Derivation
    layers: Layers
    activation: str
    residual: bool
    shared: bool

    @property
    def depth(self) -> Expr:
        """The number of layers."""
        return self.layers.loop.upper - self.layers.loop.lower + 1

    def step(self, *rules: str) -> Step | None:
        """The first step by one of some rules."""
        return next((s for s in self.derivation.steps if s.rule in rules), None)


def read_network(model: Model) -> Network:
    """The network of a model with one loop and one state.

    Raises   UnsupportedError for another model, or one with more than one kind of activation
    """
    if not any(isinstance(item, Loop) for item in model.items):
        raise UnsupportedError(
            "the network has no layers", hint="the stability of a loop is analysed: for l in 1..L: .."
        )
    layers = layers_of(model)
    names = {name for d in layers.loop.body for n in walk(d.value) if (name := _activation(n)) is not None}
    if len(names) > 1:
        raise UnsupportedError(
            f"the layers apply {', '.join(sorted(names))}", hint="one activation at a time is analysed"
        )
    activation = names.pop() if names else "identity"
    moments(activation)  # refuses what has none, before anything is derived
    last = list(model.definitions())[-1].symbol
    of = last
    if not is_scalar(last):  # any loss will do: what is asked for is the way back
        of = Symbol(next(n for n in ("loss", "ell", "loss_") if n not in model.symbols), real=True)
        model = replace(model, items=(*model.items, Definition(of, norm(last) ** 2 / 2)))
    first = layers.at(layers.loop.lower - 1)
    derivation = derive(model, first, of=of)
    found = next((s for s in derivation.steps if s.rule in _RECURRENCES), None)
    factor = found.terms.get("factor") if found is not None else None
    sums = isinstance(factor, Expr) and (isinstance(factor, MatAdd) or factor.is_Add)
    terms = factor.args if sums and isinstance(factor, Expr) else ()
    residual = any(isinstance(t, Identity) or t is S.One for t in terms)
    used = {leaf for d in layers.loop.body for leaf in leaves(d.value)}
    states = {leaf_name(d.symbol) for d in layers.loop.body}
    by_layer = any(
        isinstance(leaf, Member) and leaf_name(leaf) not in states and leaf.shape[1] != 1 for leaf in used
    )
    scalar = not is_matrix(layers.state)
    return Network(derivation, layers, activation, residual, not by_layer and not scalar)


_RECURRENCES = (
    "depth.recurrence",
    "depth.affine_recurrence",
    "depth.recurrence_vec",
    "depth.recurrence_sides",
)


def _activation(node: object) -> str | None:
    if isinstance(node, Elementwise):
        return node.name
    name = function_name(node) if isinstance(node, Expr) and node.args else None
    return name if name in FUNCTIONS else None
