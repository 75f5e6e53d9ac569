"""Which threads run beside the one that forks, and what brought them.

A child has none of them. A library that waits for its threads hangs there: at every request, if it computed
something while the application was loaded. Python's threads are told by name. Native ones are told by the
libraries that start such threads and do not survive a fork, and by names of their own, which few have.

It must not know the kernel.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path, PurePath

from prefork.logs.module_names import module_of

logger = logging.getLogger("prefork.kernel")

LIBRARIES = (
    ("OpenMP", re.compile(r"lib(?:gomp|i?omp5?)\b.*\.so")),
    ("CUDA", re.compile(r"lib(?:cuda|cudart)\b.*\.so")),
    ("gRPC", re.compile(r"(?:cygrpc|libgrpc)\b.*\.so")),
)
"""What starts threads of its own, and the files that it is loaded from. OpenBLAS is not among them: it stops
its threads before a fork."""

SAFE = frozenset({"libuv-worker"})
"""Native threads that a child makes again by itself (pthread_atfork(3)): uvloop's."""

RESTARTED = ("opentelemetry.sdk.",)
"""Modules whose threads each child starts again by itself (os.register_at_fork)."""

_MODULE = re.compile(r"/(?:site|dist)-packages/(\w+)")


def warn_of_live_threads() -> None:
    """Logs what a child of this process will miss. Called once, before the first fork."""
    if found := live_threads():
        logger.warning(
            "forking while other threads run, which no worker has: %s. What waits for them hangs there; "
            "begin it in each worker instead (docs/fork-safety.md)",
            ", ".join(found),
        )


def thread_ids() -> frozenset[int]:
    """All threads of this process, by the system's number."""
    return frozenset(map(int, os.listdir("/proc/self/task")))


def live_threads(former: Collection[int] = ()) -> list[str]:
    """The threads that run beside this one, without those of the server and `former` ones."""
    python = [thread for thread in threading.enumerate() if thread.native_id not in former]
    return [*_native(former), *map(_python, _others(python))]


def other_threads() -> list[str]:
    """Every thread that runs beside this one and ends at a fork, also one that nothing else is known of."""
    names = []
    for number in thread_ids() - {threading.get_native_id()}:
        with contextlib.suppress(OSError):  # it has ended meanwhile
            names.append(Path(f"/proc/self/task/{number}/comm").read_text().strip())
    left = sorted(set(names) - SAFE)
    return (live_threads() or [f"native thread {name!r}" for name in left]) if left else []


def _others(threads: Iterable[threading.Thread]) -> Iterator[threading.Thread]:
    """Of Python's threads those that are not this one, the main one or the server's."""
    for thread in threads:
        ours = _module_of(thread).startswith(("prefork.", *RESTARTED))
        if thread not in (threading.main_thread(), threading.current_thread()) and not ours:
            yield thread


def _python(thread: threading.Thread) -> str:
    return f"thread {thread.name!r} of {_module_of(thread)}"


def _module_of(thread: threading.Thread) -> str:
    """The module of what a thread runs, as far as it tells."""
    return module_of(getattr(thread, "_target", None) or type(thread))


def _native(former: Collection[int]) -> list[str]:
    try:
        python = {thread.native_id for thread in threading.enumerate()}
        native = [number for number in thread_ids() if number not in python and number not in former]
        if not native:
            return []
        names = {Path(f"/proc/self/task/{number}/comm").read_text().strip() for number in native}
        # Most have that of their process.
        own = names - SAFE - {Path("/proc/self/comm").read_text().strip()}
        found = libraries(Path("/proc/self/maps").read_text().splitlines())
        return [*found, *(f"native thread {name!r}" for name in sorted(own))]
    except OSError:  # a thread that has ended meanwhile, or no /proc
        return []


def libraries(mappings: Iterable[str]) -> list[str]:
    """The libraries with threads among the mapped files of a process, each with the module that has it."""
    found: dict[str, None] = {}
    for mapping in mappings:
        path = mapping.partition("/")[2]
        for kind, files in LIBRARIES:
            if path and files.search(PurePath(path).name):
                module = _MODULE.search(f"/{path}")
                found[f"{kind} of {module[1] if module else PurePath(path).name}"] = None
    return list(found)
