"""The value of an expression in floating point.

The evaluator shares nothing with rules and rewrites: each node is computed as it is defined. Sizes are put in
first, so that every leaf has a numeric shape and every product over a range is written out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray
from sympy import Add, Expr, KroneckerDelta, Mul, Pow, Symbol
from sympy.core.symbol import Str
from sympy.matrices.expressions.determinant import Determinant
from sympy.matrices.expressions.diagonal import DiagMatrix, DiagonalOf
from sympy.matrices.expressions.hadamard import HadamardPower, HadamardProduct
from sympy.matrices.expressions.inverse import Inverse
from sympy.matrices.expressions.kronecker import KroneckerProduct
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.matexpr import MatrixElement
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.matpow import MatPow
from sympy.matrices.expressions.special import Identity, OneMatrix, ZeroMatrix
from sympy.matrices.expressions.trace import Trace
from sympy.matrices.expressions.transpose import Transpose

from symgrad.checking.tensors import IndexProgram, is_index_node
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
    EntryMax,
    EntrySum,
    Flip,
    Gradient,
    InRange,
    Jacobian,
    LogDet,
    LogSoftmax,
    LogSumExp,
    Norm,
    ScalarGradient,
    Softmax,
    TensorElement,
    TensorGradient,
    Vec,
    is_leaf,
    replace_index,
    written_out,
)
from symgrad.expr.entrywise import function_name

__all__ = ["Evaluator", "Number", "concrete"]

Array = NDArray[np.float64]
Number = float | Array

_erf = np.vectorize(math.erf, otypes=[float])


def concrete(e: Expr, sizes: Mapping[Symbol, int]) -> Expr:
    """The expression with numbers for its sizes, ranges written out.

    >>> from symgrad.expr import matrix, size
    >>> concrete(matrix("A", "m", "n"), {size("m"): 3, size("n"): 4}).shape
    (3, 4)
    """
    values = {s: sympy.Integer(n) for s, n in sizes.items()}
    e = e.xreplace({s: n for s, n in values.items() if s.is_positive})
    for s in (s for s in values if not s.is_positive):  # an index, which a sum in it may bind as well
        e = replace_index(e, s, values[s])
    return written_out(e)


@dataclass(frozen=True)
class _Program:
    """An expression as a list of instructions over numbered slots."""

    leaves: tuple[tuple[int, Expr], ...]
    instructions: tuple[tuple[int, Expr, Callable[..., Any], tuple[int, ...]], ...]
    size: int


class Evaluator:
    """Evaluates concrete expressions; each is compiled once to a list of instructions.

    `remembered` is for what is known of the expressions, such as which definitions rest on which names.

    >>> from symgrad.expr import matmul, transpose, vector
    >>> x = vector("x", 3)
    >>> Evaluator()(matmul(transpose(x), x), {x: np.array([[1.0], [2.0], [3.0]])})
    14.0
    """

    def __init__(self) -> None:
        self._programs: dict[Expr, _Program] = {}
        self.remembered: dict[Any, Any] = {}

    def __call__(self, e: Expr, values: Mapping[Expr, Number]) -> Number:
        """The value; matrices are 2-D arrays, columns n x 1.

        Raises   UnsupportedError for a node without a value, e.g. a name that has none
        """
        program = self._programs.get(e)
        if program is None:
            program = self._programs[e] = _compile(e)
        slots: list[Any] = [None] * program.size
        for slot, leaf in program.leaves:
            if leaf not in values:
                raise UnsupportedError(f"{leaf} has no value")
            slots[slot] = values[leaf]
        with np.errstate(all="ignore"):  # what has no finite value is told by the value
            for slot, node, method, inputs in program.instructions:
                slots[slot] = method(node, *(slots[i] for i in inputs))
        result: Number = slots[-1]
        return result


_GIVEN = (Gradient, TensorGradient, ScalarGradient, Jacobian)


def _entry_of(m: Any, i: float, j: float) -> float:
    """An entry at whole numbers; ValueError beyond the last one."""
    if i != round(i) or j != round(j):
        raise UnsupportedError("an entry at a place that is no whole number")
    if i >= m.shape[0] or j >= m.shape[1]:
        raise ValueError("an entry beyond the last one")
    return float(m[round(i), round(j)])


def _compile(e: Expr) -> _Program:
    """Leaves and unevaluated derivatives get their values from outside, everything else is computed."""
    programs: dict[Expr, IndexProgram] = {}
    order = _order(e, programs)
    slot_of = {node: i for i, node in enumerate(order)}
    leaves: list[tuple[int, Expr]] = []
    instructions: list[tuple[int, Expr, Callable[..., Any], tuple[int, ...]]] = []
    for i, node in enumerate(order):
        if is_leaf(node) or isinstance(node, _GIVEN):
            leaves.append((i, node))
        else:
            method: Callable[..., Any] = programs[node] if node in programs else _method(node)
            inputs = tuple(slot_of[a] for a in _inputs(node, programs) if a in slot_of)
            instructions.append((i, node, method, inputs))
    return _Program(tuple(leaves), tuple(instructions), len(order))


def _inputs(node: Expr, programs: Mapping[Expr, IndexProgram]) -> tuple[Expr, ...]:
    return programs[node].inputs if node in programs else tuple(node.args)


def _order(e: Expr, programs: dict[Expr, IndexProgram]) -> list[Expr]:
    """Every subexpression that has a value, children first; what binds indices is one program."""
    order: list[Expr] = []
    seen: set[Expr] = set()
    stack: list[tuple[Expr, bool]] = [(e, False)]
    while stack:
        node, entered = stack.pop()
        if entered:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            if not is_leaf(node) and not isinstance(node, (OneMatrix, ZeroMatrix, Identity, *_GIVEN)):
                if is_index_node(node):
                    programs[node] = IndexProgram.of(node)
                stack.extend((a, False) for a in reversed(_inputs(node, programs)) if not isinstance(a, Str))
    return order


def _method(node: Any) -> Callable[..., Any]:
    """How a node is computed from its arguments."""
    if node.is_Number or isinstance(node, sympy.NumberSymbol):
        value = float(node)
        return lambda *_: value
    method = _METHODS.get(type(node))
    if method is not None:
        return method
    name = function_name(node)
    if name is not None:
        return lambda _, *args: float(_function(name, *args))
    general = next((m for cls, m in _METHODS.items() if isinstance(node, cls)), None)
    if general is None:
        raise UnsupportedError(f"{type(node).__name__} has no value: {node}")
    return general


def entry_method(node: Any) -> Callable[..., Any]:
    """How a scalar function, sum or power is computed from tables of values."""
    name = function_name(node)
    if name is not None:
        return lambda _, *args: _function(name, *args)
    if isinstance(node, Pow):
        return lambda _, base, exponent: _entry_power(base, exponent)
    method = _METHODS.get(type(node))
    if method is None:
        raise UnsupportedError(f"{type(node).__name__} has no value: {node}")
    return method


def _entry_power(base: Any, exponent: Any) -> Any:
    base, exponent = np.asarray(base, dtype=float), np.asarray(exponent, dtype=float)
    whole = np.all(exponent == np.round(exponent))
    return np.power(base, exponent) if whole else np.where(base < 0, np.nan, np.power(np.abs(base), exponent))


# --- functions -----------------------------------------------------------------------------------------


def _function(name: str, t: Any, *parameters: Any) -> Any:
    plain = name.rstrip("'")
    table = _FUNCTIONS.get(name)
    if table is not None:
        return table(t, *parameters)
    return _stand_in(plain, len(name) - len(plain), t)


def _stand_in(name: str, order: int, t: Any) -> Any:
    """An arbitrary smooth function: a sine that depends on the name, and a line.

    It grows no faster than its argument: through many layers a power would leave only rounding errors.
    """
    a = 0.7 + 0.1 * (sum(map(ord, name)) % 7)
    wave = a**order * np.sin(a * np.asarray(t) + order * math.pi / 2)
    line: list[Any] = [np.asarray(t) / 2, 0.5]
    return wave + (line[order] if order < 2 else 0.0)


def _sigmoid(t: Any) -> Any:
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(t)))


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "exp": np.exp,
    "log": np.log,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "arctan": np.arctan,
    "sqrt": np.sqrt,
    "abs": np.abs,
    "sign": np.sign,
    "erf": _erf,
    "step": lambda t: np.where(np.asarray(t) > 0, 1.0, 0.0),
    "relu": lambda t: np.maximum(t, 0.0),
    "leaky_relu": lambda t, slope=0.01: np.where(np.asarray(t) > 0, t, slope * np.asarray(t)),
    "elu": lambda t, alpha=1.0: np.where(np.asarray(t) > 0, t, alpha * np.expm1(t)),
    "gelu": lambda t: np.asarray(t) * 0.5 * (1 + _erf(np.asarray(t) / math.sqrt(2))),
    "silu": lambda t: np.asarray(t) * _sigmoid(t),
    "softplus": lambda t: np.logaddexp(0.0, t),
    "sigmoid": _sigmoid,
}


def _log_sum_exp(x: Array, axis: int) -> Array:
    top = np.max(x, axis=axis, keepdims=True)
    return top + np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True))


def _column(x: Array) -> Array:
    return np.reshape(x, (-1, 1))


# --- nodes -------------------------------------------------------------------------------------------------


def _product(node: Expr, *args: Any) -> Any:
    result: Any = 1.0
    for a in args:
        both = np.ndim(result) == 2 and np.ndim(a) == 2
        result = result @ a if both else result * a
    return result


def _add(node: Expr, *args: Any) -> Any:
    return sum(args[1:], args[0])


def _hadamard(node: Expr, *args: Any) -> Any:
    return math.prod(args[1:], start=args[0])


def _power(node: Expr, base: Any, exponent: Any) -> Any:
    if np.ndim(base) == 0 and base < 0 and not float(exponent).is_integer():
        return float("nan")
    return base**exponent


def _regular(m: Array) -> Array:
    """The matrix, if it is far enough from a singular one for its inverse to mean something."""
    if np.linalg.cond(m) > 1e8:
        raise np.linalg.LinAlgError("singular matrix")
    return m


def _logdet(node: Expr, m: Array) -> float:
    return float(np.linalg.slogdet(_regular(m))[1])


def _matrix_power(node: Expr, m: Array, k: float) -> Array:
    return np.linalg.matrix_power(m if k >= 0 else _regular(m), round(k))


def _correlate(node: Expr, x: Array, w: Array) -> Array:
    rows, cols = (int(s) for s in node.shape)
    out = np.zeros((rows, cols))
    for a in range(w.shape[0]):
        for b in range(w.shape[1]):
            out += w[a, b] * x[a : a + rows, b : b + cols]
    return out


def _convolve(node: Expr, x: Array, w: Array) -> Array:
    out = np.zeros(tuple(int(s) for s in node.shape))
    for a in range(w.shape[0]):
        for b in range(w.shape[1]):
            out[a : a + x.shape[0], b : b + x.shape[1]] += w[a, b] * x
    return out


def _commutation(node: Expr, *_: Any) -> Array:
    m, n = (int(s) for s in node.args)
    out = np.zeros((m * n, m * n))
    for i in range(m):
        for j in range(n):
            out[i * n + j, j * m + i] = 1.0
    return out


def _diag(node: Expr, v: Array) -> Array:
    return np.diagflat(v)


def _kron(node: Expr, *args: Array) -> Array:
    result = args[0]
    for a in args[1:]:
        result = np.asarray(np.kron(result, a), dtype=float)
    return result


def _blocks(columns: int, blocks: Sequence[Any]) -> Array:
    rows = [[np.atleast_2d(m) for m in blocks[i : i + columns]] for i in range(0, len(blocks), columns)]
    return np.block(rows)


def _scalar(value: Any) -> float:
    return float(np.reshape(value, ()))


_METHODS: dict[type, Callable[..., Any]] = {
    MatMul: _product,
    MatAdd: _add,
    Mul: _product,
    Add: _add,
    Pow: _power,
    HadamardProduct: _hadamard,
    HadamardPower: lambda node, x, k: np.power(x, k),
    Elementwise: lambda node, x, *p: _function(node.name, x, *p),
    Transpose: lambda node, m: m.T,
    Inverse: lambda node, m, *_: np.linalg.inv(_regular(m)),
    MatPow: _matrix_power,
    Trace: lambda node, m: float(np.trace(m)),
    Determinant: lambda node, m: float(np.linalg.det(m)),
    LogDet: _logdet,
    KroneckerProduct: _kron,
    DiagMatrix: _diag,
    DiagonalOf: lambda node, m: _column(np.diag(m)),
    Vec: lambda node, m: _column(m.T.reshape(-1)),
    Commutation: _commutation,
    Flip: lambda node, m: m[::-1, ::-1],
    Correlate: _correlate,
    Convolve: _convolve,
    Blocks: lambda node, columns, *blocks: _blocks(round(columns), blocks),
    AsScalar: lambda node, m: _scalar(m),
    EntrySum: lambda node, m: float(np.sum(m)),
    EntryMax: lambda node, m: float(np.max(m)),
    LogSumExp: lambda node, m: _scalar(_log_sum_exp(_column(m), 0)),
    Norm: lambda node, m: float(np.linalg.norm(m)),
    Softmax: lambda node, x, axis: np.exp(x - _log_sum_exp(x, int(axis))),
    LogSoftmax: lambda node, x, axis: x - _log_sum_exp(x, int(axis)),
    AxisLogSumExp: lambda node, x, axis: _column(_log_sum_exp(x, int(axis))),
    AxisMax: lambda node, x, axis: _column(np.max(x, axis=int(axis))),
    Identity: lambda node, *_: np.eye(int(node.shape[0])),
    OneMatrix: lambda node, *_: np.ones(tuple(int(s) for s in node.shape)),
    ZeroMatrix: lambda node, *_: np.zeros(tuple(int(s) for s in node.shape)),
    MatrixElement: lambda node, m, i, j: _entry_of(m, i, j),
    TensorElement: lambda node, t, *places: float(t[tuple(map(round, places))]),
    InRange: lambda node, place, count: float(0 <= place < count),
    KroneckerDelta: lambda node, i, j: float(i == j),
}
