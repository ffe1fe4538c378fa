"""The walk down a document: what a formula is, and whether it is true."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from symgrad.errors import NameUnknownError, SymgradError
from symgrad.expr import Model, is_matrix, leaves
from symgrad.linting.notes import Notes
from symgrad.linting.prose import GENERIC, LAYERS, said_by_formula, said_by_sentence, symbols_in
from symgrad.reading.claim import Claim, Context
from symgrad.reading.document import Cell, FoundFormula, Problem, read_document, without_quotes
from symgrad.reading.latex_define import name_of
from symgrad.reading.latex_setting import Setting
from symgrad.reading.latex_tree import Node, parse_statements, walk_nodes
from symgrad.reading.latex_writing import derivative_parts
from symgrad.verifying import Verdict, verdict_on

__all__ = ["Finding", "Part", "Report", "lint"]

Role = Literal["definition", "claim", "skipped"]

_OFF = re.compile(r"(?:<!--|%)\s*symgrad:\s*(?P<what>off|on|ignore(?:\s+(?P<codes>[A-Z0-9, ]+))?)\s*(?:-->)?")
_LAYERS = re.compile(r"[\^_]\s*\{?\s*[\[(]\s*l\s*(?:[-+]\s*1\s*)?[\])]")
_NO_FUNCTIONS = frozenset(("Var", "Cov", "Pr", "rank", "argmin", "argmax", "std", "Std", "KL", "min", "max"))
_EQUAL = ("=", ":=", "=:")
_GRAVITY = ("refuted", "undecided", "agrees", "verified", "proved")


@dataclass
class Part:
    """One statement of a formula: what it is and what was found out."""

    text: str
    start: int
    role: Role
    verdict: Verdict | None = None
    reason: str = ""
    context: Context | None = field(default=None, repr=False)


@dataclass
class Finding:
    """A formula of the document with its parts.

    `start` and `end` are its offsets in the cell; `cell` the number of the cell in a notebook.
    """

    file: str
    line: int
    column: int
    formula: str
    role: Role
    parts: list[Part]
    displayed: bool = True
    cell: int | None = None
    start: int = 0
    end: int = 0
    ignored: bool = False

    @property
    def verdict(self) -> Verdict | None:
        """The gravest verdict of its parts."""
        found = [p.verdict for p in self.parts if p.verdict is not None]
        return min(found, key=lambda v: _GRAVITY.index(v.verdict), default=None)

    @property
    def reason(self) -> str:
        """Why it was skipped."""
        return "; ".join(dict.fromkeys(p.reason for p in self.parts if p.reason))


@dataclass
class Report:
    """All findings of a document, its unclosed delimiters, and how names without declared shapes were read."""

    file: str
    findings: list[Finding] = field(default_factory=list)
    problems: list[tuple[Problem, int | None]] = field(default_factory=list)
    readings: str = ""
    document: Any = None

    @property
    def refuted(self) -> list[Finding]:
        """The formulas that are wrong."""
        return [
            f
            for f in self.findings
            if not f.ignored and f.verdict is not None and f.verdict.verdict == "refuted"
        ]


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
        self.report, self.seconds = report, seconds
        self.notes = Notes()
        self.waiting: list[tuple[Finding, Part, int]] = []
        self.in_lines: list[str] = []

    def cell(self, cell: Cell) -> None:
        """Go through the formulas of a text in order."""
        self.report.problems += [(p, cell.number) for p in cell.problems]
        self.notes.layers = self.notes.layers or bool(_LAYERS.search(cell.text))
        off = False
        for before, formula in _in_order(cell):
            for match in _OFF.finditer(before):
                off = {"off": True, "on": False}.get(match["what"], off)
            ignored = off or bool(_last_ignore(before))
            if formula.displayed:
                self.notes.hear(said_by_sentence(before[-400:], []))
            self._hear_prose(cell, formula)
            self.notes.hear(said_by_formula(without_quotes(formula.body)))
            if formula.displayed or _has_derivative(formula.body):
                self._formula(cell, formula, ignored)
            elif "=" in formula.body:
                self.in_lines.append(formula.body)

    def again(self) -> None:
        """Claims whose names were not defined yet are looked at once more.

        The whole document is known then, and the definitions that stood in lines of text before the claim.
        """
        for finding, part, seen in self.waiting:
            notes = self.notes.copy()
            for text in self.in_lines[:seen]:
                self._define_in_line(text, notes)
            self._claim(part, part.text, notes, last=True)
            finding.role = _role(finding.parts)

    def _define_in_line(self, text: str, notes: Notes) -> None:
        try:
            (chain,) = parse_statements(text)
            sides = chain.parts[0::2]
            name = _name(sides[0]) if chain.kind == "chain" and len(sides) == 2 else None
            holds_names = any(n.kind in ("letter", "word", "accent") for n in walk_nodes(sides[-1]))
            if name is not None and holds_names and name not in notes.model.symbols:
                notes.define(text)
        except (SymgradError, ValueError, RecursionError):
            return

    def _hear_prose(self, cell: Cell, formula: FoundFormula) -> None:
        """The sentence around an inline formula, up to the next displayed one."""
        if formula.displayed:
            return
        start = max(
            cell.text.rfind(stop, 0, formula.start) for stop in (". ", "。", "\n\n", "；", "! ", "? ")
        )
        ends = [
            e for stop in (". ", ".\n", "。", "\n\n", "；") if (e := cell.text.find(stop, formula.end)) >= 0
        ]
        end = min(ends, default=len(cell.text))
        sentence = cell.text[start + 1 : end]
        places = [
            (f.start - start - 1, f.end - start - 1, f.body)
            for f in cell.formulas
            if f.start > start and f.end <= end
        ]
        self.notes.hear(said_by_sentence(sentence, places))

    def _in_layout(self, verdict: Verdict, text: str, context: Context, notes: Notes) -> Verdict:
        """The verdict in the layout of the document, which its first gradient by a vector or a matrix decides.

        A gradient by a vector that is written as a row decides nothing: many write rows and matrices side by side.
        """
        if not _layout_shows(verdict):
            return verdict
        if notes.layout is None:
            notes.layout = verdict.layout
        elif notes.layout != verdict.layout and verdict.claim.wrt.shape[1] != 1:  # type: ignore[union-attr]
            return verdict_on(text, replace(context, layout=notes.layout), seconds=self.seconds)
        return verdict

    def _formula(self, cell: Cell, formula: FoundFormula, ignored: bool) -> None:
        body = without_quotes(formula.body)
        for start, row in _rows(body):
            parts = self._parts(row)
            if not formula.displayed and all(p.role == "skipped" for p in parts):
                # Of the formulas in lines only those are listed that say something.
                if not any(p.reason.startswith("not defined") for p in parts):
                    continue
            line, column = _moved(formula, body, start)
            finding = Finding(
                self.report.file,
                line,
                column,
                row.strip(),
                _role(parts),
                parts,
                formula.displayed,
                cell.number,
                formula.start + start,
                formula.start + start + len(row),
                ignored,
            )
            self.report.findings.append(finding)
            seen = len(self.in_lines)
            self.waiting += [(finding, p, seen) for p in parts if p.reason.startswith("not defined")]

    def _parts(self, row: str) -> list[Part]:
        try:
            statements = parse_statements(row)
        except SymgradError as error:
            return [Part(row, 0, "skipped", reason=f"cannot be read: {error.message}")]
        except RecursionError:
            return [Part(row, 0, "skipped", reason="nested too deeply")]
        return [self._statement(row, s) for s in statements if not _is_remark(s)] or [
            Part(row, 0, "skipped", reason="no equation")
        ]

    def _statement(self, row: str, node: Node) -> Part:
        text = row[node.at : node.end]
        part = Part(text, node.at, "skipped")
        if node.kind != "chain" or node.parts[1].text not in _EQUAL:
            part.reason = "no equation"
            return part
        if any(r.text not in _EQUAL for r in node.parts[1::2]):
            part.reason = "not only equations"
            return part
        sides = node.parts[0::2]
        derivative_first = _is_derivative(sides[0])
        if derivative_first or (len(sides) > 2 and _is_derivative(sides[1])):
            self._claim(part, text, self.notes)
            if not derivative_first:
                self.notes.name_derivative(text)
            return part
        name = _name(sides[0])
        if _is_derivative(sides[1]):
            named = self.notes.name_derivative(text) or self._named_of_any_loss(text, sides[1])
            part.role = "definition" if named else "skipped"
            part.reason = "" if named else "the derivative cannot be read"
            return part
        if name is not None and self._is_signal(name):
            self._claim(part, text, self.notes)
            return part
        if name is None:
            self._identity(part, text)
            return part
        if name in _NO_FUNCTIONS:
            part.reason = f"nothing is derived here: {name} is not a function that is known"
            return part
        if self.notes.knows(name):
            self.notes.forget(name)
        try:
            self.notes.define(text)
            part.role = "definition"
        except (SymgradError, RecursionError) as error:
            part.reason = f"not read as a definition: {getattr(error, 'message', 'nested too deeply')}"
        return part

    def _named_of_any_loss(self, text: str, side: Node) -> bool:
        r"""\delta^{(l)} = \partial L/\partial z^{(l)} where nobody says what L is: any function of the last z."""
        parts = _of_and_by(side)
        of = None if parts is None else symbols_in_node(parts[0])
        if parts is None or of is None or of in self.notes.model.symbols:
            return False
        below = [parts[1]]
        known = [
            n for n in (symbols_in_node(below[0], layer) for layer in LAYERS) if n in self.notes.model.symbols
        ]
        return bool(known) and self.notes.stand_in(of, [str(known[-1])]) and self.notes.name_derivative(text)

    def _is_signal(self, name: str) -> bool:
        """Whether a name stands for a derivative."""
        lefts = [re.split(r":?=", t)[0] for t in self.notes.latex]
        return any(name in symbols_in(left, layer) for left in lefts for layer in LAYERS)

    def _identity(self, part: Part, text: str) -> None:
        """An equation between expressions is checked if all of its names are known."""
        try:
            verdict = verdict_on(text, self.notes.context(), seconds=self.seconds)
        except (SymgradError, RecursionError) as error:
            part.reason = f"not checkable: {getattr(error, 'message', 'nested too deeply')}"
            return
        part.role, part.verdict = "claim", verdict

    def _claim(self, part: Part, text: str, notes: Notes, last: bool = False) -> None:
        """Check a claim; a loss that nobody defined is any function of what the claim differentiates it by."""
        verdict: Verdict | None = None
        missing: str | None = None
        try:
            context = notes.context()
            verdict = verdict_on(text, context, seconds=self.seconds, shapes_said=_all_declared(notes))
            verdict = self._in_layout(verdict, text, context, notes)
            if verdict.claim.of is not None and not _depends(verdict.claim):
                missing = str(verdict.claim.of)
            slip = verdict.slip
            if (
                slip is not None
                and slip.key == "holds_if"
                and slip.terms["word"] not in ("symmetric", "orthogonal")
            ):
                # Notes leave out what goes without saying; that is no mistake, though nothing is shown either.
                verdict = replace(verdict, verdict="undecided", counterexample=None)
        except NameUnknownError as error:
            missing = error.message.partition(" is not ")[0]
        except (SymgradError, RecursionError) as error:
            part.reason = f"not checkable: {getattr(error, 'message', 'nested too deeply')}"
            return
        if missing is None:
            part.role, part.verdict, part.reason, part.context = "claim", verdict, "", context
            return
        named = symbols_in(missing)
        if last and len(named) == 1:
            notes.forget(named[0])
            if notes.stand_in(named[0], _differentiated_by(text, named[0])):
                self._claim(part, text, notes)
                return
        part.role, part.verdict = "skipped", None
        part.reason = f"not defined: {missing}"


def _layout_shows(verdict: Verdict) -> bool:
    """Whether a right claim shows the layout: the gradient by a vector or a matrix."""
    claim = verdict.claim
    return (
        verdict.is_right
        and claim.kind == "gradient"
        and claim.wrt is not None
        and is_matrix(claim.wrt)
        and (claim.wrt.shape[1] != 1 or verdict.layout == "gradient")
        and verdict.layout is not None
    )


def _depends(claim: Claim) -> bool:
    """Whether what is differentiated depends on the variable at all, by the definitions."""
    assert claim.of is not None  # noqa: S101 - asked before
    values = {d.symbol: d.value for d in claim.model.definitions()}
    stack, seen = [claim.of], set()
    while stack:
        for leaf in leaves(stack.pop()):
            if leaf == claim.wrt:
                return True
            if leaf not in seen:
                seen.add(leaf)
                if leaf in values:
                    stack.append(values[leaf])
    return claim.of == claim.wrt


def _all_declared(notes: Notes) -> bool:
    """Whether the document says of anything that it is a vector or a matrix."""
    return any(notes.shapes.values())


def _role(parts: list[Part]) -> Role:
    roles = [p.role for p in parts]
    return "claim" if "claim" in roles else "definition" if "definition" in roles else "skipped"


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


def _rows(body: str) -> Iterator[tuple[int, str]]:
    r"""The rows of an aligned formula; one that begins with a relation goes on with the row before."""
    inner = re.match(r"\\begin\{(aligned|align|split|gathered|gather|eqnarray|array)\*?\}(\{[^}]*\})?", body)
    start, end = 0, len(body)
    if inner:
        start = inner.end()
        closing = body.rfind(rf"\end{{{inner[1]}")
        end = closing if closing > start else end
    if r"\begin{cases}" in body or "matrix}" in body or r"\begin{array}" in body[start:]:
        yield 0, body
        return
    pieces = [(m.start(), m.end()) for m in re.finditer(r"\\\\(?:\s*\[[^\]]*\])?", body[start:end])]
    bounds = [start, *(start + e for _, e in pieces)]
    ends = [*(start + s for s, _ in pieces), end]
    rows: list[list[int]] = []
    for a, b in zip(bounds, ends, strict=True):
        text = body[a:b].strip().lstrip("&{} ").lstrip()
        if not text:
            continue
        if rows and (re.match(r"(=|\\(?:approx|le|ge|leq|geq|propto)\b|[-+])", text)):
            rows[-1][1] = b
        else:
            rows.append([a, b])
    for a, b in rows:
        if label := re.match(r"\s*\\label\s*\{[^{}]*\}", body[a:b]):
            a += label.end()
        yield a, body[a:b]


def _moved(formula: FoundFormula, body: str, offset: int) -> tuple[int, int]:
    """Line and column of a place in a formula."""
    skipped = offset + len(body[offset:]) - len(body[offset:].lstrip())
    before = body[:skipped]
    line = formula.line + before.count("\n")
    column = skipped - before.rfind("\n") if "\n" in before else formula.column + skipped
    return line, column


def _has_derivative(body: str) -> bool:
    return bool(re.search(r"\\partial|\\nabla|\\frac\s*\{?\s*(?:d|\\mathrm\s*\{?d)", body)) and "=" in body


def _is_remark(node: Node) -> bool:
    """A range of an index beside an equation."""
    if node.kind in ("number", "dots", "text"):
        return True
    if node.kind != "chain":
        return False
    left, right = node.parts[0], node.parts[-1]
    return (
        node.parts[1].text == "="
        and left.kind == "letter"
        and left.text in "ijklnt"
        and right.kind in ("number", "letter", "dots")
    )


def _is_derivative(side: Node) -> bool:
    """Whether a side is a derivative as a whole, and not a product with one."""
    parts = list(side.parts) if side.kind == "term" else [side]
    first = parts[0]
    if derivative_parts(first) is not None:
        above = derivative_parts(first)
        return len(parts) == 1 or not (above and above[0])
    head = first.parts[0] if first.kind == "scripted" else first
    if head.kind == "nabla":
        return True
    return head.kind == "partial" and any(n.kind == "op" and n.text == "SLASH" for n in walk_nodes(side))


def _of_and_by(side: Node) -> tuple[Node, Node] | None:
    r"""The two symbols of \frac{\partial L}{\partial z} or \partial L / \partial z."""
    parts = list(side.parts) if side.kind == "term" else [side]
    fraction = derivative_parts(parts[0])
    if fraction is not None:
        above, variables = fraction
        if len(parts) == 1 and len(above) == 1 and len(variables) == 1 and len(variables[0]) == 1:
            return above[0], variables[0][0]
        return None
    kinds = [p.text if p.kind == "op" else p.kind for p in parts]
    if len(parts) == 5 and kinds[0] == kinds[3] == "partial" and kinds[2] == "SLASH":
        return parts[1], parts[4]
    return None


def _name(side: Node) -> str | None:
    """The name that a definition gives: a symbol, or a function of plain symbols."""
    if side.kind == "term" and len(side.parts) == 2 and side.parts[1].kind == "paren":
        inside = [n for n in walk_nodes(side.parts[1]) if n.kind in ("sub", "sup")]
        if any(n.kind == "letter" for s in inside for n in walk_nodes(s)):
            return None
        side = side.parts[0]
    return symbols_in_node(side)


def symbols_in_node(node: Node, layer: int = GENERIC["l"]) -> str | None:
    """The name of a symbol; a general layer is the second, an index is no part of the name."""
    if node.kind not in ("letter", "word", "accent", "scripted", "group"):
        return None
    return name_of(node, Setting(Context(), Model(()), layers=dict.fromkeys(GENERIC, layer)))


def _differentiated_by(text: str, of: str) -> list[str]:
    """The names that a formula differentiates a function by, on its right-hand sides."""
    right = text.partition("=")[2]
    found: list[str] = []
    for match in re.finditer(r"\\partial\s*(?P<x>[^{}]*(?:\{[^{}]*\}[^{}]*)*?)\s*\}", right):
        named = symbols_in(match["x"])
        if len(named) == 1 and named[0] != of:
            found.append(named[0])
    return list(dict.fromkeys(found))
