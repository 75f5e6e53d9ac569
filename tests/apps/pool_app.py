"""The application of the pool tests, and a remote control of its manager.

It is made with the `options` of its parameters. Other files named `pool_*.py` import it and add to it.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import resource
import socket
import sys
import time
from typing import Any
from urllib.parse import unquote

from parameters import PARAMETERS

from prefork import Kernel, PreForkServer, Session, event

EVENTS = ("pid", "hold", "ahold", "nap", "do", "one", "two")
HANDLERS = [{"dir": f"^/{name}(/.*)?$", "session": "PAGES", "event": name} for name in EVENTS]


class Pages(Session):
    """Each event responds to the path of its name, and to those below it."""

    alias = "PAGES"

    def __init__(self, names: dict[str, Any]) -> None:
        self.names = names
        self.forks: list[str] = []
        self.reported: list[Any] = []

    @event
    def pid(self, _request: Any, response: Any, _pattern: str) -> None:
        response.content = str(os.getpid())
        response.done()

    @event
    def hold(self, request: Any, response: Any, pattern: str) -> None:
        """Block this worker until the file `release` is there."""
        while not os.path.exists("release"):
            time.sleep(0.002)
        self.pid(request, response, pattern)

    @event
    async def ahold(self, request: Any, response: Any, pattern: str) -> None:
        """As `hold`, without blocking."""
        while not os.path.exists("release"):
            await asyncio.sleep(0.002)
        self.pid(request, response, pattern)

    @event
    async def nap(self, request: Any, response: Any, pattern: str) -> None:
        """Respond after as many seconds as the query has; nothing happens in this worker meanwhile."""
        await asyncio.sleep(float(request.query))
        self.pid(request, response, pattern)

    @event
    def do(self, request: Any, response: Any, _pattern: str) -> None:
        """Evaluate the query in this worker."""
        response.content = evaluate(unquote(request.query), self.names)
        response.done()

    @event
    def one(self, _request: Any, response: Any, _pattern: str) -> None:
        response.content = "one"
        response.done()

    @event
    def two(self, _request: Any, response: Any, _pattern: str) -> None:
        response.content = "two"
        response.done()

    @event
    def forked(self) -> None:
        self.forks.append(f"forked in {os.getpid()}")

    @event
    async def forked_slowly(self) -> None:
        await asyncio.sleep(0.01)
        self.forks.append(f"forked slowly in {os.getpid()}")

    @event
    def record(self, *what: Any) -> None:
        """Keep what is posted here, for a test to read."""
        self.reported.append(what)


class Remote(Session):
    """Evaluate in the manager what a test sends. It keeps the kernel running until it is closed."""

    alias = "REMOTE"

    def __init__(self, names: dict[str, Any]) -> None:
        self.names = names
        names["remote"] = self

    @event
    def _start(self) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"\0prefork-test-{os.getpid()}")
        self.kernel.loop.add_reader(self.socket.fileno(), self._read)

    def _read(self) -> None:
        code, test = self.socket.recvfrom(65536)
        self.socket.sendto(evaluate(code.decode(), self.names), test)

    def close(self) -> None:
        self.kernel.loop.remove_reader(self.socket.fileno())


def evaluate(code: str, names: dict[str, Any]) -> bytes:
    try:
        result = eval(code, names)
    except Exception as error:
        return json.dumps({"raised": repr(error)}).encode()
    return json.dumps({"value": result}, default=repr).encode()


kernel = Kernel()
server = PreForkServer(kernel, **{"handlers": HANDLERS} | PARAMETERS.get("options", {}))
names: dict[str, Any] = {
    "kernel": kernel,
    "server": server,
    "HANDLERS": HANDLERS,
    # Read inside the manager it is exact: no reader of the scoreboard is being accepted meanwhile.
    "descriptors": lambda: len(os.listdir("/proc/self/fd")),
    **{module.__name__: module for module in (asyncio, ctypes, os, resource, sys, time)},
}
pages = names["pages"] = kernel.add(Pages(names))
kernel.add(Remote(names))
exec(PARAMETERS.get("more", ""), names)
