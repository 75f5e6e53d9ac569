"""The control socket of a running pool, spoken to as its commands do, and as no command would."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import Any

from support.server import Finished, Server, run_prefork
from support.waiting import DEADLINE_S, wait_until


def control_path(server: Server) -> str:
    """Where the manager says that its control socket is."""
    from prefork.pool.scoreboard import open_scoreboard

    assert server.glue
    board, _, about = open_scoreboard(server.glue)
    board.close()
    path: str = about["control"]["path"]
    return path


def connect_to(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(DEADLINE_S)
    wait_until(lambda: _connects(sock, path), "room in the queue of the manager")
    return sock


def _connects(sock: socket.socket, path: str) -> bool:
    with contextlib.suppress(BlockingIOError):
        sock.connect(path)
        return True
    return False


def read_response(sock: socket.socket) -> dict[str, Any]:
    """Read lines up to the one that ends the request, and return that."""
    with sock.makefile("rb") as stream:
        for line in stream:
            message: dict[str, Any] = json.loads(line)
            assert message["version"] == 1
            if "ok" in message:
                return message
    raise AssertionError("closed without a response")


def ask(path: str, command: str, **arguments: Any) -> dict[str, Any]:
    """Send one request on a connection of its own, and return the response."""
    with connect_to(path) as sock:
        request = {"version": 1, "command": command, "arguments": arguments, "timeout_s": DEADLINE_S}
        sock.sendall(json.dumps(request).encode() + b"\n")
        return read_response(sock)


def command(server: Server, *arguments: str) -> Finished:
    """Run `prefork ... --glue` for this server."""
    assert server.glue
    name, *rest = arguments
    return run_prefork(name, "--glue", server.glue, *rest)


def done(server: Server, *arguments: str) -> str:
    """What a command that succeeds prints."""
    finished = command(server, *arguments)
    assert (finished.returncode, finished.stderr) == (0, "")
    return finished.stdout.rstrip("\n")
