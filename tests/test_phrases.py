"""The phrase catalogues: complete, alike, plain text, each in its own language."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import get_args

import pytest

from symgrad.api import Structure
from symgrad.deriving.steps import LEVELS
from symgrad.errors import RecipeError
from symgrad.rendering.document import Formula, Words
from symgrad.rendering.phrases import LANGUAGES, REVIEWED, Catalogue, load, pieces
from symgrad.rendering.recipe import SECTIONS
from symgrad.rules import RULES
from symgrad.simplifying import REWRITES

PACKAGE = Path(__file__).parents[1] / "symgrad"
EN, ZH = load("en"), load("zh")
SAME_WORD = {
    "month.april",
    "month.august",
    "month.november",
    "month.september",
    "sheet.name",
    "text.title",
} | {key for key in EN if EN.phrases[key] in ("Gradient", "layout", "Text")}
HAN = re.compile(r"[\u4e00-\u9fff]")


def texts(words: Catalogue) -> dict[str, str]:
    """The text of every phrase between its places."""
    return {key: "\n".join(pieces(words.phrases[key])[::2]) for key in words}


EN_TEXTS = texts(EN)


def literals(path: Path) -> list[ast.Constant]:
    return [
        n
        for n in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(n, ast.Constant) and isinstance(n.value, str)
    ]


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_language_has_the_same_keys(lang: str) -> None:
    assert set(load(lang)) ^ set(EN) == set()


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_phrase_has_the_same_places_in_every_language(lang: str) -> None:
    words = load(lang)
    assert [key for key in EN if words.places(key) != EN.places(key)] == []


def test_a_catalogue_that_a_machine_wrote_says_so_and_is_complete() -> None:
    """A third language is one file: nothing in it is left in English, and its first line says who wrote it."""
    folder = PACKAGE / "rendering" / "phrases"
    assert {p.stem for p in folder.glob("*.toml")} == set(LANGUAGES)
    for lang in set(LANGUAGES) - set(REVIEWED):
        assert (
            "written by a machine"
            in (folder / f"{lang}.toml").read_text(encoding="utf-8").splitlines()[0].lower()
        )
        words = load(lang)
        same = {k for k, text in texts(words).items() if text == EN_TEXTS[k] and re.search(r"[a-z]{3}", text)}
        assert same <= SAME_WORD, lang


def test_keys_are_identifiers_joined_by_dots() -> None:
    assert all(re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", key) for key in EN)


def test_english_phrases_hold_no_chinese() -> None:
    assert [k for k, t in texts(EN).items() if HAN.search(t) or not t.isascii()] == []


def test_chinese_phrases_hold_no_latin_words_and_full_width_punctuation() -> None:
    for key, text in texts(ZH).items():
        if key.startswith(("list.", "section.")):
            continue
        assert not re.search(r"[A-Za-z]", text), key
        assert not re.search(r"[,.;:!?()\"']", text), key


def test_chinese_phrases_have_spaces_around_places() -> None:
    """A formula stands apart from the characters beside it, though not from punctuation behind it."""
    for key in ZH:
        if key.startswith(("list.", "section.")) or key.endswith(("title", "case")):
            continue
        parts = pieces(ZH.phrases[key])
        for i in range(1, len(parts), 2):
            before, after = parts[i - 1], parts[i + 1]
            assert not before or before[-1] in " \uff1a\u3002\uff0c\uff1b\uff08", key
            assert not after or after[0] in " \uff0c\u3002\uff1b\uff1a\u3001\uff09", key


@pytest.mark.parametrize("lang", LANGUAGES)
def test_no_formula_and_no_number_is_typed_into_a_phrase(lang: str) -> None:
    for key, text in texts(load(lang)).items():
        assert not re.search(r"[0-9\\^_$=<>*/+∂×·]", text), key


@pytest.mark.parametrize("lang", LANGUAGES)
def test_sentences_end(lang: str) -> None:
    """A reason is a whole sentence."""
    for key in load(lang):
        if key.split(".")[0] in ("rule", "rewrite", "components", "depth", "differential", "structure"):
            assert load(lang).phrases[key][-1] in ".\u3002", key


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_rule_and_rewrite_has_its_sentence(lang: str) -> None:
    words = load(lang)
    missing = [f"rule.{name}" for name in [*RULES, "total", "independent"] if f"rule.{name}" not in words]
    missing += [f"rewrite.{name}" for name in REWRITES if f"rewrite.{name}" not in words]
    assert missing == []


def test_every_step_that_the_methods_record_has_its_sentence() -> None:
    """Steps are named by strings such as "depth.closed" in the code that records them."""
    named = {
        n.value
        for path in (PACKAGE / "deriving").rglob("*.py")
        for n in literals(path)
        if re.fullmatch(r"(depth|differential|components|explicit)\.[a-z_]+", n.value)
    }
    named |= {f"structure.{name}" for name in get_args(Structure)} | {"rule.prepare", "rule.layout"}
    assert {"depth.closed", "differential.read_off"} <= named
    assert sorted(n for n in named if n not in EN or n not in ZH) == []


def test_every_phrase_that_the_code_asks_for_is_there() -> None:
    for path in (PACKAGE / "rendering").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args or not isinstance(node.args[0], ast.Constant):
                continue
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            if name in ("words", "say"):
                assert node.args[0].value in EN, f"{path.name}: {node.args[0].value}"


def test_every_level_of_evidence_and_every_section_has_its_words() -> None:
    for level in LEVELS:
        assert all(f"evidence.{part}.{level}" in EN for part in ("mark", "all", "count", "answer"))
    for kind in SECTIONS:
        title = {"depth": "depth_section", "derivation": "derivation_section"}.get(kind, kind)
        assert f"{title}.title" in EN


def test_places_are_filled_with_pieces_and_nothing_else_is_special() -> None:
    words = Catalogue("en", {"a.b": "100% of {x} at {n}"})
    formula = Formula("x_{1}", "x", "x_(1)")
    assert words("a.b", x=formula, n=3) == (Words("100% of "), formula, Words(" at "), Words("3"))
    with pytest.raises(KeyError):
        words("a.b", x=formula)


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(RecipeError, match="no phrases in 'xx'"):
        load("xx")
