"""The exercise that asks for a gradient at numbers: they are drawn, and its value is compared with differences."""

from __future__ import annotations

from typing import Any

import numpy as np
from sympy import Expr, Rational, Symbol

from symgrad.api import Derivation
from symgrad.checking.evaluate import Evaluator, concrete
from symgrad.errors import SymgradError, UnsupportedError
from symgrad.expr import (
    is_scalar,
    shape_of,
)
from symgrad.rendering.document import (
    Block,
    Equation,
    Formula,
    Paragraph,
    Row,
    joined,
)
from symgrad.rendering.exercise_tasks import Made, Task, context, sure
from symgrad.rendering.numbers import number, relation
from symgrad.rendering.recipe import RecipeModel
from symgrad.rendering.view import View

__all__ = ["numbers"]


def numbers(task: Task) -> Made:
    """Compute the gradient at numbers, which are drawn."""
    derivation, view, model = task.derivation(), task.view, task.model
    sizes: dict[Symbol, int] = {}
    inputs = [*derivation.model.inputs()]
    for e in (*inputs, derivation.of):
        for n in shape_of(e) if not is_scalar(e) else ():
            for s in n.free_symbols:
                sizes.setdefault(s, 2 + len(sizes) % 2)
    for _ in range(40):
        values = {e: _drawn(task, model, e, sizes) for e in inputs}
        try:
            found = _evaluated(derivation, values, sizes)
        except (ArithmeticError, ValueError, SymgradError):
            continue
        if np.all(np.isfinite(found)) and np.any(np.abs(found) > 1e-9):
            break
    else:
        raise UnsupportedError("no numbers were found at which the gradient has a value")
    sure(derivation.evidence, "the formula of the answer")
    blocks = task.question("exercise.numbers", derivation)
    if sizes:
        chosen = view.listed(joined(view.formula(s), f" = {n}") for s, n in sizes.items())
        blocks.append(Paragraph(view.words("exercise.sizes", sizes=chosen)))
    blocks += _listed_values(view, values)
    exact = bool(np.all(np.abs(found * 64 - np.round(found * 64)) < 1e-9))
    shown = _array(np.round(found * 64) / 64 if exact else found)
    formula = view.formula(derivation.final)
    row = Row(view.formula(derivation.left), joined(formula, " ", relation(exact), " ", shown))
    return Made(
        blocks,
        [Equation((row,))],
        {
            **context(task, derivation),
            "values": {str(e): np.asarray(v, dtype=float).tolist() for e, v in values.items()},
            "answer": np.asarray(found, dtype=float).tolist(),
            "evidence": derivation.evidence.level,
        },
        task.solution(derivation),
    )


def _listed_values(view: View, values: dict[Expr, Any]) -> list[Block]:
    """The numbers that are given: in a line if they are single numbers, else one below the other."""
    if all(is_scalar(e) for e in values):
        listed = view.listed(joined(view.formula(e), " = ", _array(v)) for e, v in values.items())
        return [Paragraph(view.words("exercise.values", values=listed))]
    return [Equation(tuple(Row(view.formula(e), _array(v)) for e, v in values.items()))]


def _drawn(task: Task, model: RecipeModel, e: Expr, sizes: dict[Symbol, int]) -> Any:
    """Small numbers for an input: those of the recipe if it has them, else drawn."""
    words = _assumed(model, e)
    if words & {
        "onehot",
        "onehot_rows",
        "onehot_cols",
        "prob",
        "prob_rows",
        "symmetric",
        "orthogonal",
        "invertible",
    }:
        if "onehot" in words and not is_scalar(e):
            rows = int(shape_of(e)[0].xreplace(sizes))
            place = task.chance.randrange(rows)
            return np.array([[1.0 if i == place else 0.0] for i in range(rows)])
        raise UnsupportedError(f"numbers for {e} ({', '.join(sorted(words))}) cannot be drawn")
    low = 1 if words & {"positive", "nonzero"} else -3
    if is_scalar(e):
        return Rational(task.chance.randint(low, 3))
    rows, columns = (int(s.xreplace(sizes)) for s in shape_of(e))
    return np.array([[float(task.chance.randint(low, 3)) for _ in range(columns)] for _ in range(rows)])


def _assumed(model: RecipeModel, e: Expr) -> frozenset[str]:
    """What is assumed of a name."""
    return model.model.assumptions.get(str(e), frozenset())


def _evaluated(
    derivation: Derivation, values: dict[Expr, Any], sizes: dict[Symbol, int]
) -> np.ndarray[Any, Any]:
    """The gradient at numbers, checked against differences of the function.

    Raises   UnsupportedError if they do not agree
    """
    evaluate = Evaluator()

    def value(e: Expr, known: dict[Expr, Any]) -> Any:
        return evaluate(concrete(e, sizes), known)

    def forward(point: dict[Expr, Any]) -> dict[Expr, Any]:
        known = {concrete(e, sizes): v for e, v in point.items()} | dict(sizes)
        for d in derivation.model.definitions():
            known[concrete(d.symbol, sizes)] = value(d.value, known)
        return known

    point = {e: float(v) if is_scalar(e) else np.asarray(v, dtype=float) for e, v in values.items()}
    found = np.atleast_2d(np.asarray(value(derivation.final, forward(point)), dtype=float))
    base = np.atleast_2d(np.asarray(point[derivation.wrt], dtype=float))
    slopes = np.zeros_like(base)
    for place in np.ndindex(base.shape):
        ends = []
        for sign in (1, -1):
            moved = base.copy()
            moved[place] += sign * 1e-5
            there = {**point, derivation.wrt: float(moved[0, 0]) if is_scalar(derivation.wrt) else moved}
            ends.append(float(np.asarray(value(derivation.of, forward(there))).item()))
        slopes[place] = (ends[0] - ends[1]) / 2e-5
    if found.shape != slopes.shape or not np.allclose(found, slopes, rtol=1e-4, atol=1e-5):
        raise UnsupportedError("the numbers of the answer do not agree with differences of the function")
    return found


def _array(value: Any) -> Formula:
    """A number, or a matrix of numbers."""
    if isinstance(value, Rational):
        return number(value)[0]
    array = np.atleast_2d(np.asarray(value, dtype=float))
    shown = [
        [
            number(
                Rational(v).limit_denominator(10**9)
                if float(v).is_integer() or (v * 64).is_integer()
                else float(v)
            )[0]
            for v in row
        ]
        for row in array
    ]
    if array.size == 1:
        return shown[0][0]
    return Formula(
        r"\begin{bmatrix} "
        + r" \\ ".join(" & ".join(f.latex for f in row) for row in shown)
        + r" \end{bmatrix}",
        "[" + "; ".join(", ".join(f.text for f in row) for row in shown) + "]",
        'mat(delim: "[", ' + "; ".join(", ".join(f.typst for f in row) for row in shown) + ")",
    )
