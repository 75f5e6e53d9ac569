"""A server that listens on several addresses: TCP, TLS and Unix sockets, each with its own settings."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from support import tls
from support.apps import APPS
from support.responses import read_all, read_response
from support.server import Server, run_prefork, start_server
from support.waiting import DEADLINE_S, wait_until

APP = APPS / "places.py"
REQUEST = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"


def urls(server: Server) -> list[str]:
    """Every URL of the serving line."""
    line = next(line for line in server.out if "serving" in line)
    found = re.search(r"serving (.+) \(pid", line)
    assert found
    return found[1].split(" and ")


@contextlib.contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    if url.startswith("unix:"):
        path = url.removeprefix("unix:")
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(DEADLINE_S)
            sock.connect(f"\0{path[1:]}" if path.startswith("@") else path)
            yield sock
        return
    found = re.fullmatch(r"(https?)://\[?(.+?)\]?:(\d+)", url)
    assert found
    plain = socket.create_connection((found[2], int(found[3])), timeout=DEADLINE_S)
    with tls.wrap(plain) if found[1] == "https" else plain as sock:
        yield sock


def ask(sock: socket.socket, request: bytes = REQUEST) -> str:
    sock.sendall(request)
    status, _, body = read_response(sock)
    assert status == 200
    return body.decode()


def get(url: str) -> str:
    with connected(url) as sock:
        return ask(sock)


def is_refused(url: str) -> bool:
    with contextlib.suppress(ConnectionError, FileNotFoundError), connected(url):
        return False
    return True


class Start(Protocol):
    def __call__(self, *flags: str, target: str = "server", **settings: Any) -> Server: ...


@pytest.fixture
def start() -> Iterator[Start]:
    """`start(*flags, target=...)` serves one of the applications of `places.py`."""
    with contextlib.ExitStack() as servers:

        def begin(*flags: str, target: str = "server", **settings: Any) -> Server:
            server = start_server(f"{APP}:{target}", *flags, **settings)
            servers.callback(server.kill)
            return server.wait_serving()

        yield begin


@pytest.fixture
def four(tmp_path: Path) -> list[str]:
    """Flags for four listeners of different kinds."""
    places = ("127.0.0.1:0", "127.0.0.1:0", f"unix:{tmp_path}/a.sock,mode=600", f"unix:@prefork-{tmp_path}")
    return [flag for place in places for flag in ("--bind", place)]


def expected(url: str, kind: str) -> str:
    """What `places.py` responds there, without the pid."""
    place = re.sub("^(unix:|https?://)", "", url)
    if kind == "asgi":
        return f"{place} None" if url.startswith("unix:") else place.replace(":", " ")
    return f"{socket.gethostname()} 80" if url.startswith("unix:") else place.replace(":", " ")


@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
@pytest.mark.parametrize("workers", [("--workers", "2"), ("--start", "0")], ids=["pool", "no pool"])
def test_each_listener_is_served_and_known_to_the_application(
    start: Start, four: list[str], kind: str, workers: tuple[str, ...]
) -> None:
    server = start(*four, *workers, target=kind)
    found = urls(server)
    assert [url.partition(":")[0] for url in found] == ["http", "http", "unix", "unix"]
    assert [get(url).rpartition(" ")[0] for url in found] == [expected(url, kind) for url in found]
    assert server.stop() == 0


def test_a_connection_that_moves_between_workers_keeps_its_listener(start: Start, four: list[str]) -> None:
    """Each worker retires after a request, and hands the idle connections on."""
    server = start(*four, "--workers", "3", "--max-requests", "2", target="asgi")
    with contextlib.ExitStack() as opened:
        socks = {url: opened.enter_context(connected(url)) for url in urls(server)}
        pids: dict[str, set[str]] = {url: set() for url in socks}

        def all_have_moved() -> bool:
            for url, sock in socks.items():
                place, _, pid = ask(sock).rpartition(" ")
                assert place == expected(url, "asgi")
                pids[url].add(pid)
            return all(len(found) > 1 for found in pids.values())

        wait_until(all_have_moved, "their moves")
    assert "ERROR" not in server.log


def test_the_uri_of_a_request_has_the_port_of_its_listener(start: Start) -> None:
    flags = ("--bind", "127.0.0.1:0", "--bind", "127.0.0.1:0", "--hostname", "shop", "--workers", "1")
    server = start(*flags)
    for url in urls(server):
        assert get(url).startswith(f"http://shop:{url.rpartition(':')[2]}/a ")


@pytest.mark.parametrize("workers", [("--workers", "2"), ("--start", "0")], ids=["pool", "no pool"])
def test_stop_and_start_are_of_all_listeners(start: Start, four: list[str], workers: tuple[str, ...]) -> None:
    server = start(*four, *workers)
    found = urls(server)
    setups = [line for line in server.out if line.startswith("setup")]
    assert len(setups) == 4
    for _ in range(2):
        server.out.clear()
        server.signal(signal.SIGUSR2)
        wait_until(lambda: all(map(is_refused, found)), "every address to be closed")
        server.signal(signal.SIGUSR1)
        wait_until(lambda: sorted(setups) == sorted(line for line in server.out if "setup" in line))
        assert all(map(get, found))
    assert server.stop() == 0
    wait_until(lambda: sum(line.startswith("closed") for line in server.out) == 4, "each to be closed")
    assert all(map(is_refused, found))
    assert "ERROR" not in server.log


def test_if_one_address_is_taken_meanwhile_none_is_open_until_it_is_free(
    start: Start, four: list[str]
) -> None:
    server = start(*four, "--workers", "1")
    found = urls(server)
    server.signal(signal.SIGUSR2)
    wait_until(lambda: all(map(is_refused, found)), "every address to be closed")
    with socket.create_server(("127.0.0.1", int(found[1].rpartition(":")[2]))):
        server.signal(signal.SIGUSR1)
        server.wait_log("Address already in use; stop what uses it or choose another")
        assert is_refused(found[0])
        assert is_refused(found[2])
    wait_until(lambda: not any(map(is_refused, found)), "the next try")
    assert all(map(get, found))


def test_one_that_cannot_be_had_is_one_line_and_the_others_leave_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_prefork("serve", f"{APP}:server", "-b", f"unix:{path}", "-b", f"127.0.0.1:{port}")
    assert done.returncode == 2
    assert done.stderr == (
        f"prefork: cannot listen on 127.0.0.1:{port}: Address already in use; "
        "stop what uses it or choose another\n"
    )
    assert not path.exists()


def test_a_drain_waits_for_the_connections_of_every_listener(start: Start, four: list[str]) -> None:
    server = start(*four, "--start", "0")
    with contextlib.ExitStack() as opened:
        socks = [opened.enter_context(connected(url)) for url in urls(server)]
        for sock in socks:
            sock.sendall(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n")
        assert get(urls(server)[0])  # what was sent before is read
        server.signal(signal.SIGTERM)
        server.wait_log("SIGTERM: stopping")
        for sock in socks:
            sock.sendall(b"x")
            assert read_response(sock)[0] == 200
    assert server.wait() == 0
    assert "closing" not in server.log


# --- which listeners speak TLS ------------------------------------------------------------------------------


def is_tls(url: str) -> bool:
    found = re.fullmatch(r"https?://(.+):(\d+)", url)
    assert found
    with socket.create_connection((found[1], int(found[2])), timeout=DEADLINE_S) as sock:
        try:
            with tls.wrap(sock) as encrypted:
                return bool(ask(encrypted))
        except ssl.SSLError:
            return False


@pytest.mark.parametrize(
    ("settings", "encrypted"),
    [(("",), [True]), (("", ""), [True, True]), ((",tls", ""), [True, False]), (("", ",tls"), [False, True])],
)
def test_those_that_say_so_speak_tls_and_if_none_does_all(
    start: Start, settings: tuple[str, ...], encrypted: list[bool]
) -> None:
    flags = [flag for setting in settings for flag in ("--bind", f"127.0.0.1:0{setting}")]
    server = start(*flags, *tls.OPTIONS, "--workers", "1")
    found = urls(server)
    assert [url.startswith("https:") for url in found] == encrypted == [is_tls(url) for url in found]
    assert all(map(get, found))


def test_one_that_says_so_without_a_certificate_is_one_line() -> None:
    done = run_prefork("serve", f"{APP}:server", "-b", "127.0.0.1:0,tls")
    assert (done.returncode, done.stderr) == (
        2,
        "prefork: 127.0.0.1:0 is to speak TLS, but there is no certificate; use --tls-cert\n",
    )


def test_tls_connections_beside_plain_ones_keep_their_kind_when_they_move(start: Start) -> None:
    flags = ("--bind", "127.0.0.1:0", "--bind", "127.0.0.1:0,tls", *tls.OPTIONS)
    server = start(*flags, "--workers", "3", "--max-requests", "2", target="asgi")
    with contextlib.ExitStack() as opened:
        socks = {url: opened.enter_context(connected(url)) for url in urls(server)}
        for _ in range(10):
            for url, sock in socks.items():
                assert ask(sock).rpartition(" ")[0] == expected(url, "asgi")


@pytest.mark.parametrize(
    ("settings", "option", "introduced"),
    [
        (("", ",proxy"), (), [False, True]),
        (("", ",proxy=off"), ("--proxy-protocol",), [True, False]),
    ],
)
def test_the_proxy_protocol_is_a_setting_of_an_address(
    start: Start, settings: tuple[str, ...], option: tuple[str, ...], introduced: list[bool]
) -> None:
    flags = [flag for setting in settings for flag in ("--bind", f"127.0.0.1:0{setting}")]
    server = start(*flags, *option, "--workers", "1")
    for url, is_introduced in zip(urls(server), introduced, strict=True):
        header = b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 80\r\n"
        with connected(url) as sock:
            assert ask(sock, (header if is_introduced else b"") + REQUEST)
        with connected(url) as sock:
            sock.sendall((b"" if is_introduced else header) + REQUEST)
            assert b" 200 OK" not in read_all(sock)


# --- other settings -----------------------------------------------------------------------------------------


def test_two_servers_share_a_port_if_both_say_so(start: Start) -> None:
    first = start("--bind", "127.0.0.1:0", "--reuse-port", "--workers", "1")
    second = start("--bind", f"127.0.0.1:{first.port},reuse_port", "--workers", "1")
    pids = {first.pid, second.pid}
    assert len(pids) == 2
    assert first.stop() == 0
    assert second.get("/")


@pytest.mark.skipif(shutil.which("ss") is None, reason="there is no ss(8), which shows the length of a queue")
def test_a_backlog_is_of_its_listener(start: Start) -> None:
    server = start(
        "--bind",
        "127.0.0.1:0,backlog=7",
        "--bind",
        "127.0.0.1:0",
        "--backlog",
        "9",
    )
    ports = [int(url.rpartition(":")[2]) for url in urls(server)]
    lengths = {}
    done = subprocess.run(["ss", "-Hltn"], capture_output=True, text=True, check=True)
    for line in done.stdout.splitlines():
        fields = line.split()
        lengths[int(fields[3].rpartition(":")[2])] = int(fields[2])
    assert [lengths[port] for port in ports] == [7, 9]


def test_a_server_in_a_program_takes_listeners(tmp_path: Path) -> None:
    source = """
    from prefork import HTTPServer, Kernel

    kernel = Kernel()
    server = HTTPServer(kernel, listeners=["127.0.0.1:0", {"address": "unix:a,b", "mode": 0o600}])
    server.handle("")(lambda request: "page")
    server.on_serving.append(lambda server: (print(server.url, server.listening.port), kernel.stop()))
    kernel.run()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=DEADLINE_S,
    )
    assert re.fullmatch(rf"http://127\.0\.0\.1:(\d+) and unix:{tmp_path}/a,b \1\n", done.stdout), done.stderr
