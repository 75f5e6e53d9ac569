"""A client that takes little of a response before it reads, so that the server must wait for it."""

from __future__ import annotations

import contextlib
import socket

from support.server import Server
from support.waiting import DEADLINE_S

MIB = 1 << 20


def unread(server: Server) -> socket.socket:
    """A connection on which the kernel keeps little of what comes."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    sock.settimeout(DEADLINE_S)
    sock.connect((server.host, server.port))
    return server.begin(sock)


def ask(server: Server, target: str) -> socket.socket:
    """A connection on which `target` was asked for, and nothing is read yet."""
    sock = unread(server)
    sock.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    return sock


def begin(server: Server, target: str) -> socket.socket:
    """As `ask`, when the response has begun."""
    sock = ask(server, target)
    assert sock.recv(12) == b"HTTP/1.1 200"
    return sock


def drain(sock: socket.socket) -> int:
    """Reads to the end. Returns how many bytes came."""
    count = 0
    with contextlib.suppress(ConnectionResetError):
        while piece := sock.recv(MIB):
            count += len(piece)
    return count
