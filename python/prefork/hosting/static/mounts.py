"""Directories in front of an application: a request below the prefix of one never reaches the application."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

from prefork.hosting.static.directory import Directory
from prefork.server.service import Service

if TYPE_CHECKING:
    from prefork._engine import Request, Response
    from prefork.server.context import Context
    from prefork.server.server import HTTPServer


class Mounts:
    """A service with directories in front of it. All that is not theirs is its own."""

    def __init__(self, service: Service, directories: Iterable[tuple[str, str]]) -> None:
        self._service = service
        # The longest prefix first: it is the most specific.
        found = [(f"{prefix}/", Directory(root)) for prefix, root in directories]
        self._directories = sorted(found, key=lambda entry: len(entry[0]), reverse=True)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._service, name)

    def attach(self, context: Context) -> None:
        """The server begins to run."""
        self._service.attach(context)
        self._proxies = context.options.proxy_mode

    def request(self, request: Request, response: Response) -> None:
        """A whole request."""
        if not self._serve(request, response):
            self._service.request(request, response)

    def head(self, request: Request, response: Response) -> bool:
        """A request whose body is still to come: no file takes one."""
        return not self._serve(request, response) and self._service.head(request, response)

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
    server.service = cast(Service, Mounts(server.service, directories))
