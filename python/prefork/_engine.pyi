"""The native engine as Python sees it.

The docstrings are those of the native module (`crates/python`), for editors; a test compares them. Names that
begin with an underscore exist only here, for type checkers.
"""

from asyncio import AbstractEventLoop, Future, Task
from collections.abc import (
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
    Sequence,
)
from contextvars import Context
from re import Match
from typing import Any, BinaryIO, ClassVar, Protocol, Self, TypeAlias, TypedDict, TypeVar, final, overload

from typing_extensions import Buffer, disjoint_base

from prefork.config.options import AppOptions, ServerOptions
from prefork.forms import Upload

__all__ = [
    "HAND_OFF_FORMAT",
    "INTERRUPT",
    "LOG_LEVEL",
    "REOPEN_LOG",
    "STACKS",
    "STUCK",
    "TASKS",
    "TRACEBACKS",
    "ASGICaller",
    "AccessLog",
    "BlockedSignals",
    "Connection",
    "Engine",
    "EventQueue",
    "FilePart",
    "HTTPExchange",
    "Headers",
    "Input",
    "MountCaller",
    "Request",
    "Response",
    "Scoreboard",
    "StartResponse",
    "TlsConfig",
    "WSGICaller",
    "WebSocketExchange",
    "accept_queue_length",
    "access_log_atoms",
    "access_log_fault",
    "adopt_orphans",
    "adopts_orphans",
    "build_facts",
    "die_with_parent",
    "enter_sandbox",
    "fill_heap",
    "fork_twice",
    "immortalise",
    "log_stuck_as_json",
    "queue_length",
    "raise_in_call",
    "take_interrupt",
    "tie_next_fork",
    "time_bounds",
    "try_sandbox",
]

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)
_File: TypeAlias = tuple[str, bytes]
_Fields: TypeAlias = Headers | Mapping[str, str] | Iterable[tuple[str, str]]

STUCK: int
"""The exit status of a worker that was stuck in a request for too long: 124, as that of timeout(1)."""
TRACEBACKS: int
"""The signal on which `faulthandler` writes the traceback of every thread before a stuck worker exits: 64,
the last real-time one."""
STACKS: int
"""The signal on which it writes the same to the manager, for `prefork stacks`: 63."""
TASKS: int
"""The signal on which Python writes the tasks of the loop to the manager, for `prefork stacks`: 60."""
HAND_OFF_FORMAT: int
"""The version of what workers write to the central queue. Two pools may share a queue if it is the same."""
LOG_LEVEL: int
"""The signal on which a worker takes the level of the log from the scoreboard: 62."""

REOPEN_LOG: int
"""The signal on which a worker opens the file of the access log again: 59."""

INTERRUPT: int
"""The signal at which the main thread of a worker that is stuck raises `RequestTimeout`: 61. It is sent only
if there is a handler."""

def take_interrupt() -> bool:
    """Whether this process ends because it is stuck, and this is the first call. The handler of INTERRUPT
    raises an exception then. The process ends when that reaches the server, or after a second."""

def raise_in_call(calls: list[_T], number: int, call: _T, thread: int, error: type[BaseException]) -> bool:
    """Raises `error` in another thread where that runs Python next, if `calls[number]` is `call`. Returns
    whether it is. Nothing runs in Python in between."""

def log_stuck_as_json(fd: int) -> None:
    """Has the line about a process that is stuck written as JSON. `fd` is what `faulthandler` is registered
    with for `TRACEBACKS`, and is used for nothing else."""

@final
class AccessLog:
    """The access log of the listeners whose service has it: where its lines go, to a path or a descriptor,
    their format, and the paths that have none. Each process opens the file for itself, when it writes first.

    Raises OSError if the file cannot be written, and ValueError for a format that is none.
    """

    def __new__(cls, place: str | int, form: str = "combined", skip: list[str] = ...) -> AccessLog: ...

def access_log_fault(form: str) -> tuple[str, str] | None:
    """What is wrong with a format of the access log: `unknown` and the name of an atom that does not exist,
    `invalid` and the text that is no atom, or `constant` if it has no atom. None if nothing is."""

def access_log_atoms() -> tuple[str, ...]:
    """The names of the atoms of the access log, without those of header fields and variables."""

def adopt_orphans() -> None:
    """Has the orphans of this process's descendants become its children: it is a child subreaper from now on
    (prctl(2), PR_SET_CHILD_SUBREAPER). Raises OSError.
    """

def adopts_orphans() -> bool:
    """Whether this process is given the orphans of its descendants: it is PID 1 of its namespace, or a child
    subreaper (prctl(2), PR_SET_CHILD_SUBREAPER)."""

def build_facts() -> dict[str, str]:
    """How this module was built: `version`, `commit`, `profile`, `target`, `rustc`, `features` (of prefork,
    with commas) and `cryptography`. What was not known is empty."""

def die_with_parent(parent: int) -> bool:
    """Has this process killed when its parent dies (prctl(2), PR_SET_PDEATHSIG). `parent` is the parent's
    process id. Returns False if the parent is gone already.

    Raises OSError.
    """

def tie_next_fork(process: int) -> None:
    """Has the next child that this thread forks die with `process`, from its first moment: before any
    function of another library or of Python runs in it that is called at forks. Such a function may hang.

    If `process` is not the one that forks, the child waits there until that has ended: it is one of `process`
    then, a child subreaper. A child whose `process` is gone ends with status 1.
    """

def enter_sandbox(
    *, write: Sequence[str], append: Sequence[str], connect: Sequence[int] | None
) -> tuple[list[str], int]:
    """Worker: takes from this process, for good, what `--sandbox` is about. `write` are files and directories
    that it may change, `append` directories of logs, `connect` ports to which it may connect; None: all.
    Returns what the kernel cannot take, as texts, and the number of threads that were started before and keep
    what Landlock takes."""

def try_sandbox(*, write: Sequence[str], append: Sequence[str], connect: Sequence[int] | None) -> list[str]:
    """Manager: what the kernel could not take, found out by a thread of its own, which enters the sandbox and
    ends. This process is not restricted.

    Raises OSError if there is no thread.
    """

def accept_queue_length(fileno: int) -> int | None:
    """How many clients of a listening TCP socket wait to be accepted (tcp(7), TCP_INFO). None: it is a socket
    of another kind, which does not tell.

    Raises ValueError for a negative number.
    """

def time_bounds() -> tuple[float, ...]:
    """Where each bucket of `Scoreboard.times()` begins, in seconds."""

def queue_length(fileno: int) -> int:
    """How many connections are in the queue between workers with this receiving end.

    Raises ValueError for a negative number.
    """

