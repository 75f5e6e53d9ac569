"""What a process has of a pool. `manager.py` and `worker.py` have the roles that processes of a pool play."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from prefork.errors import NotInThisProcess
from prefork.pool.log_level import set_level
from prefork.server.role import UNUSED_SIGNALS

if TYPE_CHECKING:
    from prefork.config.options import PreForkOptions
    from prefork.pool.reload import OnDone

SIZES_ITSELF = "the pool sizes itself, by --min-spare, --max-spare and --max-clients"
UNUSED_SIGNALS_OF_MANAGER: dict[int, str] = UNUSED_SIGNALS | {
    signal.SIGUSR2: "no server takes over in place; new code takes a restart, and HUP renews the workers",
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

    def reload(self, on_done: OnDone | None = None) -> bool:  # noqa: ARG002
        """Replaces the workers by ones with new code and options. False: this process has none."""
        return False
