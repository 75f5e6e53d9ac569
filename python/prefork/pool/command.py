"""How this process was started, so that an upgrade can start it again.

Always: the command is the one that was called. A link in its path is followed when it is run again, so it may
lead to another virtual environment then.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NamedTuple


class Command(NamedTuple):
    """The command line, and the directory in which it was called."""

    arguments: Sequence[str]
    directory: str


def this_command() -> Command:
    """The command line of this process, and its directory by the name under which it was entered."""
    return Command(_arguments(sys.orig_argv, sys.argv), _directory())


def _arguments(original: list[str], seen: list[str]) -> list[str]:
    """A script is run itself, so that its first line names the interpreter, if that has started this one."""
    script = seen[0]
    if len(original) == len(seen) + 1 and original[1] == script and _interpreter(script) == original[0]:
        return [script, *seen[1:]]
    return list(original)


def _interpreter(script: str) -> str:
    """What the first line of a script names, without options; empty if it has none."""
    try:
        with open(script, "rb") as file:
            line = file.readline(256)
    except OSError:
        return ""
    if not line.startswith(b"#!") or not os.access(script, os.X_OK):
        return ""
    words = os.fsdecode(line[2:]).split()
    if words and os.path.basename(words[0]) == "env":
        return words[-1]
    return words[0] if len(words) == 1 else ""


def _directory() -> str:
    named = os.environ.get("PWD", "")
    try:
        return named if os.path.isabs(named) and os.path.samefile(named, ".") else os.getcwd()
    except OSError:  # it is gone
        return "/"
