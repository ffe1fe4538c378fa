"""Gradients entry by entry: index notation with sums and Kronecker deltas, then back to matrices.

Definition by definition, as people do it by hand: the chain rule summed over the entries of the definition, its
entry written out, the derivative with its deltas, the deltas contracted, and the matrix that has these entries.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sympy import Expr, S, Sum
from sympy.matrices.expressions.matexpr import MatrixElement
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.transpose import Transpose

from symgrad.deriving.backprop import AsDerived, Tidy, active_symbols
from symgrad.deriving.deltas import bordered, contract
from symgrad.deriving.index_calculus import differentiate
from symgrad.deriving.index_networks import to_matrix
from symgrad.deriving.steps import Step
from symgrad.errors import DeriveError, UnsupportedError
from symgrad.expr import (
    Definition,
    Entries,
    Gradient,
    Indices,
    Model,
    PartialDerivative,
    ScalarGradient,
    TensorElement,
    TensorEntries,
    TensorGradient,
    add,
    element,
    gradient,
    is_scalar,
    is_tensor,
    leaves,
    names_in,
    replace_index,
    shape_of,
    shape_text,
    total,
    walk,
    zeros,
)
from symgrad.expr.entries_of import entry, normalised_exponential, spelled

__all__ = ["ComponentSweep", "at_places", "components"]

Places = tuple[Expr, ...]


@dataclass
class ComponentSweep:
    """The steps in index notation, the result as a matrix (None if it has no such form) and as an entry.

    `entries` has for every variable its indices and the entry of its gradient, written with the gradients by the
    definitions that use it; `free` are the indices that stand in `f` itself, with their sizes.
    """

    f: Expr
    wrt: Expr
    free: dict[Expr, Expr] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    result: Expr | None = None
    adjoints: dict[Expr, Expr] = field(
        default_factory=dict
    )  # those that are matrices, in the order of the sweep
    entries: dict[Expr, tuple[Places, Expr]] = field(default_factory=dict)
    definitions: list[Definition] = field(default_factory=list)

    @property
    def places(self) -> Places:
        """The indices of the result's entry."""
        return self.entries[self.wrt][0]

    @property
    def result_entry(self) -> Expr:
        """The entry of the gradient by `wrt`."""
        return self.entries[self.wrt][1]

    def written_out(self, limit: int = 400) -> Expr | None:
        """The entry of the result with the gradients by definitions put in; None beyond `limit` symbols."""
        places = {k: n for k, n in zip(self.places, shape_of(self.wrt), strict=False) if not k.is_Number}
        e = self.result_entry
        for _ in range(len(self.entries) + 1):
            inner = [(n, v) for n in walk(e) if (v := self._variable_of(n)) in self.entries]
            if not inner:
                return e
            for n, v in inner:
                at, value = self.entries[v]
                e = e.xreplace({n: at_places(value, at, _indices(n))})
            e = contract(e, {**self.free, **places})
            if sum(1 for _ in walk(e)) > limit:
                return None
        return None

    def _variable_of(self, n: object) -> Expr | None:
        """The variable, where an entry of a gradient of `f` is met."""
        m = _parent(n)
        if isinstance(m, Gradient | TensorGradient | ScalarGradient) and m.args[0] == self.f:
            return m.args[1]
        return None

    def record(
        self,
        rule: str,
        equation: tuple[Expr, ...],
        premises: tuple[int, ...],
        phrase: str | None = None,
        **terms: Expr,
    ) -> int:
        """Add a step; equal neighbours of the chain are written once. Returns its number."""
        chain: list[Expr] = []
        for e in map(bordered, equation):
            if not chain or chain[-1] != e:
                chain.append(e)
        number = len(self.steps) + 1
        self.steps.append(
            Step(number, rule, tuple(chain), premises, phrase or rule, {"node": chain[0], **terms})
        )
        return number


