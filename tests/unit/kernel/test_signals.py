from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from prefork.errors import UnknownEvent, UnknownSession
from prefork.kernel.events import event
from prefork.kernel.kernel import Kernel, Session


class Listener(Session):
    def __init__(self, alias: str, stop_after: int = 1) -> None:
        self.alias = alias
        self.stop_after = stop_after
        self.recorded: list[int] = []

    @event
    def came(self, signum: int) -> None:
        self.recorded.append(signum)
        if len(self.recorded) == self.stop_after:
            self.kernel.stop()


def raising(signum: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), signum)


def test_a_signal_reaches_every_session_that_bound_it() -> None:
    kernel = Kernel()
    one, two = kernel.add(Listener("ONE")), kernel.add(Listener("TWO"))
    kernel.signal(signal.SIGUSR1, "ONE", "came")  # before run() and in it
    kernel.on_start(lambda: kernel.signal(signal.SIGUSR1, "TWO", "came"))
    kernel.on_start(raising(signal.SIGUSR1))
    kernel.run()
    assert one.recorded == two.recorded == [signal.SIGUSR1]
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL


def test_a_signal_ends_a_wait_without_end() -> None:
    kernel = Kernel()
    listener = kernel.add(Listener("ONE"))
    kernel.signal(signal.SIGUSR1, "ONE", "came")
    late = threading.Timer(0.05, raising(signal.SIGUSR1))
    late.start()
    kernel.hold(listener)
    kernel.run()  # ends by the signal, or not at all
    late.join()
    assert listener.recorded == [signal.SIGUSR1]


def test_binding_again_replaces_the_event_of_that_session() -> None:
    kernel = Kernel()
    kernel.session("S", {"first": lambda _: pytest.fail("replaced"), "second": lambda _: kernel.stop()})
    kernel.signal(signal.SIGUSR1, "S", "first")
    kernel.signal(signal.SIGUSR1, "S", "second")
    kernel.on_start(raising(signal.SIGUSR1))
    kernel.run()


def test_unbinding_one_session_leaves_the_others() -> None:
    kernel = Kernel()
    one, two = kernel.add(Listener("ONE")), kernel.add(Listener("TWO"))
    for alias in ("ONE", "TWO"):
        kernel.signal(signal.SIGUSR1, alias, "came")
    kernel.signal(signal.SIGUSR1, "ONE", None)
    kernel.signal(signal.SIGUSR2, "ONE", None)
    kernel.on_start(raising(signal.SIGUSR1))
    kernel.run()
    assert (one.recorded, two.recorded) == ([], [signal.SIGUSR1])


def test_the_last_unbinding_gives_the_signal_back_and_lets_the_kernel_end() -> None:
    class Once(Listener):
        @event
        def came(self, signum: int) -> None:
            self.recorded.append(signum)
            self.kernel.signal(signum, "ONCE", None)
            assert signal.getsignal(signum) is signal.SIG_DFL

    kernel = Kernel()
    once = kernel.add(Once("ONCE"))
    kernel.signal(signal.SIGUSR1, "ONCE", "came")
    kernel.on_start(raising(signal.SIGUSR1))
    kernel.run()
    assert once.recorded == [signal.SIGUSR1]


def test_a_removed_session_hears_no_more() -> None:
    kernel = Kernel()
    one, two = kernel.add(Listener("ONE")), kernel.add(Listener("TWO"))
    for alias in ("ONE", "TWO"):
        kernel.signal(signal.SIGUSR1, alias, "came")
    kernel.remove(one)
    kernel.on_start(raising(signal.SIGUSR1))
    kernel.run()
    assert (one.recorded, two.recorded) == ([], [signal.SIGUSR1])


def test_only_what_exists_can_be_bound() -> None:
    kernel = Kernel()
    kernel.add(Listener("ONE"))
    with pytest.raises(UnknownSession):
        kernel.signal(signal.SIGUSR1, "NOBODY", "came")
    with pytest.raises(UnknownEvent):
        kernel.signal(signal.SIGUSR1, "ONE", "nothing")
    kernel.signal(signal.SIGUSR1, "NOBODY", None)


