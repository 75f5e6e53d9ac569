"""A request's way through Python: to its handler, and from what that did to an answer.

It owns the routes, and it is what the engine calls in its turn of the loop, from `request` to `empty`.
Always: a request ends in an answer or a closed connection, whatever a handler or a hook does; their
exceptions are logged here, and the worker lives. It must know no sockets and no pool.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from understudy.errors import AlreadyAnswered, ConnectionGone, InvalidResponse, UnknownEvent, UnknownSession
from understudy.routes import Route, fill, parse
from understudy.streaming import pump

if TYPE_CHECKING:
    from understudy._engine import Request, Response
    from understudy.server import HTTPServer
    from understudy.values import Hook

logger = logging.getLogger("understudy.server")


class Service:
    """What one server does about its requests. `empty` is called when the last connection has drained."""

    def __init__(self, server: HTTPServer, empty: Callable[[], None]) -> None:
        self.server = server
        self.routes = parse(server.options.handlers)
        self.empty = empty

    # --- requests ----------------------------------------------------------------------------------------

    def request(self, request: Request, response: Response) -> None:
        """A whole request."""
        if self.head(request, response):
            self._run(response.handler, request, response)

    def head(self, request: Request, response: Response) -> bool:
        """A request whose body is still to come: wanted if there is a handler for it."""
        if self.server.options.log_handler is not None:
            self.tell(self.server.options.log_handler, request, request.remote_ip)
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
        self.tell(self.server.options.log_handler, None, remote_ip)
        self.trouble(f"{status} {reason}", remote_ip)
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
            self.server.kernel.spawn(work, session=self.server, event=str(route), args=(request, response))

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
        self._give_up(response)

    def _give_up(self, response: Response) -> None:
        """Ends what its handler will not: with a 500 if that can be said, or else by closing."""
        if response.streaming:
            response.close()
        elif not response.answered:
            response.headers = {}
            response.code = 500
            response.content = "500 Internal Server Error"
            response.done()

    # --- those who want to know --------------------------------------------------------------------------

    @property
    def answered(self) -> Callable[[Request | None, Response], None] | None:
        """Called after each answer, if anybody wants to know when the server begins."""
        options = self.server.options
        return (
            self._tell_answered if options.log2_handler or options.debug or self.server.on_answered else None
        )

    def _tell_answered(self, request: Request | None, response: Response) -> None:
        logger.debug("%s -> %s by %s", request, response.code, response.handler)
        self.tell(self.server.options.log2_handler, request, response)
        for callback in self.server.on_answered:
            self.tell(callback, request, response)

    def orphaned(self, handler: Route | None, remote_ip: str) -> None:
        """A response was dropped without an answer; the client has got a 500."""
        text = f"handler {handler} dropped its response unanswered; it must call done() or close()"
        logger.error("%s", text)
        self.tell(self.server.options.error_handler, text, remote_ip)

    def trouble(self, text: str, remote_ip: str | None) -> None:
        """Something went wrong: for one client, or (without an address) for the server."""
        if remote_ip is None:
            logger.warning("%s", text)
        else:
            logger.info("client %s: %s", remote_ip, text)
        self.tell(self.server.options.error_handler, text, remote_ip)

    def tell(self, hook: Hook, *args: object) -> None:
        """Calls a hook. One that fails is logged and harms nobody."""
        if hook is None:
            return
        kernel = self.server.kernel
        if callable(hook):
            kernel.invoke(self.server, getattr(hook, "__qualname__", repr(hook)), hook, *args)
            return
        try:
            session, function = kernel.resolve(*hook)
        except (UnknownSession, UnknownEvent) as error:
            logger.error("hook %s.%s: %s", *hook, error)
        else:
            kernel.invoke(session, hook[1], function, *args)
