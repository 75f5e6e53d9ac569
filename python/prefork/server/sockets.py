"""Sockets to listen on: from an address to descriptors that a server, or all its workers, accept from.

Always: what is returned listens, does not block, and is closed by `close()`. An address that cannot be used
raises BindError, with one line that says why and what to do.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import grp
import os
import pwd
import select
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from prefork._engine import accept_queue_length
from prefork.config.endpoints import Endpoint, Kind
from prefork.config.tls import PROTOCOLS
from prefork.errors import BindError
from prefork.server import kept_sockets, tcp_sockets, unix_sockets
from prefork.server.unix_sockets import Identity, Ownership

if TYPE_CHECKING:
    from prefork.config.options import ServerOptions

BACKLOG = 2048


class Place(NamedTuple):
    """Where a server listens."""

    address: str
    """The IP address, the path of a Unix socket, or `@name` of an abstract one."""
    port: int | None
    """The TCP port; None for a Unix socket."""


class ListeningSockets:
    """The sockets of one address."""

    def __init__(
        self, endpoint: Endpoint, sockets: list[socket.socket], identity: Identity | None = None
    ) -> None:
        self.sockets = sockets
        self.is_encrypted = False
        self.is_kept = endpoint.kind is not Kind.DESCRIPTOR and kept_sockets.are_kept()
        """Whether the service manager keeps them for the next process, as it keeps those that it passed."""
        self.has_chosen_port = endpoint.kind is Kind.TCP and not endpoint.port
        """Whether the system has chosen its port."""
        self.is_lent = any(kept_sockets.is_handed_in(one) for one in sockets)
        """Whether another manager has them as well: the former one, or the next."""
        self.is_declined = False
        """Whether the next manager does not listen there: this one frees the address, as at any end."""
        self._identity = identity
        self._owner = os.getpid(), os.geteuid()
        first = sockets[0]
        self._names = {one.fileno(): one.getsockname() for one in sockets}
        self._name = self._names[first.fileno()]
        self._is_inet = first.family != socket.AF_UNIX
        self.endpoint = (
            dataclasses.replace(endpoint, port=self.port) if endpoint.kind is Kind.TCP else endpoint
        )
        """With the port that was chosen."""

    @property
    def port(self) -> int | None:
        """The TCP port; None for a Unix socket."""
        return int(self._name[1]) if self._is_inet else None

    @property
    def address(self) -> str:
        """The IP address, the path of the Unix socket, or `@name` for an abstract one."""
        if self._is_inet:
            return tcp_sockets.address_of(self._name)
        if isinstance(self._name, bytes):
            return f"@{os.fsdecode(self._name[1:])}"
        return os.path.abspath(str(self._name))

    @property
    def place(self) -> Place:
        """Address and port."""
        return Place(self.address, self.port)

    @property
    def url(self) -> str:
        if not self._is_inet:
            return f"unix:{self.address}"
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{'https' if self.is_encrypted else 'http'}://{host}:{self.port}"

    @property
    def waiting(self) -> int | None:
        """How many clients wait to be accepted; None if the system does not tell."""
        lengths = (
            accept_queue_length(one.fileno()) if self._is_inet else unix_sockets.accept_queue_length(one)
            for one in self.sockets
        )
        known = [length for length in lengths if length is not None]
        return sum(known) if known else None

    @property
    def stays(self) -> bool:
        """Whether this process could not open them again, and so keeps them while it does not listen."""
        pid, uid = self._owner
        if pid != os.getpid():
            return False
        if self._is_shared:
            return True
        changed = uid != os.geteuid()  # it has dropped its privileges since
        return changed and self.port is not None and self.port < _first_free_port()

    @property
    def _is_shared(self) -> bool:
        """Whether another process has them as well: the service manager, or another manager."""
        return self.is_kept or self.is_lent or self.endpoint.kind is Kind.DESCRIPTOR

    def lend(self, *, lent: bool) -> None:
        """Whether another manager has them as well: they are closed here then, and never shut down."""
        self.is_lent = lent and not self.is_declined

    def rest(self) -> None:
        """Instead of `close`, for those that stay: no client connects to a TCP port until `resume`.

        Clients of sockets that were passed, or are kept, wait in their queue, as they do before such a
        service starts.
        """
        if not self._is_shared:
            for listener in self.sockets:
                with contextlib.suppress(OSError):  # a worker has done that
                    listener.shutdown(socket.SHUT_RDWR)

    def resume(self) -> None:
        """Listens again after `rest`. Raises BindError."""
        for listener in self.sockets:
            try:
                _listen(listener, self.endpoint.backlog or BACKLOG)
            except OSError as error:
                raise BindError.from_refusal(self.endpoint, error, tcp_sockets.ADVICE) from None
            ended = select.poll()
            ended.register(listener, 0)
            # One whose port the system has chosen listens on another one after a shutdown.
            if ended.poll(0) or listener.getsockname()[:2] != self._names[listener.fileno()][:2]:
                raise BindError(f"cannot listen on {self.endpoint}: the socket was shut down; start it again")

    def close(self) -> None:
        """Closes the sockets.

        The process that made them frees the address too, because a busy worker still has them open and
        clients would queue for it. It also removes the file of a Unix socket. Those that were passed, or are
        kept, are only closed: another process has them as well.
        """
        ours = self._owner[0] == os.getpid() and not self._is_shared
        for listener in self.sockets:
            if ours:
                with contextlib.suppress(OSError):  # a worker has shut it down
                    listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        if ours and self._identity is not None:
            unix_sockets.remove(self.address, self._identity)


class Listening:
    """All that one server listens on, in the order of its addresses."""

    def __init__(self, places: list[ListeningSockets], redirecting: Sequence[ListeningSockets] = ()) -> None:
        self.places = places
        self.redirecting = redirecting
        """Those of clients without TLS, which are redirected."""

    @property
    def sockets(self) -> list[socket.socket]:
        """Those of every address."""
        return [one for place in (*self.places, *self.redirecting) for one in place.sockets]

    @property
    def https_port(self) -> int | None:
        """The port of the first address that speaks TLS; None for a Unix socket."""
        return next((place.port for place in self.places if place.is_encrypted), None)

    @property
    def port(self) -> int | None:
        """That of the first address; None for a Unix socket."""
        return self.places[0].port

    @property
    def address(self) -> str:
        """The first address."""
        return self.places[0].address

    @property
    def url(self) -> str:
        """Every address as a URL, with ` and ` between them."""
        return " and ".join(place.url for place in self.places)

    def describe(self, options: ServerOptions) -> list[dict[str, object]]:
        """Each address, and what is spoken there, ready for JSON."""
        plain = ["http/1.1", "h2c"] if options.h2c else ["http/1.1"]
        return [
            {
                "url": place.url,
                "tls": place.is_encrypted,
                "protocols": list(options.tls_alpn or PROTOCOLS) if place.is_encrypted else plain,
                "proxy_protocol": bool(place.endpoint.proxy),
                "redirects": place in self.redirecting,
                "waiting": place.waiting,
            }
            for place in (*self.places, *self.redirecting)
        ]


def listen(endpoint: Endpoint) -> ListeningSockets:
    """Binds and listens. Without a host: every address of the machine, IPv6 and IPv4. Raises BindError.

    `::` means the same, as in other servers; with the domain `inet6` it is IPv6 alone.
    """
    backlog = endpoint.backlog or BACKLOG
    match endpoint.kind:
        case Kind.UNIX:
            if not endpoint.address:
                raise BindError("a Unix socket needs a path as its address")
            kept = kept_sockets.take_unix(endpoint.address)
            listener, identity = unix_sockets.bind(endpoint.address, backlog, ownership(endpoint), kept)
            listener.setblocking(False)
            return ListeningSockets(endpoint, [listener], identity)
        case Kind.ABSTRACT:
            return ListeningSockets(endpoint, [_abstract(endpoint, backlog)])
        case Kind.DESCRIPTOR:
            return ListeningSockets(endpoint, [_passed(endpoint, backlog)])
    return ListeningSockets(endpoint, tcp_sockets.bind(endpoint, backlog))


def ownership(endpoint: Endpoint) -> Ownership:
    """Who may use the Unix socket. Raises BindError for a user or a group that is gone."""
    mode = endpoint.mode
    if mode is None:
        mode = unix_sockets.MODE & ~(endpoint.umask or 0)
    return Ownership(
        mode,
        _id(endpoint, endpoint.user, lambda name: pwd.getpwnam(name).pw_uid),
        _id(endpoint, endpoint.group, lambda name: grp.getgrnam(name).gr_gid),
    )


def _id(endpoint: Endpoint, name: str | None, look_up: Callable[[str], int]) -> int:
    if name is None:
        return -1
    if name.isdecimal():
        return int(name)
    try:
        return look_up(name)
    except KeyError:
        raise BindError(f"cannot listen on {endpoint}: there is no {name!r} on this machine") from None


def _first_free_port() -> int:
    """The first port that any user may bind (ip(7))."""
    with contextlib.suppress(OSError, ValueError):
        return int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    return 1024


# --- Unix sockets without a path, and sockets that were passed ----------------------------------------


def _abstract(endpoint: Endpoint, backlog: int) -> socket.socket:
    unix_sockets.check_length(endpoint.address or "", endpoint)
    name = b"\0" + os.fsencode(endpoint.address or "")
    kept = kept_sockets.take_abstract(name)
    listener = kept or socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if kept is None:
            listener.bind(name)
        listener.listen(backlog)
    except OSError as error:
        listener.close()
        raise BindError.from_refusal(endpoint, error, tcp_sockets.ADVICE) from None
    listener.setblocking(False)
    return listener


def _passed(endpoint: Endpoint, backlog: int) -> socket.socket:
    """The socket with this number, which another process has made."""
    number = endpoint.descriptor
    assert number is not None
    listener: socket.socket | None = None
    try:
        listener = socket.socket(fileno=number)
        if reason := _unfit(listener):
            raise OSError(reason)
        _listen(listener, backlog)
        if listener.family != socket.AF_UNIX:
            tcp_sockets.tune(listener)
        listener.setblocking(False)
        listener.set_inheritable(False)
    except OSError as error:
        if listener is not None:
            listener.detach()  # it stays as it was
        hints = {errno.EBADF: "the parent process has to leave it open", errno.ENOTSOCK: "it is another file"}
        raise BindError.from_refusal(endpoint, error, hints) from None
    return listener


def _unfit(listener: socket.socket) -> str:
    """Why a socket cannot listen for HTTP; empty if it can."""
    families = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)
    if listener.type != socket.SOCK_STREAM or listener.family not in families:
        return "it is no TCP and no Unix stream socket"
    if _is_connected(listener):
        return "it is a connection, and a socket that listens is needed"
    return "" if listener.getsockname() else "it is bound to no path"


def _listen(listener: socket.socket, backlog: int) -> None:
    """Makes a socket listen that does not yet. A queue keeps the length that it was given."""
    if not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        listener.listen(backlog)


def _is_connected(one: socket.socket) -> bool:
    with contextlib.suppress(OSError):
        one.getpeername()
        return True
    return False
