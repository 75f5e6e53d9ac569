"""Which threads run beside the one that forks, and what brought them.

A child has none of them. A library that waits for its threads hangs there: at every request, if it computed
something while the application was loaded. Python's threads are told by name. Native ones have none that says
much: they are told by the libraries that start such threads and do not survive a fork.

It must not know the kernel.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath

logger = logging.getLogger("prefork.kernel")

LIBRARIES = (
    ("OpenMP", re.compile(r"lib(?:gomp|i?omp5?)\b.*\.so")),
    ("CUDA", re.compile(r"lib(?:cuda|cudart)\b.*\.so")),
    ("gRPC", re.compile(r"(?:cygrpc|libgrpc)\b.*\.so")),
)
"""What starts threads of its own, and the files that it is loaded from. OpenBLAS is not among them: it stops
its threads before a fork."""

_MODULE = re.compile(r"/(?:site|dist)-packages/(\w+)")


def warn_of_live_threads() -> None:
    """Logs what a child of this process will miss. Called once, before the first fork."""
    if found := [*_native(), *map(_python, _others())]:
        logger.warning(
            "forking while other threads run, which no worker has: %s. What waits for them hangs there; "
            "begin it in each worker instead (docs/fork-safety.md)",
            ", ".join(found),
        )


def _others() -> Iterator[threading.Thread]:
    """Python's threads but this one, the main one and those of the server."""
    for thread in threading.enumerate():
        ours = _module_of(thread).startswith("prefork.")
        if thread not in (threading.main_thread(), threading.current_thread()) and not ours:
            yield thread


def _python(thread: threading.Thread) -> str:
    return f"thread {thread.name!r} of {_module_of(thread)}"


def _module_of(thread: threading.Thread) -> str:
    """The module of what a thread runs, as far as it tells."""
    target = getattr(thread, "_target", None) or type(thread)
    return str(getattr(target, "__module__", None) or type(target).__module__)


def _native() -> list[str]:
    try:
        native = len(os.listdir("/proc/self/task")) - len(threading.enumerate())
        return libraries(Path("/proc/self/maps").read_text().splitlines()) if native > 0 else []
    except OSError:
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
