"""What becomes of the calls of an ASGI application."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

import pytest

from prefork.config.checked import check
from prefork.config.options import AppOptions
from prefork.hosting.asgi import ASGIService
from prefork.hosting.asgi_types import Receive, Scope, Send
from support.engine import raw_request
from support.leaving import reset_stream
from support.local_server import LocalServer

START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}


def body(data: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


def local_server(app: Any, server: dict[str, Any] | None = None, **options: Any) -> LocalServer:
    return LocalServer(ASGIService(app, check(AppOptions, {"lifespan": "off"} | options)), **(server or {}))


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """The body, and what came of it in one line."""
    received = b""
    while True:
        message = await receive()
        received += message.get("body", b"")
        if not message.get("more_body"):
            break
    await send(START)
    await send(body(received + b" " + scope["path"].encode()))


def test_a_request_is_served_by_what_the_application_sends() -> None:
    async def client(local: LocalServer) -> None:
        response = await local.get("/a", method="POST", body=b"hello")
        assert (response.status, response.body) == (200, b"hello /a")
        assert response.headers["content-type"] == "text/plain"

    local = local_server(echo)
    local.run(client)
    assert local.errors == []


def test_a_scope_has_the_base_of_its_process_and_what_the_request_says() -> None:
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await echo(scope, receive, send)

    async def client(local: LocalServer) -> None:
        await local.get("/shop/%C3%A9?q=1", "X-Name: value")
        sockets = local.server.listening
        assert sockets is not None
        (scope,) = scopes
        assert scope["server"] == (sockets.address, sockets.port)

    local_server(app, root_path="/shop").run(client)
    (scope,) = scopes
    assert scope["type"] == "http"
    assert scope["path"] == "/shop/é"
    assert scope["root_path"] == "/shop"
    assert scope["query_string"] == b"q=1"
    assert (b"x-name", b"value") in scope["headers"]


def test_each_request_has_the_state_that_the_lifespan_filled() -> None:
    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            scope["state"]["database"] = "open"
            for phase in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{phase}.complete"})
            seen.append("shut down")
            return
        seen.append(dict(scope["state"]))
        await echo(scope, receive, send)

    async def client(local: LocalServer) -> None:
        await local.get()

    local_server(app, lifespan="on").run(client)
    assert seen == [{"database": "open"}, "shut down"]


class Framework:
    """An application that is no coroutine function, as frameworks have them."""

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Any:
        return echo(scope, receive, send)


def test_an_application_may_be_any_callable() -> None:
    async def client(local: LocalServer) -> None:
        assert (await local.get("/a")).body == b" /a"

    local_server(Framework()).run(client)


def silent() -> Any:
    async def app(*_: Any) -> None:
        await asyncio.sleep(0)

    return app


def silent_at_once() -> Any:
    async def app(*_: Any) -> None:
        """It returns in its first step."""

    return app


def breaks_off() -> Any:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send(START)
        await send(body(b"one", more=True))

    return app


def fails() -> Any:
    async def app(*_: Any) -> None:
        raise RuntimeError("on purpose")

    return app


def fails_later() -> Any:
    async def app(*_: Any) -> None:
        await asyncio.sleep(0)
        raise RuntimeError("on purpose")

    return app


def fails_in_its_call() -> Any:
    def app(*_: Any) -> None:
        raise RuntimeError("on purpose")

    return app


def exits() -> Any:
    async def app(*_: Any) -> None:
        raise SystemExit(7)

    return app


def exits_later() -> Any:
    async def app(*_: Any) -> None:
        await asyncio.sleep(0)
        raise SystemExit(7)

    return app


def exits_in_its_call() -> Any:
    def app(*_: Any) -> None:
        raise SystemExit(7)

    return app


def is_interrupted() -> Any:
    async def app(*_: Any) -> None:
        await asyncio.sleep(0)
        raise KeyboardInterrupt

    return app


def is_cancelled() -> Any:
    async def app(*_: Any) -> None:
        raise asyncio.CancelledError

    return app


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (silent, "application app returned without a response to GET /a"),
        (silent_at_once, "application app returned without a response to GET /a"),
        (fails, "application app failed on GET /a: RuntimeError('on purpose')"),
        (fails_later, "application app failed on GET /a: RuntimeError('on purpose')"),
        (fails_in_its_call, "application app failed on GET /a: RuntimeError('on purpose')"),
        (exits, "application app failed on GET /a: SystemExit(7)"),
        (exits_later, "application app failed on GET /a: SystemExit(7)"),
        (exits_in_its_call, "application app failed on GET /a: SystemExit(7)"),
        (is_interrupted, "application app failed on GET /a: KeyboardInterrupt()"),
        (is_cancelled, "application app failed on GET /a: CancelledError('it was cancelled')"),
    ],
)
def test_a_call_that_gives_no_response_is_a_500_with_one_line(make: Any, text: str) -> None:
    async def client(local: LocalServer) -> None:
        assert (await local.get("/a")).status == 500

    local = local_server(make())
    local.run(client)
    assert local.errors == [(text, "127.0.0.1")]


def test_a_call_that_ends_in_the_middle_of_its_response_closes_the_connection() -> None:
    async def client(local: LocalServer) -> None:
        assert (await local.raw(raw_request("/a"))).endswith(b"one\r\n")

    local = local_server(breaks_off())
    local.run(client)
    ((text, _),) = local.errors
    assert text == "application app returned in the middle of its response to GET /a"


def test_an_error_that_comes_of_a_client_that_left_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "prefork.server")
    ended: list[bool] = []

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        try:
            await send(START)
            while True:
                await send(body(b"tick", more=True))
                await asyncio.sleep(0)
        finally:
            ended.append(True)

    async def client(local: LocalServer) -> None:
        reader, writer = await local.connect()
        writer.write(raw_request())
        await reader.readuntil(b"tick")
        writer.transport.abort()
        while not ended:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0)

    local = local_server(app)
    local.run(client)
    assert any("the client left: ConnectionGone" in line for line in caplog.messages)
    assert all("application" not in text for text, _ in local.errors)


def test_a_request_that_takes_too_long_is_cancelled() -> None:
    cancelled: list[bool] = []

    async def app(*_: Any) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.append(True)

    async def client(local: LocalServer) -> None:
        assert (await local.get("/a")).status == 504

    local = local_server(app, {"request_timeout": 0.05})
    local.run(client)
    assert cancelled == [True]
    assert [text for text, _ in local.errors] == ["GET /a had no response in 0.05 s: 504"]


@pytest.mark.parametrize("group", [True, False], ids=["task group", "task alone"])
def test_a_task_of_a_request_that_exits_ends_no_other_request(group: bool) -> None:
    others: list[asyncio.Event] = []

    async def exit_(code: int) -> None:
        raise SystemExit(code)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/waits":
            others.append(asyncio.Event())
            await others[0].wait()
        elif group:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(exit_(7))
        else:
            await asyncio.create_task(exit_(7))
        await echo(scope, receive, send)

    async def client(local: LocalServer) -> None:
        waits = asyncio.create_task(local.get("/waits"))
        while not others:
            await asyncio.sleep(0.001)
        assert (await local.get("/exits")).status == 500
        others[0].set()
        assert (await waits).status == 200

    local = local_server(app)
    local.run(client)
    assert [text for text, _ in local.errors] == ["application app failed on GET /exits: SystemExit(7)"]


def test_a_bug_in_what_follows_a_disconnect_is_an_error() -> None:
    begun: list[bool] = []
    ended: list[bool] = []

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        begun.append(True)
        try:
            while (await receive())["type"] != "http.disconnect":
                pass
            raise KeyError("no such room")
        except KeyError:
            await send(START)  # an error page, which does not arrive
        finally:
            ended.append(True)

    async def client(local: LocalServer) -> None:
        _, writer = await local.connect()
        writer.write(raw_request("/a"))
        while not begun:
            await asyncio.sleep(0.001)
        reset_stream(writer)
        while not ended:
            await asyncio.sleep(0.001)

    local = local_server(app)
    local.run(client)
    text = "application app failed on GET /a: ConnectionGone"
    assert [error.startswith(text) for error, _ in local.errors].count(True) == 1


# --- streams while the server drains ------------------------------------------------------------------------


class Streams:
    """Streams its body until it hears something else than the request, and notes what."""

    def __init__(self, path: str = "") -> None:
        self.path = path
        self.heard: list[str] = []
        self.goes_on = asyncio.Event()
        self.is_silent = asyncio.Event()

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if self.path == "late":  # it begins its response when the server drains already
            listening = asyncio.create_task(self.listen(receive))
            await self.goes_on.wait()
            await asyncio.sleep(0)
            assert not listening.done()
        await send(START)
        if self.path == "silent":  # no part of its body has come yet
            self.is_silent.set()
            await self.listen(receive)
            return
        await send(body(b"tick", more=True))
        if self.path == "late":
            await listening
        elif self.path == "polls":
            await self.poll(receive)
        else:
            await self.listen(receive)
        if self.path == "leaves":
            return
        await send(body(b"bye"))

    async def listen(self, receive: Receive) -> None:
        self.heard.append((await receive())["type"])

    async def poll(self, receive: Receive) -> None:
        while not self.heard:
            task = asyncio.create_task(self.listen(receive))
            await asyncio.sleep(0.001)
            task.cancel()


@pytest.mark.parametrize("path", ["", "late", "polls", "leaves", "silent"])
def test_a_stream_is_told_that_the_server_drains(path: str) -> None:
    streams = Streams(path)

    async def client(local: LocalServer) -> None:
        reader, writer = await local.connect()
        writer.write(raw_request("/a"))
        if path == "late":
            while not local.server.service.calls:
                await asyncio.sleep(0.001)
        elif path == "silent":
            await streams.is_silent.wait()
        else:
            await reader.readuntil(b"tick")
        local.server.shutdown(graceful=True)
        streams.goes_on.set()
        rest = await reader.read()
        writer.close()
        assert rest.endswith(b"" if path in ("leaves", "silent") else b"3\r\nbye\r\n0\r\n\r\n")
        assert path != "silent" or rest.startswith(b"HTTP/1.1 200 OK\r\n")

    local = local_server(streams)
    local.run(client)
    assert streams.heard == ["http.disconnect"]
    assert local.errors == []


def test_a_stream_is_not_told_if_that_is_not_wanted() -> None:
    streams = Streams()

    async def client(local: LocalServer) -> None:
        reader, writer = await local.connect()
        writer.write(raw_request("/a"))
        await reader.readuntil(b"tick")
        local.server.shutdown(graceful=True)
        await reader.read()
        writer.close()

    local_server(streams, {"graceful_timeout": 0.1}, drain_streams=False).run(client)
    assert streams.heard == []


def test_a_response_with_a_length_is_not_told() -> None:
    """It has an end of its own, and would be cut."""
    heard: list[str] = []

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        async def listen() -> None:
            heard.append((await receive())["type"])

        await receive()
        listening = asyncio.create_task(listen())
        await send({**START, "headers": [(b"content-length", b"8")]})
        await send(body(b"tick", more=True))
        await asyncio.wait({listening}, timeout=0.1)
        listening.cancel()
        await send(body(b"tock"))

    async def client(local: LocalServer) -> None:
        reader, writer = await local.connect()
        writer.write(raw_request("/a"))
        await reader.readuntil(b"tick")
        local.server.shutdown(graceful=True)
        assert await reader.read() == b"tock"
        writer.close()

    local_server(app).run(client)
    assert heard == []


def test_a_request_whose_body_is_not_complete_is_not_told() -> None:
    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        more = True
        while more:
            message = await receive()
            more = message["more_body"]
            await send(body(message["body"], more=more))

    async def client(local: LocalServer) -> None:
        reader, writer = await local.connect()
        writer.write(raw_request("/a", "Content-Length: 6", method="POST") + b"abc")
        await reader.readuntil(b"abc")
        local.server.shutdown(graceful=True)
        writer.write(b"def")
        assert (await reader.read()).endswith(b"3\r\ndef\r\n0\r\n\r\n")
        writer.close()

    local = local_server(app)
    local.run(client)
    assert local.errors == []


# --- messages that are not understood -----------------------------------------------------------------------


def swallowing(*messages: dict[str, Any]) -> Any:
    """An application that goes on when `send` raises."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        for message in messages:
            with contextlib.suppress(RuntimeError):
                await send(message)

    return app


