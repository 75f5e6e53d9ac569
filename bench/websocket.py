"""Echoes of a short text by WebSocket (RFC 6455): 64 connections, one message in flight on each.

The client does not offer compression. It masks, as every client must, and always with the same key: the
frame is made once.
"""

from __future__ import annotations

import socket

from bench.closed_loop import Talk, by_talk
from bench.findings import Findings, Setting
from bench.recipes import ASGI_GRANIAN, ASGI_PREFORK, ASGI_UVICORN, ASGI_UVLOOP
from bench.rounds import measure
from bench.runs import compare, cpu, details, rate, table
from bench.servers import Server

TEXT = b"Hello from the other side of the loopback."
OPENING = (
    b"GET /echo HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # the response to that key, RFC 6455 1.3
MASK = b"\x37\xfa\x21\x3d"
FINAL_TEXT, MASKED = 0x81, 0x80
MESSAGE = bytes([FINAL_TEXT, MASKED | len(TEXT)]) + MASK + bytes(b ^ MASK[i % 4] for i, b in enumerate(TEXT))
ECHO = bytes([FINAL_TEXT, len(TEXT)]) + TEXT
LOAD = "echo"
RECIPES = (ASGI_UVICORN, ASGI_PREFORK, ASGI_UVLOOP, ASGI_GRANIAN)


def run(setting: Setting) -> Findings:
    effort = setting.effort
    load = by_talk(TALK, effort.run_s, setting.cores.client)
    rounds = measure(RECIPES, {LOAD: load}, effort.rounds, setting)
    ours = (rounds, LOAD, ASGI_PREFORK, ASGI_UVICORN)
    figures = [
        compare("WebSocket echo: messages/s", *ours, rate, (">=", 1.3)),
        compare("WebSocket echo: CPU per message", *ours, cpu),
    ]
    shown = table("WebSocket echo, one worker on one core", rounds, LOAD, RECIPES, ASGI_UVICORN, "messages")
    return Findings(figures, [shown], details(rounds, [LOAD]))


def _open(server: Server) -> socket.socket:
    connection = server.connect()
    connection.sendall(OPENING)
    head = b""
    while b"\r\n\r\n" not in head:
        part = connection.recv(4096)
        head += part
        if not part or not head.startswith(b"HTTP/1.1 101"[: len(head)]):
            connection.close()
            raise RuntimeError(f"{server.name} opens no WebSocket: {head[:100]!r}")
    if ACCEPT not in head:
        raise RuntimeError(f"{server.name} sends a wrong Sec-WebSocket-Accept: {head!r}")
    return connection


def _length(response: bytes) -> int:
    if not ECHO.startswith(response):
        raise RuntimeError(f"not the echo: {response!r}")
    return len(ECHO)


TALK = Talk(_open, MESSAGE, _length)
