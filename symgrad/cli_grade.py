"""The command that grades answers: `grade`."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import click

from symgrad.errors import OutputError

__all__ = ["grade"]


@click.command()
@click.argument("answers", nargs=-1, required=True)
@click.option("--key", "key_file", required=True, help="The key file of the sheet, NAME.key.jsonl.")
@click.option("--lang", default="en", help="Language of the feedback: en, zh, or de (written by a machine).")
@click.option("--time-limit", default=10.0, type=click.FloatRange(min=0.1), help="Seconds an answer.")
@click.option("-o", "--output", help="A file to which grades are added; what is in it is not graded again.")
def grade(answers: tuple[str, ...], key_file: str, lang: str, time_limit: float, output: str | None) -> None:
    r"""Grade ANSWERS: JSON Lines (student, exercise, answer; step; seed), or filled notebooks.

    \b
    symgrad grade answers.jsonl --key sheet.key.jsonl -o grades.jsonl
    symgrad grade alice.ipynb bob.ipynb --key sheet.key.jsonl
    """
    from symgrad.files import read_text
    from symgrad.grading import answers_of_notebook, grade_all, read_keys
    from symgrad.rendering.phrases import load

    load(lang)
    keys = read_keys(read_text(key_file).splitlines())
    given: list[Any] = []
    for path in answers:
        text = read_text(path)
        if path.endswith(".ipynb"):
            given += answers_of_notebook(text, Path(path).stem)
        else:
            given += [line for line in text.splitlines() if line.strip()]
    before = _grades(Path(output)) if output else []
    done = frozenset(
        (str(g.get("student", "")), str(g.get("exercise")), int(g.get("seed", 0))) for g in before
    )
    lines_done = frozenset(g["line"] for g in before if isinstance(g.get("line"), int))
    found = grade_all(given, keys, lang=lang, seconds=time_limit, done=done, lines_done=lines_done)
    if output is None:
        for one in found:
            click.echo(json.dumps(one, ensure_ascii=False))
        return
    try:
        with Path(output).open("a", encoding="utf-8") as stream:
            for one in found:
                stream.write(json.dumps(one, ensure_ascii=False) + "\n")
                stream.flush()
                before.append(one)
    except OSError as error:
        raise OutputError(f"{output} cannot be written: {error.strerror or error}") from error
    _summary(before)


def _grades(path: Path) -> list[dict[str, Any]]:
    """The grades that a file holds; a line that was cut off in the middle is taken out of it."""
    if not path.is_file():
        return []
    from symgrad.files import read_text, write_text

    found, kept = [], []
    lines = read_text(str(path)).splitlines()
    for line in lines:
        try:
            found.append(json.loads(line))
            kept.append(line)
        except ValueError:
            continue
    if len(kept) != len(lines):
        write_text(path, "".join(line + "\n" for line in kept))
    return [g for g in found if isinstance(g, dict)]


def _summary(grades: list[dict[str, Any]]) -> None:
    """The points of every student, and how many answers a person has to look at."""
    points: dict[str, float] = defaultdict(float)
    open_ones: dict[str, int] = defaultdict(int)
    for g in grades:
        student = str(g.get("student", ""))
        points[student] += g.get("points") or 0
        open_ones[student] += g.get("points") is None
    for student in sorted(points):
        note = f", {open_ones[student]} to be looked at" if open_ones[student] else ""
        click.echo(f"{student or '(no name)'}: {points[student]:g}{note}", err=True)
