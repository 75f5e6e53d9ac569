"""Files of variables (`--env-file`), as `.env` files are written.

A line is `NAME=value`, perhaps behind `export`. A value in single quotes is taken as it is; in double
quotes, `\\n`, `\\t`, `\\r`, `\\"`, `\\$` and `\\\\` mean what they do in C. A quoted value may have several
lines. Others end at ` #`. `${NAME}` is replaced, but in single quotes.

Always: a variable that is set outside keeps its value. What a file has set, it may change and unset when it
is read again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, MutableMapping

from prefork.config.variables import NAME, expanded
from prefork.errors import OptionError

_LINE = re.compile(
    rf"""
    [ \t]* (?: export [ \t]+ )?
    (?P<name> {NAME} ) [ \t]* = [ \t]*
    (?: ' (?P<single> [^']* ) ' | " (?P<double> (?:\\.|[^"\\])* ) " | (?P<plain> (?!['"]) [^\n]*? ) )
    [ \t]* (?: (?: (?<=\s) | (?<=['"]) ) \#[^\n]* )? (?: \n | \Z )
    """,
    re.VERBOSE | re.DOTALL,
)
_NOTHING = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "$": "$", "\\": "\\"}

_set: dict[str, str] = {}
"""What the environment of this process has from files."""


def load(paths: Iterable[str], environment: MutableMapping[str, str]) -> None:
    """Sets the variables of the files. A later file overrides an earlier one. Raises OptionError."""
    outside = without_files(environment)
    found: dict[str, str] = {}
    for path in paths:
        found |= read(path, {**found, **outside})
    for name in [*_set]:
        if name not in outside:
            environment.pop(name, None)
    _set.clear()
    _set.update({name: value for name, value in found.items() if name not in outside})
    environment.update(_set)


def without_files(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without what files have set, for a process that reads them itself."""
    return {name: value for name, value in environment.items() if _set.get(name) != value}


def read(path: str, variables: Mapping[str, str]) -> dict[str, str]:
    """The variables of one file; `variables` are those that its values may refer to. Raises OptionError."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read()
    except OSError as error:
        raise OptionError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise OptionError(f"{path}: expected text in UTF-8") from None
    found: dict[str, str] = {}
    position = 0
    while position < len(text):
        line = 1 + text.count("\n", 0, position)
        if nothing := _NOTHING.match(text, position):
            position = nothing.end()
            continue
        entry = _LINE.match(text, position)
        if entry is None or "\0" in entry[0]:
            raise OptionError(f"{path}:{line}: expected NAME=value, got {_beginning(text[position:])}")
        try:
            found[entry["name"]] = _value(entry, {**found, **variables})
        except ValueError as error:
            raise OptionError(f"{path}:{line}: {entry['name']}: {error}") from None
        position = entry.end()
    return found


def _beginning(text: str) -> str:
    """What can be shown of a line: its value may be a secret."""
    name, equals, _ = text.splitlines()[0].partition("=")
    return repr(f"{name}=...") if equals else "a line without ="


def _value(entry: re.Match[str], variables: Mapping[str, str]) -> str:
    if entry["single"] is not None:
        return entry["single"]
    if entry["double"] is None:
        return str(expanded(entry["plain"], variables))
    plain = re.sub(r"\\\$(?=\{)|\\(.)", _unescaped, entry["double"], flags=re.DOTALL)
    return str(expanded(plain, variables))


def _unescaped(found: re.Match[str]) -> str:
    if found[1] is None:
        return "$$"  # it begins no reference
    return _ESCAPES.get(found[1], found[0])
