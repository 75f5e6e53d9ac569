"""A request's way to a handler, and from what that did to an answer.

It owns the routes. Always: a request ends in an answer or a closed connection, whatever a handler does; its
exceptions are logged here, and the worker lives. It must know no sockets and no pool.
"""

from __future__ import annotations

import inspect
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from prefork.errors import AlreadyAnswered, ConnectionGone, InvalidResponse, UnknownEvent, UnknownSession
from prefork.server.routes import Route, fill, parse
from prefork.server.service import Service, logger
from prefork.server.streaming import pump

if TYPE_CHECKING:
    from prefork._engine import Request, Response
    from prefork.server.server import HTTPServer


class Handlers(Service):
    """Gives each request to the first handler whose regex is found in its path."""

    about = "server of events"

    def __init__(self, server: HTTPServer) -> None:
        super().__init__(server)
        self.routes = parse(server.options.handlers)

    # --- requests ----------------------------------------------------------------------------------------

    def request(self, request: Request, response: Response) -> None:
        """A whole request."""
        if self.head(request, response):
            self._run(response.handler, request, response)

    def head(self, request: Request, response: Response) -> bool:
        """A request whose body is still to come: wanted if there is a handler for it."""
        self.announce(request)
        path = request.path
        for route in self.routes:
            match = route.search(path)
            if match is not None:
                request.match = match
                response.handler = route
                return True
        response.code = 404
        response.content = "404 Not Found"
        response.done()
        return False

    def body(self, request: Request, response: Response) -> None:
        """The body that `head` wanted has come."""
        self._run(response.handler, request, response)

    def malformed(self, response: Response, status: int, reason: str, remote_ip: str) -> bool:
        """Not a request. True: a handler for such will answer."""
        super().malformed(response, status, reason, remote_ip)
        for route in self.routes:
            if route.malformed and route.search("") is not None:
                response.code = status
                response.handler = route
                self._run(route, None, response)
                return True
        return False

    # --- answers -----------------------------------------------------------------------------------------

    def _run(self, route: Route, request: Request | None, response: Response) -> None:
        try:
            result = route.call(self.server.kernel, request, response)
            if result is None and not route.answers:
                return
            work = self._conclude(route, response, result)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # a stray CancelledError must not stop the loop either
            self._failed(route, request, response, error)
            return
        if work is not None:
            work = self._watch(work, route, request, response)
            task = self.server.kernel.spawn(
                work, session=self.server, event=str(route), args=(request, response)
            )
            self.keep(task)
            if self.server.options.request_timeout:
                response.when_overdue(task.cancel)

    def _conclude(self, route: Route, response: Response, result: Any) -> Coroutine[Any, Any, None] | None:
        """Answers with what the handler returned. Work that takes time is handed back."""
        if inspect.iscoroutine(result):
            return self._await(route, response, result)
        if not route.answers:
            return None  # an event answers by itself
        pieces = fill(response, result)
        if pieces is not None:
            return pump(response, pieces)
        if result is not None or not (response.answered or response.streams):
            response.done()
        return None

    async def _await(self, route: Route, response: Response, result: Coroutine[Any, Any, Any]) -> None:
        work = self._conclude(route, response, await result)
        if work is not None:
            await work

    async def _watch(
        self, work: Coroutine[Any, Any, None], route: Route, request: Request | None, response: Response
    ) -> None:
        try:
            await work
        except Exception as error:
            self._failed(route, request, response, error)

    def _failed(
        self, route: Route, request: Request | None, response: Response, error: BaseException
    ) -> None:
        """A handler raised: the client gets a 500, the log the traceback."""
        if isinstance(error, ConnectionGone):
            return  # the error handler heard it when the connection closed
        if isinstance(error, InvalidResponse | UnknownSession | UnknownEvent | AlreadyAnswered):
            logger.error("handler %s: %s", route, error)  # it says all: no traceback needed
        else:
            self.server.kernel.report(route.session, route.event, (request, response, route.dir), error)
        remote_ip = None if request is None else request.remote_ip
        self.tell(self.server.options.error_handler, f"handler {route} failed: {error!r}", remote_ip)
        self.give_up(response)
