"""The format of the log in this process: text, or JSON.

Always: what is said outside of logging, because a process ends or has not set logging up, has it too.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
import time
from typing import TextIO

from prefork._engine import log_stuck_as_json
from prefork.logs.handler import LineFormatter, standard_error

FORMATS = ("text", "json")

_is_json = False


def set_format(name: str) -> None:
    """Has this process and its children log in one of FORMATS from now on."""
    global _is_json
    if _is_json == (name == "json"):
        return
    _is_json = name == "json"
    standard_error().setFormatter(_formatter())
    if _is_json:
        from prefork.logs.json_lines import replace_bare_messages  # here, not in the memory of every worker

        replace_bare_messages()


def is_json() -> bool:
    """Whether this process logs as JSON."""
    return _is_json


def outside(text: str, level: str = "CRITICAL", exception: str = "") -> bytes:
    """What is said outside of logging, as lines for standard error."""
    if not _is_json:
        return f"{exception}prefork: {text}\n".encode(errors="backslashreplace")
    from prefork.logs.json_lines import json_line  # as above

    more = {"exception": exception} if exception else {}
    return f"{json_line(time.time(), level, 'prefork', text, os.getpid(), more)}\n".encode()


def _formatter() -> logging.Formatter:
    if not _is_json:
        return LineFormatter()
    from prefork.logs.json_lines import JSONFormatter  # as above

    return JSONFormatter()


def tracebacks_to() -> TextIO | int:
    """What `faulthandler` is to write the tracebacks of a process that is stuck to."""
    return _caught() if _is_json else sys.__stderr__ or 2


@functools.cache
def _caught() -> int:
    """A descriptor of its own: a worker that is stuck catches there what belongs into a line."""
    fd = os.dup(2)
    log_stuck_as_json(fd)
    return fd
