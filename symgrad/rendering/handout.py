"""Handouts: a recipe is turned into documents, by language, audience and variant, and these into files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from symgrad.errors import RecipeError, SymgradError
from symgrad.rendering.bilingual import side_by_side
from symgrad.rendering.document import AUDIENCES, Document, Inline, for_audience, plain
from symgrad.rendering.exercises import exercises
from symgrad.rendering.formats import write_with_pictures
from symgrad.rendering.notation import Notation
from symgrad.rendering.page import Page
from symgrad.rendering.phrases import REVIEWED, Catalogue, load
from symgrad.rendering.profiles import profile_for
from symgrad.rendering.recipe import Recipe
from symgrad.rendering.recipe_reader import load_recipe, read_recipe
from symgrad.rendering.sections import KINDS
from symgrad.rendering.sections_deep import DEEP_KINDS
from symgrad.rendering.view import View
from symgrad.rendering.workbook import Workbook

__all__ = [
    "HANDOUT_FORMATS",
    "Choice",
    "HandoutFormat",
    "Recipe",
    "Unit",
    "build",
    "check_choice",
    "document",
    "for_readers",
    "load_recipe",
    "made",
    "made_of",
    "read_recipe",
    "units",
]

HandoutFormat = Literal["md", "tex", "html", "pdf", "ipynb"]
HANDOUT_FORMATS: tuple[HandoutFormat, ...] = get_args(HandoutFormat)

_KINDS: dict[str, Callable[..., None]] = {**KINDS, **DEEP_KINDS, "exercises": exercises}
_MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july", "august", "september", "october"),
    *("november", "december"),
)


@dataclass(frozen=True)
class Choice:
    """What is made of a recipe.

    langs      languages, those written by people if not given; two joined by a plus (`en+zh`) stand side by side
    audiences  student (no answers, no solutions) and instructor; a file for instructors says so in its name
    variants   seeds of the exercises; a seed other than 0 is in the name of the file and on the sheet
    paper      of PDF and LaTeX, if the recipe's is not wanted; fonts are folders for PDF
    profiles   how Markdown and LaTeX are written (`profiles`), if not as the recipe says
    """

    langs: Sequence[str] = REVIEWED
    formats: Sequence[str] = ("md", "tex")
    audiences: Sequence[str] = ("student",)
    variants: Sequence[int] = (0,)
    notation: Notation | None = None
    paper: Literal["a4", "letter"] | None = None
    fonts: Sequence[Path] = ()
    profiles: Sequence[str] = ()


def document(book: Workbook, lang: str, notation: Notation | None = None, seed: int = 0) -> Document:
    """The recipe as a document in one language, with all that any audience may see.

    Raises   RecipeError saying which section cannot be made
    """
    return _pages(book, lang, notation, seed)[0]


def _pages(
    book: Workbook,
    lang: str,
    notation: Notation | None,
    seed: int,
    tell: Callable[[str], None] = lambda what: None,
) -> tuple[Document, list[dict[str, Any]]]:
    """The document, and the keys of its exercises."""
    if "+" in lang:
        langs = lang.split("+")
        sides = [_pages(book, one, notation, seed, tell) for one in langs]
        return side_by_side(*(d for d, _ in sides)), sides[0][1]
    recipe = book.recipe
    if lang not in recipe.title:
        raise RecipeError(
            f"the recipe {recipe.name} has no title in {lang!r}", hint=f"languages: {', '.join(recipe.title)}"
        )
    words = load(lang)
    page = Page(book, View(words, notation or recipe.notation, signs=True, compact=True), seed=seed)
    for section in recipe.sections:
        tell(f"{recipe.name}.{lang}: {section.kind}")
        try:
            _KINDS[section.kind](page, section)
        except SymgradError as error:
            if error.line is not None:
                raise
            raise RecipeError(
                f"the section {section.kind}: {error.message}",
                source=recipe.source,
                line=section.line,
                column=1,
                details=error.details,
                hint=error.hint,
            ) from error
    written = Document(
        plain(recipe.title[lang]),
        (*page.view.legend(page.blocks), *page.blocks),
        lang,
        head=_head(recipe, words, seed, page.points),
        paper=recipe.paper,
        fields=(words.phrases["sheet.name"],) if recipe.name_field else (),
        words=words.table("screen"),
    )
    return written, page.keys


def _head(recipe: Recipe, words: Catalogue, seed: int, points: int) -> tuple[Inline, ...]:
    """The lines below the title."""
    lines = [plain(given[words.lang]) for given in (recipe.course, recipe.lecturer) if words.lang in given]
    if recipe.date is not None:
        day = recipe.date
        month = day.month if words.lang == "zh" else words(f"month.{_MONTHS[day.month - 1]}")
        lines.append(words("sheet.date", year=day.year, month=month, day=day.day))
    if seed:
        lines.append(words("sheet.variant", seed=seed))
    if points:
        lines.append(words("sheet.total", points=points))
    return tuple(lines)


def for_readers(written: Document, audience: str) -> Document:
    """The document as an audience gets it."""
    shown = for_audience(written, "instructor" if audience == "instructor" else "student")
    if audience == "student":
        return shown
    lines = (load(lang)("sheet.instructor") for lang in written.lang.split("+"))
    return replace(shown, head=(*shown.head, *lines), fields=())


@dataclass(frozen=True)
class Unit:
    """A part of a handout that is made as a whole: one document in one format (or `key`: the keys of all of them)."""

    seed: int
    lang: str
    audience: str
    form: str


def units(recipe: Recipe, choice: Choice) -> list[Unit]:
    """What is made of a recipe, in order."""
    found = [
        Unit(seed, lang, audience, form)
        for seed in choice.variants
        for lang in choice.langs
        for audience in choice.audiences
        for form in choice.formats
    ]
    if "instructor" in choice.audiences and any(s.kind == "exercises" for s in recipe.sections):
        found.append(Unit(0, choice.langs[0], "instructor", "key"))
    return found


def check_choice(recipe: Recipe, choice: Choice) -> None:
    """Refuse what there is not.

    Raises   RecipeError for a language, format, audience or profile
    """
    for form in choice.formats:
        if form not in HANDOUT_FORMATS:
            raise RecipeError(
                f"a handout has no format {form!r}", hint=f"formats: {', '.join(HANDOUT_FORMATS)}"
            )
        profile_for(form, choice.profiles)
    for lang in choice.langs:
        for one in lang.split("+"):
            load(one)
    for audience in choice.audiences:
        if audience not in AUDIENCES:
            raise RecipeError(f"there is no audience {audience!r}", hint="student or instructor")


def made(recipe: Recipe, choice: Choice, book: Workbook | None = None) -> Iterator[tuple[str, str | bytes]]:
    """The files of a handout one after the other, e.g. `gradients.zh.tex`; all is derived and checked here.

    What is in the `book` already, the derivations of the recipe, is not derived again.

    Raises   RecipeError for a section, template, language or format that cannot be used
    """
    for _, files in made_of(recipe, choice, units(recipe, choice), book=book):
        yield from files.items()


def made_of(
    recipe: Recipe,
    choice: Choice,
    wanted: Sequence[Unit],
    tell: Callable[[str], None] = lambda what: None,
    book: Workbook | None = None,
) -> Iterator[tuple[Unit, dict[str, str | bytes]]]:
    """The units that are wanted with their files; `tell` hears of every section and document that is begun.

    Raises   RecipeError for a section, template, language or format that cannot be used
    """
    check_choice(recipe, choice)
    book = Workbook(recipe) if book is None else book
    folders = [recipe.templates] if recipe.templates is not None else []
    key = next((unit for unit in wanted if unit.form == "key"), None)
    keys: list[dict[str, Any]] = []
    for seed in choice.variants:
        for lang in choice.langs:
            here = [u for u in wanted if (u.seed, u.lang) == (seed, lang) and u is not key]
            if not here and not (key and lang == choice.langs[0]):
                continue
            written, found = _pages(book, lang, choice.notation, seed, tell)
            if choice.paper is not None:
                written = replace(written, paper=choice.paper)
            keys += found if lang == choice.langs[0] else []
            for unit in here:
                shown = for_readers(written, unit.audience)
                parts = [recipe.name, *([f"v{seed}"] if seed else [])]
                parts += [*(["instructor"] if unit.audience == "instructor" else []), lang]
                name = ".".join(parts)
                tell(f"{name}.{unit.form}")
                yield unit, dict(_files(replace(shown, name=name), unit.form, folders, recipe, choice))
    if key is not None and keys:
        lines = (json.dumps({"recipe": recipe.name, **one}, ensure_ascii=False) for one in keys)
        yield key, {f"{recipe.name}.key.jsonl": "".join(line + "\n" for line in lines)}


def _files(
    shown: Document, form: str, folders: Sequence[Path], recipe: Recipe, choice: Choice
) -> Iterator[tuple[str, str | bytes]]:
    """The document in a format, and the pictures that lie beside it."""
    profile = profile_for(form, choice.profiles or recipe.profiles)
    if profile is not None:
        text, pictures = write_with_pictures(shown, profile, folders)
        yield f"{shown.name}.{profile.suffix}", text
        yield from pictures.items()
        return
    yield f"{shown.name}.{form}", _written(shown, form, folders, choice)


def _written(shown: Document, form: str, folders: Sequence[Path], choice: Choice) -> str | bytes:
    if form == "pdf":
        from symgrad.rendering.pdf import write_pdf

        return write_pdf(shown, folders, choice.fonts)
    if form == "html":
        from symgrad.rendering.html import write_html

        return write_html(shown, folders)
    from symgrad.rendering.notebook import write_notebook

    return write_notebook(shown, folders)


def build(
    recipe: Recipe,
    langs: Sequence[str] = REVIEWED,
    formats: Sequence[str] = ("md", "tex"),
    notation: Notation | None = None,
) -> dict[str, str | bytes]:
    """The files of a handout for students by name.

    Raises   RecipeError for a section, template, language or format that cannot be used
    """
    return dict(made(recipe, Choice(langs, formats, notation=notation)))
