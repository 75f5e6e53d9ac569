"""What is done about the requests of a server, for every kind of application.

The engine calls the methods of a service in its turn of the loop; `_Service` in `_engine.pyi` describes them.
A kind of application is a subclass of `Service`. Always: a request ends in a response or a closed connection.
It must know no sockets, no server and no pool.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import logging
import os
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from prefork.errors import ConnectionGone, InvalidResponse
from prefork.kernel.exits import raised
from prefork.logs.escaping import show
from prefork.logs.logger import Lines, concerning

if TYPE_CHECKING:
    from prefork._engine import AccessLog, Request, Response
    from prefork.server.context import Context
    from prefork.server.hooks import RequestEnded
    from prefork.server.sockets import Place


logger = logging.getLogger("prefork.server")


class Outcome(NamedTuple):
    """What came of a request that the server itself has made."""

    status: int | None
    """None: there was no response."""
    problem: str = ""
    """Why it did not end well; empty if it did."""
    says: str = ""
    """The beginning of an error page that is plain text."""

    def __str__(self) -> str:
        head = "" if self.status is None else str(self.status)
        return ": ".join(filter(None, (head, self.problem or self.says)))


class Service:
    """Serves the requests of one server. A kind of application defines `request` and the attributes below."""

    request: Callable[[Request, Response], None]
    """A whole request, or its head alone if `pulls_bodies`."""

    startup: Callable[[], Coroutine[Any, Any, None]] | None = None
    """Awaited in each process that serves, before it accepts; if it raises, that process does not serve."""

    shutdown: Callable[[], Coroutine[Any, Any, None]] | None = None
    """Awaited in each process that has started up, when its last connection is gone."""

    warm: Callable[[], Iterator[Outcome]] | None = None
    """Requests the pages of the option `warm` in a process that serves no client, and is forked afterwards.
    What is begun for them is ended when the iterator is. None: there is no application."""

    kind = ""
    """The kind of application, as users call it."""

    name = ""
    """The application, for the log. Handlers have names of their own."""

    how_to_respond = "call done() or close()"
    """What has to be done with a request, for the log."""

    app_options = frozenset({"interface", "factory"})
    """The options of `AppOptions` that apply to it."""

    unused_options: frozenset[str] = frozenset()
    """The options of `ServerOptions` that do not apply to it."""

    concurrency = 1
    """How many requests at once make a worker busy, unless the option `concurrency` is set."""

    capacity: int | None = None
    """How many requests it can serve at once; others are handed to other workers, or wait."""

    pulls_bodies = False
    """Whether `request` is called as soon as the head is there, and reads the body itself."""

    threads: object = None
    """The threads in which requests are served, if any."""

    adds_content_type = True
    """Whether a response that has no Content-Type gets one."""

    uses_start_response = False
    """Whether its responses are `StartResponse`s, as WSGI needs them."""

    takes_websockets = False
    """Whether it gets WebSockets over HTTP/2. An ordinary response of 200 would accept them."""

    inherits_atexit = False
    """Whether the `atexit` functions that were registered before the fork run in each worker too. Those of an
    application do: other servers load it in each worker, and telemetry is sent there."""

    error_page: Callable[[BaseException, Request], tuple[str, str]] | None = None
    """What a client gets for an exception of the application: a media type and a text. None: that it failed,
    and no more.
    """

    context: Context
    """What it shares with its server. Set before `startup`."""

    def __init__(self) -> None:
        self.calls: set[asyncio.Task[Any]] = set()
        """Calls of the application that run as tasks; some outlast their connections."""

    def attach(self, context: Context) -> None:
        """The server begins to run."""
        self.context = context
        context.kernel.survive(self.has_raised)

    def rest(self) -> None:
        """It has shut down in this process, and starts up in those that are forked from now on."""
        for name in ("request", "body"):  # what `startup` has set refers to the loop
            vars(self).pop(name, None)

    def track(self, call: asyncio.Task[Any], response: Response) -> None:
        """Keeps a call of the application: a graceful shutdown waits for it, a request timeout cancels it."""
        self.calls.add(call)  # asyncio holds tasks weakly
        call.add_done_callback(self.calls.discard)
        if self.context.options.request_timeout:
            response.when_overdue(call.cancel)

    def has_raised(self, error: BaseException) -> bool:
        """Whether a call has ended with this exception; what follows is the response to its request."""
        return any(raised(call, error) for call in self.calls)

    def base_at(self, place: Place) -> dict[str, Any] | None:  # noqa: ARG002
        """What each request has that comes to this place and not to the first one. None: nothing."""
        return None

    # --- requests ----------------------------------------------------------------------------------------

    def head(self, request: Request, response: Response) -> bool:  # noqa: ARG002
        """A request whose body is still to come. True: receive it. False: the response is complete."""
        return True

    def body(self, request: Request, response: Response) -> None:
        """The body is complete, after `head` returned True."""
        self.request(request, response)

    def malformed(self, response: Response, status: int, reason: str, remote_ip: str) -> bool:
        """What the client sent is no request. True: this service responds. False: the engine does."""
        self.context.hooks.request_started(None, remote_ip)
        self.client_error(f"{status} {reason}", remote_ip, response.request_id)
        return False

    def abort(
        self, response: Response, error: BaseException | None = None, request: Request | None = None
    ) -> None:
        """Ends a response that its handler will not end: with a 500, or by closing if its head is sent.

        `error` is the exception of the application, if one is the reason.
        """
        if response.streaming:
            response.abort()
        elif not response.answered:
            kind, content = "text/plain", "500 Internal Server Error"
            if self.error_page is not None and error is not None and request is not None:
                kind, content = self.error_page(error, request)
            response.headers = {"Content-Type": kind}
            response.code = 500
            response.content = content
            response.done()
            with contextlib.suppress(ConnectionGone):
                response.flush()  # now: what follows is a line in the log, and its handler may be slow

    # --- hooks and log -----------------------------------------------------------------------------------

    def request_started(self, request: Request) -> None:
        """A request came, and its head is known."""
        if self.context.options.log_handler is not None:
            self.context.hooks.request_started(request, request.remote_ip)

    @property
    def request_ended(self) -> RequestEnded | None:
        """Called after each response; None if no hook or observer is set."""
        return self.context.hooks.request_ended

    @property
    def access_log(self) -> AccessLog | None:
        """Where the engine writes a line for each response; None if nowhere."""
        return self.context.hooks.access_log

    def client_error(self, text: str, remote_ip: str, request_id: str | None = None) -> None:
        """Something went wrong for one client."""
        self.context.hooks.client_error(text, remote_ip, _named(request_id))

    def server_warning(self, text: str) -> None:
        """Something went wrong, or is right again, for the server as a whole."""
        self.context.hooks.server_warning(text)

    def timed_out(self, request: str, seconds: float, remote_ip: str, request_id: str | None = None) -> None:
        """A request had no response within `request_timeout`; the client has got a 504."""
        text = f"{request} had no response in {seconds:g} s: 504"
        stuck = self.threads is not None
        if stuck:
            # A thread cannot be stopped: its process ends, and another takes its place.
            self.context.replace_process()
        self.context.hooks.application_error(text, remote_ip, about=_named(request_id))
        if stuck:
            logger.error("all threads: %s", Lines(_tracebacks()))

    def unanswered(self, handler: object, remote_ip: str, request_id: str | None = None) -> None:
        """A response was dropped before it was complete; the client has got a 500."""
        whose = self.name or f"handler {handler}"
        text = f"{whose} dropped its response before it was complete; it must {self.how_to_respond}"
        self.context.hooks.application_error(text, remote_ip, about=_named(request_id))

    def failed(self, what: str, error: BaseException, request: Request) -> None:
        """The application raised an exception while it served `what`; the response is settled already."""
        is_explained = isinstance(error, InvalidResponse)  # the message is enough: no traceback
        text = f"{self.name} failed on {what}: {show(error, str if is_explained else repr)}"
        traceback = None if is_explained else error
        self.context.hooks.application_error(text, request.remote_ip, traceback, concerning(request))


def _named(request_id: str | None) -> dict[str, str] | None:
    return None if request_id is None else {"request_id": request_id}


def _tracebacks() -> str:
    """The tracebacks of all threads. They go through the log, which waits for no reader."""
    file = os.memfd_create("tracebacks")
    try:
        faulthandler.dump_traceback(file)
        return os.pread(file, 1 << 20, 0).decode(errors="replace")
    finally:
        os.close(file)
