"""Every option once: its name, group, default, type and meaning.

`checked.py` reads them. `make generate` writes `docs/options.md` and the settings of the native module from
this file.

Always: an options object is complete and valid, and never changes. `changed()` makes another one.

This file must not know servers, processes or where a value was given.
"""

# ruff: noqa: RUF009  (a field made by `option()` is a dataclass field: instances share nothing)
from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from prefork.config.access_log import skipped_paths
from prefork.config.endpoints import (
    Endpoint,
    Kind,
    admin_endpoints,
    datagram_endpoint,
    endpoints,
    tcp_or_unix,
)
from prefork.config.log import log_configuration, metric_prefix
from prefork.config.machine import computed_workers, read_machine
from prefork.config.option import Group, code_option, option
from prefork.config.sandbox import check_sandbox, ports, writable_paths
from prefork.config.static_files import TO_APPLICATION, fallbacks, lifetimes, mounts
from prefork.config.tls import (
    check_together,
    ciphers,
    input_file,
    input_files,
    key_and_certificate,
    protocols,
    version,
)
from prefork.config.values import (
    AUTO,
    GIB,
    KIB,
    LOCAL_PROXIES,
    MIB,
    TrustedProxies,
    address_family,
    boolean,
    byte_size,
    choice,
    control_socket,
    directory,
    fork_handlers,
    function,
    group_name,
    handlers,
    header_fields,
    hook,
    host,
    integer,
    integer_or_auto,
    optional,
    output_file,
    page,
    pages,
    path_prefix,
    permissions,
    pool_name,
    seconds,
    share,
    text,
    trusted_proxies,
    user_name,
)
from prefork.config.values import Hook as Hook
from prefork.config.values import WorkerHook as WorkerHook
from prefork.errors import OptionError

logger = logging.getLogger("prefork")

