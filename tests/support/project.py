"""A project in a directory of its own, served by `prefork dev` while its files are saved."""

from __future__ import annotations

import http.client
import os
import ssl
import textwrap
from pathlib import Path
from typing import Any

from support.server import Server, start_program
from support.waiting import DEADLINE_S, wait_until


class Project:
    """`server` is known when it serves."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.server: Server
        self.servers: list[Server] = []
        self._connections: list[http.client.HTTPConnection] = []
        self._restarts = True

    def write(self, name: str, text: str, written_s: int | None = None) -> Path:
        """Save a file, as if it was written at a time of the clock. An editor writes another one, and gives
        it the name.
        """
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_text(textwrap.dedent(text))
        if written_s is not None:
            os.utime(new, (written_s, written_s))
        return new.replace(path)

    def start(self, *arguments: str, command: str = "dev", **settings: Any) -> Server:
        """Start a command with a target, and wait for nothing."""
        place = ("--bind", "127.0.0.1:0")
        process = start_program("-m", "prefork", command, *arguments, *place, cwd=self.root, **settings)
        self.server = Server(process)
        self.servers.append(self.server)
        self._restarts = command == "dev"
        return self.server

    def serve(self, *arguments: str, **settings: Any) -> Server:
        """As `start`, and wait until it serves."""
        return self.start(*arguments, **settings).wait_serving()

    def save(self, name: str, text: str, written_s: int | None = None) -> None:
        """Save a file, and wait until the server has heard of it, and no worker takes requests for the former
        code.
        """
        heard, former = self._heard(), max(self._generations("draining"))
        self.write(name, text, written_s)
        wait_until(lambda: self._heard() > heard, f"the server to hear of {name}")
        if self._restarts:
            # Former code may have become ready meanwhile.
            wait_until(lambda: min(self._generations(), default=0) > former, "the former workers to drain")

    def _generations(self, *states: str) -> list[int]:
        """Those of the workers that take requests, or will, or are in one of these states."""
        workers = self.server.status()["workers"]
        wanted = ("starting", "spare", "active", *states)
        return [one["generation"] for one in workers if one["state"] in wanted]

    def _heard(self) -> int:
        return sum("changed: " in line for line in list(self.server.err))

    def connect(self, tls: ssl.SSLContext | None = None) -> http.client.HTTPConnection:
        """A connection that stays open from request to request."""
        place = (self.server.host, self.server.port)
        if tls is None:
            connection = http.client.HTTPConnection(*place, timeout=DEADLINE_S)
        else:
            connection = http.client.HTTPSConnection(*place, timeout=DEADLINE_S, context=tls)
        self._connections.append(connection)
        return connection

    def close(self) -> None:
        """Close the connections, and kill what has been started."""
        for connection in self._connections:
            connection.close()
        for server in self.servers:
            server.kill()


def ask(connection: http.client.HTTPConnection, path: str = "/", **fields: str) -> tuple[int, str]:
    """Status and text of a response. The fields have underscores instead of dashes."""
    connection.request("GET", path, headers={name.replace("_", "-"): text for name, text in fields.items()})
    response = connection.getresponse()
    return response.status, response.read().decode()
