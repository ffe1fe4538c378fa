"""Figures as SVG, with text as paths: the same in every document, the same bytes each time.

What is drawn comes in as numbers and as words of the phrase catalogue; nothing is computed here. Styles of lines differ
besides their colours, so that the figures can be printed in black and white.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from symgrad.errors import MissingExtraError
from symgrad.rendering.glyphs import FONT_FOLDER

__all__ = [
    "Drawing",
    "edge_of_chaos",
    "gradient_norms",
    "has_matplotlib",
    "heat_map",
    "powers",
    "theory_and_measurement",
]

_STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
_SIZE = (4.6, 3.0)
_SETTINGS = {
    "svg.fonttype": "path",
    "svg.hashsalt": "symgrad",
    "mathtext.fontset": "cm",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": False,
    "font.size": 9,
    "image.cmap": "cividis",
    "savefig.bbox": "tight",
}


def has_matplotlib() -> bool:
    """Whether the extra `figures` is installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


class Drawing(str):
    """The text of an SVG, with the same picture as PDF, which LaTeX can include."""

    pdf: bytes = b""


@contextmanager
def _figure(lang: str, out: list[str], columns: int = 1) -> Iterator[Any]:
    """Axes with the settings of the house, several beside each other; the SVG is put into `out` when they are drawn."""
    if not has_matplotlib():
        raise MissingExtraError('figures need matplotlib: pip install "symgrad[figures]" adds it')
    import matplotlib as mpl
    from matplotlib import font_manager
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    families = ["DejaVu Sans"]
    if lang == "zh":  # first: mathematics does not fall back from one font to the next
        path = str(FONT_FOLDER / "SymgradSong-Regular.otf")
        font_manager.fontManager.addfont(path)
        families.insert(0, font_manager.FontProperties(fname=path).get_name())
    with mpl.rc_context({**_SETTINGS, "font.family": families}):
        figure = Figure(figsize=(_SIZE[0] * (1 + 0.5 * (columns - 1)), _SIZE[1]))
        FigureCanvasSVG(figure)
        yield figure.add_subplot() if columns == 1 else figure.subplots(1, columns)
        if columns > 1:
            figure.tight_layout()
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
        printed = io.BytesIO()
        figure.savefig(printed, format="pdf", metadata={"CreationDate": None, "Creator": None})
    drawing = Drawing(re.sub(r"<!DOCTYPE[^>]*>\s*", "", stream.getvalue()))
    drawing.pdf = printed.getvalue()
    out.append(drawing)


