"""A model: named definitions in order, loops of symbolic length, and what is assumed of the names.

An intermediate is referred to by its symbol, so every expression stays as shallow as it was written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import sympy
from sympy import Basic, Expr, Indexed, IndexedBase, Symbol
from sympy.core.symbol import Str
from sympy.matrices.expressions.matexpr import MatrixElement

from symgrad.errors import DeriveError
from symgrad.expr import build, nodes, operations
from symgrad.expr.nodes import Member
from symgrad.expr.shapes import expression
from symgrad.expr.tensors import Entries, InRange, Tensor, TensorElement, TensorEntries, TensorGradient

__all__ = [
    "ASSUMPTIONS",
    "Assumptions",
    "Definition",
    "Family",
    "Loop",
    "Model",
    "dependents",
    "is_leaf",
    "leaf_name",
    "leaves",
    "printed_size",
    "substitute",
    "walk",
    "written_out",
]

Assumptions = Mapping[str, frozenset[str]]

ASSUMPTIONS: frozenset[str] = frozenset(
    [
        "square",
        "invertible",
        "symmetric",
        "positive_definite",
        "orthogonal",
        "diagonal",
        "full_column_rank",
        "full_row_rank",
        "positive",
        "nonzero",
        "in01",
        "binary",
        "pm1",
        "prob",
        "sums_to_one",
        "prob_rows",
        "onehot",
        "onehot_rows",
        "onehot_cols",
        "prob_cols",
        "unit_norm",
        "positive_integer",
        "function",
    ]
)
"""Every word that can be assumed of a name."""


@dataclass(frozen=True)
class Family:
    """Scalars, vectors or matrices indexed by layer; `family[l]` is a member.

    `shape` is () for scalars, (rows, columns) for matrices; a size may depend on `index`.

    >>> l = Symbol("l", integer=True)
    >>> W = Family("W", (build.size("n"), build.size("n")), l)
    >>> W[l - 1].shape
    (n, n)
    """

    name: str
    shape: tuple[Expr, ...]
    index: Symbol

    def __getitem__(self, at: Expr | int) -> Expr:
        at = expression(at)
        if not self.shape:
            return Indexed(IndexedBase(self.name, real=True), at)
        return Member(self.name, at, *(s.xreplace({self.index: at}) for s in self.shape))


@dataclass(frozen=True)
class Definition:
    """symbol = value; `line` is where it was read."""

    symbol: Expr
    value: Expr
    line: int | None = None

    @property
    def name(self) -> str:
        """The symbol's name, without its layer."""
        return leaf_name(self.symbol)


@dataclass(frozen=True)
class Loop:
    """for index in lower..upper: body."""

    index: Symbol
    lower: Expr
    upper: Expr
    body: tuple[Definition, ...]
    line: int | None = None


