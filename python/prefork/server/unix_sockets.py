"""Unix sockets with a path: made, replaced if they are stale, and removed.

Always: no symbolic link is followed, dangling or not. A file is replaced only if it is a socket on which no
process answers, and removed only if it is the one that was made here. Permissions and owner are set before
the socket listens, so no client connects that they keep out. Errors are BindErrors.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
import struct
import time
from collections.abc import Iterator
from typing import NamedTuple

from prefork.errors import BindError

MODE = 0o666
"""A proxy is another user; the directory's permissions restrict access."""
LOCK_S = 1.0
"""How long another server may hold the directory while it replaces a stale file of its own."""
LONGEST = 107
"""Bytes of a path, or of an abstract name (unix(7))."""


_DIAGNOSTICS = 4  # NETLINK_SOCK_DIAG, of linux/netlink.h; what follows is of linux/unix_diag.h
_BY_FAMILY = 20  # SOCK_DIAG_BY_FAMILY
_IS_REQUEST = 1  # NLM_F_REQUEST
_SHOW_QUEUE = 0x10  # UDIAG_SHOW_RQLEN
_QUEUE = 4  # UNIX_DIAG_RQLEN
_ANY = 0xFFFFFFFF
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_REQUEST = struct.Struct("=BxxxIIIII")  # struct unix_diag_req
_RESPONSE = struct.Struct("=4xH10x16x2xHI4x")
"""The type of a message, and of its first attribute with what that begins with: the length of the queue."""

ADVICE = {
    errno.EADDRINUSE: "stop what uses it or choose another",
    errno.ENOENT: "make the directory first",
    errno.EACCES: "this user may not make a file in that directory",
}


class Ownership(NamedTuple):
    """Who may use a socket. None leaves what there is."""

    mode: int = MODE
    uid: int = -1
    gid: int = -1


class Identity(NamedTuple):
    """Which file it is."""

    device: int
    inode: int


def bind(
    path: str, backlog: int, ownership: Ownership, bound: socket.socket | None = None
) -> tuple[socket.socket, Identity]:
    """A socket that listens at this path: `bound`, if there is one that was bound before."""
    check_length(path, path)
    with _locked_directory(path):
        if bound is None:
            _remove_stale(path)
        listener = bound or socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        identity = None
        try:
            if bound is None:
                listener.bind(path)
            identity = _identity(os.lstat(path))
            _own(path, identity, ownership)
            listener.listen(backlog)
        except OSError as error:
            listener.close()
            if identity is not None:
                remove(path, identity)
            raise BindError.from_refusal(path, error, ADVICE) from None
    return listener, identity


def accept_queue_length(listener: socket.socket) -> int | None:
    """How many clients wait to be accepted; None if the system does not tell (sock_diag(7))."""
    inode = os.fstat(listener.fileno()).st_ino & _ANY
    content = _REQUEST.pack(socket.AF_UNIX, _ANY, inode, _SHOW_QUEUE, _ANY, _ANY)
    header = _HEADER.pack(_HEADER.size + len(content), _BY_FAMILY, _IS_REQUEST, 0, 0)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _DIAGNOSTICS) as diagnostics:
            diagnostics.setblocking(False)  # the kernel responds before `send` returns
            diagnostics.send(header + content)
            found = diagnostics.recv(_RESPONSE.size)
    except OSError:  # a sandbox without netlink, or a kernel without unix_diag
        return None
    if len(found) < _RESPONSE.size:
        return None  # an error
    kind, attribute, length = _RESPONSE.unpack(found)
    return length if (kind, attribute) == (_BY_FAMILY, _QUEUE) else None


def identify(path: str) -> Identity:
    """Which file is at this path. Raises OSError."""
    return _identity(os.lstat(path))


def check_length(name: str, place: object) -> None:
    """Raises BindError for a path or an abstract name that does not fit into an address."""
    length = len(os.fsencode(name))
    if length > LONGEST:
        raise BindError(
            f"cannot listen on {place}: it has {length} bytes, and the system takes {LONGEST};"
            " choose a shorter one"
        )


def remove(path: str, identity: Identity) -> None:
    """Removes the file, if it is that one and this process may."""
    with contextlib.suppress(OSError):
        if _identity(os.lstat(path)) == identity:
            os.unlink(path)


@contextlib.contextmanager
def _locked_directory(path: str) -> Iterator[None]:
    """Two servers that start at once must not take each other's new socket for a stale one."""
    try:
        directory = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        if error.errno == errno.EACCES:  # one may make a file in a directory that one cannot read
            yield
            return
        raise BindError.from_refusal(path, error, ADVICE) from None
    try:
        until = time.monotonic() + LOCK_S
        while time.monotonic() < until:
            try:
                fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.01)
                continue
            except OSError:
                pass  # a file system without locks
            break
        yield
    finally:
        os.close(directory)


def remove_stale(path: str) -> None:
    """Removes the file of a socket without a listener. Any other stays, and what cannot be removed."""
    with contextlib.suppress(BindError), _locked_directory(path):
        _remove_stale(path)


def _remove_stale(path: str) -> None:
    """Removes the file of a socket without a listener, which a crash leaves behind."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return  # there is none, or binding fails with the reason
    if stat.S_ISLNK(mode):
        raise BindError(
            f"cannot listen on {path}: a symbolic link is there, and links are not followed; name the path it"
            " leads to, or remove it"
        )
    if not stat.S_ISSOCK(mode):
        raise BindError(
            f"cannot listen on {path}: a file that is no socket is there; move it or choose another"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # its queue may be full: then it has a listener
        if probe.connect_ex(path) == errno.ECONNREFUSED:
            try:
                os.unlink(path)
            except OSError as error:
                raise BindError(
                    f"cannot listen on {path}: a stale socket is there and cannot be removed: "
                    f"{error.strerror}"
                ) from None


def _own(path: str, identity: Identity, ownership: Ownership) -> None:
    """Sets permissions and owner of the socket that was just bound. Raises OSError."""
    # Through a descriptor: the path could lead elsewhere by now.
    file = os.open(path, os.O_PATH | os.O_NOFOLLOW)
    try:
        if _identity(os.fstat(file)) != identity:
            raise OSError(errno.EEXIST, "another program has replaced the socket")
        inode = f"/proc/self/fd/{file}"
        if not os.path.exists(inode):  # a root directory of --chroot has no /proc
            inode = path
        if (ownership.uid, ownership.gid) != (-1, -1):
            try:
                os.chown(inode, ownership.uid, ownership.gid)
            except PermissionError as error:
                raise OSError(error.errno, "only root may give a socket to that user or group") from None
        os.chmod(inode, ownership.mode)
    finally:
        os.close(file)


def _identity(found: os.stat_result) -> Identity:
    return Identity(found.st_dev, found.st_ino)
