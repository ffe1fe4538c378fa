"""Lines answered by processes: in order, as they come, whatever happens to one of them.

A worker is a process that reads one question a line and writes one answer a line. A worker that dies or outlives its
time is replaced, and its question is answered by saying so. Lines are read only when a worker is free, and only a few
answers wait for their turn, so memory is bounded whatever the length of the input.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module

__all__ = ["LONGEST_LINE", "answers_in_order", "read_lines", "serve", "time_limit"]

LONGEST_LINE = 1_000_000
_CHUNK = 65_536
_WAITING = 16  # answers that wait for their turn, for each worker
_GRACE = 3.0  # seconds after the limit until a worker that does not stop itself is ended
_STARTING = 60.0

Failed = Callable[[str, str], str]


def read_lines(path: str) -> Iterator[str]:
    r"""The lines of a file (`-`: of standard input) as they come, without their ends.

    A line that is no UTF-8 comes with U+FFFD in place of what is none; of one that is too long, the beginning comes.
    """
    handle = sys.stdin.fileno() if path == "-" else os.open(path, os.O_RDONLY)
    try:
        rest, first, skipping = b"", True, False
        while True:
            chunk = os.read(handle, _CHUNK)
            *lines, rest = (rest + chunk).split(b"\n")
            if not chunk and rest:
                lines, rest = [*lines, rest], b""
            for line in lines:
                if not skipping:
                    yield _decoded(line, first)
                first = skipping = False
            if len(rest) > LONGEST_LINE:
                if not skipping:
                    yield _decoded(rest, first)
                rest, first, skipping = b"", False, True
            if not chunk:
                return
    finally:
        if path != "-":
            os.close(handle)


def _decoded(line: bytes, first: bool) -> str:
    if first:
        line = line.removeprefix(b"\xef\xbb\xbf")
    return line.removesuffix(b"\r").decode("utf-8", errors="replace")


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """TimeoutError inside the block when the time is up, where the platform has alarms."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# --- the process that answers -----------------------------------------------------------------------------


def serve(task: str, seconds: float, options: str) -> None:
    """Answer the questions on standard input with the function `module:name`; what runs in a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that asks ends its workers
    answers, questions = os.dup(1), sys.stdin.buffer
    os.dup2(2, 1)  # nothing that is printed by the way gets among the answers
    module, _, name = task.partition(":")
    answer, keywords = getattr(import_module(module), name), json.loads(options)
    for line in questions:
        text = answer(json.loads(line), seconds, **keywords).replace("\n", " ")
        data = text.encode("utf-8", errors="backslashreplace") + b"\n"
        while data:
            data = data[os.write(answers, data) :]


class _Worker:
    """One process, started when it is first needed."""

    def __init__(self, task: str, seconds: float, options: str) -> None:
        self._task = task
        self._seconds = seconds
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._ended = False

    def _started(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._ended:
                raise EOFError
            if self._process is None:
                program = (
                    "import sys; from symgrad.workers import serve; "
                    "serve(sys.argv[1], float(sys.argv[2]), sys.argv[3])"
                )
                paths = [str(p) for p in sys.path if p]
                self._process = subprocess.Popen(  # noqa: S603 - this program, by its own interpreter
                    [sys.executable, "-c", program, self._task, str(self._seconds), self._options],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
                )
            return self._process

    def ask(self, line: str, failed: Failed) -> str:
        """The answer to a line; what `failed` makes of the line and a reason if the worker does not give one."""
        fresh = self._process is None
        process = self._started()
        questions, answers = process.stdin, process.stdout
        if questions is None or answers is None:
            return failed(line, "the process that should answer it could not be started")
        out_of_time = threading.Event()
        allowed = self._seconds + _GRACE + (_STARTING if fresh else 0.0)

        def overdue() -> None:
            out_of_time.set()
            process.kill()

        timer = threading.Timer(allowed, overdue)
        timer.daemon = True
        timer.start()
        answer = b""
        try:
            questions.write(json.dumps(line).encode() + b"\n")
            questions.flush()
            answer = answers.readline()
        except (OSError, ValueError):
            pass
        finally:
            timer.cancel()
        if answer.endswith(b"\n"):
            return answer[:-1].decode("utf-8")
        self._reap()
        if out_of_time.is_set():
            return failed(line, f"the time limit of {self._seconds:g} s ran out")
        code = process.returncode
        died = f"by signal {-code}" if code is not None and code < 0 else f"with code {code}"
        return failed(line, f"the process that answered it ended {died}")

    def _reap(self) -> None:
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
            process.wait()

    def end(self) -> None:
        """End the process, whatever it does."""
        with self._lock:
            self._ended = True
            if self._process is not None:
                self._process.kill()

    def close(self) -> None:
        """Give back what the process held."""
        self._reap()


# --- the process that asks ---------------------------------------------------------------------------------


def answers_in_order(
    lines: Iterable[str],
    task: str,
    failed: Failed,
    *,
    jobs: int = 1,
    seconds: float = 60.0,
    options: Mapping[str, object] | None = None,
) -> Iterator[str]:
    """The answers to the lines that are not empty, each as soon as those before it are out.

    `task` names the function that answers, `module:name`, called with the line, the time limit and the options as
    keywords; `failed` makes the answer to a line whose worker did not give one, from the line and the reason.
    """
    source = iter(lines)
    reading, changed = threading.Lock(), threading.Condition()
    answers: dict[int, str] = {}
    state = {"asked": 0, "given": 0, "done": False, "ended": False}
    errors: list[BaseException] = []
    workers = [_Worker(task, seconds, json.dumps(dict(options or {}))) for _ in range(jobs)]

    def next_line() -> tuple[int, str] | None:
        with reading:
            while not state["ended"]:
                with changed:
                    changed.wait_for(
                        lambda: state["ended"] or state["asked"] - state["given"] < _WAITING * jobs
                    )
                if state["done"] or state["ended"]:
                    return None
                try:
                    line = next(source)
                except StopIteration:
                    state["done"] = True
                    return None
                if line.strip():
                    state["asked"] += 1
                    return state["asked"] - 1, line
        return None

    def work(worker: _Worker) -> None:
        try:
            while (question := next_line()) is not None:
                number, line = question
                answer = worker.ask(line, failed)
                with changed:
                    answers[number] = answer
                    changed.notify_all()
        except EOFError:
            pass  # ended from outside
        except BaseException as error:
            errors.append(error)
        finally:
            with changed:
                changed.notify_all()

    threads = [threading.Thread(target=work, args=(w,), daemon=True) for w in workers]
    for t in threads:
        t.start()
    try:
        while True:
            with changed:
                changed.wait_for(
                    lambda: state["given"] in answers or errors or not any(t.is_alive() for t in threads), 0.5
                )
                if errors:
                    raise errors[0]
                answer = answers.pop(state["given"], None)
                if answer is not None:
                    state["given"] += 1
                    changed.notify_all()
                elif not any(t.is_alive() for t in threads):
                    return
            if answer is not None:
                yield answer
    finally:
        state["ended"] = True
        for w in workers:
            w.end()
        with changed:
            changed.notify_all()
        for t, w in zip(threads, workers, strict=True):
            t.join(1.0)  # one that still waits for input is left to the end of this process
            w.close()
