"""Findings in a format: one line each for people, JSON, GitHub annotations, SARIF; the catalogue of codes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from symgrad.checking.diagnose import KINDS_OF_SLIP
from symgrad.linting.findings import Finding, Reason, Report
from symgrad.rendering.latex import to_latex
from symgrad.rendering.phrases import load
from symgrad.rendering.verdict import message, shown, spelt

__all__ = ["CODES", "FORMATS", "code_of", "readings", "render", "skipped", "to_json"]

FORMATS = ("text", "json", "github", "sarif")

CODES: Mapping[str, str] = {
    **{f"SG{101 + n}": kind for n, kind in enumerate(sorted(KINDS_OF_SLIP))},
    "SG301": "not decided",
    "SG901": "delimiter not closed",
}
"""A code for every kind of slip, for what could not be decided, and for formulas that do not end."""

_CODE_OF = {kind: code for code, kind in CODES.items()}


def code_of(finding: Finding) -> str | None:
    """The code of a formula that is wrong or not decided; None where there is nothing to say."""
    verdict = finding.verdict
    if verdict is None or finding.ignored:
        return None
    if verdict.verdict == "refuted":
        return _CODE_OF[verdict.kind or "other"]
    return "SG301" if verdict.verdict == "undecided" else None


def render(reports: Iterable[Report], form: str = "text", lang: str = "en") -> str:
    """All findings in a format."""
    listed = list(reports)
    if form == "json":
        rows = [{**to_json(f, lang), "readings": readings(r, lang)} for r in listed for f in r.findings]
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if form == "sarif":
        return json.dumps(_sarif(listed, lang), ensure_ascii=False, indent=2) + "\n"
    lines: list[str] = []
    for report in listed:
        for line, column, code, text in _messages(report, lang):
            if form == "github":
                level = "warning" if code == "SG301" else "error"
                lines.append(
                    f"::{level} file={report.file},line={line},col={column},title={code}::{_github(text)}"
                )
            else:
                lines.append(f"{report.file}:{line}:{column}: {code} {text}")
    return "".join(line + "\n" for line in lines)


def _messages(report: Report, lang: str) -> list[tuple[int, int, str, str]]:
    found = []
    for finding in report.findings:
        code = code_of(finding)
        if code is None:
            continue
        found.append((finding.line, finding.column, code, _cell(finding.cell) + described(finding, lang)))
    found += [(p.line, p.column, "SG901", _cell(number) + p.what) for p, number in report.problems]
    return sorted(found)


def _cell(number: int | None) -> str:
    return "" if number is None else f"(cell {number}) "


def described(finding: Finding, lang: str) -> str:
    """What is wrong, and what would be right."""
    verdict = finding.verdict
    assert verdict is not None  # noqa: S101 - asked before
    text = f"{verdict.kind}: " if verdict.kind else ""
    text += message(verdict, lang)
    right = None if verdict.suggestion is None else shown(verdict.as_written(verdict.suggestion))
    if right is not None:
        text += f" [{verdict.claim.read_as.partition(' = ')[0]} = {right}]"
    return text


def skipped(reasons: Iterable[Reason | None], lang: str = "en") -> str:
    """Why a formula was skipped, in words."""
    phrases = load(lang).phrases
    return "; ".join(phrases[f"lint.{r.key}"].replace("{what}", r.what) for r in reasons if r is not None)


def readings(report: Report, lang: str = "en") -> str:
    """How names without a declared shape were read, in words; nothing where all were declared."""
    phrases = load(lang).phrases
    if report.readings.numbers:
        return phrases["lint.all_numbers"]
    listed = []
    for name, sizes, labels in report.readings.names:
        shape = " x ".join(sizes) if sizes else phrases["lint.scalar"]
        listed.append(f"{name}: {shape}" + (f" ({phrases['lint.labels']})" if labels else ""))
    return ", ".join(listed)


def _github(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def to_json(finding: Finding, lang: str = "en") -> dict[str, Any]:
    """A formula as data: the fields of the contract, then the parts."""
    verdict = finding.verdict
    record: dict[str, Any] = {
        "file": finding.file,
        "line": finding.line,
        "column": finding.column,
        "formula": finding.formula,
        "displayed": finding.displayed,
        "role": finding.role,
        "verdict": None if verdict is None else verdict.verdict,
        "kind": None if verdict is None else verdict.kind,
        "code": code_of(finding),
        "message": skipped(finding.reasons, lang) if verdict is None else message(verdict, lang),
        "suggestion": None
        if verdict is None or verdict.suggestion is None
        else spelt(verdict.written_out(verdict.suggestion)),
        "suggestion_latex": None
        if verdict is None or verdict.suggestion is None
        else to_latex(verdict.as_written(verdict.suggestion)),
        "ignored": finding.ignored,
        "parts": [
            {
                "formula": p.text,
                "role": p.role,
                "verdict": None if p.verdict is None else p.verdict.verdict,
                "kind": None if p.verdict is None else p.verdict.kind,
                "read_as": None if p.verdict is None else p.verdict.claim.read_as,
                "message": skipped([p.reason], lang) if p.verdict is None else message(p.verdict, lang),
            }
            for p in finding.parts
        ],
    }
    if finding.cell is not None:
        record["cell"] = finding.cell
    return record


def _sarif(reports: list[Report], lang: str) -> dict[str, Any]:
    results = []
    used: dict[str, None] = {}
    for report in reports:
        for line, column, code, text in _messages(report, lang):
            used.setdefault(code)
            region = {"startLine": line, "startColumn": column}
            place = {"artifactLocation": {"uri": report.file}, "region": region}
            results.append(
                {
                    "ruleId": code,
                    "level": "warning" if code == "SG301" else "error",
                    "message": {"text": text},
                    "locations": [{"physicalLocation": place}],
                }
            )
    from importlib.metadata import version

    rules = [
        {"id": c, "name": CODES[c].title().replace(" ", ""), "shortDescription": {"text": CODES[c]}}
        for c in used
    ]
    tool = {"driver": {"name": "symgrad", "version": version("symgrad"), "rules": rules}}
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": tool, "results": results, "columnKind": "unicodeCodePoints"}],
    }
