"""SIGHUP to the manager of a running pool.

Always: it reaches the process that holds the glue, and no other one that has got its number meanwhile.
"""

from __future__ import annotations

import os
import signal

from prefork.errors import ScoreboardUnavailable
from prefork.logs.console import print_line
from prefork.pool.scoreboard import open_scoreboard
from prefork.status import only_glue


def hang_up(glue: str | None) -> None:
    """Sends it to the pool with this glue, or to the only pool.

    Raises ScoreboardUnavailable if it is not running or belongs to another user, OptionError if several pools
    are running.
    """
    glue = glue or only_glue()
    manager = _manager(glue)
    try:
        pidfd = os.pidfd_open(manager)
        try:
            if _manager(glue) != manager:
                raise ProcessLookupError
            signal.pidfd_send_signal(pidfd, signal.SIGHUP)
        finally:
            os.close(pidfd)
    except ProcessLookupError:
        raise ScoreboardUnavailable(f"the pool {glue} has ended meanwhile") from None
    except PermissionError:
        raise ScoreboardUnavailable(f"the pool {glue} is another user's: run this as that user") from None
    print_line(
        f"pool {glue}: manager {manager} reads its certificates again, if it has some, and replaces its "
        "workers; its log has the result"
    )


def _manager(glue: str) -> int:
    found = open_scoreboard(glue)
    found.board.close()
    return found.manager
