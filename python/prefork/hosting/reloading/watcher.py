"""The process that watches the files of a project: `python -m prefork.hosting.reloading.watcher ORDER`.

It prints a line with the paths that have changed, as JSON, once for all files that are saved together. If it
cannot watch, it prints a text that says why, as JSON too, and ends. It ends with the process that has started
it. A process of its own, because the manager must have no thread while it forks.

Always: a file that is saved is told of, also if that was before its directory was watched.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prefork._engine import die_with_parent
from prefork.hosting.reloading.files import Files

if TYPE_CHECKING:
    from watchfiles._rust_notify import RustNotify

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

ADDED = 1
"""How the library calls what is new, in place of what is changed or gone."""


class NotWatched(Exception):
    """The text says why, and what to do."""


def main(order: str) -> None:
    """Watches what the order says: parent, roots, include, exclude, since_ns."""
    given = json.loads(order)
    if not die_with_parent(given["parent"]):
        return
    files = Files(*(tuple(given[name]) for name in ("roots", "include", "exclude")))
    try:
        for paths in changes(files, given["since_ns"]):
            print(json.dumps(sorted(paths)), flush=True)
    except NotWatched as error:
        print(json.dumps(str(error)), flush=True)


def changes(files: Files, since_ns: int) -> Iterator[set[str]]:
    """The files that change, in groups; first those that have changed after a moment. A directory that goes
    is one of them.

    The directories are watched one by one, so that those which are not entered cost nothing. When there is a
    new one, they are watched anew, and what was saved meanwhile is found by its time. One that has gone and
    come again is a new one: what was watched was the former one. Raises NotWatched.
    """
    known: set[str] | None = None
    changed: set[str] = set()
    while True:
        directories, notify = _watched(files)
        with notify:
            changed |= files.changed_since(since_ns)
            if known is not None:
                changed |= {path for path in files.found() if os.path.dirname(path) not in known}
            known, new = set(directories), set[str]()
            while not new:
                if changed:
                    yield changed
                since_ns = time.time_ns()
                told = notify.watch(TOGETHER_MS, STEP_MS, 0, None)
                events = set() if isinstance(told, str) else told
                changed = {
                    path
                    for _, path in events
                    if (files.has(path) or path in known) and not os.path.isdir(path)
                }
                new = {
                    path
                    for kind, path in events
                    if kind == ADDED and os.path.isdir(path) and files.enters(path)
                }
            known = {one for one in known if not any(f"{one}/".startswith(f"{top}/") for top in new)}


def _watched(files: Files) -> tuple[list[str], RustNotify]:
    """The directories, and what watches them. One may go before it is watched. Raises NotWatched."""
    from watchfiles._rust_notify import RustNotify  # what `watchfiles.watch` is made of

    polls = os.environ.get(FORCE_POLLING, "") not in ("", "0", "false", "disable", "disabled")
    while True:
        directories = files.directories()
        try:
            # The last: the library would pass over all errors with True, not only over denied permission.
            return directories, RustNotify(directories, False, polls, POLL_MS, False, False)
        except FileNotFoundError:
            continue
        except (OSError, RuntimeError) as error:
            text = str(error).partition(" about [")[0].rstrip(".")
            raise NotWatched(
                f"{len(directories)} directories cannot be watched: {text} (raise "
                "fs.inotify.max_user_watches or max_user_instances, name fewer with reload_dir or "
                f"reload_exclude, or set {FORCE_POLLING}=1)"
            ) from None


if __name__ == "__main__":
    main(sys.argv[1])
