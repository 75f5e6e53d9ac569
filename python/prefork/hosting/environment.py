"""What an environment may ask for that this server does not do: each is refused with one line."""

from __future__ import annotations

import os
import sys

from prefork.errors import OptionError, TargetError


def refuse_sockets() -> None:
    """Raises OptionError if a service manager passes listening sockets to this process (sd_listen_fds(3))."""
    passed = os.environ.get("LISTEN_FDS", "0")
    if passed not in ("", "0") and os.environ.get("LISTEN_PID", "") in ("", str(os.getpid())):
        raise OptionError(
            f"LISTEN_FDS={passed}: sockets of a service manager are not served yet; disable the .socket unit "
            "and use --bind"
        )


def refuse_patches(place: str) -> None:
    """Raises TargetError if gevent or eventlet have replaced parts of the standard library.

    What they have replaced waits in a loop of their own, which no worker runs.
    """
    for library, is_patched in (("gevent", _gevent), ("eventlet", _eventlet)):
        if is_patched():
            raise TargetError(
                f"{place} uses the monkey patches of {library}, whose loop does not run in a worker of "
                "prefork; remove them, and use --threads or more workers"
            )


def _gevent() -> bool:
    monkey = sys.modules.get("gevent.monkey")
    return bool(getattr(monkey, "saved", None))


def _eventlet() -> bool:
    patcher = sys.modules.get("eventlet.patcher")
    return bool(getattr(patcher, "already_patched", None))
