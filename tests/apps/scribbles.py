"""`/scribble` fills this worker's own pages of the scoreboard with garbage. Other paths respond at once."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def scribble() -> None:
    """Writes to all that this process can write of the scoreboard."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        place, access, *rest = line.split()
        if rest[-1:] == ["(deleted)"] and "prefork-scoreboard" in line and access.startswith("rw"):
            begin, end = (int(address, 16) for address in place.split("-"))
            ctypes.memset(begin, 0xA5, end - begin)


def wsgi(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/scribble":
        scribble()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"done"]
