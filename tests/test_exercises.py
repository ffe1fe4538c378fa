"""Exercises: their keys are right, planted slips are wrong, and nothing of a solution reaches a student."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from functools import cache

import nbformat
import pytest

from symgrad.checking.equality import Refutation, equal
from symgrad.errors import RecipeError
from symgrad.expr import gradient
from symgrad.reading import read_question
from symgrad.rendering.document import Exercise
from symgrad.rendering.handout import Choice, document, made, read_recipe
from symgrad.rendering.recipe import EXERCISES
from symgrad.rendering.workbook import Workbook
from symgrad.verifying import verify

NET = """
[models.net]
of = "loss"
text = '''
W1 : h d
b1 : h
W2 : k h
b2 : k
x : d
y : k
z1 = W1 @ x + b1
a1 = sigmoid(z1)
z2 = W2 @ a1 + b2
loss = norm(z2 - y)**2 / 2
'''
"""
HIDDEN = "SECRETSOLUTION"
ITEMS = """
[[sections]]
kind = "exercises"
items = [
  { kind = "mistake", model = "net", wrt = "W1", points = 4, solution = "SECRETSOLUTION one" },
  { kind = "missing", model = "net", wrt = "W1", points = 2, answer = "SECRETSOLUTION two" },
  { kind = "shapes", model = "net", wrt = "W1", points = 3, space = 0 },
  { kind = "derive", model = "net", wrt = "W2", points = 5, hint = "HINTTEXT" },
  { kind = "layout", model = "net", wrt = "W1", points = 1 },
  { kind = "numbers", model = "net", wrt = "W2", points = 1 },
  { kind = "question", text = "Why?", solution = "SECRETSOLUTION three", points = 1 },
]
"""
SHEET = f'name = "sheet"\ntitle = {{ en = "Sheet", zh = "练习" }}\nname_field = true\n{NET}{ITEMS}'


@cache
def book() -> Workbook:
    return Workbook(read_recipe(SHEET))


@cache
def files(formats: tuple[str, ...] = ("md", "tex", "html", "ipynb"), seed: int = 0) -> dict[str, str | bytes]:
    choice = Choice(["en"], formats, ("student", "instructor"), (seed,))
    return dict(made(read_recipe(SHEET), choice))


def keys(seed: int = 0) -> list[dict[str, object]]:
    text = files(("md",), seed)["sheet.key.jsonl"]
    assert isinstance(text, str)
    return [json.loads(line) for line in text.splitlines()]


def plain(name: str, content: str | bytes) -> str:
    """The file as text: JSON and HTML without their escapes."""
    text = content if isinstance(content, str) else content.decode("latin-1")
    if name.endswith("ipynb"):
        return json.dumps(json.loads(text), ensure_ascii=False).replace("\\\\", "\\").replace("\\n", "\n")
    return html.unescape(text) if name.endswith("html") else text


# --- students see no solution ---------------------------------------------------------------------------------


def test_student_files_hold_nothing_of_a_solution() -> None:
    """Text, metadata, comments and alternative texts: all bytes of the files are searched."""
    found = files()
    students = {n: t for n, t in found.items() if ".instructor." not in n and "key" not in n}
    assert len(students) == 4
    answers = [str(k["answer_latex"]) for k in keys() if k["kind"] == "derive"]
    for name, content in students.items():
        text = plain(name, content)
        assert HIDDEN not in text, name
        assert "HINTTEXT" in text, name
        assert not any(a in text for a in answers), name
        assert not re.search(
            "(?i)solution|marking", re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)
        ), name
        instructor = name.replace("sheet.", "sheet.instructor.")
        whole = plain(instructor, found[instructor])
        assert whole.count(HIDDEN) == 3
        assert all(a in whole for a in answers), name


def test_the_key_is_written_for_instructors_only() -> None:
    assert "sheet.key.jsonl" in files()
    alone = dict(made(read_recipe(SHEET), Choice(["en"], ["md"])))
    assert list(alone) == ["sheet.en.md"]


def test_numbers_are_the_same_for_every_audience() -> None:
    marked = re.compile(r"\*\*\((\d[\d.]*)\)\*\*")
    student, instructor = (str(files()[f"sheet.{name}en.md"]) for name in ("", "instructor."))
    assert marked.findall(student) == marked.findall(instructor)
    assert "(S4.1)" in instructor


def test_points_are_added_up() -> None:
    assert "Points: 17" in str(files()["sheet.en.md"])


# --- keys ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_keys_are_right_and_planted_slips_are_wrong(seed: int) -> None:
    model = book().model("net").model
    for key in keys(seed):
        if key["kind"] == "derive":
            verdict = verify(str(key["answer"]), model, of="loss", wrt=str(key["wrt"]))
            assert verdict.verdict == "proved"
        if key["kind"] in ("mistake", "missing"):
            target = gradient(model.symbol("loss"), model.symbol(str(key["target"])))
            verdict = verify(str(key["answer"]), model, of="loss", wrt=str(key["target"]))
            assert verdict.is_right
            assert key["evidence"] in ("proved", "verified")
            assert target.shape == model.symbol(str(key["target"])).shape


def test_just_one_printed_equation_of_find_the_mistake_is_wrong() -> None:
    made_ = document(book(), "en")
    exercise = next(b for b in made_.blocks if isinstance(b, Exercise))
    key = keys()[0]
    text = str(files()["sheet.en.md"]).split("### Exercise")[1]
    shown = re.findall(r"\*\*\(1\.(\d)\)\*\*\n\n\$\$\n(.*)\n\$\$", text)
    assert len(shown) == 4
    model = book().model("net").model
    wrong = []
    for number, equation in shown:
        verdict = verify(equation, model, of="loss")
        if verdict.verdict == "refuted":
            wrong.append(int(number))
    assert wrong == [key["step"]]
    assert exercise.number == "1"


def test_the_numbers_of_a_key_are_those_of_the_function() -> None:
    key = next(k for k in keys() if k["kind"] == "numbers")
    assert key["evidence"] in ("proved", "verified")
    answer = key["answer"]
    assert isinstance(answer, list)
    assert any(v != 0 for row in answer for v in row)


def test_variants_differ_and_repeat() -> None:
    one, two = (files(("md",), seed)[f"sheet.{f'v{seed}.' if seed else ''}en.md"] for seed in (1, 2))
    assert one != two
    again = dict(made(read_recipe(SHEET), Choice(["en"], ["md"], ("student",), (1,))))
    assert again == {"sheet.v1.en.md": one}
    assert "Variant 1" in str(one)


# --- notebooks and languages -------------------------------------------------------------------------------------


def test_the_notebook_is_valid_and_has_a_cell_for_each_answer() -> None:
    for name in ("sheet.en.ipynb", "sheet.instructor.en.ipynb"):
        notebook = nbformat.reads(str(files()[name]), as_version=4)
        nbformat.validate(notebook)
    cells = nbformat.reads(str(files()["sheet.en.ipynb"]), as_version=4).cells
    asked = [c.metadata["symgrad"]["exercise"] for c in cells if "symgrad" in c.metadata]
    assert asked == ["1", "2", "4", "5", "6", "7"]
    code = next(c.source for c in cells if c.metadata.get("symgrad", {}).get("exercise") == "4")
    assert "symgrad.verify(answer, model" in code
    compile(code, "cell", "exec")


def test_two_languages_share_equations_and_numbers(markdown_problems: Callable[[str], list[str]]) -> None:
    both = dict(
        made(
            read_recipe(SHEET.replace('"Why?"', '{ en = "Why?", zh = "为什么？" }')),
            Choice(["en+zh"], ["md", "html"]),
        )
    )
    text = str(both["sheet.en+zh.md"])
    single = str(files()["sheet.en.md"])
    display = re.compile(r"(?ms)^\$\$\n(.*?)\n\$\$$")
    assert display.findall(text) == display.findall(single)
    assert "Exercise 4 / 练习 4" in text
    assert markdown_problems(text) == []
    assert 'lang="zh-CN"' in str(both["sheet.en+zh.html"])


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('"mistake"', '"mistke"'), "did you mean mistake"),
        (("points = 4", "points = -4"), "points is a whole number"),
        (('{ kind = "derive", model = "net", ', '{ kind = "derive", '), "needs model"),
        (('kind = "derive", model = "net"', 'kind = "derive", model = "no"'), "there is no model 'no'"),
        (("points = 5", "point = 5"), "unknown key 'point'"),
    ],
)
def test_a_wrong_exercise_is_refused_with_its_line(change: tuple[str, str], message: str) -> None:
    assert change[0] in SHEET
    with pytest.raises(RecipeError) as caught:
        read_recipe(SHEET.replace(*change))
    assert message in str(caught.value)
    assert caught.value.line is not None


def test_an_exercise_whose_key_is_not_proved_is_not_printed() -> None:
    recipe = 'name = "t"\ntitle = "T"\n[models.m]\nof = "L"\ntext = """\nx : n\nL = x @ x\n"""\n'
    recipe += '[[sections]]\nkind = "exercises"\nitems = [{ kind = "mistake", model = "m", wrt = "x" }]\n'
    with pytest.raises(RecipeError, match="exercise 1") as caught:
        dict(made(read_recipe(recipe), Choice(["en"], ["md"])))
    assert caught.value.line is not None


def test_the_table_of_kinds_is_the_one_that_is_made() -> None:
    from symgrad.rendering.exercise_kinds import KINDS_OF_EXERCISES

    assert set(KINDS_OF_EXERCISES) == set(EXERCISES)


# --- claims and pinned forms ----------------------------------------------------------------------------------------


def with_section(text: str) -> str:
    return f'name = "t"\ntitle = "T"\n{NET}\n[[sections]]\n{text}\nmodel = "net"\n'


def test_a_false_claim_stops_the_build_or_is_printed_as_refuted() -> None:
    claim = 'kind = "claim"\nclaim = "dloss/dz2 = y - z2"'
    with pytest.raises(RecipeError, match=r"dloss/dz2 = y - z2 is refuted") as caught:
        dict(made(read_recipe(with_section(claim)), Choice(["en"], ["md"])))
    assert "expect" in str(caught.value)
    text = dict(made(read_recipe(with_section(claim + '\nexpect = "refuted"')), Choice(["en"], ["md"])))[
        "t.en.md"
    ]
    assert "does not hold" in str(text)
    assert r"z_{2} - y" in str(text)
    right = claim.replace("y - z2", "z2 - y")
    assert "holds" in str(dict(made(read_recipe(with_section(right)), Choice(["en"], ["md"])))["t.en.md"])
    with pytest.raises(RecipeError, match="is true"):
        dict(made(read_recipe(with_section(right + '\nexpect = "refuted"')), Choice(["en"], ["md"])))


def test_a_pinned_form_is_checked_and_printed_as_it_stands() -> None:
    section = 'kind = "derivation"\nwrt = "W2"\nfinal = "outer(z2 - y, sigmoid(z1))"'
    text = str(dict(made(read_recipe(with_section(section)), Choice(["en"], ["md"])))["t.en.md"])
    assert r"(z_{2} - y) \sigma(z_{1})^{\top}" in text
    with pytest.raises(RecipeError, match="is not the gradient of loss by W2"):
        dict(made(read_recipe(with_section(section.replace("z2 - y", "y - z2"))), Choice(["en"], ["md"])))


def test_a_pinned_form_is_compared_by_the_checkers() -> None:
    model = book().model("net").model
    wrong = read_question("outer(y - z2, a1)", model=model)[1]
    left = gradient(model.symbol("loss"), model.symbol("W2"))
    assert isinstance(equal(model, left, wrong), Refutation)
