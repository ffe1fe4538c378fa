"""The public functions: a question in, a checked derivation out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from sympy import Expr, Rational

from symgrad.deriving.backprop import backprop, expand, needed_steps
from symgrad.deriving.by_entries import (
    InIndices,
    gradient_in_indices,
    hessian_in_indices,
    in_matrix_notation,
    is_by_entries,
    jacobian_in_indices,
)
from symgrad.deriving.steps import Evidence, Step, weakest
from symgrad.errors import DeriveError, NameUnknownError, SymgradError, UnsupportedError
from symgrad.expr import (
    Differential,
    Family,
    Model,
    ScalarDifferential,
    add,
    eye,
    gradient,
    hadamard,
    is_column,
    is_leaf,
    is_matrix,
    is_scalar,
    jacobian,
    leaf_name,
    leaves,
    negate,
    same_size,
    scale,
    shape_of,
    shape_text,
    split_scale,
    transpose,
)
from symgrad.simplifying import PREPARING, Simplifier, operations

__all__ = ["Derivation", "derive", "gradients"]

Kind = Literal["gradient", "jacobian", "hessian", "differential"]
Method = Literal["backprop", "differential", "components", "depth"]
Layout = Literal["gradient", "numerator", "denominator"]
Structure = Literal["symmetric-subspace", "symmetric-entries", "diagonal-entries"]
Maker = Callable[[Model, Expr, Expr], "Derivation"]
Words = Mapping[str, Sequence[str] | str] | str | None
Shapes = Mapping[str, Sequence[str | int]] | str | None


@dataclass(frozen=True)
class Derivation:
    """The gradient of `of` by `wrt`, the steps that lead to it, and what is known about it.

    `result` is written with the adjoints of named intermediates (unevaluated gradients) where those keep it
    short; `answer` is the same written out, or None where that would be too long to print. A gradient has
    the shape of `wrt`. `indices` has the answer in index notation where it was derived so; `in_indices` says that there
    is no matrix form, and that result and answer are entries. `entrywise` is the same derivative in index notation,
    derived and checked for itself, where `answer` is a matrix of stacked columns.
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
    structure: Structure | None = None
    indices: InIndices | None = None
    entrywise: Derivation | None = None
    seconds: float = field(default=0.0, compare=False)

    @property
    def final(self) -> Expr:
        """The answer, or the result where the answer is too long to be written out."""
        return self.result if self.answer is None else self.answer

    @property
    def in_indices(self) -> bool:
        """Whether the answer is in index notation, because it has no matrix form."""
        return self.indices is not None and self.indices.matrix is None

    @property
    def left(self) -> Expr:
        """The left side of the result: the unevaluated derivative."""
        if self.indices is not None and self.in_indices:
            return self.indices.left
        if self.kind == "jacobian":
            return jacobian(self.of, self.wrt)
        if self.kind == "hessian":
            return jacobian(gradient(self.of, self.wrt), self.wrt)
        if self.kind == "differential":
            return (Differential if is_matrix(self.of) else ScalarDifferential)(self.of)
        return gradient(self.of, self.wrt)

    @property
    def operations(self) -> int:
        """The number of operations in the final form."""
        return operations(self.final)

    def to_numpy(self) -> str:
        """The final form in the text language; it can be read back and evaluated with NumPy."""
        from symgrad.rendering import to_numpy

        return to_numpy(self.final)

    def to_code(self, form: Literal["numpy", "jax", "torch"] = "numpy") -> str:
        """A module with a complete function for NumPy, JAX or PyTorch; of a Hessian also its product with a vector.

        Raises   UnsupportedError for what has no array code
        """
        from symgrad.rendering.code import to_code

        return to_code(self, form)

    def to_latex(self) -> str:
        """The final form in LaTeX, without its left side."""
        from symgrad.rendering import to_latex

        return to_latex(self.final)

    def to_sympy(self) -> Expr:
        """The final form in SymPy's own classes, for `subs`, `as_explicit`, `doit` and SymPy's functions.

        >>> derive("x @ A @ x", "x", shapes="A: n n, x: n").to_sympy()
        (A + A.T)*x

        Raises   UnsupportedError for what SymPy cannot say
        """
        from symgrad.rendering import to_sympy

        return to_sympy(self.final)

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
    model, target = _question(f, of, given, shapes, assume, dims_equal, functions)
    variable = _variable(model, target, wrt)
    derived = _derive(model, target, variable, kind, method)
    if structure is not None:
        derived = _structured(derived, structure)
    derived = _in_layout(derived, layout)
    if check:
        derived = _checked(derived)
    return replace(derived, seconds=time.perf_counter() - start)


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

        if wrt.isidentifier() and wrt not in model.symbols:
            raise NameUnknownError(
                f"{wrt} does not occur in the formula",
                hint="the names are " + ", ".join(sorted(model.symbols)),
            )
        try:
            _, variable = read_question(wrt, model=model)
        except SymgradError as error:
            if wrt.isidentifier() and isinstance(model.symbols.get(wrt), Family):
                variable = model.symbols[wrt][_loop_index(model)]
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


