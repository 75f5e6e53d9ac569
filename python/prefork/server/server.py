"""`HTTPServer`: a session that gives each HTTP request to a handler and sends its answer.

It owns the sockets it listens on and the life of the server: open, stop, start again, shut down. The engine
parses, times and writes; what it calls for a request is in `service.py`.

It knows no pool: `PreForkServer` decides which process serves, through `_begin` and `_serve`.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import signal
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from prefork.config.options import ServerOptions, changed, check
from prefork.errors import BindError, ConnectionGone, PreforkError, UnknownEvent, UnknownSession
from prefork.kernel.events import event
from prefork.kernel.kernel import Session
from prefork.server.handlers import Handlers
from prefork.server.listening import Listening, listen
from prefork.server.routes import expect, parse

if TYPE_CHECKING:
    from prefork._engine import Connection, Request, Response
    from prefork.kernel.kernel import Kernel
    from prefork.server.service import Service

logger = logging.getLogger("prefork.server")

F = TypeVar("F", bound=Callable[..., Any])

HOOKS = ("log_handler", "log2_handler", "setup_handler", "error_handler")
RETRY_S = 1.0
LAST_WORDS_S = 1.0
"""What an application has at least to shut down, when its connections took all of `graceful_timeout`."""
BOOT_FAILED = 3
"""Exit status of a process that could not begin to serve: an application that fails to start, for one."""
INSTEAD: dict[int, str] = {
    signal.SIGUSR1: "the access log follows its rotation by itself",
    signal.SIGUSR2: "no server takes over in place; new code takes a restart",
    signal.SIGTTIN: "there is no pool",
    signal.SIGTTOU: "there is no pool",
}
"""What is here instead of what a signal does in gunicorn. By default they would end or stop the process."""


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
        self.on_answered: list[Callable[[Request | None, Response], object]] = []
        self.listening: Listening | None = None
        self._routed = Handlers(self)
        self._service: Service = self._routed
        self._port = self.options.port
        # The engine's numbers of the listeners that are open in this process, and of those that were.
        self._accepting: list[int] = []
        self._served: list[int] = []
        self._draining = 0
        self._stopping = False
        self._ends_run = False
        self._ends_by = 0.0  # in seconds of the loop's clock
        self._closers: dict[int, list[tuple[str, str, tuple[Any, ...]]]] = {}
        kernel.add(self)
        kernel.on_start(self._open)
        kernel.on_stop(self._run_ends)

    def configure(self, **options: object) -> None:
        """Changes options before the server runs. Raises OptionError."""
        self.options = changed(self.options, options)
        if "handlers" in options:
            self._routed.routes = parse(self.options.handlers)

    def serve_with(self, service: Service) -> None:
        """Has `service` answer the requests, instead of the handlers."""
        self._service = service

    @property
    def url(self) -> str:
        """Where it listens, as a URL; `unix:/path` for a Unix socket."""
        return self.listening.url if self.listening else "nowhere"

    # --- handlers ----------------------------------------------------------------------------------------

    def handle(self, pattern: str) -> Callable[[F], F]:
        """Has a function answer the paths in which `pattern` is found.

        It is given what its parameters ask for by name: `request`, `response`, `match` (of the pattern) and
        the pattern's named groups. What it returns answers: str or bytes are the content, dict and list are
        sent as JSON, the pieces of a generator (asynchronous or not) are streamed; None sends `response` as
        it is. It may be `async`.

        Raises OptionError for a malformed regex or a parameter that it cannot fill.
        """

        def register(function: F) -> F:
            routes = self._routed.routes
            routes += parse([{"dir": pattern, "function": function}], first=len(routes))
            return function

        return register

    def get_handlers(self) -> list[dict[str, object]]:
        """A copy of the handlers, in order."""
        return [route.entry() for route in self._routed.routes]

    def set_handlers(self, handlers: Iterable[Mapping[str, object]]) -> bool:
        """Replaces the handlers, once all of them are checked.

        Raises OptionError for a wrong entry, UnknownSession and UnknownEvent where there is nobody to call.
        """
        routes = parse(handlers)
        expect(routes, self.kernel)
        self._routed.routes = routes
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
        `dont_flush`. An answer that can have no body, as one to HEAD, ends here instead.
        """
        try:
            response.write()
        except ConnectionGone:
            return  # the error handler heard it when the connection closed
        if response.streams is None or response.streams[2]:
            return
        if response.bodiless:
            response.done()  # the answer to HEAD has no further pieces
        else:
            response.when_drained(partial(self._next_piece, response))

    def _next_piece(self, response: Response, alive: bool) -> None:
        if not alive or response.streams is None:
            return
        session, name, _ = response.streams
        if not self.kernel.post(session, name, response):
            self._service.server_warning(f"stream {session}.{name}: there is no such event any more")
            response.close()

    def set_close_handler(
        self, connection: Connection | int, session: str, event: str | None = None, *args: object
    ) -> bool:
        """Has an event called with `args` when a connection closes; without one `session` takes its back.

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
    def _on_set_handlers(self, handlers: Iterable[Mapping[str, object]]) -> bool:
        return self.set_handlers(handlers)

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
        again, self._ends_run = self._ends_run, True
        if again:
            logger.warning("%s again: stopping at once", signal.Signals(signum).name)
        else:
            logger.info("%s: stopping when all requests are answered", signal.Signals(signum).name)
        self.shutdown(graceful=not again)

    @event("_unused")
    def _on_unused_signal(self, signum: int) -> None:
        """A signal came for which nobody has a use."""
        logger.warning("%s changes nothing: %s", signal.Signals(signum).name, self._instead[signum])

    @property
    def _instead(self) -> dict[int, str]:
        """What is here instead of what such a signal does elsewhere."""
        return INSTEAD

    # --- listening ---------------------------------------------------------------------------------------

    def _open(self) -> None:
        """Called when the kernel begins to run, at its top level."""
        if self.kernel is None:
            return  # it was shut down in an earlier run, and has left
        options = self.options
        if options.debug:
            logging.basicConfig()
            logging.getLogger("prefork").setLevel(logging.DEBUG)
        self._expect_handlers()
        self.listening = listen(options.address, options.port, options.domain, options.backlog)
        self._stopping = self._ends_run = False
        self._served = []  # an earlier run's, with its engine
        self.kernel.hold(self)
        with contextlib.suppress(RuntimeError, ValueError):  # not the main thread: whoever started it ends it
            for signum in (signal.SIGTERM, signal.SIGINT):
                self.kernel.signal(signum, self._name, "_signalled")
            for unused in INSTEAD:
                self.kernel.stand_in(unused, self, "_unused")
        self._begin()

    def _expect_handlers(self) -> None:
        expect(self._routed.routes, self.kernel)
        for name in HOOKS:
            hook = getattr(self.options, name)
            if isinstance(hook, tuple):
                try:
                    self.kernel.resolve(*hook)
                except (UnknownSession, UnknownEvent) as error:
                    raise type(error)(f"{name}: {error}") from None

    @property
    def _name(self) -> str:
        return self.alias or self.options.alias

    def _begin(self) -> None:
        """Serves in this process. A pool does otherwise."""
        if self._service.begin is None:
            self._serve()
            self._announce()
        else:
            self.kernel.spawn(self._begin_with(self._service.begin()), session=self, event="begin", args=())

    async def _begin_with(self, preparation: Coroutine[Any, Any, None]) -> None:
        try:
            await preparation
        except Exception as error:
            logger.error(
                "the application cannot begin: %s", error, exc_info=not isinstance(error, PreforkError)
            )
            raise SystemExit(BOOT_FAILED) from None
        self._serve()
        self._announce()

    def _announce(self) -> None:
        """Tells those who asked that the server stands."""
        assert self.listening is not None
        self._service.tell(self.options.setup_handler, self.listening.port, self.listening.address)
        for callback in self.on_serving:
            callback(self)

    def _serve(self) -> None:
        """Accepts in this process from now on."""
        assert self.listening is not None
        options = dataclasses.replace(self.options, port=self.listening.port)
        for listener in self.listening.sockets:
            self._accepting.append(self.kernel.engine.listen(listener.fileno(), self._service, options))

    def start_listen(self) -> bool:
        """Listens again after `stop_listen`, on the same port. False: it listens already, or cannot.

        A port that was taken meanwhile is asked for again each second, `max_retries` times.
        """
        return self._reopen(self.options.max_retries)

    @event("_reopen")
    def _reopen(self, retries: int) -> bool:
        if self.listening is not None or self._stopping:
            return False
        options = self.options
        try:
            self.listening = listen(options.address, self._port, options.domain, options.backlog)
        except BindError as error:
            self._service.server_warning(str(error))
            if retries > 0:
                self.delay("_reopen", RETRY_S, retries - 1)
            return False
        self._begin()
        return True

    def stop_listen(self) -> bool:
        """Closes the listener; open connections live on. False: it does not listen."""
        self.delay("_reopen")
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

    def replace_worker(self) -> None:
        """Worker: ends when its requests are answered, and another takes its place. Elsewhere nothing."""

    def _drain(self, linger_s: float) -> None:
        """Takes no new connection in this process; `_gone` is called when the last one has ended.

        What has not ended after `graceful_timeout` is cut.
        """
        self.stop_listen()
        self.delay("_cut", self.options.graceful_timeout)
        self._ends_by = self.kernel.loop.time() + self.options.graceful_timeout
        self._draining = len(self._served)
        for number in self._served:
            self.kernel.engine.drain(number, linger_s, self._empty)
        if not self._served:
            self._end()

    @event("_cut")
    def _cut(self) -> None:
        if self.kernel is None:
            return  # the last connection has ended
        if self._draining and (connections := self.kernel.engine.connections):
            logger.warning("cutting %d connections that did not end", connections)
        for number in self._served:
            self.kernel.engine.cut(number)
        self._ends_by = min(self._ends_by, self.kernel.loop.time())
        if calls := list(self._service.calls):
            logger.warning("cancelling %d calls of the application that did not end", len(calls))
        for call in calls:
            call.cancel()

    def _empty(self) -> None:
        """The last connection of one drained listener is gone."""
        self._draining -= 1
        if self._draining == 0:
            self._end()

    def _end(self) -> None:
        """The last connection is gone: what the application began is ended."""
        if self._service.calls or self._service.end is not None:
            self.kernel.spawn(self._end_calls(), session=self, event="end", args=())
        else:
            self._gone()

    async def _end_calls(self) -> None:
        """Calls of the application may outlast their connections; when they have ended, it may shut down."""
        service = self._service
        try:
            if service.calls:  # those that last too long are cancelled by `_cut`
                await asyncio.wait(service.calls, timeout=max(self._left_s, 0) + LAST_WORDS_S / 2)
            if service.end is not None:
                await asyncio.wait_for(service.end(), max(self._left_s, LAST_WORDS_S))
        except TimeoutError:
            logger.error("the application did not shut down within graceful_timeout: leaving without it")
        finally:
            self._gone()

    @property
    def _left_s(self) -> float:
        """What is left of `graceful_timeout`."""
        return self._ends_by - self.kernel.loop.time()

    def _gone(self) -> None:
        """Nothing is left to do: the server leaves its kernel.

        After a signal, which was meant for the process, the last one also stops it, whatever else runs there.
        """
        if (kernel := self.kernel) is not None:
            kernel.release(self)
            kernel.remove(self)
            if self._ends_run and not any(isinstance(session, HTTPServer) for session in kernel.sessions):
                kernel.stop()

    def _run_ends(self) -> None:
        """The kernel stops, whoever told it to: nothing listens any more."""
        if self.kernel is not None:
            self.stop_listen()

    def _stay_behind(self) -> None:
        """In a worker of another server: this one is the manager's."""
        if self.listening is not None:
            self.listening.close()
            self.listening = None
        self._gone()