@final
class BlockedSignals:
    """A context manager that blocks every signal in this thread: for a fork. A signal that reaches the child
    while it still has its parent's self-pipe would be handled by the parent.

    `signal.pthread_sigmask` does the same, but looks up an enum member for each of 64 signals, and so writes
    to pages that the child shares with its parent."""

    def __new__(cls) -> BlockedSignals: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *_error: object) -> None: ...

def fill_heap() -> int:
    """Allocates the free memory between the objects of this process, and keeps it. Returns its size in bytes.
    To be called before a fork, on the thread that forks: the child's objects then lie in pages of their own,
    and fewer shared pages are copied."""

def fork_twice() -> int:
    """As `os.fork`, but the child is a child of the nearest subreaper above this process: it is that already
    when this returns 0 in it.

    Raises OSError.
    """

def immortalise(
    roots: list[object], kinds: Sequence[type[object]], version: tuple[int, int], is_usual: bool
) -> int:
    """Marks objects as immortal: those among `roots`, and all that they lead to, whose type is one of
    `kinds`, and every type. Returns how many were marked.

    What is marked is never freed, and no finalizer of it runs. The process keeps what it refers to. To be
    called before a fork, where no C code on the stack still builds an object.

    `version` is that of the interpreter, and `is_usual` says that it is a build for 64 bits with a GIL that
    does not check its counts. Raises RuntimeError if the counts of such an interpreter are not known, or not
    as expected."""

class _Service(Protocol):
    """What the requests of a listener are handed to: the interface between the engine and a kind of
    application.

    `Engine.listen()` looks the attributes up once. The engine calls the methods in `poll()`, on its thread.
    An exception of one costs that request and no other; SystemExit and KeyboardInterrupt leave `poll()`.
    """

    @property
    def pulls_bodies(self) -> bool:
        """Whether `request` is called for every head, and reads the body with an `HTTPExchange`. Otherwise
        the engine collects bodies, and calls `head` and `body` for a request that has one."""
    @property
    def uses_start_response(self) -> bool:
        """Whether the responses are `StartResponse` objects, as WSGI needs them."""
    @property
    def takes_websockets(self) -> bool:
        """Whether a WebSocket over HTTP/2 is passed on (RFC 8441). Otherwise it is refused, since an ordinary
        response of 200 would accept it."""
    @property
    def adds_content_type(self) -> bool:
        """Whether a response without a Content-Type gets text/plain."""
    def request(self, request: Request, response: Response, /) -> object:
        """Called with a request without a body; with `pulls_bodies` with every request. It completes the
        response now or later."""
    def head(self, request: Request, response: Response, /) -> bool:
        """Called with a request whose body is not received yet. Returns True to have the body collected and
        `body` called, or False if the response is complete."""
    def body(self, request: Request, response: Response, /) -> object:
        """Called with the whole body of a request for which `head` returned True."""
    def malformed(self, response: Response, status: int, reason: str, remote_ip: str, /) -> bool:
        """Called for bytes that are not a request, with the status that fits. Returns True if it completes
        the response, now or later, or False to have the engine send that status. The connection closes either
        way."""
    @property
    def request_ended(self) -> Callable[[Request | None, Response], object] | None:
        """Called after each complete response, with None for a malformed request. None saves the call."""
    @property
    def access_log(self) -> AccessLog | None:
        """Where the engine writes a line for each response. None: nowhere."""
    def unanswered(self, handler: Any, remote_ip: str, request_id: str | None, /) -> object:
        """Called after a response was dropped before it was complete, with its `handler`. The client has got
        a 500, or a closed connection in the middle of the body."""
    def timed_out(self, request: str, seconds: float, remote_ip: str, request_id: str | None, /) -> object:
        """Called after a request, given as method and target, had no response within `request_timeout`. The
        client has got a 504."""
    def client_error(self, text: str, remote_ip: str, request_id: str | None, /) -> object:
        """Called when something went wrong for one client: it broke the protocol, was too slow, or left too
        early. The id is that of its request, if that is known and has one."""
    def server_warning(self, text: str, /) -> object:
        """Called when the listener cannot accept connections for now, and when it can again."""

