"""What the system knows of the TCP connections of this machine (proc(5), /proc/net/tcp; IPv4)."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

LISTEN = "0A"
KEEPALIVE = "02"
"""The timer is that of probes of the other end."""


class Connection(NamedTuple):
    """One end: its port and the other's, the bytes that are not acknowledged and those that are not read."""

    port: int
    peer: int
    unsent: int
    unread: int
    timer: str


def connections() -> Iterator[Connection]:
    """Each end of each connection."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, own, other, state, queues, timer, *_ = line.split()
        if state != LISTEN:
            port, peer = (int(address.rpartition(":")[2], 16) for address in (own, other))
            unsent, unread = (int(count, 16) for count in queues.split(":"))
            yield Connection(port, peer, unsent, unread, timer.partition(":")[0])


def has_keepalive_timer(sock: socket.socket) -> bool:
    """Whether the system probes this end of a connection, for the other."""
    theirs, ours = sock.getpeername()[1], sock.getsockname()[1]
    return any(
        found.timer == KEEPALIVE for found in connections() if (found.port, found.peer) == (theirs, ours)
    )


def has_read_all(port: int) -> bool:
    """Whether a server has read what its clients have sent."""
    return not any(
        found.unread if found.port == port else found.unsent
        for found in connections()
        if port in (found.port, found.peer)
    )
