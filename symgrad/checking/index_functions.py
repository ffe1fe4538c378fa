"""Powers, exponentials and functions of index forms, in terms of few that are independent of each other."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import permutations, product

import sympy
from sympy import Expr

from symgrad.checking.canonical import NotDecided
from symgrad.checking.exponents import Exponent, is_integer, is_number, multiply_exponents
from symgrad.checking.networks import MOST_POWER, ONE, Apart, Factor, Side, Term, Terms, used_in
from symgrad.checking.relations import Relations
from symgrad.expr import is_leaf, is_matrix, leaf_name

__all__ = ["IndexFunctions"]

_MOST_ORDERS = 24
_POSITIVE = frozenset({"positive", "in01"})


class IndexFunctions(Relations):
    """Functions entry by entry; an exponential of a sum is a product."""

    def power(self, base: Terms, e: Exponent, indices: Sequence[Side]) -> Terms:
        """Base ** e, entry by entry at the given indices."""
        if e == 0:
            return ONE
        if e == 1:
            return base
        base = self.reduced(base)
        if not base:
            if is_number(e) and e > 0:
                return []
            raise NotDecided("a power of zero")
        if isinstance(e, int) and 0 < e <= MOST_POWER and (len(base) == 1 or len(base) ** e <= 60):
            used = used_in(indices)
            local = self.local(base, used)
            return self.times(*(self.placed(local, used) for _ in range(e)))
        if len(base) == 1 and not base[0].bound and is_integer(e):
            t = base[0]
            factors = tuple((h, idx, multiply_exponents(x, e)) for h, idx, x in t.factors)
            if isinstance(e, int):
                return [Term(t.coefficient**e, factors)]
            if t.coefficient == 1:  # (x y)^k = x^k y^k for an integer k
                return [Term(t.coefficient, factors)]
        if len(base) == 1 and not base[0].bound and base[0].coefficient == 1:
            factors = base[0].factors
            if all(
                self._has_words(h, _POSITIVE) for h, _, _ in factors
            ):  # sqrt(x y) = sqrt(x) sqrt(y), entry by entry
                return [Term(Fraction(1), tuple((h, idx, multiply_exponents(x, e)) for h, idx, x in factors))]
        if len(base) == 1 and not isinstance(e, int):
            split = self._power_of_product(base[0], e, used_in(indices))
            if split is not None:
                return split
        return self._sum_power(base, e, indices)

    def _power_of_product(self, t: Term, e: Exponent, used: Sequence[int]) -> Terms | None:
        """(c a b)^e = c^e a^e b^e where all of them but one are known not to be negative; (a^(1/2))^e = a^(e/2)."""
        parts = self.components(t)
        if any(has_ties for *_, has_ties in parts) or t.coefficient <= 0:
            return None
        if len(parts) == 1 and t.coefficient == 1:
            ((h, idx, x),) = parts[0][0] if len(parts[0][0]) == 1 else ((0, (), 1),)
            if not t.bound and isinstance(x, Fraction) and x.denominator % 2 == 0:
                return self.factor(h, idx, multiply_exponents(x, e))
            return None
        if t.bound != {i for _, own, _ in parts for i in own if i in t.bound}:
            return None
        if sum(not self._is_never_negative(factors, own & t.bound) for factors, own, _ in parts) > 1:
            return None
        number = self.times(
            self._root(t.coefficient.numerator, e),
            self._root(t.coefficient.denominator, multiply_exponents(e, -1)),
        )
        powers = [
            self._sum_power([Term(Fraction(1), tuple(factors), frozenset(own & t.bound))], e, used)
            if own or len(factors) > 1
            else self.power([Term(Fraction(1), tuple(factors))], e, used)
            for factors, own, _ in parts
        ]
        return self.times(number, *powers)

    def _is_never_negative(self, factors: Sequence[Factor], bound: set[int]) -> bool:
        """Whether a sum of products is known to be at least zero: of squares, of positive numbers, a quadratic form."""
        rest = [f for f in factors if not self._is_entry_never_negative(f)]
        if not rest:
            return True
        forms = [f for f in rest if len(f[1]) == 2 and f[2] == 1 and self._is_definite(f[0])]
        if len(rest) != 3 or len(factors) != 3 or len(forms) != 1:
            return False
        (a, b), sides = forms[0][1], [f for f in rest if f is not forms[0]]
        same = sides[0][0] == sides[1][0] and sides[0][2] == sides[1][2] == 1
        return same and a != b and {a, b} <= bound and {f[1] for f in sides} == {(a,), (b,)}

    def _is_entry_never_negative(self, f: Factor) -> bool:
        h, _, e = f
        head = self.heads[h]
        if isinstance(e, int) and e % 2 == 0:
            return True
        if isinstance(e, Fraction) and e.denominator % 2 == 0:
            return True  # a real root
        return head.kind in ("exp", "prime", "delta") or self._has_words(h, _POSITIVE)

    def _has_words(self, h: int, words: frozenset[str]) -> bool:
        key = self.heads[h].key
        leaf = key.leaf if isinstance(key, Apart) else key
        if not isinstance(leaf, Expr) or not is_leaf(leaf):
            return False
        known = set(self.assumptions.get(leaf_name(leaf), ()))
        return bool(known & words) or (not is_matrix(leaf) and "positive" in words and bool(leaf.is_positive))

    def _is_definite(self, h: int) -> bool:
        return self._has_words(h, frozenset({"positive_definite"}))

    def _sum_power(self, base: Terms, e: Exponent, indices: Sequence[Side]) -> Terms:
        """A power of a sum as a head; common exponentials and the leading coefficient stand in front of it."""
        used = [i for i in used_in(indices) if any(i in idx for t in base for _, idx, _ in t.factors)]
        local = self.reduced(self.local(base, used))
        split = self._by_signs(local, lambda part: self.power(part, e, tuple(range(len(used)))))
        if split is not None:
            return self.placed(split, used)
        if not isinstance(e, int):
            head, kept = self.ordered_head("power_of", (), local, used)
            return self.factor(head, kept, e)
        local, common = self._without_common(local)
        forms = []
        for order in self._orders(local, len(used)):
            form = self.local(local, order)
            lead = min(self.canonical(form))[1]
            forms.append((lead, self.scaled(form, 1 / lead)))
        lead = min(forms, key=lambda f: repr(self.canonical(f[1])))[0]
        front = [Term(lead**e, tuple((h, idx, multiply_exponents(x, e)) for h, idx, x in common))]
        if len(local) == 1 and not local[0].bound:
            local = self.scaled(local, 1 / lead)
            return self.placed(self.times(front, self.power(local, e, tuple(range(len(used))))), used)
        head, kept = self.ordered_head("power_of", (), self.scaled(local, 1 / lead), used)
        return self.times(self.placed(front, used), self.factor(head, kept, e))

    def ordered_head(
        self, kind: str, name: tuple[str, ...], local: Terms, used: Sequence[int]
    ) -> tuple[int, list[int]]:
        """A head for a form of the indices used, and its indices in an order that does not depend on theirs.

        So a function of X[i, j] and one of X^T[j, i] have one head.
        """
        slots = [n for n in range(len(used)) if any(n in idx for t in local for _, idx, _ in t.factors)]
        forms = []
        for order in self._orders(local, len(used), slots):
            form = self.local(local, order)
            key = self.canonical(form)
            forms.append((repr(key), order, key, form))
        text, order, key, form = min(forms, key=lambda f: f[0])
        head = self.head(kind, (*name, key) if name else key, len(order), form)
        if len(order) == 2 and sum(f[0] == text for f in forms) == 2:
            self.heads[head].symmetric = True
        return head, [used[n] for n in order]

    def _orders(self, local: Terms, count: int, slots: Sequence[int] | None = None) -> list[tuple[int, ...]]:
        """The orders of the free indices of a form that it tells no first one of."""
        slots = range(count) if slots is None else slots
        signs: dict[object, list[int]] = {}
        for n in slots:
            signs.setdefault(self._sign(local, n), []).append(n)
        groups = [signs[s] for s in sorted(signs, key=repr)]
        if math.prod(math.factorial(len(g)) for g in groups) > _MOST_ORDERS:
            return [tuple(n for g in groups for n in g)]
        return [tuple(n for g in choice for n in g) for choice in product(*(permutations(g) for g in groups))]

    def _sign(self, local: Terms, n: int) -> object:
        """What the factors that hold a free index tell of it, whatever the others are called."""
        found = []
        for t in local:
            for h, idx, e in t.factors:
                if n in idx:
                    symmetric = len(self.permutations(h)) > 1
                    found.append(
                        (h, repr(e), () if symmetric else tuple(k for k, i in enumerate(idx) if i == n))
                    )
        return tuple(sorted(found))

    def _without_common(self, terms: Terms) -> tuple[Terms, list[Factor]]:
        """Exponentials that all terms share, with their least exponents, taken out."""
        if any(t.bound for t in terms):
            return terms, []
        tables = [{(h, idx): x for h, idx, x in t.factors if self.heads[h].kind == "exp"} for t in terms]
        common: list[Factor] = []
        for key in {k for table in tables for k in table}:
            powers = [table.get(key, 0) for table in tables]
            if all(is_number(x) for x in powers):
                least = min(powers)
                if least != 0:
                    common.append((*key, least))
        if not common:
            return terms, []
        inverse = tuple((h, idx, multiply_exponents(x, -1)) for h, idx, x in common)
        return self.reduced([Term(t.coefficient, t.factors + inverse, t.bound) for t in terms]), common

    def _by_signs(self, local: Terms, make: Callable[[Terms], Terms]) -> Terms | None:
        """f(y) = (1 + y) f(1) / 2 + (1 - y) f(-1) / 2 for an entry y that is 1 or -1; None where there is none."""
        signs = [
            (h, idx)
            for t in local
            for h, idx, e in t.factors
            if e == 1 and idx and not t.bound.intersection(idx) and self._has_words(h, frozenset({"pm1"}))
        ]
        if not signs:
            return None
        powers: list[int] = []
        for t in local:
            own = [e for h, idx, e in t.factors if (h, idx) == signs[0]]
            powers.append(sum(e for e in own if isinstance(e, int)))
            if not all(isinstance(e, int) for e in own):
                return None
        parts = []
        for sign in (1, -1):
            at = [
                Term(
                    t.coefficient * sign ** (power % 2),
                    tuple(f for f in t.factors if f[:2] != signs[0]),
                    t.bound,
                )
                for t, power in zip(local, powers, strict=True)
            ]
            weight = ONE + self.scaled(self.factor(*signs[0]), sign)
            parts += self.scaled(self.times(weight, make(at)), Fraction(1, 2))
        return parts

    def exponential(self, argument: Terms, indices: Sequence[Side]) -> Terms:
        """Exp of a sum as a product over its monomials: exp(a + b) = exp(a) exp(b)."""
        used = used_in(indices)
        factors: list[Factor] = []
        local = self.reduced(self.local(argument, used))
        split = self._by_signs(local, lambda part: self.exponential(part, tuple(range(len(used)))))
        if split is not None:
            return self.placed(split, used)
        for network, coefficient in self.canonical(local):
            mine = [t for t in local if self._network(t) == network]
            head, kept = self.ordered_head("exp", (), self.scaled(mine[:1], 1 / mine[0].coefficient), used)
            power = coefficient.numerator if coefficient.denominator == 1 else coefficient
            factors.append((head, tuple(kept), power))
        return [Term(Fraction(1), tuple(factors))]

    def function(
        self, name: str, argument: Terms, indices: Sequence[Side], parameters: Sequence[Expr] = ()
    ) -> Terms:
        """A function of a form, in terms of few functions where identities tie them together."""
        used = used_in(indices)
        local = self.local(argument, used)
        split = self._by_signs(
            self.reduced(local), lambda part: self.function(name, part, tuple(range(len(used))), parameters)
        )
        if split is not None:
            return self.placed(split, used)

        def u() -> Terms:
            return self.placed(local, used)

        if name == "exp":
            return self.exponential(argument, indices)
        if name == "sqrt":
            return self.power(argument, Fraction(1, 2), indices)
        if name == "sigmoid":
            return self.power(ONE + self.exponential(self.scaled(u(), -1), indices), -1, indices)
        if name == "tanh":
            below = self.power(ONE + self.exponential(self.scaled(u(), 2), indices), -1, indices)
            return ONE + self.scaled(below, -2)
        if name in ("sinh", "cosh"):
            sign = -1 if name == "sinh" else 1
            both = self.exponential(u(), indices) + self.scaled(
                self.exponential(self.scaled(u(), -1), indices), sign
            )
            return self.scaled(both, Fraction(1, 2))
        if name == "softplus":
            return self.function("log", ONE + self.exponential(u(), indices), indices)
        if name == "silu":
            return self.times(u(), self.function("sigmoid", u(), indices))
        if name == "relu":
            return self.times(u(), self.function("step", u(), indices))
        if name == "abs":
            return self.times(u(), self.function("sign", u(), indices))
        if name == "tan":
            return self.times(
                self.function("sin", u(), indices),
                self.power(self.function("cos", u(), indices), -1, indices),
            )
        if name in ("leaky_relu", "elu"):
            step = self.function("step", u(), indices)
            given = (
                self.scalar(parameters[0])
                if parameters
                else self.number(Fraction(1, 100) if name[0] == "l" else 1)
            )
            tail = u() if name == "leaky_relu" else self.exponential(u(), indices) + self.number(-1)
            rest = ONE + self.scaled(self.function("step", u(), indices), -1)
            return self.times(u(), step) + self.times(given, tail, rest)
        if name == "gelu":
            inside = self.times(u(), self._root(2, Fraction(-1, 2)))
            return self.scaled(self.times(u(), ONE + self.function("erf", inside, indices)), Fraction(1, 2))
        head, kept = self.ordered_head("function", (name,), self.reduced(local), used)
        return self.factor(head, kept)

    def _root(self, n: int, power: Exponent) -> Terms:
        """A root of a number, by its prime factors."""
        return self.times(
            *(
                self.factor(self.head("prime", p, 0), (), multiply_exponents(power, m))
                for p, m in sympy.factorint(n).items()
            )
        )
