"""The other end of the control socket: what the commands of an operator use.

Always: the process that responds is the one that holds the glue, whatever file is at the path. What it sends
is checked before it is shown.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from prefork.admin.messages import FAILED, VERSION, Failure, write_request
from prefork.errors import ScoreboardUnavailable
from prefork.pool.scoreboard import open_scoreboard
from prefork.status import only_glue

LONGEST_BYTES = 16 * 1024 * 1024
"""The longest line of a manager."""
GRACE_S = 5.0
"""How long after the time that the client waits a manager may take to say so."""
CONNECT_S = 5.0
LAST_S = 5.0
"""How long the process of a server that has stopped may still take to end."""


class Pool(NamedTuple):
    """A pool that runs, and where its control socket is, if it has one."""

    glue: str
    manager: int
    """The pid of its manager."""
    path: str | None


def find_pool(glue: str | None) -> Pool:
    """The pool with this glue, or the only one.

    Raises ScoreboardUnavailable if there is none, OptionError if there are several, Failure if its manager
    does not respond.
    """
    glue = glue or only_glue()
    board, manager, about = open_scoreboard(glue)
    board.close()
    if not isinstance(about, dict):
        raise Failure(
            f"the manager {manager} of the pool {glue} does not respond: is it stopped, or another version's?"
        )
    control = about.get("control")
    path = control.get("path") if isinstance(control, dict) else None
    return Pool(glue, manager, path if isinstance(path, str) else None)


def ask(
    pool: Pool,
    command: str,
    arguments: dict[str, Any],
    *,
    timeout_s: float | None,
    progressed: Callable[[dict[str, Any]], object],
) -> dict[str, Any]:
    """Has the manager carry out a command. Returns its response, which has `ok`.

    `progressed` is called with each line of progress. Raises ScoreboardUnavailable if the pool has no control
    socket, and Failure if the manager does not respond, or not as this version does.
    """
    until = None if timeout_s is None else time.monotonic() + timeout_s + GRACE_S
    with _connect(pool) as connection:
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # a response says why
                connection.sendall(write_request(command, arguments, timeout_s))
            for message in _messages(connection, until):
                if "ok" in message:
                    return message
                if isinstance(message.get("progress"), dict):
                    progressed(message["progress"])
        except TimeoutError:
            raise _unreachable(pool, "it does not respond") from None
        except OSError as error:
            raise _unreachable(pool, error.strerror or str(error)) from None
    if not _is_alive(pool.manager):
        return {"version": VERSION, "ok": False, "error": "the server has ended meanwhile", "status": FAILED}
    raise _unreachable(pool, "it has closed the connection without a response")


def _messages(connection: socket.socket, until: float | None) -> Iterator[dict[str, Any]]:
    received = bytearray()
    while True:
        connection.settimeout(None if until is None else max(0.001, until - time.monotonic()))
        part = connection.recv(65536)
        if not part:
            return
        received += part
        *lines, rest = received.split(b"\n")
        received = bytearray(rest)
        if len(received) > LONGEST_BYTES:
            raise OSError("it sends a line without end")
        for line in lines:
            with contextlib.suppress(ValueError):
                message = json.loads(line)
                if isinstance(message, dict) and message.get("version") == VERSION:
                    yield message
                    continue
            raise OSError("it is of another version: use the command prefork that the server runs")


def _connect(pool: Pool) -> socket.socket:
    """Raises ScoreboardUnavailable and Failure."""
    if pool.path is None:
        raise ScoreboardUnavailable(
            f"the pool {pool.glue} has no control socket: it was started with --control-socket off, or could "
            "make none (its log says why)"
        )
    error: OSError = FileNotFoundError(2, "No such file or directory")
    # Its root directory may be another one (--chroot, a container).
    for path in (pool.path, f"/proc/{pool.manager}/root{pool.path}"):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(CONNECT_S)
        try:
            _connect_to(connection, path)
            if _pid_of(connection) == pool.manager:
                return connection
        except OSError as refused:
            error = refused
        connection.close()
    raise _unreachable(pool, f"{pool.path}: {error.strerror or error}")


def _connect_to(connection: socket.socket, path: str) -> None:
    """Waits while the queue of the manager is full: the system does not, for a socket with a timeout."""
    until = time.monotonic() + CONNECT_S
    while True:
        try:
            connection.connect(path)
        except BlockingIOError:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


def _pid_of(connection: socket.socket) -> int:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    pid: int = struct.unpack("iII", credentials)[0]
    return pid


def _unreachable(pool: Pool, why: str) -> Failure:
    return Failure(f"the manager {pool.manager} of the pool {pool.glue} cannot be asked: {why}")


@contextlib.contextmanager
def end_of(pool: Pool) -> Iterator[Callable[[], bool]]:
    """Yields a function that waits for the end of the manager's process, for a moment, and returns whether it
    has come. A program may go on after its server.
    """
    try:
        pidfd = os.pidfd_open(pool.manager)
    except OSError:
        yield lambda: True
        return
    try:
        yield lambda: bool(select.select([pidfd], [], [], LAST_S)[0])
    finally:
        os.close(pidfd)


def _is_alive(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")
