"""The printers: textbook LaTeX and Unicode, and the text language with its value kept."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sympy import Expr, S, Symbol

from symgrad.checking.evaluate import Evaluator, concrete
from symgrad.checking.sampling import choose_sizes, sample
from symgrad.errors import UnsupportedError
from symgrad.expr import (
    Family,
    MatrixSum,
    OrderedProduct,
    add,
    differential,
    eye,
    gradient,
    is_matrix,
    jacobian,
    leaves,
    matmul,
    matrix,
    negate,
    ones,
    outer,
    scale,
    size,
    transpose,
    vector,
)
from symgrad.reading import read_question
from symgrad.rendering import Notation, to_latex, to_numpy, to_text

SHAPES = "A: m n, B: n k, C: m n, Q: n n, W1: h n, x: n, y: n, u: m, p: n, s:, lam:, yhat: n, delta: n, Sigma: n n, mu: n"


def read(text: str) -> Expr:
    return read_question(text, shapes=SHAPES, functions=["phi"])[1]


TABLE = [
    ("2 * A.T @ (A @ x - u) / n", r"\frac{2}{n} A^{\top} (A x - u)", "2 Aᵀ (A x − u) / n"),
    ("outer(W1 @ x, delta)", r"W_{1} x \delta^{\top}", "W₁ x δᵀ"),
    ("x * (1 - x)", r"x \odot (1 - x)", "x ⊙ (1 − x)"),
    ("(A @ x) * u", r"(A x) \odot u", "(A x) ⊙ u"),
    ("(A * C) @ x", r"(A \odot C) x", "(A ⊙ C) x"),
    ("yhat - y", r"\hat{y} - y", "ŷ − y"),
    ("-x", "-x", "−x"),
    ("y - x", "y - x", "y − x"),
    ("-x + y", "y - x", "y − x"),
    ("inv(Sigma) @ (x - mu)", r"\Sigma^{-1} (x - \mu)", "Σ⁻¹ (x − μ)"),
    ("inv(Q).T @ x", r"Q^{-\top} x", "Q⁻ᵀ x"),
    ("(A @ B).T", r"(A B)^{\top}", "(A B)ᵀ"),
    ("x @ Q @ x", r"x^{\top} Q x", "xᵀ Q x"),
    ("(x @ y) * x", r"(x^{\top} y) x", "(xᵀ y) x"),
    ("norm(A)**2", r"\lVert A \rVert_{F}^{2}", "‖A‖²"),
    ("norm(x)**2 / 2", r"\frac{\lVert x \rVert^{2}}{2}", "‖x‖² / 2"),
    ("x / norm(x)", r"\frac{x}{\lVert x \rVert}", "x / ‖x‖"),
    ("lam * x", r"\lambda x", "λ x"),
    ("sum(x)", r"\mathbf{1}^{\top} x", "𝟏ᵀ x"),
    ("exp(s) / (1 + exp(s))", r"\frac{\exp(s)}{1 + \exp(s)}", "exp(s) / (1 + exp(s))"),
    ("phi'(Q @ x) * y", r"\phi^{\prime}(Q x) \odot y", "φ′(Q x) ⊙ y"),
    ("sigmoid(x)", r"\sigma(x)", "σ(x)"),
    ("(x > 0) * y", r"\mathbf{1}[x > 0] \odot y", "𝟏[x > 0] ⊙ y"),
    ("x ** 2", "x^{2}", "x²"),
    ("A ** 2", r"A^{\odot 2}", "A^(⊙ 2)"),
    ("matrix_power(Q.T, 3) @ x", r"(Q^{\top})^{3} x", "(Qᵀ)³ x"),
    ("diag(x) - outer(x, x)", r"\mathrm{diag}(x) - x x^{\top}", "diag(x) − x xᵀ"),
    ("A / C", r"A \oslash C", "A ⊘ C"),
    ("ones(n) - x", "1 - x", "1 − x"),
    ("softmax(x)", r"\mathrm{softmax}(x)", "softmax(x)"),
    ("sqrt(s)", r"\sqrt{s}", "√(s)"),
    ("-3 * s / 4", r"-\frac{3 s}{4}", "−3 s / 4"),
    ("kron(x, y)", r"x \otimes y", "x ⊗ y"),
]


@pytest.mark.parametrize(("text", "latex", "unicode"), TABLE)
def test_textbook_output(text: str, latex: str, unicode: str) -> None:
    e = read(text)
    assert to_latex(e) == latex
    assert unicodedata.normalize("NFC", to_text(e)) == unicodedata.normalize("NFC", unicode)


l = Symbol("l", integer=True, positive=True)  # noqa: E741 - the layer is l everywhere
k, L, n = Symbol("k", integer=True, positive=True), size("L"), size("n")
W = Family("W", (n, n), l)
loss = Symbol("loss", real=True)

NODES: list[tuple[Expr, str, str]] = [
    (W[l], "W^{(l)}", "W[l]"),
    (transpose(W[l]), r"W^{(l)\top}", "W[l]ᵀ"),
    (W[l - 1], "W^{(l-1)}", "W[l−1]"),
    (
        OrderedProduct(transpose(W[k]), k, l + 1, L, 1),
        r"\left[ \mathop{\overset{\rightarrow}{\prod}}\limits_{k=l + 1}^{L} W^{(k)\top} \right]",
        "[∏→_{k=l + 1..L} W[k]ᵀ]",
    ),
    (gradient(loss, W[l]), r"\frac{\partial \mathrm{loss}}{\partial W^{(l)}}", "∂loss/∂W[l]"),
    (
        jacobian(gradient(loss, vector("x", "n")), vector("x", "n")),
        r"\frac{\partial^{2} \mathrm{loss}}{\partial x \partial x^{\top}}",
        "∂²loss/∂x∂xᵀ",
    ),
    (MatrixSum(W[k], k, S.One, L), r"\sum_{k=1}^{L} W^{(k)}", "Σ_{k=1..L} W[k]"),
    (ones("n", "k"), r"\mathbf{1} \mathbf{1}^{\top}", "𝟏 𝟏ᵀ"),
    (sympy.Product(sympy.IndexedBase("w")[k], (k, 1, L)), r"\prod_{k=1}^{L} w^{(k)}", "∏_{k=1..L} w[k]"),
]


@pytest.mark.parametrize(("e", "latex", "unicode"), NODES)
def test_families_ranges_and_derivatives(e: Expr, latex: str, unicode: str) -> None:
    assert to_latex(e) == latex
    assert to_text(e) == unicode


@pytest.mark.parametrize(
    ("notation", "wanted"),
    [
        (Notation(transpose="T"), r"W^{(l)\mathsf{T}} x"),
        (Notation(transpose="prime"), r"W^{(l)\prime} x"),
        (Notation(layer="[l]"), r"W^{[l]\top} x"),
        (Notation(layer="_l"), r"W_{l}^{\top} x"),
        (Notation(bold=True), r"\boldsymbol{W}^{(l)\top} \boldsymbol{x}"),
    ],
)
def test_notations(notation: Notation, wanted: str) -> None:
    assert to_latex(matmul(transpose(W[l]), vector("x", "n")), notation) == wanted


def test_digits_can_be_layers_and_increments_are_upright() -> None:
    assert to_latex(matrix("W1", "n", "n"), Notation(digits="layer")) == "W^{(1)}"
    dX = differential(matrix("X", "m", "n"))
    assert to_latex(dX, Notation(increments=frozenset({"dX"}))) == r"\mathrm{d}X"


def test_what_cannot_be_printed_is_refused() -> None:
    with pytest.raises(UnsupportedError):
        to_numpy(sympy.Integral(Symbol("x"), Symbol("x")))
    with pytest.raises(UnsupportedError):
        to_latex(sympy.Integral(Symbol("x"), Symbol("x")))


# --- the value is kept -------------------------------------------------------------------------------


def numpy_names() -> dict[str, Any]:
    """The functions of the text language, in NumPy."""

    def sigmoid(t: Any) -> Any:
        return 1 / (1 + np.exp(-t))

    def softmax(t: Any, axis: int = -1) -> Any:
        e = np.exp(t - np.max(t, axis=axis, keepdims=True))
        return e / np.sum(e, axis=axis, keepdims=True)

    return {
        **{
            f: getattr(np, f)
            for f in ("exp", "log", "tanh", "sum", "outer", "kron", "diag", "sqrt", "ones", "abs", "eye")
        },
        "sigmoid": sigmoid,
        "softmax": softmax,
        "inv": np.linalg.inv,
        "norm": np.linalg.norm,
        "tr": np.trace,
        "det": np.linalg.det,
        "matrix_power": np.linalg.matrix_power,
        "ones": lambda *s: np.ones(s),
        "zeros": lambda *s: np.zeros(s),
    }


VECTORS = [
    "x",
    "y",
    "p",
    "tanh(x)",
    "x * y",
    "x / p",
    "Q @ x",
    "(1 - x)",
    "softmax(y)",
    "Q.T @ y",
    "sigmoid(x)**2",
    "-x",
]
MATRICES = [
    "Q",
    "Q.T",
    "outer(x, y)",
    "inv(Q)",
    "diag(x)",
    "Q @ Q.T",
    "Q * Q",
    "(Q + eye(n))",
    "Q + x",
    "2 * Q",
    "1 - Q",
]
SCALARS = [
    "s",
    "x @ y",
    "x @ Q @ y",
    "sum(x)",
    "norm(x)",
    "tr(Q)",
    "lam / s",
    "2",
    "exp(s)",
    "1 / (1 + s**2)",
]


@st.composite
def formulas(draw: st.DrawFn) -> str:
    v = lambda: f"({draw(st.sampled_from(VECTORS))})"  # noqa: E731 - drawn anew each time
    q = lambda: f"({draw(st.sampled_from(MATRICES))})"  # noqa: E731
    c = lambda: f"({draw(st.sampled_from(SCALARS))})"  # noqa: E731
    shapes = [
        lambda: f"{c()} * {q()} @ {v()} + {v()}",
        lambda: f"{q()} @ {q()} - {c()} * {q()}",
        lambda: f"{c()} * outer({v()}, {v()}) @ {q()}",
        lambda: f"{v()} * {v()} / {c()}",
        lambda: f"({q()} * {q()}) @ {v()}",
        lambda: f"{v()} @ {q()} @ {v()} * {c()}",
        lambda: f"{q()} * ({q()} @ {q()}) / {c()}",
        lambda: f"({q()} @ {v()}) * {v()} - {c()}",
        lambda: f"({v()} @ {v()}) * {v()} - {v()} / {c()}",
        lambda: f"{q()}.T @ diag({v()}) @ {q()}",
    ]
    return draw(st.sampled_from(shapes))()


@settings(max_examples=150, deadline=None)
@given(formulas())
def test_the_text_language_keeps_the_value(text: str) -> None:
    e = read(text)
    sizes = choose_sizes(
        {s for leaf in leaves(e) if is_matrix(leaf) for s in leaf.shape if not s.is_number} or {n}, 0
    )
    rng = np.random.default_rng(1)
    exact = concrete(e, sizes)
    assume = {"p": frozenset({"positive"}), "Q": frozenset({"invertible"})}
    values = {leaf: sample(leaf, assume, rng) for leaf in leaves(exact)}
    wanted = np.asarray(Evaluator()(exact, values))
    names = numpy_names() | {str(s): v for s, v in sizes.items()} | {"n": sizes.get(n, 7)}
    for leaf, value in values.items():
        names[str(leaf)] = value[:, 0] if np.ndim(value) == 2 and value.shape[1] == 1 else value
    found = np.asarray(eval(to_numpy(e), {"__builtins__": {}}, names))  # noqa: S307 - our own text, in a test
    assert np.allclose(found.reshape(-1), wanted.reshape(-1), rtol=1e-9, atol=1e-9), to_numpy(e)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(formulas())
def test_every_latex_output_is_typeset_by_katex(katex: Callable[[str], str], text: str) -> None:
    e = read(text)
    for notation in (Notation(), Notation(transpose="T", layer="[l]", bold=True)):
        assert "katex" in katex(to_latex(e, notation))


@pytest.mark.parametrize("e", [e for e, *_ in NODES] + [read(t) for t, *_ in TABLE])
def test_the_tables_are_typeset_by_katex(katex: Callable[[str], str], e: Expr) -> None:
    for notation in (Notation(), Notation(layer="_l"), Notation(digits="layer", transpose="prime")):
        assert "katex" in katex(to_latex(e, notation))


def test_katex_can_refuse(katex: Callable[[str], str]) -> None:
    with pytest.raises(Exception, match=r"KaTeX|Undefined|Expected"):
        katex(r"\frac{1}{")
    with pytest.raises(Exception, match=r"KaTeX|Undefined"):
        katex(r"\nosuchmacro{x}")


def test_brackets_are_where_the_reading_needs_them() -> None:
    x, y, Q = vector("x", "n"), vector("y", "n"), matrix("Q", "n", "n")
    assert to_numpy(matmul(add(Q, eye("n")), x)) == "(Q + eye(n)) @ x"
    assert to_numpy(scale(2, outer(x, y))) == "2 * outer(x, y)"
    assert to_numpy(negate(add(x, y))) == "-(x + y)"
    assert to_latex(matmul(Q, negate(x))) == "-Q x"


def test_ones_beside_an_identity_are_no_number() -> None:
    _, e = read_question("eye(n) - ones(n, n) / n", shapes="A: n n", definitions=["B = A"])
    assert to_latex(e) == r"I - \frac{1}{n} \mathbf{1} \mathbf{1}^{\top}"
    assert to_text(e) == "I − 𝟏 𝟏ᵀ / n"
