r"""Symbols taken apart: base, accents, subscripts and superscripts, primes; and the spellings of a name."""

from __future__ import annotations

from dataclasses import dataclass

from symgrad.reading.latex.tree import Node

__all__ = ["Marked", "contents", "marked", "other_case", "stem_of", "stems"]


@dataclass(frozen=True)
class Marked:
    """A symbol taken apart: base, subscripts, superscripts, and how often it is primed."""

    base: Node
    subs: tuple[Node, ...]
    sups: tuple[Node, ...]
    node: Node
    primes: int = 0


def contents(group: Node) -> tuple[Node, ...]:
    """The items of a script: letters next to one another are items of their own."""
    items: list[Node] = []
    for part in group.parts:
        for element in part.parts if part.kind == "list" else (part,):
            plain = element.kind == "term" and all(p.kind != "op" for p in element.parts)
            items += element.parts if plain else (element,)
    return tuple(items)


def marked(node: Node) -> Marked:
    """The base, subscripts and superscripts of a symbol; superscript T and powers are among the superscripts."""
    base, primes = node, 0
    subs: tuple[Node, ...] = ()
    sups: tuple[Node, ...] = ()
    if node.kind == "scripted":
        base = node.parts[0]
        for script in node.parts[1:]:
            items = contents(script.parts[0])
            if script.kind == "sub":
                subs += items
            else:
                primes += sum(i.kind == "prime" for i in items)
                sups += tuple(_unprimed(i) for i in items if i.kind != "prime")
                primes += sum(i.kind == "scripted" and _primes(i) for i in items)
    while base.kind == "group" and len(base.parts) == 1 and base.parts[0].kind in ("letter", "word", "one", "group",
                                                                                   "accent", "scripted"):  # fmt: skip
        base = base.parts[0]
        if base.kind == "scripted":
            inner = marked(base)
            base, subs, sups, primes = inner.base, inner.subs + subs, inner.sups + sups, inner.primes + primes
    return Marked(base, subs, sups, node, primes)


def _primes(item: Node) -> int:
    return sum(len(s.parts[0].parts) for s in item.parts[1:] if s.kind == "sup")


def _unprimed(item: Node) -> Node:
    """[1]' is [1]; its primes are counted elsewhere."""
    if item.kind == "scripted" and all(
        s.kind == "sup" and all(p.kind == "prime" for p in contents(s.parts[0])) for s in item.parts[1:]
    ):
        return item.parts[0]
    return item


def stem_of(base: Node) -> str | None:
    r"""The letters of a base with its accents: `\hat{y}` is `yhat`; None if it is no symbol."""
    if base.kind in ("letter", "word"):
        return base.text
    if base.kind == "accent":
        inner = base.parts[0]
        while inner.kind == "group" and len(inner.parts) == 1:
            inner = inner.parts[0]
        if inner.kind == "scripted":
            return None
        stem = stem_of(inner)
        return None if stem is None else stem + base.text
    if base.kind == "group" and len(base.parts) == 1:
        return stem_of(base.parts[0])
    return None


_SYNONYMS = {
    "lambda": ("lam", "lamda"), "epsilon": ("eps",), "ell": ("l", "L"), "phi": ("varphi",),
    "sigma": ("sig",), "theta": (), "Lambda": ("Lam",), "pi": (),
}  # fmt: skip


def stems(base: Node) -> list[str]:
    """Spellings of a symbol, the best first."""
    stem = stem_of(base)
    if stem is None:
        return []
    found = [stem, *_SYNONYMS.get(stem, ())]
    for accent in ("hat", "bar", "tilde"):
        if stem.endswith(accent):
            plain = stem[: -len(accent)]
            found += [s + accent for s in _SYNONYMS.get(plain, ())]
            if len(plain) > 1:
                found.append(plain[0] + accent)  # \hat\beta as bhat
            found.append(f"{plain}_{accent}")
    return found


def other_case(stem: str) -> str:
    """W for W, phi for Phi: an entry is written small."""
    return stem[0].swapcase() + stem[1:]


def spellings(stem: str, parts: list[str]) -> list[str]:
    """W1, W_1 for a stem with marks."""
    if not parts:
        return [stem]
    return list(
        dict.fromkeys([stem + "".join(parts), f"{stem}_{''.join(parts)}", f"{stem}_{'_'.join(parts)}"])
    )
