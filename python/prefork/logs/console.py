"""Lines on standard output, which may be closed, full, or a pipe without a reader."""

from __future__ import annotations

import os
import sys


def print_line(text: str) -> None:
    """Prints a line and flushes. An error is ignored: a server does not end because its output is closed."""
    try:
        print(text, flush=True)
    except OSError:
        # What is left in the buffer would be tried again at exit, with an error message.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
