"""A second run makes what has changed, and nothing else; an interrupted one leaves nothing."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from symgrad.cli import run
from symgrad.errors import RecipeError
from symgrad.rendering import building
from symgrad.rendering.building import STATE, build, planned
from symgrad.rendering.handout import Choice, load_recipe

RECIPE = """
name = "small"
title = { en = "Small", zh = "小" }
[models.m]
of = "L"
text = '''
w : d
x : d
L = norm(w - x)**2
'''
[[sections]]
kind = "derivation"
model = "m"
wrt = "w"
title = { en = "One", zh = "一" }
[[sections]]
kind = "exercises"
items = [ { kind = "derive", model = "m", wrt = "x", points = 2 } ]
"""
BOTH = ("student", "instructor")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "small.toml").write_text(RECIPE, encoding="utf-8")
    return tmp_path


def made(place: Path, *, force: bool = False, **options: object) -> tuple[set[str], int]:
    """The names of the files that are written, and how many are kept."""
    choice = Choice(**{"langs": ["en", "zh"], "formats": ["md"], "audiences": BOTH, **options})  # type: ignore[arg-type]
    built = build([planned(load_recipe(place / "small.toml"), choice, place / "out", force=force)])
    return {path.name for path in built.written}, built.kept


ALL = {"small.en.md", "small.zh.md", "small.instructor.en.md", "small.instructor.zh.md", "small.key.jsonl"}
ENGLISH = {"small.en.md", "small.instructor.en.md", "small.key.jsonl"}


def change(place: Path, old: str, new: str) -> None:
    path = place / "small.toml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_the_second_run_keeps_everything_and_force_makes_it_again(place: Path) -> None:
    assert made(place) == (ALL, 0)
    before = {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in (place / "out").iterdir()}
    assert made(place) == (set(), 5)
    assert {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in (place / "out").iterdir()} == before
    assert made(place, force=True) == (ALL, 0)
    assert {p.name: p.read_bytes() for p in (place / "out").iterdir()} == {
        n: c for n, (c, _) in before.items()
    }


def template(place: Path) -> None:
    (place / "mine" / "document").mkdir(parents=True, exist_ok=True)
    (place / "mine" / "document" / "md.jinja").write_text(
        "<% block heading %>\n# << content >>\n<% endblock %>\n"
    )


CHANGES: list[tuple[str, Callable[[Path], object], set[str]]] = [
    ("a word in one language", lambda p: change(p, 'en = "One"', 'en = "First"'), ENGLISH),
    ("a model", lambda p: change(p, "norm(w - x)", "norm(x - w)"), ALL),
    ("points", lambda p: change(p, "points = 2", "points = 3"), ALL),
    ("the notation", lambda p: change(p, "[models.m]", "[notation]\nbold = true\n[models.m]"), ALL),
    ("a comment", lambda p: change(p, "[models.m]", "# nothing\n\n[models.m]"), set()),
    ("a file by hand", lambda p: (p / "out" / "small.zh.md").write_text("mine"), {"small.zh.md"}),
    ("a file that is gone", lambda p: (p / "out" / "small.en.md").unlink(), {"small.en.md"}),
    ("what is remembered", lambda p: (p / "out" / STATE).write_text("[broken"), ALL),
    ("what is remembered, other data", lambda p: (p / "out" / STATE).write_text('{"a": [1]}'), ALL),
]


@pytest.mark.parametrize(("what", "action", "again"), CHANGES, ids=[c[0] for c in CHANGES])
def test_what_has_changed_is_made_again(
    place: Path, what: str, action: Callable[[Path], object], again: set[str]
) -> None:
    made(place)
    action(place)
    assert made(place) == (again, 5 - len(again)), what
    fresh = place / "fresh"
    choice = Choice(["en", "zh"], ["md"], BOTH)
    build([planned(load_recipe(place / "small.toml"), choice, fresh)])
    for path in fresh.iterdir():  # never stale: as if all had been made now
        if path.name != STATE:
            assert path.read_bytes() == (place / "out" / path.name).read_bytes(), path.name


def test_templates_options_and_symgrad_itself_count(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    template(place)
    change(place, 'name = "small"', 'name = "small"\ntemplates = "mine"')
    assert made(place) == (ALL, 0)
    path = place / "mine" / "document" / "md.jinja"
    path.write_text(path.read_text().replace("# ", "#### "))
    assert made(place) == (ALL, 0)
    assert made(place, profiles=["myst"])[0] >= ALL - {"small.key.jsonl"}
    assert made(place, paper="letter", profiles=["myst"])[0]
    monkeypatch.setattr(building, "_symgrad", lambda: "another release")
    assert made(place, paper="letter", profiles=["myst"])[1] == 0


def test_nothing_is_written_if_a_part_cannot_be_made(place: Path) -> None:
    made(place)
    before = {p.name: p.read_bytes() for p in (place / "out").iterdir()}
    change(
        place,
        '[[sections]]\nkind = "exercises"',
        '[[sections]]\nkind = "claim"\nmodel = "m"\nclaim = "dL/dw = w"\n[[sections]]\nkind = "exercises"',
    )
    with pytest.raises(RecipeError, match=r"the claim dL/dw = w is refuted"):
        made(place)
    assert {p.name: p.read_bytes() for p in (place / "out").iterdir()} == before


def test_the_command_says_what_is_kept(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["handout", str(place / "small.toml"), "-o", str(place / "out"), "--to", "md", "--lang", "en"]
    assert run(command) == 0
    assert "kept" not in capsys.readouterr().err
    assert run(command) == 0
    shown = capsys.readouterr()
    assert "1 file is kept" in shown.err and "small.en.md" not in shown.err and shown.out == ""
    assert run([*command, "--force"]) == 0
    assert "small.en.md" in capsys.readouterr().err


def test_several_recipes_are_made_together_or_not_at_all(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = place / "other.toml"
    other.write_text(RECIPE.replace('name = "small"', 'name = "other"').replace("w - x", "w - z"))
    command = ["handout", str(place / "small.toml"), str(other), "-o", str(place / "out"), "--to", "md"]
    assert run(command) == 2  # z has no shape
    assert not (place / "out").exists()
    other.write_text(RECIPE.replace('name = "small"', 'name = "other"'))
    assert run(command) == 0
    assert {"small.en.md", "other.zh.md"} <= {p.name for p in (place / "out").iterdir()}
    state = json.loads((place / "out" / STATE).read_text())
    assert {name.split("/")[0] for name in state} == {"small", "other"}
    other.write_text(RECIPE)
    capsys.readouterr()
    assert run(command) == 2
    assert "two of the recipes have the name small" in capsys.readouterr().err


@pytest.mark.parametrize("begun", [0, 3, 8])
def test_an_interrupted_run_leaves_nothing(place: Path, begun: int) -> None:
    """Wherever it is stopped: in a section, in a file, before the last one."""
    told: list[str] = []

    def tell(what: str) -> None:
        told.append(what)
        if len(told) > begun:
            raise KeyboardInterrupt

    plan = planned(
        load_recipe(place / "small.toml"), Choice(["en", "zh"], ["md", "tex"], BOTH), place / "out"
    )
    assert plan.steps > begun
    with pytest.raises(KeyboardInterrupt):
        build([plan], tell)
    assert not (place / "out").exists()


def test_a_bar_is_shown_on_a_terminal_and_not_in_a_pipe(place: Path) -> None:
    command = [sys.executable, "-m", "symgrad", "handout", str(place / "small.toml"), "--force", "--to", "md"]
    command += ["-o", str(place / "out")]
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(command, stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    seen = b""
    while select.select([master], [], [], 60)[0]:
        try:
            chunk = os.read(master, 65536)
        except OSError:  # the other end is closed
            break
        if not chunk:
            break
        seen += chunk
    assert process.wait(timeout=60) == 0
    os.close(master)
    assert "━" in seen.decode() and "small.en.md" in seen.decode()
    piped = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "━" not in piped.stderr and piped.stdout == ""
