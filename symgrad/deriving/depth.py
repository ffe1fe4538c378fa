"""Loops of symbolic length: the adjoint recurrence, its closed form, and the proof by induction.

For a state s[l] = F(s[l-1]; theta[l]) the pullback of one layer is linear in the adjoint, so
g[l-1] = M_l g[l] and g[l] = (prod_{k=l+1..L} M_k) g[L], with the factors in the order in which the
layers are met on the way back. The same for all layers, the product is a power.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sympy import Expr, Indexed, Mul, Pow, Product, S, Sum, Symbol
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.matpow import MatPow

from symgrad.deriving.backprop import Sweep, Tidy, backprop, sweep_back
from symgrad.deriving.linear_maps import linear_factor
from symgrad.deriving.steps import Step
from symgrad.errors import DeriveError, UnsupportedError
from symgrad.expr import (
    Definition,
    Gradient,
    Loop,
    MatrixSum,
    Member,
    Model,
    OrderedProduct,
    ScalarGradient,
    add,
    dependents,
    eye,
    gradient,
    inverse,
    is_leaf,
    is_matrix,
    is_scalar,
    leaf_name,
    leaves,
    matmul,
    matpower,
    negate,
    shape_of,
    substitute,
    transpose,
    walk,
    zeros,
)

__all__ = [
    "INSTANCES",
    "DepthSweep",
    "Layers",
    "depth",
    "forward",
    "layers_of",
    "linear_factor",
    "ordered_product",
]

INSTANCES = 6
"""Closed forms are checked against plain differentiation for this many lengths of the loop."""


@dataclass(frozen=True)
class Layers:
    """A model with one loop, taken apart: what comes before it, one layer, what comes after it.

    `state` is the family that one layer hands to the next, at the loop's index.
    """

    before: tuple[Definition, ...]
    loop: Loop
    after: tuple[Definition, ...]
    state: Expr

    def at(self, index: Expr) -> Expr:
        """The state at an index."""
        return self.state.xreplace({self.loop.index: index})


@dataclass
class DepthSweep:
    """A derivation through a loop: the steps, the result by one layer and written out."""

    f: Expr
    wrt: Expr
    steps: list[Step] = field(default_factory=list)
    result: Expr = S.Zero
    closed: Expr = S.Zero

    def record(
        self,
        rule: str,
        equation: Sequence[Expr],
        premises: Sequence[int] = (),
        given: dict[Expr, Expr] | None = None,
        **terms: Expr,
    ) -> int:
        """Add a step and return its number."""
        chain: list[Expr] = []
        for e in equation:
            if not chain or chain[-1] != e:
                chain.append(e)
        number = len(self.steps) + 1
        step = Step(
            number, rule, tuple(chain), tuple(premises), rule, {"node": chain[0], **terms}, given=given or {}
        )
        self.steps.append(step)
        return number

    def take(self, sweep: Sweep) -> dict[int, int]:
        """Append the steps of a sweep; returns their new numbers."""
        numbers: dict[int, int] = {}
        for s in sweep.steps:
            numbers[s.number] = len(self.steps) + 1
            self.steps.append(
                Step(
                    numbers[s.number],
                    s.rule,
                    s.equation,
                    tuple(numbers[p] for p in s.premises),
                    s.phrase,
                    s.terms,
                )
            )
        return numbers


def layers_of(model: Model) -> Layers:
    """The model taken apart at its loop.

    Raises   UnsupportedError if it has several loops, or a layer hands on more than one family, or looks
             further than one layer back
    """
    loops = [i for i, item in enumerate(model.items) if isinstance(item, Loop)]
    if len(loops) != 1:
        raise UnsupportedError(
            f"the model has {len(loops)} loops", hint="symbolic depth is derived for models with one loop"
        )
    at = loops[0]
    loop = model.items[at]
    assert isinstance(loop, Loop)  # noqa: S101 - chosen as one just above
    before = tuple(d for d in model.items[:at] if isinstance(d, Definition))
    after = tuple(d for d in model.items[at + 1 :] if isinstance(d, Definition))
    defined = {leaf_name(d.symbol): d.symbol for d in loop.body}
    handed_on: dict[str, Expr] = {}
    for d in loop.body:
        for leaf in leaves(d.value):
            name = leaf_name(leaf)
            if name not in defined or not isinstance(leaf, Member | Indexed):
                continue
            distance = loop.index - _index(leaf)
            if distance == 1:
                handed_on[name] = defined[name]
            elif distance != 0:
                raise UnsupportedError(f"a layer uses {leaf}, which is not the layer before it")
    if len(handed_on) != 1:
        names = ", ".join(sorted(handed_on)) or "nothing"
        raise UnsupportedError(
            f"one layer hands {names} to the next", hint="symbolic depth is derived for one state"
        )
    return Layers(before, loop, after, next(iter(handed_on.values())))


def _index(leaf: Expr) -> Expr:
    return leaf.index if isinstance(leaf, Member) else leaf.indices[0]


def depth(model: Model, f: Expr, wrt: Expr, tidy: Tidy) -> DepthSweep:
    """The gradient of `f` through a loop by a layer's member, the input or a shared parameter.

    Raises   UnsupportedError where there is no closed form, DeriveError for an index outside the loop
    """
    layers = layers_of(model)
    out = DepthSweep(f, wrt)
    index, upper = layers.loop.index, layers.loop.upper
    last = layers.at(upper)
    if not _reaches(layers, wrt):
        return _outside(model, layers, f, wrt, tidy, out)

    head = backprop(Model(layers.after, model.symbols, model.assumptions), f, [last], tidy)
    for leaf in {n for d in layers.after for n in leaves(d.value)} | set(leaves(f)):
        if leaf_name(leaf) == leaf_name(layers.state) and leaf != last:
            raise UnsupportedError(f"the result uses {leaf}, not only the last state {last}")
    numbers = out.take(head)
    top = (numbers[head.step_of[last]],) if last in head.step_of else ()

    body = list(layers.loop.body)
    general = _general(wrt, layers)
    state, previous = layers.state, layers.at(index - 1)
    upstream = gradient(f, state)
    sweep = Sweep(f)
    wanted = [previous] if general in (None, previous, state) else [previous, general]
    sweep_back(sweep, body, {state: upstream}, wanted, tidy)
    if previous not in sweep.adjoints:
        raise UnsupportedError("the layers do not depend on one another")
    numbers = out.take(sweep)

    written_out = _in_terms_of(sweep, state, previous)
    factor = linear_factor(written_out, upstream)
    if factor is None:
        raise UnsupportedError(
            f"the adjoint recurrence {gradient(f, previous)} = {written_out} is no matrix times {upstream}",
            hint="a closed form needs one column a sample: give the state as a vector",
        )
    factor = tidy(factor)
    recurrence = out.record(
        "depth.recurrence",
        (gradient(f, previous), written_out, matmul(factor, upstream)),
        [numbers[sweep.step_of[previous]]],
        factor=factor,
    )
    closed = _closed_form(out, layers, factor, head.adjoints[last], recurrence, top, tidy)

    def closed_at(where: Expr) -> Expr:
        return tidy(closed.xreplace({index: where}))

    if general is None:
        return _shared(out, model, layers, sweep, wrt, closed, numbers, tidy)
    if general in (previous, state):
        where = (
            _index(wrt) if isinstance(wrt, Member | Indexed) and leaf_name(wrt) == leaf_name(state) else None
        )
        if where is None:  # an input that the first state is made of
            first = layers.at(layers.loop.lower - 1)
            sweep_in = Sweep(f)
            sweep_back(sweep_in, list(layers.before), {first: gradient(f, first)}, [wrt], tidy)
            end = out.record(
                "depth.ends", (gradient(f, first), closed_at(layers.loop.lower - 1)), [len(out.steps)]
            )
            numbers = out.take(sweep_in)
            result = sweep_in.adjoints[wrt]
            out.result = result
            out.closed = tidy(substitute(result, {gradient(f, first): closed_at(layers.loop.lower - 1)}))
            out.record("depth.ends", (gradient(f, wrt), result, out.closed), [end, *numbers.values()])
            return out
        _check_range(where, layers.loop.lower - 1, upper, wrt)
        out.result = out.closed = closed_at(where)
        if where != index:
            out.record("depth.ends", (gradient(f, wrt), out.closed), [len(out.steps)])
        return out
    where = _index(wrt)
    _check_range(where, layers.loop.lower, upper, wrt)
    local = _in_terms_of(sweep, state, general)
    out.result = sweep.adjoints[general].xreplace({index: where})
    out.closed = tidy(substitute(local, {upstream: closed}).xreplace({index: where}))
    out.record(
        "depth.parameter",
        (gradient(f, wrt), out.result, out.closed),
        [numbers[sweep.step_of[general]], len(out.steps)],
    )
    return out


def _reaches(layers: Layers, wrt: Expr) -> bool:
    """Whether `wrt` has its influence through the loop."""
    body = set(dependents_of(layers.loop.body))
    general = _general(wrt, layers)
    if general is None:
        return wrt in body
    return True


def dependents_of(definitions: Sequence[Definition]) -> set[Expr]:
    """Every leaf that is used or defined in the definitions."""
    return {d.symbol for d in definitions} | {leaf for d in definitions for leaf in leaves(d.value)}


def _general(wrt: Expr, layers: Layers) -> Expr | None:
    """The member at the loop's own index that `wrt` is an instance of; None for a shared parameter.

    An input that only the first state is made of is represented by the state.
    """
    index = layers.loop.index
    body = dependents_of(layers.loop.body)
    if isinstance(wrt, Member | Indexed):
        for leaf in body:
            if isinstance(leaf, type(wrt)) and leaf_name(leaf) == leaf_name(wrt):
                return leaf if _index(leaf) == index else leaf.xreplace({_index(leaf): index})
        raise DeriveError(f"{wrt} is no part of a layer")
    if wrt in body:
        return None
    return layers.state if wrt in dependents_of(layers.before) else None


def _outside(model: Model, layers: Layers, f: Expr, wrt: Expr, tidy: Tidy, out: DepthSweep) -> DepthSweep:
    """What is used only after the loop is plain reverse mode."""
    sweep = backprop(Model(layers.after, model.symbols, model.assumptions), f, [wrt], tidy)
    out.take(sweep)
    out.result = out.closed = sweep.adjoints[wrt]
    return out


def _check_range(where: Expr, lower: Expr, upper: Expr, wrt: Expr) -> None:
    for low, high in ((lower, where), (where, upper)):
        gap = (high - low).expand()
        if gap.is_negative:
            raise DeriveError(f"{wrt} is outside the loop, which goes from {lower + 1} to {upper}")


def _in_terms_of(sweep: Sweep, keep: Expr, symbol: Expr) -> Expr:
    """An adjoint with those of the layer's own intermediates put in, down to the adjoint of its output."""
    value = sweep.adjoints[symbol]
    while True:
        found = {
            n: sweep.adjoints[n.args[1]]
            for n in walk(value)
            if isinstance(n, Gradient | ScalarGradient) and n.args[1] != keep and n.args[1] in sweep.adjoints
        }
        if not found:
            return value
        value = substitute(value, found)


