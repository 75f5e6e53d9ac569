"""WSGI applications (PEP 3333).

Owns what the environs of a process have in common, and every body that is more than a list: the iterable and
its close(). The call itself is the engine's (`WSGICaller`).

Always: a call runs in one thread and in one context from its first line to its close(), which comes exactly
once; between the two that thread runs no other call. An exception of the application fails its own request,
with one line in the log, and no other.
"""

from __future__ import annotations

import contextlib
import io
import socket
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any

from prefork._engine import FilePart, Input, StartResponse, WSGICaller
from prefork.config.options import PreForkOptions
from prefork.errors import AlreadyAnswered, ConnectionGone, InvalidResponse
from prefork.hosting.takeover import ClientSocket
from prefork.hosting.threads import Threads
from prefork.kernel.loop import EngineLoop
from prefork.kernel.selector import without_running_loop
from prefork.server.service import Service

if TYPE_CHECKING:
    from prefork._engine import Request, Response
    from prefork.config.options import AppOptions
    from prefork.server.context import Context as ServerContext
    from prefork.server.service import Outcome
    from prefork.server.sockets import Place

Application = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]
Steps = Generator[None, bool | None, None]

io.BufferedIOBase.register(Input)

ENDS_OF_TAKEOVER = (StopIteration, OSError, AlreadyAnswered, InvalidResponse)
"""How applications end a call whose connection they have taken over: what they return is not sent."""

PARTS_PER_TURN = 16
"""A client that reads as fast as the application writes must not keep all others waiting."""


def native(text: str) -> str:
    """A str of an environ: each character is a byte (PEP 3333, "A Note On String Types")."""
    return text.encode().decode("latin-1")


class FileWrapper:
    """`wsgi.file_wrapper`: a file to send, by the system if it is a regular one."""

    def __init__(self, file: Any, block_size: int = 8192) -> None:
        self.file = file
        self.block_size = block_size
        if hasattr(file, "close"):
            self.close = file.close

    def __iter__(self) -> Iterator[bytes]:
        return iter(partial(self.file.read, self.block_size), b"")

    def part(self, content_length: str | None) -> FilePart | None:
        """The file from its current position, at most `content_length` bytes of it.

        None for what is no regular file, or reads other bytes than are on the disk, as a GzipFile does.
        """
        raw = getattr(self.file, "raw", self.file)
        if not isinstance(raw, io.FileIO):
            return None
        with contextlib.suppress(ValueError, OSError):  # a pipe, a device, a file that is closed
            part = FilePart(raw.fileno(), self.file.tell())
            if content_length is not None and content_length.isdecimal():
                part = part.part(0, min(len(part), int(content_length)))
            return part
        return None


