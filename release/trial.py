"""Installs a wheel as a user does, without a compiler, and serves the readme's first application."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from release.interpreters import Interpreter
from release.platforms import PLATFORMS
from release.tree import ROOT

PAGE = b"Hello, world!\n"
LIMIT_S = 30.0
"""From an empty folder to the page. Counted as CPU time, which is all of it but the network on a machine that
does nothing else, and the same on a busy one.
"""

COMPILERS = ("cargo", "rustc", "rustup", "maturin")


class Failed(Exception):
    """A user would not have been served."""


def fits(wheel: Path, interpreter: Interpreter) -> bool:
    """Whether this interpreter of this machine can install it."""
    fitting = any(each.is_of_this_machine and each.has(wheel) for each in PLATFORMS.values())
    return fitting and f"-{interpreter.tag}-{interpreter.tag}-" in wheel.name


def serve(wheel: Path, interpreter: Interpreter) -> tuple[float, float]:
    """How many seconds it took, and how many of CPU. Raises Failed, or CalledProcessError if pip fails."""
    began_s, used_s = time.monotonic(), cpu_of_children_s()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = without_compilers()
        for command in (
            [interpreter.executable, "-m", "venv", "venv"],
            ["venv/bin/pip", "install", "--quiet", str(wheel.absolute())],
        ):
            subprocess.run(command, cwd=folder, env=environment, check=True)
        (folder / "hello.py").write_text(first_application())
        page = served_page(folder, environment)
    took_s, used_s = time.monotonic() - began_s, cpu_of_children_s() - used_s
    if page != PAGE:
        raise Failed(f"{wheel.name}: expected the page {PAGE!r}, got {page!r}")
    if used_s > LIMIT_S:
        raise Failed(
            f"{wheel.name}: expected the page within {LIMIT_S:.0f} s of CPU time, got {used_s:.0f} s"
        )
    return took_s, used_s


def cpu_of_children_s() -> float:
    """Of all that have ended, in user space and in the kernel."""
    times = os.times()
    return times.children_user + times.children_system


def served_page(folder: Path, environment: dict[str, str]) -> bytes:
    command = ["venv/bin/prefork", "serve", "hello.py", "--bind", "127.0.0.1:0"]
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            address = re.search(r"serving (\S+)", line)
            if address is None:
                raise Failed(f"expected the line of a server that serves, got {line!r}")
            curl = [
                str(shutil.which("curl")),
                "--silent",
                "--show-error",
                "--fail",
                "--max-time",
                "10",
                address[1],
            ]
            page = subprocess.run(curl, env=environment, stdout=subprocess.PIPE, check=True).stdout
        finally:
            server.send_signal(signal.SIGTERM)
    if server.returncode != 0:
        raise Failed(f"expected exit status 0 of a server that is told to stop, got {server.returncode}")
    return page


def first_application() -> str:
    """hello.py, as the readme has it."""
    readme = (ROOT / "README.md").read_text()
    found = re.search(r"```python\n(# hello\.py\n.*?)```", readme, re.DOTALL)
    if found is None:
        raise Failed("expected a program hello.py in README.md, found none")
    return found[1]


def without_compilers() -> dict[str, str]:
    """The environment of a user: no folder of PATH has Rust, and no variable is this build's."""
    folders = [
        folder
        for folder in os.environ["PATH"].split(os.pathsep)
        if not any(shutil.which(name, path=folder) for name in COMPILERS)
    ]
    others = ("PATH", "PYTHONPATH", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if name not in others}
    return {
        name: value
        for name, value in kept.items()
        if not name.startswith(("CARGO", "PREFORK", "PYO3", "RUST"))
    } | {"PATH": os.pathsep.join(folders)}
