"""Lines on standard output, which may be closed, full or a pipe without a reader."""

from __future__ import annotations

import os
import sys


def say(text: str) -> None:
    """Prints and flushes. Errors are ignored: a server does not depend on its output being read."""
    try:
        print(text, flush=True)
    except OSError:
        # Python would flush the buffer again at exit, and report the error.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
