"""Rows, columns and windows in the text language: what they mean, what is derived, what is refused."""

from __future__ import annotations

import pytest

from symgrad import derive
from symgrad.errors import SymgradError
from symgrad.expr import Entries, TensorEntries, same_but_for_letters, walk
from symgrad.reading import read_question
from symgrad.rendering import to_numpy
from symgrad.rendering.letters import answer_index

SAME = (
    # a formula with rows, columns or windows; the same with letters; the shapes
    ("sum(i, log(sum(exp(A[i,:]))))", "sum(i, log(sum(j, exp(A[i,j]))))", "A: m n"),
    ("sum(i, logsumexp(A[i,:]))", "sum(i, log(sum(j, exp(A[i,j]))))", "A: m n"),
    ("sum(i, norm(A[i,:])**2)", "sum(i, sum(j, A[i,j]**2))", "A: m n"),
    ("sum(i, softplus(A[i,:] @ x))", "sum(i, softplus(sum(j, A[i,j] * x[j])))", "A: m n, x: n"),
    ("sum(j, norm(A[:,j] - c))", "sum(j, sqrt(sum(i, (A[i,j] - c[i])**2)))", "A: m n, c: m"),
    ("sum(i, mean(x[i:i+3])**2)", "sum(i, (sum(k in 0..2, x[i+k]) / 3)**2)", "x: n"),
    ("sum(i, max(A[i,:]))", "sum(i, max(j, A[i,j]))", "A: m n"),
    (
        "sum(k, y[k] * (a @ W[k,:,:] @ b))",
        "sum(k, y[k] * sum(i, sum(j, W[k,i,j] * a[i] * b[j])))",
        "W: c m n, a: m, b: n, y: c",
    ),
    ("sum(k, tr(W[k,:,:]))", "sum(k, sum(i, W[k,i,i]))", "W: c n n"),
    (
        "sum(i, sum(A[i,:] * softmax(A[i,:])))",
        "sum(i, sum(j, A[i,j] * exp(A[i,j]) / sum(l, exp(A[i,l]))))",
        "A: m n",
    ),
)


@pytest.mark.parametrize(("f", "letters", "shapes"), SAME)
def test_a_part_is_the_array_of_its_entries(f: str, letters: str, shapes: str) -> None:
    """What is read is written with letters, so that everything after reading knows only these."""
    _, read = read_question(f, shapes=shapes)
    _, meant = read_question(letters, shapes=shapes)
    _, again = read_question(to_numpy(read), shapes=shapes)
    assert same_but_for_letters(read, meant)
    assert same_but_for_letters(read, again)


GRADIENTS = (
    # f, definitions, shapes, wrt, the gradient
    ("sum(i, log(sum(exp(A[i,:]))))", (), "A: m n", "A", "softmax(A, axis=1)"),
    ("sum(i, softplus(A[i,:] @ x))", (), "A: m n, x: n", "x", "A.T @ sigmoid(A @ x)"),
    (
        "sum(G * O)",
        ("S = Q @ K.T", "O[i,:] = softmax(S[i,:]) @ V"),
        "Q: m d, K: n d, V: n e, G: m e",
        "V",
        "softmax(S, axis=1).T @ G",
    ),
    ("sum(G * Z)", ("Z[:,j] = W @ X[:,j]",), "W: m n, X: n p, G: m p", "W", "G @ X.T"),
    ("x @ A[0,:]", (), "A: m n, x: n", "A", "df_dA[p,q] = delta(0, p) * x[q]"),
    (
        "norm(x[1:] - x[:-1])**2",
        (),
        "x: n",
        "x",
        "df_dx[i] = 2 * (x[i] - x[i-1]) * inrange(i-1, n-1) - 2 * (x[i+1] - x[i]) * inrange(i, n-1)",
    ),
    ("norm(x[:p])**2", (), "x: n", "x", "df_dx[i] = 2 * inrange(i, p) * x[i]"),
    ("sum(k in 0..n-2, x[k]**2)", (), "x: n", "x", "df_dx[k] = 2 * inrange(k, n-1) * x[k]"),
    ("sum(k, tr(W[k,:,:] @ B))", (), "W: c m n, B: n m", "B", "df_dB[r,l] = sum(k, W[k, l, r])"),
    (
        "sum(i, j, S[i,j] * (R[i,j] - U[i,:] @ V[j,:] - b[i] - c[j])**2)",
        (),
        "R: m n, S: m n, U: m k, V: n k, b: m, c: n",
        "U",
        "-2 * (S * (R - outer(b, ones(n)) - c - U @ V.T)) @ V",
    ),
)


@pytest.mark.parametrize(("f", "given", "shapes", "wrt", "answer"), GRADIENTS)
def test_gradients_of_rows_columns_and_windows(
    f: str, given: tuple[str, ...], shapes: str, wrt: str, answer: str
) -> None:
    derivation = derive(f, wrt, given=given, shapes=shapes)
    assert (answer_index(derivation) if derivation.in_indices else derivation.to_numpy()) == answer
    assert derivation.evidence.level in ("proved", "agrees")


REFUSED = (
    # definitions, f, shapes, what is said, the column, what would fit
    ((), "sum(i, norm(A[i]))", "A: m n", "one index for a m x n", 13, "A[i,:] for the row i"),
    ((), "sum(i, norm(W[i]))", "W: c m n", "one index for a c x m x n", 13, "W[i,:,:]"),
    ((), "sum(x[n:])", "x: n", "the slice is empty", 7, None),
    ((), "sum(x[-9:2])", "x: 4", "outside 0..3", 7, None),
    ((), "sum(i, norm(x[:i])**2)", "x: n", "the length of a slice may not change", 15, "sum with bounds"),
    (
        (),
        "sum(k, logdet(W[k,:,:]))",
        "W: c n n",
        "logdet of an array that changes with an index",
        1,
        "as a whole",
    ),
    (
        ("O[i,:] = A[i,0]",),
        "sum(O)",
        "A: m n",
        "O has 1 axes written `:`; the formula is a number",
        10,
        "indices",
    ),
    (
        ("O[i,j] = A[i,:]",),
        "sum(O)",
        "A: m n",
        "an entry of O is a number; the formula is a n",
        10,
        "indices",
    ),
    ((), "norm(A[:,:,0])", "A: m n", "3 indices for a m x n", 6, "every axis has its place"),
)


@pytest.mark.parametrize(("given", "f", "shapes", "says", "column", "hint"), REFUSED)
def test_what_is_refused_says_where_and_what_would_fit(
    given: tuple[str, ...], f: str, shapes: str, says: str, column: int, hint: str | None
) -> None:
    with pytest.raises(SymgradError, match=says) as caught:
        read_question(f, definitions=given, shapes=shapes)
    assert caught.value.column == column
    assert hint is None or hint in (caught.value.hint or "")


def test_a_part_outside_sums_keeps_its_name() -> None:
    """Without a letter the part is an array given by its entries."""
    _, row = read_question("A[0,:]", shapes="A: m n")
    assert isinstance(row, Entries) and row.shape == row.sizes
    _, table = read_question("T[1,:,:]", shapes="T: l m n")
    assert isinstance(table, Entries)
    _, block = read_question("T[1:,:,:]", shapes="T: l m n")
    assert isinstance(block, TensorEntries)
    _, whole = read_question("A[:,:]", shapes="A: m n")
    assert not any(isinstance(n, Entries) for n in walk(whole))
