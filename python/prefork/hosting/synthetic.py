"""One request through the whole application, without a client and without a socket.

A mold is warmed by such requests before it forks, and a worker makes one before it accepts (`--ready-path`).
The application sees what the engine would give it for a GET without a body, and is held to its interface.

Always: a request ends within its time, and whatever the application does or raises is its outcome. It must
not know workers, molds or the log.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # CPython's; `signal` looks up enum members, see signals.py
import asyncio
import contextlib
import re
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextvars import copy_context
from types import FrameType, TracebackType
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from prefork.hosting.asgi_types import Application, Message, Scope
from prefork.kernel.fork_hooks import handles_signals, is_ours
from prefork.logs.escaping import show
from prefork.server.service import Outcome
from prefork.server.startup import AGAIN_S, LOOP_S, is_machinery

LIMIT_S = 10.0
"""The time that an application has for one request, with its lifespan not counted."""

CANCELLED_S = 0.5
"""The time that it has for what it does when it is cancelled."""

CLIENT = "127.0.0.1"
"""The address of a client that is none."""

EXCERPT = 200
"""How many characters of an error page an outcome has."""

AGENT = "prefork"
"""The User-Agent of such a request, by which an application can tell it."""

OURS = "prefork."


class Page(NamedTuple):
    """What is requested, as a URL has it."""

    scheme: str
    host: str
    path: str
    query: str

    @classmethod
    def of(cls, given: str) -> Page:
        """From what the options `warm` and `ready_path` accept."""
        found = re.fullmatch(r"(?:(https?)://([^/?]+))?([^?]*)(?:\?(.*))?", given)
        assert found is not None
        return cls(found[1] or "http", found[2] or "localhost", found[3] or "/", found[4] or "")

    @property
    def place(self) -> tuple[str, int]:
        """The host and the port that it names."""
        host, _, port = self.host.rpartition(":")
        if host and port.isdecimal():
            return host, int(port)
        return self.host, 443 if self.scheme == "https" else 80

    @property
    def fields(self) -> list[tuple[str, str]]:
        """The header fields of the request."""
        return [("host", self.host), ("user-agent", AGENT), ("accept", "*/*")]


def below(path: str, root_path: str) -> str:
    """What is left of a path below the root path; the path itself if it is not below that."""
    is_below = root_path and f"{path}/".startswith(f"{root_path}/")
    return path[len(root_path) :] if is_below else path


def environ(base: Mapping[str, Any], page: Page, root_path: str) -> dict[str, Any]:
    """The environ of a request, from what all have in common (PEP 3333)."""
    path = below(unquote_to_bytes(page.path).decode("latin-1"), root_path.encode().decode("latin-1"))
    host, port = page.place
    encrypted = {"wsgi.url_scheme": "https", "HTTPS": "on"} if page.scheme == "https" else {}
    return {
        **base,
        **encrypted,
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "PATH_INFO": path,
        "RAW_URI": page.path + (page.query and f"?{page.query}"),
        "QUERY_STRING": page.query,
        "REMOTE_ADDR": CLIENT,
        **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in page.fields},
    }


def scope(base: Mapping[str, Any], page: Page, root_path: str) -> Scope:
    """The scope of a request, from what all have in common (ASGI 3)."""
    path = unquote_to_bytes(page.path).decode(errors="replace")
    if below(path, root_path) is path:
        path = root_path + path
    return {
        **base,
        "scheme": page.scheme,
        "path": path,
        "raw_path": page.path.encode(),
        "query_string": page.query.encode(),
        "server": page.place,
        "client": (CLIENT, 0),
        "headers": [(name.encode(), value.encode()) for name, value in page.fields],
        "state": dict(base["state"]),
        "extensions": dict(base["extensions"]),
    }


# --- WSGI ------------------------------------------------------------------------------------------------


class _StartResponse:
    """`start_response` (PEP 3333), which notes the status."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.body = b""

    def __call__(
        self,
        status: str,
        headers: list[tuple[str, str]],  # noqa: ARG002
        exc_info: tuple[type[BaseException], BaseException, TracebackType] | None = None,
    ) -> Callable[[bytes], object]:
        if exc_info is not None and self.body:
            raise exc_info[1].with_traceback(exc_info[2])
        if exc_info is None and self.status is not None:
            raise AssertionError("start_response was called twice, without exc_info")
        self.status = int(status[:3])
        return self.write

    def write(self, part: bytes) -> None:
        if not isinstance(part, bytes):
            raise TypeError(f"a part of its body is of type {type(part).__name__}: expected bytes")
        if part and self.status is None:
            raise AssertionError("it returned a body before it called start_response")
        self.body = self.body or part[: 4 * EXCERPT]


def probe_wsgi(
    application: Callable[..., Any], environ: dict[str, Any], within_s: float = LIMIT_S
) -> Outcome:
    """Calls a WSGI application in this thread, in a context of its own, and reads its body to the end."""
    response = _StartResponse()
    try:
        with time_limit(within_s):
            copy_context().run(_call, application, environ, response)
    except Overdue:
        return Outcome(response.status, overdue(within_s))
    except (Exception, SystemExit, GeneratorExit) as error:
        return Outcome(response.status, _raised(error))
    return _outcome(response.status, response.body)


