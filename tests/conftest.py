"""What several test files use."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from symgrad.rendering.recipe_reader import load_recipe
from symgrad.rendering.workbook import Workbook

_REFUSED = re.compile(r"\\operatorname|\\newcommand|\\def\b|\\mbox|\\phantom|\\text\{[^}]*\$")
_PUNCTUATION_MACRO = re.compile(r"\\[,;!{}|:]")


def markdown_problems(text: str) -> list[str]:
    """Where the text is not portable Markdown: formulas that one of the usual readers would not see, or misread."""
    problems: list[str] = []
    lines = text.split("\n")
    inside = False
    for i, line in enumerate(lines, 1):

        def fault(what: str, at: int = i, shown: str = line) -> None:
            problems.append(f"line {at}: {what}: {shown}")

        if line == "$$":
            beyond = lines[i - 2] if not inside else (lines[i] if i < len(lines) else "")
            if beyond:
                fault("no blank line beside a displayed formula")
            inside = not inside
        elif inside:
            if not line.strip():
                fault("a blank line in a displayed formula")
            if re.match(r"\s*([-+*#>=]|\d)", line):
                fault("a formula line that starts a list, a heading or a quotation")
            _formula(line, fault)
        else:
            _prose(line, fault)
    if inside:
        problems.append("a displayed formula does not end")
    return problems


def _formula(formula: str, fault: Callable[[str], None]) -> None:
    if "|" in formula:
        fault("a bare bar")
    if "$" in formula:
        fault("a dollar in a formula")
    if _REFUSED.search(formula):
        fault("a macro that some readers refuse")
    if re.search(r"\S[<>]|[<>]\S", formula):
        fault("no space around < or >")


def _prose(line: str, fault: Callable[[str], None]) -> None:
    if line.startswith(">") and "$" in line:
        fault("a formula in a quotation")
    parts = re.split(r"(?<!\\)\$", line)
    if len(parts) % 2 == 0:
        fault("an odd number of dollars")
        return
    if line.startswith("#") and len(parts) > 1:
        fault("a formula in a heading")
    for k in range(1, len(parts), 2):
        before, formula, after = parts[k - 1], parts[k], parts[k + 1]
        if not formula or formula != formula.strip():
            fault("an empty formula, or one with a space at its ends")
        if (before or k > 1) and not before.endswith(" "):
            fault("no space before a formula")
        if after and (after[0].isalnum() or after[0] in "_\\"):
            fault("a letter after a formula")
        if "\\\\" in formula or _PUNCTUATION_MACRO.search(formula):
            fault("a backslash before punctuation in a line")
        _formula(formula, fault)


@pytest.fixture(name="markdown_problems")
def _markdown_problems() -> Callable[[str], list[str]]:
    """The lint of portable Markdown."""
    return markdown_problems


@pytest.fixture(scope="session")
def katex() -> Callable[[str], str]:
    """KaTeX as a browser runs it, without mercy: raises for a formula that it cannot typeset."""
    import json
    from pathlib import Path

    import quickjs

    context = quickjs.Context()
    context.eval(
        (Path(__file__).parents[1] / "symgrad/rendering/assets/katex/katex.min.js").read_text(
            encoding="utf-8"
        )
    )
    # The result goes through JSON: the library cannot hand over every kind of JavaScript string.
    typeset = context.eval(
        "(function(tex){return JSON.stringify(katex.renderToString(tex,"
        "{displayMode:true,throwOnError:true,strict:function(c){return c==='unicodeTextInMathMode'?'ignore':'error'}}))})"
    )

    def render(tex: str) -> str:
        html: str = json.loads(typeset(tex))
        return html

    return render


@pytest.fixture(scope="session")
def notes() -> Workbook:
    """The notes on gradients, derived once for all tests."""
    return Workbook(load_recipe("gradients"))
