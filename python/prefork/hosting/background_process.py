"""The process that serves for `prefork.serve`: a fork of the program, and the manager of the pool.

Always: it never returns into the program, whose stack is below it, and runs none of the program's handlers of
signals, `atexit` functions and finalizers. It ends when the program has ended in any way.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
import traceback
from typing import TYPE_CHECKING, NoReturn

from prefork import errors
from prefork.config.options import AppOptions
from prefork.config.sources import WORKERS_SETS, from_keywords
from prefork.errors import NeverReady, PreforkError
from prefork.hosting.configuring import begin_log, options_from, serve_options
from prefork.hosting.fork_safety import look
from prefork.hosting.serving import loaded, place_of, serve_target, set_signals
from prefork.kernel.fork_hooks import restore_default
from prefork.kernel.forking import exit_at_once
from prefork.logs.console import complain
from prefork.logs.escaping import show
from prefork.logs.handler import descriptor_of, standard_error
from prefork.pool.ending import forget_inherited
from prefork.pool.server import PreForkServer
from prefork.server.server import HTTPServer

if TYPE_CHECKING:
    from prefork.config.sources import Given
    from prefork.hosting.target import Target

_former: list[object] = []
"""The program's streams and handlers. To free one might write out what it has buffered."""


def _redirect(output: int | None) -> None:
    """Makes the standard streams anew. The program's may write into its memory, as those of pytest do."""
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.close(nowhere)
    _former.extend((sys.stdin, sys.stdout, sys.stderr))
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    for number, name in ((1, "stdout"), (2, "stderr")):
        if output is not None:
            os.dup2(output, number)
        stream = open(number, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)
    standard_error.cache_clear()
    _former.extend(logging.root.handlers)
    logging.root.handlers = [one for one in logging.root.handlers if _leads_out(one)]


def _leads_out(handler: logging.Handler) -> bool:
    """Whether what a handler is given leaves the process, and is not kept for the program."""
    if isinstance(handler, logging.NullHandler) or getattr(handler, "baseFilename", "") == os.devnull:
        return False
    return not isinstance(handler, logging.StreamHandler) or descriptor_of(handler) >= 0


def serve(application: object, given: Given, caller: int, sender: int, output: int | None) -> NoReturn:
    """Serves until the program stops it or ends, and ends this process, which was just forked: every signal
    is blocked. `caller` is a pidfd of the program. `sender` gets one report: where it listens, or why it does
    not. `output` is a descriptor that gets what is printed and logged; None: that goes where the program's
    goes.
    """
    report = Report(sender)
    status = 1
    try:
        _leave_program(output)
        _serve(application, given, caller, report)
        status = 0
    except BaseException as error:
        status = _status(error)
        report.fail(error)
    finally:
        exit_at_once(status)


def _status(error: BaseException) -> int:
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    return error.exit_status if isinstance(error, PreforkError) else 1


def _leave_program(output: int | None) -> None:
    """Lets go of what is the program's."""
    signal.set_wakeup_fd(-1)
    for signum in range(1, signal.NSIG):
        if callable(signal.getsignal(signum)):
            restore_default(signum)
    forget_inherited(keeps_atexit=False)
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)  # Ctrl-C is the program's: what it still does in its block may need the server
    _redirect(output)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


class Report:
    """What the program is told, once."""

    def __init__(self, sender: int) -> None:
        self._sender = sender
        self._waits_for = 0
        self._is_sent = False

    def attach(self, target: Target) -> None:
        """Has it sent when each server of the target serves."""
        self._waits_for = len(target.servers)
        self._first = target.servers[0]

    def serving(self, _server: HTTPServer) -> None:
        """One more serves."""
        self._waits_for -= 1
        if self._waits_for or (listening := self._first.listening) is None:
            return
        place = listening.places[0]
        glue = self._first.glue if isinstance(self._first, PreForkServer) else None
        self._send(url=place.url, host=listening.address, port=listening.port or 0, glue=glue)

    def fail(self, error: BaseException) -> None:
        """The server ends with an error. If the program has a report already, the error goes to the log."""
        if not isinstance(error, PreforkError | SystemExit):
            if self._is_sent:
                sys.excepthook(type(error), error, error.__traceback__)
                return
            ready = NeverReady(f"the server could not start: {show(error, repr)}")
            ready.__cause__ = error
            error = ready
        if isinstance(error, SystemExit):
            if self._is_sent:
                return
            ended = f"the server has ended with status {_status(error)} before it was ready; its log has more"
            error = error.__cause__ if isinstance(error.__cause__, PreforkError) else NeverReady(ended)
        if self._is_sent:
            complain(str(error))
            return
        cause = error.__cause__
        kind = next(kind for kind in type(error).__mro__ if getattr(errors, kind.__name__, None) is kind)
        self._send(
            error=str(error),
            kind=kind.__name__,
            traceback="" if cause is None else "".join(traceback.format_exception(cause)),
        )

    def _send(self, **report: object) -> None:
        self._is_sent = True
        message = f"{json.dumps(report)}\n".encode()
        with contextlib.suppress(OSError):  # the program has ended
            while message:
                message = message[os.write(self._sender, message) :]
        os.close(self._sender)


def _serve(application: object, given: Given, caller: int, report: Report) -> None:
    given = from_keywords({"log_level": "warning"}) | given  # each start and end would be a line otherwise
    place, app_options = place_of(application), options_from(AppOptions, given)
    options = serve_options(given)
    begin_log(options)
    set_signals()
    before = look()
    target = loaded(application, app_options, place)
    report.attach(target)
    target.kernel.on_opened(lambda: _end_with(caller, target))
    given = from_keywords(_defaults(target, given)) | given
    serve_target(target, place, given, options, before, on_serving=report.serving)


def _defaults(target: Target, given: Given) -> dict[str, object]:
    """What holds for options that are not given: one worker, a free port, and no second attempt."""
    if len(target.servers) > 1:
        return {}  # they have addresses of their own
    (server,) = target.servers
    options: dict[str, object] = {"bind": "127.0.0.1:0"}
    if isinstance(server, PreForkServer):
        options["boot_failures"] = 1
        if server.options.start_servers and not any(name in given for name in WORKERS_SETS):
            options["workers"] = 1
    return options


def _end_with(caller: int, target: Target) -> None:
    """Has this process end, as by SIGTERM, when the program has."""
    loop = target.kernel.loop

    def end() -> None:
        loop.remove_reader(caller)
        os.kill(os.getpid(), signal.SIGTERM)

    loop.add_reader(caller, end)
