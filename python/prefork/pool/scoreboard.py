"""How a running pool's scoreboard is found, and the report that is made of it.

Owns: the *glue*, an abstract Unix socket named after the user and the option `ipc_glue`. Binding it is the
lock on that name. Through it the manager hands out its memory file, to be read, and what it says of itself.

Always: socket and memory exist as long as a process does, and never as a file. When the manager dies, in
whatever way, the kernel removes both, and the glue is free. What a worker wrote is shown and decides nothing.

It must not know the pool, its policy, or where the report is shown.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import re
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from prefork._engine import Scoreboard
from prefork.errors import GlueInUse, OptionError, ScoreboardUnavailable
from prefork.pool.accepting import Accepting
from prefork.pool.stillness import is_stuck
from prefork.pool.usage import Usage, usage

_GLUE = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_TIMEOUT_S = 2.0
_PATIENCE_S = 0.3
"""How long a manager that is busy or stopped is waited for, before its memory file is looked for in /proc."""
_LONGEST_BYTES = 65536
"""The most that a manager says of itself."""
_MEMORY = "/memfd:prefork-scoreboard"
READERS_PER_TURN = 16
"""How many clients the manager serves before it looks after its workers again."""
_CREDENTIALS = struct.Struct("iII")  # struct ucred: pid, uid, gid
LIMITED = (
    "limited_address",
    "limited_connections",
    "limited_queue",
    "limited_requests",
    "limited_line",
    "limited_head",
    "limited_body",
    "limited_rate",
)
"""How often each limit on clients was applied."""
_KEPT = (
    "requests",
    "bytes_in",
    "bytes_out",
    "handed_off",
    "adopted",
    "responses",
    "errors",
    "log_lost",
    *LIMITED,
)
"""Counts to which workers that have ended still contribute."""
_TRIES = 3
_STATES = ("starting", "spare", "active", "draining", "stuck")
CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
"""Of the statuses of responses."""
TIMES = ("wait", "application", "last_byte")
"""Times of a request: from when it could be read to the call of the application; from then to the head of the
response; from then to the last byte of the response.
"""


class ScoreboardSocket:
    """Holds a glue, and hands the scoreboard to those that connect (manager).

    `glue` None picks a random name. Only the same user and root get a descriptor, and cannot write through
    it. With it comes what `about()` returns at that moment, as JSON. A forked worker closes its copy, because
    a copy holds the name too. `bound` is a socket that holds this glue already, for another manager:
    `take_over` makes it this one's.

    Raises GlueInUse if another process holds the name, OptionError if it is not a valid name, and
    ScoreboardUnavailable if the kernel refuses.
    """

    def __init__(
        self,
        board: Scoreboard,
        glue: str | None = None,
        about: Callable[[], object] = lambda: None,
        bound: socket.socket | None = None,
    ) -> None:
        self.glue = os.urandom(4).hex() if glue is None else glue
        self._board = board
        self._about = about
        self._listener = bound or _listen(self.glue)
        self._listener.setblocking(False)
        self._accepting = Accepting(self._listener)

    def take_over(self) -> None:
        """Clients see from now on that this process holds the glue (SO_PEERCRED: listen(2) notes it)."""
        self._listener.listen()

    def fileno(self) -> int:
        """Readable when a client has connected."""
        return self._accepting.fileno()

    def respond(self) -> None:
        """Serves the clients that have connected, and leaves some to the next turn if they are many.

        Never waits. Without the bound, a flood of clients would keep the manager from its workers.
        """
        for _ in range(READERS_PER_TURN):
            client = self._accepting.accept()
            if client is None:
                return
            with client, contextlib.suppress(OSError):  # the client has left
                client.setblocking(False)
                if _peer(client).uid in (os.geteuid(), 0):
                    about = json.dumps(self._about()).encode()
                    socket.send_fds(client, [about], [self._board.fileno()])

    def close(self) -> None:
        """Gives the glue up, for this process."""
        self._accepting.close()


class Found(NamedTuple):
    """The scoreboard of a running server, to read."""

    board: Scoreboard
    manager: int
    """The manager's pid."""
    about: Any
    """What the manager says of itself; None if it does not respond, or is of another version."""


def open_scoreboard(glue: str, uid: int | None = None) -> Found:
    """The scoreboard of the running server that holds `glue`.

    `uid` is the user that runs it; None is the user of this process, or for root any user. Raises
    ScoreboardUnavailable if there is none, if another user holds the glue, or if it does not respond;
    OptionError if `glue` is not a name, and for root if several users hold it.
    """
    uid = _user_with(glue) if uid is None else uid
    try:
        with _connect(glue, uid) as connection:
            manager = _peer(connection)
            if manager.uid not in (uid, 0):
                raise ScoreboardUnavailable(
                    f"expected glue {glue!r} to be held by user {uid}, but user {manager.uid} holds it"
                )
            descriptor, about = _receive(connection, manager.pid)
    except OSError as error:
        raise ScoreboardUnavailable(_not_reached(glue, uid, error)) from None
    if descriptor is None:
        raise ScoreboardUnavailable(f"the server with glue {glue!r} sent no descriptor: try again")
    try:
        return Found(Scoreboard.attach(descriptor), manager.pid, about)
    except (OSError, ValueError) as error:
        raise ScoreboardUnavailable(f"glue {glue!r}: {error}; is that server of another version?") from None
    finally:
        os.close(descriptor)


