"""Clients that send each request at its time, whether earlier ones have responses or not.

Latency counts from the moment at which a request was meant to be sent: a server that is late keeps its next
requests waiting, and that is its latency too (no coordinated omission). A request goes over any connection
that is idle; while none is, it waits for one.

Always: every request gets a response or is counted as failed. A connection that the server closes counts
as closed; it is opened again when it is needed, at once if a request was under way on it. None is opened
before there is a request to send: a server that serves one connection at a time would wait for it.
"""

from __future__ import annotations

import contextlib
import random
import re
import select
import socket
import ssl
import time
from collections import deque
from dataclasses import dataclass, field

from bench.load import CONNECTIONS
from bench.servers import Server, request

TIMEOUT_S = 5.0
ARRIVAL_S = 0.01
"""The connections come one after the other, as they would: so they are spread over the workers."""
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
LAST = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)


@dataclass(frozen=True)
class ScheduledRequest:
    """A request that is due so many seconds after the beginning."""

    due_s: float
    path: str


@dataclass
class Results:
    """The results of a schedule. The latencies are in seconds, one for each request, in no order."""

    latencies_s: list[float] = field(default_factory=list)
    failed: int = 0
    closed: int = 0


@dataclass(eq=False)
class Connection:
    """One keep-alive connection and the request that is under way on it."""

    server: Server
    socket: socket.socket | None = None
    request: ScheduledRequest | None = None
    response: bytes = b""

    def fileno(self) -> int:
        return self.socket.fileno() if self.socket else -1

    def put(self, wanted: ScheduledRequest) -> None:
        """Sends it. If that fails, the connection was closed, and the next read shows that."""
        if self.socket is None:
            self.socket = self.server.connect()
            self.socket.setblocking(False)  # a ticket is no response
        self.request, self.response = wanted, b""
        with contextlib.suppress(OSError):
            self.socket.sendall(request(wanted.path))

    def close(self) -> None:
        if self.socket:
            self.socket.close()
        self.socket = None


class Clients:
    """64 connections to one server, from `with` to the end of it."""

    def __init__(self, server: Server, seed: int) -> None:
        self._chance = random.Random(seed)
        self._connections = [Connection(server) for _ in range(CONNECTIONS)]
        self._results = Results()
        self._began = 0.0

    def __enter__(self) -> Clients:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._connections:
            connection.close()

    def send(self, schedule: list[ScheduledRequest]) -> Results:
        """Sends all of it, in the order in which it is due."""
        self._results = Results()
        coming, waiting = deque(schedule), deque[ScheduledRequest]()
        ends_s = schedule[-1].due_s + TIMEOUT_S
        self._began = time.monotonic()
        while (now := self._now()) < ends_s:
            while coming and coming[0].due_s <= now:
                waiting.append(coming.popleft())
            self._send(waiting, 1 + int(now / ARRIVAL_S))
            busy = [connection for connection in self._connections if connection.request]
            if not (busy or waiting or coming):
                break
            # Idle ones too: the server may close them. select() is exact to the microsecond, epoll_wait()
            # to the millisecond.
            timeout_s = (coming[0].due_s if coming else ends_s) - self._now()
            opened = [connection for connection in self._connections if connection.socket]
            for connection in select.select(opened, [], [], max(0.0, timeout_s))[0]:
                self._receive(connection)
        lost = len(schedule) - len(self._results.latencies_s)
        self._results.failed += lost
        self._results.latencies_s += [TIMEOUT_S] * lost
        return self._results

    def _now(self) -> float:
        return time.monotonic() - self._began

    def _send(self, waiting: deque[ScheduledRequest], arrived: int) -> None:
        here = (connection for connection in self._connections[:arrived] if not connection.request)
        idle = list(here)
        while waiting and idle:
            idle.pop(self._chance.randrange(len(idle))).put(waiting.popleft())

    def _receive(self, connection: Connection) -> None:
        part = b""
        if connection.socket:
            try:
                part = connection.socket.recv(65536)
            except ssl.SSLWantReadError:
                return  # a record without data, or not all of one
            except OSError:
                pass
        if not part:
            self._close(connection)
            if connection.request:
                connection.put(connection.request)
            return
        connection.response += part
        head, end, body = connection.response.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if not end or len(body) < (int(length[1]) if length else 0):
            return
        if connection.request:
            self._results.latencies_s.append(self._now() - connection.request.due_s)
        self._results.failed += not head.startswith(b"HTTP/1.1 200")
        connection.request = None
        if LAST.search(head):
            self._close(connection)

    def _close(self, connection: Connection) -> None:
        self._results.closed += 1
        connection.close()
