"""Graphs of computations and diagrams of shapes: what is drawn follows from the model, the same bytes each time."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from symgrad.errors import MissingExtraError, RecipeError
from symgrad.reading import read_model
from symgrad.rendering.diagrams import computation_graph, graph_of, mermaid, product_of, shape_diagram
from symgrad.rendering.document import Figure
from symgrad.rendering.handout import Choice, document, made, read_recipe
from symgrad.rendering.notation import Notation
from symgrad.rendering.workbook import Workbook

NET = "W : k d\nb : k\nx : d\ny : k\nz = W @ x + b\na = tanh(z)\nL = norm(a - y)**2"
LINE = "w :\nx :\ny :\nr = w*x - y\nL = r**2"
RECIPE = f'''name = "t"
title = "T"
[models.net]
of = "L"
text = """
{NET}
"""
[models.line]
of = "L"
text = """
{LINE}
"""
[[sections]]
kind = "graph"
model = "line"
[[sections]]
kind = "shapes"
model = "net"
of = "z"
'''


def test_a_graph_has_the_edges_of_the_model_and_columns_in_order() -> None:
    graph = graph_of(read_model(NET), {}, Notation())
    assert {(e.start, e.end) for e in graph.edges} == {
        ("W", "z"), ("x", "z"), ("b", "z"), ("z", "a"), ("a", "L"), ("y", "L"),
    }  # fmt: skip
    columns = graph.columns()
    place = {name: i for i, column in enumerate(columns) for name in column}
    assert all(place[e.start] < place[e.end] for e in graph.edges)
    assert place["y"] == place["a"]


def test_edges_of_a_scalar_network_carry_local_derivatives() -> None:
    figure = next(b for b in document(Workbook(read_recipe(RECIPE)), "en").blocks if isinstance(b, Figure))
    assert "local derivatives" in "".join(p.text for p in figure.caption)
    assert re.fullmatch(r"r is computed from (\w, ){2}\w\. L is computed from r\.", figure.alt)
    assert figure.mermaid is not None
    assert figure.mermaid.count("-->") == 4
    ElementTree.fromstring(figure.svg)  # noqa: S314 - made here


def test_diagrams_are_the_same_bytes_each_time_and_hold_no_text_elements() -> None:
    graph = graph_of(read_model(LINE), {("w", "r"): "x", ("r", "L"): "2 r"}, Notation())
    first = computation_graph(graph)
    assert first == computation_graph(graph)
    assert "<text" not in first
    assert not re.search(r"<dc:date>|https?://(?!www\.w3\.org|purl|creativecommons|web\.resource)", first)


def test_the_shapes_of_a_product_are_drawn_with_their_sizes() -> None:
    model = read_model(NET)
    factors = product_of(next(iter(model.definitions())).value)
    assert [str(f) for f in factors] == ["W", "x"]
    assert "<svg" in shape_diagram(factors, factors[0] * factors[1], Notation(), "zh")
    assert product_of(model.symbol("a")) == []


def test_what_cannot_be_drawn_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RecipeError, match="not computed by a product"):
        document(Workbook(read_recipe(RECIPE.replace('of = "z"', 'of = "a"'))), "en")
    monkeypatch.setattr("symgrad.rendering.sections.has_matplotlib", lambda: False)
    without = dict(made(read_recipe(RECIPE), Choice(["en"], ["md", "tex"])))
    assert "```mermaid" in str(without["t.en.md"])
    with pytest.raises(MissingExtraError, match="figures"):
        dict(made(read_recipe(RECIPE), Choice(["en"], ["html"])))


def test_mermaid_takes_no_signs_from_names() -> None:
    assert re.fullmatch(r"[\w \[\]\"()>\n-]+", mermaid(graph_of(read_model(NET), {}, Notation())))
