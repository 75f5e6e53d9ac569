"""A worker that turns on its pool: the manager lives, forks no storm, and no request of others is lost."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import os
import signal
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from prefork._engine import try_sandbox
from prefork.errors import OptionError, ScoreboardUnavailable
from prefork.status import look, table
from prefork.status.top.rates import between
from prefork.status.top.screen import frame
from prefork.status.top.view import SORTS, View
from prefork.status.why import describe, examine
from support.apps import APPS
from support.load import Clients, LoadClient
from support.processes import alive
from support.responses import read_response
from support.server import Serve, Server
from support.waiting import wait_until

APP = APPS / "hostile.py"
WORKERS = 4
STORM = 2 * WORKERS
"""More forks would be one. The hostile worker may be replaced, or all: what they share is made again."""


class Teller(LoadClient):
    """Asks for another text each time: a response that is meant for another client would be seen.

    The connection is new after each fourth request.
    """

    numbers = itertools.count()

    def __init__(self, server: Server) -> None:
        super().__init__(server, "/echo")
        self.wrong: list[bytes] = []

    def run(self) -> None:
        while not self._stopped.is_set():
            try:
                with self.server.connect() as sock:
                    self._ask(sock)
            except (OSError, http.client.HTTPException) as error:
                self.lost.append(repr(error))

    def _ask(self, sock: socket.socket) -> None:
        for _ in range(4):
            text = f"{next(self.numbers)}".encode()
            sock.sendall(b"GET /echo?" + text + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            status, fields, body = read_response(sock)
            self.responses[status, b""] += 1
            if body != text:
                self.wrong.append(body)
            if fields.get("connection") == "close":
                return


@pytest.fixture
def server(serve: Serve) -> Server:
    return serve(APP, "--workers", str(WORKERS), "--graceful-timeout", "5")


def forked(server: Server) -> int:
    """How many workers there have been, once the pool has as many as it should."""

    def settled() -> int:
        status = server.status()
        forked: int = status["manager"]["forked"]
        return forked if status["totals"]["spare"] == WORKERS <= forked else 0

    return wait_until(settled, "a whole pool")


def attack(server: Server, name: str) -> str:
    """Have one worker do it, under load. Return what it says, if it still can."""
    said: list[str] = []

    def begin() -> None:
        try:
            said.append(server.get(f"/hostile?{name}").decode())
        except (OSError, http.client.HTTPException) as error:
            said.append(repr(error))

    before = forked(server)
    with Clients([Teller(server) for _ in range(6)]) as load:
        load.more(100)
        hostile = threading.Thread(target=begin)
        hostile.start()
        hostile.join(30)
        load.more(200)
        assert load.statuses == {200}
        assert load.lost == []
        assert [wrong for client in load.clients for wrong in client.wrong] == []
    assert forked(server) - before <= STORM, server.log
    assert server.stop() == 0
    assert "Traceback" not in server.log, server.log
    (text,) = said
    return text


def test_it_writes_over_all_memory_that_is_shared(server: Server) -> None:
    assert attack(server, "scribble") == "0", "what is to be read was written"


def test_what_it_writes_over_its_memory_is_shown_and_breaks_no_report(server: Server) -> None:
    assert server.glue
    hostile = threading.Thread(target=attack, args=(server, "scribble"))
    hostile.start()
    before: dict[str, Any] | None = None
    shown = 0
    while hostile.is_alive():
        try:
            report = look(server.glue)
        except ScoreboardUnavailable:  # the server has been stopped
            break
        lines = table.plain(report).split("\n")
        rates = between(before, report, 0.1)
        for sort in SORTS.values():
            lines += [line.plain for line in frame(report, rates, View(sort=sort), (120, 40))]
        for worker in report["workers"]:
            with contextlib.suppress(OptionError, ScoreboardUnavailable):
                lines += describe(examine(server.glue, worker["pid"]))
        assert [line for line in lines if not line.isprintable()] == []
        before = report
        shown += 1
    hostile.join()
    assert shown > 5


def test_it_pretends_to_come_and_go(server: Server) -> None:
    assert int(attack(server, "flap")) > 100


def test_it_sends_garbage_to_each_descriptor_and_has_it_block(server: Server) -> None:
    assert int(attack(server, "spoil_descriptors")) >= 5


def test_it_takes_the_wake_ups_of_the_manager(server: Server) -> None:
    assert int(attack(server, "race_the_manager")) > 100


def test_it_has_accept_wait(server: Server) -> None:
    assert int(attack(server, "block_listener")) >= 1


def test_it_forges_an_adoption(server: Server) -> None:
    assert attack(server, "adopt").endswith("forged"), "the format is another one"


def test_it_forges_adoptions_of_what_is_none(server: Server) -> None:
    assert int(attack(server, "forge_adoptions")) > 100


def test_it_has_connections_wait_that_others_have_adopted(server: Server) -> None:
    assert int(attack(server, "block_adopted")) > 0


def test_it_has_the_queue_itself_adopted(server: Server) -> None:
    assert attack(server, "send_queue") == "True"


@pytest.mark.skipif(
    bool(try_sandbox(write=[], append=[], connect=[])), reason="this kernel has not all of it"
)
def test_in_a_sandbox_its_signals_reach_no_other_process(serve: Serve, tmp_path: Path) -> None:
    others = tmp_path / "others"
    flags = ("--workers", str(WORKERS), "--sandbox", "required", "--sandbox-write", str(tmp_path))
    server = serve(APP, *flags, parameters={"others": str(others)})
    pids = server.workers()
    others.write_text(" ".join(map(str, pids)))
    assert attack(server, "signal_all") == "PermissionError"
    assert "ended" not in server.log


def test_it_forges_reports_while_it_starts(serve: Serve, tmp_path: Path) -> None:
    begins = tmp_path / "attack"
    server = serve(
        APP, "--workers", str(WORKERS), "--worker-start", "hostile:start", parameters={"attack": str(begins)}
    )
    before = forked(server)
    begins.touch()
    os.kill(server.workers()[0], signal.SIGKILL)
    server.wait_log("is hostile")
    assert forked(server) - before <= 3
    assert server.get("/echo?x") == b"x"
    assert "\x1b" not in server.log
    assert not any(line.startswith("ERROR forged") for line in server.err)
    assert alive(server.pid)