@final
class Engine:
    """The I/O core of one process: it accepts clients, reads requests, calls the services of its listeners,
    and sends their responses. Listeners are numbered from 0 in the order of `listen()`; an unknown number is
    ignored.

    Raises OSError if the process has no descriptor left.
    """

    def __new__(cls) -> Engine: ...
    def nest(self, fd: int) -> None:
        """Adds the epoll set of another loop. `poll()` returns True when that set is ready.

        Raises ValueError for a negative descriptor, and OSError.
        """
    def fileno(self) -> int:
        """The descriptor of the epoll set, for another loop to wait for. That loop calls `poll(0)` when the
        descriptor is readable, and after `due()`.

        Raises ValueError if the engine is closed.
        """
    def due(self) -> float | None:
        """Seconds until the next turn is due even if `fileno()` is not readable; None for never. A change
        after this call makes it readable."""
    def poll(self, timeout: float | None) -> bool:
        """One turn: waits at most `timeout` seconds, with None without a limit, and serves what is ready.
        Returns True if the nested set is ready. The GIL is released only around a wait that can block.

        Raises SystemExit and KeyboardInterrupt if a service raises them; any other exception costs one
        request and goes to `sys.unraisablehook`. Raises OSError if the epoll set is unusable.
        """
    def select(self, timeout: float | None) -> bool:
        """As `poll()`, for a loop that has nothing else to do: takes more turns, within `timeout` in all,
        while they bring nothing for Python, as the steps of a handshake.
        """
    def listen(
        self,
        fd: int,
        service: _Service,
        options: ServerOptions,
        tls: TlsConfig | None = None,
        own: dict[str, Any] | None = None,
    ) -> int:
        """Serves the clients of a listening, non-blocking socket, whose descriptor is duplicated. With `tls`
        their connections are encrypted. The attributes of `service` are looked up now. Returns the listener's
        number. `own` is what the environ or the scope of its requests has instead of the values of the base.

        Raises AttributeError or TypeError if the service misses an attribute or an option is not of its type,
        ValueError for a negative descriptor, and OSError.
        """
    def reopen_log(self) -> None:
        """Opens the file of the access log again, because it was renamed."""
    def unlisten(self, listener: int) -> None:
        """Closes a listener. Its connections stay open."""
    def accepting(self, listener: int, yes: bool) -> None:
        """Pauses accepting new connections, or resumes it.

        Raises OSError.
        """
    def drain(self, listener: int, idle: float, drained: Callable[[], object]) -> None:
        """Closes a listener and drains its connections: those between requests may bring one more within
        `idle` seconds, then each is closed after its response. `drained()` is called when the last one is
        closed."""
    def abort(self, listener: int) -> None:
        """Closes every connection of a listener at once, even in the middle of a response."""
    def join_pool(
        self, scoreboard: Scoreboard, index: int, concurrency: int, workers: int, overcommit_fd: int
    ) -> None:
        """Makes this forked process the worker of slot `index`. While it has `concurrency` requests in
        flight, it accepts no connection unless the descriptor `overcommit_fd` is readable and the scoreboard
        says overcommit. The pool has at most `workers` workers: a client of HTTP/2 may have as many streams
        open as they can serve. It is duplicated; the scoreboard is closed in this process.

        Raises OSError, and RuntimeError if the scoreboard is not the manager's.
        """
    def join_queue(self, send_fd: int, receive_fd: int) -> None:
        """Worker: hands connections off to the other workers through the socket `send_fd`, and adopts theirs
        from `receive_fd`. Both are duplicated.

        Raises OSError.
        """
    def end_with(self, manager: int) -> None:
        """Worker: kills this process when the process `manager` has ended; with a guard also while this
        thread is stuck. Unlike `die_with_parent`, a process that changes its user keeps it.

        Raises OSError.
        """
    def start_guard(self, heartbeat: float) -> None:
        """Worker: starts the guard, a native thread that acts while this one is stuck: it hands connections
        off, and ends the process at the request timeout, or if this thread is blocked for `heartbeat`
        seconds; 0 disables that. It handles no signal but TRACEBACKS.

        Raises OSError.
        """
    def enter_pool(self) -> None:
        """Worker: becomes a spare on the scoreboard, and wakes the manager."""
    def when_broken(self, callback: Callable[[str, bool], object]) -> None:
        """Has `callback(what, turns)` called when a descriptor of the engine is
        unusable, because the program closed it or a process that shares it shut it
        down. `what` says which, and the system's error. The process must end: at
        once if `turns` is False, or when its requests are done.
        """
    def leave_pool(self) -> None:
        """Worker: becomes draining on the scoreboard."""
    @property
    def pool_stops(self) -> bool:
        """Worker: whether the manager shuts the whole pool down; False outside of one."""
    @property
    def pool_log_level(self) -> int:
        """Worker: the lowest level that the log shows, as `logging` counts it, if the manager has changed it;
        0 if not, and outside of a pool."""
    def ask_for_successor(self) -> None:
        """Worker: has the manager spawn another one, and then end this one. It serves until then."""
    def set_max_requests(self, requests: int, callback: Callable[[], object]) -> None:
        """Has `callback()` called once, when this process has taken that many requests."""
    def set_capacity(self, requests: int) -> None:
        """Sets how many requests the services can serve at once, without a limit by default. No more are
        begun: their connections are handed off, or wait."""
    def set_occupied(self, yes: bool) -> None:
        """While set, no request is begun. A service sets it when it returns in the middle of a response that
        must be over before this thread serves another."""
    @property
    def connections(self) -> int:
        """The number of open connections."""
    @property
    def in_flight(self) -> int:
        """The number of requests that were handed to a service and have no complete response."""
    def deliver(self, queue: EventQueue | None) -> None:
        """Delivers what is posted to `queue` while an event of this engine is served right after that event,
        in the same turn; with None not any more."""
    def when_closed(self, connection: int, callback: Callable[[], object]) -> bool:
        """Has `callback()` called once when the connection with this `id` closes. Returns False, and does not
        call it, if there is no such connection."""
    def close(self) -> None:
        """Closes the descriptors of this process: the epoll set, every listener and connection."""
    def discard(self) -> None:
        """In a forked child, at once after the fork: closes its copies of the descriptors. It takes nothing
        out of the epoll set, which the child shares with its parent, and no client notices."""

@disjoint_base
class EventQueue:
    """Posts and calls events of sessions, which are known by an alias, by their id, or as they are."""

    def __new__(cls, *_args: Any, **_options: Any) -> Self: ...
    def post(self, target: Any, event: str, /, *args: Any) -> bool:
        """Queues an event, in order of posting. Returns False if there is no such session or event."""
    def call(self, target: Any, event: str, /, *args: Any) -> Any:
        """Runs an event now and returns its value; that of an asynchronous event is its task.

        Raises UnknownSession, UnknownEvent and what the event raises; the caller handles it, so nothing is
        logged.
        """
    def resolve(self, target: Any, event: str) -> tuple[Any, Callable[..., Any]]:
        """A session, and what runs on that event.

        Raises UnknownSession and UnknownEvent.
        """
    @property
    def _targets(self) -> dict[str, tuple[Any, dict[str, Callable[..., Any]]]]: ...
    def _changed(self) -> None: ...
    def _put(self, session: Any, event: str, args: tuple[Any, ...]) -> None: ...
    def _begin_delivery(self) -> None: ...
    def _end_delivery(self) -> list[tuple[Any, str, tuple[Any, ...]]]: ...
    def _drain(self) -> None: ...
    def _drop_events(self, session: Any) -> None: ...
    def _queued(self) -> list[Any]: ...
    def _counts(self) -> tuple[int, int]: ...

@final
class Headers:
    """Header fields (RFC 9110, section 5): in order, with repeats, names without case. Made of a mapping or
    an iterable of (name, value). `[]` and `get()` give the first value of a name; setting one replaces every
    field of that name. `len()`, iteration, `keys()`, `values()` and `items()` have every field, repeats
    included. A value that does not fit Latin-1 is sent as UTF-8.

    Raises TypeError for names or values that are not str.
    """

    __hash__: ClassVar[None]  # type: ignore[assignment]
    def __new__(cls, fields: _Fields | None = None) -> Headers: ...
    def __getitem__(self, name: str, /) -> str:
        """The first value of that name. Raises KeyError without one."""
    def __setitem__(self, name: str, value: str, /) -> None:
        """Replaces every field of that name by one."""
    def __delitem__(self, name: str, /) -> None:
        """Removes every field of that name. Raises KeyError without one."""
    def __contains__(self, name: str, /) -> bool: ...
    def __iter__(self) -> Iterator[str]: ...
    def __len__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    @overload
    def get(self, name: str, default: None = None) -> str | None:
        """The first value of that name, or `default` without one."""
    @overload
    def get(self, name: str, default: _T) -> str | _T: ...
    def get_all(self, name: str) -> list[str]:
        """Every value of that name, in order; an empty list without one."""
    def add(self, name: str, value: str) -> None:
        """Adds a field, and keeps those of the same name."""
    def keys(self) -> list[str]:
        """The name of every field, in order, repeats included."""
    def values(self) -> list[str]:
        """The value of every field, in order."""
    def items(self) -> list[tuple[str, str]]:
        """(name, value) of every field, in order, repeats included."""

