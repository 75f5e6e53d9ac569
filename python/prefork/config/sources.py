"""Where values are given: a TOML file, the environment and the command line, each overriding the one before.

Always: every value here has been read. An invalid one is refused by the name that its source has for the
option ("prefork.toml: bind", "PREFORK_BIND", "--bind").

This file must not know servers or click.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

from prefork.config.checked import EXTERNAL, did_you_mean, options_of
from prefork.config.option import Option
from prefork.config.options import PreForkOptions
from prefork.errors import OptionError

logger = logging.getLogger("prefork")

PREFIX = "PREFORK_"

OF_KUBERNETES = re.compile(
    r"(.+_)?(service_(host|port(_\w+)?)|port_\d+_(tcp|udp|sctp)(_\w+)?)=.*|(.+_)?port=\w+://.*"
)
"""Variables that Kubernetes sets for a service whose name begins with `prefork`."""

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
    """Empty variables are unset. Unknown ones are ignored, and named in the log."""
    for variable in sorted(environment):
        if variable.startswith(PREFIX):
            _note_unknown(variable, environment[variable])
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
        hint = (
            "; `prefork import-config` converts a configuration of gunicorn" if path.endswith(".py") else ""
        )
        raise OptionError(f"{path} is not TOML: {error}{hint}") from None
    return _expanded(
        _read(_option(name.replace("-", "_"), path), value, f"{path}: {name}")
        for name, value in _table(document, path).items()
    )


def _table(document: dict[str, Any], path: str) -> dict[str, Any]:
    """The part of a TOML document that has the options. Raises OptionError if that is not clear."""
    tables = {name for name, value in document.items() if isinstance(value, dict)}
    if "prefork" in document:
        if "prefork" not in tables:
            raise OptionError(f"{path}: expected a table [prefork], got {document['prefork']!r}")
        for name in document:
            if name.replace("-", "_") in EXTERNAL and name not in tables:
                raise OptionError(f"{path}: {name} stands outside of the table [prefork]; move it there")
        return document["prefork"]  # type: ignore[no-any-return]
    others = {name for name in tables if name.replace("-", "_") not in EXTERNAL}
    if others:
        found = ", ".join(f"[{name}]" for name in sorted(others))
        hint = "; rename [tool.prefork]" if "prefork" in document.get("tool", ()) else ""
        raise OptionError(f"{path}: expected a table [prefork] with the options, found {found}{hint}")
    return document


def _note_unknown(variable: str, value: str) -> None:
    """Logs a variable that looks like an option and is none."""
    key = variable.removeprefix(PREFIX).lower()
    if key in EXTERNAL or key == "config" or OF_KUBERNETES.fullmatch(f"{key}={value}"):
        return
    if hint := _hint(key):
        named = re.sub(r"--([a-z-]+)|'([a-z_]+)'", lambda found: _variable(found[1] or found[2]), hint)
        logger.warning("%s is no option and is ignored%s", variable, named)


def _variable(key: str) -> str:
    return PREFIX + key.replace("-", "_").upper()


def _option(key: str, where: str) -> Option:
    if key in EXTERNAL:
        return EXTERNAL[key]
    raise OptionError(f"{where}: unknown option {key!r}{_hint(key)}")


def _hint(key: str) -> str:
    """What to use instead of an unknown name."""
    from prefork.config.other_servers import IN_FILES, hint, named  # here, not in the memory of every worker

    in_code = options_of(PreForkOptions).get(key)
    if key in BIND_SETS:
        return "; use 'bind'"
    if in_code is not None:
        return f"; use {in_code.key!r}" if in_code.key else "; only code can set it"
    if key in IN_FILES:
        return f"; use {IN_FILES[key]!r}"
    setting = named(key)
    of_other = f"; {setting.hint}" if setting else hint(f"--{key.replace('_', '-')}")
    if of_other is None:
        return did_you_mean(key, EXTERNAL)
    return re.sub("--([a-z-]+)", lambda found: repr(found[1].replace("-", "_")), of_other)


def _read(option: Option, value: object, source: str) -> tuple[str, GivenValue]:
    return option.name, GivenValue(option.read(value, source), source)


def _expanded(pairs: Iterable[tuple[str, GivenValue]]) -> Given:
    """The values of one source, with `workers` and `bind` as the options that they set."""
    given = dict(pairs)
    if workers := given.pop("workers", None):
        for name in WORKERS_SETS:
            if name in given:
                raise OptionError(f"{workers.source} sets {given[name].source} as well: use one of them")
            given[name] = workers
    if bind := given.get("listeners"):
        # The new addresses decide, not the code.
        given |= {name: GivenValue(None, bind.source) for name in ("address", "port", "domain")}
    return given
