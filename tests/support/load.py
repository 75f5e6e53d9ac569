"""Clients that load a server and count, without mercy, what it owed them and did not give."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections import Counter

from support.responses import read_response
from support.server import Server
from support.waiting import DEADLINE_S, wait_until


class Client(threading.Thread):
    """Asks on kept connections, one request after the other, until `stop`.

    `lost` is each request that was sent and got no whole answer: a reset or an end instead counts, for an
    answer before that said nothing of an end. After `Connection: close` it opens a new connection.
    """

    def __init__(self, server: Server, path: str = "/pid", pause_s: float = 0.0) -> None:
        super().__init__(daemon=True)
        self.server = server
        self.path = path
        self.pause_s = pause_s
        self.answers: Counter[tuple[int, bytes]] = Counter()
        self.lost: list[str] = []
        self.refused = 0
        self.opened = 0
        self._enough = threading.Event()

    def run(self) -> None:
        while not self._enough.is_set():
            try:
                sock = self.server.connect()
            except ConnectionRefusedError:
                self.refused += 1
                time.sleep(0.001)
                continue
            self.opened += 1
            with sock:
                self._ask(sock)

    def _ask(self, sock: socket.socket) -> None:
        asked = f"GET {self.path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        number = 0
        while not self._enough.is_set():
            number += 1
            try:
                sock.sendall(asked)
                status, fields, body = read_response(sock)
            except (OSError, http.client.HTTPException) as error:
                self.lost.append(f"request {number} of a connection: {error!r}")
                return
            self.answers[status, body] += 1
            if fields.get("connection") == "close":
                return
            if self.pause_s:
                self._enough.wait(self.pause_s)

    def stop(self) -> None:
        self._enough.set()


class Load:
    """Many clients at once: `with Load(server, 16) as load: ...`"""

    def __init__(self, server: Server, clients: int, path: str = "/pid", pause_s: float = 0.0) -> None:
        self.clients = [Client(server, path, pause_s) for _ in range(clients)]

    def __enter__(self) -> Load:
        for client in self.clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        for client in self.clients:
            client.stop()
        for client in self.clients:
            client.join(DEADLINE_S)

    @property
    def answers(self) -> Counter[tuple[int, bytes]]:
        # Copied in one step: the clients go on counting.
        return sum((Counter(dict(client.answers)) for client in self.clients), Counter())

    @property
    def lost(self) -> list[str]:
        return [loss for client in self.clients for loss in client.lost]

    @property
    def refused(self) -> int:
        return sum(client.refused for client in self.clients)

    @property
    def opened(self) -> int:
        """Connections; as many as clients if none was closed."""
        return sum(client.opened for client in self.clients)

    def more(self, count: int) -> None:
        """Waits until so many more answers have come."""
        enough = self.answers.total() + count
        wait_until(lambda: self.answers.total() >= enough, f"{count} more answers")
