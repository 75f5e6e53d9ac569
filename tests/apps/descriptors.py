"""Functions that close, or shut down, descriptors of the engine that runs them."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Callable, Iterator


def sockets() -> Iterator[socket.socket]:
    """Every socket of this process."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                yield socket.socket(fileno=int(name))


def each(is_wanted: Callable[[socket.socket], bool], act: Callable[[socket.socket], object]) -> int:
    """Act on each socket that is wanted. Return their number."""
    count = 0
    for one in sockets():
        if is_wanted(one):
            act(one)
            count += 1
        one.detach()
    return count


def listens(one: socket.socket) -> bool:
    return bool(one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def is_of_the_queue(one: socket.socket) -> bool:
    return one.type == socket.SOCK_SEQPACKET


def is_of_the_wakeups(one: socket.socket) -> bool:
    """asyncio has a pair of sockets that signals are written to."""
    return one.family == socket.AF_UNIX and one.type == socket.SOCK_STREAM and not listens(one)


def close(one: socket.socket) -> None:
    os.close(one.fileno())


def shut(one: socket.socket) -> None:
    one.shutdown(socket.SHUT_RDWR)


def close_listener() -> int:
    """Python has one of the two descriptors, and the engine the other."""
    return each(listens, close)


def close_queue() -> int:
    return each(is_of_the_queue, close)


def close_all() -> None:
    os.closerange(3, 256)


def shut_listener() -> int:
    return each(listens, shut)


def shut_queue() -> int:
    return each(is_of_the_queue, shut)


def close_wakeups() -> int:
    return each(is_of_the_wakeups, close)


def shut_wakeups() -> int:
    return each(is_of_the_wakeups, shut)


def close_epoll_sets() -> int:
    fds = [name for name in os.listdir("/proc/self/fd") if is_epoll_set(name)]
    for name in fds:
        os.close(int(name))
    return len(fds)


def is_epoll_set(name: str) -> bool:
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/self/fd/{name}") == "anon_inode:[eventpoll]"
    return False
