"""One setting of another server, and the ways in which it can end here.

It must not know any particular server: `gunicorn`, `uvicorn` and `uwsgi` list their settings.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from prefork.config.checked import EXTERNAL


class Fate(enum.Enum):
    """What becomes of a setting."""

    TAKEN = "taken over"
    """The option has the same meaning and the same values."""
    CONVERTED = "converted"
    """An option serves the same purpose. Its values, or what it does exactly, differ."""
    NEEDLESS = "not needed"
    IMPOSSIBLE = "not possible"


class Takes(enum.Enum):
    """What follows a flag on the command line."""

    VALUE = "value"
    MANY = "value, and the flag can be repeated"
    SWITCH = "nothing"
    PAIR = "nothing; a second flag is the opposite"
    MAYBE = "value or nothing"
    NOTHING = "there is no flag"


Given: TypeAlias = Mapping[str, Any]
"""The settings that were given, by name. Those that belong together are converted together."""

Options: TypeAlias = Mapping[str, object]
"""Options by key, with values as a TOML file has them."""

Converter: TypeAlias = Callable[[Any, Given], Options]
"""Raises Needless or Impossible for a value that has no counterpart."""


class Noted(dict[str, object]):
    """Options, with a note for this value alone."""

    def __init__(self, options: Options, note: str) -> None:
        super().__init__(options)
        self.note = note


class Needless(Exception):
    """This value needs no option. The text says why."""


class Impossible(Exception):
    """This value has no counterpart. The text says what to do."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting."""

    name: str
    """As their configuration file has it."""
    flags: tuple[str, ...]
    fate: Fate
    to: tuple[str, ...]
    """Keys of the options that it becomes."""
    note: str
    """What differs, why it is not needed, or what to do. Options are written as flags."""
    takes: Takes
    convert: Converter
    hint: str
    """What is said of its flag on our command line: what to use instead, or why there is none."""


@dataclass(frozen=True, slots=True)
class Implied:
    """An option that a default of the other server asks for."""

    key: str
    value: object
    setting: str
    note: str
    is_set: bool
    """Whether an imported configuration has it. Otherwise it is there as a comment."""
    unless: tuple[str, ...] = ()
    """Settings that take the place of it, besides `setting`."""
    variable: str = ""
    """The variable that overrides this default."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A server and all of its settings."""

    name: str
    version: str
    """Of which the table is complete."""
    settings: Mapping[str, Setting]
    implied: tuple[Implied, ...]
    file: str
    """What its configuration file is usually called."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Further names of settings."""

    def find(self, name: str) -> Setting | None:
        return self.settings.get(self.aliases.get(name, name))


def same(names: str, to: str, note: str = "", *, takes: Takes = Takes.VALUE, hint: str = "") -> Setting:
    """A setting whose value is that of the option `to`."""
    return _setting(names, Fate.TAKEN, to, note, takes, lambda value, _: {to: value}, hint)


def becomes(
    names: str,
    to: str,
    note: str = "",
    *,
    convert: Converter | None = None,
    takes: Takes = Takes.VALUE,
    hint: str = "",
) -> Setting:
    """A setting that becomes the options `to`, keys with blanks between them. Without `convert` the value
    stays.
    """
    return _setting(names, Fate.CONVERTED, to, note, takes, convert or (lambda value, _: {to: value}), hint)


def needless(names: str, why: str, *, takes: Takes = Takes.VALUE) -> Setting:
    """A setting without a counterpart that is not missed."""

    def convert(_value: object, _given: Given) -> Options:
        raise Needless(why)

    return _setting(names, Fate.NEEDLESS, "", why, takes, convert, "")


def impossible(
    names: str,
    instead: str,
    *,
    takes: Takes = Takes.VALUE,
    harmless: tuple[object, ...] = (),
    convert: Converter | None = None,
) -> Setting:
    """A setting without a counterpart. `harmless` are values that ask for nothing; `convert` says more."""

    def refuse(value: object, _given: Given) -> Options:
        if value in harmless:
            raise Needless("it is off")
        raise Impossible(instead)

    return _setting(names, Fate.IMPOSSIBLE, "", instead, takes, convert or refuse, "")


def in_table(settings: list[Setting]) -> dict[str, Setting]:
    """The settings by name."""
    return {setting.name: setting for setting in settings}


FLAG = re.compile(r"--(no-)?([a-z][a-z-]*[a-z])(?: (uvloop|forwarded|off|none)\b)?")
"""A flag in a text, with its value if that is one of these words."""


def as_keys(text: str) -> str:
    """A text with options as they are called in TOML, not as flags."""

    def key(found: re.Match[str]) -> str:
        name = found[2].replace("-", "_")
        if name not in EXTERNAL:
            return found[0]
        if found[1]:
            return f"{name} = false"
        return f'{name} = "{found[3]}"' if found[3] else name

    return FLAG.sub(key, text)


def _setting(
    names: str, fate: Fate, to: str, note: str, takes: Takes, convert: Converter, hint: str
) -> Setting:
    name, *flags = names.split()
    return Setting(
        name=name,
        flags=tuple(flags),
        fate=fate,
        to=tuple(to.split()),
        note=note,
        takes=takes if flags else Takes.NOTHING,
        convert=convert,
        hint=hint or _hint(fate, to, note),
    )


def _hint(fate: Fate, to: str, note: str) -> str:
    if to and fate in (Fate.TAKEN, Fate.CONVERTED):
        return f"use --{to.split()[0].replace('_', '-')}"
    return note
