"""An application as the mold of `prefork dev` loads it. If it cannot be, a page that says why is served.

So a mold always has something to serve, and the next save is all that mends it. Only a mistake in the command
line ends the first start.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from prefork.config.options import AppOptions
from prefork.errors import PreforkError, TargetError
from prefork.hosting.application import host
from prefork.hosting.configuring import set_up_log
from prefork.hosting.dev.held import Held
from prefork.hosting.dev.pages import Pages
from prefork.hosting.dev.traces import text_of
from prefork.hosting.interface import detect
from prefork.hosting.molded import MoldedApplication, Read
from prefork.logs.escaping import escape_line
from prefork.logs.logger import Lines
from prefork.pool.spawner import NotMolded

if TYPE_CHECKING:
    from prefork._engine import StartResponse
    from prefork.config.sources import Given
    from prefork.pool.server import PreForkServer

logger = logging.getLogger("prefork.mold")

HABITS = {"FLASK_DEBUG": "1"}
"""Variables that have frameworks raise exceptions instead of hiding them, unless they are set."""


class DevApplication(MoldedApplication):
    """As a MoldedApplication, with error pages from `pages`."""

    def __init__(
        self,
        server: PreForkServer,
        target: str,
        first: Read,
        gather: Callable[[], Given] | None,
        *,
        pages: Pages,
    ) -> None:
        super().__init__(server, target, first, gather)
        self._pages = pages
        self._usable = first._replace()
        """What last had no mistake. Not `first` itself: it is no first start that loads it again."""

    def read(self) -> Read:
        """As the method that it overrides. A mistake is logged, and what was read before holds."""
        try:
            self._usable = super().read()
        except PreforkError as error:
            logger.error("%s; the options stay as they are", escape_line(str(error)))
        return self._usable

    def load(self, read: Read) -> None:
        """As the method that it overrides. Raises only for a first start that cannot succeed."""
        for name, value in HABITS.items():
            os.environ.setdefault(name, value)
        try:
            super().load(read)
        except (Exception, SystemExit) as error:
            reason = _reason(error)
            if read is self.first and reason is None:
                raise
            self._show(reason or error, read)

    def host(self, application: object, options: AppOptions) -> None:
        is_asgi = options.interface == "asgi" or (
            options.interface == "auto" and detect(application, self._target) == "asgi"
        )
        super().host(Held(application) if is_asgi else application, options)  # type: ignore[arg-type]
        self._server.service.error_page = self._pages.of_request

    def _show(self, error: BaseException, read: Read) -> None:
        """Serves the page about what has kept the application from being loaded."""
        set_up_log(read.of_command)
        options = AppOptions(interface="wsgi")
        host(self._server, Failure(self._pages, error, self._target), options, self._target)
        text = text_of(error).rstrip()
        logger.error("%s cannot be loaded; the next save tries again\n%s", self._target, Lines(text))


class Failure:
    """A WSGI application that responds with the page about an exception."""

    def __init__(self, pages: Pages, error: BaseException, target: str) -> None:
        self._pages = pages
        self._error = error
        self._target = target

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """PEP 3333."""
        kind, text = self._pages.page(
            self._error, "The application cannot be loaded", self._target, environ.get("HTTP_ACCEPT")
        )
        body = text.encode(errors="replace")
        fields = [("Content-Type", kind), ("Content-Length", str(len(body))), ("Cache-Control", "no-store")]
        start_response("500 Internal Server Error", fields)
        return [body]


def _reason(error: BaseException) -> BaseException | None:
    """What the user's code has raised; None for a mistake in the command line, such as a missing file."""
    if isinstance(error, TargetError):
        if error.__cause__ is not None:
            return error.__cause__
        return error.__context__ if isinstance(error.__context__, SyntaxError) else None
    return None if isinstance(error, PreforkError | NotMolded) else error
