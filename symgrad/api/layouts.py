"""The result as it was asked for: in a layout, or for a variable whose entries are tied."""

from __future__ import annotations

from dataclasses import replace

from sympy import Rational

from symgrad.api.derivation import Derivation, Layout, Structure
from symgrad.deriving.steps import Step
from symgrad.errors import UnsupportedError
from symgrad.expr import add, eye, hadamard, is_matrix, negate, same_size, scale, transpose
from symgrad.simplifying import Simplifier

__all__ = ["in_layout", "in_structure"]


def in_structure(derivation: Derivation, structure: Structure) -> Derivation:
    """The gradient for a variable whose entries are tied, from the gradient G that ignores this.

    symmetric-subspace  (G + G^T) / 2, the gradient within the symmetric matrices
    symmetric-entries   G + G^T - G o I, entry (i, j) is the derivative by the pair x_ij = x_ji
    diagonal-entries    G o I, the derivative by the entries of a diagonal matrix
    (Petersen and Pedersen 2012, section 2.8)
    """
    g, wrt = derivation.final, derivation.wrt
    if derivation.kind != "gradient" or not is_matrix(wrt) or not same_size(*wrt.shape):
        raise UnsupportedError(f"the structure {structure} is for gradients by a square matrix")
    tidy = Simplifier.for_question(derivation.model, derivation.of)
    on_diagonal = hadamard(g, eye(wrt.shape[0]))
    if structure == "symmetric-subspace":
        raw = scale(Rational(1, 2), add(g, transpose(g)))
    elif structure == "symmetric-entries":
        raw = add(g, transpose(g), negate(on_diagonal))
    elif structure == "diagonal-entries":
        raw = on_diagonal
    else:
        raise UnsupportedError(
            f"the structure {structure} is not known",
            hint="known: symmetric-subspace, symmetric-entries, diagonal-entries",
        )
    answer = tidy.textbook(raw)
    number = len(derivation.steps) + 1
    step = Step(
        number, f"structure.{structure}", (raw, answer), (number - 1,), f"structure.{structure}", {"node": g}
    )
    used = tuple(sorted({*derivation.assumptions, *(f"{n} {w}" for n, w in tidy.properties.used)}))
    return replace(
        derivation,
        result=answer,
        answer=answer,
        structure=structure,
        steps=(*derivation.steps, step),
        assumptions=used,
    )


def in_layout(derivation: Derivation, layout: Layout) -> Derivation:
    """The result in the layout that was asked for; the conversion is a step.

    A gradient has the shape of its variable, in numerator layout the transposed one; a Jacobian is
    J[i, j] = d f_i / d x_j, in denominator layout the transpose of that.
    """
    turned = {"gradient": "numerator", "jacobian": "denominator"}.get(derivation.kind)
    if layout != turned or not is_matrix(derivation.result):
        return replace(derivation, layout=layout)
    tidy = Simplifier.for_question(derivation.model, derivation.of)
    result = tidy(transpose(derivation.result))
    answer = None if derivation.answer is None else tidy(transpose(derivation.answer))
    left = transpose(derivation.left)
    step = Step(
        len(derivation.steps) + 1,
        "layout",
        (left, transpose(derivation.result), result),
        (len(derivation.steps),),
        "layout",
        {"node": left},
    )
    return replace(derivation, layout=layout, result=result, answer=answer, steps=(*derivation.steps, step))
