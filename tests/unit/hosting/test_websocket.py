"""WebSockets of an ASGI application: the messages of one conversation."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from prefork.config.checked import check
from prefork.config.options import AppOptions
from prefork.hosting.asgi import ASGIService
from prefork.hosting.asgi_types import Receive, Scope, Send
from support.local_server import LocalServer
from support.websocket import BINARY, CLOSE, LAST, OPENING, TEXT, Frame, frame

ACCEPT = {"type": "websocket.accept"}


def local_server(app: Any, server: dict[str, Any] | None = None) -> LocalServer:
    return LocalServer(ASGIService(app, check(AppOptions, {"lifespan": "off"})), **(server or {}))


class Client:
    """The client's end of one WebSocket, in the loop that serves."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @staticmethod
    async def open(local: LocalServer, path: str = "/chat", fields: str = "") -> tuple[Client, str]:
        """The client, and the head of the response."""
        reader, writer = await local.connect()
        writer.write(OPENING.format(path=path, fields=fields).encode())
        head = await reader.readuntil(b"\r\n\r\n")
        return Client(reader, writer), head.decode()

    def send(self, opcode: int, payload: bytes = b"") -> None:
        self.writer.write(frame(opcode, payload))

    async def receive(self) -> Frame:
        first, length = await self.reader.readexactly(2)
        assert length < 126
        return Frame(first, await self.reader.readexactly(length))


def test_text_and_bytes_go_both_ways_until_the_client_closes() -> None:
    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "websocket"
        assert "method" not in scope
        assert scope["scheme"] == "ws"
        while True:
            message = await receive()
            seen.append(message)
            match message["type"]:
                case "websocket.connect":
                    await send(ACCEPT)
                case "websocket.receive":
                    await send({**message, "type": "websocket.send"})
                case _:
                    return

    async def client(local: LocalServer) -> None:
        peer, head = await Client.open(local)
        assert head.startswith("HTTP/1.1 101 ")
        peer.send(TEXT, "é".encode())
        assert await peer.receive() == (LAST | TEXT, "é".encode())
        peer.send(BINARY, b"\x00")
        assert await peer.receive() == (LAST | BINARY, b"\x00")
        peer.send(CLOSE, (1000).to_bytes(2, "big") + b"bye")
        assert (await peer.receive()).code == 1000
        peer.writer.close()

    local = local_server(app)
    local.run(client)
    assert seen == [
        {"type": "websocket.connect"},
        {"type": "websocket.receive", "text": "é"},
        {"type": "websocket.receive", "bytes": b"\x00"},
        {"type": "websocket.disconnect", "code": 1000, "reason": "bye"},
    ]
    assert local.errors == []


def test_an_application_chooses_a_subprotocol_and_closes_with_its_code() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        assert scope["subprotocols"] == ["a", "b"]
        await send({**ACCEPT, "subprotocol": "b", "headers": [(b"x-name", b"value")]})
        await send({"type": "websocket.close", "code": 4000, "reason": "enough"})

    async def client(local: LocalServer) -> None:
        peer, head = await Client.open(local, fields="Sec-WebSocket-Protocol: a, b\r\n")
        assert "sec-websocket-protocol: b\r\n" in head.lower()
        assert "x-name: value\r\n" in head.lower()
        closed = await peer.receive()
        assert (closed.code, closed.payload[2:]) == (4000, b"enough")
        peer.writer.close()

    local = local_server(app)
    local.run(client)
    assert local.errors == []


async def refuses(_scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.close"})
    assert (await receive())["type"] == "websocket.disconnect"


async def refuses_with_a_response(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "websocket.http.response.start", "status": 402, "headers": [(b"x-a", b"b")]})
    await send({"type": "websocket.http.response.body", "body": b"pay "})


async def refuses_in_parts(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "websocket.http.response.start", "status": 402, "headers": []})
    await send({"type": "websocket.http.response.body", "body": b"pay ", "more_body": True})
    await send({"type": "websocket.http.response.body", "body": b"first"})


@pytest.mark.parametrize(
    ("app", "status", "end"),
    [(refuses, "403", b""), (refuses_with_a_response, "402", b"pay "), (refuses_in_parts, "402", b"first")],
)
def test_an_application_may_refuse(app: Any, status: str, end: bytes) -> None:
    async def client(local: LocalServer) -> None:
        raw = await local.raw(OPENING.format(path="/", fields="Connection: close\r\n").encode())
        assert raw.startswith(b"HTTP/1.1 " + status.encode())
        assert end in raw.partition(b"\r\n\r\n")[2]

    local = local_server(app)
    local.run(client)
    assert local.errors == []


