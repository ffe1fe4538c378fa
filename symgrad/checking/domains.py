"""Where a formula has a meaning: domains, and the kinks that a derivative leaves out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sympy import Expr, Pow
from sympy.matrices.expressions.hadamard import HadamardPower
from sympy.matrices.expressions.inverse import Inverse

from symgrad.expr import AxisMax, Elementwise, EntryMax, LogDet, Norm, is_matrix, leaf_name, leaves, walk
from symgrad.expr.entrywise import function_name
from symgrad.expr.model import Assumptions
from symgrad.reading.claim import Claim

__all__ = ["Condition", "conditions"]

_KINKS = {"relu", "leaky_relu", "elu", "abs", "sign", "step"}


@dataclass(frozen=True)
class Condition:
    """A condition on an expression: nonzero, positive, invertible, a single largest entry, not at the kink."""

    key: str
    of: Expr


def conditions(claim: Claim) -> tuple[Condition, ...]:
    """What the claim takes for granted, without what is assumed already; each once, in order."""
    found: dict[Condition, None] = {}
    expressions = [*(d.value for d in claim.model.definitions()), *claim.links]
    for e in expressions:
        nodes = list(walk(e))
        squared = {
            n.args[0] for n in nodes if isinstance(n, Pow) and n.args[1].is_even and n.args[1].is_positive
        }
        for node in nodes:
            for condition in _of_node(node):
                if node in squared and isinstance(node, Norm):
                    continue
                if not _known(condition, claim.model.assumptions):
                    found.setdefault(condition)
    return tuple(found)


def _of_node(node: Expr) -> Iterator[Condition]:
    name = node.name if isinstance(node, Elementwise) else function_name(node)
    argument = node.arg if isinstance(node, Elementwise) else (node.args[0] if name and node.args else None)
    if name in _KINKS and argument is not None:
        yield Condition("kink", argument)
    elif name == "log" and argument is not None:
        yield Condition("positive", argument)
    elif isinstance(node, Pow | HadamardPower) and not node.args[0].is_number:
        base, power = node.args
        if power.is_Rational and not power.is_Integer:
            yield Condition("positive", base)
        elif power.is_negative:
            yield Condition("nonzero", base)
    elif isinstance(node, Inverse | LogDet):
        yield Condition("invertible", node.args[0])
    elif isinstance(node, Norm):
        yield Condition("nonzero", node)
    elif isinstance(node, EntryMax | AxisMax):
        yield Condition("single", node.args[0])


def _known(condition: Condition, assumptions: Assumptions) -> bool:
    """Whether it follows from what is assumed of the names: sizes and positive scalars, sums of squares and such."""
    e = condition.of
    if condition.key in ("positive", "nonzero") and not is_matrix(e):
        if e.is_positive or (condition.key == "nonzero" and e.is_nonzero):
            return True
    words: Iterable[str] = ()
    named = list(leaves(e))
    if len(named) == 1 and named[0] == e:
        words = assumptions.get(leaf_name(e), frozenset())
    positive = {"positive", "in01", "positive_integer", "unit_norm", "pm1"}
    if condition.key == "invertible":
        return bool({"invertible", "positive_definite", "orthogonal"} & set(words))
    return bool(positive & set(words))
