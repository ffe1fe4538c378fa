r"""Documents are scanned with exact places, and checked formula by formula."""

from __future__ import annotations

import json
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from symgrad.checking.diagnose import KINDS_OF_SLIP
from symgrad.cli import run
from symgrad.errors import ReadError
from symgrad.linting import CODES, lint, render
from symgrad.linting.findings import Reason, Report
from symgrad.linting.fixing import corrected, difference
from symgrad.linting.prose import said_by_formula, said_by_sentence
from symgrad.linting.report import readings
from symgrad.reading.document import read_document, scan

LECTURE = r"""# Least squares

Let $X \in \mathbb{R}^{n \times d}$, $w \in \mathbb{R}^d$ and $y \in \mathbb{R}^n$.

$$ r = X w - y, \qquad L = \frac{1}{n} \|r\|^2 $$

The gradient is

$$
\frac{\partial L}{\partial w} = \frac{2}{n} X r
$$

and, once more, $\nabla_w L = \frac{2}{n} X^\top r$.

$$ w \leftarrow w - \eta \nabla_w L $$
"""

NETWORK = r"""
\section{A network}
The input is $x \in \mathbb{R}^d$, with $W_1 \in \mathbb{R}^{h \times d}$, $W_2 \in \mathbb{R}^{k \times h}$. % $not$ math
The label $y \in \{0,1\}^k$ is one-hot.
\begin{align}
  z_1 &= W_1 x \label{eq:z} \\
  a_1 &= \tanh(z_1) \\
  z_2 &= W_2 a_1, \qquad \hat y = \mathrm{softmax}(z_2)
\end{align}
\[ L = -\sum_k y_k \log \hat y_k \]
\begin{align*}
  \delta_2 &:= \frac{\partial L}{\partial z_2} = \hat y - y \\
  \frac{\partial L}{\partial W_2} &= \delta_2 a_1^\top \\
  \frac{\partial L}{\partial z_1} &= W_2^\top \delta_2
\end{align*}
\begin{verbatim}
$$ \frac{\partial L}{\partial W_2} = 0 $$
\end{verbatim}
"""

CHINESE = r"""
设 $A \in \mathbb{R}^{n \times n}$ 是对称矩阵，$x \in \mathbb{R}^n$。

$$
f = x^\top A x
$$

于是
$$
\frac{\partial f}{\partial x} = 2 A x
$$
"""


LAYERS = r"""
第 $l$ 层的权重为 $W^{(l)} \in \mathbb{R}^{n_l \times n_{l-1}}$，偏置 $b^{(l)} \in \mathbb{R}^{n_l}$。
\begin{equation}
  z^{(l)} = W^{(l)} a^{(l-1)} + b^{(l)}, \quad a^{(l)} = \sigma(z^{(l)})
\end{equation}
\[ \delta^{(l)} = \frac{\partial \mathcal{L}}{\partial z^{(l)}} \]
\begin{align}
  \frac{\partial \mathcal{L}}{\partial W^{(l)}} &= \delta^{(l)} (a^{(l-1)})^\top, \\
  \frac{\partial \mathcal{L}}{\partial b^{(l)}} &= \delta^{(l)}, \\
  \delta^{(l-1)} &= (W^{(l)})^\top \delta^{(l)} \odot \sigma'(z^{(l-1)}).
\end{align}
\[ \frac{\partial \mathcal{L}}{\partial a^{(l-1)}} = W^{(l)} \delta^{(l)} \]
"""


def verdicts(text: str, name: str = "notes.md") -> list[tuple[int, str, str | None, str | None]]:
    report = lint(name, text)
    return [
        (f.line, f.role, f.verdict and f.verdict.verdict, f.verdict and f.verdict.kind)
        for f in report.findings
    ]


# --- the scanner --------------------------------------------------------------------------------------------

SCANNED: tuple[tuple[str, str, list[str]], ...] = (
    ("two in a line", "a $x$ b $y$ c", ["x", "y"]),
    ("money", "it costs $5 and $10 today", []),
    ("Chinese in dollars is no formula", "价格 $5 元，共 $10 元", []),
    ("text with a dollar", r"$\text{if $a$} = b$", [r"\text{if $a$} = b"]),
    ("brackets", r"\( a \) and \[ b \]", ["a", "b"]),
    ("dollars inside brackets", r"\( $x$ \)", ["x"]),
    ("code", "`$x$` and\n```\n$$y$$\n```\n$z$", ["z"]),
    ("escaped", r"\$5 and $x$", ["x"]),
    ("display over blank lines", "$$\na\n\nb\n$$", ["a\n\nb"]),
    ("unclosed", "a $x and\n\nb $y$", ["y"]),
    ("environment", "\\begin{align*}\na &= b\n\\end{align*}", ["a &= b"]),
    ("html comment", "<!-- $x$ --> $y$", ["y"]),
)


