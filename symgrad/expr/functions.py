"""Elementwise functions: one table, scalar SymPy functions underneath.

Each entry is a scalar function of one argument (and parameters, such as the slope of a leaky ReLU).
Its derivative is taken by SymPy; `Elementwise` in `nodes` applies it to every entry of a matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import sympy
from sympy import Expr, Function, Rational, S, Symbol
from sympy.core.function import UndefinedFunction

__all__ = [
    "FUNCTIONS",
    "ElementFunction",
    "apply_scalar",
    "elu",
    "gelu",
    "leaky_relu",
    "primes",
    "relu",
    "scalar_derivative",
    "sigmoid",
    "silu",
    "softplus",
    "step",
]

Args = tuple[Expr, ...]


class step(Function):
    """The indicator 1[t > 0]; its derivative is 0 wherever it has one."""

    nargs = 1
    is_real = True
    is_nonnegative = True

    @classmethod
    def eval(cls, t: Expr) -> Expr | None:
        """A number goes to 0 or 1."""
        if t.is_Number and t.is_comparable:
            return S.One if t > 0 else S.Zero
        return None

    def fdiff(self, argindex: int = 1) -> Expr:
        """Zero away from the jump."""
        return S.Zero


class sigmoid(Function):
    """1 / (1 + exp(-t)); its derivative is y (1 - y)."""

    nargs = 1
    is_real = True
    is_positive = True

    @classmethod
    def eval(cls, t: Expr) -> Expr | None:
        """sigmoid(0) is 1/2."""
        return Rational(1, 2) if t.is_zero else None

    def fdiff(self, argindex: int = 1) -> Expr:
        """Y (1 - y)."""
        return self * (1 - self)

    def _eval_rewrite_as_exp(self, t: Expr, **kwargs: object) -> Expr:
        return 1 / (1 + sympy.exp(-t))

    def _eval_evalf(self, prec: int) -> Expr:
        return self.rewrite(sympy.exp)._eval_evalf(prec)


class relu(Function):
    """max(t, 0); its derivative is 1[t > 0]."""

    nargs = 1
    is_real = True
    is_nonnegative = True

    @classmethod
    def eval(cls, t: Expr) -> Expr | None:
        """A number goes to itself or to 0."""
        if t.is_Number and t.is_comparable:
            return t if t > 0 else S.Zero
        return None

    def fdiff(self, argindex: int = 1) -> Expr:
        """1[t > 0]."""
        return step(self.args[0])


class leaky_relu(Function):
    """t for t > 0, else slope * t; the slope is 1/100 unless given."""

    nargs = (1, 2)
    is_real = True

    def fdiff(self, argindex: int = 1) -> Expr:
        """1[t > 0] + slope (1 - 1[t > 0]); by the slope: t (1 - 1[t > 0])."""
        t, slope = self.args if len(self.args) == 2 else (self.args[0], Rational(1, 100))
        return step(t) + slope * (1 - step(t)) if argindex == 1 else t * (1 - step(t))


class elu(Function):
    """t for t > 0, else alpha (exp(t) - 1); alpha is 1 unless given."""

    nargs = (1, 2)
    is_real = True

    def fdiff(self, argindex: int = 1) -> Expr:
        """1[t > 0] + alpha exp(t) (1 - 1[t > 0])."""
        t, alpha = self.args if len(self.args) == 2 else (self.args[0], S.One)
        tail = 1 - step(t)
        return step(t) + alpha * sympy.exp(t) * tail if argindex == 1 else (sympy.exp(t) - 1) * tail


class softplus(Function):
    """log(1 + exp(t)); its derivative is sigmoid(t)."""

    nargs = 1
    is_real = True
    is_positive = True

    def fdiff(self, argindex: int = 1) -> Expr:
        """sigmoid(t)."""
        return sigmoid(self.args[0])

    def _eval_rewrite_as_exp(self, t: Expr, **kwargs: object) -> Expr:
        return sympy.log(1 + sympy.exp(t))


class silu(Function):
    """t sigmoid(t)."""

    nargs = 1
    is_real = True

    def fdiff(self, argindex: int = 1) -> Expr:
        """S (1 + t (1 - s)) with s = sigmoid(t)."""
        t = self.args[0]
        return sigmoid(t) * (1 + t * (1 - sigmoid(t)))


class gelu(Function):
    """t Phi(t) with the standard normal distribution function Phi."""

    nargs = 1
    is_real = True

    def fdiff(self, argindex: int = 1) -> Expr:
        """Phi(t) + t exp(-t^2/2) / sqrt(2 pi)."""
        t = self.args[0]
        return (1 + sympy.erf(t / sympy.sqrt(2))) / 2 + t * sympy.exp(-(t**2) / 2) / sympy.sqrt(2 * sympy.pi)


@dataclass(frozen=True)
class ElementFunction:
    """A row of the table: the name in the text language and the scalar function."""

    name: str
    scalar: Callable[..., Expr]
    parameters: int = 0  # how many optional parameters follow the argument


FUNCTIONS: dict[str, ElementFunction] = {
    f.name: f
    for f in (
        ElementFunction("exp", sympy.exp),
        ElementFunction("log", sympy.log),
        ElementFunction("sin", sympy.sin),
        ElementFunction("cos", sympy.cos),
        ElementFunction("tan", sympy.tan),
        ElementFunction("sinh", sympy.sinh),
        ElementFunction("cosh", sympy.cosh),
        ElementFunction("tanh", sympy.tanh),
        ElementFunction("arctan", sympy.atan),
        ElementFunction("sqrt", sympy.sqrt),
        ElementFunction("abs", sympy.Abs),
        ElementFunction("sign", sympy.sign),
        ElementFunction("erf", sympy.erf),
        ElementFunction("step", step),
        ElementFunction("relu", relu),
        ElementFunction("leaky_relu", leaky_relu, 1),
        ElementFunction("elu", elu, 1),
        ElementFunction("gelu", gelu),
        ElementFunction("silu", silu),
        ElementFunction("softplus", softplus),
        ElementFunction("sigmoid", sigmoid),
    )
}


def primes(name: str, order: int = 1) -> str:
    """The name of a derivative: `f` -> `f'`; its derivative is `f''`."""
    return name + "'" * order


def apply_scalar(name: str, t: Expr, *parameters: Expr) -> Expr:
    """The scalar value f(t); a name that is not in the table is an arbitrary smooth function.

    >>> apply_scalar("sigmoid", Symbol("t"))
    sigmoid(t)
    """
    if name in FUNCTIONS:
        return FUNCTIONS[name].scalar(t, *parameters)
    return UndefinedFunction(name)(t)


def scalar_derivative(name: str, t: Symbol, *parameters: Expr) -> Expr:
    """f'(t) by SymPy's scalar differentiation; f' for an arbitrary function f.

    >>> t = Symbol("t", real=True)
    >>> scalar_derivative("tanh", t)
    1 - tanh(t)**2
    >>> scalar_derivative("f", t)
    f'(t)
    """
    if name == "sign":  # SymPy's derivative holds the delta at the jump, where the function has none
        return S.Zero
    if name in FUNCTIONS:
        return sympy.diff(FUNCTIONS[name].scalar(t, *parameters), t)
    return UndefinedFunction(primes(name))(t)
