"""Bodies that come piece by piece: back-pressure, clients that leave, threads."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from support.apps import APPS
from support.leaving import reset
from support.responses import read_all, read_response
from support.server import Serve, Server
from support.slow_client import MIB, ask, unread
from support.waiting import wait_until

APP = APPS / "wsgi_streams.py"


@pytest.fixture(params=[1, 3], ids=["one thread", "threads"])
def server(request: Any, serve: Serve) -> Server:
    return serve(APP, "--workers", "1", "--threads", str(request.param))


def state(server: Server) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(server.get("/state"))
    return found


def resident_mib(pid: int) -> int:
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") // MIB


@pytest.mark.parametrize("path", ["/many", "/many_written", "/file"])
def test_a_download_with_a_slow_reader_costs_no_memory(server: Server, path: str, tmp_path: Path) -> None:
    if path == "/file":
        with (tmp_path / "large").open("wb") as file:
            file.truncate(200 * MIB)
        path += f"?{tmp_path}/large"
    (worker,) = server.workers()
    server.get("/state")
    before = resident_mib(worker)
    most = 0
    with ask(server, path) as sock:
        received = 0
        while piece := sock.recv(MIB):
            received += len(piece)
            if received // MIB != (received - len(piece)) // MIB:
                most = max(most, resident_mib(worker))
    assert received >= 200 * MIB
    assert most - before < 20


def test_an_upload_goes_to_the_disk_and_is_whole(server: Server) -> None:
    (worker,) = server.workers()
    server.get("/state")
    before = resident_mib(worker)
    block = os.urandom(MIB)
    expected = hashlib.sha256()
    with server.connect(timeout_s=60) as sock:
        sock.sendall(b"POST /digest HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (200 * MIB))
        for _ in range(200):
            sock.sendall(block)
            expected.update(block)
        assert read_response(sock)[2] == expected.hexdigest().encode()
    assert resident_mib(worker) - before < 20


def test_a_reader_that_stops_stops_its_application(serve: Serve) -> None:
    server = serve(APP, "--workers", "1", "--threads", "2")
    with ask(server, "/many") as sock:
        sock.recv(1000)
        made = wait_until(lambda: state(server)["made"], "the first pieces")
        for _ in range(20):
            made = state(server)["made"]
        assert made < 50
    wait_until(lambda: state(server)["closed"] == 1, "the generator's end")
    server.wait_log("client 127.0.0.1: the client")


def test_writing_raises_after_the_client_has_left(server: Server) -> None:
    with ask(server, "/many_written") as sock:
        sock.recv(1000)
    wait_until(lambda: state(server)["closed"] == 1, "the end of the call")
    found = state(server)
    assert found["errors"] == ["ConnectionGone"]
    assert found["made"] < 50
    server.wait_log("client 127.0.0.1: the client")
    assert "failed" not in server.log
    assert len([line for line in server.err if "client" in line]) == 1


def test_writing_to_a_client_that_reads_nothing_times_out(serve: Serve) -> None:
    server = serve(APP, "--workers", "1", "--send-timeout", "0.3")
    with ask(server, "/many_written") as sock:
        sock.recv(1000)
        server.wait_log("the client did not read its response")
    wait_until(lambda: state(server)["errors"] == ["ConnectionGone"], "the end of the call")


def test_a_piece_leaves_before_the_next_is_made(server: Server, tmp_path: Path) -> None:
    with ask(server, f"/slow?{tmp_path}/go") as sock:
        received = b""
        while b"first" not in received:
            received += sock.recv(1000)
        (tmp_path / "go").touch()
        assert b"second" in read_all(sock)


def test_bodies_that_are_made_in_turn_keep_their_contexts(server: Server) -> None:
    with ThreadPoolExecutor(4) as clients:
        bodies = list(clients.map(lambda name: server.get(f"/named?{name}"), "abcd"))
    for name, body in zip("abcd", bodies, strict=True):
        assert {piece.split(b" ")[0].strip(b"x") for piece in body.split(b" ")[:-1]} == {name.encode()}


@pytest.mark.parametrize("empty", [1, 15, 16, 17, 20, 40])
def test_a_body_may_begin_with_empty_pieces(server: Server, empty: int) -> None:
    assert server.get(f"/late?{empty}") == b"late, unset"
    assert "did not respond" not in server.log


def test_a_body_may_begin_with_empty_pieces_while_an_earlier_response_waits(server: Server) -> None:
    turns = 300
    asked = [f"GET {path} HTTP/1.1\r\nHost: x\r\n" for path in ("/some", "/late?1") * turns]
    with unread(server) as sock:
        sock.sendall("\r\n".join([*asked, "Connection: close\r\n\r\n"]).encode())
        received = read_all(sock)
    assert received.count(b"HTTP/1.1 200 OK\r\n") == 2 * turns
    assert received.count(b"6\r\nlate, \r\n5\r\nunset\r\n0\r\n\r\n") == turns


def test_a_body_of_empty_parts_ends_with_its_client(serve: Serve) -> None:
    server = serve(APP, "--workers", "1")
    with ask(server, "/undecided") as sock:
        wait_until(lambda: status_of(server)["in_flight"] == 1, "the request")
        reset(sock)
    assert state(server)["closed"] == 1
    assert state(server)["errors"] == []
    assert "failed" not in server.log


# --- threads ------------------------------------------------------------------------------------------------


def test_as_many_calls_at_once_as_there_are_threads(serve: Serve, tmp_path: Path) -> None:
    server = serve(APP, "--workers", "1", "--threads", "3")
    target = f"/hold?{tmp_path}/go"
    held = [ask(server, target) for _ in range(4)]
    wait_until(lambda: len([*tmp_path.glob("gocaller-*")]) == 3, "three threads")
    (tmp_path / "go").touch()
    bodies = [read_all(sock).rpartition(b"\r\n")[2] for sock in held]
    for sock in held:
        sock.close()
    assert {body.rpartition(b"\n")[2] for body in bodies} == {b"caller-1", b"caller-2", b"caller-3"}


def status_of(server: Server) -> dict[str, Any]:
    (worker,) = server.status()["workers"]
    found: dict[str, Any] = worker
    return found


def test_threads_are_started_when_they_are_needed(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    server = serve(APP, "--workers", "1", "--threads", "8")
    names = {server.get(f"/hold?{tmp_path}/go") for _ in range(20)}
    assert len(names) < 3, "one, and another if a client was faster than the end of its call"


def test_a_worker_with_threads_is_spare_while_one_of_them_is(serve: Serve, tmp_path: Path) -> None:
    server = serve(APP, "--workers", "1", "--threads", "2")
    with ask(server, f"/hold?{tmp_path}/go"):
        wait_until(lambda: status_of(server)["in_flight"] == 1, "the request")
        assert status_of(server)["state"] == "spare"
        assert server.get("/state")
        (tmp_path / "go").touch()


def test_a_worker_that_leaves_finishes_what_its_threads_do(serve: Serve, tmp_path: Path) -> None:
    server = serve(APP, "--workers", "1", "--threads", "2", parameters={"directory": str(tmp_path)})
    assert server.get("/lingering") == b"served"
    server.signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        server.process.wait(0.5)
    (tmp_path / "go").touch()
    assert server.wait() == 0
    assert (tmp_path / "closed").exists()
