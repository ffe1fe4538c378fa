"""Index notation: what is read, what is derived, how it is written, and that its checks can fail."""

from __future__ import annotations

import inspect
import json
from dataclasses import replace

import numpy as np
import pytest
import sympy
from sympy import Expr

from symgrad import Derivation, derive
from symgrad.batch import answer_line
from symgrad.checking.entries import check_array, check_in_indices
from symgrad.checking.evaluate import Evaluator, concrete
from symgrad.checking.numeric import check_gradient
from symgrad.errors import CheckError, SymgradError, UnsupportedError
from symgrad.expr import leaf_name, leaves, shape_of
from symgrad.reading import read_model, read_question
from symgrad.rendering.letters import answer_index

PASSED = ("proved", "verified", "agrees")

ATTENTION = (
    "S[h,i,j] = sum(d, Q[h,i,d] * K[h,j,d])",
    "P[h,i,j] = exp(S[h,i,j]) / sum(l, exp(S[h,i,l]))",
    "O[h,i,e] = sum(j, P[h,i,j] * V[h,j,e])",
)
CONVOLUTION = ("Y[o,i,j] = sum(c, a, b, W[o,c,a,b] * X[c,i+a,j+b]) + d[o]",)
CONVOLUTION_SHAPES = "W: n m k l, X: m h w, d: n, G: n h-k+1 w-l+1"

GRADIENTS: tuple[tuple[str, tuple[str, ...], str, str, str], ...] = (
    # f, definitions, shapes, wrt, the entry of the gradient
    (
        "sum(t, i, k, Z[t,i,k]**2)",
        ("Z[t,i,k] = sum(j, A[t,i,j] * B[t,j,k])",),
        "A: s m n, B: s n p",
        "A",
        "df_dA[t,i,j] = 2 * sum(k, B[t, j, k] * Z[t, i, k])",
    ),
    (
        "sum(o, i, j, G[o,i,j] * Y[o,i,j])",
        CONVOLUTION,
        CONVOLUTION_SHAPES,
        "W",
        "df_dW[o,c,a,b] = sum(i, j, G[o, i, j] * X[c, a+i, b+j])",
    ),
    (
        "sum(o, i, j, G[o,i,j] * Y[o,i,j])",
        CONVOLUTION,
        CONVOLUTION_SHAPES,
        "X",
        "df_dX[p,q,r] = sum(o, a in max(0,q+k-h)..min(q,k-1), b in max(0,r+l-w)..min(r,l-1), "
        "G[o, q-a, r-b] * W[o, p, a, b])",
    ),
    (
        "sum(o, i, j, G[o,i,j] * Y[o,i,j])",
        CONVOLUTION,
        CONVOLUTION_SHAPES,
        "d",
        "df_dd[o] = sum(i, j, G[o, i, j])",
    ),
    (
        "sum(h, i, e, G[h,i,e] * O[h,i,e])",
        ATTENTION,
        "Q: r m q, K: r n q, V: r n v, G: r m v",
        "V",
        "df_dV[h,j,e] = sum(i, G[h, i, e] * P[h, i, j])",
    ),
    (
        "sum(h, i, e, G[h,i,e] * O[h,i,e])",
        ATTENTION,
        "Q: r m q, K: r n q, V: r n v, G: r m v",
        "K",
        "df_dK[h,j,d] = sum(i, (sum(e, G[h, i, e] * V[h, j, e]) - "
        "sum(l, sum(e, G[h, i, e] * V[h, l, e]) * P[h, i, l])) * P[h, i, j] * Q[h, i, d])",
    ),
    (
        "sum(i, j, k, (T[i,j,k] - sum(r, A[i,r] * B[j,r] * C[k,r]))**2)",
        (),
        "T: l m n, A: l q, B: m q, C: n q",
        "A",
        "df_dA[i,r] = -2 * sum(j, k, (T[i, j, k] - sum(s, A[i, s] * B[j, s] * C[k, s])) * B[j, r] * C[k, r])",
    ),
    (
        "sum(n, d, (H[n,d] - sum(v, T[n,v] * E[v,d]))**2)",
        (),
        "H: b e, T: b u, E: u e",
        "E",
        "",
    ),
    # entries by their numbers
    (
        "A[1,2] * tr(A)",
        (),
        "A: n n",
        "A",
        "df_dA[p,q] = delta(p, q) * A[1, 2] + delta(1, p) * delta(2, q) * sum(i, A[i, i])",
    ),
    (
        "-log(softmax(A @ x)[1])",
        (),
        "A: m n, x: n",
        "A",
        "df_dA[p,q] = (softmax(A @ x)[p] - delta(1, p)) * x[q]",
    ),
    ("x[9] * norm(x)**2", (), "x: n", "x", "df_dx[p] = delta(9, p) * sum(i, x[i]**2) + 2 * x[9] * x[p]"),
    ("(A @ x)[2]", (), "A: m n, x: n", "A", "df_dA[p,q] = delta(2, p) * x[q]"),
    ("logdet(A) + A[0,0]", (), "A: n n", "A", "df_dA[p,q] = delta(0, p) * delta(0, q) + inv(A)[q, p]"),
)


