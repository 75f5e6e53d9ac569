"""WebSockets of an ASGI application, as a well-behaved client sees them."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
from collections.abc import Iterator
from typing import Any

import pytest
import websockets.sync.client
from websockets.exceptions import ConnectionClosed, InvalidStatus

from support import websocket
from support.apps import WEBSOCKET_APP
from support.server import Serve, Server, running
from support.waiting import wait_until
from support.websocket import BINARY, CLOSE, LAST, PING, PONG, TEXT, Frame, RawSocket, frame


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running(str(WEBSOCKET_APP), "--bind", "127.0.0.1:0", "--workers", "1") as server:
        yield server


@contextlib.contextmanager
def connect(server: Server, path: str = "echo", **options: Any) -> Iterator[Any]:
    url = f"ws://{server.host}:{server.port}/{path}"
    with websockets.sync.client.connect(url, sock=server.connect(), max_size=None, **options) as client:
        yield client


# --- messages --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["deflate", None])
def test_messages_of_any_size_come_back_as_they_were_sent(server: Server, compression: str | None) -> None:
    messages: list[str | bytes] = ["", b"", "caf\u00e9", b"\xff\x00", "x" * 125, "x" * 126, "x" * 65535]
    messages += ["x" * 65536, os.urandom(1 << 20), b"ab" * (1 << 20), "\u20ac" * 100_000]
    with connect(server, compression=compression) as client:
        for message in messages:
            client.send(message)
            assert client.recv() == message


def test_many_messages_in_one_read_come_back_in_order(server: Server) -> None:
    with RawSocket(server) as client:
        client.send(b"".join(frame(TEXT, str(number).encode()) for number in range(1000)))
        assert [client.receive().payload for _ in range(1000)] == [str(n).encode() for n in range(1000)]


def test_fragments_are_joined_and_pings_between_them_answered(server: Server) -> None:
    with RawSocket(server) as client:
        client.send(frame(TEXT, b"caf\xc3", first=0) + frame(PING, b"?") + frame(0, b"\xa9"))
        assert client.receive() == Frame(LAST | PONG, b"?")
        assert client.receive() == Frame(LAST | TEXT, b"caf\xc3\xa9")


def test_text_is_str_and_bytes_are_bytes(server: Server) -> None:
    with connect(server, "confuse") as client:
        assert [client.recv() for _ in range(2)] == [b"one", b"two"]
        found = [client.recv() for _ in range(4)]
    assert found == [
        "text: expected a str, got bytes",
        "bytes: expected bytes, got str",
        "text: expected a str, got int",
        "bytes: expected bytes, got NoneType",
    ]


def test_a_message_may_come_byte_by_byte(server: Server) -> None:
    with RawSocket(server) as client:
        for byte in frame(TEXT, b"slow") + frame(BINARY, b"x" * 200):
            client.send(bytes([byte]))
        assert client.receive().payload == b"slow"
        assert client.receive() == Frame(LAST | BINARY, b"x" * 200)


def test_what_was_said_before_a_close_is_heard(server: Server) -> None:
    with RawSocket(server, "/listen") as client:
        client.send(frame(TEXT, b"one") + frame(TEXT, b"two") + frame(CLOSE, b"\x0f\xa1gone"))
    server.wait_log("recorded ['one', 'two'], then 4001 'gone'")


def test_compression_is_what_the_client_and_the_operator_agree_on(serve: Serve) -> None:
    offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
    reported = "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12"
    with RawSocket(server := serve(WEBSOCKET_APP, "--workers", "1"), fields=offer) as client:
        assert f"Sec-WebSocket-Extensions: {reported}" in client.head
        client.send(frame(TEXT, b"a" * 2000))
        response = client.receive()
        assert response.first == LAST | 0x40 | TEXT
        assert len(response.payload) < 100
        client.send(frame(TEXT, b"small"))
        assert client.receive() == Frame(LAST | TEXT, b"small")  # not worth it
    with RawSocket(server) as client:
        assert "Extensions" not in client.head
    with RawSocket(serve(WEBSOCKET_APP, "--workers", "1", "--no-ws-deflate"), fields=offer) as client:
        assert "Extensions" not in client.head


# --- the opening -----------------------------------------------------------------------------------------


def test_the_application_sees_the_scope_and_chooses_header_fields(server: Server) -> None:
    with connect(server, "scoped", subprotocols=["a", "b"]) as client:
        assert client.response.headers["x-seen"] == "/scoped"
        assert eval(client.recv()) == {
            "type": "websocket",
            "scheme": "ws",
            "http_version": "1.1",
            "subprotocols": ["a", "b"],
            "extensions": {"websocket.http.response": {}},
            "has_method": False,
        }
        with pytest.raises(ConnectionClosed):
            client.recv()
        assert (client.close_code, client.close_reason) == (4000, "seen")
    server.wait_log("then {'type': 'websocket.disconnect', 'code': 4000, 'reason': 'seen'}")


def test_header_fields_may_be_any_iterables_of_two_byte_strings(server: Server) -> None:
    with RawSocket(server, "/shaped") as client:
        assert "\r\nx-one: 1\r\nx-two: 2\r\n" in client.head


def test_a_subprotocol_is_agreed_on(server: Server) -> None:
    with connect(server, subprotocols=["chat", "news"]) as client:
        assert client.subprotocol == "news"


@pytest.mark.parametrize(
    ("path", "status", "body"), [("refuse", 403, b""), ("refuse_with", 418, b"short and stout")]
)
def test_the_application_may_refuse(server: Server, path: str, status: int, body: bytes) -> None:
    with pytest.raises(InvalidStatus) as refused, connect(server, path):
        pass
    response = refused.value.response
    assert response.status_code == status
    assert response.body == body
    assert response.headers.get("x-why") == ("not you" if body else None)


def test_an_application_that_has_refused_receives_nothing_more(server: Server) -> None:
    with RawSocket(server, "/refuse"):
        server.wait_log("refused, then {'type': 'websocket.disconnect', 'code': 1006, 'reason': ''}")


def test_a_refusal_leaves_the_connection_to_the_next_request(server: Server) -> None:
    with RawSocket(server, "/refuse") as client:
        assert client.status == 403
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        response = http.client.HTTPResponse(client.sock)
        response.begin()
        assert response.status == 200


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        (("Version: 13", "Version: 8"), 426),
        (("Key: dGhl", "Key: "), 400),
        (("Upgrade: websocket", "Upgrade: h2c"), 200),
        (("Connection: Upgrade", "Connection: keep-alive"), 200),
        (("GET", "POST"), 200),
    ],
)
def test_what_does_not_ask_properly_is_not_upgraded(
    server: Server, changed: tuple[str, str], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "OPENING", websocket.OPENING.replace(*changed))
    with RawSocket(server) as client:
        assert client.status == status
        assert ("Sec-WebSocket-Version: 13" in client.head) == (status in (400, 426))


# --- the end ---------------------------------------------------------------------------------------------


def test_the_application_hears_the_code_and_the_reason(server: Server) -> None:
    with connect(server) as client:
        client.close(3001, "enough")
        assert client.close_code == 3001
    server.wait_log("ended 3001 'enough'")


def test_a_close_without_a_code_is_1005(server: Server) -> None:
    with RawSocket(server) as client:
        client.send(frame(CLOSE))
        assert client.receive() == Frame(LAST | CLOSE, b"")
        assert client.is_over()
    server.wait_log("ended 1005 ''")


def test_an_application_that_returns_closes_with_1000(server: Server) -> None:
    with connect(server, "leave") as client:
        with pytest.raises(ConnectionClosed):
            client.recv()
        assert client.close_code == 1000


@pytest.mark.parametrize("options", [("--workers", "1"), ("--start", "0")], ids=["pool", "alone"])
def test_a_server_that_stops_says_so(serve: Serve, options: tuple[str, ...]) -> None:
    server = serve(WEBSOCKET_APP, *options)
    with connect(server) as client:
        client.send("there?")
        assert client.recv() == "there?"
        server.signal(15)
        with pytest.raises(ConnectionClosed):
            client.recv()
        assert client.close_code == 1001
    assert server.wait() == 0
    assert "ended 1001 ''" in server.log


def test_a_worker_that_is_replaced_says_so(serve: Serve) -> None:
    server = serve(WEBSOCKET_APP, "--workers", "1")
    with connect(server) as client:
        server.signal(1)  # HUP
        with pytest.raises(ConnectionClosed):
            client.recv()
        assert client.close_code == 1012
    assert server.get("/alive")


def test_a_peer_that_does_not_respond_our_close_is_not_waited_for_for_ever(server: Server) -> None:
    with RawSocket(server, "/leave") as client:
        assert client.receive().code == 1000
        assert client.is_over()  # after five seconds
    server.wait_idle()


def test_a_websocket_counts_as_a_request_in_flight(server: Server) -> None:
    def in_flight() -> int:
        count: int = server.status()["workers"][0]["in_flight"]
        return count

    server.wait_idle()
    with connect(server), connect(server):
        wait_until(lambda: in_flight() == 2, "two in flight")
    server.wait_idle()


def test_nothing_is_left_of_many(server: Server) -> None:
    async def one(number: int) -> None:
        async with websockets.connect(server.url.replace("http", "ws", 1) + "/echo") as client:
            await client.send(str(number))
            assert await client.recv() == str(number)
            if number % 3 == 0:
                client.transport.abort()
                await client.wait_closed()

    async def all_of_them() -> None:
        for _ in range(5):
            await asyncio.gather(*(one(number) for number in range(60)))

    server.wait_idle()
    (worker,) = server.workers()
    before = server.descriptors(worker)
    asyncio.run(all_of_them())
    server.wait_idle()
    assert server.descriptors(worker) <= before


def test_nothing_of_one_that_is_over_waits_for_the_collector(serve: Serve) -> None:
    server = serve(WEBSOCKET_APP, "--start", "0")
    left = []
    for _ in range(3):
        with connect(server, "alive") as client:
            left.append(client.recv())
        server.get("/")  # its end is known
    assert len(set(left)) == 1, left
