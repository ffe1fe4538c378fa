"""Expressions in the text language: the spelling of NumPy, read back by `symgrad.reading`.

A column is a 1-D array, so x^T y is `x @ y` and x y^T is `outer(x, y)`. `*` and `@` bind alike, so an entrywise
product that meets a matrix product gets brackets. What would mean something else in NumPy is refused.
"""

from __future__ import annotations

from collections.abc import Callable

import sympy
from sympy import Add, Expr, Indexed, KroneckerDelta, Max, Min, Mul, Pow, Product, Rational, S, Sum, Symbol
from sympy.matrices.expressions.determinant import Determinant
from sympy.matrices.expressions.diagonal import DiagMatrix, DiagonalOf
from sympy.matrices.expressions.hadamard import HadamardPower, HadamardProduct
from sympy.matrices.expressions.inverse import Inverse
from sympy.matrices.expressions.kronecker import KroneckerProduct
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.matexpr import MatrixElement, MatrixSymbol
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.matpow import MatPow
from sympy.matrices.expressions.special import Identity, OneMatrix, ZeroMatrix
from sympy.matrices.expressions.trace import Trace
from sympy.matrices.expressions.transpose import Transpose

from symgrad.errors import UnsupportedError
from symgrad.expr import (
    AsScalar,
    AxisLogSumExp,
    AxisMax,
    Blocks,
    Commutation,
    Convolve,
    Correlate,
    Elementwise,
    Entries,
    EntryMax,
    EntrySum,
    Flip,
    Gradient,
    InRange,
    LogDet,
    LogSoftmax,
    LogSumExp,
    MatrixSum,
    Member,
    Norm,
    OrderedProduct,
    ScalarGradient,
    Softmax,
    Tensor,
    TensorElement,
    Vec,
    is_column,
    is_matrix,
    is_scalar,
    matmul,
    negate,
    ones,
    power,
    scale,
    split_scale,
)
from symgrad.expr.entrywise import function_name
from symgrad.rendering.letters import largest, over_letters, rounded
from symgrad.rendering.ordering import (
    Fraction,
    as_choice,
    leading_first,
    scalar_terms,
    split_fraction,
    turned,
)

__all__ = ["to_numpy"]

_SUM, _PRODUCT, _SIGN, _POWER, _ATOM = range(5)
_Text = tuple[str, int]


def to_numpy(e: Expr) -> str:
    """The expression in the text language.

    >>> from symgrad.expr import matrix, subtract, transpose, vector
    >>> X, w, y = matrix("X", "n", "d"), vector("w", "d"), vector("y", "n")
    >>> to_numpy(matmul(2, transpose(X), subtract(matmul(X, w), y)))
    '2 * X.T @ (X @ w - y)'

    Raises   UnsupportedError for what the language cannot say
    """
    return _print(e)[0]


def _print(e: Expr) -> _Text:
    if (
        is_matrix(e)
        and e.shape[0] == 1
        and e.shape[1] != 1
        and not isinstance(column := turned(e), Transpose)
    ):
        return f"{_at_least(column, _ATOM)}.T", _ATOM
    for cls in type(e).__mro__:
        printer = _PRINTERS.get(cls)
        if printer is not None:
            return printer(e)
    name = function_name(e)
    if name is not None:
        if name == "step":
            return f"({_positive(e.args[0])})", _ATOM
        return f"{name}({', '.join(_print(a)[0] for a in e.args)})", _ATOM
    raise UnsupportedError(f"the text language has no spelling for {type(e).__name__}: {e}")


def _at_least(e: Expr, level: int) -> str:
    text, own = _print(e)
    return text if own >= level else f"({text})"


# --- sums and scalar factors -----------------------------------------------------------------------


def _sum(e: Expr) -> _Text:
    """A sum; constant and repeated-row terms are left to broadcasting where another term has the full shape."""
    terms = list(e.args) if is_matrix(e) else scalar_terms(e)
    if (choice := as_choice(e)) is not None:
        condition, *values = choice
        return f"where({_positive(condition)}, {', '.join(_print(v)[0] for v in values)})", _ATOM
    if is_matrix(e):
        full = [t for t in terms if not _broadcasts(t)]
        pieces = [_signed(t, bool(full)) for t in terms]
    else:
        pieces = [_signed(t, False) for t in terms]
    pieces = leading_first(pieces)
    text = ("-" if pieces[0][0] else "") + pieces[0][1]
    for negative, piece in pieces[1:]:
        text += (" - " if negative else " + ") + piece
    return text, _SUM


