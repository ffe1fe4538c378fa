"""From a document to Markdown, LaTeX and terminal text: words are escaped here, templates only arrange.

Templates use `<% %>`, `<< >>` and `<# #>`, run in a sandbox, and may print nothing that has not been rendered here.
"""

from __future__ import annotations

import re
import traceback
import unicodedata
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

from symgrad.errors import RecipeError
from symgrad.rendering.document import (
    Block,
    Document,
    Equation,
    Formula,
    Heading,
    Inline,
    Items,
    Paragraph,
    Row,
    Strong,
    Table,
)

__all__ = ["FORMATS", "Format", "Rendered", "render_template", "template_folder", "write_document"]

Format = Literal["md", "tex", "text"]
FORMATS: tuple[Format, ...] = ("md", "tex", "text")


class Rendered(Markup):
    """Text that is ready for its format. Everything a template prints is this, or made of it."""


def template_folder() -> Path:
    """The folder of the templates and recipes that ship: in the package, or beside it in a checkout.

    Raises   RecipeError if it is not there
    """
    for folder in (Path(str(files("symgrad"))) / "templates", Path(__file__).parents[2] / "templates"):
        if folder.is_dir():
            return folder
    raise RecipeError("the templates of symgrad are not installed", hint="install the package again")


# --- escaping ----------------------------------------------------------------------------------------

_FULL_WIDTH = "，。；：！？、（）“”‘’《》"
_TEX = {
    **{c: f"\\{c}" for c in "{}$&#_%"},
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "⊤": r"$\top$",
}


def _printable(text: str) -> str:
    """One line without control characters."""
    return "".join(c if c.isprintable() else " " for c in text)


def escape_md(text: str) -> str:
    r"""Prose in portable Markdown.

    >>> escape_md("5 * 3_a [x]")
    '5 \\* 3\\_a \\[x\\]'
    """
    return re.sub(r"([\\`*_\[\]<>#$|~])", r"\\\1", _printable(text))


def escape_tex(text: str) -> str:
    r"""Prose in LaTeX.

    >>> escape_tex("100% of a_b")
    '100\\% of a\\_b'
    """
    return "".join(_TEX.get(c, c) for c in _printable(text))


def _line_start_md(text: str) -> Rendered:
    """A paragraph must not begin like a list or a rule."""
    text = re.sub(r"^([-+=])", r"\\\1", text)
    return Rendered(re.sub(r"^(\d+)([.)])", r"\1\\\2", text))


def _is_wordlike(char: str) -> bool:
    return bool(char) and (char.isalnum() or char in "\\_*(（“‘《")


def inline_md(content: Inline) -> Rendered:
    """Words and formulas in a line: an ASCII space before every formula, never a letter right after it."""
    out = ""
    after_formula = False
    for piece in content:
        if isinstance(piece, Formula):
            if out and not out[-1].isspace():
                out += " "
            out += f"${piece.latex}$"
            after_formula = True
            continue
        text = escape_md(piece.text)
        if isinstance(piece, Strong):
            text = f"**{text}**"
        if after_formula and _is_wordlike(text[:1]):
            out += " "
        out += text
        after_formula = False
    return Rendered(out)


def inline_tex(content: Inline, style: str = "") -> Rendered:
    """Words and formulas in a line; no space between full-width punctuation and a formula."""
    out = ""
    for piece in content:
        if isinstance(piece, Formula):
            if out[-1:] == " " and out[-2:-1] in _FULL_WIDTH:
                out = out[:-1]
            out += f"${style}{piece.latex}$"
        elif isinstance(piece, Strong):
            out += rf"\textbf{{{escape_tex(piece.text)}}}"
        else:
            out += escape_tex(piece.text)
    return Rendered(out)


def _displayed(content: Inline) -> Rendered:
    """A cell of a table, with its fractions in full size."""
    return inline_tex(content, r"\displaystyle ")


def inline_text(content: Inline) -> Rendered:
    """Words and formulas for a terminal."""
    out = ""
    for piece in content:
        text = piece.text if isinstance(piece, Formula) else _printable(piece.text)
        if isinstance(piece, Formula) and out[-1:] == " " and out[-2:-1] in _FULL_WIDTH:
            out = out[:-1]
        out += text
    return Rendered(out)


_INLINE: dict[str, Callable[[Inline], Rendered]] = {"md": inline_md, "tex": inline_tex, "text": inline_text}


# --- blocks as plain data --------------------------------------------------------------------------------


