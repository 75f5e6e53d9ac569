from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from prefork.errors import BindError, OptionError, UnknownEvent, UnknownSession
from prefork.kernel.events import event
from prefork.kernel.kernel import Kernel, Session
from prefork.kernel.run import BROKEN


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


class Recorder(Session):
    alias = "R"

    def __init__(self) -> None:
        self.recorded: list[Any] = []

    @event
    def note(self, *args: Any) -> None:
        self.recorded.append(args[0] if len(args) == 1 else args)

    @event
    def value(self, number: int) -> int:
        return 2 * number

    @event
    def fail(self, *_args: Any) -> None:
        raise ValueError("out of order")

    @event
    async def later(self, what: str) -> str:
        await asyncio.sleep(0)
        self.recorded.append(what)
        return what

    @event
    async def fail_later(self, *_args: Any) -> None:
        await asyncio.sleep(0)
        raise ValueError("late")


# --- post and call ------------------------------------------------------------------------------------------


def test_post_is_queued_and_keeps_its_order(kernel: Kernel) -> None:
    recorder = kernel.add(Recorder())
    assert all(kernel.post("R", "note", number) for number in range(100))
    assert recorder.recorded == []
    kernel.run()
    assert recorder.recorded == list(range(100))


def test_post_returns_false_for_an_unknown_alias_or_event(kernel: Kernel) -> None:
    kernel.add(Recorder())
    assert not kernel.post("NOBODY", "note")
    assert not kernel.post("R", "nothing")
    kernel.run()


def test_events_that_post_each_other_do_not_starve_timers(kernel: Kernel) -> None:
    class Busy(Session):
        alias = "B"
        turns = 0

        @event
        def again(self) -> None:
            self.turns += 1
            if self.turns > 1_000_000:
                raise SystemExit("the timer starves")
            self.post("again")

        @event
        def enough(self) -> None:
            self.kernel.stop()

    kernel.add(Busy())
    kernel.post("B", "again")
    kernel.delay(0.005, "B", "enough")
    kernel.run()


def test_call_runs_now_and_returns_the_value(kernel: Kernel) -> None:
    kernel.add(Recorder())
    assert kernel.call("R", "value", 21) == 42


def test_call_raises_what_the_event_raises_and_logs_nothing(
    kernel: Kernel, caplog: pytest.LogCaptureFixture
) -> None:
    kernel.add(Recorder())
    with pytest.raises(ValueError, match="out of order"):
        kernel.call("R", "fail")
    assert caplog.records == []


def test_call_needs_a_session_and_an_event(kernel: Kernel) -> None:
    kernel.add(Recorder())
    with pytest.raises(UnknownSession, match="alias 'NOBODY'"):
        kernel.call("NOBODY", "note")
    with pytest.raises(UnknownEvent, match="session R has no event 'nothing'; it has fail, fail_later"):
        kernel.call("R", "nothing")


def test_call_of_an_async_event_gives_its_task(kernel: Kernel, caplog: pytest.LogCaptureFixture) -> None:
    class Caller(Session):
        alias = "C"
        seen: tuple[str, str] | None = None

        @event
        async def ask(self) -> None:
            value = await self.kernel.call("R", "later", "value")
            try:
                await self.kernel.call("R", "fail_later")
            except ValueError as error:
                self.seen = (value, str(error))

    kernel.add(Recorder())
    caller = kernel.add(Caller())
    kernel.post("C", "ask")
    kernel.run()
    assert caller.seen == ("value", "late")
    assert caplog.records == []


# --- invoke, spawn and exceptions ---------------------------------------------------------------------------


def test_invoke_gives_the_value_or_the_task(kernel: Kernel) -> None:
    recorder = kernel.add(Recorder())
    tasks: list[asyncio.Task[str]] = []

    def start() -> None:
        assert kernel.invoke(recorder, "value", recorder.value, 4) == 8
        tasks.append(kernel.invoke(recorder, "later", recorder.later, "x"))

    kernel.on_start(start)
    kernel.run()
    assert tasks[0].result() == "x"


