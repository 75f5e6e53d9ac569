"""Responses whose client leaves, and responses that their handler forgets."""

from __future__ import annotations

import os
import signal
import socket
import time
import weakref
from collections.abc import Callable

import pytest

from prefork import ConnectionGone, InvalidResponse, Request, Response
from support.engine import LocalEngine, RunEngine, keeping, raw_request
from support.leaving import reset
from support.waiting import DEADLINE_S

# --- clients that leave -------------------------------------------------------------------------------------


def leave(there: LocalEngine, client: socket.socket) -> None:
    reset(client)
    there.turn_until(lambda: there.engine.connections == 0, "the end of the connection")


def test_no_response_goes_to_a_client_that_left(run_engine: RunEngine) -> None:
    kept: list[Response] = []
    there = run_engine(keeping(kept))
    client = there.connect(raw_request())
    there.turn_until(lambda: kept)
    leave(there, client)
    (response,) = kept
    assert response.connection.dead
    assert (response.unsent, response.answered) == (0, False)
    assert response.when_gone(lambda: None) is False
    assert response.when_drained(lambda _: None) is False
    assert response.connection.when_closed(lambda: None) is False
    assert response.done() is False
    assert (response.answered, response.sent) == (True, False)
    assert there.service.errors == [("the client reset the connection", "127.0.0.1")]


def test_a_stream_to_a_client_that_left_is_an_error_that_says_so(run_engine: RunEngine) -> None:
    kept: list[Response] = []
    there = run_engine(keeping(kept))
    client = there.connect(raw_request())
    there.turn_until(lambda: kept)
    leave(there, client)
    with pytest.raises(ConnectionGone):
        kept[0].write("more")


def test_when_gone_and_when_closed_are_called_once_when_the_client_leaves(run_engine: RunEngine) -> None:
    kept: list[Response] = []
    recorded: list[str] = []
    there = run_engine(keeping(kept))
    client = there.connect(raw_request())
    there.turn_until(lambda: kept)
    assert kept[0].when_gone(lambda: recorded.append("replaced"))
    assert kept[0].when_gone(lambda: recorded.append("gone"))
    assert kept[0].connection.when_closed(lambda: recorded.append("closed 1"))
    assert kept[0].connection.when_closed(lambda: recorded.append("closed 2"))
    leave(there, client)
    there.turn_until(lambda: recorded)
    there.engine.poll(0)
    assert recorded == ["gone", "closed 1", "closed 2"]
    kept[0].done()


def test_when_gone_is_not_called_for_a_client_that_leaves_after_the_response(run_engine: RunEngine) -> None:
    recorded: list[str] = []

    def handler(_request: Request, response: Response) -> None:
        response.when_gone(lambda: recorded.append("gone"))
        response.connection.when_closed(lambda: recorded.append("closed"))
        response.done()

    there = run_engine(handler)
    client = there.connect(raw_request())
    there.read(client, enough=b"\r\n\r\n")
    leave(there, client)
    there.turn_until(lambda: recorded)
    assert recorded == ["closed"]


def test_when_drained_tells_whether_all_has_left_or_the_client_has(run_engine: RunEngine) -> None:
    kept: list[Response] = []
    recorded: list[bool] = []
    there = run_engine(keeping(kept))
    client = there.connect(raw_request())
    there.turn_until(lambda: kept)
    (response,) = kept
    response.write("a")
    assert response.when_drained(recorded.append)
    there.turn_until(lambda: recorded)
    assert (recorded, response.unsent) == ([True], 0)

    response.write(b"x" * 50_000_000)
    assert response.when_drained(recorded.append)
    there.engine.poll(0)
    assert response.unsent > 0
    leave(there, client)
    there.turn_until(lambda: len(recorded) > 1)
    assert recorded == [True, False]
    response.close()


