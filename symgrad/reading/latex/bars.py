r"""Which bars of a formula open and which close."""

from __future__ import annotations

from symgrad.errors import ReadError
from symgrad.reading.latex.tokens import Tok, fail_at

__all__ = []


OPENING = frozenset(["LPAR", "LSQB", "LCURLY", "LANGLE", "LBRACE", "LBAR", "LNORM", "LNONE", "BEGIN"])


CLOSING = frozenset(["RPAR", "RSQB", "RCURLY", "RANGLE", "RBRACE", "RBAR", "RNORM", "EVAL", "END", "RNONE"])


_AFTER_OPERAND = frozenset(["NUMBER", "LETTER", "ONE", "RPAR", "RSQB", "RCURLY", "RBRACE", "RBAR", "RNORM", "RANGLE",
                            "TOP", "PRIME", "DOTS", "RNONE"])  # fmt: skip


def tell_bars_apart(source: str, tokens: list[Tok]) -> list[Tok]:
    """Whether a bar opens or closes; `EVAL` is the bar of an evaluation at a point."""
    if not any(t.kind in _BAR_KINDS for t in tokens):
        return tokens
    result: list[Tok] = []
    stack: list[tuple[str, int]] = []
    for n, t in enumerate(tokens):
        kind = t.kind
        if kind in ("BAR", "NORM"):
            wanted = f"L{kind}"
            opened = bool(stack) and stack[-1][0] == wanted
            operand = bool(result) and (
                result[-1].kind in _AFTER_OPERAND or (result[-1].kind == "WORD" and opened)
            )
            if opened and operand:
                kind = f"R{kind}"
            elif not operand:
                kind = wanted
            elif kind == "BAR" and n + 1 < len(tokens) and tokens[n + 1].kind == "SUB":
                kind = "EVAL"
            else:
                kind = wanted
        elif kind == "RBAR" and stack and stack[-1][0] == "LNONE":
            kind = "EVAL"
            stack.pop()
            result.append(Tok("RNONE", ".", t.at, t.end))
        elif kind == "RBAR" and (not stack or stack[-1][0] != "LBAR"):
            if n + 1 < len(tokens) and tokens[n + 1].kind == "SUB":
                kind = "EVAL"
            else:
                fail_at(ReadError, "this bar closes nothing", source, t.at)
        if kind in OPENING or kind.startswith("BEGIN"):
            stack.append((kind, t.at))
        elif (kind in CLOSING and kind != "EVAL") or kind.startswith("END"):
            if (
                stack
                and stack[-1][0] in ("LBAR", "LNORM")
                and not kind.startswith(stack[-1][0].replace("L", "R", 1))
            ):
                fail_at(ReadError, "this bar is never closed", source, stack[-1][1], hint="add a bar")
            if stack:
                stack.pop()
        result.append(t if kind == t.kind else Tok(kind, t.text, t.at, t.end, t.mark))
    for kind, at in stack:
        if kind in ("LBAR", "LNORM"):
            fail_at(ReadError, "this bar is never closed", source, at, hint="add a bar")
    return result


_BAR_KINDS = frozenset(["BAR", "NORM", "LBAR", "RBAR", "LNORM", "RNORM"])
