"""The names and functions of a model that an edit of a formula may bring in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sympy import Add, Expr, Mul, Symbol
from sympy.matrices.expressions.hadamard import HadamardProduct
from sympy.matrices.expressions.matadd import MatAdd

from symgrad.errors import SymgradError
from symgrad.expr import (
    Elementwise,
    Model,
    Softmax,
    is_leaf,
    walk,
)
from symgrad.rules.elementwise import derivative

__all__ = ["Activation", "Vocabulary"]


@dataclass(frozen=True)
class Activation:
    """A node a = phi(z) of the model, and phi'(z) as textbooks write it."""

    argument: Expr
    output: Expr
    slope: Expr


class Vocabulary:
    """The names and functions of a model that an edit may bring in."""

    def __init__(self, model: Model, links: Iterable[Expr], indices: tuple[Symbol, ...] = ()) -> None:
        self.indices = indices
        names: dict[Expr, None] = {}
        for e in (*(d.value for d in model.definitions()), *links):
            for node in walk(e):
                if is_leaf(node) and not (isinstance(node, Symbol) and node.is_integer):
                    names.setdefault(node)
        for d in model.definitions():
            names.setdefault(d.symbol)
        self.names = tuple(n for n in names if n not in indices)
        self.defined = {d.value: d.symbol for d in model.definitions()}
        self.activations = tuple(self._activations(model))
        self.softmaxes: dict[Expr, Expr] = {
            d.symbol: d.value for d in model.definitions() if isinstance(d.value, Softmax)
        }
        for e in (*(d.value for d in model.definitions()), *links):
            self.softmaxes |= {n: n for n in walk(e) if isinstance(n, Softmax)}

    def slopes_in(self, e: Expr) -> set[Expr]:
        """The derivatives of activations that occur in an expression, as textbooks write them."""
        present = {form for node in walk(e) for form in _factor_forms(node)}
        return {a.slope for a in self.activations if _factor_forms(a.slope) <= present}

    def _activations(self, model: Model) -> Iterator[Activation]:
        seen: set[Expr] = set()
        for d in model.definitions():
            for node in walk(d.value):
                if not isinstance(node, Elementwise) or node in seen or node.name in ("step", "log", "sign"):
                    continue
                seen.add(node)
                output = self.defined.get(node, node)
                try:
                    slope = derivative(node.name, node.arg, output, *node.parameters)
                except (SymgradError, ValueError, TypeError, KeyError):
                    continue
                yield Activation(node.arg, output, slope)


def _factor_forms(e: Expr) -> set[Expr | frozenset[Expr]]:
    """The entrywise factors of a node, the order of terms in them left open."""
    factors = e.args if isinstance(e, HadamardProduct | Mul) else (e,)
    return {frozenset(f.args) if isinstance(f, MatAdd | Add) else f for f in factors}
