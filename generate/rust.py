"""The settings of the native module as Rust: structs, their defaults, and how Python's options become them.

An option names its field as `struct.field` or `struct.part.field` (`Option.rust`), or several fields; one
that is not named has the option's name. Types follow from the option: seconds become milliseconds, a choice
becomes an enum. What is generated is already as rustfmt would have it.
"""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Callable
from dataclasses import dataclass

from prefork.config.checked import options_of
from prefork.config.option import Option
from prefork.config.options import AppOptions, ServerOptions
from prefork.config.values import LOCAL_PROXIES

NOTICE = "// Generated from python/prefork/config/options/ by `make generate`. Do not edit.\n"

TYPES = {
    "bool": "bool",
    "int": "u64",
    "int | None": "Option<u64>",
    "float": "u64",
    "str | None": "Option<String>",
    "TrustedProxies": "Trusted",
    "tuple[tuple[str, str], ...]": "Vec<(Vec<u8>, Vec<u8>)>",
}
"""Type of a field by the option's annotation."""

READERS = {
    "float": "milliseconds",
    "tuple[tuple[str, str], ...]": "header_fields",
    "TrustedProxies": "trusted_proxies",
}
"""The function of `options.rs` that reads an option of such a type; `value` reads the others."""

PARTS = {"limits": ("Limits", True), "spool": ("Spool", False), "proxies": ("Proxies", False)}
"""Structs that are not generated but filled here: their name, and whether other fields keep a default."""


@dataclass(frozen=True)
class Struct:
    """A struct of settings."""

    key: str
    name: str
    about: str
    derives: str


LISTENER = Struct(
    "listener", "ListenerSettings", "Holds for every connection of one listener.", "Clone, Debug"
)
WEBSOCKET = Struct(
    "websocket", "WebSocketSettings", "Holds for one WebSocket (RFC 6455).", "Clone, Copy, Debug"
)
SERVICE = Struct(
    "service", "ServiceSettings", "What a service makes of requests, and adds to responses.", "Debug"
)


@dataclass(frozen=True)
class Field:
    """One field, and the option that it comes from."""

    option: Option
    annotation: str
    name: str

    @property
    def doc(self) -> str:
        """Comment lines without their indentation."""
        unit = ", in milliseconds" if self.annotation == "float" else ""
        text = f"{self.option.meaning} Option `{self.option.name}`{unit}."
        return "\n".join(f"/// {line}" for line in textwrap.wrap(text, 76))

    @property
    def default(self) -> str:
        """A Rust literal."""
        default = self.option.default
        if isinstance(default, bool):
            return str(default).lower()
        if isinstance(default, int | float):
            return f"{round(default * 1000) if isinstance(default, float) else default:_}"
        if isinstance(default, str):
            return f"{self.enum}::{_variant(default)}"
        if default == LOCAL_PROXIES:
            return "Trusted::default()"
        if default == ():
            return "Vec::new()"
        assert default is None, f"{self.option.name} has a default that Rust does not get: {default!r}"
        return "None"

    @property
    def type(self) -> str:
        """Its type in Rust."""
        return self.enum if self.annotation == "str" else TYPES[self.annotation]

    @property
    def enum(self) -> str:
        """Name of the enum, if the option is a choice."""
        return self.name.capitalize()

    def conversion(self) -> str:
        """The expression that reads it from `options`."""
        read = READERS.get(self.annotation, "value")
        name = f'intern!(py, "{self.option.name}")'
        if self.annotation != "str":
            return f"{read}(options, {name})?"
        first, *others = self.option.reader.choices
        arms = [f'"{other}" => {self.enum}::{_variant(other)},' for other in others]
        arms.append(f"_ => {self.enum}::{_variant(first)},")
        return (
            f"match {read}::<String>(options, {name})?.as_str() {{\n"
            + textwrap.indent("\n".join(arms), "    ")
            + "\n}"
        )


def _variant(choice: str) -> str:
    return "".join(word.capitalize() for word in choice.split("-"))