class WSGIService(Service):
    """Calls a WSGI application for each request: in this thread, or in threads of its own."""

    kind = "WSGI application"
    how_to_respond = "call start_response and return an iterable of bytes"
    app_options = Service.app_options | {
        *("threads", "root_path", "preload", "warm", "mold_ready", "ready_path"),
    }
    adds_content_type = False
    uses_start_response = True
    inherits_atexit = True
    threads: Threads | None

    def __init__(self, application: Application, options: AppOptions) -> None:
        super().__init__()
        self.application = application
        self.name = f"application {getattr(application, '__name__', type(application).__name__)}"
        self.concurrency = self.capacity = options.threads
        self.root_path = options.root_path
        self.options = options
        self.threads = Threads(options.threads) if options.threads > 1 else None
        self.shutdown = self.threads.drain if self.threads else None

    def attach(self, context: ServerContext) -> None:
        super().attach(context)
        if self.threads is not None:
            context.kernel.on_abandon(partial(self.threads.abandon, context.kernel.end_if_abandoned))

    def base_at(self, place: Place) -> dict[str, Any]:
        """Its environs name the address that the client has come to."""
        address, port = place
        name = address if port and address not in ("0.0.0.0", "::") else socket.gethostname()
        return {
            "SERVER_NAME": native(self.context.options.hostname or name),
            "SERVER_PORT": str(port or 80),
        }

    def base(self) -> dict[str, Any]:
        """What every environ of this process begins with."""
        options = self.context.options
        is_pool = isinstance(options, PreForkOptions) and options.start_servers > 0
        return self.base_at(self.context.places[0]) | self.common(is_pool=is_pool)

    def common(self, *, is_pool: bool) -> dict[str, Any]:
        """What every environ has, wherever its client has come to."""
        return {
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": Input(),
            "wsgi.input_terminated": True,
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": self.threads is not None,
            "wsgi.multiprocess": is_pool,
            "wsgi.run_once": False,
            "wsgi.file_wrapper": FileWrapper,
            "REQUEST_METHOD": "GET",
            "SCRIPT_NAME": native(self.root_path),
            "PATH_INFO": "",  # this and RAW_URI: to replace costs less than to insert
            "RAW_URI": "",
            "QUERY_STRING": "",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "SERVER_SOFTWARE": "prefork",
            "REMOTE_ADDR": "",
        }

    async def startup(self) -> None:
        """Prepares the call of the application in this process."""
        # Without threads a worker would serve no other client while its application uses a socket.
        client_socket = ClientSocket if self.threads is not None else None
        call = WSGICaller(
            self.application, self.base(), self.root_path, self._deliver, self._failed, client_socket
        )
        entry = call if self.threads is None else partial(self._submit, self.threads, call)
        self.request = entry
        self.body = entry  # type: ignore[method-assign]
        self.context.kernel.engine.set_capacity(self.concurrency)
        loop = self.context.kernel.loop
        if self.threads is None and isinstance(loop, EngineLoop):
            loop.poll_without_running_loop()
        if self.options.ready_path is not None:
            from prefork.hosting.readiness import check_wsgi  # here, not in the memory of every worker

            await check_wsgi(self.application, self.base(), self.options, self.threads)
            self.context.kernel.end_if_abandoned()  # the page may have forked: such a child ends here

    def warm(self) -> Iterator[Outcome]:
        """Mold: requests pages in this thread."""
        from prefork.hosting.synthetic import Page, environ, probe_wsgi  # as in `startup`

        base = self.common(is_pool=True)
        for page in self.options.warm:
            yield probe_wsgi(self.application, environ(base, Page.of(page), self.root_path))

    def _submit(self, threads: Threads, call: WSGICaller, request: Request, response: StartResponse) -> None:
        if self.context.options.request_timeout:
            response.when_overdue(partial(self._end_call, threads, request, response))
        try:
            threads.submit(call, request, response)
        except RuntimeError as error:
            self._failed(error, request, response)

    def _end_call(self, threads: Threads, request: Request, response: StartResponse) -> None:
        """The client has got a 504. The call ends where Python runs next; it may be stuck in C for good."""
        response.report()
        threads.interrupt(request)

    # --- one body ----------------------------------------------------------------------------------------

    def _deliver(self, context: Context, result: Any, request: Request, response: StartResponse) -> None:
        self._go_on(context, self._steps(result, request, response), request, response)

    def _steps(self, result: Any, request: Request, response: StartResponse) -> Steps:
        """Sends a body and closes it. Yields where the client has to read something first, or other clients
        have their turn. The value that is sent in is whether the client is still connected.
        """
        try:
            try:
                whole = self._whole(result, response)
                if whole is None:
                    yield from self._send(result, response)
                response.respond(whole)
            finally:
                if hasattr(result, "close"):
                    result.close()
        except GeneratorExit:
            raise  # this process ends; or the application raised it, and `_go_on` handles it
        except BaseException as error:
            self._failed(error, request, response)

    def _whole(self, result: Any, response: Response) -> tuple[bytes, ...] | FilePart | None:
        if type(result) is FileWrapper:
            return result.part(response.header("Content-Length"))
        return result if type(result) is tuple else None

    def _send(self, result: Any, response: StartResponse) -> Steps:
        if not isinstance(result, Iterable) or isinstance(result, str | bytes):
            raise InvalidResponse(f"it returned {result!r}: expected an iterable of bytes")
        if response.ends_with_head:
            return  # no part of the body is sent, and to make the first one may take long
        blocks = self.threads is not None
        for number, part in enumerate(result, 1):
            if part != b"":  # an empty one may come before the status is known
                response.send(part)
            if response.ends_with_head:
                return  # the rest may be endless
            # What was sent leaves before the application makes more, which may take long.
            left = response.flush(wait=blocks)
            if not (blocks or (left and number % PARTS_PER_TURN)) and not (yield):
                raise ConnectionGone("the client left in the middle of the body")

    def _go_on(
        self,
        context: Context,
        steps: Steps,
        request: Request,
        response: StartResponse,
        alive: bool | None = None,
    ) -> None:
        """Makes parts of the body until the client has to read some, and goes on when it has."""
        goes_on = False
        try:
            context.run(steps.send, alive)
            rest = partial(self._go_on, context, steps, request, response)
            if response.when_drained(rest):
                goes_on = True
            elif response.streaming:
                context.run(steps.send, False)
            else:  # only empty parts yet: the client has nothing to read, but may leave
                loop = self.context.kernel.loop
                loop.call_soon(without_running_loop(loop, rest), True)
                goes_on = True
        except StopIteration:
            pass
        except GeneratorExit as error:
            self._failed(error, request, response)
        finally:
            # What the application keeps for this thread belongs to this call until its end: a database
            # connection in the middle of a transaction, for example.
            began = alive is None
            if goes_on == began:
                self.context.kernel.engine.set_occupied(goes_on)

    def _failed(self, error: BaseException, request: Request, response: StartResponse) -> None:
        """The application failed: one line in the log, and a 500 if nothing was sent."""
        if isinstance(error, ConnectionGone):
            response.report()
            return  # the error hook was called when the connection closed
        if response.taken_over and isinstance(error, ENDS_OF_TAKEOVER):
            return
        self.abort(response, error, request)
        response.report()  # now: the exception may refer to it for long
        self.failed(f"{request.method} {request.path}", error, request)
