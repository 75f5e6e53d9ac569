"""The load by wrk, or by h2load: on its core for some seconds, and what the server spent on it."""

from __future__ import annotations

import json
import re
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


HTTP2_CONNECTIONS, STREAMS = 8, 16
DONE = re.compile(r"^requests: \d+ total, \d+ started, (\d+) done, (\d+) succeeded", re.MULTILINE)
RATE = re.compile(r"^finished in [\d.]+m?s, ([\d.]+) req/s", re.MULTILINE)


def by_h2load(seconds: int, core: int, *, http1: bool = False) -> Load[Run]:
    """8 connections with 16 requests at once on each: as streams, or pipelined in HTTP/1.1."""
    options = f"-c {HTTP2_CONNECTIONS} -m {STREAMS} -D {seconds}{' --h1' if http1 else ''}"
    command = ["h2load", *options.split()]

    def load(server: Server, _: int) -> Run:
        before = cpu_ns(server.pid)
        with pinned(core):
            done = subprocess.run(
                [*command, server.url], capture_output=True, text=True, timeout=seconds + 20, check=False
            )
        spent_us = (cpu_ns(server.pid) - before) / 1000
        counts, rate = DONE.search(done.stdout), RATE.search(done.stdout)
        if not counts or not rate or not int(counts[1]) or float(rate[1]) == 0:
            raise RuntimeError(f"h2load failed: {done.stdout[-300:]}{done.stderr[-300:]}")
        requests, succeeded = int(counts[1]), int(counts[2])
        if requests - succeeded > requests * TOLERATED:
            raise RuntimeError(f"{server.name}: {requests - succeeded} of {requests} failed")
        per_s = float(rate[1])
        return Run(per_s=per_s, cpu_us=spent_us / requests, busy=spent_us / requests * per_s / 1e6)

    return load


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
