"""`with prefork.serve(app) as server:` the real server, beside the program that starts it.

Owns the process of the server, a fork of this one. Always: when the block has ended, however it did, that
process has ended, and with it every worker. It must not know how that process serves
(`background_process.py`).
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import time
import warnings
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Self, Unpack

from prefork import errors
from prefork._engine import BlockedSignals
from prefork.config.options import PreForkOptions
from prefork.config.sources import from_keywords
from prefork.hosting.configuring import options_from
from prefork.kernel import fork_hooks
from prefork.kernel.forking import flush_output
from prefork.kernel.live_threads import live_threads

if TYPE_CHECKING:
    from prefork.config.keywords import RunKeywords
    from prefork.config.sources import Given

logger = logging.getLogger("prefork.server")

START_S = 120.0
"""How long the server may load its application, beside the time that its workers have to boot."""

END_S = 5.0
"""How much longer than `graceful_timeout` the server may take to end."""

ENDED = "the process of the server has ended before it was ready"

_named: set[str] = set()
"""The threads of this process that were named in the log."""


def serve(
    application: Any, *, capture_output: bool = False, **options: Unpack[RunKeywords]
) -> BackgroundServer:
    """Serves an application while a `with` block runs, as `prefork.run` would: `with prefork.serve(app) as
    server:`.

    `application` is what `run` takes, and so are the options. By default there is one worker, on a free port
    of 127.0.0.1, and the log has warnings and errors. The server is a fork of this process: the application
    has all that it refers to as it is when the block begins, and what it changes later stays in the worker.
    With `capture_output` what the server prints and logs goes to `server.output`, and not to standard output
    and standard error.

    Raises OptionError. When the block begins, a PreforkError is raised if the server cannot start.
    """
    return BackgroundServer(application, from_keywords(options, "serve()"), capture_output=capture_output)


class BackgroundServer:
    """A server that `prefork.serve` has made. It serves while its `with` block runs.

    When the block begins, the first worker is ready. At its end the server is stopped as by SIGTERM: open
    requests are finished. If this process is killed, the server ends as well.
    """

    url: str
    """Where it listens, such as `http://127.0.0.1:41234`, without a slash at the end; `unix:/path` for a Unix
    socket."""
    host: str
    """The address, or the path of the Unix socket."""
    port: int
    """The port; 0 for a Unix socket."""
    glue: str | None
    """The name under which `prefork status --glue` finds the pool; None without one."""
    pid: int
    """The process id of the manager."""

    def __init__(self, application: Any, given: Given, *, capture_output: bool = False) -> None:
        self._application = application
        self._given = given
        options = options_from(PreForkOptions, given)
        self._start_s = START_S + options.boot_timeout * max(options.boot_failures, 1)
        self._graceful_s = options.graceful_timeout
        self._captures = capture_output
        self._captured: BinaryIO | None = None
        self._output = ""
        self._owner = 0
        self._process: int | None = None

    @property
    def output(self) -> str:
        """What the server has printed and logged so far, if that is captured; also after its end."""
        if self._captured is not None:
            size = os.fstat(self._captured.fileno()).st_size
            self._output = os.pread(self._captured.fileno(), size, 0).decode(errors="backslashreplace")
        return self._output

    def __enter__(self) -> Self:
        """Starts the server, and waits until it is ready. Raises PreforkError."""
        if fork_hooks.kernel_runs():
            raise errors.NotInThisProcess("serve() forks this process, which is one of a server already")
        if self._process is not None:
            raise errors.NotInThisProcess("this server runs already; serve() makes another one")
        if self._captures:
            import tempfile  # here, not in the memory of every worker

            # Closed at the end.
            self._captured = tempfile.TemporaryFile(buffering=0)
        receiver = -1
        try:
            receiver = self._fork()
            self._take_report(_receive(receiver, self._process, self._start_s))
        except BaseException as error:
            self._end()
            if isinstance(error, errors.PreforkError) and self._output:
                error.add_note(f"The server wrote:\n{self._output}")
            raise
        finally:
            if receiver >= 0:
                os.close(receiver)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Stops the server, and waits for its end."""
        self._end()

    # --- its beginning -----------------------------------------------------------------------------------

    def _fork(self) -> int:
        """Forks the server's process. Returns where it reports that it serves, or why it cannot."""
        # Here: an import in the child may wait for a thread that it does not have.
        from prefork.hosting import background_process

        _warn_of_threads()
        self._owner = os.getpid()
        caller = os.pidfd_open(self._owner)
        receiver, sender = os.pipe()
        flush_output()
        try:
            with BlockedSignals():
                pid = _fork_quietly()
                if pid == 0:
                    output = None if self._captured is None else self._captured.fileno()
                    background_process.serve(self._application, self._given, caller, sender, output)
            self.pid = pid
            self._process = _pidfd(pid)
        except BaseException:
            os.close(receiver)
            raise
        finally:
            os.close(caller)
            os.close(sender)
        return receiver

    def _take_report(self, report: dict[str, Any]) -> None:
        if (why := report.get("error")) is None:
            self.url, self.host, self.port = report["url"], report["host"], report["port"]
            self.glue = report["glue"]
            return
        error: errors.PreforkError = getattr(errors, report["kind"])(why)
        if report["traceback"]:
            error.add_note(report["traceback"])
        raise error

    # --- its end -----------------------------------------------------------------------------------------

    def _end(self) -> None:
        """A child that the program forked in the block leaves the server alone."""
        if self._process is not None and os.getpid() == self._owner:
            try:
                self._stop(self._process)
            finally:
                os.close(self._process)
                self._process = None
        if self._captured is not None:
            self._output = self.output
            self._captured.close()
            self._captured = None

    def _stop(self, process: int) -> None:
        if not _wait(process, 0):
            _signal(process, signal.SIGTERM)
        try:
            if not _wait(process, self._graceful_s + END_S):
                logger.warning(
                    "the server at %s does not end: killing it", getattr(self, "url", "no address")
                )
        finally:  # also after a second Ctrl-C
            _signal(process, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):  # the program ignores CHLD, or waits for all
                os.waitpid(self.pid, 0)


