r"""What stands above a symbol or a bracket: transposes, inverses and powers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NoReturn

import sympy
from sympy import Expr, Integer, Pow, S

from symgrad.errors import (
    NameUnknownError,
    ReadError,
    ShapeError,
    SymgradError,
    TooLargeError,
    UnsupportedError,
)
from symgrad.expr import (
    inverse,
    is_scalar,
    same_size,
)
from symgrad.reading.latex.marks import Marked, contents
from symgrad.reading.latex.places import Unbound
from symgrad.reading.latex.scope import Scope
from symgrad.reading.latex.tokens import fail_at
from symgrad.reading.latex.tree import Node, same_writing
from symgrad.reading.latex.values import (
    Val,
    applied,
    fits_square,
    is_entrywise,
    lifted,
    mapped,
    raised,
    times,
    turned,
)

__all__ = ["Powers"]


class Powers:
    r"""Reads pieces of a formula by their kind, and what stands above them."""

    is_called: Callable[[Marked], bool] = staticmethod(lambda m: False)
    is_defined: Callable[[Expr], bool] = staticmethod(lambda e: False)
    depends_on: Callable[[Expr, Expr], bool] = staticmethod(lambda e, x: False)
    wrt: Expr | None = None

    def __init__(self, scope: Scope, symbol_of: Callable[[Expr], Expr | None]) -> None:
        self.scope = scope
        self.symbol_of = symbol_of
        self.introduced: list[tuple[Node, Node]] = []

    def fail(
        self,
        kind: type[SymgradError],
        message: str,
        node: Node,
        hint: str | None = None,
        details: tuple[str, ...] = (),
    ) -> NoReturn:
        """Raise an error at a piece."""
        fail_at(kind, message, self.scope.source, node.at, hint, details)

    def locate(self, error: SymgradError, node: Node) -> None:
        """Give an error the position of a piece, unless it has one."""
        before = self.scope.source[: node.at]
        error.located(self.scope.source, before.count("\n") + 1, node.at - (before.rfind("\n") + 1) + 1)

    def read(self, node: Node) -> Val:
        """The value of a tree; errors get the position of the smallest piece that they are about."""
        try:
            for writing, symbol in self.scope.writings:
                if node.kind == writing.kind and same_writing(node, writing):
                    return self.scope.oriented(symbol)
            reader: Callable[[Node], Val] | None = getattr(self, f"_{node.kind}", None)
            if reader is None:
                self.fail(ReadError, f"{self.shown(node)} has no meaning here", node)
            return reader(node)
        except SymgradError as error:
            self.locate(error, node)
            raise

    def shown(self, node: Node) -> str:
        """The source of a piece."""
        text = self.scope.source[node.at : node.end]
        return text if len(text) <= 40 else text[:37] + "..."

    def _with_superscripts(self, value: Val, items: Sequence[Node], node: Node) -> Val:
        """Transposes, inverses and powers, one after the other."""
        for item in items:
            value = self._superscript(value, item, node)
        return value

    def _superscript(self, value: Val, item: Node, node: Node) -> Val:
        scope = self.scope
        if self._is_transpose(item):
            return turned(value)
        if item.kind == "sum" and len(item.parts) == 2 and item.parts[0].text == "-":
            if self._is_transpose(item.parts[1]):
                return turned(self._inverse(value, node))
            if item.parts[1].kind == "number" and item.parts[1].text == "1" and not value.is_scalar:
                return self._inverse(value, node)
        if item.kind in ("top", "prime"):
            return turned(value)
        if item.kind == "entrywise":
            return raised(value, self._exponent(item.parts[-1], node), as_matrix=False)
        if (item.kind == "sign" and item.text == "+") or item.kind == "dagger":
            return self._pseudo_inverse(value, node)
        if item.kind in ("sign", "lone"):
            what = "a conjugate, or the mark of an optimum," if item.kind == "lone" else "this mark"
            self.fail(UnsupportedError, f"{self.shown(node)}: {what} is not read", node)
        if item.kind == "letter" and item.text == "H" and not value.is_scalar and self._is_free("H"):
            self.scope.note(f"{self.shown(node)} is a transpose: everything is real")
            return turned(value)
        if value.expr == sympy.E:
            exponent = self.read(item)
            if not exponent.is_scalar and 1 not in exponent.shape and same_size(*exponent.shape):
                self.fail(UnsupportedError, "the exponential of a square matrix is not read", node,
                          "the exponential entry by entry is \\exp(A)")  # fmt: skip
            return applied("exp", exponent)
        if item.kind == "letter" and item.text == "T" and "T" in scope.layers and not value.is_scalar:
            square = 1 not in value.shape and same_size(*value.shape)
            if not square or scope.choose(("last layer or transpose", node.at), 2) == 0:
                return turned(value)  # there is no W at layer T
            return raised(value, Integer(scope.layers["T"]), as_matrix=True)
        if item.kind == "letter" and item.text in scope.layers:
            self.fail(
                NameUnknownError, f"{self.shown(node)} is not known at layer {scope.layers[item.text]}", node
            )
        if (
            item.kind == "letter"
            and item.text in scope.layer_letters()
            and scope.names.get(item.text) is None
        ):
            scope.note(f"the mark {item.text} in {self.shown(node)} is that of the layer")
            return value
        if item.kind == "paren":
            raise_from = scope.open_letter([item])
            if raise_from is not None:
                raise Unbound(raise_from.text, raise_from)
            self.fail(
                NameUnknownError,
                f"{self.shown(node)} is not known",
                node,
                "a mark in brackets is a layer or a sample",
            )
        exponent = self._exponent(item, node)
        if item.kind == "letter" and not value.is_scalar and self.is_defined(exponent):
            raise Unbound(item.text, item)  # a^L where L is the loss: a layer, and no power
        base = value.expr
        if base.is_Rational and exponent.is_Integer:
            if (base.p.bit_length() + base.q.bit_length()) * abs(exponent) > 4000:
                self.fail(TooLargeError, "the power is a very long number", node)
        as_matrix = False
        if not value.is_scalar and 1 not in value.shape and same_size(*value.shape):
            as_matrix = True
            if exponent.is_Number and not exponent.is_Integer:
                self.fail(UnsupportedError, "a fractional power of a matrix is not read", node)
            if exponent == 2 and is_entrywise(value):
                as_matrix = scope.choose(("power", node.at), 2) == 0
        return raised(value, exponent, as_matrix=as_matrix)

    def _is_free(self, letter: str) -> bool:
        """Whether a letter stands for nothing."""
        scope = self.scope
        return not any(letter in known for known in (scope.names, scope.sizes, scope.layers, scope.indices))

    def _pseudo_inverse(self, value: Val, node: Node) -> Val:
        r"""A^+, A^\dagger: by the inverse, where the rank is known."""
        value = lifted(value)
        if value.is_scalar or value.axes is not None:
            self.fail(UnsupportedError, f"{self.shown(node)}: a pseudo-inverse of a {value.text}", node)
        a = value.expr
        words = self.scope.assumptions.get(str(a), frozenset())
        turned_a = turned(value)
        fresh = self.scope.fresh
        if words & {"invertible", "positive_definite", "orthogonal"}:
            return self._inverse(value, node)
        if "full_column_rank" in words:
            self.scope.note(f"{self.shown(node)} is the pseudo-inverse")
            return times(self._inverse(times(turned_a, value, fresh), node), turned_a, fresh)
        if "full_row_rank" in words:
            self.scope.note(f"{self.shown(node)} is the pseudo-inverse")
            return times(turned_a, self._inverse(times(value, turned_a, fresh), node), fresh)
        self.fail(
            UnsupportedError, f"{self.shown(node)}: a pseudo-inverse is read where the rank is known", node,
            "assume full_column_rank or full_row_rank",
        )  # fmt: skip

    def _is_transpose(self, item: Node) -> bool:
        while item.kind in ("group",) and len(item.parts) == 1:
            item = item.parts[0]
        if item.kind == "top":
            return True
        if item.kind != "letter" or item.text not in ("T", "t"):
            return False
        if item.mark == "top":
            return True
        if item.text in self.scope.layers or item.text in self.scope.indices:
            return False
        return item.text == "T" and not is_scalar(self.scope.names.get("T", S.EmptySet))

    def unturned(self, node: Node) -> Node:
        r"""The x of \partial x^\top."""
        if node.kind != "scripted":
            return node
        kept = [
            s
            for s in node.parts[1:]
            if s.kind != "sup"
            or not all(i.kind == "prime" or self._is_transpose(i) for i in contents(s.parts[0]))
        ]
        return replace(node, parts=(node.parts[0], *kept)) if kept else node.parts[0]

    def _exponent(self, item: Node, node: Node) -> Expr:
        try:
            value = self.read(item)
        except NameUnknownError:
            letter = self.scope.open_letter([item])
            if letter is not None:
                raise Unbound(letter.text, letter) from None
            raise
        if not value.is_scalar:
            self.fail(ShapeError, f"the exponent is a {value.text}", node, "it must be a scalar")
        e = value.expr
        if e.is_Number and abs(e) > 1000:
            self.fail(TooLargeError, "the exponent is beyond 1000", node)
        if e.is_number and not e.is_Number:
            e = sympy.nsimplify(e) if e.is_Rational else e
        return e

    def _inverse(self, value: Val, node: Node) -> Val:
        if value.is_scalar:
            return Val(Pow(value.expr, -1))
        if not fits_square(value):
            self.fail(ShapeError, f"the inverse of a {value.text}", node, "a square matrix is needed")
        return mapped(value, inverse)
