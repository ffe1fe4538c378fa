"""Derivatives in index notation: of models that are written by entries, and of any number of indices.

Where everything has a matrix form the model is brought to it and derived as a matrix model. Else the components of
the gradient, the Jacobian or the Hessian are the answer, and its matrix form where the answer has one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sympy import Dummy, Expr, S, Sum, Symbol
from sympy.core.parameters import distribute
from sympy.matrices.expressions.matexpr import MatrixElement

from symgrad.deriving.backprop import Tidy, active_symbols
from symgrad.deriving.components import ComponentSweep, at_places, components
from symgrad.deriving.deltas import bordered, contract, factored
from symgrad.deriving.index_calculus import differentiate, increment
from symgrad.deriving.index_networks import to_matrix
from symgrad.deriving.steps import Step
from symgrad.errors import UnsupportedError
from symgrad.expr import (
    Definition,
    Entries,
    Indices,
    Model,
    ScalarDifferential,
    ScalarGradient,
    TensorElement,
    TensorEntries,
    differential,
    element,
    from_entries,
    is_scalar,
    is_tensor,
    leaf_name,
    names_in,
    printed_size,
    replace_index,
    shape_of,
    substitute,
    total,
    walk,
)
from symgrad.expr.entries_of import entry, normalised_exponential, spelled

__all__ = [
    "InIndices",
    "differential_in_indices",
    "gradient_in_indices",
    "hessian_in_indices",
    "in_matrix_notation",
    "is_by_entries",
    "jacobian_in_indices",
]

_LONGEST = 1500
_AS_LONG = 1.25
Places = tuple[Expr, ...]


@dataclass(frozen=True)
class InIndices:
    """A derivative in index notation.

    left      the derivative by an entry, not worked out
    entry     what it is, in the names that the model does not define (None beyond a bound on its length)
    named     the same with the gradients by definitions left as they are
    indices   the free indices with their sizes, those of the function before those of the variable
    matrix    the matrix with these entries, None where there is none
    first     of a Hessian, the gradient that was derived once more
    """

    steps: tuple[Step, ...]
    left: Expr
    entry: Expr | None
    named: Expr
    indices: tuple[tuple[Expr, Expr], ...]
    matrix: Expr | None = None
    first: InIndices | None = None

    @property
    def array(self) -> Expr | None:
        """The array with the entries found, its axes in the order of the indices."""
        if self.entry is None:
            return None
        return from_entries(self.entry, [k for k, _ in self.indices], [n for _, n in self.indices])


def is_by_entries(model: Model, *expressions: Expr) -> bool:
    """Whether anything is written by entries, or has three indices or more."""
    formulas = (*expressions, *(e for d in model.definitions() for e in (d.symbol, d.value)))
    return not model.has_loops and any(_is_indexed(n) for e in formulas for n in walk(e))


def _is_indexed(n: object) -> bool:
    if isinstance(n, Sum):
        return n.has(MatrixElement, TensorElement)
    return isinstance(n, Entries | TensorEntries | MatrixElement) or is_tensor(n)


# --- to matrix notation ---------------------------------------------------------------------------------


def in_matrix_notation(
    model: Model, f: Expr, wrt: Expr, tidy: Tidy
) -> tuple[Model, Expr, tuple[Step, ...]] | None:
    """The model and the function without indices, and the steps that say so; None where a part has no matrix form."""
    if any(is_tensor(n) for e in (f, wrt, *(d.symbol for d in model.definitions())) for n in walk(e)):
        return None
    items: list[Definition] = []
    steps: list[Step] = []
    for d in model.definitions():
        value = _matrix_of(d.value)
        if value is None:
            return None
        if value != d.value:
            value = tidy(value)
            steps.append(_restated(len(steps) + 1, (d.symbol, d.value, value)))
        items.append(replace(d, value=value))
    target = _matrix_of(f)
    if target is None:
        return None
    if target != f:
        target = tidy(target)
        steps.append(_restated(len(steps) + 1, (f, target)))
    return replace(model, items=tuple(items)), target, tuple(steps)


def _restated(number: int, equation: tuple[Expr, ...]) -> Step:
    return Step(number, "components.restated", equation, (), "components.restated", {"node": equation[0]})


def _matrix_of(e: Expr) -> Expr | None:
    """The expression with every array by entries, and every sum over entries, in matrix notation."""
    replacing: dict[Expr, Expr] = {}
    for n in _outermost(e):
        if isinstance(n, Entries):
            m = to_matrix(entry(n, *n.indices), n.indices, n.sizes)
        else:
            m = to_matrix(entry(n), (S.Zero, S.Zero), (S.One, S.One))
        if m is None or any(_is_indexed(x) for x in walk(m)):
            return None
        replacing[n] = m
    return substitute(e, replacing) if replacing else e


def _outermost(e: Expr) -> Iterable[Expr]:
    """What is written by entries, without what stands inside it."""
    if _is_indexed(e):
        yield e
        return
    for a in e.args:
        if isinstance(a, Expr):
            yield from _outermost(a)


# --- derivatives -----------------------------------------------------------------------------------------


def gradient_in_indices(model: Model, f: Expr, wrt: Expr) -> InIndices:
    """The entries of the gradient of a scalar.

    Raises   UnsupportedError where an operation has no entries
    """
    sweep = components(model, f, wrt)
    return _answer(model, sweep, f, wrt, ())


def jacobian_in_indices(model: Model, f: Expr, wrt: Expr) -> InIndices:
    """The entries of the Jacobian: those of f by those of the variable, f given by a name or a formula.

    Raises   UnsupportedError where an operation has no entries
    """
    d = model.definition_of(f)
    if d is not None and isinstance(d.value, Entries | TensorEntries):
        places = d.value.indices
    else:
        places = Indices(_names(model, f, wrt)).of(shape_of(f), "ijkl")
    indices = tuple((k, n) for k, n in zip(places, shape_of(f), strict=False) if not k.is_Number)
    one = element(f, *places)
    sweep = components(model, one, wrt, free=dict(indices))
    return _answer(model, sweep, one, wrt, indices)


def _answer(
    model: Model, sweep: ComponentSweep, f: Expr, wrt: Expr, indices: tuple[tuple[Expr, Expr], ...]
) -> InIndices:
    places = sweep.places if shape_of(wrt) else ()
    of_wrt = tuple((k, n) for k, n in zip(places, shape_of(wrt), strict=False) if not k.is_Number)
    raw = sweep.written_out()
    matrix = None
    if raw is not None and not is_tensor(wrt) and not indices:
        matrix = to_matrix(raw, (*places, S.Zero, S.Zero)[:2], shape_of(wrt) or (S.One, S.One))
    named = bordered(sweep.result_entry)
    letters = _letters_of(model, f, wrt, tuple(k for k, _ in of_wrt), {k for k, _ in indices})
    own = tuple(letters.get(k, k) for k in places)

    def renamed(e: Expr) -> Expr:
        return factored(bordered(at_places(e, places, own)) if letters else e)

    return InIndices(
        tuple(sweep.steps),
        ScalarGradient(f, element(wrt, *own)),
        None if raw is None else renamed(bordered(raw)),
        renamed(named),
        (*indices, *((letters.get(k, k), n) for k, n in of_wrt)),
        matrix,
    )


def hessian_in_indices(model: Model, f: Expr, wrt: Expr) -> InIndices:
    """The entries of the second derivative of a scalar.

    Raises   UnsupportedError where the gradient is too long to be derived again, or an operation has no entries
    """
    first = gradient_in_indices(model, f, wrt)
    if first.entry is None:
        raise UnsupportedError("the gradient is too long to be written out and derived again")
    formula = _in_inputs(model, first.entry)
    ix = Indices({*_names(model, f, wrt), *names_in(formula)})
    sizes = dict(first.indices)
    places = ix.of(shape_of(wrt), "pqrstuv") if shape_of(wrt) else ()
    second = tuple((k, n) for k, n in zip(places, shape_of(wrt), strict=False) if not k.is_Number)
    try:
        raw = differentiate(formula, wrt, *places, indices=ix)
    except UnsupportedError:
        formula = spelled(formula, ix)
        raw = differentiate(formula, wrt, *places, indices=ix)
    found = contract(raw, {**sizes, **dict(second)})
    shown = bordered(found)
    left = ScalarGradient(first.left, element(wrt, *places))
    number = len(first.steps) + 1
    # The gradient itself is differentiated here: differences of differences would say little about a zero.
    chain = [ScalarGradient(bordered(formula), element(wrt, *places)), bordered(raw), shown]
    step = Step(
        number,
        "components.derivative",
        tuple(e for n, e in enumerate(chain) if n == 0 or e != chain[n - 1]),
        (number - 1,) if number > 1 else (),
        "components.derivative",
        {"node": chain[0], "by": element(wrt, *places)},
    )
    both = InIndices((*first.steps, step), left, shown, shown, (*first.indices, *second), first=first)
    if len(both.indices) == 2:
        rows, cols = both.indices
        m = to_matrix(found, (rows[0], cols[0]), (rows[1], cols[1]))
        both = replace(both, matrix=m)
    return both


# --- differentials ---------------------------------------------------------------------------------------


def differential_in_indices(model: Model, f: Expr, wrt: Expr) -> InIndices:
    """The differential of f, or of its entries, for the increment of the variable; definition by definition.

    Of a scalar it is also written as the sum of the gradient's entries times the increments, where that is no longer.

    Raises   UnsupportedError where an operation has no entries, or the result is too long to be written out
    """
    taken = _names(model, f, wrt)
    name = f"d{leaf_name(wrt)}"
    if name in taken:
        raise UnsupportedError(
            f"the increment of {leaf_name(wrt)} would be called {name}, which is a name already"
        )
    increments: dict[Expr, Expr] = {wrt: differential(wrt)}
    steps: list[Step] = []
    number_of: dict[Expr, int] = {}
    active = active_symbols(model.definitions(), [wrt])
    definitions = [d for d in model.definitions() if d.symbol in active and d.symbol != wrt]
    if f not in {d.symbol for d in definitions}:
        definitions.append(Definition(f, f))
    for d in definitions:
        places, left, found = _differential_of(d, increments, taken)
        premises = tuple(n for s, n in number_of.items() if d.value.has(s))
        steps.append(_in_differentials(len(steps) + 1, (left, found), premises, d))
        number_of[d.symbol] = len(steps)
        increments[d.symbol] = from_entries(found, places, shape_of(d.symbol)[: len(places)])
        if d.symbol == f:
            break
    indices = tuple((k, n) for k, n in zip(places, shape_of(f), strict=False) if not k.is_Number)
    matrix = None
    if is_scalar(f) and shape_of(wrt):
        collected = _collected(model, f, wrt)
        if collected is not None and printed_size(collected) <= _AS_LONG * printed_size(found):
            if collected != found:
                steps.append(_in_differentials(len(steps) + 1, (left, found, collected), (len(steps),)))
            found = collected
    if not is_tensor(f):
        matrix = to_matrix(found, (*places, S.Zero, S.Zero)[:2], shape_of(f) or (S.One, S.One))
        matrix = None if matrix is None or any(_is_indexed(n) for n in walk(matrix)) else matrix
    return InIndices(tuple(steps), left, found, found, indices, matrix)


def _differential_of(
    d: Definition, increments: dict[Expr, Expr], taken: set[str]
) -> tuple[Places, Expr, Expr]:
    """The indices of a definition's entries, the differential of an entry, and what it is.

    A softmax that has a name has the differential P_j (du_j - sum_l P_l du_l).
    """
    ix = Indices({*taken, *names_in(*increments.values())})
    own = d.value.indices if isinstance(d.value, Entries | TensorEntries) else None
    places = own or (ix.of(shape_of(d.symbol), "ijkl") if shape_of(d.symbol) else ())
    c = element(d.symbol, *places)
    formula = entry(d.value, *places, indices=ix)
    sizes = {k: n for k, n in zip(places, shape_of(d.symbol), strict=False) if not k.is_Number}
    softmax = normalised_exponential(formula)
    if softmax is not None and own:
        exponent, j, ends = softmax
        l = ix.fresh("lkrst")  # noqa: E741
        other = element(d.symbol, *(l if k == j else k for k in places))
        moved = increment(replace_index(exponent, j, l), increments, indices=ix)
        raw = c * (increment(exponent, increments, indices=ix) - Sum(other * moved, (l, *ends)))
    else:
        try:
            raw = increment(formula, increments, indices=ix)
        except UnsupportedError:
            raw = increment(spelled(formula, ix), increments, indices=ix)
    found = factored(bordered(contract(raw, sizes)))
    if sum(1 for _ in walk(found)) > _LONGEST:
        raise UnsupportedError(f"the differential of {d.name} is too long to be written out")
    return places, ScalarDifferential(c), found


def _collected(model: Model, f: Expr, wrt: Expr) -> Expr | None:
    """The sum of the gradient's entries times the increments."""
    try:
        found = gradient_in_indices(model, f, wrt)
    except UnsupportedError:
        return None
    if found.entry is None:
        return None
    letters = [k for k, _ in found.indices]
    places = iter(letters)
    at = [S.Zero if n == 1 and not is_tensor(wrt) else next(places) for n in shape_of(wrt)]
    number, rest = found.entry.as_coeff_Mul()
    summed = bordered(total(rest * element(differential(wrt), *at), *found.indices))
    with distribute(False):
        return number * summed


