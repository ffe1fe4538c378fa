"""Products of matrices: inverses that cancel, powers, diagonal matrices, ones, scalars inside."""

from __future__ import annotations

from sympy import Expr, Product, S
from sympy.matrices.expressions.diagonal import DiagMatrix, DiagonalOf
from sympy.matrices.expressions.hadamard import HadamardProduct
from sympy.matrices.expressions.inverse import Inverse
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.matpow import MatPow
from sympy.matrices.expressions.special import Identity, OneMatrix
from sympy.matrices.expressions.transpose import Transpose

from symgrad.expr import (
    MatrixSum,
    OrderedProduct,
    add,
    as_scalar,
    diag,
    eye,
    hadamard,
    inverse,
    is_column,
    matmul,
    matpower,
    ones,
    power,
    same_size,
    scale,
    split_scale,
    transpose,
)
from symgrad.simplifying.properties import Properties
from symgrad.simplifying.table import factors_of, rewrite, turned


@rewrite("cancel inverse", MatMul)
def cancel_inverse(node: Expr, known: Properties) -> Expr | None:
    """A^-1 A = I; Q^T Q = I for an orthogonal Q."""
    c, factors = factors_of(node)
    for i in range(len(factors) - 1):
        if are_inverse(factors[i], factors[i + 1], known):
            return matmul(c, *factors[:i], eye(factors[i].shape[0]), *factors[i + 2 :])
        for a, b in ((i, i + 1), (i + 1, i)):  # A^-1 (A B) with the product inside a sum is left alone
            inverted = factors[a]
            if isinstance(inverted, Inverse) and isinstance(inverted.arg, MatMul) and a < b:
                inside = factors_of(inverted.arg)
                n = len(inside[1])
                if inside[1] == factors[b : b + n]:
                    rest = matmul(c / inside[0], *factors[:a], eye(inverted.shape[0]), *factors[b + n :])
                    return rest
    return None


def are_inverse(a: Expr, b: Expr, known: Properties) -> bool:
    """Whether a b = I is known."""
    if isinstance(a, Transpose) and isinstance(b, Transpose):
        a, b = b.arg, a.arg
    if inverse_or_none(a) == b or inverse_or_none(b) == a:
        return True
    if isinstance(a, Transpose) and a.arg == b:
        return known.assumed(b, "orthogonal")
    return isinstance(b, Transpose) and b.arg == a and known.assumed(a, "orthogonal")


def inverse_or_none(m: Expr) -> Expr | None:
    """What `m` is the inverse of."""
    if isinstance(m, Inverse):
        return m.arg
    if isinstance(m, Transpose) and isinstance(m.arg, Inverse):
        return transpose(m.arg.arg)
    return None


@rewrite("inverse of product", MatMul)
def inverse_of_product(node: Expr, known: Properties) -> Expr | None:
    """A^T (A X B)^-T B^T = X^-T for square factors: the inverse of the product exists only if theirs do."""
    c, factors = factors_of(node)
    opened: list[Expr] = []
    changed = False
    for f in factors:
        flipped = isinstance(f, Transpose)
        inside = f.arg if flipped else f
        if isinstance(inside, Inverse) and isinstance(inside.arg, MatMul):
            d, parts = factors_of(inside.arg)
            if all(same_size(*p.shape) for p in parts):
                inverses = [inverse(p) for p in reversed(parts)]
                opened += [turned(p, known) for p in reversed(inverses)] if flipped else inverses
                c, changed = c / d, True
                continue
        opened.append(f)
    if not changed:
        return None
    shorter = list(opened)
    i = 0
    while i < len(shorter) - 1:
        if are_inverse(shorter[i], shorter[i + 1], known):
            del shorter[i : i + 2]
            i = max(0, i - 1)
        else:
            i += 1
    if len(shorter) == len(opened):
        return None
    return scale(c, matmul(*shorter) if shorter else eye(node.shape[0]))


@rewrite("power of matrix", MatMul)
def power_of_matrix(node: Expr, known: Properties) -> Expr | None:
    """W^j W^k = W^(j+k)."""
    c, factors = factors_of(node)
    for i in range(len(factors) - 1):
        (a, j), (b, k) = _base_exponent(factors[i]), _base_exponent(factors[i + 1])
        if a == b:
            return matmul(c, *factors[:i], matpower(a, j + k), *factors[i + 2 :])
    return None


