"""What the benchmarks share: the shortest of several runs, a row of the table, peers that may be missing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

__all__ = ["best", "interleaved", "peer", "row"]


def best(action: Callable[[], object], repeats: int = 3) -> float:
    """The shortest of several runs, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


def interleaved(actions: Sequence[Callable[[], object]], repeats: int = 30) -> list[float]:
    """The shortest run of each of several actions, taken in turn and in both orders: the machine is unfair to none."""
    times = [float("inf")] * len(actions)
    for action in actions:
        action()
    for turn in range(2 * repeats):
        for i in range(len(actions)) if turn % 2 else reversed(range(len(actions))):
            times[i] = min(times[i], best(actions[i], 1))
    return times


def row(what: str, figure: str, goal: str) -> None:
    """One line: what was measured, the figure, the goal."""
    print(f"{what:<58} {figure:>22}   {goal}", flush=True)


def peer(name: str) -> Any:
    """A module to compare with, or None with a line that says it is not there."""
    try:
        return import_module(name)
    except ImportError:
        row(f"{name} is not installed: skipped", "", "")
        return None
