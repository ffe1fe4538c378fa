"""The chain rule in a model with loops, entry by entry: at a general layer, through sums over layers, for shared names.

A general layer stands for every layer at which what is spoken of is there; whether a layer is in a range is decided from
the bounds alone, and what is not certain is not proved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from sympy import Expr, Product, Sum, Symbol, expand

from symgrad.checking.canonical import NotDecided
from symgrad.checking.exponents import Exponent
from symgrad.checking.index_derivatives import Place
from symgrad.checking.index_form import IndexForms
from symgrad.checking.layers import apart, asked_layer, layer_of
from symgrad.checking.networks import ONE, Term, Terms
from symgrad.checking.normal_form import Prover
from symgrad.checking.ranges import (
    Ranges,
    opened,
    total,
)
from symgrad.expr import (
    Definition,
    Elementwise,
    Gradient,
    Loop,
    MatrixSum,
    Model,
    OrderedProduct,
    ScalarGradient,
    gradient,
    is_leaf,
    is_matrix,
    leaf_name,
    leaves,
    matrix,
    scalar,
    substitute,
    walk,
)
from symgrad.expr.entrywise import function_name

__all__ = ["DEEPEST", "LONGEST", "Given", "LayerChain", "free", "open_nodes"]

Given = Mapping[Expr, Expr]

_ROUNDS = 12
DEEPEST = 10
LONGEST = 2000
_OPAQUE = (MatrixSum, OrderedProduct, Sum, Product, Gradient, ScalarGradient)


class LayerChain(Prover):
    """Works out gradients over one model with loops; a loop's index stands for a general layer."""

    def __init__(self, model: Model) -> None:
        model = _apart(model)
        super().__init__(model)
        self.loops = [item for item in model.items if isinstance(item, Loop)]
        self.layers = Ranges(tuple((i.index, i.lower, i.upper) for i in _by_index(self.loops)))
        self._loop_of = {leaf_name(d.symbol): (d, loop) for loop in self.loops for d in loop.body}
        self._outside = {d.symbol: d.value for d in model.items if isinstance(d, Definition)}

    def _definition(self, leaf: Expr, known: Ranges) -> Expr | None:
        """The formula of a name, at its layer."""
        if leaf in self._outside:
            return self._outside[leaf]
        where = layer_of(leaf)
        if where is None or leaf_name(leaf) not in self._loop_of:
            return None
        d, loop = self._loop_of[leaf_name(leaf)]
        own = layer_of(d.symbol)
        if own != loop.index or known.inside(where, loop.lower, loop.upper) is not True:
            return None
        return d.value.xreplace({loop.index: where})

    def _unfolded(self, e: Expr, known: Ranges) -> Expr:
        """Names written out by their definitions, within the layers that are spoken of."""
        layers = {layer_of(n) for n in leaves(e)}
        for _ in range(_ROUNDS):
            put: dict[Expr, Expr] = {n: n for n in walk(e) if isinstance(n, Gradient | ScalarGradient)}
            count = len(put)
            for leaf in leaves(e):
                value = self._definition(leaf, known) if layer_of(leaf) in layers else None
                if value is not None:
                    put[leaf] = value
            if len(put) == count or len(list(walk(e))) > LONGEST:
                break
            e = substitute(e, put)
        return e

    def _elsewhere(self, n: Expr, given: Given, known: Ranges) -> Expr | None:
        """What a given equation about a general layer says at the layer of n."""
        derived = isinstance(n, Gradient | ScalarGradient)
        leaf = n.args[1] if derived else n
        if derived and not is_leaf(leaf):
            return self._part_elsewhere(n, given, known)
        if not is_leaf(leaf) or leaf_name(leaf) not in self._loop_of:
            return None
        d, loop = self._loop_of[leaf_name(leaf)]
        where, own = layer_of(leaf), layer_of(d.symbol)
        general = gradient(n.args[0], d.symbol) if derived else d.symbol
        if where is None or own != loop.index or general not in given:
            return None
        first = loop.lower if derived and not self._begins_alike(d.symbol, loop) else loop.lower - 1
        if known.inside(where, first, loop.upper) is not True:
            return None
        return given[general].xreplace({loop.index: where})

    def _part_elsewhere(self, n: Expr, given: Given, known: Ranges) -> Expr | None:
        """The same for the gradient by a part of a layer that has no name."""
        for key, value in given.items():
            for loop in self.loops:
                if type(key) is not type(n) or key.args[0] != n.args[0] or is_leaf(key.args[1]):
                    continue
                layer = asked_layer(key.args[1], n.args[1], loop.index)
                if layer is not None and known.inside(layer, loop.lower, loop.upper) is True:
                    return value.xreplace({loop.index: layer})
        return None

    def _begins_alike(self, s: Expr, loop: Loop) -> bool:
        """Whether the state before the first layer is used as a general one is: by the next layer, and by nothing else."""
        general, first = (s.xreplace({loop.index: at}) for at in (loop.index - 1, loop.lower - 1))
        if any(_holds(d.value, first) for d in self.model.items if isinstance(d, Definition)):
            return False
        try:
            users, at_first = self._users(general), self._users(first)
        except NotDecided:
            return False
        at = {loop.index: loop.lower}
        return [(d.symbol.xreplace(at), d.value.xreplace(at)) for d in users] == [
            (d.symbol, d.value) for d in at_first
        ]

    # --- the chain rule ---------------------------------------------------------------------------

    def _is_shared(self, v: Expr) -> bool:
        return any(v in leaves(d.value) for loop in self.loops for d in loop.body) or any(
            isinstance(n, MatrixSum | Sum) and v in leaves(n)
            for value in self._outside.values()
            for n in walk(value)
        )

    def _users(self, v: Expr) -> list[Definition]:
        """The definitions that use a name directly, sums over layers apart."""
        users: list[Definition] = []
        for item in self.model.items:
            if isinstance(item, Definition):
                if v in leaves(item.value):
                    users.append(item)
                continue
            for d in item.body:
                users += self._at_layers(item, d, v)
        return list(dict.fromkeys(users))

    def _at_layers(self, loop: Loop, d: Definition, v: Expr) -> Iterator[Definition]:
        """A definition of a loop at the layers where it uses a name.

        Raises   NotDecided where it is open whether there is such a layer
        """
        for leaf in leaves(d.value):
            if leaf == v and layer_of(leaf) is None:
                raise NotDecided("a parameter that all layers share")
            where = layer_of(leaf)
            if type(leaf) is not type(v) or leaf_name(leaf) != leaf_name(v) or where is None:
                continue
            shift, asked = expand(where - loop.index), layer_of(v)
            if shift.free_symbols or asked is None:
                raise NotDecided(f"the layer of {leaf}")
            layer = expand(asked - shift)
            if self._reached(v, layer, loop):
                at = {loop.index: layer}
                yield Definition(d.symbol.xreplace(at), d.value.xreplace(at), d.line)

    def _reached(self, v: Expr, layer: Expr, loop: Loop) -> bool:
        """Whether a layer is one of a loop's; a general state is one that a layer of its own loop comes after."""
        inside = self._where(v).inside(layer, loop.lower, loop.upper)
        own = self._loop_of.get(leaf_name(v))
        if inside is None and own is not None and own[1] is loop and layer == expand(loop.index + 1):
            return True
        if inside is None:
            raise NotDecided(f"whether there is a layer {layer}")
        return inside

    def _where(self, v: Expr, formulas: Sequence[Expr] = ()) -> Ranges:
        """The ranges of the indices, such that the name is at a layer that is there, and so is one that comes after it."""
        known = []
        for index, lower, upper in self.layers.known:
            shift = expand((layer_of(v) or index) - index)
            later = {
                expand((layer_of(x) or index) - index)
                for e in formulas
                for x in leaves(e)
                if leaf_name(x) in self._loop_of
            }
            if shift.is_Integer:
                ahead = max((int(s) for s in later if s.is_Integer), default=0) if shift == 0 else 0
                lower, upper = lower + max(0, -int(shift)), upper - max(0, int(shift), ahead)
            known.append((index, lower, upper))
        return Ranges(tuple(known))

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
        """The entry of df/dv at a place, through what uses v, sums over layers among it."""
        if depth == 0:
            raise NotDecided(f"what uses {v} is not settled")
        if v == f:
            return ONE
        found: Terms = []
        for d in dict.fromkeys([*self._users(v), *(d for d in self._ends(f) if _holds(d.value, v))]):
            entry = self._entry(forms, d.symbol)
            local: Terms = []
            names, value = _with_stand_ins(d.value)
            if v in leaves(value):
                local += self._through(forms, value, names, entry, v, place)
            for name, n in names.items():
                for term in self._terms_with(n, v):
                    local += self._through_sum(forms, value, names, entry, name, term, v, place)
            upstream = self._upstream(forms, f, d.symbol, entry, kept, given, depth)
            found += forms.over(forms.times(upstream, local), *entry)
        return found

    def _upstream(
        self,
        forms: IndexForms,
        f: Expr,
        symbol: Expr,
        entry: Place,
        kept: set[Expr],
        given: Mapping[Expr, Expr],
        depth: int,
    ) -> Terms:
        """The entry of the gradient by a definition: what is given of it, itself, or what it is."""
        if symbol == f:
            return ONE
        above = gradient(f, symbol)
        value = above if above in kept else given.get(above)
        if value is None and given:
            value = self._elsewhere(above, given, self.layers)
        if value is None:
            return self._total(forms, f, symbol, entry, kept, given, depth - 1)
        return forms.array(value, *entry)

    def _ends(self, f: Expr) -> list[Definition]:
        """The definitions outside of loops, and the function itself where it has no name."""
        outside = [d for d in self.model.items if isinstance(d, Definition)]
        named = any(d.symbol == f for d in self.model.definitions())
        return outside if named else [*outside, Definition(f, f)]

    def _entry(self, forms: IndexForms, symbol: Expr) -> Place:
        return forms.fresh_place(symbol)

    def _through(
        self,
        forms: IndexForms,
        value: Expr,
        names: Given,
        entry: Place,
        v: Expr,
        place: Place,
    ) -> Terms:
        """The derivative of an entry of a formula by an entry of a name; the sums that have names in it are put back."""
        terms = forms.derivative_of(partial(forms.array, value, *entry), v, place)
        return self._with_values(forms, terms, names.get) if names else terms

    def _through_sum(
        self,
        forms: IndexForms,
        value: Expr,
        names: Given,
        entry: Place,
        name: Expr,
        term: Expr,
        v: Expr,
        place: Place,
    ) -> Terms:
        """The same by way of one term of a sum over layers, for which a name stands in the formula."""
        inside = self._entry(forms, name)
        outer = self._through(forms, value, names, entry, name, inside)
        return forms.over(forms.times(outer, self._through(forms, term, {}, inside, v, place)), *inside)

    def _terms_with(self, sum_: Expr, v: Expr) -> Iterator[Expr]:
        """The terms of a sum over layers in which a member of a family stands.

        Raises   NotDecided where it is open whether there is such a term
        """
        k = Symbol("layer_", integer=True)
        ((lower, upper, term),) = opened(sum_, k).sums
        asked = layer_of(v)
        if asked is None:
            if v in leaves(term):
                raise NotDecided("a parameter that all layers share")
            return
        at: dict[Expr, None] = {}
        for leaf in leaves(term):
            where = layer_of(leaf)
            if leaf_name(leaf) != leaf_name(v) or where is None:
                continue
            shift = expand(where - k)
            if shift.has(k):
                raise NotDecided(f"the layer of {leaf}")
            at[expand(asked - shift)] = None
        for layer in at:
            inside = self._where(v).inside(layer, lower, upper)
            if inside is None:
                raise NotDecided(f"whether there is a term {layer}")
            if inside:
                yield term.xreplace({k: layer})

    # --- what all layers share --------------------------------------------------------------------

    def _over_layers(self, f: Expr, v: Expr, answer: Expr) -> bool:
        """A name that layers share: every layer contributes, and every range is compared at its general layer."""
        k = Symbol("layer0_", integer=True)
        claim = opened(answer, k)
        uses = self._uses(f, v, k)
        if uses is None:
            return False
        once = [u for u in uses if u.lower is None]
        if not self._contributed(f, v, once, total(claim.rest, v), self.layers):
            return False
        over = [(u.lower, u.upper, u) for u in uses if u.lower is not None and u.upper is not None]
        bounds = [*((lo, hi) for lo, hi, _ in over), *((lo, hi) for lo, hi, _ in claim.sums)]
        for low, high in dict.fromkeys((expand(lo), expand(hi)) for lo, hi in bounds):
            same = [i for i in self.loops if (expand(i.lower), expand(i.upper)) == (low, high)]
            at = {k: same[0].index if same else k}
            own = [u.at(at) for lo, hi, u in over if (expand(lo), expand(hi)) == (low, high)]
            terms = [t.xreplace(at) for lo, hi, t in claim.sums if (expand(lo), expand(hi)) == (low, high)]
            known = self.layers if same else self.layers.within(k, low, high)
            if not self._contributed(f, v, own, total(terms, v), known):
                return False
        return True

    def _uses(self, f: Expr, v: Expr, k: Symbol) -> list[_Use] | None:
        """Where a name is used: by a definition, at the layers of a loop, in the terms of a sum; None if too deep."""
        uses: list[_Use] = []
        for loop in self.loops:
            at = {loop.index: k}
            uses += [
                _Use(d.symbol.xreplace(at), d.value.xreplace(at), loop.lower, loop.upper)
                for d in loop.body
                if v in leaves(d.value)
            ]
        for d in self._ends(f):
            names, value = _with_stand_ins(d.value)
            if v in leaves(value):
                uses.append(_Use(d.symbol, value, names=names))
            for name, n in names.items():
                if v not in leaves(n):
                    continue
                ((lower, upper, term),) = opened(n, k).sums
                if any(v in leaves(m) for m in walk(term) if isinstance(m, MatrixSum | Sum)):
                    return None
                uses.append(_Use(d.symbol, value, lower, upper, names, name, term))
        return uses

    def _contributed(self, f: Expr, v: Expr, uses: Sequence[_Use], answer: Expr, known: Ranges) -> bool:
        """Whether some uses of a name contribute the answer to df/dv."""
        kept = {n for n in walk(answer) if isinstance(n, Gradient | ScalarGradient)}

        def derived(forms: IndexForms) -> Terms:
            place = free(v)
            found: Terms = []
            for u in uses:
                entry = self._entry(forms, u.symbol)
                if u.name is None or u.term is None:
                    local = self._through(forms, u.value, u.names, entry, v, place)
                else:
                    local = self._through_sum(forms, u.value, u.names, entry, u.name, u.term, v, place)
                upstream = self._upstream(forms, f, u.symbol, entry, kept, {}, DEEPEST)
                found += forms.over(forms.times(upstream, local), *entry)
            return found

        return self._settled(derived, answer, known)

    # --- forms of one thing -----------------------------------------------------------------------

    def _settled(
        self, derived: Callable[[IndexForms], Terms], answer: Expr, known: Ranges, in_full: bool = True
    ) -> bool:
        """Whether what was derived is the answer: by names, or with names written out on both sides.

        Once those that a function of something else defines, as a = tanh(z) in 1 - a^2; in full all of a layer.
        """

        def named(forms: IndexForms) -> tuple[Terms, Terms]:
            return derived(forms), forms.array(answer, *free(answer))

        def once(forms: IndexForms) -> tuple[Terms, Terms]:
            left, right = named(forms)
            return self._once(forms, left, known), self._once(forms, right, known)

        def written(forms: IndexForms) -> tuple[Terms, Terms]:
            layers = {layer_of(n) for n in leaves(answer)} | {i for i, *_ in known.known}
            return tuple(self._in_full(forms, t, layers, known) for t in named(forms))  # type: ignore[return-value]

        return any(
            self._decided(sides, folded=True) is True
            for sides in (named, once, written)[: 3 if in_full else 2]
        )

    def _once(self, forms: IndexForms, terms: Terms, known: Ranges) -> Terms:
        """Terms with the names that functions define written out, outside of functions and one time."""

        def factor(h: int, idx: tuple[int, ...], e: Exponent) -> Terms:
            leaf = forms.heads[h].key
            named = forms.heads[h].kind == "symbol" and isinstance(leaf, Expr) and is_leaf(leaf)
            value = self._definition(leaf, known) if named else None
            if value is None or (not isinstance(value, Elementwise) and function_name(value) is None):
                return forms.factor(h, idx, e)
            return forms.power(_entry_of(forms, value, idx), e, idx)

        return _mapped(forms, terms, factor)

    def _in_full(self, forms: IndexForms, terms: Terms, layers: set[Expr | None], known: Ranges) -> Terms:
        """Terms with the names of some layers written out by their definitions, down to what has none."""

        def value(leaf: Expr) -> Expr | None:
            return self._definition(leaf, known) if layer_of(leaf) in layers else None

        return self._with_values(forms, terms, value)

    def _with_values(self, forms: IndexForms, terms: Terms, value_of: Callable[[Expr], Expr | None]) -> Terms:
        """Terms with values for some names, inside of functions too."""

        def factor(h: int, idx: tuple[int, ...], e: Exponent) -> Terms:
            head = forms.heads[h]
            if head.kind == "symbol":
                leaf = head.key
                value = value_of(leaf) if isinstance(leaf, Expr) and is_leaf(leaf) else None
                if value is None:
                    return forms.factor(h, idx, e)
                return forms.power(again(_entry_of(forms, value, idx)), e, idx)
            if head.kind not in ("function", "exp", "power_of"):
                return forms.factor(h, idx, e)
            inside = again(forms.placed(head.inside, idx))
            if head.kind == "function":
                return forms.power(forms.function(head.key[0], inside, idx), e, idx)  # type: ignore[index]
            if head.kind == "exp":
                return forms.power(forms.exponential(inside, idx), e, idx)
            return forms.power(inside, e, idx)

        def again(terms: Terms) -> Terms:
            return _mapped(forms, terms, factor)

        return again(terms)


