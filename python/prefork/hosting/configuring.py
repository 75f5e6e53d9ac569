"""What an application is served with: the options that apply to it, its static directories, its log.

It must not know flags: each value comes with the name that its source has for the option.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from prefork.config import platforms
from prefork.config.checked import Kind, check, options_of
from prefork.config.options import AppOptions, ServeOptions
from prefork.config.sources import WORKERS_SETS, Given, GivenValue
from prefork.errors import OptionError
from prefork.logs.access_log import check_format
from prefork.logs.formats import set_format
from prefork.logs.handler import install
from prefork.server.environment import passed_sockets

if TYPE_CHECKING:
    from prefork.hosting.target import Target
    from prefork.server.server import HTTPServer
    from prefork.server.service import Service

DEFAULT = {"address": "127.0.0.1", "port": 8000}
EVERYWHERE = "0.0.0.0"


def begin_log(options: ServeOptions) -> None:
    """Once, in the process that starts: its children inherit what is set here. Raises OptionError."""
    set_format(options.log_format)
    if options.log_config is not None:
        from prefork.logs.configuration import configure as configure_log  # here: few need it

        configure_log(options.log_config)


def set_up_log(options: ServeOptions) -> None:
    """If the application has set up logging of its own, that stays. So does `log_config`."""
    logger = logging.getLogger("prefork")
    if options.log_config is None:
        install()
    elif logger.level != logging.NOTSET:
        return
    logger.setLevel(options.log_level.upper())


def mount_static(servers: Iterable[HTTPServer], options: ServeOptions) -> None:
    """Puts the static directories in front of what the servers serve."""
    if options.static:
        from prefork.hosting.static.mounts import mount  # here: it stays in every worker's memory

        for server in servers:
            mount(server, options)


def options_from(kind: type[Kind], given: Given) -> Kind:
    """The options of one kind among the values that were given."""
    names = options_of(kind)
    return check(kind, {name: value for name, (value, _) in given.items() if name in names})


def serve_options(given: Given) -> ServeOptions:
    """The options of the command among the values that were given. Raises OptionError."""
    options = options_from(ServeOptions, given)
    _, source = given.get("access_log_format", (None, "access_log_format"))
    check_format(options.access_log_format, source)
    return options


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
    check_applicable(place, server.service, given)
    configure_server(place, server, given)


def check_applicable(place: str, service: Service, given: Given) -> None:
    """Raises OptionError for an option that this kind of application does not have."""
    of_applications = options_of(AppOptions)
    for name, (_, source) in given.items():
        if name in service.unused_options or (name in of_applications and name not in service.app_options):
            raise OptionError(f"{source} does not apply to {place} ({service.kind})")


def configure_server(
    place: str, server: HTTPServer, given: Given, variables: Mapping[str, str] = os.environ
) -> None:
    """Gives the server the options that are not the application's. Raises OptionError."""
    known, others = options_of(type(server.options)), options_of(AppOptions) | options_of(ServeOptions)
    given = {name: value for name, value in given.items() if name not in others}
    for name, (_, source) in given.items():
        if name not in known:
            raise OptionError(f"{source} needs a PreForkServer; {place} has an HTTPServer, without a pool")
    by_default = defaults(server, given, variables)
    server.configure(**{name: value for name, (value, _) in (by_default | given).items()})


def defaults(server: HTTPServer, given: Given, variables: Mapping[str, str]) -> Given:
    """What holds where neither the code nor a source of options has said it. Raises OptionError."""
    said, found = server.options, {}
    if "listeners" not in given and not said.listeners and said.address is None and said.port is None:
        if passed_sockets():
            found["listeners"] = GivenValue("systemd:", "LISTEN_FDS")
        elif (port := platforms.port(variables)) is not None:
            found |= {"address": GivenValue(EVERYWHERE, "PORT"), "port": GivenValue(port, "PORT")}
        else:
            found |= {name: GivenValue(value, "default") for name, value in DEFAULT.items()}
    known = options_of(type(said))
    unsaid = all(name in known and getattr(said, name) == known[name].default for name in WORKERS_SETS)
    if unsaid and not any(name in given for name in WORKERS_SETS):
        workers = platforms.workers(variables)
        if workers is not None:
            found |= {name: GivenValue(workers, platforms.WEB_CONCURRENCY) for name in WORKERS_SETS}
    return found
