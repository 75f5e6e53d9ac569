"""The types of options, and how each is read.

A reader returns the value, or raises ValueError whose text says what was expected. Every reader accepts text
("10m", "on", "0.5"), so one reader serves code, command line, environment and TOML. It also accepts its own
results, so that options can be checked again when some of them change.
"""

from __future__ import annotations

import contextlib
import grp
import math
import os
import pwd
import re
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar, cast

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Reader(Generic[T_co]):
    """Reads the values of one type. Raises ValueError with what was expected."""

    read: Callable[[object], T_co]
    metavar: str
    """What the help shows for the value."""
    choices: tuple[str, ...] = ()
    """All values, if there are only a few."""
    low: float | None = None
    """The least number, where it reads one."""
    high: float | None = None
    """The greatest."""

    def __call__(self, value: object) -> T_co:
        return self.read(value)


def reader(
    metavar: str, low: float | None = None, high: float | None = None
) -> Callable[[Callable[[object], T]], Reader[T]]:
    """Makes a function the reader of a type."""
    return lambda read: Reader(read, metavar, low=low, high=high)


WorkerHook: TypeAlias = Callable[..., object] | str | None
"""A function, or its place as `module:function`."""

Hook: TypeAlias = Callable[..., object] | tuple[Any, str] | None
"""A function or an (alias, event) pair that the server calls; None is no hook."""

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
YEAR_S = 365 * 86400.0
BOOLEANS = {
    "1": True,
    "true": True,
    "yes": True,
    "on": True,
    "0": False,
    "false": False,
    "no": False,
    "off": False,
}


class Rejected(ValueError):
    """The ValueError of a reader that shows only the invalid part of the value."""

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(expected)
        self.got = got


@reader("MODULE:FUNCTION")
def function(value: object) -> Callable[..., object] | str:
    """It is looked up when the server begins."""
    if callable(value):
        return value
    if isinstance(value, str):
        module, _, name = value.partition(":")
        if all(part.isidentifier() for part in (*module.split("."), *name.split("."))):
            return value
    raise ValueError("module:function or a function")


@reader("TEXT")
def text(value: object) -> str:
    if isinstance(value, str) and value and "\0" not in value:
        return value
    raise ValueError("a non-empty text")


@reader("TEXT")
def host(value: object) -> str:
    """A name, an address or a path."""
    given = text(value)
    if given.startswith("fd:"):
        raise Rejected("a host name, an IP address or a path; a passed socket is one of `listeners`", given)
    return given


@reader("BOOLEAN")
def boolean(value: object) -> bool:
    found = value if isinstance(value, bool) else BOOLEANS.get(str(value).lower())
    if found is None:
        raise ValueError("true or false")
    return found


def integer(low: int, high: int) -> Reader[int]:
    @reader("INTEGER", low, high)
    def read(value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value):
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        raise ValueError(f"a whole number from {low} to {high}")

    return read


class Auto(int):
    """A number that is to be computed."""


AUTO = Auto(0)


def integer_or_auto(low: int, high: int) -> Reader[int]:
    """A number, or AUTO for one that is to be computed."""
    number = integer(low, high)

    @reader("INTEGER|auto", low, high)
    def read(value: object) -> int:
        if value is AUTO or (isinstance(value, str) and value.lower() == "auto"):
            return AUTO
        try:
            return number(value)
        except ValueError as error:
            raise ValueError(f"{error}, or auto") from None

    return read


def seconds(low: float) -> Reader[float]:
    @reader("SECONDS", low, YEAR_S)
    def read(value: object) -> float:
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            try:
                number = float(value)
            except (ValueError, OverflowError):
                number = math.nan
            if low <= number <= YEAR_S:
                return number
        raise ValueError(f"seconds, {low:g} or more")

    return read


