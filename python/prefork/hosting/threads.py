"""The threads of a worker in which an application is called.

Always: what was submitted runs to its end in one thread, and a graceful shutdown waits for that. A thread
outlives what it calls, however that ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from threading import Thread, current_thread
from typing import TYPE_CHECKING

from prefork._engine import raise_in_call
from prefork.errors import RequestTimeout

if TYPE_CHECKING:
    from prefork._engine import Request, Response

logger = logging.getLogger("prefork.server")

POLL_S = 0.01


class Threads:
    """At most `limit` of them, each started when no other is free: after the fork."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._queue: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._threads: list[Thread] = []
        self._calls: list[object] = []
        """What each thread calls now."""
        self._unfinished: deque[None] = deque()
        """One entry for each call that waits or runs. Threads change it, in atomic steps."""

    def submit(
        self, function: Callable[[Request, Response], object], request: Request, response: Response
    ) -> None:
        """Has `function(request, response)` called as soon as a thread is free.

        Raises RuntimeError if there is none and none can be started.
        """
        self.have_called(partial(function, request, response))

    def have_called(self, call: Callable[[], object]) -> None:
        """As `submit`, for what is no request."""
        self._unfinished.append(None)
        if len(self._threads) < min(self._limit, len(self._unfinished)):
            try:
                self._start()
            except RuntimeError:
                if not self._threads:
                    self._unfinished.pop()
                    raise
        self._queue.put(call)

    def _start(self) -> None:
        # A daemon: one that is stuck in an application must not keep the process.
        number = len(self._threads)
        thread = Thread(target=self._run, args=(number,), name=f"caller-{number + 1}", daemon=True)
        self._calls[number:] = [None]
        thread.start()
        self._threads.append(thread)

    def interrupt(self, request: Request) -> None:
        """Raises RequestTimeout in the call for a request, if that still runs: where Python runs next."""
        for number, (thread, call) in enumerate(zip(self._threads, self._calls, strict=False)):
            if isinstance(call, partial) and call.args[0] is request and thread.ident is not None:
                raise_in_call(self._calls, number, call, thread.ident, RequestTimeout)

    def _run(self, number: int) -> None:
        # What the application starts here is none: a thread is a daemon if the one that starts it is.
        current_thread()._daemonic = False  # type: ignore[attr-defined]
        while True:
            try:
                self._serve(number)
            except RequestTimeout:
                continue  # its call had just ended
            return

    def _serve(self, number: int) -> None:
        while True:  # to jump back raises what was for the last call, before another one is taken
            call = self._queue.get()
            if call is None:
                return
            self._calls[number] = call
            try:
                call()
            except BaseException:
                with contextlib.suppress(
                    BaseException
                ):  # a log handler of the program may raise what it likes
                    what = call.args[0] if isinstance(call, partial) else call
                    logger.exception("the call for %s failed in its thread", what)
            finally:
                self._calls[number] = None
                self._unfinished.pop()
            del call  # not kept until the next request

    def abandon(self, returned: Callable[[], object]) -> None:
        """In a child that the application forked: `returned()` is called when its call has returned."""
        self._queue = _Returned(returned)  # type: ignore[assignment]

    async def drain(self) -> None:
        """Waits until all that was submitted has ended, and the threads with it."""
        for _ in self._threads:
            self._queue.put(None)
        while any(thread.is_alive() for thread in self._threads):
            await asyncio.sleep(POLL_S)
        self._threads.clear()


class _Returned:
    """In place of the queue of calls, in a process that makes no further call."""

    def __init__(self, get: Callable[[], object]) -> None:
        self.get = get
