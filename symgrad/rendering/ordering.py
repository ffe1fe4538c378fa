"""Order and fractions: what every printer decides alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from sympy import Add, Expr, Mul, Pow, S
from sympy.matrices.expressions.hadamard import HadamardPower, HadamardProduct
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.matmul import MatMul

from symgrad.expr import (
    Elementwise,
    add,
    apply,
    hadamard,
    is_matrix,
    matmul,
    negate,
    ones,
    power,
    split_scale,
    transpose,
)
from symgrad.expr.functions import step

__all__ = ["Fraction", "as_choice", "leading_first", "scalar_terms", "split_fraction", "turned"]

T = TypeVar("T")


@dataclass(frozen=True)
class Fraction:
    """A scalar factor taken apart: sign, number and factors above and below the bar."""

    negative: bool
    number: int
    numerator: tuple[Expr, ...]
    divisor: int
    denominator: tuple[Expr, ...]


def split_fraction(c: Expr) -> Fraction:
    """The sign, the numerator and the denominator of a product of scalars.

    >>> from sympy import symbols
    >>> n = symbols("n")
    >>> split_fraction(-2/n)
    Fraction(negative=True, number=2, numerator=(), divisor=1, denominator=(n,))
    """
    negative, number, divisor = False, 1, 1
    above: list[Expr] = []
    below: list[Expr] = []
    for f in Mul.make_args(c):
        if f.is_Rational:
            negative ^= bool(f < 0)
            number *= abs(int(f.p))
            divisor *= int(f.q)
        elif f.is_Float:
            negative ^= bool(f < 0)
            above.append(abs(f))
        elif isinstance(f, Pow) and f.args[1].could_extract_minus_sign() and f.args[0] is not S.Exp1:
            below.append(Pow(f.args[0], -f.args[1], evaluate=f.args[1] == -1 or f.args[1].is_Number))
        else:
            above.append(f)
    for f in [
        f for f in above if _is_root(f)
    ]:  # sqrt(2) / 2 is 1 / sqrt(2), sqrt(2) / sqrt(pi) is sqrt(2 / pi)
        under = f.args[0]
        root = next((g for g in below if _is_root(g)), None)
        if under.is_Integer and divisor % int(under) == 0:
            divisor //= int(under)
            above.remove(f)
            below.insert(0, f)
        elif root is not None:
            above[above.index(f)] = Pow(under / root.args[0], S.Half, evaluate=False)
            below.remove(root)
    return Fraction(negative, number, tuple(above), divisor, tuple(below))


def _is_root(f: Expr) -> bool:
    """The square root of a number."""
    return isinstance(f, Pow) and f.args[1] is S.Half and bool(f.args[0].is_number)


def turned(m: Expr) -> Expr:
    """The transpose with the transposes at the factors: a row is shown as the column it is in NumPy.

    >>> from symgrad.expr import matrix, vector
    >>> A, x = matrix("A", "m", "n"), vector("x", "m")
    >>> turned(matmul(transpose(x), A))
    A.T*x
    """
    if isinstance(m, MatMul):
        return matmul(*(turned(f) if is_matrix(f) else f for f in reversed(m.args)))
    if isinstance(m, MatAdd):
        return add(*(turned(t) for t in m.args))
    if isinstance(m, HadamardProduct):
        return hadamard(*(turned(t) for t in m.args))
    if isinstance(m, Elementwise):
        return apply(m.name, turned(m.arg), *m.parameters)
    if isinstance(m, HadamardPower) and not is_matrix(m.args[1]):
        return power(turned(m.args[0]), m.args[1])
    return transpose(m)


def scalar_terms(e: Expr) -> list[Expr]:
    """The terms of a scalar sum: symbols and products before numbers unless the rest is negative."""
    terms = list(e.args)
    numbers = [t for t in terms if t.is_Number]
    others = [t for t in terms if not t.is_Number]
    others.sort(key=lambda t: bool(t.could_extract_minus_sign()))
    if numbers and all(t.could_extract_minus_sign() for t in others):
        return numbers + others
    if numbers and not others[0].is_Symbol:
        return numbers + others
    return others + numbers


def as_choice(e: Expr) -> tuple[Expr, Expr, Expr] | None:
    """(u, a, b) where e is 1[u > 0] a + (1 - 1[u > 0]) b, the choice between a and b by the sign of u."""
    if not isinstance(e, Add | MatAdd) or len(e.args) != 2:
        return None
    for yes, no in (e.args, e.args[::-1]):
        for u, a in _steps(yes):
            one = ones(*u.shape) if is_matrix(u) else S.One
            refused = add(one, negate(apply("step", u)))
            if refused in (factors := _entry_factors(no)):
                rest = [f for f in factors if f != refused]
                return (
                    u,
                    a,
                    hadamard(
                        split_scale(no)[0] if is_matrix(no) else S.One,
                        *rest,
                        *([one] if is_matrix(u) else []),
                    ),
                )
    return None


def _entry_factors(t: Expr) -> list[Expr]:
    """The factors of a product entry by entry, without the scalar in front of a matrix."""
    if not is_matrix(t):
        return list(Mul.make_args(t))
    rest = split_scale(t)[1]
    return list(rest.args) if isinstance(rest, HadamardProduct) else [rest]


def _steps(t: Expr) -> list[tuple[Expr, Expr]]:
    """For every indicator 1[u > 0] among the factors of a term: u and the rest of the term."""
    factors = _entry_factors(t)
    found = []
    for i, f in enumerate(factors):
        if isinstance(f, step) or (isinstance(f, Elementwise) and f.name == "step"):
            u = f.args[-1] if isinstance(f, step) else f.arg
            rest = [*factors[:i], *factors[i + 1 :]]
            scalar = split_scale(t)[0] if is_matrix(t) else S.One
            found.append((u, hadamard(scalar, *rest, *([ones(*u.shape)] if is_matrix(u) else []))))
    return found


def leading_first(terms: list[tuple[bool, T]]) -> list[tuple[bool, T]]:
    """The (negative, text) pairs of a sum, with a positive term first where there is one."""
    for i, (negative, _) in enumerate(terms):
        if not negative:
            return [terms[i], *terms[:i], *terms[i + 1 :]]
    return terms
