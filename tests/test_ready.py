"""Every ready recipe in every language, for both audiences, in every format; students' files hold no solutions."""

from __future__ import annotations

import html
import io
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from pypdf import PdfReader

from symgrad.rendering.document import (
    Block,
    Document,
    Equation,
    Formula,
    Part,
    Words,
    for_audience,
    inlines,
    inside,
)
from symgrad.rendering.handout import HANDOUT_FORMATS, Choice, document, load_recipe, made
from symgrad.rendering.phrases import LANGUAGES, load
from symgrad.rendering.recipe_reader import ready_recipes
from symgrad.rendering.workbook import Workbook

RECIPES = [name for name, _ in ready_recipes()]
LONG = 9
"""Shorter words and formulas stand anywhere."""


def pieces(blocks: tuple[Block, ...]) -> Iterator[str]:
    """The words and formulas of blocks, as they are in no format."""
    for block in blocks:
        for line in inlines(block):
            yield from (p.text for p in line if isinstance(p, Words))
            yield from (p.latex for p in line if isinstance(p, Formula))
        if isinstance(block, Equation):
            for row in block.rows:
                yield " ".join(f.latex for f in (row.left, row.relation, row.right) if f is not None)
        yield from pieces(inside(block))


def parts(blocks: tuple[Block, ...]) -> Iterator[Part]:
    for block in blocks:
        yield from [block] if isinstance(block, Part) and block.level != "hint" else []
        yield from parts(inside(block))


def secrets(whole: Document) -> set[str]:
    """What stands in answers, solutions and notes for marking, and nowhere else."""
    shown = "\n".join(plain(text) for text in pieces(for_audience(whole, "student").blocks))
    told = {plain(text) for part in parts(whole.blocks) for text in pieces((part,))}
    return {text for text in told if len(text.encode()) > LONG and text not in shown}


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list) and all(isinstance(v, str) for v in value):
        yield "".join(value)
    elif isinstance(value, dict | list):
        for v in value.values() if isinstance(value, dict) else value:
            yield from strings(v)


def text_of(name: str, content: str | bytes) -> str:
    """Everything that can be read in a file: text, metadata, comments, descriptions of pictures, attributes."""
    if isinstance(content, bytes):
        if name.endswith(".pdf"):
            reader = PdfReader(io.BytesIO(content))
            return "\n".join([*(p.extract_text() for p in reader.pages), str(reader.metadata)])
        return ""
    if name.endswith(".ipynb"):
        return "\n".join(strings(json.loads(content)))
    return html.unescape(content) if name.endswith(".html") else content


def plain(text: str) -> str:
    """Without blanks and what escapes a character: formats differ in them."""
    return re.sub(r"[\s\\{}&$]", "", text)


def formats(recipe: str, lang: str) -> tuple[str, ...]:
    """All formats in one language of each recipe, the quick ones in the others; a benchmark makes all of them."""
    whole = LANGUAGES[RECIPES.index(recipe) % len(LANGUAGES)] == lang
    return HANDOUT_FORMATS if whole else ("md", "tex", "ipynb")


@pytest.mark.parametrize("recipe", RECIPES)
def test_it_is_made_and_students_get_no_solutions(recipe: str) -> None:
    """Warnings of Typst are errors, so a PDF that is made has none; every formula was checked on the way."""
    loaded = load_recipe(recipe)
    book = Workbook(loaded)
    for lang in LANGUAGES:
        choice = Choice([lang], formats(recipe, lang), ("student", "instructor"))
        files = dict(made(loaded, choice, book))
        hidden = secrets(document(book, lang))
        assert hidden or recipe == "gradients"  # the notes have no exercises
        names = {
            "".join(w.text for w in load(lang)(f"exercise.{k}")) for k in ("answer", "solution", "marking")
        }
        for form in choice.formats:
            student = text_of(f"x.{form}", files[f"{recipe}.{lang}.{form}"])
            instructor = text_of(f"x.{form}", files[f"{recipe}.instructor.{lang}.{form}"])
            assert len(student) > 500
            found = {secret for secret in hidden if secret in plain(student)}
            assert found == set(), (lang, form)
            assert not re.search(r"(?m)^\W*(" + "|".join(names) + r")\W*$", student), (lang, form)
            words = {secret for secret in hidden if not re.search(r"[=^_]|frac|left", secret)}
            able = words if form == "pdf" else hidden  # formulas of a PDF are glyphs at their places
            assert not able or any(secret in plain(instructor) for secret in able), (lang, form)
