"""A client that speaks TLS by Python's ssl module."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from support.certificates import Files
from support.waiting import DEADLINE_S


class Told(NamedTuple):
    """What `apps/tls_app.py` has responded, and what the client knows of the connection."""

    body: dict[str, Any]
    session: ssl.SSLSession | None
    resumed: bool
    names: list[str]
    """The DNS names of the server's certificate, if it was verified."""


class Client:
    """`authority` is the file of the certificates to trust; without one the server's is not verified."""

    def __init__(
        self,
        port: int,
        authority: Path | None = None,
        client: Files | None = None,
        version: ssl.TLSVersion | None = None,
        ciphers: str | None = None,
    ) -> None:
        self.port = port
        self.context = context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = authority is not None
        if authority is not None:
            context.load_verify_locations(authority)
        else:
            context.verify_mode = ssl.CERT_NONE
        if client is not None:
            context.load_cert_chain(client.cert, client.key)
        if version is not None:
            context.minimum_version = context.maximum_version = version
        if ciphers is not None:
            context.set_ciphers(ciphers)

    @contextmanager
    def connect(
        self, name: str | None = "localhost", session: ssl.SSLSession | None = None
    ) -> Iterator[ssl.SSLSocket]:
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE_S) as plain,
            self.context.wrap_socket(plain, server_hostname=name, session=session) as sock,
        ):
            yield sock

    def ask(
        self, name: str | None = "localhost", session: ssl.SSLSession | None = None, path: str = "/"
    ) -> Told:
        """GETs a path on a connection of its own."""
        with self.connect(name, session) as sock:
            body = ask(sock, path)
            found: dict[str, Any] = dict(sock.getpeercert() or {})
            names = [value for _, value in found.get("subjectAltName", ())]
            return Told(body, sock.session, bool(sock.session_reused), names)


def ask(sock: ssl.SSLSocket, path: str = "/") -> dict[str, Any]:
    """GETs a path, and leaves the connection open."""
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    response = http.client.HTTPResponse(sock, method="GET")
    response.begin()
    assert response.status == 200, response.status
    told: dict[str, Any] = json.loads(response.read())
    return told
