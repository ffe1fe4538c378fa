"""The driver: rewrite bottom-up until nothing becomes shorter.

Every accepted rewrite makes the expression shorter, or leaves its length and moves it forward in a fixed
order (fewer transposes, then the alphabet), so the loop ends and a simplified expression stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sympy import Add, Expr, Mul, Pow, S
from sympy.core.parameters import distribute
from sympy.core.symbol import Str
from sympy.matrices.expressions.hadamard import HadamardProduct
from sympy.matrices.expressions.inverse import Inverse
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.special import Identity
from sympy.matrices.expressions.transpose import Transpose

from symgrad.expr import (
    AsScalar,
    Assumptions,
    EntrySum,
    Gradient,
    Model,
    ScalarGradient,
    add,
    as_scalar,
    eye,
    hadamard,
    is_column,
    is_leaf,
    is_matrix,
    leaf_name,
    matmul,
    negate,
    rebuild,
    scale,
    split_scale,
    transpose,
    walk,
)
from symgrad.simplifying.centring import columns_sum_to_zero
from symgrad.simplifying.cost import Cost
from symgrad.simplifying.expand import expanded
from symgrad.simplifying.properties import Properties
from symgrad.simplifying.table import factors_of, rewrites_for, turned

__all__ = ["Simplification", "Simplifier"]

_LAST = 1_000_000


@dataclass(frozen=True)
class Simplification:
    """One accepted rewrite: its name, the node before and after."""

    rewrite: str
    before: Expr
    after: Expr


@dataclass
class Simplifier:
    """Brings expressions to textbook form under assumptions; remembers what it has simplified.

    `applied` lists the rewrites in the order in which they were made. With `only`, just the rewrites of these
    names are made, whether they shorten or not; they must come to an end by themselves. `order` ranks names: the
    terms of a sum stand in the order in which the question speaks of them; its own sums, `kept`, stay as they are.

    >>> from symgrad.expr import matrix, transpose
    >>> A = matrix("A", "n", "n")
    >>> Simplifier({"A": frozenset({"symmetric"})})(add(A, transpose(A)))
    2*A
    """

    assumptions: Assumptions = field(default_factory=dict)
    only: frozenset[str] | None = None
    order: Mapping[str, int] = field(default_factory=dict)
    kept: frozenset[Expr] = frozenset()
    applied: list[Simplification] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.properties = Properties(self.assumptions)
        self._cost = Cost(self.kept)
        self._done: dict[Expr, Expr] = {}
        self._places: dict[Expr, tuple[int, int, int]] = {}
        self._spoken = {frozenset(n.args): n for n in self.kept if isinstance(n, MatAdd)}

    @classmethod
    def for_question(cls, model: Model, *asked: Expr, free: Expr | None = None) -> Simplifier:
        """The simplifier for answers to a question about expressions over a model.

        Nothing is learnt of `free`, a name whose value is going to change.
        """
        names = re.findall(r"[^\W\d]\w*", model.source) or list(model.symbols)
        order = {name: i for i, name in reversed(list(enumerate(names)))}
        spoken = (*asked, *(d.value for d in model.definitions()))
        kept = frozenset(n for e in spoken for n in walk(e) if isinstance(n, MatAdd | HadamardProduct))
        tidy = cls(model.assumptions, order=order, kept=kept)
        for d in model.definitions():
            if not is_matrix(d.symbol) or d.symbol == free:
                continue
            tidy.properties.learn(d.symbol, d.value)
            if isinstance(d.value, MatAdd) and columns_sum_to_zero(d.value, tidy.properties):
                tidy.properties.centred.add(d.symbol)
        return tidy

    def __call__(self, e: Expr) -> Expr:
        """The textbook form."""
        done = self._done
        stack = [e]
        while stack:
            node = stack[-1]
            if node in done:
                stack.pop()
            elif is_leaf(node) or not node.args or isinstance(node, Str | Gradient | ScalarGradient):
                done[node] = node  # an adjoint is known by its function as it stands
                stack.pop()
            else:
                waiting = [a for a in node.args if a not in done]
                if waiting:
                    stack.extend(waiting)
                    continue
                stack.pop()
                args = tuple(done[a] for a in node.args)
                rebuilt = node if args == node.args else rebuild(node, args)
                # Where the constructor made something else of it, as x^T A y, a scalar, of a product, its parts are new.
                done[node] = self._settle(rebuilt) if type(rebuilt) is type(node) else self(rebuilt)
        return done[e]

    def shortest(self, e: Expr) -> Expr:
        """The shorter of the textbook forms of an expression and of its expansion into a sum of products."""
        form = self(e)
        for _ in range(3):
            spread = dict.fromkeys(expanded(form, self.properties, scalars=s) for s in (False, True))
            candidates = [self(s) for s in spread if s is not None]
            best = min(candidates, key=lambda c: self._cost(c) + self._lost(form, c), default=form)
            if self._cost(best) + self._lost(form, best) >= self._cost(form):
                break
            form = best
        return form

    def _lost(self, form: Expr, other: Expr) -> int:
        """How many of the question's own sums are in a form and not in another one."""
        return len(self._own_sums(form) - self._own_sums(other))

    def _own_sums(self, e: Expr) -> set[Expr]:
        return {n for n in walk(e) if isinstance(n, MatAdd) and n in self.kept} if self.kept else set()

    def textbook(self, e: Expr) -> Expr:
        """The shortest form, as the last line of a derivation has it.

        -(A - B) is B - A, and 2 (P + c Q) is 2 P + 2 c Q: a number goes to the terms where one of them has a
        coefficient of its own.
        """
        form = self.shortest(e)
        c, rest = split_scale(form) if is_matrix(form) else (form, S.One)
        if c is S.NegativeOne and (flipped := _difference_turned(rest)) is not None:
            return flipped
        if (turned_scalar := _scalar_turned(c)) is not None:
            return turned_scalar if rest is S.One else scale(turned_scalar, rest)
        if not isinstance(rest, MatAdd):
            return scale(c, _congruent(rest)) if isinstance(rest, MatMul) else form
        own = [split_scale(t)[0] for t in rest.args]
        if c is S.NegativeOne and any(d.could_extract_minus_sign() for d in own):
            return add(*(negate(t) for t in rest.args))
        if c.is_Integer and any(
            not all(s.is_integer for s in d.free_symbols)
            and all(a.is_Symbol or a.is_Number for a in _atoms(d))
            for d in own
        ):
            return add(*(scale(c, t) for t in rest.args))
        return form

    def length(self, e: Expr) -> int:
        """The number of operations."""
        return self._cost(e)

    def _settle(self, node: Expr) -> Expr:
        """Apply rewrites at the top of a node whose parts are simplified."""
        if node in self._done:
            return self._done[node]
        arranged = self._arranged(node)
        for entry in rewrites_for(arranged):
            if self.only is not None and entry.name not in self.only:
                continue
            candidate = entry.apply(arranged, self.properties)
            if candidate is not None and (self.only is not None or self._is_before(candidate, arranged)):
                self.applied.append(Simplification(entry.name, arranged, candidate))
                self._done[node] = self(candidate)
                return self._done[node]
        self._done[node] = self._done[arranged] = arranged
        return arranged

    def _is_before(self, a: Expr, b: Expr) -> bool:
        """Whether `a` is shorter than `b`, or as long and earlier in the order."""
        if a == b or (isinstance(a, AsScalar) and self._arranged(a) != a):
            return False
        cost_a, cost_b = self._cost(a), self._cost(b)
        if cost_a != cost_b:
            return cost_a < cost_b
        rank_a, rank_b = _rank(a), _rank(b)
        return rank_a < rank_b if rank_a != rank_b else str(a) < str(b)

    def _arranged(self, node: Expr) -> Expr:
        """The terms and entrywise factors in the order of the question, its own sums and products as they are."""
        if self.only is not None or node in self.kept:
            return node
        if isinstance(node, MatAdd):
            for terms, sign in ((node.args, S.One), (tuple(negate(t) for t in node.args), S.NegativeOne)):
                said = self._spoken.get(frozenset(terms))
                if said is not None and len(said.args) == len(terms):
                    return scale(sign, said)
            terms = sorted(node.args, key=self._place) if self.order else node.args
            return node if tuple(terms) == node.args else add(*terms)
        if isinstance(node, AsScalar) and isinstance(node.arg, MatMul):
            first, last = node.arg.args[0], node.arg.args[-1]
            if (
                isinstance(first, Transpose)
                and self._is_increment(first.arg)
                and not self._is_increment(last)
            ):
                return as_scalar(turned(node.arg, self.properties))  # x^T A dx
            return node
        if isinstance(node, HadamardProduct):
            names = all(is_leaf(f) for f in node.args)
            if names:
                factors = sorted(node.args, key=self._name_place)
            elif len(node.args) == 2 and self.order:  # a name first, as in y * sigmoid(z)
                factors = sorted(
                    node.args,
                    key=lambda f: (self._is_increment(f), not (is_leaf(f) or isinstance(f, Gradient))),
                )
            else:
                factors = sorted(node.args, key=lambda f: (self._is_increment(f), node.args.index(f)))
            return node if tuple(factors) == node.args else hadamard(*factors)
        return node

    def _place(self, term: Expr) -> tuple[int, int, int]:
        """Where the question first speaks of what is in a term; fewer transposes, then more names go first."""
        if term not in self._places:
            names = [leaf_name(n) for n in walk(term) if is_leaf(n)]
            first = min((self.order.get(n, _LAST - 1) for n in names), default=_LAST)
            if isinstance(term, Identity):
                first = -1  # I + A
            self._places[term] = first, _rank(term)[1], -len(names)
        return self._places[term]

    def _name_place(self, name: Expr) -> tuple[int, int]:
        """The names in a product entry by entry, as the question has them, an increment last."""
        return int(self._is_increment(name)), self.order.get(leaf_name(name), _LAST)

    def _is_increment(self, e: Expr) -> bool:
        """Whether it is the increment dx of a name x."""
        return is_leaf(e) and (name := leaf_name(e)) not in self.order and name[1:] in self.order


