"""Exponentials that have a name: softmax and log-sum-exp, the logistic function."""

from __future__ import annotations

from sympy import Expr, Mul, Pow, S, exp, log
from sympy.core.parameters import distribute
from sympy.matrices.expressions.hadamard import HadamardPower, HadamardProduct
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.special import OneMatrix
from sympy.matrices.expressions.transpose import Transpose

from symgrad.expr import (
    AsScalar,
    Elementwise,
    EntrySum,
    apply,
    hadamard,
    is_column,
    is_matrix,
    logsumexp,
    matmul,
    negate,
    softmax,
    transpose,
)
from symgrad.expr.functions import sigmoid
from symgrad.simplifying.properties import Properties
from symgrad.simplifying.table import factors_of, rewrite


def _is_exp(m: Expr) -> bool:
    return isinstance(m, Elementwise) and m.name == "exp"


def _summed(e: Expr) -> Expr | None:
    """m, where a number is the sum of the entries of m."""
    if isinstance(e, EntrySum):
        return e.arg
    if isinstance(e, AsScalar) and isinstance(e.arg, MatMul) and len(e.arg.args) == 2:
        one, m = e.arg.args
        if isinstance(one, OneMatrix):
            return m
        if isinstance(m, OneMatrix) and isinstance(one, Transpose):
            return one.arg
    return None


def _summed_along(m: Expr) -> tuple[Expr, int] | None:
    """M and the axis, where a column holds the sums of M along it."""
    if isinstance(m, MatMul) and len(m.args) == 2 and isinstance(m.args[1], OneMatrix) and is_column(m):
        inside = m.args[0]
        return (inside.arg, 0) if isinstance(inside, Transpose) else (inside, 1)
    return None


@rewrite("log of summed exponentials", log, Elementwise)
def log_of_summed_exponentials(node: Expr, known: Properties) -> Expr | None:
    """log(sum(exp(z))) is the log-sum-exp of z, of all entries or along an axis."""
    if isinstance(node, log):
        m = _summed(node.args[0])
        return logsumexp(m.arg) if m is not None and is_column(m) and _is_exp(m) else None
    found = _summed_along(node.arg) if node.name == "log" else None
    return logsumexp(found[0].arg, found[1]) if found is not None and _is_exp(found[0]) else None


@rewrite("log of the chosen entry", log)
def log_of_the_chosen_entry(node: Expr, known: Properties) -> Expr | None:
    """log(y^T p) = y^T log(p) for a one-hot y: both are the log of one entry."""
    inside = node.args[0]
    x, y = None, None
    if isinstance(inside, AsScalar) and isinstance(inside.arg, MatMul) and len(inside.arg.args) == 2:
        row, y = inside.arg.args
        x = row.arg if isinstance(row, Transpose) else None
    elif (
        isinstance(inside, EntrySum) and isinstance(inside.arg, HadamardProduct) and len(inside.arg.args) == 2
    ):
        x, y = inside.arg.args
    if x is None or not (is_column(x) and is_column(y)):
        return None
    for chosen, p in ((x, y), (y, x)):
        if known.assumed(chosen, "onehot") and known.is_positive(p):
            return matmul(transpose(chosen), apply("log", p))
    return None


@rewrite("normalised exponentials", MatMul, HadamardProduct)
def normalised_exponentials(node: Expr, known: Properties) -> Expr | None:
    """exp(z) / sum(exp(z)) is the softmax of z, of a vector or along an axis."""
    if isinstance(node, HadamardProduct):
        return _normalised_along(node)
    c, factors = factors_of(node)
    for quotient in Mul.make_args(c):
        base, k = quotient.as_base_exp()
        m = _summed(base)
        if m is None or not (is_column(m) and _is_exp(m)) or not (k.is_Integer and k.is_negative):
            continue
        for i, f in enumerate(factors):
            put = _with(f, m, softmax(m.arg))
            if put is not None:
                return matmul(c * base, *factors[:i], put, *factors[i + 1 :])
    return None


def _with(f: Expr, m: Expr, value: Expr) -> Expr | None:
    """A factor with another value for m, which it is, or holds entry by entry."""
    if f == m:
        return value
    if isinstance(f, Transpose) and (inside := _with(f.arg, m, value)) is not None:
        return transpose(inside)
    if isinstance(f, HadamardProduct) and m in f.args:
        rest = list(f.args)
        rest[rest.index(m)] = value
        return hadamard(*rest)
    return None


def _normalised_along(node: Expr) -> Expr | None:
    for f in node.args:
        if not (isinstance(f, HadamardPower) and f.args[1] is S.NegativeOne):
            continue
        for m in node.args:
            axis = _axis_of_sums(f.args[0], m) if _is_exp(m) else None
            if axis is not None:
                return hadamard(softmax(m.arg, axis), *(g for g in node.args if g not in (f, m)))
    return None


def _axis_of_sums(below: Expr, m: Expr) -> int | None:
    """The axis along which the sums of M are spread over its shape: M 1 1^T, 1 1^T M."""
    if not isinstance(below, MatMul):
        return None
    if below.args[0] == m and all(isinstance(a, OneMatrix) for a in below.args[1:]):
        return 1
    if below.args[-1] == m and all(isinstance(a, OneMatrix) for a in below.args[:-1]):
        return 0
    first, last = below.args[0], below.args[-1]
    if isinstance(first, OneMatrix) and len(below.args) == 2 and isinstance(last, Transpose):
        along = _summed_along(last.arg)
        return 0 if along == (m, 0) else None
    return None


@rewrite("logistic function", Pow, HadamardPower, Mul, HadamardProduct)
def logistic_function(node: Expr, known: Properties) -> Expr | None:
    """1 / (1 + exp(-u)) is the sigmoid of u, and so is exp(u) / (1 + exp(u))."""
    if isinstance(node, Pow | HadamardPower):
        base, k = node.args
        if not (k.is_Integer and k.is_negative):
            return None
        u = _exponent_beside_one(base)
        if u is None:
            return None
        value = apply("sigmoid", negate(u))
        return value if k is S.NegativeOne else node.func(value, -k)
    if is_matrix(node) and isinstance(node, Mul):
        return None
    for f in node.args:
        if (isinstance(f, Elementwise) and f.name == "sigmoid") or isinstance(f, sigmoid):
            u = f.arg if isinstance(f, Elementwise) else f.args[0]
            partner = apply("exp", negate(u))
            if partner in node.args:
                rest = [g for g in node.args if g not in (f, partner)]
                value = apply("sigmoid", negate(u))
                with distribute(False):
                    return hadamard(value, *rest) if is_matrix(node) else Mul(value, *rest)
    return None


def _exponent_beside_one(base: Expr) -> Expr | None:
    """U in 1 + exp(u)."""
    if isinstance(base, MatAdd) and len(base.args) == 2:
        for one, other in (base.args, base.args[::-1]):
            if isinstance(one, OneMatrix) and _is_exp(other):
                return other.arg
        return None
    if base.is_Add and len(base.args) == 2 and base.args[0] is S.One and isinstance(base.args[1], exp):
        return base.args[1].args[0]
    return None
