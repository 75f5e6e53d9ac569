"""The JSON Schema of `prefork.toml`, for editors.

It says what a value looks like. Whether a file exists, or options fit together, only `prefork check` can
tell. A text that refers to a variable is valid wherever a text is. Where a value can be written in several
ways, the schema may have fewer of them than a server accepts.

It is draft 7 without what draft 4 does not have, because editors of TOML know no more.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from prefork.config.checked import EXTERNAL
from prefork.config.endpoints import SETTINGS
from prefork.config.option import Option
from prefork.config.values import BOOLEANS
from prefork.config.written import by_keys, plain

Schema: TypeAlias = dict[str, Any]

DIALECT = "http://json-schema.org/draft-07/schema#"

REFERENCE: Schema = {"type": "string", "pattern": r"\$\{"}
ANY_TEXT: Schema = {"type": "string"}
TEXT: Schema = {"type": "string", "minLength": 1}
WHOLE: Schema = {"type": "integer", "minimum": 0}
SETTING: Schema = {"type": ["string", "integer", "boolean"]}
ADDRESS_TABLE: Schema = {
    "type": "object",
    "required": ["address"],
    "properties": {"address": {"type": ["string", "integer"]}, **dict.fromkeys(SETTINGS, SETTING)},
    "additionalProperties": False,
}
PORT: Schema = {"type": "integer", "minimum": 0, "maximum": 65535}


def _any(*shapes: Schema) -> Schema:
    return {"anyOf": list(shapes)}


def _text(pattern: str) -> Schema:
    return {"type": "string", "pattern": rf"{pattern}|\$\{{"}


def _list(*shapes: Schema) -> Schema:
    """One of these, or a list of them."""
    return _any(*shapes, {"type": "array", "items": shapes[0] if len(shapes) == 1 else _any(*shapes)})


SHAPES: dict[str, Schema] = {
    "ADDRESS": _list(TEXT, PORT, ADDRESS_TABLE),
    "BOOLEAN": _any({"type": "boolean"}, {"enum": list(BOOLEANS)}, REFERENCE),
    "CIPHERS": _list(TEXT),
    "CONFIG_FILE": _any(TEXT, {"type": "object"}),
    "DIRECTORIES": _list(TEXT),
    "DIRECTORY": TEXT,
    "FILE": TEXT,
    "FILES": _list(TEXT),
    "GROUP": _any(TEXT, WHOLE),
    "HOST:PORT": TEXT,
    "MODE": _any({"type": "integer", "minimum": 0, "maximum": 0o777}, _text(r"^(0o)?[0-7]{1,4}$")),
    "MODULE:FUNCTION": _text("^[^:]+:[^:]+$"),
    "NAME": _any(_text(r"^[A-Za-z0-9._-]{1,64}$"), {"type": "integer"}),
    "NETWORKS": _any(ANY_TEXT, {"type": "array", "items": TEXT}),
    "PAGE": TEXT,
    "PAGES": _list(TEXT),
    "PATH": _any(ANY_TEXT, {"enum": [False]}),
    "PATHS": _list(TEXT),
    "PATTERNS": _list(TEXT),
    "PORTS": _list(TEXT, PORT),
    "PROTOCOLS": _list(TEXT),
    "TEXT": ANY_TEXT,
    "USER": _any(TEXT, WHOLE),
}
"""What a value looks like, by the metavar of its reader."""

NUMBERS = {
    "BYTES": ("integer", "^[0-9]+[kmgKMG]?$"),
    "INTEGER": ("integer", "^[0-9]+$"),
    "INTEGER|auto": ("integer", "^([0-9]+|[aA][uU][tT][oO])$"),
    "PERCENT": ("number", r"^[0-9]+(\.[0-9]+)?%?$"),
    "SECONDS": ("number", r"^[0-9]+(\.[0-9]+)?$"),
}
"""Types that are numbers with limits: what TOML has, and what a text looks like."""

PAIRS = _any(
    {"type": "object", "additionalProperties": TEXT},
    _text("="),
    {
        "type": "array",
        "items": _any(_text("="), {"type": "array", "items": TEXT, "minItems": 2, "maxItems": 2}),
    },
)
"""A type whose metavar has an equals sign."""


def schema() -> Schema:
    """The whole schema."""
    options = {key: _described(option) for key, option in EXTERNAL.items()}
    references = {key: {"$ref": f"#/definitions/options/properties/{key}"} for key in options}
    profiles: Schema = {
        "description": "Tables of options. Those of one override the others with --profile and its name.",
        "type": "object",
        "additionalProperties": {"$ref": "#/definitions/options"},
    }
    with_profiles = {**references, "profile": profiles}
    table: Schema = {"type": "object", "properties": with_profiles, "additionalProperties": False}
    return {
        "$schema": DIALECT,
        "title": "prefork.toml",
        "description": "Options of prefork, at the top level or in the table [prefork].",
        "type": "object",
        "properties": {**with_profiles, "prefork": _dashed(table)},
        "patternProperties": DASHED,
        "additionalProperties": {"type": "object"},  # of other programs
        "definitions": {
            "options": _dashed({"type": "object", "properties": options, "additionalProperties": False})
        },
    }


DASHED: Schema = {"^[a-z0-9]+(-[a-z0-9]+)+$": {}}
"""A name may have dashes in the place of underscores. Editors are to offer one spelling."""


def _dashed(table: Schema) -> Schema:
    return {**table, "patternProperties": DASHED}


def _described(option: Option) -> Schema:
    shape: Schema = {"description": by_keys(option.meaning), **shape_of(option)}
    default = plain(option, option.default)
    if default not in (None, "", [], {}):
        shape["default"] = default
    return shape


def shape_of(option: Option) -> Schema:
    """What a value of the option looks like."""
    reader = option.reader
    if reader.choices:
        numbers = [float(one) for one in reader.choices if one.replace(".", "").isdecimal()]
        return _any({"enum": [*reader.choices, *numbers]}, REFERENCE)
    if reader.metavar in NUMBERS:
        kind, pattern = NUMBERS[reader.metavar]
        limits = {"minimum": reader.low, "maximum": reader.high}
        return _any(
            {"type": kind, **{name: one for name, one in limits.items() if one is not None}}, _text(pattern)
        )
    return PAIRS if "=" in reader.metavar else SHAPES[reader.metavar]
