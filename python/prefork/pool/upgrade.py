"""An upgrade: another manager, from the command line of this one, takes its place (manager).

Owns the new process until it has taken over, and the channel to it (`handing_over.py`). Its steps: the
command line is run again, with the listening sockets, the queue and the glue of this pool; the new manager
starts its own pool; when a worker of it is ready, this manager lets go and its workers finish. Always: what
fails before that leaves this pool as it was. `predecessor.py` is the other end.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import signal
import socket
import subprocess
from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from prefork._engine import HAND_OFF_FORMAT
from prefork.config.endpoints import Kind
from prefork.errors import NotUpgraded
from prefork.logs.escaping import escape_line
from prefork.pool import handing_over
from prefork.pool.handing_over import Broken, Message, Word
from prefork.server.environment import FIRST, MOST, SUCCEEDS, of_successor, passed_sockets

if TYPE_CHECKING:
    from prefork.pool.attached import Attached
    from prefork.pool.command import Command
    from prefork.pool.resources import PoolResources
    from prefork.server.sockets import Listening, ListeningSockets

logger = logging.getLogger("prefork.pool")

BEYOND_BOOT_S = 5.0
"""How much longer than `boot_timeout` a new manager may take until a worker of it is ready."""
LAST_S = 5.0
"""How long a new process that has failed may take to end before it is killed."""
INITS = frozenset({"tini", "docker-init", "dumb-init", "catatonit", "podman-init"})
"""They are PID 1 of a container, and end with their child."""


@dataclass(frozen=True, slots=True)
class End:
    """How an upgrade ended: `failure` is empty if process `pid` has taken over. `stays` is why connections
    could not move to it; empty if they do.
    """

    failure: str
    pid: int
    seconds: float
    stays: str = ""


OnDone = Callable[[End], object]


class Part(NamedTuple):
    """One message of what the new manager gets."""

    word: Word
    filenos: Sequence[int]
    values: dict[str, Any]


def passed_on(listening: Listening, attached: Iterable[Attached]) -> list[ListeningSockets]:
    """The addresses whose sockets are sent to another manager, in the order in which they are."""
    places = (*listening.places, *listening.redirecting, *(place for one in attached for place in one.places))
    return [place for place in places if place.endpoint.kind is not Kind.DESCRIPTOR]


def parts_of(resources: PoolResources, listening: Listening, attached: Sequence[Attached]) -> list[Part]:
    """All that another manager needs to take the place of this one."""
    parts = [
        Part(Word.LISTENERS, [one.fileno() for one in place.sockets], {"chosen": place.has_chosen_port})
        for place in passed_on(listening, attached)
    ]
    pool = {
        "pid": os.getpid(),
        "glue": resources.socket.glue,
        "format": HAND_OFF_FORMAT,
        "layout": handing_over.layout(listening.places, listening.redirecting),
    }
    parts.append(Part(Word.POOL, [*resources.queue_filenos, resources.socket.fileno()], pool))
    for one in attached:
        if (passed := one.pass_on()) is not None:
            parts.append(Part(Word.ATTACHED, [passed[0]], dict(passed[1])))
    return [*parts, Part(Word.ALL, [], {})]


def inherited(listening: Listening) -> list[int]:
    """The sockets that the new process gets under their numbers, as this one has got them."""
    places = (*listening.places, *listening.redirecting)
    return [
        one.fileno() for place in places if place.endpoint.kind is Kind.DESCRIPTOR for one in place.sockets
    ]


def refuse_in_container() -> None:
    """Raises NotUpgraded where the end of this process ends the others."""
    what = "this manager is PID 1 of its container" if os.getpid() == 1 else ""
    with contextlib.suppress(OSError), open(f"/proc/{os.getppid()}/comm") as name:
        if (init := name.read().strip()) in INITS:
            what = f"this manager is the child of {init}"
    if what:
        raise NotUpgraded(
            f"{what}, and everything in there ends when it does; `prefork reload` takes new code of the "
            "application, and a new version of Python or prefork takes a new container"
        )


class Upgrade:
    """One attempt. `leave(pid, stays)` is called when the new manager is ready: this one lets go there, and
    its workers finish.
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        timeout_s: float,
        leave: Callable[[int, str], object],
    ) -> None:
        self._loop = loop
        self._timeout_s = timeout_s
        self._leave = leave
        self._watchers: list[OnDone] = []
        self._passed_on: Sequence[ListeningSockets] = ()
        self._began_s = loop.time()
        self.end: End | None = None
        self._channel: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self._timer: TimerHandle | None = None

    @property
    def pids(self) -> list[int]:
        """The new process, while it is a child of this one."""
        return [] if self._process is None else [self._process.pid]

    def watch(self, on_done: OnDone | None) -> None:
        """Has `on_done` called with its end."""
        if on_done is not None:
            self._watchers.append(on_done)

    def begin(
        self,
        command: Command,
        parts: Sequence[Part],
        inherited: Sequence[int],
        passed_on: Sequence[ListeningSockets],
    ) -> None:
        """Starts the new process."""
        self._passed_on = passed_on
        try:
            self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:
            self._fail(f"cannot make a channel for the new process: {error.strerror or error}")
            return
        self._channel.setblocking(False)
        with theirs:
            try:
                self._start(command, theirs, inherited)
                for part in parts:
                    handing_over.send(self._channel, part.word, part.filenos, **part.values)
            except OSError as error:
                self._fail(f"{command.arguments[0]} cannot be started: {error.strerror or error}")
                return
        self._loop.add_reader(self._channel.fileno(), self._hear)
        self._timer = self._loop.call_later(self._timeout_s, self._overdue)

    def _start(self, command: Command, theirs: socket.socket, inherited: Sequence[int]) -> None:
        # Its number must be that of no socket that was passed to this process.
        passed = min(len(passed_sockets()), MOST)
        least = FIRST + 2 * passed + len(inherited)
        try:
            number = fcntl.fcntl(theirs, fcntl.F_DUPFD_CLOEXEC, least)
        except OSError as error:
            if error.errno == errno.EINVAL:  # no such number is allowed
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE)) from None
            raise
        try:
            self._process = subprocess.Popen(
                list(command.arguments),
                cwd=command.directory,
                env=of_successor() | {SUCCEEDS: str(number)},
                pass_fds=[number, *inherited],
            )
        finally:
            os.close(number)
        try:
            self._pidfd = os.pidfd_open(self._process.pid)
        except OSError:  # its end would not be noticed
            self._process.kill()
            self._process.wait()
            self._process = None
            raise
        self._loop.add_reader(self._pidfd, self._reap)
        logger.warning("upgrade: process %d starts, to take the place of this one", self._process.pid)

    # --- what comes of it --------------------------------------------------------------------------------

    def _hear(self) -> None:
        assert self._channel is not None
        try:
            said = handing_over.receive(self._channel)
        except BlockingIOError:
            return
        except Broken as error:
            self._fail(str(error))
            return
        except OSError:
            said = None  # it has left messages unread
        if said is None:
            self._loop.remove_reader(self._channel.fileno())  # it ends, or is no manager
        elif said.word is Word.READY:
            self._succeed(said)
        else:
            self._fail(str(said.values.get("why")))

    def _succeed(self, said: Message) -> None:
        assert self._channel is not None
        pid, stays = said.values.get("pid"), said.values.get("why_not")
        declined = said.values.get("declined", [])  # a former version sends none
        if type(pid) is not int or not isinstance(stays, str) or not isinstance(declined, list):
            self._fail("the new process does not say what it has taken over")
            return
        self._stop_timer()
        for number, place in enumerate(self._passed_on):
            place.is_declined = number in declined
        end = self.end = End("", pid, self._loop.time() - self._began_s, stays)
        self._leave(pid, stays)
        with contextlib.suppress(OSError):  # it reads the end of the channel instead
            handing_over.send(self._channel, Word.ALONE)
        self._close_channel()
        why = f"; open connections do not move to it, because {stays}" if stays else ""
        logger.warning(
            "upgrade: manager %d has taken over after %.1f s, and this one finishes%s", pid, end.seconds, why
        )
        self._finish(end)

    def _reap(self) -> None:
        """The new process has ended."""
        assert self._process is not None
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1
        status = self._process.wait()
        if self.end is None:
            if self._channel is not None:
                self._hear()  # it may have told why
            if self.end is None:
                how = f"exit status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"
                self._fail(f"the new process {self._process.pid} has ended before it was ready ({how})")
        elif not self.end.failure:
            logger.error("the manager %d, which has taken over, has ended", self.end.pid)
        self._stop_timer()
        self._process = None

    def _overdue(self) -> None:
        self._timer = None
        self._fail(f"the new process was not ready within {self._timeout_s:g} s (--boot-timeout)")

    def cancel(self, why: str) -> None:
        """Gives it up, if it goes on: the new process is told to end."""
        if self.end is None:
            self._fail(f"given up, because {why}")

    def _fail(self, why: str) -> None:
        self._stop_timer()
        self._close_channel()
        if self._process is not None and self._pidfd >= 0:
            self._signal(signal.SIGTERM)
            self._timer = self._loop.call_later(LAST_S, self._signal, signal.SIGKILL)
        end = self.end = End(why, os.getpid(), self._loop.time() - self._began_s)
        logger.error("upgrade: %s; this manager serves on", escape_line(why))
        self._finish(end)

    def _finish(self, end: End) -> None:
        for on_done in self._watchers:
            on_done(end)

    def _signal(self, signum: int) -> None:
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signum)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _close_channel(self) -> None:
        if self._channel is not None:
            self._loop.remove_reader(self._channel.fileno())
            self._channel.close()
            self._channel = None

    def close(self) -> None:
        """This manager ends. The new process lives on, if it has taken over."""
        self.cancel("the server ends")
        self._stop_timer()
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
        self.discard()

    def discard(self) -> None:
        """In a child that was forked with a copy of it: closes the descriptors."""
        if self._channel is not None:
            self._channel.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
