"""What an option is, and how a class declares one.

It must not know any particular option: the classes of `options/` list them.
"""

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass
from typing import Self, TypeVar

from prefork.config.values import Reader, Rejected
from prefork.errors import OptionError

T = TypeVar("T")


class Group(enum.Enum):
    """Sections of `prefork serve --help` and of `docs/options.md`, in this order."""

    LISTENING = "Listening"
    POOL = "Pool"
    TLS = "TLS"
    PROXIES = "Proxies in front"
    REQUESTS = "Requests and limits"
    TIMEOUTS = "Timeouts"
    APPLICATION = "Application"
    WEBSOCKET = "WebSocket"
    LOGGING = "Logging"
    PROCESS = "Process"
    DEVELOPMENT = "Development"
    CODE = "Handlers and hooks"


@dataclass(frozen=True, slots=True)
class Option:
    """One option."""

    group: Group
    default: object
    reader: Reader[object]
    meaning: str
    unset: str
    """What holds without a value, if the default is none."""
    rust: str | None
    """The field of the native module's settings that takes the value, as `generate/rust.py` reads it."""
    key: str | None
    """Its name in TOML, from which flag and variable follow. None: only code can set it."""
    name: str = ""
    """Its name in code."""

    @property
    def flag(self) -> str:
        return "--" + (self.key or self.name).replace("_", "-")

    @property
    def variable(self) -> str:
        return "PREFORK_" + (self.key or self.name).upper()

    @property
    def default_text(self) -> str:
        """The default as a user would write it, or what holds without one."""
        match self.default:
            case empty if empty in (None, (), {}, ""):
                return self.unset
            case bool(on):
                return "on" if on else "off"
            case int(size) if self.reader.metavar == "BYTES" and size:
                power = next(power for power in (30, 20, 10, 0) if size % (1 << power) == 0)
                return f"{size >> power}{ {30: 'g', 20: 'm', 10: 'k', 0: ''}[power] }"
            case float(number) if self.reader.metavar == "PERCENT":
                return f"{number * 100:g}%"
            case float(number):
                return f"{number:g}"
        return str(self.default)

    def read(self, value: object, source: str) -> object:
        """The value that was given. `source` is what the user calls the option there. Raises OptionError."""
        try:
            return self.reader(value)
        except ValueError as expected:
            given = value[0] if isinstance(value, list | tuple) and len(value) == 1 else value
            got = expected.got if isinstance(expected, Rejected) else repr(given)
            raise OptionError(f"{source}: expected {expected}, got {got}") from None


def code_option(
    group: Group,
    default: T,
    reader: Reader[T],
    meaning: str,
    *,
    unset: str = "",
    rust: str | None = None,
    key: str | None = None,
) -> T:
    """A field that is an option of the constructors only."""
    option = Option(group, default, reader, meaning, unset, rust, key)
    # In truth a dataclass field. Typed as its value, so that mypy holds default and reader to the annotation.
    return dataclasses.field(default_factory=lambda: default, metadata={"option": option})


def option(
    group: Group,
    default: T,
    reader: Reader[T],
    meaning: str,
    *,
    unset: str = "",
    rust: str | None = None,
    key: str = "",
) -> T:
    """A field that is also an option of the command line, the environment and TOML files.

    `key` is its name there, if that differs from the name in code.
    """
    return code_option(group, default, reader, meaning, unset=unset, rust=rust, key=key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Base of the classes that list options."""

    def normalized(self) -> Self:
        """These options, with those adjusted that depend on others."""
        return self
