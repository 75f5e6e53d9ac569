"""Every option once: name, type, default, unit and help.

The classes at the end are the list. A constructor reads it by
`check(ServerOptions, values)`; the command line, the environment and the TOML
file read it through `OUTSIDE`, which names the same options as an operator
spells them (`min_spare` for the seed's `min_spare_servers`).

What always holds: an options object is whole and valid, every default filled
in, and is never changed: `changed()` makes the next one.

This file knows nothing of servers, of processes or of where a value was said.
"""

# ruff: noqa: RUF009  (a field made by `option()` is a field: nothing is shared between instances)
from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from prefork.config.values import (
    GIB,
    KIB,
    MIB,
    Endpoint,
    Misfit,
    Reader,
    directory,
    domain,
    endpoint,
    fork_handlers,
    glue,
    handlers,
    header_fields,
    hook,
    maybe,
    mounts,
    one_of,
    output,
    prefix,
    seconds,
    size,
    switch,
    text,
    whole,
)
from prefork.config.values import Hook as Hook
from prefork.errors import OptionError

T = TypeVar("T")
logger = logging.getLogger("prefork")


# What an option is


@dataclass(frozen=True, slots=True)
class Option:
    """One option. `outside` is its name on the command line, in the environment and in TOML, if any."""

    name: str
    reader: Reader[object]
    default: object
    meaning: str
    unit: str
    outside: str | None
    rust: str | None = None
    """The field that takes it in the settings of the native module; `generate/` reads this."""

    @property
    def choices(self) -> tuple[str, ...]:
        """All values, if there are only a few."""
        return self.reader.choices

    @property
    def flag(self) -> str:
        return "--" + (self.outside or self.name).replace("_", "-")

    @property
    def variable(self) -> str:
        return "PREFORK_" + (self.outside or self.name).upper()

    def read(self, value: object, said_as: str) -> object:
        """The value of what was said; `said_as` is how the user knows the option. Raises OptionError."""
        try:
            return self.reader(value)
        except ValueError as expected:
            came = expected.came if isinstance(expected, Misfit) else repr(value)
            raise OptionError(f"{said_as}: expected {expected}, got {came}") from None


def in_code(
    default: T,
    reader: Reader[T],
    meaning: str,
    *,
    unit: str = "",
    outside: str | None = None,
    rust: str | None = None,
) -> T:
    """A field that is an option of the constructors alone."""
    about = Option("", reader, default, meaning, unit, outside, rust)
    # In truth a dataclass field; typed as its value, so that mypy holds default and reader to the annotation.
    return dataclasses.field(default_factory=lambda: default, metadata={"option": about})


def option(
    default: T,
    reader: Reader[T],
    meaning: str,
    *,
    unit: str = "",
    outside: str = "",
    rust: str | None = None,
) -> T:
    """A field that is an option everywhere; `outside` if operators know it by another name."""
    return in_code(default, reader, meaning, unit=unit, outside=outside, rust=rust)


