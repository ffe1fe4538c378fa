"""A document as plain data: blocks of words and formulas, the same for every format.

Words are plain text in no markup; a formula is held in each notation that a format needs. A writer escapes the
words, delimits the formulas and hands both, marked as rendered, to the templates. Everything is numbered when it is
made; what an audience is not to see is taken out afterwards (`for_audience`), so all versions have the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

__all__ = [
    "AUDIENCES",
    "Audience",
    "Block",
    "Both",
    "Code",
    "Document",
    "Equation",
    "Exercise",
    "Figure",
    "Formula",
    "Heading",
    "Inline",
    "Items",
    "Level",
    "Paragraph",
    "Part",
    "Proof",
    "Reference",
    "Row",
    "Sign",
    "Space",
    "Steps",
    "Strong",
    "Table",
    "Words",
    "for_audience",
    "formulas",
    "inlines",
    "inside",
    "joined",
    "plain",
    "sentence",
]

Audience = Literal["student", "instructor"]
AUDIENCES: tuple[Audience, ...] = ("student", "instructor")

Level = Literal["hint", "answer", "solution", "marking"]


# --- what stands in a line ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Words:
    """Plain text."""

    text: str


@dataclass(frozen=True)
class Strong:
    """Plain text that stands out."""

    text: str


@dataclass(frozen=True)
class Formula:
    """A formula that fits into a line, in LaTeX, in Unicode, and in the math language of Typst."""

    latex: str
    text: str
    typst: str


@dataclass(frozen=True)
class Reference:
    """A reference to a numbered equation or exercise; `text` is what is printed."""

    kind: Literal["eq", "ex", "fig"]
    number: str

    @property
    def text(self) -> str:
        """What is printed: an equation's number in brackets, any other as it is."""
        return f"({self.number})" if self.kind == "eq" else self.number


@dataclass(frozen=True)
class Sign:
    """A sign in the margin of an equation, its LaTeX, and what it says."""

    text: str
    latex: str
    says: str


Inline = tuple[Words | Strong | Formula | Reference | Sign, ...]


def plain(text: str) -> Inline:
    """Words alone."""
    return (Words(text),)


def sentence(*parts: Inline) -> Inline:
    """Inline parts one after the other."""
    return tuple(piece for part in parts for piece in part)


def joined(*parts: Formula | str) -> Formula:
    r"""One formula out of formulas and signs.

    A sign is written as `latex|unicode|typst`; without the last, Typst is given the Unicode; alone, it is the same in all.

    >>> joined("[", Formula("a", "a", "a"), r" \cdot | · ", "b]").text
    '[a · b]'
    """
    latex, text, typst = "", "", ""
    for part in parts:
        if isinstance(part, Formula):
            latex, text, typst = latex + part.latex, text + part.text, typst + part.typst
        else:
            signs = part.split("|")
            latex, text, typst = latex + signs[0], text + signs[min(1, len(signs) - 1)], typst + signs[-1]
    return Formula(latex, text, typst)


# --- blocks ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One line of an equation: `left relation right`; the left side may be empty."""

    left: Formula | None
    right: Formula
    relation: Formula = Formula("=", "=", "=")


@dataclass(frozen=True)
class Equation:
    """One or more lines, with a number (for references in words), a sentence before it and a mark.

    `reason` says why it holds and may stand beside it; `lead` leads to it and stands before it.
    """

    rows: tuple[Row, ...]
    number: str | None = None
    reason: Inline = ()
    mark: Inline = ()
    lead: Inline = ()


@dataclass(frozen=True)
class Heading:
    """A heading; level 1 is a section."""

    content: Inline
    level: int = 1


@dataclass(frozen=True)
class Paragraph:
    """A paragraph; `lead` stands out at its beginning; `small` is small print."""

    content: Inline
    lead: Inline = ()
    small: bool = False


@dataclass(frozen=True)
class Items:
    """A list."""

    items: tuple[Inline, ...]
    ordered: bool = False


@dataclass(frozen=True)
class Table:
    """A table; `widths` are the relative widths of its columns."""

    head: tuple[Inline, ...]
    rows: tuple[tuple[Inline, ...], ...]
    widths: tuple[int, ...] = ()


@dataclass(frozen=True)
class Proof:
    """A proof: how it is called, its steps, how it ends."""

    title: Inline
    blocks: tuple[Block, ...]
    end: Inline


