"""Listening sockets that a service manager passes to this process (sd_listen_fds(3)).

The environment is read each time and left as it is: LISTEN_PID says that it is not meant for another process.
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


class PassedSocket(NamedTuple):
    """A socket that a service manager has passed."""

    descriptor: int
    name: str


def passed_sockets() -> list[PassedSocket]:
    """Those of this process, in their order. Raises OptionError if the environment makes no sense."""
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