def _base_exponent(m: Expr) -> tuple[Expr, Expr]:
    if isinstance(m, MatPow):
        return m.args[0], m.args[1]
    if isinstance(m, Inverse):
        return m.arg, S.NegativeOne
    if isinstance(m, Transpose) and isinstance(m.arg, MatPow | Inverse):
        base, exponent = _base_exponent(m.arg)
        return transpose(base), exponent
    return m, S.One


@rewrite("diagonal times vector", MatMul)
def diagonal_times_vector(node: Expr, known: Properties) -> Expr | None:
    """diag(v) x = v * x entry by entry, also where x is a product."""
    c, factors = factors_of(node)
    for i in range(len(factors) - 1):
        a, b = factors[i], factors[i + 1]
        if isinstance(a, DiagMatrix) and isinstance(b, DiagMatrix):
            return matmul(c, *factors[:i], diag(hadamard(a.args[0], b.args[0])), *factors[i + 2 :])
        if isinstance(a, DiagMatrix):
            for j in range(i + 2, len(factors) + 1):
                if is_column(tail := matmul(*factors[i + 1 : j])):
                    return matmul(c, *factors[:i], hadamard(a.args[0], tail), *factors[j:])
        if isinstance(b, DiagMatrix) and isinstance(a, Transpose) and is_column(a.arg):
            return matmul(c, *factors[:i], transpose(hadamard(a.arg, b.args[0])), *factors[i + 2 :])
    return None


@rewrite("diagonal times ones", MatMul)
def diagonal_times_ones(node: Expr, known: Properties) -> Expr | None:
    """diag(v) 1 = v, also inside a sum: diag(v) (I - 1 p^T) = diag(v) - v p^T."""
    c, factors = factors_of(node)
    for i in range(len(factors) - 1):
        a, b = factors[i], factors[i + 1]
        if isinstance(a, OneMatrix) and isinstance(b, DiagMatrix):
            rows = ones(a.shape[0]) if a.shape[0] != 1 else S.One
            return matmul(c, *factors[:i], rows, transpose(b.args[0]), *factors[i + 2 :])
        if not isinstance(a, DiagMatrix):
            continue
        if isinstance(b, OneMatrix) and b.shape[1] != 1:
            return matmul(c, *factors[:i], a.args[0], ones(1, b.shape[1]), *factors[i + 2 :])
        if isinstance(b, OneMatrix) and b.shape[1] == 1:
            return matmul(c, *factors[:i], a.args[0], *factors[i + 2 :])
        if isinstance(b, MatAdd) and any(_starts_with_ones(t) for t in b.args):
            spread = add(*(_diagonal_times(a, t) for t in b.args))
            return matmul(c, *factors[:i], spread, *factors[i + 2 :])
    return None


def _starts_with_ones(t: Expr) -> bool:
    first = factors_of(t)[1][0]
    return isinstance(first, OneMatrix) and first.shape[1] == 1


def _diagonal_times(d: Expr, t: Expr) -> Expr:
    c, factors = factors_of(t)
    if _starts_with_ones(t):
        return matmul(c, d.args[0], *factors[1:])
    return matmul(d, t)


@rewrite("empty product", OrderedProduct, Product)
def empty_product(node: Expr, known: Properties) -> Expr | None:
    """A product over no layers is the identity, one over one layer its only factor."""
    if isinstance(node, Product):
        k, lower, upper = node.limits[0]
        body = node.function
    else:
        k, (lower, upper), body = node.index, node.bounds, node.body
    length = (upper - lower).expand() + 1
    if length.is_zero:
        return S.One if isinstance(node, Product) else eye(node.shape[0])
    return body.xreplace({k: lower}) if length == 1 else None


@rewrite("sum of equal terms", MatrixSum)
def sum_of_equal_terms(node: Expr, known: Properties) -> Expr | None:
    """A sum over a range of what does not depend on it is the number of terms times that."""
    body = node.body
    if isinstance(body, MatMul):  # A^i A^(k-1-i) closes to a power first
        body = power_of_matrix(body, known) or body
    if body.has(node.index):
        return None
    lower, upper = node.bounds
    return scale(upper - lower + 1, body)


