"""A line on the terminal for each request: method, path, status, time.

The engine writes what each line has into a pipe, as an access log; the manager reads it and prints the lines
in colors. So also a file that the engine serves has one, and a stuck worker keeps no line of another.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from prefork._engine import AccessLog
from prefork.logs.colors import BLUE, BOLD, DIM, GREEN, RED, YELLOW, painted
from prefork.logs.console import announce_lines
from prefork.pool.attached import Attached

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from prefork.pool.manager import Manager
    from prefork.pool.server import PreForkServer

FORMAT = "%(m)s\t%(U)s\t%(q)s\t%(s)s\t%(M)s"
"""The engine escapes what a client has sent, so that no field has a tab."""

STATUSES = {"2": GREEN, "3": BLUE, "4": YELLOW, "5": RED}

SLOW_MS = 1000
"""A time from which it is shown as slow."""


def request_line(fields: bytes, *, in_colors: bool) -> str:
    """What is printed for a line of FORMAT."""
    method, path, query, status, ms = fields.decode(errors="replace").split("\t")
    query = "" if query in ("", "-") else f"?{query}"
    time_color = YELLOW if ms.isdecimal() and int(ms) >= SLOW_MS else DIM
    return " ".join(
        (
            painted(f"{method:<6}", BOLD, in_colors),
            painted(status, STATUSES.get(status[:1], BOLD), in_colors),
            f"{path}{painted(query, DIM, in_colors)}",
            painted(f"{ms} ms", time_color, in_colors),
        )
    )


class RequestLines(Attached):
    """Attached to a manager. `own_end` is where the engine writes: workers have it, and nothing closes it."""

    def __init__(self, server: PreForkServer, *, in_colors: bool) -> None:
        self._loop: AbstractEventLoop | None = None
        self._in_colors = in_colors
        self._rest = b""
        self._output, self._own_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._is_open = True
        server.access_logs.append(AccessLog(self._own_end, FORMAT, []))

    def attach(self, manager: Manager) -> RequestLines:
        """The pool is made: prints from now on."""
        self._loop = manager.context.kernel.loop
        self._loop.add_reader(self._output, self._read)
        return self

    def _read(self) -> None:
        try:
            data = os.read(self._output, 1 << 16)
        except BlockingIOError:
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        if lines:
            announce_lines(request_line(line, in_colors=self._in_colors) for line in lines)

    # --- its life ----------------------------------------------------------------------------------------

    def leave(self) -> None:
        """Its workers finish here: goes on."""

    def close(self) -> None:
        """Prints what is left, and ends."""
        if self._is_open:
            self._read()
            if self._loop is not None:
                self._loop.remove_reader(self._output)
            self.discard()

    def discard(self) -> None:
        if self._is_open:
            self._is_open = False
            os.close(self._output)
