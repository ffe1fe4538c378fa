"""The sections of a handout about deep networks: one layer, symbolic depth with proofs, limits, summary, affine layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import sympy
from sympy import Expr, Pow, Rational, S, Symbol
from sympy.matrices.expressions.transpose import Transpose

from symgrad.api import Derivation
from symgrad.checking.equality import equal
from symgrad.deriving.depth import layers_of, linear_factor
from symgrad.deriving.steps import Evidence, Step
from symgrad.errors import RecipeError
from symgrad.expr import (
    Definition,
    Gradient,
    Model,
    ScalarGradient,
    gradient,
    is_column,
    is_matrix,
    leaf_name,
    leaves,
    shape_of,
    walk,
)
from symgrad.reading import read_question
from symgrad.rendering.document import Formula, Inline, Items, Paragraph, Row, Table, joined, plain
from symgrad.rendering.numbers import evaluate, number, relation
from symgrad.rendering.page import ROLES, Page, list_formula
from symgrad.rendering.prose import functions_of
from symgrad.rendering.recipe import RecipeModel, Section

__all__ = ["DEEP_KINDS"]


# --- one layer of many -----------------------------------------------------------------------------------


def _user(model: Model, symbol: Expr) -> Definition:
    """The definition that uses a symbol of a layer."""
    for d in model.definitions():
        if symbol in set(leaves(d.value)):
            return d
    raise RecipeError(f"nothing in the model uses {symbol}")


def local_form(derivation: Derivation, symbol: Expr) -> Expr:
    """The gradient by a symbol, written with the gradient by the quantity that it is used for."""
    upstream = gradient(derivation.of, _user(derivation.model, symbol).symbol)
    left = gradient(derivation.of, symbol)
    for step in derivation.steps:
        if step.left == left:
            for e in step.equation[1:]:
                if any(node == upstream for node in walk(e)):
                    return e
    raise RecipeError(f"the gradient by {symbol} is not written with {upstream}")


def _layer_symbols(model: Model) -> list[Expr]:
    """What a layer takes: its parameters in the order of the text, then the state before it."""
    layers = layers_of(model)
    body = layers.loop.body
    previous = layers.at(layers.loop.index - 1)
    defined = {leaf_name(d.symbol) for d in body}
    used = dict.fromkeys(leaf for d in body for leaf in leaves(d.value))
    index = layers.loop.index
    parameters = [s for s in used if leaf_name(s) not in defined and s != index]
    return [*parameters, previous]


def _name(symbol: Expr) -> str:
    """A member of a layer as a question: W[l], X[l-1]."""
    return str(symbol.name) if isinstance(symbol, Symbol) else f"{leaf_name(symbol)}[{_at(symbol)}]"


def _at(symbol: Expr) -> str:
    return str(symbol.index if hasattr(symbol, "index") else symbol.indices[0])


def _layer_forms(page: Page, model: RecipeModel) -> list[tuple[Expr, Derivation, Expr]]:
    """Each quantity that a layer takes, its derivation, and its gradient by the gradient of what it makes."""
    symbols = _layer_symbols(model.model)
    derivations = [page.book.derive(model, _name(s)) for s in symbols[:-1]]
    forms = [(s, d, local_form(d, s)) for s, d in zip(symbols[:-1], derivations, strict=True)]
    if not derivations:
        raise RecipeError(f"a layer of the model {model.name} has no parameters")
    return [*forms, (symbols[-1], derivations[0], local_form(derivations[0], symbols[-1]))]


def layer(page: Page, section: Section) -> None:
    """The gradients of a general layer: for numbers, by components, for matrices."""
    model = page.book.model(section.options["model"])
    scalars = page.book.model(section.options["scalars"])
    view, words = page.view, page.words
    page.heading(section, "layer")
    parts = layers_of(model.model)
    page.say(
        "layer.network", depth=view.formula(parts.loop.upper), loss=view.formula(model.model.symbol(model.of))
    )
    page.add(*view.definitions(model.model))
    before = section.options.get("loss_was")
    if before is not None and page.book.model(before).of == str(parts.loop.upper):
        page.say(
            "layer.renamed",
            depth=view.formula(parts.loop.upper),
            loss=view.formula(model.model.symbol(model.of)),
        )
    forms = _layer_forms(page, model)
    user = _user(model.model, forms[0][0])
    page.say(
        "layer.upstream",
        upstream=view.formula(gradient(model.model.symbol(model.of), user.symbol)),
        output=view.formula(user.symbol),
    )

    page.subheading(words("layer.scalar.title", number=1))
    page.say("layer.scalar.intro")
    scalar_forms = _layer_forms(page, scalars)
    for symbol, *_ in scalar_forms:
        if is_matrix(symbol):
            raise RecipeError(
                f"the model {scalars.name} is to be one of single numbers, and {symbol} is none"
            )
    for symbol, derivation, form in scalar_forms:
        _local_equation(page, derivation, symbol, form)

    page.subheading(words("layer.components.title", number=2))
    one = page.book.model(section.options["one"])
    turned = components(page, one)

    page.subheading(words("layer.matrix.title", number=3))
    page.say("layer.matrix.intro")
    for symbol, derivation, form in forms:
        _local_equation(page, derivation, symbol, form)
    if turned:
        page.say("layer.matrix.transposes", equations=view.reference(turned))
    by_name = {leaf_name(s): f for s, _, f in scalar_forms}
    rows = [
        (
            (view.formula(gradient(model.model.symbol(model.of), s)),),
            (view.formula(by_name[leaf_name(s)]),) if leaf_name(s) in by_name else plain(""),
            (view.formula(f),),
            (_size(page, s),),
        )
        for s, _, f in forms
    ]
    head = tuple(words(f"layer.table.{k}") for k in ("gradient", "scalar", "matrix", "shape"))
    page.add(Table(head, tuple(rows), (22, 26, 30, 22)))
    page.say("layer.made_of")
    page.add(Items(tuple(_made_of(page, model, s, f) for s, _, f in forms)))


def _made_of(page: Page, model: RecipeModel, symbol: Expr, form: Expr) -> Inline:
    """What the gradient by a quantity is made of, read off its formula."""
    view, of = page.view, model.model.symbol(model.of)
    upstream = gradient(of, _user(model.model, symbol).symbol)
    sizes = {str(s) for n in shape_of(form) for s in n.free_symbols}
    inside = {leaf for n in walk(form) if isinstance(n, Gradient | ScalarGradient) for leaf in leaves(n)}
    own = [leaf for leaf in leaves(form) if leaf not in inside and str(leaf) not in sizes]
    key = "layer.made_of_both" if own else "layer.made_of_upstream"
    return page.words(
        key,
        gradient=view.formula(gradient(of, symbol)),
        upstream=view.formula(upstream),
        own=view.listed(view.formula(leaf) for leaf in own),
    )


def _size(page: Page, e: Expr) -> Formula:
    """The sizes of a matrix or vector; 1 for a number."""
    if not is_matrix(e):
        return Formula("1", "1", "1")
    rows, cols = (page.view.formula(s) for s in e.shape)
    return joined(rows, r" \times |×", cols)


def _local_equation(page: Page, derivation: Derivation, symbol: Expr, form: Expr) -> str:
    """The gradient of a quantity of one layer, checked, with the rule that gives it."""
    left = gradient(derivation.of, symbol)
    step = next(s for s in derivation.steps if s.left == left and form in s.equation)
    evidence = page.book.check(derivation, (left, form))
    return page.equation(
        page.view.rows([left, form]), page.view.reason(derivation, step), page.view.mark(evidence)
    )


def components(page: Page, model: RecipeModel) -> list[str]:
    """The gradients entry by entry in index notation; the numbers of the equations with a transpose in them."""
    view = page.view
    page.say("layer.components.intro")
    page.add(*view.definitions(Model(model.model.items[:1], model.model.symbols)))
    first = next(iter(model.model.definitions())).symbol
    upstream = gradient(model.model.symbol(model.of), first)
    page.say("layer.components.upstream", upstream=view.formula(upstream), output=view.formula(first))
    turned: list[str] = []
    for group in (model.model.symbol(n) for n in _parameters(model)):
        derivation = page.book.derive(model, str(group), method="components")
        page.say(
            "layer.components.question",
            f=view.formula(derivation.of),
            x=view.formula(group),
        )
        page.steps(derivation, _behind(derivation))
        if any(isinstance(n, Transpose) for n in walk(derivation.steps[-1].right)):
            turned.append(view.last)
    return turned


def _behind(derivation: Derivation) -> range:
    """The numbers of the steps about what lies between the layer and the loss: its gradient is given."""
    left = gradient(derivation.of, derivation.wrt)
    others = [s.number for s in derivation.steps if s.rule == "components.matrix" and s.left != left]
    return range(1, max(others, default=0) + 1)


def _parameters(model: RecipeModel) -> list[str]:
    """The inputs of the first definition, in the order of the text."""
    first = next(iter(model.model.definitions()))
    return [leaf_name(s) for s in leaves(first.value) if not _is_size(s, model)]


def _is_size(s: Expr, model: RecipeModel) -> bool:
    return leaf_name(s) not in model.model.symbols


# --- symbolic depth ---------------------------------------------------------------------------------------


def depth(page: Page, section: Section) -> None:
    """Closed forms for a loop of symbolic length, each with its proof and its instances."""
    view, words = page.view, page.words
    page.heading(section, "depth_section")
    page.say("depth_section.intro")
    overview: list[tuple[Inline, Inline, Inline]] = []
    for i, case in enumerate(section.options["cases"], 1):
        model = page.book.model(case["model"])
        title = plain(_in(case["title"], words.lang))
        page.subheading(words("depth_section.case", number=i, title=title))
        page.add(*view.definitions(model.model))
        derivation = page.book.derive(model, case["wrt"])
        page.say("depth_section.question", f=view.formula(derivation.of), x=view.formula(derivation.wrt))
        page.steps(derivation)
        overall = _by_the_output(page, derivation)
        if overall is None:
            overview.append((title, (view.formula(derivation.left),), (view.formula(derivation.final),)))
        else:
            left, right = overall
            overview.append((title, (view.formula(left),), (view.formula(right),)))
        page.add(Paragraph(view.evidence(derivation)))
    page.subheading(words("depth_section.overview.title"))
    page.say("depth_section.overview.intro")
    head = tuple(words(f"depth_section.overview.{k}") for k in ("network", "gradient", "formula"))
    page.add(Table(head, tuple(overview), (26, 14, 60)))


def _in(texts: Mapping[str, str], lang: str) -> str:
    if lang not in texts:
        raise RecipeError(f"a title has no {lang} text", hint="give one for every language that is asked for")
    return texts[lang]


def _claim(derivation: Derivation) -> Step | None:
    """The step that states the closed form of the state's gradient."""
    return next((s for s in derivation.steps if s.rule == "depth.closed"), None)


