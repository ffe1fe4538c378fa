"""Exercises made by the engine, with keys that were checked when they were made.

What is asked is drawn by a seed, so each student can have a variant. A variant whose key is not proved, or at least
verified by an exact test, is not printed.
"""

from __future__ import annotations

import random

from symgrad.errors import SymgradError, UnsupportedError
from symgrad.rendering.document import (
    Block,
    Exercise,
    Inline,
    Level,
    Paragraph,
    Part,
    Space,
    plain,
)
from symgrad.rendering.exercise_kinds import KINDS_OF_EXERCISES
from symgrad.rendering.exercise_tasks import Made, Task
from symgrad.rendering.page import Page
from symgrad.rendering.prose import paragraphs
from symgrad.rendering.recipe import Section

__all__ = ["exercises"]


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
    return Exercise(task.number, title, (*blocks, *parts), points, item.points)