@pytest.mark.parametrize(("f", "given", "shapes", "wrt", "entry"), GRADIENTS, ids=lambda v: str(v)[:30])
def test_gradients_of_models_by_entries(
    f: str, given: tuple[str, ...], shapes: str, wrt: str, entry: str
) -> None:
    """Every step and the whole array agree with differences of the function; the entry is the book's."""
    derivation = derive(f, wrt, given=given, shapes=shapes)
    assert derivation.evidence.level == "proved"
    assert all(s.evidence.level in PASSED for s in derivation.steps)
    if entry:
        assert answer_index(derivation) == entry
    else:
        assert derivation.answer is not None and derivation.indices is None  # a matrix model after all


@pytest.mark.parametrize(("f", "given", "shapes", "wrt", "entry"), GRADIENTS, ids=lambda v: str(v)[:30])
def test_what_is_printed_can_be_read_back(
    f: str, given: tuple[str, ...], shapes: str, wrt: str, entry: str
) -> None:
    """The answer is a definition by entries in the text language: it is the gradient when it is read again."""
    derivation = derive(f, wrt, given=given, shapes=shapes, check=False)
    printed = answer_index(derivation)
    if printed is None or derivation.indices is None:
        return
    name = printed.split("[")[0]
    sizes = " ".join(str(n).replace(" ", "") for _, n in derivation.indices.indices)
    read, _ = read_question(name, definitions=[*given, printed], shapes=f"{shapes}, {name}: {sizes}")
    again = next(d for d in read.definitions() if d.name == name).value
    assert again.sizes[: len(derivation.indices.indices)] == tuple(n for _, n in derivation.indices.indices)
    assert check_gradient(read, derivation.of, derivation.wrt, again).level in PASSED


JACOBIANS = (
    # kind, f, shapes, wrt, the entry
    ("jacobian", "A @ X @ B", "A: m n, X: n p, B: p q", "X", "df_dX[i,j,r,s] = A[i, r] * B[s, j]"),
    ("jacobian", "X @ X.T", "X: n p", "X", "df_dX[i,j,q,r] = delta(i, q) * X[j, r] + delta(j, q) * X[i, r]"),
    ("jacobian", "inv(X)", "X: n n", "X", "df_dX[i,j,p,q] = -inv(X)[i, p] * inv(X)[q, j]"),
    ("jacobian", "X @ w", "X: n p, w: p", "X", "df_dX[i,q,r] = delta(i, q) * w[r]"),
    ("jacobian", "A[1,2] * x", "A: m n, x: n", "A", "df_dA[i,p,q] = delta(1, p) * delta(2, q) * x[i]"),
    (
        "hessian",
        "x[0] * x[1]**2",
        "x: n",
        "x",
        "d2f_dx_dx[p,q] = 2 * delta(0, p) * delta(1, q) * x[1] + 2 * delta(0, q) * delta(1, p) * x[1] "
        "+ 2 * delta(1, p) * delta(1, q) * x[0]",
    ),
    (
        "hessian",
        "tr(A @ X @ B @ X.T)",
        "A: n n, X: n p, B: p p",
        "X",
        "d2f_dX_dX[q,r,t,u] = A[q, t] * B[u, r] + A[t, q] * B[r, u]",
    ),
    ("hessian", "logdet(X)", "X: n n", "X", "d2f_dX_dX[p,q,r,s] = -inv(X)[q, r] * inv(X)[s, p]"),
    (
        "hessian",
        "norm(X @ W - Y)**2",
        "X: n p, W: p q, Y: n q",
        "W",
        "d2f_dW_dW[r,s,t,u] = 2 * delta(s, u) * sum(i, X[i, r] * X[i, t])",
    ),
)


