"""From a document to Markdown, LaTeX, Typst, HTML and terminal text: blocks as plain data for the templates.

Words are escaped in `inline`; templates only arrange, and may print nothing that has not been rendered.
"""

from __future__ import annotations

import base64
import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from symgrad.errors import MissingExtraError
from symgrad.rendering.document import (
    Block,
    Both,
    Code,
    Document,
    Equation,
    Exercise,
    Figure,
    Heading,
    Inline,
    Items,
    Paragraph,
    Part,
    Proof,
    Row,
    Sign,
    Space,
    Steps,
    Table,
    plain,
)
from symgrad.rendering.inline import (
    escape_html,
    escape_md,
    escape_tex,
    inline_html,
    inline_md,
    inline_tex,
    inline_text,
    inline_typ,
    line_start_md,
    math_html,
    shown_tex,
)
from symgrad.rendering.profiles import PORTABLE, Profile, label, profile_for
from symgrad.rendering.templates import Rendered, Templates, render_template, template_folder

__all__ = [
    "FORMATS",
    "Format",
    "Writer",
    "inline_md",
    "inline_tex",
    "inline_text",
    "render_template",
    "template_folder",
    "tidy",
    "write_document",
    "write_with_pictures",
]

Format = Literal["md", "tex", "text", "typ", "html"]
FORMATS: tuple[Format, ...] = ("md", "tex", "text")
"""The formats of a derivation on its own; handouts have more."""

HTML_LANG = {"en": "en", "zh": "zh-CN", "de": "de"}

_INLINE: dict[str, Callable[[Inline], Rendered]] = {
    "md": inline_md,
    "tex": inline_tex,
    "text": inline_text,
    "typ": inline_typ,
    "html": inline_html,
}


