"""The types of the options of TLS, how each is read, and which of them need others.

It must not know servers, and reads no file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import cast

from prefork.config.endpoints import Endpoint
from prefork.config.values import Reader, choice, reader, text
from prefork.errors import OptionError


@reader("FILE")
def input_file(value: object) -> str:
    """A file to read, as an absolute path: --chdir must not change what it means."""
    return os.path.abspath(text(value))


@reader("FILES")
def input_files(value: object) -> tuple[str, ...]:
    """Files to read. A text has them with commas between them."""
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) and one.strip() for one in value):
        raise ValueError("the name of a file, or several")
    return tuple(input_file(one.strip()) for one in value)


@reader("KEY_AND_CERTIFICATE")
def key_and_certificate(value: object) -> tuple[str, str]:
    """The files of a key and of its certificate, as POE's SSLKEYCERT has them."""
    if isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(one, str) for one in value):
        key, certificate = map(input_file, value)
        return key, certificate
    raise ValueError("a pair of files: the key, and the certificate")


@reader("CIPHERS")
def ciphers(value: object) -> tuple[str, ...]:
    """Names of ciphers, with colons, commas or blanks between them."""
    given = [value] if isinstance(value, str) else value
    if isinstance(given, list | tuple) and all(isinstance(one, str) for one in given):
        names = [name for one in given for name in re.split(r"[:,\s]+", one) if name]
        if all(re.fullmatch(r"[A-Za-z0-9_-]+", name) for name in names):
            return tuple(names)
    raise ValueError("names of ciphers, like TLS_AES_128_GCM_SHA256:ECDHE-RSA-AES128-GCM-SHA256")


PROTOCOLS = ("h2", "http/1.1")


@reader("PROTOCOLS")
def protocols(value: object) -> tuple[str, ...]:
    """Names of protocols (RFC 7301), with commas or blanks between them."""
    given = [value] if isinstance(value, str) else value
    if isinstance(given, list | tuple) and all(isinstance(one, str) for one in given):
        names = tuple(name for one in given for name in re.split(r"[,\s]+", one) if name)
        if set(names) <= set(PROTOCOLS):
            return names
    raise ValueError(" and ".join(PROTOCOLS) + ", or one of them")


VERSIONS = ("1.2", "1.3")

version: Reader[str] = Reader(lambda value: choice(*VERSIONS)(str(value)), "|".join(VERSIONS), VERSIONS)
"""A version of TLS. TOML has it as a number."""

OF_TLS = (
    *("tls_key", "tls_key_password_file", "tls_ciphers", "tls_client_ca", "tls_client_crl"),
    *("tls_client_auth", "tls_alpn", "redirect_http"),
)
"""Options that need a certificate."""

NEEDS = {
    "tls_client_crl": "tls_client_ca",
    "acme_dir": "redirect_http",
    "ssl_intermediate_ca_cert": "ssl_key_cert",
}
"""Options that need another one."""


def check_together(options: Mapping[str, object]) -> None:
    """Raises OptionError for options that do not fit together."""
    cert, key = (cast("Sequence[str]", options[name]) for name in ("tls_cert", "tls_key"))
    if cert and options["ssl_key_cert"]:
        raise OptionError("ssl_key_cert and tls_cert are two names for one thing: use one of them")
    if not cert and not options["ssl_key_cert"]:
        for name in OF_TLS:
            if options[name]:
                raise OptionError(f"{name}: there is no certificate (tls_cert)")
        if options["tls_min_version"] != VERSIONS[0]:
            raise OptionError("tls_min_version: there is no certificate (tls_cert)")
    for endpoint in cast("Sequence[Endpoint]", options["redirect_http"]):
        if endpoint.tls:
            raise OptionError(f"redirect_http: {endpoint} is for clients without TLS, and cannot speak it")
    if key and len(key) != len(cert):
        raise OptionError(f"tls_key: expected one for each tls_cert, got {len(key)} for {len(cert)}")
    for name, needed in NEEDS.items():
        if options[name] and not options[needed]:
            raise OptionError(f"{name}: there is no {needed}")
    if options["tls_client_auth"] in ("optional", "required") and not options["tls_client_ca"]:
        raise OptionError(f"tls_client_auth: {options['tls_client_auth']} needs tls_client_ca")
