"""What an `HTTPServer` takes, also in a pool."""

# ruff: noqa: RUF009  (a field made by `option()` is a dataclass field: instances share nothing)
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from prefork.config.endpoints import Endpoint, endpoints, tcp_or_unix
from prefork.config.option import Group, code_option, option
from prefork.config.options.tls import TlsOptions
from prefork.config.values import (
    GIB,
    KIB,
    LOCAL_PROXIES,
    MIB,
    Hook,
    TrustedProxies,
    address_family,
    boolean,
    byte_size,
    choice,
    directory,
    handlers,
    header_fields,
    hook,
    host,
    integer,
    optional,
    seconds,
    text,
    trusted_proxies,
)
from prefork.errors import OptionError

MAX_QUEUE = 2000
"""The default of `max_queue`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions(TlsOptions):
    """Options of an `HTTPServer`."""

    listeners: tuple[Endpoint, ...] = option(
        Group.LISTENING,
        (),
        endpoints,
        "Address to listen on: host:port, [IPv6]:port, port, unix:/path, unix:@name, fd://number or "
        "systemd:name, with settings as in 0.0.0.0:443,tls or unix:/path,mode=660. Can be repeated.",
        unset="127.0.0.1:8000",
        key="bind",
    )
    address: str | None = code_option(
        Group.LISTENING,
        None,
        optional(host),
        "Host name, IP address or path of a Unix socket to listen on.",
        unset="all IPv6 and IPv4 addresses",
    )
    port: int | None = code_option(
        Group.LISTENING,
        None,
        optional(integer(0, 65535)),
        "TCP port to listen on. 0 picks a free one.",
        unset="a free port",
        rust="service",
    )
    domain: str | None = code_option(
        Group.LISTENING,
        None,
        optional(address_family),
        "Address family: 'inet', 'inet6', 'unix' or a socket.AF_ constant.",
        unset="follows from the address",
    )
    backlog: int = option(
        Group.LISTENING,
        2048,
        integer(1, 65535),
        "Length of the queue of connections to accept, see listen(2).",
    )
    reuse_port: bool = option(
        Group.LISTENING,
        False,
        boolean,
        "Let another server of the same user listen on the same TCP port (SO_REUSEPORT).",
    )
    max_retries: int = option(
        Group.LISTENING,
        5,
        integer(0, 1000),
        "Number of retries, one per second, if the server cannot listen again after STOPLISTEN.",
    )
    max_head: int = option(
        Group.REQUESTS,
        64 * KIB,
        byte_size(KIB, 16 * MIB),
        "Maximum size of a request head: the request line and all header lines.",
        rust="listener.limits.head",
    )
    max_line: int = option(
        Group.REQUESTS,
        16 * KIB,
        byte_size(KIB, 16 * MIB),
        "Maximum length of the request line and of each header line.",
        rust="listener.limits.line",
    )
    max_fields: int = option(
        Group.REQUESTS,
        100,
        integer(1, 10_000),
        "Maximum number of header fields in a request.",
        rust="listener.limits.fields",
    )
    underscores: str = option(
        Group.REQUESTS,
        "drop",
        choice("drop", "reject"),
        "Drop header fields whose name has an underscore, or reject the request.",
        rust="listener.limits.underscore",
    )
    max_body: int = option(
        Group.REQUESTS, GIB, byte_size(0), "Maximum size of a request body.", rust="listener.limits.max_body"
    )
    body_min_rate: int = option(
        Group.REQUESTS,
        240,
        byte_size(0),
        "Respond with 408 if a request body arrives at fewer bytes per second than this. 0 disables.",
        rust="listener",
    )
    max_connections: int = option(
        Group.REQUESTS,
        0,
        integer(0, 1 << 31),
        "Maximum number of open connections of a worker. For a new client, the connection that has idled for "
        "longest is closed; if none idles, the worker accepts no client. 0: as many as it may open files.",
        rust="listener",
    )
    max_connections_per_address: int = option(
        Group.REQUESTS,
        4096,
        integer(0, 65535),
        "Maximum number of open connections of a client address, in all workers together. Of IPv6 addresses "
        "the first 64 bits count. Respond to more with 503. 0 disables. Of --trusted-proxies, and at a Unix "
        "socket, there is no limit.",
        rust="listener",
    )
    max_requests_per_connection: int = option(
        Group.REQUESTS,
        0,
        integer(0, 1 << 31),
        "Close a connection after this many requests. 0 disables.",
        rust="listener",
    )
    max_queue: int = option(
        Group.REQUESTS,
        MAX_QUEUE,
        integer(0, 1 << 20),
        "Maximum number of requests that wait while every worker is busy, those of new clients included. "
        "Respond to more with 503. 0 disables. Of a Unix socket, new clients are limited by --backlog only.",
        rust="listener",
    )
    max_streams: int | None = option(
        Group.REQUESTS,
        None,
        optional(integer(1, 10_000)),
        "Maximum number of requests that a client of HTTP/2 may have open on one connection, WebSockets "
        "included (SETTINGS_MAX_CONCURRENT_STREAMS). One more is refused, and may be tried again.",
        unset="the pool's capacity, 128 to 1024",
        rust="listener",
    )
    spool_above: int = option(
        Group.REQUESTS,
        256 * KIB,
        byte_size(0),
        "Spool request bodies above this size to a temporary file.",
        rust="listener.spool.above_bytes",
    )
    spool_dir: str | None = option(
        Group.REQUESTS,
        None,
        optional(directory),
        "Directory of spooled request bodies.",
        unset="$TMPDIR or /tmp",
        rust="listener.spool.directory",
    )
    keep_alive: bool = option(
        Group.REQUESTS, True, boolean, "Keep connections open between requests.", rust="listener"
    )
    h2c: bool = option(
        Group.REQUESTS,
        False,
        boolean,
        "Serve HTTP/2 without TLS to clients that begin with it (prior knowledge).",
        rust="listener",
    )
    hostname: str | None = option(
        Group.REQUESTS,
        None,
        optional(text),
        "Host name in the URIs of requests.",
        unset="the requested host",
        rust="service",
    )
    proxy_mode: bool = option(
        Group.REQUESTS,
        False,
        boolean,
        "Pass whole request URIs to handlers, as a proxy needs them, and accept CONNECT.",
        rust="service",
    )
    trusted_proxies: TrustedProxies = option(
        Group.PROXIES,
        LOCAL_PROXIES,
        trusted_proxies,
        "Proxies that say who the client is: networks, addresses, `unix`, or `*` for every peer. They have "
        "to set or remove each of the fields. From those of the default, only address and scheme are taken.",
        rust="listener.proxies.trusted",
    )
    forwarded: str = option(
        Group.PROXIES,
        "x-forwarded",
        choice("x-forwarded", "forwarded", "off"),
        "Fields in which they say it: X-Forwarded-For and the like, or Forwarded (RFC 7239). They are "
        "removed from requests of other peers. `off` leaves all of them to the application.",
        rust="listener.proxies.family",
    )
    proxy_protocol: bool = option(
        Group.PROXIES,
        False,
        boolean,
        "Each connection begins with a header of the PROXY protocol, version 1 or 2. Other connections are "
        "refused, and those that do not come from --trusted-proxies.",
        rust="listener",
    )
    header_timeout: float = option(
        Group.TIMEOUTS,
        10.0,
        seconds(0.001),
        "Respond with 408 if the head of a request is not complete after this long.",
        rust="listener",
    )
    keep_alive_timeout: float = option(
        Group.TIMEOUTS,
        75.0,
        seconds(0.001),
        "Close a connection that has been idle for this long.",
        rust="listener",
    )
    request_timeout: float = option(
        Group.TIMEOUTS,
        0.0,
        seconds(0.0),
        "Respond with 504 if the application has not started its response after this long, and replace the "
        "worker if it is stuck. 0 disables.",
        rust="listener",
    )
    send_timeout: float = option(
        Group.TIMEOUTS,
        60.0,
        seconds(0.001),
        "Close the connection if the client reads nothing for this long.",
        rust="listener",
    )
    graceful_timeout: float = option(
        Group.TIMEOUTS,
        30.0,
        seconds(0.0),
        "Time for open requests to end when the server or a worker shuts down. Then connections are closed.",
    )
    request_id: str = option(
        Group.LOGGING,
        "off",
        choice("off", "trusted", "make"),
        "Give each request an id: the application, its response and the logs have it. With `trusted` it is "
        "the X-Request-ID of a proxy of --trusted-proxies, which has to set or remove that field; a request "
        "without one gets one. `make` makes all of them.",
        rust="listener.proxies.naming service.naming",
    )
    debug: bool = option(Group.LOGGING, False, boolean, "Log debug messages, whatever the log level.")
    alias: str = code_option(Group.CODE, "HTTPD", text, "Alias of the server's session.")
    signals: bool = code_option(
        Group.CODE,
        True,
        boolean,
        "Whether the signals that end the process end this server. Otherwise it serves until the run ends, "
        "which it does not keep going: for pages about the process.",
    )
    headers: tuple[tuple[str, str], ...] = code_option(
        Group.CODE,
        (),
        header_fields,
        "Header fields of every response that does not set them itself; also of errors and 101.",
        rust="listener service",
    )
    handlers: tuple[Mapping[str, object], ...] = code_option(
        Group.CODE, (), handlers, "Which session and event handle which paths. The first match wins."
    )
    log_handler: Hook = code_option(
        Group.CODE, None, hook, "Called with (request or None, remote_ip) before the handler."
    )
    log2_handler: Hook = code_option(
        Group.CODE, None, hook, "Called with (request or None, response) after each response."
    )
    setup_handler: Hook = code_option(
        Group.CODE, None, hook, "Called with (port, address) when the server listens."
    )
    closed_handler: Hook = code_option(
        Group.CODE, None, hook, "Called with (port, address) when the server has ended. Not in workers."
    )
    error_handler: Hook = code_option(Group.CODE, None, hook, "Called with (text, remote_ip) on an error.")

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where it listens, by `listeners`, or else by `address`, `port` and `domain`."""
        return self.listeners or (tcp_or_unix(self.address, self.port, self.domain),)

    def normalized(self) -> Self:
        if self.listeners and (self.address, self.port, self.domain) != (None, None, None):
            raise OptionError(
                "listeners and address, port or domain say both where to listen: use one of them"
            )
        TlsOptions.normalized(self)
        return self
