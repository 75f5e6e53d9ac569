"""A running pool in the hands of a test: its workers by state, its manager's insides, held requests."""

from __future__ import annotations

import http.client
import json
import select
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

from support.apps import APPS
from support.responses import read_response
from support.server import Server, environment, start_process
from support.waiting import DEADLINE_S, wait_until

PID = b"GET /pid HTTP/1.1\r\nHost: x\r\n\r\n"


class Pool(Server):
    """A server that was made with `pool_app.pooled`."""

    def __init__(
        self, process: subprocess.Popen[str], directory: Path, target: str, env: dict[str, str]
    ) -> None:
        super().__init__(process)
        self.directory = directory
        self.target = target
        self.env = env
        self._held: list[socket.socket] = []
        self._kept: list[socket.socket] = []

    def wait_serving(self) -> Pool:
        super().wait_serving()
        return self

    # --- inside ------------------------------------------------------------------------------------------

    def manager(self, code: str) -> Any:
        """The value of an expression in the manager, as JSON has it; `kernel`, `server`, `pages`, `hands`."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as hand:
            hand.bind("")
            hand.settimeout(DEADLINE_S)
            hand.sendto(code.encode(), f"\0prefork-test-{self.pid}")
            return _value(hand.recv(65536))

    def worker(self, code: str) -> Any:
        """The value of an expression in some worker."""
        return _value(self.get("/do?" + quote(code, safe="")))

    # --- from outside ------------------------------------------------------------------------------------

    @property
    def totals(self) -> dict[str, int]:
        found: dict[str, int] = self.status()["totals"]
        return found

    def worker_of(self, pid: int) -> dict[str, Any]:
        """What the scoreboard tells of one worker."""
        (found,) = (worker for worker in self.status()["workers"] if worker["pid"] == pid)
        return dict(found)

    def wait_spares(self, count: int, deadline_s: float = DEADLINE_S) -> float:
        """Waits for exactly that many workers that are spare, and none on its way. Returns the seconds."""
        begin = time.monotonic()
        wait_until(lambda: self._is_settled(count), f"{count} spares", deadline_s)
        return time.monotonic() - begin

    def _is_settled(self, spares: int) -> bool:
        totals = self.totals
        return totals["spare"] == spares and not totals["starting"]

    def wait_active(self, count: int) -> None:
        """Wait for exactly that many workers that are active."""
        wait_until(lambda: self.totals["active"] == count, f"{count} active")

    def wait_workers(self, count: int, deadline_s: float = DEADLINE_S) -> list[int]:
        """Waits until there are exactly that many, none of them starting or leaving. Returns their pids."""

        def settled() -> bool:
            totals = self.totals
            return totals["workers"] == count == totals["spare"] + totals["active"]

        wait_until(settled, f"{count} workers", deadline_s)
        return self.workers()

    # --- connections that are kept -----------------------------------------------------------------------

    def company(self, size: int = 2) -> tuple[int, list[socket.socket]]:
        """The pid of a worker, and so many connections that it keeps."""
        by_pid: dict[int, list[socket.socket]] = {}
        while True:
            sock = self.connect()
            self._kept.append(sock)
            pid = ask(sock)
            found = by_pid.setdefault(pid, [])
            found.append(sock)
            if len(found) == size:
                return pid, found

    def stick(self, sock: socket.socket) -> None:
        """Has the worker of a connection stuck in a request of it, until `release`."""
        sock.sendall(b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: self.totals["active"] == 1, "it is stuck")

    # --- requests that last ------------------------------------------------------------------------------

    def hold(self, count: int, path: str = "/hold") -> list[socket.socket]:
        """Sends so many requests that are answered only after `release`."""
        held = [self.connect() for _ in range(count)]
        for sock in held:
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        self._held += held
        return held

    def release(self) -> list[bytes]:
        """Has all held requests answered; the bodies."""
        (self.directory / "release").touch()
        held, self._held = self._held, []
        bodies = []
        for sock in held:
            with sock:
                bodies.append(read_response(sock)[2])
        return bodies

    def kill(self) -> None:
        super().kill()
        for sock in self._held + self._kept:
            sock.close()


MakePool: TypeAlias = Callable[..., Pool]
"""The fixture `pool`."""


def start_pool(
    directory: Path,
    *flags: str,
    app: str = "pool_app.py",
    more: str = "",
    parameters: dict[str, Any] | None = None,
    env: dict[str, str] | None = None,
    start_new_session: bool = False,
    **options: Any,
) -> Pool:
    """Start `prefork serve` with `flags` on an application that is built on `pool_app.py`.

    `options` are those of its PreForkServer. `more` is code that runs once the server is made, for what is a
    line or two. The directory is where the server runs, and where a test leaves files for it.
    """
    given = (parameters or {}) | {"options": options, "more": more}
    env = (env or {}) | environment(given)
    target = f"{APPS / app}:server"
    place = () if "--bind" in flags else ("--bind", "127.0.0.1:0")
    process = start_process(
        target, *place, *flags, cwd=directory, env=env, start_new_session=start_new_session
    )
    return Pool(process, directory, target, env)


def ask(sock: socket.socket) -> int:
    """The pid of the worker that answers on a connection, and keeps it."""
    sock.sendall(PID)
    status, fields, body = read_response(sock)
    assert status == 200
    assert "connection" not in fields
    return int(body)


def read_bodies(sock: socket.socket, count: int) -> list[bytes]:
    """Of so many answers in a row, none of which ends the connection."""
    bodies = []
    with sock.makefile("rb") as answers:
        for _ in range(count):
            assert answers.readline() == b"HTTP/1.1 200 OK\r\n"
            fields = http.client.parse_headers(answers)
            assert "Connection" not in fields
            bodies.append(answers.read(int(fields["Content-Length"])))
    return bodies


def is_silent(sock: socket.socket, seconds: float = 0.2) -> bool:
    """Whether nothing comes on a connection for so long."""
    return not select.select([sock], [], [], seconds)[0]


def _value(answer: bytes) -> Any:
    said = json.loads(answer)
    assert "raised" not in said, said["raised"]
    return said["value"]
