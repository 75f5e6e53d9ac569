"""What a server and the sessions of its kernel have to do with each other."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from prefork import HTTPServer, Kernel, Request, Response, Session, event
from support.engine import raw_request
from support.leaving import reset_stream
from support.local_server import LocalServer


class Pages(Session):
    """It has no alias."""

    def __init__(self) -> None:
        self.recorded: list[Any] = []
        self.parts = ["1", "2", "3"]

    @event
    def page(self, request: Request, response: Response, pattern: str) -> None:
        response.content = f"{pattern} {request.path}"
        self.kernel.post("HTTPD", "DONE", response)

    @event
    def stream(self, _request: Request, response: Response, _pattern: str) -> None:
        response.stream(self, "part")
        self.part(response)

    @event
    def part(self, response: Response) -> None:
        response.content = self.parts.pop(0) if self.parts else None
        self.kernel.post("HTTPD", "CLOSE" if response.content is None else "STREAM", response)

    @event
    def fail(self, *_args: object) -> None:
        raise LookupError("no page")

    @event
    def record(self, *args: Any) -> None:
        self.recorded.append(args)

    @event
    def _stop(self) -> None:
        self.recorded.append("_stop")


def serving(pages: Pages, how: Any, **options: Any) -> LocalServer:
    """A server that names the session as it is, or by its id."""
    handlers = [
        {"dir": f"^/{name}", "session": how(pages), "event": name} for name in ("page", "stream", "fail")
    ]
    local = LocalServer(handlers=handlers, **options)
    local.kernel.add(pages)
    return local


HOWS = pytest.mark.parametrize("how", [lambda pages: pages, lambda pages: pages.id])


@HOWS
def test_a_handler_keeps_its_session_until_it_is_replaced(how: Any) -> None:
    pages = Pages()
    local = serving(pages, how)

    async def client(local: LocalServer) -> None:
        await asyncio.sleep(0.01)
        assert (await local.get("/page")).body == b"^/page /page"
        assert local.server.get_handlers()[0]["session"] == how(pages)
        assert pages in local.kernel.sessions
        local.server.set_handlers([])
        while pages in local.kernel.sessions:
            await asyncio.sleep(0)

    local.run(client)
    assert pages.recorded == ["_stop"]


@HOWS
def test_a_hook_keeps_its_session_until_the_server_has_ended(how: Any) -> None:
    pages = Pages()
    local = LocalServer(log_handler=(how(pages), "record"))
    local.kernel.add(pages)

    async def client(local: LocalServer) -> None:
        assert (await local.get("/nothing")).status == 404
        assert pages in local.kernel.sessions

    local.run(client)
    assert [type(args[0]) for args in pages.recorded[:-1]] == [Request]
    assert pages.recorded[-1] == "_stop"


@HOWS
def test_a_stream_and_a_close_handler_keep_their_session(how: Any) -> None:
    pages = Pages()
    local = LocalServer()

    @local.server.handle("^/stream")
    def stream(response: Response) -> None:
        local.kernel.add(pages)
        local.server.set_close_handler(response.connection.id, how(pages), "record", "closed")
        pages.stream(response.request, response, "")  # type: ignore[arg-type]

    async def client(local: LocalServer) -> None:
        received = await local.raw(raw_request("/stream"))
        assert received.endswith(b"1\r\n1\r\n1\r\n2\r\n1\r\n3\r\n0\r\n\r\n")
        while pages in local.kernel.sessions:
            await asyncio.sleep(0)

    local.run(client)
    assert pages.recorded == [("closed",), "_stop"]


def test_a_stream_alone_keeps_its_session() -> None:
    pages = Pages()
    local = LocalServer()

    @local.server.handle("^/stream")
    def stream(request: Request, response: Response) -> None:
        local.kernel.add(pages)
        pages.stream(request, response, "")

    async def client(local: LocalServer) -> None:
        assert (await local.raw(raw_request("/stream"))).endswith(b"\r\n3\r\n0\r\n\r\n")
        while pages in local.kernel.sessions:
            await asyncio.sleep(0)

    local.run(client)
    assert pages.recorded == ["_stop"]


def test_the_exception_of_a_handler_goes_to_the_hook_of_the_kernel(caplog: pytest.LogCaptureFixture) -> None:
    pages = Pages()
    local = serving(pages, lambda pages: pages)
    failed: list[Any] = []

    def hook(session: Session, name: str, args: tuple[Any, ...], error: BaseException) -> bool:
        failed.append((session, name, len(args), str(error)))
        return True

    local.kernel.on_error(hook)

    async def client(local: LocalServer) -> None:
        assert (await local.get("/fail")).status == 500

    local.run(client)
    assert failed == [(pages, "fail", 3, "'no page'")] or failed == [(pages, "fail", 3, "no page")]
    assert "Traceback" not in caplog.text


def test_a_hook_of_the_server_is_called_when_it_has_ended() -> None:
    closed: list[Any] = []
    local = LocalServer(closed_handler=lambda *args: closed.append(args))
    ports: list[int | None] = []

    async def client(local: LocalServer) -> None:
        sockets = local.server.listening
        assert sockets is not None
        ports.append(sockets.port)
        assert closed == []

    local.run(client)
    assert closed == [(ports[0], "127.0.0.1")]


def test_it_is_called_when_the_kernel_stops_too() -> None:
    closed: list[Any] = []
    kernel = Kernel()
    HTTPServer(
        kernel, address="127.0.0.1", port=0, closed_handler=lambda *args: closed.append(args)
    ).on_serving.append(lambda _: kernel.stop())
    kernel.run()
    assert len(closed) == 1


def test_a_raw_pattern_is_searched_in_the_path_as_it_came() -> None:
    local = LocalServer()

    @local.server.handle("^/a%2[Ff]b$", raw=True)
    def raw() -> str:
        return "raw"

    @local.server.handle("^/a/b$")
    def decoded() -> str:
        return "decoded"

    async def client(local: LocalServer) -> None:
        bodies = [(await local.get(path)).body for path in ("/a%2Fb", "/a%2fb?x=/", "/a/b", "/%61/b")]
        assert bodies == [b"raw", b"raw", b"decoded", b"decoded"]

    local.run(client)


def test_a_dollar_lets_a_line_break_through_and_backslash_z_does_not() -> None:
    local = LocalServer()

    @local.server.handle(r"^/strict\Z")
    def strict() -> str:
        return "strict"

    @local.server.handle("^/(strict|loose)$")
    def loose() -> str:
        return "loose"

    async def client(local: LocalServer) -> None:
        bodies = [(await local.get(path)).body for path in ("/strict", "/strict%0A", "/loose%0A")]
        assert bodies == [b"strict", b"loose", b"loose"]

    local.run(client)


def test_pipelined_requests_whose_responses_are_posted_are_served_in_one_turn() -> None:
    turns = 0
    served: list[int] = []
    pages = Pages()
    local = serving(pages, lambda pages: pages)

    class Counting(Session):
        @event
        def page(self, _request: Request, response: Response, _pattern: str) -> None:
            served.append(turns)
            self.kernel.post("HTTPD", "DONE", response)

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def client(local: LocalServer) -> None:
        counting = local.kernel.add(Counting())
        local.server.set_handlers([{"dir": "", "session": counting, "event": "page"}])
        counter = asyncio.get_running_loop().create_task(count())
        await local.raw(raw_request() * 9 + raw_request("/", "Connection: close"))
        counter.cancel()

    local.run(client)
    assert len(served) == 10
    assert len(set(served)) < 3, "the first may be read with the connection, and the rest in the next turn"


def test_what_a_handler_posts_is_delivered_before_the_next_client_is_served() -> None:
    pages = Pages()
    local = serving(pages, lambda pages: pages)

    @local.server.handle("^/swap")
    def swap(response: Response) -> None:
        new = [{"dir": "^/new", "session": pages, "event": "page"}]
        local.kernel.post("HTTPD", "SETHANDLERS", new)
        response.done()

    async def client(local: LocalServer) -> None:
        assert (await local.raw(raw_request("/swap") + raw_request("/new", "Connection: close"))).count(
            b" 200 "
        ) == 2

    local.run(client)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_an_exit_in_an_event_that_a_handler_posts_ends_the_run(error: type[BaseException]) -> None:
    def leave() -> None:
        raise error

    local = LocalServer()
    local.kernel.session("LEAVING", {"leave": leave})

    @local.server.handle("")
    def page(response: Response) -> None:
        response.done()
        local.kernel.post("LEAVING", "leave")

    async def client(local: LocalServer) -> None:
        await local.get()

    with pytest.raises(error):
        local.run(client)


def test_the_log_hook_is_told_whether_the_response_was_sent() -> None:
    sent: list[bool] = []
    kept: list[Response] = []
    local = LocalServer(log2_handler=lambda _request, response: sent.append(response.sent))

    @local.server.handle("^/at_once")
    def at_once() -> str:
        return "whole"

    @local.server.handle("^/late")
    async def late(response: Response) -> None:
        kept.append(response)
        while not response.connection.dead:
            await asyncio.sleep(0)

    async def client(local: LocalServer) -> None:
        assert (await local.get("/at_once")).body == b"whole"
        _, writer = await local.connect()
        writer.write(raw_request("/late"))
        while not kept:
            await asyncio.sleep(0)
        reset_stream(writer)
        while len(sent) < 2:
            await asyncio.sleep(0)

    local.run(client)
    assert sent == [True, False]


async def endless_async() -> AsyncIterator[bytes]:
    while True:
        yield bytes(100_000)


def endless() -> Iterator[bytes]:
    while True:
        yield bytes(100_000)


@pytest.mark.parametrize("parts", [endless_async, endless])
def test_the_log_hook_is_called_when_the_client_of_a_stream_leaves(parts: Callable[[], Any]) -> None:
    sent: list[bool] = []
    local = LocalServer(log2_handler=lambda _request, response: sent.append(response.sent))
    local.server.handle("")(parts)

    async def client(local: LocalServer) -> None:
        reader, writer = await local.connect()
        writer.write(raw_request("/"))
        await reader.readexactly(1)
        reset_stream(writer)
        gc.disable()  # what refers to itself is not freed for now: a traceback with the handler's frame
        try:
            while not sent:
                await asyncio.sleep(0)
        finally:
            gc.enable()

    local.run(client)
    assert sent == [False]


class Whose(Session):
    """Its events respond at once, in a task, and by posted events."""

    def __init__(self) -> None:
        self.whose: ContextVar[str] = ContextVar("whose", default="of no request")
        self.logged: list[str] = []

    def log(self, request: Request, _remote_ip: str) -> None:
        self.logged.append(self.whose.get())
        self.whose.set(f"of {request.path}")

    def log2(self, _request: Request, _response: Response) -> None:
        self.logged.append(self.whose.get())

    def fill(self, response: Response) -> None:
        response.content = self.whose.get()
        self.whose.set(f"{self.whose.get()}, handled")

    @event
    def done(self, _request: Request, response: Response, _pattern: str) -> None:
        self.fill(response)
        response.done()

    @event
    async def task(self, _request: Request, response: Response, _pattern: str) -> None:
        await asyncio.sleep(0)
        self.fill(response)
        response.done()

    @event
    def posted(self, _request: Request, response: Response, _pattern: str) -> None:
        self.fill(response)
        self.kernel.post("HTTPD", "DONE", response)

    @event
    async def task_posts(self, _request: Request, response: Response, _pattern: str) -> None:
        await asyncio.sleep(0)
        self.fill(response)
        self.kernel.post("HTTPD", "DONE", response)

    @event
    def later(self, _request: Request, response: Response, _pattern: str) -> None:
        self.fill(response)
        self.delay("last", 0.01, response)

    @event
    def last(self, response: Response) -> None:
        self.kernel.post("HTTPD", "DONE", response)

    @event
    def forgotten(self, _request: Request, response: Response, _pattern: str) -> None:
        self.fill(response)


@pytest.mark.parametrize("name", ["done", "task", "posted", "task_posts", "later", "forgotten"])
@pytest.mark.parametrize("body", [b"", b"body", bytes(1 << 20)], ids=["none", "small", "spooled"])
def test_the_hooks_and_the_handler_of_a_request_have_one_context(name: str, body: bytes) -> None:
    pages = Whose()
    local = LocalServer(
        log_handler=pages.log,
        log2_handler=pages.log2,
        handlers=[{"dir": "", "session": pages, "event": name}],
    )
    local.kernel.add(pages)

    async def client(local: LocalServer) -> None:
        for path in ("/1", "/2"):
            response = await local.get(path, method="POST" if body else "GET", body=body)
            assert name == "forgotten" or response.body == f"of {path}".encode()

    local.run(client)
    assert pages.logged == [
        "of no request",
        "of /1, handled",
        "of no request",
        "of /2, handled",
    ]


def test_a_subclass_may_override_done() -> None:
    done: list[object] = []

    class Server(HTTPServer):
        def done(self, response: Response) -> bool:
            done.append(response)
            return True

    kernel = Kernel()
    Server(kernel)
    assert kernel.call("HTTPD", "DONE", "a response")
    assert done == ["a response"]
