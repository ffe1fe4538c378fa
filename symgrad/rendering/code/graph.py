"""What is computed: a graph of array operations, each distinct one once.

Arrays are NumPy's: a column and a row are 1-D, a matrix is 2-D, a scalar has no axis.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass

from sympy import Expr

__all__ = ["Graph", "Node", "Shape", "walk_nodes"]

Shape = tuple[Expr, ...]


@dataclass(frozen=True, eq=False)
class Node:
    """One operation; equal operations of one graph are one object."""

    op: str
    args: tuple[Node, ...]
    attr: Hashable
    shape: Shape

    @property
    def rank(self) -> int:
        """How many axes it has."""
        return len(self.shape)


class Graph:
    """Makes nodes, each distinct one once; `names` says what a node should be called.

    >>> g = Graph()
    >>> g.node("arg", (), "x", ()) is g.node("arg", (), "x", ())
    True
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, tuple[int, ...], Hashable], Node] = {}
        self.names: dict[Node, str] = {}

    def node(self, op: str, args: tuple[Node, ...] = (), attr: Hashable = None, shape: Shape = ()) -> Node:
        """The node with this operation and these arguments."""
        key = (op, tuple(map(id, args)), attr)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = Node(op, args, attr, shape)
        return found


def walk_nodes(*roots: Node) -> Iterator[Node]:
    """Every node, arguments before what uses them."""
    seen: set[Node] = set()
    stack = [(r, False) for r in reversed(roots)]
    while stack:
        node, entered = stack.pop()
        if entered:
            yield node
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((a, False) for a in reversed(node.args))
