"""Events of a server that are given arguments which they do not take."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from prefork import HTTPServer, Kernel, PreForkServer, Response, Session, WrongArguments
from prefork.server.arguments import TAKES

WRONG: list[tuple[str, tuple[Any, ...], str]] = [
    ("DONE", (), "takes response; got none"),
    ("DONE", (None,), "takes response; got NoneType"),
    ("DONE", ("a", "b"), "takes response; got str, str"),
    ("CLOSE", (), "takes response; got none"),
    ("CLOSE", (7,), "takes response; got int"),
    ("STREAM", (), "takes response; got none"),
    ("STREAM", ("piece",), "takes response; got str"),
    ("GETHANDLERS", (), "takes session, event; got none"),
    ("GETHANDLERS", ("HTTPD",), "takes session, event; got str"),
    ("GETHANDLERS", ("HTTPD", None), "takes session, event; got str, NoneType"),
    ("SETHANDLERS", (), "takes handlers, [replace]; got none"),
    ("SETHANDLERS", (7,), "takes handlers, [replace]; got int"),
    ("SETHANDLERS", ([], True, 7), "takes handlers, [replace]; got list, bool, int"),
    ("SETCLOSEHANDLER", (), "takes connection, session, [event], [*args]; got none"),
    ("SETCLOSEHANDLER", (7,), "takes connection, session, [event], [*args]; got int"),
    ("SETCLOSEHANDLER", ("7", "HTTPD", "CLOSE"), "takes connection, session, [event], [*args]; got str, str"),
    ("SETCLOSEHANDLER", (7, "HTTPD", 7), "takes connection, session, [event], [*args]; got int, str, int"),
    ("STARTLISTEN", (7,), "takes no arguments; got int"),
    ("STOPLISTEN", (7,), "takes no arguments; got int"),
    ("SHUTDOWN", ("GRACEFUL", 7), "takes ['GRACEFUL']; got str, int"),
    ("ISCHILD", (7,), "takes no arguments; got int"),
    ("GETFORKHANDLERS", (), "takes session, event; got none"),
    ("GETFORKHANDLERS", (1.5, "DONE"), "takes session, event; got float, str"),
    ("SETFORKHANDLERS", (), "takes fork_handlers, [replace]; got none"),
    ("REGISTER", ("HTTPD",), "takes session, event; got str"),
    ("REGISTER", ("HTTPD", None), "takes session, event; got str, NoneType"),
]


def test_each_event_is_tried() -> None:
    public = {name for name in PreForkServer._events if name.isupper()}
    assert {event for event, _, _ in WRONG} == public == set(TAKES)


@pytest.mark.parametrize("by_alias", [True, False], ids=["alias", "session"])
@pytest.mark.parametrize(("event", "args", "text"), WRONG)
def test_call_says_what_the_event_takes(event: str, args: tuple[Any, ...], text: str, by_alias: bool) -> None:
    kernel = Kernel()
    server = PreForkServer(kernel)
    with pytest.raises(WrongArguments) as caught:
        kernel.call("HTTPD" if by_alias else server, event, *args)
    assert str(caught.value).startswith(f"session HTTPD: event {event} {text}")
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize(("event", "args", "text"), WRONG)
def test_post_logs_the_same_in_one_line(
    caplog: pytest.LogCaptureFixture, event: str, args: tuple[Any, ...], text: str
) -> None:
    kernel = Kernel()
    PreForkServer(kernel, start_servers=0, address="127.0.0.1", port=0)
    kernel.on_start(lambda: [kernel.post("HTTPD", event, *args), kernel.post("HTTPD", "SHUTDOWN")])
    kernel.run()
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.getMessage().startswith(f"session HTTPD: event {event} {text}")
    assert not record.exc_info


def test_an_error_of_a_subclass_is_its_own() -> None:
    class Server(HTTPServer):
        def done(self, response: Response) -> bool:
            raise ValueError(f"no {response}")

    kernel = Kernel()
    Server(kernel)
    with pytest.raises(ValueError, match="no response"):
        kernel.call("HTTPD", "DONE", "response")


def test_an_error_of_another_session_is_its_own() -> None:
    kernel = Kernel()
    kernel.session("PAGES", {"DONE": lambda: None})
    with pytest.raises(TypeError, match="takes 0 positional arguments but 1 was given"):
        kernel.call("PAGES", "DONE", 7)
    assert isinstance(kernel.find("PAGES"), Session)
