"""What is said of a worker, from what was found."""

from __future__ import annotations

import os
from typing import Any

import pytest

from prefork.errors import OptionError
from prefork.pool.waits import Wait
from prefork.status import why
from support.reports import busy, report, worker

OWN = os.getpid()


def examined(
    monkeypatch: pytest.MonkeyPatch, one: dict[str, Any], wait: Wait, manager: int = 0
) -> dict[str, Any]:
    found = report(one, pid=manager or os.getppid())
    monkeypatch.setattr(why, "look", lambda _glue: found)
    monkeypatch.setattr(why, "wait_of", lambda _pid: wait)
    monkeypatch.setattr(why, "threads_of", lambda _pid: {"waits for a lock": 3, "runs": 1})
    return why.examine("site", one["pid"])


LOCK = Wait("lock", "waits for a lock")
IDLE = Wait("idle", "waits for events of its connections")


def test_a_worker_is_described_in_a_few_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    one = busy(
        3, "/report", 12.0, pid=OWN, in_flight=2, since_turn_s=12.0, cpu_s=4.0, rss=40 << 20, waiting=5
    )
    assert why.describe(examined(monkeypatch, one, LOCK)) == [
        f"worker {OWN} of the pool site, slot 3, generation 1: active, in one call for 12s",
        "up 3m20s, 0 requests, busy 0%, 0 connections open, CPU 4s, 40 MiB, 5 requests wait for it",
        "request: GET /report for 12s, 1 more; from 10.0.0.9; handling",
        "main thread: waits for a lock",
        "3 other threads: waits for a lock",
        "another thread: runs",
    ]


@pytest.mark.parametrize(
    ("changes", "wait", "stuck"),
    [
        ({}, IDLE, False),
        ({"in_flight": 1, "since_turn_s": 60.0}, IDLE, False),
        ({"in_flight": 1, "since_turn_s": 60.0}, LOCK, True),
        ({"in_flight": 1, "since_turn_s": 60.0}, Wait("runs", "runs"), True),
        ({"in_flight": 1, "since_turn_s": 0.5}, LOCK, False),
        ({"in_flight": 0, "since_turn_s": 60.0}, LOCK, False),
        ({"state": "stuck"}, IDLE, True),
        ({}, Wait("stopped", "is stopped"), True),
    ],
)
def test_when_a_worker_is_stuck(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], wait: Wait, stuck: bool
) -> None:
    found = examined(monkeypatch, worker(0, pid=OWN, **changes), wait)
    assert found["is_stuck"] is stuck
    assert why.has_stacks(found) is (wait.kind != "stopped")


def test_a_pid_that_a_worker_has_made_up_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    found = examined(monkeypatch, worker(0, pid=OWN), LOCK, manager=1)
    assert found["main_thread"]["kind"] == "unknown"
    assert "of no child of the manager" in found["main_thread"]["text"]
    assert found["other_threads"] == {}


def test_text_of_a_client_controls_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    one = busy(0, "/\x1b[2J", pid=OWN)
    one["request"] |= {"client": "\x1b]0;x\x07", "phase": "\n"}
    assert all(line.isprintable() for line in why.describe(examined(monkeypatch, one, IDLE)))


def test_no_such_worker_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(why, "look", lambda _glue: report(worker(0), worker(1)))
    with pytest.raises(OptionError, match="7 is no worker of the pool site; its workers: 100, 101"):
        why.examine("site", 7)
