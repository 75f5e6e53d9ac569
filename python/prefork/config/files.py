"""TOML files of options: which table has them, its profiles, and where each value stands.

`prefork.toml` and files that `--config` names have the options in the table `[prefork]`, or else at the top
level; `pyproject.toml` has them in `[tool.prefork]`. Its table `profile` has a table for each profile.

It must not know the type of an option: `sources.py` reads the values.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from typing import Any, NamedTuple

from prefork.config.checked import EXTERNAL, did_you_mean
from prefork.config.toml_lines import KeyPath, lines_of
from prefork.config.variables import expanded
from prefork.errors import OptionError

PROJECT = "pyproject.toml"
PROFILE = "profile"

OF_GUNICORN = ("python:", "file:")
"""How a place begins that only gunicorn's `--config` takes."""


class Entry(NamedTuple):
    """A value, as it stands in a file."""

    name: str
    value: object
    where: str
    """File and line."""

    @property
    def key(self) -> str:
        return self.name.replace("-", "_")

    @property
    def source(self) -> str:
        return f"{self.where}: {self.name}"

    def resolved(self, variables: Mapping[str, str]) -> object:
        """The value, with variables in the place of references. Raises OptionError."""
        try:
            return expanded(self.value, variables)
        except ValueError as error:
            raise OptionError(f"{self.source}: {error}") from None


class File(NamedTuple):
    """What a file has."""

    path: str
    own: list[Entry]
    profiles: dict[str, list[Entry]]
    elsewhere: tuple[str, ...]
    """Profiles that stand where they are not looked for."""


def read_file(path: str, *, must_have_table: bool = True) -> File | None:
    """Reads a file. None if it is a pyproject.toml that has no table of ours, and need not have one.

    Raises OptionError.
    """
    if path.startswith(OF_GUNICORN) or (path.endswith(".py") and os.path.exists(path)):
        # Also one that happens to be TOML, as `bind = "0.0.0.0:80"` is: its next line may not be.
        raise OptionError(
            f"{path} is Python, as gunicorn has it; `prefork import-config {path}` converts it to TOML"
        )
    try:
        with open(path, "rb") as file:
            content = file.read()
        if not must_have_table and b"prefork" not in content:
            return None  # and its other faults are no matter of ours
        text = content.decode()
        document = tomllib.loads(text)
    except OSError as error:
        raise OptionError(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionError(f"{path} is not TOML: {error}") from None
    reader = _Reader(path, lines_of(text.replace("\r\n", "\n")))
    if os.path.basename(path) != PROJECT:
        return reader.file(*reader.find(document))
    table = _tools(document).get("prefork")
    if table is None and "prefork" in document:
        where = reader.where(("prefork",))
        raise OptionError(f"{where}: in {PROJECT} the table is [tool.prefork]; rename it")
    if table is None and not must_have_table:
        return None
    if not isinstance(table, dict):
        raise OptionError(f"{path}: expected a table [tool.prefork]")
    return reader.file(("tool", "prefork"), table, ())


def _tools(document: Mapping[str, Any]) -> dict[str, Any]:
    tools = document.get("tool")
    return tools if isinstance(tools, dict) else {}


class _Reader:
    """Reads the document of one file."""

    def __init__(self, path: str, lines: Mapping[KeyPath, int]) -> None:
        self._path = path
        self._lines = lines

    def find(self, document: dict[str, Any]) -> tuple[KeyPath, dict[str, Any], tuple[str, ...]]:
        """The table that has the options, and profiles that stand outside of it. Raises OptionError if it is
        not clear which table that is.
        """
        tables = {name for name, value in document.items() if isinstance(value, dict)}
        if "prefork" in document:
            if "prefork" not in tables:
                where = self.where(("prefork",))
                raise OptionError(f"{where}: expected a table [prefork], got {document['prefork']!r}")
            for name in document:
                if name.replace("-", "_") in EXTERNAL and name not in tables:
                    where = self.where((name,))
                    raise OptionError(f"{where}: {name} stands outside of the table [prefork]; move it there")
            outside = document.get(PROFILE)
            return ("prefork",), document["prefork"], tuple(outside) if isinstance(outside, dict) else ()
        others = {name for name in tables if name.replace("-", "_") not in EXTERNAL} - {PROFILE}
        if others:
            found = ", ".join(f"[{name}]" for name in sorted(others))
            first = min(others, key=lambda name: self._lines.get((name,), 0))
            hint = did_you_mean(first, [*EXTERNAL, PROFILE, "prefork"])
            if "prefork" in _tools(document):
                hint = "; rename [tool.prefork]"
            raise OptionError(
                f"{self.where((first,))}: expected a table [prefork] with the options, found {found}{hint}"
            )
        return (), document, ()

    def file(self, place: KeyPath, table: dict[str, Any], elsewhere: tuple[str, ...]) -> File:
        """The options of a table and of its profiles. Raises OptionError."""
        profiles = table.get(PROFILE, {})
        if not isinstance(profiles, dict) or not all(isinstance(one, dict) for one in profiles.values()):
            where = self.where((*place, PROFILE))
            name = ".".join((*place, PROFILE))
            raise OptionError(f"{where}: expected a table for each profile, as [{name}.dev]")
        own = {name: value for name, value in table.items() if name != PROFILE}
        for name, value in own.items():
            if isinstance(value, dict) and (hint := did_you_mean(name, [PROFILE])):
                raise OptionError(f"{self.where((*place, name))}: unknown table {name!r}{hint}")
        return File(
            self._path,
            self._entries(place, own),
            {name: self._entries((*place, PROFILE, name), options) for name, options in profiles.items()},
            elsewhere,
        )

    def _entries(self, place: KeyPath, table: dict[str, Any]) -> list[Entry]:
        """Raises OptionError if an option is there in two spellings: TOML takes them for two keys."""
        entries = [Entry(name, value, self.where((*place, name))) for name, value in table.items()]
        known: dict[str, Entry] = {}
        for entry in entries:
            if (former := known.setdefault(entry.key, entry)) is not entry:
                raise OptionError(f"{entry.source} is set already, as {former.source}")
        return entries

    def where(self, path: KeyPath) -> str:
        """The file, and the line if it is known."""
        line = self._lines.get(path)
        return self._path if line is None else f"{self._path}:{line}"


def refuse_profile(name: str, source: str, files: list[File]) -> OptionError:
    """The error for a profile that none of the files has."""
    if not files:
        return OptionError(f"{source}: there is no file that could have the profile {name!r}")
    for file in files:
        if name in file.elsewhere:
            return OptionError(
                f"{source}: {file.path} has its options in [prefork]; rename [profile.{name}] to "
                f"[prefork.profile.{name}]"
            )
    known = sorted({known for file in files for known in file.profiles})
    paths = " and ".join(file.path for file in files)
    hint = did_you_mean(name, known) or f" ({', '.join(known) or 'it has none'})"
    return OptionError(f"{source}: {paths} has no profile {name!r}{hint}")