# The options


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the classes below share."""

    def settled(self) -> Self:
        """These options, with what one says about another put right."""
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions(Options):
    """What an `HTTPServer` can be told."""

    alias: str = in_code("HTTPD", text, "the server's name as a session")
    address: str | None = in_code(
        None, maybe(text), "host or IP address, or the path of a Unix socket; None or '::': IPv6 and IPv4"
    )
    port: int | None = in_code(
        None, maybe(whole(0, 65535)), "TCP port; 0 or None: any free one", rust="service"
    )
    domain: str | None = in_code(
        None, maybe(domain), "'inet', 'inet6', 'unix' or a socket.AF_ constant; None: as the address says"
    )
    hostname: str | None = option(
        None,
        maybe(text),
        "name of this host in request URIs; not said: what the client asked for",
        rust="service",
    )
    headers: tuple[tuple[str, str], ...] = in_code(
        (), header_fields, "header fields of every response", rust="service"
    )
    handlers: tuple[Mapping[str, object], ...] = in_code((), handlers, "who answers which path")
    keep_alive: bool = option(True, switch, "keep connections open between requests", rust="listener")
    proxy_mode: bool = option(
        False, switch, "handlers see whole URIs, as the client wrote them", rust="service"
    )
    log_handler: Hook = in_code(None, hook, "told (request or None, remote_ip) before the handler")
    log2_handler: Hook = in_code(None, hook, "told (request or None, response) after the answer")
    setup_handler: Hook = in_code(None, hook, "told (port, address) once listening")
    error_handler: Hook = in_code(None, hook, "told (text, remote_ip) of what went wrong")
    max_retries: int = option(5, whole(0, 1000), "how often a listener that failed is rebuilt")
    debug: bool = option(False, switch, "log what the server does")
    backlog: int = option(2048, whole(1, 65535), "connections the system queues before they are accepted")
    header_timeout: float = option(
        10.0, seconds(0.001), "time for a request's whole head", unit="seconds", rust="listener"
    )
    keep_alive_timeout: float = option(
        75.0, seconds(0.001), "life of an idle connection", unit="seconds", rust="listener"
    )
    request_timeout: float = option(
        0.0,
        seconds(0.0),
        "time to begin an answer, after which it is a 504 and a stuck worker is replaced; 0: any",
        unit="seconds",
        rust="listener",
    )
    body_min_rate: int = option(
        240, size(0), "slowest pace at which a body may come; 0: any", unit="bytes a second", rust="listener"
    )
    send_timeout: float = option(
        60.0,
        seconds(0.001),
        "patience with a client that takes nothing of its answer",
        unit="seconds",
        rust="listener",
    )
    max_body: int = option(
        GIB, size(0), "largest request body", unit="bytes", rust="listener.limits.max_body"
    )
    spool_above: int = option(
        256 * KIB,
        size(0),
        "request bodies above this go to a file",
        unit="bytes",
        rust="listener.spool.above_bytes",
    )
    spool_dir: str | None = option(
        None,
        maybe(directory),
        "where these files are; not said: the system's",
        rust="listener.spool.directory",
    )
    max_head: int = option(
        64 * KIB,
        size(KIB, 16 * MIB),
        "largest request head, in which no line may have over 8k",
        unit="bytes",
        rust="listener.limits.head",
    )
    max_fields: int = option(
        100, whole(1, 10_000), "most header fields in a request", rust="listener.limits.fields"
    )
    underscores: str = option(
        "drop",
        one_of("drop", "reject"),
        "what happens to header names with an underscore: drop or reject",
        rust="listener.limits.underscore",
    )
    graceful_timeout: float = option(
        30.0, seconds(0.0), "time to finish open requests before they are cut", unit="seconds"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PreForkOptions(ServerOptions):
    """What a `PreForkServer` can be told besides."""

    min_spare_servers: int = option(5, whole(0, 65535), "fewest idle workers", outside="min_spare")
    max_spare_servers: int = option(10, whole(0, 65535), "most idle workers", outside="max_spare")
    max_clients: int = option(256, whole(1, 65535), "most workers")
    start_servers: int = option(
        10, whole(0, 65535), "workers to start with; 0: no pool, this process serves", outside="start"
    )
    max_requests_per_child: int = option(
        0, whole(0, 1 << 53), "requests after which a worker is replaced; 0: never", outside="max_requests"
    )
    max_requests_jitter: int = option(
        0, whole(0, 1 << 53), "up to so many requests more, so that workers do not leave together"
    )
    concurrency: int | None = option(
        None,
        maybe(whole(1, 65535)),
        "requests at once that make a worker busy; not said: 1, for ASGI 64, with threads as many",
    )
    ipc_glue: str | None = option(
        None, maybe(glue), "name of the pool for `prefork status`; not said: a unique one", outside="glue"
    )
    fork_handlers: dict[str, str] = in_code({}, fork_handlers, "events called in every new worker, by alias")
    check_spares_interval: float = option(
        1.0, seconds(0.01), "pause between checks for too many idle workers", unit="seconds"
    )
    boot_timeout: float = option(
        60.0, seconds(0.01), "time a new worker has for its fork handlers", unit="seconds"
    )
    prefork_interval: float = option(
        5.0, seconds(0.01), "pause before asking again for shared memory", unit="seconds"
    )
    debug_scoreboard: bool = option(False, switch, "log the scoreboard each second")

    def settled(self) -> Self:
        low, high = self.min_spare_servers, self.max_spare_servers
        if high < low:
            logger.warning("max_spare_servers %d is below min_spare_servers %d: using %d", high, low, low + 1)
            high = low + 1
        start = min(self.start_servers, self.max_clients)
        return dataclasses.replace(self, max_spare_servers=high, start_servers=start)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortForms(Options):
    """What stands for several options of the server; spelled out where it is heard."""

    bind: Endpoint | None = option(
        None, maybe(endpoint), "host:port, [IPv6]:port, port or unix:/path; not said: 127.0.0.1:8000"
    )
    workers: int | None = option(
        None, maybe(whole(1, 65535)), "so many workers, always: sets start, min-spare, max-spare, max-clients"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AppOptions(Options):
    """What the host of a WSGI or ASGI application can be told."""

    interface: str = option(
        "auto",
        one_of("auto", "events", "wsgi", "asgi"),
        "what the target is: events, wsgi or asgi; auto: as it looks",
    )
    factory: bool = option(False, switch, "the target is a function that makes the application")
    threads: int = option(
        1, whole(1, 1024), "threads in which a worker calls a WSGI application; 1: in its only one"
    )
    root_path: str = option(
        "", prefix, "path under which the application is mounted (SCRIPT_NAME, root_path)"
    )
    lifespan: str = option(
        "auto",
        one_of("auto", "on", "off"),
        "startup and shutdown of an ASGI application: on, off or auto (on if it has them)",
    )
    loop: str = option(
        "auto",
        one_of("auto", "asyncio", "uvloop"),
        "loop of an ASGI application: asyncio, uvloop or auto (asyncio, in which the engine waits)",
    )
    ws_max_message: int = option(
        16 * MIB, size(0), "largest message of a WebSocket client", unit="bytes", rust="websocket.max_message"
    )
    ws_ping_interval: float = option(
        20.0,
        seconds(0.0),
        "pause between pings to a WebSocket client; 0: none",
        unit="seconds",
        rust="websocket.ping_interval",
    )
    ws_ping_timeout: float = option(
        20.0,
        seconds(0.001),
        "patience with a WebSocket client that is silent after a ping",
        unit="seconds",
        rust="websocket.ping_timeout",
    )
    ws_deflate: bool = option(
        True,
        switch,
        "compress WebSocket messages if the client can (permessage-deflate)",
        rust="websocket.deflate",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions(Options):
    """What `prefork serve` itself can be told."""

    log_level: str = option(
        "info",
        one_of("debug", "info", "warning", "error", "critical"),
        "least important log lines to show: debug, info, warning, error or critical",
    )
    static: tuple[tuple[str, str], ...] = option(
        (), mounts, "/prefix=directory: files served in front of the application; may be said several times"
    )
    access_log: str | None = option(None, maybe(output), "file for a line a request; -: standard output")
    pid_file: str | None = option(None, maybe(output), "file that names the process while it runs")
    chdir: str | None = option(None, maybe(directory), "directory to go to before the target is loaded")


Kind = TypeVar("Kind", bound=Options)


def options_of(kind: type[Options]) -> dict[str, Option]:
    """The options of a class by name, in the order of the list."""
    found = {}
    for field in dataclasses.fields(kind):
        about: Option = field.metadata["option"]
        outside = field.name if about.outside == "" else about.outside
        found[field.name] = dataclasses.replace(about, name=field.name, outside=outside)
    return found


OUTSIDE: dict[str, Option] = {
    about.outside: about
    for kind in (ShortForms, ServeOptions, AppOptions, PreForkOptions)
    for about in options_of(kind).values()
    if about.outside is not None
}


def check(kind: type[Kind], values: Mapping[str, object]) -> Kind:
    """The options these values say, defaults filled in.

    Raises OptionError for an unknown name or a value that cannot be used.
    """
    known = options_of(kind)
    read: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            raise OptionError(_unknown(name, known, kind))
        read[name] = known[name].read(value, f"option {name}")
    return kind(**read).settled()


def changed(options: Kind, values: Mapping[str, object]) -> Kind:
    """The same options where `values` say nothing else. Raises OptionError as `check` does."""
    said = {name: getattr(options, name) for name in options_of(type(options))}
    return check(type(options), said | dict(values))


def near(name: str, names: Iterable[str]) -> str:
    """A hint at what a misspelled name may have been, or nothing."""
    import difflib  # here, not in the memory of every worker

    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _unknown(name: str, known: Mapping[str, Option], kind: type) -> str:
    if kind is ServerOptions and name in options_of(PreForkOptions):
        return f"option {name} needs a PreForkServer, this is an HTTPServer: it has no pool"
    if name in OUTSIDE and OUTSIDE[name].name in known:
        return f"unknown option {name!r}; in code it is {OUTSIDE[name].name!r}"
    return f"unknown option {name!r}{near(name, known)}"
