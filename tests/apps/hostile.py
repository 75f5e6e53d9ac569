"""A WSGI application with a worker that turns on its pool: `/hostile?attack` is one of the functions below.

`/echo?token` is what the clients of the others ask for.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import itertools
import os
import random
import select
import signal
import socket
import stat
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from parameters import PARAMETERS

ATTACK_S = 1.5
MOVED_S = 0.3
"""By then the guard has handed off the connections that this worker had."""

MESSAGE_BYTES = 417
"""Of a message of the queue."""
LATER_MS = 10_000
REQUEST = b"GET /echo?forged HTTP/1.1\r\nHost: x\r\n\r\n"
GARBAGE = [0, 1, 2, 3, 4, 5, 6, 255, 1 << 31, (1 << 32) - 1, 1 << 63, (1 << 64) - 1]


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    text = environ["QUERY_STRING"]
    if environ["PATH_INFO"] == "/hostile":
        time.sleep(MOVED_S)
        text = str(globals()[text]())
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [text.encode()]


# --- memory -------------------------------------------------------------------------------------------------


def mappings() -> Iterator[tuple[int, int, str]]:
    """The shared memory of this process: where it begins, its size, and whether it may be written."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        place, rights, *_ = line.split()
        if rights.endswith("s") and "memfd:prefork" in line:
            first, end = (int(number, 16) for number in place.split("-"))
            yield first, end - first, rights


def scribble() -> int:
    """Write over all shared memory, again and again. Return how much of what is read-only was written."""
    own = [(first, size) for first, size, rights in mappings() if "w" in rights]
    assert own
    until = time.monotonic() + ATTACK_S
    while time.monotonic() < until:
        for first, size in own:
            if random.random() < 0.5:
                ctypes.memmove(first, random.randbytes(size), size)
            else:
                ctypes.memmove(first, struct.pack("=Q", random.choice(GARBAGE)) * (size // 8), size)
    return sum(force(first, size) for first, size, rights in mappings() if "w" not in rights)


def flap() -> int:
    """Pretend to be spare and to drain, in turn, and wake the manager each time."""
    wakeups = [fd for fd in inherited() if "eventfd" in os.readlink(f"/proc/self/fd/{fd}")]
    ((first, _, _),) = (one for one in mappings() if "w" in one[2])
    until = time.monotonic() + ATTACK_S
    for times in itertools.count():
        ctypes.memmove(first, struct.pack("=I", random.choice([0, 1, 2, 3, 4])) * 64, 256)
        for fd in wakeups:
            with contextlib.suppress(BlockingIOError):
                os.write(fd, struct.pack("=Q", 1))
        time.sleep(0.0005)
        if time.monotonic() > until:
            return times
    raise AssertionError


def force(first: int, size: int) -> int:
    """Write to memory that is mapped to be read: as a debugger would, and after a change of its rights."""
    written = 0
    with open("/proc/self/mem", "r+b", buffering=0) as memory:
        for page in range(first, first + size, 4096):
            with contextlib.suppress(OSError):
                memory.seek(page)
                written += memory.write(b"\xff" * 64) or 0
    libc = ctypes.CDLL(None)
    if libc.mprotect(ctypes.c_void_p(first), ctypes.c_size_t(size), 3) == 0:
        written += size
    return written


# --- descriptors --------------------------------------------------------------------------------------------


def inherited() -> list[int]:
    """The descriptors that others have too: neither clients, nor standard streams, nor what is its own."""
    found = []
    standard = {os.readlink(f"/proc/self/fd/{fd}") for fd in range(3)}
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        with contextlib.suppress(OSError):
            kind = os.readlink(f"/proc/self/fd/{fd}")
            if kind not in standard and "eventpoll" not in kind and not is_own(fd):
                found.append(fd)
    return found


def is_own(fd: int) -> bool:
    """Whether it is a client, or of the loop of this process."""
    if not stat.S_ISSOCK(os.fstat(fd).st_mode):
        return False
    with socket.socket(fileno=os.dup(fd)) as sock:
        if sock.family == socket.AF_UNIX:
            return sock.type == socket.SOCK_STREAM  # the pair of the loop, for signals
        with contextlib.suppress(OSError):
            return bool(sock.getpeername())
    return False


def spoil_descriptors() -> int:
    """Send garbage to each inherited descriptor, read from it, and change how it behaves."""
    fds = inherited()
    until = time.monotonic() + ATTACK_S
    for fd in fds:
        # A call may block, once the descriptor does.
        threading.Thread(target=spoil, args=(fd, until), daemon=True).start()
    time.sleep(ATTACK_S)
    return len(fds)


def spoil(fd: int, until: float) -> None:
    while time.monotonic() < until:
        for act in (block, write_garbage, read_all, send_garbage, count_up, spoil_socket):
            with contextlib.suppress(OSError, ValueError):
                act(fd)
        time.sleep(0.001)


def block(fd: int) -> None:
    """The file is shared, and so is O_NONBLOCK."""
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) & ~os.O_NONBLOCK)


