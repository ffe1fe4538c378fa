"""Index notation: tensors of three or more indices, entries, and arrays that are given by their entries.

An index expression is a SymPy scalar made of entries `A[i, k]`, `Sum(.., (k, 0, n - 1))`, `KroneckerDelta(i, p)`,
`InRange(p - k, n)` and scalar functions of those. Indices count from zero; the column index of a vector is the
number 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sympy
from sympy import Basic, Expr, Function, Max, Min, S, Sum, Symbol
from sympy.core.function import AppliedUndef
from sympy.core.parameters import distribute
from sympy.core.symbol import Str
from sympy.matrices.expressions.matexpr import MatrixElement

from symgrad.errors import ShapeError
from symgrad.expr.nodes import _Node
from symgrad.expr.shapes import expression, is_matrix, is_tensor, size

__all__ = [
    "Entries",
    "InRange",
    "Indices",
    "Tensor",
    "TensorElement",
    "TensorEntries",
    "TensorGradient",
    "element",
    "from_entries",
    "known_nonnegative",
    "names_in",
    "replace_index",
    "same_but_for_letters",
    "tensor",
    "total",
]

_LETTERS = "ijklrstuvabcdeghmnopq"


class _TensorNode(Expr):
    """An array with three or more indices, whose shape is settled when it is built."""

    is_Tensor = True
    is_commutative = True
    _shape: tuple[Expr, ...]

    @property
    def shape(self) -> tuple[Expr, ...]:
        """The sizes, one for each index."""
        return self._shape

    def doit(self, **hints: Any) -> Expr:
        return self


class Tensor(_TensorNode):
    """A symbol with three or more indices; args: name, sizes."""

    def __new__(cls, name: str | Str, *sizes: Expr) -> Tensor:
        sizes = tuple(map(expression, sizes))
        obj: Tensor = Basic.__new__(cls, name if isinstance(name, Str) else Str(name), *sizes)
        obj._shape = sizes
        return obj

    @property
    def name(self) -> str:
        """The symbol's name."""
        return str(self.args[0].name)

    @property
    def free_symbols(self) -> set[Basic]:
        """The tensor itself, as for SymPy's matrix symbols."""
        return {self}

    def _sympystr(self, printer: Any) -> str:
        return self.name


class TensorGradient(_TensorNode):
    """The derivative of the scalar f by the tensor x, in the shape of x; not worked out."""

    def __new__(cls, f: Expr, x: Expr) -> TensorGradient:
        obj: TensorGradient = Basic.__new__(cls, f, x)
        obj._shape = x.shape
        return obj


class TensorElement(Expr):
    """The entry of a tensor; args: the tensor, then its indices."""

    is_commutative = True

    def __new__(cls, array: Expr, *indices: Expr) -> TensorElement:
        if len(indices) != len(array.shape):
            raise ShapeError(f"{len(indices)} indices for a tensor with {len(array.shape)}")
        obj: TensorElement = Basic.__new__(cls, array, *map(expression, indices))
        return obj

    @classmethod
    def class_key(cls) -> tuple[int, int, str]:
        """In products entries of tensors stand among those of matrices."""
        key: tuple[int, int, str] = MatrixElement.class_key()
        return key

    @property
    def parent(self) -> Expr:
        """The tensor."""
        return self.args[0]

    @property
    def indices(self) -> tuple[Expr, ...]:
        """Where the entry stands."""
        return tuple(self.args[1:])

    def _sympystr(self, printer: Any) -> str:
        return f"{printer._print(self.parent)}[{', '.join(map(printer._print, self.indices))}]"


class InRange(Function):
    """1 where 0 <= place < size, else 0: an entry outside its array counts as zero."""

    nargs = 2
    is_integer = True
    is_nonnegative = True

    @classmethod
    def eval(cls, place: Expr, count: Expr) -> Expr | None:
        """What is known of the place settles it."""
        if known_nonnegative(place) and known_nonnegative(count - 1 - place):
            return S.One
        if known_nonnegative(-1 - place) or known_nonnegative(place - count):
            return S.Zero
        return None

    def fdiff(self, argindex: int = 1) -> Expr:
        """An index is no variable."""
        return S.Zero

    def _eval_power(self, exponent: Expr) -> Expr | None:
        return self if exponent.is_positive else None


