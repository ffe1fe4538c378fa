"""Matrices of blocks: the states of a layer one below the other, and the matrix that hands their adjoints back.

SymPy's BlockMatrix takes no scalars for blocks and keeps its blocks in an explicit matrix; here they are plain arguments.
"""

from __future__ import annotations

from collections.abc import Sequence

from sympy import Add, Basic, Expr, Integer, S
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.matexpr import MatrixElement
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.special import Identity, ZeroMatrix
from sympy.matrices.expressions.transpose import Transpose

from symgrad.errors import ShapeError
from symgrad.expr.build import add, eye, matmul, split_scale, transpose, zeros
from symgrad.expr.nodes import _Node
from symgrad.expr.shapes import expression, is_matrix, is_scalar, same_size, shape_text

__all__ = ["Blocks", "block", "block_row", "stack", "worked_out"]


class Blocks(_Node):
    """args: the number of columns of blocks, then the blocks row by row; a block of one entry may be a scalar."""

    def __new__(cls, columns: int | Expr, *blocks: Expr) -> Blocks:
        obj = Basic.__new__(cls, expression(columns), *blocks)
        obj._shape = (Add(*obj.heights), Add(*obj.widths))
        return obj

    @property
    def by_rows(self) -> tuple[tuple[Expr, ...], ...]:
        """The blocks, row by row."""
        n, blocks = int(self.args[0]), self.args[1:]
        return tuple(tuple(blocks[i : i + n]) for i in range(0, len(blocks), n))

    @property
    def heights(self) -> list[Expr]:
        """The numbers of rows of the rows of blocks."""
        return [_sides(row[0])[0] for row in self.by_rows]

    @property
    def widths(self) -> list[Expr]:
        """The numbers of columns of the columns of blocks."""
        return [_sides(m)[1] for m in self.by_rows[0]]

    def _entry(self, i: Expr, j: Expr, **kwargs: object) -> Expr:
        return MatrixElement(self, i, j)


def _sides(m: Expr) -> tuple[Expr, Expr]:
    return (m.shape[0], m.shape[1]) if is_matrix(m) else (S.One, S.One)


def block(rows: Sequence[Sequence[Expr]]) -> Expr:
    """The matrix of these blocks; one block is itself, and only zeros are a zero matrix.

    >>> from symgrad.expr import matrix
    >>> A, B = matrix("A", "m", "n"), matrix("B", "m", "k")
    >>> block([[A, B]]).shape
    (m, k + n)

    Raises   ShapeError if the blocks of a row have not one height, or those of a column not one width
    """
    if not rows or not rows[0] or any(len(r) != len(rows[0]) for r in rows):
        raise ShapeError("block: every row needs the same number of blocks, and at least one")
    for i, row in enumerate(rows):
        for j, m in enumerate(row):
            wanted = (_sides(row[0])[0], _sides(rows[0][j])[1])
            if not all(same_size(a, b) for a, b in zip(_sides(m), wanted, strict=True)):
                raise ShapeError(
                    f"block: the one in row {i + 1}, column {j + 1} is {shape_text(_sides(m))}, and its row and "
                    f"column are {shape_text(wanted)}"
                )
    flat = [m for row in rows for m in row]
    if len(flat) == 1:
        return flat[0]
    made = Blocks(Integer(len(rows[0])), *flat)
    return zeros(*made.shape) if all(_is_zero(m) for m in flat) else made


def _is_zero(m: Expr) -> bool:
    return isinstance(m, ZeroMatrix) or bool(m.is_zero if is_scalar(m) else False)


def stack(parts: Sequence[Expr]) -> Expr:
    """Vectors and scalars one below the other."""
    return block([[p] for p in parts])


def block_row(heights: Sequence[Expr], at: int) -> Expr:
    """[0 .. I .. 0]: times a stack it is the part at that place."""
    own = heights[at]
    one = S.One if own == 1 else eye(own)
    return block([[one if i == at else _nothing(own, h) for i, h in enumerate(heights)]])


def _nothing(rows: Expr, columns: Expr) -> Expr:
    return S.Zero if rows == columns == 1 else zeros(rows, columns)


def worked_out(e: Expr) -> Expr:
    """Sums, products and transposes of matrices of blocks block by block, where their blocks fit.

    >>> from symgrad.expr import matrix, vector
    >>> A, B, x, y = matrix("A", "m", "n"), matrix("B", "m", "k"), vector("x", "n"), vector("y", "k")
    >>> worked_out(matmul(block([[A, B]]), stack([x, y])))
    A*x + B*y
    """
    if isinstance(e, MatAdd):
        terms = [worked_out(t) for t in e.args]
        held = [t for t in terms if isinstance(t, Blocks)]
        if not held or not all(_alike(t, held[0]) for t in held):
            return add(*terms)
        rows = [t.by_rows for t in held]
        total = block(
            [[add(*(r[i][j] for r in rows)) for j in range(len(rows[0][0]))] for i in range(len(rows[0]))]
        )
        rest = [t for t in terms if not isinstance(t, Blocks)]
        return add(total, *rest)
    if isinstance(e, Transpose):
        inner = worked_out(e.arg)
        if isinstance(inner, Blocks):
            return block([[transpose(m) for m in column] for column in zip(*inner.by_rows, strict=True)])
        return transpose(inner)
    if isinstance(e, MatMul):
        scalar, rest = split_scale(e)
        factors = [worked_out(a) for a in (rest.args if isinstance(rest, MatMul) else (rest,))]
        at = 0
        while at < len(factors) - 1:
            product = _product(factors[at], factors[at + 1])
            if product is None:
                at += 1
            else:
                factors[at : at + 2] = [product]
                at = max(at - 1, 0)
        if len(factors) == 1 and isinstance(factors[0], Blocks) and scalar != 1:
            return block([[matmul(scalar, m) for m in row] for row in factors[0].by_rows])
        return matmul(scalar, *factors)
    return e


def _alike(a: Expr, b: Expr) -> bool:
    return isinstance(b, Blocks) and a.heights == b.heights and a.widths == b.widths


def _product(a: Expr, b: Expr) -> Expr | None:
    """The product of two neighbours, block by block; None where they do not fit."""
    if isinstance(a, Identity):
        return b
    if isinstance(b, Identity):
        return a
    if not (isinstance(a, Blocks) and isinstance(b, Blocks)) or a.widths != b.heights:
        return None
    columns = list(zip(*b.by_rows, strict=True))
    return block(
        [[add(*(matmul(x, y) for x, y in zip(row, c, strict=True))) for c in columns] for row in a.by_rows]
    )
