"""Where a server listens: the addresses of `--bind`, and the settings of each.

An address is `host:port`, `unix:/path`, `unix:@name`, `fd://3` or `systemd:name`; settings follow it after
commas, as in `0.0.0.0:443,tls`. In code and in TOML it may also be a table:
`{address = "unix:/a,b", mode = "660"}`. A new setting is a field of `Endpoint` and a row of `SETTINGS`.

It must not know sockets.
"""

from __future__ import annotations

import enum
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from prefork.config.values import (
    Reader,
    Rejected,
    boolean,
    group_name,
    integer,
    permissions,
    reader,
    user_name,
)


class Kind(enum.Enum):
    """What is listened on."""

    TCP = "a TCP port"
    UNIX = "a Unix socket with a path"
    ABSTRACT = "an abstract Unix socket"
    DESCRIPTOR = "a socket that was passed by its number"
    SYSTEMD = "sockets that were passed by their name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One address to listen on."""

    kind: Kind
    address: str | None = None
    """Host or IP address (None: every one of the machine), path, abstract name or name of passed sockets."""
    port: int | None = None
    domain: str | None = None
    """The address family, where code has said it."""
    descriptor: int | None = None
    tls: bool = False
    proxy: bool | None = None
    """Connections begin with a header of the PROXY protocol."""
    backlog: int | None = None
    reuse_port: bool | None = None
    mode: int | None = None
    umask: int | None = None
    user: str | None = None
    group: str | None = None

    def __str__(self) -> str:
        """The address, as `--bind` takes it."""
        match self.kind:
            case Kind.TCP:
                host = self.address or ""
                return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
            case Kind.UNIX:
                return f"unix:{self.address}"
            case Kind.ABSTRACT:
                return f"unix:@{self.address}"
            case Kind.DESCRIPTOR:
                return f"fd://{self.descriptor}"
            case Kind.SYSTEMD:
                return f"systemd:{self.address or ''}"


class Setting(NamedTuple):
    """One setting of an address."""

    field: str
    read: Reader[Any]
    kinds: frozenset[Kind]
    """What it applies to."""


EVERY = frozenset(Kind)
PATH = frozenset({Kind.UNIX})
OPENED = frozenset({Kind.TCP, Kind.UNIX, Kind.ABSTRACT})

SETTINGS: Mapping[str, Setting] = {
    "tls": Setting("tls", boolean, EVERY),
    "proxy": Setting("proxy", boolean, EVERY),
    "backlog": Setting("backlog", integer(1, 65535), OPENED),
    "reuse_port": Setting("reuse_port", boolean, frozenset({Kind.TCP})),
    "mode": Setting("mode", permissions, PATH),
    "umask": Setting("umask", permissions, PATH),
    "user": Setting("user", user_name, PATH),
    "owner": Setting("user", user_name, PATH),
    "group": Setting("group", group_name, PATH),
}
"""The settings by name. A text may have a switch without a value: `tls` is `tls=on`."""

FORMS = "host:port, [IPv6]:port, a port, unix:/path, unix:@name, fd://number or systemd:name"

_TCP = re.compile(r"(?:(?:\[([0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|([^\s:/\[\]]+))?:)?([0-9]{1,5})")


def tcp_or_unix(address: str | None, port: int | None, domain: str | None) -> Endpoint:
    """What the options `address`, `port` and `domain` mean together."""
    if domain == "unix" or (address is not None and "/" in address):
        return Endpoint(kind=Kind.UNIX, address=address)
    return Endpoint(kind=Kind.TCP, address=address, port=port or 0, domain=domain)


def _address(given: str) -> Endpoint:
    """Reads an address without settings. Raises ValueError."""
    scheme, _, rest = given.partition(":")
    if "\0" in given or (scheme in ("unix", "systemd") and given != given.strip()):
        raise ValueError(FORMS)
    if scheme == "unix" and rest.startswith("@"):
        if len(rest) == 1:
            raise ValueError("a name after unix:@")
        return Endpoint(kind=Kind.ABSTRACT, address=rest[1:])
    if scheme == "unix" and rest:
        return Endpoint(kind=Kind.UNIX, address=os.path.abspath(rest))
    if scheme == "systemd":
        return Endpoint(kind=Kind.SYSTEMD, address=rest or None)
    if found := re.fullmatch(r"fd:(?://)?([0-9]{1,6})", given):
        return Endpoint(kind=Kind.DESCRIPTOR, descriptor=int(found[1]))
    if found := _TCP.fullmatch(given):
        v6, host, port = found.groups()
        if int(port) > 65535:
            raise ValueError("a port from 0 to 65535")
        return Endpoint(kind=Kind.TCP, address=v6 or host, port=int(port))
    raise ValueError(FORMS)


