"""What a process may use of a machine, read from files as kernels write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefork.config import machine
from prefork.config.checked import changed, check
from prefork.config.machine import Computed, Machine, computed_workers, read_machine
from prefork.config.options import PreForkOptions

GIB = 1 << 30


class Files:
    """A machine of four CPUs and 16 GiB, of which 12 are available."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("proc/meminfo", "MemTotal:       16777216 kB\nMemAvailable:   12582912 kB\n")

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    groups = tmp_path / "cgroup"
    monkeypatch.setattr(machine, "PROC", tmp_path / "proc")
    monkeypatch.setattr(machine, "CGROUPS", groups)
    monkeypatch.setattr(machine, "UNIFIED", (groups, groups / "unified"))
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: {0, 1, 2, 3})
    return Files(tmp_path)


def test_without_cgroups_it_is_what_is_free(files: Files) -> None:
    assert files
    assert read_machine() == Machine(4.0, "sched_getaffinity", 12 * GIB, "MemAvailable")
    assert machine.cgroup() is None


def test_a_container_has_the_limits_of_its_cgroup(files: Files) -> None:
    files.write("proc/self/cgroup", "0::/\n")
    files.write("cgroup/cgroup.controllers", "cpu memory\n")
    files.write("cgroup/memory.max", "2147483648\n")
    files.write("cgroup/cpu.max", "150000 100000\n")
    assert read_machine() == Machine(1.5, "cpu.max", 2 * GIB, "memory.max")


def test_the_lowest_limit_of_the_groups_around_counts(files: Files) -> None:
    files.write("proc/self/cgroup", "0::/system.slice/site.service\n")
    files.write("cgroup/cgroup.controllers", "cpu memory\n")
    files.write("cgroup/system.slice/memory.max", f"{GIB}\n")
    files.write("cgroup/system.slice/site.service/memory.max", "max\n")
    files.write("cgroup/system.slice/site.service/cpu.max", "max 100000\n")
    assert read_machine() == Machine(4.0, "sched_getaffinity", GIB, "memory.max")
    assert machine.cgroup() == files.root / "cgroup/system.slice/site.service"


def test_cgroups_of_version_1_are_known(files: Files) -> None:
    files.write("proc/self/cgroup", "5:memory:/docker/1\n4:cpu,cpuacct:/docker/1\n0::/\n")
    files.write("cgroup/memory/memory.limit_in_bytes", f"{3 * GIB}\n")
    files.write("cgroup/cpu,cpuacct/docker/1/cpu.cfs_quota_us", "50000\n")
    files.write("cgroup/cpu,cpuacct/docker/1/cpu.cfs_period_us", "100000\n")
    assert read_machine() == Machine(0.5, "cpu.cfs_quota_us", 3 * GIB, "memory.limit_in_bytes")


def test_a_limit_above_the_memory_of_the_machine_is_none(files: Files) -> None:
    files.write("proc/self/cgroup", "5:memory:/\n")
    files.write("cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
    assert read_machine().bytes_by == "MemAvailable"


def test_files_that_are_not_as_expected_limit_nothing(files: Files) -> None:
    files.write("proc/self/cgroup", "0::/../..\nnonsense\n")
    files.write("cgroup/cgroup.controllers", "")
    files.write("cgroup/cpu.max", "many\n")
    files.write("cgroup/memory.max", "-5\n")
    assert read_machine() == Machine(4.0, "sched_getaffinity", 12 * GIB, "MemAvailable")


@pytest.mark.parametrize(
    ("cpus", "gib", "max_memory", "count"),
    [
        (2, 100, 0, 24),
        (2, 1, 0, 6),
        (2, 1, GIB // 10, 8),
        (0.5, 1, 0, 6),
        (1, 0.1, 0, 2),
        (256, 9999, 0, 3072),
    ],
)
def test_the_number_of_workers_follows_from_cpus_and_memory(
    cpus: float, gib: float, max_memory: int, count: int
) -> None:
    found = computed_workers(Machine(cpus, "cpu.max", int(gib * GIB), "memory.max"), max_memory)
    assert found == count
    assert f"for {cpus:g} CPUs (cpu.max), 12 for each" in found.why


def test_auto_is_computed_once(files: Files) -> None:
    options = check(PreForkOptions, {"max_clients": "auto", "min_spare_servers": 2})
    assert (options.max_clients, options.start_servers) == (48, 10)
    files.write("proc/meminfo", "MemTotal:       1048576 kB\nMemAvailable:   1048576 kB\n")
    again = changed(options, {"min_spare_servers": 3}).max_clients
    assert again == 48
    assert isinstance(again, Computed)
    assert "memory (MemAvailable)" in again.why
    assert check(PreForkOptions, {"max_clients": "AUTO"}).max_clients == 6
