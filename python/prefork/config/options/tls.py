"""What an `HTTPServer` takes for TLS."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Self

from prefork.config.endpoints import Endpoint, endpoints
from prefork.config.option import Group, Options, code_option, option
from prefork.config.tls import (
    check_together,
    ciphers,
    input_file,
    input_files,
    key_and_certificate,
    protocols,
    version,
)
from prefork.config.values import choice, directory, optional


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsOptions(Options):
    """Options of TLS, of an `HTTPServer`."""

    tls_cert: tuple[str, ...] = option(
        Group.TLS,
        (),
        input_files,
        "File of the server's certificate and of those between it and a root, as PEM. Serves https. Can be "
        "repeated: the name that a client asks for decides, and without a match the first one is used.",
    )
    tls_key: tuple[str, ...] = option(
        Group.TLS,
        (),
        input_files,
        "File of the private key, as PEM. Can be repeated, once for each certificate.",
        unset="the file of --tls-cert",
    )
    tls_key_password_file: str | None = option(
        Group.TLS, None, optional(input_file), "File of the password of encrypted keys (PKCS#8)."
    )
    tls_min_version: str = option(Group.TLS, "1.2", version, "Lowest version of TLS.")
    tls_ciphers: tuple[str, ...] = option(
        Group.TLS,
        (),
        ciphers,
        "Ciphers to offer, by the names of OpenSSL or IANA, with colons or commas between them.",
        unset="all that are safe",
    )
    tls_alpn: tuple[str, ...] = option(
        Group.TLS,
        (),
        protocols,
        "Protocols to offer by ALPN, the best one first. h2 is HTTP/2.",
        unset="h2,http/1.1",
    )
    tls_client_ca: str | None = option(
        Group.TLS,
        None,
        optional(input_file),
        "File of the certificates that those of clients must follow from, as PEM.",
    )
    tls_client_auth: str | None = option(
        Group.TLS,
        None,
        optional(choice("none", "optional", "required")),
        "Whether clients must have a certificate.",
        unset="required with --tls-client-ca, else none",
    )
    tls_client_crl: str | None = option(
        Group.TLS,
        None,
        optional(input_file),
        "File of lists of revoked certificates of clients, as PEM. There must be a list of each issuer.",
    )
    redirect_http: tuple[Endpoint, ...] = option(
        Group.TLS,
        (),
        endpoints,
        "Another address to listen on, for clients without TLS: they are redirected to https. Can be "
        "repeated.",
    )
    acme_dir: str | None = option(
        Group.TLS,
        None,
        optional(directory),
        "Directory of the files below /.well-known/acme-challenge/ at the address of --redirect-http.",
    )
    ssl_key_cert: tuple[str, str] | None = code_option(
        Group.TLS,
        None,
        optional(key_and_certificate),
        "The files of a private key and of its certificate, as PEM; another form of tls_key and tls_cert.",
    )
    ssl_intermediate_ca_cert: str | None = code_option(
        Group.TLS,
        None,
        optional(input_file),
        "File of the certificates between that of ssl_key_cert and a root, as PEM.",
    )

    @property
    def certificates(self) -> tuple[tuple[str, str], ...]:
        """The files of each certificate and its key; empty without TLS."""
        if self.ssl_key_cert is not None:
            key, certificate = self.ssl_key_cert
            return ((certificate, key),)
        return tuple(zip(self.tls_cert, self.tls_key or self.tls_cert, strict=True))

    @property
    def client_auth(self) -> str:
        """Whether clients must have a certificate: none, optional or required."""
        return self.tls_client_auth or ("required" if self.tls_client_ca else "none")

    def normalized(self) -> Self:
        check_together({field.name: getattr(self, field.name) for field in dataclasses.fields(self)})
        return self