def _with_settings(bare: Endpoint, settings: Iterable[tuple[str, object]]) -> Endpoint:
    values: dict[str, Any] = {}
    for name, value in settings:
        setting = SETTINGS.get(name.replace("-", "_"))
        if setting is None:
            names = ", ".join(SETTINGS)
            raise Rejected(f"a setting of {bare} ({names})", repr(name))
        if bare.kind not in setting.kinds:
            kinds = " or ".join(kind.value for kind in Kind if kind in setting.kinds)
            raise Rejected(f"{name} with {kinds}", f"{name} with {bare}")
        if setting.field in values:
            raise Rejected(f"{name} once for {bare}", "two values")
        try:
            values[setting.field] = setting.read(value)
        except ValueError as expected:
            raise Rejected(f"{expected} as {name} of {bare}", repr(value)) from None
    if "mode" in values and "umask" in values:
        raise Rejected(f"mode or umask for {bare}", "both")
    fields = {name: getattr(bare, name) for name in ("kind", "address", "port", "descriptor")}
    return Endpoint(**fields, **values)


def _one(value: object) -> Endpoint:
    """Reads one address with its settings. Raises ValueError."""
    if isinstance(value, Endpoint):
        return value
    if isinstance(value, Mapping):
        given = {str(name): content for name, content in value.items()}
        address = given.pop("address", None)
        if not isinstance(address, str | int) or isinstance(address, bool):
            raise Rejected(f'a table with address = "..." ({FORMS})', repr(value))
        settings: Iterable[tuple[str, object]] = given.items()
    elif isinstance(value, str | int) and not isinstance(value, bool):
        address, *texts = str(value).split(",")
        pairs = (text.partition("=") for text in texts)
        settings = [
            (name, setting if equals or not _is_switch(name) else True) for name, equals, setting in pairs
        ]
    else:
        raise Rejected(FORMS, repr(value))
    try:
        bare = _address(str(address))
    except ValueError as expected:
        raise Rejected(str(expected), repr(address)) from None
    return _with_settings(bare, settings)


def _is_switch(name: str) -> bool:
    setting = SETTINGS.get(name.replace("-", "_"))
    return setting is not None and setting.read is boolean


def _unique(found: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
    """The addresses, of which none may be there twice: SO_REUSEPORT would let that pass."""
    seen: set[str] = set()
    for one in found:
        text = str(one)
        if text in seen and not (one.kind is Kind.TCP and not one.port):
            raise Rejected("each address once", f"{text} twice")
        seen.add(text)
    return found


@reader("ADDRESS")
def endpoints(value: object) -> tuple[Endpoint, ...]:
    """One address or several. A text has spaces between them, as a variable of the environment needs it."""
    if value is None:
        return ()
    if isinstance(value, str):
        value = value.split() or [value]
    elif isinstance(value, Endpoint | Mapping | int) or not isinstance(value, Iterable):
        value = [value]
    return _unique(tuple(map(_one, value)))


ADMIN_FORMS = "host:port, [IPv6]:port or unix:/path"


@reader("HOST:PORT")
def datagram_endpoint(value: object) -> Endpoint:
    """Where datagrams are sent: a host and a port, or a Unix socket."""
    form = "host:port, [IPv6]:port or unix:/path"
    try:
        (one,) = endpoints(value)
    except ValueError:
        raise ValueError(form) from None
    plain = Endpoint(kind=one.kind, address=one.address, port=one.port)
    is_whole = one.address is not None and (one.kind is Kind.UNIX or bool(one.port))
    if one != plain or one.kind not in (Kind.TCP, Kind.UNIX) or not is_whole:
        raise ValueError(form)
    return one


@reader("ADDRESS")
def admin_endpoints(value: object) -> tuple[Endpoint, ...]:
    """As `endpoints`, but only what access can be restricted to, and without what is of use to clients."""
    try:
        found = endpoints(value)
    except Rejected as expected:
        raise Rejected(ADMIN_FORMS if str(expected) == FORMS else str(expected), expected.got) from None
    for one in found:
        if one.kind not in (Kind.TCP, Kind.UNIX):
            raise Rejected(ADMIN_FORMS, repr(str(one)))
        if one.tls or one.proxy or one.reuse_port:
            raise Rejected(f"{one} without tls, proxy and reuse_port", "one of them")
    return found
