"""The interpreters that wheels are built for: those that `.ci/pythons` finds on this machine."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from release.tree import ROOT

DESCRIBE = "import sys; print('%d.%d' % sys.version_info[:2], sys.executable)"


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A CPython."""

    version: str
    """Such as `3.13`."""

    executable: str

    @property
    def tag(self) -> str:
        """As in the name of a wheel, such as `cp313`."""
        return "cp" + self.version.replace(".", "")


def interpreters(executables: Sequence[str] | None) -> list[Interpreter]:
    """Those named, or each that is found. Raises CalledProcessError if one does not start."""
    if executables:
        lines = [_output(each, "-c", DESCRIBE) for each in executables]
    else:
        lines = _output(str(ROOT / ".ci" / "pythons")).splitlines()
    return [Interpreter(*line.strip().split(" ", 1)) for line in lines]


def _output(*command: str) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
