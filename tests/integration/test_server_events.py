"""The events of SimpleHTTP, each of them also as the method of the same meaning."""

from __future__ import annotations

import json
import socket

import pytest

from support.apps import APPS
from support.pool import read_bodies
from support.responses import read_response
from support.server import Serve, Server
from support.waiting import wait_until

APP = APPS / "server_events.py"

HOWS = pytest.mark.parametrize("how", ["event", "call", "method"])


@pytest.fixture
def server(serve: Serve) -> Server:
    return serve(APP)


def recorded(server: Server) -> list[object]:
    reported: list[object] = json.loads(server.get("/event/recorded"))
    return reported


@HOWS
def test_done_responds_and_fills_date_type_and_length(server: Server, how: str) -> None:
    status, fields, body = server.request(f"/{how}/done")
    assert (status, body) == (201, b"done")
    assert fields["content-type"] == "text/plain"
    assert fields["content-length"] == "4"
    assert fields["date"].endswith(" GMT")


@HOWS
def test_close_closes_without_a_response(server: Server, how: str) -> None:
    assert server.raw(f"GET /{how}/close HTTP/1.1\r\nHost: a\r\n\r\n".encode()) == b""


@HOWS
def test_stream_asks_for_the_next_piece_and_done_ends_it(server: Server, how: str) -> None:
    with server.connect() as sock:
        for _ in range(2):  # the connection is kept
            sock.sendall(f"GET /{how}/stream HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            status, fields, body = read_response(sock)
            assert (status, body) == (200, b"piece 0\npiece 1\npiece 2\n")
            assert fields["transfer-encoding"] == "chunked"
    assert recorded(server) == ["piece"] * 8


@HOWS
def test_dont_flush_leaves_the_next_piece_to_the_application(server: Server, how: str) -> None:
    assert server.get(f"/{how}/stream?dont_flush") == b"piece 0\npiece 1\npiece 2\n"
    assert recorded(server) == ["piece"] * 4


@HOWS
def test_close_ends_a_stream_well_and_then_the_connection(server: Server, how: str) -> None:
    received = server.raw(f"GET /{how}/last HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    assert received.endswith(b"\r\n4\r\nonly\r\n0\r\n\r\n")


@HOWS
def test_close_after_done_closes_the_connection_that_was_kept(server: Server, how: str) -> None:
    received = server.raw(f"GET /{how}/done_and_close HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    assert received.endswith(b"\r\n\r\nwhole")


def test_a_call_gives_what_the_method_gives(server: Server) -> None:
    _, _, body = server.request("/call/values")
    values = json.loads(body.removeprefix(b"part"))
    assert values == [True, True, False, True, True, False, True, False, True, False, True]
    assert recorded(server) == [True, True], "DONE and CLOSE"


@HOWS
def test_responding_twice_raises_and_the_first_response_stands(server: Server, how: str) -> None:
    status, _, body = server.request(f"/{how}/twice")
    assert (status, body) == (200, b"once")
    server.wait_log("the response was already sent (handler PAGES.twice); a request has one response")
    assert server.request(f"/{how}/done")[0] == 201


@HOWS
def test_set_close_handler_has_events_called_when_the_connection_closes(server: Server, how: str) -> None:
    with server.connect() as sock:
        sock.sendall(f"GET /{how}/watch?my%20word HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert read_response(sock)[0] == 200
        assert recorded(server) == []
    reported: list[object] = []
    wait_until(lambda: reported.extend(recorded(server)) or reported)
    assert reported == [["first", "my%20word"], ["second", "my%20word"]]


@HOWS
def test_set_close_handler_without_an_event_takes_it_back(server: Server, how: str) -> None:
    with server.connect() as kept, server.connect() as dropped:
        for sock in (kept, dropped):
            sock.sendall(f"GET /{how}/watch?{sock.fileno()} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        number = read_response(dropped)[2].decode()
        names = (str(dropped.fileno()), str(kept.fileno()))
        assert read_response(kept)[0] == 200
        server.get(f"/{how}/unwatch?{number}")
        dropped.shutdown(socket.SHUT_RDWR)
        assert dropped.recv(1) == b""
        kept.shutdown(socket.SHUT_RDWR)
        assert kept.recv(1) == b""
    reported: list[object] = []
    wait_until(lambda: reported.extend(recorded(server)) or len(reported) > 2)
    assert sorted(map(str, reported)) == sorted(
        map(str, [["second", names[0]], ["first", names[1]], ["second", names[1]]])
    )


@pytest.mark.parametrize("how", ["event", "method"])
def test_get_handlers_gives_a_copy(server: Server, how: str) -> None:
    handlers = json.loads(server.get(f"/{how}/get_handlers"))
    assert handlers[0] == {
        "dir": "^/(?P<how>event|call|method)/done$",
        "session": "PAGES",
        "event": "done",
    }
    assert json.loads(server.get(f"/{how}/get_handlers")) == handlers


@HOWS
def test_set_handlers_replaces_them_all(server: Server, how: str) -> None:
    assert server.request("/new")[0] == 404
    server.get(f"/{how}/set_handlers")
    assert server.get("/new") == b"^/new"
    assert server.request(f"/{how}/done")[0] == 404


@pytest.mark.parametrize(
    ("handlers", "complaint"),
    [
        ([{"dir": "^/", "session": "PAGES"}], "OptionError: handler 0: expected a text as 'event', got None"),
        (
            [
                {"dir": "^/", "session": "PAGES", "event": "new"},
                {"dir": "(", "session": "PAGES", "event": "new"},
            ],
            "OptionError: handler 1: malformed regex '(': missing ), unterminated subpattern at position 0",
        ),
        (
            [{"dir": "^/", "session": "NOBODY", "event": "new"}],
            "UnknownSession: handler 0: no session has the alias 'NOBODY'",
        ),
        (
            [{"dir": "^/", "session": "PAGES", "event": "got_lost"}],
            "UnknownEvent: handler 0: session PAGES has no event 'got_lost'",
        ),
    ],
)
def test_set_handlers_refuses_a_wrong_list_and_keeps_the_one_it_has(
    server: Server, handlers: object, complaint: str
) -> None:
    _, _, body = server.request("/method/set_wrong", "POST", json.dumps(handlers))
    assert body.decode().startswith(complaint)
    assert server.request("/method/done")[0] == 201


@pytest.mark.parametrize("name", ["traced", "traced_in_task"])
def test_context_variables_that_a_call_sets_are_its_own(server: Server, name: str) -> None:
    with server.connect() as sock:
        for number in range(2):
            sock.sendall(f"GET /event/{name}?{number} HTTP/1.1\r\nHost: a\r\n\r\n".encode() * 2)
            assert read_bodies(sock, 2) == [b"", b""]
    assert recorded(server) == ["of the program"] * 8