@dataclass(frozen=True)
class Model:
    """Ordered definitions and loops, with the assumptions on the names.

    `symbols` maps every name that was declared or defined to its symbol or its `Family`; `source` is the text
    that was read, which gives the names their order. `tables` are defined names that have one column and, unlike a
    vector, keep both axes (`keepdims`), so that they are broadcast along rows.
    """

    items: tuple[Definition | Loop, ...]
    symbols: Mapping[str, Expr | Family] = field(default_factory=dict)
    assumptions: Assumptions = field(default_factory=dict)
    source: str = ""
    tables: frozenset[str] = frozenset()

    @property
    def has_loops(self) -> bool:
        """Whether any part is repeated a symbolic number of times."""
        return any(isinstance(item, Loop) for item in self.items)

    def definitions(self) -> Iterator[Definition]:
        """The definitions in order, those of a loop's body once."""
        for item in self.items:
            yield from item.body if isinstance(item, Loop) else (item,)

    def definition_of(self, symbol: Expr) -> Definition | None:
        """The definition of a symbol, or None for an input."""
        return next((d for d in self.definitions() if d.symbol == symbol), None)

    def symbol(self, name: str) -> Expr:
        """The symbol of that name.

        Raises   DeriveError if there is none, naming those there are
        """
        found = self.symbols.get(name)
        if isinstance(found, Family):
            raise DeriveError(f"{name} is a family; name a member, such as {name}[l]")
        if found is None:
            raise DeriveError(
                f"the model has no {name}",
                hint="it has " + ", ".join(sorted(self.symbols)) if self.symbols else None,
            )
        return found

    def inputs(self) -> list[Expr]:
        """The leaves that are used and not defined, in the order of their first use."""
        defined = {d.symbol for d in self.definitions()}
        seen: dict[Expr, None] = {}
        for d in self.definitions():
            for leaf in leaves(d.value):
                if leaf not in defined:
                    seen.setdefault(leaf)
        return list(seen)

    def assumed(self, name: str, *words: str) -> bool:
        """Whether any of the words is assumed of the name."""
        return not self.assumptions.get(name, frozenset()).isdisjoint(words)

    def unrolled(self, sizes: Mapping[Symbol, int]) -> Model:
        """The model with every loop written out for numbers of repetitions.

        Raises   DeriveError if a bound stays symbolic, or a family's sizes do
        """
        replace = {s: sympy.Integer(n) for s, n in sizes.items()}
        items: list[Definition] = []
        for item in self.items:
            if isinstance(item, Definition):
                items.append(
                    Definition(item.symbol.xreplace(replace), item.value.xreplace(replace), item.line)
                )
                continue
            lower, upper = item.lower.xreplace(replace), item.upper.xreplace(replace)
            if not (lower.is_Integer and upper.is_Integer):
                raise DeriveError(
                    f"the loop over {item.index} has no number of repetitions: {lower}..{upper}"
                )
            for k in range(int(lower), int(upper) + 1):
                at = {**replace, item.index: sympy.Integer(k)}
                items += [Definition(d.symbol.xreplace(at), d.value.xreplace(at), d.line) for d in item.body]
        return Model(tuple(items), self.symbols, self.assumptions, self.source, self.tables)


def leaf_name(leaf: Expr) -> str:
    """The name of a symbol or of a member's family."""
    if isinstance(leaf, Indexed):
        return str(leaf.base.label)
    return str(leaf.name)


def is_leaf(e: Basic) -> bool:
    """A scalar symbol, a matrix or tensor symbol, or a member of a family."""
    return isinstance(e, Symbol | sympy.MatrixSymbol | Tensor | Member | Indexed)


def walk(e: Basic) -> Iterator[Basic]:
    """Every distinct subexpression, parents before children; leaves and names are not entered."""
    stack, seen = [e], {e}
    while stack:
        node = stack.pop()
        yield node
        if is_leaf(node):
            continue
        for arg in reversed(node.args):
            if arg not in seen and not isinstance(arg, Str):
                seen.add(arg)
                stack.append(arg)


def leaves(e: Basic) -> Iterable[Expr]:
    """The symbols and members that occur in it, in the order of the text; a bound index does not count."""
    bound: set[Basic] = set()
    for node in walk(e):
        if isinstance(node, nodes.OrderedProduct | nodes.MatrixSum):
            bound.add(node.index)
        elif isinstance(node, Entries | TensorEntries) or (
            isinstance(node, sympy.Sum) and node.has(MatrixElement, TensorElement)
        ):
            bound.update(node.bound_symbols)
    return [node for node in walk(e) if is_leaf(node) and node not in bound]


def _children_first(e: Expr) -> Iterator[Expr]:
    """Every distinct subexpression, children before parents; leaves and names are not entered."""
    stack: list[tuple[Expr, bool]] = [(e, False)]
    seen: set[Expr] = set()
    while stack:
        node, entered = stack.pop()
        if entered:
            yield node
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            if not is_leaf(node):
                stack.extend((a, False) for a in reversed(node.args) if not isinstance(a, Str))


