"""Answers in index notation as programs: every letter is an axis, a sum of products is an einsum.

Shifted indices are slices and windows of their arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from sympy import Add, Expr, KroneckerDelta, Min, Mul, Pow, S, Sum, Symbol, expand
from sympy.matrices.expressions.matexpr import MatrixElement

from symgrad.errors import UnsupportedError
from symgrad.expr import (
    Indices,
    InRange,
    TensorElement,
    is_leaf,
    leaf_name,
    leaves,
    names_in,
    shape_of,
    shape_text,
)
from symgrad.expr.entries_of import entry, spelled
from symgrad.expr.entrywise import function_name
from symgrad.rendering.letters import answer_index
from symgrad.rendering.windows import full_range, shift, shifted

if TYPE_CHECKING:
    from symgrad.api import Derivation

__all__ = ["index_code"]

_MODULES = {
    "numpy": ("import numpy as np", "np"),
    "jax": ("import jax.numpy as jnp", "jnp"),
    "torch": ("import torch", "torch"),
}
_PLAIN = ("exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh", "arctan", "sqrt", "abs", "sign")
_LETTERS = "ijklmnopqrstuvwxyzabcdefghABCDEFGHIJKLMNOPQRSTUVWXYZ"

_Array = tuple[str, tuple[Expr, ...]]
"""The text of an array, and the letters of its axes."""


def index_code(derivation: Derivation, form: str = "numpy") -> str:
    """A function for an answer in index notation; its axes are the indices in their order.

    Raises   UnsupportedError for what has no array code
    """
    found = derivation.indices
    if found is None or found.entry is None:
        raise UnsupportedError("the answer is too long to be written as code")
    first, module = _MODULES[form]
    sizes = dict(found.indices)
    writer = _Writer(module, sizes)
    _define(derivation, found.entry, writer)
    text = writer.whole(found.entry, [k for k, _ in found.indices])
    inputs = [s for s in _inputs(derivation, found.entry) if not _is_size(s)]
    if derivation.wrt not in inputs and not writer.used <= {n for s in inputs for n in _axes(s)}:
        inputs.append(derivation.wrt)  # for its sizes
    head = f"def {derivation.kind}_{leaf_name(derivation.wrt)}({', '.join(leaf_name(s) for s in inputs)}):"
    shape = shape_text(tuple(n for _, n in found.indices))
    about = [
        f'    """The {derivation.kind} by {leaf_name(derivation.wrt)}, entry by entry.',
        "",
        f"        {answer_index(derivation)}",
        "",
        "    Arguments",
        *(f"        {leaf_name(s)}: {shape_text(_axes(s)) if _axes(s) else 'scalar'}" for s in inputs),
        "    Returns",
        f"        {shape}",
        '    """',
    ]
    body = [*_size_lines(writer.used, inputs), *writer.lines, f"return {text}"]
    return "\n".join([first, "", "", head, *about, *(f"    {line}" for line in body)]) + "\n"


def _axes(e: Expr) -> tuple[Expr, ...]:
    """The axes of an array in the code: a vector has one."""
    shape = shape_of(e)
    return shape[:1] if len(shape) == 2 and shape[1] == 1 else shape


def _is_size(s: Expr) -> bool:
    return isinstance(s, Symbol) and bool(s.is_integer)


def _inputs(derivation: Derivation, answer: Expr) -> list[Expr]:
    """The names that the answer needs, in the order of the model."""
    defined = {d.symbol: d.value for d in derivation.model.definitions()}
    needed: list[Expr] = []
    waiting = list(leaves(answer))
    while waiting:
        s = waiting.pop(0)
        if s in defined:
            waiting += [x for x in leaves(defined[s]) if x not in needed]
        elif s not in needed:
            needed.append(s)
    order = [*derivation.model.inputs(), *leaves(derivation.of), *needed]
    return sorted(needed, key=order.index)


def _define(derivation: Derivation, answer: Expr, writer: _Writer) -> None:
    """Write the definitions that the answer needs, one a line."""
    definitions = list(derivation.model.definitions())
    needed = set(leaves(answer))
    for d in reversed(definitions):
        if d.symbol in needed:
            needed |= set(leaves(d.value))
    for d in definitions:
        if d.symbol not in needed:
            continue
        ix = Indices(names_in(d.symbol, d.value))
        shape = shape_of(d.symbol)
        places = ix.of(shape, "ijkl") if shape else ()
        letters = [k for k in places if not k.is_Number]
        writer.sizes |= {k: n for k, n in zip(places, shape, strict=True) if not k.is_Number}
        value = writer.whole(entry(d.value, *places, indices=ix), letters)
        writer.lines.append(f"{leaf_name(d.symbol)} = {value}")


