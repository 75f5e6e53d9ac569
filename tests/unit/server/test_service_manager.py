"""What a service manager is told: when several servers start, reload and end in one process."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from prefork.server import service_manager as module
from prefork.server.notify import Notifier
from prefork.server.service_manager import LOOK_S, STATUS_S, ServiceManager, service_manager


class Loop:
    """Calls what is due when a test lets time pass."""

    def __init__(self) -> None:
        self.now = 100.0
        self.calls: list[tuple[float, Any, tuple[Any, ...]]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, function: Any, *args: Any) -> Any:
        call = (self.now + delay, function, args)
        self.calls.append(call)
        return SimpleNamespace(cancel=lambda: self.calls.remove(call) if call in self.calls else None)

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while due := [call for call in self.calls if call[0] <= until]:
            call = min(due, key=lambda one: one[0])
            self.calls.remove(call)
            self.now = call[0]
            call[1](*call[2])
        self.now = until


class Server:
    """A server as the service manager sees it."""

    def __init__(self, loop: Loop, status: str = "serving") -> None:
        self.kernel: Any = SimpleNamespace(loop=loop)
        self.listening = None
        self.activity: Any = SimpleNamespace(status=status, is_reloading=False)


class Heard:
    """The other end, and a manager that notifies it."""

    def __init__(self, path: Path, watchdog_s: float | None = None) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)
        self.notifier = Notifier(str(path))
        self.manager = ServiceManager(self.notifier, watchdog_s)
        self.loop = Loop()

    def server(self, status: str = "serving") -> Server:
        server = Server(self.loop, status)
        self.manager.add(server)
        return server

    def read(self) -> list[str]:
        """The first line of each message."""
        lines = []
        try:
            while True:
                lines.append(self.socket.recv(4096).decode().partition("\n")[0])
        except BlockingIOError:
            return lines

    def close(self) -> None:
        self.notifier.close()
        self.socket.close()


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[Heard]:
    made = Heard(tmp_path / "notify")
    yield made
    made.close()


def test_a_process_is_ready_when_all_of_its_servers_are(heard: Heard) -> None:
    one, other = heard.server(), heard.server()
    heard.manager.serving(one)
    assert heard.read() == []
    heard.manager.serving(other)
    assert heard.read() == ["READY=1"]
    heard.manager.serving(one)  # it listens again
    assert heard.read() == []


def test_a_process_stops_with_its_last_server_if_a_signal_ends_that(heard: Heard) -> None:
    one, other = heard.server(), heard.server()
    for server in (one, other):
        heard.manager.serving(server)
    heard.read()
    heard.manager.remove(one, ends=True)
    assert heard.read() == []
    heard.manager.remove(other, ends=True)
    heard.manager.remove(other, ends=True)
    assert heard.read() == ["STOPPING=1"]


def test_a_program_that_goes_on_without_a_server_does_not_stop(heard: Heard) -> None:
    server = heard.server()
    heard.manager.serving(server)
    heard.manager.remove(server)
    assert heard.read() == ["READY=1"]


def test_a_reload_that_begins_elsewhere_is_told_as_well(heard: Heard) -> None:
    server = heard.server()
    heard.manager.serving(server)
    server.activity.is_reloading = True
    heard.loop.run(3 * LOOK_S)
    server.activity.is_reloading = False
    heard.loop.run(3 * LOOK_S)
    assert heard.read() == ["READY=1", "RELOADING=1", "READY=1"]


def test_a_reload_while_it_stops_is_not_told(heard: Heard) -> None:
    server = heard.server()
    heard.manager.serving(server)
    heard.manager.remove(server, ends=True)
    heard.manager.reload()
    heard.loop.run(10 * LOOK_S)
    assert heard.read() == ["READY=1", "STOPPING=1"]


def test_a_status_is_told_if_it_has_changed_and_not_too_often(heard: Heard) -> None:
    one, other = heard.server("1 spare"), heard.server("2 spare")
    for server in (one, other):
        heard.manager.serving(server)
    heard.loop.run(4 * STATUS_S)
    assert heard.read() == ["READY=1"]
    for number in range(10):
        one.activity.status = f"{number + 7} spare"
        heard.loop.run(1.0)
    lines = heard.read()
    assert len(lines) == 2
    assert all(line.startswith("STATUS=") and line.endswith(" spare | 2 spare") for line in lines)


def test_the_watchdog_hears_of_it_in_half_of_its_time(tmp_path: Path) -> None:
    heard = Heard(tmp_path / "notify", watchdog_s=0.5)
    heard.manager.serving(heard.server())
    lines = []
    for _ in range(10):
        heard.loop.run(1)
        lines += heard.read()
    assert lines.count("WATCHDOG=1") in (40, 41)
    heard.manager.end()
    heard.loop.run(10)
    assert heard.read() == []
    heard.close()


def test_what_has_no_room_is_sent_later_and_in_order(heard: Heard) -> None:
    while heard.notifier._try(b"full", ()):
        pass
    server = heard.server()
    heard.manager.serving(server)
    heard.manager.reload()
    heard.notifier.tell("WATCHDOG=1")
    assert set(heard.read()) == {"full"}
    heard.loop.run(LOOK_S)
    assert heard.read() == ["READY=1", "RELOADING=1", "READY=1"]


def test_a_service_manager_that_makes_its_socket_anew_is_found_again(heard: Heard, tmp_path: Path) -> None:
    heard.socket.close()
    (tmp_path / "notify").unlink()
    heard.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    heard.socket.bind(str(tmp_path / "notify"))
    heard.socket.setblocking(False)
    heard.manager.serving(heard.server())
    assert heard.read() == ["READY=1"]


def test_a_child_has_no_service_manager(heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_found", [heard.manager])
    assert service_manager() is heard.manager
    heard.manager.pid += 1  # as if this were a child
    assert service_manager() is None
    module.discard()
    assert heard.notifier._socket.fileno() == -1
