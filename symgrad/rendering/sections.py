"""The sections of a handout about one network with numbers: chain rule, example, gradients entry by entry, meaning.

Every formula and number comes from a checked derivation; which sentence stands beside it is decided by
comparing what was derived.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sympy import Add, Expr, Mul, S, Symbol

from symgrad.errors import RecipeError
from symgrad.expr import Definition, gradient, is_leaf, is_scalar, leaves, matmul
from symgrad.rendering.diagrams import computation_graph, graph_of, mermaid, product_of, shape_diagram
from symgrad.rendering.document import (
    Code,
    Formula,
    Heading,
    Items,
    Paragraph,
    Row,
    Table,
    joined,
    sentence,
)
from symgrad.rendering.figures import has_matplotlib
from symgrad.rendering.numbers import number, relation
from symgrad.rendering.page import ROLES, Page, Role, bracketed, list_formula
from symgrad.rendering.prose import formula as prose_formula
from symgrad.rendering.prose import paragraphs, prose
from symgrad.rendering.recipe import RecipeModel, Section
from symgrad.rendering.view import DOTS

__all__ = ["KINDS"]

_SHORT_LABEL = 24


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