@pytest.mark.parametrize(("text", "found"), [s[1:] for s in SCANNED], ids=[s[0] for s in SCANNED])
def test_the_scanner_finds_what_a_reader_sees(text: str, found: list[str]) -> None:
    formulas, _ = scan(text)
    assert [f.body for f in formulas] == found
    for f in formulas:
        assert text[f.start : f.end] == f.body
        assert text.splitlines()[f.line - 1][f.column - 1 :].startswith(f.body.splitlines()[0])


def test_comments_and_verbatim_hide_formulas_in_latex() -> None:
    formulas, problems = scan(NETWORK, "tex")
    assert problems == []
    assert not any("not" in f.body for f in formulas)
    assert [f.environment for f in formulas if f.displayed] == ["align", None, "align"]


def test_an_unclosed_delimiter_is_reported_with_its_place() -> None:
    _, problems = scan("ok $x$\n\\[ a = b\n\nmore")
    assert [(p.line, p.column) for p in problems] == [(2, 1)]
    assert "SG901" in render([lint("a.md", "ok $x$\n\\[ a = b\n\nmore")])


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="$\\[](){}`%ab\n 数&^_<!->~", max_size=60))
def test_no_text_breaks_the_scanner(text: str) -> None:
    for form in ("md", "tex"):
        formulas, _ = scan(text, form)  # type: ignore[arg-type]
        assert all(text[f.start : f.end] == f.body for f in formulas)
        assert all(a.end <= b.start for a, b in pairwise(formulas))


def test_a_notebook_is_scanned_cell_by_cell() -> None:
    cells = [
        {"cell_type": "code", "source": ["x = '$a$'"]},
        {"cell_type": "markdown", "source": ["# T\n", "$$b = c$$"]},
    ]
    document = read_document("a.ipynb", json.dumps({"cells": cells}))
    assert [(c.number, [f.body for f in c.formulas]) for c in document.cells] == [(2, ["b = c"])]
    with pytest.raises(ReadError, match="no notebook"):
        read_document("a.ipynb", "[1, 2]")


# --- what the prose says --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("formula", "shapes", "assume"),
    [
        (r"W_1, V \in \mathbb{R}^{h \times d}", {"W1": ["h", "d"], "V": ["h", "d"]}, {}),
        (r"x \in \R^n", {"x": ["n"]}, {}),
        (r"y \in \{0, 1\}^K", {"y": ["K"]}, {"y": {"binary"}}),
        (r"\alpha \in (0, 1)", {"alpha": []}, {"alpha": {"in01"}}),
        (r"\lambda > 0", {}, {"lambda": {"positive"}}),
        (r"\sum_k y_k = 1", {}, {"y": {"prob"}}),
        (r"X = [x_1, x_2]", {"x1": [], "x2": []}, {}),
        (r"L = a + b", {}, {}),
    ],
)
def test_formulas_declare(formula: str, shapes: dict[str, Any], assume: dict[str, Any]) -> None:
    said = said_by_formula(formula)
    assert said.shapes == shapes
    assert said.assume == assume


@pytest.mark.parametrize(
    ("sentence", "word"),
    [
        ("Let $A$ be a symmetric matrix.", "symmetric"),
        ("设 $A$ 是对称矩阵。", "symmetric"),
        ("The matrix $A$ is not symmetric.", None),
        ("矩阵 $A$ 不对称。", None),
        ("Take any matrix $A$; much later in this long sentence, something else is symmetric.", None),
    ],
)
def test_sentences_assume(sentence: str, word: str | None) -> None:
    start = sentence.index("$")
    said = said_by_sentence(sentence, [(start, start + 3, "A")])
    assert said.assume == ({} if word is None else {"A": {word}})


# --- documents ------------------------------------------------------------------------------------------------


def test_a_lecture_is_checked_formula_by_formula() -> None:
    assert verdicts(LECTURE) == [
        (5, "definition", None, None),
        (10, "claim", "refuted", "missing transpose"),
        (13, "claim", "proved", None),
        (15, "skipped", None, None),
    ]


def test_rows_of_an_aligned_formula_have_their_own_lines() -> None:
    assert verdicts(NETWORK, "notes.tex") == [
        (6, "definition", None, None),
        (7, "definition", None, None),
        (8, "definition", None, None),
        (10, "definition", None, None),
        (12, "claim", "proved", None),
        (13, "claim", "proved", None),
        (14, "claim", "refuted", "missing activation derivative"),
    ]


