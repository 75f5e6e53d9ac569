"""What an operator changes and sees while a pool runs. Attached to each manager, and imported only there."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prefork.admin.control import Control
    from prefork.pool.manager import Manager
    from prefork.pool.server import PreForkServer


def attach_control(server: PreForkServer) -> Callable[[Manager], Control | None]:
    """Prepares the control socket of a server. What is returned opens it when there is a pool, and raises
    BindError if one was asked for that cannot be had.
    """
    if server.options.control_socket == "off":
        return lambda _: None
    # Now: later the process may have another root directory or user.
    from prefork.admin.control import open_control

    return partial(open_control, server)
