"""A process that keeps root's rights, and opens the files of TLS for a server that has given them up.

Always: it opens those files and no others, to be read; it takes a number and no name, so that the server
cannot ask for another file; it knows no request and no client, and has no descriptor of the server but its
end of one socket pair; it ends when the server's manager does. Only the manager has the other end.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
import struct
from collections.abc import Sequence
from typing import NoReturn

from prefork._engine import die_with_parent

TIMEOUT_S = 5.0
"""How long the manager waits for a descriptor: it does nothing else meanwhile."""

_NUMBER = struct.Struct("=I")
"""A request is the file's number, and a response the error of open(2), or 0 and a descriptor."""


class RootReader:
    """The manager's side. `names` are absolute paths. Raises OSError if the process cannot be made."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = list(names)
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        manager = os.getpid()
        with other:
            self._pid = os.fork()
            if self._pid == 0:
                _serve(other, self._names, manager)
        self._socket.settimeout(TIMEOUT_S)

    def open(self, name: str) -> int:
        """A descriptor of one of the files. Raises OSError."""
        try:
            self._socket.send(_NUMBER.pack(self._names.index(name)))
            response, descriptors, _, _ = socket.recv_fds(self._socket, _NUMBER.size, 1)
        except OSError:
            response, descriptors = b"", []
        if not response:
            self._socket.close()  # a response that comes too late would be taken for another one
            raise OSError(errno.EPIPE, "the process that reads it as root has ended")
        (error,) = _NUMBER.unpack(response)
        if not error and not descriptors:
            error = errno.EMFILE  # this process has no room for it
        if error:
            raise OSError(error, os.strerror(error))
        os.set_inheritable(descriptors[0], False)  # CPython's recv_fds drops the flag for that
        return descriptors[0]

    def forget(self) -> None:
        """In a child of the manager: closes its copy of the socket."""
        self._socket.close()

    def close(self) -> None:
        """Has the process end, and waits for that."""
        self._socket.close()
        with contextlib.suppress(OSError):
            pidfd = os.pidfd_open(self._pid)
            ends = select.poll()
            ends.register(pidfd, select.POLLIN)
            ends.poll(TIMEOUT_S * 1000)
            os.close(pidfd)
            os.waitpid(self._pid, os.WNOHANG)


def _serve(connection: socket.socket, names: Sequence[str], manager: int) -> NoReturn:
    """The process: opens files until the manager has closed its end."""
    try:
        if die_with_parent(manager):
            for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
                signal.signal(signum, signal.SIG_IGN)  # they may come to the whole group, or service
            _keep_only(connection.fileno())
            os.chdir("/")
            while request := connection.recv(_NUMBER.size):
                _respond(connection, names[_NUMBER.unpack(request)[0]])
    finally:
        os._exit(0)


def _respond(connection: socket.socket, name: str) -> None:
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        connection.send(_NUMBER.pack(error.errno or errno.EIO))
    else:
        socket.send_fds(connection, [_NUMBER.pack(0)], [descriptor])
        os.close(descriptor)


def _keep_only(fileno: int) -> None:
    """Closes every other descriptor. The standard streams lead nowhere from now on."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        if stream != fileno:
            os.dup2(nowhere, stream)
    os.closerange(3, fileno)
    os.closerange(max(fileno + 1, 3), os.sysconf("SC_OPEN_MAX"))
