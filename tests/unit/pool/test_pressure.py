"""Pressure on memory: when it begins and when it is over."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefork.pool import memory
from prefork.pool.memory import Pressure, PressureFiles
from prefork.pool.pressure import CALM_S, PressureState, judge


def lives(*shares: float | None, high: tuple[int, ...] = ()) -> list[bool]:
    """Whether memory is short, second by second."""
    state, found = PressureState(), []
    for second, share in enumerate(shares):
        count = high[min(second, len(high) - 1)] if high else None
        state = judge(Pressure(share, count), 10.0, state, 100.0 + second)
        found.append(state.since is not None)
    return found


def test_it_begins_at_the_threshold_and_half_as_much_keeps_it() -> None:
    assert lives(0, 9.9, 10, 5, 5) == [False, False, True, True, True]


def test_it_is_over_when_there_was_none_for_a_while() -> None:
    calm = int(CALM_S)
    assert lives(20, *[0] * (calm - 1)) == [True] * calm
    assert lives(20, *[0] * calm)[-1] is False
    assert lives(*([20] + [0] * (calm - 1)) * 5) == [True] * 5 * calm, "it does not flap"


def test_a_cgroup_that_reaches_its_high_limit_is_short() -> None:
    assert lives(None, None, None, high=(7, 7, 8)) == [False, False, True]
    assert lives(None, high=(7,)) == [False], "what was before counts for nothing"


def test_what_the_system_does_not_tell_is_no_pressure() -> None:
    assert lives(None, None) == [False, False]
    assert not Pressure(None, None).is_known
    assert Pressure(0.0, None).is_known


def test_it_is_read_from_the_cgroup_or_else_from_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, group = tmp_path / "proc" / "pressure", tmp_path / "group"
    machine.mkdir(parents=True)
    group.mkdir()
    (machine / "memory").write_text("some avg10=1.50 avg60=0.00 avg300=0.00 total=0\n")
    monkeypatch.setattr(memory, "PROC", tmp_path / "proc")
    monkeypatch.setattr(memory, "cgroup", lambda: group)
    assert PressureFiles().read() == Pressure(1.5, None)
    (group / "memory.events").write_text("low 0\nhigh 12\nmax 3\n")
    (group / "memory.pressure").write_text(
        "some avg10=22.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=9.0\n"
    )
    assert PressureFiles().read() == Pressure(22.0, 12)
    monkeypatch.setattr(memory, "cgroup", lambda: None)
    (machine / "memory").unlink()
    assert PressureFiles().read() == Pressure(None, None)


def test_the_memory_of_a_process_is_that_in_memory_and_in_swap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "PROC", tmp_path)
    (tmp_path / "7").mkdir()
    assert memory.resident(7) is memory.proportional(7) is None
    (tmp_path / "7" / "status").write_text("Name:\tx\nVmRSS:\t     100 kB\nVmSwap:\t      20 kB\n")
    (tmp_path / "7" / "smaps_rollup").write_text(
        "1-2 ---p [rollup]\nRss:  100 kB\nPss:   60 kB\nPss_Dirty:  50 kB\nSwapPss:  9 kB\n"
    )
    assert memory.resident(7) == 120 << 10
    assert memory.proportional(7) == 69 << 10
    assert memory.parts(7) is None
    with (tmp_path / "7" / "smaps_rollup").open("a") as file:
        file.write("Private_Clean:  3 kB\nPrivate_Dirty:  30 kB\nSwap:  2 kB\n")
    assert memory.parts(7) == (69 << 10, 35 << 10)
    (tmp_path / "7" / "stat").write_text("7 (a) D b) S 1 7 7")
    assert memory.proportional(7) == 69 << 10
    (tmp_path / "7" / "stat").write_text("7 (a) S b) D 1 7 7")
    assert memory.proportional(7) is None, "it may have the lock of its mappings"
    assert memory.parts(7) is None
    assert memory.resident(7) == 120 << 10


def test_the_memory_of_this_process_is_known() -> None:
    import os

    size = memory.resident(os.getpid())
    assert size is not None
    assert size > 5 << 20
