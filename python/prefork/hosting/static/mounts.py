"""Directories in front of an application: a request below the prefix of one never reaches the application."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import unquote

from prefork.hosting.static.directory import Directory
from prefork.server.service import Service

if TYPE_CHECKING:
    from prefork._engine import Request, Response
    from prefork.server.context import Context
    from prefork.server.server import HTTPServer


class Mounts(Service):
    """A service with directories in front of it. All other requests go to `service`."""

    def __init__(self, service: Service, directories: Iterable[tuple[str, str]]) -> None:
        super().__init__()
        self._service = service
        # The longest prefix first: it is the most specific.
        found = [(f"{prefix}/", Directory(root)) for prefix, root in directories]
        self._directories = sorted(found, key=lambda entry: len(entry[0]), reverse=True)
        # To the server and to the engine it is a service of the same kind, with the same calls.
        self.kind = service.kind
        self.name = service.name
        self.how_to_respond = service.how_to_respond
        self.app_options = service.app_options
        self.unused_options = service.unused_options
        self.concurrency = service.concurrency
        self.pulls_bodies = service.pulls_bodies
        self.threads = service.threads
        self.adds_content_type = service.adds_content_type
        self.uses_start_response = service.uses_start_response
        self.startup = service.startup
        self.shutdown = service.shutdown
        self.calls = service.calls

    def attach(self, context: Context) -> None:
        """The server begins to run."""
        super().attach(context)
        self._service.attach(context)
        self._proxies = context.options.proxy_mode

    def request(self, request: Request, response: Response) -> None:
        """A whole request."""
        if not self._serve(request, response):
            self._service.request(request, response)

    def head(self, request: Request, response: Response) -> bool:
        """A request whose body is still to come: no file takes one."""
        return not self._serve(request, response) and self._service.head(request, response)

    def body(self, request: Request, response: Response) -> None:
        """The body is complete, after `head` returned True."""
        self._service.body(request, response)

    def malformed(self, response: Response, status: int, reason: str, remote_ip: str) -> bool:
        """What the client sent is no request."""
        return self._service.malformed(response, status, reason, remote_ip)

    def _serve(self, request: Request, response: Response) -> bool:
        path = request.path
        if self._proxies:
            # The target as it came; that of a request for another server does not begin with a slash.
            path = unquote(path.partition("?")[0], errors="replace")
        for prefix, directory in self._directories:
            if path.startswith(prefix):
                name = path[len(prefix) :]
            elif path == prefix[:-1]:
                name = None
            else:
                continue
            self._service.request_started(request)
            directory.respond(request, response, name)
            return True
        return False


def mount(server: HTTPServer, directories: Iterable[tuple[str, str]]) -> None:
    """Has `server` serve the files of directories, each below a prefix, and all else as before."""
    server.service = Mounts(server.service, directories)
