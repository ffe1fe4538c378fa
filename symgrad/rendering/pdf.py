"""PDF through Typst: no TeX, no network, the fonts embedded, the same bytes each time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from symgrad.errors import MissingExtraError, RecipeError, UnsupportedError
from symgrad.rendering.document import Block, Document, Formula, Inline, inlines, inside
from symgrad.rendering.formats import write_document
from symgrad.rendering.glyphs import FONT_FOLDER, missing

__all__ = ["document_text", "has_typst", "missing_typst", "write_pdf"]


def has_typst() -> bool:
    """Whether the extra `pdf` is installed."""
    try:
        import typst  # noqa: F401
    except ImportError:
        return False
    return True


def missing_typst() -> MissingExtraError:
    """What is said without Typst."""
    return MissingExtraError('PDF needs Typst: pip install "symgrad[pdf]" adds it')


def write_pdf(document: Document, folders: Sequence[Path] = (), fonts: Sequence[Path] = ()) -> bytes:
    """The document as PDF; `fonts` are folders with more fonts.

    Raises   MissingExtraError without Typst, UnsupportedError for characters that no font has, RecipeError for a
             template that Typst cannot set
    """
    if not has_typst():
        raise missing_typst()
    lost = missing(document_text(document), tuple(fonts))
    if lost:
        names = ", ".join(f"{c} (U+{ord(c):04X})" for c in lost[:8])
        raise UnsupportedError(
            f"no font has {'the character' if len(lost) == 1 else 'the characters'} {names}",
            hint="name a folder with a font that has them: --font-path FOLDER",
        )
    return compile_typst(write_document(document, "typ", folders), fonts)


def compile_typst(source: str, fonts: Sequence[Path] = ()) -> bytes:
    """The PDF of a Typst source; its warnings are errors.

    Raises   RecipeError with the line of the source
    """
    import typst

    paths: list[Any] = [str(FONT_FOLDER), *(str(f) for f in fonts)]
    try:
        made, warnings = typst.compile_with_warnings(
            source.encode(), font_paths=paths, ignore_system_fonts=True
        )
    except typst.TypstError as error:
        raise _fault(
            source, str(getattr(error, "message", error)), str(getattr(error, "diagnostic", ""))
        ) from error
    if warnings:
        raise _fault(source, str(getattr(warnings[0], "message", warnings[0])), "")
    return made


def _fault(source: str, message: str, diagnostic: str) -> RecipeError:
    details = tuple(line for line in diagnostic.splitlines() if line.strip())[:12]
    return RecipeError(f"Typst cannot set the document: {message}", details=details)


def document_text(document: Document) -> str:
    """All words of a document, in order."""
    lines = [document.title, *document.head]
    text = (
        "".join(_words(line) for line in lines) + "".join(document.fields) + "".join(document.words.values())
    )
    return text + "".join(_block_text(b) for b in document.blocks)


def _block_text(block: Block) -> str:
    own = "".join(_words(line) for line in inlines(block))
    return own + "".join(_block_text(b) for b in inside(block))


def _words(line: Inline) -> str:
    return "".join(piece.text for piece in line if not isinstance(piece, Formula))