@pytest.mark.parametrize(("kind", "f", "shapes", "wrt", "entry"), JACOBIANS)
def test_derivatives_with_more_than_two_indices(kind: str, f: str, shapes: str, wrt: str, entry: str) -> None:
    """Functions of matrices by matrices: J has the indices of the function, then those of the variable."""
    derivation = derive(f, wrt, shapes=shapes, kind=kind)  # type: ignore[arg-type]
    assert answer_index(derivation) == entry
    assert derivation.evidence.level == "proved"
    assert derivation.entrywise is None or derivation.entrywise.evidence.level == "proved"


def test_a_batch_record_has_the_index_form() -> None:
    question = {
        "id": 1,
        "f": "sum(i, j, k, T[i,j,k] * x[i] * y[j] * z[k])",
        "shapes": {"T": ["l", "m", "n"], "x": ["l"], "y": ["m"], "z": ["n"]},
        "wrt": "T",
    }
    record = json.loads(answer_line(json.dumps(question)))
    assert record["status"] == "ok"
    assert record["answer"] is None
    assert record["answer_index"] == "df_dT[i,j,k] = x[i] * y[j] * z[k]"
    assert record["answer_latex"] == "x_{i} y_{j} z_{k}"


def explicit(e: Expr, at: dict[Expr, int]) -> Expr:
    """The sum written out term by term, by SymPy."""
    return sympy.expand(e.xreplace({s: sympy.Integer(n) for s, n in at.items()}).doit())


def test_entries_against_plain_differentiation_of_the_sum_written_out() -> None:
    """A correlation at explicit sizes: every entry of the gradient is SymPy's derivative by that entry."""
    _, f = read_question("sum(i, G[i] * sum(k, W[k] * X[i+k]))", shapes="W: w, X: n, G: n-w+1")
    n, w = sympy.Symbol("n", integer=True, positive=True), sympy.Symbol("w", integer=True, positive=True)
    written = explicit(f, {n: 7, w: 3})
    for variable, length in (("X", 7), ("W", 3)):
        derivation = derive(
            "sum(i, G[i] * sum(k, W[k] * X[i+k]))", variable, shapes="W: w, X: n, G: n-w+1", check=False
        )
        assert derivation.indices is not None
        assert derivation.indices.entry is not None
        ((letter, _),) = derivation.indices.indices
        leaf = sympy.MatrixSymbol(variable, length, 1)
        for p in range(length):
            entry = derivation.indices.entry.xreplace({letter: sympy.Integer(p)})
            assert explicit(entry, {n: 7, w: 3}) == sympy.expand(written.diff(leaf[p, 0])), (variable, p)


