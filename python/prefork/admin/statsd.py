"""Figures of a pool, sent to StatsD once a second, with the names that gunicorn gives them (manager).

Always: nothing waits: neither for the name of the server, which another process looks up, nor for the server
itself. What cannot be sent is dropped. A server that cannot be reached is one line of the log.

It must not know how a pool counts: the report and the histograms are those of `prefork status`.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from prefork.admin.view import View
from prefork.config.endpoints import Endpoint, Kind
from prefork.logs.logger import observe
from prefork.pool.attached import Attached
from prefork.pool.scoreboard import histograms

if TYPE_CHECKING:
    from asyncio import TimerHandle

    from prefork.pool.manager import Manager
    from prefork.pool.server import PreForkServer

logger = logging.getLogger("prefork.admin")

INTERVAL_S = 1.0
RESOLVE_S = 30.0
"""A name has to be known after so long."""
DATAGRAM_BYTES = 1432
"""What fits into a packet on nearly every network."""
MOST_DURATIONS = 200
"""So many durations are sent each second. Of more requests each stands for several (sampling)."""
LEVELS = {logging.CRITICAL: "critical", logging.ERROR: "error", logging.WARNING: "warning"}

_LOOK_UP = """
import socket, sys
found = socket.getaddrinfo(sys.argv[1], int(sys.argv[2]), type=socket.SOCK_DGRAM)
print(found[0][4][0])
"""

Buckets: TypeAlias = Sequence[tuple[float, int]]


def open_statsd(server: PreForkServer) -> Callable[[Manager], Statsd]:
    """Begins to look the name up, while the process still can. What is returned is called when there is a
    pool, and sends its figures.
    """
    options = server.options
    assert options.statsd is not None
    sender = Sender(options.statsd)
    sender.begin()
    return lambda manager: Statsd(View(server), manager, sender, options.statsd_prefix)


class Sender:
    """Sends lines to one server, over UDP or a Unix socket."""

    def __init__(self, target: Endpoint) -> None:
        self.target = target
        self._socket: socket.socket | None = None
        self._sockets: dict[int, socket.socket] = {}
        """Those of which one is connected when the name is known. Children have them too, and see that."""
        self._look_up: subprocess.Popen[bytes] | None = None
        self._is_quiet = False

    def begin(self) -> None:
        """Opens the socket, or has the name of the server looked up by a process of its own."""
        target = self.target
        assert target.address is not None
        if target.kind is Kind.UNIX:
            self._open(socket.AF_UNIX, target.address)
        elif (family := _family(target.address)) is not None:
            self._open(family, (target.address, target.port))
        else:
            for one in (socket.AF_INET, socket.AF_INET6):
                with contextlib.suppress(OSError):  # the system may not have it
                    self._sockets[one] = _datagrams(one)
            command = [sys.executable, "-I", "-S", "-c", _LOOK_UP, target.address, str(target.port)]
            try:
                self._look_up = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
                )
            except OSError as error:
                self._complain(f"its name cannot be looked up: {error.strerror}")

    def finish_in(self, loop: Any) -> None:
        """Goes on in this loop when the name is known."""
        if (process := self._look_up) is None:
            return
        assert process.stdout is not None
        deadline = loop.call_later(RESOLVE_S, process.kill)
        loop.add_reader(process.stdout.fileno(), self._looked_up, loop, deadline)

    def _looked_up(self, loop: Any, deadline: TimerHandle) -> None:
        process, self._look_up = self._look_up, None
        if process is None:
            return
        assert process.stdout is not None
        deadline.cancel()
        loop.remove_reader(process.stdout.fileno())
        found, errors = process.communicate()  # it ends: it has written, or closed its output
        address = found.decode("ascii", "replace").strip()
        family = _family(address)
        if family is None:
            reason = errors.decode(errors="replace").strip().rpartition("\n")[2]
            self._complain(f"its name is not known: {reason or 'no response'}")
        else:
            self._open(family, (address, self.target.port))

    def _open(self, family: int, address: Any) -> None:
        try:
            self._socket = sock = self._sockets.pop(family, None) or _datagrams(family)
            sock.connect(address)
        except OSError as error:
            self._complain(error.strerror or str(error))

    def send(self, lines: Iterable[str]) -> None:
        """Sends lines, in as few datagrams as hold them."""
        if self._socket is None:
            self._socket = next(filter(_is_connected, self._sockets.values()), None)
        if (sock := self._socket) is None:
            return
        for datagram in packed(lines):
            try:
                sock.send(datagram)
            except BlockingIOError:
                return
            except OSError as error:
                self._complain(error.strerror or str(error))
                return

    def _complain(self, why: str) -> None:
        """One line: the next datagram would have the same."""
        if not self._is_quiet:
            self._is_quiet = True
            logger.warning("statsd %s does not get the figures: %s", self.target, why)

    def close(self) -> None:
        if self._look_up is not None:
            self._look_up.kill()
            self._look_up.communicate()
            self._look_up = None
        for sock in (*self._sockets.values(), self._socket):
            if sock is not None:
                sock.close()
        self._sockets, self._socket = {}, None


class Statsd(Attached):
    """Sends the figures of one pool, as what is attached to its manager."""

    def __init__(self, view: View, manager: Manager, sender: Sender, prefix: str) -> None:
        self._view = view
        self._sender = sender
        self._prefix = f"{prefix.rstrip('.')}." if prefix.strip(".") else ""
        self._loop: Any = view.server.kernel.loop
        self._last = Figures({}, [])
        self._timer: TimerHandle | None = None
        self._manager = manager
        self._begin()

    def _begin(self) -> None:
        self._sender.finish_in(self._loop)
        observe(self._count_record)
        self._timer = self._loop.call_later(INTERVAL_S, self._tick)

    def _tick(self) -> None:
        self._timer = self._loop.call_later(INTERVAL_S, self._tick)
        self._send()

    def _send(self) -> None:
        board, report = self._view.board, self._view.report(processes=False)
        if board is None or report is None:
            return
        now = Figures.of(report["totals"], histograms(board)["last_byte"])
        lines = [*now.since(self._last), f"gunicorn.workers:{report['totals']['workers']}|g"]
        self._last = now
        self._sender.send(f"{self._prefix}{line}" for line in lines)

    def _count_record(self, record: logging.LogRecord) -> None:
        """In each process: a record of a logger of ours."""
        name = LEVELS.get(record.levelno)
        if name == "error" and record.exc_info:
            name = "exception"
        if name is not None:
            self._sender.send([f"{self._prefix}gunicorn.log.{name}:1|c|@1.0"])

    # --- its life ----------------------------------------------------------------------------------------

    def close(self) -> None:
        """Sends what was counted since the last time, and ends."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            with contextlib.suppress(Exception):  # the scoreboard may be closed
                self._send()
        observe(None)
        self._sender.close()

    def discard(self) -> None:
        """Keeps the socket: a child counts the lines that it logs."""
        self._timer = None