def _broadcasts(t: Expr) -> bool:
    _, rest = split_scale(t)
    return isinstance(rest, OneMatrix) or _repeated_row(rest) is not None


def _repeated_row(rest: Expr) -> Expr | None:
    """b, if the matrix is 1 b^T."""
    if isinstance(rest, MatMul) and len(rest.args) >= 2 and isinstance(rest.args[0], OneMatrix):
        if 1 not in rest.shape:
            k = rest.args[0].shape[1]
            row = matmul(*rest.args[1:]) if k == 1 else matmul(ones(1, k), *rest.args[1:])
            if row.shape[0] == 1:
                return turned(row)
    return None


def _signed(t: Expr, broadcast: bool) -> tuple[bool, str]:
    """Whether a term is negative, and its absolute text at the level of a summand."""
    if broadcast and is_matrix(t):
        c, rest = split_scale(t)
        if isinstance(rest, OneMatrix):
            return _signed(c, False)
        row = _repeated_row(rest)
        if row is not None:
            t = matmul(c, row)
    negative, text, level = _absolute(t)
    return negative, text if level > _SUM else f"({text})"


def _absolute(t: Expr) -> tuple[bool, str, int]:
    """Sign, text and level of a product with its fraction, or of anything else."""
    if isinstance(t, MatMul) or (isinstance(t, Mul) and is_scalar(t)) or isinstance(t, Rational):
        c, rest = split_scale(t) if is_matrix(t) else (t, None)
        fraction = split_fraction(c)
        text, level = _with_fraction(fraction, rest)
        return fraction.negative, text, level
    text, level = _print(t)
    return False, text, level


def _scaled(t: Expr) -> _Text:
    negative, text, level = _absolute(t)
    if negative:
        return f"-{text if level >= _PRODUCT else f'({text})'}", min(level, _SIGN)
    return text, level


def _with_fraction(fraction: Fraction, rest: Expr | None) -> _Text:
    """Numerator * rest / denominator; a scalar that prints with @ gets brackets unless it stands alone."""
    alone = len(fraction.numerator) == 1 and fraction.number == 1 and rest is None
    divided = list(fraction.denominator)
    means = [_mean(f, divided) for f in fraction.numerator]
    pieces = [
        mean or (_print(f)[0] if alone and not f.is_Add else _scalar_factor(f))
        for f, mean in zip(fraction.numerator, means, strict=True)
    ]
    level = max(_print(fraction.numerator[0])[1], _PRODUCT) if alone else _PRODUCT
    if fraction.number != 1:
        pieces.insert(0, str(fraction.number))
    under: list[str] = []
    if isinstance(rest, HadamardPower) and rest.args[1].could_extract_minus_sign() and (pieces or divided):
        under = [_entry_factor(power(rest.args[0], -rest.args[1]))]  # c / (n * x)
    elif rest is not None:
        text, own = (mean, _ATOM) if (mean := _mean(rest, divided)) else _matrix_part(rest)
        pieces.append(text if own >= _PRODUCT else f"({text})")
        level = max(own, _PRODUCT) if len(pieces) == 1 else _PRODUCT
    text = " * ".join(pieces) if pieces else "1"
    below = [*(_scalar_factor(f) for f in divided), *under]
    if fraction.divisor != 1:
        below.insert(0, str(fraction.divisor))
    if not below:
        return text, level if pieces else _ATOM
    return f"{text} / {below[0] if len(below) == 1 else '(' + ' * '.join(below) + ')'}", _PRODUCT


def _mean(e: Expr, divided: list[Expr]) -> str | None:
    """A sum over as many entries as it is divided by, whose number is taken out of `divided`."""
    if isinstance(e, EntrySum):
        sizes, text = [s for s in e.arg.shape if s != 1], f"mean({_print(e.arg)[0]})"
    elif _sums_along_axis(e):
        sizes, text = [e.args[-1].shape[0]], _print(e)[0].replace("sum", "mean", 1)
    else:
        return None
    left = list(divided)
    for s in sizes:
        if s not in left:
            return None
        left.remove(s)
    divided[:] = left
    return text


