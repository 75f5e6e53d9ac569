"""The managers before and after this one, of which it takes the place, or which take its place (manager).

Owns the former manager until that has let go (`predecessor.py`), and the attempt to have another take the
place of this one (`upgrade.py`). Always: there is one of the two at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from prefork.errors import NotUpgraded
from prefork.pool.resources import PoolResources

if TYPE_CHECKING:
    from prefork.kernel.kernel import Kernel
    from prefork.pool.attached import Attached
    from prefork.pool.command import Command
    from prefork.pool.predecessor import Predecessor
    from prefork.pool.upgrade import OnDone, Upgrade
    from prefork.server.sockets import Listening


class Succession:
    """`former` is the manager whose place this one takes. `alone()` is called when it has let go, and
    `leave(pid, stays)` when process `pid` is to take the place of this one (`Upgrade`).
    """

    def __init__(
        self,
        kernel: Kernel,
        former: Predecessor | None,
        alone: Callable[[], object],
        leave: Callable[[int, str], object],
    ) -> None:
        self._kernel = kernel
        self.former = former
        self._alone = alone
        self._leave = leave
        self._attempt: Upgrade | None = None

    @property
    def pids(self) -> list[int]:
        """The manager that is about to take the place of this one, while it is a child."""
        return [] if self._attempt is None else self._attempt.pids

    @property
    def is_upgrading(self) -> bool:
        """Whether another manager is about to take the place of this one."""
        return self._attempt is not None and self._attempt.end is None

    # --- taking the place of another manager --------------------------------------------------------------

    def make_resources(
        self,
        slots: int,
        glue: str | None,
        about: Callable[[], object],
        sockets: Listening | None,
    ) -> PoolResources:
        """Those of a pool, with the queue and the glue of the former one if that can be. Raises as
        `PoolResources` does.
        """
        if self.former is None or sockets is None:
            return PoolResources(slots, glue, about)
        from prefork.pool.handing_over import layout

        queue = self.former.take_queue(layout(sockets.places, sockets.redirecting))
        return PoolResources(slots, glue, about, queue, self.former.take_glue(glue))

    def wait(self) -> None:
        """Hears when the former manager lets go, if there is one."""
        if self.former is not None:
            self.former.when_alone(self._is_alone)

    def _is_alone(self) -> None:
        self.former = None
        self._alone()

    # --- giving the place to another manager --------------------------------------------------------------

    def begin(
        self,
        command: Command,
        boot_timeout_s: float,
        resources: PoolResources,
        sockets: Listening,
        attached: Sequence[Attached],
        on_done: OnDone | None,
    ) -> None:
        """Has another manager, from the command line of this one, take its place. `on_done` hears how that
        ends. Raises NotUpgraded.
        """
        from prefork.pool import upgrade  # here: a manager that is never upgraded has none

        if self.is_upgrading:
            raise NotUpgraded("an upgrade is under way already")
        if self.former is not None:
            raise NotUpgraded("the manager whose place this one takes has not let go yet")
        upgrade.refuse_in_container()
        timeout_s = boot_timeout_s + upgrade.BEYOND_BOOT_S
        self._attempt = attempt = upgrade.Upgrade(self._kernel.loop, timeout_s, self._leave)
        attempt.watch(on_done)
        attempt.begin(
            command,
            upgrade.parts_of(resources, sockets, attached),
            upgrade.inherited(sockets),
            upgrade.passed_on(sockets, attached),
        )

    def cancel(self, why: str) -> None:
        """Gives the attempt up, if there is one."""
        if self._attempt is not None:
            self._attempt.cancel(why)

    # --- its end -----------------------------------------------------------------------------------------

    def close(self) -> None:
        """The pool has ended."""
        if self._attempt is not None:
            self._attempt.close()
        self.former = None  # its channel stays open: the former manager is told why this process ends

    def discard(self) -> None:
        """In a child: closes its copies of the descriptors."""
        for one in (self._attempt, self.former):
            if one is not None:
                one.discard()