@dataclass(frozen=True)
class _Use:
    """Where a shared name stands: in a formula, once or for each value of a range; or in the term of a sum in it.

    `names` are the names that stand for sums in the formula; `name` is the one whose term it is.
    """

    symbol: Expr
    value: Expr
    lower: Expr | None = None
    upper: Expr | None = None
    names: Mapping[Expr, Expr] = field(default_factory=dict)
    name: Expr | None = None
    term: Expr | None = None

    def at(self, at: Mapping[Expr, Expr]) -> _Use:
        """The same with another index for the layer."""
        term = None if self.term is None else self.term.xreplace(at)
        return replace(self, symbol=self.symbol.xreplace(at), value=self.value.xreplace(at), term=term)


def _entry_of(forms: IndexForms, value: Expr, idx: Sequence[int]) -> Terms:
    """The terms of an entry, the indices being those of the sides that are longer than one."""
    if not is_matrix(value):
        return forms.scalar(value)
    places = list(idx)
    i, j = (None if s == 1 else places.pop(0) for s in value.shape)
    return forms.matrix(value, i, j)


def _mapped(
    forms: IndexForms, terms: Terms, factor: Callable[[int, tuple[int, ...], Exponent], Terms]
) -> Terms:
    """Terms with something else for each of their factors."""
    return [
        Term(t.coefficient * u.coefficient, u.factors, t.bound | u.bound)
        for t in terms
        for u in forms.times(*(factor(*f) for f in t.factors))
    ]


