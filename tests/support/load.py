"""Clients that load a server, and count every request that got no whole response."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections import Counter
from typing import Generic, Self, TypeVar

from support.responses import read_response
from support.server import Server
from support.waiting import DEADLINE_S, wait_until


class LoadClient(threading.Thread):
    """Sends requests until `stop`. `responses` counts what came, by status and body; `lost` says why a
    request got no whole response.
    """

    def __init__(self, server: Server, path: str) -> None:
        super().__init__(daemon=True)
        self.server = server
        self.path = path
        self.responses: Counter[tuple[int, bytes]] = Counter()
        self.lost: list[str] = []
        self._stopped = threading.Event()

    def stop(self) -> None:
        self._stopped.set()


AnyClient = TypeVar("AnyClient", bound=LoadClient)


class Clients(Generic[AnyClient]):
    """Many clients at once: they send while the `with` block runs."""

    def __init__(self, clients: list[AnyClient]) -> None:
        self.clients = clients

    def __enter__(self) -> Self:
        for client in self.clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        for client in self.clients:
            client.stop()
        for client in self.clients:
            client.join(DEADLINE_S)

    @property
    def responses(self) -> Counter[tuple[int, bytes]]:
        # Copied in one step: the clients go on counting.
        return sum((Counter(dict(client.responses)) for client in self.clients), Counter())

    @property
    def statuses(self) -> set[int]:
        return {status for status, _ in self.responses}

    @property
    def lost(self) -> list[str]:
        return [loss for client in self.clients for loss in client.lost]

    def more(self, count: int) -> None:
        """Waits until so many more responses have come."""
        enough = self.responses.total() + count
        wait_until(lambda: self.responses.total() >= enough, f"{count} more responses")


class Client(LoadClient):
    """Sends one request after the other on kept connections.

    A reset or an end instead of a response is a loss, since no response before it had announced the end.
    After `Connection: close` the client opens a new connection.
    """

    def __init__(self, server: Server, path: str = "/pid", pause_s: float = 0.0) -> None:
        super().__init__(server, path)
        self.pause_s = pause_s
        self.refused = 0
        self.opened = 0

    def run(self) -> None:
        while not self._stopped.is_set():
            try:
                sock = self.server.connect()
            except ConnectionRefusedError:
                self.refused += 1
                time.sleep(0.001)
                continue
            self.opened += 1
            with sock:
                self._send_requests(sock)

    def _send_requests(self, sock: socket.socket) -> None:
        request = f"GET {self.path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        number = 0
        while not self._stopped.is_set():
            number += 1
            try:
                sock.sendall(request)
                status, fields, body = read_response(sock)
            except (OSError, http.client.HTTPException) as error:
                self.lost.append(f"request {number} of a connection: {error!r}")
                return
            self.responses[status, body] += 1
            if fields.get("connection") == "close":
                return
            if self.pause_s:
                self._stopped.wait(self.pause_s)


class Load(Clients[Client]):
    """`with Load(server, 16) as load: ...`"""

    def __init__(self, server: Server, clients: int, path: str = "/pid", pause_s: float = 0.0) -> None:
        super().__init__([Client(server, path, pause_s) for _ in range(clients)])

    @property
    def refused(self) -> int:
        return sum(client.refused for client in self.clients)

    @property
    def opened(self) -> int:
        """How many connections were opened: as many as there are clients if none was closed."""
        return sum(client.opened for client in self.clients)