def _fork_quietly() -> int:
    """As `os.fork`, without a warning about other threads: see `_warn_of_threads`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return fork_hooks.fork()


def _pidfd(pid: int) -> int:
    """A descriptor that stands for a child. Raises NeverReady if it has ended, and OSError."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:  # the program ignores CHLD
        raise errors.NeverReady(ENDED) from None
    except OSError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def _warn_of_threads() -> None:
    """Names, once, what the child will miss."""
    found = [one for one in live_threads() if one not in _named]
    if found:
        _named.update(found)
        logger.warning(
            "serve() forks while other threads run, which the server does not have: %s. What waits for them "
            "hangs there; begin them in the application instead (docs/fork-safety.md)",
            ", ".join(found),
        )


def _receive(receiver: int, process: int | None, within_s: float) -> dict[str, Any]:
    """The report of the server's process. Raises NeverReady."""
    import json  # as above

    assert process is not None
    poll = select.poll()
    poll.register(receiver, select.POLLIN)
    poll.register(process, select.POLLIN)
    text, deadline = b"", time.monotonic() + within_s
    while not text.endswith(b"\n"):
        ready = dict(poll.poll(max(deadline - time.monotonic(), 0) * 1000))
        if not ready:
            raise errors.NeverReady(f"the server was not ready within {within_s:g} s")
        part = os.read(receiver, 65536) if receiver in ready else b""
        if not part:
            raise errors.NeverReady(ENDED)
        text += part
    report: dict[str, Any] = json.loads(text)
    return report


def _wait(process: int, within_s: float) -> bool:
    """Whether the process ends within that time."""
    poll = select.poll()
    poll.register(process, select.POLLIN)
    return bool(poll.poll(within_s * 1000))


def _signal(process: int, signum: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(process, signum)
