"""What becomes of the settings that another server was given.

Always: an option of an outcome has been read as `prefork serve` would, but for what depends on the machine,
such as a directory that has to exist.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from prefork.config.checked import EXTERNAL
from prefork.config.peers.setting import (
    Fate,
    Given,
    Implied,
    Impossible,
    Needless,
    Noted,
    Options,
    Peer,
    Setting,
    as_keys,
)
from prefork.errors import OptionError

OF_MACHINE = re.compile(r"FILE|FILES|DIRECTORY|PREFIX=\w+|USER|GROUP|MODULE:FUNCTION|CONFIG_FILE")
"""Types whose values may be right on the machine that will serve, and wrong on this one."""

OF_FILES = re.compile(r"FILE|FILES|DIRECTORY|CONFIG_FILE")
"""Types of paths, which do not depend on `chdir` here."""

NUMBERS = ("INTEGER", "INTEGER|auto", "SECONDS", "BYTES")


@dataclass(frozen=True, slots=True)
class Found:
    """What a server was given, by a file or a command line."""

    peer: Peer
    origin: str
    """The file or the command line, as a user calls it."""
    target: str | None = None
    """What `prefork serve` is to serve."""
    given: Mapping[str, Any] = field(default_factory=dict)
    """The settings by name."""
    unknown: tuple[str, ...] = ()
    """Names that the server does not have, or that are newer than the table."""
    notes: tuple[str, ...] = ()
    """What else has to be said, such as of a target."""
    options: Options = field(default_factory=dict)
    """What the target itself asks for."""
    flags: tuple[str, ...] = ()
    """What `prefork serve` takes on its command line only."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What has become of one setting."""

    name: str
    value: object
    fate: Fate
    options: Options
    note: str


Check = Callable[[str, object], None]
"""Looks at the value of an option more closely than its type does. Raises OptionError."""


def outcomes(found: Found, find: Callable[[str], Setting | None], check: Check) -> list[Outcome]:
    """One for each setting, in the order in which they were given."""
    return [
        _outcome(setting, value, found.given, check)
        for name, value in found.given.items()
        if (setting := find(name)) is not None
    ]


def implied(found: Found) -> list[Implied]:
    """What defaults of the server ask for that was not given."""
    return [
        one
        for one in found.peer.implied
        if not {one.setting, *one.unless} & found.given.keys() and one.key not in found.options
    ]


def _outcome(setting: Setting, value: Any, given: Given, check: Check) -> Outcome:
    try:
        converted = setting.convert(value, given)
        options = {key: _placed(key, _tidy(key, found), given) for key, found in converted.items()}
        for key, found in options.items():
            _read(key, found, check)
    except Needless as why:
        return Outcome(setting.name, value, Fate.NEEDLESS, {}, as_keys(str(why)))
    except (Impossible, OptionError) as why:
        return Outcome(setting.name, value, Fate.IMPOSSIBLE, {}, as_keys(str(why)))
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        return Outcome(setting.name, value, Fate.IMPOSSIBLE, {}, f"its value is not understood: {error}")
    if not options:
        return Outcome(setting.name, value, Fate.NEEDLESS, {}, as_keys(setting.note))
    if isinstance(converted, Noted):
        return Outcome(setting.name, value, setting.fate, options, as_keys(converted.note))
    same_name = options == {setting.name.replace("-", "_"): value}
    note = "" if same_name else as_keys(setting.note)
    renamed = not note and [*options.values()] == [_tidy(next(iter(options)), value)]
    return Outcome(setting.name, value, Fate.TAKEN if renamed else setting.fate, options, note)


def _tidy(key: str, value: object) -> object:
    """Numbers that were given as texts, and paths, as TOML should have them."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, str) and EXTERNAL[key].reader.metavar in NUMBERS:
        if re.fullmatch(r"\d{1,18}", value):
            return int(value)
        if re.fullmatch(r"\d+\.\d+", value):
            return float(value)
    return list(value) if isinstance(value, tuple) else value


def _placed(key: str, value: object, given: Given) -> object:
    """A relative path as it is meant there: below `chdir`."""
    there = given.get("chdir")
    base = str(there[-1] if isinstance(there, list) else there or "")
    if key == "chdir" or not base or not OF_FILES.fullmatch(EXTERNAL[key].reader.metavar):
        return value
    if not isinstance(value, str) or value == "-" or os.path.isabs(value):
        return value
    return os.path.join(base, value)


def _read(key: str, value: object, check: Check) -> None:
    """Raises OptionError for a value that `prefork serve` would refuse wherever it runs."""
    if not OF_MACHINE.fullmatch(EXTERNAL[key].reader.metavar) and not _has_owner(value):
        EXTERNAL[key].read(value, key)
    check(key, value)


def _has_owner(value: object) -> bool:
    """Whether an address names a user or a group, whom this machine may not have."""
    entries: Iterable[object] = value if isinstance(value, list) else ()
    return any(re.search(r",(user|group)=", str(entry)) for entry in entries)
