"""Whole networks, and the examples of layers and losses, as models in one line of Python."""

from __future__ import annotations

import re
from typing import Protocol

from symgrad.errors import ReadError
from symgrad.expr import Model
from symgrad.nets.layers import LAYERS
from symgrad.nets.losses import LOSSES
from symgrad.nets.networks import BLOCKS
from symgrad.nets.row import Block, Row
from symgrad.nets.short import ROWS

__all__ = ["example", "gru", "lstm", "mlp", "network", "network_text", "resnet", "rnn"]

_PLAIN = re.compile(r"[A-Za-z_]\w*|-?\d+")


def network_text(block: str, loss: str, classes: str | int | None = None, **options: str | int) -> str:
    """The text of a network: its short form, an output layer if `classes` are asked for, and the loss.

    >>> print(network_text("mlp", "squared_error", depth="L", width="n"))
    y : n
    out = mlp(x, depth=L, width=n)
    loss = squared_error(out, y)

    Raises   ReadError for a network or an option that there is not, a value that is no name and no number, or a loss
             that does not compare an output with what it should be
    """
    if block not in BLOCKS:
        raise ReadError(f"there is no network {block}", hint="there are " + ", ".join(BLOCKS))
    known = BLOCKS[block].options
    for key, value in {**options, **({} if classes is None else {"classes": classes})}.items():
        if key != "classes" and key not in known:
            raise ReadError(f"{block} has no option {key}", hint="its options are " + ", ".join(known))
        if not _PLAIN.fullmatch(str(value)):
            raise ReadError(f"the {key} {value!r} is no name and no number", hint='write "n" or 3')
    row = LOSSES.get(loss)
    if row is None or row.parameters != ("z", "y"):
        names = ", ".join(name for name, r in LOSSES.items() if r.parameters == ("z", "y"))
        raise ReadError(f"{loss} does not compare an output with a target", hint=f"one of: {names}")
    width = str(options.get("width", known["width"]))
    declared = (entry.partition(":") for entry in row.assume.split(","))
    words = [w for name, _, said in declared if name.strip() == "y" for w in said.split()]
    given = "".join(f", {key}={value}" for key, value in options.items())
    lines = [f"y : {' '.join([str(classes or width), *words])}", f"out = {block}(x{given})"]
    if classes is not None:
        lines += [f"W_y : {classes} {width}", f"b_y : {classes}", "logits = dense(out, W_y, b_y)"]
    return "\n".join([*lines, f"loss = {loss}({'out' if classes is None else 'logits'}, y)"])


def network(
    block: str, *, loss: str = "squared_error", classes: str | int | None = None, **options: str | int
) -> Model:
    """The model of a network by name with a loss on its output; with `classes`, on a dense layer behind it.

    >>> from symgrad import derive
    >>> model = network("mlp", depth="L", activation="tanh", loss="cross_entropy")
    >>> derive(model, "a[L]", of="loss").to_numpy()
    'softmax(out) - y'

    Raises   ReadError as `network_text`, and for a depth that is no number of layers or an unknown activation
    """
    from symgrad.reading import read_model

    return read_model(network_text(block, loss, classes, **options))


class Builder(Protocol):
    """What makes the model of one network; the options are those of its row."""

    def __call__(
        self, *, loss: str = ..., classes: str | int | None = ..., **options: str | int
    ) -> Model: ...


def _builder(block: Block) -> Builder:
    def build(
        *, loss: str = "squared_error", classes: str | int | None = None, **options: str | int
    ) -> Model:
        return network(block.name, loss=loss, classes=classes, **options)

    build.__name__ = build.__qualname__ = block.name
    options = ", ".join(f"{key}={value!r}" for key, value in block.options.items())
    build.__doc__ = f"""{block.about}, as a model with a loss on its output.

    Options  {options}; loss, by default 'squared_error'; classes, the size of a dense layer behind the network
    Shapes   {block.shapes}
    Source   {block.source}
    Raises   ReadError for an unknown option, activation or loss, or a depth that is no number of layers

    >>> from symgrad import nets
    >>> [d.name for d in nets.{block.name}().definitions()][-2:]
    ['out', 'loss']
    """
    return build


mlp, resnet, rnn, lstm, gru = (_builder(BLOCKS[name]) for name in ("mlp", "resnet", "rnn", "lstm", "gru"))


def example(name: str) -> Model:
    """The example of a layer or a loss: its call, and for a layer the sum of its entries, each with a weight R.

    >>> [d.name for d in example("layer_norm").definitions()]
    ['out_c', 'out_s', 'out', 'loss']

    Raises   ReadError for a name that there is no layer or loss for
    """
    from symgrad.reading import read_model

    row = ROWS.get(name)
    if row is None:
        raise ReadError(f"there is no layer or loss {name}", hint="there are " + ", ".join(ROWS))
    target = "out" if name in LAYERS else "loss"
    lines = [f"{target} = {row.name}({', '.join(row.parameters)})"]
    if name in LAYERS:
        lines.append(f"loss = {_weighted(row)}")
    sizes = {key.strip(): said.split() for key, _, said in (e.partition(":") for e in row.shapes.split(","))}
    if name in LAYERS and not row.index:
        computed = " + " in row.out or " - " in row.out
        sizes["R"] = [s.replace(" ", "") for s in row.out.split(",")] if computed else row.out.split()
    return read_model("\n".join(lines), shapes=sizes, assume=row.assume or None)


def _weighted(row: Row) -> str:
    """The sum of the entries of a layer's value, each with a weight."""
    if row.index:
        at = ",".join(row.places)
        return f"sum({at}, R[{at}] * out[{at}])"
    return "sum(R * out)" if row.out else "R * out"
