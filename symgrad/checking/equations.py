"""The equations of a derivation: proved by normal forms, else tested exactly, else compared in numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise

from sympy import Add, Expr, Integer, Symbol
from sympy.matrices.expressions.matexpr import MatrixElement

from symgrad.checking.finite_field import FieldTest
from symgrad.checking.induction import LoopProver
from symgrad.checking.layers import a_middle_layer, apart, at_a_general_layer, layer_of
from symgrad.checking.normal_form import PROOF, Prover
from symgrad.checking.numeric import check_equation
from symgrad.checking.parts import with_parts
from symgrad.checking.points import Points
from symgrad.deriving.by_entries import is_by_entries
from symgrad.deriving.steps import Evidence
from symgrad.expr import (
    Differential,
    Gradient,
    Jacobian,
    Loop,
    Model,
    PartialDerivative,
    ScalarDifferential,
    ScalarGradient,
    TensorElement,
    TensorGradient,
    add,
    differential,
    gradient,
    is_leaf,
    leaves,
    substitute,
    walk,
    written_out,
)

__all__ = ["Equations"]

_MANY_TERMS = 4


class Equations:
    """Checks equations over one model, at points that they share.

    `wrt` is the variable whose increment the differentials in them are taken for.
    """

    def __init__(self, model: Model, equations: Iterable[tuple[Expr, ...]], wrt: Expr | None = None) -> None:
        self.model, self.wrt = model, wrt
        self.prover = Prover(model)
        self._loops = LoopProver(model) if model.has_loops else None
        self._at: dict[Symbol, Integer] = {}
        self._terms_by_name: dict[Expr, dict[Expr, set[int]]] = {}
        self._indices = {item.index for item in model.items if isinstance(item, Loop)}
        self._expressions = [e for equation in equations for e in equation if not _is_differential(e)]
        if self._indices:
            self._at = a_middle_layer(model, self._expressions)
            model = model.unrolled({s: int(n) for s, n in self._at.items() if s not in self._indices})
        self._numeric_model = model
        self._by_entries = is_by_entries(model, *self._expressions)
        self._points: Points | None = None
        self._field = FieldTest(self.model, increment=None if wrt is None else (wrt, differential(wrt)))

    def check(
        self,
        equation: tuple[Expr, ...],
        given: Mapping[Expr, Expr],
        earlier: Mapping[Expr, Expr] | None = None,
    ) -> Evidence:
        """The evidence for a chain of equal expressions; in a loop it may rest on all `earlier` equations too.

        In a loop of symbolic length, an equation at a general layer that is not proved is compared at a middle layer
        of a short loop.

        Raises   CheckError if two of them differ
        """
        open_links = [
            (a, b) for a, b in pairwise(equation) if not self._proved(a, b, given, earlier or {}, equation[0])
        ]
        if not open_links:
            return Evidence("proved", PROOF)
        tested = [self._exact(a, b, given, equation[0]) for a, b in open_links]
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

    def _exact(self, a: Expr, b: Expr, given: Mapping[Expr, Expr], about: Expr) -> Evidence | None:
        """By an exact test: as a chain rule whose adjoints may be anything, with the premises put in, or in full."""
        if isinstance(a, PartialDerivative):
            return self._field.partial_equals(a, b)
        if isinstance(a, Gradient | TensorGradient | ScalarGradient) and _is_name(a.args[1]):
            found = self._field.local_gradient_equals(a.args[0], a.args[1], b)
            if found is not None:
                return found
        put = {k: v for k, v in given.items() if k not in (a, b)}
        for left, right in dict.fromkeys(((a, b), (substitute(a, put), substitute(b, put)))):
            found = self._field.equal(left, right, about)
            if found is not None:
                return found
        return None

    def _concrete(self, e: Expr) -> Expr:
        for index in self._indices:
            e = apart(e, index)
        return written_out(e.xreplace(self._at)) if self._indices else e

    def _proved(
        self, a: Expr, b: Expr, given: Mapping[Expr, Expr], earlier: Mapping[Expr, Expr], about: Expr
    ) -> bool:
        if a == b:
            return True
        if isinstance(a, PartialDerivative):
            return self.prover.entry_equals(a, b) is True
        if isinstance(a, Differential | ScalarDifferential) and self.wrt is not None:
            increment = differential(self.wrt)
            return self.prover.differential_equals(a.args[0], self.wrt, increment, b) is True
        if isinstance(a, Jacobian):
            return self._jacobian(a, b)
        if self._loops is not None:
            loops = self._loops
            return any(loops.link(a, b, put, about) for put in (given, {**earlier, **given}))
        if isinstance(a, Gradient | ScalarGradient) and a not in given:
            return self._gradient(a, b, given)
        puts = ({}, dict(given)) if given else ({},)
        return any(
            self.prover.equal(a, b, given=put, by_names=by_names) is True
            for by_names in (True, False)  # with definitions put in only where the names do not decide
            for put in puts
        )

    def _jacobian(self, a: Expr, b: Expr) -> bool:
        f, x = a.args
        if isinstance(f, Gradient | ScalarGradient) and f.args[1] == x:
            return self.prover.hessian_equals(f.args[0], x, b) is True
        if any(isinstance(n, Jacobian | Gradient | ScalarGradient) for n in walk(b)):
            return False
        return self.prover.jacobian_equals(f, x, b) is True

    def _gradient(self, a: Expr, b: Expr, given: Mapping[Expr, Expr]) -> bool:
        """A link that starts from a gradient: by the chain rule, in full, by induction, or at a layer."""
        f, v = a.args
        # What the premises say of parts that have no name is put in; the gradient by a name stands for itself.
        put = {
            k: w
            for k, w in given.items()
            if isinstance(k, Gradient | ScalarGradient) and not _is_name(k.args[1])
        }
        if put and self._through_parts(f, v, b) is True:
            return True
        return self._through_parts(f, v, substitute(b, put) if put else b) or self._in_loops(f, v, b, given)

    def _through_parts(self, f: Expr, v: Expr, b: Expr) -> bool:
        """By the chain rule, parts without a name having one."""
        parts = [n.args[1] for n in walk(b) if isinstance(n, Gradient | ScalarGradient) and n.args[0] == f]
        whole, f = f, self._terms_with(f, (v, *parts))
        if f != whole:
            b = substitute(b, {gradient(whole, p): gradient(f, p) for p in parts})
        split = with_parts(self.model, f, [p for p in (v, *parts) if not _is_name(p)])
        if split is not None:
            prover = Prover(split.model)
            name = v if _is_name(v) else split.names[v]
            return prover.local_gradient_equals(split.function, name, split.renamed(b)) is True
        if not _is_name(v) or any(not _is_name(p) for p in parts):
            return False
        if self.prover.local_gradient_equals(f, v, b) is True:
            return True
        return not parts and self.prover.gradient_equals(f, v, b) is True

    def _terms_with(self, f: Expr, parts: Iterable[Expr]) -> Expr:
        """The terms of a sum that may hold one of the parts: the others do not change with them.

        So the cost of a step is that of its terms, not of all of them. A term may hold a part if it has all its names.
        """
        if not isinstance(f, Add) or len(f.args) < _MANY_TERMS or self.model.items:
            return f
        if f not in self._terms_by_name:
            by_name: dict[Expr, set[int]] = {}
            for i, term in enumerate(f.args):
                for leaf in leaves(term):
                    by_name.setdefault(leaf, set()).add(i)
            self._terms_by_name[f] = by_name
        by_name, wanted = self._terms_by_name[f], set()
        for part in parts:
            places = sorted((by_name.get(leaf, set()) for leaf in leaves(part)), key=len)
            wanted |= places[0].intersection(*places[1:]) if places else set(range(len(f.args)))
        kept = [f.args[i] for i in sorted(wanted)]
        return add(*kept) if kept and len(kept) < len(f.args) else f

    def _in_loops(self, f: Expr, v: Expr, b: Expr, given: Mapping[Expr, Expr]) -> bool:
        """At a layer of a given equation, or by induction."""
        if not self._indices or not _is_name(v):
            return False
        return self._at_a_layer(f, v, b, given) or self._by_induction(f, v, b)

    def _at_a_layer(self, f: Expr, v: Expr, b: Expr, given: Mapping[Expr, Expr]) -> bool:
        """Whether the link is a given equation at one of its layers."""
        for loop in (item for item in self.model.items if isinstance(item, Loop)):
            layer = layer_of(v)
            for left, right in given.items():
                if layer is None or not isinstance(left, Gradient | ScalarGradient) or left.args[0] != f:
                    continue
                inside = (layer - loop.lower + 1).is_nonnegative and (loop.upper - layer).is_nonnegative
                at = {loop.index: layer}
                if inside and layer_of(left.args[1]) == loop.index and left.args[1].xreplace(at) == v:
                    if self.prover.equal(apart(right, loop.index).xreplace(at), b) is True:
                        return True
        return False

    def _by_induction(self, f: Expr, v: Expr, b: Expr) -> bool:
        """The closed form at a general layer, or what it is at the layer of v."""
        for loop in (item for item in self.model.items if isinstance(item, Loop)):
            layer = layer_of(v)
            if layer is None:
                continue
            if layer == loop.index:
                return self.prover.closed_form_equals(f, v, apart(b, loop.index)) is True
            inside = (layer - loop.lower + 1).is_nonnegative and (loop.upper - layer).is_nonnegative
            if not inside or v.has(loop.index) or b.has(loop.index):
                continue
            general = at_a_general_layer(b, layer, loop)
            name = v.func(*(loop.index if a == layer else a for a in v.args))
            name = next(
                (
                    d.symbol
                    for d in loop.body
                    if layer_of(d.symbol) == loop.index and d.symbol.xreplace({loop.index: layer}) == v
                ),
                name,
            )
            if self.prover.equal(general.xreplace({loop.index: layer}), b) is not True:
                continue
            if self.prover.closed_form_equals(f, name, general) is True:
                return True
        return False


def _is_differential(e: Expr) -> bool:
    return any(isinstance(n, Differential | ScalarDifferential) for n in walk(e))


def _is_name(v: Expr) -> bool:
    """A name, or an entry of one."""
    return is_leaf(v) or (isinstance(v, MatrixElement | TensorElement) and is_leaf(v.args[0]))
