"""A worker and the bytes that a client exchanges with it."""

from __future__ import annotations

import json

from support.responses import Message, only, parse
from support.server import Server

NEVER = b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n"


class Wire:
    """Talks to one worker, and checks after each conversation that it is the same worker still."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.pid = self.look()["pid"]

    def look(self) -> dict[str, object]:
        """The worker's pid, and the requests that its handlers have seen since the last look."""
        reported: dict[str, object] = json.loads(self.server.get("/seen"))
        return reported

    def seen(self) -> object:
        """What was dispatched since the last look, by the same worker as ever."""
        reported = self.look()
        assert reported["pid"] == self.pid
        return reported["seen"]

    def refuse(self, data: bytes, status: int = 400) -> Message:
        """Send what must be refused and a good request behind it: one response, the end, no handler runs."""
        response = only(self.server.raw(data + NEVER))
        assert response.status == status, response
        assert response.headers["connection"] == "close"
        assert self.seen() == []
        return response

    def accept(self, data: bytes, *seen: str) -> list[Message]:
        """Send what must be served: a response for each request that a handler sees."""
        responses = parse(self.server.raw(data, half_close=True))
        assert [response.status for response in responses] == [200] * len(seen), responses
        assert self.seen() == list(seen)
        return responses
