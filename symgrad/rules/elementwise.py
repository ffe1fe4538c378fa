"""Functions and powers of every entry; the derivative of the function is SymPy's."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from sympy import Abs, Dummy, Expr, Function, Pow, Rational, diff
from sympy.core.symbol import Str
from sympy.matrices.expressions.hadamard import HadamardPower, HadamardProduct

from symgrad.expr import Elementwise, add, apply, hadamard, inner, is_scalar, power, scale
from symgrad.expr.entrywise import function_name, lift
from symgrad.expr.functions import apply_scalar, scalar_derivative
from symgrad.rules.registry import product_rule, rule

Parts = tuple[Expr | None, ...]

_T = Dummy("t", real=True)
_Y = Dummy("y", real=True)


@cache
def _derivative(name: str, parameters: tuple[Expr, ...]) -> Expr:
    """f'(t) over the input _T and the output _Y, which stands wherever f(t) itself occurs in it.

    Textbooks print the derivative of such functions in terms of the output: a (1 - a), 1 - a^2.
    """
    value = apply_scalar(name, _T, *parameters)
    derivative: Expr = scalar_derivative(name, _T, *parameters)
    if name == "sqrt":  # a power, so SymPy writes 1/sqrt(t) without the output in it
        return 1 / (2 * _Y)
    return derivative.xreplace({value: _Y})


def derivative(name: str, x: Expr, y: Expr, *parameters: Expr) -> Expr:
    """f'(x) as an expression in the input and the output, entry by entry.

    >>> from symgrad.expr import vector
    >>> z, a = vector("z", "n"), vector("a", "n")
    >>> derivative("tanh", z, a)
    -HadamardPower(a, 2) + 1
    """
    entry = _derivative(name, parameters)
    if is_scalar(x):
        return entry.xreplace({_T: x, _Y: y})
    return lift(entry, {_T: x, _Y: y}, x.shape)


def _function_parts(node: Expr) -> tuple[Expr, ...]:
    """The function's name, then its argument and parameters, for a matrix and for a scalar."""
    return node.args if isinstance(node, Elementwise) else (Str(function_name(node)), *node.args)


def _function_differential(d: Sequence[Expr | None], y: Expr, name: Str, x: Expr, *parameters: Expr) -> Expr:
    terms = [hadamard(derivative(name.name, x, y, *parameters), d[1])] if d[1] is not None else []
    for i, increment in enumerate(d[2:]):
        if increment is not None:
            terms.append(scale(increment, _by_parameter(name.name, i, x, parameters)))
    return add(*terms)


def _by_parameter(name: str, i: int, x: Expr, parameters: tuple[Expr, ...]) -> Expr:
    """The derivative by a parameter such as a slope, entry by entry."""
    slots = [Dummy(f"p{j}", real=True) for j in range(len(parameters))]
    entry = diff(apply_scalar(name, _T, *slots), slots[i]).xreplace(dict(zip(slots, parameters, strict=True)))
    return entry.xreplace({_T: x}) if is_scalar(x) else lift(entry, {_T: x}, x.shape)


@rule(
    "elementwise",
    op=(Elementwise, Function, Abs),
    parts=_function_parts,
    differential=_function_differential,
    example="tanh(Z)",
    shapes="Z: m n",
    cites="chain rule; the derivative of the function is taken by SymPy",
    when=lambda node: isinstance(node, Elementwise) or function_name(node) is not None,
)
def elementwise(g: Expr, y: Expr, name: Str, x: Expr, *parameters: Expr) -> Parts:
    """The adjoint times the derivative of the function, entry by entry."""
    by_x = hadamard(g, derivative(name.name, x, y, *parameters))
    return None, by_x, *(inner(g, _by_parameter(name.name, i, x, parameters)) for i in range(len(parameters)))


@rule(
    "hadamard",
    op=HadamardProduct,
    differential=product_rule(hadamard),
    example="A * B",
    shapes="A: m n, B: m n",
    cites="Giles (2008); Magnus and Neudecker (2019), section 3.6",
)
def hadamard_rule(g: Expr, y: Expr, *factors: Expr) -> Parts:
    """A factor receives the adjoint times the other factors, entry by entry."""
    return tuple(hadamard(g, *factors[:i], *factors[i + 1 :]) for i in range(len(factors)))


def _power_differential(d: Sequence[Expr | None], y: Expr, x: Expr, k: Expr) -> Expr:
    terms = []
    if d[0] is not None:
        terms.append(hadamard(_by_base(x, k), d[0]))
    if d[1] is not None:
        terms.append(scale(d[1], hadamard(y, apply("log", x))))
    return add(*terms)


def _by_base(x: Expr, k: Expr) -> Expr:
    return scale(k, power(x, k - 1))


@rule(
    "power",
    op=(Pow, HadamardPower),
    differential=_power_differential,
    example="X ** 3",
    shapes="X: m n",
    cites="power rule",
)
def power_rule(g: Expr, y: Expr, x: Expr, k: Expr) -> Parts:
    """The exponent comes down and drops by one, entry by entry."""
    by_exponent = inner(g, hadamard(y, apply("log", x))) if k.free_symbols else None
    if k == Rational(1, 2) and is_scalar(y):  # a root that has a name keeps it
        return g / (2 * y), by_exponent
    return hadamard(g, _by_base(x, k)), by_exponent