PATH = {"type": "http.response.pathsend", "path": "/etc/hostname"}
EARLY = "application app returned without a response to GET /a"


@pytest.mark.parametrize(
    ("app", "pathsend", "text"),
    [
        (
            swallowing({"type": "http.nonsense"}),
            False,
            f"{EARLY}: the application sent http.nonsense, the server expects http.response.start",
        ),
        (
            swallowing(START, PATH),
            False,
            f"{EARLY}: the application sent http.response.pathsend, the server expects http.response.body; "
            "the option pathsend allows it",
        ),
        (
            swallowing(START),  # as a middleware passes it on that does not know the other message
            True,
            f"{EARLY}: http.response.pathsend may have been lost in a middleware; unset the option pathsend",
        ),
        (
            swallowing(),  # as one that keeps the first message until another comes
            True,
            f"{EARLY}: http.response.pathsend may have been lost in a middleware; unset the option pathsend",
        ),
        (swallowing(START), False, EARLY),
    ],
)
def test_a_missing_response_is_explained_by_the_message_that_was_not_understood(
    app: Any, pathsend: bool, text: str
) -> None:
    async def client(local: LocalServer) -> None:
        assert (await local.get("/a")).status == 500

    local = local_server(app, pathsend=pathsend)
    local.run(client)
    assert [text for text, _ in local.errors] == [text]


