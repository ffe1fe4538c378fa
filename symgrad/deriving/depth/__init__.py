"""Loops of symbolic length: the adjoint recurrence, its closed form, and the proof by induction.

For a state s[l] = F(s[l-1]; theta[l]) the pullback of one layer is linear in the adjoint, so
g[l-1] = M_l g[l] + c_{l-1}, where c is what reaches the state directly at its own layer, and g[l] is an ordered
product of the M_k, or a sum of such products. `layers` takes loops apart and refuses what makes no sense, `descent`
goes back through a model with any number of loops and states (`known` is what it knows on the way, `recurrences` are
those of the states, `result` is what it ends with), `closed` states closed forms with their proofs, `tied`
closes the sums over layers that share a parameter, `forward` solves affine layers in the direction of the data.
"""

from __future__ import annotations

from symgrad.deriving.depth.closed import ordered_product
from symgrad.deriving.depth.descent import depth
from symgrad.deriving.depth.forward import forward
from symgrad.deriving.depth.layers import Layers, layers_of
from symgrad.deriving.depth.record import DepthSweep
from symgrad.deriving.linear_maps import linear_factor

__all__ = [
    "INSTANCES",
    "DepthSweep",
    "Layers",
    "depth",
    "forward",
    "layers_of",
    "linear_factor",
    "ordered_product",
]

INSTANCES = 8
"""Closed forms are checked against plain differentiation for this many lengths of the loop."""
