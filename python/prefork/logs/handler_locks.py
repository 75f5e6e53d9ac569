"""The locks of the log, held while this process forks.

A thread may be in the middle of a line at that moment. CPython gives the handlers of a child new locks, but
not the buffer of the stream that a handler writes to. Its lock would belong to a thread that the child does
not have, and each line that the child logs would wait for ever. No thread writes while the one that forks
has the handlers' locks.

Always: a handler whose stream is stuck delays a fork by WAIT_S and no longer, and the child shares its fate.
The lock of the module comes first: a thread that configures the log has it, and waits for those of handlers.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

WAIT_S = 0.2
"""For all locks together."""


def take() -> list[Any] | None:
    """Takes the locks that are free in time. None: there is no other thread that could log."""
    if threading.active_count() == 1:
        return None
    until = time.monotonic() + WAIT_S
    first = logging._lock  # type: ignore[attr-defined]
    if not _is_taken(first, until):
        return []
    return [first, *(lock for lock in _of_handlers() if _is_taken(lock, until))]


def give_back(taken: Iterable[Any]) -> None:
    """Gives them back, in the parent and in the child."""
    for lock in taken:
        with contextlib.suppress(RuntimeError):  # CPython has made it new
            lock.release()


def _of_handlers() -> Iterator[Any]:
    """Those of each logger's handlers, and of the handlers behind them."""
    for reference in list(logging._handlerList):  # type: ignore[attr-defined]
        handler = reference()
        if handler is not None and handler.lock is not None:
            yield handler.lock


def _is_taken(lock: Any, until: float) -> bool:
    try:
        return bool(lock.acquire(timeout=max(until - time.monotonic(), 0)))
    except Exception:  # one of the application's own, which may know no timeout
        return False
