"""What an operator changes and sees while a pool runs. Attached to each manager, and imported only there."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prefork.admin.agent_check import AgentCheck
    from prefork.admin.control import Control
    from prefork.admin.listener import Admin
    from prefork.admin.statsd import Statsd
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


def attach_admin(server: PreForkServer) -> Callable[[Manager], Admin | None]:
    """Opens the sockets of the admin listener. Raises BindError for an address that cannot be had, and
    OptionError for one that other machines reach, or a file of a token that cannot be used.
    """
    if not server.options.admin:
        return lambda _: None
    # Now, as above. A manager without it imports nothing.
    from prefork.admin.listener import open_admin

    return open_admin(server)


def attach_agent_check(server: PreForkServer) -> Callable[[Manager], AgentCheck | None]:
    """Opens the sockets of the agent check. Raises as `attach_admin` does."""
    if not server.options.agent_check:
        return lambda _: None
    from prefork.admin.agent_check import open_agent_check  # as above

    return open_agent_check(server)


def attach_statsd(server: PreForkServer) -> Callable[[Manager], Statsd | None]:
    """Begins to look up the name of the StatsD server."""
    if server.options.statsd is None:
        return lambda _: None
    # Now, as above. A manager without it imports nothing.
    from prefork.admin.statsd import open_statsd

    return open_statsd(server)
