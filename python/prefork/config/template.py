"""A `prefork.toml` to start from: every option with its meaning, and those that are given with their values.

Always: what is a comment says the default, or what a value looks like where there is none.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from prefork.config.checked import EXTERNAL
from prefork.config.option import Group, Option
from prefork.config.sources import WORKERS_SETS, Given
from prefork.config.values import TrustedProxies
from prefork.config.written import by_keys, plain, toml

WIDTH = 100

HEAD = """\
#:schema ./prefork.schema.json

# Options of prefork. `prefork serve` reads this file in the directory in which it is started.
# `prefork config --schema > prefork.schema.json` has editors know the options by the first line.
# What is commented out is a default, or an example where there is none.
"""

EXAMPLES: dict[str, object] = {
    "ADDRESS": ["127.0.0.1:9900"],
    "CIPHERS": ["TLS_AES_128_GCM_SHA256"],
    "CONFIG_FILE": "logging.toml",
    "DIRECTORIES": ["/path/of/a/directory"],
    "DIRECTORY": "/path/of/a/directory",
    "FILE": "/path/of/a/file",
    "FILES": ["/path/of/a/file"],
    "GROUP": "www-data",
    "HOST:PORT": "127.0.0.1:8125",
    "INTEGER": 64,
    "MODE": "027",
    "MODULE:FUNCTION": "shop.hooks:function",
    "NAME": "shop",
    "NETWORKS": ["10.0.0.0/8"],
    "PAGE": "/health",
    "PAGES": ["/"],
    "PATH": "/path",
    "PATHS": ["/path"],
    "PATTERN=TIME": {"/static/*": "1h"},
    "PATTERNS": ["*.html", "templates/*"],
    "PERCENT": "10%",
    "PORTS": [5432],
    "PREFIX=DIRECTORY": {"/static": "public"},
    "PREFIX=FILE": {"/static": "index.html"},
    "PROTOCOLS": ["h2", "http/1.1"],
    "TEXT": "text",
    "USER": "www-data",
}
"""A value for an option without a default, by the metavar of its reader."""

OWN_EXAMPLES: dict[str, object] = {"bind": ["127.0.0.1:8000"], "workers": 4}


def template(given: Given) -> str:
    """The whole file."""
    given = _with_workers(given)
    lines = [HEAD]
    for group in Group:
        options = [option for option in EXTERNAL.values() if option.group is group]
        if options:
            lines += [f"\n# --- {group.value} " + "-" * (WIDTH - 7 - len(group.value)), ""]
        for option in options:
            lines += _about(option, given)
    return "\n".join(lines)


def example(option: Option) -> object:
    """The default as TOML can have it, or a value that shows what one looks like."""
    default = option.default
    if default not in (None, (), "") and not isinstance(default, TrustedProxies):
        return plain(option, default)
    if option.key in OWN_EXAMPLES:
        return OWN_EXAMPLES[option.key]
    return option.reader.choices[0] if option.reader.choices else EXAMPLES[option.reader.metavar]


def _about(option: Option, given: Given) -> Iterator[str]:
    unset = f" Unset: {option.unset}." if option.unset else ""
    yield from (f"# {line}" for line in textwrap.wrap(by_keys(option.meaning + unset), WIDTH - 2))
    if option.name in given:
        yield f"{option.key} = {toml(plain(option, given[option.name].value))}"
    else:
        yield f"# {option.key} = {toml(example(option))}"
    yield ""


def _with_workers(given: Given) -> Given:
    """The values with `workers` in place of the four that it sets."""
    sources = {given[name] for name in WORKERS_SETS if name in given}
    if len(sources) != 1 or not all(name in given for name in WORKERS_SETS):
        return given
    (workers,) = sources
    return {name: value for name, value in given.items() if name not in WORKERS_SETS} | {"workers": workers}
