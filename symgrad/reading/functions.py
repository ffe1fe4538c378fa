"""What each function of the text language makes of its arguments; elementwise ones are in `expr.functions`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sympy import Expr, S

from symgrad.errors import ReadError, ShapeError
from symgrad.expr import (
    add,
    axis_max,
    axis_sum,
    block,
    commutation,
    convolve,
    correlate,
    det,
    diag,
    divide,
    entry_max,
    entry_sum,
    eye,
    flip,
    hadamard,
    inverse,
    is_scalar,
    kron,
    larger,
    log_softmax,
    logdet,
    logsumexp,
    matmul,
    matpower,
    norm,
    ones,
    scale,
    shape_text,
    smaller,
    softmax,
    subtract,
    trace,
    transpose,
    vec,
    zeros,
)
from symgrad.reading.expressions import Expressions
from symgrad.reading.indices import delta, in_range, size_of
from symgrad.reading.text import LIMITS
from symgrad.reading.typed import Value, value_of

__all__ = ["FUNCTIONS_OF_THE_LANGUAGE"]

Handler = Callable[[Expressions, Any, list[Any], Mapping[str, Any]], Value]


def _one(make: Callable[[Expr], Expr], *kinds: str) -> Handler:
    """A function of one argument of certain kinds."""

    def read(scope: Expressions, tree: Any, positional: list[Any], keywords: Mapping[str, Any]) -> Value:
        (x,) = scope.arguments(tree, positional, keywords, 1)
        if x.kind not in kinds:
            wanted = " or a ".join(kinds)
            scope.fail(
                ShapeError,
                f"{tree.children[0]}: a {wanted} is needed, not a {shape_text(x.shape)}",
                positional[0],
            )
        if kinds == ("matrix",):
            scope.same(*x.expr.shape)
        return value_of(make(x.expr))

    return read


def _sum_like(whole: Callable[[Expr], Expr], along: Callable[[Expr, int], Expr]) -> Handler:
    """sum, mean, max: of all entries, or along an axis; keepdims keeps a matrix of one column or row."""

    def read(scope: Expressions, tree: Any, positional: list[Any], keywords: Mapping[str, Any]) -> Value:
        if len(positional) == 2 and "axis" not in keywords:
            keywords = {**keywords, "axis": positional.pop()}
        (x,) = scope.arguments(tree, positional, {}, 1)
        axis = scope.axis(tree, keywords, x, None)
        keeps = "keepdims" in keywords and _is_true(scope, keywords["keepdims"])
        if axis is None or x.kind in ("scalar", "vector"):
            if keeps:
                scope.fail(ReadError, "keepdims needs a matrix and an axis", tree)
            return Value(whole(x.expr), "scalar")
        result = along(x.expr, axis)
        if keeps:
            return Value(result if axis == 1 else transpose(result), "matrix")
        return value_of(result, "vector")

    return read


def _extremum(whole: Callable[[Expr], Expr] | None, along: Callable[[Expr, int], Expr] | None) -> Handler:
    """Max and min: of two scalars, max(a, b) = b + relu(a - b); max also of the entries of an array."""

    def read(scope: Expressions, tree: Any, positional: list[Any], keywords: Mapping[str, Any]) -> Value:
        if len(positional) == 2 and not keywords:
            a, b = scope.arguments(tree, positional, keywords, 2)
            if a.kind == b.kind == "scalar":
                return Value(
                    larger(a.expr, b.expr) if whole is not None else smaller(a.expr, b.expr), "scalar"
                )
            scope.fail(
                ReadError, f"{tree.children[0]} of an array and something else can be meant in two ways", tree,
                hint="max(x, axis=0) is the largest along an axis, maximum(x, 0) and minimum(x, 0) go entry by entry",
            )  # fmt: skip
        if whole is None or along is None:
            scope.fail(ReadError, "min takes two scalars", tree, hint="minimum(a, b) goes entry by entry")
        return _sum_like(whole, along)(scope, tree, positional, keywords)

    return read


def _by_pairs(choose: Callable[[Expr, Expr], Expr]) -> Handler:
    """maximum(a, b), minimum(a, b): entry by entry, with broadcasting."""

    def read(scope: Expressions, tree: Any, positional: list[Any], keywords: Mapping[str, Any]) -> Value:
        a, b = scope.arguments(tree, positional, keywords, 2)
        a, b = scope.broadcast(a, b, tree, str(tree.children[0]))
        return Value(choose(a.expr, b.expr), a.kind)

    return read


def _is_true(scope: Expressions, tree: Any) -> bool:
    said = str(tree.children[0]) if tree.data == "name" else ""
    if said not in ("True", "False"):
        scope.fail(ReadError, "keepdims is True or False", tree)
    return said == "True"


def _count(x: Expr) -> Expr:
    return S.One if is_scalar(x) else x.shape[0] * x.shape[1]


def _mean_along(x: Expr, axis: int) -> Expr:
    return scale(1 / x.shape[axis], axis_sum(x, axis))


def _by_axis(make: Callable[[Expr, int], Expr]) -> Handler:
    """Softmax and its relatives: along the last axis unless one is given."""

    def read(scope: Expressions, tree: Any, positional: list[Any], keywords: Mapping[str, Any]) -> Value:
        (x,) = scope.arguments(tree, positional, {}, 1)
        if x.kind == "scalar":
            scope.fail(
                ShapeError, f"{tree.children[0]}: a vector or a matrix is needed, not a scalar", positional[0]
            )
        axis = scope.axis(tree, keywords, x, len(x.shape) - 1)
        result = make(x.expr, axis or 0)
        if is_scalar(result):
            return Value(result, "scalar")
        return Value(result, x.kind if result.shape == x.expr.shape else "vector")

    return read


def _norm(scope: Expressions, tree: Any, positional: list[Any], keywords: Mapping[str, Any]) -> Value:
    values = scope.arguments(tree, positional, keywords, 1, 2)
    order = 2
    if len(values) == 2:
        if values[1].expr not in (1, 2):
            scope.fail(ReadError, "norm(x) and norm(x, 1) are known", positional[1])
        order = int(values[1].expr)
    return Value(norm(values[0].expr, order), "scalar")


def _outer(scope: Expressions, tree: Any, positional: list[Any], keywords: Mapping[str, Any]) -> Value:
    x, y = scope.arguments(tree, positional, keywords, 2)
    columns = []
    for v, where in zip((x, y), positional, strict=True):
        if v.kind == "scalar" or v.kind == "vector":  # a vector of one entry
            columns.append(v.expr)
        else:
            scope.fail(ShapeError, f"outer takes vectors, not a {shape_text(v.shape)}", where)
    if is_scalar(columns[0]) and is_scalar(columns[1]):
        return Value(matmul(*columns), "scalar")
    if is_scalar(columns[1]):
        return Value(scale(columns[1], columns[0]), "matrix")
    if is_scalar(columns[0]):
        return Value(scale(columns[0], transpose(columns[1])), "matrix")
    return value_of(matmul(columns[0], transpose(columns[1])), "matrix")


def _kron(scope: Expressions, tree: Any, positional: list[Any], keywords: Mapping[str, Any]) -> Value:
    a, b = scope.arguments(tree, positional, keywords, 2)
    if a.kind == b.kind == "vector" or "scalar" in (a.kind, b.kind):
        return value_of(kron(a.expr, b.expr), b.kind if a.kind == "scalar" else a.kind)
    if "vector" in (a.kind, b.kind):
        scope.fail(
            ShapeError,
            "kron of a vector and a matrix reads the vector as a row in NumPy",
            tree,
            hint="write outer(x, ones(1)) for a column",
        )
    return Value(kron(a.expr, b.expr), "matrix")


def _matrix_power(scope: Expressions, tree: Any, positional: list[Any], keywords: Mapping[str, Any]) -> Value:
    x, k = scope.arguments(tree, positional, keywords, 2)
    if x.kind != "matrix" or k.kind != "scalar":
        scope.fail(ShapeError, "matrix_power takes a square matrix and a whole number", tree)
    if k.expr.is_integer is False or (k.expr.is_Number and abs(k.expr) > LIMITS.exponent):
        scope.fail(ReadError, f"matrix_power: the exponent {k.expr} is out of bounds", positional[1])
    scope.same(*x.expr.shape)
    return Value(matpower(x.expr, k.expr), "matrix")


def _diag(scope: Expressions, tree: Any, positional: list[Any], keywords: Mapping[str, Any]) -> Value:
    (x,) = scope.arguments(tree, positional, keywords, 1)
    if x.kind == "scalar":
        return x
    if x.kind == "row":
        scope.fail(ShapeError, "diag takes a vector or a square matrix, not a row", positional[0])
    if x.kind == "matrix":
        scope.same(*x.expr.shape)
        return Value(diag(x.expr), "vector")
    return Value(diag(x.expr), "matrix")


def _constant(make: Callable[..., Expr], least: int, most: int) -> Handler:
    """eye(n), ones(n), ones(m, n), zeros(..)."""

    def read(scope: Expressions, tree: Any, positional: list[Any], keywords: Mapping[str, Any]) -> Value:
        if keywords or not least <= len(positional) <= most:
            scope.fail(ReadError, f"{tree.children[0]} takes sizes, such as {tree.children[0]}(n)", tree)
        sizes = [scope.constant_size(p) for p in positional]
        kind = "matrix" if make is eye or len(sizes) == 2 else "vector"
        result = make(*sizes)
        if all(s == 1 for s in sizes):
            return Value(S.Zero if make is zeros else S.One, "scalar")
        return Value(result, kind)

    return read


def _size(scope: Expressions, tree: Any, positional: list[Any], keywords: Mapping[str, Any]) -> Value:
    """size(x) is the number of entries, size(x, axis=1) that along an axis."""
    return Value(size_of(scope, tree), "scalar")


def _commutation(scope: Expressions, tree: Any, positional: list[Any], keywords: Mapping[str, Any]) -> Value:
    """commutation(m, n): K with K vec(A) = vec(A^T) for A of shape m x n."""
    if keywords or len(positional) != 2:
        scope.fail(ReadError, "commutation takes two sizes, such as commutation(m, n)", tree)
    return Value(commutation(*(scope.constant_size(p) for p in positional)), "matrix")


def _block(scope: Expressions, tree: Any, positional: list[Any], keywords: Mapping[str, Any]) -> Value:
    """block([[A, B], [C, D]]): a matrix of blocks; a number is a block of one entry."""
    if keywords or len(positional) != 1 or positional[0].data != "rows":
        scope.fail(ReadError, "block takes rows of blocks, such as block([[A, B], [C, D]])", tree)
    rows = [[scope.read(m) for m in line.children] for line in positional[0].children]
    if any(v.kind == "tensor" for row in rows for v in row):
        scope.fail(ShapeError, "block: a block is a matrix, a vector or a number", tree)
    return value_of(block([[v.expr for v in row] for row in rows]))


def _where(scope: Expressions, tree: Any, positional: list[Any], keywords: Mapping[str, Any]) -> Value:
    """where(c, a, b) = c a + (1 - c) b for an indicator c."""
    c, a, b = scope.arguments(tree, positional, keywords, 3)
    if positional[0].data != "comparison":
        scope.fail(ReadError, "where takes a comparison first, such as z > 0", positional[0])
    a, b = scope.broadcast(a, b, tree, "where")
    c, a = scope.broadcast(c, a, tree, "where")
    c, b = scope.broadcast(c, b, tree, "where")
    if c.kind == "scalar":
        return Value(c.expr * a.expr + (1 - c.expr) * b.expr, "scalar")
    rest = subtract(ones(*c.expr.shape), c.expr)
    return Value(add(hadamard(c.expr, a.expr), hadamard(rest, b.expr)), c.kind)


def _convolution(make: Callable[[Expr, Expr], Expr], kind: str) -> Handler:
    def read(scope: Expressions, tree: Any, positional: list[Any], keywords: Mapping[str, Any]) -> Value:
        x, w = scope.arguments(tree, positional, keywords, 2)
        if not x.kind == w.kind == kind:
            scope.fail(
                ShapeError,
                f"{tree.children[0]} takes two {'vectors' if kind == 'vector' else 'matrices'}",
                tree,
            )
        return value_of(make(x.expr, w.expr), kind)

    return read


def _flip(scope: Expressions, tree: Any, positional: list[Any], keywords: Mapping[str, Any]) -> Value:
    (x,) = scope.arguments(tree, positional, keywords, 1)
    return x if x.kind == "scalar" else Value(flip(x.expr), x.kind)


def _prod(scope: Expressions, tree: Any, positional: list[Any], keywords: Mapping[str, Any]) -> Value:
    scope.fail(ReadError, "prod takes a range: prod(k in 1..L, W[k])", tree)


FUNCTIONS_OF_THE_LANGUAGE: dict[str, Handler] = {
    "sum": _sum_like(entry_sum, axis_sum),
    "mean": _sum_like(lambda x: divide(entry_sum(x), _count(x)), _mean_along),
    "max": _extremum(entry_max, axis_max),
    "min": _extremum(None, None),
    "maximum": _by_pairs(larger),
    "minimum": _by_pairs(smaller),
    "norm": _norm,
    "tr": _one(trace, "matrix"),
    "trace": _one(trace, "matrix"),
    "det": _one(det, "matrix"),
    "logdet": _one(logdet, "matrix"),
    "inv": _one(inverse, "matrix"),
    "matrix_power": _matrix_power,
    "diag": _diag,
    "outer": _outer,
    "kron": _kron,
    "vec": _one(vec, "matrix", "vector"),
    "softmax": _by_axis(softmax),
    "log_softmax": _by_axis(log_softmax),
    "logsumexp": _by_axis(logsumexp),
    "eye": _constant(eye, 1, 1),
    "ones": _constant(ones, 1, 2),
    "zeros": _constant(zeros, 1, 2),
    "size": _size,
    "commutation": _commutation,
    "block": _block,
    "where": _where,
    "correlate": _convolution(correlate, "vector"),
    "convolve": _convolution(convolve, "vector"),
    "correlate2": _convolution(correlate, "matrix"),
    "convolve2": _convolution(convolve, "matrix"),
    "flip": _flip,
    "prod": _prod,
    "delta": delta,
    "inrange": in_range,
}
