"""`/` and `/events` of the admin listener, over sockets: what a browser is told, and what clients cost."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from support.admin import LOCAL, admin_url, get, request
from support.apps import APPS
from support.events import EventClient
from support.molds import descriptors_at_rest
from support.pool import MakePool
from support.server import Serve, Server, start_program
from support.waiting import wait_until

HELLO = APPS / "wsgi_stuck.py"
TWO = {
    "start_servers": 2,
    "min_spare_servers": 2,
    "max_spare_servers": 2,
    "max_clients": 4,
    "check_spares_interval": 60,
}
ADMIN = ("--admin", LOCAL)


def row(frame: dict[str, Any]) -> dict[str, Any]:
    """What a whole frame shows, by name."""
    return dict(zip(frame["columns"], frame["past"][-1], strict=True))


def test_the_page_is_html_that_runs_no_other_script(pool: MakePool) -> None:
    url = admin_url(pool(*ADMIN, **TWO))
    status, fields, text = request(url, "/")
    assert status == 200
    assert fields["content-type"] == "text/html; charset=utf-8"
    assert fields["cache-control"] == "no-store"
    nonce = fields["content-security-policy"].partition("script-src 'nonce-")[2].partition("'")[0]
    assert len(nonce) == 32
    assert text.count(f'nonce="{nonce}"') == 2
    assert f'nonce="{nonce}"' not in get(url, "/")  # another one each time
    assert request(url, "/", "HEAD")[2] == ""
    assert request(url, "/events", "HEAD")[2] == ""
    assert request(url, "/", "POST")[0] == 405


def test_the_first_frame_is_whole_and_others_follow(pool: MakePool) -> None:
    server = pool(*ADMIN, **TWO)
    server.wait_spares(2)
    with EventClient(admin_url(server)) as client:
        assert client.response.status == 200
        assert client.response.getheader("content-type") == "text/event-stream"
        first, second = client.frames(2)
        assert row(first)["spare"] == 2
        assert sorted(pid for _, pid, _ in first["who"]) == sorted(server.workers())
        assert ["min_spare", "2"] in first["config"]
        assert second["row"][0] - first["past"][-1][0] == pytest.approx(1.0, abs=0.5)
        server.get("/one")
        later = client.frames(2)
        assert any(frame["facts"].get("requests") == 1 for frame in later if "facts" in frame)


def test_frames_are_compressed_for_a_browser(pool: MakePool) -> None:
    url = admin_url(pool(*ADMIN, **TWO))
    with EventClient(url, compressed=True) as packed, EventClient(url) as plain:
        assert packed.response.getheader("content-encoding") == "gzip"
        assert plain.response.getheader("content-encoding") is None
        assert [frame["row"] for frame in packed.frames(4)[1:]] == [
            frame["row"] for frame in plain.frames(4)[1:]
        ]


def test_a_hundred_pages_are_shown_the_same_frames(pool: MakePool) -> None:
    url = admin_url(pool(*ADMIN, **TWO))
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(EventClient(url)) for _ in range(100)]
        lists = [[frame["row"] for frame in client.frames(4)[1:]] for client in clients]
        moments = {row[0] for rows in lists for row in rows}
        # All opened within two seconds or so: of one computation each, there are few.
        assert len({str(row) for rows in lists for row in rows}) == len(moments) <= 12
        assert get(url, "/healthz") == "ok\n"


def test_too_many_pages_are_refused_and_probes_are_not(pool: MakePool) -> None:
    url = admin_url(pool(*ADMIN, **TWO))
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(EventClient(url)) for _ in range(140)]
        statuses = [client.response.status for client in clients]
        assert statuses == [200] * 128 + [503] * 12
        assert get(url, "/healthz") == "ok\n"
        clients[0].__exit__(None, None, None)

        def served() -> bool:
            with EventClient(url) as client:
                return client.response.status == 200

        wait_until(served, "room for another page")


def test_a_client_that_never_reads_is_dropped() -> None:
    program = (str(APPS / "fast_frames.py"), "serve", str(HELLO), "--bind", "127.0.0.1:0", "--workers", "2")
    server = Server(start_program(*program, *ADMIN))
    try:
        server.wait_serving()
        url = admin_url(server)
        before = descriptors_at_rest(server, 2)
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)  # the system keeps less for it
            sock.connect(("127.0.0.1", int(url.rpartition(":")[2])))
            sock.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            wait_until(lambda: server.descriptors() == before + 1, "its connection")
            with EventClient(url) as other:
                wait_until(lambda: other.frame() and server.descriptors() == before + 1, "one dropped", 40)
                assert other.frame()
    finally:
        server.kill()


def test_streams_end_with_the_pool(pool: MakePool) -> None:
    server = pool(*ADMIN, **TWO)
    with EventClient(admin_url(server)) as client:
        client.frames(2)
        server.signal(signal.SIGTERM)
        while client.frame() is not None:
            pass
    assert server.wait() == 0


def test_the_pool_is_shown_while_every_worker_is_stopped(serve: Serve) -> None:
    server = serve(HELLO, "--workers", "2", *ADMIN)
    url = admin_url(server)
    pids = wait_until(lambda: found if len(found := server.workers("spare")) == 2 else [], "both workers")
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        assert "manager" in get(url, "/")
        with EventClient(url) as client:
            assert row(client.frames(2)[0])["spare"] == 2
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_a_reload_is_shown_and_no_process_keeps_the_stream_of_a_page(serve: Serve) -> None:
    """A mold and workers are forked while it is open."""
    server = serve(HELLO, "--workers", "2", *ADMIN)
    with EventClient(admin_url(server)) as client:
        client.frames(1)
        server.signal(signal.SIGHUP)
        seen: set[int] = set()
        while 2 not in seen:
            frame = client.frame()
            assert frame is not None
            seen |= {generation for _, _, generation in frame.get("who", [])}
        server.process.kill()
        while client.frame() is not None:  # an end, and no wait for another process
            pass


def test_garbage_that_a_worker_writes_is_no_figure(serve: Serve) -> None:
    """It is replaced at once, if what it writes asks for that."""
    server = serve(Path(f"{APPS / 'scribbles.py'}:wsgi"), "--workers", "1", *ADMIN)
    url = admin_url(server)
    with EventClient(url) as client:
        client.frames(1)
        server.get("/scribble")
        for frame in client.frames(3):
            assert set(frame["slots"]) <= set(".0?*~9")
            assert all(value is None or 0 <= value < 1e12 for value in frame["row"])
            assert all(0 <= value < 1e12 for value in frame.get("facts", {}).values())
    assert "a5a5" not in get(url, "/").lower()