class Figures:
    """What was counted up to a moment."""

    def __init__(self, counts: dict[str, int], durations: Buckets) -> None:
        self.counts = counts
        self.durations = durations

    @classmethod
    def of(cls, totals: dict[str, Any], durations: Buckets) -> Figures:
        """Of the totals of a report, and of the histogram of durations in seconds."""
        counts = {"gunicorn.requests": totals["requests"]}
        counts |= {f"gunicorn.request.status.{name}": count for name, count in totals["statuses"].items()}
        return cls(counts, durations)

    def since(self, before: Figures) -> Iterator[str]:
        """The lines about what was counted after `before`."""
        for name, count in self.counts.items():
            if (more := count - before.counts.get(name, 0)) > 0:
                yield f"{name}:{more}|c|@1.0"
        for milliseconds, rate in sampled(new_in(self.durations, before.durations)):
            yield f"gunicorn.request.duration:{milliseconds:.3f}|ms|@{rate:.6g}"


def new_in(now: Buckets, before: Buckets) -> list[tuple[float, int]]:
    """How many requests took how long, in milliseconds: the middle of each bucket that has got some."""
    former = dict(before)
    found, lower_s, below, below_before = [], 0.0, 0, 0
    for upper_s, count in now:
        count_before = former.get(upper_s, 0)
        more = (count - below) - (count_before - below_before)
        if more > 0:
            middle_s = lower_s if upper_s == float("inf") else (lower_s + upper_s) / 2
            found.append((middle_s * 1000, more))
        lower_s, below, below_before = upper_s, count, count_before
    return found


def sampled(durations: Sequence[tuple[float, int]]) -> Iterator[tuple[float, float]]:
    """Each duration as often as it is sent, with the share that is sent of those that there were."""
    total = sum(count for _, count in durations)
    for milliseconds, count in durations:
        sent = count if total <= MOST_DURATIONS else -(-count * MOST_DURATIONS // total)
        yield from [(milliseconds, sent / count)] * sent


def packed(lines: Iterable[str]) -> Iterator[bytes]:
    """Datagrams that hold the lines."""
    datagram = b""
    for line in lines:
        data = line.encode("ascii", "replace")
        if datagram and len(datagram) + 1 + len(data) > DATAGRAM_BYTES:
            yield datagram
            datagram = b""
        datagram += b"\n" + data if datagram else data
    if datagram:
        yield datagram


def _datagrams(family: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.setblocking(False)
    return sock


def _is_connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


def _family(address: str) -> int | None:
    """That of an IP address; None for a name."""
    with contextlib.suppress(OSError):
        found = socket.getaddrinfo(address, None, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)
        return int(found[0][0])
    return None
