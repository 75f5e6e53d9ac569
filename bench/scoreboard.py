"""What the scoreboard costs on a request's path.

It is some ten nanoseconds of several thousand, less than two runs of one server differ by. So two servers
that differ by nothing else answer in turns for a few milliseconds each, and each pair of such windows gives
one difference: noise that lasts longer falls out of it, and the median drops the rest. Processes differ by
where their memory came to lie; so the servers are started again and again, and the spread between the starts
is the error that is told.
"""

from __future__ import annotations

import socket
import statistics
import time
from dataclasses import dataclass

from bench.load import CONNECTIONS
from bench.machine import Cores, pinned
from bench.processes import cpu_ns
from bench.servers import Recipe, Server, app, request

WITH = Recipe("with a scoreboard", app("scored", "yes"))
WITHOUT = Recipe("without a scoreboard", app("scored", "no"))
ROUNDS_A_WINDOW = 5
REQUESTS_A_WINDOW = ROUNDS_A_WINDOW * CONNECTIONS
WARM_UP = 20


@dataclass(frozen=True)
class Cost:
    """CPU time a request, and the standard error of it over the starts."""

    ns: float
    error_ns: float
    without_ns: float

    @property
    def share(self) -> float:
        return self.ns / self.without_ns

    @property
    def error_share(self) -> float:
        return self.error_ns / self.without_ns


class Client:
    """Asks one server over its connections, all of them and then all again."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._connections: list[socket.socket] = []

    def __enter__(self) -> Client:
        self._connections = [self._server.connect() for _ in range(CONNECTIONS)]
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._connections:
            connection.close()

    def window(self) -> None:
        sent = request()
        for _ in range(ROUNDS_A_WINDOW):
            for connection in self._connections:
                connection.sendall(sent)
            for connection in self._connections:
                connection.recv(4096)

    def spent_ns(self) -> int:
        return cpu_ns(self._server.pid)


def measure(starts: int, windows: int, cores: Cores) -> Cost:
    """The median difference of `windows` pairs, averaged over so many starts (two at least)."""
    differences, plain = [], []
    for _ in range(starts):
        difference, without = _compare(windows, cores)
        differences.append(difference)
        plain.append(without)
    return Cost(
        ns=statistics.mean(differences),
        error_ns=statistics.stdev(differences) / starts**0.5,
        without_ns=statistics.mean(plain),
    )


def _compare(windows: int, cores: Cores) -> tuple[float, float]:
    """The cost of the scoreboard, and a request without it; both in ns, of one start."""
    differences, plain = [], []
    with (
        Server(WITH, cores.server) as scored,
        Server(WITHOUT, cores.server) as bare,
        Client(scored) as first,
        Client(bare) as second,
        pinned(cores.client),
    ):
        pair = [first, second]
        before = [client.spent_ns() for client in pair]
        for number in range(WARM_UP + windows):
            for client in pair if number % 2 else reversed(pair):
                client.window()
            time.sleep(0.0005)  # until the last one sleeps: only then its CPU time is exact
            now = [client.spent_ns() for client in pair]
            with_it, without = ((b - a) / REQUESTS_A_WINDOW for a, b in zip(before, now, strict=True))
            before = now
            if number >= WARM_UP:
                differences.append(with_it - without)
                plain.append(without)
    return statistics.median(differences), statistics.median(plain)
