"""Layers, losses and networks by name: each is written out, its gradient derived and checked."""

from __future__ import annotations

import numpy as np
import pytest

from symgrad import derive, nets, read_model
from symgrad.errors import SymgradError
from symgrad.nets.build import network_text
from symgrad.nets.library import BLOCKS, LAYERS, LOSSES, ROWS
from symgrad.nets.short import has_short_forms

PLACES = [(name, variable) for name, row in ROWS.items() for variable in row.by.split()]


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
    ],
)
def test_what_does_not_fit_is_refused_where_it_stands(text: str, message: str, column: int) -> None:
    with pytest.raises(SymgradError, match=message) as caught:
        read_model(text + "\n", shapes="W: m n, x: m, b: m, g: m, y: m")
    assert (caught.value.line, caught.value.column) == (1, column)


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
