"""Sides that are counted by several indices: the rows of kron(A, B), of vec(X), and the commutation matrix.

kron(A, B) at the rows (i, k) and columns (j, l) is A[i, j] B[k, l]; vec(X) at (j, i) is X[i, j], since columns are stacked.
A name with such a side keeps it as several indices (`Paired`); two ways to split one side are not brought together.
"""

from __future__ import annotations

from collections.abc import Sequence

from sympy import Expr
from sympy.matrices.expressions.diagonal import DiagMatrix, DiagonalOf
from sympy.matrices.expressions.inverse import Inverse
from sympy.matrices.expressions.kronecker import KroneckerProduct
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.transpose import Transpose

from symgrad.checking.affine import NotDecided
from symgrad.checking.entry_sums import EntrySums
from symgrad.checking.networks import Apart, Paired, Side, Terms, flat
from symgrad.expr import Commutation, Vec, is_leaf, is_matrix, is_tensor, same_size
from symgrad.expr.model import Assumptions

__all__ = ["PairedSides"]

Sizes = tuple[Expr, ...]


class PairedSides(EntrySums):
    """Kronecker products in index form."""

    def __init__(self, assumptions: Assumptions) -> None:
        super().__init__(assumptions)
        self._split: dict[tuple[Expr, int], Sizes | None] = {}

    def split(self, e: Expr, axis: int) -> Sizes | None:
        """The sizes that a side is split into, the first one slowest; None where it can be split in any way."""
        key = (e, axis)
        if key not in self._split:
            self._split[key] = None
            found = self._split_of(e, axis)
            self._split[key] = found if found is not None and len(found) > 1 else None
        return self._split[key]

    def _split_of(self, e: Expr, axis: int) -> Sizes | None:
        if is_leaf(e):
            value = self.unfold(e) if e != self.apart else None
            return None if value is None else self.split(value, axis)
        if isinstance(e, KroneckerProduct):
            return tuple(n for a in e.args for n in self.sizes(a, axis))
        if isinstance(e, Vec):
            return (*self.sizes(e.arg, 1), *self.sizes(e.arg, 0)) if axis == 0 else None
        if isinstance(e, Commutation):
            return tuple(n for n in (e.args if axis == 0 else reversed(e.args)) if n != 1)
        if isinstance(e, MatMul):
            matrices = [a for a in e.args if is_matrix(a)]
            return self.split(matrices[-axis], axis) if matrices else None
        if isinstance(e, Transpose | Inverse):
            return self.split(e.args[0], 1 - axis)
        if isinstance(e, DiagMatrix):
            return self.split(e.args[0], 0)
        if isinstance(e, DiagonalOf):
            return self.split(e.args[0], 0) or self.split(e.args[0], 1) if axis == 0 else None
        for a in e.args:
            if is_matrix(a) and a.shape == e.shape:
                found = self.split(a, axis)
                if found is not None:
                    return found
        return None

    def sizes(self, e: Expr, axis: int) -> Sizes:
        """The sizes of the indices that count a side, none for a side of one."""
        return self.split(e, axis) or (() if e.shape[axis] == 1 else (e.shape[axis],))

    def fresh_side(self, *sides: tuple[Expr, int]) -> Side:
        """New indices for a side that all of these share; one of them says how it is split."""
        e, axis = next((s for s in sides if self.split(*s) is not None), sides[0])
        return _side([self.fresh(n) for n in self.sizes(e, axis)])

    def fresh_place(self, e: Expr) -> tuple[Side, ...]:
        """New indices for the entries of an array; a scalar has none."""
        if is_tensor(e):
            return tuple(self.fresh(n) for n in e.shape)
        return tuple(self.fresh_side((e, axis)) for axis in (0, 1)) if is_matrix(e) else ()

    def free_sides(self, *alike: Expr, start: int = 0) -> tuple[Side, ...]:
        """Free indices of the question for arrays of one shape; one of them says how a side is split."""
        e = alike[0]
        if is_tensor(e):
            return tuple(None if n == 1 else self.free(start + k, n) for k, n in enumerate(e.shape))
        sides: list[Side] = []
        for axis in (0, 1) if is_matrix(e) else ():
            like = next((a for a in alike if is_matrix(a) and self.split(a, axis) is not None), e)
            sizes = self.sizes(like, axis) if e.shape[axis] != 1 else ()
            sides.append(_side([self.free(start + k, n) for k, n in enumerate(sizes)]))
            start += len(sizes)
        return tuple(sides)

    def stacked(self, e: Expr, answer: Expr, axis: int, start: int) -> tuple[tuple[Side, ...], Side]:
        """Free indices for the entries of e, and for the side of an answer where they are stacked column by column."""
        if not is_matrix(e):
            return (), None
        split = self.split(answer, axis)
        if split is not None and e.shape[1] == 1 and self.split(e, 0) is None:
            sides: tuple[Side, ...] = (_side([self.free(start + k, n) for k, n in enumerate(split)]), None)
        else:
            sides = self.free_sides(e, start=start)
        return sides, _side([*flat(sides[1]), *flat(sides[0])])

    def paired(self, m: Expr, leaf: Expr | Apart, i: Side, j: Side) -> Terms:
        """The entry of a name with a side that is counted by several indices."""
        sizes = []
        for side, n in zip((i, j), m.shape, strict=True):
            indices = flat(side)
            known = tuple(self._size[k] for k in indices if k in self._size)
            if n == 1 or len(indices) == 1:
                known = () if n == 1 else (n,)
            if len(known) != len(indices):
                raise NotDecided("a side whose parts are not known")
            sizes.append(known)
        key = Paired(leaf, tuple(sizes))
        return self.factor(self.head("symbol", key, sum(map(len, sizes))), (i, j))

    def parts(self, side: Side, sizes: Sequence[Expr]) -> list[Side]:
        """The indices of a side, shared out to parts with these sizes."""
        indices = list(flat(side))
        wanted = [n for n in sizes if n != 1]
        if len(wanted) == 1:
            return [side if n != 1 else None for n in sizes]
        result: list[Side] = []
        for n in sizes:
            own: list[int] = []
            have: Expr = n if n == 1 else None
            while have is None or not same_size(have, n):
                if not indices or indices[0] not in self._size:
                    raise NotDecided("a side that is split in another way")
                k = indices.pop(0)
                own.append(k)
                have = self._size[k] if have is None else have * self._size[k]
            result.append(_side(own))
        if indices:
            raise NotDecided("a side that is split in another way")
        return result

    def kronecker(self, m: Expr, i: Side, j: Side) -> Terms:
        """kron(A, B, ..) at pairs."""
        rows, cols = (self.parts(s, [a.shape[axis] for a in m.args]) for axis, s in enumerate((i, j)))
        return self.times(*(self.matrix(a, r, c) for a, r, c in zip(m.args, rows, cols, strict=True)))

    def vec(self, m: Expr, i: Side, j: Side) -> Terms:
        """The columns of a matrix, one below the other."""
        cols, rows = self.parts(i, [m.arg.shape[1], m.arg.shape[0]])
        return self.matrix(m.arg, rows, cols)

    def commutation(self, m: Expr, i: Side, j: Side) -> Terms:
        """K with K vec(A) = vec(A^T): one at the rows (a, b) and the columns (b, a)."""
        sizes = list(m.args)
        one, other = self.parts(i, sizes), self.parts(j, sizes[::-1])
        return self.times(self.delta(one[0], other[1]), self.delta(one[1], other[0]))


def _side(indices: Sequence[int | None]) -> Side:
    known = tuple(i for i in indices if i is not None)
    return None if not known else known[0] if len(known) == 1 else known
