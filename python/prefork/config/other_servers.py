"""Options of gunicorn, uvicorn, granian and hypercorn: what they are called here, or why there is none.

Always: a name that one of them has is never guessed at. A similar spelling would mislead, and may cost data:
`--env-file .env` is not `--pid-file .env`.
"""

from __future__ import annotations

EQUIVALENTS = {
    "--access-log-fmt": "--access-log-format",
    "--access-logfile": "--access-log",
    "--access-logformat": "--access-log-format",
    "--app-dir": "--chdir",
    "--asgi-lifespan": "--lifespan",
    "--asgi-loop": "--loop",
    "--blocking-threads": "--threads",
    "--ca-certs": "--tls-client-ca",
    "--cert-reqs": "--tls-client-auth",
    "--certfile": "--tls-cert",
    "--ciphers": "--tls-ciphers",
    "--fd": "--bind fd://N",
    "--forwarded-allow-ips": "--trusted-proxies",
    "--h11-max-incomplete-event-size": "--max-head",
    "--header-map": "--underscores",
    "--host": "--bind HOST:PORT",
    "--http2-cleartext": "--h2c",
    "--http2-max-concurrent-streams": "--max-streams",
    "--http1-buffer-size": "--max-head",
    "--http1-header-read-timeout": "--header-timeout, in seconds",
    "--http1-keep-alive": "--keep-alive",
    "--keyfile": "--tls-key",
    "--limit-max-requests": "--max-requests",
    "--limit-max-requests-jitter": "--max-requests-jitter",
    "--limit-request-field_size": "--max-line for a line, --max-head for the whole head",
    "--limit-request-fields": "--max-fields",
    "--limit-request-line": "--max-line",
    "--log-config-json": "--log-config",
    "--no-http1-keep-alive": "--no-keep-alive",
    "--pid": "--pid-file",
    "--port": "--bind HOST:PORT",
    "--proxy-allow-from": "--trusted-proxies",
    "--pythonpath": "--chdir",
    "--read-timeout": "--header-timeout for heads, --body-min-rate for bodies",
    "--statsd-host": "--statsd",
    "--ssl-ca": "--tls-client-ca",
    "--ssl-ca-certs": "--tls-client-ca",
    "--ssl-cert-reqs": "--tls-client-auth",
    "--ssl-certfile": "--tls-cert",
    "--ssl-certificate": "--tls-cert",
    "--ssl-ciphers": "--tls-ciphers",
    "--ssl-client-verify": "--tls-client-auth",
    "--ssl-crl": "--tls-client-crl",
    "--ssl-keyfile": "--tls-key",
    "--ssl-protocol-min": "--tls-min-version",
    "--static-path-dir-to-file": "--static-fallback",
    "--static-path-expires": "--static-cache",
    "--static-path-mount": "--static PREFIX=DIRECTORY",
    "--static-path-route": "--static PREFIX=DIRECTORY",
    "--timeout": "--request-timeout",
    "--timeout-graceful-shutdown": "--graceful-timeout",
    "--timeout-keep-alive": "--keep-alive-timeout",
    "--uds": "--bind unix:PATH",
    "--uds-permissions": "--bind unix:PATH,mode=MODE",
    "--url-path-prefix": "--root-path",
    "--verify-mode": "--tls-client-auth",
    "--websocket-max-message-size": "--ws-max-message",
    "--websocket-ping-interval": "--ws-ping-interval",
    "--workers-kill-timeout": "--graceful-timeout",
    "--working-dir": "--chdir",
    "--ws-max-size": "--ws-max-message",
    "--ws-per-message-deflate": "--ws-deflate",
    "-t": "--request-timeout",
}
"""The option with the same purpose."""

