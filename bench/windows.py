"""Two servers that differ by little, compared in windows of milliseconds.

What they differ by is less than two runs of one server do. So they are loaded in turns for a few milliseconds
each, and each pair of such windows gives one difference: noise that lasts longer falls out of it, and the
median drops the rest. Processes differ by where their memory came to lie; so the servers are started again
and again, and the spread between the starts is the error that is shown.
"""

from __future__ import annotations

import socket
import statistics
import time
from dataclasses import dataclass

from bench.closed_loop import HELLO, Talk
from bench.findings import Setting
from bench.load import CONNECTIONS
from bench.machine import Cores, pinned
from bench.processes import cpu_ns
from bench.servers import Recipe, Server

ROUNDS_A_WINDOW = 40
REQUESTS_A_WINDOW = ROUNDS_A_WINDOW * CONNECTIONS
WARM_UP = 10


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
    """Sends to one server: a message on each connection, then again on each."""

    def __init__(self, server: Server, talk: Talk) -> None:
        self._server = server
        self._talk = talk
        self._connections: list[socket.socket] = []

    def __enter__(self) -> Client:
        self._connections = [self._talk.open(self._server) for _ in range(CONNECTIONS)]
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._connections:
            connection.close()

    def window(self) -> None:
        sent = self._talk.message
        for _ in range(ROUNDS_A_WINDOW):
            for connection in self._connections:
                connection.sendall(sent)
            for connection in self._connections:
                connection.recv(4096)

    def spent_ns(self) -> int:
        return cpu_ns(self._server.pid)


def measure(dearer: Recipe, bare: Recipe, setting: Setting, talk: Talk = HELLO) -> Cost:
    """What `dearer` spends more on a request: the median difference, averaged over the starts."""
    differences, plain = [], []
    for number in range(setting.effort.starts):
        setting.log(f"start {number + 1} of {setting.effort.starts}: {dearer.name}")
        difference, without = _compare(dearer, bare, talk, setting.effort.windows, setting.cores)
        differences.append(difference)
        plain.append(without)
    return Cost(
        ns=statistics.mean(differences),
        error_ns=statistics.stdev(differences) / len(differences) ** 0.5,
        without_ns=statistics.mean(plain),
    )


def _compare(dearer: Recipe, bare: Recipe, talk: Talk, windows: int, cores: Cores) -> tuple[float, float]:
    """The difference, and a request of the bare one; both in ns, of one start."""
    differences, plain = [], []
    with (
        Server(dearer, cores.server) as with_it,
        Server(bare, cores.server) as without_it,
        Client(with_it, talk) as first,
        Client(without_it, talk) as second,
        pinned(cores.client),
    ):
        pair = [first, second]
        before = [client.spent_ns() for client in pair]
        for number in range(WARM_UP + windows):
            for client in pair if number % 2 else reversed(pair):
                client.window()
            time.sleep(0.0005)  # until the last one sleeps: only then its CPU time is exact
            now = [client.spent_ns() for client in pair]
            dear, cheap = ((b - a) / REQUESTS_A_WINDOW for a, b in zip(before, now, strict=True))
            before = now
            if number >= WARM_UP:
                differences.append(dear - cheap)
                plain.append(cheap)
    return statistics.median(differences), statistics.median(plain)