def _by_the_output(page: Page, derivation: Derivation) -> tuple[Expr, Expr] | None:
    """The gradient by the first state as a factor times that by the last one, for any loss; None for a parameter."""
    claim = _claim(derivation)
    layers = layers_of(derivation.model)
    first = layers.at(layers.loop.lower - 1)
    if claim is None or derivation.wrt != first:
        return None
    at = {layers.loop.index: layers.loop.lower - 1}
    right = claim.right.xreplace(at)
    evidence = page.book.check(derivation, (derivation.left, right))
    reason = page.words(
        "depth_section.any_loss", layer=page.view.equal(layers.loop.index, at[layers.loop.index])
    )
    page.equation(page.view.rows([derivation.left, right]), reason, page.view.mark(evidence))
    return derivation.left, right


# --- limits -------------------------------------------------------------------------------------------------

Fate = Literal["vanishes", "stays", "explodes"]


def fate(value: Expr) -> Fate:
    """What a limit says."""
    if value == 0:
        return "vanishes"
    return "stays" if value.is_finite else "explodes"


def _power(page: Page, section: Section) -> tuple[RecipeModel, Derivation, Expr, Symbol]:
    """The factor between the first and the last gradient as a power of one number, and the length.

    Raises   RecipeError if it is no such power
    """
    model = page.book.model(section.options["model" if section.kind == "limits" else "layers"])
    derivation = page.book.derive(model, section.options["wrt"])
    claim, layers = _claim(derivation), layers_of(model.model)
    factor = None
    if claim is not None:
        upstream = gradient(derivation.of, layers.at(layers.loop.upper))
        factor = linear_factor(claim.right.xreplace({layers.loop.index: layers.loop.lower - 1}), upstream)
    length = layers.loop.upper
    if (
        not isinstance(factor, Pow)
        or factor.exp != length
        or not isinstance(length, Symbol)
        or is_matrix(factor)
    ):
        raise RecipeError(
            f"the model {model.name} does not multiply the gradient by a power of one number",
            hint="limits are shown for scalar layers that share their weight",
        )
    return model, derivation, factor.base, length


