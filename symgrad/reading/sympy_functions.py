"""Functions of entries in SymPy expressions: Lambdas lifted to matrices, and functions known under other spellings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

import sympy
from sympy import Add, Basic, Expr, Lambda, Mul, S
from sympy.matrices.expressions.determinant import Determinant
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.special import Identity, OneMatrix, ZeroMatrix
from sympy.matrices.expressions.transpose import Transpose

from symgrad.errors import UnsupportedError
from symgrad.expr import (
    AsScalar,
    Elementwise,
    EntrySum,
    entry_sum,
    is_matrix,
    is_scalar,
    larger,
    logdet,
    logsumexp,
    power,
    scale,
    smaller,
    split_scale,
    transpose,
)
from symgrad.expr.entrywise import lift
from symgrad.expr.functions import sigmoid, softplus, step

__all__ = [
    "applied",
    "entry_power",
    "has_transpose",
    "log_of",
    "named_functions",
    "outside",
    "piecewise",
    "turned",
]

_T = sympy.Dummy("t", real=True)


def applied(function: Lambda | Expr, m: Expr) -> Expr:
    """F applied to every entry: the body of the Lambda, lifted to the matrix.

    Raises   UnsupportedError for a function of several arguments, or one that does not act on entries
    """
    if not isinstance(function, Lambda):
        try:
            function = Lambda((_T,), function(_T))
        except TypeError:
            raise UnsupportedError(f"the function {function} applied to entries") from None
    if len(function.variables) != 1:
        raise UnsupportedError(f"a function of {len(function.variables)} arguments applied to entries")
    (t,) = function.variables
    body = named_functions(function.expr)
    if is_matrix(body):
        raise UnsupportedError(f"the function {body}, whose values are matrices, applied to entries")
    if is_scalar(m):
        value = body.xreplace({t: m})
        return log_of(m) if value == sympy.log(m) else value

    def along(x: Expr) -> Expr:
        try:
            return lift(body, {t: x}, x.shape)
        except TypeError as error:
            raise UnsupportedError(f"the function {body} applied to entries") from error

    return outside(along, [m])


def entry_power(base: Expr, exponent: Expr) -> Expr:
    """Base ** exponent entry by entry.

    Raises   UnsupportedError if both are matrices
    """
    if is_scalar(exponent):
        return outside(lambda m: power(m, exponent), [base])
    if is_scalar(base):
        return applied(Lambda((_T,), base**_T), exponent)
    raise UnsupportedError(f"an entrywise power with the matrix {exponent} as its exponent")


def log_of(e: Expr) -> Expr:
    """log(e): of a determinant the log-determinant, of a sum of exponentials the log-sum-exp.

    >>> from symgrad.expr import apply, entry_sum, vector
    >>> log_of(entry_sum(apply("exp", vector("z", "n"))))
    LogSumExp(z)
    """
    if isinstance(e, Determinant):
        return logdet(e.arg)
    if isinstance(e, AsScalar) and isinstance(e.arg, MatMul) and len(e.arg.args) == 2:
        parts = [a for a in e.arg.args if not isinstance(a, OneMatrix)]
        if len(parts) == 1:
            e = entry_sum(transpose(parts[0]) if parts[0].shape[0] == 1 else parts[0])
    if isinstance(e, EntrySum) and type(e) is EntrySum:
        inner = e.arg
        if isinstance(inner, Elementwise) and inner.name == "exp" and inner.shape[1] == 1:
            return logsumexp(inner.arg)
    return sympy.log(e)


# --- transposes ---------------------------------------------------------------------------------------


def has_transpose(m: Expr) -> bool:
    """Whether it is the transpose of something, up to a scalar factor."""
    return isinstance(split_scale(m)[1], Transpose)


def turned(m: Expr) -> Expr | None:
    """The transpose of a matrix if it has no transpose sign then; None if one would be added."""
    rest = split_scale(m)[1]
    if isinstance(rest, Transpose | OneMatrix | Identity | ZeroMatrix):
        return transpose(m)
    return None


def outside(make: Callable[..., Expr], args: Sequence[Expr]) -> Expr:
    """make(A^T, B^T) as make(A, B)^T, for what acts entry by entry: SymPy writes transposes at the leaves.

    >>> from symgrad.expr import add, matrix
    >>> A, B = matrix("A", "m", "n"), matrix("B", "m", "n")
    >>> outside(add, [transpose(A), transpose(B)])
    (A + B).T
    """
    straight = [turned(a) if is_matrix(a) else a for a in args]
    if any(is_matrix(a) and has_transpose(a) for a in args) and all(t is not None for t in straight):
        return transpose(make(*straight))
    return make(*args)


# --- functions under other spellings --------------------------------------------------------------------


def named_functions(e: Expr) -> Expr:
    """A scalar expression with 1/(1 + exp(-u)) as sigmoid(u) and log(1 + exp(u)) as softplus(u).

    >>> t = sympy.Symbol("t")
    >>> named_functions(sympy.log(1 / (1 + sympy.exp(-t))))
    log(sigmoid(t))
    """
    e = e.replace(lambda p: isinstance(p, _CHOICES), _choice)
    if not e.has(sympy.exp):
        return e
    e = e.replace(_is_logistic, lambda p: sigmoid(scale(-1, _one_plus_exp(p.base))) ** (-p.exp))
    e = e.replace(_is_exp_over, _exp_over)
    return e.replace(
        lambda f: isinstance(f, sympy.log) and _one_plus_exp(f.args[0]) is not None,
        lambda f: softplus(_one_plus_exp(f.args[0])),
    )


_CHOICES = (sympy.Max, sympy.Min, sympy.Heaviside, sympy.Piecewise)


def _choice(e: Expr) -> Expr:
    """Max, Min, Heaviside and Piecewise of scalars by relu and step."""
    if isinstance(e, sympy.Heaviside):
        return step(e.args[0])
    if isinstance(e, sympy.Piecewise):
        return piecewise(e.args)
    return reduce(
        larger if isinstance(e, sympy.Max) else smaller, sorted(e.args, key=lambda a: not a.is_Number)
    )


def piecewise(branches: Sequence[Basic]) -> Expr:
    """The branches (value, condition), each with the step of its condition; the last holds everywhere else.

    >>> t = sympy.Symbol("t", real=True)
    >>> piecewise(sympy.Piecewise((t**2, t > 0), (0, True)).args)
    t**2*step(t)

    Raises   UnsupportedError for a condition that is no inequality, or where no branch holds
    """
    first, *rest = branches
    value, condition = first.args
    if condition == sympy.true:
        return value
    if not rest or not isinstance(condition, sympy.core.relational._Inequality):
        raise UnsupportedError(f"a Piecewise with the condition {condition} and {len(rest)} more branches")
    gap = condition.gts - condition.lts
    holds = (
        step(gap) if isinstance(condition, sympy.StrictGreaterThan | sympy.StrictLessThan) else 1 - step(-gap)
    )
    return holds * value + (1 - holds) * piecewise(rest)


def _one_plus_exp(e: Basic) -> Expr | None:
    """U of 1 + exp(u)."""
    if isinstance(e, Add) and len(e.args) == 2 and S.One in e.args:
        other = next(a for a in e.args if a is not S.One)
        if isinstance(other, sympy.exp):
            return other.args[0]
    return None


def _is_logistic(p: Basic) -> bool:
    """(1 + exp(-u))**-k: only with a sign in front of u is it a sigmoid as it stands."""
    if not isinstance(p, sympy.Pow) or not (p.exp.is_Integer and p.exp < 0):
        return False
    u = _one_plus_exp(p.base)
    return u is not None and bool(u.could_extract_minus_sign())


def _reciprocal_logistic(e: Basic) -> Expr | None:
    """U of a product that holds exp(u)/(1 + exp(u))."""
    for a in e.args if isinstance(e, Mul) else ():
        if isinstance(a, sympy.Pow) and a.exp is S.NegativeOne:
            u = _one_plus_exp(a.base)
            if u is not None and sympy.exp(u) in e.args:
                return u
    return None


def _is_exp_over(e: Basic) -> bool:
    return _reciprocal_logistic(e) is not None


def _exp_over(e: Expr) -> Expr:
    u = _reciprocal_logistic(e)
    return e / sympy.exp(u) * (1 + sympy.exp(u)) * sigmoid(u)
