"""What the manager has of the process that watches the files of the application, and what it does about them.

Always: the bytecode of a file that has changed is gone before the file is imported again. Python compares the
seconds of its time and its size, and a file that is saved twice in a second may have both.
"""

from __future__ import annotations

import contextlib
import glob
import importlib.util
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from prefork.errors import OptionError
from prefork.hosting.reloading.files import Files
from prefork.hosting.target import directory_of
from prefork.pool.attached import Attached
from prefork.pool.spawner import Process

if TYPE_CHECKING:
    from prefork.config.options import ServeOptions
    from prefork.pool.manager import Manager
    from prefork.pool.server import PreForkServer

logger = logging.getLogger("prefork.pool")

WATCHER = "prefork.hosting.reloading.watcher"

MOST_NAMED = 3
"""How many of the files that have changed are named in the log."""


def attach_reloader(
    server: PreForkServer,
    target: str,
    options: ServeOptions,
    read: Sequence[str],
    *,
    restarts: bool,
) -> Callable[[Manager], Reloader]:
    """What is returned watches the files of the target from then on, and those among them that options were
    `read` from. `restarts`: clients wait for the new code, instead of being served by the old one. Raises
    OptionError.
    """
    if importlib.util.find_spec("watchfiles") is None:
        raise OptionError("reload needs the package watchfiles: pip install 'prefork[dev]'")
    roots = options.reload_dir or _roots(os.getcwd(), directory_of(target))
    of_options = [glob.escape(os.path.basename(file)) for file in read]
    files = Files(roots, (*options.reload_include, *of_options), options.reload_exclude)
    return partial(Reloader, server, files, restarts)


def _roots(current: str, of_target: str | None) -> tuple[str, ...]:
    """The current directory, and that of the target if it is elsewhere."""
    if of_target is None or os.path.commonpath((current, of_target)) == current:
        return (current,)
    return (current, of_target)


class Reloader(Attached):
    """Attached to a manager. It begins to watch at once."""

    def __init__(self, server: PreForkServer, files: Files, restarts: bool, manager: Manager) -> None:
        self.files = files
        self._server = server
        self._manager = manager
        self._restarts = restarts
        self._loop = server.kernel.loop
        self._begun = b""
        """The beginning of a line that has not come whole."""
        self._why_ended = "the process that does it has ended"
        self._process: Process | None
        self._process, self._output = _start(files)
        os.set_blocking(self._output, False)
        self._loop.add_reader(self._output, self._read)
        self._loop.add_reader(self._process.pidfd, self._ended)

    def _read(self) -> None:
        try:
            data = os.read(self._output, 1 << 16)
        except BlockingIOError:
            return
        if not data:
            self._loop.remove_reader(self._output)  # its end comes
            return
        *lines, self._begun = (self._begun + data).split(b"\n")
        changed = set[str]()
        for told in map(json.loads, lines):
            if isinstance(told, str):
                self._why_ended = told
            else:
                changed.update(told)
        if changed:
            self._reload(changed)

    def _reload(self, changed: set[str]) -> None:
        if self._server.why_no_reload:
            return
        logger.warning("changed: %s; loading the application again", self._named(changed))
        if self._restarts:
            self._manager.restart()
        # A restart has ended the process that may have read the former text just now, and that writes
        # bytecode. The next one is forked when this turn is over.
        _forget_bytecode(changed)
        if not self._restarts:
            self._server.reload()

    def _named(self, changed: set[str]) -> str:
        current = os.getcwd()
        names = sorted(path.removeprefix(f"{current}/") for path in changed)
        more = len(names) - MOST_NAMED
        return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")

    def _ended(self) -> None:
        assert self._process is not None
        self._read()  # it may have said why
        logger.error("no file is watched any more: %s; restart the server", self._why_ended)
        self.close()

    # --- its life ----------------------------------------------------------------------------------------

    def close(self) -> None:
        """Watches no more."""
        if self._process is None:
            return
        self._loop.remove_reader(self._output)
        self._loop.remove_reader(self._process.pidfd)
        self._process.signal(signal.SIGKILL)
        self._process.wait()
        self.discard()

    def discard(self) -> None:
        if self._process is not None:
            self._process.close()
            os.close(self._output)
            self._process = None


def _start(files: Files) -> tuple[Process, int]:
    """The process, and what it prints."""
    order = {
        "parent": os.getpid(),
        "since_ns": time.time_ns(),
        "roots": files.roots,
        "include": files.include,
        "exclude": files.exclude,
    }
    # -P: a file of the project must not be imported in place of a module that has its name.
    arguments = [sys.executable, "-P", "-m", WATCHER, json.dumps(order)]
    output, its_end = os.pipe()
    try:
        pid = os.posix_spawn(
            sys.executable,
            arguments,
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, its_end, 1)],
            # A terminal sends INT to the whole group, and `timeout` TERM. It ends when the server does.
            setsigmask=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT],
        )
    finally:
        os.close(its_end)
    return Process(pid), output


def _forget_bytecode(changed: Iterable[str]) -> None:
    for path in changed:
        with contextlib.suppress(OSError, NotImplementedError):  # there is none
            os.unlink(importlib.util.cache_from_source(path))