REFUSED = (
    # definitions, f, shapes, what is said, column
    ((), "sum(i, A[i,i])", "A: n m", "used in two ranges", 12),
    ((), "sum(i, A[i,j])", "A: n m", "the index j is free", 12),
    ((), "sum(i, x[i] * x[i+1])", "x: n", "goes up to n", 17),
    ((), "sum(i in 0..n, x[i])", "x: n", "goes up to n", 18),
    ((), "sum(p, k, y[p] * G[p-k] * W[k])", "y: n+w-1, G: n, W: w", "goes down to 1 - w", 20),
    ((), "sum(i, A[i])", "A: n m", "one index for a n x m", 8),
    ((), "sum(i, j, A[i,j]) * A[5,0]", "A: 4 3", "outside", 23),
    ((), "sum(i, sum(i, x[i]))", "x: n", "bound already", 12),
    ((), "sum(v, E[t[v],0])", "E: u d, t: n", "an index is a letter", 10),
    (("Z[i,k] = x[i]",), "Z", "x: n", "no range", 5),
    (("Z[i] = A[i,j]",), "Z", "A: n m", "the index j is free", 12),
    (("Z[i,i] = x[i]",), "Z", "x: n", "bound already", 5),
    (("Z[i,0] = x[i]",), "Z", "x: n", "stand letters", 5),
    (("Z[i,j] = A @ A",), "Z", "A: n n", "an entry of Z is a number", 10),
    (("Z[i,j] = A[i,j]",), "Z", "A: n n, Z: n n n", "3 indices", 1),
)


@pytest.mark.parametrize(("given", "f", "shapes", "says", "column"), REFUSED)
def test_what_is_refused_says_where(
    given: tuple[str, ...], f: str, shapes: str, says: str, column: int
) -> None:
    with pytest.raises(SymgradError, match=says) as caught:
        read_question(f, definitions=given, shapes=shapes)
    assert caught.value.line == 1
    assert caught.value.column == column
    assert "^" in str(caught.value)


SLIDING = "Y[o,i,j] = sum(c, a, b, W[o,c,a,b] * X[c,i+a,j+b])"
LOOP = "x : n\nW : n n\na[0] = x\nfor l in 1..L:\n    z[l,i] = sum(j, W[l][i,j] * a[l-1][j])\n    a[l] = tanh(z[l])"


def test_what_would_fit_is_said() -> None:
    """A row and entries in a loop are refused with what can be asked instead."""
    with pytest.raises(SymgradError) as row:
        derive("sum(i, softplus(A[i] @ x))", "x", shapes="A: m n, x: n")
    assert row.value.hint and row.value.hint.startswith("write A[i,:] for the row i, A[:,j] for the column j")
    with pytest.raises(SymgradError) as entries:
        read_model(LOOP)
    assert entries.value.hint and "z[l] = .." in entries.value.hint


DIFFERENTIALS = (
    # f, definitions, shapes, wrt, the differential
    ("sum(i, j, k, T[i,j,k]**2)", (), "T: m n p", "T", "df = 2 * sum(i, j, k, T[i, j, k] * dT[i, j, k])"),
    (
        "sum(o, i, j, G[o,i,j] * Y[o,i,j])",
        (SLIDING,),
        "W: n m k l, X: m h w, G: n h-k+1 w-l+1",
        "W",
        "df = sum(o, c, a, b, sum(i, j, G[o, i, j] * X[c, a+i, b+j]) * dW[o, c, a, b])",
    ),
    (
        "O",
        (
            "S[h,i,j] = sum(d, Q[h,i,d] * K[h,j,d])",
            "P[h,i,j] = exp(S[h,i,j]) / sum(l, exp(S[h,i,l]))",
            "O[h,i,e] = sum(j, P[h,i,j] * V[h,j,e])",
        ),
        "Q: r m q, K: r n q, V: r n v",
        "K",
        "dO[h,i,e] = sum(j, (sum(d, Q[h, i, d] * dK[h, j, d]) - "
        "sum(k, sum(d, Q[h, i, d] * dK[h, k, d]) * P[h, i, k])) * P[h, i, j] * V[h, j, e])",
    ),
    (
        "z",
        ("z[i] = sum(j, k, T[i,j,k] * x[j] * x[k])",),
        "T: m n n, x: n",
        "x",
        "dz[i] = sum(j, k, (dx[j] * x[k] + dx[k] * x[j]) * T[i, j, k])",
    ),
    # where there is a matrix form, that is the answer
    ("Z", ("Z[i,k] = sum(j, A[i,j] * B[j,k])",), "A: n m, B: m p", "A", "dA @ B"),
    ("sum(i, log(sum(j, exp(X[i,j]))))", (), "X: m n", "X", "sum(softmax(X, axis=1) * dX)"),
)


