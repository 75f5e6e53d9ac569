"""What a server does in one process, from the moment its sockets are open.

A process plays one role, and no method asks which: what differs by process is a method of `Role`.
`Standalone` is the role of a server without a pool; a pool has others.
"""

from __future__ import annotations

import logging
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from prefork.errors import PreforkError
from prefork.logs.escaping import show
from prefork.logs.logger import Lines
from prefork.server.end_limit import EndLimit
from prefork.server.serving import Serving
from prefork.server.startup import StartupInterrupted, StartupLimit

if TYPE_CHECKING:
    import asyncio

    from prefork.server.context import Context
    from prefork.server.listener import Listener
    from prefork.server.service import Service

logger = logging.getLogger("prefork.server")

BOOT_FAILED = 3
"""Exit status of a process that failed to start, for example because its application did."""

UNUSED_SIGNALS: dict[int, str] = {
    signal.SIGUSR1: "there is no access log",
    signal.SIGUSR2: "no server takes over in place; new code takes a restart",
    signal.SIGTTIN: "there is no pool",
    signal.SIGTTOU: "there is no pool",
}
"""Signals that mean something to gunicorn, and what is here instead. By default they end a process."""


class Role(ABC):
    """The methods mean what those of `HTTPServer` do."""

    unused_signals: Mapping[int, str] = UNUSED_SIGNALS

    @property
    def status(self) -> str:
        """What it does now, in one line, for the service manager."""
        return "serving"

    @property
    def is_reloading(self) -> bool:
        """Whether a reload is under way."""
        return False

    def signals_bound(self) -> None:  # noqa: B027  (of two roles, one has something to do)
        """The signals that end the process are bound, before `begin`."""

    @abstractmethod
    def begin(self) -> None:
        """The sockets are open: serves, or spawns processes that serve."""

    @abstractmethod
    def start_listen(self) -> bool: ...

    @abstractmethod
    def stop_listen(self) -> bool: ...

    @abstractmethod
    def shutdown(self, *, graceful: bool) -> None: ...

    @abstractmethod
    def replace_process(self) -> None:
        """Worker: finishes its requests and ends, and another takes its place. Elsewhere: nothing."""

    @abstractmethod
    def reopen_logs(self) -> None:
        """The file of the access log was renamed: each process that writes it opens it again."""

    @abstractmethod
    def run_ended(self) -> None:
        """The kernel stops: nothing listens any more."""

    @abstractmethod
    def abandon(self) -> None:
        """The application forked this process, which does not serve: closes the copies of descriptors."""

    @abstractmethod
    def discard(self) -> None:
        """This process was forked to be a worker of another server, and does not use its copy of this one."""


class NotRunning(Role):
    """The kernel does not run yet."""

    def begin(self) -> None: ...

    def start_listen(self) -> bool:
        raise RuntimeError("a server listens only while its kernel runs")

    def stop_listen(self) -> bool:
        return False

    def shutdown(self, *, graceful: bool) -> None:  # noqa: ARG002
        raise RuntimeError("a server can be shut down only while its kernel runs")

    def replace_process(self) -> None: ...

    def reopen_logs(self) -> None: ...

    def run_ended(self) -> None: ...

    def abandon(self) -> None: ...

    def discard(self) -> None: ...


class Standalone(Role):
    """This process listens, serves and ends. `ended()` is called when the last of its work is over."""

    def __init__(
        self, context: Context, service: Service, listener: Listener, ended: Callable[[], object]
    ) -> None:
        self._context = context
        self._service = service
        self._listener = listener
        self._ended = ended
        self._serving = Serving(context, service, self._end)
        self._limit = StartupLimit(context.options.graceful_timeout)
        self._end_limit: EndLimit | None = None
        self._startup: asyncio.Task[None] | None = None
        self._is_told = False

    def signals_bound(self) -> None:
        if self._service.startup is not None:
            for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
                self._context.kernel.tell_early(signum, partial(self._told, now=signum == signal.SIGQUIT))

    def begin(self) -> None:
        if self._service.startup is None:
            self._accept()
            return
        work = self._start_up(self._service.startup)
        kernel = self._context.kernel
        self._startup = kernel.spawn(work, session=self._context.session, event="startup", args=())

    def _told(self, *, now: bool) -> None:
        """A signal to end has come, in the middle of other code: the loop hears of it later."""
        self._limit.begin(now=now or self._is_told)
        self._is_told = True

    async def _start_up(self, startup: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            if not self._is_told:
                await startup()
        except (Exception, StartupInterrupted) as error:
            if self._is_told or not self._serving.is_open:
                self._limit.log(error)
                return
            text, traceback = Lines(show(error)), not isinstance(error, PreforkError)
            logger.error("the application failed to start: %s", text, exc_info=traceback)
            raise SystemExit(BOOT_FAILED) from None
        finally:
            self._limit.end()
        if self._serving.is_open and not self._is_told:
            self._accept()

    def _accept(self) -> None:
        sockets = self._listener.sockets
        assert sockets is not None
        if self._context.options.signals:
            for signum in (signal.SIGTERM, signal.SIGINT):
                self._context.kernel.share_signal(signum)
            self._limit_end()
        self._serving.prepare(sockets, self._listener.tls)
        self._serving.accept()
        self._listener.watch()
        self._context.hooks.serving(sockets)

    def _limit_end(self) -> None:
        """Once it has accepted, no call of the application keeps the process from ending."""
        if self._end_limit is not None:
            return
        self._end_limit = limit = EndLimit(self._context.options.graceful_timeout)
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            self._context.kernel.tell_each(signum, lambda signum: limit.told(now=signum == signal.SIGQUIT))

    def _end(self) -> None:
        self._end_limits()
        self._ended()

    def _end_limits(self) -> None:
        self._limit.end()
        if self._end_limit is not None:
            self._end_limit.end()

    def start_listen(self) -> bool:
        return self._serving.is_open and self._listener.reopen(self.begin)

    def stop_listen(self) -> bool:
        self._serving.close_listeners()
        return self._listener.close()

    def shutdown(self, *, graceful: bool) -> None:
        if self._serving.is_open:
            self.stop_listen()
            since_s = 0.0 if self._end_limit is None else self._end_limit.since_s
            self._serving.drain(0.0, self._startup, max(self._limit.since_s, since_s))
        if not graceful:
            self._serving.abort()

    def replace_process(self) -> None: ...

    def reopen_logs(self) -> None:
        self._context.kernel.engine.reopen_log()

    def run_ended(self) -> None:
        self.stop_listen()
        self._end_limits()

    def abandon(self) -> None:
        self._listener.abandon()

    def discard(self) -> None:
        self._listener.close()
        self._end()