class _ByEntries:
    """args: the entry, its indices, the sizes. The indices are bound."""

    args: tuple[Expr, ...]
    func: Any

    @property
    def body(self) -> Expr:
        """The entry at the indices."""
        return self.args[0]

    @property
    def indices(self) -> tuple[Expr, ...]:
        """The bound indices; 0 where the size is one."""
        return self.args[1 : 1 + len(self.args) // 2]

    @property
    def sizes(self) -> tuple[Expr, ...]:
        """The size of each index."""
        return self.args[1 + len(self.args) // 2 :]

    @property
    def bound_symbols(self) -> list[Expr]:
        return [k for k in self.indices if not k.is_Number]

    @property
    def free_symbols(self) -> set[Basic]:
        free: set[Basic] = self.body.free_symbols - set(self.indices)
        return free.union(*(s.free_symbols for s in self.sizes))

    def at(self, *places: Expr) -> Expr:
        """The entry at other indices."""
        names = Indices(names_in(self.body, *self.indices, *places))
        between = [k if k.is_Number else Symbol(names.fresh().name, **k.assumptions0) for k in self.indices]
        e = self.body
        for k, b in zip(self.indices, between, strict=True):
            e = e if k.is_Number else replace_index(e, k, b)
        for b, place in zip(between, places, strict=True):
            e = e if b.is_Number else replace_index(e, b, place)
        return e


class Entries(_ByEntries, _Node):
    """The matrix with given entries; args: entry, row index, column index (0 for a vector), sizes."""

    def __new__(cls, body: Expr, *rest: Expr) -> Entries:
        obj = Basic.__new__(cls, *map(expression, (body, *rest)))
        obj._shape = obj.sizes
        return obj


class TensorEntries(_ByEntries, _TensorNode):
    """The tensor with given entries; args: entry, indices, sizes."""

    def __new__(cls, body: Expr, *rest: Expr) -> TensorEntries:
        obj: TensorEntries = Basic.__new__(cls, *map(expression, (body, *rest)))
        obj._shape = obj.sizes
        return obj


# --- constructors ----------------------------------------------------------------------------------


def tensor(name: str, *sizes: int | str | Expr) -> Tensor:
    """A symbol with three or more indices.

    >>> tensor("K", "c", "d", 3).shape
    (c, d, 3)
    """
    if len(sizes) < 3:
        raise ShapeError("a tensor has three indices or more; a matrix has two")
    return Tensor(name, *map(size, sizes))


def element(m: Expr, *indices: Expr | int) -> Expr:
    """The entry of a matrix or a tensor as a symbol of its own; a scalar is its own entry.

    >>> i, j, k = (Symbol(c, integer=True, nonnegative=True) for c in "ijk")
    >>> element(tensor("K", "c", "d", "k"), i, j, k).indices
    (i, j, k)
    """
    if is_tensor(m):
        return TensorElement(m, *indices)
    return MatrixElement(m, *indices, *[0] * (2 - len(indices))) if is_matrix(m) else m


def from_entries(body: Expr, indices: Sequence[Expr], sizes: Sequence[Expr]) -> Expr:
    """The array with given entries: a vector, a matrix or a tensor by the number of indices; a scalar is its body."""
    if not indices:
        return body
    if len(indices) == 1:
        indices, sizes = (*indices, S.Zero), (*sizes, S.One)
    return (Entries if len(indices) == 2 else TensorEntries)(body, *indices, *sizes)


def total(term: Expr, *over: tuple[Expr, Expr]) -> Expr:
    """The sum of a term over indices with their sizes, the first one outermost; the number 0 is not summed over."""
    limits = [(k, S.Zero, n - 1) for k, n in reversed(over) if not k.is_Number]
    return Sum(term, *limits) if limits else term


# --- names of indices ------------------------------------------------------------------------------


def names_in(*expressions: Basic) -> set[str]:
    """Every name that occurs: of symbols, sizes, matrices, families, functions and bound indices."""
    names: set[str] = set()
    for e in expressions:
        names |= {str(a.name) for a in e.atoms(Symbol, Str)}
        names |= {str(a.func.__name__) for a in e.atoms(AppliedUndef)}
    return names


class Indices:
    """Index names that are not taken yet, in a readable order.

    >>> Indices({"i"}).fresh()
    j
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)

    def fresh(self, letters: str = _LETTERS) -> Symbol:
        """A new index; one of the letters if one is left."""
        candidates = [*letters, *_LETTERS]
        name = next((c for c in candidates if c not in self._taken), None)
        number = 1
        while name is None:
            name = next((f"{c}{number}" for c in candidates if f"{c}{number}" not in self._taken), None)
            number += 1
        self._taken.add(name)
        return Symbol(name, integer=True, nonnegative=True)

    def of(self, shape: Sequence[Expr], letters: str = _LETTERS) -> tuple[Expr, ...]:
        """An index for each size of a shape, 0 where a matrix has one row or column; two zeros for a scalar."""
        if not shape:
            return S.Zero, S.Zero
        return tuple(
            S.Zero if n == 1 and len(shape) == 2 else self.fresh(letters[k:]) for k, n in enumerate(shape)
        )


def replace_index(e: Expr, index: Expr, by: Expr) -> Expr:
    """The expression with a free index replaced; bound indices of the same name are left alone.

    >>> i, k, n = Symbol("i"), Symbol("k"), Symbol("n")
    >>> replace_index(i + Sum(i * k, (k, 0, n)), i, k)
    k + Sum(j*k, (j, 0, n))
    """
    if e == index:
        return by
    if index not in e.free_symbols:
        return e
    if isinstance(e, Sum):
        function, limits = e.function, list(e.limits)
        for n, (k, *bounds) in enumerate(limits):
            if k in by.free_symbols:
                fresh = Symbol(Indices(names_in(e, by)).fresh().name, **k.assumptions0)
                function = replace_index(function, k, fresh)
                limits[n] = (fresh, *bounds)
        limits = [(k, *(replace_index(b, index, by) for b in bounds)) for k, *bounds in limits]
        return Sum(replace_index(function, index, by), *limits)
    if isinstance(e, _ByEntries):
        indices, body = list(e.indices), e.body
        for n, k in enumerate(indices):
            if k in by.free_symbols:
                indices[n] = Symbol(Indices(names_in(e, by)).fresh().name, **k.assumptions0)
                body = replace_index(body, k, indices[n])
        return e.func(replace_index(body, index, by), *indices, *e.sizes)
    args = [replace_index(a, index, by) if isinstance(a, Expr) else a for a in e.args]
    with distribute(isinstance(e, Max | Min)):  # bounds are compared, for which SymPy needs -(a + b) = -a - b
        return e.func(*args)


def same_but_for_letters(a: Expr, b: Expr) -> bool:
    """Whether two index expressions differ at most in the letters that their sums bind.

    >>> i, k, n = Symbol("i"), Symbol("k"), Symbol("n")
    >>> same_but_for_letters(Sum(i, (i, 0, n)), Sum(k, (k, 0, n)))
    True
    """
    return a == b or _by_depth(a, 0) == _by_depth(b, 0)


def _by_depth(e: Expr, depth: int) -> Expr:
    """The expression with bound letters that are numbered by their depth."""
    if not e.args or isinstance(e, MatrixElement | TensorElement):
        return e
    if isinstance(e, Sum):
        function, limits = e.function, list(e.limits)
        for n, (k, *bounds) in reversed(list(enumerate(limits))):
            own = Symbol(f"letter {depth}", **k.assumptions0)
            depth += 1
            function = replace_index(function, k, own)
            limits = [(x, *(replace_index(b, k, own) for b in ends)) for x, *ends in limits]
            limits[n] = (own, *bounds)
        return Sum(_by_depth(function, depth), *limits)
    if isinstance(e, _ByEntries):
        places = [k if k.is_Number else Symbol(f"letter {depth + n}") for n, k in enumerate(e.indices)]
        return e.func(_by_depth(e.at(*places), depth + len(places)), *places, *e.sizes)
    with distribute(isinstance(e, Max | Min)):
        return e.func(*(_by_depth(a, depth) if isinstance(a, Expr) else a for a in e.args))


# --- ranges ----------------------------------------------------------------------------------------


def known_nonnegative(e: Expr) -> bool:
    """Whether an expression of sizes and indices is known to be zero or more: sizes are at least 1, indices 0.

    >>> n, i = size("n"), Symbol("i", integer=True, nonnegative=True)
    >>> known_nonnegative(n + i - 1), known_nonnegative(n - 2)
    (True, False)
    """
    e = expression(e)
    if e.is_Number:
        return bool(e >= 0)
    inner = next((a for a in e.atoms(Max, Min) if e.coeff(a) in (1, -1)), None)
    if inner is not None:
        some = isinstance(inner, Max) == (e.coeff(inner) == 1)
        options = (known_nonnegative(e.xreplace({inner: a})) for a in inner.args)
        return any(options) if some else all(options)
    for f in e.atoms(sympy.floor, sympy.ceiling):
        # floor(x) is at most x, and at least x - (q - 1)/q where x has the denominator q
        step = 1 - 1 / sympy.fraction(sympy.together(f.args[0]))[1]
        low, high = (-step, 0) if isinstance(f, sympy.floor) else (0, step)
        e = sympy.expand(e.xreplace({f: f.args[0] + (low if e.coeff(f) > 0 else high)}))
    shift = {s: s + 1 for s in e.free_symbols if s.is_positive and s.is_integer}
    if not all(s.is_nonnegative for s in e.free_symbols):
        return False
    spread = sympy.expand(e.xreplace(shift))
    return all(c.is_nonnegative for c in spread.as_coefficients_dict().values())
