"""Claims that are right are accepted, claims with a planted slip are refuted, and the slip is named."""

from __future__ import annotations

import json
import re
import time
from inspect import cleandoc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import symgrad
from symgrad import Verdict, verify
from symgrad.checking.verdict import judge
from symgrad.cli import run
from symgrad.errors import NameUnknownError, ReadError, SymgradError
from symgrad.gallery import QUESTIONS
from symgrad.reading import read_model
from symgrad.reading.claim import read_claim
from symgrad.rendering.snippet import snippet
from symgrad.rendering.verdict import message, render
from symgrad.verify_batch import context_of, verdict_line, verdict_lines

CASES = Path(__file__).parent / "cases"
OUTPUT = Path(__file__).parent.parent / "output"

NETWORK: dict[str, Any] = {
    "given": [
        "z1 = W1 @ x + b1",
        "a1 = tanh(z1)",
        "z2 = W2 @ a1 + b2",
        "p = softmax(z2)",
        "L = -sum(y * log(p))",
        "delta2 = p - y",
        "delta1 = (W2.T @ delta2) * (1 - a1**2)",
    ],
    "shapes": "x: d, W1: h d, b1: h, W2: k h, b2: k, y: k",
    "assume": "y: onehot",
}
BATCH: dict[str, Any] = {
    "given": ["S = X @ W + b", "P = softmax(S, axis=1)", "L = -sum(Y * log(P)) / N + lam * norm(W)**2 / 2"],
    "shapes": "X: N D, W: D K, b: K, Y: N K, lam:",
    "assume": "Y: onehot_rows, lam: positive",
}
SQUARES: dict[str, Any] = {"given": ["L = norm(X @ w - y)**2"], "shapes": "X: n d, w: d, y: n"}
PULLED: dict[str, Any] = {"given": ["p = softmax(z)", "L = g @ p"], "shapes": "z: k, g: k"}
RECURRENT: dict[str, Any] = {
    "given": ["z = W @ h", "k = tanh(z)", "L = g @ k"],
    "shapes": "W: n n, h: n, g: n",
}

RIGHT: tuple[tuple[str, dict[str, Any]], ...] = (
    ("dL/dz2 = p - y", NETWORK),
    ("dL/dz2 = delta2", NETWORK),
    ("dL/dW2 = outer(delta2, a1)", NETWORK),
    ("dL/da1 = W2.T @ (p - y)", NETWORK),
    ("dL/dz1 = delta1 = (W2.T @ delta2) * (1 - tanh(W1 @ x + b1)**2)", NETWORK),
    ("dL/dx = W1.T @ delta1", NETWORK),
    ("dL/dW = X.T @ (P - Y) / N + lam * W", BATCH),
    ("dL/db = sum(P - Y, axis=0) / N", BATCH),
    ("dL/dw = 2 * X.T @ (X @ w - y)", SQUARES),
    ("hessian(L, w) = 2 * X.T @ X", SQUARES),
    ("dL/dz = p * g - p * (p @ g)", PULLED),
    ("jacobian(p, z) = diag(p) - outer(p, p)", PULLED),
    ("p @ ones(k) = 1", PULLED),
)

DEEP: dict[str, Any] = {
    "given": ["z1 = W1 @ x", "a1 = tanh(z1)", "z2 = W2 @ a1", "a2 = tanh(z2)", "L = norm(a2 - y)**2 / 2",
              "delta2 = (a2 - y) * (1 - a2**2)"],
    "shapes": "x: d, W1: h d, W2: k h, y: k",
}  # fmt: skip
MASKED: dict[str, Any] = {
    "given": ["E = norm(M * (X - U @ V.T))**2 / 2 + lam * norm(U)**2"],
    "shapes": "X: m n, M: m n, U: m k, V: n k, lam:",
    "assume": "M: binary",
    "layout": "gradient",
}
NORMAL: dict[str, Any] = {
    "given": ["f = logdet(S) / 2 + x @ inv(S) @ x / 2"],
    "shapes": "S: n n, x: n",
    "assume": "S: positive_definite",
}