def _parent(n: object) -> Expr | None:
    """What an entry is an entry of; a derivative by a scalar is its own entry."""
    if isinstance(n, MatrixElement | TensorElement):
        return n.args[0]
    return n if isinstance(n, ScalarGradient) else None


def _indices(n: Expr) -> Places:
    return tuple(n.args[1:]) if isinstance(n, MatrixElement | TensorElement) else ()


def at_places(e: Expr, at: Places, places: Places) -> Expr:
    """An entry at other indices, all replaced at once."""
    if not places:
        return e
    letters = tuple(k for k in at if not k.is_Number)
    array = TensorEntries(e, *letters, *[S.One] * len(letters)) if letters else None
    return e if array is None else array.at(*(p for k, p in zip(at, places, strict=True) if not k.is_Number))


def components(
    model: Model, f: Expr, wrt: Expr, tidy: Tidy | None = None, free: dict[Expr, Expr] | None = None
) -> ComponentSweep:
    """The gradient of the scalar `f` by `wrt` through components.

    `f` may be an entry of an array; then `free` are its indices with their sizes, and the entries of the result
    are those of a Jacobian.

    Raises   DeriveError if `f` is not a scalar, UnsupportedError where an operation has no entries
    """
    if not is_scalar(f):
        raise DeriveError(f"a gradient is taken of a scalar, not of a {shape_text(shape_of(f))}")
    tidy = tidy or AsDerived()
    sweep = ComponentSweep(f, wrt, dict(free or {}))
    definitions = _up_to(f, list(model.definitions()))
    sweep.definitions = definitions
    if f not in {d.symbol for d in definitions}:
        definitions.append(Definition(f, f))
    active = active_symbols(definitions, [wrt])
    names = names_in(f, wrt, *(e for d in definitions for e in (d.symbol, d.value)))
    settled: dict[Expr, int] = {f: 0}
    for v in [*reversed([d.symbol for d in definitions if d.symbol in active and d.symbol != f]), wrt]:
        users = [d for d in definitions if d.symbol in settled and v in leaves(d.value) and d.symbol != v]
        if v in settled or not users:
            continue
        settled[v] = _variable(sweep, v, users, settled, set(names), tidy)
        if v == wrt:
            break
    if wrt not in settled:
        sweep.entries[wrt] = (Indices(names).of(shape_of(wrt), "pqrs"), S.Zero)
        sweep.result = None if is_tensor(wrt) else zeros(*wrt.shape) if shape_of(wrt) else S.Zero
    return sweep


def _up_to(f: Expr, definitions: list[Definition]) -> list[Definition]:
    """The definitions that an entry of an array rests on, and the entry itself in place of the array's."""
    array = f.args[0] if isinstance(f, MatrixElement | TensorElement) else None
    last = next((n for n, d in enumerate(definitions) if d.symbol == array), None)
    if last is None:
        return definitions
    return [*definitions[:last], Definition(f, entry(definitions[last].value, *f.args[1:]))]


