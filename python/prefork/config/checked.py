"""Options of `options/` from values that a user gives.

A constructor reads its options with `check(ServerOptions, values)`. The command line, the environment and
TOML files read theirs through `EXTERNAL`, where an option may have another name (`min_spare` for
`min_spare_servers`).

This file must not know servers, processes or where a value was given.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from prefork.config.option import Option, Options
from prefork.config.options import (
    AppOptions,
    PreForkOptions,
    ServeOptions,
    ServerOptions,
    ShortForms,
)
from prefork.errors import OptionError

Kind = TypeVar("Kind", bound=Options)


def options_of(kind: type[Options]) -> dict[str, Option]:
    """The options of a class by name, in the order of its fields."""
    found = {}
    for field in dataclasses.fields(kind):
        option: Option = field.metadata["option"]
        key = field.name if option.key == "" else option.key
        found[field.name] = dataclasses.replace(option, name=field.name, key=key)
    return found


EXTERNAL: dict[str, Option] = {
    option.key: option
    for kind in (ShortForms, AppOptions, ServeOptions, PreForkOptions)
    for option in options_of(kind).values()
    if option.key is not None
}
"""The options of the command line, the environment and TOML files, by key."""


def check(kind: type[Kind], values: Mapping[str, object]) -> Kind:
    """The options with these values, and with defaults for the others.

    Raises OptionError for an unknown name or an invalid value.
    """
    known = options_of(kind)
    read: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            raise OptionError(_unknown(name, known, kind))
        read[name] = known[name].read(value, f"option {name}")
    return kind(**read).normalized()


def changed(options: Kind, values: Mapping[str, object]) -> Kind:
    """A copy of the options with these values. Raises OptionError as `check` does."""
    current = {name: getattr(options, name) for name in options_of(type(options))}
    return check(type(options), current | dict(values))


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """A hint at the name that is most like a misspelled one; empty if none is."""
    import difflib  # here, not in the memory of every worker

    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


SEED = {
    "SSLKEYCERT": "ssl_key_cert",
    "SSLINTERMEDIATECACERT": "ssl_intermediate_ca_cert",
    "KEEPALIVE": "keep_alive",
    "PROXYMODE": "proxy_mode",
    "LOGHANDLER": "log_handler",
    "LOG2HANDLER": "log2_handler",
    "SETUPHANDLER": "setup_handler",
    "ERRORHANDLER": "error_handler",
    "FORKHANDLERS": "fork_handlers",
    "MINSPARESERVERS": "min_spare_servers",
    "MAXSPARESERVERS": "max_spare_servers",
    "MAXCLIENTS": "max_clients",
    "STARTSERVERS": "start_servers",
    "MAXREQUESTPERCHILD": "max_requests_per_child",
    "DEBUGSB": "debug_scoreboard",
}
"""Options of SimpleHTTP and PreFork whose names are spelled otherwise here; all others are in lower case."""


def _unknown(name: str, known: Mapping[str, Option], kind: type) -> str:
    if kind is ServerOptions and name in options_of(PreForkOptions):
        return f"option {name} needs a PreForkServer, this is an HTTPServer: it has no pool"
    if name in EXTERNAL and EXTERNAL[name].name in known:
        return f"unknown option {name!r}; in code it is {EXTERNAL[name].name!r}"
    if name in SEED and (SEED[name] in known or kind is ServerOptions):
        return f"unknown option {name!r}; here it is {SEED[name]!r}"
    return f"unknown option {name!r}{did_you_mean(name.lower(), known)}"
