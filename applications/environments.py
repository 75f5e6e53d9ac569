"""The virtual environments of the applications, under target/applications.

Each has the packages of an application in the versions of its file in `pins/`, what prefork itself needs,
and the development build of prefork by its place in this tree. A part without such a file gets the newest
versions, and the file is written: to take newer ones, remove it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PLACE = ROOT / "target" / "applications"
HERE = Path(__file__).parent
APPS = HERE / "apps"
CLIENTS = HERE / "clients"
PINS = HERE / "pins"
OURS = ("click", "rich")
INSTALL_S = 600


class Missing(Exception):
    """The application, or a program it needs, is not on this machine. The text says how it gets there."""


class Environment:
    """The virtual environment of one part."""

    def __init__(self, name: str, packages: tuple[str, ...]) -> None:
        self.name = name
        self.place = PLACE / name / "environment"
        self.pins = PINS / f"{name}.txt"
        self._packages = packages

    @property
    def python(self) -> str:
        return str(self.place / "bin" / "python")

    def prepare(self) -> None:
        """Make it, unless it is there with these pins. Raise Missing if a package is not to be had."""
        stamp = self.place / "pins"
        if stamp.exists() and self.pins.exists() and stamp.read_text() == self._digest():
            return
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.parent.mkdir(parents=True, exist_ok=True)
        self._run(sys.executable, "-m", "venv", str(self.place))
        if self.pins.exists():
            self._run(self.python, "-m", "pip", "install", "--quiet", "-r", str(self.pins))
        else:
            self._run(self.python, "-m", "pip", "install", "--quiet", *OURS, *self._packages)
            frozen = self._run(self.python, "-m", "pip", "freeze", "--exclude", "setuptools")
            self.pins.write_text(frozen)
        (site,) = (self.place / "lib").glob("python*/site-packages")
        (site / "prefork.pth").write_text(f"{ROOT / 'python'}\n")
        stamp.write_text(self._digest())

    def version(self, package: str) -> str:
        """The version of a package that is pinned here."""
        wanted = package.partition("[")[0].lower().replace("_", "-")
        for line in self.pins.read_text().splitlines():
            name, _, version = line.partition("==")
            if name.lower().replace("_", "-") == wanted:
                return version
        raise LookupError(f"expected a pin of {package} in {self.pins}")

    def _digest(self) -> str:
        return hashlib.sha256(self.pins.read_bytes()).hexdigest()

    @staticmethod
    def _run(*command: str) -> str:
        """Run a command that must succeed. The constraints of the project do not hold here."""
        env = {name: value for name, value in os.environ.items() if name != "PIP_CONSTRAINT"}
        done = subprocess.run(
            command, env=env, text=True, capture_output=True, timeout=INSTALL_S, check=False
        )
        if done.returncode:
            raise Missing(f"{' '.join(command[-3:])} failed: {done.stderr.strip()[-500:]}")
        return done.stdout


def program(name: str) -> str:
    """The path of a program of the system. Raise Missing if it is not there."""
    found = found_program(name)
    if found is None:
        raise Missing(f"it needs the command {name}: `make programs` installs it")
    return found


def found_program(name: str) -> str | None:
    """The path of a program of the system, which some systems call `name-browser` if it is one."""
    return shutil.which(name) or shutil.which(f"{name}-browser")