def limits(page: Page, section: Section) -> None:
    """What becomes of the factor as the depth grows, by SymPy, and in numbers."""
    view, words = page.view, page.words
    _, derivation, base, length = _power(page, section)
    page.heading(section, "limits")
    size = sympy.Abs(base)
    shown = view.formula(size)
    page.say(
        "limits.intro",
        factor=view.formula(size**length),
        base=shown,
        depth=view.formula(length),
        gradient=view.formula(derivation.left),
    )
    r = Symbol(next(n for n in ("r", "s", "t", "r_0") if n not in derivation.model.symbols), positive=True)
    for value, compared in ((1 / (1 + r), "below"), (S.One, "one"), (1 + r, "above")):
        limit = sympy.limit(value**length, length, sympy.oo)
        inside = view.formula(value)
        if value.is_Add or value.is_Pow:
            inside = joined(r"\left( |(", inside, r" \right)|)")
        left = joined(
            r'\lim_{|lim_(|limits("lim")_(',
            view.formula(length),
            r" \to | → ",
            view.formula(sympy.oo),
            "} |) ",
            inside,
            "^{|^|^(",
            view.formula(length),
            "}||)",
        )
        put_in = joined(shown, " = ", view.formula(value))
        reason = words(f"limits.{compared}", size=shown, value=put_in, r=view.formula(r))
        page.equation([Row(left, view.formula(limit))], lead=reason)
        page.say(f"limits.{fate(limit)}", size=shown)
    count = section.options["depth"]
    page.say("limits.numbers", depth=joined(view.formula(length), f" = {count}"), base=view.formula(base))
    rows = []
    for weight in section.options["weights"]:
        value, exact = number(weight**count)
        limit = sympy.limit(abs(weight) ** length, length, sympy.oo)
        power = joined(
            _powered(weight), f"^{{{count}}}|^{count}|^({count})", " ", relation(exact), " ", value
        )
        rows.append(((number(weight)[0],), (power,), words(f"limits.fate.{fate(limit)}")))
    head = ((view.formula(base),), words("limits.head.factor"), words("limits.head.fate"))
    page.add(Table(head, tuple(rows), (20, 40, 40)))


