"""What a fork needs besides fork(2): memory that is ready to be shared, and an end for the child."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import select
import signal
import struct
import sys
import time
from collections.abc import Callable
from typing import NoReturn

from prefork._engine import fill_heap
from prefork.errors import PreforkError
from prefork.kernel import fork_hooks
from prefork.logs.console import complain

YOUNG_CALLS = 12
"""More than the 8 calls for which CPython 3.11 counts a function as young (PEP 659)."""

FORK_AWAY_S = 20.0
"""How long the process between two forks may take. It has nothing to do, but functions of the application
that run at each fork (`os.register_at_fork`) may block it."""

REPARENT_S = 0.0002

_FORKED = struct.Struct("ii")
"""What the process between two forks tells: the pid of the second one, and what prevented it (errno)."""


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

    Returns its pid, and 0 in it, when it is a child of `reaper`. Raises OSError.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        between = fork_hooks.fork(is_tied=True)
    except OSError:
        os.close(writer)
        os.close(reader)
        raise
    if between:
        os.close(writer)
        try:
            return _forked_by(between, reader)
        finally:
            os.close(reader)
    os.close(reader)
    _fork_again(reaper, writer)
    return 0


def _fork_again(reaper: int, writer: int) -> None:
    """In the process between: forks, tells the parent, and ends. Returns in the child alone."""
    between = os.getpid()
    try:
        pid, error = fork_hooks.fork(), 0
    except OSError as failed:
        pid, error = 0, failed.errno or 1
    if pid or error:
        os.write(writer, _FORKED.pack(pid, error))
        os._exit(0)
    os.close(writer)
    while (now := os.getppid()) == between:
        time.sleep(REPARENT_S)  # its memory is given back first
    if now != reaper:
        os._exit(1)


def _forked_by(between: int, reader: int) -> int:
    """What the process between has forked. One that takes too long is killed."""
    told = b""
    ready = select.poll()
    ready.register(reader, select.POLLIN)
    if ready.poll(FORK_AWAY_S * 1000):
        told = os.read(reader, _FORKED.size)
    else:
        with contextlib.suppress(ProcessLookupError):
            os.kill(between, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):  # the application waits for every child
        os.waitpid(between, 0)
    if len(told) < _FORKED.size:
        raise TimeoutError(
            "the process between two forks did not fork: look at what the application runs at forks "
            "(os.register_at_fork)"
        )
    pid, error = _FORKED.unpack(told)
    if error:
        raise OSError(error, os.strerror(error))
    return int(pid)


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
