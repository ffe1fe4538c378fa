"""Products of matrices in the cheap order, without what a product need not build.

A diagonal scales rows or columns, an inverse solves, ones add up, a Kronecker product meets a vector as two small
products. The order is that of least operations (dynamic programming), sizes with a name counting as large.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from sympy import Expr, Integer, S

from symgrad.rendering.code.graph import Graph, Node

__all__ = ["Factor", "Kind", "Operations", "multiply"]

Kind = Literal["plain", "diagonal", "inverse", "ones", "kron", "sum"]
_LARGE = 100.0
_LONGEST = (
    40  # beyond that the order is from the outside in, which is the cheap one where vectors stand outside
)


@dataclass(frozen=True)
class Factor:
    """A factor of a product.

    `nodes` are: the array (plain), the vector of a diagonal, the matrix that is inverted, nothing (ones), or the
    factors of a Kronecker product. A sum is multiplied term by term where it meets a
    vector, `apply(vector, from_the_right)`, and made an array by `dense()` elsewhere.
    """

    rows: Expr
    cols: Expr
    kind: Kind
    nodes: tuple[Node, ...] = ()
    apply: Callable[[Factor, bool], Node] | None = None
    dense: Callable[[], Node] | None = None
    positive_definite: bool = False
    symmetric: bool = False

    @property
    def is_row(self) -> bool:
        """Whether it is a row, a 1-D array."""
        return self.rows == 1 and self.cols != 1

    @property
    def is_column(self) -> bool:
        """Whether it is a column, a 1-D array."""
        return self.cols == 1 and self.rows != 1


class Operations:
    """The array operations that products are made of, on one graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def number(self, value: Expr) -> Node:
        """A number."""
        return self.graph.node("number", (), value, ())

    def transpose(self, a: Node) -> Node:
        """A^T; a 1-D array is its own."""
        if a.rank < 2:
            return a
        if a.op == "transpose":
            return a.args[0]
        if a.op == "outer":
            return self.outer(a.args[1], a.args[0])
        if a.op in ("eye", "diag"):
            return a
        if a.op == "multiply" and all(f.rank == 0 for f in a.args[:-1]):
            return self.multiply(*a.args[:-1], self.transpose(a.args[-1]))
        return self.graph.node("transpose", (a,), None, a.shape[::-1])

    def matmul(self, a: Node, b: Node) -> Node:
        """A @ b; the commutation matrix times vec(V) is vec(V^T)."""
        if a.op == "commutation" and b.op == "vec" and a.attr == b.args[0].shape:
            return self.graph.node("vec", (self.transpose(b.args[0]),), None, b.shape)
        return self.graph.node("matmul", (a, b), None, (*a.shape[:-1], *b.shape[1:]))

    def outer(self, a: Node, b: Node) -> Node:
        """The matrix a b^T of two 1-D arrays."""
        return self.graph.node("outer", (a, b), None, (*a.shape, *b.shape))

    def multiply(self, *factors: Node) -> Node:
        """The product entry by entry, with NumPy's broadcasting."""
        kept = [f for f in factors if not (f.op == "number" and f.attr == 1)]
        if len(kept) < 2:
            return kept[0] if kept else factors[0]
        shape = max((f.shape for f in kept), key=len)
        columns = [f.shape for f in kept if f.op == "column"]
        if columns and len(shape) == 2:
            full = [f.shape for f in kept if f.rank == 2 and f.op != "column"]
            shape = full[0] if full else shape
        return self.graph.node("multiply", tuple(kept), None, shape)

    def divide(self, a: Node, b: Node) -> Node:
        """A / b entry by entry, with NumPy's broadcasting."""
        return self.graph.node("divide", (a, b), None, max(a.shape, b.shape, key=len))

    def reshape(self, a: Node, rows: Expr, cols: Expr) -> Node:
        """The entries of a 1-D array, row by row, as a matrix."""
        if a.op == "ravel" and a.args[0].shape == (rows, cols):
            return a.args[0]
        if a.op == "vec" and a.args[0].shape == (cols, rows):
            return self.transpose(a.args[0])
        if a.op == "multiply" and all(f.rank == 0 for f in a.args[:-1]):
            return self.multiply(*a.args[:-1], self.reshape(a.args[-1], rows, cols))
        if a.op == "add" and all(f.rank == 1 for f in a.args):
            terms = tuple(self.reshape(f, rows, cols) for f in a.args)
            return self.graph.node("add", terms, a.attr, (rows, cols))
        return self.graph.node("reshape", (a,), (rows, cols), (rows, cols))

    def column(self, v: Node) -> Node:
        """v[:, None]: broadcasts along rows."""
        return self.graph.node("column", (v,), None, (v.shape[0], S.One))

    def solve(self, a: Node, b: Node, positive_definite: bool) -> Node:
        """The x with A x = b."""
        if positive_definite:
            factor = self.graph.node("cholesky", (a,), None, a.shape)
            return self.graph.node("cho_solve", (factor, b), None, b.shape)
        return self.graph.node("solve", (a, b), None, b.shape)

    def sum(self, a: Node, axis: int | None = None) -> Node:
        """The sum of the entries, of all or along an axis."""
        if a.rank < 2:
            axis = None
        if a.op == "multiply" and len(a.args) == 2 and all(f.rank == 1 for f in a.args):
            return self.matmul(*a.args)
        shape = () if axis is None else (a.shape[1 - axis],)
        return self.graph.node("sum", (a,), axis, shape)

    def ones(self, *shape: Expr) -> Node:
        """An array of ones."""
        return self.graph.node("ones", (), shape, shape)

    def repeat(self, v: Node, rows: Expr, cols: Expr, along: int) -> Node:
        """The matrix whose rows (along 0) or columns (along 1) are all v."""
        ones = self.ones(rows if along == 0 else cols)
        return self.outer(ones, v) if along == 0 else self.outer(v, ones)

    def plain(self, f: Factor) -> Node:
        """The factor as an array."""
        if f.dense is not None:
            return f.dense()
        if f.kind == "plain":
            return f.nodes[0]
        if f.kind == "diagonal":
            return self.graph.node("diag", f.nodes, None, (f.rows, f.cols))
        if f.kind == "inverse":
            return self.graph.node("inv", f.nodes, None, (f.rows, f.cols))
        if f.kind == "ones":
            return self.ones(*(n for n in (f.rows, f.cols) if n != 1))
        result = f.nodes[0]
        for n in f.nodes[1:]:
            shape = tuple(a * b for a, b in zip(result.shape, n.shape, strict=True))
            result = self.graph.node("kron", (result, n), None, shape)
        return result


