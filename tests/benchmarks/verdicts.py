"""The verdict table of a file of cases: how many claims are judged right, how fast, and which mutants survive.

    python tests/benchmarks/verdicts.py FILE.jsonl [--text] [--jobs 2] [--mutants 40] [--all]

Two kinds of files are read: claims (`claim_latex`, `context`, `verdict`, `why`, `answer`, `fix`), and questions with an
answer and wrong ones (`f`, `answer`, `wrong`). The program that is measured sees neither verdict nor answer.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from symgrad.verify_batch import verdict_line, verdict_lines

SYNONYMS = {"order swapped": "swapped order", "kernel not flipped": "other", "symmetry assumed": "other"}


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
    accepted = answer["verdict"] in ("proved", "verified", "agrees")
    if not accepted and answer["verdict"] != "refuted":
        return "refused"
    if accepted == right:
        return "right"
    return "WRONG ACCEPTED" if accepted else "RIGHT REFUTED"


def mutants(question: dict[str, Any], most: int) -> Iterator[tuple[str, str]]:
    """One-edit mutants of a claim in the text language, with the kind of edit."""
    from symgrad.checking.edits import Vocabulary, edited
    from symgrad.errors import SymgradError
    from symgrad.reading.claim import read_claim
    from symgrad.rendering import to_numpy
    from symgrad.verify_batch import context_of

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


def mutation_score(cases: list[tuple[dict[str, Any], bool, str | None]], most: int) -> None:
    """How many mutants of right claims are refuted; every survivor is printed."""
    counted: Counter[str] = Counter()
    for question, right, _ in cases:
        if not right:
            continue
        for kind, text in mutants(question, most):
            answer = json.loads(verdict_line(json.dumps({**question, "claim": text})))
            word = answer["verdict"]
            counted[
                "refuted"
                if word == "refuted"
                else "survived"
                if word in ("proved", "verified", "agrees")
                else "refused"
            ] += 1
            if word not in ("refuted",):
                print(f"  {question['id']}: {word}, {kind}: {text}   for {question['claim']}")
    total = sum(counted.values())
    print(f"mutants: {total}, " + ", ".join(f"{k} {n}" for k, n in counted.most_common()))


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
    if options.mutants:
        mutation_score(cases, options.mutants)


if __name__ == "__main__":
    main()
