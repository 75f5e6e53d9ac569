from __future__ import annotations

import contextlib
import json
import os
import select
import threading

import pytest

from prefork import status
from prefork._engine import Scoreboard
from prefork.errors import OptionError, ScoreboardUnavailable
from prefork.pool.scoreboard import ScoreboardSocket


@contextlib.contextmanager
def pool(glue):
    """A pool's scoreboard without the pool: one worker's slot is claimed, and clients are served."""
    board = Scoreboard.create(4)
    board.claim(0, 1)
    board_socket = ScoreboardSocket(board, glue)
    ended, end = os.pipe()

    def respond():
        while ended not in (ready := select.select([board_socket.fileno(), ended], [], [])[0]):
            assert ready
            board_socket.respond()

    thread = threading.Thread(target=respond)
    thread.start()
    try:
        yield
    finally:
        os.close(end)
        thread.join()
        os.close(ended)
        board_socket.close()
        board.close()


@pytest.fixture
def glue():
    return f"test-status-{os.getpid()}"


def test_json_has_manager_totals_and_one_object_a_worker(glue, capsys):
    with pool(glue):
        status.show(glue, as_json=True)
    report = json.loads(capsys.readouterr().out)
    assert list(report) == ["manager", "totals", "workers"]
    assert (report["manager"]["glue"], report["manager"]["pid"]) == (glue, os.getpid())
    assert report["totals"]["starting"] == 1
    (worker,) = report["workers"]
    assert worker["state"] == "starting"


def test_away_from_a_terminal_it_is_plain_text(glue, capsys):
    with pool(glue):
        status.show(glue, as_json=False)
    assert f"pool {glue}, manager {os.getpid()}," in capsys.readouterr().out


def test_the_only_pool_needs_no_name(glue, monkeypatch):
    monkeypatch.setattr(status, "list_glues", lambda: [glue])
    assert status.only_glue() == glue


def test_several_pools_are_named(monkeypatch):
    monkeypatch.setattr(status, "list_glues", lambda: ["one", "two"])
    with pytest.raises(OptionError, match="several pools are running: one, two; choose one with --glue"):
        status.only_glue()


def test_no_pool_is_said(glue, monkeypatch):
    monkeypatch.setattr(status, "list_glues", list)
    with pytest.raises(ScoreboardUnavailable, match="no pool of this user is running"):
        status.only_glue()
    with pytest.raises(ScoreboardUnavailable, match=glue):
        status.look(glue)