def write_garbage(fd: int) -> None:
    if select.select([], [fd], [], 0)[1]:
        os.write(fd, random.randbytes(random.choice([1, 8, 512, 4096])))


def read_all(fd: int) -> None:
    """Not from the queue: a connection that comes from there is this worker's, to serve or to drop."""
    if stat.S_ISSOCK(os.fstat(fd).st_mode):
        return
    while select.select([fd], [], [], 0)[0] and os.read(fd, 1 << 16):
        pass


def count_up(fd: int) -> None:
    """Fill an eventfd, so that another write waits."""
    if "eventfd" in os.readlink(f"/proc/self/fd/{fd}") and select.select([], [fd], [], 0)[1]:
        os.write(fd, struct.pack("=Q", (1 << 64) - 2))


def send_garbage(fd: int) -> None:
    with socket.socket(fileno=os.dup(fd)) as sock:
        sock.send(random.randbytes(MESSAGE_BYTES), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def spoil_socket(fd: int) -> None:
    """A listening socket is left alone: what is set there holds for each client that comes."""
    if is_listener(fd):
        return
    with socket.socket(fileno=os.dup(fd)) as sock:
        for name in (socket.SO_SNDBUF, socket.SO_RCVBUF, socket.SO_RCVLOWAT):
            sock.setsockopt(socket.SOL_SOCKET, name, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 1000))


def block_listener() -> int:
    """Have accept(2) wait, in every process."""
    listeners = [fd for fd in inherited() if is_listener(fd)]
    for fd in listeners:
        block(fd)
    time.sleep(ATTACK_S)
    return len(listeners)


def race_the_manager() -> int:
    """Wake the manager, and take the wake-up before it does: a read that waits would not end."""
    fds = [fd for fd in inherited() if "eventfd" in os.readlink(f"/proc/self/fd/{fd}")]
    until = time.monotonic() + ATTACK_S
    wakeups = 0
    while time.monotonic() < until:
        for fd in fds:
            block(fd)
            os.write(fd, struct.pack("=Q", 1))
            for _ in range(random.randrange(20_000)):
                pass
            if select.select([fd], [], [], 0)[0]:
                os.set_blocking(fd, False)
                with contextlib.suppress(BlockingIOError):
                    os.read(fd, 8)
                block(fd)
            wakeups += 1
    return wakeups


def is_listener(fd: int) -> bool:
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(fd)) as sock:
        return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    return False


# --- the queue ----------------------------------------------------------------------------------------------


def queue() -> list[socket.socket]:
    """Its two ends. What is sent to the first is received from the second, or the other way round."""
    found = []
    for fd in inherited():
        with contextlib.suppress(OSError):
            sock = socket.socket(fileno=os.dup(fd))
            if sock.type == socket.SOCK_SEQPACKET:
                found.append(sock)
    assert len(found) == 2, found
    return found


def message() -> bytes:
    """Of a connection that has idled: of listener 0, without a request so far, to close later."""
    due_ms = time.monotonic_ns() // 1_000_000 + LATER_MS
    return struct.pack("=IIQ", 0, 0, due_ms).ljust(MESSAGE_BYTES, b"\0")


