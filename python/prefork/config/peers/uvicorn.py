"""Every setting of uvicorn, in the order of its help."""

from __future__ import annotations

from typing import Any

from prefork.config.peers import conversions
from prefork.config.peers.conversions import entries_of, only_if, switch, tcp, unix_socket
from prefork.config.peers.setting import (
    Converter,
    Given,
    Implied,
    Impossible,
    Needless,
    Options,
    Peer,
    Takes,
    becomes,
    impossible,
    in_table,
    needless,
    same,
)


def is_asgi(given: Given) -> bool:
    """Whether the application is one of ASGI."""
    return given.get("interface") != "wsgi"


def _bind(_value: Any, given: Given) -> Options:
    if given.get("fd") is not None:
        return {"bind": [f"fd://{given['fd']}"]}
    if given.get("uds"):
        return {"bind": [unix_socket(given["uds"])]}
    return {"bind": [tcp(str(given.get("host") or "127.0.0.1"), str(given.get("port", 8000)))]}


def _loop(value: Any, given: Given) -> Options:
    if not is_asgi(given):
        raise Needless(OF_ASGI)
    if value in ("auto", "none"):
        raise Needless("`auto` is asyncio here, and there uvloop if it is installed: --loop uvloop")
    if value not in ("asyncio", "uvloop"):
        raise Impossible("--loop is asyncio or uvloop")
    return {"loop": value}


OF_ASGI = "the application is one of WSGI"


def _of_asgi(key: str) -> Converter:
    def convert(value: Any, given: Given) -> Options:
        if not is_asgi(given):
            raise Needless(OF_ASGI)
        return {key: value}

    return convert


def _ping(key: str) -> Converter:
    def convert(value: Any, given: Given) -> Options:
        if not is_asgi(given):
            raise Needless(OF_ASGI)
        return {key: value if value is not None else 0}

    return convert


def _interface(value: Any, _given: Given) -> Options:
    if value == "asgi2":
        raise Impossible("wrap the application in asgiref.compatibility.guarantee_single_callable")
    return {"interface": {"asgi3": "asgi"}.get(value, value)}


def _env_file(_value: Any, _given: Given) -> Options:
    raise Needless("it is a flag, as in the command above")


def _access_log(value: Any, _given: Given) -> Options:
    if not switch(value):
        raise Needless("there is no access log unless --access-log names a file")
    return {"access_log": "-"}


def _proxy_headers(value: Any, _given: Given) -> Options:
    if switch(value):
        raise Needless("those of a local proxy are heeded")
    return {"forwarded": "off"}


def _trusted(value: Any, given: Given) -> Options:
    if "proxy_headers" in given and not switch(given["proxy_headers"]):
        raise Needless("no fields are heeded")
    return conversions.trusted(entries_of(value), unix=False)


def _is_off(instead: str, ok: str, good: object) -> Converter:
    """Nothing to do if the value is `good`."""

    def convert(value: Any, _given: Given) -> Options:
        if switch(value) == good:
            raise Needless(ok)
        raise Impossible(instead)

    return convert


def _key(value: Any, given: Given) -> Options:
    if not given.get("ssl_certfile"):
        raise Impossible("there is no ssl_certfile: --tls-key needs --tls-cert")
    return {"tls_key": value}


def _version(value: Any, given: Given) -> Options:
    if not given.get("ssl_certfile"):
        raise Needless("there is no certificate")
    number = int(value)
    if number == PROTOCOL_TLSV1_2:
        return {"tls_min_version": "1.2"}
    raise Needless("the lowest version is 1.2, or that of --tls-min-version")


PROTOCOL_TLSV1_2 = 5
"""`ssl.PROTOCOL_TLSv1_2`."""


def _of_tls(convert: Converter) -> Converter:
    """Without a certificate an option of TLS is refused."""

    def checked(value: Any, given: Given) -> Options:
        if not given.get("ssl_certfile"):
            raise Needless("there is no certificate")
        return convert(value, given)

    return checked


def _of_reload(key: str) -> Converter:
    """Of what is watched."""

    def convert(value: Any, given: Given) -> Options:
        if not value or not switch(given.get("reload") or False):
            raise Needless("nothing is watched")
        return {key: [value] if isinstance(value, str) else list(value)}

    return convert


