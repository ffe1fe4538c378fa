"""Handouts: time per page and format, whole commands, a course in one run, building again, sizes of files."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pypdf import PdfReader
from timing import best, row

from symgrad.rendering.formats import write_with_pictures
from symgrad.rendering.handout import HANDOUT_FORMATS, Choice, document, for_readers, load_recipe, made
from symgrad.rendering.html import write_html
from symgrad.rendering.notebook import write_notebook
from symgrad.rendering.pdf import write_pdf
from symgrad.rendering.phrases import LANGUAGES
from symgrad.rendering.profiles import PROFILES, profile_for
from symgrad.rendering.recipe_reader import ready_recipes
from symgrad.rendering.templates import template_folder
from symgrad.rendering.workbook import Workbook


def pages(content: bytes) -> int:
    return len(PdfReader(io.BytesIO(content)).pages)


def writing() -> None:
    """Writing the notes, which are derived already, in every format and profile."""
    shown = for_readers(document(Workbook(load_recipe("gradients")), "en"), "student")
    pdf = write_pdf(shown)
    count = pages(pdf)

    def timed(name: str, write: Callable[[], object], size: int) -> None:
        row(
            f"notes as {name}, {count} pages",
            f"{1000 * best(write, 3) / count:.1f} ms/page, {size / 1000:.0f} kB",
            "",
        )

    timed("pdf", lambda: write_pdf(shown), len(pdf))
    timed("html", lambda: write_html(shown), len(write_html(shown).encode()))
    timed("ipynb", lambda: write_notebook(shown), len(write_notebook(shown).encode()))
    for profile in PROFILES:
        text, pictures = write_with_pictures(shown, profile)
        size = len(text.encode()) + sum(map(len, pictures.values()))
        timed(f"{profile.form} ({profile.name})", lambda p=profile: write_with_pictures(shown, p), size)  # type: ignore[misc]
    assert profile_for("md") is not None


def command(*arguments: str) -> float:
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "symgrad", "handout", *arguments], check=False, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
    return time.perf_counter() - start


def commands() -> None:
    """The notes by one command, and a course of all ready recipes: made, made again, made after a change."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole = ["gradients", "--to", ",".join(HANDOUT_FORMATS), "-o", str(folder / "notes")]
        row(
            "symgrad handout gradients, 2 languages, 5 formats",
            f"{command(*whole):.1f} s",
            "2 min with the install",
        )
        row("the same again, nothing changed", f"{command(*whole):.2f} s", "")
        recipes = [folder / f"{recipe}.toml" for recipe, _ in ready_recipes()]
        for path in recipes:
            shutil.copy(template_folder() / "recipes" / path.name, path)
        course = [*map(str, recipes), "--lang", "en,zh", "--to", "pdf", "-o", str(folder / "course")]
        seconds = command(*course)
        made_ = [path.read_bytes() for path in (folder / "course").glob("*.pdf")]
        total = sum(map(pages, made_))
        row(
            f"a course of {len(recipes)} recipes, {total} pages of PDF in one run",
            f"{seconds:.1f} s, {60 * seconds / total:.1f} s for 60 pages, {sum(map(len, made_)) / 1000:.0f} kB",
            "",
        )
        row("the same again, nothing changed", f"{command(*course):.2f} s", "")
        mlp = next(path for path in recipes if path.stem == "mlp")
        mlp.write_text(mlp.read_text().replace("Two layers", "A network of two layers"))
        row("after a change of one English title", f"{command(*course):.2f} s", "one file of 16 is made")


def everything() -> None:
    """Every ready recipe in every language, for both audiences, in every format: the loop of the tests, in full."""
    start, count = time.perf_counter(), 0
    for recipe, _ in ready_recipes():
        choice = Choice(LANGUAGES, HANDOUT_FORMATS, ("student", "instructor"))
        count += sum(1 for _ in made(load_recipe(recipe), choice))
    row(
        f"all ready recipes, {len(LANGUAGES)} languages, {count} files",
        f"{time.perf_counter() - start:.1f} s",
        "",
    )


def handouts() -> None:
    """All figures of handouts."""
    writing()
    commands()
    everything()


if __name__ == "__main__":
    handouts()