def forge(end: socket.socket, message: bytes, *fds: int) -> bool:
    with contextlib.suppress(OSError):
        socket.send_fds(end, [message], list(fds), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        return True
    return False


def adopt() -> str:
    """Forge one adoption that a worker would send. What comes back shows that this file knows the format."""
    for end in queue():
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.sendall(REQUEST)
            ours.settimeout(5)
            forge(end, message(), theirs.fileno())
            theirs.close()
            with contextlib.suppress(OSError):
                if response := ours.recv(65536):
                    return response.decode()
    return "nothing"


def files() -> list[int]:
    """Descriptors of all kinds, that are no client."""
    pipes = os.pipe()
    memory = os.memfd_create("hostile", os.MFD_ALLOW_SEALING)
    os.write(memory, random.randbytes(4096))
    sealed = os.memfd_create("hostile", os.MFD_ALLOW_SEALING)
    os.write(sealed, struct.pack("=I", 1 << 31) + random.randbytes(100))
    fcntl.fcntl(sealed, fcntl.F_ADD_SEALS, 2 | 4 | 8)
    unbound, datagrams = socket.socket(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.connect(("127.0.0.1", 9))
    listening = socket.create_server(("127.0.0.1", 0))
    others = [os.open(path, os.O_RDONLY) for path in ("/dev/zero", "/", "/proc/self/maps", "/dev/null")]
    kinds = [unbound, datagrams, listening, *socket.socketpair(type=socket.SOCK_DGRAM)]
    return [
        *pipes,
        memory,
        sealed,
        *(one.detach() for one in kinds),
        *others,
        os.eventfd(0),
        select.epoll().fileno(),
        *inherited(),
    ]


def forge_adoptions() -> int:
    """Send what no worker sends to those that adopt, and keep what was sent."""
    ends = queue()
    kinds = files()
    sent = 0
    until = time.monotonic() + ATTACK_S
    for number in itertools.count():
        if time.monotonic() > until:
            return sent
        ours, theirs = socket.socketpair()
        kept = os.dup(theirs.fileno())
        ours.setblocking(False)
        with ours, contextlib.suppress(OSError):
            ours.send(random.choice([REQUEST, REQUEST * 40, random.randbytes(300), b"GET / HTTP/1.1\r\nHo"]))
        forged = bytearray(random.choice([message(), random.randbytes(MESSAGE_BYTES)]))
        forged[16 + number % 40] = random.randrange(256)
        if number % 2:
            forged[8:16] = struct.pack("=Q", random.choice(GARBAGE))
        if number % 5 == 0:
            forged = forged[: random.randrange(MESSAGE_BYTES)]
        fds = [theirs.fileno(), *random.sample(kinds, 2)] if number % 3 else random.sample(kinds, 2)
        for end in ends:
            sent += forge(end, bytes(forged), *fds)
        theirs.close()
        block(kept)  # the file is that of the worker that has adopted it
        time.sleep(0.001)
    return sent


def block_adopted() -> int:
    """Have a connection wait that another worker has adopted: it is read and written there."""
    kept = []
    for end in queue():
        for _ in range(8):
            ours, theirs = socket.socketpair()
            kept += [ours, theirs]
            forge(end, message(), theirs.fileno())
    until = time.monotonic() + ATTACK_S
    while time.monotonic() < until:
        for ours, theirs in zip(kept[::2], kept[1::2], strict=True):
            with contextlib.suppress(OSError):
                block(theirs.fileno())
                ours.send(b"GET /echo?", socket.MSG_DONTWAIT)
    return len(kept)


def send_queue() -> bool:
    """Have the queue itself adopted."""
    first, second = queue()
    sent = False
    for end, other in ((first, second), (second, first)):
        for one in (end, other):
            sent |= forge(end, message(), one.fileno())
    time.sleep(ATTACK_S)
    return sent


# --- signals ------------------------------------------------------------------------------------------------


def signal_all() -> str:
    """Signal the manager and the other workers. Return what the system says.

    If signals are not refused, none that harms is sent.
    """
    said = set()
    manager = os.getppid()
    others = map(int, Path(PARAMETERS["others"]).read_text().split())
    for pid in (manager, *(other for other in others if other != os.getpid())):
        for signum in (0, signal.SIGSTOP, signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            try:
                os.kill(pid, signum)
                return f"{pid} was reached"
            except PermissionError as error:
                said.add(type(error).__name__)
    pidfd = os.pidfd_open(manager)
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except PermissionError as error:
        said.add(type(error).__name__)
    return " ".join(said)


# --- the start ----------------------------------------------------------------------------------------------


def start(pid: int) -> None:
    """`worker_start`: if there is a file `attack`, this worker fills the pipe of the reports and fails."""
    attack = Path(PARAMETERS["attack"])
    if not attack.exists():
        return
    attack.unlink()
    for fd in inherited():
        if stat.S_ISFIFO(os.fstat(fd).st_mode):
            os.set_blocking(fd, False)
            with contextlib.suppress(OSError):
                while True:
                    os.write(fd, random.randbytes(1000) + b"\0\x1b[2J\nERROR forged\0")
    raise RuntimeError(f"{pid} is hostile")
