"""HTML: one file without a network, readable without JavaScript, accessible, and nothing in words is markup."""

from __future__ import annotations

import ast
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from symgrad.errors import UnsupportedError
from symgrad.rendering.document import Document, Paragraph, Words, plain
from symgrad.rendering.handout import document
from symgrad.rendering.html import typeset, write_html
from symgrad.rendering.phrases import REVIEWED
from symgrad.rendering.workbook import Workbook

VOID = {"meta", "img", "br", "hr", "link"}


class Reader(HTMLParser):
    """Checks that elements are closed in order and collects what tests ask for."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def pages(notes: Workbook) -> dict[tuple[str, bool], str]:
    """The notes by language and whether formulas are set; only the English ones, set, are whole."""
    made = {}
    for lang in REVIEWED:
        whole = document(notes, lang)
        short = Document(whole.title, whole.blocks[:40], lang, words=whole.words)
        made[lang, True] = write_html(whole if lang == "en" else short, static=True)
        made[lang, False] = write_html(short, static=False)
    return made


@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize("lang", REVIEWED)
def test_it_is_one_well_formed_file_that_asks_nothing_of_the_network(
    pages: dict[tuple[str, bool], str], lang: str, static: bool
) -> None:
    text = pages[lang, static]
    reader = read(text)
    asked = [v for _, a in reader.elements for k, v in a.items() if k in ("src", "href") and v]
    assert all(v.startswith(("#", "data:")) for v in asked)
    assert not re.search(r"url\((?!data:)", text)
    assert "default-src 'none'" in text
    ids = [a["id"] for _, a in reader.elements if a.get("id")]
    assert len(ids) == len(set(ids))
    assert {v[1:] for v in asked if v.startswith("#") and (lang, static) == ("en", True)} <= set(ids)
    assert "&lt;a" not in text


def test_without_javascript_every_formula_is_there_as_mathml(pages: dict[tuple[str, bool], str]) -> None:
    text = pages["en", True]
    assert 'class="math"' not in text
    assert text.count("<math") > 250
    assert "katex.min" not in text
    assert 'class="math"' in pages["en", False]


def test_headings_language_and_pictures_can_be_followed_without_seeing(
    pages: dict[tuple[str, bool], str],
) -> None:
    reader = read(pages["zh", True])
    assert next(a for tag, a in reader.elements if tag == "html")["lang"] == "zh-CN"
    levels = [int(tag[1]) for tag, _ in reader.elements if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))
    assert all(a.get("alt") for tag, a in reader.elements if tag == "img")
    assert all(a.get("aria-label") for tag, a in reader.elements if tag == "button")


def test_every_display_has_its_latex_to_copy(pages: dict[tuple[str, bool], str]) -> None:
    copied = re.findall(r'data-tex="([^"]*)"', pages["en", True])
    assert len(copied) == len(re.findall(r'<div class="formula"', pages["en", True]))
    assert all(copied)


def test_words_are_never_markup() -> None:
    words = '<script>alert("x")</script> & </p> $x$'
    text = write_html(
        Document(plain(words), (Paragraph((Words(words),)),), words={"copy": words, "copied": words})
    )
    assert "<script>alert" not in text
    read(text)


def test_a_formula_that_cannot_be_set_is_an_error() -> None:
    with pytest.raises(UnsupportedError, match="KaTeX cannot set"):
        typeset(r"\frac{", True)


def test_steps_fold_and_open_at_first(pages: dict[tuple[str, bool], str]) -> None:
    reader = read(pages["en", True])
    folded = [a for tag, a in reader.elements if tag == "details" and a.get("class") == "steps"]
    assert folded
    assert all("open" in a for a in folded)


def test_quickjs_is_given_katex_and_a_constant_and_nothing_else() -> None:
    """A formula reaches it as an argument, never as a program."""
    path = Path(__file__).parents[1] / "symgrad" / "rendering" / "html.py"
    calls = [
        n
        for n in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(n, ast.Call) and getattr(n.func, "attr", getattr(n.func, "id", "")) in ("eval", "exec")
    ]
    given = [ast.unparse(n.args[0]) for n in calls]
    assert len(given) == 2
    assert given[0] == "_asset('katex.min.js')"
    assert isinstance(calls[1].args[0], ast.Constant)
