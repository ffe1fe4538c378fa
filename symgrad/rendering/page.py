"""A handout being written: its derivations, its words, the blocks so far, and the numbers that are given out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import sympy
from sympy import Expr, Mul, S, Symbol

from symgrad.api import Derivation
from symgrad.errors import RecipeError
from symgrad.expr import gradient, is_leaf, leaves
from symgrad.rendering.document import (
    Block,
    Equation,
    Figure,
    Formula,
    Heading,
    Inline,
    Paragraph,
    Row,
    Steps,
    joined,
    plain,
)
from symgrad.rendering.figures import Drawing
from symgrad.rendering.numbers import Quantity, evaluate, number, relation, with_numbers
from symgrad.rendering.phrases import Catalogue
from symgrad.rendering.recipe import Group, RecipeModel, Section
from symgrad.rendering.view import View
from symgrad.rendering.workbook import Workbook

__all__ = ["ROLES", "Found", "Page", "Role", "bracketed", "compare", "list_formula"]

Role = Literal["weights", "inputs"]


ROLES: tuple[Role, Role] = ("weights", "inputs")


Outcome = Literal["equal", "multiple", "other"]


def list_formula(entries: Iterable[Formula]) -> Formula:
    """Formulas as a list in square brackets."""
    parts: list[Formula | str] = []
    for e in entries:
        parts += [", ", e] if parts else [e]
    return joined("[", *parts, "]")


def bracketed(view: View, e: Expr) -> Formula:
    """An expression as a factor: in brackets if it is a sum or has a sign."""
    shown = view.formula(e)
    if e.is_Add or e.could_extract_minus_sign():
        return joined("(", shown, ")")
    return shown


@dataclass(frozen=True)
class Found:
    """The gradient of a group of scalars, and how it compares with the other group.

    equal     each entry is the matching entry of the other group
    multiple  each entry is the matching entry times `factor`
    other     anything else
    """

    entries: tuple[Expr, ...]
    outcome: Outcome
    factor: Expr = S.One


def compare(entries: Sequence[Expr], others: Sequence[Expr]) -> Found:
    """How derived entries compare with the entries of another group.

    >>> x, c = sympy.symbols("x:2", real=True), sympy.Symbol("c", real=True)
    >>> compare([2 * c * x[0], 2 * c * x[1]], x).factor
    2*c
    """
    entries = tuple(entries)
    if len(entries) == len(others):
        ratios = [sympy.cancel(e / o) for e, o in zip(entries, others, strict=True)]
        if all(r == 1 for r in ratios):
            return Found(entries, "equal")
        same = all(sympy.simplify(r - ratios[0]) == 0 for r in ratios)
        free = ratios[0].free_symbols
        if same and not free & set(others):
            # The quotient is written as it stands in the first entry, e.g. A (1 - A), not multiplied out.
            return Found(entries, "multiple", _divided(entries[0], others[0], ratios[0]))
    return Found(entries, "other")


def _divided(e: Expr, by: Expr, quotient: Expr) -> Expr:
    """E without its factor `by`."""
    factors = list(e.args) if isinstance(e, Mul) else [e]
    if by in factors:
        factors.remove(by)
        return Mul(*factors, evaluate=False) if len(factors) > 1 else Mul(*factors)
    return quotient


@dataclass
class Page:
    """What is being written: the derivations, the words, the blocks so far."""

    book: Workbook
    view: View
    blocks: list[Block] = field(default_factory=list)
    sections: int = 0
    shown: dict[tuple[str, str], str] = field(default_factory=dict)  # (model, variable) -> equation number
    seed: int = 0
    exercises: int = 0
    figures: int = 0
    points: int = 0
    keys: list[dict[str, Any]] = field(default_factory=list)
    known: dict[int, dict[tuple[Expr, ...], str]] = field(default_factory=dict)  # equations by model
    models: dict[str, str] = field(default_factory=dict)  # model -> the exercise that shows it

    @property
    def words(self) -> Catalogue:
        """The phrases of the language."""
        return self.view.words

    def add(self, *blocks: Block) -> None:
        """Append blocks."""
        self.blocks.extend(blocks)

    def say(self, key: str, **fillings: Formula | Inline | str | int) -> None:
        """Append a paragraph."""
        self.add(Paragraph(self.words(key, **fillings)))

    def heading(self, section: Section, key: str, *, numbered: bool = True) -> None:
        """The heading of a section; an appendix has no number, and notes have headings of their own."""
        if section.options.get("plain"):
            return
        lang = self.words.lang
        title = plain(section.title[lang]) if lang in section.title else self.words(f"{key}.title")
        if numbered:
            self.sections += 1
            title = self.words("section.heading", number=self.sections, title=title)
        self.add(Heading(title))

    def subheading(self, title: Inline) -> None:
        """A heading below that of a section."""
        self.add(Heading(title, 2))

    def equation(
        self,
        rows: Iterable[Row],
        reason: Inline = (),
        mark: Inline = (),
        lead: Inline = (),
    ) -> str:
        """Append a numbered equation; returns its number."""
        number_ = self.view.number()
        self.add(Equation(tuple(rows), number_, self.view.once(reason, number_), mark, lead))
        return number_

    def steps(self, derivation: Derivation, skip: Collection[int] = ()) -> None:
        """Append the steps of a derivation."""
        title = self.words("steps.title", f=self.view.formula(derivation.left))
        known = self.known.setdefault(id(derivation.model), {})
        blocks = tuple(self.view.steps(derivation, skip, known))
        if blocks:
            self.add(Steps(title, blocks))

    def figure(self, svg: str, alt: str, caption: Inline, mermaid: str | None, width: float) -> None:
        """Append a numbered figure."""
        self.figures += 1
        says = self.words("graph.title", number=self.figures, caption=caption)
        pdf = svg.pdf if isinstance(svg, Drawing) else b""
        self.add(Figure(svg, alt, says, str(self.figures), mermaid, width, pdf))

    # --- the network with numbers -------------------------------------------------------------------

    def entries(self, model: RecipeModel, group: Group) -> list[Expr]:
        """The symbols of a group."""
        return [model.model.symbol(e) for e in group.entries]

    def group(self, model: RecipeModel, role: Role) -> Group:
        """The weights or the inputs.

        Raises   RecipeError if the model does not say which they are
        """
        found = model.weights if role == "weights" else model.inputs
        if found is None:
            raise RecipeError(
                f"the model {model.name} does not say what its {role} are",
                hint=f'{role} = {{ name = "W", entries = ["w1", "w2"] }}',
            )
        return found

    def group_formula(self, model: RecipeModel, group: Group) -> Formula:
        """The name of a group."""
        return self.view.formula(Symbol(group.name, real=True))

    def group_gradient(self, model: RecipeModel, group: Group) -> Formula:
        """The unevaluated gradient by a group."""
        return self.view.formula(gradient(model.model.symbol(model.of), Symbol(group.name, real=True)))

    def found(self, model: RecipeModel, role: Role) -> Found:
        """The gradient by a group, compared with the other group."""
        own = self.group(model, role)
        other = self.group(model, ROLES[1 - ROLES.index(role)])
        derived = [self.book.derive(model, e).final for e in own.entries]
        return compare(derived, self.entries(model, other))

    def group_result(self, model: RecipeModel, role: Role) -> Formula:
        """The gradient by a group as a formula: the other group, a multiple of it, or the list of entries."""
        found = self.found(model, role)
        other = self.group_formula(model, self.group(model, ROLES[1 - ROLES.index(role)]))
        if found.outcome == "equal":
            return other
        if found.outcome == "multiple":
            return joined(bracketed(self.view, found.factor), " ", other)
        return list_formula(self.view.formula(e) for e in found.entries)

    def put_in(self, model: RecipeModel, e: Expr, numbers: Mapping[Expr, Formula]) -> list[Formula | str]:
        """The formula with numbers after its sign, ≈ if one of them is rounded; nothing for a name."""
        if is_leaf(e) or not leaves(e):
            return []
        values = self.values(model)
        exact = all(number(values[s])[1] for s in leaves(e))
        return [" ", relation(exact), " ", with_numbers(e, numbers, self.view.notation)]

    def values(
        self, model: RecipeModel, numbers: Mapping[Expr, Quantity] | None = None
    ) -> dict[Expr, Quantity]:
        """The numbers of the inputs and of everything that is defined.

        Raises   RecipeError for an input without a number
        """
        values: dict[Expr, Quantity] = dict(model.numbers() if numbers is None else numbers)
        missing = [s for s in model.model.inputs() if s not in values]
        if missing:
            raise RecipeError(
                f"the model {model.name} has no number for {', '.join(map(str, missing))}",
                hint="give it under values",
            )
        for d in model.model.definitions():
            values[d.symbol] = evaluate(d.value, values)
        return values

    def numbers_of(self, model: RecipeModel) -> dict[Expr, Formula]:
        """What is printed for each symbol: inputs as the recipe writes them, results as they are rounded."""
        shown = {s: number(v)[0] for s, v in self.values(model).items()}
        return {**shown, **model.as_written()}

    def value(self, model: RecipeModel, e: Expr, values: Mapping[Expr, Quantity]) -> tuple[Formula, bool]:
        """The value of an entry, and whether it is exact; an input is printed as the recipe writes it."""
        written = model.as_written()
        return (written[e], True) if e in written else number(evaluate(e, values))

    def group_values(
        self, model: RecipeModel, found: Found, values: Mapping[Expr, Quantity]
    ) -> tuple[Formula, bool]:
        """The gradient of a group at given numbers."""
        shown = [self.value(model, e, values) for e in found.entries]
        return list_formula(f for f, _ in shown), all(exact for _, exact in shown)
