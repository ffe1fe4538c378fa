"""Many questions: JSON Lines in, JSON Lines out, in the same order.

One bad line never stops the others; every question has a time limit; answers are written as soon as their turn comes.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

from symgrad.errors import ReadError, SymgradError, UnsupportedError
from symgrad.workers import LONGEST_LINE, answers_in_order, time_limit

__all__ = ["answer_all", "answer_line"]

_KINDS = ("gradient", "jacobian", "hessian", "differential")
_LAYOUTS = ("gradient", "numerator", "denominator")


def answer_all(lines: Iterable[str], *, jobs: int = 1, seconds: float = 60.0) -> Iterator[str]:
    """The answers to the questions of a batch file, one line each, in order; empty lines are passed by."""
    return answers_in_order(lines, "symgrad.batch:answer_line", _unanswered, jobs=jobs, seconds=seconds)


def _unanswered(line: str, reason: str) -> str:
    """The answer where the process that was asked gave none."""
    record = _blank()
    with contextlib.suppress(SymgradError):
        _question(line, record)
    ran_out = "time limit" in reason
    record |= {"status": "unsupported" if ran_out else "error", "message": reason}
    return _as_line(record)


def _blank() -> dict[str, Any]:
    return {
        "id": None,
        "status": "error",
        "answer": None,
        "answer_latex": None,
        "answer_index": None,
        "evidence": "none",
        "steps": 0,
        "operations": None,
        "seconds": 0.0,
        "assumptions": [],
        "message": None,
    }


def _as_line(record: dict[str, Any]) -> str:
    text = json.dumps(record, ensure_ascii=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # half of a surrogate pair
        return json.dumps(record)
    return text


def answer_line(line: str, seconds: float = 60.0) -> str:
    """The answer to one question, as a line of JSON.

    >>> json.loads(answer_line('{"id": 1, "f": "x @ x", "shapes": {"x": ["n"]}, "wrt": "x"}'))["answer"]
    '2 * x'
    """
    start = time.perf_counter()
    record = _blank()
    try:
        question = _question(line, record)
        with time_limit(seconds):
            record |= _derived(question)
    except ReadError as error:
        record |= {"status": "unreadable", "message": str(error)}
    except UnsupportedError as error:
        record |= {"status": "unsupported", "message": str(error)}
    except SymgradError as error:
        record |= {"status": "unsupported" if error.exit_code == 3 else "unreadable", "message": str(error)}
    except TimeoutError:
        record |= {"status": "unsupported", "message": f"the time limit of {seconds:g} s ran out"}
    except RecursionError:
        record |= {"status": "unsupported", "message": "the formula is nested too deeply"}
    except Exception as error:
        record |= {"status": "error", "message": f"a fault of symgrad: {type(error).__name__}: {error}"}
    record["seconds"] = round(time.perf_counter() - start, 4)
    return _as_line(record)


def _derived(question: dict[str, Any]) -> dict[str, Any]:
    from symgrad.api import derive
    from symgrad.rendering import to_latex, to_numpy
    from symgrad.rendering.letters import answer_index

    derivation = derive(
        question["f"],
        question["wrt"],
        given=question.get("definitions", ()),
        shapes=question.get("shapes"),
        assume=question.get("assume"),
        dims_equal=question.get("dims_equal", ()),
        functions=question.get("functions", ()),
        kind=question.get("kind", "gradient"),
        method=question.get("method"),
        layout=question.get("layout") or "gradient",
        structure=question.get("structure"),
    )
    return {
        "status": "ok",
        "answer": None if derivation.in_indices else to_numpy(derivation.final),
        "answer_latex": to_latex(derivation.final),
        "answer_index": answer_index(derivation),
        "evidence": derivation.evidence.level,
        "steps": len(derivation.steps),
        "operations": derivation.operations,
        "assumptions": list(derivation.assumptions),
    }


def _question(line: str, record: dict[str, Any]) -> dict[str, Any]:
    """The question of a line; its id is noted as soon as it is known."""
    if len(line) > LONGEST_LINE:
        _refuse(f"the line has more than {LONGEST_LINE} characters")
    try:
        question = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ReadError(f"the line is no JSON: {error}") from None
    if not isinstance(question, dict):
        _refuse("the line is no JSON object")
    if isinstance(question.get("id"), str | int | float):
        record["id"] = question["id"]
    if "\ufffd" in line:
        _refuse("the line is no text in UTF-8")
    question = {name: value for name, value in question.items() if value is not None}
    for name in ("f", "wrt"):
        if not isinstance(question.get(name), str):
            _refuse(f"the field {name} is missing or no text")
    for name, known in (("kind", _KINDS), ("layout", _LAYOUTS)):
        if question.get(name) is not None and question[name] not in known:
            _refuse(f"{name} is {question[name]!r}", "known: " + ", ".join(known))
    for name in ("definitions", "dims_equal", "functions"):
        if not isinstance(question.get(name, []), list):
            _refuse(f"the field {name} is no list")
    if any(not isinstance(d, str) for d in question.get("definitions", ())):
        _refuse("a definition is no text")
    for name in ("shapes", "assume"):
        if question.get(name) is not None and not isinstance(question[name], dict | str):
            _refuse(f"the field {name} is no object")
    return question


def _refuse(message: str, hint: str | None = None) -> NoReturn:
    raise ReadError(message, hint=hint)
