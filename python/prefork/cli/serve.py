"""`prefork serve`: its flags, one for each option, and its help."""

from __future__ import annotations

import os
from functools import partial

import click

from prefork.cli.help import NO_BREAK_SPACE, Flag, GroupedCommand
from prefork.config.checked import EXTERNAL
from prefork.config.option import Group, Option
from prefork.config.sources import gather

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
        )


def _metavar(option: Option) -> str:
    choices = option.reader.choices
    return f"[{'|'.join(choices)}]" if choices else option.reader.metavar


def _help(option: Option) -> str:
    default = option.default_text.replace(" ", NO_BREAK_SPACE)
    return f"{option.meaning} [default:{NO_BREAK_SPACE}{default}]" if default else option.meaning


class ServeCommand(GroupedCommand):
    """`prefork serve`."""

    groups = tuple(group.value for group in Group if group is not Group.CODE)
    examples = EXAMPLES


@click.command(cls=ServeCommand, params=[OptionFlag(option) for option in EXTERNAL.values()])
@click.argument("target")
@click.option(
    "--config",
    "-c",
    envvar="PREFORK_CONFIG",
    show_envvar=True,
    metavar="FILE",
    help="TOML file that sets these options.",
)
def serve(target: str, config: str | None, **flags: object) -> None:
    """Serve an application with a pool of workers.

    TARGET is module[:name] or file.py[:name] of a WSGI or ASGI application, a PreForkServer, an HTTPServer or
    a Kernel.

    Each option can also be set in the environment (PREFORK_MAX_BODY for --max-body) and in a TOML file
    (max_body). The command line takes precedence, then the environment, the file and the code.
    """
    from prefork.hosting import serving

    again = partial(gather, config, os.environ, flags)
    serving.serve(target, again(), again)
