"""The options as keywords, as type checkers see them: `run(app, wokers=4)` is an error for mypy.

Generated from python/prefork/config/options/ by `make generate`. Do not edit. No code imports it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, TypeAlias, TypedDict

Hook: TypeAlias = Callable[..., object] | tuple[object, str] | Mapping[str, object]
Pairs: TypeAlias = str | Mapping[str, str] | Iterable[str] | Iterable[tuple[str, str]]
Switch: TypeAlias = bool | str
Address: TypeAlias = str | int | Mapping[str, object]
Addresses: TypeAlias = Address | Iterable[Address]


class ServerKeywords(TypedDict, total=False):
    """The options of an `HTTPServer`."""

    tls_cert: str | Iterable[str]
    tls_key: str | Iterable[str]
    tls_key_password_file: str | None
    tls_min_version: Literal["1.2", "1.3"]
    tls_ciphers: str | Iterable[str]
    tls_alpn: str | Iterable[str]
    tls_client_ca: str | None
    tls_client_auth: Literal["none", "optional", "required"] | None
    tls_client_crl: str | None
    redirect_http: Addresses
    acme_dir: str | os.PathLike[str] | None
    ssl_key_cert: tuple[str, str] | list[str] | None
    ssl_intermediate_ca_cert: str | None
    listeners: Addresses
    address: str | None
    port: int | str | None
    domain: int | str | None
    backlog: int | str
    reuse_port: Switch
    max_retries: int | str
    max_head: int | str
    max_line: int | str
    max_fields: int | str
    underscores: Literal["drop", "reject"]
    max_body: int | str
    body_min_rate: int | str
    max_connections: int | str
    max_connections_per_address: int | str
    max_requests_per_connection: int | str
    max_queue: int | str
    max_streams: int | str | None
    spool_above: int | str
    spool_dir: str | os.PathLike[str] | None
    keep_alive: Switch
    h2c: Switch
    hostname: str | None
    proxy_mode: Switch
    trusted_proxies: str | Iterable[str]
    forwarded: Literal["x-forwarded", "forwarded", "off"]
    proxy_protocol: Switch
    header_timeout: float | str
    keep_alive_timeout: float | str
    request_timeout: float | str
    send_timeout: float | str
    graceful_timeout: float | str
    request_id: Literal["off", "trusted", "make"]
    debug: Switch
    alias: str
    signals: Switch
    headers: Mapping[str, str] | Iterable[tuple[str, str]]
    handlers: Iterable[Mapping[str, object]]
    log_handler: Hook | None
    log2_handler: Hook | None
    setup_handler: Hook | None
    closed_handler: Hook | None
    error_handler: Hook | None


class PreForkKeywords(ServerKeywords, total=False):
    """The options of a `PreForkServer`."""

    min_spare_servers: int | str
    max_spare_servers: int | str
    max_clients: int | str
    start_servers: int | str
    max_requests_per_child: int | str
    max_requests_jitter: int | str
    refork_after: int | str
    rollout: float | str
    canary: float | str
    canary_window: float | str
    canary_max_errors: float | str
    canary_max_slowdown: float | str
    max_age: float | str
    max_memory: int | str
    max_pool_memory: int | str
    memory_pressure: float | str | None
    concurrency: int | str | None
    ipc_glue: str | int | None
    control_socket: str | None
    admin: Addresses
    admin_token_file: str | None
    agent_check: Addresses
    statsd: str | None
    statsd_prefix: str
    fork_handlers: Mapping[object, str] | Mapping[str, str]
    worker_start: str | Callable[..., object] | None
    worker_exit: str | Callable[..., object] | None
    worker_died: str | Callable[..., object] | None
    sandbox: Literal["off", "on", "required"]
    sandbox_write: str | Iterable[str]
    sandbox_connect: int | str | Iterable[int | str]
    check_spares_interval: float | str
    heartbeat_timeout: float | str
    boot_timeout: float | str
    boot_failures: int | str
    prefork_interval: float | str
    debug_scoreboard: Switch
    status_paths: Literal["on", "off"]


class RunKeywords(TypedDict, total=False):
    """The options of `prefork.run`."""

    workers: int | str | None
    interface: Literal["auto", "events", "wsgi", "asgi"]
    factory: Switch
    threads: int | str
    root_path: str
    lifespan: Literal["auto", "on", "off"]
    loop: Literal["auto", "asyncio", "uvloop"]
    drain_streams: Switch
    pathsend: Switch
    preload: Switch
    warm: str | Iterable[str]
    mold_ready: str | Callable[..., object] | None
    ready_path: str | None
    ws_max_message: int | str
    ws_ping_interval: float | str
    ws_ping_timeout: float | str
    ws_deflate: Switch
    log_level: Literal["debug", "info", "warning", "error", "critical"]
    log_format: Literal["text", "json"]
    log_config: str | os.PathLike[str] | Mapping[str, object] | None
    immortal: Switch
    static: Pairs
    static_fallback: Pairs
    static_cache: Pairs
    access_log: str | None
    access_log_format: str
    access_log_skip: str | Iterable[str]
    pid_file: str | None
    chdir: str | os.PathLike[str] | None
    user: str | int | None
    group: str | int | None
    initgroups: Switch
    umask: int | str | None
    tls_reload_as_root: Switch
    chroot: str | os.PathLike[str] | None
    reload: Switch
    reload_dir: str | Iterable[str]
    reload_include: str | Iterable[str]
    reload_exclude: str | Iterable[str]
    tls_cert: str | Iterable[str]
    tls_key: str | Iterable[str]
    tls_key_password_file: str | None
    tls_min_version: Literal["1.2", "1.3"]
    tls_ciphers: str | Iterable[str]
    tls_alpn: str | Iterable[str]
    tls_client_ca: str | None
    tls_client_auth: Literal["none", "optional", "required"] | None
    tls_client_crl: str | None
    redirect_http: Addresses
    acme_dir: str | os.PathLike[str] | None
    bind: Addresses
    backlog: int | str
    reuse_port: Switch
    max_retries: int | str
    max_head: int | str
    max_line: int | str
    max_fields: int | str
    underscores: Literal["drop", "reject"]
    max_body: int | str
    body_min_rate: int | str
    max_connections: int | str
    max_connections_per_address: int | str
    max_requests_per_connection: int | str
    max_queue: int | str
    max_streams: int | str | None
    spool_above: int | str
    spool_dir: str | os.PathLike[str] | None
    keep_alive: Switch
    h2c: Switch
    hostname: str | None
    proxy_mode: Switch
    trusted_proxies: str | Iterable[str]
    forwarded: Literal["x-forwarded", "forwarded", "off"]
    proxy_protocol: Switch
    header_timeout: float | str
    keep_alive_timeout: float | str
    request_timeout: float | str
    send_timeout: float | str
    graceful_timeout: float | str
    request_id: Literal["off", "trusted", "make"]
    debug: Switch
    min_spare: int | str
    max_spare: int | str
    max_clients: int | str
    start: int | str
    max_requests: int | str
    max_requests_jitter: int | str
    refork_after: int | str
    rollout: float | str
    canary: float | str
    canary_window: float | str
    canary_max_errors: float | str
    canary_max_slowdown: float | str
    max_age: float | str
    max_memory: int | str
    max_pool_memory: int | str
    memory_pressure: float | str | None
    concurrency: int | str | None
    glue: str | int | None
    control_socket: str | None
    admin: Addresses
    admin_token_file: str | None
    agent_check: Addresses
    statsd: str | None
    statsd_prefix: str
    worker_start: str | Callable[..., object] | None
    worker_exit: str | Callable[..., object] | None
    worker_died: str | Callable[..., object] | None
    sandbox: Literal["off", "on", "required"]
    sandbox_write: str | Iterable[str]
    sandbox_connect: int | str | Iterable[int | str]
    check_spares_interval: float | str
    heartbeat_timeout: float | str
    boot_timeout: float | str
    boot_failures: int | str
    prefork_interval: float | str
    debug_scoreboard: Switch
    status_paths: Literal["on", "off"]
