r"""What a LaTeX symbol stands for: letters, accents, layer marks and subscripts against the names that are known.

`W^{(1)}`, `W^{[1]}`, `W_1` and `W^1` are all `W1`; what is left of the scripts when a known name is found are indices
of an entry, a row, or a sample. A letter that marks the layer is bound to the layer for which every name is known.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NoReturn

from sympy import Dummy, Expr, Integer, KroneckerDelta, Mul, S, Sum, Symbol

from symgrad.errors import NameUnknownError, ShapeError, SymgradError
from symgrad.expr import Family, is_leaf, is_matrix, is_scalar, leaf_name
from symgrad.reading.latex.tokens import fail_at
from symgrad.reading.latex.tree import Node, letters_of, parse_statements, same_writing, walk_nodes
from symgrad.reading.latex.values import Fresh, Val, entry_of, index_symbol, row_or_column, turned, val

__all__ = [
    "Alias",
    "Function",
    "Index",
    "Marked",
    "Scope",
    "Unbound",
    "WrongLayerError",
    "at_layers",
    "marked",
    "stem_of",
]


class Unbound(Exception):  # noqa: N818 - not an error: a layer is looked for
    """A letter in a script that is no index: it may be the layer."""

    def __init__(self, letter: str, node: Node, others: tuple[str, ...] = ()) -> None:
        super().__init__(letter)
        self.letter, self.node, self.others = letter, node, others


class WrongLayerError(NameUnknownError):
    """A name that no definition has at the layer that is tried."""


@dataclass(frozen=True)
class Choice:
    """A question that a formula leaves open, how many answers it has, and the one that is tried."""

    key: Hashable
    options: int
    decided: int
    last_resort: bool


@dataclass
class Index:
    """An index in use: its symbol counts from zero; the sizes of the axes at which it stands."""

    symbol: Symbol
    sizes: list[Expr] = field(default_factory=list)
    kept: bool = False  # bound by a sum, or free on the left side
    uses: int = 0


@dataclass(frozen=True)
class Function:
    """A function by name: one of the table, softmax, or a formula of one variable."""

    name: str
    parameter: Node | None = None
    body: Node | None = None
    by_value: bool = False  # the variable may be a vector: h(x) = s(w^T x)


@dataclass(frozen=True)
class Marked:
    """A symbol taken apart: base, subscripts, superscripts, and how often it is primed."""

    base: Node
    subs: tuple[Node, ...]
    sups: tuple[Node, ...]
    node: Node
    primes: int = 0


@dataclass(frozen=True)
class Alias:
    """A symbol that was given a meaning: a name of the model, an expression, a row or a column."""

    symbol: Marked
    value: Expr
    places: tuple[str, ...] = ()  # index letters of the symbol, in the order of the entry
    axis: int | None = None  # the symbol is row (0) or column (1) of the value
    exact: bool = False
    implied: bool = False  # its letters were taken for places by the rank alone: v_c may also be v as a whole


# --- taking symbols apart ----------------------------------------------------------------------------------


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


# --- the scope ---------------------------------------------------------------------------------------------


@dataclass
class Scope:
    """Names, aliases, functions, indices and layers while a formula is read.

    names      every name of the model, with its symbol or family
    sizes      the sizes, by name
    layers     what a letter that marks the layer is
    rows       whether vectors are written as rows
    zero_based whether indices of the formula count from zero
    base_said  whether the bounds of a sum say where they start
    columns_by_entries  whether columns next to one another are multiplied entry by entry
    any_layer  whether a symbol without its layer may be of any of them
    unread     definitions that could not be read, and why
    """

    source: str
    names: Mapping[str, Expr | Family]
    sizes: Mapping[str, Expr]
    assumptions: Mapping[str, frozenset[str]]
    aliases: list[Alias] = field(default_factory=list)
    functions: dict[str, Function] = field(default_factory=dict)
    writings: list[tuple[Node, Expr]] = field(default_factory=list)
    derivatives: list[tuple[Expr, Expr, Expr]] = field(default_factory=list)
    layers: dict[str, int] = field(default_factory=dict)
    indices: dict[str, Index] = field(default_factory=dict)
    samples: int | None = None
    written: int = 0
    given: dict[str, Val] = field(default_factory=dict)
    increments_of: Expr | None = None
    differential: bool = False
    columns_by_entries: bool = False
    rows: bool = False
    zero_based: bool = False
    base_said: bool = False
    einstein: bool = False
    may_bind: bool = False
    notes: list[str] = field(default_factory=list)
    plan: tuple[int, ...] = ()
    taken: list[Choice] = field(default_factory=list)
    fresh: Fresh = field(default_factory=Fresh)
    opened: dict[int, Expr] = field(default_factory=dict)
    unread: Sequence[tuple[str, SymgradError]] = ()
    any_layer: bool = False

    # --- choices -----------------------------------------------------------------------------------

    def choose(self, key: Hashable, options: int, *, last_resort: bool = False) -> int:
        """Which of several readings is tried; the same for the same question all through a formula.

        A last resort is tried only where no other reading fits.
        """
        for choice in self.taken:
            if choice.key == key:
                return choice.decided
        position = len(self.taken)
        decided = self.plan[position] if position < len(self.plan) else 0
        self.taken.append(Choice(key, options, decided, last_resort))
        return decided

    def note(self, text: str) -> None:
        """Something that the reader should be told."""
        if text not in self.notes:
            self.notes.append(text)

    def open_size(self, at: int) -> Expr:
        """The size of the ones or the identity that stands there: found already, or open."""
        return self.opened.setdefault(at, Dummy(f"open{at}", integer=True, positive=True))

    # --- names -------------------------------------------------------------------------------------

    def known(self, name: str) -> Expr | Family | None:
        """The symbol of a name, or a size."""
        found = self.names.get(name)
        return found if found is not None else self.sizes.get(name)

    def number_in(self, item: Node) -> int | None:
        """The value of a mark: a number, a layer that is bound, or a sum of those."""
        if item.kind == "number" and item.text.isdigit():
            return int(item.text)
        if item.kind == "letter":
            return self.layers.get(item.text)
        if item.kind in ("group", "paren") and len(item.parts) == 1:
            return self.number_in(item.parts[0])
        if item.kind == "sum":
            total, sign = 0, 1
            for part in item.parts:
                if part.kind == "sign":
                    sign = 1 if part.text == "+" else -1
                    continue
                n = self.number_in(part)
                if n is None:
                    return None
                total, sign = total + sign * n, 1
            return total
        return None

    def mark_text(self, item: Node) -> str | None:
        """A mark as a part of a name."""
        if item.kind == "paren" and len(item.parts) == 1 and item.text in "([":
            return self.mark_text(item.parts[0])
        n = self.number_in(item)
        if n is not None:
            return str(n) if n >= 0 else None
        if item.kind in ("letter", "word"):
            return item.text
        if item.kind == "text":
            return "".join(c for c in item.text if c.isalnum()) or None
        if item.kind == "group" and len(item.parts) == 1:
            return self.mark_text(item.parts[0])
        if item.kind == "accent":
            return stem_of(item)
        return None

    def open_letter(self, items: Iterable[Node]) -> Node | None:
        """A letter in a mark that is neither an index nor a layer."""
        for item in items:
            for n in walk_nodes(item):
                if n.kind == "letter" and n.text not in self.indices and n.text not in self.layers:
                    return n
        return None

    def layer_letters(self) -> set[str]:
        """Letters that mark the layer in the symbols that were given a meaning: a_j^L."""
        return {
            i.text
            for a in self.aliases
            for i in a.symbol.sups
            if i.kind == "letter" and not i.mark and i.text not in a.places
        }

    # --- indices -------------------------------------------------------------------------------------

    def place(self, item: Node, size: Expr, node: Node) -> Expr:
        """The zero-based position that an index expression names on an axis of that size."""
        if item.kind in ("group", "paren") and len(item.parts) == 1:
            return self.place(item.parts[0], size, node)
        if item.kind == "letter" and item.text in self.indices:
            index = self.indices[item.text]
            index.sizes.append(size)
            index.uses += 1
            return index.symbol
        self._settle_base(item)
        base = 0 if self.zero_based else 1
        written = self._index_value(item, size)
        position = written - base
        if position.is_negative or (position - size).is_nonnegative:
            fail_at(ShapeError, f"the index {written} is outside 1..{size}", self.source, item.at)
        return position

    def _settle_base(self, item: Node) -> None:
        """delta_{j+k} is another entry where indices count from zero than where they count from one: both are tried."""
        if item.kind != "sum" or self.base_said or self.zero_based:
            return
        letters, sign = 0, 1
        for part in item.parts:
            if part.kind == "sign":
                sign = 1 if part.text == "+" else -1
                continue
            letters, sign = letters + sign * (part.kind == "letter" and part.text not in self.layers), 1
        if letters != 1 and self.choose(("base", 0), 2) == 1:
            self.zero_based = True

    def _index_value(self, item: Node, size: Expr) -> Expr:
        base = 0 if self.zero_based else 1
        if item.kind == "number" and item.text.isdigit():
            return Integer(int(item.text))
        if item.kind == "letter":
            if item.text in self.indices:
                index = self.indices[item.text]
                index.uses += 1
                return index.symbol + base
            if item.text in self.layers:
                return Integer(self.layers[item.text])
            if self.may_bind:
                self.indices[item.text] = Index(self.index_for(item.text), [size], True, 1)
                return self.indices[item.text].symbol + base
            raise Unbound(item.text, item)
        if item.kind == "sum":
            total: Expr = S.Zero
            sign = 1
            for part in item.parts:
                if part.kind == "sign":
                    sign = 1 if part.text == "+" else -1
                    continue
                if part.kind == "letter" and part.text not in self.indices and part.text not in self.layers:
                    if not self.may_bind:
                        raise Unbound(part.text, part)
                    self.indices[part.text] = Index(self.index_for(part.text), kept=True)
                total, sign = total + sign * self._index_value(part, size), 1
            return total
        if item.kind in ("group", "paren") and len(item.parts) == 1:
            return self._index_value(item.parts[0], size)
        fail_at(NameUnknownError, "this index is not read", self.source, item.at, "an index is i, 2 or i+1")

    def index_for(self, letter: str) -> Symbol:
        """A symbol for an index: its letter, or another one where a size, a name or an index has it."""
        taken = (
            set(self.sizes)
            | {str(s) for s in self.sizes.values()}
            | {str(i.symbol) for i in self.indices.values()}
        )
        taken |= set(self.names)
        return (
            next((index_symbol(c) for c in (letter, *"ijklrstuvabcpq") if c not in taken), None)
            or self.fresh()
        )

    def picks(self, item: Node) -> Val | None:
        """The one-hot label that a subscript such as y_i names: the entry at the class of the label."""
        symbol = marked(item)
        stem = stem_of(symbol.base)
        if stem is None or stem in self.indices:
            return None
        for name in (stem, other_case(stem), f"e{stem}", f"e_{stem}"):
            words = self.assumptions.get(name, frozenset())
            if words & {"onehot", "onehot_rows", "onehot_cols"} and is_matrix(self.names.get(name)):
                label = self.names[name]
                if not isinstance(label, Family):
                    return Val(label, tuple(label.shape))
        layered = self._layered(stem, symbol)
        return layered

    def _layered(self, stem: str, symbol: Marked) -> Val | None:
        for item in (*symbol.subs, *symbol.sups):
            text = self.mark_text(item)
            name = f"{stem}{text}"
            if self.assumptions.get(name, frozenset()) & {"onehot"}:
                label = self.names[name]
                if not isinstance(label, Family):
                    return Val(label, tuple(label.shape))
        return None

    def picked(self, m: Expr, row: Expr | None, label: Expr) -> Val:
        """The entry of a vector, or of a row of a matrix, at the class of a one-hot label."""
        k = self.fresh()
        if row is None:
            return Val(
                Sum(Mul(entry_of(label, k, S.Zero), entry_of(m, k, S.Zero)), (k, S.Zero, m.shape[0] - 1))
            )
        body = Mul(entry_of(label, row, k), entry_of(m, row, k))
        return Val(Sum(body, (k, S.Zero, m.shape[1] - 1)))

    # --- resolving -------------------------------------------------------------------------------------

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
        """Which definitions of a symbol there are that could not be read, and why."""
        stem = stem_of(m.base)
        found = []
        for text, error in self.unread:
            if stem is None or not text.strip() or stem not in _names_on_the_left(text):
                continue
            shown = " ".join(text.split())
            at = f" (line {error.line}, column {error.column} of it)" if error.line and error.column else ""
            shown = shown if len(shown) <= 60 else shown[:57] + "..."
            found.append(f"its definition  {shown}  is not read{at}: {error.message}")
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
                for name in _spellings(stem, [p for p in parts if p]):
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

    def _is_mark(self, item: Node) -> bool:
        """Whether a superscript can be part of a name: no transpose, no sum of powers."""
        if item.kind == "paren":
            return True
        if item.mark == "top" or item.kind in ("top", "prime", "sign", "entrywise", "lone", "dagger"):
            return False
        if item.kind == "sum" and item.parts[0].kind == "letter":
            return all(p.kind in ("letter", "number", "sign") for p in item.parts)
        return self.mark_text(item) is not None

    def _is_sample(self, item: Node) -> bool:
        return item.kind == "paren" and len(item.parts) == 1 and item.parts[0].kind in ("letter", "number")

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

    def _entries(self, found: Expr, rest: Sequence[Node], m: Marked) -> Val:
        """An entry, or a row or column where a matrix has one subscript."""
        one_column = found.shape[1] == 1
        if len(rest) == 1 and one_column:
            label = self.picks(rest[0])
            if label is not None:
                return self.picked(found, None, label.expr)
            return Val(entry_of(found, self.place(rest[0], found.shape[0], m.node), S.Zero))
        if len(rest) == 2 and not one_column:
            for axis, other in ((0, 1), (1, 0)):
                if rest[axis].kind == "colon":
                    at = self.place(rest[other], found.shape[other], m.node)
                    value = row_or_column(found, at, other, self.fresh)
                    if other == 0 and self.choose(("row", 0), 2) == 1:
                        return turned(value)  # A_{i:} as a row
                    return value
            label = self.picks(rest[1])
            if label is not None:
                return self.picked(found, self.place(rest[0], found.shape[0], m.node), label.expr)
            i, j = (self.place(r, s, m.node) for r, s in zip(rest, found.shape, strict=True))
            return Val(entry_of(found, i, j))
        if len(rest) == 1:
            label = self.picks(rest[0])
            own = [i for i in marked(rest[0]).subs if i.kind == "letter"]
            if label is not None and len(own) == 1:  # p_{y_i}: of row i
                return self.picked(found, self.place(own[0], found.shape[0], m.node), label.expr)
            return self.row_of(found, rest[0], m)
        fail_at(
            ShapeError,
            f"{len(rest)} indices for a {found.shape[0]} x {found.shape[1]}",
            self.source,
            m.node.at,
        )

    def row_of(self, found: Expr, item: Node, m: Marked) -> Val:
        """Row or column of a matrix, whichever fits."""
        axis = self.sample_axis(found)
        at = self.place(item, found.shape[axis], m.node)
        return row_or_column(found, at, axis, self.fresh)

    def _sample(
        self, found: Expr, name: str, m: Marked, rest: Sequence[Node], samples: tuple[Node, ...],
        others: tuple[Node, ...],
    ) -> tuple[Val, tuple[Node, ...]] | None:  # fmt: skip
        """A sample mark (i): a row or column of a matrix, an entry of a vector."""
        item = samples[0].parts[0]
        if is_scalar(found) or len(samples) > 1:
            return None
        if item.kind == "letter" and item.text not in self.indices and not self.may_bind:
            return None
        if found.shape[1] == 1:
            return (
                (Val(entry_of(found, self.place(item, found.shape[0], m.node), S.Zero)), others)
                if not rest
                else None
            )
        axis = self.sample_axis(found)
        at = self.place(item, found.shape[axis], m.node)
        if rest:
            k = self.place(rest[0], found.shape[1 - axis], m.node)
            return Val(entry_of(found, *((at, k) if axis == 0 else (k, at)))), others
        return row_or_column(found, at, axis, self.fresh), others

    def sample_axis(self, found: Expr) -> int:
        """Whether one index names a row (0) or a column (1): as the model has its samples, else whichever fits."""
        if self.samples is None:
            return self.choose(("axis", str(found)), 2)
        other = self.choose(("axis", str(found)), 2, last_resort=True) == 1
        return 1 - self.samples if other else self.samples

    def oriented(self, e: Expr) -> Val:
        """A symbol's value; where vectors are written as rows, a vector is a row."""
        if self.rows and is_matrix(e) and e.shape[1] == 1 and e.shape[0] != 1:
            return turned(val(e))
        return val(e)

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

    # --- aliases ---------------------------------------------------------------------------------------

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
            name in self.names for stem in stems(m.base) for name in _spellings(stem, known)
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


