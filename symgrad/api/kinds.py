"""A derivation of each kind by each method: gradient, Jacobian, Hessian, differential."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from sympy import Expr

from symgrad.api.derivation import Derivation, Kind, Method
from symgrad.deriving.backprop import backprop, expand, needed_steps
from symgrad.deriving.by_entries import (
    differential_in_indices,
    gradient_in_indices,
    hessian_in_indices,
    in_matrix_notation,
    is_by_entries,
    jacobian_in_indices,
)
from symgrad.deriving.steps import Evidence, Step
from symgrad.errors import DeriveError, UnsupportedError
from symgrad.expr import (
    Model,
    gradient,
    is_column,
    is_scalar,
    jacobian,
    leaf_name,
    scale,
    shape_of,
    shape_text,
    split_scale,
)
from symgrad.simplifying import PREPARING, Simplifier, operations

__all__ = ["derived_by_kind"]

Maker = Callable[[Model, Expr, Expr], "Derivation"]


def derived_by_kind(
    model: Model, target: Expr, variable: Expr, kind: Kind, method: Method | None
) -> Derivation:
    """The derivation of a kind by a method; the method that suits if none is asked for."""
    if model.has_loops:
        if kind != "gradient" or method not in (None, "depth"):
            raise UnsupportedError(
                f"a loop of symbolic length: {kind} by {method or 'any method'} is not available",
                hint="its gradient is derived by the method depth",
            )
        return _by_depth(model, target, variable)
    if is_by_entries(model, target, variable):
        return _by_entries(model, target, variable, kind, method)
    prepared = Simplifier(model.assumptions, only=PREPARING)(target)
    if prepared != target:
        return _prepared(model, target, prepared, variable, kind, method)
    if kind == "gradient":
        makers = {
            None: _by_backprop,
            "backprop": _by_backprop,
            "differential": _by_differential,
            "components": _by_components,
        }
        if method not in makers:
            raise UnsupportedError(
                f"the method {method} needs a loop of symbolic length",
                hint="available here: backprop, differential, components",
            )
        return makers[method](model, target, variable)
    if method not in (None, "differential"):
        raise UnsupportedError(f"a {kind} is derived by the method differential, not by {method}")
    if kind == "hessian":
        return _beside(model, target, variable, kind, _hessian)
    if kind == "jacobian":
        return _beside(model, target, variable, kind, _jacobian)
    return _total_differential(model, target, variable)


def _prepared(
    model: Model, target: Expr, prepared: Expr, variable: Expr, kind: Kind, method: Method | None
) -> Derivation:
    """The derivation of an equal function that is easier to derive; that they are equal is the first step."""
    derived = derived_by_kind(model, prepared, variable, kind, method)
    first = Step(1, "prepare", (target, prepared), (), "prepare", {"node": target})
    later = [
        replace(s, number=s.number + 1, premises=tuple(p + 1 for p in s.premises) or (1,))
        for s in derived.steps
    ]
    derived = replace(derived, of=target, steps=(first, *later))
    if derived.answer is None or not is_scalar(target):
        return derived
    c, rest = split_scale(derived.answer)
    answer = scale(c.subs(prepared, target), rest)  # det(A)^q det(X)^p is the determinant of the question
    return replace(derived, answer=answer) if operations(answer) < operations(derived.answer) else derived


def finished(
    model: Model,
    target: Expr,
    variable: Expr,
    tidy: Simplifier,
    *,
    kind: Kind = "gradient",
    method: Method,
    steps: Iterable[Step],
    result: Expr,
    answer: Expr | None,
) -> Derivation:
    """The parts put together, with the assumptions that mattered."""
    used = tuple(f"{name} {word}" for name, word in sorted(tidy.properties.used))
    return Derivation(
        model,
        target,
        variable,
        kind,
        method,
        "gradient",
        tuple(steps),
        result,
        answer,
        Evidence("none"),
        used,
    )


def _by_backprop(model: Model, target: Expr, variable: Expr, tidy: Simplifier | None = None) -> Derivation:
    tidy = tidy or Simplifier.for_question(model, target)
    sweep = backprop(model, target, [variable], tidy)
    result = tidy.textbook(sweep.adjoints[variable])
    answer = expand(result, sweep)
    steps = needed_steps(sweep, variable)
    if steps and steps[-1].right == sweep.adjoints[variable]:
        steps[-1] = replace(steps[-1], equation=(*steps[-1].equation[:-1], result))
    return finished(
        model,
        target,
        variable,
        tidy,
        method="backprop",
        steps=steps,
        result=result,
        answer=None if answer is None else tidy.textbook(answer),
    )


def _by_depth(model: Model, target: Expr, variable: Expr) -> Derivation:
    from symgrad.deriving.depth import depth

    tidy = Simplifier.for_question(model, target, free=variable)
    sweep = depth(model, target, variable, tidy)
    return finished(
        model,
        target,
        variable,
        tidy,
        method="depth",
        steps=sweep.steps,
        result=sweep.result,
        answer=sweep.closed,
    )


def _by_components(model: Model, target: Expr, variable: Expr) -> Derivation:
    from symgrad.deriving.components import components

    tidy = Simplifier.for_question(model, target)
    sweep = components(model, target, variable, tidy)
    if sweep.result is None:
        raise UnsupportedError(
            "the gradient has no matrix form", hint="its entries are: " + str(sweep.result_entry)
        )
    answer = expand(sweep.result, sweep)
    return finished(
        model,
        target,
        variable,
        tidy,
        method="components",
        steps=sweep.steps,
        result=sweep.result,
        answer=None if answer is None else tidy.textbook(answer),
    )


def _by_entries(model: Model, target: Expr, variable: Expr, kind: Kind, method: Method | None) -> Derivation:
    """The derivation of a model that is written by entries: as a matrix model where it has that form."""
    restated = None
    if method != "components":
        restated = in_matrix_notation(model, target, variable, Simplifier(model.assumptions))
    if restated is not None:
        matrix_model, matrix_target, first = restated
        try:
            derived = derived_by_kind(matrix_model, matrix_target, variable, kind, method)
            return replace(derived, steps=_after(first, derived.steps))
        except UnsupportedError:
            if kind == "gradient":
                raise
    if method not in (None, "components"):
        raise UnsupportedError(f"a model by entries is derived by components, not by {method}")
    return _in_indices(model, target, variable, kind)


def _after(first: tuple[Step, ...], later: tuple[Step, ...]) -> tuple[Step, ...]:
    """Steps put before others, which are renumbered."""
    by = len(first)
    shifted = (replace(s, number=s.number + by, premises=tuple(p + by for p in s.premises)) for s in later)
    return (*first, *shifted)


def _in_indices(model: Model, target: Expr, variable: Expr, kind: Kind) -> Derivation:
    """The derivation in index notation, with the matrix form of the answer where it has one."""
    tidy = Simplifier.for_question(model, target)
    if kind == "differential":
        found = differential_in_indices(model, target, variable)
    elif kind == "hessian":
        found = hessian_in_indices(model, target, variable)
    elif kind == "jacobian" or not is_scalar(target):
        if kind == "gradient":
            raise DeriveError(
                f"a gradient is taken of a scalar, not of a {shape_text(shape_of(target))}",
                hint="an array has a Jacobian (kind jacobian)",
            )
        found = jacobian_in_indices(model, target, variable)
    else:
        found = gradient_in_indices(model, target, variable)
    if found.matrix is not None:
        result: Expr = tidy.shortest(found.matrix)
        answer: Expr | None = result
    else:
        result, answer = found.named, found.entry
    derived = finished(
        model,
        target,
        variable,
        tidy,
        kind=kind,
        method="components",
        steps=found.steps,
        result=result,
        answer=answer,
    )
    return replace(derived, indices=found)


def _by_differential(model: Model, target: Expr, variable: Expr) -> Derivation:
    from symgrad.deriving.differential import gradient_by_differential

    tidy = Simplifier.for_question(model, target)
    sweep, found = gradient_by_differential(model, target, variable, tidy)
    answer = tidy.textbook(found)
    return finished(
        model, target, variable, tidy, method="differential", steps=sweep.steps, result=answer, answer=answer
    )


def _beside(model: Model, target: Expr, variable: Expr, kind: Kind, by_kronecker: Maker) -> Derivation:
    """A derivative with more than two indices: by Kronecker products where there is such a form, and by entries."""
    if is_scalar(variable) or (
        is_column(variable) and (kind == "hessian" or is_scalar(target) or is_column(target))
    ):
        return by_kronecker(model, target, variable)
    try:
        stacked = by_kronecker(model, target, variable)
    except UnsupportedError:
        return _in_indices(model, target, variable, kind)
    try:
        return replace(stacked, entrywise=_in_indices(model, target, variable, kind))
    except UnsupportedError:
        return stacked


def _jacobian(model: Model, target: Expr, variable: Expr) -> Derivation:
    """The Jacobian; of or by a matrix, that of the stacked columns."""
    from symgrad.deriving.differential import jacobian_by_differential

    tidy = Simplifier.for_question(model, target)
    sweep, found = jacobian_by_differential(model, target, variable, tidy)
    answer = tidy.textbook(found)
    return finished(
        model,
        target,
        variable,
        tidy,
        kind="jacobian",
        method="differential",
        steps=sweep.steps,
        result=answer,
        answer=answer,
    )


def _hessian(model: Model, target: Expr, variable: Expr) -> Derivation:
    """The Jacobian of the gradient; by a matrix, that of vec(G) by vec(X)."""
    from symgrad.deriving.differential import jacobian_by_differential

    free = _freed(model, variable)
    tidy = Simplifier.for_question(free, target, free=variable)
    first = _by_backprop(free, target, variable, tidy)
    if first.answer is None:
        raise UnsupportedError("the gradient is too long to be written out and derived again")
    sweep, found = jacobian_by_differential(free, first.answer, variable, tidy)
    used = tidy.properties.used
    if free is not model:  # at the point itself all that is assumed holds
        tidy = Simplifier.for_question(model, target)
    answer = tidy.textbook(found)
    tidy.properties.used |= used
    shift = len(first.steps)
    second = [
        replace(s, number=s.number + shift, premises=tuple(p + shift for p in s.premises))
        for s in sweep.steps
    ]
    last = replace(
        second[-1], equation=(jacobian(gradient(target, variable), variable), *second[-1].equation)
    )
    return finished(
        model,
        target,
        variable,
        tidy,
        kind="hessian",
        method="differential",
        steps=(*first.steps, *second[:-1], last),
        result=answer,
        answer=answer,
    )


_OPEN = frozenset(
    [
        "square",
        "invertible",
        "positive",
        "nonzero",
        "in01",
        "full_column_rank",
        "full_row_rank",
        "positive_integer",
    ]
)


def _freed(model: Model, variable: Expr) -> Model:
    """The model for deriving twice: what is assumed of the variable must hold around it, not at it alone.

    Symmetry, or entries that sum to one, may shorten a gradient at a point; it would falsify the next derivative.
    """
    words = model.assumptions.get(leaf_name(variable), frozenset())
    kept = words & _OPEN
    if "positive_definite" in words or "orthogonal" in words:
        kept |= {"invertible"}
    if kept == words:
        return model
    return replace(model, assumptions={**model.assumptions, leaf_name(variable): kept})


def _total_differential(model: Model, target: Expr, variable: Expr) -> Derivation:
    from symgrad.deriving.differential import scalar_differential

    tidy = Simplifier.for_question(model, target)
    sweep = scalar_differential(model, target, variable, tidy)
    return finished(
        model,
        target,
        variable,
        tidy,
        kind="differential",
        method="differential",
        steps=sweep.steps,
        result=sweep.total,
        answer=sweep.total,
    )
