"""PDF by Typst: every node is set, no glyph is missing, nothing in words is markup, the same bytes each time."""

from __future__ import annotations

from pathlib import Path

import pytest

from symgrad.errors import MissingExtraError, RecipeError, UnsupportedError
from symgrad.rendering import pdf
from symgrad.rendering.document import Document, Paragraph, Strong, Words, formulas, plain
from symgrad.rendering.formats import write_document
from symgrad.rendering.glyphs import FONT_FOLDER, code_points, missing
from symgrad.rendering.handout import document
from symgrad.rendering.pdf import compile_typst, write_pdf
from symgrad.rendering.phrases import LANGUAGES, REVIEWED, load
from symgrad.rendering.view import SIGNS
from symgrad.rendering.workbook import Workbook

HOSTILE = 'a_b* [c](d) #eval("x") $g$ \\k @ref <l> //m "n" `o` = ~ --- https://p.q'


def test_the_notes_are_set_in_every_language(notes: Workbook) -> None:
    """The full recipe once for each language; a warning of Typst is an error."""
    for lang in REVIEWED:
        made = write_pdf(document(notes, lang))
        assert made.startswith(b"%PDF")
        assert len(made) < 1_000_000


def test_the_same_document_gives_the_same_bytes(notes: Workbook) -> None:
    short = Document(plain("T"), document(notes, "zh").blocks[:12], "zh")
    assert write_pdf(short) == write_pdf(short)


def test_words_are_never_markup() -> None:
    text = write_document(Document(plain(HOSTILE), (Paragraph((Words(HOSTILE), Strong(HOSTILE))),)), "typ")
    assert text.count("#eval") == text.count('#eval(\\"x\\")')
    compile_typst(text)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_fonts_have_every_character_of_the_phrases(lang: str) -> None:
    assert missing("".join(load(lang).phrases.values())) == ""
    assert missing("".join(sign for sign, _ in SIGNS.values())) == ""


def test_a_character_without_a_glyph_is_named() -> None:
    with pytest.raises(UnsupportedError, match=r"U\+1F600.*U\+0E01") as caught:
        write_pdf(Document(plain("x \U0001f600 \u0e01"), ()))
    assert "--font-path" in str(caught.value)


def test_the_fonts_hold_all_of_gb2312() -> None:
    text = "".join(
        bytes([0xA0 + row, 0xA0 + cell]).decode("gb2312", "ignore")
        for row in range(16, 88)
        for cell in range(1, 95)
    )
    for path in FONT_FOLDER.glob("*.otf"):
        assert {ord(c) for c in text} <= code_points(path), path.name
    assert (FONT_FOLDER / "OFL.txt").is_file()


def test_a_fault_in_a_template_is_told_with_its_line(notes: Workbook, tmp_path: Path) -> None:
    (tmp_path / "document").mkdir()
    (tmp_path / "document" / "typ.jinja").write_text(
        "<% block heading %>#nothing(<< content >>)<% endblock %>"
    )
    with pytest.raises(RecipeError, match="Typst cannot set"):
        write_pdf(document(notes, "en"), [tmp_path])


def test_without_typst_one_sentence_says_what_adds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "has_typst", lambda: False)
    with pytest.raises(MissingExtraError) as caught:
        write_pdf(Document(plain("T"), ()))
    assert 'pip install "symgrad[pdf]"' in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_typst_has_a_spelling_for_every_formula_that_latex_has(notes: Workbook) -> None:
    found = list(formulas(document(notes, "en").blocks))
    assert len(found) > 300
    assert all(bool(f.typst) == bool(f.latex) for f in found)
