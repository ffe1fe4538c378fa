"""The driver: rewrite bottom-up until nothing becomes shorter.

Every accepted rewrite makes the expression shorter, or leaves its length and moves it forward in a fixed
order (fewer transposes, then the alphabet), so the loop ends and a simplified expression stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sympy import Expr
from sympy.core.symbol import Str

from symgrad.expr import Assumptions, is_leaf, rebuild
from symgrad.simplifying.cost import Cost
from symgrad.simplifying.expand import expanded
from symgrad.simplifying.properties import Properties
from symgrad.simplifying.rewrites import rewrites_for

__all__ = ["Simplification", "Simplifier"]


@dataclass(frozen=True)
class Simplification:
    """One accepted rewrite: its name, the node before and after."""

    rewrite: str
    before: Expr
    after: Expr


@dataclass
class Simplifier:
    """Brings expressions to textbook form under assumptions; remembers what it has simplified.

    `applied` lists the rewrites in the order in which they were made. With `only`, just the rewrites of these
    names are made, whether they shorten or not; they must come to an end by themselves.

    >>> from symgrad.expr import matrix, transpose, add
    >>> A = matrix("A", "n", "n")
    >>> Simplifier({"A": frozenset({"symmetric"})})(add(A, transpose(A)))
    2*A
    """

    assumptions: Assumptions = field(default_factory=dict)
    only: frozenset[str] | None = None
    applied: list[Simplification] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.properties = Properties(self.assumptions)
        self._cost = Cost()
        self._done: dict[Expr, Expr] = {}

    def __call__(self, e: Expr) -> Expr:
        """The textbook form."""
        done = self._done
        stack = [e]
        while stack:
            node = stack[-1]
            if node in done:
                stack.pop()
            elif is_leaf(node) or not node.args or isinstance(node, Str):
                done[node] = node
                stack.pop()
            else:
                waiting = [a for a in node.args if a not in done]
                if waiting:
                    stack.extend(waiting)
                    continue
                stack.pop()
                args = tuple(done[a] for a in node.args)
                rebuilt = node if args == node.args else rebuild(node, args)
                done[node] = self._settle(rebuilt)
        return done[e]

    def shortest(self, e: Expr) -> Expr:
        """The shorter of the textbook forms of an expression and of its expansion into a sum of products."""
        form = self(e)
        for _ in range(3):
            spread = expanded(form, self.properties)
            if spread is None:
                break
            candidate = self(spread)
            if self._cost(candidate) >= self._cost(form):
                break
            form = candidate
        return form

    def length(self, e: Expr) -> int:
        """The number of operations."""
        return self._cost(e)

    def _settle(self, node: Expr) -> Expr:
        """Apply rewrites at the top of a node whose parts are simplified."""
        if node in self._done:
            return self._done[node]
        for entry in rewrites_for(node):
            if self.only is not None and entry.name not in self.only:
                continue
            candidate = entry.apply(node, self.properties)
            if candidate is not None and (self.only is not None or self._is_before(candidate, node)):
                self.applied.append(Simplification(entry.name, node, candidate))
                self._done[node] = self(candidate)
                return self._done[node]
        self._done[node] = node
        return node

    def _is_before(self, a: Expr, b: Expr) -> bool:
        """Whether `a` is shorter than `b`, or as long and earlier in the order."""
        if a == b:
            return False
        cost_a, cost_b = self._cost(a), self._cost(b)
        if cost_a != cost_b:
            return cost_a < cost_b
        return _order(a) < _order(b)


def _order(e: Expr) -> tuple[int, int, str]:
    text = str(e)
    return text.count(".T"), len(text), text
