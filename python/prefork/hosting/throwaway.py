"""The loop and the lifespan that the requests of a mold have (`--warm`), for ASGI applications.

Always: when the last outcome is known, the application is shut down, and no task or thread of it is left on
the loop, which is closed. It runs where no loop runs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from prefork.errors import LifespanFailed
from prefork.hosting.lifespan import Lifespan
from prefork.hosting.synthetic import Page, probe_asgi, scope, time_limit
from prefork.server.service import Outcome
from prefork.server.startup import LOOP_S

if TYPE_CHECKING:
    from prefork.config.options import AppOptions
    from prefork.hosting.asgi_types import Application

logger = logging.getLogger("prefork.mold")

LIFESPAN_S = 60.0
"""The time that an application has to start up, and again to shut down."""

END_S = 1.0
"""The time that tasks and threads of the requests have to end."""


def asgi_outcomes(
    application: Application, base: Mapping[str, Any], options: AppOptions, name: str
) -> Iterator[Outcome]:
    """Requests pages from an ASGI application, on a loop of its kind that is closed afterwards.

    Raises what its startup raises.
    """
    loop = _new_loop(options.loop)
    try:
        lifespan = Lifespan(application, options.lifespan, name)
        with time_limit(LIFESPAN_S + LOOP_S):
            loop.run_until_complete(_limited(lifespan.startup(), f"{name} did not start up"))
        try:
            for page in options.warm:
                request = scope({**base, "state": lifespan.state}, Page.of(page), options.root_path)
                yield loop.run_until_complete(probe_asgi(application, request))
        finally:
            with time_limit(LIFESPAN_S + LOOP_S):
                loop.run_until_complete(_limited(lifespan.shutdown(), f"{name} did not shut down"))
    finally:
        _close(loop)


async def _limited(work: Coroutine[Any, Any, None], failure: str) -> None:
    try:
        await asyncio.wait_for(work, LIFESPAN_S)
    except TimeoutError:
        raise LifespanFailed(f"{failure} within {LIFESPAN_S:g} s") from None


def _new_loop(kind: str) -> asyncio.AbstractEventLoop:
    if kind == "uvloop":
        import uvloop  # `use_uvloop` has imported it

        return uvloop.new_event_loop()
    return asyncio.new_event_loop()


def _close(loop: asyncio.AbstractEventLoop) -> None:
    """Ends what the application has left on the loop, within END_S each."""
    try:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        ends: list[Coroutine[Any, Any, object]] = [
            loop.shutdown_asyncgens(),
            loop.shutdown_default_executor(),
        ]
        if tasks:
            ends.insert(0, asyncio.wait(tasks))
        for end in ends:
            try:
                loop.run_until_complete(asyncio.wait_for(end, END_S))
            except TimeoutError:
                logger.warning("--warm: tasks or threads of the application did not end in %g s", END_S)
    finally:
        loop.close()