def share(high: float = 1.0) -> Reader[float]:
    """A part of something, as a percentage or a number: 10% is 0.1."""

    @reader("PERCENT", 0, high)
    def read(value: object) -> float:
        if isinstance(value, str) and (found := re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(%?)", value)):
            value = float(found[1]) / (100 if found[2] else 1)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= high:
            return float(value)
        raise ValueError(f"a percentage such as 10%, or 0.1, up to {high * 100:g}%")

    return read


def byte_size(low: int, high: int = 1 << 60) -> Reader[int]:
    @reader("BYTES", low, high)
    def read(value: object) -> int:
        if isinstance(value, str) and (found := re.fullmatch(r"([0-9]{1,18})([kmg]?)", value.lower())):
            value = int(found[1]) * {"": 1, "k": KIB, "m": MIB, "g": GIB}[found[2]]
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        raise ValueError(f"bytes from {low} to {high}, as a number or like 64k, 10m, 1g")

    return read


def choice(*names: str) -> Reader[str]:
    def read(value: object) -> str:
        if isinstance(value, str) and value.lower() in names:
            return value.lower()
        raise ValueError(" or ".join(map(repr, names)))

    return Reader(read, "|".join(names), names)


def optional(inner: Reader[T]) -> Reader[T | None]:
    """A reader that also accepts None, for an option that is unset."""

    def read(value: object) -> T | None:
        return None if value is None else inner(value)

    return Reader(read, inner.metavar, inner.choices, inner.low, inner.high)


@reader("FAMILY")
def address_family(value: object) -> str:
    families = {socket.AF_INET: "inet", socket.AF_INET6: "inet6", socket.AF_UNIX: "unix"}
    if isinstance(value, int) and value in families:
        return families[socket.AddressFamily(value)]
    return choice("inet", "inet6", "unix")(value)


@reader("NAME")
def pool_name(value: object) -> str:
    """The name of a pool. POE's IPC_GLUE is an integer or four characters, so integers are accepted."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9._-]{1,64}", value):
        return value
    raise ValueError("1 to 64 letters, digits, dots, dashes or underscores")


@reader("PATH")
def control_socket(value: object) -> str:
    """An absolute path; "off" for none."""
    if value is False:
        return "off"
    path = text(value)
    return path if path == "off" else os.path.abspath(path)


@reader("DIRECTORY")
def directory(value: object) -> str:
    """An absolute path: --chdir must not change what it means."""
    if isinstance(value, str | os.PathLike) and os.path.isdir(value):
        return os.path.abspath(cast("str | os.PathLike[str]", value))
    raise ValueError("an existing directory")


@reader("FILE")
def output_file(value: object) -> str:
    """A file to write, as an absolute path; `-` for standard output."""
    path = text(value)
    return path if path == "-" else os.path.abspath(path)


@reader("PATH")
def path_prefix(value: object) -> str:
    """The beginning of URL paths: starts with a slash and does not end with one."""
    if isinstance(value, str) and (not value.strip("/") or value.startswith("/")):
        # Python has each byte of an argument or a variable that is not UTF-8 as a surrogate.
        with contextlib.suppress(UnicodeEncodeError):
            return value.rstrip("/").encode().decode()
    raise ValueError("a path in UTF-8 that begins with a slash, such as /shop")


PAGE = re.compile(r"/[!-\"$-~]*|https?://[\w.:\[\]-]+(?:/[!-\"$-~]*)?", re.ASCII)


@reader("PAGE")
def page(value: object) -> str:
    """The path of a page, with a query or without; or a URL, whose host and scheme a request to it names."""
    if isinstance(value, str) and PAGE.fullmatch(value):
        return value
    raise ValueError("a path such as /health, or a URL such as https://example.com/health, in ASCII")


@reader("PAGES")
def pages(value: object) -> tuple[str, ...]:
    """Pages. A text has them with commas between them; a comma before anything else belongs to a path."""
    if isinstance(value, str):
        value = re.split(r",(?=/|https?://)", value)
    if not isinstance(value, list | tuple):
        raise ValueError("the path of a page, or several")
    return tuple(map(page, value))


@dataclass(frozen=True, slots=True)
class TrustedProxies:
    """Peers whose `X-Forwarded-For` and the like are heeded."""

    networks: tuple[str, ...]
    with_all: bool
    """They write or remove all of the fields. Otherwise the client's address and scheme are heeded only."""

    def __str__(self) -> str:
        return ",".join(self.networks)


LOCAL_PROXIES = TrustedProxies(("127.0.0.0/8", "::1", "unix"), with_all=False)
"""Those on this machine, as gunicorn and uvicorn trust them."""


@reader("NETWORKS")
def trusted_proxies(value: object) -> TrustedProxies:
    """Networks, addresses, `unix` and `*`, in a text with commas or a list. An empty list trusts no peer."""
    if isinstance(value, TrustedProxies):
        return value
    entries = value.split(",") if isinstance(value, str) else value
    if isinstance(entries, list | tuple) and all(isinstance(entry, str) for entry in entries):
        stripped = (part.strip() for entry in entries for part in entry.split(","))
        return TrustedProxies(tuple(_network(entry) for entry in stripped if entry), with_all=True)
    raise ValueError(NETWORKS)


NETWORKS = "networks such as 10.0.0.0/8, addresses, 'unix' or '*'"


def _network(text: str) -> str:
    import ipaddress  # here, not in the memory of every worker

    if text in ("unix", "*"):
        return text
    try:
        if "%" not in text:
            return str(ipaddress.ip_network(text))
    except ValueError:
        pass
    raise Rejected(NETWORKS, repr(text))


@reader("FIELDS")
def header_fields(value: object) -> tuple[tuple[str, str], ...]:
    """Names are tokens (RFC 9110, 5.6.2), values one line of Latin-1 (5.5)."""
    pairs = value.items() if isinstance(value, Mapping) else value
    try:
        fields = tuple((name, content) for name, content in cast("Iterable[tuple[str, str]]", pairs))
        valid = all(
            re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) and re.fullmatch(r"[\t -~\x80-\xff]*", content)
            for name, content in fields
        )
    except (TypeError, ValueError):
        valid = False
    if not valid:
        raise ValueError("header names (tokens) with texts of one line, as a dict or a list of pairs")
    return fields


