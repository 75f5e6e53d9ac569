"""The client of a failed application has its 500 before a line is in the log: its handler may be slow."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any

import pytest

from prefork import Request, Response
from prefork.config.checked import check
from prefork.config.options import AppOptions
from prefork.hosting.asgi import ASGIService
from prefork.hosting.wsgi import WSGIService
from support.engine import raw_request
from support.local_server import LocalServer


def wsgi(_environ: Any, _start_response: Any) -> Any:
    raise ValueError("on purpose")


async def asgi(_scope: Any, _receive: Any, _send: Any) -> None:
    raise ValueError("on purpose")


async def asgi_later(_scope: Any, _receive: Any, _send: Any) -> None:
    await asyncio.sleep(0.001)
    raise ValueError("on purpose")


def function() -> None:
    raise ValueError("on purpose")


async def async_function() -> None:
    await asyncio.sleep(0.001)
    raise ValueError("on purpose")


def drops(request: Request, response: Response, pattern: str) -> None:
    """It neither completes its response nor keeps it."""


def hosted(kind: Callable[..., Any], app: Any, **options: Any) -> LocalServer:
    return LocalServer(kind(app, check(AppOptions, options)))


def handled(handler: Any) -> LocalServer:
    local = LocalServer()
    local.server.handle("^/")(handler)
    return local


def posted(event: Any) -> LocalServer:
    local = LocalServer(handlers=[{"dir": "^/", "session": "PAGES", "event": "page"}])
    local.kernel.session("PAGES", {"page": event})
    return local


class Reads(logging.Handler):
    """Reads what the client has when the first line comes."""

    client: socket.socket | None = None
    head = b""

    def emit(self, _record: logging.LogRecord) -> None:
        if self.client is not None:
            self.head = self.client.recv(12)
            self.client = None


@pytest.mark.parametrize(
    "make",
    [
        lambda: hosted(WSGIService, wsgi),
        lambda: hosted(WSGIService, wsgi, threads=2),
        lambda: hosted(ASGIService, asgi, lifespan="off"),
        lambda: hosted(ASGIService, asgi_later, lifespan="off"),
        lambda: handled(function),
        lambda: handled(async_function),
        lambda: posted(drops),
    ],
    ids=["wsgi", "threads", "asgi", "asgi later", "function", "async function", "no response"],
)
def test_the_response_is_sent_before_the_log_is_written(make: Callable[[], LocalServer]) -> None:
    log = Reads(logging.ERROR)
    local = make()

    async def client(local: LocalServer) -> None:
        sockets = local.server.listening
        assert sockets is not None
        with socket.create_connection((sockets.address, sockets.port), 1) as sock:
            log.client = sock
            sock.sendall(raw_request("/"))
            while log.client is not None:
                await asyncio.sleep(0.001)

    logging.getLogger("prefork").addHandler(log)
    try:
        local.run(client)
    finally:
        logging.getLogger("prefork").removeHandler(log)
    assert log.head == b"HTTP/1.1 500"
