"""What an application does in a mold, before the first worker is forked.

Pages are requested (`--warm`), so that what a first request makes is made once, and its memory is shared.
Then the application's own function is called (`--mold-ready`).

Always: a request that fails is one line in the log, and the mold goes on; no thread of the requests is left.
It runs where no loop runs.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from prefork.errors import LifespanFailed, TargetError
from prefork.kernel.forking import exit_at_once
from prefork.logs import queue_listeners
from prefork.logs.escaping import show
from prefork.logs.logger import Lines
from prefork.pool.worker_hooks import load_hook
from prefork.server.service import Outcome

if TYPE_CHECKING:
    from prefork.config.options import AppOptions
    from prefork.server.service import Service

logger = logging.getLogger("prefork.mold")

END_S = 1.0
"""The time that threads of the requests have to end."""

POLL_S = 0.01


def warm(service: Service, options: AppOptions) -> None:
    """Mold: has the application make what its workers are to share. To be called after each load.

    Raises OptionError if there is no such function as `mold_ready` names, and TargetError if it raises.
    """
    pid, before = os.getpid(), threading.enumerate()
    hook = None if options.mold_ready is None else load_hook("mold_ready", options.mold_ready)
    if options.warm and service.warm is not None:
        _request(service.warm(), options.warm, pid)
    _call(hook, pid)
    _retire_threads()
    _wait_for_threads(before)
    gc.collect()  # what is garbage now would be freed in each worker, in memory of its own


def settle(options: AppOptions) -> None:
    """In a worker that becomes a mold: as `warm`, without requests.

    Raises what that raises.
    """
    _call(None if options.mold_ready is None else load_hook("mold_ready", options.mold_ready), os.getpid())
    _retire_threads()
    queue_listeners.rest()
    gc.unfreeze()  # what was there at the former fork may be garbage by now
    gc.collect()


def _call(hook: Callable[..., object] | None, pid: int) -> None:
    if hook is not None:
        try:
            hook()
        except Exception as error:
            _end_fork(pid)
            raise TargetError("the function of --mold-ready failed") from error
        _end_fork(pid)


def _retire_threads() -> None:
    if "concurrent.futures.thread" in sys.modules:
        from prefork.hosting.executors import retire_threads  # here: it imports that

        retire_threads(END_S)


def _end_fork(pid: int) -> None:
    """Ends a child that the application has forked, and whose code has returned: its parent goes on."""
    if os.getpid() != pid:
        exit_at_once(0)


def _request(outcomes: Iterator[Outcome], pages: Sequence[str], pid: int) -> None:
    from prefork.hosting.synthetic import Overdue  # here: not in the memory of workers without pages

    began_s = time.monotonic()
    try:
        for page, outcome in zip(pages, outcomes, strict=False):
            _end_fork(pid)
            took_s, began_s = time.monotonic() - began_s, time.monotonic()
            _log(page, outcome, took_s)
        next(outcomes, None)  # what was begun for them is ended
    except (Exception, Overdue) as error:
        _end_fork(pid)
        what = show(error, repr if not isinstance(error, LifespanFailed) else str)
        logger.warning("--warm: its requests were broken off: %s", Lines(what))


def _log(page: str, outcome: Outcome, took_s: float) -> None:
    if outcome.status is None or outcome.problem or outcome.status >= 400:
        hint = ""
        if outcome.status == 400 and page.startswith("/"):
            hint = "; if it expects another host than localhost, give a URL"
        logger.warning("--warm %s: %s%s", page, outcome, hint)
    else:
        logger.info("warmed by %s: %d in %.0f ms", page, outcome.status, took_s * 1000)


def _wait_for_threads(before: Sequence[threading.Thread]) -> None:
    """A pool of threads that ends with its loop may do so a moment later."""
    until = time.monotonic() + END_S
    while set(threading.enumerate()).difference(before) and time.monotonic() < until:
        time.sleep(POLL_S)
