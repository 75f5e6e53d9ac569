"""Certificates for tests: authorities, and what they issue, as files."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)

Key: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def make_key(kind: str = "ecdsa") -> Key:
    if kind == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: Key, password: bytes | None = None) -> bytes:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


@dataclass(frozen=True)
class Files:
    """A certificate with its chain, and its key, in files."""

    cert: Path
    key: Path

    @property
    def flags(self) -> tuple[str, ...]:
        return "--tls-cert", str(self.cert), "--tls-key", str(self.key)


class Authority:
    """Issues certificates. One that `parent` has issued is between those and a root."""

    def __init__(self, name: str = "Test Root", parent: Authority | None = None) -> None:
        self.parent = parent
        self.key = make_key()
        self.subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = parent or self
        builder = (
            _builder(self.subject, issuer.subject, self.key, (-30, 3650))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
            .add_extension(issuer.key_identifier, critical=False)
        )
        self.certificate = builder.sign(issuer.key, hashes.SHA256())

    @property
    def key_identifier(self) -> x509.AuthorityKeyIdentifier:
        """What names its key in what it signs. CPython 3.13 refuses a certificate without one."""
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())

    @property
    def chain(self) -> list[x509.Certificate]:
        """Its certificate and those above it, without the root."""
        return [self.certificate, *self.parent.chain] if self.parent else []

    def issue(
        self,
        *hosts: str,
        days: tuple[float, float] = (-1, 90),
        key: Key | None = None,
        subject: Sequence[tuple[x509.ObjectIdentifier, str]] = (),
    ) -> tuple[list[x509.Certificate], Key]:
        """A certificate for these hosts, with its chain, and its key. `days`: from when to when, from now."""
        key = key or make_key()
        names = subject or [(NameOID.COMMON_NAME, hosts[0] if hosts else "nameless")]
        name = x509.Name([x509.NameAttribute(kind, text) for kind, text in names])
        builder = _builder(name, self.subject, key, days)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(self.key_identifier, critical=False)
        if hosts:
            alternatives = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
            builder = builder.add_extension(alternatives, critical=False)
        return [builder.sign(self.key, hashes.SHA256()), *self.chain], key

    def save(self, directory: Path) -> Path:
        """Writes its certificate."""
        path = directory / "authority.pem"
        path.write_bytes(pem(self.certificate))
        return path

    def revoke(self, directory: Path, *revoked: x509.Certificate, days: float = 30) -> Path:
        """Writes its list of revoked certificates."""
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateRevocationListBuilder(self.subject, now - DAY, now + days * DAY)
        for one in revoked:
            entry = x509.RevokedCertificateBuilder(one.serial_number, now - DAY)
            builder = builder.add_revoked_certificate(entry.build())
        builder = builder.add_extension(x509.CRLNumber(1), critical=False)
        builder = builder.add_extension(self.key_identifier, critical=False)
        path = directory / "revoked.pem"
        path.write_bytes(builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return path


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Key, days: tuple[float, float]
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    begin, end = (now + number * DAY for number in days)
    return x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number(), begin, end)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def save(
    directory: Path,
    chain: Iterable[x509.Certificate],
    key: Key,
    name: str = "server",
    password: bytes | None = None,
) -> Files:
    """Writes a chain and a key."""
    files = Files(directory / f"{name}.pem", directory / f"{name}.key")
    files.cert.write_bytes(b"".join(map(pem, chain)))
    files.key.write_bytes(key_pem(key, password))
    return files
