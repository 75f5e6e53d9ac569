"""The exchanges of ASGI beside an engine and a loop: one language of messages, and waiting in `receive`."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, suppress
from typing import Any

import pytest

from prefork import Request, Response
from prefork._engine import HTTPExchange, WebSocketExchange
from prefork.config.checked import check
from prefork.config.options import AppOptions
from support.engine import LocalEngine, RunEngine, Service, raw_request
from support.websocket import BINARY, OPENING, TEXT, frame

Exchange = HTTPExchange | WebSocketExchange
Opened = Callable[[bytes], tuple[LocalEngine, Exchange]]


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
def opened(run_engine: RunEngine, loop: asyncio.AbstractEventLoop) -> Opened:
    """`opened(data)` is an engine, and the exchange of the request that it was sent."""

    def open_(data: bytes) -> tuple[LocalEngine, Exchange]:
        exchanges: list[Exchange | None] = []

        def request(request: Request, response: Response) -> None:
            if request.websocket:
                options = check(AppOptions, {})
                exchanges.append(WebSocketExchange.offered(response, options, loop.create_future))
            else:
                exchanges.append(HTTPExchange(request, response, loop.create_future))

        service = Service(request)
        service.pulls_bodies = True
        there = run_engine(service=service)
        there.connect(data)
        there.turn_until(lambda: exchanges)
        exchange = exchanges.pop()
        assert exchange is not None
        return there, exchange

    return open_


HTTP = raw_request("/", "Content-Length: 6", method="POST")
WEBSOCKET = OPENING.format(path="/", fields="").encode()
PROTOCOLS = pytest.mark.parametrize(
    ("data", "response"),
    [(HTTP, "http.response"), (WEBSOCKET, "websocket.http.response")],
    ids=["http", "websocket"],
)


def run(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any]) -> Any:
    return loop.run_until_complete(work)


def turn(loop: asyncio.AbstractEventLoop) -> None:
    loop.call_soon(loop.stop)
    loop.run_forever()


@PROTOCOLS
@pytest.mark.parametrize(
    ("message", "error", "text"),
    [
        ({}, TypeError, 'message {}: it needs "type"'),
        ({"type": 5}, TypeError, "type: expected a str, got int"),
        (
            {"type": "lifespan.startup"},
            RuntimeError,
            "the application sent lifespan.startup, the server expects",
        ),
        ({"type": ".body"}, RuntimeError, "the application sent .body, the server expects"),
        ({"type": ".start"}, TypeError, 'it needs "status"'),
        ({"type": ".start", "status": "200"}, TypeError, "status: expected an int, as 200, got str"),
        (
            {"type": ".start", "status": 200, "headers": [("a", "b")]},
            TypeError,
            "header ('a', 'b'): expected two",
        ),
    ],
)
def test_the_same_mistake_has_the_same_text(
    opened: Opened,
    data: bytes,
    response: str,
    message: dict[str, Any],
    error: type[Exception],
    text: str,
) -> None:
    _, exchange = opened(data)
    if str(message.get("type")).startswith("."):
        message = message | {"type": response + message["type"]}
        text = text.replace(" .", f" {response}.")
    with pytest.raises(error) as raised:
        exchange.send(message)
    assert text in str(raised.value)


@PROTOCOLS
def test_a_body_is_bytes(opened: Opened, loop: asyncio.AbstractEventLoop, data: bytes, response: str) -> None:
    there, exchange = opened(data)
    run(loop, exchange.send({"type": f"{response}.start", "status": 201}))
    with pytest.raises(TypeError, match="body: expected bytes, got str"):
        exchange.send({"type": f"{response}.body", "body": "text"})
    run(loop, exchange.send({"type": f"{response}.body", "body": bytearray(b"fine")}))
    assert there.read(there.clients[0], enough=b"fine").startswith(b"HTTP/1.1 201 ")


def accepted(opened: Opened, loop: asyncio.AbstractEventLoop) -> tuple[LocalEngine, Exchange]:
    there, exchange = opened(WEBSOCKET)
    assert run(loop, exchange.receive()) == {"type": "websocket.connect"}
    run(loop, exchange.send({"type": "websocket.accept"}))
    there.read(there.clients[0], enough=b"\r\n\r\n")
    return there, exchange


@pytest.mark.parametrize("protocol", ["http", "websocket"])
def test_a_reader_that_is_cancelled_as_its_message_comes_loses_none(
    opened: Opened, loop: asyncio.AbstractEventLoop, protocol: str
) -> None:
    there, exchange = opened(HTTP) if protocol == "http" else accepted(opened, loop)
    reader: asyncio.Task[Any] = loop.create_task(exchange.receive())
    turn(loop)
    there.clients[0].sendall(b"abc" if protocol == "http" else frame(TEXT, b"abc"))
    for _ in range(20):
        there.engine.poll(0.01)
    reader.cancel()
    turn(loop)
    assert reader.cancelled()
    received = run(loop, exchange.receive())
    assert received.get("body", received.get("text")) in (b"abc", "abc")


@pytest.mark.parametrize("protocol", ["http", "websocket"])
def test_a_reader_that_is_cancelled_before_it_runs_takes_nothing(
    opened: Opened, loop: asyncio.AbstractEventLoop, protocol: str
) -> None:
    there, exchange = opened(HTTP + b"abc") if protocol == "http" else opened(WEBSOCKET)
    reader: asyncio.Task[Any] = loop.create_task(exchange.receive())
    reader.cancel()
    turn(loop)
    assert reader.cancelled()
    received = run(loop, exchange.receive())
    assert received.get("body", received["type"]) in (b"abc", "websocket.connect")
    exchange.receive()  # and one that is never awaited takes nothing either
    if protocol == "http":
        there.clients[0].sendall(b"def")
        reader = loop.create_task(exchange.receive())
        there.turn_until(lambda: turn(loop) or reader.done())
        assert reader.result() == {"type": "http.request", "body": b"def", "more_body": False}


def test_a_body_comes_in_large_parts_if_they_are_there(loop: asyncio.AbstractEventLoop) -> None:
    exchanges: list[HTTPExchange] = []

    def request(request: Request, response: Response) -> None:
        exchanges.append(HTTPExchange(request, response, loop.create_future))

    service = Service(request)
    service.pulls_bodies = True
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    with closing(LocalEngine(service=service, listener=listener)) as there:
        client = there.connect(raw_request("/", f"Content-Length: {1 << 20}", method="POST"))
        there.turn_until(lambda: exchanges)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        client.setblocking(False)
        client.send(bytes(1 << 20))
        reader: asyncio.Task[Any] = loop.create_task(exchanges[0].receive())
        there.turn_until(lambda: turn(loop) or reader.done())
        assert 128 << 10 < len(reader.result()["body"]) < 640 << 10


KIB = 1 << 10
MIB = 1 << 20


@pytest.mark.parametrize(
    ("framing", "sent", "outruns", "least"),
    [
        (f"Content-Length: {MIB}", bytes(32 * KIB), False, 1),
        (f"Content-Length: {MIB}", bytes(128 * KIB), True, 256 * KIB),
        (f"Content-Length: {MIB}", bytes(768 * KIB), True, 1),  # the rest is short
        ("Transfer-Encoding: chunked", b"100000\r\n" + bytes(128 * KIB), True, 1),  # perhaps it is short
    ],
)
def test_a_client_that_outruns_the_application_is_read_in_large_parts(
    opened: Opened,
    loop: asyncio.AbstractEventLoop,
    framing: str,
    sent: bytes,
    outruns: bool,
    least: int,
) -> None:
    there, exchange = opened(raw_request("/", framing, method="POST"))
    client = there.clients[0]
    client.setblocking(False)
    size = len(sent) - (sent[:1] != b"\0") * 8
    with closing(other_end(client)) as served:
        while size:
            with suppress(BlockingIOError):
                sent = sent[client.send(sent) :]
            size -= len(receive(there, loop, exchange))
        assert (served.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= 512 * KIB) == outruns
        assert served.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) == least


def test_a_client_that_stops_after_it_was_fast_is_read_soon(
    opened: Opened, loop: asyncio.AbstractEventLoop
) -> None:
    there, exchange = opened(raw_request("/", f"Content-Length: {MIB}", method="POST"))
    client = there.clients[0]
    client.sendall(bytes(128 * KIB))
    size = 0
    while size < 128 * KIB:
        size += len(receive(there, loop, exchange))
    with closing(other_end(client)) as served:
        assert served.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) == 256 * KIB
        client.sendall(b"slow")
        assert receive(there, loop, exchange) == b"slow"
        client.sendall(b"er")
        assert receive(there, loop, exchange) == b"er"
        assert served.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) == 1


def receive(there: LocalEngine, loop: asyncio.AbstractEventLoop, exchange: Exchange) -> bytes:
    """The next part of the body."""
    reader: asyncio.Task[Any] = loop.create_task(exchange.receive())
    there.turn_until(lambda: turn(loop) or reader.done())
    body = reader.result()["body"]
    assert isinstance(body, bytes)
    return body


def other_end(client: socket.socket) -> socket.socket:
    """The socket of this process that a client is connected to."""
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            found = socket.socket(fileno=os.dup(int(name)))
            with suppress(OSError):
                if found.getpeername() == client.getsockname():
                    return found
            found.close()
    raise LookupError("there is none")


def test_two_readers_get_a_message_each_in_their_order(
    opened: Opened, loop: asyncio.AbstractEventLoop
) -> None:
    there, exchange = accepted(opened, loop)
    readers: list[asyncio.Task[Any]] = [loop.create_task(exchange.receive()) for _ in range(2)]
    turn(loop)
    there.clients[0].sendall(frame(TEXT, b"one"))
    for _ in range(10):
        there.engine.poll(0.01)
        turn(loop)
    assert [reader.done() for reader in readers] == [True, False]
    there.clients[0].sendall(frame(BINARY, b"two"))
    for _ in range(10):
        there.engine.poll(0.01)
        turn(loop)
    assert [reader.result() for reader in readers] == [
        {"type": "websocket.receive", "text": "one"},
        {"type": "websocket.receive", "bytes": b"two"},
    ]


@PROTOCOLS
def test_a_reader_hears_that_the_client_has_left(
    opened: Opened, loop: asyncio.AbstractEventLoop, data: bytes, response: str
) -> None:
    there, exchange = opened(data)
    if data == WEBSOCKET:
        run(loop, exchange.receive())
    reader: asyncio.Task[Any] = loop.create_task(exchange.receive())
    turn(loop)
    there.clients[0].close()
    there.turn_until(lambda: turn(loop) or reader.done())
    assert reader.result()["type"] == f"{response.partition('.')[0]}.disconnect"
    assert run(loop, exchange.receive()) == reader.result()
