"""The command that makes handouts: `handout`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from symgrad.errors import MissingExtraError, OutputError, RecipeError

if TYPE_CHECKING:
    from symgrad.rendering.handout import Choice
    from symgrad.rendering.recipe import Recipe

__all__ = ["handout"]

_FORMATS = ("md", "tex", "html", "pdf", "ipynb")


@click.command()
@click.argument("recipes", nargs=-1)
@click.option("-o", "--output", help="The folder; output/RECIPE if not given.")
@click.option(
    "--lang",
    help="Languages, e.g. en,zh; en+zh puts them side by side; if not given, those of the recipe, without "
    "the ones that a machine wrote (de).",
)
@click.option("--to", "formats", default="md,tex", help="Formats: md, tex, html, pdf, ipynb.")
@click.option(
    "--profile",
    "profiles",
    default="",
    help="How Markdown and LaTeX are written: portable, github, myst, quarto; article, exam. E.g. myst,exam.",
)
@click.option(
    "--audience",
    "audiences",
    default="student",
    help="student, instructor, or both, e.g. student,instructor.",
)
@click.option("--seed", default=0, type=click.IntRange(0, 10**6), help="Which variant of the exercises.")
@click.option(
    "--variants", default=0, type=click.IntRange(0, 500), help="So many variants, from --seed (or 1) on."
)
@click.option("--paper", type=click.Choice(["a4", "letter"]), help="The paper, if not that of the recipe.")
@click.option("--font-path", "fonts", multiple=True, help="A folder with more fonts for PDF.")
@click.option("--force", is_flag=True, help="Make everything again, also what is as it would be.")
@click.option("--new", is_flag=True, help="Write a commented starter to the file RECIPE (or handout.toml).")
@click.option("--list", "listed", is_flag=True, help="List the ready recipes.")
def handout(recipes: tuple[str, ...], **options: Any) -> None:
    r"""Make handouts from RECIPES: ready ones (gradients), TOML files, or Markdown files with directives.

    A second run makes only what its recipe, templates, fonts, options or symgrad itself have changed.

    \b
    symgrad handout softmax --to pdf,html --audience student,instructor -o sheets
    symgrad handout NOTES.md --to md,tex --profile quarto,exam
    """
    from symgrad.rendering.building import build, planned
    from symgrad.rendering.recipe_reader import load_recipe, ready_recipes

    if options["listed"]:
        for name, title in ready_recipes():
            click.echo(f"{name:18} {title}")
        return
    if options["new"]:
        _starter(Path(recipes[0] if recipes else "handout.toml"))
        return
    if not recipes:
        raise click.UsageError(
            "a recipe is missing; --list shows the ready ones, --new writes one to start from"
        )
    loaded = [load_recipe(recipe) for recipe in recipes]
    names = [recipe.name for recipe in loaded]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise RecipeError(f"two of the recipes have the name {twice}", hint="their files would be the same")
    lacking: MissingExtraError | None = None
    asked: list[tuple[Recipe, Choice, Path]] = []
    for given, recipe in zip(recipes, loaded, strict=True):
        choice, lacking = _choice(recipe, options)
        folder = Path(options["output"]) if options["output"] else Path("output") / Path(given).stem
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"{folder} is a file, not a folder")
        asked.append((recipe, choice, folder))
    plans = [planned(r, c, f, force=options["force"]) for r, c, f in asked]
    with _progress(sum(plan.steps for plan in plans)) as tell:
        files = build(plans, tell)
    for path in files.written:
        click.echo(str(path), err=True)
    if files.kept:
        click.echo(
            f"{files.kept} {'file is' if files.kept == 1 else 'files are'} kept: nothing that they are made "
            "of has changed (--force makes them again)",
            err=True,
        )
    if lacking is not None:
        raise lacking


def _starter(target: Path) -> None:
    from symgrad.files import write_text
    from symgrad.rendering.recipe_reader import starter

    if target.exists():
        raise OutputError(f"{target} is there already", hint="give another name, or remove it")
    write_text(target, starter())
    click.echo(f"{target}: symgrad handout {target} -o . makes the handout", err=True)


def _choice(recipe: Recipe, options: dict[str, Any]) -> tuple[Choice, MissingExtraError | None]:
    """What is to be made, and the extra that is missing for a part of it."""
    from symgrad.rendering.handout import Choice
    from symgrad.rendering.pdf import has_typst, missing_typst
    from symgrad.rendering.phrases import REVIEWED

    wanted = _listed(options["formats"])
    for form in wanted:
        if form not in _FORMATS:
            raise click.UsageError(f"there is no format {form!r}; available: {', '.join(_FORMATS)}")
    audiences = _listed(options["audiences"])
    for audience in audiences:
        if audience not in ("student", "instructor"):
            raise click.UsageError(f"--audience is {audience!r}; it is one of: student, instructor")
    lacking: MissingExtraError | None = None
    if "pdf" in wanted and not has_typst():
        lacking = missing_typst()
        wanted = [f for f in wanted if f != "pdf"] or ["md", "tex"]
    languages = _listed(options["lang"] or "")
    languages = languages or [lang for lang in recipe.title if lang in REVIEWED] or list(recipe.title)
    first = options["seed"] or 1
    return Choice(
        languages,
        wanted,
        audiences,
        range(first, first + options["variants"]) if options["variants"] else [options["seed"]],
        paper=options["paper"],
        fonts=[Path(f) for f in options["fonts"]],
        profiles=_listed(options["profiles"]),
    ), lacking


def _listed(text: str) -> list[Any]:
    return list(dict.fromkeys(w.strip() for w in text.split(",") if w.strip()))


@contextmanager
def _progress(steps: int) -> Iterator[Callable[[str], None]]:
    """A function that is told of every section and file that is begun; a bar shows them on a terminal."""
    if not sys.stderr.isatty() or not steps:
        yield lambda what: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=steps)
        done = -1

        def tell(what: str) -> None:
            nonlocal done
            done += 1
            bar.update(task, completed=done, description=what)

        yield tell
