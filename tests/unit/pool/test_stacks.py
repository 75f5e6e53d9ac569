"""The pipe of stacks: who writes to it, and what becomes of its descriptors."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from prefork import Kernel
from prefork._engine import STACKS, TASKS
from prefork.pool.stacks import BEGIN, END, NO_TASKS, Stacks, tasks_in, threads_in
from prefork.pool.worker_signals import catches

KERNEL = Kernel()


@pytest.fixture
def stacks() -> Iterator[Stacks]:
    before = os.listdir("/proc/self/fd")
    made = Stacks()
    yield made
    made.close()
    assert len(os.listdir("/proc/self/fd")) == len(before)
    assert not catches(os.getpid(), STACKS)


def test_the_stacks_of_this_process(stacks: Stacks) -> None:
    stacks.prepare(KERNEL)
    assert catches(os.getpid(), STACKS)
    assert stacks.read() == ""
    signal.raise_signal(STACKS)
    assert "in test_the_stacks_of_this_process" in stacks.read()
    assert stacks.read() == ""


def test_two_pools_of_a_program_take_turns(stacks: Stacks) -> None:
    other = Stacks()
    stacks.prepare(KERNEL)
    other.prepare(KERNEL)
    signal.raise_signal(STACKS)
    assert stacks.read() == ""
    assert other.read()
    stacks.prepare(KERNEL)
    other.close()  # what is registered is not its own
    signal.raise_signal(STACKS)
    assert stacks.read()


def test_a_worker_keeps_its_end_until_it_leaves() -> None:
    stacks = Stacks()
    stacks.prepare(KERNEL)
    stacks.join()
    before = len(os.listdir("/proc/self/fd"))
    stacks.close()
    assert len(os.listdir("/proc/self/fd")) == before - 1
    assert catches(os.getpid(), STACKS)
    stacks.leave()
    assert len(os.listdir("/proc/self/fd")) == before - 2
    assert not catches(os.getpid(), STACKS)


def test_a_full_pipe_blocks_no_writer(stacks: Stacks) -> None:
    stacks.prepare(KERNEL)
    for _ in range(200):
        signal.raise_signal(STACKS)
    assert 0 < len(stacks.read()) <= 1 << 18


def test_the_tasks_of_this_process(stacks: Stacks) -> None:
    signal.raise_signal(TASKS)
    assert stacks.read() == "", "it is not prepared"
    stacks.prepare(KERNEL)
    signal.raise_signal(STACKS)
    signal.raise_signal(TASKS)
    text = stacks.read()
    threads = threads_in(text)
    assert "in test_the_tasks_of_this_process" in threads
    assert not {BEGIN, END} & set(threads)
    assert tasks_in(text, os.getpid()) == "tasks cannot be shown: RuntimeError", "the kernel does not run"
    assert tasks_in(text, 1) is None


def test_tasks_that_were_cut() -> None:
    whole, cut = f"{BEGIN}7 {NO_TASKS}{END}", f"{BEGIN}8 Task of"
    assert tasks_in(whole + cut, 7) == NO_TASKS
    assert tasks_in(whole + cut, 8) == "Task of\n  ... (cut)"
    assert threads_in(f"Thread{whole}s{cut}") == "Threads"
