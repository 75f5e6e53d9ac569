"""A certificate for `prefork dev --https`: made at the start, never on a disk, of use to no other process.

The key and the certificate are files in memory. The server opens them by their paths, as any others, also
when it loads new options.
"""

from __future__ import annotations

import datetime
import importlib.util
import ipaddress
import os
import socket

from prefork.errors import OptionError

NAMES = ("localhost", "*.localhost")
ADDRESSES = ("127.0.0.1", "::1")

LASTS = datetime.timedelta(days=30)
BEFORE = datetime.timedelta(minutes=5)
"""How much the clock of a client may be behind."""


def make_certificate() -> tuple[str, str]:
    """The paths of a certificate for this machine and of its key. Raises OptionError without the library."""
    if importlib.util.find_spec("cryptography") is None:
        raise OptionError("--https needs the package cryptography: pip install 'prefork[dev]'")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "prefork dev")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName(one) for one in dict.fromkeys((*NAMES, socket.gethostname())) if one.isascii()]
    addresses = [x509.IPAddress(ipaddress.ip_address(one)) for one in ADDRESSES]
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - BEFORE)
        .not_valid_after(now + LASTS)
        .add_extension(x509.SubjectAlternativeName([*names, *addresses]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    key_text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return _in_memory(certificate.public_bytes(serialization.Encoding.PEM)), _in_memory(key_text)


def _in_memory(text: bytes) -> str:
    """A file that has the text, as its path in this process and in those that it forks."""
    file = os.memfd_create("prefork dev")
    os.write(file, text)
    return f"/proc/self/fd/{file}"
