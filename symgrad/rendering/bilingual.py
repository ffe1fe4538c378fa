"""Two languages side by side: words twice, equations, figures and numbers once."""

from __future__ import annotations

from dataclasses import replace

from symgrad.errors import RecipeError
from symgrad.rendering.document import (
    Block,
    Both,
    Code,
    Document,
    Equation,
    Exercise,
    Heading,
    Inline,
    Paragraph,
    Part,
    Proof,
    Space,
    Steps,
    Table,
    plain,
    sentence,
)

__all__ = ["side_by_side"]


def side_by_side(*documents: Document) -> Document:
    """Two documents of one recipe as one.

    Raises   RecipeError if they are not two, or do not say the same
    """
    if len(documents) != 2:
        raise RecipeError("two languages stand side by side, not more")
    left, right = documents
    languages = (left.lang, right.lang)
    head = tuple(_line(a, b) for a, b in zip(left.head, right.head, strict=False))
    return replace(
        left,
        title=_line(left.title, right.title),
        blocks=_blocks(left.blocks, right.blocks, languages),
        lang=f"{left.lang}+{right.lang}",
        head=head,
        fields=tuple(f"{a} / {b}" if a != b else a for a, b in zip(left.fields, right.fields, strict=True)),
    )


def _line(a: Inline, b: Inline) -> Inline:
    """A short line in both languages."""
    return a if a == b else sentence(a, plain(" / "), b)


def _blocks(
    left: tuple[Block, ...], right: tuple[Block, ...], languages: tuple[str, str]
) -> tuple[Block, ...]:
    if len(left) != len(right):
        raise RecipeError(
            "the two languages do not have the same parts", hint="give every text in both languages"
        )
    found: list[Block] = []
    for a, b in zip(left, right, strict=True):
        found += _pair(a, b, languages)
    return tuple(found)


def _pair(a: Block, b: Block, languages: tuple[str, str]) -> list[Block]:
    if a == b or type(a) is not type(b) or isinstance(a, Code | Space):
        return [a] if a == b else [Both(a, b, languages)]
    if isinstance(a, Equation) and isinstance(b, Equation):
        words = [
            Both(Paragraph(x), Paragraph(y), languages)
            for x, y in ((sentence(a.lead, a.reason), sentence(b.lead, b.reason)),)
            if x or y
        ]
        return [*words, replace(a, lead=(), reason=())]
    if isinstance(a, Heading) and isinstance(b, Heading):
        return [Heading(_line(a.content, b.content), a.level)]
    if isinstance(a, Table) and isinstance(b, Table):
        head = tuple(_line(x, y) for x, y in zip(a.head, b.head, strict=True))
        rows = zip(a.rows, b.rows, strict=True)
        merged = tuple(tuple(_line(x, y) for x, y in zip(r, s, strict=True)) for r, s in rows)
        return [replace(a, head=head, rows=merged)]
    if isinstance(a, Proof) and isinstance(b, Proof):
        inner = _blocks(a.blocks, b.blocks, languages)
        return [replace(a, title=_line(a.title, b.title), blocks=inner, end=_line(a.end, b.end))]
    if isinstance(a, Steps | Part | Exercise) and isinstance(b, Steps | Part | Exercise):
        inner = _blocks(a.blocks, b.blocks, languages)
        joined = replace(a, title=_line(a.title, b.title), blocks=inner)
        if isinstance(joined, Exercise) and isinstance(b, Exercise):
            joined = replace(joined, points=_line(joined.points, b.points))
        return [joined]
    return [Both(a, b, languages)]
