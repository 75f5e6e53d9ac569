"""The lifespan of an ASGI application in one process (ASGI 3, the lifespan scope).

Owns the one call of the application that lasts as long as the process serves, and the `state` it fills.
Always: `startup` ends with an application that may be called, or raises; `shutdown` ends, however that call
did, and logs what it raised or reported. What the application says is not shortened: the reason of a failure
may be anywhere in a traceback, or in a part of an exception group.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from prefork.errors import LifespanFailed
from prefork.logs.escaping import show
from prefork.logs.logger import Lines
from prefork.server.startup import StartupInterrupted

if TYPE_CHECKING:
    from prefork.hosting.asgi_types import Application, Message

logger = logging.getLogger("prefork.server")

EXPECTED = frozenset(
    f"lifespan.{phase}.{outcome}" for phase in ("startup", "shutdown") for outcome in ("complete", "failed")
)


CANCELLED_S = 0.5
"""The time that an application has for what it does when its startup is cancelled."""


class Lifespan:
    """`mode` is `auto`, `on` or `off`: with `auto` an application may do without."""

    def __init__(self, application: Application, mode: str, name: str) -> None:
        self.application = application
        self.mode = mode
        self.name = name
        self.state: dict[str, Any] = {}
        self._call: asyncio.Task[None] | None = None

    async def startup(self) -> None:
        """Starts the application up. Raises LifespanFailed if it reports a failure.

        With `on` it also raises what the application raises, and LifespanFailed if it has no lifespan.
        """
        if self.mode == "off" or self._call is not None:
            return
        loop = asyncio.get_running_loop()
        self._started: asyncio.Future[None] = loop.create_future()
        self._stopping: asyncio.Future[None] = loop.create_future()
        self._stopped: asyncio.Future[None] = loop.create_future()
        self._received_startup = False
        self._call = call = loop.create_task(self._run())
        call.add_done_callback(self._returned)
        await asyncio.wait({self._started, call}, return_when=asyncio.FIRST_COMPLETED)
        if self._call is None:
            raise asyncio.CancelledError("it was shut down before it had started")
        if self._started.done():
            self._started.result()
        else:
            self._do_without(call)

    async def shutdown(self) -> None:
        """Shuts the application down."""
        call = self._call
        if call is None:
            return
        self._stopping.set_result(None)
        try:
            if self._started.done():
                await asyncio.wait({self._stopped, call}, return_when=asyncio.FIRST_COMPLETED)
            else:  # its startup was cut short: what it does about that may take a moment
                self._call = None  # so `startup` knows why it ends
                call.cancel()
                await asyncio.wait({call}, timeout=CANCELLED_S)
        finally:
            call.cancel()
            self._call = None

    def _do_without(self, call: asyncio.Task[None]) -> None:
        """The call has ended before the startup was complete."""
        self._call = None
        error = _exception_of(call)
        if isinstance(error, StartupInterrupted):
            raise error
        if self.mode == "on":
            if error is not None and not isinstance(error, Exception):  # it would end more than the startup
                raise LifespanFailed(f"{self.name} raised {error!r} in its lifespan") from error
            raise error or LifespanFailed(
                f"{self.name} returned before lifespan.startup.complete; if it has none, use --lifespan off"
            )
        if isinstance(error, LifespanFailed):
            raise error
        if error is not None and self._received_startup:  # it supports lifespan
            text = "%s failed to start, and is served all the same (--lifespan auto): %r"
            logger.warning(text, self.name, error, exc_info=error)
        else:
            reason = "it returned" if error is None else show(error, repr)
            logger.debug("%s has no lifespan: %s", self.name, reason)

    def _returned(self, call: asyncio.Task[None]) -> None:
        """The call has ended. If that is before the startup was complete, `startup` judges it."""
        error = _exception_of(call)
        started = self._started.done() and self._started.exception() is None
        if error is not None and started and not self._stopped.done() and not call.cancelled():
            logger.error("%s: its lifespan failed: %r", self.name, error, exc_info=error)

    async def _run(self) -> None:
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        try:
            await self.application(scope, self._receive, self._send)
        except (SystemExit, KeyboardInterrupt) as error:  # the loop would let them through
            raise LifespanFailed(f"{self.name} raised {show(error, repr)} in its lifespan") from error

    async def _receive(self) -> Message:
        if not self._received_startup:
            self._received_startup = True
            return {"type": "lifespan.startup"}
        await asyncio.shield(self._stopping)
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        settled = self._started if kind.startswith("lifespan.startup.") else self._stopped
        in_time = settled is self._started or self._stopping.done()
        if kind not in EXPECTED or settled.done() or not in_time:
            raise RuntimeError(f"the application sent {kind} in its lifespan, where it has no place")
        if kind == "lifespan.startup.failed":
            text = f"{self.name} failed to start:{_reason(message)}"
            self._started.set_exception(LifespanFailed(text))
            return
        if kind == "lifespan.shutdown.failed":
            logger.error("%s failed to shut down:%s", self.name, Lines(_reason(message)))
        settled.set_result(None)


def _exception_of(call: asyncio.Task[None]) -> BaseException | None:
    """What a call raised. asyncio logs an exception that is never retrieved."""
    return asyncio.CancelledError("it was cancelled") if call.cancelled() else call.exception()


def _reason(message: Message) -> str:
    """The application's whole text. Frameworks send a traceback, which begins on a line of its own."""
    text = str(message.get("message") or "").strip()
    if not text:
        return " it gave no message"
    return f"\n{text}" if "\n" in text else f" {text}"
