"""What a client gets that comes without TLS: the address with it, or what a certificate authority asks for.

It must know no sockets and no pool.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from prefork._engine import FilePart
from prefork.server.service import Service

if TYPE_CHECKING:
    from prefork._engine import Request, Response

CHALLENGE = "/.well-known/acme-challenge/"
"""RFC 8555, section 8.3."""

HTTPS = 443


class Redirect(Service):
    """Responds with 308 (RFC 9110, section 15.4.9): the same request at the https address.

    `acme_dir` is the directory of the files below `/.well-known/acme-challenge/`, in which an ACME client
    proves that it controls the host.
    """

    kind = name = "redirect to https"

    def __init__(self, acme_dir: str | None, https_port: int | None) -> None:
        super().__init__()
        self._acme_dir = acme_dir
        self._port = https_port

    def head(self, request: Request, response: Response) -> bool:
        """No body is received."""
        self.request(request, response)
        return False

    def request(self, request: Request, response: Response) -> None:
        self.request_started(request)
        target = request.raw_path.decode("latin-1")
        if self._acme_dir is not None and target.startswith(CHALLENGE):
            file = challenge(self._acme_dir, target.removeprefix(CHALLENGE))
            response.code = 404 if file is None else 200
            response.content = file or "404 Not Found"
        elif host := self._host(request):
            query = f"?{request.query}" if request.query is not None else ""
            response.code = 308
            response.header("Location", f"https://{host}{target}{query}")
        else:
            response.code = 400
            response.content = "This port leads to https, and the request names no host"
        response.done()

    def _host(self, request: Request) -> str | None:
        """The name that the client has for this server, with the port of https if that is another."""
        host = self.context.options.hostname or request.headers.get("Host")
        if not host:
            return None
        name = re.sub(r":[0-9]*$", "", host)
        return name if self._port in (None, HTTPS) else f"{name}:{self._port}"


def challenge(directory: str, token: str) -> FilePart | None:
    """The file of a token, if there is one. A link is not followed."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,255}", token):
        return None
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(os.path.join(directory, token), flags)
        with open(descriptor, "rb") as file:
            return FilePart(file.fileno(), 0)
    except (OSError, ValueError):  # there is none, or it is no regular file
        return None
