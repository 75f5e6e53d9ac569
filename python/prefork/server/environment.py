"""Listening sockets that a service manager passes to this process (sd_listen_fds(3)).

Those with a name that begins with KEPT are this server's own, which the service manager has kept while it
restarted (`kept_sockets.py`).

LISTEN_FDS is read each time and left as it is: LISTEN_PID says that it is not meant for another process. What
says how to talk to the service manager is taken out of the environment, because only this process may do that
(`NotifyAccess=main`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple

from prefork.config.endpoints import Endpoint, Kind
from prefork.errors import OptionError

FIRST = 3
"""The number of the first one (SD_LISTEN_FDS_START)."""
MOST = 1 << 16
NAMELESS = "unknown"
KEPT = "prefork-kept-"
SUCCEEDS = "_PREFORK_SUCCEEDS"
"""The variable with the descriptor of a socket to the manager whose place this process takes."""


class PassedSocket(NamedTuple):
    """A socket that a service manager has passed."""

    descriptor: int
    name: str


def passed_sockets() -> list[PassedSocket]:
    """Those of this process, in their order. Raises OptionError if the environment makes no sense."""
    return [one for one in _passed() if not one.name.startswith(KEPT)]


def stored_sockets() -> list[PassedSocket]:
    """Those that were kept for this process. Raises OptionError as `passed_sockets`."""
    return [one for one in _passed() if one.name.startswith(KEPT)]


class Notified(NamedTuple):
    """How the service manager is told of this process (sd_notify(3)). Nothing, without one."""

    address: str = ""
    """A path, or `@name` of an abstract socket."""
    watchdog_s: float | None = None
    """How often it wants to hear of this process; None: it does not."""
    keeps: bool = False
    """Whether it keeps descriptors for the next process of the service: FileDescriptorStoreMax=."""


_taken: list[Notified] = []


def notified() -> Notified:
    """The first call takes the variables out of the environment."""
    if not _taken:
        address, watchdog, watched, store = (
            os.environ.pop(name, "") for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "FDSTORE")
        )
        is_watched = _positive(watchdog) and watched in ("", str(os.getpid()))
        watchdog_s = int(watchdog) / 1e6 if address and is_watched else None
        _taken.append(Notified(address, watchdog_s, keeps=bool(address) and _positive(store)))
    return _taken[0]


def of_successor() -> dict[str, str]:
    """The environment of a process that takes the place of this one, with the variables that were taken out.

    Sockets that were passed to this process are passed to it under the same numbers.
    """
    from prefork.config.env_file import without_files  # here: only an upgrade needs it

    environment = without_files(os.environ)  # it reads them itself: they may have changed
    environment.pop("LISTEN_PID", None)
    address, watchdog_s, keeps = notified()
    if address:
        environment["NOTIFY_SOCKET"] = address
    if watchdog_s is not None:
        environment["WATCHDOG_USEC"] = str(round(watchdog_s * 1e6))
    if keeps:
        environment["FDSTORE"] = "1"
    return environment


def _positive(number: str) -> bool:
    return number.isdecimal() and number.isascii() and int(number) > 0


def _passed() -> list[PassedSocket]:
    number = os.environ.get("LISTEN_FDS") or "0"
    if os.environ.get("LISTEN_PID", "") not in ("", str(os.getpid())):
        return []
    if not number.isdecimal() or int(number) > MOST:
        raise OptionError(f"LISTEN_FDS={number}: expected the number of the sockets that are passed")
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    names += [""] * int(number)
    return [PassedSocket(FIRST + index, names[index] or NAMELESS) for index in range(int(number))]


def passed_as(name: str | None) -> list[int]:
    """The descriptors with that name, or all of them. Raises OptionError if there is none."""
    passed = passed_sockets()
    if not passed:
        raise OptionError(
            f"cannot listen on systemd:{name or ''}: no sockets were passed (LISTEN_FDS); start the .socket "
            "unit"
        )
    found = [one.descriptor for one in passed if name in (None, one.name)]
    if not found:
        names = ", ".join(dict.fromkeys(one.name for one in passed))
        raise OptionError(
            f"cannot listen on systemd:{name}: the sockets that were passed have other names ({names}); see "
            "FileDescriptorName= in systemd.socket(5)"
        )
    return found


def refuse_unserved(endpoints: Iterable[Endpoint]) -> None:
    """Raises OptionError if sockets were passed and no address is one of them: clients would wait there."""
    passed = passed_sockets()
    numbers = {one.descriptor for one in passed}
    kinds = {one.kind if one.descriptor in (None, *numbers) else None for one in endpoints}
    if passed and not kinds & {Kind.SYSTEMD, Kind.DESCRIPTOR}:
        raise OptionError(
            f"LISTEN_FDS={len(passed)}: sockets were passed, and the server listens on others; use --bind "
            "systemd: or disable the .socket unit"
        )
