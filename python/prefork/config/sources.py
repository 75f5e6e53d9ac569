"""Where values are given: a TOML file, the environment and the command line, each overriding the one before.

Always: every value here has been read. An invalid one is refused by the name that its source has for the
option ("prefork.toml: bind", "PREFORK_BIND", "--bind").

This file must not know servers or click.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeAlias

from prefork.config.option import Option
from prefork.config.options import EXTERNAL, PreForkOptions, did_you_mean, options_of
from prefork.config.values import Endpoint
from prefork.errors import OptionError

WORKERS_SETS = ("start_servers", "min_spare_servers", "max_spare_servers", "max_clients")

BIND_SETS = ("host", "address", "port", "domain")
"""Options of code or of other servers; here `bind` is used instead."""


class GivenValue(NamedTuple):
    """A value, and what its source calls the option."""

    value: object
    source: str


Given: TypeAlias = dict[str, GivenValue]
"""The values that were given, by the option's name in code."""


def gather(config: str | None, environment: Mapping[str, str], flags: Mapping[str, object]) -> Given:
    """The values of all sources. Raises OptionError.

    `config` is the path of a TOML file. `flags` has the options by key; None or () is a flag that is unset.
    """
    given = _from_file(config) if config else {}
    return given | _from_environment(environment) | _from_flags(flags)


def from_keywords(options: Mapping[str, object]) -> Given:
    """The values of `prefork.run(**options)`, by key. Raises OptionError."""
    return _expanded(
        _read(_option(name, "run()"), value, f"option {name}") for name, value in options.items()
    )


def _from_flags(flags: Mapping[str, object]) -> Given:
    given = ((EXTERNAL[key], value) for key, value in flags.items() if value not in (None, ()))
    return _expanded(_read(option, value, option.flag) for option, value in given)


def _from_environment(environment: Mapping[str, str]) -> Given:
    """Empty variables are unset. Unknown ones are ignored: Kubernetes sets some for a service `prefork`."""
    given = ((option, environment.get(option.variable)) for option in EXTERNAL.values())
    return _expanded(_read(option, value, option.variable) for option, value in given if value)


def _from_file(path: str) -> Given:
    """The table [prefork] of a TOML file, or else its top level."""
    import tomllib  # here, not in the memory of every worker

    try:
        with open(path, "rb") as file:
            document = tomllib.load(file)
    except OSError as error:
        raise OptionError(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionError(f"{path} is not TOML: {error}") from None
    table = document.get("prefork", document)
    if not isinstance(table, dict):
        raise OptionError(f"{path}: expected a table [prefork], got {table!r}")
    return _expanded(
        _read(_option(name.replace("-", "_"), path), value, f"{path}: {name}")
        for name, value in table.items()
    )


def _option(key: str, where: str) -> Option:
    if key in EXTERNAL:
        return EXTERNAL[key]
    in_code = options_of(PreForkOptions).get(key)
    if key in BIND_SETS:
        hint = "; use 'bind'"
    elif in_code is None:
        hint = did_you_mean(key, EXTERNAL)
    elif in_code.key is None:
        hint = "; only code can set it"
    else:
        hint = f"; use {in_code.key!r}"
    raise OptionError(f"{where}: unknown option {key!r}{hint}")


def _read(option: Option, value: object, source: str) -> tuple[str, GivenValue]:
    return option.name, GivenValue(option.read(value, source), source)


def _expanded(pairs: Iterable[tuple[str, GivenValue]]) -> Given:
    """The values of one source, with `workers` and `bind` replaced by the options that they set."""
    given = dict(pairs)
    if workers := given.pop("workers", None):
        for name in WORKERS_SETS:
            if name in given:
                raise OptionError(f"{workers.source} sets {given[name].source} as well: use one of them")
            given[name] = workers
    if bind := given.pop("bind", None):
        assert isinstance(bind.value, Endpoint)
        given |= {name: GivenValue(value, bind.source) for name, value in bind.value._asdict().items()}
        given["domain"] = GivenValue(None, bind.source)  # the new address decides, not the code
    return given
