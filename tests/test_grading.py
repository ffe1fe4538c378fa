"""Grading: right answers in any form are right, wrong ones are told why, and nothing stops the batch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from symgrad.cli import run
from symgrad.grading import answers_of_notebook, grade, grade_all, read_keys

MODEL = "W : k d\nb : k\nx : d\ny : k onehot\nz = W @ x + b\np = softmax(z)\nL = -sum(y * log(p))\n"
BASE = {"model": MODEL, "of": "L", "wrt": "W", "points": 4, "seed": 0}
DERIVE = {**BASE, "kind": "derive", "exercise": "1", "answer": "outer(p - y, x)"}
MISTAKE = {**BASE, "kind": "mistake", "exercise": "2", "step": 2, "target": "z", "answer": "p - y"}
SHAPES = {**BASE, "kind": "shapes", "exercise": "3", "answer": [["k", "1"], ["k", "d"], []]}
NUMBERS = {**BASE, "kind": "numbers", "exercise": "4", "answer": [[1.5], [-2.0]]}
LAYOUT = {**BASE, "kind": "layout", "exercise": "5", "answer": "c"}
QUESTION = {"kind": "question", "exercise": "6", "points": 2, "seed": 0}
ALL = (DERIVE, MISTAKE, SHAPES, NUMBERS, LAYOUT, QUESTION)


@pytest.mark.parametrize(
    ("key", "answer", "verdict", "points"),
    [
        (DERIVE, {"answer": "outer(p - y, x)"}, "right", 4),
        (DERIVE, {"answer": "outer(softmax(W @ x + b) - y, x)"}, "right", 4),
        (DERIVE, {"answer": r"(p - y) x^\top"}, "right", 4),
        (DERIVE, {"answer": r"\frac{\partial L}{\partial W} = (p - y) x^T"}, "right", 4),
        (DERIVE, {"answer": "outer(y - p, x)"}, "wrong", 0),
        (DERIVE, {"answer": r"\frac{\partial L}{\partial W}"}, "undecided", None),
        (DERIVE, {"answer": r"\frac{\partial L}{\partial z} x^\top"}, "undecided", None),
        (DERIVE, {"answer": "dL/db = p - y"}, "undecided", None),
        (DERIVE, {"answer": "outer(p - y"}, "unreadable", None),
        (DERIVE, {"answer": "__import__('os').system('true')"}, "unreadable", None),
        (DERIVE, {"answer": 7}, "unreadable", None),
        (DERIVE, {}, "unreadable", None),
        (MISTAKE, {"step": 2, "answer": "p - y"}, "right", 4),
        (MISTAKE, {"step": 2, "answer": "y - p"}, "partly right", 2),
        (MISTAKE, {"step": 1, "answer": "p - y"}, "wrong", 0),
        (SHAPES, {"answer": ["k", ["k", "d"], 1]}, "right", 4),
        (SHAPES, {"answer": [["k"], ["d", "k"], 1]}, "partly right", 4 * 2 / 3),
        (SHAPES, {"answer": ["k"]}, "unreadable", None),
        (NUMBERS, {"answer": [1.5, -2]}, "right", 4),
        (NUMBERS, {"answer": [[1.5], [2]]}, "wrong", 0),
        (NUMBERS, {"answer": "many"}, "unreadable", None),
        (LAYOUT, {"answer": "(C)"}, "right", 4),
        (LAYOUT, {"answer": "b"}, "wrong", 0),
        (QUESTION, {"answer": "Because."}, "undecided", None),
    ],
)
def test_answers_are_graded(
    key: dict[str, Any], answer: dict[str, Any], verdict: str, points: float | None
) -> None:
    found = grade(answer, key)
    assert (found["verdict"], found["points"]) == (verdict, points)
    assert found["feedback"]


def test_a_wrong_answer_is_told_what_slipped() -> None:
    found = grade({"answer": "outer(y - p, x)"}, DERIVE)
    assert found["slip"] == "wrong sign"
    assert "sign" in found["feedback"]
    assert "符号" in grade({"answer": "outer(y - p, x)"}, DERIVE, "zh")["feedback"]


def write(folder: Path, answers: list[str]) -> tuple[str, str]:
    (folder / "s.key.jsonl").write_text("".join(json.dumps(k) + "\n" for k in ALL))
    (folder / "a.jsonl").write_text("\n".join(answers))
    return str(folder / "a.jsonl"), str(folder / "s.key.jsonl")


def test_one_bad_answer_does_not_stop_the_batch_and_a_second_run_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = json.dumps({"student": "ann", "exercise": "5", "answer": "c"})
    other = json.dumps({"student": "bob", "exercise": "6", "answer": "x"})
    answers, key = write(tmp_path, [good, "{not json", '{"student": "eve", "exercise": "99"}', other])
    out = tmp_path / "grades.jsonl"
    assert run(["grade", answers, "--key", key, "-o", str(out)]) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [g["verdict"] for g in lines] == ["right", "unreadable", "unreadable", "undecided"]
    err = capsys.readouterr().err
    assert "ann: 4\n" in err
    assert "bob: 0, 1 to be looked at" in err
    out.write_text(out.read_text() + '{"student": "ann", "exer')  # cut off in the middle
    before = len(lines)
    assert run(["grade", answers, "--key", key, "-o", str(out)]) == 0
    again = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(again) == before  # the line that is no answer is known by its number


def test_answers_are_read_from_a_notebook_without_running_it() -> None:
    cells = [
        {
            "cell_type": "code",
            "metadata": {"symgrad": {"exercise": "1", "seed": 2}},
            "source": ['answer = "p"\n', "open('x', 'w')"],
        },
        {
            "cell_type": "code",
            "metadata": {"symgrad": {"exercise": "2", "seed": 0}},
            "source": 'step = 2\nanswer = "q"',
        },
        {
            "cell_type": "code",
            "metadata": {"symgrad": {"exercise": "3", "seed": 0}},
            "source": "answer = exit()",
        },
        {"cell_type": "code", "metadata": {"symgrad": {"exercise": "4", "seed": 0}}, "source": 'answer = ""'},
        {"cell_type": "code", "metadata": {}, "source": 'answer = "r"'},
    ]
    found = answers_of_notebook(json.dumps({"cells": cells}), "ann")
    assert found == [
        {"student": "ann", "exercise": "1", "seed": 2, "answer": "p"},
        {"student": "ann", "exercise": "2", "seed": 0, "step": 2, "answer": "q"},
    ]


def test_keys_and_answers_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    answers, key = write(tmp_path, [])
    assert run(["grade", answers, "--key", str(tmp_path / "no")]) == 2
    (tmp_path / "s.key.jsonl").write_text("[1]\n")
    assert run(["grade", answers, "--key", key]) == 2


def test_every_kind_has_its_grader() -> None:
    from symgrad.grading import _GRADERS
    from symgrad.rendering.recipe import EXERCISES

    assert set(_GRADERS) == set(EXERCISES)
    assert list(grade_all([], read_keys([]))) == []


def test_the_first_answer_counts_and_a_second_run_adds_nothing(tmp_path: Path) -> None:
    key = tmp_path / "key.jsonl"
    key.write_text(
        '{"exercise": "1", "kind": "layout", "answer": "b", "points": 2, "seed": 0}\n', encoding="utf-8"
    )
    answers = tmp_path / "answers.jsonl"
    rows = [{"student": "Ada", "exercise": e, "answer": "b"} for e in ("1", "1", "7")]
    answers.write_text("\n".join(map(json.dumps, rows)) + "\nno JSON\n", encoding="utf-8")
    grades = tmp_path / "grades.jsonl"
    for lang in ("en", "zh"):
        assert run(["grade", str(answers), "--key", str(key), "-o", str(grades), "--lang", lang]) == 0
        found = [json.loads(line) for line in grades.read_text(encoding="utf-8").splitlines()]
        assert [(g["verdict"], g["points"]) for g in found] == [
            ("right", 2),
            ("repeated", 0),
            ("unreadable", None),
            ("unreadable", None),
        ]
