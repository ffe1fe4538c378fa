"""The verdict table of a file of cases: how many claims are judged right, how fast, and which mutants survive.

    python tests/benchmarks/verdicts.py FILE.jsonl [--figures] [--text] [--jobs 2] [--mutants 40] [--all]

`--figures` adds the speed on one core and on two, of reading alone and of the linter on a document of 200 formulas, and
other readers of LaTeX and Math-Verify on the same claims; peers that are not installed are skipped with a line.

Two kinds of files are read: claims (`claim_latex`, `context`, `verdict`, `why`, `answer`, `fix`), and questions with an
answer and wrong ones (`f`, `answer`, `wrong`). The program that is measured sees neither verdict nor answer.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from readers import math_verify, readers
from timing import best, row

from symgrad.errors import SymgradError
from symgrad.linting import lint
from symgrad.reading.claim import is_latex, read_claim
from symgrad.reading.latex.tree import parse_statements
from symgrad.rendering import to_latex
from symgrad.verify_batch import context_of, verdict_lines

SYNONYMS = {"order swapped": "swapped order", "kernel not flipped": "other", "symmetry assumed": "other"}


_ACCEPTED = ("proved", "verified", "agrees")


def claims(path: Path, text: bool) -> Iterator[tuple[dict[str, Any], bool, str | None]]:
    """The questions of a file, whether the claim is right, and the slip that the key names."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.strip():
            continue
        case = json.loads(line)
        if "context" in case:
            yield from _of_claim(case, text)
        elif case.get("structure") is None:
            yield from _of_question(case)


def _of_claim(case: dict[str, Any], text: bool) -> Iterator[tuple[dict[str, Any], bool, str | None]]:
    context = case["context"]
    question = {
        "id": case["id"],
        **{k: context.get(k) for k in ("definitions", "shapes", "assume")},
        **{k: case.get(k) for k in ("target", "wrt", "layout")},
    }
    right = case["verdict"] == "correct"
    if not text:
        question |= {"definitions_latex": context.get("definitions_latex"), "symbols": context.get("symbols")}
        yield {**question, "claim": case["claim_latex"]}, right, case.get("why")
        return
    yield {**question, "claim": case["answer"]}, right, case.get("why")
    if "fix" in case:
        yield {**question, "id": case["id"] + " (fix)", "claim": case["fix"]}, True, None


def _of_question(case: dict[str, Any]) -> Iterator[tuple[dict[str, Any], bool, str | None]]:
    question = {
        k: case.get(k) for k in ("id", "f", "definitions", "shapes", "assume", "wrt", "kind", "dims_equal")
    }
    question["layout"] = "numerator" if case.get("kind") == "jacobian" else "gradient"
    yield {**question, "claim": case["answer"]}, True, None
    for n, wrong in enumerate(case.get("wrong", ()), 1):
        yield {**question, "id": f"{case['id']} wrong {n}", "claim": wrong["numpy"]}, False, wrong.get("kind")


def outcome(answer: dict[str, Any], right: bool) -> str:
    """What became of a claim."""
    accepted = answer["verdict"] in _ACCEPTED
    if not accepted and answer["verdict"] != "refuted":
        return "refused"
    if accepted == right:
        return "right"
    return "WRONG ACCEPTED" if accepted else "RIGHT REFUTED"


def mutants(question: dict[str, Any], most: int) -> Iterator[tuple[str, str]]:
    """One-edit mutants of a claim in the text language, with the kind of edit."""
    from symgrad.checking.edits import edited
    from symgrad.checking.vocabulary import Vocabulary
    from symgrad.rendering import to_numpy

    claim = read_claim(question["claim"], context_of(question))
    seen: set[str] = set()
    for edit in edited(claim.links[-1], Vocabulary(claim.model, claim.links)):
        try:
            text = to_numpy(edit.value)
        except (SymgradError, AttributeError):
            continue
        if text not in seen:
            seen.add(text)
            yield edit.kind, text
        if len(seen) >= most:
            return


def mutation_score(cases: list[tuple[dict[str, Any], bool, str | None]], most: int, jobs: int) -> None:
    """How many mutants of right claims are refuted; every other one is printed with the reason."""
    asked = [
        ({**question, "claim": text}, kind, question["claim"])
        for question, right, _ in cases
        if right
        for kind, text in mutants(question, most)
    ]
    answers = verdict_lines([json.dumps(question) for question, _, _ in asked], jobs=jobs)
    counted: Counter[str] = Counter()
    for (question, kind, claim), line in zip(asked, answers, strict=True):
        answer = json.loads(line)
        word = answer["verdict"]
        found = "refuted" if word == "refuted" else "accepted" if word in _ACCEPTED else "refused"
        counted[found] += 1
        if found != "refuted":
            print(
                f"  {question['id']}: {word}, {kind}: {question['claim']}   for {claim}   {answer['message'] or ''}"
            )
    print(f"mutants: {len(asked)}, " + ", ".join(f"{k} {n}" for k, n in counted.most_common()))


# --- figures ------------------------------------------------------------------------------------------


