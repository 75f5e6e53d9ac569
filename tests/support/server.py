"""The real server as a process, for tests that talk to it over sockets."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Container, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from support import tls
from support.responses import read_all
from support.waiting import DEADLINE_S, wait_until

Finished: TypeAlias = subprocess.CompletedProcess[str]


class Server:
    """One `prefork serve` process; `url`, `host` and `port` are known when it serves."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.out: list[str] = []
        self.err: list[str] = []
        self.url = ""
        self.host = ""
        self.port = 0
        self.glue: str | None = None
        self._readers = [
            threading.Thread(target=self._read, args=(stream, lines), daemon=True)
            for stream, lines in ((process.stdout, self.out), (process.stderr, self.err))
            if stream is not None
        ]
        for reader in self._readers:
            reader.start()

    @staticmethod
    def _read(stream: Any, lines: list[str]) -> None:
        with stream:
            for line in stream:
                lines.append(line.rstrip("\n"))

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log(self) -> str:
        """All of standard error so far."""
        return "\n".join(self.err)

    def wait_serving(self) -> Server:
        line = wait_until(
            lambda: (
                next((line for line in self.out if "serving" in line), None)
                or self.process.poll() is not None
            ),
            "the serving line",
        )
        assert isinstance(line, str), f"exit status {self.process.returncode}: {self.log}"
        found = re.search(r"serving (\S+)", line)
        assert found
        self.url = found[1]
        if address := re.fullmatch(r"https?://(?:\[(.+)\]|(.+)):(\d+)", self.url):
            self.host, self.port = address[1] or address[2], int(address[3])
        if glue := re.search(r"glue ([\w.-]+)", line):
            self.glue = glue[1]
        return self

    def wait_listening(self) -> None:
        """Wait until it takes connections. A Unix socket has its name before it does."""

        def takes_one() -> bool:
            with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
                self.connect().close()
                return True
            return False

        wait_until(takes_one, "the socket")

    def forget_output(self) -> None:
        """Begin a test with a server that others have used: wait until it is idle, forget its output."""
        assert self.process.poll() is None, f"exit status {self.process.returncode}: {self.log}"
        if self.glue:
            self.wait_idle()
        self.out.clear()
        self.err.clear()

    def wait_log(self, text: str, deadline_s: float = DEADLINE_S) -> str:
        """Wait for a line of standard error that contains `text`, and return it."""
        return wait_until(
            lambda: next((line for line in list(self.err) if text in line), ""),
            f"{text!r} in the log",
            deadline_s,
        )

    def wait_lines(self, count: int) -> None:
        """Wait until there are that many lines of standard error."""
        wait_until(lambda: len(self.err) >= count, f"{count} lines in the log")

    # --- talking to it -----------------------------------------------------------------------------------

    def connect(self, timeout_s: float = DEADLINE_S, *protocols: str) -> socket.socket:
        """A connection, over TLS if the server speaks that. Its client offers these protocols (ALPN)."""
        if self.url.startswith("unix:"):
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(timeout_s)
            try:
                sock.connect(self.url.removeprefix("unix:"))
            except OSError:
                sock.close()
                raise
            return sock
        sock = socket.create_connection((self.host, self.port), timeout=timeout_s)
        return self.begin(sock, *protocols)

    def begin(self, sock: socket.socket, *protocols: str) -> socket.socket:
        """What to send and receive through on a connection to it: the same, or its TLS."""
        return tls.wrap(sock, tls.V13, *protocols) if self.url.startswith("https:") else sock

    def raw(self, data: bytes, *, half_close: bool = False) -> bytes:
        """Send `data` on a connection of its own. Return what comes back until the server closes it."""
        with self.connect() as sock:
            sock.sendall(data)
            if half_close:
                sock.shutdown(socket.SHUT_WR)
            return read_all(sock)

    def request(
        self, path: str = "/", method: str = "GET", body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Send one request on a connection of its own. Return status, header fields (lower case), body."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=DEADLINE_S)
        connection.sock = self.connect()
        with contextlib.closing(connection):
            connection.request(method, path, body=body, headers=headers or {})
            response = connection.getresponse()
            fields = {name.lower(): value for name, value in response.getheaders()}
            return response.status, fields, response.read()

    def get(self, path: str = "/") -> bytes:
        """GET a path and return the body. The status must be 200."""
        status, _, body = self.request(path)
        assert status == 200, (status, body)
        return body

    # --- looking at it -----------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """The scoreboard, read from outside as `prefork status --json` does it."""
        assert self.glue, "this server has no pool"
        from prefork.pool.scoreboard import open_scoreboard, snapshot

        board = open_scoreboard(self.glue).board
        with contextlib.closing(board):
            return snapshot(board)

    def workers(self, *states: str) -> list[int]:
        """The pids of the workers, of those in `states` if any are given.

        A worker that was just forked has not written its pid yet. It is waited for: a signal to pid 0 would
        reach the tests.
        """

        def reported() -> list[list[int]]:
            workers = self.status()["workers"]
            pids = [worker["pid"] for worker in workers if not states or worker["state"] in states]
            return [pids] if all(pids) else []

        return wait_until(reported, "every worker's pid")[0]

    def wait_without(self, pids: Container[int]) -> None:
        """Wait until the scoreboard has none of these workers."""
        wait_until(lambda: not any(pid in pids for pid in self.workers()), "the workers to be gone")

    def wait_idle(self) -> None:
        """Wait until no worker has a connection or a request."""

        busy: list[dict[str, Any]] = []

        def idle() -> bool:
            busy[:] = [one for one in self.status()["workers"] if one["in_flight"] or one["connections"]]
            return not busy

        with contextlib.suppress(AssertionError):
            wait_until(idle)
        assert not busy, self.log

    def descriptors(self, pid: int | None = None) -> int:
        return len(os.listdir(f"/proc/{pid or self.pid}/fd"))

    # --- ending it ---------------------------------------------------------------------------------------

    def signal(self, signum: int) -> None:
        self.process.send_signal(signum)

    def wait(self, deadline_s: float = DEADLINE_S) -> int:
        """Wait for its end and for the end of its output. Return the exit status."""
        code = self.process.wait(deadline_s)
        for reader in self._readers:
            reader.join(deadline_s)
        return code

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.wait()


def run_prefork(
    *arguments: str,
    prefix: Sequence[str] = (),
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
) -> Finished:
    """Run a `prefork` command that ends by itself, under the command `prefix` if there is one. A server takes
    no port that another program may have, unless an option says so.
    """
    own = {"PORT": "0"} if arguments[:1] == ("serve",) else {}
    return subprocess.run(
        [*prefix, sys.executable, "-m", "prefork", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=cwd,
        env=os.environ | own | (env or {}),
        check=False,
    )


def start_server(*arguments: str, **settings: Any) -> Server:
    """Start `prefork serve` with these arguments."""
    return Server(start_process(*arguments, **settings))


def start_process(*arguments: str, **settings: Any) -> subprocess.Popen[str]:
    return start_program("-m", "prefork", "serve", *arguments, **settings)


def start_program(
    *arguments: str,
    env: dict[str, str] | None = None,
    parameters: dict[str, Any] | None = None,
    **settings: Any,
) -> subprocess.Popen[str]:
    """Start Python with these arguments; `parameters` is what `apps/parameters.py` gives the application.

    `settings` are those of `subprocess.Popen`. An output that they set is not read.
    """
    own = {"PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=settings.pop("stdout", subprocess.PIPE),
        stderr=settings.pop("stderr", subprocess.PIPE),
        text=True,
        env=os.environ | own | environment(parameters or {}) | (env or {}),
        **settings,
    )


def environment(parameters: dict[str, Any]) -> dict[str, str]:
    """The variables through which `apps/parameters.py` reads the parameters of a test."""
    return {"TEST_PARAMETERS": repr(parameters)}


def write_app(directory: Path, source: str, name: str = "app.py") -> Path:
    """Removes the bytecode of what was there: Python trusts it if the source has the same size and second."""
    path = directory / name
    path.write_text(textwrap.dedent(source))
    Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)
    return path


@contextlib.contextmanager
def running(*arguments: str, **options: Any) -> Iterator[Server]:
    server = start_server(*arguments, **options)
    try:
        yield server.wait_serving()
    finally:
        server.kill()


def status_json(glue: str) -> dict[str, Any]:
    """What `prefork status --json` prints."""
    done = run_prefork("status", "--glue", glue, "--json")
    assert done.returncode == 0, done.stderr
    loaded: dict[str, Any] = json.loads(done.stdout)
    return loaded


Serve: TypeAlias = Callable[..., Server]
"""The fixture `serve`."""
