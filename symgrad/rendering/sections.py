"""The sections of a handout about one network with numbers: chain rule, example, gradients entry by entry, meaning.

Every formula and number comes from a checked derivation; which sentence stands beside it is decided by
comparing what was derived.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import sympy
from sympy import Add, Expr, Mul, S, Symbol

from symgrad.api import Derivation
from symgrad.errors import RecipeError
from symgrad.expr import Definition, gradient, is_leaf, is_scalar, leaves, matmul
from symgrad.rendering.diagrams import computation_graph, graph_of, mermaid, product_of, shape_diagram
from symgrad.rendering.document import (
    Block,
    Code,
    Equation,
    Figure,
    Formula,
    Heading,
    Inline,
    Items,
    Paragraph,
    Row,
    Steps,
    Table,
    joined,
    plain,
    sentence,
)
from symgrad.rendering.figures import has_matplotlib
from symgrad.rendering.numbers import Quantity, evaluate, number, relation, with_numbers
from symgrad.rendering.phrases import Catalogue
from symgrad.rendering.prose import formula as prose_formula
from symgrad.rendering.prose import paragraphs, prose
from symgrad.rendering.recipe import Group, RecipeModel, Section, Workbook
from symgrad.rendering.view import DOTS, View

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
        self.add(Figure(svg, alt, says, str(self.figures), mermaid, width))

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


def chain_rule(page: Page, section: Section) -> None:
    """The principle, as a general equation and for the model at hand."""
    model = page.book.model(section.options["model"])
    page.heading(section, "chain_rule")
    of = model.model.symbol(model.of)
    k, m = Symbol(_unused("k", model)), Symbol(_unused("m", model))
    v, u = Symbol(_unused("v", model), real=True), _unused("u", model)
    one, any_, last = (Symbol(f"{u}_{i}", real=True) for i in (1, k, m))
    shown = page.view.formula
    page.say("chain_rule.composite", loss=shown(of))
    ends = joined(shown(one), DOTS, shown(last))
    term = joined(shown(gradient(of, any_)), r" \cdot | · ", shown(gradient(any_, v)))
    row = Row(
        shown(gradient(of, v)),
        joined(r"\sum_{|Σ_(|∑_(", shown(k), "=1}^{|=1..|=1)^(", shown(m), "} |) ", term),
    )
    page.shown["", "chain rule"] = page.equation(
        [row], lead=page.words("chain_rule.general", variable=shown(v), users=ends)
    )
    page.say("chain_rule.backwards", loss=shown(of))
    page.say("chain_rule.model", loss=shown(of))
    page.add(*page.view.definitions(model.model))


def _unused(name: str, model: RecipeModel) -> str:
    while name in model.model.symbols:
        name += "_0"
    return name


def example(page: Page, section: Section) -> None:
    """Inputs, weights, and every definition with the numbers put in."""
    model = page.book.model(section.options["model"])
    page.heading(section, "example")
    page.say("example.intro")
    numbers, values = page.numbers_of(model), page.values(model)
    items = []
    for role in reversed(ROLES):
        group = page.group(model, role)
        symbols = page.entries(model, group)
        name = page.group_formula(model, group)
        in_letters = joined(name, " = ", list_formula(page.view.formula(s) for s in symbols))
        in_numbers = joined(name, " = ", list_formula(numbers[s] for s in symbols))
        items.append(page.words(f"example.{role}", letters=in_letters, numbers=in_numbers))
    for d in model.model.definitions():
        shown, exact = number(values[d.symbol])
        between = page.put_in(model, d.value, numbers)
        sign = relation(exact)
        value = joined(page.view.formula(d.symbol), *between, " ", sign, " ", shown)
        key = (
            "loss_is"
            if is_leaf(d.value) and str(d.symbol) == model.of
            else "loss"
            if str(d.symbol) == model.of
            else "output"
        )
        items.append(page.words(f"example.{key}", definition=page.view.equal(d.symbol, d.value), value=value))
    page.add(Items(tuple(items)))


def entries(page: Page, section: Section) -> None:
    """The gradient by every weight and input with the chain rule written out, then as vectors, then in numbers."""
    model = page.book.model(section.options["model"])
    page.heading(section, "entries")
    _intermediate(page, model)
    for i, role in enumerate(ROLES, 1):
        group = page.group(model, role)
        name = page.group_formula(model, group)
        page.subheading(page.words(f"entries.{role}.title", number=i))
        page.say(f"entries.{role}.goal", name=name, loss=page.view.formula(model.model.symbol(model.of)))
        for j, entry in enumerate(group.entries):
            _entry(page, model, entry, first=j == 0)
        _conclusion(page, model, role)


def _intermediate(page: Page, model: RecipeModel) -> None:
    """The gradients by the definitions between the inputs and the loss, from the loss backwards."""
    of = model.model.symbol(model.of)
    wanted = {leaf for d in _between(model) for leaf in leaves(d.value)}
    between = [d for d in _between(model) if d.symbol in wanted or d.symbol == of]
    passed = [d for d in between if d.symbol != of]
    if not passed:
        return
    page.say("entries.behind", loss=page.view.formula(of))
    for d in reversed(passed):
        _one(page, model, str(d.symbol), detail=True)


def _between(model: RecipeModel) -> list[Definition]:
    """The definitions that the loss depends on."""
    needed, result = {model.model.symbol(model.of)}, []
    for d in reversed(list(model.model.definitions())):
        if d.symbol in needed:
            needed |= set(leaves(d.value))
            result.append(d)
    return result[::-1]


def _one(page: Page, model: RecipeModel, variable: str, *, detail: bool) -> None:
    """The gradient by one quantity: the local derivatives, then the chain rule with them put in."""
    view, of = page.view, model.model.symbol(model.of)
    symbol = model.model.symbol(variable)
    users = [d for d in _between(model) if symbol in set(leaves(d.value))]
    local: list[tuple[Definition, Expr]] = []
    shown: list[str] = []
    direct: str | None = None
    for d in users:
        step = page.book.local(model, d, variable)
        local.append((d, step.final))
        if detail:
            others = [s for s in leaves(d.value) if s != symbol]
            reason = page.words(
                "entries.local" if others else "entries.local_alone",
                definition=view.equal(d.symbol, d.value),
                variable=view.formula(symbol),
                others=view.listed(view.formula(s) for s in others),
            )
            left = _local_name(d, symbol, of, len(users))
            n = page.equation(view.rows([left, step.final]), mark=view.mark(step.evidence), lead=reason)
            shown.append(n)
            if d.symbol == of:
                direct = n
    if len(users) == 1 and direct is not None:
        page.shown[model.name, variable] = direct
        return
    _chain(page, model, variable, local, shown if detail else None)


def _local_name(d: Definition, symbol: Expr, of: Expr, users: int) -> Expr:
    """The derivative of a definition by a quantity in it; that of the loss by its formula if it is not the only one."""
    return gradient(d.value if d.symbol == of and users > 1 else d.symbol, symbol)


def _chain(
    page: Page,
    model: RecipeModel,
    variable: str,
    local: Sequence[tuple[Definition, Expr]],
    shown: list[str] | None,
) -> None:
    """dL/dv as a sum of dL/du du/dv over what uses v, checked as an equation."""
    view, of = page.view, model.model.symbol(model.of)
    symbol = model.model.symbol(variable)
    total = page.book.derive(model, variable)
    by_name: list[Formula | str] = []
    put_in: list[Formula | str] = []
    equation: list[Expr] = []
    used: list[str] = []
    for d, derivative in local:
        if d.symbol == of:
            outer_value: Expr = S.One
            by_name += [" + "] * bool(by_name) + [view.formula(_local_name(d, symbol, of, len(local)))]
            put_in += [" + "] * bool(put_in) + [bracketed(view, derivative)]
        else:
            outer_value = page.book.derive(model, str(d.symbol)).final
            by_name += [" + "] * bool(by_name)
            by_name += [
                view.formula(gradient(of, d.symbol)),
                r" \cdot | · ",
                view.formula(gradient(d.symbol, symbol)),
            ]
            put_in += [" + "] * bool(put_in)
            put_in += [bracketed(view, outer_value), r" \cdot | · ", bracketed(view, derivative)]
            if (model.name, str(d.symbol)) in page.shown:
                used.append(page.shown[model.name, str(d.symbol)])
        equation.append(Mul(outer_value, derivative))
    evidence = page.book.check(total, (total.left, Add(*equation), total.final))
    chain = [joined(*by_name), joined(*put_in), view.formula(total.final)]
    kept = [f for i, f in enumerate(chain) if i == 0 or f != chain[i - 1]]
    right: list[Formula | str] = [kept[0]]
    for f in kept[1:]:
        right += [" = ", f]
    principle = page.shown.get(("", "chain rule"))
    if shown is not None:
        numbers = [*([principle] if principle else []), *used, *shown]
        reason = page.words("entries.chain", equations=view.reference(numbers))
    else:
        reason = page.words("entries.likewise")
    row = Row(view.formula(total.left), joined(*right))
    page.shown[model.name, variable] = page.equation([row], mark=view.mark(evidence), lead=reason)


def _entry(page: Page, model: RecipeModel, entry: str, *, first: bool) -> None:
    _one(page, model, entry, detail=first)


def _conclusion(page: Page, model: RecipeModel, role: Role) -> None:
    """The gradient as a vector, in the words that fit what was derived, and its numbers."""
    group, view = page.group(model, role), page.view
    found, values = page.found(model, role), page.values(model)
    left = page.group_gradient(model, group)
    result = joined(left, " = ", page.group_result(model, role))
    key = f"entries.{role}.{found.outcome}"
    numbers = [page.shown[model.name, e] for e in group.entries if (model.name, e) in page.shown]
    page.add(
        Paragraph(
            page.words(
                key, formula=result, equations=view.reference(numbers), factor=view.formula(found.factor)
            ),
            page.words("entries.conclusion"),
        )
    )
    rows = []
    numbers_of = page.numbers_of(model)
    for e, entry in zip(found.entries, page.entries(model, group), strict=True):
        value, exact = page.value(model, e, values)
        between = page.put_in(model, e, numbers_of)
        entry_left = view.formula(gradient(model.model.symbol(model.of), entry))
        rows.append(Row(entry_left, joined(view.formula(e), *between, " ", relation(exact), " ", value)))
    shown, exact = page.group_values(model, found, values)
    rows.append(Row(left, shown, relation(exact)))
    page.equation(rows, lead=page.words("entries.numbers"))


def meaning(page: Page, section: Section) -> None:
    """The table of both gradients: formula, numbers, and what they mean."""
    model = page.book.model(section.options["model"])
    page.heading(section, "meaning")
    page.say("meaning.intro")
    values = page.values(model)
    rows = []
    for role in ROLES:
        found = page.found(model, role)
        shown, exact = page.group_values(model, found, values)
        left = page.group_gradient(model, page.group(model, role))
        rows.append(
            (
                page.words(f"meaning.{role}.name"),
                (joined(left, " = ", page.group_result(model, role)),),
                (shown if exact else joined(relation(False), " ", shown),),
                page.words(f"meaning.{role}.{found.outcome}", factor=page.view.formula(found.factor)),
            )
        )
    head = tuple(page.words(f"meaning.head.{key}") for key in ("type", "formula", "numbers", "intuition"))
    page.add(Table(head, tuple(rows), (14, 22, 18, 46)))


def text(page: Page, section: Section) -> None:
    """Paragraphs of the recipe itself.

    Raises   RecipeError if there are none in the language
    """
    lang = page.words.lang
    given: Mapping[str, str] = section.options["text"]
    if lang not in given:
        raise RecipeError(
            f"a text section has no {lang} text", hint="give one for every language that is asked for"
        )
    if section.title:
        page.heading(section, "text")
    model = page.book.model(section.options["model"]).model if "model" in section.options else None
    page.add(*paragraphs(given[lang], page.view, model, lenient=bool(section.options.get("plain"))))


def claim(page: Page, section: Section) -> None:
    """A formula of somebody's, with what was found out about it.

    Raises   RecipeError if it is not as the recipe expects: nothing false is printed as true
    """
    model, text_ = page.book.model(section.options["model"]), str(section.options["claim"])
    expected = section.options.get("expect", "true")
    if section.title:
        page.heading(section, "claim")
    verdict = page.book.verify(model, text_)
    if not verdict.is_right and verdict.verdict != "refuted":
        raise RecipeError(f"the claim {text_} could not be decided")
    if (expected == "true") != verdict.is_right:
        found = "refuted" if expected == "true" else "true"
        slip = f" ({verdict.kind})" if verdict.kind else ""
        raise RecipeError(
            f"the claim {text_} is {found}{slip}",
            hint='write expect = "refuted" to print it as refuted' if found == "refuted" else None,
        )
    shown = prose_formula(text_, page.view, model.model)
    if verdict.is_right:
        page.add(Paragraph(page.words("claim.right", claim=shown, sign=page.view.mark(verdict.evidence))))
        return
    from symgrad.rendering.verdict import diagnosis

    page.add(Paragraph(sentence(page.words("claim.wrong", claim=shown), *diagnosis(verdict, page.words))))
    if verdict.claim.of == model.model.symbol(model.of) and verdict.claim.wrt is not None:
        right = page.book.derive(model, str(verdict.claim.wrt))
        rows = page.view.rows((right.left, right.final))
        page.equation(rows, mark=page.view.mark(right.evidence), lead=page.words("claim.instead"))


def graph(page: Page, section: Section) -> None:
    """The graph of a computation, with local derivatives on the edges where everything is a number."""
    model = page.book.model(section.options["model"])
    if model.model.has_loops:
        raise RecipeError("the graph of a loop of symbolic length cannot be drawn")
    if section.title:
        page.heading(section, "graph")
    labels: dict[tuple[str, str], str] = {}
    for d in model.model.definitions():
        if all(is_scalar(e) for e in (d.symbol, *leaves(d.value))):
            for leaf in dict.fromkeys(leaves(d.value)):
                shown = page.view.formula(page.book.local(model, d, str(leaf)).final).latex
                labels[str(leaf), d.name] = shown if len(shown) <= _SHORT_LABEL else ""
    drawn = graph_of(model.model, labels, page.view.notation)
    of = page.view.formula(model.model.symbol(model.of))
    key = "graph.caption_derivatives" if any(labels.values()) else "graph.caption"
    says = [
        "".join(p.text for p in page.words("graph.from", name=name, names=", ".join(dict.fromkeys(starts))))
        for name in drawn.names
        if (starts := [e.start for e in drawn.edges if e.end == name])
    ]
    svg = computation_graph(drawn, page.words.lang) if has_matplotlib() else ""
    page.figure(
        svg, " ".join(says), page.words(key, f=of), mermaid(drawn), min(0.2 * len(drawn.columns()) + 0.1, 1.0)
    )


def shapes(page: Page, section: Section) -> None:
    """The shapes in a product of matrices, as rectangles."""
    model = page.book.model(section.options["model"])
    if section.title:
        page.heading(section, "shapes")
    wanted = section.options["of"]
    definition = next((d for d in model.model.definitions() if d.name == wanted), None)
    factors = product_of(definition.value) if definition is not None else []
    if definition is None or not factors:
        raise RecipeError(f"{wanted} is not computed by a product of matrices in the model {model.name}")
    product = matmul(*factors)
    parts = [page.view.shape(e) for e in (product, *factors)]
    svg = shape_diagram(factors, product, page.view.notation, page.words.lang) if has_matplotlib() else ""
    alt = ", ".join(p.text for p in parts)
    page.figure(
        svg,
        alt,
        page.words("graph.shapes", product=page.view.formula(product), shapes=page.view.listed(parts)),
        None,
        0.55,
    )


def heading(page: Page, section: Section) -> None:
    """A heading of somebody's notes."""
    text_ = section.options["text"][page.words.lang]
    page.add(Heading(prose(text_, page.view, lenient=True), section.options["level"]))


def code(page: Page, section: Section) -> None:
    """Lines of a program in somebody's notes."""
    page.add(Code(section.options["text"], section.options["language"]))


_SHORT_LABEL = 24

KINDS: dict[str, Callable[[Page, Section], None]] = {
    "text": text,
    "claim": claim,
    "graph": graph,
    "shapes": shapes,
    "heading": heading,
    "code": code,
    "chain_rule": chain_rule,
    "example": example,
    "entries": entries,
    "meaning": meaning,
}
