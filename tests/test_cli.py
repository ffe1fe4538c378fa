"""The command line as a user types it: answers, exit codes, messages; never a traceback, nothing half-written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from symgrad.cli import run

LEAST_SQUARES = ["derive", "norm(X @ w - y)**2 / n", "--wrt", "w", "--shapes", "X: n d, w: d, y: n"]


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run(list(arguments))
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return code, out, err


def test_the_answer_in_the_text_language(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, *LEAST_SQUARES, "--format", "expr")
    assert (code, out, err) == (0, "2 * X.T @ (X @ w - y) / n\n", "")


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize(
    ("form", "holds"),
    [
        ("text", "2 Xᵀ (X w − y) / n"),
        ("md", "$$"),
        ("tex", "\\begin{document}"),
        ("html", "<math"),
        ("json", '"steps"'),
    ],
)
def test_every_format(capsys: pytest.CaptureFixture[str], form: str, holds: str, lang: str) -> None:
    code, out, _ = call(capsys, *LEAST_SQUARES, "--format", form, "--lang", lang)
    assert code == 0
    assert holds in out
    if form == "json":
        data = json.loads(out)
        assert data["evidence"]["level"] in ("proved", "verified", "agrees")
        assert all(step["evidence"]["level"] != "none" for step in data["steps"])


def test_a_formula_may_begin_with_a_minus_sign(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--wrt", "x", "--shapes", "x: n, y: n", "--format", "expr"]
    assert call(capsys, "derive", "-y @ x", *asked)[:2] == (0, "-y\n")
    code, _, err = call(capsys, "derive", "-y @ q", "--wrt", "y", "--shapes", "y: n, x: n")
    assert code == 2
    assert "column 6: -y @ q" in err
    assert call(capsys, "derive", "--nosuch", *asked)[0] == 2


@pytest.mark.parametrize("command", ["derive", "verify", "analyse"])
def test_the_help_shows_examples_as_they_are_typed(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, command, "--help")
    assert code == 0
    assert "\\b" not in out
    assert f"\n  symgrad {command} " in out


def test_a_model_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "net.sg"
    model.write_text("W : m n\nx : n\nz = W @ x\nloss = norm(z)**2 / 2\n")
    assert (
        call(capsys, "derive", str(model), "--of", "loss", "--wrt", "W", "--format", "expr")[1]
        == "outer(z, x)\n"
    )
    code, _, err = call(capsys, "derive", str(model), "--wrt", "W")
    assert code == 2
    assert "the model defines z, loss" in err


def test_standard_input() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "symgrad",
            "derive",
            "-",
            "--wrt",
            "x",
            "--shapes",
            "x: n",
            "--format",
            "expr",
        ],
        input="x @ x",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "2 * x\n")


def test_an_answer_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "answer.md"
    assert call(capsys, *LEAST_SQUARES, "--format", "md", "-o", str(target)) == (0, "", "")
    assert target.read_text().startswith("# ")
    assert list(tmp_path.iterdir()) == [target]


def test_given_definitions_and_assumptions(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["derive", "x @ S @ x + s", "--wrt", "x", "--given", "s = norm(x)**2"]
    options = ["--shapes", "x: n, S: n n", "--assume", "S: symmetric", "--format", "expr"]
    code, out, _ = call(capsys, *arguments, *options)
    assert code == 0
    assert out in ("2 * (S @ x + x)\n", "2 * (S + eye(n)) @ x\n")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["derive", "nrom(x)", "--wrt", "x", "--shapes", "x: n"], 2, "did you mean norm"),
        (["derive", "norm(x) + q", "--wrt", "x", "--shapes", "x: n"], 2, "q"),
        (
            ["derive", "A @ x", "--wrt", "x", "--shapes", "A: m n, x: m"],
            2,
            "the left side transposed is n x m and would fit",
        ),
        (["derive", "tr(s)", "--wrt", "s", "--shapes", "s:"], 2, "matrix is needed, not a scalar"),
        (["derive", "tr(A", "--wrt", "A", "--shapes", "A: n n"], 2, "is never closed"),
        (["derive", "", "--wrt", "x"], 2, "empty"),
        (["derive", "__import__('os')", "--wrt", "x"], 2, "unexpected character"),
        (
            ["derive", "x ** 10 ** 10", "--wrt", "x", "--shapes", "x:"],
            2,
            "very long number|exponent is beyond",
        ),
        (["derive", "x @ x", "--wrt", "x", "--shapes", "x"], 2, "cannot be read"),
        (
            ["derive", "x @ x", "--wrt", "x", "--shapes", "x: n", "--assume", "x: symetric"],
            2,
            "did you mean: symmetric",
        ),
        (["derive", "A @ x", "--wrt", "x", "--shapes", "A: m n, x: n"], 2, "gradient is taken of a scalar"),
        (["derive", "x @ x", "--shapes", "x: n"], 2, "--wrt"),
        (["derive"], 2, "a question is missing"),
        (["derive", "x @ x", "--wrt", "x", "--shapes", "x: n", "--kind", "laplacian"], 2, "one of"),
        (["derive", "x @ x", "--wrt", "x", "--shapes", "x: n", "--format", "pdf"], 3, "not available"),
        (["derive", "x @ x", "--wrt", "x", "--shapes", "x: n", "--format", "docx"], 2, "no format"),
        (["derive", "x @ x", "--wrt", "x", "--shapes", "x: n", "--lang", "fr"], 2, "fr"),
        (["derive", "missing.sg", "--of", "f", "--wrt", "x"], 2, "missing.sg"),
        (
            ["derive", "sum(kron(A, X) * B)", "--wrt", "X", "--shapes", "A: m n, X: p q, B: m*p n*q"],
            3,
            "no matrix form",
        ),
        (["frobnicate"], 2, "No such command"),
        (["rules", "produkt"], 2, "did you mean: product"),
        (["handout", "no_such_recipe"], 2, "no_such_recipe"),
    ],
)
def test_bad_input_gets_one_clear_message(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, says: str
) -> None:
    import re

    found, out, err = call(capsys, *arguments)
    assert found == code, err
    assert out == ""
    assert re.search(says, err), err


def test_a_position_has_a_caret(capsys: pytest.CaptureFixture[str]) -> None:
    _, _, err = call(capsys, "derive", "norm(x) + sum(A @ x)", "--wrt", "x", "--shapes", "A: m n, x: m")
    line, caret = err.splitlines()[3:5]
    assert line.index("x)", line.index("A @")) == caret.index("^") or caret.strip() == "^"


def test_empty_and_binary_files_and_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.sg").write_text("")
    (tmp_path / "binary.sg").write_bytes(bytes(range(256)) * 20)
    (tmp_path / "nul.sg").write_bytes(b"f = x\x00\n")
    (tmp_path / "folder.sg").mkdir()
    for name in ("empty", "binary", "nul", "folder"):
        code, out, err = call(capsys, "derive", str(tmp_path / f"{name}.sg"), "--of", "f", "--wrt", "x")
        assert (code, out) == (2, ""), name
        assert err.startswith("error: "), name


def test_ten_megabytes_of_brackets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deep = tmp_path / "deep.sg"
    deep.write_text("f = " + "(" * 10_000_000)
    code, _, err = call(capsys, "derive", str(deep), "--of", "f", "--wrt", "x")
    assert code == 2
    assert "characters" in err


def test_an_output_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("mine")
    code, _, err = call(capsys, *LEAST_SQUARES, "-o", str(blocked / "answer.txt"))
    assert code == 2
    assert "a file is in the way" in err
    assert blocked.read_text() == "mine"
    code, _, err = call(capsys, "handout", "gradients", "-o", str(blocked))
    assert code == 2
    assert "is a file, not a folder" in err
    assert blocked.read_text() == "mine"
    if Path("/proc").is_dir():
        code, _, err = call(capsys, *LEAST_SQUARES, "-o", "/proc/symgrad.txt")
        assert code == 2
        assert "cannot be written" in err


def test_a_closed_pipe_is_no_error() -> None:
    command = f'"{sys.executable}" -m symgrad rules --format md | head -1'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stdout == "# The rules\n"
    assert "Traceback" not in done.stderr


def test_colour_follows_no_color() -> None:
    for environment in ({**os.environ, "NO_COLOR": "1"}, dict(os.environ)):
        done = subprocess.run(
            [sys.executable, "-m", "symgrad", "derive", "x @", "--wrt", "x"],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
        assert done.returncode == 2
        assert "\x1b" not in done.stderr  # not a terminal


def test_rules_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = call(capsys, "rules", "product")
    assert "B receives Aᵀ G" in out
    assert "Giles" in out
    code, listed, _ = call(capsys, "rules")
    assert code == 0
    assert len(listed.splitlines()) >= 25


TOKENS = [
    "x",
    "A",
    "W",
    "(",
    ")",
    "[",
    "]",
    "@",
    "*",
    "**",
    "+",
    "-",
    "/",
    ".T",
    ",",
    "=",
    "1",
    "2.5",
    "sum",
    "tr",
    "inv",
    ">",
]


@settings(max_examples=80, deadline=None)
@given(st.one_of(st.text(max_size=40), st.lists(st.sampled_from(TOKENS), max_size=14).map(" ".join)))
def test_random_text_never_crashes(text: str) -> None:
    arguments = ["derive", "--wrt", "x", "--shapes", "x: n, A: n n, W: m n", "--format", "expr", "--", text]
    assert run(arguments) in (0, 2, 3)


# --- batch ------------------------------------------------------------------------------------------------


def batch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lines: list[str], *options: str
) -> list[dict[str, object]]:
    questions = tmp_path / "questions.jsonl"
    questions.write_text("\n".join(lines) + "\n")
    code, out, _ = call(capsys, "derive", "--batch", str(questions), *options)
    assert code == 0
    return [json.loads(line) for line in out.splitlines()]


GOOD = {
    "id": "ls",
    "f": "norm(X @ w - y)**2 / n",
    "shapes": {"X": ["n", "d"], "w": ["d"], "y": ["n"]},
    "wrt": "w",
}


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_batch_answers_every_line_in_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], jobs: str
) -> None:
    lines = [
        json.dumps(GOOD),
        "not json",
        "[1, 2]",
        json.dumps({"id": 7}),
        json.dumps({**GOOD, "id": "shape", "shapes": {"X": ["n", "d"], "w": ["n"], "y": ["n"]}}),
        json.dumps({**GOOD, "id": "kind", "kind": "laplacian"}),
        json.dumps(
            {
                **GOOD,
                "id": "unsupported",
                "f": "sum(kron(X, X) * Z)",
                "wrt": "X",
                "shapes": {"X": ["n", "d"], "Z": ["n*n", "d*d"]},
            }
        ),
        json.dumps({**GOOD, "id": "types", "shapes": {"X": [["n"]], "w": 3}}),
        json.dumps({**GOOD, "id": "last", "definitions": ["r = X @ w - y"], "f": "norm(r)**2"}),
    ]
    answers = batch(tmp_path, capsys, lines, "--jobs", jobs)
    assert [a["id"] for a in answers] == [
        "ls",
        None,
        None,
        7,
        "shape",
        "kind",
        "unsupported",
        "types",
        "last",
    ]
    assert [a["status"] for a in answers] == [
        *(
            "ok",
            "unreadable",
            "unreadable",
            "unreadable",
            "unreadable",
            "unreadable",
            "unsupported",
            "unreadable",
            "ok",
        )
    ]
    assert answers[0]["answer"] == "2 * X.T @ (X @ w - y) / n"
    assert answers[0]["evidence"] in ("proved", "verified", "agrees")
    assert answers[-1]["answer"] == "2 * X.T @ r"
    assert all(a["message"] for a in answers if a["status"] != "ok")
    wanted = {
        "id",
        "status",
        "answer",
        "answer_latex",
        "evidence",
        "steps",
        "operations",
        "seconds",
        "message",
    }
    assert all(wanted <= set(a) for a in answers)


def test_a_question_that_takes_too_long_is_given_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = json.dumps({**GOOD, "f": " + ".join([f"norm(X @ w - {k} * y)**2 / n" for k in range(60)])})
    answers = batch(tmp_path, capsys, [slow, json.dumps(GOOD)], "--time-limit", "0.1")
    assert [a["status"] for a in answers] in (["unsupported", "ok"], ["unsupported", "unsupported"])
    assert "time limit" in str(answers[0]["message"])