@final
class Connection:
    """A client's connection. It may be kept, compared and read after the client has left. Two objects are
    equal if they are of the same connection."""

    @property
    def id(self) -> int:
        """A number that no other connection of this process has."""
    @property
    def remote_ip(self) -> str:
        """The client's IP address, as trusted proxies name it; `unix` over a Unix socket, `unknown` if a
        proxy does not tell it."""
    @property
    def remote_port(self) -> int:
        """The client's port; 0 over a Unix socket, and if a proxy does not tell it."""
    @property
    def remote_addr(self) -> bytes | None:
        """The client's IP address in network byte order, 4 or 16 bytes; None over a Unix socket."""
    @property
    def local_ip(self) -> str | None:
        """The IP address that the client connected to; None if the client had left before this object was
        made."""
    @property
    def local_port(self) -> int | None:
        """The port that the client connected to; 0 over a Unix socket, and None where `local_ip` is None."""
    @property
    def local_addr(self) -> bytes | None:
        """`local_ip` in network byte order; None over a Unix socket and where `local_ip` is None."""
    @property
    def dead(self) -> bool:
        """Whether the client is gone: nothing that is sent will arrive."""
    @property
    def ssl(self) -> bool:
        """Whether the connection is encrypted."""
    @property
    def sslcipher(self) -> str | None:
        """The cipher of an encrypted connection, as OpenSSL calls it; None for a plain one, and if the client
        had left before this object was made."""
    @property
    def proxy_protocol(self) -> dict[str, str]:
        """What a proxy tells by the PROXY protocol besides the client: `authority`, `alpn`, `unique_id` and
        the other names of docs/proxies.md. Empty without, and if the client had left before this object was
        made."""
    def when_closed(self, callback: Callable[[], object]) -> bool:
        """Has `callback()` called once when the connection closes. Returns False, and does not call it, if
        that is so already."""
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Request:
    """A request (RFC 9112). A handler is given it with its whole body; it may be kept after its connection
    has closed."""

    match: Match[str] | None
    """The match of the handler's regex in the path; None if the handler has no regex."""
    @property
    def method(self) -> str:
        """The method, in the received case."""
    @property
    def path(self) -> str:
        """The path, percent-decoded as UTF-8; other bytes become U+FFFD. With `proxy_mode` it is the whole
        request target, not decoded."""
    @property
    def raw_path(self) -> bytes:
        """The path as it came, not decoded."""
    @property
    def id(self) -> str | None:
        """Its id, which the response, the logs and the application have too; None without the option
        request_id."""
    @property
    def trace_id(self) -> str | None:
        """The id of the trace that it belongs to, 32 hex digits: that of the field traceparent (W3C Trace
        Context); None without a valid one."""
    @property
    def query(self) -> str:
        """What follows the question mark, not decoded; empty without one."""
    @property
    def uri(self) -> str:
        """The whole URI (RFC 9112, section 3.3): scheme, authority, path and query. That of `OPTIONS *` has
        neither path nor query. A target that is a whole URI is left as it came, unless `hostname` is set;
        with `proxy_mode` every target is."""
    @property
    def protocol(self) -> str:
        """The protocol of the request: `HTTP/1.1`, `HTTP/1.0` or `HTTP/2`."""
    @property
    def websocket(self) -> bool:
        """Whether the client asks for a WebSocket (RFC 6455, section 4.2.1)."""
    @property
    def headers(self) -> Headers:
        """A copy of the header fields: changing it does not change the request."""
    @overload
    def header(self, name: str, default: None = None) -> str | None:
        """The first header field of that name, or `default`."""
    @overload
    def header(self, name: str, default: _T) -> str | _T: ...
    @property
    def content_type(self) -> str | None:
        """The Content-Type field, or None."""
    @property
    def content_length(self) -> int:
        """The body's length in bytes."""
    @property
    def content(self) -> bytes:
        """The body, empty without one. A body that was spooled to a file is read into memory; `body` reads it
        in parts.

        Raises OSError if that file cannot be read.
        """
    @property
    def body(self) -> BinaryIO:
        """The body as a binary file of its own position, whether it is in memory or on disk. The caller
        closes it.

        Raises OSError if the spooled file cannot be opened.
        """
    def json(self) -> Any:
        """The body as JSON (RFC 8259).

        Raises ValueError if it is not JSON.
        """
    def form(self) -> dict[str, list[str | Upload]]:
        """The body as the fields of a form, each name with its values in order: str, or Upload for a file.
        Urlencoded (WHATWG URL, section 5) and multipart (RFC 7578) forms are read.

        Raises ValueError for any other Content-Type or a malformed body.
        """
    @property
    def authorization_basic(self) -> tuple[str, str] | None:
        """User and password of `Authorization: Basic` (RFC 7617); None without valid ones."""
    @property
    def remote_ip(self) -> str:
        """The client's IP address, as trusted proxies name it; `unix` over a Unix socket, `unknown` if a
        proxy does not tell it."""
    @property
    def connection(self) -> Connection:
        """The connection it came over."""

@final
class FilePart:
    """A part of a regular file: `length` bytes from `offset` on, by default all that follow. As the content
    of a response it is sent by the system (sendfile(2)) and never read into this process; `done()` then sets
    the Content-Length. `len()` is its length in bytes.

    The descriptor is duplicated, so `fd` may be closed at once. The file must not shrink before all is sent:
    that aborts the connection.

    Raises ValueError if `fd` is not a regular file or the part reaches beyond its end, and OSError if `fd` is
    not open.
    """

    def __new__(cls, fd: int, offset: int = 0, length: int | None = None) -> FilePart: ...
    def part(self, offset: int, length: int) -> FilePart:
        """A part of this part, `offset` counted from its beginning. Both share the descriptor.

        Raises ValueError if it reaches beyond the end.
        """
    def __len__(self) -> int: ...

