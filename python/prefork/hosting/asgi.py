"""ASGI applications (ASGI 3, spec 2.5).

Owns the base of every scope and what becomes of each call: an answer, or a line in the log. The messages of a
call are the engine's (`Exchange`). Always: a request is answered or its connection closed when its call ends,
and a call is an ordinary asyncio task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from functools import partial
from typing import TYPE_CHECKING, Any

from prefork._engine import Exchange, scope
from prefork.config.options import PreForkOptions
from prefork.errors import ConnectionGone, OptionError
from prefork.hosting.interface import gives_coroutines
from prefork.hosting.lifespan import Lifespan
from prefork.hosting.websocket import converse
from prefork.kernel.loop import EngineLoop, Loop
from prefork.server.service import Service, logger

if TYPE_CHECKING:
    from prefork._engine import Request, Response
    from prefork.config.options import AppOptions
    from prefork.server.server import HTTPServer

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


class ASGIService(Service):
    """Calls an ASGI application for each request, in a task of its own."""

    about = "ASGI application"
    owes = "send http.response.start and http.response.body until more_body is false"
    takes = Service.takes | {
        *("root_path", "lifespan", "loop"),
        *("ws_max_message", "ws_ping_interval", "ws_ping_timeout", "ws_deflate"),
    }
    # Its server is an address, and its bodies are not kept: it has them as they come.
    ignores = frozenset({"hostname", "spool_above", "spool_dir"})
    adds_content_type = False
    pulls_bodies = True
    concurrency = 64

    def __init__(self, server: HTTPServer, application: Application, options: AppOptions) -> None:
        super().__init__(server)
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
            "server": None,
            "extensions": {
                "http.response.early_hint": {},
                "http.response.pathsend": {},
                "http.response.trailers": {},
            },
        }
        if options.loop == "uvloop":
            server.kernel.loop_factory = partial(make_loop, uvloop_type(), server)
        self._call: Callable[[Message, Receive, Send], Coroutine[Any, Any, None]] = (
            application if gives_coroutines(application) else self._await  # type: ignore[assignment]
        )

    async def begin(self) -> None:
        """Has the application start up, before this process accepts."""
        listening = self.server.listening
        if listening is not None and self.base["server"] is None:
            self.base["server"] = (listening.address, listening.port)
        self._start = self.server.kernel.loop.start
        self._create_future = self.server.kernel.loop.create_future
        await self.lifespan.begin()
        self.base["state"] = self.lifespan.state

    async def end(self) -> None:
        """Has it shut down, after the last connection."""
        await self.lifespan.end()

    def request(self, request: Request, response: Response) -> None:
        """A request; its body is still to come."""
        if self.server.options.log_handler is not None:
            self.announce(request)
        if request.websocket:
            converse(self, request, response)
            return
        exchange = Exchange(request, response, self._create_future)
        asked = scope(request, self.base, self.root_path)
        try:
            task = self._start(self._call(asked, exchange.receive, exchange.send))
        except Exception as error:  # it is to return a coroutine; this one did something else
            self._failed(request, response, exchange, error)
            return
        if not task.done():
            self.keep(task)
            task.add_done_callback(partial(self._ended, request, response, exchange))
            if self.server.options.request_timeout:
                response.when_overdue(task.cancel)
        elif task.cancelled() or task.exception() is not None or not exchange.over:
            self._ended(request, response, exchange, task)

    async def _await(self, asked: Message, receive: Receive, send: Send) -> None:
        """Calls an application that is no coroutine function, in the task as well."""
        await self.application(asked, receive, send)

    # --- what became of a call ---------------------------------------------------------------------------

    def _ended(
        self, request: Request, response: Response, exchange: Exchange, task: asyncio.Task[None]
    ) -> None:
        error = asyncio.CancelledError("it was cancelled") if task.cancelled() else task.exception()
        if error is not None:
            self._failed(request, response, exchange, error)
        elif not exchange.over and not exchange.gone:
            self._left(request, response, exchange)

    def _failed(self, request: Request, response: Response, exchange: Exchange, error: BaseException) -> None:
        """It raised: the client gets a 500, or a closed connection in the middle of its answer."""
        if exchange.gone and comes_of_leaving(error):
            logger.debug("%s %s: the client left: %r", request.method, request.path, error)
            return
        self.failed(f"{request.method} {request.path}", error, request)
        if not exchange.gone:
            self.give_up(response)
        exchange.give_up()

    def _left(self, request: Request, response: Response, exchange: Exchange) -> None:
        """It returned, and owes the answer or the rest of it."""
        what = "in the middle of its answer" if response.streaming else "without an answer"
        text = f"{self.name} returned {what} to {request.method} {request.path}"
        self.complain(text, request.remote_ip)
        self.give_up(response)
        exchange.give_up()


def uvloop_type() -> Callable[[Callable[[], bool]], Loop]:
    """The loop that `uvloop` stands for. Raises OptionError if it is not installed."""
    try:
        from prefork.kernel.uv import UVLoop
    except ImportError as error:
        raise OptionError(f"loop uvloop: {error}; install uvloop, or say --loop asyncio") from None
    return UVLoop


def make_loop(
    kind: Callable[[Callable[[], bool]], Loop], server: HTTPServer, may_wait: Callable[[], bool]
) -> Loop:
    """A loop of that kind for a process that serves; a manager has none of its work."""
    options = server.options
    is_manager = isinstance(options, PreForkOptions) and options.start_servers and not server.kernel.is_child
    return EngineLoop(may_wait) if is_manager else kind(may_wait)


def comes_of_leaving(error: BaseException | None) -> bool:
    """Whether an exception is what `send` raised when the client had left, or what was made of that."""
    if isinstance(error, ConnectionGone | asyncio.CancelledError):
        return True
    return error is not None and comes_of_leaving(error.__cause__ or error.__context__)
