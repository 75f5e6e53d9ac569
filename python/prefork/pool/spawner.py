"""How a worker is spawned.

The supervisor requests a worker for a slot, and gets a `Process` or an OSError for it later. So a spawner may
fork here, or have another process fork.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket

    from prefork.kernel.kernel import Kernel

FORKING_S = 0.05
"""How long the manager forks before it looks at what else has come, such as a reader of the scoreboard."""


OF_TERMINAL = (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
"""A terminal sends these to the whole group. The manager decides what they mean for its workers."""


class Process:
    """A child process (manager). It holds a pidfd, because its pid may be reused.

    `channel` leads to a worker that may become a mold. Raises OSError if there is no descriptor for the
    process (pidfd_open(2)).
    """

    __slots__ = ("channel", "pid", "pidfd")

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.channel: socket.socket | None = None

    def signal(self, signum: int) -> None:
        """Sends a signal. A process that has ended ignores it."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signum)

    def wait(self) -> int | None:
        """Waits for its end. Returns its exit status, negative for a signal.

        None: the status is lost, because the program ignores SIGCHLD or waits for every child.
        """
        with contextlib.suppress(ChildProcessError):
            found = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
            if found is not None:
                return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
        return None

    def close(self) -> None:
        """Closes the descriptors; the process lives on."""
        os.close(self.pidfd)
        if self.channel is not None:
            self.channel.close()


@dataclass(frozen=True, slots=True)
class MoldEnded:
    """What ended a mold. `exit_status` is that of a program whose application cannot be loaded; None if it
    was loaded. `cause` is the exception of the application.
    """

    why: str
    exit_status: int | None = None
    cause: str = ""

    def __str__(self) -> str:
        return f"{self.why}: {self.cause}" if self.cause else self.why


class NotMolded(Exception):
    """The target is a program: the process that serves loads it, and not a mold."""

    exit_status = 64


class NotBegun(OSError):
    """A worker has ended before it began, or the mold that was to fork it. The system has refused nothing,
    and the next one may end as well.
    """

    def __init__(self, why: str) -> None:
        super().__init__(errno.ECHILD, why)


OnSpawned = Callable[[int, Process | OSError], object]
"""Called with the slot, and the new worker's process or what prevented it."""


class Spawner(ABC):
    """Spawns workers on request (manager).

    What is not abstract is right for one that forks the code of this process: it has no process of its own,
    and its next generation is like this one.
    """

    hint: str
    """What to do about workers that wait for a lock of a thread which they do not have."""

    @property
    def pids(self) -> list[int]:
        """The processes of its own, which are no workers, or none yet."""
        return []

    @abstractmethod
    def spawn(self, index: int, on_spawned: OnSpawned) -> None:
        """Requests a worker for the slot `index`.

        `on_spawned` is called exactly once, after this call has returned, unless the request is cancelled.
        The new worker may be running by then.
        """

    @abstractmethod
    def cancel(self) -> list[int]:
        """Withdraws the requests that no worker is being made for yet, and delivers the others.

        Returns the slots of the former.
        """

    def end(self) -> list[int]:
        """No worker is wanted any more: as `cancel`, also for those that are being made. It does not wait."""
        return self.cancel()

    def renew(self) -> None:
        """The listening sockets are others: the next workers have those."""
        return

    def restart(self, source: Any) -> list[int]:  # noqa: ARG002
        """The next workers have `source`, and what was asked for is not made any more. Returns the slots of
        the requests that come to nothing. Those that follow wait until there is something to fork.
        """
        return self.end()

    @abstractmethod
    def try_next(
        self, source: Any, loaded: Callable[[], object], ended: Callable[[MoldEnded], object]
    ) -> None:
        """Prepares workers of the next generation, which have `source`. `loaded()` or `ended(why)` is called
        later; the latter also after the former.
        """

    def spawn_next(self, index: int, on_spawned: OnSpawned) -> None:
        """As `spawn`, for the next generation."""
        self.spawn(index, on_spawned)

    def check_next(self, lives: Callable[[], object]) -> None:
        """A worker of the next generation is ready. `lives()` is called, now or later, if what makes such
        workers can go on; otherwise `ended(why)` of `try_next`.
        """
        lives()

    def drop_next(self) -> list[int]:
        """There is no next generation. Returns the slots of its requests, which come to nothing."""
        return []

    def commit(self) -> None:
        """The next generation is the one that `spawn` makes from now on."""
        return

    def close(self) -> None:
        """Ends what it has of its own."""
        return

    def discard(self) -> None:
        """Closes the descriptors of this process, in a child that was forked with a copy of them."""
        return


class ForkSpawner(Spawner):
    """Forks this process between two turns of its kernel (manager).

    `prepare()` is called before the forks, and `become_worker(index)` in each child, with a kernel that has a
    loop of its own and no work.
    """

    hint = "begin what has threads in a fork handler"

    def __init__(
        self, kernel: Kernel, prepare: Callable[[], object], become_worker: Callable[[int], object]
    ) -> None:
        self._kernel = kernel
        self._prepare = prepare
        self._become_worker = become_worker
        self._requests: list[tuple[int, OnSpawned]] = []
        # What came of the first of them.
        self._results: list[int | OSError] = []

    def try_next(
        self,
        source: Any,  # noqa: ARG002
        loaded: Callable[[], object],
        ended: Callable[[MoldEnded], object],  # noqa: ARG002
    ) -> None:
        """This process has the code that it has: the next generation has the same."""
        self._kernel.loop.call_soon(loaded)

    def spawn(self, index: int, on_spawned: OnSpawned) -> None:
        if not self._requests:
            self._kernel.between_turns(self._fork)
        self._requests.append((index, on_spawned))

    def cancel(self) -> list[int]:
        made = len(self._results)
        cancelled = self._requests[made:]
        del self._requests[made:]
        self._deliver()
        return [index for index, _ in cancelled]

    def _fork(self) -> None:
        """At the top level of `run()`. A child becomes a worker, and returns to that `run()` as well.

        The results are delivered, and the requests dropped, when all forks are made: what this process writes
        between two forks is memory that it does not share with the children before. For the same reason a
        child frees no request.

        On a busy machine a fork takes long. After FORKING_S the loop turns before the others are made.
        """
        self._prepare()
        until = time.monotonic() + FORKING_S
        for index, _ in self._requests[len(self._results) :]:
            try:
                pid = self._kernel.fork(ignored=OF_TERMINAL, is_tied=True)
            except OSError as error:
                self._results += [error] * (len(self._requests) - len(self._results))  # so would the others
                break
            if pid == 0:
                self._become_worker(index)
                return
            self._results.append(pid)
            if time.monotonic() > until:
                break
        if len(self._results) < len(self._requests):
            self._kernel.between_turns(self._fork)
        else:
            self._deliver()

    def _deliver(self) -> None:
        requests, self._requests = self._requests, []
        results, self._results = self._results, []
        for (index, on_spawned), result in zip(requests, results, strict=True):
            on_spawned(index, result if isinstance(result, OSError) else _held(result))


def hold(pid: int) -> Process:
    """A child. Without a descriptor its end would not be noticed: it is ended, and OSError is raised."""
    try:
        return Process(pid)
    except OSError:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        raise


def _held(pid: int) -> Process | OSError:
    try:
        return hold(pid)
    except OSError as error:
        return error
