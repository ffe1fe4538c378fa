"""Sums: like terms, common factors, common coefficients."""

from __future__ import annotations

from sympy import Expr, Integer, Mul, Pow, S, igcd
from sympy.matrices.expressions.diagonal import DiagMatrix
from sympy.matrices.expressions.hadamard import HadamardProduct
from sympy.matrices.expressions.kronecker import KroneckerProduct
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.special import OneMatrix
from sympy.matrices.expressions.transpose import Transpose

from symgrad.expr import (
    Commutation,
    add,
    commutation,
    diag,
    eye,
    hadamard,
    is_column,
    kron,
    matmul,
    scale,
    split_scale,
    transpose,
)
from symgrad.simplifying.cost import Cost
from symgrad.simplifying.properties import Properties
from symgrad.simplifying.table import factors_of, rewrite, turned


@rewrite("like terms", MatAdd)
def like_terms(node: Expr, known: Properties) -> Expr | None:
    """2 A + A = 3 A."""
    collected: dict[Expr, tuple[Expr, Expr]] = {}
    for t in node.args:
        c, rest = split_scale(t)
        key = _canonical_entries(rest)
        shown, so_far = collected.get(key, (rest, S.Zero))
        collected[key] = (shown, add(so_far, c))
    if len(collected) == len(node.args):
        return None
    return add(*(scale(c, shown) for shown, c in collected.values()))


def _canonical_entries(m: Expr) -> Expr:
    """Entrywise factors in a fixed order, since they commute."""
    if isinstance(m, HadamardProduct):
        return hadamard(*sorted(m.args, key=str))
    return m


@rewrite("sum again", MatAdd)
def sum_again(node: Expr, known: Properties) -> Expr | None:
    """(x - y) + A (x - y) = (I + A)(x - y), where the first sum has lost its brackets."""
    terms = list(node.args)
    alone = {rest: c for c, rest in map(split_scale, terms)}
    for t in terms:
        c, factors = factors_of(t)
        last = factors[-1]
        if not isinstance(last, MatAdd) or (len(factors) == 1 and c.is_Number):
            continue
        over, first = split_scale(last.args[0])
        if first in alone:
            d = alone[first] / over
            parts = [scale(d, v) for v in last.args]
            if all(p in terms for p in parts):
                rest = [u for u in terms if u not in parts and u != t]
                if len(factors) == 1:  # c (x - y) + d x - d y = (c + d) (x - y)
                    return add(scale(add(c, d), last), *rest)
                n = last.shape[0]
                front = add(scale(d, eye(n)), matmul(c, *factors[:-1]))
                return add(matmul(front, last), *rest)
    return None


@rewrite("terms with one coefficient", MatAdd)
def terms_with_one_coefficient(node: Expr, known: Properties) -> Expr | None:
    """A common coefficient of some terms goes in front of them: c A + B + c A^T = c (A + A^T) + B."""
    split = [split_scale(t) for t in node.args]
    for i, (c, _) in enumerate(split):
        same = [j for j, (d, _) in enumerate(split) if d == c]
        if c.is_Number or len(same) < 2 or same[0] != i or len(same) == len(split):
            continue
        together = scale(c, add(*(split[j][1] for j in same)))
        return add(*node.args[:i], together, *(t for j, t in enumerate(node.args) if j > i and j not in same))
    return None


@rewrite("scalar of some terms", MatAdd)
def scalar_of_some_terms(node: Expr, known: Properties) -> Expr | None:
    """A scalar that some of the terms share goes in front of them: x / s + y / s + z = (x + y) / s + z."""
    split = [split_scale(t) for t in node.args]
    best, cost = None, Cost()
    powers = [dict(f.as_base_exp() for f in Mul.make_args(c) if not f.is_Number) for c, _ in split]
    for base in dict.fromkeys(b for p in powers for b in p):
        for sign in (1, -1):
            some = [
                i for i, p in enumerate(powers) if base in p and p[base].is_Rational and p[base] * sign > 0
            ]
            if not 2 <= len(some) < len(split):
                continue
            shared = _common_scalar([split[i][0] for i in some])
            together = scale(shared, add(*(scale(split[i][0] / shared, split[i][1]) for i in some)))
            form = add(
                *(together if i == some[0] else t for i, t in enumerate(node.args) if i not in some[1:])
            )
            if best is None or cost(form) < cost(best):
                best = form
    return best


@rewrite("common factor", MatAdd)
def common_factor(node: Expr, known: Properties) -> Expr | None:
    """A B + A C = A (B + C), A^T B A + A^T C A = A^T (B + C) A, and a common scalar in front."""
    split = [_opened(*factors_of(t)) for t in node.args]
    coefficient = _common_scalar([c for c, _ in split])
    if coefficient is not S.One:
        rest = [(c / coefficient, f) for c, f in split]
        inside = _factored(rest, whole=True) or add(*(scale(c, matmul(*f)) for c, f in rest))
        return scale(coefficient, inside)
    return _factored(split)


Split = list[tuple[Expr, tuple[Expr, ...]]]


