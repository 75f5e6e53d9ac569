"""Directories in front of an application: a request below the prefix of one never reaches the application."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Any

from prefork._engine import MountCaller
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
        found = [(prefix, self._files(prefix, root, options)) for prefix, root in options.static]
        self._mounts = sorted(found, key=lambda entry: len(entry[0]), reverse=True)
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
        self.warm = service.warm
        self.calls = service.calls

    def attach(self, context: Context) -> None:
        """The server begins to run."""
        super().attach(context)
        self._service.attach(context)

    def rest(self) -> None:
        self._service.rest()

    def base_at(self, place: Place) -> dict[str, Any] | None:
        """What the application's requests have at this place."""
        return self._service.base_at(place)

    @property
    def request(self) -> MountCaller:  # type: ignore[override]
        """For a whole request. It is known when the application has started up, and looked up then."""
        return MountCaller(self._mounts, self._service.request)

    @property
    def head(self) -> MountCaller:
        """For a request whose body is still to come: no file takes one."""
        return MountCaller(self._mounts, self._service.head)

    @property
    def body(self) -> Callable[[Request, Response], None]:
        """The body is complete, after `head` returned True."""
        return self._service.body

    def malformed(self, response: Response, status: int, reason: str, remote_ip: str) -> bool:
        """What the client sent is no request."""
        return self._service.malformed(response, status, reason, remote_ip)

    def _files(
        self, prefix: str, root: str, options: ServeOptions
    ) -> Callable[[Request, Response, str | None], None] | None:
        directory = directory_of(prefix, root, options)
        return None if directory is None else partial(self._respond, directory)

    def _respond(self, directory: Directory, request: Request, response: Response, name: str | None) -> None:
        self._service.request_started(request)
        directory.respond(request, response, name)


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