@pytest.mark.parametrize(("f", "given", "shapes", "wrt", "answer"), DIFFERENTIALS)
def test_differentials_of_models_by_entries(
    f: str, given: tuple[str, ...], shapes: str, wrt: str, answer: str
) -> None:
    derivation = derive(f, wrt, given=given, shapes=shapes, kind="differential")
    assert (answer_index(derivation) or derivation.to_numpy()) == answer
    assert derivation.evidence.level == "proved"
    assert all(s.evidence.level in PASSED for s in derivation.steps)


def test_a_wrong_differential_by_entries_is_found() -> None:
    """Planted mistakes: a factor, an index, a sign."""
    given, shapes = ["T[i,j,k] = sum(r, A[i,r] * B[j,r] * C[k,r])"], "A: m q, B: n q, C: p q"
    right = derive("T", "A", given=given, shapes=shapes, kind="differential")
    for wrong in ("2 * B[j,r] * C[k,r] * dA[i,r]", "B[j,r] * C[k,r] * A[i,r]", "-B[j,r] * C[k,r] * dA[i,r]"):
        model, _ = read_question(
            "D", definitions=[f"D[i,j,k] = sum(r, {wrong})"], shapes=f"{shapes}, dA: m q"
        )
        body = next(model.definitions()).value
        assert right.indices is not None
        planted = replace(
            right.indices, entry=body.body, indices=tuple(zip(body.indices, body.sizes, strict=True))
        )
        with pytest.raises(CheckError):
            check_in_indices(replace(right, indices=planted), right.steps)


def test_a_whole_range_counted_from_one_is_the_whole_axis() -> None:
    """From zero the range would leave the array, so there is one way to read it."""
    for text in (
        "sum(j, A[i,j] * B[j,k])",
        "sum(j in 0..n-1, A[i,j] * B[j,k])",
        "sum(j in 1..n, A[i,j] * B[j,k])",
    ):
        model = read_model(f"A : m n\nB : n p\nZ[i,k] = {text}")
        (definition,) = model.definitions()
        assert str(definition.value.body) == "Sum(A[i, j]*B[j, k], (j, 0, n - 1))"


def test_letters_that_are_sizes_are_read_as_letters() -> None:
    """X: c h w and sum(c, ..): the letter gets another name, its range is the size."""
    model = read_model("X : c h w\nz[i,j] = sum(c, X[c,i,j])")
    (definition,) = model.definitions()
    (limits,) = definition.value.body.limits
    assert str(limits[2]) == "c - 1"
    assert str(limits[0]) != "c"


def test_a_wrong_entry_is_found() -> None:
    """A lost shift, a swapped index, a wrong border: the array does not agree with the differences."""
    shapes = "W: w, X: n, G: n-w+1"
    f = "sum(i, G[i] * sum(k, W[k] * X[i+k]))"
    for wrong in (
        "D[p] = sum(k in max(0,p+w-n)..min(p,w-1), G[p-k] * W[w-1-k])",
        "D[p] = sum(k in max(1,p+w-n)..min(p,w-1), G[p-k] * W[k])",
        "D[p] = 2 * sum(k in max(0,p+w-n)..min(p,w-1), G[p-k] * W[k])",
    ):
        model, target = read_question(f, definitions=[wrong], shapes=f"{shapes}, D: n")
        (d,) = model.definitions()
        with pytest.raises(CheckError):
            check_gradient(model, target, model.symbol("X"), d.value)
    swapped = ("Z[i,k] = sum(j, A[i,j] * B[j,k])", "J[i,k,q,r] = delta(k,q) * B[r,i]")
    model, target = read_question("Z", definitions=swapped, shapes="A: n n, B: n n, J: n n n n")
    wrong_array = next(d.value for d in model.definitions() if d.name == "J")
    with pytest.raises(CheckError):
        check_array(model, target, model.symbol("A"), wrong_array)


