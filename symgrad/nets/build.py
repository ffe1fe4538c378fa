"""Whole networks as models, in one line of Python."""

from __future__ import annotations

from symgrad.errors import ReadError
from symgrad.expr import Model
from symgrad.nets.library import BLOCKS, LAYERS, LOSSES, ROWS

__all__ = ["example", "gru", "lstm", "mlp", "network_text", "resnet", "rnn"]


def network_text(block: str, loss: str, classes: str | None = None, **options: str | int) -> str:
    """The text of a network: its short form, an output layer if `classes` are asked for, and the loss.

    >>> print(network_text("mlp", "squared_error", depth="L", width="n"))
    y : n
    out = mlp(x, depth=L, width=n)
    loss = squared_error(out, y)

    Raises   ReadError for a loss that does not compare an output with what it should be
    """
    row = LOSSES.get(loss)
    if row is None or row.parameters != ("z", "y"):
        known = ", ".join(name for name, r in LOSSES.items() if r.parameters == ("z", "y"))
        raise ReadError(f"{loss} does not compare an output with a target", hint=f"one of: {known}")
    width = str(options.get("width", BLOCKS[block].options["width"]))
    words = [
        w
        for entry in row.assume.split(",")
        if entry.strip().startswith("y:")
        for w in entry.split(":")[1].split()
    ]
    given = "".join(f", {key}={value}" for key, value in options.items())
    lines = [f"y : {' '.join([classes or width, *words])}", f"out = {block}(x{given})"]
    if classes is not None:
        lines += [f"W_y : {classes} {width}", f"b_y : {classes}", "logits = dense(out, W_y, b_y)"]
    return "\n".join([*lines, f"loss = {loss}({'logits' if classes else 'out'}, y)"])


def _network(block: str, loss: str, classes: str | None, **options: str | int) -> Model:
    from symgrad.reading import read_model

    return read_model(network_text(block, loss, classes, **options))


def mlp(
    depth: str | int = "L",
    width: str | int = "n",
    activation: str = "tanh",
    loss: str = "squared_error",
    classes: str | None = None,
) -> Model:
    """A multilayer perceptron z[l] = W[l] a[l-1] + b[l], a[l] = activation(z[l]), with a loss on its output.

    Shapes   x, a[l], b[l] : width; W[l] : width x width; y : width, or classes
    Raises   ReadError for an unknown activation or loss, or a depth that is no number of layers

    >>> from symgrad import derive
    >>> derive(mlp(depth="L", activation="tanh", loss="cross_entropy"), "a[L]", of="loss").to_numpy()
    'softmax(out) - y'
    """
    return _network("mlp", loss, classes, depth=depth, width=width, activation=activation)


def resnet(
    depth: str | int = "L",
    width: str | int = "n",
    hidden: str | int = "m",
    activation: str = "tanh",
    loss: str = "squared_error",
    classes: str | None = None,
) -> Model:
    """Residual blocks a[l] = a[l-1] + V[l] activation(W[l] a[l-1]), with a loss on the last one.

    Shapes   x, a[l] : width; W[l] : hidden x width; V[l] : width x hidden

    >>> [d.name for d in resnet().definitions()]
    ['a', 'z', 'a', 'out', 'loss']
    """
    return _network("resnet", loss, classes, depth=depth, width=width, hidden=hidden, activation=activation)


def rnn(
    length: str | int = "T",
    width: str | int = "n",
    inputs: str | int = "d",
    activation: str = "tanh",
    loss: str = "squared_error",
    classes: str | None = None,
) -> Model:
    """A recurrent network h[t] = activation(W h[t-1] + U x[t] + b), with a loss on the last state.

    Shapes   h[t], b : width; x[t] : inputs; W : width x width; U : width x inputs
    """
    return _network("rnn", loss, classes, length=length, width=width, inputs=inputs, activation=activation)


def lstm(
    length: str | int = "T",
    width: str | int = "n",
    inputs: str | int = "d",
    loss: str = "squared_error",
    classes: str | None = None,
) -> Model:
    """A long short-term memory with the gates f, i, o and the candidate g, with a loss on the last state.

    Shapes   h[t], c[t] : width; x[t] : inputs; W_f, W_i, W_o, W_g : width x width; U_f, U_i, U_o, U_g : width x inputs
    """
    return _network("lstm", loss, classes, length=length, width=width, inputs=inputs)


def gru(
    length: str | int = "T",
    width: str | int = "n",
    inputs: str | int = "d",
    loss: str = "squared_error",
    classes: str | None = None,
) -> Model:
    """A gated recurrent unit with reset gate r, update gate z and candidate g, with a loss on the last state.

    Shapes   h[t] : width; x[t] : inputs; W_r, W_z, W_n : width x width; U_r, U_z, U_n : width x inputs
    """
    return _network("gru", loss, classes, length=length, width=width, inputs=inputs)


def example(name: str) -> Model:
    """The example of a layer or a loss: its call, and for a layer the sum of its entries, each with a weight.

    >>> [d.name for d in example("layer_norm").definitions()]
    ['out_c', 'out_s', 'out', 'loss']

    Raises   ReadError for a name that there is no layer or loss for
    """
    from symgrad.reading import read_model

    row = ROWS.get(name)
    if row is None:
        raise ReadError(f"there is no layer or loss {name}", hint="there are " + ", ".join(ROWS))
    target = "out" if name in LAYERS else "loss"
    lines = [f"{target} = {name}({', '.join(row.parameters)})"]
    shapes = row.shapes
    if name in LAYERS:
        weighted = "sum(R * out)" if row.out else "R * out"
        lines.append(f"loss = {weighted}")
    sizes: dict[str, list[str]] = {
        key.strip(): value.split() for key, _, value in (e.partition(":") for e in shapes.split(","))
    }
    if name in LAYERS:
        sizes["R"] = (
            row.out.split()
            if " + " not in row.out and " - " not in row.out
            else [s.replace(" ", "") for s in row.out.split(",")]
        )
    return read_model("\n".join(lines), shapes=sizes, assume=row.assume or None)
