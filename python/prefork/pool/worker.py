"""A process that serves, in a pool: its start, and its end.

Always: it dies with its manager, however that dies; it is a spare only after its fork handlers have run; it
can write no page of the scoreboard but its own; what it has begun is ended. SIGTERM ends it at once until the
application begins something in it, which is in `worker_start` at the earliest.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from typing import TYPE_CHECKING

from prefork._engine import BlockedSignals, die_with_parent
from prefork.errors import OutOfResources, PreforkError, TargetError
from prefork.logs import queue_listeners
from prefork.logs.escaping import show
from prefork.logs.logger import Lines
from prefork.pool.ending import Ending, forget_inherited
from prefork.pool.log_level import take_level
from prefork.pool.role import PoolMember
from prefork.server.role import BOOT_FAILED, Role
from prefork.server.server import HTTPServer
from prefork.server.service_manager import discard
from prefork.server.serving import Serving
from prefork.server.startup import StartupInterrupted, StartupLimit

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from prefork.config.options import PreForkOptions
    from prefork.pool.boot_reports import BootReport
    from prefork.pool.manager import Manager
    from prefork.pool.next_mold import NextMold
    from prefork.pool.stacks import Stacks
    from prefork.pool.worker_hooks import WorkerHooks
    from prefork.server.context import Context
    from prefork.server.listener import Listener
    from prefork.server.service import Service

logger = logging.getLogger("prefork.worker")

FAILED_S = 3.0
"""The time for the end of a worker that has failed to start, if `graceful_timeout` is not less."""

DRAIN_IDLE_S = 1.0
"""A worker that ends while the server goes on keeps its idle connections open for so long.