@reader("HANDLERS")
def handlers(value: object) -> tuple[Mapping[str, object], ...]:
    """Checks the shape only. The server checks the entries, so that its errors have their numbers."""
    if isinstance(value, list | tuple):
        return tuple(value)
    raise ValueError('a list of dicts like {"dir": r"^/", "session": "PAGES", "event": "got_page"}')


@reader("EVENTS")
def fork_handlers(value: object) -> dict[Any, str]:
    """The server checks that there are such sessions: each is an alias, a session or its id."""
    if isinstance(value, Mapping) and all(isinstance(event, str) for event in value.values()):
        return dict(value)
    raise ValueError('a dict of session alias to event, like {"PAGES": "forked"}')


@reader("HOOK")
def hook(value: object) -> Hook:
    if value is None or callable(value):
        return value
    if isinstance(value, Mapping) and value.keys() == {"session", "event"}:
        value = (value["session"], value["event"])
    if isinstance(value, list | tuple) and len(value) == 2:
        session, event = value
        if isinstance(event, str):  # the server checks that there is such a session
            return session, event
    raise ValueError("a function, a (session, event) pair or None")


@reader("MODE")
def permissions(value: object) -> int:
    """Permissions as chmod(1) has them: a text is octal, a number is taken as it is."""
    if isinstance(value, str) and re.fullmatch(r"(?:0o)?[0-7]{1,4}", value):
        value = int(value.removeprefix("0o"), 8)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 0o777:
        return value
    raise ValueError("octal permissions from 000 to 777")


def _is_known(look_up: Callable[[Any], object], value: object) -> bool:
    with contextlib.suppress(KeyError, ValueError, OverflowError):
        return look_up(value) is not None
    return False


@reader("USER")
def user_name(value: object) -> str:
    """The name of a user, or an id, which need not have a name."""
    given = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if isinstance(given, str) and (_is_id(given) or _is_known(pwd.getpwnam, given)):
        return given
    raise ValueError("the name or the id of a user of this machine")


@reader("GROUP")
def group_name(value: object) -> str:
    """The name of a group, or an id, which need not have a name."""
    given = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if isinstance(given, str) and (_is_id(given) or _is_known(grp.getgrnam, given)):
        return given
    raise ValueError("the name or the id of a group of this machine")


def _is_id(given: str) -> bool:
    return re.fullmatch(r"[0-9]{1,10}", given) is not None and int(given) < (1 << 32) - 1
