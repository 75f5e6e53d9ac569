"""`prefork serve`: its flags, one for each option, and its help."""

from __future__ import annotations

import os
from functools import partial

import click
from click.shell_completion import CompletionItem

from prefork.cli.help import NO_BREAK_SPACE, Flag, GroupedCommand
from prefork.config.checked import EXTERNAL
from prefork.config.option import Group, Option
from prefork.config.source_options import SOURCE_OPTIONS, SourceOption
from prefork.config.sources import Sources

SHORT = {
    "bind": "-b",
    "workers": "-w",
    "pid_file": "-p",
    "user": "-u",
    "group": "-g",
    "umask": "-m",
}
"""Short flags kept from gunicorn."""

EXAMPLES = """\
prefork serve app.py
prefork serve shop.wsgi:application -b 0.0.0.0:8000 --workers 4
prefork serve shop.asgi:app -b unix:/run/shop.sock --access-log -
prefork serve shop:app -b :443,tls -b unix:/run/shop.sock --tls-cert shop.pem
prefork serve shop:create_app --factory --threads 8 --static /static=public
"""


class OptionFlag(Flag):
    """The flag of an option."""

    def __init__(self, option: Option) -> None:
        assert option.key is not None
        self.group = option.group.value
        switch = isinstance(option.default, bool)
        flag = f"{option.flag}/--no-{option.flag[2:]}" if switch else option.flag
        super().__init__(
            [flag, *filter(None, [SHORT.get(option.key)]), option.key],
            default=None,
            multiple=isinstance(option.default, tuple),
            metavar=None if switch else _metavar(option),
            help=_help(option),
            shell_complete=partial(_completions, option),
        )


KINDS = {"FILE": "file", "FILES": "file", "DIRECTORY": "dir", "DIRECTORIES": "dir"}
"""What a shell completes values of these types with."""


def _completions(
    option: Option, _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """What a shell offers for the value of an option."""
    if option.reader.metavar in KINDS:
        return [CompletionItem(incomplete, type=KINDS[option.reader.metavar])]
    return [CompletionItem(one) for one in option.reader.choices if one.startswith(incomplete)]


def _metavar(option: Option) -> str:
    choices = option.reader.choices
    return f"[{'|'.join(choices)}]" if choices else option.reader.metavar


def _help(option: Option) -> str:
    default = option.default_text.replace(" ", NO_BREAK_SPACE)
    return f"{option.meaning} [default:{NO_BREAK_SPACE}{default}]" if default else option.meaning


class Target(click.ParamType[str]):
    """What is served. A shell offers files."""

    name = "target"

    def shell_complete(
        self, _context: click.Context, _parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """As click calls it."""
        return [CompletionItem(incomplete, type="file")]


class ServeCommand(GroupedCommand):
    """`prefork serve`."""

    groups = tuple(group.value for group in Group if group is not Group.CODE)
    examples = EXAMPLES


class SourceFlag(Flag):
    """A flag that says where options come from."""

    group = Group.PROCESS.value

    def __init__(self, option: SourceOption) -> None:
        super().__init__(
            [option.flag, *filter(None, [option.short])],
            # Of one that repeats, click would take each word of the variable.
            envvar=None if option.repeats else option.variable,
            show_envvar=not option.repeats,
            multiple=option.repeats,
            metavar=option.metavar,
            help=option.meaning + (f" [env var: {option.variable}]" if option.repeats else ""),
        )

    def shell_complete(self, context: click.Context, incomplete: str) -> list[CompletionItem]:
        """What a shell offers for its value."""
        if self.metavar == "FILE":
            return [CompletionItem(incomplete, type="file")]
        return super().shell_complete(context, incomplete)


OF_SOURCES = tuple(map(SourceFlag, SOURCE_OPTIONS))
"""They are what `Sources` takes beside the options."""


def flags() -> list[click.Parameter]:
    """The flags of a command that takes all options of `serve`."""
    return [*(OptionFlag(option) for option in EXTERNAL.values()), *OF_SOURCES]


@click.command(cls=ServeCommand, params=flags())
@click.argument("target", type=Target())
def serve(target: str, **given: object) -> None:
    """Serve an application with a pool of workers.

    TARGET is module[:name] or file.py[:name] of a WSGI or ASGI application, a PreForkServer, an HTTPServer or
    a Kernel.

    Each option can also be set in the environment (PREFORK_MAX_BODY for --max-body) and in a TOML file
    (max_body). The command line takes precedence, then the environment, the file and the code.
    """
    from prefork.hosting import serving

    sources = Sources(given, os.environ)
    serving.serve(target, sources.gather(), sources.gather, sources.files)
