"""Formats of the access log for each kind of application, and what becomes of it in a pool."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from support import tls
from support.apps import APPS
from support.http2 import http2
from support.leaving import reset
from support.responses import read_response
from support.server import Serve, Server, run_prefork, start_process
from support.waiting import wait_until
from support.websocket import RawSocket

APP = APPS / "access_logged.py"
KINDS = {
    "WSGI": ("wsgi",),
    "threads": ("wsgi", "--threads", "2"),
    "ASGI": ("asgi",),
    "uvloop": ("asgi", "--loop", "uvloop"),
}


class Log:
    """A server with an access log."""

    def __init__(self, serve: Serve, path: Path, kind: str, *flags: str, form: str | None = "json") -> None:
        name, *options = KINDS[kind]
        self.path = path / "access.log"
        target = Path(f"{APP}:{name}")
        if form is not None:
            options += ["--access-log-format", form]
        self.server: Server = serve(target, "--access-log", str(self.path), *options, *flags)

    def wait(self, count: int) -> list[str]:
        """Wait for so many lines, and return them."""

        def lines() -> list[str]:
            with contextlib.suppress(FileNotFoundError):
                return self.path.read_text().splitlines()
            return []

        wait_until(lambda: len(lines()) >= count, f"{count} lines")
        assert len(lines()) == count
        return lines()

    def one(self) -> dict[str, Any]:
        """The only line."""
        line: dict[str, Any] = json.loads(self.wait(1)[0])
        return line


kinds = pytest.mark.parametrize("kind", KINDS)


@kinds
def test_a_request_with_a_body(serve: Serve, tmp_path: Path, kind: str) -> None:
    log = Log(serve, tmp_path, kind, "--workers", "1")
    fields = {"User-Agent": 'a"\xe9', "Authorization": "Basic am9lOmE="}
    assert log.server.request("/echo?x=%0a", "POST", body=b"z" * 100_000, headers=fields)[0] == 200
    line = log.one()
    assert line["pid"] == log.server.workers()[0]
    times = line.pop("duration_s"), line.pop("wait_s")
    assert all(0 <= seconds < 30 for seconds in times)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d", line.pop("time"))
    port = log.server.url.rpartition(":")[2]
    assert line == {
        "client": "127.0.0.1", "user": "joe", "method": "POST", "path": "/echo", "query": "x=%0a",
        "protocol": "HTTP/1.1", "scheme": "http", "tls": None, "host": f"127.0.0.1:{port}", "status": 200,
        "bytes_in": 100_000, "bytes_out": 100_000, "referer": None, "user_agent": 'a"\\xe9',
        "pid": line["pid"], "worker": 0, "request_id": None, "trace_id": None,
    }  # fmt: skip


@kinds
def test_fields_of_the_response_and_parts_of_a_body(serve: Serve, tmp_path: Path, kind: str) -> None:
    log = Log(serve, tmp_path, kind, "--workers", "1", form="%(s)s %(b)s %({x-set}o)s %({host}o)s")
    log.server.get("/parts")
    assert log.wait(1) == ["200 6 yes -"]


@pytest.mark.parametrize("kind", ["WSGI", "threads"])
def test_variables_that_the_application_has_set(serve: Serve, tmp_path: Path, kind: str) -> None:
    form = "%({app.user}e)s|%({PATH_INFO}e)s|%({wsgi.version}e)s|%({none}e)s"
    log = Log(serve, tmp_path, kind, "--workers", "1", form=form)
    log.server.get("/a%20b")
    assert log.wait(1) == [r"ann\n|/a b|(1, 0)|-"]


def test_a_websocket_and_http2(serve: Serve, tmp_path: Path) -> None:
    log = Log(serve, tmp_path, "ASGI", "--workers", "1", "--h2c", form="%(s)s %(m)s %(U)s %(H)s %(b)s")
    with RawSocket(log.server, "/chat"):
        log.wait(1)
    with http2(log.server) as client:
        assert client.get("/over?http2").status == 200
    lines = log.wait(2)
    assert lines[0] == "101 GET /chat HTTP/1.1 -"
    assert re.fullmatch(r"200 GET /over HTTP/2 \d+", lines[1])


def test_tls_is_named(serve: Serve, tmp_path: Path) -> None:
    flags = ("--tls-cert", str(tls.CERT), "--tls-key", str(tls.KEY))
    log = Log(serve, tmp_path, "WSGI", "--workers", "1", *flags, form="%(scheme)s %(tls)s %(H)s")
    with log.server.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_response(sock)[0] == 200
    assert log.wait(1) == ["https TLSv1.3 HTTP/1.1"]


def test_the_id_of_a_request_is_that_of_its_response(serve: Serve, tmp_path: Path) -> None:
    log = Log(
        serve, tmp_path, "WSGI", "--workers", "1", "--request-id", "make", form="%(request_id)s %(trace_id)s"
    )
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    _, fields, _ = log.server.request("/", headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
    assert log.wait(1) == [f"{fields['x-request-id']} {trace}"]


def test_paths_are_skipped(serve: Serve, tmp_path: Path) -> None:
    flags = ("--access-log-skip", "/healthz", "--access-log-skip", "/static/*")
    log = Log(serve, tmp_path, "WSGI", "--workers", "1", *flags, form="%(U)s")
    for path in ("/healthz", "/static/a", "/healthz/deep", "/"):
        log.server.get(path)
    assert log.wait(2) == ["/healthz/deep", "/"]


def test_clients_that_are_refused_have_a_line(serve: Serve, tmp_path: Path) -> None:
    flags = ("--workers", "1", "--max-connections-per-address", "1", "--trusted-proxies", "192.0.2.0/24")
    log = Log(serve, tmp_path, "WSGI", *flags)
    with log.server.connect() as first:
        first.sendall(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_response(first)[0] == 200
        with log.server.connect() as second:
            second.sendall(b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_response(second)[0] == 503
        refused = json.loads(log.wait(2)[1])
    assert (refused["status"], refused["path"], refused["client"]) == (503, None, "127.0.0.1")
    assert refused["bytes_out"] > 0


def test_what_a_stuck_worker_did_not_respond_to(serve: Serve, tmp_path: Path) -> None:
    log = Log(serve, tmp_path, "WSGI", "--workers", "1", "--request-timeout", "0.3")
    assert log.server.request("/slow?30")[0] == 504
    line = log.one()
    assert (line["status"], line["path"], line["query"]) == (504, "/slow", "30")
    assert line["duration_s"] >= 0.3


def test_lines_are_written_while_a_handler_is_slow(serve: Serve, tmp_path: Path) -> None:
    """Both requests are of one turn: the guard writes what waits for its end."""
    log = Log(serve, tmp_path, "WSGI", "--workers", "2", form="%(U)s")
    with log.server.connect() as sock:
        request = b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n"
        sock.sendall(request % b"/fast" + request % b"/slow?3")
        assert read_response(sock)[0] == 200
        assert log.wait(1) == ["/fast"]


def test_a_client_that_left(serve: Serve, tmp_path: Path) -> None:
    log = Log(serve, tmp_path, "threads", "--workers", "1", form="%(s)s %(U)s")
    sock = log.server.connect()
    sock.sendall(b"GET /slow?0.5 HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_until(lambda: log.server.status()["totals"]["in_flight"] == 1, "the request")
    reset(sock)
    assert log.wait(1) == ["499 /slow"]


# --- where it is written ------------------------------------------------------------------------------------


def ask(server: Server, paths: list[bytes]) -> None:
    with server.connect() as sock:
        for path in paths:
            sock.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path)
            assert read_response(sock)[0] == 200


@pytest.mark.parametrize("where", ["file", "pipe"])
def test_lines_of_several_workers_do_not_mix(serve: Serve, tmp_path: Path, where: str) -> None:
    clients, each = 8, 40
    path = tmp_path / "access.log"
    read: list[str] = []

    def read_all() -> None:
        with path.open() as pipe:
            read.extend(pipe)

    reader = threading.Thread(target=read_all, daemon=True)
    if where == "pipe":
        os.mkfifo(path)
        reader.start()
    log = Log(serve, tmp_path, "WSGI", "--workers", "4", form="%(U)s")
    paths = [
        [b"/%d/%d/" % (client, number) + b"x" * 6000 for number in range(each)] for client in range(clients)
    ]
    threads = [threading.Thread(target=ask, args=(log.server, mine)) for mine in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log.server.stop() == 0
    if where == "pipe":
        reader.join()
    lines = read if where == "pipe" else path.read_text().splitlines(keepends=True)
    shown = {path[:256] + b"..." if where == "pipe" else path for mine in paths for path in mine}
    assert {line.encode().rstrip(b"\n") for line in lines} == shown
    assert len(lines) == clients * each


def open_files(pid: int) -> list[str]:
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/{pid}/fd/{name}"))
    return found


def test_usr1_has_every_process_open_the_file_again(serve: Serve, tmp_path: Path) -> None:
    log = Log(serve, tmp_path, "WSGI", "--workers", "2", form="%(U)s")
    wait_until(lambda: len(log.server.workers("spare")) == 2, "both workers")
    for number in range(20):
        log.server.get(f"/{number}")
    log.wait(20)
    old = tmp_path / "access.log.1"
    log.path.rename(old)
    log.server.signal(signal.SIGUSR1)
    workers = log.server.workers()
    wait_until(lambda: all(str(log.path) in open_files(pid) for pid in workers), "the new file")
    assert not any(str(old) in open_files(pid) for pid in (*workers, log.server.pid))
    log.server.get("/new")
    assert log.wait(1) == ["/new"]
    assert log.server.stop() == 0
    assert "SIGUSR1" not in log.server.log


def test_usr1_without_a_pool(serve: Serve, tmp_path: Path) -> None:
    log = Log(serve, tmp_path, "ASGI", "--start", "0", form="%(U)s")
    log.server.get("/a")
    log.wait(1)
    log.path.rename(tmp_path / "access.log.1")
    log.server.signal(signal.SIGUSR1)
    wait_until(log.path.exists, "the new file")


def test_a_rotation_is_noticed(serve: Serve, tmp_path: Path) -> None:
    log = Log(serve, tmp_path, "WSGI", "--workers", "1", form="%(U)s")
    log.server.get("/a")
    log.wait(1)
    log.path.rename(tmp_path / "access.log.1")

    def follows() -> bool:
        log.server.get("/b")
        return log.path.exists()

    wait_until(follows, "the new file")
    assert (tmp_path / "access.log.1").read_text().startswith("/a\n")


def lost(server: Server) -> int:
    count: int = server.status()["totals"]["log_lost"]
    return count


def test_a_directory_that_vanishes_and_comes_back(serve: Serve, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    log = Log(serve, logs, "WSGI", "--workers", "1", form="%(U)s")
    log.server.get("/a")
    log.wait(1)
    log.path.unlink()
    logs.rmdir()

    def loses() -> bool:
        log.server.get("/lost")
        return lost(log.server) > 2

    wait_until(loses, "lost lines")
    why = log.server.wait_log("the access log cannot be written")
    assert "No such file or directory" in why
    assert "its lines are lost until it can" in why
    logs.mkdir()

    def comes_back() -> bool:
        log.server.get("/again")
        return log.path.exists()

    wait_until(comes_back, "the file")
    told = re.search(r"(\d+) of its lines were lost", log.server.wait_log("the access log is written again"))
    assert told is not None
    assert int(told[1]) == lost(log.server)
    assert log.server.stop() == 0
    assert log.server.log.count("the access log") == 2


def test_a_full_disk(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "access.log").symlink_to("/dev/full")
    log = Log(serve, tmp_path, "WSGI", "--workers", "1", form="%(U)s")
    for _ in range(5):
        assert log.server.get("/a")
    wait_until(lambda: lost(log.server) == 5, "the count")
    assert "No space left on device" in log.server.wait_log("the access log cannot be written")
    assert log.server.stop() == 0
    assert log.server.log.count("the access log") == 1


def test_a_reader_of_standard_output_that_died(tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    sock = tmp_path / "socket"
    flags = ("--bind", f"unix:{sock}", "--workers", "1", "--access-log", "-")
    server = Server(start_process(f"{APP}:wsgi", *flags, stdout=theirs))
    try:
        server.url = f"unix:{sock}"
        server.wait_listening()
        ask(server, [b"/a"])
        os.close(theirs)
        os.close(ours)
        ask(server, [b"/b", b"/c"])
        assert "Broken pipe" in server.wait_log("the access log cannot be written")
        assert server.stop() == 0
    finally:
        server.kill()


# --- wrong use ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["flag", "variable", "file"])
def test_an_unknown_atom_ends_the_start_before_anything_is_bound(
    tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = "%(h)s %(statu)s"
    flags: list[str] = []
    if source == "flag":
        flags, name = ["--access-log-format", form], "--access-log-format"
    elif source == "variable":
        monkeypatch.setenv("PREFORK_ACCESS_LOG_FORMAT", form)
        name = "PREFORK_ACCESS_LOG_FORMAT"
    else:
        (tmp_path / "prefork.toml").write_text(f"access_log_format = '{form}'\n")
        flags, name = ["-c", str(tmp_path / "prefork.toml")], "access_log_format"
    sock = tmp_path / "socket"
    done = run_prefork("serve", f"{APP}:wsgi", "--bind", f"unix:{sock}", *flags)
    (line,) = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert name in line
    assert line.endswith("there is no atom %(statu)s; did you mean %(s)s?")
    assert not sock.exists()


@pytest.mark.parametrize(
    ("flag", "ours"),
    [("--access-logfile", "--access-log"), ("--access-logformat", "--access-log-format")],
)
def test_what_gunicorn_calls_it_is_hinted(flag: str, ours: str) -> None:
    done = run_prefork("serve", f"{APP}:wsgi", flag, "-")
    assert done.returncode == 2
    assert f"No such option '{flag}'; use {ours}" in done.stderr
