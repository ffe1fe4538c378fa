"""Stability: the constants of the literature, the derivations of initialisations, theory beside random networks."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import sympy

from symgrad import nets, read_model
from symgrad.analysing import (
    analyse,
    critical,
    fixed_point,
    largest_square,
    lyapunov,
    measure,
    moments,
    steepest,
)
from symgrad.analysing.comparison import compare, comparison_document, picture
from symgrad.analysing.initialisation import FAN_IN, FAN_OUT, forwards, glorot, he, independence, shared
from symgrad.analysing.mean_field import along, depth_scale
from symgrad.analysing.moments import Q, function
from symgrad.analysing.page import document_of
from symgrad.analysing.pictures import pictures
from symgrad.analysing.sheet import to_data
from symgrad.cli import run
from symgrad.errors import MissingExtraError, SymgradError, UnsupportedError
from symgrad.rendering.figures import powers
from symgrad.rendering.formats import write_document

CLOSED = {
    "identity": (Q, sympy.S.One),
    "relu": (Q / 2, sympy.Rational(1, 2)),
    "erf": (2 * sympy.asin(2 * Q / (1 + 2 * Q)) / sympy.pi, 4 / (sympy.pi * sympy.sqrt(1 + 4 * Q))),
}


@pytest.mark.parametrize("name", CLOSED)
def test_closed_moments_are_those_of_the_literature(name: str) -> None:
    m = moments(name)
    assert m.square is not None
    assert m.slope_square is not None
    for found, known in zip((m.square, m.slope_square), CLOSED[name], strict=True):
        assert sympy.simplify(found - known) == 0


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "erf"])
@pytest.mark.parametrize("q", [0.1, 1.0, 3.0])
def test_closed_moments_agree_with_quadrature(name: str, q: float) -> None:
    z = np.linspace(-12, 12, 240_001)
    weight = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    for derivative, value in zip((False, True), moments(name).at(q), strict=True):
        assert math.isclose(
            float(np.sum(function(name, math.sqrt(q) * z, derivative) ** 2 * weight)), value, rel_tol=2e-4
        )


@pytest.mark.parametrize(
    ("name", "square", "slopes"),
    [
        ("sigmoid", 0.29338, 0.044836),
        ("gelu", 0.42522, 0.45585),
        ("silu", 0.35578, 0.37948),
        ("tanh", 0.39429, 0.46440),
    ],
)
def test_open_moments_at_one(name: str, square: float, slopes: float) -> None:
    found = moments(name).at(1.0)
    assert np.allclose(found, (square, slopes), rtol=2e-5)


@pytest.mark.parametrize(
    ("bias", "tanh", "erf"),
    [
        (1e-4, (0.045709, 1.08603), (0.044604, 0.85259)),
        (1e-3, (0.107292, 1.18919), (0.102481, 0.93258)),
        (0.01, (0.273301, 1.42421), (0.253210, 1.11428)),
        (0.05, (0.570048, 1.76095), (0.517177, 1.37584)),
        (0.1, (0.805799, 1.98607), (0.726359, 1.55212)),
        (0.3, (1.461169, 2.50513), (1.311824, 1.96307)),
    ],
)
def test_critical_pairs(bias: float, tanh: tuple[float, float], erf: tuple[float, float]) -> None:
    for name, (q, weight) in (("tanh", tanh), ("erf", erf)):
        point = critical(moments(name), bias)
        assert point.q is not None
        assert abs(point.q - q) < 1e-6
        assert abs(point.weight_variance - weight) < 1e-5
        assert math.isclose(fixed_point(moments(name), point.weight_variance, bias), point.q, rel_tol=1e-4)


def test_critical_points_without_a_bias() -> None:
    exact = {n: critical(moments(n)).exact for n in ("identity", "relu", "leaky_relu", "tanh", "erf", "gelu")}
    slope = sympy.Rational(1, 100)
    assert exact == {
        "identity": 1,
        "relu": 2,
        "leaky_relu": 2 / (1 + slope**2),
        "tanh": 1,
        "erf": sympy.pi / 4,
        "gelu": 4,
    }
    with pytest.raises(UnsupportedError, match="critical only without a bias"):
        critical(moments("relu"), 0.1)


@pytest.mark.parametrize(
    ("name", "top"),
    [
        ("sigmoid", sympy.Rational(1, 4)),
        ("tanh", 1),
        ("relu", 1),
        ("erf", 2 / sympy.sqrt(sympy.pi)),
        ("identity", 1),
    ],
)
def test_the_steepest_slope(name: str, top: sympy.Expr) -> None:
    assert steepest(name) == top


def test_finite_width() -> None:
    known = {1: -0.6352, 2: -0.2886, 10: -0.05166, 100: -0.005017, 1000: -0.000500}
    assert all(abs(float(lyapunov(n)) / value - 1) < 2e-3 for n, value in known.items())
    assert [round(float(largest_square(n)), 2) for n in (1, 2, 5, 10, 50)] == [
        4.0,
        6.75,
        14.93,
        28.53,
        137.27,
    ]


def test_initialisations_are_solved_for() -> None:
    n_in, n_out = FAN_IN, FAN_OUT
    assert [line.right for line in he("relu") if "keep" in line.key] == [2 / n_in, 2 / n_out]
    assert [line.right for line in he("identity") if "keep" in line.key] == [1 / n_in, 1 / n_out]
    forth, back, variance, _, bound = (line.right for line in glorot())
    assert (forth, back) == (1 / n_in, 1 / n_out)
    assert variance == 2 / (n_in + n_out)
    assert sympy.simplify(bound - sympy.sqrt(6 / (n_in + n_out))) == 0


def test_variances_follow_from_the_double_sums() -> None:
    """Three terms written out: the contracted sums are what the mean of the square is."""
    lines = {line.key.rpartition(".")[2]: line for line in forwards(moments("relu"))}
    v, q = sympy.Symbol("v", positive=True), Q
    assert lines["forward"].right == FAN_IN * v * sympy.Function("V")(q)
    w, a = sympy.symbols("w:3"), sympy.symbols("a:3")
    square = sympy.expand(sum(x * y for x, y in zip(w, a, strict=True)) ** 2)
    mean = sum(
        v * term.coeff(x, 2) for term in square.args for x in w if term.coeff(x, 2) != 0
    )  # mixed terms have mean zero
    assert sympy.expand(mean - v * sum(x**2 for x in a)) == 0


@pytest.mark.parametrize("name", ["tanh", "erf", "relu"])
def test_what_the_dependence_of_weight_and_slope_changes(name: str) -> None:
    """Weights that made z themselves, drawn: the ratio is the derived one, and not one for tanh and erf."""
    n, draws = 5, 400_000
    rng = np.random.default_rng(3)
    a = rng.standard_normal(n)
    a /= np.linalg.norm(a)  # z has variance one
    w = rng.standard_normal((draws, n))
    squared = (w**2).mean(axis=1) * function(name, w @ a, True) ** 2
    _, slopes = moments(name).at(1.0)
    ratio = independence(moments(name))[-1].right
    expected = float(ratio.subs(sympy.Symbol("n", integer=True, positive=True), n))
    error = float(squared.std()) / math.sqrt(draws) / slopes
    assert abs(float(squared.mean()) / slopes - expected) < 4 * error
    assert (expected == 1) == (name == "relu")
    assert name == "relu" or abs(expected - 1) > 8 * error


def test_shared_weights_grow_by_double_factorials() -> None:
    line, factors = shared()
    for power, factor in factors:
        assert factor == sympy.factorial2(2 * power - 1)
        depth = sympy.Symbol("L", integer=True, positive=True)
        assert line.right.subs(depth, power).doit().subs(sympy.Symbol("v", positive=True), 1) == factor


def test_residual_growth_in_numbers() -> None:
    sheet = analyse(nets.resnet(activation="relu"), depth=3, width=16, networks=2)
    page = write_document(document_of(sheet), "md")
    for number in ("2.594", "2.692", "1024"):  # (1 + 1/L)^L at 10 and 50; 2^10
        assert number in page
    assert r"\mathrm{e}" in page


@pytest.mark.parametrize(
    ("name", "weight", "bias"),
    [
        ("tanh", 1.5, 0.05),
        ("relu", 2.0, 0.0),
        ("erf", 1.2, 0.05),
        ("sigmoid", 10.0, 0.05),
        ("identity", 1.0, 0.0),
    ],
)
def test_random_networks_do_what_the_theory_says(name: str, weight: float, bias: float) -> None:
    """Within four standard errors; one that has the slope's mean square wrong by a third is far outside."""
    for depth in (4, 12):
        found = measure(name, weight, bias, depth=depth, width=160, networks=24)
        theory = math.prod(along(moments(name), weight, bias, 1.0, depth))
        assert abs(found.mean[depth] - theory) < 4 * found.error[depth] + 0.02 * theory
    assert abs(found.mean[12] - theory * (4 / 3) ** 12) > 4 * found.error[12]


