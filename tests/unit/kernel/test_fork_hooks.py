"""Children that are tied to a process die with it, also while something hangs in them at a fork."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from support.processes import alive, wait_ended

PYTHON = """
import os, time
os.register_at_fork(after_in_child=lambda: time.sleep(99))
from prefork.kernel import fork_hooks
"""
"""Before the kernel's own function: it runs after this one."""
NATIVE = """
import ctypes, os
from prefork.kernel import fork_hooks
libc = ctypes.CDLL(None)
libc.__register_atfork(None, None, libc.pause, None)
"""
"""As libraries do (`pthread_atfork`): it runs before any function of Python."""
TIED = """
import sys
print(fork_hooks.fork(tied_to=os.getpid()), flush=True)
sys.stdin.read()
"""
AWAY = """
import sys, time
from prefork._engine import adopt_orphans
from prefork.kernel.forking import fork_away
adopt_orphans()
manager, is_mold = os.getpid(), False
def hang():
    if is_mold and os.getppid() == manager:
        print(os.getpid(), flush=True)
        time.sleep(99)
os.register_at_fork(after_in_child=hang)
if os.fork() == 0:
    is_mold = True
    fork_away(manager)
    time.sleep(99)
sys.stdin.read()
"""


@contextlib.contextmanager
def running(source: str) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A program, and the processes that it tells of."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", source], text=True, **pipes) as program:  # type: ignore[call-overload]
        told: list[int] = []
        try:
            assert program.stdout is not None
            told = [int(pid) for pid in program.stdout.readline().split()]
            yield program, told
        finally:
            program.kill()
            for pid in filter(alive, told):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("hangs", [PYTHON, NATIVE], ids=["Python", "native"])
def test_a_child_dies_with_its_parent_while_a_function_at_forks_hangs_in_it(hangs: str) -> None:
    with running(hangs + TIED) as (program, (child,)):
        assert alive(child)
        program.kill()
        wait_ended([child])


def test_a_child_of_another_process_is_that_ones_before_functions_at_forks_run_in_it() -> None:
    with running("import os\nfrom prefork.kernel import fork_hooks\n" + AWAY) as (program, (child,)):
        assert alive(child)
        program.kill()
        wait_ended([child])


def test_only_the_next_fork_is_tied() -> None:
    source = """
import os, sys, time
from prefork.kernel import fork_hooks
def fork(function):
    pid = function()
    if pid == 0:
        time.sleep(20)
        os._exit(0)
    return pid
tied = fork(lambda: fork_hooks.fork(tied_to=os.getpid()))
print(fork(os.fork), tied, fork(fork_hooks.fork), flush=True)
sys.stdin.read()
"""
    with running(source) as (program, (first, tied, second)):
        program.kill()
        wait_ended([tied])
        for other in (first, second):
            assert alive(other)
            os.kill(other, signal.SIGKILL)


def test_a_child_whose_process_is_gone_ends() -> None:
    source = """
import sys
from prefork.kernel.forking import fork_away
pid = fork_away(1 << 22)
if pid:
    print(pid, flush=True)
    sys.stdin.read()
"""
    with running(source) as (program, (child,)):
        wait_ended([child])
        assert program.poll() is None
