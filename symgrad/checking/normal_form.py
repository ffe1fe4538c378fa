"""Proof: two expressions are equal if their index forms are.

A gradient is proved by deriving it once more, in index form: product rule over the factors of a network, chain
rule through functions. `True` is a proof under the declared assumptions, wherever both sides are defined; `None`
says that this method does not decide. It never says that something is false.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import sympy
from sympy import Expr, Indexed

from symgrad.checking.budget import OutOfTime
from symgrad.checking.canonical import NotDecided
from symgrad.checking.index_form import ONE, Index, IndexForms, Terms
from symgrad.expr import (
    Definition,
    Gradient,
    Loop,
    Member,
    Model,
    ScalarGradient,
    gradient,
    is_matrix,
    leaf_name,
    leaves,
    same_size,
    shape_of,
    substitute,
    walk,
)

__all__ = ["PROOF", "Prover", "fits", "jacobian_shape"]

PROOF = "equal normal forms"

_Both = Callable[[IndexForms], tuple[Terms, Terms]]

_ROUNDS = 5


class Prover:
    """Proves equations over one model.

    >>> from symgrad.expr import matmul, matrix, trace, transpose
    >>> A, B = matrix("A", "m", "n"), matrix("B", "m", "n")
    >>> Prover(Model(())).equal(trace(matmul(transpose(A), B)), trace(matmul(transpose(B), A)))
    True
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self._values: dict[Expr, Expr] = {}
        if not model.has_loops:
            self._values = {d.symbol: d.value for d in model.definitions()}

    def equal(self, a: Expr, b: Expr, given: Mapping[Expr, Expr] | None = None) -> bool | None:
        """Whether two expressions are equal; `given` equations are put in, left side by right side."""
        if given:
            a, b = substitute(a, given), substitute(b, given)
        if not fits(a, shape_of(b)):
            return None

        def both(forms: IndexForms) -> tuple[Terms, Terms]:
            return self._terms(forms, a), self._terms(forms, b)

        # Names as they stand first: what is equal for all their values is equal for theirs, however deep the model.
        return self._decided(both, folded=True) or self._decided(both)

    def gradient_equals(self, f: Expr, x: Expr, answer: Expr) -> bool | None:
        """Whether the answer, in the shape of x, is the gradient of the scalar f; x is kept apart if it is defined."""
        if self.model.has_loops or not fits(answer, shape_of(x)):
            return None

        def both(forms: IndexForms) -> tuple[Terms, Terms]:
            place = _free(x)
            return forms.derivative(forms.reduced(forms.scalar(f)), x, *place), self._terms(forms, answer)

        return self._decided(both, keep=x)

    def jacobian_equals(self, f: Expr, x: Expr, answer: Expr) -> bool | None:
        """Whether the answer is J[i, j] = d f_i / d x_j; by a scalar it has the shape of f."""
        if self.model.has_loops or not fits(answer, jacobian_shape(f, x)):
            return None

        def both(forms: IndexForms) -> tuple[Terms, Terms]:
            f_place = _free(f)
            used = sum(i is not None for i in f_place)
            x_place = _free(x, used)
            value = forms.matrix(f, *f_place) if is_matrix(f) else forms.scalar(f)
            derived = forms.derivative(forms.reduced(value), x, *x_place)
            if sum(i is not None for i in (*f_place, *x_place)) > 2:
                raise NotDecided("more than two indices")
            return derived, self._terms(forms, answer)

        return self._decided(both, keep=x)

    def hessian_equals(self, f: Expr, x: Expr, answer: Expr) -> bool | None:
        """Whether the answer is H[i, j] = d^2 f / (d x_i d x_j) for a vector x."""
        if self.model.has_loops:
            return None

        def both(forms: IndexForms) -> tuple[Terms, Terms]:
            first = forms.reduced(forms.derivative(forms.reduced(forms.scalar(f)), x, 0, None))
            return forms.derivative(first, x, 1, None), self._terms(forms, answer)

        if not is_matrix(x) or x.shape[1] != 1 or not fits(answer, (x.shape[0], x.shape[0])):
            return None
        return self._decided(both, keep=x)

    def differential_equals(self, f: Expr, x: Expr, dx: Expr, answer: Expr) -> bool | None:
        """Whether the answer is the differential of f for the increment dx of x."""
        if self.model.has_loops or not fits(answer, shape_of(f)):
            return None

        def both(forms: IndexForms) -> tuple[Terms, Terms]:
            place = _free(f)
            value = forms.matrix(f, *place) if is_matrix(f) else forms.scalar(f)
            i, j = (forms.fresh(s) for s in x.shape) if is_matrix(x) else (None, None)
            derived = forms.derivative(forms.reduced(value), x, i, j)
            increment = forms.matrix(dx, i, j) if is_matrix(dx) else forms.scalar(dx)
            return forms.over(forms.times(derived, increment), i, j), self._terms(forms, answer)

        return self._decided(both, keep=x)

    def local_gradient_equals(
        self, f: Expr, v: Expr, answer: Expr, users: list[Definition] | None = None
    ) -> bool | None:
        """Whether the chain rule for one name holds, the gradients by what uses it being taken as they are.

        df/dv is the sum over the definitions c = g(.. v ..) of df/dc contracted with dg/dv. `users` are those
        definitions where v stands for a part of them.
        """
        if users is None:
            users = self._users(v) if fits(answer, shape_of(v)) else None
        if users is None or not fits(answer, shape_of(v)) or (not users and v not in leaves(f)):
            return None
        used = users

        def left(forms: IndexForms) -> Terms:
            place = _free(v)
            total: Terms = []
            if f not in {d.symbol for d in used} and v in leaves(f) and f != v:
                total += forms.derivative(forms.reduced(forms.scalar(f)), v, *place)
            for d in used:
                total += self._through(forms, f, d, v, place)
            return total

        if self._decided(lambda forms: (left(forms), self._terms(forms, answer)), folded=True) is True:
            return True
        # The answer may be written with the name of what was derived, as in tanh' = 1 - a^2 with a = tanh(z). The left
        # side is free of such a name only if no definition uses another one of them.
        names = {d.symbol for d in used}
        if self.model.has_loops or any(names & set(leaves(d.value)) for d in used):
            return None
        atoms = {n: n for n in walk(answer) if isinstance(n, Gradient | ScalarGradient)}
        unfolded = substitute(answer, {**{d.symbol: d.value for d in used}, **atoms})
        return self._decided(lambda forms: (left(forms), self._terms(forms, unfolded)), folded=True)

    # --- parts ----------------------------------------------------------------------------------------

    def _through(
        self, forms: IndexForms, f: Expr, d: Definition, v: Expr, place: tuple[Index, Index]
    ) -> Terms:
        """df/dc contracted with dg/dv for a definition c = g."""
        if is_matrix(d.symbol):
            i, j = (forms.fresh(s) for s in d.symbol.shape)
            value = forms.matrix(d.value, i, j)
            upstream = forms.matrix(gradient(f, d.symbol), i, j)
        else:
            i = j = None
            value = forms.scalar(d.value)
            upstream = ONE if d.symbol == f else forms.scalar(gradient(f, d.symbol))
        local = forms.derivative(forms.reduced(value), v, *place)
        return forms.over(forms.times(upstream, local), i, j)

    def _users(self, v: Expr) -> list[Definition] | None:
        """The definitions that use a name directly, at the layer where they do; None if that is not settled."""
        users: list[Definition] = []
        for item in self.model.items:
            if isinstance(item, Definition):
                if v in leaves(item.value):
                    users.append(item)
                continue
            found = _users_in_loop(item, v)
            if found is None:
                return None
            users += found
        return users

    def _terms(self, forms: IndexForms, e: Expr) -> Terms:
        return forms.matrix(e, *_free(e)) if is_matrix(e) else forms.scalar(e)

    def _decided(self, both: _Both, keep: Expr | None = None, folded: bool = False) -> bool | None:
        """True if both sides have the same form, also after multiplying by common denominators."""
        values = {} if folded else {s: v for s, v in self._values.items() if s != keep}
        forms = IndexForms(self.model.assumptions, values.get)
        try:
            left, right = both(forms)
            difference = forms.reduced(left + forms.scaled(right, -1))
            for _ in range(_ROUNDS):
                if not difference:
                    return True
                cleared = _cleared(forms, difference)
                if cleared is None:
                    return None
                difference = forms.reduced(cleared)
            return None
        except OutOfTime:
            raise
        except (NotDecided, RecursionError, ValueError, OverflowError):
            return None


