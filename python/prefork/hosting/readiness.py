"""Whether an application works in a new process: `--ready-path`, before the process accepts.

Always: a process whose application does not respond, or with a status of 500 or more, does not serve. It must
not know pools: what raises in a startup fails it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import TYPE_CHECKING

from prefork.errors import NotReady
from prefork.hosting.synthetic import LIMIT_S, Page, environ, overdue, probe_asgi, probe_wsgi, scope
from prefork.kernel.selector import without_running_loop
from prefork.server.service import Outcome

if TYPE_CHECKING:
    from prefork.config.options import AppOptions
    from prefork.hosting.asgi_types import Application
    from prefork.hosting.threads import Threads

logger = logging.getLogger("prefork.server")

SHUTDOWN_S = 3.0
"""The time that an ASGI application has to shut down if it is not ready."""


async def check_wsgi(
    application: Callable[..., object],
    base: Mapping[str, object],
    options: AppOptions,
    threads: Threads | None,
) -> None:
    """Requests the page where requests are served, in this thread or in one of `threads`.

    Raises NotReady.
    """
    path = str(options.ready_path)
    request = environ(base, Page.of(path), options.root_path)
    loop = asyncio.get_running_loop()
    if threads is None:
        ask = without_running_loop(loop, partial(probe_wsgi, application, request))
        judge(path, ask(LIMIT_S))
        return
    ended: asyncio.Future[Outcome] = loop.create_future()

    def call() -> None:
        outcome = probe_wsgi(application, request)
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
            loop.call_soon_threadsafe(set_unless_done, ended, outcome)

    threads.have_called(call)
    try:
        judge(path, await asyncio.wait_for(ended, LIMIT_S))
    except TimeoutError:
        raise NotReady(f"--ready-path {path}: {overdue(LIMIT_S)}") from None


def set_unless_done(future: asyncio.Future[Outcome], outcome: Outcome) -> None:
    """Its waiter may have left."""
    if not future.done():
        future.set_result(outcome)


async def check_asgi(
    application: Application,
    base: Mapping[str, object],
    options: AppOptions,
    shutdown: Callable[[], Coroutine[object, object, None]],
) -> None:
    """Requests the page on this loop, after the application's startup.

    Raises NotReady. The application is shut down then.
    """
    path = str(options.ready_path)
    try:
        judge(path, await probe_asgi(application, scope(base, Page.of(path), options.root_path)))
    except BaseException:
        try:
            await asyncio.wait_for(shutdown(), SHUTDOWN_S)
        except TimeoutError:
            logger.error("the application did not shut down in %g s: not waiting for it", SHUTDOWN_S)
        raise


def judge(path: str, outcome: Outcome) -> None:
    """Raises NotReady for what is no proof that the application works."""
    if outcome.status is None or outcome.status >= 500 or outcome.problem:
        raise NotReady(f"--ready-path {path}: {outcome}")
