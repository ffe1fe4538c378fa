"""How long a check may take: a deadline that long loops look at."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType

from symgrad.checking.canonical import NotDecided

__all__ = ["OutOfTime", "alarm", "check_time", "limit_memory", "time_limit"]

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


@contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Ends what runs inside with `OutOfTime`, also where it never looks at a deadline.

    Only in the main thread, and not inside another alarm; elsewhere `time_limit` has to do.
    """
    free = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    if not free or signal.getitimer(signal.ITIMER_REAL)[0] > 0:
        yield
        return

    running = True

    def stop(number: int, frame: FrameType | None) -> None:
        if running:
            raise OutOfTime(f"the time budget of {seconds:g} s ran out")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds, 0.5)  # again, in case the first one was swallowed
    try:
        yield
    finally:
        try:
            running = False
        finally:  # the alarm may ring once more while it is switched off
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


def limit_memory(megabytes: int) -> None:
    """Bound the memory of this process where the platform can; beyond it Python raises MemoryError."""
    try:
        import resource
    except ImportError:  # no such thing on Windows
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = megabytes * 1024 * 1024
    if hard == resource.RLIM_INFINITY or wanted < hard:
        resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))
