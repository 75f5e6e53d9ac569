"""What a process does at this moment, as the system tells it: it runs, or waits for what (proc(5)).

For an operator: nothing is decided by it. A process may be anyone's, and end at any time; what the system
does not tell is said so.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from prefork.logs.escaping import escape_line

PROC = Path("/proc")
MOST_THREADS = 200
"""So many threads of a process are looked at."""


class Wait(NamedTuple):
    """`kind` is one word for programs, `text` says the same to people."""

    kind: str
    text: str


class _Kind(NamedTuple):
    """A kind of system call. `on_file`: its first argument is a descriptor that is waited for."""

    kind: str
    text: str
    on_file: bool = False


LOCK = _Kind("lock", "waits for a lock")
EVENTS = _Kind("idle", "waits for events of its connections")
SLEEP = _Kind("sleep", "sleeps")
POLL = _Kind("file", "waits for a socket or a pipe")
FILE = _Kind("file", "waits for", on_file=True)
CHILD = _Kind("child", "waits for a child process")
UNKNOWN = _Kind("unknown", "waits")

CALLS: dict[str, dict[int, _Kind]] = {
    "x86_64": {
        **dict.fromkeys((0, 1, 17, 18, 19, 20, 42, 43, 44, 45, 46, 47, 72, 73, 74, 75, 288), FILE),
        **dict.fromkeys((7, 23, 270, 271), POLL),
        **dict.fromkeys((232, 281, 441), EVENTS),
        **dict.fromkeys((34, 35, 230), SLEEP),
        **dict.fromkeys((61, 247), CHILD),
        202: LOCK,
    },
    "aarch64": {
        **dict.fromkeys((25, 32, 63, 64, 65, 66, 67, 68, 82, 83, 202, 203, 206, 207, 211, 212, 242), FILE),
        **dict.fromkeys((72, 73), POLL),
        **dict.fromkeys((22, 441), EVENTS),
        **dict.fromkeys((101, 115), SLEEP),
        **dict.fromkeys((95, 260), CHILD),
        98: LOCK,
    },
}
"""The system calls that wait, by machine and number: read, write, connect, accept, send, recv, fcntl, flock,
fsync; poll, select; epoll_wait; pause, nanosleep; wait4, waitid; futex."""

PLACES: tuple[tuple[str, _Kind], ...] = (
    ("futex", LOCK),
    ("ep_poll|do_epoll", EVENTS),
    ("hrtimer_nanosleep|do_nanosleep", SLEEP),
    ("poll_schedule|do_select|do_sys_poll|do_poll", POLL),
    ("do_wait|kernel_wait", CHILD),
    ("pipe_|anon_pipe|unix_|sk_wait|wait_woken|__skb|inet_", POLL),
)
"""Functions of the kernel in which a thread waits (wchan), where the system tells no more."""


def wait_of(pid: int, thread: int | None = None) -> Wait:
    """What a thread of a process does, by default its main thread."""
    directory = PROC / str(pid) / "task" / str(thread or pid)
    state = _state(directory)
    if state == "R":
        return Wait("runs", "runs")
    if state == "T":
        return Wait("stopped", f"is stopped by a signal; `kill -CONT {pid}` lets it go on")
    if state == "t":
        return Wait("stopped", f"is stopped by a debugger{_tracer(directory)}")
    if state == "D":
        place = _place(directory)
        return Wait("disk", "waits for a disk or a device" + (f" (in {place})" if place else ""))
    if state in ("", "Z", "X"):
        return Wait("ended", "has ended")
    return _sleeping(pid, directory)


def threads_of(pid: int) -> Counter[str]:
    """What the threads of a process do besides the main one, and how many of them."""
    found: Counter[str] = Counter()
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(PROC / str(pid) / "task"))[:MOST_THREADS]:
            if int(name) != pid:
                found[wait_of(pid, int(name)).text] += 1
    return found


def parent_of(pid: int) -> int | None:
    """The pid of the parent; None if there is no such process."""
    fields = _fields(PROC / str(pid))
    return int(fields[1]) if len(fields) > 1 else None


def _fields(directory: Path) -> list[str]:
    """Those of `stat` after the name of the program, which may contain anything."""
    try:
        return (directory / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _state(directory: Path) -> str:
    fields = _fields(directory)
    return fields[0] if fields else ""


def _tracer(directory: Path) -> str:
    with contextlib.suppress(OSError):
        found = re.search(r"^TracerPid:\s+([1-9]\d*)$", (directory / "status").read_text(), re.MULTILINE)
        if found:
            return f", process {found[1]}"
    return ""


def _place(directory: Path) -> str:
    """The function of the kernel in which it waits; "" if that is not told."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        place = (directory / "wchan").read_text().strip()
        return "" if place == "0" else escape_line(place)
    return ""


def _sleeping(pid: int, directory: Path) -> Wait:
    try:
        call = (directory / "syscall").read_text().split()
        number, first = int(call[0]), int(call[1], 16)
    except (OSError, ValueError, IndexError):  # another user's, or it has just gone on
        place = _place(directory)
        kind = next((kind for pattern, kind in PLACES if re.match(pattern, place)), UNKNOWN)
        return Wait(kind.kind, kind.text + (f" (in {place})" if kind is UNKNOWN and place else ""))
    kind = CALLS.get(os.uname().machine, {}).get(number, UNKNOWN)
    if kind.on_file:
        return Wait(kind.kind, f"{kind.text} {_file(pid, first)}")
    if kind is UNKNOWN:
        return Wait(kind.kind, f"waits in system call {number}")
    return Wait(kind.kind, kind.text)


def _file(pid: int, descriptor: int) -> str:
    """What a descriptor of a process leads to."""
    try:
        target = os.readlink(PROC / str(pid) / "fd" / str(descriptor))
    except OSError:
        return f"descriptor {descriptor}"
    if found := re.fullmatch(r"socket:\[(\d+)\]", target):
        peer = next(_peers(pid, found[1]), None)
        return f"a socket (descriptor {descriptor})" if peer is None else f"{peer} (a socket)"
    if target.startswith("pipe:"):
        return f"a pipe (descriptor {descriptor})"
    return escape_line(target)


def _peers(pid: int, inode: str) -> Iterator[str]:
    """The other end of a TCP socket."""
    for name, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        with contextlib.suppress(OSError, ValueError, IndexError):
            for line in (PROC / str(pid) / "net" / name).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[9] == inode:
                    address, port = fields[2].split(":")
                    host = socket.inet_ntop(family, _in_network_order(address))
                    yield f"{f'[{host}]' if family == socket.AF_INET6 else host}:{int(port, 16)}"


def _in_network_order(address: str) -> bytes:
    """The table has each four bytes as a number of the machine."""
    words = (bytes.fromhex(address[at : at + 8]) for at in range(0, len(address), 8))
    return b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)