def figures(path: Path) -> None:
    """Speed, and other programs on the same claims."""
    questions = [question for question, _, _ in claims(path, False)]
    lines = [json.dumps(question) for question in questions]
    for jobs in (1, 2):
        start, before = time.perf_counter(), _processor()
        list(verdict_lines(lines, jobs=jobs))
        seconds, busy = time.perf_counter() - start, _processor() - before
        figure = f"{len(lines) / seconds:.1f} ({len(lines) / busy:.1f} of the processor)"
        row(f"claims a second with proof and diagnosis, --jobs {jobs}", figure, "")
    reading(questions)
    linting()
    raw = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    raw = [case for case in raw if "claim_latex" in case]
    if raw:
        readers(raw)
        math_verify([pair for case in raw if "fix" in case for pair in printed(case)])


def _processor() -> float:
    """The processor's seconds, of this process and of those that ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def reading(questions: list[dict[str, Any]]) -> None:
    """Formulas a second: their trees, and with names and shapes in their context."""
    formulas = [
        f for q in questions for f in (q["claim"], *(q.get("definitions_latex") or ())) if is_latex(f)
    ]
    trees = [f for f in formulas if _is_read(f)]
    seconds = best(lambda: [parse_statements(f) for f in trees])
    row(
        f"LaTeX formulas parsed a second ({len(trees)} of {len(formulas)})",
        f"{len(trees) / seconds:.0f}",
        "above 800",
    )
    contexts = [(q["claim"], context_of(q)) for q in questions]
    seconds = best(lambda: [read_claim(text, context) for text, context in contexts])
    row("claims read a second, with definitions, names and shapes", f"{len(contexts) / seconds:.0f}", "")


def _is_read(formula: str) -> bool:
    try:
        parse_statements(formula)
    except SymgradError:  # words between formulas are for the reader of a whole context
        return False
    return True


def linting() -> None:
    """A document of 200 displayed formulas: fifty small networks, one claim in four wrong."""
    parts = []
    for k in range(50):
        slip = "" if k % 4 == 0 else r"^{\top}"
        parts += [
            f"# Part {k}",
            r"Let $W \in \mathbb{R}^{m \times n}$, $x \in \mathbb{R}^n$ and $y \in \mathbb{R}^m$.",
            r"$$z = W x$$",
            r"$$L = \frac{1}{2} \| z - y \|^2$$",
            r"$$\frac{\partial L}{\partial z} = z - y$$",
            rf"$$\frac{{\partial L}}{{\partial W}} = (z - y) x{slip}$$",
        ]
    text = "\n\n".join(parts) + "\n"
    start = time.perf_counter()
    report = lint("notes.md", text)
    seconds = time.perf_counter() - start
    row(f"lint of {len(report.findings)} formulas, {len(report.refuted)} refuted", f"{seconds:.1f} s", "")


def printed(case: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The right formula and the slip in LaTeX, both by our printer."""
    question, _, _ = next(_of_claim(case, text=True))
    try:
        right, slip = (read_claim(case[k], context_of(question)).links[-1] for k in ("fix", "answer"))
    except SymgradError:
        return
    yield to_latex(right), to_latex(slip)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument(
        "--text", action="store_true", help="the claims in the text language instead of LaTeX"
    )
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument(
        "--mutants", type=int, default=0, help="mutants of every right claim, at most so many"
    )
    parser.add_argument("--all", action="store_true", help="print every claim, not only what went wrong")
    parser.add_argument("--figures", action="store_true", help="speed, and other programs on the same claims")
    options = parser.parse_args()
    cases = list(claims(options.file, options.text))
    lines = [json.dumps(question) for question, _, _ in cases]
    start = time.perf_counter()
    answers = [json.loads(a) for a in verdict_lines(lines, jobs=options.jobs)]
    wall = time.perf_counter() - start
    table: Counter[str] = Counter()
    words: Counter[str] = Counter()
    named = slips = 0
    for (question, right, why), answer in zip(cases, answers, strict=True):
        became = outcome(answer, right)
        table[became] += 1
        words[answer["verdict"]] += 1
        wanted = SYNONYMS.get(why or "", why)
        slips += why is not None
        named += why is not None and answer["kind"] == wanted
        if options.all or became != "right" or (why is not None and answer["kind"] != wanted):
            print(
                f"{question['id']}: {became}: {answer['verdict']}, {answer['kind']} (key: {why}) | {answer['read_as']}"
            )
            if became == "refused":
                print(f"    {answer['message']}")
    print(f"\n{len(cases)} claims: " + ", ".join(f"{k} {n}" for k, n in table.most_common()))
    print("verdicts: " + ", ".join(f"{k} {n}" for k, n in words.most_common()))
    print(f"slips named as in the key: {named} of {slips}")
    busy = sum(a["seconds"] for a in answers)
    print(
        f"{len(cases) / busy:.1f} claims a second and core; {len(cases) / wall:.1f} a second with {options.jobs} processes"
    )
    if options.figures:
        figures(options.file)
    if options.mutants:
        mutation_score(cases, options.mutants, options.jobs)


if __name__ == "__main__":
    main()