@disjoint_base
class Response:
    """The response to one request. A handler fills it, and sends it with `done()`, in parts with `write()`,
    or closes the connection with `close()`. If it is dropped before that, the client gets a 500 and the log
    names the handler. What comes after the client has left does nothing."""

    code: int
    """The status code, 200 unless it is set (RFC 9110, section 15)."""
    content: str | bytes | FilePart | None
    """The body: str (sent as UTF-8), bytes, a FilePart, or None for an empty one."""
    handler: Any
    """What was given the request. The log names it if the response goes wrong."""
    context: Context | None
    """The context of the call that has the response sent later, by an event (PEP 567); its log belongs
    there."""
    @property
    def request(self) -> Request | None:
        """The request; None if what the client sent was not one."""

    @property
    def request_line(self) -> str | None:
        """The request line as it came, if what follows it was malformed; None for a request, and if the line
        could not be read."""
    @property
    def request_id(self) -> str | None:
        """The id of the request, or of what was malformed; None without the option request_id."""
    @property
    def headers(self) -> Headers:
        """The header fields. Changing them changes the response; setting them takes Headers, a mapping or an
        iterable of (name, value)."""
    @headers.setter
    def headers(self, fields: _Fields) -> None: ...
    def header(self, name: str, value: str | None = None) -> str | None:
        """With a value: replaces every header field of that name. Returns the first value of that name, None
        if there is none."""
    @property
    def content_type(self) -> str | None:
        """The Content-Type field; None without one. Then a response of a handler is sent as text/plain."""
    @content_type.setter
    def content_type(self, value: str) -> None: ...
    @property
    def connection(self) -> Connection:
        """The connection it goes over."""
    @property
    def answered(self) -> bool:
        """Whether it is complete, its connection closed, or the client gone."""
    @property
    def owed(self) -> bool:
        """Whether the client waits for it: it is not complete, and the client has neither left nor got a
        504."""
    @property
    def streaming(self) -> bool:
        """Whether its head is sent and its body is not complete."""
    @property
    def bodiless(self) -> bool:
        """Whether its head is sent and no body may follow, as in a response to HEAD, 204 and 304 (RFC 9112,
        section 6.3): what is written is dropped."""
    @property
    def unsent(self) -> int:
        """Bytes that were written and have not left the process."""
    @property
    def sent_bytes(self) -> int | None:
        """Bytes of the body that were sent, without its framing; None if not even the head was: the client
        had left. Of a response that was broken off, those that had left the process."""
    @property
    def sent(self) -> bool:
        """Whether it was sent whole: False before `done()`, if the client had left by then, and if the body
        was shorter than its Content-Length."""
    def stream(self, session: Any, event: str, dont_flush: bool = False) -> None:
        """Makes it a stream: `event` of `session`, which is an alias, a session or its id, writes the next
        part of the body. The event is posted again whenever what was written has left the process; with
        `dont_flush` it is not.

        Raises AlreadyAnswered.
        """
    @property
    def streams(self) -> tuple[Any, str, bool] | None:
        """(session, event, dont_flush) as `stream()` was given them; None before."""
    def write(self, data: str | bytes | FilePart | None = None) -> None:
        """Sends a part of the body, by default `content`, and the head before the first one. What exceeds a
        Content-Length is cut and reported to the error handler. A response to HEAD, a 204 and a 304 are
        complete with their head: the parts are dropped.

        Raises AlreadyAnswered; ConnectionGone if the client has left, or 50 ms after a head without a body:
        so a stream ends; and InvalidResponse for what cannot be sent, after which nothing was.
        """
    def flush(self, wait: bool = False) -> bool:
        """Sends what was written now, not only when the handler returns. Returns False if some of it has to
        wait for the client to read. With `wait` it blocks, without the GIL, until little is left, and returns
        True.

        Raises ConnectionGone, also for a client that reads nothing for `send_timeout`.
        """
    def done(self) -> bool:
        """Completes the response: sends head and content, or ends a stream. Returns True; False if the client
        has left: then nothing is sent and nothing raised, and the error handler was called. A content that
        differs from its Content-Length is cut, or the connection closed, and reported to the error handler.

        Raises AlreadyAnswered; and InvalidResponse for what cannot be sent, after which nothing was and a
        response is still owed.
        """
    def close(self) -> None:
        """Closes the connection: after the end of a stream, which is completed; as soon as a complete
        response is sent, if the client may send further requests; and without a response if none has begun.
        """
    def abort(self) -> None:
        """Closes the connection at once, without a response or in the middle of one: the client can tell that
        it is not whole. Nothing happens if it is complete."""
    def report(self) -> None:
        """Has the service hear of its end now: the engine has responded, and the handler may go on for
        long."""
    def when_drained(self, callback: Callable[[bool], object]) -> bool:
        """Has `callback(True)` called once when all that was written has left the process, or
        `callback(False)` if the connection closes before; neither if `done()` comes first. Returns False if
        no body is being streamed."""
    def when_gone(self, callback: Callable[[], object]) -> bool:
        """Has `callback()` called if the client leaves before the response is complete. A later call replaces
        the callback. Returns False if the client has left or the response is complete."""
    def when_overdue(self, callback: Callable[[], object]) -> bool:
        """Has `callback()` called if the response does not begin within `request_timeout`; the client has got
        a 504 then. A later call replaces the callback. Returns False if the response has begun or the client
        has left."""

@final
class TlsConfig:
    """The certificates and settings with which a listener speaks TLS. Made in the manager, and used by every
    worker that is forked afterwards. What the manager changes holds for the handshakes that begin from then
    on.

    `files` is a tuple. Its first item has a pair for each certificate: the chain, which begins with the
    server's own, and its private key. The others may be None: the password of encrypted keys, the
    certificates that those of clients follow from, and lists of revoked ones. All are PEM; a file is a pair
    of its name and its content. `client_auth` is none, optional or required. `ciphers` are names of OpenSSL
    or IANA, `protocols` names of ALPN; without any, all are offered.

    Raises ValueError if they cannot be used, with the name of the file and the reason, and OSError without
    memory."""

    def __new__(
        cls,
        files: tuple[list[tuple[_File, _File]], bytes | None, _File | None, _File | None],
        *,
        client_auth: str = "none",
        min_version: str = "1.2",
        ciphers: Sequence[str] = ...,
        protocols: Sequence[str] = ...,
    ) -> TlsConfig: ...
    def update(
        self, files: tuple[list[tuple[_File, _File]], bytes | None, _File | None, _File | None]
    ) -> None:
        """Manager: replaces the files. After a change of what clients are let in, no session is resumed that
        began before.

        Raises ValueError if they cannot be used, as the constructor does, and OSError if they are too large:
        then the former ones stay.
        """
    def rotate_tickets(self) -> None:
        """Manager: makes tickets with the next key. Those of the previous one cannot be used any more.

        Raises OSError if the system has no randomness.
        """
    def make_read_only(self) -> None:
        """Worker: only reads from now on what its manager publishes.

        Raises OSError.
        """
    @property
    def certificates(self) -> list[tuple[str, int]]:
        """Manager: the subject and the end of each certificate, in the order of `files`. The end is in
        seconds of the Unix epoch."""
    @property
    def revocation_lists(self) -> list[tuple[str, int]]:
        """Manager: the issuer and the end of each list of revoked certificates, in the order of their file.
        From the end on, which is in seconds of the Unix epoch, certificates of that issuer are refused."""

