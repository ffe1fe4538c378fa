r"""Macros that a document defines (`\newcommand`, `\def`, `\DeclareMathOperator`), written out in its formulas.

Every character of a formula that was written out knows where it came from, so that the formula can be replaced in the
source. Depth and length are bounded: macros that call each other end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

__all__ = ["Macro", "Written", "find_macros", "written_out"]

_DEFINITION = re.compile(
    r"\\(?:(?:newcommand|renewcommand|providecommand|DeclareRobustCommand)\*?\s*"
    r"(?:\{\s*(?P<braced>\\[A-Za-z]+)\s*\}|(?P<bare>\\[A-Za-z]+))\s*(?:\[(?P<count>\d)\])?(?:\[(?P<default>[^\]\n]*)\])?"
    r"|(?P<operator>DeclareMathOperator)\*?\s*\{?\s*(?P<word>\\[A-Za-z]+)\s*\}?"
    r"|[gx]?def\s*(?P<defined>\\[A-Za-z]+)\s*(?P<numbers>(?:#\d)*))\s*(?=\{)"
)
_CALL = re.compile(r"\\[A-Za-z]+")
_DEEPEST = 20
_LONGEST = 20_000
_MOST_CALLS = 2_000


@dataclass(frozen=True)
class Macro:
    """A macro: what it is called, its number of arguments, what the first is if left out, what it stands for, its place."""

    name: str
    count: int
    body: str
    default: str | None
    start: int
    end: int


@dataclass(frozen=True)
class Written:
    """A text with the place of each of its characters in the source: from where to where it stands for."""

    text: str
    places: tuple[tuple[int, int], ...]

    def source(self, start: int, end: int) -> tuple[int, int] | None:
        """The part of the source that a part of the text stands for; None where a macro lies across its border."""
        if start >= end:
            return None
        first = min(p[0] for p in self.places[start:end])
        last = max(p[1] for p in self.places[start:end])
        outside = (*self.places[:start], *self.places[end:])
        return None if any(a < last and b > first for a, b in outside) else (first, last)

    def at(self, offset: int) -> int:
        """Where a character stands in the source."""
        if offset < len(self.places):
            return self.places[offset][0]
        return self.places[-1][1] if self.places else 0


def find_macros(text: str) -> list[Macro]:
    r"""The macros that a text defines, in order.

    >>> [(m.name, m.count, m.body) for m in find_macros(r"\newcommand{\pd}[2]{\frac{#1}{#2}} \def\R{\mathbb{R}}")]
    [('\\pd', 2, '\\frac{#1}{#2}'), ('\\R', 0, '\\mathbb{R}')]
    """
    found = []
    at = 0
    while m := _DEFINITION.search(text, at):
        end = _group_end(text, m.end())
        if end is None:
            at = m.end()
            continue
        body = text[m.end() + 1 : end - 1]
        if m["operator"]:
            body = rf"\operatorname{{{body}}}"
        name = m["braced"] or m["bare"] or m["word"] or m["defined"]
        count = int(m["count"]) if m["count"] else len(m["numbers"] or "") // 2
        found.append(Macro(name, count, body, m["default"], m.start(), end))
        at = end
    return found


def written_out(text: str, macros: Iterable[Macro], drop: str = "") -> Written:
    r"""The text with its macros written out; what the expression `drop` matches, and definitions, are left out.

    >>> written_out(r"\R^n", find_macros(r"\newcommand{\R}{\mathbb{R}}")).text
    '\\mathbb{R}^n'
    """
    table = {m.name: m for m in macros}
    whole = Written(text, tuple((i, i + 1) for i in range(len(text))))
    gone = [(m.start, m.end) for m in find_macros(text)] if "\\" in text else []
    gone += [(m.start(), m.end()) for m in re.finditer(drop, text)] if drop else []
    for a, b in sorted(gone, reverse=True):
        whole = Written(whole.text[:a] + whole.text[b:], whole.places[:a] + whole.places[b:])
    return _written_out(whole, table, 0, [_MOST_CALLS]) if table else whole


def _written_out(given: Written, table: Mapping[str, Macro], depth: int, left: list[int]) -> Written:
    """The macros of a text written out; `left` says how many calls may still be. Beyond the bounds it stays as it is."""
    text: list[str] = []
    places: list[tuple[int, int]] = []
    at = 0
    for call in _CALL.finditer(given.text):
        macro = table.get(call[0])
        if macro is None or call.start() < at or depth >= _DEEPEST or left[0] <= 0:
            continue
        found = _arguments(given, macro, call.end())
        if found is None:
            continue
        arguments, end = found
        left[0] -= 1
        text.append(given.text[at : call.start()])
        places += given.places[at : call.start()]
        inner = _written_out(_filled(given, macro, arguments, call.start(), end), table, depth + 1, left)
        text.append(inner.text)
        places += inner.places
        at = end
        if len(places) > _LONGEST:
            return given
    return Written("".join(text) + given.text[at:], (*places, *given.places[at:]))


def _filled(given: Written, macro: Macro, arguments: list[Written], start: int, end: int) -> Written:
    """What a macro stands for at a call; characters of its own stand for the whole call."""
    call = (given.places[start][0], given.places[end - 1][1])
    text = ""
    places: list[tuple[int, int]] = []
    for i, piece in enumerate(re.split(r"#(\d)", macro.body)):
        if i % 2 and 1 <= int(piece) <= len(arguments):
            text += arguments[int(piece) - 1].text
            places += arguments[int(piece) - 1].places
        else:
            text += piece
            places += [call] * len(piece)
    following = given.text[end : end + 1]
    if re.search(r"\\[A-Za-z]+$", text) and following.isalpha():
        text += " "
        places.append(call)
    return Written(text, tuple(places))


def _arguments(given: Written, macro: Macro, at: int) -> tuple[list[Written], int] | None:
    """The arguments of a call and where it ends; None if they are not all there."""
    found: list[Written] = []
    text = given.text
    if macro.default is not None and macro.count:
        option = re.compile(r"\s*\[([^\]]*)\]").match(text, at)
        if option:
            found.append(Written(option[1], given.places[option.start(1) : option.end(1)]))
            at = option.end()
        else:
            found.append(Written(macro.default, (given.places[at - 1],) * len(macro.default)))
    while len(found) < macro.count:
        at += len(text[at:]) - len(text[at:].lstrip())
        if at >= len(text):
            return None
        if text[at] == "{":
            end = _group_end(text, at)
            if end is None:
                return None
            found.append(Written(text[at + 1 : end - 1], given.places[at + 1 : end - 1]))
        else:
            token = _CALL.match(text, at)
            end = token.end() if token else at + 1
            found.append(Written(text[at:end], given.places[at:end]))
        at = end
    return found, at


def _group_end(text: str, at: int) -> int | None:
    """Where the group ends that a brace opens."""
    depth = 0
    while at < len(text):
        if text[at] == "\\":
            at += 1
        elif text[at] == "{":
            depth += 1
        elif text[at] == "}":
            depth -= 1
            if depth == 0:
                return at + 1
        at += 1
    return None
