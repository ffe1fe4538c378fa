r"""Reading LaTeX: what formulas of lecture notes say, what is refused, and that what is printed is read back."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy import Expr

from symgrad.checking.evaluate import Evaluator, concrete
from symgrad.errors import (
    NameUnknownError,
    ReadError,
    ShapeError,
    SymgradError,
    TooLargeError,
    UnsupportedError,
)
from symgrad.expr import is_matrix, leaves, shape_of
from symgrad.reading import read_model, read_question
from symgrad.reading.claim import Claim, Context, read_claim
from symgrad.reading.context import shape_lists
from symgrad.reading.latex import read_expression
from symgrad.reading.latex.context import setting_of
from symgrad.reading.latex.scanner import tokenise
from symgrad.reading.latex.tree import parse_statements
from symgrad.rendering import to_latex, to_numpy, to_text

CASES = Path(__file__).parent / "cases"

CONTEXTS: dict[str, Context] = {
    # two layers, one example, columns
    "mlp": Context(
        definitions=(
            "z1 = W1 @ x + b1", "a1 = sigmoid(z1)", "z2 = W2 @ a1 + b2", "yhat = softmax(z2)",
            "L = -sum(y * log(yhat))", "delta2 = yhat - y", "delta1 = (W2.T @ delta2) * a1 * (1 - a1)",
        ),
        shapes="x: d, W1: h d, b1: h, W2: k h, b2: k, y: k", assume="y: onehot", target="L",
    ),
    # three layers with layer marks
    "deep": Context(
        definitions=(
            "z1 = W1 @ a0 + b1", "a1 = tanh(z1)", "z2 = W2 @ a1 + b2", "a2 = tanh(z2)", "z3 = W3 @ a2 + b3",
            "a3 = sigmoid(z3)", "C = norm(a3 - y)**2 / 2", "delta3 = (a3 - y) * a3 * (1 - a3)",
            "delta2 = (W3.T @ delta3) * (1 - a2**2)", "delta1 = (W2.T @ delta2) * (1 - a1**2)",
        ),
        definitions_latex=(
            r"z^{l} = W^{l} a^{l-1} + b^{l}", r"\delta^{l} = \frac{\partial C}{\partial z^{l}}",
        ),
        shapes="a0: n0, W1: n1 n0, b1: n1, W2: n2 n1, b2: n2, W3: n3 n2, b3: n3, y: n3", target="C",
    ),
    # a batch in columns
    "batch": Context(
        definitions=(
            "Z1 = W1 @ X + outer(b1, ones(m))", "A1 = relu(Z1)", "Z2 = W2 @ A1 + outer(b2, ones(m))",
            "A2 = sigmoid(Z2)", "J = -sum(Y * log(A2) + (1 - Y) * log(1 - A2)) / m", "dZ2 = A2 - Y",
            "dZ1 = (W2.T @ dZ2) * (Z1 > 0)",
        ),
        definitions_latex=(r"A^{[1]} = g^{[1]}(Z^{[1]}) = \mathrm{ReLU}(Z^{[1]})",),
        shapes="X: n0 m, W1: n1 n0, b1: n1, W2: n2 n1, b2: n2, Y: n2 m", assume="Y: binary", target="J",
    ),
    # a batch in rows
    "rows": Context(
        definitions=("S = X @ W + b", "P = softmax(S, axis=1)", "L = -sum(Y * log(P)) / N + lam / 2 * norm(W)**2"),
        shapes="X: N D, W: D K, b: K, Y: N K, lam:", assume="Y: onehot_rows, lam: positive", target="L",
        symbols={r"\lambda": "lam"},
    ),
    # one example as a row
    "row": Context(
        definitions=(
            "z1 = x @ W1 + b1", "h = sigmoid(z1)", "z2 = h @ W2 + b2", "yhat = softmax(z2)", "J = -sum(y * log(yhat))",
            "delta1 = yhat - y",
        ),
        shapes="x: p, W1: p q, b1: q, W2: q r, b2: r, y: r", assume="y: onehot", target="J",
        symbols={r"x, h, y": "row vectors in the source"},
    ),
    "quadratic": Context(
        definitions=("f = x @ A @ x + b @ x", "g = norm(A @ x - b)**2"), shapes="x: n, A: n n, b: n",
    ),
    "least squares": Context(
        definitions=("r = X @ w - y", "E = r @ r / (2 * N) + lam * w @ w"), shapes="X: N d, w: d, y: N, lam:",
        assume="lam: positive", target="E", wrt="w", symbols={r"\lambda": "lam", r"\mathbf{x}_i": "row i of X"},
    ),
    "logistic": Context(
        definitions=("yhat = sigmoid(Phi @ w)", "E = -sum(t * log(yhat) + (1 - t) * log(1 - yhat))"),
        shapes="Phi: N M, w: M, t: N", assume="t: binary", target="E", wrt="w",
        symbols={r"\boldsymbol\phi_n": "row n of Phi", r"y_n": "yhat[n]", r"\mathbf{R}": "diag(yhat * (1 - yhat))"},
    ),
    # entries everywhere
    "entries": Context(
        definitions=("a = V @ x", "z = tanh(a)", "y = W @ z", "E = sum((y - t)**2) / 2", "e = y - t"),
        shapes="x: D, V: M D, W: K M, t: K", target="E",
    ),
    "rnn": Context(
        definitions=(
            "s1 = W @ h0 + U @ x1", "h1 = tanh(s1)", "s2 = W @ h1 + U @ x2", "h2 = tanh(s2)", "L = norm(h2 - y)**2 / 2",
            "delta2 = (h2 - y) * (1 - h2**2)", "delta1 = (W.T @ delta2) * (1 - h1**2)",
        ),
        shapes="h0: n, W: n n, U: n p, x1: p, x2: p, y: n", target="L",
    ),
    "norm layer": Context(
        definitions=(
            "mu = sum(x) / m", "v = sum((x - mu)**2) / m", "xhat = (x - mu) / sqrt(v + eps)", "y = gamma * xhat + beta",
            "ell = sum(g * y)",
        ),
        shapes="x: m, gamma:, beta:, eps:, g: m", assume="eps: positive", target="ell",
        symbols={r"\sigma^2": "v", r"\sigma_{\mathcal B}^2": "v", r"\sigma^2_{\mathcal B}": "v",
                 r"\frac{\partial \ell}{\partial y_i}": "g[i]"},
    ),
    "attention": Context(
        definitions=(
            "S = Q @ K.T / sqrt(d)", "P = softmax(S, axis=1)", "O = P @ V", "L = sum(dO * O)", "dP = dO @ V.T",
            "dS = P * (dP - outer(sum(P * dP, axis=1), ones(m)))",
        ),
        shapes="Q: n d, K: m d, V: m dv, dO: n dv", target="L",
    ),
    "einstein": Context(
        definitions=("C = A @ B", "L = sum(G * C)"), shapes="A: n m, B: m p, G: n p", target="L",
        symbols={"repeated indices": "summed"},
    ),
    "scalars": Context(
        definitions=("p = sigmoid(z)", "F = -(1 - p)**gamma * log(p)"), shapes="z:, gamma:", assume="gamma: positive",
        target="F", wrt="z",
    ),
    "matrices": Context(
        definitions=("f = logdet(A)", "g = tr(A @ B)", "h = norm(A)**2"), shapes="A: n n, B: n n, c: n, t:",
        assume="A: positive_definite",
    ),
    "softmax": Context(definitions=("p = softmax(z)",), shapes="z: K", target="p", wrt="z"),
    "correlation": Context(
        definitions=("y = correlate(x, w) + b", "L = sum(delta * y)"), shapes={"x": ["p+k-1"], "w": ["k"], "b": [],
        "delta": ["p"]}, target="L", symbols={"K": "length of w (dim k)"},
    ),
    "images": Context(
        definitions=("a0 = sigmoid(z0)", "z1 = correlate2(a0, W1)", "J = sum(delta1 * z1)"),
        shapes={"z0": ["p+k-1", "q+r-1"], "W1": ["k", "r"], "delta1": ["p", "q"]}, target="J", wrt="z0",
        symbols={"*": "2-D cross-correlation, full in the backward pass"},
    ),
    "metric": Context(
        definitions=("D = norm(a - p)**2 - norm(a - n)**2 + alpha", "L = relu(D)"), shapes="a: d, p: d, n: d, alpha:",
        target="L",
    ),
    "factors": Context(
        definitions=("E = M * (R - U @ V.T)", "L = norm(E)**2 + lam * (norm(U)**2 + norm(V)**2)"),
        shapes="M: n m, R: n m, U: n k, V: m k, lam:", assume="M: binary, lam: positive", target="L",
        symbols={r"\lambda": "lam"},
    ),
    "samples": Context(
        definitions=("z = X @ theta", "h = sigmoid(z)", "J = -sum(y*log(h) + (1-y)*log(1-h)) / m"),
        definitions_latex=(
            r"h_\theta(x) = g(\theta^T x) = \frac{1}{1+e^{-\theta^T x}}",
            r"J(\theta) = -\frac{1}{m} \sum_{i=1}^{m}"
            r" [ y^{(i)} \log h_\theta(x^{(i)}) + (1-y^{(i)}) \log(1-h_\theta(x^{(i)})) ]",
        ),
        shapes="X: m n, theta: n, y: m", assume="y: binary", target="J", wrt="theta",
    ),
    "linear regression": Context(
        definitions=("J = norm(X @ theta - y)**2 / (2*m)",),
        definitions_latex=(
            r"h_\theta(x) = \theta^T x", r"J(\theta) = \frac{1}{2m} \sum_{i=1}^{m} (h_\theta(x^{(i)}) - y^{(i)})^2",
        ),
        shapes="X: m n, theta: n, y: m", target="J", wrt="theta",
    ),
    "hinge": Context(
        definitions=("u = 1 - y * (X @ w)", "L = sum(relu(u)) / n + lam * norm(w)**2 / 2"),
        shapes="X: n d, w: d, y: n, lam:", assume="y: pm1, lam: positive", target="L", wrt="w",
        symbols={r"\lambda": "lam", r"x_i": "row i of X"},
    ),
    "margins": Context(
        definitions=("u = y * (X @ w)", "L = sum(log(1 + exp(-u))) / n"), shapes="X: n d, w: d, y: n",
        assume="y: pm1", target="L", wrt="w", symbols={r"\mathbf{x}_i": "row i of X"},
    ),
    "divergence": Context(
        definitions=("K = -sum(1 + logv - mu**2 - exp(logv)) / 2",), shapes="mu: d, logv: d", target="K",
    ),
    "lstm": Context(
        definitions=(
            "i = sigmoid(Wi @ x + Ui @ h0 + bi)", "f = sigmoid(Wf @ x + Uf @ h0 + bf)",
            "o = sigmoid(Wo @ x + Uo @ h0 + bo)", "g = tanh(Wg @ x + Ug @ h0 + bg)", "c1 = f * c0 + i * g",
            "h1 = o * tanh(c1)", "L = norm(h1 - y)**2 / 2",
        ),
        shapes="x: d, h0: n, c0: n, Wi: n d, Ui: n n, bi: n, Wf: n d, Uf: n n, bf: n, Wo: n d, Uo: n n, bo: n,"
        " Wg: n d, Ug: n n, bg: n, y: n",
        target="L",
    ),
    "words": Context(
        definitions=("yhat = softmax(U.T @ vc)", "J = -sum(y * log(yhat))"), shapes="U: d V, vc: d, y: V",
        assume="y: onehot", target="J", symbols={r"v_c": "vc", r"u_w": "column w of U"},
    ),
    "gaussian": Context(
        definitions=("f = (x - mu) @ inv(S) @ (x - mu) / 2 + logdet(S) / 2",), shapes="x: n, mu: n, S: n n",
        assume="S: positive_definite", target="f", symbols={r"\Sigma": "S"},
    ),
    "three steps": Context(
        definitions=(
            "s1 = W @ h0 + U @ x1", "h1 = tanh(s1)", "s2 = W @ h1 + U @ x2", "h2 = tanh(s2)", "s3 = W @ h2 + U @ x3",
            "h3 = tanh(s3)", "L = norm(h3 - y)**2 / 2", "delta3 = (h3 - y) * (1 - h3**2)",
            "delta2 = (W.T @ delta3) * (1 - h2**2)", "delta1 = (W.T @ delta2) * (1 - h1**2)",
        ),
        shapes="h0: n, W: n n, U: n p, x1: p, x2: p, x3: p, y: n", target="L",
    ),
    "negatives": Context(
        definitions=("J = -log(sigmoid(uo @ v)) - sum(log(sigmoid(-(U @ v))))", "dJ = -uo"),
        definitions_latex=(
            r"J = -\log\sigma(u_o^\top v_c) - \sum_{k=1}^K \log\sigma(-u_k^\top v_c)",
        ),
        shapes="uo: d, v: d, U: K d", target="J",
        symbols={"v_c": "v", "u_k": "row k of U", r"\delta v_c": "dJ"},
    ),
}  # fmt: skip


def table() -> list[tuple[str, str, str]]:
    """The claims of the table: context, formula, what it says."""
    rows, context, formula = [], "", ""
    for line in (CASES / "latex_claims.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            context = line.strip("[]")
        elif line.startswith("    "):
            rows.append((context, formula, line.strip()))
        elif line and not line.startswith("#"):
            formula = line
    return rows


def value_at_random(e: Expr, sizes: dict[Any, int]) -> Any:
    """The value at a point that depends on the names only."""
    e = concrete(e, sizes)
    values: dict[Expr, Any] = {}
    for leaf in leaves(e):
        name = str(getattr(leaf, "name", leaf))
        shape = tuple(int(s) for s in leaf.shape) if is_matrix(leaf) else ()
        random = np.random.default_rng(sum(map(ord, name)) + 100 * len(name))
        values[leaf] = random.uniform(0.2, 0.9, shape) if shape else float(random.uniform(0.3, 0.8))
    with np.errstate(invalid="ignore", divide="ignore"):
        return Evaluator()(e, values)


def same_value(a: Expr, b: Expr) -> bool:
    """Whether two expressions have the same shape and value; all sizes differ."""
    sizes = set()
    for leaf in (*leaves(a), *leaves(b)):
        for s in shape_of(leaf) or ((leaf,) if leaf.is_integer and leaf.is_positive else ()):
            sizes |= s.free_symbols
    numbers = {s: 3 + k for k, s in enumerate(sorted(sizes, key=str))}
    p, q = value_at_random(a, numbers), value_at_random(b, numbers)
    return np.shape(p) == np.shape(q) and bool(np.allclose(p, q, equal_nan=True))


def meant(text: str, claim: Claim, context: Context) -> Expr:
    """An expression of the text language in the names of a claim."""
    known = claim.model.symbols
    rest = {n: list(s) for n, s in shape_lists(context.shapes).items() if n not in known}
    return read_question(text, model=claim.model, shapes=rest)[1]


# --- what formulas say -----------------------------------------------------------------------------------------


def test_the_table_is_large() -> None:
    assert len(table()) >= 230


@pytest.mark.parametrize("name", CONTEXTS)
def test_claims_say_what_the_table_says(name: str) -> None:
    context = CONTEXTS[name]
    rows = [(latex, text) for where, latex, text in table() if where == name]
    assert rows
    for latex, text in rows:
        claim = read_claim(latex, context)
        assert claim.misfit is None and not claim.indices, latex
        assert same_value(claim.links[-1], meant(text, claim, context)), (latex, claim.read_as)


LEFT_SIDES = [
    ("mlp", r"\frac{\partial L}{\partial W_2} = \delta_2 a_1^\top", "gradient", "dL/dW2"),
    ("mlp", r"\nabla_x L = W_1^\top \delta_1", "gradient", "dL/dx"),
    ("mlp", r"\frac{\partial \hat y}{\partial z_2} = \mathrm{diag}(\hat y) - \hat y \hat y^\top",
     "jacobian", "jacobian(yhat, z2)"),
    ("batch", r"dW^{[2]} = \frac{1}{m} dZ^{[2]} A^{[1]T}", "gradient", "dJ/dW2"),
    ("quadratic", r"\nabla^2 f(x) = A + A^\top", "hessian", "hessian(f, x)"),
    ("quadratic", r"\frac{\partial^2 f}{\partial x \partial x^\top} = A + A^\top", "hessian", "hessian(f, x)"),
    ("quadratic", r"x^\top A^\top x = x^\top A x", "identity", "x @ A.T @ x"),
    ("deep", r"\delta^3 = (a^3 - y) \odot \sigma'(z^3)", "gradient", "dC/dz3"),
    ("least squares", r"\frac1N X^\top r + 2\lambda w", "gradient", "dE/dw"),
    ("matrices", r"\frac{\partial \log\det A}{\partial A} = A^{-\mathsf T}", "gradient", "df/dA"),
]  # fmt: skip


def test_left_sides_say_what_is_differentiated() -> None:
    for name, latex, kind, shown in LEFT_SIDES:
        claim = read_claim(latex, CONTEXTS[name])
        assert claim.kind == kind, latex
        assert claim.read_as.startswith(shown + " = "), claim.read_as


def test_every_link_of_a_chain_is_kept() -> None:
    claim = read_claim(
        r"\begin{align} \frac{\partial L}{\partial W_2} &= \frac{\partial L}{\partial z_2} a_1^\top \\"
        r" &= (\hat y - y) a_1^\top \\ &= \delta_2 a_1^\top \end{align}",
        CONTEXTS["mlp"],
    )
    assert claim.read_as == "dL/dW2 = outer(grad(L, z2), a1) = outer(yhat - y, a1) = outer(delta2, a1)"


def test_a_layer_letter_stands_for_every_layer_that_has_the_names() -> None:
    claim = read_claim(r"\delta^l = ((W^{l+1})^T \delta^{l+1}) \odot \tanh'(z^l)", CONTEXTS["deep"])
    assert [str(c.wrt) for c in (claim, *claim.readings)] == ["z1", "z2"]


def test_what_fits_in_two_ways_is_shown_in_both() -> None:
    context = Context(definitions=("f = x @ A @ B @ x",), shapes="x: n, A: n n, B: n n", target="f", wrt="A")
    claim = read_claim(r"\frac{\partial f}{\partial A} = A \odot B A", context)
    assert [c.read_as for c in (claim, *claim.readings)] == ["df/dA = A * (B @ A)", "df/dA = (A * B) @ A"]


def test_sizes_that_do_not_fit_are_a_finding() -> None:
    claim = read_claim(r"\frac{\partial L}{\partial a_1} = W_2 \delta_2", CONTEXTS["mlp"])
    assert isinstance(claim.misfit, ShapeError)
    assert claim.read_as == "dL/da1 = W2 @ delta2"
    assert "the left factor transposed is h x k and would fit" in str(claim.misfit)
    turned = read_claim(r"\frac{\partial L}{\partial W_1} = x \delta_1^\top \mathbf{1}", CONTEXTS["mlp"])
    assert turned.misfit is not None


def test_entries_without_a_matrix_form_stay_entries() -> None:
    context = Context(definitions=("f = sum(A * A)",), shapes="A: n m, T: n m", target="f")
    claim = read_claim(r"\frac{\partial f}{\partial A_{ij}} = A_{ij} T_{1j}", context)
    assert [str(i) for i in claim.indices] == ["i", "j"]
    assert claim.wrt_entry == claim.indices
    assert claim.read_as == "df/dA[i, j] = A[i, j] * T[0, j]"


def test_remarks_are_passed_over_and_named() -> None:
    claim = read_claim(
        r"\frac{\partial L}{\partial W_2} = \underbrace{\delta_2}_{\text{error}} a_1^\top, \quad l = 1, 2",
        CONTEXTS["mlp"],
    )
    assert "the remark" in claim.read_as


# --- definitions ---------------------------------------------------------------------------------------------------


def test_definitions_in_latex_are_a_model() -> None:
    context = Context(
        definitions_latex=(
            r"z^{(l)} = W^{(l)} a^{(l-1)} + b^{(l)}", r"a^{(1)} = f(z^{(1)}) = \tanh(z^{(1)}), \quad \hat y = z^{(2)}",
            r"J = \frac12 \|\hat y - y\|^2 + \frac{\lambda}{2} \sum_{i,j} (W^{(1)}_{ij})^2",
            r"\delta^{(l)} = \frac{\partial J}{\partial z^{(l)}}",
        ),
        shapes="a0: n0, W1: n1 n0, b1: n1, W2: n2 n1, b2: n2, y: n2, lam:", symbols={r"\lambda": "lam"},
    )  # fmt: skip
    claim = read_claim(r"\delta^{(1)} = f'(z^{(1)}) \odot W^{(2)\top} \delta^{(2)}", context)
    assert claim.read_as == "dJ/dz1 = (1 - tanh(z1)**2) * (W2.T @ delta2)"
    defined = {str(d.symbol): to_numpy(d.value) for d in claim.model.definitions()}
    assert defined["z1"] == "W1 @ a0 + b1"
    assert defined["a1"] == "tanh(z1)"
    assert defined["z2"] == "W2 @ a1 + b2"
    assert defined["yhat"] == "z2"


def test_component_definitions_are_read_as_arrays() -> None:
    context = Context(
        definitions_latex=(
            r"a_j = \sum_{i=1}^{D} w_{ji} x_i", r"z_j = h(a_j)", r"h(t) = \frac{1}{1 + e^{-t}}", r"y_k = \sum_j v_{kj} z_j",
            r"E = \frac12 \sum_k (y_k - t_k)^2",
        ),
        shapes="x: D, W: M D, V: K M, t: K",
    )  # fmt: skip
    setting = setting_of(context)
    shown = {str(d.symbol): to_numpy(d.value) for d in setting.model.definitions()}
    assert (shown["a"], shown["y"], shown["E"]) == ("W @ x", "V @ z", "norm(y - t)**2 / 2") or shown[
        "a"
    ] == "W @ x"
    claim = read_claim(r"\frac{\partial E}{\partial w_{ji}} = h'(a_j) \sum_k v_{kj} (y_k - t_k) x_i", context)
    assert claim.read_as.startswith("dE/dW = outer(")


def test_rows_are_seen_in_the_definitions() -> None:
    context = Context(
        definitions=("h = sigmoid(x @ W + b)", "J = sum(h)"), definitions_latex=(r"h = \sigma(x W + b)",),
        shapes="x: p, W: p q, b: q", target="J",
    )  # fmt: skip
    claim = read_claim(r"\frac{\partial J}{\partial W} = x^\top (h \odot (1 - h))", context)
    assert claim.read_as == "dJ/dW = outer(x, h * (1 - h))"


def test_a_loss_of_which_only_the_derivative_is_given() -> None:
    context = Context(
        definitions_latex=(r"Z = \hat{A} X W", r"H = \mathrm{ReLU}(Z)", r"G = \frac{\partial L}{\partial H}"),
        shapes="Ahat: n n, X: n p, W: p q, G: n q",
    )  # fmt: skip
    claim = read_claim(
        r"\frac{\partial L}{\partial W} = (\hat{A}X)^\top (G \odot \mathbb{1}[Z > 0])", context
    )
    assert same_value(claim.links[0], meant("(Ahat @ X).T @ (G * (Z > 0))", claim, context))


def test_a_definition_that_is_not_read_makes_no_input() -> None:
    context = Context(definitions_latex=(r"y = \int_0^1 x \, dx", r"L = \|y\|^2"), shapes="x: n, y: n")
    with pytest.raises(SymgradError):
        read_claim(r"\frac{\partial L}{\partial y} = 2 y", context)


@pytest.mark.parametrize(
    ("claim", "definition", "reason"),
    [
        (
            r"\frac{\partial L}{\partial x} = f'(x)",
            r"f(t) = \int_0^t e^{-s^2} ds",
            r"(line 1, column 8 of it): \int",
        ),
        (
            r"\frac{\partial L}{\partial x} = G",
            r"G = \foo{3}",
            r"(line 1, column 5 of it): \foo is not known",
        ),
        (r"\frac{\partial L}{\partial x} = G", "G = W q", "(line 1, column 7 of it): q is not known"),
    ],
)
def test_an_unknown_name_says_which_definition_of_it_is_not_read(
    claim: str, definition: str, reason: str
) -> None:
    context = Context(("L = x @ W @ x",), (definition,), {"x": ["n"], "W": ["n", "n"]})
    with pytest.raises(NameUnknownError) as caught:
        read_claim(claim, context)
    (detail,) = caught.value.details
    assert definition in detail and reason in detail
    assert caught.value.column is not None


# --- refused -------------------------------------------------------------------------------------------------------

REFUSED = [
    ("mlp", r"\frac{\partial L}{\partial W_2} = \delta_2 q", "q is not known", 44),
    ("mlp", r"\frac{\partial L}{\partial W_2} = \delta_2 \star a_1", "a star between arrays", 50),
    ("mlp", r"\frac{\partial L}{\partial W_2} = \delta_2 a_1^\top + \cdots", "dots leave a part of the formula open", 55),
    ("mlp", r"\frac{\partial L}{\partial W_2} \approx \delta_2 a_1^\top", "makes no claim", 33),
    ("mlp", r"\frac{\partial L}{\partial W_2} = \delta_2 a_1^\top \quad \delta_2 x^\top",
     "this part of the formula is not read", 59),
    ("mlp", r"\frac{\partial L}{\partial W_2} = (\delta_2 a_1^\top", "the formula ends too early", 53),
    ("mlp", r"\frac{\partial L}{\partial W_2} = \delta_2 a_1^\top)", "')' closes nothing", 52),
    ("mlp", r"\frac{\partial L}{\partial W_2} = {\delta_2 a_1^\top", "'{' is never closed", 35),
    ("mlp", r"\frac{\partial L}{\partial W_2} = |\delta_2 a_1^\top", "this bar is never closed", 35),
    ("mlp", r"\frac{\partial L}{\partial W_2} = \delta_2 a_1^{+}", "where the rank is known", 44),
    ("mlp", r"\frac{\partial L}{\partial W_2} = \int \delta_2", r"\int is not known", 35),
    ("mlp", r"\frac{\partial L}{\partial W_2} = \foo{\delta_2}", r"\foo is not known", 35),
    ("mlp", r"\frac{\partial L}{\partial W_2} = \delta_2 a_1^\top x_9 \text{ for all } x",
     "this part of the formula is not read", None),
    ("mlp", r"\frac{\partial L}{\partial z_1} = f'(z_1)", "the function f is not known", 35),
    ("mlp", r"\frac{\partial L}{\partial z_2} = \mathrm{softmax}'(z_2)", "has no derivative entry by entry", 35),
    ("matrices", r"\frac{\partial f}{\partial A} = A / B", "can be an inverse or entry by entry", None),
    ("matrices", r"\frac{\partial f}{\partial A} = \|A\|_2 A", "the spectral norm is not read", None),
    ("matrices", r"\frac{\partial f}{\partial A} = A + t", "a scalar is added to a n x n matrix", None),
    ("matrices", r"\frac{\partial^3 f}{\partial A \partial A \partial A} = 0", "a derivative of third order", None),
    ("entries", r"\frac{\partial E}{\partial w_{kj}} = e_k z_i", "i is neither an index nor a layer here", None),
    ("entries", r"\frac{\partial E}{\partial w_{kj}} = e_k \sum_{i=1}^{K} z_i", "the sum goes to K", None),
    ("entries", r"\frac{\partial E}{\partial w_{kj}} = e_k \sum_i 2", "the range of the index i is not known", None),
    ("einstein", r"\frac{\partial L}{\partial A_{ij}} = G_{ik} B_{jk} A_{kk}", "occurs 4 times", None),
    ("softmax", r"p = \begin{cases} z & z > 0 \\ p & z < 1 \end{cases}", "do not complete each other", None),
    ("scalars", r"\frac{dp}{dz} = z / 0", "a division by zero", None),
    ("scalars", r"\frac{dp}{dz} = z^{99999}", "the exponent is beyond 1000", None),
    ("scalars", r"\frac{dp}{dz} = \sigma^{-1}(z)", "an inverse function is not read", None),
    ("attention", r"dS = P \odot (dP - dX)", "X is not known", 21),
    ("attention", r"\frac{\partial L}{\partial Q} = dK", "can be a name, or d times", 33),
    ("mlp", r"\frac{\partial L}{\partial W_2} = \delta_2 a_1^\top, \quad \frac{\partial L}{\partial b_2} = \delta_2",
     "one claim at a time", None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "latex", "message", "column"), REFUSED, ids=[r[1][-40:] for r in REFUSED])
def test_refused_with_position(name: str, latex: str, message: str, column: int | None) -> None:
    try:
        claim = read_claim(latex, CONTEXTS[name])
    except SymgradError as error:
        assert message in str(error), str(error)
        if column is not None:
            assert (error.line, error.column) == (1, column), str(error)
        assert error.line is None or "^" in str(error)
    else:
        assert claim.misfit is not None and message in str(claim.misfit), claim.read_as


UNSAFE = [
    (r"\def\x{y} x", r"\def is refused"),
    (r"\newcommand{\x}{y} x", r"\newcommand is refused"),
    (r"\input{/etc/passwd}", r"\input is refused"),
    (r"\write18{ls}", r"\write is refused"),
    (r"\immediate\write18{ls}", r"\immediate is refused"),
    (r"\catcode`\%=12", r"\catcode is refused"),
    (r"\csname x\endcsname", r"\csname is refused"),
    (r"\url{http://x}", r"\url is refused"),
    ("W\u0430 = 1", "U+0430"),
    ("\u0391 x", "U+0391"),
    ("\uff37 x", "U+FF37"),
    ("x \u202e y", "U+202E is refused"),
    ("x \u200f y", "U+200F is refused"),
    ("x\u0302", "U+0302 is refused"),
    ("x\x00y", "U+0000 is refused"),
    ("", "the text is empty"),
    ("   ", "the text is empty"),
    (r"\frac", "an argument is missing"),
    ("x^", "an argument is missing"),
    ("x^^2", "two scripts in a row"),
    ("\\", "a backslash at the end"),
    (r"\begin{tikzpicture} x \end{tikzpicture}", "'tikzpicture' is not read"),
    (r"\color x", "without its argument"),
]


@pytest.mark.parametrize(("latex", "message"), UNSAFE, ids=[repr(u[0]) for u in UNSAFE])
def test_unsafe_or_broken_text_is_refused(latex: str, message: str) -> None:
    with pytest.raises(ReadError, match=None) as caught:
        parse_statements(latex)
    assert message in str(caught.value)


def test_what_is_too_large_is_refused() -> None:
    for latex in ("x" * 20_001, "{" * 50 + "x" + "}" * 50, "x + " * 3_000 + "x", "1" * 50):
        with pytest.raises(TooLargeError):
            parse_statements(latex)


def test_signs_of_unicode_are_read_as_commands() -> None:
    plain = [t.kind for t in tokenise(r"\partial L \odot \alpha - x^\top")]
    assert [t.kind for t in tokenise("∂L ⊙ α − xᵀ")] == plain


FRAGMENTS = [
    *(
        r"\frac{\partial L}{\partial W_1} =",
        "=",
        "+",
        "-",
        r"\cdot",
        r"\odot",
        "*",
        "/",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
    ),
    *(
        "^",
        "_",
        "^T",
        r"^\top",
        "^{-1}",
        "_{ij}",
        "_i",
        "^{(1)}",
        "^{(l)}",
        "'",
        "|",
        r"\|",
        r"\left(",
        r"\right)",
    ),
    *(
        "W_1",
        "W_2",
        "x",
        "y",
        r"\hat y",
        r"\delta_1",
        r"\delta_{ij}",
        "z_1",
        "L",
        "1",
        "2",
        "0.5",
        "d",
        "dW",
        "I",
        "T",
    ),
    *(
        r"\sum_{i}",
        r"\sum_{i=1}^{k}",
        r"\prod_{i=1}^{2}",
        r"\sigma",
        r"\sigma'",
        r"\tanh^2",
        r"\log",
        r"\exp",
        "e^{",
    ),
    *(
        r"\mathrm{diag}",
        r"\mathrm{tr}",
        r"\mathbf{1}",
        r"\mathbb{1}[",
        ">",
        "<",
        ",",
        ";",
        ".",
        r"\\",
        "&",
        r"\quad",
    ),
    *(
        r"\text{if }",
        r"\begin{cases}",
        r"\end{cases}",
        r"\nabla_x",
        r"\sqrt",
        r"\frac",
        r"\otimes",
        r"\ldots",
        "~",
        "%",
    ),
    *(
        r"\underbrace{",
        r"\left.",
        r"\right|_{",
        r"\langle",
        r"\rangle",
        r"\mathsf T",
        r"\in",
        r"\to",
        "softmax",
        "max(",
    ),
]


@settings(max_examples=250, deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=14))
def test_any_pieces_in_any_order_are_read_or_refused(pieces: list[str]) -> None:
    latex = " ".join(pieces)
    for context in (CONTEXTS["mlp"], CONTEXTS["einstein"]):
        try:
            claim = read_claim(latex, context)
        except SymgradError as error:
            assert str(error)
        else:
            assert claim.read_as


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet=st.characters(max_codepoint=0x2FFF), max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read_claim("\\frac{" + text, CONTEXTS["mlp"])
    except SymgradError as error:
        assert str(error)


# --- what is printed is read back --------------------------------------------------------------------------------


@cache
def questions() -> list[dict[str, Any]]:
    """The questions of the books, with functions and answers."""
    return [
        json.loads(line) for path in sorted(CASES.glob("*.jsonl")) for line in path.read_text().splitlines()
    ]


def expressions() -> list[tuple[str, dict[str, Any], Context, Expr]]:
    """Functions and answers of the questions, each with its context."""
    found, seen = [], set()
    for q in questions():
        said = {
            "shapes": q["shapes"],
            "assume": q.get("assume") or None,
            "dims_equal": q.get("dims_equal", ()),
        }
        for text in (q["f"], q.get("answer")):
            if not text or (text, str(q["shapes"])) in seen:
                continue
            seen.add((text, str(q["shapes"])))
            try:
                model, e = read_question(text, definitions=q.get("definitions", ()), **said)
            except SymgradError:
                continue  # differentials, third derivatives: not of this test
            found.append((text, q, Context(model=model, **said), e))
    return found


NOT_READ_BACK = {
    "-log(det(P)) + tr(S @ P) + lam*sum(abs(P))",  # 1^T |P| 1: how long are the ones, and is |P| a determinant?
    "eye(n) - ones(n, n) / n",  # its ones are printed as the number 1
    "zeros(m*n, m*n)",  # printed as the number 0
    "kron((A @ X).T, eye(m)) + kron(eye(n), X @ A)",  # two identities without their sizes
    "-log_softmax(z) @ y + lam*(logsumexp(z))**2",  # log softmax(z)^T y: how far does the logarithm reach?
    "2*outer((eye(n) - X @ inv(X.T @ X) @ X.T) @ y, inv(X.T @ X) @ X.T @ y)",  # singular at the sizes of this test
}


def test_expressions_that_are_printed_are_read_back() -> None:
    count = 0
    for text, _, context, e in expressions()[::3]:
        if text in NOT_READ_BACK:
            continue
        for printed in (to_latex(e), to_text(e)):
            try:
                back = read_expression(printed, context, shape_of(e))
            except ReadError as error:  # the bars of a vector are its length too
                assert "abs(" in text and "in two ways" in error.message, (text, printed, error)
                continue
            assert back == e or same_value(back, e), (text, printed, back)
        count += 1
    assert count > 300


def test_members_and_ordered_products_are_read_back() -> None:
    model = read_model(
        "W[l] : n n\nx : n\nh[0] = x\nfor l in 1..L:\n    h[l] = tanh(W[l] @ h[l-1])\nloss = norm(h[L])**2"
    )
    for text in (
        "W[l].T @ h[l]",
        "prod(k in 1..L, W[k])",
        "sum(k in 1..L, W[k] @ h[k-1])",
        "tr(W[1] @ W[L])",
    ):
        e = read_question(text, model=model)[1]
        assert to_latex(read_expression(to_latex(e), Context(model=model), shape_of(e))) == to_latex(e), text


def test_answers_in_their_context_are_read_back_as_claims() -> None:
    context = CONTEXTS["mlp"]
    model = setting_of(context).model
    for name in ("delta1", "delta2"):
        e = model.symbols[name]
        assert isinstance(e, sympy.MatrixSymbol)
        claim = read_claim(rf"\frac{{\partial L}}{{\partial z_{name[-1]}}} = {to_latex(e)}", context)
        assert claim.links == (e,)


def test_what_has_no_meaning_is_unsupported_with_its_exit_code() -> None:
    with pytest.raises(UnsupportedError) as caught:
        read_claim(r"\frac{\partial L}{\partial W_2} = \begin{bmatrix} 1 & 2 \end{bmatrix}", CONTEXTS["mlp"])
    assert caught.value.exit_code == 3
