"""Handouts: a recipe is turned into documents in every language, and these into the texts of files."""

from __future__ import annotations

from collections.abc import Sequence

from symgrad.errors import RecipeError, SymgradError
from symgrad.rendering.document import Document, plain
from symgrad.rendering.formats import Format, write_document
from symgrad.rendering.notation import Notation
from symgrad.rendering.phrases import LANGUAGES, load
from symgrad.rendering.recipe import Recipe, Workbook, load_recipe, read_recipe
from symgrad.rendering.sections import KINDS, Page
from symgrad.rendering.sections_deep import DEEP_KINDS
from symgrad.rendering.view import View

__all__ = ["HANDOUT_FORMATS", "Recipe", "build", "document", "load_recipe", "read_recipe"]

HANDOUT_FORMATS: tuple[Format, ...] = ("md", "tex")

_KINDS = {**KINDS, **DEEP_KINDS}


def document(book: Workbook, lang: str, notation: Notation | None = None) -> Document:
    """The recipe as a document in one language.

    Raises   RecipeError saying which section cannot be made
    """
    recipe = book.recipe
    if lang not in recipe.title:
        raise RecipeError(
            f"the recipe {recipe.name} has no title in {lang!r}", hint=f"languages: {', '.join(recipe.title)}"
        )
    page = Page(book, View(load(lang), notation or Notation()))
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
    return Document(plain(recipe.title[lang]), tuple(page.blocks), lang)


def build(
    recipe: Recipe,
    langs: Sequence[str] = LANGUAGES,
    formats: Sequence[str] = HANDOUT_FORMATS,
    notation: Notation | None = None,
) -> dict[str, str]:
    """The files of a handout by name, e.g. `gradients.zh.tex`; everything is derived and checked here.

    Raises   RecipeError for a section, template, language or format that cannot be used
    """
    wanted: list[Format] = []
    for given in formats:
        known = next((f for f in HANDOUT_FORMATS if f == given), None)
        if known is None:
            raise RecipeError(
                f"a handout has no format {given!r}", hint=f"formats: {', '.join(HANDOUT_FORMATS)}"
            )
        wanted.append(known)
    for lang in langs:
        load(lang)
    book = Workbook(recipe)
    folders = [recipe.templates] if recipe.templates is not None else []
    result: dict[str, str] = {}
    for lang in langs:
        made = document(book, lang, notation)
        for form in wanted:
            result[f"{recipe.name}.{lang}.{form}"] = write_document(made, form, folders)
    return result