def _counter(avoid: Sequence[Expr], taken: set[str]) -> Symbol:
    """A bound index that no name of the model uses."""
    for name in "kjtiqpr":
        if name not in taken and all(name != str(a) for a in avoid):
            return Symbol(name, integer=True, positive=True)
    return Symbol("k_", integer=True, positive=True)


def ordered_product(factor: Expr, index: Expr, lower: Expr, upper: Expr, avoid: set[str]) -> Expr:
    """Prod of factor(k) for k = lower..upper, k growing to the right; a power where k does not occur."""
    if not factor.has(index):
        length = upper - lower + 1
        return matpower(factor, length) if is_matrix(factor) else Pow(factor, length)
    k = _counter([index], avoid)
    member = factor.xreplace({index: k})
    if is_scalar(factor):
        return Product(member, (k, lower, upper))
    return OrderedProduct(member, k, lower, upper, 1)


def _names(layers: Layers) -> set[str]:
    everything = dependents_of((*layers.before, *layers.loop.body, *layers.after))
    names = {leaf_name(leaf) for leaf in everything}
    for leaf in everything:
        names |= {str(s) for size in shape_of(leaf) for s in size.free_symbols}
    return names | {str(layers.loop.index)} | {str(s) for s in layers.loop.upper.free_symbols}


