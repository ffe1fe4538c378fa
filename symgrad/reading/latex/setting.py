r"""A context that is ready for reading LaTeX: its names, sizes and functions, and what its symbols mean."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from sympy import Expr, S

from symgrad.errors import SymgradError
from symgrad.expr import (
    Family,
    Model,
    is_leaf,
    is_scalar,
    leaves,
)
from symgrad.reading.claim import Context
from symgrad.reading.latex.functions import FUNCTION_WORDS
from symgrad.reading.latex.marks import Marked, marked, stem_of
from symgrad.reading.latex.meaning import Meaning
from symgrad.reading.latex.places import Alias, Function
from symgrad.reading.latex.scope import Scope
from symgrad.reading.latex.tree import Node, same_writing

__all__ = ["Setting"]


@dataclass
class Setting:
    """A context, ready for reading: its names, sizes, functions, and what its symbols mean."""

    context: Context
    model: Model
    target: Expr | None = None
    wrt: Expr | None = None
    names: dict[str, Expr | Family] = field(default_factory=dict)
    sizes: dict[str, Expr] = field(default_factory=dict)
    aliases: list[Alias] = field(default_factory=list)
    functions: dict[str, Function] = field(default_factory=dict)
    writings: list[tuple[Node, Expr]] = field(default_factory=list)
    derivatives: list[tuple[Expr, Expr, Expr]] = field(default_factory=list)
    layers: dict[str, int] = field(default_factory=dict)
    gradients: dict[str, Expr] = field(default_factory=dict)
    words: frozenset[str] = FUNCTION_WORDS
    called: list[Marked] = field(default_factory=list)
    arguments: list[Node] = field(default_factory=list)
    rows: bool = False
    zero_based: bool = False
    base_said: bool = False
    samples: int | None = None
    einstein: bool = False
    stated: list[tuple[str, Node]] = field(default_factory=list)
    pi_is_a_name: bool = False
    unread: list[tuple[str, SymgradError]] = field(default_factory=list)

    def scope(
        self,
        source: str,
        layers: dict[str, int] | None = None,
        plan: tuple[int, ...] = (),
        opened: dict[int, Expr] | None = None,
    ) -> Scope:
        """A scope for one reading."""
        return Scope(
            source, dict(self.names), self.sizes, self.model.assumptions, self.aliases, self.functions, self.writings,
            self.derivatives, dict(self.layers if layers is None else layers), rows=self.rows,
            zero_based=self.zero_based, base_said=self.base_said, samples=self.samples, einstein=self.einstein,
            plan=plan, opened=dict(opened or {}), unread=tuple(self.unread),
            pi_is_a_name=self.pi_is_a_name,
        )  # fmt: skip

    def meaning(self, scope: Scope) -> Meaning:
        """A reader in that scope."""
        meaning = Meaning(scope, self.symbol_of)
        meaning.is_called = self.is_called
        meaning.is_defined = self.is_defined
        meaning.depends_on = self.depends_on
        meaning.wrt = self.wrt
        return meaning

    def is_called(self, m: Marked) -> bool:
        """Whether the definitions write a symbol with its arguments, as in f(x) = .."""
        return any(
            stem_of(m.base) == stem_of(c.base)
            and len(m.subs) == len(c.subs)
            and all(same_writing(p, q) for p, q in zip((*m.subs, *m.sups), (*c.subs, *c.sups), strict=False))
            for c in self.called
        )

    def argument_of(self, m: Marked) -> Node | None:
        """The one argument with which the definitions write a symbol, the x of f(x) = ..; None for several."""
        found = [
            call
            for c, call in zip(self.called, self.arguments, strict=True)
            if stem_of(m.base) == stem_of(c.base) and not (m.subs or m.sups or c.subs or c.sups)
        ]
        return found[0] if len(found) == 1 and stem_of(marked(found[0]).base) is not None else None

    def is_defined(self, e: Expr) -> bool:
        """Whether the model defines a name."""
        return self.model.definition_of(e) is not None

    def depends_on(self, f: Expr, x: Expr) -> bool:
        """Whether a defined name depends on another name."""
        seen: set[Expr] = set()
        stack = [f]
        while stack:
            e = stack.pop()
            if e == x:
                return True
            if e in seen:
                continue
            seen.add(e)
            definition = self.model.definition_of(e)
            if definition is not None:
                stack.extend(leaves(definition.value))
            elif not is_leaf(e):
                stack.extend(leaves(e))
        return False

    def symbol_of(self, e: Expr) -> Expr | None:
        """The name that the model gives to an expression, the question's own first."""
        if self.target is not None and not is_leaf(self.target) and self.target == e:
            return self.target
        for d in self.model.definitions():
            if d.value == e:
                return d.symbol
        unfolded = {d.symbol: d.value for d in self.model.definitions()}
        for d in self.model.definitions():
            if is_scalar(d.value) == is_scalar(e) and d.value.xreplace(unfolded) == e:
                return d.symbol
        return None

    def layer_numbers(self) -> list[int]:
        """The numbers that a layer can have: those at the ends of names, and their neighbours."""
        found = {int(m[1]) for n in self.names if (m := re.search(r"(\d{1,2})$", n))}
        return sorted(n for n in {*found, *(f - 1 for f in found)} if 0 <= n <= 12)

    def has_layers_of(self, m: Marked) -> bool:
        """Whether a symbol is known at some layer, though not at the one that is tried."""
        stem = stem_of(m.base) or ""
        return any(re.fullmatch(rf"{re.escape(stem)}_?\d+", n) for n in self.names) or any(
            stem_of(a.symbol.base) == stem for a in self.aliases
        )

    def signal_of(self, e: Expr) -> tuple[Expr, Expr] | None:
        """Of what and by what a name is the derivative, where the notes say so."""
        return next(((of, x) for of, x, g in self.derivatives if g == e and of is not S.NaN), None)

    def gradient_of(self, name: str) -> Expr | None:
        """Of what d + name is the gradient, where the notes say so."""
        return self.gradients.get(name, self.gradients.get(name.rstrip("0123456789")))

    @staticmethod
    def same_layer(a: str, b: str) -> bool:
        """Whether two names can be of one layer: the numbers at their ends agree, if both have one."""
        p, q = re.search(r"(\d+)$", a), re.search(r"(\d+)$", b)
        return p is None or q is None or p[1] == q[1]