@final
class MountCaller:
    """Calls `service(request, response)` for each request, but for one at or below a mounted path
    `files(request, response, name)`, in a context of its own (PEP 567). `mounts` has pairs of a path without
    a slash at its end and `files`; the first that fits counts. With None the path is the service's. `name` is
    what follows the slash, percent-decoded; None without one."""

    def __new__(
        cls,
        mounts: Sequence[tuple[str, Callable[[Request, Response, str | None], object] | None]],
        service: Callable[[Request, Response], object],
    ) -> MountCaller: ...
    def __call__(self, request: Request, response: Response) -> bool:
        """Calls what the request is for. Returns whether that returned true."""

@final
class WSGICaller:
    """Calls a WSGI application for each request. `base` is the common part of all environs; the path below
    `root_path` is PATH_INFO. Each call has a context of its own (PEP 567). A body that is a list is sent at
    once; any other goes to `deliver(context, body, request, response)`. What the application raises goes to
    `failed(error, request, response)`. If `client_socket` is given, the environ of a plain connection has
    its result for the response as `gunicorn.socket` and `werkzeug.socket`."""

    def __new__(
        cls,
        application: Callable[[dict[str, Any], StartResponse], Iterable[bytes]],
        base: dict[str, Any],
        root_path: str,
        deliver: Callable[[Context, Any, Request, StartResponse], object],
        failed: Callable[[BaseException, Request, StartResponse], object],
        client_socket: Callable[[StartResponse], object] | None = None,
    ) -> WSGICaller: ...
    def __call__(self, request: Request, response: Response) -> None:
        """Calls the application for one request, whose response must be a `StartResponse`."""

@final
class ASGICaller:
    """Calls an ASGI application for each request, in a task of `event_loop` that takes its first step at
    once. `base` is the common part of all scopes; their paths begin with `root_path`. A call that completes
    its response in that step is over. Otherwise a callback is called: `waits(request, response, exchange,
    task)` if the task continues, `ended(request, response, exchange, task)` if it ended in another way,
    `failed(request, response, exchange, error)` if the application made no task. A client that asks for a
    WebSocket goes to `converse(scope, request, response)`. The other two are options of each
    `HTTPExchange`."""

    def __new__(
        cls,
        application: Callable[..., Coroutine[Any, Any, None]],
        base: dict[str, Any],
        root_path: str,
        event_loop: AbstractEventLoop,
        *,
        converse: Callable[[dict[str, Any], Request, Response], object],
        waits: Callable[[Request, Response, HTTPExchange, Task[None]], object],
        ended: Callable[[Request, Response, HTTPExchange, Task[None]], object],
        failed: Callable[[Request, Response, HTTPExchange, BaseException], object],
        pathsend: bool = False,
        drain_streams: bool = True,
    ) -> ASGICaller: ...
    def __call__(self, request: Request, response: Response) -> None:
        """Calls the application for one request."""

@final
class StartResponse(Response):
    """The response of one call of an application, which is also the `start_response` that the application is
    given. Status and headers are sent with the first bytes of the body."""

    @overload
    def __call__(
        self, status: str, response_headers: list[tuple[str, str]], exc_info: Any = None, /
    ) -> Callable[[bytes], None]:
        """As `start_response`: takes status and headers, and returns `write`, which is this object again.

        Raises AssertionError for a second call without `exc_info`, InvalidResponse for a status or headers
        that cannot be sent, and the exception in `exc_info` if the headers are sent already.
        """
    @overload
    def __call__(self, data: bytes, /) -> None:
        """As `write`: sends a part of the body now, and blocks while too much of it waits for the client.

        Raises what `send` raises.
        """
    @property
    def ends_with_head(self) -> bool:
        """Whether the status is known and no body may follow the head: the response to HEAD, 204, 205 and 304
        (RFC 9110, section 15.3.6; RFC 9112, section 6.3)."""
    @property
    def taken_over(self) -> bool:
        """Whether the application has taken the connection over."""
    def take_over(self) -> tuple[int, bytes]:
        """Leaves the connection to the application, which owes no response then; it is in flight until
        `end_takeover()`. Blocks until earlier responses are sent. Returns a new descriptor of the socket, and
        what the client has sent after its request.

        Raises AlreadyAnswered after the response has begun, and ConnectionGone.
        """
    def end_takeover(self) -> None:
        """The application has done with the connection: what it has sent arrives, then the connection is
        closed."""
    def send(self, data: bytes) -> None:
        """Sends a part of the body.

        Raises ConnectionGone if the client has left, and InvalidResponse for data that is not bytes or comes
        before `start_response`.
        """
    def respond(self, body: list[bytes] | tuple[bytes, ...] | FilePart | None = None, /) -> None:
        """Completes the response: with a whole body, given as its parts or as a part of a file, or without
        one after `send`.

        Raises InvalidResponse as `send` does.
        """