def multiply(ops: Operations, factors: Sequence[Factor]) -> Node:
    """The array of a product.

    >>> from symgrad.expr import size
    >>> n, ops = size("n"), Operations(Graph())
    >>> A, x = (ops.graph.node("arg", (), name, shape) for name, shape in (("A", (n, n)), ("x", (n,))))
    >>> product = multiply(ops, [Factor(n, n, "plain", (A,)), Factor(n, n, "plain", (A,)), Factor(n, S.One, "plain", (x,))])
    >>> product.args[0] is A, product.args[1].args[0] is A
    (True, True)
    """
    if len(factors) == 1:
        return ops.plain(factors[0])
    return ops.plain(_product(ops, list(factors)))


def _product(ops: Operations, factors: list[Factor]) -> Factor:
    split = _outside_in(factors) if len(factors) > _LONGEST else _cheapest(factors)

    def build(i: int, j: int) -> Factor:
        if i == j:
            return factors[i]
        k = split(i, j)
        return _pair(ops, build(i, k), build(k + 1, j))

    return build(0, len(factors) - 1)


def _outside_in(factors: list[Factor]) -> Callable[[int, int], int]:
    from_the_right = factors[-1].cols == 1
    return lambda i, j: i if from_the_right else j - 1


def _size(n: Expr) -> float:
    return float(n) if isinstance(n, Integer) else _LARGE ** (len(n.free_symbols) if n.is_Mul else 1)


