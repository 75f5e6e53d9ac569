"""`${NAME}` and `${NAME:-default}` in texts: the values of variables.

It must not know where a text stands.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

NAME = r"[A-Za-z_][A-Za-z0-9_]*"

_OPENING = re.compile(r"\$\$(?=\{)|\$\{([^{}]*)(\}?)")
_REFERENCE = re.compile(rf"({NAME})(?::-(.*))?", re.DOTALL)


def expanded(value: object, variables: Mapping[str, str]) -> object:
    """A text with its references replaced. Of a list or a dict, all texts but the keys.

    A default holds for a variable that is unset or empty, as in a shell. `$${` is `${`. Raises ValueError
    with what is wrong.
    """
    if isinstance(value, str):
        return _OPENING.sub(lambda found: _replaced(found, variables), value)
    if isinstance(value, list):
        return [expanded(one, variables) for one in value]
    if isinstance(value, dict):
        return {key: expanded(one, variables) for key, one in value.items()}
    return value


def _replaced(found: re.Match[str], variables: Mapping[str, str]) -> str:
    if found[1] is None:
        return "$"
    reference = _REFERENCE.fullmatch(found[1])
    if reference is None or not found[2]:
        expected = "${NAME} or ${NAME:-default}"
        raise ValueError(f"expected {expected}, got {found[0]!r}; `$${{` is a plain `${{`")
    name, default = reference.groups()
    value = variables.get(name)
    if default is not None:
        return value or default
    if value is None:
        raise ValueError(f"the variable {name} is not set; ${{{name}:-...}} has a default")
    return value
