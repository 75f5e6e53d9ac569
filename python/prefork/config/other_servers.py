"""Hints for options of gunicorn, uvicorn, granian and hypercorn: their names here, or why there is none.

Always: a name that one of them has is never guessed at. A similar spelling would mislead, and may cost data:
`--env-files .env` is not `--pid-file .env`.

Those of gunicorn and uvicorn are in the tables of `prefork.config.peers`. Only a mistake needs this file: it
must not be in the memory of workers.
"""

from __future__ import annotations

from prefork.config.peers.gunicorn import GUNICORN
from prefork.config.peers.setting import Setting
from prefork.config.peers.uvicorn import UVICORN

EQUIVALENTS = {
    "--access-log-fmt": "--access-log-format",
    "--blocking-threads": "--threads",
    "--env-files": "--env-file",
    "--http1-buffer-size": "--max-head",
    "--http1-header-read-timeout": "--header-timeout, in seconds",
    "--http1-keep-alive": "--keep-alive",
    "--no-http1-keep-alive": "--no-keep-alive",
    "--read-timeout": "--header-timeout for heads, --body-min-rate for bodies",
    "--ssl-ca": "--tls-client-ca",
    "--ssl-certificate": "--tls-cert",
    "--ssl-client-verify": "--tls-client-auth",
    "--ssl-crl": "--tls-client-crl",
    "--ssl-protocol-min": "--tls-min-version",
    "--static-path-dir-to-file": "--static-fallback",
    "--static-path-expires": "--static-cache",
    "--static-path-mount": "--static PREFIX=DIRECTORY",
    "--static-path-route": "--static PREFIX=DIRECTORY",
    "--uds-permissions": "--bind unix:PATH,mode=MODE",
    "--url-path-prefix": "--root-path",
    "--verify-mode": "--tls-client-auth",
    "--websocket-ping-interval": "--ws-ping-interval",
    "--workers-kill-timeout": "--graceful-timeout",
    "--working-dir": "--chdir",
}
"""The option with the same purpose."""

ABSENT = {
    "--backpressure": (
        "--max-queue limits the requests that wait while every worker is busy, --max-connections the "
        "connections of a worker"
    ),
    "--blocking-threads-idle-timeout --runtime-": (
        "the engine of a worker is one thread; --threads sets those that call a WSGI application"
    ),
    "--insecure-bind": "--redirect-http leads clients without TLS to https",
    "--keyfile-password": "--tls-key-password-file names a file with it",
    "--no-ssl- --ssl-": "see the section TLS of the help",
    "--log --no-log --error-log": (
        "the log is written to standard error; --log-config or the application can configure Python's logging"
    ),
    "--metrics --no-metrics --metrics- --rss-": "--admin has /metrics, and --statsd sends figures",
    "--no-ws --task-impl --http1-pipeline-flush --no-http1-pipeline-flush": (
        "there is only one implementation of each protocol, and it is on"
    ),
    "--http2- --no-http2-": "the limits of HTTP/1.1 hold for each stream of HTTP/2; its windows are fixed",
    "--quic-bind": "for HTTP/3 use a reverse proxy",
    "--process-name": "--glue names the pool",
    "--reload- --no-reload-": (
        "--reload watches the files of --reload-dir, by --reload-include and --reload-exclude"
    ),
    "--respawn- --no-respawn-": "a worker that ends is always replaced",
    "--server-name": "compare the Host field in the application or in a proxy",
    "-v": "use `prefork --version`",
    "--workers-lifetime --workers-max-rss": "--max-age and --max-memory replace workers",
}
"""Why there is no such option. A name that ends in a dash is the prefix of several."""

IN_FILES = {"access_log_fmt": "access_log_format"}
"""Names that only their configuration files have."""


def hint(flag: str) -> str | None:
    """What to use instead of a flag of theirs, or why there is none.

    None if none of them has that flag.
    """
    for peer in (GUNICORN, UVICORN):
        for setting in peer.settings.values():
            if flag in setting.flags:
                return f"; {setting.hint}"
    if flag in EQUIVALENTS:
        return f"; use {EQUIVALENTS[flag]}"
    for names, why in ABSENT.items():
        if any(flag == known or (known[-1] == "-" and flag.startswith(known)) for known in names.split()):
            return f"; {why}"
    return None


def named(key: str) -> Setting | None:
    """The setting that a configuration file of gunicorn or uvicorn calls so."""
    return GUNICORN.find(key) or UVICORN.find(key)
