"""From index notation back to matrices: series-parallel reduction of a network of entries.

Each index is a node, each entry M[a, b] an edge, each v[a] a label on a node. Parallel edges become an entrywise
product, an inner node with two edges a matrix product (with its labels as a diagonal matrix between them), a
pendant node a matrix-vector product, a loop a diagonal. What is left over has no matrix form, except shifts that
make a correlation or a convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import sympy
from sympy import Add, Expr, Function, KroneckerDelta, Mul, Pow, S, Sum, Symbol
from sympy.matrices.expressions.diagonal import DiagonalOf
from sympy.matrices.expressions.matexpr import MatrixElement

from symgrad.deriving.convolutions import convolution
from symgrad.deriving.deltas import Term, terms_of
from symgrad.expr import (
    add,
    apply,
    diag,
    entry_sum,
    eye,
    hadamard,
    inner,
    is_matrix,
    matmul,
    ones,
    outer,
    power,
    same_size,
    scale,
    softmax,
    trace,
    transpose,
)
from symgrad.expr.entries_of import normalised_exponential
from symgrad.expr.entrywise import function_name

__all__ = ["to_matrix"]

Sizes = dict[Expr, Expr]


def to_matrix(e: Expr, free: tuple[Expr, Expr], shape: tuple[Expr, Expr]) -> Expr | None:
    """The matrix with the entries `e` at the free indices (0 for the column of a vector); None if there is none.

    >>> from symgrad.expr import matrix
    >>> W, G = matrix("W", "m", "n"), matrix("G", "m", "b")
    >>> p, q, i = (Symbol(c, integer=True, nonnegative=True) for c in "pqi")
    >>> to_matrix(Sum(W[i, p] * G[i, q], (i, 0, W.shape[0] - 1)), (p, q), (W.shape[1], G.shape[1]))
    (G.T*W).T
    """
    sizes: Sizes = {k: n for k, n in zip(free, shape, strict=True) if not k.is_Number}
    parts = [_term(t, free, dict(sizes), shape) for t in terms_of(e)]
    if any(p is None for p in parts):
        return None
    if not parts:
        from symgrad.expr import zeros

        return zeros(*shape) if sizes else S.Zero
    return add(*(p for p in parts if p is not None))


@dataclass
class _Network:
    """A term while it is reduced: edges (row index, column index, matrix), labels, the scalar factor."""

    free: tuple[Expr, Expr]
    sizes: Sizes
    edges: list[tuple[Expr, Expr, Expr]] = field(default_factory=list)
    labels: dict[Expr, Expr] = field(default_factory=dict)
    factor: Expr = S.One

    def label(self, k: Expr, v: Expr) -> None:
        """Put a vector on a node."""
        self.labels[k] = hadamard(self.labels[k], v) if k in self.labels else v

    def edge(self, a: Expr, b: Expr, m: Expr) -> None:
        """Put a matrix between two nodes, oriented like an edge that is there already."""
        if a == b:
            self.label(a, diag(m))
            return
        for i, (c, d, other) in enumerate(self.edges):
            if (c, d) == (a, b):
                self.edges[i] = (a, b, hadamard(other, m))
                return
            if (c, d) == (b, a):
                self.edges[i] = (c, d, hadamard(other, transpose(m)))
                return
        self.edges.append((a, b, m))

    def at(self, k: Expr) -> list[tuple[Expr, Expr, Expr]]:
        """The edges at a node."""
        return [e for e in self.edges if k in e[:2]]

    def from_to(self, e: tuple[Expr, Expr, Expr], start: Expr) -> tuple[Expr, Expr]:
        """The matrix of an edge read from `start`, and the other end."""
        a, b, m = e
        return (m, b) if a == start else (transpose(m), a)

    def reduce(self) -> bool:
        """Remove every inner node; False if one of them has three edges or more."""
        inner_nodes = [k for k in self.sizes if k not in self.free]
        for a, b, m in list(self.edges):
            alone = a in inner_nodes and b in inner_nodes and len(self.at(a)) == len(self.at(b)) == 1
            if alone and a not in self.labels and b not in self.labels:
                self.edges.remove((a, b, m))
                self.factor = self.factor * entry_sum(m)
                inner_nodes = [k for k in inner_nodes if k not in (a, b)]
        while inner_nodes:
            k = min(inner_nodes, key=lambda node: len(self.at(node)))
            edges = self.at(k)
            if len(edges) > 2:
                return False
            inner_nodes.remove(k)
            self._remove(k, edges)
        return True

    def _remove(self, k: Expr, edges: list[tuple[Expr, Expr, Expr]]) -> None:
        v = self.labels.pop(k, None)
        for e in edges:
            self.edges.remove(e)
        if not edges:
            self.factor = self.factor * (self.sizes[k] if v is None else _sum_of(v))
        elif len(edges) == 1:
            m, end = self.from_to(edges[0], k)
            self.label(end, matmul(transpose(m), ones(self.sizes[k]) if v is None else v))
        else:
            (left, a), (right, b) = (self.from_to(e, k) for e in edges)
            middle = () if v is None else (diag(v),)
            if (
                edges[0][1] != k and edges[1][0] != k
            ):  # k is the row of the first: read it from the other side
                (left, a), (right, b) = (right, b), (left, a)
            self.edge(a, b, matmul(transpose(left), *middle, right))


def _sum_of(v: Expr) -> Expr:
    """The sum of the entries of a label; of two labels, their inner product."""
    if v.func.__name__ == "HadamardProduct" and len(v.args) == 2:
        return inner(*v.args)
    return trace(v.args[0]) if isinstance(v, DiagonalOf) else entry_sum(v)


def _term(term: Term, free: tuple[Expr, Expr], sizes: Sizes, shape: tuple[Expr, Expr]) -> Expr | None:
    convolved = convolution(term, free, shape)
    if convolved is not None:
        return convolved
    network = _Network(free, {**sizes, **dict(term.over)})
    for f in _with_softmax(term.factors, network.sizes):
        if not _place(network, f):
            return None
    if not network.reduce():
        return None
    rows, cols = free
    ends = [k for k in free if not k.is_Number]
    left = network.labels.get(rows)
    right = network.labels.get(cols)
    if len(ends) < 2:
        if network.edges:
            return None
        body = left if ends and left is not None else (ones(shape[0]) if ends else S.One)
        return scale(network.factor, body)
    if not network.edges:
        column = ones(shape[0]) if left is None else left
        return scale(network.factor, outer(column, ones(shape[1]) if right is None else right))
    ((a, _, m),) = network.edges
    body = m if a == rows else transpose(m)
    if left is not None:
        body = matmul(diag(left), body)
    if right is not None:
        body = matmul(body, diag(right))
    return scale(network.factor, body)


def _with_softmax(factors: Sequence[Expr], sizes: Sizes) -> list[Expr]:
    """The factors with the entry of a softmax in place of exp(u[i, j]) over the sum of exp(u[i, l]) over l."""
    found = list(factors)
    for below in factors:
        for above in factors:
            if not isinstance(above, sympy.exp) or above not in found or not isinstance(below, Pow):
                continue
            named = normalised_exponential(Mul(above, below))
            if named is None or below.exp != -1:
                continue
            u, j, _ = named
            others = [k for k in sizes if k in u.free_symbols and k != j]
            if j not in sizes or len(others) > 1:
                continue
            rows, cols = _oriented(u, [others[0], j]) if others else (j, S.Zero)
            m = to_matrix(u, (rows, cols), (sizes[rows], sizes[cols] if others else S.One))
            if m is None:
                continue
            found.remove(above)
            found.remove(below)
            found.append(MatrixElement(softmax(m, 0 if rows == j else 1), rows, cols))
    return found


def _place(network: _Network, f: Expr) -> bool:
    """Put a factor into the network; False if it is of a kind that has no place there."""
    nodes = [k for k in network.sizes if k in f.free_symbols]
    if not nodes:
        network.factor = network.factor * _closed(f)
        return True
    if isinstance(f, MatrixElement):
        m, a, b = f.args
        if any(
            k in network.sizes and not same_size(network.sizes[k], n)
            for k, n in zip((a, b), m.shape, strict=True)
        ):
            return False  # a part of the matrix only
        if a in network.sizes and b in network.sizes:
            network.edge(a, b, m)
            return True
        if a in network.sizes and m.shape[1] == 1 and b == 0:
            network.label(a, m)
            return True
        return False
    if isinstance(f, KroneckerDelta):
        a, b = f.args
        if a in network.sizes and b in network.sizes and network.sizes[a] == network.sizes[b]:
            network.edge(a, b, eye(network.sizes[a]))
            return True
        return False
    if len(nodes) > 2:
        return False
    a, b = _oriented(f, nodes) if len(nodes) == 2 else (nodes[0], S.Zero)
    m = _entrywise(f, (a, b), network.sizes)
    if m is None:
        return False
    if b is S.Zero:
        network.label(a, m)
    else:
        network.edge(a, b, m)
    return True


def _oriented(f: Expr, nodes: list[Expr]) -> tuple[Expr, Expr]:
    """Two indices in the order in which most matrices have them, so that few are transposed."""
    a, b = nodes
    places = [n.args[1:] for n in f.atoms(MatrixElement)]
    return (b, a) if places.count((b, a)) > places.count((a, b)) else (a, b)


def _closed(f: Expr) -> Expr:
    """A factor without free indices: a sum over indices closes to a trace or an inner product where it can."""
    if isinstance(f, Sum):
        if terms_of(f) == [Term((f,))]:
            return f
        closed = to_matrix(f, (S.Zero, S.Zero), (S.One, S.One))
        return f if closed is None else closed
    if isinstance(f, Add | Mul | Pow | Function) and f.has(Sum):
        return f.func(*(_closed(a) for a in f.args))
    return f


def _entrywise(f: Expr, free: tuple[Expr, Expr], sizes: Sizes) -> Expr | None:
    """A function, power or sum of entries, as a matrix with these indices."""
    shape = (sizes[free[0]], S.One if free[1].is_Number else sizes[free[1]])
    if isinstance(f, Add | Sum):
        return to_matrix(f, free, shape)
    if isinstance(f, Mul):
        parts = [_entrywise_or_spread(a, free, sizes, shape) for a in f.args]
        return None if any(p is None for p in parts) else hadamard(*parts)
    if isinstance(f, Pow) and not (f.args[1].free_symbols & set(free)):
        base = _entrywise_or_spread(f.args[0], free, sizes, shape)
        return None if base is None else power(base, f.args[1])
    name = function_name(f)
    if isinstance(f, Function) and name is not None:
        arg = _entrywise_or_spread(f.args[0], free, sizes, shape)
        return None if arg is None else apply(name, arg, *f.args[1:])
    return None


def _entrywise_or_spread(
    e: Expr, free: tuple[Expr, Expr], sizes: Sizes, shape: tuple[Expr, Expr]
) -> Expr | None:
    if not any(k in e.free_symbols for k in free if isinstance(k, Symbol)):
        return _closed(e)
    m = to_matrix(e, free, shape)
    return m if m is None or is_matrix(m) else scale(m, ones(*shape))
