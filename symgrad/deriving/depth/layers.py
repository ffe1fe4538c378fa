"""Loops taken apart: what a layer hands to the next, and what makes no sense, refused with its position."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NoReturn

import sympy
from sympy import Expr, Indexed

from symgrad.errors import DeriveError, SymgradError, UnsupportedError
from symgrad.expr import (
    Definition,
    Loop,
    Member,
    Model,
    is_matrix,
    is_scalar,
    leaf_name,
    leaves,
    shape_of,
    shape_text,
)

__all__ = [
    "MOST_LAYERS",
    "Layers",
    "dependents_of",
    "index_of",
    "is_beyond",
    "layers_of",
    "names_of",
    "states_of",
    "validate",
]


MOST_LAYERS = 200
"""A loop whose length is a number is written out to be checked, so that has a bound; a name has none."""


@dataclass(frozen=True)
class Layers:
    """A model with one loop, taken apart: what comes before it, one layer, what comes after it.

    `state` is the family that one layer hands to the next, at the loop's index.
    """

    before: tuple[Definition, ...]
    loop: Loop
    after: tuple[Definition, ...]
    state: Expr

    def at(self, index: Expr) -> Expr:
        """The state at an index."""
        return self.state.xreplace({self.loop.index: index})


def layers_of(model: Model) -> Layers:
    """The model taken apart at its loop.

    Raises   UnsupportedError if it has several loops, or a layer hands on more than one family, or looks
             further than one layer back
    """
    loops = [i for i, item in enumerate(model.items) if isinstance(item, Loop)]
    if len(loops) != 1:
        raise UnsupportedError(
            f"the model has {len(loops)} loops", hint="a model with one loop is taken apart into layers"
        )
    at = loops[0]
    loop = model.items[at]
    assert isinstance(loop, Loop)  # noqa: S101 - chosen as one just above
    before = tuple(d for d in model.items[:at] if isinstance(d, Definition))
    after = tuple(d for d in model.items[at + 1 :] if isinstance(d, Definition))
    states = states_of(loop)
    if len(states) != 1:
        names = ", ".join(leaf_name(s) for s in states) or "nothing"
        raise UnsupportedError(
            f"one layer hands {names} to the next", hint="layers are taken apart for one state"
        )
    return Layers(before, loop, after, states[0])


def states_of(loop: Loop) -> tuple[Expr, ...]:
    """The families that one layer hands to the next, at the loop's index, in the order of the body."""
    defined = {leaf_name(d.symbol): d.symbol for d in loop.body}
    handed_on = {
        leaf_name(leaf)
        for d in loop.body
        for leaf in leaves(d.value)
        if leaf_name(leaf) in defined and index_of(leaf) is not None and index_of(leaf) != loop.index
    }
    return tuple(symbol for name, symbol in defined.items() if name in handed_on)


def index_of(leaf: Expr) -> Expr | None:
    """The layer of a member of a family; None for another name."""
    if isinstance(leaf, Member):
        return leaf.index
    return leaf.indices[0] if isinstance(leaf, Indexed) else None


def is_beyond(where: Expr, lower: Expr, upper: Expr) -> bool:
    """Whether a layer is known to be outside a range."""
    return any(sympy.expand(gap).is_negative for gap in (where - lower, upper - where))


def dependents_of(definitions: Iterable[Definition]) -> set[Expr]:
    """Every leaf that is used or defined in the definitions."""
    found: set[Expr] = set()
    for d in definitions:
        found |= {d.symbol, *leaves(d.value)}
    return found


def names_of(model: Model) -> set[str]:
    """Every name that occurs in a model, sizes and indices included."""
    everything = dependents_of(model.definitions())
    names = {leaf_name(leaf) for leaf in everything} | set(model.symbols)
    for leaf in everything:
        names |= {str(s) for n in shape_of(leaf) for s in n.free_symbols}
    for item in model.items:
        if isinstance(item, Loop):
            names |= {str(item.index)} | {str(s) for s in (item.lower + item.upper).free_symbols}
    return names


# --- what makes no sense ----------------------------------------------------------------------------------


def validate(model: Model, f: Expr) -> None:
    """Refuse a model or a question that makes no sense, with the position in the text.

    Raises   DeriveError for a function that is no scalar, a loop without layers, a layer that is used before it is
             defined or that there is not; UnsupportedError for a layer that looks further back than one
    """
    if is_matrix(f) or not is_scalar(f):
        d = model.definition_of(f)
        _fail(
            model,
            d,
            leaf_name(f) if d is not None else "",
            DeriveError,
            f"a gradient is taken of a scalar, and {_spelt(f)} is a {shape_text(shape_of(f))}",
            "the loss must be a number, as in norm(a[L] - y)**2",
        )
    made: dict[str, tuple[Expr, Expr]] = {}
    later = {leaf_name(d.symbol) for d in model.definitions() if index_of(d.symbol) is not None}
    started: set[str] = set()
    begun: set[Expr] = set()
    for item in model.items:
        if isinstance(item, Definition):
            _check_outside(model, item, made, later, started)
            _check_once(model, item, made)
            if index_of(item.symbol) is not None:
                started.add(leaf_name(item.symbol))
                begun.add(item.symbol)
            later.discard(leaf_name(item.symbol)) if index_of(item.symbol) is None else None
            continue
        length = sympy.expand(item.upper - item.lower + 1)
        if length.is_nonpositive:
            raise DeriveError(
                f"the loop from {item.lower} to {item.upper} has no layers",
                source=model.source,
                line=item.line,
                column=1 if item.line else None,
                hint="a depth is a name, such as L, or a number that is at least 1",
            )
        if length.is_Integer and length > MOST_LAYERS:
            raise UnsupportedError(
                f"the loop has {length} layers, more than {MOST_LAYERS}",
                source=model.source,
                line=item.line,
                column=1 if item.line else None,
                hint="write a name for the depth, such as L: the formula then holds for any number of layers",
            )
        _check_body(model, item, made, later)
        for s in states_of(item):
            first = s.xreplace({item.index: item.lower - 1})
            d = model.definition_of(first)
            if d is not None and first not in begun:
                _fail(
                    model,
                    d,
                    leaf_name(first),
                    DeriveError,
                    f"{_spelt(first)} is used before it is defined: the loop stands before it",
                    "put this line before the loop",
                )
        for d in item.body:
            made[leaf_name(d.symbol)] = (item.lower, item.upper)
            later.discard(leaf_name(d.symbol))
    if index_of(f) is not None and leaf_name(f) in made:
        lower, upper = made[leaf_name(f)]
        if is_beyond(index_of(f), lower - 1, upper):
            raise DeriveError(f"{_spelt(f)} is outside the loop, which goes from {lower} to {upper}")


