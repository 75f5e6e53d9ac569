"""`prefork check`: whether a target could be served with these options."""

from __future__ import annotations

import os

import click

from prefork.cli.serve import ServeCommand, flags
from prefork.config.sources import Sources

EXAMPLES = """\
prefork check app.py
prefork check shop.wsgi:application --config deploy/prefork.toml --profile production
"""


class CheckCommand(ServeCommand):
    """`prefork check`."""

    examples = EXAMPLES


@click.command(cls=CheckCommand, params=flags())
@click.argument("target")
def check(target: str, **given: object) -> None:
    """Load what `prefork serve` would, with the same options, and serve nothing.

    The target is imported. Options, certificates, keys, static directories, hooks and the configuration of
    logging are read. No address is opened and no process is forked. The exit status is 0 if all is well, or
    else that with which `prefork serve` would end.
    """
    from prefork.admin.access import check_asked
    from prefork.config.options import PreForkOptions
    from prefork.hosting.checking import check as load
    from prefork.hosting.checking import describe
    from prefork.logs.console import print_line

    sources = Sources(given, os.environ)
    servers = load(target, sources.gather())
    for server in servers:
        if isinstance(server.options, PreForkOptions):
            check_asked(server.options)
    print_line(f"prefork: {target} can be served: {'; '.join(map(describe, servers))}")
