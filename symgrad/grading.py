"""Grading: answers of students against the key of an exercise sheet. One bad answer never stops the others.

Formulas are judged as any claim is, so any right form is right. What cannot be decided is left to a person.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from symgrad.checking.budget import OutOfTime, alarm, time_limit
from symgrad.errors import ReadError, SymgradError
from symgrad.expr import Gradient, Jacobian, ScalarGradient, walk
from symgrad.reading import read_model
from symgrad.reading.claim import Claim, Context, read_claim
from symgrad.rendering.phrases import load
from symgrad.rendering.verdict import message
from symgrad.verifying import verdict_on

__all__ = ["answers_of_notebook", "grade", "grade_all", "read_keys"]

_LONGEST = 100_000
Key = tuple[str, int]


def read_keys(lines: Iterable[str]) -> dict[Key, dict[str, Any]]:
    """The keys of a key file by exercise and seed.

    Raises   ReadError with the line that is no key
    """
    found: dict[Key, dict[str, Any]] = {}
    for i, line in enumerate(lines, 1):
        if not line.strip():
            continue
        record = _record(line, f"line {i} of the key file")
        if not isinstance(record.get("exercise"), str) or "kind" not in record:
            raise ReadError(f"line {i} of the key file is no key of an exercise")
        found[record["exercise"], int(record.get("seed", 0))] = record
    return found


def _record(line: str, what: str) -> dict[str, Any]:
    if len(line) > 10 * _LONGEST:
        raise ReadError(f"{what} is too long")
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ReadError(f"{what} is not JSON: {error}") from error
    if not isinstance(record, dict):
        raise ReadError(f"{what} is no JSON object")
    return record


def answers_of_notebook(text: str, student: str) -> list[dict[str, Any]]:
    """The answers in a filled notebook: what is assigned to `answer` and `step` in its cells. Nothing is run.

    Raises   ReadError if it is no notebook
    """
    data = _record(text, "the notebook")
    found = []
    for cell in data.get("cells", ()):
        place = cell.get("metadata", {}).get("symgrad") if isinstance(cell, dict) else None
        if not isinstance(place, dict) or "exercise" not in place:
            continue
        source = cell.get("source", "")
        given = _assigned("".join(source) if isinstance(source, list) else str(source))
        if given.get("answer") not in (None, ""):
            found.append({"student": student, **place, **given})
    return found


def _assigned(source: str) -> dict[str, Any]:
    """The literals that a cell assigns to `answer` and `step`."""
    try:
        tree = ast.parse(source[:_LONGEST])
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {"answer": None}
    found: dict[str, Any] = {}
    for node in tree.body:
        if (
            not isinstance(node, ast.Assign)
            or len(node.targets) != 1
            or not isinstance(node.targets[0], ast.Name)
        ):
            continue
        name = node.targets[0].id
        if name in ("answer", "step"):
            try:
                found[name] = ast.literal_eval(node.value)
            except (ValueError, TypeError, RecursionError, MemoryError):
                found[name] = None
    return found


def grade_all(
    answers: Iterable[Mapping[str, Any] | str],
    keys: Mapping[Key, Mapping[str, Any]],
    *,
    lang: str = "en",
    seconds: float = 10.0,
    done: frozenset[tuple[str, str, int]] = frozenset(),
    lines_done: frozenset[int] = frozenset(),
) -> Iterator[dict[str, Any]]:
    """The grade of every answer, in order; those in `done` (student, exercise, seed) are passed by.

    So are lines that were found unreadable (`lines_done`). Of several answers to an exercise the first counts.
    """
    seen: set[tuple[str, str, int]] = set()
    for i, given in enumerate(answers, 1):
        try:
            answer = _record(given, f"line {i} of the answers") if isinstance(given, str) else dict(given)
            place = (str(answer.get("student", "")), str(answer.get("exercise")), int(answer.get("seed", 0)))
        except (SymgradError, TypeError, ValueError) as error:
            if i in lines_done:
                continue
            yield {"line": i, "verdict": "unreadable", "points": None, "feedback": str(error)}
            continue
        if place in done:
            continue
        student, exercise, seed = place
        head = {"student": student, "exercise": exercise, "seed": seed}
        key = keys.get((exercise, seed))
        if key is None:
            yield {**head, "verdict": "unreadable", "points": None, "feedback": _said("unknown", lang)}
            continue
        if place in seen:
            yield {**head, "kind": key["kind"], **_result("repeated", 0, _said("repeated", lang))}
            continue
        seen.add(place)
        yield {**head, "kind": key["kind"], "of": key.get("points", 0), **grade(answer, key, lang, seconds)}


def grade(
    answer: Mapping[str, Any], key: Mapping[str, Any], lang: str = "en", seconds: float = 10.0
) -> dict[str, Any]:
    """The verdict on one answer, its points (None where a person has to decide) and a sentence for the student.

    >>> key = {"kind": "layout", "answer": "b", "points": 2}
    >>> grade({"answer": "(B)"}, key)["points"]
    2
    """
    try:
        return _GRADERS[key["kind"]](answer, key, lang, seconds)
    except SymgradError as error:
        return _result("unreadable", None, error.message)
    except (ValueError, TypeError, KeyError, RecursionError, MemoryError, OverflowError):
        return _result("unreadable", None, _said("form", lang))


def _result(verdict: str, points: float | None, feedback: str, slip: str | None = None) -> dict[str, Any]:
    return {"verdict": verdict, "points": points, "slip": slip, "feedback": feedback}


def _said(key: str, lang: str) -> str:
    return load(lang).phrases[f"grade.{key}"]


def _full(right: bool, key: Mapping[str, Any], lang: str) -> dict[str, Any]:
    """All points or none."""
    return _result(
        "right" if right else "wrong",
        key.get("points", 0) if right else 0,
        _said("right" if right else "wrong", lang),
    )


def _formula(text: Any, key: Mapping[str, Any], wrt: str, lang: str, seconds: float) -> dict[str, Any]:
    """The verdict on a formula for the gradient by a name."""
    if not isinstance(text, str) or not text.strip() or len(text) > _LONGEST:
        return _result("unreadable", None, _said("form", lang))
    context = Context(model=read_model(key["model"]), target=key["of"], wrt=wrt)
    try:
        with time_limit(seconds), alarm(seconds):
            begs = _begs(read_claim(text, context), key, wrt)
    except OutOfTime:
        return _result("undecided", None, _said("person", lang))
    if begs:
        return _result("undecided", None, _said("begs", lang))
    verdict = verdict_on(text, context, seconds=seconds)
    if verdict.is_right:
        return {**_full(True, key, lang), "evidence": verdict.verdict}
    if verdict.verdict == "refuted":
        return _result("wrong", 0, message(verdict, lang) or _said("wrong", lang), verdict.kind)
    return _result("undecided", None, message(verdict, lang) or _said("person", lang))


def _begs(claim: Claim, key: Mapping[str, Any], wrt: str) -> bool:
    """Whether an answer is another question: it talks of something else, or has derivatives left to be worked out.

    A step may be written with the gradients by other names, but not with the one that is asked for.
    """
    if claim.of is None or str(claim.of) != key["of"] or str(claim.wrt) != wrt:
        return True
    left = [
        n for link in claim.links for n in walk(link) if isinstance(n, Gradient | ScalarGradient | Jacobian)
    ]
    if key["kind"] == "derive":
        return bool(left)
    return any(str(n.args[1]) == wrt for n in left)


def _derive(answer: Mapping[str, Any], key: Mapping[str, Any], lang: str, seconds: float) -> dict[str, Any]:
    return _formula(answer.get("answer"), key, key["wrt"], lang, seconds)


def _missing(answer: Mapping[str, Any], key: Mapping[str, Any], lang: str, seconds: float) -> dict[str, Any]:
    return _formula(answer.get("answer"), key, key["target"], lang, seconds)


def _mistake(answer: Mapping[str, Any], key: Mapping[str, Any], lang: str, seconds: float) -> dict[str, Any]:
    """The step is half of it, its right form the other half."""
    if int(answer.get("step") or 0) != key["step"]:
        return _full(False, key, lang)
    found = _formula(answer.get("answer"), key, key["target"], lang, seconds)
    if found["verdict"] == "wrong":
        found |= {"points": key.get("points", 0) / 2, "verdict": "partly right"}
    return found


def _shapes(answer: Mapping[str, Any], key: Mapping[str, Any], lang: str, seconds: float) -> dict[str, Any]:
    """Each shape counts the same."""
    given = [_shape(s) for s in answer["answer"]]
    wanted = [_shape(s) for s in key["answer"]]
    if len(given) != len(wanted):
        return _result("unreadable", None, _said("form", lang))
    right = sum(a == b for a, b in zip(given, wanted, strict=True))
    points = key.get("points", 0) * right / len(wanted)
    word = "right" if right == len(wanted) else "partly right" if right else "wrong"
    return _result(word, points, _said(word.replace(" ", "_"), lang))


def _shape(sizes: Any) -> tuple[str, ...]:
    """A shape as text; a vector may be given with its one size, a number as 1."""
    listed = [str(s).replace(" ", "") for s in (sizes if isinstance(sizes, list | tuple) else [sizes])]
    while listed and listed[-1] == "1":
        listed.pop()
    return tuple(listed)


def _numbers(answer: Mapping[str, Any], key: Mapping[str, Any], lang: str, seconds: float) -> dict[str, Any]:
    """Equal to three digits; a column may be written as a list."""
    given, wanted = (np.asarray(v, dtype=float) for v in (answer["answer"], key["answer"]))
    if given.shape != wanted.shape:
        if given.squeeze().shape != wanted.squeeze().shape:
            return _full(False, key, lang)
        given, wanted = given.squeeze(), wanted.squeeze()
    return _full(bool(np.allclose(given, wanted, rtol=2e-3, atol=1e-6)), key, lang)


def _layout(answer: Mapping[str, Any], key: Mapping[str, Any], lang: str, seconds: float) -> dict[str, Any]:
    return _full(str(answer["answer"]).strip(" ().").lower() == key["answer"], key, lang)


def _question(answer: Mapping[str, Any], key: Mapping[str, Any], lang: str, seconds: float) -> dict[str, Any]:
    return _result("undecided", None, _said("person", lang))


_GRADERS = {
    "derive": _derive,
    "missing": _missing,
    "mistake": _mistake,
    "shapes": _shapes,
    "numbers": _numbers,
    "layout": _layout,
    "question": _question,
}
