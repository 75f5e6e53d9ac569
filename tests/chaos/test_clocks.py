"""The clock of the machine jumps, as when it is corrected: no limit of time follows it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import struct
import subprocess
import time
from datetime import datetime
from pathlib import Path

import pytest

from support.load import Load
from support.molds import WORKERS, errors, hang_up, leaving_nothing, serving, wait_full, write
from support.waiting import wait_until

PRELOADED = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile long *jump;

__attribute__((constructor)) static void map_jump(void) {
    int file = open(getenv("JUMP"), O_RDONLY);
    void *found = mmap(0, sizeof(long), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    jump = found == MAP_FAILED ? 0 : found;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && jump && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += *jump;
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec precise;
    int failed = clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return failed;
}

time_t time(time_t *result) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (result)
        *result = now.tv_sec;
    return now.tv_sec;
}
"""
DAY_S = 86400


class Clock:
    """The wall clock of a server: all of its processes have it. `env` is what they are started with."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "jump"
        self.jump(0)
        library = directory / "clock.so"
        subprocess.run(
            ["cc", "-shared", "-fPIC", "-x", "c", "-o", str(library), "-"],
            input=PRELOADED,
            text=True,
            check=True,
        )
        self.env = {"LD_PRELOAD": str(library), "JUMP": str(self._file)}

    def jump(self, seconds: int) -> None:
        """It is off by so much from now on."""
        self._seconds = seconds
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("l", seconds))

    def is_shown(self, log: Path) -> bool:
        """Whether the last line of an access log has that time."""
        whole, _, _ = log.read_text().rpartition("\n")  # another may be being written
        found = re.findall(r"\[(.+?)\]", whole.rpartition("\n")[2])
        if not found:
            return False  # there is no line yet
        logged = datetime.strptime(found[-1], "%d/%b/%Y:%H:%M:%S %z").timestamp()
        return abs(logged - time.time() - self._seconds) < 10


@pytest.fixture
def clock(tmp_path_factory: pytest.TempPathFactory) -> Clock:
    if shutil.which("cc") is None:
        pytest.skip("there is no compiler of C")
    return Clock(tmp_path_factory.mktemp("clock"))


LIMITS = (
    "--request-timeout",
    "5",
    "--max-age",
    "600",
    "--keep-alive-timeout",
    "60",
    "--access-log",
    "access",
)


def test_jumps_of_the_clock_end_no_process_and_no_connection(tmp_path: Path, clock: Clock) -> None:
    with serving(tmp_path, *LIMITS, env=clock.env) as server, leaving_nothing(server, tmp_path / "access"):
        workers = server.workers()
        with Load(server, 4, "/") as load:
            for seconds in (DAY_S, -DAY_S, 10 * 365 * DAY_S, -10 * 365 * DAY_S, 0):
                clock.jump(seconds)
                wait_until(lambda: clock.is_shown(tmp_path / "access"), "a response of then")
                load.more(100)
        assert load.lost == []
        assert load.opened == 4, "none was closed"
        assert server.workers() == workers
        assert server.err == []


@pytest.mark.parametrize("seconds", [DAY_S, -DAY_S])
def test_a_pool_is_kept_and_reloaded_after_a_jump(tmp_path: Path, clock: Clock, seconds: int) -> None:
    with serving(tmp_path, *LIMITS, env=clock.env) as server, leaving_nothing(server, tmp_path / "access"):
        write(tmp_path, "import time; time.sleep(0.3)")
        hang_up(server)
        clock.jump(seconds)  # amid it
        server.wait_log("every worker is of generation 2")
        victim = server.workers()[0]
        os.kill(victim, signal.SIGKILL)
        server.wait_without([victim])
        wait_full(server)
        assert len(server.workers()) == WORKERS
        assert errors(server) == [line for line in server.err if f"worker {victim} ended" in line]
        assert server.status()["manager"]["boot_failed"] == 0