def test_layers_in_general_and_a_loss_that_nobody_defines() -> None:
    assert [v[1:] for v in verdicts(LAYERS, "notes.tex")] == [
        ("definition", None, None),
        ("definition", None, None),
        ("claim", "proved", None),
        ("claim", "proved", None),
        ("claim", "proved", None),
        ("claim", "refuted", "missing transpose"),
    ]


def test_the_first_gradient_by_a_matrix_decides_the_layout() -> None:
    head = "$A \\in \\mathbb{R}^{n \\times n}$, $B \\in \\mathbb{R}^{m \\times n}$\n\n"
    trace = "$$\\frac{\\partial \\operatorname{tr}(B^\\top B)}{\\partial B} = 2 B$$\n\n"
    det = "$$\\frac{\\partial \\log \\det A}{\\partial A} = A^{-1}$$\n"
    assert [v[2] for v in verdicts(head + det)] == ["proved"]
    assert [v[2:] for v in verdicts(head + trace + det)] == [
        ("proved", None),
        ("refuted", "missing transpose"),
    ]


def test_what_goes_without_saying_is_no_mistake() -> None:
    text = (
        "$z \\in \\mathbb{R}^K$, $y \\in \\mathbb{R}^K$\n\n$$p = \\mathrm{softmax}(z)$$\n\n"
        "$$L = -y^\\top \\log p$$\n\n$$\\frac{\\partial L}{\\partial z} = p - y$$\n"
    )
    assert verdicts(text)[-1][1:3] == ("claim", "undecided")
    assert verdicts(text.replace("$y", "one-hot $y"))[-1][1:3] == ("claim", "proved")


def test_an_assumption_in_chinese_prose_is_heard() -> None:
    assert [v[2] for v in verdicts(CHINESE)] == [None, "proved"]
    assert [v[2] for v in verdicts(CHINESE.replace("对称", "一般"))] == [None, "refuted"]


def test_a_formula_for_scalars_is_called_so_where_nobody_said_what_is_a_matrix() -> None:
    text = (
        "$$Z^{(l)} = W^{(l)} X^{(l-1)}$$\n\n"
        r"$$\frac{\partial L}{\partial W^{(l)}} = \frac{\partial L}{\partial Z^{(l)}} X^{(l-1)}$$"
    )
    report = lint("a.md", text)
    verdict = report.findings[1].verdict
    assert verdict is not None and verdict.kind == "right only for scalars"
    assert "W2: q x r" in readings(report)


def test_a_claim_before_its_definition_is_checked_with_the_whole_document() -> None:
    text = "$$\\frac{\\partial f}{\\partial x} = x$$\n\nwith $x \\in \\mathbb{R}^n$\n\n$$f = x^\\top x$$\n"
    assert verdicts(text)[0][1:] == ("claim", "refuted", "wrong factor")


def test_comments_switch_checks_off() -> None:
    wrong = "$$ \\frac{\\partial L}{\\partial w} = X r $$"
    head = LECTURE.split("The gradient is", maxsplit=1)[0]
    assert len(lint("a.md", head + wrong).refuted) == 1
    assert lint("a.md", head + "<!-- symgrad: ignore -->\n" + wrong).refuted == []
    assert lint("a.md", head + "<!-- symgrad: off -->\ntext\n\n" + wrong).refuted == []
    assert len(lint("a.md", head + "<!-- symgrad: off -->a<!-- symgrad: on -->\n" + wrong).refuted) == 1


@pytest.mark.parametrize("form", ["text", "json", "github", "sarif"])
def test_findings_in_every_format(form: str) -> None:
    shown = render([lint("notes.md", LECTURE)], form)
    if form == "text":
        assert shown.startswith("notes.md:10:1: SG") and "missing transpose" in shown
        assert len(shown.splitlines()) == 1
    elif form == "github":
        assert shown.startswith("::error file=notes.md,line=10,col=1")
    elif form == "json":
        rows = [json.loads(line) for line in shown.splitlines()]
        assert [r["role"] for r in rows] == ["definition", "claim", "claim", "skipped"]
        wanted = {"file", "line", "column", "formula", "role", "verdict", "kind", "message", "suggestion"}
        assert all(wanted <= set(r) for r in rows)
        assert rows[1]["suggestion"] == "2 * X.T @ r / n"
        assert rows[3]["message"]
    else:
        results = json.loads(shown)["runs"][0]["results"]
        assert len(results) == 1 and results[0]["ruleId"] in CODES


