"""`HTTPServer`: a session that gives each HTTP request to a handler and sends its response.

Owns the options, the handlers and the seed's events. What it does in this process is its `Role`'s; what the
engine calls for a request is its `Service`'s. It must know no pool: `PreForkServer` brings other roles.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import signal
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from prefork._engine import BlockedSignals, Response
from prefork.config.checked import changed, check
from prefork.config.options import ServerOptions
from prefork.errors import PreforkError
from prefork.kernel.events import event
from prefork.kernel.kernel import Session
from prefork.logs.handler import install
from prefork.server import kept_sockets
from prefork.server.arguments import check_arguments, wrong_arguments
from prefork.server.close_handlers import CloseHandlers
from prefork.server.context import Context
from prefork.server.environment import refuse_unserved
from prefork.server.handlers import Handlers
from prefork.server.hooks import Hooks, RequestEnded, hook_targets
from prefork.server.listener import Listener, SocketDefaults
from prefork.server.proxies import trusted_proxies
from prefork.server.role import UNUSED_SIGNALS, NotRunning, Role, Standalone
from prefork.server.routes import check_events, parse
from prefork.server.service_manager import discard, service_manager
from prefork.server.serving import SHUTDOWN_S
from prefork.server.streaming import EventStreams

if TYPE_CHECKING:
    from prefork._engine import AccessLog, Connection
    from prefork.config.keywords import ServerKeywords
    from prefork.kernel.delivery import Target
    from prefork.kernel.kernel import Kernel
    from prefork.server.certificates import Certificates
    from prefork.server.service import Service
    from prefork.server.sockets import Listening

logger = logging.getLogger("prefork.server")

F = TypeVar("F", bound=Callable[..., Any])
Options = TypeVar("Options", bound=ServerOptions)


class HTTPServer(Session):
    """Serves HTTP/1.1 (RFC 9110, 9112) to the handlers of a kernel.

    The options are those of `ServerOptions`. Raises OptionError for one that cannot be used. It listens when
    `kernel.run()` begins; an address that cannot be had ends that with one line (BindError).
    """

    options_class: type[ServerOptions] = ServerOptions

    def __init__(self, kernel: Kernel, **options: Unpack[ServerKeywords]) -> None:
        self.options = check(self.options_class, options)
        self.alias = self.options.alias
        self.on_serving: list[Callable[[Any], object]] = []
        """Called with the server when clients are accepted. What they raise ends the run."""
        self.on_request_ended: list[RequestEnded] = []
        """Called after each response, with the request (None if it was malformed) and the response."""
        self.access_logs: list[AccessLog] = []
        """The access log, if there is one."""
        self.socket_defaults = SocketDefaults()
        """Who may use the Unix sockets whose address does not say it."""
        self._routed = Handlers(self.options.handlers)
        self.service: Service = self._routed
        """What the requests go to."""
        self._close_handlers = CloseHandlers(kernel)
        self._streams = EventStreams(kernel, lambda text: self.service.server_warning(text))
        self._role: Role = NotRunning()
        self._listener: Listener | None = None
        self._context: Context | None = None
        self._ends_by_s: float | None = None  # on the loop's clock; None until a signal ends the process
        if type(self).done is HTTPServer.done:
            Session.on(self, "DONE", Response.done)  # each request may end with it
        kernel.add(self)
        kernel.on_start(self._open)
        kernel.on_opened(self._begin)
        kernel.on_stop(self._run_ended)
        kernel.on_broken(self._engine_broken)
        kernel.on_abandon(self._abandon)

    def configure(self, **options: object) -> None:
        """Changes options before the server runs. Raises OptionError."""
        self.options = changed(self.options, options)
        if "handlers" in options:
            self._routed.routes = parse(self.options.handlers)

    @property
    def listening(self) -> Listening | None:
        """The sockets that it listens on; None if it does not."""
        return None if self._listener is None else self._listener.sockets

    @property
    def certificates(self) -> Certificates | None:
        """Those of its sockets; None if it listens on none, or without TLS."""
        return None if self._listener is None else self._listener.certificates

    @property
    def url(self) -> str:
        """Where it listens, as a URL; `unix:/path` for a Unix socket. Several have ` and ` between them."""
        sockets = self.listening
        return sockets.url if sockets else "nowhere"

    @property
    def activity(self) -> Role:
        """What it does in this process."""
        return self._role

    def _misuse(self, event: str, args: tuple[Any, ...]) -> PreforkError | None:
        """What is wrong with the arguments of one of its events; None if they fit."""
        return wrong_arguments(self, event, args)

    # --- handlers ----------------------------------------------------------------------------------------

    def handle(self, pattern: str, *, raw: bool = False) -> Callable[[F], F]:
        """Makes a function the handler of the paths in which `pattern` is found: in the decoded path, or with
        `raw` in the path as it came.

        Its parameters are filled by name: `request`, `response`, `match` (of the pattern) and the pattern's
        named groups. What it returns is the response: str or bytes are the content, dict and
        list are sent as JSON, the parts of a generator (asynchronous or not) are streamed; None sends
        `response` as it is. It may be `async`.

        Raises OptionError for a malformed regex or a parameter that it cannot fill.
        """

        def register(function: F) -> F:
            routes = self._routed.routes
            routes += parse([{"dir": pattern, "function": function, "raw": raw}], first=len(routes))
            return function

        return register

    def get_handlers(self) -> list[dict[str, object]]:
        """A copy of the handlers, in order."""
        return [route.entry() for route in self._routed.routes]

    @event("SETHANDLERS")
    def set_handlers(self, handlers: Iterable[Mapping[str, object]]) -> bool:
        """Replaces the handlers, once all of them are checked.

        Raises OptionError for a wrong entry, UnknownSession and UnknownEvent for one that names no event.
        """
        routes = parse(handlers)
        check_events(routes, self.kernel)
        former, self._routed.routes = self._routed.routes, routes
        for route in former:
            if (session := self.kernel.find(route.session)) is not None:
                self.kernel.end_if_unreachable(session)
        return True

    @event("GETHANDLERS")
    def _on_get_handlers(self, *args: Any) -> bool:
        session, name = check_arguments(self, "GETHANDLERS", args)
        return self.kernel.post(session, name, self.get_handlers())

    # --- responding --------------------------------------------------------------------------------------

    @event("DONE")
    def done(self, response: Response) -> bool:
        """Sends a response, as `response.done()` does. True; False if the client has left."""
        return response.done()

    @event("CLOSE")
    def close(self, response: Response) -> bool:
        """Closes the connection of a response, as `response.close()` does. True."""
        response.close()
        return True

    @event("STREAM")
    def stream(self, response: Response) -> bool:
        """Sends the response's content as the next part of its stream. True; False if the client has left.

        The event that `response.stream()` named is posted when the part has left the process, unless
        `dont_flush` was given. A response that can have no body, as one to HEAD, ends here instead.
        """
        return self._streams.send_content(response)

    @event("SETCLOSEHANDLER")
    def set_close_handler(
        self, connection: Connection | int, session: Target, event: str | None = None, *args: object
    ) -> bool:
        """Has an event called with `args` when a connection closes; without one, removes that of `session`.

        `connection` is one, or its id. A session has one such event for each connection: a later call
        replaces it. False: the connection is closed. Raises UnknownSession and UnknownEvent.
        """
        if event is not None:
            return self._close_handlers.add(connection, session, event, args)
        self._close_handlers.remove(connection, session)
        return True

    # --- listening ---------------------------------------------------------------------------------------

    @event("STARTLISTEN")
    def start_listen(self) -> bool:
        """Listens again after `stop_listen`, on the same port. False: it listens already, or cannot.

        A port that was taken meanwhile is tried again each second, `max_retries` times.
        """
        return self._role.start_listen()

    @event("STOPLISTEN")
    def stop_listen(self) -> bool:
        """Closes the listener; open connections live on. False: it does not listen."""
        return self._role.stop_listen()

    def refers_to(self, session: Session) -> bool:
        """Whether a handler, a hook or a stream may still call an event of that session."""
        return (
            any(self.kernel.find(target) is session for target in self._targets())
            or self._close_handlers.refers_to(session)
            or self._streams.refers_to(session)
        )

    def _targets(self) -> list[Target]:
        """What the handlers and hooks name as a session, and is no alias: that keeps a session by itself."""
        targets = [*(route.session for route in self._routed.routes), *hook_targets(self.options)]
        return [target for target in targets if not isinstance(target, str)]

    def shutdown(self, *, graceful: bool = False) -> bool:
        """Ends the server: alias, listener and connections are gone afterwards. True.

        Graceful: no new connections, and open requests may finish within `graceful_timeout`. Otherwise every
        connection is closed at once.
        """
        if (manager := service_manager()) is not None:
            manager.remove(self, ends=self.is_stopping)
        self._role.shutdown(graceful=graceful)
        return True

    @event("SHUTDOWN")
    def _on_shutdown(self, how: object = None) -> bool:
        return self.shutdown(graceful=bool(how))

    # --- start and end -----------------------------------------------------------------------------------

    def _open(self) -> None:
        """Opens the sockets. Called when the kernel begins to run, at its top level."""
        if self.kernel is None:
            return  # it was shut down in an earlier run
        options = self.options
        if options.debug:
            install()
            logging.getLogger("prefork").setLevel(logging.DEBUG)
        hooks = Hooks(self.kernel, self, options, self.on_serving, self.on_request_ended, self.access_logs)
        self._check_events(hooks)
        refuse_unserved(
            endpoint
            for other in self.kernel.sessions
            if isinstance(other, HTTPServer)
            for endpoint in other.options.endpoints
        )
        self._listener = listener = Listener(self.kernel, options, hooks.server_warning, self.socket_defaults)
        sockets = listener.sockets
        assert sockets is not None
        self._context = context = Context(
            kernel=self.kernel,
            session=self,
            options=self._in_use(options, listener),
            hooks=hooks,
            places=[place.place for place in sockets.places],
            replace_process=lambda: self._role.replace_process(),
        )
        self.service.attach(context)
        self._role = self._first_role(context, listener)
        self._ends_by_s = None
        if options.signals:
            self._own_process()

    def _own_process(self) -> None:
        """The process serves while this server does: it keeps the run going, and ends with its signals."""
        if (manager := service_manager()) is not None:
            manager.add(self)
            if manager.serving not in self.on_serving:
                self.on_serving.append(manager.serving)
        self.kernel.hold(self)
        self._bind_signals()

    @staticmethod
    def _in_use(options: Options, listener: Listener) -> Options:
        """The options with the port that was picked. Copies made by workers would be memory of their own."""
        return dataclasses.replace(options, port=listener.port, trusted_proxies=trusted_proxies(options))

    def _begin(self) -> None:
        """Serves. Every server has its sockets; the process may have given its privileges up meanwhile."""
        if self.kernel is not None:
            kept_sockets.close_rest()
            self._role.begin()

    def _check_events(self, hooks: Hooks) -> None:
        """Raises UnknownSession or UnknownEvent if an option names an event that does not exist."""
        check_events(self._routed.routes, self.kernel)
        hooks.check()

    def _first_role(self, context: Context, listener: Listener) -> Role:
        """The role of the process that `kernel.run()` was called in."""
        return Standalone(context, self.service, listener, self._ended)

    def _ended(self) -> None:
        """Nothing is left to do: the server leaves its kernel.

        After a signal, which was meant for the process, the last one also stops it, whatever else runs there.
        """
        if (kernel := self.kernel) is not None:
            self._end_listener()
            self._call_closed()
            kernel.release(self)
            servers = [one for one in kernel.sessions if isinstance(one, HTTPServer) and one.options.signals]
            if self._ends_by_s is not None and not any(one is not self for one in servers):
                kernel.loop.limit_end(max(self._ends_by_s - kernel.loop.time(), SHUTDOWN_S))
                kernel.stop()  # first: what else asks the process to end has no effect from here on
            kernel.remove(self)

    def _run_ended(self) -> None:
        """The kernel stops, for whatever reason."""
        if self.kernel is not None:
            self._role.run_ended()
            self._end_listener()
            self._call_closed()
            if (manager := service_manager()) is not None:
                manager.remove(self)
                manager.end()

    def _end_listener(self) -> None:
        if self._listener is not None:
            self._listener.end()

    def _call_closed(self) -> None:
        """Calls `closed_handler`, once for each time that the server listened. A worker is not the server."""
        context, self._context = self._context, None
        if context is not None and not context.kernel.is_child:
            context.hooks.closed(context.places)

    def _engine_broken(self) -> bool:
        """The engine can only finish what it has: this process ends. False: it was told to end before."""
        if self.is_stopping:
            return False
        if self.kernel is not None and self.options.signals:
            self._end_within(self.options.graceful_timeout)
            self.shutdown(graceful=True)
        return True

    def _abandon(self) -> None:
        """The application forked this process, which does not serve."""
        self._role.abandon()
        discard()

    def _discard(self) -> None:
        """This process was forked to be a worker of another server."""
        self._role.discard()

    # --- signals -----------------------------------------------------------------------------------------

    @property
    def is_stopping(self) -> bool:
        """Whether a signal has told this process to end."""
        return self._ends_by_s is not None

    def _end_within(self, seconds: float) -> None:
        self._ends_by_s = self.kernel.loop.time() + seconds

    def _bind_signals(self) -> None:
        # Off the main thread no signal can be bound. Blocked until the role is told as well: one that came
        # before would tell only the loop, which a startup may block.
        with contextlib.suppress(RuntimeError, ValueError), BlockedSignals():
            for signum in (signal.SIGTERM, signal.SIGINT):
                self.kernel.signal(signum, self, "_signalled")
            self.kernel.signal(signal.SIGQUIT, self, "_quit")
            has_reload = self.certificates is not None or service_manager() is not None
            if has_reload and not self.kernel.program_handles(signal.SIGHUP):
                self.kernel.signal(signal.SIGHUP, self, "_hup")
            for unused in UNUSED_SIGNALS:
                self.kernel.signal_default(unused, self, "_unused")
            self._role.signals_bound()

    def stop(self, *, now: bool = False) -> None:
        """Ends the server as SIGTERM does or, `now`, SIGQUIT: with its process if it is alone there."""
        self._end_within(0 if now else self.options.graceful_timeout)
        self.shutdown(graceful=not now)

    @event("_signalled")
    def _on_signal(self, signum: int) -> None:
        again = self.is_stopping
        self.stop(now=again)
        # Afterwards: a handler of the application may wait for its reader.
        if again:
            logger.warning("%s again: stopping at once", signal.Signals(signum).name)
        else:
            logger.info("%s: stopping when all requests are finished", signal.Signals(signum).name)

    @event("_hup")
    def _on_hup(self, _signum: int) -> None:
        """Reads the certificates again. It is bound if there are some, or systemd may send it."""
        if (manager := service_manager()) is not None:
            manager.reload()
        if self.certificates is not None:
            self.certificates.reload()

    @event("_quit")
    def _on_quit(self, _signum: int) -> None:
        logger.warning("SIGQUIT: stopping at once")
        self.stop(now=True)

    @event("_unused")
    def _on_unused_signal(self, signum: int) -> None:
        if signum == signal.SIGUSR1 and self.access_logs:
            self._role.reopen_logs()
            return
        reason = self._role.unused_signals[signum]
        logger.warning("%s changes nothing: %s", signal.Signals(signum).name, reason)
