r"""What is decided for a document as a whole, before its formulas are gone through.

Which letter counts layers or steps, which letters are functions, how the samples of a batch stand, whether all is scalar,
and what is declared only after the formula that uses it ("where $W \in \mathbb{R}^{m \times n}$").
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Literal

from symgrad.linting.prose import LAYERS, Said, said_by_formula, symbols_in
from symgrad.reading.document import QUOTED, Cell, Document, FoundFormula
from symgrad.reading.latex.macros import Macro, Written, written_out

__all__ = ["Overview", "overview"]

_HEADING = re.compile(
    r"^(?:\#{1,6}[ \t]|\\(?:sub)*section\b|\\chapter\b|\\paragraph\b|[^\n]+\n(?:={3,}|-{3,})[ \t]*$)",
    re.MULTILINE,
)
_LAYERS = re.compile(
    r"[\^_]\s*\{?\s*[\[(]\s*l\s*(?:[-+]\s*1\s*)?[\])]|[\^_]\s*\{\s*[\[(]?\s*(?:l|\\ell)\s*[-+]\s*1\s*[\])]?\s*\}"
)
_STEPS = re.compile(r"[\^_]\s*\{\s*[\[(<]?\s*(?:\\langle)?\s*t\s*[-+]\s*1\b")
_PRIMED = re.compile(
    r"(?P<name>\\(?:phi|varphi|psi|rho)|\b[fgh])\s*(?:'|\^\s*\{?\\prime\}?)\s*(?:\\left|\\[bB]igg?l?)?\s*[(\[]"
)
_ACTIVATION = re.compile(
    r"(?:activation|non-?linearit|激活函数|非线性函数)[^.。$]{0,40}(?:\$|\\\()\s*(?P<name>\\?[A-Za-z]+)\s*(?:\$|\\\)|\()",
    re.IGNORECASE,
)
_ROWS = re.compile(
    r"(?:one|an?|each|every) (?:example|sample|observation|data point|input)s?[^.]{0,30}\b(?:per|in a|is a|as a) row"
    r"|(?:examples?|samples?|observations?|inputs?|labels?)[^.]{0,40}\b(?:in|as|are|into|form)(?: the)? rows"
    r"|rows? (?:of|are|is)[^.]{0,40}\b(?:examples?|samples?|observations?|inputs?|labels?)"
    r"|每一?行[^。]{0,12}(?:样本|标签|例)|样本[^。]{0,12}(?:按行|作为行|成行|排成行)|行[^。]{0,4}(?:样本)",
    re.IGNORECASE,
)
_COLUMNS = re.compile(
    r"(?:one|an?|each|every) (?:example|sample|observation|data point|input)s?[^.]{0,30}\b(?:per|in a|is a|as a) column"
    r"|(?:examples?|samples?|observations?|inputs?|labels?)[^.]{0,40}\b(?:in|as|are|into|form)(?: the)? columns"
    r"|columns? (?:of|are|is)[^.]{0,40}\b(?:examples?|samples?|observations?|inputs?|labels?)"
    r"|每一?列[^。]{0,12}(?:样本|标签|例)|样本[^。]{0,12}(?:按列|作为列|成列|排成列)|列[^。]{0,4}(?:样本)",
    re.IGNORECASE,
)
_ALL_SCALAR = re.compile(
    r"(?:all|every|everything|each)\b[^.$]{0,60}\bscalars?\b|\bscalars? (?:throughout|case|network|version)\b"
    r"|(?:所有|全部|均|都)[^。$]{0,14}标量|标量(?:情形|情况|网络)",
    re.IGNORECASE,
)
_NOT_SCALAR = re.compile(
    r"\\top\b|\^\s*\{?\s*(?:T|\\mathsf|\\mathrm\{T\}|\\intercal)|\\odot|\\circ\b|\\otimes|\\(?:l?Vert|\|)|\\math(?:bf|bb)|\\bold"
    r"|\\bm\b|diag|softmax|\\sum|\\nabla|\\operatorname\{tr\}|\\det|\\in\b"
)
_LOSS_IS_L = re.compile(
    r"(?<![A-Za-z_^{\[(])L\s*(?:\([^()]*\)\s*)?:?=|\\partial\s*\{?L(?![A-Za-z])|\\nabla(?:_\S+)?\s*L(?![A-Za-z])"
)
_SAMPLE = re.compile(
    r"^\s*(?P<symbol>(?P<stem>(?:\\(?:math|bold)\w+\s*)?(?:\{\s*[A-Za-z]\s*\}|[A-Za-z]))\s*"
    r"(?:_\s*\{?\s*(?P<letter>[ijkn])\s*\}?|\^\s*\{\s*\(\s*(?P<above>[ijkn])\s*\)\s*\}))"
    r"\s*\\in\s*(?:\\mathbb\s*\{?\s*R\s*\}?(?:\s*\^\s*\{?\s*(?P<dims>[A-Za-z])\s*\}?)?|\\\{.*\\\}|\[.*\])\s*$"
)
_LEFT = re.compile(r"(?:^|\\\\|\\q?quad|,|\\begin\{\w+\*?\})\s*([^=&,\n]{1,40}?)\s*&?\s*:?=")
_MATRIX = re.compile(r"(?<![A-Za-z\\])[A-Z](?![A-Za-z])")
_LOSSES = frozenset("LJECNTKMDRS")
_MATRIX_WORDS = re.compile(r"\bmatri(?:x|ces)\b|\bvectors?\b|矩阵|向量", re.IGNORECASE)


@dataclass
class Overview:
    """What holds for the whole document.

    mark        the letter of a general layer (l) or step (t); None where there is none
    functions   letters that are functions of one number, as the g of a = g(z) with g'(z)
    samples     row-wise or column-wise: how a softmax goes where samples stand in rows or columns
    scalars     whether everything is a number
    last        the letter of the last step or layer, T or L
    defined     names that some displayed formula defines
    samples_of  which row or column of a matrix a sample is, x_i: row i of X; `stacks` has the shapes of those matrices
    bodies      the formulas with macros written out, by cell and offset
    """

    mark: str | None = None
    functions: frozenset[str] = frozenset()
    samples: str | None = None
    scalars: bool = False
    last: Literal["T", "L"] | None = None
    defined: frozenset[str] = frozenset()
    samples_of: dict[str, str] = field(default_factory=dict)
    stacks: dict[str, list[str]] = field(default_factory=dict)
    bodies: dict[tuple[int | None, int], Written] = field(default_factory=dict)
    _sections: dict[int | None, list[int]] = field(default_factory=dict)
    _declared: dict[tuple[int | None, int], Said] = field(default_factory=dict)
    _scalar_sections: set[tuple[int | None, int]] = field(default_factory=set)

    def body(self, cell: Cell, formula: FoundFormula) -> Written:
        """A formula without the marks of a quotation and without macros."""
        return self.bodies[cell.number, formula.start]

    def section(self, cell: Cell, at: int) -> tuple[int | None, int]:
        """The section of a place."""
        return cell.number, bisect_right(self._sections[cell.number], at)

    def declared(self, cell: Cell, at: int) -> dict[str, list[str]]:
        """The shapes that are declared anywhere in the section of a place."""
        return self._declared[self.section(cell, at)].shapes

    def scalar_at(self, cell: Cell, at: int) -> bool:
        """Whether everything is a number there."""
        return self.scalars or self.section(cell, at) in self._scalar_sections


def overview(document: Document) -> Overview:
    """Look at a document as a whole."""
    found = Overview()
    macros: list[Macro] = []
    everything: list[str] = []
    for cell in document.cells:
        macros += cell.macros
        found._sections[cell.number] = [m.start() for m in _HEADING.finditer(cell.text)]
        for f in cell.formulas:
            known = [m for m in macros if cell.number is not None or m.start < f.start]
            found.bodies[cell.number, f.start] = written = written_out(f.body, known, QUOTED)
            everything.append(written.text)
    formulas = "\n".join(everything)
    text = "\n".join(cell.text for cell in document.cells)
    found.mark = "l" if _LAYERS.search(formulas) else "t" if _STEPS.search(formulas) else None
    if found.mark == "t":
        found.last = "T"
    elif found.mark == "l" and not _LOSS_IS_L.search(formulas):
        found.last = "L"
    displayed = [found.body(cell, f).text for cell in document.cells for f in cell.formulas if f.displayed]
    lefts = [m[1] for f in displayed for m in _LEFT.finditer(f)]
    mark = found.mark or "l"
    found.defined = frozenset(n for left in lefts for layer in LAYERS for n in symbols_in(left, layer, mark))
    found.functions = _functions(everything, text)
    _find_samples(found, everything, text)
    rows, columns = bool(_ROWS.search(text)), bool(_COLUMNS.search(text))
    found.samples = None if rows == columns else "row-wise" if rows else "column-wise"
    names = {m[0] for m in _MATRIX.finditer(formulas)} - _LOSSES
    found.scalars = not (_NOT_SCALAR.search(formulas) or _MATRIX_WORDS.search(text) or names)
    for cell in document.cells:
        for f in cell.formulas:
            said = said_by_formula(found.body(cell, f).text, found.mark or "l")
            shapes = found._declared.setdefault(found.section(cell, f.start), Said()).shapes
            for name, sizes in said.shapes.items():
                shapes.setdefault(name, sizes)
        for match in _ALL_SCALAR.finditer(cell.text):
            found._scalar_sections.add(found.section(cell, match.start()))
    return found


def _find_samples(found: Overview, formulas: list[str], text: str) -> None:
    r"""Samples x_i \in \mathbb{R}^d, i = 1, .., N: the rows of a matrix, as the entries of a vector are numbers y_i."""
    declared: dict[str, list[str]] = {}
    for f in formulas:
        declared |= said_by_formula(f, found.mark or "l").shapes
    for f in formulas:
        match = _SAMPLE.match(f)
        letter = match and (match["letter"] or match["above"])
        if match is None or letter is None or letter == found.mark:
            continue
        count = re.search(
            rf"_\s*\{{\s*{letter}\s*=\s*1\s*\}}\s*\^\s*\{{?\s*([A-Za-z])"
            rf"|(?<![A-Za-z]){letter}\s*=\s*1\s*,\s*\\[lc]?dots\s*,\s*([A-Za-z])",
            text,
        )
        stem = symbols_in(match["stem"])
        if count is None or len(stem) != 1 or stem[0] in declared:
            continue
        number = count[1] or count[2]
        size = symbols_in(match["dims"]) if match["dims"] else ()
        if not match["dims"]:
            found.stacks[stem[0]] = [number]
        elif len(size) == 1:
            stack = stem[0][:1].upper() + stem[0][1:]
            shape = declared.get(stack)
            if shape is None and re.search(rf"(?<![A-Za-z\\]){stack}(?![A-Za-z])", "\n".join(formulas)):
                continue  # the name means something else, or nobody knows what
            found.stacks.setdefault(stack, [number, size[0]])
            axis = "column" if shape == [size[0], number] else "row"
            found.samples_of[match["symbol"].strip()] = f"{axis} {letter} of {stack}"


def _functions(formulas: list[str], text: str) -> frozenset[str]:
    r"""The letters that are functions: primed before an argument, or called the activation; unless they are defined.

    \\sigma is the sigmoid.
    """
    names = {m["name"] for f in formulas for m in _PRIMED.finditer(f)}
    names |= {m["name"] for m in _ACTIVATION.finditer(text)}
    defined = {m[1] for f in formulas if (m := re.match(r"\s*(\\?[A-Za-z]+)\s*(?:\([^()]*\))?\s*:?=", f))}
    return frozenset(
        n.lstrip("\\") for n in names - defined if len(n.lstrip("\\")) == 1 or n.startswith("\\")
    )
