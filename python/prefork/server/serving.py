"""What one process does for the clients of a server: it accepts them, and ends on request.

Owns: the engine's listeners of this process, and the end of its work, in this order: no new clients, the last
connection, a startup that goes on, the calls of the application, the application itself. Always: `ended` is
called once, and not before all of that is over, or `graceful_timeout` is. It must know no other process.
"""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import logging
from asyncio import TimerHandle
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from prefork.server.redirect import Redirect
from prefork.server.startup import STARTUP_S

if TYPE_CHECKING:
    from prefork._engine import TlsConfig
    from prefork.config.options import ServerOptions
    from prefork.server.context import Context
    from prefork.server.service import Service
    from prefork.server.sockets import Listening, ListeningSockets

logger = logging.getLogger("prefork.server")

SHUTDOWN_S = 1.0
"""The time that an application has to shut down, even if its connections took all of `graceful_timeout`."""


class Phase(enum.Enum):
    OPEN = "it accepts clients, if it has a listener"
    PAUSED = "it has listeners, and accepts no client until it resumes"
    DRAINING = "it waits for its last connection"
    SHUTTING_DOWN = "it waits for the application"
    ENDED = "nothing is left to do"


class Serving:
    """Gives the requests of this process to `service`. `ended()` is called when all is over after `drain`."""

    def __init__(self, context: Context, service: Service, ended: Callable[[], object]) -> None:
        self._context = context
        self._service = service
        self._ended = ended
        self._phase = Phase.OPEN
        self._prepared: Listening | None = None
        self._listens: list[tuple[Any, ...]] = []
        # The engine's numbers of the listeners that are open, and of those that have connections.
        self._open: list[int] = []
        self._undrained: set[int] = set()
        self._ends_by_s = 0.0  # on the loop's clock
        self._startup: asyncio.Task[None] | None = None
        self._startup_ends_by_s = 0.0
        self._timeout: TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        """Whether `drain` has not been called."""
        return self._phase in (Phase.OPEN, Phase.PAUSED)

    @property
    def has_listeners(self) -> bool:
        """Whether clients are accepted here, or would be after `resume`."""
        return bool(self._open)

    # --- accepting ---------------------------------------------------------------------------------------

    def prepare(self, sockets: Listening, tls: TlsConfig | None) -> None:
        """Notes what `accept` gives to the engine. A manager calls it: then its workers share that."""
        if sockets is self._prepared:
            return
        self._prepared = sockets
        self._listens = [
            (listener.fileno(), *terms)
            for place, terms in self._terms(sockets, tls)
            for listener in place.sockets
        ]

    def accept(self) -> None:
        """Accepts clients from now on, as prepared. A listener has the same number in each worker of a pool.

        Raises OSError.
        """
        listen = self._context.kernel.engine.listen
        self._open += [listen(*arguments) for arguments in self._listens]
        self._undrained.update(self._open)

    def _terms(
        self, sockets: Listening, tls: TlsConfig | None
    ) -> Iterator[tuple[ListeningSockets, tuple[Service, ServerOptions, TlsConfig | None, Any]]]:
        """Each place, and what the engine is to know of those that come to it."""
        context = self._context
        for place in sockets.places:
            options, introduces, own = context.options, bool(place.endpoint.proxy), None
            if (place.port, introduces) != (options.port, options.proxy_protocol):
                options = dataclasses.replace(options, port=place.port, proxy_protocol=introduces)
            if place.place != context.places[0]:
                own = self._service.base_at(place.place)
            yield place, (self._service, options, tls if place.is_encrypted else None, own)
        if sockets.redirecting:
            redirect = Redirect(context.options.acme_dir, sockets.https_port)
            redirect.attach(context)
            for place in sockets.redirecting:
                options = dataclasses.replace(context.options, proxy_protocol=bool(place.endpoint.proxy))
                yield place, (redirect, options, None, None)

    def pause(self) -> bool:
        """Accepts no client until `resume`. False: it accepts none."""
        return self._turn(Phase.OPEN, Phase.PAUSED)

    def resume(self) -> bool:
        """Accepts clients again after `pause`. False: it was not called, or there is no listener any more."""
        return self._turn(Phase.PAUSED, Phase.OPEN)

    def _turn(self, former: Phase, phase: Phase) -> bool:
        if self._phase is not former or not self._open:
            return False
        self._phase = phase
        for number in self._open:
            self._context.kernel.engine.accepting(number, phase is Phase.OPEN)
        return True

    def close_listeners(self) -> None:
        """Accepts no client any more. Open connections stay open."""
        for number in self._open:
            self._context.kernel.engine.unlisten(number)
        self._open = []

    # --- ending ------------------------------------------------------------------------------------------

    def drain(self, idle_s: float, startup: asyncio.Task[None] | None = None, since_s: float = 0.0) -> None:
        """Ends with the last connection, and closes those that are open after `graceful_timeout`.

        Idle connections may send one more request within `idle_s`. A `startup` that goes on comes to its end
        first, or is cancelled after STARTUP_S. `since_s` of these times are gone already.
        """
        loop = self._context.kernel.loop
        graceful_s = max(self._context.options.graceful_timeout - since_s, 0)
        self._startup, self._startup_ends_by_s = startup, loop.time() + min(graceful_s, STARTUP_S - since_s)
        self._phase = Phase.DRAINING
        self._ends_by_s = loop.time() + graceful_s
        self._timeout = loop.call_later(graceful_s, self.abort)
        self.close_listeners()
        for number in list(self._undrained):
            self._context.kernel.engine.drain(number, idle_s, partial(self._drained, number))
        if not self._undrained:
            self._shut_down()

    def abort(self) -> None:
        """Closes every connection at once, and cancels the calls of the application."""
        if self._phase is Phase.ENDED:
            return
        engine = self._context.kernel.engine
        if self._undrained and engine.connections:
            logger.warning("closing %d connections that did not end", engine.connections)
        for number in list(self._undrained):
            engine.abort(number)
        self._ends_by_s = min(self._ends_by_s, self._context.kernel.loop.time())
        if calls := list(self._service.calls):
            logger.warning("cancelling %d calls of the application that did not end", len(calls))
        for call in calls:
            call.cancel()
        self._cancel_startup()

    def _drained(self, number: int) -> None:
        """The last connection of one listener is gone."""
        self._undrained.discard(number)
        if not self._undrained:
            self._shut_down()

    def _shut_down(self) -> None:
        """The last connection is gone: what the application began is ended."""
        self._phase = Phase.SHUTTING_DOWN
        context = self._context
        if self._startup is not None or self._service.calls or self._service.shutdown is not None:
            context.kernel.spawn(self._end_application(), session=context.session, event="shutdown", args=())
        else:
            self._end()

    async def _end_application(self) -> None:
        """Calls of the application may outlast their connections; when they have ended, it may shut down."""
        service = self._service
        try:
            if self._startup is not None:
                await self._end_startup(self._startup)
            if service.calls:  # those that last too long are cancelled by `abort`
                left_s = max(self.left_s, 0) + SHUTDOWN_S / 2
                _, pending = await asyncio.wait(service.calls, timeout=left_s)
                if pending:
                    logger.warning("%d cancelled calls did not end in time: not waiting", len(pending))
            if service.shutdown is not None:
                await asyncio.wait_for(service.shutdown(), max(self.left_s, SHUTDOWN_S))
        except TimeoutError:
            logger.error("the application did not shut down within graceful_timeout: not waiting for it")
        finally:
            self._end()

    async def _end_startup(self, startup: asyncio.Task[None]) -> None:
        """What has begun comes to its end, or is cancelled when its time is over."""
        left_s = max(self._startup_ends_by_s - self._context.kernel.loop.time(), 0)
        await asyncio.wait({startup}, timeout=left_s)
        self._cancel_startup()
        _, pending = await asyncio.wait({startup}, timeout=SHUTDOWN_S)
        if pending:
            logger.warning("the startup did not end after it was cancelled: not waiting for it")

    def _cancel_startup(self) -> None:
        """Once: a second time would cut short what it does about the first."""
        if (startup := self._startup) is not None and not (startup.done() or startup.cancelling()):
            logger.warning("cancelling the startup of the application, which has not come to its end")
            startup.cancel()

    @property
    def left_s(self) -> float:
        """What is left of `graceful_timeout` after `drain`."""
        return self._ends_by_s - self._context.kernel.loop.time()

    def _end(self) -> None:
        self._phase = Phase.ENDED
        if self._timeout is not None:
            self._timeout.cancel()
        self._ended()
