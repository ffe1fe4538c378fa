"""Why gradients vanish or explode: worst case, typical case, initialisation, each beside a real random network.

`moments` are the Gaussian moments of activations, `mean_field` what follows from them for wide networks, `finite_width`
what a finite width changes, `initialisation` the derivations of Glorot and He, `monte_carlo` random networks, `network`
reads a model, `sheet` has all that is known of it and `page` makes that a document; `comparison` sets activations beside
each other.
"""

from __future__ import annotations

from symgrad.analysing.finite_width import largest_square, lyapunov
from symgrad.analysing.mean_field import critical, fixed_point
from symgrad.analysing.moments import Moments, moments, steepest
from symgrad.analysing.monte_carlo import Measured, measure
from symgrad.analysing.sheet import Sheet, analyse

__all__ = [
    "Measured",
    "Moments",
    "Sheet",
    "analyse",
    "critical",
    "fixed_point",
    "largest_square",
    "lyapunov",
    "measure",
    "moments",
    "steepest",
]
