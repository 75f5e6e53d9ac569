"""What a server does about its requests: the half of it that every kind of application shares.

A kind of application is a subclass of `Service`, and the engine calls its methods in its turn of the loop,
from `request` to `unanswered`. Always: a request ends in a response or a closed connection; a hook that fails
is logged and harms no request. It must know no sockets and no pool.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from prefork.errors import InvalidResponse, UnknownEvent, UnknownSession

if TYPE_CHECKING:
    from prefork._engine import Request, Response
    from prefork.config.values import Hook
    from prefork.server.server import HTTPServer

logger = logging.getLogger("prefork.server")


class Service:
    """Whom the requests of one server go to. A kind of application says what `request` does."""

    request: Callable[[Request, Response], None]
    """A whole request, as its first argument. The one thing that each kind of application says itself."""

    begin: Callable[[], Coroutine[Any, Any, None]] | None = None
    """Awaited in each process that serves, before it accepts; what it raises keeps that from serving."""

    end: Callable[[], Coroutine[Any, Any, None]] | None = None
    """Awaited when the last connection of a process that began is gone."""

    about = ""
    """What kind of application it serves, as users call it."""

    name = ""
    """The application, for the log. Handlers have names of their own."""

    owes = "call done() or close()"
    """What has to be done with a request so that it is answered."""

    takes = frozenset({"interface", "factory"})
    """Which options of `AppOptions` it heeds."""

    ignores: frozenset[str] = frozenset()
    """Which options of `ServerOptions` mean nothing to it."""

    concurrency = 1
    """How many requests at once make a worker busy, unless the operator says otherwise."""

    pulls_bodies = False
    """Whether `request` is called as soon as a head is there, and asks for the body itself."""

    threads: object = None
    """Those in which requests are served, if any."""

    adds_content_type = True
    """Whether an answer that has no Content-Type gets one."""

    uses_start_response = False
    """Whether its responses are `StartResponse`s, as WSGI needs them."""

    def __init__(self, server: HTTPServer) -> None:
        self.server = server
        self.calls: set[asyncio.Task[Any]] = set()
        """What the application does in tasks; some outlast their connections. asyncio holds tasks weakly."""

    def keep(self, call: asyncio.Task[Any]) -> None:
        """A process that leaves in peace waits for this call of the application."""
        self.calls.add(call)
        call.add_done_callback(self.calls.discard)

    # --- requests ----------------------------------------------------------------------------------------

    def head(self, request: Request, response: Response) -> bool:  # noqa: ARG002
        """A request whose body is still to come, and whether that is wanted. If not, it has been answered."""
        return True

    def body(self, request: Request, response: Response) -> None:
        """The body that `head` wanted has come."""
        self.request(request, response)

    def malformed(self, response: Response, status: int, reason: str, remote_ip: str) -> bool:  # noqa: ARG002
        """Not a request. True: somebody will answer; False: the engine does."""
        self.tell(self.server.options.log_handler, None, remote_ip)
        self.client_error(f"{status} {reason}", remote_ip)
        return False

    def give_up(self, response: Response) -> None:
        """Ends what its handler will not: with a 500 if that can be said, or else by closing."""
        if response.streaming:
            response.close()
        elif not response.answered:
            response.headers = {"Content-Type": "text/plain"}
            response.code = 500
            response.content = "500 Internal Server Error"
            response.done()

    # --- those who want to know --------------------------------------------------------------------------

    def announce(self, request: Request) -> None:
        """A request came, and its head is known."""
        if self.server.options.log_handler is not None:
            self.tell(self.server.options.log_handler, request, request.remote_ip)

    @property
    def request_ended(self) -> Callable[[Request | None, Response], None] | None:
        """Called after each response; None if no hook or observer wants to know."""
        options = self.server.options
        wanted = options.log2_handler or options.debug or self.server.on_answered
        return self._tell_request_ended if wanted else None

    def _tell_request_ended(self, request: Request | None, response: Response) -> None:
        logger.debug("%s -> %s by %s", request, response.code, response.handler)
        self.tell(self.server.options.log2_handler, request, response)
        for callback in self.server.on_answered:
            self.tell(callback, request, response)

    def timed_out(self, request: str, seconds: float, remote_ip: str) -> None:
        """A request was not answered within `request_timeout`; the client has got a 504."""
        text = f"{request} was not answered in {seconds:g} s: 504"
        self.complain(text, remote_ip)
        if self.threads is not None:
            # Nobody can stop a thread: its worker goes, and another comes.
            faulthandler.dump_traceback(sys.__stderr__ or 2)
            self.server.replace_worker()

    def unanswered(self, handler: object, remote_ip: str) -> None:
        """A response was dropped without an answer; the client has got a 500."""
        who = self.name or f"handler {handler}"
        self.complain(f"{who} dropped its response unanswered; it must {self.owes}", remote_ip)

    def failed(self, what: str, error: BaseException, request: Request) -> None:
        """The application raised, serving `what`."""
        says_all = isinstance(error, InvalidResponse)  # no traceback needed
        text = f"{self.name} failed on {what}: {error if says_all else repr(error)}"
        self.complain(text, request.remote_ip, None if says_all else error)

    def complain(self, text: str, remote_ip: str, error: BaseException | None = None) -> None:
        """Whoever answers requests has done wrong: a line in the log, a traceback if there is an error."""
        logger.error("%s", text, exc_info=error)
        self.tell(self.server.options.error_handler, text, remote_ip)

    def client_error(self, text: str, remote_ip: str) -> None:
        """Something went wrong for one client."""
        logger.info("client %s: %s", remote_ip, text)
        self.tell(self.server.options.error_handler, text, remote_ip)

    def server_warning(self, text: str) -> None:
        """Something went wrong, or is right again, for the server as a whole."""
        logger.warning("%s", text)
        self.tell(self.server.options.error_handler, text, None)

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