def _closed_form(
    out: DepthSweep,
    layers: Layers,
    factor: Expr,
    last_adjoint: Expr,
    recurrence: int,
    top: tuple[int, ...],
    tidy: Tidy,
) -> Expr:
    """The closed form of the state's adjoint at the loop's index, with its proof by induction downwards."""
    f, index, upper = out.f, layers.loop.index, layers.loop.upper
    last = layers.at(upper)
    name = gradient(f, last)
    product = ordered_product(factor, index, index + 1, upper, _names(layers))
    claim = matmul(product, name)
    left = gradient(f, layers.state)
    stated = out.record("depth.closed", (left, claim), [recurrence, *top], upper=upper)
    at_end = _empty_product(factor, index, upper, _names(layers))
    base = out.record("depth.base", (_unevaluated_product(at_end, name), name), [stated], at=last)
    before = ordered_product(factor, index, index, upper, _names(layers))
    step = out.record(
        "depth.step",
        (
            gradient(f, layers.at(index - 1)),
            matmul(factor, left),
            matmul(factor, claim),
            matmul(before, name),
        ),
        [recurrence, stated],
        given={left: claim},
        hypothesis=claim,
    )
    filled = tidy(matmul(product, last_adjoint))
    out.record("depth.closed", (left, claim, filled), [base, step, *top], upper=upper)
    return filled


