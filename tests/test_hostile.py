"""Formulas of strangers through every door: no crash, no hang beyond the budget, nothing wrong called right."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from symgrad.batch import answer_line
from symgrad.errors import SymgradError
from symgrad.grading import grade
from symgrad.linting import lint
from symgrad.rendering.markdown_source import read_markdown
from symgrad.verify_batch import verdict_line

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
import oracle

_DEEP = 400

HOSTILE: dict[str, str] = {
    # deep and long
    "brackets": "(" * _DEEP + "x" + ")" * _DEEP,
    "brackets that never close": "(" * 5000 + "x",
    "minus signs": "-" * 3000 + "x @ x",
    "functions": "exp(" * _DEEP + "x @ x" + ")" * _DEEP,
    "a chain of exponentials": "exp(" * 12 + "x @ x" + ")" * 12,
    "transposes": "A" + ".T" * 5000,
    "a long sum": " + ".join(["x @ A @ x"] * 3000),
    "a long product": " @ ".join(["A"] * 3000),
    "a long name": "x" * 50_000,
    "a long number": "9" * 20_000 + " * x @ x",
    "fractions": "\\frac{" * 500 + "x" + "}{2}" * 500,
    "fractions that never close": "\\frac{" * 5000,
    "roots": "\\sqrt{" * 500 + "x" + "}" * 500,
    "left and right": "\\left(" * 500 + "x" + "\\right)" * 500,
    "exponents": "x" + "^{x" * 500 + "}" * 500,
    "primes": "x" + "'" * 5000,
    "accents": "\\hat{" * 500 + "x" + "}" * 500,
    "comparisons": " = ".join(["x"] * 2000),
    "slashes": "x" + "/2" * 5000,
    "names without a shape": "-dx - dx - -kk - -kkkkkk",
    # numbers
    "a tower": "x @ x * 9**9**9**9**9",
    "a tower in LaTeX": "x^{10^{10}}",
    "a higher tower": "2^{2^{2^{2^{2^{2^{2}}}}}} x",
    "a huge exponent": "(x @ x)**1000000000",
    "a huge power of a matrix": "tr(matrix_power(A, 10**9))",
    "a huge power of a product": "(x @ x + 1)**100000 * (x @ x - 1)**100000",
    "powers of powers": "(((x @ x + s)**50)**50)**50",
    "a huge identity": "tr(eye(1000000000))",
    "ones of a huge size": "sum(ones(10**9, 10**9))",
    "a huge float": "1e999999999 * x",
    "a tiny float": "1e-999999999 * x",
    "infinity": "inf * x",
    "not a number": "nan * x",
    "infinity in LaTeX": "\\infty x",
    "a division by zero": "x / 0",
    "zero to the minus one": "0**-1 * x",
    "a hidden zero": "x / (s - s)",
    "a factorial": "\\prod_{k=1}^{1000000000} k x",
    "a gigantic sum": "\\sum_{k=1}^{1000000000000} x_k",
    "sums in sums": "\\sum_{a=1}^{99}" * 40 + " x_a",
    "free indices": "A_{abcdefghijklmnopqrstuvw} B_{abcdefghijklmnopqrstuvw}",
    "a sum over everything": "sum(" + ", ".join("ijklmnopqrst") + ", A[i,j] * A[k,l] * A[m,n] * A[o,p] * A[q,r] * A[s,t])",
    # what makes a normal form explode
    "a product of sums": "(A + A.T + 2 * A)" + " @ (A + A.T - 3 * A)" * 30 + " @ x",
    "a power of a sum": "(x @ x + s + s**2 + 1)**60",
    "a product of scalars": " * ".join(f"(x @ x + {k} * s)" for k in range(40)),
    "a determinant of a power": "logdet(matrix_power(A + A.T, 60))",
    "an inverse of inverses": "inv(" * 40 + "A" + ")" * 40,
    "Kronecker products": "tr(kron(" * 12 + "A" + ", A))" * 12,
    "softmax of softmax": "sum(" + "softmax(" * 30 + "x" + ")" * 31,
    # TeX that is a program
    "input": "\\input{/etc/passwd}",
    "include": "\\include{/etc/passwd} = x",
    "write18": "\\immediate\\write18{touch owned}",
    "openout": "\\newwrite\\f\\openout\\f=x.tex",
    "a macro that calls itself": "\\def\\x{\\x\\x}\\x",
    "a macro that grows": "".join(
        f"\\newcommand{{\\{b}}}{{\\{a}\\{a}}}" for a, b in zip("abcdefghijklmnopqrs", "bcdefghijklmnopqrst", strict=True)
    )
    + "\\t",
    "csname": "\\csname input\\endcsname{/etc/passwd}",
    "catcode": "\\catcode`\\@=13 x",
    "a loop": "\\loop x \\iftrue \\repeat",
    "directlua": "\\directlua{os.execute('id')}",
    "an environment that never ends": "\\begin{cases} x",
    "environments in environments": "\\begin{pmatrix}" * 200 + "x" + "\\end{pmatrix}" * 200,
    "cells": "\\begin{pmatrix}" + " & ".join(["x"] * 5000) + "\\end{pmatrix}",
    # Python that is a program
    "import": "__import__('os').system('id')",
    "attributes": "x.__class__.__mro__",
    "a lambda": "(lambda: x)()",
    "a comprehension": "[x for x in x]",
    "a format": "{0.__class__}",
    "a walrus": "(x := 1)",
    # characters
    "a Cyrillic letter": "2 * \u0445",
    "a Greek letter that looks Latin": "\u0391 @ x",
    "right to left": "x\u202e@ A\u202c",
    "an isolate": "\u2066x\u2069 @ x",
    "zero width": "x\u200b @ x\u200d",
    "a byte order mark": "\ufeffx",
    "a soft hyphen": "x\u00ad + x",
    "combining marks": "x" + "\u0301" * 500,
    "full width": "\uff58 \uff20 \uff58",
    "mathematical letters": "\U0001d431 @ \U0001d431",
    "other digits": "\u0662 * x",
    "superscripts": "x\u00b2\u00b3",
    "a null": "\x00x",
    "controls": "x\x1b[31m\x07\x08",
    "half of a pair": "x\ud800",
    "line ends": "x\u2028= x\u0085",
    "tabs and returns": "x\r\n\t\x0b\x0c= x",
    "an emoji": "\U0001f600 = x",
    # nonsense
    "signs": "= = =",
    "nothing": "",
    "blanks": " " * 10_000,
    "a percent": "% x",
    "dollars": "$$" * 100,
    "backslashes": "\\" * 5001,
    "ampersands": "&" * 2000,
    "differentials": "d" * 1000 + "/dx = 1",
    "underscores": "x" + "_" * 2000,
    "carets": "x" + "^" * 2000,
    "pipes": "|" * 1001,
    "quotes": "\"'`" * 300,
    "derivatives of derivatives": "\\frac{\\partial}{\\partial x}" * 200 + "x",
    "braces": "{" * 2000 + "}" * 2000,
}  # fmt: skip

SHAPES = {"x": ["n"], "A": ["n", "n"], "s": []}
KEY = {"kind": "derive", "model": "x : n\nA : n n\nL = x @ A @ x\n", "of": "L", "wrt": "x", "points": 2}
SECONDS = 0.5
SURE = ("proved", "verified", "agrees", "right", "ok")


def derived(text: str) -> str:
    return told(answer_line(json.dumps({"f": text, "shapes": SHAPES, "wrt": "x"}), SECONDS))


def derived_from_a_definition(text: str) -> str:
    given = [f"z = {text}", "L = norm(z)**2"]
    return told(
        answer_line(json.dumps({"f": "L", "definitions": given, "shapes": SHAPES, "wrt": "x"}), SECONDS)
    )


def verified(text: str) -> str:
    return told(
        verdict_line(json.dumps({"claim": text, "f": "x @ A @ x", "shapes": SHAPES, "wrt": "x"}), SECONDS)
    )


def verified_in_latex(text: str) -> str:
    question = {"claim": "\\nabla_x L = " + text, "definitions_latex": ["L = x^\\top A x"], "shapes": SHAPES}
    return told(verdict_line(json.dumps(question), SECONDS))


def verified_from_a_definition(text: str) -> str:
    question = {"claim": "\\nabla_x L = x", "definitions_latex": ["L = " + text], "shapes": SHAPES}
    return told(verdict_line(json.dumps(question), SECONDS))


def linted(text: str) -> str:
    source = "Let $x \\in \\mathbb{R}^n$.\n\n$$L = x^\\top x$$\n\n"
    return judged("n.md", source + f"$$\\frac{{\\partial L}}{{\\partial x}} = {text}$$\n\n${text}$\n")


def linted_in_latex(text: str) -> str:
    source = "\\documentclass{article}\n\\begin{document}\n\\[L = x^\\top x\\]\n"
    return judged("n.tex", source + f"\\[\\nabla_x L = {text}\\]\n{text}\n\\end{{document}}\n")


def judged(name: str, source: str) -> str:
    found = lint(name, source, seconds=SECONDS).findings
    return next((f.verdict.verdict for f in found if f.verdict is not None), "")


def graded(text: str) -> str:
    return str(grade({"answer": text}, KEY, seconds=SECONDS)["verdict"])


def handed_out(text: str) -> str:
    source = f"# T\n\n```symgrad model m of L\nx : n\nA : n n\nL = {text}\n```\n\nThe $x$ is ${text}$ here.\n"
    try:
        read_markdown(source, "n.md")
    except SymgradError as refused:
        return type(refused).__name__
    return "read"


def told(line: str) -> str:
    """The word of an answer; a fault of ours is none of them."""
    record = json.loads(line)
    assert "fault of symgrad" not in (record["message"] or ""), record
    return str(record.get("verdict") or record.get("status"))


DOORS: list[Callable[[str], str]] = [
    derived,
    derived_from_a_definition,
    verified,
    verified_in_latex,
    verified_from_a_definition,
    linted,
    linted_in_latex,
    graded,
    handed_out,
]
RIGHT = {("comparisons", verified), ("line ends", verified), ("tabs and returns", verified)}  # x = x
DERIVABLE = (derived, derived_from_a_definition)  # a gradient of something odd is a gradient


# An alarm may ring inside a callback of the garbage collector, where Python can only report it; it rings again.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_hostile_formulas_end_in_time_and_are_never_called_right(door: Callable[[str], str]) -> None:
    for name, text in HOSTILE.items():
        start = time.monotonic()
        word = door(text)
        assert time.monotonic() - start < 30, name
        assert word not in SURE or (name, door) in RIGHT or door in DERIVABLE, (name, word)


# --- random formulas against numbers ---------------------------------------------------------------------


def grammar(
    scalars: st.SearchStrategy[str], vectors: st.SearchStrategy[str], matrices: st.SearchStrategy[str]
) -> Any:
    """One more level of the text language: scalars, vectors and matrices of the ones before."""
    s, v, m = scalars, vectors, matrices

    def form(pattern: str, *parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.tuples(*parts).map(lambda p: pattern.format(*p))

    return (
        st.one_of(
            s,
            form("({} @ {})", v, v),
            form("tr({})", m),
            form("norm({})**2", v),
            form("sum({})", v),
            form("logsumexp({})", v),
            form("({} + {})", s, s),
            form("({} - {})", s, s),
            form("{} * {}", s, s),
            form("sin({})", s),
            form("{} / (1 + {}**2)", s, s),
        ),
        st.one_of(
            v,
            form("({} @ {})", m, v),
            form("({} * {})", v, v),
            form("({} - {})", v, v),
            form("tanh({})", v),
            form("softmax({})", v),
            form("relu({})", v),
            form("(W.T @ sigmoid(W @ {}))", v),
            form("({}) * {}", s, v),
        ),
        st.one_of(
            m,
            form("{}.T", m),
            form("({} @ {})", m, m),
            form("({} + {})", m, m),
            form("outer({}, {})", v, v),
            form("diag({})", v),
        ),
    )


ONE = grammar(st.sampled_from(["s", "2", "x @ y"]), st.sampled_from(["x", "y"]), st.sampled_from(["A", "B"]))
TWO = grammar(*ONE)
FUNCTIONS, VECTORS, _ = grammar(*TWO)
RANDOM = {"x": ["n"], "y": ["n"], "A": ["n", "n"], "B": ["n", "n"], "W": ["m", "n"], "s": []}
SLIPS = [
    ("A.T", "A"), ("A", "A.T"), ("B", "A"), ("W.T", "W"), ("x", "y"), ("y", "x"), ("2", "1"), ("2", "3"), ("+", "-"),
    ("-", "+"), ("sin", "cos"), ("cos", "sin"), ("tanh", "sigmoid"), (" @ ", " * "), (" * ", " @ "), ("sum", "norm"),
]  # fmt: skip


def is_true(f: str, claim: str) -> bool | None:
    """Whether a claimed gradient by x is right, in numbers alone; None where they do not tell."""
    question = {"id": 0, "f": f, "shapes": RANDOM, "wrt": "x"}
    gaps = []
    for sizes, seed in (({"n": 3, "m": 7}, 0), ({"n": 7, "m": 4}, 1), ({"n": 4, "m": 3}, 2)):
        at = oracle.point(question, sizes, np.random.default_rng(seed))
        with np.errstate(all="ignore"):
            try:
                value = np.asarray(oracle.evaluate(claim, at), float)
            except (ValueError, TypeError, IndexError, KeyError, np.linalg.LinAlgError, SyntaxError):
                return False
            expected = np.asarray(oracle.differences(question, at), float)
        if value.shape != expected.shape and value.size != 1:
            return False
        scale = max(float(np.abs(expected).max()), float(np.abs(value).max()))
        if not np.isfinite(scale):
            return None
        gaps.append(float(np.abs(value - expected).max()) / max(scale, 1e-3))
    if max(gaps) < 1e-5:
        return True
    return False if max(gaps) > 1e-2 else None


def verdict_on_random(f: str, claim: str) -> str:
    return told(verdict_line(json.dumps({"f": f, "claim": claim, "shapes": RANDOM, "wrt": "x"}), 5.0))


FUZZ = settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@FUZZ
@given(FUNCTIONS, st.data())
def test_what_is_called_right_is_right(f: str, data: st.DataObject) -> None:
    """A derived gradient, and one slip in it, against differences of the function."""
    assume("x" in re.findall(r"\w+", f) and len(f) < 200)
    record = json.loads(answer_line(json.dumps({"f": f, "shapes": RANDOM, "wrt": "x"}), 5.0))
    assert "fault" not in (record["message"] or ""), record
    assume(record["status"] == "ok" and len(record["answer"]) < 300)
    right = record["answer"]
    assert is_true(f, right) is not False, right
    assert verdict_on_random(f, right) != "refuted", right
    old, new = data.draw(st.sampled_from(SLIPS))
    places = [m.start() for m in re.finditer(re.escape(old), right)]
    assume(places)
    at = data.draw(st.sampled_from(places))
    claim = right[:at] + new + right[at + len(old) :]
    truth, word = is_true(f, claim), verdict_on_random(f, claim)
    assert word not in SURE or truth is not False, (f, claim)
    assert word != "refuted" or truth is not True, (f, claim)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@FUZZ
@given(FUNCTIONS, VECTORS)
def test_what_is_guessed_is_not_called_right(f: str, claim: str) -> None:
    assume("x" in re.findall(r"\w+", f) and len(f) + len(claim) < 300)
    word = verdict_on_random(f, claim)
    assert word not in SURE or is_true(f, claim) is not False, (f, claim)
    assert word != "refuted" or is_true(f, claim) is not True, (f, claim)


PIECES = (
    *"xyAWLsijnd0123+-=()[]{}^_'|&,.*/<> ",
    *("\\frac", "\\partial", "\\nabla", "\\top", "\\sum", "\\mathbf", "\\left(", "\\right)", "\\odot", "\\cdot"),
    *("\\begin{cases}", "\\end{cases}", "\\\\", "\\text{if }", "\\sigma", "\\delta", "\\hat", "\\mathbb{1}", "\\|", "^{-1}"),
    *("^\\top", "_{ij}", "\\frac{\\partial L}{\\partial x}", "(A + A^\\top) x", "\\prod_{k=1}^n", "\\infty", "\\{"),
)  # fmt: skip


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@settings(FUZZ, max_examples=150)
@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_no_pieces_of_latex_break_the_reader(text: str) -> None:
    for claim in (text, "\\nabla_x L = " + text):
        question = {
            "claim": claim,
            "definitions_latex": ["L = x^\\top A x"],
            "shapes": {"x": ["n"], "A": ["n", "n"]},
        }
        told(verdict_line(json.dumps(question), 1.0))
