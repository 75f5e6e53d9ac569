"""Who may see the pages of the admin listener.

Always: over TCP a client is on this machine, or has the token, but for the two pages that say whether the
server serves. A page of another site that a browser on this machine shows has neither: its requests name the
other site as their host, also if its name leads here (DNS rebinding). Over a Unix socket the permissions of
the file decide. Nothing is changed by a request.

It must not know sockets or pages.
"""

from __future__ import annotations

import functools
import ipaddress
import logging
import os
import re
import stat
from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from prefork.config.endpoints import Endpoint, Kind
from prefork.errors import OptionError

if TYPE_CHECKING:
    from prefork._engine import Request
    from prefork.config.options import PreForkOptions
    from prefork.server.sockets import ListeningSockets

logger = logging.getLogger("prefork.admin")

METHODS = ("GET", "HEAD")
OPEN = ("/healthz", "/readyz")
"""Pages that need no token: a probe of Kubernetes cannot read one from a Secret."""
OWNERS_ONLY = 0o600
"""The permissions of a Unix socket."""
LONGEST_TOKEN = 4096
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]]+))(?::[0-9]+)?", re.ASCII)
_TOKEN = re.compile(rb"[!-~]+")


class Refusal(NamedTuple):
    """The response to a client that may not see a page."""

    status: int
    text: str
    fields: tuple[tuple[str, str], ...] = ()


NO_TOKEN = Refusal(
    401,
    "401 Unauthorized: expected the token of --admin-token-file (Authorization: Bearer)\n",
    (("WWW-Authenticate", 'Bearer realm="prefork", Basic realm="prefork"'),),
)
WRONG_HOST = Refusal(403, "403 Forbidden: expected localhost or an address of this machine as the Host\n")
WRONG_METHOD = Refusal(
    405, "405 Method Not Allowed: nothing can be changed here\n", (("Allow", "GET, HEAD"),)
)


class Access:
    """`token` is what clients over TCP have to send, if anything. `names` are more names of this machine."""

    def __init__(self, token: bytes | None, names: Collection[str] = ()) -> None:
        self._token = token
        self._names = {"localhost", *(name.lower() for name in names)}

    def refuse(self, request: Request) -> Refusal | None:
        """Why a request is not served; None if it is."""
        connection = request.connection
        if connection.remote_addr is not None:  # not over a Unix socket
            host = request.header("host")
            if is_loopback(connection.local_ip) and host is not None and not self._is_local(host):
                return WRONG_HOST
            token = None if request.path in OPEN else self._token
            if token is not None and not self._has_token(request, token):
                return NO_TOKEN
        return None if request.method in METHODS else WRONG_METHOD

    def _is_local(self, host: str) -> bool:
        """Whether a Host field names this machine. A client of HTTP/1.0 may send none; browsers send one."""
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        address, name = found.groups()
        return is_loopback(address or name) or (name is not None and name.lower() in self._names)

    @staticmethod
    def _has_token(request: Request, token: bytes) -> bool:
        """As a bearer token (RFC 6750) or, for browsers, as the password of any user (RFC 7617)."""
        from hmac import compare_digest  # here: it brings the library of OpenSSL

        scheme, _, given = (request.header("authorization") or "").partition(" ")
        if scheme.lower() == "basic":
            given = (request.authorization_basic or ("", ""))[1]
        elif scheme.lower() != "bearer":
            given = ""
        return compare_digest(given.strip().encode("utf-8", "surrogateescape"), token)


def is_loopback(address: str | None) -> bool:
    """Whether only this machine reaches an IP address. One that is not known is taken for that: a Host is
    checked then.
    """
    if address is None:
        return True
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False


def owners_only(endpoint: Endpoint) -> Endpoint:
    """The address, with the permissions of a Unix socket if it does not say them itself."""
    if endpoint.kind is Kind.UNIX and endpoint.mode is None and endpoint.umask is None:
        return replace(endpoint, mode=OWNERS_ONLY)
    return endpoint


def check_reach(option: str, place: ListeningSockets, token: bytes | None) -> None:
    """Raises OptionError for what other machines may reach, and no token keeps from them."""
    if place.port is not None and token is None and not is_loopback(place.address):
        raise _needs_token(option, place.endpoint, place.port)


def _needs_token(option: str, endpoint: Endpoint, port: int | None) -> OptionError:
    return OptionError(
        f"{option}: other machines may reach {endpoint}, so it needs admin_token_file; or use "
        f"127.0.0.1:{port} or unix:/path"
    )


def check_asked(options: PreForkOptions) -> None:
    """Raises OptionError for what the listeners would refuse when they are open, but for a port in use."""
    token = server_token(options.admin_token_file)
    for name in ("admin", "agent_check"):
        for one in getattr(options, name):
            is_open = one.kind is Kind.TCP and (one.address is None or not is_loopback(one.address))
            if is_open and token is None:
                raise _needs_token(name, one, one.port)


def server_token(path: str | None) -> bytes | None:
    """The token in the file of --admin-token-file; None without one. The log is told if other users may read
    it. Raises OptionError.
    """
    if path is None:
        return None
    token, is_readable = read_token(path)
    if is_readable:
        _warn_of_readers(path)
    return token


@functools.cache
def _warn_of_readers(path: str) -> None:
    """Once: several listeners read it, and some servers are opened again when their target is loaded."""
    logger.warning("every user of this machine can read the token in %s: chmod o-r", path)


def read_token(path: str) -> tuple[bytes, bool]:
    """The token in a file, and whether other users may read it. Raises OptionError."""
    import hmac  # noqa: F401  # now: later the process may have another root directory

    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            token = file.read(LONGEST_TOKEN + 1).strip()
    except OSError as error:
        raise OptionError(f"admin_token_file: {path} cannot be read: {error.strerror}") from None
    if len(token) > LONGEST_TOKEN or not _TOKEN.fullmatch(token):
        raise OptionError(
            f"admin_token_file: expected one token of 1 to {LONGEST_TOKEN} printable ASCII characters in "
            f"{path}, as `openssl rand -hex 32` writes one"
        )
    return token, bool(mode & stat.S_IROTH)