def _empty_product(factor: Expr, index: Expr, upper: Expr, avoid: set[str]) -> Expr:
    """The product over no layers, written out: M^0, or a product whose upper bound is below its lower."""
    if factor.has(index):
        return ordered_product(factor, index, upper + 1, upper, avoid)
    return MatPow(factor, S.Zero) if is_matrix(factor) else Pow(factor, 0, evaluate=False)


def _unevaluated_product(a: Expr, b: Expr) -> Expr:
    return matmul(a, b) if is_matrix(a) else Mul(a, b, evaluate=False)


def _shared(
    out: DepthSweep,
    model: Model,
    layers: Layers,
    sweep: Sweep,
    wrt: Expr,
    closed: Expr,
    numbers: dict[int, int],
    tidy: Tidy,
) -> DepthSweep:
    """A parameter that all layers share: its gradient is the sum of what the layers contribute."""
    f, loop = out.f, layers.loop
    local = Sweep(f)
    sweep_back(local, list(loop.body), {layers.state: gradient(f, layers.state)}, [wrt], tidy)
    by_layer = local.adjoints[wrt]
    written_out = tidy(
        substitute(_in_terms_of(local, layers.state, wrt), {gradient(f, layers.state): closed})
    )
    elsewhere = [d for d in (*layers.before, *layers.after) if wrt in leaves(d.value)]
    if elsewhere:
        raise UnsupportedError(f"{wrt} is used in the loop and outside it")
    out.result = _sum(by_layer, loop)
    out.closed = _sum(written_out, loop)
    number = out.record("depth.shared", (gradient(f, wrt), out.result, out.closed), [len(out.steps)])
    geometric = _geometric(out, written_out, layers, number, tidy)
    if geometric is not None:
        out.closed = geometric
    return out


def _sum(term: Expr, loop: Loop) -> Expr:
    if is_scalar(term):
        return Sum(term, (loop.index, loop.lower, loop.upper))
    return MatrixSum(term, loop.index, loop.lower, loop.upper)


def _geometric(out: DepthSweep, term: Expr, layers: Layers, premise: int, tidy: Tidy) -> Expr | None:
    """sum_l M^(L-l) c = (sum_{k<n} M^k) c for a c that does not depend on the layer, n the number of layers.

    Closed as (I - M)^-1 (I - M^n) c, with the proof by induction on n, where I - M is invertible.
    """
    loop = layers.loop
    split = _power_times_constant(term, loop)
    if split is None:
        return None
    base, rest = split
    n = loop.upper - loop.lower + 1
    k = _counter([loop.index], _names(layers))
    if is_scalar(base):
        total = Sum(Pow(base, k), (k, 0, n - 1))
        closed = (1 - base**n) / (1 - base)
        number = out.record("depth.geometric", (gradient(out.f, out.wrt), matmul(total, rest)), [premise])
        _geometric_proof(out, base, S.One, k, number)
        result = tidy(matmul(closed, rest))
        out.record(
            "depth.geometric_closed", (gradient(out.f, out.wrt), result), [number, number + 2], base=base
        )
        return matmul(total, rest)
    size = base.shape[0]
    total = MatrixSum(matpower(base, k), k, 0, n - 1)
    number = out.record("depth.geometric", (gradient(out.f, out.wrt), matmul(total, rest)), [premise])
    _geometric_proof(out, base, eye(size), k, number)
    gap = add(eye(size), negate(base))
    closed = matmul(inverse(gap), add(eye(size), negate(matpower(base, n))), rest)
    out.record("depth.geometric_closed", (gradient(out.f, out.wrt), closed), [number, number + 2], base=base)
    return matmul(total, rest)