def _derive(model: Model, target: Expr, variable: Expr, kind: Kind, method: Method | None) -> Derivation:
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
    derived = _derive(model, prepared, variable, kind, method)
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


def _finished(
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


def _by_backprop(model: Model, target: Expr, variable: Expr) -> Derivation:
    tidy = Simplifier.for_question(model, target)
    sweep = backprop(model, target, [variable], tidy)
    result = tidy.textbook(sweep.adjoints[variable])
    answer = expand(result, sweep)
    steps = needed_steps(sweep, variable)
    if steps and steps[-1].right == sweep.adjoints[variable]:
        steps[-1] = replace(steps[-1], equation=(*steps[-1].equation[:-1], result))
    return _finished(
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

    tidy = Simplifier.for_question(model, target)
    sweep = depth(model, target, variable, tidy)
    return _finished(
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
    return _finished(
        model,
        target,
        variable,
        tidy,
        method="components",
        steps=sweep.steps,
        result=sweep.result,
        answer=tidy(sweep.result),
    )


def _by_entries(model: Model, target: Expr, variable: Expr, kind: Kind, method: Method | None) -> Derivation:
    """The derivation of a model that is written by entries: as a matrix model where it has that form."""
    restated = None
    if method != "components":
        restated = in_matrix_notation(model, target, variable, Simplifier(model.assumptions))
    if restated is not None:
        matrix_model, matrix_target, first = restated
        try:
            derived = _derive(matrix_model, matrix_target, variable, kind, method)
            return replace(derived, steps=_after(first, derived.steps))
        except UnsupportedError:
            if kind == "gradient" or kind == "differential":
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
        raise UnsupportedError("a differential is not written in index notation", hint="ask for the gradient")
    if kind == "hessian":
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
    derived = _finished(
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
    return _finished(
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
    return _finished(
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

    model = _freed(model, variable)
    first = _by_backprop(model, target, variable)
    if first.answer is None:
        raise UnsupportedError("the gradient is too long to be written out and derived again")
    tidy = Simplifier.for_question(model, target)
    sweep, found = jacobian_by_differential(model, first.answer, variable, tidy)
    answer = tidy.textbook(found)
    shift = len(first.steps)
    second = [
        replace(s, number=s.number + shift, premises=tuple(p + shift for p in s.premises))
        for s in sweep.steps
    ]
    last = replace(
        second[-1], equation=(jacobian(gradient(target, variable), variable), *second[-1].equation)
    )
    return _finished(
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
    return _finished(
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


def _structured(derivation: Derivation, structure: Structure) -> Derivation:
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
        evidence = weakest_of(check_answer(derivation, derivation.result), steps)
    elif answer is None:
        level = weakest([s.evidence for s in steps])
        evidence = Evidence(level, "every step of the chain rule")
    else:
        evidence = weakest_of(check_answer(derivation, answer, derivation.structure, steps), steps)
    return replace(derivation, steps=steps, evidence=evidence)


def _in_layout(derivation: Derivation, layout: Layout) -> Derivation:
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
