"""Threads of a worker: what they are given is called, whatever became of what they were given before."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

import pytest

from prefork.hosting.threads import Threads
from support.waiting import wait_until


class Calls:
    """What was called, and a function that notes it."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def __call__(self, request: Any, _response: Any) -> None:
        self.made.append(request)


@pytest.fixture
def calls() -> Calls:
    return Calls()


def submit(threads: Threads, function: Any, request: Any = None) -> None:
    threads.submit(function, request, None)  # type: ignore[arg-type]


@pytest.fixture
def scarce(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """While it is not empty no thread can be started."""
    none_left: list[bool] = []
    start = threading.Thread.start

    def start_one(thread: threading.Thread) -> None:
        if none_left:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_one)
    return none_left


@pytest.mark.parametrize("error", [ValueError, GeneratorExit, SystemExit])
def test_a_thread_survives_what_is_raised_in_it_and_the_log_has_it(
    error: type[BaseException], calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_request: Any, _response: Any) -> None:
        raise error("on purpose")

    threads = Threads(1)
    submit(threads, fail)
    submit(threads, calls, "after it")
    wait_until(lambda: calls.made == ["after it"], "the next call")
    (record,) = caplog.records
    assert "on purpose" in caplog.text
    assert record.levelname == "ERROR"
    asyncio.run(threads.drain())


def test_a_thread_survives_what_a_log_handler_raises(calls: Calls) -> None:
    class Exits(logging.Handler):
        def emit(self, _record: logging.LogRecord) -> None:
            raise SystemExit

    def fail(_request: Any, _response: Any) -> None:
        raise ValueError("on purpose")

    handler = Exits()
    logging.getLogger("prefork").addHandler(handler)
    try:
        threads = Threads(1)
        submit(threads, fail)
        submit(threads, calls, "after it")
        wait_until(lambda: calls.made == ["after it"], "the next call")
    finally:
        logging.getLogger("prefork").removeHandler(handler)
    asyncio.run(threads.drain())


def test_without_a_thread_a_call_is_refused_and_not_kept(scarce: list[bool], calls: Calls) -> None:
    threads = Threads(2)
    scarce.append(True)
    for _ in range(3):
        with pytest.raises(RuntimeError, match="can't start new thread"):
            submit(threads, calls, "refused")
    scarce.clear()
    submit(threads, calls, "first")
    wait_until(lambda: calls.made, "the call")
    asyncio.run(threads.drain())
    assert calls.made == ["first"]


def test_a_call_waits_for_the_threads_there_are_if_no_other_can_be_started(
    scarce: list[bool], calls: Calls
) -> None:
    threads = Threads(4)
    busy, free = threading.Event(), threading.Event()

    def hold(_request: Any, _response: Any) -> None:
        busy.set()
        free.wait(10)

    submit(threads, hold)
    assert busy.wait(10)
    scarce.append(True)
    submit(threads, calls, "waits")
    assert calls.made == []
    scarce.clear()
    submit(threads, calls, "has one of its own")
    wait_until(lambda: len(calls.made) == 2, "both calls")
    free.set()
    asyncio.run(threads.drain())
