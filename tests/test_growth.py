"""The work of a derivation with its checks grows in proportion to the question: counted in calls of functions, not timed."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from symgrad import derive, read_model
from symgrad.expr import Model

SIZES = (8, 16, 32)
SLACK = 1.6  # times the proportional work; a quadratic cost would be four times it at the largest size


def calls(run: Callable[[], object]) -> int:
    """How many functions are called, in Python and below; unlike time it is the same on every machine."""
    count = 0

    def on_event(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(on_event)
    try:
        run()
    finally:
        sys.setprofile(before)
    return count


def grows_in_proportion(question: Callable[[int], Callable[[], object]]) -> bool:
    question(3)()  # what is imported on use
    works = [calls(question(n)) for n in SIZES]
    return all(work <= SLACK * n / SIZES[0] * works[0] for n, work in zip(SIZES, works, strict=True))


def network(layer: str) -> Callable[[int], Model]:
    """A network of a number of layers, each written out; `layer` gives h in terms of g (the one below), W and b."""

    def of_depth(n: int) -> Model:
        lines = ["x : n", "y : n"]
        for k in range(1, n + 1):
            below = f"h{k - 1}" if k > 1 else "x"
            lines += [
                f"W{k} : n n",
                f"b{k} : n",
                f"h{k} = " + layer.replace("{g}", below).replace("{k}", str(k)),
            ]
        return read_model("\n".join([*lines, f"loss = norm(h{n} - y)**2 / 2"]))

    return of_depth


@pytest.mark.parametrize(
    "layer", ["tanh(W{k} @ {g} + b{k})", "{g} + tanh(W{k} @ {g} + b{k})"], ids=["tanh", "residual"]
)
def test_networks(layer: str) -> None:
    of_depth = network(layer)
    assert grows_in_proportion(lambda n: lambda: derive(of_depth(n), "W1", of="loss"))


def test_a_sum_of_squared_norms() -> None:
    def ask(n: int) -> Callable[[], object]:
        terms = " + ".join(f"norm(A{i} @ x - b{i})**2" for i in range(n))
        shapes = ", ".join(f"A{i}: m{i} n, b{i}: m{i}" for i in range(n)) + ", x: n"
        return lambda: derive(terms, "x", shapes=shapes)

    assert grows_in_proportion(ask)


def test_more_than_proportional_growth_is_seen() -> None:
    assert not grows_in_proportion(lambda n: lambda: [len([i]) for i in range(n) for _ in range(n)])
    assert not grows_in_proportion(lambda n: lambda: [len([i]) for i in range(2 ** (n // 2))])
