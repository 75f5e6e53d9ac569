"""The alarms that interrupt code which blocks the end of a process."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator

import pytest

from prefork.hosting import serving
from prefork.hosting.synthetic import time_limit
from prefork.pool.ending import Ending
from prefork.server.end_limit import EndLimit
from prefork.server.startup import StartupLimit
from support.waiting import wait_until


@pytest.fixture(autouse=True)
def alarm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(serving, "LAST_S", 0.01)
    former = signal.getsignal(signal.SIGALRM)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, former)


def begin_warm_up() -> object:
    limit = time_limit(0.01)
    limit.__enter__()
    return limit


BEGINNINGS = {
    "startup": lambda: StartupLimit(0).begin(),
    "end": lambda: EndLimit(0).told(now=True),
    "end of a worker": lambda: Ending(0).begin(0),
    "end of a program": serving.end_soon,
    "warm-up": begin_warm_up,
}


@pytest.mark.parametrize("begin", BEGINNINGS.values(), ids=BEGINNINGS)
def test_one_that_python_misses_comes_again(begin: Callable[[], object]) -> None:
    came: list[int] = []
    kept = begin()
    signal.signal(signal.SIGALRM, lambda signum, _frame: came.append(signum))
    wait_until(lambda: len(came) > 1, "a second alarm")
    del kept  # only now it may end