ABSENT = {
    "--backpressure --limit-concurrency --worker-connections": (
        "--max-queue limits the requests that wait while every worker is busy, --max-connections the "
        "connections of a worker"
    ),
    "--blocking-threads-idle-timeout --runtime-": (
        "the engine of a worker is one thread; --threads sets those that call a WSGI application"
    ),
    "--do-handshake-on-connect --suppress-ragged-eofs": "the handshake of TLS never blocks a worker",
    "--insecure-bind": "--redirect-http leads clients without TLS to https",
    "--ssl-version": "--tls-min-version sets the lowest version",
    "--ssl-keyfile-password --keyfile-password": "--tls-key-password-file names a file with it",
    "--no-ssl- --ssl-": "see the section TLS of the help",
    "--capture-output --enable-stdio-inheritance -R": (
        "what the application prints stays on standard output and standard error"
    ),
    "--casefold-http-method --permit- --strip-header-spaces": "requests must follow RFC 9112",
    "--check-config --print-config": "an invalid option ends the start with one line",
    "--control-": "`prefork status` shows what the workers do",
    "--no-control-socket": "there is no control socket",
    "--daemon -D": "use a service manager to run it in the background",
    "--date-header --no-date-header": "every response has a Date (RFC 9110, 6.6.1)",
    "--dirty-": "use a queue of tasks",
    "--disable-redirect-access-to-syslog --log-syslog --log-syslog- --log --no-log --error-log "
    "--error-logfile --log-file --logger-class": (
        "the log is written to standard error; --log-config or the application can configure Python's logging"
    ),
    "--use-colors --no-use-colors": "the log has no colors",
    "--enable-backlog-metric --metrics --no-metrics --metrics- --dogstatsd-tags --rss-": (
        "--admin has /metrics, and --statsd sends figures"
    ),
    "--env -e --env-file --env-files": "set the environment before the start, as a service manager does",
    "--forwarder-headers --proxy-headers --no-proxy-headers": (
        "--forwarded says which fields are heeded, --trusted-proxies from which peers"
    ),
    "--header": "set it in the application, or in code with PreForkServer(kernel, headers=...)",
    "--http-parser --ws --no-ws --task-impl --http1-pipeline-flush --no-http1-pipeline-flush": (
        "there is only one implementation of each protocol, and it is on"
    ),
    "--http --http-protocols --http2": (
        "HTTP/2 is spoken over TLS unless --tls-alpn leaves it out, and without TLS with --h2c"
    ),
    "--http2- --no-http2-": "the limits of HTTP/1.1 hold for each stream of HTTP/2; its windows are fixed",
    "--quic-bind": "for HTTP/3 use a reverse proxy",
    "--name -n --process-name": "--glue names the pool",
    "--no-access-log": "there is no access log unless --access-log names a file",
    "--no-sendfile": "files are sent by sendfile(2) wherever that is possible",
    "--protocol --uwsgi-allow-from": "a proxy has to speak HTTP; uwsgi and FastCGI are not understood",
    "--reload --reload- --no-reload --no-reload-": "`prefork reload`, or HUP, loads changed code",
    "--respawn- --no-respawn-": "a worker that ends is always replaced",
    "--server-header --no-server-header": "responses have no Server field",
    "--server-name": "compare the Host field in the application or in a proxy",
    "--timeout-worker-healthcheck": "--request-timeout finds a worker that is stuck",
    "--version -v": "use `prefork --version`",
    "--worker-class -k": "the interface is detected; for threads use --threads, for uvloop --loop uvloop",
    "--worker-tmp-dir": "workers need no temporary files to be supervised",
    "--workers-lifetime --workers-max-rss": "--max-age and --max-memory replace workers",
    "--ws-max-queue": "messages that are not read yet are limited to 64k for each connection",
}
"""Why there is no such option. A name that ends in a dash is the prefix of several."""

WITHOUT_HINT = frozenset(
    (
        *("--asgi-disconnect-grace-period", "--paste", "--paster", "--paste-global"),
        *("--reset-contextvars", "--spew"),
    )
)
"""Names about which there is nothing more to say."""

IN_FILES = {
    "access_log_fmt": "access_log_format",
    "accesslog": "access_log",
    "keepalive": "keep_alive_timeout",
    "pidfile": "pid_file",
}
"""Names that only their configuration files have."""


def hint(flag: str) -> str | None:
    """What to use instead of a flag of theirs, or why there is none; empty without a hint.

    None if none of them has that flag.
    """
    if flag in EQUIVALENTS:
        return f"; use {EQUIVALENTS[flag]}"
    if flag in WITHOUT_HINT:
        return ""
    for names, why in ABSENT.items():
        if any(flag == known or (known[-1] == "-" and flag.startswith(known)) for known in names.split()):
            return f"; {why}"
    return None
