"""Between a matrix expression that acts entry by entry and the scalar expression of one entry.

`lower` writes the entry of an elementwise expression as a SymPy scalar over atoms, one symbol for every
part that is not elementwise; `lift` goes back. Scalar algebra and scalar derivatives are then SymPy's.
"""

from __future__ import annotations

from collections.abc import Mapping

from sympy import Add, Dummy, Expr, Function, Mul, Pow, S, Symbol, preorder_traversal
from sympy.core.function import AppliedUndef
from sympy.core.parameters import distribute
from sympy.matrices.expressions.hadamard import HadamardPower, HadamardProduct
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.special import OneMatrix

from symgrad.expr.build import add, hadamard, ones, power, scale, split_scale
from symgrad.expr.functions import FUNCTIONS, apply_scalar
from symgrad.expr.nodes import Elementwise
from symgrad.expr.operations import apply
from symgrad.expr.shapes import is_matrix

__all__ = ["function_name", "lift", "lower"]

_NAMES: dict[type, str] = {type(f.scalar(Symbol("t", real=True))): f.name for f in FUNCTIONS.values()}
_NAMES.pop(Pow, None)  # sqrt is a power


def function_name(e: Expr) -> str | None:
    """The name in the text language of an applied scalar function, None if it has none."""
    if isinstance(e, AppliedUndef):
        return str(e.func.__name__)
    return _NAMES.get(type(e))


def lift(entry: Expr, atoms: Mapping[Expr, Expr], shape: tuple[Expr, Expr]) -> Expr:
    """The matrix of that shape whose entries are `entry`, with matrices (or scalars) for the atoms.

    >>> from symgrad.expr.build import vector
    >>> t, x = Symbol("t"), vector("x", "n")
    >>> lift(1 - t**2, {t: x}, x.shape)
    -HadamardPower(x, 2) + 1
    """
    lifted = _lift(entry, atoms, shape)
    return lifted if is_matrix(lifted) else scale(lifted, ones(*shape))


def _lift(e: Expr, atoms: Mapping[Expr, Expr], shape: tuple[Expr, Expr]) -> Expr:
    if e in atoms:
        return atoms[e]
    if not e.args or not any(a in e.free_symbols for a in atoms):
        return e
    args = [_lift(a, atoms, shape) for a in e.args]
    if not any(is_matrix(a) for a in args):
        with distribute(False):
            return e.func(*args)
    if isinstance(e, Add):  # SymPy orders its terms by itself; a constant goes first, as in 1 - a
        args.sort(key=lambda a: (is_matrix(a), _length(a)))
        return add(*(a if is_matrix(a) else scale(a, ones(*shape)) for a in args))
    if isinstance(e, Mul):  # short factors first, as in a * (1 - a)
        args.sort(key=_length)
        return hadamard(*args)
    if isinstance(e, Pow) and not is_matrix(args[1]):
        return power(*args)
    name = function_name(e)
    if isinstance(e, Function) and name is not None:
        return apply(name, *args)
    if isinstance(e, Pow) and not is_matrix(args[0]):
        from sympy import log

        return apply("exp", scale(log(args[0]), args[1]))
    raise TypeError(f"not an elementwise expression: {e}")


def _length(e: Expr) -> int:
    return sum(1 for _ in preorder_traversal(split_scale(e)[1] if is_matrix(e) else e))


def lower(m: Expr, known: dict[Expr, Expr] | None = None) -> tuple[Expr, dict[Expr, Expr]]:
    """The scalar expression of one entry of `m`, and the atoms in it (symbol -> matrix); `known` ones are kept whole.

    >>> from symgrad.expr.build import vector
    >>> x, y = vector("x", "n"), vector("y", "n")
    >>> entry, atoms = lower(hadamard(x, add(ones("n"), scale(-1, x))))
    >>> entry.expand().subs({s: Symbol(str(x)) for s, x in atoms.items()})
    -x**2 + x
    """
    symbols: dict[Expr, Expr] = {} if known is None else known
    entry = _lower(m, symbols)
    return entry, {s: matrix for matrix, s in symbols.items()}


def _lower(m: Expr, symbols: dict[Expr, Expr]) -> Expr:
    if m in symbols:
        return symbols[m]
    factor, rest = split_scale(m)
    if factor is not S.One:
        with distribute(False):
            return Mul(factor, _lower(rest, symbols))
    with distribute(False):
        if isinstance(m, MatAdd):
            return Add(*(_lower(t, symbols) for t in m.args))
        if isinstance(m, HadamardProduct):
            return Mul(*(_lower(t, symbols) for t in m.args))
        if isinstance(m, HadamardPower) and not is_matrix(m.args[1]):
            return Pow(_lower(m.args[0], symbols), m.args[1])
        if isinstance(m, OneMatrix):
            return S.One
        if isinstance(m, Elementwise):
            return apply_scalar(m.name, _lower(m.arg, symbols), *m.parameters)
    symbols[m] = Dummy(f"a{len(symbols)}", real=True)
    return symbols[m]
