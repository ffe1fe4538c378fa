"""Block matrices of SymPy expressions: worked out block by block, never as one matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sympy import Expr, S
from sympy.matrices.expressions.special import Identity, OneMatrix, ZeroMatrix

from symgrad.errors import ShapeError, UnsupportedError
from symgrad.expr import (
    add,
    is_matrix,
    is_scalar,
    matmul,
    ones,
    same_size,
    scale,
    shape_text,
    transpose,
    zeros,
)

__all__ = ["BlockGrid"]


@dataclass(frozen=True)
class BlockGrid:
    """A matrix of matrices; a 1 x 1 block may be a scalar."""

    rows: tuple[tuple[Expr, ...], ...]

    @staticmethod
    def of(rows: Sequence[Sequence[Expr]]) -> BlockGrid:
        """The blocks, if the sizes of a row and of a column of them agree.

        Raises   ShapeError if they do not
        """
        found = BlockGrid(tuple(tuple(r) for r in rows))
        heights, widths = found.heights, found.widths
        for i, row in enumerate(found.rows):
            for j, m in enumerate(row):
                r, c = _shape(m)
                if not (same_size(r, heights[i]) and same_size(c, widths[j])):
                    raise ShapeError(
                        f"block ({i}, {j}) is {shape_text((r, c))}, its row and column are "
                        f"{shape_text((heights[i], widths[j]))}"
                    )
        return found

    @property
    def heights(self) -> list[Expr]:
        """The numbers of rows of the rows of blocks."""
        return [_shape(row[0])[0] for row in self.rows]

    @property
    def widths(self) -> list[Expr]:
        """The numbers of columns of the columns of blocks."""
        return [_shape(m)[1] for m in self.rows[0]]

    def map(self, f: Callable[[Expr], Expr]) -> BlockGrid:
        """F of every block."""
        return BlockGrid(tuple(tuple(f(m) for m in row) for row in self.rows))

    def transposed(self) -> BlockGrid:
        """The transpose."""
        return BlockGrid(
            tuple(tuple(transpose(m) for m in column) for column in zip(*self.rows, strict=True))
        )

    def diagonal(self) -> Iterator[Expr]:
        """The blocks on the diagonal, which must be square.

        Raises   ShapeError if one of them is not
        """
        for i, row in enumerate(self.rows):
            r, c = _shape(row[i]) if i < len(row) else (S.One, S.Zero)
            if not same_size(r, c) or len(row) != len(self.rows):
                raise ShapeError("the trace of a block matrix whose diagonal blocks are not square")
            yield row[i]

    @staticmethod
    def by_block(f: Callable[..., Expr], args: Sequence[Expr | BlockGrid]) -> BlockGrid:
        """F of the blocks at the same place; ones and zeros are cut to the blocks."""
        first = next(a for a in args if isinstance(a, BlockGrid))
        cut = [a if isinstance(a, BlockGrid) else _cut(a, first.heights, first.widths) for a in args]
        if any((len(c.rows), len(c.rows[0])) != (len(first.rows), len(first.rows[0])) for c in cut):
            raise ShapeError("block matrices with different numbers of blocks")
        return BlockGrid(
            tuple(
                tuple(f(*(c.rows[i][j] for c in cut)) for j in range(len(first.rows[0])))
                for i in range(len(first.rows))
            )
        )

    @staticmethod
    def product(args: Sequence[Expr | BlockGrid]) -> Expr | BlockGrid:
        """The product; constant factors are cut to the blocks beside them; one block is that matrix."""
        scalars = [a for a in args if not isinstance(a, BlockGrid) and is_scalar(a)]
        factors = [a for a in args if isinstance(a, BlockGrid) or not is_scalar(a)]
        at, result = next((i, a) for i, a in enumerate(factors) if isinstance(a, BlockGrid))
        for right in factors[at + 1 :]:
            result = _times(
                result, right if isinstance(right, BlockGrid) else _cut(right, result.widths, None)
            )
        for left in reversed(factors[:at]):
            result = _times(left if isinstance(left, BlockGrid) else _cut(left, None, result.heights), result)
        result = result.map(lambda m: scale(matmul(*scalars), m)) if scalars else result
        return result.rows[0][0] if len(result.rows) == len(result.rows[0]) == 1 else result


def _shape(m: Expr) -> tuple[Expr, Expr]:
    return (m.shape[0], m.shape[1]) if is_matrix(m) else (S.One, S.One)


def _times(a: BlockGrid, b: BlockGrid) -> BlockGrid:
    if len(a.widths) != len(b.heights):
        raise ShapeError(f"block matrices: {len(a.widths)} columns of blocks meet {len(b.heights)} rows")
    return BlockGrid(
        tuple(
            tuple(
                add(*(matmul(x, y) for x, y in zip(row, column, strict=True)))
                for column in zip(*b.rows, strict=True)
            )
            for row in a.rows
        )
    )


def _cut(m: Expr, heights: list[Expr] | None, widths: list[Expr] | None) -> BlockGrid:
    """A constant matrix in blocks of given sizes; a matrix that fits one block is that block."""
    whole_rows, whole_columns = _shape(m)
    heights, widths = heights or [whole_rows], widths or [whole_columns]
    if len(heights) == len(widths) == 1:
        return BlockGrid(((m,),))
    if isinstance(m, OneMatrix | ZeroMatrix):
        if not (same_size(add(*heights), whole_rows) and same_size(add(*widths), whole_columns)):
            raise ShapeError(f"a {shape_text((whole_rows, whole_columns))} beside blocks of other sizes")
        make = ones if isinstance(m, OneMatrix) else zeros
        return BlockGrid(tuple(tuple(make(h, w) for w in widths) for h in heights))
    if isinstance(m, Identity) and heights == widths:
        return BlockGrid(
            tuple(
                tuple(Identity(h) if i == j else zeros(h, w) for j, w in enumerate(widths))
                for i, h in enumerate(heights)
            )
        )
    raise UnsupportedError(
        f"{m} beside a BlockMatrix is not cut into blocks", hint="write it as a BlockMatrix too"
    )