def _powered(weight: Rational) -> Formula:
    shown = number(weight)[0]
    return joined("(", shown, ")") if weight < 0 else shown


# --- summary ------------------------------------------------------------------------------------------------


def summary(page: Page, section: Section) -> None:
    """Why the formulas are as they are: every statement is chosen by what was derived, every number computed."""
    view, words = page.view, page.words
    model = page.book.model(section.options["model"])
    page.heading(section, "summary")
    of = model.model.symbol(model.of)
    items: list[Inline] = [words("summary.chain", loss=view.formula(of))]
    for role in ROLES:
        found = page.found(model, role)
        formula = joined(
            page.group_gradient(model, page.group(model, role)), " = ", page.group_result(model, role)
        )
        items.append(
            words(f"summary.{role}.{found.outcome}", formula=formula, factor=view.formula(found.factor))
        )
    items.append(_normalisation(page, model, section.options["scale"]))
    _, _, base, length = _power(page, section)
    count = section.options["depth"]
    for weight in section.options["weights"]:
        value, exact = number(weight**count)
        kind = "smaller" if abs(weight) < 1 else "larger" if abs(weight) > 1 else "same"
        items.append(
            words(
                f"summary.depth.{kind}",
                weight=joined(view.formula(base), " = ", number(weight)[0]),
                depth=str(count),
                factor=joined(
                    _powered(weight), f"^{{{count}}}|^{count}|^({count})", " ", relation(exact), " ", value
                ),
            )
        )
    items.append(words("summary.initialisation", depth=view.formula(length)))
    page.add(Items(tuple(items), ordered=True))
    page.say("summary.power")


def _normalisation(page: Page, model: RecipeModel, scale: Rational) -> Inline:
    """What larger inputs do to the gradient by the weights, at the numbers of the example."""
    inputs = page.group(model, "inputs")
    symbols = page.entries(model, inputs)
    found, values = page.found(model, "weights"), page.values(model)
    numbers = model.numbers()
    scaled = page.values(model, {s: v * scale if s in symbols else v for s, v in numbers.items()})
    before = [evaluate(e, values) for e in found.entries]
    after = [evaluate(e, scaled) for e in found.entries]
    size_before, size_after = (sum(abs(float(v)) for v in vs) for vs in (before, after))
    kind = "larger" if size_after > size_before else "smaller" if size_after < size_before else "same"
    left = page.group_gradient(model, page.group(model, "weights"))
    return page.words(
        f"summary.inputs_scaled.{kind}",
        scale=number(scale)[0],
        gradient=left,
        before=list_formula(number(v)[0] for v in before),
        after=list_formula(number(v)[0] for v in after),
    )


