"""The load: wrk on its core for some seconds, and what the server spent on it."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.machine import pinned
from bench.processes import cpu_ns
from bench.servers import Server

CONNECTIONS = 64
TOLERATED = 0.001
"""Part of the requests that may fail: a machine that stalls for seconds costs a few their patience."""
SCRIPT = Path(__file__).with_name("load.lua")


@dataclass(frozen=True)
class Mode:
    """How clients ask. `depth` requests are sent at once."""

    name: str
    depth: int = 1
    close: bool = False


KEEP_ALIVE = Mode("keep-alive")
PIPELINED = Mode("pipelined, 16 deep", depth=16)
CLOSE = Mode("one request per connection", close=True)
MODES = (KEEP_ALIVE, PIPELINED, CLOSE)


@dataclass(frozen=True)
class Run:
    """What came of one load. `busy` is the part of the time in which the server had its core.

    Well below 1, it waited for the load generator or for others on its core, and the requests per second are
    not all that it can do; the CPU time of one is what it is.
    """

    requests_per_s: float
    cpu_us_per_request: float
    busy: float


def drive(server: Server, mode: Mode, seconds: int, core: int) -> Run:
    """Loads a server. Raises RuntimeError if more than a few requests failed."""
    command = ["wrk", "--threads", "1", "--connections", str(CONNECTIONS), "--duration", str(seconds)]
    if mode.close:
        command += ["--header", "Connection: close"]
    before = cpu_ns(server.pid)
    with pinned(core):
        command += ["--script", str(SCRIPT), server.url, "--", str(mode.depth)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 20, check=False)
    spent_us = (cpu_ns(server.pid) - before) / 1000
    try:
        told = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        raise RuntimeError(f"wrk failed: {done.stdout[-300:]}{done.stderr[-300:]}") from None
    if told["errors"] > told["requests"] * TOLERATED or not told["requests"]:
        raise RuntimeError(f"{server.name}, {mode.name}: {told['errors']} of {told['requests']} failed")
    return Run(
        requests_per_s=told["requests"] / told["duration_us"] * 1e6,
        cpu_us_per_request=spent_us / told["requests"],
        busy=spent_us / told["duration_us"],
    )
