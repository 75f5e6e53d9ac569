"""Measures all of it: python -m bench [--quick]."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from dataclasses import asdict, dataclass

from bench import memory, pool, scoreboard, throughput
from bench.figures import Measured, figures
from bench.machine import Cores, choose_cores, describe, versions
from bench.needs import Missing, provide
from bench.report import show_about, show_figures, show_runs, write
from bench.servers import DONE, NGINX, POSTED, UVICORN, WORKER

HOLDS = {"blocking": "/blocking", "async": "/waiting"}


@dataclass(frozen=True)
class Effort:
    """How often and how long everything is measured."""

    rounds: int
    run_s: int
    scoreboard_starts: int
    scoreboard_windows: int
    pool_repeats: int


WHOLE = Effort(rounds=7, run_s=2, scoreboard_starts=12, scoreboard_windows=250, pool_repeats=5)
QUICK = Effort(rounds=1, run_s=1, scoreboard_starts=3, scoreboard_windows=150, pool_repeats=1)


def measure(effort: Effort, cores: Cores) -> Measured:
    say("memory of workers and connections")
    worker_bytes = memory.measure_worker(cores)
    connection_bytes = memory.measure_connection(cores)
    say("growth of the pool")
    refill = {kind: pool.measure_refill(path, effort.pool_repeats, cores) for kind, path in HOLDS.items()}
    crowd = {kind: pool.measure_crowd(path, effort.pool_repeats, cores) for kind, path in HOLDS.items()}
    say("cost of the scoreboard")
    cost = scoreboard.measure(effort.scoreboard_starts, effort.scoreboard_windows, cores)
    recipes = (NGINX, UVICORN, DONE, POSTED, WORKER)
    runs = throughput.measure(recipes, effort.rounds, effort.run_s, cores, say)
    return Measured(runs, cost, refill, crowd, worker_bytes, connection_bytes)


def say(line: str) -> None:
    print(f"bench: {line}", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round of each: a look, not a result")
    effort = QUICK if parser.parse_args().quick else WHOLE
    began = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no server outlives the bench
    try:
        provide()
        cores = choose_cores()
        about = {"machine": describe(cores), "versions": versions(), "effort": asdict(effort)}
        measured = measure(effort, cores)
    except (Missing, RuntimeError) as error:
        say(str(error))
        return 1
    lines = figures(measured)
    show_about(about)
    show_runs(measured.runs)
    show_figures(lines)
    file = write(measured, lines, about)
    say(f"{file.relative_to(file.parents[2])} written, after {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
