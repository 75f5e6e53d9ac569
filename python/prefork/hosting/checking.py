"""What `prefork check` and `prefork config` do: load what `prefork serve` would, and serve nothing.

Always: no socket is opened, no process is forked, and no file is written but what the application writes when
it is loaded and the log when it is configured.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from prefork.config.checked import EXTERNAL, options_of
from prefork.config.option import Option, Options
from prefork.config.options import AppOptions, PreForkOptions, ServeOptions, ServerOptions
from prefork.errors import OptionError
from prefork.hosting.configuring import (
    check_applicable,
    configure,
    configure_server,
    defaults,
    mount_static,
    options_from,
    serve_options,
)
from prefork.hosting.molded import read_options, why_out_of_reach
from prefork.hosting.pid_file import pid_file
from prefork.hosting.serving import end_soon, loaded, prepare
from prefork.kernel.kernel import Kernel
from prefork.kernel.patches import refuse_patches
from prefork.logs.access_log import check_file
from prefork.pool.server import PreForkServer
from prefork.pool.worker_hooks import WorkerHooks, load_hook
from prefork.server.certificates import Certificates
from prefork.server.proxies import VARIABLE, trusted_proxies
from prefork.server.server import HTTPServer

if TYPE_CHECKING:
    from prefork.config.sources import Given
    from prefork.hosting.target import Target
    from prefork.pool.privileges import Privileges

CODE = "code"
DEFAULT = "default"
ADJUSTED = "follows from others"
ORDER = {key: index for index, key in enumerate(EXTERNAL)}


class Effective(NamedTuple):
    """An option as it holds."""

    option: Option
    value: object
    source: str
    """What has said it: the name that its source has for the option, CODE, DEFAULT or ADJUSTED."""


# prefork check


def check(place: str, given: Given) -> list[HTTPServer]:
    """Loads a target and all that it would be served with. Returns its servers. Raises what `serve` would
    raise.
    """
    options = serve_options(given)
    privileges = prepare(place, options)
    target = _load(place, given)
    configure(place, target, given)
    mount_static(target.servers, options)
    for server in target.servers:
        _check_server(server)
        if "preload" in server.service.app_options:
            _check_application(place, given, privileges)
    if options.pid_file is not None:
        with pid_file(options.pid_file, target.servers[0]):
            pass  # only a server that serves writes it
    if options.access_log is not None and privileges is None:
        check_file(options.access_log)
    end_soon()  # threads of the application may not keep this process
    return target.servers


def describe(server: HTTPServer) -> str:
    """What a server would serve, and where."""
    options = server.options
    workers = options.start_servers if isinstance(options, PreForkOptions) else 0
    pool = f"{workers} worker{'s' * (workers != 1)}" if workers else "no pool"
    return f"{server.service.kind}, {pool}, {' and '.join(map(str, options.endpoints))}"


def _load(place: str, given: Given) -> Target:
    target = loaded(place, options_from(AppOptions, given), place)
    refuse_patches(place)
    return target


def _check_server(server: HTTPServer) -> None:
    options = server.options
    trusted_proxies(options)
    if options.certificates:
        Certificates(options)
    if isinstance(options, PreForkOptions):
        WorkerHooks(options)
        if options.sandbox != "off":
            from prefork.pool.sandbox import Sandbox  # here: few servers have it

            Sandbox(options, ())


def _check_application(place: str, given: Given, privileges: Privileges | None) -> None:
    application = read_options(place, given).of_application
    out_of_reach = why_out_of_reach(place, privileges)
    if out_of_reach and not application.preload:
        raise OptionError(f"no_preload: no worker could load the application: {out_of_reach}")
    if application.mold_ready is not None:
        load_hook("mold_ready", application.mold_ready)


# prefork config


def effective(place: str | None, given: Given, variables: Mapping[str, str]) -> list[Effective]:
    """The options that hold for a target, or without one for an application. `variables` is the environment.

    Raises what `serve` would raise.
    """
    general = serve_options(given)
    if place is None:
        server: HTTPServer = PreForkServer(Kernel())
    else:
        prepare(place, general)
        target = _load(place, given)
        if len(target.servers) > 1:
            raise OptionError(f"{place} has several servers; name one, as {place}:name")
        (server,) = target.servers
        check_applicable(place, server.service, _of_server(given))
    of_code = server.options
    said = defaults(server, given, variables) | given
    configure_server(place or "an application", server, given, variables)
    found = []
    for holder in (server.options, options_from(AppOptions, given), general):
        for name, option in options_of(type(holder)).items():
            is_of_app = isinstance(holder, AppOptions) and place is not None
            if option.key is not None and (not is_of_app or name in server.service.app_options):
                found.append(_effective(option, holder, of_code, said, variables))
    return sorted(found, key=lambda one: ORDER[str(one.option.key)])


def _of_server(given: Given) -> Given:
    general = options_of(ServeOptions)
    return {name: value for name, value in given.items() if name not in general}


def _effective(
    option: Option, holder: Options, of_code: ServerOptions, said: Given, variables: Mapping[str, str]
) -> Effective:
    name, value = option.name, getattr(holder, option.name)
    source = said[name].source if name in said else DEFAULT
    if name == "listeners" and isinstance(holder, ServerOptions):
        value = holder.endpoints
        if name not in said:
            source = said["port"].source if "port" in said else CODE
    elif name == "trusted_proxies" and isinstance(holder, ServerOptions):
        value = trusted_proxies(holder, variables)
        if value != getattr(holder, name):
            return Effective(option, value, VARIABLE)
    if source == DEFAULT and name != "listeners" and value != option.default:
        source = CODE if getattr(of_code, name, option.default) != option.default else ADJUSTED
    return Effective(option, value, source)
