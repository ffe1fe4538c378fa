"""The rule catalogue: what each rule says, worked out by running it on its own example."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sympy import Expr
from sympy.core.symbol import Str

from symgrad.errors import NameUnknownError, UnsupportedError
from symgrad.expr import differential, is_leaf, is_scalar, matrix, scalar
from symgrad.reading import read_question
from symgrad.rendering import Notation, to_latex, to_text
from symgrad.rules import RULES, Rule
from symgrad.simplifying import Simplifier

__all__ = ["Entry", "catalogue_markdown", "catalogue_text", "entry_of", "entry_text"]


@dataclass(frozen=True)
class Entry:
    """A rule worked out: the operation, what each input's adjoint receives, the differential."""

    rule: Rule
    operation: Expr
    pullback: tuple[tuple[Expr, Expr], ...]
    differential: Expr
    adjoint: Expr


def entry_of(name: str) -> Entry:
    """The catalogue entry of a rule.

    Raises   NameUnknownError if there is no such rule, naming close ones
    """
    rule = RULES.get(name)
    if rule is None:
        import difflib

        close = difflib.get_close_matches(name, RULES, 3, 0.4)
        raise NameUnknownError(
            f"there is no rule {name!r}",
            hint="did you mean: " + ", ".join(close) if close else "see: symgrad rules",
        )
    _, node = read_question(rule.example, shapes=rule.shapes, assume=rule.assume or None)
    tidy = Simplifier()
    parts = rule.parts(node)
    y = scalar("y") if is_scalar(node) else matrix("Y", *node.shape)
    adjoint = scalar("g") if is_scalar(node) else matrix("G", *node.shape)
    inputs = [p for p in parts if not isinstance(p, Str) and is_leaf(p)]
    try:
        received = rule.pullback(adjoint, y, *parts)
        pullback = tuple(
            (p, tidy(value))
            for p, value in zip(parts, received, strict=True)
            if value is not None and p in inputs
        )
    except UnsupportedError:
        pullback = ()
    moving = tuple(differential(p) if p in inputs else None for p in parts)
    return Entry(rule, node, pullback, tidy(rule.differential(moving, y, *parts)), adjoint)


def entry_text(name: str) -> str:
    """A rule in full, for a terminal."""
    entry = entry_of(name)
    rows = [f"{entry.rule.name}", f"  {entry.rule.says}", ""]
    output = "y" if is_scalar(entry.operation) else "Y"
    rows.append(f"  operation     {output} = {to_text(entry.operation)}      ({entry.rule.shapes})")
    for p, value in entry.pullback:
        rows.append(f"  pullback      {to_text(p)} receives {to_text(value)}")
    if not entry.pullback:
        rows.append("  pullback      has no matrix form")
    rows.append(f"  differential  d{output} = {to_text(entry.differential)}")
    rows.append(f"  source        {entry.rule.cites}")
    return "\n".join(rows)


def catalogue_text() -> str:
    """All rules, one a line."""
    width = max(len(name) for name in RULES)
    return "\n".join(f"{name:<{width}}  {rule.says.split('.')[0]}." for name, rule in sorted(RULES.items()))


def catalogue_markdown() -> str:
    """The catalogue as a page."""
    rows = [
        "# The rules",
        "",
        "Made by `symgrad rules --format md` from the rule table: each rule is run on its own example. $G$ (or $g$) is the",
        "adjoint of the output $Y$ (or $y$): the derivative of the final scalar by it, in its shape.",
        "",
    ]
    for name in sorted(RULES):
        rows += _section(entry_of(name))
    return "\n".join(rows).rstrip() + "\n"


def _section(entry: Entry) -> list[str]:
    increments = frozenset(f"d{p.name}" for p, _ in entry.pullback if hasattr(p, "name"))
    notation = Notation(increments=increments)
    latex: Callable[[Expr], str] = lambda e: to_latex(e, notation)  # noqa: E731 - a short name for a call
    output = "y" if is_scalar(entry.operation) else "Y"
    lines = [f"{output} &= {latex(entry.operation)}"]
    lines += [rf"\bar{{{latex(p)}}} &\leftarrow {latex(value)}" for p, value in entry.pullback]
    lines.append(rf"\mathrm{{d}}{output} &= {latex(entry.differential)}")
    return [
        f"## {entry.rule.name}",
        "",
        f"{entry.rule.says} Shapes: `{entry.rule.shapes}`. Source: {entry.rule.cites}.",
        "",
        "$$",
        r"\begin{aligned}",
        " \\\\\n".join(lines),
        r"\end{aligned}",
        "$$",
        "",
    ]