WRONG: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("dL/dz2 = y - p", NETWORK, "wrong sign"),
    ("dL/dW2 = outer(a1, delta2)", {**NETWORK, "layout": "gradient"}, "swapped order"),
    ("dL/da1 = W2 @ delta2", NETWORK, "missing transpose"),
    ("dL/dz1 = W2.T @ delta2", NETWORK, "missing activation derivative"),
    ("dL/dz1 = (W2.T @ delta2) * (1 - z1**2)", NETWORK, "wrong activation derivative"),
    ("dL/dz1 = (W2.T @ delta2) * (1 - a1)**2", NETWORK, "wrong activation derivative"),
    ("dL/dW1 = outer(delta2, x)", NETWORK, "wrong layer index"),
    ("dL/dW1 = outer(delta1, a1)", NETWORK, "wrong variable"),
    ("dL/db2 = 2 * delta2", NETWORK, "wrong factor"),
    ("dL/dW = X.T @ (P - Y) + lam * W", BATCH, "1/N missing"),
    ("dL/dW = X.T @ (P - Y) / N", BATCH, "missing term"),
    ("dL/dW = X.T @ (P - Y) / N + 2 * lam * W", BATCH, "wrong factor"),
    ("dL/dW = X.T @ (P - Y) / N - lam * W", BATCH, "wrong sign"),
    ("dL/db = (P - Y) / N", BATCH, "batch sum missing"),
    ("dL/db = sum(P - Y, axis=1) / N", BATCH, "wrong axis"),
    ("dL/dw = 2 * X @ (X @ w - y)", SQUARES, "missing transpose"),
    ("hessian(L, w) = X.T @ X", SQUARES, "wrong factor"),
    ("dL/dz = p * (1 - p) * g", PULLED, "softmax treated as elementwise"),
    ("jacobian(p, z) = diag(p * (1 - p))", PULLED, "softmax treated as elementwise"),
    ("dL/dh = (W.T @ g) * (1 - k**2)", RECURRENT, "elementwise vs matrix product"),
    ("dL/dh = W @ (g * (1 - k**2))", RECURRENT, "missing transpose"),
    ("dL/dw = 2 * X.T @ (X @ w - y)**2", SQUARES, "wrong exponent"),
    # a factor or a term of the right formula that is left out within the claim
    ("dL/dW1 = outer(W2.T @ delta2, x)", NETWORK, "missing activation derivative"),
    ("dL/dx = W1.T @ W2.T @ delta2", NETWORK, "missing activation derivative"),
    ("dE/dU = -(X - U @ V.T) @ V + 2 * lam * U", MASKED, "wrong factor"),
    ("dE/dV = -(M * (X - U @ V.T)).T", MASKED, "wrong factor"),
    ("dE/dU = -(M * (X - U @ V.T)) @ V + 2 * U", MASKED, "wrong factor"),
    ("df/dS = (S - inv(S) @ outer(x, x) @ inv(S)) / 2", NORMAL, "wrong exponent"),
    ("df/dS = (inv(S) - outer(x, x) @ inv(S)) / 2", NORMAL, "wrong factor"),
    # the activation of another layer
    ("dL/dz1 = (W2.T @ delta2) * (1 - tanh(z2)**2)", NETWORK, "wrong layer index"),
    ("dL/dz1 = (W2.T @ delta2) * (1 - a2**2)", DEEP, "wrong layer index"),
    # two slips
    ("dL/dW = X.T @ (P - Y) + 2 * lam * W", BATCH, "1/N missing"),
    ("dL/dW = X @ (P - Y) + lam * W", BATCH, "1/N missing"),
    ("dL/dW = X.T @ (Y - P) / N", BATCH, "wrong sign"),
    ("dE/dU = -(X - U @ V.T) @ V + lam * U", MASKED, "wrong factor"),
    ("dE/dU = (M * (X - U @ V.T)) @ V + lam * U", MASKED, "wrong sign"),
)


@pytest.mark.parametrize(("claim", "context"), RIGHT, ids=[c for c, _ in RIGHT])
def test_a_right_claim_is_accepted(claim: str, context: dict[str, Any]) -> None:
    verdict = verify(claim, **context)
    assert verdict.verdict in ("proved", "verified"), verdict
    assert verdict.slip is None and verdict.counterexample is None


@pytest.mark.parametrize(("claim", "context", "kind"), WRONG, ids=[c for c, *_ in WRONG])
def test_a_slip_is_refuted_and_named(claim: str, context: dict[str, Any], kind: str) -> None:
    verdict = verify(claim, **context)
    assert verdict.verdict == "refuted"
    assert verdict.kind == kind, verdict.slip
    assert verdict.slip is not None
    # What is suggested is itself a claim, and right.
    left = claim.partition(" = ")[0]
    again = verify(f"{left} = {symgrad.rendering.to_numpy(verdict.suggestion)}", **context)
    assert again.is_right, again


@pytest.mark.parametrize("claim", ["dL/dW = X.T @ (P - Y) + lam * W", "dL/db = sum(P - Y, axis=0)"])
def test_the_printed_program_recomputes_the_counterexample(claim: str) -> None:
    verdict = verify(claim, **BATCH)
    example, program = verdict.counterexample, snippet(verdict)
    assert example is not None and program is not None
    printed = _run(program)
    assert printed == pytest.approx([example.claimed, example.right], rel=1e-5, abs=1e-6)
    assert abs(printed[0] - printed[1]) > 1e-3


def test_the_printed_program_defines_each_name_once() -> None:
    verdict = verify("df/dx = A @ x", given=["f = x @ A @ x"], shapes="A: n n, x: n")
    program = snippet(verdict)
    assert program is not None and program.count("f =") == 1 and "def function(x):" in program
    claimed, right = _run(program)
    assert abs(claimed - right) > 1e-3


@pytest.mark.parametrize(("claim", "context", "kind"), WRONG, ids=[c for c, *_ in WRONG])
def test_every_counterexample_of_fractions_differs(claim: str, context: dict[str, Any], kind: str) -> None:
    verdict = verify(claim, **context)
    example = verdict.counterexample
    if example is None:  # a shape that does not fit has none
        assert verdict.claim.misfit is not None or any(n.key.startswith("shape") for n in verdict.notes)
        return
    assert abs(example.claimed - example.right) > 1e-3
    for number in _numbers(list(example.inputs.values())):
        assert number * 20 == round(number * 20)


def _numbers(value: Any) -> list[float]:
    return [n for v in value for n in _numbers(v)] if isinstance(value, list) else [value]


def _run(program: str) -> list[float]:
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    return [float(w) for w in done.stdout.split()]


def test_two_dimensional_accidents_do_not_pass() -> None:
    """An identity of 2 x 2 matrices: the Cayley-Hamilton theorem for n = 2."""
    verdict = verify("A @ A - tr(A) * A = -det(A) * eye(n)", shapes="A: n n")
    assert verdict.verdict == "refuted"


