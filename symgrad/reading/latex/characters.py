r"""The characters of a formula: what does not show is refused, signs of Unicode become commands."""

from __future__ import annotations

import re
import unicodedata

from symgrad.errors import ReadError, TooLargeError
from symgrad.reading.latex.tokens import LATEX_LIMITS, fail_at
from symgrad.reading.latex.vocabulary import (
    UNICODE,
)

__all__ = []


_BIDI = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u061c")


def check_characters(source: str) -> None:
    if len(source) > LATEX_LIMITS.characters:
        raise TooLargeError(
            f"the formula has {len(source)} characters", hint=f"at most {LATEX_LIMITS.characters} are read"
        )
    if not source.strip():
        raise ReadError("there is no formula: the text is empty")
    if source.isascii() and source.isprintable():
        return
    for at, c in enumerate(source):
        if c in _BIDI or (ord(c) < 32 and c not in "\n\r\t") or c == "\x7f" or 0xD800 <= ord(c) <= 0xDFFF:
            fail_at(ReadError, f"the character U+{ord(c):04X} is refused", source.replace(c, "?"), at,
                    hint="it does not show, and could hide what the formula says")  # fmt: skip
        if unicodedata.category(c) in ("Cf", "Co", "Cn", "Mn"):
            fail_at(ReadError, f"the character U+{ord(c):04X} is refused", source, at,
                    hint="write accents as commands, such as \\hat{y}")  # fmt: skip


def plain(source: str) -> tuple[str, list[int] | None]:
    """Signs of Unicode as commands; letters of other scripts are refused outside of text."""
    if source.isascii():
        return source, None
    text: list[str] = []
    origin: list[int] = []
    in_text = 0
    raised = {m.start(): m.end() for m in re.finditer("⁻?[⁰¹²³⁴⁵⁶⁷⁸⁹]+|⁻ᵀ", source)}
    passed = 0
    for at, c in enumerate(_with_braces(source)):
        if at < passed:
            continue
        if at in raised and not in_text:
            passed = raised[at]
            digits = "".join(unicodedata.normalize("NFKC", d) for d in source[at:passed])
            piece = f"^{{{digits.replace(chr(0x2212), '-').replace('T', chr(92) + 'top ')}}}"
            text.append(piece)
            origin += [at] * len(piece)
            continue
        if c == "{" and re.search(
            r"\\(text\w*|mbox|hbox|mathrm|operatorname)\s*$", source[max(0, at - 16) : at]
        ):
            in_text = 1
        elif in_text and c in "{}":
            in_text += 1 if c == "{" else -1
        if in_text or c.isascii():
            piece = c
        else:
            known = UNICODE.get(c)
            if known is None:
                name = unicodedata.name(c, "unknown")
                fail_at(ReadError, f"the character {c} (U+{ord(c):04X}, {name}) is no letter of a formula", source, at,
                        hint="write names in the letters a to z or as commands, words in \\text{..}")  # fmt: skip
            piece = known
        text.append(piece)
        origin += [at] * len(piece)
    return "".join(text), origin


def _with_braces(source: str) -> str:
    """√(x) and ^(p - 1), as formulas are written in plain Unicode, with braces around the argument."""
    chars = list(source)
    for match in re.finditer(r"[√^]\(", source):
        depth = 0
        for at in range(match.end() - 1, len(source)):
            depth += {"(": 1, ")": -1}.get(source[at], 0)
            if not depth:
                chars[match.end() - 1], chars[at] = "{", "}"
                break
    return "".join(chars)
