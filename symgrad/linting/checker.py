"""The walk down a document: what a formula is, and whether it is true."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Literal

from symgrad.checking.verdict import Note
from symgrad.errors import NameUnknownError, SymgradError
from symgrad.expr import Model, is_matrix, is_scalar, leaves
from symgrad.linting.notes import Notes, Readings
from symgrad.linting.overview import overview
from symgrad.linting.prose import GENERIC, LAYERS, said_by_formula, said_by_sentence, symbols_in
from symgrad.reading.claim import Claim, Context
from symgrad.reading.document import Cell, FoundFormula, Problem, read_document
from symgrad.reading.latex.define import name_of
from symgrad.reading.latex.macros import Written
from symgrad.reading.latex.setting import Setting
from symgrad.reading.latex.tree import Node, parse_statements, walk_nodes
from symgrad.reading.latex.vocabulary import FONTS
from symgrad.reading.latex.writing import derivative_parts
from symgrad.verifying import Verdict, verdict_on

__all__ = ["Finding", "Part", "Reason", "Report", "lint"]

Role = Literal["definition", "claim", "skipped"]

_OFF = re.compile(r"(?:<!--|%)\s*symgrad:\s*(?P<what>off|on|ignore(?:\s+(?P<codes>[A-Z0-9, ]+))?)\s*(?:-->)?")
_NO_FUNCTIONS = frozenset(("Var", "Cov", "Pr", "rank", "argmin", "argmax", "std", "Std", "KL", "min", "max"))
_INDEX = re.compile(r"_\s*(?:[ijk]|\{\s*[ijkmnc]{1,2}\s*\})(?![A-Za-z])")
_FONT_BEFORE = re.compile(r"\\([A-Za-z]+)\s*\{?\s*$")
_REWRITES = re.compile(r"expand|multipl\w* out|simplif|re-?writ|展开|化简|整理|改写", re.IGNORECASE)
_MOST_UNREAD = 4
_LONGEST_SENTENCE = 400
_EQUAL = ("=", ":=", "=:")
_GRAVITY = ("refuted", "undecided", "agrees", "verified", "proved")


@dataclass(frozen=True)
class Reason:
    """Why a formula was skipped: a phrase of the catalogue (`lint.<key>`), and what is put into it."""

    key: str
    what: str = ""


@dataclass
class Part:
    """One statement of a formula: what it is and what was found out."""

    text: str
    start: int
    role: Role
    verdict: Verdict | None = None
    reason: Reason | None = None
    context: Context | None = field(default=None, repr=False)


@dataclass
class Finding:
    """A formula of the document with its parts.

    `start` and `end` are its offsets in the formula of the cell as `written`, which says where it stands in the source;
    `cell` is the number of the cell in a notebook, `at` where the formula begins there.
    """

    file: str
    line: int
    column: int
    formula: str
    parts: list[Part]
    displayed: bool = True
    cell: int | None = None
    start: int = 0
    end: int = 0
    ignored: bool = False
    written: Written = field(default_factory=lambda: Written("", ()), repr=False)
    at: int = 0

    @property
    def role(self) -> Role:
        """What the formula is: a claim if one of its parts is, else a definition if one is."""
        roles = {p.role for p in self.parts}
        return "claim" if "claim" in roles else "definition" if "definition" in roles else "skipped"

    @property
    def verdict(self) -> Verdict | None:
        """The gravest verdict of its parts."""
        found = [p.verdict for p in self.parts if p.verdict is not None]
        return min(found, key=lambda v: _GRAVITY.index(v.verdict), default=None)

    @property
    def reasons(self) -> list[Reason]:
        """Why it was skipped."""
        return list(dict.fromkeys(p.reason for p in self.parts if p.reason is not None))


@dataclass
class Report:
    """All findings of a document, its unclosed delimiters, and how names without declared shapes were read."""

    file: str
    findings: list[Finding] = field(default_factory=list)
    problems: list[tuple[Problem, int | None]] = field(default_factory=list)
    readings: Readings = field(default_factory=Readings)
    mark: str = "l"
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
        self.waiting: list[tuple[Part, int]] = []
        self.unread: list[Part] = []
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
            if formula.displayed or _has_derivative(written.text):
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
                self._define_in_line(text, notes)
            self._claim(part, part.text, notes, last=True)

    def _define_in_line(self, text: str, notes: Notes) -> None:
        try:
            (chain,) = parse_statements(text)
            sides = chain.parts[0::2]
            name = _name(sides[0], self.mark) if chain.kind == "chain" and len(sides) == 2 else None
            holds_names = any(n.kind in ("letter", "word", "accent") for n in walk_nodes(sides[-1]))
            if name is not None and holds_names and name not in notes.model.symbols:
                notes.define(text)
        except (SymgradError, ValueError, RecursionError):
            return

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

    def _with_labels(self, verdict: Verdict, text: str, context: Context, labels: dict[str, str]) -> Verdict:
        """Undecided where a claim is right only if the labels of a cross entropy sum to one, which is not said."""
        assert isinstance(context.assume, Mapping) and context.model is not None  # noqa: S101 - as notes give it
        assume = {**context.assume, **{n: [w] for n, w in labels.items()}}
        model = replace(context.model, assumptions={n: frozenset(w) for n, w in assume.items()})
        try:
            again = verdict_on(text, replace(context, assume=assume, model=model), seconds=self.seconds)
        except SymgradError:
            return verdict
        if not again.is_right:
            return verdict
        note = Note("labels", {"names": ", ".join(labels)})
        return replace(again, verdict="undecided", notes=(*again.notes, note))

    def _formula(self, cell: Cell, formula: FoundFormula, written: Written, ignored: bool) -> None:
        for start, row in _rows(written.text):
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
        return [self._statement(row, s, before) for s in statements if not _is_remark(s)] or [
            Part(row, 0, "skipped", reason=Reason("no_equation"))
        ]

    def _statement(self, row: str, node: Node, before: str) -> Part:
        start = with_fonts(row, node.at)
        text = row[start : node.end]
        part = Part(text, start, "skipped")
        if node.kind != "chain" or node.parts[1].text not in _EQUAL:
            part.reason = Reason("no_equation")
            return part
        if any(r.text not in _EQUAL for r in node.parts[1::2]):
            part.reason = Reason("relations")
            return part
        sides = node.parts[0::2]
        derivative_first = _is_derivative(sides[0])
        if derivative_first or (len(sides) > 2 and _is_derivative(sides[1])):
            self._claim(part, text, self.notes)
            if not derivative_first:
                self.notes.name_derivative(text)
            return part
        name = _name(sides[0], self.mark)
        if _is_derivative(sides[1]):
            named = self.notes.name_derivative(text) or self._named_of_any_loss(text, sides[1])
            part.role = "definition" if named else "skipped"
            part.reason = None if named else Reason("derivative")
            return part
        if name is not None and self._is_signal(name):
            self._claim(part, text, self.notes)
            return part
        if name is None:
            self._identity(part, text, node)
            return part
        if name in _NO_FUNCTIONS:
            part.reason = Reason("unknown_function", name)
            return part
        if self.notes.knows(name):
            if self._is_said_again(part, text, before):
                return part
            self.notes.forget(name)
        try:
            self.notes.define(text)
            part.role = "definition"
        except (SymgradError, RecursionError) as error:
            if self._is_any_function(name, sides[-1]):
                part.role = "definition"
            else:
                part.reason = _why("definition", error)
                self.notes.unread.add(name)
                self.unread = [*self.unread[-_MOST_UNREAD:], part]
        if part.role == "definition":
            self._read_again()
        return part

    def _is_any_function(self, name: str, side: Node) -> bool:
        r"""L = \ell(o, y), where nobody says what \ell is: any function of the first of its arguments that is computed."""
        if side.kind != "term" or len(side.parts) != 2 or side.parts[1].kind != "paren":
            return False
        called = symbols_in_node(side.parts[0], mark=self.mark)
        names = [symbols_in_node(n, mark=self.mark) for n in walk_nodes(side.parts[1]) if n.kind != "paren"]
        computed = [n for n in names if n is not None and self.notes.knows(n)]
        return (
            called is not None
            and called not in self.notes.model.symbols
            and self.notes.stand_in(name, computed[:1])
        )

    def _read_again(self) -> None:
        r"""Definitions that rest on what is defined only after them: L = \sum_t L_t, where L_t = .."""
        for part in [*self.unread]:
            try:
                self.notes.define(part.text)
            except (SymgradError, RecursionError):
                continue
            part.role, part.reason = "definition", None
            self.unread.remove(part)

    def _is_said_again(self, part: Part, text: str, before: str) -> bool:
        """Whether a second equation for a name says what the first said; else it gives the name anew.

        Where the text announces that a formula is only written in another way, a slip in it is one.
        """
        try:
            verdict = verdict_on(text, self.notes.context(), seconds=self.seconds)
        except (SymgradError, RecursionError):
            return False
        slip = verdict.slip
        rewritten = slip is not None and slip.repaired is not None and slip.key != "holds_if"
        if verdict.is_right or (
            verdict.verdict == "refuted" and rewritten and _REWRITES.search(before[-90:])
        ):
            part.role, part.verdict, part.context = "claim", verdict, self.notes.context()
            return True
        return False

    def _named_of_any_loss(self, text: str, side: Node) -> bool:
        r"""\delta^{(l)} = \partial L/\partial z^{(l)} where nobody says what L is: any function of the last z."""
        parts = _of_and_by(side)
        of = None if parts is None else symbols_in_node(parts[0], mark=self.mark)
        if parts is None or of is None or of in self.notes.model.symbols:
            return False
        below = [parts[1]]
        known = [
            n
            for n in (symbols_in_node(below[0], i, self.mark) for i in LAYERS)
            if n in self.notes.model.symbols
        ]
        return bool(known) and self.notes.stand_in(of, [str(known[-1])]) and self.notes.name_derivative(text)

    def _is_signal(self, name: str) -> bool:
        """Whether a name stands for a derivative."""
        lefts = [re.split(r":?=", t)[0] for t in self.notes.latex]
        return any(name in symbols_in(left, layer, self.mark) for left in lefts for layer in LAYERS)

    def _identity(self, part: Part, text: str, node: Node) -> None:
        """An equation between expressions is checked if all of its names are known.

        Without a derivative in it, it may be a condition, as the normal equations are: it is called wrong only if a small
        change makes it an identity.
        """
        notes = self.notes
        if arguments := [a for a in _arguments(node) if a not in notes.model.symbols]:
            notes = notes.copy()
            notes.guessed |= {name: [] for name in arguments}
        try:
            context = notes.context()
            verdict = verdict_on(text, context, seconds=self.seconds)
        except (SymgradError, RecursionError) as error:
            part.reason = _why("claim", error)
            return
        if verdict.verdict == "refuted" and not _holds_derivative(node) and not _has_small_slip(verdict):
            part.reason = Reason("condition")
            return
        part.role, part.verdict, part.context = "claim", verdict, context

    def _claim(self, part: Part, text: str, notes: Notes, last: bool = False) -> None:
        """Check a claim; a loss that nobody defined is any function of what the claim differentiates it by."""
        verdict: Verdict | None = None
        missing: str | None = None
        counted = notes.counted(notes.plain(text))
        try:
            context = notes.context()
            verdict = verdict_on(counted, context, seconds=self.seconds, shapes_said=_all_declared(notes))
            verdict = self._in_layout(verdict, counted, context, notes)
            if verdict.claim.of is not None and not _depends(verdict.claim):
                missing = str(verdict.claim.of)
            labels = {n: w for n, w in notes.labels().items() if n not in notes.guessed}
            if verdict.verdict == "refuted" and labels:
                verdict = self._with_labels(verdict, counted, context, labels)
            of_all_steps = notes.three_steps and is_scalar(verdict.claim.of)
            if (counted != notes.plain(text) or of_all_steps) and verdict.is_right:
                verdict = replace(verdict, verdict="agrees", notes=(*verdict.notes, Note("three_steps")))
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
            part.reason = _why("claim", error)
            return
        if missing is None:
            part.role, part.verdict, part.reason = "claim", verdict, None
            part.context = (
                context if counted == text else None
            )  # nothing is put in place of a general formula
            return
        named = symbols_in(missing, mark=self.mark)
        if last and len(named) == 1 and named[0] not in notes.unread:
            notes.forget(named[0])
            if notes.stand_in(named[0], _differentiated_by(text, named[0], self.mark)):
                self._claim(part, text, notes)
                return
        part.role, part.verdict = "skipped", None
        part.reason = Reason("undefined", missing)


def _why(key: str, error: Exception) -> Reason:
    message = getattr(error, "message", None)
    return Reason("too_deep") if message is None else Reason(key, message)


def _is_undefined(part: Part) -> bool:
    return part.reason is not None and part.reason.key == "undefined"


def with_fonts(row: str, at: int) -> int:
    r"""Where a formula begins with the fonts of its first symbol: \boldsymbol{\delta}."""
    while match := _FONT_BEFORE.search(row, 0, at):
        if match[1] not in FONTS:
            break
        at = match.start()
    return at


def _arguments(node: Node) -> list[str]:
    r"""The variables of functions that are differentiated: the t of \sigma'(t)."""
    found = []
    for term in walk_nodes(node):
        for f, inside in pairwise(term.parts) if term.kind == "term" else ():
            if inside.kind == "paren" and len(inside.parts) == 1 and inside.parts[0].kind == "letter":
                if any(n.kind == "prime" for n in walk_nodes(f)):
                    found.append(inside.parts[0].text)
    return list(dict.fromkeys(found))


