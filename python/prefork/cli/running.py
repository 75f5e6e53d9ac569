"""What the commands for a running pool have in common."""

from __future__ import annotations

import click

glue_option = click.option(
    "--glue",
    envvar="PREFORK_GLUE",
    show_envvar=True,
    metavar="NAME",
    help="Name of the pool. Required if several are running.",
)