def _factored(split: Split, *, whole: bool = False) -> Expr | None:
    """The sum with the factor that its first terms share taken out; `whole`: of all terms, and leaving none empty."""
    for side in (0, -1):
        for i, (_, f) in enumerate(split):
            same = [j for j, (c, g) in enumerate(split) if g[side] == f[side] and (len(g) > 1 or c.is_Number)]
            if len(same) < 2 or same[0] != i or isinstance(f[side], OneMatrix):
                continue
            congruent = side == 0 and all(
                len(g) > 1 and g[-1] == transpose(f[0]) for g in (split[j][1] for j in same)
            )
            left, right = ((f[0],), (f[-1],)) if congruent else ((f[0],), ()) if side == 0 else ((), (f[-1],))
            if whole and (len(same) < len(split) or (not congruent and any(len(g) == 1 for _, g in split))):
                continue
            inside = []
            for j in same:
                c, g = split[j]
                rest = g[len(left) : len(g) - len(right)]
                size = f[0].shape[1] if left else f[-1].shape[0]
                one = S.One if size == 1 else eye(size)
                inside.append(scale(c, matmul(*rest) if rest else one))
            later = [matmul(c, *g) for j, (c, g) in enumerate(split) if j > i and j not in same]
            before = [matmul(c, *g) for c, g in split[:i]]
            return add(*before, matmul(*left, add(*inside), *right), *later)
    return None


@rewrite("sum of transposes", MatAdd)
def sum_of_transposes(node: Expr, known: Properties) -> Expr | None:
    """(A B)^T + C^T = (A B + C)^T, where that saves transposes of products."""
    parts = [split_scale(t) for t in node.args]
    if not any(isinstance(rest, Transpose) and isinstance(rest.arg, MatMul | MatAdd) for _, rest in parts):
        return None
    if any(1 in rest.shape for _, rest in parts):
        return None
    return transpose(add(*(turned(t, known) for t in node.args)))


@rewrite("sum of diagonal matrices", MatAdd)
def sum_of_diagonals(node: Expr, known: Properties) -> Expr | None:
    """diag(u) + diag(v) = diag(u + v)."""
    split = [split_scale(t) for t in node.args]
    found = [i for i, (_, rest) in enumerate(split) if isinstance(rest, DiagMatrix)]
    if len(found) < 2:
        return None
    together = diag(add(*(scale(split[i][0], split[i][1].args[0]) for i in found)))
    later = [t for i, t in enumerate(node.args) if i > found[0] and i not in found]
    return add(*node.args[: found[0]], together, *later)


def _opened(c: Expr, factors: tuple[Expr, ...]) -> tuple[Expr, tuple[Expr, ...]]:
    """A row (A x)^T as x^T A^T, so that its factors are seen."""
    if len(factors) == 1 and isinstance(factors[0], Transpose) and isinstance(factors[0].arg, MatMul):
        if is_column(factors[0].arg):
            return c, tuple(transpose(f) for f in reversed(factors[0].arg.args))
    return c, factors


@rewrite("commutation factored out", MatAdd)
def commutation_factored(node: Expr, known: Properties) -> Expr | None:
    """(B kron A) K + A kron B = (K + I)(A kron B), with K (A kron B) = (B kron A) K."""
    split = [factors_of(t) for t in node.args]
    for i, (c, f) in enumerate(split):
        if len(f) != 2 or not isinstance(f[1], Commutation) or not isinstance(f[0], KroneckerProduct):
            continue
        b, a = f[0].args[0], kron(*f[0].args[1:])
        other = kron(a, b)
        for j, (d, g) in enumerate(split):
            if c == d and g == (other,):
                exchange = commutation(b.shape[0], a.shape[0])
                together = matmul(c, add(eye(exchange.shape[0]), exchange), other)
                return add(together, *(t for k, t in enumerate(node.args) if k not in (i, j)))
    return None


def _common_scalar(coefficients: list[Expr]) -> Expr:
    """The scalar that every coefficient shares, a sign where all have it."""
    if len(coefficients) < 2:
        return S.One
    parts = [c.as_coeff_Mul() for c in coefficients]
    numbers = [abs(n) for n, _ in parts]
    shared: Expr = numbers[0] if all(n == numbers[0] for n in numbers) else _common_integer(numbers)
    powers = [dict(f.as_base_exp() for f in Mul.make_args(rest)) for _, rest in parts]
    for base, exponent in powers[0].items():
        found = [p.get(base, S.Zero) for p in powers]
        if all(k == exponent for k in found) and base != 1:
            shared = shared * Pow(base, exponent)
        elif all(k.is_Rational and k * exponent > 0 for k in found):
            shared = shared * Pow(base, min(found, key=abs))
    if all(n.is_negative for n, _ in parts):
        shared = -shared
    return shared


def _common_integer(numbers: list[Expr]) -> Expr:
    """The greatest common divisor of integers, 1 where one of them is none."""
    return Integer(igcd(*numbers)) if all(n.is_Integer for n in numbers) else S.One
