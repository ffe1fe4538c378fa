"""Random networks, forwards and backwards in NumPy: what really becomes of a gradient, with its error bar."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from symgrad.analysing.moments import function

__all__ = ["Measured", "measure"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """Squared gradient norms by layer, relative to the last one, over several networks.

    `mean[k]` belongs to k layers before the last, `error` is the standard error of the mean, `log_mean` and
    `log_error` are those of the logarithm.
    """

    mean: Array
    error: Array
    log_mean: Array
    log_error: Array
    networks: int


def measure(
    activation: str,
    weight_variance: float,
    bias_variance: float,
    *,
    depth: int,
    width: int = 256,
    networks: int = 24,
    q: float = 1.0,
    branch: float | None = None,
    seed: int = 0,
) -> Measured:
    """Backpropagate a random vector through random networks z[l] = W[l] a[l-1] + b[l], a[l] = phi(z[l]).

    Weights are Gaussian with variance weight_variance / width; the first layer's pre-activations have variance q. With
    `branch` the layers are residual, a[l] = a[l-1] + branch * phi(z[l]).
    """
    rng = np.random.default_rng(seed)
    ratios = np.empty((networks, depth + 1))
    for k in range(networks):
        z = np.sqrt(q) * rng.standard_normal(width)
        weights: list[Array] = []
        slopes: list[Array] = []
        a = z if branch is not None else function(activation, z)
        for _ in range(depth):
            w = rng.standard_normal((width, width)) * np.sqrt(weight_variance / width)
            b = rng.standard_normal(width) * np.sqrt(bias_variance)
            slopes.append(function(activation, z, derivative=True))
            weights.append(w)
            z = w @ a + b
            if branch is not None:
                slopes[-1] = function(activation, z, derivative=True)
                a = a + branch * function(activation, z)
            else:
                a = function(activation, z)
        g = rng.standard_normal(width)
        g /= np.linalg.norm(g)
        ratios[k, 0] = 1.0
        for back, (w, d) in enumerate(zip(reversed(weights), reversed(slopes), strict=True), 1):
            g = d * (w.T @ g) if branch is None else g + branch * (w.T @ (d * g))
            ratios[k, back] = float(g @ g)
    logs = np.log(np.maximum(ratios, 1e-300))
    root = np.sqrt(networks)
    return Measured(
        ratios.mean(axis=0),
        ratios.std(axis=0, ddof=1) / root,
        logs.mean(axis=0),
        logs.std(axis=0, ddof=1) / root,
        networks,
    )