def test_typical_gradients_are_smaller_than_their_mean_square() -> None:
    width, depth = 32, 12
    found = measure("identity", 1.0, 0.0, depth=depth, width=width, networks=400)
    assert abs(found.log_mean[depth] - 2 * depth * float(lyapunov(width))) < 4 * found.log_error[depth]


def test_residual_branches_scaled_by_the_root_of_the_depth_stay_bounded() -> None:
    text = "W : n n\nx : n\na[0] = x\nfor l in 1..L:\n    a[l] = a[l-1] + tanh(W[l] @ a[l-1])\nloss = norm(a[L])**2"
    residual = analyse(read_model(text), depth=16, width=160, networks=16)
    assert residual.network.residual
    assert residual.measured is not None
    assert abs(residual.measured.mean[16] - residual.theory[16]) < 4 * residual.measured.error[16] + 0.03
    assert 1 < residual.theory[16] < math.e


def test_depth_scale() -> None:
    assert depth_scale(1.0) == math.inf
    assert math.isclose(depth_scale(math.exp(-0.1)), 10)


@pytest.mark.parametrize("activation", ["relu", "silu"])
def test_the_sheet_has_all_its_parts(activation: str) -> None:
    sheet = analyse(nets.mlp(activation=activation), depth=3, width=16, networks=2)
    for lang in ("en", "zh"):
        for form in ("md", "tex", "text"):
            text = write_document(document_of(sheet, lang), form)  # type: ignore[arg-type]
            assert "nan" not in text
            assert "zoo" not in text
    data = to_data(sheet)
    assert json.loads(json.dumps(data))["activation"] == activation
    assert [row["back"] for row in data["layers"]] == [0, 1, 2, 3]


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--depth", "3", "--width", "16", "--networks", "2"]
    assert run(["analyse", "mlp(x, depth=L, activation=relu)", "--format", "json", *small]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["critical"]["exact"], data["chi"], data["steepest_slope"]) == ("2", 1.0, 1.0)


