"""Environments of programs, under target/conformance."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from conformance.findings import Missing

ROOT = Path(__file__).parent.parent
PLACE = ROOT / "target" / "conformance"
APPS = Path(__file__).parent / "apps"
TLS = ROOT / "tests" / "support" / "tls"


def virtual_environment(*packages: str) -> Path:
    """The directory of a virtual environment that has these packages, which are pinned."""
    place = PLACE / packages[0]
    if not (place / "ready").exists():
        install(sys.executable, "-m", "venv", "--clear", str(place))
        install(str(place / "bin" / "pip"), "install", "--quiet", *packages)
        (place / "ready").touch()
    return place


def old_python_packages(*packages: str) -> tuple[str, Path]:
    """A Python 2.7, and a site directory of it that has these packages."""
    known = [*map(str, Path.home().glob(".pyenv/versions/2.7*/bin/python2.7")), "python2.7"]
    python = next((path for path in known if _succeeds(path, "-m", "pip", "--version")), None)
    if python is None:
        raise Missing("it needs Python 2.7 with pip: `pyenv install 2.7`")
    place = PLACE / packages[0]
    if not (place / "ready").exists():
        install(python, "-m", "pip", "install", "--quiet", "--target", str(place), *packages)
        (place / "ready").touch()
    return python, place


def command(name: str, package: str) -> str:
    """The path of a program of the system."""
    found = shutil.which(name)
    if found is None:
        raise Missing(f"it needs the command {name}: install the package {package}")
    return found


def _succeeds(*arguments: str) -> bool:
    try:
        return subprocess.run(arguments, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def install(*arguments: str) -> None:
    """Run a command that must succeed. The constraints of the project's own environment do not hold here."""
    PLACE.mkdir(parents=True, exist_ok=True)
    env = {name: value for name, value in os.environ.items() if name != "PIP_CONSTRAINT"}
    done = subprocess.run(arguments, env=env, text=True, capture_output=True, check=False)
    if done.returncode:
        raise Missing(f"{' '.join(arguments[-3:])} failed: {done.stderr.strip()[-500:]}")


def run(*arguments: str, env: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    """The output of a command, whose status does not matter: these programs fail if a case does."""
    PLACE.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        arguments, env=env, cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    return done.stdout


@contextlib.contextmanager
def serving(target: str, *flags: str, env: dict[str, str] | None = None) -> Iterator[str]:
    """`prefork serve` with this target; the address that it prints."""
    command_line = [sys.executable, "-m", "prefork", "serve", target, "--bind", "127.0.0.1:0", *flags]
    variables = os.environ | {"PYTHONUNBUFFERED": "1"} | (env or {})
    process = subprocess.Popen(command_line, text=True, stdout=subprocess.PIPE, env=variables)
    with process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            found = re.search(r"serving (\S+)", line)
            if found is None:
                raise RuntimeError(f"prefork serve did not begin: {line}")
            yield found[1]
        finally:
            process.terminate()
