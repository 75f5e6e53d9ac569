"""Clients of a proxy that speaks TLS: each asks again and again, and says which requests came to nothing."""

from __future__ import annotations

import signal

import httpx

from support import tls
from support.load import Clients, LoadClient
from support.server import Server
from support.waiting import DEADLINE_S, wait_until


class Visitor(LoadClient):
    """Asks the proxy at `url` for `path`, on a connection that it keeps. `server` is behind it."""

    def __init__(self, server: Server, url: str, path: str, method: str) -> None:
        super().__init__(server, path)
        self._url = url
        self._method = method

    def run(self) -> None:
        content = b"x" * 1000 if self._method == "POST" else None
        with httpx.Client(
            base_url=self._url, verify=tls.context(), timeout=DEADLINE_S, trust_env=False
        ) as client:
            while not self._stopped.is_set():
                try:
                    response = client.request(self._method, self.path, content=content)
                except httpx.HTTPError as error:
                    self.lost.append(repr(error))
                    continue
                self.responses[response.status_code, response.headers.get("x-pid", "").encode()] += 1


class Visitors(Clients[Visitor]):
    """`with Visitors(server, url, ("GET", "POST")) as visitors: ...`, a client for each of the methods."""

    def __init__(self, server: Server, url: str, methods: tuple[str, ...], path: str = "/") -> None:
        super().__init__([Visitor(server, url, path, method) for method in methods])


def renew_workers(server: Server) -> None:
    """Have it load its application again, and wait until every worker is a new one."""
    before = set(server.workers())
    server.signal(signal.SIGHUP)
    wait_until(lambda: not before & set(server.workers()), "new workers")