def test_every_kind_of_slip_has_a_code() -> None:
    assert set(KINDS_OF_SLIP) <= set(CODES.values())
    assert len(set(CODES.values())) == len(CODES)


@pytest.mark.parametrize(("name", "text"), [("notes.md", LECTURE), ("notes.tex", NETWORK)])
def test_a_corrected_document_has_no_wrong_formula_and_nothing_else_changed(name: str, text: str) -> None:
    report = lint(name, text)
    fixed, count = corrected(report)
    assert count == len(report.refuted) == 1
    assert lint(name, fixed).refuted == []
    changed = [line for line in difference(name, text, fixed).splitlines() if line[:1] in "+-"]
    assert len(changed) == 4  # the two names, one line out, one line in


def test_a_notebook_is_corrected_in_place() -> None:
    cells = [{"cell_type": "markdown", "metadata": {}, "source": LECTURE.splitlines(keepends=True)}]
    book = json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    fixed, count = corrected(lint("a.ipynb", book))
    assert count == 1
    assert lint("a.ipynb", fixed).refuted == []


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "notes.md"
    path.write_text(LECTURE, encoding="utf-8")
    assert run(["lint", str(path)]) == 1
    assert "missing transpose" in capsys.readouterr().out
    assert run(["lint", "--fix", "--dry-run", str(path)]) == 1
    assert path.read_text(encoding="utf-8") == LECTURE
    assert "+\\frac{\\partial L}{\\partial w}" in capsys.readouterr().out
    assert run(["lint", "--fix", str(path)]) == 0
    assert run(["lint", str(path)]) == 0
    assert capsys.readouterr().out == ""
    assert run(["lint", "--format", "xml", str(path)]) == 2
    assert run(["lint", str(tmp_path / "none.md")]) == 2
    assert run(["lint", "--codes"]) == 0
    assert "SG901" in capsys.readouterr().out


# --- lectures with planted faults ---------------------------------------------------------------------------------

DOCUMENTS = Path(__file__).parent / "cases" / "documents"
KEY = json.loads((DOCUMENTS / "key.json").read_text(encoding="utf-8"))


