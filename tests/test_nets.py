"""Layers, losses and networks by name: each is written out, its gradient derived and checked."""

from __future__ import annotations

import numpy as np
import pytest

from symgrad import derive, nets, read_model
from symgrad.errors import SymgradError
from symgrad.nets import BLOCKS, LAYERS, LOSSES
from symgrad.nets.build import network_text
from symgrad.nets.short import ROWS, has_short_forms

PLACES = [(n, v) for n, row in ROWS.items() for v in row.by.split()]


@pytest.mark.parametrize(("name", "variable"), PLACES, ids=lambda v: v)
def test_the_gradient_of_every_layer_and_loss_is_derived_and_checked(name: str, variable: str) -> None:
    d = derive(nets.example(name), variable, of="loss")
    assert d.evidence.level in ("proved", "verified", "agrees")
    assert all(s.evidence.level != "none" for s in d.steps)


@pytest.mark.parametrize("name", ROWS)
def test_a_row_says_what_it_takes_and_where_it_is_from(name: str) -> None:
    row = ROWS[name]
    shaped = [entry.split(":")[0].strip() for entry in row.shapes.split(",")]
    assert set(shaped) == set(row.parameters)
    assert set(row.by.split()) <= set(row.parameters)
    assert row.source
    assert (name in LAYERS) != (name in LOSSES)
    assert not set(row.letters.split()) & {*row.parameters, *row.options}
    assert set(row.places) <= set(row.letters.split())


@pytest.mark.parametrize(
    ("text", "variable", "answer"),
    [
        ("cross_entropy(z, y)", "z", "softmax(z) - y"),
        ("binary_cross_entropy(z, y)", "z", "sigmoid(z) - y"),
        ("cross_entropy(dense(x, W, b), y)", "b", "softmax(W @ x + b) - y"),
        ("squared_error(z, y) + lam * l2_penalty(W)", "W", "lam * W"),
        ("policy_gradient(z, y, lam)", "z", "lam * (softmax(z) - y)"),
        ("l1_penalty(W)", "W", "sign(W)"),
    ],
)
def test_losses_in_formulas(text: str, variable: str, answer: str) -> None:
    shapes = "z: n, y: n, W: n m, x: m, b: n, lam:"
    d = derive(text, variable, shapes=shapes, assume="y: onehot")
    assert d.to_numpy() == answer


ROWS_ELSEWHERE = (
    # no row names a size: every model has its own
    ("cross_entropy_rows(Z, Y)", "Z", "Z: b k, Y: b k", "(softmax(Z, axis=1) - Y) / b"),
    ("label_smoothing(z, y, a)", "z", "z: k, y: k, a:, x: n", "softmax(z) - ((1 - a) * y + a / k)"),
    (
        "info_nce(U, V, t)",
        "t",
        "U: b k, V: b k, t:",
        "-sum((softmax(value_S, axis=1) - eye(b)) * (U @ V.T)) / (t**2 * b)",
    ),
    ("gaussian_nll(m, v, y)", "m", "m: k, v: k, y: k", "(m - y) / v"),
    (
        "focal(z, y, g)",
        "z",
        "z: k, y: k, g:",
        "(g * value_l * value_t * (1 - value_t)**(g - 1) - (1 - value_t)**g) * (y - softmax(z))",
    ),
    ("kl_divergence(z, q)", "z", "z: k, q: k", "softmax(z) * (value_r - softmax(z) @ value_r)"),
    ("binary_hinge(z, y)", "z", "z: k, y: k", "-y * (1 - y * z > 0)"),
)


@pytest.mark.parametrize(("text", "variable", "shapes", "answer"), ROWS_ELSEWHERE)
def test_losses_as_books_print_them_with_sizes_of_the_model(
    text: str, variable: str, shapes: str, answer: str
) -> None:
    words = {"y": "onehot", "Y": "prob_rows"} if "hinge" not in text else {"y": "pm1"}
    named = {n: w for n, w in words.items() if f"{n}:" in shapes.replace(" ", "")}
    d = derive(text, variable, shapes=shapes, assume=named)
    assert d.to_numpy() == answer
    assert d.evidence.level == "proved"