def _receive(connection: socket.socket, manager: int) -> tuple[int | None, Any]:
    """A descriptor of the memory file, or None if the manager has none to send, and what it says of itself.

    On a machine that has no time for the manager an operator asks as well, so it need not respond. Raises
    OSError.
    """
    connection.settimeout(_PATIENCE_S)
    try:
        text, descriptors, _, _ = socket.recv_fds(connection, _LONGEST_BYTES, 1)
    except TimeoutError:
        if (found := _open_memory_of(manager)) is not None:
            return found, None
        connection.settimeout(_TIMEOUT_S)  # /proc is hidden, or of another namespace
        text, descriptors, _, _ = socket.recv_fds(connection, _LONGEST_BYTES, 1)
    about = None
    with contextlib.suppress(ValueError):
        about = json.loads(text)
    return descriptors[0] if descriptors else None, about


def _open_memory_of(pid: int) -> int | None:
    """Opens the memory file of a process, to read, if /proc shows this user that it has exactly one."""
    directory = f"/proc/{pid}/fd"
    found: dict[int, str] = {}
    with contextlib.suppress(OSError):
        for path in (f"{directory}/{name}" for name in os.listdir(directory)):
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                if os.readlink(path).startswith(_MEMORY):
                    found[os.stat(path).st_ino] = path
        if len(found) == 1:
            return os.open(found.popitem()[1], os.O_RDONLY | os.O_CLOEXEC)
    return None


def list_glues(uid: int | None = None) -> list[str]:
    """The glues that a user's running servers hold, sorted. `uid` None is the user of this process; for root
    it is every user, because a server that root has started may run as another one.
    """
    own = os.geteuid() if uid is None else uid
    everyone = uid is None and own == 0
    return sorted({glue for holder, glue in _holders() if everyone or holder == own})


def _holders() -> set[tuple[int, str]]:
    """User and glue of each running server."""
    try:
        with open("/proc/net/unix", encoding="ascii", errors="replace") as table:
            sockets = table.read()
    except OSError:
        return set()
    found = re.findall(rf" @prefork/(\d+)/({_GLUE.pattern})$", sockets, re.ASCII | re.MULTILINE)
    return {(int(uid), glue) for uid, glue in found}


def _user_with(glue: str) -> int:
    """The user whose server this process means by a glue."""
    own = os.geteuid()
    if own != 0:
        return own
    users = sorted(uid for uid, name in _holders() if name == glue)
    if len(users) > 1 and own not in users:
        names = ", ".join(map(str, users))
        raise OptionError(f"users {names} each have a server with glue {glue!r}; run this as one of them")
    return own if own in users or not users else users[0]


def snapshot(
    board: Scoreboard,
    now: float | None = None,
    *,
    manager: int | None = None,
    processes: bool = True,
    pss: bool = False,
    figures: bool = True,
) -> dict[str, Any]:
    """The whole scoreboard, ready for JSON: `manager`, `totals`, and `workers`, a list with one object each.

    Ages are in seconds, up to `now` on the monotonic clock (None: the present moment). `manager` is the pid
    whose children the workers are (None: the one on the scoreboard). What the system says of each process is
    left out without `processes`, which costs some 30 us for each; `pss` costs milliseconds, and is null
    otherwise. Without `figures`, only the totals have classes, times, and counts of TLS and HTTP/2.
    """
    now = time.monotonic() if now is None else now
    header, counted, records = _copy(board, figures=figures)
    header.pop("clears")
    retired = {name: header.pop(f"retired_{name}") for name in _KEPT}
    header["uptime_s"] = _age(header.pop("started_ns") / 1e9, now)
    workers = [_worker(index, record, now) for index, record in records]
    if header.pop("hides_paths"):
        for worker in workers:
            if worker["request"] is not None:
                worker["request"]["path"] = None
    parent = header["pid"] if manager is None else manager
    unknown = Usage()._asdict()
    for worker in workers:
        worker |= usage(worker["pid"], parent, pss=pss)._asdict() if processes else unknown
    states = Counter(worker["state"] for worker in workers)
    totals: dict[str, Any] = {"workers": len(workers), **{state: states[state] for state in _STATES}}
    plausible = [worker for worker in workers if not worker["is_garbled"]]
    for name in (*_KEPT, "connections", "in_flight", "waiting"):
        totals[name] = retired.get(name, 0) + sum([worker[name] for worker in plausible])
    return {"manager": header, "totals": totals | counted, "workers": workers}