@cache
def linted(name: str) -> Report:
    return lint(name, (DOCUMENTS / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", sorted(KEY))
def test_lectures_have_their_planted_faults_found_and_no_others(name: str) -> None:
    """The key has a piece of each wrong formula, and how many are right and how many are skipped."""
    report = linted(name)
    parts = [p for f in report.findings for p in f.parts]
    wrong = [p.text for p in parts if p.verdict is not None and p.verdict.verdict == "refuted"]
    assert len(wrong) == len(KEY[name]["wrong"])
    assert all(any(piece in text for text in wrong) for piece in KEY[name]["wrong"])
    assert sum(p.verdict is not None and p.verdict.is_right for p in parts) == KEY[name]["right"]
    assert sum(p.role == "skipped" for p in parts) == KEY[name]["skipped"]


def test_every_document_of_the_key_is_there() -> None:
    assert {p.name for p in DOCUMENTS.iterdir()} == {*KEY, "key.json"}


MACROS = r"""
\newcommand{\R}{\mathbb{R}} \newcommand{\pd}[2]{\frac{\partial #1}{\partial #2}} \def\be{\begin{equation}}
Let $x \in \R^n$ and $A \in \R^{m \times n}$, $b \in \R^m$.
\[ f = \|A x - b\|^2 \]
\[ \pd{f}{x} = A^\top (A x - b) \]
"""


def test_macros_of_the_document_are_written_out_and_stay_in_a_corrected_one() -> None:
    report = lint("a.tex", MACROS)
    assert report.problems == []
    assert [(f.line, f.column, f.verdict and f.verdict.kind) for f in report.findings] == [
        (4, 4, None),
        (5, 4, "wrong factor"),
    ]
    fixed, count = corrected(report)
    assert count == 1
    assert r"\pd{f}{x} = 2 A^{\top} (A x - b)" in fixed
    assert fixed.splitlines()[:3] == MACROS.splitlines()[:3]


BOLD = r"""
$\mathbf{x} \in \mathbb{R}^n$, $\mathbf{A} \in \mathbb{R}^{m \times n}$

$$ \mathbf{z} = \mathbf{A} \mathbf{x}, \quad f = \tfrac12 \|\mathbf{z}\|^2 $$

$$ \frac{\partial f}{\partial \mathbf{x}} = \boldsymbol{A} \mathbf{z} $$
"""


def test_a_correction_keeps_the_fonts() -> None:
    fixed, count = corrected(lint("a.md", BOLD))
    assert count == 1
    assert r"= \mathbf{A}^{\top} \mathbf{z}" in fixed


def test_an_equation_that_is_to_be_solved_is_no_mistake() -> None:
    text = (
        LECTURE
        + "\n$$ X^\\top X w = X^\\top y $$\n\n$$ \\|X w - y\\|^2 = w^\\top X^\\top X w - 2 y^\\top X w - y^\\top y $$\n"
    )
    normal, expanded = lint("a.md", text).findings[-2:]
    assert normal.reasons == [Reason("condition")]
    assert expanded.verdict is not None and expanded.verdict.kind == "wrong sign"


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_reasons_for_skipping_are_in_the_language_asked_for(lang: str) -> None:
    row = json.loads(render([lint("notes.md", LECTURE)], "json", lang).splitlines()[3])
    assert row["message"] == {"en": "no equation", "zh": "不是等式"}[lang]


def test_a_name_may_be_said_after_it_was_used() -> None:
    text = (
        "$$z = W x + b$$\n\nwhere $W \\in \\mathbb{R}^{m \\times n}$, $x \\in \\mathbb{R}^n$.\n\n"
        "$$L = \\|z\\|^2$$\n\n$$\\frac{\\partial L}{\\partial W} = 2 z x^\\top$$\n"
    )
    assert [v[2] for v in verdicts(text)] == [None, None, "proved"]


def test_a_formula_for_any_number_of_steps_is_not_called_proved() -> None:
    of_all = [f for f in linted("rnn.md").findings if r"\partial V" in f.formula]
    assert [f.verdict and f.verdict.verdict for f in of_all] == ["agrees"]


@pytest.mark.parametrize(
    ("sentence", "shapes", "ranks"),
    [
        ("Let $A$ be an $m \\times n$ matrix.", {"A": ["m", "n"]}, {}),
        ("The $m \\times n$ matrix $A$ maps.", {"A": ["m", "n"]}, {"A": 2}),
        ("设 $A$ 为 $m \\times n$ 矩阵，$x$ 为 $n$ 维列向量。", {"A": ["m", "n"], "x": ["n"]}, {}),
        ("Here $y$ is a vector of length $n$.", {"y": ["n"]}, {"y": 1}),
        ("with the weight matrix $W$ and the bias vector $b$", {}, {"W": 2, "b": 1}),
        ("We write $w$ for the weight matrix of the layer.", {}, {"w": 2}),
    ],
)
def test_sentences_declare(sentence: str, shapes: dict[str, Any], ranks: dict[str, int]) -> None:
    said = said_by_sentence(sentence, [(f.start, f.end, f.body) for f in scan(sentence)[0]])
    assert (said.shapes, said.ranks) == (shapes, ranks)


def test_an_adjective_belongs_to_the_noun_that_it_stands_before() -> None:
    sentence = "the weights $W$, and one-hot labels as rows of $Y$"
    said = said_by_sentence(sentence, [(f.start, f.end, f.body) for f in scan(sentence)[0]])
    assert said.assume == {"Y": {"onehot"}}


def test_a_loss_that_is_not_read_is_not_replaced_by_another() -> None:
    text = (
        "$z \\in \\mathbb{R}^n$, $W \\in \\mathbb{R}^{n \\times n}$\n\n$$J = \\Xi \\star z + \\|W\\|^2$$\n\n"
        "$$\\frac{\\partial J}{\\partial W} = \\frac{\\partial J}{\\partial z} z^\\top$$\n"
    )
    assert lint("a.md", text).refuted == []


@pytest.mark.parametrize("written", ["bom", "crlf", "no last line"])
def test_a_corrected_file_keeps_its_form(written: str, tmp_path: Path) -> None:
    text = {
        "bom": "\ufeff" + LECTURE,
        "crlf": LECTURE.replace("\n", "\r\n"),
        "no last line": LECTURE.rstrip("\n"),
    }[written]
    path = tmp_path / "a.md"
    path.write_bytes(text.encode())
    assert run(["lint", "--fix", str(path)]) == 0
    assert path.read_bytes() == text.replace(r"\frac{2}{n} X r", r"\frac{2}{n} X^{\top} r", 1).encode()


def test_how_a_document_is_read_is_shown() -> None:
    assert readings(linted("scalar_chain.md")) == "numbers, all of them"
    assert readings(linted("scalar_chain.md"), "zh") == "全部是数"
    assert "y1: m (labels that sum to one)" in readings(linted("rnn.md"))