def _width(text: str) -> int:
    """Columns on a terminal; Chinese characters take two, combining marks none."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )


def _aligned(rows: Sequence[Row]) -> str:
    """The rows as LaTeX for one display."""
    if len(rows) == 1:
        row = rows[0]
        return " ".join(
            s for s in (row.left.latex if row.left else "", row.relation.latex, row.right.latex) if s
        )
    lines = [
        f"{row.left.latex if row.left else ''} & {row.relation.latex} {row.right.latex}".strip()
        for row in rows
    ]
    return "\\begin{aligned} " + " \\\\ ".join(lines) + " \\end{aligned}"


class Writer:
    """Writes the blocks of one document in one format."""

    def __init__(
        self,
        form: Format,
        folders: Sequence[Path] = (),
        words: dict[str, str] | None = None,
        profile: Profile | None = None,
        document: str = "",
    ) -> None:
        self.form = form
        self.profile = profile or profile_for(form) or PORTABLE
        self.document = document
        self.inline = (
            partial(inline_md, profile=self.profile, document=document) if form == "md" else _INLINE[form]
        )
        self.templates = Templates(f"document/{form}.jinja", folders, profile.name if profile else "")
        self.headings = 0
        self.sections: list[dict[str, Rendered]] = []
        self.worth = self.exercises = 0
        self.answers = False
        self.pictures: dict[str, bytes] = {}
        self.words = {key: self.inline(plain(text)) for key, text in (words or {}).items()}

    def __call__(self, block: Block, after: Block | None = None, before: Block | None = None) -> Rendered:
        """The block in the format; words that lead to what comes after stay on its page."""
        name, data = self.data(block)
        leads = after is not None and not isinstance(after, Heading | Paragraph | Exercise | Part)
        if isinstance(block, Exercise):
            data |= {
                "opens": not isinstance(before, Exercise),
                "closes": not isinstance(after, Exercise),
            }
        return self.templates(name, {**data, "leads": leads, "words": self.words})

    def each(self, blocks: Sequence[Block]) -> list[Rendered]:
        """Blocks one after the other."""
        around = zip((None, *blocks), blocks, (*blocks[1:], None), strict=False)
        return [self(block, after, before) for before, block, after in around]

    def label(self, kind: str, number: str) -> Rendered:
        """What a reference points to."""
        return Rendered(label(kind, number, self.document))

    def line_start(self, text: str) -> Rendered:
        """A paragraph that does not begin like something else."""
        return line_start_md(text, self.profile) if self.form == "md" else Rendered(text)

    def blocks(self, blocks: Sequence[Block]) -> Rendered:
        """Blocks as one text."""
        return Rendered("".join(self.each(blocks)))

    def data(self, block: Block) -> tuple[str, dict[str, Any]]:
        """The name of the template's block, and what it is filled with."""
        inline = self.inline
        if isinstance(block, Heading):
            return "heading", self.heading(block)
        if isinstance(block, Paragraph):
            content = inline(block.content) if block.lead else self.line_start(inline(block.content))
            return "paragraph", {"lead": inline(block.lead), "content": content, "small": block.small}
        if isinstance(block, Equation):
            return "equation", self.equation(block)
        if isinstance(block, Items):
            items = [self.line_start(inline(i)) for i in block.items]
            return "items", {"ordered": block.ordered, "items": items}
        if isinstance(block, Table):
            return "table", self.table(block)
        if isinstance(block, Proof):
            return "proof", {
                "title": inline(block.title),
                "inner": self.blocks(block.blocks),
                "end": inline(block.end),
            }
        if isinstance(block, Steps):
            inner = self.blocks(block.blocks)
            return "steps", {"title": inline(block.title), "summary": _summary(block.title), "inner": inner}
        if isinstance(block, Part):
            self.answers |= block.level != "hint"
            inner = self.blocks(block.blocks)
            return "part", {
                "level": Rendered(block.level),
                "title": inline(block.title),
                "summary": _summary(block.title),
                "inner": inner,
                "quoted": _quotation(inner),
            }
        if isinstance(block, Exercise):
            each = self.each(block.blocks)
            asked = next((i for i, b in enumerate(block.blocks) if isinstance(b, Space | Part)), len(each))
            self.worth, self.exercises = self.worth + block.worth, self.exercises + 1
            return "exercise", {
                "number": Rendered(block.number),
                "label": self.label("ex", block.number),
                "worth": block.worth,
                "title": inline(block.title),
                "points": inline(block.points),
                "question": Rendered("".join(each[:asked])),
                "rest": Rendered("".join(each[asked:])),
                "inner": Rendered("".join(each)),
            }
        if isinstance(block, Both):
            langs = {f"{side}_lang": Rendered(HTML_LANG[lang]) for side, lang in block.langs.items()}
            return "both", {"left": self(block.left), "right": self(block.right), **langs}
        if isinstance(block, Space):
            return "space", {"lines": block.lines}
        if isinstance(block, Code):
            return "code", {"text": self.code(block.text), "language": Rendered(block.language)}
        return "figure", self.figure(block)

    def heading(self, block: Heading) -> dict[str, Any]:
        """A heading; those of sections are listed."""
        content = self.inline(block.content)
        self.headings += 1
        name = Rendered(f"sec-{self.headings}")
        if block.level == 1:
            self.sections.append({"id": name, "content": content})
        return {"level": block.level, "content": content, "id": name}

    def equation(self, block: Equation) -> dict[str, Any]:
        """An equation: its rows, and all of it as one formula."""
        reason, lead = self.inline(block.reason), self.inline(block.lead)
        counted = self.profile.counts and block.number is not None and block.number.isdigit()
        if block.number is None or counted:
            lead, reason = (self.line_start(lead), reason) if lead else (lead, self.line_start(reason))
        latex = _aligned(block.rows)
        return {
            "rows": self.rows(block.rows),
            "number": None if block.number is None else Rendered(block.number),
            "counted": counted,
            "label": self.label("eq", block.number or ""),
            "reason": reason,
            "lead": lead,
            "mark": self.inline(block.mark),
            "sign": any(isinstance(piece, Sign) for piece in block.mark),
            "latex": Rendered(escape_html(latex)),
            # Lines with fractions in them need room between them.
            "math": math_html(latex.replace(r" \\ ", r" \\[0.35em] "), display=True),
        }

    def rows(self, rows: Sequence[Row]) -> list[dict[str, Rendered]]:
        """The lines of an equation: left, relation, right."""
        if self.form == "text":
            sides = [(r.left.text if r.left else "", r.relation.text, r.right.text) for r in rows]
            width = max(_width(left) for left, *_ in sides)
            sides = [(" " * (width - _width(a)) + a, b, c) for a, b, c in sides]
        elif self.form == "typ":
            sides = [(r.left.typst if r.left else "", r.relation.typst, r.right.typst) for r in rows]
        else:
            sides = [
                (_guarded(r.left.latex if r.left else "", len(rows) > 1), r.relation.latex, r.right.latex)
                for r in rows
            ]
        return [
            {"left": Rendered(left), "relation": Rendered(relation), "right": Rendered(right)}
            for left, relation, right in sides
        ]

    def table(self, block: Table) -> dict[str, Any]:
        """A table with the shares of its columns."""
        cell = shown_tex if self.form == "tex" else self.inline
        widths = block.widths or (1,) * len(block.head)
        return {
            "head": [self.inline(c) for c in block.head],
            "rows": [[cell(c) for c in row] for row in block.rows],
            "widths": [Rendered(f"{w / sum(widths):.3f}") for w in widths],
            "columns": len(block.head),
        }

    def code(self, text: str) -> Rendered:
        """Lines of code as the format can hold them."""
        if self.form == "html":
            return Rendered("\n".join(escape_html(line) for line in text.splitlines()))
        if self.form == "typ":
            lines = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
            return Rendered(f'"{lines}"')
        return Rendered(text.replace("```", "'''").replace("\\end{verbatim}", ""))

    def figure(self, block: Figure) -> dict[str, Any]:
        """A figure: its picture, what it says, its caption."""
        if not block.svg and self.form in ("html", "typ"):
            raise MissingExtraError('the figures need matplotlib: pip install "symgrad[figures]" adds it')
        alt = escape_html(block.alt) if self.form == "html" else escape_md(block.alt)
        if self.form == "tex":
            alt = escape_tex(block.alt)
        if self.form == "typ":
            alt = _quoted(block.alt)
        picture = {"svg": block.svg.encode(), "pdf": block.pdf}.get(self.profile.pictures, b"")
        file = f"{self.document}.fig{block.number}.{self.profile.pictures}"
        if picture and self.document and not (self.profile.draws and block.mermaid):
            self.pictures[file] = picture
        return {
            "picture": Rendered(file) if file in self.pictures else None,
            "svg": Rendered(_quoted(block.svg)),
            "svg64": Rendered(base64.b64encode(block.svg.encode()).decode()),
            "alt": Rendered(alt),
            "caption": self.inline(block.caption),
            "number": Rendered(block.number),
            "label": self.label("fig", block.number),
            "mermaid": None if block.mermaid is None else Rendered(block.mermaid),
            "width": Rendered(f"{block.width:.2f}"),
            "percent": round(100 * block.width),
            "plain_alt": Rendered(escape_html(block.alt)),
        }


