"""The life of a worker between its fork and its first request.

Always: it dies with its manager, however that dies; it is a spare only after its fork handlers have run; it
can write no page of the scoreboard but its own. Until it serves, SIGTERM ends it at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from understudy._engine import die_with_parent
from understudy.errors import UnderstudyError

if TYPE_CHECKING:
    from understudy.kernel import Kernel
    from understudy.prefork.pool import Pool

logger = logging.getLogger("understudy.worker")

BOOT_FAILED = 3
"""Exit status of a worker that could not begin to serve, because of a fork handler for one."""


def become(pool: Pool, index: int) -> None:
    """Turns this new child into the worker of slot `index` (worker)."""
    if not die_with_parent(pool.manager):
        os._exit(BOOT_FAILED)  # it died while we were born
    pool.kernel.engine.join_pool(pool.board, index, pool.options.concurrency, pool.gate)
    pool.leave()


async def boot(kernel: Kernel, fork_handlers: dict[str, str], serve: Callable[[], object]) -> None:
    """Runs the fork handlers, then `serve`, which makes it accept; from then on it is a spare (worker).

    One that is not whole must not serve: it ends, the manager hears it and backs off.
    """
    try:
        for alias, event in fork_handlers.items():
            result = kernel.call(alias, event)
            if isinstance(result, asyncio.Task):
                await result
        serve()
        kernel.engine.enter_pool()
    except Exception as error:
        logger.error("a worker cannot begin: %s", error, exc_info=not isinstance(error, UnderstudyError))
        logging.shutdown()
        os._exit(BOOT_FAILED)