def fits(e: Expr, shape: tuple[Expr, ...]) -> bool:
    """Whether an expression has a shape (1 x 1 is a scalar); two zeros of different shapes would have the same form."""
    own, other = (() if s == (1, 1) else s for s in (shape_of(e), shape))
    return len(own) == len(other) and all(same_size(a, b) for a, b in zip(own, other, strict=True))


def jacobian_shape(f: Expr, x: Expr) -> tuple[Expr, ...]:
    """The shape of J[i, j] = d vec(f)_i / d vec(x)_j; by a scalar it is that of f."""
    return shape_of(f) if not is_matrix(x) else tuple(sympy.Mul(*shape_of(e)) for e in (f, x))


def _free(e: Expr, start: int = 0) -> tuple[Index, Index]:
    """Free indices for the sides of a matrix that are longer than one."""
    if not is_matrix(e):
        return None, None
    rows = None if e.shape[0] == 1 else start
    cols = None if e.shape[1] == 1 else start + (rows is not None)
    return rows, cols


def _cleared(forms: IndexForms, terms: Terms) -> Terms | None:
    """The terms times a denominator that stands at free indices; None if there is none left."""
    for t in terms:
        for h, idx, e in t.factors:
            if (
                forms.heads[h].kind == "power_of"
                and isinstance(e, int)
                and e < 0
                and all(i >= 0 for i in idx)
            ):
                return forms.times(terms, forms.factor(h, idx, -e))
    return None


def _users_in_loop(loop: Loop, v: Expr) -> list[Definition] | None:
    """The definitions of a loop that use a name: at which layer follows from the name's index."""
    users: list[Definition] = []
    for d in loop.body:
        for leaf in leaves(d.value):
            if leaf == v and not _index(leaf):
                return None  # a parameter that all layers share
            if type(leaf) is not type(v) or leaf_name(leaf) != leaf_name(v) or _index(leaf) is None:
                continue
            shift = sympy.expand(_index(leaf) - loop.index)
            if shift.free_symbols:
                return None
            layer = sympy.expand(_index(v) - shift)
            if sympy.expand(loop.upper - layer).is_negative or sympy.expand(layer - loop.lower).is_negative:
                continue
            at = {loop.index: layer}
            users.append(Definition(d.symbol.xreplace(at), d.value.xreplace(at), d.line))
    unique: list[Definition] = []
    for d in users:
        if d not in unique:
            unique.append(d)
    return unique


def _index(leaf: Expr) -> Expr | None:
    if isinstance(leaf, Member):
        return leaf.index
    return leaf.indices[0] if isinstance(leaf, Indexed) else None
