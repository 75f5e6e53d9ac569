"""WIRE_POLICY over HTTP/2: what only costs is ended by one budget for each connection, over h2c and over TLS.

The other connections of the worker are served meanwhile.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest

from support.apps import APPS
from support.http2 import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    ENHANCE_YOUR_CALM,
    HEADERS,
    PADDED,
    PING,
    PRIORITY,
    PRIORITY_UPDATE,
    SETTINGS,
    Http2Client,
    http2,
)
from support.server import Serve, Server
from support.waiting import wait_until
from wire.conftest import HTTP2_WAYS

LINE = "without work"
FRAMES = 3000


@pytest.fixture(params=HTTP2_WAYS)
def server(serve: Serve, request: pytest.FixtureRequest) -> Server:
    return serve(APPS / "http2_wsgi.py", "--workers", "1", *HTTP2_WAYS[request.param])


def body(client: Http2Client) -> int:
    """A stream whose body does not end."""
    return client.ask("/hash", "POST", ended=False) if client.next_stream == 1 else 1


def resets(client: Http2Client) -> None:
    client.reset(client.ask("/"))


def resets_of_bodies(client: Http2Client) -> None:
    client.reset(client.ask("/hash", "POST", ended=False))


def provoked_by_a_window(client: Http2Client) -> None:
    client.open_window(client.ask("/hash", "POST", ended=False), 0)


def provoked_by_data(client: Http2Client) -> None:
    client.ask("/hash", "POST", [("content-length", "1")], body=b"12")


def provoked_by_fields(client: Http2Client) -> None:
    client.ask(fields=[("connection", "close")])


def provoked_by_a_priority(client: Http2Client) -> None:
    stream = client.ask("/hash", "POST", ended=False)
    client.send(PRIORITY, 0, stream, stream.to_bytes(4, "big") + b"\0")


def provoked_by_trailers(client: Http2Client) -> None:
    stream = client.ask("/hash", "POST", ended=False)
    client.send(HEADERS, END_HEADERS, stream, client.encoder.encode([("x", "y")]))


def streams_beyond_the_limit(client: Http2Client) -> None:
    client.ask("/sleep?0.2")


def pings(client: Http2Client) -> None:
    client.send(PING, 0, 0, bytes(8))


def pongs(client: Http2Client) -> None:
    client.send(PING, 1, 0, bytes(8))


def settings(client: Http2Client) -> None:
    client.send(SETTINGS)


def settings_of_windows(client: Http2Client) -> None:
    client.send(SETTINGS, 0, 0, b"\0\4\0\0\0\1" * 500)


def continuations(client: Http2Client) -> None:
    if client.next_stream == 1:
        client.next_stream = 3
        client.send(HEADERS, 0, 1)
    client.send(CONTINUATION, 0, 1)


def a_long_block(client: Http2Client) -> None:
    if client.next_stream == 1:
        client.next_stream = 3
        client.send(HEADERS, 0, 1, b"\x40\x01x\x7f\x81\x80\x01" + bytes(100))
    client.send(CONTINUATION, 0, 1, bytes(16_000))


def empty_data(client: Http2Client) -> None:
    client.send(DATA, 0, body(client))


def padded_data(client: Http2Client) -> None:
    client.send(DATA, PADDED, body(client), b"\x64x" + bytes(100))


def only_padding(client: Http2Client) -> None:
    client.send(DATA, PADDED, body(client), b"\x05" + bytes(5))


def priorities(client: Http2Client) -> None:
    client.send(PRIORITY, 0, 1001, bytes(5))


def priority_updates(client: Http2Client) -> None:
    client.send(PRIORITY_UPDATE, 0, 0, (1001).to_bytes(4, "big") + b"u=1")


def windows(client: Http2Client) -> None:
    client.open_window(0, 1)


def windows_of_a_stream(client: Http2Client) -> None:
    client.open_window(body(client), 1)


def unknown_frames(client: Http2Client) -> None:
    client.send(200, 0, 0, b"?")


def goaways(client: Http2Client) -> None:
    client.send(7, 0, 0, bytes(8))


def bombs(client: Http2Client) -> None:
    """A field that is long in the table and one byte in each block (a HPACK bomb)."""
    if client.next_stream == 1:
        client.ask(fields=[("x-bomb", "x" * 3000)])
    client.ask(fields=[("x-bomb", "x" * 3000)] * 40)


def tiny_windows(client: Http2Client) -> None:
    """A response of 2 MB, byte by byte."""
    if client.next_stream == 1:
        client.send(SETTINGS, 0, 0, b"\0\4\0\0\0\1")
        client.ask("/parts")
    client.open_window(1, 1)


FLOODS: list[Callable[[Http2Client], None]] = [
    resets,
    resets_of_bodies,
    provoked_by_a_window,
    provoked_by_data,
    provoked_by_fields,
    provoked_by_a_priority,
    provoked_by_trailers,
    streams_beyond_the_limit,
    pings,
    pongs,
    settings,
    settings_of_windows,
    continuations,
    a_long_block,
    empty_data,
    padded_data,
    only_padding,
    priorities,
    priority_updates,
    windows,
    windows_of_a_stream,
    unknown_frames,
    goaways,
    bombs,
    tiny_windows,
]


@pytest.mark.parametrize("flood", FLOODS, ids=lambda flood: flood.__name__)
def test_a_flood_ends_its_connection_and_one_line_says_so(
    server: Server, flood: Callable[[Http2Client], None]
) -> None:
    with http2(server) as client, http2(server) as other:
        other.get("/")
        try:
            for _ in range(FRAMES):
                flood(client)
        except ConnectionError:
            pass
        client.read_to_end()
        assert client.goaway is None or client.goaway.code == ENHANCE_YOUR_CALM
        assert other.get("/").body == b"hello"
    lines = ("without work", "a header block too large")
    wait_until(lambda: any(line in server.log for line in lines), "the line")
    assert sum(any(line in logged for line in lines) for logged in server.err) == 1
    assert "ERROR" not in server.log


@pytest.mark.parametrize("flood", [resets, provoked_by_a_window, pings, settings, empty_data, tiny_windows])
def test_a_client_that_reads_hears_why(server: Server, flood: Callable[[Http2Client], None]) -> None:
    """It sends little at a time: else it may be reset before it has read."""
    with http2(server) as client:
        with contextlib.suppress(EOFError):
            while True:
                for _ in range(10):
                    flood(client)
                client.ping()
        assert client.goaway is not None
        assert client.goaway.code == ENHANCE_YOUR_CALM


def test_a_client_that_works_is_not_ended(server: Server) -> None:
    """It acknowledges each frame twice, pings, sets priorities, and cancels each fourth request."""
    with http2(server) as client:
        for number in range(400):
            client.send(PRIORITY_UPDATE, 0, 0, client.next_stream.to_bytes(4, "big") + b"u=2")
            stream = client.ask("/")
            if number % 4 == 0:
                client.reset(stream)
            else:
                assert client.response(stream).body == b"hello"
            client.open_window(0, 1)
            client.ping()
    assert LINE not in server.log


@pytest.mark.parametrize("way", HTTP2_WAYS.values(), ids=HTTP2_WAYS)
def test_a_client_that_opens_no_window_waits_alone(serve: Serve, way: tuple[str, ...]) -> None:
    server = serve(APPS / "http2_asgi.py", "--workers", "1", *way)
    with http2(server, window=0, opens_windows=False) as client, http2(server) as other:
        streams = [client.ask("/flood") for _ in range(100)]
        assert [other.get("/").body for _ in range(20)] == [b"hello"] * 20
        client.ping()
        assert [client.streams[stream].body for stream in streams] == [b""] * 100