def test_a_claim_without_a_layout_is_accepted_in_either_and_the_layout_is_named() -> None:
    turned = verify("dL/dW2 = outer(a1, delta2)", **NETWORK)
    assert (turned.verdict, turned.layout) == ("proved", "numerator")
    assert "numerator layout" in str(turned)
    jacobian = {"given": ["f = A @ x"], "shapes": "A: m n, x: n"}
    assert verify("jacobian(f, x) = A", **jacobian).layout == "numerator"
    other = verify("jacobian(f, x) = A.T", **jacobian)
    assert (other.verdict, other.layout) == ("proved", "gradient")
    refused = verify("jacobian(f, x) = A.T", layout="numerator", **jacobian)
    assert (refused.verdict, refused.kind) == ("refuted", "wrong layout")


def test_a_chain_is_right_only_if_every_link_is() -> None:
    assert verify("dL/dz2 = delta2 = p - y", **NETWORK).is_right
    wrong = verify("dL/dz2 = delta2 = y - p", **NETWORK)
    assert wrong.verdict == "refuted" and wrong.counterexample is not None
    assert wrong.counterexample.link == 1


def test_a_symmetric_matrix_has_to_be_assumed() -> None:
    form = {"given": ["f = x @ A @ x"], "shapes": "x: n, A: n n"}
    assert verify("df/dx = 2 * A @ x", **form).verdict == "refuted"
    assert verify("df/dx = 2 * A @ x", assume="A: symmetric", **form).verdict == "proved"


def test_what_would_have_to_be_assumed_is_said_in_the_language_of_the_reader() -> None:
    verdict = verify("df/dx = 2 * A @ x", given=["f = x @ A @ x"], shapes="x: n, A: n n")
    assert verdict.slip is not None and verdict.slip.key == "holds_if"
    assert "A were assumed to be symmetric" in message(verdict)
    assert "A 是对称矩阵" in message(verdict, "zh")


def test_a_slip_in_a_formula_about_entries_is_one_of_indices() -> None:
    form: dict[str, Any] = {
        "given": ["L = g @ (W @ x)"],
        "shapes": "W: n n, x: n, g: n",
        "layout": "gradient",
    }
    assert verify(r"\frac{\partial L}{\partial W_{ij}} = g_j x_i", **form).kind == "wrong index"
    assert verify(r"\frac{\partial L}{\partial x_j} = \sum_i W_{ji} g_i", **form).kind == "wrong index"
    assert verify(r"\frac{\partial L}{\partial W} = x g^T", **form).kind == "swapped order"


def test_kinks_and_domains_are_stated() -> None:
    verdict = verify("df/dx = (x > 0) + 1/x", given=["f = sum(relu(x)) + sum(log(x))"], shapes="x: n")
    assert {c.key for c in verdict.conditions} >= {"kink", "positive"}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_budget_that_runs_out_is_named() -> None:
    verdict = verify("dL/dz1 = delta1", seconds=0.001, **NETWORK)
    assert verdict.verdict == "undecided"
    assert "budget" in str(verdict)


