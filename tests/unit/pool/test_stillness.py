"""For how long a worker shows nothing: data and moments, no process but one."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

from prefork.pool.stillness import LOOK_S, STUCK_S, Stillness, is_stopped, is_stuck
from support.waiting import wait_until


def look(stillness: Stillness, signs: list[int], begin_s: float, seconds: float) -> list[int]:
    """Look each LOOK_S, with the same signs. Return what was found stuck."""
    found = []
    for step in range(int(seconds / LOOK_S) + 1):
        found += stillness.look(signs, begin_s + step * LOOK_S)
    return found


def test_one_that_shows_nothing_is_found_once() -> None:
    stillness = Stillness()
    assert look(stillness, [7, 0, 9], 100.0, STUCK_S - LOOK_S) == []
    assert look(stillness, [7, 0, 10], 100.0 + STUCK_S, 20.0) == [0, 2]
    assert stillness.stuck() == [0, 2]
    assert stillness.stuck(for_s=22.0) == [0]


def test_a_sign_or_the_end_of_its_requests_ends_it() -> None:
    stillness = Stillness()
    look(stillness, [7, 8, 9], 100.0, 20.0)
    stillness.look([8, 0, 9], 121.0)
    stillness.forget(2)
    assert stillness.stuck() == []


def test_a_manager_that_did_not_look_for_long_has_not_watched_so_long() -> None:
    stillness = Stillness()
    stillness.look([7], 100.0)
    assert stillness.look([7], 5000.0) == []
    assert stillness.look([8], 5001.0) == []
    assert look(stillness, [8], 5002.0, STUCK_S) == [0]


RECORD = {"in_flight": 1, "turned": 100.0, "beat": 101.0, "pid": os.getpid()}


@pytest.mark.parametrize(
    ("changes", "stuck"),
    [
        ({}, True),
        ({"in_flight": 0}, False),
        ({"beat": 199.0}, False),
        ({"turned": 199.0}, False),
        ({"beat": 0.0}, False),  # it has no guard, and runs
    ],
)
def test_an_entry_is_that_of_a_stuck_worker(changes: dict[str, float | None], stuck: bool) -> None:
    assert is_stuck(RECORD | changes, 200.0) is stuck


def test_a_stopped_process_is_known() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        assert not is_stopped(process.pid)
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: is_stopped(process.pid), "it to stop")
        assert is_stuck(RECORD | {"beat": 0.0, "pid": process.pid}, time.monotonic() + 200.0)
        process.kill()
    assert not is_stopped(process.pid)