ENTRYWISE = (
    # a call, its variable, the answer with free indices
    ("conv1d_channels(X, K, b)", "K[o, c, u]", "sum(i, R[o, i] * X[c, i+u])"),
    ("conv1d_channels(X, K, b)", "b", "sum(R, axis=1)"),
    ("conv1d_channels_full(X, K, b)", "X[q, r]", "sum(o, u, R[o, r+u] * K[o, q, u])"),
    ("average_pool1d(X)", "X[p, q]", "inrange(floor((q)/2), floor((w)/2)) * R[p, floor((q)/2)] / 2"),
    ("max_pool1d(X, window=3, stride=1)", "X[p, q]", ""),
)
"""Layers with channels: one dimension here, two in `benchmarks/nets_jax.py`."""


@pytest.mark.parametrize(("text", "place", "answer"), ENTRYWISE)
def test_layers_with_channels_in_index_notation(text: str, place: str, answer: str) -> None:
    model = read_model(f"out = {text}\nloss = sum(a, i, R[a,i] * out[a,i])", shapes="X: m w, K: n m p, b: n")
    d = derive(model, place.partition("[")[0], of="loss")
    assert str(d.left.args[1]) == place
    assert answer in ("", d.to_numpy())
    assert d.evidence.level != "none"


def test_letters_of_a_row_give_way_to_names_of_the_model() -> None:
    text = "u : m w\nout = conv1d_channels(u, K, c)\nloss = sum(o, i, R[o,i] * out[o,i])"
    d = derive(read_model(text, shapes="K: n m p, c: n"), "K", of="loss")
    assert {str(k) for k in d.left.args[1].args[1:]}.isdisjoint({"u", "c"})


def test_arguments_and_options_by_name() -> None:
    by_name = read_model("out = dense(x, b=c, W=V)", shapes="x: n, V: m n, c: m")
    in_order = read_model("out = dense(x, V, c)", shapes="x: n, V: m n, c: m")
    assert by_name.items == in_order.items
    pooled = read_model("out = max_pool2d(X, height=3, width=2, stride=1)", shapes="X: c h w")
    assert [str(n) for n in pooled.symbol("out").shape] == ["c", "h - 2", "w - 1"]
    strided = read_model("out = conv2d_channels(X, K, b, stride=2)", shapes="X: 3 32 32, K: 8 3 5 5, b: 8")
    assert strided.symbol("out").shape == (8, 14, 14)


def test_a_perceptron_of_any_depth_in_three_lines() -> None:
    text = "y : n onehot\nout = mlp(x, depth=L, width=n, activation=tanh)\nloss = cross_entropy(out, y)"
    d = derive(read_model(text), "W[l]", of="loss")
    expected = (
        "outer((prod(k in l+1..L, W[k].T @ diag(1 - a[k]**2)) @ (softmax(out) - y)) * (1 - a[l]**2), a[l-1])"
    )
    assert d.to_numpy() == expected
    same = derive(nets.mlp(depth="L", activation="tanh", loss="cross_entropy"), "W[l]", of="loss")
    assert same.to_numpy() == expected


@pytest.mark.parametrize("block", BLOCKS)
def test_every_network_reads_and_has_its_layers(block: str) -> None:
    model = read_model(network_text(block, "cross_entropy", classes="k"))
    assert model.has_loops
    assert model.symbol("loss").is_Symbol
    assert [d.name for d in model.definitions()][-2:] == ["logits", "loss"]


