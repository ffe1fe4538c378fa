"""Batches: what strangers' files hold, workers that die, and input that comes slowly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from symgrad.batch import answer_line
from symgrad.workers import LONGEST_LINE, answers_in_order, read_lines

GOOD = json.dumps({"id": "g", "f": "x @ x", "wrt": "x", "shapes": {"x": ["n"]}})

NULLS = dict.fromkeys(("kind", "layout", "assume", "definitions", "method", "structure", "dims_equal"))

TROUBLE = """
import json, os, signal, sys, time

def answer(line, seconds, mark="!"):
    if line == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if line == "leave":
        os._exit(5)
    if line == "forever":
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
        while True:
            time.sleep(1)
    if line == "chatter":
        print("not an answer")
        os.write(1, b"nor this")
    return line + mark
"""


@pytest.fixture
def trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "trouble_maker.py").write_text(TROUBLE)
    monkeypatch.syspath_prepend(tmp_path)
    return "trouble_maker:answer"


def failed(line: str, reason: str) -> str:
    return f"{line}: {reason}"


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_worker_that_dies_stops_no_other_line(trouble: str, jobs: int) -> None:
    lines = ["a", "kill", "b", "", "leave", "chatter", "c"]
    found = list(answers_in_order(lines, trouble, failed, jobs=jobs, options={"mark": "?"}))
    assert found == [
        "a?",
        "kill: the process that answered it ended by signal 9",
        "b?",
        "leave: the process that answered it ended with code 5",
        "chatter?",
        "c?",
    ]


def test_a_worker_that_cannot_be_interrupted_is_ended(trouble: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("symgrad.workers._GRACE", 0.2)
    found = list(answers_in_order(["a", "forever", "b"], trouble, failed, seconds=1.0))
    assert found == ["a!", "forever: the time limit of 1 s ran out", "b!"]


def test_lines_are_read_when_they_are_needed_and_answered_at_once(trouble: str) -> None:
    """Nothing is read far ahead, and an answer does not wait for the line after it."""
    taken = []

    def lines() -> object:
        for i in range(10_000):
            taken.append(i)
            yield f"line {i}"

    answers = answers_in_order(lines(), trouble, failed, jobs=2)  # type: ignore[arg-type]
    assert [next(answers) for _ in range(3)] == ["line 0!", "line 1!", "line 2!"]
    assert len(taken) < 100
    answers.close()  # type: ignore[attr-defined]


def test_an_answer_comes_before_the_next_question_is_asked() -> None:
    command = [sys.executable, "-m", "symgrad", "derive", "--batch", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        for _ in range(2):
            process.stdin.write(GOOD + "\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["answer"] == "2 * x"
        process.stdin.close()
        assert process.stdout.read() == ""
    assert process.returncode == 0


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="no process groups here")
def test_control_c_ends_cleanly() -> None:
    command = [sys.executable, "-m", "symgrad", "derive", "--batch", "-", "--jobs", "2"]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    assert process.stdin and process.stdout and process.stderr
    with process:
        process.stdin.write(GOOD.encode() + b"\n")
        process.stdin.flush()
        assert b"2 * x" in process.stdout.readline()
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stderr.read().strip() == b"stopped"
        with pytest.raises(ProcessLookupError):  # no worker is left behind
            for _ in range(50):
                os.killpg(process.pid, 0)
                time.sleep(0.1)


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"a\nb\n", ["a", "b"]),
        (b"a\nb", ["a", "b"]),
        (b"\xef\xbb\xbfa\r\n\r\nb\r\n", ["a", "", "b"]),
        (b"a\n\xff\xfe\nb", ["a", "\ufffd\ufffd", "b"]),
        (b"", []),
        ("größe\n".encode(), ["größe"]),
    ],
)
def test_ends_of_lines_marks_and_bytes_that_are_no_text(
    tmp_path: Path, data: bytes, lines: list[str]
) -> None:
    (tmp_path / "f").write_bytes(data)
    assert list(read_lines(str(tmp_path / "f"))) == lines


def test_a_huge_line_is_refused_and_the_next_one_answered(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * (3 * LONGEST_LINE) + b"\n" + GOOD.encode() + b"\n")
    first, second = read_lines(str(tmp_path / "f"))
    assert LONGEST_LINE < len(first) < 2 * LONGEST_LINE
    assert "characters" in json.loads(answer_line(first))["message"]
    assert second == GOOD


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (GOOD, "ok"),
        (
            json.dumps(
                {
                    **json.loads(GOOD),
                    **NULLS,
                }
            ),
            "ok",
        ),
        (json.dumps({"id": None, "f": None, "wrt": "x"}), "unreadable"),
        (json.dumps({**json.loads(GOOD), "shapes": None}), "unreadable"),
        ('{"id": "\\ud800", "f": "x @ x", "wrt": "x", "shapes": {"x": ["n"]}}', "ok"),
        (GOOD.replace("x @ x", "x @ \ufffd"), "unreadable"),
        ("[" * 100_000, "unreadable"),
        ('{"f": 1e999}', "unreadable"),
        ("NaN", "unreadable"),
        (json.dumps({**json.loads(GOOD), "definitions": [3]}), "unreadable"),
        (json.dumps({**json.loads(GOOD), "dims_equal": [["n"]]}), "unreadable"),
        (json.dumps({**json.loads(GOOD), "structure": "round"}), "unsupported"),
    ],
)
def test_fields_that_are_null_missing_or_strange(line: str, status: str) -> None:
    record = json.loads(answer_line(line))
    assert record["status"] == status, record
    assert set(record) >= {
        "id",
        "status",
        "answer",
        "answer_latex",
        "evidence",
        "steps",
        "operations",
        "seconds",
        "message",
    }
    assert (record["message"] is None) == (status == "ok")


def test_a_time_limit_off_the_main_thread_is_left_to_the_one_who_asks() -> None:
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(answer_line(GOOD, 5.0)))
    thread.start()
    thread.join()
    assert json.loads(found[0])["answer"] == "2 * x"
