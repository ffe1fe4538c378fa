"""What is asked: a model, the expression that is derived, and the name it is derived by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sympy import Basic, Expr, MatrixBase, MatrixSymbol, Symbol

from symgrad.errors import DeriveError, NameUnknownError, SymgradError
from symgrad.expr import Family, Loop, Model, is_leaf, is_matrix, leaf_name, leaves, size

__all__ = ["Shapes", "Words", "question", "sizes_of", "variable_of"]

Words = Mapping[str, Sequence[str] | str] | str | None
Shapes = Mapping[str, Sequence[str | int]] | str | None


def question(
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
            definitions=tuple([given] if isinstance(given, str) else given),
            shapes=shapes,
            assume=assume,
            dims_equal=tuple(dims_equal),
            functions=tuple(functions),
        )
    if isinstance(f, MatrixBase) and f.shape == (1, 1):
        f = f[0, 0]
    if not isinstance(f, Expr):
        raise DeriveError(f"cannot derive a {type(f).__name__}; give text, a SymPy expression or a Model")
    from symgrad.reading.sympy_in import read_sympy

    words = read_assumptions(assume) if isinstance(assume, str) else assume or {}
    target = read_sympy(f)
    symbols: dict[str, Expr | Family] = {leaf_name(leaf): leaf for leaf in leaves(target)}
    listed = {name: frozenset([w] if isinstance(w, str) else w) for name, w in words.items()}
    return Model((), symbols, listed), target


def sizes_of(f: object, wrt: object) -> dict[Basic, Basic]:
    """For the sizes of SymPy matrices that are no positive integers, such as symbols("n"), the ones that are.

    >>> from sympy import MatrixSymbol, symbols
    >>> n = symbols("n")
    >>> [s.is_positive for s in sizes_of(MatrixSymbol("x", n, 1), None).values()]
    [True]
    """
    matrices = {m for e in (f, wrt) if isinstance(e, Basic) for m in e.atoms(MatrixSymbol)}
    sizes = {s for m in matrices for side in m.shape for s in side.free_symbols}
    return {s: size(s.name) for s in sizes if isinstance(s, Symbol) and not (s.is_integer and s.is_positive)}


def _defined(model: Model) -> str:
    return "the model defines " + ", ".join(dict.fromkeys(d.name for d in model.definitions()))


def variable_of(model: Model, target: Expr, wrt: str | Expr) -> Expr:
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
        names = ", ".join(sorted({leaf_name(v) for v in leaves(variable)}))
        raise DeriveError(
            f"a derivative is taken by a name, not by {wrt}",
            hint=f"ask for {names}: with the method components the answer is by entries" if names else None,
        )
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
    return next(item.index for item in model.items if isinstance(item, Loop))
