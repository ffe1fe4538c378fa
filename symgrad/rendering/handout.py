"""Handouts: a recipe is turned into documents in every language, and these into files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from symgrad.errors import RecipeError, SymgradError
from symgrad.rendering.document import Document, plain
from symgrad.rendering.formats import write_document
from symgrad.rendering.notation import Notation
from symgrad.rendering.phrases import LANGUAGES, load
from symgrad.rendering.recipe import Recipe, Workbook, load_recipe, read_recipe
from symgrad.rendering.sections import KINDS, Page
from symgrad.rendering.sections_deep import DEEP_KINDS
from symgrad.rendering.view import View

__all__ = [
    "HANDOUT_FORMATS",
    "Choice",
    "HandoutFormat",
    "Recipe",
    "build",
    "document",
    "load_recipe",
    "made",
    "read_recipe",
]

HandoutFormat = Literal["md", "tex", "html", "pdf"]
HANDOUT_FORMATS: tuple[HandoutFormat, ...] = get_args(HandoutFormat)

_KINDS: dict[str, Callable[..., None]] = {**KINDS, **DEEP_KINDS}


@dataclass(frozen=True)
class Choice:
    """What is made of a recipe: formats, languages, fonts for PDF."""

    langs: Sequence[str] = LANGUAGES
    formats: Sequence[str] = ("md", "tex")
    notation: Notation | None = None
    fonts: Sequence[Path] = ()


def document(book: Workbook, lang: str, notation: Notation | None = None) -> Document:
    """The recipe as a document in one language.

    Raises   RecipeError saying which section cannot be made
    """
    recipe = book.recipe
    if lang not in recipe.title:
        raise RecipeError(
            f"the recipe {recipe.name} has no title in {lang!r}", hint=f"languages: {', '.join(recipe.title)}"
        )
    page = Page(book, View(load(lang), notation or Notation(), signs=True, compact=True))
    for section in recipe.sections:
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
    blocks = [*page.view.legend(page.blocks), *page.blocks]
    return Document(plain(recipe.title[lang]), tuple(blocks), lang, words=page.words.table("screen"))


def made(recipe: Recipe, choice: Choice) -> Iterator[tuple[str, str | bytes]]:
    """The files of a handout one after the other, e.g. `gradients.zh.tex`; all is derived and checked here.

    Raises   RecipeError for a section, template, language or format that cannot be used
    """
    for form in choice.formats:
        if form not in HANDOUT_FORMATS:
            raise RecipeError(
                f"a handout has no format {form!r}", hint=f"formats: {', '.join(HANDOUT_FORMATS)}"
            )
    for lang in choice.langs:
        load(lang)
    book = Workbook(recipe)
    folders = [recipe.templates] if recipe.templates is not None else []
    for lang in choice.langs:
        written = document(book, lang, choice.notation)
        for form in choice.formats:
            yield f"{recipe.name}.{lang}.{form}", _written(written, form, folders, choice)


def _written(document: Document, form: str, folders: Sequence[Path], choice: Choice) -> str | bytes:
    if form == "pdf":
        from symgrad.rendering.pdf import write_pdf

        return write_pdf(document, folders, choice.fonts)
    if form == "html":
        from symgrad.rendering.html import write_html

        return write_html(document, folders)
    return write_document(document, "md" if form == "md" else "tex", folders)


def build(
    recipe: Recipe,
    langs: Sequence[str] = LANGUAGES,
    formats: Sequence[str] = ("md", "tex"),
    notation: Notation | None = None,
) -> dict[str, str]:
    """The text files of a handout by name.

    Raises   RecipeError for a section, template, language or format that cannot be used
    """
    files = made(recipe, Choice(langs, formats, notation))
    return {name: text for name, text in files if isinstance(text, str)}