def test_layers_inside_a_loop_have_their_own_quantities_at_every_layer() -> None:
    model = read_model(
        "g : n\nc : n\nx : n\na[0] = x\nfor l in 1..L:\n    a[l] = layer_norm(W[l] @ a[l-1], g, c)\nloss = norm(a[L])**2",
        shapes="W: n n",
    )
    assert [d.name for d in model.definitions()] == ["a", "a_c", "a_s", "a", "loss"]
    d = derive(model, "g", of="loss")
    assert d.evidence.level in ("proved", "agrees")


def test_two_layers_of_one_kind_do_not_share_names() -> None:
    model = read_model("y = rms_norm(rms_norm(x, g), h)", shapes="x: n, g: n, h: n")
    names = [d.name for d in model.definitions()]
    assert len(names) == len(set(names)) == 3


def test_a_name_that_the_text_declares_as_a_function_is_its_own() -> None:
    model = read_model("focal : function\nx : n\ny = focal(x)")
    assert [d.name for d in model.definitions()] == ["y"]
    assert has_short_forms("focal(x)")
    assert not has_short_forms("norm(x) + x.T @ dense")


@pytest.mark.parametrize(
    ("text", "message", "column"),
    [
        ("out = mlp(x, depth=0)", "depth 0 is no number of layers", 20),
        ("out = mlp(x, depth=-3)", "depth -3 is no number of layers", 20),
        ("out = mlp(x, act=tanh)", "no option act", 14),
        ("out = mlp(x, activation=foo)", "no activation foo", 25),
        ("out = mlp(x + y)", "takes one name", 7),
        ("z = layer_norm(mlp(x), g, b)", "a network, not a layer", 16),
        ("z = dense(x, W)", "takes 3 arguments, not 2", 5),
        ("z = dense(x, W, b)", "inner sizes n and m differ", 4),
        ("z = dense(x, W, c=b)", "no argument c", 17),
        ("z = average_pool1d(W, window=0)", "window 0 is no window", 30),
        ("z = average_pool1d(W, stride=n)", "stride n is no stride", 30),
        ("z = norm(average_pool1d(W))", "stands alone", 10),
        ("out = mlp(x, L, n)", "takes one name", 7),
        ("out = mlp(x); a = x", "a is a name of mlp", 7),
        ("out = mlp(x); other = mlp(y)", "is a name of mlp", 9),
        ("u : d; out = mlp(u)", "u is declared d, but the width of mlp is n", 7),
    ],
)
def test_what_does_not_fit_is_refused_where_it_stands(text: str, message: str, column: int) -> None:
    with pytest.raises(SymgradError, match=message) as caught:
        read_model(
            text.replace("; ", "\n") + "\n",
            shapes="W: m n, b: m, g: m" + ("" if "mlp(" in text else ", x: m"),
        )
    assert caught.value.column == column
    if ";" not in text:
        assert caught.value.line == 1


def test_an_unknown_loss_or_layer_is_named() -> None:
    with pytest.raises(SymgradError, match="does not compare"):
        nets.mlp(loss="triplet")
    with pytest.raises(SymgradError, match="no layer or loss"):
        nets.example("magic")


def test_layer_norm_agrees_with_its_formula_in_numbers() -> None:
    """The written-out row is the layer: not only its gradient is right."""
    from symgrad.checking.evaluate import Evaluator, concrete
    from symgrad.expr import size

    model = nets.example("layer_norm")
    rng = np.random.default_rng(0)
    sizes = {size("n"): 7}
    values = {}
    for name in ("x", "g", "c", "R"):
        values[concrete(model.symbol(name), sizes)] = rng.standard_normal((7, 1))
    values[model.symbol("eps")] = 1e-3
    evaluate = Evaluator()
    for d in model.definitions():
        values[concrete(d.symbol, sizes)] = evaluate(concrete(d.value, sizes), values)
    x, g, c = (values[concrete(model.symbol(n), sizes)] for n in ("x", "g", "c"))
    expected = g * (x - x.mean()) / np.sqrt(x.var() + 1e-3) + c
    assert np.allclose(values[concrete(model.symbol("out"), sizes)], expected)