def _names_on_the_left(definition: str) -> set[str]:
    """The letters and words on the left side of a definition, though the rest of it may be unreadable."""
    first = re.split(r"=|:=|\\\\(?:equiv|triangleq|coloneqq|sim)(?![A-Za-z])", definition, maxsplit=1)[0]
    try:
        return {n for s in parse_statements(first) for n in letters_of(s)}
    except SymgradError:
        return set(re.findall(r"[A-Za-z]+", first))


def _spellings(stem: str, parts: list[str]) -> list[str]:
    """W1, W_1 for a stem with marks."""
    if not parts:
        return [stem]
    return list(
        dict.fromkeys([stem + "".join(parts), f"{stem}_{''.join(parts)}", f"{stem}_{'_'.join(parts)}"])
    )


def at_layers(m: Marked, layers: Mapping[str, int]) -> Marked:
    """The symbol at a layer: every mark that names the layer is a number."""

    def at(item: Node) -> Node:
        scope = Scope("", {}, {}, {}, layers=dict(layers))
        letters = {n.text for n in walk_nodes(item) if n.kind == "letter"}
        n = scope.number_in(item) if letters & set(layers) else None
        return item if n is None else Node("number", (), item.at, item.end, str(n))

    return replace(m, subs=tuple(map(at, m.subs)), sups=tuple(map(at, m.sups)))
