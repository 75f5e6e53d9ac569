"""`HTTPServer`: a session that gives each HTTP request to a handler and sends its answer.

It owns the sockets it listens on, its routes and its hooks. The engine parses, times and writes; it calls the
methods `_request` to `_empty` below in its turn of the loop. Always: a request ends in an answer or a closed
connection, whatever a handler or a hook does; their exceptions are logged here.

It knows no pool: `PreForkServer` decides which process serves, through `_begin` and `_serve`.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import signal
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from understudy.errors import (
    AlreadyAnswered,
    BindError,
    ConnectionGone,
    InvalidResponse,
    UnknownEvent,
    UnknownSession,
)
from understudy.listening import Listening, listen
from understudy.options import Hook, ServerOptions, changed, check
from understudy.routes import FunctionRoute, Route, fill, parse
from understudy.session import Session, event
from understudy.streaming import pump

if TYPE_CHECKING:
    from understudy._engine import Connection, Request, Response
    from understudy.kernel import Kernel

logger = logging.getLogger("understudy.server")

F = TypeVar("F", bound=Callable[..., Any])

ENGINE_OPTIONS = (
    "hostname keep_alive proxy_mode headers header_timeout keep_alive_timeout body_min_rate send_timeout "
    "max_body spool_above spool_dir max_head max_fields underscores"
).split()


class HTTPServer(Session):
    """Serves HTTP/1.1 (RFC 9110, 9112) to the handlers of a kernel.

    The options are those of `ServerOptions`. Raises OptionError for one that cannot be used. It listens when
    `kernel.run()` begins; an address that cannot be had ends that with one line (BindError).
    """

    options_class: type[ServerOptions] = ServerOptions

    def __init__(self, kernel: Kernel, **options: object) -> None:
        self.options = check(self.options_class, options)
        self.alias = self.options.alias
        self.on_serving: list[Callable[[Any], object]] = []
        self.listening: Listening | None = None
        self._routes = parse(self.options.handlers)
        self.on_answered: list[Callable[[Request | None, Response], object]] = []
        self._port = self.options.port
        # The engine's numbers of the listeners that are open in this process, and of those that were.
        self._accepting: list[int] = []
        self._served: list[int] = []
        self._draining = 0
        self._patience: asyncio.TimerHandle | None = None
        self._stopping = False
        self._closers: dict[int, list[tuple[str, str, tuple[Any, ...]]]] = {}
        kernel.add(self)
        kernel.on_start(self._open)

    def configure(self, **options: object) -> None:
        """Changes options before the server runs. Raises OptionError."""
        self.options = changed(self.options, options)
        if "handlers" in options:
            self._routes = parse(self.options.handlers)

    @property
    def url(self) -> str:
        """Where it listens, as a URL; `unix:/path` for a Unix socket."""
        return self.listening.url if self.listening else "nowhere"

    # --- handlers ----------------------------------------------------------------------------------------

    def handle(self, pattern: str) -> Callable[[F], F]:
        """Has a function answer the paths in which `pattern` is found; see `FunctionRoute`.

        Raises OptionError for a malformed regex or a parameter that it cannot fill.
        """

        def register(function: F) -> F:
            parse([{"dir": pattern, "session": "", "event": ""}])
            self._routes.append(FunctionRoute(pattern, function))
            return function

        return register

    def get_handlers(self) -> list[dict[str, object]]:
        """A copy of the handlers, in order."""
        return [route.entry() for route in self._routes]

    def set_handlers(self, handlers: Iterable[Mapping[str, object]]) -> bool:
        """Replaces the handlers, once all of them are checked. Raises OptionError."""
        self._routes = parse(handlers, known=lambda alias: self.kernel.find(alias) is not None)
        return True

    # --- answering ---------------------------------------------------------------------------------------

    def done(self, response: Response) -> None:
        """Answers, as `response.done()` does."""
        response.done()

    def close(self, response: Response) -> None:
        """Closes the connection of a response, as `response.close()` does."""
        response.close()

    def stream(self, response: Response) -> None:
        """Sends the response's content as the next piece of its stream.

        The event that `response.stream()` named is posted when the piece has left the process, unless it said
        `dont_flush`.
        """
        try:
            response.write()
        except ConnectionGone:
            return  # the error handler heard it when the connection closed
        if response.streams is not None and not response.streams[2]:
            response.when_drained(partial(self._next_piece, response))

    def _next_piece(self, response: Response, alive: bool) -> None:
        if not alive or response.streams is None:
            return
        session, name, _ = response.streams
        if not self.kernel.post(session, name, response):
            self._trouble(f"stream {session}.{name}: there is no such event any more", None)
            response.close()

    def set_close_handler(
        self, connection: Connection | int, session: str, event: str | None = None, *args: object
    ) -> bool:
        """Has an event called with `args` when a connection closes; without an event `session` takes its back.

        `connection` is one, or the id of one that has a handler already. False: it is closed.
        """
        number = connection if isinstance(connection, int) else connection.id
        if event is None:
            kept = [entry for entry in self._closers.get(number, ()) if entry[0] != session]
            if number in self._closers:
                self._closers[number] = kept
            return True
        if number not in self._closers and (
            isinstance(connection, int) or not connection.when_closed(partial(self._has_closed, number))
        ):
            return False
        self._closers.setdefault(number, []).append((session, event, args))
        return True

    def _has_closed(self, number: int) -> None:
        for session, name, args in self._closers.pop(number, ()):
            self.kernel.post(session, name, *args)

    # --- the events of the same meaning ------------------------------------------------------------------

    @event("DONE")
    def _on_done(self, response: Response) -> None:
        self.done(response)

    @event("CLOSE")
    def _on_close(self, response: Response) -> None:
        self.close(response)

    @event("STREAM")
    def _on_stream(self, response: Response) -> None:
        self.stream(response)

    @event("GETHANDLERS")
    def _on_get_handlers(self, session: str, name: str) -> None:
        self.kernel.post(session, name, self.get_handlers())

    @event("SETHANDLERS")
    def _on_set_handlers(self, handlers: Iterable[Mapping[str, object]], **options: bool) -> bool:
        return self.set_handlers(handlers, **options)

    @event("SETCLOSEHANDLER")
    def _on_set_close_handler(
        self, connection: Connection | int, session: str, name: str | None = None, *args: object
    ) -> bool:
        return self.set_close_handler(connection, session, name, *args)

    @event("STARTLISTEN")
    def _on_start_listen(self) -> None:
        self.start_listen()

    @event("STOPLISTEN")
    def _on_stop_listen(self) -> None:
        self.stop_listen()

    @event("SHUTDOWN")
    def _on_shutdown(self, how: str | None = None) -> None:
        self.shutdown(graceful=how == "GRACEFUL")

    @event("_signalled")
    def _on_signal(self, signum: int) -> None:
        if self._stopping:
            logger.warning("%s again: stopping at once", signal.Signals(signum).name)
            self.shutdown(graceful=False)
        else:
            logger.info("%s: stopping when all requests are answered", signal.Signals(signum).name)
            self.shutdown(graceful=True)

    # --- listening ---------------------------------------------------------------------------------------

    def _open(self) -> None:
        """Called when the kernel begins to run, at its top level."""
        for number, route in enumerate(self._routes):
            if not isinstance(route, FunctionRoute) and self.kernel.find(route.session) is None:
                raise UnknownSession(
                    f"handler {number}: no session has the alias {route.session!r}; add it to the kernel"
                )
        options = self.options
        self.listening = listen(options.address, options.port, options.domain, options.backlog)
        self._stopping = False
        self.kernel.hold(self)
        for signum in (signal.SIGTERM, signal.SIGINT):
            try:
                self.kernel.signal(signum, self._name, "_signalled")
            except (RuntimeError, ValueError):
                break  # not the main thread: whoever started it ends it
        self._begin()

    @property
    def _name(self) -> str:
        return self.alias or self.options.alias

    def _begin(self) -> None:
        """Serves in this process. A pool does otherwise."""
        self._serve()
        self._announce()

    def _announce(self) -> None:
        """Tells those who asked that the server stands."""
        assert self.listening is not None
        self._tell(self.options.setup_handler, self.listening.port, self.listening.address)
        for callback in self.on_serving:
            callback(self)

    def _serve(self) -> None:
        """Accepts in this process from now on."""
        assert self.listening is not None
        options = {name: getattr(self.options, name) for name in ENGINE_OPTIONS}
        options["port"] = self.listening.port or 0
        options["headers"] = list(self.options.headers)
        for listener in self.listening.sockets:
            self._accepting.append(self.kernel.engine.listen(listener.fileno(), self, **options))

    def start_listen(self) -> bool:
        """Listens again after `stop_listen`, on the same port. False: it listens already, or cannot.

        A port that was taken meanwhile is asked for again each second, `max_retries` times.
        """
        if self.listening is not None or self._stopping:
            return False
        return self._reopen(self.options.max_retries)

    def _reopen(self, retries: int) -> bool:
        options = self.options
        try:
            self.listening = listen(options.address, self._port, options.domain, options.backlog)
        except BindError as error:
            self._trouble(str(error), None)
            if retries > 0 and not self._stopping:
                self.kernel.loop.call_later(1.0, self._reopen, retries - 1)
            return False
        self._begin()
        return True

    def stop_listen(self) -> bool:
        """Closes the listener; open connections live on. False: it does not listen."""
        if self.listening is None:
            return False
        self._port = self.listening.port
        for number in self._accepting:
            self.kernel.engine.unlisten(number)
        self._served += self._accepting
        self._accepting = []
        self.listening.close()
        self.listening = None
        return True

    def shutdown(self, *, graceful: bool = False) -> None:
        """Ends the server: alias, listener and connections are gone afterwards.

        Graceful: no new connections, open requests are answered within `graceful_timeout`; otherwise every
        connection is cut at once.
        """
        if not self._stopping:
            self._stopping = True
            self._drain(0.0)
        if not graceful:
            self._cut()

    def _drain(self, linger_s: float) -> None:
        """Takes no new connection in this process; `_gone` is called when the last one has ended.

        What has not ended after `graceful_timeout` is cut.
        """
        self.stop_listen()
        self._patience = self.kernel.loop.call_later(self.options.graceful_timeout, self._cut)
        self._draining = len(self._served)
        for number in self._served:
            self.kernel.engine.drain(number, linger_s)
        if not self._served:
            self._gone()

    def _cut(self) -> None:
        if self._draining:
            logger.warning("cutting %d connections that did not end", self.kernel.engine.connections)
        for number in self._served:
            self.kernel.engine.cut(number)

    def _empty(self) -> None:
        """Engine: the last connection of one drained listener is gone."""
        self._draining -= 1
        if self._draining == 0:
            self._gone()

    def _gone(self) -> None:
        """Nothing is left to do: the server leaves its kernel."""
        if self._patience is not None:
            self._patience.cancel()
        if self.kernel is not None:
            self.kernel.release(self)
            self.kernel.remove(self)

    # --- what the engine calls ---------------------------------------------------------------------------

    def _request(self, request: Request, response: Response) -> None:
        """A whole request."""
        if self.options.log_handler is not None:
            self._tell(self.options.log_handler, request, request.remote_ip)
        route = self._find(request)
        if route is None:
            self._not_found(response)
        else:
            self._run(route, request, response)

    def _head(self, request: Request, response: Response) -> bool:
        """A request whose body is still to come: wanted if there is a handler for it."""
        if self.options.log_handler is not None:
            self._tell(self.options.log_handler, request, request.remote_ip)
        response.handler = self._find(request)
        if response.handler is None:
            self._not_found(response)
            return False
        return True

    def _body(self, request: Request, response: Response) -> None:
        """The body that `_head` wanted has come."""
        self._run(response.handler, request, response)

    def _find(self, request: Request) -> Route | None:
        path = request.path
        for route in self._routes:
            match = route.search(path)
            if match is not None:
                request.match = match
                return route
        return None

    def _not_found(self, response: Response) -> None:
        response.code = 404
        response.content = "404 Not Found"
        response.done()

    def _run(self, route: Route, request: Request | None, response: Response) -> None:
        response.handler = route
        try:
            result = route.call(self.kernel, request, response)
            if result is not None or route.answers:
                self._conclude(route, request, response, result)
        except Exception as error:
            self._failed(route, request, response, error)

    def _conclude(self, route: Route, request: Request | None, response: Response, result: Any) -> None:
        """What a handler left to do: wait for it, stream it, or answer with what it returned."""
        if inspect.iscoroutine(result):
            work = self._finish(route, request, response, result)
        elif not route.answers:
            return  # an event answers by itself
        elif (pieces := fill(response, result)) is not None:
            work = self._finish(route, request, response, pump(response, pieces))
        else:
            if not response.answered and not response.streaming:
                response.done()
            return
        self.kernel.spawn(work, session=self, event=str(route), args=(request, response))

    async def _finish(
        self, route: Route, request: Request | None, response: Response, work: Coroutine[Any, Any, Any]
    ) -> None:
        try:
            result = await work
            if route.answers and not response.answered and not response.streaming:
                pieces = fill(response, result)
                if pieces is None:
                    response.done()
                else:
                    await pump(response, pieces)
        except Exception as error:
            self._failed(route, request, response, error)

    def _failed(self, route: Route, request: Request | None, response: Response, error: Exception) -> None:
        """A handler raised: the client gets a 500, the log the traceback, the worker lives."""
        if isinstance(error, ConnectionGone):
            return  # the error handler heard it when the connection closed
        if isinstance(error, InvalidResponse | UnknownSession | UnknownEvent | AlreadyAnswered):
            logger.error("handler %s: %s", route, error)  # it says all: no traceback needed
        else:
            self.kernel.report(route.session, route.event, (request, response, route.dir), error)
        self._tell(self.options.error_handler, f"handler {route} failed: {error!r}", _ip(request))
        if response.streaming:
            response.close()
        elif not response.answered:
            response.headers = {}
            response.code = 500
            response.content = "500 Internal Server Error"
            response.done()

    def _malformed(self, response: Response, status: int, reason: str, remote_ip: str) -> bool:
        """Not a request. True: a handler for such will answer."""
        self._tell(self.options.log_handler, None, remote_ip)
        self._trouble(f"{status} {reason}", remote_ip)
        for route in self._routes:
            if route.malformed and route.search("") is not None:
                response.code = status
                self._run(route, None, response)
                return True
        return False

    @property
    def _answered(self) -> Callable[[Request | None, Response], None] | None:
        """Called after each answer, if anybody wants to know."""
        return self._tell_answered if self.options.log2_handler or self.on_answered else None

    def _tell_answered(self, request: Request | None, response: Response) -> None:
        self._tell(self.options.log2_handler, request, response)
        for callback in self.on_answered:
            self._tell(callback, request, response)

    def _trouble(self, text: str, remote_ip: str | None) -> None:
        """Something went wrong: for one client, or (without an address) for the server."""
        if remote_ip is None:
            logger.warning("%s", text)
        else:
            logger.info("client %s: %s", remote_ip, text)
        self._tell(self.options.error_handler, text, remote_ip)

    def _orphaned(self, handler: Route | None, remote_ip: str) -> None:
        """A response was dropped without an answer; the client has got a 500."""
        text = f"handler {handler} dropped its response unanswered; it must call done() or close()"
        logger.error("%s", text)
        self._tell(self.options.error_handler, text, remote_ip)

    def _tell(self, hook: Hook, *args: object) -> None:
        """Calls a hook. One that fails is logged and harms nobody."""
        if hook is None:
            return
        if callable(hook):
            session: Session | None = self
            name, function = getattr(hook, "__qualname__", repr(hook)), hook
        else:
            session = self.kernel.find(hook[0])
            found = session.handler(hook[1]) if session else None
            if session is None or found is None:
                logger.error("hook %s.%s: there is no such event", *hook)
                return
            name, function = hook[1], found
        self.kernel.invoke(session, name, function, *args)


def _ip(request: Request | None) -> str | None:
    return None if request is None else request.remote_ip
