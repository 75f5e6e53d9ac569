"""A fork by way of a process between: whose child comes of it, what runs around it, and what prevents it."""

from __future__ import annotations

import ctypes
import json
import os
import resource
from collections.abc import Callable
from typing import Any, NoReturn

import pytest

from prefork._engine import adopt_orphans, fork_twice

Tell = Callable[..., None]
LIBC = ctypes.CDLL(None)
FUNCTION = ctypes.CFUNCTYPE(None)


def told(mold: Callable[[Tell], object]) -> list[list[Any]]:
    """Runs `mold` in a process whose parent is a subreaper. Returns what it and its child tell, each line
    with a pid, the former first.
    """
    reader, writer = os.pipe()

    def tell(*values: object) -> None:
        os.write(writer, json.dumps([os.getpid(), *values]).encode() + b"\n")

    if (reaper := os.fork()) == 0:
        adopt_orphans()
        _run(tell, mold)
    os.close(writer)
    with open(reader) as file:
        found = [json.loads(line) for line in file]
    assert os.waitstatus_to_exitcode(os.waitpid(reaper, 0)[1]) == 0
    return sorted(found, key=lambda line: line[0])


def _run(tell: Tell, mold: Callable[[Tell], object]) -> NoReturn:
    status = 1
    try:
        if (pid := os.fork()) == 0:
            mold(tell)
        else:
            assert os.waitpid(pid, 0)[1] == 0
            while True:  # the child
                assert os.waitpid(-1, 0)[1] == 0
    except ChildProcessError:
        status = 0
    except BaseException as error:
        tell("error", str(error))
        raise
    else:
        status = 0
    finally:
        os._exit(status)


def test_the_child_is_one_of_the_subreaper_from_the_beginning() -> None:
    def mold(tell: Tell) -> None:
        reaper = os.getppid()
        if pid := fork_twice():
            tell("forked", pid)
        else:
            tell("began", os.getppid() == reaper)

    (_, *forked), (child, *began) = told(mold)
    assert forked == ["forked", child]
    assert began == ["began", True]


def test_functions_of_python_run_here_and_in_the_child_and_in_no_process_between() -> None:
    def mold(tell: Tell) -> None:
        os.register_at_fork(
            before=lambda: tell("before"),
            after_in_parent=lambda: tell("parent"),
            after_in_child=lambda: tell("child"),
        )
        fork_twice()

    lines = told(mold)
    assert [what for _, what in lines] == ["before", "parent", "child"]
    assert lines[0][0] == lines[1][0] != lines[2][0]


@pytest.mark.skipif(not hasattr(LIBC, "__register_atfork"), reason="it is glibc that has this function")
def test_functions_of_libraries_run_once_for_each_fork() -> None:
    """What they do before and after it is seen here: they restore what they have locked."""

    def mold(tell: Tell) -> None:
        calls: list[str] = []
        functions = [FUNCTION(lambda name=name: calls.append(name)) for name in ("before", "parent", "child")]
        LIBC["__register_atfork"](*functions, None)
        fork_twice()
        tell(calls)

    (_, parent), (_, child) = told(mold)
    assert parent == ["before", "parent"]
    assert child == ["before", "child"]


def test_no_descriptor_is_left_open() -> None:
    def mold(tell: Tell) -> None:
        before = set(os.listdir("/proc/self/fd"))
        fork_twice()
        tell(sorted(set(os.listdir("/proc/self/fd")) - before))

    assert [left for _, left in told(mold)] == [[], []]


def test_without_a_descriptor_it_raises_and_nothing_is_forked() -> None:
    def mold(tell: Tell) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (os.dup(0), resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        try:
            fork_twice()
        except OSError as error:
            tell(error.strerror)

    assert [why for _, why in told(mold)] == ["Too many open files"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can change the user")
@pytest.mark.parametrize("refused", ["the first fork", "the second fork"])
def test_a_fork_that_the_system_refuses_raises(refused: str) -> None:
    def mold(tell: Tell) -> None:
        here = os.getpid()

        def refuse() -> None:
            if os.getpid() != here:
                resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))

        function = FUNCTION(refuse)
        LIBC["__register_atfork"](function, None, None, None)
        os.setuid(65534)  # root has no limit
        if refused == "the first fork":
            resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
        try:
            fork_twice()
        except BlockingIOError as error:
            tell(error.strerror)

    assert [why for _, why in told(mold)] == ["Resource temporarily unavailable"]


@pytest.mark.skipif(not hasattr(LIBC, "__register_atfork"), reason="it is glibc that has this function")
def test_a_process_between_that_ends_before_it_forks_is_an_error() -> None:
    def mold(tell: Tell) -> None:
        here = os.getpid()
        function = FUNCTION(lambda: os._exit(0) if os.getpid() != here else None)
        LIBC["__register_atfork"](function, None, None, None)
        try:
            fork_twice()
        except OSError as error:
            tell(str(error))

    assert [why for _, why in told(mold)] == ["the process between two forks has ended before it forked"]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="two cores are needed")
def test_the_child_knows_which_core_it_runs_on() -> None:
    """glibc reads that from memory that the kernel writes to, if the thread has it registered (rseq(2))."""

    def mold(tell: Tell) -> None:
        cores = sorted(os.sched_getaffinity(0))
        if fork_twice() == 0:
            for core in cores:
                os.sched_setaffinity(0, {core})
                tell(LIBC.sched_getcpu() == core)

    assert [is_right for _, is_right in told(mold)] == [True] * len(os.sched_getaffinity(0))


def test_the_process_between_is_waited_for() -> None:
    def mold(tell: Tell) -> None:
        if fork_twice():
            with open(f"/proc/self/task/{os.getpid()}/children") as file:
                tell(file.read())

    assert [children for _, children in told(mold)] == [""]
