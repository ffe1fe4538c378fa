r"""Updates as claims: W \leftarrow W - \eta G and \Delta w = -\eta g say that the derivative of the loss is G."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from symgrad.reading.latex.marks import marked, stem_of
from symgrad.reading.latex.tree import Node, same_writing

__all__ = ["Update", "update_of"]

_RATES = ("eta", "alpha", "epsilon", "varepsilon", "lr")
_ARROWS = ("<-", ":=")
_Signed = tuple[bool, Node]  # whether the term is subtracted


@dataclass(frozen=True)
class Update:
    """A step of gradient descent or ascent without its rate.

    variable   what is updated
    down       by each side, what the derivative is if the step goes down the slope
    up         the same if it goes up
    falls      whether every side starts with a minus sign: nobody writes an ascent like that
    """

    variable: Node
    down: tuple[Node, ...]
    up: tuple[Node, ...]
    falls: bool


def update_of(statement: Node) -> Update | None:
    r"""The update that a statement is, or None.

    Every term must have the rate as a factor once; `W = W - \eta G` is one if both sides begin alike.
    """
    if statement.kind != "chain":
        return None
    first, relation, *_ = statement.parts
    sides = list(statement.parts[2::2])
    change = first.kind == "term" and len(first.parts) == 2 and first.parts[0].text == "Delta"
    steps: list[list[_Signed]] = []
    for side in sides:
        terms = _terms(side)
        if not change:
            subtracted, start = terms[0]
            if subtracted or not same_writing(start, first) or (relation.text not in (*_ARROWS, "=")):
                return None
            terms = terms[1:]
        bare = [(sign, _without_rate(term)) for sign, term in terms]
        if not bare or any(term is None for _, term in bare):
            return None
        steps.append([(sign, term) for sign, term in bare if term is not None])
    if not steps:
        return None
    variable = first.parts[1] if change else first
    return Update(
        variable,
        tuple(_sum([(not s, t) for s, t in terms], side) for terms, side in zip(steps, sides, strict=True)),
        tuple(_sum(terms, side) for terms, side in zip(steps, sides, strict=True)),
        steps[0][0][0],
    )


def _terms(side: Node) -> list[_Signed]:
    """The terms of a side with their signs."""
    if side.kind != "sum":
        return [(False, side)]
    terms, subtracted = [], False
    for part in side.parts:
        if part.kind == "sign":
            subtracted = part.text == "-"
            continue
        terms.append((subtracted, part))
        subtracted = False
    return terms


def _without_rate(term: Node) -> Node | None:
    """The term without its one factor that is a rate; None if it has none, or two."""
    factors = list(term.parts) if term.kind == "term" else [term]
    found = [k for k, f in enumerate(factors) if _is_rate(f) or _has_rate_above(f)]
    if len(found) != 1:
        return None
    (k,) = found
    if _is_rate(factors[k]):
        del factors[k]
        if factors and factors[0].kind == "op":  # \eta \cdot G
            del factors[0]
    else:
        above, below = factors[k].parts
        kept = [p for p in _inside(above) if not _is_rate(p)]
        one = Node("number", (), above.at, above.end, "1")
        number = (
            kept[0] if len(kept) == 1 else Node("term", tuple(kept), above.at, above.end) if kept else one
        )
        factors[k] = replace(factors[k], parts=(replace(above, parts=(number,)), below))
    if not factors:
        return None
    return factors[0] if len(factors) == 1 else replace(term, kind="term", parts=tuple(factors))


def _inside(group: Node) -> Sequence[Node]:
    inner = group.parts[0] if group.kind == "group" and len(group.parts) == 1 else group
    return inner.parts if inner.kind == "term" else (inner,)


def _has_rate_above(factor: Node) -> bool:
    return factor.kind == "frac" and sum(map(_is_rate, _inside(factor.parts[0]))) == 1


def _is_rate(factor: Node) -> bool:
    m = marked(factor)
    return stem_of(m.base) in _RATES and not m.sups and not m.primes


def _sum(terms: Sequence[_Signed], side: Node) -> Node:
    """The terms added up again."""
    if len(terms) == 1 and not terms[0][0]:
        return terms[0][1]
    parts: list[Node] = []
    for k, (subtracted, term) in enumerate(terms):
        if k or subtracted:
            parts.append(Node("sign", (), term.at, term.at, "-" if subtracted else "+"))
        parts.append(term)
    return Node("sum", tuple(parts), side.at, side.end)