def test_stream_names_the_event_that_makes_the_next_piece(run_engine: RunEngine) -> None:
    def handler(_request: Request, response: Response) -> None:
        assert response.streams is None
        response.stream("PAGES", "more")
        assert response.streams == ("PAGES", "more", False)
        response.stream("PAGES", "more", dont_flush=True)
        assert response.streams == ("PAGES", "more", True)
        response.done()

    assert run_engine(handler).get().status == 200


@pytest.mark.parametrize("began", [False, True])
@pytest.mark.parametrize("first", [Response.done, Response.close, Response.abort])
def test_whatever_comes_after_the_client_has_left_does_nothing(
    run_engine: RunEngine, began: bool, first: Callable[[Response], object]
) -> None:
    kept: list[Response] = []
    there = run_engine(keeping(kept))
    client = there.connect(raw_request())
    there.turn_until(lambda: kept)
    (response,) = kept
    if began:
        response.write("part")
    leave(there, client)
    assert not first(response)
    for _ in range(2):
        assert response.done() is False
        response.stream("PAGES", "more")
        response.close()
        response.abort()
        with pytest.raises(ConnectionGone):
            response.write("more")
    assert not response.sent
    there.engine.poll(0)
    assert len(there.service.errors) == 1


# --- responses that close their connection ------------------------------------------------------------------


def test_close_completes_a_stream_and_then_closes(run_engine: RunEngine) -> None:
    def handler(_request: Request, response: Response) -> None:
        response.write("whole")
        response.close()
        assert (response.answered, response.sent) == (True, True)

    raw = run_engine(handler).raw(raw_request())
    assert raw.endswith(b"\r\n5\r\nwhole\r\n0\r\n\r\n")


def test_abort_leaves_a_stream_incomplete(run_engine: RunEngine) -> None:
    def handler(_request: Request, response: Response) -> None:
        response.write("part")
        response.abort()
        assert (response.answered, response.sent) == (True, False)

    raw = run_engine(handler).raw(raw_request())
    assert raw.endswith(b"\r\n4\r\npart\r\n")


def write_and_finish(response: Response) -> None:
    response.write()
    response.done()


def write_and_close(response: Response) -> None:
    response.write()
    response.close()


@pytest.mark.parametrize("end", [Response.done, write_and_finish, write_and_close])
@pytest.mark.parametrize(
    ("method", "length", "sent"), [("GET", "9", False), ("GET", "2", True), ("HEAD", "9", True)]
)
def test_a_body_shorter_than_its_length_is_not_sent(
    run_engine: RunEngine, end: Callable[[Response], object], method: str, length: str, sent: bool
) -> None:
    def handler(_request: Request, response: Response) -> None:
        response.header("Content-Length", length)
        response.content = "part"
        end(response)

    there = run_engine(handler)
    there.raw(raw_request("/", "Connection: close", method=method))
    assert [response.sent for _, response in there.service.ended] == [sent]


@pytest.mark.parametrize("began", [False, True], ids=["whole", "stream"])
def test_a_response_is_not_sent_if_the_client_reset_while_its_handler_ran(
    run_engine: RunEngine, began: bool
) -> None:
    def handler(_request: Request, response: Response) -> None:
        if began:
            response.write("part")
        reset(client)
        response.content = "whole"
        assert response.done() is False
        assert (response.answered, response.sent) == (True, False)

    there = run_engine(handler)
    client = there.connect(raw_request())
    there.turn_until(lambda: there.service.ended)
    assert [response.sent_bytes for _, response in there.service.ended] == [0 if began else None]
    assert there.service.errors


@pytest.mark.parametrize(
    "data", [b"nonsense\r\n\r\n", raw_request("/", "Transfer-Encoding: chunked", method="POST") + b"x\r\n"]
)
def test_the_response_to_a_malformed_request_is_sent(run_engine: RunEngine, data: bytes) -> None:
    there = run_engine()
    assert there.raw(data).startswith(b"HTTP/1.1 400 ")
    assert [(response.code, response.sent) for _, response in there.service.ended] == [(400, True)]