@final
class Input:
    """`wsgi.input` (PEP 3333): the body of a request as a binary stream, which ends where the body ends. Made
    without a body, it is empty. It has the methods of a binary file that is read (`io.BufferedIOBase`).

    Each method raises OSError if a spooled body cannot be read, and ValueError once the stream is closed.
    """

    def __new__(cls) -> Input: ...
    def read(self, size: int | None = None, /) -> bytes:
        """The next bytes: at most `size`, or all without a size or with a negative one; empty at the end."""
    def readline(self, size: int | None = None, /) -> bytes:
        """The next line with its line feed, or at most `size` bytes of it; empty at the end."""
    def readlines(self, hint: int | None = None, /) -> list[bytes]:
        """The lines that are left, or as many as make up `hint` bytes."""
    def read1(self, size: int | None = None, /) -> bytes:
        """As `read`."""
    def readall(self) -> bytes:
        """All that is left."""
    def readinto(self, buffer: Buffer, /) -> int:
        """Reads into a writable buffer. Returns how many bytes: 0 at the end."""
    def readinto1(self, buffer: Buffer, /) -> int:
        """As `readinto`."""
    def __iter__(self) -> Self: ...
    def __next__(self) -> bytes: ...
    @property
    def closed(self) -> bool:
        """Whether `close()` was called. Without a body it is always open."""
    def close(self) -> None:
        """Closes the stream: nothing can be read any more."""
    def __enter__(self) -> Self: ...
    def __exit__(self, *_error: object) -> None: ...
    def readable(self) -> bool:
        """True."""
    def seekable(self) -> bool:
        """True: the body is whole."""
    def writable(self) -> bool:
        """False."""
    def isatty(self) -> bool:
        """False."""
    def flush(self) -> None:
        """Does nothing."""
    def tell(self) -> int:
        """The position in the body."""
    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Goes to a position: from the beginning, with `whence` 1 from the current one, with 2 from the end.
        Beyond the end it goes to the end. Returns the new position.

        Raises OSError for a position before the beginning, as a file does, and ValueError for another
        `whence`.
        """
    def fileno(self) -> int:
        """Raises io.UnsupportedOperation: it is no file of the system."""

@final
class _Awaitable(Coroutine[Any, Any, _T_co]):
    """What `receive` and `send` return. It is also a coroutine, so `asyncio.create_task()` takes it."""

    def __await__(self) -> Generator[Any, Any, _T_co]: ...
    def __iter__(self) -> _Awaitable[_T_co]: ...
    def __next__(self) -> Any: ...
    def send(self, value: Any, /) -> Any: ...
    def throw(self, *error: Any) -> Any: ...
    def close(self) -> None: ...

@final
class HTTPExchange:
    """One HTTP request to an ASGI application (ASGI 3, spec 2.5): its `receive` and `send`. `create_future`
    makes the futures of the loop that the application runs on. With `pathsend` the message
    http.response.pathsend is accepted; with `drain_streams` a stream is told that the server drains."""

    def __new__(
        cls,
        request: Request,
        response: Response,
        create_future: Callable[[], Future[Any]],
        *,
        pathsend: bool = False,
        drain_streams: bool = True,
    ) -> HTTPExchange: ...
    @property
    def over(self) -> bool:
        """Whether nothing is owed: the response is complete, or the client gone."""
    @property
    def gone(self) -> bool:
        """Whether the client left before its response was complete."""
    @property
    def dismissed(self) -> bool:
        """Whether the application may end without completing its response: the client left or needs no body,
        or it has received http.disconnect."""
    @property
    def refused(self) -> str | None:
        """Which message was not expected, and which one was; None if there was none."""
    def receive(self) -> _Awaitable[dict[str, Any]]:
        """Awaited, it gives http.request with the next part of the body; after the last one http.disconnect,
        once the client has left or closed its sending side, the response is complete, or the server drains
        while it is streamed."""
    def send(self, message: MutableMapping[str, Any]) -> _Awaitable[None]:
        """Takes a message of the application. Awaited, it waits while too much of the response is on its way.

        Raises RuntimeError for a message that is not expected now, TypeError for a wrong or missing key,
        InvalidResponse for a header that cannot be sent, and ConnectionGone, an OSError, if the client has
        left, or if the response has no body (HEAD, 204, 304) and the application has not ended it 50 ms after
        its head: so a stream ends.
        """
    def abort(self) -> None:
        """Ends all waiting in `receive` and `send`: the application has failed, and its request got a
        response without it."""

@final
class WebSocketExchange:
    """One WebSocket of an ASGI application (ASGI 3, spec 2.5): its `receive` and `send`."""

    @staticmethod
    def offered(
        response: Response, options: AppOptions, create_future: Callable[[], Future[Any]]
    ) -> WebSocketExchange | None:
        """The WebSocket that the request of `response` asks for. Returns None if it does not ask properly
        (RFC 6455, section 4.2.1); the client has got a 400 or 426 then. `options` has the `ws_` options;
        `create_future` makes the futures of the loop that the application runs on.

        Raises ValueError for a response without a request.
        """
    @property
    def subprotocols(self) -> list[str]:
        """The subprotocols that the client offers, its favourite first."""
    @property
    def open(self) -> bool:
        """Whether the application has accepted the WebSocket and not closed it."""
    @property
    def gone(self) -> bool:
        """Whether the client has left or the WebSocket has ended: what is sent does not arrive."""
    @property
    def refused(self) -> str | None:
        """Which message was not expected, and which one was; None if there was none."""
    def receive(self) -> _Awaitable[dict[str, Any]]:
        """Awaited, it gives websocket.connect, then websocket.receive for each message, and at last, as often
        as it is called, websocket.disconnect."""
    def send(self, message: MutableMapping[str, Any]) -> _Awaitable[None]:
        """Takes a message of the application. Awaited, it waits while too much is on its way to the client.

        Raises RuntimeError for a message that is not expected now, TypeError for a wrong or missing key,
        ValueError for a close code that may not be sent (RFC 6455, section 7.4), InvalidResponse for a header
        that cannot be sent or a subprotocol that was not offered, and ConnectionGone, an OSError, if the
        client has left.
        """
    def close(self, code: int = 1000, reason: str = "") -> None:
        """Closes an open WebSocket with a code of RFC 6455, section 7.4. Nothing happens if it has ended.

        Raises ValueError for a code that may not be sent, and InvalidResponse for a reason that is too long.
        """

class _Header(TypedDict):
    """What the manager publishes on the scoreboard."""

    pid: int
    """The manager's process id."""
    started_unix_s: int
    """When the pool started, in seconds since the epoch."""
    started_ns: int
    """The same, in nanoseconds of the monotonic clock."""
    generation: int
    """The generation of new workers."""
    min_spare: int
    max_spare: int
    max_clients: int
    may_grow: bool
    """Whether a fork is allowed now."""
    overcommit: bool
    """Whether active workers accept too, because no spare is left."""
    stopping: bool
    """Whether the whole pool is shutting down."""
    kept: bool
    """Whether workers that end are replaced, so that another adopts what they leave in the central queue."""
    succeeded: bool
    """Whether the pool ends, and workers of another one adopt that."""
    takes_turns: bool
    """Whether a worker that has accepted a client goes behind the others."""
    log_level: int
    """The lowest level that the log shows, as `logging` counts it; 0 is that of the start."""
    forked: int
    """Workers forked so far."""
    died: int
    """How many of these have ended."""
    boot_failed: int
    """How many of these never became spare."""
    hides_paths: bool
    """Whether workers do not write which paths are asked for."""
    clears: int
    """How often the totals of an ended worker were added, twice; odd while that is being done."""
    retired_requests: int
    """The totals of workers that have ended, here and below."""
    retired_bytes_in: int
    retired_bytes_out: int
    retired_handed_off: int
    retired_adopted: int
    retired_limited_address: int
    retired_limited_connections: int
    retired_limited_queue: int
    retired_limited_requests: int
    retired_limited_line: int
    retired_limited_head: int
    retired_limited_body: int
    retired_limited_rate: int

