"""What an environment may ask for that this server does not do: each is refused with one line."""

from __future__ import annotations

import os

from prefork.errors import OptionError


def refuse_sockets() -> None:
    """Raises OptionError if a service manager passes listening sockets to this process (sd_listen_fds(3))."""
    passed = os.environ.get("LISTEN_FDS", "0")
    if passed not in ("", "0") and os.environ.get("LISTEN_PID", "") in ("", str(os.getpid())):
        raise OptionError(
            f"LISTEN_FDS={passed}: sockets of a service manager are not served yet; disable the .socket unit "
            "and use --bind"
        )
