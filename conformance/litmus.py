"""litmus (WebDAV, RFC 4918) against WsgiDAV, a WSGI application.

It runs against WsgiDAV's own server, cheroot, too. A case that fails there as well is the application's.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from conformance.environments import APPS, PLACE, command, run, serving, virtual_environment
from conformance.findings import Findings

PACKAGES = ("wsgidav==4.4.0", "cheroot==11.1.2")
GROUP = re.compile(r"<- summary for `(\w+)': of (\d+) tests run: (\d+) passed")
FAILURE = re.compile(r"^\s*\d+\.\s+(\w+)\.+ FAIL(.*)$", re.MULTILINE)
REFERENCE = """\
from cheroot.wsgi import Server
from dav import application
server = Server(("127.0.0.1", 0), application)
server.prepare()
print("serving http://127.0.0.1:%d" % server.bind_addr[1], flush=True)
server.serve()
"""


class Ran(NamedTuple):
    """What litmus said: how many cases of a group passed, and those that failed."""

    groups: dict[str, str]
    failures: dict[str, str]


def run_litmus() -> Findings:
    program = command("litmus", "litmus")
    environment = virtual_environment(*PACKAGES)
    site = next((environment / "lib").glob("python*/site-packages"))
    target = f"{APPS / 'dav.py'}:application"
    # One worker: this application has its locks in its own memory.
    flags = ("--interface", "wsgi", "--workers", "1")
    with shared_directory(str(site)) as env, serving(target, *flags, env=env) as address:
        ours = _run(program, address)
    with shared_directory(str(APPS)) as env, _reference(environment, env) as address:
        theirs = _run(program, address)
    found = Findings("litmus 0.13", "WsgiDAV 4.4.0, a WSGI application")
    for group, passed in ours.groups.items():
        found.results[group] = f"{passed}; with cheroot {theirs.groups.get(group, 'not run')}"
    found.failed = [name + ours.failures[name] for name in ours.failures.keys() - theirs.failures.keys()]
    return found


@contextlib.contextmanager
def shared_directory(path: str) -> Iterator[dict[str, str]]:
    """The environment variables for an empty directory that the application shares."""
    with tempfile.TemporaryDirectory() as shared:
        yield {"PYTHONPATH": path, "CONFORMANCE_SHARED": shared}


def _run(program: str, address: str) -> Ran:
    said = run(program, "--keep-going", f"{address}/", cwd=PLACE)
    groups = {group: f"{passed} of {cases} passed" for group, cases, passed in GROUP.findall(said)}
    if not groups:
        raise RuntimeError(f"litmus said: {said[-2000:]}")
    return Ran(groups, dict(FAILURE.findall(said)))


@contextlib.contextmanager
def _reference(environment: Path, env: dict[str, str]) -> Iterator[str]:
    process = subprocess.Popen(
        [str(environment / "bin" / "python"), "-c", REFERENCE],
        env=os.environ | env,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[1]
        finally:
            process.terminate()
