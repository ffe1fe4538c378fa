"""Notes in Markdown with directives, and LaTeX in prose."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from symgrad.cli import run
from symgrad.errors import RecipeError
from symgrad.rendering.document import Document, Equation, Paragraph, Row, plain
from symgrad.rendering.formats import write_document
from symgrad.rendering.handout import Choice, load_recipe, made
from symgrad.rendering.html import typeset
from symgrad.rendering.latex_prose import _SIGNS, _STYLES, _WORDS, latex_formula
from symgrad.rendering.markdown_source import read_markdown
from symgrad.rendering.pdf import compile_typst
from symgrad.rendering.templates import template_folder

NOTES = r"""+++
course = "ML 101"
date = 2026-11-24
+++
# Least squares

The gradient is $\frac{\partial L}{\partial w}$, a vector in $\mathbb{R}^{d}$, for $r = X @ w - y$; it costs \$5.

$$
\hat{y} = \begin{bmatrix} a & b \\ c & d \end{bmatrix} x_{1}^{\top}
$$

```symgrad model fit of L
X : n d
w : d
y : n
r = X @ w - y
L = norm(r)**2 / n
```

## The derivation

```symgrad derive L wrt w, r
```

```symgrad claim
dL/dr = 2 * r / n
```

```symgrad claim refuted
dL/dr = r / n
```

```symgrad exercise derive L wrt w points 3 space 4
hint = "Start at $r$."
```

```python
print("hello")
```
"""


def text(notes: str = NOTES, form: str = "md") -> str:
    return str(dict(made(read_markdown(notes, "notes"), Choice(["en"], [form])))[f"notes.en.{form}"])


def test_directives_are_filled_in_and_the_rest_stays(markdown_problems: Callable[[str], list[str]]) -> None:
    made_ = text()
    assert markdown_problems(made_) == []
    assert made_.startswith("# Least squares\n\nML 101\n\nNovember 24, 2026\n")
    for part in (
        r"a vector in $\mathbb{R}^{d}$, for $r = X w - y$; it costs \$5.",
        "\n\\hat{y} = \\begin{bmatrix}",
        "## The derivation",
        r"\frac{\partial L}{\partial w} = \frac{2}{n} X^{\top} r",
        r"The formula $\frac{\partial L}{\partial r} = \frac{2}{n} r$ holds",
        "does not hold",
        "### Exercise 1 (3 points)",
        'print("hello")',
    ):
        assert part in made_, part
    assert "```symgrad" not in made_


def test_notes_become_every_format(tmp_path: Path) -> None:
    path = tmp_path / "fit.md"
    path.write_text(NOTES, encoding="utf-8")
    assert run(["handout", str(path), "-o", str(tmp_path / "out"), "--to", "md,tex,html,pdf,ipynb"]) == 0
    made_ = [p for p in (tmp_path / "out").iterdir() if not p.name.startswith(".")]
    assert {p.suffix for p in made_} == {".md", ".tex", ".html", ".pdf", ".ipynb"}


@pytest.mark.parametrize(
    ("change", "message", "line"),
    [
        (("symgrad derive L wrt w, r", "symgrad dervie L wrt w"), "no directive 'dervie'", 23),
        (("symgrad derive L wrt w, r", "symgrad derive L by w"), "what is derived by what", 23),
        (("symgrad derive L wrt w, r", "symgrad derive J wrt w"), "no model above has the function J", 23),
        (("symgrad derive L wrt w, r", "symgrad derive L wrt q"), "q", 23),
        (("dL/dr = 2 * r / n", "dL/dr = 3 * r / n"), "is refuted", 26),
        (("exercise derive", "exercise divine"), "no kind of exercise 'divine'", 34),
        (('hint = "', "hint = "), "not TOML", 34),
        (("w : d", "w : e"), "", 17),
        (("course", "curse"), "unknown key 'curse'", 2),
        (("# Least squares\n", "\n"), "no title", 1),
        ((r"\hat{y}", r"\input{y}"), r"\input is not known here", None),
    ],
)
def test_what_cannot_be_used_is_named_with_its_line(
    change: tuple[str, str], message: str, line: int | None
) -> None:
    assert change[0] in NOTES
    with pytest.raises(RecipeError) as caught:
        text(NOTES.replace(*change, 1))
    assert message in caught.value.message
    if line is not None and message:
        assert caught.value.line == line


def test_every_sign_of_the_list_is_set_by_typst_and_katex() -> None:
    styles = [f"{s}{{x}}" for s in _STYLES]
    listed = [s for s in _SIGNS if s not in (r"\left", r"\right", r"\limits", r"\omicron")]
    formulas = [latex_formula(f"a {s} b") for s in listed] + [latex_formula(s) for s in styles]
    formulas += [latex_formula(rf"\{w} x") for w in _WORDS]
    formulas += [
        latex_formula(f)
        for f in (
            r"\left( \frac{a}{b} \right)^{2}", r"W^{(l)\top} x_{ij}", r"\sum_{k=1}^{n} a_k", r"f'(x) / 2",
            r"\mathrm{diag}(x)", r"\text{if } x > 0", r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", r"a, b; c",
        )
    ]  # fmt: skip
    rows = tuple(Equation((Row(None, f, latex_formula("=")),)) for f in formulas)
    compile_typst(write_document(Document(plain("T"), (Paragraph(plain("x")), *rows)), "typ"))
    for f in formulas:
        if not any(s in f.latex for s in (r"\bm",)):
            typeset(f.latex, True)


@pytest.mark.parametrize(
    "latex",
    [r"\input{/etc/passwd}", r"\def\x{1}", r"\write18{ls}", r"\frac{a}", r"{a", r"a & b", r"\begin{align} a"],
)
def test_other_latex_is_refused(latex: str) -> None:
    with pytest.raises(RecipeError):
        latex_formula(latex)


def test_the_starter_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "mine.toml"
    assert run(["handout", "--new", str(target)]) == 0
    assert run(["handout", "--new", str(target)]) == 2
    assert "is there already" in capsys.readouterr().err
    both = ["--audience", "student,instructor"]
    assert run(["handout", str(target), "-o", str(tmp_path / "out"), "--to", "md,ipynb", *both]) == 0
    assert len([p for p in (tmp_path / "out").iterdir() if not p.name.startswith(".")]) == 9


def test_the_ready_recipes_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["handout", "--list"]) == 0
    shown = capsys.readouterr().out
    for path in (template_folder() / "recipes").glob("*.toml"):
        assert f"{path.stem} " in shown
        assert load_recipe(path.stem).title.keys() == {"en", "zh", "de"}


def test_pdf_without_typst_leaves_the_other_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("symgrad.rendering.pdf.has_typst", lambda: False)
    path = tmp_path / "fit.md"
    path.write_text(NOTES, encoding="utf-8")
    assert run(["handout", str(path), "-o", str(tmp_path / "out"), "--to", "md,tex,pdf"]) == 3
    made_ = [p for p in (tmp_path / "out").iterdir() if not p.name.startswith(".")]
    assert {p.suffix for p in made_} == {".md", ".tex"}
    assert capsys.readouterr().err.count('pip install "symgrad[pdf]"') == 1
