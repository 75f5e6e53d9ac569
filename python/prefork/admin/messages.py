"""What commands and managers write to each other: JSON, one object a line.

A request names a command and its arguments. The manager responds with any number of lines that have
`progress`, and with one that has `ok`. Each has the version of this protocol. What a client wrote is checked
here before anything is done with it. It must know no socket and no pool.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from prefork.errors import PreforkError

VERSION = 1
LONGEST_BYTES = 256 * 1024
"""The longest line of a client."""
LONGEST_WAIT_S = 86400.0

DONE, FAILED, MISUSED = 0, 1, 2
"""What the exit status of a command says."""


class Failure(PreforkError):
    """A command is not done: the pool does not do it, or not in time."""

    exit_status = FAILED


class Misuse(PreforkError):
    """A request that cannot be carried out: the client has to send another one."""

    exit_status = MISUSED


@dataclass(frozen=True, slots=True)
class Request:
    """`timeout_s` is how long the client waits until the command is done."""

    command: str
    arguments: dict[str, Any]
    timeout_s: float


def read_request(line: bytes) -> Request:
    """The request of one line. Raises Misuse."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise Misuse(f"expected a line of JSON, got {line[:40]!r}") from None
    if not isinstance(found, dict):
        raise Misuse(f"expected a JSON object, got {line[:40]!r}")
    if found.get("version") != VERSION:
        raise Misuse(
            f"expected version {VERSION} of the protocol, got {str(found.get('version'))[:40]!r}; use the "
            "command prefork of the version that the server runs"
        )
    command, arguments = found.get("command"), found.get("arguments", {})
    timeout_s = found.get("timeout_s", LONGEST_WAIT_S)
    if not isinstance(command, str) or not isinstance(arguments, dict):
        raise Misuse("expected a command, which is a text, and arguments, which are an object")
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, int | float) or not 0 <= timeout_s < math.inf:
        raise Misuse("expected a timeout_s, in seconds")
    return Request(command, arguments, min(float(timeout_s), LONGEST_WAIT_S))


def write_request(command: str, arguments: dict[str, Any], timeout_s: float | None) -> bytes:
    """The line of a request. `timeout_s` None waits as long as the manager does."""
    request = {"command": command, "arguments": arguments}
    return _line(request if timeout_s is None else request | {"timeout_s": timeout_s})


def progress(done: int, total: int, text: str) -> bytes:
    """`done` of `total` steps are done."""
    return _line({"progress": {"done": done, "total": total, "text": text}})


def success(text: str, result: Any, took_s: float) -> bytes:
    """The command is done. `text` says what happened, in a few words; `result` the same to programs."""
    return _line({"ok": True, "took_s": round(took_s, 4), "text": text, "result": result})


def failure(error: PreforkError, took_s: float) -> bytes:
    """The command is not done."""
    status = error.exit_status if isinstance(error, Failure | Misuse) else MISUSED
    return _line({"ok": False, "took_s": round(took_s, 4), "error": str(error), "status": status})


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps({"version": VERSION, **message}, default=str).encode() + b"\n"
