"""From a request to a handler, and from what that returns or raises to a response."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from prefork import Request, Response
from support.leaving import reset_stream
from support.local_server import LocalServer

Entry = dict[str, Any]


def local_server(handlers: list[Entry], **events: Any) -> LocalServer:
    """A server whose session PAGES has these events."""
    local = LocalServer(handlers=handlers)
    local.kernel.session("PAGES", events)
    return local


def entry(pattern: str, event: str = "page", **more: Any) -> Entry:
    return {"dir": pattern, "session": "PAGES", "event": event, **more}


def test_the_first_handler_whose_pattern_is_found_gets_the_request() -> None:
    def page(request: Request, response: Response, pattern: str) -> None:
        assert request.match is not None
        response.content = f"{pattern} {request.match[0]}"
        response.done()

    async def client(local: LocalServer) -> None:
        assert (await local.get("/shop/7")).body == rb"\d+ 7"
        assert (await local.get("/shop")).body == b"/shop /shop"
        response = await local.get("/other")
        assert (response.status, response.body) == (404, b"404 Not Found")

    local_server([entry(r"\d+"), entry("/shop"), entry("^/shop$")], page=page).run(client)


def test_a_handler_has_the_whole_body() -> None:
    def page(request: Request, response: Response, _pattern: str) -> None:
        response.content = request.content[::-1]
        response.done()

    async def client(local: LocalServer) -> None:
        assert (await local.get("/", method="POST", body=b"body")).body == b"ydob"
        assert (await local.get("/unknown", method="POST", body=b"body")).status == 404

    local_server([entry("^/$")], page=page).run(client)


def test_an_event_may_respond_later() -> None:
    kept: list[Response] = []

    async def client(local: LocalServer) -> None:
        asked = asyncio.create_task(local.get())
        while not kept:
            await asyncio.sleep(0.001)
        kept[0].content = "late"
        local.kernel.post("HTTPD", "DONE", kept[0])
        assert (await asked).body == b"late"

    local_server([entry("")], page=lambda _request, response, _pattern: kept.append(response)).run(client)


def add_functions(local: LocalServer) -> None:
    handle = local.server.handle

    @handle("^/text$")
    def text() -> str:
        return "text"

    @handle("^/async$")
    async def later() -> dict[str, int]:
        await asyncio.sleep(0)
        return {"a": 1}

    @handle("^/parts$")
    def parts() -> Iterator[str]:
        yield from ("one ", "", "two")

    @handle("^/async-parts$")
    async def later_parts() -> AsyncIterator[bytes]:
        yield b"one "
        await asyncio.sleep(0)
        yield b"two"

    @handle("^/nothing$")
    def nothing(response: Response) -> None:
        response.code = 204

    @handle("^/number$")
    def number() -> Any:
        return 42

    @handle("^/fails$")
    async def fails() -> str:
        await asyncio.sleep(0)
        raise RuntimeError("on purpose")

    @handle("^/fails-late$")
    async def fails_late() -> AsyncIterator[str]:
        yield "one "
        raise RuntimeError("on purpose")

    @handle("^/cancelled$")
    def cancelled() -> None:
        raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/text", 200, b"text"),
        ("/async", 200, b'{"a": 1}'),
        ("/parts", 200, b"one two"),
        ("/async-parts", 200, b"one two"),
        ("/nothing", 204, b""),
    ],
)
def test_what_a_function_returns_is_the_response(path: str, status: int, body: bytes) -> None:
    async def client(local: LocalServer) -> None:
        response = await local.get(path)
        assert (response.status, response.body) == (status, body)

    local = LocalServer()
    add_functions(local)
    local.run(client)
    assert local.errors == []


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/number", "InvalidResponse('the handler returned int: expected str"),
        ("/fails", "RuntimeError('on purpose')"),
        ("/cancelled", "CancelledError()"),
    ],
)
def test_a_handler_that_fails_is_a_500_and_the_server_goes_on(path: str, error: str) -> None:
    async def client(local: LocalServer) -> None:
        assert (await local.get(path)).status == 500
        assert (await local.get("/text")).status == 200

    local = LocalServer()
    add_functions(local)
    local.run(client)
    ((text, remote_ip),) = local.errors
    assert error in text
    assert text.startswith("handler function.")
    assert remote_ip == "127.0.0.1"


def test_a_generator_that_fails_closes_the_connection_in_the_middle_of_the_body() -> None:
    async def client(local: LocalServer) -> None:
        raw = await local.raw(b"GET /fails-late HTTP/1.1\r\nHost: a\r\n\r\n")
        assert raw.endswith(b"one \r\n")

    local = LocalServer()
    add_functions(local)
    local.run(client)
    assert len(local.errors) == 1


def test_an_error_that_explains_itself_has_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    def twice(_request: Request, response: Response, _pattern: str) -> None:
        response.done()
        response.done()

    async def client(local: LocalServer) -> None:
        assert (await local.get()).status == 200

    local_server([entry("")], page=twice).run(client)
    (record,) = (record for record in caplog.records if record.levelno == logging.ERROR)
    assert record.getMessage().startswith("handler PAGES.page: the response was already sent")
    assert record.exc_info is None


def test_an_event_that_has_gone_is_a_500() -> None:
    async def client(local: LocalServer) -> None:
        session = local.kernel.find("PAGES")
        assert session is not None
        local.kernel.remove(session)
        assert (await local.get()).status == 500

    local = local_server([entry("")], page=lambda *_: None)
    local.run(client)
    ((text, _),) = local.errors
    assert "UnknownSession" in text


def test_a_handler_for_malformed_requests_responds_to_them() -> None:
    def page(request: Request | None, response: Response, _pattern: str) -> None:
        assert request is None
        response.content = f"status {response.code}"
        response.done()

    async def client(local: LocalServer) -> None:
        raw = await local.raw(b"nonsense\r\n\r\n")
        assert raw.startswith(b"HTTP/1.1 400 ")
        assert raw.endswith(b"status 400")

    local_server([entry("^/a"), entry("^$", malformed=True)], page=page).run(client)


def test_without_such_a_handler_the_engine_responds_to_a_malformed_request() -> None:
    async def client(local: LocalServer) -> None:
        assert (await local.raw(b"nonsense\r\n\r\n")).startswith(b"HTTP/1.1 400 ")

    def page(*_: object) -> None:
        pytest.fail("it is for paths that begin with /a")

    local_server([entry("^/a", malformed=True), entry("")], page=page).run(client)


def test_a_graceful_shutdown_waits_for_a_handler_that_goes_on_after_its_response() -> None:
    ended: list[str] = []
    local = LocalServer()

    @local.server.handle("")
    async def slow(response: Response) -> None:
        response.done()
        await asyncio.sleep(0.05)
        ended.append("slow")

    async def shutdown() -> None:
        ended.append("application")

    async def client(local: LocalServer) -> None:
        assert (await local.get()).status == 200

    local.server.service.shutdown = shutdown
    local.run(client)
    assert ended == ["slow", "application"]


def test_a_task_that_waits_for_a_client_that_left_is_ended() -> None:
    ended: list[str] = []
    local = LocalServer()

    @local.server.handle("")
    async def clock() -> AsyncIterator[str]:
        try:
            yield "tick"
            await asyncio.sleep(60)
        finally:
            ended.append("clock")

    async def client(local: LocalServer) -> None:
        reader, writer = await local.connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await reader.readuntil(b"tick")
        reset_stream(writer)
        while not ended:
            await asyncio.sleep(0.001)

    local.run(client)
    assert local.errors == [("the client reset the connection", "127.0.0.1")]


@pytest.mark.parametrize("error", [SystemExit(7), KeyboardInterrupt()])
@pytest.mark.parametrize("is_async", [True, False], ids=["async", "sync"])
def test_a_handler_that_exits_ends_its_request_alone(error: BaseException, is_async: bool) -> None:
    def page(_request: Request, _response: Response, _pattern: str) -> None:
        raise error

    async def later(*arguments: Any) -> None:
        await asyncio.sleep(0)
        page(*arguments)

    async def client(local: LocalServer) -> None:
        for _ in range(2):
            assert (await local.get()).status == 500

    local = local_server([entry(".*")], page=later if is_async else page)
    local.run(client)
    assert [repr(error) in text for text, _ in local.errors] == [True, True]


@pytest.mark.parametrize("name", ["log_handler", "log2_handler"])
def test_a_hook_that_exits_ends_no_process(name: str, caplog: pytest.LogCaptureFixture) -> None:
    def hook(*_: Any) -> None:
        raise SystemExit(7)

    def page(_request: Request, response: Response, _pattern: str) -> None:
        response.done()

    async def client(local: LocalServer) -> None:
        assert (await local.get()).status == 200

    options: dict[str, Any] = {name: hook}
    local = LocalServer(handlers=[entry(".*")], **options)
    local.kernel.session("PAGES", {"page": page})
    local.run(client)
    assert "SystemExit: 7" in caplog.text
