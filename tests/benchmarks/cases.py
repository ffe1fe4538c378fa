"""Answers against books: `python tests/benchmarks/cases.py FILE.jsonl...`. Not collected by pytest.

Each question of a case file goes through `derive` as a batch line, without what the file says of the answer. Our
answer and the book's are then evaluated with NumPy at random points of two sets of sizes, both are counted in the
same way, and SymPy's own `diff` gets the same question where it can be written in SymPy.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import statistics
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import oracle
import sympy_diff

from symgrad.batch import answer_line

_HIDDEN = ("answer", "answer_latex", "wrong", "note", "category", "f_latex", "value_order")
Case = dict[str, Any]


def ask(case: Case, seconds: float = 60.0) -> Case:
    """The record that `derive` writes for a question; it sees the question alone."""
    question = {k: v for k, v in case.items() if k not in _HIDDEN}
    record: Case = json.loads(answer_line(json.dumps(question), seconds))
    return record


def _same(a: str, b: str, at: dict[str, Any]) -> bool | None:
    """Whether two formulas have the same value; None where the first has none."""
    try:
        value = oracle.evaluate(a, at)
    except Exception:  # a slip may fit no shape
        return None
    return oracle.equal(value, oracle.evaluate(b, at))


def judge(case: Case, record: Case) -> str:
    """right, wrong or unsupported, and `slip` where one of the file's slips has the value of our answer."""
    if record["status"] != "ok":
        return "unsupported" if record["status"] == "unsupported" else record["status"]
    with np.errstate(all="ignore"):
        at = list(oracle.points(case))
        if not all(_same(record["answer"], case["answer"], p) for p in at):
            return "wrong"
        for slip in case.get("wrong", ()):
            if all(_same(slip["numpy"], record["answer"], p) for p in at):
                return "slip"
    return "right"


def ratio(case: Case, record: Case) -> float:
    """Our operations over the book's."""
    return oracle.operations(record["answer"]) / max(1, oracle.operations(case["answer"]))


@contextlib.contextmanager
def limit(seconds: float) -> Iterator[None]:
    """Raises TimeoutError when the time is up."""

    def stop(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def judge_sympy(case: Case) -> str:
    """What SymPy's `diff` makes of the question: right, wrong, or unsupported with its reason."""
    try:
        with limit(10), np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            derivative = sympy_diff.derivative(case)
            at = next(oracle.points(case))
            return (
                "right"
                if oracle.equal(sympy_diff.value(derivative, case, at), oracle.evaluate(case["answer"], at))
                else "wrong"
            )
    except sympy_diff.NotWritableError:
        return "not writable"
    except TimeoutError:
        return "time"
    except Exception as error:
        return f"error: {type(error).__name__}"


def _percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--only", nargs="*", default=[], help="ids that begin so")
    parser.add_argument("--all", action="store_true", help="show every answer")
    parser.add_argument("--validate", action="store_true", help="compare the book's answers with differences")
    parser.add_argument("--sympy", action="store_true", help="SymPy's diff beside it")
    options = parser.parse_args()
    cases = [json.loads(line) for f in options.files for line in f.read_text().splitlines() if line.strip()]
    if options.only:
        cases = [c for c in cases if any(str(c["id"]).startswith(p) for p in options.only)]
    if options.validate:
        validate(cases)
        return
    report(cases, options.sympy, options.all)


def report(cases: list[Case], with_sympy: bool, show_all: bool = False) -> None:
    """The table of a file of questions; SymPy's `diff` beside it."""
    answer_line('{"id": 0, "f": "x @ x", "shapes": {"x": ["n"]}, "wrt": "x"}')  # what is imported on use
    verdicts: Counter[str] = Counter()
    evidence: Counter[str] = Counter()
    sympy: Counter[str] = Counter()
    ratios, seconds, busy = [], [], []
    for case in cases:
        start = time.process_time()
        record = ask(case)
        busy.append(time.process_time() - start)
        verdict = judge(case, record)
        verdicts[verdict] += 1
        evidence[record["evidence"]] += 1
        seconds.append(record["seconds"])
        r = ratio(case, record) if record["status"] == "ok" else float("nan")
        if verdict == "right":
            ratios.append(r)
        if with_sympy:
            sympy[judge_sympy(case)] += 1
        if show_all or verdict != "right" or r > 1.1:
            shown = record["answer"] if record["status"] == "ok" else record["message"]
            print(
                f"{case['id']:<10} {verdict:<12} {r:5.2f} {record['evidence']:<9} {record['seconds']:6.2f}s",
                end="  ",
            )
            print(f"{case.get('kind', '')} by {case['wrt']} of {case['f']}")
            print(f"{'':<10} ours {shown}\n{'':<10} book {case['answer']}")
    print(f"\n{len(cases)} questions: {_counted(verdicts)}")
    print(f"evidence: {_counted(evidence)}")
    if ratios:
        short = sum(r <= 1.1 for r in ratios) / len(ratios)
        print(f"length: {short:.1%} at most 1.1 times the book's, largest {max(ratios):.2f}")
    print(f"time: {_times(seconds)}; of the processor: {_times(busy)} (goal: median 30 ms, 95 % 300 ms)")
    if sympy:
        print(f"SymPy's diff: {_counted(sympy)}")


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{k} {v}" for k, v in sorted(counter.items()))


def _times(seconds: list[float]) -> str:
    return (
        f"median {statistics.median(seconds) * 1000:.0f} ms, 95 % {_percentile(seconds, 0.95) * 1000:.0f} ms"
    )


def validate(cases: list[Case]) -> None:
    """Compare every book's answer with differences of the function; say which differ."""
    bad = 0
    with np.errstate(all="ignore"):
        for case in cases:
            points = oracle.points(case)
            while True:
                try:
                    if (at := next(points, None)) is None:
                        break
                    expected = oracle.differences(case, at)
                    value = oracle.evaluate(case["answer"], at)
                    fits = oracle.equal(value, expected, 1e-5)
                except Exception as error:
                    print(f"{case['id']}: {type(error).__name__}: {error}")
                    bad += 1
                    break
                if not fits:
                    print(
                        f"{case['id']}: differs from differences: {case['f']} by {case['wrt']}: {case['answer']}"
                    )
                    print(
                        "   ",
                        np.shape(value),
                        np.shape(expected),
                        np.ravel(value)[:4],
                        np.ravel(expected)[:4],
                    )
                    bad += 1
                    break
    print(f"{len(cases)} answers, {bad} differ")


if __name__ == "__main__":
    main()
