"""The manager of a pool whose workers are made up: its kernel, socket and scoreboard are real, no fork is."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from prefork import GlueInUse, Kernel, NotInThisProcess, OptionError, PreForkServer
from prefork.pool import succession
from prefork.pool.manager import Manager
from prefork.pool.resources import PoolResources
from prefork.pool.scoreboard import list_glues
from prefork.pool.spawner import Spawner

GLUE = f"test-manager-{os.getpid()}"


class MadeUpProcess:
    """Its `pidfd` is readable when it has ended: at once when it is signalled, unless it is `deaf`."""

    deaf = False

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.pidfd = os.eventfd(0)
        self.status = 0
        self.signals: list[int] = []

    def signal(self, signum: int) -> None:
        self.signals.append(signum)
        if not self.deaf or signum == signal.SIGKILL:
            self.end(-signum)

    def end(self, status: int) -> None:
        self.status = status
        os.eventfd_write(self.pidfd, 1)

    def wait(self) -> int:
        return self.status

    def close(self) -> None:
        os.close(self.pidfd)


class MadeUpSpawner(Spawner):
    hint = "none"

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.processes: list[MadeUpProcess] = []
        self.tell: Callable[[str, int], object] = print

    def spawn(self, index: int, on_spawned: Callable[[int, Any], object]) -> None:
        def deliver() -> None:
            process = self._make()
            on_spawned(index, process)
            self.tell("spare", process.pid)  # as the supervisor does, had it written that

        self.kernel.between_turns(deliver)

    def cancel(self) -> list[int]:
        return []

    def try_next(self, source: object, loaded: Callable[[], object], ended: object) -> None:  # noqa: ARG002
        self.kernel.loop.call_soon(loaded)

    def _make(self) -> MadeUpProcess:
        self.processes.append(MadeUpProcess(1_000_000 + len(self.processes)))
        return self.processes[-1]


class Server(PreForkServer):
    """`reported` is what happened, in order."""

    def __init__(self, kernel: Kernel, **options: Any) -> None:
        self.spawner = MadeUpSpawner(kernel)
        self.reported: list[Any] = []
        fixed = {"start_servers": 2, "min_spare_servers": 2, "max_spare_servers": 2, "max_clients": 4}
        super().__init__(kernel, address="127.0.0.1", port=0, ipc_glue=GLUE, **fixed | options)
        kernel.session("EARS", {"record": lambda *what: self.reported.append(what)})
        self.register("EARS", "record")
        self.on_serving.append(lambda _: self.reported.append("serving"))

    def _make_spawner(self, manager: Manager) -> Spawner:
        self.spawner.tell = manager._take_news
        return self.spawner

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self.spawner.processes]


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.fixture
def server(kernel: Kernel) -> Server:
    return Server(kernel)


@pytest.fixture(autouse=True)
def leaves_nothing() -> Iterator[None]:
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert GLUE not in list_glues()
    assert len(os.listdir("/proc/self/fd")) == before


TURNS = 8
"""More turns of the loop than anything here takes to be noticed."""


def after_turns(kernel: Kernel, function: Callable[[], object], turns: int = TURNS) -> None:
    if turns:
        kernel.loop.call_soon(after_turns, kernel, function, turns - 1)
    else:
        function()


def when_it_serves(server: Server, *steps: Callable[[], object]) -> None:
    """Runs the kernel until the server has taken these steps, some turns apart, and was shut down."""
    left = [*steps, server.shutdown]

    def go_on() -> None:
        left.pop(0)()
        if left:
            after_turns(server.kernel, go_on)

    def begin(_: object) -> None:
        server.on_serving.remove(begin)
        after_turns(server.kernel, go_on)

    server.on_serving.append(begin)
    server.kernel.run()


def test_it_serves_when_its_workers_exist_and_tells_of_each(server: Server) -> None:
    seen: list[Any] = []

    def look() -> None:
        seen.extend([server.workers, server.glue, server.is_child(), GLUE in list_glues()])

    when_it_serves(server, look)
    first, second = server.pids[:2]
    assert {("forked", first), ("spare", first), ("forked", second), "serving"} <= set(server.reported)
    assert server.reported[0] == ("forked", first)
    assert seen == [[first, second], GLUE, False, True]
    assert server.workers == []
    assert server.glue is None


def test_its_scoreboard_names_it(server: Server) -> None:
    found: list[int] = []

    def look() -> None:
        header = server._role.resources.board.header()  # type: ignore[attr-defined]
        found.extend([header["pid"], header["max_clients"], header["kept"]])

    when_it_serves(server, look)
    assert found == [os.getpid(), 4, True]


def test_the_options_of_a_pool_are_held_once(server: Server) -> None:
    seen: list[Any] = []

    def scale() -> None:
        manager: Any = server._role
        server.scale(min_spare_servers=3, max_spare_servers=4)
        seen.extend([server.options.min_spare_servers, manager.overview().limits.min_spare])
        seen.append(manager.resources.board.header()["max_spare"])
        with pytest.raises(OptionError, match="expected at most 40"):
            server.scale(max_clients=41)
        with pytest.raises(OptionError, match="expected a whole number"):
            server.scale(max_clients=0)
        seen.append(server.options.max_clients)

    when_it_serves(server, scale)
    assert seen == [3, 3, 4, 4]
    with pytest.raises(NotInThisProcess):
        PreForkServer(Kernel(), alias="NONE").scale(max_clients=3)


def test_what_is_attached_lives_as_long_as_the_pool(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[Any] = []

    class Attachment:
        def about(self) -> dict[str, object]:
            return {"more": "of it"}

        def close(self) -> None:
            happened.append(("close", GLUE in list_glues()))

        def discard(self) -> None:
            happened.append("discard")

    def attach(manager: Manager) -> Attachment:
        happened.append(("open", manager.glue))
        return Attachment()

    monkeypatch.setattr(PreForkServer, "attachments", [lambda _: attach, lambda _: lambda _: None])
    when_it_serves(server, lambda: happened.append(server._role.about()["more"]))  # type: ignore[attr-defined]
    assert happened == [("open", GLUE), "of it", ("close", True)]


def test_a_graceful_shutdown_waits_for_the_last_worker(kernel: Kernel, server: Server) -> None:
    gone: list[bool] = []

    def begin() -> None:
        for process in server.spawner.processes:
            process.deaf = True
        server.shutdown(graceful=True)

    def end_one() -> None:
        gone.append(server not in kernel.sessions)
        server.spawner.processes[len(gone) - 1].end(0)

    when_it_serves(server, begin, lambda: server.shutdown(graceful=True), end_one, end_one)
    assert gone == [False, False]
    assert server not in kernel.sessions
    assert [process.signals for process in server.spawner.processes] == [[signal.SIGTERM]] * 2


def test_a_shutdown_kills(server: Server) -> None:
    when_it_serves(server)
    assert [process.signals for process in server.spawner.processes] == [[signal.SIGKILL]] * 2


def test_no_worker_outlives_a_kernel_that_stops(kernel: Kernel, server: Server) -> None:
    when_it_serves(server, kernel.stop)
    assert [process.signals for process in server.spawner.processes] == [[signal.SIGKILL]] * 2


def test_stop_listen_ends_the_workers_and_start_listen_spawns_again(server: Server) -> None:
    seen: list[Any] = []

    def stop() -> None:
        seen.append(server.stop_listen())

    def start() -> None:
        seen.append((server.workers, server.listening))
        seen.append(server.start_listen())

    when_it_serves(server, stop, start, lambda: seen.append(server.workers))
    assert [process.signals[0] for process in server.spawner.processes[:2]] == [signal.SIGTERM] * 2
    assert seen == [True, ([], None), True, server.pids[2:4]]
    assert server.reported.count("serving") == 2


@pytest.mark.parametrize("how", ["set_handlers", "set_fork_handlers"])
def test_replacing_is_the_next_generation(server: Server, how: str) -> None:
    seen: list[int] = []
    steps = {
        "set_handlers": lambda: server.set_handlers([], replace=True),
        "set_fork_handlers": lambda: server.set_fork_handlers({"EARS": "record"}, replace=True),
    }

    def look() -> None:
        header = server._role.resources.board.header()  # type: ignore[attr-defined]
        seen.append(header["generation"])

    when_it_serves(server, look, steps[how], look)
    assert seen == [1, 2]


def test_a_manager_is_no_worker_to_be_replaced(server: Server) -> None:
    seen: list[list[int]] = []
    when_it_serves(server, lambda: server._role.replace_process(), lambda: seen.append(server.workers))
    assert len(seen[0]) == 2


def test_a_glue_that_is_taken_ends_it(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.closing(PoolResources(4, GLUE, lambda: None)), pytest.raises(SystemExit, match="2"):
        server.kernel.run()
    assert f"expected a free ipc_glue, but '{GLUE}' is held by pid {os.getpid()}" in capsys.readouterr().err
    assert server.spawner.processes == []


def test_without_memory_it_tries_again_and_says_so_once(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failures: list[Exception] = [OSError(27, "File too large"), OSError(27, "File too large")]
    failures.append(GlueInUse("it was taken meanwhile"))

    def make(capacity: int, glue: str | None, about: Callable[[], object]) -> PoolResources:
        if failures:
            raise failures.pop(0)
        return PoolResources(capacity, glue, about)

    monkeypatch.setattr(succession, "PoolResources", make)
    server = Server(kernel, prefork_interval=0.01)
    when_it_serves(server)
    lines = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert [line.partition("; ")[0] for line in lines] == [
        "cannot create the scoreboard: [Errno 27] File too large",
        "cannot create the scoreboard: it was taken meanwhile",
    ]
    assert "serving" in server.reported


@pytest.mark.parametrize("how", ["stop_listen", "shutdown"])
def test_one_that_waits_for_memory_waits_no_more(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    tried: list[None] = []

    def refuse(*_: object) -> PoolResources:
        tried.append(None)
        raise OSError(27, "File too large")

    def end() -> None:
        retry = server._role._retry  # type: ignore[attr-defined]
        getattr(server, how)()
        cancelled.append(retry.cancelled())
        kernel.stop()

    cancelled: list[bool] = []
    monkeypatch.setattr(succession, "PoolResources", refuse)
    server = Server(kernel)
    kernel.on_start(lambda: kernel.loop.call_soon(end))
    kernel.run()
    assert cancelled == [True]
    assert len(tried) == 1


def test_what_has_no_pool_is_a_server_of_its_own(kernel: Kernel) -> None:
    server = Server(kernel, start_servers=0)
    seen: list[Any] = []
    when_it_serves(server, lambda: seen.extend([server.workers, server.glue, server.is_child()]))
    assert seen == [[], None, False]
    assert server.reported == ["serving"]


def test_the_states_are_shown_if_that_is_asked_for(kernel: Kernel, caplog: pytest.LogCaptureFixture) -> None:
    when_it_serves(Server(kernel, debug_scoreboard=True), lambda: None)
    assert "actives 0, spares 0:" in caplog.text
