"""One mold, as its manager sees it: the process, the channel to it, and what it was asked for.

Always: each request ends in one call of its `on_spawned`, or is withdrawn, or the pool ends. A worker counts
when it has announced itself, and the kernel has said which process sent that. What a mold says is checked: a
pid is a child of this process, or it is nothing. No call waits, whatever the other end of a channel does.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import os
import signal
import socket
import struct
from asyncio import TimerHandle
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from prefork._engine import TRACEBACKS
from prefork.errors import NeverReady, PreforkError
from prefork.pool.mold import LARGEST, Word, decode, encode
from prefork.pool.spawner import MoldEnded, NotBegun, OnSpawned, Process, hold

if TYPE_CHECKING:
    from prefork.kernel.kernel import Kernel

MOST_ASKED = 8
"""How many workers a mold is asked for at once. Requests beyond can still be withdrawn."""

FORK_S = 30.0
"""How long a mold may take to fork a worker. `boot_timeout` is the limit if it is less."""

LAST_WORDS_S = 5.0
"""How long a worker whose mold has ended may take to announce itself."""

TRACEBACK_S = 0.5
"""How long a mold that is killed may take to write where it stands."""

_CREDENTIALS = struct.Struct("iII")
_DESCRIPTOR = struct.Struct("i")
_ANCILLARY_BYTES = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(_DESCRIPTOR.size)


class Stage(enum.Enum):
    """What becomes of a mold, in this order; it may be closed at any time."""

    LOADING = "it loads the application"
    FORKING = "it forks workers"
    RETIRING = "it forks those that it was asked for"
    CLOSED = "it has ended, or ends"


class MoldProcess:
    """`begin` forks it, or `adopt` takes a worker that has become one. `become_mold(channel)` is called in
    the forked process, and `loaded()` when it has the application.

    `ended(why)` is called once, when it is no more, unless `close` was called. The requests that it still has
    wait for `fail_requests`.
    """

    def __init__(
        self,
        kernel: Kernel,
        become_mold: Callable[[socket.socket], object],
        boot_timeout_s: float,
        loaded: Callable[[], object],
        ended: Callable[[MoldEnded], object],
    ) -> None:
        self._kernel = kernel
        self._become_mold = become_mold
        self._boot_timeout_s = boot_timeout_s
        self._loaded = loaded
        self._ended = ended
        self._stage = Stage.LOADING
        self._had_application = False
        """Whether it had it when it ended."""
        self.has_forked = False
        """Whether a worker of it has announced itself."""
        self._waiting: deque[tuple[int, OnSpawned]] = deque()
        self._asked: dict[int, OnSpawned] = {}
        self._unheard: dict[int, Process] = {}
        """Workers that the mold has forked, by slot, and that have not announced themselves."""
        self._lives: Callable[[], object] | None = None
        """Called when it has responded, if it was asked to."""
        self._process: Process | None = None
        self._channel: socket.socket | None = None
        self._timer: TimerHandle | None = None
        self._failure: MoldEnded | None = None
        self._heard = 0

    @property
    def is_loaded(self) -> bool:
        return self._stage in (Stage.FORKING, Stage.RETIRING)

    @property
    def is_closed(self) -> bool:
        return self._stage is Stage.CLOSED

    @property
    def pids(self) -> list[int]:
        """The mold's, and those of workers that are not announced."""
        processes = [*([self._process] if self._process else []), *self._unheard.values()]
        return [process.pid for process in processes]

    # --- requests ----------------------------------------------------------------------------------------

    def spawn(self, index: int, on_spawned: OnSpawned) -> None:
        """Asks for a worker for a slot."""
        self._waiting.append((index, on_spawned))
        self._ask()

    def cancel(self) -> list[int]:
        """Withdraws the requests that the mold has not heard of. Returns their slots."""
        cancelled = [index for index, _ in self._waiting]
        self._waiting.clear()
        return cancelled

    def ping(self, lives: Callable[[], object]) -> None:
        """Has `lives()` called when the mold has responded. One that does not in time is ended.

        A worker that is ready does not show that its mold lives: functions that run at a fork may end it, or
        hang in it, when the worker has begun.
        """
        self._lives = lives
        if self._channel is not None:
            with contextlib.suppress(OSError):  # its end comes
                self._channel.send(encode(Word.PING), socket.MSG_DONTWAIT)
        self._limit_fork()

    def _responded(self) -> None:
        lives, self._lives = self._lives, None
        if lives is not None and self._failure is None:
            lives()

    def _ask(self) -> None:
        if not self.is_loaded or self._channel is None:
            return
        with contextlib.suppress(OSError):  # full, or its end comes
            while self._waiting and len(self._asked) < MOST_ASKED:
                index, on_spawned = self._waiting[0]
                self._channel.send(encode(Word.SPAWN, index), socket.MSG_DONTWAIT)
                self._waiting.popleft()
                self._asked[index] = on_spawned
        if self._timer is None:
            self._limit_fork()

    def _answer(self, index: int, result: Process | OSError) -> None:
        on_spawned = self._asked.pop(index)
        on_spawned(index, result)
        self._ask()
        self._end_if_retired()

    # --- the process -------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Forks it soon."""
        self._kernel.between_turns(self._fork)

    def adopt(self, process: Process, channel: socket.socket) -> None:
        """It is this process, which has the application already, and listens to the channel."""
        self._stage = Stage.FORKING
        self._watch(process, channel)

    def _watch(self, process: Process, channel: socket.socket) -> None:
        self._process, self._channel = process, channel
        self._kernel.loop.add_reader(channel.fileno(), self._receive)
        self._kernel.loop.add_reader(process.pidfd, self._exited)

    def _fork(self) -> None:
        """At the top level of `run()`. The child becomes the mold, and returns here only as a worker."""
        if self.is_closed:
            return
        try:
            here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        except OSError as error:
            self._kernel.loop.call_soon(self._end, MoldEnded(f"cannot make a channel: {error.strerror}"))
            return
        try:
            here.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            pid = self._kernel.fork(is_tied=True)
            if pid == 0:
                here.close()
                self._become_mold(there)
                return
            there.close()
            process = hold(pid)
        except OSError as error:
            here.close()
            there.close()
            self._kernel.loop.call_soon(self._end, MoldEnded(f"cannot fork: {error.strerror or error}"))
            return
        self._watch(process, here)
        why = f"the application was not loaded within boot_timeout ({self._boot_timeout_s:g} s)"
        end = MoldEnded(why, NeverReady.exit_status)
        self._timer = self._kernel.loop.call_later(self._boot_timeout_s, self._overdue, end)

    def _limit_fork(self) -> None:
        """It is stopped, or hangs, if it has not forked the next worker, or responded, after a while."""
        if not self.is_loaded or self._process is None or self._failure is not None:
            return
        self._stop_timer()
        forks = len(self._asked) > len(self._unheard)
        if forks or self._lives is not None:
            limit_s = min(self._boot_timeout_s, FORK_S)
            what = "fork a worker" if forks else "go on, after it had forked a worker,"
            end = MoldEnded(f"it did not {what} within {limit_s:g} s: it was stopped, or hung")
            self._timer = self._kernel.loop.call_later(limit_s, self._overdue, end)

    def _overdue(self, end: MoldEnded) -> None:
        """It hangs, in the import of the application or in what that runs at a fork. It tells where.

        What it has said while this process was stopped, or had no time, comes first.
        """
        self._timer, heard = None, self._heard
        self._receive()
        if self._heard != heard or self._process is None:
            return
        self._failure = end
        self._process.signal(TRACEBACKS)
        self._timer = self._kernel.loop.call_later(TRACEBACK_S, self._process.signal, signal.SIGKILL)

    def _exited(self) -> None:
        """The mold has ended. What it and its workers have sent comes first."""
        assert self._process is not None
        loop = self._kernel.loop
        loop.remove_reader(self._process.pidfd)
        self._stop_timer()
        status = self._process.wait()
        self._process.close()
        self._process = None
        if self._failure is None and self.is_loaded:
            self._failure = MoldEnded(_ending(status))
        elif self._failure is None and status == PreforkError.exit_status:
            self._failure = MoldEnded("", status)  # it has told why
        elif self._failure is None:
            why = f"the process that loads the application has ended: {_ending(status)}"
            self._failure = MoldEnded(why, NeverReady.exit_status)
        self._receive()
        if self._channel is not None and self._asked:
            self._timer = loop.call_later(LAST_WORDS_S, self._close_channel)
        else:
            self._close_channel()

    def _end(self, end: MoldEnded) -> None:
        if not self.is_closed:
            self._had_application = self.is_loaded
            self._stage = Stage.CLOSED
            self._ended(end)

    def fail_requests(self, end: MoldEnded) -> None:
        """Has what it was asked for fail, when it has ended. If it had the application, that is a failed
        start of workers: the next ones may end so as well.
        """
        why = f"the process that forks workers has ended: {end.why}"
        lost = NotBegun(why) if self._had_application else OSError(errno.ECHILD, why)
        requests = [*self._waiting, *self._asked.items()]
        self._waiting.clear()
        self._asked.clear()
        for index, on_spawned in requests:
            on_spawned(index, lost)

    # --- the channel -------------------------------------------------------------------------------------

    def _receive(self) -> None:
        while self._channel is not None:
            try:
                message, ancillary, _, _ = self._channel.recvmsg(
                    LARGEST, _ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT
                )
            except BlockingIOError:
                return
            except ConnectionResetError:
                continue  # said once, if the other end had not read all: what it has sent itself follows
            except OSError:
                message, ancillary = b"", []
            with contextlib.closing(_passed(ancillary)) as passed:
                if not message:
                    self._close_channel()
                    return
                self._take(message, _sender(ancillary), passed)

    def _take(self, message: bytes, sender: int, passed: Passed) -> None:
        self._heard += 1
        match decode(message):
            case [Word.LOADED] if not self.is_loaded and self._failure is None:
                self._stop_timer()
                self._stage = Stage.FORKING
                self._loaded()
                self._ask()
            case [Word.FAILED, str(what), str(why), int(exit_status)] if not self.is_loaded:
                self._failure = MoldEnded(what, exit_status, why)
            case [Word.WORKER, int(index)] if index in self._asked:
                self._announced(index, sender, passed.take_channel())
            case [Word.FORKED, int(index), int(pid)] if index in self._asked and index not in self._unheard:
                self._forked(index, pid)
            case [Word.LOST, int(index), int(number), str(why)] if index in self._asked:
                self._answer(index, OSError(number, why) if number else NotBegun(why))
            case [Word.PONG]:
                self._responded()
            case [Word.WORKER, int()]:
                _end_stray(sender)
        self._limit_fork()

    def _announced(self, index: int, pid: int, channel: socket.socket | None) -> None:
        self.has_forked = True
        known = self._unheard.pop(index, None)
        if known is not None:
            self._kernel.loop.remove_reader(known.pidfd)
        if known is not None and known.pid == pid:
            process: Process | OSError = known
        else:
            if known is not None:
                known.close()
            process = _adopt(pid)
        if isinstance(process, Process):
            process.channel = channel
        elif channel is not None:
            channel.close()
        self._answer(index, process)

    def _forked(self, index: int, pid: int) -> None:
        """A worker that the mold has forked: it may end, or hang, before it announces itself."""
        process = _adopt(pid)
        if isinstance(process, OSError):
            self._answer(index, process)
            return
        self._unheard[index] = process
        self._kernel.loop.add_reader(process.pidfd, self._lost, index)
        self._kernel.loop.call_later(self._boot_timeout_s, self._give_up, index, process)

    def _lost(self, index: int) -> None:
        self._receive()  # it may have announced itself before
        if (process := self._unheard.pop(index, None)) is not None:
            self._kernel.loop.remove_reader(process.pidfd)
            status = process.wait()
            process.close()
            self._answer(index, NotBegun(f"a worker has ended before it began: {_ending(status)}"))

    def _give_up(self, index: int, process: Process) -> None:
        if self._unheard.get(index) is process:
            process.signal(signal.SIGKILL)

    # --- its end -----------------------------------------------------------------------------------------

    def _close_channel(self) -> None:
        if self._channel is not None:
            self._kernel.loop.remove_reader(self._channel.fileno())
            self._channel.close()
            self._channel = None
        if self._process is None:
            self._stop_timer()
            self._drop_unheard()
            self._end(self._failure or MoldEnded("it has closed its channel"))
        else:
            self._process.signal(signal.SIGKILL)  # without the channel it is of no use

    def _drop_unheard(self) -> None:
        for process in self._unheard.values():
            self._kernel.loop.remove_reader(process.pidfd)
            process.signal(signal.SIGKILL)
            process.wait()
            process.close()
        self._unheard.clear()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def follow(self, ended: Callable[[MoldEnded], object]) -> None:
        """Its end is told to another."""
        self._ended = ended

    def retire(self, successor: MoldProcess) -> None:
        """Ends the mold when the workers that it was asked for have come. The successor makes the others."""
        while self._waiting:
            successor.spawn(*self._waiting.popleft())
        self._ended = self.fail_requests
        if not self.is_closed:
            self._stage = Stage.RETIRING
        self._end_if_retired()

    def _end_if_retired(self) -> None:
        if self._stage is Stage.RETIRING and not self._asked:
            self.close()

    def close(self) -> list[int]:
        """Ends the mold. Its workers live on; one that has not announced itself ends.

        Returns the slots of the requests that end so, without a call.
        """
        self._stage = Stage.CLOSED
        requests = [*(index for index, _ in self._waiting), *self._asked]
        self._waiting.clear()
        self._asked.clear()
        self._stop_timer()
        if self._channel is not None:
            self._kernel.loop.remove_reader(self._channel.fileno())
            self._channel.close()
            self._channel = None
        self._drop_unheard()
        if self._process is not None:
            self._kernel.loop.remove_reader(self._process.pidfd)
            self._process.signal(signal.SIGKILL)
            self._process.wait()
            self._process.close()
            self._process = None
        return requests

    def discard(self) -> None:
        """Closes the descriptors of this process, in a child that was forked with a copy of them."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        for process in [*([self._process] if self._process else []), *self._unheard.values()]:
            process.close()
        self._unheard.clear()
        self._process = None


class Passed:
    """The descriptors that came with a message. Those that nothing takes are closed."""

    def __init__(self, descriptors: list[int]) -> None:
        self._descriptors = descriptors

    def take_channel(self) -> socket.socket | None:
        """The one descriptor, if it is an end of a channel as a worker makes it."""
        if len(self._descriptors) != 1:
            return None
        channel = socket.socket(fileno=self._descriptors.pop())
        if (channel.family, channel.type) != (socket.AF_UNIX, socket.SOCK_SEQPACKET):
            channel.close()
            return None
        return channel

    def close(self) -> None:
        for descriptor in self._descriptors:
            os.close(descriptor)


def _passed(ancillary: list[tuple[int, int, bytes]]) -> Passed:
    return Passed(
        [
            number
            for level, kind, content in ancillary
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
            for (number,) in _DESCRIPTOR.iter_unpack(content[: len(content) // 4 * 4])
        ]
    )


def _sender(ancillary: list[tuple[int, int, bytes]]) -> int:
    """The process that has sent a message, as the kernel says."""
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            pid, _, _ = _CREDENTIALS.unpack(content)
            return int(pid)
    return 0


def _adopt(pid: int) -> Process | OSError:
    """A worker that a mold has forked, if it is a child of this process.

    It is ended if there is no descriptor for it: its end would not be noticed.
    """
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return hold(pid)
    except (ChildProcessError, ValueError, OverflowError):
        return NotBegun("it ended as soon as it was forked")
    except OSError as error:
        return error


def _end_stray(pid: int) -> None:
    """Ends a worker for which no slot waits any more: its mold has told that it is lost."""
    process = _adopt(pid)
    if isinstance(process, Process):
        process.signal(signal.SIGKILL)
        process.wait()
        process.close()


def _ending(status: int | None) -> str:
    if status is None:
        return "its exit status is lost"
    return f"exit status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"
