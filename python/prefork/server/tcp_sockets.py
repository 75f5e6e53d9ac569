"""TCP sockets to listen on: one for each address of a name, a kept one (`kept_sockets.py`) if there is one.

Errors are BindErrors.
"""

from __future__ import annotations

import errno
import socket
from typing import Any

from prefork.config.endpoints import Endpoint
from prefork.errors import BindError
from prefork.server import kept_sockets

DEFER_S = 5
"""TCP_DEFER_ACCEPT: a connection wakes a worker with its first bytes, not before. A worker that wakes finds a
request, and a client that sends nothing costs no worker (as with Apache's AcceptFilter)."""

ADVICE = {
    errno.EADDRINUSE: "stop what uses it or choose another",
    errno.EACCES: "ports below 1024 need privileges (CAP_NET_BIND_SERVICE); choose another or grant them",
    errno.EADDRNOTAVAIL: "it is not an address of this machine",
}
ADVICE_TO_BIND = {
    **ADVICE,
    errno.EINVAL: "an address that begins with fe80 needs its zone, as in [fe80::1%eth0]",
}


def bind(endpoint: Endpoint, backlog: int) -> list[socket.socket]:
    """One socket for each address of the name. A port that the system chooses is the same for all."""
    address, port = endpoint.address, endpoint.port or 0
    if address is None and endpoint.domain is None and socket.has_dualstack_ipv6():
        address = "::"
    families = {"inet": socket.AF_INET, "inet6": socket.AF_INET6, None: socket.AF_UNSPEC}
    family: int = families[endpoint.domain]
    if address is None and family == socket.AF_UNSPEC:
        family = socket.AF_INET
    try:
        found = socket.getaddrinfo(address, port, family, socket.SOCK_STREAM, 0, socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no host name"
        raise BindError(f"cannot listen on {address}: {why}; expected an IP address or a host name") from None
    except OSError as error:  # of the system, as for want of a descriptor
        raise BindError(f"cannot listen on {address}: {error.strerror}") from None
    # A name with :: and 0.0.0.0 gets a socket for each: :: must not take the other.
    dual = family == socket.AF_UNSPEC and {place[0] for *_, place in found} == {"::"}
    sockets: list[socket.socket] = []
    refused: BindError | None = None
    for family, _, _, _, place in dict.fromkeys(found):
        host = f"[{address_of(place)}]" if family == socket.AF_INET6 else place[0]
        chosen = port or (sockets[0].getsockname()[1] if sockets else 0)
        try:
            sockets.append(
                _bind(family, (place[0], chosen, *place[2:]), backlog, dual=dual, shared=endpoint.reuse_port)
            )
        except OSError as error:
            refused = BindError.from_refusal(f"{host}:{chosen}", error, ADVICE_TO_BIND)
            # localhost is also ::1, which does not exist on a machine without IPv6.
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                break
    else:
        if sockets:
            return sockets
    for listener in sockets:
        listener.close()
    raise refused or BindError(f"cannot listen on {address}: the name has no address")


def address_of(name: tuple[Any, ...]) -> str:
    """The IP address of a socket's name, with its zone if it has one."""
    zone = name[3] if len(name) > 3 else 0
    return f"{name[0]}%{socket.if_indextoname(zone)}" if zone else str(name[0])


def _bind(
    family: int, place: tuple[Any, ...], backlog: int, *, dual: bool, shared: bool | None
) -> socket.socket:
    kept = kept_sockets.take_tcp(family, place, dual=dual, shared=shared)
    if kept is not None:
        tune(kept)
        kept.listen(backlog)
        return kept
    try:
        return _bind_new(family, place, backlog, dual=dual, shared=shared)
    except OSError as error:
        # One that is kept may be in the way: that of an address with this port which is not served any more.
        if error.errno != errno.EADDRINUSE or not kept_sockets.clear(place[1]):
            raise
        return _bind_new(family, place, backlog, dual=dual, shared=shared)


def _bind_new(
    family: int, place: tuple[Any, ...], backlog: int, *, dual: bool, shared: bool | None
) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual)
        tune(listener)
        listener.bind(place)
        listener.listen(backlog)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def tune(listener: socket.socket) -> None:
    """Sets what the accepted sockets of a TCP port inherit: no system call for each connection."""
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, DEFER_S)