@pytest.mark.parametrize("pathsend", [True, False])
def test_pathsend_is_offered_if_the_option_is_set(pathsend: bool) -> None:
    offered: list[bool] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        offered.append("http.response.pathsend" in scope["extensions"])
        await echo(scope, receive, send)

    async def client(local: LocalServer) -> None:
        await local.get()

    local_server(app, pathsend=pathsend).run(client)
    assert offered == [pathsend]


# --- bodies that are not sent -------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 204])
def test_a_whole_body_in_parts_may_come_to_its_end_without_being_sent(status: int) -> None:
    ended: list[bool] = []

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({**START, "status": status})
        for _ in range(40):
            await send(body(bytes(100_000), more=True))
        await send(body(b""))
        ended.append(True)

    async def client(local: LocalServer) -> None:
        assert (await local.get("/a", method="HEAD")).status == status

    local = local_server(app)
    local.run(client)
    assert ended == [True]
    assert local.errors == []


def test_a_stream_that_is_not_sent_ends_by_an_error() -> None:
    ended: list[OSError] = []

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send(START)
        try:
            while True:
                await send(body(b"tick", more=True))
                await asyncio.sleep(0.01)
        except OSError as error:
            ended.append(error)
            raise

    async def client(local: LocalServer) -> None:
        assert (await local.get("/a", method="HEAD")).status == 200
        while not ended:
            await asyncio.sleep(0.001)

    local = local_server(app)
    local.run(client)
    assert str(ended[0]) == "the response has no body: it is complete with its head"
    assert local.errors == []
