"""What a `PreForkServer` takes beside the options of each `HTTPServer`."""

# ruff: noqa: RUF009  (a field made by `option()` is a dataclass field: instances share nothing)
from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from typing import Any, Self

from prefork.config.endpoints import Endpoint, Kind, admin_endpoints, datagram_endpoint
from prefork.config.log import metric_prefix
from prefork.config.machine import computed_workers, read_machine
from prefork.config.option import Group, Options, code_option, option
from prefork.config.options.server import MAX_QUEUE, ServerOptions
from prefork.config.sandbox import check_sandbox, ports, writable_paths
from prefork.config.tls import input_file
from prefork.config.values import (
    AUTO,
    WorkerHook,
    boolean,
    byte_size,
    choice,
    control_socket,
    fork_handlers,
    function,
    integer,
    integer_or_auto,
    optional,
    pool_name,
    seconds,
    share,
)
from prefork.errors import OptionError

logger = logging.getLogger("prefork")


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
