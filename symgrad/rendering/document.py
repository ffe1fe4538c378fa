"""A document as plain data: blocks of words and formulas, the same for every format.

Words are plain text in no markup; a formula knows its LaTeX and its Unicode. A writer escapes the words,
delimits the formulas and hands both, marked as rendered, to the templates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = [
    "Block",
    "Document",
    "Equation",
    "Formula",
    "Heading",
    "Inline",
    "Items",
    "Paragraph",
    "Proof",
    "Row",
    "Strong",
    "Table",
    "Words",
    "formulas",
    "plain",
    "sentence",
]


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
    """A formula that fits into a line, in LaTeX and in Unicode."""

    latex: str
    text: str


Inline = tuple[Words | Strong | Formula, ...]


def plain(text: str) -> Inline:
    """Words alone."""
    return (Words(text),)


def sentence(*parts: Inline) -> Inline:
    """Inline parts one after the other."""
    return tuple(piece for part in parts for piece in part)


@dataclass(frozen=True)
class Row:
    """One line of an equation: `left relation right`; the left side may be empty."""

    left: Formula | None
    right: Formula
    relation: Formula = Formula("=", "=")


@dataclass(frozen=True)
class Equation:
    """One or more lines, with a number (for references in words), a reason before it and a mark."""

    rows: tuple[Row, ...]
    number: int | None = None
    reason: Inline = ()
    mark: Inline = ()


@dataclass(frozen=True)
class Heading:
    """A heading; level 1 is a section."""

    content: Inline
    level: int = 1


@dataclass(frozen=True)
class Paragraph:
    """A paragraph; `lead` stands out at its beginning."""

    content: Inline
    lead: Inline = ()


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


Block = Heading | Paragraph | Equation | Items | Table | Proof


@dataclass(frozen=True)
class Document:
    """A title and blocks in one language."""

    title: Inline
    blocks: tuple[Block, ...]
    lang: str = "en"


def formulas(blocks: tuple[Block, ...]) -> Iterator[Formula]:
    """Every formula of the blocks, sides of equations included, in order."""
    for block in blocks:
        if isinstance(block, Equation):
            yield from _inside(block.reason, block.mark)
            for row in block.rows:
                yield from (f for f in (row.left, row.right) if f is not None)
        elif isinstance(block, Proof):
            yield from _inside(block.title)
            yield from formulas(block.blocks)
        elif isinstance(block, Items):
            yield from _inside(*block.items)
        elif isinstance(block, Table):
            yield from _inside(*block.head, *(cell for row in block.rows for cell in row))
        elif isinstance(block, Paragraph):
            yield from _inside(block.lead, block.content)
        else:
            yield from _inside(block.content)


def _inside(*inlines: Inline) -> Iterator[Formula]:
    return (piece for inline in inlines for piece in inline if isinstance(piece, Formula))
