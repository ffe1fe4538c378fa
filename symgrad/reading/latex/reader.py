r"""Claims and definitions in LaTeX, as people write them in lecture notes and homework.

A claim is read with every layer and every choice that its names leave open; what fits the shapes is kept. One reading
is the claim, several are shown; where none fits, the error of the plainest reading is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import sympy
from sympy import Expr
from sympy.matrices.exceptions import ShapeError as NotAligned

from symgrad.errors import (
    ReadError,
    ShapeError,
    SymgradError,
    UnsupportedError,
)
from symgrad.expr import (
    any_shapes,
    shape_text,
)
from symgrad.reading.claim import Claim, Context
from symgrad.reading.latex.claims import Claims, in_text_language
from symgrad.reading.latex.context import Setting, shared_setting
from symgrad.reading.latex.explore import explore
from symgrad.reading.latex.marks import marked, stem_of
from symgrad.reading.latex.places import Unbound
from symgrad.reading.latex.scope import Scope
from symgrad.reading.latex.tokens import fail_at
from symgrad.reading.latex.tree import Node, parse_statements, walk_nodes
from symgrad.reading.latex.values import fits, has_index, lifted
from symgrad.reading.latex.writing import derivative_parts

__all__ = ["claims_in", "read_claim", "read_expression"]

_MOST_READINGS = 6


def read_claim(text: str, context: Context) -> Claim:
    r"""The claim of a formula in LaTeX.

    >>> context = Context(definitions=("L = x @ A @ x",), shapes="x: n, A: n n")
    >>> claim = read_claim(r"\frac{\partial L}{\partial x} = (A + A^\top) x", context)
    >>> claim.read_as
    'dL/dx = (A + A.T) @ x'

    Raises   SymgradError with the position and what would fit
    """
    setting = shared_setting(context)
    statements = parse_statements(text, setting.words)
    main, extra = _main_statement(statements, setting, text)
    passed = [s for s in statements if s is not main and s not in extra]

    def attempt(scope: Scope) -> Claim:
        return Claims(scope, setting, text, extra, passed=passed).claim(main)

    found, refused = explore(attempt, setting, text)
    if not found:
        misfit = refused if isinstance(refused, ShapeError) else None
        if misfit is None:
            raise refused
        found = _with_any_shapes(main, extra, setting, text, misfit)
        found += _with_columns_by_entries(attempt, setting, text)
    if any(map(_narrows, passed)):
        found = [replace(c, conditional=True) for c in found]
    first, *others = _distinct(_preferred(found, setting))
    if len(others) >= _MOST_READINGS:
        raise ReadError(
            "the formula can be read in many ways", source=text, line=1, column=1,
            hint="write brackets, or say in the symbols what the names stand for",
        )  # fmt: skip
    return replace(first, readings=tuple(others))


def claims_in(text: str, context: Context) -> list[tuple[str, Context]]:
    r"""The claims of a display that makes several, each in the place where it stands; else the text alone.

    Equations for names that are known are claims of their own; those for new names belong to every claim.

    >>> context = Context(("L = g @ W @ x",), shapes="g: m, W: m n, x: n")
    >>> [t.strip() for t, _ in claims_in(r"\nabla_W L = g x^\top, \nabla_x L = W^\top g", context)]
    ['\\nabla_W L = g x^\\top,', ', \\nabla_x L = W^\\top g']

    Raises   SymgradError
    """
    setting = shared_setting(context)
    statements = parse_statements(text, setting.words)
    equations = [s for s in statements if s.kind == "chain" and s.parts[1].text in ("=", ":=")]
    derivatives = [s for s in equations if _is_derivative(s.parts[0])]
    known = [
        s for s in equations if s not in derivatives and not _is_range(s) and _is_known(s, setting, text)
    ]
    if not derivatives or len(derivatives) + len(known) < 2:
        return [(text, context)]
    plain = replace(context, target=None, wrt=None, f=None, kind=None) if context.f is None else context
    found: list[tuple[str, Context]] = []
    for claim in (*derivatives, *known):
        others = [s for s in (*derivatives, *known) if s is not claim]
        if claim in known:
            others += [s for s in statements if s not in equations]
        found.append((_blanked(text, others), plain if claim in known else context))
    return found


def _is_known(equation: Node, setting: Setting, text: str) -> bool:
    """Whether an equation is about a name that the definitions have."""
    scope = setting.scope(text)
    scope.may_bind = True
    m = marked(equation.parts[0])
    try:
        return stem_of(m.base) is not None and bool(scope.symbol(m))
    except (SymgradError, Unbound):
        return False


def _blanked(text: str, statements: Sequence[Node]) -> str:
    """The text with spaces in place of some statements, so that all others keep their places."""
    kept = list(text)
    for s in statements:
        for k in range(s.at, s.end):
            kept[k] = "\n" if kept[k] == "\n" else " "
    return "".join(kept)


def read_expression(text: str, context: Context, shape: tuple[Expr, ...] | None = None) -> Expr:
    r"""An expression in LaTeX over the names of a context.

    `shape` is () or (rows, columns), where it is known: it settles the sizes of I and of vectors of ones.

    >>> context = Context(definitions=("L = x @ A @ x",), shapes="x: n, A: n n")
    >>> read_expression(r"(A + A^\top) x", context)
    (A + A.T)*x

    Raises   SymgradError; ReadError also where two readings fit
    """
    setting = shared_setting(context)
    statements = parse_statements(text, setting.words)
    if len(statements) != 1:
        raise ReadError("one formula is needed", source=text, line=1, column=1)

    def attempt(scope: Scope) -> Expr:
        value = lifted(setting.meaning(scope).read(statements[0]))
        if value.axes is not None or has_index(value.expr):
            raise UnsupportedError("this formula has no matrix form", source=text, line=1, column=1)
        if shape is not None and (
            len(shape) != len(value.shape)
            or not all(fits(p, q) for p, q in zip(shape, value.shape, strict=True))
        ):
            raise ShapeError(f"a {value.text}, and not a {shape_text(shape)}", source=text, line=1, column=1)
        if value.expr.atoms(sympy.Dummy) & set(scope.opened.values()):
            raise ShapeError(
                "the size of an identity or a vector of ones is not known", source=text, line=1, column=1
            )
        return value.expr

    found, refused = explore(attempt, setting, text)
    if not found:
        raise refused
    distinct = list(dict.fromkeys(found))
    if len(distinct) > 1:
        raise ReadError(
            "the formula can be read in two ways",
            details=tuple(in_text_language(e) for e in distinct[:2]),
            source=text,
            line=1,
            column=1,
        )
    return distinct[0]


def _with_any_shapes(
    main: Node, extra: Sequence[Node], setting: Setting, text: str, misfit: ShapeError
) -> list[Claim]:
    """The claim as it is written, though its sizes do not fit."""

    def attempt(scope: Scope) -> Claim:
        try:
            return Claims(scope, setting, text, extra, free=True).claim(main)
        except NotAligned:
            raise misfit from None

    with any_shapes():
        found, _ = explore(attempt, setting, text)
    if not found:
        raise misfit
    return [replace(found[0], misfit=misfit)]


def _with_columns_by_entries(attempt: Callable[[Scope], Claim], setting: Setting, text: str) -> list[Claim]:
    r"""Readings that fit if columns side by side, as in \sigma(z)(1 - \sigma(z)), are multiplied entry by entry.

    Such a product is not what is written, so that the claim is not accepted on it; but neither is it refuted if it is
    right in this sense.
    """

    def by_entries(scope: Scope) -> Claim:
        scope.columns_by_entries = True
        return attempt(scope)

    return explore(by_entries, setting, text)[0]


def _preferred(claims: list[Claim], setting: Setting) -> list[Claim]:
    """Claims about the variable that was asked for come alone."""
    asked = setting.wrt
    if asked is not None:
        about = [c for c in claims if c.wrt == asked]
        claims = about or claims
    return claims


def _distinct(claims: list[Claim]) -> list[Claim]:
    kept: dict[object, Claim] = {}
    for c in claims:
        kept.setdefault((c.kind, c.of, c.wrt, c.links, c.of_entry, c.wrt_entry), c)
    return list(kept.values())


def _main_statement(statements: list[Node], setting: Setting, text: str) -> tuple[Node, list[Node]]:
    """The claim among the statements of a display, and the definitions beside it."""
    equations = [s for s in statements if s.kind == "chain" and s.parts[1].text in ("=", ":=")]
    if not equations:
        if len(statements) == 1:
            return statements[0], []
        raise ReadError("there is no equation among these formulas", source=text, line=1, column=1)
    first = next((e for e in equations if _is_derivative(e.parts[0])), equations[0])
    rest = []
    for other in statements:
        if other is first:
            continue
        if other in equations and not _is_range(other):
            rest.append(other)
        elif not (_is_range(other) or _is_end_of_range(other, first, statements)):
            fail_at(ReadError, "this part of the formula is not read", text, other.at, "one claim at a time")
    return first, rest


def _is_end_of_range(other: Node, first: Node, statements: Sequence[Node]) -> bool:
    """The i of "for all i", the L - 1 of l = 1, .., L - 1."""
    if other.kind == "letter" and other.text in _script_letters(first):
        return True
    if not any(s.kind == "dots" or (s.kind == "chain" and s.parts[-1].kind == "dots") for s in statements):
        return False
    return all(n.kind in ("letter", "number", "sum", "sign") for n in walk_nodes(other))


def _script_letters(node: Node) -> set[str]:
    """The letters in subscripts and superscripts, and the bounds of sums."""
    return {
        n.text
        for s in walk_nodes(node)
        if s.kind in ("sub", "sup")
        for n in walk_nodes(s)
        if n.kind == "letter"
    }


def _narrows(statement: Node) -> bool:
    r"""Whether it says of which entries or values a formula holds, j \ne y_i or z > 0, and not only of which layers."""
    while statement.kind in ("paren", "group") and len(statement.parts) == 1:
        statement = statement.parts[0]
    if statement.kind != "chain":
        return False
    if any(r.text in ("!=", "<", ">", "<=", ">=") for r in statement.parts[1::2]):
        return True
    return all(side.kind == "letter" for side in statement.parts[0::2])


def _is_range(statement: Node) -> bool:
    """What says only where a formula holds: l = 1, 2 or 0 < alpha < 1."""
    if statement.kind in ("number", "dots"):
        return True
    if statement.kind == "paren":
        inside = (
            statement.parts[0].parts
            if statement.parts and statement.parts[0].kind == "list"
            else statement.parts
        )
        return all(_is_range(p) or p.kind == "letter" for p in inside)
    if statement.kind != "chain":
        return False
    if statement.parts[1].text not in ("=", ":="):
        return True
    return statement.parts[0].kind == "letter" and statement.parts[-1].kind in ("number", "dots")


def _is_derivative(side: Node) -> bool:
    """Whether a left side is written as a derivative, or as dW."""
    parts = side.parts if side.kind == "term" else (side,)
    head = parts[0].parts[0] if parts[0].kind == "scripted" else parts[0]
    return (
        derivative_parts(parts[0]) is not None
        or head.kind in ("nabla", "partial")
        or (head.kind == "letter" and head.text == "d" and len(parts) > 1)
    )
