"""Profiles of Markdown and LaTeX: each is read by the program that it is written for, or held against its rules."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from symgrad.errors import RecipeError
from symgrad.rendering.document import Document, Equation, Formula, Paragraph, Row, Words, formulas
from symgrad.rendering.formats import write_with_pictures
from symgrad.rendering.handout import Choice, document, for_readers, load_recipe, made, read_recipe
from symgrad.rendering.profiles import PROFILES, profile_for
from symgrad.rendering.workbook import Workbook

BOOK = ("softmax", "mlp", "gradients")  # exercises, pictures, proofs
MARKDOWN = [p.name for p in PROFILES if p.form == "md"]
XELATEX = shutil.which("xelatex")


@cache
def documents(recipe: str) -> dict[str, Document]:
    """The handouts for both audiences in two languages, by the stems of their files."""
    book = Workbook(load_recipe(recipe))
    found: dict[str, Document] = {}
    for lang in ("en", "zh"):
        written = document(book, lang)
        for stem, audience in (
            (f"{recipe}.{lang}", "student"),
            (f"{recipe}.instructor.{lang}", "instructor"),
        ):
            found[stem] = replace(for_readers(written, audience), name=stem)
    return found


@cache
def files(profile: str, recipe: str = "softmax") -> dict[str, str | bytes]:
    chosen = next(p for p in PROFILES if p.name == profile)
    found: dict[str, str | bytes] = {}
    for stem, shown in documents(recipe).items():
        text, pictures = write_with_pictures(shown, chosen)
        found |= {f"{stem}.{chosen.suffix}": text, **pictures}
    return found


def texts(profile: str, recipe: str = "softmax") -> dict[str, str]:
    return {n: t for n, t in files(profile, recipe).items() if isinstance(t, str) and not n.endswith("jsonl")}


def latex_problems(log: Path) -> list[str]:
    """Errors, lines that run out of the margin, missing characters and references, in the log of the last run."""
    text = log.read_text(encoding="utf-8", errors="replace")
    return re.findall(r"(?m)^(?:!|Overfull|Missing character|LaTeX Warning: (?:Reference|Label)).*", text)


# --- all of them -------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", MARKDOWN)
@pytest.mark.parametrize("recipe", BOOK)
def test_every_formula_is_in_every_profile(profile: str, recipe: str) -> None:
    shown = {f.latex for f in formulas(documents(recipe)[f"{recipe}.instructor.en"].blocks) if f.latex}
    name = f"{recipe}.instructor.en.{profile_for('md', [profile]).suffix}"  # type: ignore[union-attr]
    text = texts(profile, recipe)[name]
    assert len(shown) > 20
    assert [latex for latex in sorted(shown) if latex not in text] == []


@pytest.mark.parametrize("profile", [p.name for p in PROFILES])
def test_students_get_no_solutions_in_any_profile(profile: str) -> None:
    for name, text in texts(profile).items():
        found = re.search(r"Solution|Answer|解答|答案|printanswers|begin\{solution\}", text)
        assert bool(found) == (".instructor." in name), name


@pytest.mark.parametrize("profile", [p.name for p in PROFILES if p.pictures and not p.draws])
def test_pictures_lie_beside_the_file_that_shows_them(profile: str) -> None:
    for name, text in texts(profile, "gradients").items():
        for picture in re.findall(r"[\w.]+\.fig\d+\.(?:svg|pdf)", text):
            content = files(profile, "gradients")[picture]
            start = b"%PDF-" if picture.endswith("pdf") else b"<?xml"
            assert isinstance(content, bytes) and content.startswith(start), name
    stems = {n for n in files(profile, "gradients") if ".fig" in n}
    assert stems == {
        m for t in texts(profile, "gradients").values() for m in re.findall(r"[\w.]+\.fig\d+\.\w+", t)
    }


def test_a_profile_is_chosen_by_the_option_else_by_the_recipe() -> None:
    recipe = read_recipe(
        'name = "r"\ntitle = "T"\nprofiles = ["quarto", "exam"]\n[[sections]]\nkind = "text"\ntext = "a"\n'
    )
    assert [name for name, _ in made(recipe, Choice(["en"], ["md", "tex"]))] == ["r.en.qmd", "r.en.tex"]
    chosen = dict(made(recipe, Choice(["en"], ["md", "tex"], profiles=["portable", "article"])))
    assert list(chosen) == ["r.en.md", "r.en.tex"]
    assert "{article}" in str(chosen["r.en.tex"])


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(RecipeError, match="no profile 'githup'") as caught:
        profile_for("md", ["githup"])
    assert "did you mean github?" in str(caught.value)
    with pytest.raises(RecipeError, match="profiles is a list") as wrong:
        read_recipe('name = "r"\ntitle = "T"\nprofiles = "github"\n[[sections]]\nkind = "text"\ntext = "a"\n')
    assert wrong.value.line == 3


def test_a_block_of_ones_own_counts_in_every_profile(tmp_path: Path) -> None:
    folder = tmp_path / "document"
    folder.mkdir()
    (folder / "md.jinja").write_text("<% block display %>\nMINE << self.formula() >>\n<% endblock %>\n")
    x = Formula("x", "x", "x")
    for name in MARKDOWN:
        profile = profile_for("md", [name])
        assert profile is not None
        shown = Document((Words("T"),), (Equation((Row(x, x),)),))
        assert "MINE x = x" in write_with_pictures(shown, profile, [tmp_path])[0]


# --- GitHub --------------------------------------------------------------------------------------------


def test_github_reads_formulas_as_fences_and_code() -> None:
    """What GitHub takes for a formula is a fence, or code between dollars: nothing in it can be markup."""
    for name, text in texts("github").items():
        tokens = MarkdownIt("gfm-like", {"linkify": False, "html": True}).parse(text)
        fences = [t.content for t in tokens if t.type == "fence" and t.info == "math"]
        assert len(fences) > 10
        assert not any("```" in f or "\n\n" in f or "$" in f for f in fences), name
        lines = [t for t in tokens if t.type == "inline"]
        code = [c for t in lines for c in t.children or () if c.type == "code_inline"]
        words = "".join(c.content for t in lines for c in t.children or () if c.type == "text")
        assert len(code) > 10
        assert words.count("$") == 2 * len(code), name  # the dollars around code, and no other
        assert "\\" not in words, name


def test_github_folds_and_anchors_are_closed_and_found() -> None:
    text = texts("github")["softmax.instructor.en.md"]
    assert text.count("<details>") == text.count("</details>") == text.count("<summary>") > 3
    assert re.search(r"<summary>[^$<]+</summary>\n\n", text)  # Markdown is read again after a blank line
    assert re.search(r"(?m)^> \[!NOTE\]\n> \*\*Solution\*\*\n>\n> ", text)
    targets = re.findall(r'<a id="([\w-]+)"></a>', text)
    assert len(targets) == len(set(targets))
    assert set(re.findall(r"\]\(#([\w-]+)\)", text)) <= set(targets)


# --- MyST ----------------------------------------------------------------------------------------------


def test_sphinx_builds_the_book_without_a_warning(tmp_path: Path) -> None:
    """Labels, references, admonitions, targets, pictures: all recipes in one book, in two languages, both audiences."""
    from sphinx.application import Sphinx

    book = tmp_path / "book"
    book.mkdir()
    (book / "conf.py").write_text(
        'extensions = ["myst_parser"]\nmyst_enable_extensions = ["dollarmath", "amsmath"]\n'
    )
    names = []
    for recipe in BOOK:
        for name, content in files("myst", recipe).items():
            (book / name).write_bytes(content if isinstance(content, bytes) else content.encode())
            names += [name.removesuffix(".md")] if name.endswith(".md") else []
    (book / "index.md").write_text("# Book\n\n```{toctree}\n" + "\n".join(names) + "\n```\n")
    warnings = (tmp_path / "warnings").open("w+")
    app = Sphinx(
        book, book, tmp_path / "out", tmp_path / "trees", "html", status=None, warning=warnings, verbosity=0
    )
    app.build()
    warnings.seek(0)
    assert warnings.read() == ""
    page = (tmp_path / "out" / "softmax.en.html").read_text(encoding="utf-8")
    assert len(re.findall(r'<span class="eqno">\(\d+\)', page)) > 10
    assert 'class="admonition-the-steps-to' in page or "dropdown admonition" in page
    text = texts("myst")["softmax.en.md"]
    shown = re.findall(r"\$\$ \((eq-[\w-]+?-(\d+))\)", text)
    numbers = re.findall(r'<span class="eqno">\((\d+)\)', page)
    assert [n for _, n in shown] == numbers  # Sphinx counts as the other formats do


# --- Quarto ----------------------------------------------------------------------------------------------


def test_quarto_has_a_head_labels_and_closed_divisions() -> None:
    for name, text in texts("quarto").items():
        assert re.match(r'---\ntitle: "[^"\n]+"\nlang: (en|zh-CN)\n---\n', text), name
        labels = re.findall(r"(?m)^\$\$ \{#(eq-[\w-]+)\}$", text)
        assert len(labels) == len(set(labels)) > 10
        assert set(re.findall(r"\[-@(eq-[\w-]+)\]", text)) <= set(labels)
        anchors = set(re.findall(r"\{#(at-[\w-]+)\}", text))
        assert set(re.findall(r"\]\(#(at-[\w-]+)\)", text)) <= anchors
        depth: list[str] = []
        for fence in re.findall(r"(?m)^(:{3,})( \{.*\})?$", text):
            if fence[1]:
                assert not depth or len(fence[0]) < len(depth[-1])
                depth.append(fence[0])
            else:
                assert depth.pop() == fence[0], name
        assert not depth


def test_words_mean_nothing_to_the_reader() -> None:
    hostile = Document(
        (Words('T "q" \\'),), (Paragraph((Words("@name a^2^ x"),)), Paragraph((Words("% c"),)))
    )
    quarto, myst = profile_for("md", ["quarto"]), profile_for("md", ["myst"])
    assert quarto and myst
    text, _ = write_with_pictures(hostile, quarto)
    assert r"\@name a\^2\^ x" in text
    assert r'title: "T \"q\" \\"' in text
    targets = Document((Words("T"),), (Paragraph((Words("(eq)= x"),)), Paragraph((Words("% c"),))))
    assert "\n\\(eq)= x\n\n\\% c\n" in write_with_pictures(targets, myst)[0]


# --- the class exam ----------------------------------------------------------------------------------------


def test_a_sheet_has_points_a_table_and_room() -> None:
    student, instructor = (
        texts("exam")["softmax.en.tex"],
        texts("exam")["softmax.instructor.en.tex"],
    )
    assert re.findall(r"\\question\[(\d+)\]", student) == ["4", "3", "1", "3"]
    assert student.count(r"\begin{questions}") == student.count(r"\end{questions}") == 1
    assert r"\gradetable[h][questions]" in student and r"\fillwithlines" in student
    assert r"\printanswers" not in student
    assert r"\printanswers" in instructor and r"\fillwithlines" not in instructor
    assert instructor.count(r"\begin{solution}") == instructor.count(r"\end{solution}") > 4
    chinese = texts("exam")["softmax.zh.tex"]
    assert r"\usepackage[fontset=fandol]{ctex}" in chinese and r"\hqword{题号}" in chinese


@pytest.mark.skipif(XELATEX is None, reason="needs xelatex")
@pytest.mark.parametrize(
    ("profile", "recipe", "name"),
    [("exam", "softmax", "softmax.instructor.zh"), ("article", "gradients", "gradients.zh")],
)
def test_xelatex_sets_it_without_a_fault(profile: str, recipe: str, name: str, tmp_path: Path) -> None:
    for file, content in files(profile, recipe).items():
        if file.startswith(f"{name}."):
            (tmp_path / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    command = ["xelatex", "-no-shell-escape", "-interaction=nonstopmode", "-halt-on-error", f"{name}.tex"]
    for _ in range(3):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    assert latex_problems(tmp_path / f"{name}.log") == []
    assert (tmp_path / f"{name}.pdf").read_bytes().startswith(b"%PDF-")