@pytest.mark.parametrize(
    ("claim", "error"),
    [
        ("dL/dq = 2 * x", NameUnknownError),
        ("dL/dz2 = p -", ReadError),
        ("dL/dz2 = rank(p)", NameUnknownError),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_reason(claim: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        verify(claim, **NETWORK)


PRINTED = [n for n in QUESTIONS if n not in ("convolution_with_channels", "attention_with_heads")]


@pytest.mark.parametrize("name", [n for n in PRINTED if "for l in" not in QUESTIONS[n][0]])
def test_what_is_derived_is_read_back_and_found_right(name: str) -> None:
    text, of, wrt = QUESTIONS[name]
    model = symgrad.read_model(cleandoc(text))
    derivation = symgrad.derive(model, wrt, of=of)
    assert verify(f"d{of}/d{wrt} = {derivation.to_numpy()}", model).verdict == "proved"
    assert verify(derivation.to_latex(), model, of=of, wrt=wrt).verdict == "proved"


LOOP = """
W : n n
x : n
y : n
a[0] = x
for l in 1..L:
    z[l] = W[l] @ a[l-1]
    a[l] = tanh(z[l])
loss = norm(a[L] - y)**2 / 2
"""


@pytest.mark.parametrize(
    ("claim", "right"),
    [
        ("dloss/da[l-1] = W[l].T @ grad_z", None),
        ("a[l] = tanh(W[l] @ a[l-1])", True),
        ("a[l] = tanh(a[l-1] @ W[l])", False),
        ("dloss/da[L] = a[L] - y", True),
        ("dloss/da[L] = y - a[L]", False),
    ],
)
def test_claims_about_a_network_of_symbolic_depth(claim: str, right: bool | None) -> None:
    model = symgrad.read_model(LOOP)
    if right is None:
        with pytest.raises(NameUnknownError):
            verify(claim, model)
        return
    verdict = verify(claim, model)
    assert verdict.verdict == "refuted" if not right else verdict.is_right, verdict


def test_the_command(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--given", "L = norm(X @ w - y)**2", "--shapes", "X: n d, w: d, y: n"]
    assert run(["verify", "dL/dw = 2 * X.T @ (X @ w - y)", *given]) == 0
    assert "proved" in capsys.readouterr().out
    assert run(["verify", "dL/dw = X.T @ (X @ w - y)", *given, "--lang", "zh"]) == 1
    assert "差一个因子" in capsys.readouterr().out
    assert run(["verify", r"\frac{\partial L}{\partial w} = 2 X^\top (X w - y)", *given]) == 0
    assert run(["verify", "dL/dw = X.T @ (X @ w", *given]) == 2
    assert run(["verify", "dL/dw = 2 * X.T @ (X @ w - y)", "dL/dw = w @", *given]) == 2
    assert run(["verify"]) == 2
    assert run(["verify", "x", "--format", "pdf", *given]) == 2
    assert run(["verify", "x", "--layout", "up", *given]) == 2
    capsys.readouterr()
    model = tmp_path / "net.sg"
    model.write_text("X : n d\nw : d\ny : n\nL = norm(X @ w - y)**2\n", encoding="utf-8")
    assert (
        run(["verify", str(model), "2 * X.T @ (X @ w - y)", "--of", "L", "--wrt", "w", "--format", "json"])
        == 0
    )
    assert json.loads(capsys.readouterr().out)["verdict"] == "proved"
    batch = tmp_path / "claims.jsonl"
    batch.write_text('{"f": "x @ x", "shapes": {"x": ["n"]}, "wrt": "x", "claim": "x"}\n', encoding="utf-8")
    assert run(["verify", "--batch", str(batch)]) == 1
    assert json.loads(capsys.readouterr().out)["kind"] == "wrong factor"


HOSTILE = (
    "((((" * 200 + "x",
    "x" + "**9" * 40,
    "x" * 30_000,
    "matrix_power(A, 10**9) @ x",
    "\\" + "frac{" * 500,
    "\\input{/etc/passwd}",
    "\\write18{ls}",
    "\\def\\x{\\x\\x}\\x",
    "x\u202e = \u0445",
    "(A + A.T + 2 * A)" + " @ (A + A.T - 3 * A)" * 30 + " @ x",
    "d" * 1000 + "/dx = 1",
    "= = =",
    "\x00",
)


# An alarm may ring inside a callback of the garbage collector, where Python can only report it; it rings again.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("claim", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_claims_end_in_time_and_are_never_called_right(claim: str) -> None:
    start = time.monotonic()
    question = {"f": "x @ A @ x", "shapes": {"x": ["n"], "A": ["n", "n"]}, "wrt": "x", "claim": claim}
    answer = json.loads(verdict_line(json.dumps(question), seconds=3.0))
    assert answer["verdict"] in ("unreadable", "unsupported", "undecided", "refuted"), answer
    assert "fault" not in (answer["message"] or ""), answer
    assert time.monotonic() - start < 40


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="xAdf/=()@*+-.T 2[]^_\\{}'", max_size=24))
def test_no_text_breaks_the_verifier(claim: str) -> None:
    question = {"f": "x @ A @ x", "shapes": {"x": ["n"], "A": ["n", "n"]}, "wrt": "x", "claim": claim}
    answer = json.loads(verdict_line(json.dumps(question), seconds=2.0))
    assert "fault" not in (answer["message"] or ""), answer
    assert answer["verdict"] not in ("proved", "verified", "agrees") or "A" in claim


@pytest.mark.parametrize("form", ["text", "md", "tex"])
@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("claim", ["dL/da1 = W2 @ delta2", "dL/dz2 = y - p", "dL/dz2 = p - y"])
def test_a_verdict_shows_itself(claim: str, lang: str, form: str) -> None:
    shown = render(verify(claim, **NETWORK), form, lang)
    assert shown.strip()
    if form == "text" and lang == "en" and claim.startswith("dL/da1"):
        assert "W2 stands where W2.T is meant" in shown


def test_a_notebook_shows_a_verdict(katex: Any) -> None:
    verdict = verify("dL/dz2 = y - p", **NETWORK)
    assert isinstance(verdict, Verdict) and verdict._repr_markdown_()
    assert katex(verdict._repr_latex_().strip("$"))


def test_batch_answers_come_in_order_and_one_bad_line_stops_nothing() -> None:
    question = {"shapes": {"x": ["n"], "A": ["n", "n"]}, "f": "x @ A @ x", "wrt": "x"}
    lines = [
        json.dumps({"id": 1, **question, "claim": "(A + A.T) @ x"}),
        "not json",
        json.dumps({"id": 3, **question, "claim": "2 * A @ x"}),
        "",
        json.dumps({"id": 4, **question, "claim": "2 * B @ x"}),
        json.dumps({"id": 5, **question}),
    ]
    for jobs in (1, 2):
        answers = [json.loads(a) for a in verdict_lines(lines, jobs=jobs)]
        assert [a["id"] for a in answers] == [1, None, 3, 4, 5]
        assert [a["verdict"] for a in answers] == [
            "proved",
            "unreadable",
            "refuted",
            "unreadable",
            "unreadable",
        ]
    assert answers[2]["expected"] == "(A + A.T) @ x"
    assert set(answers[0]) == set(answers[1])


def test_a_batch_line_has_the_fields_of_the_contract() -> None:
    answer = json.loads(
        verdict_line('{"id": "a", "f": "x @ x", "shapes": {"x": ["n"]}, "wrt": "x", "claim": "x"}')
    )
    wanted = {
        "id",
        "verdict",
        "kind",
        "read_as",
        "expected",
        "suggestion",
        "counterexample",
        "evidence",
        "seconds",
    }
    assert wanted <= set(answer)
    assert answer["kind"] == "wrong factor" and answer["suggestion"] == "2 * x"
    assert {"method", "sizes", "points", "error_bound", "max_error"} <= set(answer["evidence"])
    assert answer["counterexample"]["numpy"].startswith("import numpy")


@pytest.mark.parametrize(
    ("claim", "f", "shapes", "word"),
    [
        (r"\frac{df}{dx} = 1/2x", "log(x)/2", "x:", "undecided"),
        (r"\frac{df}{dx} = 1/2x", "x**2/4", "x:", "undecided"),
        (r"\frac{df}{dx} = 1/2x", "x**3", "x:", "refuted"),
        (r"\frac{df}{dx} = 1/2 x", "x**2/4", "x:", "proved"),
        (r"\frac{\partial f}{\partial x} = \frac{x}{|x|}", "norm(x)", "x: n", "undecided"),
        (r"\frac{\partial f}{\partial x} = \frac{2x}{|x|}", "norm(x)", "x: n", "refuted"),
        (r"\frac{\partial f}{\partial x} = \sigma(x)(1-\sigma(x))", "sum(sigmoid(x))", "x: n", "proved"),
        (r"\frac{\partial f}{\partial x} = \sigma(x)(1+\sigma(x))", "sum(sigmoid(x))", "x: n", "refuted"),
        (r"\frac{\partial f}{\partial x} = \sigma(x)(2-\sigma(x))", "sum(sigmoid(x))", "x: n", "refuted"),
        (r"\frac{\partial f}{\partial x} = \sigma(x)\tanh(x)", "sum(x)", "x: n", "refuted"),
        (r"\frac{\partial f}{\partial x} = \exp(x)x", "sum(x*exp(x) - exp(x))", "x: n", "undecided"),
        (r"\frac{\partial f}{\partial x} = x \cdot (1-x)", "sum(x**2/2 - x**3/3)", "x: n", "proved"),
    ],
)
def test_a_formula_with_two_readings_is_judged_only_where_they_agree(
    claim: str, f: str, shapes: str, word: str
) -> None:
    found = verify(
        claim, given=[f"f = {f}"], shapes=shapes, assume={"x": "positive"} if shapes == "x:" else None
    )
    assert found.verdict == word


def test_the_layout_is_named_where_only_the_other_one_is_right() -> None:
    found = verify(r"\frac{\partial f}{\partial X} = X^{-1}", given=["f = logdet(X)"], shapes="X: n n")
    assert (found.verdict, found.layout) == ("proved", "numerator")
    assert "numerator layout" in str(found)


@pytest.mark.parametrize(
    ("exponent", "f", "shapes"),
    [
        (r"a^\top x", "exp(a @ x)", "a: n, x: n"),
        (r"-x^\top A x", "exp(-x @ A @ x)", "A: n n, x: n"),
        ("x'y", "exp(x @ y)", "x: n, y: n"),
        ("2ab", "exp(2*a*b)", "a:, b:"),
        (r"a \cdot b^2", "exp(a * b**2)", "a:, b:"),
    ],
)
def test_a_product_above_e_is_one_exponent(exponent: str, f: str, shapes: str) -> None:
    assert verify(f"f = e^{{{exponent}}}", given=[f"f = {f}"], shapes=shapes).verdict == "proved"
    assert verify(f"f = e^{{{exponent}}}", given=[f"f = 2 * {f}"], shapes=shapes).verdict == "refuted"
    assert (
        verify(rf"f = \exp({exponent})", given=[f"f = e^{{{exponent}}}"], shapes=shapes).verdict == "proved"
    )


QUADRATIC = {"given": ["f = x @ A @ x / 2 - b @ x"], "shapes": "A: n n, x: n, b: n", "assume": "A: symmetric"}
DAMPED = {"given": ["f = x**2 * exp(-x)"], "shapes": "x:"}
DEEP = {**NETWORK, "wrt": "W2", "of": "L"}
FULL = {"given": ["y = convolve(x, w)", "L = sum(delta * y)"], "shapes": "x: p, w: k, delta: p+k-1"}


@pytest.mark.parametrize(
    ("claim", "context", "verdict"),
    [
        ("H_f = A", {**QUADRATIC, "of": "f", "wrt": "x"}, "proved"),
        (r"\mathbf{H} = 2A", {**QUADRATIC, "of": "f", "wrt": "x"}, "refuted"),
        ("f'(x) = x(2-x)e^{-x}", DAMPED, "proved"),
        ("f'(x) = (2x+x^2)e^{-x}", DAMPED, "refuted"),
        ("f''(x) = (x^2+4x+2)e^{-x}", DAMPED, "refuted"),
        (r"\frac{\partial L}{\partial W^l_{jk}} = a^{l-1}_k\delta^l_j", DEEP, "proved"),
        (r"\frac{\partial L}{\partial W^l_{jk}} = a^{l-1}_j\delta^l_k", DEEP, "refuted"),
        (r"\frac{\partial L}{\partial x_j} = \sum_k \delta_{j+k} w_k", FULL, "proved"),
        (r"\frac{\partial L}{\partial x_j} = \sum_k \delta_{j-k} w_k", FULL, "refuted"),
        (r"\frac{\partial L}{\partial x_j} = \sum_{k=1}^{k} \delta_{j+k-1} w_k", FULL, "proved"),
    ],
)
def test_the_ways_of_writing_of_calculus_courses(claim: str, context: dict[str, Any], verdict: str) -> None:
    assert verify(claim, **context).verdict == verdict


STEPS = {
    "given": ["h1 = tanh(W @ h0)", "h2 = tanh(W @ h1)", "h3 = tanh(W @ h2)"],
    "shapes": "h0: n, W: n n",
    "symbols": {"T": "3"},
    "layout": "numerator",
}


@pytest.mark.parametrize(
    ("factors", "verdict"),
    [
        (r"\prod_{t=2}^{3} \operatorname{diag}(1-h_t^2) W", "undecided"),
        (r"\prod_{t=3}^{2} \operatorname{diag}(1-h_t^2) W", "proved"),
        (r"\mathop{\overset{\leftarrow}{\prod}}_{t=2}^{3} \operatorname{diag}(1-h_t^2) W", "proved"),
        (r"\mathop{\overset{\rightarrow}{\prod}}_{t=2}^{3} \operatorname{diag}(1-h_t^2) W", "refuted"),
        (r"\prod_{t=2}^{3} \operatorname{diag}(1-h_t^2) W^T", "refuted"),
        (r"\prod_{t=2}^{3} \frac{\partial h_t}{\partial h_{t-1}}", "proved"),
        (r"\prod_{t=2}^{3} \frac{\partial h_{t-1}}{\partial h_{t-2}}", "refuted"),
    ],
)
def test_a_product_of_matrices_has_an_order(factors: str, verdict: str) -> None:
    assert verify(r"\frac{\partial h_3}{\partial h_1} = " + factors, **STEPS).verdict == verdict


UNIT = {
    "given": ["z = w @ x + b", "yhat = sigmoid(z)", "E = (yhat - y)**2 / 2", "J = log(yhat)"],
    "shapes": "w: d, x: d, b:, y:",
}
SLOPE = r"\hat y(1-\hat y)"


@pytest.mark.parametrize(
    ("update", "of", "wrt", "verdict"),
    [
        (rf"w \leftarrow w - \eta (\hat y - y) {SLOPE} x", "E", "w", "proved"),
        (rf"w := w + \eta (y - \hat y) {SLOPE} x", "E", "w", "proved"),
        (rf"w_j = w_j - \eta (\hat y - y) {SLOPE} x_j", "E", "w", "proved"),
        (rf"\Delta w_j = \eta (y - \hat y) {SLOPE} x_j", "E", "w", "proved"),
        (
            rf"\Delta w = -\eta \frac{{\partial E}}{{\partial w}} = -\eta (\hat y - y) {SLOPE} x",
            "E",
            "w",
            "proved",
        ),
        (rf"w \leftarrow w + \eta (\hat y - y) {SLOPE} x", "E", "w", "refuted"),
        (r"w \leftarrow w - \eta (\hat y - y) x", "E", "w", "refuted"),
        (rf"b \gets b - \frac{{\eta}}{{2}} (\hat y - y) {SLOPE}", "E", "b", "refuted"),
        (r"w \leftarrow w + \eta (1 - \hat y) x", "J", "w", "undecided"),  # up or down?
        (r"w \leftarrow w + \eta (2 - \hat y) x", "J", "w", "refuted"),
        (rf"w \leftarrow w - (\hat y - y) {SLOPE} x", "E", "w", "unreadable"),
    ],
)
def test_an_update_says_what_the_derivative_is(update: str, of: str, wrt: str, verdict: str) -> None:
    try:
        found = verify(update, of=of, wrt=wrt, **UNIT).verdict
    except ReadError:
        found = "unreadable"
    assert found == verdict


SOFTMAX = {
    "given": ["z = W @ x + b", "p = softmax(z)", "L = -y @ log(p)", "delta = p - y"],
    "shapes": "W: k d, x: d, b: k, y: k",
    "assume": "y: onehot",
}


@pytest.mark.parametrize(
    ("claims", "verdict"),
    [
        (r"\nabla_W L = \delta x^\top, \quad \nabla_b L = \delta", "proved"),
        (r"\nabla_W L = \delta x^\top, \quad \nabla_b L = -\delta", "refuted"),
        (r"\nabla_W L = -\delta x^\top, \quad \nabla_b L = \delta", "refuted"),
        (r"\nabla_W L = \delta x^\top, \quad \delta = p - y", "proved"),
        (r"\nabla_W L = \delta x^\top, \quad \delta = y - p", "refuted"),
        (r"\nabla_W L = e x^\top, \nabla_b L = e \quad\text{with}\quad e = p - y", "proved"),
        (r"\begin{aligned} \nabla_W L &= \delta x^\top \\ \nabla_x L &= W \delta \end{aligned}", "refuted"),
    ],
)
def test_every_claim_of_a_display_is_judged(claims: str, verdict: str) -> None:
    assert verify(claims, **SOFTMAX).verdict == verdict


def test_names_of_functions_that_are_not_called_can_be_defined() -> None:
    assert verify(
        "dL/dx = 2 * (x - mean)", given=["mean = m", "L = norm(x - mean)**2"], shapes="x: n, m:"
    ).is_right
    with pytest.raises(ReadError, match="mean is a function"):
        verify("dL/dx = x", given=["mean = m", "L = mean(x)"], shapes="x: n, m:")


# --- what is printed is read back and holds ----------------------------------------------------------------------------


def printed_equations(name: str) -> list[list[dict[str, str]]]:
    """The answer of a derivation in the gallery and its steps, as they are printed there."""
    data = json.loads((OUTPUT / f"{name}.json").read_text(encoding="utf-8"))
    return [[data["left"], data["answer"]], *(step["equation"] for step in data["steps"])]


def is_by_a_part_without_a_name(equation: list[dict[str, str]]) -> bool:
    """d loss / d (X w): people write no such claims, and the reader asks for a name."""
    return any(re.search(r"grad\(\w+, (?!\w+(\[[\w+-]*\])?\))", side["text"]) for side in equation)


@pytest.mark.parametrize("form", ["latex", "unicode"])
@pytest.mark.parametrize(
    "name", [n for n in QUESTIONS if n not in ("convolution_with_channels", "attention_with_heads")]
)
def test_the_equations_of_the_gallery_are_read_back_and_hold(name: str, form: str) -> None:
    model = read_model(cleandoc(QUESTIONS[name][0]))
    if form == "unicode" and model.has_loops:
        pytest.skip("Unicode writes the members of loops as programs do: a[l-1]")
    judged = 0
    for equation in printed_equations(name):
        if is_by_a_part_without_a_name(equation):
            continue
        text = " = ".join(side[form] for side in equation)
        try:
            found = verify(text, model, seconds=20)
        except SymgradError:
            assert judged and model.has_loops, text  # a step between two layers
            continue
        assert found.is_right, (text, found.claim.read_as)
        judged += 1
    assert judged


WEIGHTED = {
    "given": [r"J(\beta) = (y-X\beta)^\top\Sigma^{-1}(y-X\beta)"],
    "shapes": "X: n p, y: n, b: p, S: n n",
    "assume": "S: symmetric",
    "symbols": {r"\beta": "b", r"\Sigma^{-1}": "S"},
}


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        (r"\frac{\partial J}{\partial\beta} = -2X^\top\Sigma^{-1}(y-X\beta)", "proved"),
        (r"\frac{\partial J}{\partial\beta} = -X^\top\Sigma^{-1}(y-X\beta)", "refuted"),
        (r"\frac{\partial J}{\partial y} = 2\Sigma^{-1}(y-X\beta)", "proved"),
        (r"\frac{\partial^2J}{\partial\beta\,\partial\beta^\top} = 2X^\top\Sigma^{-1}X", "proved"),
        (r"\frac{\partial^2J}{\partial\beta\partial\beta'} = X'\Sigma^{-1}X", "refuted"),
    ],
)
def test_a_function_of_one_variable_has_derivatives_by_all_names_in_it(claim: str, verdict: str) -> None:
    assert verify(claim, **WEIGHTED).verdict == verdict


