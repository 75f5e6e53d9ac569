"""Libraries that replace what a loop of this server is made of: each is refused with one line."""

from __future__ import annotations

import sys

from prefork.errors import TargetError


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
