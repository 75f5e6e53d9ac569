"""ASGI applications (ASGI 3, spec 2.5).

Owns the base of every scope and what follows from the end of a call: a response, or a line in the log. The
call itself and its messages are the engine's (`ASGICaller`, `HTTPExchange`). Always: when a call ends, its
request has a response or its connection is closed. A call is an ordinary asyncio task.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from prefork._engine import ASGICaller
from prefork.hosting.disconnects import comes_of_disconnect
from prefork.hosting.interface import returns_coroutine
from prefork.hosting.lifespan import Lifespan
from prefork.hosting.websocket import converse
from prefork.logs.logger import concerning
from prefork.server.service import Service

if TYPE_CHECKING:
    from prefork._engine import HTTPExchange, Request, Response
    from prefork.config.options import AppOptions
    from prefork.hosting.asgi_types import Application, Receive, Scope, Send
    from prefork.server.service import Outcome
    from prefork.server.sockets import Place

logger = logging.getLogger("prefork.server")


class ASGIService(Service):
    """Calls an ASGI application for each request, in a task of its own."""

    kind = "ASGI application"
    how_to_respond = "send http.response.start and http.response.body until more_body is false"
    app_options = Service.app_options | {
        *("root_path", "lifespan", "loop", "pathsend", "drain_streams"),
        *("preload", "warm", "mold_ready", "ready_path"),
        *("ws_max_message", "ws_ping_interval", "ws_ping_timeout", "ws_deflate"),
    }
    # `scope["server"]` is an address, and bodies are passed on as they come.
    unused_options = frozenset({"hostname", "spool_above", "spool_dir"})
    adds_content_type = False
    inherits_atexit = True
    pulls_bodies = True
    takes_websockets = True
    concurrency = 64

    def __init__(self, application: Application, options: AppOptions) -> None:
        super().__init__()
        self.application = application
        self.options = options
        self.name = f"application {getattr(application, '__name__', type(application).__name__)}"
        self.root_path = options.root_path
        self.lifespan = Lifespan(application, options.lifespan, self.name)
        self.base: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.5"},
            "http_version": "1.1",
            "scheme": "http",
            "root_path": options.root_path,
            # These and the state: replacing a key costs less than inserting it.
            "method": "GET",
            "path": "",
            "raw_path": b"",
            "query_string": b"",
            "client": None,
            "headers": [],
            "state": {},
            "server": None,
            "extensions": {
                "http.response.early_hint": {},
                "http.response.trailers": {},
            },
        }
        if options.pathsend:
            self.base["extensions"]["http.response.pathsend"] = {}
        self._call: Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]] = (
            application if returns_coroutine(application) else self._await  # type: ignore[assignment]
        )

    def base_at(self, place: Place) -> dict[str, Any]:
        """Its scopes name the address that the client has come to."""
        return {"server": tuple(place)}

    async def startup(self) -> None:
        """Starts the application up."""
        context = self.context
        self.base["server"] = (context.address, context.port)
        await self.lifespan.startup()
        self.base["state"] = self.lifespan.state
        call = ASGICaller(
            self._call,
            self.base,
            self.root_path,
            context.kernel.loop,
            converse=partial(converse, self, self.application, self.options),
            waits=self._waits,
            ended=self._ended,
            failed=self._failed,
            pathsend=self.options.pathsend,
            drain_streams=self.options.drain_streams,
        )
        is_observed = context.options.log_handler is not None
        self.request = partial(self._observe, call) if is_observed else call
        if context.kernel.loop.get_debug():
            self.request = partial(self._time, self.request)
        if self.options.ready_path is not None:
            from prefork.hosting.readiness import check_asgi  # here, not in the memory of every worker

            await check_asgi(self.application, self.base, self.options, self.shutdown)

    def rest(self) -> None:
        super().rest()
        self.base["state"] = {}
        self.lifespan = Lifespan(self.application, self.options.lifespan, self.name)

    def warm(self) -> Iterator[Outcome]:
        """Mold: requests pages on a loop of their own, with a lifespan around all of them."""
        from prefork.hosting.throwaway import asgi_outcomes  # as in `startup`

        return asgi_outcomes(self.application, self.base, self.options, self.name)

    async def shutdown(self) -> None:
        """Shuts the application down."""
        await self.lifespan.shutdown()

    def _observe(self, call: ASGICaller, request: Request, response: Response) -> None:
        self.request_started(request)
        call(request, response)

    def _time(self, call: Callable[[Request, Response], None], request: Request, response: Response) -> None:
        """Names what holds the loop for long. asyncio in debug mode does so for its callbacks, and the first
        step of a request is none.
        """
        loop = self.context.kernel.loop
        began_s = loop.time()
        call(request, response)
        took_s = loop.time() - began_s
        if took_s >= loop.slow_callback_duration:
            logging.getLogger("asyncio").warning(
                "Executing the first step of %s %s took %.3f seconds", request.method, request.path, took_s
            )

    async def _await(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Calls an application that is no coroutine function, in the task as well."""
        await self.application(scope, receive, send)

    # --- the end of a call -------------------------------------------------------------------------------

    def _waits(
        self, request: Request, response: Response, exchange: HTTPExchange, task: asyncio.Task[None]
    ) -> None:
        """It has not ended in the turn of its request."""
        self.track(task, response)
        task.add_done_callback(partial(self._ended, request, response, exchange))

    def _ended(
        self, request: Request, response: Response, exchange: HTTPExchange, task: asyncio.Task[None]
    ) -> None:
        error = asyncio.CancelledError("it was cancelled") if task.cancelled() else task.exception()
        if error is not None:
            self._failed(request, response, exchange, error)
        elif not exchange.over:
            self._returned_early(request, response, exchange)

    def _failed(
        self, request: Request, response: Response, exchange: HTTPExchange, error: BaseException
    ) -> None:
        """It raised: the client gets a 500, or a closed connection in the middle of its response."""
        is_quiet = exchange.dismissed and comes_of_disconnect(error)
        self._break_off(response, exchange, error, request)
        if is_quiet:
            about = concerning(request)
            logger.debug("%s %s: the client left: %r", request.method, request.path, error, extra=about)
        else:
            self.failed(f"{request.method} {request.path}", error, request)

    def _returned_early(self, request: Request, response: Response, exchange: HTTPExchange) -> None:
        """It returned, and the response or the rest of it is missing. It may do so after http.disconnect."""
        is_quiet = exchange.dismissed
        what = "in the middle of its response" if response.streaming else "without a response"
        why = self._misunderstood(response, exchange)
        self._break_off(response, exchange)
        if not is_quiet:
            text = f"{self.name} returned {what} to {request.method} {request.path}{why}"
            self.context.hooks.application_error(text, request.remote_ip, about=concerning(request))

    def _break_off(
        self,
        response: Response,
        exchange: HTTPExchange,
        error: BaseException | None = None,
        request: Request | None = None,
    ) -> None:
        if not exchange.gone:
            self.abort(response, error, request)
        response.report()  # now: the exception may refer to it for long
        exchange.abort()

    def _misunderstood(self, response: Response, exchange: HTTPExchange) -> str:
        """Which message was not understood, for the log; empty if there may have been none."""
        if exchange.refused is not None:
            return f": {exchange.refused}"
        if self.options.pathsend and not response.streaming:
            return ": http.response.pathsend may have been lost in a middleware; unset the option pathsend"
        return ""
