"""One server with one worker for all of these tests: no offence of one client may be felt by the next."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from support import harness
from support.messages import Message, only, parse

APP = """
    import json
    import os

    from prefork import Kernel, PreForkServer

    kernel = Kernel()
    server = PreForkServer(kernel)
    seen = []

    @server.handle(r"^/seen$")
    def report():
        told = json.dumps({"pid": os.getpid(), "seen": seen})
        seen.clear()
        return told

    @server.handle(r"^/fields$")
    def fields(request):
        return json.dumps([[name.lower(), value] for name, value in request.headers.items()])

    @server.handle(r"^/inject$")
    def inject(request, response):
        evil = {"crlf": "a\\r\\nSet-Cookie: b", "lf": "a\\nb", "nul": "a\\0b"}
        response.headers[request.header("x-name")] = evil.get(request.header("x-value"), "plain")
        response.content = "never sent"

    @server.handle(r"^/promise/(?P<length>\\d+)/(?P<given>\\d+)$")
    def promise(response, length, given):
        response.headers["Content-Length"] = length
        response.content = "x" * int(given)

    @server.handle(r"")
    def note(request):
        seen.append(f"{request.method} {request.path}")
        return request.content
"""

OPTIONS = ["--workers", "1", "--header-timeout", "0.3", "--max-body", "1000"]
NEVER = b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n"


class Wire:
    """Talks to that worker, and looks after each conversation whether it is unharmed."""

    def __init__(self, server: harness.Server) -> None:
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


@pytest.fixture(scope="session")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    app = harness.write_app(tmp_path_factory.mktemp("wire"), APP)
    with harness.running(str(app), "--bind", "127.0.0.1:0", *OPTIONS) as server:
        yield Wire(server)
