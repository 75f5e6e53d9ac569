"""The admin listener of a running pool, over TCP and over a Unix socket."""

from __future__ import annotations

import contextlib
import http.client
import socket
from typing import Any

from support.server import Server
from support.waiting import DEADLINE_S

LOCAL = "127.0.0.1:0"
"""An address for `--admin`. The manager says which port was chosen."""


def addresses(server: Server) -> list[str]:
    """Those of the listener, as the manager says them."""
    from prefork.pool.scoreboard import open_scoreboard

    assert server.glue
    board, _, about = open_scoreboard(server.glue)
    board.close()
    found: list[str] = about["admin"]
    return found


def admin_url(server: Server) -> str:
    """The first of them."""
    return addresses(server)[0]


def connect_to(url: str, timeout_s: float = DEADLINE_S) -> socket.socket:
    if url.startswith("unix:"):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(timeout_s)
        try:
            sock.connect(url.removeprefix("unix:"))
        except OSError:
            sock.close()
            raise
        return sock
    host, _, port = url.removeprefix("http://").rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), timeout=timeout_s)


def request(
    url: str, path: str = "/healthz", method: str = "GET", body: Any = None, **fields: str
) -> tuple[int, dict[str, str], str]:
    """Send one request on a connection of its own. Return status, header fields (lower case), body. `fields`
    have underscores for hyphens; `Host` replaces the one that fits.
    """
    connection = http.client.HTTPConnection("localhost", timeout=DEADLINE_S)
    connection.sock = connect_to(url)
    with contextlib.closing(connection):
        given = {name.replace("_", "-"): value for name, value in fields.items()}
        connection.request(method, path, body=body, headers=given)
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return response.status, found, response.read().decode()


def get(url: str, path: str, **fields: str) -> str:
    """GET a page and return its text. The status must be 200."""
    status, _, text = request(url, path, **fields)
    assert status == 200, (status, text)
    return text