def _sums_along_axis(m: Expr) -> bool:
    """X 1 or X^T 1."""
    return (
        isinstance(m, MatMul)
        and is_column(m)
        and isinstance(m.args[-1], OneMatrix)
        and m.args[0].shape[1] != 1
    )


def _scalar_factor(f: Expr) -> str:
    text, level = _print(f)
    return text if level >= _POWER else f"({text})"


# --- matrix products ---------------------------------------------------------------------------------


def _matrix_part(m: Expr) -> _Text:
    """A matrix without scalar factor."""
    if isinstance(m, MatMul):
        return _chain(list(m.args))
    return _print(m)


def _chain(factors: list[Expr]) -> _Text:
    """A product of matrices whose first factor is no row."""
    cuts = [i for i in range(1, len(factors)) if factors[i].shape[0] == 1]
    if cuts:
        ends = [*cuts, len(factors)]
        column, *parts = [matmul(*factors[a:b]) for a, b in zip([0, *cuts], ends, strict=True)]
        scalars = [p for p in parts if is_scalar(p)]  # rows that meet a column again: x (y^T u) v^T
        if scalars:
            rest = [p for p in parts if is_matrix(p)]
            return _scaled(scale(matmul(*scalars), matmul(column, *rest)))
        table = f"outer({_print(column)[0]}, {_print(turned(factors[cuts[0]]))[0]})"
        after = factors[cuts[0] + 1 :]
        if not after:
            return table, _ATOM
        return " @ ".join([table, *(_factor(f) for f in after)]), _PRODUCT
    last = factors[-1]
    if isinstance(last, OneMatrix) and last.shape[1] == 1 and len(factors) > 1:
        inner = matmul(*factors[:-1])
        if isinstance(inner, Transpose):
            return f"sum({_print(inner.arg)[0]}, axis=0)", _ATOM
        return f"sum({_print(inner)[0]}, axis=1)", _ATOM
    return " @ ".join(_factor(f) for f in factors), _PRODUCT


def _factor(f: Expr) -> str:
    """A factor of a matrix product; a row is its vector there."""
    if f.shape[0] == 1 and f.shape[1] != 1:
        return _at_least(turned(f), _POWER)
    return _at_least(f, _POWER)


def _as_scalar(e: Expr) -> _Text:
    m = e.args[0]
    if not isinstance(m, MatMul):
        return f"{_at_least(m, _ATOM)}[0]" if not is_column(m) else f"sum({_print(m)[0]})", _ATOM
    factors = list(m.args)
    for i in range(1, len(factors)):
        if factors[i].shape[0] == 1:
            raise UnsupportedError(f"the text language has no spelling for {e}")
    if isinstance(factors[0], OneMatrix):
        return f"sum({_print(matmul(*factors[1:]))[0]})", _ATOM
    if isinstance(factors[-1], OneMatrix):
        return f"sum({_print(turned(matmul(*factors[:-1])))[0]})", _ATOM
    return " @ ".join(_factor(f) for f in factors), _PRODUCT


# --- entry by entry ------------------------------------------------------------------------------------


def _hadamard(e: Expr) -> _Text:
    above: list[str] = []
    below: list[str] = []
    for f in e.args:
        if isinstance(f, HadamardPower) and f.args[1].could_extract_minus_sign():
            base = f.args[0] if f.args[1] == -1 else HadamardPower(f.args[0], -f.args[1])
            below.append(_entry_factor(base))
        else:
            above.append(_entry_factor(f))
    text = " * ".join(above) if above else "1"
    if below:
        text += f" / {below[0] if len(below) == 1 else '(' + ' * '.join(below) + ')'}"
    return text, _PRODUCT


def _entry_factor(f: Expr) -> str:
    text, level = _print(f)
    return text if level >= _POWER else f"({text})"


