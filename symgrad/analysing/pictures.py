"""The figures of a stability sheet: the numbers for them, and the words."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from symgrad.analysing.mean_field import critical, fixed_point
from symgrad.analysing.moments import Moments
from symgrad.analysing.monte_carlo import measure
from symgrad.analysing.sheet import Sheet
from symgrad.errors import UnsupportedError
from symgrad.rendering.figures import edge_of_chaos, gradient_norms, heat_map, powers
from symgrad.rendering.inline import inline_text
from symgrad.rendering.phrases import load

__all__ = ["pictures"]

_BASES = (0.5, 0.9, 1.0, 1.1, 1.5)
_GAINS = 9
_GRID = 25


def pictures(sheet: Sheet, lang: str = "en", depth: int = 20, width: int = 64) -> Iterator[tuple[str, str]]:
    """The figures, name and SVG: powers of a weight, norms by layer, the edge of chaos, norms by layer and gain.

    Raises   MissingExtraError without matplotlib
    """
    catalogue = load(lang)
    keys = ("depth", "factor", "theory", "measured", "layers", "norm", "logarithm")
    words = {k: str(inline_text(catalogue(f"analysis.figure.{k}"))) for k in keys}
    yield "powers.svg", powers(_BASES, 30, words, lang)
    if sheet.measured is not None:
        found = sheet.measured
        yield (
            "gradient_norms.svg",
            gradient_norms(sheet.theory, found.mean.tolist(), found.error.tolist(), words, lang),
        )
    line = _critical_line(sheet.moments)
    middle = line[0][0] if line else sheet.weight_variance
    if sheet.branch is not None:
        return
    if len(line) > 1:
        weights = np.linspace(0.3 * middle, max(w for w, _ in line) * 1.2, _GRID)
        biases = np.linspace(0.0, max(b for _, b in line), _GRID)
        factors = [[_factor(sheet.moments, w, b) for w in weights] for b in biases]
        yield (
            "edge_of_chaos.svg",
            edge_of_chaos(weights.tolist(), biases.tolist(), factors, line, words, lang),
        )
    gains = np.linspace(0.5 * middle, 1.5 * middle, _GAINS)
    rows = []
    for gain in gains:
        norms = measure(sheet.moments.name, float(gain), 0.0, depth=depth, width=width, networks=4).mean
        rows.append(np.log10(np.maximum(norms, 1e-300)).tolist())
    yield "gains.svg", heat_map(gains.tolist(), rows, words, lang)


def _critical_line(m: Moments) -> list[tuple[float, float]]:
    """Critical pairs (sigma_w^2, sigma_b^2); one point alone where there is no line."""
    line = []
    for bias in (0.0, 1e-4, 1e-3, 3e-3, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3):
        try:
            line.append((critical(m, bias).weight_variance, bias))
        except UnsupportedError:
            continue
    return line


def _factor(m: Moments, weight: float, bias: float) -> float:
    q = fixed_point(m, weight, bias, steps=300)
    return weight * m.at(q if 0 < q < math.inf else 1e-12)[1]
