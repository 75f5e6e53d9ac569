"""The pipe of stacks: who writes to it, and what becomes of its descriptors."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from prefork._engine import STACKS
from prefork.pool.log_level import catches
from prefork.pool.stacks import Stacks


@pytest.fixture
def stacks() -> Iterator[Stacks]:
    before = os.listdir("/proc/self/fd")
    made = Stacks()
    yield made
    made.close()
    assert len(os.listdir("/proc/self/fd")) == len(before)
    assert not catches(os.getpid(), STACKS)


def test_the_stacks_of_this_process(stacks: Stacks) -> None:
    stacks.prepare()
    assert catches(os.getpid(), STACKS)
    assert stacks.read() == ""
    signal.raise_signal(STACKS)
    assert "in test_the_stacks_of_this_process" in stacks.read()
    assert stacks.read() == ""


def test_two_pools_of_a_program_take_turns(stacks: Stacks) -> None:
    other = Stacks()
    stacks.prepare()
    other.prepare()
    signal.raise_signal(STACKS)
    assert stacks.read() == ""
    assert other.read()
    stacks.prepare()
    other.close()  # what is registered is not its own
    signal.raise_signal(STACKS)
    assert stacks.read()


def test_a_worker_keeps_its_end_until_it_leaves() -> None:
    stacks = Stacks()
    stacks.prepare()
    stacks.join()
    before = len(os.listdir("/proc/self/fd"))
    stacks.close()
    assert len(os.listdir("/proc/self/fd")) == before - 1
    assert catches(os.getpid(), STACKS)
    stacks.leave()
    assert len(os.listdir("/proc/self/fd")) == before - 2
    assert not catches(os.getpid(), STACKS)


def test_a_full_pipe_blocks_no_writer(stacks: Stacks) -> None:
    stacks.prepare()
    for _ in range(200):
        signal.raise_signal(STACKS)
    assert 0 < len(stacks.read()) <= 1 << 18