def test_a_policy_is_no_number() -> None:
    policy = {"given": [r"\pi_\theta(a) = \frac{e^{\theta_a}}{\sum_b e^{\theta_b}}", r"J = r^\top \theta"]}
    with pytest.raises(NameUnknownError):
        verify(r"\nabla_\theta J = \pi r", **policy, shapes="theta: K, r: K")


# --- claims as they stand in lecture notes, right and wrong ones with their own key ---------------------------------


def lecture_claims() -> dict[str, list[tuple[dict[str, Any], dict[str, Any]]]]:
    """Claims by their context: definitions in both languages, then formulas with a key."""
    found: dict[str, list[tuple[dict[str, Any], dict[str, Any]]]] = {}
    context: dict[str, Any] = {}
    for line in (CASES / "claims" / "lectures.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if "context" in record:
            context = record
        else:
            found.setdefault(context["context"], []).append((context, record))
    return found


LECTURES = lecture_claims()


def test_there_are_many_lecture_claims_of_both_kinds() -> None:
    right = [record["right"] for listed in LECTURES.values() for _, record in listed]
    assert len(right) > 200 and len(right) / 3 < sum(right) < len(right) * 3 / 4


@pytest.mark.parametrize("name", sorted(LECTURES))
def test_lecture_claims_are_judged_as_their_key_says(name: str) -> None:
    for context, record in LECTURES[name]:
        claim = read_claim(record["claim"], context_of({**context, **record}))
        found = judge(claim, seconds=20)
        assert (found.word, found.is_right) == (found.word, record["right"]), record["claim"]
        assert found.is_right or found.word == "refuted", record["claim"]


def test_arguments_of_another_kind_are_refused_in_a_sentence() -> None:
    for arguments in (("dL/dx = 2 * x", "L = x @ x"), (5,)):
        with pytest.raises(ReadError):
            verify(*arguments)  # type: ignore[arg-type]
    assert verify("dL/dx = 2 * x", given="L = x @ x", shapes="x: n").verdict == "proved"
    with pytest.raises(symgrad.SymgradError, match="the kinds are"):
        symgrad.derive("x @ x", "x", shapes="x: n", kind="gradent")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        (r"\frac{\partial f}{\partial x_i} = 2 x_i \quad (x_i > 0)", "undecided"),
        (r"\frac{\partial f}{\partial x_i} = x_i / |x_i| + 1, \quad i \neq j", "undecided"),
        (r"\frac{\partial f}{\partial x_i} = \mathrm{sign}(x_i) \quad (x_i > 0)", "proved"),
        (r"\frac{\partial f}{\partial x_i} = 2 x_i, \quad i = 1, \ldots, n", "refuted"),
    ],
)
def test_a_claim_under_a_condition_that_is_not_read_is_not_refuted(claim: str, verdict: str) -> None:
    assert verify(claim, given=["f = norm(x, 1)"], shapes="x: n").verdict == verdict


