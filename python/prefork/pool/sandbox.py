"""What a worker gives up before the application starts up in it (`--sandbox`).

Owns: which paths and ports are left to a worker, and what the kernel cannot take, which the manager finds out
before the first fork. Always: a worker that cannot give up what the manager found possible does not serve.

It is imported only with `--sandbox`. It must not know what Landlock and seccomp are: the native module does.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterable
from typing import TYPE_CHECKING

from prefork._engine import enter_sandbox, try_sandbox
from prefork.config.sandbox import ANY
from prefork.errors import OptionError, SandboxIncomplete
from prefork.pool.refusals import Refusals

if TYPE_CHECKING:
    from prefork.config.options import PreForkOptions

logger = logging.getLogger("prefork.pool")

ALWAYS = ("/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/shm")
"""What may be written beside the temporary directory. Shared memory and semaphores of Python's
`multiprocessing` are files in /dev/shm.
"""


class Sandbox:
    """Made by the manager. `logs` are directories in which a worker opens its log again after a rotation.

    Raises OptionError for a path that is not there, SandboxIncomplete if all of it is required and the kernel
    lacks some, and OSError if there is no thread to find that out.
    """

    def __init__(self, options: PreForkOptions, logs: Iterable[str]) -> None:
        self._of = _asked(options)
        for path in options.sandbox_write:
            if not os.path.lexists(path):
                raise OptionError(f"sandbox_write: there is no {path}; make it before the server starts")
        spool = () if options.spool_dir is None else (options.spool_dir,)
        # The first is the engine's, for request bodies; the second Python's.
        temporary = {os.environ.get("TMPDIR") or "/tmp", tempfile.gettempdir()}
        self._write = [*ALWAYS, *temporary, *spool, *options.sandbox_write]
        self._append = sorted(logs)
        named = options.sandbox_connect
        self._connect = None if ANY in named else sorted({int(port) for port in named})
        self._is_required = options.sandbox == "required"
        self._lacks = try_sandbox(write=self._write, append=self._append, connect=self._connect)
        if self._lacks and self._is_required:
            raise SandboxIncomplete(
                f"sandbox is required, and this system cannot restrict {', '.join(self._lacks)}; a container "
                "may forbid it: see docs/security.md, or use --sandbox on"
            )
        if self._lacks:
            logger.warning("--sandbox: this system cannot restrict %s", ", ".join(self._lacks))

    def is_of(self, options: PreForkOptions) -> bool:
        """Whether these options ask for the same."""
        return self._of == _asked(options)

    def enter(self) -> None:
        """Worker: gives it up, for good. Raises SandboxIncomplete if that is not possible any more."""
        found, threads = enter_sandbox(write=self._write, append=self._append, connect=self._connect)
        further = [lack for lack in found if lack not in self._lacks]
        if further:
            raise SandboxIncomplete(f"the sandbox cannot restrict {', '.join(further)}")
        if threads:
            text = f"{threads} threads were started at the fork, before the sandbox (os.register_at_fork)"
            if self._is_required:
                raise SandboxIncomplete(f"{text}: Linux before 7.0 cannot restrict them")
            logger.warning("--sandbox: %s: they can change files and connect", text)
        Refusals(self._write, self._connect).explain()


def _asked(options: PreForkOptions) -> tuple[object, ...]:
    return options.sandbox, options.sandbox_write, options.sandbox_connect, options.spool_dir