def _with_stand_ins(value: Expr) -> tuple[dict[Expr, Expr], Expr]:
    """Names for the sums over layers in a formula, and the formula with them."""
    names: dict[Expr, Expr] = {}
    for n in open_nodes(value):
        if isinstance(n, MatrixSum | Sum):
            name = f"summed{len(names)}_"
            names[n] = matrix(name, *n.shape) if is_matrix(n) else scalar(name)
    return {name: n for n, name in names.items()}, substitute(value, names) if names else value


def _holds(e: Expr, v: Expr) -> bool:
    """Whether the family of a name stands in sums over layers of a formula."""
    return any(
        type(x) is type(v) and leaf_name(x) == leaf_name(v) and layer_of(x) is not None
        for n in open_nodes(e)
        if isinstance(n, MatrixSum | Sum)
        for x in leaves(n)
    )


def _apart(model: Model) -> Model:
    """The model with other letters for what sums over layers bind, where those are indices of loops."""
    indices = [item.index for item in model.items if isinstance(item, Loop)]
    items: list[Definition | Loop] = []
    for item in model.items:
        if isinstance(item, Definition):
            for index in indices:
                item = replace(item, value=apart(item.value, index))
        items.append(item)
    return replace(model, items=tuple(items))


def _by_index(loops: Sequence[Loop]) -> Iterator[Loop]:
    """One loop for every index; where two loops have one index, it is known to be in both ranges only if they agree."""
    for index in dict.fromkeys(loop.index for loop in loops):
        same = [loop for loop in loops if loop.index == index]
        if all((s.lower, s.upper) == (same[0].lower, same[0].upper) for s in same):
            yield same[0]


def open_nodes(e: Expr) -> Iterator[Expr]:
    """Every subexpression outside of what sums and products over layers bind; those themselves are among them."""
    stack, seen = [e], {e}
    while stack:
        node = stack.pop()
        yield node
        if is_leaf(node) or isinstance(node, _OPAQUE):
            continue
        for arg in node.args:
            if isinstance(arg, Expr) and arg not in seen:
                seen.add(arg)
                stack.append(arg)


def free(e: Expr) -> Place:
    """Free indices for the sides of a matrix that are longer than one; a scalar has none."""
    if not is_matrix(e):
        return ()
    rows = None if e.shape[0] == 1 else 0
    return rows, None if e.shape[1] == 1 else int(rows is not None)
