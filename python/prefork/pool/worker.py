"""A process that serves, in a pool: its birth, and its end.

Always: it dies with its manager, however that dies; it is a spare only after its fork handlers have run; it
can write no page of the scoreboard but its own. Until it serves, SIGTERM ends it at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from functools import partial
from typing import TYPE_CHECKING

from prefork._engine import die_with_parent
from prefork.errors import PreforkError
from prefork.pool.role import Role
from prefork.server.server import BOOT_FAILED, HTTPServer

if TYPE_CHECKING:
    from prefork.config.options import PreForkOptions
    from prefork.pool.manager import Manager

logger = logging.getLogger("prefork.worker")

DRAIN_IDLE_S = 1.0
"""A worker that ends while the server goes on keeps its idle connections open for so long.

A request that is on its way to one of them is answered. Without this it would meet a closed connection.
"""


class Worker(Role):
    """The role of a forked child. `options` are the server's at its fork."""

    is_child = True

    def __init__(self, server: HTTPServer, options: PreForkOptions) -> None:
        super().__init__(server)
        self._options = options

    async def be_born(self, manager: Manager, index: int) -> None:
        """All that happens between the fork and the first request, in this order.

        It is the first task of the child's loop. A worker that is not complete must not serve: it exits, and
        its manager spawns another, with a pause.
        """
        kernel = self.server.kernel
        try:
            # Tie its life to the manager's, which may have died since the fork.
            if not die_with_parent(manager.resources.manager_pid):
                os._exit(BOOT_FAILED)
            # Take the slot; close what is the manager's.
            self._join(manager, index)
            for other in kernel.sessions:
                if isinstance(other, HTTPServer) and other is not self.server:
                    other._stay_behind()
            # Prepare the application.
            for alias, event in self._options.fork_handlers.items():
                result = kernel.call(alias, event)
                if isinstance(result, asyncio.Task):
                    await result
            if self.server._service.begin is not None:
                await self.server._service.begin()
            # Serve. From here on SIGTERM lets it finish what it has.
            kernel.signal(signal.SIGTERM, self.server._name, "_dismissed")
            self._limit_requests()
            self.server._serve()
            kernel.engine.enter_pool()
        except Exception as error:
            logger.error("worker failed to start: %s", error, exc_info=not isinstance(error, PreforkError))
            logging.shutdown()
            os._exit(BOOT_FAILED)

    def _join(self, manager: Manager, index: int) -> None:
        options = self._options
        # A pool of one has no worker to hand a connection to, and a second thread slows every system call.
        guarded = options.max_clients > 1 or options.request_timeout > 0
        concurrency = options.concurrency or self.server._service.concurrency
        manager.resources.join(self.server.kernel.engine, index, concurrency=concurrency, guarded=guarded)
        manager.discard()

    def _limit_requests(self) -> None:
        options = self._options
        if options.max_requests_per_child:
            extra = int.from_bytes(os.urandom(8), "big") % (options.max_requests_jitter + 1)
            self.server.kernel.engine.set_max_requests(
                options.max_requests_per_child + extra, partial(self._finish, graceful=True)
            )

    # --- the server's methods ----------------------------------------------------------------------------

    def begin(self) -> None:
        """Nothing: the manager binds the sockets, and a worker serves from its birth on."""

    def start_listen(self) -> bool:
        """Goes on accepting after `stop_listen`."""
        return self._accept(yes=True)

    def stop_listen(self) -> bool:
        """Pauses accepting. A worker that finishes closes its copy of the listener."""
        if self.server._stopping:
            return HTTPServer.stop_listen(self.server)
        return self._accept(yes=False)

    def _accept(self, *, yes: bool) -> bool:
        for number in self.server._accepting:
            self.server.kernel.engine.accepting(number, yes)
        return bool(self.server._accepting)

    def shutdown(self, *, graceful: bool) -> None:
        """Ends this worker alone."""
        self._finish(graceful=graceful)

    def may_change(self, what: str) -> bool:
        logger.error("%s is refused in a worker: call it in the manager, which forks the workers", what)
        return False

    def replace_workers(self) -> None:
        """Nothing: this process has no workers."""

    def replace_worker(self) -> None:
        self._finish(graceful=True)

    def _finish(self, *, graceful: bool) -> None:
        """Takes no new work, and ends with the last connection."""
        if not self.server._stopping:
            self.server._stopping = True
            engine = self.server.kernel.engine
            engine.leave_pool()
            self.server._drain(0.0 if engine.pool_stops else DRAIN_IDLE_S)
        if not graceful:
            self.server._cut()

    def gone(self) -> None:
        """The last connection has ended."""
        self.server.kernel.stop()

    def run_ends(self) -> None:
        HTTPServer._run_ends(self.server)

    def stay_behind(self) -> None:
        HTTPServer._stay_behind(self.server)
