"""Hints for flags of other servers: what they are called here, or why there is no such option."""

from __future__ import annotations

import re

import click

EQUIVALENTS = {
    "--host": "--bind HOST:PORT",
    "--port": "--bind HOST:PORT",
    "--uds": "--bind unix:PATH",
    "--timeout": "--request-timeout",
    "-t": "--request-timeout",
    "--access-logfile": "--access-log",
    "--limit-max-requests": "--max-requests",
    "--limit-request-fields": "--max-fields",
    "--h11-max-incomplete-event-size": "--max-head",
    "--timeout-keep-alive": "--keep-alive-timeout",
    "--timeout-graceful-shutdown": "--graceful-timeout",
    "--ws-max-size": "--ws-max-message",
    "--ws-per-message-deflate": "--ws-deflate",
    "--pid": "--pid-file",
    "--app-dir": "--chdir",
    "--pythonpath": "--chdir",
}
"""Flags of gunicorn and uvicorn, and the option with the same purpose. A similar spelling would mislead."""

NOT_SUPPORTED = {
    "--preload": "the application is always loaded before the workers are forked",
    "--reload --reload-": "restart the server to load changed code",
    "-k --worker-class": "the interface is detected; for threads use --threads, for uvloop --loop uvloop",
    "--limit-concurrency --worker-connections": "requests are not refused with 503; --concurrency limits "
    "what a worker accepts while others are idle, --max-clients the number of workers",
    "--limit-request-line --limit-request-field_size": "use --max-line for both; --max-head limits the "
    "whole head",
    "--certfile --keyfile --ca-certs --cert-reqs --ciphers --ssl-": "TLS is not supported yet; use a reverse "
    "proxy",
    "-u --user -g --group -m --umask --initgroups -D --daemon": "use a service manager to set user and "
    "umask and to run in the background",
    "--forwarded-allow-ips --proxy-headers --no-proxy-headers": "use a middleware of the application to "
    "evaluate X-Forwarded-For",
    "--error-logfile --log-file --log-config --log-config-json --logger-class": "the log is written to "
    "standard error; the application can configure Python's logging",
    "--access-logformat": "the access log has the combined format",
    "--no-access-log": "there is no access log unless --access-log names a file",
    "--statsd- --dogstatsd-tags": "metrics are not sent; `prefork status --json` prints them",
    "--worker-tmp-dir": "workers need no temporary files to be supervised",
    "--http --ws": "there is only one implementation of each protocol",
}
"""Their flags without a counterpart here, and why. A name that ends in a dash is the prefix of several."""


def explain(error: click.UsageError, arguments: list[str]) -> str:
    """The message of an error, with a hint if a flag of another server was used."""
    if isinstance(error, click.NoSuchOption):
        name = error.option_name
        if name in EQUIVALENTS:
            return f"No such option {name!r}; use {EQUIVALENTS[name]}"
        for names, why in NOT_SUPPORTED.items():
            if any(name == known or (known[-1] == "-" and name.startswith(known)) for known in names.split()):
                return f"No such option {name!r}; {why}"
    elif seconds := re.search(r" --keep-alive[ =]([0-9]+)", " ".join(arguments)):
        # click takes the number for the target.
        return f"--keep-alive takes no value; use --keep-alive-timeout {seconds[1]}"
    return error.format_message()
