"""Standard input, output and error of the process, which may be closed, full, or a pipe without a reader."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import threading
from collections.abc import Iterable

from prefork.logs.formats import is_json, outside
from prefork.logs.output import output_of

_former: list[io.TextIOWrapper] = []
"""Streams that were replaced. To free one would wait for its lock."""
PROBE_S = 0.5
"""What a lock is waited for. One that is free is had at once, unless the machine is very busy."""


def print_line(text: str) -> None:
    """Prints a line and flushes. An error is ignored: a command does not fail if its output is closed."""
    try:
        print(text, flush=True)
    except OSError:
        # What is left in the buffer would be tried again at exit, with an error message.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def announce(text: str) -> None:
    """Prints a line without waiting for a reader of standard output, as a server must."""
    output_of(sys.stdout, "standard output").write(outside(text, "INFO"))


def announce_lines(lines: Iterable[str]) -> None:
    """As `announce`, for what needs no name in front of it."""
    said = (outside(line, "INFO") if is_json() else f"{line}\n".encode() for line in lines)
    output_of(sys.stdout, "standard output").write(b"".join(said))


def complain(text: str, exception: str = "") -> None:
    """Prints why a process ends on standard error, behind the traceback `exception` if there is one. A reader
    that is slow gets a moment, and no more: what has started this process waits for its end.
    """
    output = output_of(sys.stderr, "standard error")
    output.write(outside(text, exception=exception))
    output.flush()


def open_missing() -> None:
    """Opens /dev/null in place of a descriptor that was closed when the program started.

    A socket of the server would get its number, and what is printed would be sent to a client. An application
    that writes to `sys.stderr` or `wsgi.errors`, which are None then, would fail.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
            os.set_inheritable(descriptor, True)
            if getattr(sys, name) is None:
                mode = "w" if descriptor else "r"
                setattr(sys, name, open(descriptor, mode, closefd=False))  # noqa: SIM115


def renew_streams() -> None:
    """In a forked child: makes standard output or error anew if a thread of the parent printed at the fork.

    The lock of the stream's buffer belongs to that thread. What is in the buffer is the parent's. Handlers of
    the log get the new stream.
    """
    for name in ("stdout", "stderr"):
        former = getattr(sys, name)
        if type(former) is io.TextIOWrapper and isinstance(former.buffer, io.BufferedWriter):
            with contextlib.suppress(OSError, ValueError):  # it is closed
                if _is_stuck(former.buffer):
                    _replace(name, former, _same(former, name))


def _is_stuck(buffer: io.BufferedWriter) -> bool:
    """Whether its lock is not to be had. To wait for it cannot be interrupted: a thread does."""
    had: list[bool] = []

    def take_lock() -> None:
        # RuntimeError: the thread has got the number of the missing one, and seems to have the lock.
        with contextlib.suppress(RuntimeError, OSError, ValueError):
            buffer.write(b"")
            had.append(True)

    probe = threading.Thread(target=take_lock, daemon=True)
    with contextlib.suppress(RuntimeError):  # the system has no thread left
        probe.start()
        probe.join(PROBE_S)
    return not had


def _same(former: io.TextIOWrapper, name: str) -> io.TextIOWrapper:
    """Another stream to the same descriptor."""
    raw = io.FileIO(former.fileno(), "w", closefd=False)
    raw.name = f"<{name}>"
    stream = io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=former.encoding,
        errors=former.errors,
        newline="\n",
        line_buffering=former.line_buffering,
        write_through=former.write_through,
    )
    stream.mode = "w"  # type: ignore[misc]  # as the interpreter does
    return stream


def _replace(name: str, former: io.TextIOWrapper, stream: io.TextIOWrapper) -> None:
    _former.append(former)
    for reference in list(logging._handlerList):  # type: ignore[attr-defined]
        handler = reference()
        if getattr(handler, "stream", None) is former:
            with contextlib.suppress(AttributeError):  # it looks it up itself
                handler.stream = stream
    setattr(sys, name, stream)
    if getattr(sys, f"__{name}__") is former:
        setattr(sys, f"__{name}__", stream)
