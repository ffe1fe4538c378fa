"""One exercise being made: what is asked, and the key that grading needs, which is proved or exactly verified."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Any

from sympy import Expr

from symgrad.api import Derivation
from symgrad.deriving.steps import Evidence
from symgrad.errors import SymgradError, UnsupportedError
from symgrad.expr import (
    Gradient,
    ScalarGradient,
    walk,
)
from symgrad.rendering.document import (
    Block,
    Inline,
    Paragraph,
    Reference,
)
from symgrad.rendering.numpy import to_numpy
from symgrad.rendering.page import Page
from symgrad.rendering.recipe import Item, RecipeModel
from symgrad.rendering.view import View

__all__ = ["SURE", "Made", "Task", "answer_cell", "context", "formula_key", "gradients_in", "sure"]

SURE = ("proved", "verified")


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


def sure(evidence: Evidence, what: str) -> Evidence:
    """The evidence of a key, which must be more than agreement in numbers.

    Raises   UnsupportedError if it is not
    """
    if evidence.level not in SURE:
        raise UnsupportedError(
            f"{what} is not proved, so it cannot be a key",
            hint="ask about another variable or a simpler model",
        )
    return evidence


def context(task: Task, derivation: Derivation) -> dict[str, Any]:
    """What grading needs to read an answer."""
    return {"model": task.model.text, "of": task.model.of, "wrt": str(task.item.wrt)}


def formula_key(task: Task, e: Expr) -> dict[str, Any]:
    """A formula as it is printed, and in the text language with the gradients in it written out."""
    from symgrad.rendering.latex import to_latex

    known = {g: task.page.book.derive(task.model, str(g.args[1])).final for g in gradients_in(e)}
    try:
        text: str | None = to_numpy(e.xreplace(known))
    except SymgradError:
        text = None
    return {"answer": text, "answer_latex": to_latex(e, task.view.notation)}


def answer_cell(task: Task, derivation: Derivation) -> str:
    """The cell of a notebook in which an answer is written and verified."""
    lines = "\n".join(line for line in task.model.text.strip().splitlines())
    return (
        f'model = symgrad.read_model("""\n{lines}\n""")\n\nanswer = ""\n\n'
        f'if answer:\n    print(symgrad.verify(answer, model, of="{task.model.of}", wrt="{task.item.wrt}"))'
    )


def gradients_in(e: Expr) -> list[Expr]:
    """The unevaluated gradients of scalars in an expression, in the order of its nodes."""
    return [n for n in walk(e) if isinstance(n, Gradient | ScalarGradient)]
