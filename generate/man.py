"""`docs/prefork.1`: the manual page, in the macros of man(7).

The options come from `config/options/`, the commands from the docstrings in `cli/`: these are read as text,
because the modules need the native one.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from prefork.config.checked import EXTERNAL
from prefork.config.option import Group, Option
from prefork.config.source_options import SOURCE_OPTIONS

CLI = Path(__file__).parent.parent / "python" / "prefork" / "cli"

HEAD = r"""
.\" Generated from python/prefork/config/options/ and cli/ by `make generate`. Do not edit.
.TH PREFORK 1 "" prefork "User commands"
.SH NAME
prefork \- preforking HTTP server for Python
.SH SYNOPSIS
.B prefork serve
.RI [ options ]
.I target
.br
.B prefork dev
.RI [ options ]
.I target
.br
.B prefork
.I command
.RI [ options ]
.SH DESCRIPTION
.B prefork
serves a WSGI or ASGI application, or native event handlers, with a pool of worker processes.
.I target
is
.IR module [: name ]
or
.IR file.py [: name ].
""".strip()

SOURCES = """
Each option can also be set in the environment, as a variable in capitals that begins with PREFORK_
(PREFORK_MAX_BODY for --max-body), and in a TOML file (max_body): in prefork.toml and in the table
[tool.prefork] of pyproject.toml, which are read if they are in the current directory, or in the one that
--config names. The command line takes precedence, then the environment, the file and the code. Without an
address from any of them, PORT names a port of all IPv4 addresses; if the number of workers is not set, it is
WEB_CONCURRENCY.
""".strip().replace("\n", " ")

STATUSES = {
    "0": "The server was told to end.",
    "1": "The program has raised an exception.",
    "2": "A mistake in the command line or in an option, an address that cannot be had, or an application "
    "that cannot be loaded. Standard error has a line about it.",
    "3": "No worker was ever ready.",
}

SIGNALS = {
    "TERM, INT": "End when all requests are completed, within --graceful-timeout. A second one ends at once.",
    "HUP": "Load code and options again, and replace the workers one after the other.",
    "USR1": "Open the access log again.",
    "USR2": "Have another manager, with what is installed now, take the place of this one.",
}


def manual_page() -> str:
    """The whole page."""
    lines = [HEAD, ".SH COMMANDS"]
    for name, about in commands():
        lines += _entry(bold(name), about)
    lines += [".SH OPTIONS", escaped(SOURCES), ".SS Where options come from"]
    for source in SOURCE_OPTIONS:
        names = ", ".join(bold(flag) for flag in (source.flag, source.short) if flag)
        head = f"{names} \\fI{escaped(source.metavar)}\\fR"
        lines += _entry(head, f"{source.meaning} In the environment: {source.variable}.")
    for group in Group:
        options = [option for option in EXTERNAL.values() if option.group is group]
        if options:
            lines.append(f".SS {escaped(group.value)}")
        for option in options:
            lines += _entry(_flag(option), _meaning(option))
    lines += [".SS Of prefork dev alone"]
    lines += _entry(bold("--https"), "Serve https, with a certificate that is made for this run.")
    lines += _entry(bold("--locals"), "Show the values of variables on error pages.")
    lines += [".SH SIGNALS", *_entries(SIGNALS)]
    lines += [".SH EXIT STATUS", *_entries(STATUSES)]
    return "\n".join([*lines, ""])


def commands() -> Iterator[tuple[str, str]]:
    """The name of each command, and the first paragraph of its help."""
    for name in _names():
        place = name.replace("-", "_")
        for statement in ast.parse((CLI / f"{place}.py").read_text()).body:
            if isinstance(statement, ast.FunctionDef) and statement.name == place:
                about = (ast.get_docstring(statement) or "").partition("\n\n")[0]
                yield name, " ".join(about.split())


def _names() -> list[str]:
    for statement in ast.parse((CLI / "main.py").read_text()).body:
        if isinstance(statement, ast.Assign) and getattr(statement.targets[0], "id", "") == "COMMANDS":
            return list(ast.literal_eval(statement.value))
    raise LookupError("cli/main.py has no COMMANDS")


def _flag(option: Option) -> str:
    if isinstance(option.default, bool):
        return f"{bold(option.flag)}, {bold(f'--no-{option.flag[2:]}')}"
    choices = option.reader.choices
    value = "|".join(choices) if choices else option.reader.metavar
    return f"{bold(option.flag)} \\fI{escaped(value)}\\fR"


def _meaning(option: Option) -> str:
    default = option.default_text
    return f"{option.meaning} Default: {default}." if default else option.meaning


def _entries(texts: dict[str, str]) -> Iterable[str]:
    return (line for name, about in texts.items() for line in _entry(bold(name), about))


def _entry(head: str, text: str) -> list[str]:
    return [".TP", head, escaped(text)]


def bold(text: str) -> str:
    """A text in bold."""
    return f"\\fB{escaped(text)}\\fR"


def escaped(text: str) -> str:
    """A text as it is: nothing in it is a request, and its dashes are those of a keyboard."""
    text = re.sub(r"[\\\-^~`']", lambda found: SPECIAL[found[0]], text)
    return f"\\&{text}" if text.startswith(".") else text


SPECIAL = {"\\": "\\e", "-": "\\-", "^": "\\(ha", "~": "\\(ti", "`": "\\(ga", "'": "\\(aq"}
"""Characters that roff would replace by others, and what stands for them."""
