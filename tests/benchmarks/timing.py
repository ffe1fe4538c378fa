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


_SHORTEST = 5e-4  # a sample is at least so long: many runs of what takes microseconds


_LONGEST = 6.0  # seconds after which slow actions are not run again, but for four times


def interleaved(actions: Sequence[Callable[[], object]], repeats: int = 30) -> list[float]:
    """The shortest run of each of several actions, taken in turn and in both orders: the machine is unfair to none."""
    start = time.perf_counter()
    times = [float("inf")] * len(actions)
    counts = []
    for action in actions:
        action()
        counts.append(max(1, min(1000, int(_SHORTEST / best(action, 3)))))
    for turn in range(2 * repeats):
        if turn >= 4 and time.perf_counter() - start > _LONGEST:
            break
        for i in range(len(actions)) if turn % 2 else reversed(range(len(actions))):
            times[i] = min(times[i], _mean(actions[i], counts[i]))
    return times


def _mean(action: Callable[[], object], count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        action()
    return (time.perf_counter() - start) / count


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
