"""A certificate for localhost, and clients that trust it alone."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

CERT = Path(__file__).with_name("cert.pem")
KEY = Path(__file__).with_name("key.pem")
OPTIONS = ("--tls-cert", str(CERT), "--tls-key", str(KEY))


def context(version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    """That of a client that speaks this version."""
    made = ssl.create_default_context(cafile=CERT)
    made.minimum_version = made.maximum_version = version
    return made


def wrap(sock: socket.socket, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLSocket:
    """The connection after its handshake."""
    return context(version).wrap_socket(sock, server_hostname="localhost")
