"""What the bench needs besides Python: programs and descriptors. The other servers may be missing."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

PROGRAMS = {
    "curl": "curl",
    "nginx": "nginx",
    "wrk": "wrk",
    "valgrind": "valgrind",
    "h2load": "nghttp2-client",
}
"""With their Debian packages."""
DESCRIPTORS = 10_500
"""For the 10,000 connections that one worker holds, and for the bench that holds their other ends."""


class Missing(Exception):
    """Something that the bench requires. The text says what to do."""


def ensure_needs() -> None:
    """Checks that all of it is there, and installs what root can on Debian. Raises Missing."""
    # Debian puts daemons here, and PATH may lack it.
    os.environ["PATH"] += ":/usr/local/sbin:/usr/sbin:/sbin"
    missing = [package for name, package in PROGRAMS.items() if shutil.which(name) is None]
    if missing:
        _install(missing)
    if not Path("examples/synopsis.py").exists():
        raise Missing("start it at the top of the source tree: python -m bench")
    _raise_descriptors()


def _install(missing: list[str]) -> None:
    names = " ".join(missing)
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise Missing(f"{names} needed; on Debian: sudo apt-get install {names}")
    print(f"bench: installing {names}", file=sys.stderr)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *missing]):
        done = subprocess.run(
            ["apt-get", "--quiet=2", *command], env=environment, stdout=sys.stderr, timeout=300, check=False
        )
        if done.returncode:
            raise Missing(f"{names} needed, and apt-get {command[0]} failed; install it by hand")


def _raise_descriptors() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= DESCRIPTORS:
        return
    limit = hard if hard == resource.RLIM_INFINITY else max(hard, DESCRIPTORS)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, limit))
    except (OSError, ValueError):
        raise Missing(f"{DESCRIPTORS} open files needed, {hard} allowed: raise ulimit -Hn") from None
