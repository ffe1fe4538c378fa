"""Sums, scaling, products, transposes and the matrices that only move entries."""

from __future__ import annotations

from sympy import Add, Expr, Mul
from sympy.matrices.expressions.diagonal import DiagMatrix, DiagonalOf
from sympy.matrices.expressions.kronecker import KroneckerProduct
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.transpose import Transpose

from symgrad.errors import UnsupportedError
from symgrad.expr import (
    AsScalar,
    Convolve,
    Correlate,
    Flip,
    Vec,
    add,
    as_scalar,
    convolve,
    correlate,
    diag,
    eye,
    flip,
    inner,
    is_column,
    is_scalar,
    kron,
    matmul,
    transpose,
    vec,
)
from symgrad.rules.registry import product_rule, rule

Parts = tuple[Expr | None, ...]


@rule(
    "sum",
    op=(Add, MatAdd),
    differential=lambda d, y, *terms: add(*(t for t in d if t is not None)),
    example="A + B",
    shapes="A: m n, B: m n",
    cites="Giles (2008), section 2.1",
)
def sum_rule(g: Expr, y: Expr, *terms: Expr) -> Parts:
    """Every term receives the adjoint of the sum."""
    return tuple(g for _ in terms)


@rule(
    "scalar product",
    op=Mul,
    differential=product_rule(matmul),
    example="s*t",
    shapes="s:, t:",
    cites="product rule",
)
def scalar_product(g: Expr, y: Expr, *factors: Expr) -> Parts:
    """A factor receives the adjoint times the other factors."""
    return tuple(matmul(g, *factors[:i], *factors[i + 1 :]) for i in range(len(factors)))


@rule(
    "product",
    op=MatMul,
    differential=product_rule(matmul),
    example="A @ B",
    shapes="A: m k, B: k n",
    cites="Giles (2008), section 2.1; Petersen and Pedersen (2012), section 2.5",
)
def product(g: Expr, y: Expr, *factors: Expr) -> Parts:
    """A factor receives the adjoint between the transposes of its left and of its right neighbours."""
    results: list[Expr] = []
    for i, f in enumerate(factors):
        if is_scalar(f):
            rest = matmul(*factors[:i], *factors[i + 1 :])
            results.append(inner(g, rest) if not is_scalar(g) else matmul(g, rest))
            continue
        left = [transpose(a) for a in reversed(factors[:i])]
        right = [transpose(b) for b in reversed(factors[i + 1 :])]
        results.append(matmul(*left, g, *right))
    return tuple(results)


@rule(
    "transpose",
    op=Transpose,
    differential=product_rule(transpose),
    example="A.T",
    shapes="A: m n",
    cites="Giles (2008), section 2.1",
)
def transpose_rule(g: Expr, y: Expr, a: Expr) -> Parts:
    """The adjoint is transposed back."""
    return (transpose(g),)


@rule(
    "scalar of matrix",
    op=AsScalar,
    differential=product_rule(as_scalar),
    example="x @ A @ z",
    shapes="x: m, A: m n, z: n",
    cites="a 1 x 1 matrix is its only entry",
)
def scalar_of_matrix(g: Expr, y: Expr, a: Expr) -> Parts:
    """A 1 x 1 matrix is read as a scalar; its adjoint is that scalar's."""
    return (g,)


@rule(
    "diagonal matrix",
    op=DiagMatrix,
    differential=product_rule(diag),
    example="diag(x)",
    shapes="x: n",
    cites="Magnus and Neudecker (2019), chapter 9",
)
def diagonal_matrix(g: Expr, y: Expr, x: Expr) -> Parts:
    """Only the diagonal of the adjoint counts."""
    return (diag(g),)


@rule(
    "diagonal",
    op=DiagonalOf,
    differential=product_rule(diag),
    example="diag(A)",
    shapes="A: n n",
    cites="Magnus and Neudecker (2019), chapter 9",
)
def diagonal(g: Expr, y: Expr, a: Expr) -> Parts:
    """The adjoint goes onto the diagonal."""
    return (diag(g),)


@rule(
    "kronecker",
    op=KroneckerProduct,
    differential=product_rule(kron),
    example="kron(x, z)",
    shapes="x: m, z: n",
    cites="Van Loan (2000); (B^T kron A) vec X = vec(A X B)",
    when=lambda node: len(node.args) == 2 and all(is_column(a) for a in node.args),
)
def kronecker_vectors(g: Expr, y: Expr, a: Expr, b: Expr) -> Parts:
    """Each factor receives the adjoint contracted with the other: (I kron b)^T g and (a kron I)^T g."""
    left = kron(eye(a.shape[0]), transpose(b))
    right = kron(transpose(a), eye(b.shape[0]))
    return matmul(left, g), matmul(right, g)


@rule(
    "kronecker of matrices",
    op=KroneckerProduct,
    differential=product_rule(kron),
    example="kron(A, B)",
    shapes="A: m n, B: p q",
    cites="Petersen and Pedersen (2012), eq. 39",
)
def kronecker_matrices(g: Expr, y: Expr, *factors: Expr) -> Parts:
    """Only the differential has a matrix form: a factor's adjoint is a contraction over blocks."""
    raise UnsupportedError(
        "the adjoint of a factor of a Kronecker product of matrices has no matrix form",
        hint="ask for the differential (kind differential)",
    )


@rule(
    "vectorisation",
    op=Vec,
    differential=product_rule(vec),
    example="vec(A)",
    shapes="A: m n",
    cites="Magnus and Neudecker (2019), section 2.4",
)
def vectorisation(g: Expr, y: Expr, a: Expr) -> Parts:
    """Only the differential has a matrix form; where vec meets vec it goes before the function is derived."""
    raise UnsupportedError(
        "the adjoint of vec(A) has no matrix form here", hint="ask for the differential (kind differential)"
    )


@rule(
    "flip",
    op=Flip,
    differential=product_rule(flip),
    example="flip(x)",
    shapes="x: n",
    cites="a permutation of the entries",
)
def flip_rule(g: Expr, y: Expr, x: Expr) -> Parts:
    """The adjoint is turned back."""
    return (flip(g),)


@rule(
    "correlation",
    op=Correlate,
    differential=product_rule(correlate),
    example="correlate(x, w)",
    shapes="x: p+k-1, w: k",
    cites="Goodfellow, Bengio and Courville (2016), section 9.5",
)
def correlation(g: Expr, y: Expr, x: Expr, w: Expr) -> Parts:
    """The signal receives the full convolution of the adjoint with the kernel, the kernel a correlation."""
    return convolve(g, w), correlate(x, g)


@rule(
    "convolution",
    op=Convolve,
    differential=product_rule(convolve),
    example="convolve(x, w)",
    shapes="x: p, w: k",
    cites="Goodfellow, Bengio and Courville (2016), section 9.5",
)
def convolution(g: Expr, y: Expr, x: Expr, w: Expr) -> Parts:
    """Each factor receives the valid correlation of the adjoint with the other."""
    return correlate(g, w), correlate(g, x)