def _holds_derivative(node: Node) -> bool:
    return any(n.kind in ("nabla", "prime", "partial") or derivative_parts(n) for n in walk_nodes(node))


def _has_small_slip(verdict: Verdict) -> bool:
    """Whether a small change makes an equation between expressions of the same names an identity."""
    slip, sides = verdict.slip, verdict.claim.links
    if slip is None or slip.repaired is None or slip.key == "holds_if" or len(sides) < 2:
        return False
    names = [{str(x) for x in leaves(s)} for s in sides]
    return all(n == names[0] for n in names) and len(names[0]) > 1


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


def _moved(formula: FoundFormula, written: Written, offset: int) -> tuple[int, int]:
    """Line and column of a place in a formula."""
    rest = written.text[offset:]
    skipped = written.at(offset + len(rest) - len(rest.lstrip()))
    before = formula.body[:skipped]
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


def _name(side: Node, mark: str) -> str | None:
    """The name that a definition gives: a symbol, or a function of plain symbols."""
    if side.kind == "term" and len(side.parts) == 2 and side.parts[1].kind == "paren":
        inside = [n for n in walk_nodes(side.parts[1]) if n.kind in ("sub", "sup")]
        if any(n.kind == "letter" for s in inside for n in walk_nodes(s)):
            return None
        side = side.parts[0]
    return symbols_in_node(side, mark=mark)


def symbols_in_node(node: Node, layer: int = GENERIC, mark: str = "l") -> str | None:
    """The name of a symbol; a general layer is the second, an index is no part of the name."""
    if node.kind not in ("letter", "word", "accent", "scripted", "group"):
        return None
    return name_of(node, Setting(Context(), Model(()), layers={mark: layer}))


def _differentiated_by(text: str, of: str, mark: str) -> list[str]:
    """The names that a formula differentiates a function by, on its right-hand sides."""
    right = text.partition("=")[2]
    found: list[str] = []
    for match in re.finditer(r"\\partial\s*(?P<x>[^{}]*(?:\{[^{}]*\}[^{}]*)*?)\s*\}", right):
        for written in (match["x"], _INDEX.sub("", match["x"])):
            named = symbols_in(written, mark=mark)
            if len(named) == 1 and named[0] != of:
                found.append(named[0])
    return list(dict.fromkeys(found))
