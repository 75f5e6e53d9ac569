"""The life of a worker between its fork and its first request.

Always: it dies with its manager, however that dies; it is a spare only after its fork handlers have run; it
can write no page of the scoreboard but its own. Until it serves, SIGTERM ends it at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from prefork._engine import TRACEBACKS, die_with_parent
from prefork.errors import PreforkError
from prefork.kernel.signals import Blocked
from prefork.server.server import BOOT_FAILED

if TYPE_CHECKING:
    from prefork.kernel.kernel import Kernel
    from prefork.pool.pool import Pool

logger = logging.getLogger("prefork.worker")


def become(pool: Pool, index: int, concurrency: int, *, guarded: bool) -> None:
    """Turns this new child into the worker of slot `index` (worker).

    `guarded`: there is something to do while its Python is stuck.
    """
    if not die_with_parent(pool.manager):
        os._exit(BOOT_FAILED)  # it died while we were born
    engine = pool.kernel.engine
    engine.join_pool(pool.board, index, concurrency, pool.gate)
    engine.join_queue(pool.queue[0].fileno(), pool.queue[1].fileno())
    if guarded:
        with Blocked(TRACEBACKS):
            engine.start_guard()
    pool.leave()


async def boot(
    kernel: Kernel,
    fork_handlers: dict[str, str],
    begin: Callable[[], Coroutine[Any, Any, None]] | None,
    serve: Callable[[], object],
) -> None:
    """Runs the fork handlers, `begin` if there is one, then `serve`, which makes it accept; from then on it
    is a spare (worker).

    One that is not whole must not serve: it ends, the manager hears it and backs off.
    """
    try:
        for alias, event in fork_handlers.items():
            result = kernel.call(alias, event)
            if isinstance(result, asyncio.Task):
                await result
        if begin is not None:
            await begin()
        serve()
        kernel.engine.enter_pool()
    except Exception as error:
        logger.error("a worker cannot begin: %s", error, exc_info=not isinstance(error, PreforkError))
        logging.shutdown()
        os._exit(BOOT_FAILED)
