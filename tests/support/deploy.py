"""The files of deploy/ as the tests run them: with the addresses and paths of this machine."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
SOCKET = "/run/shop/web.sock"
"""The address of the server in these files."""


def needs(program: str) -> pytest.MarkDecorator:
    """Skips a test where this program is not installed."""
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"needs {program}")


def edited(name: str, changes: dict[str, str]) -> str:
    """The text of a file, with other texts for these. Each has to be in it."""
    text = (DEPLOY / name).read_text()
    for former, other in changes.items():
        assert former in text, f"{name} has no {former!r}"
        text = text.replace(former, other)
    return text


# --- units of systemd --------------------------------------------------------------------------------------


def unit(name: str) -> dict[str, list[str]]:
    """The settings of a unit with their values, in their order (systemd.syntax(7))."""
    text = re.sub(r"\\\n\s*", "", (DEPLOY / name).read_text())
    settings: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line and line[0] not in "#;[":
            setting, _, value = line.partition("=")
            settings.setdefault(setting, []).append(value)
    return settings


def command() -> list[str]:
    """The command of prefork.service."""
    (line,) = unit("prefork.service")["ExecStart"]
    return shlex.split(line)


# --- the image ---------------------------------------------------------------------------------------------


class Instruction(NamedTuple):
    name: str
    words: list[str]


class Stage(NamedTuple):
    """A stage of the Dockerfile: what it is made from, and its instructions."""

    name: str
    base: str
    instructions: list[Instruction]

    def last(self, name: str) -> list[str]:
        """The words of the last instruction of this name; none if there is none."""
        found = [one.words for one in self.instructions if one.name == name]
        return found[-1] if found else []


def stages() -> dict[str, Stage]:
    """Those of deploy/Dockerfile, by their names."""
    lines = [line for line in (DEPLOY / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    found: dict[str, Stage] = {}
    current: list[Instruction] = []
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        if not line.strip():
            continue
        name, _, rest = line.partition(" ")
        if name == "FROM":
            base, word, stage = rest.split()
            assert word == "AS"
            current = []
            found[stage] = Stage(stage, base, current)
        else:
            # What is in the form of JSON is taken as it is.
            words = json.loads(rest) if rest.startswith("[") else shlex.split(rest)
            current.append(Instruction(name, words))
    return found


def image() -> Stage:
    """The last stage, with the instructions of those of deploy/Dockerfile that it is made from."""
    all_of_them = stages()
    *_, stage = all_of_them.values()
    instructions = stage.instructions
    base = stage.base
    while base in all_of_them:
        instructions = all_of_them[base].instructions + instructions
        base = all_of_them[base].base
    return Stage(stage.name, base, instructions)


def variables() -> dict[str, str]:
    """The environment of the image."""
    words = [word for one in image().instructions if one.name == "ENV" for word in one.words]
    return dict(word.split("=", 1) for word in words)


def health_command() -> list[str]:
    """What HEALTHCHECK runs."""
    text = (DEPLOY / "Dockerfile").read_text()
    (found,) = re.findall(r"^HEALTHCHECK (?:.*\\\n)?.*CMD (\[.*\])$", text, re.MULTILINE)
    words: list[str] = json.loads(found)
    return words
