"""A worker and the bytes that a client exchanges with it."""

from __future__ import annotations

import json

from support.responses import Message, only, parse
from support.server import Server

NEVER = b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n"


class Wire:
    """Talks to that worker, and looks after each conversation whether it is unharmed."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.pid = self.look()["pid"]

    def look(self) -> dict[str, object]:
        """The worker's pid, and the requests that its handlers have seen since the last look."""
        told: dict[str, object] = json.loads(self.server.get("/seen"))
        return told

    def seen(self) -> object:
        """What was dispatched since the last look, by the same worker as ever."""
        told = self.look()
        assert told["pid"] == self.pid
        return told["seen"]

    def refuse(self, data: bytes, status: int = 400) -> Message:
        """Sends an offence and a good request behind it: one answer, the end, nothing dispatched."""
        answer = only(self.server.raw(data + NEVER))
        assert answer.status == status, answer
        assert answer.headers["connection"] == "close"
        assert self.seen() == []
        return answer

    def accept(self, data: bytes, *seen: str) -> list[Message]:
        """Sends what must be served: an answer for each request that a handler sees."""
        answers = parse(self.server.raw(data, half_close=True))
        assert [answer.status for answer in answers] == [200] * len(seen), answers
        assert self.seen() == list(seen)
        return answers
