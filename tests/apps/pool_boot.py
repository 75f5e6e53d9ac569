"""The application of the pool tests with a fork handler that fails.

Parameters: `begin` names the fork handler, as the table below has it. Those that fail do so while the file
`fail` is in the directory; with `fail_at_once` it is there from the beginning.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time

from parameters import PARAMETERS
from pool_app import kernel, pages, server

__all__ = ["kernel", "pages", "server"]


def raise_error():
    raise ValueError("no database")


async def raise_in_coroutine():
    raise ValueError("no database")


def leave():
    sys.exit(9)


def leave_at_once():
    os._exit(8)


def crash():
    os.kill(os.getpid(), signal.SIGSEGV)


def hang():
    time.sleep(600)


def is_one_of_the_first():
    """True in three processes: a directory can be made once."""
    for number in range(3):
        try:
            os.mkdir(f"try-{number}")
        except FileExistsError:
            continue
        return True
    return False


def first_three():
    if is_one_of_the_first():
        raise ValueError("too early")


def die_soon():
    kernel.loop.call_later(0.01, os._exit, 4)


async def wait_for_go():
    while not os.path.exists("go"):
        await asyncio.sleep(0.005)


def hang_without_go():
    if not os.path.exists("go"):
        time.sleep(30)


def while_there(failure):
    """Fail as long as the file `fail` is there."""

    def begin():
        if os.path.exists("fail"):
            failure()

    return begin


BEGINNINGS = {
    "an exception": while_there(raise_error),
    "an exit": while_there(leave),
    "a hard exit": while_there(leave_at_once),
    "a crash": while_there(crash),
    "a hang": while_there(hang),
    "an exception in a coroutine": raise_in_coroutine,
    "an exception in the first three": first_three,
    "dies soon": die_soon,
    "waits for go": wait_for_go,
    "hangs without go": hang_without_go,
}

if PARAMETERS.get("fail_at_once"):
    open("fail", "w").close()
if PARAMETERS.get("ignore_children"):
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
pages._handlers["begin"] = BEGINNINGS[PARAMETERS["begin"]]
