r"""Every reading of a formula: each layer and each choice that its names leave open is tried."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import sympy
from sympy import Expr

from symgrad.errors import (
    NameUnknownError,
    ReadError,
    ShapeError,
    SymgradError,
    TooLargeError,
)
from symgrad.reading.latex.places import Unbound
from symgrad.reading.latex.scope import Scope
from symgrad.reading.latex.setting import Setting
from symgrad.reading.latex.tokens import fail_at
from symgrad.reading.latex.tree import Node
from symgrad.reading.latex.values import OpenSize

__all__ = ["explore", "located"]

_MOST_RUNS, _LEAST_RUNS, _WORK = 160, 16, 60_000  # readings that are tried: fewer of a long formula
_MOST_OPEN = 40
T = TypeVar("T")
_Plan = tuple[dict[str, int], tuple[int, ...], dict[int, Expr]]


def explore(
    attempt: Callable[[Scope], T],
    setting: Setting,
    text: str,
    layers_given: Mapping[str, int] | None = None,
) -> tuple[list[T], SymgradError]:
    """What the attempt makes of every choice and every layer; the error of the plainest reading that failed."""
    found: list[T] = []
    refused: SymgradError | None = None
    pending: list[_Plan] = [(dict(setting.layers if layers_given is None else layers_given), (), {})]
    resorts: list[_Plan] = []
    runs, most = 0, max(_LEAST_RUNS, min(_MOST_RUNS, _WORK // len(text)))
    while pending:
        if runs >= most:
            raise ReadError(
                "the formula can be read in too many ways", source=text, line=1, column=1,
                hint="write brackets, or name its parts in definitions of their own",
            )  # fmt: skip
        layers, plan, opened = pending.pop()
        scope = setting.scope(text, layers, plan, opened)
        runs += 1
        try:
            found.append(attempt(scope))
        except Unbound as unbound:
            error = NameUnknownError(f"{unbound.letter} is neither an index nor a layer here")
            refused = refused or located(error, text, unbound.node)
            for letter in dict.fromkeys((unbound.letter, *unbound.others)):
                if letter not in layers and len(layers) < 4:
                    pending += [({**layers, letter: n}, plan, {}) for n in reversed(setting.layer_numbers())]
        except OpenSize as size:
            at = next((at for at, d in scope.opened.items() if d == size.open_size), None)
            settled_before = sum(not isinstance(s, sympy.Dummy) for s in scope.opened.values())
            if settled_before > _MOST_OPEN:
                raise TooLargeError("too many vectors of ones, or identities, without a size") from None
            runs -= 1  # no other reading: the same one, with one more size
            if at is not None and size.open_size not in size.size.free_symbols:
                settled = {k: s.xreplace({size.open_size: size.size}) for k, s in scope.opened.items()}
                pending.append((layers, plan, settled))
            continue
        except SymgradError as error:
            if refused is None or _rank(error) > _rank(refused):
                refused = error
        except RecursionError:
            fail_at(ReadError, "the formula is nested too deeply", text, 0)
        for position in reversed(range(len(plan), len(scope.taken))):
            choice = scope.taken[position]
            before = tuple(c.decided for c in scope.taken[:position])
            branches: list[_Plan] = [
                (layers, (*before, n), {}) for n in reversed(range(choice.options)) if n != choice.decided
            ]
            (resorts if choice.last_resort else pending).extend(branches)
        if not pending and not found:
            pending, resorts = resorts, []
    if refused is None:
        refused = ReadError("the formula cannot be read", source=text, line=1, column=1)
    return found, refused


def _rank(error: SymgradError) -> int:
    """Which error tells most: sizes that do not fit, rather than a name that another layer lacks."""
    if isinstance(error, ShapeError):
        return 2
    return 0 if error.message.endswith("is neither an index nor a layer here") else 1


def located(error: SymgradError, text: str, node: Node) -> SymgradError:
    """The error with the position of a piece, unless it has one."""
    before = text[: node.at]
    return error.located(text, before.count("\n") + 1, node.at - (before.rfind("\n") + 1) + 1)