def dependents(e: Expr, leaves: Collection[Expr]) -> set[Expr]:
    """The subexpressions that contain one of the leaves (which may themselves be subexpressions)."""
    found: set[Expr] = set()
    for node in _children_first(e):
        if node in leaves or (not is_leaf(node) and any(a in found for a in node.args)):
            found.add(node)
    return found


def printed_size(e: Expr) -> int:
    """How many symbols and operations it has when it is written out, shared parts at every use."""
    sizes: dict[Expr, int] = {}
    for node in _children_first(e):
        sizes[node] = (
            1
            if is_leaf(node) or isinstance(node, nodes.Gradient | nodes.ScalarGradient | TensorGradient)
            else 1 + sum(sizes.get(a, 1) for a in node.args)
        )
    return sizes[e]


def written_out(e: Expr) -> Expr:
    """Products and sums over ranges whose bounds are numbers, factor by factor and term by term.

    >>> k, n = Symbol("k", integer=True), build.size("n")
    >>> W = Family("W", (n, n), k)
    >>> written_out(nodes.OrderedProduct(W[k], k, 1, 2))
    Member(W, 1, n, n)*Member(W, 2, n, n)
    """
    replace: dict[Expr, Expr] = {}
    for node in _children_first(e):
        if isinstance(node, nodes.OrderedProduct | nodes.MatrixSum):
            lower, upper = node.bounds
            if lower.is_Integer and upper.is_Integer:
                members = [written_out(node.at(k)) for k in range(int(lower), int(upper) + 1)]
                if isinstance(node, nodes.MatrixSum):
                    replace[node] = build.add(*members) if members else build.zeros(*node.shape)
                elif members:
                    replace[node] = build.matmul(*members[:: node.direction])
                else:
                    replace[node] = build.eye(node.shape[0])
        elif isinstance(node, sympy.Sum | sympy.Product) and node not in replace and not _over_entries(node):
            k, lower, upper = node.limits[-1]
            if lower.is_Integer and upper.is_Integer:
                body = node.function if len(node.limits) == 1 else node.func(node.function, *node.limits[:-1])
                members = [written_out(body.xreplace({k: i})) for i in range(int(lower), int(upper) + 1)]
                replace[node] = (sympy.Add if isinstance(node, sympy.Sum) else sympy.Mul)(*members)
    return substitute(e, replace) if replace else e


def _over_entries(e: Expr) -> bool:
    """Whether it is a sum over entries of arrays, and over no layers: that has a value as it stands."""
    if not isinstance(e, sympy.Sum) or not e.has(MatrixElement, TensorElement, sympy.KroneckerDelta, InRange):
        return False
    bound = set(e.bound_symbols)
    layers = any(n.free_symbols & bound for n in e.atoms(Member, Indexed))
    unknown = (n for n in walk(e) if isinstance(n, nodes.ScalarGradient) and n.free_symbols & bound)
    return not layers and all(isinstance(n, nodes.PartialDerivative) for n in unknown)


def substitute(e: Expr, replace: Mapping[Expr, Expr]) -> Expr:
    """The expression with subexpressions replaced, rebuilt by the constructors; each node visited once.

    >>> x, y = build.vector("x", "n"), build.vector("y", "n")
    >>> substitute(build.add(x, x), {x: y})
    y + y
    """
    done: dict[Expr, Expr] = dict(replace)
    stack = [e]
    while stack:
        node = stack[-1]
        if node in done:
            stack.pop()
        elif is_leaf(node) or not node.args or isinstance(node, Str):
            done[node] = node
            stack.pop()
        else:
            waiting = [a for a in node.args if a not in done]
            if waiting:
                stack.extend(waiting)
                continue
            args = tuple(done[a] for a in node.args)
            done[node] = node if args == node.args else operations.rebuild(node, args)
            stack.pop()
    return done[e]
