"""Textbook form: each rewrite, and the properties of all of them together."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy import Expr

from symgrad.checking.numeric import check_equation
from symgrad.expr import Model, add, is_matrix, substitute, vector
from symgrad.reading import read_question
from symgrad.rendering import to_numpy
from symgrad.simplifying import REWRITES, Simplifier, operations

SHAPES = (
    "A: n n, B: n n, S: n n, Q: n n, X: m n, Y: m n, W: n k, P: m n, x: n, y: n, u: m, p: n, t: n, "
    "s:, c:, k2:, v: n, D: n n, g: n"
)
ASSUME = (
    "S: symmetric, Q: orthogonal, A: invertible, B: invertible, p: prob, t: onehot, P: prob_rows, "
    "k2: positive_integer, g: pm1"
)

CASES = [
    ("S.T @ x", "S @ x"),
    ("A + A", "2 * A"),
    ("inv(A) @ A @ x", "x"),
    ("A.T @ inv(A).T @ x", "x"),
    ("Q.T @ Q @ x", "x"),
    ("X.T @ X.T.T", "X.T @ X"),
    ("W.T @ A.T @ x", "(A @ W).T @ x"),
    ("X @ B + X @ B.T", "X @ (B + B.T)"),
    ("2 * A @ x + 2 * B @ x", "2 * (A + B) @ x"),
    ("diag(v) @ x", "v * x"),
    ("ones(m) @ X @ ones(n)", "sum(X)"),
    ("ones(n) @ x", "sum(x)"),
    ("outer(ones(m), ones(n))", "ones(m, n)"),
    ("P @ ones(n)", "ones(m)"),
    ("sum(p)", "1"),
    ("sum(t)", "1"),
    ("sum(P)", "m"),
    ("sum(softmax(x))", "1"),
    ("p * (-t / p + ones(n))", "p - t"),
    ("v * (x / v)", "x"),
    ("x * (1 - x) * (y / x)", "(1 - x) * y"),
    ("p @ (t / p)", "1"),
    ("log(1 + exp(x))", "softplus(x)"),
    ("matrix_power(A, k2) @ matrix_power(A, 2) @ x", "matrix_power(A, k2 + 2) @ x"),
    ("diag(v) @ (eye(n) - outer(ones(n), x))", "diag(v) - outer(v, x)"),
    ("x * y + y * x", "2 * x * y"),
    ("(x @ y) * v + (y @ x) * v", "2 * (x @ y) * v"),
    ("det(A @ B) * A.T @ inv(A @ B).T", "det(A @ B) * inv(B).T"),
    ("c * A + B + c * A.T", "c * (A + A.T) + B"),
    ("diag(outer(x, y))", "x * y"),
    ("sum(i in 0..k2-1, A)", "k2 * A"),
    ("g * tanh(g * x)", "tanh(x)"),
    ("cosh(g * x) * y", "y * cosh(x)"),
    ("sigmoid(g * x) * sigmoid(-g * x)", "sigmoid(x) * (1 - sigmoid(x))"),
    ("sum(X * outer(ones(m), x), axis=1)", "X @ x"),
    ("diag(outer(A @ x, A @ x))", "(A @ x)**2"),
    ("(A @ B.T).T * eye(n)", "(A @ B.T) * eye(n)"),
]


def read(text: str) -> tuple[Model, Expr]:
    return read_question(text, shapes=SHAPES, assume=ASSUME)


@pytest.mark.parametrize(("before", "after"), CASES)
def test_textbook_forms(before: str, after: str) -> None:
    model, e = read(before)
    simplified = Simplifier(model.assumptions)(e)
    wanted = read(after)[1]
    assert simplified == wanted or sorted(map(str, simplified.args)) == sorted(map(str, wanted.args)), (
        to_numpy(simplified)
    )
    assert check_equation(model, (e, simplified)).level in ("agrees", "none")


@pytest.mark.parametrize(
    "text",
    [
        "A.T @ x",
        "A @ inv(B) @ x",
        "x * x",
        "X.T @ X",
        "A @ B + B @ A",
        "sum(x)",
        "(A + B) @ x",
        "Q @ x",
        "X @ ones(n)",
        "W @ W.T",
    ],
)
def test_what_is_not_true_is_not_rewritten(text: str) -> None:
    model, e = read(text)
    simplified = Simplifier(model.assumptions)(e)
    assert operations(simplified) == operations(e)
    assert check_equation(model, (e, simplified)).level == "agrees"


def test_an_assumption_that_mattered_is_remembered() -> None:
    model, e = read("S.T @ x + p")
    tidy = Simplifier(model.assumptions)
    tidy(e)
    assert tidy.properties.used == {("S", "symmetric")}


def test_every_rewrite_has_a_name_and_says_what_it_does() -> None:
    for name, entry in REWRITES.items():
        assert entry.name == name
        assert (entry.apply.__doc__ or "").strip().endswith(".")


def test_what_is_known_of_a_definition_is_known_of_its_name() -> None:
    model, e = read_question(
        "inv(C).T @ x", definitions=["C = X @ X.T + s * eye(n)"], shapes="X: n k, x: n, s:, C: n n"
    )
    symmetric = Simplifier.for_question(model, e)
    assert to_numpy(symmetric(e)) == "inv(C) @ x"
    assert symmetric.properties.used == set()
    assert Simplifier.for_question(model, e, free=model.symbol("C"))(e) == e


def test_the_assumptions_that_a_definition_rests_on_are_remembered() -> None:
    model, e = read_question(
        "C.T @ x", definitions=["C = X @ S @ X.T"], shapes="X: n k, S: k k, x: n", assume="S: symmetric"
    )
    tidy = Simplifier.for_question(model, e)
    assert tidy.properties.used == set()
    assert to_numpy(tidy(e)) == "C @ x"
    assert tidy.properties.used == {("S", "symmetric")}


ATOMS = [
    "A",
    "B",
    "S",
    "Q",
    "A.T",
    "inv(A)",
    "diag(v)",
    "outer(x, y)",
    "X.T @ X",
    "(A + B)",
    "2 * A",
    "eye(n)",
]
VECTORS = ["x", "y", "v", "ones(n)", "p", "tanh(x)", "x * y", "x / p", "(1 - x)", "softmax(y)"]


@st.composite
def expressions(draw: st.DrawFn) -> str:
    terms = []
    for _ in range(draw(st.integers(1, 3))):
        factors = draw(st.lists(st.sampled_from(ATOMS), max_size=3))
        sign = draw(st.sampled_from(["", "-", "3 * ", "c * "]))
        terms.append(sign + " @ ".join([f"({f})" for f in factors] + [f"({draw(st.sampled_from(VECTORS))})"]))
    return " + ".join(terms)


@settings(max_examples=60, deadline=None)
@given(expressions())
def test_simplifying_keeps_the_value_is_idempotent_and_never_lengthens(text: str) -> None:
    model, e = read(text)
    tidy = Simplifier(model.assumptions)
    once = tidy.shortest(e)
    assert check_equation(model, (e, once), count=1).level == "agrees"
    assert Simplifier(model.assumptions)(tidy(e)) == tidy(e)
    assert operations(once) <= operations(e)


@settings(max_examples=25, deadline=None)
@given(expressions(), st.integers(0, 100))
def test_shuffled_terms_end_equally_long(text: str, seed: int) -> None:
    model, e = read(text)
    if not is_matrix(e) or not e.is_Add:
        return
    terms = list(e.args)
    random.Random(seed).shuffle(terms)
    one, other = (Simplifier(model.assumptions).shortest(t) for t in (e, add(*terms)))
    assert operations(one) == operations(other)


@settings(max_examples=25, deadline=None)
@given(expressions())
def test_renamed_vectors_end_equally_long(text: str) -> None:
    model, e = read(text)
    renamed = substitute(e, {vector("x", "n"): vector("zz", "n"), vector("v", "n"): vector("a", "n")})
    one, other = (Simplifier(model.assumptions).shortest(t) for t in (e, renamed))
    assert operations(one) == operations(other)
