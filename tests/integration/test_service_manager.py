"""The server as a service of systemd: what it tells, and the sockets that are kept over a restart."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import signal
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prefork.server.service_manager import LOOK_S
from support.apps import APPS
from support.processes import children
from support.responses import read_response
from support.service_manager import ServiceManager, service_manager
from support.waiting import DEADLINE_S, wait_until

HELLO = f"{APPS / 'environment.py'}:wsgi"
ANY_PORT = ("-b", "127.0.0.1:0")
POOL, ALONE = ("--workers", "2"), ("--start", "0")
KINDS = pytest.mark.parametrize("kind", [POOL, ALONE], ids=["pool", "no pool"])
PIDFD_GETFD = 438
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[ServiceManager]:
    with service_manager(tmp_path) as made:
        yield made


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port: int = one.getsockname()[1]
    return port


# --- what it tells ------------------------------------------------------------------------------------------


@KINDS
@pytest.mark.parametrize("abstract", [False, True], ids=["path", "abstract"])
def test_a_service_is_ready_when_it_serves_and_says_when_it_stops(
    tmp_path: Path, kind: tuple[str, ...], abstract: bool
) -> None:
    with service_manager(tmp_path, abstract=abstract) as manager:
        server = manager.start(HELLO, *ANY_PORT, *kind).wait_serving()
        manager.wait("READY")
        server.get()
        (ready,) = (message for message in manager.messages if "READY" in message)
        assert ready["MAINPID"] == str(server.pid)
        assert re.match(
            "serving" if kind == ALONE else r"\d spare, 0 active of 2; 0 requests/s", ready["STATUS"]
        )
        assert server.stop() == 0
        assert manager.heard("STOPPING") == ["1"]
        assert manager.heard("READY") == ["1"]
        assert set(manager.pids) == {server.pid}, "no worker has told anything"


def test_a_service_that_is_never_ready_does_not_say_so(manager: ServiceManager, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("import os\ndef app(*_): pass\nos._exit(3)\n")
    server = manager.start(f"{tmp_path / 'app.py'}:app", *ANY_PORT, *POOL, "--boot-failures", "1")
    assert server.wait() != 0
    assert manager.heard("READY") == []


def test_the_status_has_spares_and_active_workers(manager: ServiceManager) -> None:
    server = manager.start(HELLO, *ANY_PORT, "--workers", "3").wait_serving()
    server.get()
    wait_until(
        lambda: any(
            re.fullmatch(r"3 spare, 0 active of 3; \d+ requests/s", line) for line in manager.heard("STATUS")
        ),
        "the status",
    )


@KINDS
def test_a_reload_is_told_with_its_time_and_its_end(manager: ServiceManager, kind: tuple[str, ...]) -> None:
    """As `Type=notify-reload` wants it: RELOADING with a time after the signal, then READY."""
    server = manager.start(HELLO, *ANY_PORT, *kind).wait_serving()
    manager.wait("READY")
    for count in (1, 2):
        before_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        server.signal(signal.SIGHUP)
        assert int(manager.wait("MONOTONIC_USEC", count)) >= before_us
        manager.wait("READY", count + 1)
        assert len(manager.heard("RELOADING")) == count
    order = [name for message in manager.messages for name in ("READY", "RELOADING") if name in message]
    assert order == ["READY", "RELOADING", "READY", "RELOADING", "READY"]
    server.get()
    assert server.stop() == 0


def test_a_reload_has_ended_when_every_worker_is_new(manager: ServiceManager) -> None:
    server = manager.start(HELLO, *ANY_PORT, "--workers", "3").wait_serving()
    manager.wait("READY")
    before = set(server.workers())
    server.signal(signal.SIGHUP)
    manager.wait("READY", 2)
    serving = server.workers("spare", "active")
    assert not before & set(serving)


LOADS = """
import os, time
while os.path.exists({hold!r}):
    time.sleep(0.01)
def app(environ, start_response):
    start_response("200 OK", [])
    return [b"ok"]
