"""Answers in index notation -> einsum: a sum of products of entries is one contraction of whole arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_letters

import sympy
from sympy import Add, Expr, KroneckerDelta, Mul, S, Sum, Symbol
from sympy.core.parameters import distribute
from sympy.matrices.expressions.matexpr import MatrixElement

from symgrad.errors import UnsupportedError
from symgrad.expr.entrywise import function_name
from symgrad.rendering.code.graph import Node
from symgrad.rendering.code.lowering import Lowering

__all__ = ["Entries", "contracted", "split_delta"]


@dataclass(frozen=True)
class _Factor:
    node: Node
    indices: tuple[Symbol, ...]


class Entries:
    """Arrays of index expressions; `sizes` gives the range of every free index."""

    def __init__(self, lowering: Lowering, sizes: Mapping[Symbol, Expr]) -> None:
        self._lower = lowering
        self._sizes = dict(sizes)

    def array(self, e: Expr, out: Sequence[Symbol]) -> Node:
        """The array whose axes are the indices `out`.

        Raises   UnsupportedError for what is no contraction, such as a shifted index
        """
        out = tuple(out)
        if not self._indices_in(e) and not e.has(Sum):
            scalar = self._lower(e)
            return self._contraction([_Factor(scalar, ())], out) if out else scalar
        if isinstance(e, Add):
            pieces = [
                self._term(t, out if self._indices_in(t) else ()) for t in e.args
            ]  # the others broadcast
            pieces.sort(key=lambda piece: piece[0])
            shape = tuple(self._sizes[i] for i in out)
            return self._lower.graph.node(
                "add", tuple(n for _, n in pieces), tuple(s for s, _ in pieces), shape
            )
        if isinstance(e, sympy.Pow) and not self._indices_in(e.exp):
            base = self.array(e.base, out)
            if e.exp.could_extract_minus_sign():
                below = (
                    base
                    if e.exp == -1
                    else self._lower.graph.node("power", (base, self._lower(-e.exp)), None, base.shape)
                )
                return self._lower.ops.divide(self._lower.ops.number(S.One), below)
            return self._lower.graph.node("power", (base, self._lower(e.exp)), None, base.shape)
        if isinstance(e, sympy.Function) and not isinstance(e, KroneckerDelta):
            name = function_name(e) or type(e).__name__
            return self._lower.function(name, self.array(e.args[0], out), *map(self._lower, e.args[1:]))
        negative, node = self._term(e, out)
        return self._lower.negative(node) if negative else node

    def _indices_in(self, e: Expr) -> list[Symbol]:
        return [i for i in self._sizes if i in e.free_symbols]

    def _term(self, e: Expr, out: tuple[Symbol, ...]) -> tuple[bool, Node]:
        """Sign and absolute value of a product."""
        scalars: list[Expr] = []
        factors: list[_Factor] = []
        self._gather(e, {}, scalars, factors)
        coefficient = Mul(*scalars)
        if not factors:
            negative, node = self._lower.scaled(coefficient, None)
            return negative, self._contraction([_Factor(node, ())], out) if out else node
        return self._lower.scaled(coefficient, lambda: self._contraction(factors, out))

    def _gather(
        self, e: Expr, renamed: dict[Symbol, Symbol], scalars: list[Expr], factors: list[_Factor]
    ) -> None:
        """The factors of a product; sums in it become bound indices with names of their own."""
        for f in Mul.make_args(e):
            if isinstance(f, Sum):
                inner = dict(renamed)
                for k, lower, upper in f.limits:
                    if not lower.is_zero:
                        raise UnsupportedError(f"a sum from {lower} has no einsum")
                    fresh = sympy.Dummy(str(k), integer=True)
                    self._sizes[fresh] = sympy.expand(upper + 1)
                    inner[k] = fresh
                self._gather(f.function, inner, scalars, factors)
                continue
            f = f.xreplace(renamed)
            if isinstance(f, MatrixElement):
                factors.append(self._element(f))
            elif isinstance(f, KroneckerDelta):
                i, j = f.args[:2]
                if i not in self._sizes or j not in self._sizes:
                    raise UnsupportedError(f"the delta of {i} and {j} has no einsum")
                n = self._sizes[i]
                factors.append(_Factor(self._lower.graph.node("eye", (), n, (n, n)), (i, j)))
            elif self._indices_in(f):
                own = tuple(self._indices_in(f))
                whole = isinstance(f, sympy.Pow) and f.exp.is_Integer and 0 < f.exp <= 3
                if whole and isinstance(f.base, MatrixElement | Sum):
                    for _ in range(int(f.exp)):
                        self._gather(f.base, {}, scalars, factors)
                else:
                    factors.append(_Factor(self.array(f, own), own))
            else:
                scalars.append(f)

    def _element(self, e: Expr) -> _Factor:
        m, *at = e.args
        places = [(k, n) for k, n in zip(at, m.shape, strict=True) if not (n == 1 and k.is_zero)]
        for k, _ in places:
            if k not in self._sizes:
                raise UnsupportedError(f"the index {k} of {m} has no einsum")
        return _Factor(self._lower(m), tuple(k for k, _ in places))

    def _contraction(self, factors: list[_Factor], out: tuple[Symbol, ...]) -> Node:
        covered = {i for f in factors for i in f.indices}
        factors = [f for f in factors if f.indices or f.node.rank] or factors
        missing = [i for i in out if i not in covered]
        factors += [_Factor(self._lower.ops.ones(self._sizes[i]), (i,)) for i in missing]
        scalars = [f.node for f in factors if not f.indices]
        factors = [f for f in factors if f.indices]
        if len(factors) == 1 and factors[0].indices == out and len(set(out)) == len(out):
            node = factors[0].node
        elif len(factors) == 1 and factors[0].indices == out[::-1] and len(set(out)) == 2:
            node = self._lower.ops.transpose(factors[0].node)
        elif (product := self._product(factors, out)) is not None:
            node = product
        else:
            letters = dict(
                zip(
                    dict.fromkeys([*out, *(i for f in factors for i in f.indices)]),
                    ascii_letters,
                    strict=False,
                )
            )
            left = ",".join("".join(letters[i] for i in f.indices) for f in factors)
            spec = f"{left}->{''.join(letters[i] for i in out)}"
            shape = tuple(self._sizes[i] for i in out)
            node = self._lower.graph.node("einsum", tuple(f.node for f in factors), spec, shape)
        return self._lower.ops.multiply(*scalars, node) if scalars else node

    def _product(self, factors: list[_Factor], out: tuple[Symbol, ...]) -> Node | None:
        """A contraction of two matrices or vectors over one index, as their product."""
        if len(factors) != 2 or any(
            len(f.indices) > 2 or len(set(f.indices)) != len(f.indices) for f in factors
        ):
            return None
        shared = set(factors[0].indices) & set(factors[1].indices)
        if len(shared) != 1 or shared & set(out):
            return None
        (k,) = shared
        for a, b in (factors, factors[::-1]):
            ends = tuple(i for f in (a, b) for i in f.indices if i != k)
            if ends == out:
                left = a.node if a.indices[-1] == k else self._lower.ops.transpose(a.node)
                right = b.node if b.indices[0] == k else self._lower.ops.transpose(b.node)
                return self._lower.ops.matmul(left, right)
        return None


def contracted(e: Expr, pairs: Sequence[tuple[Symbol, Expr]], v: Expr) -> Expr:
    """The sum over two indices of the entries e times v[r, s], with deltas of a summed index put in."""
    (r, rows), (s, cols) = pairs
    terms = []
    for t in Add.make_args(sympy.expand(e, deep=False) if isinstance(e, Mul) else e):
        with distribute(False):
            product = Mul(t, MatrixElement(v, r, s))
        over = {r: rows, s: cols}
        changed = True
        while changed:
            changed = False
            for delta in [f for f in Mul.make_args(product) if isinstance(f, KroneckerDelta)]:
                bound = next((i for i in delta.args[:2] if i in over), None)
                if bound is not None:
                    other = next(i for i in delta.args[:2] if i != bound)
                    rest = Mul(*(f for f in Mul.make_args(product) if f != delta))
                    product = rest.xreplace({bound: other})
                    over.pop(bound)
                    changed = True
                    break
        limits = [(i, S.Zero, n - 1) for i, n in over.items()]
        terms.append(Sum(product, *limits) if limits else product)
    with distribute(False):
        return Add(*terms)


def split_delta(e: Expr, i: Symbol, j: Symbol) -> Expr | None:
    """The rest of an expression whose every term has the factor delta(i, j) and holds neither index elsewhere."""
    rests = []
    for t in Add.make_args(e):
        factors = list(Mul.make_args(t))
        at = next(
            (n for n, f in enumerate(factors) if isinstance(f, KroneckerDelta) and set(f.args[:2]) == {i, j}),
            None,
        )
        if at is None:
            return None
        rest = Mul(*(f for n, f in enumerate(factors) if n != at))
        if {i, j} & rest.free_symbols:
            return None
        rests.append(rest)
    with distribute(False):
        return Add(*rests)
