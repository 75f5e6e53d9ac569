"""`docs/options.md`: the options in the groups of `prefork serve --help`."""

from __future__ import annotations

import re

from prefork.config.checked import options_of
from prefork.config.option import Group, Option, Options
from prefork.config.options import AppOptions, PreForkOptions, ServeOptions, ShortForms
from prefork.config.source_options import SOURCE_OPTIONS

HEAD = """\
<!-- Generated from python/prefork/config/options/ by `make generate`. Do not edit. -->

# Options

An option can be set in four places. If it is set in several, the first of these takes precedence:

1. the command line: `prefork serve app.py --max-body 10m`
2. the environment, and files that `--env-file` names: `PREFORK_MAX_BODY=10m`. The variable is the flag in capitals, with underscores. An empty
   variable is unset. A variable that is no option but looks like one (`PREFORK_WORKRES`) is named in the log,
   and ignored as others are.
3. a TOML file: `prefork.toml` and the table `[tool.prefork]` of `pyproject.toml`, or the file of `--config FILE`:
   `max_body = "10m"`. An unknown name is an error.
4. the code: `PreForkServer(kernel, max_body=10 << 20)`, by the name in the column "In code".

[configuration.md](configuration.md) has the rules: profiles, variables in the file, `PORT` and
`WEB_CONCURRENCY`; `prefork config` shows what holds, and `prefork check` tries it.

`prefork.run(app, max_body="10m")` sets options by their names in the TOML file; type checkers know them. An option without a flag can
only be set in code; one without a name in code is not an option of a constructor. An invalid value is reported
on one line of standard error, with exit status 2 and the place where it was set: `prefork: --max-body: expected
bytes from 0 ...`. In code it raises `OptionError`.

Values may be text in all four places:

| Type | Text |
|---|---|
| boolean | `on`, `off`, `yes`, `no`, `true`, `false`, `1` or `0`; on the command line `--keep-alive` or `--no-keep-alive` |
| bytes | a number, with `k`, `m` or `g` for powers of 1024 |
| seconds | a number, with or without a fraction |
| file, directory | a path relative to the directory in which the command was started, even with `--chdir` |
| prefix=directory, prefix=file, pattern=time | `/static=public`. In a variable or a TOML text, a comma in front of `/` or `*` begins another one: `/a/*=public, max-age=60, *.js=30d` is two |
| mode | octal permissions as chmod(1) has them: `660`. A number in code or TOML is taken as it is: `0o660` |
| user, group | a name or an id |
| networks | addresses and networks (`10.0.0.0/8`), `unix` for peers over a Unix socket, `*` for all; with commas between them |
| hook | only in code: a function, or a session and an event as `("LOG", "got_request")` or `{"session": "LOG", "event": "got_request"}` |
"""  # noqa: E501  (a row of a table is one line)

NOTES = {
    Group.LISTENING: """\
`bind` can be repeated; in a variable addresses have spaces between them, in TOML they are a list. A port
alone, or `[::]` as the host, listens on all IPv6 and IPv4 addresses. `bind` overrides `listeners`, `address`,
`port` and `domain` in the code. Without any of them `prefork serve` listens on the sockets that a service
manager passes, or else on 127.0.0.1:8000. [listening.md](listening.md) has the settings of an address.""",
    Group.POOL: """\
These are options of a `PreForkServer`, which also serves applications. `workers` makes a pool of fixed size;
setting it together with one of the four options that it sets, in the same place, is an error. If
`max_spare_servers` is below `min_spare_servers`, the server uses the latter plus one and logs a warning.""",
    Group.REQUESTS: """\
`hostname`, `spool_above` and `spool_dir` do not apply to ASGI applications: these read request bodies as they
arrive and see the server's address.""",
    Group.PROXIES: """\
[proxies.md](proxies.md) has examples. Without `trusted_proxies`, the variable `FORWARDED_ALLOW_IPS` of
gunicorn and uvicorn is heeded.""",
    Group.APPLICATION: """\
These options and those of the next group configure a WSGI or ASGI application. An option that does not apply
to the target is an error. [hosting.md](hosting.md) has more.""",
    Group.DEVELOPMENT: """\
[development.md](development.md) has more. `prefork dev` sets `reload` itself.""",
    Group.CODE: """\
These options are set in code only.""",
}

OUTSIDE_ONLY = (ShortForms, AppOptions, ServeOptions)
"""Options of the command line, the environment and the file that no constructor has."""


def options_page() -> str:
    """The whole page."""
    return "\n".join([HEAD, _sources(), *map(_section, Group)])


def _sources() -> str:
    lines = ["## Where options come from", "", "| Flag | Variable | Value | Meaning |", "|---|---|---|---|"]
    for option in SOURCE_OPTIONS:
        flags = ", ".join(f"`{flag}`" for flag in (option.flag, option.short) if flag)
        lines.append(f"| {flags} | `{option.variable}` | {option.metavar.lower()} | {option.meaning} |")
    return "\n".join(lines) + "\n"


def _section(group: Group) -> str:
    lines = [f"## {group.value}", ""]
    if group in NOTES:
        lines += [NOTES[group], ""]
    lines += ["| Flag | In code | Type | Default | Meaning |", "|---|---|---|---|---|"]
    kinds: tuple[type[Options], ...] = (*OUTSIDE_ONLY, PreForkOptions)
    for kind in kinds:
        lines += [_row(kind, option) for option in options_of(kind).values() if option.group is group]
    return "\n".join(lines) + "\n"


def _row(kind: type[Options], option: Option) -> str:
    flag = f"`{option.flag}`" if option.key else ""
    in_code = f"`{option.name}`" if kind not in OUTSIDE_ONLY else ""
    choices = option.reader.choices
    type_ = ", ".join(f"`{choice}`" for choice in choices) if choices else option.reader.metavar.lower()
    meaning, default = (
        re.sub(r"--[a-z-]+", r"`\g<0>`", text) for text in (option.meaning, option.default_text)
    )
    return f"| {flag} | {in_code} | {type_} | {default} | {meaning} |"
