r"""LaTeX as trees: one for each statement of a display.

Displays are split before they are parsed: at commas, conjunctions and line ends outside of brackets. A line that
begins with a relation, or an operator, goes on with the line before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partialmethod
from importlib.resources import files
from typing import Any, NoReturn

from symgrad.errors import ReadError
from symgrad.reading.latex.scanner import tokenise
from symgrad.reading.latex.tokens import Tok, fail_at

__all__ = [
    "Node",
    "letters_of",
    "parse",
    "parse_statements",
    "same_writing",
    "split_statements",
    "walk_nodes",
]


@dataclass(frozen=True, slots=True)
class Node:
    """A piece of a formula.

    kind   chain, sum, term, scripted, sup, sub, group, list, frac, .., or the kind of a token in small letters
    parts  the pieces inside it; text and mark of a leaf; offsets of its first character and after its last
    """

    kind: str
    parts: tuple[Node, ...]
    at: int
    end: int
    text: str = ""
    mark: str = ""


def walk_nodes(node: Node) -> Iterator[Node]:
    """The node and everything in it."""
    stack = [node]
    while stack:
        here = stack.pop()
        yield here
        stack.extend(reversed(here.parts))


def same_writing(a: Node, b: Node) -> bool:
    """Whether two pieces are written alike, wherever they stand."""
    return (
        a.kind == b.kind
        and a.text == b.text
        and len(a.parts) == len(b.parts)
        and all(same_writing(p, q) for p, q in zip(a.parts, b.parts, strict=True))
    )


def letters_of(node: Node) -> set[str]:
    """The letters and words that occur."""
    return {n.text for n in walk_nodes(node) if n.kind in ("letter", "word")}


# --- statements --------------------------------------------------------------------------------------------

_OPEN = frozenset(
    ["LPAR", "LSQB", "LCURLY", "LANGLE", "LBRACE", "LBAR", "LNORM", "LNONE", "BEGIN_CASES", "BEGIN_MATRIX"]
)
_CLOSE = frozenset(
    ["RPAR", "RSQB", "RCURLY", "RANGLE", "RBRACE", "RBAR", "RNORM", "RNONE", "END_CASES", "END_MATRIX"]
)
_OPERATORS = frozenset(["SIGN", "CDOT", "TIMES", "STAR", "ODOT", "OTIMES", "OSLASH", "SLASH", "REL"])
_ENDS = frozenset(["COMMA", "SEMI", "QUAD", "TEXT", "NEWLINE", "PERIOD", "COLON"])


def parse_statements(source: str, words: frozenset[str] = frozenset()) -> list[Node]:
    r"""The statements of a display, each a chain.

    >>> [len(s.parts) for s in parse_statements(r"z = W x + b, \quad a = \sigma(z)")]
    [3, 3]

    Raises   ReadError with a position and what would fit, TooLargeError beyond the bounds
    """
    body, offset = _undelimited(source)
    tokens = tokenise(body, words)
    if offset:
        tokens = [Tok(t.kind, t.text, t.at + offset, t.end + offset, t.mark) for t in tokens]
    result = [_parse(part, source) for part in _split(tokens, source)]
    if not result:
        raise ReadError("there is no formula: the text is empty", source=source, line=1, column=1)
    return result


def split_statements(source: str, words: frozenset[str] = frozenset()) -> list[tuple[int, str]]:
    r"""The statements of a display as they are written, with their offsets.

    >>> split_statements(r"z = W x, \qquad a = \tanh(z) .")
    [(0, 'z = W x'), (16, 'a = \\tanh(z)')]

    Raises   ReadError, TooLargeError
    """
    return [(s.at, source[s.at : s.end]) for s in parse_statements(source, words)]


def parse(source: str, words: frozenset[str] = frozenset()) -> Node:
    """The tree of a text that is one statement, such as a symbol with its scripts.

    Raises   ReadError
    """
    statements = parse_statements(source, words)
    if len(statements) != 1:
        raise ReadError("one formula is needed", source=source, line=1, column=1)
    return statements[0]


def _undelimited(source: str) -> tuple[str, int]:
    r"""Without $..$, $$..$$, \(..\), \[..\] around it; the offset of what is left."""
    stripped = source.strip()
    start = source.find(stripped) if stripped else 0
    for left, right in (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]")):
        if stripped.startswith(left) and stripped.endswith(right) and len(stripped) >= len(left + right):
            inner = stripped[len(left) : -len(right)]
            return inner, start + len(left)
    return source, 0


def _split(tokens: Sequence[Tok], source: str) -> list[list[Tok]]:
    """The tokens of each statement, without what stands between statements."""
    parts: list[list[Tok]] = [[]]
    depth = 0
    after_line_end = False
    cases = 0
    for n, t in enumerate(tokens):
        if t.kind in _OPEN:
            depth += 1
            cases += t.kind.startswith("BEGIN")
        elif t.kind in _CLOSE:
            depth -= 1
            cases -= t.kind.startswith("END")
            if depth < 0:
                fail_at(ReadError, f"'{t.text}' closes nothing", source, t.at, "remove it, or open it before")
        if t.kind == "QUAD":
            if depth == 0 and parts[-1] and not _goes_on(tokens, n, parts[-1]):
                parts.append([])
            continue
        if t.kind == "PERIOD":
            _at_an_end(tokens, n, source)
            continue
        if cases and t.kind == "COMMA" and _followed_by(tokens, n) in ("AMP", "NEWLINE", "END_CASES", "TEXT"):
            continue
        if depth == 0 and t.kind in ("AMP", "NEWLINE"):
            after_line_end = after_line_end or t.kind == "NEWLINE"
            continue
        if after_line_end and depth <= 1:
            after_line_end = False
            if parts[-1] and t.kind not in _OPERATORS and parts[-1][-1].kind not in _OPERATORS:
                parts.append([])
        if depth == 0 and t.kind in ("COMMA", "SEMI", "TEXT", "COLON") and t.kind not in _OPEN:
            if parts[-1]:
                parts.append([])
            continue
        if depth == 0 and t.kind == "REL" and t.text == "=>":
            if parts[-1]:
                parts.append([])
            continue
        parts[-1].append(t)
    return [p for p in parts if p]


def _goes_on(tokens: Sequence[Tok], n: int, before: list[Tok]) -> bool:
    """Whether a wide space is only a space: an operator stands next to it."""
    following = tokens[n + 1].kind if n + 1 < len(tokens) else ""
    return following in _OPERATORS or before[-1].kind in _OPERATORS


def _followed_by(tokens: Sequence[Tok], n: int) -> str:
    return next((t.kind for t in tokens[n + 1 :] if t.kind != "QUAD"), "")


def _at_an_end(tokens: Sequence[Tok], n: int, source: str) -> None:
    following = _followed_by(tokens, n)
    if following not in ("", "AMP", "NEWLINE", "TEXT", "PERIOD", "COMMA", "END_CASES"):
        fail_at(
            ReadError, "a full stop inside a formula", source, tokens[n].at, "a product is written \\cdot"
        )


# --- parsing -----------------------------------------------------------------------------------------------


def _parse(tokens: Sequence[Tok], source: str) -> Node:
    from lark.exceptions import UnexpectedInput

    try:
        tree: Node = _parser().parse(tokens)
    except UnexpectedInput as error:
        _unexpected(error, tokens, source)
    except RecursionError:
        fail_at(ReadError, "the formula is nested too deeply", source, tokens[0].at)
    return tree


@cache
def _parser() -> Any:
    from lark import Lark, Token, Transformer
    from lark.lexer import Lexer

    class Given(Lexer):
        """The tokens are made already."""

        def __init__(self, conf: Any) -> None:
            pass

        def lex(self, data: Any) -> Iterator[Token]:
            tokens = getattr(data, "text", data)
            for t in tokens:
                yield Token(
                    t.kind, f"{t.text}\0{t.mark}" if t.mark else t.text, start_pos=t.at, end_pos=t.end
                )

    class ToNodes(Transformer):
        """Every rule makes a node of that name; braces, commas and separators are dropped."""

        def start(self, children: list[Any]) -> Any:
            return children[0]

        def leaf(self, children: list[Any]) -> Node:
            (token,) = children
            text, _, mark = str(token).partition("\0")
            return Node(token.type.lower(), (), token.start_pos, token.end_pos, text, mark)

        def op(self, children: list[Any]) -> Node:
            (token,) = children
            return Node("op", (), token.start_pos, token.end_pos, token.type, str(token))

    for rule in _RULES:
        setattr(ToNodes, rule, partialmethod(_made, rule))
    grammar = files("symgrad.reading.latex").joinpath("latex.lark").read_text(encoding="utf-8")
    return Lark(grammar, parser="lalr", lexer=Given, transformer=ToNodes(), maybe_placeholders=False)


_KEPT = frozenset(["SIGN", "REL"])
_RULES = [
    "chain",
    "continued",
    "sum",
    "term",
    "scripted",
    "sup",
    "sub",
    "group",
    "list",
    "sign",
    "lone",
    "entrywise",
    "frac",
    "root",
    "accent",
    "underbrace",
    "paren",
    "bracket",
    "cases",
    "matrix",
    "row",
    "cell",
]


def _made(transformer: Any, rule: str, children: list[Any]) -> Node:
    return _node(rule, children)


def _node(kind: str, children: list[Any]) -> Node:
    at = _at(children[0]) if children else 0
    end = _end(children[-1]) if children else 0
    text = ""
    parts = []
    for c in children:
        if isinstance(c, Node):
            parts.append(c)
        elif c.type in _KEPT:
            parts.append(Node(c.type.lower(), (), c.start_pos, c.end_pos, str(c)))
        elif not text and c.type not in ("COMMA", "SEMI", "AMP", "NEWLINE"):
            text = str(c).partition("\0")[0]
    if kind in ("sum", "term", "list") and len(parts) == 1:
        return parts[0]
    if kind == "chain" and len(parts) == 1:
        return parts[0]
    if kind == "sign":
        return parts[0]
    return Node(kind, tuple(parts), at, end, text)


def _at(c: Any) -> int:
    return c.at if isinstance(c, Node) else int(c.start_pos)


def _end(c: Any) -> int:
    return c.end if isinstance(c, Node) else int(c.end_pos)


_NAMES = {
    "RPAR": "')'", "RSQB": "']'", "RBRACE": "'}'", "RCURLY": r"'\}'", "RBAR": "'|'", "RNORM": r"'\|'",
    "RANGLE": r"'\rangle'", "RNONE": r"'\right.'", "END_CASES": r"'\end{cases}'", "END_MATRIX": r"'\end{matrix}'",
}  # fmt: skip


def _unexpected(error: Any, tokens: Sequence[Tok], source: str) -> NoReturn:
    token = getattr(error, "token", None)
    expected = getattr(error, "expected", None) or getattr(error, "accepts", None) or set()
    closers = sorted(_NAMES[e] for e in expected if e in _NAMES)
    hint = f"add {' or '.join(closers)}" if closers else None
    if token is None or token.type == "$END":
        if not hint and "LETTER" in expected:
            hint = "a symbol, a number or a bracket is missing"
        fail_at(ReadError, "the formula ends too early", source, tokens[-1].end, hint)
    shown = str(token).partition("\0")[0]
    if not closers and "LETTER" in expected:
        hint = "a symbol, a number or a bracket is missing before it"
    fail_at(ReadError, f"unexpected {shown!r}", source, token.start_pos, hint)
