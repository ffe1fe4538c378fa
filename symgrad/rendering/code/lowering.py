"""Expressions -> array operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import sympy
from sympy import Add, Expr, Indexed, Mul, Pow, Rational, S, Sum, Symbol
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
    Commutation,
    Convolve,
    Correlate,
    Elementwise,
    EntryMax,
    EntrySum,
    Flip,
    Gradient,
    LogDet,
    LogSoftmax,
    LogSumExp,
    MatrixSum,
    Member,
    Norm,
    ScalarGradient,
    Softmax,
    Vec,
    is_column,
    is_leaf,
    is_matrix,
    leaf_name,
    split_scale,
)
from symgrad.expr.entrywise import function_name
from symgrad.rendering.code.chains import Factor, Operations, multiply
from symgrad.rendering.code.graph import Graph, Node, Shape
from symgrad.rendering.code.stable import stable
from symgrad.rendering.ordering import scalar_terms, split_fraction
from symgrad.simplifying import Simplifier
from symgrad.simplifying.properties import Properties

__all__ = ["Lowering", "array_shape"]


def array_shape(shape: tuple[Expr, ...]) -> Shape:
    """The shape of the array for a shape of mathematics: columns and rows have one axis.

    >>> from symgrad.expr import size
    >>> array_shape((size("n"), S.One))
    (n,)
    """
    return tuple(n for n in shape if n != 1)


class Lowering:
    """Writes expressions as nodes; names with a definition are worked out and keep their name.

    `values` are the definitions and the adjoints that steps have found, by the expression they stand for.
    """

    def __init__(self, values: Mapping[Expr, tuple[str, Expr]], tidy: Simplifier) -> None:
        self.graph = Graph()
        self.ops = Operations(self.graph)
        self.functions: dict[str, int] = {}  # arbitrary functions with the highest derivative that is used
        self._values = values
        self._tidy = tidy
        self._properties: Properties = tidy.properties
        self._done: dict[Expr, Node] = {}
        self._open: list[Expr] = []

    def __call__(self, e: Expr) -> Node:
        """The node of an expression.

        Raises   UnsupportedError for what has no array form
        """
        found = self._done.get(e)
        if found is None:
            found = self._done[e] = self._made(e)
        return found

    def _made(self, e: Expr) -> Node:
        if e in self._values:
            name, value = self._values[e]
            if e in self._open:
                raise UnsupportedError(f"{name} is defined by itself")
            self._open.append(e)
            node = self(stable(value, self._tidy))
            self._open.pop()
            if node.op not in ("arg", "number"):
                self.graph.names.setdefault(node, name)
            return node
        if is_leaf(e):
            return self._leaf(e)
        if e.is_Number or isinstance(e, sympy.NumberSymbol):
            return self.ops.number(e)
        for cls in type(e).__mro__:
            method = _METHODS.get(cls)
            if method is not None:
                return method(self, e)
        if isinstance(e, sympy.Function):
            return self.function(function_name(e) or type(e).__name__, *map(self, e.args))
        raise UnsupportedError(f"{type(e).__name__} has no array code: {e}")

    # --- leaves ---------------------------------------------------------------------------------------

    def _leaf(self, e: Expr) -> Node:
        if isinstance(e, Member | Indexed):
            index = e.index if isinstance(e, Member) else e.indices[0]
            family = self.graph.node("arg", (), leaf_name(e), ())
            return self.graph.node("item", (family, self(index)), None, array_shape(getattr(e, "shape", ())))
        if isinstance(e, Symbol) and e.is_integer and e.is_positive:
            return self.graph.node("size", (), e, ())
        return self.graph.node("arg", (), str(e.name), array_shape(e.shape) if is_matrix(e) else ())

    def function(self, name: str, x: Node, *parameters: Node) -> Node:
        """f(x), entry by entry."""
        plain = name.rstrip("'")
        if name not in _KNOWN:
            self.functions[plain] = max(self.functions.get(plain, 0), len(name) - len(plain))
            return self.graph.node("apply", (x,), name, x.shape)
        if name == "step":
            return self._where(x, self.ops.number(S.One), self.ops.number(S.Zero))
        if name == "log_sigmoid":  # -softplus(-x)
            return self.negative(self.function("softplus", self.negative(x)))
        return self.graph.node("call", (x, *parameters), name, x.shape)

    def _where(self, condition: Node, yes: Node, no: Node) -> Node:
        return self.graph.node("where", (condition, yes, no), None, condition.shape)

    def negative(self, x: Node) -> Node:
        """-x."""
        if x.op == "negative":
            return x.args[0]
        return self.graph.node("negative", (x,), None, x.shape)

    # --- sums -----------------------------------------------------------------------------------------

    def _sum(self, e: Expr) -> Node:
        terms = list(e.args) if is_matrix(e) else scalar_terms(e)
        wide = is_matrix(e) and any(_repeated(t) is None for t in terms)
        pieces = [self._term(t, wide) for t in terms]
        pieces.sort(key=lambda piece: piece[0])  # a positive term first
        return self._add(pieces, array_shape(e.shape) if is_matrix(e) else ())

    def _add(self, pieces: list[tuple[bool, Node]], shape: Shape) -> Node:
        return self.graph.node("add", tuple(n for _, n in pieces), tuple(s for s, _ in pieces), shape)

    def _term(self, t: Expr, wide: bool) -> tuple[bool, Node]:
        """Sign and absolute value of a term; repeated rows and columns are left to broadcasting if others are wide."""
        if is_matrix(t):
            c, rest = split_scale(t)
            repeated = _repeated(rest) if wide else None
            if repeated is not None:
                negative, scaled = self.scaled(c, partial(self._spread, repeated))
                return negative, scaled
            return self.scaled(c, lambda: self(rest))
        if isinstance(t, Mul | Rational):
            return self.scaled(t, None)
        return False, self(t)

    def _spread(self, repeated: tuple[Expr | None, int]) -> Node:
        """An array that broadcasts to the matrix: a number, a row, or a column with an axis behind it."""
        v, along = repeated
        if v is None:
            return self.ops.number(S.One)
        return self(v) if along == 0 else self.ops.column(self(v))

    def scaled(self, c: Expr, rest: Callable[[], Node] | None) -> tuple[bool, Node]:
        """Sign and absolute value of a scalar times an array."""
        fraction = split_fraction(c)
        above = [self(f) for f in fraction.numerator]
        below = [self(f) for f in fraction.denominator]
        if fraction.number != 1:
            above.insert(0, self.ops.number(sympy.Integer(fraction.number)))
        if fraction.divisor != 1:
            below.insert(0, self.ops.number(sympy.Integer(fraction.divisor)))
        body = rest() if rest is not None else None
        if body is not None and body.op == "outer" and (above or below):  # the smaller array is scaled
            first = self._times(above, below, body.args[0])
            return fraction.negative, self.ops.outer(first, body.args[1])
        if body is not None and body.op == "negative":
            negative, node = self.scaled(scale_number(fraction.negative), lambda: body.args[0])
            return not negative, self._times(above, below, node)
        return fraction.negative, self._times(above, below, body)

    def _times(self, above: list[Node], below: list[Node], body: Node | None) -> Node:
        factors = above if body is None else [*above, body]
        node = self.ops.multiply(*factors) if factors else self.ops.number(S.One)
        return self.ops.divide(node, self.ops.multiply(*below)) if below else node

    def _product(self, e: Expr) -> Node:
        """A scalar times a matrix, a product of scalars, or a product of matrices."""
        if is_matrix(e):
            c, rest = split_scale(e)
            if c is S.One:
                return multiply(self.ops, [self.factor(f) for f in e.args])
            negative, node = self.scaled(c, lambda: self(rest))
        else:
            steps = [f for f in e.args if function_name(f) == "step"]
            if steps:
                others = Mul(*(f for f in e.args if f not in steps))
                return self._gated([f.args[0] for f in steps], [], others)
            negative, node = self.scaled(e, None)
        return self.negative(node) if negative else node

    # --- factors of products ----------------------------------------------------------------------------

    def factor(self, f: Expr) -> Factor:
        """A factor of a product, with what is known of its form."""
        rows, cols = f.shape
        if isinstance(f, Transpose) and isinstance(f.arg, Inverse):
            inner = self.factor(f.arg)
            a = inner.nodes[0] if inner.symmetric else self.ops.transpose(inner.nodes[0])
            return Factor(
                rows,
                cols,
                "inverse",
                (a,),
                positive_definite=inner.positive_definite,
                symmetric=inner.symmetric,
            )
        if isinstance(f, DiagMatrix):
            return Factor(rows, cols, "diagonal", (self(f.args[0]),))
        if isinstance(f, Inverse):
            definite = self.is_positive_definite(f.arg)
            symmetric = definite or self._properties.is_symmetric(f.arg)
            return Factor(
                rows, cols, "inverse", (self(f.arg),), positive_definite=definite, symmetric=symmetric
            )
        if isinstance(f, OneMatrix) and S.One in f.shape:
            return Factor(rows, cols, "ones")
        if isinstance(f, KroneckerProduct) and not any(1 in p.shape for p in f.args):
            return Factor(rows, cols, "kron", tuple(self(p) for p in f.args))
        if isinstance(f, MatAdd) and 1 not in f.shape and any(_is_structured(t) for t in f.args):
            return Factor(rows, cols, "sum", apply=partial(self._applied, f), dense=partial(self, f))
        return Factor(rows, cols, "plain", (self(f),))

    def _applied(self, total: Expr, v: Factor, from_the_right: bool) -> Node:
        """A sum of matrices times a vector, term by term."""
        pieces = []
        for t in total.args:
            c, rest = split_scale(t)
            chain = [self.factor(f) for f in (rest.args if isinstance(rest, MatMul) else (rest,))]
            if isinstance(rest, Identity):
                chain = []
            ordered = [*chain, v] if from_the_right else [v, *chain]
            pieces.append(self.scaled(c, partial(multiply, self.ops, ordered)))
        pieces.sort(key=lambda piece: piece[0])
        return self._add(
            pieces, self.ops.plain(v).shape[:0] + array_shape((total.shape[0 if from_the_right else 1],))
        )

    def is_positive_definite(self, m: Expr) -> bool:
        """Whether a matrix is known to be symmetric and positive definite.

        A leaf that is assumed so; X^T X with full column rank; a sum of such and of semidefinite terms.
        """
        if isinstance(m, MatAdd):
            return any(self.is_positive_definite(t) for t in m.args) and all(
                self.is_positive_definite(t) or self._is_semidefinite(t) for t in m.args
            )
        c, rest = split_scale(m)
        if not self._is_positive(c):
            return False
        if isinstance(rest, Identity):
            return True
        if isinstance(rest, Inverse):
            return self.is_positive_definite(rest.arg)
        if isinstance(rest, DiagMatrix):
            return self._properties.assumed(rest.args[0], "positive")
        if isinstance(rest, MatMul) and len(rest.args) == 2 and self._properties.is_palindrome(rest.args):
            last = rest.args[1]
            return self._properties.assumed(last, "full_column_rank", "invertible") or (
                isinstance(last, Transpose) and self._properties.assumed(last.arg, "full_row_rank")
            )
        return self._properties.assumed(rest, "positive_definite")

    def _is_positive(self, c: Expr) -> bool:
        return bool(c.is_positive) or all(
            f.is_positive or self._properties.assumed(f, "positive", "positive_integer")
            for f in Mul.make_args(c)
        )

    def _is_semidefinite(self, m: Expr) -> bool:
        c, rest = split_scale(m)
        return (
            self._is_positive(c)
            and isinstance(rest, MatMul)
            and len(rest.args) == 2
            and self._properties.is_palindrome(rest.args)
        )

    # --- entry by entry -----------------------------------------------------------------------------------

    def _hadamard(self, e: Expr) -> Node:
        factors = list(e.args)
        positive = [f.arg for f in factors if _is_step(f)]
        negative = [_not_step(f) for f in factors]
        gates = [f for f in negative if f is not None]
        if positive or gates:
            others = [f for f, n in zip(factors, negative, strict=True) if n is None and not _is_step(f)]
            return self._gated(positive, gates, HadamardProduct(*others, evaluate=False) if others else S.One)
        repeated = [_repeated(f) for f in factors]
        wide = any(r is None for r in repeated)
        above, below = [], []
        for f, r in zip(factors, repeated, strict=True):
            if wide and r is not None:
                above.append(self._spread(r))
            elif isinstance(f, HadamardPower) and f.args[1].could_extract_minus_sign():
                below.append(self(f.args[0] if f.args[1] == -1 else HadamardPower(f.args[0], -f.args[1])))
            else:
                above.append(self(f))
        above.sort(key=lambda n: n.rank < 2 or n.op == "column")  # the full array says the shape
        node = self.ops.multiply(*above) if above else self.ops.number(S.One)
        return self.ops.divide(node, self.ops.multiply(*below)) if below else node

    def _gated(self, positive: list[Expr], negative: list[Expr], rest: Expr) -> Node:
        """An expression where steps are one, zero elsewhere: what is not used there may be anything, even infinite."""
        if isinstance(rest, HadamardProduct) and len(rest.args) == 1:
            rest = rest.args[0]
        for z in negative:  # exp grows only where it is not used
            for node in list(rest.atoms(Elementwise, sympy.exp)):
                argument = node.arg if isinstance(node, Elementwise) and node.name == "exp" else node.args[0]
                if argument == z:
                    clipped = Elementwise("nonpositive", z) if is_matrix(z) else nonpositive(z)
                    rest = rest.xreplace({node: node.func(*(clipped if a == z else a for a in node.args))})
        body = self(rest)
        for z in positive:
            body = self._where(self(z), body, self.ops.number(S.Zero))
        for z in negative:
            body = self._where(self(z), self.ops.number(S.Zero), body)
        return body

    def _power(self, e: Expr) -> Node:
        base, exponent = e.args
        if base is S.Exp1:
            return self.function("exp", self(exponent))
        node = self(base)
        if exponent == Rational(1, 2):
            return self.function("sqrt", node)
        if exponent.could_extract_minus_sign():
            if exponent == Rational(-1, 2):
                below = self.function("sqrt", node)
            else:
                below = node if exponent == -1 else self(type(e)(base, -exponent))
            return self.ops.divide(self.ops.number(S.One), below)
        return self.graph.node("power", (node, self(exponent)), None, node.shape)

    def _elementwise(self, e: Any) -> Node:
        return self.function(e.name, self(e.arg), *map(self, e.parameters))

    # --- reductions ----------------------------------------------------------------------------------------

    def _trace(self, e: Expr) -> Node:
        m = e.args[0]
        c, rest = split_scale(m)
        if isinstance(rest, MatMul) and not rest.has(Inverse, DiagMatrix):
            first, *others = rest.args
            last = multiply(self.ops, [self.factor(f) for f in others])
            node = self.ops.sum(self.ops.multiply(self.ops.transpose(self(first)), last))
            negative, scaled = self.scaled(c, lambda: node)
            return self.negative(scaled) if negative else scaled
        return self.graph.node("trace", (self(m),), None, ())

    def _entry_sum(self, e: Expr) -> Node:
        return self.ops.sum(self(e.args[0]))

    def _reduction(self, op: str) -> Callable[[Expr], Node]:
        return lambda e: self.graph.node(op, (self(e.args[0]),), None, ())

    def _by_axis(self, e: Any) -> Node:
        op = _AXIS_OPS[type(e)]
        x = self(e.args[0])
        axis = int(e.args[1]) if x.rank == 2 else 0
        return self.graph.node(op, (x,), axis if x.rank == 2 else None, array_shape(e.shape))

    def _logdet(self, e: Expr) -> Node:
        m = e.args[0]
        if self.is_positive_definite(m):
            factor = self.graph.node("cholesky", (self(m),), None, array_shape(m.shape))
            return self.graph.node("logdet_cholesky", (factor,), None, ())
        return self.graph.node("logdet", (self(m),), None, ())

    def _determinant(self, e: Expr) -> Node:
        return self.graph.node("det", (self(e.args[0]),), None, ())

    def _diagonal_of(self, e: Expr) -> Node:
        c, rest = split_scale(e.args[0])
        if isinstance(rest, MatMul) and len(rest.args) > 1 and not rest.has(DiagMatrix):
            *first, last = rest.args
            left = multiply(self.ops, [self.factor(f) for f in first])
            if left.rank == 2:
                node = self.ops.sum(self.ops.multiply(left, self.ops.transpose(self(last))), 1)
                return self._times([] if c is S.One else [self(c)], [], node)
        m = self(e.args[0])
        return self.graph.node("diagonal", (m,), None, m.shape[:1])

    # --- the rest ----------------------------------------------------------------------------------------

    def _unary(self, op: str, e: Expr) -> Node:
        return self.graph.node(op, (self(e.args[0]),), None, array_shape(e.shape))

    def _matrix_power(self, e: Expr) -> Node:
        m = self(e.args[0])
        return self.graph.node("matrix_power", (m, self(e.args[1])), None, m.shape)

    def _convolution(self, e: Expr) -> Node:
        return self.graph.node(type(e).__name__.lower(), tuple(map(self, e.args)), None, array_shape(e.shape))

    def _element(self, e: Expr) -> Node:
        m, i, j = e.args
        array = self(m)
        at = tuple(self(k) for k, n in ((i, m.shape[0]), (j, m.shape[1])) if n != 1)
        return self.graph.node("index", (array, *at), None, ())

    def _constant(self, e: Expr) -> Node:
        shape = array_shape(e.shape)
        return self.graph.node("ones" if isinstance(e, OneMatrix) else "zeros", (), shape, shape)

    def _identity(self, e: Expr) -> Node:
        return self.graph.node("eye", (), e.shape[0], tuple(e.shape))

    def _kron(self, e: Expr) -> Node:
        """A row beside a matrix has one axis, as NumPy takes it; a column gets its second axis."""
        flat = all(is_column(p) for p in e.args)
        parts = [self.ops.column(self(p)) if is_column(p) and not flat else self(p) for p in e.args]
        result, rows, cols = parts[0], e.args[0].shape[0], e.args[0].shape[1]
        for node, part in zip(parts[1:], e.args[1:], strict=True):
            rows, cols = rows * part.shape[0], cols * part.shape[1]
            result = self.graph.node("kron", (result, node), None, array_shape((rows, cols)))
        return result

    def _commutation(self, e: Expr) -> Node:
        return self.graph.node("commutation", (), tuple(e.args), tuple(e.shape))

    def _range(self, e: Any) -> Node:
        """A sum over a range: a generator whose body knows the index."""
        if isinstance(e, MatrixSum):
            body, index, (lower, upper) = e.body, e.index, e.bounds
        else:
            body, ((index, lower, upper),) = e.function, e.limits
        counter = self.graph.node("counter", (), index, ())
        before = dict(self._done)
        self._done[index] = counter
        inner = self(body)
        self._done = before
        node = (counter, self(lower), self(upper), inner)
        return self.graph.node("range_sum", node, None, array_shape(e.shape) if is_matrix(e) else ())

    def _adjoint(self, e: Expr) -> Node:
        raise UnsupportedError(f"the gradient by {e.args[1]} is not worked out, so there is no code for it")


class nonpositive(sympy.Function):  # noqa: N801 - a function as SymPy spells them
    """min(t, 0)."""


def scale_number(negative: bool) -> Expr:
    """1 or -1."""
    return S.NegativeOne if negative else S.One


def _is_step(f: Expr) -> bool:
    return isinstance(f, Elementwise) and f.name == "step"


def _not_step(f: Expr) -> Expr | None:
    """Z of 1 - step(z)."""
    if isinstance(f, MatAdd) and len(f.args) == 2:
        ones = [t for t in f.args if isinstance(t, OneMatrix)]
        rest = next((t for t in f.args if not isinstance(t, OneMatrix)), None)
        if len(ones) == 1 and rest is not None:
            c, step = split_scale(rest)
            if c == -1 and _is_step(step):
                found: Expr = step.arg
                return found
    return None


def _repeated(t: Expr) -> tuple[Expr | None, int] | None:
    """What broadcasts to the matrix: (None, 0) for ones, (row, 0) for 1 r^T, (column, 1) for c 1^T."""
    rest = split_scale(t)[1]
    if isinstance(rest, OneMatrix):
        return None, 0
    if 1 in rest.shape or not isinstance(rest, MatMul):
        return None
    first, last = rest.args[0], rest.args[-1]
    if isinstance(first, OneMatrix) and is_column(first):
        row = MatMul(*rest.args[1:]) if len(rest.args) > 2 else last
        return (row, 0) if row.shape[0] == 1 else None
    if isinstance(last, OneMatrix) and last.shape[0] == 1:
        column = MatMul(*rest.args[:-1]) if len(rest.args) > 2 else first
        return (column, 1) if is_column(column) else None
    return None


def _is_structured(t: Expr) -> bool:
    """Whether a term meets a vector more cheaply by itself than as an array."""
    rest = split_scale(t)[1]
    if isinstance(rest, Identity | DiagMatrix | Inverse | KroneckerProduct | Transpose):
        return True  # A x + A^T x reads A twice; A + A^T writes a matrix before
    return isinstance(rest, MatMul) and (
        any(isinstance(f, DiagMatrix | Inverse | KroneckerProduct) or 1 in f.shape for f in rest.args)
        or len(rest.args) > 1
    )


_KNOWN = frozenset(
    [
        *(
            "exp",
            "log",
            "sin",
            "cos",
            "tan",
            "sinh",
            "cosh",
            "tanh",
            "arctan",
            "sqrt",
            "abs",
            "sign",
            "erf",
            "step",
        ),
        *("relu", "leaky_relu", "elu", "gelu", "silu", "softplus", "sigmoid"),
        *("log1p", "expm1", "log_sigmoid", "nonpositive"),
    ]
)
_AXIS_OPS: dict[type, str] = {
    Softmax: "softmax",
    LogSoftmax: "log_softmax",
    AxisLogSumExp: "logsumexp",
    AxisMax: "max",
}
_METHODS: dict[type, Callable[[Lowering, Any], Node]] = {
    MatAdd: Lowering._sum,
    Add: Lowering._sum,
    MatMul: Lowering._product,
    Mul: Lowering._product,
    HadamardProduct: Lowering._hadamard,
    HadamardPower: Lowering._power,
    Pow: Lowering._power,
    Elementwise: Lowering._elementwise,
    AsScalar: lambda self, e: self(e.args[0]),
    Transpose: lambda self, e: self.ops.transpose(self(e.arg)),
    Inverse: lambda self, e: self._unary("inv", e),
    MatPow: Lowering._matrix_power,
    Trace: Lowering._trace,
    Determinant: Lowering._determinant,
    LogDet: Lowering._logdet,
    Norm: lambda self, e: self._reduction("norm")(e),
    EntryMax: lambda self, e: self._reduction("max")(e),
    LogSumExp: lambda self, e: self._reduction("logsumexp")(e),
    EntrySum: Lowering._entry_sum,
    Softmax: Lowering._by_axis,
    LogSoftmax: Lowering._by_axis,
    AxisLogSumExp: Lowering._by_axis,
    AxisMax: Lowering._by_axis,
    Vec: lambda self, e: self._unary("vec", e),
    Flip: lambda self, e: self._unary("flip", e),
    Correlate: Lowering._convolution,
    Convolve: Lowering._convolution,
    KroneckerProduct: Lowering._kron,
    Commutation: Lowering._commutation,
    DiagMatrix: lambda self, e: self._unary("diag", e),
    DiagonalOf: Lowering._diagonal_of,
    Identity: Lowering._identity,
    OneMatrix: Lowering._constant,
    ZeroMatrix: Lowering._constant,
    MatrixSum: Lowering._range,
    Sum: Lowering._range,
    Gradient: Lowering._adjoint,
    ScalarGradient: Lowering._adjoint,
    MatrixElement: Lowering._element,
    MatrixSymbol: Lowering._leaf,
}
