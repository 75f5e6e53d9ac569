"""A server whose place another manager takes: which one has the glue, and which ones are to be killed."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support.server import Server, running, write_app

APP = """
import os, time
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/slow":
        while not os.path.exists("release"):
            time.sleep(0.01)
    return [b"first %d" % os.getppid()]
"""


def manager(server: Server) -> int:
    """The one that holds the glue."""
    from prefork.pool.scoreboard import open_scoreboard

    assert server.glue
    found = open_scoreboard(server.glue)
    found.board.close()
    return found.manager


def kill_all(server: Server) -> None:
    """Whatever manager it has by now."""
    from prefork.errors import PreforkError

    with contextlib.suppress(PreforkError, ProcessLookupError):
        os.kill(manager(server), signal.SIGKILL)


@contextlib.contextmanager
def serving(
    directory: Path, *flags: str, source: str = APP, bind: str = "127.0.0.1:0", **settings: Any
) -> Iterator[Server]:
    app = write_app(directory, source)
    with running(str(app), "--bind", bind, "--workers", "2", *flags, cwd=directory, **settings) as server:
        try:
            yield server
        finally:
            kill_all(server)


def new_process(server: Server) -> int:
    """The process that an upgrade has begun, by the log."""
    return int(server.wait_log("upgrade: process").split("upgrade: process ")[1].split()[0])
