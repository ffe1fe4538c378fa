r"""Notes on the symbols of a LaTeX formula: names, expressions, rows, layers; other words are for people."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from sympy import Expr, S

from symgrad.errors import ReadError, SymgradError
from symgrad.expr import (
    Family,
    is_leaf,
    is_matrix,
    is_scalar,
    leaf_name,
)
from symgrad.reading.latex.functions import elementwise_name
from symgrad.reading.latex.left import LeftSides
from symgrad.reading.latex.marks import Marked, marked, stem_of
from symgrad.reading.latex.places import Alias, Function, Unbound
from symgrad.reading.latex.scope import at_layers
from symgrad.reading.latex.setting import Setting
from symgrad.reading.latex.tree import Node, parse, parse_statements, same_writing, walk_nodes
from symgrad.reading.latex.values import OpenSize
from symgrad.reading.latex.writing import derivative_parts

__all__ = ["read_notes"]


def read_notes(setting: Setting, reader: object) -> None:
    """What the notes say about symbols: names, expressions, rows, layers; other words are for people."""
    for key, said in setting.context.symbols.items():
        if not isinstance(key, str) or not isinstance(said, str):
            raise ReadError("symbols is a mapping of text to text")
        lowered = said.lower()
        if re.search(r"repeated ind", key) and "sum" in lowered:
            setting.einstein = True
            continue
        if "row vectors" in lowered:
            setting.rows = True
            continue
        if key.strip() == "*" and re.search(r"correl|conv", lowered):
            setting.functions["*"] = Function("correlate" if "correl" in lowered else "convolve")
            continue
        if "softmax" in key and re.search(r"(row|column|col)", lowered):
            setting.functions["softmax axis"] = Function("1" if "row" in lowered else "0")
            continue
        try:
            statements = parse_statements(key, setting.words)
        except SymgradError:
            continue
        for symbol in statements:
            _note(setting, reader, symbol, said.strip())


def _note(setting: Setting, reader: object, symbol: Node, said: str) -> None:
    if match := re.fullmatch(r"(?:layer |step )?(\d+)", said):
        if symbol.kind == "letter":
            setting.layers[symbol.text] = int(match[1])
        return
    if match := re.fullmatch(r"(row|column|col)\s+(\w+)\s+of\s+(\w+)", said):
        e = setting.names.get(match[3])
        m = marked(symbol)
        if is_matrix(e) and any(s.text == match[2] for s in (*m.subs, *m.sups)):
            setting.aliases.append(Alias(m, e, (match[2],), 0 if match[1] == "row" else 1))
        return
    if (match := re.search(r"\bdim (\w+)", said)) and symbol.kind == "letter":
        if match[1] in setting.sizes:
            setting.sizes[symbol.text] = setting.sizes[match[1]]
        return
    if match := re.match(r"derivative of (\S+)", said):
        _gradient_names(setting, symbol, match[1])
        return
    for text, number in _meanings(said):
        value = _value(setting, reader, text)
        if value is None:
            return
        _give(setting, symbol, *value, number)


def _gradient_names(setting: Setting, symbol: Node, of: str) -> None:
    """dW^{[l]} is the derivative of J: d + name is the gradient of J."""
    try:
        scope = setting.scope(of)
        value, _ = scope.symbol(marked(parse(of, setting.words)))
    except (SymgradError, Unbound):
        return
    parts = symbol.parts if symbol.kind == "term" else ()
    if len(parts) == 2 and parts[0].text == "d":
        stem = stem_of(marked(parts[1]).base)
        if stem:
            setting.gradients[stem] = value.expr


def _meanings(said: str) -> Iterator[tuple[str, str | None]]:
    """The names in a note, each with the number that it ends in where there are several."""
    text = re.sub(r"\s+\([A-Za-z][^()*+/@]*\)", "", said)
    text = re.split(r";|\s+for\s+|\s+=\s+", text)[0].strip()
    pieces = [p.strip() for p in text.split(",")]
    named = [p for p in pieces if re.fullmatch(r"[A-Za-z]\w*", p)]
    if len(pieces) > 1 and len(named) == len(pieces):
        for p in pieces:
            match = re.search(r"(\d+)$", p)
            if match:
                yield p, match[1]
        return
    yield (pieces[0] if not re.search(r"[(\[]", text) else text), None


def _value(setting: Setting, reader: object, text: str) -> tuple[Expr, tuple[str, ...]] | None:
    """The expression of a note, without its index letters: g[i] is g with the index i."""
    letters: list[str] = []
    found = re.findall(r"\[([a-z](?:\s*,\s*[a-z])*)\]", text)
    if found and len(set(found)) == 1:
        letters = [c.strip() for c in found[0].split(",")]
        text = re.sub(r"\[[a-z](?:\s*,\s*[a-z])*\]", "", text)
    if re.fullmatch(r"[A-Za-z]\w*", text):
        e = setting.names.get(text)
        if e is None:
            e = setting.sizes.get(text)
        if e is None and elementwise_name(text):
            return S.NaN, (text,)
        if e is None or isinstance(e, Family):
            return None
        return e, tuple(letters)
    entry = re.fullmatch(r"[A-Za-z]\w*\[\d+(\s*,\s*\d+)?\]", text) is not None
    if not (entry or re.search(r"[-+*/@(]", text)) or re.search(
        r"[A-Za-z]\s+[A-Za-z]|[^\x00-\x7f\\]|\\", text
    ):
        return None
    try:
        return reader._expression(text), tuple(letters)  # type: ignore[attr-defined]
    except SymgradError:
        return None


def _give(setting: Setting, symbol: Node, value: Expr, letters: tuple[str, ...], number: str | None) -> None:
    """Give a symbol, or a derivative, its meaning."""
    if value is S.NaN:
        m = marked(symbol)
        stem = stem_of(m.base)
        if stem:
            marks = "".join(i.text for i in (*m.subs, *m.sups) if i.kind in ("letter", "number"))
            setting.functions[stem + marks] = Function(elementwise_name(letters[0]) or letters[0])
        return
    if not setting.context.definitions and _is_derivative(symbol) and is_leaf(value):
        setting.stated.append((leaf_name(value), symbol))
        return
    derivative = _derivative_of(setting, symbol, int(number) if number else None)
    if derivative is not None:
        setting.derivatives.append((*derivative, value))
        return
    m = marked(symbol)
    if stem_of(m.base) is None:
        parts = symbol.parts if symbol.kind == "term" else ()
        if len(parts) == 2 and parts[0].kind == "letter" and parts[0].text == "d":
            return
        is_call = len(parts) == 2 and parts[1].kind == "paren" and not letters
        error_signal = len(parts) == 2 and parts[0].kind == "letter" and parts[0].text in ("delta", "Delta")
        if is_call or error_signal or not any(n.kind in ("sub", "sup") for n in walk_nodes(symbol)):
            setting.writings.append((symbol, value))
        return
    scripts = [i for i in (*m.subs, *m.sups) if i.kind == "letter" and not i.mark]
    rank = 0 if is_scalar(value) else 1 if value.shape[1] == 1 else 2
    implied = not letters
    if not letters and len(scripts) >= rank and rank:
        subs = [i.text for i in m.subs if i.kind == "letter"]
        pool = subs if len(subs) == rank else [i.text for i in scripts]
        letters = tuple(pool) if len(pool) == rank else ()
    if implied and rank == 1 and _stands_as_a_vector(setting, symbol):
        letters = ()
    if number is not None:
        m = _numbered(m, number)
        letters = ()
    setting.aliases.append(Alias(at_layers(m, setting.layers), value, letters, implied=implied))


def _stands_as_a_vector(setting: Setting, symbol: Node) -> bool:
    r"""Whether the definitions have v_c transposed, or after a transposed factor: nobody transposes an entry."""
    bare = marked(symbol)
    for text in setting.context.definitions_latex:
        try:
            statements = parse_statements(text, setting.words)
        except SymgradError:
            continue
        for term in (n for s in statements for n in walk_nodes(s) if n.kind == "term"):
            before = False
            for part in term.parts:
                m = marked(part)
                turned = any(_is_top(i) for i in m.sups)
                alike = stem_of(m.base) == stem_of(bare.base) and len(m.subs) == len(bare.subs)
                alike = alike and all(map(same_writing, m.subs, bare.subs))
                if alike and (turned or before):
                    return True
                before = turned
    return False


def _is_top(item: Node) -> bool:
    return item.mark == "top" or item.kind == "top" or (item.kind == "letter" and item.text == "T")


def _numbered(m: Marked, number: str) -> Marked:
    """The symbol with its last letter of a script replaced by a number."""

    def swap(items: tuple[Node, ...]) -> tuple[tuple[Node, ...], bool]:
        for k in range(len(items) - 1, -1, -1):
            letters = [n for n in walk_nodes(items[k]) if n.kind == "letter"]
            if letters:
                digit = Node("number", (), items[k].at, items[k].end, number)
                return (*items[:k], digit, *items[k + 1 :]), True
        return items, False

    sups, done = swap(m.sups)
    subs = m.subs
    if not done:
        subs, _ = swap(m.subs)
    return replace(m, subs=subs, sups=sups)


def _is_derivative(node: Node) -> bool:
    return derivative_parts(node) is not None or (
        node.kind == "term" and node.parts[0].kind in ("partial", "nabla")
    )


def _derivative_of(setting: Setting, node: Node, layer: int | None = None) -> tuple[Expr, Expr] | None:
    """Of what and by what a writing is a derivative; entries stand for the whole."""
    letters = {n.text for n in walk_nodes(node) if n.kind == "letter"}
    candidates: list[dict[str, int]] = [{}]
    if layer is not None:
        candidates = [{c: layer} for c in sorted(letters)] + candidates
    for layers in candidates:
        scope = setting.scope(setting_source(node), {**setting.layers, **layers})
        scope.may_bind = True
        try:
            left = LeftSides(scope, setting, scope.source).derivative_side(node)
        except (SymgradError, Unbound, OpenSize):
            continue
        if left is not None:
            return left.of, left.wrt
    return None


def setting_source(node: Node) -> str:
    """A source long enough for the positions of a node."""
    return " " * max(node.end, 1)