# --- the affine layer on its own ------------------------------------------------------------------------------


def affine(page: Page, section: Section) -> None:
    """All gradients of an affine layer, for one sample and for a batch."""
    page.heading(section, "affine", numbered=False)
    for key in ("model", "batch"):
        if key in section.options:
            _affine(page, page.book.model(section.options[key]))
    page.say("affine.end")


def _samples(model: RecipeModel) -> Literal["sample", "columns", "rows", "other"]:
    """How a layer holds its samples, read off the bias: a vector as long as a column or as a row of the output."""
    first = next(iter(model.model.definitions()))
    output = first.symbol
    if not is_matrix(output):
        return "other"
    if is_column(output):
        return "sample"
    sizes = {s.shape[0] for s in map(model.model.symbol, _parameters(model)) if is_matrix(s) and is_column(s)}
    rows, cols = output.shape
    if len(sizes) != 1 or rows == cols:
        return "other"
    return "columns" if rows in sizes else "rows" if cols in sizes else "other"


def _affine(page: Page, model: RecipeModel) -> None:
    view, words = page.view, page.words
    key = _samples(model)
    page.subheading(words(f"affine.{key}.title"))
    page.say(f"affine.{key}.intro")
    page.add(*view.definitions(model.model))
    first = next(iter(model.model.definitions()))
    of = model.model.symbol(model.of)
    page.say("affine.upstream", upstream=view.formula(gradient(of, first.symbol)), loss=view.formula(of))
    rows = []
    for name in _parameters(model):
        symbol = model.model.symbol(name)
        derivation = page.book.derive(model, name)
        form = local_form(derivation, symbol)
        rows.append((view.formula(gradient(of, symbol)), view.formula(form), _size(page, symbol)))
        _local_equation_steps(page, derivation, symbol, form)
    head = tuple(words(f"layer.table.{k}") for k in ("gradient", "matrix", "shape"))
    page.add(Table(head, tuple(tuple((f,) for f in row) for row in rows), (30, 40, 30)))


def _local_equation_steps(page: Page, derivation: Derivation, symbol: Expr, form: Expr) -> None:
    """The last step of a derivation by the rule, and by the differential where it is used more than once."""
    left = gradient(derivation.of, symbol)
    step = next(s for s in derivation.steps if s.left == left)
    evidence = page.book.check(derivation, (left, form))
    page.equation(page.view.rows([left, form]), page.view.reason(derivation, step), page.view.mark(evidence))


# --- any derivation ---------------------------------------------------------------------------------------------


def derivation_section(page: Page, section: Section) -> None:
    """Derivations in full."""
    model = page.book.model(section.options["model"])
    page.heading(section, "derivation_section")
    wrt: Any = section.options["wrt"]
    page.add(*page.view.definitions(model.model))
    for name in [wrt] if isinstance(wrt, str) else wrt:
        derivation = page.book.derive(model, name, method=section.options.get("method"))
        page.say(
            "derivation.question.gradient",
            f=page.view.formula(derivation.of),
            x=page.view.formula(derivation.wrt),
        )
        page.steps(derivation)
        page.add(*page.view.result(derivation))
        if "final" in section.options:
            _pinned(page, section, model, derivation, name)


def _pinned(page: Page, section: Section, model: RecipeModel, derivation: Derivation, name: str) -> None:
    """The final form that the recipe wants, checked and then printed as it stands there.

    Raises   RecipeError if it is not the gradient
    """
    given = section.options["final"]
    names = section.options["wrt"]
    wanted = given if isinstance(given, str) else given[names.index(name)]
    value = read_question(wanted, model=model.model, functions=functions_of(model.model))[1]
    found = equal(model.model, derivation.left, value)
    if not isinstance(found, Evidence):
        raise RecipeError(f"the final form {wanted} is not the gradient of {model.of} by {name}")
    page.equation(
        page.view.rows((derivation.left, value)), page.words("derivation.pinned"), page.view.mark(found)
    )


DEEP_KINDS: dict[str, Callable[[Page, Section], None]] = {
    "layer": layer,
    "depth": depth,
    "limits": limits,
    "summary": summary,
    "affine": affine,
    "derivation": derivation_section,
}
