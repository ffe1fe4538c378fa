"""Canonical labels of a connected network of factors, by colour refinement and individualisation.

A factor is (head, indices, exponent): heads are numbers, indices that are free are numbers from 0 up, bound
ones are negative. Two networks that differ only in the names of their bound indices, or in the order of
interchangeable slots of a head, get the same label, and no others do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from symgrad.checking.affine import NotDecided, Row, reduced_rows
from symgrad.checking.exponents import Exponent

__all__ = ["Factor", "Network", "NotDecided", "Permutations", "label"]

Factor = tuple[int, tuple[int, ...], Exponent]
Network = tuple[Any, ...]
Permutations = tuple[tuple[int, ...], ...]

_SELF = -1
_BOUND = 1 << 20
_LEAVES = 720
_RELATION = 1 << 30


def label(
    factors: Sequence[Factor],
    permutations: Callable[[int], Permutations],
    rows: Sequence[Row] = (),
    sizes: Mapping[int, str] | None = None,
) -> Network:
    """The canonical network; its bound indices are -1, -2, ...

    `permutations` gives the orders of a head's slots that leave it as it is (the identity among them). `rows` are affine
    relations of the indices, `sizes` of the bound ones in them.

    >>> one = ((0,),)
    >>> a = label([(7, (0, -5), 1), (7, (-5, 1), 1)], lambda h: ((0, 1),))
    >>> b = label([(7, (-9, 1), 1), (7, (0, -9), 1)], lambda h: ((0, 1),))
    >>> a == b, a
    (True, ((7, (-1, 1), 1), (7, (0, -1), 1)))
    """
    sizes = sizes or {}
    bound = sorted({i for _, idx, _ in factors for i in idx if i < 0} | sizes.keys())
    if not bound and not rows:
        return tuple(sorted((h, _least(idx, permutations(h)), e) for h, idx, e in factors))
    search = _Search(factors, permutations, rows, sizes)
    order = sorted(set(sizes.values()))
    search.visit({i: order.index(sizes[i]) + 1 if i in sizes else 0 for i in bound})
    assert search.best is not None  # noqa: S101 - at least one leaf was visited
    return search.best


def _least(idx: tuple[int, ...], permutations: Permutations) -> tuple[int, ...]:
    if len(permutations) == 1:
        return idx
    return min(tuple(idx[p] for p in permutation) for permutation in permutations)


class _Search:
    """The least encoding over all labellings that refinement leaves open."""

    def __init__(
        self,
        factors: Sequence[Factor],
        permutations: Callable[[int], Permutations],
        rows: Sequence[Row],
        sizes: Mapping[int, str],
    ) -> None:
        self.rows, self.sizes = rows, sizes
        self.factors = [(h, idx, e, permutations(h)) for h, idx, e in factors]
        self.at: dict[int, list[int]] = {}
        for place, (_, idx, _) in enumerate(factors):
            for i in set(idx):
                if i < 0:
                    self.at.setdefault(i, []).append(place)
        self.best: Network | None = None
        self.leaves = 0

    def visit(self, colours: dict[int, int]) -> None:
        colours = self.refine(colours)
        classes: dict[int, list[int]] = {}
        for i, c in colours.items():
            classes.setdefault(c, []).append(i)
        open_classes = [(len(members), c) for c, members in classes.items() if len(members) > 1]
        if not open_classes:
            self.leaf(colours)
            return
        members = classes[min(open_classes)[1]]
        tried: list[int] = []
        for i in members:
            if any(self.twins(i, j) for j in tried):
                continue
            tried.append(i)
            self.visit({j: 2 * c + (j != i) for j, c in colours.items()})

    def refine(self, colours: dict[int, int]) -> dict[int, int]:
        """Colours that tell two indices apart as soon as their surroundings differ."""
        count = len(set(colours.values()))
        while True:
            signs = {i: (c, self.signature(i, colours)) for i, c in colours.items()}
            order = {s: n for n, s in enumerate(sorted(set(signs.values())))}
            colours = {i: order[s] for i, s in signs.items()}
            if len(order) == count:
                return colours
            count = len(order)

    def signature(self, i: int, colours: dict[int, int]) -> tuple[tuple[object, ...], ...]:
        rows = []
        for place in self.at.get(i, ()):
            h, idx, e, permutations = self.factors[place]
            seen = tuple(_SELF if j == i else (j if j >= 0 else _BOUND + colours[j]) for j in idx)
            rows.append((h, _least(seen, permutations), e))
        return tuple(sorted(rows))

    def leaf(self, colours: dict[int, int]) -> None:
        self.leaves += 1
        if self.leaves > _LEAVES:
            raise NotDecided("too many symmetric indices")
        names = {i: -1 - n for n, (_, i) in enumerate(sorted((c, i) for i, c in colours.items()))}
        code = self.encoded(names)
        if self.best is None or code < self.best:
            self.best = code

    def encoded(self, names: dict[int, int]) -> Network:
        network = sorted(
            (h, _least(tuple(names.get(i, i) for i in idx), permutations), e)
            for h, idx, e, permutations in self.factors
        )
        return (*network, *self.relations(names)) if self.rows else tuple(network)

    def relations(self, names: dict[int, int]) -> Iterator[tuple[Any, ...]]:
        """The relations of the indices by their names, solved in a fixed order; the sizes of the bound ones."""
        renamed = [{names.get(k, k) if isinstance(k, int) else k: c for k, c in r.items()} for r in self.rows]
        order = sorted({k for r in renamed for k in r if isinstance(k, int)})
        for n, (_, row) in enumerate(reduced_rows(renamed, order)):
            indices = sorted((k, c) for k, c in row.items() if isinstance(k, int))
            fixed = sorted((str(k), c) for k, c in row.items() if not isinstance(k, int))
            yield (_RELATION + n, tuple(k for k, _ in indices), (tuple(c for _, c in indices), tuple(fixed)))
        known = sorted((names.get(i, i), s) for i, s in self.sizes.items())
        yield (2 * _RELATION, tuple(i for i, _ in known), tuple(s for _, s in known))

    def twins(self, i: int, j: int) -> bool:
        """Whether exchanging two indices leaves the network as it is."""
        return self.encoded({i: j, j: i}) == self.encoded({})
