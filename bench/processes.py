"""What /proc shows of a process and its children: CPU time and memory."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
LIBC = ctypes.CDLL(None)
SYS_PIDFD_GETFD = 438  # on every architecture


def tree(pid: int) -> Iterator[int]:
    """The process and all its descendants."""
    yield pid
    for task in (PROC / str(pid) / "task").iterdir():
        for child in (task / "children").read_text().split():
            yield from tree(int(child))


def cpu_ns(pid: int) -> int:
    """User and system time of the tree, every thread of it.

    From schedstat, which counts nanoseconds; stat counts ticks of 10 ms. Exact for a thread that sleeps.
    """
    return sum(
        int((task / "schedstat").read_text().split()[0])
        for member in tree(pid)
        for task in (PROC / str(member) / "task").iterdir()
    )


def pss_bytes(pid: int) -> int:
    """Memory of the tree; a page that n processes share counts 1/n for each of them."""
    return sum(_rollup(member, "Pss") for member in tree(pid))


def private_bytes(pid: int) -> int:
    """Memory that one process has written, and shares with no other."""
    return _rollup(pid, "Private_Dirty")


def rss_bytes(pid: int) -> int:
    """Memory that one process has in use."""
    return _rollup(pid, "Rss")


def _rollup(pid: int, field: str) -> int:
    for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"no {field} in /proc/{pid}/smaps_rollup")


def descriptors(pid: int) -> int:
    """How many files and sockets a process has open."""
    return sum(1 for _ in (PROC / str(pid) / "fd").iterdir())


def process_of(pid: int, connection: socket.socket) -> int:
    """Which process of the tree holds the other end of a TCP connection that this process has."""
    ours, theirs = (int(name[1]) for name in (connection.getsockname(), connection.getpeername()))
    inode = _inode(local=theirs, remote=ours)
    for member in tree(pid):
        for entry in (PROC / str(member) / "fd").iterdir():
            if str(entry.readlink()) == f"socket:[{inode}]":
                return member
    raise RuntimeError(f"no process under {pid} holds the connection from port {ours}")


def _inode(local: int, remote: int) -> str:
    for line in (PROC / "net" / "tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if [int(end.partition(":")[2], 16) for end in fields[1:3]] == [local, remote]:
            return fields[9]
    raise RuntimeError(f"no connection from port {remote} to port {local}")


def clients_of(pid: int, port: int) -> set[int]:
    """The ports of the clients whose connections to a TCP port one process has open.

    Its sockets are looked at through copies. The system's table of connections also has those of all clients
    that have left within a minute: to read it may take longer than what is measured.
    """
    found = set()
    pidfd = os.pidfd_open(pid)
    try:
        for entry in (PROC / str(pid) / "fd").iterdir():
            with contextlib.suppress(OSError):  # it is no socket, or one that listens, or was just closed
                copy = LIBC.syscall(SYS_PIDFD_GETFD, pidfd, int(entry.name), 0)
                if copy >= 0:
                    with _socket_of(copy) as connection:
                        if connection.family == socket.AF_INET and connection.getsockname()[1] == port:
                            found.add(connection.getpeername()[1])
    finally:
        os.close(pidfd)
    return found


def _socket_of(fd: int) -> socket.socket:
    try:
        return socket.socket(fileno=fd)
    except OSError:
        os.close(fd)
        raise


def own_cpu_ns(pid: int) -> int:
    """User and system time of one process, every thread of it."""
    tasks = (PROC / str(pid) / "task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


def children_cpu_s(pid: int) -> float:
    """User and system time of the children of a process that it has waited for, in steps of 10 ms."""
    fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def is_running(pid: int) -> bool:
    """Whether it is neither stopped nor ended."""
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] not in "TZX"
