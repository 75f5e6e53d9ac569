"""Finds the handler of a request, calls it, and makes a response of what it returns.

Owns the routes. Always: an exception of a handler is logged here, and the worker goes on. It must know no
sockets and no pool.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Coroutine, Iterable, Mapping
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

from prefork.errors import AlreadyAnswered, ConnectionGone, InvalidResponse, UnknownEvent, UnknownSession
from prefork.logs.escaping import show
from prefork.logs.logger import concerning
from prefork.server.routes import Route, fill, parse
from prefork.server.service import Service
from prefork.server.streaming import pump

if TYPE_CHECKING:
    from prefork._engine import Request, Response
    from prefork.server.context import Context
    from prefork.server.hooks import RequestEnded

logger = logging.getLogger("prefork.server")


class Handlers(Service):
    """Gives each request to the first handler whose regex is found in its path. Raises as `parse` does."""

    kind = "server of events"

    def __init__(self, handlers: Iterable[Mapping[str, object]]) -> None:
        super().__init__()
        self.routes = parse(handlers)
        self._keeps_contexts = False

    def attach(self, context: Context) -> None:
        super().attach(context)
        self._keeps_contexts = context.options.log2_handler is not None

    # --- requests ----------------------------------------------------------------------------------------

    def request(self, request: Request, response: Response) -> None:
        """A whole request."""
        if self.head(request, response):
            self._run(response.handler, request, response)

    def head(self, request: Request, response: Response) -> bool:
        """A request whose body is still to come. The body is received if there is a handler."""
        if self.context.options.log_handler is not None:  # here, not in the method: a call takes time
            self.request_started(request)
        path = request.path
        for route in self.routes:
            match = route.search(self._raw(request) if route.raw else path)
            if match is not None:
                request.match = match
                response.handler = route
                return True
        response.code = 404
        response.content = "404 Not Found"
        response.done()
        return False

    def _raw(self, request: Request) -> str:
        """The path as it came, not decoded: with `proxy_mode` the whole target, which is never decoded."""
        return request.path if self.context.options.proxy_mode else request.raw_path.decode("latin-1")

    def body(self, request: Request, response: Response) -> None:
        """The body is complete, after `head` returned True."""
        self._run(response.handler, request, response)

    def malformed(self, response: Response, status: int, reason: str, remote_ip: str) -> bool:
        """What the client sent is no request. True: a handler for that responds."""
        super().malformed(response, status, reason, remote_ip)
        for route in self.routes:
            if route.malformed and route.search("") is not None:
                response.code = status
                response.handler = route
                self._run(route, None, response)
                return True
        return False

    @property
    def request_ended(self) -> RequestEnded | None:
        """Called after each response; None if no hook or observer is set."""
        ended = super().request_ended
        return partial(self._end, ended) if ended is not None and self._keeps_contexts else ended

    def _end(self, ended: RequestEnded, request: Request | None, response: Response) -> None:
        # In a task, or while the handler runs, the context is that of the request already.
        if response.context is None or asyncio.current_task(self.context.kernel.loop) is not None:
            ended(request, response)
        else:
            response.context.run(ended, request, response)

    # --- responses ---------------------------------------------------------------------------------------

    def _run(self, route: Route, request: Request | None, response: Response) -> None:
        context = self.context
        try:
            result = route.call(context.kernel, request, response)
            if self._keeps_contexts:
                self._keep_context(response)
            if result is None and not route.responds:
                return
            work = self._respond(route, response, result)
        except BaseException as error:  # SystemExit too: one request must not end the process
            self._failed(route, request, response, error)
            return
        if work is not None:
            work = self._report_errors(work, route, request, response)
            args = (request, response)
            task = context.kernel.spawn(work, session=context.session, event=str(route), args=args)
            self.track(task, response)

    def _keep_context(self, response: Response) -> None:
        """The response may be sent by an event that the handler has posted, which is another call."""
        if not response.answered:
            response.context = copy_context()

    def _respond(self, route: Route, response: Response, result: Any) -> Coroutine[Any, Any, None] | None:
        """Responds with what the handler returned. Work that takes time is returned."""
        if inspect.iscoroutine(result):
            return self._await(route, response, result)
        if not route.responds:
            return None  # an event responds by itself
        parts = fill(response, result)
        if parts is not None:
            return pump(response, parts)
        if result is not None or not (response.answered or response.streams):
            response.done()
        return None

    async def _await(self, route: Route, response: Response, result: Coroutine[Any, Any, Any]) -> None:
        work = self._respond(route, response, await result)
        if work is not None:
            await work

    async def _report_errors(
        self, work: Coroutine[Any, Any, None], route: Route, request: Request | None, response: Response
    ) -> None:
        try:
            await work
            if self._keeps_contexts:
                self._keep_context(response)
        except BaseException as error:
            # A cancelled task: the client has left, or has got a 504. Or the handler itself raised it.
            is_cancelled = isinstance(error, asyncio.CancelledError | GeneratorExit)
            if not is_cancelled or response.owed:
                self._failed(route, request, response, error)
            if is_cancelled:
                self._end_report(response)
                raise

    def _failed(
        self, route: Route, request: Request | None, response: Response, error: BaseException
    ) -> None:
        """A handler raised: the client gets a 500, the log the traceback."""
        if isinstance(error, ConnectionGone):
            self._end_report(response)  # the error hook was called when the connection closed
            return
        self.abort(response)
        about = None if request is None else concerning(request)
        if isinstance(error, InvalidResponse | UnknownSession | UnknownEvent | AlreadyAnswered):
            logger.error("handler %s: %s", route, error, extra=about)  # the message is enough: no traceback
        else:
            kernel = self.context.kernel
            session = kernel.find(route.session) or str(route.session)
            kernel.report(session, route.event, (request, response, route.dir), error, about)
        remote_ip = None if request is None else request.remote_ip
        self.context.hooks.error(f"handler {route} failed: {show(error, repr)}", remote_ip)

    def _end_report(self, response: Response) -> None:
        """The handler was broken off: the log is told now, not when the garbage of the traceback is freed."""
        if not response.owed:
            response.report()
