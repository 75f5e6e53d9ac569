"""Sockets that another process has opened: `fd://N`, and those of a service manager (sd_listen_fds(3))."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import tls
from support.apps import APPS
from support.responses import read_response
from support.server import Server
from support.waiting import DEADLINE_S, wait_until

APP = f"{APPS / 'places.py'}:server"
LAUNCHER = str(APPS / "launcher.py")
PREFORK = (sys.executable, "-m", "prefork", "serve")
REQUEST = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
SO_ACCEPTCON = 1 << 16
"""The flag of a listening socket in /proc/net/unix."""


class Passed:
    """Listening sockets of the test, and servers that get them."""

    def __init__(self, directory: Path) -> None:
        self.path = str(directory / "sock")
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.unix = socket.socket(socket.AF_UNIX)
        self.unix.bind(self.path)
        self.unix.listen()
        self.servers: list[Server] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.tcp.getsockname()[1]}"

    def launch(self, *flags: str, names: str = "web:admin", target: str = APP) -> Server:
        numbers = [self.tcp.fileno(), self.unix.fileno()]
        command = [sys.executable, LAUNCHER, ",".join(map(str, numbers)), names, *PREFORK, target, *flags]
        server = Server(
            subprocess.Popen(
                command,
                pass_fds=numbers,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )
        )
        self.servers.append(server)
        return server

    def close(self) -> None:
        for server in self.servers:
            server.kill()
        self.tcp.close()
        self.unix.close()


@pytest.fixture
def passed(tmp_path: Path) -> Iterator[Passed]:
    with contextlib.closing(Passed(tmp_path)) as made:
        yield made


def connect(place: Any) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX if isinstance(place, str) else socket.AF_INET)
    sock.settimeout(DEADLINE_S)
    sock.connect(place)
    return sock


def is_listening(path: str) -> bool:
    """Whether a Unix socket listens. It has a name before it does."""
    lines = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()]
    return any(line[-1] == path and int(line[3], 16) & SO_ACCEPTCON for line in lines[1:])


def get(place: Any) -> str:
    with connect(place) as sock:
        sock.sendall(REQUEST)
        return read_response(sock)[2].decode()


@pytest.mark.parametrize("workers", [("--workers", "2"), ("--start", "0")], ids=["pool", "no pool"])
@pytest.mark.parametrize(
    "flags",
    [(), ("-b", "systemd:"), ("-b", "systemd:web", "-b", "systemd:admin"), ("-b", "fd://3", "-b", "fd://4")],
    ids=["by default", "all", "by name", "by number"],
)
def test_passed_sockets_are_served(passed: Passed, flags: tuple[str, ...], workers: tuple[str, ...]) -> None:
    server = passed.launch(*flags, *workers).wait_serving()
    assert f"serving {passed.url} and unix:{passed.path} (" in "".join(server.out)
    assert get(passed.tcp.getsockname())
    assert get(passed.path)
    assert server.stop() == 0
    assert "ERROR" not in server.log


def test_one_of_them_may_be_left_beside_other_listeners(passed: Passed) -> None:
    server = passed.launch("-b", "systemd:admin", "-b", "127.0.0.1:0", "--workers", "1").wait_serving()
    assert server.url == f"unix:{passed.path}"
    assert get(passed.path)
    assert server.stop() == 0


def test_without_names_they_are_unknown(passed: Passed) -> None:
    server = passed.launch("-b", "systemd:unknown", "--workers", "1", names="").wait_serving()
    assert get(passed.path)
    assert server.stop() == 0


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (("-b", "systemd:page"), "the sockets that were passed have other names (web, admin)"),
        (("-b", "127.0.0.1:0"), "LISTEN_FDS=2: sockets were passed, and the server listens on others"),
        (("-b", "fd://3", "-b", "systemd:web"), "the socket fd://3 is named twice"),
        (("-b", "systemd:,mode=600"), "--bind: expected mode with a Unix socket with a path"),
        (("-b", "systemd:web,tls"), "fd://3 is to speak TLS, but there is no certificate"),
    ],
)
def test_a_wrong_use_is_one_line(passed: Passed, flags: tuple[str, ...], line: str) -> None:
    server = passed.launch(*flags)
    assert server.wait() == 2
    assert len(server.err) == 1
    assert line in server.log


def test_the_next_server_gets_the_clients_that_came_meanwhile(passed: Passed) -> None:
    """The sockets outlive the server, which shuts neither down and removes no file."""
    for _ in range(2):
        server = passed.launch("--workers", "2").wait_serving()
        assert get(passed.tcp.getsockname())
        assert server.stop() == 0
        with connect(passed.path) as early, connect(passed.tcp.getsockname()) as other:
            for sock in (early, other):
                sock.sendall(REQUEST)
            following = passed.launch("--start", "0").wait_serving()
            for sock in (early, other):
                assert read_response(sock)[0] == 200
        assert following.stop() == 0


@pytest.mark.parametrize("workers", [("--workers", "2"), ("--start", "0")], ids=["pool", "no pool"])
def test_clients_wait_while_the_server_does_not_listen(passed: Passed, workers: tuple[str, ...]) -> None:
    server = passed.launch(*workers).wait_serving()
    for _ in range(2):
        server.out.clear()
        server.signal(signal.SIGUSR2)
        wait_until(lambda: "unlisten True" in server.out)
        if server.glue:
            wait_until(lambda: server.status()["totals"]["workers"] == 0, "the workers to go")
        with connect(passed.path) as first, connect(passed.tcp.getsockname()) as second:
            for sock in (first, second):
                sock.sendall(REQUEST)
            server.signal(signal.SIGUSR1)
            for sock in (first, second):
                assert read_response(sock)[0] == 200
    assert server.stop() == 0
    assert "ERROR" not in server.log


def test_a_passed_socket_may_speak_tls(passed: Passed) -> None:
    flags = ("-b", "systemd:web,tls", "-b", "systemd:admin", *tls.OPTIONS)
    server = passed.launch(*flags, "--workers", "1").wait_serving()
    assert server.get("/a")
    assert get(passed.path)


def test_workers_and_subprocesses_have_no_copy_that_stays_open(passed: Passed) -> None:
    server = passed.launch("--workers", "1").wait_serving()
    for descriptor in ("3", "4"):
        flags = Path(f"/proc/{server.pid}/fdinfo/{descriptor}").read_text()
        (line,) = (line for line in flags.splitlines() if line.startswith("flags"))
        assert int(line.split()[1], 8) & os.O_CLOEXEC


@pytest.mark.skipif(
    shutil.which("systemd-socket-activate") is None, reason="there is no systemd-socket-activate(1)"
)
def test_systemd_starts_it_with_the_first_client(tmp_path: Path) -> None:
    path = str(tmp_path / "sock")
    process = subprocess.Popen(
        ["systemd-socket-activate", "-l", path, "--fdname=web", *PREFORK, APP, "-b", "systemd:web"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    server = Server(process)
    try:
        wait_until(lambda: os.path.exists(path) and is_listening(path), "the socket")
        assert get(path)
        assert server.wait_serving().url == f"unix:{path}"
        assert server.stop() == 0
    finally:
        server.kill()
