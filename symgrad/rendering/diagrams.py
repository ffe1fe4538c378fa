"""Diagrams of a model: what is computed from what, and the shapes in a product."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sympy import Expr
from sympy.matrices.expressions.matmul import MatMul

from symgrad.expr import Model, is_matrix, is_scalar, leaf_name, leaves, shape_of, walk
from symgrad.rendering.figures import _figure  # the settings of the house
from symgrad.rendering.latex import to_latex
from symgrad.rendering.notation import Notation

__all__ = ["Edge", "Graph", "computation_graph", "graph_of", "mermaid", "product_of", "shape_diagram"]


@dataclass(frozen=True)
class Edge:
    """What is computed from what; `label` is the local derivative, where it is short."""

    start: str
    end: str
    label: str = ""


@dataclass(frozen=True)
class Graph:
    """Names with what is printed for them, what is defined, and the edges."""

    names: Mapping[str, str]
    defined: frozenset[str]
    edges: tuple[Edge, ...]

    def columns(self) -> list[list[str]]:
        """The names by the length of the longest way to them; an input stands just before what first uses it."""
        depth: dict[str, int] = {}
        for name in self.names:  # inputs first, then the definitions in order
            before = [depth[e.start] for e in self.edges if e.end == name]
            depth[name] = max(before, default=-1) + 1 if name in self.defined else 0
        for name in self.names:
            if name not in self.defined:
                depth[name] = max(
                    min((depth[e.end] for e in self.edges if e.start == name), default=1) - 1, 0
                )
        found: list[list[str]] = [[] for _ in range(max(depth.values(), default=0) + 1)]
        for name in self.names:
            found[depth[name]].append(name)
        return found


def graph_of(model: Model, labels: Mapping[tuple[str, str], str], notation: Notation) -> Graph:
    """The graph of a model without loops; `labels` are the local derivatives in LaTeX by (start, end)."""
    names: dict[str, str] = {leaf_name(s): to_latex(s, notation) for s in model.inputs()}
    edges: list[Edge] = []
    for d in model.definitions():
        names[d.name] = to_latex(d.symbol, notation)
        for leaf in dict.fromkeys(leaves(d.value)):
            start = leaf_name(leaf)
            if start in names and start != d.name:
                edges.append(Edge(start, d.name, labels.get((start, d.name), "")))
    return Graph(names, frozenset(d.name for d in model.definitions()), tuple(edges))


def mermaid(graph: Graph) -> str:
    """The graph for Markdown readers that draw it themselves."""
    ids = {name: f"n{i}" for i, name in enumerate(graph.names)}
    lines = ["flowchart LR"]
    for name, node in ids.items():
        shown = re.sub(r"[^\w ]", "", name)
        lines.append(f'    {node}["{shown}"]' if name in graph.defined else f'    {node}(["{shown}"])')
    lines += [f"    {ids[e.start]} --> {ids[e.end]}" for e in graph.edges]
    return "\n".join(lines)


def _mathtext(latex: str) -> str:
    """LaTeX in the part of it that matplotlib knows; nothing if it does not."""
    text = latex.replace(r"\lVert", r"\Vert").replace(r"\rVert", r"\Vert").replace(r"\top", "T")
    if re.search(r"\\(begin|mathop|overset|limits|oslash)", text):
        return ""
    from matplotlib.mathtext import MathTextParser

    try:
        MathTextParser("path").parse(f"${text}$")
    except ValueError:
        return ""
    return f"${text}$"


def computation_graph(graph: Graph, lang: str = "en") -> str:
    """The graph as SVG: inputs round, what is computed in boxes, local derivatives on the edges.

    Raises   MissingExtraError without matplotlib
    """
    columns = graph.columns()
    tallest = max(len(c) for c in columns)
    at = {
        name: (2.0 * x, (len(column) - 1) / 2 - y)
        for x, column in enumerate(columns)
        for y, name in enumerate(column)
    }
    out: list[str] = []
    with _figure(lang, out) as axes:
        from matplotlib.patches import FancyArrowPatch

        axes.figure.set_size_inches(min(1.25 * len(columns) + 0.4, 6.4), 0.62 * tallest + 0.35)
        axes.set_xlim(-0.6, 2.0 * (len(columns) - 1) + 0.6)
        axes.set_ylim(-(tallest - 1) / 2 - 0.55, (tallest - 1) / 2 + 0.55)
        axes.axis("off")
        boxes = {}
        for name, (x, y) in at.items():
            style = "square,pad=0.32" if name in graph.defined else "round,pad=0.32,rounding_size=0.5"
            fill = "0.92" if name in graph.defined else "white"
            shown = axes.text(
                x, y, _mathtext(graph.names[name]) or name, ha="center", va="center", zorder=3,
                bbox={"boxstyle": style, "facecolor": fill, "edgecolor": "black", "linewidth": 0.8},
            )  # fmt: skip
            boxes[name] = shown.get_bbox_patch()
        for e in graph.edges:  # drawn after the boxes (zorder), which have their places then
            axes.add_patch(
                FancyArrowPatch(
                    at[e.start], at[e.end], patchA=boxes[e.start], patchB=boxes[e.end], shrinkA=0, shrinkB=0,
                    arrowstyle="-|>,head_length=5,head_width=2", color="black", linewidth=0.7, zorder=4,
                    connectionstyle="arc3,rad=0.3" if _passes(at[e.start], at[e.end], at.values()) else "arc3",
                )
            )  # fmt: skip
            label = _mathtext(e.label) if e.label else ""
            if label:
                (x0, y0), (x1, y1) = at[e.start], at[e.end]
                # Nearer to the start, where the edges into a node are still apart; upon the edge, which it interrupts.
                axes.text(
                    x0 + 0.42 * (x1 - x0), y0 + 0.42 * (y1 - y0), label, ha="center", va="center", fontsize=7.5, zorder=5,
                    bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.2},
                )  # fmt: skip
    return out[0]


def _passes(
    start: tuple[float, float], end: tuple[float, float], places: Iterable[tuple[float, float]]
) -> bool:
    """Whether the straight edge between two nodes goes through a third one."""
    (x0, y0), (x1, y1) = start, end
    return any(
        min(x0, x1) < x < max(x0, x1) and abs(y0 + (y1 - y0) * (x - x0) / (x1 - x0) - y) < 0.4
        for x, y in places
    )


def product_of(value: Expr) -> list[Expr]:
    """The factors of the first product of matrices in an expression."""
    for node in walk(value):
        if isinstance(node, MatMul):
            factors = [f for f in node.args if is_matrix(f)]
            if len(factors) > 1:
                return factors
    return []


def shape_diagram(factors: Sequence[Expr], result: Expr, notation: Notation, lang: str = "en") -> str:
    """Rectangles for the factors of a product and its result: equal sizes have equal lengths.

    Raises   MissingExtraError without matplotlib
    """
    lengths: dict[Expr, float] = {}
    for e in (*factors, result):
        for s in shape_of(e) if not is_scalar(e) else ():
            if s != 1:
                lengths.setdefault(s, (1.5, 0.9, 1.2, 0.6, 1.8)[len(lengths) % 5])

    def length(s: Expr) -> float:
        return 0.28 if s == 1 else lengths[s]

    out: list[str] = []
    with _figure(lang, out) as axes:
        from matplotlib.patches import Rectangle

        shown = [result, *factors]
        wide = sum(length(shape_of(e)[1]) for e in shown) + 0.75 * len(shown)
        high = max(length(shape_of(e)[0]) for e in shown)
        axes.figure.set_size_inches(min(0.95 * wide + 0.2, 6.4), 0.95 * (high + 0.85))
        x = 0.45
        for i, e in enumerate(shown):
            rows, columns = shape_of(e)
            h, w = length(rows), length(columns)
            axes.add_patch(Rectangle((x, -h / 2), w, h, facecolor="0.92", edgecolor="black", linewidth=0.8))
            inside = w > 0.5
            label_at = (
                (0.0, "center") if inside else (h / 2 + 0.08, "bottom")
            )  # a column is too thin for its name
            axes.text(x + w / 2, label_at[0], _mathtext(to_latex(e, notation)), ha="center", va=label_at[1])
            axes.text(x + w / 2, -h / 2 - 0.08, _size(columns, notation), ha="center", va="top", fontsize=8)
            axes.text(x - 0.06, 0, _size(rows, notation), ha="right", va="center", fontsize=8)
            x += w
            if i == 0:
                axes.text(x + 0.22, 0, "$=$", ha="center", va="center")
            x += 0.75 if i == 0 else 0.5
        axes.set_xlim(0, x)
        axes.set_ylim(-high / 2 - 0.42, high / 2 + 0.42)
        axes.set_aspect("equal")
        axes.axis("off")
    return out[0]


def _size(s: Expr, notation: Notation) -> str:
    return "$1$" if s == 1 else _mathtext(to_latex(s, notation))
