"""The asyncio loop that the option `loop` selects for an ASGI application."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from prefork.config.options import PreForkOptions
from prefork.errors import OptionError
from prefork.kernel.loop import EngineLoop, Loop

if TYPE_CHECKING:
    from prefork.server.server import HTTPServer

MayWait = Callable[[], bool]


def use_uvloop(server: HTTPServer) -> None:
    """Has every process that serves run uvloop's loop. Raises OptionError if uvloop is not installed."""
    try:
        from prefork.kernel.uv import UVLoop
    except ImportError as error:
        raise OptionError(f"loop uvloop: {error}; install uvloop, or use --loop asyncio") from None
    server.kernel.loop_factory = partial(_make_loop, UVLoop, server)


def _make_loop(kind: Callable[[MayWait], Loop], server: HTTPServer, may_wait: MayWait) -> Loop:
    """A loop of that kind for a process that serves. A manager serves no request: it has the engine's."""
    options = server.options
    is_manager = isinstance(options, PreForkOptions) and options.start_servers and not server.kernel.is_child
    return EngineLoop(may_wait) if is_manager else kind(may_wait)
