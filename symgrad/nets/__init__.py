"""Layers, losses and whole networks as short forms of the text language; their gradients are derived, not tabulated.

`library` holds the rows, `short` writes them out as definitions, `build` makes models of whole networks.
"""

from __future__ import annotations

from symgrad.nets.build import example, gru, lstm, mlp, resnet, rnn
from symgrad.nets.library import BLOCKS, LAYERS, LOSSES, Row

__all__ = ["BLOCKS", "LAYERS", "LOSSES", "Row", "example", "gru", "lstm", "mlp", "resnet", "rnn"]
