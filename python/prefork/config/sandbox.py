"""Values of `--sandbox-write` and `--sandbox-connect`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from prefork.config.values import Rejected, reader, text
from prefork.errors import OptionError

ANY = "any"
PORTS = "a port from 1 to 65535, or 'any'"


@reader("PATHS")
def writable_paths(value: object) -> tuple[str, ...]:
    """Absolute paths: --chdir must not change what they mean. A text has them with commas between them."""
    given = value.split(",") if isinstance(value, str) else value
    if not isinstance(given, list | tuple) or not all(isinstance(one, str) and one.strip() for one in given):
        raise ValueError("a file or a directory, or several")
    return tuple(os.path.abspath(text(one.strip())) for one in given)


@reader("PORTS")
def ports(value: object) -> tuple[str, ...]:
    """Ports, or `any`. A text has them with commas between them."""
    given = value if isinstance(value, list | tuple) else [value]
    return tuple(port for one in given for port in _ports_of(one))


def _ports_of(value: object) -> Iterable[str]:
    for one in value.split(",") if isinstance(value, str) else [value]:
        port = str(one).strip().lower()
        if port != ANY and not (re.fullmatch(r"[0-9]{1,5}", port) and 1 <= int(port) <= 65535):
            raise Rejected(PORTS, repr(one))
        yield port


def check_sandbox(mode: str, workers: int, *named: tuple[str, ...]) -> None:
    """Raises OptionError where no worker would be restricted although the options say so."""
    if mode == "off" and any(named):
        raise OptionError("sandbox_write and sandbox_connect need sandbox: 'on' or 'required'")
    if mode != "off" and not workers:
        raise OptionError("sandbox is for workers, and start_servers is 0: there are none")
