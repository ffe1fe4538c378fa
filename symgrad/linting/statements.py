"""How formulas and their statements are written: rows, names, derivatives; nothing is known of a document here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from symgrad.expr import Model
from symgrad.linting.prose import GENERIC, symbols_in
from symgrad.reading.claim import Context
from symgrad.reading.latex.define import name_of
from symgrad.reading.latex.setting import Setting
from symgrad.reading.latex.tree import Node, walk_nodes
from symgrad.reading.latex.vocabulary import FONTS
from symgrad.reading.latex.writing import derivative_parts

__all__ = [
    "arguments",
    "differentiated_by",
    "given_name",
    "has_derivative",
    "holds_derivative",
    "is_derivative",
    "is_remark",
    "of_and_by",
    "rows",
    "symbols_in_node",
    "with_fonts",
]

_INDEX = re.compile(r"_\s*(?:[ijk]|\{\s*[ijkmnc]{1,2}\s*\})(?![A-Za-z])")
_FONT_BEFORE = re.compile(r"\\([A-Za-z]+)\s*\{?\s*$")


def rows(body: str) -> Iterator[tuple[int, str]]:
    r"""The rows of an aligned formula; one that begins with a relation goes on with the row before."""
    inner = re.match(r"\\begin\{(aligned|align|split|gathered|gather|eqnarray|array)\*?\}(\{[^}]*\})?", body)
    start, end = 0, len(body)
    if inner:
        start = inner.end()
        closing = body.rfind(rf"\end{{{inner[1]}")
        end = closing if closing > start else end
    if r"\begin{cases}" in body or "matrix}" in body or r"\begin{array}" in body[start:]:
        yield 0, body
        return
    pieces = [(m.start(), m.end()) for m in re.finditer(r"\\\\(?:\s*\[[^\]]*\])?", body[start:end])]
    bounds = [start, *(start + e for _, e in pieces)]
    ends = [*(start + s for s, _ in pieces), end]
    rows: list[list[int]] = []
    for a, b in zip(bounds, ends, strict=True):
        text = body[a:b].strip().lstrip("&{} ").lstrip()
        if not text:
            continue
        if rows and (re.match(r"(=|\\(?:approx|le|ge|leq|geq|propto)\b|[-+])", text)):
            rows[-1][1] = b
        else:
            rows.append([a, b])
    for a, b in rows:
        if label := re.match(r"\s*\\label\s*\{[^{}]*\}", body[a:b]):
            a += label.end()
        yield a, body[a:b]


def with_fonts(row: str, at: int) -> int:
    r"""Where a formula begins with the fonts of its first symbol: \boldsymbol{\delta}."""
    while match := _FONT_BEFORE.search(row, 0, at):
        if match[1] not in FONTS:
            break
        at = match.start()
    return at


def symbols_in_node(node: Node, layer: int = GENERIC, mark: str = "l") -> str | None:
    """The name of a symbol; a general layer is the second, an index is no part of the name."""
    if node.kind not in ("letter", "word", "accent", "scripted", "group"):
        return None
    return name_of(node, Setting(Context(), Model(()), layers={mark: layer}))


def given_name(side: Node, mark: str) -> str | None:
    """The name that a definition gives: a symbol, or a function of plain symbols."""
    if side.kind == "term" and len(side.parts) == 2 and side.parts[1].kind == "paren":
        inside = [n for n in walk_nodes(side.parts[1]) if n.kind in ("sub", "sup")]
        if any(n.kind == "letter" for s in inside for n in walk_nodes(s)):
            return None
        side = side.parts[0]
    return symbols_in_node(side, mark=mark)


def is_remark(node: Node) -> bool:
    """A range of an index beside an equation."""
    if node.kind in ("number", "dots", "text"):
        return True
    if node.kind != "chain":
        return False
    left, right = node.parts[0], node.parts[-1]
    return (
        node.parts[1].text == "="
        and left.kind == "letter"
        and left.text in "ijklnt"
        and right.kind in ("number", "letter", "dots")
    )


def is_derivative(side: Node) -> bool:
    """Whether a side is a derivative as a whole, and not a product with one."""
    parts = list(side.parts) if side.kind == "term" else [side]
    first = parts[0]
    if derivative_parts(first) is not None:
        above = derivative_parts(first)
        return len(parts) == 1 or not (above and above[0])
    head = first.parts[0] if first.kind == "scripted" else first
    if head.kind == "nabla":
        return True
    return head.kind == "partial" and any(n.kind == "op" and n.text == "SLASH" for n in walk_nodes(side))


def of_and_by(side: Node) -> tuple[Node, Node] | None:
    r"""The two symbols of \frac{\partial L}{\partial z} or \partial L / \partial z."""
    parts = list(side.parts) if side.kind == "term" else [side]
    fraction = derivative_parts(parts[0])
    if fraction is not None:
        above, variables = fraction
        if len(parts) == 1 and len(above) == 1 and len(variables) == 1 and len(variables[0]) == 1:
            return above[0], variables[0][0]
        return None
    kinds = [p.text if p.kind == "op" else p.kind for p in parts]
    if len(parts) == 5 and kinds[0] == kinds[3] == "partial" and kinds[2] == "SLASH":
        return parts[1], parts[4]
    return None


def holds_derivative(node: Node) -> bool:
    """Whether there is a derivative anywhere in it."""
    return any(n.kind in ("nabla", "prime", "partial") or derivative_parts(n) for n in walk_nodes(node))


def has_derivative(body: str) -> bool:
    """Whether a formula that is not parsed yet looks like an equation with a derivative."""
    return bool(re.search(r"\\partial|\\nabla|\\frac\s*\{?\s*(?:d|\\mathrm\s*\{?d)", body)) and "=" in body


def arguments(node: Node) -> list[str]:
    r"""The variables of functions that are differentiated: the t of \sigma'(t)."""
    found = []
    for term in walk_nodes(node):
        for f, inside in pairwise(term.parts) if term.kind == "term" else ():
            if inside.kind == "paren" and len(inside.parts) == 1 and inside.parts[0].kind == "letter":
                if any(n.kind == "prime" for n in walk_nodes(f)):
                    found.append(inside.parts[0].text)
    return list(dict.fromkeys(found))


def differentiated_by(text: str, of: str, mark: str) -> list[str]:
    """The names that a formula differentiates a function by, on its right-hand sides."""
    right = text.partition("=")[2]
    found: list[str] = []
    for match in re.finditer(r"\\partial\s*(?P<x>[^{}]*(?:\{[^{}]*\}[^{}]*)*?)\s*\}", right):
        for written in (match["x"], _INDEX.sub("", match["x"])):
            named = symbols_in(written, mark=mark)
            if len(named) == 1 and named[0] != of:
                found.append(named[0])
    return list(dict.fromkeys(found))