MAX_QUEUE = 2000
"""The default of `max_queue`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Base of the classes below."""

    def normalized(self) -> Self:
        """These options, with those adjusted that depend on others."""
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions(Options):
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
    tls_cert: tuple[str, ...] = option(
        Group.TLS,
        (),
        input_files,
        "File of the server's certificate and of those between it and a root, as PEM. Serves https. Can be "
        "repeated: the name that a client asks for decides, and without a match the first one is used.",
    )
    tls_key: tuple[str, ...] = option(
        Group.TLS,
        (),
        input_files,
        "File of the private key, as PEM. Can be repeated, once for each certificate.",
        unset="the file of --tls-cert",
    )
    tls_key_password_file: str | None = option(
        Group.TLS, None, optional(input_file), "File of the password of encrypted keys (PKCS#8)."
    )
    tls_min_version: str = option(Group.TLS, "1.2", version, "Lowest version of TLS.")
    tls_ciphers: tuple[str, ...] = option(
        Group.TLS,
        (),
        ciphers,
        "Ciphers to offer, by the names of OpenSSL or IANA, with colons or commas between them.",
        unset="all that are safe",
    )
    tls_alpn: tuple[str, ...] = option(
        Group.TLS,
        (),
        protocols,
        "Protocols to offer by ALPN, the best one first. h2 is HTTP/2.",
        unset="h2,http/1.1",
    )
    tls_client_ca: str | None = option(
        Group.TLS,
        None,
        optional(input_file),
        "File of the certificates that those of clients must follow from, as PEM.",
    )
    tls_client_auth: str | None = option(
        Group.TLS,
        None,
        optional(choice("none", "optional", "required")),
        "Whether clients must have a certificate.",
        unset="required with --tls-client-ca, else none",
    )
    tls_client_crl: str | None = option(
        Group.TLS,
        None,
        optional(input_file),
        "File of lists of revoked certificates of clients, as PEM. There must be a list of each issuer.",
    )
    redirect_http: tuple[Endpoint, ...] = option(
        Group.TLS,
        (),
        endpoints,
        "Another address to listen on, for clients without TLS: they are redirected to https. Can be "
        "repeated.",
    )
    acme_dir: str | None = option(
        Group.TLS,
        None,
        optional(directory),
        "Directory of the files below /.well-known/acme-challenge/ at the address of --redirect-http.",
    )
    ssl_key_cert: tuple[str, str] | None = code_option(
        Group.TLS,
        None,
        optional(key_and_certificate),
        "The files of a private key and of its certificate, as PEM; another form of tls_key and tls_cert.",
    )
    ssl_intermediate_ca_cert: str | None = code_option(
        Group.TLS,
        None,
        optional(input_file),
        "File of the certificates between that of ssl_key_cert and a root, as PEM.",
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

    @property
    def certificates(self) -> tuple[tuple[str, str], ...]:
        """The files of each certificate and its key; empty without TLS."""
        if self.ssl_key_cert is not None:
            key, certificate = self.ssl_key_cert
            return ((certificate, key),)
        return tuple(zip(self.tls_cert, self.tls_key or self.tls_cert, strict=True))

    @property
    def client_auth(self) -> str:
        """Whether clients must have a certificate: none, optional or required."""
        return self.tls_client_auth or ("required" if self.tls_client_ca else "none")

    def normalized(self) -> Self:
        if self.listeners and (self.address, self.port, self.domain) != (None, None, None):
            raise OptionError(
                "listeners and address, port or domain say both where to listen: use one of them"
            )
        check_together({field.name: getattr(self, field.name) for field in dataclasses.fields(self)})
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class PreForkOptions(ServerOptions):
    """Options of a `PreForkServer`."""

    min_spare_servers: int = option(
        Group.POOL, 5, integer(0, 65535), "Minimum number of spare workers.", key="min_spare"
    )
    max_spare_servers: int = option(
        Group.POOL, 10, integer(0, 65535), "Maximum number of spare workers.", key="max_spare"
    )
    max_clients: int = option(
        Group.POOL,
        256,
        integer_or_auto(1, 65535),
        "Maximum number of workers. `auto` computes it from the CPUs and the memory that it may use.",
    )
    start_servers: int = option(
        Group.POOL,
        10,
        integer(0, 65535),
        "Number of workers at start. 0 serves in this process, without a pool.",
        key="start",
    )
    max_requests_per_child: int = option(
        Group.POOL,
        0,
        integer(0, 1 << 53),
        "Replace a worker after this many requests. 0 disables.",
        key="max_requests",
    )
    max_requests_jitter: int = option(
        Group.POOL,
        0,
        integer(0, 1 << 53),
        "Add a random number up to this to --max-requests, so that workers are not replaced all at once.",
    )
    refork_after: int = option(
        Group.POOL,
        0,
        integer(0, 1 << 53),
        "Have a worker that has served this many requests become the process that forks the others, so that "
        "they share what it has made. 0 disables.",
    )
    rollout: float = option(
        Group.POOL,
        0.0,
        share(),
        "Share of the workers that a reload replaces at once, and at least one.",
    )
    canary: float = option(
        Group.POOL,
        0.0,
        share(),
        "Share of the workers that a reload replaces first, and at least one. The others follow if these "
        "serve as well. 0% disables.",
    )
    canary_window: float = option(
        Group.POOL,
        60.0,
        seconds(1.0),
        "Time for which the workers of --canary are compared with the others.",
    )
    canary_max_errors: float = option(
        Group.POOL,
        0.01,
        share(),
        "Roll a reload back if the share of responses with status 5xx of the workers of --canary is greater "
        "than that of the others by more than this.",
    )
    canary_max_slowdown: float = option(
        Group.POOL,
        0.5,
        share(100.0),
        "Roll a reload back if the median or the 90th percentile of the response time of the workers of "
        "--canary is longer than that of the others by more than this.",
    )
    max_age: float = option(
        Group.POOL,
        0.0,
        seconds(0.0),
        "Replace a worker after this long, or up to a tenth of it earlier. 0 disables.",
    )
    max_memory: int = option(
        Group.POOL,
        0,
        byte_size(0),
        "Replace a worker that uses more memory than this, or up to a tenth less. Of memory that workers "
        "share, each uses a part. 0 disables.",
    )
    max_pool_memory: int = option(
        Group.POOL,
        0,
        byte_size(0),
        "Keep no surplus spare workers, and replace the largest worker, while all workers together use more "
        "memory than this. 0 disables.",
    )
    memory_pressure: float | None = option(
        Group.POOL,
        None,
        optional(share()),
        "Keep no surplus spare workers while this share of time is lost to a lack of memory (PSI), or "
        "the cgroup reaches its memory.high. 0 disables.",
        unset="10%",
    )
    concurrency: int | None = option(
        Group.POOL,
        None,
        optional(integer(1, 65535)),
        "Number of concurrent requests with which a worker is no longer spare.",
        unset="1; ASGI: 64; WSGI: --threads",
    )
    ipc_glue: str | None = option(
        Group.POOL,
        None,
        optional(pool_name),
        "Name of the pool, for `prefork status`.",
        unset="a unique name",
        key="glue",
    )
    control_socket: str | None = option(
        Group.POOL,
        None,
        optional(control_socket),
        "Unix socket for `prefork scale`, `stop` and the other commands that change a running pool. `off` is "
        "none.",
        unset="in the run directory of the user",
    )
    admin: tuple[Endpoint, ...] = option(
        Group.POOL,
        (),
        admin_endpoints,
        "Address at which the manager shows the pool, over HTTP: 127.0.0.1:9900, [::1]:9900 or unix:/path, "
        "which only the user may use unless mode=660 or the like follows. Nothing can be changed there. Can "
        "be repeated.",
        unset="none",
    )
    admin_token_file: str | None = option(
        Group.POOL,
        None,
        optional(input_file),
        "File of a token that clients of --admin have to send (Authorization: Bearer), but for those of a "
        "Unix socket. An address that other machines reach needs it. It is the first line of a client of "
        "--agent-check.",
    )
    agent_check: tuple[Endpoint, ...] = option(
        Group.POOL,
        (),
        admin_endpoints,
        "Address at which the manager tells load balancers how much work to send here, as HAProxy's agent "
        "check wants it: 127.0.0.1:9901, [::1]:9901 or unix:/path. Can be repeated.",
        unset="none",
    )
    statsd: Endpoint | None = option(
        Group.LOGGING,
        None,
        optional(datagram_endpoint),
        "StatsD server to send the figures of the pool to each second, with the names that gunicorn gives "
        "them: host:port or unix:/path.",
        unset="none",
    )
    statsd_prefix: str = option(
        Group.LOGGING,
        "",
        metric_prefix,
        "What the names of --statsd begin with, in front of a dot.",
        unset="none",
    )
    fork_handlers: dict[Any, str] = code_option(
        Group.CODE, {}, fork_handlers, "Events to call in every new worker, by session alias."
    )
    worker_start: WorkerHook = option(
        Group.PROCESS,
        None,
        optional(function),
        "Function to call in each new worker, before the application starts up: `pid`.",
    )
    worker_exit: WorkerHook = option(
        Group.PROCESS,
        None,
        optional(function),
        "Function to call in a worker that exits, after its last request: `pid`.",
    )
    worker_died: WorkerHook = option(
        Group.PROCESS,
        None,
        optional(function),
        "Function to call in the manager when a worker has ended: `pid`, `status` (negative for a signal).",
    )
    sandbox: str = option(
        Group.PROCESS,
        "off",
        choice("off", "on", "required"),
        "Take from each worker what serving does not need, before the application starts up in it: to change "
        "files and to connect, but for what the next two options name, to signal other processes, and some "
        "system calls. `on` takes what the kernel can, `required` refuses to start without all of it.",
    )
    sandbox_write: tuple[str, ...] = option(
        Group.PROCESS,
        (),
        writable_paths,
        "File or directory that workers may change with --sandbox, beside temporary directories. Can be "
        "repeated.",
    )
    sandbox_connect: tuple[str, ...] = option(
        Group.PROCESS,
        (),
        ports,
        "TCP port to which workers may connect with --sandbox. `any` is each port. Can be repeated.",
    )
    check_spares_interval: float = option(
        Group.POOL,
        1.0,
        seconds(0.01),
        "Interval of checks for surplus spare workers. Each retires at most one.",
    )
    heartbeat_timeout: float = option(
        Group.TIMEOUTS,
        0.0,
        seconds(0.0),
        "Replace a worker whose event loop is blocked for this long: by a call of a WSGI application without "
        "--threads, or by code of an ASGI application that does not await. 0 disables.",
    )
    boot_timeout: float = option(
        Group.TIMEOUTS, 60.0, seconds(0.01), "Kill a new worker that is not ready after this long."
    )
    boot_failures: int = option(
        Group.POOL,
        3,
        integer(0, 1 << 53),
        "Exit with status 3 if no worker was ever ready after this many failed attempts. 0 tries for ever.",
    )
    prefork_interval: float = option(
        Group.POOL, 5.0, seconds(0.01), "Interval of attempts to create the shared memory of the pool."
    )
    debug_scoreboard: bool = option(Group.LOGGING, False, boolean, "Log the scoreboard every second.")
    status_paths: str = option(
        Group.LOGGING,
        "on",
        choice("on", "off"),
        "Show in `prefork status`, and everywhere else that a pool is shown, which paths are asked for. They "
        "may hold secrets. A query is never shown.",
    )

    @property
    def is_guarded(self) -> bool:
        """Whether each worker has a guard.

        A pool of one has no worker to hand a connection to, and a second thread slows every system call.
        There it is only for what has to be refused or ended while the main thread is stuck. As many as the
        default of `max_queue` wait in the kernel, which has limits of its own.
        """
        limits_queue = 0 < self.max_queue < MAX_QUEUE
        return self.max_clients > 1 or self.may_be_stuck or limits_queue

    @property
    def may_be_stuck(self) -> bool:
        """Whether a worker that is stuck is ended."""
        return self.request_timeout > 0 or self.heartbeat_timeout > 0

    def _check_refork(self) -> None:
        if self.sandbox != "off":
            raise OptionError(
                "refork_after and sandbox exclude each other: a worker that an attacker has taken over "
                "could become the process that forks all others"
            )
        if 0 < self.max_requests_per_child <= self.refork_after:
            raise OptionError(
                f"refork_after {self.refork_after} is never reached: max_requests "
                f"{self.max_requests_per_child} replaces a worker before"
            )

    def _check_admin(self) -> None:
        if self.admin and not self.start_servers:
            raise OptionError("admin shows a pool, and with start_servers 0 there is none")
        if self.statsd is not None and not self.start_servers:
            raise OptionError("statsd tells of a pool, and with start_servers 0 there is none")
        if self.agent_check and not self.start_servers:
            raise OptionError("agent_check tells of a pool, and with start_servers 0 there is none")
        restricted = (*self.admin, *self.agent_check)
        if self.admin_token_file is not None and all(one.kind is Kind.UNIX for one in restricted):
            raise OptionError(
                "admin_token_file is for a TCP address of admin or agent_check, and there is none"
            )

    def normalized(self) -> Self:
        ServerOptions.normalized(self)
        self._check_admin()
        check_sandbox(self.sandbox, self.start_servers, self.sandbox_write, self.sandbox_connect)
        if self.refork_after:
            self._check_refork()
        low, high = self.min_spare_servers, self.max_spare_servers
        if high < low:
            logger.warning("max_spare_servers %d is below min_spare_servers %d: using %d", high, low, low + 1)
            high = low + 1
        most = self.max_clients
        if most is AUTO:
            most = computed_workers(read_machine(), self.max_memory)
        start = min(self.start_servers, most)
        return dataclasses.replace(self, max_spare_servers=high, max_clients=most, start_servers=start)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortForms(Options):
    """Options that set several options of the server."""

    workers: int | None = option(
        Group.POOL,
        None,
        optional(integer(1, 65535)),
        "Fixed number of workers. Sets --start, --min-spare, --max-spare and --max-clients.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AppOptions(Options):
    """Options of a WSGI or ASGI application."""

    interface: str = option(
        Group.APPLICATION,
        "auto",
        choice("auto", "events", "wsgi", "asgi"),
        "Interface of the target. `auto` detects it.",
    )
    factory: bool = option(
        Group.APPLICATION, False, boolean, "The target is a function that returns the application."
    )
    threads: int = option(
        Group.APPLICATION,
        1,
        integer(1, 1024),
        "Number of threads per worker for WSGI calls. 1 calls the application in the main thread.",
    )
    root_path: str = option(
        Group.APPLICATION,
        "",
        path_prefix,
        "Path under which the application is mounted (SCRIPT_NAME, root_path).",
    )
    lifespan: str = option(
        Group.APPLICATION,
        "auto",
        choice("auto", "on", "off"),
        "Lifespan events of an ASGI application. `on` requires them, `auto` sends them if the application "
        "accepts them.",
    )
    loop: str = option(
        Group.APPLICATION,
        "auto",
        choice("auto", "asyncio", "uvloop"),
        "Event loop of an ASGI application. `auto` is asyncio.",
    )
    drain_streams: bool = option(
        Group.APPLICATION,
        True,
        boolean,
        "Send http.disconnect to an ASGI application that streams a response when the server or its worker "
        "shuts down.",
    )
    pathsend: bool = option(
        Group.APPLICATION,
        False,
        boolean,
        "Offer http.response.pathsend to an ASGI application, so that it sends files by their paths. All of "
        "its middleware has to know that.",
    )
    preload: bool = option(
        Group.APPLICATION,
        True,
        boolean,
        "Load the application once, in a process that forks the workers. Otherwise each worker loads it: for "
        "what cannot be forked after its import.",
    )
    warm: tuple[str, ...] = option(
        Group.APPLICATION,
        (),
        pages,
        "Page to request from the application before the first worker is forked, so that workers share what "
        "a first request makes: a path, or a URL whose host the application expects. Can be repeated.",
    )
    mold_ready: WorkerHook = option(
        Group.PROCESS,
        None,
        optional(function),
        "Function to call when the application is loaded and warm, before a worker is forked: it makes what "
        "workers are to share, and closes what they must not, such as database connections.",
    )
    ready_path: str | None = option(
        Group.APPLICATION,
        None,
        optional(page),
        "Page to request from the application in each new worker, before it accepts: it fails to start with "
        "a status of 500 or more. A path, or a URL whose host the application expects.",
    )
    ws_max_message: int = option(
        Group.WEBSOCKET,
        16 * MIB,
        byte_size(0),
        "Maximum size of a message from the client.",
        rust="websocket.max_message",
    )
    ws_ping_interval: float = option(
        Group.WEBSOCKET,
        20.0,
        seconds(0.0),
        "Interval of pings to the client. 0 disables.",
        rust="websocket.ping_interval",
    )
    ws_ping_timeout: float = option(
        Group.WEBSOCKET,
        20.0,
        seconds(0.001),
        "Close the connection if the client sends nothing for this long after a ping.",
        rust="websocket.ping_timeout",
    )
    ws_deflate: bool = option(
        Group.WEBSOCKET,
        True,
        boolean,
        "Compress messages if the client supports it (permessage-deflate).",
        rust="websocket.deflate",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions(Options):
    """Options of the command `prefork serve` itself."""

    log_level: str = option(
        Group.LOGGING,
        "info",
        choice("debug", "info", "warning", "error", "critical"),
        "Lowest level of messages to log.",
    )
    log_format: str = option(
        Group.LOGGING,
        "text",
        choice("text", "json"),
        "Format of the log: lines of text, or one JSON object a line.",
    )
    log_config: str | dict[str, Any] | None = option(
        Group.LOGGING,
        None,
        optional(log_configuration),
        "File that configures logging instead, for Python's logging.config: JSON, TOML or INI.",
    )
    immortal: bool = option(
        Group.PROCESS,
        False,
        boolean,
        "Fix the reference counts of code, types, strings and other lasting objects before workers are "
        "forked, so that they share more memory. On CPython 3.12 and 3.13.",
    )
    static: tuple[tuple[str, str], ...] = option(
        Group.APPLICATION,
        (),
        mounts,
        "Serve files of a directory under a path, in front of the application. `-` instead of a directory "
        "leaves the path to the application. Can be repeated.",
    )
    static_fallback: tuple[tuple[str, str], ...] = option(
        Group.APPLICATION,
        (),
        fallbacks,
        "Serve this file of the directory under a path if a page does not exist, as single-page applications "
        "need it. Can be repeated.",
    )
    static_cache: tuple[tuple[str, str], ...] = option(
        Group.APPLICATION,
        (),
        lifetimes,
        "How long clients may keep static files whose path fits a pattern. The first match wins. Can be "
        "repeated.",
    )
    access_log: str | None = option(
        Group.LOGGING, None, optional(output_file), "File of the access log. `-` is standard output."
    )
    access_log_format: str = option(
        Group.LOGGING,
        "combined",
        text,
        "Format of its lines: common, combined, json, or a text with atoms such as %(h)s.",
    )
    access_log_skip: tuple[str, ...] = option(
        Group.LOGGING,
        (),
        skipped_paths,
        "Write no line for requests of this path, or with a star at its end of all that begin like it. Can "
        "be repeated.",
    )
    pid_file: str | None = option(
        Group.PROCESS, None, optional(output_file), "File that holds the process id while the server runs."
    )
    chdir: str | None = option(
        Group.PROCESS, None, optional(directory), "Directory to change to before the target is loaded."
    )
    user: str | None = option(
        Group.PROCESS,
        None,
        optional(user_name),
        "User to run as, in the manager and every worker, once the sockets are open and the keys are read.",
        unset="the user that starts the server",
    )
    group: str | None = option(
        Group.PROCESS,
        None,
        optional(group_name),
        "Group to run with.",
        unset="the group of --user",
    )
    initgroups: bool = option(
        Group.PROCESS, False, boolean, "Run with all groups of --user, and not with one alone."
    )
    umask: int | None = option(
        Group.PROCESS,
        None,
        optional(permissions),
        "What is taken from the permissions of new files and of Unix sockets, as octal digits.",
        unset="as it is",
    )
    tls_reload_as_root: bool = option(
        Group.TLS,
        False,
        boolean,
        "Keep a small process that opens the files of TLS as root: it reads new certificates that --user may "
        "not read.",
    )
    chroot: str | None = option(
        Group.PROCESS,
        None,
        optional(directory),
        "Directory that is the root of every path, once the sockets are open and the target is loaded.",
    )

    def normalized(self) -> Self:
        directories = dict(self.static)
        if self.static_cache and not directories:
            raise OptionError("static_cache: there is no static directory")
        if self.chroot is not None and set(directories.values()) - {TO_APPLICATION}:
            raise OptionError(
                "chroot: static files are outside of it; let a proxy or the application serve them"
            )
        for prefix, file in self.static_fallback:
            root = directories.get(prefix, TO_APPLICATION)
            if root == TO_APPLICATION:
                raise OptionError(f"static_fallback: no static directory has the prefix {prefix or '/'}")
            if not os.path.isfile(os.path.join(root, file)):
                raise OptionError(f"static_fallback: there is no file {file} in {root}")
        return self