class _Times(TypedDict):
    """How long requests took, in seconds. A quantile is exact within 4 %, and None without any request."""

    count: int
    sum_s: float
    p50_s: float | None
    p90_s: float | None
    p99_s: float | None

class _Figures(TypedDict):
    """What workers count for people."""

    classes: dict[str, int]
    """Responses by the class of their status: 1xx to 5xx. Also those that the server has made by itself."""
    statuses: dict[str, int]
    """Responses by their status, of those that there were: `200`. Those with one that is not registered are
    counted by its class, as `2xx`.
    """
    tls: dict[str, int]
    """`handshakes`: connections that have brought a request; `resumed`: those that had resumed a session."""
    http2: dict[str, int]
    """`connections`, and `streams`: their requests, also those that another worker serves."""
    wait: _Times
    """From when a request could be read, or accepted, to the call of the application."""
    application: _Times
    """From the last part of the request that the application was given to the head of the response."""
    last_byte: _Times
    """From there to when the socket had the last byte of the response."""

class _Record(_Figures):
    """What a worker writes about itself. Times are seconds of the monotonic clock."""

    state: str
    """starting, spare, active or draining."""
    pid: int
    generation: int
    started: float
    """When the slot was claimed."""
    turned: float
    """When its loop turned last."""
    beat: float
    """When its guard last showed that the process runs; 0 if it has none."""
    requests: int
    """Requests that it has taken."""
    bytes_in: int
    bytes_out: int
    connections: int
    """Open connections."""
    in_flight: int
    """Requests without a complete response."""
    waiting: int
    """Requests that wait for it while its main thread is stuck."""
    lag: float
    """How long its loop was busy between two waits, at most, in the last 10 to 20 seconds."""
    handed_off: int
    """Connections that it handed to other workers."""
    adopted: int
    """Connections that it took from other workers."""
    responses: int
    """Responses of which it has written the head."""
    errors: int
    """Of these, how many had a status of 500 or more."""
    response_s: float
    """The sum of the times of all responses: each is from the last part of the request that the application
    was given to the head of the response."""
    limited_address: int
    """How often it applied max_connections_per_address."""
    limited_connections: int
    """How often it applied max_connections."""
    limited_queue: int
    """How often it applied max_queue."""
    limited_requests: int
    """How often it applied max_requests_per_connection."""
    limited_line: int
    """How often it refused a request with 414, for max_line."""
    limited_head: int
    """How often it refused a request with 431, for max_head, max_line or max_fields."""
    limited_body: int
    """How often it refused a request with 413, for max_body."""
    limited_rate: int
    """How often it refused a request with 408, for header_timeout or body_min_rate."""
    busy_s: float
    """Seconds that its main thread did not wait."""
    method: str | None
    """Method and path of a request in flight, printable: of those that the worker names, the one that began
    last. It names up to eight, so that these can be None while `in_flight` is not 0."""
    path: str | None
    """With its query; empty if the pool hides paths."""
    client: str | None
    """The address of its client, or `unix`; None if it is not known."""
    phase: str | None
    """What is done for it: `handling` until the head of the response, `streaming` until its end, or `open`: a
    WebSocket, or a connection that the application has taken over."""
    is_garbled: bool
    """Whether it has written what cannot be true: numbers no worker reaches, or times to come."""
    request_started: float | None
    """When that request was handed over."""

@final
class Scoreboard:
    """The shared memory in which a pool sees its workers: a page for the manager and one for each slot. Every
    method but `close()` raises RuntimeError after `close()`, and in a process that became a worker; those of
    the manager do so for one that was attached."""

    @staticmethod
    def create(capacity: int) -> Scoreboard:
        """Manager: makes the scoreboard of a new pool with that many slots.

        Raises ValueError for 0 slots, and OSError if there is no memory.
        """
    @staticmethod
    def attach(fd: int) -> Scoreboard:
        """Opens a scoreboard to read, given its memory file. The descriptor stays the caller's.

        Raises ValueError if the file is not a scoreboard of this version, and OSError if it cannot be mapped.
        """
    @property
    def capacity(self) -> int:
        """The number of slots, which are counted from 0."""
    def fileno(self) -> int:
        """Manager: the descriptor of the memory file."""
    def wakeup_fileno(self) -> int:
        """Manager: the descriptor of an eventfd that becomes readable when a worker saw that spares are
        missing."""
    def claim(self, index: int, generation: int) -> bool:
        """Manager: takes an empty slot for a worker that is about to be forked. Returns False if the slot is
        taken."""
    def clear(self, index: int) -> None:
        """Manager: empties the slot of a worker that has ended, and adds its totals to the header's."""
    def publish(self, **fields: int) -> None:
        """Manager: sets fields of the header by name.

        Raises TypeError for a name that is not a field or a number that does not fit it.
        """
    def header(self) -> _Header:
        """The header: what the manager published."""
    def states(self) -> bytes:
        """The state of each slot as one byte: 0 empty, 1 starting, 2 spare, 3 active, 4 draining."""
    def signs(self) -> list[int]:
        """When each worker last showed that its process runs, by slot: its loop turned, or its guard
        ticked, which it does while the main thread is in a slow call. In nanoseconds of the monotonic
        clock; 0 if it has no request in flight.
        """
    def asking_for_successors(self) -> list[int]:
        """The slots whose workers have served as many requests as they may."""
    def read(self, index: int, figures: bool = True) -> _Record | None:
        """What the worker of a slot wrote about itself; None if the slot is empty. It is to be
        displayed and never relied on. Without `figures`, what it counts for people is left out."""
    def times(self, index: int) -> tuple[int, ...] | None:
        """How many responses of a slot's worker took how long, by the buckets of `time_bounds()`; None if the
        slot is empty. To be compared, and never relied on."""
    def totals(self) -> _Figures:
        """What all workers have counted for people, as `read()` has it of one: also those that have ended,
        and not those that have written what cannot be true."""
    def histograms(self, parts: int = 2) -> dict[str, list[tuple[float, int]]]:
        """How long the requests of `totals()` took: for `wait`, `application` and `last_byte` a list of
        cumulative buckets. Each is how many took less than so many seconds; the last one has all, and its
        bound is infinite. `parts` is how many buckets there are for each power of two: 1, 2, 4, 8 or 16.
        """
    def keep(self) -> Scoreboard:
        """In a process that becomes a worker, and may fork workers later: a scoreboard for these, which is
        closed until `open()`.

        Raises OSError.
        """
    def open(self) -> None:
        """Opens what `keep()` returned: this process serves no longer, and forks workers. Nothing happens to
        any other scoreboard.

        Raises OSError.
        """
    def close(self) -> None:
        """Unmaps the memory. Every other method raises RuntimeError from then on."""
