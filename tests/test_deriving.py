"""Derivations: the methods agree, every step is checked, a planted mistake is caught."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sympy
from sympy import Expr, Symbol

from symgrad.api import Derivation, derive, gradients
from symgrad.checking.answers import check_answer
from symgrad.checking.derivation import check_steps
from symgrad.checking.finite_field import FieldTest
from symgrad.checking.numeric import check_equation
from symgrad.errors import (
    CheckError,
    DeriveError,
    NameUnknownError,
    ShapeError,
    SymgradError,
    UnsupportedError,
)
from symgrad.expr import Gradient, Model, ScalarGradient, add, matmul, negate, scale, size, walk
from symgrad.reading import read_model, read_question
from symgrad.rendering import to_numpy
from symgrad.verifying import verify

QUESTIONS = [
    ("norm(X @ w - y)**2 / n", "w", "X: n d, w: d, y: n", ""),
    ("norm(X @ w - y)**2 / n", "X", "X: n d, w: d, y: n", ""),
    ("sum(log(1 + exp(X @ w))) - y @ X @ w", "w", "X: n d, w: d, y: n", ""),
    ("x @ A @ x + b @ x", "x", "x: n, A: n n, b: n", ""),
    ("tr(X.T @ B @ X)", "X", "X: m n, B: m m", ""),
    ("tr(A @ X @ B @ X.T)", "X", "A: m m, X: m n, B: n n", ""),
    ("norm(M * (R - U @ V.T))**2", "U", "M: m n, R: m n, U: m k, V: n k", ""),
    ("sum(tanh(W @ X + outer(b, ones(n)))**2) / 2", "W", "W: m d, X: d n, b: m", ""),
    ("sum(tanh(W @ X + outer(b, ones(n)))**2) / 2", "b", "W: m d, X: d n, b: m", ""),
    ("exp(a @ x)", "x", "a: n, x: n", ""),
    ("a @ X @ b", "X", "a: m, X: m n, b: n", ""),
    ("sum(sigmoid(A @ x) * y)", "x", "A: m n, x: n, y: m", ""),
    ("s * norm(x)**2", "s", "x: n, s:", ""),
    ("mean((X @ w - y)**2)", "w", "X: n d, w: d, y: n", ""),
    ("x @ diag(v) @ x", "v", "x: n, v: n", ""),
]


def ask(f: str, wrt: str, shapes: str, assume: str, method: str | None = None) -> Derivation:
    return derive(f, wrt, shapes=shapes, assume=assume or None, method=method)  # type: ignore[arg-type]


@pytest.mark.parametrize(("f", "wrt", "shapes", "assume"), QUESTIONS)
def test_reverse_mode_and_differentials_agree(f: str, wrt: str, shapes: str, assume: str) -> None:
    one, other = (ask(f, wrt, shapes, assume, m) for m in ("backprop", "differential"))
    assert one.answer is not None
    assert other.answer is not None
    assert check_equation(one.model, (one.answer, other.answer)).level == "agrees"
    for d in (one, other):
        assert d.evidence.level in ("proved", "verified", "agrees")
        assert all(s.evidence.level != "none" for s in d.steps if not s.rule.startswith("differential"))


@pytest.mark.parametrize(("f", "wrt", "shapes", "assume"), QUESTIONS)
def test_a_wrong_answer_fails_its_check(f: str, wrt: str, shapes: str, assume: str) -> None:
    d = ask(f, wrt, shapes, assume)
    assert d.answer is not None
    for wrong in (scale(2, d.answer), negate(d.answer), add(d.answer, scale(sympy.Rational(1, 1000), d.wrt))):
        with pytest.raises(CheckError):
            check_answer(d, wrong)


def test_a_wrong_step_is_not_returned() -> None:
    d = ask(*QUESTIONS[0])
    last = d.steps[-1]
    planted = replace(last, equation=(*last.equation[:-1], scale(3, last.right)))
    with pytest.raises(CheckError, match=f"step {last.number} .*failed its check"):
        check_steps(d, (*d.steps[:-1], planted))


def test_a_derivation_without_check_says_so() -> None:
    d = derive("x @ x", "x", shapes="x: n", check=False)
    assert d.evidence.level == "none"


NETWORK = """
W1 : h d
b1 : h
W2 : k h
b2 : k
x : d
y : k onehot
z1 = W1 @ x + b1
a1 = sigmoid(z1)
z2 = W2 @ a1 + b2
p = softmax(z2)
L = -sum(y * log(p))
"""


@pytest.mark.parametrize(
    ("wrt", "result", "answer"),
    [
        ("z2", "p - y", "p - y"),
        ("W2", "outer(grad(L, z2), a1)", "outer(p - y, a1)"),
        ("b2", "grad(L, z2)", "p - y"),
        ("a1", "W2.T @ grad(L, z2)", "W2.T @ (p - y)"),
        ("W1", "outer(grad(L, z1), x)", "outer((W2.T @ (p - y)) * a1 * (1 - a1), x)"),
        ("x", "W1.T @ grad(L, z1)", "W1.T @ ((W2.T @ (p - y)) * a1 * (1 - a1))"),
    ],
)
def test_a_network_keeps_its_names(wrt: str, result: str, answer: str) -> None:
    d = derive(read_model(NETWORK), wrt, of="L")
    assert to_numpy(d.result) in (result, answer)
    assert d.to_numpy() == answer
    assert "y onehot" in d.assumptions
    assert [s.number for s in d.steps] == list(range(1, len(d.steps) + 1))
    assert all(p < s.number for s in d.steps for p in s.premises)


def test_without_its_assumption_the_answer_keeps_the_sum_of_the_labels() -> None:
    d = derive(read_model(NETWORK.replace(" onehot", "")), "z2", of="L")
    assert d.to_numpy() != "p - y"
    assert "sum(y)" in d.to_numpy()
    assert d.assumptions == ()


CHAIN = """
W : n n
b : n
x : n
y : n
a[0] = x
for l in 1..L:
    z[l] = W[l] @ a[l-1] + b[l]
    a[l] = phi(z[l])
