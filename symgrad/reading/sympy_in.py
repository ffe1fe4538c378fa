"""SymPy expressions as users write them -> the project's form.

SymPy evaluates and reorders on its own, accepts shapes that do not fit, and writes scalars as 1 x 1 matrices or
their [0, 0] entry, which it turns into sums over entries. Everything is rebuilt by the constructors, which check
it; sums over entries become products of matrices (`sympy_sums`), transposes that SymPy pushed inwards come out again.
"""

from __future__ import annotations

from collections.abc import Sequence

import sympy
from sympy import Add, Basic, Expr, Lambda, Mul, S
from sympy.core.symbol import Str
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction
from sympy.matrices.expressions.blockmatrix import BlockDiagMatrix, BlockMatrix
from sympy.matrices.expressions.determinant import Determinant
from sympy.matrices.expressions.hadamard import HadamardPower, HadamardProduct
from sympy.matrices.expressions.inverse import Inverse
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.matexpr import MatrixElement
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.matpow import MatPow
from sympy.matrices.expressions.slice import MatrixSlice
from sympy.matrices.expressions.special import (
    GenericIdentity,
    GenericZeroMatrix,
    Identity,
    OneMatrix,
    ZeroMatrix,
)
from sympy.matrices.expressions.trace import Trace
from sympy.matrices.expressions.transpose import Transpose

from symgrad.errors import SymgradError, UnsupportedError
from symgrad.expr import (
    add,
    as_scalar,
    divide,
    hadamard,
    inverse,
    is_leaf,
    is_matrix,
    is_scalar,
    matmul,
    matpower,
    ones,
    power,
    rebuild,
    shape_of,
    shape_text,
    trace,
    transpose,
)
from symgrad.reading.sympy_blocks import BlockGrid
from symgrad.reading.sympy_functions import (
    applied,
    entry_power,
    has_transpose,
    log_of,
    named_functions,
    outside,
    turned,
)
from symgrad.reading.sympy_sums import Entries

__all__ = ["read_sympy"]

_LARGEST = 20_000  # nodes; far beyond any formula that a person writes


def read_sympy(e: Expr) -> Expr:
    """The expression rebuilt by symgrad's constructors.

    >>> from sympy import MatrixSymbol, Trace, symbols
    >>> n = symbols("n", integer=True, positive=True)
    >>> A, x = MatrixSymbol("A", n, n), MatrixSymbol("x", n, 1)
    >>> read_sympy(Trace(A.T * A))
    Trace(A.T*A)
    >>> read_sympy((x.T * A * x)[0, 0])
    AsScalar(x.T*A*x)

    Raises   ShapeError if SymPy let shapes pass that do not fit, UnsupportedError for what has no form here
    """
    result = _read(e)
    if isinstance(result, BlockGrid):
        raise UnsupportedError("a BlockMatrix stands in no sum, trace or product that makes one matrix of it")
    return as_scalar(result) if is_matrix(result) and result.shape == (1, 1) else result


def _read(e: Basic) -> Expr | BlockGrid:
    done: dict[Basic, Expr | BlockGrid] = {}
    stack: list[Basic] = [e]
    count = 0
    while stack:
        node = stack[-1]
        if node in done:
            stack.pop()
            continue
        if _is_closed(node):
            done[node] = node
            stack.pop()
            continue
        waiting = [] if _reads_itself(node) else [a for a in _operands(node) if a not in done]
        if waiting:
            stack.extend(waiting)
            continue
        stack.pop()
        count += 1
        if count > _LARGEST:
            raise UnsupportedError(f"the expression has more than {_LARGEST} parts")
        try:
            done[node] = _convert(node, [done.get(a, a) for a in node.args])
        except SymgradError as error:
            if not error.details:
                error.details = (f"in     {node}",)
            raise
    return done[e]


def _operands(node: Basic) -> list[Basic]:
    return [a for a in node.args if not isinstance(a, Str | Lambda | sympy.Tuple)]


def _is_closed(node: Basic) -> bool:
    constant = GenericIdentity | GenericZeroMatrix | Identity | OneMatrix | ZeroMatrix
    return is_leaf(node) or isinstance(node, constant) or not node.args


def _reads_itself(node: Basic) -> bool:
    """What is not read part by part: sums over entries, entries, blocks."""
    return isinstance(node, sympy.Sum | sympy.Piecewise | MatrixElement | BlockMatrix)


def _convert(node: Basic, args: list[Expr | BlockGrid]) -> Expr | BlockGrid:
    if isinstance(node, BlockDiagMatrix):
        sizes = [(d.shape[0], d.shape[1]) for d in node.diag]
        return BlockGrid.of(
            [
                [
                    _plain(_read(d)) if i == j else ZeroMatrix(sizes[i][0], sizes[j][1])
                    for j in range(len(sizes))
                ]
                for i, d in enumerate(node.diag)
            ]
        )
    if isinstance(node, BlockMatrix):
        rows, columns = node.blockshape
        return BlockGrid.of([[_plain(_read(node.blocks[i, j])) for j in range(columns)] for i in range(rows)])
    if isinstance(node, MatMul | Mul):
        return _product(args)
    if any(isinstance(a, BlockGrid) for a in args):
        return _on_blocks(node, args)
    return _on_matrices(node, [_plain(a) for a in args])


