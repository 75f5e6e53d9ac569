"""What every kind of application shares: hooks and log, a missing response, a request that takes too long."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from prefork import Request, Response
from prefork.errors import InvalidResponse
from prefork.server.service import Service
from support.local_server import LocalServer


class Function(Service):
    """Gives every request to a function."""

    name = "application function"
    how_to_respond = "respond"

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def request(self, request: Request, response: Response) -> None:
        self.request_started(request)
        self.function(request, response)


def hello(_request: Request, response: Response) -> None:
    response.content = "hello"
    response.done()


def test_the_log_hooks_are_told_of_a_request_and_of_its_response() -> None:
    reported: list[tuple[Any, ...]] = []
    local = LocalServer(
        Function(hello),
        log_handler=lambda request, remote_ip: reported.append(("started", request.path, remote_ip)),
        log2_handler=lambda request, response: reported.append(("ended", request.path, response.code)),
    )

    async def client(local: LocalServer) -> None:
        assert (await local.get("/a")).body == b"hello"

    local.run(client)
    assert reported == [("started", "/a", "127.0.0.1"), ("ended", "/a", 200)]


def test_without_a_listener_nothing_is_called_after_a_response() -> None:
    service = Function(hello)
    local = LocalServer(service)

    async def client(_local: LocalServer) -> None:
        assert service.request_ended is None

    local.run(client)


def test_a_malformed_request_reaches_the_hooks_and_the_engine_responds() -> None:
    reported: list[tuple[Any, ...]] = []
    local = LocalServer(Function(hello), log_handler=lambda *what: reported.append(what))

    async def client(local: LocalServer) -> None:
        assert (await local.raw(b"nonsense\r\n\r\n")).startswith(b"HTTP/1.1 400 ")

    local.run(client)
    assert reported == [(None, "127.0.0.1")]
    ((text, remote_ip),) = local.errors
    assert text.startswith("400 ")
    assert remote_ip == "127.0.0.1"


def test_a_response_that_is_dropped_is_a_500_and_names_what_it_must_do(
    caplog: pytest.LogCaptureFixture,
) -> None:
    local = LocalServer(Function(lambda *_: None))

    async def client(local: LocalServer) -> None:
        assert (await local.get()).status == 500

    local.run(client)
    text = "application function dropped its response before it was complete; it must respond"
    assert local.errors == [(text, "127.0.0.1")]
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [(logging.ERROR, text)]


def test_abort_is_a_500_before_the_head_and_closes_in_a_stream() -> None:
    kept: list[Response] = []  # a response that is dropped ends as well

    def abort(request: Request, response: Response) -> None:
        kept.append(response)
        response.header("X-Shop", "open")
        if request.path == "/stream":
            response.write("part")
        service.abort(response)

    service = Function(abort)

    async def client(local: LocalServer) -> None:
        response = await local.get()
        assert (response.status, response.body) == (500, b"500 Internal Server Error")
        assert "x-shop" not in response.headers
        assert (await local.raw(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")).endswith(b"part\r\n")

    LocalServer(service).run(client)


def test_abort_leaves_a_response_alone_that_was_sent() -> None:
    def respond(request: Request, response: Response) -> None:
        hello(request, response)
        service.abort(response)

    service = Function(respond)

    async def client(local: LocalServer) -> None:
        assert (await local.get()).body == b"hello"

    local = LocalServer(service)
    local.run(client)
    assert local.errors == []


@pytest.mark.parametrize(
    ("error", "text", "traceback"),
    [
        (ValueError("on purpose"), "application function failed on it: ValueError('on purpose')", True),
        (InvalidResponse("no body"), "application function failed on it: no body", False),
    ],
)
def test_a_failure_is_logged_with_a_traceback_unless_the_error_explains_itself(
    caplog: pytest.LogCaptureFixture, error: Exception, text: str, traceback: bool
) -> None:
    def fail(request: Request, response: Response) -> None:
        service.failed("it", error, request)
        service.abort(response)

    service = Function(fail)

    async def client(local: LocalServer) -> None:
        assert (await local.get()).status == 500

    local = LocalServer(service)
    local.run(client)
    assert local.errors == [(text, "127.0.0.1")]
    (record,) = caplog.records
    assert (record.getMessage(), bool(record.exc_info)) == (text, traceback)


def test_a_graceful_shutdown_waits_for_a_call_that_outlasts_its_connection() -> None:
    ended: list[str] = []

    async def work() -> None:
        await asyncio.sleep(0.05)
        ended.append("work")

    def respond(request: Request, response: Response) -> None:
        service.track(asyncio.get_running_loop().create_task(work()), response)
        hello(request, response)

    async def shutdown() -> None:
        ended.append("application")

    service = Function(respond)
    service.shutdown = shutdown

    async def client(local: LocalServer) -> None:
        assert (await local.get()).body == b"hello"

    LocalServer(service).run(client)
    assert ended == ["work", "application"]
    assert service.calls == set()


def test_a_request_that_takes_too_long_is_a_504_and_its_call_is_cancelled() -> None:
    cancelled: list[str] = []

    async def work(response: Response) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append("work")
        del response  # until here it is not dropped

    def never(_request: Request, response: Response) -> None:
        service.track(asyncio.get_running_loop().create_task(work(response)), response)

    service = Function(never)
    local = LocalServer(service, request_timeout=0.05)

    async def client(local: LocalServer) -> None:
        assert (await local.get("/slow")).status == 504

    local.run(client)
    assert cancelled == ["work"]
    assert local.errors == [("GET /slow had no response in 0.05 s: 504", "127.0.0.1")]


def test_a_hook_that_fails_harms_no_request(caplog: pytest.LogCaptureFixture) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("on purpose")

    async def client(local: LocalServer) -> None:
        assert (await local.get()).body == b"hello"

    LocalServer(Function(hello), log_handler=fail, log2_handler=fail).run(client)
    assert sum("failed" in record.getMessage() for record in caplog.records) == 2
