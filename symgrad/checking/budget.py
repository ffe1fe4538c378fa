"""How long a check may take: a deadline that long loops look at."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from symgrad.checking.canonical import NotDecided

__all__ = ["OutOfTime", "check_time", "time_limit"]

_DEADLINE: ContextVar[tuple[float, float] | None] = ContextVar("deadline", default=None)


class OutOfTime(NotDecided):
    """The time that was given to a check is used up."""


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Checks inside end with `OutOfTime` after so many seconds; an outer limit that ends earlier still holds.

    >>> with time_limit(1.0):
    ...     check_time()
    """
    outer = _DEADLINE.get()
    mine = None if seconds is None else (time.monotonic() + seconds, seconds)
    limits = [limit for limit in (outer, mine) if limit is not None]
    token = _DEADLINE.set(min(limits) if limits else None)
    try:
        yield
    finally:
        _DEADLINE.reset(token)


def check_time() -> None:
    """Raises   OutOfTime if the deadline is over."""
    deadline = _DEADLINE.get()
    if deadline is not None and time.monotonic() > deadline[0]:
        raise OutOfTime(f"the time budget of {deadline[1]:g} s ran out")
