"""How others spell what the text language says in its own words, for the hints of its errors."""

from __future__ import annotations

import re

__all__ = ["FUNCTIONS_ELSEWHERE", "instead_of"]

_CHARACTERS = {
    "^": "a power is written **, a transpose .T",
    "'": "there are no strings in the language; a transpose is written .T",
    "⊤": "a transpose is written .T",
    "ᵀ": "a transpose is written .T",
    "²": "a power is written **",
    "⁻": "a power is written **, an inverse inv(..)",
    "|": "a norm is written norm(..), an absolute value abs(..), a determinant det(..)",
    "‖": "a norm is written norm(..)",
    "·": "a matrix product is written @, a product of scalars or of entries *",
    "×": "a matrix product is written @, a product of scalars or of entries *",
    "⊙": "an entrywise product is written *",
    "∘": "an entrywise product is written *",
    "⊗": "a Kronecker product is written kron(A, B), an outer product outer(x, y)",
    "−": "a minus sign is written -",
    "√": "a square root is written sqrt(..)",
    "∑": "a sum over an index is written sum(i, ..)",
    "{": "use round brackets",
    "}": "use round brackets",
    "\\": "LaTeX is not read here; write the formula in NumPy's spelling",
    "$": "LaTeX is not read here; write the formula in NumPy's spelling",
    "!": "a factorial has no meaning here",
    ";": "put each definition on its own line",
    '"': "there are no strings in the language",
    "=": "a comparison is <, >, <= or >=",
}

FUNCTIONS_ELSEWHERE = {
    "add": "x + y",
    "cbrt": "x**(1/3)",
    "clip": "minimum(maximum(x, a), b)",
    "cov": "(X - mean(X, axis=0)).T @ (X - mean(X, axis=0)) / n",
    "cumsum": "y[i] = sum(k in 0..i, x[k])",
    "divide": "x / y",
    "dot": "x @ y",
    "einsum": "C[i,k] = sum(j, A[i,j] * B[j,k])",
    "exp2": "2**x",
    "expit": "sigmoid(x)",
    "expm1": "exp(x) - 1",
    "frobenius": "norm(A)",
    "heaviside": "(x > 0)",
    "hypot": "sqrt(x**2 + y**2)",
    "inner": "x @ y",
    "inverse": "inv(A)",
    "ln": "log(x)",
    "log10": "log(x) / log(10)",
    "log1p": "log(1 + x)",
    "log2": "log(x) / log(2)",
    "logistic": "sigmoid(x)",
    "matmul": "A @ B",
    "mish": "x * tanh(softplus(x))",
    "mm": "A @ B",
    "multiply": "x * y",
    "mv": "A @ x",
    "negative": "-x",
    "power": "x**2",
    "reciprocal": "1 / x",
    "relu6": "minimum(relu(x), 6)",
    "sec": "1 / cos(x)",
    "sgn": "sign(x)",
    "sigm": "sigmoid(x)",
    "slogdet": "logdet(A)",
    "softsign": "x / (1 + abs(x))",
    "solve": "inv(A) @ b",
    "square": "x**2",
    "std": "sqrt(mean((x - mean(x))**2))",
    "subtract": "x - y",
    "swish": "silu(x)",
    "tensordot": "C[i,k] = sum(j, A[i,j] * B[j,k])",
    "transpose": "A.T",
    "var": "mean((x - mean(x))**2)",
}


_MODULES = {"F", "jax", "jnp", "linalg", "math", "nn", "np", "numpy", "scipy", "sp", "sympy", "tf", "torch"}


def instead_of(character: str, before: str) -> str | None:
    """What fits where a character stands that the language does not have there, after the text before it.

    >>> instead_of(".", "2 * np")
    'functions are written without their module: exp(x), not np.exp(x)'
    >>> instead_of("^", "x")
    'a power is written **, a transpose .T'
    """
    if character == ".":
        module = re.search(r"[A-Za-z_]\w*$", before)
        if module and module[0] in _MODULES:
            return f"functions are written without their module: exp(x), not {module[0]}.exp(x)"
    return _CHARACTERS.get(character)
