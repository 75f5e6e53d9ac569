"""Listening sockets of the process before: kept by the service manager (FDSTORE), or handed in by it.

Owns: those that no server has taken yet. Kept ones come as passed sockets do (`environment.py`), with names
that `name_of` made. Those that are handed in come from a manager whose place this process takes. One that
listens where a server wants to listen is taken instead of a new one, so clients that have connected meanwhile
are served. The others are closed when all servers have their sockets.

Always: a socket that the service manager keeps is never shut down, unless it is in the way of another one.
One that was handed in is not shut down here: the former manager serves it.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import stat
from collections import Counter
from typing import Any, NamedTuple

from prefork.server.environment import KEPT, notified, stored_sockets

LISTENS = "00010000"
"""The flag of a listening socket in /proc/net/unix."""


class _Kept(NamedTuple):
    socket: socket.socket
    name: str
    """Empty: it was handed in."""
    is_chosen: bool = False
    """Whether the system has chosen its port."""
    place: int = -1
    """The number of its address, if it was handed in."""


_waiting: list[_Kept] = []
_left: list[str] = []
"""The names of those that were in the way."""
_read: set[int] = set()
_handed_in: list[socket.socket] = []
_of_places: Counter[int] = Counter()
"""How many sockets were handed in, by the number of their address."""
_declined: list[int] = []
"""The addresses of which no server has taken any."""


def are_kept() -> bool:
    """Whether the service manager keeps the sockets of this process for the next one."""
    return notified().keeps


def forget_stored() -> None:
    """Those of the service manager come from the manager whose place this process takes."""
    _read.update(one.descriptor for one in stored_sockets())


def hand_in(one: socket.socket, *, is_chosen: bool, place: int) -> None:
    """A socket of the manager whose place this process takes. `is_chosen`: the system has chosen its port.
    `place` is the number of its address there.
    """
    one.setblocking(False)
    _waiting.append(_Kept(one, "", is_chosen, place))
    _handed_in.append(one)
    _of_places[place] += 1


def is_handed_in(one: socket.socket) -> bool:
    """Whether it came from the manager whose place this process takes."""
    return one in _handed_in


def name_of(url: str) -> str:
    """The name under which the sockets of an address are kept: ASCII, and no colon (sd_notify(3), FDNAME)."""
    return (KEPT + re.sub(r"[^!-9;-~]", lambda found: f"%{ord(found[0]):02x}", url))[:255]


def take_tcp(family: int, place: tuple[Any, ...], *, dual: bool, shared: bool | None) -> socket.socket | None:
    """The kept socket that listens there, as it would be made now."""

    chosen = [kept.socket for kept in _waiting if kept.is_chosen]

    def fits(one: socket.socket) -> bool:
        if one.family != family or not _is_at(one, family, place):
            return False
        if not place[1] and one not in chosen:
            return False
        if one.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) != bool(shared):
            return False
        only = family == socket.AF_INET6 and one.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
        return family != socket.AF_INET6 or bool(only) != dual

    return _take(fits)


def take_unix(path: str) -> socket.socket | None:
    """The kept socket to which this path still leads."""
    return _take(lambda one: one.getsockname() == path and _leads_to(path, one))


def take_abstract(name: bytes) -> socket.socket | None:
    """The kept socket with this name."""
    return _take(lambda one: one.family == socket.AF_UNIX and one.getsockname() == name)


def clear(port: int) -> bool:
    """Shuts down the kept sockets with that TCP port, which are in the way. False: there is none."""
    found = [
        one
        for one in _all()
        if one.name and one.socket.family != socket.AF_UNIX and one.socket.getsockname()[1] == port
    ]
    for one in found:
        _waiting.remove(one)
        _left.append(one.name)
        with contextlib.suppress(OSError):
            one.socket.shutdown(socket.SHUT_RDWR)
        one.socket.close()
    return bool(found)


def close_rest() -> None:
    """Closes those that no server has taken. Every server has its sockets, and no process is forked yet."""
    left: Counter[int] = Counter()
    for one in _all():
        one.socket.close()
        if one.name:
            _left.append(one.name)
        else:
            left[one.place] += 1
    _waiting.clear()
    _declined.extend(place for place, count in left.items() if count == _of_places[place])


def declined() -> list[int]:
    """The numbers of the addresses that were handed in, and where no server listens any more."""
    return list(_declined)


def names_left() -> list[str]:
    """The names of those that were closed, once: the service manager has them still."""
    names = list(dict.fromkeys(_left))
    _left.clear()
    return names


def _all() -> list[_Kept]:
    """Those that wait. Each number is read once: after a close it may be that of another file."""
    for passed in stored_sockets():
        if passed.descriptor not in _read:
            _read.add(passed.descriptor)
            with contextlib.suppress(OSError):
                one = socket.socket(fileno=passed.descriptor)
                one.set_inheritable(False)
                one.setblocking(False)
                _waiting.append(_Kept(one, passed.name))
    return list(_waiting)


def _take(fits: Any) -> socket.socket | None:
    for one in _all():
        with contextlib.suppress(OSError):
            if one.socket.type == socket.SOCK_STREAM and fits(one.socket):
                _waiting.remove(one)
                return one.socket
    return None


def _is_at(one: socket.socket, family: int, place: tuple[Any, ...]) -> bool:
    """Whether it has that address, where the port 0 is any."""
    bound, wanted = one.getsockname(), _full(family, place)
    return bool(bound[0] == wanted[0] and bound[2:] == wanted[2:] and wanted[1] in (0, bound[1]))


def _full(family: int, place: tuple[Any, ...]) -> tuple[Any, ...]:
    """An address as getsockname(2) returns it."""
    return (*place, 0, 0)[:4] if family == socket.AF_INET6 else place[:2]


def _leads_to(path: str, one: socket.socket) -> bool:
    """Whether the file at that path is the socket's: it may have been removed, or be that of another."""
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        return False
    with open("/proc/net/unix", errors="surrogateescape") as table:
        # Number, references, protocol, flags, type, state, inode, path.
        bound = [line.rstrip("\n").split(maxsplit=7) for line in table]
    # Its connections have the path as well.
    listening = {int(entry[6]) for entry in bound if entry[3] == LISTENS and entry[7:] == [path]}
    return listening == {os.fstat(one.fileno()).st_ino}
