"""What the operator said: a TOML file, then the environment, then the command line, each over the one before.

Always: every value here has been read, so a wrong one was refused under the
name its speaker knows ("--bind", "PREFORK_BIND", "prefork.toml: bind"),
and goes by its name in code afterwards.

This file knows neither servers nor click.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeAlias

from prefork.config.options import OUTSIDE, Option, PreForkOptions, near, options_of
from prefork.config.values import Endpoint
from prefork.errors import OptionError

POOL = ("start_servers", "min_spare_servers", "max_spare_servers", "max_clients")

WHERE = ("host", "address", "port", "domain")
"""What code says one by one, or another server has options for, and an operator says as `bind`."""


class Said(NamedTuple):
    """A value, and how the one who said it knows the option."""

    value: object
    said_as: str


Settings: TypeAlias = dict[str, Said]
"""What was said, by the option's name in code."""


def gather(config: str | None, environment: Mapping[str, str], flags: Mapping[str, object]) -> Settings:
    """Everything that was said from outside; the command line wins. Raises OptionError.

    `flags` has the options by their outside name, None for those that were not given.
    """
    said = _file(config) if config else {}
    return said | _environment(environment) | _command_line(flags)


def in_words(options: Mapping[str, object]) -> Settings:
    """What a program says, by the names of the command line. Raises OptionError."""
    return _together(
        _read(_by_outside_name(name, "run()"), value, f"option {name}") for name, value in options.items()
    )


def _command_line(flags: Mapping[str, object]) -> Settings:
    given = ((OUTSIDE[name], value) for name, value in flags.items() if value not in (None, ()))
    return _together(_read(option, value, option.flag) for option, value in given)


def _environment(environment: Mapping[str, str]) -> Settings:
    """Empty variables say nothing; unknown ones are let be: Kubernetes sets some for a service so named."""
    given = ((option, environment.get(option.variable)) for option in OUTSIDE.values())
    return _together(_read(option, value, option.variable) for option, value in given if value)


def _file(path: str) -> Settings:
    """A TOML file: its table [prefork] if it has one, or else its top level."""
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
    return _together(
        _read(_by_outside_name(name.replace("-", "_"), path), value, f"{path}: {name}")
        for name, value in table.items()
    )


def _by_outside_name(name: str, path: str) -> Option:
    if name in OUTSIDE:
        return OUTSIDE[name]
    in_code = options_of(PreForkOptions).get(name)
    if name in WHERE:
        hint = "; here it is 'bind'"
    elif in_code is None:
        hint = near(name, OUTSIDE)
    elif in_code.outside is None:
        hint = "; it can be said in code only"
    else:
        hint = f"; here it is {in_code.outside!r}"
    raise OptionError(f"{path}: unknown option {name!r}{hint}")


def _read(option: Option, value: object, said_as: str) -> tuple[str, Said]:
    return option.name, Said(option.read(value, said_as), said_as)


def _together(pairs: Iterable[tuple[str, Said]]) -> Settings:
    """What one speaker said, the short forms `bind` and `workers` spelled out."""
    said = dict(pairs)
    if workers := said.pop("workers", None):
        for name in POOL:
            if name in said:
                raise OptionError(f"{workers.said_as} sets {said[name].said_as} as well: say one of them")
            said[name] = workers
    if bind := said.pop("bind", None):
        assert isinstance(bind.value, Endpoint)
        said |= {name: Said(value, bind.said_as) for name, value in bind.value._asdict().items()}
        said["domain"] = Said(None, bind.said_as)  # whatever the code said, the new address decides
    return said
