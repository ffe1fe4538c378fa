r"""What is known while a formula is read, and the places that indices name: entries, rows and columns, samples, labels."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sympy import Dummy, Expr, Integer, Mul, S, Sum, Symbol

from symgrad.errors import NameUnknownError, ShapeError, SymgradError
from symgrad.expr import Family, is_matrix, is_scalar
from symgrad.reading.latex.marks import Marked, marked, other_case, stem_of
from symgrad.reading.latex.tokens import fail_at
from symgrad.reading.latex.tree import Node, walk_nodes
from symgrad.reading.latex.values import Fresh, Val, entry_of, index_symbol, row_or_column, turned, val

__all__ = ["Alias", "Choice", "Function", "Index", "Places", "Unbound", "WrongLayerError"]


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
class Alias:
    """A symbol that was given a meaning: a name of the model, an expression, a row or a column."""

    symbol: Marked
    value: Expr
    places: tuple[str, ...] = ()  # index letters of the symbol, in the order of the entry
    axis: int | None = None  # the symbol is row (0) or column (1) of the value
    exact: bool = False
    implied: bool = False  # its letters were taken for places by the rank alone: v_c may also be v as a whole


@dataclass
class Places:
    r"""Names, aliases, functions, indices and layers while a formula is read.

    names      every name of the model, with its symbol or family
    sizes      the sizes, by name
    layers     what a letter that marks the layer is
    rows       whether vectors are written as rows
    zero_based whether indices of the formula count from zero
    base_said  whether the bounds of a sum say where they start
    columns_by_entries  whether columns next to one another are multiplied entry by entry
    pi_is_a_name  whether the notes define a symbol pi, a policy, so that it is no number
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
    pi_is_a_name: bool = False

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
