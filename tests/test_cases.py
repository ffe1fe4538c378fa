"""Questions of matrix calculus with a book's answers: right, as short as the book, the same by every method.

The answers are judged with NumPy by code that shares nothing with the package (`tests/benchmarks/oracle.py`).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from symgrad.api import Derivation, derive
from symgrad.errors import UnsupportedError

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "benchmarks"))
import cases  # noqa: E402
import oracle  # noqa: E402

FILES = sorted((HERE / "cases").glob("*.jsonl"))
QUESTIONS = [json.loads(line) for f in FILES for line in f.read_text(encoding="utf-8").splitlines()]
LONGER = 0.05  # of the answers may be longer than 1.1 times the book's


def ask(question: dict[str, Any], **options: Any) -> Derivation:
    return derive(
        question["f"],
        question["wrt"],
        given=question.get("definitions", ()),
        shapes=question["shapes"],
        assume=question["assume"],
        dims_equal=question.get("dims_equal", ()),
        functions=question.get("functions", ()),
        kind=question["kind"],
        layout=question.get("layout", "gradient"),
        structure=question.get("structure"),
        **options,
    )


def verdict(question: dict[str, Any], derivation: Derivation) -> str:
    return cases.judge(question, {"status": "ok", "answer": derivation.to_numpy()})


def test_the_ids_are_distinct() -> None:
    assert len({q["id"] for q in QUESTIONS}) == len(QUESTIONS) >= 300


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_every_question_is_answered_as_the_book_does(path: Path) -> None:
    questions = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    wrong, lengths = [], {}
    for question in questions:
        answer = ask(question, check=False)
        if verdict(question, answer) != "right":
            wrong.append((question["id"], answer.to_numpy(), question["answer"]))
        lengths[question["id"]] = cases.ratio(question, {"answer": answer.to_numpy()})
    assert wrong == []
    long = {name: ratio for name, ratio in lengths.items() if ratio > 1.1}
    assert len(long) <= max(2, LONGER * len(questions)), long
    assert all(ratio <= 1.5 for ratio in long.values()), long


@pytest.mark.parametrize("question", QUESTIONS[5::29], ids=lambda q: q["id"])
def test_answers_are_checked(question: dict[str, Any]) -> None:
    assert ask(question).evidence.level in ("proved", "verified", "agrees")


@pytest.mark.parametrize("question", QUESTIONS[::12], ids=lambda q: q["id"])
def test_the_answers_of_the_books_are_those_of_differences(question: dict[str, Any]) -> None:
    with np.errstate(all="ignore"):
        at = next(oracle.points(question))
        value, expected = oracle.evaluate(question["answer"], at), oracle.differences(question, at)
    assert oracle.equal(value, expected, 1e-5)


@pytest.mark.parametrize(
    "question", [q for q in QUESTIONS if q["kind"] == "gradient"][3::11], ids=lambda q: q["id"]
)
def test_the_methods_agree(question: dict[str, Any]) -> None:
    answered = 0
    for method in ("backprop", "differential", "components"):
        try:
            answer = ask(question, method=method, check=False)
        except UnsupportedError:
            continue
        answered += 1
        assert verdict(question, answer) == "right", method
    assert answered >= 2


def test_a_wrong_answer_would_be_seen() -> None:
    question = QUESTIONS[2]
    for slip in ("outer(b, a)", "2 * outer(a, b)", "outer(a, a)", "outer(a, b).T"):
        assert cases.judge(question, {"status": "ok", "answer": slip}) == "wrong"