@pytest.mark.parametrize("end", [Response.close, Response.abort])
def test_a_response_that_has_not_begun_is_not_sent(
    run_engine: RunEngine, end: Callable[[Response], None]
) -> None:
    assert run_engine(lambda _, response: end(response)).raw(raw_request()) == b""


@pytest.mark.parametrize("when", ["at once", "when it is sent", "with a head half read"])
def test_close_of_a_complete_response_closes_the_connection_that_is_kept(
    run_engine: RunEngine, when: str
) -> None:
    kept: list[Response] = []

    def handler(_request: Request, response: Response) -> None:
        kept.append(response)
        response.content = "whole"
        response.done()
        if when == "at once":
            response.close()

    there = run_engine(handler)
    client = there.connect(raw_request())
    if when != "at once":
        assert there.read(client, enough=b"whole").endswith(b"whole")
        if when == "with a head half read":
            client.sendall(b"GET / HT")
            there.engine.poll(0.05)
        kept[0].close()
        assert there.read(client) == b""
    else:
        assert there.read(client).endswith(b"\r\n\r\nwhole")
    assert there.service.unanswered_handlers == []
    kept[0].close()


def test_close_of_a_complete_response_leaves_the_next_one_whole_and_last(run_engine: RunEngine) -> None:
    kept: list[Response] = []
    there = run_engine(keeping(kept))
    client = there.connect(raw_request())
    there.turn_until(lambda: kept)
    kept[0].done()
    client.sendall(raw_request())
    there.turn_until(lambda: len(kept) == 2)
    kept[0].close()
    kept[1].content = "the next"
    kept[1].done()
    raw = there.read(client)
    assert b"Connection: close\r\n" in raw
    assert raw.endswith(b"the next")


# --- responses that are dropped -----------------------------------------------------------------------------


def dropping(_request: Request, response: Response) -> None:
    response.handler = "H"


def test_a_response_that_is_dropped_is_a_500_and_names_its_handler(run_engine: RunEngine) -> None:
    there = run_engine(dropping)
    raw = there.raw(raw_request())
    assert raw.startswith(b"HTTP/1.1 500 ")
    assert raw.endswith(b"the application did not respond\n")
    assert there.service.unanswered_handlers == ["H"]


def test_one_that_is_dropped_between_turns_is_served_in_the_next(run_engine: RunEngine) -> None:
    kept: list[Response] = []
    there = run_engine(keeping(kept))
    client = there.connect(raw_request())
    there.turn_until(lambda: kept)
    kept.clear()
    there.engine.poll(0)
    assert there.read(client).startswith(b"HTTP/1.1 500 ")
    assert there.service.unanswered_handlers == [None]


def test_a_stream_that_is_dropped_ends_with_its_connection(run_engine: RunEngine) -> None:
    def handler(_request: Request, response: Response) -> None:
        response.write("half")

    there = run_engine(handler)
    raw = there.raw(raw_request())
    assert raw.endswith(b"\r\n4\r\nhalf\r\n")
    assert there.service.unanswered_handlers == [None]


def test_one_whose_client_left_is_forgotten_without_a_word(run_engine: RunEngine) -> None:
    kept: list[Response] = []
    there = run_engine(keeping(kept))
    client = there.connect(raw_request())
    there.turn_until(lambda: kept)
    leave(there, client)
    kept.clear()
    there.engine.poll(0)
    assert there.service.unanswered_handlers == []


# --- callbacks of responses that have ended -----------------------------------------------------------------


class Recorder:
    def __init__(self) -> None:
        self.recorded: list[tuple[bool, ...]] = []

    def __call__(self, *reported: bool) -> None:
        self.recorded.append(reported)


