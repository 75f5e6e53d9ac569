"""TLS 1.3 beside nginx with OpenSSL on the same core: requests, handshakes, files; and the mixed load beside
the same without TLS.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable

from bench import mixed
from bench.findings import Figure, Findings, Setting
from bench.load import KEEP_ALIVE, Mode, by_wrk
from bench.machine import pinned
from bench.memory import KIB, measure_connection
from bench.processes import cpu_ns
from bench.recipes import FILES, MIXED_PREFORK, TLS_MIXED, TLS_NGINX, TLS_PREFORK
from bench.rounds import Load, measure
from bench.runs import Run, compare, cpu, details, rate, table
from bench.servers import Server

RECIPES = (TLS_NGINX, TLS_PREFORK)
MIXES = (MIXED_PREFORK, TLS_MIXED)
FULL, RESUMED = "full handshakes, P-256", "resumed handshakes"
LARGE = max(FILES, key=lambda path: FILES[path])
LARGE_FILE = Mode("file of 1,024 KiB", path=LARGE)


def run(setting: Setting) -> Findings:
    effort, core = setting.effort, setting.cores.client
    loads = by_wrk((KEEP_ALIVE, LARGE_FILE), effort.run_s, core)
    loads |= {
        FULL: by_handshakes(False, effort.run_s, core),
        RESUMED: by_handshakes(True, effort.run_s, core),
    }
    rounds = measure(RECIPES, loads, effort.rounds, setting)

    def against(name: str, load: str, value: Callable[[Run], float], target: tuple[str, float]) -> Figure:
        return compare(name, rounds, load, TLS_PREFORK, TLS_NGINX, value, target)

    figures = [
        against("WSGI hello over TLS: CPU per request", KEEP_ALIVE.name, cpu, ("<=", 0.9)),
        against("full handshake and a request: CPU", FULL, cpu, ("<=", 0.6)),
        against("resumed handshake and a request: CPU", RESUMED, cpu, ("<=", 0.6)),
        against("static file of 1,024 KiB over TLS: requests/s", LARGE_FILE.name, rate, (">=", 1.0)),
    ]
    tables = [table(f"TLS 1.3, {name}", rounds, name, RECIPES, TLS_NGINX, "requests") for name in loads]
    setting.log("idle connections")
    idle = measure_connection(setting.cores, TLS_PREFORK)
    figures.append(
        Figure("memory of an idle TLS 1.3 connection, 10,000 held", idle / KIB, "KiB", ("<=", 3.0))
    )
    mixes = mixed.measure_mixes(MIXES, setting)
    for name in ("p90", "p99"):
        ratio = mixes.ratio(TLS_MIXED, MIXED_PREFORK, mixed.LOAD, mixed.PERCENTILES[name])
        figures.append(
            Figure(f"mixed load over TLS: {name}", ratio, "of plain", ("<=", 1.1), mixes.why(*MIXES))
        )
    found = details(rounds, loads) | {"idle_bytes": idle, "mixed": mixed.details(mixes)}
    return Findings(figures, [*tables, mixed.table(mixes, MIXES)], found)


def by_handshakes(resumed: bool, seconds: float, core: int) -> Load[Run]:
    return lambda server, _: shake_hands(server, resumed, seconds, core)


def shake_hands(server: Server, resumed: bool, seconds: float, core: int) -> Run:
    """Opens one connection after the other, each for one request."""
    count = 0
    with pinned(core):
        session = _once(server, None)
        before, began = cpu_ns(server.pid), time.monotonic()
        while time.monotonic() < began + seconds:
            session = _once(server, session if resumed else None)
            count += 1
        took_s, spent_us = time.monotonic() - began, (cpu_ns(server.pid) - before) / 1000
    return Run(per_s=count / took_s, cpu_us=spent_us / count, busy=spent_us / took_s / 1e6)


def _once(server: Server, session: ssl.SSLSession | None) -> ssl.SSLSession | None:
    with server.connect(session) as sock:
        if not isinstance(sock, ssl.SSLSocket) or sock.session_reused != (session is not None):
            raise RuntimeError(f"{server.name}: the session was not resumed as asked for")
        if not server.get(sock).startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"{server.name}: not the response")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # no port waits
        return sock.session
