"""LOGHANDLER, LOG2HANDLER, SETUPHANDLER, ERRORHANDLER and DEBUG: what each is called with, and when."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.apps import APPS
from support.leaving import reset
from support.server import Serve, Server
from support.waiting import wait_until

APP = APPS / "server_hooks.py"


def hooks(malformed: bool = False, **events: str) -> dict[str, Any]:
    """The parameters of the application: events of its session EARS by the hook's name."""
    return {"hooks": events, "malformed": malformed}


def recorded(server: Server, *kinds: str) -> list[Any]:
    """The calls since the last time, without those for this request."""
    reported = json.loads(server.get("/recorded"))
    return [what for what in reported if what[0] in kinds and what[1] != "/recorded"]


def test_log_handler_is_called_before_the_handler(serve: Serve) -> None:
    server = serve(APP, parameters=hooks(log="log"))
    server.get("/page")
    assert recorded(server, "log", "handler") == [["log", "/page", "127.0.0.1"], ["handler", "/page"]]
    server.request("/nowhere")
    assert recorded(server, "log") == [["log", "/nowhere", "127.0.0.1"]]


def test_log_handler_is_called_once_for_a_request_with_a_body(serve: Serve) -> None:
    server = serve(APP, parameters=hooks(log="log"))
    server.request("/page", "POST", b"x" * 100_000)
    assert recorded(server, "log") == [["log", "/page", "127.0.0.1"]]


def test_log_handler_is_called_with_none_for_a_malformed_request(serve: Serve) -> None:
    server = serve(APP, parameters=hooks(log="log", error="error"))
    assert server.raw(b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    log, error = recorded(server, "log", "error")
    assert log == ["log", None, "127.0.0.1"]
    assert error[1].startswith("400 ")
    assert error[2] == "127.0.0.1"


@pytest.mark.parametrize("path", ["/page", "/stream", "/generator"])
def test_log2_handler_is_called_after_the_response_and_after_a_stream(serve: Serve, path: str) -> None:
    server = serve(APP, parameters=hooks(log2="log2"))
    server.get(path)
    assert recorded(server, "log2") == [["log2", path, 200, True]]


def test_log2_handler_is_called_for_responses_of_the_server_itself(serve: Serve) -> None:
    server = serve(APP, parameters=hooks(log2="log2"))
    assert server.request("/nowhere")[0] == 404
    assert server.request("/fails")[0] == 500
    assert server.request("/forgets")[0] == 500
    assert recorded(server, "log2") == [
        ["log2", "/nowhere", 404, True],
        ["log2", "/fails", 500, True],
        ["log2", "/forgets", 500, True],
    ]


def test_log2_handler_is_not_called_for_a_close_without_a_response(serve: Serve) -> None:
    server = serve(APP, parameters=hooks(log2="log2"))
    assert server.raw(b"GET /close HTTP/1.1\r\nHost: a\r\n\r\n") == b""
    assert recorded(server, "log2") == []


def test_log2_handler_is_called_for_the_response_to_a_malformed_request(serve: Serve) -> None:
    server = serve(APP, parameters=hooks(malformed=True, log2="log2"))
    assert server.raw(b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert recorded(server, "log2") == [["log2", None, 400, True]]


def test_setup_handler_is_called_with_port_and_address_once_it_listens(serve: Serve) -> None:
    server = serve(APP, parameters=hooks(setup="setup"))
    assert recorded(server, "setup") == [["setup", server.port, "127.0.0.1"]]


def test_error_handler_is_called_with_what_a_handler_raised(serve: Serve) -> None:
    server = serve(APP, parameters=hooks(error="error"))
    assert server.request("/fails")[0] == 500
    ((_, text, remote_ip),) = recorded(server, "error")
    assert "fails" in text
    assert "ValueError('a handler that fails')" in text
    assert remote_ip == "127.0.0.1"


def test_error_handler_is_called_for_a_client_that_left_before_its_response(serve: Serve) -> None:
    server = serve(APP, parameters=hooks(error="error"))
    with server.connect() as sock:
        sock.sendall(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_until(lambda: recorded(server, "waiting") == [["waiting", False]])
        reset(sock)
    reported: list[Any] = []
    wait_until(lambda: reported.extend(recorded(server, "error", "dead")) or len(reported) == 2)
    assert ["dead", True] in reported
    (error,) = (what for what in reported if what[0] == "error")
    assert "the client" in error[1]
    assert error[2] == "127.0.0.1"


@pytest.mark.parametrize("hook", ["log", "log2", "setup", "error"])
def test_a_hook_that_fails_is_logged_and_harms_no_request(serve: Serve, hook: str) -> None:
    server = serve(APP, parameters={"hooks": {hook: "broken"}})
    assert server.get("/page") == b"page"
    assert server.request("/fails")[0] == 500
    server.wait_log("ValueError: a hook that fails")
    server.wait_log("session EARS: event broken(")
    assert server.get("/page") == b"page"


def test_a_hook_may_be_a_function(serve: Serve) -> None:
    server = serve(APPS / "function_hooks.py")
    assert json.loads(server.get("/a")) == ["setup 127.0.0.1", "log /a"]
    wait_until(lambda: "log2 /a" in json.loads(server.get("/b")), "the asynchronous hook")


def test_a_hook_of_a_session_that_vanished_is_logged_and_harms_no_request(serve: Serve) -> None:
    server = serve(APPS / "vanished_hook.py")
    assert server.get() == b"removed"
    assert server.get() == b"removed"
    server.wait_log("hook EARS.log: no session has the alias 'EARS'")


def test_debug_logs_each_response(serve: Serve) -> None:
    server = serve(APP, "--debug")
    server.get("/page")
    line = server.wait_log("DEBUG prefork")
    assert "GET /page from 127.0.0.1" in line
    assert "200 by PAGES.page" in line


def test_without_debug_responses_are_not_logged(serve: Serve) -> None:
    server = serve(APP)
    server.get("/page")
    server.stop()
    assert "/page" not in server.log