@pytest.mark.parametrize("left", ["dg", r"\mathrm{d}g", r"dg(x)"])
def test_a_differential_says_itself_of_what_and_by_what(left: str) -> None:
    shapes = "x: n, A: n n"
    assert (
        verify(left + r" = x^\top (A + A^\top) dx", given=[r"g = x^\top A x"], shapes=shapes).verdict
        == "proved"
    )
    assert (
        verify(left + r" = 2 x^\top A \, dx", given=[r"g = x^\top A x"], shapes=shapes).verdict == "refuted"
    )


def test_the_definition_that_everything_hangs_on_is_named() -> None:
    definitions = [r"A = \mathrm{softmax}(X)", "O = A V", r"L = \operatorname{tr}(G^\top O)"]
    with pytest.raises(NameUnknownError) as caught:
        verify(
            r"\frac{\partial L}{\partial V} = A^\top G", given=definitions, shapes="X: n m, V: m v, G: n v"
        )
    assert "softmax" in str(caught.value)
    assert "two ways" in str(caught.value)


HIGHER: tuple[tuple[str, str, bool], ...] = (
    (r"f(x) = \sin x", r"f'''(x) = -\cos x", True),
    (r"f(x) = \sin x", r"f^{(3)}(x) = -\cos x", True),
    (r"f(x) = \sin x", r"f^{(3)}(x) = \sin x", False),
    (r"f(x) = \sin x", r"\frac{d^3 f}{dx^3} = -\cos x", True),
    (r"f(x) = x^3", r"\frac{d^3}{dx^3} f = 6x", False),
    (r"f(x, y) = x^2 y", r"\frac{\partial^3 f}{\partial x^2 \partial y} = 2", True),
    (r"f(x, y) = x^2 y", r"\frac{\partial^3 f}{\partial x^2 \partial y} = 2x", False),
    (r"f(x) = \tanh x", r"f'(x) = {4 \over (e^x + e^{-x})^2}", True),
    (r"f(x) = x^{1 \over 2}", r"{df \over dx} = {1 \over \sqrt x}", False),
)


