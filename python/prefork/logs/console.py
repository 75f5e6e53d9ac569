"""Standard output, which may be closed, full or a pipe that nobody reads any more."""

from __future__ import annotations

import os
import sys


def say(text: str) -> None:
    """Prints and flushes. Nobody listening is no reason to fail, so an error is let be."""
    try:
        print(text, flush=True)
    except OSError:
        # What is left in the buffer would be tried, and complained about, once more at exit.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
