"""The help of a command whose flags come in groups.

All groups share one column, so that the page reads as one table. Lines do not break at hyphens, so that a
flag in the text stays whole.
"""

from __future__ import annotations

import inspect
import textwrap

import click

NO_BREAK_SPACE = "\xa0"

COLUMN = 35
"""Where the text begins. A longer flag has a line of its own."""


class Flag(click.Option):
    """A flag that belongs to a group."""

    group: str


class GroupedCommand(click.Command):
    """A command with groups of flags in this order, and with examples. Other flags join the last group."""

    groups: tuple[str, ...]
    examples: str

    def format_help_text(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        for paragraph in inspect.cleandoc(self.help or "").split("\n\n"):
            formatter.write("\n")
            formatter.write("".join(f"  {line}\n" for line in _wrapped(paragraph, formatter.width - 2)))

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        flags = [flag for flag in self.get_params(context) if isinstance(flag, click.Option)]
        for group in self.groups:
            with formatter.section(group):
                for flag in flags:
                    if getattr(flag, "group", self.groups[-1]) == group:
                        _write_flag(flag, context, formatter)

    def format_epilog(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Examples"):
            formatter.write(textwrap.indent(self.examples, "  "))


def _write_flag(flag: click.Option, context: click.Context, formatter: click.HelpFormatter) -> None:
    record = flag.get_help_record(context)
    if record is None:
        return
    names, text = record
    lines = _wrapped(text, formatter.width - COLUMN)
    left = f"  {names}"
    if len(left) > COLUMN - 2:
        formatter.write(f"{left}\n")
        left = ""
    for line in lines:
        formatter.write(f"{left:{COLUMN}}{line}\n")
        left = ""


def _wrapped(text: str, width: int) -> list[str]:
    lines = textwrap.wrap(text, width, break_on_hyphens=False)
    return [line.replace(NO_BREAK_SPACE, " ") for line in lines]
