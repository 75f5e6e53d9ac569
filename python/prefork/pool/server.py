"""`PreForkServer`: an `HTTPServer` whose requests are served by a pool of workers.

The same object lives in the manager, where it binds and keeps the pool, and in every worker, where it serves.
Each method says for which of them it is. With `start_servers=0` there is no pool, and it is an `HTTPServer`.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import os
import signal
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from prefork.config.options import PreForkOptions, changed
from prefork.errors import GlueInUse, OptionError, ScoreboardUnavailable, UnknownEvent, UnknownSession
from prefork.kernel.session import event
from prefork.pool.pool import Pool
from prefork.pool.worker import become, boot
from prefork.server.server import INSTEAD, HTTPServer

if TYPE_CHECKING:
    from prefork.kernel.kernel import Kernel

logger = logging.getLogger("prefork.pool")

SIZES_ITSELF = "the pool sizes itself, by --min-spare, --max-spare and --max-clients"
INSTEAD_OF_POOL: dict[int, str] = INSTEAD | {
    signal.SIGUSR2: "no server takes over in place; new code takes a restart, and HUP renews the workers",
    signal.SIGTTIN: SIZES_ITSELF,
    signal.SIGTTOU: SIZES_ITSELF,
}
LINGER_S = 1.0
"""A worker that leaves while the server goes on answers what its idle connections ask within this time, so
that no request is lost on its way to a connection that was just closed."""


class Role(enum.Enum):
    ALONE = "no pool"
    MANAGER = "manager"
    WORKER = "worker"


class PreForkServer(HTTPServer):
    """Serves from a pool of processes; the options are those of `PreForkOptions`.

    Raises OptionError for one that cannot be used. `kernel.run()` binds, takes the glue and forks; an address
    or a glue that cannot be had ends it with one line (BindError, GlueInUse).
    """

    options_class = PreForkOptions
    options: PreForkOptions

    def __init__(self, kernel: Kernel, **options: object) -> None:
        self._role = Role.ALONE
        self._pool: Pool | None = None
        self._watchers: list[tuple[str, str]] = []
        super().__init__(kernel, **options)

    @property
    def glue(self) -> str | None:
        """The name under which `prefork status` finds the pool (manager)."""
        return self._pool.socket.glue if self._pool else None

    @property
    def workers(self) -> list[int]:
        """The pids of the workers, oldest first (manager)."""
        return self._pool.pids if self._pool else []

    def is_child(self) -> bool:
        """Whether this process is a worker."""
        return self._role is Role.WORKER

    # --- the pool ----------------------------------------------------------------------------------------

    def _expect_handlers(self) -> None:
        super()._expect_handlers()
        self._expect_fork_handlers(self.options.fork_handlers)

    def _expect_fork_handlers(self, fork_handlers: Mapping[str, str]) -> None:
        for alias, name in fork_handlers.items():
            try:
                self.kernel.resolve(alias, name)
            except (UnknownSession, UnknownEvent) as error:
                raise type(error)(f"fork_handlers: {error}") from None

    def _begin(self) -> None:
        """Manager: forks instead of serving."""
        if not self.options.start_servers:
            super()._begin()
            return
        self._role = Role.MANAGER
        with contextlib.suppress(RuntimeError, ValueError):  # off the main thread no signal is heard
            self.kernel.signal(signal.SIGHUP, self._name, "_hung_up")
        self._prefork()

    @event("_hung_up")
    def _on_hang_up(self, _signum: int) -> None:
        """Manager: renews the workers, as HUP does elsewhere; they are made of its own copy of the code."""
        logger.warning("HUP: replacing every worker; code that has changed on disk needs a restart")
        self._replace(True)

    @property
    def _instead(self) -> dict[int, str]:
        return INSTEAD_OF_POOL if self._role is Role.MANAGER else INSTEAD

    @event("_prefork")
    def _prefork(self, again: bool = False) -> None:
        """Makes the pool, or wakes it. Without shared memory it is tried again each `prefork_interval`."""
        try:
            if self._pool is None:
                self._pool = Pool(
                    self.kernel, self.options, self._become_worker, self._tell_watchers, self._gone
                )
        except (OSError, ScoreboardUnavailable, GlueInUse) as error:
            if isinstance(error, GlueInUse) and not again:
                raise  # when it starts: the operator has to choose
            interval_s = self.options.prefork_interval
            if not again or isinstance(error, GlueInUse):
                logger.error("no scoreboard: %s; trying again every %g s", error, interval_s)
            self.delay("_prefork", interval_s, True)
            return
        self._pool.start()
        # Behind the forks that were just asked for: told when the workers exist.
        self.kernel.between_turns(self._announce_in_manager)

    def _announce_in_manager(self) -> None:
        if self._role is Role.MANAGER and self.listening is not None:
            self._announce()

    def _become_worker(self, pool: Pool, index: int) -> None:
        """Worker: the first thing it does."""
        self._role = Role.WORKER
        self._pool = None
        options = self.options
        # A pool of one has nobody to take a connection over, and a second thread costs every system call.
        guarded = options.max_clients > 1 or options.request_timeout > 0
        become(pool, index, options.concurrency or self._service.concurrency, guarded=guarded)
        for session in self.kernel.sessions:
            if isinstance(session, HTTPServer) and session is not self:
                session._stay_behind()
        work = boot(self.kernel, self.options.fork_handlers, self._service.begin, self._serve_as_worker)
        self.kernel.spawn(work, session=self, event="boot", args=())

    def _stay_behind(self) -> None:
        if self._pool is not None:
            self._pool.leave()
            self._pool = None
        super()._stay_behind()

    def _serve_as_worker(self) -> None:
        """Worker: its fork handlers have run."""
        self.kernel.signal(signal.SIGTERM, self._name, "_dismissed")
        options = self.options
        if options.max_requests_per_child:
            extra = int.from_bytes(os.urandom(8), "big") % (options.max_requests_jitter + 1)
            self.kernel.engine.set_max_requests(
                options.max_requests_per_child + extra, partial(self.shutdown, graceful=True)
            )
        self._serve()

    @event("_dismissed")
    def _on_dismissed(self, signum: int) -> None:
        """Worker: somebody wants it to end, most often its manager, who tells why.

        Once more changes nothing: systemd signals every process of a service, and the manager does so too. In
        a hurry it kills.
        """
        logger.debug("%s: leaving when all requests are answered", signal.Signals(signum).name)
        self.shutdown(graceful=True)

    def register(self, session: str, name: str) -> None:
        """Manager: has an event called with ('forked', 'spare' or 'died', pid) for every worker."""
        self._watchers.append((session, name))

    def _tell_watchers(self, what: str, pid: int) -> None:
        for session, name in self._watchers:
            self.kernel.post(session, name, what, pid)

    # --- what differs from a server without a pool -------------------------------------------------------

    def start_listen(self) -> bool:
        """Manager: opens the listener again and forks. Worker: goes on accepting after `stop_listen`."""
        if self._role is not Role.WORKER:
            return super().start_listen()
        return self._accept(yes=True)

    def stop_listen(self) -> bool:
        """Manager: closes the listener; the workers finish and go. Worker: pauses accepting."""
        if self._role is Role.WORKER and not self._stopping:
            return self._accept(yes=False)
        self.delay("_prefork")
        if self._pool is not None and not self._stopping:
            self._pool.pause()
        return super().stop_listen()

    def _accept(self, *, yes: bool) -> bool:
        for number in self._accepting:
            self.kernel.engine.accepting(number, yes)
        return bool(self._accepting)

    def shutdown(self, *, graceful: bool = False) -> None:
        """Ends the server (manager) or this worker alone (worker).

        Graceful: the workers get TERM and finish within `graceful_timeout`; otherwise they are killed.
        """
        if self._role is Role.WORKER:
            self._leave(graceful=graceful)
        elif self._pool is None:
            super().shutdown(graceful=graceful)
        else:
            self._stopping = True
            self.stop_listen()
            self._pool.stop(graceful=graceful)

    def replace_worker(self) -> None:
        """Worker: leaves when its requests are answered; its manager forks another. Nothing elsewhere."""
        if self._role is Role.WORKER:
            self._leave(graceful=True)

    def _leave(self, *, graceful: bool) -> None:
        """Worker: takes no new work and ends with its last connection."""
        if not self._stopping:
            self._stopping = True
            engine = self.kernel.engine
            engine.leave_pool()
            self._drain(0.0 if engine.pool_stops else LINGER_S)
        if not graceful:
            self._cut()

    def _gone(self) -> None:
        """Manager: the last worker has ended. Worker: the last connection has."""
        if self._role is Role.WORKER:
            self.kernel.stop()
            return
        if self._pool is not None:
            self._pool.close()
            self._pool = None
        super()._gone()

    def _run_ends(self) -> None:
        """Manager: whatever ended the kernel, no worker outlives it."""
        if self._pool is not None:
            self._pool.kill()
            self._pool.close()
            self._pool = None
        super()._run_ends()

    # --- handlers ----------------------------------------------------------------------------------------

    def set_handlers(self, handlers: Iterable[Mapping[str, object]], *, replace: bool = False) -> bool:
        """Manager: replaces the handlers for new workers; `replace` also replaces those that run, one by one.

        Refused in a worker: returns False and logs. Raises OptionError, UnknownSession and UnknownEvent.
        """
        if self._refused_in_worker("SETHANDLERS"):
            return False
        super().set_handlers(handlers)
        self._replace(replace)
        return True

    def get_fork_handlers(self) -> dict[str, str]:
        """A copy of the fork handlers: alias -> event."""
        return dict(self.options.fork_handlers)

    def set_fork_handlers(self, fork_handlers: Mapping[str, str], *, replace: bool = False) -> bool:
        """Manager: what new workers call from now on; `replace` also replaces those that run, one by one.

        Refused in a worker, and when it is no mapping of alias to event: returns False and logs.
        """
        if self._refused_in_worker("SETFORKHANDLERS"):
            return False
        try:
            options = changed(self.options, {"fork_handlers": fork_handlers})
            self._expect_fork_handlers(options.fork_handlers)
        except (OptionError, UnknownSession, UnknownEvent) as error:
            logger.error("SETFORKHANDLERS: %s", error)
            return False
        self.options = options
        self._replace(replace)
        return True

    def _refused_in_worker(self, what: str) -> bool:
        if self._role is Role.WORKER:
            logger.error("%s is refused in a worker: its manager forks the others; call it there", what)
        return self._role is Role.WORKER

    def _replace(self, replace: bool) -> None:
        if replace and self._pool is not None:
            self._pool.replace()

    # --- the events of the same meaning ------------------------------------------------------------------

    @event("ISCHILD")
    def _on_is_child(self) -> bool:
        return self.is_child()

    @event("GETFORKHANDLERS")
    def _on_get_fork_handlers(self, session: str, name: str) -> None:
        self.kernel.post(session, name, self.get_fork_handlers())

    @event("SETFORKHANDLERS")
    def _on_set_fork_handlers(self, fork_handlers: Mapping[str, str], replace: bool = False) -> bool:
        return self.set_fork_handlers(fork_handlers, replace=replace)

    @event("SETHANDLERS")
    def _on_set_handlers(self, handlers: Iterable[Mapping[str, object]], replace: bool = False) -> bool:
        return self.set_handlers(handlers, replace=replace)

    @event("REGISTER")
    def _on_register(self, session: str, name: str) -> None:
        self.register(session, name)
