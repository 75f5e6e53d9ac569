"""A TOML file for `prefork serve --config` that says of each setting what has become of it.

Always: it holds no value of a setting that may be secret.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from prefork.config.peers.outcome import Found, Outcome, implied
from prefork.config.peers.setting import Fate, Implied
from prefork.config.written import toml

WIDTH = 100

SECRET = ("raw_env", "env", "ienv", "ssl_keyfile_password", "headers")
"""Settings whose values may be secret."""

HEADINGS = {
    Fate.NEEDLESS: "Not needed:",
    Fate.IMPOSSIBLE: "Not possible, and what to do instead:",
}


def document(found: Found, all_outcomes: list[Outcome], command: str) -> str:
    """The whole file. `command` serves with it."""
    parts = [
        *_comment(f"From {found.origin}, by `prefork import-config`. To serve with it:"),
        f"#   {command}",
        *(line for note in found.notes for line in _comment(note)),
        "",
        "[prefork]",
        *_options(found, all_outcomes),
    ]
    if later := [one for one in implied(found) if not one.is_set]:
        parts += ["", *_comment(f"Defaults of {found.peer.name} that differ from those here:")]
        parts += [f"# {one.key} = {toml(one.value)}  # {one.setting}" for one in later]
    for fate, heading in HEADINGS.items():
        lines = [said(one) for one in all_outcomes if one.fate is fate]
        if fate is Fate.IMPOSSIBLE:
            server = f"{found.peer.name} {found.peer.version}"
            lines += [f"{name}: {server} has no such setting" for name in found.unknown]
        if lines:
            parts += ["", f"# {heading}", *(line for text in lines for line in _comment(text, "  "))]
    return "\n".join(parts) + "\n"


def _options(found: Found, all_outcomes: list[Outcome]) -> list[str]:
    """Each option once, behind the settings that it comes from."""
    values: dict[str, object] = dict(found.options)
    written: dict[str, str] = {}  # what `toml` would not write: a variable
    origins: dict[str, list[str]] = {
        key: ["the target is called, and returns the application"] for key in values
    }
    for one in all_outcomes:
        for key, value in one.options.items():
            values[key] = value
            origins.setdefault(key, []).append(said(one) if key == next(iter(one.options)) else one.name)
    for default in implied(found):
        if default.is_set and not _is_set(default, values):
            values[default.key] = default.value
            if default.variable:
                written[default.key] = f'"${{{default.variable}:-{default.value}}}"'
            origins[default.key] = [f"{default.setting}: {default.note}"]
    lines = []
    for key, value in values.items():
        lines += [line for text in origins[key] for line in _comment(text)]
        lines.append(f"{key} = {written.get(key) or toml(value)}")
    return lines


def _is_set(default: Implied, values: dict[str, object]) -> bool:
    return default.key in values or (default.key == "workers" and "max_clients" in values)


def said(one: Outcome) -> str:
    """A setting with its value and what is said of it."""
    value = "" if one.name in SECRET else f" = {_shown(one.value)}"
    return f"{one.name}{value}" + (f": {one.note}" if one.note else "")


def _shown(value: object) -> str:
    """A value as a reader knows it, on one line."""
    if callable(value):
        name = getattr(value, "__qualname__", type(value).__qualname__)
        module, code = getattr(value, "__module__", None), getattr(value, "__code__", None)
        if module != "__config__" or code is None:
            return f"{module}.{name}" if module else name
        return f"{name} (line {code.co_firstlineno})"
    try:
        text = toml(value)
    except ValueError:
        text = repr(value)
    return textwrap.shorten(text, 70, placeholder=" ...")


def _comment(text: str, indent: str = "") -> Iterable[str]:
    """A text as lines of a comment."""
    return textwrap.wrap(
        " ".join(text.split()),
        WIDTH,
        initial_indent=f"# {indent}",
        subsequent_indent=f"# {indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
