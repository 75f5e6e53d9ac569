"""Conversions of values that several servers share: addresses, TLS, limits.

Each is pure: it looks at values, never at files or the machine.
"""

from __future__ import annotations

import re

from prefork.config.peers.setting import Converter, Given, Impossible, Needless, Options

ALL_IPV4 = "0.0.0.0"

MAX_LINE = 16 << 20
"""The highest --max-line. Other servers have 0 for no limit."""


def switch(value: object) -> bool:
    """A switch, which a file may have as a text."""
    if isinstance(value, str):
        return value.strip().lower() in ("1", "true", "yes", "on", "y", "t")
    return bool(value)


def number(value: object) -> int | float:
    """Raises Impossible for what is no number."""
    try:
        found = float(str(value))
    except ValueError:
        raise Impossible(f"expected a number, got {value!r}") from None
    return int(found) if found == int(found) else found


def only_if(key: str, value_there: object, why_not: str) -> Converter:
    """`key = value_there` if the switch is on."""

    def convert(value: object, _given: Given) -> Options:
        if switch(value):
            return {key: value_there}
        raise Needless(why_not)

    return convert


def or_no_limit(key: str, highest: int) -> Converter:
    """A limit whose 0 is no limit there; here that is the highest number."""

    def convert(value: object, _given: Given) -> Options:
        return {key: number(value) or highest}

    return convert


def keep_alive(value: object, _given: Given) -> Options:
    """Seconds, where 0 is no keep-alive."""
    seconds = number(value)
    return {"keep_alive_timeout": seconds} if seconds else {"keep_alive": False}


def unix_socket(path: str) -> str:
    """`--bind` for a Unix socket. One that has a comma would begin a setting there."""
    if "," in path:
        raise Impossible("a path with a comma: use bind = [{ address = ... }]")
    return f"unix:{path}"


def tcp(host: str, port: str) -> str:
    """`--bind` for a TCP address."""
    bare = host.strip("[]")
    return f"[{bare}]:{port}" if ":" in bare else f"{bare or ALL_IPV4}:{port}"


def client_auth(value: object, given: Given, ca: str) -> Options:
    """The values of `ssl.VerifyMode` as numbers: 0 none, 1 optional, 2 required."""
    text = (str(int(value)) if isinstance(value, int) else str(value)).rpartition("_")[2].lower()
    found = {"0": "none", "1": "optional", "2": "required", "none": "none"}.get(text, text)
    if found not in ("none", "optional", "required"):
        raise Impossible(f"expected 0, 1 or 2, got {value!r}")
    if found != "none" and not given.get(ca):
        raise Impossible(f"--tls-client-auth {found} needs --tls-client-ca; there is no {ca}")
    return {"tls_client_auth": found}


def client_ca(value: object, given: Given, reqs: str) -> Options:
    """A CA without a demand for certificates means nothing there, and `required` here."""
    if not value:
        raise Needless("it is empty")
    return {"tls_client_ca": value} if reqs in given else {"tls_client_ca": value, "tls_client_auth": "none"}


def ciphers(value: object, _given: Given) -> Options:
    """Names of ciphers. A list of OpenSSL with classes and signs has no counterpart."""
    names = [name for name in re.split(r"[:,\s]+", str(value or "")) if name]
    if not names:
        raise Needless("it is empty")
    if not all(re.fullmatch(r"(TLS_|ECDHE-|ECDHE_)[A-Z0-9_-]+", name) for name in names):
        raise Impossible(
            "--tls-ciphers has no classes such as HIGH and no signs; without it all that are safe are offered"
        )
    return {"tls_ciphers": ":".join(names)}


def root_path(value: object, _given: Given) -> Options:
    """The path under which an application is mounted; empty for none."""
    text = str(value or "").rstrip("/")
    if not text:
        raise Needless("it is empty")
    return {"root_path": text}


def log_level(value: object, _given: Given) -> Options:
    """Levels as names. `trace` is below what there is."""
    text = str(value).lower()
    return {"log_level": {"trace": "debug", "warn": "warning", "fatal": "critical"}.get(text, text)}


def log_config(value: object, _given: Given) -> Options:
    """A file for `logging.config`. YAML needs a package to read."""
    if not value:
        raise Needless("it is empty")
    if str(value).endswith((".yaml", ".yml")):
        raise Impossible("--log-config reads JSON, TOML and INI: convert the file")
    return {"log_config": value}


def trusted(entries: list[str], unix: bool) -> Options:
    """Peers whose fields are heeded. `unix` adds those of a Unix socket."""
    known = [entry for entry in entries if entry == "*" or re.fullmatch(r"[0-9A-Fa-f.:]+(/\d+)?", entry)]
    left = [entry for entry in entries if entry not in known]
    if left and not known:
        raise Impossible(f"expected addresses or networks, got {', '.join(left)}")
    if unix and "*" not in known:
        known.append("unix")
    return {"trusted_proxies": known}


def entries_of(value: object) -> list[str]:
    """A list, or a text with commas."""
    parts = value.split(",") if isinstance(value, str) else list(value or ())  # type: ignore[call-overload]
    return [str(part).strip() for part in parts if str(part).strip()]