def test_sums_over_entries_have_numpys_value() -> None:
    """einsum and a loop over shifts."""
    rng = np.random.default_rng(0)
    model, f = read_question("Y", definitions=CONVOLUTION, shapes="W: n m k l, X: m h w, d: n")
    sizes = dict(zip("nmklhw", (3, 4, 5, 6, 8, 7), strict=True))
    at = {
        s: sizes[str(s)] for s in f.shape[0].free_symbols | f.shape[1].free_symbols | f.shape[2].free_symbols
    }
    at |= {sympy.Symbol(s, integer=True, positive=True): n for s, n in sizes.items()}
    w, x, d = rng.normal(size=(3, 4, 5, 6)), rng.normal(size=(4, 8, 7)), rng.normal(size=(3, 1))
    (definition,) = model.definitions()
    value = concrete(definition.value, at)
    leaves = {
        str(n.name): n for n in sympy.preorder_traversal(value) if hasattr(n, "shape") and hasattr(n, "name")
    }
    got = Evaluator()(value, {leaves["W"]: w, leaves["X"]: x, leaves["d"]: d})
    wanted = np.zeros((3, 4, 2)) + d[:, :, None]
    for a in range(5):
        for b in range(6):
            wanted += np.einsum("oc,cij->oij", w[:, :, a, b], x[:, a : a + 4, b : b + 2])
    assert np.allclose(got, wanted)


MORE = (
    # f, definitions, shapes, assumptions, wrt, the answer in the text language
    (
        "sum(i, G[i] * Y[i])",
        ("Y[i] = sum(k, W[k] * X[2*i+k])",),
        "W: w, X: n",
        "",
        "X",
        "sum(i in max(0,ceil((p-w+1)/2))..min(floor((p)/2),floor((n-w)/2)), G[i] * W[p-2*i])",
    ),
    ("sum(i, max(0, x[i])**2)", (), "x: n", "", "x", "2 * relu(x)"),
    ("sum(i, max(j, A[i,j]))", (), "A: n m", "", "A", "1 - (max(l, A[i, l]) > A[i, j])"),
    ("sum(K * T) + norm(K)**2", (), "K: n m l, T: n m l", "", "K", "2 * K[i, j, k] + T[i, j, k]"),
    ("sum(i, j, k, T[i,j,k] * x[i])", (), "", "", "x", "sum(j, k, T[i, j, k])"),
    (
        "sum(i, j, T[i,j] * sum(a, b, c, S[a,b,c] * A[i,a] * B[j,b] * u[c]))",
        (),
        "T: m n, S: p q r, A: m p, B: n q, u: r",
        "",
        "S",
        "u[c] * sum(i, j, A[i, a] * B[j, b] * T[i, j])",
    ),
    ("sum(b, i, j, x[b,i] * A[i,j] * y[b,j])", (), "x: t m, A: m n, y: t n", "", "A", "x.T @ y"),
    (
        "sum(i in 1..n-1, (x[i] - x[i-1])**2)",
        (),
        "x: n",
        "",
        "x",
        "2 * (x[i] - x[i-1]) * inrange(i-1, n-1) - 2 * (x[i+1] - x[i]) * inrange(i, n-1)",
    ),
    (
        "sum(n, c, G[n,c] * Y[n,c])",
        (
            "mu[c] = sum(n, X[n,c]) / b",
            "s[c] = sum(n, (X[n,c] - mu[c])**2) / b",
            "Y[n,c] = gamma[c] * (X[n,c] - mu[c]) / sqrt(s[c] + eps) + beta[c]",
        ),
        "X: b d, gamma: d, beta: d, G: b d, eps:",
        "eps: positive",
        "beta",
        "sum(G, axis=0)",
    ),
)