"""


def test_a_reload_has_not_ended_while_its_code_is_loaded(manager: ServiceManager, tmp_path: Path) -> None:
    hold, app = tmp_path / "hold", tmp_path / "app.py"
    app.write_text(LOADS.format(hold=str(hold)))
    server = manager.start(f"{app}:app", *ANY_PORT, *POOL).wait_serving()
    manager.wait("READY")
    hold.touch()
    server.signal(signal.SIGHUP)
    manager.wait("RELOADING")
    time.sleep(2.5 * LOOK_S)  # it looks twice meanwhile
    assert len(manager.heard("READY")) == 1
    hold.unlink()
    manager.wait("READY", 2)


def test_a_reload_of_broken_code_has_ended_as_well(manager: ServiceManager, tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_text(LOADS.format(hold="/nowhere"))
    server = manager.start(f"{app}:app", *ANY_PORT, *POOL).wait_serving()
    manager.wait("READY")
    app.write_text("raise RuntimeError('broken')")
    server.signal(signal.SIGHUP)
    manager.wait("RELOADING")
    manager.wait("READY", 2)
    server.get()


@KINDS
def test_the_watchdog_hears_of_a_service_in_half_of_its_time(
    manager: ServiceManager, kind: tuple[str, ...]
) -> None:
    server = manager.start(HELLO, *ANY_PORT, *kind, WATCHDOG_USEC="400000").wait_serving()
    manager.wait("WATCHDOG", 5)
    server.signal(signal.SIGSTOP)
    time.sleep(0.1)  # what was sent before is read now
    heard = len(manager.heard("WATCHDOG"))
    time.sleep(0.6)
    assert len(manager.heard("WATCHDOG")) == heard, "a process that stands still says nothing"
    server.signal(signal.SIGCONT)
    manager.wait("WATCHDOG", heard + 1)
    assert server.stop() == 0


def test_a_watchdog_of_another_process_is_not_fed(manager: ServiceManager) -> None:
    server = manager.start(HELLO, *ANY_PORT, *POOL, WATCHDOG_USEC="400000", WATCHDOG_PID="1").wait_serving()
    manager.wait("STATUS", 1)
    server.signal(signal.SIGHUP)
    manager.wait("READY", 2)
    assert manager.heard("WATCHDOG") == []


def test_workers_and_what_they_start_do_not_know_of_it(manager: ServiceManager) -> None:
    server = manager.start(HELLO, *ANY_PORT, *POOL, store=8, WATCHDOG_USEC="60000000").wait_serving()
    found = json.loads(server.get())
    for environ in (found["own"], found["started"]):
        assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "FDSTORE"} & environ.keys()
    assert holds(server.pid, manager.address)
    others = children(server.pid)
    assert len(others) >= 2
    assert not any(holds(pid, manager.address) for pid in [*others, found["pid"]])


def holds(pid: int, address: str) -> bool:
    """Whether a process has a socket that is connected with that address."""
    process = os.pidfd_open(pid)
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            descriptor = ctypes.CDLL(None, use_errno=True).syscall(PIDFD_GETFD, process, int(name), 0)
            if descriptor < 0 or not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                if descriptor >= 0:
                    os.close(descriptor)
                continue
            with socket.socket(fileno=descriptor) as one, contextlib.suppress(OSError):
                if one.getpeername() == address:
                    return True
    finally:
        os.close(process)
    return False


def test_a_service_manager_that_does_not_read_holds_nothing_up(manager: ServiceManager) -> None:
    server = manager.start(HELLO, *ANY_PORT, *POOL, WATCHDOG_USEC="2000").wait_serving()
    # Its queue is full by now: messages are not read until here.
    wait_until(lambda: server.get(), "a response")
    time.sleep(0.5)
    server.get()
    server.signal(signal.SIGHUP)
    manager.wait("RELOADING")
    manager.wait("READY", 2)
    assert server.stop() == 0
    manager.wait("STOPPING")


def test_a_socket_that_is_not_there_is_one_line(manager: ServiceManager) -> None:
    server = manager.start(HELLO, *ANY_PORT, *POOL, NOTIFY_SOCKET="/nowhere/notify").wait_serving()
    server.get()
    server.signal(signal.SIGHUP)
    assert server.stop() == 0
    expected = "cannot notify the service manager on /nowhere/notify (NOTIFY_SOCKET): "
    assert len([line for line in server.err if expected in line]) == 1


def test_an_address_of_another_kind_is_one_line(manager: ServiceManager) -> None:
    server = manager.start(HELLO, *ANY_PORT, *POOL, NOTIFY_SOCKET="vsock:2:1234").wait_serving()
    assert server.stop() == 0
    assert "NOTIFY_SOCKET=vsock:2:1234: expected a path or @name" in server.log


# --- the sockets that are kept ------------------------------------------------------------------------------


def addresses(tmp_path: Path) -> list[str]:
    port = free_port()
    return [f"127.0.0.1:{port}", f"unix:{tmp_path / 'sock'}", f"unix:@prefork-kept-{port}"]


def connect(address: str) -> socket.socket:
    if address.startswith("unix:"):
        sock = socket.socket(socket.AF_UNIX)
        name = address.removeprefix("unix:")
        place: Any = f"\0{name[1:]}" if name.startswith("@") else name
    else:
        sock = socket.socket()
        place = ("127.0.0.1", int(address.rpartition(":")[2]))
    sock.settimeout(DEADLINE_S)
    try:
        sock.connect(place)
    except OSError:
        sock.close()
        raise
    return sock


def status(address: str) -> int:
    with connect(address) as sock:
        sock.sendall(REQUEST)
        return read_response(sock)[0]


@KINDS
def test_a_restart_keeps_the_sockets_and_their_clients(
    manager: ServiceManager, tmp_path: Path, kind: tuple[str, ...]
) -> None:
    bound = addresses(tmp_path)
    flags = [part for address in bound for part in ("-b", address)]
    server = manager.start(HELLO, *flags, *kind, store=8).wait_serving()
    manager.wait("READY")
    assert len(manager.kept) == 3
    assert all(name.startswith("prefork-kept-") and ":" not in name for name in manager.kept)
    for count in (2, 3):
        assert server.stop() == 0
        early = [connect(address) for address in bound]  # no process serves now
        for sock in early:
            sock.sendall(REQUEST)
        server = manager.start(HELLO, *flags, *kind, store=8).wait_serving()
        for sock in early:
            with sock:
                assert read_response(sock)[0] == 200
        manager.wait("READY", count)
        assert [len(sockets) for sockets in manager.kept.values()] == [1, 1, 1], "the same ones"
        assert manager.heard("FDSTOREREMOVE") == []
        assert "ERROR" not in server.log


def test_a_kept_socket_that_is_not_wanted_any_more_is_given_up(manager: ServiceManager) -> None:
    first, second = free_port(), free_port()
    server = manager.start(HELLO, "-b", f"127.0.0.1:{first}", *POOL, store=8).wait_serving()
    manager.wait("READY")
    assert server.stop() == 0
    server = manager.start(HELLO, "-b", f"127.0.0.1:{second}", *POOL, store=8).wait_serving()
    manager.wait("READY", 2)
    assert [name.endswith(f"%3a{second}") for name in manager.kept] == [True]
    with pytest.raises(ConnectionRefusedError):
        connect(f"127.0.0.1:{first}")
    server.get()


def test_a_kept_socket_is_not_in_the_way_of_another_address_with_its_port(manager: ServiceManager) -> None:
    port = free_port()
    server = manager.start(HELLO, "-b", f"0.0.0.0:{port}", *POOL, store=8).wait_serving()
    manager.wait("READY")
    assert server.stop() == 0
    server = manager.start(HELLO, "-b", f"127.0.0.1:{port}", *POOL, store=8).wait_serving()
    server.get()
    manager.wait("READY", 2)
    assert list(manager.kept) == [f"prefork-kept-http%3a//127.0.0.1%3a{port}"]


def test_a_path_that_was_taken_away_is_bound_anew(manager: ServiceManager, tmp_path: Path) -> None:
    address = f"unix:{tmp_path / 'sock'}"
    flags = ("-b", address, *POOL)
    server = manager.start(HELLO, *flags, store=8).wait_serving()
    manager.wait("READY")
    assert server.stop() == 0
    (tmp_path / "sock").unlink()
    server = manager.start(HELLO, *flags, store=8).wait_serving()
    assert status(address) == 200
    assert server.stop() == 0


@KINDS
def test_without_a_store_a_stop_frees_the_address(manager: ServiceManager, kind: tuple[str, ...]) -> None:
    port = free_port()
    server = manager.start(HELLO, "-b", f"127.0.0.1:{port}", *kind).wait_serving()
    manager.wait("READY")
    assert server.stop() == 0
    assert manager.kept == {}
    with pytest.raises(ConnectionRefusedError):
        connect(f"127.0.0.1:{port}")


def test_the_admin_listener_is_none_of_the_sockets_and_servers_of_a_service(
    manager: ServiceManager, tmp_path: Path
) -> None:
    path = tmp_path / "admin.sock"
    server = manager.start(HELLO, *ANY_PORT, *POOL, "--admin", f"unix:{path}", store=8).wait_serving()
    manager.wait("READY")
    wait_until(lambda: len(manager.read()) and manager.kept, "the socket of the pool")
    assert len(manager.kept) == 1
    assert path.exists()
    server.signal(signal.SIGTERM)
    manager.wait("STOPPING")
    assert server.wait() == 0
    assert not path.exists()