def _geometric_proof(out: DepthSweep, base: Expr, one: Expr, k: Symbol, premise: int) -> None:
    """(I - M) sum_{k<n} M^k = I - M^n: true for n = 0, and one more term keeps it true."""
    n = Symbol("n_", integer=True, nonnegative=True)
    power = matpower if is_matrix(base) else Pow

    def total(upper: Expr) -> Expr:
        body = power(base, k)
        return MatrixSum(body, k, S.Zero, upper) if is_matrix(base) else Sum(body, (k, 0, upper))

    gap = add(one, negate(base))
    nothing = zeros(*one.shape) if is_matrix(one) else S.Zero
    out.record("depth.geometric_base", (matmul(gap, total(S.NegativeOne)), nothing), [premise])
    claim = add(one, negate(power(base, n)))
    out.record(
        "depth.geometric_step",
        (
            matmul(gap, total(n)),
            add(matmul(gap, total(n - 1)), matmul(gap, power(base, n))),
            add(claim, matmul(gap, power(base, n))),
            add(one, negate(power(base, n + 1))),
        ),
        [premise],
        given={matmul(gap, total(n - 1)): claim},
    )


def _power_times_constant(term: Expr, loop: Loop) -> tuple[Expr, Expr] | None:
    """(M, c) if the term is M^(upper - l) c with M and c free of the layer's index."""
    factors = list(term.args) if isinstance(term, Mul | MatMul) else [term]
    dependent = [f for f in factors if f.has(loop.index)]
    if len(dependent) != 1:
        return None
    power = dependent[0]
    turned = power.args and not isinstance(power, Pow) and is_matrix(power) and hasattr(power, "arg")
    inner = power.arg if turned else power
    if len(inner.args) != 2 or inner.args[0].has(loop.index) or is_leaf(inner):
        return None
    base, exponent = inner.args
    if (exponent - (loop.upper - loop.index)).expand() != 0:
        return None
    if is_scalar(power):
        return base, Mul(*(f for f in factors if f is not power))
    position = factors.index(power)
    if any(is_matrix(f) for f in factors[:position]):
        return None
    rest = matmul(*factors[:position], *factors[position + 1 :])
    return (transpose(base) if turned else base), rest


def forward(model: Model, tidy: Tidy) -> DepthSweep:
    """The state of an affine loop s[l] = A s[l-1] + c with the same A and c in all layers, in closed form.

    s[l] = A^l s[0] + (sum_{k<l} A^k) c, with its proof by induction upwards.

    Raises   UnsupportedError if the loop is not of this form
    """
    layers = layers_of(model)
    loop, index = layers.loop, layers.loop.index
    value = layers.state
    for d in reversed(loop.body):
        value = substitute(value, {d.symbol: d.value})
    previous = layers.at(index - 1)
    terms = value.args if isinstance(value, MatAdd) or value.is_Add else (value,)
    linear = [t for t in terms if previous in dependents(t, {previous})]
    constant = [t for t in terms if t not in linear]
    factor = linear_factor(add(*linear), previous) if linear else None
    if factor is None or factor.has(index) or any(t.has(index) for t in constant):
        raise UnsupportedError("the layers are not the same affine map")
    first = layers.at(loop.lower - 1)
    k = _counter([index], _names(layers))
    power = matpower if is_matrix(factor) else Pow

    def claim(at: Expr) -> Expr:
        steps = at - loop.lower + 1
        leading = matmul(power(factor, steps), first)
        if not constant:
            return leading
        body = power(factor, k)
        total = MatrixSum(body, k, 0, steps - 1) if is_matrix(factor) else Sum(body, (k, 0, steps - 1))
        return add(leading, matmul(total, add(*constant)))

    f = layers.state
    out = DepthSweep(f, first)
    rule = out.record("depth.layer", (f, value), ())
    stated = out.record("depth.forward", (f, claim(index)), [rule])
    out.record("depth.forward_base", (claim(loop.lower - 1), first), [stated])
    out.record(
        "depth.forward_step",
        (
            layers.at(index + 1),
            value.xreplace({index: index + 1}),
            substitute(value.xreplace({index: index + 1}), {f: claim(index)}),
            claim(index + 1),
        ),
        [rule, stated],
        given={f: claim(index)},
    )
    out.result = out.closed = claim(loop.upper)
    out.record("depth.forward_end", (layers.at(loop.upper), out.closed), [stated])
    return out
