"""Names for long matrices of blocks: a layer's own is written out once, and everywhere else it is a member of a family."""

from __future__ import annotations

from collections.abc import Collection

from sympy import Expr, Symbol

from symgrad.api import Derivation
from symgrad.checking.layers import asked_layer
from symgrad.deriving.depth.layers import names_of
from symgrad.expr import Blocks, Loop, Member, is_column, is_matrix, matrix, printed_size, rebuild, walk

__all__ = ["by_its_blocks", "named_blocks"]

_SHORT = 24
"""A matrix of so few symbols and operations stands where it is used."""


def by_its_blocks(name: Expr, made: Blocks, taken: Collection[str]) -> list[tuple[Expr, Expr]]:
    """What a named matrix of blocks is: its blocks have names of their own where it would be too wide."""
    letters = [c for c in "ABCDEFGHUVWXYZ" if c not in taken]
    long = [m for m in dict.fromkeys(made.args[1:]) if is_matrix(m) and printed_size(m) > _SHORT // 4]
    if printed_size(made) <= 2 * _SHORT or len(long) > len(letters) or not isinstance(name, Member):
        return [(name, made)]
    called = {m: Member(c, name.index, *m.shape) for m, c in zip(long, letters, strict=False)}
    return [
        (name, rebuild(made, [called.get(m, m) for m in made.args])),
        *((v, k) for k, v in called.items()),
    ]


def named_blocks(derivation: Derivation, taken: Collection[Expr]) -> dict[Expr, Expr]:
    """The long matrices of blocks in the steps, with the names that they are shown by; `taken` are names in use."""
    indices = [item.index for item in derivation.model.items if isinstance(item, Loop)]
    used = names_of(derivation.model) | {str(n.name) for n in taken}
    letters = iter([c for c in "MNPKJ" if c not in used])
    known: list[tuple[Expr, Symbol, str]] = []
    named: dict[Expr, Expr] = {}
    for node in (n for s in derivation.steps for e in s.equation for n in walk(e)):
        if not isinstance(node, Blocks) or is_column(node) or node in named or printed_size(node) <= _SHORT:
            continue
        index = next((i for i in indices if node.has(i)), None)
        layers = ((asked_layer(general, node, i), name) for general, i, name in known)
        found = next(((layer, name) for layer, name in layers if layer is not None), None)
        if found is not None:
            named[node] = Member(found[1], found[0], *node.shape)
        elif (letter := next(letters, None)) is not None:
            if index is not None:
                known.append((node, index, letter))
            named[node] = matrix(letter, *node.shape) if index is None else Member(letter, index, *node.shape)
    return named