def _in_differentials(
    number: int, equation: tuple[Expr, ...], premises: tuple[int, ...], d: Definition | None = None
) -> Step:
    rule = "differential.definition" if d is not None else "differential.collected"
    return Step(number, rule, equation, premises, rule, {"node": equation[0]})


def _in_inputs(model: Model, e: Expr) -> Expr:
    """An index expression with every defined name written out."""
    values = {d.symbol: d.value for d in model.definitions()}
    for _ in range(len(values) + 1):
        inner = [
            n
            for n in walk(e)
            if (isinstance(n, MatrixElement | TensorElement) and n.args[0] in values)
            or (isinstance(n, Symbol) and n in values)
        ]
        if not inner:
            return e
        ix = Indices(names_in(e, *values.values()))
        replacing = {
            n: entry(values[n], indices=ix)
            if isinstance(n, Symbol)
            else entry(values[n.args[0]], *n.args[1:], indices=ix)
            for n in inner
        }
        e = contract(e.xreplace(replacing))
        if sum(1 for _ in walk(e)) > _LONGEST:
            raise UnsupportedError("the gradient is too long to be written out and derived again")
    return e


# --- letters ----------------------------------------------------------------------------------------------


def _names(model: Model, *expressions: Expr) -> set[str]:
    return names_in(*expressions, *(e for d in model.definitions() for e in (d.symbol, d.value)))


def _letters_of(
    model: Model, f: Expr, wrt: Expr, places: Sequence[Expr], taken: set[Expr]
) -> dict[Expr, Expr]:
    """The letters that the model itself gives the indices of the variable, those that are not taken already."""
    for e in (*(d.value for d in model.definitions()), f):
        for n in walk(e):
            if not isinstance(n, MatrixElement | TensorElement) or n.args[0] != wrt:
                continue
            letters = [k for k in n.args[1:] if not k.is_Number and not isinstance(k, Dummy)]
            if len(letters) == len(places) and all(isinstance(k, Symbol) for k in letters):
                if len(set(letters)) == len(letters) and not set(letters) & set(places):
                    return {p: k for p, k in zip(places, letters, strict=True) if k not in taken}
    return {}
