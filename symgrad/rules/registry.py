"""The rule table: one block an operation.

A rule knows the pullback of its operation (reverse mode: what the adjoint of the output contributes to
the adjoint of each input), its differential (forward mode), an example to test and print it on, and its
source. Adding an operation touches one file of this folder and nothing else; a loop over the table tests it.

Names in rules: `g` the adjoint of the output, `y` the output (its name, where it has one), then the inputs;
`d` the increments of the inputs, None for an input that does not change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sympy import Expr

from symgrad.errors import UnsupportedError
from symgrad.expr import Blocks, add, is_leaf

__all__ = ["RULES", "Rule", "product_rule", "rule", "rule_for"]

Pullback = Callable[..., Sequence[Expr | None]]
DifferentialOf = Callable[..., Expr]


@dataclass(frozen=True)
class Rule:
    """One operation.

    `op` are the SymPy classes it is for, `when` narrows them, `parts` are the inputs of a node.
    `example` (in the text language, with `shapes` and `assume`) is what the catalogue prints and the tests
    check; `cites` says where the formula can be read.
    """

    name: str
    op: tuple[type, ...]
    pullback: Pullback
    differential: DifferentialOf
    parts: Callable[[Expr], tuple[Expr, ...]]
    when: Callable[[Expr], bool] | None
    example: str
    shapes: str
    assume: str
    cites: str
    says: str

    @property
    def phrase(self) -> str:
        """The key of the sentence that explains it."""
        return f"rule.{self.name}"


RULES: dict[str, Rule] = {}
_BY_TYPE: dict[type, list[Rule]] = {}


def rule(
    name: str,
    *,
    op: type | tuple[type, ...],
    differential: DifferentialOf,
    example: str,
    shapes: str,
    cites: str,
    assume: str = "",
    parts: Callable[[Expr], tuple[Expr, ...]] = lambda node: node.args,
    when: Callable[[Expr], bool] | None = None,
) -> Callable[[Pullback], Pullback]:
    """Enter a rule into the table; the decorated function is its pullback.

    A rule with a condition is tried before those without one.
    """

    def enter(pullback: Pullback) -> Pullback:
        ops = op if isinstance(op, tuple) else (op,)
        entry = Rule(
            name,
            ops,
            pullback,
            differential,
            parts,
            when,
            example,
            shapes,
            assume,
            cites,
            pullback.__doc__ or "",
        )
        if name in RULES:
            raise ValueError(f"two rules are called {name}")
        RULES[name] = entry
        for cls in ops:
            table = _BY_TYPE.setdefault(cls, [])
            table.insert(0 if when else len(table), entry)
        return pullback

    return enter


def rule_for(node: Expr) -> Rule:
    """The rule of a node.

    Raises   UnsupportedError if no rule knows the operation
    """
    for cls in type(node).__mro__:
        for entry in _BY_TYPE.get(cls, ()):
            if entry.when is None or entry.when(node):
                return entry
    if isinstance(node, Blocks):
        raise UnsupportedError(
            f"a matrix of blocks is not derived: {node}",
            hint="define its blocks by themselves and write their products out, block by block",
        )
    what = "a name" if is_leaf(node) else type(node).__name__
    raise UnsupportedError(f"there is no rule for {what}: {node}")


def product_rule(build: Callable[..., Expr]) -> DifferentialOf:
    """The differential of an operation that is linear in each input: one term for each input that changes."""

    def differential(d: Sequence[Expr | None], y: Expr, *inputs: Expr) -> Expr:
        terms = [
            build(*inputs[:i], increment, *inputs[i + 1 :])
            for i, increment in enumerate(d)
            if increment is not None
        ]
        return add(*terms)

    return differential
