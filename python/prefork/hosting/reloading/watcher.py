"""The process that watches the files of a project: `python -m prefork.hosting.reloading.watcher ORDER`.

It prints a line with the paths that have changed, as JSON, once for all files that are saved together. It
ends with the process that has started it. A process of its own, because the manager must have no thread while
it forks.

Always: a file that is saved is told of, also if that was before its directory was watched.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator

from prefork._engine import die_with_parent
from prefork.hosting.reloading.files import Files

STEP_MS = 20
"""How often the library looks at what the system has told. Files are saved together if there is less between
them.
"""

TOGETHER_MS = 400
"""After so long the paths are told, even if more files are being saved."""

POLL_MS = 300
"""How often files are looked at where the system tells nothing, as on a network."""

FORCE_POLLING = "WATCHFILES_FORCE_POLLING"
"""The variable of the library."""


def main(order: str) -> None:
    """Watches what the order says: parent, roots, include, exclude, since_ns."""
    given = json.loads(order)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the whole group
    if not die_with_parent(given["parent"]):
        return
    files = Files(*(tuple(given[name]) for name in ("roots", "include", "exclude")))
    for paths in changes(files, given["since_ns"]):
        print(json.dumps(sorted(paths)), flush=True)


def changes(files: Files, since_ns: int) -> Iterator[set[str]]:
    """The files that change, in groups; first those that have changed after a moment.

    The directories are watched one by one, so that those which are not entered cost nothing. When there is a
    new one, they are watched anew, and what was saved meanwhile is found by its time.
    """
    from watchfiles._rust_notify import RustNotify  # what `watchfiles.watch` is made of

    polls = os.environ.get(FORCE_POLLING, "") not in ("", "0", "false", "disable", "disabled")
    known: set[str] | None = None
    changed: set[str] = set()
    while True:
        directories = files.directories()
        with RustNotify(directories, False, polls, POLL_MS, False, True) as notify:
            changed |= files.changed_since(since_ns)
            if known is not None:
                changed |= {path for path in files.found() if os.path.dirname(path) not in known}
            known, has_grown = set(directories), False
            while not has_grown:
                if changed:
                    yield changed
                since_ns = time.time_ns()
                told = notify.watch(TOGETHER_MS, STEP_MS, 0, None)
                paths = set() if isinstance(told, str) else {path for _, path in told}
                changed = {path for path in paths if files.has(path) and not os.path.isdir(path)}
                has_grown = any(
                    os.path.isdir(path) and path not in known and files.enters(path) for path in paths
                )


if __name__ == "__main__":
    main(sys.argv[1])
