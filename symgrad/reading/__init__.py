"""Stage 2: from text to models and expressions. Text is parsed by a grammar; nothing is evaluated."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain, count, product
from typing import Any

from sympy import Dummy, Expr

from symgrad.errors import NameUnknownError, ReadError, ShapeError, SymgradError, TooLargeError
from symgrad.expr import Family, Model, size
from symgrad.nets.short import ShortForms, has_short_forms
from symgrad.reading.context import Shapes, Words, assumption_sets, read_assumptions, read_shapes, shape_lists
from symgrad.reading.elaborate import Elaborator
from symgrad.reading.names import Missing, OpenSize
from symgrad.reading.text import Header, Statement, definitions_and_question, parse_expression, statements
from symgrad.reading.typed import Value

__all__ = ["read_assumptions", "read_model", "read_question", "read_shapes"]

_MOST_UNDECLARED = 4
_LETTERS = "nmkpqrdabcefghijlstuvwxyz"


def read_model(
    text: str,
    *,
    shapes: Shapes = None,
    assume: Words = None,
    dims_equal: Iterable[Sequence[str]] = (),
    functions: Iterable[str] = (),
) -> Model:
    """The model of a text: definitions, loops and declarations, one a line.

    >>> model = read_model('''
    ... W : m n
    ... x : n
    ... z = W @ x
    ... loss = norm(z)**2
    ... ''')
    >>> [d.name for d in model.definitions()]
    ['z', 'loss']

    Raises   SymgradError with the line and column, and what would fit
    """
    parts = statements(text, _names(shapes))
    base, rest = _declared(text, parts, shapes, assume, dims_equal, functions)
    model, _ = _read(base, rest, None)
    if not model.items:
        raise ReadError("there is no model: the text has no definitions")
    return model


def read_question(
    f: str,
    *,
    definitions: Iterable[str] = (),
    shapes: Shapes = None,
    assume: Words = None,
    dims_equal: Iterable[Sequence[str]] = (),
    functions: Iterable[str] = (),
    model: Model | None = None,
) -> tuple[Model, Expr]:
    """Definitions and an expression over them; with `model`, an expression in that model's names.

    The expression may come after definitions of its own, one a line, or be the last of them.

    >>> model, f = read_question("norm(X @ w - y)**2", shapes="X: n d, w: d, y: n")
    >>> f
    Norm(X*w - y)**2

    Raises   SymgradError with the line and column, and what would fit
    """
    if model is None:
        inside, f = definitions_and_question(f)
        definitions = [*definitions, *inside]
    if model is None and has_short_forms(f):
        *inner, last = ShortForms(f, frozenset(functions), _names(shapes)).written_out(f"value = {f}", 1)
        entries = last.startswith("value[")
        f = "value" if entries else last.partition("=")[2].strip()
        definitions = [*definitions, *inner, *([last] if entries else [])]
    tree = parse_expression(f)
    if model is not None:
        return model, _in_scope(f, tree, model, shapes, assume, dims_equal, functions)
    text = "\n".join(definitions)
    parts = statements(text, _names(shapes)) if text.strip() else []
    base, rest = _declared(text, parts, shapes, assume, dims_equal, functions)
    read, value = _read(base, rest, (f, tree))
    assert value is not None  # noqa: S101 - a tree was given
    return read, value.expr


def _names(shapes: Shapes) -> frozenset[str]:
    """The names and the sizes that shapes declare."""
    said = shape_lists(shapes)
    return frozenset(
        w for name, dims in said.items() for w in (name, *re.findall(r"[A-Za-z_]\w*", " ".join(dims)))
    )


def _in_scope(
    f: str,
    tree: Any,
    model: Model,
    shapes: Shapes,
    assume: Words,
    dims_equal: Iterable[Sequence[str]],
    functions: Iterable[str],
) -> Expr:
    base, _ = _declared(f, [], shapes, assume, dims_equal, functions)
    base.symbols.update(model.symbols)
    base.tables |= model.tables
    for name, found in model.symbols.items():
        if isinstance(found, Family):
            base.family_names.add(name)
    from symgrad.expr import Loop

    for item in model.items:
        if isinstance(item, Loop):
            base.indices[str(item.index)] = item.index
    base.functions |= {name for name, words in model.assumptions.items() if "function" in words}
    for found in model.symbols.values():
        for s in found.shape if hasattr(found, "shape") else ():
            base.sizes |= {str(a) for a in s.free_symbols}
    _, value = _read(base, [], (f, tree))
    assert value is not None  # noqa: S101 - a tree was given
    return value.expr


def _declared(
    text: str,
    parts: list[Statement | Header],
    shapes: Shapes,
    assume: Words,
    dims_equal: Iterable[Sequence[str]],
    functions: Iterable[str],
) -> tuple[Elaborator, list[Statement | Header]]:
    """The scope with everything that is declared, inside the text and outside it; the other statements."""
    sizes, words = shape_lists(shapes), assumption_sets(assume)
    smooth = set(functions) | {name for name, said in words.items() if "function" in said}
    rest: list[Statement | Header] = []
    families: set[str] = set()
    for part in parts:
        if isinstance(part, Header) or part.declared is None:
            rest.append(part)
            continue
        name, by_layer, said = part.declared
        if by_layer is not None:  # y[t] : n declares one vector a layer
            families.add(name)
        from symgrad.expr import ASSUMPTIONS

        given = [w for w in said if w in ASSUMPTIONS]
        dims = tuple(w for w in said if w not in ASSUMPTIONS)
        if "function" in given:
            smooth.add(name)
            continue
        if name in sizes and sizes[name] != dims:
            both = f"as {' '.join(sizes[name]) or 'a scalar'} and as {' '.join(dims) or 'a scalar'}"
            raise ReadError(
                f"{name} is declared twice, {both}", source=text, line=part.line, column=part.indent + 1
            )
        sizes |= shape_lists({name: list(dims)})
        if given:
            words[name] = words.get(name, frozenset()) | set(given)
    smooth |= {name for name, dims in sizes.items() if dims == ("function",)}
    for name in smooth:
        sizes.pop(name, None)
    equal = tuple((str(a), str(b)) for a, b in _pairs(dims_equal))
    return Elaborator(text, sizes, words, smooth, equal, family_names=families), rest


def _pairs(dims_equal: Iterable[Sequence[str]]) -> list[tuple[str, str]]:
    pairs = []
    for group in dims_equal:
        if isinstance(group, str) or len(group) < 2 or not all(isinstance(g, str) for g in group):
            raise ReadError("dims_equal is a list of lists of sizes", hint='write [["m", "n"]]')
        pairs += [(group[0], other) for other in group[1:]]
    return pairs


def _read(
    base: Elaborator, parts: list[Statement | Header], question: tuple[str, Any] | None
) -> tuple[Model, Value | None]:
    """Read with the declared shapes; where a name has none, with each possible one, if just one fits."""
    try:
        return _with_shapes(base, parts, question, {})
    except Missing as missing:
        return _search(base, parts, question, missing.name)
    except RecursionError:
        hint = "name its parts in definitions of their own"
        raise TooLargeError("a formula is nested too deeply", hint=hint) from None


def _search(
    base: Elaborator, parts: list[Statement | Header], question: tuple[str, Any] | None, first: str
) -> tuple[Model, Value | None]:
    names = [first]
    found: list[tuple[dict[str, int], Model, Value | None]] = []
    refused: SymgradError | None = None
    while True:
        found.clear()
        try:
            for ranks in product(*((base.ranks[n],) if n in base.ranks else (0, 1, 2) for n in names)):
                chosen = dict(zip(names, ranks, strict=True))
                try:
                    model, value = _with_shapes(base, parts, question, chosen)
                    found.append((chosen, model, value))
                except ShapeError as error:
                    refused = refused or error
            break
        except Missing as missing:
            names.append(missing.name)
            if len(names) > _MOST_UNDECLARED:
                raise _ask(base, names, "have no shape") from None
    if len(found) == 1:
        return found[0][1], found[0][2]
    if not found:
        assert refused is not None  # noqa: S101 - one of them was refused
        raise refused
    open_names = [n for n in names if len({ranks[n] for ranks, *_ in found}) > 1]
    raise _ask(base, open_names, "can be a scalar, a vector or a matrix")


def _ask(base: Elaborator, names: list[str], why: str) -> SymgradError:
    listed = ", ".join(names)
    known = sorted({*base.shapes, *base.symbols, *base.defined} - set(names))
    import difflib

    close = difflib.get_close_matches(names[0], known, 1, 0.7)
    hint = f'say what it is: --shapes "{", ".join(n + ": .." for n in names)}", with no size for a scalar'
    if close:
        return NameUnknownError(
            f"{names[0]} is not declared",
            hint=f"did you mean {close[0]}? else {hint}",
            **_where(base, names[0]),
        )
    plural = why if len(names) > 1 or not why.startswith("have") else why.replace("have", "has")
    return ShapeError(f"{listed} {plural}", hint=hint, **_where(base, names[0]))


def _where(base: Elaborator, name: str) -> dict[str, Any]:
    if name not in base.missing:
        return {}
    source, tree = base.missing[name]
    return {"source": source, "line": tree.meta.line, "column": tree.meta.column}


def _with_shapes(
    base: Elaborator,
    parts: list[Statement | Header],
    question: tuple[str, Any] | None,
    ranks: dict[str, int],
) -> tuple[Model, Value | None]:
    """Read once, with undeclared names of given ranks; sizes that stay open get readable names."""
    guessed = {
        name: tuple(Dummy(f"{name}{i}", integer=True, positive=True) for i in range(rank))
        for name, rank in ranks.items()
    }
    while True:
        scope = replace(
            base,
            symbols=dict(base.symbols),
            family_names=set(base.family_names),
            indices=dict(base.indices),
            defined={},
            missing=base.missing,
            guessed=guessed,
        )
        try:
            model = scope.model(parts)
            value = None
            if question is not None:
                scope.source, tree = question
                value = scope.read(tree)
                text = "\n".join(filter(None, (base.source, scope.source)))
                model = replace(model, symbols=dict(scope.symbols), source=text)
        except OpenSize as clash:
            guessed = {
                n: tuple(s.xreplace({clash.open_size: clash.bound}) for s in sizes)
                for n, sizes in guessed.items()
            }
            continue
        still_open = [s for sizes in guessed.values() for s in sizes if isinstance(s, Dummy)]
        if not still_open:
            return model, value
        taken = set(scope.sizes) | set(scope.symbols) | scope.letters
        numbered = (f"n{k}" for k in count(1))
        letter = next(c for c in chain(_LETTERS, numbered) if c not in taken)
        scope.sizes.add(letter)
        base.sizes.add(letter)
        guessed = {
            n: tuple(size(letter) if s == still_open[0] else s for s in sizes) for n, sizes in guessed.items()
        }