loss = norm(a[L] - y)**2 / 2
"""


def rules(d: Derivation) -> list[str]:
    return [s.rule for s in d.steps]


def test_symbolic_depth_gives_a_closed_form_with_its_proof() -> None:
    model = read_model(CHAIN, functions=["phi"])
    d = derive(model, "x", of="loss")
    assert d.method == "depth"
    assert d.to_numpy() == "prod(k in 1..L, W[k].T @ diag(phi'(z[k]))) @ (a[L] - y)"
    assert {"depth.recurrence", "depth.closed", "depth.base", "depth.step", "depth.ends"} <= set(rules(d))
    assert d.evidence.level in ("proved", "agrees")
    assert {s["L"] for s in d.evidence.sizes} == set(range(1, 9))


def test_a_layer_s_weight_and_an_inner_layer() -> None:
    model = read_model(CHAIN, functions=["phi"])
    d = derive(model, "W[l]", of="loss")
    assert to_numpy(d.result) == "outer(grad(loss, z[l]), a[l-1])"
    inner = derive(model, "a[2]", of="loss")
    assert inner.to_numpy().startswith("prod(k in 3..L")
    assert derive(model, "a[L]", of="loss").to_numpy() in ("a[L] - y", "eye(n) @ (a[L] - y)")


@pytest.mark.parametrize(
    ("body", "shapes", "closed"),
    [
        ("a[l] = w * a[l-1]", "w:, x:", "w**L"),
        ("a[l] = w[l] * a[l-1]", "w:, x:", "prod(k in 1..L, w[k])"),
        ("a[l] = W @ a[l-1]", "W: n n, x: n", "matrix_power(W.T, L) @ a[L]"),
        ("a[l] = a[l-1] + W @ a[l-1]", "W: n n, x: n", "matrix_power(eye(n) + W.T, L) @ a[L]"),
        ("a[l] = W[l] @ a[l-1]", "W: n n, x: n", "prod(k in 1..L, W[k].T) @ a[L]"),
    ],
)
def test_closed_forms_of_chains(body: str, shapes: str, closed: str) -> None:
    loss = "a[L]" if "W" not in shapes else "norm(a[L])**2 / 2"
    model = read_model(f"a[0] = x\nfor l in 1..L:\n    {body}\nloss = {loss}\n", shapes=shapes)
    d = derive(model, "a[0]", of="loss")
    assert d.to_numpy() == closed
    assert d.evidence.level in ("proved", "agrees")


def test_a_shared_bias_is_a_geometric_sum() -> None:
    model = read_model(
        "a[0] = x\nfor l in 1..L:\n    a[l] = w * a[l-1] + b\nloss = a[L]\n", shapes="w:, b:, x:"
    )
    d = derive(model, "b", of="loss")
    assert d.to_numpy() == "sum(k in 0..L-1, w**k)"
    assert {"depth.shared", "depth.geometric", "depth.geometric_base", "depth.geometric_step"} <= set(
        rules(d)
    )
    closed = next(s for s in d.steps if s.rule == "depth.geometric_closed")
    w, n = Symbol("w", real=True), size("L")
    assert sympy.simplify(closed.right - (1 - w**n) / (1 - w)) == 0


def test_a_wrong_closed_form_fails_at_some_length() -> None:
    d = derive(read_model(CHAIN, functions=["phi"]), "x", of="loss", check=False)
    assert d.answer is not None
    with pytest.raises(CheckError):
        check_answer(d, scale(2, d.answer))


@pytest.mark.parametrize("wrt", ["a[L+1]", "W[0]"])
def test_a_layer_outside_the_loop_is_refused(wrt: str) -> None:
    with pytest.raises(DeriveError, match="outside the loop"):
        derive(read_model(CHAIN, functions=["phi"]), wrt, of="loss")


def test_one_sweep_gives_all_gradients() -> None:
    model = read_model(NETWORK)
    found = gradients(model, "L", ["W1", "b1", "W2", "b2"])
    assert [to_numpy(g) for g in found.values()] == [
        "outer(grad(L, z1), x)",
        "grad(L, z1)",
        "outer(p - y, a1)" if "p - y" in to_numpy(found[model.symbol("W2")]) else "outer(grad(L, z2), a1)",
        "p - y" if "p - y" in to_numpy(found[model.symbol("b2")]) else "grad(L, z2)",
    ]


def residual(layers: int) -> Model:
    lines = [f"h{i + 1} = h{i} + tanh(W{i} @ h{i})" for i in range(layers)]
    shapes = {f"W{i}": ["n", "n"] for i in range(layers)} | {"h0": ["n"]}
    return read_model("\n".join([*lines, f"loss = norm(h{layers})**2"]), shapes=shapes)


def test_a_residual_chain_does_not_swell() -> None:
    d = derive(residual(12), "h0", of="loss", check=False)
    assert d.answer is None
    assert len(list(walk(d.result))) < 30
    assert len(d.steps) <= 40
    small = derive(residual(3), "h0", of="loss")
    assert small.evidence.level in ("proved", "agrees")


def test_unevaluated_gradients_stay_inside_the_result_only() -> None:
    d = derive(read_model(NETWORK), "W1", of="L")
    assert d.answer is not None
    assert any(isinstance(n, Gradient) for n in walk(d.result))
    assert not any(isinstance(n, Gradient | ScalarGradient) for n in walk(d.answer))


# --- kinds, layouts, structure -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "wrt", "shapes", "kind", "answer"),
    [
        ("A @ x", "x", "A: m n, x: n", "jacobian", "A"),
        ("softmax(x)", "x", "x: n", "jacobian", "diag(softmax(x)) - outer(softmax(x), softmax(x))"),
        ("x * x", "x", "x: n", "jacobian", "2 * diag(x)"),
        ("t * x", "t", "x: n, t:", "jacobian", "x"),
        ("a @ x", "x", "a: n, x: n", "jacobian", "a.T"),
        ("x @ A @ x", "x", "A: n n, x: n", "hessian", "A + A.T"),
        ("exp(a @ x)", "x", "a: n, x: n", "hessian", "exp(a @ x) * outer(a, a)"),
        ("X.T @ A @ X", "X", "A: m m, X: m n", "differential", "dX.T @ A @ X + X.T @ A @ dX"),
        ("norm(x)**2", "x", "x: n", "differential", "2 * x @ dx"),
    ],
)
def test_other_kinds(f: str, wrt: str, shapes: str, kind: str, answer: str) -> None:
    d = derive(f, wrt, shapes=shapes, kind=kind)  # type: ignore[arg-type]
    wanted = read_question(answer, shapes=f"{shapes}, dX: m n, dx: n")[1]
    assert d.answer is not None
    assert check_equation(d.model, (d.answer, wanted)).level == "agrees"
    assert len(d.to_numpy()) <= len(answer) + 4


def test_numerator_layout_is_a_step() -> None:
    plain = derive("a @ X @ b", "X", shapes="a: m, X: m n, b: n")
    turned = derive("a @ X @ b", "X", shapes="a: m, X: m n, b: n", layout="numerator")
    assert turned.to_numpy() == "outer(b, a)"
    assert plain.to_numpy() == "outer(a, b)"
    assert turned.steps[-1].rule == "layout"


@pytest.mark.parametrize(
    ("structure", "answer"),
    [
        ("symmetric-subspace", "(A + A.T) / 2"),
        ("symmetric-entries", "A + A.T - A * eye(n)"),
        ("diagonal-entries", "A * eye(n)"),
    ],
)
def test_tied_entries(structure: str, answer: str) -> None:
    d = derive("tr(A @ X)", "X", shapes="A: n n, X: n n", assume="X: symmetric", structure=structure)  # type: ignore[arg-type]
    wanted = read_question(answer, shapes="A: n n")[1]
    assert d.answer is not None
    assert check_equation(d.model, (d.answer, wanted)).level == "agrees"
    with pytest.raises(CheckError):
        check_answer(d, matmul(2, d.answer), structure)


# --- questions that make no sense --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "wrt", "options", "error", "message"),
    [
        ("A @ x", "x", {}, DeriveError, "gradient is taken of a scalar"),
        ("x @ x", "q", {}, NameUnknownError, "q"),
        ("x @ x", "x + y", {}, SymgradError, "x"),
        ("x @ x", "x", {"method": "depth"}, UnsupportedError, "symbolic length"),
        ("x @ x", "x", {"method": "magic"}, UnsupportedError, "magic"),
        ("x @ x", "A", {}, NameUnknownError, "does not occur"),
    ],
)
def test_questions_without_an_answer(
    f: str, wrt: str, options: dict[str, str], error: type[SymgradError], message: str
) -> None:
    with pytest.raises(error, match=message):
        derive(f, wrt, shapes="A: n n, x: n, y: n", **options)  # type: ignore[arg-type]


def test_sympy_expressions_are_taken_and_given() -> None:
    n, m = sympy.symbols("n m", integer=True, positive=True)
    A, B = sympy.MatrixSymbol("A", n, n), sympy.MatrixSymbol("X", m, n)
    assert derive(sympy.Trace(A) + 1, A).answer == sympy.Identity(n)
    assert derive(sympy.log(sympy.Determinant(A)), A, assume="A: invertible").to_numpy() == "inv(A).T"
    found = derive(sympy.Trace(B.T * B), B).answer
    assert found == matmul(2, B)
    t = Symbol("t")
    assert derive(sympy.tanh(t) ** 2, t).evidence.level in ("proved", "agrees")


def test_sympy_lets_shapes_pass_that_do_not_fit() -> None:
    n, m = sympy.symbols("n m", integer=True, positive=True)
    A, x, b = sympy.MatrixSymbol("A", m, n), sympy.MatrixSymbol("x", n, 1), sympy.MatrixSymbol("b", n, 1)
    with pytest.raises(ShapeError):
        derive(sympy.Trace(A * x * b), x)


@pytest.mark.parametrize(
    ("f", "second", "wrong"),
    [
        ("x**2 * exp(-x)", "(x**2 - 4*x + 2) * exp(-x)", "(x**2 - 2*x + 2) * exp(-x)"),
        ("sin(a*x)", "-a**2 * sin(a*x)", "a**2 * sin(a*x)"),
        ("sigmoid(x)", "sigmoid(x) * (1 - sigmoid(x)) * (1 - 2*sigmoid(x))", "sigmoid(x) * (1 - sigmoid(x))"),
        ("(a*x + 1)**4 / 12", "a**2 * (a*x + 1)**2", "a * (a*x + 1)**2"),
    ],
)
def test_second_derivatives_by_a_scalar(f: str, second: str, wrong: str) -> None:
    found = derive(f, "x", shapes="x:, a:", kind="hessian")
    assert found.evidence.level == "proved"
    words = [verify(c, f=f, wrt="x", shapes="x:, a:", kind="hessian").verdict for c in (second, wrong)]
    assert words == ["proved", "refuted"]
    model, target = read_question(f, shapes="x:, a:")
    x = model.symbols["x"]
    assert isinstance(x, Expr)
    exact = FieldTest(model)
    for text, equal in ((second, True), (wrong, False)):
        _, answer = read_question(text, model=model)
        evidence = exact.hessian_equals(target, x, answer)
        assert (evidence is not None) == equal
