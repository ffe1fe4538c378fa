r"""Symbols that the notes gave a meaning, found again in a formula, with their indices renamed."""

from __future__ import annotations

from collections.abc import Sequence

from sympy import Expr

from symgrad.expr import is_leaf, is_matrix, is_scalar, leaf_name
from symgrad.reading.latex.marks import Marked, spellings, stem_of, stems
from symgrad.reading.latex.places import Alias, Places, Unbound
from symgrad.reading.latex.tree import Node, same_writing, walk_nodes
from symgrad.reading.latex.values import Val, entry_of, row_or_column

__all__ = ["Aliases"]


class Aliases(Places):
    r"""Symbols that were given a meaning: a name of the model, an expression, a row or a column."""

    def _by_alias(self, m: Marked) -> tuple[Val, tuple[Node, ...]] | None:
        """The meaning that was given to a symbol, with its indices renamed; an exact writing comes first."""
        for loose in (False, True):
            if loose and self._is_spelled_out(m):
                break
            for alias in self.aliases:
                left = self._match(alias, m, loose)
                if left is not None:
                    renamed, rest, ops = left
                    value = self._alias_value(alias, renamed, rest, m)
                    if value is not None:
                        return value, ops
        for alias in self.aliases if not m.subs else ():
            whole = self._match_whole(alias, m)
            if whole is not None:
                return self.oriented(alias.value), whole
        return None

    def _is_spelled_out(self, m: Marked) -> bool:
        """Whether u_o is the name uo: then it is no u_k with o for k."""
        if not m.subs or any(n.text in self.indices for i in m.subs for n in walk_nodes(i)):
            return False
        parts = [self.mark_text(i) for i in (*m.subs, *filter(self._is_mark, m.sups))]
        known = [p for p in parts if p]
        return len(known) == len(parts) and any(
            name in self.names for stem in stems(m.base) for name in spellings(stem, known)
        )

    def _open_mark(self, m: Marked) -> None:
        """A letter where other writings of the symbol have the number of a layer is a layer, and no index."""
        sups = [i for i in m.sups if self._is_mark(i)]
        for alias in self.aliases:
            a = alias.symbol
            if stem_of(a.base) != stem_of(m.base) or len(a.subs) != len(m.subs) or len(a.sups) != len(sups):
                continue
            for key, item in zip((*a.subs, *a.sups), (*m.subs, *sups), strict=True):
                if key.kind == "number" and (letter := self.open_letter([item])) is not None:
                    raise Unbound(letter.text, letter)

    def _match_whole(self, alias: Alias, m: Marked) -> tuple[Node, ...] | None:
        r"""The vector whose entries were given a meaning: a^L, or \hat{a}^L in bold hands, where a_j^L is one."""
        a = alias.symbol
        if not a.subs or not alias.places or len(a.subs) != len(alias.places) or alias.axis is not None:
            return None
        if is_leaf(alias.value) and leaf_name(alias.value).endswith("".join(alias.places)):
            return None  # the letter is a part of the name: v is not v_c
        stem, other = stem_of(m.base), stem_of(a.base)
        if stem is None or other is None or stem not in (other, f"{other}hat"):
            return None
        sups = [i for i in m.sups if self._is_mark(i)]
        if len(sups) != len(a.sups):
            return None
        if not all(same_writing(k, i) or self._same_mark(k, i) for k, i in zip(a.sups, sups, strict=True)):
            return None
        return tuple(i for i in m.sups if not self._is_mark(i))

    def _match(
        self, alias: Alias, m: Marked, loose: bool
    ) -> tuple[dict[str, Node], tuple[Node, ...], tuple[Node, ...]] | None:
        a = alias.symbol
        if stem_of(a.base) is None or stem_of(a.base) != stem_of(m.base):
            return None
        if not all(map(self._is_mark, a.sups)):  # \Sigma^{-1}, a name as a whole
            pairs = list(zip((*a.subs, *a.sups), (*m.subs, *m.sups), strict=False))
            if loose or len(m.subs) != len(a.subs) or len(m.sups) < len(a.sups):
                return None
            return ({}, (), m.sups[len(a.sups) :]) if all(same_writing(p, q) for p, q in pairs) else None
        ops = tuple(i for i in m.sups if not self._is_mark(i))
        sups = [i for i in m.sups if self._is_mark(i)]
        if len(sups) > len(a.sups):  # a power after the marks
            extra = sups[len(a.sups) :]
            if not all(i.kind == "number" or self._turns(i) for i in extra) or loose:
                return None
            ops = (*extra, *ops)
            sups = sups[: len(a.sups)]
        if len(m.subs) < len(a.subs) or len(sups) != len(a.sups):
            return None
        renamed: dict[str, Node] = {}
        for key, item in zip((*a.subs, *a.sups), (*m.subs[: len(a.subs)], *sups), strict=True):
            if same_writing(key, item) or self._same_mark(key, item):
                if key.kind == "letter":
                    renamed[key.text] = item
                continue
            if not loose or alias.exact:
                return None
            if key.kind == "letter" and key.text in alias.places and item.kind in ("letter", "number", "sum"):
                renamed[key.text] = item
                continue
            return None
        return renamed, m.subs[len(a.subs) :], ops

    def _turns(self, item: Node) -> bool:
        """Whether a T above a symbol is a transpose, and no layer, index or power."""
        if item.kind != "letter" or item.text != "T" or "T" in self.layers or "T" in self.indices:
            return False
        found = self.names.get("T")
        return not (isinstance(found, Expr) and is_scalar(found))

    def _same_mark(self, key: Node, item: Node) -> bool:
        p, q = self.number_in(key), self.number_in(item)
        return p is not None and p == q

    def _alias_value(
        self, alias: Alias, renamed: dict[str, Node], rest: tuple[Node, ...], m: Marked
    ) -> Val | None:
        value = alias.value
        if alias.axis is not None:
            (letter,) = alias.places
            at = self.place(renamed[letter], value.shape[alias.axis], m.node)
            if rest:
                k = self.place(rest[0], value.shape[1 - alias.axis], m.node)
                return Val(entry_of(value, *((at, k) if alias.axis == 0 else (k, at))))
            return row_or_column(value, at, alias.axis, self.fresh)
        places = [renamed[p] for p in alias.places if p in renamed]
        if is_matrix(value) and alias.places and all(self._indexes(p) for p in places):
            rank = 1 if value.shape[1] == 1 else 2
            if len(places) == rank and not self._is_part_of_name(alias, places):
                return self._entries(value, places, m)
        if rest:
            return self._entries(value, rest, m) if is_matrix(value) else None
        return self.oriented(value)

    def _is_part_of_name(self, alias: Alias, places: Sequence[Node]) -> bool:
        """Whether the letters of v_c, which is vc or v as a whole, are a part of the name here, and no index."""
        if any(p.text in self.indices for p in places) or not is_leaf(alias.value):
            return False
        if not (alias.implied or leaf_name(alias.value).endswith("".join(alias.places))):
            return False
        return self.choose(("name", leaf_name(alias.value)), 2) == 1

    def _indexes(self, item: Node) -> bool:
        """Whether a subscript is an index here, and not a part of the name."""
        if item.kind == "letter":
            return item.text in self.indices or self.may_bind
        if item.kind == "sum":
            return any(n.text in self.indices for n in walk_nodes(item) if n.kind == "letter")
        return item.kind == "number"
