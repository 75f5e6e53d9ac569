"""Values of options as JSON and TOML have them, so that reading them again gives the same value.

It must not know where a value is written to.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import cast

from prefork.config.endpoints import SETTINGS, Endpoint
from prefork.config.option import Option
from prefork.config.values import AUTO, TrustedProxies

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def plain(option: Option, value: object) -> object:
    """A value as text, number, boolean, list or dict; None if it is unset."""
    metavar = option.reader.metavar
    if value is AUTO:
        return "auto"
    if "=" in metavar:
        return dict(cast("tuple[tuple[str, str], ...]", value))
    match value:
        case None | bool() | str():
            return value
        case int() if metavar == "BYTES":
            return _size(value)
        case int() if metavar == "MODE":
            return f"{value:03o}"
        case float() if metavar == "PERCENT":
            return f"{value * 100:.10g}%"
        case float():
            return int(value) if value.is_integer() else value
        case int():
            return int(value)
        case Endpoint():
            return _endpoint(value)
        case TrustedProxies():
            return list(value.networks)
        case list() | tuple():
            return [_endpoint(one) if isinstance(one, Endpoint) else one for one in value]
        case Mapping():
            return dict(value)
    return _function(cast("Callable[..., object]", value))


def _size(value: int) -> int | str:
    for suffix, power in (("g", 30), ("m", 20), ("k", 10)):
        if value and value % (1 << power) == 0:
            return f"{value >> power}{suffix}"
    return value


def _endpoint(value: Endpoint) -> str | dict[str, object]:
    """An address with its settings: a text, or a table if that would be read otherwise."""
    settings: dict[str, object] = {}
    for name, setting in SETTINGS.items():
        content = getattr(value, setting.field)
        if content not in (None, False) or (content is False and setting.field != "tls"):
            settings.setdefault(setting.field, _mode(content) if name in ("mode", "umask") else content)
    address = str(value)
    if re.search(r"[,\s]", address):
        return {"address": address, **settings}
    return ",".join([address, *(_setting(name, content) for name, content in settings.items())])


def _mode(value: int) -> str:
    return f"{value:03o}"


def _setting(name: str, content: object) -> str:
    if content is True:
        return name if name in ("tls", "proxy", "reuse_port") else f"{name}=on"
    return f"{name}=off" if content is False else f"{name}={content}"


def _function(value: Callable[..., object]) -> str:
    return f"{value.__module__}:{value.__qualname__}"


def toml(value: object) -> str:
    """A value in the syntax of TOML. Raises ValueError for one that TOML does not have.

    What looks like a reference to a variable is written so that it is none.
    """
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(int(value))
        case float() if math.isfinite(value):
            return repr(value)
        case str():
            # JSON's texts are TOML's, but for DEL.
            return json.dumps(value.replace("${", "$${"), ensure_ascii=False).replace("\x7f", "\\u007f")
        case list() | tuple():
            return f"[{', '.join(map(toml, value))}]"
        case Mapping():
            pairs = ", ".join(f"{_key(str(name))} = {toml(content)}" for name, content in value.items())
            return f"{{ {pairs} }}" if pairs else "{}"
    raise ValueError(f"TOML has no {type(value).__name__}")


def by_keys(text: str) -> str:
    """A text about options with their keys in place of their flags: `min_spare` for `--min-spare`."""
    return re.sub(r"--(?:no-)?([a-z][a-z0-9-]*)", lambda found: found[1].replace("-", "_"), text)


def _key(name: str) -> str:
    return name if BARE_KEY.fullmatch(name) else json.dumps(name, ensure_ascii=False)
