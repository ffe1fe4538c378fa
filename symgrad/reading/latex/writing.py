r"""What the writing of a LaTeX formula says, before any name is known: derivatives, sums, conditions."""

from __future__ import annotations

from collections.abc import Sequence

from symgrad.reading.latex.marks import contents
from symgrad.reading.latex.tree import Node, walk_nodes

__all__ = [
    "bare_condition",
    "bracket_of",
    "derivative_parts",
    "factors_of",
    "index_letters",
    "is_constant",
    "is_d",
    "is_sum",
    "order_in",
    "order_of",
    "second_order",
    "sum_letters",
    "term_of",
    "until_operator",
]


def derivative_parts(node: Node) -> tuple[list[Node], list[list[Node]]] | None:
    r"""What is differentiated and by what, where a fraction is a derivative; an empty first part for \frac{d}{dx}.

    The second part has one list of factors for each variable of the denominator.
    """
    if node.kind != "frac":
        return None
    above, below = (list(factors_of(g)) for g in node.parts)
    if not above or not below or not (is_d(above[0]) and is_d(below[0])):
        return None
    if len(below) < 2:
        return None
    variables: list[list[Node]] = []
    round_d = _is_round(below[0])
    for factor in below:
        sign = is_d(factor) and _is_round(factor) == round_d
        if sign and (not variables or variables[-1]):  # a d after a sign is a variable
            variables.append([])
        else:
            variables[-1].append(factor)
    if any(not v for v in variables):
        return None
    return above[1:], variables


def factors_of(group: Node) -> tuple[Node, ...]:
    """The factors in a group."""
    inner = group
    while inner.kind == "group" and len(inner.parts) == 1:
        inner = inner.parts[0]
    if inner.kind == "group":
        return ()
    return inner.parts if inner.kind == "term" else (inner,)


def is_d(node: Node) -> bool:
    r"""Whether it is the d or \partial of a derivative, perhaps squared."""
    base = node.parts[0] if node.kind == "scripted" else node
    if base.kind == "partial":
        return True
    return base.kind == "letter" and base.text == "d"


def _is_round(node: Node) -> bool:
    base = node.parts[0] if node.kind == "scripted" else node
    return base.kind == "partial"


def second_order(node: Node) -> bool:
    r"""Whether the sign over a derivative is squared: \partial^2."""
    return node.kind == "scripted" and any(
        s.kind == "sup" and [p.text for p in contents(s.parts[0])] == ["2"] for s in node.parts[1:]
    )


def order_in(item: Node) -> int | None:
    """The number of an order (3) among superscripts, up to 9."""
    if item.kind != "paren" or item.text != "(" or len(item.parts) != 1 or item.parts[0].kind != "number":
        return None
    number = item.parts[0].text
    return int(number) if number in "123456789" else None


def order_of(node: Node) -> int:
    r"""How often the sign of a derivative says it is taken: 3 of d^3, 1 of \partial."""
    for s in node.parts[1:] if node.kind == "scripted" else ():
        items = contents(s.parts[0]) if s.kind == "sup" else ()
        if len(items) == 1 and items[0].kind == "number" and items[0].text in "23456789":
            return int(items[0].text)
    return 1


def bracket_of(node: Node) -> Node | None:
    """A bracket, with or without scripts."""
    if node.kind == "scripted":
        node = node.parts[0]
    return node if node.kind == "paren" and node.text in ("(", "[", "{") else None


def term_of(parts: Sequence[Node]) -> Node:
    """Factors as one piece."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return Node("group", (), 0, 0)
    return Node("term", tuple(parts), parts[0].at, parts[-1].end)


def is_sum(node: Node) -> bool:
    """Whether it is a sum or product sign."""
    return node.kind == "big" or (node.kind == "scripted" and node.parts[0].kind == "big")


def until_operator(parts: Sequence[Node]) -> list[Node]:
    """The factors up to an operator."""
    taken: list[Node] = []
    for p in parts:
        if p.kind == "op":
            break
        taken.append(p)
    return taken


def is_constant(parts: Sequence[Node]) -> bool:
    """Whether there are only numbers."""
    return all(p.kind == "number" for p in parts)


def sum_letters(node: Node) -> set[str]:
    """The index letters of the sum signs at the top of a term."""
    letters: set[str] = set()
    for f in node.parts if node.kind == "term" else (node,):
        if is_sum(f) and f.kind == "scripted":
            for script in f.parts[1:]:
                if script.kind == "sub" and script.parts[0].parts:
                    inside = script.parts[0].parts[0]
                    first = inside.parts[0] if inside.kind == "chain" else inside
                    letters |= {n.text for n in walk_nodes(first) if n.kind == "letter"}
    return letters


def index_letters(node: Node) -> set[str]:
    """The letters in subscripts and superscripts."""
    found: set[str] = set()
    for n in walk_nodes(node):
        if n.kind in ("sub", "sup"):
            found |= {x.text for x in walk_nodes(n) if x.kind == "letter"}
    return found


def bare_condition(node: Node) -> Node | None:
    """A condition without its words; None for "otherwise"."""

    def bare(n: Node) -> Node | None:
        if n.kind == "text" or (n.kind == "word" and n.text in ("if", "otherwise", "else", "for", "when")):
            return None
        if n.kind in ("term", "chain", "sum"):
            kept = [k for k in (bare(p) for p in n.parts) if k is not None]
            if not kept:
                return None
            if n.kind == "term" and len(kept) == 1:
                return kept[0]
            return Node(n.kind, tuple(kept), n.at, n.end, n.text, n.mark)
        return n

    return bare(node)