def _cheapest(factors: list[Factor]) -> Callable[[int, int], int]:
    """Where to split each interval for the fewest operations; of equals the one that starts at the vector's end."""
    count = len(factors)
    dims = [_size(f.rows) for f in factors] + [_size(factors[-1].cols)]
    cost: dict[tuple[int, int], float] = {(i, i): 0.0 for i in range(count)}
    split: dict[tuple[int, int], int] = {}
    for length in range(2, count + 1):
        for i in range(count - length + 1):
            j = i + length - 1
            best = None
            for k in range(j - 1, i - 1, -1):
                total = cost[i, k] + cost[k + 1, j] + _one(factors, dims, i, k, j)
                if best is None or total < best:
                    best, split[i, j] = total, k
            cost[i, j] = best or 0.0
    return lambda i, j: split[i, j]


def _one(factors: list[Factor], dims: list[float], i: int, k: int, j: int) -> float:
    """The operations of multiplying i..k by k+1..j."""
    rows, inner, cols = dims[i], dims[k + 1], dims[j + 1]
    single = [factors[a] for a, b in ((i, k), (k + 1, j)) if a == b]
    if any(f.kind == "diagonal" for f in single):
        return max(rows, inner) * max(cols, inner) if 1 not in (rows, cols) else inner
    if any(f.kind == "ones" for f in single):
        return rows * cols * (inner if rows * cols == 1 or inner != 1 else 1)
    if any(f.kind == "inverse" for f in single):
        return inner**3 / 3 + rows * inner * cols
    if any(f.kind == "kron" for f in single) and 1 in (rows, cols):
        return 2 * rows * cols * inner**0.5
    return rows * inner * cols


def _pair(ops: Operations, left: Factor, right: Factor) -> Factor:
    """The product of two factors."""
    rows, cols = left.rows, right.cols

    def result(node: Node) -> Factor:
        return Factor(rows, cols, "plain", (node,))

    if left.apply is not None and right.is_column:
        return result(left.apply(right, True))
    if right.apply is not None and left.is_row:
        return result(right.apply(left, False))
    if 1 == rows == left.cols or 1 == cols == right.rows:  # a scalar beside a row or a column
        return result(ops.multiply(ops.plain(left), ops.plain(right)))
    if left.kind == "diagonal":
        if right.kind == "diagonal":
            return Factor(rows, cols, "diagonal", (ops.multiply(left.nodes[0], right.nodes[0]),))
        other = ops.plain(right)
        scale = left.nodes[0] if other.rank < 2 else ops.column(left.nodes[0])
        return result(ops.multiply(scale, other))
    if right.kind == "diagonal":
        return result(ops.multiply(ops.plain(left), right.nodes[0]))
    if left.kind == "inverse":
        return result(ops.solve(left.nodes[0], ops.plain(right), left.positive_definite))
    if right.kind == "inverse":
        a = right.nodes[0] if right.symmetric else ops.transpose(right.nodes[0])
        return result(ops.transpose(ops.solve(a, ops.transpose(ops.plain(left)), right.positive_definite)))
    if left.is_column and right.is_row:
        if left.kind == "ones" or right.kind == "ones":
            along = 0 if left.kind == "ones" else 1
            v = ops.plain(right if along == 0 else left)
            return result(ops.repeat(v, rows, cols, along))
        return result(ops.outer(ops.plain(left), ops.plain(right)))
    if left.kind == "ones" and left.is_row:
        return result(ops.sum(ops.plain(right), 0))
    if right.kind == "ones" and right.is_column:
        return result(ops.sum(ops.plain(left), 1))
    if left.kind == "kron" and right.is_column and len(left.nodes) == 2:
        return result(_kron_times(ops, left.nodes[0], left.nodes[1], ops.plain(right)))
    if right.kind == "kron" and left.is_row and len(right.nodes) == 2:
        a, b = (ops.transpose(n) for n in right.nodes)
        return result(_kron_times(ops, a, b, ops.plain(left)))
    return result(ops.matmul(ops.plain(left), ops.plain(right)))


def _kron_times(ops: Operations, a: Node, b: Node, v: Node) -> Node:
    """(A kron B) v is A V B^T for the matrix V with the entries of v row by row; an identity drops out."""
    table = ops.reshape(v, a.shape[1], b.shape[1])
    if b.op != "eye":
        table = ops.matmul(table, ops.transpose(b))
    if a.op != "eye":
        table = ops.matmul(a, table)
    return ops.graph.node("ravel", (table,), None, (table.shape[0] * table.shape[1],))
