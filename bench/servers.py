"""The servers: how each is started on its core, checked, and ended."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.machine import pinned

PATH = "/bar/hello"
BODY = "Hello from the other side of the loopback.\n"
CERT, KEY = (str(Path("tests/support/tls", name).resolve()) for name in ("cert.pem", "key.pem"))
"""Of P-256."""
START_S = 10.0
STOP_S = 1.0


@dataclass(frozen=True)
class Recipe:
    """A kind of server. `command` is given a free port of 127.0.0.1 and a directory of its own.

    `responds_at_start`: wait for a first response. A request takes a spare of a pool, which may then grow.
    `start_s`: how long it may take to start. `tls`: it speaks TLS, with `CERT` and `KEY`. `http2`: clients
    speak HTTP/2 to it.
    """

    name: str
    command: Callable[[int, Path], list[str]]
    responds_at_start: bool = True
    start_s: float = START_S
    tls: bool = False
    http2: bool = False

    @property
    def kind(self) -> str:
        """The name up to the comma."""
        return self.name.partition(",")[0]


class Server:
    """One that runs, from `with` to the end of it."""

    def __init__(self, recipe: Recipe, core: int) -> None:
        self.name = recipe.name
        self._responds_at_start = recipe.responds_at_start
        self._start_s = recipe.start_s
        self._tls = recipe.tls
        self.http2 = recipe.http2
        self.port = _free_port()
        self._directory = tempfile.TemporaryDirectory(prefix="prefork-bench-")
        self._log = Path(self._directory.name, "log")
        command = recipe.command(self.port, Path(self._directory.name))
        with pinned(core), self._log.open("wb") as log:
            # A session of its own: all of it can be ended at once, whatever it forked.
            try:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )
            except FileNotFoundError:
                raise RuntimeError(f"{Path(command[0]).name} is not installed") from None

    def __enter__(self) -> Self:
        try:
            if self._responds_at_start:
                self._await_response()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def output_tail(self) -> str:
        """The end of what it wrote on its standard output and error."""
        return self._log.read_text()[-500:]

    @property
    def url(self) -> str:
        return self.url_of(PATH)

    def url_of(self, path: str) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}{path}"

    def connect(self, session: ssl.SSLSession | None = None) -> socket.socket:
        """A new connection. `session`: of an earlier one over TLS, to be resumed."""
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=START_S)
        # As clients of HTTP/2 have it: a request must not wait until one before it is acknowledged (RFC 896).
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not self._tls:
            return sock
        return client_context(self.http2).wrap_socket(sock, session=session)

    def get(self, connection: socket.socket, path: str = PATH) -> bytes:
        """One GET over a connection that stays open. Returns the first bytes of the response, or b""."""
        connection.sendall(request(path))
        return connection.recv(4096)

    def pause(self) -> None:
        """Stops it and whatever it forked. Some servers spin on their core while they are idle."""
        os.killpg(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Undoes `pause`."""
        os.killpg(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """Ends it and whatever it forked."""
        with contextlib.suppress(ProcessLookupError):
            self.resume()
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._directory.cleanup()

    def _await_response(self) -> None:
        deadline = time.monotonic() + self._start_s
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError), self.connect() as connection:
                if self._responds(connection):
                    return
            time.sleep(0.02)
        raise RuntimeError(f"{self.name} does not respond; its output: {self.output_tail}")

    def _responds(self, connection: socket.socket) -> bool:
        if not self.http2:
            return self.get(connection).startswith(b"HTTP/1.1 200")
        connection.sendall(PREFACE)
        return connection.recv(FRAME_HEAD)[FRAME_KIND : FRAME_KIND + 1] == SETTINGS


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""How a client of HTTP/2 begins: with SETTINGS that change nothing (RFC 9113 3.4)."""
FRAME_HEAD, FRAME_KIND, SETTINGS = 9, 3, b"\x04"


@functools.cache
def client_context(http2: bool = False) -> ssl.SSLContext:
    """That of a client of TLS 1.3, which trusts the server whatever its certificate."""
    context = ssl.create_default_context()
    if http2:
        context.set_alpn_protocols(["h2"])
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def request(path: str = PATH) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def app(name: str, *arguments: str) -> Callable[[int, Path], list[str]]:
    """The command of a program in `bench/apps`, which takes its port as the first argument."""
    return lambda port, _directory: [sys.executable, "-m", f"bench.apps.{name}", str(port), *arguments]
