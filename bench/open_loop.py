"""Clients that send each request at its time, whether earlier ones have responses or not.

Latency counts from the moment at which a request was meant to be sent: a server that is late keeps its next
requests waiting, and that is its latency too (no coordinated omission). A request goes over any connection
that is idle; while none is, it waits for one.

Always: every request gets a response or is counted as failed. A connection that the server closes counts
as closed; it is opened again when it is needed, at once if a request was under way on it. None is opened
before there is a request to send: a server that serves one connection at a time would wait for it.

There are 64 connections, or for a server of HTTP/2 8 with 8 streams each.
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
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bench.load import CONNECTIONS
from bench.servers import Server, request
from bench.streams import Streams

STREAMS = 8
"""Of each connection of HTTP/2."""
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


class Connection(Protocol):
    """What carries requests to a server."""

    socket: socket.socket | None

    def fileno(self) -> int: ...

    @property
    def room(self) -> int:
        """How many requests it takes now."""

    def put(self, wanted: ScheduledRequest) -> None:
        """Sends it. If that fails, the connection was closed, and the next read shows that."""

    def receive(self) -> tuple[list[tuple[ScheduledRequest, bool]], bool]:
        """The requests whose responses are complete, with whether these are right; and whether the server
        closes the connection.
        """

    def close(self) -> list[ScheduledRequest]:
        """Returns the requests that were under way."""


@dataclass(eq=False)
class KeptConnection:
    """One keep-alive connection of HTTP/1.1, and the request that is under way on it."""

    server: Server
    socket: socket.socket | None = None
    request: ScheduledRequest | None = None
    response: bytes = b""

    def fileno(self) -> int:
        return self.socket.fileno() if self.socket else -1

    @property
    def room(self) -> int:
        return 0 if self.request else 1

    def put(self, wanted: ScheduledRequest) -> None:
        if self.socket is None:
            self.socket = self.server.connect()
            self.socket.setblocking(False)  # a ticket is no response
        self.request, self.response = wanted, b""
        with contextlib.suppress(OSError):
            self.socket.sendall(request(wanted.path))

    def receive(self) -> tuple[list[tuple[ScheduledRequest, bool]], bool]:
        part = b""
        if self.socket:
            try:
                part = self.socket.recv(65536)
            except ssl.SSLWantReadError:
                return [], False  # a record without data, or not all of one
            except OSError:
                pass
        if not part:
            return [], True
        self.response += part
        head, end, body = self.response.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if not end or len(body) < (int(length[1]) if length else 0):
            return [], False
        done = [(self.request, head.startswith(b"HTTP/1.1 200"))] if self.request else []
        self.request = None
        return done, bool(LAST.search(head))

    def close(self) -> list[ScheduledRequest]:
        if self.socket:
            self.socket.close()
        lost = [self.request] if self.request else []
        self.socket = self.request = None
        return lost


class StreamConnection:
    """A connection of HTTP/2, and the requests that are under way on it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.socket: socket.socket | None = None
        self._streams = Streams()
        self._requests: dict[int, ScheduledRequest] = {}

    def fileno(self) -> int:
        return self.socket.fileno() if self.socket else -1

    @property
    def room(self) -> int:
        return 0 if self._streams.is_draining else STREAMS - len(self._requests)

    def put(self, wanted: ScheduledRequest) -> None:
        first = b""
        if self.socket is None:
            self.socket = self.server.connect()
            self.socket.setblocking(False)
            self._streams = Streams()
            first = self._streams.begin()
        stream, frames = self._streams.ask(wanted.path)
        self._requests[stream] = wanted
        with contextlib.suppress(OSError):
            self.socket.sendall(first + frames)

    def receive(self) -> tuple[list[tuple[ScheduledRequest, bool]], bool]:
        if self.socket is None:
            return [], True
        try:
            part = self.socket.recv(65536)
        except ssl.SSLWantReadError:
            return [], False
        except OSError:
            part = b""
        if not part:
            return [], True
        ended, replies = self._streams.read(part)
        with contextlib.suppress(OSError):
            self.socket.sendall(replies)
        done = []
        for stream, is_right in ended:
            wanted = self._requests.pop(stream)
            if is_right is None:
                self.put(wanted)
            else:
                done.append((wanted, is_right))
        return done, False

    def close(self) -> list[ScheduledRequest]:
        if self.socket:
            self.socket.close()
        self.socket = None
        self._streams = Streams()
        lost, self._requests = list(self._requests.values()), {}
        return lost


class Clients:
    """The connections to one server, from `with` to the end of it."""

    def __init__(self, server: Server, seed: int) -> None:
        self._chance = random.Random(seed)
        self._connections: Sequence[Connection] = (
            [StreamConnection(server) for _ in range(CONNECTIONS // STREAMS)]
            if server.http2
            else [KeptConnection(server) for _ in range(CONNECTIONS)]
        )
        self._results = Results()
        self._began = 0.0
        self._under_way = 0

    def __enter__(self) -> Clients:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._connections:
            connection.close()

    def send(self, schedule: list[ScheduledRequest]) -> Results:
        """Sends all of it, in the order in which it is due."""
        self._results, self._under_way = Results(), 0
        coming, waiting = deque(schedule), deque[ScheduledRequest]()
        ends_s = schedule[-1].due_s + TIMEOUT_S
        self._began = time.monotonic()
        while (now := self._now()) < ends_s:
            while coming and coming[0].due_s <= now:
                waiting.append(coming.popleft())
            self._send(waiting, 1 + int(now / ARRIVAL_S))
            if not (self._under_way or waiting or coming):
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
        here = self._connections[:arrived]
        rooms = [connection for connection in here for _ in range(connection.room)]
        while waiting and rooms:
            rooms.pop(self._chance.randrange(len(rooms))).put(waiting.popleft())
            self._under_way += 1

    def _receive(self, connection: Connection) -> None:
        done, is_closed = connection.receive()
        for wanted, is_right in done:
            self._results.latencies_s.append(self._now() - wanted.due_s)
            self._results.failed += not is_right
            self._under_way -= 1
        if is_closed:
            self._results.closed += 1
            for wanted in connection.close():
                connection.put(wanted)
