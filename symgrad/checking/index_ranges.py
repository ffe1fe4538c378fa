"""Products, sums and powers over layers in index form: neighbours that are the next factor are absorbed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

import sympy
from sympy import Expr, Product, S, Symbol
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.matpow import MatPow
from sympy.matrices.expressions.special import Identity
from sympy.matrices.expressions.transpose import Transpose

from symgrad.checking.canonical import NotDecided
from symgrad.checking.index_derivatives import IndexDerivatives
from symgrad.checking.networks import MOST_POWER, ONE, Form, Side, Terms, compact
from symgrad.expr import OrderedProduct, is_matrix, matmul, transpose
from symgrad.expr.model import Assumptions

__all__ = ["IndexRanges"]


class IndexRanges(IndexDerivatives):
    """Ranges of symbolic length, whose index numbers layers."""

    def __init__(self, assumptions: Assumptions) -> None:
        super().__init__(assumptions)
        self._ranges = 0

    def _merged(self, factors: list[Expr]) -> list[Expr]:
        """Neighbours of powers and of products over layers are absorbed where they are the next factor."""
        flat: list[Expr] = []
        for f in factors:
            flat += self._flat(f)
        changed = True
        while changed:
            changed = False
            for n, f in enumerate(flat):
                merged = self._absorb(flat, n, f) if isinstance(f, MatPow | OrderedProduct) else None
                if merged is not None:
                    flat, changed = merged, True
                    break
        return flat or ([Identity(factors[0].shape[0])] if factors else [])

    def _flat(self, f: Expr) -> list[Expr]:
        if isinstance(f, Transpose) and isinstance(f.arg, MatMul):
            return [
                g for a in reversed(f.arg.args) for g in (self._flat(transpose(a)) if is_matrix(a) else [f])
            ]
        if isinstance(f, MatMul) and all(is_matrix(a) for a in f.args):
            return [g for a in f.args for g in self._flat(a)]
        if isinstance(f, Transpose) and isinstance(f.arg, MatPow):
            return [MatPow(transpose(f.arg.args[0]), f.arg.args[1])]
        if isinstance(f, Transpose) and isinstance(f.arg, OrderedProduct):
            p = f.arg
            return self._flat(OrderedProduct(transpose(p.body), p.index, *p.bounds, -p.direction))
        if isinstance(f, OrderedProduct):
            length = sympy.expand(f.bounds[1] - f.bounds[0] + 1)
            if length.is_zero:
                return []
            if not f.body.has(f.index):
                return [MatPow(f.body, length)]
        if isinstance(f, MatPow) and f.args[1].is_zero:
            return []
        return [f]

    def _absorb(self, flat: list[Expr], n: int, f: Expr) -> list[Expr] | None:
        if isinstance(f, MatPow):
            base, k = f.args
            width = len(self._flat(base))
            for at in (n - width, n + 1):
                near = flat[at : at + width] if at >= 0 else []
                if (
                    isinstance(near[0] if near else None, MatPow)
                    and width == 1
                    and self.same(near[0].args[0], base)
                ):
                    k2 = near[0].args[1]
                elif len(near) == width and self.same(matmul(*near), base):
                    k2, at2 = S.One, at
                    return self._replaced(flat, min(n, at2), width + 1, MatPow(base, sympy.expand(k + k2)))
                else:
                    continue
                return self._replaced(flat, min(n, at), 2, MatPow(base, sympy.expand(k + k2)))
            return None
        lower, upper = f.bounds
        width = len(self._flat(f.body))
        before, after = (lower - 1, upper + 1) if f.direction == 1 else (upper + 1, lower - 1)
        for at, value in ((n - width, before), (n + 1, after)):
            near = flat[at : at + width] if at >= 0 else []
            if len(near) == width and near and self.same(matmul(*near), f.at(value)):
                bounds = (value, upper) if value == lower - 1 else (lower, value)
                low, high = (sympy.expand(b) for b in bounds)
                grown = OrderedProduct(f.body, f.index, low, high, f.direction)
                return self._replaced(flat, min(n, at), width + 1, grown)
        return None

    def _replaced(self, flat: list[Expr], at: int, width: int, by: Expr) -> list[Expr]:
        return flat[:at] + self._flat(by) + flat[at + width :]

    def same(self, a: Expr, b: Expr) -> bool:
        """Whether two matrices have the same form."""
        if a == b:
            return True
        if a.shape != b.shape:
            return False
        return self._key(a) == self._key(b)

    def _key(self, m: Expr) -> Form:
        free = [n if s != 1 else None for n, s in enumerate(m.shape)]
        return self.canonical(self.matrix(m, *compact(free)))

    def _ordered(self, m: Expr, i: Side, j: Side) -> Terms:
        (m,) = self._flat(m) or (Identity(m.shape[0]),)
        if not isinstance(m, OrderedProduct):
            return self.matrix(m, i, j)
        if m.direction == -1:
            turned = OrderedProduct(transpose(m.body), m.index, *m.bounds, 1)
            return self._ordered(turned, j, i)
        first, lower = peeled_below(*m.bounds)
        parts: list[Terms] = []
        inner: list[Side] = []
        left = i
        for value in first:  # the first factors apart, so that the product begins at l + 1
            factor = m.at(value)
            right = self.fresh(factor.shape[1])
            parts.append(self.matrix(factor, left, right))
            inner.append(right)
            left = right
        with self._inside() as k:
            body = self._key(m.body.xreplace({m.index: k}))
        key = (body, (sympy.expand(lower), sympy.expand(m.bounds[1])))
        parts.append(self.factor(self.head("ordered", key, 2), (left, j)))
        return self.over(self.times(*parts), *inner)

    def _matrix_sum(self, m: Expr, i: Side, j: Side) -> Terms:
        lower, upper = m.bounds
        if sympy.expand(upper - lower + 1).is_zero:
            return []
        extra, upper = peeled(lower, upper)
        terms = [t for v in extra for t in self.matrix(m.at(v), i, j)]
        if sympy.expand(upper - lower + 1).is_zero:
            return terms
        free = compact([n if s != 1 else None for n, s in enumerate(m.shape)])
        with self._inside() as k:
            body = self.canonical(self.matrix(m.body.xreplace({m.index: k}), *free))
        rank = sum(f is not None for f in free)
        for network, coefficient in body:  # linear: one head a monomial
            key = (((network, Fraction(1)),), (sympy.expand(lower), sympy.expand(upper)))
            terms += self.scaled(self.factor(self.head("sum", key, rank), (i, j)), coefficient)
        return terms

    def _range(self, e: Expr) -> Terms:
        if len(e.limits) != 1:
            raise NotDecided("a sum over several ranges")
        k, lower, upper = e.limits[0]
        if sympy.expand(upper - lower + 1).is_zero:
            return ONE if isinstance(e, Product) else []
        extra, upper = peeled(lower, upper)
        parts = [self.scalar(e.function.xreplace({k: v})) for v in extra]
        rest: Terms
        empty = sympy.expand(upper - lower + 1).is_zero
        if isinstance(e, Product):
            below, lower = peeled_below(lower, upper)
            parts += [self.scalar(e.function.xreplace({k: v})) for v in below]
            if empty:
                return self.times(*parts)
            with self._inside() as bound:
                body = self.canonical(self.scalar(e.function.xreplace({k: bound})))
            key = (body, (sympy.expand(lower), sympy.expand(upper)))
            return self.times(*parts, self.factor(self.head("product", key, 0), ()))
        rest = []
        if not empty:
            with self._inside() as bound:
                body = self.canonical(self.scalar(e.function.xreplace({k: bound})))
            for network, coefficient in body:
                key = (((network, Fraction(1)),), (sympy.expand(lower), sympy.expand(upper)))
                rest += self.scaled(self.factor(self.head("sum", key, 0), ()), coefficient)
        return [t for p in parts for t in p] + rest

    @contextmanager
    def _inside(self) -> Iterator[Symbol]:
        """A name for the index that a range binds, another one for each range inside a range."""
        self._ranges += 1
        try:
            yield Symbol(f"bound{self._ranges}_", integer=True)
        finally:
            self._ranges -= 1


def peeled(lower: Expr, upper: Expr) -> tuple[list[Expr], Expr]:
    """The last terms of a range that ends at n + c with c >= 0, and the range's end n - 1 without them."""
    constant, symbols = sympy.expand(upper + 1).as_coeff_Add()
    if not symbols.free_symbols or not constant.is_Integer or constant <= 0 or constant > MOST_POWER:
        return [], upper
    return [sympy.expand(upper - n) for n in range(int(constant))], sympy.expand(upper - constant)


def peeled_below(lower: Expr, upper: Expr) -> tuple[list[Expr], Expr]:
    """The first factors of a range that begins at l - c with c >= 0, and its beginning l + 1 without them."""
    constant, symbols = sympy.expand(lower).as_coeff_Add()
    if not symbols.free_symbols or not constant.is_Integer or constant > 0 or constant < -MOST_POWER:
        return [], lower
    count = 1 - int(constant)
    if sympy.expand(upper - lower + 1 - count).is_negative:
        return [], lower
    return [sympy.expand(lower + n) for n in range(count)], sympy.expand(lower + count)
