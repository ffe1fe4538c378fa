"""How large the polynomials are that an exact test compares: degrees, atoms, signs, summed indices.

From these follow the number of points, the sizes that lose nothing, and the bound on the error.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from sympy import Add, Expr, Indexed, KroneckerDelta, Mul, Pow, Product, S, Sum, Symbol
from sympy.matrices.expressions.determinant import Determinant
from sympy.matrices.expressions.hadamard import HadamardPower, HadamardProduct
from sympy.matrices.expressions.inverse import Inverse
from sympy.matrices.expressions.kronecker import KroneckerProduct
from sympy.matrices.expressions.matadd import MatAdd
from sympy.matrices.expressions.matexpr import MatrixElement
from sympy.matrices.expressions.matmul import MatMul
from sympy.matrices.expressions.matpow import MatPow
from sympy.matrices.expressions.trace import Trace

from symgrad.checking.canonical import NotDecided
from symgrad.checking.field_atoms import Setting
from symgrad.checking.field_entries import is_over_entries
from symgrad.checking.field_samples import choices, sample_degree
from symgrad.checking.places import Places, is_index
from symgrad.expr import (
    AxisLogSumExp,
    AxisMax,
    Convolve,
    Correlate,
    Differential,
    Elementwise,
    Entries,
    EntryMax,
    EntrySum,
    Gradient,
    InRange,
    Jacobian,
    LogDet,
    LogSoftmax,
    LogSumExp,
    MatrixSum,
    Norm,
    OrderedProduct,
    ScalarDifferential,
    ScalarGradient,
    Softmax,
    TensorElement,
    TensorEntries,
    TensorGradient,
    is_leaf,
    is_matrix,
    shape_of,
    walk,
)
from symgrad.expr.entrywise import function_name

__all__ = ["Degree", "Degrees", "all_nodes", "name_of", "nesting", "summed_indices"]

_EXPONENTIAL = {
    *("exp", "sigmoid", "silu", "tanh", "sinh", "cosh", "softplus", "elu", "gelu", "erf"),
    *("sin", "cos", "tan"),
}
_BY_EXPONENTIALS = (Softmax, LogSoftmax, LogSumExp, AxisLogSumExp)
_SIGNS = {"step", "sign", "abs", "relu", "leaky_relu", "elu"}
_RANGES = (OrderedProduct, MatrixSum, Sum, Product)
_UNEVALUATED = (Gradient, TensorGradient, ScalarGradient, Jacobian, Differential, ScalarDifferential)
_PRODUCTS = (MatMul, Mul, HadamardProduct, KroneckerProduct, Correlate, Convolve)
_SUMS = (Add, MatAdd)


def all_nodes(expressions: Iterable[Expr], values: Mapping[Expr, Expr]) -> Iterator[Expr]:
    """Every distinct subexpression, those of the definitions that are used among them."""
    seen: set[Expr] = set()
    waiting = list(expressions)
    while waiting:
        for node in walk(waiting.pop()):
            if node not in seen:
                seen.add(node)
                yield node
                if node in values:
                    waiting.append(values[node])


def name_of(node: Expr) -> str | None:
    """The name of the function that a node applies entry by entry."""
    return node.name if isinstance(node, Elementwise) else function_name(node)


def nesting(expressions: Iterable[Expr], values: Mapping[Expr, Expr]) -> int:
    """How deep exponentials stand inside exponentials."""
    known: dict[Expr, int] = {}

    def depth(e: Expr) -> int:
        if e not in known:
            known[e] = 0
            if is_leaf(e):
                known[e] = depth(values[e]) if e in values else 0
            else:
                inside = max((depth(a) for a in e.args if isinstance(a, Expr)), default=0)
                known[e] = inside + (isinstance(e, _BY_EXPONENTIALS) or name_of(e) in _EXPONENTIAL)
        return known[e]

    return max((depth(e) for e in expressions), default=0)


@dataclass(frozen=True)
class Degree:
    """Entries are num / den with one den for all of them; `signs` counts factors that choose from few values."""

    num: int
    den: int = 0
    signs: Counter[object] = field(default_factory=Counter)


@dataclass
class Degrees:
    """Degrees of expressions over one setting, and what their atoms need.

    exponentials   how many numbers an exponential is taken of
    inside         the largest degree of an argument, over all nested levels; `inside_signs` the bits of its choices
    atoms          how many numbers other functions are taken of
    roots          how many numbers a root is taken of, each of which halves the points
    """

    setting: Setting
    exponentials: int = 0
    inside: int = 1
    inside_signs: float = 0.0
    atoms: int = 0
    roots: int = 0
    height: int = 1
    places: Places | None = None
    _known: dict[object, Degree] = field(default_factory=dict)
    _bits: dict[object, tuple[float, int]] = field(default_factory=dict)

    def of(self, e: Expr) -> Degree:
        """The degree of an expression.

        Raises   NotDecided where it is not known
        """
        key = (e, *self._open(e).items())
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._degree(e)
        return found

    def within(self, places: Places | None, e: Expr) -> Degree:
        """The degree of an expression with indices open, over all their numbers."""
        before, self.places = self.places, places
        try:
            return self.of(e)
        finally:
            self.places = before

    def _open(self, e: Expr) -> dict[Expr, int]:
        """The open indices in an expression with their lengths."""
        if self.places is None:
            return {}
        free = e.free_symbols
        return {k: n for k, n in self.places.lengths.items() if k in free}

    def bits(self, signs: Mapping[object, int]) -> float:
        """The choices in so many sign-like factors, as a power of two."""
        return sum(min(n, self._bits[s][1]) * self._bits[s][0] for s, n in signs.items())

    def _entries(self, e: Expr) -> int:
        return math.prod((*self.setting.shape(e), *self._open(e).values()))

    def _source(self, key: object, options: float, entries: int) -> Counter[object]:
        self._bits[key] = (math.log2(options), entries)
        return Counter({key: 1})

    def _degree(self, e: Expr) -> Degree:
        if isinstance(e, KroneckerDelta | InRange) or e in self._open(e):
            self.height *= max(1, *(n for _, _, n in self.places.axes)) if self.places and is_leaf(e) else 1
            return Degree(0)
        if is_leaf(e):
            return self._leaf(e)
        if e.is_Rational:
            self.height *= max(abs(int(e.p)), int(e.q)) if e not in (S.One, S.NegativeOne) else 1
            return Degree(0)
        if not e.args or e.is_Number:
            return Degree(1 if e is S.Pi else 0)
        if isinstance(e, _UNEVALUATED):
            f = self.of(e.args[0])
            factor = 2 if not isinstance(e.args[0], _UNEVALUATED) else 1
            return Degree(f.num + f.den + 1, factor * f.den + f.num, f.signs)
        if isinstance(e, _BY_EXPONENTIALS):
            return self._by_exponentials(e)
        name = name_of(e)
        if name is not None:
            return self._function(e, name, e.arg if isinstance(e, Elementwise) else e.args[0])
        if isinstance(e, MatrixElement | TensorElement):
            return self.within(None, e.args[0])
        if isinstance(e, Entries | TensorEntries):
            return self.within(self._opened(zip(e.indices, e.sizes, strict=True)), e.body)
        if isinstance(e, Sum) and is_over_entries(e):
            return self._entry_sum(e)
        if isinstance(e, _RANGES):
            return self._range(e)
        if isinstance(e, Pow | HadamardPower):
            base, k = e.args
            exponent = self.setting.rational(k)
            if isinstance(base, Norm) and exponent.denominator == 1 and exponent.numerator % 2 == 0:
                return self._power(self._times(*[self.of(base.arg)] * 2), exponent / 2, 1, base)
            return self._power(self.of(base), exponent, self._entries(base), base)
        if isinstance(e, MatPow):
            d, k = self.of(e.args[0]), self.setting.whole(e.args[1])
            if k < 0:
                d = self._matrix_inverse(d, self.setting.shape(e)[0])
            return Degree(abs(k) * d.num, abs(k) * d.den, self._repeated(d.signs, abs(k)))
        parts = [self.of(a) for a in e.args if isinstance(a, Expr)]
        if isinstance(e, _SUMS):
            return self._plus(*parts)
        if isinstance(e, _PRODUCTS):
            return self._times(*parts)
        if isinstance(e, Inverse):
            return self._matrix_inverse(parts[0], self.setting.shape(e)[0])
        if isinstance(e, Determinant | LogDet):
            n = self.setting.shape(e.args[0])[0]
            d = Degree(n * parts[0].num, n * parts[0].den, self._repeated(parts[0].signs, n))
            return d if isinstance(e, Determinant) else self._atom(d, 1)
        if isinstance(e, Norm):
            return self._root(self._times(parts[0], parts[0]), 1, e.args[0], 2)
        if isinstance(e, EntryMax) and isinstance(e.arg, Entries):
            n = math.prod(self.setting.shape(e.arg))
            return self._plus(parts[0], Degree(0, 0, self._source(e, n, self._entries(e))))
        if isinstance(e, EntryMax | AxisMax):
            rows, cols = self.setting.shape(e.args[0])
            n = rows * cols if isinstance(e, EntryMax) else (rows, cols)[e.axis]
            return self._plus(parts[0], Degree(0, 0, self._source(e, n, rows * cols // n)))
        return self._plus(*(p for p in parts)) if parts else Degree(1)

    def _opened(self, over: Iterable[tuple[Expr, Expr]]) -> Places:
        """The open indices and more of them, with their sizes."""
        places = self.places or Places(self.setting.whole)
        for k, n in over:
            places = places.opened(k, 0, self.setting.whole(n) - 1)
        return places

    def _entry_sum(self, e: Sum) -> Degree:
        places = self.places or Places(self.setting.whole)
        for k, first, last in reversed(e.limits):
            low, high = (places.whole(b) for b in (first, last))
            places = places.opened(k, low, high)
        return self.within(places, e.function)

    def _leaf(self, e: Expr) -> Degree:
        setting = self.setting
        value = setting.values.get(e)
        if value is not None:
            return self.of(value)
        if e in setting.sizes or e in setting.integers:
            return Degree(0)
        shape = setting.shape(e)
        num, den = sample_degree(e, shape, setting.assumptions)
        options = choices(e, shape, setting.assumptions)
        signs = self._source(e, options, math.prod(shape)) if options > 1 else Counter()
        return Degree(num, den, signs)

    def _repeated(self, signs: Counter[object], k: int) -> Counter[object]:
        return Counter({s: min(n * k, self._bits[s][1]) for s, n in signs.items()})

    def _plus(self, *parts: Degree) -> Degree:
        result = parts[0]
        for p in parts[1:]:
            result = Degree(
                max(result.num + p.den, p.num + result.den), result.den + p.den, result.signs | p.signs
            )
        return result

    def _times(self, *parts: Degree) -> Degree:
        signs: Counter[object] = Counter()
        for p in parts:
            signs = signs + p.signs
        return Degree(sum(p.num for p in parts), sum(p.den for p in parts), signs)

    def _reciprocal(self, d: Degree, entries: int) -> Degree:
        return Degree(d.den + (entries - 1) * d.num, entries * d.num, d.signs)

    def _matrix_inverse(self, d: Degree, n: int) -> Degree:
        return Degree(d.den + (n - 1) * d.num, n * d.num, self._repeated(d.signs, n))

    def _power(self, d: Degree, k: Fraction, entries: int, base: Expr) -> Degree:
        if k.denominator != 1:
            d, k = self._root(d, entries, base, k.denominator), Fraction(k.numerator)
        if k < 0:
            d, k = self._reciprocal(d, entries), -k
        n = int(k)
        return Degree(n * d.num, n * d.den, self._repeated(d.signs, n))

    def _root(self, d: Degree, entries: int, base: Expr, order: int) -> Degree:
        if is_leaf(base) and "positive" in self.setting.assumptions.get(str(base), ()):
            return Degree(d.num, d.den, d.signs)
        if d.num == 0:
            return Degree(0)
        self.roots += entries
        signs = d.signs + self._source(("root", base), 2, entries)
        return Degree(order * (d.num + d.den), 0, signs)

    def _atom(self, d: Degree, entries: int) -> Degree:
        self.atoms += entries
        self.inside = max(self.inside, d.num + d.den)
        return Degree(1, 0, d.signs)

    def _exponential(self, x: Expr) -> Degree:
        d = self.of(x)
        self.exponentials += self._entries(x)
        self.inside = max(self.inside, d.num + d.den)
        self.inside_signs = max(self.inside_signs, self.bits(d.signs))
        return Degree(1, 0, d.signs)

    def _by_exponentials(self, e: Expr) -> Degree:
        y = self._exponential(e.arg)
        total = self._entries(e.arg) if isinstance(e, LogSumExp) else self.setting.shape(e.arg)[e.axis]
        lines = self._entries(e.arg) // total
        if isinstance(e, Softmax):
            return self._times(y, self._reciprocal(y, lines))
        atom = self._atom(y, lines)
        return self._plus(self.of(e.arg), atom) if isinstance(e, LogSoftmax) else atom

    def _function(self, e: Expr, name: str, x: Expr) -> Degree:
        d, entries = self.of(x), self._entries(x)
        if name == "sqrt":
            return self._root(d, entries, x, 2)
        if name in _SIGNS:
            signs = d.signs + self._source((name in _SIGNS, x), 2, entries)
            if name in ("step", "sign"):
                return Degree(0, 0, signs)
            if name != "elu":
                return Degree(d.num + 1, d.den, signs)
            y = self._exponential(x)
            return Degree(max(d.num, y.num + d.den) + 1, d.den, signs)
        if name not in _EXPONENTIAL:
            return self._atom(d, entries)
        y = self._exponential(x)
        if name == "exp":
            return y
        if name in ("erf", "gelu"):
            self._atom(d, entries)
            return Degree(d.num + 2, d.den, d.signs)
        if name == "softplus":
            return self._atom(y, entries)
        two = Degree(2, 0, y.signs)
        if name in ("sinh", "cosh", "sin", "cos"):
            return self._times(two, self._reciprocal(y, entries))
        result = self._times(two, self._reciprocal(two, entries))
        return self._times(d, result) if name == "silu" else result

    def _range(self, e: Expr) -> Degree:
        if isinstance(e, Sum | Product):
            body, (index, lower, upper) = e.function, e.limits[0]
        else:
            body, index, (lower, upper) = e.body, e.index, e.bounds
        first, last = self.setting.whole(lower), self.setting.whole(upper)
        if last - first > 40:
            raise NotDecided("a long range")
        parts = [self.of(body.xreplace({index: S(k)})) for k in range(first, last + 1)]
        if not parts:
            return Degree(0)
        return self._plus(*parts) if isinstance(e, Sum | MatrixSum) else self._times(*parts)


def summed_indices(
    e: Expr, values: Mapping[Expr, Expr], free: Mapping[Expr, Expr] | None = None
) -> Counter[Symbol]:
    """How many indices of each size the largest network in an expression has, its free ones included.

    A function of a network is one atom, whose inside is counted by itself; a derivative chains them, so the insides
    are added up. At sizes as large as these counts, networks that differ are linearly independent (the monomial
    in which all indices have different values determines a network), so a test at such sizes loses nothing. `free` are
    index symbols with their sizes.
    """
    return _Indices(values, free or {}, e).total(e)


class _Indices:
    def __init__(self, values: Mapping[Expr, Expr], free: Mapping[Expr, Expr], e: Expr) -> None:
        self.values = values
        self.free = free
        self.open: dict[Expr, Counter[Symbol]] = {k: _symbols(n) for k, n in free.items()}
        for node in all_nodes([e], values):
            if isinstance(node, Sum):
                ranges = [(k, last - first) for k, first, last in node.limits]
            elif isinstance(node, Entries | TensorEntries):
                ranges = list(zip(node.indices, node.sizes, strict=True))
            else:
                continue
            for k, n in ranges:
                own = Counter({s: 1 for s in _symbols(n) if not is_index(s)})
                self.open[k] = self.open.get(k, Counter()) | own
        self._known: dict[Expr, tuple[Counter[Symbol], Counter[Symbol]]] = {}

    def total(self, e: Expr) -> Counter[Symbol]:
        own, inside = self._counts(e)
        return own + inside + _axes(e) + self._free(e)

    def _free(self, e: Expr) -> Counter[Symbol]:
        """The open indices in an expression."""
        total: Counter[Symbol] = Counter()
        for k in e.free_symbols & self.open.keys():
            total += self.open[k]
        return total

    def _counts(self, e: Expr) -> tuple[Counter[Symbol], Counter[Symbol]]:
        """The summed indices of the largest network, and those of the longest chain of functions inside it."""
        if e not in self._known:
            self._known[e] = (Counter(), Counter())
            self._known[e] = self._count(e)
        return self._known[e]

    def _count(self, e: Expr) -> tuple[Counter[Symbol], Counter[Symbol]]:
        if is_leaf(e):
            return self._counts(self.values[e]) if e in self.values else (Counter(), Counter())
        parts = [self._counts(a) for a in e.args if isinstance(a, Expr)]
        if not parts:
            return Counter(), Counter()
        inside: Counter[Symbol] = Counter()
        for _, i in parts:
            inside |= i
        most: Counter[Symbol] = Counter()
        for o, _ in parts:
            most |= o
        summed: Counter[Symbol] = Counter()
        for o, _ in parts:
            summed += o
        if isinstance(e, _SUMS):
            return most, inside
        if isinstance(e, Sum):
            for k in e.bound_symbols:
                summed += self.open[k]
            return summed, inside
        if isinstance(e, MatMul):
            matrices = [a for a in e.args if is_matrix(a)]
            for a in matrices[:-1]:
                summed += _symbols(a.shape[1])
            return summed, inside
        if isinstance(e, _PRODUCTS):
            return summed, inside
        if isinstance(e, EntrySum | Trace) and not isinstance(e, EntryMax | LogSumExp | Norm | LogDet):
            over = _axes(e.args[0]) if isinstance(e, EntrySum) else _symbols(e.args[0].shape[0])
            return summed + over, inside
        if isinstance(e, Pow | HadamardPower) and e.args[1].is_Integer and 0 < e.args[1] <= 8:
            base = e.args[0]
            own = parts[0][0] if not isinstance(base, Norm) else Counter()
            if isinstance(base, Norm):
                own = self._counts(base.arg)[0] + _axes(base.arg)
            return Counter({s: n * int(e.args[1]) for s, n in own.items()}), inside
        if isinstance(e, MatPow) and e.args[1].is_Integer and abs(int(e.args[1])) <= 8:
            k = abs(int(e.args[1]))
            own = Counter({s: n * k for s, n in parts[0][0].items()})
            return own + Counter({s: n * (k - 1) for s, n in _symbols(e.shape[0]).items()}), inside
        if name_of(e) is not None or isinstance(
            e,
            (
                *_BY_EXPONENTIALS,
                Norm,
                LogDet,
                Determinant,
                Inverse,
                Pow,
                HadamardPower,
                MatPow,
                EntryMax,
                AxisMax,
            ),
        ):
            argument = e.arg if hasattr(e, "arg") else e.args[0]
            return Counter(), inside + most + _axes(argument) + self._free(argument)
        return summed, inside


def _symbols(size: Expr) -> Counter[Symbol]:
    return Counter(size.free_symbols if not isinstance(size, Indexed) else {size})


def _axes(e: Expr) -> Counter[Symbol]:
    total: Counter[Symbol] = Counter()
    for s in shape_of(e):
        total += _symbols(s)
    return total
