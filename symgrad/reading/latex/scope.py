r"""What a LaTeX symbol stands for: letters, accents, layer marks and subscripts against the names that are known.

`W^{(1)}`, `W^{[1]}`, `W_1` and `W^1` are all `W1`; what is left of the scripts when a known name is found are indices
of an entry, a row, or a sample. A letter that marks the layer is bound to the layer for which every name is known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NoReturn

from sympy import Expr, Integer, KroneckerDelta, S, Symbol

from symgrad.errors import NameUnknownError, SymgradError
from symgrad.expr import Family, is_matrix, is_scalar
from symgrad.reading.latex.aliases import Aliases
from symgrad.reading.latex.marks import Marked, other_case, spellings, stem_of, stems
from symgrad.reading.latex.places import Index, Unbound, WrongLayerError
from symgrad.reading.latex.tokens import fail_at
from symgrad.reading.latex.tree import Node, letters_of, parse_statements, walk_nodes
from symgrad.reading.latex.values import Val

__all__ = ["Scope", "at_layers"]


class Scope(Aliases):
    r"""Finds what a symbol stands for."""

    def symbol(self, m: Marked) -> tuple[Val, tuple[Node, ...]]:
        """The value of a symbol and the superscripts that are not part of its name.

        Raises   NameUnknownError, naming what is known; Unbound where a letter may be the layer
        """
        found = self._by_alias(m)
        if found is not None:
            return found
        self._open_mark(m)
        found = self._kronecker(m)
        if found is not None:
            return found
        if (
            self.einstein
            and m.sups
            and all(i.kind == "letter" and not i.mark for i in m.sups)
            and len(m.sups) > 1
        ):
            m = Marked(m.base, (*m.subs, *m.sups), (), m.node, m.primes)
        for stem in stems(m.base):
            found = self._by_name(m, stem, entries_only=False)
            if found is not None:
                return found
        letters = stem_of(m.base)
        if letters is not None and (m.subs or m.sups):
            found = self._by_name(m, other_case(letters), entries_only=True)
            if found is not None:
                return found
        if self.any_layer and not m.subs and not m.sups and letters is not None:
            found = self._at_some_layer(letters)
            if found is not None:
                return found
        for accented in stems(m.base):
            found = self._without_remarks(m, accented)
            if found is not None:
                return found
        self.unknown(m)

    def unknown(self, m: Marked) -> NoReturn:
        """Say that nothing has this name; a letter that could be the layer is tried first."""
        letter = self.open_letter((*m.sups, *m.subs))
        if letter is not None and not letter.mark:
            below = self.open_letter(m.subs)  # of b^l_j the l is tried first, then the j
            raise Unbound(letter.text, letter, () if below is None or below.mark else (below.text,))
        shown = self.source[m.node.at : m.node.end]
        kind = WrongLayerError if self.layers else NameUnknownError
        known = sorted(n for n in self.names if not n.startswith("_"))
        hint = "the names are " + ", ".join(known[:30]) if known else "nothing is declared"
        fail_at(kind, f"{shown} is not known", self.source, m.node.at, hint, self.why_unread(m))

    def _at_some_layer(self, stem: str) -> tuple[Val, tuple[Node, ...]] | None:
        r"""The a of \nabla_a C, where only a1, a2, .. are known: the layer for which the shapes fit."""
        layered = sorted(n for n in self.names if re.fullmatch(rf"{re.escape(stem)}_?\d+", n))
        if not layered:
            return None
        name = layered[self.choose(("layer of", stem), len(layered))]
        found = self.names[name]
        if isinstance(found, Family):
            return None
        self.note(f"{stem} is read as {name}")
        return self.oriented(found), ()

    def why_unread(self, m: Marked) -> tuple[str, ...]:
        """Which definitions of a symbol there are that could not be read, and why; those that they need come after."""
        found: list[str] = []
        wanted = [stem_of(m.base)]
        for stem in wanted:
            for text, error in self.unread:
                if stem is None or not text.strip() or stem not in _names_on_the_left(text):
                    continue
                shown = " ".join(text.split())
                at = (
                    f" (line {error.line}, column {error.column} of it)"
                    if error.line and error.column
                    else ""
                )
                shown = shown if len(shown) <= 60 else shown[:57] + "..."
                found.append(f"its definition  {shown}  is not read{at}: {error.message}")
                missing = re.fullmatch(r"\\?([A-Za-z]+)(_.*|\^.*)? is not known", error.message)
                if missing and missing[1] not in wanted:
                    wanted.append(missing[1])
        return tuple(dict.fromkeys(found))[:3]

    def _by_name(self, m: Marked, stem: str, entries_only: bool) -> tuple[Val, tuple[Node, ...]] | None:
        """The longest known name made of the stem and the first subscripts and marks."""
        marks = [i for i in m.sups if self._is_mark(i)]
        for used_subs in range(len(m.subs), -1, -1):
            for used_marks in range(len(marks), -1, -1):
                parts = [self.mark_text(i) for i in (*m.subs[:used_subs], *marks[:used_marks])]
                if any(p is None for p in parts):
                    continue
                rest = m.subs[used_subs:]
                left = tuple(i for i in m.sups if i not in marks[:used_marks])
                if entries_only and not rest and not any(self._is_sample(i) for i in left):
                    continue
                for name in spellings(stem, [p for p in parts if p]):
                    value = self._value(name, m, rest, left)
                    if value is not None:
                        return value
        return self._member(m, stem)

    def _member(self, m: Marked, stem: str) -> tuple[Val, tuple[Node, ...]] | None:
        """A member of a family, W^{(l)} with a symbolic layer."""
        family = self.names.get(stem)
        if not isinstance(family, Family):
            return None
        for pool, rest_subs, rest_sups in (
            (m.sups, m.subs, m.sups[1:]),
            (m.subs, m.subs[1:], m.sups),
        ):
            if pool:
                at = self._layer(pool[0])
                if at is not None:
                    member = family[at]
                    if rest_subs:
                        return self._entries(member, rest_subs, m), rest_sups
                    return self.oriented(member), rest_sups
        return None

    def _layer(self, item: Node) -> Expr | None:
        """A layer as an expression."""
        if item.kind in ("paren", "group") and len(item.parts) == 1:
            return self._layer(item.parts[0])
        n = self.number_in(item)
        if n is not None:
            return Integer(n)
        if item.kind == "letter":
            if item.text in self.sizes:
                return self.sizes[item.text]
            return Symbol(item.text, integer=True, positive=True)
        if item.kind == "sum":
            total: Expr = S.Zero
            sign = 1
            for part in item.parts:
                if part.kind == "sign":
                    sign = 1 if part.text == "+" else -1
                    continue
                value = self._layer(part)
                if value is None:
                    return None
                total, sign = total + sign * value, 1
            return total
        return None

    def _value(
        self, name: str, m: Marked, rest: Sequence[Node], left: tuple[Node, ...]
    ) -> tuple[Val, tuple[Node, ...]] | None:
        """A known name with the subscripts that are left as indices; None if they cannot be."""
        found = self.known(name)
        if found is None or isinstance(found, Family):
            return None
        samples = tuple(i for i in left if self._is_sample(i))
        others = tuple(i for i in left if i not in samples)
        if samples:
            return self._sample(found, name, m, rest, samples, others)
        if not rest:
            return self.oriented(found), left
        if is_scalar(found):
            return None
        rank = 1 if found.shape[1] == 1 else 2
        if len(rest) == rank or (rank == 2 and len(rest) == 1):
            if rank == 2 and len(rest) == 1 and rest[0].kind == "number":
                return None
            return self._entries(found, rest, m), left
        return None

    def _without_remarks(self, m: Marked, stem: str) -> tuple[Val, tuple[Node, ...]] | None:
        """A name whose marks only remark on it: mu_B for mu, a sample index on a loss."""
        found = self.names.get(stem)
        if found is None or isinstance(found, Family) or not (m.subs or m.sups):
            return None
        remarks = [i for i in m.subs if self._is_remark(i)]
        rest = [i for i in m.subs if not self._is_remark(i)]
        if remarks and not rest:
            shown = self.source[m.node.at : m.node.end]
            self.note(f"{shown} is read as {stem}")
            return self.oriented(found), m.sups
        return None

    def _is_remark(self, item: Node) -> bool:
        if item.kind in ("word", "text"):
            return True
        return (
            item.kind == "letter"
            and (item.mark in ("mathcal", "mathrm", "text", "mathscr"))
            and item.text not in self.indices
        )

    def _kronecker(self, m: Marked) -> tuple[Val, tuple[Node, ...]] | None:
        r"""\delta_{ij} of two indices, told apart from an error signal."""
        if stem_of(m.base) not in ("delta", "I") or "delta" in self.indices:
            return None
        places = (*m.subs, *m.sups)
        if len(places) != 2 or not all(p.kind == "letter" and not p.mark for p in places):
            return None
        name = stem_of(m.base) or ""
        found = self.names.get(name)
        if found is not None and is_matrix(found) and found.shape[1] != 1:
            return None
        if not all(p.text in self.indices for p in places):
            if not (len(m.subs) == 2 or (self.einstein and len(m.subs) == 1)):
                return None
            if not any(p.text in self.indices for p in places):
                return None
            if not self.einstein and not self.may_bind:
                return None
        pair = []
        for p in places:
            if p.text not in self.indices:
                self.indices[p.text] = Index(self.index_for(p.text))
            index = self.indices[p.text]
            index.uses += 1
            pair.append(index)
        sizes = pair[0].sizes or pair[1].sizes
        for index in pair:
            index.sizes += sizes[:1]
        return Val(KroneckerDelta(pair[0].symbol, pair[1].symbol)), ()


def _names_on_the_left(definition: str) -> set[str]:
    """The letters and words on the left side of a definition, though the rest of it may be unreadable."""
    first = re.split(r"=|:=|\\\\(?:equiv|triangleq|coloneqq|sim)(?![A-Za-z])", definition, maxsplit=1)[0]
    try:
        return {n for s in parse_statements(first) for n in letters_of(s)}
    except SymgradError:
        return set(re.findall(r"[A-Za-z]+", first))


def at_layers(m: Marked, layers: Mapping[str, int]) -> Marked:
    """The symbol at a layer: every mark that names the layer is a number."""

    def at(item: Node) -> Node:
        scope = Scope("", {}, {}, {}, layers=dict(layers))
        letters = {n.text for n in walk_nodes(item) if n.kind == "letter"}
        n = scope.number_in(item) if letters & set(layers) else None
        return item if n is None else Node("number", (), item.at, item.end, str(n))

    return replace(m, subs=tuple(map(at, m.subs)), sups=tuple(map(at, m.sups)))
