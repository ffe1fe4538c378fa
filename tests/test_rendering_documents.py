"""Derivations as documents: plain data, portable Markdown, LaTeX, JSON; templates that may print nothing unescaped."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from inspect import cleandoc
from pathlib import Path

import pytest

from symgrad.api import Derivation, derive
from symgrad.errors import RecipeError, UnsupportedError
from symgrad.gallery import QUESTIONS
from symgrad.reading import read_model, read_question
from symgrad.rendering.derivation import document_of, latex_block, render, to_json
from symgrad.rendering.document import (
    Document,
    Equation,
    Formula,
    Paragraph,
    Row,
    Strong,
    Table,
    Words,
    formulas,
)
from symgrad.rendering.formats import FORMATS, inline_md, inline_tex, render_template, write_document
from symgrad.rendering.notation import Notation
from symgrad.rendering.phrases import LANGUAGES, REVIEWED
from symgrad.rules import RULES

LEAST_SQUARES = {"shapes": "X: n d, w: d, y: n"}


@pytest.fixture(scope="module")
def least_squares() -> Derivation:
    return derive("norm(X @ w - y)**2 / n", "w", **LEAST_SQUARES)


@pytest.fixture(scope="module")
def examples() -> dict[str, Derivation]:
    """Every kind of derivation: the gallery, each kind, and one for each rule."""
    found = {
        name: derive(read_model(cleandoc(text)), wrt, of=of, check=False)
        for name, (text, of, wrt) in QUESTIONS.items()
    }
    shapes = "A: m n, x: n, b: m"
    found["jacobian"] = derive("tanh(A @ x + b)", "x", shapes=shapes, kind="jacobian", check=False)
    found["hessian"] = derive("norm(A @ x - b)**2", "x", shapes=shapes, kind="hessian", check=False)
    found["differential"] = derive("norm(A @ x - b)**2", "x", shapes=shapes, kind="differential", check=False)
    found["numerator"] = derive("norm(A @ x - b)**2", "x", shapes=shapes, layout="numerator", check=False)
    for name, rule in RULES.items():
        model, e = read_question(rule.example, shapes=rule.shapes, assume=rule.assume or None)
        wrt = next(str(leaf) for leaf in model.symbols)
        question = rule.example if not hasattr(e, "shape") else f"norm({rule.example})**2"
        try:
            found[f"rule {name}"] = derive(
                question, wrt, shapes=rule.shapes, assume=rule.assume or None, check=False
            )
        except UnsupportedError:
            assert name in ("kronecker of matrices", "vectorisation")  # they have differentials only
    return found


# --- what is written ---------------------------------------------------------------------------------


@pytest.mark.parametrize("lang", LANGUAGES)
def test_markdown_is_portable(
    examples: dict[str, Derivation], lang: str, markdown_problems: Callable[[str], list[str]]
) -> None:
    for name, derivation in examples.items():
        assert markdown_problems(render(derivation, "md", lang)) == [], name


@pytest.mark.parametrize(
    "text",
    [
        "一式$x$。",
        "a $ x $ b",
        "a $x$b",
        "$$\nx\n$$ y",
        "\n$$\n- x\n$$\n",
        "\n$$\n|x|\n$$\n",
        "a $\\operatorname{tr}(x)$ b",
        "## a $x$",
        "a $x\\,y$ b",
        "a $x<y$ b",
    ],
)
def test_the_lint_finds_what_is_not_portable(
    text: str, markdown_problems: Callable[[str], list[str]]
) -> None:
    assert markdown_problems(text) != []


def test_every_formula_of_the_documents_is_typeset(
    examples: dict[str, Derivation], katex: Callable[[str], str]
) -> None:
    shown = {f.latex for d in examples.values() for f in formulas(document_of(d).blocks) if f.latex}
    assert len(shown) > 100
    for latex in sorted(shown):
        assert "katex" in katex(latex)


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("form", FORMATS)
def test_every_document_can_be_written_twice_alike(
    examples: dict[str, Derivation], form: str, lang: str
) -> None:
    for derivation in examples.values():
        text = render(derivation, form, lang)
        assert text == render(derivation, form, lang)
        assert text.endswith("\n")
        assert not re.search(r"[ \t]\n|\n\n\n", text)


def test_english_documents_hold_no_chinese_and_chinese_ones_no_english_sentence(
    examples: dict[str, Derivation],
) -> None:
    for derivation in examples.values():
        english = document_of(derivation, "en")
        chinese = write_document(document_of(derivation, "zh"), "text")
        assert not re.search(r"[\u4e00-\u9fff]", write_document(english, "tex"))
        assert not re.search(r"[a-z]{3,} [a-z]{3,} [a-z]{3,}", chinese)


def test_the_steps_say_rule_premises_and_evidence(least_squares: Derivation) -> None:
    text = render(least_squares, "text")
    assert "The gradient of a squared norm is twice its argument." in text
    assert "It uses (1)." in text
    assert re.search(r"\((proved|checked numerically)\)", text)
    assert "∂f/∂w = 2 Xᵀ (X w − y) / n" in text
    assert "checked" in text.splitlines()[-1] or "proved" in text.splitlines()[-1]


def test_what_is_not_checked_is_said_to_be_so() -> None:
    text = render(derive("x @ x", "x", shapes="x: n", check=False), "text")
    assert "not checked" in text
    assert "proved" not in text


def test_a_tex_document_is_complete(least_squares: Derivation) -> None:
    english, chinese = (render(least_squares, "tex", lang) for lang in REVIEWED)
    assert english.startswith("\\documentclass[11pt,a4paper]{article}")
    assert chinese.startswith("\\documentclass[fontset=fandol")
    for text in (english, chinese):
        assert text.rstrip().endswith("\\end{document}")
        assert "\\allowdisplaybreaks" in text
        assert (
            re.findall(r"\\begin\{(\w+\*?)\}", text).__len__()
            == re.findall(r"\\end\{(\w+\*?)\}", text).__len__()
        )


def test_the_proof_names_what_it_proves() -> None:
    text, of, wrt = QUESTIONS["deep_linear_chain"]
    shown = render(derive(read_model(cleandoc(text)), wrt, of=of, check=False), "text")
    claim = re.search(r"Proof of (\(\d+\)) by induction", shown)
    assert claim
    assert f"assume {claim[1]} for a layer" in shown
    assert f"By induction, {claim[1]} holds for every layer." in shown


def test_notation_is_followed(least_squares: Derivation) -> None:
    assert r"X^{\mathsf{T}}" in render(least_squares, "md", notation=Notation(transpose="T"))


def test_an_unknown_format_and_language_are_refused(least_squares: Derivation) -> None:
    with pytest.raises(UnsupportedError, match="no format 'docx'"):
        render(least_squares, "docx")
    with pytest.raises(RecipeError, match="no phrases in 'fr'"):
        render(least_squares, "md", "fr")


# --- data ----------------------------------------------------------------------------------------------


def test_json_holds_the_derivation(least_squares: Derivation) -> None:
    data = to_json(least_squares)
    assert json.loads(json.dumps(data)) == data
    assert data["answer"]["text"] == "2 * X.T @ (X @ w - y) / n"
    assert data["answer"]["latex"] == r"\frac{2}{n} X^{\top} (X w - y)"
    assert [s["number"] for s in data["steps"]] == list(range(1, len(data["steps"]) + 1))
    for step in data["steps"]:
        assert step["reason"]
        assert step["evidence"]["level"] in ("proved", "verified", "agrees")
        assert all(p < step["number"] for p in step["premises"])
        assert all(e["latex"] and e["unicode"] for e in step["equation"])
    assert to_json(least_squares, "zh")["steps"][0]["reason"] != data["steps"][0]["reason"]


def test_json_says_null_where_the_text_language_has_no_word() -> None:
    data = to_json(derive("norm(A @ x)**2", "x", shapes="A: m n, x: n", kind="differential", check=False))
    assert data["left"]["text"] is None
    assert data["answer"]["text"] and data["answer"]["latex"]


def test_a_notebook_shows_the_result(least_squares: Derivation) -> None:
    assert latex_block(least_squares) == (
        r"$\displaystyle \frac{\partial f}{\partial w} = \frac{2}{n} X^{\top} (X w - y)$"
    )
    assert least_squares._repr_latex_() == latex_block(least_squares)
    assert least_squares._repr_markdown_() == render(least_squares, "md")


# --- escaping --------------------------------------------------------------------------------------------

HOSTILE = r"a_b* [c](d) <e> #f $g$ |h| ~i~ `j` \k 50% {l} ^m &n"


def document(*blocks: Paragraph | Equation | Table) -> Document:
    return Document((Words("T"),), blocks)


def test_words_are_escaped_for_markdown(markdown_problems: Callable[[str], list[str]]) -> None:
    text = write_document(document(Paragraph((Words(HOSTILE),))), "md")
    assert r"a\_b\* \[c\](d) \<e\> \#f \$g\$ \|h\| \~i\~ \`j\` \\k 50% {l} ^m &n" in text
    assert markdown_problems(text) == []


def test_words_are_escaped_for_latex() -> None:
    text = inline_tex((Words(HOSTILE),))
    assert r"a\_b* [c](d) \textless{}e\textgreater{} \#f \$g\$" in text
    assert r"\textbackslash{}k 50\% \{l\} \textasciicircum{}m \&n" in text


@pytest.mark.parametrize("start", ["- a", "+ a", "1. a", "12) a", "= a"])
def test_a_paragraph_does_not_turn_into_a_list(start: str) -> None:
    text = write_document(document(Paragraph((Words(start),))), "md")
    assert start not in text.splitlines()


def test_formulas_stand_apart_in_markdown() -> None:
    x = Formula("x", "x", "x")
    assert inline_md((Words("由"), x, Words("得")))[1:] == " $x$ 得"
    assert inline_md((Words("设，"), x, Words("。"))) == "设， $x$。"
    assert inline_tex((Words("设， "), x, Words("。"))) == "设，$x$。"
    assert inline_md((Strong("a"), x)) == "**a** $x$"


def test_a_line_of_a_formula_never_starts_like_a_list(markdown_problems: Callable[[str], list[str]]) -> None:
    for start in ("-x", "+x", "2 x", "(x)", "x"):
        rows = (Row(Formula(start, start, start), Formula("y", "y", "y")), Row(None, Formula("z", "z", "z")))
        assert markdown_problems(write_document(document(Equation(rows)), "md")) == []
        assert markdown_problems(write_document(document(Equation(rows[:1])), "md")) == []


# --- templates ---------------------------------------------------------------------------------------------


def own(folder: Path, text: str) -> None:
    (folder / "document").mkdir()
    (folder / "document" / "md.jinja").write_text(text, encoding="utf-8")


def test_a_template_of_ones_own_is_taken_first(tmp_path: Path) -> None:
    own(tmp_path, "<# mine #>\nMine: << title >>\n")
    assert write_document(document(), "md", [tmp_path]) == "Mine: T\n"


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("a\n<< nothing >>\n", "'nothing' is undefined", 2),
        ("a\nb\n<% if %>\n", "Expected an expression", 3),
        ("<< title.missing >>\n", "no attribute 'missing'", 1),
        ("\n\n<< plain >>\n", "not rendered", 3),
        ("<< title.__class__.__mro__ >>\n", "", 1),
        ("<% for i in range(10000000) %>x<% endfor %>\n", "", 1),
        ("<% include 'document/other.jinja' %>\n", "no template document/other.jinja", None),
    ],
)
def test_a_wrong_template_is_refused_with_its_line(
    tmp_path: Path, text: str, message: str, line: int | None
) -> None:
    own(tmp_path, text)
    with pytest.raises(RecipeError) as caught:
        render_template(
            "document/md.jinja", {"title": inline_md((Words("T"),)), "plain": "<words>"}, [tmp_path]
        )
    assert message in caught.value.message
    assert caught.value.line == line


def test_no_formula_is_typed_into_a_template() -> None:
    for path in (Path(__file__).parents[1] / "templates" / "document").glob("*.jinja"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\\(frac|partial|sum|prod|mathrm|left)|∂|\d\s*[=+×]", text), path


def test_a_single_block_of_ones_own_is_taken_and_the_others_stay(tmp_path: Path) -> None:
    own(tmp_path, "<% block paragraph %>\n\n! << content >> << super() >>\n<% endblock %>\n")
    text = write_document(document(Paragraph((Words("mine"),))), "md", [tmp_path])
    assert text.startswith("# T\n")
    assert "! mine" in text
    assert text.count("mine") == 2


def test_a_block_that_there_is_not_is_refused(tmp_path: Path) -> None:
    own(tmp_path, "<% block paragraf %>x<% endblock %>\n")
    with pytest.raises(RecipeError, match="no block paragraf") as caught:
        write_document(document(), "md", [tmp_path])
    assert "paragraph" in str(caught.value)


def test_a_fault_in_a_block_names_its_line(tmp_path: Path) -> None:
    own(tmp_path, "<% block paragraph %>\n<< nothing >>\n<% endblock %>\n")
    with pytest.raises(RecipeError, match="'nothing' is undefined") as caught:
        write_document(document(Paragraph((Words("x"),))), "md", [tmp_path])
    assert caught.value.line == 2


def test_the_convention_is_named_where_entries_are_tied() -> None:
    asked = {"wrt": "S", "shapes": "S: n n, A: n n"}
    free = str(derive("tr(A @ S)", **asked, assume="S: symmetric"))
    assert "with all entries of S free" in free
    assert "within the symmetric matrices" in str(
        derive("tr(A @ S)", **asked, assume="S: symmetric", structure="symmetric-subspace")
    )
    assert "free" not in str(derive("tr(A @ S)", **asked))
