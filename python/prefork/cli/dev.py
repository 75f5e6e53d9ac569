"""`prefork dev`: `prefork serve` with what a developer wants."""

from __future__ import annotations

import os

import click

from prefork.cli.serve import ServeCommand, Target, flags
from prefork.config.sources import Given, Sources

EXAMPLES = """\
prefork dev app.py
prefork dev shop.wsgi:application --reload-include 'templates/*'
prefork dev shop.asgi:app --https --locals
"""


class DevCommand(ServeCommand):
    """`prefork dev`."""

    examples = EXAMPLES


@click.command(cls=DevCommand, params=flags())
@click.argument("target", type=Target())
@click.option("--https", is_flag=True, help="Serve https, with a certificate that is made for this run.")
@click.option("--locals", "shows_values", is_flag=True, help="Show the values of variables on error pages.")
def dev(target: str, https: bool, shows_values: bool, **given: object) -> None:
    """Serve an application while you write it: what you save is served at once.

    TARGET is module[:name] or file.py[:name] of a WSGI or ASGI application. One worker serves it. When a file
    has changed it is loaded again, and requests wait for that. Errors are shown in the browser and on the
    terminal, with a line for each request.

    The options are those of `prefork serve`, from the same sources. What others may reach should be served by
    `prefork serve`: error pages show code.
    """
    from prefork.hosting import serving
    from prefork.hosting.dev.development import Development

    development = Development(https=https, shows_values=shows_values)
    sources = Sources(given, os.environ)

    def again() -> Given:
        return development.completed(sources.gather())

    serving.serve(target, again(), again, sources.files, development)
