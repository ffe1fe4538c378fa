"""Exercises made by the engine, with keys that were checked when they were made.

What is asked is drawn by a seed, so each student can have a variant. A variant whose key is not proved, or at least
verified by an exact test, is not printed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sympy import Expr, Rational, Symbol

from symgrad.api import Derivation
from symgrad.checking.edits import Edit, Vocabulary, edited
from symgrad.checking.equality import Refutation, compare, equal
from symgrad.checking.evaluate import Evaluator, concrete
from symgrad.deriving.steps import Evidence, Step
from symgrad.errors import SymgradError, UnsupportedError
from symgrad.expr import (
    Gradient,
    ScalarGradient,
    gradient,
    is_leaf,
    is_scalar,
    same_size,
    shape_of,
    walk,
)
from symgrad.rendering.document import (
    Block,
    Equation,
    Exercise,
    Formula,
    Inline,
    Items,
    Level,
    Paragraph,
    Part,
    Reference,
    Row,
    Space,
    Table,
    joined,
    plain,
    sentence,
)
from symgrad.rendering.numbers import number, relation
from symgrad.rendering.numpy import to_numpy
from symgrad.rendering.ordering import turned
from symgrad.rendering.prose import paragraphs
from symgrad.rendering.recipe import Item, RecipeModel, Section
from symgrad.rendering.sections import Page
from symgrad.rendering.view import View

__all__ = ["KINDS_OF_EXERCISES", "exercises"]

BLANK = Formula(r"\square", "□", "□")
_SURE = ("proved", "verified")
_DULL = ("wrong factor", "wrong exponent", "wrong variable", "wrong index", "missing factor", "extra factor")
"""Slips that are seen at a glance, or teach little; others are planted if there are any."""


@dataclass
class Task:
    """One exercise being made: the page, what is asked, its number, its chance."""

    page: Page
    item: Item
    number: str
    chance: random.Random

    @property
    def view(self) -> View:
        """How the question is shown."""
        return self.page.view

    @property
    def model(self) -> RecipeModel:
        """The model that is asked about."""
        assert self.item.model is not None  # noqa: S101 - the recipe's reader saw to it
        return self.page.book.model(self.item.model)

    def derivation(self) -> Derivation:
        """The derivation that is asked for."""
        assert self.item.wrt is not None  # noqa: S101 - the recipe's reader saw to it
        return self.page.book.derive(self.model, self.item.wrt)

    def solution_view(self) -> View:
        """How the solution is shown: its equations have numbers of their own, so those of students have no gaps."""
        return replace(self.view, series=f"S{self.number}.", counts={}, said={}, compact=False)

    def question(self, key: str, derivation: Derivation) -> list[Block]:
        """The model and its shapes, or where they are already, and what is asked."""
        view = self.view
        first = self.page.models.setdefault(self.model.name, self.number)
        if first == self.number:
            blocks = view.definitions(derivation.model)
            shapes = view.shapes(derivation)
            if shapes:
                blocks.append(Paragraph(view.words("derivation.shapes", shapes=view.listed(shapes))))
        else:
            place: Inline = (Reference("ex", first),)
            blocks = [Paragraph(view.words("exercise.same_model", exercise=place))]
        f, x = view.formula(derivation.of), view.formula(derivation.wrt)
        return [*blocks, Paragraph(view.words(key, f=f, x=x))]

    def solution(self, derivation: Derivation) -> list[Block]:
        """The derivation in full."""
        view = self.solution_view()
        return [*view.steps(derivation), *view.result(derivation)]


@dataclass(frozen=True)
class Made:
    """What a kind of exercise makes: the question, its parts, and the key for grading."""

    blocks: list[Block]
    answer: list[Block]
    key: dict[str, Any]
    solution: list[Block] | None = None
    hint: Inline = ()
    marking: list[Block] | None = None
    code: str = 'answer = ""'


def exercises(page: Page, section: Section) -> None:
    """A section of exercises."""
    page.heading(section, "exercises")
    for item in section.options["items"]:
        page.exercises += 1
        task = Task(
            page, item, str(page.exercises), random.Random(f"{page.seed}/{page.exercises}/{item.kind}")
        )
        try:
            page.add(_exercise(task, KINDS_OF_EXERCISES[item.kind](task)))
        except SymgradError as error:
            error.message = f"exercise {page.exercises} ({item.kind}): {error.message}"
            raise


def _exercise(task: Task, made: Made) -> Exercise:
    page, item = task.page, task.item
    words, lang, model = page.words, page.words.lang, task.page.book.recipe.models.get(item.model or "")

    def own(name: str) -> list[Block] | None:
        if name not in item.texts:
            return None
        text = item.texts[name].get(lang)
        if text is None:
            raise UnsupportedError(f"its {name} has no {lang} text")
        return paragraphs(text, page.view, model.model if model else None)

    title = words("exercise.title", number=task.number)
    if "title" in item.texts:
        own_title = plain(item.texts["title"].get(lang, ""))
        title = words("exercise.titled", number=task.number, title=own_title)
    blocks = [*(own("text") or []), *made.blocks] if item.kind != "question" else made.blocks
    hint = own("hint") or ([Paragraph(made.hint)] if made.hint else None)
    if hint:
        blocks.append(Part("hint", words("exercise.hint"), tuple(hint)))
    if item.space:
        blocks.append(Space(item.space, made.code, task.number, page.seed))
    levels: tuple[tuple[Level, list[Block] | None], ...] = (
        ("answer", own("answer") or made.answer or None),
        ("solution", own("solution") or made.solution),
        ("marking", made.marking if item.points else None),
    )
    parts = [Part(level, words(f"exercise.{level}"), tuple(b)) for level, b in levels if b]
    points: Inline = ()
    if item.points:
        points = words("exercise.point" if item.points == 1 else "exercise.points", points=item.points)
        page.points += item.points
    page.keys.append(
        {"exercise": task.number, "kind": item.kind, "points": item.points, "seed": page.seed, **made.key}
    )
    return Exercise(task.number, title, (*blocks, *parts), points)


# --- the kinds ------------------------------------------------------------------------------------------------


def _sure(evidence: Evidence, what: str) -> Evidence:
    """The evidence of a key, which must be more than agreement in numbers.

    Raises   UnsupportedError if it is not
    """
    if evidence.level not in _SURE:
        raise UnsupportedError(
            f"{what} is not proved, so it cannot be a key",
            hint="ask about another variable or a simpler model",
        )
    return evidence


def _context(task: Task, derivation: Derivation) -> dict[str, Any]:
    """What grading needs to read an answer."""
    return {"model": task.model.text, "of": task.model.of, "wrt": str(task.item.wrt)}


def _formula_key(task: Task, e: Expr) -> dict[str, Any]:
    """A formula as it is printed, and in the text language with the gradients in it written out."""
    from symgrad.rendering.latex import to_latex

    known = {g: task.page.book.derive(task.model, str(g.args[1])).final for g in _gradients(e)}
    try:
        text: str | None = to_numpy(e.xreplace(known))
    except SymgradError:
        text = None
    return {"answer": text, "answer_latex": to_latex(e, task.view.notation)}


def _answer_cell(task: Task, derivation: Derivation) -> str:
    """The cell of a notebook in which an answer is written and verified."""
    lines = "\n".join(line for line in task.model.text.strip().splitlines())
    return (
        f'model = symgrad.read_model("""\n{lines}\n""")\n\nanswer = ""\n\n'
        f'if answer:\n    print(symgrad.verify(answer, model, of="{task.model.of}", wrt="{task.item.wrt}"))'
    )


def _derive(task: Task) -> Made:
    """Derive a gradient."""
    derivation, view = task.derivation(), task.view
    evidence = _sure(derivation.evidence, "the answer")
    hint: Inline = ()
    between = [
        s.left
        for s in derivation.steps
        if s.left != derivation.left and isinstance(s.left, Gradient | ScalarGradient)
    ]
    named = [e for e in between if is_leaf(e.args[1])]
    if named:
        listed = view.listed(view.formula(e) for e in list(dict.fromkeys(named))[:3])
        hint = view.words("exercise.first_find", gradients=listed)
    marks = [s for s in derivation.steps if is_leaf(s.left.args[1] if s.left.args else s.left)]
    items = tuple((view.equal(s.left, s.right),) for s in marks)
    return Made(
        task.question("exercise.derive", derivation),
        [Equation(view.rows((derivation.left, derivation.final)), mark=view.mark(evidence))],
        {**_context(task, derivation), **_formula_key(task, derivation.final), "evidence": evidence.level},
        task.solution(derivation),
        hint,
        [Paragraph(view.words("exercise.marks")), Items(items)] if items else None,
        _answer_cell(task, derivation),
    )


@dataclass(frozen=True)
class Line:
    """An equation of a derivation that stands on its own: the gradient by a name, in terms of such gradients."""

    step: Step
    left: Expr
    right: Expr
    evidence: Evidence


def _lines(task: Task, derivation: Derivation) -> list[Line]:
    """The equations that a student can follow one by one, each with its evidence."""
    found: list[Line] = []
    for step in derivation.steps:
        left = step.left
        if not isinstance(left, Gradient | ScalarGradient) or not is_leaf(left.args[1]) or step.given:
            continue
        right = next((e for e in step.equation[1:] if all(is_leaf(g.args[1]) for g in _gradients(e))), None)
        if right is None or right == left or any(line.left == left for line in found):
            continue
        found.append(Line(step, left, right, _evidence(task, derivation, step, right)))
    return found


def _reason(view: View, derivation: Derivation, line: Line) -> Inline:
    """The rule of a line, unless it leaves out what lies between."""
    return view.reason(derivation, line.step) if line.right == line.step.equation[1] else ()


def _gradients(e: Expr) -> list[Expr]:
    """The unevaluated gradients of scalars in an expression, in the order of its nodes."""
    return [n for n in walk(e) if isinstance(n, Gradient | ScalarGradient)]


def _evidence(task: Task, derivation: Derivation, step: Step, right: Expr) -> Evidence:
    """What is known about a line: with the gradients in it written out it is compared with the function itself."""
    own = task.page.book.check(derivation, (step.left, right))
    if own.level in _SURE:
        return own
    known = {g: task.page.book.derive(task.model, str(g.args[1])) for g in _gradients(right)}
    if any(d.evidence.level not in _SURE for d in known.values()):
        return own
    value = right.xreplace({g: d.final for g, d in known.items()})
    found = compare(derivation.model, derivation.of, step.left.args[1], value, seconds=5.0)
    return found if isinstance(found, Evidence) else own


def _lettered(task: Task, rows: list[tuple[Formula, Formula, Inline]]) -> list[Block]:
    """Numbered equations of a question: [1], [2], ..."""
    blocks: list[Block] = []
    for i, (left, right, reason) in enumerate(rows, 1):
        blocks.append(Equation((Row(left, right),), f"{task.number}.{i}", reason))
    return blocks


@dataclass(frozen=True)
class Slip:
    """A wrong right-hand side, the edit that mends it, and where it shows that it is wrong."""

    step: int
    wrong: Expr
    change: Edit
    refutation: Refutation


def _slips(task: Task, derivation: Derivation, lines: list[Line]) -> Iterator[Slip]:
    """Slips that were refuted, beside a line that is sure, in the order of chance."""
    order = [i for i, line in enumerate(lines) if line.evidence.level in _SURE]
    task.chance.shuffle(order)
    dull: list[Slip] = []
    for i in order:
        left, right = lines[i].left, lines[i].right
        words = Vocabulary(derivation.model, (left, right))
        changes = [
            e
            for e in edited(right, words)
            if _gradients(e.value) == _gradients(right)
            and len(shape_of(e.value)) == len(shape_of(left))
            and all(same_size(a, b) for a, b in zip(shape_of(e.value), shape_of(left), strict=True))
        ]
        task.chance.shuffle(changes)
        changes.sort(key=lambda e: e.kind in _DULL)
        for change in changes[:8]:
            back = next((b for b in edited(change.value, words) if b.value == right), None)
            if back is None:
                continue
            found = equal(derivation.model, left, change.value, seconds=5.0)
            if isinstance(found, Refutation) and found.error is not None:
                slip = Slip(i, change.value, back, found)
                if back.kind not in _DULL:
                    yield slip
                else:
                    dull.append(slip)
                break
    yield from dull


def _mistake(task: Task) -> Made:
    """Find the wrong step."""
    derivation, view = task.derivation(), task.view
    lines = _lines(task, derivation)
    slip = next(_slips(task, derivation, lines), None)
    if slip is None or len(lines) < 2:
        raise UnsupportedError(
            "no step of it can be made wrong with a proved right one beside it",
            hint="ask about a longer derivation",
        )
    line = lines[slip.step]
    rows: list[tuple[Formula, Formula, Inline]] = [
        (view.formula(a.left), view.formula(slip.wrong if a is line else a.right), ()) for a in lines
    ]
    change = slip.change
    key = f"slip.{change.kind.replace(' ', '_').replace('/', '_')}"
    if key not in view.words or not view.words.places(key) <= {"before", "after"}:
        key = "slip.replaced"
    said = view.words(key, before=view.formula(change.before), after=view.formula(change.after))
    explained: list[Block] = [Paragraph(said)]
    if slip.refutation.left is not None and slip.refutation.right is not None:
        sizes = ", ".join(f"{n} = {v}" for n, v in slip.refutation.sizes.items()) or "-"
        left, wrong = (f"{v:.4g}" for v in (slip.refutation.left, slip.refutation.right))
        explained.append(Paragraph(view.words("exercise.refuted", sizes=sizes, left=left, right=wrong)))
    place = (Reference("eq", f"{task.number}.{slip.step + 1}"),)
    right = Row(view.formula(line.left), view.formula(line.right))
    return Made(
        [*task.question("exercise.mistake", derivation), *_lettered(task, rows)],
        [
            Paragraph(view.words("exercise.wrong_step", equation=place)),
            Equation((right,), reason=_reason(view, derivation, line), mark=view.mark(line.evidence)),
        ],
        {
            **_context(task, derivation),
            **_formula_key(task, line.right),
            "step": slip.step + 1,
            "slip": change.kind,
            "target": str(line.left.args[1]),
            "evidence": line.evidence.level,
        },
        explained,
    )


def _missing(task: Task) -> Made:
    """Fill in the step that is left out."""
    derivation, view = task.derivation(), task.view
    lines = _lines(task, derivation)
    able = [line for line in lines if line.evidence.level in _SURE]
    if not able or len(lines) < 2:
        raise UnsupportedError("no step of it is proved", hint="ask about another variable")
    hidden = task.chance.choice(able)
    rows: list[tuple[Formula, Formula, Inline]] = []
    for line in lines:
        reason = _reason(view, derivation, line) if line is hidden else ()
        rows.append((view.formula(line.left), BLANK if line is hidden else view.formula(line.right), reason))
    return Made(
        [*task.question("exercise.missing", derivation), *_lettered(task, rows)],
        [Equation(view.rows((hidden.left, hidden.right)), mark=view.mark(hidden.evidence))],
        {
            **_context(task, derivation),
            **_formula_key(task, hidden.right),
            "step": lines.index(hidden) + 1,
            "target": str(hidden.left.args[1]),
            "evidence": hidden.evidence.level,
        },
    )


def _shapes(task: Task) -> Made:
    """State the shapes of the intermediates and of a gradient."""
    derivation, view = task.derivation(), task.view
    asked = [d.symbol for d in derivation.model.definitions()]
    asked += [gradient(derivation.of, e) for e in (*asked[:-1], derivation.wrt) if e != derivation.of]
    asked = list(dict.fromkeys(asked))

    def size(e: Expr) -> Formula:
        if is_scalar(e):
            return Formula("1", "1", "1")
        rows, columns = shape_of(e)
        return joined(view.formula(rows), r" \times |×", view.formula(columns))

    rows = tuple(((view.formula(e),), (size(e),)) for e in asked)
    head = (view.words("exercise.quantity"), view.words("layer.table.shape"))
    blank = tuple((name, plain("")) for name, _ in rows)
    key = [[str(s) for s in shape_of(e)] if not is_scalar(e) else [] for e in asked]
    return Made(
        [*task.question("exercise.shapes", derivation), Table(head, blank, (50, 50))],
        [Table(head, rows, (50, 50))],
        {**_context(task, derivation), "answer": key, "evidence": "proved"},
    )


def _numbers(task: Task) -> Made:
    """Compute the gradient at numbers, which are drawn."""
    derivation, view, model = task.derivation(), task.view, task.model
    sizes: dict[Symbol, int] = {}
    inputs = [*derivation.model.inputs()]
    for e in (*inputs, derivation.of):
        for n in shape_of(e) if not is_scalar(e) else ():
            for s in n.free_symbols:
                sizes.setdefault(s, 2 + len(sizes) % 2)
    for _ in range(40):
        values = {e: _drawn(task, model, e, sizes) for e in inputs}
        try:
            found = _evaluated(derivation, values, sizes)
        except (ArithmeticError, ValueError, SymgradError):
            continue
        if np.all(np.isfinite(found)) and np.any(np.abs(found) > 1e-9):
            break
    else:
        raise UnsupportedError("no numbers were found at which the gradient has a value")
    _sure(derivation.evidence, "the formula of the answer")
    blocks = task.question("exercise.numbers", derivation)
    if sizes:
        chosen = view.listed(joined(view.formula(s), f" = {n}") for s, n in sizes.items())
        blocks.append(Paragraph(view.words("exercise.sizes", sizes=chosen)))
    blocks += _listed_values(view, values)
    exact = bool(np.all(np.abs(found * 64 - np.round(found * 64)) < 1e-9))
    shown = _array(np.round(found * 64) / 64 if exact else found)
    formula = view.formula(derivation.final)
    row = Row(view.formula(derivation.left), joined(formula, " ", relation(exact), " ", shown))
    return Made(
        blocks,
        [Equation((row,))],
        {
            **_context(task, derivation),
            "values": {str(e): np.asarray(v, dtype=float).tolist() for e, v in values.items()},
            "answer": np.asarray(found, dtype=float).tolist(),
            "evidence": derivation.evidence.level,
        },
        task.solution(derivation),
    )


def _listed_values(view: View, values: dict[Expr, Any]) -> list[Block]:
    """The numbers that are given: in a line if they are single numbers, else one below the other."""
    if all(is_scalar(e) for e in values):
        listed = view.listed(joined(view.formula(e), " = ", _array(v)) for e, v in values.items())
        return [Paragraph(view.words("exercise.values", values=listed))]
    return [Equation(tuple(Row(view.formula(e), _array(v)) for e, v in values.items()))]


def _drawn(task: Task, model: RecipeModel, e: Expr, sizes: dict[Symbol, int]) -> Any:
    """Small numbers for an input: those of the recipe if it has them, else drawn."""
    words = _assumed(model, e)
    if words & {
        "onehot",
        "onehot_rows",
        "onehot_cols",
        "prob",
        "prob_rows",
        "symmetric",
        "orthogonal",
        "invertible",
    }:
        if "onehot" in words and not is_scalar(e):
            rows = int(shape_of(e)[0].xreplace(sizes))
            place = task.chance.randrange(rows)
            return np.array([[1.0 if i == place else 0.0] for i in range(rows)])
        raise UnsupportedError(f"numbers for {e} ({', '.join(sorted(words))}) cannot be drawn")
    low = 1 if words & {"positive", "nonzero"} else -3
    if is_scalar(e):
        return Rational(task.chance.randint(low, 3))
    rows, columns = (int(s.xreplace(sizes)) for s in shape_of(e))
    return np.array([[float(task.chance.randint(low, 3)) for _ in range(columns)] for _ in range(rows)])


def _assumed(model: RecipeModel, e: Expr) -> frozenset[str]:
    """What is assumed of a name."""
    return model.model.assumptions.get(str(e), frozenset())


def _evaluated(
    derivation: Derivation, values: dict[Expr, Any], sizes: dict[Symbol, int]
) -> np.ndarray[Any, Any]:
    """The gradient at numbers, checked against differences of the function.

    Raises   UnsupportedError if they do not agree
    """
    evaluate = Evaluator()

    def value(e: Expr, known: dict[Expr, Any]) -> Any:
        return evaluate(concrete(e, sizes), known)

    def forward(point: dict[Expr, Any]) -> dict[Expr, Any]:
        known = {concrete(e, sizes): v for e, v in point.items()} | dict(sizes)
        for d in derivation.model.definitions():
            known[concrete(d.symbol, sizes)] = value(d.value, known)
        return known

    point = {e: float(v) if is_scalar(e) else np.asarray(v, dtype=float) for e, v in values.items()}
    found = np.atleast_2d(np.asarray(value(derivation.final, forward(point)), dtype=float))
    base = np.atleast_2d(np.asarray(point[derivation.wrt], dtype=float))
    slopes = np.zeros_like(base)
    for place in np.ndindex(base.shape):
        ends = []
        for sign in (1, -1):
            moved = base.copy()
            moved[place] += sign * 1e-5
            there = {**point, derivation.wrt: float(moved[0, 0]) if is_scalar(derivation.wrt) else moved}
            ends.append(float(np.asarray(value(derivation.of, forward(there))).item()))
        slopes[place] = (ends[0] - ends[1]) / 2e-5
    if found.shape != slopes.shape or not np.allclose(found, slopes, rtol=1e-4, atol=1e-5):
        raise UnsupportedError("the numbers of the answer do not agree with differences of the function")
    return found


def _array(value: Any) -> Formula:
    """A number, or a matrix of numbers."""
    if isinstance(value, Rational):
        return number(value)[0]
    array = np.atleast_2d(np.asarray(value, dtype=float))
    shown = [
        [
            number(
                Rational(v).limit_denominator(10**9)
                if float(v).is_integer() or (v * 64).is_integer()
                else float(v)
            )[0]
            for v in row
        ]
        for row in array
    ]
    if array.size == 1:
        return shown[0][0]
    return Formula(
        r"\begin{bmatrix} "
        + r" \\ ".join(" & ".join(f.latex for f in row) for row in shown)
        + r" \end{bmatrix}",
        "[" + "; ".join(", ".join(f.text for f in row) for row in shown) + "]",
        'mat(delim: "[", ' + "; ".join(", ".join(f.typst for f in row) for row in shown) + ")",
    )


def _layout(task: Task) -> Made:
    """Choose the formula that is right in numerator layout."""
    derivation, view = task.derivation(), task.view
    right = derivation.final
    if is_scalar(derivation.wrt):
        raise UnsupportedError("the derivative by a number is the same in every layout")
    evidence = _sure(derivation.evidence, "the answer")
    options: list[Expr] = [turned(right), right]
    words = Vocabulary(derivation.model, (right,))
    for change in edited(right, words):
        found = (
            equal(derivation.model, derivation.left, change.value, seconds=5.0) if len(options) < 4 else None
        )
        if isinstance(found, Refutation) and found.error is not None and change.value not in options:
            options.append(turned(change.value))
    asked = task.chance.choice(("numerator", "gradient"))
    answer = options[0] if asked == "numerator" else options[1]
    task.chance.shuffle(options)
    letters = "abcdefgh"
    shown = [
        Paragraph(sentence(plain(f"({letters[i]}) "), (view.formula(e),))) for i, e in enumerate(options)
    ]
    letter = letters[options.index(answer)]
    return Made(
        [*task.question(f"exercise.layout.{asked}", derivation), *shown],
        [Paragraph(sentence(view.words("exercise.option", letter=letter), (view.formula(answer),)))],
        {**_context(task, derivation), "answer": letter, "layout": asked, "evidence": evidence.level},
    )


def _question(task: Task) -> Made:
    """A question in the lecturer's own words."""
    lang, item, page = task.page.words.lang, task.item, task.page
    model = task.model.model if item.model else None
    text = item.texts["text"].get(lang)
    if text is None:
        raise UnsupportedError(f"its text has no {lang} text")
    return Made(paragraphs(text, page.view, model), [], {"answer": None, "evidence": "none"})


KINDS_OF_EXERCISES: dict[str, Callable[[Task], Made]] = {
    "derive": _derive,
    "mistake": _mistake,
    "missing": _missing,
    "shapes": _shapes,
    "numbers": _numbers,
    "layout": _layout,
    "question": _question,
}
