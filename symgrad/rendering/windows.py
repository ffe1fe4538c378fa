"""Shifted indices as arrays: slices, sliding windows, and padding where a shift runs over the edge.

`X[c, i + a]` for all i and a is a window view of X; `G[q - a]`, zero outside G, is a window view of G with zeros around
it, each window read backwards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import sympy
from sympy import Expr, Max, Min, S

from symgrad.errors import UnsupportedError

__all__ = ["Shift", "full_range", "shift", "shifted"]


@dataclass(frozen=True)
class Shift:
    """A place `offset + step * letter + turn * window` on an axis: `turn` is 1 or -1, 0 without a window."""

    offset: Expr
    letter: Expr
    step: int
    window: Expr | None = None
    turn: int = 0


def shift(place: Expr, sizes: Mapping[Expr, Expr]) -> Shift | None:
    """How a place depends on its letters; None where no slice or window says it.

    >>> from sympy import symbols
    >>> i, a, n = symbols("i a n", integer=True)
    >>> shift(2 * i + a + 1, {i: n, a: n})
    Shift(offset=1, letter=i, step=2, window=a, turn=1)
    """
    place = sympy.expand(place)
    letters = sorted((k for k in place.free_symbols if k in sizes), key=str)
    steps = {k: place.coeff(k) for k in letters}
    offset = sympy.expand(place - sum(c * k for k, c in steps.items()))
    if not letters or any(not c.is_Integer for c in steps.values()) or offset.free_symbols & set(letters):
        return None
    if len(letters) == 1:
        return Shift(offset, letters[0], int(steps[letters[0]])) if steps[letters[0]] != 0 else None
    for window in reversed(letters):
        others = [k for k in letters if k != window]
        if len(others) == 1 and abs(steps[window]) == 1 and steps[others[0]] >= 1:
            return Shift(offset, others[0], int(steps[others[0]]), window, int(steps[window]))
    return None


def full_range(letter: Expr, lower: Expr, upper: Expr, places: Sequence[tuple[Expr, Expr]]) -> Expr | None:
    """How far a sum over a part of a range goes where one of its entries is zero outside its array; else None.

    `places` are places with the sizes of their axes. The part must be just that where the place is inside.
    """
    if not (isinstance(upper, Min) and isinstance(lower, Max)):
        return None
    for place, size in places:
        if sympy.expand(place).coeff(letter) != -1:
            continue
        rest = sympy.expand(place + letter)
        last = [t for t in upper.args if sympy.expand(t - rest) != 0]
        inside = {S.Zero, sympy.expand(rest - size + 1)}
        if len(last) == 1 and len(upper.args) == 2 and {sympy.expand(t) for t in lower.args} == inside:
            return sympy.expand(last[0] + 1)
    return None


def shifted(
    module: str,
    axes: Sequence[Expr | Shift],
    shape: Sequence[Expr],
    sizes: Mapping[Expr, Expr],
    say: Callable[[Expr], str],
    padded: bool,
) -> tuple[list[str], tuple[Expr, ...]]:
    """The operations one after another, each a text of the one before as `{}`, and the letters of the axes at last.

    Raises   UnsupportedError where a window would leave the array
    """  # fmt: skip
    done: list[str] = []
    around: dict[int, tuple[Expr, Expr]] = {}
    for axis, own in enumerate(axes):
        if not isinstance(own, Shift):
            continue
        count, width = sizes[own.letter], sizes[own.window] if own.window is not None else S.One
        if own.turn == -1 and padded and own.offset == 0 and own.step == 1:
            around[axis] = (width - 1, sympy.expand(count - shape[axis]))
            continue
        first = own.offset - (width - 1) if own.turn == -1 else own.offset
        if own.turn == 0 and own.step < 0:
            first = own.offset + own.step * (count - 1)
        length = sympy.expand(abs(own.step) * (count - 1) + width)
        if sympy.expand(first).is_negative:
            raise UnsupportedError("a shifted index leaves its array, so it has no einsum")
        if sympy.expand(first) != 0 or sympy.expand(length - shape[axis]) != 0:
            done.append(_sliced(axis, f"{say(sympy.expand(first))}:{say(sympy.expand(first + length))}"))
    if around:
        done.append(_padded(module, [around.get(k, (S.Zero, S.Zero)) for k in range(len(axes))], say))
    letters = [own.letter if isinstance(own, Shift) else own for own in axes]
    for axis in reversed(range(len(axes))):
        own = axes[axis]
        if not isinstance(own, Shift):
            continue
        if own.window is None:
            if own.step != 1:
                done += _stepped(module, axis, own.step)
            continue
        width = say(sizes[own.window])
        if module == "jnp":
            count = say(sizes[own.letter])
            times = f"{own.step} * " if own.step != 1 else ""
            places = f"{times}jnp.arange({count})[:, None] + jnp.arange({width})"
            done.append(f"jnp.take({{}}, {places}, axis={axis})")
            letters.insert(axis + 1, own.window)
            at = axis + 1
        else:
            view = (
                "np.lib.stride_tricks.sliding_window_view({}, %s, axis=%d)"
                if module == "np"
                else "{}.unfold(%s, %s, 1)"
            )
            done.append(view % ((width, axis) if module == "np" else (axis, width)))
            letters.append(own.window)
            at = len(letters) - 1
            if own.step != 1:
                done += _stepped(module, axis, own.step)
        if own.turn == -1:
            done += _stepped(module, at, -1)
    return done, tuple(letters)


def _sliced(axis: int, part: str) -> str:
    return "{}[" + ":, " * axis + part + "]"


def _stepped(module: str, axis: int, step: int) -> list[str]:
    """Every step-th entry of an axis, from the end where the step is negative."""
    if step > 0:
        return [_sliced(axis, f"::{step}")]
    if module != "torch":
        return [_sliced(axis, f"::{step}")]
    return [f"{{}}.flip({axis})", *([_sliced(axis, f"::{-step}")] if step < -1 else [])]


def _padded(module: str, around: Sequence[tuple[Expr, Expr]], say: Callable[[Expr], str]) -> str:
    """Zeros before and behind every axis."""
    if module == "torch":
        listed = ", ".join(say(n) for pair in reversed(around) for n in pair)
        return f"torch.nn.functional.pad({{}}, ({listed}))"
    listed = ", ".join(f"({say(a)}, {say(b)})" for a, b in around)
    return f"{module}.pad({{}}, ({listed}{',' if len(around) == 1 else ''}))"
