"""Directories in front of an application: a request below the prefix of one never reaches the application."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from prefork.config.static_files import TO_APPLICATION
from prefork.hosting.static.directory import Directory
from prefork.server.service import Service

if TYPE_CHECKING:
    from prefork._engine import Request, Response
    from prefork.config.options import ServeOptions
    from prefork.server.context import Context
    from prefork.server.server import HTTPServer
    from prefork.server.sockets import Place


class Mounts(Service):
    """A service with directories in front of it. All other requests go to `service`."""

    def __init__(self, service: Service, options: ServeOptions) -> None:
        super().__init__()
        self._service = service
        # The longest prefix first: it is the most specific. None: the application's.
        found = [(f"{prefix}/", directory_of(prefix, root, options)) for prefix, root in options.static]
        self._directories = sorted(found, key=lambda entry: len(entry[0]), reverse=True)
        # To the server and to the engine it is a service of the same kind, with the same calls.
        self.kind = service.kind
        self.name = service.name
        self.how_to_respond = service.how_to_respond
        self.app_options = service.app_options
        self.unused_options = service.unused_options
        self.concurrency = service.concurrency
        self.capacity = service.capacity
        self.pulls_bodies = service.pulls_bodies
        self.threads = service.threads
        self.adds_content_type = service.adds_content_type
        self.uses_start_response = service.uses_start_response
        self.takes_websockets = service.takes_websockets
        self.inherits_atexit = service.inherits_atexit
        self.startup = service.startup
        self.shutdown = service.shutdown
        self.calls = service.calls

    def attach(self, context: Context) -> None:
        """The server begins to run."""
        super().attach(context)
        self._service.attach(context)
        self._proxies = context.options.proxy_mode

    def base_at(self, place: Place) -> dict[str, Any] | None:
        """What the application's requests have at this place."""
        return self._service.base_at(place)

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
            if directory is None:
                break
            self._service.request_started(request)
            directory.respond(request, response, name)
            return True
        return False


def directory_of(prefix: str, root: str, options: ServeOptions) -> Directory | None:
    """The directory that is served below `prefix`; None if these paths are the application's."""
    if root == TO_APPLICATION:
        return None
    lifetime = partial(lifetime_of, options.static_cache, f"{prefix}/")
    return Directory(root, fallback=dict(options.static_fallback).get(prefix), lifetime=lifetime)


def lifetime_of(rules: tuple[tuple[str, str], ...], prefix: str, name: str) -> str | None:
    """The Cache-Control of the first rule whose pattern fits the path; None if none does."""
    path = prefix + name
    return next((value for pattern, value in rules if fnmatchcase(path, pattern)), None)


def mount(server: HTTPServer, options: ServeOptions) -> None:
    """Has `server` serve the files of directories, each below a prefix, and all else as before."""
    server.service = Mounts(server.service, options)
