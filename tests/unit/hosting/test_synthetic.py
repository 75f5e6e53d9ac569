"""Requests that no client has made: what the application sees, and what comes of what it does."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from prefork.config.checked import check
from prefork.config.options import AppOptions
from prefork.hosting.asgi import ASGIService
from prefork.hosting.asgi_types import Receive, Scope, Send
from prefork.hosting.synthetic import Page, environ, probe_asgi, probe_wsgi, scope
from prefork.hosting.wsgi import WSGIService
from prefork.server.service import Outcome
from support.local_server import LocalServer
from support.waiting import wait_until

URL = "https://shop.example:8443/caf%C3%A9/x%2Fy?size=1&more"
PLAIN_URL = URL.replace("https", "http")
OWN = ("REMOTE_PORT", "SERVER_PORT", "SERVER_NAME", "HTTP_HOST", "wsgi.multiprocess")
"""What depends on the connection, or on the pool."""


@pytest.mark.parametrize(
    ("given", "page", "place"),
    [
        ("/", Page("http", "localhost", "/", ""), ("localhost", 80)),
        ("/a?b=/c?d", Page("http", "localhost", "/a", "b=/c?d"), ("localhost", 80)),
        ("https://shop.example", Page("https", "shop.example", "/", ""), ("shop.example", 443)),
        ("http://[::1]:81/a", Page("http", "[::1]:81", "/a", ""), ("[::1]", 81)),
        ("http://[::1]/a", Page("http", "[::1]", "/a", ""), ("[::1]", 80)),
    ],
)
def test_a_page_is_a_path_or_a_url(given: str, page: Page, place: tuple[str, int]) -> None:
    assert Page.of(given) == page
    assert page.place == place


@pytest.mark.parametrize("root_path", ["", "/caf\u00e9", "/elsewhere"])
def test_an_environ_is_that_of_the_engine(root_path: str) -> None:
    seen: list[dict[str, Any]] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append(environ)
        start_response("200 OK", [])
        return []

    service = WSGIService(app, check(AppOptions, {"root_path": root_path, "warm": [PLAIN_URL]}))
    page = Page.of(PLAIN_URL)
    head = f"GET {page.path}?{page.query} HTTP/1.1\r\nhost: x\r\nuser-agent: prefork\r\naccept: */*\r\n\r\n"

    async def client(local: LocalServer) -> None:
        reader, writer = await local.connect()
        writer.write(head.encode())
        await reader.readline()
        writer.close()

    LocalServer(service).run(client)
    list(service.warm())
    real, made = ({key: value for key, value in one.items() if key not in OWN} for one in seen)
    assert made.keys() == real.keys()
    assert {key: made[key] for key in made if not key.startswith("wsgi.")} == {
        key: real[key] for key in real if not key.startswith("wsgi.")
    }
    assert {key: type(made[key]) for key in made} == {key: type(real[key]) for key in real}
    assert seen[1]["HTTP_HOST"] == "shop.example:8443"
    assert (seen[1]["SERVER_NAME"], seen[1]["SERVER_PORT"]) == ("shop.example", "8443")
    assert seen[1]["wsgi.input"].read() == b""


@pytest.mark.parametrize("root_path", ["", "/caf\u00e9", "/elsewhere"])
def test_a_scope_is_that_of_the_engine(root_path: str) -> None:
    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((scope, await receive()))
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    service = ASGIService(
        app, check(AppOptions, {"root_path": root_path, "lifespan": "off", "warm": [PLAIN_URL]})
    )
    page = Page.of(PLAIN_URL)
    fields = "".join(f"{name}: {value}\r\n" for name, value in page.fields)

    async def client(local: LocalServer) -> None:
        reader, writer = await local.connect()
        writer.write(f"GET {page.path}?{page.query} HTTP/1.1\r\n{fields}\r\n".encode())
        await reader.readline()
        writer.close()

    LocalServer(service).run(client)
    list(service.warm())
    (real, real_message), (made, message) = seen
    assert message == real_message
    for one in (real, made):
        del one["client"], one["server"]
    assert made == real
    assert type(made) is type(real)


def test_https_is_said_as_the_engine_says_it() -> None:
    page = Page.of(URL)
    made = environ({"wsgi.url_scheme": "http"}, page, "")
    assert (made["wsgi.url_scheme"], made["HTTPS"]) == ("https", "on")
    assert scope({"extensions": {}, "state": {}}, page, "")["scheme"] == "https"


# --- what comes of it: WSGI --------------------------------------------------------------------------------


class Body:
    def __init__(self, parts: Iterator[Any] | list[Any]) -> None:
        self.parts = iter(parts)
        self.is_closed = False

    def __iter__(self) -> Iterator[Any]:
        return self.parts

    def close(self) -> None:
        self.is_closed = True


def responding(body: Any, status: str = "200 OK") -> Any:
    def app(_environ: Any, start_response: Any) -> Any:
        start_response(status, [])
        return body

    return app


def test_a_body_is_read_and_closed() -> None:
    body = Body([b"one", b"two"])
    assert probe_wsgi(responding(body), {}) == Outcome(200)
    assert body.is_closed
    assert next(body.parts, None) is None


def test_an_error_page_of_plain_text_is_in_the_outcome() -> None:
    assert str(probe_wsgi(responding([b"no\n database"], "503 X"), {})) == "503: no database"
    assert str(probe_wsgi(responding([b"<html>"], "503 X"), {})) == "503"


def test_the_status_may_come_late_and_change() -> None:
    def app(_environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b""
        try:
            raise LookupError
        except LookupError as error:
            start_response("404 Not Found", [], (type(error), error, error.__traceback__))
        yield b"gone"

    assert probe_wsgi(app, {}) == Outcome(404, says="gone")


def test_a_body_may_be_written() -> None:
    def app(_environ: Any, start_response: Any) -> list[bytes]:
        start_response("400 Bad Request", [])(b"written")
        return []

    assert probe_wsgi(app, {}) == Outcome(400, says="written")


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (None, "it returned None: expected an iterable of bytes"),
        ("text", "it returned 'text': expected an iterable of bytes"),
        (["text"], "a part of its body is of type str: expected bytes"),
    ],
)
def test_a_body_that_is_none_is_a_problem(body: Any, problem: str) -> None:
    assert problem in probe_wsgi(responding(body), {}).problem


def test_a_response_that_is_missing_is_a_problem() -> None:
    assert probe_wsgi(lambda _environ, _start: [], {}) == Outcome(None, "it returned without a response")
    assert "before it called start_response" in probe_wsgi(lambda _environ, _start: [b"x"], {}).problem


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), GeneratorExit()])
def test_what_it_raises_is_named_with_its_place(error: BaseException) -> None:
    body = Body([])

    def app(_environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        raise error

    assert probe_wsgi(app, {}).problem.startswith(f"it raised {error!r} ({__file__}:")
    assert not body.is_closed


def test_a_call_has_a_context_of_its_own() -> None:
    variable: ContextVar[str] = ContextVar("variable")

    def app(_environ: Any, start_response: Any) -> list[bytes]:
        variable.set("set")
        start_response("200 OK", [])
        return []

    assert probe_wsgi(app, {}) == Outcome(200)
    assert variable.get("unset") == "unset"


def test_an_application_that_blocks_is_interrupted() -> None:
    def app(_environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        while True:
            time.sleep(60)

    former = signal.getsignal(signal.SIGALRM)
    assert probe_wsgi(app, {}, 0.05) == Outcome(200, "it had not ended after 0.05 s")
    assert signal.getsignal(signal.SIGALRM) is former


# --- what comes of it: ASGI --------------------------------------------------------------------------------

START = {"type": "http.response.start", "status": 200, "headers": []}
BODY = {"type": "http.response.body", "body": b"ok"}


def outcome_of(app: Any, within_s: float = 5.0) -> Outcome:
    return asyncio.run(probe_asgi(app, {"type": "http"}, within_s))


def sending(*messages: dict[str, Any]) -> Any:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    return app


@pytest.mark.parametrize(
    ("messages", "outcome"),
    [
        ([START, BODY], Outcome(200)),
        ([START, BODY | {"more_body": True}, BODY], Outcome(200)),
        ([START | {"trailers": True}, BODY, {"type": "http.response.trailers"}], Outcome(200)),
        ([{"type": "http.response.early_hint"}, START, BODY], Outcome(200)),
        ([START, {"type": "http.response.pathsend", "path": "/x"}], Outcome(200)),
        ([START | {"status": 503}, BODY], Outcome(503, says="ok")),
        ([], Outcome(None, "it returned without a response")),
        ([START, BODY | {"more_body": True}], Outcome(200, "it returned in the middle of its response")),
    ],
)
def test_messages_are_a_response(messages: list[dict[str, Any]], outcome: Outcome) -> None:
    assert outcome_of(sending(*messages)) == outcome


@pytest.mark.parametrize(
    "messages", [[BODY], [START, START], [START, BODY, BODY], [{"type": "websocket.close"}]]
)
def test_a_message_out_of_turn_is_a_problem(messages: list[dict[str, Any]]) -> None:
    assert "which has no place there" in outcome_of(sending(*messages)).problem


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3)])
def test_what_an_asgi_application_raises_is_named_with_its_place(error: BaseException) -> None:
    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise error

    assert outcome_of(app).problem.startswith(f"it raised {error!r} ({__file__}:")


def test_the_client_leaves_when_the_response_is_complete() -> None:
    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(START)
        leaves = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        assert not leaves.done()
        await send(BODY)
        assert (await leaves)["type"] == "http.disconnect"

    assert outcome_of(app) == Outcome(200)


def test_an_endless_stream_is_cancelled() -> None:
    ended: list[str] = []

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send(START)
        try:
            while True:
                await send(BODY | {"more_body": True})
                await asyncio.sleep(0.001)
        finally:
            ended.append("ended")

    assert outcome_of(app, 0.05) == Outcome(200, "it had not ended after 0.05 s")
    assert ended == ["ended"]


def test_an_asgi_application_that_blocks_its_loop_is_interrupted() -> None:
    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        time.sleep(60)

    assert outcome_of(app, 0.05) == Outcome(None, "it had not ended after 0.05 s")


def test_a_timer_of_the_program_goes_on() -> None:
    came: list[int] = []
    former = signal.signal(signal.SIGALRM, lambda signum, _frame: came.append(signum))
    left_s, _ = signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        assert probe_wsgi(responding([]), {}) == Outcome(200)
        wait_until(lambda: came, "the program's timer")
    finally:
        signal.signal(signal.SIGALRM, former)
        signal.setitimer(signal.ITIMER_REAL, left_s)
