"""Layers, losses and whole networks as short forms of the text language; their gradients are derived, not tabulated.

`layers`, `losses` and `networks` hold the rows, `short` writes them out as definitions, `build` makes models of them.
"""

from __future__ import annotations

from symgrad.nets.build import example, gru, lstm, mlp, network, network_text, resnet, rnn
from symgrad.nets.layers import LAYERS
from symgrad.nets.losses import LOSSES
from symgrad.nets.networks import BLOCKS
from symgrad.nets.row import Block, Row

__all__ = [
    "BLOCKS",
    "LAYERS",
    "LOSSES",
    "Block",
    "Row",
    "example",
    "gru",
    "lstm",
    "mlp",
    "network",
    "network_text",
    "resnet",
    "rnn",
]
