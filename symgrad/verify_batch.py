"""Many claims: JSON Lines in, verdicts as JSON Lines out, in the same order.

One bad line never stops the others. Every claim has a budget of time and, in worker processes, of memory.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable, Iterator
from typing import Any

from symgrad.checking.budget import limit_memory
from symgrad.errors import ReadError, SymgradError, UnsupportedError
from symgrad.reading.claim import KINDS, Context
from symgrad.workers import answers_in_order

__all__ = ["context_of", "verdict_line", "verdict_lines"]

_LONGEST_LINE = 1_000_000
_MEGABYTES = 4096


def verdict_lines(
    lines: Iterable[str],
    *,
    jobs: int = 1,
    seconds: float = 10.0,
    lang: str = "en",
    megabytes: int = _MEGABYTES,
) -> Iterator[str]:
    """The verdicts on the claims of a batch file, one line each, in order; empty lines are passed by."""
    return answers_in_order(
        lines,
        "symgrad.verify_batch:bounded_verdict_line",
        _undecided,
        jobs=jobs,
        seconds=seconds,
        options={"lang": lang, "megabytes": megabytes},
    )


def bounded_verdict_line(line: str, seconds: float, lang: str, megabytes: int) -> str:
    """The verdict on one claim, in a process whose memory is bounded."""
    limit_memory(megabytes)
    return verdict_line(line, seconds, lang)


def _undecided(line: str, reason: str) -> str:
    """The verdict where the process that was asked gave none."""
    record = _blank()
    with contextlib.suppress(SymgradError):
        _question(line, record)
    return json.dumps(record | {"verdict": "undecided", "message": reason})


def _blank() -> dict[str, Any]:
    return {
        "id": None,
        "verdict": "unreadable",
        "kind": None,
        "read_as": None,
        "expected": None,
        "suggestion": None,
        "suggestion_latex": None,
        "layout": None,
        "message": None,
        "counterexample": None,
        "evidence": {},
        "conditions": [],
        "seconds": 0.0,
    }


def verdict_line(line: str, seconds: float = 10.0, lang: str = "en") -> str:
    """The verdict on one claim, as a line of JSON.

    >>> line = '{"id": 1, "f": "x @ x", "shapes": {"x": ["n"]}, "wrt": "x", "claim": "2 * x"}'
    >>> json.loads(verdict_line(line))["verdict"]
    'proved'
    """
    start = time.perf_counter()
    record = _blank()
    try:
        question = _question(line, record)
        from symgrad.verifying import verdict_on

        record |= verdict_on(question["claim"], context_of(question), seconds=seconds).to_json(lang)
    except UnsupportedError as error:
        record |= {"verdict": "unsupported", "message": str(error)}
    except SymgradError as error:
        word = "unsupported" if error.exit_code == 3 else "unreadable"
        record |= {"verdict": word, "message": str(error)}
    except (MemoryError, RecursionError) as error:
        what = "memory" if isinstance(error, MemoryError) else "depth"
        record |= {"verdict": "undecided", "message": f"the budget of {what} ran out"}
    except Exception as error:
        record |= {"verdict": "undecided", "message": f"a fault of symgrad: {type(error).__name__}: {error}"}
    record["seconds"] = round(time.perf_counter() - start, 4)
    return json.dumps(record, ensure_ascii=False)


def context_of(question: dict[str, Any]) -> Context:
    """What a question of a batch file says about its claim."""
    return Context(
        definitions=tuple(question.get("definitions") or ()),
        definitions_latex=tuple(question.get("definitions_latex") or ()),
        shapes=question.get("shapes"),
        assume=question.get("assume"),
        dims_equal=tuple(question.get("dims_equal") or ()),
        functions=tuple(question.get("functions") or ()),
        symbols=dict(question.get("symbols") or {}),
        target=question.get("target"),
        f=question.get("f"),
        wrt=question.get("wrt"),
        kind=question.get("kind"),
        layout=question.get("layout"),
    )


def _question(line: str, record: dict[str, Any]) -> dict[str, Any]:
    """The claim of a line and what belongs to it; the id is noted as soon as it is known."""
    if len(line) > _LONGEST_LINE:
        raise ReadError(f"the line has more than {_LONGEST_LINE} characters")
    try:
        question = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ReadError(f"the line is no JSON: {error}") from None
    if not isinstance(question, dict):
        raise ReadError("the line is no JSON object")
    if isinstance(question.get("id"), str | int | float):
        record["id"] = question["id"]
    if not isinstance(question.get("claim"), str):
        raise ReadError("the field claim is missing or no text")
    for name in ("target", "f", "wrt"):
        if question.get(name) is not None and not isinstance(question[name], str):
            raise ReadError(f"the field {name} is no text")
    for name in ("definitions", "definitions_latex", "functions", "dims_equal"):
        value = question.get(name)
        if value is not None and not isinstance(value, list):
            raise ReadError(f"the field {name} is no list")
        if name != "dims_equal" and any(not isinstance(v, str) for v in value or ()):
            raise ReadError(f"the field {name} holds what is no text")
    for name in ("shapes", "assume"):
        if question.get(name) is not None and not isinstance(question[name], dict | str):
            raise ReadError(f"the field {name} is no object")
    if question.get("symbols") is not None and not isinstance(question["symbols"], dict):
        raise ReadError("the field symbols is no object")
    question["symbols"] = {
        str(k): v for k, v in (question.get("symbols") or {}).items() if isinstance(v, str)
    }
    if question.get("layout") not in (None, "gradient", "numerator"):
        raise ReadError(f"layout is {question['layout']!r}", hint="known: gradient, numerator")
    if question.get("kind") is not None and question["kind"] not in KINDS:
        raise ReadError(f"kind is {question['kind']!r}", hint="known: " + ", ".join(KINDS))
    return question
