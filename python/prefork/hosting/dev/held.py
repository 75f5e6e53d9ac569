"""An ASGI application as `prefork dev` calls it: what it hides of its errors is shown.

A framework responds to an exception with a 500 of its own and raises it afterwards, so such a response waits
until the call has ended. An application that does not start up is served all the same: each request raises
what it has raised.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from prefork.errors import LifespanFailed
from prefork.logs.logger import Lines

if TYPE_CHECKING:
    from types import TracebackType

    from prefork.hosting.asgi_types import Application, Message, Receive, Scope, Send

logger = logging.getLogger("prefork.server")

MOST_HELD = 16
"""Messages of a response that are held. A longer one is no error page of a framework."""


class Held:
    """Called as the application is."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self.__name__ = getattr(application, "__name__", type(application).__name__)
        self._failure: BaseException | None = None
        """Why it has not started up."""
        self._raised_at: TracebackType | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        elif self._failure is not None:
            raise self._failure.with_traceback(self._raised_at)
        elif scope["type"] == "http":
            await self._respond(scope, receive, send)
        else:
            await self._application(scope, receive, send)

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        held: list[Message] = []
        holds = False

        async def hold(message: Message) -> None:
            nonlocal holds
            if message["type"] == "http.response.start":
                holds = message["status"] >= 500
            if not holds:
                await send(message)
                return
            held.append(dict(message))
            if len(held) > MOST_HELD:
                holds = False
                await release()

        async def release() -> None:
            while held:
                await send(held.pop(0))

        await self._application(scope, receive, hold)
        await release()

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def note(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed":
                self._failure = LifespanFailed(message.get("message") or "it gave no reason")
                message = {"type": "lifespan.startup.complete"}
            await send(message)

        try:
            await self._application(scope, receive, note)
        except Exception as error:
            if self._failure is None:
                raise
            self._failure = error
        if self._failure is not None:
            self._raised_at = self._failure.__traceback__
            logger.error("%s did not start up: %s", self.__name__, Lines(self._failure))
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
