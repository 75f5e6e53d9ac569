"""The command line: `prefork serve TARGET` and `prefork status`.

Always: what the user got wrong is one line on standard error and exit status 2. A traceback is shown only for
an exception in the user's own code, and begins there.

It knows every floor below it; nothing knows it. What `serve` imports stays in the memory of every worker, so
what only `status` needs is imported there.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable

import click

from prefork.config.options import OUTSIDE, Option
from prefork.config.sources import gather
from prefork.errors import PreforkError

Command = Callable[..., None]

SHORT = {"bind": "-b", "workers": "-w", "pid_file": "-p"}
"""What fingers know from gunicorn."""

ELSEWHERE = {
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
"""What options of gunicorn and uvicorn are called here; a likely spelling would lead astray."""

ABSENT = {
    "--preload": "it is always so: the application is loaded once, and every worker is a fork of it",
    "--reload --reload-": "code that changed on disk takes a restart",
    "-k --worker-class": "the application shows what it is; --threads and --loop uvloop are the choices",
    "--limit-concurrency --worker-connections": "nothing here refuses with 503: --concurrency says when a "
    "worker is full and others are preferred, --max-clients how many workers there may be",
    "--limit-request-line --limit-request-field_size": "one line of a head may always have 8k; "
    "--max-head bounds them together",
    "--certfile --keyfile --ca-certs --cert-reqs --ciphers --ssl-": "there is no TLS yet; a proxy has it",
    "-u --user -g --group -m --umask --initgroups -D --daemon": "user, umask and background are for whoever "
    "starts the server, a service manager for one",
    "--forwarded-allow-ips --proxy-headers --no-proxy-headers": "a middleware of the application reads "
    "X-Forwarded-For and its like",
    "--error-logfile --log-file --log-config --log-config-json --logger-class": "the log goes to standard "
    "error, unless the application sets up logging itself",
    "--access-logformat": "the lines of --access-log are in the combined format",
    "--no-access-log": "there is none unless --access-log names its file",
    "--statsd- --dogstatsd-tags": "numbers are not sent anywhere; `prefork status --json` tells them",
    "--worker-tmp-dir": "workers have no files there",
    "--http --ws": "there is one implementation, and nothing to choose",
}
"""Why other options of theirs are not here. A name that ends in a dash is the beginning of several."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=True)
@click.version_option(package_name="prefork", prog_name="prefork", message="%(prog)s %(version)s")
@click.pass_context
def commands(context: click.Context) -> None:
    """A preforking HTTP server: idle workers are always ready, requests are events posted to sessions."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def every_option(command: Command) -> Command:
    """Gives a command a flag for each option that can be said from outside."""
    for name, option in reversed(OUTSIDE.items()):
        names = option.flag + (f"/--no-{option.flag[2:]}" if isinstance(option.default, bool) else "")
        short = (SHORT[name],) if name in SHORT else ()
        about = option.meaning + (f" ({option.unit})" if option.unit else "") + default_of(option)
        several = isinstance(option.default, tuple)
        alone = name == "bind"
        command = click.option(
            names,
            *short,
            name,
            default=None,
            multiple=several or alone,
            callback=the_only if alone else None,
            metavar="VALUE",
            help=about,
        )(command)
    return command


def the_only(_context: click.Context, _option: click.Parameter, said: tuple[str, ...]) -> object:
    """The value, or all of them for its reader to refuse: if the last one won, as elsewhere, the other
    addresses would be missed by clients only.
    """
    return said[0] if len(said) == 1 else said


def default_of(option: Option) -> str:
    match option.default:
        case None | ():
            return ""
        case bool(on):
            return " [on]" if on else " [off]"
        case int(bytes_) if option.unit == "bytes":
            power = next(power for power in (30, 20, 10, 0) if bytes_ % (1 << power) == 0)
            return f" [{bytes_ >> power}{ {30: 'g', 20: 'm', 10: 'k', 0: ''}[power] }]"
        case float(seconds):
            return f" [{seconds:g}]"
    return f" [{option.default}]"


@commands.command()
@click.argument("target")
@click.option(
    "--config", "-c", envvar="PREFORK_CONFIG", metavar="FILE", help="TOML file that has these options"
)
@every_option
def serve(target: str, config: str | None, **flags: object) -> None:
    """Serve TARGET: file.py[:name] or module[:name] of a WSGI or ASGI application, a server or a Kernel.

    Each option is also an environment variable, --max-body for instance PREFORK_MAX_BODY, and a line of
    the TOML file, max_body. The command line is over the environment, that over the file, and that over what
    the target says.
    """
    from prefork.hosting.serving import run

    run(target, gather(config, os.environ, flags))


@commands.command()
@click.option("--glue", envvar="PREFORK_GLUE", help="the pool's name; not needed if there is only one")
@click.option("--json", "as_json", is_flag=True, help="for programs")
def status(glue: str | None, as_json: bool) -> None:
    """Show the workers of a running pool."""
    from prefork.status import show

    show(glue or None, as_json=as_json)


def main() -> None:
    """The command `prefork`."""
    try:
        code = commands.main(prog_name="prefork", standalone_mode=False)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "prefork"
        code = complain(f"{explain(error, sys.argv)} (see {path} --help)")
    except PreforkError as error:
        if error.__cause__ is not None:
            import traceback

            traceback.print_exception(error.__cause__)
        code = complain(str(error))
    except (click.Abort, KeyboardInterrupt):
        code = 130
    sys.exit(code)


def explain(error: click.UsageError, arguments: list[str]) -> str:
    """What was wrong, in the words of who knows another server's options."""
    if isinstance(error, click.NoSuchOption):
        name = error.option_name
        if name in ELSEWHERE:
            return f"No such option {name!r}; here it is {ELSEWHERE[name]}"
        for names, why in ABSENT.items():
            if any(name == known or (known[-1] == "-" and name.startswith(known)) for known in names.split()):
                return f"No such option {name!r}; {why}"
    elif seconds := re.search(r" --keep-alive[ =]([0-9]+)", " ".join(arguments)):
        # The switch leaves the number to be taken for the target.
        return f"--keep-alive is a switch; the time is --keep-alive-timeout {seconds[1]}"
    return error.format_message()


def complain(line: str) -> int:
    print("prefork:", " ".join(line.split()), file=sys.stderr)
    return 2
