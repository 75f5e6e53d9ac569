"""Every setting of gunicorn, in the order of its own list."""

from __future__ import annotations

import re
from typing import Any

from prefork.config.peers import conversions
from prefork.config.peers.conversions import MAX_LINE, entries_of, number, only_if, switch, tcp, unix_socket
from prefork.config.peers.setting import (
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

OF_GREEN = "an application with their monkey patches is refused; use --threads, or more workers"

ASGI_WORKERS = re.compile(r"asgi|.*uvicorn.*", re.IGNORECASE)
GREEN_WORKERS = re.compile(r".*(gevent|eventlet|tornado|geventlet).*", re.IGNORECASE)

LINE = "one limit for the request line and for header lines: the higher one of the two settings"
CODE = "move its code to a function of the application, without `server` and `worker`"


def worker_class(given: Given) -> str:
    """The name of the kind of worker."""
    found = given.get("worker_class") or "sync"
    name = found if isinstance(found, str) else f"{found.__module__}.{found.__qualname__}"
    return "gthread" if name == "sync" and number(given.get("threads") or 1) > 1 else name


def is_asgi(given: Given) -> bool:
    """Whether the kind of worker serves ASGI applications."""
    return ASGI_WORKERS.fullmatch(worker_class(given)) is not None


def _bind(value: Any, _given: Given) -> Options:
    addresses = [value] if isinstance(value, str) else list(value or ())
    return {"bind": [_address(str(address).strip()) for address in addresses]}


def _address(text: str) -> str:
    """An address as gunicorn reads it."""
    if text.startswith("unix:"):
        return unix_socket(text.removeprefix("unix:").removeprefix("//"))
    if text.startswith("fd://"):
        return text
    host, port = text.removeprefix("tcp://"), "8000"
    if "]" in host:
        host, _, rest = host.partition("]")
        return tcp(host, rest.removeprefix(":") or port)
    host, _, given = host.partition(":")
    return tcp(host, given or port)


def _worker_class(_value: Any, given: Given) -> Options:
    name = worker_class(given)
    if GREEN_WORKERS.fullmatch(name):
        raise Impossible(OF_GREEN)
    if is_asgi(given):
        raise Needless("an ASGI application is recognized by its signature")
    if name.rpartition(".")[2] not in ("sync", "gthread", "SyncWorker", "ThreadWorker"):
        raise Impossible("workers have no classes; the interface of the application is detected")
    raise Needless("a WSGI application is recognized by its signature")


def _threads(value: Any, given: Given) -> Options:
    if worker_class(given).rpartition(".")[2] not in ("gthread", "ThreadWorker", "sync"):
        raise Needless("the worker class does not use it")
    return {"threads": value}


def _worker_connections(value: Any, given: Given) -> Options:
    if worker_class(given).rpartition(".")[2] in ("sync", "SyncWorker"):
        raise Needless("the worker class does not use it")
    return {"max_connections": value}


def _timeout(value: Any, given: Given) -> Options:
    seconds = number(value)
    if worker_class(given).rpartition(".")[2] in ("sync", "SyncWorker"):
        return {"request_timeout": seconds}
    return {"heartbeat_timeout": seconds}


def _line(_value: Any, given: Given) -> Options:
    lines = (given.get("limit_request_line", 4094), given.get("limit_request_field_size", 8190))
    return {"max_line": max(number(line) or MAX_LINE for line in lines)}


def _preload(value: Any, _given: Given) -> Options:
    if switch(value):
        raise Needless("the application is loaded once, in a process that forks the workers")
    raise Needless("it is loaded once all the same; --no-preload has each worker load it")


def _env(value: Any, _given: Given) -> Options:
    entries = [value] if isinstance(value, str) else list(value or ())
    paths = [entry.partition("=")[2] for entry in entries if entry.startswith("SCRIPT_NAME=")]
    if len(entries) == 1 and paths:
        return conversions.root_path(paths[0], {})
    if not entries:
        raise Needless("it is empty")
    raise Impossible(ENVIRONMENT)


ENVIRONMENT = "set the environment before the start, or name a file of variables with --env-file"


def _umask(value: Any, _given: Given) -> Options:
    """A number, or a text that is octal if it begins with a zero."""
    text = str(value)
    bits = int(text, 8) if isinstance(value, str) and re.fullmatch("0[0-7]+", text) else int(text, 0)
    return {"umask": f"{bits:03o}"}


def _spool(value: Any, given: Given) -> Options:
    if is_asgi(given):
        raise Needless("an ASGI application reads bodies as they arrive")
    return {"spool_dir": value}


def _schemes(value: Any, _given: Given) -> Options:
    fields = {str(name).upper(): text for name, text in dict(value).items()}
    if set(fields) <= {"X-FORWARDED-PROTO", "X-FORWARDED-PROTOCOL", "X-FORWARDED-SSL"} and (
        fields.get("X-FORWARDED-PROTO") == "https"
    ):
        raise Needless("X-Forwarded-Proto of --trusted-proxies says it")
    raise Impossible("have the proxy send X-Forwarded-Proto, or Forwarded with --forwarded forwarded")


def _trusted(_value: Any, given: Given) -> Options:
    default = "127.0.0.1,::1"
    entries = entries_of(given.get("forwarded_allow_ips", default))
    if given.get("proxy_protocol", "off") not in ("off", False):
        entries += [
            entry for entry in entries_of(given.get("proxy_allow_ips", default)) if entry not in entries
        ]
    elif "forwarded_allow_ips" not in given:
        raise Needless("the PROXY protocol is off")
    return conversions.trusted(entries, unix=True)


def _proxy_protocol(value: Any, given: Given) -> Options:
    if str(value or "off").lower() in ("off", "false"):
        raise Needless("it is off")
    trusted = _trusted(None, given) if "forwarded_allow_ips" in given or "proxy_allow_ips" in given else {}
    return {"proxy_protocol": True, **trusted}


def _access_log(value: Any, _given: Given) -> Options:
    if not value:
        raise Needless("it is empty")
    return {"access_log": value}


def _error_log(value: Any, _given: Given) -> Options:
    if value in (None, "-", "", "/dev/stderr"):
        raise Needless("the log is written to standard error")
    raise Impossible(OF_LOG)


OF_LOG = (
    "the log is written to standard error; --log-config or the application can configure Python's logging"
)


def _log_dict(value: Any, _given: Given) -> Options:
    if not value:
        raise Needless("it is empty")
    if not _is_plain(value):
        raise Impossible("it has objects of Python: write it to a file for --log-config, with their names")
    return {"log_config": value}


def _is_plain(value: object) -> bool:
    """Whether TOML has it."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(inner) for key, inner in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, str | int | float | bool)


def _logger_class(value: Any, _given: Given) -> Options:
    if value in (None, "", "simple", "gunicorn.glogging.Logger", "gunicorn.instrument.statsd.Statsd"):
        raise Needless("it is gunicorn's own")
    raise Impossible(OF_LOG)


def _statsd(value: Any, _given: Given) -> Options:
    if not value:
        raise Needless("it is empty")
    text = str(value) if isinstance(value, str) else f"{value[0]}:{value[1]}"
    if text.startswith("unix:"):
        return {"statsd": f"unix:{text.removeprefix('unix:').removeprefix('//')}"}
    return {"statsd": text if re.search(r":\d+$", text) else f"{text}:8125"}


def _text_or_nothing(key: str) -> Any:
    def convert(value: Any, _given: Given) -> Options:
        if not value:
            raise Needless("it is empty")
        return {key: value}

    return convert


def _name(value: Any, _given: Given) -> Options:
    if not value:
        raise Needless("it is empty")
    return {"glue": re.sub(r"[^A-Za-z0-9._-]+", "-", str(value))[:64].strip("-")}


def _child_exit(value: Any, _given: Given) -> Options:
    code = getattr(value, "__code__", None)
    if code is not None and "mark_process_dead" in code.co_names:
        return {"worker_died": "prometheus_client.multiprocess:mark_process_dead"}
    raise Impossible(f"--worker-died is called in the manager, with `pid` and `status`; {CODE}")


def _alpn(value: Any, given: Given) -> Options:
    protocols = [{"h1": "http/1.1"}.get(part.lower(), part.lower()) for part in entries_of(value or "h1")]
    if not given.get("certfile"):
        raise Needless("there is no certificate; HTTP/2 without TLS is --h2c")
    return {"tls_alpn": ",".join(protocols)}


def _h2c(value: Any, _given: Given) -> Options:
    mode = {True: "prior-knowledge", False: "off", None: "off"}.get(value, value)
    if mode == "off":
        raise Needless("it is off")
    if mode == "upgrade":
        raise Impossible("a client has to begin with HTTP/2 (--h2c): RFC 9113 has no `Upgrade: h2c` any more")
    return {"h2c": True}


def _header_map(value: Any, _given: Given) -> Options:
    if value == "dangerous":
        raise Impossible("have the proxy rename the fields: no two fields may become one variable")
    return {"underscores": {"refuse": "reject"}.get(str(value).lower(), str(value).lower())}


def _loop(value: Any, given: Given) -> Options:
    if not is_asgi(given):
        raise Needless("the worker class does not use it")
    if value == "auto":
        raise Needless("`auto` is asyncio here, and there uvloop if it is installed: --loop uvloop")
    return {"loop": value}


def _of_asgi(key: str, none: object = None) -> Any:
    def convert(value: Any, given: Given) -> Options:
        if not is_asgi(given):
            raise Needless("the worker class does not use it")
        return {key: none if none is not None and not number(value) else value}

    return convert


def _key_or_cert(key: str) -> Any:
    def convert(value: Any, given: Given) -> Options:
        if not value:
            raise Needless("it is empty")
        if key == "tls_key" and not given.get("certfile"):
            raise Impossible("there is no certfile: --tls-key needs --tls-cert")
        return {key: value}

    return convert


def _of_tls(convert: Any) -> Any:
    """Without a certificate an option of TLS is refused."""

    def checked(value: Any, given: Given) -> Options:
        if not given.get("certfile"):
            raise Needless("there is no certificate")
        options: Options = convert(value, given)
        return options

    return checked


DIRTY = "use a queue of tasks"
SYSLOG = (
    "--log-config with a handler for syslog, or a service manager that keeps what is written to standard "
    "error"
)

SETTINGS = in_table(
    [
        needless("config -c --config", "it is read: this is the file that prefork import-config converts"),
        needless("wsgi_app", "it is the TARGET of `prefork serve TARGET`"),
        becomes(
            "bind -b --bind",
            "bind",
            "a host without a port is refused here; `:8000` is all of IPv4 there, all of IPv6 and IPv4 here",
            convert=_bind,
            takes=Takes.MANY,
        ),
        same("backlog --backlog", "backlog"),
        same("workers -w --workers", "workers", "without it the number follows the load"),
        becomes(
            "worker_class -k --worker-class",
            "",
            "not needed: the interface is detected. gevent, eventlet and tornado are not possible: for "
            "threads use --threads, for uvloop --loop uvloop",
            convert=_worker_class,
            hint="the interface is detected; for threads use --threads, for uvloop --loop uvloop",
        ),
        becomes("threads --threads", "threads", "for WSGI applications", convert=_threads),
        becomes(
            "worker_connections --worker-connections",
            "max_connections",
            "for a new client, the connection that has idled for longest is closed",
            convert=_worker_connections,
            hint="--max-queue limits the requests that wait while every worker is busy, --max-connections "
            "the connections of a worker",
        ),
        same("max_requests --max-requests", "max_requests", "a worker serves until another one is ready"),
        same("max_requests_jitter --max-requests-jitter", "max_requests_jitter"),
        becomes(
            "timeout -t --timeout",
            "request_timeout heartbeat_timeout",
            "a request that takes longer gets 504, and its worker is replaced if it is stuck. Of worker "
            "classes other than sync, which are only watched for being alive, it becomes --heartbeat-timeout",
            convert=_timeout,
            hint="use --request-timeout",
        ),
        same("graceful_timeout --graceful-timeout", "graceful_timeout"),
        becomes(
            "keepalive --keep-alive",
            "keep_alive_timeout keep_alive",
            "0 becomes --no-keep-alive",
            convert=conversions.keep_alive,
        ),
        becomes("limit_request_line --limit-request-line", "max_line", LINE, convert=_line),
        same("limit_request_fields --limit-request-fields", "max_fields"),
        becomes(
            "limit_request_field_size --limit-request-field_size",
            "max_line",
            f"{LINE}; --max-head limits the whole head",
            convert=_line,
            hint="use --max-line for a line, --max-head for the whole head",
        ),
        becomes(
            "reload --reload",
            "reload",
            "the former code serves until the new one is ready; for development there is `prefork dev`",
            convert=only_if("reload", True, "it is off"),
            takes=Takes.SWITCH,
        ),
        impossible(
            "reload_engine --reload-engine",
            "--reload is told by the system of each change",
            harmless=("auto",),
        ),
        impossible(
            "reload_extra_files --reload-extra-file",
            "--reload-include takes patterns of files",
            takes=Takes.MANY,
            harmless=([], None),
        ),
        impossible(
            "spew --spew", "use a debugger, or `prefork stacks`", takes=Takes.SWITCH, harmless=(False, None)
        ),
        needless(
            "check_config --check-config",
            "use `prefork check TARGET`",
            takes=Takes.SWITCH,
        ),
        needless(
            "print_config --print-config",
            "use `prefork config`",
            takes=Takes.SWITCH,
        ),
        becomes(
            "preload_app --preload",
            "preload",
            "the application is always loaded once, in a process of its own, so that a reload brings new "
            "code; --no-preload has each worker load it",
            convert=_preload,
            takes=Takes.SWITCH,
        ),
        needless(
            "sendfile --no-sendfile",
            "files are sent by sendfile(2) wherever that is possible",
            takes=Takes.SWITCH,
        ),
        becomes(
            "reuse_port --reuse-port",
            "reuse_port",
            convert=only_if("reuse_port", True, "it is off"),
            takes=Takes.SWITCH,
        ),
        same("chdir --chdir", "chdir", "paths of other options do not depend on it here"),
        impossible(
            "daemon -D --daemon",
            "use a service manager to run it in the background",
            takes=Takes.SWITCH,
            harmless=(False, None),
        ),
        becomes(
            "raw_env -e --env",
            "root_path",
            f"{ENVIRONMENT}. SCRIPT_NAME alone becomes --root-path",
            convert=_env,
            takes=Takes.MANY,
            hint=ENVIRONMENT,
        ),
        becomes("pidfile -p --pid", "pid_file", convert=_text_or_nothing("pid_file")),
        needless("worker_tmp_dir --worker-tmp-dir", "workers need no temporary files to be supervised"),
        same(
            "user -u --user", "user", "the manager changes its user as well, once it has its sockets and keys"
        ),
        same("group -g --group", "group"),
        becomes(
            "umask -m --umask",
            "umask",
            "octal digits. A Unix socket has 666 without the umask's bits, there 777",
            convert=_umask,
        ),
        becomes(
            "initgroups --initgroups",
            "initgroups",
            convert=only_if("initgroups", True, "it is off"),
            takes=Takes.SWITCH,
        ),
        becomes("tmp_upload_dir", "spool_dir", "for WSGI applications", convert=_spool),
        becomes(
            "secure_scheme_headers",
            "",
            "X-Forwarded-Proto is heeded, or Forwarded with --forwarded forwarded, from --trusted-proxies",
            convert=_schemes,
        ),
        becomes(
            "forwarded_allow_ips --forwarded-allow-ips",
            "trusted_proxies",
            "networks as well. Other peers' fields are removed. With --proxy-protocol those of "
            "proxy_allow_ips come to it, because there is one list here",
            convert=_trusted,
        ),
        becomes("accesslog --access-logfile", "access_log", "`-` is standard output", convert=_access_log),
        needless(
            "disable_redirect_access_to_syslog --disable-redirect-access-to-syslog",
            "the access log goes only to the file of --access-log",
            takes=Takes.SWITCH,
        ),
        same("access_log_format --access-logformat", "access_log_format", "with the same atoms"),
        becomes("errorlog --error-logfile --log-file", "", OF_LOG, convert=_error_log),
        becomes("loglevel --log-level", "log_level", convert=conversions.log_level),
        needless(
            "capture_output --capture-output",
            "what the application prints stays on standard output and standard error",
            takes=Takes.SWITCH,
        ),
        becomes("logger_class --logger-class", "", OF_LOG, convert=_logger_class),
        becomes(
            "logconfig --log-config",
            "log_config",
            "INI, JSON or TOML; the loggers are `prefork` and those below it",
            convert=conversions.log_config,
        ),
        becomes(
            "logconfig_dict",
            "log_config",
            "a table of TOML; the loggers are `prefork` and those below it",
            convert=_log_dict,
        ),
        becomes("logconfig_json --log-config-json", "log_config", convert=conversions.log_config),
        impossible("syslog_addr --log-syslog-to", SYSLOG),
        impossible("syslog --log-syslog", SYSLOG, takes=Takes.SWITCH, harmless=(False, None)),
        impossible("syslog_prefix --log-syslog-prefix", SYSLOG, harmless=(None, "")),
        impossible("syslog_facility --log-syslog-facility", SYSLOG, harmless=("user",)),
        needless(
            "enable_stdio_inheritance -R --enable-stdio-inheritance",
            "what the application prints stays on standard output and standard error",
            takes=Takes.SWITCH,
        ),
        becomes("statsd_host --statsd-host", "statsd", "with the same names of figures", convert=_statsd),
        impossible(
            "dogstatsd_tags --dogstatsd-tags",
            "--admin has /metrics with labels, and --statsd sends figures",
            harmless=("", None),
        ),
        becomes("statsd_prefix --statsd-prefix", "statsd_prefix", convert=_text_or_nothing("statsd_prefix")),
        needless(
            "enable_backlog_metric --enable-backlog-metric",
            "--admin has /metrics, and --statsd sends figures",
            takes=Takes.SWITCH,
        ),
        becomes(
            "proc_name -n --name",
            "glue",
            "the name of the pool, for `prefork status`: letters, digits, dots, dashes and underscores",
            convert=_name,
            hint="--glue names the pool",
        ),
        needless("default_proc_name", "gunicorn sets it itself"),
        impossible(
            "pythonpath --pythonpath",
            "set PYTHONPATH before the start. The working directory, or that of --chdir, is searched",
            convert=lambda value, _given: _no_path(value),
        ),
        impossible(
            "paste --paste --paster",
            "serve a module with `application = paste.deploy.loadapp('config:/srv/shop/production.ini')`",
            harmless=(None, ""),
        ),
        impossible(
            "on_starting",
            "--mold-ready is called when the application is loaded, before a worker is forked; for the rest "
            "use the service manager",
        ),
        impossible("on_reload", "--mold-ready is called at each reload, when the new code is loaded"),
        impossible(
            "when_ready",
            "a service manager is told by itself (Type=notify); --mold-ready is called before that",
        ),
        impossible("pre_fork", "--mold-ready is called once, before the first worker is forked"),
        impossible("post_fork", f"--worker-start is called in each new worker, with `pid`; {CODE}"),
        impossible(
            "post_worker_init",
            f"--worker-start is called in each new worker, before the application starts up; {CODE}",
        ),
        impossible("worker_int", "--worker-exit is called in a worker that exits"),
        impossible(
            "worker_abort",
            "the stacks of a worker that is stuck are logged, and --worker-died is told its signal",
        ),
        impossible("pre_exec", "`prefork upgrade` starts the new program; use the service manager for more"),
        impossible("pre_request", "use a middleware"),
        impossible("post_request", "use a middleware, or the access log"),
        becomes(
            "child_exit",
            "worker_died",
            "is called in the manager, with `pid` and `status`. The usual one, for prometheus_client, is "
            "recognized",
            convert=_child_exit,
        ),
        impossible("worker_exit", f"--worker-exit is called in a worker that exits, with `pid`; {CODE}"),
        impossible("nworkers_changed", "`prefork status` and /metrics of --admin have the number"),
        impossible("on_exit", "use the service manager, as ExecStopPost="),
        impossible(
            "ssl_context",
            "use the options of TLS: --tls-min-version, --tls-ciphers, --tls-alpn, --tls-client-ca",
        ),
        becomes(
            "proxy_protocol --proxy-protocol",
            "proxy_protocol trusted_proxies",
            "both versions are understood",
            convert=_proxy_protocol,
            takes=Takes.MAYBE,
        ),
        becomes(
            "proxy_allow_ips --proxy-allow-from",
            "trusted_proxies",
            "one list, with forwarded_allow_ips",
            convert=_trusted,
        ),
        impossible(
            "protocol --protocol",
            PROTOCOL := "a proxy has to speak HTTP; uwsgi and FastCGI are not understood",
            harmless=("http",),
        ),
        needless("uwsgi_allow_ips --uwsgi-allow-from", PROTOCOL),
        becomes("keyfile --keyfile", "tls_key", convert=_key_or_cert("tls_key")),
        becomes("certfile --certfile", "tls_cert", convert=_key_or_cert("tls_cert")),
        needless(
            "ssl_version --ssl-version", "gunicorn ignores it; --tls-min-version sets the lowest version"
        ),
        becomes(
            "cert_reqs --cert-reqs",
            "tls_client_auth",
            "0, 1, 2 become none, optional, required",
            convert=_of_tls(lambda value, given: conversions.client_auth(value, given, "ca_certs")),
        ),
        becomes(
            "ca_certs --ca-certs",
            "tls_client_ca",
            "with --tls-client-auth none if there is no cert_reqs",
            convert=_of_tls(lambda value, given: conversions.client_ca(value, given, "cert_reqs")),
        ),
        needless(
            "suppress_ragged_eofs --suppress-ragged-eofs",
            "the handshake of TLS never blocks a worker",
            takes=Takes.SWITCH,
        ),
        needless(
            "do_handshake_on_connect --do-handshake-on-connect",
            "the handshake of TLS never blocks a worker",
            takes=Takes.SWITCH,
        ),
        becomes(
            "ciphers --ciphers",
            "tls_ciphers",
            "names of ciphers; a list with classes and signs of OpenSSL is not understood",
            convert=_of_tls(conversions.ciphers),
        ),
        becomes(
            "http_protocols --http-protocols",
            "tls_alpn",
            "`h2,http/1.1` by default",
            convert=_alpn,
            hint="HTTP/2 is spoken over TLS unless --tls-alpn leaves it out, and without TLS with --h2c",
        ),
        becomes("http2_cleartext --http2-cleartext", "h2c", "by prior knowledge", convert=_h2c),
        same("http2_max_concurrent_streams --http2-max-concurrent-streams", "max_streams"),
        needless(
            "http2_initial_window_size --http2-initial-window-size",
            HTTP2 := "the limits of HTTP/1.1 hold for each stream of HTTP/2; its windows are fixed",
        ),
        needless("http2_max_frame_size --http2-max-frame-size", HTTP2),
        needless("http2_max_header_list_size --http2-max-header-list-size", f"{HTTP2}: --max-head"),
        needless(
            "raw_paste_global_conf --paste-global",
            "it is an argument of paste.deploy.loadapp",
            takes=Takes.MANY,
        ),
        *(
            impossible(
                f"{name} --{name.replace('_', '-')}",
                RFC := "requests must follow RFC 9112",
                takes=Takes.SWITCH,
                harmless=(False, None),
            )
            for name in ("permit_obsolete_folding", "strip_header_spaces")
        ),
        needless(
            "permit_unconventional_http_method --permit-unconventional-http-method",
            "every method that RFC 9110 allows is served",
            takes=Takes.SWITCH,
        ),
        impossible(
            "permit_unconventional_http_version --permit-unconventional-http-version",
            RFC,
            takes=Takes.SWITCH,
            harmless=(False, None),
        ),
        impossible(
            "casefold_http_method --casefold-http-method", RFC, takes=Takes.SWITCH, harmless=(False, None)
        ),
        becomes(
            "forwarder_headers --forwarder-headers",
            "",
            "X-Forwarded-Prefix of --trusted-proxies is SCRIPT_NAME",
            convert=lambda value, _given: _forwarder(value),
            hint="--forwarded says which fields are heeded, --trusted-proxies from which peers",
        ),
        becomes("header_map --header-map", "underscores", "`refuse` becomes `reject`", convert=_header_map),
        becomes("asgi_loop --asgi-loop", "loop", "`auto` is asyncio", convert=_loop),
        becomes("asgi_lifespan --asgi-lifespan", "lifespan", convert=_of_asgi("lifespan")),
        needless(
            "asgi_disconnect_grace_period --asgi-disconnect-grace-period",
            "a request whose client has left is not cancelled: `receive` gives http.disconnect, `send` "
            "raises OSError",
        ),
        becomes(
            "websocket_max_message_size --websocket-max-message-size",
            "ws_max_message",
            "0 becomes 1g",
            convert=_of_asgi("ws_max_message", none="1g"),
        ),
        needless(
            "http_parser --http-parser", "there is only one implementation of each protocol, and it is on"
        ),
        becomes(
            "root_path --root-path",
            "root_path",
            "for WSGI applications as well",
            convert=conversions.root_path,
        ),
        impossible("dirty_apps --dirty-app", DIRTY, takes=Takes.MANY, harmless=([], None)),
        impossible("dirty_workers --dirty-workers", DIRTY, harmless=(0,)),
        *(
            needless(f"dirty_{name} --dirty-{name.replace('_', '-')}", DIRTY)
            for name in ("timeout", "threads", "graceful_timeout")
        ),
        *(
            impossible(name, DIRTY)
            for name in ("on_dirty_starting", "dirty_post_fork", "dirty_worker_init", "dirty_worker_exit")
        ),
        needless(
            "control_socket --control-socket",
            CONTROL := "there is one of its own, for `prefork status`, `prefork scale` and the like: "
            "--control-socket",
        ),
        needless("control_socket_mode --control-socket-mode", f"{CONTROL}, which only its user may use"),
        becomes(
            "control_socket_disable --no-control-socket",
            "control_socket",
            convert=only_if("control_socket", "off", "it is off"),
            takes=Takes.SWITCH,
            hint="use --control-socket off",
        ),
    ]
)


def _no_path(value: Any) -> Options:
    if not value:
        raise Needless("it is empty")
    raise Impossible(f"set PYTHONPATH={':'.join(entries_of(value))} before the start")


def _forwarder(value: Any) -> Options:
    if set(entries_of(value)) <= {"SCRIPT_NAME", "PATH_INFO"}:
        raise Needless("X-Forwarded-Prefix of --trusted-proxies is SCRIPT_NAME")
    raise Impossible("have the proxy send another field, and read that in the application")


IMPLIED = (
    Implied(
        *("workers", 1, "workers"),
        "gunicorn's default; without this line the number follows the load",
        is_set=True,
        variable="WEB_CONCURRENCY",
    ),
    Implied(
        *("request_timeout", 30, "timeout", "gunicorn's default, of sync workers", False),
        unless=("worker_class", "threads"),
    ),
    Implied("keep_alive_timeout", 2, "keepalive", "gunicorn's default", False),
)

GUNICORN = Peer("gunicorn", "27.0.1", SETTINGS, IMPLIED, "gunicorn.conf.py")
