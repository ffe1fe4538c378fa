"""The walk down a document: what a formula is, and whether it is true."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator

from symgrad.errors import SymgradError
from symgrad.linting.findings import Finding, Part, Reason, Report
from symgrad.linting.judging import Judge
from symgrad.linting.notes import Notes
from symgrad.linting.overview import overview
from symgrad.linting.prose import said_by_formula, said_by_sentence
from symgrad.linting.statements import has_derivative, is_remark, rows
from symgrad.reading.document import Cell, FoundFormula, read_document
from symgrad.reading.latex.macros import Written
from symgrad.reading.latex.tree import parse_statements

__all__ = ["lint"]

_OFF = re.compile(r"(?:<!--|%)\s*symgrad:\s*(?P<what>off|on|ignore(?:\s+(?P<codes>[A-Z0-9, ]+))?)\s*(?:-->)?")
_LONGEST_SENTENCE = 400


def lint(name: str, text: str, *, seconds: float = 10.0) -> Report:
    r"""Check every displayed formula of a document, and those in lines that hold a derivative.

    >>> report = lint("notes.md", "Let $x \\in \\mathbb{R}^n$.\n\n$$f = x^\\top x$$\n\n"
    ...               "$$\\frac{\\partial f}{\\partial x} = x$$\n")
    >>> [(f.role, f.verdict and f.verdict.kind) for f in report.findings]
    [('definition', None), ('claim', 'wrong factor')]

    Raises   ReadError for a document that cannot be read at all
    """
    document = read_document(name, text)
    report = Report(name, document=document)
    walk = _Walk(report, seconds)
    for cell in document.cells:
        walk.cell(cell)
    walk.again()
    report.readings = walk.notes.readings()
    return report


class _Walk:
    def __init__(self, report: Report, seconds: float) -> None:
        self.report = report
        self.overview = overview(report.document)
        self.notes = Notes(
            mark=self.overview.mark,
            functions=self.overview.functions,
            samples=self.overview.samples,
            last=self.overview.last,
            defined=self.overview.defined,
            samples_of=self.overview.samples_of,
            shapes=dict(self.overview.stacks),
        )
        self.mark = report.mark = self.overview.mark or "l"
        self.judge = Judge(self.notes, self.mark, seconds)
        self.waiting: list[tuple[Part, int]] = []
        self.in_lines: list[str] = []
        self.heard: tuple[int | None, int, int] | None = None

    def cell(self, cell: Cell) -> None:
        """Go through the formulas of a text in order."""
        self.report.problems += [(p, cell.number) for p in cell.problems]
        off = False
        for before, formula in _in_order(cell):
            for match in _OFF.finditer(before):
                off = {"off": True, "on": False}.get(match["what"], off)
            ignored = off or bool(_last_ignore(before))
            written = self.overview.body(cell, formula)
            self.notes.later = self.overview.declared(cell, formula.start)
            self.notes.scalars = self.overview.scalar_at(cell, formula.start)
            if formula.displayed:
                self.notes.hear(said_by_sentence(before[-400:], [], self.mark))
                if "softmax" in formula.body:
                    self._hear_axis(cell, formula)
            self._hear_prose(cell, formula)
            self.notes.hear(said_by_formula(written.text, self.mark))
            if formula.displayed or has_derivative(written.text):
                self._formula(cell, formula, written, ignored)
            elif "=" in written.text:
                self.in_lines.append(written.text)

    def _hear_axis(self, cell: Cell, formula: FoundFormula) -> None:
        """Along which axis a softmax goes, said in the formula or in the sentence that goes on after it."""
        after = re.split(
            r"\.\s|。|\$\$|\\\[|\\begin", cell.text[formula.end : formula.end + 240].lstrip(" $\n]\\")
        )[0]
        self.notes.hear(said_by_sentence(f"{formula.body} {after}", [], self.mark))

    def again(self) -> None:
        """Claims whose names were not defined yet are looked at once more.

        The whole document is known then, and the definitions that stood in lines of text before the claim.
        """
        for part, seen in self.waiting:
            notes = self.notes.copy()
            for text in self.in_lines[:seen]:
                self.judge.define_in_line(text, notes)
            self.judge.claim(part, part.text, notes, last=True)

    def _hear_prose(self, cell: Cell, formula: FoundFormula) -> None:
        """The sentence around an inline formula, up to the next displayed one."""
        if formula.displayed:
            return
        least, most = max(0, formula.start - _LONGEST_SENTENCE), formula.end + _LONGEST_SENTENCE
        stops = (". ", "。", "\n\n", "；", "! ", "? ")
        start = max(least - 1, *(cell.text.rfind(stop, least, formula.start) for stop in stops))
        ends = [
            e
            for stop in (". ", ".\n", "。", "\n\n", "；")
            if (e := cell.text.find(stop, formula.end, most)) >= 0
        ]
        end = min(ends, default=min(most, len(cell.text)))
        if (cell.number, start, end) == self.heard:
            return
        self.heard = (cell.number, start, end)
        sentence = cell.text[start + 1 : end]
        first = bisect_right(cell.formulas, start, key=lambda f: f.start)
        last = bisect_right(cell.formulas, end, key=lambda f: f.end)
        places = [
            (f.start - start - 1, f.end - start - 1, self.overview.body(cell, f).text)
            for f in cell.formulas[first:last]
        ]
        self.notes.hear(said_by_sentence(sentence, places, self.mark))

    def _formula(self, cell: Cell, formula: FoundFormula, written: Written, ignored: bool) -> None:
        for start, row in rows(written.text):
            parts = self._parts(row, cell.text[: formula.start])
            if not formula.displayed and all(p.role == "skipped" for p in parts):
                # Of the formulas in lines only those are listed that say something.
                if not any(_is_undefined(p) for p in parts):
                    continue
            line, column = _moved(formula, written, start)
            finding = Finding(
                self.report.file,
                line,
                column,
                row.strip(),
                parts,
                formula.displayed,
                cell.number,
                start,
                start + len(row),
                ignored,
                written,
                formula.start,
            )
            self.report.findings.append(finding)
            seen = len(self.in_lines)
            self.waiting += [(p, seen) for p in parts if _is_undefined(p)]

    def _parts(self, row: str, before: str) -> list[Part]:
        try:
            statements = parse_statements(row)
        except SymgradError as error:
            return [Part(row, 0, "skipped", reason=Reason("unreadable", error.message))]
        except RecursionError:
            return [Part(row, 0, "skipped", reason=Reason("too_deep"))]
        return [self.judge.statement(row, s, before) for s in statements if not is_remark(s)] or [
            Part(row, 0, "skipped", reason=Reason("no_equation"))
        ]


def _is_undefined(part: Part) -> bool:
    return part.reason is not None and part.reason.key == "undefined"


def _in_order(cell: Cell) -> Iterator[tuple[str, FoundFormula]]:
    """Every formula with the text since the one before."""
    at = 0
    for f in cell.formulas:
        yield cell.text[at : f.start], f
        at = f.end


def _last_ignore(before: str) -> str | None:
    """A comment right before the formula that switches its check off."""
    found = None
    for match in _OFF.finditer(before):
        if match["what"].startswith("ignore") and not before[match.end() :].strip(" \t\n$\\[("):
            found = match[0]
    return found


def _moved(formula: FoundFormula, written: Written, offset: int) -> tuple[int, int]:
    """Line and column of a place in a formula."""
    rest = written.text[offset:]
    skipped = written.at(offset + len(rest) - len(rest.lstrip()))
    before = formula.body[:skipped]
    line = formula.line + before.count("\n")
    column = skipped - before.rfind("\n") if "\n" in before else formula.column + skipped
    return line, column