@pytest.mark.parametrize(("f", "given", "shapes", "assume", "wrt", "answer"), MORE, ids=lambda v: str(v)[:30])
def test_strides_extrema_and_statistics(
    f: str, given: tuple[str, ...], shapes: str, assume: str, wrt: str, answer: str
) -> None:
    derivation = derive(f, wrt, given=given, shapes=shapes, assume=assume or None)
    assert derivation.to_numpy() == answer
    assert derivation.evidence.level == ("verified" if "max(j" in f else "proved")


def test_a_part_that_stands_in_two_definitions_gets_no_step_of_its_own() -> None:
    """X - mu in the variance and in the normalised value: its gradient would not say which one is meant."""
    given = ("mu = sum(X, axis=0) / b", "s = sum((X - mu)**2, axis=0) / b", "Y = (X - mu) / sqrt(s + eps)")
    derivation = derive("sum(G * Y)", "X", given=given, shapes="X: b d, G: b d, eps:", assume="eps: positive")
    assert derivation.evidence.level in PASSED


CODE = (
    (
        "sum(h, i, e, G[h,i,e] * O[h,i,e])",
        ATTENTION,
        "Q: r m q, K: r n q, V: r n v, G: r m v",
        "Q",
        "gradient",
    ),
    ("sum(i, j, k, T[i,j,k] * x[i] * y[j])", (), "T: l m n, x: l, y: m", "T", "gradient"),
    ("A @ X @ B", (), "A: m n, X: n p, B: p q", "X", "jacobian"),
    ("norm(X @ W - Y)**2", (), "X: n p, W: p q, Y: n q", "W", "hessian"),
    (
        "sum(i, j, k, (T[i,j,k] - sum(r, A[i,r] * B[j,r] * C[k,r]))**2)",
        (),
        "T: l m n, A: l q, B: m q, C: n q",
        "B",
        "gradient",
    ),
)


@pytest.mark.parametrize(("f", "given", "shapes", "wrt", "kind"), CODE)
def test_answers_in_index_notation_have_einsum_code(
    f: str, given: tuple[str, ...], shapes: str, wrt: str, kind: str
) -> None:
    """The generated function has the values of the entries; JAX and PyTorch differ in the name of the module only."""
    derivation = derive(f, wrt, given=given, shapes=shapes, kind=kind, check=False)  # type: ignore[arg-type]
    derivation = derivation.entrywise or derivation
    assert derivation.indices is not None
    array = derivation.indices.array
    assert array is not None
    names = sorted({s for n in array.shape for s in n.free_symbols} | _sizes_of(derivation), key=str)
    sizes = dict(zip(names, (3, 4, 5, 6, 7, 8), strict=False))
    point = _point(derivation, sizes)
    code = derivation.to_code("numpy")
    namespace: dict[str, object] = {}
    exec(compile(code, "<generated>", "exec"), namespace)  # noqa: S102 - what is tested
    function = next(v for k, v in namespace.items() if k.startswith(kind))
    assert callable(function)
    arguments = {
        name: np.squeeze(value, -1) if value.shape[-1] == 1 else value for name, value in point.items()
    }
    wanted = inspect.signature(function).parameters
    got = function(**{k: v for k, v in arguments.items() if k in wanted})
    assert np.allclose(got, _value(derivation, array, sizes, point))
    assert derivation.to_code("torch") == code.replace("import numpy as np", "import torch").replace(
        "np.", "torch."
    )


def _sizes_of(derivation: Derivation) -> set[Expr]:
    leaves_in = [*derivation.model.inputs(), *leaves(derivation.of)]
    return {s for e in leaves_in for n in shape_of(e) for s in n.free_symbols}