def _difference_turned(product: Expr) -> Expr | None:
    """A product with one of its differences turned round: A^T (b - A x) as A^T (A x - b), which saves a sign."""
    if isinstance(product, MatAdd) and len(product.args) == 2:
        if sum(split_scale(t)[0].could_extract_minus_sign() for t in product.args) == 1:
            return add(*(negate(t) for t in product.args[::-1]))
        return None
    if isinstance(product, Transpose) and (inside := _difference_turned(product.arg)) is not None:
        return transpose(inside)
    if isinstance(product, MatMul | HadamardProduct):
        make = matmul if isinstance(product, MatMul) else hadamard
        for i, f in enumerate(product.args):
            if (inside := _difference_turned(f)) is not None:
                return make(*product.args[:i], inside, *product.args[i + 1 :])
    return None


def _congruent(product: MatMul) -> Expr:
    """A^T (A - B A) as A^T (I - B) A."""
    first, last = product.args[0], product.args[-1]
    if len(product.args) != 2 or not isinstance(last, MatAdd):
        return product
    inside = []
    for c, factors in map(factors_of, last.args):
        if factors[-1] != transpose(first):
            return product
        inside.append(matmul(c, *factors[:-1], eye(first.shape[1])))
    return matmul(first, add(*inside), transpose(first))