def _check_once(model: Model, d: Definition, made: dict[str, tuple[Expr, Expr]]) -> None:
    """Refuse a second definition of what a loop makes."""
    where, name = index_of(d.symbol), leaf_name(d.symbol)
    if where is None or name not in made:
        return
    lower, upper = made[name]
    if not is_beyond(where, lower, upper):
        _fail(
            model,
            d,
            name,
            DeriveError,
            f"{_spelt(d.symbol)} is defined again: the loop makes {name}[{lower}] to {name}[{upper}]",
            "give it a name of its own",
        )


def _check_outside(
    model: Model,
    d: Definition,
    made: dict[str, tuple[Expr, Expr]],
    later: set[str],
    started: set[str],
) -> None:
    for leaf in leaves(d.value):
        where, name = index_of(leaf), leaf_name(leaf)
        if where is None:
            continue
        if name in made:
            lower, upper = made[name]
            if is_beyond(where, lower - 1, upper):
                _fail(
                    model,
                    d,
                    name,
                    DeriveError,
                    f"{_spelt(leaf)} is outside the loop, which goes from {lower} to {upper}",
                    f"the last one is {name}[{upper}]",
                )
        elif name in later and name not in started:
            _fail(
                model,
                d,
                name,
                DeriveError,
                f"{_spelt(leaf)} is used before it is defined",
                "put the loop before this line",
            )


def _check_body(model: Model, loop: Loop, made: dict[str, tuple[Expr, Expr]], later: set[str]) -> None:
    inside = {leaf_name(d.symbol) for d in loop.body}
    done: set[str] = set()
    for d in loop.body:
        for leaf in leaves(d.value):
            where, name = index_of(leaf), leaf_name(leaf)
            if where is None:
                continue
            if name not in inside:
                if name in later and name not in made:
                    _fail(model, d, name, DeriveError, f"{_spelt(leaf)} is used before it is defined", None)
                elif name in made and any(
                    is_beyond(w, made[name][0] - 1, made[name][1]) for w in _ends(where, loop)
                ):
                    lower, upper = made[name]
                    _fail(
                        model,
                        d,
                        name,
                        DeriveError,
                        f"{_spelt(leaf)} is outside its own loop, which goes from {lower} to {upper}",
                        "two loops that go along together have the same range",
                    )
                continue
            distance = sympy.expand(loop.index - where)
            if distance == 0 and name not in done:
                _fail(
                    model,
                    d,
                    name,
                    DeriveError,
                    f"{_spelt(leaf)} is used before it is defined",
                    f"inside a layer, {name}[{loop.index}] is there only after its own line",
                )
            if distance.is_negative:
                _fail(
                    model,
                    d,
                    name,
                    DeriveError,
                    f"{_spelt(leaf)} is used before it is defined: the loop comes to it later",
                    f"a layer may use {name}[{loop.index - 1}]",
                )
            if distance not in (0, 1):
                _fail(
                    model,
                    d,
                    name,
                    UnsupportedError,
                    f"a layer uses {_spelt(leaf)}, which is not the layer before it",
                    f"hand it on under a name of its own: p[{loop.index}] = {name}[{loop.index - 1}]",
                )
        done.add(leaf_name(d.symbol))


def _ends(where: Expr, loop: Loop) -> Sequence[Expr]:
    return [where.xreplace({loop.index: end}) for end in (loop.lower, loop.upper)]


def _spelt(leaf: Expr) -> str:
    where = index_of(leaf)
    if where is not None:
        return f"{leaf_name(leaf)}[{str(where).replace(' ', '')}]"
    return str(leaf)


def _fail(
    model: Model,
    d: Definition | None,
    name: str,
    kind: type[SymgradError],
    message: str,
    hint: str | None,
) -> NoReturn:
    """Raise an error at the place in the text where a definition has a name, if the text is known."""
    line = None if d is None else d.line
    rows = model.source.splitlines()
    if line is None or not 0 < line <= len(rows):
        raise kind(message, hint=hint)
    text = rows[line - 1].split("#", 1)[0]
    places = [m.start() for m in re.finditer(rf"\b{re.escape(name)}\b", text)] if name else []
    behind = [p for p in places if p > text.find("=")]
    column = (behind or places or [len(text) - len(text.lstrip())])[0] + 1
    raise kind(message, source=model.source, line=line, column=column, hint=hint)
