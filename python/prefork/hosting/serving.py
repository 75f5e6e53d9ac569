"""What `prefork.run` and `prefork serve` do: load the target, configure its server, run its kernel.

Owns the process's log format and the line on standard output. It must not know flags: each value comes with
the name that its source has for the option.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack

from prefork.config.options import AppOptions, ServeOptions
from prefork.config.sources import from_keywords
from prefork.errors import OptionError, PreforkError, TargetError
from prefork.hosting.configuring import (
    begin_log,
    configure,
    mount_static,
    options_from,
    serve_options,
    set_up_log,
)
from prefork.hosting.fork_safety import look, warn_of_unsafe
from prefork.hosting.molded import MoldedApplication, molded, why_out_of_reach
from prefork.hosting.pid_file import PidFile, pid_file
from prefork.hosting.target import Target, add_to_path, load, split, target_of
from prefork.kernel.fork_hooks import (
    handles_signals,
    kernel_runs,
    restore_default,
    restore_in_children,
    restore_signals,
)
from prefork.kernel.forking import exit_at_once
from prefork.kernel.patches import refuse_patches
from prefork.logs.access_log import access_log, directory_of
from prefork.logs.console import announce, complain, open_missing
from prefork.logs.escaping import show
from prefork.logs.handler import uninstall
from prefork.pool.command import Command, this_command
from prefork.pool.privileges import Privileges, asked_for
from prefork.pool.server import PreForkServer
from prefork.pool.spawner import NotMolded
from prefork.server.environment import SUCCEEDS
from prefork.server.listener import SocketDefaults
from prefork.server.server import HTTPServer
from prefork.server.startup import AGAIN_S

if TYPE_CHECKING:
    from prefork.config.keywords import RunKeywords
    from prefork.config.sources import Given
    from prefork.hosting.dev.development import Development
    from prefork.hosting.fork_safety import Before
    from prefork.pool.predecessor import Predecessor

logger = logging.getLogger("prefork.server")

OF_GUNICORN = "gunicorn.conf.py"
"""gunicorn reads it in the current directory without being asked."""

LAST_S = 2.0
"""How long a process that has stopped may still run after a further signal."""


def run(application: Any, **options: Unpack[RunKeywords]) -> None:
    """Serves a WSGI or ASGI application, a server or a Kernel until a signal ends it.

    `application` is the object itself, or its place as `prefork serve` takes it: `"module:app"`. The options
    are those of the command line, with underscores: `run(app, bind="0.0.0.0:8000", workers=4)`. Raises
    PreforkError.
    """
    try:
        serve(application, from_keywords(options))
    finally:
        with contextlib.suppress(ValueError):  # as in `set_signals`
            restore_signals()


def serve(
    application: object,
    given: Given,
    gather: Callable[[], Given] | None = None,
    files: Sequence[str] = (),
    development: Development | None = None,
) -> None:
    """Serves until a signal or the application itself ends it. Raises PreforkError.

    `gather()` reads the values again, for a reload. `files` are those that have been read. `development` is
    what `prefork dev` adds.
    """
    open_missing()
    command, channel = this_command(), os.environ.pop(SUCCEEDS, None)
    if channel is None:
        begin(application, given, gather, files, command, None, development)
        return
    from prefork.pool.predecessor import find_predecessor  # here: an ordinary start has none

    former = find_predecessor(channel)
    try:
        begin(application, given, gather, files, command, former, development)
    except BaseException as error:
        former.fail(reason(error))
        raise


def reason(error: BaseException) -> str:
    """Why this process ends, for the manager whose place it was to take."""
    cause = error.__cause__ if isinstance(error, SystemExit) else error
    if isinstance(cause, PreforkError):
        return show(cause)
    return f"the new process ends: {show(error, repr)}"


def begin(
    application: object,
    given: Given,
    gather: Callable[[], Given] | None,
    files: Sequence[str],
    command: Command,
    former: Predecessor | None,
    development: Development | None,
) -> None:
    """As `serve`; `former` is the manager whose place this process takes. Raises PreforkError."""
    options = serve_options(given)
    privileges = prepare(application, options)
    set_signals()
    server, out_of_reach = None, ""
    if isinstance(application, str):
        out_of_reach = why_out_of_reach(application, privileges)
        server = molded(
            application,
            given,
            gather,
            out_of_reach=out_of_reach,
            is_successor=former is not None,
            kind=MoldedApplication if development is None else development.make_application,
        )
    if server is not None:
        set_up_log(options)
        server.command, server.predecessor = command, former
        server.on_serving.append(partial(name_files, files))
        watch_files(server, application, options, files, development)
        try:
            target = Target(server.kernel, [server])
            run_target(target, options, privileges, is_successor=former is not None)
            return
        except NotMolded:
            refuse_program(former)
            uninstall()
            set_signals()
    refuse_program(former)
    if options.reload or development is not None:
        raise OptionError(
            "only an application that a process of its own loads is loaded again when its files change; this "
            "target is a program or an object, has no pool (start 0), or is served with --chroot"
        )
    serve_here(application, given, files, options, privileges, out_of_reach)


def prepare(application: object, options: ServeOptions) -> Privileges | None:
    """Has the process be as the target is to find it. Returns what is given up later. Raises OptionError."""
    if options.chdir is not None:
        os.chdir(options.chdir)
    if options.umask is not None:
        os.umask(options.umask)
    if isinstance(application, str) and options.log_config is not None:
        add_to_path(split(application)[0])  # it may name what is beside the application
    begin_log(options)
    privileges = asked_for(options)
    if options.tls_reload_as_root and (privileges is None or os.geteuid() != 0):
        raise OptionError("tls_reload_as_root is for a server that root starts with --user or --chroot")
    return privileges


def name_files(files: Sequence[str], _server: HTTPServer) -> None:
    """Says in the log where options come from: a file may have been found by itself, or left alone."""
    if files:
        logger.info("options are read from %s", " and ".join(files))
    elif os.path.exists(OF_GUNICORN):
        logger.info("%s is not read; `prefork import-config %s` converts it", OF_GUNICORN, OF_GUNICORN)


def watch_files(
    server: PreForkServer,
    target: object,
    options: ServeOptions,
    files: Sequence[str],
    development: Development | None,
) -> None:
    """Has the application loaded again when its files change, or those that options were read from, if that
    is wanted. Raises OptionError.
    """
    if development is not None:
        development.prepare(server, options)
    if options.reload:
        from prefork.hosting.reloading.reloader import (
            attach_reloader,  # here: a server of the public has none
        )

        restarts = development is not None
        attach = attach_reloader(server, str(target), options, files, restarts=restarts)
        server.own_attachments.append(attach)


def refuse_program(former: Predecessor | None) -> None:
    """Raises TargetError if this process is to take the place of a manager."""
    if former is not None:
        raise TargetError(
            "the target is a program now, or has no pool: it cannot take the place of another server; "
            "restart it"
        )


def serve_here(
    application: object,
    given: Given,
    files: Sequence[str],
    options: ServeOptions,
    privileges: Privileges | None,
    out_of_reach: str,
) -> None:
    """Loads the target into this process, and serves it. `out_of_reach` is why a mold could not have loaded
    it. Raises PreforkError.
    """
    place = place_of(application)
    before = look()
    target = loaded(application, options_from(AppOptions, given), place)
    target.servers[0].on_serving.append(partial(name_files, files))
    serve_target(target, place, given, options, before, privileges, out_of_reach)


def place_of(application: object) -> str:
    """What the target is called in errors."""
    return application if isinstance(application, str) else "the application"


def serve_target(
    target: Target,
    place: str,
    given: Given,
    options: ServeOptions,
    before: Before,
    privileges: Privileges | None = None,
    out_of_reach: str = "",
    on_serving: Callable[[HTTPServer], object] | None = None,
) -> None:
    """Serves what this process has loaded. `before` is what it had before that. `on_serving` is called with
    each server that serves; None: its address is printed. Raises PreforkError.
    """
    app_options = options_from(AppOptions, given)
    refuse_patches(place)
    configure(place, target, given)
    mount_static(target.servers, options)
    if not has_pool(target):
        give_hangup_back()
    # Last: if the target has set up logging of its own, that stays.
    set_up_log(options)
    warm_up(target, app_options)
    if has_pool(target):
        warn_of_unsafe(before, threads=False)  # those are named at the first fork
        if out_of_reach and "preload" in target.servers[0].service.app_options:
            logger.warning("new code takes a restart, because only root can load it: %s", out_of_reach)
    target.kernel.is_immortal = options.immortal
    run_target(target, options, privileges, on_serving=on_serving)


def run_target(
    target: Target,
    options: ServeOptions,
    privileges: Privileges | None,
    *,
    is_successor: bool = False,
    on_serving: Callable[[HTTPServer], object] | None = None,
) -> None:
    """Runs the kernel of the target. Raises PreforkError, and NotMolded if it cannot be served like that."""
    # The pid file first: it is there when the address is printed.
    with pid_file(options.pid_file, target.servers[0], is_successor=is_successor) as file:
        for server in target.servers:
            server.socket_defaults = SocketDefaults(umask=options.umask)
            server.on_serving.append(on_serving or print_address)
        if privileges is None:
            open_logs(target, options)
        else:
            # Behind the sockets of every server. What is opened later is opened by the new user.
            become(privileges, target, options, file)
        target.kernel.keeps_signals = True
        try:
            target.kernel.run()
        finally:
            if target.kernel.keeps_signals:
                set_last_signals()


def loaded(application: object, app_options: AppOptions, place: str) -> Target:
    """The target, loaded into this process. Raises TargetError."""
    if not isinstance(application, str):
        return target_of(application, app_options, place)
    pid = os.getpid()
    try:
        target = load(application, app_options)
    except SystemExit as error:
        if os.getpid() != pid:
            raise
        raise TargetError(f"it ended while it was loaded: SystemExit: {show(error)}") from None
    if os.getpid() != pid:  # its parent serves
        complain(f"a child that {place} forked while it was loaded ends here")
        exit_at_once(0)
    return target


def has_pool(target: Target) -> bool:
    """Whether workers are forked."""
    return any(isinstance(one, PreForkServer) and one.options.start_servers for one in target.servers)


def warm_up(target: Target, options: AppOptions) -> None:
    """Warms the application, if workers share what that makes. Raises OptionError and TargetError."""
    if not has_pool(target):
        if options.warm or options.mold_ready is not None:
            logger.warning("start_servers is 0, so no process is forked: --warm, --mold-ready have no effect")
        return
    from prefork.hosting.warming import warm  # here, not in the memory of every worker

    warm(target.servers[0].service, options)


def open_logs(target: Target, options: ServeOptions) -> None:
    """Opens the access log. Raises OptionError."""
    if options.access_log is not None:
        log = access_log(options.access_log, options.access_log_format, options.access_log_skip)
        directory = directory_of(options.access_log)
        for server in target.servers:
            server.access_logs.append(log)
            if isinstance(server, PreForkServer) and directory is not None:
                server.log_directories.append(directory)


def become(privileges: Privileges, target: Target, options: ServeOptions, pid: PidFile | None) -> None:
    """Has the process give its privileges up, when its sockets are open and its keys are read."""

    def give_up() -> None:
        if pid is not None:
            pid.keep()
        certificates = [server.certificates for server in target.servers if server.certificates is not None]
        if options.tls_reload_as_root:
            if not certificates:
                raise OptionError("tls_reload_as_root: there is no certificate (tls_cert)")
            for one in certificates:
                one.read_as_root()
        privileges.give_up()
        for one in certificates:
            one.rights_given_up()
        open_logs(target, options)

    user, group = (None if one is None else str(one) for one in (privileges.uid, privileges.gid))
    for server in target.servers:
        server.socket_defaults = server.socket_defaults._replace(user=user, group=group)
    target.kernel.on_start(give_up)


@handles_signals
def _end_at_once(signum: int, _frame: object) -> None:
    """Nothing is open yet, or some sockets are, which the end of the run closes.

    A server that runs has handlers of its own. But a handler of the application may call this one, which it
    has found.
    """
    if not kernel_runs():
        exit_at_once(0)
    if signal.getsignal(signum) is _end_at_once:
        raise SystemExit(0)


_hangups: list[int] = []


@handles_signals
def _note_hangup(signum: int, _frame: object) -> None:
    _hangups.append(signum)


def give_hangup_back() -> None:
    """Without a pool SIGHUP has its default action, also if it has come already."""
    if signal.getsignal(signal.SIGHUP) is _note_hangup:
        restore_default(signal.SIGHUP)
        if _hangups:
            signal.raise_signal(signal.SIGHUP)


AT_START = (
    # As PID 1 it would not hear TERM and QUIT: the system drops a signal to PID 1 that has no handler.
    (signal.SIGTERM, (signal.SIG_DFL, signal.SIG_IGN), _end_at_once),
    (signal.SIGQUIT, (signal.SIG_DFL, signal.SIG_IGN), _end_at_once),
    # A shell starts a job in the background with INT ignored.
    (signal.SIGINT, (signal.SIG_IGN,), _end_at_once),
    # It would replace the workers, and there is none yet: `systemctl reload` must not end the server.
    (signal.SIGHUP, (signal.SIG_DFL,), _note_hangup),
    # If it is ignored, the system keeps no exit status, of a worker or of the application's children.
    (signal.SIGCHLD, (signal.SIG_IGN,), signal.SIG_DFL),
)
"""What is set before the target is loaded: a signal, the handlers that are replaced, and by what."""


def set_signals() -> None:
    """Has the process hear the signals that end it while the target is loaded, whatever it has inherited."""
    restore_in_children()
    with contextlib.suppress(ValueError):  # off the main thread no signal can be handled
        for signum, former, handler in AT_START:
            if signal.getsignal(signum) in former:
                signal.signal(signum, handler)


@handles_signals
def _end_soon(_signum: int, _frame: object) -> None:
    end_soon()


def end_soon() -> None:
    """What the application still does, in threads and `atexit` functions, may take LAST_S from now on."""
    if signal.getsignal(signal.SIGALRM) is not _end_late:
        signal.signal(signal.SIGALRM, _end_late)
        signal.setitimer(signal.ITIMER_REAL, LAST_S, AGAIN_S)


@handles_signals
def _end_late(_signum: int, _frame: object) -> None:
    exit_at_once(0)


def set_last_signals() -> None:
    """Has a signal that asks the process to end limit the time for the rest of that end."""
    with contextlib.suppress(ValueError):  # as in `set_signals`
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(signum, _end_soon)


def print_address(server: HTTPServer) -> None:
    """Prints the line that shows where the server listens."""
    about = [f"pid {os.getpid()}"]
    if isinstance(server, PreForkServer) and server.options.start_servers:
        about += [f"{server.options.start_servers} workers", f"glue {server.glue}"]
    announce(f"serving {server.url} ({', '.join(about)})")
