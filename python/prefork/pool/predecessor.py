"""The manager whose place this one takes, in an upgrade: what it has sent, and when it has let go.

Always: this manager binds no socket that it was sent, and shows itself (glue, control socket, pid file,
service manager) only when the former one has let go, or is dead. Workers serve before that, beside those of
the former one. `upgrade.py` is the other end.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import Any

from prefork._engine import HAND_OFF_FORMAT
from prefork.pool import handing_over
from prefork.pool.handing_over import Broken, Word
from prefork.server import kept_sockets
from prefork.server.environment import SUCCEEDS

logger = logging.getLogger("prefork.pool")

RECEIVE_S = 10.0


class Predecessor:
    """`channel` leads to it. Raises Broken and OSError for what is no hand-over of this version."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self.pid = 0
        self.glue = ""
        self._pool: dict[str, Any] = {}
        self._queue: tuple[socket.socket, socket.socket] | None = None
        self._glue_socket: socket.socket | None = None
        self._attached: dict[str, tuple[dict[str, Any], socket.socket]] = {}
        self._why_not = ""
        self._places = 0
        """How many of its addresses it has sent."""
        self._loop: AbstractEventLoop | None = None
        self._when_alone: list[Callable[[], object]] = []
        kept_sockets.forget_stored()
        channel.settimeout(RECEIVE_S)
        while (message := handing_over.receive(channel)) is not None and message.word is not Word.ALL:
            self._keep(message)
        if message is None or self._queue is None:
            raise Broken("the former manager has ended, or has sent no pool")
        channel.setblocking(False)

    def _keep(self, message: handing_over.Message) -> None:
        word, values, sockets = message
        match word, sockets:
            case Word.LISTENERS, _:
                for one in sockets:
                    kept_sockets.hand_in(one, is_chosen=bool(values.get("chosen")), place=self._places)
                self._places += 1
            case Word.POOL, [sender, receiver, glue]:
                self._queue, self._glue_socket, self._pool = (sender, receiver), glue, values
                self.pid, self.glue = int(values["pid"]), str(values["glue"])
            case Word.ATTACHED, [one]:
                self._attached[str(values["name"])] = values, one
            case _:
                raise Broken(f"the former manager has sent {word} with {len(sockets)} descriptors")

    # --- what is taken -----------------------------------------------------------------------------------

    def take_queue(self, layout: list[list[object]]) -> tuple[socket.socket, socket.socket] | None:
        """Both ends of its queue, if workers of both pools understand what is in there."""
        queue, self._queue = self._queue, None
        assert queue is not None
        if self._pool.get("format") != HAND_OFF_FORMAT:
            self._why_not = "workers of the two versions do not understand each other's connections"
        elif self._pool.get("layout") != layout:
            self._why_not = "the new pool listens on other addresses"
        else:
            return queue
        for end in queue:
            end.close()
        return None

    def take_glue(self, wanted: str | None) -> tuple[str, socket.socket] | None:
        """The glue, with the socket that holds it, if it is the one that is wanted, or any is."""
        if self._glue_socket is None or wanted not in (None, self.glue):
            return None
        taken, self._glue_socket = self._glue_socket, None
        return self.glue, taken

    def take_attached(self, name: str, **wanted: object) -> socket.socket | None:
        """The socket of what was attached under that name, with these values."""
        values, one = self._attached.get(name, ({}, None))
        if one is None or any(values.get(key) != value for key, value in wanted.items()):
            return None
        del self._attached[name]
        return one

    # --- taking over -------------------------------------------------------------------------------------

    def when_alone(self, function: Callable[[], object]) -> None:
        """Calls `function` when the former manager has let go."""
        self._when_alone.append(function)

    def ready(self, loop: AbstractEventLoop) -> None:
        """A worker is ready: the former manager may let go."""
        self._loop = loop
        with contextlib.suppress(OSError):  # it is dead, which is read now
            declined = kept_sockets.declined()
            handing_over.send(
                self._channel, Word.READY, pid=os.getpid(), why_not=self._why_not, declined=declined
            )
        loop.add_reader(self._channel.fileno(), self._let_go)

    def _let_go(self) -> None:
        said = None
        try:
            said = handing_over.receive(self._channel)
        except BlockingIOError:
            return
        except (OSError, Broken):
            pass  # it is dead: there is no other manager
        if said is None:
            logger.error("the former manager %d has ended without a word: this one goes on alone", self.pid)
        else:
            logger.warning("this manager has taken the place of %d", self.pid)
        self.close()
        functions, self._when_alone = self._when_alone, []
        for function in functions:
            function()

    def fail(self, why: str) -> None:
        """Tells it that this process ends, and why."""
        with contextlib.suppress(OSError):
            handing_over.send(self._channel, Word.FAILED, why=why)

    def close(self) -> None:
        """Closes the channel, and what was not taken."""
        if self._loop is not None:
            self._loop.remove_reader(self._channel.fileno())
            self._loop = None
        self.discard()

    def discard(self) -> None:
        """In a child that was forked with a copy of it: closes the descriptors."""
        self._channel.close()
        for end in self._queue or ():
            end.close()
        if self._glue_socket is not None:
            self._glue_socket.close()
        for _, one in self._attached.values():
            one.close()
        self._attached = {}


def find_predecessor(number: str) -> Predecessor:
    """The manager that has started this process to take its place. `number` is the value of the variable
    SUCCEEDS. Raises Broken.
    """
    try:
        channel = socket.socket(fileno=int(number))
        channel.set_inheritable(False)
    except (OSError, ValueError) as error:
        raise Broken(f"{SUCCEEDS}={number[:20]} names no channel to another manager: {error}") from None
    try:
        return Predecessor(channel)
    except (OSError, KeyError, ValueError) as error:
        why = f"cannot take the place of another manager: {error}"
    except Broken as error:
        why = str(error)
    with contextlib.suppress(OSError):
        handing_over.send(channel, Word.FAILED, why=why)
    raise Broken(why)
