r"""What the sign of a derivative is made of: \nabla, vec, squares of d, names without their scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from symgrad.reading.latex.tree import Node

__all__ = ["is_nabla", "is_squared", "sign_of", "two_variables", "under_vec", "unscripted", "without_square"]


def is_nabla(node: Node) -> bool:
    r"""Whether it is \nabla, with scripts or without."""
    return node.kind == "nabla" or (node.kind == "scripted" and node.parts[0].kind == "nabla")


def under_vec(parts: Sequence[Node]) -> tuple[Node, bool] | None:
    r"""What stands under \operatorname{vec}, and whether it is turned: vec(X), \operatorname{vec}(X)^\top, (vec X)^T."""
    if len(parts) == 1 and parts[0].kind in ("scripted", "paren"):
        bracket = parts[0].parts[0] if parts[0].kind == "scripted" else parts[0]
        if bracket.kind == "paren" and len(bracket.parts) == 1 and bracket.parts[0].kind == "term":
            inner = under_vec(bracket.parts[0].parts)
            return None if inner is None or inner[1] else (inner[0], parts[0].kind == "scripted")
        return None
    if len(parts) != 2 or parts[0].kind != "word" or parts[0].text != "vec":
        return None
    argument = parts[1]
    turned = argument.kind == "scripted" and argument.parts[0].kind == "paren"
    inside = argument.parts[0] if turned else argument
    return (inside.parts[0] if inside.kind == "paren" and len(inside.parts) == 1 else inside), turned


def two_variables(below: Sequence[Node]) -> list[Node]:
    r"""The two variables of \nabla^2_{xy}, or of \nabla^2_{\mathbf{ww}}."""
    if len(below) != 1:
        return list(below)
    (only,) = below
    if only.kind == "word" and len(only.text) == 2:
        return [replace(only, kind="letter", text=c) for c in only.text]
    return list(only.parts) if only.kind in ("term", "list") else [only]


def unscripted(node: Node) -> Node:
    """The x of dx^3."""
    return replace(node, parts=node.parts[:-1]) if len(node.parts) > 2 else node.parts[0]


def is_squared(node: Node) -> bool:
    """Whether it is the x^2 of dx^2."""
    if node.kind != "scripted" or node.parts[-1].kind != "sup":
        return False
    return [p.text for p in node.parts[-1].parts[0].parts] == ["2"]


def without_square(node: Node) -> Node:
    """The x of dx^2."""
    return unscripted(node) if is_squared(node) else node


def sign_of(fraction: Node) -> Node:
    r"""The sign that begins the numerator of \frac{\partial L}{\partial W}: \partial, d or one of higher order."""
    inner = fraction.parts[0].parts[0]
    return inner.parts[0] if inner.kind == "term" else inner
