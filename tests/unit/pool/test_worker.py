"""A worker's birth and end, in this process: its server, its manager and its engine are made up."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from prefork import HTTPServer, Kernel, LifespanFailed
from prefork.config.checked import check
from prefork.config.options import PreForkOptions
from prefork.pool import worker as module
from prefork.pool.worker import DRAIN_IDLE_S, Worker
from prefork.pool.worker_hooks import WorkerHooks
from prefork.server.role import BOOT_FAILED


class Exited(BaseException):
    """Instead of the end of the process."""


class Journal:
    """What happens, in order. Any other attribute is a function that is noted with its arguments."""

    def __init__(self, events: list[Any], **attributes: Any) -> None:
        self.events = events
        self.__dict__ |= attributes

    def __getattr__(self, name: str) -> Any:
        def note(*args: Any, **options: Any) -> None:
            self.events.append((name, *args, *options.values()) if args or options else name)

        return note


def journal(events: list[Any], **attributes: Any) -> Any:
    """It stands for anything."""
    return Journal(events, **attributes)


class Birth:
    """A worker, and all that it meets."""

    def __init__(self, startup: Callable[[], Any] | None = None, **options: Any) -> None:
        self.events: list[Any] = []
        sandbox = journal(self.events)
        self.options = check(PreForkOptions, {"alias": "HTTPD"} | options)
        self.engine = journal(self.events, pool_stops=False, pool_log_level=0)
        unnoted = journal([])
        self.kernel = journal(
            self.events,
            engine=self.engine,
            sessions=(),
            call=self.call,
            loop=unnoted,
            on_exit=unnoted.on_exit,
            end_if_abandoned=unnoted.end_if_abandoned,
            program_handles=lambda _signum: False,
        )
        self.context = journal(self.events, kernel=self.kernel, session=None, options=self.options)
        service = journal(self.events, concurrency=1, capacity=None, startup=startup)
        listener = journal(self.events, sockets="sockets", tls="tls")
        self.told: list[Any] = []
        reports = journal(self.told, open_writer=lambda: journal(self.told))
        resources = journal(self.events, manager_pid=os.getppid(), reports=reports)
        self.manager = journal(self.events, resources=resources, sandbox=sandbox)
        self.worker = Worker(self.context, service, listener, WorkerHooks(self.options))
        self.serving = self.worker._serving = journal(self.events, is_open=True)
        self.handlers: dict[str, Callable[[], Any]] = {}

    def call(self, alias: str, event: str) -> Any:
        self.events.append(f"{alias}.{event}")
        result = self.handlers[event]() if event in self.handlers else None
        return asyncio.ensure_future(result) if asyncio.iscoroutine(result) else result

    def live(self) -> list[Any]:
        asyncio.run(self.worker.boot(self.manager, 3, self.options))
        return self.events


@pytest.fixture(autouse=True)
def no_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(status: int) -> None:
        raise Exited(status)

    monkeypatch.setattr(module, "die_with_parent", lambda _pid: True)
    monkeypatch.setattr(module, "forget_inherited", lambda **_: None)
    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(logging, "shutdown", lambda: None)


def test_it_is_born_in_this_order() -> None:
    async def startup() -> None:
        birth.events.append("startup")

    birth = Birth(startup, fork_handlers={"DB": "connect", "CACHE": "warm"})
    assert birth.live() == [
        ("join", birth.engine, 3, 1, birth.options.max_clients, False),
        "close_pool",
        "lock_certificates",
        "enter",
        ("start_guard", 0.0),
        ("signal", signal.SIGTERM, "HTTPD", "_term"),
        ("tell_early", signal.SIGTERM, birth.worker._told),
        "DB.connect",
        "CACHE.warm",
        "startup",
        ("share_signal", signal.SIGTERM),
        "accept",
        "enter_pool",
    ]


def test_an_asynchronous_fork_handler_is_waited_for() -> None:
    async def connect() -> None:
        await asyncio.sleep(0)
        birth.events.append("connected")

    birth = Birth(fork_handlers={"DB": "connect", "CACHE": "warm"})
    birth.handlers["connect"] = connect
    events = birth.live()
    assert events.index("DB.connect") < events.index("connected") < events.index("CACHE.warm")


def test_what_follows_is_not_begun_when_it_is_told_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    birth = Birth(fail, fork_handlers={"DB": "connect", "CACHE": "warm"})
    monkeypatch.setattr(birth.worker, "_is_told", True)
    birth.handlers["connect"] = fail
    assert birth.live()[-2:] == [("tell_early", signal.SIGTERM, birth.worker._told), "leave_pool"]


async def fail() -> None:
    raise LifespanFailed("no database")


@pytest.mark.parametrize("where", ["fork handler", "application"])
def test_one_that_is_not_complete_does_not_serve(where: str, caplog: pytest.LogCaptureFixture) -> None:
    birth = Birth(fail if where == "application" else None, fork_handlers={"DB": "connect"})
    if where == "fork handler":
        birth.handlers["connect"] = fail
    with pytest.raises(SystemExit, match=str(BOOT_FAILED)):
        birth.live()
    assert ("accept", "sockets", "tls") not in birth.events
    assert [record.message for record in caplog.records] == ["worker failed to start: no database"]
    assert not caplog.records[0].exc_info, "an error of ours says all"


def test_an_error_of_the_program_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    birth = Birth(fork_handlers={"DB": "connect"})
    birth.handlers["connect"] = lambda: os.environ["NO_SUCH_HOST"]
    with pytest.raises(SystemExit):
        birth.live()
    assert "KeyError: 'NO_SUCH_HOST'" in caplog.text


def test_one_whose_manager_has_died_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(module, "die_with_parent", lambda pid: bool(asked.append(pid)))
    birth = Birth()
    with pytest.raises(Exited):
        birth.live()
    assert asked == [os.getppid()]
    assert birth.events == []


@pytest.mark.parametrize(
    ("options", "guarded"),
    [
        ({"max_clients": 2}, True),
        ({"max_clients": 1, "start_servers": 1}, False),
        ({"max_clients": 1, "start_servers": 1, "request_timeout": 1.0}, True),
        ({"max_clients": 1, "start_servers": 1, "heartbeat_timeout": 1.0}, True),
        ({"max_clients": 1, "start_servers": 1, "max_queue": 10}, True),
        ({"max_clients": 1, "start_servers": 1, "max_queue": 0}, False),
    ],
)
def test_a_guard_is_started_where_it_has_something_to_do(options: dict[str, Any], guarded: bool) -> None:
    birth = Birth(**options)
    assert (("start_guard", birth.options.heartbeat_timeout) in birth.live()) is guarded


@pytest.mark.parametrize(("said", "concurrency"), [(None, 1), (7, 7)])
def test_the_operators_concurrency_wins_over_the_applications(said: int | None, concurrency: int) -> None:
    options: dict[str, Any] = {} if said is None else {"concurrency": said}
    birth = Birth(None, **options)
    assert birth.live()[0][3] == concurrency


def test_it_asks_for_a_successor_after_so_many_requests_and_a_random_number_more() -> None:
    found = set()
    for _ in range(50):
        birth = Birth(max_requests_per_child=100, max_requests_jitter=3)
        ((requests, callback),) = [event[1:] for event in birth.live() if event[0] == "set_max_requests"]
        found.add(requests)
    assert found <= {100, 101, 102, 103}
    assert len(found) > 1
    callback()
    assert birth.events[-1] == "ask_for_successor"


LEAVES = ["leave_pool", "close", ("drain", DRAIN_IDLE_S, None, 0.0)]


# --- serving and ending -------------------------------------------------------------------------------------


def test_it_pauses_and_resumes_accepting() -> None:
    birth = Birth()
    birth.worker.stop_listen()
    birth.worker.start_listen()
    assert birth.events == ["pause", "resume"]


@pytest.mark.parametrize("what", ["SETHANDLERS", "SETFORKHANDLERS"])
def test_what_its_manager_decides_is_refused(what: str, caplog: pytest.LogCaptureFixture) -> None:
    assert Birth().worker.may_change(what) is False
    assert f"{what} is refused in a worker" in caplog.text
    assert caplog.records[0].levelno == logging.ERROR


def test_it_is_a_child_without_workers_or_glue() -> None:
    worker = Birth().worker
    assert worker.is_child
    assert (worker.workers, worker.glue) == ([], None)


def test_it_drains_once_and_aborts_what_is_left_when_it_is_told_to_hurry() -> None:
    birth = Birth()
    birth.worker.shutdown(graceful=True)
    birth.serving.is_open = False
    birth.worker.replace_process()
    birth.worker.shutdown(graceful=True)
    assert birth.events == LEAVES
    birth.worker.shutdown(graceful=False)
    assert birth.events == [*LEAVES, "abort"]


def test_when_the_pool_stops_too_idle_connections_are_not_kept() -> None:
    birth = Birth()
    birth.engine.pool_stops = True
    birth.worker.shutdown(graceful=True)
    assert birth.events == ["leave_pool", "close", ("drain", 0.0, None, 0.0)]


def test_what_it_listens_on_is_noted_before_the_fork_while_there_are_sockets() -> None:
    birth = Birth()
    birth.worker.prepare()
    birth.worker._listener.sockets = None
    birth.worker.prepare()
    assert birth.events == [("prepare", "sockets", "tls")]


def test_other_servers_of_its_process_are_discarded() -> None:
    kernel = Kernel()
    own, other = HTTPServer(kernel, alias="OWN"), HTTPServer(kernel, alias="OTHER")
    birth = Birth()
    birth.kernel.sessions = kernel.sessions
    birth.context.session = own
    roles = journal(["own"]), journal(["other"])
    own._role, other._role = roles
    birth.live()
    assert [role.events for role in roles] == [["own"], ["other", "discard"]]