def _point(derivation: Derivation, sizes: dict[Expr, int]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(4)
    inputs = dict.fromkeys([*derivation.model.inputs(), *leaves(derivation.of)])
    defined = {d.symbol for d in derivation.model.definitions()}
    return {
        leaf_name(e): rng.normal(size=tuple(int(n.subs(sizes)) for n in e.shape))
        for e in inputs
        if shape_of(e) and e not in defined
    }


def _value(
    derivation: Derivation, array: Expr, sizes: dict[Expr, int], point: dict[str, np.ndarray]
) -> np.ndarray:
    """The array by the evaluator of the checks."""
    values: dict[Expr, float | np.ndarray] = {}
    inputs = [*derivation.model.inputs(), *leaves(derivation.of)]
    for e in inputs:
        if shape_of(e) and leaf_name(e) in point:
            values[concrete(e, sizes)] = point[leaf_name(e)]
    for d in derivation.model.definitions():
        values[concrete(d.symbol, sizes)] = Evaluator()(concrete(d.value, sizes), values)
    return np.asarray(Evaluator()(concrete(array, sizes), values))


LAYER = ("Y[o,i,j] = sum(c, a, b, W[o,c,a,b] * X[c,i+a,j+b])",)
LAYERS = "W: n m k l, X: m h w, G: n h-k+1 w-l+1"
STRIDED = ("Y[i,o] = sum(a, c, W[a,c,o] * X[2*i+a+1,c])",)
SHIFTED = (
    # f, definitions, shapes, wrt, the sizes
    ("sum(o, i, j, G[o,i,j] * Y[o,i,j])", LAYER, LAYERS, "W", "h8 k3 l4 m5 n2 w7"),
    ("sum(o, i, j, G[o,i,j] * Y[o,i,j])", LAYER, LAYERS, "X", "h8 k3 l4 m5 n2 w7"),
    ("sum(i, o, Y[i,o]**2)", STRIDED, "W: 3 m n, X: 9 m, Y: 3 n", "W", "m4 n5"),
    ("sum(i in 0..n-2, D[i] * (X[i+1] - X[i])**3)", (), "X: n, D: n-1", "D", "n6"),
    ("sum(i, k, T[i,k] * X[i+k])", (), "X: n, T: n-w+1 w", "T", "n7 w3"),
)


@pytest.mark.parametrize("form", ["numpy", "jax", "torch"])
@pytest.mark.parametrize(("f", "given", "shapes", "wrt", "numbers"), SHIFTED)
def test_shifted_indices_are_slices_and_windows(
    f: str, given: tuple[str, ...], shapes: str, wrt: str, numbers: str, form: str
) -> None:
    derivation = derive(f, wrt, given=given, shapes=shapes, check=False)
    derivation = derivation.entrywise or derivation
    array = None if derivation.indices is None else derivation.indices.array
    assert array is not None
    sizes = {sympy.Symbol(w[0], integer=True, positive=True): int(w[1:]) for w in numbers.split()}
    point = _point(derivation, sizes)
    make = pytest.importorskip("torch").as_tensor if form == "torch" else np.asarray
    arguments = {
        name: make(np.squeeze(value, -1) if value.shape[-1] == 1 else value) for name, value in point.items()
    }
    namespace: dict[str, object] = {}
    exec(compile(derivation.to_code(form), "<generated>", "exec"), namespace)  # noqa: S102 - what is tested
    function = next(v for k, v in namespace.items() if k.startswith("gradient"))
    assert callable(function)
    wanted = inspect.signature(function).parameters
    got = np.asarray(function(**{k: v for k, v in arguments.items() if k in wanted}))
    expected = _value(derivation, array, sizes, point)
    assert got.shape == np.shape(expected) or got.size == np.size(expected)
    assert np.allclose(got.reshape(np.shape(expected)), expected, rtol=1e-4, atol=1e-5)


def test_what_has_no_window_has_no_einsum() -> None:
    derivation = derive(
        "Y", "X", given=["Y[i] = sum(k, W[k] * X[i+k])"], shapes="W: w, X: n", kind="jacobian", check=False
    )
    with pytest.raises(UnsupportedError, match="shift"):
        derivation.to_code("numpy")