def _entry_power(e: Expr) -> _Text:
    base, exponent = e.args
    if exponent == Rational(1, 2):
        return f"sqrt({_print(base)[0]})", _ATOM
    if exponent.could_extract_minus_sign():
        inner = base if exponent == -1 else (type(e)(base, -exponent))
        return f"1 / {_entry_factor(inner)}", _PRODUCT
    shown, level = _print(exponent)
    shown = shown if level == _ATOM and "/" not in shown else f"({shown})"
    return f"{_at_least(base, _ATOM)}**{shown}", _POWER


def _scalar_power(e: Expr) -> _Text:
    if e.args[0] is S.Exp1:
        return f"exp({_print(e.args[1])[0]})", _ATOM
    return _entry_power(e)


def _elementwise(e: Expr) -> _Text:
    if e.name == "step":
        return f"({_positive(e.arg)})", _ATOM
    c, rest = split_scale(e.arg)
    if (
        e.name == "exp" and isinstance(c, sympy.log) and c.args[0].is_positive
    ):  # a**x is read as exp(log(a) x)
        return f"{_at_least(c.args[0], _ATOM)}**{_at_least(rest, _ATOM)}", _POWER
    arguments = ", ".join(_print(a)[0] for a in (e.arg, *e.parameters))
    return f"{e.name}({arguments})", _ATOM


def _positive(u: Expr) -> str:
    """The comparison u > 0; a > b for a difference of two that vary."""
    if isinstance(u, MatAdd | Add) and len(u.args) == 2:
        for a, b in (u.args, u.args[::-1]):
            rest = split_scale(b)
            if rest[0].could_extract_minus_sign() if is_matrix(b) else b.could_extract_minus_sign():
                if not isinstance(split_scale(a)[1], OneMatrix) and not a.is_Number:
                    other = split_scale(negate(b))
                    shown = other[0] if isinstance(other[1], OneMatrix) else negate(b)
                    return f"{_at_least(a, _SUM)} > {_at_least(shown, _SUM)}"
    return f"{_print(u)[0]} > 0"


def _transpose(e: Expr) -> _Text:
    if is_column(e) and not isinstance(column := turned(e.arg), Transpose):  # of a row
        return _print(column)
    return f"{_at_least(e.arg, _ATOM)}.T", _ATOM


# --- calls ---------------------------------------------------------------------------------------------


def _call(name: str) -> Callable[[Expr], _Text]:
    return lambda e: (f"{name}({', '.join(_print(a)[0] for a in e.args)})", _ATOM)


def _axis_call(name: str) -> Callable[[Expr], _Text]:
    def printer(e: Expr) -> _Text:
        x, axis = e.args
        return (f"{name}({_print(x)[0]})" if is_column(x) else f"{name}({_print(x)[0]}, axis={axis})"), _ATOM

    return printer


def _kron(e: Expr) -> _Text:
    parts = list(e.args)
    flat = all(is_column(p) for p in parts)

    def part(p: Expr) -> str:
        text = _print(p)[0]
        return f"outer({text}, ones(1))" if is_column(p) and not flat else text

    text = part(parts[0])
    for p in parts[1:]:
        text = f"kron({text}, {part(p)})"
    return text, _ATOM


def _constant(name: str) -> Callable[[Expr], _Text]:
    def printer(e: Expr) -> _Text:
        sizes = e.shape[:1] if e.shape[1] == 1 else e.shape
        return f"{name}({', '.join(_print(s)[0] for s in sizes)})", _ATOM

    return printer


def _index(i: Expr) -> str:
    return _print(i)[0].replace(" ", "")


def _over_range(name: str, body: Expr, k: Expr, lower: Expr, upper: Expr) -> str:
    return f"{name}({k} in {_index(lower)}..{_index(upper)}, {_print(body)[0]})"


def _ordered_product(e: Expr) -> _Text:
    if e.direction == 1:
        return _over_range("prod", e.body, e.index, *e.bounds), _ATOM
    return _over_range("prod", turned(e.body), e.index, *e.bounds) + ".T", _ATOM


def _scalar_range(name: str) -> Callable[[Expr], _Text]:
    def printer(e: Expr) -> _Text:
        if e.has(MatrixElement, TensorElement, KroneckerDelta, InRange) or len(e.limits) != 1:
            return over_letters(name, e, _print)
        return _over_range(name, e.function, *e.limits[0]), _ATOM

    return printer


