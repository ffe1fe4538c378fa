"""Matrix functions in a finite field: inverses, determinants, powers, Kronecker products, correlations."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sympy import Expr
from sympy.matrices.expressions.inverse import Inverse
from sympy.matrices.expressions.kronecker import KroneckerProduct
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.transpose import Transpose

from symgrad.checking.field_entries import IndexValues
from symgrad.checking.residues import Values
from symgrad.checking.truncated import Truncated
from symgrad.expr import Blocks, is_matrix

__all__ = ["MatrixValues"]


class MatrixValues(IndexValues):
    """Values of matrix functions of whole matrices."""

    def _constant(self, m: NDArray[Any]) -> Truncated:
        return {0: m.astype(np.int64)[None]}

    def _squares(self, m: Expr) -> Truncated:
        x = self.at(m)
        return self._total(self.level.algebra.times(x, x))

    def _total(self, x: Truncated) -> Truncated:
        return self.level.algebra.linear(x, lambda v: v.sum(axis=(-2, -1), keepdims=True))

    def _matrix_inverse(self, e: Expr) -> Truncated:
        x = self._regular(self.at(e.args[0]))
        return self.level.algebra.matrix_inverse(x)

    def _regular(self, x: Truncated) -> Truncated:
        self.only(self.level.field.eliminated(x[0])[1] != 0)
        return x

    def _matrix_power(self, e: Expr) -> Truncated:
        base, exponent = e.args
        algebra = self.level.algebra
        k = self.level.setting.whole(exponent)
        x = self.at(base)
        if k < 0:
            x = algebra.matrix_inverse(self._regular(x))
        result: Truncated = self._constant(np.eye(x[0].shape[-1]))
        k = abs(k)
        while k:
            if k & 1:
                result = algebra.product(result, x)
            k >>= 1
            if k:
                x = algebra.product(x, x)
        return result

    def _determinant(self, e: Expr) -> Truncated:
        return self.level.algebra.determinant(self._regular(self.at(e.args[0])))

    def _log_determinant(self, e: Expr) -> Truncated:
        return self._log_abs_det(e.args[0])

    def _log_abs_det(self, m: Expr) -> Truncated:
        """Log |det m|, as the sum over the factors of a product."""
        algebra = self.level.algebra
        if self._is_seeded(m):
            return self.log(algebra.determinant(self._regular(self.at(m))))
        if isinstance(m, Transpose):
            return self._log_abs_det(m.args[0])
        if isinstance(m, Inverse):
            return algebra.scaled(self._log_abs_det(m.args[0]), -1 % self.level.field.p)
        shapes = {self.level.setting.shape(a) for a in m.args if is_matrix(a)}
        square = all(r == c for r, c in shapes) and all(is_matrix(a) for a in m.args)
        if isinstance(m, MatMul) and square:
            return algebra.plus(*(self._log_abs_det(a) for a in m.args))
        if isinstance(m, KroneckerProduct) and square:
            n = self.level.setting.shape(m)[0]
            sizes = [n // self.level.setting.shape(a)[0] for a in m.args]
            parts = (algebra.scaled(self._log_abs_det(a), k) for a, k in zip(m.args, sizes, strict=True))
            return algebra.plus(*parts)
        return self.log(algebra.determinant(self._regular(self.at(m))))

    def _kronecker(self, e: Expr) -> Truncated:
        p = self.level.field.p

        def multiply(a: Values, b: Values) -> Values:
            table = a[..., :, None, :, None] * b[..., None, :, None, :] % p
            *batch, m, k, n, q = table.shape
            return table.reshape(*batch, m * k, n * q)

        result = self.at(e.args[0])
        for a in e.args[1:]:
            result = self.level.algebra._convolved(result, self.at(a), multiply)
        return result

    def _diagonal(self, e: Expr) -> Truncated:
        eye = np.eye(self.level.setting.shape(e)[0], dtype=np.int64)
        return self.level.algebra.linear(self.at(e.args[0]), lambda v: v * eye)

    def _correlate(self, e: Expr) -> Truncated:
        rows, cols = self.level.setting.shape(e)
        p = self.level.field.p

        def multiply(x: Values, w: Values) -> Values:
            total: Values | int = 0
            for a in range(w.shape[-2]):
                for b in range(w.shape[-1]):
                    part = x[..., a : a + rows, b : b + cols] * w[..., a : a + 1, b : b + 1]
                    total = (total + part) % p
            return np.asarray(total)

        x, w = e.args
        return self.level.algebra._convolved(self.at(x), self.at(w), multiply)

    def _convolve(self, e: Expr) -> Truncated:
        x, w = self.at(e.args[0]), self.at(e.args[1])
        rows, cols = (n - 1 for n in w[0].shape[-2:])

        def padded(v: Values) -> Values:
            return np.pad(v, [(0, 0)] * (v.ndim - 2) + [(rows, rows), (cols, cols)])

        shape = self.level.setting.shape(e)
        p = self.level.field.p

        def multiply(a: Values, b: Values) -> Values:
            b = b[..., ::-1, ::-1]
            total: Values | int = 0
            for i in range(b.shape[-2]):
                for j in range(b.shape[-1]):
                    part = a[..., i : i + shape[0], j : j + shape[1]] * b[..., i : i + 1, j : j + 1]
                    total = (total + part) % p
            return np.asarray(total)

        return self.level.algebra._convolved(self.level.algebra.linear(x, padded), w, multiply)

    def _commutation(self, e: Expr) -> Truncated:
        m, n = (self.level.setting.whole(s) for s in e.args)
        out = np.zeros((m * n, m * n))
        for i in range(m):
            for j in range(n):
                out[i * n + j, j * m + i] = 1
        return self._constant(out)

    def _blocks(self, e: Blocks) -> Truncated:
        rows = [[self.at(m) for m in row] for row in e.by_rows]
        around = np.broadcast_shapes(*(v.shape[:-2] for row in rows for m in row for v in m.values()))

        def part(m: Truncated, k: int) -> Values:
            v = m.get(k, np.zeros_like(next(iter(m.values()))))
            return np.broadcast_to(v, (*around, *v.shape[-2:]))

        return {
            k: np.concatenate([np.concatenate([part(m, k) for m in row], -1) for row in rows], -2)
            for k in sorted({k for row in rows for m in row for k in m})
        }
