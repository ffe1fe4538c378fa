"""The public functions: a question in, a checked derivation out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

from sympy import Basic, Expr

from symgrad.api.derivation import KINDS, Derivation, Kind, Layout, Method, Structure
from symgrad.api.kinds import derived_by_kind
from symgrad.api.layouts import in_layout, in_structure
from symgrad.api.question import Shapes, Words, question, sizes_of, variable_of
from symgrad.deriving.backprop import backprop
from symgrad.deriving.steps import Evidence, weakest
from symgrad.errors import DeriveError
from symgrad.expr import Model, transpose
from symgrad.simplifying import Simplifier

__all__ = ["Derivation", "Kind", "Layout", "Method", "Structure", "derive", "gradients"]


def derive(
    f: str | Expr | Model,
    wrt: str | Expr,
    *,
    of: str | Expr | None = None,
    given: Iterable[str] = (),
    shapes: Shapes = None,
    assume: Words = None,
    dims_equal: Iterable[Sequence[str]] = (),
    functions: Iterable[str] = (),
    kind: Kind = "gradient",
    method: Method | None = None,
    layout: Layout = "gradient",
    structure: Structure | None = None,
    check: bool = True,
) -> Derivation:
    """Derive the gradient of a scalar, step by step, and check every step.

    `f` is text, a SymPy expression, or a `Model` (then `of` says which definition); `given` are definitions
    that come before it. Shapes, assumptions and layouts are those of the command line.

    Raises   SymgradError: what could not be read, derived or checked, and why

    >>> d = derive("norm(X @ w - y)**2 / n", "w", shapes="X: n d, w: d, y: n")
    >>> d.to_numpy()
    '2 * X.T @ (X @ w - y) / n'
    """
    start = time.perf_counter()
    if kind not in KINDS:
        raise DeriveError(f"there is no kind {kind!r}", hint="the kinds are " + ", ".join(KINDS))
    counted = sizes_of(f, wrt)
    if counted:
        f, wrt = (e.xreplace(counted) if isinstance(e, Basic) else e for e in (f, wrt))
    model, target = question(f, of, given, shapes, assume, dims_equal, functions)
    variable = variable_of(model, target, wrt)
    derived = derived_by_kind(model, target, variable, kind, method)
    if structure is not None:
        derived = in_structure(derived, structure)
    derived = in_layout(derived, layout)
    if check:
        derived = _checked(derived)
    derived = replace(derived, seconds=time.perf_counter() - start)
    return derived.with_sizes({own: given for given, own in counted.items()}) if counted else derived


def gradients(model: Model, of: str | Expr, wrt: Iterable[str | Expr]) -> dict[Expr, Expr]:
    """All gradients of one sweep, written with the adjoints of named intermediates; not checked.

    The cost is linear in the number of definitions, however many variables are asked for.
    """
    target = model.symbol(of) if isinstance(of, str) else of
    variables = [model.symbol(v) if isinstance(v, str) else v for v in wrt]
    sweep = backprop(model, target, variables, Simplifier(model.assumptions))
    return {v: sweep.adjoints[v] for v in variables}


def _checked(derivation: Derivation) -> Derivation:
    """The derivation with the evidence for every step and for its answer.

    Raises   CheckError if a step or the answer is wrong
    """
    from symgrad.checking.answers import check_answer
    from symgrad.checking.derivation import check_steps, weakest_of
    from symgrad.checking.entries import check_in_indices

    if derivation.entrywise is not None:
        derivation = replace(derivation, entrywise=_checked(derivation.entrywise))
    steps = check_steps(derivation, derivation.steps)
    answer = derivation.answer
    if derivation.indices is not None:
        return replace(derivation, steps=steps, evidence=check_in_indices(derivation, steps))
    if derivation.layout not in ("gradient",) and derivation.steps and derivation.steps[-1].rule == "layout":
        answer = None if answer is None else transpose(answer)
    if answer is None and derivation.model.has_loops:
        evidence = weakest_of(check_answer(derivation, derivation.result, steps=steps), steps)
    elif answer is None:
        level = weakest([s.evidence for s in steps])
        evidence = Evidence(level, "every step of the chain rule")
    else:
        evidence = weakest_of(check_answer(derivation, answer, derivation.structure, steps), steps)
    return replace(derivation, steps=steps, evidence=evidence)
