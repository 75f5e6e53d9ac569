"""What an application does in a mold, before the first worker is forked.

Pages are requested (`--warm`), so that what a first request makes is made once, and its memory is shared.
Then the application's own function is called (`--mold-ready`).

Always: a request that fails is one line in the log, and the mold goes on; no loop, task or thread of the
requests is left. It runs where no loop runs.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prefork.errors import LifespanFailed, TargetError
from prefork.hosting.lifespan import Lifespan
from prefork.hosting.synthetic import Overdue, Page, probe_asgi, scope, time_limit
from prefork.logs.escaping import show
from prefork.logs.logger import Lines
from prefork.pool.worker_hooks import load_hook
from prefork.server.service import Outcome
from prefork.server.startup import LOOP_S

if TYPE_CHECKING:
    from prefork.config.options import AppOptions
    from prefork.hosting.asgi_types import Application
    from prefork.server.service import Service

logger = logging.getLogger("prefork.mold")

LIFESPAN_S = 60.0
"""The time that an application has to start up, and again to shut down."""

END_S = 1.0
"""The time that tasks and threads of the requests have to end."""

POLL_S = 0.01


def warm(service: Service, options: AppOptions) -> None:
    """Mold: has the application make what its workers are to share.

    Raises OptionError if there is no such function as `mold_ready` names, and TargetError if it raises.
    """
    hook = None if options.mold_ready is None else load_hook("mold_ready", options.mold_ready)
    if options.warm and service.warm is not None:
        _request(service.warm(), options.warm)
    if hook is not None:
        try:
            hook()
        except Exception as error:
            raise TargetError("the function of --mold-ready failed") from error
    gc.collect()  # what is garbage now would be freed in each worker, in memory of its own


def _request(outcomes: Iterator[Outcome], pages: Sequence[str]) -> None:
    before = threading.enumerate()
    began_s = time.monotonic()
    try:
        for page, outcome in zip(pages, outcomes, strict=False):
            took_s, began_s = time.monotonic() - began_s, time.monotonic()
            _log(page, outcome, took_s)
        next(outcomes, None)  # what was begun for them is ended
    except (Exception, Overdue) as error:
        what = show(error, repr if not isinstance(error, LifespanFailed) else str)
        logger.warning("--warm: its requests were broken off: %s", Lines(what))
    _wait_for_threads(before)


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


# --- ASGI ------------------------------------------------------------------------------------------------


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