def _on_matrices(node: Basic, args: list[Expr]) -> Expr:
    if isinstance(node, sympy.Sum | MatrixElement):
        return Entries(lambda m: _plain(_read(m))).scalar(node)
    if isinstance(node, MatAdd | Add):
        return _sum(args)
    if isinstance(node, HadamardProduct):
        return outside(hadamard, args)
    if isinstance(node, HadamardPower):
        return entry_power(*args)
    if isinstance(node, Inverse):
        return inverse(args[0]) if is_matrix(args[0]) else divide(S.One, args[0])
    if isinstance(node, MatPow):
        return matpower(*args) if is_matrix(args[0]) else power(*args)
    if isinstance(node, ElementwiseApplyFunction):
        return applied(*args)
    if isinstance(node, Trace | Determinant) and is_scalar(args[0]):
        return args[0]
    if isinstance(node, sympy.log):
        return log_of(as_scalar(args[0]) if is_matrix(args[0]) else args[0])
    if isinstance(node, sympy.Product | sympy.Integral | sympy.Derivative):
        raise UnsupportedError(f"a {type(node).__name__} is not read from SymPy expressions")
    if isinstance(node, sympy.MatrixBase | MatrixSlice):
        raise UnsupportedError(
            f"a {type(node).__name__} is not read from SymPy expressions",
            hint="write the formula with MatrixSymbol; numbers are put in afterwards, with subs",
        )
    if isinstance(node, sympy.Piecewise):
        sides = {s: as_scalar(_plain(_read(s))) for pair in node.args for s in _sides(pair)}
        return named_functions(node.xreplace(sides))
    if isinstance(node, sympy.Function | sympy.Pow | sympy.Max | sympy.Min):
        return named_functions(rebuild(node, [as_scalar(a) if is_matrix(a) else a for a in args]))
    return rebuild(node, args)


def _sides(pair: Basic) -> list[Expr]:
    """The value of a branch, and the two sides of its condition."""
    value, condition = pair.args
    return [value, *(condition.args if isinstance(condition, sympy.core.relational.Relational) else ())]


def _plain(value: Expr | BlockGrid) -> Expr:
    if isinstance(value, BlockGrid):
        raise UnsupportedError("a BlockMatrix stands where one matrix is needed")
    return value


def _sum(args: Sequence[Expr]) -> Expr:
    """A sum; 1 x 1 matrices count as scalars where they meet one."""
    if any(is_scalar(a) for a in args):
        return add(*(as_scalar(a) for a in args))
    return outside(add, args)


def _product(args: list[Expr | BlockGrid]) -> Expr | BlockGrid:
    if any(isinstance(a, BlockGrid) for a in args):
        return BlockGrid.product(args)
    plain = [_plain(a) for a in args]
    matrices = [a for a in plain if is_matrix(a)]
    if len(matrices) > 1:  # ones beside a vector are its sum, written once
        plain = [part for a in plain for part in _rank_one(a)]
        matrices = [a for a in plain if is_matrix(a)]
    straight = [t for t in (turned(a) for a in matrices) if t is not None]
    if 1 < len(matrices) == len(straight) and any(has_transpose(a) for a in matrices):
        return transpose(matmul(*(a for a in plain if not is_matrix(a)), *reversed(straight)))
    return matmul(*plain)


def _rank_one(m: Expr) -> list[Expr]:
    if isinstance(m, OneMatrix) and S.One not in m.shape:
        return [ones(m.shape[0]), transpose(ones(m.shape[1]))]
    return [m]


# --- blocks ------------------------------------------------------------------------------------------


def _on_blocks(node: Basic, args: list[Expr | BlockGrid]) -> Expr | BlockGrid:
    """What acts on every block by itself, and what adds the blocks up."""
    if isinstance(node, MatAdd | Add):
        return BlockGrid.by_block(add, args)
    if isinstance(node, HadamardProduct):
        return BlockGrid.by_block(hadamard, args)
    first = next(a for a in args if isinstance(a, BlockGrid))
    if isinstance(node, Transpose):
        return first.transposed()
    if isinstance(node, ElementwiseApplyFunction):
        function = node.function
        return first.map(lambda m: applied(function, m))
    if isinstance(node, HadamardPower) and not isinstance(args[1], BlockGrid):
        exponent = args[1]
        return first.map(lambda m: entry_power(m, exponent))
    if isinstance(node, Trace):
        return add(*(trace(m) if is_matrix(m) else m for m in first.diagonal()))
    raise UnsupportedError(
        f"the {type(node).__name__} of a BlockMatrix of {shape_text(shape_of(node))}",
        hint="sums, products, transposes, functions of the entries and traces of block matrices are read",
    )