def test_no_exception_but_an_exit_stops_the_queue(kernel: Kernel, caplog: pytest.LogCaptureFixture) -> None:
    def stray() -> None:
        raise asyncio.CancelledError

    recorder = kernel.add(Recorder())
    kernel.session("S", {"stray": stray})
    kernel.post("S", "stray")
    kernel.post("R", "note", "still here")
    kernel.run()
    assert recorder.recorded == ["still here"]
    assert "session S: event stray() failed" in caplog.text


@pytest.mark.parametrize("failing", ["fail", "fail_later"])
def test_an_exception_is_logged_with_session_event_and_arguments(
    kernel: Kernel, caplog: pytest.LogCaptureFixture, failing: str
) -> None:
    class Rude:
        def __repr__(self) -> str:
            raise RuntimeError("no repr")

    recorder = kernel.add(Recorder())
    kernel.post("R", failing, 7, "seven", Rude(), "long" * 1000)
    kernel.post("R", "note", "still here")
    kernel.delay(0.001, "R", "note", "and here")
    kernel.run()
    (record,) = caplog.records
    assert record.name == "prefork.kernel"
    message = record.getMessage()
    assert message.startswith(f"session R: event {failing}(7, 'seven', <Rude instance at")
    assert len(message) < 400
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)
    assert record.exc_info[1].__traceback__ is not None
    assert recorder.recorded == ["still here", "and here"]


