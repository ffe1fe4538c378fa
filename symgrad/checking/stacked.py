"""Matrices of blocks in proofs over layers: names for them, and equations of them block by block.

A matrix of blocks that belongs to a layer is one member of a family for the proof of a product over layers: what is true
for all matrices of that shape is true for these. An equation between two such matrices holds if it holds in every block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sympy import Expr, Symbol

from symgrad.checking.layers import asked_layer
from symgrad.expr import (
    Blocks,
    MatrixSum,
    Member,
    OrderedProduct,
    is_leaf,
    is_matrix,
    matrix,
    shape_of,
    substitute,
    walk,
    worked_out,
)

__all__ = ["block_pairs", "has_blocks", "with_names"]


def has_blocks(e: Expr) -> bool:
    """Whether a matrix of blocks stands in it."""
    return any(isinstance(n, Blocks) for n in walk(e))


def block_pairs(a: Expr, b: Expr) -> list[tuple[Expr, Expr]] | None:
    """The blocks of two matrices at the same places, products of such matrices worked out; None if they do not fit."""
    a, b = worked_out(a), worked_out(b)
    if not (isinstance(a, Blocks) and isinstance(b, Blocks)) or (a.heights, a.widths) != (
        b.heights,
        b.widths,
    ):
        return None
    return [pair for rows in zip(a.by_rows, b.by_rows, strict=True) for pair in zip(*rows, strict=True)]


def with_names(formulas: Sequence[Expr], indices: Sequence[Symbol]) -> list[Expr]:
    """The formulas with a family's member for every matrix of blocks: the same family where only the layer differs.

    `indices` are those of the loops; an index that a sum or product binds is one as well.
    """
    known: list[tuple[Expr, Symbol, str]] = []
    put: dict[Expr, Expr] = {}
    for e in formulas:
        for node, bound in _found(e, ()):
            if node in put:
                continue
            for general, index, name in known:
                layer = asked_layer(general, node, index)
                if layer is not None:
                    put[node] = Member(name, layer, *node.shape)
                    break
            else:
                name = f"blocks{len(put)}_"
                index = next((i for i in (*bound, *indices) if node.has(i)), None)
                if index is None:
                    put[node] = matrix(name, *node.shape)
                else:
                    known.append((node, index, name))
                    put[node] = Member(name, index, *node.shape)
    return [substitute(e, put) for e in formulas]


def _found(e: Expr, bound: tuple[Symbol, ...]) -> Iterator[tuple[Blocks, tuple[Symbol, ...]]]:
    """The outermost matrices of blocks, with the indices that are bound around them."""
    if isinstance(e, Blocks):
        yield e, bound
        return
    if is_leaf(e):
        return
    if isinstance(e, OrderedProduct | MatrixSum):
        bound = (e.index, *bound)
    for arg in e.args:
        if isinstance(arg, Expr) and (is_matrix(arg) or shape_of(arg) == ()):
            yield from _found(arg, bound)
