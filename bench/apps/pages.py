"""The session that responds in every prefork server that is measured."""

from __future__ import annotations

import asyncio
import time

from bench.servers import BODY
from prefork import Request, Response, Session, event

HOLD_S = 2.0
"""How long a held request keeps its worker: longer than any pool should need to grow."""


class Pages(Session):
    alias = "PAGES"

    @event
    def done(self, _request: Request, response: Response, _pattern: str) -> None:
        response.code = 200
        response.content = BODY
        response.done()

    @event
    def called(self, _request: Request, response: Response, _pattern: str) -> None:
        """Through the kernel, at once."""
        response.code = 200
        response.content = BODY
        self.kernel.call("HTTPD", "DONE", response)

    @event
    def posted(self, _request: Request, response: Response, _pattern: str) -> None:
        """As in the synopsis: through the kernel's queue."""
        response.code = 200
        response.content = BODY
        self.kernel.post("HTTPD", "DONE", response)

    @event
    def blocking(self, request: Request, response: Response, pattern: str) -> None:
        time.sleep(HOLD_S)
        self.done(request, response, pattern)

    @event
    async def waiting(self, request: Request, response: Response, pattern: str) -> None:
        await asyncio.sleep(HOLD_S)
        self.done(request, response, pattern)


def handlers(name: str) -> list[dict[str, str]]:
    """All of /bar/ to one event, and the two that hold a worker."""
    return [
        {"dir": r"^/bar/.*", "session": "PAGES", "event": name},
        {"dir": r"^/blocking$", "session": "PAGES", "event": "blocking"},
        {"dir": r"^/waiting$", "session": "PAGES", "event": "waiting"},
    ]
