"""Pools of threads that an application has used before a fork (`concurrent.futures.ThreadPoolExecutor`).

A forked pool counts threads that the child does not have: it gives them its jobs, and each waits for ever. A
pool without threads starts them when it has a job. So the threads of each pool are ended before the fork.

Always: a pool can be used afterwards as before. One whose threads do not end keeps them.
"""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

NEEDED = ("_shutdown", "_threads", "_idle_semaphore", "_work_queue")
"""What a pool has in the versions of CPython that are known."""


def retire_threads(within_s: float) -> None:
    """Ends the idle threads of all pools. Waits at most so long for those that have a job."""
    until = time.monotonic() + within_s
    found = {id(pool): pool for thread in threading.enumerate() for pool in _pool_of(thread)}
    for pool in found.values():
        pool.shutdown(wait=False)
    for pool in found.values():
        _reopen(pool, until)


def _pool_of(thread: threading.Thread) -> list[Any]:
    """The pool that a thread works for, if it can be used again."""
    arguments = getattr(thread, "_args", ())
    with contextlib.suppress(TypeError):
        if arguments and isinstance(arguments[0], weakref.ref):
            pool: Any = arguments[0]()
            is_known = isinstance(pool, ThreadPoolExecutor) and all(hasattr(pool, name) for name in NEEDED)
            return [pool] if is_known and not pool._shutdown else []
    return []


def _reopen(pool: Any, until: float) -> None:
    for thread in pool._threads:
        thread.join(max(until - time.monotonic(), 0))
    pool._threads = {thread for thread in pool._threads if thread.is_alive()}
    pool._idle_semaphore = threading.Semaphore(0)
    if not pool._threads:
        pool._work_queue = SimpleQueue()
    pool._shutdown = False