def test_control_c_stops_a_kernel_that_does_not_bind_it() -> None:
    kernel = Kernel()
    kernel.hold(kernel)
    kernel.on_start(raising(signal.SIGINT))
    kernel.run()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_control_c_interrupts_an_end_that_hangs() -> None:
    kernel = Kernel()
    kernel.hold(kernel)
    kernel.on_start(raising(signal.SIGINT))
    kernel.on_stop(raising(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        kernel.run()


def test_control_c_belongs_to_the_session_that_binds_it_and_returns_to_the_kernel() -> None:
    class Once(Listener):
        @event
        def came(self, signum: int) -> None:
            self.recorded.append(signum)
            self.kernel.signal(signum, "ONCE", None)
            os.kill(os.getpid(), signum)

    kernel = Kernel()
    once = kernel.add(Once("ONCE"))
    kernel.hold(kernel)
    kernel.signal(signal.SIGINT, "ONCE", "came")
    kernel.on_start(raising(signal.SIGINT))
    kernel.run()
    assert once.recorded == [signal.SIGINT]


def test_a_program_that_ignores_control_c_keeps_ignoring_it() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        kernel = Kernel()
        kernel.session("S", {"later": lambda: None})
        kernel.delay(0.01, "S", "later")
        kernel.on_start(raising(signal.SIGINT))
        kernel.run()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_kernel_off_the_main_thread_runs_without_signals() -> None:
    kernel = Kernel()
    recorded: list[str] = []
    kernel.session("S", {"event": recorded.append})
    kernel.post("S", "event", "here")
    thread = threading.Thread(target=kernel.run)
    thread.start()
    thread.join()
    assert recorded == ["here"]


def test_a_signal_that_cannot_be_caught_is_not_bound() -> None:
    kernel = Kernel()
    listener = kernel.add(Listener("ONE"))
    refused: list[bool] = []

    def bind() -> None:
        with pytest.raises(RuntimeError):
            kernel.signal(signal.SIGKILL, "ONE", "came")
        refused.append(kernel._signals.has(listener))

    kernel.on_start(bind)
    kernel.on_start(lambda: kernel.loop.call_later(0.5, kernel.stop))
    kernel.run()
    assert refused == [False]


# --- signals that no session binds --------------------------------------------------------------------------


def handling(*listeners: Listener) -> Kernel:
    """A kernel in which they would handle SIGUSR2, which comes as soon as it runs. It waits for them."""
    kernel = Kernel()
    kernel.hold(kernel)
    for listener in map(kernel.add, listeners):
        kernel.on_start(partial(kernel._signals.bind_default, signal.SIGUSR2, listener, "came"))
    kernel.on_start(lambda: kernel.loop.call_soon(raising(signal.SIGUSR2)))
    return kernel


def test_a_signal_that_is_not_bound_goes_to_the_first_default() -> None:
    one, two = Listener("ONE"), Listener("TWO")
    handling(one, two).run()
    assert (one.recorded, two.recorded) == ([signal.SIGUSR2], [])
    assert signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL


def test_a_removed_session_is_no_default_and_the_last_one_restores_the_signal() -> None:
    class Leaving(Listener):
        @event
        def came(self, signum: int) -> None:
            self.recorded.append(signum)
            self.kernel.loop.call_soon(self.leave)

        def leave(self) -> None:
            kernel.remove(self)
            assert signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL
            kernel.stop()

    one, two = Listener("ONE"), Leaving("TWO")
    kernel = handling(one, two)
    kernel.on_start(lambda: kernel.remove(one))
    kernel.run()
    assert (one.recorded, two.recorded) == ([], [signal.SIGUSR2])


@pytest.mark.parametrize("late", [False, True])
def test_a_session_that_binds_a_signal_has_it_alone_until_it_is_unbound(late: bool) -> None:
    class Once(Listener):
        @event
        def came(self, signum: int) -> None:
            self.recorded.append(signum)
            self.kernel.signal(signum, "ONCE", None)
            self.kernel.loop.call_soon(raising(signum))

    once, other = Once("ONCE"), Listener("OTHER")
    kernel = handling(other)
    kernel.add(once)
    if late:
        kernel.on_start(lambda: kernel.signal(signal.SIGUSR2, "ONCE", "came"))
    else:
        kernel.signal(signal.SIGUSR2, "ONCE", "came")
    kernel.run()
    assert once.recorded == other.recorded == [signal.SIGUSR2]


@pytest.mark.parametrize("late", [False, True])
def test_a_handler_of_the_program_keeps_its_signal(late: bool) -> None:
    def handle(signum: int, _frame: object) -> None:
        theirs.append(signum)
        kernel.loop.call_soon(enough)

    def enough() -> None:
        if len(theirs) == 2:
            kernel.stop()
        else:
            kernel.remove(listener)
            kernel.loop.call_soon(raising(signal.SIGUSR2))

    theirs: list[int] = []
    listener = Listener("ONE")
    kernel = handling(listener)
    if late:
        kernel.on_start(lambda: signal.signal(signal.SIGUSR2, handle))
    else:
        signal.signal(signal.SIGUSR2, handle)
    try:
        kernel.run()
    finally:
        signal.signal(signal.SIGUSR2, signal.SIG_DFL)
    assert (listener.recorded, theirs) == ([], [signal.SIGUSR2] * 2)


def test_a_signal_is_ignored_until_it_is_handled() -> None:
    """As TTOU has to be, if the terminal sends it for what the response writes."""

    class Writing(Listener):
        @event
        def came(self, signum: int) -> None:
            self.recorded.append(signum)
            if len(self.recorded) == 1:
                os.kill(os.getpid(), signum)
                self.kernel.loop.call_later(0.01, self.later)
            elif 0 in self.recorded:
                self.kernel.stop()

        def later(self) -> None:
            self.recorded.append(0)
            os.kill(os.getpid(), signal.SIGUSR2)

    writing = Writing("ONE")
    handling(writing).run()
    assert writing.recorded == [signal.SIGUSR2, 0, signal.SIGUSR2]


@pytest.mark.parametrize("how", ["bound", "default"])
def test_a_kernel_does_not_wait_for_a_signal_that_it_would_handle(how: str) -> None:
    kernel = Kernel()
    listener = kernel.add(Listener("ONE"))
    if how == "bound":
        kernel.signal(signal.SIGUSR2, listener, "came")
    else:
        kernel.on_start(lambda: kernel.signal_default(signal.SIGUSR2, listener, "came"))
    kernel.run()  # ends by itself, or not at all


# --- handlers of the program for signals that are bound -----------------------------------------------------


@pytest.fixture
def heard() -> Iterator[list[str]]:
    """What the program's own handler of SIGUSR1 adds to."""
    heard: list[str] = []
    signal.signal(signal.SIGUSR1, lambda *_: heard.append("program"))
    yield heard
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)


def raising_twice() -> None:
    raising(signal.SIGUSR1)()
    raising(signal.SIGUSR1)()


def add_to_loop(kernel: Kernel, heard: list[str]) -> None:
    kernel.loop.add_signal_handler(signal.SIGUSR1, heard.append, "loop")


def test_a_binding_replaces_the_programs_handler(heard: list[str]) -> None:
    kernel = Kernel()
    kernel.add(Listener("ONE"))
    kernel.signal(signal.SIGUSR1, "ONE", "came")
    kernel.on_start(raising(signal.SIGUSR1))
    kernel.run()
    assert heard == []


def test_a_signal_that_is_set_aside_has_its_default_and_is_shared_later(heard: list[str]) -> None:
    kernel = Kernel()
    kernel.add(Listener("ONE"))
    kernel.set_aside(signal.SIGUSR1)
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
    kernel.signal(signal.SIGUSR1, "ONE", "came")
    kernel.on_start(lambda: kernel.share_signal(signal.SIGUSR1))
    kernel.on_start(raising(signal.SIGUSR1))
    kernel.run()
    assert heard == ["program"]


def test_a_signal_that_two_sessions_share_is_heard_once_by_each(heard: list[str]) -> None:
    signal.signal(signal.SIGUSR1, lambda *_: heard.append("program"))
    kernel = Kernel()
    one, two = kernel.add(Listener("ONE")), kernel.add(Listener("TWO"))
    for alias in ("ONE", "TWO"):
        kernel.signal(signal.SIGUSR1, alias, "came")
        kernel.on_start(lambda: kernel.share_signal(signal.SIGUSR1))
    kernel.on_start(raising(signal.SIGUSR1))
    kernel.run()
    assert one.recorded == two.recorded == [signal.SIGUSR1]
    assert heard == ["program"]


@pytest.mark.parametrize("late", [False, True])
def test_of_a_shared_signal_both_hear_and_the_program_once(heard: list[str], late: bool) -> None:
    kernel = Kernel()
    one = kernel.add(Listener("ONE", stop_after=2))
    kernel.hold(one)
    kernel.signal(signal.SIGUSR1, "ONE", "came")
    if late:
        kernel.on_start(lambda: signal.signal(signal.SIGUSR1, lambda *_: heard.append("late")))
    kernel.on_start(lambda: add_to_loop(kernel, heard) if not late else None)
    kernel.on_start(lambda: kernel.share_signal(signal.SIGUSR1))
    kernel.on_start(raising_twice)
    kernel.run()
    assert one.recorded == [signal.SIGUSR1] * 2
    assert heard == (["late"] if late else ["program", "loop"])
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL


def test_a_loops_handler_is_called_beside_the_binding_and_outlasts_it() -> None:
    class Once(Listener):
        @event
        def came(self, signum: int) -> None:
            self.recorded.append(signum)
            self.kernel.signal(signum, "ONCE", None)
            os.kill(os.getpid(), signum)

    def handle() -> None:
        heard.append("loop")
        if len(heard) == 2:
            kernel.stop()

    heard: list[str] = []
    kernel = Kernel()
    once = kernel.add(Once("ONCE"))
    kernel.hold(once)
    kernel.signal(signal.SIGUSR1, "ONCE", "came")
    kernel.on_start(lambda: kernel.loop.add_signal_handler(signal.SIGUSR1, handle))
    kernel.on_start(raising(signal.SIGUSR1))
    kernel.run()
    assert (heard, once.recorded) == (["loop"] * 2, [signal.SIGUSR1])


def test_what_a_program_removes_leaves_the_binding(heard: list[str]) -> None:
    kernel = Kernel()
    one = kernel.add(Listener("ONE"))
    kernel.hold(one)
    kernel.signal(signal.SIGUSR1, "ONE", "came")
    removed: list[bool] = []

    def remove() -> None:
        removed.append(kernel.loop.remove_signal_handler(signal.SIGUSR1))
        add_to_loop(kernel, heard)
        removed.append(kernel.loop.remove_signal_handler(signal.SIGUSR1))

    kernel.on_start(remove)
    kernel.on_start(raising(signal.SIGUSR1))
    kernel.run()
    assert (removed, one.recorded, heard) == ([False, True], [signal.SIGUSR1], [])


def test_a_function_hears_each_signal_in_the_middle_of_other_code() -> None:
    """And the program's handler, which is shared, hears the first one."""
    kernel = Kernel()
    listener = kernel.add(Listener("ONE", stop_after=2))
    heard: list[str] = []
    former = signal.signal(signal.SIGUSR1, lambda *_: heard.append("program"))

    def block() -> None:
        kernel.signal(signal.SIGUSR1, "ONE", "came")
        kernel.share_signal(signal.SIGUSR1)
        kernel.tell_each(signal.SIGUSR1, lambda _: heard.append("one"))
        kernel.tell_each(signal.SIGUSR1, lambda _: heard.append("two"))
        kernel.share_signal(signal.SIGUSR1)  # of a second server
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGUSR1)
            assert listener.recorded == []
            heard.append("blocked")

    try:
        kernel.on_start(lambda: kernel.loop.call_soon(block))
        kernel.run()
    finally:
        signal.signal(signal.SIGUSR1, former)
    assert heard == ["one", "two", "program", "blocked", "one", "two", "blocked"]
    assert listener.recorded == [signal.SIGUSR1] * 2