@pytest.mark.parametrize("form", ["html", "pdf"])
def test_the_sheet_as_a_page(form: str, tmp_path: Path) -> None:
    pytest.importorskip("typst" if form == "pdf" else "quickjs")
    path = tmp_path / f"sheet.{form}"
    small = ["--depth", "2", "--width", "8", "--networks", "2"]
    assert run(["analyse", "mlp(x, activation=erf)", "--format", form, "-o", str(path), *small]) == 0
    assert path.read_bytes().lstrip()[:5].lower() in (b"%pdf-", b"<!doc")


def test_activations_beside_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    found = compare(("tanh", "relu", "erf", "sigmoid", "identity"), (2, 4, 8), width=120, networks=24)
    for row in found.rows:
        for depth, mean, error in zip(found.depths, row.mean, row.error, strict=True):
            assert abs(mean - row.theory[depth]) < 4 * error + 0.03 * row.theory[depth]
    assert picture(found) == picture(found)
    assert len(comparison_document(found, "zh", drawn=True).blocks) == 4
    small = ["--depths", "1,2", "--width", "8", "--networks", "2", "--format", "json"]
    assert run(["analyse", "--compare", "tanh,relu", *small]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [(r["activation"], r["depth"]) for r in data["rows"]] == [
        (a, d) for a in ("tanh", "relu") for d in (1, 2)
    ]


def test_what_the_command_does_not_take(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in (
        ([], "give a network"),
        (["mlp(x)", "--compare", "tanh"], "give a network"),
        (["--compare", "tanh", "--depths", "0"], "numbers from 1"),
        (["mlp(x)", "--format", "docx"], "no format 'docx'"),
        (["mlp(x)", "--lang", "fr"], "no language 'fr'"),
    ):
        assert run(["analyse", *arguments]) == 2
        assert message in capsys.readouterr().err
    assert run(["analyse", "--compare", "tanh,exp"]) == 3
    assert "no finite second moment" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("network", "code", "message"),
    [
        ("mlp(x, depth=L, activation=exp)", 3, "no finite second moment"),
        ("lstm(x)", 3, "one layer hands"),
        ("norm(x)**2", 2, ""),
        ("mlp(x, depth=0)", 2, "no number of layers"),
        ("x = 3", 2, ""),
    ],
)
def test_what_cannot_be_analysed(
    network: str, code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["analyse", network]) == code
    assert message in capsys.readouterr().err


def test_a_model_without_layers_is_refused() -> None:
    with pytest.raises(SymgradError, match="no layers"):
        analyse(read_model("x : n\nloss = norm(x)**2"))


def test_figures_are_the_same_bytes_each_time_and_have_no_fonts() -> None:
    pytest.importorskip("matplotlib")
    sheet = analyse(nets.mlp(activation="tanh"), depth=3, width=16, networks=2)
    for lang in ("en", "zh"):
        first, again = (dict(pictures(sheet, lang, depth=4, width=16)) for _ in range(2))
        assert first == again
        assert set(first) == {"powers.svg", "gradient_norms.svg", "edge_of_chaos.svg", "gains.svg"}
        for svg in first.values():
            assert "<text" not in svg
            assert "<svg" in svg
            assert "DOCTYPE" not in svg


def test_without_matplotlib_one_sentence_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("symgrad.rendering.figures.has_matplotlib", lambda: False)
    with pytest.raises(MissingExtraError, match=r'pip install "symgrad\[figures\]"'):
        powers([0.5], 3, {"depth": "L", "factor": "w"})