def test_tasks_are_kept_alive_until_they_are_done(kernel: Kernel) -> None:
    class Forgetful(Session):
        alias = "F"
        done = False

        @event
        async def wait(self) -> None:
            # Nothing but the kernel refers to this task: its future is reachable from the task alone.
            future = self.kernel.loop.create_future()
            self.kernel.delay(0.002, "F", "collect")
            self.kernel.loop.call_later(0.005, future.set_result, None)
            await future
            self.done = True

        @event
        def collect(self) -> None:
            gc.collect()

    forgetful = kernel.add(Forgetful())
    kernel.post("F", "wait")
    kernel.run()
    assert forgetful.done


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_an_exit_of_a_task_that_is_not_the_kernels_ends_that_task(
    kernel: Kernel, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    ended: list[BaseException] = []

    async def leave() -> None:
        await asyncio.sleep(0)
        raise error

    async def work() -> None:
        try:
            await kernel.loop.create_task(leave())
        except BaseException as caught:
            ended.append(caught)

    kernel.session("S", {"work": work})
    kernel.post("S", "work")
    kernel.run()
    assert ended == [error]
    (line,) = caplog.messages
    assert line == f"a task of the application raised {error!r}: it ends, and this process goes on"


def test_an_exit_of_a_task_ends_a_run_that_another_event_asked_to_stop(kernel: Kernel) -> None:
    async def leave() -> None:
        raise SystemExit(3)

    def stop() -> None:
        kernel.loop.create_task(leave())
        kernel.stop()

    kernel.session("S", {"stop": stop})
    kernel.post("S", "stop")
    kernel.hold(object())
    kernel.run()


@pytest.mark.parametrize("where", ["async event", "callback"])
def test_an_exit_of_an_event_or_a_callback_ends_the_kernel(kernel: Kernel, where: str) -> None:
    def leave() -> None:
        raise SystemExit(3)

    async def event() -> None:
        await asyncio.sleep(0)
        leave()

    kernel.session("S", {"leave": event, "later": lambda: kernel.loop.call_soon(leave)})
    kernel.post("S", "leave" if where == "async event" else "later")
    with pytest.raises(SystemExit) as exit_:
        kernel.run()
    assert exit_.value.code == 3


def test_system_exit_in_an_event_ends_the_kernel(kernel: Kernel) -> None:
    def leave() -> None:
        raise SystemExit(3)

    stopped: list[str] = []
    kernel.session("S", {"leave": leave, "_stop": lambda: stopped.append("stopped")})
    kernel.post("S", "leave")
    with pytest.raises(SystemExit) as exit_:
        kernel.run()
    assert exit_.value.code == 3
    assert stopped == ["stopped"]


# --- timers -------------------------------------------------------------------------------------------------


def test_delay_rings_once_and_not_before_its_time(kernel: Kernel) -> None:
    kernel.session("S", {"ring": lambda: rung.append(time.monotonic())})
    rung: list[float] = []
    timer = kernel.delay(0.01, "S", "ring")
    kernel.run()
    assert len(rung) == 1
    assert rung[0] >= timer.when - 0.001


def test_timers_ring_in_the_order_of_their_times(kernel: Kernel) -> None:
    recorder = kernel.add(Recorder())
    kernel.on_start(lambda: kernel.delay(0.004, "R", "note", "in run"))
    for thousandth in (3, 1, 2):
        kernel.delay(thousandth / 1000, "R", "note", thousandth)
    kernel.delay(-1, "R", "note", "overdue")
    kernel.run()
    assert recorder.recorded == ["overdue", 1, 2, 3, "in run"]


def test_a_cancelled_timer_does_not_ring(kernel: Kernel) -> None:
    recorder = kernel.add(Recorder())
    before = kernel.delay(0.001, "R", "note", "never")
    before.cancel()
    during = kernel.delay(3600, "R", "note", "never")
    kernel.on_start(during.cancel)
    late = kernel.delay(0.001, "R", "note", "rings")
    kernel.run()
    late.cancel()
    assert recorder.recorded == ["rings"]


def test_delay_needs_a_session_and_an_event(kernel: Kernel) -> None:
    kernel.add(Recorder())
    with pytest.raises(UnknownSession):
        kernel.delay(1, "NOBODY", "note")
    with pytest.raises(UnknownEvent):
        kernel.delay(1, "R", "nothing")


# --- the life of a session ----------------------------------------------------------------------------------


def test_start_and_stop(kernel: Kernel) -> None:
    class Life(Session):
        def __init__(self, name: str, recorded: list[str]) -> None:
            self.name, self.recorded = name, recorded

        @event
        def _start(self) -> None:
            self.recorded.append(f"{self.name} starts")

        @event("_stop")
        async def leave(self) -> None:
            await asyncio.sleep(0)
            self.recorded.append(f"{self.name} stops")

    recorded: list[str] = []
    first = kernel.add(Life("first", recorded))
    assert recorded == []
    kernel.on_start(lambda: recorded.append("hook"))
    kernel.session("S", {"go": lambda: (kernel.add(Life("second", recorded)), kernel.remove(first))})
    kernel.post("S", "go")
    kernel.run()
    assert recorded == ["hook", "first starts", "second starts", "first stops", "second stops"]


def test_a_removed_session_is_gone_with_all_that_was_its(kernel: Kernel) -> None:
    recorder = kernel.add(Recorder())
    recorder.alias_set("R2")
    kernel.delay(0.001, "R", "note", "timer")
    recorder.delay("note", 0.001, "own timer")
    kernel.post("R", "note", "queued")
    kernel.remove(recorder)
    assert kernel.find("R") is kernel.find("R2") is None
    assert recorder.kernel is None
    kernel.run()
    assert recorder.recorded == []
    with pytest.raises(UnknownSession):
        kernel.remove(recorder)


def test_what_a_removed_session_waited_for_does_not_keep_the_kernel(kernel: Kernel) -> None:
    recorder = kernel.add(Recorder())
    timer = kernel.delay(3600, "R", "note")
    kernel.signal(signal.SIGUSR1, "R", "note")
    kernel.session("S", {"remove": lambda: kernel.remove(recorder)})
    kernel.post("S", "remove")
    kernel.run()
    assert time.monotonic() < timer.when


def test_a_removed_session_can_return(kernel: Kernel) -> None:
    recorder = kernel.add(Recorder())
    with pytest.raises(OptionError, match="in a kernel already"):
        Kernel().add(recorder)
    kernel.remove(recorder)
    kernel.add(recorder)
    kernel.post("R", "note", "back")
    kernel.run()
    assert recorder.recorded == ["back"]


def test_a_session_of_plain_functions(kernel: Kernel) -> None:
    recorded: list[str] = []
    session = kernel.session("HTTP_GET", {"GOT_MAIN": recorded.append})
    assert kernel.find("HTTP_GET") is session
    assert kernel.post("HTTP_GET", "GOT_MAIN", "x")
    kernel.run()
    assert recorded == ["x"]


# --- run() --------------------------------------------------------------------------------------------------


def test_run_ends_by_itself_when_nothing_can_happen(kernel: Kernel) -> None:
    kernel.run()
    kernel.add(Recorder())
    kernel.run()


def test_run_waits_for_what_was_given_to_asyncio_directly(kernel: Kernel) -> None:
    one, other = socket.socketpair()
    done: list[str] = []

    async def task() -> None:
        await asyncio.to_thread(time.sleep, 0.005)
        done.append("task")
        kernel.loop.call_later(0.002, callback)

    def callback() -> None:
        done.append("callback")
        kernel.loop.add_reader(one, readable)
        threading.Timer(0.02, other.send, (b"x",)).start()

    def readable() -> None:
        done.append("reader")
        kernel.loop.remove_reader(one)

    kernel.on_start(lambda: kernel.loop.create_task(task()))
    with one, other:
        kernel.run()
    assert done == ["task", "callback", "reader"]


def test_a_hold_keeps_it_running_until_released(kernel: Kernel) -> None:
    recorder = kernel.add(Recorder())
    released: list[float] = []

    def release() -> None:
        released.append(time.monotonic())
        kernel.release(recorder)

    kernel.session("S", {"release": release})
    kernel.hold(recorder)
    kernel.hold(recorder)
    kernel.delay(0.01, "S", "release")
    kernel.run()
    kernel.release(recorder)
    assert len(released) == 1


def test_stop_ends_it_though_much_could_happen(kernel: Kernel) -> None:
    unwound: list[str] = []

    async def forever() -> None:
        kernel.delay(0, "S", "stop")
        try:
            await asyncio.Event().wait()
        finally:
            unwound.append("cancelled")

    recorder = kernel.add(Recorder())
    kernel.session("S", {"forever": forever, "stop": kernel.stop})
    kernel.hold(kernel)
    kernel.delay(3600, "R", "note", "never")
    kernel.post("S", "forever")
    kernel.run()
    assert unwound == ["cancelled"]
    assert recorder.recorded == []


def test_stop_in_a_start_hook_and_out_of_run(kernel: Kernel) -> None:
    kernel.stop()
    recorder = kernel.add(Recorder())
    kernel.post("R", "note", "first run")
    kernel.run()
    kernel.on_start(kernel.stop)
    kernel.post("R", "note", "delivered before the end")
    kernel.delay(0, "R", "note", "too late")
    kernel.run()
    assert recorder.recorded == ["first run", "delivered before the end"]


def test_stop_hooks_run_in_reverse_and_survive_each_other(
    kernel: Kernel, caplog: pytest.LogCaptureFixture
) -> None:
    recorded: list[str] = []

    def broken() -> None:
        raise ValueError("broken hook")

    for hook in (lambda: recorded.append("first"), broken, lambda: recorded.append("last")):
        kernel.on_stop(hook)
    kernel.run()
    assert recorded == ["last", "first"]
    assert "broken" in caplog.text


def test_an_error_of_a_start_hook_is_one_line_and_status_2(
    kernel: Kernel, capsys: pytest.CaptureFixture[str]
) -> None:
    def bind() -> None:
        raise BindError("127.0.0.1:80 is taken; choose another port")

    recorded: list[str] = []
    kernel.session("S", {name: lambda name=name: recorded.append(name) for name in ("_start", "_stop")})
    kernel.on_start(bind)
    kernel.on_stop(lambda: recorded.append("stop hook"))
    with pytest.raises(SystemExit) as exit_:
        kernel.run()
    assert exit_.value.code == 2
    assert recorded == ["stop hook"]
    assert capsys.readouterr().err == "prefork: 127.0.0.1:80 is taken; choose another port\n"


def test_a_start_hook_of_a_running_kernel_is_called_between_turns(kernel: Kernel) -> None:
    recorder = kernel.add(Recorder())

    def hook() -> None:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        recorder.recorded.append("hook")

    kernel.session("S", {"late": lambda: kernel.on_start(hook)})
    kernel.post("S", "late")
    kernel.run()
    kernel.run()
    assert recorder.recorded == ["hook"]


def test_a_session_added_by_a_start_hook_starts_once(kernel: Kernel) -> None:
    recorded: list[str] = []
    events = {name: lambda name=name: recorded.append(name) for name in ("_start", "_stop")}
    kernel.on_start(lambda: kernel.session("S", events))
    kernel.run()
    assert recorded == ["_start", "_stop"]


def test_engine_and_loop_exist_inside_of_run_only(kernel: Kernel) -> None:
    seen: list[object] = []
    kernel.on_start(lambda: seen.extend((kernel.loop, kernel.engine)))
    kernel.run()
    assert len(seen) == 2
    for name in ("loop", "engine"):
        with pytest.raises(RuntimeError, match="inside of run"):
            getattr(kernel, name)


def test_run_does_not_nest(kernel: Kernel, caplog: pytest.LogCaptureFixture) -> None:
    kernel.session("S", {"run": kernel.run})
    kernel.post("S", "run")
    kernel.run()
    assert "running already" in caplog.text


def test_a_kernel_leaves_no_descriptor_behind() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        Kernel().run()
    assert len(os.listdir("/proc/self/fd")) == before


# --- between turns ------------------------------------------------------------------------------------------


def test_between_turns_no_loop_is_running(kernel: Kernel) -> None:
    recorder = kernel.add(Recorder())

    def between(name: str) -> Callable[[], None]:
        def function() -> None:
            with pytest.raises(RuntimeError):
                asyncio.get_running_loop()
            recorder.recorded.append(name)
            kernel.post("R", "note", f"{name} posted")

        return function

    def ask() -> None:
        assert asyncio.get_running_loop() is kernel.loop
        kernel.between_turns(between("second"))
        kernel.between_turns(between("third"))

    kernel.session("S", {"ask": ask})
    kernel.between_turns(between("first"))
    kernel.on_start(lambda: recorder.recorded.append("hook"))
    kernel.delay(0.001, "S", "ask")
    kernel.run()
    assert recorder.recorded == [
        "hook",
        "first",
        "first posted",
        "second",
        "third",
        "second posted",
        "third posted",
    ]


def test_the_loop_turns_before_what_is_added_between_turns_is_run(kernel: Kernel) -> None:
    order: list[str] = []

    def between() -> None:
        order.append("between")
        if order.count("between") < 3:
            kernel.loop.call_soon(order.append, "turn")
            kernel.between_turns(between)

    kernel.between_turns(between)
    kernel.run()
    assert order == ["between", "turn", "between", "turn", "between"]


def test_an_exception_between_turns_ends_run(kernel: Kernel) -> None:
    def broken() -> None:
        raise ZeroDivisionError

    kernel.hold(kernel)
    kernel.between_turns(broken)
    with pytest.raises(ZeroDivisionError):
        kernel.run()


def test_a_broken_engine_ends_run_with_a_status_when_its_work_is_done(
    kernel: Kernel, caplog: pytest.LogCaptureFixture
) -> None:
    kernel.on_broken(kernel.stop)
    kernel.on_start(lambda: kernel.loop.call_soon(kernel._engine_broken, "the queue: Bad file", True))
    kernel.hold(kernel)
    with pytest.raises(SystemExit) as raised:
        kernel.run()
    assert raised.value.code == BROKEN
    assert "the queue: Bad file: the program closed a descriptor that is not its own" in caplog.text


@pytest.mark.parametrize("turns", [True, False])
def test_an_engine_that_cannot_turn_or_has_no_work_ends_the_process_at_once(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, turns: bool
) -> None:
    def leave(status: int) -> None:
        ended.append(status)
        kernel.stop()

    ended: list[int] = []
    monkeypatch.setattr("prefork.kernel.run.exit_at_once", leave)
    if not turns:
        kernel.on_broken(lambda: pytest.fail("there is nothing to wait for"))
    kernel.on_start(lambda: kernel.loop.call_soon(kernel._engine_broken, "the epoll set: Bad file", turns))
    kernel.hold(kernel)
    with pytest.raises(SystemExit):
        kernel.run()
    assert ended == [BROKEN]


def test_a_fork_anywhere_else_is_refused(kernel: Kernel, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(RuntimeError, match="is not running"):
        kernel.fork()
    kernel.session("S", {"fork": kernel.fork})
    kernel.post("S", "fork")
    kernel.run()
    assert "a kernel forks between turns only, and is in the loop" in caplog.text