def _width(text: str) -> int:
    """Columns on a terminal; Chinese characters take two, combining marks none."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )


def _rows(rows: Sequence[Row], form: Format) -> list[dict[str, Rendered]]:
    if form == "text":
        sides = [(r.left.text if r.left else "", r.relation.text, r.right.text) for r in rows]
        width = max(_width(left) for left, *_ in sides)
        return [
            {
                "left": Rendered(" " * (width - _width(left)) + left),
                "relation": Rendered(rel),
                "right": Rendered(right),
            }
            for left, rel, right in sides
        ]
    several = len(rows) > 1
    data = []
    for r in rows:
        left = r.left.latex if r.left else ""
        # A line of Markdown that starts with a sign or a digit is taken for a list.
        if left and left[0] != "\\" and (several or not left[0].isalpha()):
            left = "{}" + left
        data.append(
            {"left": Rendered(left), "relation": Rendered(r.relation.latex), "right": Rendered(r.right.latex)}
        )
    return data


def _data(block: Block, form: Format) -> dict[str, Any]:
    """A block with everything rendered, ready for a template."""
    inline = _INLINE[form]
    if isinstance(block, Heading):
        return {"kind": "heading", "level": block.level, "content": inline(block.content)}
    if isinstance(block, Paragraph):
        content = inline(block.content)
        if form == "md" and not block.lead:
            content = _line_start_md(content)
        return {"kind": "paragraph", "lead": inline(block.lead), "content": content}
    if isinstance(block, Equation):
        return {
            "kind": "equation",
            "rows": _rows(block.rows, form),
            "number": block.number,
            "reason": inline(block.reason)
            if block.number is not None or form != "md"
            else _line_start_md(inline(block.reason)),
            "mark": inline(block.mark),
        }
    if isinstance(block, Items):
        return {
            "kind": "items",
            "ordered": block.ordered,
            "items": [_line_start_md(inline(i)) if form == "md" else inline(i) for i in block.items],
        }
    if isinstance(block, Table):
        cell = inline if form != "tex" else _displayed
        widths = block.widths or (1,) * len(block.head)
        return {
            "kind": "table",
            "head": [inline(c) for c in block.head],
            "rows": [[cell(c) for c in row] for row in block.rows],
            "widths": [Rendered(f"{w / sum(widths):.3f}") for w in widths],
        }
    return {
        "kind": "proof",
        "title": inline(block.title),
        "blocks": [_data(b, form) for b in block.blocks],
        "end": inline(block.end),
    }


# --- templates ----------------------------------------------------------------------------------------


def _only_rendered(value: Any) -> Any:
    """What a template may print; anything else is text that nobody has escaped."""
    if isinstance(value, jinja2.Undefined):
        str(value)  # StrictUndefined raises here
    if isinstance(value, Markup) or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise RecipeError(f"a template prints {type(value).__name__} that was not rendered: {value!r:.60}")


def _environment(folders: Sequence[Path]) -> jinja2.Environment:
    return ImmutableSandboxedEnvironment(
        loader=jinja2.FileSystemLoader([str(f) for f in folders]),
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",
        comment_end_string="#>",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        autoescape=True,  # macros then return markup, which is what may be printed
        finalize=_only_rendered,
    )


def render_template(name: str, data: dict[str, Any], folders: Sequence[Path]) -> str:
    """A template filled with data; the first folder that has it counts.

    Raises   RecipeError with the template's line
    """
    environment = _environment(folders)
    try:
        return str(environment.get_template(name).render(data))
    except jinja2.TemplateNotFound as error:
        known = sorted(environment.list_templates(filter_func=lambda n: n.endswith(".jinja")))
        raise RecipeError(
            f"there is no template {error.name}", hint="there are " + ", ".join(known)
        ) from error
    except jinja2.TemplateSyntaxError as error:
        raise _template_error(error.message or "syntax", error.name or name, error.lineno, folders) from error
    except RecipeError as error:
        raise _template_error(error.message, *_where(error, name, folders), folders) from error
    except Exception as error:  # a template is a program of somebody else
        raise _template_error(str(error), *_where(error, name, folders), folders) from error


def _where(error: BaseException, name: str, folders: Sequence[Path]) -> tuple[str, int]:
    """The innermost line of a template on the way to an error."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        for folder in folders:
            if frame.filename.startswith(str(folder)) and frame.lineno is not None:
                return str(Path(frame.filename).relative_to(folder)), frame.lineno
    return name, 1


def _template_error(message: str, name: str, line: int, folders: Sequence[Path]) -> RecipeError:
    path = next((f / name for f in folders if (f / name).is_file()), None)
    source = path.read_text(encoding="utf-8") if path else ""
    shown = source.splitlines()[line - 1] if 0 < line <= len(source.splitlines()) else ""
    column = len(shown) - len(shown.lstrip()) + 1
    return RecipeError(f"template {name}: {message}", source=source, line=line, column=column)


def write_document(document: Document, form: Format, folders: Sequence[Path] = ()) -> str:
    """The document in a format; templates of `folders` are taken before those that ship.

    Raises   RecipeError for a template that cannot be used
    """
    data = {
        "title": _INLINE[form](document.title),
        "lang": Rendered(document.lang),
        "blocks": [_data(b, form) for b in document.blocks],
    }
    text = render_template(f"document/{form}.jinja", data, [*folders, template_folder()])
    lines = [line.rstrip() for line in text.splitlines()]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n") + "\n"
