"""A server that serves an application, as its clients see it."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

import httpx

from support.server import Server
from support.waiting import wait_until

T = TypeVar("T")
RELOAD_S = 60.0
CLIENT_S = 30.0
EXPECTED = ("HUP: loading the application again", "every worker is of generation")
"""What the log has at each reload."""
ERROR = re.compile(r" (?:ERROR|CRITICAL) |^Traceback |WARNING prefork")


class Site:
    """A server that serves. `client` sends requests to it, and `home` is a page that needs no log-in."""

    def __init__(self, server: Server, harmless: tuple[str, ...] = ()) -> None:
        self.server = server
        self.url = server.url
        self.client = self.new_client()
        self.home = "/"
        self._harmless = harmless

    def __enter__(self) -> Site:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()

    def new_client(self) -> httpx.Client:
        """Another user, with cookies and connections of its own."""
        return httpx.Client(base_url=self.url, timeout=CLIENT_S, trust_env=False)

    def websocket(self, path: str) -> str:
        """The URL of a WebSocket."""
        return self.url.replace("http", "ws", 1) + path

    def at_once(self, call: Callable[[httpx.Client, int], T], many: Iterable[int], users: int = 8) -> list[T]:
        """The results of a call for each number, from so many clients at the same time."""
        clients = [self.new_client() for _ in range(users)]
        numbers = list(many)

        def share(index: int) -> list[tuple[int, T]]:
            return [(number, call(clients[index], number)) for number in numbers[index::users]]

        try:
            with ThreadPoolExecutor(users) as pool:
                shares = list(pool.map(share, range(users)))
        finally:
            for client in clients:
                client.close()
        return [
            result for _, result in sorted((pair for one in shares for pair in one), key=lambda pair: pair[0])
        ]

    def get(self, path: str, status: int = 200) -> httpx.Response:
        """The response to a GET, which must have this status."""
        response = self.client.get(path)
        if response.status_code != status:
            raise AssertionError(
                f"{path}: expected status {status}, found {response.status_code}: {response.text[:200]}"
            )
        return response

    def reload(self) -> None:
        """SIGHUP. Each request until all workers are new ones must get a page, on a connection of its own."""
        former = set(self.server.workers())
        self.server.signal(signal.SIGHUP)

        def all_new() -> bool:
            with self.new_client() as client:
                if self.client.auth is not None:
                    client.auth = self.client.auth
                response = client.get(self.home)
            if response.status_code >= 400:
                raise AssertionError(f"status {response.status_code} during the reload")
            return former.isdisjoint(self.server.workers())

        wait_until(all_new, "a new generation of workers", RELOAD_S)

    def forget_errors(self) -> None:
        """What the log has so far was meant to be there."""
        self.server.err.clear()

    def errors(self) -> list[str]:
        """What of the log should not be there: lines, and tracebacks as a whole."""
        return [
            entry
            for entry in entries(list(self.server.err))
            if ERROR.search(entry) and not any(text in entry for text in (*EXPECTED, *self._harmless))
        ]

    def stop(self) -> None:
        """SIGTERM. Raise AssertionError for a status but 0, and for errors in the log."""
        status = self.server.stop()
        if status:
            raise AssertionError(f"exit status {status}: {self.server.log[-300:]}")
        if found := self.errors():
            raise AssertionError(f"{len(found)} entries such as: {found[0][-300:]}")


def entries(lines: Iterable[str]) -> list[str]:
    """The lines of a log, where those of a traceback are one text: its last line has the cause."""
    found: list[str] = []
    inside = False
    for line in lines:
        if inside:
            found[-1] += f"\n{line}"
            inside = line.startswith(" ")
        else:
            found.append(line)
            inside = line.startswith("Traceback ")
    return found