def _copy(
    board: Scoreboard, *, figures: bool
) -> tuple[dict[str, Any], dict[str, Any], list[tuple[int, Mapping[str, Any]]]]:
    """The header, what all workers have counted, and the workers.

    Tried again if the manager has cleared a slot meanwhile: what its worker had counted would be missing, or
    be there twice.
    """
    for _ in range(_TRIES):
        header: dict[str, Any] = {**board.header()}
        counted: dict[str, Any] = {**board.totals()}
        records = list(_records(board, figures=figures))
        clears = header["clears"]
        if clears % 2 == 0 and clears == board.header()["clears"]:
            break
    return header, counted, records


def histograms(board: Scoreboard) -> dict[str, list[tuple[float, int]]]:
    """How long requests took, in all workers that ever were, by the names in `TIMES`.

    Each is a list of cumulative buckets: how many took no longer than so many seconds. The last one has them
    all, and its bound is infinite.
    """
    return board.histograms()


def time_within(buckets: Sequence[tuple[float, int]], share: float) -> float | None:
    """The time within which this share of the requests were done, in seconds; None if there were none.

    `buckets` are those of `histograms`, or the difference of two of them: what came in between.
    """
    wanted = share * buckets[-1][1] if buckets else 0.0
    begin, before = 0.0, 0
    for bound, until in buckets:
        if until > before and until >= wanted:
            end = bound if math.isfinite(bound) else 2 * begin
            return begin + (end - begin) * max(0.0, (wanted - before) / (until - before))
        begin, before = bound, until
    return None


def format_states(board: Scoreboard) -> str:
    """The line of `debug_scoreboard`: how many are active and spare, then pid = state of each worker."""
    records = [record for _, record in _records(board)]
    states = Counter(record["state"] for record in records)
    line = f"actives {states['active']}, spares {states['spare']}:"
    return " ".join([line, *(f"{record['pid'] or '?'} = {record['state']}" for record in records)])


def _records(board: Scoreboard, *, figures: bool = True) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for index, state in enumerate(board.states()):
        if state and (record := board.read(index, figures)):
            yield index, record


def _worker(index: int, record: Mapping[str, Any], now: float) -> dict[str, Any]:
    worker = {"slot": index, **record}
    if is_stuck(record, now):
        worker["state"] = "stuck"
    worker.pop("beat")
    worker["lag_s"] = _lag(worker, now)
    worker["age_s"] = _age(worker.pop("started"), now)
    worker["since_turn_s"] = _age(worker.pop("turned"), now)
    request = {name: worker.pop(name) for name in ("method", "path", "client", "phase")}
    request["path"] = (request["path"] or "").partition("?")[0]  # a query often has secrets
    started = worker.pop("request_started")
    worker["request"] = None if started is None else {**request, "age_s": _age(started, now)}
    return worker


LAG_IS_OVER_S = 20.0
"""The engine keeps the longest lag for no longer, but writes only when its loop turns."""


def _lag(worker: dict[str, Any], now: float) -> float:
    lag_s = round(worker.pop("lag"), 6)
    is_idle = not worker["in_flight"] and now - worker["turned"] > LAG_IS_OVER_S
    return 0.0 if is_idle else lag_s


def _age(moment: float, now: float) -> float:
    return max(0.0, round(now - moment, 3))


class _Peer(NamedTuple):
    pid: int
    uid: int
    gid: int


def _peer(connection: socket.socket) -> _Peer:
    """The process at the other end, as the kernel knows it (unix(7), SO_PEERCRED)."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return _Peer(*_CREDENTIALS.unpack(credentials))


def _address(glue: str, uid: int) -> str:
    if not _GLUE.fullmatch(glue):
        raise OptionError(
            f"expected an ipc_glue of 1 to 64 letters, digits, dots, dashes or underscores, got {glue!r}"
        )
    return f"\0prefork/{uid}/{glue}"


def _listen(glue: str) -> socket.socket:
    uid = os.geteuid()
    address = _address(glue, uid)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        listener.setblocking(False)
        listener.bind(address)
        listener.listen()
    except OSError as error:
        listener.close()
        if error.errno != errno.EADDRINUSE:
            raise ScoreboardUnavailable(f"glue {glue!r} cannot be taken: {error.strerror}") from None
        raise GlueInUse(
            f"expected a free ipc_glue, but {glue!r} is held by {_holder(glue, uid)}: "
            "stop that server, or choose another glue"
        ) from None
    return listener


def _holder(glue: str, uid: int) -> str:
    try:
        with _connect(glue, uid) as connection:
            return f"pid {_peer(connection).pid}"
    except OSError:
        return "another process"


def _connect(glue: str, uid: int) -> socket.socket:
    address = _address(glue, uid)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(_TIMEOUT_S)
    try:
        connection.connect(address)
    except OSError:
        connection.close()
        raise
    return connection


def _not_reached(glue: str, uid: int, error: OSError) -> str:
    if not isinstance(error, ConnectionRefusedError):
        return f"the server with glue {glue!r} cannot be reached: {error.strerror or error}"
    running = ", ".join(list_glues(uid or None)) or "none"
    return f"expected a running server with glue {glue!r}, found none; running: {running}"
