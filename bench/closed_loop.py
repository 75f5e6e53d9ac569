"""A client that asks again as soon as it is answered: one message in flight on each of its connections.

For what wrk cannot ask. It must not be what limits the server, so it does next to nothing: what it sends is
made once, and what it receives is only counted, for the kernel throws it away (MSG_TRUNC). An answer of
another length ends the run with an error; that it is the right one is seen once, before the clock runs.
"""

from __future__ import annotations

import gc
import select
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from bench.load import CONNECTIONS
from bench.machine import pinned
from bench.processes import cpu_ns
from bench.rounds import Load
from bench.runs import Run
from bench.servers import BODY, Server, request

PATIENCE_S = 5.0
LARGE = 1 << 20


@dataclass(frozen=True)
class Talk:
    """What is said. `open` makes a connection ready; `message` is sent again and again.

    `length` is given the beginning of the first answer, more of it each time, until it tells how long all of
    it is; 0 says that it needs more. It raises RuntimeError for an answer that is not the right one.
    """

    open: Callable[[Server], socket.socket]
    message: bytes
    length: Callable[[bytes], int]


def by_talk(talk: Talk, seconds: float, core: int) -> Load[Run]:
    return lambda server, _: drive(server, talk, seconds, core)


def drive(server: Server, talk: Talk, seconds: float, core: int) -> Run:
    """Loads a server. Raises RuntimeError or OSError if one answer is not as the first was."""
    with pinned(core), ExitStack() as stack:
        connections = [stack.enter_context(talk.open(server)) for _ in range(CONNECTIONS)]
        sizes = {ask_once(connection, talk) for connection in connections}
        if len(sizes) > 1:
            raise RuntimeError(f"{server.name}: answers of {sizes} bytes")
        for connection in connections:
            connection.setblocking(False)
        before = cpu_ns(server.pid)
        gc.disable()
        try:
            answers, took_s = _talk(connections, talk.message, sizes.pop(), seconds)
        finally:
            gc.enable()
        spent_us = (cpu_ns(server.pid) - before) / 1000
    return Run(per_s=answers / took_s, cpu_us=spent_us / answers, busy=spent_us / took_s / 1e6)


def ask_once(connection: socket.socket, talk: Talk) -> int:
    """Sends the message and reads the response; returns its bytes."""
    connection.sendall(talk.message)
    return read_response(connection, talk)


def read_response(connection: socket.socket, talk: Talk) -> int:
    """Reads one response and returns its bytes. Raises RuntimeError if it is cut short or wrong."""
    response, size = b"", 0
    while not size or len(response) < size:
        part = connection.recv(LARGE)
        response += part
        if not part:
            raise RuntimeError(f"closed after {response[:100]!r}")
        size = size or talk.length(response)
    return size


def _talk(connections: list[socket.socket], message: bytes, size: int, seconds: float) -> tuple[int, float]:
    """How many answers came, in how many seconds; all that was asked is answered at the end."""
    by_fd = {connection.fileno(): connection for connection in connections}
    receive = {fd: connection.recv_into for fd, connection in by_fd.items()}
    send = {fd: connection.send for fd, connection in by_fd.items()}
    left = dict.fromkeys(by_fd, size)
    sink = bytearray(LARGE)
    answers = 0
    began = time.monotonic()
    until = began + seconds
    with select.epoll() as epoll:
        for fd, ask in send.items():
            epoll.register(fd, select.EPOLLIN)
            ask(message)
        open_questions = len(left)
        while open_questions:
            ready = epoll.poll(PATIENCE_S)
            if not ready:
                raise RuntimeError(f"{open_questions} connections were not answered in {PATIENCE_S:.0f} s")
            asking = time.monotonic() < until
            for fd, _ in ready:
                received = receive[fd](sink, LARGE, socket.MSG_TRUNC)
                missing = left[fd] - received
                if missing > 0 and received:
                    left[fd] = missing
                    continue
                if missing or not received:
                    raise RuntimeError(f"an answer was cut short or too long: {missing} of {size} bytes")
                answers += 1
                left[fd] = size
                if asking:
                    send[fd](message)
                else:
                    open_questions -= 1
    return answers, time.monotonic() - began


def _hello_length(response: bytes) -> int:
    """The bytes of the response; 0 until the whole body is there."""
    head, end, body = response.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"[: len(head)]):
        raise RuntimeError(f"not the greeting: {response[:200]!r}")
    return len(response) if end and body == BODY.encode() else 0


HELLO = Talk(Server.connect, request(), _hello_length)
