"""Sockets to listen on: from an address to descriptors that a server, or all its workers, accept from.

Always: what is returned listens, does not block, and is closed by `close()`. An address that cannot be used
raises BindError, with one line that says why and what to do.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat

from prefork.errors import BindError

DEFER_S = 5
"""TCP_DEFER_ACCEPT: a connection wakes a worker with its first bytes, not before. A worker that wakes finds a
request, and a client that sends nothing costs no worker (as with Apache's AcceptFilter)."""

ADVICE = {
    errno.EADDRINUSE: "stop what uses it or choose another",
    errno.EACCES: "ports below 1024 need privileges (CAP_NET_BIND_SERVICE); choose another or grant them",
    errno.EADDRNOTAVAIL: "it is not an address of this machine",
    errno.ENOENT: "make the directory first",
}


class ListeningSockets:
    """The sockets of one server, all of one address."""

    def __init__(self, sockets: list[socket.socket]) -> None:
        self.sockets = sockets
        self._owner = os.getpid()
        self._path = _path_of(sockets[0])
        self.is_encrypted = False

    @property
    def port(self) -> int | None:
        """The TCP port; None for a Unix socket."""
        return None if self._path else int(self.sockets[0].getsockname()[1])

    @property
    def address(self) -> str:
        """The IP address or the path of the Unix socket."""
        return self._path[0] if self._path else str(self.sockets[0].getsockname()[0])

    @property
    def url(self) -> str:
        if self._path:
            return f"unix:{self.address}"
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{'https' if self.is_encrypted else 'http'}://{host}:{self.port}"

    def close(self) -> None:
        """Closes the sockets.

        The process that made them frees the address too, because a busy worker still has them open and
        clients would queue for it. It also removes the file of a Unix socket.
        """
        ours = os.getpid() == self._owner
        for listener in self.sockets:
            if ours:
                with contextlib.suppress(OSError):  # a worker has shut it down
                    listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        if self._path and ours:
            path, identity = self._path
            with contextlib.suppress(OSError):
                if _identity(path) == identity:
                    os.unlink(path)


def listen(address: str | None, port: int | None, domain: str | None, backlog: int) -> ListeningSockets:
    """Binds and listens. Without an address: every one of the machine, IPv6 and IPv4. Raises BindError.

    `::` means the same, as in other servers; with the domain `inet6` it is IPv6 alone.
    """
    if domain == "unix" or (address is not None and "/" in address):
        if not address:
            raise BindError("a Unix socket needs a path as its address")
        return ListeningSockets([_unix(address, backlog)])
    port = port or 0
    if address is None and domain is None and socket.has_dualstack_ipv6():
        address = "::"
    families = {"inet": socket.AF_INET, "inet6": socket.AF_INET6, None: socket.AF_UNSPEC}
    family = families[domain]
    if address is None and family is socket.AF_UNSPEC:
        family = socket.AF_INET
    return ListeningSockets(_resolved(address, port, family, backlog))


def _resolved(address: str | None, port: int, family: int, backlog: int) -> list[socket.socket]:
    """One socket for each address of the name. A port that the system chooses is the same for all."""
    try:
        found = socket.getaddrinfo(address, port, family, socket.SOCK_STREAM, 0, socket.AI_PASSIVE)
    except OSError as error:
        raise BindError(
            f"cannot listen on {address}: {error.strerror}; expected an IP address or a host name"
        ) from None
    # A name with :: and 0.0.0.0 gets a socket for each: :: must not take the other.
    dual = family == socket.AF_UNSPEC and {place[0] for *_, place in found} == {"::"}
    sockets: list[socket.socket] = []
    refused: BindError | None = None
    for family, _, _, _, place in dict.fromkeys(found):
        host = f"[{place[0]}]" if family == socket.AF_INET6 else place[0]
        chosen = port or (sockets[0].getsockname()[1] if sockets else 0)
        try:
            sockets.append(_tcp(family, (place[0], chosen, *place[2:]), backlog, dual=dual))
        except OSError as error:
            refused = _refused(f"{host}:{chosen}", error)
            # localhost is also ::1, which does not exist on a machine without IPv6.
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                break
    else:
        if sockets:
            return sockets
    for listener in sockets:
        listener.close()
    raise refused or BindError(f"cannot listen on {address}: the name has no address")


def _tcp(family: int, place: tuple[object, ...], backlog: int, *, dual: bool) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual)
        # Accepted sockets inherit it: no system call for each connection.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, DEFER_S)
        listener.bind(place)
        listener.listen(backlog)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _unix(path: str, backlog: int) -> socket.socket:
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(path)
        os.chmod(path, 0o666)  # a proxy is another user; the directory's permissions restrict access
        listener.listen(backlog)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise _refused(path, error) from None
    return listener


def _remove_stale(path: str) -> None:
    """Removes the file of a Unix socket without a listener, which a crash leaves behind."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return  # there is none, or binding fails with the reason
    if not stat.S_ISSOCK(mode):
        raise BindError(
            f"cannot listen on {path}: a file that is no socket is there; move it or choose another"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # its queue may be full: then it has a listener
        if probe.connect_ex(path) == errno.ECONNREFUSED:
            with contextlib.suppress(OSError):
                os.unlink(path)


def _refused(place: str, error: OSError) -> BindError:
    advice = ADVICE.get(error.errno or 0)
    return BindError(
        f"cannot listen on {place}: {error.strerror or error}" + (f"; {advice}" if advice else "")
    )


def _path_of(listener: socket.socket) -> tuple[str, tuple[int, int]] | None:
    if listener.family != socket.AF_UNIX:
        return None
    path = os.path.abspath(listener.getsockname())
    return path, _identity(path)


def _identity(path: str) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino
