r"""One definition after the other, as they come in notes: the model grows with each of them."""

from __future__ import annotations

from dataclasses import replace

from sympy import Expr, MatrixSymbol, Symbol

from symgrad.errors import ReadError, SymgradError
from symgrad.expr import Definition, Model, gradient, is_matrix, is_scalar, jacobian, shape_of
from symgrad.reading.claim import Context
from symgrad.reading.latex.context import setting_of
from symgrad.reading.latex.definitions import extend_model, is_function_definition, read_functions
from symgrad.reading.latex.left import LeftSides
from symgrad.reading.latex.marks import marked, stem_of
from symgrad.reading.latex.places import Unbound
from symgrad.reading.latex.setting import Setting
from symgrad.reading.latex.tree import Node, parse_statements
from symgrad.reading.latex.values import OpenSize

__all__ = ["define", "name_of", "names_derivative"]


def name_of(symbol: Node, setting: Setting | None = None) -> str | None:
    r"""The name that a symbol has in a model: `W^{(1)}`, `W_1` and `W^1` are `W1`; None if it is no symbol.

    >>> name_of(parse_statements(r"\hat{y}_2")[0])
    'yhat2'
    """
    m = marked(symbol)
    stem = stem_of(m.base)
    if stem is None or m.primes:
        return None
    scope = (setting or Setting(Context(), Model(()))).scope("")
    marks = [scope.mark_text(i) for i in (*m.subs, *m.sups)]
    if any(mark is None for mark in marks):
        return None
    return stem + "".join(mark or "" for mark in marks)


def define(text: str, context: Context) -> tuple[Model, bool]:
    """The model with the definition that a text gives; and whether the text names a function instead.

    `context.model` is what there is already.

    Raises   SymgradError if the definition cannot be read, or gives a name that is taken
    """
    setting = setting_of(context)
    (chain,) = parse_statements(text, setting.words)
    read_functions(setting, text, chain)
    if is_function_definition(setting, chain):
        return setting.model, True
    first, *rest = chain.parts[0::2]
    head = first.parts[0] if first.kind == "term" else first
    name = name_of(head, setting)
    if name is not None and name not in setting.model.symbols:
        setting.names.pop(name, None)  # only its shape was declared
    try:
        extend_model(setting, text, first, rest)
    except Unbound as unbound:
        raise ReadError(f"{unbound.letter} is neither an index nor a layer here") from None
    except OpenSize as size:
        raise ReadError(f"the size {size.open_size} is not known") from None
    return setting.model, False


def names_derivative(text: str, context: Context) -> Model | None:
    r"""The model with a name for a derivative, \delta := \partial L/\partial z; None if the text gives none.

    The name stands for the unevaluated derivative, whatever else is said of it.
    """
    setting = setting_of(context)
    (chain,) = parse_statements(text, setting.words)
    first, *rest = chain.parts[0::2]
    name = name_of(first, setting)
    if name is None or not rest:
        return None
    scope = setting.scope(text)
    scope.may_bind = True
    try:
        left = LeftSides(scope, setting, text).derivative_side(rest[0])
    except (SymgradError, Unbound, OpenSize):
        return None
    if left is None or left.of_entry is not None or left.wrt_entry is not None:
        return None
    value: Expr = gradient(left.of, left.wrt) if is_scalar(left.of) else jacobian(left.of, left.wrt)
    symbol = MatrixSymbol(name, *shape_of(value)) if is_matrix(value) else Symbol(name, real=True)
    if name in setting.model.symbols:
        return None
    model = setting.model
    return replace(
        model, items=(*model.items, Definition(symbol, value)), symbols={**model.symbols, name: symbol}
    )
