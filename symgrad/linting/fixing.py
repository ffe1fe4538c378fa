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
from symgrad.linting.checker import Part, Report, symbols_in_node
from symgrad.reading.latex_tree import parse_statements, walk_nodes
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
        cell = cells[finding.cell]
        text = changed.get(finding.cell, cell.text)
        if cell.text[finding.start : finding.end].strip() != finding.formula:
            continue  # marks of a quotation stand inside
        for part in reversed(finding.parts):
            new = _corrected_part(part, spelling)
            if new is not None:
                at = finding.start + part.start
                text = text[:at] + new + text[at + len(part.text) :]
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


def _corrected_part(part: Part, spelling: dict[str, str]) -> str | None:
    """The statement with its wrong links replaced; None where that is out of reach."""
    text, verdict = part.text, part.verdict
    for _ in range(3):
        if verdict is None or verdict.verdict != "refuted" or verdict.link is None or part.context is None:
            return None
        claim, suggestion = verdict.claim, verdict.suggestion
        if suggestion is None or claim.indices or any(isinstance(n, MatrixElement) for n in walk(suggestion)):
            return None
        (chain,) = parse_statements(text)
        links = chain.parts[0::2][-len(claim.links) :] if claim.links else chain.parts[2::2]
        side = links[verdict.link if claim.links else -1]
        text = text[: side.at] + _spelt(verdict.as_written(suggestion), spelling) + text[side.end :]
        try:
            verdict = verdict_on(text, part.context)
        except SymgradError:
            return None
        if verdict.is_right:
            return text
    return None


def _spelling(report: Report) -> dict[str, str]:
    """How the document writes each name: as it does where it first occurs."""
    found: dict[str, str] = {}
    for finding in report.findings:
        for part in finding.parts:
            for name, written in _symbols(part.text):
                found.setdefault(name, written)
    return found


def _symbols(text: str) -> Iterator[tuple[str, str]]:
    try:
        statements = parse_statements(text)
    except SymgradError:
        return
    for statement in statements:
        for node in walk_nodes(statement):
            if node.kind in ("letter", "accent", "scripted") and (name := symbols_in_node(node)):
                written = text[node.at : node.end]
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
