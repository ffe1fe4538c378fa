r"""Definitions in LaTeX: functions, names for derivatives, names for expressions, or the model itself.

f(x) = 1/(1 + e^{-x}) and f = \tanh give functions, \delta^l = dL/dz^l names a derivative for every layer; where there
is no model yet, the others are the model.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace

from sympy import Expr, MatrixSymbol, S, Symbol

from symgrad.errors import NameUnknownError, ReadError, ShapeError, SymgradError
from symgrad.expr import (
    Definition,
    Elementwise,
    Family,
    Gradient,
    ScalarGradient,
    Softmax,
    gradient,
    inner,
    is_leaf,
    is_matrix,
    is_scalar,
    leaf_name,
    shape_of,
)
from symgrad.reading.latex.explore import explore
from symgrad.reading.latex.functions import FUNCTION_WORDS, elementwise_name
from symgrad.reading.latex.left import LeftSides
from symgrad.reading.latex.marks import Marked, marked, stem_of
from symgrad.reading.latex.meaning import Meaning
from symgrad.reading.latex.places import Alias, Function, Unbound
from symgrad.reading.latex.scope import Scope, at_layers
from symgrad.reading.latex.setting import Setting
from symgrad.reading.latex.tree import Node, parse_statements, same_writing, walk_nodes
from symgrad.reading.latex.values import OpenSize, Val, has_index, lifted, turned
from symgrad.reading.latex.writing import derivative_parts

__all__ = ["extend_model", "is_function_definition", "read_definitions", "read_functions"]


def read_definitions(setting: Setting) -> None:
    """Read every definition; those that only name a function or a derivative first."""
    has_model = bool(setting.model.items)
    parsed: list[tuple[str, Node]] = []
    for text in setting.context.definitions_latex:
        try:
            parsed += [(text, s) for s in parse_statements(text, setting.words)]
        except SymgradError as error:
            if not has_model:
                raise
            setting.unread.append((text, error))
    chains = [(t, s) for t, s in parsed if s.kind == "chain" and s.parts[1].text in ("=", ":=")]
    for name, side in setting.stated:  # a note on a derivative is a definition of its name
        first = Node("word" if len(name) > 1 else "letter", (), side.at, side.at, name)
        equals = Node("rel", (), side.at, side.at, "=")
        chains.append((" " * side.end, Node("chain", (first, equals, side), side.at, side.end)))
    for text, chain in chains:
        read_functions(setting, text, chain)
        call = _as_call(chain.parts[0])
        if call is not None and not (call[0].kind == "word" and call[0].text in FUNCTION_WORDS):
            setting.called.append(marked(call[0]))
            setting.arguments.append(call[1])
    if has_model and not setting.rows:
        setting.rows = _written_as_rows(setting, chains)
    _read_all(setting, chains, has_model)


def _read_all(setting: Setting, chains: list[tuple[str, Node]], has_model: bool) -> None:
    """Read definitions until nothing new is learnt: one may use another that is written after it."""
    refused: dict[int, tuple[str, SymgradError]] = {}
    done: set[int] = set()
    while True:
        before = _learnt(setting)
        for k, (text, chain) in enumerate(chains):
            if k in done:
                continue
            refused.pop(k, None)
            try:
                if _definition(setting, text, chain, has_model):
                    done.add(k)
            except Unbound as unbound:
                message = f"{unbound.letter} is neither an index nor a layer here"
                refused[k] = (text, NameUnknownError(message))
            except SymgradError as error:
                refused[k] = (text, error)
        if _learnt(setting) == before and not (not has_model and _outside(setting, chains)):
            break
    setting.unread += list(refused.values())
    for k, (text, reason) in refused.items():
        if not has_model and _is_known(setting, text, chains[k][1].parts[0]):
            raise reason  # a name would be an input that has a definition


def _is_known(setting: Setting, text: str, first: Node) -> bool:
    """Whether a left side names what is known already."""
    scope = setting.scope(text)
    scope.may_bind = True
    call = _as_call(first)
    m = marked(first if call is None else call[0])
    try:
        return stem_of(m.base) is not None and is_leaf(_bare(scope.symbol(m)[0]) or S.Zero)
    except (SymgradError, Unbound):
        return False


def _learnt(setting: Setting) -> tuple[int, ...]:
    return (len(setting.model.items), len(setting.aliases), len(setting.derivatives), len(setting.writings))


def _outside(setting: Setting, chains: list[tuple[str, Node]]) -> bool:
    """A loss of which only a derivative is given, g = dL/dy: it stands for the inner product of g and y."""
    for text, chain in chains:
        fraction = next((f for side in chain.parts[2::2] if (f := derivative_parts(side)) is not None), None)
        above: tuple[Node, ...] = tuple(fraction[0]) if fraction else ()
        below: tuple[Node, ...] = tuple(fraction[1][0]) if fraction else ()
        if not fraction:
            sides = [s for s in chain.parts[2::2] if s.kind == "term" and s.parts[0].kind == "partial"]
            if not sides or len(sides[0].parts) != 5:
                continue
            above, below = sides[0].parts[1:2], sides[0].parts[4:5]
        stem = stem_of(marked(above[0]).base) if len(above) == 1 else None
        if stem is None or stem in setting.names or len(below) != 1:
            continue
        scope = setting.scope(text)
        scope.may_bind = True
        try:
            g = _whole(scope, setting.meaning(scope), chain.parts[0])
            x = _bare(scope.symbol(marked(below[0]))[0])
        except (SymgradError, Unbound, OpenSize):
            continue
        if g is None or x is None or shape_of(g) != shape_of(x):
            continue
        _define(setting, stem, inner(g, x) if is_matrix(g) else g * x, text, chain.parts[0])
        return True
    return False


def read_functions(setting: Setting, text: str, chain: Node) -> None:
    r"""F = \tanh; f(x) = 1/(1 + e^{-x}); z = h(a) = \tanh(a); a = f(z) where the model says tanh."""
    sides = chain.parts[0::2]
    first = sides[0]
    for side in sides[1:]:
        m = marked(side)
        if m.base.kind == "word" and not m.subs and not m.sups and m.base.text in FUNCTION_WORDS:
            name = _function_key(setting, first)
            if name:
                word = m.base.text
                setting.functions[name] = Function(elementwise_name(word) or word.lower())
    calls = [(s, c) for s in sides if (c := _as_call(s)) is not None]
    for side, (head, argument) in calls:
        key = _function_key(setting, head)
        if key is None or key in setting.functions or _known_function(key):
            continue
        for other in sides:
            if other is side:
                continue
            called = _as_call(other)
            if called is not None and same_writing(called[1], argument):
                word = stem_of(marked(called[0]).base) or ""
                if elementwise_name(word) or word in setting.functions or word == "sigma":
                    setting.functions[key] = Function(
                        "sigmoid" if word == "sigma" else elementwise_name(word) or word
                    )
                    break
            if _only_holds(other, argument):
                body = _replaced(other, argument)
                setting.functions[key] = Function(text, _T, body)
                break
        else:
            _function_by_model(setting, key, sides, text)
            parameter = stem_of(marked(argument).base)
            used = parameter is not None and parameter in {stem_of(n) for n in walk_nodes(sides[-1])}
            if key not in setting.functions and side is first and used and parameter not in setting.names:
                setting.functions[key] = Function(text, argument, sides[-1], by_value=True)


_T = Node("letter", (), 0, 0, "t_")


def _known_function(key: str) -> bool:
    return key in FUNCTION_WORDS


def _function_key(setting: Setting, head: Node) -> str | None:
    """A name for a function: letters and marks; None if it is a name of the model."""
    m = marked(head)
    stem = stem_of(m.base)
    if stem is None or (stem in setting.names and not (m.subs or m.sups)):
        return None
    marks = []
    for i in (*m.subs, *m.sups):
        mark = setting.scope("").mark_text(i)
        if mark is None:
            return None
        marks.append(mark)
    key = stem + "".join(marks)
    return None if key in setting.names else key


def _as_call(side: Node) -> tuple[Node, Node] | None:
    r"""A function and its argument: f(x), \tanh(x), \tanh x."""
    if side.kind != "term" or len(side.parts) != 2:
        return None
    head, argument = side.parts
    if stem_of(marked(head).base) is None:
        return None
    if argument.kind == "paren" and argument.text == "(" and len(argument.parts) == 1:
        return head, argument.parts[0]
    return (head, argument) if head.kind == "word" and head.text in FUNCTION_WORDS else None


def _only_holds(body: Node, argument: Node) -> bool:
    """Whether a formula holds nothing but numbers, functions and the argument."""
    if same_writing(body, argument):
        return True
    if body.kind in ("letter", "accent"):
        return body.text in ("e", "pi") and body.kind == "letter"
    if body.kind == "word":
        return body.text in FUNCTION_WORDS
    if body.kind in ("big", "nabla", "partial", "text", "dots"):
        return False
    return all(_only_holds(p, argument) for p in body.parts)


def _replaced(body: Node, argument: Node) -> Node:
    if same_writing(body, argument):
        return _T
    return replace(body, parts=tuple(_replaced(p, argument) for p in body.parts))


def _function_by_model(setting: Setting, key: str, sides: tuple[Node, ...], text: str) -> None:
    """A = f(z): what the model says f is."""
    scope = setting.scope(text)
    scope.may_bind = True
    try:
        value, _ = scope.symbol(marked(sides[0]))
    except (SymgradError, Unbound):
        return
    e = value.expr.args[0] if value.expr.args and not is_leaf(value.expr) else value.expr
    definition = setting.model.definition_of(e)
    if (
        definition is not None
        and isinstance(definition.value, Elementwise)
        and not definition.value.parameters
    ):
        setting.functions[key] = Function(definition.value.name)
    elif definition is not None and isinstance(definition.value, Softmax):
        setting.functions[key] = Function("softmax")


def _written_as_rows(setting: Setting, chains: list[tuple[str, Node]]) -> bool:
    """Whether the definitions fit with vectors as rows only."""
    verdicts = []
    for rows in (False, True):
        misfits = 0
        for text, chain in chains:
            scope = setting.scope(text)
            scope.rows, scope.may_bind = rows, True
            try:
                setting.meaning(scope).read(chain.parts[-1])
            except ShapeError:
                misfits += 1
            except (SymgradError, Unbound, OpenSize):
                pass
        verdicts.append(misfits)
    return verdicts[1] == 0 < verdicts[0]


def _definition(setting: Setting, text: str, chain: Node, has_model: bool) -> bool:
    """A definition: a name for a derivative, another name for what the model has, or a part of the model.

    False where it may say more once other names are known: it is one for every layer.
    """
    sides = chain.parts[0::2]
    first, *rest = sides
    if is_function_definition(setting, chain) or _is_range_of_layers(chain):
        return True
    if not has_model and (
        first.kind == "frac" or (first.kind == "term" and first.parts[0].kind in ("nabla", "partial"))
    ):
        return True  # a result, which the model gives anyway
    for side in rest:
        if (found := _names_a_derivative(setting, text, first, side)) is not None:
            if not found:
                raise NameUnknownError("this derivative is not known")
            return not _script_letters(first)
    if has_model:
        _second_name(setting, text, first, rest)
        return True
    return extend_model(setting, text, first, rest)


def _is_range_of_layers(chain: Node) -> bool:
    """T = 1, 2: which layers there are."""
    return chain.parts[0].kind == "letter" and all(p.kind == "number" for p in chain.parts[2::2])


def is_function_definition(setting: Setting, chain: Node) -> bool:
    """Whether a definition only says what a function is."""
    call = _as_call(chain.parts[0])
    if call is None:
        return (
            marked(chain.parts[0]).base.kind != "paren"
            and _function_key(setting, chain.parts[0]) in setting.functions
        )
    return _function_key(setting, call[0]) in setting.functions


def _names_a_derivative(setting: Setting, text: str, first: Node, side: Node) -> bool | None:
    r"""\delta^{(l)} = dL/dz^{(l)}, for every layer that has both names."""
    if not any(n.kind in ("partial", "nabla") for n in walk_nodes(side)) and derivative_parts(side) is None:
        return None
    letters = _script_letters(first) & _script_letters(side)
    numbers = setting.layer_numbers() or [0]
    trials: list[dict[str, int]] = [{}]
    for letter in sorted(letters):
        trials += [{letter: n} for n in numbers]
    found = False
    for layers in trials:
        scope = setting.scope(text, {**setting.layers, **layers})
        scope.may_bind = not layers
        claims = LeftSides(scope, setting, text)
        try:
            name = _whole_or_none(scope, claims.meaning, first)
            scope.may_bind = not layers
            left = claims.derivative_side(side)
        except (SymgradError, Unbound, OpenSize):
            continue
        if left is not None and name is None and is_scalar(left.of) and _at_numbers(marked(first), layers):
            name = _define_signal(setting, text, first, layers, left.of, left.wrt)
        if left is not None and name is not None:
            found = True
            at_one_layer = setting.same_layer(leaf_name(name), leaf_name(left.wrt))
            if at_one_layer and (left.of, left.wrt, name) not in setting.derivatives:
                setting.derivatives.append((left.of, left.wrt, name))
    if found:
        return True
    is_one = derivative_parts(side) is not None or (side.kind == "term" and side.parts[0].kind == "partial")
    return False if is_one else None


def _at_numbers(m: Marked, layers: Mapping[str, int]) -> bool:
    """Whether every layer mark of a symbol is settled."""
    return stem_of(m.base) is not None and (bool(layers) or not any(i.kind == "paren" for i in m.sups))


def _define_signal(
    setting: Setting, text: str, first: Node, layers: Mapping[str, int], of: Expr, wrt: Expr
) -> Expr | None:
    """A name for a derivative that is not known yet: its definition is the derivative."""
    g = gradient(of, wrt)
    value = Val(g, tuple(g.shape)) if is_matrix(g) else Val(g)
    before = len(setting.model.items)
    _define_symbol(setting, text, first, at_layers(marked(first), dict(layers)), value)
    items = setting.model.items
    return items[-1].symbol if len(items) > before and isinstance(items[-1], Definition) else None


def _whole_or_none(scope: Scope, meaning: Meaning, node: Node) -> Expr | None:
    try:
        return _whole(scope, meaning, node)
    except (NameUnknownError, Unbound):
        return None


def _script_letters(node: Node) -> set[str]:
    return {
        n.text
        for s in walk_nodes(node)
        if s.kind in ("sub", "sup")
        for n in walk_nodes(s)
        if n.kind == "letter"
    }


def _whole(scope: Scope, meaning: Meaning, node: Node) -> Expr | None:
    """The array that a symbol, or an entry of it, belongs to."""
    parts = node.parts if node.kind == "term" else ()
    if len(parts) == 2 and parts[0].kind == "letter" and parts[0].text == "d":
        found = meaning.increment(marked(parts[1]), parts[0])
        return None if found is None else _bare(found[0])
    if stem_of(marked(node).base) is None:
        return None
    value, _ = scope.symbol(marked(node))
    return _bare(value)


def _bare(value: Val) -> Expr | None:
    from sympy.matrices.expressions.matexpr import MatrixElement
    from sympy.matrices.expressions.transpose import Transpose

    e = value.expr
    if isinstance(e, MatrixElement | Transpose):
        e = e.args[0]
    return e if is_leaf(e) else None


def _second_name(setting: Setting, text: str, first: Node, rest: list[Node]) -> None:
    """A symbol that no name of the model has: the name of the expression that it is defined by."""
    call = _as_call(first)
    m = marked(first if call is None else call[0])
    known: Expr | None = None
    scope = setting.scope(text)
    scope.may_bind = True
    try:
        if stem_of(m.base) is not None:
            known = _bare(scope.symbol(m)[0])
    except (NameUnknownError, ShapeError, Unbound):
        known = None
    refused: SymgradError | None = None
    for side in rest:
        values, error = _values(setting, text, first, side)
        if not values:
            if known is not None and is_leaf(known) and not _script_letters(side) and side.kind == "term":
                setting.writings.append((side, known))
            else:
                refused = refused or error
            continue
        refused = None
        if known is not None or stem_of(m.base) is None:
            break
        for layers, value in values:
            at_layer = at_layers(m, layers)
            if not (layers and _has_name(setting, text, at_layer)):
                _local_name(setting, at_layer, value)
        break
    if refused is not None:
        raise refused


def _has_name(setting: Setting, text: str, m: Marked) -> bool:
    """Whether the model has a name for a symbol."""
    scope = setting.scope(text)
    scope.may_bind = True
    try:
        return _bare(scope.symbol(m)[0]) is not None
    except (SymgradError, Unbound):
        return False


def _local_name(setting: Setting, m: Marked, value: Val) -> None:
    """A symbol that only the LaTeX has: another name of the model, or a name for an expression."""
    symbol = setting.symbol_of(value.expr)
    e = value.expr if symbol is None else symbol
    rank = 0 if is_scalar(e) else 1 if e.shape[1] == 1 else 2
    letters = tuple(
        s.text for s in m.subs if s.kind == "letter" and (len(s.text) == 1 or s.text not in setting.names)
    )  # L_\delta is named after a parameter, and is no entry
    alias = Alias(m, e, letters[-rank:] if rank and len(letters) >= rank else ())
    if not any(a.value == e and a.symbol == m for a in setting.aliases):
        setting.aliases.append(alias)


def _values(
    setting: Setting, text: str, first: Node, side: Node
) -> tuple[list[tuple[dict[str, int], Val]], SymgradError]:
    """The values of a right side at every layer, with the letters on the left as indices."""
    is_open = not setting.context.definitions and setting.context.model is None
    letters = _script_letters(first) if is_open else set()
    given = {k: n for k, n in setting.layers.items() if k not in letters}

    def attempt(scope: Scope) -> tuple[dict[str, int], Val]:
        scope.may_bind = True
        value = _over_left_indices(setting, scope, first, side)
        return {k: n for k, n in scope.layers.items() if given.get(k) != n}, value

    return explore(attempt, setting, text, given)


def _over_left_indices(setting: Setting, scope: Scope, first: Node, side: Node) -> Val:
    """The right side of a component definition, as an array over the indices of the left side."""
    meaning = setting.meaning(scope)
    call = _as_call(first)
    m = marked(first if call is None else call[0])
    if m.subs and stem_of(m.base) is not None:
        with contextlib.suppress(NameUnknownError, Unbound):
            scope.symbol(m)  # binds the indices to the axes of a name that is known
    value = meaning.read(side)
    letters = [i.text for i in (*m.subs, *m.sups) if i.kind == "letter" and i.text in scope.indices]
    used = [c for c in letters if scope.indices[c].symbol in value.expr.free_symbols]
    if used and value.is_scalar:
        indices = [scope.indices[c] for c in used]
        if not all(i.sizes for i in indices) or len(indices) > 2:
            raise ShapeError("the range of an index is not known")
        shape = tuple(i.sizes[0] for i in indices)
        axes = [i.symbol for i in indices]
        if len(indices) == 1:
            shape, axes = (*shape, S.One), [*axes, S.Zero]
        value = lifted(Val(value.expr, shape, (axes[0], axes[1])))
    value = lifted(value)
    if value.axes is not None or has_index(value.expr):
        raise ShapeError("this definition has no matrix form")
    return value


def extend_model(setting: Setting, text: str, first: Node, rest: list[Node]) -> bool:
    """A definition becomes a part of the model, at every layer at which its names are known."""
    call = _as_call(first)
    m = marked(first if call is None else call[0])
    if stem_of(m.base) is None:
        raise ReadError("a definition gives a name", source=text, line=1, column=first.at + 1)
    found, refused = _values(setting, text, first, rest[-1])
    if not found:
        raise refused
    by_layer: dict[tuple[tuple[str, int], ...], list[Val]] = {}
    for layers, value in found:
        by_layer.setdefault(tuple(sorted(layers.items())), []).append(value)
    for at, values in by_layer.items():
        distinct = sorted({str(v.expr) for v in values})
        if len(distinct) > 1:
            raise ReadError("this definition can be read in two ways", source=text, line=1, column=first.at + 1,
                            hint=" or ".join(distinct[:2]))  # fmt: skip
        _define_symbol(setting, text, first, at_layers(m, {**setting.layers, **dict(at)}), values[0])
    for side in rest[:-1]:
        if not _values(setting, text, first, side)[0] and side.kind == "term" and not any(by_layer):
            setting.writings.append((side, setting.model.items[-1].symbol))  # type: ignore[union-attr]
    return not any(by_layer)


def _define_symbol(setting: Setting, text: str, first: Node, m: Marked, value: Val) -> None:
    """Give a symbol of the LaTeX a name in the model, without the letters that are indices."""
    if setting.rows and value.shape and value.shape[0] == 1:
        value = turned(value)
    scope = setting.scope(text)
    indices = [i.text for i in (*m.subs, *m.sups) if i.kind == "letter" and not i.mark]
    rank = 0 if value.is_scalar else 1 if value.shape[1] == 1 else 2
    subs = [i.text for i in m.subs if i.kind == "letter" and not i.mark]
    pool = subs if len(subs) >= rank else indices
    places = tuple(pool[-rank:]) if rank and len(pool) >= rank else ()
    used = [i for i in (*m.subs, *m.sups) if not (i.kind == "letter" and i.text in places)]
    used = [i for i in used if not scope._is_remark(i)]
    name = (stem_of(m.base) or "") + "".join(scope.mark_text(i) or "" for i in used)
    known = setting.names.get(name)
    if known is not None:
        definition = setting.model.definition_of(known) if not isinstance(known, Family) else None
        if definition is not None and (
            definition.value == value.expr or isinstance(definition.value, Gradient | ScalarGradient)
        ):
            return  # a name for a derivative keeps its meaning; what it equals is a result
        raise ReadError(f"{name} is defined twice", source=text, line=1, column=first.at + 1)
    symbol = _define(setting, name, value.expr, text, first)
    if m.subs or m.sups:
        setting.aliases.append(Alias(m, symbol, places))


def _define(setting: Setting, name: str, value: Expr, text: str, node: Node) -> Expr:
    """Add a definition to the model."""
    symbol = MatrixSymbol(name, *value.shape) if is_matrix(value) else Symbol(name, real=True)
    setting.names[name] = symbol
    setting.words = setting.words | ({name} if len(name) > 1 else frozenset())
    setting.model = replace(
        setting.model,
        items=(*setting.model.items, Definition(symbol, value)),
        symbols={**setting.model.symbols, name: symbol},
    )
    return symbol
