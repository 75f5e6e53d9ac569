"""The events of SimpleHTTP, each of them also as the method of the same meaning."""

from __future__ import annotations

import json
import socket

import pytest

from support.responses import read_response
from support.server import Serve, Server
from support.waiting import wait_until

APP = """
    import json
    from prefork import HTTPServer, Kernel, Session, event

    heard = []

    class Pages(Session):
        alias = "PAGES"

        def act(self, how, name, *args):
            if how == "event":
                assert self.kernel.post("HTTPD", name, *args)
            elif how == "call":
                self.kernel.call("HTTPD", name, *args)
            else:
                METHODS[name](*args)

        @event
        def done(self, request, response, pattern):
            response.code = 201
            response.content = "done"
            self.act(request.match["how"], "DONE", response)

        @event
        def close(self, request, response, pattern):
            self.act(request.match["how"], "CLOSE", response)

        @event
        def stream(self, request, response, pattern):
            self.pieces = [f"piece {number}\\n" for number in range(3)]
            response.stream("PAGES", "piece", dont_flush=request.query == "dont_flush")
            self.piece(response)

        @event
        def piece(self, response):
            how = response.request.match["how"]
            heard.append("piece")
            if self.pieces:
                response.content = self.pieces.pop(0)
                self.act(how, "STREAM", response)
                if response.streams[2]:
                    self.post("piece", response)
            else:
                self.act(how, "DONE", response)

        @event
        def broken(self, request, response, pattern):
            response.stream("PAGES", "broken_piece")
            response.content = "half"
            self.act(request.match["how"], "STREAM", response)

        @event
        def broken_piece(self, response):
            self.act(response.request.match["how"], "CLOSE", response)

        @event
        def twice(self, request, response, pattern):
            response.content = "once"
            self.act(request.match["how"], "DONE", response)
            self.act(request.match["how"], "DONE", response)

        @event
        def watch(self, request, response, pattern):
            for who in ("first", "second"):
                arguments = (request.connection, "PAGES", "closed", who, request.query)
                self.act(request.match["how"], "SETCLOSEHANDLER", *arguments)
            response.content = str(request.connection.id)
            response.done()

        @event
        def unwatch(self, request, response, pattern):
            self.act(request.match["how"], "SETCLOSEHANDLER", int(request.query), "PAGES")
            response.done()

        @event
        def closed(self, *args):
            heard.append(args)

        @event
        def get_handlers(self, request, response, pattern):
            self.waiting = response
            if request.match["how"] == "event":
                self.kernel.post("HTTPD", "GETHANDLERS", "PAGES", "got_handlers")
            else:
                self.got_handlers(server.get_handlers())

        @event
        def got_handlers(self, handlers):
            self.waiting.content = json.dumps(handlers)
            self.waiting.done()
            handlers.pop()
            handlers[0]["dir"] = "changed in the copy only"

        @event
        def set_handlers(self, request, response, pattern):
            handlers = [{"dir": "^/new", "session": "PAGES", "event": "new"}]
            self.act(request.match["how"], "SETHANDLERS", handlers)
            response.done()

        @event
        def set_wrong(self, request, response, pattern):
            try:
                server.set_handlers(json.loads(request.content))
            except Exception as error:
                response.content = f"{type(error).__name__}: {error}"
            response.done()

        @event
        def new(self, request, response, pattern):
            response.content = pattern
            response.done()

        @event
        def heard(self, request, response, pattern):
            response.content = json.dumps(heard)
            heard.clear()
            response.done()

    kernel = Kernel()
    kernel.add(Pages())
    names = "done close stream broken twice watch unwatch get_handlers set_handlers set_wrong heard".split()
    server = HTTPServer(kernel, handlers=[
        {"dir": rf"^/(?P<how>event|call|method)/{name}$", "session": "PAGES", "event": name} for name in names
    ])
    METHODS = {
        "DONE": server.done,
        "CLOSE": server.close,
        "STREAM": server.stream,
        "SETCLOSEHANDLER": server.set_close_handler,
        "SETHANDLERS": server.set_handlers,
    }
"""

HOWS = pytest.mark.parametrize("how", ["event", "call", "method"])


@pytest.fixture
def server(serve: Serve) -> Server:
    return serve(APP)


def heard(server: Server) -> list[object]:
    told: list[object] = json.loads(server.get("/event/heard"))
    return told


@HOWS
def test_done_answers_and_fills_date_type_and_length(server: Server, how: str) -> None:
    status, fields, body = server.request(f"/{how}/done")
    assert (status, body) == (201, b"done")
    assert fields["content-type"] == "text/plain"
    assert fields["content-length"] == "4"
    assert fields["date"].endswith(" GMT")


@HOWS
def test_close_closes_without_an_answer(server: Server, how: str) -> None:
    assert server.raw(f"GET /{how}/close HTTP/1.1\r\nHost: a\r\n\r\n".encode()) == b""


@HOWS
def test_stream_asks_for_the_next_piece_and_done_ends_it(server: Server, how: str) -> None:
    with server.connect() as sock:
        for _ in range(2):  # the connection is kept
            sock.sendall(f"GET /{how}/stream HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            status, fields, body = read_response(sock)
            assert (status, body) == (200, b"piece 0\npiece 1\npiece 2\n")
            assert fields["transfer-encoding"] == "chunked"
    assert heard(server) == ["piece"] * 8


@HOWS
def test_dont_flush_leaves_the_asking_to_the_application(server: Server, how: str) -> None:
    assert server.get(f"/{how}/stream?dont_flush") == b"piece 0\npiece 1\npiece 2\n"
    assert heard(server) == ["piece"] * 4


@HOWS
def test_close_in_the_middle_of_a_stream_ends_both(server: Server, how: str) -> None:
    received = server.raw(f"GET /{how}/broken HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    assert received.endswith(b"\r\n4\r\nhalf\r\n")  # no last chunk: the client can tell that it is not whole


@HOWS
def test_answering_twice_raises_and_the_first_answer_stands(server: Server, how: str) -> None:
    status, _, body = server.request(f"/{how}/twice")
    assert (status, body) == (200, b"once")
    server.wait_log("this response was answered before (handler PAGES.twice); a request has one answer")
    assert server.request(f"/{how}/done")[0] == 201


@HOWS
def test_set_close_handler_has_events_called_when_the_connection_closes(server: Server, how: str) -> None:
    with server.connect() as sock:
        sock.sendall(f"GET /{how}/watch?my%20word HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert read_response(sock)[0] == 200
        assert heard(server) == []
    told: list[object] = []
    wait_until(lambda: told.extend(heard(server)) or told)
    assert told == [["first", "my%20word"], ["second", "my%20word"]]


@HOWS
def test_set_close_handler_without_an_event_takes_it_back(server: Server, how: str) -> None:
    with server.connect() as kept, server.connect() as dropped:
        for sock in (kept, dropped):
            sock.sendall(f"GET /{how}/watch?{sock.fileno()} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        number = read_response(dropped)[2].decode()
        expected = str(kept.fileno())
        assert read_response(kept)[0] == 200
        server.get(f"/{how}/unwatch?{number}")
        dropped.shutdown(socket.SHUT_RDWR)
        assert dropped.recv(1) == b""
        kept.shutdown(socket.SHUT_RDWR)
        assert kept.recv(1) == b""
    told: list[object] = []
    wait_until(lambda: told.extend(heard(server)) or told)
    assert told == [["first", expected], ["second", expected]]


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
