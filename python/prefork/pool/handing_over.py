"""What a manager and the one that takes its place write to each other: an upgrade (`upgrade.py`).

Owns the format: a message is JSON with a version, a word and values, on a socket of SOCK_SEQPACKET; a message
may carry descriptors. First the former manager sends all that it has, then the new one says once that it is
ready or why it is not, and then the former one lets go.
"""

from __future__ import annotations

import enum
import errno
import json
import os
import socket
from collections.abc import Sequence
from typing import Any, NamedTuple

from prefork.errors import PreforkError

VERSION = 1
"""Of this format. A manager takes over from one that has the same."""
LARGEST = 65536
MOST_DESCRIPTORS = 250
"""In one message: the system takes 253 (SCM_MAX_FD)."""
LONGEST_TEXT = 4000


class Word(enum.StrEnum):
    """What a message says."""

    LISTENERS = enum.auto()
    """Former: these sockets listen. `chosen`: their port was chosen by the system."""
    POOL = enum.auto()
    """Former: both ends of the central queue and the socket of the glue; its pid, the name of the glue, and
    what has to be the same for the queue to be shared.
    """
    ATTACHED = enum.auto()
    """Former: the socket of what is attached to it, and its `name`."""
    ALL = enum.auto()
    """Former: there is no more."""
    READY = enum.auto()
    """New: a worker is ready. Its pid, why connections cannot move (empty: they can), and the numbers of the
    LISTENERS of which it has taken none, counted from 0 (`declined`).
    """
    FAILED = enum.auto()
    """New: it ends, and why."""
    ALONE = enum.auto()
    """Former: the new one is the manager from now on."""


class Broken(PreforkError):
    """What the other manager sends is not what this version expects."""


class Message(NamedTuple):
    """What was received."""

    word: Word
    values: dict[str, Any]
    sockets: list[socket.socket]


def send(channel: socket.socket, word: Word, sockets: Sequence[int] = (), **values: object) -> None:
    """Sends a message. Raises OSError."""
    short = {key: value[:LONGEST_TEXT] if isinstance(value, str) else value for key, value in values.items()}
    message = json.dumps([VERSION, word, short]).encode()
    if sockets:
        socket.send_fds(channel, [message], list(sockets))
    else:
        channel.send(message)


def receive(channel: socket.socket) -> Message | None:
    """The next message; None: the other end is closed. Raises OSError and Broken."""
    data, descriptors, flags, _ = socket.recv_fds(channel, LARGEST, MOST_DESCRIPTORS)
    sockets = [socket.socket(fileno=one) for one in descriptors]
    for one in sockets:
        one.set_inheritable(False)
    if flags & socket.MSG_CTRUNC:  # some of them have found no number
        for one in sockets:
            one.close()
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    if not data:
        return None
    try:
        version, word, values = json.loads(data)
        if version == VERSION:
            return Message(Word(word), dict(values), sockets)
    except (ValueError, TypeError):
        version = None
    for one in sockets:
        one.close()
    raise Broken(f"the hand-over between managers has version {VERSION} here, and {version!r} there: restart")


def layout(places: Sequence[Any], redirecting: Sequence[Any]) -> list[list[object]]:
    """The listeners of a pool, in the order of the numbers that workers have for them, as JSON has them.

    A connection in the queue names its listener by that number.
    """
    return [
        [str(one.getsockname()), place.is_encrypted, bool(place.endpoint.proxy), place in redirecting]
        for place in (*places, *redirecting)
        for one in place.sockets
    ]
