"""`prefork/config/keywords.py`: the options as keywords, for type checkers."""

from __future__ import annotations

from prefork.config.checked import EXTERNAL, options_of
from prefork.config.option import Option
from prefork.config.options import PreForkOptions, ServerOptions

HEAD = '''\
"""The options as keywords, as type checkers see them: `run(app, wokers=4)` is an error for mypy.

Generated from python/prefork/config/options/ by `make generate`. Do not edit. No code imports it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, TypeAlias, TypedDict

Hook: TypeAlias = Callable[..., object] | tuple[object, str] | Mapping[str, object]
Pairs: TypeAlias = str | Mapping[str, str] | Iterable[str] | Iterable[tuple[str, str]]
Switch: TypeAlias = bool | str
Address: TypeAlias = str | int | Mapping[str, object]
Addresses: TypeAlias = Address | Iterable[Address]
'''

TYPES = {
    "ADDRESS": "Addresses",
    "BOOLEAN": "Switch",
    "BYTES": "int | str",
    "CIPHERS": "str | Iterable[str]",
    "CONFIG_FILE": "str | os.PathLike[str] | Mapping[str, object]",
    "DIRECTORIES": "str | Iterable[str]",
    "DIRECTORY": "str | os.PathLike[str]",
    "EVENTS": "Mapping[object, str] | Mapping[str, str]",
    "FAMILY": "int | str",
    "FIELDS": "Mapping[str, str] | Iterable[tuple[str, str]]",
    "FILE": "str",
    "FILES": "str | Iterable[str]",
    "HANDLERS": "Iterable[Mapping[str, object]]",
    "GROUP": "str | int",
    "HOOK": "Hook",
    "HOST:PORT": "str",
    "INTEGER": "int | str",
    "INTEGER|auto": "int | str",
    "KEY_AND_CERTIFICATE": "tuple[str, str] | list[str]",
    "MODE": "int | str",
    "MODULE:FUNCTION": "str | Callable[..., object]",
    "NAME": "str | int",
    "PAGE": "str",
    "PAGES": "str | Iterable[str]",
    "NETWORKS": "str | Iterable[str]",
    "PATH": "str",
    "PATHS": "str | Iterable[str]",
    "PORTS": "int | str | Iterable[int | str]",
    "PROTOCOLS": "str | Iterable[str]",
    "SECONDS": "float | str",
    "PATTERNS": "str | Iterable[str]",
    "PERCENT": "float | str",
    "TEXT": "str",
    "USER": "str | int",
}
"""What a reader takes, by its metavar. A metavar with an equals sign is of pairs."""

CLASSES = (
    ("ServerKeywords", "The options of an `HTTPServer`.", options_of(ServerOptions), ""),
    ("PreForkKeywords", "The options of a `PreForkServer`.", options_of(PreForkOptions), "ServerKeywords"),
    ("RunKeywords", "The options of `prefork.run`.", EXTERNAL, ""),
)


def keywords() -> str:
    """The whole module."""
    known: dict[str, Option] = {}
    parts = [HEAD]
    for name, about, options, base in CLASSES:
        own = {key: option for key, option in options.items() if not base or key not in known}
        known = dict(options)
        fields = [f"    {key}: {_type(option)}" for key, option in own.items()]
        bases = base or "TypedDict"
        parts.append(
            "\n".join(["", f"class {name}({bases}, total=False):", f'    """{about}"""', "", *fields, ""])
        )
    return "\n".join(parts)


def _type(option: Option) -> str:
    reader = option.reader
    if reader.choices:
        quoted = ", ".join(f'"{choice}"' for choice in reader.choices)
        text = f"Literal[{quoted}]"
    else:
        text = "Pairs" if "=" in reader.metavar else TYPES[reader.metavar]
    return f"{text} | None" if option.default is None else text