def _size_lines(used: Iterable[Expr], inputs: Sequence[Expr]) -> list[str]:
    """N = A.shape[0] for every size that the code names."""
    lines = []
    for n in sorted(used, key=str):
        at = next(
            ((s, k) for s in inputs for k, size in enumerate(_axes(s)) if size == n),
            None,
        )
        if at is None:
            raise UnsupportedError(f"the size {n} is no axis of an input")
        lines.append(f"{n} = {leaf_name(at[0])}.shape[{at[1]}]")
    return lines


class _Writer:
    """Index expressions to array expressions."""

    def __init__(self, module: str, sizes: Mapping[Expr, Expr]) -> None:
        self.module, self.sizes = module, dict(sizes)
        self.used: set[Expr] = set()
        self.lines: list[str] = []
        self._views: dict[tuple[Expr, ...], _Array] = {}
        self._padded: set[Expr] = set()
        self.order: list[Expr] = []

    def whole(self, e: Expr, letters: Sequence[Expr]) -> str:
        """An array with exactly these axes."""
        self.order = list(letters)
        text, own = self.array(spelled(e))
        missing = [k for k in letters if k not in own]
        aligned = self.aligned((text, own), letters)
        if not missing:
            return aligned
        shape = ", ".join(self.size(self.sizes[k]) for k in letters)
        return f"{self.module}.broadcast_to({aligned}, ({shape},))"

    def size(self, n: Expr) -> str:
        """A size as it is written; its names are noted."""
        self.used |= n.free_symbols
        return str(n)

    def array(self, e: Expr) -> _Array:
        """The array of an index expression, with the letters of its axes."""
        if e.is_Number:
            return str(e) if e.is_Integer else f"({e})", ()
        if isinstance(e, Symbol):
            return (self.size(e) if _is_size(e) else leaf_name(e)), ()
        if isinstance(e, MatrixElement | TensorElement):
            return self._entry(e)
        if isinstance(e, KroneckerDelta):
            i, j = e.args
            if i not in self.sizes or j not in self.sizes:
                raise UnsupportedError(f"{e} has no einsum: its indices are shifted")
            return f"{self.module}.eye({self.size(self.sizes[i])})", (i, j)
        if isinstance(e, Sum):
            for k, lower, upper in e.limits:
                self.sizes[k] = (
                    upper + 1 if lower == 0 and not upper.has(Min) else self._whole_range(e, k, lower, upper)
                )
            return self._product(e.function, [limit[0] for limit in reversed(e.limits)])
        if isinstance(e, Mul):
            return self._product(e, [])
        if isinstance(e, Add):
            return self._total(e)
        if isinstance(e, Pow) and not e.exp.free_symbols & set(self.sizes):
            text, letters = self.array(e.base)
            return f"({text})**{self.array(e.exp)[0]}", letters
        name = function_name(e)
        if name in _PLAIN or name == "sigmoid":
            text, letters = self.array(e.args[0])
            if name == "sigmoid":
                return f"(1 / (1 + {self.module}.exp(-({text}))))", letters
            return f"{self.module}.{name}({text})", letters
        if name == "step":
            text, letters = self.array(e.args[0])
            return f"{self.module}.where({text} > 0, 1.0, 0.0)", letters
        what = "a shifted index" if isinstance(e, InRange) else type(e).__name__
        raise UnsupportedError(
            f"{what} has no einsum: {e}", hint="the formats text, md, tex and json show it"
        )

    def _entry(self, e: Expr) -> _Array:
        array, *places = e.args
        if not is_leaf(array):
            raise UnsupportedError(f"the entries of {array} have no einsum")
        if isinstance(e, MatrixElement) and array.shape[1] == 1:
            places = places[:1]
        if any(
            not k.is_Integer and not self._is_whole(k, n) for k, n in zip(places, _axes(array), strict=True)
        ):
            return self._view(e, array, places)
        text = leaf_name(array)
        if any(k.is_Integer for k in places):
            text += "[" + ", ".join(str(k) if k.is_Integer else ":" for k in places) + "]"
        letters = tuple(k for k in places if not k.is_Integer)
        if len(set(letters)) < len(letters):
            own = tuple(dict.fromkeys(letters))
            return self._einsum([(text, letters)], own), own
        return text, letters

    def _whole_range(self, e: Expr, k: Expr, lower: Expr, upper: Expr) -> Expr:
        """How far a sum over a part of a range goes when an entry of it is zero outside its array."""
        for found in e.function.atoms(MatrixElement, TensorElement):
            array, *places = found.args
            size = full_range(k, lower, upper, list(zip(places, array.shape, strict=True)))
            if size is not None:
                self._padded.add(found)
                return size
        raise UnsupportedError("a sum over a part of a range has no einsum")

    def _is_whole(self, place: Expr, axis: Expr) -> bool:
        """Whether a place is a letter that goes over all of an axis."""
        return place in self.sizes and expand(self.sizes[place] - axis) == 0

    def _view(self, e: Expr, array: Expr, places: Sequence[Expr]) -> _Array:
        """An array with shifted indices: a name for its slices and windows, and their letters."""
        key = (e, *(self.sizes[k] for k in sorted(e.free_symbols & set(self.sizes), key=str)))
        if key not in self._views:
            whole = [self._is_whole(k, n) for k, n in zip(places, _axes(array), strict=True)]
            axes = [k if w else shift(k, self.sizes) for k, w in zip(places, whole, strict=True)]
            if any(own is None for own in axes):
                raise UnsupportedError(f"{e} has no einsum: its indices are shifted")
            name, shape = leaf_name(array), list(_axes(array))
            steps, letters = shifted(
                self.module,
                [own for own in axes if own is not None],
                shape,
                self.sizes,
                self.size,
                e in self._padded,
            )
            text, view = name, f"{name}_view" if not self._views else f"{name}_view{len(self._views) + 1}"
            for step in steps:
                self.lines.append(f"{view} = {step.format(text)}")
                text = view
            self._views[key] = text, letters
        text, letters = self._views[key]
        if len(set(letters)) < len(letters):
            own = tuple(dict.fromkeys(letters))
            return self._einsum([(text, letters)], own), own
        return text, letters

    def _product(self, e: Expr, over: Sequence[Expr]) -> _Array:
        """A product, summed over letters."""
        numbers: list[str] = []
        arrays: list[_Array] = []
        for f in Mul.make_args(e):
            text, letters = self.array(f)
            if letters:
                arrays.append((text, letters))
            elif f is not S.One:
                numbers.append(text if isinstance(f, Symbol) or f.is_Integer else f"({text})")
        present = {k for _, letters in arrays for k in letters}
        numbers += [f"({self.size(self.sizes[k])})" for k in over if k not in present]
        own = self.sorted(k for _, letters in arrays for k in letters if k not in over)
        if not arrays:
            return " * ".join(numbers) or "1", ()
        if not over and all(letters == own for _, letters in arrays):
            body = " * ".join(f"({t})" if " " in t else t for t, _ in arrays)
        else:
            body = self._einsum(arrays, own)
        return " * ".join([*numbers, body]), own

    def sorted(self, letters: Iterable[Expr]) -> tuple[Expr, ...]:
        """The letters in the order of the whole array, those that are summed over outside it behind."""
        found = dict.fromkeys(letters)
        return (*(k for k in self.order if k in found), *(k for k in found if k not in self.order))

    def _einsum(self, arrays: Sequence[_Array], own: Sequence[Expr]) -> str:
        """The call of einsum."""
        used = list(dict.fromkeys(k for _, letters in arrays for k in letters))
        names = {k: k.name for k in used if len(k.name) == 1}
        free = iter(c for c in _LETTERS if c not in names.values())
        for k in used:
            names.setdefault(k, next(free))
        if len(arrays) == 1 and tuple(arrays[0][1]) == tuple(own):
            return arrays[0][0]
        terms = ",".join("".join(names[k] for k in letters) for _, letters in arrays)
        pattern = f"{terms}->{''.join(names[k] for k in own)}"
        return f'{self.module}.einsum("{pattern}", {", ".join(text for text, _ in arrays)})'

    def _total(self, e: Expr) -> _Array:
        arrays = [self.array(t) for t in e.args]
        own = self.sorted(k for _, letters in arrays for k in letters)
        return "(" + " + ".join(self.aligned(a, own) for a in arrays) + ")", own

    def aligned(self, array: _Array, own: Sequence[Expr]) -> str:
        """The array with its axes in an order, and axes of length one for the letters that it lacks."""
        text, letters = array
        if not letters or tuple(letters) == tuple(own):
            return text
        order = tuple(k for k in own if k in letters)
        if order != tuple(letters):
            text = self._einsum([array], order)
        if len(order) == len(own):
            return text
        return f"({text})[{', '.join(':' if k in letters else 'None' for k in own)}]"
