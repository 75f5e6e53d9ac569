"""A response from its handler to the client: filled, sent once, or refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from prefork import AlreadyAnswered, InvalidResponse, Request, Response
from support.engine import RunEngine, Service, keeping, raw_request

Handler = Callable[[Request, Response], Any]


def responding(**attributes: Any) -> Handler:
    def handler(_request: Request, response: Response) -> None:
        for name, value in attributes.items():
            setattr(response, name, value)
        response.done()

    return handler


# --- what the client gets -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "body", "kind"),
    [
        (None, b"", "text/plain"),
        ("text", b"text", "text/plain"),
        ("né", b"n\xc3\xa9", "text/plain; charset=utf-8"),
        (b"\0\xff", b"\0\xff", "text/plain"),
        ("x" * 100_000, b"x" * 100_000, "text/plain"),
        (b"y" * 5_000_000, b"y" * 5_000_000, "text/plain"),
    ],
)
def test_content_is_text_or_bytes_or_nothing(
    run_engine: RunEngine, content: Any, body: bytes, kind: str
) -> None:
    response = run_engine(responding(content=content)).get()
    assert (response.status, response.body, response.headers["Content-Type"]) == (200, body, kind)
    assert response.headers["Content-Length"] == str(len(body))
    assert response.headers["Date"].endswith(" GMT")


def test_the_status_and_the_header_fields_are_the_handlers(run_engine: RunEngine) -> None:
    def handler(_request: Request, response: Response) -> None:
        response.code = 418
        assert response.header("X-One", "1") == "1"
        assert response.header("x-one") == "1"
        assert response.header("X-Two") is None
        response.headers.add("Set-Cookie", "a=1")
        response.headers.add("Set-Cookie", "b=J\xf6rg")
        assert response.content_type is None
        response.content_type = "text/html"
        response.done()

    received = run_engine(handler).get()
    assert received.status == 418
    assert received.headers.get_all("Set-Cookie") == ["a=1", "b=J\xf6rg"]
    assert received.headers["X-One"] == "1"
    assert received.headers["Content-Type"] == "text/html"


def test_headers_can_be_set_as_a_whole(run_engine: RunEngine) -> None:
    response = run_engine(responding(headers={"X-A": "1"})).get()
    assert response.headers["X-A"] == "1"


def test_the_servers_header_fields_stand_unless_the_response_has_one_of_the_name(
    run_engine: RunEngine,
) -> None:
    settings = {"headers": [("Server", "seed"), ("Content-Type", "text/x-default")]}
    response = run_engine(responding(headers={"server": "mine"}), **settings).get()
    assert response.headers.get_all("Server") == ["mine"]
    assert response.headers.get_all("Content-Type") == ["text/x-default"]


@pytest.mark.parametrize("code", [204, 304])
def test_a_response_without_a_body_has_none_and_no_type(run_engine: RunEngine, code: int) -> None:
    raw = run_engine(responding(code=code, content="not to be seen")).raw(
        raw_request("/", "Connection: close")
    )
    assert raw.endswith(b"\r\n\r\n")
    assert b"Content-Type" not in raw


def test_head_gets_the_head_alone(run_engine: RunEngine) -> None:
    raw = run_engine(responding(content="hello")).raw(raw_request("/", "Connection: close", method="HEAD"))
    assert b"Content-Length: 5\r\n" in raw
    assert raw.endswith(b"\r\n\r\n")


def test_pieces_are_chunked_and_end_with_done(run_engine: RunEngine) -> None:
    def handler(_request: Request, response: Response) -> None:
        response.write("one ")
        assert (response.streaming, response.answered) == (True, False)
        response.content = b"two "
        response.write()
        response.write(b"x" * 100_000)
        response.done()
        assert (response.streaming, response.answered) == (False, True)

    there = run_engine(handler)
    assert there.get().body == b"one two " + b"x" * 100_000
    raw = there.raw(b"GET / HTTP/1.0\r\n\r\n")
    assert raw.endswith(b"\r\n\r\none two " + b"x" * 100_000)


def test_close_closes_without_a_response(run_engine: RunEngine) -> None:
    there = run_engine(lambda _, response: response.close())
    assert there.raw(raw_request()) == b""
    assert there.service.unanswered_handlers == []


def test_the_callback_is_called_for_every_response(run_engine: RunEngine) -> None:
    there = run_engine(responding())
    there.get()
    ((request, response),) = there.service.ended
    assert response.request is request
    assert repr(response) == "<Response 200 to 127.0.0.1, answered>"


# --- responding twice ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("second", ["done", "write", "stream"])
def test_a_second_response_is_refused_and_names_the_handler(run_engine: RunEngine, second: str) -> None:
    kept: list[Response] = []
    there = run_engine(keeping(kept))
    there.connect(raw_request())
    there.turn_until(lambda: kept)
    (response,) = kept
    response.handler = "pages.got_bar"
    assert response.done()
    assert response.sent
    with pytest.raises(AlreadyAnswered, match=r"pages\.got_bar.*one response"):
        getattr(response, second)(*(("S", "more") if second == "stream" else ()))


def test_a_refused_second_response_reaches_no_later_request(run_engine: RunEngine) -> None:
    def handler(request: Request, response: Response) -> None:
        response.content = request.path
        response.done()
        with pytest.raises(AlreadyAnswered):
            response.write("spill")

    client = (there := run_engine(handler)).connect(
        raw_request("/1") + raw_request("/2", "Connection: close")
    )
    raw = there.read(client)
    assert raw.count(b"HTTP/1.1 200") == 2
    assert b"spill" not in raw


# --- what cannot be sent ------------------------------------------------------------------------------------

INVALID = [
    {"headers": {"X-Evil": "a\r\nSet-Cookie: stolen=1"}},
    {"headers": {"X-Evil": "a\nb"}},
    {"headers": {"X-Evil": "a\0b"}},
    {"headers": {"X Evil": "a"}},
    {"headers": {"": "a"}},
    {"headers": {"X-Ev\xefl": "a"}},
    {"headers": {"X-Evil": "1", "Content-Length": "ten"}},
    {"code": 101, "headers": {"X-Evil": "1"}},
    {"code": 99, "headers": {"X-Evil": "1"}},
    {"code": 1000, "headers": {"X-Evil": "1"}},
    {"content": 7, "headers": {"X-Evil": "1"}},
    {"content": ["a"], "headers": {"X-Evil": "1"}},
    {"content": "\ud800", "headers": {"X-Evil": "1"}},
]


@pytest.mark.parametrize("attributes", INVALID)
@pytest.mark.parametrize("streamed", [False, True])
def test_what_cannot_be_sent_is_an_error_here_and_a_clean_500_there(
    run_engine: RunEngine, attributes: dict[str, Any], streamed: bool
) -> None:
    refused: list[InvalidResponse] = []

    def handler(_request: Request, response: Response) -> None:
        for name, value in attributes.items():
            setattr(response, name, value)
        try:
            if streamed:
                response.write()
            response.done()
        except InvalidResponse as error:
            refused.append(error)
            if not response.answered:
                response.headers = {}
                response.code, response.content = 500, None
                response.done()

    there = run_engine(handler)
    raw = there.raw(raw_request("/", "Connection: close") + raw_request("/never"))
    assert len(refused) == 1
    assert raw.startswith(b"HTTP/1.1 500 ")
    assert raw.count(b"HTTP/1.1") == 1
    for leaked in (b"Evil", b"stolen", b"Set-Cookie"):
        assert leaked not in raw
    assert there.service.unanswered_handlers == []


@pytest.mark.parametrize(
    ("code", "error"), [(-1, OverflowError), (70_000, OverflowError), ("200", TypeError)]
)
def test_a_code_that_is_no_number_of_a_status_is_refused_at_once(
    run_engine: RunEngine, code: Any, error: type[Exception]
) -> None:
    def handler(_request: Request, response: Response) -> None:
        with pytest.raises(error):
            response.code = code
        assert response.code == 200
        response.done()

    assert run_engine(handler).get().status == 200


def test_a_wrong_piece_in_the_middle_leaves_the_stream_as_it_was(run_engine: RunEngine) -> None:
    def handler(_request: Request, response: Response) -> None:
        response.write("a")
        with pytest.raises(InvalidResponse, match="content is int: expected str or bytes"):
            response.write(7)  # type: ignore[arg-type]
        response.write("b")
        response.done()

    assert run_engine(handler).get().body == b"ab"


# --- a body that is not as long as it said ------------------------------------------------------------------


def test_a_body_that_is_too_long_is_cut_and_the_next_response_is_whole(run_engine: RunEngine) -> None:
    def handler(request: Request, response: Response) -> None:
        response.handler = "H"
        response.content = "12345"
        if request.path == "/long":
            response.header("Content-Length", "3")
        response.done()

    there = run_engine(handler)
    raw = there.raw(raw_request("/long") + raw_request("/", "Connection: close"))
    assert b"\r\n\r\n123HTTP/1.1 200 OK" in raw
    assert raw.endswith(b"\r\n\r\n12345")
    assert there.service.errors == [
        ("H: the body is 2 bytes longer than its Content-Length: cut", "127.0.0.1")
    ]


def test_a_body_that_is_too_short_ends_the_connection(run_engine: RunEngine) -> None:
    there = run_engine(responding(headers={"Content-Length": "9"}, content="123"))
    raw = there.raw(raw_request() + raw_request("/never"))
    assert raw.endswith(b"\r\n\r\n123")
    ((text, _),) = there.service.errors
    assert text == "GET /: the body is 6 bytes shorter than its Content-Length: the connection is closed"


def test_the_callback_of_a_wrong_length_may_read_the_response(run_engine: RunEngine) -> None:
    kept: list[Response] = []
    states: list[bool] = []

    class Curious(Service):
        def client_error(self, _text: str, _remote_ip: str, _request_id: str | None) -> None:
            states.append(kept[0].answered)

    def handler(_request: Request, response: Response) -> None:
        kept.append(response)
        response.header("Content-Length", "1")
        response.content = "12"
        response.done()

    run_engine(handler, service=Curious(handler)).get()
    assert states == [True]
