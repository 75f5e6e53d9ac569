"""A running pool: its workers by state, expressions inside its manager and its workers, held requests."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

from support.apps import APPS
from support.processes import state
from support.responses import read_response
from support.server import Server, environment, start_process
from support.tcp import has_read_all
from support.waiting import DEADLINE_S, wait_until

PID = b"GET /pid HTTP/1.1\r\nHost: x\r\n\r\n"


class Pool(Server):
    """One `prefork serve` process with the application `pool_app.py`, or one that imports it.

    `directory` is where it runs: a test creates the files there that its handlers wait for.
    """

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
        wait_until(self._is_remote_open, "the session that evaluates")
        return self

    def _is_remote_open(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            return channel.connect_ex(self._remote) == 0

    @property
    def _remote(self) -> str:
        return f"\0prefork-test-{self.pid}"

    def wait_begun(self) -> Pool:
        """Wait until the manager has its pool. No worker need be ready: then there is no line to wait for."""

        def begun() -> Any:
            with contextlib.suppress(ConnectionRefusedError):
                return self.manager("server.glue and [server.glue, server.listening.port]")

        self.glue, self.port = wait_until(begun, "the manager")
        self.host = "127.0.0.1"
        return self

    # --- inside ------------------------------------------------------------------------------------------

    def manager(self, code: str) -> Any:
        """Evaluate an expression in the manager and return its value, as JSON has it.

        Its names are those of `pool_app.names`: `kernel`, `server`, `pages`, `remote`, `os` ...
        """
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.bind("")
            channel.settimeout(DEADLINE_S)
            channel.sendto(code.encode(), self._remote)
            return _value(channel.recv(65536))

    def worker(self, code: str) -> Any:
        """Evaluate an expression in the worker that accepts, and return its value."""
        return _value(self.get("/do?" + quote(code, safe="")))

    # --- from outside ------------------------------------------------------------------------------------

    @property
    def totals(self) -> dict[str, int]:
        found: dict[str, int] = self.status()["totals"]
        return found

    def worker_of(self, pid: int) -> dict[str, Any]:
        """The scoreboard's entry of one worker."""
        (found,) = (worker for worker in self.status()["workers"] if worker["pid"] == pid)
        return dict(found)

    def wait_read(self, pid: int) -> None:
        """Wait until a worker has read what was sent to it, and waits for more."""
        wait_until(lambda: has_read_all(self.port) and state(pid) == "S", "it has read that")

    def wait_spares(self, count: int, deadline_s: float = DEADLINE_S) -> float:
        """Wait for exactly that many spare workers, and none that is starting. Return the seconds it took."""
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
        """Wait for exactly that many workers, none of them starting or draining. Return their pids."""

        def settled() -> bool:
            totals = self.totals
            return totals["workers"] == count == totals["spare"] + totals["active"]

        wait_until(settled, f"{count} workers", deadline_s)
        return self.workers()

    # --- connections that are kept -----------------------------------------------------------------------

    def connect_to_one_worker(self, size: int = 2) -> tuple[int, list[socket.socket]]:
        """Open connections until one worker has `size` of them. Return its pid and those connections."""
        by_pid: dict[int, list[socket.socket]] = {}
        while True:
            sock = self.connect()
            self._kept.append(sock)
            pid = pid_serving(sock)
            found = by_pid.setdefault(pid, [])
            found.append(sock)
            if len(found) == size:
                return pid, found

    def block_worker(self, sock: socket.socket) -> None:
        """Send a request that blocks the worker of this connection until `release`.

        While a worker still does something else, the request might move to another one.
        """
        wait_until(lambda: "R" not in map(state, self.workers()), "all of them to wait")
        sock.sendall(b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n")

        def is_blocked() -> bool:
            active = [worker["request"] for worker in self.status()["workers"] if worker["state"] == "active"]
            # A worker that still sends the response before that is active as well.
            return [request and request["path"] for request in active] == ["/hold"]

        wait_until(is_blocked, "a blocked worker")

    # --- requests that last ------------------------------------------------------------------------------

    def hold(self, count: int, path: str = "/hold") -> list[socket.socket]:
        """Send requests whose handlers return only after `release`, each on a connection of its own."""
        held = [self.connect() for _ in range(count)]
        for sock in held:
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        self._held += held
        return held

    def release(self) -> list[bytes]:
        """End all held requests. Return the bodies of their responses."""
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
    pass_fds: Sequence[int] = (),
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
        target,
        *place,
        *flags,
        cwd=directory,
        env=env,
        start_new_session=start_new_session,
        pass_fds=pass_fds,
    )
    return Pool(process, directory, target, env)


def pid_serving(sock: socket.socket) -> int:
    """Return the pid of the worker that responds on a connection, and keeps it."""
    sock.sendall(PID)
    status, fields, body = read_response(sock)
    assert status == 200
    assert "connection" not in fields
    return int(body)


def read_bodies(sock: socket.socket, count: int) -> list[bytes]:
    """Read `count` responses in a row, none of which may end the connection. Return their bodies."""
    bodies = []
    with sock.makefile("rb") as stream:
        for _ in range(count):
            assert stream.readline() == b"HTTP/1.1 200 OK\r\n"
            fields = http.client.parse_headers(stream)
            assert "Connection" not in fields
            bodies.append(stream.read(int(fields["Content-Length"])))
    return bodies


def is_silent(sock: socket.socket, seconds: float = 0.2) -> bool:
    """Whether nothing comes on a connection for that long."""
    before = sock.gettimeout()
    sock.settimeout(seconds)
    try:
        sock.recv(1, socket.MSG_PEEK)
    except (TimeoutError, BlockingIOError, ssl.SSLWantReadError):
        return True
    finally:
        sock.settimeout(before)
    return False


def _value(reply: bytes) -> Any:
    said = json.loads(reply)
    assert "raised" not in said, said["raised"]
    return said["value"]