ADDRESS = "use --bind HOST:PORT"
OF_PROTOCOLS = "there is only one implementation of each protocol, and it is on"
FORWARDED = "--forwarded says which fields are heeded, --trusted-proxies from which peers"

SETTINGS = in_table(
    [
        needless("app", "it is the TARGET of `prefork serve TARGET`"),
        becomes("host --host", "bind", "host and port are one address", convert=_bind, hint=ADDRESS),
        becomes("port --port", "bind", "host and port are one address", convert=_bind, hint=ADDRESS),
        becomes(
            "uds --uds",
            "bind",
            "as `unix:/path`, with the same permissions 666",
            convert=_bind,
            hint="use --bind unix:PATH",
        ),
        becomes("fd --fd", "bind", "as `fd://3`", convert=_bind, hint="use --bind fd://N"),
        becomes(
            "reload --reload",
            "reload",
            "the former code serves until the new one is ready; for development there is `prefork dev`",
            convert=only_if("reload", True, "it is off"),
            takes=Takes.SWITCH,
        ),
        *(
            becomes(f"{key}s {flag}", key, convert=_of_reload(key), takes=Takes.MANY)
            for key, flag in (
                ("reload_dir", "--reload-dir"),
                ("reload_include", "--reload-include"),
                ("reload_exclude", "--reload-exclude"),
            )
        ),
        needless("reload_delay --reload-delay", "--reload is told by the system of each change"),
        same("workers --workers", "workers", "without it the number follows the load"),
        becomes("loop --loop", "loop", "`auto` is asyncio", convert=_loop),
        needless("http --http", OF_PROTOCOLS),
        needless(
            "http2 --http2",
            "HTTP/2 is spoken over TLS unless --tls-alpn leaves it out, and without TLS with --h2c",
            takes=Takes.SWITCH,
        ),
        needless("ws --ws", OF_PROTOCOLS),
        becomes("ws_max_size --ws-max-size", "ws_max_message", convert=_of_asgi("ws_max_message")),
        needless(
            "ws_max_queue --ws-max-queue",
            "messages that are not read yet are limited to 64k for each connection",
        ),
        becomes("ws_ping_interval --ws-ping-interval", "ws_ping_interval", convert=_ping("ws_ping_interval")),
        becomes("ws_ping_timeout --ws-ping-timeout", "ws_ping_timeout", convert=_ping("ws_ping_timeout")),
        becomes(
            "ws_per_message_deflate --ws-per-message-deflate",
            "ws_deflate",
            convert=lambda value, given: _of_asgi("ws_deflate")(switch(value), given),
        ),
        becomes("lifespan --lifespan", "lifespan", convert=_of_asgi("lifespan")),
        becomes(
            "interface --interface",
            "interface",
            "`asgi3` is `asgi`; for ASGI 2 use asgiref.compatibility.guarantee_single_callable",
            convert=_interface,
        ),
        becomes(
            "env_file --env-file",
            "env_file",
            "the command line has it under the same name, and a file of options has not",
            convert=_env_file,
        ),
        becomes(
            "log_config --log-config",
            "log_config",
            "INI, JSON or TOML, not YAML; the loggers are `prefork` and those below it",
            convert=conversions.log_config,
        ),
        becomes("log_level --log-level", "log_level", "`trace` is `debug`", convert=conversions.log_level),
        becomes(
            "access_log --access-log --no-access-log",
            "access_log",
            "it takes a file, and `-` is standard output; without it there is none",
            convert=_access_log,
            takes=Takes.PAIR,
            hint="there is no access log unless --access-log names a file",
        ),
        needless("use_colors --use-colors --no-use-colors", "the log has no colors", takes=Takes.PAIR),
        becomes(
            "proxy_headers --proxy-headers --no-proxy-headers",
            "forwarded",
            "on, for a local proxy; --no-proxy-headers is --forwarded off",
            convert=_proxy_headers,
            takes=Takes.PAIR,
            hint=FORWARDED,
        ),
        needless(
            "server_header --server-header --no-server-header",
            "responses have no Server field",
            takes=Takes.PAIR,
        ),
        becomes(
            "date_header --date-header --no-date-header",
            "",
            "every response has a Date (RFC 9110, 6.6.1)",
            convert=_is_off(
                "every response has a Date (RFC 9110, 6.6.1)", "every response has a Date", good=True
            ),
            takes=Takes.PAIR,
        ),
        becomes(
            "forwarded_allow_ips --forwarded-allow-ips",
            "trusted_proxies",
            "`*`, addresses and networks; other texts are left out. Other peers' fields are removed",
            convert=_trusted,
        ),
        becomes("root_path --root-path", "root_path", convert=conversions.root_path),
        impossible(
            "limit_concurrency --limit-concurrency",
            "--max-queue limits the requests that wait while every worker is busy, --max-connections the "
            "connections of a worker",
            harmless=(None,),
        ),
        same("backlog --backlog", "backlog"),
        same(
            "limit_max_requests --limit-max-requests",
            "max_requests",
            "a worker serves until another one is ready",
        ),
        same("limit_max_requests_jitter --limit-max-requests-jitter", "max_requests_jitter"),
        becomes(
            "timeout_keep_alive --timeout-keep-alive",
            "keep_alive_timeout keep_alive",
            "0 becomes --no-keep-alive",
            convert=conversions.keep_alive,
            hint="use --keep-alive-timeout",
        ),
        same(
            "timeout_graceful_shutdown --timeout-graceful-shutdown",
            "graceful_timeout",
            "there it has no end by default",
        ),
        needless(
            "timeout_worker_healthcheck --timeout-worker-healthcheck",
            "--request-timeout finds a worker that is stuck",
        ),
        becomes("ssl_keyfile --ssl-keyfile", "tls_key", convert=_key),
        becomes("ssl_certfile --ssl-certfile", "tls_cert"),
        impossible(
            "ssl_keyfile_password --ssl-keyfile-password",
            "--tls-key-password-file names a file with it",
            harmless=(None, ""),
        ),
        becomes(
            "ssl_version --ssl-version",
            "tls_min_version",
            "sets the lowest version",
            convert=_version,
            hint="--tls-min-version sets the lowest version",
        ),
        becomes(
            "ssl_cert_reqs --ssl-cert-reqs",
            "tls_client_auth",
            "0, 1, 2 become none, optional, required",
            convert=_of_tls(lambda value, given: conversions.client_auth(value, given, "ssl_ca_certs")),
        ),
        becomes(
            "ssl_ca_certs --ssl-ca-certs",
            "tls_client_ca",
            "with --tls-client-auth none if there is no ssl_cert_reqs",
            convert=_of_tls(lambda value, given: conversions.client_ca(value, given, "ssl_cert_reqs")),
        ),
        becomes(
            "ssl_ciphers --ssl-ciphers",
            "tls_ciphers",
            "names of ciphers; a list with classes and signs of OpenSSL is not understood",
            convert=_of_tls(conversions.ciphers),
        ),
        impossible(
            "headers --header",
            "set it in the application, or in code with PreForkServer(kernel, headers=...)",
            takes=Takes.MANY,
            harmless=((), None, []),
        ),
        needless("version --version", "use `prefork --version`", takes=Takes.SWITCH),
        becomes(
            "app_dir --app-dir",
            "chdir",
            "it becomes the working directory, too",
            convert=lambda value, _given: _app_dir(value),
        ),
        same("h11_max_incomplete_event_size --h11-max-incomplete-event-size", "max_head"),
        needless(
            "reset_contextvars --reset-contextvars",
            "each request has a context of its own",
            takes=Takes.SWITCH,
        ),
        becomes(
            "factory --factory", "factory", convert=only_if("factory", True, "it is off"), takes=Takes.SWITCH
        ),
    ]
)


def _app_dir(value: Any) -> Options:
    if value in ("", ".", None):
        raise Needless("the working directory is searched for the application")
    return {"chdir": value}


IMPLIED = (
    Implied(
        *("workers", 1, "workers"),
        "uvicorn's default; without this line the number follows the load",
        is_set=True,
        variable="WEB_CONCURRENCY",
    ),
    Implied("access_log", "-", "access_log", "uvicorn's default", True),
    Implied("keep_alive_timeout", 5, "timeout_keep_alive", "uvicorn's default", False),
)

UVICORN = Peer("uvicorn", "0.54.0", SETTINGS, IMPLIED, "")