async def returns(*_: Any) -> None:
    """It neither accepts nor refuses."""


async def fails(*_: Any) -> None:
    raise RuntimeError("on purpose")


async def exits(*_: Any) -> None:
    raise SystemExit(7)


async def sends_too_early(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "websocket.send", "text": "hello"})


@pytest.mark.parametrize(
    ("app", "text"),
    [
        (returns, "application returns returned without a response to WebSocket /chat"),
        (fails, "application fails failed on WebSocket /chat: RuntimeError('on purpose')"),
        (exits, "application exits failed on WebSocket /chat: SystemExit(7)"),
        (sends_too_early, "application sends_too_early failed on WebSocket /chat: RuntimeError("),
    ],
)
def test_a_call_that_ends_before_it_accepts_is_a_500_with_one_line(app: Any, text: str) -> None:
    async def client(local: LocalServer) -> None:
        peer, head = await Client.open(local)
        assert head.startswith("HTTP/1.1 500 ")
        peer.writer.close()

    local = local_server(app)
    local.run(client)
    ((reported, remote_ip),) = local.errors
    assert reported.startswith(text)
    assert remote_ip == "127.0.0.1"


@pytest.mark.parametrize(
    ("error", "code"), [(None, 1000), (RuntimeError("on purpose"), 1011), (SystemExit(7), 1011)]
)
def test_a_call_that_ends_while_it_is_open_closes_it(error: BaseException | None, code: int) -> None:
    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        if error is not None:
            raise error

    async def client(local: LocalServer) -> None:
        peer, _ = await Client.open(local)
        assert (await peer.receive()).code == code
        peer.writer.close()

    local = local_server(app)
    local.run(client)
    assert len(local.errors) == (error is not None)


@pytest.mark.parametrize(
    "message",
    [
        {"type": "websocket.send"},
        {"type": "websocket.send", "text": b"bytes"},
        {"type": "websocket.send", "bytes": "text"},
    ],
)
def test_a_message_with_no_or_the_wrong_content_is_refused(message: dict[str, Any]) -> None:
    raised: list[type[Exception]] = []

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        try:
            await send(message)
        except TypeError as error:
            raised.append(type(error))
        await send({"type": "websocket.send", "text": "still open"})

    async def client(local: LocalServer) -> None:
        peer, _ = await Client.open(local)
        assert (await peer.receive()).payload == b"still open"
        peer.writer.close()

    local_server(app).run(client)
    assert raised == [TypeError]


def test_an_application_hears_as_often_as_it_asks_that_the_client_has_gone() -> None:
    seen: list[Any] = []

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        seen.append(await receive())
        seen.append(await receive())

    async def client(local: LocalServer) -> None:
        peer, _ = await Client.open(local)
        peer.writer.transport.abort()
        while len(seen) < 2:
            await asyncio.sleep(0.001)

    local_server(app).run(client)
    assert [(message["type"], message["code"]) for message in seen] == [("websocket.disconnect", 1006)] * 2


class WebSocketDisconnect(Exception):
    """As Starlette's."""


@pytest.mark.parametrize("bug", [True, False])
def test_a_bug_in_what_follows_a_disconnect_is_an_error(bug: bool) -> None:
    ended: list[bool] = []

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        await receive()
        try:
            raise WebSocketDisconnect
        except WebSocketDisconnect:
            if bug:
                raise KeyError("no such room") from None
            raise
        finally:
            ended.append(True)

    async def client(local: LocalServer) -> None:
        peer, _ = await Client.open(local)
        peer.writer.transport.abort()
        while not ended:
            await asyncio.sleep(0.001)

    local = local_server(app)
    local.run(client)
    text = "application app failed on WebSocket /chat: KeyError('no such room')"
    assert [text for text, _ in local.errors if "application" in text] == [text] * bug


def test_a_response_that_takes_too_long_is_a_504() -> None:
    async def app(*_: Any) -> None:
        await asyncio.sleep(60)

    async def client(local: LocalServer) -> None:
        peer, head = await Client.open(local)
        assert head.startswith("HTTP/1.1 504 ")
        peer.writer.close()

    local_server(app, {"request_timeout": 0.05}).run(client)


def test_a_request_that_is_no_proper_opening_never_reaches_the_application() -> None:
    async def client(local: LocalServer) -> None:
        opening = OPENING.format(path="/", fields="Connection: close\r\n").replace(
            "Sec-WebSocket-Key", "X-Key"
        )
        assert (await local.raw(opening.encode())).startswith(b"HTTP/1.1 400 ")

    local_server(lambda *_: pytest.fail("it was called")).run(client)
