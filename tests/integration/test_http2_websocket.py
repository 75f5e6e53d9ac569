"""WebSocket over HTTP/2: an extended CONNECT, and frames as the data of its stream (RFC 8441)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support import tls
from support.apps import APPS, WEBSOCKET_APP
from support.http2 import CANCEL, DATA, END_STREAM, NO_ERROR, PROTOCOL_ERROR, Http2Client, http2
from support.server import Serve, Server
from support.websocket import BINARY, CLOSE, LAST, PING, PONG, TEXT, Frame, frame


@pytest.fixture(params=[("--h2c",), tls.OPTIONS], ids=["h2c", "tls"])
def server(serve: Serve, request: pytest.FixtureRequest) -> Server:
    return serve(WEBSOCKET_APP, "--workers", "1", *request.param)


@pytest.fixture
def client(server: Server) -> Iterator[Http2Client]:
    with http2(server) as client:
        yield client


def connect(
    client: Http2Client, path: str = "/echo", *fields: tuple[str, str], protocol: str = "websocket"
) -> int:
    """Ask for a WebSocket, and return its stream."""
    pseudo = [(":method", "CONNECT"), (":protocol", protocol), (":scheme", "http"), (":path", path)]
    return client.ask(
        fields=[("sec-websocket-version", "13"), *fields],
        ended=False,
        pseudo=[*pseudo, (":authority", "test")],
    )


def opened(client: Http2Client, path: str = "/echo") -> int:
    stream = connect(client, path)
    while not client.streams[stream].status:
        client.read_frame()
    assert client.streams[stream].status == 200
    return stream


def receive(client: Http2Client, stream: int) -> Frame:
    """Return the next frame of a WebSocket. EOFError at the end of its stream."""
    response = client.streams[stream]

    def take(count: int) -> bytes:
        while len(response.body) < count:
            if response.ended or response.reset is not None:
                raise EOFError
            client.read_frame()
        taken, response.body = response.body[:count], response.body[count:]
        return taken

    first, length = take(2)
    if length > 125:
        length = int.from_bytes(take(2 if length == 126 else 8), "big")
    return Frame(first, take(length))


def test_messages_go_both_ways(client: Http2Client) -> None:
    stream = opened(client)
    for opcode, text in ((TEXT, b"hello"), (BINARY, bytes(300)), (TEXT, b"")):
        client.send(DATA, 0, stream, frame(opcode, text))
        assert receive(client, stream) == (LAST | opcode, text)


def test_the_response_accepts_by_its_status(client: Http2Client) -> None:
    stream = connect(client, "/echo", ("sec-websocket-protocol", "a, b"))
    while not client.streams[stream].status:
        client.read_frame()
    fields = client.streams[stream].fields
    assert fields["sec-websocket-protocol"] == "b"
    assert not {"sec-websocket-accept", "upgrade", "connection", "content-length"} & set(fields)


def test_frames_may_come_in_pieces(client: Http2Client) -> None:
    stream = opened(client)
    sent = frame(TEXT, b"one") + frame(TEXT, b"two")
    for at in range(len(sent)):
        client.send(DATA, 0, stream, sent[at : at + 1])
    assert receive(client, stream).payload == b"one"
    assert receive(client, stream).payload == b"two"


def test_a_message_larger_than_the_windows(client: Http2Client) -> None:
    stream = opened(client)
    text = bytes(range(256)) * 2000
    sent = frame(BINARY, text)
    while sent:
        room = min(client.windows[0], client.windows[stream], 16_384)
        if not room:
            client.read_frame()
            continue
        client.send(DATA, 0, stream, sent[:room])
        for name in (0, stream):
            client.windows[name] -= len(sent[:room])
        sent = sent[room:]
    assert receive(client, stream).payload == text


def test_many_messages_are_no_body(serve: Serve) -> None:
    """--max-body is no limit of theirs."""
    server = serve(WEBSOCKET_APP, "--h2c", "--workers", "1", "--max-body", "1000")
    with http2(server) as client:
        stream = opened(client)
        for _ in range(20):
            client.send(DATA, 0, stream, frame(BINARY, bytes(300)))
            assert receive(client, stream).payload == bytes(300)


def test_requests_and_websockets_share_a_connection(client: Http2Client) -> None:
    streams = [opened(client) for _ in range(5)]
    assert client.get("/").status == 200
    for number, stream in enumerate(streams):
        client.send(DATA, 0, stream, frame(TEXT, b"%d" % number))
    for number, stream in reversed(list(enumerate(streams))):
        assert receive(client, stream).payload == b"%d" % number


def test_a_ping_gets_its_pong(client: Http2Client) -> None:
    stream = opened(client)
    client.send(DATA, 0, stream, frame(PING, b"now"))
    assert receive(client, stream) == (LAST | PONG, b"now")


def test_the_client_closes(server: Server, client: Http2Client) -> None:
    stream = opened(client)
    client.send(DATA, END_STREAM, stream, frame(CLOSE, (1000).to_bytes(2, "big") + b"bye"))
    assert receive(client, stream).code == 1000
    assert client.response(stream).ended
    server.wait_log("ended 1000 'bye'")
    assert client.get("/").status == 200


def test_a_stream_that_ends_without_a_close(server: Server, client: Http2Client) -> None:
    stream = opened(client)
    client.send(DATA, END_STREAM, stream)
    assert client.response(stream).reset == CANCEL
    server.wait_log("ended 1006")
    assert client.get("/").status == 200


def test_a_websocket_that_has_ended_before_it_begins_is_refused(client: Http2Client) -> None:
    pseudo = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/echo")]
    stream = client.ask(fields=[("sec-websocket-version", "13")], pseudo=[*pseudo, (":authority", "test")])
    assert client.response(stream).reset == PROTOCOL_ERROR
    assert client.get("/").status == 200


def test_what_comes_before_the_response_is_read(client: Http2Client) -> None:
    stream = connect(client)
    client.send(DATA, 0, stream, frame(TEXT, b"early"))
    while not client.streams[stream].status:
        client.read_frame()
    assert receive(client, stream).payload == b"early"


def test_a_stream_that_is_reset(server: Server, client: Http2Client) -> None:
    stream = opened(client)
    client.reset(stream)
    server.wait_log("ended 1006")
    assert client.get("/").status == 200


def test_a_connection_that_is_lost(server: Server) -> None:
    with http2(server) as client:
        opened(client)
    server.wait_log("ended 1006")


def test_a_frame_that_breaks_the_rules_ends_its_stream(server: Server, client: Http2Client) -> None:
    stream = opened(client)
    client.send(DATA, 0, stream, bytes([LAST | TEXT, 1, 65]))  # not masked
    assert receive(client, stream).code == 1002
    assert client.response(stream).ended
    server.wait_log("ended 1002")
    assert client.get("/").status == 200


def test_a_server_that_stops_closes_its_websockets(server: Server, client: Http2Client) -> None:
    stream = opened(client)
    server.signal(15)
    got = receive(client, stream)
    assert got.first == LAST | CLOSE
    assert got.code in (1001, 1012)
    client.send(DATA, END_STREAM, stream, frame(CLOSE, got.payload[:2]))
    client.read_to_end()
    assert client.goaway is not None
    assert client.goaway.code == NO_ERROR
    assert server.wait() == 0


def test_a_client_without_pongs_loses_its_stream(serve: Serve) -> None:
    server = serve(
        WEBSOCKET_APP, "--h2c", "--workers", "1", "--ws-ping-interval", "0.2", "--ws-ping-timeout", "0.2"
    )
    with http2(server) as client:
        stream = opened(client)
        assert receive(client, stream).first == LAST | PING
        assert client.response(stream).reset == CANCEL
        assert client.get("/").status == 200


def test_what_is_not_websocket_is_refused(client: Http2Client) -> None:
    assert client.response(connect(client, protocol="other")).status == 501
    stream = client.ask(
        ended=False,
        pseudo=[
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "http"),
            (":path", "/echo"),
            (":authority", "test"),
        ],
    )
    assert client.response(stream).status == 426


def test_an_application_without_websockets_refuses_them(serve: Serve) -> None:
    server = serve(APPS / "http2_wsgi.py", "--h2c", "--workers", "1")
    with http2(server) as client:
        assert client.response(connect(client)).status == 405
        assert client.get("/").status == 200


@pytest.mark.parametrize(
    "more", [("--static", f"/files={APPS}"), ("--access-log", "-")], ids=["static", "log"]
)
def test_what_stands_before_an_application_lets_websockets_through(
    serve: Serve, more: tuple[str, ...]
) -> None:
    server = serve(WEBSOCKET_APP, "--h2c", "--workers", "1", *more)
    with http2(server) as client:
        stream = opened(client)
        client.send(DATA, 0, stream, frame(TEXT, b"hello"))
        assert receive(client, stream).payload == b"hello"
        if more[0] == "--static":
            assert client.response(connect(client, "/files/hello.py")).status == 405


def test_an_application_that_closes_before_it_accepts(serve: Serve) -> None:
    source = """
        async def app(scope, receive, send):
            if scope["type"] == "websocket":
                await receive()
                await send({"type": "websocket.close"})
    """
    server = serve(source, "--h2c", "--workers", "1")
    with http2(server) as client:
        assert client.response(connect(client)).status == 403


def test_the_scope_of_a_websocket(serve: Serve) -> None:
    source = """
        async def app(scope, receive, send):
            if scope["type"] == "websocket":
                await receive()
                await send({"type": "websocket.accept"})
                shown = [scope[name] for name in ("type", "http_version", "path", "scheme")]
                await send({"type": "websocket.send", "text": repr(shown)})
                await receive()
    """
    server = serve(source, "--h2c", "--workers", "1")
    with http2(server) as client:
        stream = opened(client, "/chat")
        assert receive(client, stream).payload == b"['websocket', '2', '/chat', 'ws']"
