"""A pool of threads that was used before a fork can be used in the child."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from prefork.hosting.executors import retire_threads

DEADLINE_S = 10.0


def ran_in_child(pool: ThreadPoolExecutor) -> bool:
    """Whether the pool runs a job in a child that is forked now."""
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(pool.submit(lambda: 7).result(0.5))
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_pool_that_was_used_hangs_in_a_child_and_does_not_without_its_threads() -> None:
    pool = ThreadPoolExecutor(2)
    before = threading.active_count()
    for future in [pool.submit(os.getpid) for _ in range(3)]:
        assert future.result(DEADLINE_S) == os.getpid()
    assert not ran_in_child(pool)
    retire_threads(DEADLINE_S)
    assert threading.active_count() == before
    assert ran_in_child(pool)
    assert pool.submit(lambda: "again").result(DEADLINE_S) == "again"
    pool.shutdown()


def test_a_pool_that_is_busy_keeps_what_it_does() -> None:
    ends = threading.Event()
    pool = ThreadPoolExecutor(1)
    job = pool.submit(ends.wait, DEADLINE_S)
    retire_threads(0.05)
    later = pool.submit(lambda: "later")
    ends.set()
    assert job.result(DEADLINE_S)
    assert later.result(DEADLINE_S) == "later"
    pool.shutdown()


def test_a_pool_that_was_shut_down_stays_so() -> None:
    ends = threading.Event()
    pool = ThreadPoolExecutor(1)
    pool.submit(ends.wait, DEADLINE_S)
    pool.shutdown(wait=False)
    retire_threads(0.0)
    ends.set()
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(os.getpid)


def test_other_threads_are_left_alone() -> None:
    ends = threading.Event()
    thread = threading.Thread(target=ends.wait, args=(DEADLINE_S,))
    thread.start()
    retire_threads(DEADLINE_S)
    assert thread.is_alive()
    ends.set()
    thread.join()
