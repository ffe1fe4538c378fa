"""From index notation to matrices: which networks of entries have a matrix form, and that it has their values."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy import Expr, Mul, S, Symbol

from symgrad.checking.evaluate import Evaluator, concrete
from symgrad.deriving.deltas import contract
from symgrad.deriving.index_networks import to_matrix
from symgrad.expr import Entries, matrix, size, total, walk
from symgrad.expr.entries_of import entry
from symgrad.reading import read_question
from symgrad.rendering import to_numpy
from symgrad.simplifying import Simplifier

SHAPES = (
    "A: m n, B: n p, C: m p, D: m n, E: p p, F: m m, G: n n, X: m n, W: k l, H: r s, "
    "x: n, y: m, z: p, w: k, v: r+s+k-2"
)

NETWORKS = (
    # the entries, the matrix form or None
    ("Z[i,k] = sum(j, A[i,j] * B[j,k])", "A @ B"),
    ("Z[i,k] = sum(j, A[i,j] * D[k,j])", "A @ D.T"),
    ("Z[i,k] = sum(j, A[i,j] * x[j] * B[j,k])", "A @ diag(x) @ B"),
    ("Z[i,j] = A[i,j] * D[i,j]", "A * D"),
    ("Z[i,j] = y[i] * A[i,j] * x[j]", "diag(y) @ A @ diag(x)"),
    ("Z[i,j] = y[i] * x[j]", "outer(y, x)"),
    ("z0[i] = sum(j, A[i,j] * x[j])", "A @ x"),
    ("z0[i] = sum(j, A[i,j] * x[j]) * y[i]", "y * (A @ x)"),
    ("d[i] = E[i,i]", "diag(E)"),
    ("z0[i] = sum(j, A[i,j])", "sum(A, axis=1)"),
    ("z0[i] = sum(j, k, A[i,j] * B[j,k] * C[i,k])", "sum(C * (A @ B), axis=1)"),
    ("Z[i,j] = sum(k, B[j,k] * C[i,k]) * A[i,j]", "A * (C @ B.T)"),
    ("Z[k,q] = sum(i, j, A[i,j] * B[j,k] * C[i,q])", "(A @ B).T @ C"),
    ("Z[i,j] = A[i,j] * sum(k, E[k,k])", "tr(E) * A"),
    ("Z[i,j] = tanh(A[i,j]) + y[i]", "outer(y, ones(n)) + tanh(A)"),
    ("Z[i,j] = A[i,j] * sum(k, z[k]**2)", "sum(z**2) * A"),
    ("Z[i,q] = delta(i,q) * y[i]", "diag(y)"),
    ("z0[i] = sum(k, w[k] * y[i+k])", "correlate(y, w)"),
    ("z0[i] = sum(a in 0..k-1, w[a] * y[i+a])", "correlate(y, w)"),
    ("Z[i,j] = sum(a, b, W[a,b] * X[i+a,j+b])", "correlate2(X, W)"),
    ("z0[i] = sum(a, w[a] * y[i-a+k-1])", "correlate(y, flip(w))"),
    # four nodes, each joined to each: no product, Hadamard product, diagonal or sum makes it
    ("Z[i,j] = sum(k, l, A[i,k] * D[i,l] * A[j,k] * D[j,l] * G[k,l])", None),
    ("s[i] = sum(j, k, l, F[i,j] * F[i,k] * F[i,l] * F[j,k] * F[j,l] * F[k,l])", None),
    # a shift of two indices that no correlation has
    ("H[i,j] = sum(a, w[a] * v[i+j+a])", None),
)


@pytest.mark.parametrize(("text", "form"), NETWORKS)
def test_which_networks_have_a_matrix_form(text: str, form: str | None) -> None:
    name = text.split("[", maxsplit=1)[0]
    model, _ = read_question(name, definitions=[text], shapes=SHAPES)
    (definition,) = model.definitions()
    array = definition.value
    found = to_matrix(entry(array, *array.indices), array.indices, array.sizes)
    assert (None if found is None else to_numpy(Simplifier({})(found))) == form
    if found is not None:
        assert_equal(array, found)


def assert_equal(a: Expr, b: Expr) -> None:
    """Equal values at random inputs; all sizes different."""
    arrays = [n for n in walk(a) if isinstance(n, Expr) and hasattr(n, "shape")]
    names = sorted({s for n in arrays for d in n.shape for s in d.free_symbols}, key=str)
    sizes = dict(zip(names, (9, 4, 5, 3, 6, 7, 8, 10, 11, 12), strict=False))
    for s in names:  # a kernel is smaller than its signal
        if str(s) in ("k", "l"):
            sizes[s] = {"k": 3, "l": 2}[str(s)]
    left, right = concrete(a, sizes), concrete(b, sizes)
    rng = np.random.default_rng(1)
    inputs = {
        n: rng.normal(size=tuple(int(d) for d in n.shape))
        for e in (left, right)
        for n in walk(e)
        if type(n).__name__ == "MatrixSymbol"
    }
    values = [Evaluator()(e, {n: inputs[n] for n in inputs}) for e in (left, right)]
    assert np.allclose(*values)


# --- random networks of treewidth at most two -----------------------------------------------------------

_SHAPES = st.recursive(
    st.just("edge"),
    lambda inner: st.one_of(
        st.tuples(st.just("series"), inner, inner),
        st.tuples(st.just("parallel"), inner, inner),
        st.tuples(st.just("pendant"), inner, inner),
        st.tuples(st.just("loop"), inner, inner),
        st.tuples(st.just("turned"), inner),
    ),
    max_leaves=6,
)


class _Builder:
    """The factors and the summed indices of a network, each node with a size of its own."""

    def __init__(self) -> None:
        self.factors: list[Expr] = []
        self.over: list[tuple[Expr, Expr]] = []
        self.numbers = count(1)
        self.sizes: dict[Expr, Expr] = {}

    def node(self) -> Expr:
        k = Symbol(f"k{next(self.numbers)}", integer=True, nonnegative=True)
        self.sizes[k] = size(f"n{next(self.numbers)}")
        return k

    def edge(self, a: Expr, b: Expr) -> None:
        m = matrix(f"M{next(self.numbers)}", self.sizes[a], self.sizes[b])
        self.factors.append(m[a, b])

    def build(self, shape: object, a: Expr, b: Expr) -> None:
        if shape == "edge":
            self.edge(a, b)
            return
        assert isinstance(shape, tuple)
        kind, first, *rest = shape
        if kind == "series":
            k = self.node()
            self.over.append((k, self.sizes[k]))
            self.build(first, a, k)
            self.build(rest[0], k, b)
        elif kind == "parallel":
            self.build(first, a, b)
            self.build(rest[0], a, b)
        elif kind == "pendant":
            k = self.node()
            self.over.append((k, self.sizes[k]))
            self.build(first, a, k)
            self.build(rest[0], a, b)
        elif kind == "loop":
            self.build(first, b, b)
            self.build(rest[0], a, b)
        else:
            self.build(first, b, a)


@given(_SHAPES)
@settings(max_examples=60, deadline=None)
def test_networks_of_treewidth_two_go_to_matrices_and_back(shape: object) -> None:
    """Series, parallel, pendant and loop compose exactly these networks: each has a matrix form with its values."""
    network = _Builder()
    p, q = network.node(), network.node()
    network.build(shape, p, q)
    body = total(Mul(*network.factors), *network.over)
    sizes = (network.sizes[p], network.sizes[q])
    found = to_matrix(body, (p, q), sizes)
    assert found is not None
    array = Entries(body, p, q, *sizes)
    assert_equal(array, found)
    back = contract(entry(found, p, q), dict(zip((p, q), sizes, strict=True)))
    assert_equal(Entries(back, p, q, *sizes), array)
    assert S.One not in sizes
