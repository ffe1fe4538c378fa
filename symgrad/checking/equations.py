"""The equations of a derivation: proved by normal forms, else tested exactly, else compared in numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise

from sympy import Expr, Integer, Symbol
from sympy.matrices.expressions.matmul import MatMul

from symgrad.checking.finite_field import FieldTest
from symgrad.checking.layers import a_middle_layer, apart
from symgrad.checking.normal_form import PROOF, Prover
from symgrad.checking.numeric import Points, check_equation
from symgrad.deriving.by_entries import is_by_entries
from symgrad.deriving.steps import Evidence
from symgrad.expr import (
    Definition,
    Differential,
    Gradient,
    Loop,
    Model,
    PartialDerivative,
    ScalarDifferential,
    ScalarGradient,
    differential,
    is_leaf,
    is_matrix,
    matmul,
    matrix,
    scalar,
    substitute,
    walk,
    written_out,
)

__all__ = ["Equations"]


class Equations:
    """Checks equations over one model, at points that they share.

    `wrt` is the variable whose increment the differentials in them are taken for.
    """

    def __init__(self, model: Model, equations: Iterable[tuple[Expr, ...]], wrt: Expr | None = None) -> None:
        self.model, self.wrt = model, wrt
        self.prover = Prover(model)
        self._at: dict[Symbol, Integer] = {}
        self._indices = {item.index for item in model.items if isinstance(item, Loop)}
        self._expressions = [e for equation in equations for e in equation if not _is_differential(e)]
        if self._indices:
            self._at = a_middle_layer(model, self._expressions)
            model = model.unrolled({s: int(n) for s, n in self._at.items() if s not in self._indices})
        self._numeric_model = model
        self._by_entries = is_by_entries(model, *self._expressions)
        self._points: Points | None = None
        self._field = FieldTest(self.model, increment=None if wrt is None else (wrt, differential(wrt)))

    def check(self, equation: tuple[Expr, ...], given: Mapping[Expr, Expr]) -> Evidence:
        """The evidence for a chain of equal expressions.

        In a loop of symbolic length, an equation at a general layer that is not proved is compared at a middle layer
        of a short loop.

        Raises   CheckError if two of them differ
        """
        open_links = [(a, b) for a, b in pairwise(equation) if not self._proved(a, b, given)]
        if not open_links:
            return Evidence("proved", PROOF)
        tested = [self._field.equal(a, b) for a, b in open_links]
        exact = [e for e in tested if e is not None]
        if len(exact) == len(open_links):
            return max(exact, key=lambda e: e.error_bound or 0.0)
        sides = [self._concrete(e) for e in equation if not _is_differential(e)]
        if len(sides) < 2:
            return Evidence("none", "a differential")
        if self._points is None:
            self._points = Points(self._numeric_model, [self._concrete(e) for e in self._expressions])
        count = 1 if self._by_entries else 3  # arrays of many entries: one point compares enough of them
        return check_equation(self._numeric_model, sides, count=count, points=self._points)

    def _concrete(self, e: Expr) -> Expr:
        for index in self._indices:
            e = apart(e, index)
        return written_out(e.xreplace(self._at)) if self._indices else e

    def _proved(self, a: Expr, b: Expr, given: Mapping[Expr, Expr]) -> bool:
        if a == b:
            return True
        if isinstance(a, PartialDerivative) and a.fixed:
            return False
        if isinstance(a, Differential | ScalarDifferential) and self.wrt is not None:
            increment = differential(self.wrt)
            return self.prover.differential_equals(a.args[0], self.wrt, increment, b) is True
        # What the premises say of parts that have no name is put in; the gradient by a name stands for itself.
        parts = {
            k: w
            for k, w in given.items()
            if isinstance(k, Gradient | ScalarGradient) and not is_leaf(k.args[1])
        }
        if parts:
            b = substitute(b, parts)
        if isinstance(a, Gradient | ScalarGradient) and a not in given:
            f, v = a.args
            if not is_leaf(v):
                users = self._users_of_part(v)
                f, part, b = _named(f, v, b)
                if users and self.prover.local_gradient_equals(f, part, b, users) is True:
                    return True
                v = part
                if any(isinstance(n, Gradient | ScalarGradient) for n in walk(b)):
                    return False
                return self.prover.gradient_equals(f, v, b) is True
            if self.prover.local_gradient_equals(f, v, b) is True:
                return True
            if not any(isinstance(n, Gradient | ScalarGradient) for n in walk(b)):
                return self.prover.gradient_equals(f, v, b) is True
            return False
        if parts:
            a = substitute(a, parts)
        return self.prover.equal(a, b) is True or self.prover.equal(a, b, given=dict(given)) is True

    def _users_of_part(self, part: Expr) -> list[Definition]:
        """The definitions that hold a part, with the symbol for it in its place."""
        if self._indices:
            return []
        found = []
        for d in self.model.definitions():
            if part in walk(d.value) or (isinstance(part, MatMul) and d.value.has(*part.args[:1])):
                value = _named(d.value, part, d.value)[0]
                if value != d.value:
                    found.append(Definition(d.symbol, value, d.line))
        return found


def _is_differential(e: Expr) -> bool:
    return any(isinstance(n, Differential | ScalarDifferential) for n in walk(e))


def _named(f: Expr, part: Expr, value: Expr) -> tuple[Expr, Expr, Expr]:
    """The function, the part and the value with a fresh symbol for the part, also where it is part of a product."""
    name = "part_"
    symbol = matrix(name, *part.shape) if is_matrix(part) else scalar(name)
    value = substitute(value, {part: symbol})
    if isinstance(part, MatMul):
        value = substitute(value, _with_part(value, part, symbol))
        f = substitute(f, _with_part(f, part, symbol))
    return substitute(f, {part: symbol}), symbol, value


def _with_part(e: Expr, part: Expr, symbol: Expr) -> dict[Expr, Expr]:
    """Products that hold the factors of another product in a row, with a symbol for those."""
    found: dict[Expr, Expr] = {}
    width = len(part.args)
    for node in walk(e):
        if isinstance(node, MatMul):
            for at in range(len(node.args) - width + 1):
                if node.args[at : at + width] == part.args:
                    found[node] = matmul(*node.args[:at], symbol, *node.args[at + width :])
                    break
    return found