def grouped(struct: Struct) -> dict[str | None, list[Field]]:
    """The fields of a struct by part, in the order of the options; None has its own."""
    found: dict[str | None, list[Field]] = {}
    for kind in (ServerOptions, AppOptions):
        annotations = {field.name: str(field.type) for field in dataclasses.fields(kind)}
        for option in options_of(kind).values():
            for place in (option.rust or "").split():
                key, *path = place.split(".")
                if key == struct.key:
                    *part, name = path or [option.name]
                    unit = "_ms" if annotations[option.name] == "float" else ""
                    field = Field(option, annotations[option.name], name + unit)
                    found.setdefault("".join(part) or None, []).append(field)
    return found


# The files


def engine_settings() -> str:
    """`crates/engine/src/settings.rs`."""
    return (
        "//! The settings of an engine: of each listener, and of each WebSocket.\n\n"
        + NOTICE
        + f"\nuse crate::body::Spool;\n{_wire_imports('Family, Naming, Proxies, Trusted')}\n"
        + "\n".join(_struct(struct, "pub") + "\n" + _defaults(struct) for struct in (LISTENER, WEBSOCKET))
    )


def binding_settings() -> str:
    """`crates/python/src/settings.rs`."""
    return (
        "//! Python's options as settings of the engine and of a service.\n\n"
        + NOTICE
        + "\nuse crate::options::{header_fields, milliseconds, trusted_proxies, value};\n"
        + "use prefork_engine::{ListenerSettings, Spool, WebSocketSettings};\n"
        + _wire_imports("Family, Naming, Proxies")
        + "use pyo3::intern;\nuse pyo3::prelude::*;\n\n"
        + _struct(SERVICE, "pub(crate)")
        + "".join("\n" + _conversion(struct) for struct in (LISTENER, WEBSOCKET, SERVICE))
    )


def _wire_imports(proxy: str) -> str:
    """Limits, what is of `proxy`, and the enums of their choices are `prefork_wire`'s."""
    enums = {field.enum for field in grouped(LISTENER)["limits"] if field.annotation == "str"}
    own = ", ".join(sorted({"Limits", *enums}))
    return f"use prefork_wire::proxy::{{{proxy}}};\nuse prefork_wire::{{{own}}};\n"


def _struct(struct: Struct, visibility: str) -> str:
    lines = [f"/// {struct.about}", f"#[derive({struct.derives})]", f"{visibility} struct {struct.name} {{"]
    for part, own in grouped(struct).items():
        if part is not None:
            lines.append(f"    {visibility} {part}: {PARTS[part][0]},")
            continue
        for field in own:
            lines += textwrap.indent(field.doc, "    ").splitlines()
            lines.append(f"    {visibility} {field.name}: {field.type},")
    return "\n".join([*lines, "}"]) + "\n"


def _defaults(struct: Struct) -> str:
    values = _values(struct, lambda field: field.default)
    body = textwrap.indent(f"{struct.name} {{\n{textwrap.indent(values, '    ')}}}\n", "        ")
    return (
        f"impl Default for {struct.name} {{\n    /// The defaults of the options.\n"
        f"    fn default() -> Self {{\n{body}    }}\n}}\n"
    )


def _conversion(struct: Struct) -> str:
    name = f"{struct.key}_settings"
    values = _values(struct, Field.conversion)
    body = textwrap.indent(f"Ok({struct.name} {{\n{textwrap.indent(values, '    ')}}})\n", "    ")
    return (
        f"/// Raises AttributeError or TypeError for an option that is not there or not of its type.\n"
        f"pub(crate) fn {name}(options: &Bound<'_, PyAny>) -> PyResult<{struct.name}> {{\n"
        f"    let py = options.py();\n{body}}}\n"
    )


def _values(struct: Struct, value: Callable[[Field], str]) -> str:
    """The fields of a struct with their values, as between its braces."""
    lines = []
    for part, own in grouped(struct).items():
        values = "".join(f"{field.name}: {value(field)},\n" for field in own)
        if part is None:
            lines.append(values)
            continue
        name, open_ = PARTS[part]
        rest = f"..{name}::default()\n" if open_ else ""
        lines.append(f"{part}: {name} {{\n{textwrap.indent(values + rest, '    ')}}},\n")
    return "".join(lines)
