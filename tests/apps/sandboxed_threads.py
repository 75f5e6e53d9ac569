"""`sandboxed.py`, with a library that starts a thread in each forked child, as some for telemetry do."""

from __future__ import annotations

import os
import threading

from sandboxed import app

__all__ = ["app"]


def start_thread() -> None:
    threading.Thread(target=threading.Event().wait, daemon=True).start()


os.register_at_fork(after_in_child=start_thread)
