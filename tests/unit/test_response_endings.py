"""Responses whose client leaves, and responses that their handler forgets."""

from __future__ import annotations

import socket

import pytest

import stage
from understudy import ConnectionGone, Request, Response

# --- clients that leave -------------------------------------------------------------------------------------


def leave(there: stage.Stage, client: socket.socket) -> None:
    client.close()
    there.turn_until(lambda: there.engine.connections == 0, "the end of the connection")


def test_a_client_that_left_is_nobody_to_answer(at: stage.At) -> None:
    kept: list[Response] = []
    there = at(stage.keeping(kept))
    client = there.connect(stage.request())
    there.turn_until(lambda: kept)
    leave(there, client)
    (response,) = kept
    assert response.connection.dead
    assert (response.unsent, response.answered) == (0, False)
    assert response.when_gone(lambda: None) is False
    assert response.when_drained(lambda _: None) is False
    assert response.connection.when_closed(lambda: None) is False
    response.done()
    assert response.answered
    assert there.service.troubles == [("the client closed the connection", "127.0.0.1")]


def test_a_stream_to_a_client_that_left_is_an_error_that_says_so(at: stage.At) -> None:
    kept: list[Response] = []
    there = at(stage.keeping(kept))
    client = there.connect(stage.request())
    there.turn_until(lambda: kept)
    leave(there, client)
    with pytest.raises(ConnectionGone):
        kept[0].write("more")


def test_when_gone_and_when_closed_are_called_once_when_the_client_leaves(at: stage.At) -> None:
    kept: list[Response] = []
    heard: list[str] = []
    there = at(stage.keeping(kept))
    client = there.connect(stage.request())
    there.turn_until(lambda: kept)
    assert kept[0].when_gone(lambda: heard.append("replaced"))
    assert kept[0].when_gone(lambda: heard.append("gone"))
    assert kept[0].connection.when_closed(lambda: heard.append("closed 1"))
    assert kept[0].connection.when_closed(lambda: heard.append("closed 2"))
    leave(there, client)
    there.turn_until(lambda: heard)
    there.engine.poll(0)
    assert heard == ["gone", "closed 1", "closed 2"]
    kept[0].done()


def test_when_gone_is_not_called_for_a_client_that_leaves_after_the_answer(at: stage.At) -> None:
    heard: list[str] = []

    def handler(_request: Request, response: Response) -> None:
        response.when_gone(lambda: heard.append("gone"))
        response.connection.when_closed(lambda: heard.append("closed"))
        response.done()

    there = at(handler)
    client = there.connect(stage.request())
    there.read(client, enough=b"\r\n\r\n")
    leave(there, client)
    there.turn_until(lambda: heard)
    assert heard == ["closed"]


def test_when_drained_tells_whether_all_has_left_or_the_client_has(at: stage.At) -> None:
    kept: list[Response] = []
    heard: list[bool] = []
    there = at(stage.keeping(kept))
    client = there.connect(stage.request())
    there.turn_until(lambda: kept)
    (response,) = kept
    response.write("a")
    assert response.when_drained(heard.append)
    there.turn_until(lambda: heard)
    assert (heard, response.unsent) == ([True], 0)

    response.write(b"x" * 50_000_000)
    assert response.when_drained(heard.append)
    there.engine.poll(0)
    assert response.unsent > 0
    leave(there, client)
    there.turn_until(lambda: len(heard) > 1)
    assert heard == [True, False]
    response.close()


def test_stream_names_the_event_that_makes_the_next_piece(at: stage.At) -> None:
    def handler(_request: Request, response: Response) -> None:
        assert response.streams is None
        response.stream("PAGES", "more")
        assert response.streams == ("PAGES", "more", False)
        response.stream("PAGES", "more", dont_flush=True)
        assert response.streams == ("PAGES", "more", True)
        response.done()

    assert at(handler).get().status == 200


# --- responses that nobody answers --------------------------------------------------------------------------


def dropping(_request: Request, response: Response) -> None:
    response.handler = "H"


def test_a_response_that_is_dropped_is_a_500_and_names_its_handler(at: stage.At) -> None:
    there = at(dropping)
    raw = there.ask(stage.request())
    assert raw.startswith(b"HTTP/1.1 500 ")
    assert raw.endswith(b"the application did not answer\n")
    assert there.service.orphans == ["H"]


def test_one_that_is_dropped_between_turns_is_answered_in_the_next(at: stage.At) -> None:
    kept: list[Response] = []
    there = at(stage.keeping(kept))
    client = there.connect(stage.request())
    there.turn_until(lambda: kept)
    kept.clear()
    there.engine.poll(0)
    assert there.read(client).startswith(b"HTTP/1.1 500 ")
    assert there.service.orphans == [None]


def test_a_stream_that_is_dropped_ends_with_its_connection(at: stage.At) -> None:
    def handler(_request: Request, response: Response) -> None:
        response.write("half")

    there = at(handler)
    raw = there.ask(stage.request())
    assert raw.endswith(b"\r\n4\r\nhalf\r\n")
    assert there.service.orphans == [None]


def test_one_whose_client_left_is_forgotten_without_a_word(at: stage.At) -> None:
    kept: list[Response] = []
    there = at(stage.keeping(kept))
    client = there.connect(stage.request())
    there.turn_until(lambda: kept)
    leave(there, client)
    kept.clear()
    there.engine.poll(0)
    assert there.service.orphans == []
