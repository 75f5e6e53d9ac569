"""One run of a part: its environment, its servers, its checks.

A part is a `Part` of a file in `parts/`. Its `run` gets a `Trial`, serves what it needs with `serve`, and
says in a `check` each what must hold.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from applications.environments import APPS, CLIENTS, PLACE, ROOT, Environment
from applications.report import Report
from applications.site import Site
from support.server import Server
from support.waiting import wait_until

SCRIPT_S = 240
LOADED_S = 120


class Trial:
    """What a part works with."""

    def __init__(self, environment: Environment, report: Report) -> None:
        self.environment = environment
        self.report = report
        self.place = PLACE / environment.name / "data"
        """An empty directory, for what the application writes."""
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir(parents=True)
        self._about = ""

    def check(self, text: str) -> AbstractContextManager[None]:
        """What is done inside is one check, which fails if it raises an Exception."""
        return self.report.check(f"{text} ({self._about})" if self._about else text)

    @contextlib.contextmanager
    def serve(
        self,
        target: str,
        *flags: str,
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
        about: str = "",
        harmless: tuple[str, ...] = (),
        reload: bool = True,
    ) -> Iterator[Site]:
        """`prefork serve` with a target, which is a file of `apps/` or a module, in the environment.

        In the end it is reloaded, and stopped, and its log is looked at. Lines that hold a text of `harmless`
        are meant to be there. `about` tells its checks from those of another server of the part.
        """
        file, colon, name = target.partition(":")
        place = f"{APPS / file}{colon}{name}" if file.endswith(".py") else target
        options = [place, "--bind", "127.0.0.1:0", *flags]
        process = subprocess.Popen(
            [self.environment.python, "-m", "prefork", "serve", *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd or self.place,
            env=self.variables(env),
        )
        shown = shlex.join([target, *flags])
        self.report.served.append(shown.replace(f"{self.place}/", "").replace(f"{ROOT}/", ""))
        server = Server(process)
        self._about = about
        try:
            wait_until(lambda: server.out or process.poll() is not None, "the serving line", LOADED_S)
            with Site(server.wait_serving(), harmless) as site:
                yield site
                if reload:
                    with self.check("a reload while a client sends requests"):
                        site.reload()
                with self.check("it stops with status 0, and its log has no error"):
                    site.stop()
        finally:
            self._about = ""
            server.kill()

    def run(self, *command: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
        """The output of a program that has to succeed. One of the environment is found by its name."""
        done = subprocess.run(
            command,
            cwd=cwd or self.place,
            env=self.variables(env),
            text=True,
            capture_output=True,
            timeout=SCRIPT_S,
            check=False,
        )
        if done.returncode:
            lines = [*done.stderr.strip().splitlines()[-2:], *done.stdout.strip().splitlines()[-3:]]
            raise AssertionError(f"{Path(command[0]).name}: status {done.returncode}: {' / '.join(lines)}")
        return done.stdout

    def client(self, script: str, *arguments: str) -> str:
        """The output of a script of `clients/`, run in the environment, that has to succeed."""
        return self.run("python", str(CLIENTS / script), *arguments)

    def variables(self, env: dict[str, str] | None = None) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
        path = os.pathsep.join([str(self.environment.place / "bin"), own.get("PATH", "")])
        return own | {"PYTHONUNBUFFERED": "1", "PATH": path} | (env or {})


@dataclass(frozen=True)
class Part:
    """An application, or several that belong together."""

    name: str
    """By this it is asked for. Its environment and its pins have this name."""
    title: str
    """The names of its packages whose versions are in the table, with commas between them."""
    about: str
    """What of it is used."""
    run: Callable[[Trial], None]
    packages: tuple[str, ...] = field(default=())
    """What is installed; those of the title if nothing is said."""
    programs: tuple[str, ...] = field(default=())
    """Programs of the system that it needs."""

    def required(self) -> tuple[str, ...]:
        return self.packages or tuple(self.title.split(", "))
