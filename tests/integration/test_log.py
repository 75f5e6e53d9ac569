"""The log: no text of a client looks like a record of its own, and no reader of it delays a response."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.apps import APPS
from support.responses import read_response
from support.server import Serve, Server, running, start_process
from support.websocket import RawSocket

FORGED = "2026-01-01 00:00:00,000 1 CRITICAL prefork.pool: FORGED"
HOSTILE = f"%0A{FORGED}%1B%5B31m%0D{FORGED}%07%C2%9B31m%E2%80%AE%E2%80%A8{FORGED}%00%7F%08%C2%85".replace(
    " ", "%20"
)
RECORD = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} \d+ [A-Z]+ [\w.]+: ")

KINDS = {
    "WSGI": ("wsgi",),
    "threads": ("wsgi", "--threads", "2"),
    "ASGI": ("asgi",),
    "uvloop": ("asgi", "--loop", "uvloop"),
    "events": ("events",),
}


@pytest.fixture(scope="module", params=list(KINDS.values()), ids=list(KINDS))
def shared(request: pytest.FixtureRequest) -> Iterator[Server]:
    name, *options = request.param
    target = f"{APPS / 'log_texts.py'}:{name}"
    with running(target, "--bind", "127.0.0.1:0", "--workers", "1", *options) as server:
        yield server


@pytest.fixture
def server(shared: Server) -> Server:
    shared.forget_output()
    return shared


def assert_genuine(server: Server) -> None:
    """What a client sent is in the log, in records of the server, and no terminal obeys it."""
    for line in server.err:
        assert line.startswith("  ") or (RECORD.match(line) and not line.startswith(FORGED)), line
        assert re.search("[\x00-\x08\x0a-\x1f\x7f-\x9f\u202e\u2028]", line) is None, line


@pytest.mark.parametrize("place", ["", "later/"])
@pytest.mark.parametrize("how", ["raises", "quotes", "several", "logs", "silent"])
def test_no_client_forges_a_record_or_controls_a_terminal(
    server: Server, request: pytest.FixtureRequest, how: str, place: str
) -> None:
    is_events = "events-" in request.node.name
    assert server.request(f"/{how}/{place}{HOSTILE}")[0] == 500
    if how != "silent" or not is_events:  # the line about an event that does not respond names the event
        server.wait_log("FORGED")
    server.request("/raises/end")
    server.wait_log("/raises/end")
    assert_genuine(server)


@pytest.mark.parametrize("how", ["raises", "quotes", "several", "logs", "silent"])
def test_no_websocket_client_either(serve: Serve, how: str) -> None:
    server = serve(Path(f"{APPS / 'log_texts.py'}:asgi"), "--start", "0")
    with RawSocket(server, f"/{how}/{HOSTILE}") as socket:
        assert socket.status in (403, 500)
    server.wait_log("FORGED")
    assert server.stop() == 0
    assert_genuine(server)


def test_no_client_whose_request_timed_out_either(serve: Serve) -> None:
    target = Path(f"{APPS / 'log_texts.py'}:waits")
    server = serve(target, "--start", "0", "--request-timeout", "0.2", "--lifespan", "off")
    assert server.request(f"/{HOSTILE}")[0] == 504
    server.wait_log("had no response in 0.2 s")
    assert_genuine(server)


def test_the_access_log_has_what_was_sent(serve: Serve, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    server = serve(APPS / "wsgi_path.py", "--access-log", str(log))
    server.request(f"/{HOSTILE}", headers={"User-Agent": 'a"b\\\x9b31m\t', "Referer": "\xa0\x85"})
    server.stop()
    (line,) = log.read_text().splitlines()
    assert f'"GET /{HOSTILE} HTTP/1.1"' in line
    assert line.isascii()
    assert line.isprintable()
    assert r'"a\"b\\\x9b31m' in line


# Readers that do not read.


@pytest.fixture
def full() -> Iterator[int]:
    """The writing end of a pipe that is full."""
    ours, theirs = os.pipe()
    fill(theirs)
    yield theirs
    os.close(ours)
    os.close(theirs)


def fill(pipe: int) -> None:
    os.set_blocking(pipe, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(pipe, b"x" * 4096)
    os.set_blocking(pipe, True)


@pytest.mark.parametrize(
    "options", [("--start", "0"), ("--workers", "2"), ("--workers", "1", "--threads", "2")]
)
def test_a_log_that_is_not_read_delays_no_response_and_no_stop(
    serve: Serve, full: int, options: tuple[str, ...]
) -> None:
    server = serve(Path(f"{APPS / 'log_texts.py'}:wsgi"), *options, stderr=full)
    for _ in range(20):
        assert server.request("/several/times")[0] == 500
    server.signal(signal.SIGUSR2)  # the manager logs that it changes nothing
    assert server.request("/raises/again")[0] == 500
    assert server.stop() == 0


def test_a_handler_of_the_application_that_waits_for_a_reader_holds_up_no_stop(serve: Serve) -> None:
    source = "import logging\nlogging.basicConfig(level='INFO')\ndef app(environ, start_response): ...\n"
    ours, theirs = os.pipe()
    server = serve(source, "--workers", "1", stderr=theirs)
    fill(theirs)
    assert server.request("/")[0] == 500
    assert server.stop() == 0
    os.close(ours)
    os.close(theirs)


def test_a_worker_that_dies_is_replaced_while_the_log_is_not_read(serve: Serve, full: int) -> None:
    server = serve(APPS / "wsgi_path.py", "--workers", "1", stderr=full)
    (worker,) = server.workers()
    os.kill(worker, signal.SIGKILL)
    server.wait_without([worker])
    server.get("/")
    assert server.stop() == 0


def test_a_worker_that_is_stuck_is_replaced_while_the_log_is_not_read(serve: Serve, full: int) -> None:
    options = ("--workers", "1", "--request-timeout", "0.5")
    server = serve(APPS / "wsgi_stuck.py", *options, stderr=full)
    (worker,) = server.workers()
    assert server.request("/stuck")[0] == 504
    server.wait_without([worker])
    assert server.get("/") != str(worker).encode()
    assert server.stop() == 0


@pytest.mark.parametrize(
    ("options", "status"),
    [
        (("--worker-start", "endings:fails", "--boot-failures", "2"), 3),
        (("--worker-start", "nowhere:start"), 2),
    ],
    ids=["no start", "wrong use"],
)
def test_a_server_that_cannot_serve_ends_though_the_reason_is_not_read(
    full: int, tmp_path: Path, options: tuple[str, ...], status: int
) -> None:
    """What has started it sees the end, and may start it again."""
    arguments = (f"{APPS / 'endings.py'}:wsgi", "--bind", "127.0.0.1:0", "--workers", "1", *options)
    server = Server(start_process(*arguments, stderr=full, cwd=tmp_path))
    try:
        assert server.wait() == status
    finally:
        server.kill()


def test_a_full_standard_output_delays_nothing(full: int, tmp_path: Path) -> None:
    """Neither the line that says where the server listens, nor the access log."""
    arguments = ("--bind", f"unix:{tmp_path / 'socket'}", "--workers", "1", "--access-log", "-")
    server = Server(start_process(str(APPS / "wsgi_path.py"), *arguments, stdout=full))
    server.url = f"unix:{tmp_path / 'socket'}"
    try:
        server.wait_listening()
        ask_often(server)
        assert server.stop() == 0
    finally:
        server.kill()


def test_an_access_log_in_a_named_pipe_keeps_its_lines_for_a_reader(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    server = serve(APPS / "wsgi_path.py", "--workers", "1", "--access-log", str(path))
    ask_often(server)
    with open(path) as reader:
        assert all(reader.readline().startswith("127.0.0.1") for _ in range(OFTEN))
    assert server.stop() == 0


OFTEN = 400


def ask_often(server: Server) -> None:
    """For more log lines than a pipe takes."""
    with server.connect() as sock:
        for _ in range(OFTEN):
            sock.sendall(b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"x" * 1000))
            assert read_response(sock)[0] == 200
