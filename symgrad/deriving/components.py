"""Gradients entry by entry: index notation with sums and Kronecker deltas, then back to matrices.

Definition by definition, as people do it by hand: the chain rule summed over the entries of the definition, its
entry written out, the derivative with its deltas, the deltas contracted, and the matrix that has these entries.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sympy import Expr, S
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.transpose import Transpose

from symgrad.deriving.backprop import AsDerived, Tidy, active_symbols
from symgrad.deriving.index_calculus import (
    Indices,
    contract,
    differentiate,
    element,
    entry,
    names_in,
    spelled,
    total,
)
from symgrad.deriving.index_networks import to_matrix
from symgrad.deriving.steps import Step
from symgrad.errors import DeriveError, UnsupportedError
from symgrad.expr import (
    Definition,
    Model,
    ScalarGradient,
    add,
    gradient,
    is_scalar,
    leaves,
    shape_of,
    shape_text,
    zeros,
)

__all__ = ["ComponentSweep", "components"]


@dataclass
class ComponentSweep:
    """The steps in index notation, the result as a matrix (None if it has no such form) and as an entry."""

    f: Expr
    wrt: Expr
    steps: list[Step] = field(default_factory=list)
    result: Expr | None = None
    result_entry: Expr = S.Zero

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
        for e in equation:
            if not chain or chain[-1] != e:
                chain.append(e)
        number = len(self.steps) + 1
        self.steps.append(
            Step(number, rule, tuple(chain), premises, phrase or rule, {"node": chain[0], **terms})
        )
        return number


def components(model: Model, f: Expr, wrt: Expr, tidy: Tidy | None = None) -> ComponentSweep:
    """The gradient of the scalar `f` by `wrt` through components.

    Raises   DeriveError if `f` is not a scalar, UnsupportedError where an operation has no entries
    """
    if not is_scalar(f):
        raise DeriveError(f"a gradient is taken of a scalar, not of a {shape_text(shape_of(f))}")
    tidy = tidy or AsDerived()
    sweep = ComponentSweep(f, wrt)
    definitions = list(model.definitions())
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
        sweep.result = zeros(*wrt.shape) if shape_of(wrt) else S.Zero
    return sweep


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
    p, q = ix.of(shape_of(v), "pqrs")
    own = ScalarGradient(sweep.f, element(v, p, q))
    chain, entries, inserted = [], [], []
    for d in users:
        i, j = ix.of(shape_of(d.symbol), "ijkl")
        c = element(d.symbol, i, j)
        over = tuple(
            (k, n)
            for k, n in zip((i, j), shape_of(d.symbol) or (S.One, S.One), strict=True)
            if not k.is_Number
        )
        upstream = S.One if d.symbol == sweep.f else element(gradient(sweep.f, d.symbol), i, j)
        local = ScalarGradient(c, element(v, p, q))
        chain.append(total(upstream * local, *over))
        formula = entry(d.value, i, j, ix)
        try:
            raw = differentiate(formula, v, p, q, ix)
        except UnsupportedError:
            formula = spelled(formula, ix)
            raw = differentiate(formula, v, p, q, ix)
        premise = (settled[d.symbol],) if settled[d.symbol] else ()
        number = sweep.record("components.entry", (c, formula), (), entry=c) if c != formula else 0
        worked_out = contract(raw)
        number = sweep.record(
            "components.derivative",
            (local, raw, worked_out),
            (number,) if number else (),
            by=element(v, p, q),
        )
        entries.append((number, *premise))
        inserted.append(total(upstream * worked_out, *over))
    premises = tuple(sorted({n for e in entries for n in e}))
    contracted = contract(add(*inserted))
    direct = len(users) == 1 and users[0].symbol == sweep.f
    last = premises[-1]
    if not direct:
        chained = sweep.record("components.chain", (own, add(*chain)), (), by=element(v, p, q))
        last = sweep.record("components.contract", (own, add(*inserted), contracted), (*premises, chained))
    if v == sweep.wrt:
        sweep.result_entry = contracted
    matrix = to_matrix(contracted, (p, q), shape_of(v) or (S.One, S.One))
    if matrix is None and not shape_of(v):
        matrix = contracted
    if matrix is None:
        if v == sweep.wrt:
            return last
        raise UnsupportedError(
            f"the gradient by {v} has no matrix form to go on with", hint=f"its entries are {contracted}"
        )
    shown = tidy(matrix)
    if v == sweep.wrt:
        sweep.result = shown
    if matrix == contracted and shown == matrix:
        return last
    turned = _turned(shown)
    phrase = "components.matrix_transposed" if turned else "components.matrix"
    return sweep.record(
        "components.matrix", (gradient(sweep.f, v), matrix, shown), (last,), phrase=phrase, **turned
    )


def _turned(m: Expr) -> dict[str, Expr]:
    """The factor that stands transposed in a product, for a sentence that says why."""
    if isinstance(m, MatMul):
        for factor in m.args:
            if isinstance(factor, Transpose):
                return {"transposed": factor.arg}
    return {}
