"""Leaves orphans behind, and has children of its own in the manager. With `slow` it loads slowly."""

from __future__ import annotations

import os
import subprocess
import time
from typing import Any

from parameters import PARAMETERS

if PARAMETERS.get("slow"):
    print("loading", flush=True)
    until_s = time.monotonic() + 60
    while time.monotonic() < until_s:
        time.sleep(0.01)  # of one long sleep Python may miss a signal that comes just before

if until := PARAMETERS.get("until"):
    print("loading", flush=True)
    while not os.path.exists(until):
        time.sleep(0.01)

own = subprocess.Popen(["sh", "-c", "exit 7"])


def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    subprocess.run(["sh", "-c", "sleep 0.01 & exit 0"], check=True)
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]


def worker_died() -> None:
    """In the manager."""
    print("own", own.wait(), flush=True)
