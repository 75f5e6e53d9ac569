"""The load by wrk: on its core for some seconds, and what the server spent on it."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.machine import pinned
from bench.processes import cpu_ns
from bench.rounds import Load
from bench.runs import Run
from bench.servers import PATH, Server

CONNECTIONS = 64
TOLERATED = 0.001
"""Part of the requests that may fail: on a machine that stalls for seconds a few time out."""
SCRIPT = Path(__file__).with_name("load.lua")


@dataclass(frozen=True)
class Mode:
    """How clients send: `depth` requests at once, for `path`."""

    name: str
    depth: int = 1
    close: bool = False
    path: str = PATH


KEEP_ALIVE = Mode("keep-alive")
PIPELINED = Mode("pipelined, 16 deep", depth=16)
CLOSE = Mode("one request per connection", close=True)


def by_wrk(modes: tuple[Mode, ...], seconds: int, core: int) -> dict[str, Load[Run]]:
    """The loads of these modes by their names."""

    def load(mode: Mode) -> Load[Run]:
        return lambda server, _: drive(server, mode, seconds, core)

    return {mode.name: load(mode) for mode in modes}


def drive(server: Server, mode: Mode, seconds: int, core: int) -> Run:
    """Loads a server. Raises RuntimeError if more than a few requests failed."""
    command = ["wrk", "--threads", "1", "--connections", str(CONNECTIONS), "--duration", str(seconds)]
    if mode.close:
        command += ["--header", "Connection: close"]
    before = cpu_ns(server.pid)
    with pinned(core):
        command += ["--script", str(SCRIPT), server.url_of(mode.path), "--", str(mode.depth)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 20, check=False)
    spent_us = (cpu_ns(server.pid) - before) / 1000
    try:
        result = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        raise RuntimeError(f"wrk failed: {done.stdout[-300:]}{done.stderr[-300:]}") from None
    if result["errors"] > result["requests"] * TOLERATED or not result["requests"]:
        raise RuntimeError(f"{server.name}, {mode.name}: {result['errors']} of {result['requests']} failed")
    return Run(
        per_s=result["requests"] / result["duration_us"] * 1e6,
        cpu_us=spent_us / result["requests"],
        busy=spent_us / result["duration_us"],
    )
