"""What a fork needs besides fork(2): memory that is ready to be shared, and an end for the child."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from prefork._engine import fill_heap, fork_twice
from prefork.errors import PreforkError
from prefork.kernel import fork_hooks
from prefork.logs.console import complain

YOUNG_CALLS = 12
"""More than the 8 calls for which CPython 3.11 counts a function as young (PEP 659)."""


def prepare_memory(warm_up: Callable[[], object], *, is_immortal: bool = False) -> None:
    """Before the first fork: has children share as much memory as they can.

    `warm_up` runs a child's first moments. CPython 3.11 rewrites the code of a function while it is young: it
    counts calls and puts specialised instructions in place. What is run here is settled when it is forked;
    each child would otherwise write it into pages of its own. `is_immortal`: the reference counts of what is
    never freed are fixed, where this version of Python allows it.
    """
    for _ in range(YOUNG_CALLS):
        warm_up()
        flush_output()
    if is_immortal:
        from prefork.kernel.immortal import fix_counts  # here: few programs have it

        fix_counts()
    gc.freeze()  # a child's collector does not write to the pages of these objects,
    fill_heap()  # and new objects of a child are not put between them


def fork_away(reaper: int) -> int:
    """Forks twice: a process that becomes a child of `reaper`, a child subreaper above this one.

    Returns its pid, and 0 in it, when it is a child of `reaper`, and dies with that. Raises OSError.
    """
    sys.audit("os.fork")
    return fork_hooks.fork(fork_twice, tied_to=reaper)


def flush_output() -> None:
    """Writes out what is buffered. A fork would copy the buffer, and the child would write it once more."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # closed, full or gone: not an error here
            continue


def end_process(error: BaseException | None) -> NoReturn:
    """Ends this child with the status of `error`, which is printed.

    It does not return into the parent's program, and runs none of its `atexit` functions.
    """
    if isinstance(error, SystemExit):
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    elif isinstance(error, PreforkError):
        status = 1
        complain(str(error))
    elif error is not None:
        status = 1
        sys.excepthook(type(error), error, error.__traceback__)
    else:
        status = 0
    exit_at_once(status)


def exit_at_once(status: int) -> NoReturn:
    """Ends this process with nothing but what it has logged and printed written out."""
    try:
        logging.shutdown()
        flush_output()
    finally:  # a handler of a signal may have interrupted just that
        os._exit(status)