A request that is on its way to one of them is served. Without this it would meet a closed connection.
"""


class Worker(Role, PoolMember):
    """The role of a forked child. The manager makes it before the fork; `listener` is then a copy.

    So the memory of the object is shared, and a child writes less of its own.
    """

    is_child = True
    startup: asyncio.Task[None] | None = None
    """The task of `boot`, in the child."""
    _stacks: Stacks | None = None
    make_next_mold: Callable[[socket.socket], NextMold] | None = None
    next_mold: NextMold | None = None
    """What makes it a mold at its end, if its manager says so."""
    _is_told = False
    """Whether it was told to end before it served."""
    _has_exited = False

    def __init__(self, context: Context, service: Service, listener: Listener, hooks: WorkerHooks) -> None:
        self._context = context
        self._service = service
        self._listener = listener
        self._hooks = hooks
        self._serving = Serving(context, service, self._served)
        self._limit = StartupLimit(context.options.graceful_timeout)
        self._ending = Ending(context.options.graceful_timeout)

    def prepare(self) -> None:
        """Manager, before it forks: notes what the next workers listen on."""
        if self._listener.sockets is not None:
            self._serving.prepare(self._listener.sockets, self._listener.tls)

    async def boot(self, manager: Manager, index: int, options: PreForkOptions) -> None:
        """All that happens between the fork and the first request, in this order. `options` are the server's
        at the fork.

        It is the first task of the child's loop. A worker that is not complete must not serve: it exits, and
        its manager spawns another, with a pause.
        """
        try:
            report = manager.resources.reports.open_writer()
        except OSError:
            os._exit(BOOT_FAILED)
        try:
            # Again: a function of the application that runs at forks may have changed the user.
            manager_pid = manager.resources.manager_pid
            if not die_with_parent(manager_pid):
                os._exit(BOOT_FAILED)
            # Take the slot; close what is the manager's; enter the sandbox; start the guard.
            self._join(manager, index, options)
            queue_listeners.resume()
            forget_inherited(keeps_atexit=self._service.inherits_atexit)
            kernel = self._context.kernel
            kernel.on_exit(self._call_exit_hook)
            kernel.on_exit(self._ending.finish)
            # From here on SIGTERM lets it finish what it has begun. One between the two would tell only the
            # loop, which a startup may block.
            with BlockedSignals():
                kernel.signal(signal.SIGTERM, options.alias, "_term")
                kernel.tell_early(signal.SIGTERM, self._told)
            self._hooks.call("worker_start", pid=os.getpid())
            kernel.end_if_abandoned()  # the hook may have forked: such a child does not go on here
            await self._prepare(options)
            if not die_with_parent(manager_pid):  # again: a handler may have changed the user
                os._exit(BOOT_FAILED)
            if not self._is_told:
                self._serve(options)
        except (Exception, StartupInterrupted) as error:
            self._limit.end()
            self._context.kernel.end_if_abandoned(error)
            if self._is_told:
                self._limit.log(error)
                return
            tell_failure(error, report)
            # What the application began is ended: its log may be sent by an `atexit` function.
            self._end_within(min(options.graceful_timeout, FAILED_S))
            raise SystemExit(BOOT_FAILED) from None
        finally:
            if self._is_told:
                self._limit.end()
                self._context.kernel.engine.leave_pool()
        report.close()

    def _told(self) -> None:
        """SIGTERM has come, in the middle of other code: the loop hears of it later."""
        self._is_told = True
        self._limit.begin()

    async def _prepare(self, options: PreForkOptions) -> None:
        """Prepares the application."""
        kernel = self._context.kernel
        for alias, event in options.fork_handlers.items():
            if self._is_told:
                return
            result = kernel.call(alias, event)
            kernel.end_if_abandoned()
            if isinstance(result, asyncio.Task):
                await result
        if self._service.startup is not None and not self._is_told:
            await self._service.startup()

    def _serve(self, options: PreForkOptions) -> None:
        kernel = self._context.kernel
        kernel.share_signal(signal.SIGTERM)
        if kernel.program_handles(signal.SIGINT):  # to bind it for no application would cost memory
            kernel.signal(signal.SIGINT, options.alias, "_int")
            kernel.share_signal(signal.SIGINT)
        if options.may_be_stuck:
            from prefork.pool.interruption import allow_interruption  # here: most workers need none

            allow_interruption()
        if options.max_requests_per_child:
            self._limit_requests(options)
        self._accept()
        if self.next_mold is not None:
            self.next_mold.listen(self._end_for_mold)
        kernel.engine.enter_pool()

    def _join(self, manager: Manager, index: int, options: PreForkOptions) -> None:
        service = self._service
        concurrency = options.concurrency or service.concurrency
        if service.capacity is not None:
            concurrency = min(concurrency, service.capacity)
        engine = self._context.kernel.engine
        try:
            manager.resources.join(
                engine,
                index,
                concurrency=concurrency,
                workers=options.max_clients,
                keeps=self.next_mold is not None,
            )
        except OSError as error:
            raise OutOfResources.from_refusal(error) from error
        self._stacks = manager.resources.stacks
        if self.next_mold is None:
            manager.close_pool()
        discard()
        take_level(engine)
        self._listener.lock_certificates()
        for other in self._context.kernel.sessions:
            if isinstance(other, HTTPServer) and other is not self._context.session:
                other._discard()
        # Landlock restricts a thread and what that starts: the guard comes behind it.
        if manager.sandbox is not None:
            manager.sandbox.enter()
        if options.is_guarded:
            try:
                engine.start_guard(options.heartbeat_timeout)
            except OSError as error:
                raise OutOfResources.from_refusal(error) from error

    def _accept(self) -> None:
        try:
            self._serving.accept()
        except OSError as error:
            raise OutOfResources.from_refusal(error) from error

    def _limit_requests(self, options: PreForkOptions) -> None:
        extra = int.from_bytes(os.urandom(8), "big") % (options.max_requests_jitter + 1)
        most = options.max_requests_per_child + extra
        self._context.kernel.engine.set_max_requests(most, self.replace_process)

    # --- its end ------------------------------------------------------------------------------------------

    def _served(self) -> None:
        """Nothing is left to serve: the rest of the end has what is left of the time."""
        kernel = self._context.kernel
        if self.next_mold is not None and self.next_mold.is_wanted:
            kernel.loop.limit_end(self._serving.left_s)
            kernel.between_turns(self._become_mold)
        else:
            self._end_within(self._serving.left_s)
            kernel.stop()

    def _become_mold(self) -> None:
        """At the top level of `run()`. It returns in another worker, which this process has forked, or in
        this one, if it cannot be a mold: then it ends.
        """
        assert self.next_mold is not None
        left_s = self._serving.left_s
        if not self.next_mold.become(self._call_exit_hook):
            self._end_within(left_s)
            self._context.kernel.stop()

    def _call_exit_hook(self) -> None:
        if not self._has_exited:
            self._has_exited = True
            self._hooks.try_call("worker_exit", pid=os.getpid())

    def _end_within(self, left_s: float) -> None:
        self._ending.begin(left_s)
        self._context.kernel.loop.limit_end(left_s)

    # --- the server's methods ----------------------------------------------------------------------------

    def begin(self) -> None:
        """Nothing: the manager binds the sockets, and a worker serves from its boot on."""

    def start_listen(self) -> bool:
        """Goes on accepting after `stop_listen`. False: it accepts already, or ends."""
        return self._serving.resume()

    def stop_listen(self) -> bool:
        """Pauses accepting. False: it is paused already, or ends."""
        return self._serving.pause()

    def shutdown(self, *, graceful: bool) -> None:
        """Ends this worker alone: takes no new work, and ends with the last connection."""
        if self.next_mold is not None:
            self.next_mold.give_up()
        self._drain()
        if not graceful:
            self._serving.abort()

    def _end_for_mold(self) -> None:
        """The manager wants this process as the next mold. The sockets stay open for its workers."""
        self._drain(closes=False)

    def _drain(self, *, closes: bool = True) -> None:
        if self._serving.is_open:
            engine = self._context.kernel.engine
            startup = self.startup
            if startup is None or startup.done():
                self._limit.end()
                engine.leave_pool()
            else:
                self._is_told = True  # it leaves afterwards: its manager sees how long the startup goes on
            if closes:
                self._listener.close()
            idle_s = 0.0 if engine.pool_stops else DRAIN_IDLE_S
            self._serving.drain(idle_s, startup, self._limit.since_s)

    def replace_process(self) -> None:
        """Serves on until its manager has another worker, and ends then."""
        if self._serving.is_open:
            self._context.kernel.engine.ask_for_successor()

    def reopen_logs(self) -> None:
        self._context.kernel.engine.reopen_log()

    def run_ended(self) -> None:
        if not self._ending.has_begun:  # an event has raised SystemExit, or stopped the kernel
            if self._serving.has_listeners:
                self._context.kernel.engine.leave_pool()
            self._end_within(self._context.options.graceful_timeout)
        self._serving.close_listeners()
        self._listener.close()

    def abandon(self) -> None:
        if self._stacks is not None:
            self._stacks.leave()
        if self.next_mold is not None:
            self.next_mold.abandon()
        self._listener.abandon()

    def discard(self) -> None:
        """Nothing: a worker forks no process."""

    def may_change(self, what: str) -> bool:
        logger.error("%s is refused in a worker: call it in the manager, which forks the workers", what)
        return False


def tell_failure(error: BaseException, report: BootReport) -> None:
    """Says why a worker does not start: to the manager, and in the log, with the traceback if it is the
    application's. The manager has no traceback, so what the application raised is named to it.
    """
    text, is_explained = show(error), isinstance(error, PreforkError)
    cause = error.__cause__ if isinstance(error, TargetError) else None
    logger.error("worker failed to start: %s", Lines(text), exc_info=cause if is_explained else True)
    if not is_explained:
        text = f"{type(error).__name__}: {text}"
    elif cause is not None:
        text = f"{text}: {type(cause).__name__}: {show(cause)}"
    report.write(text)
