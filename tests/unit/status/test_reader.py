"""Reports on one pool, again and again, also while its manager does not respond."""

from __future__ import annotations

import os
from typing import Any

import pytest

from prefork._engine import Scoreboard
from prefork.errors import ScoreboardUnavailable
from prefork.pool.scoreboard import Found
from prefork.status import reader as module
from prefork.status.reader import LONGEST_PAUSE_S, Reader


class Pool:
    """What the reader asks, and how often."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.board = Scoreboard.create(2)
        self.board.claim(0, 1)
        self.about: Any = {"queued": 0, "listeners": [], "decisions": []}
        self.manager = os.getpid()
        self.is_running = True
        self.is_stopped = False
        self.asked = 0
        self.now = 1000.0
        monkeypatch.setattr(module, "open_scoreboard", self.open)
        monkeypatch.setattr(module, "is_stopped", lambda _pid: self.is_stopped)
        monkeypatch.setattr(module, "monotonic", lambda: self.now)

    def open(self, glue: str) -> Found:
        self.asked += 1
        if not self.is_running:
            raise ScoreboardUnavailable(f"expected a running server with glue {glue!r}")
        return Found(Scoreboard.attach(self.board.fileno()), self.manager, self.about)


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Pool:
    return Pool(monkeypatch)


def test_each_report_is_asked_for_anew(pool: Pool) -> None:
    with Reader("site") as reader:
        for count in (1, 2, 3):
            report = reader.look()
            assert (pool.asked, reader.note) == (count, "")
            assert report["manager"]["pid"] == os.getpid()
            assert report["manager"]["listeners"] == []


def test_a_stopped_manager_is_not_asked_and_its_workers_are_shown(pool: Pool) -> None:
    with Reader("site") as reader:
        reader.look()
        pool.is_stopped = True
        for _ in range(100):
            report = reader.look()
        assert pool.asked == 1
        assert reader.note == f"the manager {os.getpid()} is stopped: this is what its workers write"
        assert report["manager"]["listeners"] is None
        assert report["totals"]["starting"] == 1
        pool.is_stopped = False
        reader.look()
        assert (pool.asked, reader.note) == (2, "")


def test_a_busy_manager_is_asked_ever_more_seldom(pool: Pool) -> None:
    pool.about = None
    with Reader("site") as reader:
        for _ in range(1000):
            reader.look()
            pool.now += 1.0
        assert 1000 / LONGEST_PAUSE_S <= pool.asked < 1000 / LONGEST_PAUSE_S + 10
        assert reader.note.endswith("does not respond: this is what its workers write")
        pool.about = {"queued": 0, "listeners": []}
        pool.now += LONGEST_PAUSE_S
        reader.look()
        assert reader.note == ""


def test_a_manager_that_cannot_be_reached_is_one_that_does_not_respond(pool: Pool) -> None:
    with Reader("site") as reader:
        reader.look()
        pool.is_running = False
        assert reader.look()["totals"]["starting"] == 1
        assert "does not respond" in reader.note


def test_a_pool_that_has_ended_is_an_error_and_the_next_one_is_shown(pool: Pool) -> None:
    pool.manager = 2**22 + 1
    with Reader("site") as reader:
        reader.look()
        pool.is_running = False
        with pytest.raises(ScoreboardUnavailable):
            reader.look()
        pool.is_running = True
        assert reader.look()["totals"]["starting"] == 1
