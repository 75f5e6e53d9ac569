"""`prefork config`: the options that hold, and what has said so."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import click

from prefork.cli.serve import ServeCommand, flags
from prefork.config.sources import NO_FILE, Sources

if TYPE_CHECKING:
    from prefork.hosting.checking import Effective

EXAMPLES = """\
prefork config
prefork config shop.wsgi --profile dev --json
prefork config --workers 4 --bind 0.0.0.0:8000 --toml > prefork.toml
prefork config --schema > prefork.schema.json
"""


class ConfigCommand(ServeCommand):
    """`prefork config`."""

    groups = (*ServeCommand.groups, "Output")
    examples = EXAMPLES


@click.command(cls=ConfigCommand, params=flags())
@click.argument("target", required=False)
@click.option("--json", "output", flag_value="json", help="Print the options as JSON.")
@click.option(
    "--toml",
    "output",
    flag_value="toml",
    help="Print a prefork.toml to start from: what is given, and all others as comments.",
)
@click.option(
    "--schema", "output", flag_value="schema", help="Print the JSON Schema of prefork.toml, for editors."
)
@click.option("--defaults", is_flag=True, help="Ignore files, variables and flags: show the defaults.")
def config(target: str | None, output: str | None, defaults: bool, **given: object) -> None:
    """Show the options with which `prefork serve` would run, and where each value comes from.

    With a TARGET it is loaded, and what its code says is shown as well. The flags are those of
    `prefork serve`.
    """
    from prefork.logs.console import print_line

    if output == "schema":
        from prefork.config.schema import schema

        print_line(json.dumps(schema(), indent=1))
        return
    sources = Sources({"config": NO_FILE}, {}) if defaults else Sources(given, os.environ)
    values = sources.gather()
    if output == "toml":
        from prefork.config.template import template

        print_line(template(values))
        return
    from prefork.hosting.checking import effective

    rows = effective(target, values, {} if defaults else os.environ)
    if output == "json":
        print_line(json.dumps(_as_json(rows), indent=2))
    elif sys.stdout.isatty():
        _draw(rows)
    else:
        print_line("\n".join(_lines(rows)))


def _as_json(rows: list[Effective]) -> dict[str, object]:
    from prefork.config.written import plain

    return {
        str(row.option.key): {"value": plain(row.option, row.value), "source": row.source} for row in rows
    }


def _shown(row: Effective) -> tuple[str, str, str]:
    """Name, value and source. What holds without a value has parentheses."""
    from prefork.config.written import plain, toml

    value = plain(row.option, row.value)
    is_unset = value in (None, [], {}, "")
    text = f"({row.option.unset or 'unset'})" if is_unset else toml(value)
    return str(row.option.key), text, row.source


def _lines(rows: list[Effective]) -> list[str]:
    shown = [_shown(row) for row in rows]
    widths = [max(len(one[column]) for one in shown) for column in (0, 1)]
    return [f"{key:{widths[0]}}  {value:{widths[1]}}  {source}" for key, value, source in shown]


def _draw(rows: list[Effective]) -> None:
    """A table, for a terminal. What is not a default stands out."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from prefork.config.option import Group
    from prefork.hosting.checking import DEFAULT

    table = Table("option", "value", "source", box=None, header_style="bold", pad_edge=False)
    for group in Group:
        own = [row for row in rows if row.option.group is group]
        if own:
            table.add_row(Text(group.value, style="bold"), "", "")
        for row in own:
            style = "dim" if row.source == DEFAULT else "bold"
            key, value, source = _shown(row)
            table.add_row(Text(f"  {key}"), Text(value, style=style), Text(source, style=style))
    Console().print(table)
