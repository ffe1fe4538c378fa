"""Corrected formulas written back into their document, in the document's own spelling.

A formula is replaced only if what would stand there is read back, judged again and found right. The file is replaced
when the new one is whole.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator

from sympy import Expr, MatrixSymbol, Symbol
from sympy.matrices.expressions.matexpr import MatrixElement

from symgrad.errors import SymgradError
from symgrad.expr import is_matrix, leaf_name, leaves, substitute, walk
from symgrad.linting.findings import Part, Report
from symgrad.linting.statements import symbols_in_node, with_fonts
from symgrad.reading.latex.tree import parse_statements, walk_nodes
from symgrad.rendering.latex import to_latex
from symgrad.verifying import verdict_on

__all__ = ["corrected", "difference"]

_PLACEHOLDER = re.compile(r"X_\{?(90\d\d)\}?")


def corrected(report: Report) -> tuple[str, int]:
    """The text of the document with its wrong formulas corrected, and how many were."""
    cells = {cell.number: cell for cell in report.document.cells}
    changed: dict[int | None, str] = {}
    count = 0
    spelling = _spelling(report)
    for finding in reversed(report.refuted):
        text = changed.get(finding.cell, cells[finding.cell].text)
        for part in reversed(finding.parts):
            edits = _edits(part, spelling)
            places = [finding.written.source(finding.start + part.start + a, finding.start + part.start + b)
                      for a, b, _ in edits]  # fmt: skip
            if not edits or None in places:
                continue  # out of reach, or a macro stands across the border
            for place, (_, _, new) in sorted(zip(places, edits, strict=True), reverse=True):
                assert place is not None  # noqa: S101 - asked before
                text = text[: finding.at + place[0]] + new + text[finding.at + place[1] :]
            count += 1
        changed[finding.cell] = text
    if report.document.notebook is None:
        return changed.get(None, report.document.cells[0].text), count
    book = report.document.notebook
    for number, text in changed.items():
        assert number is not None  # noqa: S101 - cells of a notebook have numbers
        cell = book["cells"][number - 1]
        cell["source"] = text.splitlines(keepends=True) if isinstance(cell["source"], list) else text
    return json.dumps(book, ensure_ascii=False, indent=1) + "\n", count


def difference(name: str, before: str, after: str) -> str:
    """What would change, as a unified diff."""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), name, name + " (corrected)"
    )
    return "".join(line if line.endswith("\n") else line + "\n" for line in lines)


def _edits(part: Part, spelling: dict[str, str]) -> list[tuple[int, int, str]]:
    """What stands in place of the wrong links of a statement, and where; none where that is out of reach."""
    text, verdict = part.text, part.verdict
    found: list[tuple[int, int, str]] = []
    for _ in range(3):
        if verdict is None or verdict.verdict != "refuted" or verdict.link is None or part.context is None:
            return []
        claim, suggestion = verdict.claim, verdict.suggestion
        if suggestion is None or claim.indices or any(isinstance(n, MatrixElement) for n in walk(suggestion)):
            return []
        (chain,) = parse_statements(text)
        links = chain.parts[0::2][-len(claim.links) :] if claim.links else chain.parts[2::2]
        side = links[verdict.link if claim.links else -1]
        start, new = with_fonts(text, side.at), _spelt(verdict.as_written(suggestion), spelling)
        if found and start < found[-1][0] + len(found[-1][2]):
            return []  # a link is mended twice, or before one that was
        moved = sum(len(n) - (b - a) for a, b, n in found)
        found.append((start - moved, side.end - moved, new))
        text = text[:start] + new + text[side.end :]
        try:
            verdict = verdict_on(text, part.context)
        except SymgradError:
            return []
        if verdict.is_right:
            return found
    return []


def _spelling(report: Report) -> dict[str, str]:
    """How the document writes each name: as it does where it first occurs."""
    found: dict[str, str] = {}
    for finding in report.findings:
        for part in finding.parts:
            for name, written in _symbols(part.text, report.mark):
                found.setdefault(name, written)
    return found


def _symbols(text: str, mark: str) -> Iterator[tuple[str, str]]:
    try:
        statements = parse_statements(text)
    except SymgradError:
        return
    for statement in statements:
        for node in walk_nodes(statement):
            if node.kind in ("letter", "accent", "scripted") and (name := symbols_in_node(node, mark=mark)):
                written = text[with_fonts(text, node.at) : node.end]
                if not re.search(r"\^\s*\{?\s*(?:\\top|T|\\intercal|\\mathsf|\d)", written):
                    yield name, written


def _spelt(e: Expr, spelling: dict[str, str]) -> str:
    """An expression in LaTeX with the document's names."""
    names = {
        leaf: f"X{9000 + n}"
        for n, leaf in enumerate(sorted(set(leaves(e)), key=str))
        if leaf_name(leaf) in spelling
    }
    swapped = {
        leaf: MatrixSymbol(name, *leaf.shape) if is_matrix(leaf) else Symbol(name, real=True)
        for leaf, name in names.items()
    }
    written = {name[1:]: spelling[leaf_name(leaf)] for leaf, name in names.items()}
    printed = to_latex(substitute(e, swapped))

    def back(match: re.Match[str]) -> str:
        text = written[match[1]]
        followed = printed[match.end() : match.end() + 1]
        return f"{{{text}}}" if "^" in text and followed == "^" else text

    return _PLACEHOLDER.sub(back, printed)