def _call(application: Callable[..., Any], environ: dict[str, Any], response: _StartResponse) -> None:
    body = application(environ, response)
    try:
        if not isinstance(body, Iterable) or isinstance(body, str | bytes):
            raise TypeError(f"it returned {body!r}: expected an iterable of bytes")
        for part in body:
            response.write(part)
    finally:
        if hasattr(body, "close"):
            body.close()


# --- ASGI ------------------------------------------------------------------------------------------------


class _Exchange:
    """`receive` and `send` (ASGI 3, the http scope), which note the status."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.body = b""
        self._received = False
        self._complete = asyncio.Event()

    async def receive(self) -> Message:
        if self._received:
            await self._complete.wait()
            return {"type": "http.disconnect"}
        self._received = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start" and self.status is None:
            self.status = int(message["status"])
        elif kind == "http.response.body" and self.status is not None and not self._complete.is_set():
            self.body = self.body or bytes(message.get("body", b"")[: 4 * EXCERPT])
            if not message.get("more_body", False):
                self._complete.set()
        elif kind == "http.response.pathsend" and self.status is not None:
            self._complete.set()
        elif kind not in ("http.response.trailers", "http.response.early_hint", "http.response.debug"):
            raise RuntimeError(f"the application sent {kind!r}, which has no place there")

    @property
    def is_complete(self) -> bool:
        return self._complete.is_set()


async def probe_asgi(application: Application, scope: Scope, within_s: float = LIMIT_S) -> Outcome:
    """Calls an ASGI application in a task of this loop, and waits until it returns."""
    exchange = _Exchange()
    call = asyncio.create_task(_contained(application(scope, exchange.receive, exchange.send)))
    try:
        with time_limit(within_s + LOOP_S):  # what waits in the loop is cancelled before
            await asyncio.wait({call}, timeout=within_s)
        if not call.done():
            return Outcome(exchange.status, overdue(within_s))
    finally:
        if not call.done():
            call.cancel()
            await asyncio.wait({call}, timeout=CANCELLED_S)
    error = asyncio.CancelledError("it was cancelled") if call.cancelled() else call.result()
    if isinstance(error, Overdue):
        return Outcome(exchange.status, overdue(within_s))
    if error is not None:
        return Outcome(exchange.status, _raised(error))
    if exchange.status is not None and not exchange.is_complete:
        return Outcome(exchange.status, "it returned in the middle of its response")
    return _outcome(exchange.status, exchange.body)


async def _contained(call: Awaitable[None]) -> BaseException | None:
    """What the call raised. The loop would let some exceptions through."""
    try:
        await call
    except (Exception, SystemExit, GeneratorExit, Overdue) as error:
        return error
    return None


# --- its end ---------------------------------------------------------------------------------------------


def _outcome(status: int | None, body: bytes) -> Outcome:
    if status is None:
        return Outcome(None, "it returned without a response")
    text = " ".join(body.decode(errors="replace").split())
    return Outcome(status, says="" if status < 400 or text.startswith("<") else text[:EXCERPT])


def overdue(within_s: float) -> str:
    """The problem of a request that has not ended in time."""
    return f"it had not ended after {within_s:g} s"


def _raised(error: BaseException) -> str:
    """What the application raised, and where."""
    frames = [
        (frame.f_code.co_filename, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if not f"{frame.f_globals.get('__name__', '')}.".startswith(OURS)
    ]
    where = f" ({frames[-1][0]}:{frames[-1][1]})" if frames else ""
    return f"it raised {show(error, repr)}{where}"


class Overdue(BaseException):
    """Interrupts an application that blocks. It is no Exception: one that tries again ends as well."""


@contextlib.contextmanager
def time_limit(within_s: float) -> Iterator[None]:
    """Interrupts code of the application that blocks this thread for longer, by SIGALRM.

    Only in the main thread, and not while the end of the process has such a limit. Code in C that does not
    return is not interrupted: the limit of the whole boot or load ends its process. A timer of the
    application goes on afterwards.
    """
    former = _signal.getsignal(_signal.SIGALRM)
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or former is None or (callable(former) and is_ours(former)):
        yield
        return
    began_s = time.monotonic()
    _signal.signal(_signal.SIGALRM, _interrupt)
    left_s, interval_s = _signal.setitimer(_signal.ITIMER_REAL, within_s, AGAIN_S)
    try:
        yield
    finally:
        # A process that is told to end meanwhile has set its own limit in this place.
        if _signal.getsignal(_signal.SIGALRM) is _interrupt:
            _signal.setitimer(_signal.ITIMER_REAL, 0)
            _signal.signal(_signal.SIGALRM, former)
            if left_s:
                left_s = max(left_s - (time.monotonic() - began_s), AGAIN_S)
                _signal.setitimer(_signal.ITIMER_REAL, left_s, interval_s)


@handles_signals
def _interrupt(_signum: int, frame: FrameType | None) -> None:
    if not is_machinery(frame):
        _signal.setitimer(_signal.ITIMER_REAL, 0)
        raise Overdue
