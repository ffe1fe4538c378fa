"""The checkers: what is true is proved, what is false never is, and differences find what is wrong."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy import Expr, Symbol

from symgrad.checking.finite_field import FieldTest
from symgrad.checking.normal_form import Prover
from symgrad.checking.numeric import check_equation, check_gradient
from symgrad.errors import CheckError, SymgradError
from symgrad.expr import (
    Family,
    MatrixSum,
    Model,
    OrderedProduct,
    add,
    eye,
    gradient,
    matmul,
    matpower,
    negate,
    size,
    transpose,
    vector,
)
from symgrad.reading import read_model, read_question

SHAPES = (
    "A: n n, B: n n, S: n n, Q: n n, X: m n, Y: m n, Z: m n, W: n k, "
    "x: n, y: n, u: m, p: n, t: n, P: m n, b: n, s:, c:, k2:"
)
ASSUME = "S: symmetric, Q: orthogonal, A: invertible, p: prob, t: binary, P: prob_rows, s: positive, k2: positive_integer"


def read(text: str) -> tuple[Model, Expr]:
    return read_question(text, shapes=SHAPES, assume=ASSUME, functions=["f", "g"])


TRUE = [
    ("tr(A @ B)", "tr(B @ A)"),
    ("tr(A @ B)", "sum(A * B.T)"),
    ("tr(X.T @ Y)", "sum(X * Y)"),
    ("(A @ B).T", "B.T @ A.T"),
    ("x @ A @ y", "y @ A.T @ x"),
    ("x @ S @ y", "y @ S @ x"),
    ("S.T", "S"),
    ("(A + B) @ (A - B)", "A @ A - A @ B + B @ A - B @ B"),
    ("norm(x - y)**2", "x @ x - 2 * x @ y + y @ y"),
    ("norm(X)**2", "tr(X.T @ X)"),
    ("norm(X)**2", "tr(X @ X.T)"),
    ("diag(x) @ y", "x * y"),
    ("diag(x) @ A @ diag(y)", "A * outer(x, y)"),
    ("diag(outer(x, y))", "x * y"),
    ("sum(X)", "ones(m) @ X @ ones(n)"),
    ("sum(X, axis=1)", "X @ ones(n)"),
    ("tr(eye(n))", "n"),
    ("outer(x, y) @ b", "(y @ b) * x"),
    ("inv(A) @ A @ x", "x"),
    ("A @ inv(A)", "eye(n)"),
    ("A.T @ inv(A).T", "eye(n)"),
    ("Q.T @ Q", "eye(n)"),
    ("Q @ Q.T @ x", "x"),
    ("sum(p)", "1"),
    ("P @ ones(n)", "ones(m)"),
    ("t * t", "t"),
    ("exp(x + y)", "exp(x) * exp(y)"),
    ("exp(x) * exp(-x)", "ones(n)"),
    ("sigmoid(x) + sigmoid(-x)", "ones(n)"),
    ("1 - sigmoid(x)", "sigmoid(-x)"),
    ("sigmoid(x) * (1 - sigmoid(x))", "sigmoid(x) - sigmoid(x)**2"),
    ("exp(x) / (1 + exp(x))", "sigmoid(x)"),
    ("1 / (1 + exp(-x))", "sigmoid(x)"),
    ("tanh(x)", "2 * sigmoid(2 * x) - 1"),
    ("tanh(-x)", "-tanh(x)"),
    ("1 - tanh(x)**2", "4 * exp(2 * x) / (exp(2 * x) + 1)**2"),
    ("sum(softmax(x))", "1"),
    ("softmax(x)", "exp(x) / sum(exp(x))"),
    ("log_softmax(x)", "x - logsumexp(x)"),
    ("softmax(x + s)", "softmax(x)"),
    ("softmax(X, axis=1) @ ones(n)", "ones(m)"),
    ("log(1 + exp(x))", "softplus(x)"),
    ("relu(x)", "x * (x > 0)"),
    ("(x > 0) * (x > 0)", "x > 0"),
    ("abs(x) * abs(x)", "x * x"),
    ("cosh(x)**2 - sinh(x)**2", "ones(n)"),
    ("sin(x)**2 + cos(x)**2", "ones(n)"),
    ("f(x) * y", "y * f(x)"),
    ("f(x + y)", "f(y + x)"),
    ("A @ f(x)", "A @ f(1 * x)"),
    ("matrix_power(A, k2) @ A", "matrix_power(A, k2 + 1)"),
    ("A @ matrix_power(A, k2)", "matrix_power(A, k2 + 1)"),
    ("matrix_power(A, k2).T", "matrix_power(A.T, k2)"),
    ("matrix_power(A, 3)", "A @ A @ A"),
    ("x / norm(x)**2 * (x @ x)", "x"),
    ("(x @ y) / s + (x @ x) / s", "(x @ (x + y)) / s"),
    ("s / (s + c) + c / (s + c)", "1"),
    ("sqrt(s) * sqrt(s)", "s"),
    ("sqrt(8) / sqrt(2)", "2"),
    ("sum(i in 0..k2, A)", "sum(i in 0..k2-1, A) + A"),
    ("prod(i in 1..3, A)", "A @ A @ A"),
]


@pytest.mark.parametrize(("a", "b"), TRUE)
def test_what_is_true_is_proved(a: str, b: str) -> None:
    model, left = read(a)
    right = read(b)[1]
    assert Prover(model).equal(left, right) is True
    exact = FieldTest(model).equal(left, right)
    assert exact is not None
    assert exact.level == "verified"
    assert exact.error_bound is not None
    assert exact.error_bound < 1e-9
    assert check_equation(model, (left, right)).level in ("agrees", "none")


FALSE = [
    ("sum((A + A.T)**2)", "sum((2*A)**2)"),  # two indices that are summed outside of the power are not one
    ("sum((A + A.T)**3 * B)", "8*sum(A**3 * B)"),
    ("tr(A @ B)", "tr(A @ B.T)"),
    ("A @ B", "B @ A"),
    ("A", "A.T"),
    ("x @ A @ y", "y @ A @ x"),
    ("inv(A)", "inv(A).T"),
    ("inv(A) @ B @ A", "B"),
    ("Q @ Q", "eye(n)"),
    ("(A + B) @ (A - B)", "A @ A - B @ B"),
    ("norm(x - y)**2", "x @ x + y @ y"),
    ("x * x", "x"),
    ("sum(x)", "1"),
    ("P.T @ ones(m)", "ones(n)"),
    ("(1 - x)**2", "1 - x**2"),
    ("sigmoid(x)", "sigmoid(-x)"),
    ("sigmoid(x)**2", "sigmoid(x)"),
    ("tanh(x)", "2 * sigmoid(x) - 1"),
    ("exp(x * y)", "exp(x) * exp(y)"),
    ("exp(x) + exp(y)", "exp(x + y)"),
    ("softmax(x + y)", "softmax(x)"),
    ("softmax(X, axis=0)", "softmax(X, axis=1)"),
    ("softmax(X, axis=0) @ ones(n)", "ones(m)"),
    ("log(s + s**2)", "log(s) + log(s**2)"),
    ("A @ inv(A)", "A"),
    ("A.T @ inv(A)", "eye(n)"),
    ("inv(A) @ inv(A)", "eye(n)"),
    ("A @ inv(A) @ B", "A @ B"),
    ("inv(A @ B)", "inv(A) @ inv(B)"),
    ("zeros(n)", "zeros(n, n)"),
    ("tr(Q)**2", "tr(Q)**3"),
    ("tr(Q)", "n"),
    ("tr(inv(A)) * tr(A)", "n"),
    ("sum(Q * Q)", "sum(Q)"),
    ("x - x", "outer(x, x) - outer(x, x)"),
    ("relu(x)", "x"),
    ("abs(x)", "x"),
    ("sqrt(c * c)", "c"),
    ("sqrt(x * x)", "x"),
    ("f(x)", "g(x)"),
    ("f(x)", "f'(x)"),
    ("f(x + y)", "f(x) + f(y)"),
    ("diag(x) @ A", "A @ diag(x)"),
    ("outer(x, y)", "outer(y, x)"),
    ("sum(X)", "tr(X.T @ X)"),
    ("sum(X, axis=1) @ u", "sum(X)"),
    ("norm(X)", "norm(X)**2"),
    ("x / (x @ x)", "x"),
    ("1 / (s + c)", "1 / s + 1 / c"),
    ("matrix_power(A, k2 + 1)", "matrix_power(A, k2)"),
    ("matrix_power(A, k2) @ B", "matrix_power(A, k2 + 1)"),
    ("det(A)", "det(B)"),
    ("logdet(A)", "det(A)"),
    ("tr(eye(n))", "m"),
    ("mean(x)", "sum(x)"),
    ("A * A", "A @ A"),
    ("x @ y", "x @ b"),
    ("2 * x", "3 * x"),
    ("-x", "x"),
    ("x + y", "x - y"),
    ("sum(i in 0..k2, A)", "sum(i in 0..k2-1, A)"),
    ("t * p", "p"),
    ("(x > 0)", "(x > y)"),
]


@pytest.mark.parametrize(("a", "b"), FALSE)
def test_what_is_false_is_never_proved(a: str, b: str) -> None:
    model, left = read(a)
    right = read(b)[1]
    assert Prover(model).equal(left, right) is not True
    assert FieldTest(model).equal(left, right) is None
    if "k2" not in a:
        with pytest.raises(CheckError):
            check_equation(model, (left, right))


def test_an_assumption_is_needed_where_it_is_used() -> None:
    for a, b in (("S.T", "S"), ("Q.T @ Q", "eye(n)"), ("sum(p)", "1"), ("t * t", "t")):
        left, right = read(a)[1], read(b)[1]
        assert Prover(Model(())).equal(left, right) is not True


GRADIENTS = [
    ("norm(X @ x - u)**2", "x", "2 * X.T @ (X @ x - u)"),
    ("x @ B @ x", "x", "(B + B.T) @ x"),
    ("x @ S @ x", "x", "2 * S @ x"),
    ("tr(X.T @ X)", "X", "2 * X"),
    ("tr(inv(A) @ B)", "A", "-(inv(A) @ B @ inv(A)).T"),
    ("logdet(A)", "A", "inv(A).T"),
    ("det(A)", "A", "det(A) * inv(A).T"),
    ("sum(log(1 + exp(X @ x))) - u @ X @ x", "x", "X.T @ (sigmoid(X @ x) - u)"),
    ("logsumexp(x) - p @ x", "x", "softmax(x) - p"),
    ("-sum(p * log(softmax(x)))", "x", "softmax(x) - p"),
    ("norm(x)", "x", "x / norm(x)"),
    ("exp(x @ y)", "x", "exp(x @ y) * y"),
    ("sum(tanh(B @ x))", "x", "B.T @ (1 - tanh(B @ x)**2)"),
    ("sum(f(B @ x) * y)", "B", "outer(f'(B @ x) * y, x)"),
    ("x @ y / (x @ x)", "x", "y / (x @ x) - 2 * (x @ y) * x / (x @ x)**2"),
    ("sum(relu(X))", "X", "(X > 0)"),
    ("norm(X * Y)**2", "X", "2 * X * Y * Y"),
]


@pytest.mark.parametrize(("f", "x", "answer"), GRADIENTS)
def test_gradients_are_proved_and_their_faults_are_not(f: str, x: str, answer: str) -> None:
    model, function = read(f)
    variable = model.symbols[x]
    assert isinstance(variable, Expr)
    right = read(answer)[1]
    assert Prover(model).gradient_equals(function, variable, right) is True
    assert check_gradient(model, function, variable, right).level == "agrees"
    wrong = [negate(right), matmul(2, right), add(right, variable)]
    if variable.shape[0] == variable.shape[1] and transpose(right) != right:
        wrong.append(transpose(right))
    for fault in wrong:
        if Prover(model).equal(fault, right) is True:
            continue
        assert Prover(model).gradient_equals(function, variable, fault) is not True
        with pytest.raises(CheckError):
            check_gradient(model, function, variable, fault)


TIED = [
    ("sum(A * S * S.T)", "S", "(A + A.T) * S", "2 * A * S"),
    ("sum(p)**2", "p", "2 * ones(n)", "zeros(n)"),
    ("sum(t * t)", "t", "2 * t", "ones(n)"),
    ("tr(Q.T @ Q)", "Q", "2 * Q", "zeros(n, n)"),
    ("tr(A @ S)", "S", "A.T", "A"),
]


@pytest.mark.parametrize(("f", "x", "right", "wrong"), TIED)
def test_what_is_assumed_of_a_variable_holds_at_the_point_and_not_beside_it(
    f: str, x: str, right: str, wrong: str
) -> None:
    model, function = read(f)
    variable = model.symbols[x]
    assert isinstance(variable, Expr)
    for found in (Prover(model).gradient_equals, FieldTest(model).gradient_equals):
        assert found(function, variable, read(right)[1])
        assert not found(function, variable, read(wrong)[1])


def test_products_over_layers_absorb_their_next_factor() -> None:
    k, first, last = (Symbol(c, integer=True, positive=True) for c in "kjL")
    n = size("n")
    W = Family("W", (n, n), k)
    prover = Prover(Model(()))

    def product(lower: Expr, upper: Expr, direction: int = 1) -> Expr:
        return OrderedProduct(transpose(W[k]), k, lower, upper, direction)

    whole = product(first, last)
    assert prover.equal(matmul(transpose(W[first]), product(first + 1, last)), whole) is True
    assert prover.equal(matmul(product(first, last - 1), transpose(W[last])), whole) is True
    assert prover.equal(product(last + 1, last), eye(n)) is True
    assert prover.equal(transpose(whole), OrderedProduct(W[k], k, first, last, -1)) is True
    assert prover.equal(matmul(transpose(W[first + 1]), product(first + 1, last)), whole) is not True
    assert prover.equal(matmul(product(first + 1, last), transpose(W[first])), whole) is not True
    assert prover.equal(matmul(W[first], product(first + 1, last)), whole) is not True
    assert prover.equal(transpose(whole), product(first, last, -1)) is not True
    total = MatrixSum(matpower(W[first], k), k, 0, last)
    assert (
        prover.equal(total, add(MatrixSum(matpower(W[first], k), k, 0, last - 1), matpower(W[first], last)))
        is True
    )
    assert prover.equal(total, MatrixSum(matpower(W[first], k), k, 0, last - 1)) is not True


def test_ranges_inside_ranges_keep_their_indices_apart() -> None:
    i, j = Symbol("i", integer=True), Symbol("j", integer=True)
    n, x = size("n"), vector("x", "n")
    a = Family("a", (n, n), i)
    one = MatrixSum(matmul(MatrixSum(matmul(a[i], a[j]), i, 1, n), x), j, 1, n)
    other = MatrixSum(matmul(MatrixSum(matmul(a[i], a[i]), i, 1, n), x), j, 1, n)
    assert Prover(Model(())).equal(one, other) is not True
    assert Prover(Model(())).equal(one, one.func(*one.args)) is True


def test_the_chain_rule_of_one_name() -> None:
    model = read_model("W : n n\nx : n\nz = W @ x\na = tanh(z)\nL = norm(a)**2 + sum(z)\n")
    L, z, a, x = (model.symbol(c) for c in "Lzax")
    prover = Prover(model)
    ga = gradient(L, a)
    right = read_question("2 * a", model=model)[1]
    assert prover.local_gradient_equals(L, a, right) is True
    slope = read_question("1 - a**2", model=model)[1]
    from symgrad.expr import hadamard, ones

    full = add(ones("n"), hadamard(ga, slope))
    assert prover.equal(full, full) is True
    assert (
        prover.local_gradient_equals(
            L, z, add(ones("n"), hadamard(ga, read_question("1 - tanh(z)**2", model=model)[1]))
        )
        is True
    )
    assert prover.local_gradient_equals(L, z, hadamard(ga, slope)) is not True
    assert prover.local_gradient_equals(L, x, matmul(transpose(model.symbol("W")), gradient(L, z))) is True
    assert prover.local_gradient_equals(L, x, matmul(model.symbol("W"), gradient(L, z))) is not True


VECTORS = [
    "x",
    "y",
    "b",
    "exp(x)",
    "sigmoid(y)",
    "tanh(x)",
    "x * y",
    "B @ x",
    "A.T @ y",
    "(x - y)",
    "(1 - x)",
    "f(x)",
    "p",
]
MATRICES = ["A", "B", "S", "Q", "A.T", "outer(x, y)", "diag(b)", "inv(A)", "(A + B)", "A * B"]


@st.composite
def scalars(draw: st.DrawFn) -> str:
    def some(items: list[str]) -> str:
        return f"({draw(st.sampled_from(items))})"

    form = draw(st.integers(0, 4))
    if form == 0:
        return f"{some(VECTORS)} @ {some(VECTORS)}"
    if form == 1:
        return f"{some(VECTORS)} @ {some(MATRICES)} @ {some(VECTORS)}"
    if form == 2:
        return f"tr({some(MATRICES)} @ {some(MATRICES)})"
    if form == 3:
        return f"sum({some(VECTORS)} * {some(VECTORS)} * {some(VECTORS)})"
    return f"sum({some(MATRICES)} * {some(MATRICES)})"


@settings(max_examples=150, deadline=None)
@given(scalars(), scalars())
def test_a_proof_is_never_contradicted_by_numbers(a: str, b: str) -> None:
    model, left = read(a)
    right = read(b)[1]
    if Prover(model).equal(left, right) is True:
        assert check_equation(model, (left, right), count=2).level == "agrees"


@settings(max_examples=60, deadline=None)
@given(scalars(), st.sampled_from(["x", "A", "B"]))
def test_a_derived_gradient_is_proved_or_verified(f: str, wrt: str) -> None:
    from symgrad.api import derive

    model, e = read(f)
    if wrt not in model.symbols:
        return
    try:
        d = derive(f, wrt, shapes=SHAPES, assume=ASSUME, functions=["f", "g"])
    except SymgradError as error:
        assert not isinstance(error, CheckError), error
        return
    assert d.evidence.level in ("proved", "verified")
    assert e is not None