def _quoted(text: str) -> str:
    """A string of Typst."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _guarded(left: str, several: bool) -> str:
    """A line of Markdown that starts with a sign or a digit is taken for a list."""
    return "{}" + left if left and left[0] != "\\" and (several or not left[0].isalpha()) else left


def _summary(title: Inline) -> Rendered:
    """A title for the fold of an HTML element, in which Markdown is not read."""
    return Rendered(escape_html(inline_text(title)))


def _quotation(text: str) -> Rendered:
    """Lines of Markdown as a block quote."""
    return Rendered("\n".join(f"> {line}" for line in tidy(text).splitlines()))


def write_document(
    document: Document,
    form: Format,
    folders: Sequence[Path] = (),
    extra: Mapping[str, Rendered] | None = None,
) -> str:
    """The document in a format; blocks of templates in `folders` are taken before those that ship.

    `extra` is what the frame needs besides, e.g. the style of HTML.

    Raises   RecipeError for a template that cannot be used
    """
    return written(document, Writer(form, folders, document.words), extra)


def write_with_pictures(
    document: Document, profile: Profile, folders: Sequence[Path] = ()
) -> tuple[str, dict[str, bytes]]:
    """The document in Markdown or LaTeX for a profile, and the pictures that are to lie beside it, by name.

    Raises   RecipeError for a template that cannot be used
    """
    writer = Writer(profile.form, folders, document.words, profile, document.name)
    return written(document, writer), writer.pictures


def written(document: Document, writer: Writer, extra: Mapping[str, Rendered] | None = None) -> str:
    """The document by a writer that is new.

    Raises   RecipeError for a template that cannot be used
    """
    blocks = writer.each(document.blocks)
    data = {
        "title": writer.inline(document.title),
        "plain_title": Rendered(json.dumps(str(inline_text(document.title)), ensure_ascii=False)),
        "lang": Rendered("zh" if "zh" in document.lang.split("+") else document.lang.split("+")[0]),
        "head": [writer.line_start(writer.inline(line)) for line in document.head],
        "fields": [writer.inline(plain(name)) for name in document.fields],
        "paper": Rendered(document.paper),
        "blocks": blocks,
        "words": writer.words,
        "htmllang": Rendered(HTML_LANG[document.lang.split("+")[0]]),
        "sections": writer.sections,
        "worth": writer.worth,
        "exercises": writer.exercises,
        "answers": writer.answers,
        **(extra or {}),
    }
    text = writer.templates.document(data)
    return text if writer.form == "html" else tidy(text)


def tidy(text: str) -> str:
    """A text without blanks at line ends and with one blank line at most."""
    lines = [line.rstrip() for line in text.splitlines()]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n") + "\n"