def _scalar_turned(c: Expr) -> Expr | None:
    """A negative product with one of its differences turned round: -(p - y) (1 - p) as (y - p) (1 - p).

    1 - p stays as it is, unless only divisors stand beside it: -(1 - u / s) / s is (u / s - 1) / s.
    """
    number, factor = c.as_coeff_Mul()
    if number is not S.NegativeOne:
        return None
    factors = Mul.make_args(factor)
    above = [f for f in factors if not (isinstance(f, Pow) and f.args[1].could_extract_minus_sign())]
    for f in factors:
        if not (
            isinstance(f, Add) and sum(t.could_extract_minus_sign() for t in f.args) == len(f.args) - 1 == 1
        ):
            continue
        if not f.as_coeff_Add()[0] or (len(above) == 1 and any(t.as_numer_denom()[1] != 1 for t in f.args)):
            with distribute(False):
                return Mul(Add(*(-t for t in f.args)), *(g for g in factors if g != f))
    return None


def _atoms(coefficient: Expr) -> Iterable[Expr]:
    """The factors of a coefficient, without their exponents."""
    return [f.as_base_exp()[0] for f in Mul.make_args(coefficient)]


def _rank(e: Expr) -> tuple[int, int, int]:
    """How many leaves, transposes and turned products are printed; transposes of products and of rows count more."""
    transposes = leaves = products = 0
    stack: list[Iterable[Expr]] = [(e,)]
    while stack:
        for node in stack.pop():
            if is_leaf(node):
                leaves += 1
                continue
            transposes += isinstance(node, EntrySum) and isinstance(
                node.arg, HadamardProduct
            )  # a trace rather
            if isinstance(node, Transpose) and is_column(node.arg):
                products += isinstance(node.arg, MatMul)  # x^T A y rather than (A y)^T x
            elif isinstance(node, Transpose):
                transposes += (
                    1
                    if is_leaf(node.arg) or isinstance(node.arg, Inverse)
                    else 2
                    if node.arg.shape[0] != 1
                    else 3
                )
            stack.append(a for a in node.args if isinstance(a, Expr))
    return leaves, transposes, products
