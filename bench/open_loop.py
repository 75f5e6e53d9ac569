"""Clients that ask when the clock says so, whether they have been answered or not.

Latency counts from the moment at which a request was meant to be sent: a server that is late keeps its next
requests waiting, and that is its latency too (no coordinated omission). A request goes over any connection
that is idle; while none is, it waits for one.

Always: every request is answered in the end or counted as failed. A connection that the server closes counts
as closed; it is opened again when it is needed, at once if a request was under way on it. None is opened
before there is something to say: a server that serves one connection at a time would wait for it.
"""

from __future__ import annotations

import contextlib
import random
import re
import select
import socket
import time
from collections import deque
from dataclasses import dataclass, field

from bench.load import CONNECTIONS
from bench.servers import Server, request

PATIENCE_S = 5.0
ARRIVAL_S = 0.01
"""The connections come one after the other, as they would: so they are spread over the workers."""
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
LAST = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)


@dataclass(frozen=True)
class Question:
    """A request that is due so many seconds after the beginning."""

    due_s: float
    path: str


@dataclass
class Answers:
    """What came of a schedule. The latencies are in seconds, in no order; one of each question."""

    latencies_s: list[float] = field(default_factory=list)
    failed: int = 0
    closed: int = 0


@dataclass(eq=False)
class Connection:
    """One keep-alive connection and what is under way on it."""

    server: Server
    socket: socket.socket | None = None
    question: Question | None = None
    answer: bytes = b""

    def fileno(self) -> int:
        return self.socket.fileno() if self.socket else -1

    def put(self, question: Question) -> None:
        """Sends it. If that fails, the connection was closed: who reads from it next finds out."""
        self.socket = self.socket or self.server.connect()
        self.question, self.answer = question, b""
        with contextlib.suppress(OSError):
            self.socket.sendall(request(question.path))

    def close(self) -> None:
        if self.socket:
            self.socket.close()
        self.socket = None


class Clients:
    """64 connections to one server, from `with` to the end of it."""

    def __init__(self, server: Server, seed: int) -> None:
        self._chance = random.Random(seed)
        self._connections = [Connection(server) for _ in range(CONNECTIONS)]
        self._answers = Answers()
        self._began = 0.0

    def __enter__(self) -> Clients:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._connections:
            connection.close()

    def ask(self, schedule: list[Question]) -> Answers:
        """Asks all of it, in the order in which it is due."""
        self._answers = Answers()
        coming, waiting = deque(schedule), deque[Question]()
        give_up_s = schedule[-1].due_s + PATIENCE_S
        self._began = time.monotonic()
        while (now := self._now()) < give_up_s:
            while coming and coming[0].due_s <= now:
                waiting.append(coming.popleft())
            self._send(waiting, 1 + int(now / ARRIVAL_S))
            busy = [connection for connection in self._connections if connection.question]
            if not (busy or waiting or coming):
                break
            # Idle ones too: the server may close them. select() is exact to the microsecond, epoll_wait()
            # to the millisecond.
            patience_s = (coming[0].due_s if coming else give_up_s) - self._now()
            opened = [connection for connection in self._connections if connection.socket]
            for connection in select.select(opened, [], [], max(0.0, patience_s))[0]:
                self._hear(connection)
        lost = len(schedule) - len(self._answers.latencies_s)
        self._answers.failed += lost
        self._answers.latencies_s += [PATIENCE_S] * lost
        return self._answers

    def _now(self) -> float:
        return time.monotonic() - self._began

    def _send(self, waiting: deque[Question], arrived: int) -> None:
        here = (connection for connection in self._connections[:arrived] if not connection.question)
        idle = list(here)
        while waiting and idle:
            idle.pop(self._chance.randrange(len(idle))).put(waiting.popleft())

    def _hear(self, connection: Connection) -> None:
        part = b""
        if connection.socket:
            with contextlib.suppress(OSError):
                part = connection.socket.recv(65536)
        if not part:
            self._lose(connection)
            if connection.question:
                connection.put(connection.question)
            return
        connection.answer += part
        head, end, body = connection.answer.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if not end or len(body) < (int(length[1]) if length else 0):
            return
        if connection.question:
            self._answers.latencies_s.append(self._now() - connection.question.due_s)
        self._answers.failed += not head.startswith(b"HTTP/1.1 200")
        connection.question = None
        if LAST.search(head):
            self._lose(connection)

    def _lose(self, connection: Connection) -> None:
        self._answers.closed += 1
        connection.close()
