r"""Formulas in documents: Markdown, LaTeX and notebooks, with their places.

One pass from left to right over what can hold or hide a formula, in a fixed order: code, verbatim, environments, `$$`,
`\[`, `\(`, an escaped dollar, `$`, and comments in LaTeX. Every formula keeps its place in the source, in code points, so
that it can be replaced there. A notebook is scanned cell by cell.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from symgrad.errors import ReadError, TooLargeError
from symgrad.reading.latex.macros import Macro, find_macros

__all__ = ["QUOTED", "Cell", "Document", "FoundFormula", "Problem", "read_document", "scan"]

Form = Literal["md", "tex"]

_ENVIRONMENTS = "equation|align|gather|multline|eqnarray|flalign|alignat|displaymath|math|dmath"
_START = re.compile(
    r"(?P<fence>^[ \t]*(?P<ticks>`{3,}|~{3,})[^\n]*$)"
    r"|(?P<verbatim>\\begin\{(?P<vname>verbatim\*?|lstlisting|minted|comment)\})"
    r"|(?P<verb>\\verb\*?(?P<bar>[^\sA-Za-z*]))"
    r"|(?P<code>`+)"
    rf"|(?P<env>\\begin\{{(?P<ename>(?:{_ENVIRONMENTS})\*?)\}})"
    r"|(?P<break>\\\\(?=[\[(]))"
    r"|(?P<display>\$\$)"
    r"|(?P<square>\\\[)"
    r"|(?P<round>\\\()"
    r"|(?P<escaped>\\[$%`\\])"
    r"|(?P<dollar>\$)"
    r"|(?P<html><!--)"
    r"|(?P<comment>%)",
    re.MULTILINE,
)
_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
_TEXT = re.compile(r"\\(?:text|mathrm|textrm|mbox|textbf|operatorname)\s*\{[^{}]*\}")
_MONEY = re.compile(r"\s*[\d.,]+\s*")
_LARGEST = 5_000_000


@dataclass(frozen=True)
class FoundFormula:
    """A formula: what stands between its delimiters, where that is, and whether it is displayed.

    `start` and `end` are offsets of the body in the text that was scanned; `line` and `column` are 1-based, of the
    formula's first character. `environment` is the name of a math environment, as `align`.
    """

    body: str
    start: int
    end: int
    line: int
    column: int
    displayed: bool
    environment: str | None = None


@dataclass(frozen=True)
class Problem:
    """A delimiter that is not closed."""

    what: str
    line: int
    column: int


@dataclass
class Cell:
    """A text with its formulas; of a notebook one markdown cell, else the whole document.

    `number` is the cell's number in a notebook (from 1), None elsewhere.
    """

    text: str
    form: Form
    number: int | None = None
    formulas: list[FoundFormula] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    macros: list[Macro] = field(default_factory=list)


@dataclass
class Document:
    """The cells of a document, and the notebook they were taken from, if it is one."""

    name: str
    cells: list[Cell]
    notebook: dict[str, Any] | None = None


def read_document(name: str, text: str) -> Document:
    """The document with its formulas; the ending of its name says what it is, else it is Markdown.

    Raises   ReadError for a notebook that is none
    """
    if len(text) > _LARGEST:
        raise TooLargeError(f"{name} has more than {_LARGEST} characters")
    if name.lower().endswith(".ipynb"):
        return _notebook(name, text)
    form: Form = "tex" if name.lower().endswith((".tex", ".ltx", ".latex")) else "md"
    cell = Cell(text, form, macros=find_macros(text))
    cell.formulas, cell.problems = scan(text, form)
    return Document(name, [cell])


def _notebook(name: str, text: str) -> Document:
    try:
        data = json.loads(text)
        cells = data["cells"]
        found = []
        for number, cell in enumerate(cells, 1):
            if cell.get("cell_type") != "markdown":
                continue
            source = cell["source"]
            joined = "".join(source) if isinstance(source, list) else str(source)
            one = Cell(joined, "md", number, macros=find_macros(joined))
            one.formulas, one.problems = scan(joined, "md")
            found.append(one)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ReadError(f"{name} is no notebook", hint="a notebook is JSON with a list of cells") from None
    return Document(name, found, data)


def scan(text: str, form: Form = "md") -> tuple[list[FoundFormula], list[Problem]]:
    r"""The formulas of a text, and the delimiters that are not closed.

    >>> formulas, problems = scan("Let $x$ be\n\n$$\ny = 2 x\n$$\n")
    >>> [(f.body, f.line, f.column, f.displayed) for f in formulas]
    [('x', 1, 6, False), ('y = 2 x', 4, 1, True)]
    """
    return _Scanner(text, form).run()


class _Scanner:
    def __init__(self, text: str, form: Form) -> None:
        self.text, self.form = text, form
        self.formulas: list[FoundFormula] = []
        self.problems: list[Problem] = []
        self._lines = [0, *(m.end() for m in re.finditer("\n", text))]
        # What a macro stands for is no formula of the text: \newcommand{\be}{\begin{equation}}.
        self._defined = [(m.start, m.end) for m in find_macros(text)] if form == "tex" else []

    def run(self) -> tuple[list[FoundFormula], list[Problem]]:
        at = 0
        while match := _START.search(self.text, at):
            inside = next((e for s, e in self._defined if s <= match.start() < e), None)
            at = self._after(match) if inside is None else inside
        return self.formulas, self.problems

    def _after(self, m: re.Match[str]) -> int:
        """Where to go on after what begins here."""
        kind = m.lastgroup or ""
        groups = m.groupdict()
        if groups["fence"] is not None:
            if self.form == "tex":
                return m.start() + 1
            end = re.compile(rf"^[ \t]*{re.escape(groups['ticks'])}[ \t]*$", re.MULTILINE).search(
                self.text, m.end()
            )
            if groups["fence"].strip().endswith("math") and end is not None:
                self._add(m.end() + 1, end.start(), True)
            return len(self.text) if end is None else end.end()
        if groups["verbatim"] is not None:
            end_at = self.text.find(rf"\end{{{groups['vname']}}}", m.end())
            return len(self.text) if end_at < 0 else end_at
        if groups["verb"] is not None:
            end_at = self.text.find(groups["bar"], m.end())
            return m.end() if end_at < 0 else end_at + 1
        if groups["code"] is not None:
            if self.form == "tex":
                return m.end()
            end_at = self._code_end(groups["code"], m.end())
            return m.end() if end_at < 0 else end_at
        if groups["env"] is not None:
            return self._environment(groups["ename"], m)
        if groups["break"] is not None:
            return m.end() if self.form == "tex" else self._delimited(m, {"[": "\\\\]", "(": "\\\\)"})
        if groups["display"] is not None:
            return self._closed(m, "$$", True)
        if groups["square"] is not None:
            return self._closed(m, r"\]", True)
        if groups["round"] is not None:
            return self._closed(m, r"\)", False)
        if groups["dollar"] is not None:
            return self._dollar(m)
        if groups["html"] is not None:
            end_at = self.text.find("-->", m.end())
            return m.end() if end_at < 0 or self.form == "tex" else end_at
        if groups["comment"] is not None and self.form == "tex":
            end_at = self.text.find("\n", m.end())
            return len(self.text) if end_at < 0 else end_at
        del kind
        return m.end()

    def _code_end(self, ticks: str, at: int) -> int:
        """The end of inline code: as many backticks, in the same paragraph."""
        stop = self.text.find("\n\n", at)
        for other in re.compile(r"`+").finditer(self.text, at, stop if stop >= 0 else len(self.text)):
            if other[0] == ticks:
                return other.end()
        return -1

    def _delimited(self, m: re.Match[str], closing: dict[str, str]) -> int:
        r"""\\[ .. \\] as some Markdown needs it."""
        opened = self.text[m.end()]
        end = self.text.find(closing[opened], m.end() + 1)
        if end < 0 or "\n\n" in self.text[m.end() : end]:
            return m.end()
        self._add(m.end() + 1, end, opened == "[")
        return end + len(closing[opened])

    def _environment(self, name: str, m: re.Match[str]) -> int:
        closing = rf"\end{{{name}}}"
        end = self.text.find(closing, m.end())
        if end < 0:
            self._problem(rf"\begin{{{name}}} is not closed", m.start())
            return m.end()
        start = m.end()
        if name.startswith("alignat") and (argument := re.compile(r"\{\d+\}").match(self.text, start)):
            start = argument.end()
        self._add(start, end, name != "math", name.rstrip("*"))
        return end + len(closing)

    def _closed(self, m: re.Match[str], closing: str, displayed: bool) -> int:
        end = self._find(closing, m.end(), over_blank_lines=closing == "$$")
        if end is None:
            self._problem(f"{m[0]} is not closed", m.start())
            return m.end()
        self._add(m.end(), end, displayed)
        return end + len(closing)

    def _dollar(self, m: re.Match[str]) -> int:
        end = self._find("$", m.end(), over_blank_lines=False)
        if end is None:
            self._problem("$ is not closed", m.start())
            return m.end()
        body = self.text[m.end() : end]
        two_prices = self.text[end + 1 : end + 2].isdigit() and body[:1].isdigit()
        if two_prices or not body.strip() or _MONEY.fullmatch(body) or _HAN.search(_TEXT.sub("", body)):
            return m.end()
        self._add(m.end(), end, False)
        return end + 1

    def _find(self, closing: str, at: int, over_blank_lines: bool) -> int | None:
        """The closing delimiter, outside of braces; None if a blank line comes first."""
        depth = 0
        while at < len(self.text):
            if depth <= 0 and self.text.startswith(closing, at):
                return at
            c = self.text[at]
            if c == "\\":
                at += 2
                continue
            if c == "{":
                depth += 1
            elif c == "}":
                depth -= 1
            elif c == "\n" and not over_blank_lines and re.compile(r"\n[ \t>]*\n").match(self.text, at):
                return None
            at += 1
        return None

    def _add(self, start: int, end: int, displayed: bool, environment: str | None = None) -> None:
        body = self.text[start:end]
        if not displayed and (inner := re.fullmatch(r"(\s*)\$(.*)\$(\s*)", body, re.DOTALL)):
            start, end = start + len(inner[1]) + 1, end - len(inner[3]) - 1
            body = self.text[start:end]
        start += len(body) - len(body.lstrip())
        end = max(start, end - (len(body) - len(body.rstrip())))
        body = self.text[start:end]
        if not body:
            return
        if displayed and environment is None and (m := re.match(r"\\begin\{(\w+)\*?\}", body)):
            environment = m[1]
        line, column = self._place(start)
        self.formulas.append(FoundFormula(body, start, end, line, column, displayed, environment))

    def _problem(self, what: str, at: int) -> None:
        self.problems.append(Problem(what, *self._place(at)))

    def _place(self, at: int) -> tuple[int, int]:
        import bisect

        line = bisect.bisect_right(self._lines, at)
        return line, at - self._lines[line - 1] + 1


QUOTED = r"(?m)^[ \t]*>[ \t]?"
"""The mark of a block quotation at the beginning of a line."""


def prose(cell: Cell) -> Iterator[tuple[int, str]]:
    """The text between the formulas, with its offsets."""
    at = 0
    for f in cell.formulas:
        yield at, cell.text[at : f.start]
        at = f.end
    yield at, cell.text[at:]
