"""The public functions: a question in, a checked derivation out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from sympy import Expr

from symgrad.deriving.backprop import Sweep, backprop, expand, needed_steps
from symgrad.deriving.steps import Evidence, Step
from symgrad.errors import DeriveError, NameUnknownError, SymgradError, UnsupportedError
from symgrad.expr import Family, Model, is_leaf, is_matrix, leaf_name, leaves
from symgrad.simplifying import Simplifier, operations

__all__ = ["Derivation", "derive", "gradients"]

Kind = Literal["gradient", "jacobian", "hessian", "differential"]
Method = Literal["backprop", "differential", "components", "depth"]
Layout = Literal["gradient", "numerator"]
Words = Mapping[str, Sequence[str] | str] | str | None
Shapes = Mapping[str, Sequence[str | int]] | str | None


@dataclass(frozen=True)
class Derivation:
    """The gradient of `of` by `wrt`, the steps that lead to it, and what is known about it.

    `result` is written with the adjoints of named intermediates (unevaluated gradients) where those keep it
    short; `answer` is the same written out, or None where that would be too long to print. A gradient has
    the shape of `wrt`.
    """

    model: Model
    of: Expr
    wrt: Expr
    kind: Kind
    method: Method
    layout: Layout
    steps: tuple[Step, ...]
    result: Expr
    answer: Expr | None
    evidence: Evidence
    assumptions: tuple[str, ...] = ()
    seconds: float = field(default=0.0, compare=False)

    @property
    def final(self) -> Expr:
        """The answer, or the result where the answer is too long to be written out."""
        return self.result if self.answer is None else self.answer

    @property
    def operations(self) -> int:
        """The number of operations in the final form."""
        return operations(self.final)

    def to_numpy(self) -> str:
        """The final form in the text language; it can be read back and evaluated with NumPy."""
        from symgrad.rendering import to_numpy

        return to_numpy(self.final)

    def to_latex(self) -> str:
        """The final form in LaTeX, without its left side."""
        from symgrad.rendering import to_latex

        return to_latex(self.final)

    def _repr_latex_(self) -> str:
        from symgrad.rendering.derivation import latex_block

        return latex_block(self)

    def _repr_markdown_(self) -> str:
        from symgrad.rendering.derivation import render

        return render(self, "md")

    def __str__(self) -> str:
        from symgrad.rendering.derivation import render

        return render(self, "text")


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
    model, target = _question(f, of, given, shapes, assume, dims_equal, functions)
    variable = _variable(model, target, wrt)
    if kind != "gradient":
        raise UnsupportedError(f"the kind {kind} is not available", hint="available: gradient")
    chosen = method or ("depth" if model.has_loops else "backprop")
    if chosen == "depth" or model.has_loops:
        derived = _by_depth(model, target, variable)
    elif chosen == "backprop":
        derived = _by_backprop(model, target, variable)
    elif chosen == "components":
        derived = _by_components(model, target, variable)
    else:
        raise UnsupportedError(
            f"the method {chosen} is not available", hint="available: backprop, components"
        )
    derivation = replace(derived, kind=kind, layout=layout)
    if check:
        from symgrad.checking.derivation import check_derivation

        derivation = check_derivation(derivation)
    return replace(derivation, seconds=time.perf_counter() - start)


def gradients(model: Model, of: str | Expr, wrt: Iterable[str | Expr]) -> dict[Expr, Expr]:
    """All gradients of one sweep, written with the adjoints of named intermediates; not checked.

    The cost is linear in the number of definitions, however many variables are asked for.
    """
    target = model.symbol(of) if isinstance(of, str) else of
    variables = [model.symbol(v) if isinstance(v, str) else v for v in wrt]
    sweep = backprop(model, target, variables, Simplifier(model.assumptions))
    return {v: sweep.adjoints[v] for v in variables}


def _question(
    f: str | Expr | Model,
    of: str | Expr | None,
    given: Iterable[str],
    shapes: Shapes,
    assume: Words,
    dims_equal: Iterable[Sequence[str]],
    functions: Iterable[str],
) -> tuple[Model, Expr]:
    """The model and the expression that is asked about."""
    if isinstance(f, Model):
        if of is None:
            raise DeriveError("of which definition? give `of`", hint=_defined(f))
        return f, f.symbol(of) if isinstance(of, str) else of
    from symgrad.reading import read_assumptions, read_question

    if isinstance(f, str):
        return read_question(
            f,
            definitions=tuple(given),
            shapes=shapes,
            assume=assume,
            dims_equal=tuple(dims_equal),
            functions=tuple(functions),
        )
    if not isinstance(f, Expr):
        raise DeriveError(f"cannot derive a {type(f).__name__}; give text, a SymPy expression or a Model")
    from symgrad.reading.sympy_in import read_sympy

    words = read_assumptions(assume) if isinstance(assume, str) else assume or {}
    target = read_sympy(f)
    symbols: dict[str, Expr | Family] = {leaf_name(leaf): leaf for leaf in leaves(target)}
    listed = {name: frozenset([w] if isinstance(w, str) else w) for name, w in words.items()}
    return Model((), symbols, listed), target


def _defined(model: Model) -> str:
    return "the model defines " + ", ".join(dict.fromkeys(d.name for d in model.definitions()))


def _variable(model: Model, target: Expr, wrt: str | Expr) -> Expr:
    """The leaf that is asked for: a name, a member such as W[l], or a SymPy symbol."""
    if isinstance(wrt, str):
        from symgrad.reading import read_question

        try:
            _, variable = read_question(wrt, model=model)
        except SymgradError as error:
            if wrt.isidentifier() and isinstance(model.symbols.get(wrt), Family):
                variable = model.symbols[wrt][_loop_index(model)]  # type: ignore[index]
            else:
                raise NameUnknownError(
                    f"cannot derive by {wrt}: {error.message}",
                    hint="the names are " + ", ".join(sorted(model.symbols)),
                ) from error
    else:
        variable = wrt
    if not is_leaf(variable):
        raise DeriveError(f"a derivative is taken by a name, not by {wrt}")
    if is_matrix(variable) and not model.has_loops and not _occurs(model, target, variable):
        raise NameUnknownError(
            f"{wrt} does not occur in the formula", hint="the names are " + ", ".join(sorted(model.symbols))
        )
    return variable


def _occurs(model: Model, target: Expr, variable: Expr) -> bool:
    return variable in leaves(target) or any(
        variable == d.symbol or variable in leaves(d.value) for d in model.definitions()
    )


def _loop_index(model: Model) -> Expr:
    from symgrad.expr import Loop

    return next(item.index for item in model.items if isinstance(item, Loop))


def _by_backprop(model: Model, target: Expr, variable: Expr) -> Derivation:
    tidy = Simplifier(model.assumptions)
    sweep = backprop(model, target, [variable], tidy)
    return _from_sweep(model, target, variable, sweep, tidy)


def _from_sweep(model: Model, target: Expr, variable: Expr, sweep: Sweep, tidy: Simplifier) -> Derivation:
    result = sweep.adjoints[variable]
    answer = expand(result, sweep)
    if answer is not None:
        answer = tidy(answer)
    used = tuple(f"{name} {word}" for name, word in sorted(tidy.properties.used))
    steps = tuple(needed_steps(sweep, variable))
    return Derivation(
        model,
        target,
        variable,
        "gradient",
        "backprop",
        "gradient",
        steps,
        result,
        answer,
        Evidence("none"),
        used,
    )


def _by_depth(model: Model, target: Expr, variable: Expr) -> Derivation:
    from symgrad.deriving.depth import depth

    tidy = Simplifier(model.assumptions)
    sweep = depth(model, target, variable, tidy)
    used = tuple(f"{name} {word}" for name, word in sorted(tidy.properties.used))
    return Derivation(
        model,
        target,
        variable,
        "gradient",
        "depth",
        "gradient",
        tuple(sweep.steps),
        sweep.result,
        sweep.closed,
        Evidence("none"),
        used,
    )


def _by_components(model: Model, target: Expr, variable: Expr) -> Derivation:
    from symgrad.deriving.components import components

    tidy = Simplifier(model.assumptions)
    sweep = components(model, target, variable, tidy)
    if sweep.result is None:
        raise UnsupportedError(
            "the gradient has no matrix form", hint="its entries are: " + str(sweep.result_entry)
        )
    used = tuple(f"{name} {word}" for name, word in sorted(tidy.properties.used))
    return Derivation(
        model,
        target,
        variable,
        "gradient",
        "components",
        "gradient",
        tuple(sweep.steps),
        sweep.result,
        tidy(sweep.result),
        Evidence("none"),
        used,
    )