@pytest.mark.parametrize(("given", "claim", "right"), HIGHER)
def test_derivatives_of_any_order_by_scalars(given: str, claim: str, right: bool) -> None:
    assert verify(claim, given=[given], shapes="x:, y:").is_right is right


def test_an_order_that_may_be_a_layer_is_read_both_ways() -> None:
    context: dict[str, Any] = {
        "given": ["z1 = W1 @ x", "L = g @ sigmoid(z1)"],
        "shapes": "W1: m n, x: n, g: m",
    }
    verdict = verify(r"\nabla_{z_1} L = g \odot \sigma^{(2)}(z_1)", **context)
    assert verdict.verdict == "refuted"  # neither the second derivative nor the function itself
    assert verify(r"\sigma^{(2)}(g) = \sigma(g)", **context).verdict == "undecided"


def test_a_gradient_without_its_variable_is_by_the_argument_of_the_definition() -> None:
    shapes = "A: n n, x: n"
    assert verify(r"\nabla^2 g = A + A^\top", given=[r"g(x) = x^\top A x"], shapes=shapes).is_right
    with pytest.raises(ReadError, match="a gradient by what"):
        verify(r"\nabla^2 g = A + A^\top", given=[r"g = x^\top A x"], shapes=shapes)


@pytest.mark.parametrize(
    ("claim", "layout", "right"),
    [
        (r"\frac{\partial f}{\partial x} = x^\top (A + A^\top)", None, True),
        (r"\frac{\partial f}{\partial x} = x^\top (A + A^\top)", "numerator", True),
        (r"\frac{\partial f}{\partial x} = x^\top (A + A^\top)", "gradient", False),
        (r"\frac{\partial f}{\partial x} = (A + A^\top) x", "gradient", True),
        (r"\frac{\partial f}{\partial x} = (A + A^\top) x", "numerator", False),
        (r"\nabla_x f = (A + A^\top) x", "numerator", True),
        (r"\frac{\partial f}{\partial x^\top} = x^\top (A + A^\top)", "gradient", True),
        (r"D f(x) = x^\top (A + A^\top)", "gradient", True),
    ],
)
def test_the_layout_that_is_said_holds(claim: str, layout: Any, right: bool) -> None:
    verdict = verify(claim, given=["f = x @ A @ x"], shapes="A: n n, x: n", layout=layout)
    assert verdict.is_right is right
    assert right or verdict.kind == "wrong layout"