def _logarithmic(axes: Any) -> None:
    """A logarithmic axis whose labels are set in the mathematical font, which has every sign in them."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"$10^{{{round(math.log10(y))}}}$"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def powers(bases: Sequence[float], depth: int, words: Mapping[str, str], lang: str = "en") -> str:
    """Curves |w|^L over L = 0..depth, on a logarithmic scale.

    Raises   MissingExtraError without matplotlib
    """
    out: list[str] = []
    with _figure(lang, out) as axes:
        lengths = list(range(depth + 1))
        for base, style in zip(bases, _STYLES, strict=False):
            values = [base**n for n in lengths]
            axes.plot(lengths, values, linestyle=style, color="black")
            axes.annotate(
                f"${base:g}^L$", (depth, values[-1]), xytext=(4, 0), textcoords="offset points", va="center"
            )
        _logarithmic(axes)
        axes.set_xlabel(words["depth"])
        axes.set_ylabel(words["factor"])
    return out[0]


def gradient_norms(
    theory: Sequence[float],
    mean: Sequence[float],
    error: Sequence[float],
    words: Mapping[str, str],
    lang: str = "en",
) -> str:
    """Squared gradient norms by layers back from the last: theory as a line, measurements with two standard errors."""
    out: list[str] = []
    with _figure(lang, out) as axes:
        layers = list(range(len(theory)))
        axes.plot(layers, theory, "-", color="black", label=words["theory"])
        bars = [2 * e for e in error]
        low = [min(b, 0.9 * m) for b, m in zip(bars, mean, strict=True)]  # a logarithmic axis has no zero
        axes.errorbar(
            layers, mean, yerr=(low, bars), fmt="o", markersize=2.5, color="tab:blue", label=words["measured"]
        )
        _logarithmic(axes)
        axes.set_xlabel(words["layers"])
        axes.set_ylabel(words["norm"])
        axes.legend(frameon=False)
    return out[0]


def edge_of_chaos(
    weights: Sequence[float],
    biases: Sequence[float],
    factors: Sequence[Sequence[float]],
    line: Sequence[tuple[float, float]],
    words: Mapping[str, str],
    lang: str = "en",
) -> str:
    """The factor of a layer over both variances, and the critical line; `factors[i][j]` belongs to biases[i], weights[j]."""
    out: list[str] = []
    with _figure(lang, out) as axes:
        from matplotlib.colors import TwoSlopeNorm

        top = max(max(row) for row in factors)
        norm = TwoSlopeNorm(vcenter=1.0, vmin=0.0, vmax=max(top, 1.0 + 1e-6))
        shown = axes.pcolormesh(weights, biases, factors, norm=norm, shading="nearest", rasterized=False)
        axes.plot([w for w, _ in line], [b for _, b in line], "-", color="white", linewidth=2)
        axes.plot([w for w, _ in line], [b for _, b in line], "--", color="black", linewidth=1)
        axes.set_xlim(min(weights), max(weights))
        axes.set_ylim(min(biases), max(biases))
        axes.set_xlabel(r"$\sigma_w^2$")
        axes.set_ylabel(r"$\sigma_b^2$")
        axes.figure.colorbar(shown, ax=axes, label=words["factor"])
    return out[0]


def heat_map(
    gains: Sequence[float],
    values: Sequence[Sequence[float]],
    words: Mapping[str, str],
    lang: str = "en",
) -> str:
    """The decimal logarithm of squared gradient norms: a row for every gain, a column for every layer back."""
    out: list[str] = []
    with _figure(lang, out) as axes:
        layers = list(range(len(values[0])))
        shown = axes.pcolormesh(layers, gains, values, shading="nearest")
        axes.set_xlabel(words["layers"])
        axes.set_ylabel(r"$\sigma_w^2$")
        axes.figure.colorbar(shown, ax=axes, label=words["logarithm"])
    return out[0]


def theory_and_measurement(
    depths: Sequence[int],
    curves: Sequence[tuple[str, Sequence[float], Sequence[float], Sequence[float]]],
    words: Mapping[str, str],
    lang: str = "en",
) -> str:
    """Squared gradient norms by depth, and measured over theory; a curve is a name, theory, means and their errors.

    Bars are two standard errors; points of one depth stand beside each other in the second picture.
    """
    out: list[str] = []
    with _figure(lang, out, columns=2) as (left, right):
        for n, ((name, theory, mean, error), style) in enumerate(zip(curves, _STYLES, strict=False)):
            bars = [2 * e for e in error]
            low = [min(b, 0.9 * m) for b, m in zip(bars, mean, strict=True)]
            (line,) = left.plot(range(len(theory)), theory, linestyle=style, linewidth=1, label=name)
            colour, marker = line.get_color(), "osD^v"[n % 5]
            shape = {"fmt": marker, "markersize": 3, "color": colour, "elinewidth": 1, "capsize": 2}
            left.errorbar(depths, mean, yerr=(low, bars), **shape)
            at = [d + 0.5 * (n - (len(curves) - 1) / 2) for d in depths]
            known = [theory[d] for d in depths]
            ratio = [m / t for m, t in zip(mean, known, strict=True)]
            right.errorbar(at, ratio, yerr=[b / t for b, t in zip(bars, known, strict=True)], **shape)
        right.axhline(1.0, color="black", linewidth=0.8)
        right.set_xticks(list(depths))
        _logarithmic(left)
        left.legend(frameon=False, fontsize=7)
        left.set_ylabel(words["norm"])
        right.set_ylabel(words["ratio"])
        for axes in (left, right):
            axes.set_xlabel(words["depth"])
    return out[0]