def _variable(
    sweep: ComponentSweep,
    v: Expr,
    users: list[Definition],
    settled: dict[Expr, int],
    names: set[str],
    tidy: Tidy,
) -> int:
    """The gradient by one variable, from those by the definitions that use it; the number of its last step."""
    ix = Indices(names)
    at = ix.of(shape_of(v), "pqrs")
    sizes = dict(sweep.free)
    sizes |= {k: n for k, n in zip(at, shape_of(v), strict=False) if not k.is_Number}
    own = ScalarGradient(sweep.f, element(v, *at))
    chain, entries, inserted, shifted = [], [], [], []
    for d in users:
        places = _places_of(d, ix)
        over = tuple((k, n) for k, n in zip(places, shape_of(d.symbol), strict=False) if not k.is_Number)
        c = element(d.symbol, *places)
        upstream = S.One if d.symbol == sweep.f else element(gradient(sweep.f, d.symbol), *places)
        local = PartialDerivative(c, element(v, *at), *_between(sweep, d, v))
        chain.append(total(upstream * local, *over))
        formula = entry(d.value, *places, indices=ix)
        formula, raw = _derived(d, formula, v, places, at, ix)
        premise = (settled[d.symbol],) if settled[d.symbol] else ()
        said = isinstance(d.value, Entries | TensorEntries) and formula == d.value.body
        number = (
            sweep.record("components.entry", (c, formula), (), entry=c) if c != formula and not said else 0
        )
        worked_out = contract(raw, {**sizes, **dict(over)})
        number = sweep.record(
            "components.derivative",
            (local, raw, worked_out),
            (number,) if number else (),
            by=element(v, *at),
        )
        entries.append((number, *premise))
        inserted.append(total(upstream * worked_out, *over))
        shifted.append(total(upstream * raw, *over))
    premises = tuple(sorted({n for e in entries for n in e}))
    # From the derivatives as they came, so that a shift leaves the indices of the variable's partner in the sum.
    contracted = contract(add(*shifted), sizes)
    direct = len(users) == 1 and users[0].symbol == sweep.f
    last = premises[-1]
    if not direct:
        chained = sweep.record("components.chain", (own, add(*chain)), (), by=element(v, *at))
        last = sweep.record("components.contract", (own, add(*inserted), contracted), (*premises, chained))
    sweep.entries[v] = (at, contracted)
    if is_tensor(v):
        return last
    matrix = to_matrix(contracted, at, shape_of(v) or (S.One, S.One))
    if matrix is None and not shape_of(v):
        matrix = contracted
    if matrix is None:
        return last
    shown = sweep.adjoints[v] = tidy(matrix)
    if v == sweep.wrt:
        sweep.result = shown
    if matrix == contracted and shown == matrix:
        return last
    turned = _turned(shown)
    phrase = "components.matrix_transposed" if turned else "components.matrix"
    return sweep.record(
        "components.matrix", (gradient(sweep.f, v), matrix, shown), (last,), phrase=phrase, **turned
    )


def _derived(
    d: Definition, formula: Expr, v: Expr, places: Places, at: Places, ix: Indices
) -> tuple[Expr, Expr]:
    """The entry of a definition, written out as far as its derivative needs, and the derivative.

    A softmax that has a name has the derivative P_j (du_j - sum_l P_l du_l).
    """
    softmax = normalised_exponential(formula)
    if softmax is not None and places and d.symbol != v:
        exponent, j, ends = softmax
        l = ix.fresh("lkrst")  # noqa: E741
        other = tuple(l if k == j else k for k in places)
        own = differentiate(exponent, v, *at, indices=ix)
        mean = Sum(
            element(d.symbol, *other) * differentiate(replace_index(exponent, j, l), v, *at, indices=ix),
            (l, *ends),
        )
        return formula, element(d.symbol, *places) * add(own, -mean)
    try:
        return formula, differentiate(formula, v, *at, indices=ix)
    except UnsupportedError:
        formula = spelled(formula, ix)
        return formula, differentiate(formula, v, *at, indices=ix)


def _between(sweep: ComponentSweep, d: Definition, v: Expr) -> list[Expr]:
    """The other names in a definition that depend on a variable too."""
    active = active_symbols(sweep.definitions, [v])
    return [u for u in leaves(d.value) if u in active and u != v]


def _places_of(d: Definition, ix: Indices) -> Places:
    """The indices in which the entries of a definition are written: its own ones if it is given by entries."""
    if isinstance(d.value, Entries | TensorEntries):
        return d.value.indices
    return ix.of(shape_of(d.symbol), "ijkl")


def _turned(m: Expr) -> dict[str, Expr]:
    """The factor that stands transposed in a product, for a sentence that says why."""
    if isinstance(m, MatMul):
        for factor in m.args:
            if isinstance(factor, Transpose):
                return {"transposed": factor.arg}
    return {}
