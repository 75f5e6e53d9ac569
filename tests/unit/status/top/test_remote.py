"""Reports over HTTP, from an admin listener and from what may be in its place."""

from __future__ import annotations

import http.server
import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from prefork.errors import OptionError, ScoreboardUnavailable
from prefork.status.top.remote import Remote
from support.reports import busy, report

GOOD = json.dumps({"version": 1, **report(busy(0))}).encode()


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


@contextmanager
def listener(
    make: Callable[[Any], Any], status: int = 200, body: bytes = GOOD, token: str = ""
) -> Iterator[Any]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            refused = token and self.headers["Authorization"] != f"Bearer {token}"
            self.send_response(401 if refused else status)
            self.end_headers()
            self.wfile.write(b"expected the token\n" if refused else body)

        def address_string(self) -> str:
            return "client"

        def log_message(self, *_: object) -> None: ...

    with make(Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address
        finally:
            server.shutdown()
            thread.join()


def tcp(handler: Any) -> Server:
    return Server(("127.0.0.1", 0), handler)


def test_a_report_comes_over_tcp_and_over_a_unix_socket(tmp_path: Path) -> None:
    with listener(tcp) as (host, port):
        assert Remote(f"http://{host}:{port}").look()["manager"]["glue"] == "site"
        assert Remote(f"{host}:{port}/").look()["workers"][0]["slot"] == 0
    with listener(lambda handler: UnixServer(str(tmp_path / "a"), handler)):
        assert Remote(f"unix:{tmp_path}/a").look()["manager"]["glue"] == "site"


def test_a_listener_that_wants_a_token_gets_it() -> None:
    with listener(tcp, token="secret") as (host, port):
        assert Remote(f"{host}:{port}", "secret").look()["version"] == 1
        with pytest.raises(ScoreboardUnavailable, match=r"refuses: expected the token \(--token-file\)"):
            Remote(f"{host}:{port}", "wrong").look()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, GOOD),
        (200, b"<html>"),
        (200, b"[" * 100_000),
        (200, b"null"),
        (200, b"{}"),
        (200, GOOD.replace(b'"version": 1', b'"version": 2')),
        (200, GOOD.replace(b'"totals"', b'"sums"')),
        (200, GOOD.replace(b'"uptime_s": 3905.0', b'"uptime_s": "long"')),
        (200, GOOD.replace(b'"workers": [', b'"workers": [7, ')),
    ],
)
def test_what_is_no_report_is_refused_in_one_line(status: int, body: bytes) -> None:
    with (
        listener(tcp, status, body) as (host, port),
        pytest.raises(ScoreboardUnavailable, match="expected a report of version 1 at") as caught,
    ):
        Remote(f"{host}:{port}").look()
    assert "\n" not in str(caught.value)


def test_a_manager_without_a_pool_says_so() -> None:
    with (
        listener(tcp, 503, b"{}") as (host, port),
        pytest.raises(ScoreboardUnavailable, match="has no pool to show"),
    ):
        Remote(f"{host}:{port}").look()


def test_a_listener_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    for url in ("127.0.0.1:1", f"unix:{tmp_path}/none"):
        with pytest.raises(
            ScoreboardUnavailable, match=r"cannot be asked: (Connection refused|No such file)"
        ):
            Remote(url).look()


@pytest.mark.parametrize("url", ["", "https://x", "ftp://x:1", "x:99999", "x:y", "http://a b:1", "[::1"])
def test_a_wrong_url_is_one_line(url: str) -> None:
    with pytest.raises(OptionError, match="expected the address of an admin listener"):
        Remote(url)