@rewrite("diagonal of product", DiagonalOf)
def diagonal_of_product(node: Expr, known: Properties) -> Expr | None:
    """The diagonal of x y^T is x * y entry by entry, that of A diag(x) B is (A * B^T) x."""
    m = node.args[0]
    if isinstance(m, Transpose):
        return diag(m.arg)
    if isinstance(m, Inverse) and isinstance(m.arg, DiagMatrix):
        return power(m.arg.args[0], S.NegativeOne)
    if isinstance(m, MatAdd):
        split = [split_scale(t) for t in m.args]
        parts = [_diagonal_closed(rest, known) for _, rest in split]
        if all(p is None for p in parts):
            return None
        return add(
            *(scale(c, diag(rest) if p is None else p) for (c, rest), p in zip(split, parts, strict=True))
        )
    return _diagonal_closed(m, known)


def _diagonal_closed(m: Expr, known: Properties) -> Expr | None:
    if isinstance(m, DiagMatrix | Identity | OneMatrix):
        return ones(m.shape[0]) if isinstance(m, OneMatrix) else diag(m)
    if not isinstance(m, MatMul):
        return None
    for i in range(1, len(m.args)):
        if m.args[i].shape[0] == 1:
            column, row = matmul(*m.args[:i]), turned(matmul(*m.args[i:]), known)
            return power(column, 2) if column == row else hadamard(column, row)
    if isinstance(m.args[0], DiagMatrix):  # diag(diag(x) B) = x * diag(B)
        return hadamard(m.args[0].args[0], diag(matmul(*m.args[1:])))
    if isinstance(m.args[-1], DiagMatrix):
        return hadamard(m.args[-1].args[0], diag(matmul(*m.args[:-1])))
    if len(m.args) == 2 and isinstance(m.args[1], Transpose):  # the rows of A times those of B
        return matmul(hadamard(m.args[0], m.args[1].arg), ones(m.args[0].shape[1]))
    for i, f in enumerate(m.args):
        if isinstance(f, DiagMatrix) and 0 < i < len(m.args) - 1:
            left, right = matmul(*m.args[:i]), matmul(*m.args[i + 1 :])
            return matmul(hadamard(left, turned(right, known)), f.args[0])
    return None


@rewrite("column times row entry by entry", MatMul)
def column_times_row_by_entries(node: Expr, known: Properties) -> Expr | None:
    """(M * a b^T) x = a * (M (b * x)), so that (M * 1 b^T) 1 = M b."""
    c, factors = factors_of(node)
    for i, f in enumerate(factors[:-1]):
        if not (isinstance(f, HadamardProduct) and is_column(x := matmul(*factors[i + 1 :]))):
            continue
        for g in f.args:
            if isinstance(g, MatMul) and len(g.args) == 2 and g.args[0].shape[1] == 1:
                rest = hadamard(*(h for h in f.args if h is not g))
                product = hadamard(g.args[0], matmul(rest, hadamard(transpose(g.args[1]), x)))
                return matmul(c, *factors[:i], product)
    return None


@rewrite("product of ones", MatMul)
def product_of_ones(node: Expr, known: Properties) -> Expr | None:
    """1 1^T is the matrix of ones, 1^T 1 its size, and what sums to one gives ones."""
    c, factors = factors_of(node)
    for i in range(len(factors) - 1):
        a, b = factors[i], factors[i + 1]
        if isinstance(a, OneMatrix) and isinstance(b, OneMatrix):
            size = a.shape[1]
            merged = OneMatrix(a.shape[0], b.shape[1], evaluate=False)
            return matmul(c, size, *factors[:i], merged, *factors[i + 2 :])
        if isinstance(b, OneMatrix) and not isinstance(a, Transpose) and known.sums_to_one(a, 1):
            merged = OneMatrix(a.shape[0], b.shape[1], evaluate=False)
            return matmul(c, *factors[:i], merged, *factors[i + 2 :])
        if isinstance(b, OneMatrix) and isinstance(a, Transpose) and known.sums_to_one(a.arg, 0):
            merged = OneMatrix(a.shape[0], b.shape[1], evaluate=False)
            return matmul(c, *factors[:i], merged, *factors[i + 2 :])
    return None


@rewrite("scalar inside", MatMul)
def scalar_inside(node: Expr, known: Properties) -> Expr | None:
    """X (y^T A z) is a scalar times a vector: a 1 x 1 run of factors is a scalar."""
    c, factors = factors_of(node)
    for i, f in enumerate(factors):
        if f.shape[0] == 1:
            for j in range(i + 1, len(factors)):
                if factors[j].shape[1] == 1 and (i > 0 or j < len(factors) - 1):
                    return matmul(c, as_scalar(matmul(*factors[i : j + 1])), *factors[:i], *factors[j + 1 :])
    return None
