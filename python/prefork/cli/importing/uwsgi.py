"""What uWSGI is given: its command line and INI files, with placeholders, variables and conditions."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prefork.config.checked import did_you_mean
from prefork.config.peers.outcome import Found
from prefork.config.peers.setting import Takes
from prefork.config.peers.uwsgi import ALIASES, TAKES, UWSGI
from prefork.config.peers.uwsgi_names import SHORT
from prefork.errors import OptionError

REPEATED = 50
"""How deep files may include each other."""

PROGRAMS = ("set", "set-placeholder", "set-ph")


class Reader:
    """Collects options in the order in which uWSGI sees them."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self.given: dict[str, list[Any]] = {}
        self.unknown: list[str] = []
        self.placeholders: dict[str, str] = {}
        self.used: set[str] = set()
        self._variables: dict[str, str] = {}
        self._path = ""
        self._depth = 0

    def variables(self) -> bool:
        """Options as variables: UWSGI_HTTP is --http. Returns whether there are any."""
        found = False
        for variable in sorted(self.environment):
            name = variable.removeprefix("UWSGI_").lower().replace("_", "-")
            if variable.startswith("UWSGI_") and name in TAKES and self.environment[variable]:
                self.option(name, self.environment[variable])
                found = True
        return found

    def command(self, arguments: Sequence[str]) -> None:
        """Options of a command line. Raises OptionError."""
        waiting = list(arguments)
        while waiting:
            argument = waiting.pop(0)
            name, equals, value = argument.partition("=")
            if not argument.startswith("-"):
                self._file_or_address(argument)
                continue
            if re.fullmatch(r"-[A-Za-z].+", argument) and not argument.startswith("--"):
                name, equals, value = argument[:2], "=", argument[2:]
            option = SHORT.get(name, name.removeprefix("--"))
            takes = TAKES.get(option)
            if takes is None:
                hint = did_you_mean(name, [f"--{known}" for known in TAKES])
                raise OptionError(f"uwsgi: no such option {name}{hint}")
            if takes is Takes.VALUE and not equals:
                if not waiting:
                    raise OptionError(f"uwsgi: {name} requires a value")
                value = waiting.pop(0)
            self.option(option, value if equals or takes is Takes.VALUE else "true")

    def _file_or_address(self, argument: str) -> None:
        if argument.endswith(".ini") or re.search(r"\.ini:\w+$", argument):
            self.ini(argument)
        elif argument.endswith((".py", ".wsgi")):
            self.option("wsgi-file", argument)
        elif argument.endswith((".xml", ".yml", ".yaml", ".json", ".js")):
            command = f"uwsgi --show-config {argument}"
            raise OptionError(f"{argument}: write it as INI first; `{command}` prints that")
        else:
            raise OptionError(f"uwsgi: expected an option or a file, got {argument!r}")

    def ini(self, place: str) -> None:
        """An INI file, or one of its sections (`file.ini:section`). Raises OptionError."""
        path, _, section = place.rpartition(":") if re.search(r":\w+$", place) else (place, "", "")
        path, section = path or self._path, section or "uwsgi"
        self._depth += 1
        if self._depth > REPEATED:
            raise OptionError(f"{path}: it includes itself")
        try:
            with open(path, encoding="utf-8") as file:
                lines = file.read().splitlines()
        except OSError as error:
            raise OptionError(f"{path} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise OptionError(f"{path} is no text in UTF-8") from None
        outer, self._variables = (self._variables, self._path), _made_from(path)
        self._path = path
        entries = list(_entries(lines, section))
        if not any(line.strip() == f"[{section}]" for line in lines):
            raise OptionError(f"{path}: it has no section [{section}]")
        holds = True
        for number, key, value in entries:
            holds = self._entry(f"{path}, line {number}", key, self._expanded(value), holds)
        self._variables, self._path = outer
        self._depth -= 1

    def _entry(self, place: str, key: str, value: str, holds: bool) -> bool:
        """Takes a line, unless it is below a condition that does not hold. Returns whether that holds."""
        if key in ("endif", "end-if"):
            return True
        if key.startswith("if"):
            return self._holds(place, key, value)
        if key == "else":
            return not holds
        if holds:
            if key.startswith(("for", "end-for", "endfor")):
                raise OptionError(f"{place}: a loop is not followed; `uwsgi --show-config` writes it out")
            self.option(key, value)
        return holds

    def _holds(self, place: str, key: str, value: str) -> bool:
        """A condition such as `if-env = NAME`."""
        wanted, kind = ("not-" not in key), key.replace("not-", "").removeprefix("if").removeprefix("-")
        name, equals, text = value.partition("=")
        match kind:
            case "env":
                found = self.environment.get(name)
                result = found == text if equals else found is not None
            case "opt":
                result = self.given.get(name, [None])[-1] == text if equals else name in self.given
            case "exists":
                result = os.path.exists(value)
            case "file":
                result = os.path.isfile(value)
            case "dir" | "directory":
                result = os.path.isdir(value)
            case "hostname":
                result = socket.gethostname() == value
            case "reload":
                result = False
            case "plugin":
                result = value in ("python", "python3", "http")
            case _:
                raise OptionError(f"{place}: {key} is not followed; `uwsgi --show-config` writes it out")
        return result is wanted

    def option(self, name: str, value: str) -> None:
        """One option, with a value that has no placeholders any more."""
        if name == "set" and (split := value.partition("="))[0] in TAKES:
            self.option(split[0], split[2])
        elif name in PROGRAMS:
            key, _, text = value.partition("=")
            self.placeholders[key] = text
        elif name in ("ini", "include", "inherit"):
            self.ini(value)
        elif name in TAKES:
            known = ALIASES.get(name, name)
            self.given.setdefault(known, []).append(value)
            self.placeholders[name] = self.placeholders[known] = value
        else:
            # As uWSGI itself does: what is no option can be used as a placeholder.
            self.placeholders[name] = value
            self.unknown.append(name)

    def _expanded(self, value: str) -> str:
        """Placeholders, variables of the environment, and what is made from the file's name."""
        value = re.sub(r"\$\((\w+)\)", lambda found: self.environment.get(found[1], found[0]), value)
        value = re.sub(r"%\(([\w.-]+)\)", self._placeholder, value)
        return re.sub(r"%[a-z%]", lambda found: self._variables.get(found[0], found[0]), value)

    def _placeholder(self, found: re.Match[str]) -> str:
        name = found[1]
        self.used.add(name)
        return self.placeholders.get(name, found[0])


def _made_from(path: str) -> dict[str, str]:
    """The variables of uWSGI that are made from the name of the file, and from the machine."""
    whole = os.path.abspath(path)
    folder, name = os.path.split(whole)
    stem, _, ending = name.rpartition(".")
    return {
        "%p": whole,
        "%s": name,
        "%d": f"{folder}/",
        "%e": ending,
        "%n": stem or name,
        "%c": os.path.basename(folder),
        "%h": socket.gethostname(),
        "%u": str(os.getuid()),
        "%g": str(os.getgid()),
        "%k": str(os.cpu_count() or 1),
        "%%": "%",
    }


def _entries(lines: Sequence[str], section: str) -> Iterator[tuple[int, str, str]]:
    """The lines of a section: their numbers, keys and values."""
    inside = False
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if text.startswith("[") and text.endswith("]"):
            inside = text == f"[{section}]"
        elif inside and text and text[0] not in ";#":
            key, equals, value = text.partition("=")
            value = re.split(r"\s;|\s#", value, maxsplit=1)[0] if equals else "true"
            yield number, key.strip(), value.strip()


def read_command(arguments: Sequence[str], environment: Mapping[str, str]) -> Found:
    """What `uwsgi ARGUMENTS` has. Raises OptionError."""
    reader = Reader(environment)
    with_variables = " with variables UWSGI_..." if reader.variables() else ""
    reader.command(arguments)
    return _found(reader, f"a command line of uWSGI{with_variables}")


def read_file(path: str, environment: Mapping[str, str]) -> Found:
    """What `uwsgi PATH` has. Raises OptionError."""
    reader = Reader(environment)
    reader.ini(path)
    return _found(reader, path)


def _found(reader: Reader, origin: str) -> Found:
    given = {name: values[0] if len(values) == 1 else values for name, values in reader.given.items()}
    target, is_factory = _target({name: values[-1] for name, values in reader.given.items()})
    return Found(
        peer=UWSGI,
        origin=origin,
        target=target,
        given=given,
        options={"factory": True} if is_factory else {},
        unknown=tuple(name for name in dict.fromkeys(reader.unknown) if name not in reader.used),
    )


def _target(given: Mapping[str, str]) -> tuple[str | None, bool]:
    """The target of `prefork serve`, and whether it is a function that returns the application.

    uWSGI calls `application` unless `callable` names another one.
    """
    place = given.get("module") or given.get("wsgi-file") or given.get("mount", "").partition("=")[2]
    if not place:
        return None, False
    module, _, name = place.partition(":")
    name = name or given.get("callable", "application")
    return f"{module}:{name.removesuffix('()')}", name.endswith("()")
