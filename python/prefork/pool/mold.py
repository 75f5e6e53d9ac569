"""The mold: a process that has loaded the application, and only forks workers.

The manager forks it, and never loads the application itself. It forks each worker twice, so that the worker
becomes a child of the manager. `mold_spawner.py` is the manager's side. A worker may become a mold as well
(`next_mold.py`).

Always: it runs no loop, and serves no request; it dies with its manager; a worker has announced itself to the
manager before it does anything else. The kernel says which process sent a message (SCM_CREDENTIALS).
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # CPython's; `signal` looks up enum members
import contextlib
import enum
import gc
import operator
import os
import signal
import socket
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from prefork._engine import die_with_parent
from prefork.errors import PreforkError, TargetError
from prefork.kernel.forking import flush_output
from prefork.kernel.signals import have_no_effect
from prefork.logs.console import complain
from prefork.logs.escaping import show
from prefork.logs.formats import is_json
from prefork.pool.ending import forget_inherited
from prefork.pool.spawner import OF_TERMINAL, NotMolded

if TYPE_CHECKING:
    from prefork.kernel.kernel import Kernel

LARGEST = 8192
"""Bytes of a message."""

LONGEST_TEXT = 1000
"""Characters of a text in a message, which has two at most."""

BLOCKED = (*OF_TERMINAL, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""Signals that a mold never gets: handlers of the application are for its workers."""

BecomeWorker = Callable[[int, socket.socket | None], object]
"""Makes a worker of a forked child, for a slot. With a channel to the manager it may become a mold."""


class Word(enum.StrEnum):
    """What a message begins with. Its values follow, each after a NUL; `VALUES` has their types."""

    SPAWN = enum.auto()
    """Manager: fork a worker for the slot."""
    PING = enum.auto()
    """Manager: respond."""
    PONG = enum.auto()
    """Mold: it lives, and has done what it was asked for before."""
    LOADED = enum.auto()
    """Mold: the application is loaded."""
    FAILED = enum.auto()
    """Mold: it cannot be loaded: what, why, and an exit status for the program."""
    FORKED = enum.auto()
    """Mold: the worker of the slot has this pid. It announces itself."""
    LOST = enum.auto()
    """Mold: the worker of the slot cannot be forked: an errno, or 0 if the system has refused nothing, and a
    text.
    """
    WORKER = enum.auto()
    """Worker: it is the one of the slot."""
    BECOME = enum.auto()
    """Manager, to a worker: end, and be a mold then."""


VALUES: dict[str, tuple[type[int | str], ...]] = {
    Word.SPAWN: (int,),
    Word.PING: (),
    Word.PONG: (),
    Word.LOADED: (),
    Word.FAILED: (str, str, int),
    Word.FORKED: (int, int),
    Word.LOST: (int, int, str),
    Word.WORKER: (int,),
    Word.BECOME: (),
}

END = "\0"
_shorten = f"{{!s:.{LONGEST_TEXT}}}".format


def encode(word: Word, *values: object) -> bytes:
    """One message.

    A mold copies each page that it writes after a fork. So it runs little code between two, and no encoder of
    a general format.
    """
    text = END.join((word, *map(_shorten, values)))
    if text.count(END) > len(values):
        text = END.join((word, *(_shorten(value).replace(END, " ") for value in values)))
    return text.encode(errors="replace")


def decode(message: bytes) -> list[Any]:
    """The word and the values of a message; empty if it is none."""
    word, *texts = message.decode(errors="replace").split(END)
    types = VALUES.get(word)
    if types is not None and len(texts) == len(types):
        with contextlib.suppress(ValueError):
            return [word, *map(operator.call, types, texts)]
    return []


class Mold:
    """In the process of the mold: `channel` leads to the manager, whose pid is `manager`. `links`: a worker
    has a channel of its own.
    """

    def __init__(self, kernel: Kernel, channel: socket.socket, manager: int, *, links: bool) -> None:
        self._kernel = kernel
        self._channel = channel
        self._manager = manager
        self._links = links

    def run(self, load: Callable[[], BecomeWorker]) -> None:
        """Loads the application, and forks workers until the manager is gone. It returns in a worker only."""
        if not die_with_parent(self._manager):
            os._exit(0)
        for signum in (*OF_TERMINAL, signal.SIGTERM):
            signal.signal(signum, have_no_effect)
            signal.siginterrupt(signum, False)  # as workers have it
        forget_inherited(keeps_atexit=False)
        pid = os.getpid()
        try:
            become_worker = load()
        except BaseException as error:
            self._kernel.end_if_abandoned(error)
            self._fail(error)
        self._kernel.end_if_abandoned()
        if os.getpid() != pid:
            os._exit(0)
        self.fork_workers(become_worker)

    def fork_workers(self, become_worker: BecomeWorker) -> None:
        """Forks workers until the manager is gone. It returns in a worker only."""
        signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
        self._kernel.set_aside(signal.SIGTERM)  # it ends a worker that begins
        # Here, once for all workers.
        forget_inherited(keeps_atexit=True)
        self._kernel.discard_loop()
        gc.collect()
        self._channel.setblocking(True)
        self._send(Word.LOADED)
        while (index := self._next()) is not None:
            if self._fork(index, become_worker):
                return
        os._exit(0)

    def _next(self) -> int | None:
        """The slot of the next worker; None when the manager is gone."""
        try:
            while received := self._channel.recv(LARGEST):
                match decode(received):
                    case [Word.SPAWN, index]:
                        return int(index)
                    case [Word.PING]:
                        self._send(Word.PONG)
        except OSError:
            pass
        return None

    def _fork(self, index: int, become_worker: BecomeWorker) -> bool:
        """True: this is the worker."""
        try:
            pid = self._kernel.fork(ignored=OF_TERMINAL, reaper=self._manager)
        except OSError as error:
            self._send(Word.LOST, index, error.errno or 0, error.strerror or str(error))
            return False
        if pid:
            self._send(Word.FORKED, index, pid)
            return False
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, BLOCKED)
        own = self._announce(index)
        self._channel.close()
        become_worker(index, own)
        return True

    def _announce(self, index: int) -> socket.socket | None:
        """Worker: the manager learns which process it is, and how to reach it if it has a channel."""
        try:
            if self._links:
                own, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                with theirs:
                    socket.send_fds(self._channel, [encode(Word.WORKER, index)], [theirs.fileno()])
                return own
        except OSError:  # no descriptor is left: it is a worker like any other
            pass
        self._send(Word.WORKER, index)
        return None

    def _send(self, word: Word, *values: object) -> None:
        try:
            self._channel.send(encode(word, *values))
        except OSError:
            os._exit(0)  # the manager has given this mold up

    def _fail(self, error: BaseException) -> NoReturn:
        """Tells why the application cannot be loaded. The traceback is the user's."""
        if not isinstance(error, PreforkError | NotMolded):
            error = TargetError(f"it ended while it was loaded: {type(error).__name__}: {show(error)}")
        elif error.__cause__ is not None:
            if is_json():
                complain(show(error), "".join(traceback.format_exception(error.__cause__)))
            else:
                traceback.print_exception(error.__cause__)
                flush_output()
        cause = error.__cause__
        why = "" if cause is None else f"{type(cause).__name__}: {show(cause)}"
        self._send(Word.FAILED, show(error), why, error.exit_status)
        os._exit(error.exit_status)
