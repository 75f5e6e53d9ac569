"""The life of a worker between its fork and its first request.

Always: it dies with its manager, however that dies; it is a spare only after its fork handlers have run; it
can write no page of the scoreboard but its own.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

from understudy._engine import die_with_parent
from understudy.errors import UnderstudyError

if TYPE_CHECKING:
    from understudy.prefork.pool import Pool

logger = logging.getLogger("understudy.worker")

BOOT_FAILED = 3
"""Exit status of a worker whose fork handlers failed."""


def become(pool: Pool, index: int, fork_handlers: dict[str, str], serve: Callable[[], object]) -> None:
    """Turns this new child into the worker of slot `index`; `serve` makes it accept (worker)."""
    kernel = pool.kernel
    manager = os.getppid()
    if not die_with_parent(manager):
        os._exit(0)  # it died while we were born
    # Ctrl-C reaches the whole foreground group; the manager decides what it means for us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    alert = os.dup(pool.board.alert_fileno())
    pool.leave()
    kernel.engine.join_pool(pool.board, index, pool.options.concurrency, pool.gate)
    os.close(pool.gate)

    async def boot() -> None:
        try:
            for alias, event in fork_handlers.items():
                result = kernel.call(alias, event)
                if isinstance(result, asyncio.Task):
                    await result
        except Exception as error:
            _fail(error)
        serve()
        kernel.engine.enter_pool()
        os.eventfd_write(alert, 1)
        os.close(alert)

    kernel.loop.create_task(boot(), name="boot")


def _fail(error: Exception) -> None:
    """A worker that is not whole must not serve: the manager hears it and backs off."""
    if isinstance(error, UnderstudyError):
        logger.error("a fork handler failed: %s", error)
    else:
        logger.error("a fork handler failed", exc_info=error)
    logging.shutdown()
    os._exit(BOOT_FAILED)

