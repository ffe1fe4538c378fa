"""Expressions that are equal on paper, written so that large numbers neither overflow nor cancel.

exp(x)/sum(exp(x)) is a softmax, 1/(1 + exp(-x)) a sigmoid, log(1 + x) is log1p(x); `log1p`, `expm1` and
`log_sigmoid` are names that only programs use.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sympy
from sympy import Dummy, Expr, Function, S
from sympy.matrices.expressions.determinant import Determinant
from sympy.matrices.expressions.hadamard import HadamardPower, HadamardProduct
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.special import OneMatrix

from symgrad.expr import (
    Elementwise,
    EntrySum,
    LogDet,
    Softmax,
    add,
    apply,
    hadamard,
    is_leaf,
    is_matrix,
    is_scalar,
    log_softmax,
    logsumexp,
    matmul,
    negate,
    power,
    rebuild,
    scale,
    substitute,
    walk,
)
from symgrad.expr.entrywise import function_name
from symgrad.simplifying import Simplifier

__all__ = ["stable"]


class expm1(Function):  # noqa: N801 - spelt as NumPy spells it
    """exp(t) - 1."""


class log1p(Function):  # noqa: N801
    """log(1 + t)."""


class log_sigmoid(Function):  # noqa: N801
    """log(sigmoid(t))."""


_OWN = {"expm1": expm1, "log1p": log1p, "log_sigmoid": log_sigmoid}


def stable(e: Expr, tidy: Simplifier) -> Expr:
    """The expression in stable form.

    >>> from symgrad.expr import entry_sum, vector
    >>> z = vector("z", "n")
    >>> stable(scale(1 / entry_sum(apply("exp", z)), apply("exp", z)), Simplifier({}))
    Softmax(z, 0)
    """
    e = _without_normaliser(e, tidy)
    done: dict[Expr, Expr] = {}
    for node in reversed(list(walk(e))):
        _rewritten(node, done)
    return done.get(e, e)


def _rewritten(node: Any, done: dict[Expr, Expr]) -> Expr:
    if node in done:
        return done[node]
    if not isinstance(node, Expr) or is_leaf(node) or not node.args:
        done[node] = node
        return done[node]
    args = [_rewritten(a, done) if isinstance(a, Expr) else a for a in node.args]
    again = node if tuple(args) == node.args else rebuild(node, args)
    done[node] = _one(again)
    return done[node]


def _one(e: Expr) -> Expr:
    """One node, its arguments being stable already."""
    name = e.name if isinstance(e, Elementwise) else function_name(e)
    if name == "log":
        return _log(e.arg if isinstance(e, Elementwise) else e.args[0])
    if isinstance(e, HadamardPower | sympy.Pow) and is_scalar(e.args[1]):
        u = _one_plus_exp(e.args[0])
        if u is not None and e.args[1].could_extract_minus_sign():
            return power(apply("sigmoid", negate(u)), -e.args[1])
    if isinstance(e, HadamardProduct | sympy.Mul):
        return _logistic_product(e)
    if isinstance(e, MatAdd | sympy.Add):
        return _expm1(e)
    return e


def _function(name: str, x: Expr) -> Expr:
    return Elementwise(name, x) if is_matrix(x) else _OWN[name](x)


def _log(x: Expr) -> Expr:
    """log(x)."""
    if isinstance(x, Softmax):
        return log_softmax(x.arg, x.axis)
    if _is(x, "sigmoid"):
        return _function("log_sigmoid", _argument(x))
    if isinstance(x, Determinant):
        return LogDet(x.arg)
    if type(x) is EntrySum and _is(x.arg, "exp") and x.arg.shape[1] == 1:
        return logsumexp(_argument(x.arg))
    if isinstance(x, MatMul) and len(x.args) == 2 and isinstance(x.args[1], OneMatrix):
        inner = x.args[0]
        axis = 0 if type(inner).__name__ == "Transpose" else 1
        inner = inner.arg if axis == 0 else inner
        if _is(inner, "exp") and x.args[1].shape[1] == 1:
            return logsumexp(_argument(inner), axis)
    u = _one_plus_exp(x)
    if u is not None:
        return apply("softplus", u)
    rest = _less_one(x)
    if rest is not None:
        if _is(negate(rest), "sigmoid"):  # log(1 - sigmoid(u)) = log(sigmoid(-u))
            return _function("log_sigmoid", negate(_argument(negate(rest))))
        return _function("log1p", rest)
    return apply("log", x)


def _is(e: Expr, name: str) -> bool:
    return e.name == name if isinstance(e, Elementwise) else is_scalar(e) and function_name(e) == name


def _argument(e: Expr) -> Expr:
    return e.arg if isinstance(e, Elementwise) else e.args[0]


def _is_one(t: Expr) -> bool:
    return t is S.One or isinstance(t, OneMatrix)


def _less_one(x: Expr) -> Expr | None:
    """R of 1 + r."""
    if isinstance(x, MatAdd | sympy.Add):
        rest = [t for t in x.args if not _is_one(t)]
        if len(rest) == len(x.args) - 1:
            return add(*rest)
    return None


def _one_plus_exp(x: Expr) -> Expr | None:
    """U of 1 + exp(u)."""
    rest = _less_one(x)
    return _argument(rest) if rest is not None and _is(rest, "exp") else None


def _expm1(e: Expr) -> Expr:
    """exp(u) - 1 + .. as expm1(u) + .."""
    terms = list(e.args)
    at = next((i for i, t in enumerate(terms) if _is(t, "exp")), None)
    ones = next((i for i, t in enumerate(terms) if t is S.NegativeOne or _is_one(negate(t))), None)
    if at is None or ones is None:
        return e
    rest = [t for i, t in enumerate(terms) if i not in (at, ones)]
    return add(_function("expm1", _argument(terms[at])), *rest)


def _logistic_product(e: Expr) -> Expr:
    """exp(u) times sigmoid(-u) is sigmoid(u)."""
    factors = list(e.args)
    make: Callable[..., Expr] = hadamard if is_matrix(e) else matmul
    for i, f in enumerate(factors):
        if not _is(f, "exp"):
            continue
        for j, other in enumerate(factors):
            base, k = other.args if isinstance(other, HadamardPower | sympy.Pow) else (other, S.One)
            if _is(base, "sigmoid") and k.is_Integer and k > 0 and _argument(base) == negate(_argument(f)):
                rest = [x for n, x in enumerate(factors) if n not in (i, j)]
                left = [power(base, k - 1)] if k != 1 else []
                return make(apply("sigmoid", _argument(f)), *left, *rest)
    return e


def _without_normaliser(e: Expr, tidy: Simplifier) -> Expr:
    """exp(x) as sum(exp(x)) softmax(x), wherever the sums cancel then."""
    for node in list(walk(e)):
        if type(node) is not EntrySum or not _is(node.arg, "exp") or node.arg.shape[1] != 1:
            continue
        total = Dummy("total", positive=True)
        softmax = Softmax(_argument(node.arg), 0)
        changed = substitute(e, {node: total, node.arg: scale(total, softmax)})
        for attempt in (changed, tidy(changed), tidy.shortest(changed)):
            if not attempt.has(total):
                e = attempt
                break
    return e
