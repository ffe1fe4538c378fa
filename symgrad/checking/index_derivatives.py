"""Derivatives of index forms: the product rule over factors, the chain rule through functions. No rule of ours is used."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from sympy import Expr, S

from symgrad.checking.canonical import NotDecided
from symgrad.checking.exponents import Exponent, SymbolicExponent, add_exponents, as_expr
from symgrad.checking.index_functions import IndexFunctions
from symgrad.checking.networks import MOST_TERMS, ONE, Apart, Head, Paired, Side, Term, Terms, flat, turned
from symgrad.expr import is_leaf, is_matrix, leaf_name, same_size
from symgrad.expr.model import Assumptions

__all__ = ["IndexDerivatives", "Place"]

Place = tuple[Side, ...]


class IndexDerivatives(IndexFunctions):
    """Derivatives by the entries of a name."""

    def __init__(self, assumptions: Assumptions) -> None:
        super().__init__(assumptions)
        self.apart: Expr | None = None
        self._dependent: dict[tuple[int, Expr | Apart], bool] = {}

    def derivative_of(self, form: Callable[[], Terms], x: Expr, *places: Place) -> Terms:
        """The derivative of a form by the entry of x at a place (and once more for each further place).

        What is assumed of x is put in after the derivative is taken.
        """
        if not is_leaf(x):
            raise NotDecided(f"a derivative by {x}")
        if not self.assumptions.get(leaf_name(x)):
            terms = form()
            for place in places:
                terms = self.derivative(self.reduced(terms), x, place)
            return terms
        before, self.apart = self.apart, x
        try:
            terms = form()
            for place in places:
                terms = self.derivative(self.reduced(terms), Apart(x), place)
        finally:
            self.apart = before
        return self._together(terms, Apart(x))

    def _together(self, terms: Terms, x: Apart) -> Terms:
        """The terms with the name itself for one that was kept apart."""
        result = []
        for t in terms:
            factors = [(*self._with_name(h, idx, x), e) for h, idx, e in t.factors]
            result.append(Term(t.coefficient, tuple(factors), t.bound))
        return result

    def _with_name(self, h: int, idx: tuple[int, ...], x: Apart) -> tuple[int, tuple[int, ...]]:
        head = self.heads[h]
        if not self._depends(h, x):
            return h, idx
        if head.kind == "symbol":
            name = Paired(x.leaf, head.key.sizes) if isinstance(head.key, Paired) else x.leaf
            return self.head("symbol", name, head.rank), idx
        if head.kind not in ("power_of", "exp", "function", "inverse", "det", "logdet", "power"):
            raise NotDecided(f"a {head.kind} of a name with assumptions")
        inside = self.reduced(self._together(head.inside, x))
        if not inside:
            raise NotDecided("a function of zero")
        if head.kind in ("power_of", "exp", "function"):
            label = (head.key[0],) if head.kind == "function" else ()  # type: ignore[index]
            number, kept = self.ordered_head(head.kind, label, inside, idx)
            return number, tuple(kept)
        number, turned_over = self.matrix_head(head.kind, inside, head.rank)
        return number, idx[::-1] if turned_over else idx

    def derivative(self, terms: Terms, x: Expr | Apart, place: Place) -> Terms:
        """The derivative of a form by the entry of x at a place."""
        result: Terms = []
        for t in terms:
            for n, (h, idx, e) in enumerate(t.factors):
                if isinstance(e, SymbolicExponent):
                    slope = self.derivative(self.reduced(self.scalar(e.expr)), x, place)
                    result += self.times([t], self._log(h, idx), slope) if slope else []
                if not self._depends(h, x):
                    continue
                if self.heads[h].kind == "power" and self._is_trace(t, n):
                    result += self._trace_of_power(t, n, x, place)
                    continue
                rest = [Term(t.coefficient, t.factors[:n] + t.factors[n + 1 :], t.bound)]
                lowered = add_exponents(e, -1)
                keep = self.factor(h, idx, lowered) if lowered != 0 else ONE
                inner = self._factor_derivative(h, idx, x, place)
                if self.heads[h].kind == "exp":
                    keep = self.factor(h, idx, e)
                result += self.times(rest, keep, self._number_or_symbol(e), inner)
                if len(result) > MOST_TERMS:
                    raise NotDecided("too many terms")
        return result

    def _log(self, h: int, idx: tuple[int, ...]) -> Terms:
        """The logarithm of a head, which stands beside the derivative of its exponent."""
        if self.heads[h].kind == "exp":
            return self.placed(self.heads[h].inside, idx)
        if self.heads[h].kind == "power":
            raise NotDecided("the derivative of a matrix power by its exponent")
        return self.function("log", self.factor(h, idx), idx)

    def _is_trace(self, t: Term, n: int) -> bool:
        """Whether a factor is a trace that stands by itself."""
        a, b = t.factors[n][1]
        return (
            a == b and a in t.bound and all(a not in idx for k, (_, idx, _) in enumerate(t.factors) if k != n)
        )

    def _trace_of_power(self, t: Term, n: int, x: Expr | Apart, place: Place) -> Terms:
        """D tr(M^k) = k tr(M^(k-1) dM), whatever k is."""
        h, (a, _), e = t.factors[n]
        head = self.heads[h]
        i, j = (self.fresh(self._size[a]) for _ in range(2))
        slope = self.derivative(self.placed(head.inside, (i or 0, j or 0)), x, place)
        rest = [Term(t.coefficient, t.factors[:n] + t.factors[n + 1 :], t.bound - {a})]
        power = self.factor(h, (j, i), add_exponents(e, -1))
        return self.over(self.times(rest, self._number_or_symbol(e), power, slope), i, j)

    def _number_or_symbol(self, e: Exponent) -> Terms:
        return self.scalar(as_expr(e))

    def _depends(self, h: int, x: Expr | Apart) -> bool:
        known = self._dependent.get((h, x))
        if known is None:
            head = self.heads[h]
            if head.kind == "symbol":
                known = x == (head.key.leaf if isinstance(head.key, Paired) else head.key)
            elif head.kind in ("ordered", "sum", "product"):
                known = True  # not looked into: its derivative is then not decided
            else:
                known = any(
                    self._depends(g, x) or self._exponent_depends(e, x)
                    for t in head.inside
                    for g, _, e in t.factors
                )
            self._dependent[(h, x)] = known
        return known

    def _exponent_depends(self, e: Exponent, x: Expr | Apart) -> bool:
        return isinstance(e, SymbolicExponent) and any(
            self._depends(h, x) for t in self.scalar(e.expr) for h, _, _ in t.factors
        )

    def _factor_derivative(self, h: int, idx: tuple[int, ...], x: Expr | Apart, place: Place) -> Terms:
        """The derivative of a head, without its exponent."""
        head = self.heads[h]
        if head.kind == "symbol":
            return self._same_entry(head, idx, place)
        if head.kind in ("power_of", "exp"):
            return self.derivative(self.placed(head.inside, idx), x, place)
        if head.kind in ("inverse", "det", "logdet"):
            k, m = self._next - 1, self._next - 2
            self._next -= 2
            size = self._square_size(head)
            self._size[k] = self._size[m] = size
            inner = self.derivative(self.placed(head.inside, (k, m)), x, place)
            inverse = h if head.kind == "inverse" else self._inverse_of(head)
            if head.kind == "inverse":
                sides = self.times(self.factor(inverse, (idx[0], k)), self.factor(inverse, (m, idx[1])))
                return self.over(self.scaled(self.times(sides, inner), -1), k, m)
            value = self.times(self.factor(inverse, (m, k)), inner)
            if head.kind == "det":
                value = self.times(self.factor(h, ()), value)
            return self.over(value, k, m)
        if head.kind == "function":
            return self._chain(head, idx, x, place)
        raise NotDecided(f"the derivative of a {head.kind} over a range")

    def _same_entry(self, head: Head, idx: tuple[int, ...], place: Place) -> Terms:
        """One where the entry of a name is the one that the derivative is taken by."""
        free = [i for side in place for i in flat(side)]
        if len(free) != len(idx):
            raise NotDecided("a side that is split in two ways")
        if isinstance(head.key, Paired):
            sizes = [n for side in head.key.sizes for n in side]
            known = [self._size.get(i) for i in free]
            if any(k is None or not same_size(k, n) for k, n in zip(known, sizes, strict=True)):
                raise NotDecided("a side that is split in two ways")
        return self.times(*(self.delta(i, j) for i, j in zip(idx, free, strict=True)))

    def _square_size(self, head: Head) -> Expr:
        for t in head.inside:
            for g, place, _ in t.factors:
                for n, i in enumerate(place):
                    if i in (0, 1):
                        size = self._slot_size(g, n)
                        if size is not None:
                            return size
        raise NotDecided("the size of a matrix is not known")

    def _slot_size(self, g: int, slot: int) -> Expr | None:
        head = self.heads[g]
        if head.kind == "symbol" and is_matrix(head.key):
            sizes = [s for s in head.key.shape if s != 1]  # type: ignore[attr-defined]
            return sizes[slot]
        if head.kind in ("inverse", "power"):
            return self._square_size(head)
        if head.kind in ("power_of", "exp", "function"):
            for t in head.inside:
                for g2, place, _ in t.factors:
                    for n, i in enumerate(place):
                        if i == slot:
                            return self._slot_size(g2, n)
        return None

    def matrix_head(self, kind: str, terms: Terms, rank: int) -> tuple[int, bool]:
        """A head that stands for a function of a matrix and of its transpose; whether it is that of the transpose."""
        keys = [(repr(self.canonical(form)), form) for form in (terms, turned(terms))]
        over = keys[1][0] < keys[0][0]
        form = keys[over][1]
        head = self.head(kind, self.canonical(form), rank, form)
        if rank == 2 and keys[0][0] == keys[1][0]:
            self.heads[head].symmetric = True
        return head, over

    def _inverse_of(self, head: Head) -> int:
        return self.matrix_head("inverse", head.inside, 2)[0]  # det and log det have no other orientation

    def _chain(self, head: Head, idx: tuple[int, ...], x: Expr | Apart, place: Place) -> Terms:
        name = head.key[0]  # type: ignore[index]

        def u() -> Terms:
            return self.placed(head.inside, idx)

        inner = self.derivative(u(), x, place)
        outer: Terms
        if name == "log":
            outer = self.power(u(), -1, idx)
        elif name == "sin":
            outer = self.function("cos", u(), idx)
        elif name == "cos":
            outer = self.scaled(self.function("sin", u(), idx), -1)
        elif name == "arctan":
            outer = self.power(ONE + self.power(u(), 2, idx), -1, idx)
        elif name == "erf":
            bell = self.exponential(self.scaled(self.power(u(), 2, idx), -1), idx)
            outer = self.scaled(self.times(bell, self.power(self.scalar(S.Pi), Fraction(-1, 2), ())), 2)
        elif name in ("step", "sign"):
            return []
        else:
            outer = self.function(f"{name}'", u(), idx)
        return self.times(outer, inner)
