"""The text language as a tree: bounds first, then the grammar, then messages that say what would fit.

Nothing is evaluated. The trees are lark's, with line and column; `elaborate` gives them a meaning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from symgrad.errors import ReadError, SymgradError, TooLargeError
from symgrad.nets.short import ShortForms, has_short_forms
from symgrad.reading.spellings import instead_of

__all__ = [
    "LIMITS",
    "Header",
    "Limits",
    "Statement",
    "definitions_and_question",
    "parse_expression",
    "statements",
]


@dataclass(frozen=True)
class Limits:
    """Bounds on what is read; every one of them is far beyond a formula that a person writes."""

    characters: int = 400_000
    expression: int = 20_000
    depth: int = 60
    digits: int = 40
    exponent: int = 1_000
    factors: int = 400


LIMITS = Limits()

_OPEN, _CLOSE = {"(": ")", "[": "]"}, {")": "(", "]": "["}
_NAMES_OF_TOKENS = {
    "NAME": "a name",
    "PRIMED": "a function",
    "NUMBER": "a number",
    "LPAR": "'('",
    "RPAR": "')'",
    "LSQB": "'['",
    "RSQB": "']'",
    "EQUAL": "'='",
    "COMMA": "','",
    "COLON": "':'",
    "PLUS": "an operator",
    "MINUS": "an operator",
    "STAR": "an operator",
    "SLASH": "an operator",
    "AT": "an operator",
    "POWER": "an operator",
    "COMPARE": "an operator",
    "__ANON_0": "'..'",
    "__ANON_1": "'.T'",
}

_DEFINITION = re.compile(r"\s*([A-Za-z_]\w*)\s*(?:\[[^\]]*\]\s*)?=(?!=)")


@dataclass(frozen=True)
class Statement:
    """A line `target = expr` (a tree) or a declaration `name : words`."""

    line: int
    indent: int
    tree: Any = None
    declared: tuple[str, str | None, tuple[str, ...]] | None = None


@dataclass(frozen=True)
class Header:
    """A line `for index in lower..upper:`."""

    line: int
    indent: int
    tree: Any


@cache
def _parser() -> Any:
    from lark import Lark

    grammar = files("symgrad.reading").joinpath("text.lark").read_text(encoding="utf-8")
    return Lark(
        grammar,
        parser="lalr",
        start=["expr", "statement", "header"],
        propagate_positions=True,
        maybe_placeholders=False,
    )


def parse_expression(text: str) -> Any:
    """The tree of one expression, which may go over several lines.

    Raises   ReadError with a position, TooLargeError beyond the bounds
    """
    _check_characters(text)
    if not text.strip():
        raise ReadError("there is no formula: the text is empty")
    _check_brackets(text, text, 0)
    return _parse(text, "expr", text, 0)


def statements(text: str, names: frozenset[str] = frozenset()) -> list[Statement | Header]:
    """The statements of a model text, in order; `names` are declared elsewhere.

    Raises   ReadError with a position, TooLargeError beyond the bounds
    """
    _check_characters(text)
    result: list[Statement | Header] = []
    for line, logical, called in _written_out(text, names):
        stripped = logical.strip()
        indent = len(logical) - len(logical.lstrip(" \t"))
        if re.match(r"for\b", stripped):
            tree = _parse(logical, "header", text, line - 1)
            result.append(Header(line, indent, _placed(tree, line, called)))
        elif match := re.fullmatch(
            r"([A-Za-z_]\w*)(?:\[([A-Za-z_]\w*)\])?\s*:(?!=)(.*)", stripped, re.DOTALL
        ):
            words = tuple(match[3].replace(",", " ").split())
            result.append(Statement(line, indent, declared=(match[1], match[2], words)))
        else:
            if "=" not in stripped:
                raise ReadError(
                    "a line of a model is a definition",
                    source=text,
                    line=line,
                    column=indent + 1,
                    hint="name = formula, or name : sizes",
                )
            tree = _parse(logical, "statement", text, line - 1)
            result.append(Statement(line, indent, _placed(tree, line, called)))
    if not result:
        raise ReadError("there is no model: the text has no definitions")
    return result


def definitions_and_question(text: str) -> tuple[list[str], str]:
    r"""The lines that define something, and what is asked about: the last line, or the name that it defines.

    >>> definitions_and_question("z = W @ x\nL = sum(z**2)")
    (['z = W @ x', 'L = sum(z**2)'], 'L')
    >>> definitions_and_question("z = W @ x\nsum(z, axis=0)")
    (['z = W @ x'], 'sum(z, axis=0)')
    """
    if "=" not in text and "\n" not in text:
        return [], text
    lines = [line for _, line in _logical_lines(text)]
    last = _DEFINITION.match(lines[-1]) if lines else None
    if last is not None:
        return lines, last[1]
    return (lines[:-1], lines[-1]) if any(map(_DEFINITION.match, lines)) else ([], text)


def _written_out(text: str, names: frozenset[str]) -> Iterator[tuple[int, str, int | None]]:
    """The logical lines, calls of layers and networks written out; then with the column of the call."""
    lines = _logical_lines(text)
    if not has_short_forms(text):
        yield from ((line, logical, None) for line, logical in lines)
        return
    own = frozenset(re.findall(r"^\s*([A-Za-z_]\w*)\s*:\s*function\b", text, re.MULTILINE))
    forms = ShortForms(text, own, names)
    for line, logical in lines:
        if not has_short_forms(logical) or "=" not in logical:
            yield line, logical, None
            continue
        column = logical.find("=") + 1
        for written in forms.written_out(logical.replace("\n", " "), line):
            yield line, written, column + 1


def _placed(tree: Any, line: int, column: int | None) -> Any:
    """A tree whose positions are those of the call that it was written out from, if it was."""
    if column is None:
        return tree
    for subtree in tree.iter_subtrees():
        if not subtree.meta.empty:
            subtree.meta.line, subtree.meta.column = line, column
        for child in subtree.children:
            if hasattr(child, "line") and child.line is not None:
                child.line, child.column = line, column
    return tree


def _logical_lines(text: str) -> list[tuple[int, str]]:
    """Lines without comments, joined while a bracket is open; with the number of the first line."""
    lines: list[tuple[int, str]] = []
    start, held, depth = 0, "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.split("#", 1)[0].rstrip()
        if not held:
            if not line.strip():
                continue
            start = number
        held = f"{held}\n{line}" if held else line
        depth += sum(line.count(c) for c in "([") - sum(line.count(c) for c in ")]")
        if depth <= 0:
            _check_brackets(held, text, start - 1)
            lines.append((start, held))
            held, depth = "", 0
    if held:
        _check_brackets(held, text, start - 1)
        lines.append((start, held))
    return lines


def _check_characters(text: str) -> None:
    if len(text) > LIMITS.characters:
        raise TooLargeError(
            f"the text has {len(text)} characters", hint=f"at most {LIMITS.characters} are read"
        )
    for position, c in enumerate(text):
        if (ord(c) < 32 and c not in "\n\r\t") or c in "\x7f\ufeff" or 0xD800 <= ord(c) <= 0xDFFF:
            line = text.count("\n", 0, position) + 1
            raise ReadError(
                f"the text holds the character U+{ord(c):04X}, which no formula has",
                hint=f"it stands on line {line}; is this a text file in UTF-8?",
            )


def _check_brackets(part: str, source: str, lines_before: int) -> None:
    """Brackets match and are not too deep; numbers are not too long. Reported before parsing."""

    def where(position: int) -> dict[str, Any]:
        before = part[:position]
        return {
            "source": source,
            "line": lines_before + before.count("\n") + 1,
            "column": position - (before.rfind("\n") + 1) + 1,
        }

    if len(part) > LIMITS.expression:
        raise TooLargeError(
            f"one formula has {len(part)} characters",
            hint=f"at most {LIMITS.expression} are read; name its parts in definitions of their own",
            **where(0),
        )
    stack: list[tuple[str, int]] = []
    for position, c in enumerate(part):
        if c in _OPEN:
            stack.append((c, position))
            if len(stack) > LIMITS.depth:
                raise TooLargeError(
                    f"more than {LIMITS.depth} brackets inside one another",
                    hint="name the inner parts in definitions of their own",
                    **where(position),
                )
        elif c in _CLOSE:
            if not stack:
                raise ReadError(
                    f"'{c}' closes nothing", hint=f"remove it or add '{_CLOSE[c]}'", **where(position)
                )
            opened, at = stack.pop()
            if opened != _CLOSE[c]:
                raise ReadError(
                    f"'{opened}' is closed by '{c}'", hint=f"write '{_OPEN[opened]}' here", **where(position)
                )
    if stack:
        opened, at = stack[-1]
        raise ReadError(f"'{opened}' is never closed", hint=f"add '{_OPEN[opened]}'", **where(at))
    for match in re.finditer(r"\d+", part):
        if len(match[0]) > LIMITS.digits:
            raise TooLargeError(f"a number of {len(match[0])} digits", **where(match.start()))
    if signs := re.search(r"([-+]\s*){%d,}" % LIMITS.depth, part):
        raise TooLargeError("a very long run of signs", **where(signs.start()))
    if transposes := re.search(r"(\.T\s*){%d,}" % LIMITS.depth, part):
        raise TooLargeError("a very long run of transposes", **where(transposes.start()))
    if tower := re.search(r"(\*\*\s*\w+\s*){%d,}" % 12, part):
        raise TooLargeError("a tower of powers", **where(tower.start()))


def _parse(part: str, start: str, source: str, lines_before: int) -> Any:
    """Parse a part of a source that begins after `lines_before` lines."""
    from lark.exceptions import UnexpectedCharacters, UnexpectedEOF, UnexpectedInput, UnexpectedToken

    try:
        tree = _parser().parse(part, start=start)
    except UnexpectedCharacters as error:
        c = part[error.pos_in_stream]
        raise ReadError(
            f"unexpected character {c!r}" + (f" (U+{ord(c):04X})" if not c.isascii() else ""),
            source=source,
            line=lines_before + error.line,
            column=error.column,
            hint=instead_of(c, part[: error.pos_in_stream])
            or "names are of the letters A to Z, digits and underscores",
        ) from None
    except UnexpectedToken as error:
        raise _unexpected(error, part, source, lines_before) from None
    except (UnexpectedEOF, UnexpectedInput, RecursionError) as error:
        raise ReadError(
            "the formula cannot be read",
            source=source,
            line=lines_before + 1,
            column=1,
            hint=type(error).__name__,
        ) from None
    if lines_before:
        _shift(tree, lines_before)
    return tree


def _unexpected(error: Any, part: str, source: str, lines_before: int) -> SymgradError:
    expected = {_NAMES_OF_TOKENS[t] for t in error.expected if t in _NAMES_OF_TOKENS}
    at_end = error.token.type == "$END"
    line, column = error.line, error.column
    if at_end:
        line = part.rstrip().count("\n") + 1
        column = len(part.rstrip().splitlines()[-1]) + 1
        message = "the formula ends too early"
    else:
        message = f"unexpected {str(error.token)!r}"
    if "an operator" in expected and not at_end and error.token.type in ("NAME", "NUMBER", "LPAR", "PRIMED"):
        hint = "an operator is missing before it: products are written @ or *"
    elif at_end and "')'" in expected:
        hint = "add ')'"
    elif expected == {"'('"} and part[: error.token.start_pos].rstrip().endswith("'"):
        hint = "a transpose is written .T; a prime is the derivative of a function: f'(x)"
    elif not at_end and (fits := instead_of(str(error.token), part[: error.token.start_pos])):
        hint = fits
    else:
        hint = "expected " + " or ".join(sorted(expected)) if expected else "the formula ends before it"
    return ReadError(message, source=source, line=lines_before + line, column=column, hint=hint)


def _shift(tree: Any, lines: int) -> None:
    """Positions within the whole text instead of the part."""
    for subtree in tree.iter_subtrees():
        if not subtree.meta.empty:
            subtree.meta.line += lines
        for child in subtree.children:
            if hasattr(child, "line") and child.line is not None:
                child.line += lines
