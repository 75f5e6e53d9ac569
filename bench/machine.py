"""The machine: which cores are used, and what of it belongs beside the figures."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench.needs import Missing

MEASURED = (
    "prefork",
    "fastpysgi",
    "granian",
    "gunicorn",
    "uwsgi",
    "uvicorn",
    "httptools",
    "uvloop",
    "websockets",
    "django",
)


class Cores(NamedTuple):
    """One for the server under test, one for its load generator."""

    server: int
    client: int


def choose_cores() -> Cores:
    """Two that are no hardware threads of one core, if there are such. Raises Missing for only one."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        raise Missing("two cores are needed: one for the server, one for the load")
    server = usable[0]
    apart = [core for core in usable[1:] if core not in _siblings(server)]
    return Cores(server, (apart or usable[1:])[0])


@contextlib.contextmanager
def pinned(core: int) -> Iterator[None]:
    """What is started meanwhile runs on that core for life."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def describe(cores: Cores) -> dict[str, object]:
    """What the figures depend on, without names of the machine or its owner."""
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    model = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    return {
        "cpu": model[1] if model else platform.machine(),
        "cores": os.cpu_count(),
        "server_and_load_share_a_core": cores.client in _siblings(cores.server),
        "memory_mib": int(memory[1]) // 1024 if memory else None,
        "system": f"{platform.system()} {platform.release()}",
        "load_average": round(os.getloadavg()[0], 2),
    }


def versions() -> dict[str, str]:
    """Of everything that is measured or measures."""
    found = {"python": platform.python_version()}
    for name in MEASURED:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    found["nginx"] = _first_version(["nginx", "-v"])
    found["wrk"] = _first_version(["wrk", "-v"])
    found["valgrind"] = _first_version(["valgrind", "--version"])
    found["h2load"] = _first_version(["h2load", "--version"])
    return found


def _first_version(command: list[str]) -> str:
    # wrk prints its version and ends with status 1. nginx prints it on standard error.
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    number = re.search(r"\d+\.\d[\w.]*", done.stdout + done.stderr)
    return number[0] if number else "unknown"


def _siblings(core: int) -> set[int]:
    """The hardware threads that share a core with this one, itself included."""
    file = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    try:
        parts = file.read_text().strip().split(",")
    except OSError:
        return {core}
    bounds = [part.split("-") for part in parts]
    return {core for bound in bounds for core in range(int(bound[0]), int(bound[-1]) + 1)}
