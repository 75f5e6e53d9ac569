"""How a session begins, and that one that nothing can reach ends by itself."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from prefork.errors import OptionError, UnknownSession
from prefork.kernel.events import event
from prefork.kernel.kernel import Kernel, Session


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


class Job(Session):
    """It has no alias. `begin` is what its `_start` does."""

    def __init__(self, begin: Callable[[Job], object] = lambda _: None) -> None:
        self.begin = begin
        self.recorded: list[str] = []

    @event
    def _start(self) -> None:
        self.recorded.append("_start")
        self.begin(self)

    @event
    def work(self, *_args: Any) -> None:
        self.recorded.append("work")

    @event
    async def slow(self) -> None:
        await asyncio.sleep(0.01)
        self.recorded.append("slow")

    @event
    def _stop(self) -> None:
        self.recorded.append("_stop")


def later(kernel: Kernel, *functions: Callable[[], object]) -> None:
    """Calls these one after the other while the kernel runs, and then stops it."""

    async def call() -> None:
        for function in functions:
            for _ in range(5):
                await asyncio.sleep(0)
            function()
        kernel.stop()

    kernel.hold(kernel)
    kernel.on_start(lambda: kernel.loop.create_task(call()))


# --- unreachable sessions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("begin", "recorded"),
    [
        (lambda _: None, []),
        (lambda job: job.post("work"), ["work"]),
        (lambda job: job.delay("work", 0.005), ["work"]),
        (lambda job: job.post("slow"), ["slow"]),
        (lambda job: job.kernel.call(job, "slow"), ["slow"]),
        (lambda job: job.delay("work", 60).cancel(), []),
        (lambda job: (job.delay("work", 60), job.clear_timers()), []),
        (lambda job: (job.alias_set("J"), job.alias_remove("J")), []),
        (lambda job: (job.kernel.hold(job), job.kernel.release(job)), []),
        (lambda job: (job.kernel.signal(signal.SIGUSR1, job, "work"), job.post("unbind")), ["unbind"]),
    ],
)
def test_a_session_ends_when_nothing_can_reach_it(
    kernel: Kernel, begin: Callable[[Job], object], recorded: list[str]
) -> None:
    def unbind() -> None:
        job.recorded.append("unbind")
        kernel.signal(signal.SIGUSR1, job, None)

    job = Job(begin)
    job.on("unbind", unbind)
    ended: list[bool] = []
    kernel.on_stop(lambda: ended.append(job.kernel is None))
    kernel.add(job)
    kernel.run()
    assert job.recorded == ["_start", *recorded, "_stop"]
    assert ended == [True], "before the run ended"


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        (lambda job: job.alias_set("J"), lambda job: job.alias_remove("J")),
        (lambda job: job.delay("work", 60), lambda job: job.delay("work")),
        (lambda job: job.kernel.hold(job), lambda job: job.kernel.release(job)),
        (
            lambda job: job.kernel.signal(signal.SIGUSR1, job, "work"),
            lambda job: job.kernel.signal(signal.SIGUSR1, job, None),
        ),
    ],
)
def test_a_session_lives_as_long_as_something_can_reach_it(
    kernel: Kernel, begin: Callable[[Job], object], end: Callable[[Job], object]
) -> None:
    seen: list[bool] = []

    def look() -> None:
        seen.append(job in kernel.sessions)

    job = kernel.add(Job(begin))
    later(kernel, look, lambda: end(job), look)
    kernel.run()
    assert seen == [True, False]
    assert job.recorded == ["_start", "_stop"]


def test_a_session_lives_while_another_one_refers_to_it(kernel: Kernel) -> None:
    class Owner(Session):
        alias = "OWNER"

        def refers_to(self, session: Session) -> bool:
            return session is job

    seen: list[bool] = []

    def look() -> None:
        seen.append(job in kernel.sessions)

    job = kernel.add(Job())
    owner = kernel.add(Owner())
    later(kernel, look, lambda: kernel.remove(owner), look)
    kernel.run()
    assert seen == [True, False]


def test_an_alias_that_is_given_up_while_an_event_is_queued_waits_for_it(kernel: Kernel) -> None:
    def give_up() -> None:
        job.post("work")
        job.alias_remove("J")

    job = Job()
    job.alias = "J"
    kernel.add(job)
    job.on("give up", give_up)
    kernel.post("J", "give up")
    later(kernel, lambda: None)
    kernel.run()
    assert job.recorded == ["_start", "work", "_stop"]
    assert job.kernel is None


def test_many_that_have_done_their_work_are_gone(kernel: Kernel) -> None:
    jobs = [Job(lambda job: job.delay("work", 0)) for _ in range(1000)]
    main = kernel.session("MAIN", {"_start": lambda: [kernel.add(job) for job in jobs]})
    left: list[tuple[Session, ...]] = []
    kernel.on_stop(lambda: left.append(kernel.sessions))
    kernel.run()
    assert left == [(main,)]
    assert all(job.recorded == ["_start", "work", "_stop"] for job in jobs)


def test_a_session_that_has_ended_is_as_one_that_was_removed(kernel: Kernel) -> None:
    job = kernel.add(Job())
    kernel.run()
    assert not job.post("work")
    assert not kernel.post(job, "work")
    assert job.delay("work") is None
    with pytest.raises(UnknownSession, match="session Job is not in this kernel"):
        kernel.call(job, "work")
    kernel.add(job)
    assert kernel.call(job.id, "work") is None


# --- sessions and ids in place of an alias ------------------------------------------------------------------


@pytest.mark.parametrize("how", [lambda job: job, lambda job: job.id])
def test_a_session_and_its_id_are_as_good_as_an_alias(kernel: Kernel, how: Callable[[Job], Any]) -> None:
    def begin(job: Job) -> None:
        target = how(job)
        kernel.signal(signal.SIGUSR1, target, "work")
        assert kernel.post(target, "work")
        kernel.call(target, "work")
        kernel.delay(0.001, target, "work")
        kernel.alarm(time.time() + 0.002, target, "end")
        os.kill(os.getpid(), signal.SIGUSR1)

    def end() -> None:
        if job.recorded.count("work") < 4:  # the signal comes when it comes
            kernel.alarm(time.time() + 0.002, how(job), "end")
        else:
            kernel.signal(signal.SIGUSR1, job, None)

    job = Job(begin)
    job.on("end", end)
    assert kernel.add(job) is kernel.find(how(job))
    kernel.run()
    assert job.recorded == ["_start", *["work"] * 4, "_stop"]


# --- a `_start` that fails ----------------------------------------------------------------------------------


def fail() -> None:
    raise LookupError("no such database")


async def fail_later() -> None:
    await asyncio.sleep(0)
    fail()


@pytest.mark.parametrize("start", [fail, fail_later])
def test_a_start_that_fails_ends_the_run_with_status_3(
    kernel: Kernel, caplog: pytest.LogCaptureFixture, start: Callable[[], object]
) -> None:
    recorded: list[str] = []
    kernel.session("S", {"_start": start, "_stop": lambda: recorded.append("S stops")})
    kernel.on_stop(lambda: recorded.append("stop hook"))
    kernel.hold(kernel)
    with pytest.raises(SystemExit) as exit_:
        kernel.run()
    assert exit_.value.code == 3
    assert recorded == ["stop hook"], "what has not started is not stopped"
    (record,) = caplog.records
    assert record.getMessage() == "session S: event _start() failed"
    assert "no such database" in caplog.text


def test_a_start_that_fails_with_an_error_of_ours_is_one_line_and_status_2(
    kernel: Kernel, capsys: pytest.CaptureFixture[str]
) -> None:
    def start() -> None:
        raise OptionError("no such table; create it first")

    kernel.session("S", {"_start": start})
    with pytest.raises(SystemExit) as exit_:
        kernel.run()
    assert exit_.value.code == 2
    assert capsys.readouterr().err == "prefork: no such table; create it first\n"


def test_a_session_that_cannot_start_in_a_running_kernel_is_not_added(
    kernel: Kernel, caplog: pytest.LogCaptureFixture
) -> None:
    def add() -> None:
        with pytest.raises(LookupError):
            kernel.session("LATE", {"_start": fail, "_stop": lambda: recorded.append("stopped")})
        assert kernel.find("LATE") is None
        kernel.session("LATER", {"_start": fail_later, "_stop": lambda: recorded.append("stopped")})
        assert kernel.find("LATER") is not None

    recorded: list[str] = []
    kernel.session("S", {"add": add})
    kernel.post("S", "add")
    later(kernel, lambda: recorded.append(f"LATER is {kernel.find('LATER')}"))
    kernel.run()
    assert recorded == ["LATER is None"]
    (record,) = caplog.records
    assert record.getMessage() == "session LATER: event _start() failed"


# --- events at run time -------------------------------------------------------------------------------------


def test_an_event_can_be_set_and_removed_while_the_kernel_runs(kernel: Kernel) -> None:
    recorded: list[Any] = []

    class Pages(Session):
        alias = "P"

        @event
        def show(self) -> None:
            recorded.append("method")

    pages = kernel.add(Pages())
    kernel.call("P", "show")
    pages.on("show", lambda: recorded.append("function"))
    kernel.call("P", "show")
    pages.on("other", recorded.append)
    assert kernel.post("P", "other", 1)
    kernel.post("P", "show")
    pages.off("show")
    pages.off("show")
    assert not kernel.post("P", "show")
    kernel.run()
    assert recorded == ["method", "function", 1]
    assert Pages().handler("show") is not None, "of this session alone"


def test_default_gets_what_has_no_handler(kernel: Kernel) -> None:
    recorded: list[Any] = []

    class Pages(Session):
        alias = "P"

        @event
        def _default(self, name: str, args: tuple[Any, ...]) -> str:
            recorded.append((name, args))
            return name

        @event
        def known(self) -> None:
            recorded.append("known")

    pages = kernel.add(Pages())
    assert kernel.call("P", "unknown", 1, 2) == "unknown"
    assert kernel.post("P", "posted", "a")
    assert pages.post("known")
    kernel.delay(0, "P", "timer")
    pages.delay("own timer", 0.001)
    kernel.run()
    assert recorded == [
        ("unknown", (1, 2)),
        ("posted", ("a",)),
        "known",
        ("timer", ()),
        ("own timer", ()),
    ], "neither _start nor _stop"


# --- exceptions ---------------------------------------------------------------------------------------------


def test_a_hook_gets_the_exceptions_of_events_and_may_handle_them(
    kernel: Kernel, caplog: pytest.LogCaptureFixture
) -> None:
    recorded: list[Any] = []

    def broken(*_what: object) -> None:
        raise ValueError("the hook itself")

    def hook(session: Session, name: str, args: tuple[Any, ...], error: BaseException) -> bool:
        recorded.append((session, name, args, type(error)))
        return name != "loud"

    session = kernel.session("S", dict.fromkeys(("posted", "timer", "loud"), fail) | {"task": fail_later})
    kernel.on_error(hook)
    kernel.on_error(broken)
    for name in ("posted", "task", "loud"):
        kernel.post("S", name)
    kernel.delay(0.01, "S", "timer")
    with pytest.raises(TypeError):
        kernel.call("S", "posted", "too many arguments")
    kernel.run()
    recorded.sort(key=lambda seen: seen[1])  # a busy machine is late with the task
    assert recorded == [(session, name, (), LookupError) for name in ("loud", "posted", "task", "timer")]
    messages = [record.getMessage() for record in caplog.records if record.exc_info]
    assert messages.count("session S: event loud() failed") == 1
    assert sum("error hook" in message for message in messages) == 4
    assert len(messages) == 5
