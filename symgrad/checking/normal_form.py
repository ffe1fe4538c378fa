"""Proof: two expressions are equal if their index forms are.

A gradient is proved by deriving it once more, in index form: product rule over the factors of a network, chain
rule through functions. `True` is a proof under the declared assumptions, wherever both sides are defined; `None`
says that this method does not decide. It never says that something is false.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import partial

import sympy
from sympy import Expr, Indexed, KroneckerDelta, Symbol
from sympy.matrices.expressions.matexpr import MatrixElement

from symgrad.checking.budget import OutOfTime
from symgrad.checking.canonical import NotDecided
from symgrad.checking.index_derivatives import Place
from symgrad.checking.index_form import ONE, IndexForms, Terms
from symgrad.checking.networks import flat
from symgrad.expr import (
    Definition,
    Gradient,
    InRange,
    Loop,
    Member,
    Model,
    PartialDerivative,
    ScalarGradient,
    TensorElement,
    TensorGradient,
    gradient,
    is_leaf,
    is_matrix,
    is_tensor,
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

_ENTRY = MatrixElement | TensorElement
_GRADIENT = Gradient | ScalarGradient | TensorGradient
_ROUNDS = 5
_DEEPEST = 10
_LONGEST = 2000


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
        names = {*self._values, *(n for v in self._values.values() for n in leaves(v))}
        self._sizes = frozenset(n for e in names for n in shape_of(e))

    def equal(
        self, a: Expr, b: Expr, given: Mapping[Expr, Expr] | None = None, *, by_names: bool = False
    ) -> bool | None:
        """Whether two expressions are equal; `given` equations are put in, left side by right side.

        Index symbols, as in Z[i, k], stand for any value of theirs. With `by_names`, names are not replaced by their
        definitions, which in a deep model can be long.
        """
        given = given or {}
        for _ in range(_ROUNDS if given else 0):
            before = a, b
            a, b = substitute(a, given), substitute(b, given)
            if (a, b) == before or _length(a) + _length(b) > _LONGEST:
                break
        if not fits(a, shape_of(b)):
            return None

        def both(forms: IndexForms) -> tuple[Terms, Terms]:
            place = forms.free_sides(a, b, start=len(indices))
            return forms.array(a, *place), forms.array(b, *place)

        # Names as they stand first: what is equal for all their values is equal for theirs, however deep the model.
        indices = _indices(a, b)
        found = self._decided(both, folded=True, indices=indices)
        return found if found or by_names else self._decided(both, indices=indices)

    def entry_equals(self, a: Expr, b: Expr) -> bool | None:
        """Whether b is the derivative of a definition's entry by an entry in it, the other names held constant."""
        if not isinstance(a, PartialDerivative) or a.fixed:
            return None
        own = a.args[0].args[0] if isinstance(a.args[0], _ENTRY) else a.args[0]
        d = self.model.definition_of(own)
        written = b if d is None else substitute(b, {own: d.value})  # p for exp(s) / total, as in p (1 - p)
        for side in dict.fromkeys((b, written)):
            both: _Both = partial(self._partial_and, a, side)
            if self._decided(both, folded=True, indices=_indices(a, b)):
                return True
        return None

    def gradient_equals(self, f: Expr, x: Expr, answer: Expr) -> bool | None:
        """Whether the answer, in the shape of x, is the gradient of the scalar f; x is kept apart if it is defined."""
        if self.model.has_loops or not fits(answer, shape_of(x)):
            return None

        def both(forms: IndexForms) -> tuple[Terms, Terms]:
            place = forms.free_sides(x, answer)
            return forms.derivative_of(lambda: forms.scalar(f), x, place), forms.array(answer, *place)

        return self._decided(both, keep=x)

    def entries_equal(
        self,
        f: Expr,
        x: Expr,
        answer: Expr,
        indices: Sequence[tuple[Expr, Expr]],
        *,
        twice: bool = False,
    ) -> bool | None:
        """Whether the answer is the derivative of the entries of f by those of x (`twice`: of a scalar, taken again).

        `indices` are the index symbols in the answer with their sizes: those of f before those of x, sides of one left
        out.
        """
        if self.model.has_loops:
            return None

        def both(forms: IndexForms) -> tuple[Terms, Terms]:
            for n, (symbol, size) in enumerate(indices):
                forms.free_place(symbol, n, size)
            symbols = iter(s for s, _ in indices)
            places = [
                tuple(
                    None if n == 1 and not is_tensor(e) else forms.places[next(symbols)] for n in shape_of(e)
                )
                for e in ((x, x) if twice else (f, x))
            ]
            if next(symbols, None) is not None:
                raise NotDecided("an index of neither side")
            inner = () if twice else places[0]
            derived = forms.derivative_of(
                lambda: forms.array(f, *inner), x, *(places if twice else places[1:])
            )
            return derived, forms.scalar(answer)

        try:
            return self._decided(both, keep=x)
        except StopIteration:
            return None

    def component_equals(
        self, f: Expr, f_entry: Sequence[object], x: Expr, x_entry: Sequence[object], answer: Expr
    ) -> bool | None:
        """Whether the answer is the derivative of one entry of f by one of x, at index symbols that may coincide."""
        if self.model.has_loops:
            return None
        sizes: dict[Expr, Expr] = {}
        sides: list[list[Symbol | None]] = []
        for e, entry in ((f, f_entry), (x, x_entry)):
            names = [*entry, *[None] * (len(shape_of(e)) - len(entry))]  # a vector has no second index
            sides.append([])
            for k, n in zip(names, shape_of(e), strict=True):
                if isinstance(k, Symbol) != (n != 1):
                    return None
                if isinstance(k, Symbol) and not same_size(sizes.setdefault(k, n), n):
                    return None
                sides[-1].append(k if isinstance(k, Symbol) else None)

        def both(forms: IndexForms) -> tuple[Terms, Terms]:
            for number, (symbol, n) in enumerate(sizes.items()):
                forms.free_place(symbol, number, n)
            at, by = (tuple(None if k is None else forms.places[k] for k in side) for side in sides)
            return forms.derivative_of(lambda: forms.array(f, *at), x, by), forms.scalar(answer)

        return self._decided(both, keep=x)

    def structured_equals(self, f: Expr, x: Expr, answer: Expr, structure: str) -> bool | None:
        """Whether the answer is the gradient by a matrix with tied entries, as defined from the gradient G without ties.

        symmetric-subspace (G + G^T) / 2, symmetric-entries G + G^T - G o I, diagonal-entries G o I.
        """
        if self.model.has_loops or not fits(answer, shape_of(x)) or not is_matrix(x) or x.shape[0] == 1:
            return None

        def both(forms: IndexForms) -> tuple[Terms, Terms]:
            i, j = forms.free_sides(x)
            g, turned, again = (
                forms.derivative_of(lambda: forms.scalar(f), x, place) for place in ((i, j), (j, i), (i, j))
            )
            diagonal = forms.times(forms.delta(i, j), again)
            wanted = {
                "symmetric-subspace": forms.scaled(g + turned, Fraction(1, 2)),
                "symmetric-entries": g + turned + forms.scaled(diagonal, -1),
                "diagonal-entries": diagonal,
            }
            return wanted[structure], forms.array(answer, i, j)

        return self._decided(both, keep=x)

    def jacobian_equals(self, f: Expr, x: Expr, answer: Expr) -> bool | None:
        """Whether the answer is J[i, j] = d f_i / d x_j; by a scalar it has the shape of f."""
        if self.model.has_loops or not fits(answer, jacobian_shape(f, x)):
            return None

        def both(forms: IndexForms) -> tuple[Terms, Terms]:
            inner, rows = forms.stacked(f, answer, 0, 0)
            if not is_matrix(x):
                inner = forms.free_sides(f, answer)
                return forms.derivative_of(lambda: forms.array(f, *inner), x, ()), forms.array(answer, *inner)
            by, cols = forms.stacked(x, answer, 1, _count(inner))
            return (
                forms.derivative_of(lambda: forms.array(f, *inner), x, by),
                forms.array(answer, *((rows, cols) if is_matrix(answer) else ())),
            )

        return self._decided(both, keep=x)

    def hessian_equals(self, f: Expr, x: Expr, answer: Expr) -> bool | None:
        """Whether the answer is H[i, j] = d^2 f / (d vec(x)_i d vec(x)_j), or the second derivative by a scalar."""
        if self.model.has_loops or not fits(answer, jacobian_shape(x, x)):
            return None

        def both(forms: IndexForms) -> tuple[Terms, Terms]:
            first, rows = forms.stacked(x, answer, 0, 0)
            second, cols = forms.stacked(x, answer, 1, _count(first))
            twice = forms.derivative_of(lambda: forms.scalar(f), x, first, second)
            return twice, forms.array(answer, *((rows, cols) if is_matrix(answer) else ()))

        return self._decided(both, keep=x)

    def differential_equals(self, f: Expr, x: Expr, dx: Expr, answer: Expr) -> bool | None:
        """Whether the answer is the differential of f, which may be an entry, for the increment dx of x."""
        if self.model.has_loops or not fits(answer, shape_of(f)):
            return None
        indices = _indices(f, answer)

        def both(forms: IndexForms) -> tuple[Terms, Terms]:
            place = forms.free_sides(f, answer, start=len(indices))
            at = forms.fresh_place(x)
            derived = forms.derivative_of(lambda: forms.array(f, *place), x, at)
            return forms.over(forms.times(derived, forms.array(dx, *at)), *at), forms.array(answer, *place)

        return self._decided(both, keep=x, indices=indices)

    def local_gradient_equals(
        self, f: Expr, v: Expr, answer: Expr, given: Mapping[Expr, Expr] | None = None
    ) -> bool | None:
        """Whether the chain rule for one name holds, the gradients in the answer being taken as they are.

        df/dv is the sum over the definitions c = g(.. v ..) of df/dc contracted with dg/dv. A df/dc that the answer
        does not hold is worked out in the same way, or is put in from `given`. For an entry v = X[i, j] the answer is a
        scalar.
        """
        name = v.args[0] if isinstance(v, _ENTRY) else v
        if not fits(answer, shape_of(v)) or not is_leaf(name):
            return None
        kept = {n for n in walk(answer) if isinstance(n, _GRADIENT)}
        kept |= {gradient(n.args[0], n.args[1].args[0]) for n in kept if isinstance(n.args[1], _ENTRY)}

        def chain(answer: Expr) -> bool | None:
            def both(forms: IndexForms) -> tuple[Terms, Terms]:
                place = forms.entry(v) if isinstance(v, _ENTRY) else forms.free_sides(v, answer)
                total = self._total(forms, f, name, place, kept, given or {}, _DEEPEST)
                return total, forms.array(answer, *(() if isinstance(v, _ENTRY) else place))

            return self._decided(both, folded=True, indices=_indices(v, answer))

        if chain(answer) is True:
            return True
        values = {d.symbol: d.value for d in self._users(name) or ()}  # a for tanh(z), as in 1 - a^2
        written = substitute(answer, {**values, **{n: n for n in kept}}) if values else answer
        return chain(written) if written != answer else None

    def closed_form_equals(self, f: Expr, v: Expr, answer: Expr) -> bool | None:
        """Whether df/dv = answer at every layer, by induction from the last layer down; v is a name at a loop's index.

        Base: at the last layer the answer is df/dv itself. Step: if it holds at a layer, it holds one layer before.
        """
        loop = next((i for i in self.model.items if isinstance(i, Loop) and _index(v) == i.index), None)
        if loop is None or not fits(answer, shape_of(v)):
            return None
        last, before = {loop.index: loop.upper}, {loop.index: loop.index - 1}
        end = v.xreplace(last)
        if self.equal(gradient(f, end), answer.xreplace(last)) is not True:
            if self.local_gradient_equals(f, end, answer.xreplace(last)) is not True:
                return None
        hypothesis = {gradient(f, v): answer}
        return self.local_gradient_equals(f, v.xreplace(before), answer.xreplace(before), hypothesis)

    # --- parts ----------------------------------------------------------------------------------------

    def _total(
        self,
        forms: IndexForms,
        f: Expr,
        v: Expr,
        place: Place,
        kept: set[Expr],
        given: Mapping[Expr, Expr],
        depth: int,
    ) -> Terms:
        """The entry of df/dv at a place, through what uses v; the gradients that are kept stay as they are."""
        users = self._users(v)
        if users is None or depth == 0 or (not users and v not in leaves(f)):
            raise NotDecided(f"what uses {v} is not settled")
        total: Terms = []
        if f not in {d.symbol for d in users} and v in leaves(f) and f != v:
            total += forms.derivative_of(lambda: forms.scalar(f), v, place)
        for d in users:
            at = forms.fresh_place(d.symbol)
            local = forms.derivative_of(partial(forms.array, d.value, *at), v, place)
            above = gradient(f, d.symbol)
            if d.symbol == f:
                upstream = ONE
            elif above in given:
                upstream = forms.array(given[above], *at)
            elif above in kept:
                upstream = forms.array(above, *at)
            else:
                upstream = self._total(forms, f, d.symbol, at, kept, given, depth - 1)
            total += forms.over(forms.times(upstream, local), *at)
        return total

    def _partial_and(self, a: Expr, b: Expr, forms: IndexForms) -> tuple[Terms, Terms]:
        return self._partial(forms, a), forms.scalar(b)

    def _partial(self, forms: IndexForms, e: Expr) -> Terms:
        """The derivative of a formula, or of a definition's value (or an entry of it), by a name (or an entry) in it."""
        f, x = e.args[:2]
        name, by = (a.args[0] if isinstance(a, _ENTRY) else a for a in (f, x))
        d = self.model.definition_of(name)
        if len(e.args) != 2 or not is_leaf(by) or isinstance(by, Member) or (d is None and is_leaf(name)):
            raise NotDecided("a partial derivative of something else than a definition")
        if bool(shape_of(name)) != isinstance(f, _ENTRY) or bool(shape_of(by)) != isinstance(x, _ENTRY):
            raise NotDecided("a partial derivative of an array")
        at, place = (forms.entry(a) if isinstance(a, _ENTRY) else () for a in (f, x))
        value = name if d is None else d.value
        return forms.derivative_of(lambda: forms.array(value, *at), by, place)

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

    def _decided(
        self, both: _Both, keep: Expr | None = None, folded: bool = False, indices: Sequence[Expr] = ()
    ) -> bool | None:
        """True if both sides have the same form, also after multiplying by common denominators."""
        values = {} if folded else {s: v for s, v in self._values.items() if s != keep}
        forms = IndexForms(self.model.assumptions, values.get)
        forms.declared = self._sizes
        for n, s in enumerate(indices):
            forms.free_place(s, n)
        if folded:
            forms.partial = lambda e: self._partial(forms, e)
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


def _length(e: Expr) -> int:
    return sum(1 for _ in walk(e))


def _indices(*expressions: Expr) -> list[Expr]:
    """The index symbols of entries and deltas that no sum binds."""
    found: set[Expr] = set()
    for e in expressions:
        free = e.free_symbols
        for node in walk(e):
            if isinstance(node, _ENTRY):
                places = node.args[1:]
            elif isinstance(node, KroneckerDelta | InRange):
                places = node.args[:2] if isinstance(node, KroneckerDelta) else node.args[:1]
            else:
                continue
            found |= {
                i for a in places for i in a.free_symbols if i in free and (i == a or not i.is_positive)
            }
    return sorted(found, key=str)


def _count(place: Place) -> int:
    """How many indices a place has."""
    return sum(len(flat(side)) for side in place)


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
