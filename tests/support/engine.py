"""One engine in the test's own process: a service that keeps what it is called with, and clients beside it.

Everything happens in one thread: a client writes, and the engine takes turns until a condition holds.
"""

from __future__ import annotations

import http.client
import io
import select
import socket
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from prefork._engine import AccessLog, Engine, Request, Response, TlsConfig
from prefork.config.checked import check
from prefork.config.options import ServerOptions
from support.waiting import DEADLINE_S


class Service:
    """Gives every request to `handler`, and keeps what else the engine reports."""

    adds_content_type = True
    pulls_bodies = False
    uses_start_response = False
    takes_websockets = False
    access_log: AccessLog | None = None

    def __init__(self, handler: Callable[[Request, Response], Any]) -> None:
        self.handler = handler
        self.errors: list[tuple[str, str | None]] = []
        self.unanswered_handlers: list[Any] = []
        self.timeouts: list[tuple[str, float]] = []
        self.ended: list[tuple[Request | None, Response]] = []
        self.refused: list[tuple[int, str]] = []

    def request(self, request: Request, response: Response) -> None:
        self.handler(request, response)

    def head(self, _request: Request, _response: Response) -> bool:
        return True

    body = request

    def malformed(self, _response: Response, status: int, reason: str, _remote_ip: str) -> bool:
        self.refused.append((status, reason))
        return False

    def request_ended(self, request: Request | None, response: Response) -> None:
        self.ended.append((request, response))

    def client_error(self, text: str, remote_ip: str, _request_id: str | None) -> None:
        self.errors.append((text, remote_ip))

    def server_warning(self, text: str) -> None:
        self.errors.append((text, None))

    def timed_out(self, request: str, seconds: float, _remote_ip: str, _request_id: str | None) -> None:
        self.timeouts.append((request, seconds))

    def unanswered(self, handler: Any, _remote_ip: str, _request_id: str | None) -> None:
        self.unanswered_handlers.append(handler)


class LocalEngine:
    """An engine that listens on 127.0.0.1, or on the listener it is given."""

    def __init__(
        self,
        handler: Callable[[Request, Response], Any] = lambda _, response: response.done(),
        *,
        service: Service | None = None,
        listener: socket.socket | None = None,
        tls: TlsConfig | None = None,
        **settings: Any,
    ) -> None:
        self.engine = Engine()
        self.service = service or Service(handler)
        self.socket = listener or socket.create_server(("127.0.0.1", 0))
        self.socket.setblocking(False)
        options = check(ServerOptions, settings)
        self.number = self.engine.listen(self.socket.fileno(), self.service, options, tls)
        self.clients: list[socket.socket] = []

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self.socket.close()
        self.engine.close()

    def turn_until(self, condition: Callable[[], object], what: str = "the condition") -> None:
        """Let the engine take turns until the condition holds. Raise AssertionError if it does not."""
        end = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < end, f"{what} did not happen in {DEADLINE_S} s"
            self.engine.poll(0.01)

    def connect(self, data: bytes = b"") -> socket.socket:
        """Connect a client and let it send `data`. It is closed when the test ends."""
        client = socket.socket(self.socket.family)
        client.connect(self.socket.getsockname())
        client.sendall(data)
        client.setblocking(False)
        self.clients.append(client)
        return client

    def read(self, client: socket.socket, enough: bytes | None = None) -> bytes:
        """Return what the client gets until that ends in `enough`, or until the server closes."""
        received = bytearray()
        open_ = True

        def take() -> bool:
            nonlocal open_
            while open_ and select.select([client], [], [], 0)[0]:
                try:
                    piece = client.recv(1 << 20)
                except ConnectionResetError:
                    piece = b""
                received.extend(piece)
                open_ = bool(piece)
            return not open_ or (enough is not None and received.endswith(enough))

        self.turn_until(take, "the response")
        return bytes(received)

    def raw(self, data: bytes) -> bytes:
        """Send data on a connection of its own. Return what comes back until the server closes it."""
        client = self.connect(data)
        try:
            return self.read(client)
        finally:
            client.close()

    def get(self, target: str = "/", *fields: str, method: str = "GET") -> WholeResponse:
        """GET a target on a connection of its own, and return the response."""
        return parse_response(
            self.raw(raw_request(target, *fields, "Connection: close", method=method)), method
        )

    def request(self, target: str = "/", *fields: str, method: str = "GET", body: bytes = b"") -> Request:
        """Send a request, wait for its end, and return what the handler saw of it."""
        if body:
            fields = (*fields, f"Content-Length: {len(body)}")
        before = len(self.service.ended)
        self.read(self.connect(raw_request(target, *fields, "Connection: close", method=method) + body))
        ((seen, _),) = self.service.ended[before:]
        assert seen is not None
        return seen


RunEngine: TypeAlias = Callable[..., LocalEngine]
"""The fixture `run_engine`."""


def keeping(kept: list[Response]) -> Callable[[Request, Response], None]:
    """A handler that leaves the response to the test."""
    return lambda _, response: kept.append(response)


def raw_request(target: str = "/", *fields: str, method: str = "GET", host: str = "example.com") -> bytes:
    head = [f"{method} {target} HTTP/1.1", f"Host: {host}", *fields, "", ""]
    return "\r\n".join(head).encode("latin-1")


class WholeResponse(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes


def parse_response(raw: bytes, method: str = "GET") -> WholeResponse:
    """Read a response as http.client does."""

    class Replay(socket.socket):
        def makefile(self, *_: Any, **__: Any) -> Any:
            return io.BytesIO(raw)

    with Replay() as replay:
        response = http.client.HTTPResponse(replay, method=method)
        response.begin()
        return WholeResponse(response.status, response.headers, response.read())
