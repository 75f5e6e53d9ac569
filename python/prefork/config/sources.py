"""Where values are given: TOML files, the environment and the command line, each overriding the one before.

Always: every value here has been read. An invalid one is refused by the name that its source has for the
option ("prefork.toml:3: bind", "PREFORK_BIND", "--bind").

This file must not know servers or click.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, cast

from prefork.config.checked import EXTERNAL, did_you_mean, options_of
from prefork.config.option import Option
from prefork.config.options import PreForkOptions
from prefork.config.source_options import SOURCE_OPTIONS
from prefork.errors import OptionError

if TYPE_CHECKING:
    from prefork.config.files import Entry, File

logger = logging.getLogger("prefork")

PREFIX = "PREFORK_"

FOUND = ("prefork.toml", "pyproject.toml")
"""Files that are read without being named. What the second one says is stronger."""

NO_FILE = "none"
"""Instead of the name of a file: no file is read."""

OF_SOURCES = tuple(option.name for option in SOURCE_OPTIONS)

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


class Sources:
    """What `prefork serve` reads its options from, at its start and again for a reload.

    `flags` are those of the command line by key; None or () is one that is unset. `environment` is that of
    this process: the variables of `--env-file` are set there, so that the application has them as well.
    """

    def __init__(self, flags: Mapping[str, object], environment: MutableMapping[str, str]) -> None:
        self._flags = {key: value for key, value in flags.items() if key not in OF_SOURCES}
        self._config, self._profile, self._env_files = (flags.get(name) for name in OF_SOURCES)
        self._environment = environment
        self._directory = "."  # of a process whose directory is gone
        with contextlib.suppress(OSError):
            self._directory = os.getcwd()
        self.files: tuple[str, ...] = ()
        """The files that were read last, as absolute paths."""

    def gather(self) -> Given:
        """The values of all sources. Raises OptionError."""
        with _inside(self._directory):  # --chdir must not change what a path means
            self._load_env_files()
            config, profile = self._named("config", self._config), self._named("profile", self._profile)
            files = list(_read_files(config))
            self.files = tuple(os.path.abspath(file.path) for file in files)
            given: Given = {}
            for file in files:
                given |= _from_file(file, profile, self._environment)
            if profile and not any(profile in file.profiles for file in files):
                from prefork.config.files import refuse_profile

                raise refuse_profile(profile, "--profile" if self._profile else "PREFORK_PROFILE", files)
            return given | _from_environment(self._environment) | _from_flags(self._flags)

    def _load_env_files(self) -> None:
        variable = self._environment.get(f"{PREFIX}ENV_FILE")
        paths = cast("Iterable[str]", self._env_files) or ([variable] if variable else [])
        if paths:
            from prefork.config import env_file  # here: few programs have one

            env_file.load(paths, self._environment)

    def _named(self, name: str, flag: object) -> str:
        """What the command line says, or else the environment, which may have it from a file."""
        return str(flag or self._environment.get(PREFIX + name.upper()) or "")


def gather(config: str | None, environment: MutableMapping[str, str], flags: Mapping[str, object]) -> Given:
    """The values of the TOML file `config`, the environment and the flags. No file is looked for.

    Raises OptionError.
    """
    return Sources({**flags, "config": config or NO_FILE}, environment).gather()


def from_keywords(options: Mapping[str, object], function: str = "run()") -> Given:
    """The values of `prefork.run(**options)`, or of another function, by key. Raises OptionError."""
    return _expanded(
        _read(_option(name, function), value, f"option {name}") for name, value in options.items()
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


@contextlib.contextmanager
def _inside(directory: str) -> Iterator[None]:
    """In the directory where the process was started, if that is still there."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            stack.enter_context(contextlib.chdir(directory))
        yield


def _read_files(config: str) -> Iterator[File]:
    """The file that is named, or else those that are found. Raises OptionError."""
    names = [config] if config else [name for name in FOUND if os.path.exists(name)]
    if config == NO_FILE or not names:
        return
    from prefork.config.files import read_file  # here: few servers have one, and it imports tomllib

    for name in names:
        file = read_file(name, must_have_table=bool(config) or name == FOUND[0])
        if file is not None:
            yield file


def _from_file(file: File, profile: str, variables: Mapping[str, str]) -> Given:
    """The values of a file, with those of the profile laid over them. Raises OptionError."""
    tables = {"": file.own, **file.profiles}
    for entries in tables.values():
        for entry in entries:
            _option(entry.key, entry.where)  # also in a profile that is not used now
    given: Given = {}
    for entries in (file.own, file.profiles.get(profile, [])):
        given |= _expanded(_read_entry(entry, variables) for entry in entries)
    return given


def _read_entry(entry: Entry, variables: Mapping[str, str]) -> tuple[str, GivenValue]:
    return _read(_option(entry.key, entry.where), entry.resolved(variables), entry.source)


def _note_unknown(variable: str, value: str) -> None:
    """Logs a variable that looks like an option and is none."""
    key = variable.removeprefix(PREFIX).lower()
    if key in EXTERNAL or key in OF_SOURCES or OF_KUBERNETES.fullmatch(f"{key}={value}"):
        return
    if hint := _hint(key) or did_you_mean(key, OF_SOURCES):
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
    if key in OF_SOURCES:
        return "; only the command line and the environment can set it"
    if key in BIND_SETS:
        return "; use 'bind'"
    if in_code is not None:
        return f"; use {in_code.key!r}" if in_code.key else "; only PreForkServer(...) takes it"
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
