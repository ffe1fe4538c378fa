"""States that need each other: their adjoints one below the other, and one matrix of blocks for every layer.

    [g_h; g_c][l-1] = [[A_l, B_l], [C_l, D_l]] [g_h; g_c][l] + [r_h; r_c]

which is solved as the recurrence of one state is (`closed`). A state whose adjoint no layer before it needs is left out of
the stack: its own is what the others make of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sympy import Expr, S, Symbol

from symgrad.deriving.backprop import Tidy
from symgrad.deriving.depth.closed import affine_parts
from symgrad.expr import (
    add,
    block,
    dependents,
    eye,
    gradient,
    is_column,
    is_matrix,
    is_scalar,
    matmul,
    scale,
    stack,
    substitute,
    zeros,
)

__all__ = ["Coupled", "coupled", "groups"]


@dataclass(frozen=True)
class Coupled:
    """g_s[l-1] = sum over o of factors[s, o] g_o[l] + rests[s]; `core` are the states o that occur on the right."""

    f: Expr
    states: tuple[Expr, ...]
    core: tuple[Expr, ...]
    factors: Mapping[tuple[Expr, Expr], Expr]
    rests: Mapping[Expr, Expr]

    def stacked(self, of: Sequence[Expr], at: Mapping[Expr, Expr]) -> Expr:
        """The adjoints of states one below the other."""
        return stack([gradient(self.f, s.xreplace(dict(at))) for s in of])

    def matrix(self) -> Expr:
        """The matrix that hands the adjoints of the core back by one layer."""
        return block([[self.factors[s, o] for o in self.core] for s in self.core])

    def rest(self) -> Expr:
        """What reaches the core directly."""
        return stack([self.rests[s] for s in self.core])

    def row(self, s: Expr) -> Expr:
        """One state's adjoint by those of the core."""
        terms = [matmul(self.factors[s, o], gradient(self.f, o)) for o in self.core]
        return add(*terms, self.rests[s])


def groups(needs: Mapping[Expr, set[Expr]]) -> list[tuple[Expr, ...]]:
    """The states in groups that need each other, those groups first that others rest on."""
    reach = {s: set(n) for s, n in needs.items()}
    for _ in needs:
        for s in needs:
            reach[s] |= {t for o in reach[s] for t in reach[o]}
    found: list[tuple[Expr, ...]] = []
    for s in sorted(needs, key=lambda s: len(reach[s])):
        if not any(s in g for g in found):
            found.append(tuple(o for o in needs if o == s or (o in reach[s] and s in reach[o])))
    return found


def coupled(
    values: Mapping[Expr, Expr], group: Sequence[Expr], f: Expr, index: Symbol, tidy: Tidy
) -> Coupled | None:
    """The recurrence of a group of vectors or numbers; None where it is not affine in their adjoints.

    `values` are the adjoints one layer back, by those of the same layer and of the next one.
    """
    if not all(is_scalar(s) or is_column(s) for s in group):
        return None
    here = {gradient(f, s.xreplace({index: index - 1})): values[s] for s in group}
    after = {o: gradient(f, o) for o in group}
    factors: dict[tuple[Expr, Expr], Expr] = {}
    rests: dict[Expr, Expr] = {}
    for s in group:
        value = values[s]
        for (
            _
        ) in group:  # the adjoints of the same layer are made of the next one's, in the order of the layer
            value = substitute(value, here)
        if dependents(value, set(here)):
            return None
        for o, name in after.items():
            parts = affine_parts(value, name, tidy) if dependents(value, {name}) else None
            if parts is None:
                if dependents(value, {name}):
                    return None
                parts = _nothing(s, o), value
            factors[s, o] = _as_block(parts[0], s, o)
            value = parts[1]
        rests[s] = tidy(value)
    core = tuple(o for o in group if any(not _is_nothing(factors[s, o]) for s in group))
    return Coupled(f, tuple(group), core, factors, rests)


def _size(s: Expr) -> Expr:
    return s.shape[0] if is_matrix(s) else S.One


def _nothing(s: Expr, o: Expr) -> Expr:
    rows, columns = _size(s), _size(o)
    return S.Zero if rows == columns == 1 else zeros(rows, columns)


def _as_block(factor: Expr, s: Expr, o: Expr) -> Expr:
    """A number that stands for a multiple of the identity is that matrix, as a block."""
    if is_scalar(factor) and is_matrix(s) and is_matrix(o):
        return scale(factor, eye(_size(s)))
    return factor


def _is_nothing(m: Expr) -> bool:
    return m == (S.Zero if is_scalar(m) else zeros(*m.shape))