def _element(e: Expr) -> _Text:
    m, i, j = e.args
    at = _index(i) if m.shape[1] == 1 else f"{_index(i)}, {_index(j)}"
    return f"{_at_least(m, _ATOM)}[{at}]", _ATOM


def _convolution(name: str) -> Callable[[Expr], _Text]:
    def printer(e: Expr) -> _Text:
        suffix = "" if is_column(e.args[0]) else "2"
        return f"{name}{suffix}({', '.join(_print(a)[0] for a in e.args)})", _ATOM

    return printer


def _blocks(e: Blocks) -> _Text:
    rows = (", ".join(_print(m)[0] for m in row) for row in e.by_rows)
    return f"block([{', '.join(f'[{row}]' for row in rows)}])", _ATOM


def _number(e: Expr) -> _Text:
    if e.is_Integer:
        return str(e), _ATOM if e >= 0 else _SIGN
    return str(e), _PRODUCT if e > 0 else _SIGN


_PRINTERS: dict[type, Callable[[Expr], _Text]] = {
    MatAdd: _sum,
    Add: _sum,
    MatMul: lambda e: _scaled(e) if is_scalar(e.args[0]) else _chain(list(e.args)),
    Mul: _scaled,
    HadamardProduct: _hadamard,
    HadamardPower: _entry_power,
    Pow: _scalar_power,
    Elementwise: _elementwise,
    AsScalar: _as_scalar,
    Transpose: _transpose,
    Inverse: lambda e: (f"inv({_print(e.arg)[0]})", _ATOM),
    MatPow: _call("matrix_power"),
    Trace: _call("tr"),
    Determinant: _call("det"),
    LogDet: _call("logdet"),
    Norm: _call("norm"),
    EntryMax: lambda e: largest(e, _print) if isinstance(e.arg, Entries) else _call("max")(e),
    LogSumExp: _call("logsumexp"),
    EntrySum: _call("sum"),
    Softmax: _axis_call("softmax"),
    LogSoftmax: _axis_call("log_softmax"),
    AxisLogSumExp: _axis_call("logsumexp"),
    AxisMax: _axis_call("max"),
    Vec: _call("vec"),
    Commutation: _call("commutation"),
    Blocks: _blocks,
    Flip: _call("flip"),
    Correlate: _convolution("correlate"),
    Convolve: _convolution("convolve"),
    KroneckerProduct: _kron,
    DiagMatrix: _call("diag"),
    DiagonalOf: _call("diag"),
    Identity: lambda e: (f"eye({_print(e.shape[0])[0]})", _ATOM),
    OneMatrix: _constant("ones"),
    ZeroMatrix: _constant("zeros"),
    OrderedProduct: _ordered_product,
    MatrixSum: lambda e: (_over_range("sum", e.body, e.index, *e.bounds), _ATOM),
    Sum: _scalar_range("sum"),
    Product: _scalar_range("prod"),
    Gradient: _call("grad"),
    ScalarGradient: _call("grad"),
    Member: lambda e: (f"{e.name}[{_index(e.index)}]", _ATOM),
    Indexed: lambda e: (f"{e.base.label}[{', '.join(map(_index, e.indices))}]", _ATOM),
    MatrixElement: _element,
    TensorElement: lambda e: (f"{_at_least(e.parent, _ATOM)}[{', '.join(map(_index, e.indices))}]", _ATOM),
    Tensor: lambda e: (e.name, _ATOM),
    KroneckerDelta: lambda e: (f"delta({', '.join(map(_index, e.args))})", _ATOM),
    InRange: lambda e: (f"inrange({', '.join(map(_index, e.args))})", _ATOM),
    sympy.floor: lambda e: rounded(e, _print),
    sympy.ceiling: lambda e: rounded(e, _print),
    Max: _call("max"),
    Min: _call("min"),
    MatrixSymbol: lambda e: (str(e.name), _ATOM),
    Symbol: lambda e: (str(e.name), _ATOM),
    sympy.Number: _number,
    sympy.NumberSymbol: lambda e: ("pi" if e is S.Pi else f"exp({1})", _ATOM),
}
