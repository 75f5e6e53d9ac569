"""How `prefork dev` serves: its defaults, and what it adds to a server."""

from __future__ import annotations

import ipaddress
import logging
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from prefork.config.sources import from_keywords
from prefork.hosting.dev.application import DevApplication
from prefork.hosting.dev.certificate import make_certificate
from prefork.hosting.dev.pages import Pages
from prefork.hosting.dev.request_lines import RequestLines
from prefork.logs.colors import ColorFormatter, takes_colors
from prefork.logs.console import announce_lines
from prefork.logs.handler import standard_error

if TYPE_CHECKING:
    from prefork.config.options import ServeOptions
    from prefork.config.sources import Given
    from prefork.hosting.molded import MoldedApplication
    from prefork.pool.manager import Manager
    from prefork.pool.server import PreForkServer
    from prefork.server.server import HTTPServer

logger = logging.getLogger("prefork.server")

DEFAULTS: dict[str, Any] = {
    "workers": 1,
    "reload": True,
    "admin": "127.0.0.1:0",
    "boot_failures": 0,
    "graceful_timeout": 2,
}
"""What is served with unless a source says otherwise, by key. A worker that cannot start is tried again, and
a slow request does not delay the end.
"""


class Development:
    """`https`: with a certificate that is made now. `shows_values`: error pages have those of variables.

    Raises OptionError.
    """

    def __init__(self, *, https: bool, shows_values: bool) -> None:
        self._pages = Pages(shows_values=shows_values)
        more: dict[str, Any] = {}
        if https:
            more["tls_cert"], more["tls_key"] = make_certificate()
        self._defaults = from_keywords(DEFAULTS | more)

    def completed(self, given: Given) -> Given:
        """The values that were given, and the defaults of the others."""
        return self._defaults | given

    def make_application(self, *arguments: Any) -> MoldedApplication:
        """What a mold loads; the arguments are those of a MoldedApplication."""
        return DevApplication(*arguments, pages=self._pages)

    def prepare(self, server: PreForkServer, options: ServeOptions) -> None:
        """Before the server begins: has it show on the terminal what it does."""
        if options.log_format == "text" and options.log_config is None:
            standard_error().setFormatter(ColorFormatter(in_colors=takes_colors(sys.stderr)))
        if options.access_log is None:
            lines = RequestLines(server, in_colors=takes_colors(sys.stdout))
            server.own_attachments.append(lines.attach)
        server.own_attachments.append(partial(_announce, server))


def _announce(server: PreForkServer, manager: Manager) -> None:
    """When it serves, it tells where the pool is shown, and warns if others can reach it."""

    def tell(_: HTTPServer) -> None:
        if shown := manager.about().get("admin"):
            announce_lines([f"the pool is shown at {' and '.join(shown)}/"])  # type: ignore[arg-type]
        if any(map(_is_reached, _addresses(server))):
            logger.warning("other machines can reach this server, which shows them its errors")

    server.on_serving.append(tell)


def _addresses(server: PreForkServer) -> list[str]:
    sockets = server.listening
    return [] if sockets is None else [place.place[0] for place in sockets.places if place.place[1]]


def _is_reached(address: str) -> bool:
    try:
        return not ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
