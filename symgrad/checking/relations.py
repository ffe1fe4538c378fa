"""Reduction of networks to canonical form: deltas, equal factors, and the relations that were declared of a name.

Symmetric, orthogonal, inverse, sums to one, one-hot, binary; powers of one matrix; a sum over its own power.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from sympy import Expr

from symgrad.checking.canonical import NotDecided, label
from symgrad.checking.exponents import Exponent, add_exponents, is_number, multiply_exponents
from symgrad.checking.networks import MOST_TERMS, ONE, Factor, Form, Term, Terms
from symgrad.checking.shifts import Shifts
from symgrad.expr import is_leaf, leaf_name

__all__ = ["Relations"]

_OUTSIDE = 1 << 18


class Relations(Shifts):
    """Terms that are equal get one form."""

    def reduced(self, terms: Terms) -> Terms:
        """Deltas contracted, equal factors merged, relations applied, until nothing changes; like terms collected."""
        waiting = list(terms)
        settled: dict[tuple[Any, ...], Term] = {}
        while waiting:
            self._spend(1)
            t = waiting.pop()
            again = self._step(t)
            if again is None:
                network = self._network(t)
                known = settled.get(network)
                total = t.coefficient + (known.coefficient if known else 0)
                if total:
                    first = known or t
                    settled[network] = Term(total, first.factors, first.bound)
                else:
                    settled.pop(network, None)
            else:
                waiting += again
                if len(waiting) > MOST_TERMS:
                    raise NotDecided("too many terms")
        return list(settled.values())

    def canonical(self, terms: Terms) -> Form:
        """The canonical form: networks with their coefficients, in a fixed order."""
        reduced = self.reduced(terms)
        if any(i < 0 and i not in t.bound for t in reduced for _, idx, _ in t.factors for i in idx):
            raise NotDecided("an index from outside")
        return tuple(sorted(((self._network(t), t.coefficient) for t in reduced), key=repr))

    def _network(self, t: Term) -> tuple[Any, ...]:
        """The canonical labels of the connected parts, in order; an index that is summed elsewhere is a free one."""
        t = self._with_open(t)
        ties = self.ties(t)
        parts = self.components(t)
        tied = {i for _, idx, _ in ties for i in idx if i < 0}
        rows = [self.row(f) for f in ties]
        sizes = {i: str(self._size[i]) for i in tied}
        labels = [
            label(factors, self.permutations, rows, sizes) if has_ties else label(factors, self.permutations)
            for factors, _, has_ties in parts
        ]
        return tuple(sorted(labels, key=repr))

    def components(self, t: Term) -> list[tuple[list[Factor], set[int], bool]]:
        """The factors that bound indices connect, with these indices; whether the ties belong to them."""
        ties = self.ties(t)
        tied = {i for _, idx, _ in ties for i in idx if i < 0}
        parts: list[tuple[list[Factor], set[int], bool]] = [([], tied, True)] if ties else []
        for f in t.factors:
            if f in ties:
                continue
            factors, own, has_ties = [f], {i for i in f[1] if i < 0}, False
            for p in [p for p in parts if p[1] & own]:
                factors, own, has_ties = factors + p[0], own | p[1], has_ties or p[2]
                parts.remove(p)
            parts.append((factors, own, has_ties))
        return parts

    def _with_open(self, t: Term) -> Term:
        """Indices that are summed outside of the term get numbers that no label takes for bound ones."""
        outside = {i for _, idx, _ in t.factors for i in idx if i < 0} - t.bound
        if not outside:
            return t
        moved = ((h, tuple(_OUTSIDE - i if i in outside else i for i in idx), e) for h, idx, e in t.factors)
        return Term(t.coefficient, tuple(moved), t.bound)

    def _step(self, t: Term) -> Terms | None:
        """One reduction of a term, or None if there is none."""
        merged = self._merge_equal(t)
        if merged is not None:
            return merged
        untied = self.untied(t)
        if untied is not None:
            return untied
        count: dict[int, int] = {}
        for _, idx, _ in t.factors:
            for i in idx:
                count[i] = count.get(i, 0) + 1
        for b in t.bound:
            if b not in count:
                if self._size[b] in self.doubtful:
                    raise NotDecided(f"a range of {self._size[b]}, which may be below zero")
                size = self.scalar(self._size[b])
                return self.times([Term(t.coefficient, t.factors, t.bound - {b})], size)
        for n, f in enumerate(t.factors):
            rest = t.factors[:n] + t.factors[n + 1 :]
            found = self._relation(t, f, rest, count)
            if found is not None:
                return found
        return self._pairs(t, count)

    def _merge_equal(self, t: Term) -> Terms | None:
        table: dict[tuple[int, tuple[int, ...]], Exponent] = {}
        for h, idx, e in t.factors:
            best = min(tuple(idx[p] for p in permutation) for permutation in self.permutations(h))
            key = (h, best)
            table[key] = add_exponents(table[key], e) if key in table else e
        if len(table) < len(t.factors):
            kept = tuple((h, idx, e) for (h, idx), e in table.items() if e != 0)
            return [Term(t.coefficient, kept, t.bound)]
        return None

    def _relation(
        self, t: Term, f: Factor, rest: tuple[Factor, ...], count: Mapping[int, int]
    ) -> Terms | None:
        """What is known of one factor by itself."""
        h, idx, e = f
        head = self.heads[h]
        if head.kind == "delta":
            a, b = idx
            if not isinstance(e, int) or e < 0:
                raise NotDecided("a quotient by zero")
            if a == b:
                return [Term(t.coefficient, rest, t.bound)]
            gone, kept = (
                (a, b) if a < 0 and a in t.bound else (b, a) if b in t.bound else (max(idx), min(idx))
            )
            if gone in t.bound or any(gone in x for _, x, _ in rest):
                moved = tuple((g, tuple(kept if i == gone else i for i in x), p) for g, x, p in rest)
                delta = () if gone in t.bound else ((h, idx, e),)
                return [Term(t.coefficient, (*moved, *delta), t.bound - {gone})]
            return None if e == 1 else [Term(t.coefficient, (*rest, (h, idx, 1)), t.bound)]
        if head.kind == "prime" and not isinstance(e, int) and is_number(e) and not 0 < e < 1:
            whole = e.numerator // e.denominator  # type: ignore[union-attr]
            left = add_exponents(e, -whole)
            factors = (*rest, (h, idx, left)) if left != 0 else rest
            return [Term(t.coefficient * Fraction(int(head.key)) ** whole, factors, t.bound)]  # type: ignore[call-overload]
        if head.kind == "prime" and isinstance(e, int):
            return [Term(t.coefficient * Fraction(int(head.key)) ** e, rest, t.bound)]  # type: ignore[call-overload]
        if head.kind == "power_of" and isinstance(e, int) and e > 0:
            return self.times(
                [Term(t.coefficient, rest, t.bound)], self.power(self.placed(head.inside, idx), e, idx)
            )
        if head.kind == "power" and e == 1:
            return self.times([Term(t.coefficient, rest, t.bound)], self.placed(head.inside, idx))
        if head.kind == "function" and isinstance(e, int):
            return self._function_relation(t, f, rest)
        if head.kind == "symbol" and isinstance(head.key, Expr) and is_leaf(head.key):
            return self._assumed(t, f, rest, count)
        return None

    def _function_relation(self, t: Term, f: Factor, rest: tuple[Factor, ...]) -> Terms | None:
        h, idx, e = f
        name = self.heads[h].key[0]  # type: ignore[index]
        if name == "step" and isinstance(e, int) and e > 1:
            return [Term(t.coefficient, (*rest, (h, idx, 1)), t.bound)]
        if name == "sign" and isinstance(e, int) and e not in (0, 1):
            factors = (*rest, (h, idx, 1)) if e % 2 else rest
            return [Term(t.coefficient, factors, t.bound)]
        if name == "sin" and isinstance(e, int) and e >= 2:
            inside = self.heads[h].inside
            cosine = self.function("cos", self.placed(inside, idx), idx)
            square = ONE + self.scaled(
                self.times(cosine, self.function("cos", self.placed(inside, idx), idx)), -1
            )
            left = ((h, idx, e - 2),) if e > 2 else ()
            return self.times([Term(t.coefficient, rest + left, t.bound)], square)
        return None

    def _assumed(
        self, t: Term, f: Factor, rest: tuple[Factor, ...], count: Mapping[int, int]
    ) -> Terms | None:
        """Relations of a name: its entries sum to one, are zero or one, are plus or minus one."""
        h, idx, e = f
        name = leaf_name(self.heads[h].key)
        words = self.assumptions.get(name, frozenset())
        if not words or not isinstance(e, int):
            return None
        if e > 1 and words & {"binary", "onehot", "onehot_rows", "onehot_cols"}:
            return [Term(t.coefficient, (*rest, (h, idx, 1)), t.bound)]
        if words & {"pm1"} and e not in (0, 1):
            return [Term(t.coefficient, (*rest, (h, idx, 1)) if e % 2 else rest, t.bound)]
        if e != 1 or not idx:
            return None
        summed = [n for n, i in enumerate(idx) if i in t.bound and count[i] == 1]
        axis = {1: "prob sums_to_one onehot"}.get(len(idx), "")
        for n in summed:
            known = (
                axis if len(idx) == 1 else ("prob_rows onehot_rows" if n == 1 else "prob_cols onehot_cols")
            )
            if words & set(known.split()):
                return [Term(t.coefficient, rest, t.bound - {idx[n]})]
        return None

    def _pairs(self, t: Term, count: Mapping[int, int]) -> Terms | None:
        """Relations of two factors that share a summed index: inverse, orthogonal, powers; a sum over its power."""
        at: dict[int, list[int]] = {}
        for n, (_, idx, _) in enumerate(t.factors):
            for i in idx:
                at.setdefault(i, []).append(n)
        for n, f in enumerate(t.factors):
            if self.heads[f[0]].kind != "power_of":
                continue
            if is_number(f[2]) and f[2] < 0:
                found = self._cancel_sum(t, n, count) or self._divide(t, n)
                if found is not None:
                    return found
            if not isinstance(f[2], int) or f[2] < 0:
                found = self._absorb_scalar(t, n)
                if found is not None:
                    return found
        for k in t.bound:
            if count.get(k) != 2 or at[k][0] == at[k][1]:  # twice in one factor is a trace
                continue
            found = self._two(t, k, *at[k])
            if found is not None:
                return found
        return None

    def _two(self, t: Term, k: int, a: int, b: int) -> Terms | None:
        rest = tuple(f for n, f in enumerate(t.factors) if n not in (a, b))
        fa, fb = t.factors[a], t.factors[b]
        for one, other in ((fa, fb), (fb, fa)):
            (h, x, e), (g, y, p) = one, other
            if len(x) != 2 or len(y) != 2:
                continue
            first, second = self.heads[h], self.heads[g]
            if first.kind == "inverse" and e == p == 1 and second.kind == "symbol" and len(first.inside) == 1:
                inside = first.inside[0]
                if inside.coefficient == 1 and len(inside.factors) == 1 and inside.factors[0][0] == g:
                    turned = inside.factors[0][1] == (1, 0)
                    place = (y[1], y[0]) if turned else y
                    outer = self._across(x, place, k, second.symmetric or first.symmetric)
                    if outer is not None:
                        return self.times([Term(t.coefficient, rest, t.bound - {k})], self.delta(*outer))
            if h == g and e == p == 1 and first.kind == "symbol" and self._has_word(h, "orthogonal"):
                places = [n for n in (0, 1) if x[n] == k and y[n] == k]
                if places:
                    other_place = 1 - places[0]
                    return self.times(
                        [Term(t.coefficient, rest, t.bound - {k})], self.delta(x[other_place], y[other_place])
                    )
            if first.kind == "power":
                merged = self._merge_powers(one, other, k)
                if merged is not None:
                    return [Term(t.coefficient, (*rest, merged), t.bound - {k})]
        return None

    def _across(
        self, x: tuple[int, ...], y: tuple[int, ...], k: int, symmetric: bool
    ) -> tuple[int, int] | None:
        """The outer indices of A^-1[x] A[y] summed over k, if k stands where a matrix product has it."""
        if x[1] == k and y[0] == k:
            return x[0], y[1]
        if x[0] == k and y[1] == k:
            return x[1], y[0]
        if symmetric:
            return (x[0] if x[1] == k else x[1]), (y[0] if y[1] == k else y[1])
        return None

    def _merge_powers(self, one: Factor, other: Factor, k: int) -> Factor | None:
        (h, x, e), (g, y, p) = one, other
        if h == g:
            extra = p
        else:
            inside = self.heads[h].inside
            single = len(inside) == 1 and inside[0].coefficient == 1 and len(inside[0].factors) == 1
            if not single or inside[0].factors[0][0] != g or inside[0].factors[0][1] != (0, 1):
                return None
            extra = p
        if x[1] == k and y[0] == k:
            return (h, (x[0], y[1]), add_exponents(e, extra))
        if x[0] == k and y[1] == k:
            return (h, (y[0], x[1]), add_exponents(e, extra))
        return None

    def _has_word(self, head: int, word: str) -> bool:
        key = self.heads[head].key
        return isinstance(key, Expr) and is_leaf(key) and word in self.assumptions.get(leaf_name(key), ())

    def _cancel_sum(self, t: Term, n: int, count: Mapping[int, int]) -> Terms | None:
        """(sum_k u_k) (sum_k u_k)^-1 = 1 for a sum of one kind of term with one index."""
        h, idx, e = t.factors[n]
        inside = self.heads[h].inside
        if len(inside) != 1 or len(inside[0].factors) != 1 or len(inside[0].bound) != 1:
            return None
        (g, place, p), (b,) = inside[0].factors[0], inside[0].bound
        for m, (h2, idx2, e2) in enumerate(t.factors):
            if m == n or h2 != g or e2 != p:
                continue
            wanted = [None if i == b else idx[i] for i in place]
            open_places = [q for q, i in enumerate(wanted) if i is None]
            if len(open_places) != 1 or any(
                i is not None and i != j for i, j in zip(wanted, idx2, strict=True)
            ):
                continue
            k = idx2[open_places[0]]
            if k in t.bound and count[k] == 1:
                factors = [f for q, f in enumerate(t.factors) if q not in (m, n)]
                left = add_exponents(e, 1)
                if left != 0:
                    factors.append((h, idx, left))
                return [Term(t.coefficient / inside[0].coefficient, tuple(factors), t.bound - {k})]
        return None

    def _absorb_scalar(self, t: Term, n: int) -> Terms | None:
        """S S^e = S^(e + 1) for a scalar S that is one summed network, as x^T A x."""
        h, idx, e = t.factors[n]
        inside = self.heads[h].inside
        if idx or len(inside) != 1 or not inside[0].bound:
            return None
        wanted = self._network(inside[0])
        for factors, own, has_ties in self.components(
            Term(t.coefficient, t.factors[:n] + t.factors[n + 1 :], t.bound)
        ):
            here = Term(t.coefficient, tuple(factors), frozenset(own))
            if has_ties or not own or not own <= t.bound or self._network(here) != wanted:
                continue
            left = [f for k, f in enumerate(t.factors) if k != n and f not in factors]
            raised = add_exponents(e, 1)
            if raised != 0:
                left.append((h, idx, raised))
            return [Term(t.coefficient / inside[0].coefficient, tuple(left), t.bound - own)]
        return None

    def _divide(self, t: Term, n: int) -> Terms | None:
        """U P^-1 = (P - rest) P^-1 for the leading monomial u of a sum P of monomials at the same indices."""
        h, idx, e = t.factors[n]
        inside = self.heads[h].inside
        if len(inside) < 2 or any(x.bound for x in inside):
            return None
        lead = max(inside, key=lambda x: (self._degree(x), repr(self._network(x))))
        if self._degree(lead) <= 0:
            return None
        needed = {(g, tuple(idx[i] for i in x)): p for g, x, p in lead.factors}
        have = {(g, x): p for m, (g, x, p) in enumerate(t.factors) if m != n}
        for key, p in needed.items():
            if key not in have or not is_number(p) or not is_number(have[key]) or have[key] < p:
                return None
        kept = []
        for m, (g, x, p) in enumerate(t.factors):
            if m == n:
                continue
            left = add_exponents(p, multiply_exponents(needed.get((g, x), 0), -1))
            if left != 0:
                kept.append((g, x, left))
        base = Term(t.coefficient / lead.coefficient, tuple(kept), t.bound)
        lowered = add_exponents(e, 1)
        first = [
            Term(
                base.coefficient,
                (*base.factors, (h, idx, lowered)) if lowered != 0 else base.factors,
                t.bound,
            )
        ]
        others = [x for x in inside if x is not lead]
        rest = self.times([base], self.scaled(self.placed(others, idx), -1), self.factor(h, idx, e))
        return first + rest

    def _degree(self, t: Term) -> Fraction:
        if any(not is_number(p) for _, _, p in t.factors):
            return Fraction(-1)
        return sum((Fraction(p) for _, _, p in t.factors), Fraction(0))  # type: ignore[arg-type]
