"""A client that sends its next message when the response is there: one in flight on each connection.

For what wrk cannot send. The client must not limit the server, so it does little: the message is made once,
and received bytes are counted and discarded by the kernel (MSG_TRUNC). A response of another length ends the
run with an error. Its content is checked once, before the measurement.
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

TIMEOUT_S = 5.0
LARGE = 1 << 20


@dataclass(frozen=True)
class Talk:
    """What is sent and expected. `open` makes a connection ready; `message` is sent again and again.

    `length` takes the beginning of the first response and returns the length of the whole, or 0 if it needs
    more. It raises RuntimeError for a response that is not the expected one.
    """

    open: Callable[[Server], socket.socket]
    message: bytes
    length: Callable[[bytes], int]


def by_talk(talk: Talk, seconds: float, core: int) -> Load[Run]:
    return lambda server, _: drive(server, talk, seconds, core)


def drive(server: Server, talk: Talk, seconds: float, core: int) -> Run:
    """Loads a server. Raises RuntimeError or OSError if a response has not the length of the first."""
    with pinned(core), ExitStack() as stack:
        connections = [stack.enter_context(talk.open(server)) for _ in range(CONNECTIONS)]
        sizes = {exchange_once(connection, talk) for connection in connections}
        if len(sizes) > 1:
            raise RuntimeError(f"{server.name}: responses of {sizes} bytes")
        for connection in connections:
            connection.setblocking(False)
        before = cpu_ns(server.pid)
        gc.disable()
        try:
            responses, took_s = _talk(connections, talk.message, sizes.pop(), seconds)
        finally:
            gc.enable()
        spent_us = (cpu_ns(server.pid) - before) / 1000
    return Run(per_s=responses / took_s, cpu_us=spent_us / responses, busy=spent_us / took_s / 1e6)


def exchange_once(connection: socket.socket, talk: Talk) -> int:
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
    """How many responses came, in how many seconds. At the end no response is outstanding."""
    by_fd = {connection.fileno(): connection for connection in connections}
    receive = {fd: connection.recv_into for fd, connection in by_fd.items()}
    send = {fd: connection.send for fd, connection in by_fd.items()}
    left = dict.fromkeys(by_fd, size)
    sink = bytearray(LARGE)
    responses = 0
    began = time.monotonic()
    until = began + seconds
    with select.epoll() as epoll:
        for fd, send_message in send.items():
            epoll.register(fd, select.EPOLLIN)
            send_message(message)
        outstanding = len(left)
        while outstanding:
            ready = epoll.poll(TIMEOUT_S)
            if not ready:
                raise RuntimeError(f"{outstanding} connections had no response in {TIMEOUT_S:.0f} s")
            goes_on = time.monotonic() < until
            for fd, _ in ready:
                received = receive[fd](sink, LARGE, socket.MSG_TRUNC)
                missing = left[fd] - received
                if missing > 0 and received:
                    left[fd] = missing
                    continue
                if missing or not received:
                    raise RuntimeError(f"a response was cut short or too long: {missing} of {size} bytes")
                responses += 1
                left[fd] = size
                if goes_on:
                    send[fd](message)
                else:
                    outstanding -= 1
    return responses, time.monotonic() - began


def _hello_length(response: bytes) -> int:
    """The bytes of the response; 0 until the whole body is there."""
    head, end, body = response.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"[: len(head)]):
        raise RuntimeError(f"not the greeting: {response[:200]!r}")
    return len(response) if end and body == BODY.encode() else 0


HELLO = Talk(Server.connect, request(), _hello_length)
