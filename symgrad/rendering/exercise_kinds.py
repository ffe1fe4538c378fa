"""The kinds of exercises: derive, find the mistake, fill in a step, state shapes, choose a layout, and a question."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sympy import Expr

from symgrad.api import Derivation
from symgrad.checking.edits import Edit, edited
from symgrad.checking.equality import Refutation, compare, equal
from symgrad.checking.vocabulary import Vocabulary
from symgrad.deriving.steps import Evidence, Step
from symgrad.errors import UnsupportedError
from symgrad.expr import (
    Gradient,
    ScalarGradient,
    gradient,
    is_leaf,
    is_scalar,
    same_size,
    shape_of,
)
from symgrad.rendering.document import (
    Block,
    Equation,
    Formula,
    Inline,
    Items,
    Paragraph,
    Reference,
    Row,
    Table,
    joined,
    plain,
    sentence,
)
from symgrad.rendering.exercise_numbers import numbers
from symgrad.rendering.exercise_tasks import (
    SURE,
    Made,
    Task,
    answer_cell,
    context,
    formula_key,
    gradients_in,
    sure,
)
from symgrad.rendering.ordering import turned
from symgrad.rendering.prose import paragraphs
from symgrad.rendering.view import View

__all__ = ["KINDS_OF_EXERCISES"]

BLANK = Formula(r"\square", "□", "□")


_DULL = ("wrong factor", "wrong exponent", "wrong variable", "wrong index", "missing factor", "extra factor")
"""Slips that are seen at a glance, or teach little; others are planted if there are any."""


def _derive(task: Task) -> Made:
    """Derive a gradient."""
    derivation, view = task.derivation(), task.view
    evidence = sure(derivation.evidence, "the answer")
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
        {**context(task, derivation), **formula_key(task, derivation.final), "evidence": evidence.level},
        task.solution(derivation),
        hint,
        [Paragraph(view.words("exercise.marks")), Items(items)] if items else None,
        answer_cell(task, derivation),
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
        right = next((e for e in step.equation[1:] if all(is_leaf(g.args[1]) for g in gradients_in(e))), None)
        if right is None or right == left or any(line.left == left for line in found):
            continue
        found.append(Line(step, left, right, _evidence(task, derivation, step, right)))
    return found


def _reason(view: View, derivation: Derivation, line: Line) -> Inline:
    """The rule of a line, unless it leaves out what lies between."""
    return view.reason(derivation, line.step) if line.right == line.step.equation[1] else ()


def _evidence(task: Task, derivation: Derivation, step: Step, right: Expr) -> Evidence:
    """What is known about a line: with the gradients in it written out it is compared with the function itself."""
    own = task.page.book.check(derivation, (step.left, right))
    if own.level in SURE:
        return own
    known = {g: task.page.book.derive(task.model, str(g.args[1])) for g in gradients_in(right)}
    if any(d.evidence.level not in SURE for d in known.values()):
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
    order = [i for i, line in enumerate(lines) if line.evidence.level in SURE]
    task.chance.shuffle(order)
    dull: list[Slip] = []
    for i in order:
        left, right = lines[i].left, lines[i].right
        words = Vocabulary(derivation.model, (left, right))
        changes = [
            e
            for e in edited(right, words)
            if gradients_in(e.value) == gradients_in(right)
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
            **context(task, derivation),
            **formula_key(task, line.right),
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
    able = [line for line in lines if line.evidence.level in SURE]
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
            **context(task, derivation),
            **formula_key(task, hidden.right),
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
        {**context(task, derivation), "answer": key, "evidence": "proved"},
    )


def _layout(task: Task) -> Made:
    """Choose the formula that is right in numerator layout."""
    derivation, view = task.derivation(), task.view
    right = derivation.final
    if is_scalar(derivation.wrt):
        raise UnsupportedError("the derivative by a number is the same in every layout")
    evidence = sure(derivation.evidence, "the answer")
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
        {**context(task, derivation), "answer": letter, "layout": asked, "evidence": evidence.level},
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
    "numbers": numbers,
    "layout": _layout,
    "question": _question,
}
