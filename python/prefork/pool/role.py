"""What a process has of a pool. `manager.py` and `worker.py` have the roles that processes of a pool play."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from prefork.errors import NotInThisProcess, NotUpgraded
from prefork.pool.log_level import set_level
from prefork.server.role import UNUSED_SIGNALS

if TYPE_CHECKING:
    from prefork.config.options import PreForkOptions
    from prefork.pool.command import Command
    from prefork.pool.reload import OnDone
    from prefork.pool.upgrade import OnDone as UpgradeDone

SIZES_ITSELF = "the pool sizes itself, by --min-spare, --max-spare and --max-clients"
UNUSED_SIGNALS_OF_MANAGER: dict[int, str] = UNUSED_SIGNALS | {
    # Where a mold loads the application, it is an upgrade.
    signal.SIGUSR2: "what a program has of its own cannot be handed to another process; restart it",
    signal.SIGTTIN: SIZES_ITSELF,
    signal.SIGTTOU: SIZES_ITSELF,
}


class PoolMember:
    """What `PreForkServer` can do with the pool in this process. Here there is none."""

    is_child = False

    @property
    def glue(self) -> str | None:
        """The name under which `prefork status` finds the pool, in its manager."""
        return None

    @property
    def workers(self) -> list[int]:
        """The pids of the workers, oldest first, in their manager."""
        return []

    def may_change(self, what: str) -> bool:  # noqa: ARG002
        """Whether `what`, an event that changes handlers, is allowed. Logs if it is not."""
        return True

    def change_options(self, options: PreForkOptions) -> None:  # noqa: ARG002
        """Keeps the pool by these options from now on. Raises OptionError, and NotInThisProcess here."""
        raise NotInThisProcess("a pool is changed in its manager, while the kernel runs")

    def set_log_level(self, name: str) -> list[int]:
        """Changes the level of the log. Returns the workers that cannot be told."""
        set_level(name)
        return []

    def replace_workers(self) -> None:
        """Replaces the workers by fresh ones, one after the other, if this process has any."""

    @property
    def is_upgrading(self) -> bool:
        """Whether another manager is about to take the place of this one."""
        return False

    has_left = False
    """Whether another manager has taken the place of this one."""

    def upgrade(self, command: Command | None, on_done: UpgradeDone | None = None) -> None:  # noqa: ARG002
        """Has another manager take the place of this one. Raises NotUpgraded."""
        raise NotUpgraded("an upgrade is for the manager of a pool that runs")

    def reload(self, on_done: OnDone | None = None) -> bool:  # noqa: ARG002
        """Replaces the workers by ones with new code and options. False: this process has none."""
        return False
