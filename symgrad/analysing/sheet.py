"""What is known of a network's stability: its moments, its critical point, theory and measurement; as data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sympy import Expr

from symgrad.analysing.mean_field import Critical, along, critical, depth_scale, fixed_point
from symgrad.analysing.moments import Moments, moments, steepest
from symgrad.analysing.monte_carlo import Measured, measure
from symgrad.analysing.network import Network, read_network
from symgrad.errors import UnsupportedError
from symgrad.expr import Model

__all__ = ["Sheet", "analyse", "to_data"]


@dataclass(frozen=True)
class Sheet:
    """All that is known of a network's stability; `theory` and `measured` are squared norms, first layer over last."""

    network: Network
    moments: Moments
    steepest: Expr
    critical: Critical | None
    weight_variance: float
    bias_variance: float
    q: float
    chi: float
    depths: tuple[int, ...]
    width: int
    theory: tuple[float, ...]
    measured: Measured | None
    branch: float | None


def analyse(
    model: Model,
    *,
    weight_variance: float | None = None,
    bias_variance: float = 0.0,
    depth: int = 30,
    width: int = 256,
    networks: int = 24,
    seed: int = 0,
) -> Sheet:
    """The stability of a network of layers that are alike, at an initialisation (the critical one if none is given).

    Units    weight_variance is sigma_w^2: one weight has the variance sigma_w^2 / n
    Raises   UnsupportedError for a network with several states or activations, or without a second moment

    >>> from symgrad import nets
    >>> sheet = analyse(nets.mlp(activation="relu"), depth=4, width=32, networks=2)
    >>> sheet.critical.exact, sheet.chi, sheet.steepest
    (2, 1.0, 1)
    """
    network = read_network(model)
    m = moments(network.activation)
    try:
        point = critical(m, bias_variance)
    except UnsupportedError:
        point = None
    if weight_variance is None and point is not None:
        weight_variance, q = point.weight_variance, 1.0 if point.q is None else point.q
    else:
        weight_variance = 1.0 if weight_variance is None else weight_variance
        q = fixed_point(m, weight_variance, bias_variance)
    at = q if 0 < q < math.inf else 1.0 if q else 1e-12
    chi = weight_variance * m.at(at)[1]
    branch = 1 / math.sqrt(depth) if network.residual else None
    depths = tuple(sorted({max(1, depth // 6), max(1, depth // 2), depth}))
    start = q if 1e-6 < q < math.inf else 1.0
    factors = [*_factors(m, weight_variance, bias_variance, start, depth, branch)]
    measured = measure(
        network.activation,
        weight_variance,
        bias_variance,
        depth=depth,
        width=width,
        networks=networks,
        q=start,
        branch=branch,
        seed=seed,
    )
    theory = tuple(math.prod(factors[depth - k :]) for k in range(depth + 1))
    return Sheet(
        network,
        m,
        steepest(network.activation),
        point,
        weight_variance,
        bias_variance,
        q,
        chi,
        depths,
        width,
        theory,
        measured,
        branch,
    )


def _factors(
    m: Moments, weight: float, bias: float, q: float, depth: int, branch: float | None
) -> Iterator[float]:
    """The factors of the squared norm, layer by layer."""
    if branch is None:
        yield from along(m, weight, bias, q, depth)
        return
    state = q
    for _ in range(depth):
        z = weight * state + bias
        square, slopes = m.at(z)
        yield 1 + branch**2 * weight * slopes
        state += branch**2 * square


def to_data(sheet: Sheet) -> dict[str, Any]:
    """The sheet as data: what JSON can hold."""
    m, s = sheet.moments, sheet
    point = s.critical
    measured = s.measured
    return {
        "activation": m.name,
        "residual": s.network.residual,
        "shared_weights": s.network.shared,
        "steepest_slope": float(s.steepest),
        "V": None if m.square is None else str(m.square),
        "D": None if m.slope_square is None else str(m.slope_square),
        "V_at_1": m.at(1.0)[0],
        "D_at_1": m.at(1.0)[1],
        "critical": None
        if point is None
        else {
            "weight_variance": point.weight_variance,
            "bias_variance": point.bias_variance,
            "q": point.q,
            "exact": None if point.exact is None else str(point.exact),
        },
        "weight_variance": s.weight_variance,
        "bias_variance": s.bias_variance,
        "q": s.q if math.isfinite(s.q) else None,
        "chi": s.chi,
        "depth_scale": depth_scale(s.chi) if math.isfinite(depth_scale(s.chi)) else None,
        "width": s.width,
        "layers": [
            {
                "back": k,
                "theory": s.theory[k],
                "mean": float(measured.mean[k]),
                "error": float(measured.error[k]),
                "log_mean": float(measured.log_mean[k]),
                "log_error": float(measured.log_error[k]),
            }
            for k in range(len(s.theory))
        ]
        if measured is not None
        else [],
    }