def test_a_bias_added_to_rows_may_stand_as_a_row() -> None:
    context: dict[str, Any] = {
        "given": ["L = sum(G * (X @ W + b))"],
        "shapes": "X: n d, W: d k, b: k, G: n k",
    }
    for claim in (
        r"\frac{\partial L}{\partial b} = \mathbf 1^\top G",
        r"\frac{\partial L}{\partial b} = G^\top \mathbf 1",
    ):
        assert verify(claim, layout="gradient", **context).is_right


@pytest.mark.parametrize(
    "claim",
    [
        r"\frac{\partial W y}{\partial x^\top} = W",
        r"\nabla_W L = g_{99999} x^\top",
        r"\nabla_x L (x) (x) (x) = g",
    ],
)
def test_what_does_not_fit_ends_in_one_sentence(claim: str) -> None:
    try:
        verdict = verify(claim, given=["y = W @ x", "L = g @ y"], shapes="W: m n, x: n, g: m")
    except SymgradError:
        return
    assert not verdict.is_right


@pytest.mark.parametrize(
    ("claim", "given", "verdict"),
    [
        (r"\arctan(\tan t) = t", (), "refuted"),
        (r"|\cos t| = \cos t", (), "refuted"),
        (r"\frac{df}{dt} = -\sin t", ("f = sqrt(cos(t)**2)",), "refuted"),
        (r"\sin^2 t = 1 - \cos^2 t", (), "proved"),
        (r"\frac{df}{dt} = \frac{1}{\cos^2 t}", ("f = tan(t)",), "proved"),
    ],
)
def test_angles_are_not_taken_from_one_half_turn_only(
    claim: str, given: tuple[str, ...], verdict: str
) -> None:
    assert verify(claim, given=list(given), shapes="t: ").verdict == verdict


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        (r"\frac{\partial L}{\partial x_3} = 2 x_3", "agrees"),
        (r"\frac{\partial L}{\partial x_3} = x_3", "refuted"),
        (r"\frac{\partial L}{\partial x_{10}} = 2 x_{10}", "agrees"),
        (r"\frac{\partial L}{\partial x_{10}} = 2 x_{9}", "refuted"),
    ],
)
def test_sizes_have_room_for_numbered_entries(claim: str, verdict: str) -> None:
    assert verify(claim, given=["L = x @ x"], shapes="x: n").verdict == verdict
