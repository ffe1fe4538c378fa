"""Theory beside measured networks for several activations and depths, with error bars: a table and a figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sympy

from symgrad.analysing.mean_field import along
from symgrad.analysing.moments import moments
from symgrad.analysing.monte_carlo import measure
from symgrad.analysing.page import SIGMA_B, SIGMA_W, figure
from symgrad.rendering.document import Block, Document, Figure, Paragraph, Table, joined, plain
from symgrad.rendering.figures import theory_and_measurement
from symgrad.rendering.inline import inline_text
from symgrad.rendering.phrases import load
from symgrad.rendering.view import View

__all__ = [
    "ACTIVATIONS",
    "DEPTHS",
    "Compared",
    "Comparison",
    "compare",
    "comparison_document",
    "picture",
    "to_data",
]

ACTIVATIONS = ("tanh", "relu", "erf", "gelu", "identity")
DEPTHS = (5, 15, 30)


@dataclass(frozen=True)
class Compared:
    """The squared gradient norm, first layer over last: theory by depth, and measured at some depths."""

    activation: str
    theory: tuple[float, ...]
    mean: tuple[float, ...]
    error: tuple[float, ...]


@dataclass(frozen=True)
class Comparison:
    """Several activations at one initialisation; `depths` are those that were measured."""

    weight_variance: float
    bias_variance: float
    depths: tuple[int, ...]
    width: int
    networks: int
    rows: tuple[Compared, ...]


def compare(
    activations: Sequence[str] = ACTIVATIONS,
    depths: Sequence[int] = DEPTHS,
    *,
    weight_variance: float = 1.5,
    bias_variance: float = 0.05,
    width: int = 200,
    networks: int = 40,
    seed: int = 0,
) -> Comparison:
    """Random networks of every depth and activation beside what the mean field says of them.

    Units    weight_variance is sigma_w^2: one weight has the variance sigma_w^2 / width
    Raises   UnsupportedError for an activation without a second moment

    >>> found = compare(("relu",), (2, 4), width=32, networks=4)
    >>> [round(found.rows[0].theory[d], 4) for d in found.depths]
    [0.5625, 0.3164]
    """
    depths = tuple(sorted(set(depths)))
    rows = []
    for name in activations:
        factors = along(moments(name), weight_variance, bias_variance, 1.0, depths[-1])
        theory = tuple(math.prod(factors[:k]) for k in range(depths[-1] + 1))
        found = [
            measure(
                name, weight_variance, bias_variance, depth=d, width=width, networks=networks, seed=seed + d
            )
            for d in depths
        ]
        mean = tuple(float(m.mean[d]) for m, d in zip(found, depths, strict=True))
        error = tuple(float(m.error[d]) for m, d in zip(found, depths, strict=True))
        rows.append(Compared(name, theory, mean, error))
    return Comparison(weight_variance, bias_variance, depths, width, networks, tuple(rows))


def picture(found: Comparison, lang: str = "en") -> str:
    """The figure (SVG): norms by depth, and measured over theory, with two standard errors each.

    Raises   MissingExtraError without matplotlib
    """
    catalogue = load(lang)
    keys = ("depth", "norm", "theory", "ratio")
    words = {k: str(inline_text(catalogue(f"analysis.figure.{k}"))) for k in keys}
    curves = [(row.activation, row.theory, row.mean, row.error) for row in found.rows]
    return theory_and_measurement(found.depths, curves, words, lang)


def comparison_document(found: Comparison, lang: str = "en", *, drawn: bool = False) -> Document:
    """The comparison as a document: what was measured, the table, and the figure if it is to be drawn."""
    words = load(lang)
    view = View(words)
    f = view.formula
    about = [
        joined(f(SIGMA_W**2), " = ", figure(found.weight_variance)),
        joined(f(SIGMA_B**2), " = ", figure(found.bias_variance)),
    ]
    what = words(
        "analysis.comparison.what",
        networks=f(sympy.Integer(found.networks)),
        width=f(sympy.Integer(found.width)),
        values=view.listed(about),
    )
    rows = []
    for row in found.rows:
        for depth, mean, error in zip(found.depths, row.mean, row.error, strict=True):
            theory = row.theory[depth]
            plus = r" \pm | ± | ± "
            relative = joined(figure(mean / theory, 3), plus, figure(error / theory, 2))
            shown = joined(figure(mean, 4), plus, figure(error, 2))
            cells = (figure(theory, 4), shown, relative)
            rows.append((plain(row.activation), (f(sympy.Integer(depth)),), *((c,) for c in cells)))
    keys = ("activation", "depth", "theory", "mean", "ratio")
    head = tuple(words(f"analysis.comparison.{k}") for k in keys)
    blocks: list[Block] = [Paragraph(what), Table(head, tuple(rows))]
    blocks.append(Paragraph(words("analysis.comparison.says")))
    if drawn:
        svg = picture(found, lang)
        caption = words("analysis.comparison.caption")
        blocks.append(Figure(svg, str(inline_text(caption)), caption, "1"))
    title = words("analysis.comparison.title")
    return Document(title, tuple(blocks), lang, words=words.table("screen"))


def to_data(found: Comparison) -> dict[str, Any]:
    """The comparison as data: what JSON can hold."""
    return {
        "weight_variance": found.weight_variance,
        "bias_variance": found.bias_variance,
        "width": found.width,
        "networks": found.networks,
        "rows": [
            {"activation": row.activation, "depth": d, "theory": row.theory[d], "mean": mean, "error": error}
            for row in found.rows
            for d, mean, error in zip(found.depths, row.mean, row.error, strict=True)
        ],
    }