@pytest.mark.parametrize(
    ("end", "recorded"),
    [(Response.done, []), (Response.close, []), (Response.abort, [(False,)])],
)
def test_a_stream_that_its_handler_ends_releases_what_waits_for_it_to_drain(
    run_engine: RunEngine, end: Callable[[Response], None], recorded: list[tuple[bool, ...]]
) -> None:
    kept: list[Response] = []
    there = run_engine(keeping(kept))
    there.connect(raw_request())
    there.turn_until(lambda: kept)
    recorder = Recorder()
    kept[0].write("piece")
    assert kept[0].when_drained(recorder)
    end(kept[0])
    there.engine.poll(0)
    there.engine.poll(0)
    assert recorder.recorded == recorded
    gone = weakref.ref(recorder)
    del recorder
    assert gone() is None


def test_a_response_that_has_ended_does_not_take_the_callbacks_of_the_next(run_engine: RunEngine) -> None:
    kept: list[Response] = []
    there = run_engine(keeping(kept))
    client = there.connect(raw_request() * 2)
    there.turn_until(lambda: kept)
    kept[0].done()
    there.turn_until(lambda: len(kept) == 2)
    former, response = kept
    gone, drained, late = Recorder(), Recorder(), Recorder()
    assert response.when_gone(gone)
    response.write("piece")
    assert response.when_drained(drained)
    assert not former.when_gone(late)
    assert not former.when_drained(late)
    there.turn_until(lambda: drained.recorded)
    leave(there, client)
    there.turn_until(lambda: gone.recorded)
    assert (gone.recorded, drained.recorded, late.recorded) == ([()], [(True,)], [])


def test_a_response_that_cannot_be_sent_keeps_its_callback(run_engine: RunEngine) -> None:
    kept: list[Response] = []
    there = run_engine(keeping(kept))
    client = there.connect(raw_request())
    there.turn_until(lambda: kept)
    gone = Recorder()
    assert kept[0].when_gone(gone)
    kept[0].header("X", "a\nb")
    with pytest.raises(InvalidResponse):
        kept[0].done()
    leave(there, client)
    there.turn_until(lambda: gone.recorded)


# --- connections that end ----------------------------------------------------------------------------------


def test_a_stream_that_began_before_draining_may_be_followed_by_one_more_request(
    run_engine: RunEngine,
) -> None:
    kept: list[Response] = []
    there = run_engine(keeping(kept))
    client = there.connect(raw_request())
    there.turn_until(lambda: kept)
    kept[0].write("piece")  # the head is out: it cannot say that it was the last response
    there.engine.drain(there.number, DEADLINE_S, lambda: None)
    kept[0].done()
    there.read(client, b"0\r\n\r\n")
    for _ in range(50):
        there.engine.poll(0.01)
    client.sendall(raw_request())
    there.turn_until(lambda: len(kept) == 2)
    kept[1].done()
    assert b"Connection: close" in there.read(client)


def test_a_connection_that_a_forked_child_still_holds_is_not_watched_any_more(run_engine: RunEngine) -> None:
    there = run_engine()
    client = there.connect()
    there.turn_until(lambda: there.engine.connections)
    child = os.fork()
    if not child:
        client.close()
        signal.pause()
    try:
        client.sendall(raw_request("/", "Connection: close"))
        there.turn_until(lambda: there.engine.connections == 0)
        client.close()
        for _ in range(5):
            there.engine.poll(0.05)
        turns, end = 0, time.monotonic() + 0.2
        while time.monotonic() < end:
            there.engine.poll(0.05)
            turns += 1
        assert turns < 20
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_response_is_overdue_once(run_engine: RunEngine) -> None:
    registered: list[bool] = []

    def handler(_request: Request, response: Response) -> None:
        kept.append(response)
        response.when_overdue(lambda: registered.append(response.when_overdue(registered.clear)))

    kept: list[Response] = []
    there = run_engine(handler, request_timeout=0.05)
    assert there.read(there.connect(raw_request())).startswith(b"HTTP/1.1 504 ")
    assert registered == [False], "the 504 is sent: no response is owed"
