"""The table of rewrites: each a named, one-way step from a node to a shorter one of equal value.

A rewrite gets a node whose parts are simplified already and returns another expression, or None. The driver
(`simplify`) accepts it only if it is shorter, or equally long and earlier in a fixed order, so rewriting ends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sympy import Expr
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.matpow import MatPow
from sympy.matrices.expressions.transpose import Transpose

from symgrad.expr import matmul, matpower, split_scale, transpose
from symgrad.simplifying.properties import Properties

__all__ = ["REWRITES", "Rewrite", "factors_of", "rewrite", "rewrites_for", "turned"]

Function = Callable[[Expr, Properties], Expr | None]


@dataclass(frozen=True)
class Rewrite:
    """A named rewrite of nodes of certain classes; the name is the key of its phrase."""

    name: str
    op: tuple[type, ...]
    apply: Function


REWRITES: dict[str, Rewrite] = {}
_BY_TYPE: dict[type, list[Rewrite]] = {}


def rewrite(name: str, *op: type) -> Callable[[Function], Function]:
    """Enter a rewrite into the table."""

    def enter(function: Function) -> Function:
        entry = Rewrite(name, op, function)
        REWRITES[name] = entry
        for cls in op:
            _BY_TYPE.setdefault(cls, []).append(entry)
        return function

    return enter


def rewrites_for(node: Expr) -> list[Rewrite]:
    """The rewrites that may apply to a node."""
    return _BY_TYPE.get(type(node), [])


def turned(m: Expr, known: Properties) -> Expr:
    """The transpose with the transposes at the factors, none where a factor is symmetric."""
    c, rest = split_scale(m)
    factors = rest.args if isinstance(rest, MatMul) else (rest,)
    return matmul(c, *(_turned_factor(f, known) for f in reversed(factors)))


def _turned_factor(f: Expr, known: Properties) -> Expr:
    if known.is_symmetric(f):
        return f
    if isinstance(f, MatPow) and isinstance(f.args[0], Transpose):
        return matpower(f.args[0].arg, f.args[1])
    return transpose(f)


def factors_of(node: Expr) -> tuple[Expr, tuple[Expr, ...]]:
    """The scalar coefficient and the matrix factors of a product."""
    c, rest = split_scale(node)
    return c, rest.args if isinstance(rest, MatMul) else (rest,)