@dataclass(frozen=True)
class Steps:
    """The steps of a derivation; on a screen they fold behind the title."""

    title: Inline
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Figure:
    """A picture (SVG, and PDF for LaTeX), what it shows in words for those who cannot see it, and its caption."""

    svg: str
    alt: str
    caption: Inline
    number: str
    mermaid: str | None = None
    width: float = 1.0
    pdf: bytes = b""


@dataclass(frozen=True)
class Code:
    """Lines of a program."""

    text: str
    language: str = "python"


@dataclass(frozen=True)
class Space:
    """Room for an answer, in lines; in a notebook, a cell with `code`."""

    lines: int
    code: str = ""
    exercise: str = ""
    seed: int = 0


@dataclass(frozen=True)
class Part:
    """A hint, an answer, a solution, or a note for marking."""

    level: Level
    title: Inline
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Exercise:
    """An exercise with its question, its space and its parts; `points` is what is printed for its `worth`."""

    number: str
    title: Inline
    blocks: tuple[Block, ...]
    points: Inline = ()
    worth: int = 0


@dataclass(frozen=True)
class Both:
    """The same block in two languages, side by side."""

    left: Block
    right: Block
    languages: tuple[str, str] = ("en", "zh")

    @property
    def langs(self) -> dict[str, str]:
        """The language of each side."""
        return {"left": self.languages[0], "right": self.languages[1]}


Block = (
    Heading
    | Paragraph
    | Equation
    | Items
    | Table
    | Proof
    | Steps
    | Figure
    | Code
    | Space
    | Part
    | Exercise
    | Both
)


@dataclass(frozen=True)
class Document:
    """A title, what stands in the head, and blocks in one language; `name` is that of its files."""

    title: Inline
    blocks: tuple[Block, ...]
    lang: str = "en"
    head: tuple[Inline, ...] = ()
    paper: Literal["a4", "letter"] = "a4"
    contents: str = ""
    fields: tuple[str, ...] = ()
    words: dict[str, str] = field(default_factory=dict)
    name: str = ""


# --- walking -----------------------------------------------------------------------------------------------


def inside(block: Block) -> tuple[Block, ...]:
    """The blocks in a block."""
    if isinstance(block, Both):
        return (block.left, block.right)
    if isinstance(block, Proof | Steps | Part | Exercise):
        return block.blocks
    return ()


def inlines(block: Block) -> Iterator[Inline]:
    """Every line of words of a block itself, in order; not those of the blocks in it."""
    if isinstance(block, Equation):
        yield from (block.lead, block.reason, block.mark)
    elif isinstance(block, Items):
        yield from block.items
    elif isinstance(block, Table):
        yield from block.head
        yield from (cell for row in block.rows for cell in row)
    elif isinstance(block, Paragraph):
        yield from (block.lead, block.content)
    elif isinstance(block, Figure):
        yield block.caption
    elif isinstance(block, Heading):
        yield block.content
    elif isinstance(block, Exercise):
        yield from (block.title, block.points)
    elif isinstance(block, Proof | Steps | Part):
        yield block.title
        if isinstance(block, Proof):
            yield block.end


def formulas(blocks: tuple[Block, ...]) -> Iterator[Formula]:
    """Every formula of the blocks, sides of equations included, in order."""
    for block in blocks:
        yield from (piece for line in inlines(block) for piece in line if isinstance(piece, Formula))
        if isinstance(block, Equation):
            for row in block.rows:
                yield from (f for f in (row.left, row.right) if f is not None)
        yield from formulas(inside(block))


_SHOWN: dict[Audience, frozenset[Level]] = {
    "student": frozenset({"hint"}),
    "instructor": frozenset({"hint", "answer", "solution", "marking"}),
}


def for_audience(document: Document, audience: Audience, levels: frozenset[Level] | None = None) -> Document:
    """The document without what the audience is not to see; numbers stay as they are.

    Students see hints and have space for answers; instructors see hints, answers, solutions and notes for marking,
    and no empty space. `levels` overrides which parts are kept.
    """
    shown = _SHOWN[audience] if levels is None else levels

    def kept(blocks: tuple[Block, ...]) -> tuple[Block, ...]:
        found: list[Block] = []
        for block in blocks:
            if isinstance(block, Part) and block.level not in shown:
                continue
            if isinstance(block, Space) and audience == "instructor":
                continue
            if isinstance(block, Both):
                sides = kept((block.left, block.right))
                found += [replace(block, left=sides[0], right=sides[1])] if len(sides) == 2 else list(sides)
            elif isinstance(block, Proof | Steps | Part | Exercise):
                found.append(replace(block, blocks=kept(block.blocks)))
            else:
                found.append(block)
        return tuple(found)

    return replace(document, blocks=kept(document.blocks))
