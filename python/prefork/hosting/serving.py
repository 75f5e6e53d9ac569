"""What `prefork serve` does with the values that were given: load the target, configure, announce, run.

It owns the process's log format, its pid file and the line on standard output. It must not know flags: each
value comes with the name that its source has for the option.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator

from prefork.config.options import AppOptions, Kind, ServeOptions, check, options_of
from prefork.config.sources import Given
from prefork.errors import OptionError
from prefork.hosting.target import Target, adopt, load
from prefork.logs.access_log import AccessLog
from prefork.logs.console import say
from prefork.pool.server import PreForkServer
from prefork.server.server import HTTPServer

DEFAULT = {"address": "127.0.0.1", "port": 8000}


def run(target: object, given: Given) -> None:
    """Serves until a signal or the target itself ends it. Raises PreforkError.

    `target` is the place of what to serve, as `module:name`, or that itself.
    """
    serve = pick(ServeOptions, given)
    if serve.chdir is not None:
        os.chdir(serve.chdir)
    about = pick(AppOptions, given)
    place = target if isinstance(target, str) else "the application"
    target = load(target, about) if isinstance(target, str) else adopt(target, about, place)
    configure(place, target, given)
    # Once the target is loaded: if it has set up logging of its own, that stands.
    logging.basicConfig(format="%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s")
    logging.getLogger("prefork").setLevel(serve.log_level.upper())
    for server in target.servers:
        if serve.static:
            from prefork.hosting.static.mounts import mount  # here: it stays in the memory of every worker

            mount(server, serve.static)
        server.on_serving.append(announce)
        if serve.access_log is not None:
            server.on_request_ended.append(AccessLog(serve.access_log))
    with pid_file(serve.pid_file, target):
        target.kernel.run()


def pick(kind: type[Kind], given: Given) -> Kind:
    """The options of one kind among the values that were given."""
    names = options_of(kind)
    return check(kind, {name: value for name, (value, _) in given.items() if name in names})


def configure(place: str, target: Target, given: Given) -> None:
    """Configures the target's server. Raises OptionError if there are several, or it has no such option."""
    general = options_of(ServeOptions)
    given = {name: value for name, value in given.items() if name not in general}
    if len(target.servers) > 1:
        for _, source in given.values():
            names = ", ".join(sorted(map(str, target.servers)))
            raise OptionError(f"{source}: {place} has several servers ({names}); name one, as {place}:name")
        return
    (server,) = target.servers
    known = options_of(type(server.options))
    service, of_applications = server.service, options_of(AppOptions)
    for name, (_, source) in given.items():
        if name in service.unused_options or (name in of_applications and name not in service.app_options):
            raise OptionError(f"{source} does not apply to {place} ({service.kind})")
    given = {name: value for name, value in given.items() if name not in of_applications}
    for name, (_, source) in given.items():
        if name not in known:
            raise OptionError(f"{source} needs a PreForkServer; {place} has an HTTPServer, without a pool")
    if server.options.address is None and server.options.port is None:
        server.configure(**DEFAULT)
    server.configure(**{name: value for name, (value, _) in given.items()})


def announce(server: HTTPServer) -> None:
    """The line on standard output."""
    about = [f"pid {os.getpid()}"]
    if isinstance(server, PreForkServer) and server.options.start_servers:
        about += [f"{server.options.start_servers} workers", f"glue {server.glue}"]
    say(f"prefork: serving {server.url} ({', '.join(about)})")


@contextlib.contextmanager
def pid_file(path: str | None, target: Target) -> Iterator[None]:
    """Has the file name this process from when it serves until it ends. Raises OptionError."""
    if path is None:
        yield
        return
    # Before anything serves; what goes wrong later ends a server that does.
    directory = os.path.dirname(path)
    if not os.path.isdir(directory) or not os.access(directory, os.W_OK | os.X_OK):
        raise OptionError(f"pid file {path} cannot be written: its directory does not exist or is not ours")
    if os.path.isdir(path):
        raise OptionError(f"pid file {path} cannot be written: it is a directory")
    pid = os.getpid()

    def write(_server: HTTPServer) -> None:
        # Renamed into place: whoever sees the file sees it whole.
        whole = f"{path}.{pid}"
        try:
            with open(whole, "w") as file:
                print(pid, file=file)
            os.replace(whole, path)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(whole)
            raise OptionError(f"pid file {path} cannot be written: {error.strerror}") from None

    target.servers[0].on_serving.append(write)
    try:
        yield
    finally:
        # Not if another server has it: this one may have ended because that one holds the port.
        with contextlib.suppress(OSError), open(path) as file:
            if file.read().strip() == str(os.getpid()):
                os.unlink(path)
